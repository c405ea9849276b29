//! A session with the hub: messages there and back, and one request at a time.
//!
//! Owns the socket and the secure channel on it, pings, credit for rows, and the clock of silence. Never
//! looks at what rows say. Reads block until a moment that the caller names.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use moji_proto::Line;
use moji_proto::channel::{self, Channel, ChannelError};
use moji_proto::limits::PING_EVERY_MS;
use moji_proto::message::{FromOperator, Message, ToOperator};
use moji_proto::refusal::{Refusal, RejectCode};

use super::code;
use crate::exit::Failure;

/// Bytes read at a time: two records.
const READ_BYTES: usize = 64 * 1024;
/// So many rows are granted after each so many that came.
const GRANT_ROWS: u16 = 32;
/// How often we say that we are there.
const PING_EVERY: Duration = Duration::from_millis(PING_EVERY_MS);
/// The shortest wait that a socket knows.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// Why there is no session any more, or none in the first place.
#[derive(Debug)]
pub enum Lost {
    /// It may be otherwise in a moment: the hub restarts, the network is away.
    Away(String),
    /// Somebody has to do something.
    For(Failure),
    /// The hub turned us away before it had answered.
    Refused(Refusal),
    /// The secure channel ended.
    Channel(ChannelError),
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Lost {
        Lost::For(failure)
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Failure {
        match lost {
            Lost::Away(text) => Failure::new(code::HUB, text),
            Lost::For(failure) => failure,
            Lost::Refused(refusal) => Failure::new(code::HUB, format!("the hub refused: {refusal}")),
            Lost::Channel(error) => Failure::new(code::HUB, format!("the connection broke: {error}")),
        }
    }
}

impl Lost {
    /// Why, if it is worth trying again.
    ///
    /// # Errors
    /// The [`Failure`] if it is not.
    pub fn away(self) -> Result<String, Failure> {
        match self {
            Lost::Away(why) => Ok(why),
            Lost::Channel(error) => Ok(format!("the connection broke: {error}")),
            other => Err(other.into()),
        }
    }
}

/// What came of an answer.
#[derive(Debug)]
pub enum Next {
    /// A row, or one of what steers an upload.
    Row(ToOperator),
    /// The answer is complete.
    End,
    /// Nothing until the moment that was named.
    Nothing,
}

/// One connection.
pub struct Session {
    stream: TcpStream,
    channel: Box<Channel>,
    input: Box<[u8]>,
    /// What of the input is still to be looked at.
    rest: std::ops::Range<usize>,
    out: Vec<u8>,
    hub: String,
    /// Rows of the running answer.
    rows: u32,
    /// Writing failed. What the hub said last is read first: it says why.
    broken: bool,
    heard: Instant,
    pinged: Instant,
    silence: Duration,
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Session {
    pub(super) fn new(stream: TcpStream, channel: Channel, hub: String, silence: Duration) -> Session {
        // A hub that takes nothing for so long is as dead as one that says nothing.
        let _ = stream.set_write_timeout(Some(silence));
        let now = Instant::now();
        Session {
            stream,
            channel: Box::new(channel),
            input: vec![0; READ_BYTES].into(),
            rest: 0..0,
            out: Vec::new(),
            hub,
            rows: 0,
            broken: false,
            heard: now,
            pinged: now,
            silence,
        }
    }

    /// `HOST:PORT`.
    pub(super) fn hub(&self) -> &str {
        &self.hub
    }

    /// Asks for something; its rows come from [`Session::next`].
    ///
    /// # Errors
    /// [`Lost`] if the hub went away.
    pub fn ask(&mut self, request: &FromOperator, words: &[Line]) -> Result<(), Lost> {
        self.rows = 0;
        self.say(request)?;
        words.iter().try_for_each(|word| self.say(&FromOperator::Word { word: word.clone() }))
    }

    /// The next row of the answer, waited for.
    ///
    /// # Errors
    /// [`Lost`] if the hub went away or broke the protocol.
    pub fn row(&mut self) -> Result<Option<ToOperator>, Lost> {
        loop {
            // The clock of silence ends this, or what comes.
            match self.next(Instant::now() + self.silence + WAIT_MIN)? {
                Next::Row(row) => return Ok(Some(row)),
                Next::End => return Ok(None),
                Next::Nothing => {}
            }
        }
    }

    /// The next row of the answer, waited for until then.
    ///
    /// # Errors
    /// [`Lost`] if the hub went away or broke the protocol.
    pub fn next(&mut self, until: Instant) -> Result<Next, Lost> {
        loop {
            let row = match self.message(until)? {
                None => return Ok(Next::Nothing),
                Some(ToOperator::Pong) => continue,
                Some(ToOperator::End { rows }) if rows == self.rows => return Ok(Next::End),
                Some(ToOperator::End { rows }) => {
                    let text = format!("the hub sent {} rows and says that it sent {rows}", self.rows);
                    return Err(Lost::For(Failure::new(code::HUB, text)));
                }
                Some(row @ (ToOperator::Want { .. } | ToOperator::Ack { .. })) => return Ok(Next::Row(row)),
                Some(row) => row,
            };
            self.rows = self.rows.wrapping_add(1);
            if self.rows.is_multiple_of(u32::from(GRANT_ROWS)) {
                self.say(&FromOperator::More { rows: GRANT_ROWS })?;
            }
            return Ok(Next::Row(row));
        }
    }

    /// The next message, whatever it is, until then.
    pub(super) fn message(&mut self, until: Instant) -> Result<Option<ToOperator>, Lost> {
        let record = match self.event(until)? {
            None => return Ok(None),
            Some(channel::Event::Record(record)) => record,
            Some(channel::Event::Refused(refusal)) => return Err(Lost::Refused(refusal)),
            Some(channel::Event::Established { .. }) => unreachable!("the handshake is over"),
        };
        match ToOperator::decode(&record) {
            Ok(ToOperator::Reject { code }) => Err(self.rejected(code)),
            Ok(message) => Ok(Some(message)),
            Err(error) => {
                let text = format!("cannot understand the hub {}: {error}: upgrade the older one", self.hub);
                Err(Lost::For(Failure::new(code::HUB, text)))
            }
        }
    }

    fn rejected(&self, reject: RejectCode) -> Lost {
        let text = format!("the hub {} ended the session: {reject}", self.hub);
        match reject {
            RejectCode::ShuttingDown | RejectCode::Silence | RejectCode::TooSlow | RejectCode::Replaced => {
                Lost::Away(text)
            }
            _ => Lost::For(Failure::new(code::HUB, text)),
        }
    }

    /// The hub says what it must not say now.
    #[must_use]
    pub fn nonsense(&self, message: &ToOperator) -> Lost {
        let what = format!("{message:?}");
        let what = what.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
        let text = format!(
            "the hub {} answers with {what}, which was not asked for: upgrade the older one",
            self.hub
        );
        Lost::For(Failure::new(code::HUB, text))
    }

    /// The next event of the channel, until then; what is there already also later.
    pub(super) fn event(&mut self, until: Instant) -> Result<Option<channel::Event>, Lost> {
        loop {
            while !self.rest.is_empty() {
                let received = self.channel.receive(&self.input[self.rest.clone()], &mut self.out);
                let (used, event) = received.map_err(Lost::Channel)?;
                self.rest.start += used;
                self.flush()?;
                if event.is_some() {
                    return Ok(event);
                }
            }
            let now = Instant::now();
            if now >= self.heard + self.silence {
                let text = format!("the hub {} is silent for {} s", self.hub, self.silence.as_secs());
                return Err(Lost::Away(text));
            }
            if self.channel.established() && now >= self.pinged + PING_EVERY {
                self.say(&FromOperator::Ping)?;
                self.pinged = now;
            }
            if now >= until {
                return Ok(None);
            }
            let wake = until.min(self.heard + self.silence).min(self.pinged + PING_EVERY);
            self.read(wake.saturating_duration_since(now).max(WAIT_MIN))?;
        }
    }

    fn read(&mut self, wait: Duration) -> Result<(), Lost> {
        // A duration of zero is the only error, and excluded.
        let _ = self.stream.set_read_timeout(Some(wait));
        match self.stream.read(&mut self.input) {
            Ok(0) => Err(self.closed()),
            Ok(count) => {
                self.rest = 0..count;
                self.heard = Instant::now();
                Ok(())
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                if self.broken {
                    Err(self.closed())
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(self.broke(&error)),
        }
    }

    /// Says one thing.
    pub(super) fn say(&mut self, message: &FromOperator) -> Result<(), Lost> {
        self.channel.send(message, &mut self.out).map_err(Lost::Channel)?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Lost> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        self.write(&out)?;
        self.out = out;
        self.out.clear();
        Ok(())
    }

    /// Writes bytes as they are.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        if self.broken {
            return Ok(());
        }
        match self.stream.write_all(bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Lost::Away(format!("the hub {} takes nothing", self.hub)))
            }
            Err(_) => {
                self.broken = true;
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn broke(&self, error: &std::io::Error) -> Lost {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => self.closed(),
            _ => Lost::Away(format!("the connection to the hub {} broke: {error}", self.hub)),
        }
    }

    fn closed(&self) -> Lost {
        Lost::Away(format!("the hub {} closed the connection", self.hub))
    }
}
