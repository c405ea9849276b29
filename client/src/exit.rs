//! Exit codes and the one kind of error that ends the program.
//!
//! Owns the numbers that `--help` documents and scripts rely on.

use std::fmt;

/// Done, drained or stopped as told.
pub const OK: u8 = 0;
/// `--once`: the package was taken and could not be finished here; the lease was given back.
pub const UNFINISHED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// mock, its configuration or the user to run it as is wrong.
pub const CONFIG: u8 = 3;
/// The state folder cannot be used, or another client uses it.
pub const STATE: u8 = 4;
/// `--once`: the hub refused this builder.
pub const REFUSED: u8 = 5;
/// `--once`: the secret is wrong, or the hub is not the one known.
pub const SECRET: u8 = 6;
/// `--once`: the hub cannot be reached.
pub const UNREACHABLE: u8 = 7;
/// `disable`, `stop`, `status`: no client runs on this state folder.
pub const NOT_RUNNING: u8 = 8;

/// Why the program ends early: one line and a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What is wrong, and what to do.
    pub text: String,
}

impl Failure {
    /// A failure with this code and line.
    #[must_use]
    pub fn new(code: u8, text: impl Into<String>) -> Failure {
        Failure { code, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
