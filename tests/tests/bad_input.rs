//! Bad input at the start and in `source/`: each mistake has its own line and exit code, and
//! nothing is lost.
//!
//! Owns what a person sees who mistypes, misplaces or mixes something up. Bad results are in
//! `hostile.rs`, full disks in `disk_full.rs`.

mod fake_hub;
mod quick;

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fake_hub::{FakeHub, Trick};
use moji_proto::message::{FromBuilder, Trouble};
use moji_tests::{
    Damage, Farm, Finished, SOON, cached_srpm, damaged, fake_mock, foreign, run_to_end, simple_spec,
    srpm_from_spec, truncated,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use quick::quick;

/// A program that refuses to start does so at once; this is for a machine in distress.
const REFUSAL: Duration = Duration::from_secs(60);

/// A mount that goes when the test ends, however it ends.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path) -> Mounted {
        let options = Some("size=4m");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), options).expect("tmpfs");
        Mounted(at.to_owned())
    }

    fn read_only(at: &Path) -> Mounted {
        let (none, bind) = (None::<&str>, MsFlags::MS_BIND);
        mount(Some(at), at, none, bind, none).expect("a bind mount");
        let mounted = Mounted(at.to_owned());
        let flags = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, at, none, flags, none).expect("a read-only bind mount");
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Nothing useful can be done about a failure; the farm's own clean-up says what is left.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Runs a hub on these folders that must refuse to start.
fn hub(farm: &Farm, folders: [PathBuf; 4], more: &[&str]) -> Finished {
    let mut command = farm.hub_command();
    command.args(folders).args(more);
    for (option, value) in [("--listen", "127.0.0.1:0"), ("--http", "127.0.0.1:0")] {
        if !more.contains(&option) {
            command.args([option, value]);
        }
    }
    if !more.contains(&"--state") {
        command.arg("--state").arg(farm.state());
    }
    run_to_end(command, REFUSAL)
}

fn folders(farm: &Farm) -> [PathBuf; 4] {
    [farm.source(), farm.working(), farm.finished(), farm.repo()]
}

/// Runs a builder that must refuse to start, or, with `--once`, give up.
fn client(farm: &Farm, hub: &str, cfg: &str, more: &[&str]) -> Finished {
    let mut command = farm.client_command();
    command.args([hub, cfg]).args(more);
    if !more.contains(&"--mock") {
        command.arg("--mock").arg(fake_mock());
    }
    if !more.contains(&"--mock-user") {
        command.args(["--mock-user", "root"]);
    }
    if !more.contains(&"--state") {
        command.arg("--state").arg(farm.path().join("client"));
    }
    run_to_end(command, REFUSAL)
}

/// The program left with `code` and said one line of its own at the end, with all of `texts`.
fn check(ended: &Finished, code: i32, texts: &[&str]) {
    let said = &ended.stderr;
    assert_eq!(ended.code, code, "{said}");
    let own = |line: &&str| line.starts_with("moji-server: ") || line.starts_with("moji-client: ");
    let lines: Vec<&str> = said.lines().filter(own).collect();
    assert_eq!(lines.len(), 1, "one line that says why:\n{said}");
    assert_eq!(said.lines().last(), Some(lines[0]), "{said}");
    for text in texts {
        assert!(lines[0].contains(text), "'{text}' is not in: {}", lines[0]);
    }
    assert!(!said.contains("panicked"), "{said}");
}

// --- the hub's command line ---

#[test]
fn a_hub_names_the_folder_that_it_cannot_use_and_touches_nothing() {
    let farm = Farm::plan().nothing_started().start();
    let name = farm.drop_srpm("hello");
    let file = farm.path().join("file");
    fs::write(&file, "").expect("a file");
    let roles = ["source", "working", "finished", "repo"];
    for (i, role) in roles.into_iter().enumerate() {
        let with = |path: &Path| {
            let mut folders = folders(&farm);
            folders[i] = path.to_owned();
            folders
        };
        let missing = hub(&farm, with(&farm.path().join("none")), &[]);
        check(&missing, 3, &[role, "/none'", "does not exist"]);
        let wrong = hub(&farm, with(&file), &[]);
        check(&wrong, 3, &[role, "/file'", "is not a folder"]);
        let path = farm.path().join(role);
        {
            let _mounted = Mounted::read_only(&path);
            let read_only = hub(&farm, folders(&farm), &[]);
            check(&read_only, 3, &[role, &path.display().to_string(), "is not writable"]);
        }
        let other = farm.path().join(format!("other-{role}"));
        fs::create_dir(&other).expect("a folder");
        let _mounted = Mounted::tmpfs(&other);
        let elsewhere = hub(&farm, with(&other), &[]);
        check(&elsewhere, 3, &[role, &other.display().to_string(), "another file system"]);
    }
    let mut twice = folders(&farm);
    twice[2] = twice[0].clone();
    check(&hub(&farm, twice, &[]), 3, &["finished folder and source folder are both"]);
    let file = file.display().to_string();
    check(&hub(&farm, folders(&farm), &["--state", &file]), 3, &["state folder", &file]);
    {
        let _mounted = Mounted::read_only(&farm.state());
        let state = farm.state().display().to_string();
        check(&hub(&farm, folders(&farm), &[]), 3, &["state folder", &state, "not writable"]);
    }
    assert_eq!(farm.places(&name), ["source"]);
}

#[test]
fn a_port_that_is_taken_is_named_for_both_services() {
    let farm = Farm::plan().nothing_started().start();
    let name = farm.drop_srpm("hello");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("an address").to_string();
    for option in ["--listen", "--http"] {
        let ended = hub(&farm, folders(&farm), &[option, &addr]);
        check(&ended, 5, &[&addr, "in use", option]);
    }
    assert_eq!(farm.places(&name), ["source"]);
}

#[test]
fn a_second_hub_on_the_same_folders_is_turned_away_and_the_first_goes_on() {
    let mut farm = Farm::plan().start();
    let pid = farm.hub().pid().to_string();
    // A state folder of its own does not help it.
    let state = farm.path().join("state2").display().to_string();
    for more in [&[][..], &["--state", &state]] {
        let second = hub(&farm, folders(&farm), more);
        check(&second, 4, &["another hub", &format!("pid {pid}")]);
    }
    let package = quick(&farm, "goes-on", "1");
    farm.drop_file(&package.srpm);
    farm.wait_finished(&package.file);
}

#[test]
fn a_hub_names_the_secret_key_or_list_that_it_cannot_use() {
    let farm = Farm::plan().nothing_started().start();
    let path = |name: &str| farm.path().join(name).display().to_string();
    let at = |name: &str| format!("@{}", path(name));
    let refused = |more: &[&str], texts: &[&str]| {
        check(&hub(&farm, folders(&farm), more), 6, texts);
    };
    fs::write(path("empty"), "\n").expect("a file");
    refused(&[&at("empty")], &["empty"]);
    refused(&[&at("nowhere")], &["nowhere", "No such file"]);
    fs::write(path("cut"), "moji1_abc").expect("a file");
    refused(&[&at("cut")], &["PASSWORD"]);
    let mut token = farm.hub_command();
    token.arg("token").arg("--state").arg(path("elsewhere"));
    fs::write(path("foreign"), run_to_end(token, REFUSAL).stdout).expect("a file");
    refused(&[&at("foreign")], &["another hub"]);

    let list = path("builders");
    fs::write(&list, format!("# all\nboard1 {}\nboard2 zz\n", "ab".repeat(32))).expect("a file");
    refused(&["--builders", &list], &[&list, "line 3"]);
    refused(&["--builders", &path("nowhere")], &["nowhere", "No such file"]);

    let key = farm.state().join("hub.key");
    let good = fs::read(&key).expect("token made a key");
    fs::write(&key, "no key\n").expect("a file");
    refused(&[], &["hub.key", "64 hexadecimal digits"]);
    fs::write(&key, "cd".repeat(32)).expect("a file");
    refused(&[], &["builder.secret", "another hub.key"]);
    fs::write(&key, good).expect("a file");
}

// --- the builder's command line ---

#[test]
fn a_builder_names_what_is_wrong_with_mock_its_user_or_its_secret() {
    let farm = Farm::plan().builders(0).start();
    drop(farm.builder_command(0));
    let path = |name: &str| farm.path().join(name).display().to_string();
    fs::write(path("broken.cfg"), "config_opts['root'] = (\n").expect("a file");
    let run = |cfg: &str, more: &[&str]| client(&farm, "127.0.0.1:1", cfg, more);
    for (cfg, more, texts) in [
        ("no-such-config", &[][..], &["'no-such-config'", "does not know the configuration"][..]),
        (&*path("no.cfg"), &[], &["no.cfg", "does not know the configuration"]),
        (&*path("broken.cfg"), &[], &["broken.cfg"]),
        ("x", &["--mock", "no-such-mock"], &["'no-such-mock' is not installed"]),
        ("x", &["--mock", "/nowhere/mock"], &["'/nowhere/mock' is not installed"]),
        ("x", &["--mock-user", "no-such-user"], &["no user 'no-such-user'"]),
        ("x", &["--mock-user", "nobody"], &["'nobody' is not in group mock"]),
        (&*path("builder0.cfg"), &["@/nowhere/secret"], &["/nowhere/secret", "No such file"]),
        (&*path("builder0.cfg"), &["moji1_abc"], &["the secret"]),
    ] {
        check(&run(cfg, more), 3, texts);
    }
    for (hub, text) in [("http://hub/", "is no hub"), ("hub:99999", "is no hub"), ("", "is no hub")] {
        check(&client(&farm, hub, "x", &[]), 2, &[text]);
    }
    check(&run(&path("builder0.cfg"), &["--hub-key", "zz"]), 2, &["--hub-key", "64 hexadecimal digits"]);
    fs::write(path("file"), "").expect("a file");
    check(&run("x", &["--state", &path("file")]), 4, &[&path("file")]);
    fs::create_dir(path("ro")).expect("a folder");
    let _mounted = Mounted::read_only(Path::new(&path("ro")));
    check(&run("x", &["--state", &path("ro")]), 4, &[&path("ro"), "Read-only"]);
}

#[test]
fn a_second_builder_on_the_same_state_folder_is_turned_away() {
    let mut farm = Farm::plan().start();
    farm.wait_builder_says(0, "registered with the hub");
    let second = run_to_end(farm.builder_command(0), REFUSAL);
    check(&second, 4, &["builder0"]);
    assert!(farm.builder(0).is_running());
}

// --- who is who ---

#[test]
fn a_wrong_secret_is_named_on_both_sides_and_a_daemon_waits_a_minute() {
    let mut farm = Farm::plan().start();
    let wrong = farm.path().join("wrong");
    fs::write(&wrong, "this is not the hub's secret").expect("a file");
    let cfg = farm.path().join("builder0.cfg").display().to_string();
    let (hub, wrong) = (farm.hub_addr().to_string(), format!("@{}", wrong.display()));
    let ended = client(&farm, &hub, &cfg, &["--once", &wrong]);
    assert_eq!(ended.code, 6, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("the secret is wrong").count(), 1, "{}", ended.stderr);
    farm.wait_hub_says("refused: the secret is wrong");
    assert_eq!(farm.hub().log_count("the secret is wrong"), 1);
}

#[test]
fn a_hub_with_another_key_is_refused_until_a_person_says_otherwise() {
    let mut farm = Farm::plan().passphrase("a passphrase long enough").start();
    let package = quick(&farm, "first", "1");
    farm.drop_file(&package.srpm);
    farm.wait_finished(&package.file);
    assert!(!farm.hub().logs_contain("is short"));
    farm.builder(0).term(SOON);
    farm.hub().term(SOON);
    for name in ["hub.key", "operator.secret"] {
        fs::remove_file(farm.state().join(name)).expect("the hub made it");
    }
    farm.start_hub();
    let mut again = farm.builder_command(0);
    again.arg("--once");
    let ended = run_to_end(again, REFUSAL);
    assert_eq!(ended.code, 6, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("this is not the hub we know").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("known_hub"), "{}", ended.stderr);
    // The same with a key on the command line, and with the token of another hub.
    let key = "ab".repeat(32);
    let mut pinned = farm.builder_command(1);
    pinned.args(["--once", "--hub-key", &key]);
    let ended = run_to_end(pinned, REFUSAL);
    assert_eq!(ended.code, 6, "{}", ended.stderr);
    assert!(ended.stderr.contains("--hub-key"), "{}", ended.stderr);
    // What the line advises helps.
    fs::remove_file(farm.builder_state(0).join("known_hub")).expect("the hub was known");
    let package = quick(&farm, "second", "1");
    farm.drop_file(&package.srpm);
    farm.start_builder(0);
    farm.wait_finished(&package.file);
}

#[test]
fn a_short_passphrase_works_with_a_warning() {
    let mut farm = Farm::plan().passphrase("short").start();
    let package = quick(&farm, "short", "1");
    farm.drop_file(&package.srpm);
    farm.wait_finished(&package.file);
    assert_eq!(farm.hub().log_count("PASSWORD is short"), 1);
    assert!(!farm.hub().logs_contain("there is no secret"));
}

#[test]
fn without_a_secret_loopback_is_served_with_a_warning() {
    let mut farm = Farm::plan().without_secret().start();
    let package = quick(&farm, "open", "1");
    farm.drop_file(&package.srpm);
    farm.wait_finished(&package.file);
    assert_eq!(farm.hub().log_count("no secret"), 1, "{}", farm.hub().log_text());
}

/// The public key of builder `number`, from its own first line.
fn key_of(farm: &mut Farm, number: usize) -> String {
    farm.wait_builder_says(number, "builder ");
    let text = farm.builder(number).log_text();
    let hex = |word: &&str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.find(hex).expect("a builder names its key").to_owned()
}

#[test]
fn only_listed_builders_are_served_and_a_removed_one_is_disconnected_within_a_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("builders");
    fs::write(&list, "# nobody yet\n").expect("a list");
    let args = ["--builders".to_owned(), list.display().to_string()];
    let mut farm = Farm::plan().builders(0).hub_args(args).start();
    let number = farm.add_builder();
    let key = key_of(&mut farm, number);
    farm.wait_builder_says(number, "not in the hub's list of builders");
    farm.wait_hub_says(&format!("key={key} "));
    farm.builder(number).term(SOON);
    // Listed, but for another architecture only.
    fs::write(&list, format!("board {key} armv7hl\n")).expect("a list");
    farm.hub().signal(Signal::SIGHUP);
    farm.wait_hub_says("reading the folders");
    let package = quick(&farm, "listed", "1");
    farm.drop_file(&package.srpm);
    farm.start_builder(number);
    farm.wait_hub_says("nothing to lease");
    assert_eq!(farm.places(&package.file), ["source"]);
    fs::write(&list, format!("board {key} x86_64\n")).expect("a list");
    farm.hub().signal(Signal::SIGHUP);
    farm.wait_finished(&package.file);
    // A bad list changes nothing, and says which line.
    fs::write(&list, "board\n").expect("a list");
    farm.hub().signal(Signal::SIGHUP);
    farm.wait_hub_says("line 1");
    assert!(!farm.builder(number).logs_contain("not in the hub's list"));
    fs::write(&list, "").expect("a list");
    farm.hub().signal(Signal::SIGHUP);
    farm.wait_builder_says(number, "not in the hub's list");
    farm.wait_hub_says("disconnected: rejected: not in the hub's list of builders");
}

// --- no hub, or none that is one ---

#[test]
fn a_hub_that_is_away_is_tried_again_with_longer_pauses_until_it_is_there() {
    let mut farm = Farm::plan().builders(0).start();
    let package = quick(&farm, "patient", "1");
    farm.drop_file(&package.srpm);
    farm.hub().term(SOON);
    let number = farm.add_builder();
    let (refused, again) = ("failed to connect to 127.0.0.1:", "Connection refused");
    farm.wait_until("three attempts", SOON, |farm| {
        let log = farm.path().join(format!("builder{number}.log"));
        fs::read_to_string(log).is_ok_and(|text| text.matches("next attempt in").count() >= 3)
    });
    let builder = farm.builder(number);
    assert!(builder.log_count(refused) >= 3, "{}", builder.log_text());
    assert_eq!(builder.log_count(refused), builder.log_count(again), "{}", builder.log_text());
    assert!(builder.log_text().lines().count() < 12, "noise: {}", builder.log_text());
    farm.start_hub();
    farm.wait_finished(&package.file);
}

#[test]
fn a_builder_says_what_is_wrong_with_a_hub_that_is_none() {
    let farm = Farm::plan().builders(0).start();
    let cfg = farm.path().join("plain.cfg");
    drop(farm.builder_command(0));
    fs::copy(farm.path().join("builder0.cfg"), &cfg).expect("a cfg");
    let cfg = cfg.display().to_string();
    let junk: Vec<u8> = (1..=255).cycle().take(2000).collect();
    let page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (number, (trick, want)) in [
        (Trick::Says(junk), "damaged handshake"),
        (Trick::Says(page), "closed"),
        (Trick::Says(Vec::new()), "closed"),
        (Trick::Says(vec![0, 0, 99]), "unknown code 99"),
    ]
    .into_iter()
    .enumerate()
    {
        let hub = FakeHub::start(trick);
        let state = farm.path().join(format!("plain{number}")).display().to_string();
        let mut command = farm.client_command();
        command.args([&hub.addr.to_string(), &cfg]).args(["--state", &state]);
        command.arg("--mock").arg(fake_mock()).args(["--mock-user", "root"]);
        let log = farm.path().join(format!("plain{number}.log"));
        let mut builder = moji_tests::Daemon::spawn("plain", command, &log);
        farm.wait_until("two attempts", SOON, |_| builder.log_count("next attempt in") >= 2);
        let text = builder.log_text();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("next attempt")).collect();
        assert!(lines.iter().all(|line| line.contains(want)), "{want}: {lines:?}");
        builder.term(SOON);
    }
}

#[test]
fn an_unknown_host_is_named() {
    let farm = Farm::plan().builders(0).start();
    drop(farm.builder_command(0));
    let mut command = farm.client_command();
    command.arg("no-such-host.invalid").arg(farm.path().join("builder0.cfg"));
    command.arg("--state").arg(farm.path().join("client"));
    command.arg("--mock").arg(fake_mock()).args(["--mock-user", "root"]);
    let log = farm.path().join("client.log");
    let mut builder = moji_tests::Daemon::spawn("client", command, &log);
    let line = "failed to resolve no-such-host.invalid: ";
    farm.wait_until("two attempts", SOON, |_| builder.log_count(line) >= 2);
    assert_eq!(builder.log_count(line), builder.log_count("next attempt in"));
    builder.term(SOON);
}

#[test]
fn a_builder_whose_clock_is_minutes_off_takes_no_work_and_says_so() {
    let farm = Farm::plan().builders(0).start();
    drop(farm.builder_command(0));
    let hub = FakeHub::start(Trick::ClockAhead(360));
    let mut command = farm.client_command();
    command.arg(hub.addr.to_string()).arg(farm.path().join("builder0.cfg"));
    command.arg("--state").arg(farm.path().join("client"));
    command.arg("--mock").arg(fake_mock()).args(["--mock-user", "root"]);
    let log = farm.path().join("client.log");
    let mut builder = moji_tests::Daemon::spawn("client", command, &log);
    farm.wait_until("the trouble to be told", SOON, |_| {
        hub.heard().iter().any(|message| {
            matches!(message, FromBuilder::Ping { health }
                if health.trouble == Some(Trouble::Clock) && (-370..=-350).contains(&health.clock_off_s))
        })
    });
    assert!(!hub.heard().contains(&FromBuilder::Ready), "{:?}", hub.heard());
    assert_eq!(builder.log_count("takes no work: the clock is off the hub's by -3"), 1);
    builder.term(SOON);
}

// --- source/ ---

#[test]
fn an_srpm_with_a_damaged_payload_fails_at_its_lease_and_no_builder_is_blamed() {
    let mut farm = Farm::plan().start();
    let made = tempfile::tempdir().expect("a folder");
    let good = srpm_from_spec(made.path(), &simple_spec("hurt", "1", ""));
    let bad = farm.drop_file(&damaged(&good, farm.path(), Damage::PayloadBit));
    farm.wait_finished(&bad);
    farm.wait_hub_says("cannot be served");
    assert_eq!(farm.results("hurt-1-1"), [""; 0]);
    assert_eq!(farm.hub().log_count("infra"), 0, "{}", farm.hub().log_text());
    // A whole copy is built, by the same builder.
    farm.drop_file(&good);
    farm.wait_until("the whole one", SOON, |farm| farm.results("hurt-1-1") == ["hurt-1-1"]);
}

#[test]
fn whatever_lies_in_source_stays_there_named_once_while_others_are_built() {
    let mut farm = Farm::plan().builders(0).start();
    let made = tempfile::tempdir().expect("a folder");
    let source = farm.source();
    let mut left: Vec<(String, &str)> = Vec::new();
    for damage in Damage::ALL {
        let why = match damage {
            // Payloads are read when they are leased: see the next scenario.
            Damage::PayloadBit => continue,
            Damage::HeaderBit => "header SHA256 does not match",
            _ => "is left in source/",
        };
        let name = format!("hurt-{damage:?}").to_lowercase();
        let good = srpm_from_spec(made.path(), &simple_spec(&name, "1", ""));
        let bad = tempfile::tempdir_in(made.path()).expect("a folder");
        left.push((farm.drop_file(&damaged(&good, bad.path(), damage)), why));
    }
    left.push((farm.drop_file(&foreign(made.path(), "page-1-1.src.rpm")), "not"));
    let binary = quick(&farm, "binary", "1").rpm;
    fs::copy(binary, source.join("binary-1-1.src.rpm")).expect("a copy");
    left.push(("binary-1-1.src.rpm".into(), "a binary package"));
    fs::create_dir(source.join("folder-1-1.src.rpm")).expect("a folder");
    left.push(("folder-1-1.src.rpm".into(), "not a file"));
    symlink("/nowhere", source.join("lost-1-1.src.rpm")).expect("a link");
    left.push(("lost-1-1.src.rpm".into(), "a link to nowhere"));
    symlink("loop-1-1.src.rpm", source.join("loop-1-1.src.rpm")).expect("a link");
    left.push(("loop-1-1.src.rpm".into(), "symbolic links"));
    symlink("/dev/zero", source.join("device-1-1.src.rpm")).expect("a link");
    left.push(("device-1-1.src.rpm".into(), "not a file"));
    nix::unistd::mkfifo(&source.join("pipe-1-1.src.rpm"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    left.push(("pipe-1-1.src.rpm".into(), "not a file"));
    for strange in [&b"new\nline-1-1.src.rpm"[..], b"no\xffutf8-1-1.src.rpm"] {
        let path = source.join(OsStr::from_bytes(strange));
        fs::copy(cached_srpm("hello"), &path).expect("a copy");
    }
    // Neither is named: one may still grow, dot files are nobody's business.
    let short = farm.drop_file(&truncated(&cached_srpm("slow"), made.path(), 700));
    fs::copy(cached_srpm("hello"), source.join(".hidden.src.rpm")).expect("a copy");
    fs::write(source.join("empty-1-1.src.rpm"), "").expect("a file");
    farm.add_builder();
    let good = quick(&farm, "zz-good", "1");
    farm.drop_file(&good.srpm);
    farm.wait_finished(&good.file);
    farm.hub().signal(Signal::SIGHUP);
    let after = quick(&farm, "zz-after", "1");
    farm.drop_file(&after.srpm);
    farm.wait_finished(&after.file);
    let text = farm.hub().log_text();
    for (name, why) in &left {
        let of_it = |line: &&str| line.contains(&format!("pkg={name} "));
        let lines: Vec<&str> = text.lines().filter(of_it).collect();
        assert_eq!(lines.len(), 1, "{name} is named once: {lines:?}\n{text}");
        assert!(lines[0].contains("is left in source/: ") && lines[0].contains(why), "{lines:?}");
        assert_eq!(farm.places(name), ["source"], "{name}");
    }
    for part in ["line-1-1.src.rpm", "utf8-1-1.src.rpm"] {
        assert_eq!(farm.hub().log_count(part), 1, "{text}");
    }
    assert!(!text.contains(".hidden") && !text.contains(&short), "{text}");
    // What was cut short is built once the rest is there.
    fs::copy(cached_srpm("hello"), source.join("rest")).expect("a copy");
    let package = quick(&farm, "late", "1");
    let whole = fs::read(&package.srpm).expect("an SRPM");
    let path = source.join(&package.file);
    fs::write(&path, &whole[..whole.len() / 2]).expect("a half");
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("the half");
    std::io::Write::write_all(&mut file, &whole[whole.len() / 2..]).expect("the rest");
    drop(file);
    farm.wait_finished(&package.file);
}

#[test]
fn of_two_files_with_one_package_the_second_waits_and_is_named() {
    let mut farm = Farm::plan().builders(0).start();
    let package = quick(&farm, "twin", "1");
    farm.drop_file(&package.srpm);
    farm.wait_until("the first to be seen", SOON, |farm| farm.is_in("source", &package.file));
    fs::copy(&package.srpm, farm.source().join("other-name.src.rpm")).expect("a copy");
    let line = format!("pkg=other-name.src.rpm is not leased: {} is the same package", package.file);
    farm.wait_hub_says(&line);
    let gate = farm.gate("twin");
    let rpms = [&package.srpm, &package.rpm];
    let mut outcome = moji_tests::Outcome::exit(0).gate(&gate);
    for rpm in rpms {
        outcome = outcome.file(&rpm.file_name().expect("a name").to_string_lossy(), rpm);
    }
    farm.outcome(&package.file, outcome.clone());
    farm.outcome("other-name.src.rpm", outcome);
    farm.add_builder();
    farm.add_builder();
    farm.wait_until("the first to be leased", SOON, |farm| farm.is_in("working", &package.file));
    farm.wait_until("both builders to be there", SOON, |farm| {
        fs::read_to_string(farm.path().join("hub.log")).is_ok_and(|text| text.contains("nothing to lease"))
    });
    assert_eq!(farm.places("other-name.src.rpm"), ["source"]);
    farm.open_gate("twin");
    farm.wait_finished(&package.file);
    assert_eq!(farm.hub().log_count("other-name.src.rpm is not leased"), 1);
    farm.wait_finished("other-name.src.rpm");
    // No published path ever changes its bytes: the second has a folder of its own.
    assert_eq!(farm.results("twin-1-1"), ["twin-1-1", "twin-1-1@2"]);
}
