//! The static ARMv5 programs of `tests/armv5`, run by qemu-user as an ARM926 without floating point.
//!
//! A builder starts itself again (shim, `--run`, `--resolve`) through `/proc/self/exe`, for which qemu puts the path
//! of the program it runs: only a kernel that itself hands such a program to qemu makes the shim an ARM program too.
//! That is binfmt_misc, here by a file name extension of this one value, so that no other program of the machine is
//! touched.
//!
//! Owns that registration and a folder with copies of the programs; both go when the value is dropped. Must never
//! build anything, nor leave binfmt_misc mounted where it was not.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::daemon::run_to_end;
use crate::world::sources;

/// Copying two programs; for a machine in distress.
const COPY_LIMIT: Duration = Duration::from_secs(60);
/// The processor: ARMv5TE, and an illegal instruction for anything of a floating point unit.
const CPU: &str = "arm926,vfp=off";
/// Where qemu's static program may be called.
const QEMU: [&str; 2] = ["/usr/bin/qemu-arm-static", "/usr/bin/qemu-arm"];
/// `e_machine` of a 32-bit ARM program, at this offset of its ELF header (ELF for the ARM architecture).
const ARM: (usize, u8) = (18, 40);

/// Runnable ARMv5 programs.
#[derive(Debug)]
pub struct Armv5 {
    /// binfmt_misc's root; holding it open keeps what is registered.
    binfmt: File,
    name: String,
    folder: tempfile::TempDir,
    qemu: PathBuf,
}

impl Armv5 {
    /// The programs, made runnable.
    ///
    /// # Errors
    /// What this machine lacks, as a line that says what to do.
    pub fn new() -> Result<Self, String> {
        let qemu = emulators().into_iter().next().ok_or("no qemu-arm-static: install qemu-user-static")?;
        Self::run_by(qemu, "")
    }

    /// The same with these words of a shell before the emulator, as `NAME=value`: for its own environment, which the
    /// programs inherit. It is one that the dynamic linker loads.
    ///
    /// # Errors
    /// What this machine lacks, as a line that says what to do.
    pub fn with_environment(words: &str) -> Result<Self, String> {
        let qemu = emulators().into_iter().find(|path| has_linker(path));
        Self::run_by(qemu.ok_or("no dynamic qemu-arm: install qemu-user")?, words)
    }

    fn run_by(qemu: PathBuf, words: &str) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let top = sources().parent().expect("this crate is in a folder of the source tree");
        let built = top.join("target/armv5te-unknown-linux-musleabi/release");
        for program in ["moji-client", "moji"] {
            let path = built.join(program);
            let head = fs::read(&path)
                .map_err(|_| format!("no {}: run tests/armv5 build -p moji-client", path.display()))?;
            assert_eq!(head.get(ARM.0), Some(&ARM.1), "{} is no ARM program", path.display());
        }
        let folder = tempfile::Builder::new().prefix("moji-armv5-").tempdir();
        let folder = folder.map_err(|why| format!("no folder for the programs: {why}"))?;
        let binfmt = open_binfmt(folder.path())?;
        let name = format!("moji-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let armv5 = Self { binfmt, name, folder, qemu };
        armv5.fill(&built, words);
        let (name, runner) = (&armv5.name, armv5.folder.path().join("qemu"));
        fs::write(armv5.entry("register"), format!(":{name}:E::{name}::{}:", runner.display()))
            .map_err(|why| format!("the kernel's binfmt_misc takes no entry: {why}"))?;
        Ok(armv5)
    }

    /// The builder's program.
    pub fn client(&self) -> PathBuf {
        self.program("moji-client")
    }

    /// The operator's program.
    pub fn moji(&self) -> PathBuf {
        self.program("moji")
    }

    /// Whether process `pid` is one of these programs, run as that processor.
    pub fn runs(&self, pid: i32) -> bool {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).and_then(fs::canonicalize);
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|&byte| byte == 0).collect();
        let own = self.folder.path().as_os_str().as_encoded_bytes();
        exe.is_ok_and(|exe| fs::canonicalize(&self.qemu).is_ok_and(|qemu| exe == qemu))
            && words.get(1..3).is_some_and(|words| words == [&b"-cpu"[..], CPU.as_bytes()])
            && words.get(3).is_some_and(|program| program.starts_with(own))
    }

    fn program(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.{}", self.name))
    }

    fn entry(&self, name: &str) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.binfmt.as_raw_fd()))
    }

    /// By a shell: a file that this process has open for writing while another thread starts a program cannot be run.
    fn fill(&self, built: &Path, words: &str) {
        let mut command = Command::new("sh");
        command.args([
            "-euc",
            "cp \"$1\" \"$2\"; cp \"$3\" \"$4\"; printf '%s' \"$5\" > \"$6\"; chmod 755 \"$6\"",
            "sh",
        ]);
        command.arg(built.join("moji-client")).arg(self.client()).arg(built.join("moji")).arg(self.moji());
        command.arg(format!("#!/bin/sh\n{words} exec {} -cpu {CPU} \"$@\"\n", self.qemu.display()));
        command.arg(self.folder.path().join("qemu"));
        let ended = run_to_end(command, COPY_LIMIT);
        assert_eq!(ended.code, 0, "copying the programs: {}", ended.stderr);
    }
}

/// The emulators of this machine: the one that MOJI_QEMU_ARM names, and those of the system.
fn emulators() -> Vec<PathBuf> {
    let named = std::env::var_os("MOJI_QEMU_ARM").map(PathBuf::from);
    named.into_iter().chain(QEMU.map(PathBuf::from)).filter(|path| path.exists()).collect()
}

/// Whether a program names a dynamic linker, as its first bytes have it.
fn has_linker(program: &Path) -> bool {
    let head = File::open(program).and_then(|file| {
        let mut head = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(file, 4_096), &mut head).map(|_| head)
    });
    head.is_ok_and(|head| head.windows(8).any(|bytes| bytes == b"/ld-linu"))
}

impl Drop for Armv5 {
    fn drop(&mut self) {
        // Without one nothing was registered.
        let _ = fs::write(self.entry(&self.name), "-1");
    }
}

/// binfmt_misc's root, mounted no longer than it takes to open it.
fn open_binfmt(point: &Path) -> Result<File, String> {
    let none = None::<&str>;
    mount(Some("binfmt_misc"), point, Some("binfmt_misc"), MsFlags::empty(), none)
        .map_err(|why| format!("the kernel lets nobody mount binfmt_misc here: {why}"))?;
    let root = File::open(point);
    umount2(point, MntFlags::MNT_DETACH).expect("what was just mounted can be detached");
    root.map_err(|why| format!("cannot open binfmt_misc: {why}"))
}
