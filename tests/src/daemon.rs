//! One program under test: started, its log kept in a file, signalled, waited for.
//!
//! Owns the child process; it is killed when the `Daemon` is dropped. Must never block for
//! longer than the limit it was given.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::poll_until;

/// A running (or ended) program whose output goes to a file.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
    /// Length of the log file when this run began: an earlier run may have written to it.
    log_start: u64,
}

impl Daemon {
    /// Starts `command`, stdin closed, stdout and stderr appended to `log`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|why| panic!("cannot open {}: {why}", log.display()));
        let log_start = file.metadata().map_or(0, |meta| meta.len());
        let copy = file.try_clone().expect("a descriptor can be duplicated");
        command.stdin(Stdio::null()).stdout(copy).stderr(file);
        let child = command.spawn().unwrap_or_else(|why| panic!("cannot start {command:?}: {why}"));
        Self { name: name.to_owned(), child, log: log.to_owned(), log_start }
    }

    /// The name it was given, as in `hub` or `builder0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, also after it ended.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal; one that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid fits"));
            kill(pid, signal).unwrap_or_else(|why| panic!("cannot signal {}: {why}", self.name));
        }
    }

    /// SIGKILL to this process alone, as a crash would end it, and waits for its end.
    pub fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM; its exit status.
    ///
    /// # Panics
    /// When it has not ended after `limit`.
    pub fn term(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_exit(limit)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended after `limit`, with its log.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        if !poll_until(limit, || !self.is_running()) {
            panic!("{} still runs after {limit:?}; its log:\n{}", self.name, self.log_text());
        }
        self.child.wait().expect("a child can be waited for")
    }

    /// The file its output goes to.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// What it has written since this start (not what an earlier run under that name wrote).
    pub fn log_text(&self) -> String {
        let mut bytes = std::fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(usize::MAX).min(bytes.len());
        bytes.drain(..start);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it wrote `text` since this start.
    pub fn logs_contain(&self, text: &str) -> bool {
        self.log_text().contains(text)
    }

    /// How many lines with `text` it wrote since this start.
    pub fn log_count(&self, text: &str) -> usize {
        self.log_text().lines().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a program that was run to its end ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; a signal counts as its negative number.
    pub code: i32,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
}

/// Runs `command` to its end with stdin closed.
///
/// # Panics
/// When it cannot be started, or has not ended after `limit` (it is killed then).
pub fn run_to_end(mut command: Command, limit: Duration) -> Finished {
    use std::os::unix::process::ExitStatusExt;
    let out = tempfile::tempfile().expect("a temporary file can be made");
    let err = tempfile::tempfile().expect("a temporary file can be made");
    let copy = |file: &File| file.try_clone().expect("a descriptor can be duplicated");
    command.stdin(Stdio::null()).stdout(copy(&out)).stderr(copy(&err));
    let mut child = command.spawn().unwrap_or_else(|why| panic!("cannot start {command:?}: {why}"));
    let ended = poll_until(limit, || !matches!(child.try_wait(), Ok(None)));
    if !ended {
        let _ = child.kill();
    }
    let status = child.wait().expect("a child can be waited for");
    let (stdout, stderr) = (content(out), content(err));
    assert!(ended, "{command:?} still ran after {limit:?}; it said:\n{stdout}{stderr}");
    let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
    Finished { code, stdout, stderr }
}

/// The text of a file that a child wrote through a copy of this descriptor.
fn content(mut file: File) -> String {
    use std::io::{Seek, SeekFrom};
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("a temporary file can be rewound");
    file.read_to_end(&mut bytes).expect("a temporary file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_exit_code_of_a_finished_program_are_kept() {
        let finished = run_to_end(shell("echo out; echo err >&2; exit 7"), LIMIT);
        assert_eq!((finished.code, &*finished.stdout, &*finished.stderr), (7, "out\n", "err\n"));
    }

    #[test]
    fn a_program_ended_by_a_signal_has_its_negative_number_as_code() {
        assert_eq!(run_to_end(shell("kill -9 $$"), LIMIT).code, -9);
    }

    #[test]
    fn a_restarted_daemon_does_not_see_the_log_of_its_earlier_run() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log");
        let mut first = Daemon::spawn("first", shell("echo ready one"), &log);
        first.wait_exit(LIMIT);
        let mut second = Daemon::spawn("second", shell("echo ready two"), &log);
        second.wait_exit(LIMIT);
        assert!(first.logs_contain("one"));
        assert!(!second.logs_contain("one"));
        assert_eq!(second.log_count("ready"), 1);
    }

    #[test]
    fn term_gives_the_exit_status() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = "trap 'exit 5' TERM; echo up; while :; do read -t 0.1 x < /dev/zero || :; done";
        let mut command = Command::new("bash");
        command.args(["-c", script]);
        let mut daemon = Daemon::spawn("trap", command, &folder.path().join("log"));
        assert!(poll_until(LIMIT, || daemon.logs_contain("up")));
        assert_eq!(daemon.term(LIMIT).code(), Some(5));
    }
}
