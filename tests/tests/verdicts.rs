//! Verdicts, end to end: every way in which mock can end becomes the verdict that DESIGN's table names,
//! and what follows from it: the folder, where the logs are, what is remembered, who is next.
//!
//! Owns the scenarios in which builds go wrong. Real builds where the stand-in for mock can fail for
//! real, planned outcomes for the rest.

use std::fs;
use std::path::Path;
use std::process::Command;

use moji_tests::{Daemon, Farm, Outcome, SOON, run_to_end, simple_spec, srpm_from_spec};
use serde_json::Value;

/// What rpmbuild says last of a package's own error.
const OWN_ERROR: &str = "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n";

/// An outcome and what must come of it.
struct Row {
    /// Name of the package, chosen so that rows are built in the order they stand.
    name: String,
    outcome: Outcome,
    verdict: &'static str,
    /// What the reason must say.
    reason: &'static str,
}

fn row(verdict: &'static str, reason: &'static str, outcome: Outcome) -> Row {
    Row { name: String::new(), outcome, verdict, reason }
}

fn exit(code: i32) -> Outcome {
    Outcome::exit(code)
}

fn build_log(code: i32, text: &str) -> Outcome {
    exit(code).log("build.log", &format!("checking for things\n{text}\n{OWN_ERROR}"))
}

fn root_log(text: &str) -> Outcome {
    exit(30).log("root.log", &format!("DEBUG util.py:  dnf\n{text}\n"))
}

/// Rows of MOCK.md and DESIGN that a farm on one machine cannot bring about for real.
fn planned_rows() -> Vec<Row> {
    let builder = "the builder says so";
    let mut rows = vec![
        row("memory", "exit 247", exit(247).log("root.log", "Child return code was: -9\n")),
        row("memory", "return code was: -9", root_log("Child return code was: -9")),
        row(
            "memory",
            "terminated program cc1",
            build_log(1, "gcc: fatal error: Killed signal terminated program cc1"),
        ),
        row("memory", "virtual memory", build_log(1, "virtual memory exhausted: Cannot allocate memory")),
        row(
            "memory",
            "signal 9",
            build_log(1, "collect2: fatal error: ld terminated with signal 9 [Killed]"),
        ),
        row("memory", "13088 Killed", build_log(1, "/var/tmp/rpm-tmp.X: line 40: 13088 Killed  sleep 30")),
        row("infra", "No space left on device", build_log(1, "cc1: x.s: No space left on device")),
        row("infra", "Input/output error", build_log(1, "cp: error reading 'a': Input/output error")),
        row("infra", "Read-only file system", root_log("mkdir: Read-only file system")),
        row("infra", "download metadata", root_log("Failed to download metadata for repo 'mini'")),
        row("infra", "Error downloading", root_log("Error: Error downloading packages:\n  x: 404")),
        row("infra", "more space needed", root_log("  At least 12MB more space needed on the / filesystem.")),
        row("deps", "pkga(api) >= 1", root_log("No matching package to install: 'pkga(api) >= 1'")),
        row("deps", "libq.so.1", root_log("nothing provides libq.so.1 needed by y-1-1.noarch")),
        row(
            "infra",
            "builddep",
            exit(10).log("root.log", "No such command: builddep. Please use dnf --help\n"),
        ),
        row("infra", "exit 30, cause unknown", root_log("something nobody has seen yet")),
        row("infra", "exit 1, cause unknown", exit(1).say("Cannot find/open srpm: x.src.rpm.")),
        row("infra", "exit 2, cause unknown", exit(2).say(builder)),
        row("infra", "exit 7, cause unknown", exit(7).say(builder)),
        row("infra", "exit 50, cause unknown", exit(50).say(builder)),
        row("infra", "exit 129, cause unknown", exit(129).say(builder)),
        row("infra", "exit 143, cause unknown", exit(143).say(builder)),
        row("infra", "signal 6, cause unknown", exit(-6)),
        row("failed", "%build failed: make: *** [all] Error 2", build_log(1, "make: *** [all] Error 2")),
        row("failed", "%build failed", build_log(10, "make: *** [all] Error 2")),
        row("failed", "Timeout(8) expired", exit(11).log("build.log", "Timeout(8) expired for command:\n")),
        row(
            "excluded",
            "s390x",
            exit(1).log("build.log", "error: No compatible architectures found for build: s390x\n"),
        ),
    ];
    for (code, reason) in [
        (3, "exit 3: "),
        (20, "exit 20: "),
        (40, "exit 40: "),
        (60, "exit 60: "),
        (70, "exit 70: "),
        (80, "exit 80: "),
        (90, "exit 90: "),
    ] {
        rows.push(row("infra", reason, exit(code).say(builder)));
    }
    rows
}

/// Puts a `failed` behind every two of the builder's own faults, so that no three in a row send it into
/// quarantine, and names all.
fn spaced(rows: Vec<Row>) -> Vec<Row> {
    let mut all = Vec::new();
    let mut in_a_row = 0;
    for row in rows {
        in_a_row = if row.verdict == "infra" { in_a_row + 1 } else { 0 };
        if in_a_row > 2 {
            in_a_row = 1;
            all.push(self::row("failed", "%build failed", build_log(1, "Error 1")));
        }
        all.push(row);
    }
    for (number, row) in all.iter_mut().enumerate() {
        row.name = format!("row{number:02}");
    }
    all
}

fn nvr(name: &str) -> String {
    format!("{name}-1-1")
}

fn file(name: &str) -> String {
    format!("{name}-1-1.src.rpm")
}

/// Makes the SRPM of a trivial package beside the farm's folders.
fn make(farm: &Farm, name: &str) -> std::path::PathBuf {
    srpm_from_spec(farm.path(), &simple_spec(name, "1", ""))
}

/// The one line of the hub's log that says how an attempt at a package ended.
fn end_line(log: &str, srpm: &str, verdict: &str) -> Option<String> {
    let package = format!("pkg={srpm} lease=");
    let said = |line: &&str| {
        let Some((_, rest)) = line.split_once(&package) else { return false };
        let word = rest.splitn(3, ' ').nth(2).unwrap_or_default();
        rest.contains(" builder=") && word.starts_with(&format!("{verdict}:"))
    };
    log.lines().find(said).map(str::to_owned)
}

fn lease_of(line: &str) -> String {
    let (_, rest) = line.split_once(" lease=").expect("the line names its lease");
    rest.split(' ').next().unwrap_or_default().to_owned()
}

fn wait_end(farm: &mut Farm, srpm: &str, verdict: &'static str) -> String {
    let what = format!("{srpm} to be ruled {verdict}");
    let mut line = None;
    let log = farm.hub().log_path().to_owned();
    farm.wait_until(&what, SOON, |_| {
        line = end_line(&fs::read_to_string(&log).unwrap_or_default(), srpm, verdict);
        line.is_some()
    });
    line.expect("it was found")
}

fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    serde_json::from_slice(&bytes).expect("it is JSON")
}

/// Leases with a folder under `attempts/`, with their `result.json`.
fn attempts(farm: &Farm) -> Vec<(String, Value)> {
    let entries = fs::read_dir(farm.state().join("attempts")).into_iter().flatten().flatten();
    let named = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut all: Vec<_> = named
        .filter(|name| !name.starts_with('.'))
        .map(|name| (name.clone(), json(&farm.state().join("attempts").join(&name).join("result.json"))))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The text of a compressed log.
fn unpacked(path: &Path) -> String {
    let mut command = Command::new("gzip");
    command.arg("-dc").arg(path);
    let ended = run_to_end(command, SOON);
    assert_eq!(ended.code, 0, "{}: {}", path.display(), ended.stderr);
    ended.stdout
}

/// What the history knows: `srpm verdict charged` of every attempt that ended, oldest first.
fn history(farm: &Farm) -> Vec<String> {
    let script = "import sqlite3, sys\n\
        for row in sqlite3.connect(sys.argv[1]).execute('SELECT srpm, verdict, charged FROM attempts \
        WHERE verdict IS NOT NULL ORDER BY rowid'): print(*row)";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(farm.state().join("history.db"));
    let ended = run_to_end(command, SOON);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout.lines().map(str::to_owned).collect()
}

/// Number of packages in the published index.
fn indexed(farm: &Farm) -> Option<usize> {
    let index = farm.http("/repo/repodata/repomd.xml", &[]).text();
    let mut href = index.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
    let primary = href.find(|href| href.contains("primary.xml"))?.to_owned();
    let packed = tempfile::NamedTempFile::with_suffix_in(".gz", farm.path()).expect("a file");
    fs::write(packed.path(), farm.http(&format!("/repo/{primary}"), &[]).body).expect("it is written");
    let text = unpacked(packed.path());
    let (_, rest) = text.split_once(" packages=\"")?;
    rest.split('"').next()?.parse().ok()
}

#[test]
fn every_planned_ending_gets_its_verdict_its_folder_and_its_logs() {
    let mut farm = Farm::plan().builders(0).start();
    let rows = spaced(planned_rows());
    let order: Vec<String> = rows.iter().map(|row| nvr(&row.name)).collect();
    farm.prioritise(&order.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &rows {
        let srpm = make(&farm, &row.name);
        let name = file(&row.name);
        if row.verdict == "memory" {
            // There is no bigger builder, so this one gets it again at once, and then it must end.
            farm.outcome(&name, build_log(1, "Error 1"));
            fs::create_dir_all(farm.path().join("outcomes0")).expect("a folder");
            farm.outcome_on(0, &name, row.outcome.clone().once());
        } else {
            farm.outcome(&name, row.outcome.clone());
        }
        farm.drop_file(&srpm);
    }
    farm.add_builder();
    for row in &rows {
        let name = file(&row.name);
        let line = wait_end(&mut farm, &name, row.verdict);
        assert!(line.contains(row.reason), "{line}\nshould say {:?}", row.reason);
        let lease = lease_of(&line);
        let kept = matches!(row.verdict, "failed" | "excluded");
        if kept || row.verdict == "memory" {
            farm.wait_finished(&name);
        } else {
            farm.wait_until("it to wait in source/", SOON, |farm| farm.places(&name) == ["source"]);
        }
        let folder = if kept {
            assert_eq!(farm.results(&nvr(&row.name)), [nvr(&row.name)]);
            farm.repo().join(nvr(&row.name))
        } else {
            farm.state().join("attempts").join(&lease)
        };
        let result = json(&folder.join("result.json"));
        assert_eq!(result["verdict"], row.verdict, "{line}");
        assert_eq!(result["lease"], lease.as_str());
        assert_eq!(result["srpm"], name.as_str());
        assert!(result["reason"].as_str().is_some_and(|why| why.contains(row.reason)), "{result}");
        check_logs(&folder, &result, kept);
    }
    assert_eq!(farm.hub().log_count("quarantined"), 0);
    assert_eq!(indexed(&farm), Some(0), "nothing is published");
    let known = history(&farm);
    for row in &rows {
        let charged = u8::from(row.verdict == "memory");
        let want = format!("{} {} {charged}", file(&row.name), row.verdict);
        assert_eq!(known.iter().filter(|line| **line == want).count(), 1, "{want} in {known:#?}");
    }
}

/// What mock said is kept beside the result, as it is listed there.
fn check_logs(folder: &Path, result: &Value, kept: bool) {
    let files = result["files"].as_array().expect("a list of files");
    for listed in files {
        let path = folder.join(listed["name"].as_str().expect("a name"));
        assert_eq!(
            fs::metadata(&path).map(|meta| meta.len()).ok(),
            listed["size"].as_u64(),
            "{}",
            path.display()
        );
    }
    let said = if kept {
        fs::read_to_string(folder.join("mock.log")).expect("mock.log is kept")
    } else {
        unpacked(&folder.join("mock.log.gz"))
    };
    assert!(said.contains("fake starting"), "what mock said: {said}");
}

#[test]
fn builds_that_really_go_wrong_get_their_verdicts() {
    let mut farm = Farm::plan().builders(0).start();
    let needer = "%global debug_package %{nil}\n".to_owned()
        + &simple_spec("needer", "1", "Requires: no-such-thing\n");
    let wanter = simple_spec("wanter", "1", "BuildRequires: needer\n");
    farm.drop_file(&srpm_from_spec(farm.path(), &needer));
    fs::write(farm.source().join("options.txt"), "slow* --rpmbuild_timeout 2\n").expect("written");
    for name in ["archonly", "badreq", "badspec", "failbuild", "hello", "noresult", "slow"] {
        farm.drop_srpm(name);
    }
    farm.drop_file(&srpm_from_spec(farm.path(), &wanter));
    farm.add_builder();
    for (name, verdict, reason, files) in [
        ("archonly", "excluded", "Architecture is not included: x86_64", 0),
        ("badspec", "failed", "broken in buildroot", 0),
        ("failbuild", "failed", "%build failed", 0),
        ("hello", "success", "", 2),
        ("noresult", "failed", "built no binary package", 0),
        ("slow", "failed", "Timeout(2) expired for command", 0),
    ] {
        farm.wait_finished(name);
        let nvr = format!("{name}-1.0-1");
        farm.wait_until("its folder", SOON, |farm| farm.results(&nvr) == [nvr.clone()]);
        let result = farm.result_json(&nvr);
        assert_eq!(result["verdict"], verdict, "{result}");
        assert!(result["reason"].as_str().is_some_and(|why| why.contains(reason)), "{result}");
        let names = farm.files_of(&nvr);
        assert_eq!(names.iter().filter(|name| name.ends_with(".rpm")).count(), files, "{names:?}");
        for log in ["build.log", "root.log", "state.log", "mock.log"] {
            assert!(names.iter().any(|name| name == log), "{name}: no {log} in {names:?}");
        }
        assert!(farm.hub().log_text().contains(&format!("pkg={name}-1.0-1.src.rpm lease=")));
    }
    let line = wait_end(&mut farm, "badreq-1.0-1.src.rpm", "deps");
    assert!(line.contains("waits for does-not-exist-devel >= 2.0"), "{line}");
    let line = wait_end(&mut farm, "wanter-1-1.src.rpm", "deps");
    assert!(line.contains("waits for no-such-thing"), "{line}");
    for name in ["badreq-1.0-1.src.rpm", "wanter-1-1.src.rpm"] {
        farm.wait_until("it to wait", SOON, |farm| farm.places(name) == ["source"]);
    }
    assert_eq!(farm.result_json("slow-1.0-1")["options"], serde_json::json!(["--rpmbuild_timeout", "2"]));
    // hello and needer, each with its SRPM; nothing of the failures.
    farm.wait_until("the index", SOON, |farm| indexed(farm) == Some(4));
    farm.install(&["hello"]).expect("dnf installs what succeeded");
    assert_eq!(farm.hub().log_count("quarantined"), 0, "missing packages are nobody's fault");
}

#[test]
fn a_repository_that_cannot_be_reached_is_no_fault_of_the_package() {
    for (url, said) in [("http://127.0.0.1:1/", "Curl error (7)"), ("file:///no/such/folder/", "repomd.xml")]
    {
        let mut farm = Farm::plan().hub_args(["--repo-url", url]).start();
        farm.drop_srpm("hello");
        let line = wait_end(&mut farm, "hello-1.0-1.src.rpm", "infra");
        assert!(line.contains("exit 30: ") && line.contains(said), "{line}");
        farm.wait_until("it to wait", SOON, |farm| farm.places("hello") == ["source"]);
        assert_eq!(farm.results("hello-1.0-1"), Vec::<String>::new());
        assert_eq!(attempts(&farm).len(), 1);
    }
}

#[test]
fn a_builders_own_fault_sends_the_package_to_another_builder() {
    let mut farm = Farm::plan().builders(2).start();
    // The other builder is busy, so that the one at fault could have it again at once.
    let held = make(&farm, "held");
    farm.outcome(&file("held"), build_log(1, "Error 1").gate(&farm.gate("go")));
    farm.drop_file(&held);
    farm.wait_until("the other to be busy", SOON, |farm| farm.is_in("working", &file("held")));
    farm.outcome("hello", Outcome::exit(60).say("Build root is locked by another process.").once());
    farm.drop_srpm("hello");
    farm.wait_hub_says("1 wait for a builder (hello-1.0-1.src.rpm: ");
    assert_eq!(farm.places("hello"), ["source"]);
    farm.open_gate("go");
    farm.wait_finished("hello");
    let tried = attempts(&farm);
    assert_eq!(tried.len(), 1);
    assert_eq!(tried[0].1["verdict"], "infra");
    let result = farm.result_json("hello-1.0-1");
    assert_eq!(result["verdict"], "success");
    assert_ne!(result["builder_key"], tried[0].1["builder_key"], "{}", farm.diagnosis());
    assert_ne!(result["lease"], tried[0].1["lease"]);
    assert_eq!(farm.hub().log_count("quarantined"), 0);
}

/// Starts builder `number` called `name` on a machine that says it has so much memory.
fn builder_with_memory(farm: &Farm, number: usize, name: &str, mib: u64) -> Daemon {
    let inner = farm.builder_command(number);
    let meminfo = farm.path().join(format!("meminfo{number}"));
    let kib = mib * 1024;
    fs::write(&meminfo, format!("MemTotal: {kib} kB\nMemFree: {kib} kB\nMemAvailable: {kib} kB\n"))
        .expect("a file is written");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", "mount --bind \"$0\" /proc/meminfo && exec \"$@\""]).arg(meminfo);
    command.arg(inner.get_program()).args(inner.get_args()).args(["--name", name]);
    for (key, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command.current_dir(farm.path());
    Daemon::spawn(name, command, &farm.path().join(format!("{name}.log")))
}

#[test]
fn a_package_that_ran_out_of_memory_goes_to_the_builder_that_has_more() {
    let mut farm = Farm::plan().builders(0).start();
    let name = "hello-1.0-1.src.rpm";
    farm.outcome(name, Outcome::exit(247).log("root.log", "Child return code was: -9\n").once());
    // Idle longest, so that it comes first; the second small one is no better.
    let _small = builder_with_memory(&farm, 0, "small", 128);
    farm.wait_hub_says("builder=small ");
    let _other = builder_with_memory(&farm, 1, "other", 128);
    farm.wait_hub_says("builder=other ");
    farm.wait_hub_says("nothing to lease: no package waits");
    let _big = builder_with_memory(&farm, 2, "big", 512);
    farm.wait_hub_says("builder=big ");
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    let tried = attempts(&farm);
    assert_eq!(tried.len(), 1);
    assert_eq!((&tried[0].1["verdict"], &tried[0].1["builder"]), (&"memory".into(), &"small".into()));
    let result = farm.result_json("hello-1.0-1");
    assert_eq!((&result["verdict"], &result["builder"]), (&"success".into(), &"big".into()));
    assert_eq!(farm.hub().log_count("quarantined"), 0);
}

#[test]
fn the_fifth_charged_attempt_ends_a_package_with_all_its_reasons() {
    let mut farm = Farm::plan().start();
    farm.outcome("hello", build_log(1, "gcc: fatal error: Killed signal terminated program cc1"));
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    assert_eq!(farm.results("hello-1.0-1"), ["hello-1.0-1"]);
    let result = farm.result_json("hello-1.0-1");
    assert_eq!(result["verdict"], "failed");
    let reason = result["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("all 5 attempts used up: memory: "), "{reason}");
    assert_eq!(reason.matches("memory: exit 1").count(), 5, "{reason}");
    let tried = attempts(&farm);
    assert_eq!(tried.len(), 4, "the fifth is in repo/");
    assert!(tried.iter().all(|(_, result)| result["verdict"] == "memory"));
    assert!(farm.files_of("hello-1.0-1").iter().any(|name| name == "build.log"));
    assert_eq!(indexed(&farm), Some(0));
    // Moved back, it starts afresh and has all its attempts again.
    farm.forget_outcome("hello");
    farm.outcome("hello", build_log(1, "gcc: fatal error: Killed signal terminated program cc1").once());
    fs::rename(farm.finished().join("hello-1.0-1.src.rpm"), farm.source().join("hello-1.0-1.src.rpm"))
        .expect("a person moves it back");
    farm.wait_until("its second result", SOON, |farm| farm.results("hello-1.0-1").len() == 2);
    farm.wait_finished("hello");
    assert_eq!(farm.result_json("hello-1.0-1@2")["verdict"], "success");
    assert_eq!(farm.hub().log_count("failed: all 5 attempts used up: memory: "), 1);
}

#[test]
fn what_no_builder_can_explain_is_the_packages_own_after_three() {
    let farm = Farm::plan().builders(3).start();
    farm.outcome("hello", Outcome::exit(2).say("strange thing 4711 in /tmp/x9/strange"));
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    let result = farm.result_json("hello-1.0-1");
    assert_eq!(result["verdict"], "failed");
    let reason = result["reason"].as_str().expect("a reason");
    assert!(reason.contains("the same on 3 builders: exit 2, cause unknown:"), "{reason}");
    let tried = attempts(&farm);
    let mut keys: Vec<_> = tried.iter().map(|(_, tried)| tried["builder_key"].to_string()).collect();
    keys.push(result["builder_key"].to_string());
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3, "each builder tried it once");
    assert!(tried.iter().all(|(_, result)| result["verdict"] == "infra"));
    // The world is well: the next package goes through.
    farm.drop_srpm("pkga");
    farm.wait_finished("pkga");
    assert_eq!(farm.result_json("pkga-1.0-1")["verdict"], "success");
}

#[test]
fn three_faults_in_a_row_quarantine_a_builder_and_missing_packages_never_do() {
    let mut farm = Farm::plan().builders(0).hub_args(["--retry-pause", "0"]).start();
    for name in ["d1", "d2", "d3", "d4"] {
        let srpm = make(&farm, name);
        farm.outcome(&file(name), root_log("No matching package to install: 'ghost'"));
        farm.drop_file(&srpm);
    }
    let bad = make(&farm, "x1");
    farm.outcome(&file("x1"), Outcome::exit(70).say("no result folder"));
    farm.add_builder();
    for name in ["d1", "d2", "d3", "d4"] {
        wait_end(&mut farm, &file(name), "deps");
    }
    assert_eq!(farm.hub().log_count("quarantined"), 0);
    farm.drop_file(&bad);
    farm.wait_hub_says("quarantined for 1 min: 3 times infra or lost in a row");
    let count = attempts(&farm).iter().filter(|(_, result)| result["verdict"] == "infra").count();
    assert_eq!(count, 3);
    farm.prioritise(&["hello-1.0-1"]);
    farm.drop_srpm("hello");
    // Whoever is in quarantine gets nothing: it goes to the one that came later.
    farm.add_builder();
    farm.wait_finished("hello");
    let first = attempts(&farm)[0].1["builder_key"].clone();
    let result = farm.result_json("hello-1.0-1");
    assert_eq!(result["verdict"], "success");
    assert_ne!(result["builder_key"], first);
}
