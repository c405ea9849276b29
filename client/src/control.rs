//! `disable`, `enable`, `stop`, `leave` and `status`: what a person says to a client that runs.
//!
//! Owns nothing but the words: a running client is found by the lock of its state folder, and told by
//! signals. Between a crash and the restart it is its `--daemon` parent that runs.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::exit::{self, Failure};
use crate::proc::Process;
use crate::state::{CLIENT, DAEMON, StateFolder};

/// How long `stop` waits: the 15 s that a stop may take, and some for a slow board.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How long `enable` waits for the client to say that it takes work: it hears the signal at once.
const ENABLE_MAX: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What runs on the folder: the client (true), or the parent that restarts it soon.
#[inline(never)]
fn running(state: &StateFolder) -> Result<(Process, bool), Failure> {
    let client = state.running(CLIENT);
    let is_client = client.is_some();
    match client.or_else(|| state.running(DAEMON)) {
        Some(process) => Ok((process, is_client)),
        None => {
            let text = format!(
                "no client runs on {}: start one, or name its folder with --state",
                state.0.display()
            );
            Err(Failure::new(exit::NOT_RUNNING, text))
        }
    }
}

/// Sends `signal` to the client; one that was not restarted yet reads from the folder what it means.
fn tell(state: &StateFolder, signal: Signal) -> Result<(), Failure> {
    let (process, is_client) = running(state)?;
    let told = if is_client {
        process.signal(signal)
    } else {
        state.keep_draining(signal == Signal::SIGUSR1).is_ok()
    };
    if told { Ok(()) } else { Err(denied(process.pid)) }
}

/// Prints what was begun, and the work that it leaves.
fn say(begun: &str, line: Option<&str>) {
    let line = line.unwrap_or("there is nothing to finish");
    println!("{begun}: {}", line.strip_prefix("draining: ").unwrap_or(line));
}

/// Asks the client to finish what it has and end. Returns at once; says what is being finished.
///
/// # Errors
/// A [`Failure`] if none runs.
pub fn disable(state: &StateFolder) -> Result<(), Failure> {
    // Before the client writes that it drains.
    let line = work(state);
    tell(state, Signal::SIGUSR1)?;
    say("draining", line.as_deref());
    Ok(())
}

/// Asks the client to take jobs again, and waits until it says so.
///
/// # Errors
/// A [`Failure`] if none runs, or if the drain was over first.
pub fn enable(state: &StateFolder) -> Result<(), Failure> {
    tell(state, Signal::SIGUSR2)?;
    let ends = |line: String| line.starts_with("draining") || line.starts_with("stopping");
    let answered = wait(ENABLE_MAX, &|| running(state).is_err() || !state.status().is_some_and(ends));
    running(state)?;
    if !answered {
        return Err(Failure::new(exit::UNFINISHED, "the client is stopping: start it when it is gone"));
    }
    println!("takes work");
    Ok(())
}

/// Stops the client now and waits until it is gone.
///
/// # Errors
/// A [`Failure`] if none runs, or if it does not end.
pub fn stop(state: &StateFolder) -> Result<(), Failure> {
    end(state, Signal::SIGTERM)?;
    println!("stopped");
    Ok(())
}

/// Ends the client and waits until it is gone; its build goes on and waits for the next client.
///
/// # Errors
/// A [`Failure`] if none runs, or if it does not end.
pub fn leave(state: &StateFolder) -> Result<(), Failure> {
    end(state, Signal::SIGHUP)?;
    say("left", work(state).as_deref());
    Ok(())
}

fn end(state: &StateFolder, signal: Signal) -> Result<(), Failure> {
    // The parent hands it on, and knows then that its client shall not be started again.
    let (target, _) = running(state)?;
    let target = state.running(DAEMON).unwrap_or(target);
    if !target.signal(signal) && target.is_alive() {
        return Err(denied(target.pid));
    }
    if wait(STOP_MAX, &|| running(state).is_err()) {
        return Ok(());
    }
    let text = format!("process {} does not end: look at its log, or kill -9 it", target.pid);
    Err(Failure::new(exit::UNFINISHED, text))
}

/// Prints one line: what the client does.
///
/// # Errors
/// A [`Failure`] if none runs.
pub fn status(state: &StateFolder) -> Result<(), Failure> {
    let (process, is_client) = running(state)?;
    let line = if is_client {
        work(state).or_else(|| state.status()).unwrap_or_else(|| "starting".to_owned())
    } else {
        "restarts the client soon".to_owned()
    };
    println!("pid {}: {line}", process.pid);
    Ok(())
}

/// What the client works on and for how many minutes; none without a job.
fn work(state: &StateFolder) -> Option<String> {
    let line = state.status().filter(|line| line.contains("pkg=") || line.starts_with("draining: "))?;
    // The folder of jobs changes when one comes.
    let begun = fs::metadata(state.0.join("jobs")).and_then(|jobs| jobs.modified()).ok()?;
    let minutes = begun.elapsed().map_or(0, |time| time.as_secs() / 60);
    // The hub stands last.
    let (job, hub) = line.split_at(line.rfind(',')?);
    Some(format!("{job}, {minutes} min{hub}"))
}

/// Looks until `done` or the time is over; true if it is done.
fn wait(max: Duration, done: &dyn Fn() -> bool) -> bool {
    let end = Instant::now() + max;
    while !done() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    true
}

fn denied(pid: i32) -> Failure {
    Failure::new(exit::STATE, format!("may not signal process {pid}: be the user that started it, or root"))
}
