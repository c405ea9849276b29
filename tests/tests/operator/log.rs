//! `log`: what builds say, afterwards and while they say it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use moji_tests::{Farm, Outcome, SOON};

use crate::quick::quick;
use crate::{drop_planned, no, object, ok, restart_hub, shell, wait_state};

#[test]
fn every_log_of_every_attempt_is_shown_and_moves_no_cursor() {
    let farm = Farm::plan().start();
    let text =
        "a\ttab\nred \x1b[31mred\x1b[0m bell \x07 bad \u{9b}31m\nerror: Bad exit status from x (%build)\n";
    drop_planned(
        &farm,
        "loud",
        Outcome::exit(1).log("build.log", text).log("root.log", "dnf's words\n").once(),
    );
    wait_state(&farm, "loud", "failed");
    let shown = ok(&farm, &["log", "loud"]);
    assert!(shown.contains("a\ttab\nred ^[[31mred^[[0m bell ^G bad "), "{shown:?}");
    assert!(!shown.contains(['\x1b', '\x07', '\u{9b}']), "{shown:?}");
    assert_eq!(ok(&farm, &["log", "loud", "--raw"]), text);
    assert_eq!(ok(&farm, &["log", "loud", "--which", "root"]), "dnf's words\n");
    assert!(ok(&farm, &["log", "loud-1-1", "--which", "state"]).contains("Finish: clean chroot"));
    // An attempt that was no result is kept compressed, beside the state.
    farm.outcome(
        "loud-1-1.src.rpm",
        Outcome::exit(1).log("build.log", "cc1: x.s: No space left on device\n").once(),
    );
    ok(&farm, &["retry", "loud"]);
    farm.wait_until("the second attempt to end", SOON, |farm| {
        object(farm, &["show", "loud"])["attempts"][1]["ended"].is_string()
    });
    assert!(ok(&farm, &["log", "loud"]).contains("No space left on device"));
    assert!(ok(&farm, &["log", "loud", "--attempt", "1"]).contains("tab"));
    assert!(ok(&farm, &["log", "loud", "--attempt", "2"]).contains("No space left on device"));
    assert!(no(&farm, &["log", "loud", "--attempt", "9"]).contains('9'));
    assert!(no(&farm, &["log", "lout"]).contains("loud"), "what comes near is named");
    let mut pty = farm.moji_pty(&["log", "loud", "--attempt", "1"]);
    assert_eq!(pty.wait_exit(SOON), 0, "{}", pty.text());
    assert!(!pty.has_colour() && pty.text().contains("^[[31mred"), "{}", pty.text());
    // A reader that has seen enough ends it quietly.
    let ended = shell(&farm, "\"$@\" | true", &["log", "loud"]);
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

/// The log that mock writes for builder 0 right now.
fn live_log(farm: &Farm) -> PathBuf {
    let jobs = farm.builder_state(0).join("jobs");
    let mut found = None;
    farm.wait_until("a log that grows", SOON, |_| {
        let folders = fs::read_dir(&jobs).into_iter().flatten().flatten();
        found = folders.map(|job| job.path().join("result/build.log")).find(|log| log.exists());
        found.is_some()
    });
    found.expect("it was waited for")
}

fn write(log: &PathBuf, text: &str) {
    let mut file = OpenOptions::new().append(true).open(log).expect("mock's log");
    file.write_all(text.as_bytes()).expect("written");
}

#[test]
fn a_log_is_followed_line_by_line_through_restarts_until_its_build_has_ended() {
    let mut farm = Farm::plan().builders(0).start();
    let package = quick(&farm, "live", "1");
    farm.outcome(&package.file, Outcome::exit(1).log("build.log", "line 1\n").gate(&farm.gate("go")));
    farm.drop_file(&package.srpm);
    wait_state(&farm, "live", "waiting");
    // Followed before anybody builds it, piped and on a terminal.
    let mut pty = farm.moji_pty(&["log", "live", "-f"]);
    let piped = farm.path().join("piped");
    let mut command = farm.moji_with(&["log", "live", "-f"]);
    command.stdout(fs::File::create(&piped).expect("a file")).stderr(std::process::Stdio::null());
    let mut follower = command.spawn().expect("it starts");
    farm.add_builder();
    pty.wait_until("the first line", SOON, |text| text.contains("line 1"));
    let log = live_log(&farm);
    for number in 2..5 {
        let line = format!("line {number}");
        write(&log, &format!("{line}\n"));
        pty.wait_until("the next line", SOON, |text| text.contains(&line));
    }
    restart_hub(&mut farm);
    write(&log, "line 5\n");
    pty.wait_until("a line after the restart", SOON, |text| text.contains("line 5"));
    // One without its end, and one over the terminal's edge by its own length.
    write(&log, "line 6 without end");
    pty.wait_until("half a line", SOON, |text| text.contains("line 6 without end"));
    write(&log, "\nerror: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n");
    farm.open_gate("go");
    assert_eq!(pty.wait_exit(SOON), 1, "the build failed:\n{}", pty.text());
    let text = pty.text();
    for number in 1..7 {
        let line = format!("line {number}");
        assert_eq!(text.matches(&line).count(), 1, "{line} is there once:\n{text}");
    }
    assert!(text.contains("Bad exit status") && text.contains("failed"), "{text}");
    assert!(pty.is_restored());
    farm.wait_until("the other follower to end", SOON, |_| matches!(follower.try_wait(), Ok(Some(_))));
    let text = fs::read_to_string(&piped).expect("its output");
    let all = "line 1\nline 2\nline 3\nline 4\nline 5\nline 6 without end\n\
               error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n";
    assert_eq!(text, all, "piped it is the log and nothing else");
    // Ctrl-C ends a follower and nothing else.
    let again = quick(&farm, "again", "1");
    farm.outcome(&again.file, Outcome::exit(1).log("build.log", "begun\n").gate(&farm.gate("more")));
    farm.drop_file(&again.srpm);
    let mut pty = farm.moji_pty(&["log", "again", "--follow"]);
    pty.wait_until("its log", SOON, |text| text.contains("begun"));
    pty.keys("\x03");
    pty.wait_exit(SOON);
    assert!(pty.is_restored());
    assert_eq!(farm.mocks().len(), 1);
    // When the build ends by a cancel, so does the log.
    let mut pty = farm.moji_pty(&["log", "again", "-f"]);
    pty.wait_until("its log", SOON, |text| text.contains("begun"));
    ok(&farm, &["cancel", "again"]);
    pty.wait_exit(SOON);
}
