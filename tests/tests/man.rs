//! The man pages and completions in the source tree: what the programs' `--help` says, and sound.
//!
//! Owns nothing; `tests/src/bin/man` makes them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use moji_tests::{Finished, run_to_end};

const LIMIT: Duration = Duration::from_secs(60);

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn run(program: &str, words: &[&str]) -> Finished {
    let mut command = Command::new(program);
    command.current_dir(top()).args(words);
    run_to_end(command, LIMIT)
}

#[test]
fn pages_and_completions_are_what_the_programs_help_says() {
    let ended = run(env!("CARGO_BIN_EXE_man"), &["--check"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn groff_finds_no_fault_in_a_page() {
    if Command::new("groff").arg("--version").output().is_err() {
        eprintln!("LEFT OUT: no groff here");
        return;
    }
    let daemon = ["NAME", "SYNOPSIS", "OPTIONS", "FILES", "SIGNALS", "EXIT STATUS", "EXAMPLES"];
    let command = ["NAME", "SYNOPSIS", "OPTIONS", "KEYS", "FILES", "EXIT STATUS", "EXAMPLES"];
    for (page, headings) in [
        ("client/dist/moji-client.8", daemon),
        ("server/dist/moji-server.8", daemon),
        ("top/dist/moji-top.1", command),
    ] {
        let ended = run("groff", &["-Tutf8", "-P-cbou", "-man", "-ww", page]);
        assert_eq!((ended.code, &*ended.stderr), (0, ""), "{page}");
        for heading in headings {
            assert!(ended.stdout.contains(heading), "{page} has no {heading}");
        }
    }
}

#[test]
fn bash_completes_commands_options_and_values() {
    let complete = |program: &str, words: &str| {
        let file = format!("{}/dist/completion/bash/{program}", program.trim_start_matches("moji-"));
        let function = program.replace('-', "_");
        // compopt works only while somebody presses Tab.
        let line = format!(
            "compopt() {{ :; }}; . {file}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _{function}; echo ${{COMPREPLY[@]}}"
        );
        let ended = run("bash", &["-c", &line]);
        assert_eq!((ended.code, &*ended.stderr), (0, ""), "{line}");
        ended.stdout.trim().to_owned()
    };
    assert_eq!(complete("moji-client", "moji-client st"), "stop status");
    assert_eq!(complete("moji-client", "moji-client --backend r"), "rpmbuild");
    assert_eq!(complete("moji-client", "moji-client hub cfg --hub"), "--hub-key");
    assert_eq!(complete("moji-client", "moji-client hub cfg --state server/sr"), "server/src");
    assert_eq!(complete("moji-server", "moji-server serv"), "");
    assert_eq!(complete("moji-server", "moji-server a server/sr"), "server/src");
}
