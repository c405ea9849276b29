//! A builder of the test's own that says whatever the test wants.
//!
//! Owns one connection, the handshake and the records; knows no order of messages. Everything it
//! sends is authenticated with the farm's token: what is tested is what the hub does not believe
//! of those it has let in.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use moji_proto::channel::{Channel, Connect, Event};
use moji_proto::hello::{Role, Versions};
use moji_proto::message::{
    Backend, Exit, FromBuilder, FromOperator, Health, Message, Phase, ToBuilder, ToOperator,
};
use moji_proto::refusal::RejectCode;
use moji_proto::secret::{Secret, SecretKey};
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line};
use moji_tests::{Farm, SOON};

/// One read waits so long at most.
const READ: Duration = Duration::from_millis(100);
/// A piece of a file, bytes.
const PIECE: usize = 32_000;

/// A file as it is announced and as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    /// Announced name.
    pub(crate) name: FileName,
    /// Announced length.
    pub(crate) size: u64,
    /// Announced digest.
    pub(crate) digest: Digest,
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
}

impl Upload {
    /// An honest one.
    pub(crate) fn new(name: &str, bytes: Vec<u8>) -> Upload {
        let name = FileName::new(name).expect("a safe name");
        Upload { name, size: bytes.len() as u64, digest: Digest::of(&bytes), bytes }
    }

    /// An honest one of a file, under its own name.
    pub(crate) fn of(path: &std::path::Path) -> Upload {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        Upload::new(&name, fs::read(path).expect("a file can be read"))
    }
}

/// What a session ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The hub said why.
    Rejected(RejectCode),
    /// It just closed.
    Closed,
}

/// The builder.
pub(crate) struct Rogue {
    stream: TcpStream,
    channel: Channel,
    inbox: Vec<ToBuilder>,
    /// The same of an operator's session.
    answers: Vec<ToOperator>,
    role: Role,
    end: Option<End>,
}

impl Rogue {
    /// Connects and shakes hands as a builder with key `key`, and says nothing.
    pub(crate) fn connect(farm: &Farm, key: u8) -> Rogue {
        let text = fs::read_to_string(farm.path().join("secret")).expect("the farm has a token");
        Rogue::connect_as(farm, Role::Builder, &text, key)
    }

    /// Connects and shakes hands as an operator, and says nothing.
    pub(crate) fn operator(farm: &Farm, key: u8) -> Rogue {
        let text = fs::read_to_string(farm.state().join("operator.secret")).expect("the hub made one");
        Rogue::connect_as(farm, Role::Operator, &text, key)
    }

    fn connect_as(farm: &Farm, role: Role, text: &str, key: u8) -> Rogue {
        let secret = Secret::parse(text).expect("a token");
        let stream = TcpStream::connect(farm.hub_addr()).expect("the hub listens");
        stream.set_read_timeout(Some(READ)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let mut out = Vec::new();
        let connect = Connect {
            role,
            versions: Versions::OURS,
            key: &secret_key(key),
            psk: secret.psk(),
            hub_key: secret.hub_key(),
        };
        let channel = Channel::connect(connect, &mut out);
        let mut rogue = Rogue { stream, channel, inbox: Vec::new(), answers: Vec::new(), role, end: None };
        rogue.stream.write_all(&out).expect("a new connection takes bytes");
        rogue.until("the handshake", |rogue| rogue.channel.established());
        rogue
    }

    /// Connects, registers as an idle builder for x86_64 and says `Ready`.
    pub(crate) fn ready(farm: &Farm, key: u8) -> Rogue {
        Rogue::ready_for(farm, key, "x86_64")
    }

    /// The same for another architecture.
    pub(crate) fn ready_for(farm: &Farm, key: u8, own: &str) -> Rogue {
        let mut greeting = register(key, 0);
        if let FromBuilder::Register { arch, .. } = &mut greeting {
            *arch = FileName::new(own).expect("a safe name");
        }
        Rogue::ready_as(farm, key, greeting)
    }

    /// The same with a greeting of the test's own.
    pub(crate) fn ready_as(farm: &Farm, key: u8, greeting: FromBuilder) -> Rogue {
        let mut rogue = Rogue::connect(farm, key);
        rogue.send(&greeting);
        rogue.until("Registered", |rogue| {
            rogue.inbox.iter().any(|message| matches!(message, ToBuilder::Registered { .. }))
        });
        rogue.send(&FromBuilder::Ready);
        rogue
    }

    /// Takes the next job: its lease.
    pub(crate) fn job(&mut self) -> LeaseId {
        let find = |message: &ToBuilder| match message {
            ToBuilder::Job { lease, .. } => Some(*lease),
            _ => None,
        };
        self.until("a job", |rogue| rogue.inbox.iter().any(|message| find(message).is_some()));
        let lease = self.inbox.iter().find_map(find).expect("it was just there");
        self.inbox.clear();
        lease
    }

    /// Announces a success with these files, sends what the hub wants, and waits for the answer.
    pub(crate) fn upload(&mut self, lease: LeaseId, files: &[Upload]) -> ToBuilder {
        self.announce(lease, files);
        self.serve(lease, files)
    }

    /// Announces a success with these files.
    pub(crate) fn announce(&mut self, lease: LeaseId, files: &[Upload]) {
        self.send(&results(lease, files.len() as u32));
        for file in files {
            let Upload { name, size, digest, .. } = file.clone();
            self.send(&FromBuilder::File { lease, name, size, digest });
        }
    }

    /// Sends what the hub wants until it answers.
    pub(crate) fn serve(&mut self, lease: LeaseId, files: &[Upload]) -> ToBuilder {
        loop {
            self.until("the hub to answer", |rogue| !rogue.inbox.is_empty());
            for message in std::mem::take(&mut self.inbox) {
                match message {
                    ToBuilder::Want { file, offset, .. } => self.send_file(lease, file, offset, files),
                    ToBuilder::Ack { .. } | ToBuilder::Pong | ToBuilder::Repo { .. } => {}
                    other => return other,
                }
            }
        }
    }

    fn send_file(&mut self, lease: LeaseId, file: u32, mut offset: u64, files: &[Upload]) {
        let bytes = &files[file as usize].bytes;
        let rest = &bytes[usize::try_from(offset).expect("a small file")..];
        // Small files fit the window; a test that wants a large one sends it itself.
        assert!(rest.len() < 200_000, "too large for one window");
        for piece in rest.chunks(PIECE) {
            self.send(&FromBuilder::Data { lease, file, offset, bytes: Bytes(piece.to_vec()) });
            offset += piece.len() as u64;
        }
    }

    /// Says the same record twice, byte for byte.
    pub(crate) fn replay(&mut self, message: &FromBuilder) {
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        message.encode(&mut plain);
        self.channel.seal(&plain, &mut out).expect("an open channel");
        self.send_wire(&[out.clone(), out].concat());
    }

    /// Says the first so many bytes of a message's record.
    pub(crate) fn send_part(&mut self, message: &FromBuilder, bytes: usize) {
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        message.encode(&mut plain);
        self.channel.seal(&plain, &mut out).expect("an open channel");
        self.send_wire(&out[..bytes.min(out.len())]);
    }

    /// Takes an answer of the hub's to an operator, if it has come.
    pub(crate) fn answered(&self, is_it: impl Fn(&ToOperator) -> bool) -> bool {
        self.answers.iter().any(is_it)
    }

    /// Whether the hub said so to the builder.
    pub(crate) fn heard(&self, is_it: impl Fn(&ToBuilder) -> bool) -> bool {
        self.inbox.iter().any(is_it)
    }

    /// What the session has ended with, as far as is known.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// How far the hub has heard the file that is on its way.
    pub(crate) fn acked(&self) -> u64 {
        let offset = |message: &ToBuilder| match message {
            ToBuilder::Ack { offset, .. } => *offset,
            _ => 0,
        };
        self.inbox.iter().map(offset).max().unwrap_or(0)
    }

    /// Forgets what was heard.
    pub(crate) fn clear(&mut self) {
        self.inbox.clear();
        self.answers.clear();
    }

    /// Waits for the end, but not for long: None if the session goes on.
    pub(crate) fn end_now(&mut self) -> Option<End> {
        self.read();
        self.end
    }

    /// Says a message. A session that the hub has closed takes no more, which is no error here.
    pub(crate) fn send(&mut self, message: &impl Message) {
        let mut plain = Vec::new();
        message.encode(&mut plain);
        self.send_raw(&plain);
    }

    /// Puts any bytes into a record.
    pub(crate) fn send_raw(&mut self, plain: &[u8]) {
        let mut out = Vec::new();
        self.channel.seal(plain, &mut out).expect("an open channel");
        if self.stream.write_all(&out).is_err() {
            self.end.get_or_insert(End::Closed);
        }
    }

    /// Puts any bytes onto the wire, in no record.
    pub(crate) fn send_wire(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Waits until the hub ends the session.
    pub(crate) fn ended(&mut self) -> End {
        let limit = Instant::now() + SOON;
        while self.end.is_none() && Instant::now() < limit {
            self.read();
        }
        self.end.expect("the hub ends the session")
    }

    /// Whether the session goes on: a `Ping` is answered.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.is_alive_with(Health::default())
    }

    /// The same for a builder in this state.
    pub(crate) fn is_alive_with(&mut self, health: Health) -> bool {
        match self.role {
            Role::Builder => self.send(&FromBuilder::Ping { health }),
            Role::Operator => self.send(&FromOperator::Ping),
        }
        let limit = Instant::now() + SOON;
        while self.end.is_none() && Instant::now() < limit {
            if self.answers.contains(&ToOperator::Pong) {
                self.answers.retain(|answer| *answer != ToOperator::Pong);
                return true;
            }
            if self.inbox.contains(&ToBuilder::Pong) {
                self.inbox.retain(|message| *message != ToBuilder::Pong);
                return true;
            }
            self.read();
        }
        false
    }

    /// Whether the hub has asked for a file.
    pub(crate) fn wants(&self) -> bool {
        self.inbox.iter().any(|message| matches!(message, ToBuilder::Want { .. }))
    }

    /// Reads until it holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Rogue) -> bool) {
        let limit = Instant::now() + SOON;
        while !holds(self) {
            assert!(self.end.is_none(), "the session ended ({:?}) before {what}", self.end);
            assert!(Instant::now() < limit, "waited in vain for {what}; heard {:?}", self.inbox);
            self.read();
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 65_536];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => return self.closed(),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            Err(_) => return self.closed(),
        };
        let (mut at, mut out) = (0, Vec::new());
        while at < count {
            let (taken, event) = self.channel.receive(&buffer[at..count], &mut out).expect("a true hub");
            at += taken;
            match event {
                Some(Event::Record(plain)) if self.role == Role::Operator => {
                    let answer = ToOperator::decode(&plain).expect("a true answer");
                    if let ToOperator::Reject { code } = answer {
                        self.end.get_or_insert(End::Rejected(code));
                    }
                    self.answers.push(answer);
                }
                Some(Event::Record(plain)) => {
                    let message = ToBuilder::decode(&plain).expect("a true message");
                    if let ToBuilder::Reject { code } = message {
                        self.end.get_or_insert(End::Rejected(code));
                    }
                    self.inbox.push(message);
                }
                Some(Event::Refused(refusal)) => panic!("the hub refused: {refusal}"),
                Some(Event::Established { .. }) | None => {}
            }
        }
        if self.stream.write_all(&out).is_err() {
            self.closed();
        }
    }

    fn closed(&mut self) {
        self.end.get_or_insert(End::Closed);
    }
}

/// The key of a rogue of this number.
pub(crate) fn secret_key(key: u8) -> SecretKey {
    SecretKey::from_bytes([key; 32])
}

/// A greeting that announces `held` leases.
pub(crate) fn register(key: u8, held: u8) -> FromBuilder {
    let name = |text: &str| FileName::new(text).expect("a safe name");
    FromBuilder::Register {
        name: name(&format!("rogue{key}")),
        instance: key.into(),
        arch: name("x86_64"),
        version: name("0"),
        cfg: Line::lossy("rogue"),
        cfg_digest: Digest::of(b""),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 1024,
        disk_free_mib: 99_999,
        clock_unix_s: 0,
        setup: Line::default(),
        weak: false,
        held,
    }
}

/// A success with so many files.
pub(crate) fn results(lease: LeaseId, files: u32) -> FromBuilder {
    FromBuilder::Results {
        lease,
        exit: Exit::Code(0),
        phase: Phase::Collect,
        backend: Backend::Mock,
        seconds: 1,
        oom_kills: 0,
        peak_memory_mib: 0,
        silence_s: 0,
        peak_disk_mib: 0,
        files,
        evidence: 0,
    }
}
