//! The socket: names resolved, addresses tried, bytes moved, all without blocking.
//!
//! Owns one connection at a time and the secure channel on it. Names are resolved in a short-lived
//! child (`moji-client --resolve HOST PORT`), because the C library's resolver blocks for seconds.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use mio::net::TcpStream;
use mio::unix::pipe;
use mio::{Interest, Registry, Token};
use moji_proto::channel::{self, Channel, ChannelError, Connect};
use moji_proto::hello::{Role, Versions};
use moji_proto::message::{FromBuilder, Message, ToBuilder};
use moji_proto::refusal::Refusal;
use moji_proto::secret::{Psk, SecretKey};
use moji_proto::{PublicKey, Time};

use crate::core::Event;
use crate::exit;

/// The socket's token in the loop.
pub(super) const SOCKET: Token = Token(0);
/// The token of the resolver's pipe.
pub(super) const RESOLVER: Token = Token(1);

/// Bytes read at a time: half a record, which keeps a board's memory small.
const READ_BYTES: usize = 16 * 1024;
/// While fewer bytes than this wait to be sent there is room for pieces of files: one record on its
/// way and one ready.
const ROOM_BYTES: usize = 32 * 1024;
/// A send buffer that grew beyond this is freed when it is empty, bytes.
const BUFFER_KEPT_BYTES: usize = 96 * 1024;
/// How long one address may take to answer, milliseconds, when there are others.
const ADDRESS_MAX_MS: u64 = 10_000;

/// Whom to call, and as whom.
pub struct Dial {
    /// Host as given: a name or an address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// This builder's key.
    pub key: SecretKey,
    /// What is shared with the hub.
    pub psk: Psk,
    /// The hub's key, if it is known.
    pub hub_key: Option<PublicKey>,
    /// What to do about a hub with another key.
    pub wrong_key_hint: String,
}

enum Stage {
    Idle,
    Resolving { child: Child, pipe: pipe::Receiver, text: Vec<u8> },
    Connecting { stream: TcpStream, rest: VecDeque<SocketAddr>, until: Time },
    Open { stream: TcpStream, channel: Box<Channel> },
}

/// The connection.
pub(super) struct Socket {
    dial: Dial,
    registry: Registry,
    stage: Stage,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    /// The kernel may have more to read.
    readable: bool,
    /// Writing failed; what is left to read is read first.
    broken: Option<String>,
    /// Who answered, until the first record proves that it has the secret.
    unproven: Option<PublicKey>,
    /// The hub's key that was proven and is not stored yet.
    proven: Option<PublicKey>,
    last_error: String,
}

impl Socket {
    #[inline(never)]
    pub(super) fn new(dial: Dial, registry: Registry) -> Socket {
        Socket {
            dial,
            registry,
            stage: Stage::Idle,
            out: Vec::new(),
            sent: 0,
            input: Vec::new(),
            readable: false,
            broken: None,
            unproven: None,
            proven: None,
            last_error: String::new(),
        }
    }

    /// Begins to connect. An error comes as an event.
    pub(super) fn connect(&mut self, now: Time, events: &mut VecDeque<Event>) {
        self.disconnect();
        if let Ok(address) = self.dial.host.parse::<IpAddr>() {
            let addresses = VecDeque::from([SocketAddr::new(address, self.dial.port)]);
            self.try_next(addresses, now, events);
        } else if let Err(error) = self.resolve() {
            self.fail(format!("failed to resolve {}: {error}", self.dial.host), events);
        }
    }

    fn resolve(&mut self) -> io::Result<()> {
        let mut child = Command::new("/proc/self/exe")
            .arg0("moji-client")
            .args(["--resolve", &self.dial.host, &self.dial.port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let mut pipe = pipe::Receiver::from(stdout);
        pipe.set_nonblocking(true)?;
        self.registry.register(&mut pipe, RESOLVER, Interest::READABLE)?;
        self.stage = Stage::Resolving { child, pipe, text: Vec::new() };
        Ok(())
    }

    /// The resolver's pipe has something to read.
    #[inline(never)]
    pub(super) fn resolver_ready(&mut self, now: Time, events: &mut VecDeque<Event>) {
        let Stage::Resolving { pipe, text, .. } = &mut self.stage else { return };
        match pipe.read_to_end(text) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => self.last_error = error.to_string(),
            Ok(_) => {}
        }
        let answer = String::from_utf8_lossy(text).into_owned();
        let addresses: VecDeque<SocketAddr> = answer.lines().filter_map(|line| line.parse().ok()).collect();
        self.disconnect();
        if addresses.is_empty() {
            let why = answer.lines().next().unwrap_or("no answer");
            self.fail(format!("failed to resolve {}: {why}", self.dial.host), events);
        } else {
            self.try_next(addresses, now, events);
        }
    }

    /// Tries addresses in order until one begins to connect.
    #[inline(never)]
    fn try_next(&mut self, mut rest: VecDeque<SocketAddr>, now: Time, events: &mut VecDeque<Event>) {
        while let Some(address) = rest.pop_front() {
            let opened = TcpStream::connect(address).and_then(|mut stream| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.registry.register(&mut stream, SOCKET, interest)?;
                Ok(stream)
            });
            match opened {
                Ok(stream) => {
                    let until = now.plus_ms(ADDRESS_MAX_MS);
                    self.stage = Stage::Connecting { stream, rest, until };
                    return;
                }
                Err(error) => self.last_error = format!("{address}: {error}"),
            }
        }
        let why = format!("failed to connect to {}", self.last_error);
        self.fail(why, events);
    }

    /// When [`Socket::timer`] is due.
    pub(super) fn due(&self) -> Option<Time> {
        match &self.stage {
            Stage::Connecting { rest, until, .. } if !rest.is_empty() => Some(*until),
            _ => None,
        }
    }

    /// Gives an address up that does not answer, if there are others.
    pub(super) fn timer(&mut self, now: Time, events: &mut VecDeque<Event>) {
        if self.due().is_some_and(|due| now >= due) {
            self.next_address("no answer", now, events);
        }
    }

    fn next_address(&mut self, why: &str, now: Time, events: &mut VecDeque<Event>) {
        if let Stage::Connecting { stream, rest, .. } = &mut self.stage {
            let rest = std::mem::take(rest);
            let _ = self.registry.deregister(stream);
            self.last_error = format!("{}:{}: {why}", self.dial.host, self.dial.port);
            self.stage = Stage::Idle;
            self.try_next(rest, now, events);
        }
    }

    /// The socket is readable or writable.
    pub(super) fn ready(&mut self, readable: bool, writable: bool, now: Time, events: &mut VecDeque<Event>) {
        if let Stage::Connecting { stream, .. } = &mut self.stage
            && writable
        {
            let state = match stream.take_error() {
                Ok(Some(error)) | Err(error) => Err(error),
                Ok(None) => stream.peer_addr(),
            };
            match state {
                Ok(_) => self.shake_hands(),
                Err(error) if error.kind() == ErrorKind::NotConnected => return,
                Err(error) => {
                    self.next_address(&error.to_string(), now, events);
                    return;
                }
            }
        }
        self.readable |= readable && matches!(self.stage, Stage::Open { .. });
    }

    #[inline(never)]
    fn shake_hands(&mut self) {
        let Stage::Connecting { stream, .. } = std::mem::replace(&mut self.stage, Stage::Idle) else {
            return;
        };
        // Pings and acknowledgements are small and should not wait.
        let _ = stream.set_nodelay(true);
        let channel = Channel::connect(
            Connect {
                role: Role::Builder,
                versions: Versions::OURS,
                key: &self.dial.key,
                psk: self.dial.psk.clone(),
                hub_key: self.dial.hub_key,
            },
            &mut self.out,
        );
        self.input = vec![0; READ_BYTES];
        self.readable = true;
        self.stage = Stage::Open { stream, channel: Box::new(channel) };
    }

    /// Whether [`Socket::read`] would read something.
    pub(super) fn has_input(&self) -> bool {
        self.readable
    }

    /// Reads once and turns what came into events.
    #[inline(never)]
    pub(super) fn read(&mut self, events: &mut VecDeque<Event>) {
        let Stage::Open { stream, channel } = &mut self.stage else {
            self.readable = false;
            return;
        };
        let count = match stream.read(&mut self.input) {
            Ok(0) => return self.fail("the hub closed the connection".to_owned(), events),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                if let Some(why) = self.broken.take() {
                    self.fail(why, events);
                }
                return;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            Err(error) => return self.fail(format!("the connection broke: {error}"), events),
        };
        let mut taken = 0;
        loop {
            match channel.receive(&self.input[taken..count], &mut self.out) {
                Ok((used, event)) => {
                    taken += used;
                    match event {
                        Some(channel::Event::Established { peer, .. }) => {
                            self.unproven = Some(peer);
                            events.push_back(Event::Connected);
                        }
                        Some(channel::Event::Record(record)) => {
                            self.proven = self.unproven.take().or(self.proven);
                            match ToBuilder::decode(&record) {
                                Ok(message) => {
                                    log::debug!("hub: {message:?}");
                                    events.push_back(Event::Message(message));
                                }
                                Err(error) => {
                                    return self.fail(format!("the hub sent nonsense: {error}"), events);
                                }
                            }
                        }
                        Some(channel::Event::Refused(refusal)) => return self.refused(refusal, events),
                        None if taken == count => return,
                        None => {}
                    }
                    if taken == count {
                        return;
                    }
                }
                Err(error) => return self.channel_failed(error, events),
            }
        }
    }

    fn refused(&mut self, refusal: Refusal, events: &mut VecDeque<Event>) {
        self.disconnect();
        if matches!(refusal, Refusal::Full) {
            self.fail(refusal.to_string(), events);
            return;
        }
        let code = if refusal == Refusal::Secret { exit::SECRET } else { exit::REFUSED };
        events.push_back(Event::Refused { why: format!("the hub refused this builder: {refusal}"), code });
    }

    fn channel_failed(&mut self, error: ChannelError, events: &mut VecDeque<Event>) {
        self.disconnect();
        match error {
            ChannelError::WrongHubKey { .. } => {
                let why = format!("this is not the hub we know: {error}: {}", self.dial.wrong_key_hint);
                events.push_back(Event::Refused { why, code: exit::SECRET });
            }
            ChannelError::NoCommonVersion { .. } => {
                let why = format!("{error}: upgrade the older one");
                events.push_back(Event::Refused { why, code: exit::REFUSED });
            }
            _ => self.fail(format!("the channel broke: {error}"), events),
        }
    }

    /// The hub's key, once, when it is proven and was not known.
    pub(super) fn take_proven(&mut self) -> Option<PublicKey> {
        let proven = self.proven.take()?;
        if self.dial.hub_key.is_some() {
            return None;
        }
        self.dial.hub_key = Some(proven);
        Some(proven)
    }

    fn fail(&mut self, why: String, events: &mut VecDeque<Event>) {
        self.disconnect();
        events.push_back(Event::Disconnected(why));
    }

    pub(super) fn disconnect(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => {}
            Stage::Resolving { mut child, mut pipe, .. } => {
                let _ = self.registry.deregister(&mut pipe);
                // It has ended or ends at once by SIGKILL, so this wait is short.
                let _ = child.kill();
                let _ = child.wait();
            }
            Stage::Connecting { mut stream, .. } | Stage::Open { mut stream, .. } => {
                let _ = self.registry.deregister(&mut stream);
            }
        }
        self.out = Vec::new();
        self.sent = 0;
        self.input = Vec::new();
        self.readable = false;
        self.broken = None;
        self.unproven = None;
    }

    pub(super) fn send(&mut self, message: &FromBuilder) {
        log::debug!("builder: {message:?}");
        // A channel that ended between the core's decision and now tells the core itself.
        if let Stage::Open { channel, .. } = &mut self.stage
            && channel.established()
            && let Err(error) = channel.send(message, &mut self.out)
        {
            self.last_error = error.to_string();
        }
    }

    /// Whether another piece of a file may be queued.
    pub(super) fn has_room(&self) -> bool {
        let open = self.broken.is_none() && matches!(self.stage, Stage::Open { .. });
        open && self.out.len() - self.sent < ROOM_BYTES
    }

    /// Sends what the kernel takes.
    #[inline(never)]
    pub(super) fn flush(&mut self) {
        let Stage::Open { stream, .. } = &mut self.stage else { return };
        while self.broken.is_none() && self.sent < self.out.len() {
            match stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // What the hub said last may still be there to read, and says why.
                    self.broken = Some(format!("the connection broke: {error}"));
                    self.readable = true;
                    self.sent = self.out.len();
                }
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            if self.out.capacity() > BUFFER_KEPT_BYTES {
                self.out = Vec::new();
            }
        } else if self.sent > ROOM_BYTES {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }
}

/// `--resolve HOST PORT`: prints one address a line, or why there is none.
pub fn print_addresses(host: &str, port: u16) {
    let text = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.map(|address| format!("{address}\n")).collect(),
        Err(error) => format!("{error}\n"),
    };
    let _ = io::stdout().write_all(text.as_bytes());
}
