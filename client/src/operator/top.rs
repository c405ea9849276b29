//! `top`: the farm live in a terminal, by a program of its own.
//!
//! Owns where that program is looked for and what it is told. A table of cells and what of it changed would double this one,
//! which has to stay small.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::code;
use super::output::Out;
use super::settings::Given;
use crate::exit::Failure;

/// The program.
const PROGRAM: &str = "moji-top";

/// `moji top`: becomes that program.
///
/// # Errors
/// A [`Failure`] if it is not there, or cannot be run.
pub(super) fn top(given: &Given, out: &Out, once: bool) -> Result<u8, Failure> {
    if out.json {
        let text = "top has no JSON: use 'moji status --json' or 'moji events --json'";
        return Err(Failure::new(code::USAGE, text));
    }
    let program = beside().unwrap_or_else(|| PathBuf::from(PROGRAM));
    let error = Command::new(&program).args(words(given, out.colour, once)).exec();
    let text = match error.kind() {
        ErrorKind::NotFound => {
            format!("{PROGRAM} is not installed, neither beside moji nor in PATH: use 'moji status --watch'")
        }
        _ => format!("cannot run {}: {error}", program.display()),
    };
    Err(Failure::new(code::NO, text))
}

/// The program in the folder that this one is in.
fn beside() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    beside.is_file().then_some(beside)
}

/// What it is told.
fn words(given: &Given, colour: bool, once: bool) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    if let Some(hub) = &given.hub {
        words.extend(["--hub".into(), hub.into()]);
    }
    if let Some(file) = &given.password_file {
        words.extend(["--password-file".into(), file.into()]);
    }
    words.extend(
        [(!colour).then_some("--no-color"), once.then_some("--once")].into_iter().flatten().map(Into::into),
    );
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_which_hub_and_secret_and_how_to_look() {
        assert_eq!(words(&Given::default(), true, false), Vec::<OsString>::new());
        let given = Given { hub: Some("h:1".to_owned()), password_file: Some("/f".into()) };
        assert_eq!(
            words(&given, false, true),
            ["--hub", "h:1", "--password-file", "/f", "--no-color", "--once"]
        );
    }
}
