//! The power, and the moment at which it goes.
//!
//! Owns the ioctl that shuts a file system down without writing anything out (`EXT4_IOC_SHUTDOWN`, `XFS_IOC_GOINGDOWN`),
//! and a hub that dies at a chosen call of the system. Must never decide which call, nor look at what is left.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::world::program;

/// Shuts down the file system of each folder that it reads. The flag is `NOLOGFLUSH`: not even the journal is written
/// out. It is a program of its own because this crate has no unsafe code, and it runs beforehand because the moment counts.
const SHUTTER: &str = r"
import fcntl, os, struct, sys
for line in sys.stdin:
    try:
        folder = os.open(line.rstrip('\n'), os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, 0x8004587d, struct.pack('I', 2))
        finally:
            os.close(folder)
        print('off', flush=True)
    except OSError as why:
        print(why, flush=True)
";

/// Cuts the power of file systems.
#[derive(Debug)]
pub struct Cutter {
    child: Child,
    say: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
}

impl Cutter {
    /// One that waits to be told.
    ///
    /// # Panics
    /// When there is no Python.
    pub fn start() -> Cutter {
        let mut command = Command::new("python3");
        command.args(["-c", SHUTTER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 starts");
        let hear = BufReader::new(child.stdout.take().expect("it was piped"));
        let say = child.stdin.take();
        Cutter { child, say, hear }
    }

    /// From when this returns nothing reaches the disk of the file system that `folder` is on, and what has not reached
    /// it is lost.
    ///
    /// # Errors
    /// Where the file system knows no such thing.
    pub fn cut(&mut self, folder: &Path) -> Result<(), String> {
        let mut answer = String::new();
        let said = self.say.as_mut().map(|say| writeln!(say, "{}", folder.display()));
        said.expect("it hears until it is dropped").map_err(|why| why.to_string())?;
        self.hear.read_line(&mut answer).map_err(|why| why.to_string())?;
        if answer == "off\n" { Ok(()) } else { Err(answer.trim().to_owned()) }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.say = None;
        let _ = self.child.wait();
    }
}

/// A program that is moji-server, and that strace changes some calls of as it was told before its start.
#[derive(Debug)]
pub struct Traced {
    program: PathBuf,
    told: PathBuf,
}

impl Traced {
    /// Makes it in `folder`. Not with `--seccomp-bpf`, with which strace 6.1 counts every call twice.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn new(folder: &Path) -> Traced {
        let (path, told) = (folder.join("traced-hub"), folder.join("traced-calls"));
        let script = format!(
            "#!/bin/sh\n[ \"$1\" != token ] && [ -s {told} ] || exec {real} \"$@\"\n\
             exec strace -D -f -qq -o {log} $(cat {told}) {real} \"$@\"\n",
            told = told.display(),
            real = program("moji-server").display(),
            log = folder.join("traced-log").display(),
        );
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script's mode can be set");
        Traced { program: path, told }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Hubs that start from now on die where some thread of theirs makes its call number `when` of one of `calls`,
    /// before the kernel carries it out.
    pub fn die_at(&self, calls: &str, when: u64) {
        self.tell(&format!("-e trace={calls} -e inject={calls}:signal=SIGKILL:when={when}"));
    }

    /// Hubs that start from now on believe that they sync, and do not.
    pub fn never_sync(&self) {
        let calls = "fsync,fdatasync,sync_file_range,syncfs";
        self.tell(&format!("-e trace={calls} -e inject={calls}:retval=0"));
    }

    /// Hubs that start from now on are left alone.
    pub fn leave_alone(&self) {
        self.tell("");
    }

    fn tell(&self, text: &str) {
        fs::write(&self.told, text).expect("what strace is told");
    }
}
