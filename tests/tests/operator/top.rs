//! `moji top`: a live screen on a terminal of a person, of a farm that builds, stops and comes back.

use std::process::Command;

use moji_tests::{Farm, Pty, SOON, poll_until, program, run_to_end};

use crate::quick::quick;
use crate::{drop_planned, lacks_ghost, ok, own_error, wait_state};

/// A farm in which `good` was built, `bad` failed, `wants` waits for `ghost(api)` and `held` is built until the gate opens.
fn farm() -> Farm {
    let farm = Farm::plan().start();
    farm.drop_file(&quick(&farm, "good", "1").srpm);
    wait_state(&farm, "good", "success");
    drop_planned(&farm, "bad", own_error());
    wait_state(&farm, "bad", "failed");
    drop_planned(&farm, "wants", lacks_ghost());
    wait_state(&farm, "wants", "deps");
    let held = own_error().log("build.log", "compiling held\n").gate(&farm.gate("go"));
    drop_planned(&farm, "held", held);
    wait_state(&farm, "held", "building");
    farm
}

fn has(text: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| text.contains(part))
}

#[test]
fn a_person_watches_a_farm_through_a_restart_of_its_hub() {
    let mut farm = farm();
    let mut pty = farm.moji_pty(&["top"]);
    pty.wait_until("the farm", SOON, |text| {
        has(
            text,
            &["1 of 4 built (25%)", "BUILDING", "held-1-1", "LAST RESULTS", "bad-1-1", "failed", "q quit"],
        )
    });
    assert!(!pty.is_restored(), "it takes keys without Enter");
    assert!(pty.has_colour());
    pages(&mut pty);
    // The hub goes away and comes back.
    assert_eq!(farm.hub().term(SOON).code(), Some(0));
    pty.wait_until("the hub to be missed", SOON, |text| text.contains("hub away since"));
    assert!(pty.text().contains("held-1-1"), "what was known last stays:\n{}", pty.text());
    farm.start_hub();
    pty.wait_until("the hub to be back", SOON, |text| {
        !text.contains("hub away") && text.contains("held-1-1")
    });
    for (rows, columns) in [(40, 120), (15, 50), (4, 20), (24, 80)] {
        pty.resize(rows, columns);
        let fits = poll_until(SOON, || pty.wrapped().is_empty() && pty.text().contains("moji 0."));
        assert!(fits, "{rows} rows, {columns} columns, too wide: {:?}\n{}", pty.wrapped(), pty.text());
    }
    // What happens is seen without a key, also what came after the restart.
    farm.open_gate("go");
    pty.wait_until("the end of the build", SOON, |text| {
        text.find("LAST RESULTS").is_some_and(|at| text[at..].contains("held-1-1"))
    });
    pty.keys("q");
    assert_eq!(pty.wait_exit(SOON), 0);
    assert!(pty.is_restored(), "{:?}", pty.raw());
}

/// Packages by state, why, the log, help, a filter, and a pause.
fn pages(pty: &mut Pty) {
    pty.keys("p");
    pty.wait_until("all packages", SOON, |text| has(text, &["all packages: 4", "good-1-1", "wants-1-1"]));
    pty.keys("\x1b[C");
    pty.wait_until("those that are built", SOON, |text| {
        has(text, &["success: 1", "good-1-1"]) && !text.contains("wants")
    });
    pty.keys("\r");
    pty.wait_until("why", SOON, |text| has(text, &["WHY", "built and published"]));
    pty.keys("\x1b");
    pty.wait_until("the list again", SOON, |text| text.contains("success: 1"));
    pty.keys("\x1b");
    pty.wait_until("the overview", SOON, |text| text.contains("BUILDING"));
    pty.keys("l");
    pty.wait_until("the log", SOON, |text| has(text, &["build.log of held-1-1", "grows", "compiling held"]));
    pty.keys("\x1b");
    pty.wait_until("the overview", SOON, |text| text.contains("BUILDING"));
    pty.keys("/ood\r");
    pty.wait_until("the filter", SOON, |text| text.contains("good-1-1") && !text.contains("bad-1-1"));
    pty.keys("\x1b");
    pty.wait_until("all of them", SOON, |text| text.contains("bad-1-1"));
    pty.keys("?");
    pty.wait_until("the keys", SOON, |text| text.contains("KEYS"));
    pty.keys("\x1b");
    // Together with the next key it would be another one.
    pty.wait_until("the overview", SOON, |text| text.contains("BUILDING"));
    pty.keys(" ");
    pty.wait_until("a pause", SOON, |text| text.contains("paused"));
    pty.keys(" ");
    pty.wait_until("its end", SOON, |text| !text.contains("paused"));
}

#[test]
fn the_terminal_is_as_before_whatever_ends_it() {
    let farm = Farm::plan().builders(0).start();
    let open = || {
        let mut pty = farm.moji_pty(&["top"]);
        pty.wait_until("the farm", SOON, |text| text.contains("no package is here yet"));
        assert!(!pty.is_restored());
        pty
    };
    let mut pty = open();
    pty.keys("\x03");
    assert_eq!(pty.wait_exit(SOON), 0);
    assert!(pty.is_restored(), "{:?}", pty.raw());
    for signal in ["TERM", "HUP", "QUIT", "INT"] {
        let mut pty = open();
        let killed = Command::new("kill").args(["-s", signal, &pty.pid().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        pty.wait_exit(SOON);
        assert!(pty.is_restored(), "{signal}: {:?}", pty.raw());
    }
}

#[test]
fn who_is_let_in_no_more_is_told_so_on_the_terminal_that_was_before() {
    let mut farm = Farm::plan().builders(0).start();
    let mut pty = farm.moji_pty(&["top"]);
    pty.wait_until("the farm", SOON, |text| text.contains("no package is here yet"));
    // Operators get a new secret while somebody watches.
    assert_eq!(farm.hub().term(SOON).code(), Some(0));
    std::fs::remove_file(farm.state().join("operator.secret")).expect("it has one");
    farm.start_hub();
    assert_eq!(pty.wait_exit(SOON), 3);
    assert!(pty.is_restored(), "{:?}", pty.raw());
    let last = pty.text();
    assert!(last.contains("does not take the secret") && !last.contains("LAST RESULTS"), "{last}");
}

#[test]
fn a_panic_of_any_thread_gives_the_terminal_back_before_it_is_shown() {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", "--nocapture", "top::panics_on_a_terminal"]);
    let mut pty = Pty::spawn(&command);
    assert_eq!(pty.wait_exit(SOON), 101);
    assert!(pty.is_restored(), "{:?}", pty.raw());
    assert!(pty.text().contains("planned"), "it can be read: {}", pty.text());
    let (left, said) = (pty.raw().rfind("\x1b[?1049l"), pty.raw().find("planned"));
    assert!(left.is_some() && left < said, "{:?}", pty.raw());
}

#[test]
#[ignore = "a_panic_of_any_thread_gives_the_terminal_back_before_it_is_shown runs it, on a terminal"]
fn panics_on_a_terminal() {
    let _screen = moji_top::terminal::Screen::open().expect("this is a terminal");
    // Whoever asked would go on drawing for ever.
    let _ = std::thread::spawn(|| panic!("planned")).join();
    std::thread::sleep(SOON);
}

#[test]
fn without_a_terminal_it_prints_one_screen_or_says_what_to_use() {
    let farm = farm();
    let ended = farm.moji(&["top"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("moji top --once") && ended.stderr.lines().count() == 1,
        "{}",
        ended.stderr
    );
    let text = ok(&farm, &["top", "--once"]);
    assert!(has(&text, &["1 of 4 built (25%)", "BUILDING", "held-1-1", "bad-1-1", "deps"]), "{text}");
    assert!(!text.contains('\x1b') && !text.contains("q quit"), "{text:?}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let ended = farm.moji(&["--json", "top"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("moji status --json"), "{}", ended.stderr);
    let mut plain = farm.moji_with(&["top"]);
    plain.env("NO_COLOR", "1");
    let mut pty = Pty::spawn(&plain);
    pty.wait_until("the farm", SOON, |text| text.contains("held-1-1"));
    assert!(!pty.has_colour());
    pty.keys("q");
    assert_eq!(pty.wait_exit(SOON), 0);
    farm.open_gate("go");
}

#[test]
fn where_it_is_not_installed_moji_says_so() {
    let farm = Farm::plan().builders(0).start();
    let alone = farm.path().join("moji");
    std::fs::copy(program("moji"), &alone).expect("a copy");
    let mut command = Command::new(&alone);
    command.arg("top").env("PATH", farm.path());
    let ended = run_to_end(command, SOON);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("moji-top is not installed"), "{}", ended.stderr);
}
