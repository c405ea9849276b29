//! The connection as the core sees it: down, on its way, or up.
//!
//! Owns back-off, pings, silence and what was said in this session. Never decides about jobs.

use moji_proto::limits::{HANDSHAKE_MAX_MS, PING_EVERY_MS, SILENCE_MAX_MS};
use moji_proto::message::{FromBuilder, Health};
use moji_proto::{LeaseId, Line, Time};

use super::Effect;

/// First pause after a connection failed, milliseconds.
const BACKOFF_MIN_MS: u64 = 1_000;
/// Longest pause between attempts, and the pause after a refusal, milliseconds.
const BACKOFF_MAX_MS: u64 = 60_000;
/// Time for names to resolve and all addresses to be tried, before the handshake, milliseconds.
const REACH_MAX_MS: u64 = 40_000;

/// How status ends when no attempt reaches the hub; the shell adds since when.
pub const UNREACHABLE: &str = "hub unreachable";

/// Where the connection is.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// No connection; the next attempt is due then. Never before [`super::Event::Begin`].
    Down { retry_at: Option<Time> },
    /// The shell resolves, connects and shakes hands.
    Connecting { give_up: Time },
    /// Connected; the machine is looked at for `Register`.
    Greeting { give_up: Time },
    /// `Register` and `Held` are sent; the answers come.
    Registering(Box<Session>),
    /// All answers are in.
    Up(Box<Session>),
}

/// What was said in one session.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// When the hub was last heard.
    pub(super) heard: Time,
    /// When the next `Ping` is due.
    pub(super) ping_at: Time,
    /// A look at the machine for a `Ping` is under way.
    pub(super) measuring: bool,
    /// Pause between pings, milliseconds.
    pub(super) ping_every_ms: u64,
    /// `Ping`s sent.
    pub(super) pings: u64,
    /// `Pong`s heard.
    pub(super) pongs: u64,
    /// Repositories still to come; none before `Registered`.
    pub(super) repos_left: Option<u8>,
    /// Repositories told.
    pub(super) repos: Vec<Line>,
    /// Port of the hub's HTTP service.
    pub(super) http_port: u16,
    /// Leases whose `Held` has no answer yet.
    pub(super) unanswered: Vec<LeaseId>,
    /// `Ready` was said and no job came since.
    pub(super) ready: bool,
    /// The hub wants no `Ready` for now.
    pub(super) drained: bool,
}

/// The connection and what outlives it.
pub(super) struct Link {
    pub(super) state: State,
    rng: u64,
    failures: u32,
    /// The hub does not want us, or is not the one we know: the log says why.
    refused: bool,
    /// A successful registration ever happened.
    pub(super) reached: bool,
    /// No further attempts: the builder ends.
    quiet: bool,
    /// The hub's clock (unix seconds) and ours (run time) at the last `Registered`.
    pub(super) hub_clock: Option<(u64, Time)>,
}

impl Link {
    pub(super) fn new(seed: u64) -> Link {
        Link {
            state: State::Down { retry_at: None },
            rng: seed,
            failures: 0,
            refused: false,
            reached: false,
            quiet: false,
            hub_clock: None,
        }
    }

    /// A few words for status.
    pub(super) fn as_str(&self) -> &'static str {
        if self.is_up() {
            "connected"
        } else if self.refused {
            "the hub refuses this builder (its log says why)"
        } else if self.failures > 0 {
            UNREACHABLE
        } else {
            "connecting"
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// `Register` was said, so other messages may follow.
    pub(super) fn is_registered(&self) -> bool {
        matches!(self.state, State::Registering(_) | State::Up(_))
    }

    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Registering(session) | State::Up(session) => Some(session),
            _ => None,
        }
    }

    fn session_ref(&self) -> Option<&Session> {
        match &self.state {
            State::Registering(session) | State::Up(session) => Some(session),
            _ => None,
        }
    }

    pub(super) fn connect(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.state = State::Connecting { give_up: now.plus_ms(REACH_MAX_MS + HANDSHAKE_MAX_MS) };
        out.push(Effect::Connect);
    }

    /// Whether [`Link::quiet`] was said.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Makes no further attempts to connect: what is not connected stays so.
    pub(super) fn quiet(&mut self) {
        self.quiet = true;
    }

    /// The connection is no more: the next attempt is due after a pause, which is returned.
    pub(super) fn fail(&mut self, now: Time) -> u64 {
        let ceiling = (BACKOFF_MIN_MS << self.failures.min(6)).min(BACKOFF_MAX_MS);
        (self.failures, self.refused) = (self.failures + 1, false);
        // Half of the pause is jitter, so that a farm does not come back in step.
        let pause = ceiling / 2 + self.random() % (ceiling / 2 + 1);
        self.pause(now, pause.max(BACKOFF_MIN_MS))
    }

    /// The hub does not want us: the next attempt is due after a minute.
    pub(super) fn pause_long(&mut self, now: Time) -> u64 {
        self.refused = true;
        self.pause(now, BACKOFF_MAX_MS)
    }

    fn pause(&mut self, now: Time, ms: u64) -> u64 {
        let retry_at = (!self.quiet).then(|| now.plus_ms(ms));
        self.state = State::Down { retry_at };
        ms
    }

    /// All answers are in: the session is up, and failures are forgotten.
    pub(super) fn rise(&mut self) {
        if let State::Registering(session) = &mut self.state {
            self.state = State::Up(std::mem::take(session));
            (self.failures, self.refused) = (0, false);
            self.reached = true;
        }
    }

    pub(super) fn send(&mut self, message: FromBuilder, out: &mut Vec<Effect>) {
        out.push(Effect::Send(message));
    }

    /// Sends a `Ping`; only where `Register` was said.
    pub(super) fn ping(&mut self, health: Health, out: &mut Vec<Effect>) {
        let Some(session) = self.session() else { return };
        session.pings += 1;
        session.measuring = false;
        out.push(Effect::Send(FromBuilder::Ping { health }));
    }

    /// Number of the last `Ping`.
    pub(super) fn pings(&self) -> Option<u64> {
        self.session_ref().map(|session| session.pings)
    }

    /// Number of the last `Pong`.
    pub(super) fn pongs(&self) -> Option<u64> {
        self.session_ref().map(|session| session.pongs)
    }

    /// Every `Ping` was answered, so the hub heard all that was said before the last.
    pub(super) fn all_heard(&self) -> bool {
        self.session_ref().is_none_or(|session| session.pongs >= session.pings)
    }

    /// By how much `unix_s` is ahead of the hub's clock, seconds; 0 if the hub's is not known.
    pub(super) fn clock_off_s(&self, now: Time, unix_s: u64) -> i32 {
        self.hub_clock.map_or(0, |(hub_s, at)| {
            let off = unix_s.wrapping_sub(hub_s.saturating_add(now.since_ms(at) / 1000)) as i64;
            off.clamp(-i64::from(i32::MAX), i32::MAX.into()) as i32
        })
    }

    /// For how long the hub's clock has not been heard in this session, milliseconds.
    pub(super) fn knows_clock_for(&self, now: Time) -> u64 {
        self.hub_clock.filter(|_| self.is_up()).map_or(0, |(_, at)| now.since_ms(at))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Down { retry_at } => *retry_at,
            State::Connecting { give_up } | State::Greeting { give_up } => Some(*give_up),
            State::Registering(session) | State::Up(session) => {
                Some(session.ping_at.min(session.heard.plus_ms(SILENCE_MAX_MS)))
            }
        }
    }

    /// A new session at `now`.
    pub(super) fn open(&mut self, now: Time, unanswered: Vec<LeaseId>) {
        self.state = State::Registering(Box::new(Session {
            heard: now,
            ping_every_ms: PING_EVERY_MS,
            ping_at: now.plus_ms(PING_EVERY_MS),
            unanswered,
            ..Session::default()
        }));
    }

    /// xorshift64*: jitter only, nothing secret hangs on it.
    fn random(&mut self) -> u64 {
        self.rng |= 1;
        self.rng ^= self.rng >> 12;
        self.rng ^= self.rng << 25;
        self.rng ^= self.rng >> 27;
        self.rng.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}
