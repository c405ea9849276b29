//! The loop around all sockets of the protocol port.
//!
//! Owns listeners, connections, and what each connection was told to leases. A turn is: wait; take
//! commands; take events; look at the clocks; settle. Whatever changes a session only marks it, and
//! the one settling step at the turn's end writes what waits and *derives* what the poll must watch
//! and when the session must be looked at again. So nothing can change a session and forget that.
//! Never waits for an actor, never touches a file.
//!
//! mio reports an edge once. A session that stops before the socket would block is registered again
//! with what it wanted already: the kernel then reports a socket that is still ready once more.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use moji_proto::refusal::RejectCode;
use moji_proto::secret::{Psk, SecretKey};
use moji_proto::{FileName, PublicKey, Time};

use super::admission::Admission;
use super::clones::Clones;
use super::deadlines::Deadlines;
use super::handle::{Command, Inbox, WAKER, Woken};
use super::listen::{Reserve, raise_descriptor_limit};
use super::session::{Clocks, End, Event, Session};
use crate::actors::{Peers, tell};
use crate::clock::Clock;
use crate::core::types::{BuilderId, SessionId};
use crate::core::{desk, leases};

mod door;

/// Connections that have not registered yet, at most: as many as the kernel's queue of them holds twice over, so that
/// a flood of strangers goes through here and an honest board among them does not wait behind it. Some 20 MB.
pub const PENDING_MAX: usize = 8_192;
/// Events taken in one turn.
const EVENTS_PER_TURN: usize = 1_024;
/// Commands taken in one turn: a piece of 32 KiB each costs about as long as an accept.
const COMMANDS_PER_TURN: usize = 1_024;
/// Bytes read at once; one buffer for all sessions.
const READ_BYTES: usize = 64 * 1024;
/// Bytes read from one session before others get their turn.
const READ_BYTES_PER_TURN: usize = 256 * 1024;
/// Pause after the system could not accept, ms: long enough for no busy loop, short enough for a
/// board not to notice.
const ACCEPT_PAUSE_MS: u64 = 100;
/// For a shutdown to be told to everybody, ms.
const SHUTDOWN_MS: u64 = 1_000;

/// What peers must know. An empty list for builders means that no secret is set.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Any of these opens the builder's role.
    pub builder: Vec<Psk>,
    /// Any of these opens the operator's role.
    pub operator: Vec<Psk>,
}

/// What the reactor needs to know.
#[derive(Debug)]
pub struct Config {
    /// Who the hub is.
    pub key: SecretKey,
    /// What peers must know.
    pub secrets: Secrets,
    /// Which builders may connect; None means all that know the secret.
    pub builders: Option<Vec<BuilderId>>,
    /// Connections that have not registered yet, at most.
    pub pending_max: usize,
    /// The clocks of every connection.
    pub clocks: Clocks,
}

/// What a connection is for the hub by now.
enum Standing {
    /// Nothing yet; with a key once that has shown that it knows a secret.
    Pending(Option<PublicKey>),
    /// An operator's command.
    Operator { key: PublicKey },
    /// A builder that leases were told about.
    Builder { key: PublicKey, name: FileName },
    /// Over; leases know. Only its last bytes are on their way.
    Left,
}

struct Conn {
    id: SessionId,
    stream: TcpStream,
    addr: SocketAddr,
    session: Session,
    standing: Standing,
    /// What the poll watches.
    watched: Option<Interest>,
    /// The edge was not used up: register again.
    short: bool,
    /// The earliest moment in the deadlines.
    armed: Option<Time>,
    /// Waits for the settling step.
    marked: bool,
    /// Our direction is closed.
    shut: bool,
}

/// The loop and all it owns.
pub struct Reactor {
    config: Config,
    poll: Poll,
    commands: Receiver<Command>,
    woken: Woken,
    peers: Peers,
    clock: Arc<dyn Clock>,
    listeners: Vec<TcpListener>,
    reserve: Reserve,
    accept_again: Option<Time>,
    /// Connections wait in the kernel until some of those that were accepted are through.
    is_held: bool,
    conns: HashMap<Token, Conn>,
    /// The present session of each builder that leases were told about.
    builders: HashMap<PublicKey, SessionId>,
    admission: Admission,
    clones: Clones,
    deadlines: Deadlines,
    marked: Vec<SessionId>,
    last_id: u64,
    /// Set by shutdown: when to end at the latest.
    stop_by: Option<Time>,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
}

impl Reactor {
    /// Takes the listeners of [`super::listen`] and watches them. Raises the process's limit of
    /// open descriptors.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(
        config: Config,
        listeners: Vec<std::net::TcpListener>,
        inbox: Inbox,
        peers: Peers,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Reactor> {
        let Inbox { poll, commands, woken } = inbox;
        log::debug!("open descriptors: at most {}", raise_descriptor_limit());
        let mut listeners: Vec<_> = listeners.into_iter().map(TcpListener::from_std).collect();
        for (i, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, listener_token(i), Interest::READABLE)?;
        }
        let admission =
            Admission::new(config.pending_max, config.clocks.handshake_ms, config.builders.clone());
        Ok(Reactor {
            config,
            poll,
            commands,
            woken,
            peers,
            clock,
            listeners,
            reserve: Reserve::new(),
            accept_again: None,
            is_held: false,
            conns: HashMap::new(),
            builders: HashMap::new(),
            admission,
            clones: Clones::default(),
            deadlines: Deadlines::default(),
            marked: Vec::new(),
            last_id: 0,
            stop_by: None,
            buffer: vec![0; READ_BYTES],
            scratch: Vec::new(),
        })
    }

    /// Runs until [`Command::Shutdown`].
    ///
    /// # Errors
    /// What the system says when the poll itself fails: nothing can be served then.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            let now = self.clock.now();
            self.take_commands(now);
            for event in &events {
                match event.token() {
                    WAKER => {}
                    token if self.listener(token).is_some() => {
                        if !self.is_held {
                            self.accept(now, token.0 - 1);
                        }
                    }
                    token => self.ready(now, token, event),
                }
            }
            self.look_at_clocks(now);
            self.settle(now);
            if self.stop_by.is_some_and(|by| self.conns.is_empty() || now >= by) {
                return Ok(());
            }
        }
    }

    /// How long nothing happens by itself.
    fn timeout(&self) -> Option<Duration> {
        if !self.commands.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = [self.deadlines.next(), self.accept_again, self.stop_by].into_iter().flatten().min()?;
        Some(Duration::from_millis(next.since_ms(self.clock.now())))
    }

    fn take_commands(&mut self, now: Time) {
        self.woken.clear();
        for _ in 0..COMMANDS_PER_TURN {
            let Ok(command) = self.commands.try_recv() else { return };
            match command {
                Command::Send(id, message) => {
                    let event = self.conn(id).and_then(|conn| conn.session.send(now, message));
                    self.mark(id);
                    if let Some(event) = event {
                        self.on_event(now, id, event);
                    }
                }
                Command::Answer(id, message) => {
                    let event = self.conn(id).and_then(|conn| conn.session.answer(now, message));
                    self.mark(id);
                    if let Some(event) = event {
                        self.on_event(now, id, event);
                    }
                }
                Command::Close(id, code) => self.reject(now, id, code),
                Command::Consumed(id, bytes) => {
                    if let Some(conn) = self.conn(id) {
                        conn.session.consumed(now, bytes);
                        self.mark(id);
                    }
                }
                Command::Builders(list) => self.set_builders(now, list),
                Command::Secrets(secrets) => self.config.secrets = secrets,
                Command::Shutdown => self.shut_down(now),
            }
        }
    }

    fn set_builders(&mut self, now: Time, list: Option<Vec<BuilderId>>) {
        self.admission.set_builders(list);
        let removed: Vec<_> =
            self.builders.iter().filter(|(key, _)| !self.admission.lists(key)).map(|(_, id)| *id).collect();
        for id in removed {
            self.reject(now, id, RejectCode::NotListed);
        }
    }

    fn shut_down(&mut self, now: Time) {
        self.stop_by.get_or_insert(now.plus_ms(SHUTDOWN_MS));
        for mut listener in self.listeners.drain(..) {
            let _ = self.poll.registry().deregister(&mut listener);
        }
        self.accept_again = None;
        let all: Vec<_> = self.conns.values().map(|conn| conn.id).collect();
        for id in all {
            self.reject(now, id, RejectCode::ShuttingDown);
        }
    }

    fn look_at_clocks(&mut self, now: Time) {
        let is_over = self.is_held && self.admission.has_room();
        if is_over || self.accept_again.is_some_and(|at| now >= at) {
            (self.accept_again, self.is_held) = (None, false);
            (0..self.listeners.len()).for_each(|i| self.accept(now, i));
        }
        while let Some((at, id)) = self.deadlines.pop_due(now) {
            let Some(conn) = self.conn(id).filter(|conn| conn.armed == Some(at)) else { continue };
            conn.armed = None;
            let was_closing = conn.session.is_closing();
            let event = conn.session.tick(now);
            let closing = conn.session.is_closing();
            self.mark(id);
            if let Some(Event::Ended(end)) = event {
                if closing && !was_closing {
                    self.left(now, id, end);
                } else {
                    self.remove(now, id, end);
                }
            }
        }
    }
}

/// Connections.
impl Reactor {
    fn ready(&mut self, now: Time, token: Token, event: &mio::event::Event) {
        let Some(id) = self.conns.get(&token).map(|conn| conn.id) else { return };
        self.mark(id);
        let reading = self.conn(id).is_some_and(|conn| conn.session.wants_read());
        if reading && (event.is_readable() || event.is_read_closed()) {
            self.read(now, id);
        } else if event.is_error() || event.is_write_closed() {
            // Perhaps not read at present, but a peer that is gone for good is still heard of.
            self.remove(now, id, End::Closed);
        }
    }

    fn read(&mut self, now: Time, id: SessionId) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut budget = READ_BYTES_PER_TURN;
        while let Some(conn) = self.conn(id)
            && conn.session.wants_read()
        {
            if budget == 0 {
                conn.short = true;
                break;
            }
            match conn.stream.read(&mut buffer) {
                Ok(0) => self.remove(now, id, End::Closed),
                Ok(count) => {
                    budget = budget.saturating_sub(count);
                    self.feed(now, id, &buffer[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.remove(now, id, End::Io(error.kind())),
            }
        }
        self.buffer = buffer;
    }

    fn feed(&mut self, now: Time, id: SessionId, mut input: &[u8]) {
        while !input.is_empty()
            && let Some(conn) = self.conns.get_mut(&token(id))
        {
            let (taken, event) = conn.session.receive(now, input);
            input = &input[taken..];
            match event {
                None => {}
                Some(event) => self.on_event(now, id, event),
            }
        }
    }

    fn on_event(&mut self, now: Time, id: SessionId, event: Event) {
        match event {
            Event::Leases(msg) => tell(&self.peers.leases, msg),
            Event::Transfers(msg) => tell(&self.peers.transfers, msg),
            Event::Desk(msg) => tell(&self.peers.desk, msg),
            Event::Established { peer, role } => self.on_established(now, id, peer, role),
            Event::Registered { info, held } => self.on_registered(now, id, info, held),
            Event::Ended(end) => self.left(now, id, end),
        }
    }

    /// Ends a session with a reason.
    fn reject(&mut self, now: Time, id: SessionId, code: RejectCode) {
        let Some(conn) = self.conn(id) else { return };
        conn.session.reject(now, code);
        self.mark(id);
        self.left(now, id, End::Rejected(code));
    }

    /// A session is over, whatever is left to write. Told once.
    fn left(&mut self, now: Time, id: SessionId, end: End) {
        let Some(conn) = self.conns.get_mut(&token(id)) else { return };
        let addr = conn.addr;
        match std::mem::replace(&mut conn.standing, Standing::Left) {
            Standing::Left => {}
            Standing::Operator { key } => {
                if end.is_offence() && self.admission.may_complain_of(now, key, end) {
                    log::warn!("operator key={} addr={addr} disconnected: {end}", key.fingerprint());
                } else {
                    log::debug!("operator addr={addr} disconnected: {end}");
                }
                tell(&self.peers.desk, desk::Msg::Disconnected { session: id });
            }
            Standing::Builder { key, name } => {
                let level = if end.is_offence() { log::Level::Warn } else { log::Level::Info };
                let key_text = key.fingerprint();
                log::log!(level, "builder={name} key={key_text} addr={addr} disconnected: {end}");
                if self.builders.get(&key) == Some(&id) {
                    self.builders.remove(&key);
                }
                // A hub that stops leaves its leases as a crash would: no builder is to blame for it.
                if self.stop_by.is_none() {
                    tell(&self.peers.leases, leases::Msg::Disconnected { session: id });
                }
            }
            // Said where the key is known.
            Standing::Pending(_)
                if matches!(end, End::Rejected(RejectCode::NotListed | RejectCode::Cloned)) => {}
            Standing::Pending(Some(key)) => {
                if end.is_offence() && self.admission.may_complain_of(now, key, end) {
                    log::warn!(
                        "key={} addr={addr} disconnected before it registered: {end}",
                        key.fingerprint()
                    );
                }
            }
            // Whoever connects and goes, or comes too early, or while we go, is no news.
            Standing::Pending(None) => match end {
                End::Closed | End::Io(_) | End::HandshakeTime => log::debug!("addr={addr} {end}"),
                End::Rejected(RejectCode::ShuttingDown) => {}
                _ if self.admission.may_complain(now, addr.ip(), end) => log::warn!("addr={addr} {end}"),
                _ => {}
            },
        }
    }

    /// Drops a connection at once.
    fn remove(&mut self, now: Time, id: SessionId, end: End) {
        self.left(now, id, end);
        self.admission.settled(id);
        let Some(mut conn) = self.conns.remove(&token(id)) else { return };
        if conn.watched.is_some() {
            // Closing the socket would do it too; then a failure would not be heard of.
            if let Err(error) = self.poll.registry().deregister(&mut conn.stream) {
                log::debug!("addr={} failed to be forgotten: {error}", conn.addr);
            }
        }
    }
}

/// The settling step.
impl Reactor {
    /// Has the settling step look at the session.
    fn mark(&mut self, id: SessionId) {
        if let Some(conn) = self.conns.get_mut(&token(id)).filter(|conn| conn.id == id)
            && !conn.marked
        {
            conn.marked = true;
            self.marked.push(id);
        }
    }

    fn settle(&mut self, now: Time) {
        let mut marked = std::mem::take(&mut self.marked);
        for id in marked.drain(..) {
            if let Err(end) = self.settle_one(now, id) {
                self.remove(now, id, end);
            }
        }
        // Nothing above marks a session; the buffer is only kept for the next turn.
        self.marked = marked;
    }

    /// Writes what waits, then derives what to watch and when to look again.
    fn settle_one(&mut self, now: Time, id: SessionId) -> Result<(), End> {
        let Some(conn) = self.conns.get_mut(&token(id)) else { return Ok(()) };
        conn.marked = false;
        let more = conn.session.flush(now, &mut conn.stream, &mut self.scratch)?;
        if conn.session.is_closing() && !conn.session.wants_write() && !conn.shut {
            conn.shut = true;
            conn.stream.shutdown(Shutdown::Write).map_err(|error| End::Io(error.kind()))?;
        }
        let wanted = match (conn.session.wants_read(), conn.session.wants_write()) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            // Nothing; but an error is reported all the same.
            (false, false) => Interest::PRIORITY,
        };
        if conn.watched != Some(wanted) || conn.short || more {
            let registry = self.poll.registry();
            match conn.watched {
                None => registry.register(&mut conn.stream, token(id), wanted),
                Some(_) => registry.reregister(&mut conn.stream, token(id), wanted),
            }
            .map_err(|error| End::Io(error.kind()))?;
            conn.watched = Some(wanted);
            conn.short = false;
        }
        let by = conn.session.deadline();
        if by < Time(u64::MAX) && conn.armed.is_none_or(|armed| by < armed) {
            conn.armed = Some(by);
            self.deadlines.push(by, id);
        }
        Ok(())
    }

    fn conn(&mut self, id: SessionId) -> Option<&mut Conn> {
        self.conns.get_mut(&token(id)).filter(|conn| conn.id == id)
    }

    fn listener(&self, token: Token) -> Option<&TcpListener> {
        self.listeners.get(token.0.checked_sub(1)?)
    }
}

/// Tokens of sessions begin here: before it are the waker's and the listeners'.
const FIRST_SESSION_TOKEN: usize = 1_024;

fn listener_token(i: usize) -> Token {
    assert!(i + 1 < FIRST_SESSION_TOKEN, "nobody listens on a thousand addresses");
    Token(i + 1)
}

fn token(id: SessionId) -> Token {
    let space = (usize::MAX - FIRST_SESSION_TOKEN) as u64;
    Token(FIRST_SESSION_TOKEN + (id.0 % space) as usize)
}

#[cfg(test)]
#[path = "reactor_tests.rs"]
mod tests;
