//! `disable`, `stop` and `status`: what a person says to a client that runs.
//!
//! Owns nothing but the words: a running client is found by the lock of its state folder, and told by
//! signals.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::exit::{self, Failure};
use crate::state::{CLIENT, DAEMON, StateFolder};

/// How long `stop` waits: the 15 s that a stop may take, and some for a slow board.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn not_running(state: &StateFolder) -> Failure {
    let text = format!("no client runs on {}: start one, or name its folder with --state", state.0.display());
    Failure::new(exit::NOT_RUNNING, text)
}

/// Asks the client to finish what it has and end. Returns at once; says what is being finished.
///
/// # Errors
/// A [`Failure`] if none runs.
pub fn disable(state: &StateFolder) -> Result<(), Failure> {
    let client = state.running(CLIENT).ok_or_else(|| not_running(state))?;
    if !client.signal(Signal::SIGUSR1) {
        return Err(denied(client.pid));
    }
    match state.status() {
        Some(line) if line.contains("pkg=") => println!("draining, finishes first: {line}"),
        _ => println!("draining, nothing to finish"),
    }
    Ok(())
}

/// Stops the client now and waits until it is gone.
///
/// # Errors
/// A [`Failure`] if none runs, or if it does not end.
pub fn stop(state: &StateFolder) -> Result<(), Failure> {
    let (client, daemon) = (state.running(CLIENT), state.running(DAEMON));
    let target = client.or(daemon).ok_or_else(|| not_running(state))?;
    if !target.signal(Signal::SIGTERM) && target.is_alive() {
        return Err(denied(target.pid));
    }
    let end = Instant::now() + STOP_MAX;
    while state.running(CLIENT).is_some() || state.running(DAEMON).is_some() {
        if Instant::now() >= end {
            let text = format!("process {} does not end: look at its log, or kill -9 it", target.pid);
            return Err(Failure::new(exit::UNFINISHED, text));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    println!("stopped");
    Ok(())
}

/// Prints one line: what the client does.
///
/// # Errors
/// A [`Failure`] if none runs.
pub fn status(state: &StateFolder) -> Result<(), Failure> {
    let Some(client) = state.running(CLIENT) else {
        return match state.running(DAEMON) {
            Some(daemon) => {
                println!("pid {}: restarts the client soon", daemon.pid);
                Ok(())
            }
            None => Err(not_running(state)),
        };
    };
    println!("pid {}: {}", client.pid, state.status().unwrap_or_else(|| "starting".to_owned()));
    Ok(())
}

fn denied(pid: i32) -> Failure {
    Failure::new(exit::STATE, format!("may not signal process {pid}: be the user that started it, or root"))
}
