//! One connection, without its socket: bytes in, facts out; messages in, bytes out.
//!
//! Owns the channel, the order of messages, the answer to pings, what waits to be written, and the
//! connection's clocks. Never touches a socket, reads a clock, or knows another session: who may
//! be here at all is for [`super::admission`] to say.
//!
//! ```text
//! Handshake ──Established──▶ Greeted ──Register──▶ Reporting ──last Held──▶ Serving
//!     │                         └─ an operator ──▶ Operator
//!     └── each of them: error, clock, reject ──▶ Closing ── flushed, or its time is over ──▶ dropped
//! ```

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;

use moji_proto::channel::{Accept, Channel, ChannelError, Event as ChannelEvent};
use moji_proto::hello::Role;
use moji_proto::limits::{HANDSHAKE_MAX_MS, PARTIAL_RECORD_MAX_MS, SILENCE_MAX_MS};
use moji_proto::message::{FromBuilder, FromOperator, Message, ToBuilder, ToOperator};
use moji_proto::order::{OperatorOrder, Order};
use moji_proto::refusal::{Refusal, RejectCode};
use moji_proto::{PublicKey, Time};

use super::SESSION_BACKLOG_BYTES;
use super::outbox::{Outbox, Outgoing, Overflow};
use crate::core::types::{BuilderInfo, HeldLease, SessionId};
use crate::core::{desk, leases, transfers};

/// Written to one session before others get their turn, bytes: a few milliseconds of encryption.
const FLUSH_BYTES_PER_TURN: usize = 256 * 1024;

/// The clocks of a connection; all in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// From accept to the end of the handshake, and from there to the last `Held`.
    pub handshake_ms: u64,
    /// For a record to come whole.
    pub partial_ms: u64,
    /// For a peer to say anything, and to read anything of what waits for it.
    pub silence_ms: u64,
    /// From the last message to the end: for the peer to read why.
    pub linger_ms: u64,
}

impl Default for Clocks {
    fn default() -> Clocks {
        Clocks {
            handshake_ms: HANDSHAKE_MAX_MS,
            partial_ms: PARTIAL_RECORD_MAX_MS,
            silence_ms: SILENCE_MAX_MS,
            // A board on a bad line has answered by then or will read the reason at its next attempt.
            linger_ms: 2_000,
        }
    }
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed it.
    Closed,
    /// The system says so.
    Io(io::ErrorKind),
    /// Turned away before authentication.
    Refused(Refusal),
    /// Turned away in the channel.
    Rejected(RejectCode),
    /// The channel broke after authentication: damaged or oversize records.
    Broken(ChannelError),
    /// No whole handshake in time.
    HandshakeTime,
    /// No whole `Register` in time.
    RegisterTime,
    /// A record stayed half received.
    PartialTime,
    /// It reads nothing of what waits for it.
    NotReading,
}

impl End {
    /// Whether the peer broke the protocol, or kept the line without using it: worth a warning where it is one that knows
    /// a secret. What ends a session by itself, by the hub's own doing, or is said elsewhere is none.
    pub(super) fn is_offence(self) -> bool {
        match self {
            End::Closed | End::Io(_) => false,
            End::Rejected(code) => !matches!(
                code,
                RejectCode::ShuttingDown | RejectCode::Replaced | RejectCode::Cloned | RejectCode::NotListed
            ),
            End::Refused(_)
            | End::Broken(_)
            | End::HandshakeTime
            | End::RegisterTime
            | End::PartialTime
            | End::NotReading => true,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("closed by the peer"),
            End::Io(kind) => write!(f, "{kind}"),
            End::Refused(why) => write!(f, "refused: {why}"),
            End::Rejected(code) => write!(f, "rejected: {code}"),
            End::Broken(error) => write!(f, "{error}"),
            End::HandshakeTime => f.write_str("handshake not complete in time"),
            End::RegisterTime => f.write_str("did not register in time"),
            End::PartialTime => f.write_str("a record stayed half received"),
            End::NotReading => f.write_str("does not read what is sent to it"),
        }
    }
}

/// What received bytes or passed time meant.
#[derive(Debug)]
pub enum Event {
    /// The peer proved who it is. Whoever owns the session may reject it now.
    Established {
        /// Its key.
        peer: PublicKey,
        /// What it wants to be.
        role: Role,
    },
    /// A builder registered and reported all it holds.
    Registered {
        /// Who it is.
        info: BuilderInfo,
        /// What it holds.
        held: Vec<HeldLease>,
    },
    /// For leases.
    Leases(leases::Msg),
    /// For transfers.
    Transfers(transfers::Msg),
    /// For the desk.
    Desk(desk::Msg),
    /// The session is closing, or is to be dropped if nothing is left to write.
    Ended(End),
}

enum Stage {
    Handshake,
    Greeted { peer: PublicKey },
    Reporting { info: BuilderInfo, held: Vec<HeldLease>, left: u8 },
    Serving,
    Operator(OperatorOrder),
    Closing { by: Time },
}

/// One connection.
pub struct Session {
    id: SessionId,
    peer: IpAddr,
    clocks: Clocks,
    channel: Channel,
    stage: Stage,
    order: Order,
    out: Outbox,
    /// Bytes that actors have not dealt with.
    backlog: u32,
    /// When the present part of the greeting began.
    since: Time,
    /// When the last bytes came.
    heard: Time,
    /// When the record began that is half received.
    partial: Option<Time>,
    /// When the peer stopped taking bytes.
    stalled: Option<Time>,
}

impl Session {
    /// Waits for the peer's handshake.
    #[must_use]
    pub fn new(id: SessionId, peer: IpAddr, accept: Accept<'_>, clocks: Clocks, now: Time) -> Session {
        Session {
            id,
            peer,
            clocks,
            channel: Channel::accept(accept),
            stage: Stage::Handshake,
            order: Order::default(),
            out: Outbox::default(),
            backlog: 0,
            since: now,
            heard: now,
            partial: None,
            stalled: None,
        }
    }

    /// Takes received bytes up to and including one event; says how many. Without an event, all.
    pub fn receive(&mut self, now: Time, input: &[u8]) -> (usize, Option<Event>) {
        if self.is_closing() {
            return (input.len(), None);
        }
        self.heard = now;
        match self.channel.receive(input, self.out.raw()) {
            Ok((taken, event)) => {
                if event.is_some() {
                    self.partial = None;
                } else if self.channel.is_partial() {
                    self.partial.get_or_insert(now);
                }
                (taken, event.and_then(|event| self.channel_event(now, event)))
            }
            Err(error) => (input.len(), Some(self.channel_error(now, error))),
        }
    }

    /// Queues a message for a builder. Ignored if the session is closing.
    pub fn send(&mut self, now: Time, message: ToBuilder) -> Option<Event> {
        if self.is_closing() {
            return None;
        }
        if matches!(message, ToBuilder::Job { .. }) {
            self.order.job_sent();
        }
        self.queue(now, Outgoing::Builder(message))
    }

    /// Queues a message for an operator. Ignored if the session is closing.
    pub fn answer(&mut self, now: Time, message: ToOperator) -> Option<Event> {
        let Stage::Operator(order) = &mut self.stage else { return None };
        if matches!(message, ToOperator::End { .. }) {
            order.ended();
        }
        self.queue(now, Outgoing::Operator(message))
    }

    /// Ends the session with a reason inside the channel; before there is one, without.
    pub fn reject(&mut self, now: Time, code: RejectCode) {
        match self.stage {
            Stage::Closing { .. } => return,
            Stage::Handshake => {}
            Stage::Operator(_) => self.out.push_last(Outgoing::Operator(ToOperator::Reject { code })),
            Stage::Greeted { .. } | Stage::Reporting { .. } | Stage::Serving => {
                self.out.push_last(Outgoing::Builder(ToBuilder::Reject { code }));
            }
        }
        self.close(now);
    }

    /// Ends the session with a reason in plain bytes: only before any record was sent to the peer.
    pub fn refuse(&mut self, now: Time, why: Refusal) {
        self.out.drop_unsealed();
        self.out.raw().extend_from_slice(&why.to_bytes());
        self.close(now);
    }

    /// Actors have dealt with so many bytes.
    pub fn consumed(&mut self, now: Time, bytes: u32) {
        let was_paused = self.is_paused();
        self.backlog = self.backlog.saturating_sub(bytes);
        if was_paused && !self.is_paused() {
            // The peer could not be heard meanwhile: its clocks begin again.
            self.heard = now;
            self.partial = self.partial.map(|_| now);
        }
    }

    /// Writes what waits until `to` takes no more or the turn is over. Says whether `to` might take
    /// more at once. `scratch` is overwritten.
    ///
    /// # Errors
    /// Why the session must be dropped.
    pub fn flush(&mut self, now: Time, to: &mut impl Write, scratch: &mut Vec<u8>) -> Result<bool, End> {
        let mut budget = FLUSH_BYTES_PER_TURN;
        loop {
            let bytes = self.out.next_bytes(&mut self.channel, scratch).map_err(End::Broken)?;
            if bytes.is_empty() {
                self.stalled = None;
                return Ok(false);
            }
            if budget == 0 {
                return Ok(true);
            }
            match to.write(bytes) {
                Ok(0) => return Err(End::Io(io::ErrorKind::WriteZero)),
                Ok(count) => {
                    self.out.wrote(count);
                    self.stalled = None;
                    budget = budget.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled.get_or_insert(now);
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Io(error.kind())),
            }
        }
    }

    /// Whether bytes should be read: not while actors have enough of them. What a closing peer says
    /// is read and dropped, so that the reason reaches it.
    pub fn wants_read(&self) -> bool {
        self.is_closing() || !self.is_paused()
    }

    /// Whether bytes wait to be written.
    pub fn wants_write(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether the session only waits for the peer to take its last bytes and to hang up.
    pub fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing { .. })
    }

    /// When [`Session::tick`] has something to do.
    pub fn deadline(&self) -> Time {
        let by = match self.stage {
            Stage::Closing { by } => return by,
            Stage::Handshake => return self.since.plus_ms(self.clocks.handshake_ms),
            Stage::Greeted { .. } | Stage::Reporting { .. } => self.since.plus_ms(self.clocks.handshake_ms),
            Stage::Serving | Stage::Operator(_) => Time(u64::MAX),
        };
        let mut by = by.min(self.stalled.map_or(by, |since| since.plus_ms(self.clocks.silence_ms)));
        if !self.is_paused() {
            by = by.min(self.heard.plus_ms(self.clocks.silence_ms));
            by = by.min(self.partial.map_or(by, |since| since.plus_ms(self.clocks.partial_ms)));
        }
        by
    }

    /// Looks at the clocks. `Ended` of a session that is not closing then means: drop it.
    pub fn tick(&mut self, now: Time) -> Option<Event> {
        if now < self.deadline() {
            return None;
        }
        let passed = |since: Option<Time>, ms| since.is_some_and(|since| now >= since.plus_ms(ms));
        let end = match self.stage {
            Stage::Closing { .. } => End::Closed,
            Stage::Handshake => End::HandshakeTime,
            _ if passed(self.stalled, self.clocks.silence_ms) => End::NotReading,
            _ if passed(self.partial, self.clocks.partial_ms) && !self.is_paused() => End::PartialTime,
            Stage::Greeted { .. } | Stage::Reporting { .. }
                if passed(Some(self.since), self.clocks.handshake_ms) =>
            {
                End::RegisterTime
            }
            _ => End::Rejected(RejectCode::Silence),
        };
        // The line may be alive and only the peer's program stuck: then it reads why.
        if matches!(end, End::PartialTime | End::RegisterTime | End::Rejected(_)) {
            self.reject(now, RejectCode::Silence);
        }
        Some(Event::Ended(end))
    }

    fn is_paused(&self) -> bool {
        self.backlog >= SESSION_BACKLOG_BYTES
    }

    fn close(&mut self, now: Time) {
        self.stage = Stage::Closing { by: now.plus_ms(self.clocks.linger_ms) };
    }

    fn rejected(&mut self, now: Time, code: RejectCode) -> Event {
        self.reject(now, code);
        Event::Ended(End::Rejected(code))
    }

    fn queue(&mut self, now: Time, message: Outgoing) -> Option<Event> {
        let Err(Overflow) = self.out.push(message) else { return None };
        // It would not read a reason either.
        self.out.drop_unsealed();
        self.close(now);
        Some(Event::Ended(End::NotReading))
    }

    fn channel_error(&mut self, now: Time, error: ChannelError) -> Event {
        let before = matches!(self.stage, Stage::Handshake);
        self.out.drop_unsealed();
        self.close(now);
        match Channel::refusal(&error) {
            Some(why) if before => {
                self.out.raw().extend_from_slice(&why.to_bytes());
                Event::Ended(End::Refused(why))
            }
            _ => Event::Ended(End::Broken(error)),
        }
    }

    fn channel_event(&mut self, now: Time, event: ChannelEvent) -> Option<Event> {
        match event {
            ChannelEvent::Established { peer, role, .. } => {
                self.since = now;
                self.stage = match role {
                    Role::Builder => Stage::Greeted { peer },
                    Role::Operator => Stage::Operator(OperatorOrder::default()),
                };
                Some(Event::Established { peer, role })
            }
            ChannelEvent::Record(bytes) => {
                if matches!(self.stage, Stage::Operator(_)) {
                    return self.operator(now, &bytes);
                }
                let message = match FromBuilder::decode(&bytes) {
                    Ok(message) => message,
                    Err(error) => return Some(self.rejected(now, error.into())),
                };
                match self.order.admit(&message) {
                    Ok(()) => self.route(now, message),
                    Err(code) => Some(self.rejected(now, code)),
                }
            }
            ChannelEvent::Refused(_) => unreachable!("only an initiator is refused"),
        }
    }

    /// Takes what an operator said.
    fn operator(&mut self, now: Time, bytes: &[u8]) -> Option<Event> {
        let Stage::Operator(order) = &mut self.stage else { unreachable!("the caller looked") };
        let message = match FromOperator::decode(bytes) {
            Ok(message) => message,
            Err(error) => return Some(self.rejected(now, error.into())),
        };
        if let Err(code) = order.admit(&message) {
            return Some(self.rejected(now, code));
        }
        match message {
            FromOperator::Ping => return self.queue(now, Outgoing::Operator(ToOperator::Pong)),
            FromOperator::Data { ref bytes, .. } => {
                self.backlog = self.backlog.saturating_add(bytes.0.len() as u32);
            }
            _ => {}
        }
        Some(Event::Desk(desk::Msg::FromOperator { session: self.id, msg: message }))
    }

    /// Routes a message that may come now.
    fn route(&mut self, now: Time, message: FromBuilder) -> Option<Event> {
        let session = self.id;
        match message {
            FromBuilder::Register { held, .. } => {
                let Stage::Greeted { peer } = self.stage else { unreachable!("the order has one Register") };
                let info = builder_info(message, peer, self.peer);
                self.stage = Stage::Reporting { info, held: Vec::new(), left: held };
                self.registered()
            }
            FromBuilder::Held { lease, srpm, digest, phase } => {
                let Stage::Reporting { held, left, .. } = &mut self.stage else {
                    unreachable!("the order has Held after Register")
                };
                held.push(HeldLease { lease, srpm, digest, phase });
                *left -= 1;
                self.registered()
            }
            FromBuilder::Ping { health } => {
                if let Some(end) = self.queue(now, Outgoing::Builder(ToBuilder::Pong)) {
                    return Some(end);
                }
                // Leases do not know the session before it is registered.
                let serving = matches!(self.stage, Stage::Serving);
                serving.then_some(Event::Leases(leases::Msg::Health { session, health }))
            }
            FromBuilder::Ready => Some(Event::Leases(leases::Msg::Ready { session })),
            FromBuilder::Draining => Some(Event::Leases(leases::Msg::Draining { session })),
            FromBuilder::Release { lease, why } => {
                Some(Event::Leases(leases::Msg::Release { session, lease, why }))
            }
            FromBuilder::Log { ref bytes, .. } | FromBuilder::Data { ref bytes, .. } => {
                self.backlog = self.backlog.saturating_add(bytes.0.len() as u32);
                Some(Event::Transfers(transfers::Msg::FromBuilder { session, msg: message }))
            }
            FromBuilder::Fetch { .. }
            | FromBuilder::Phase { .. }
            | FromBuilder::Results { .. }
            | FromBuilder::File { .. }
            | FromBuilder::Evidence { .. } => {
                Some(Event::Transfers(transfers::Msg::FromBuilder { session, msg: message }))
            }
        }
    }

    fn registered(&mut self) -> Option<Event> {
        if !matches!(self.stage, Stage::Reporting { left: 0, .. }) {
            return None;
        }
        let Stage::Reporting { info, held, .. } = std::mem::replace(&mut self.stage, Stage::Serving) else {
            unreachable!("checked above")
        };
        Some(Event::Registered { info, held })
    }
}

fn builder_info(register: FromBuilder, id: PublicKey, peer: IpAddr) -> BuilderInfo {
    let FromBuilder::Register {
        name,
        instance,
        arch,
        version,
        cfg,
        cfg_digest,
        backend,
        cpus,
        memory_mib,
        disk_free_mib,
        clock_unix_s,
        setup,
        weak,
        held: _,
    } = register
    else {
        unreachable!("the caller matched Register")
    };
    BuilderInfo {
        id,
        name,
        instance,
        arch,
        version,
        cfg,
        cfg_digest,
        backend,
        cpus,
        memory_mib,
        disk_free_mib,
        clock_unix_s,
        setup,
        weak,
        peer,
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
