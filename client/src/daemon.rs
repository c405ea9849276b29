//! `--daemon`: a parent that detaches and restarts the client when it crashes.
//!
//! Owns the restarts and nothing else. A client that exits, with whatever code, meant to: only one
//! that was killed is started again.
//!
//! ```text
//!  moji-client --daemon ──starts──▶ --supervise (the parent) ──starts──▶ --worker (the client)
//!          ▲                              │ exits with the client's code       │
//!          └──── one pipe, their stdout ──┴────────── a 0 byte: it is up ◀─────┘
//! ```
//!
//! What the client says on stderr before it is up reaches whoever started the daemon.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::exit::{self, Failure};
use crate::shim;
use crate::state::{DAEMON, StateFolder};

/// First and longest pause before a restart.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// What a broken invariant exits with where panics do not abort.
const PANIC_CODE: i32 = 101;
/// A client that ran this long was well: the next pause is short again.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// What clients and their parents are told by.
const SIGNALS: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGCHLD];
/// What a client says when it is up, and its parent when it crashed before.
const UP: u8 = 0;
const CRASHED: u8 = 1;

/// Blocks the signals and makes them readable.
///
/// # Errors
/// Any error of the kernel.
#[inline(never)]
pub fn signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in SIGNALS {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Starts the parent in the background with this command line and waits until its client is up or has
/// failed; returns the exit code. The parent stays in this folder, to which relative paths of the command
/// line refer.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn detach(args: &[OsString]) -> io::Result<u8> {
    let mut parent = Command::new("/proc/self/exe")
        .arg0("moji-client")
        .arg("--supervise")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = [CRASHED];
    // At its end, nothing was said.
    if let Some(mut pipe) = parent.stdout.take()
        && pipe.read(&mut said).is_ok()
        && said == [UP]
    {
        return Ok(exit::OK);
    }
    Ok(code_of(parent.wait()?))
}

/// The client is up: tells whoever waits in [`detach`]. With syslog nothing more goes to its stderr.
pub fn up(syslog: bool) {
    let _ = tell(UP);
    if syslog {
        forget_stderr();
    }
}

/// Fails when nobody waits any more.
fn tell(what: u8) -> nix::Result<usize> {
    nix::unistd::write(io::stdout(), &[what])
}

/// A terminal or a pipe to ssh is not held open.
fn forget_stderr() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stderr(null);
    }
}

fn code_of(status: ExitStatus) -> u8 {
    status.code().and_then(|code| code.try_into().ok()).unwrap_or(exit::UNFINISHED)
}

/// The parent: runs clients with this command line until one exits. Returns its exit code.
///
/// # Errors
/// A [`Failure`] if it cannot be set up.
pub fn supervise(args: &[OsString], state: &StateFolder, syslog: bool) -> Result<u8, Failure> {
    let _lock = state.lock(DAEMON)?;
    let _ = nix::unistd::setsid();
    shim::set_oom_score(shim::OOM_SCORE_PROTECTED);
    let internal = |error: io::Error| Failure::new(exit::STATE, format!("cannot run: {error}: report this"));
    let mut parent = Parent::new().map_err(internal)?;
    let (mut pause, mut restarted) = (PAUSE_MIN, false);
    loop {
        let began = Instant::now();
        let client = start(args, restarted).map_err(internal)?;
        if syslog {
            forget_stderr();
        }
        let (status, told) = parent.wait(client).map_err(internal)?;
        if status.signal().is_none() && status.code() != Some(PANIC_CODE) {
            return Ok(code_of(status));
        }
        if told {
            // It was not up yet, and had nothing to put in order.
            return Ok(exit::OK);
        }
        if tell(CRASHED).is_ok() {
            log::error!("the client crashed ({status})");
            return Ok(exit::UNFINISHED);
        }
        if began.elapsed() >= WELL_AFTER {
            pause = PAUSE_MIN;
        }
        log::error!("the client crashed ({status}): restarts it in {} s", pause.as_secs());
        if parent.pause(pause).map_err(internal)? {
            return Ok(exit::OK);
        }
        (pause, restarted) = ((pause * 2).min(PAUSE_MAX), true);
    }
}

fn start(args: &[OsString], restarted: bool) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("moji-client")
        .arg("--worker")
        .args(restarted.then_some("--restarted"))
        .args(args)
        .spawn()
}

fn means_end(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP)
}

/// The parent's signals.
struct Parent {
    poll: Poll,
    events: Events,
    signals: SignalFd,
}

impl Parent {
    fn new() -> io::Result<Parent> {
        let signals = signals()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&signals.as_raw_fd()), Token(0), Interest::READABLE)?;
        Ok(Parent { poll, events: Events::with_capacity(1), signals })
    }

    /// The next signals, or none after `patience`.
    fn next(&mut self, patience: Option<Duration>) -> io::Result<Vec<Signal>> {
        match self.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut came = Vec::new();
        while let Ok(Some(info)) = self.signals.read_signal() {
            came.extend(Signal::try_from(info.ssi_signo as i32));
        }
        Ok(came)
    }

    /// Waits for the client to end and hands signals on to it; tells whether one of them meant the end.
    fn wait(&mut self, mut client: Child) -> io::Result<(ExitStatus, bool)> {
        let mut told = false;
        loop {
            if let Some(status) = client.try_wait()? {
                return Ok((status, told));
            }
            for signal in self.next(None)? {
                told |= means_end(signal);
                if signal != Signal::SIGCHLD {
                    let _ = kill(Pid::from_raw(client.id() as i32), signal);
                }
            }
        }
    }

    /// Waits that long; true if it was told to end meanwhile.
    fn pause(&mut self, pause: Duration) -> io::Result<bool> {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            if self.next(Some(left))?.into_iter().any(means_end) {
                return Ok(true);
            }
        }
    }
}
