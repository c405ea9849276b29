//! `--daemon`: a parent in the background that restarts the hub when it crashes.
//!
//! Owns the parent only. It holds no state but the pause before the next start, so that nothing of
//! the hub's can be lost in it.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// First and longest pause before a restart.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A hub that ran this long had started well: the pause begins anew.
const RAN_WELL: Duration = Duration::from_secs(300);

/// Goes to the background and keeps the same command, less `--daemon`, running. Returns the exit
/// code with which the parent ends.
///
/// # Errors
/// In words, if the process cannot detach or start itself.
pub fn supervise() -> Result<u8, String> {
    let program = std::env::current_exe().map_err(|error| format!("failed to find this program: {error}"))?;
    let args: Vec<_> = std::env::args_os().skip(1).filter(|arg| arg != "--daemon").collect();
    // The folder stays, so that relative paths on the command line keep their meaning.
    nix::unistd::daemon(true, false).map_err(|error| format!("failed to go to the background: {error}"))?;
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| format!("failed to catch signals: {error}"))?;
    let stopping = Arc::new(AtomicBool::new(false));
    let mut pause = PAUSE_MIN;
    loop {
        let started = Instant::now();
        let mut child = Command::new(&program)
            .args(&args)
            .arg("--syslog")
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("failed to start the hub: {error}"))?;
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
