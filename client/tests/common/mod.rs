//! A hub small enough for tests of one client, a mock in a few lines of shell, and the client's
//! process.
//!
//! Owns no policy: each test says what the hub says. Every wait is bounded by a time-out of the socket.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod operator;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use moji_proto::channel::{Accept, Channel, Event};
use moji_proto::hello::Versions;
use moji_proto::message::{FromBuilder, Limits, Message, ToBuilder, Which};
use moji_proto::secret::{Psk, SecretKey};
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line};

/// Longest wait for anything: a loaded machine, not a measure of the client.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// The secret of all tests.
pub const PASSWORD: &str = "a passphrase of some length";

/// A hub that does what a test says.
pub struct Hub {
    pub listener: TcpListener,
    pub key: SecretKey,
    pub psk: Psk,
}

impl Hub {
    pub fn new() -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Hub { listener, key: SecretKey::generate(), psk: Psk::from_passphrase(PASSWORD) }
    }

    pub fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// The next connection, after its handshake.
    pub fn accept(&self) -> Session {
        let mut session = self.accept_raw();
        assert!(session.shake_hands(), "the handshake failed");
        session
    }

    /// The next connection, before its handshake.
    pub fn accept_raw(&self) -> Session {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let channel = Channel::accept(Accept {
            versions: Versions::OURS,
            key: &self.key,
            builder_secrets: std::slice::from_ref(&self.psk),
            operator_secrets: &[],
        });
        Session { stream, channel, rest: Vec::new(), logs: Default::default() }
    }

    /// The next connection, registered: answers with `answer` for each lease held.
    pub fn registered(&self, answer: impl Fn(LeaseId) -> ToBuilder) -> (Session, Vec<FromBuilder>) {
        let mut session = self.accept();
        let held = match session.recv() {
            FromBuilder::Register { held, .. } => held,
            other => panic!("{other:?} instead of Register"),
        };
        let held: Vec<FromBuilder> = (0..held).map(|_| session.recv()).collect();
        let time_unix_s = now_unix_s();
        session.send(&ToBuilder::Registered { time_unix_s, ping_s: 20, http_port: 6780, repos: 1 });
        session.send(&ToBuilder::Repo { place: Line::new("/repo/").unwrap() });
        for message in &held {
            let FromBuilder::Held { lease, .. } = message else { panic!("{message:?} instead of Held") };
            session.send(&answer(*lease));
        }
        (session, held)
    }
}

pub fn now_unix_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// One connection of the hub.
pub struct Session {
    pub stream: TcpStream,
    channel: Channel,
    rest: Vec<u8>,
    /// What of each log came, in the order of [`Which::ALL`].
    pub logs: [Vec<u8>; 4],
}

impl Session {
    /// Shakes hands; false if the peer's secret is wrong, which it is then told.
    pub fn shake_hands(&mut self) -> bool {
        loop {
            match self.step() {
                Ok(Some(Event::Established { .. })) => return true,
                Ok(_) => {}
                Err(refusal) => {
                    if let Some(refusal) = refusal {
                        self.stream.write_all(&refusal.to_bytes()).unwrap();
                    }
                    return false;
                }
            }
        }
    }

    fn step(&mut self) -> Result<Option<Event>, Option<moji_proto::refusal::Refusal>> {
        let mut out = Vec::new();
        if self.rest.is_empty() {
            let mut piece = [0; 16 * 1024];
            let count = self.stream.read(&mut piece).expect("the client is silent");
            if count == 0 {
                return Err(None);
            }
            self.rest.extend_from_slice(&piece[..count]);
        }
        let received = self.channel.receive(&self.rest, &mut out);
        self.stream.write_all(&out).unwrap();
        match received {
            Ok((used, event)) => {
                self.rest.drain(..used);
                Ok(event)
            }
            Err(error) => Err(Channel::refusal(&error)),
        }
    }

    pub fn send(&mut self, message: &ToBuilder) {
        let mut out = Vec::new();
        self.channel.send(message, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    /// The next message; none at the end of the connection.
    pub fn next(&mut self) -> Option<FromBuilder> {
        loop {
            match self.step() {
                Ok(Some(Event::Record(record))) => return Some(FromBuilder::decode(&record).unwrap()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next message that is no `Ping` (answered), `Log` (kept) or `Phase`.
    pub fn recv(&mut self) -> FromBuilder {
        loop {
            let message = self.next().expect("the client closed the connection");
            match message {
                FromBuilder::Ping { .. } => self.send(&ToBuilder::Pong),
                FromBuilder::Phase { .. } => {}
                FromBuilder::Log { which, offset, bytes, .. } => self.keep_log(which, offset, &bytes),
                other => return other,
            }
        }
    }

    fn keep_log(&mut self, which: Which, offset: u64, bytes: &Bytes) {
        let log = &mut self.logs[which as usize];
        assert_eq!(offset, log.len() as u64, "a log has a hole");
        log.extend_from_slice(&bytes.0);
    }

    /// Waits until a log holds `text`.
    pub fn until_log(&mut self, which: Which, text: &str) {
        while !String::from_utf8_lossy(&self.logs[which as usize]).contains(text) {
            match self.next().expect("the client closed the connection") {
                FromBuilder::Ping { .. } => self.send(&ToBuilder::Pong),
                FromBuilder::Phase { .. } => {}
                FromBuilder::Log { which, offset, bytes, .. } => self.keep_log(which, offset, &bytes),
                other => panic!("{other:?} instead of a log"),
            }
        }
    }

    /// Offers a job and serves its SRPM until the build begins.
    pub fn give(&mut self, lease: LeaseId, srpm: &[u8], options: &[&str]) {
        self.give_within(lease, srpm, options, Limits::default());
    }

    /// The same, with limits of the build.
    pub fn give_within(&mut self, lease: LeaseId, srpm: &[u8], options: &[&str], limits: Limits) {
        assert_eq!(self.recv(), FromBuilder::Ready);
        self.logs = Default::default();
        self.send(&ToBuilder::Job {
            lease,
            srpm: FileName::new("a-1-1.src.rpm").unwrap(),
            size: srpm.len() as u64,
            digest: Digest::of(srpm),
            limits,
            place: Line::default(),
            options: options.len() as u8,
        });
        for option in options {
            self.send(&ToBuilder::JobOption { lease, word: Line::new(*option).unwrap() });
        }
        let mut at = 0;
        while at < srpm.len() {
            let FromBuilder::Fetch { offset, length, .. } = self.recv() else { panic!("no Fetch") };
            assert_eq!(offset, at as u64);
            let end = at + length as usize;
            for piece in srpm[at..end].chunks(10_000) {
                let bytes = Bytes(piece.to_vec());
                self.send(&ToBuilder::Data { lease, offset: at as u64, bytes });
                at += piece.len();
            }
        }
    }

    /// Reads a result up to its last `Evidence`.
    pub fn results(&mut self) -> Results {
        let FromBuilder::Results { exit, files, evidence, peak_memory_mib, silence_s, .. } = self.recv()
        else {
            panic!("no Results")
        };
        let files = (0..files)
            .map(|_| match self.recv() {
                FromBuilder::File { name, size, digest, .. } => (name.as_str().to_owned(), size, digest),
                other => panic!("{other:?} instead of File"),
            })
            .collect();
        let evidence = (0..evidence)
            .map(|_| match self.recv() {
                FromBuilder::Evidence { line, .. } => line.as_str().to_owned(),
                other => panic!("{other:?} instead of Evidence"),
            })
            .collect();
        Results { exit, files, evidence, peak_memory_mib, silence_s }
    }
}

/// What `Results` and its followers said.
#[derive(Debug, PartialEq)]
pub struct Results {
    pub exit: moji_proto::message::Exit,
    pub files: Vec<(String, u64, Digest)>,
    pub evidence: Vec<String>,
    pub peak_memory_mib: u32,
    pub silence_s: u32,
}

/// A lease for tests: the same for the same number within this process.
pub fn lease(counter: u32) -> LeaseId {
    static INCARNATION: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let incarnation = *INCARNATION.get_or_init(|| now_unix_s() * 1000 + u64::from(std::process::id()));
    LeaseId { incarnation, counter }
}

/// A folder with a mock, a state folder and whatever a test needs.
pub struct Bench {
    pub folder: tempfile::TempDir,
}

impl Bench {
    /// `build` is what mock does to build, as shell text: `$R` is the result folder, `$S` the SRPM,
    /// `$B` this bench's folder.
    pub fn new(build: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let bench = Bench { folder };
        fs::create_dir(bench.path("chroots")).unwrap();
        let text = format!(
            "#!/bin/sh\nB={bench}\n\
             case \" $* \" in *' -p '*)\n\
               case \" $* \" in *' unknown '*) echo 'ERROR: Could not find required config file' >&2; exit 3;; esac\n\
               echo $B/chroots/mini-moji-probe/root; exit;;\n\
             *' --debug-config-expanded '*) printf '%s\\n' \"config_opts['chroot_setup_cmd'] = 'install bash'\" \
               \"config_opts['dnf.conf'] = 'install_weak_deps=0'\" \"config_opts['use_bootstrap'] = False\"; exit;; esac\n\
             echo \"$*\" >> $B/runs\n\
             case \" $* \" in *--orphanskill*|*--clean*) exit;; esac\n\
             for w; do case $w in --resultdir=*) R=${{w#*=}};; --uniqueext=*) X=${{w#*=}};; esac; S=$w; done\n\
             {build}\n",
            bench = bench.folder.path().display(),
        );
        fs::write(bench.path("mock"), text).unwrap();
        fs::set_permissions(bench.path("mock"), fs::Permissions::from_mode(0o755)).unwrap();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The client's command line for this hub.
    pub fn command(&self, hub: &str, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moji-client"));
        command.args([hub, "mini"]);
        fs::write(self.path("secret"), PASSWORD).unwrap();
        fs::set_permissions(self.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        command.arg("--password-file").arg(self.path("secret"));
        command.arg("--mock").arg(self.path("mock")).arg("--state").arg(self.path("state"));
        command.args(["--min-free", "1", "--name", "bench"]).args(options);
        if nix::unistd::geteuid().is_root() && !options.contains(&"--mock-user") {
            command.args(["--mock-user", "root"]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Starts the client.
    pub fn start(&self, hub: &str, options: &[&str]) -> Client {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.path("log")).unwrap();
        Client(self.command(hub, options).stderr(log).spawn().unwrap())
    }

    /// Runs the client to its end.
    pub fn run(&self, hub: &str, options: &[&str]) -> Output {
        self.command(hub, options).output().unwrap()
    }

    /// Runs `disable`, `stop` or `status`.
    pub fn verb(&self, verb: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moji-client"));
        command.arg(verb).arg("--state").arg(self.path("state")).output().unwrap()
    }

    /// Names of the jobs in the state folder.
    pub fn jobs(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("state/jobs")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Processes of this bench's builds, as `/proc/PID/environ` and the roots tell.
    pub fn processes_of(&self, lease: LeaseId) -> Vec<i32> {
        let folder = self.path("state/jobs").join(lease.to_string());
        let ext = moji_client::launch::JobFolder(folder).ext(lease);
        let marker = format!("{}={ext}", moji_client::launch::MARKER);
        let belongs = moji_client::proc::Belongs { ancestors: &[], marker: &marker, ext: &ext };
        moji_client::proc::of_build(&belongs)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the client's log\n{}", self.read("log"));
        }
    }
}

/// A running client; killed when dropped.
pub struct Client(pub Child);

impl Client {
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// The exit code, once it ended.
    pub fn code(mut self) -> Option<i32> {
        until("the client ends", || self.0.try_wait().unwrap().is_some());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks until `done`; there is nothing to wait on for what other processes do.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "still not: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Kills a process by number, at once.
pub fn kill_9(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}
