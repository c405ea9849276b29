//! `moji-server`: reads the command line, starts logging, runs the hub, chooses the exit code.
//!
//! Owns nothing else; in particular it alone calls `exit`.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use moji_proto::hello::Role;
use moji_server::cli::{Cli, Command, default_state, exit};
use moji_server::signing::{self, SignKeyError};
use moji_server::{control, daemon, keys, logging, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Token { operator, state, finished }) => {
            let role = if operator { Role::Operator } else { Role::Builder };
            let state = state.or_else(|| finished.as_deref().map(default_state)).unwrap_or_default();
            match keys::token(&state, role) {
                Ok(token) => {
                    println!("{}", token.to_text());
                    ExitCode::from(exit::OK)
                }
                Err(error) => fail(exit::SECRET, &error.to_string()),
            }
        }
        Some(Command::Key { new, name, file }) => match key(new, &name, &file) {
            Ok(public) => {
                print!("{public}");
                ExitCode::from(exit::OK)
            }
            Err(error) => fail(exit::SECRET, &error.to_string()),
        },
        Some(Command::Status { working }) => say(control::status(&working)),
        Some(Command::Stop { working }) => say(control::stop(&working).map(|()| "stopped".to_owned())),
        None => serve(&cli.run),
    }
}

/// Makes a key that signs if that is wanted, and gives its public half.
fn key(new: bool, name: &str, file: &Path) -> Result<String, SignKeyError> {
    if new {
        signing::make(file, name)?;
    }
    let (public, fingerprint) = signing::public_of(file)?;
    eprintln!("moji-server: the public key {fingerprint} of {}", file.display());
    Ok(public)
}

fn serve(options: &moji_server::cli::Run) -> ExitCode {
    if options.daemon {
        return match daemon::detach() {
            Ok(code) => ExitCode::from(code),
            Err(text) => fail(exit::MISSING, &text),
        };
    }
    if options.supervise {
        // The parent's own words go to syslog too; that there is none is told now.
        if let Err(text) = logging::start(true, options.verbose) {
            return fail(exit::MISSING, &format!("{text}: --daemon logs there; start a syslog daemon"));
        }
        let lock = match run::daemon_lock(options) {
            Ok(lock) => lock,
            Err(error) => return fail(error.code, &error.text),
        };
        return match daemon::supervise(&lock) {
            Ok(code) => ExitCode::from(code),
            Err(text) => fail(exit::MISSING, &text),
        };
    }
    if let Err(text) = logging::start(options.syslog, options.verbose) {
        return fail(exit::MISSING, &text);
    }
    match run::hub(options) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            if options.syslog {
                log::error!("{}", error.text);
            }
            fail(error.code, &error.text)
        }
    }
}

fn say(said: Result<String, run::Fatal>) -> ExitCode {
    match said {
        Ok(line) => {
            println!("{line}");
            ExitCode::from(exit::OK)
        }
        Err(error) => fail(error.code, &error.text),
    }
}

fn fail(code: u8, text: &str) -> ExitCode {
    eprintln!("moji-server: {text}");
    ExitCode::from(code)
}
