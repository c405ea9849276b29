//! The hub's small disk, and looks at processes.
//!
//! Owns the mounts it makes and takes them away again. Must never look at anything but `/proc`.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use moji_tests::Farm;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// A file system of its own for the hub, which can be filled; logs, builders and what mock uses are elsewhere.
pub(crate) struct Disk {
    base: TempDir,
    elsewhere: TempDir,
}

impl Disk {
    /// So many MiB.
    pub(crate) fn new(mib: u64) -> Disk {
        let folder = || tempfile::Builder::new().prefix("moji-soak-").tempdir().expect("a folder");
        let disk = Disk { base: folder(), elsewhere: folder() };
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(disk.elsewhere.path(), mode).expect("a folder's mode can be set");
        let options = format!("size={mib}m,mode=755");
        mount(Some("tmpfs"), disk.path(), Some("tmpfs"), MsFlags::empty(), Some(&*options)).expect("a tmpfs");
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        self.base.path()
    }

    /// Keeps what is not the hub's off the disk, before anything of it is there.
    pub(crate) fn keep_off(&self, farm: &Farm, builders: usize) {
        let away = self.elsewhere.path();
        for name in ["made", "outcomes"] {
            fs::create_dir(away.join(name)).expect("a folder");
            symlink(away.join(name), farm.path().join(name)).expect("a link");
        }
        let logs = (0..builders).map(|builder| format!("builder{builder}.log"));
        for log in logs.chain(["hub.log".to_owned()]) {
            File::create(away.join(&log)).expect("a log");
            symlink(away.join(&log), farm.path().join(&log)).expect("a link");
        }
        for name in (0..builders).map(|builder| format!("builder{builder}")) {
            let (from, to) = (away.join(&name), farm.path().join(&name));
            fs::create_dir(&from).and_then(|()| fs::create_dir(&to)).expect("folders");
            let (none, bind) = (None::<&str>, MsFlags::MS_BIND);
            mount(Some(&from), &to, none, bind, none).expect("a bind mount");
        }
    }

    /// Not a byte is left.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).expect("a file");
        let page = vec![7; 64 * 1024];
        while file.write_all(&page).is_ok() {}
    }

    pub(crate) fn empty(&self) {
        fs::remove_file(self.path().join("filler")).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

/// A look at one process.
#[derive(Debug)]
pub(crate) struct Look {
    /// Bytes of memory that it has for itself: pages of its program, which any look at them brings in, are not among them.
    pub(crate) resident: u64,
    /// Descriptors that it has open.
    pub(crate) descriptors: usize,
}

/// A look at all daemons.
#[derive(Debug)]
pub(crate) struct Looks {
    pub(crate) hub: Look,
    pub(crate) builders: Vec<Look>,
}

impl Look {
    fn at(pid: u32) -> Look {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        Look { resident: kib("RssAnon:").unwrap_or(0) * 1024, descriptors }
    }

    pub(crate) fn megabytes(&self) -> String {
        format!("{:.1}", self.resident as f64 / 1e6)
    }
}

impl Looks {
    pub(crate) fn at(farm: &mut Farm, builders: usize) -> Looks {
        let hub = Look::at(farm.hub().pid());
        let builders = (0..builders).map(|builder| Look::at(farm.builder(builder).pid())).collect();
        Looks { hub, builders }
    }
}
