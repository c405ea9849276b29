//! A real hub in a folder of its own, and what it costs.
//!
//! Owns the folders and the process; both go when it is dropped. Listens on loopback only, on ports that the
//! system chose.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use moji_proto::secret::Token;
use tempfile::TempDir;

/// How long a hub may take to read its folders and open its port.
const READY: Duration = Duration::from_secs(60);
/// Clock ticks a second in `/proc/PID/stat`: USER_HZ, 100 on every Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// A running hub.
pub(crate) struct Hub {
    child: Child,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// What builders log in with.
    pub(crate) token: Token,
    folder: TempDir,
}

/// The program under test, beside this one.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows where it is");
    own.with_file_name("moji-server")
}

impl Hub {
    /// Starts a hub in a new folder below `base`, after `fill` has put packages into `source/`.
    pub(crate) fn start(base: &Path, fill: impl FnOnce(&Path)) -> Hub {
        Hub::start_among(base, |folder| fill(&folder.join("source")))
    }

    /// The same after `fill` has put anything anywhere into the folder of all folders.
    pub(crate) fn start_among(base: &Path, fill: impl FnOnce(&Path)) -> Hub {
        Hub::start_as(base, "off", fill)
    }

    /// The same with pages; and where they are.
    pub(crate) fn start_with_pages(base: &Path, fill: impl FnOnce(&Path)) -> (Hub, SocketAddr) {
        let hub = Hub::start_as(base, "127.0.0.1:0", |folder| fill(&folder.join("source")));
        let log = hub.log();
        let said = log.lines().find_map(|line| line.split_once("repository at http://"));
        let addr = said.and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
        (hub, addr.expect("the hub says where its pages are"))
    }

    fn start_as(base: &Path, http: &str, fill: impl FnOnce(&Path)) -> Hub {
        let folder = tempfile::Builder::new().prefix("moji-bench-").tempdir_in(base).expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["source", "working", "finished", "repo", "state"] {
            fs::create_dir(at(name)).expect("a folder can be made");
        }
        fill(folder.path());
        let output = Command::new(program()).arg("token").arg("--state").arg(at("state")).output();
        let output = output.expect("moji-server is built beside this program");
        let text = String::from_utf8(output.stdout).expect("a token is text");
        let token = Token::parse(text.trim()).expect("moji-server prints a token");
        let (child, addr) = spawn(folder.path(), ([127, 0, 0, 1], 0).into(), http);
        Hub { child, addr, token, folder }
    }

    /// Kills it with SIGKILL and starts another in the same folders and on the same port, without pages; returns when
    /// that one listens.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a child can be waited for");
        (self.child, self.addr) = spawn(self.folder.path(), self.addr, "off");
    }

    /// Its folder of this name.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder("log")).unwrap_or_default()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU that it used so far, seconds.
    pub(crate) fn cpu_s(&self) -> f64 {
        cpu_s(self.pid())
    }

    /// Memory of its own that is in RAM, bytes: `RssAnon`, without its program's pages.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.status_bytes("RssAnon:")
    }

    /// The most memory that it ever had in RAM, bytes, its program's pages included.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// How many packages lie in its folder of this name: files, or folders that do not hide.
    pub(crate) fn count(&self, name: &str) -> usize {
        let names = fs::read_dir(self.folder(name)).expect("a folder can be read").flatten();
        names.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")).count()
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.expect("the hub runs") * 1024
    }
}

/// Starts a hub in these folders, and says where it listens once it does.
fn spawn(folder: &Path, addr: SocketAddr, http: &str) -> (Child, SocketAddr) {
    let log = File::create(folder.join("log")).expect("a log");
    let mut child = bound(&program().to_string_lossy())
        .args(["source", "working", "finished", "repo"].map(|name| folder.join(name)))
        .args(["--listen", &addr.to_string(), "--http", http, "--state"])
        .arg(folder.join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("moji-server starts");
    let began = Instant::now();
    loop {
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        let said = log.lines().find_map(|line| line.split_once("hub listening on "));
        if let Some(addr) = said.and_then(|(_, rest)| rest.split(',').next()?.parse().ok()) {
            return (child, addr);
        }
        if began.elapsed() > READY || !matches!(child.try_wait(), Ok(None)) {
            // Fails only when it has ended.
            let _ = child.kill();
            panic!("the hub is not ready; its log:\n{log}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command for a program that the kernel kills when this one is gone, however it ended.
pub(crate) fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// Tells when a process has nothing left to do.
pub(crate) struct Quiet {
    pid: u32,
    looked: Instant,
    cpu_s: f64,
}

impl Quiet {
    /// How long a process must use next to no CPU: several turns of whatever it may still wait for.
    const SPAN: Duration = Duration::from_millis(300);

    /// Begins to look.
    pub(crate) fn new(pid: u32) -> Quiet {
        Quiet { pid, looked: Instant::now(), cpu_s: cpu_s(pid) }
    }

    /// Whether it used no more than one tick of CPU over the span that just ended.
    pub(crate) fn is_reached(&mut self) -> bool {
        if self.looked.elapsed() < Quiet::SPAN {
            return false;
        }
        let cpu_s = cpu_s(self.pid);
        let used = cpu_s - std::mem::replace(&mut self.cpu_s, cpu_s);
        self.looked = Instant::now();
        used < 1.5 / TICKS_A_SECOND
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU that a process and those of its children that it waited for used so far, seconds.
pub(crate) fn cpu_s(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    // Fields 14 to 17 of proc(5); the state, field 3, is the first here.
    let ticks: f64 =
        after_name.split(' ').skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / TICKS_A_SECOND
}
