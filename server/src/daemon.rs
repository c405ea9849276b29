//! `--daemon`: a parent in the background that restarts the hub when it crashes.
//!
//! Owns the parent only. It holds no state but the pause before the next start, so that nothing of
//! the hub's can be lost in it.
//!
//! ```text
//!  moji-server --daemon ──starts──▶ --supervise (the parent) ──starts──▶ --worker (the hub)
//!          ▲                              │ exits with the hub's code          │
//!          └──── one pipe, their stdout ──┴────────── a 0 byte: it is up ◀─────┘
//! ```
//!
//! What the hub says on stderr before it is up reaches whoever started the daemon.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::exit;
use crate::control::Lock;

/// First and longest pause before a restart.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A hub that ran this long had started well: the pause begins anew.
const RAN_WELL: Duration = Duration::from_secs(300);

/// What a hub says when it is up, and its parent when it crashed before.
const UP: u8 = 0;
const CRASHED: u8 = 1;

/// Starts the parent with the same command line and waits until its hub is up or has failed. Returns the exit code.
///
/// # Errors
/// In words, if it cannot be started.
pub fn detach() -> Result<u8, String> {
    let program = this_program()?;
    let args = std::env::args_os().skip(1).filter(|arg| arg != "--daemon");
    let mut parent = Command::new(program)
        .arg("--supervise")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("failed to go to the background: {error}"))?;
    let mut said = [CRASHED];
    if let Some(mut pipe) = parent.stdout.take()
        && pipe.read(&mut said).is_ok()
        && said == [UP]
    {
        return Ok(exit::OK);
    }
    let status = parent.wait().map_err(|error| error.to_string())?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::UNFINISHED))
}

/// The hub is up: tells whoever waits in [`detach`]. From now on all goes to syslog.
pub fn up() {
    let _ = tell(UP);
    forget_stderr();
}

/// Fails when nobody waits any more.
fn tell(what: u8) -> io::Result<()> {
    io::stdout().write_all(&[what]).and_then(|()| io::stdout().flush())
}

/// A terminal or a pipe to ssh is not held open.
fn forget_stderr() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stderr(null);
    }
}

fn this_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("failed to find this program: {error}"))
}

/// The parent: keeps the same command running as the holder of the lock. Returns the exit code with which it ends.
///
/// # Errors
/// In words, if the process cannot detach or start itself.
pub fn supervise(_lock: &Lock) -> Result<u8, String> {
    let program = this_program()?;
    let args: Vec<_> = std::env::args_os().skip(1).filter(|arg| arg != "--supervise").collect();
    // The folder stays, so that relative paths on the command line keep their meaning.
    let _ = nix::unistd::setsid();
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| format!("failed to catch signals: {error}"))?;
    let stopping = Arc::new(AtomicBool::new(false));
    let mut pause = PAUSE_MIN;
    loop {
        let started = Instant::now();
        let mut child = Command::new(&program)
            .args(["--worker", "--syslog"])
            .args(args.iter().filter(|arg| *arg != "--syslog"))
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("failed to start the hub: {error}"))?;
        forget_stderr();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                break status;
            }
            for signal in signals.wait() {
                if matches!(signal, SIGTERM | SIGINT) {
                    stopping.store(true, Ordering::Relaxed);
                }
                if signal != SIGCHLD {
                    let _ = kill(pid, Signal::try_from(signal).unwrap_or(Signal::SIGTERM));
                }
            }
        };
        if let Some(code) = last_word(status, stopping.load(Ordering::Relaxed)) {
            return Ok(code);
        }
        if tell(CRASHED).is_ok() {
            log::error!("the hub ended ({status}) before it was up");
            return Ok(exit::UNFINISHED);
        }
        if started.elapsed() > RAN_WELL {
            pause = PAUSE_MIN;
        }
        log::error!("the hub ended ({status}); starting it again in {} s", pause.as_secs());
        if wait_or_stop(&mut signals, pause) {
            return Ok(0);
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The parent's exit code, unless the hub is to be started again: it is not after a clean end, a
/// stop, or an error that a restart cannot mend.
fn last_word(status: ExitStatus, stopping: bool) -> Option<u8> {
    match status.code() {
        Some(code) => u8::try_from(code).ok().filter(|code| stopping || matches!(code, 0 | 2..=7)),
        None => stopping.then(|| status.signal().map_or(1, |signal| 128 + u8::try_from(signal).unwrap_or(0))),
    }
}

/// Waits; says whether a signal asked to stop meanwhile.
fn wait_or_stop(signals: &mut Signals, pause: Duration) -> bool {
    let end = Instant::now() + pause;
    while Instant::now() < end {
        if signals.pending().any(|signal| matches!(signal, SIGTERM | SIGINT)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_crash_is_started_again() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        for (status, stopping, want) in [
            (exited(0), false, Some(0)),
            (exited(3), false, Some(3)),
            (exited(1), false, None),
            (exited(101), false, None),
            (ExitStatus::from_raw(6), false, None),
            (ExitStatus::from_raw(9), true, Some(137)),
            (exited(1), true, Some(1)),
        ] {
            assert_eq!(last_word(status, stopping), want, "{status}, stopping: {stopping}");
        }
    }
}
