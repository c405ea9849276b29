//! `moji-server`: reads the command line, starts logging, runs the hub, chooses the exit code.
//!
//! Owns nothing else; in particular it alone calls `exit`.

use std::process::ExitCode;

use clap::Parser;
use moji_proto::hello::Role;
use moji_server::cli::{Cli, Command, default_state, exit};
use moji_server::{daemon, keys, logging, run};

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
        None => serve(&cli.run),
    }
}

fn serve(options: &moji_server::cli::Run) -> ExitCode {
    if options.daemon {
        // What can be told now is told while somebody is watching.
        if let Err(error) = run::preflight(options) {
            return fail(error.code, &error.text);
        }
        // The parent's own words go to syslog too; that there is none is told now.
        if let Err(text) = logging::start(true, options.verbose) {
            return fail(exit::MISSING, &format!("{text}: --daemon logs there; start a syslog daemon"));
        }
        return match daemon::supervise() {
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

fn fail(code: u8, text: &str) -> ExitCode {
    eprintln!("moji-server: {text}");
    ExitCode::from(code)
}
