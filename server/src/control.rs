//! `status` and `stop`, and the locks by which a hub that runs is found.
//!
//! Owns the two lock files in WORKING: `.lock` of the hub, `.daemon` of the parent that restarts it. Each holds pid,
//! start and boot of the process that has the lock, so that a number which another program has by now is never
//! signalled; who ends well leaves it empty. Must never decide anything for the hub, nor touch its other files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::exit;
use crate::run::Fatal;

/// Name of the hub's lock in `working/`; it is never removed, because a removed lock locks nothing.
pub const LOCK_NAME: &str = ".lock";
/// Name of the lock of the parent that `--daemon` keeps.
pub const DAEMON_LOCK_NAME: &str = ".daemon";
/// Longest text in a lock file, bytes: two numbers of 64 bits and an UUID.
const LOCK_BYTES_MAX: u64 = 128;
/// How often and with what pause a taken lock is tried again: 300 ms, for a `status` that looks just then.
const LOCK_TRIES: u32 = 30;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// How long `stop` waits: a hub ends within 5 s, and a result that is being committed may take some more.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A hold on the folders; gone when it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// A name that is left tells of a process that was killed.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

/// Takes the lock `name` in `working`; none if another process has it.
///
/// # Errors
/// Any error of the file system.
pub fn take(working: &Path, name: &str) -> io::Result<Option<Lock>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644);
    let mut file = options.custom_flags(OFlag::O_NOFOLLOW.bits()).open(working.join(name))?;
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if tries == LOCK_TRIES => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        tries += 1;
    }
    let pid = std::process::id();
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{pid} {}", birth(pid).unwrap_or_default())?;
    Ok(Some(Lock { file }))
}

/// Pid of the process that has the lock `name` in `working`; none if nobody has it.
///
/// # Errors
/// Any error of the file system but a missing file.
pub fn holder(working: &Path, name: &str) -> io::Result<Option<u32>> {
    let mut file = match File::open(working.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Twice or more where the holder has the lock and has not written its name yet.
    for _ in 0..LOCK_TRIES {
        match file.try_lock_shared() {
            Ok(()) => return Ok(None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut text = String::new();
        file.rewind()?;
        let _ = (&file).take(LOCK_BYTES_MAX).read_to_string(&mut text);
        if let Some((pid, born)) = text.trim().split_once(' ')
            && let Ok(pid) = pid.parse()
            && birth(pid).is_some_and(|now| now == born)
        {
            return Ok(Some(pid));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(io::Error::other("somebody has the lock who is no hub of this machine"))
}

/// What tells a process from a later one with its number: its start (`/proc/PID/stat`, field 22) and the boot.
fn birth(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so fields are counted from the last `)`.
    let start = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(19)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{start} {}", boot.trim()))
}

/// The hub, or the parent that starts it again soon.
enum Running {
    Hub(u32),
    Parent(u32),
}

fn running(working: &Path) -> Result<Running, Fatal> {
    let failed = |error: io::Error| Fatal {
        code: exit::FOLDER,
        text: format!(
            "working folder '{}' cannot be looked at: {error}: be root or the hub's user",
            working.display()
        ),
    };
    if let Some(pid) = holder(working, LOCK_NAME).map_err(failed)? {
        return Ok(Running::Hub(pid));
    }
    if let Some(pid) = holder(working, DAEMON_LOCK_NAME).map_err(failed)? {
        return Ok(Running::Parent(pid));
    }
    let text =
        format!("no hub runs on working folder '{}': start one, or name another folder", working.display());
    Err(Fatal { code: exit::NOT_RUNNING, text })
}

/// One line: the hub that runs on the folder.
///
/// # Errors
/// [`Fatal`] with [`exit::NOT_RUNNING`] if none does.
pub fn status(working: &Path) -> Result<String, Fatal> {
    Ok(match running(working)? {
        Running::Hub(pid) => format!("pid {pid}: serves {}", working.display()),
        Running::Parent(pid) => format!("pid {pid}: starts the hub again soon"),
    })
}

/// Stops the hub on the folder, and the parent that would start it again, and waits until both are gone.
///
/// # Errors
/// [`Fatal`] if none runs, if it may not be signalled, or if it does not end.
pub fn stop(working: &Path) -> Result<(), Fatal> {
    let (Running::Hub(pid) | Running::Parent(pid)) = running(working)?;
    // The parent hands the signal on, and knows then that the hub shall not be started again.
    let pid = holder(working, DAEMON_LOCK_NAME).ok().flatten().unwrap_or(pid);
    if let Err(error) = kill(Pid::from_raw(i32::try_from(pid).unwrap_or(0)), Signal::SIGTERM)
        && error == nix::errno::Errno::EPERM
    {
        let text = format!("may not signal process {pid}: be the hub's user, or root");
        return Err(Fatal { code: exit::FOLDER, text });
    }
    let end = Instant::now() + STOP_MAX;
    loop {
        match running(working) {
            Err(error) if error.code == exit::NOT_RUNNING => return Ok(()),
            _ if Instant::now() >= end => {
                let text = format!("process {pid} does not end: look at its log, or kill -9 it");
                return Err(Fatal { code: exit::UNFINISHED, text });
            }
            _ => std::thread::sleep(LOOK_EVERY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_holder_and_a_stale_pid_names_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let code = |working: &Path| status(working).unwrap_err().code;
        assert_eq!(code(folder.path()), exit::NOT_RUNNING);
        let daemon = take(folder.path(), DAEMON_LOCK_NAME).unwrap().unwrap();
        assert!(status(folder.path()).unwrap().contains("again soon"));
        let lock = take(folder.path(), LOCK_NAME).unwrap().unwrap();
        assert!(take(folder.path(), LOCK_NAME).unwrap().is_none());
        let pid = std::process::id();
        assert!(status(folder.path()).unwrap().starts_with(&format!("pid {pid}: serves ")));
        // The number of a process that is not the holder: never taken for it.
        fs::write(folder.path().join(LOCK_NAME), "1 17 another-boot\n").unwrap();
        assert_eq!(code(folder.path()), exit::FOLDER);
        drop((lock, daemon));
        assert_eq!(code(folder.path()), exit::NOT_RUNNING);
    }
}
