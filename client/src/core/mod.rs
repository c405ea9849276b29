//! The builder's core: what to do next, given what happened.
//!
//! Owns every decision of a builder: when to connect and to give up on a connection, what it holds,
//! what it fetches, builds, uploads and gives back, and when it ends. Talks only in [`Event`]s and
//! [`Effect`]s; it has no I/O, clock, thread or randomness of its own (jitter comes from a seed), so
//! that a simulator can run thousands of them.
//!
//! ```text
//!  link   Down ──▶ Connecting ──▶ Greeting ──▶ Registering ──▶ Up
//!           ▲                                                   │
//!           └───────────── back-off, 1 s to 60 s ◀──────────────┘
//!
//!  job    Options ──▶ Fetching ──▶ Building ──▶ Finished ──▶ (forgotten)
//!            │            │            │ ▲── Again ──│
//!            │            │            │  Gone, Cancel, stop, dead shim
//!            └────────────┴────────────┴──▶ Ending ──▶ (forgotten)
//! ```
//!
//! Losing the connection changes no job: a build goes on, a finished one waits as a spool, and the
//! answers to `Held` after the next `Register` say how each goes on.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod job;
mod link;
mod release;
mod session;
mod types;
mod upload;

#[cfg(test)]
mod scenarios;

use moji_proto::limits::CLOCK_SKEW_MAX_S;
use moji_proto::message::{FromBuilder, Health, ReleaseWhy, Trouble};
use moji_proto::{LeaseId, Time};

use crate::exit;
use crate::jobmap::JobMap;
pub use job::{Found, FoundStage};
use job::{Job, Stage};
pub use link::UNREACHABLE;
use link::{Link, State};
pub use release::Released;
pub use types::{Config, Effect, Event, JobRecord, Level, Measured, Repos, ResultFile, Summary};

/// How long a builder that ends waits for the hub to confirm its last words, milliseconds: a slow
/// board's round trip, and little beside the 15 s that a stop may take.
const FAREWELL_MAX_MS: u64 = 1_500;
/// How long `--once` tries to reach the hub before it gives up, milliseconds.
const ONCE_REACH_MAX_MS: u64 = 10_000;

/// How long an idle builder whose clock is off waits before it connects again to hear the hub's,
/// milliseconds: it may be the hub's clock that was wrong and was put right, and only `Registered` tells it.
const CLOCK_AGAIN_MS: u64 = 600_000;

/// What the builder is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Takes jobs.
    Serving,
    /// Finishes what it has.
    Draining,
    /// Gives up what runs.
    Stopping,
    /// Says its last words until then.
    Leaving { until: Time, code: u8 },
    /// Said [`Effect::Exit`].
    Over,
}

/// A builder.
pub struct Builder {
    config: Config,
    mode: Mode,
    link: Link,
    began: Time,
    jobs: JobMap<Job>,
    released: Vec<Released>,
    /// Leases given back in this session of which the hub has heard: what it sent before may come still.
    past: Vec<LeaseId>,
    measured: Measured,
    /// By how much the clock is ahead of the hub's, seconds.
    clock_off_s: i32,
    trouble: Option<Trouble>,
    once_over: bool,
    once_code: u8,
}

impl Builder {
    /// A builder that has not begun.
    #[must_use]
    pub fn new(config: Config) -> Builder {
        let link = Link::new(config.seed);
        Builder {
            config,
            mode: Mode::Serving,
            link,
            began: Time(0),
            jobs: JobMap::default(),
            released: Vec::new(),
            past: Vec::new(),
            measured: Measured::default(),
            clock_off_s: 0,
            trouble: None,
            once_over: false,
            once_code: exit::OK,
        }
    }

    /// Takes one event at `now` and appends what to do to `out`.
    #[inline(never)]
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        if self.mode == Mode::Over {
            return;
        }
        match event {
            Event::Begin { jobs, released, draining } => self.begin(now, jobs, released, draining, out),
            Event::Timer => self.timer(now, out),
            Event::Connected => self.connected(out),
            Event::Disconnected(why) => self.disconnected(now, &why, out),
            Event::Refused { why, code } => self.refused(now, &why, code, out),
            Event::Message(message) => self.message(now, message, out),
            Event::Measured(measured) => self.measured(now, measured, out),
            Event::JobFailed { lease, why } => self.job_failed(lease, &why, out),
            Event::LogGrown { lease, which, size } => self.log_grown(lease, which, size, out),
            Event::PhaseSeen { lease, phase } => self.phase_seen(lease, phase, out),
            Event::Ended { lease, summary } => self.ended(lease, summary, out),
            Event::ShimDied { lease } => self.shim_died(lease, out),
            Event::SpoolBroken { lease, why } => self.spool_broken(lease, &why, out),
            Event::Killed { lease } => {
                self.jobs.remove(lease);
            }
            Event::Drain => self.drain(out),
            Event::Enable => self.enable(now, out),
            Event::Stop => self.stop(out),
        }
        self.settle(now, out);
    }

    /// When [`Event::Timer`] is due, if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        if self.mode == Mode::Over {
            return None;
        }
        let leaving = match self.mode {
            Mode::Leaving { until, .. } => Some(until),
            _ => None,
        };
        self.link.deadline().into_iter().chain(leaving).min()
    }

    /// One line that says what this builder is doing, for `moji-client status`.
    #[must_use]
    pub fn status(&self) -> String {
        let mut mode = match self.mode {
            Mode::Serving => "",
            Mode::Draining => "draining, ",
            Mode::Stopping | Mode::Leaving { .. } | Mode::Over => "stopping, ",
        };
        let work = match self.jobs.iter().next() {
            Some((_, job)) if self.mode == Mode::Draining => {
                mode = "draining: ";
                format!("{}, {}", job.record.srpm, job.stage.as_str())
            }
            Some((lease, job)) => {
                format!("pkg={} lease={lease} {}", job.record.srpm, job.stage.as_str())
            }
            None => match self.trouble {
                Some(trouble) => format!("takes no work: {}", self.trouble_text(trouble)),
                None => "idle".to_owned(),
            },
        };
        format!("{mode}{work}, {}", self.link.as_str())
    }

    #[inline(never)]
    fn begin(
        &mut self,
        now: Time,
        jobs: Vec<Found>,
        released: Vec<Released>,
        draining: bool,
        out: &mut Vec<Effect>,
    ) {
        self.began = now;
        self.released = released;
        if draining {
            self.mode = Mode::Draining;
        }
        for found in jobs {
            self.take_up(found, out);
        }
        self.link.connect(now, out);
    }

    fn drain(&mut self, out: &mut Vec<Effect>) {
        if self.mode != Mode::Serving {
            return;
        }
        self.mode = Mode::Draining;
        out.push(Effect::StoreDrain(true));
        let text = match self.jobs.values().next() {
            Some(job) => {
                format!("pkg={} lease={} draining: finishes this", job.record.srpm, job.record.lease)
            }
            None => "draining: nothing to finish".to_owned(),
        };
        out.push(Effect::Log(Level::Info, text));
        if self.link.is_up() {
            self.link.send(FromBuilder::Draining, out);
            self.say_ping(out);
        }
    }

    /// Ends a drain, also one that says its last words. The protocol has no word for that: the hub hears of
    /// it by a new session.
    fn enable(&mut self, now: Time, out: &mut Vec<Effect>) {
        let drains = match self.mode {
            Mode::Draining => true,
            Mode::Leaving { .. } => !self.config.once && !self.link.is_quiet(),
            _ => false,
        };
        if !drains {
            return;
        }
        self.mode = Mode::Serving;
        out.push(Effect::StoreDrain(false));
        out.push(Effect::Log(Level::Info, "takes work again".to_owned()));
        if self.link.is_up() {
            self.lose_session();
            out.push(Effect::Disconnect);
            self.link.connect(now, out);
        }
    }

    /// Restores what follows from everything else; runs after every event.
    #[inline(never)]
    fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.forget_confirmed(out);
        match self.mode {
            Mode::Serving if self.once_over && self.jobs.is_empty() => {
                self.mode = Mode::Leaving { until: now.plus_ms(FAREWELL_MAX_MS), code: self.once_code };
            }
            Mode::Draining if self.jobs.is_empty() => {
                out.push(Effect::StoreDrain(false));
                self.mode = Mode::Leaving { until: now.plus_ms(FAREWELL_MAX_MS), code: exit::OK };
            }
            Mode::Stopping if !self.jobs.values().any(|job| matches!(job.stage, Stage::Ending)) => {
                self.mode = Mode::Leaving { until: now.plus_ms(FAREWELL_MAX_MS), code: exit::OK };
            }
            Mode::Serving => self.say_ready(out),
            _ => {}
        }
        if let Mode::Leaving { until, code } = self.mode
            && (now >= until || !self.link.is_up() || self.link.all_heard())
        {
            self.leave(code, out);
        }
    }

    fn leave(&mut self, code: u8, out: &mut Vec<Effect>) {
        self.mode = Mode::Over;
        out.push(Effect::Disconnect);
        out.push(Effect::Exit(code));
    }

    /// Takes a look at the machine into account.
    #[inline(never)]
    fn measured(&mut self, now: Time, measured: Measured, out: &mut Vec<Effect>) {
        self.measured = measured;
        self.clock_off_s = self.link.clock_off_s(now, measured.unix_s);
        self.jobs.iter_mut().for_each(|(_, job)| job.measured(measured.disk_free_mib));
        let trouble = if self.clock_off_s.unsigned_abs() > CLOCK_SKEW_MAX_S {
            Some(Trouble::Clock)
        } else if measured.disk_free_mib < self.config.disk_free_min_mib {
            Some(Trouble::Disk)
        } else {
            None
        };
        let changed = trouble != self.trouble;
        if changed {
            self.trouble = trouble;
            out.push(match trouble {
                Some(trouble) => {
                    Effect::Log(Level::Warn, format!("takes no work: {}", self.trouble_text(trouble)))
                }
                None => Effect::Log(Level::Info, "takes work again".to_owned()),
            });
        }
        match &self.link.state {
            State::Greeting { .. } => self.register(now, out),
            State::Registering(session) | State::Up(session) if session.measuring || changed => {
                self.ping(out);
            }
            _ => {}
        }
        if trouble == Some(Trouble::Clock)
            && self.jobs.is_empty()
            && self.link.knows_clock_for(now) >= CLOCK_AGAIN_MS
        {
            self.fault(now, "asking for its clock again", out);
        }
    }

    fn trouble_text(&self, trouble: Trouble) -> String {
        match trouble {
            Trouble::Clock => {
                format!("the clock is off the hub's by {} s: set it (date, ntpd, chronyd)", self.clock_off_s)
            }
            Trouble::Disk => format!(
                "{} MiB of disk free, below {} MiB: free some, or lower --min-free",
                self.measured.disk_free_mib, self.config.disk_free_min_mib
            ),
        }
    }

    fn health(&self) -> Health {
        Health {
            disk_free_mib: self.measured.disk_free_mib,
            memory_free_mib: self.measured.memory_free_mib,
            load_centi: self.measured.load_centi,
            celsius: self.measured.celsius,
            clock_off_s: self.clock_off_s,
            trouble: self.trouble,
        }
    }

    /// `Ping`, unless one waits for the machine to be looked at.
    fn ping(&mut self, out: &mut Vec<Effect>) {
        let health = self.health();
        self.link.ping(health, out);
    }

    /// A `Ping` whose `Pong` proves that the hub heard what was said before.
    fn say_ping(&mut self, out: &mut Vec<Effect>) {
        self.ping(out);
    }
}

/// What a lost attempt of `--once` is about.
fn once_code(why: ReleaseWhy) -> u8 {
    match why {
        ReleaseWhy::Stopped => exit::OK,
        ReleaseWhy::ShimDied | ReleaseWhy::BadSrpm | ReleaseWhy::Disk => exit::UNFINISHED,
    }
}
