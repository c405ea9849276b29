//! What `/proc` says about processes, mounts and the machine.
//!
//! Owns the reading of `/proc`. Everything here is a look at one moment: a process may be gone a
//! moment later, which every caller must take for "not there".

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process that cannot be taken for a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its start, clock ticks since boot (`/proc/PID/task/PID/stat`, field 22).
    pub start: u64,
    /// Which boot (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
}

impl Process {
    /// The process with this number; none if there is none or it is a zombie.
    #[must_use]
    pub fn of(pid: i32) -> Option<Process> {
        let stat = Stat::of(pid)?;
        (!stat.dead).then(|| Process { pid, start: stat.start, boot: boot_id() })
    }

    /// This very process.
    #[must_use]
    pub fn current() -> Option<Process> {
        Process::of(std::process::id() as i32)
    }

    /// Whether it still runs; a zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Process::of(self.pid).as_ref() == Some(self)
    }

    /// Sends a signal if it still runs. False if it does not, or may not be signalled.
    pub fn signal(&self, signal: Signal) -> bool {
        self.is_alive() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

struct Stat {
    parent: i32,
    start: u64,
    dead: bool,
}

impl Stat {
    /// By the process's first thread: qemu-user answers a program's look at its own `/proc/PID/stat` itself, with a
    /// start that is not the kernel's, and nobody would find that process again.
    fn of(pid: i32) -> Option<Stat> {
        let text = fs::read(format!("/proc/{pid}/task/{pid}/stat")).ok()?;
        Stat::parse(&text)
    }

    /// The name in parentheses may hold anything, so fields are counted from the last `)`.
    fn parse(text: &[u8]) -> Option<Stat> {
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Stat {
            dead: matches!(*fields.first()?, "Z" | "X" | "x"),
            parent: fields.get(1)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }
}

/// What belongs to one build.
#[derive(Clone, Debug)]
pub struct Belongs<'a> {
    /// Their descendants belong, they themselves do not.
    pub ancestors: &'a [i32],
    /// `NAME=VALUE` in the environment.
    pub marker: &'a str,
    /// The chroot's `--uniqueext`: a process whose root has a component that ends so belongs.
    pub ext: &'a str,
}

/// All processes of a build that run now, except this one and the `ancestors`.
#[must_use]
pub fn of_build(belongs: &Belongs<'_>) -> Vec<i32> {
    let mut pids = pids();
    pids.sort_unstable();
    // Each with its parent; by number, to be searched.
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for pid in pids {
        if let Some(stat) = Stat::of(pid)
            && !stat.dead
        {
            parents.push((pid, stat.parent));
        }
    }
    let parent_of =
        |pid: i32| parents.binary_search_by_key(&pid, |(pid, _)| *pid).ok().map(|at| parents[at].1);
    let own = std::process::id() as i32;
    let ancestors = belongs.ancestors;
    let descends = |pid: i32| {
        let mut at = pid;
        // A chain is never longer than there are processes; the bound is for a table that changed
        // while it was read.
        for _ in 0..=parents.len() {
            match parent_of(at) {
                Some(parent) if ancestors.contains(&parent) => return true,
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    };
    parents
        .iter()
        .map(|(pid, _)| *pid)
        .filter(|&pid| pid != own && !ancestors.contains(&pid))
        .filter(|&pid| {
            descends(pid)
                || has_marker(pid, belongs.marker)
                || root_of(pid).is_some_and(|root| under_ext(&root, belongs.ext))
        })
        .collect()
}

fn pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn has_marker(pid: i32, marker: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|&byte| byte == 0).any(|entry| entry == marker.as_bytes()))
}

fn root_of(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/root")).ok()
}

/// Whether `path` lies in a chroot that mock made with `--uniqueext=EXT`: mock names its folder
/// `ROOT-EXT`, and the bootstrap chroot's `ROOT-bootstrap-EXT`.
#[must_use]
pub fn under_ext(path: &Path, ext: &str) -> bool {
    let ext = ext.as_bytes();
    path.components().any(|component| {
        let name = component.as_os_str().as_bytes();
        name.strip_suffix(ext).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"-"))
    })
}

/// Mount points under such a chroot, deepest first.
#[must_use]
pub fn mounts_under(ext: &str) -> Vec<PathBuf> {
    let text = fs::read("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<PathBuf> = text
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(1))
        .map(unescape)
        .filter(|path| under_ext(path, ext))
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    found
}

/// Undoes the `\040` of `/proc/mounts`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let octal = field.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if field[at] == b'\\' => {
                plain.push(byte);
                at += 4;
            }
            _ => {
                plain.push(field[at]);
                at += 1;
            }
        }
    }
    std::ffi::OsString::from_vec(plain).into()
}

/// The kernel's count of processes killed for want of memory.
#[must_use]
pub fn oom_kills() -> u64 {
    field("/proc/vmstat", "oom_kill").unwrap_or(0)
}

/// Most memory that any process had which this one, or a descendant of it, has waited for, MiB; 0 if the kernel
/// does not say. It is that of the largest process, not of all together: the kernel adds those up in a
/// control group only, which counts the page cache too, and mock moves its container into another one.
#[must_use]
pub fn peak_memory_mib() -> u32 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    usage.map_or(0, |usage| (usage.max_rss() as u64).div_ceil(1024) as u32)
}

/// Memory in all and available, MiB.
#[must_use]
pub fn memory_mib() -> (u32, u32) {
    let mib = |name| (field("/proc/meminfo", name).unwrap_or(0) / 1024) as u32;
    (mib("MemTotal:"), mib("MemAvailable:"))
}

/// The hottest of the kernel's thermal zones, °C; None if there is none above zero.
#[must_use]
pub fn celsius() -> Option<u8> {
    let mut hottest = None;
    // They are numbered without a gap.
    for number in 0..u8::MAX {
        let path = format!("/sys/class/thermal/thermal_zone{number}/temp");
        let Ok(text) = fs::read_to_string(path) else { break };
        if let Ok(milli) = text.trim().parse::<u64>() {
            hottest = hottest.max(Some((milli / 1000) as u8));
        }
    }
    hottest
}

/// One-minute load average times 100.
#[must_use]
pub fn load_centi() -> u32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let (whole, rest) = text.split_once('.').unwrap_or_default();
    let cents = rest.get(..2).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
    whole.parse::<u32>().unwrap_or(0).saturating_mul(100).saturating_add(cents)
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_does_not_shift_the_fields() {
        let line = b"42 (a) Z (b)) S 7 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.start, stat.dead), (7, 12345, false));
    }

    #[test]
    fn this_process_is_alive_and_a_later_one_with_its_number_is_another() {
        let this = Process::current().unwrap();
        assert!(this.is_alive());
        assert!(!Process { start: this.start + 1, ..this.clone() }.is_alive());
        assert!(!Process { boot: "another".into(), ..this }.is_alive());
    }

    #[test]
    fn a_chroot_is_told_by_the_whole_of_its_extension() {
        for (path, want) in [
            ("/var/lib/mock/mini-moji-17-1/root", true),
            ("/var/lib/mock/mini-bootstrap-moji-17-1/root/proc", true),
            ("/var/lib/mock/mini-moji-17-12/root", false),
            ("/var/lib/mock/mini-xmoji-17-1/root", false),
            ("/var/lib/mock/mini-moji-217-1/root", false),
            ("/", false),
        ] {
            assert_eq!(under_ext(Path::new(path), "moji-17-1"), want, "{path}");
        }
    }

    #[test]
    fn a_mount_point_with_a_space_is_read_back() {
        assert_eq!(unescape(b"/a\\040b"), Path::new("/a b"));
        assert_eq!(unescape(b"/a\\"), Path::new("/a\\"));
    }
}
