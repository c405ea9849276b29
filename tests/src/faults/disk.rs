//! A disk of its own for a farm: a file system in a file, which can be cut off, made read-only, and mounted again.
//!
//! Owns the image, the loop device and the mount, which go when it is dropped. Must never be a place for what outlives
//! the hub: builders and logs belong elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::daemon::run_to_end;
use crate::farm::Farm;
use crate::world::poll_until;

/// How long mkfs and mount may take on a busy machine.
const MOUNT: Duration = Duration::from_secs(60);
/// How long the processes of a killed hub may keep the file system.
const LET_GO: Duration = Duration::from_secs(20);
/// Smallest image that mkfs.xfs takes, MiB.
const XFS_MIB: u64 = 300;

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext4 that writes nothing out by itself: neither at the end of a file that replaces another, nor every 5 s. An error
    /// makes it read-only, as distributions have it.
    Ext4,
    /// XFS as it is.
    Xfs,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
        }
    }

    fn options(self) -> &'static str {
        match self {
            Kind::Ext4 => "loop,noauto_da_alloc,commit=300,errors=remount-ro",
            Kind::Xfs => "loop",
        }
    }
}

/// A mounted file system in a file.
#[derive(Debug)]
pub struct LoopDisk {
    kind: Kind,
    at: PathBuf,
    /// Holds the image and the mount point.
    folder: TempDir,
}

impl LoopDisk {
    /// Makes and mounts one of about so many MiB.
    ///
    /// # Errors
    /// What this machine lacks for it.
    pub fn new(kind: Kind, mib: u64) -> Result<LoopDisk, String> {
        let folder = tempfile::Builder::new().prefix("moji-disk-").tempdir().expect("a folder for a disk");
        let at = folder.path().join("disk");
        fs::create_dir(&at).expect("a mount point");
        let disk = LoopDisk { kind, at, folder };
        let mib = if kind == Kind::Xfs { mib.max(XFS_MIB) } else { mib };
        let image = fs::File::create(disk.image()).expect("an image");
        image.set_len(mib << 20).expect("a sparse file");
        let mut mkfs = Command::new(format!("mkfs.{}", kind.name()));
        mkfs.arg("-q").arg(disk.image());
        run(mkfs)?;
        disk.mount()?;
        Ok(disk)
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    fn mount(&self) -> Result<(), String> {
        let mut command = Command::new("mount");
        command.args(["-t", self.kind.name(), "-o", self.kind.options()]).arg(self.image()).arg(&self.at);
        run(command)?;
        // What is unshared later must not keep a copy that nobody can unmount.
        mount(None::<&str>, &self.at, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)
            .map_err(|why| format!("the mount cannot be made private: {why}"))
    }

    /// Unmounts it, for which nobody may use it any more, and waits until the device is free: a second mount of an image
    /// that somebody still has mounted would show the old, dead one.
    ///
    /// # Errors
    /// When somebody keeps it.
    pub fn unplug(&self) -> Result<(), String> {
        let mut last = Ok(());
        let gone = poll_until(LET_GO, || {
            last = umount2(&self.at, MntFlags::empty());
            matches!(last, Ok(()) | Err(nix::errno::Errno::EINVAL))
        });
        let is_free = gone && poll_until(LET_GO, || devices_of(&self.image()).is_empty());
        if is_free {
            return Ok(());
        }
        Err(format!("{} is still in use ({last:?}, {:?})", self.at.display(), devices_of(&self.image())))
    }

    /// Unmounts and mounts: what was not on the disk is not in memory either.
    ///
    /// # Panics
    /// When somebody still uses it.
    pub fn plug_in_again(&self) {
        self.unplug().and_then(|()| self.mount()).unwrap_or_else(|why| panic!("{why}"));
    }

    /// The file system finds an error in itself and makes itself read-only, until it is mounted again.
    ///
    /// # Errors
    /// Where it has no such switch: it is not ext4.
    pub fn fail(&self) -> Result<(), String> {
        let device = devices_of(&self.image()).pop().ok_or("there is no device")?;
        let switch = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        fs::write(&switch, "planted by a test").map_err(|why| format!("{}: {why}", switch.display()))
    }

    /// Puts the hub's folders of a farm that has not started here; links lead to them.
    ///
    /// # Panics
    /// When they are not as a new farm has them.
    pub fn take_folders(&self, farm: &Farm) {
        for name in ["source", "working", "finished", "repo", "state"] {
            let (own, there) = (farm.path().join(name), self.at.join(name));
            fs::create_dir(&there).expect("a folder");
            for entry in fs::read_dir(&own).expect("a folder of the farm").flatten() {
                fs::copy(entry.path(), there.join(entry.file_name())).expect("a file of the farm");
            }
            fs::remove_dir_all(&own).expect("a folder of the farm");
            symlink(&there, &own).expect("a link");
        }
    }

    /// Writes everything out, as if nothing had been done to it lately.
    pub fn settle(&self) {
        let folder = fs::File::open(&self.at).expect("a mounted folder");
        nix::unistd::syncfs(folder).expect("a disk that works");
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if let Err(why) = self.unplug() {
            eprintln!("{why}: detached");
            let _ = umount2(&self.at, MntFlags::MNT_DETACH);
        }
    }
}

/// Runs a command of the system.
fn run(command: Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let is_there = Command::new("sh").args(["-c", "command -v \"$0\" > /dev/null", &program]).status();
    if !is_there.is_ok_and(|status| status.success()) {
        return Err(format!("there is no {program}"));
    }
    let ended = run_to_end(command, MOUNT);
    if ended.code == 0 { Ok(()) } else { Err(format!("{program} failed: {}", ended.stderr.trim())) }
}

/// Names of loop devices that still have this image.
fn devices_of(image: &Path) -> Vec<String> {
    let has = |name: &String| {
        let file = Path::new("/sys/block").join(name).join("loop/backing_file");
        fs::read_to_string(file).is_ok_and(|text| Path::new(text.trim_end()) == image)
    };
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(has).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Cutter;

    #[test]
    fn what_was_synced_survives_a_cut_and_what_was_not_does_not() {
        let disk = match LoopDisk::new(Kind::Ext4, 64) {
            Ok(disk) => disk,
            Err(why) => return eprintln!("SKIPPED: no power can be cut here: {why}"),
        };
        let (kept, lost) = (disk.path().join("kept"), disk.path().join("lost"));
        fs::write(&kept, "kept").expect("a file");
        disk.settle();
        fs::write(&lost, "lost").expect("a file");
        fs::write(&kept, "changed").expect("a file");
        Cutter::start().cut(disk.path()).expect("ext4 knows it");
        assert!(fs::write(&lost, "again").is_err());
        disk.plug_in_again();
        assert!(!lost.exists());
        assert_ne!(fs::read_to_string(&kept).expect("it was synced"), "changed");
        fs::write(&lost, "alive").expect("a disk that works");
    }
}
