//! What belongs to a farm on the machine: processes and mounts, found by the path of its folder.
//!
//! Owns reading `/proc` for that and the last clean-up. Must never touch a process that does not
//! hold the farm's path in its command line, environment or root.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::poll_until;

/// How long killed processes may take to vanish: they are reaped by whoever adopted them.
const REAP: Duration = Duration::from_secs(10);

/// A process of a farm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Process id of its parent, 0 when it ended while being looked at.
    pub parent: i32,
    /// Its words, joined by spaces.
    pub command: String,
    /// Whether it lives in a chroot of the farm.
    pub in_chroot: bool,
}

/// Every living process but this one with `folder` in its command line, environment or root.
pub(crate) fn processes_of(folder: &Path) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| process_of(pid, folder))
        .collect()
}

fn process_of(pid: i32, folder: &Path) -> Option<Process> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let needle = folder.as_os_str().as_encoded_bytes();
    let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let words = fs::read(proc.join("cmdline")).ok()?;
    let in_chroot = fs::read_link(proc.join("root")).is_ok_and(|root| root.starts_with(folder));
    // A zombie has neither words nor root: it has ended.
    let belongs = in_chroot || holds(&words) || fs::read(proc.join("environ")).is_ok_and(|env| holds(&env));
    belongs.then(|| {
        let command = String::from_utf8_lossy(&words).replace('\0', " ").trim().to_owned();
        Process { pid, parent: parent_of(pid), command, in_chroot }
    })
}

fn parent_of(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Mount points of this machine under `folder`, deepest last.
pub(crate) fn mounts_under(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(folder))
        .collect()
}

/// Kills every process of `folder` and detaches every mount under it.
pub(crate) fn sweep(folder: &Path) {
    let gone = poll_until(REAP, || {
        let left = processes_of(folder);
        for process in &left {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        left.is_empty()
    });
    if !gone {
        eprintln!("still there after SIGKILL: {:?}", processes_of(folder));
    }
    for point in mounts_under(folder).iter().rev() {
        let _ = umount2(point, MntFlags::MNT_DETACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_found_by_its_environment_and_swept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut child =
            Command::new("sleep").arg("300").env("MOJI_FARM", folder.path()).spawn().expect("sleep starts");
        let pid = i32::try_from(child.id()).expect("a pid fits");
        assert!(poll_until(REAP, || processes_of(folder.path()).iter().any(|p| p.pid == pid)));
        let reaper = std::thread::spawn(move || child.wait());
        sweep(folder.path());
        assert_eq!(processes_of(folder.path()), []);
        assert!(!reaper.join().expect("no panic").expect("waited").success());
    }

    #[test]
    fn a_foreign_process_is_not_found() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(processes_of(folder.path()), []);
    }
}
