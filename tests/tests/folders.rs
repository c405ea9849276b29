//! Folders are the truth: whatever people do in `source/`, `working/` and `finished/` while the hub runs.
//!
//! Owns the scenarios of files that come, go, grow and come back, and of the two lists beside them.
//! `priority.txt` is judged by the order of leases, `options.txt` by what the build was given.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use moji_tests::{Farm, Outcome, SOON, cached_srpm, simple_spec, srpm_from_spec};
use nix::sys::signal::Signal;

const HELLO: &str = "hello-1.0-1.src.rpm";

/// Makes the SRPM of a trivial package beside the farm's folders.
fn make(farm: &Farm, name: &str) -> PathBuf {
    srpm_from_spec(farm.path(), &simple_spec(name, "1", ""))
}

fn file(name: &str) -> String {
    format!("{name}-1-1.src.rpm")
}

/// Names of the packages in the order in which they were leased.
fn leased(farm: &mut Farm) -> Vec<String> {
    let log = farm.hub().log_text();
    let lines = log.lines().filter(|line| line.ends_with(" leased"));
    let names = lines.filter_map(|line| line.split_once("pkg=")?.1.split_once("-1-1.src.rpm "));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// Builds a package made for this, which shows that the hub has seen everything that was there before it.
fn another_builds(farm: &Farm, name: &str) {
    let srpm = make(farm, name);
    farm.outcome(&file(name), own_error());
    farm.drop_file(&srpm);
    farm.wait_finished(&file(name));
}

/// The quickest end of a build: an error of the package's own.
fn own_error() -> Outcome {
    Outcome::exit(1).log("build.log", "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n")
}

#[test]
fn a_file_counts_once_it_is_whole_however_slowly_it_is_copied() {
    let mut farm = Farm::plan().start();
    let bytes = fs::read(cached_srpm("hello")).expect("it was set up");
    let path = farm.source().join(HELLO);
    let mut copy = OpenOptions::new().create(true).append(true).open(&path).expect("a file is made");
    let mut from = 0;
    // Within its lead, within its headers, one byte short.
    for (number, to) in [50, 2_000, bytes.len() - 1].into_iter().enumerate() {
        copy.write_all(&bytes[from..to]).expect("written");
        from = to;
        another_builds(&farm, &format!("other{number}"));
        assert_eq!(farm.places("hello"), ["source"], "it is not whole at {to}");
    }
    copy.write_all(&bytes[from..]).expect("written");
    farm.wait_finished("hello");
    assert_eq!(farm.result_json("hello-1.0-1")["verdict"], "success");
    // Not even one try before. (The line follows the file.)
    farm.wait_hub_says(" success");
    assert_eq!(farm.hub().log_count(&format!("pkg={HELLO} lease=")), 2);
    assert_eq!(farm.hub().log_count("left in source"), 0);
}

#[test]
fn a_link_counts_and_moves_as_a_link_and_dot_files_do_not_count() {
    let mut farm = Farm::plan().start();
    let pool = farm.path().join("pool");
    fs::create_dir(&pool).expect("a folder");
    let target = pool.join("stored");
    fs::copy(cached_srpm("hello"), &target).expect("copied");
    fs::copy(cached_srpm("pkga"), farm.source().join(".pkga-1.0-1.src.rpm")).expect("copied");
    symlink(&target, farm.source().join(HELLO)).expect("a link");
    farm.wait_finished("hello");
    assert_eq!(farm.result_json("hello-1.0-1")["verdict"], "success");
    assert_eq!(fs::read_link(farm.finished().join(HELLO)).ok(), Some(target.clone()));
    let same = fs::read(&target).expect("there") == fs::read(cached_srpm("hello")).expect("there");
    assert!(same, "what it leads to is left alone");
    assert!(farm.source().join(".pkga-1.0-1.src.rpm").exists());
    assert_eq!(farm.hub().log_count("pkga"), 0);
    // Renamed to a name that counts, it counts.
    fs::rename(farm.source().join(".pkga-1.0-1.src.rpm"), farm.source().join("pkga-1.0-1.src.rpm"))
        .expect("renamed");
    farm.wait_finished("pkga");
}

#[test]
fn a_file_dropped_while_its_name_is_leased_waits_and_is_built_again() {
    let farm = Farm::plan().builders(2).start();
    farm.outcome("hello", Outcome::build_behind(&farm.gate("go")).once());
    farm.drop_srpm("hello");
    farm.wait_until("the build", SOON, |farm| {
        farm.places("hello") == ["working"] && !farm.mocks().is_empty()
    });
    farm.drop_srpm("hello");
    // The other builder is idle and takes what comes, but not this one.
    another_builds(&farm, "other");
    assert_eq!(farm.places("hello"), ["source", "working"]);
    farm.open_gate("go");
    farm.wait_until("both results", SOON, |farm| farm.results("hello-1.0-1").len() == 2);
    farm.wait_finished("hello");
    let (first, second) = (farm.result_json("hello-1.0-1"), farm.result_json("hello-1.0-1@2"));
    assert_eq!((&first["verdict"], &second["verdict"]), (&"success".into(), &"success".into()));
    assert_ne!(first["lease"], second["lease"]);
}

#[test]
fn taken_out_of_working_the_lease_is_cancelled_and_the_build_stops() {
    let mut farm = Farm::plan().start();
    farm.drop_srpm("slow");
    farm.wait_until("the build to tick", SOON, |farm| {
        farm.processes().iter().any(|process| process.in_chroot && process.command.starts_with("sleep "))
    });
    let away = farm.path().join("away");
    fs::rename(farm.working().join("slow-1.0-1.src.rpm"), &away).expect("a person takes it");
    farm.wait_until("the build to stop", SOON, |farm| {
        farm.mocks().is_empty() && !farm.processes().iter().any(|process| process.in_chroot)
    });
    farm.wait_hub_says(" cancelled: ");
    assert_eq!(farm.mounts(), Vec::<PathBuf>::new());
    another_builds(&farm, "other");
    assert_eq!(farm.places("slow"), Vec::<&str>::new());
    assert_eq!(farm.results("slow-1.0-1"), Vec::<String>::new());
    assert_eq!(farm.hub().log_count("slow-1.0-1.src.rpm lease="), 2, "leased, cancelled");
    // Given back, it is a package like any other.
    farm.outcome("slow", own_error());
    fs::rename(&away, farm.source().join("slow-1.0-1.src.rpm")).expect("a person gives it back");
    farm.wait_finished("slow");
}

#[test]
fn moved_from_finished_to_source_a_package_starts_afresh() {
    let mut farm = Farm::plan().hub_args(["--attempts", "2"]).start();
    let killed = || Outcome::exit(247).log("root.log", "Child return code was: -9\n");
    farm.outcome("hello", killed());
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    for times in 2..=3 {
        fs::rename(farm.finished().join(HELLO), farm.source().join(HELLO)).expect("a person moves it");
        farm.wait_until("another result", SOON, |farm| farm.results("hello-1.0-1").len() == times);
        farm.wait_finished("hello");
    }
    // Two attempts each time, none of them charged twice.
    assert_eq!(farm.hub().log_count("attempt 1 of 2 used up: memory"), 3);
    assert_eq!(farm.hub().log_count("failed: all 2 attempts used up: "), 3);
    // Taken out of finished/, nothing happens; dropped again, it is built.
    farm.forget_outcome("hello");
    fs::remove_file(farm.finished().join(HELLO)).expect("a person deletes it");
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    assert_eq!(farm.result_json("hello-1.0-1@4")["verdict"], "success");
}

#[test]
fn a_second_file_of_the_same_package_is_named_once_and_waits_for_the_first() {
    let mut farm = Farm::plan().builders(2).start();
    farm.outcome("hello", Outcome::build_behind(&farm.gate("go")));
    let second = "zz-copy-of-hello.src.rpm";
    farm.drop_srpm("hello");
    farm.wait_until("the build", SOON, |farm| farm.is_in("working", "hello"));
    fs::copy(cached_srpm("hello"), farm.source().join(second)).expect("copied");
    let named = format!("pkg={second} is not leased: {HELLO} is the same package");
    farm.wait_hub_says(&named);
    another_builds(&farm, "other");
    farm.hub().signal(Signal::SIGHUP);
    another_builds(&farm, "another");
    assert_eq!(farm.places(second), ["source"]);
    assert_eq!(farm.hub().log_count("is the same package"), 1);
    farm.open_gate("go");
    farm.wait_finished("hello");
    farm.wait_finished(second);
    assert_eq!(farm.results("hello-1.0-1"), ["hello-1.0-1", "hello-1.0-1@2"]);
    assert_eq!(farm.result_json("hello-1.0-1@2")["srpm"], second);
}

#[test]
fn priority_txt_orders_the_leases_as_people_write_it_and_rewrite_it() {
    let mut farm = Farm::plan().start();
    let list = farm.source().join("priority.txt");
    let held = make(&farm, "held");
    farm.outcome(&file("held"), own_error().gate(&farm.gate("go")));
    farm.drop_file(&held);
    farm.wait_until("the build", SOON, |farm| farm.is_in("working", &file("held")));
    fs::write(&list, "\u{feff}./p5-1-1.src.rpm\r\n# p1-1-1.src.rpm\r\n\r\nnot-here-1-1\r\np3-1-1\r\n")
        .expect("written");
    farm.wait_hub_says("priority.txt: 3 lines");
    for name in ["p1", "p2", "p3", "p4", "p5", "p6"] {
        let srpm = make(&farm, name);
        farm.outcome(&file(name), own_error().gate(&farm.gate(if name == "p3" { "more" } else { "go" })));
        farm.drop_file(&srpm);
    }
    // One more, so that the hub has seen them all when it leases again.
    fs::write(farm.source().join("seen.src.rpm"), "no package").expect("written");
    farm.wait_hub_says("pkg=seen.src.rpm is left in source/");
    farm.open_gate("go");
    // The file is in working/ an instant before the log says so.
    farm.wait_until("the second of the list", SOON, |farm| farm.is_in("working", &file("p3")));
    farm.wait_hub_says(&format!("pkg={} lease=", file("p3")));
    assert_eq!(leased(&mut farm), ["held", "p5", "p3"]);
    // Replaced as an editor does it, while the builder is busy.
    let new = farm.path().join("priority.new");
    fs::write(&new, "p6-1-1.src.rpm\np2-1-1.src.rpm").expect("written");
    fs::rename(&new, &list).expect("replaced");
    farm.wait_hub_says("priority.txt: 2 lines");
    farm.open_gate("more");
    for name in ["p1", "p2", "p4", "p6"] {
        farm.wait_finished(&file(name));
    }
    let order = leased(&mut farm);
    assert_eq!(order[..5], ["held", "p5", "p3", "p6", "p2"]);
    // Of the others the larger file goes first, and those are almost of one size.
    assert_eq!(order[5..].iter().collect::<BTreeSet<_>>().len(), 2, "{order:?}");
    // Without a list it is so for all.
    fs::remove_file(&list).expect("deleted");
    farm.wait_until("the hub to see it", SOON, |farm| {
        fs::read_to_string(farm.path().join("hub.log")).is_ok_and(|log| {
            log.lines()
                .rfind(|line| line.contains("priority.txt: "))
                .is_some_and(|line| line.ends_with(" 0 lines"))
        })
    });
}

#[test]
fn options_txt_reaches_the_build_and_its_result_and_a_bad_line_is_named() {
    let mut farm = Farm::plan().builders(0).start();
    let spec = |name: &str| {
        simple_spec(name, "1", "").replace("echo 1 >", "echo \"got %{?mydef}\" >") + "%check\nfalse\n"
    };
    let (with, without) =
        (srpm_from_spec(farm.path(), &spec("with")), srpm_from_spec(farm.path(), &spec("without")));
    fs::write(
        farm.source().join("options.txt"),
        "# what single packages need\r\nwith-1* --nocheck --define 'mydef some value'\r\n\
         without* --resultdir=/etc\r\nhello --nocheck\r\n",
    )
    .expect("written");
    farm.wait_hub_says("options.txt line 3: ");
    farm.wait_hub_says("options.txt: 2 rules");
    farm.drop_file(&with);
    farm.drop_file(&without);
    farm.add_builder();
    farm.wait_finished(&file("with"));
    farm.wait_finished(&file("without"));
    let result = farm.result_json("with-1-1");
    assert_eq!(result["verdict"], "success", "{result}");
    assert_eq!(result["options"], serde_json::json!(["--nocheck", "--define", "mydef some value"]));
    farm.wait_until("it to be published", SOON, |farm| farm.install(&["with"]).is_ok());
    let installed = farm.install(&["with"]).expect("dnf installs");
    let text = fs::read_to_string(installed.path("/usr/share/with/data")).expect("the file is there");
    assert_eq!(text, "got some value\n");
    let result = farm.result_json("without-1-1");
    assert_eq!((&result["verdict"], &result["options"]), (&"failed".into(), &serde_json::json!([])));
    // Said again by SIGHUP, nothing is new; a new rule is for the next lease.
    let lines = farm.hub().log_count("options.txt");
    farm.hub().signal(Signal::SIGHUP);
    another_builds(&farm, "other");
    assert_eq!(farm.hub().log_count("options.txt"), lines);
    fs::write(farm.source().join("options.txt"), "without --nocheck\n").expect("written");
    farm.wait_hub_says("options.txt: 1 rules");
    fs::write(farm.source().join("options.txt"), "without-1-1 --nocheck\n").expect("written");
    farm.wait_until("the hub to see it", SOON, |farm| {
        fs::read_to_string(farm.path().join("hub.log"))
            .is_ok_and(|log| log.matches("options.txt: 1 rules").count() == 2)
    });
    fs::rename(farm.finished().join(file("without")), farm.source().join(file("without"))).expect("moved");
    farm.wait_until("its second result", SOON, |farm| farm.results("without-1-1").len() == 2);
    assert_eq!(farm.result_json("without-1-1@2")["verdict"], "success");
}

#[test]
fn sighup_looks_again_at_what_no_event_tells() {
    let mut farm = Farm::plan().start();
    let target = farm.path().join("later");
    symlink(&target, farm.source().join(HELLO)).expect("a link");
    farm.wait_hub_says(&format!("pkg={HELLO} is left in source/"));
    fs::copy(cached_srpm("hello"), &target).expect("copied");
    another_builds(&farm, "other");
    assert_eq!(farm.places("hello"), ["source"], "nobody could know");
    farm.hub().signal(Signal::SIGHUP);
    farm.wait_finished("hello");
    assert_eq!(farm.hub().log_count("left in source/"), 1);
}
