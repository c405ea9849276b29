//! A control group that limits memory, as a small machine does.
//!
//! Owns its folder below /sys/fs/cgroup, in either version of control groups, and everything that runs in it: both go when
//! it is dropped. Must never touch a group that it did not make.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::poll_until;

/// How long killed processes may take to be gone.
const GONE_LIMIT: Duration = Duration::from_secs(20);

/// Numbers groups of this process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A group of processes with so much memory and no swap.
#[derive(Debug)]
pub struct SmallMachine {
    folder: PathBuf,
    is_second: bool,
}

impl SmallMachine {
    /// One with so many bytes of memory; says why there cannot be one here.
    ///
    /// # Errors
    /// Where control groups cannot be written, or do not control memory.
    pub fn new(bytes: u64) -> Result<SmallMachine, String> {
        let name = format!("moji-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let first = Path::new("/sys/fs/cgroup/memory");
        let second = Path::new("/sys/fs/cgroup");
        let is_second = !first.is_dir();
        let parent = if is_second { second } else { first };
        if is_second {
            let there = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
            if !there.split_whitespace().any(|one| one == "memory") {
                return Err("no control groups that control memory".into());
            }
            // It fails where the controller is on already and must stay as it is; the limit below tells.
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
        }
        let folder = parent.join(name);
        fs::create_dir(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let machine = SmallMachine { folder, is_second };
        let (limit, swap) = if is_second { ("memory.max", "memory.swap.max") } else { LIMITS_OF_FIRST };
        machine.set(limit, bytes)?;
        // A machine without swap may lack the second file; then there is nothing to limit.
        if machine.folder.join(swap).exists() {
            machine.set(swap, if is_second { 0 } else { bytes })?;
        }
        Ok(machine)
    }

    fn set(&self, file: &str, bytes: u64) -> Result<(), String> {
        let path = self.folder.join(file);
        fs::write(&path, bytes.to_string()).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// The same command, in the group from its first instant.
    #[must_use]
    pub fn inside(&self, command: &Command) -> Command {
        let mut inner = Command::new("sh");
        inner.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.folder.join("cgroup.procs"));
        inner.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inner.env(key, value),
                None => inner.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            inner.current_dir(folder);
        }
        inner
    }

    /// Most memory that its processes had at once, bytes, with what of files was in memory; 0 where the kernel does not say.
    pub fn peak_bytes(&self) -> u64 {
        let file = if self.is_second { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.folder.join(file)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// How many of its processes the kernel killed for want of memory.
    pub fn killed(&self) -> u64 {
        let file = if self.is_second { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.unwrap_or(0)
    }

    fn processes(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Ends everything in it.
    pub fn stop(&self) {
        poll_until(GONE_LIMIT, || {
            let left = self.processes();
            // One that is gone meanwhile is what is wanted.
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            left.is_empty()
        });
    }
}

/// Files of the first version: memory, and memory with swap.
const LIMITS_OF_FIRST: (&str, &str) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");

impl Drop for SmallMachine {
    fn drop(&mut self) {
        self.stop();
        // An empty group takes nothing but a name; the kernel may still count its last pages.
        poll_until(GONE_LIMIT, || fs::remove_dir(&self.folder).is_ok() || !self.folder.exists());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_to_end;

    #[test]
    fn what_takes_more_memory_than_there_is_gets_killed_and_what_takes_less_does_not() {
        let machine = match SmallMachine::new(64 << 20) {
            Ok(machine) => machine,
            Err(why) => return eprintln!("LEFT OUT: {why}"),
        };
        let take = |megabytes: u32| {
            let mut command = Command::new("dd");
            command.args(["if=/dev/zero", "of=/dev/null", "count=1"]).arg(format!("bs={megabytes}M"));
            run_to_end(machine.inside(&command), Duration::from_secs(60)).code
        };
        assert_eq!((take(20), machine.killed()), (0, 0));
        assert_eq!(take(200), -9);
        assert_eq!(machine.killed(), 1);
    }
}
