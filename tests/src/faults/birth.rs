//! A process caught at its birth: stopped before the first instruction of its own program.
//!
//! Owns the moment between the start of a child and its first call, which nobody could meet by looking. Must never
//! leave a process stopped: [`Caught::go`] is for the test to say, or the farm's end.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Daemon, SOON, poll_until};

/// A trap around a process: whatever it starts is stopped at once.
#[derive(Debug)]
pub struct Trap {
    strace: Daemon,
    parent: u32,
}

/// A process that has not made a single call.
#[derive(Debug)]
pub struct Caught {
    /// Its process id.
    pub pid: u32,
}

impl Trap {
    /// Lays it around the process `parent`.
    ///
    /// # Panics
    /// When strace cannot.
    pub fn around(parent: u32, folder: &Path) -> Trap {
        let mut strace = Command::new("strace");
        // A SIGSTOP at execve's entry is taken on the way out, by the new program. A child's counter begins anew.
        strace.args(["-f", "-qq", "-e", "signal=none", "-o", "/dev/null", "-e", "trace=execve"]);
        strace.args(["-e", "inject=execve:signal=STOP:when=1", "-p", &parent.to_string()]);
        let strace = Daemon::spawn("strace", strace, &folder.join("strace.txt"));
        let is_laid = || status(parent, "TracerPid:").is_some_and(|tracer| tracer != "0");
        assert!(poll_until(SOON, is_laid), "strace attaches to {parent}: {}", strace.log_text());
        Trap { strace, parent }
    }

    /// Waits for a child with `words` in its command line; the trap is gone then. Children without are let go.
    pub fn catch(mut self, words: &str) -> Option<Caught> {
        let mut caught = None;
        poll_until(SOON, || {
            for pid in stopped_children(self.parent) {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if String::from_utf8_lossy(&line).replace('\0', " ").contains(words) {
                    caught = Some(Caught { pid });
                } else {
                    Caught { pid }.go();
                }
            }
            caught.is_some()
        });
        self.strace.term(SOON);
        caught
    }
}

impl Caught {
    /// Lets it live.
    pub fn go(self) {
        let pid = Pid::from_raw(i32::try_from(self.pid).expect("a pid fits"));
        // It may have been killed.
        let _ = kill(pid, Signal::SIGCONT);
    }
}

/// Children that are stopped, by a signal (T) or by who traces them (t).
fn stopped_children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| status(*pid, "PPid:").is_some_and(|found| found == parent.to_string());
    let is_stopped = |pid: &u32| status(*pid, "State:").is_some_and(|state| state.starts_with(['T', 't']));
    pids.filter(|pid| is_child(pid) && is_stopped(pid)).collect()
}

/// A line of `/proc/PID/status`.
fn status(pid: u32, what: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(what))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::calls::{Harm, Point, harm};

    #[test]
    fn a_child_is_stopped_before_it_does_anything_and_can_be_hurt_at_its_first_call() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        nix::unistd::mkfifo(&path.join("wait"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let mut command = Command::new("sh");
        command.args(["-c", "read go < wait; true; /bin/true one; mkdir two; echo over"]).current_dir(path);
        let mut run = Daemon::spawn("shell", command, &path.join("log"));
        let trap = Trap::around(run.pid(), path);
        fs::write(path.join("wait"), "go\n").expect("the pipe is read");
        let caught = trap.catch("mkdir two").expect("mkdir is started");
        assert!(!path.join("two").exists());
        let (thread, call, about) = ("mkdir".to_owned(), "mkdir".to_owned(), String::new());
        let point = Point { thread, call, number: 1, path: None, about };
        let strace = harm(caught.pid, &point, Harm::Kill, path);
        caught.go();
        run.wait_exit(SOON);
        assert!(run.logs_contain("over"));
        assert!(!path.join("two").exists());
        drop(strace);
    }
}
