//! The secure channel: a Noise handshake and encrypted records, without any I/O.
//!
//! Owns bytes in and bytes out of one connection. Never reads a socket or a clock, and never
//! allocates for a length before it has checked it.
//!
//! ```text
//! initiator                                           acceptor
//! Hello, 16 bytes in plain                       ▶    role and magic are checked
//! -> e                        48 bytes           ▶
//!  ◀  112 bytes               <- e, ee, s, es, Welcome
//!  the hub's key is checked against the pinned one, the version against ours
//! -> s, se, psk               64 bytes           ▶    the secrets of the role are tried in turn
//!  ◀▶ records: u16 length, then that many encrypted bytes which hold one message
//! ```
//!
//! The acceptor may say `00 00 CODE` ([`Refusal`]) instead of its handshake message or of its first
//! record. No record has length 0, and the acceptor never uses an ephemeral key whose public half
//! begins with two zeros, so the two cannot be mixed up. A refusal is a hint: anybody on the path
//! can forge it.

use std::fmt;

use snow::TransportState;
use zeroize::Zeroizing;

use crate::hello::{HELLO_BYTES, Hello, Role, Versions, Welcome, choose};
use crate::ids::PublicKey;
use crate::limits::{MESSAGE_BYTES_MAX, RECORD_BYTES_MAX, RECORD_BYTES_MIN, TAG_BYTES};
use crate::message::Message;
use crate::refusal::Refusal;
use crate::secret::{Psk, SecretKey, random_bytes};
pub use error::ChannelError;
use noise::{Answer, Call, FIRST_BYTES, SECOND_BYTES, THIRD_BYTES};

mod error;
mod noise;
#[cfg(test)]
mod tests;

/// Bytes of the length before each record.
const LENGTH_BYTES: usize = 2;
/// Bytes of a refusal: a length of zero and the code.
const REFUSAL_BYTES: usize = 3;
/// A buffer that grew for a large record is freed by the next record that needs at most this many
/// bytes: within one ping an idle connection costs a hub with 10,000 of them next to nothing, while
/// a transfer keeps its buffer.
const BUFFER_KEPT_BYTES: usize = 1_024;

/// What the initiator brings.
pub struct Connect<'a> {
    /// What it wants to be.
    pub role: Role,
    /// What it speaks.
    pub versions: Versions,
    /// Who it is.
    pub key: &'a SecretKey,
    /// What it shares with the hub.
    pub psk: Psk,
    /// Who the hub must be; with none, whoever answers is taken and named in `Established`.
    pub hub_key: Option<PublicKey>,
}

/// What the acceptor brings. All of it is copied.
pub struct Accept<'a> {
    /// What it speaks.
    pub versions: Versions,
    /// Who it is.
    pub key: &'a SecretKey,
    /// What it shares with builders, tried in this order; none lets no builder in.
    pub builder_secrets: &'a [Psk],
    /// What it shares with operators, tried in this order; none lets no operator in.
    pub operator_secrets: &'a [Psk],
}

/// What came out of received bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is over; records may be sealed. The acceptor knows now that the peer has the
    /// secret; the initiator knows it only when the first record comes.
    Established {
        /// Who the peer is.
        peer: PublicKey,
        /// What the initiator is for the hub.
        role: Role,
        /// Protocol version of all records.
        version: u16,
        /// Which of the role's secrets fitted, counted from 0; 0 on the initiator.
        secret: usize,
    },
    /// The bytes of one message.
    Record(Vec<u8>),
    /// The hub turned us away; the channel is over.
    Refused(Refusal),
}

/// One end of a connection.
///
/// ```text
/// initiator: Calling ──second──▶ Open          acceptor: Waiting ──first──▶ Answered ──third──▶ Open
/// each of them: error or refusal ──▶ Over
/// ```
pub struct Channel {
    state: State,
    /// The received part of what is not complete yet: at most one handshake message or record.
    buffer: Vec<u8>,
}

enum State {
    Waiting(Box<Waiting>),
    Answered(Box<Answered>),
    Calling(Box<Calling>),
    Open(Box<Open>),
    Over,
}

/// An acceptor's step. Called by a pointer that only [`Channel::accept`] leads to, so that the linker leaves the hub's
/// half of the handshake out of the client.
type Step<S> = fn(&mut Channel, Box<S>, &mut Vec<u8>) -> Result<Option<Event>, ChannelError>;

struct Waiting {
    step: Step<Waiting>,
    versions: Versions,
    key: SecretKey,
    builder_secrets: Vec<Psk>,
    operator_secrets: Vec<Psk>,
}

struct Answered {
    step: Step<Answered>,
    noise: Answer,
    secrets: Vec<Psk>,
    role: Role,
    version: u16,
}

struct Calling {
    noise: Call,
    role: Role,
    versions: Versions,
    hub_key: Option<PublicKey>,
}

struct Open {
    noise: TransportState,
    /// A refusal may still stand where the next length would: no record came from the hub yet.
    refusable: bool,
}

impl Channel {
    /// Begins a connection to a hub: appends `Hello` and the first handshake message to `out`.
    ///
    /// # Panics
    /// As [`random_bytes`].
    pub fn connect(connect: Connect<'_>, out: &mut Vec<u8>) -> Channel {
        Channel::connect_with(connect, &fresh(), out)
    }

    fn connect_with(connect: Connect<'_>, ephemeral: &[u8; 32], out: &mut Vec<u8>) -> Channel {
        let Connect { role, versions, key, psk, hub_key } = connect;
        let hello = Hello { role, versions }.to_bytes();
        let (noise, first) = Call::new(key, &psk, &hello, ephemeral);
        out.extend_from_slice(&hello);
        out.extend_from_slice(&first);
        let calling = Calling { noise, role, versions, hub_key };
        Channel { state: State::Calling(Box::new(calling)), buffer: Vec::new() }
    }

    /// Waits for a peer to begin.
    #[must_use]
    pub fn accept(accept: Accept<'_>) -> Channel {
        let waiting = Waiting {
            step: Channel::receive_first,
            versions: accept.versions,
            key: accept.key.clone(),
            builder_secrets: accept.builder_secrets.to_vec(),
            operator_secrets: accept.operator_secrets.to_vec(),
        };
        Channel { state: State::Waiting(Box::new(waiting)), buffer: Vec::new() }
    }

    /// Takes bytes from `input` up to and including at most one event, and says how many. Without
    /// an event all of `input` was taken; with one, call again with the rest. Appends to `out` what
    /// must be written: also when there is an error, so write `out` first, then
    /// [`Channel::refusal`], then close.
    ///
    /// # Errors
    /// Any [`ChannelError`] but `NotEstablished`; each ends the channel.
    pub fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event>), ChannelError> {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            let step = match self.state {
                State::Over => Err(ChannelError::Over),
                State::Open(_) => self.receive_record(rest),
                State::Waiting(_) | State::Answered(_) | State::Calling(_) => {
                    self.receive_handshake(rest, out)
                }
            };
            match step {
                Ok((more, event)) => {
                    taken += more;
                    if event.is_some() || taken == input.len() {
                        return Ok((taken, event));
                    }
                }
                Err(error) => {
                    self.end();
                    return Err(error);
                }
            }
        }
    }

    /// Appends one record that holds `plain` to `out`.
    ///
    /// # Errors
    /// `NotEstablished`, `TooShort` or `TooLong` (1 to [`MESSAGE_BYTES_MAX`] bytes fit), after which
    /// the channel goes on; `Exhausted`, which ends it; `Over`.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), ChannelError> {
        let open = match &mut self.state {
            State::Open(open) => open,
            State::Over => return Err(ChannelError::Over),
            State::Waiting(_) | State::Answered(_) | State::Calling(_) => {
                return Err(ChannelError::NotEstablished);
            }
        };
        if plain.is_empty() {
            return Err(ChannelError::TooShort(0));
        }
        if plain.len() > MESSAGE_BYTES_MAX {
            return Err(ChannelError::TooLong(plain.len()));
        }
        let length = plain.len() + TAG_BYTES;
        let start = out.len();
        out.reserve(LENGTH_BYTES + length);
        out.extend_from_slice(&(length as u16).to_be_bytes());
        // Any bytes will do, they are overwritten. Copying some is one memcpy; `resize` is a loop of its own,
        // which costs a third of the encryption where this crate is built for size.
        out.extend_from_slice(plain);
        out.extend_from_slice(&[0; TAG_BYTES]);
        match open.noise.write_message(plain, &mut out[start + LENGTH_BYTES..]) {
            Ok(written) => {
                assert_eq!(written, length, "a record is as long as announced");
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                self.end();
                Err(error.into())
            }
        }
    }

    /// Appends one record that holds `message` to `out`.
    ///
    /// # Errors
    /// As [`Channel::seal`], without `TooShort` and `TooLong`.
    ///
    /// # Panics
    /// As [`Message::encode`].
    pub fn send<M: Message>(&mut self, message: &M, out: &mut Vec<u8>) -> Result<(), ChannelError> {
        let mut plain = Vec::new();
        message.encode(&mut plain);
        self.seal(&plain, out)
    }

    /// Whether records can be sealed and opened.
    #[must_use]
    pub fn established(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether the peer owes bytes: the handshake is not over, or a record is half received. The
    /// caller's clocks of [`crate::limits::HANDSHAKE_MAX_MS`] and
    /// [`crate::limits::PARTIAL_RECORD_MAX_MS`] run meanwhile.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        match self.state {
            State::Waiting(_) | State::Answered(_) | State::Calling(_) => true,
            State::Open(_) => !self.buffer.is_empty(),
            State::Over => false,
        }
    }

    /// What an acceptor should say in plain bytes before it closes; none where the peer either
    /// would not understand it or is authenticated already.
    #[must_use]
    pub fn refusal(error: &ChannelError) -> Option<Refusal> {
        match error {
            ChannelError::NoCommonVersion { .. } => Some(Refusal::Version),
            ChannelError::UnknownRole(_) => Some(Refusal::Role),
            ChannelError::WrongSecret => Some(Refusal::Secret),
            ChannelError::BadMagic | ChannelError::DamagedHandshake => Some(Refusal::Garbage),
            ChannelError::BadWelcome(_)
            | ChannelError::WrongHubKey { .. }
            | ChannelError::UnknownRefusal(_)
            | ChannelError::TooShort(_)
            | ChannelError::TooLong(_)
            | ChannelError::DamagedRecord
            | ChannelError::NotEstablished
            | ChannelError::Exhausted
            | ChannelError::Over => None,
        }
    }

    fn end(&mut self) {
        self.state = State::Over;
        self.buffer = Vec::new();
    }

    /// Moves bytes from `input` until the buffer holds `want`; says how many it moved.
    fn fill(&mut self, input: &[u8], want: usize) -> usize {
        let count = want.saturating_sub(self.buffer.len()).min(input.len());
        if count > 0 {
            self.buffer.reserve_exact(want - self.buffer.len());
            self.buffer.extend_from_slice(&input[..count]);
        }
        count
    }

    /// Empties the buffer after `used` bytes of it, or of the input instead of it, were one record.
    fn drain(&mut self, used: usize) {
        self.buffer.clear();
        if used <= BUFFER_KEPT_BYTES && self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
    }

    fn receive_handshake(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event>), ChannelError> {
        let want = match self.state {
            State::Waiting(_) => HELLO_BYTES + FIRST_BYTES,
            State::Calling(_) => SECOND_BYTES,
            _ => THIRD_BYTES,
        };
        let taken = self.fill(input, want);
        let event = match std::mem::replace(&mut self.state, State::Over) {
            State::Waiting(waiting) => (waiting.step)(self, waiting, out)?,
            State::Answered(answered) => (answered.step)(self, answered, out)?,
            State::Calling(calling) => self.receive_second(calling, out)?,
            State::Open(_) | State::Over => unreachable!("the caller matched the state"),
        };
        Ok((taken, event))
    }

    /// The acceptor has a part of `Hello` and the first message.
    fn receive_first(
        &mut self,
        waiting: Box<Waiting>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, ChannelError> {
        let Some((hello, rest)) = self.buffer.split_first_chunk::<HELLO_BYTES>() else {
            self.state = State::Waiting(waiting);
            return Ok(None);
        };
        let Hello { role, versions: theirs } = Hello::from_bytes(hello)?;
        let Ok(first) = <&[u8; FIRST_BYTES]>::try_from(rest) else {
            self.state = State::Waiting(waiting);
            return Ok(None);
        };
        let Waiting { versions: ours, key, builder_secrets, operator_secrets, .. } = *waiting;
        let chosen = choose(ours, theirs);
        let welcome = Welcome { chosen: chosen.unwrap_or(0), versions: ours }.to_bytes();
        let (noise, second) = Answer::new(key, hello, first, &welcome, || *fresh())?;
        out.extend_from_slice(&second);
        // Also without a common version the answer goes out, so that the peer learns, proven by
        // our key, what we speak.
        let version = chosen.ok_or(ChannelError::NoCommonVersion { ours, theirs })?;
        let secrets = match role {
            Role::Builder => builder_secrets,
            Role::Operator => operator_secrets,
        };
        self.buffer.clear();
        let answered = Answered { step: Channel::receive_third, noise, secrets, role, version };
        self.state = State::Answered(Box::new(answered));
        Ok(None)
    }

    /// The initiator has a part of the second message, or a refusal.
    fn receive_second(
        &mut self,
        calling: Box<Calling>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, ChannelError> {
        if let [0, 0, code, ..] = self.buffer[..] {
            return self.refused(code).map(Some);
        }
        let Ok(second) = <&[u8; SECOND_BYTES]>::try_from(&self.buffer[..]) else {
            self.state = State::Calling(calling);
            return Ok(None);
        };
        let Calling { mut noise, role, versions: ours, hub_key } = *calling;
        let (peer, welcome) = noise.read_second(second)?;
        // All checks come before the third message: it would tell a false hub who we are.
        if let Some(pinned) = hub_key
            && pinned != peer
        {
            return Err(ChannelError::WrongHubKey { pinned, offered: peer });
        }
        let Welcome { chosen, versions: theirs } = Welcome::from_bytes(&welcome);
        if chosen == 0 {
            return Err(ChannelError::NoCommonVersion { ours, theirs });
        }
        if !(ours.low..=ours.high).contains(&chosen) {
            return Err(ChannelError::BadWelcome(chosen));
        }
        let (noise, third) = noise.write_third();
        out.extend_from_slice(&third);
        self.buffer.clear();
        self.state = State::Open(Box::new(Open { noise, refusable: true }));
        Ok(Some(Event::Established { peer, role, version: chosen, secret: 0 }))
    }

    /// The acceptor has a part of the third message.
    fn receive_third(
        &mut self,
        answered: Box<Answered>,
        _: &mut Vec<u8>,
    ) -> Result<Option<Event>, ChannelError> {
        let Ok(third) = <&[u8; THIRD_BYTES]>::try_from(&self.buffer[..]) else {
            self.state = State::Answered(answered);
            return Ok(None);
        };
        let Answered { noise, secrets, role, version, .. } = *answered;
        let (noise, peer, secret) = noise.read_third(third, &secrets)?.ok_or(ChannelError::WrongSecret)?;
        self.buffer.clear();
        self.state = State::Open(Box::new(Open { noise, refusable: false }));
        Ok(Some(Event::Established { peer, role, version, secret }))
    }

    fn receive_record(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), ChannelError> {
        // The usual case first: the record lies in the input as a whole and is not copied.
        if self.buffer.is_empty()
            && let Some((header, rest)) = input.split_first_chunk::<LENGTH_BYTES>()
            && *header != [0, 0]
        {
            let length = record_length(*header)?;
            if let Some(record) = rest.get(..length) {
                let plain = self.open(record)?;
                self.drain(length);
                return Ok((LENGTH_BYTES + length, Some(Event::Record(plain))));
            }
        }
        let mut taken = self.fill(input, LENGTH_BYTES);
        let Some(header) = self.buffer.first_chunk::<LENGTH_BYTES>().copied() else {
            return Ok((taken, None));
        };
        if header == [0, 0] && matches!(&self.state, State::Open(open) if open.refusable) {
            taken += self.fill(&input[taken..], REFUSAL_BYTES);
            return match self.buffer[..] {
                [_, _, code] => Ok((taken, Some(self.refused(code)?))),
                _ => Ok((taken, None)),
            };
        }
        let want = LENGTH_BYTES + record_length(header)?;
        taken += self.fill(&input[taken..], want);
        if self.buffer.len() < want {
            return Ok((taken, None));
        }
        let buffer = std::mem::take(&mut self.buffer);
        let plain = self.open(&buffer[LENGTH_BYTES..])?;
        self.buffer = buffer;
        self.drain(want);
        Ok((taken, Some(Event::Record(plain))))
    }

    /// Decrypts one record.
    fn open(&mut self, record: &[u8]) -> Result<Vec<u8>, ChannelError> {
        let State::Open(open) = &mut self.state else { unreachable!("the caller matched the state") };
        let mut plain = vec![0; record.len() - TAG_BYTES];
        open.noise.read_message(record, &mut plain)?;
        open.refusable = false;
        Ok(plain)
    }

    fn refused(&mut self, code: u8) -> Result<Event, ChannelError> {
        let refusal = Refusal::from_code(code).ok_or(ChannelError::UnknownRefusal(code))?;
        self.end();
        Ok(Event::Refused(refusal))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Waiting(_) => "waiting",
            State::Answered(_) => "answered",
            State::Calling(_) => "calling",
            State::Open(_) => "open",
            State::Over => "over",
        };
        write!(f, "Channel({state}, {} bytes buffered)", self.buffer.len())
    }
}

/// Checks a record's length.
fn record_length(header: [u8; LENGTH_BYTES]) -> Result<usize, ChannelError> {
    match usize::from(u16::from_be_bytes(header)) {
        length @ ..RECORD_BYTES_MIN => Err(ChannelError::TooShort(length)),
        length if length > RECORD_BYTES_MAX => Err(ChannelError::TooLong(length)),
        length => Ok(length),
    }
}

/// A new ephemeral secret.
fn fresh() -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    random_bytes(&mut *bytes);
    bytes
}
