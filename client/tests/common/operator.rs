//! A hub small enough for tests of `moji`, and `moji`'s process.
//!
//! Owns no policy: each test says what the hub says. Every wait is bounded by a time-out of the socket.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use moji_proto::channel::{Accept, Channel, Event};
use moji_proto::hello::{Role, Versions};
use moji_proto::message::{
    EventKind, EventRow, FarmRow, FromOperator, Message, NoCode, PackageRow, PackageState, ToOperator,
};
use moji_proto::secret::{Psk, SecretKey, Token};
use moji_proto::{FileName, Line};

use super::PATIENCE;

/// The secret's bytes of all tests.
const SECRET: [u8; 32] = [9; 32];

pub fn line(text: &str) -> Line {
    Line::new(text).unwrap()
}

pub fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

/// A hub that does what a test says.
pub struct Hub {
    pub listener: Option<TcpListener>,
    pub key: SecretKey,
    pub psk: Psk,
    pub address: SocketAddr,
}

impl Hub {
    /// Each has an address of its own, so that nobody takes its port while it is away.
    pub fn new() -> Hub {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let [_, high, low, count] =
            (std::process::id() << 8 | COUNT.fetch_add(1, Ordering::Relaxed) & 0xff).to_be_bytes();
        let listener = TcpListener::bind((Ipv4Addr::new(127, high, low, count), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        Hub { listener: Some(listener), key: SecretKey::generate(), psk: Psk::from_bytes(SECRET), address }
    }

    pub fn token(&self) -> String {
        Token { hub_key: self.key.public(), secret: self.psk.clone() }.to_text()
    }

    /// The hub goes away. What other tests start holds a copy of the listener until it has become itself.
    pub fn close(&mut self) {
        self.listener = None;
        super::until("nobody listens", || TcpStream::connect(self.address).is_err());
    }

    /// And comes back, at the same place.
    pub fn open(&mut self) {
        let Hub { listener, address, .. } = self;
        super::until("the hub listens", || {
            *listener = TcpListener::bind(*address).ok();
            listener.is_some()
        });
    }

    /// The next connection, before its handshake.
    pub fn accept_raw(&self) -> Session {
        let (stream, _) = self.listener.as_ref().unwrap().accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let channel = Channel::accept(Accept {
            versions: Versions::OURS,
            key: &self.key,
            builder_secrets: &[],
            operator_secrets: std::slice::from_ref(&self.psk),
        });
        Session { stream, channel, rest: Vec::new(), rows: 0, granted: 64 }
    }

    /// The next session, which has hailed.
    pub fn accept(&self) -> Session {
        let mut session = self.accept_raw();
        match session.step() {
            Ok(Some(Event::Established { role: Role::Operator, .. })) => {}
            other => panic!("{other:?} instead of a handshake"),
        }
        match session.next() {
            Some(FromOperator::Hail { .. }) => session,
            other => panic!("{other:?} instead of Hail"),
        }
    }
}

/// One session of the hub.
pub struct Session {
    pub stream: TcpStream,
    channel: Channel,
    rest: Vec<u8>,
    rows: u32,
    /// Rows that may still be sent.
    pub granted: u32,
}

impl Session {
    fn step(&mut self) -> Result<Option<Event>, Option<moji_proto::refusal::Refusal>> {
        loop {
            if self.rest.is_empty() {
                let mut piece = [0; 16 * 1024];
                match self.stream.read(&mut piece) {
                    Ok(0) => return Err(None),
                    Ok(count) => self.rest.extend_from_slice(&piece[..count]),
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Err(None),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(error) => panic!("moji is silent: {error}"),
                }
            }
            let mut out = Vec::new();
            let received = self.channel.receive(&self.rest, &mut out);
            self.stream.write_all(&out).unwrap();
            match received {
                Ok((used, event)) => {
                    self.rest.drain(..used);
                    if event.is_some() {
                        return Ok(event);
                    }
                }
                Err(error) => {
                    let refusal = Channel::refusal(&error);
                    if let Some(refusal) = refusal {
                        self.stream.write_all(&refusal.to_bytes()).unwrap();
                    }
                    return Err(refusal);
                }
            }
        }
    }

    /// Refuses whatever handshake comes.
    pub fn refuse(&mut self) {
        while self.step().is_ok() {}
    }

    /// The next message; none at the end of the connection.
    pub fn next(&mut self) -> Option<FromOperator> {
        match self.step() {
            Ok(Some(Event::Record(record))) => Some(FromOperator::decode(&record).unwrap()),
            Ok(other) => panic!("{other:?} instead of a record"),
            Err(_) => None,
        }
    }

    /// The next request; pings are answered and grants counted.
    pub fn request(&mut self) -> FromOperator {
        loop {
            match self.next().expect("moji closed the connection") {
                FromOperator::Ping => self.say(&ToOperator::Pong),
                FromOperator::More { rows } => self.granted += u32::from(rows),
                other => {
                    (self.rows, self.granted) = (0, 64);
                    return other;
                }
            }
        }
    }

    /// The words that follow a request.
    pub fn words(&mut self, count: u8) -> Vec<String> {
        (0..count)
            .map(|_| match self.next() {
                Some(FromOperator::Word { word }) => word.as_str().to_owned(),
                other => panic!("{other:?} instead of Word"),
            })
            .collect()
    }

    pub fn say(&mut self, message: &ToOperator) {
        let mut out = Vec::new();
        self.channel.send(message, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    /// A row, within what moji granted.
    pub fn row(&mut self, row: ToOperator) {
        // A ping here means that moji waits for rows that it has not granted.
        while self.granted == 0 {
            match self.next().expect("moji closed the connection") {
                FromOperator::More { rows } => self.granted += u32::from(rows),
                other => panic!("{other:?} while rows come"),
            }
        }
        (self.rows, self.granted) = (self.rows + 1, self.granted - 1);
        self.say(&row);
    }

    pub fn end(&mut self) {
        self.say(&ToOperator::End { rows: self.rows });
    }

    /// Rows and their end.
    pub fn answer(&mut self, rows: Vec<ToOperator>) {
        rows.into_iter().for_each(|row| self.row(row));
        self.end();
    }

    /// Waits until moji closes the connection.
    pub fn closed(&mut self) {
        while self.next().is_some() {}
    }
}

/// A folder with the hub's secret, and a home for `moji`.
pub struct Desk {
    pub folder: tempfile::TempDir,
    pub hub: Hub,
}

impl Desk {
    pub fn new() -> Desk {
        let desk = Desk { folder: tempfile::tempdir().unwrap(), hub: Hub::new() };
        std::fs::write(desk.path("secret"), desk.hub.token()).unwrap();
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `moji WORDS`, which knows hub and secret.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.bare(words);
        command.env("MOJI_HUB", self.hub.address.to_string());
        command.arg("--password-file").arg(self.path("secret"));
        // What stands after the words of "options" is mock's: options of moji's own come first.
        let mut args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        args.rotate_right(2);
        let mut command = self.bare(&[]);
        command.env("MOJI_HUB", self.hub.address.to_string()).args(args);
        command
    }

    /// `moji WORDS`, which knows nothing.
    pub fn bare(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moji"));
        command.env_clear().env("HOME", self.folder.path()).env("TZ", "UTC").args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(&self, words: &[&str]) -> Moji {
        Moji(Some(self.command(words).spawn().unwrap()))
    }

    /// Runs `moji`; the hub does what `script` says with its session.
    pub fn run(&self, words: &[&str], script: impl FnOnce(&mut Session)) -> Said {
        let moji = self.start(words);
        let mut session = self.hub.accept();
        script(&mut session);
        moji.end()
    }
}

/// A running `moji`; killed when dropped.
pub struct Moji(pub Option<Child>);

impl Moji {
    pub fn end(mut self) -> Said {
        Said::of(self.0.take().unwrap().wait_with_output().unwrap())
    }

    /// The next line that it writes to stdout.
    pub fn line(&mut self) -> String {
        let stdout = self.0.as_mut().unwrap().stdout.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }
}

impl Drop for Moji {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What it said, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: Output) -> Said {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Checks the code, that stdout is empty, and that stderr is one line that holds all of `texts`.
    pub fn complains(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert!(self.err.starts_with("moji: ") && self.err.ends_with('\n'), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        for text in texts {
            assert!(self.err.contains(text), "{text}: {self:?}");
        }
    }

    /// Checks the code, that stderr is empty, and that stdout holds all of `texts`.
    pub fn tells(&self, code: i32, texts: &[&str]) {
        assert_eq!((self.code, self.err.as_str()), (Some(code), ""), "{self:?}");
        for text in texts {
            assert!(self.out.contains(text), "{text}: {self:?}");
        }
    }
}

pub fn package(srpm: &str, state: PackageState) -> ToOperator {
    ToOperator::Package(PackageRow {
        srpm: name(srpm),
        nevr: line(srpm.trim_end_matches(".src.rpm")),
        state,
        why: line(""),
        age_s: 61,
        size: 1_234_567,
        priority: 0,
        charged: 0,
        lease: None,
        builder: None,
        phase: None,
        phase_age_s: 0,
        line: line(""),
        place: line(""),
        expected_s: 0,
        widened: 0,
    })
}

pub fn farm(waiting: u32, building: u32) -> ToOperator {
    let mut packages = [0; 11];
    (packages[0], packages[4]) = (waiting, building);
    ToOperator::Farm(FarmRow {
        unix_s: super::now_unix_s(),
        up_s: 3_600,
        version: name("0.1.0"),
        target: line("armv5tel"),
        packages,
        builders: [0; 9],
        free_bytes: 1 << 40,
        floor_bytes: 2 << 30,
        blocked: line(""),
        idle: line(""),
        rpms: 300,
        ends_in_s: 0,
        thin: line(""),
    })
}

pub fn event(seq: u64, kind: EventKind, srpm: &str, state: Option<PackageState>) -> ToOperator {
    ToOperator::Event(EventRow {
        seq,
        unix_ms: 1_764_000_000_123,
        kind,
        srpm: Some(name(srpm)),
        lease: None,
        builder: Some(name("board7")),
        verdict: None,
        phase: None,
        state,
        who: line(""),
        text: line("exit 1"),
    })
}

pub fn changed(target: &str) -> ToOperator {
    ToOperator::Changed { target: line(target), text: line("starts afresh") }
}

pub fn no(code: NoCode, target: &str, text: &str) -> ToOperator {
    ToOperator::No { code, target: line(target), text: line(text) }
}

pub fn named(text: &str) -> ToOperator {
    ToOperator::Name { name: line(text) }
}
