//! Who may say what when: one table of state and message, default deny.
//!
//! Owns the order of a builder's session as the hub enforces it. Knows no leases: whether a lease
//! is the builder's own is for the hub's actors to say.
//!
//! ```text
//! Greeting ──Register{held: n}──▶ Reporting{left: n} ──n times Held──▶ Serving
//! ```
//!
//! In `Serving`, `Results` opens a list of its lease: exactly as many `File`, then `Evidence`, as
//! it announced must follow, and nothing else about that lease until they are through, also when
//! the hub cancels it meanwhile. Messages about anything else may come between them.

use crate::ids::LeaseId;
use crate::limits::{EVIDENCE_MAX, FETCH_BYTES_MAX, FILES_MAX, HELD_MAX};
use crate::message::FromBuilder;
use crate::refusal::RejectCode;

pub use operator::OperatorOrder;

pub mod operator;

/// Where a builder's session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was said yet.
    Greeting,
    /// It registered; this many `Held` are still to come.
    Reporting {
        /// How many.
        left: u8,
    },
    /// Everything else.
    Serving {
        /// It said `Ready` and got no job since.
        ready: bool,
        /// It said `Draining`.
        draining: bool,
    },
}

/// The order of one builder's session.
#[derive(Debug)]
pub struct Order {
    state: State,
    /// Lists that are not through, at most [`HELD_MAX`].
    lists: Vec<List>,
}

#[derive(Debug)]
struct List {
    lease: LeaseId,
    files: u32,
    evidence: u16,
}

impl Default for Order {
    fn default() -> Order {
        Order { state: State::Greeting, lists: Vec::new() }
    }
}

impl Order {
    /// Where the session is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes the builder's next message.
    ///
    /// # Errors
    /// `Order` if it may not come now, `Limit` if a number in it is over its limit. The session is
    /// to be closed with that code; the state stays as it was.
    pub fn admit(&mut self, message: &FromBuilder) -> Result<(), RejectCode> {
        use FromBuilder as M;
        match (&mut self.state, message) {
            (State::Greeting, M::Register { held, .. }) => self.register(*held),
            (State::Reporting { left }, M::Held { .. }) => {
                *left -= 1;
                if *left == 0 {
                    self.state = State::Serving { ready: false, draining: false };
                }
                Ok(())
            }
            (State::Reporting { .. } | State::Serving { .. }, M::Ping { .. }) => Ok(()),
            (State::Serving { ready: ready @ false, draining: false }, M::Ready) => {
                *ready = true;
                Ok(())
            }
            (State::Serving { ready, draining: draining @ false }, M::Draining) => {
                (*ready, *draining) = (false, true);
                Ok(())
            }
            (State::Serving { .. }, M::Fetch { lease, length, .. }) => {
                self.unlisted(*lease)?;
                within(*length >= 1 && *length <= FETCH_BYTES_MAX)
            }
            (
                State::Serving { .. },
                M::Phase { lease, .. }
                | M::Log { lease, .. }
                | M::Data { lease, .. }
                | M::Release { lease, .. },
            ) => self.unlisted(*lease),
            (State::Serving { .. }, M::Results { lease, files, evidence, .. }) => {
                self.results(*lease, *files, *evidence)
            }
            (State::Serving { .. }, M::File { lease, .. }) => self.listed(*lease, |list| {
                list.files = list.files.checked_sub(1)?;
                Some(())
            }),
            (State::Serving { .. }, M::Evidence { lease, .. }) => self.listed(*lease, |list| {
                list.evidence = if list.files == 0 { list.evidence.checked_sub(1)? } else { return None };
                Some(())
            }),
            _ => Err(RejectCode::Order),
        }
    }

    /// The hub sent a `Job`: the builder may say `Ready` again.
    ///
    /// # Panics
    /// Before the session is in `Serving`: nobody is ready there.
    pub fn job_sent(&mut self) {
        let State::Serving { ready, .. } = &mut self.state else {
            panic!("a job was sent to a builder that is not registered");
        };
        // It may be false already: `Draining` can cross the job on the wire.
        *ready = false;
    }

    fn register(&mut self, held: u8) -> Result<(), RejectCode> {
        within(held <= HELD_MAX)?;
        self.state = match held {
            0 => State::Serving { ready: false, draining: false },
            left => State::Reporting { left },
        };
        Ok(())
    }

    fn results(&mut self, lease: LeaseId, files: u32, evidence: u16) -> Result<(), RejectCode> {
        self.unlisted(lease)?;
        within(files <= FILES_MAX && evidence <= EVIDENCE_MAX)?;
        if files > 0 || evidence > 0 {
            within(self.lists.len() < usize::from(HELD_MAX))?;
            self.lists.push(List { lease, files, evidence });
        }
        Ok(())
    }

    /// Passes if the lease has no open list.
    fn unlisted(&self, lease: LeaseId) -> Result<(), RejectCode> {
        if self.lists.iter().any(|list| list.lease == lease) { Err(RejectCode::Order) } else { Ok(()) }
    }

    /// Counts an item of the lease's open list; passes if there is such a list and `count` says so.
    fn listed(
        &mut self,
        lease: LeaseId,
        count: impl FnOnce(&mut List) -> Option<()>,
    ) -> Result<(), RejectCode> {
        let at = self.lists.iter().position(|list| list.lease == lease).ok_or(RejectCode::Order)?;
        let list = &mut self.lists[at];
        count(list).ok_or(RejectCode::Order)?;
        if list.files == 0 && list.evidence == 0 {
            self.lists.swap_remove(at);
        }
        Ok(())
    }
}

fn within(limit_kept: bool) -> Result<(), RejectCode> {
    if limit_kept { Ok(()) } else { Err(RejectCode::Limit) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::samples;
    use crate::message::{Health, Message, Phase, ReleaseWhy, Which};
    use crate::{Digest, FileName, Line};

    const OURS: LeaseId = LeaseId { incarnation: 5, counter: 1 };
    const OTHER: LeaseId = LeaseId { incarnation: 5, counter: 2 };

    fn register(held: u8) -> FromBuilder {
        let mut message = samples::from_builder().swap_remove(0);
        let FromBuilder::Register { held: number, .. } = &mut message else { panic!() };
        *number = held;
        message
    }

    fn results(lease: LeaseId, files: u32, evidence: u16) -> FromBuilder {
        use crate::message::{Backend, Exit};
        let (exit, phase, backend) = (Exit::Code(0), Phase::Collect, Backend::Mock);
        FromBuilder::Results {
            lease,
            exit,
            phase,
            backend,
            seconds: 9,
            oom_kills: 0,
            peak_memory_mib: 0,
            silence_s: 0,
            peak_disk_mib: 0,
            files,
            evidence,
        }
    }

    fn file(lease: LeaseId) -> FromBuilder {
        let name = FileName::new("a.rpm").unwrap();
        FromBuilder::File { lease, name, size: 1, digest: Digest::of(b"a") }
    }

    fn evidence(lease: LeaseId) -> FromBuilder {
        FromBuilder::Evidence { lease, which: Which::Build, line: Line::lossy("error") }
    }

    fn held() -> FromBuilder {
        let (srpm, digest) = (FileName::new("a.src.rpm").unwrap(), Digest::of(b"a"));
        FromBuilder::Held { lease: OURS, srpm, digest, phase: Phase::Build }
    }

    fn ping() -> FromBuilder {
        FromBuilder::Ping { health: Health::default() }
    }

    /// A session that heard `said` and minded nothing.
    fn after(said: &[FromBuilder]) -> Order {
        let mut order = Order::default();
        said.iter().for_each(|message| assert_eq!(order.admit(message), Ok(()), "{message:?}"));
        order
    }

    /// All states that differ in what they admit, in the order of the table's columns.
    fn states() -> [Order; 9] {
        use FromBuilder::{Draining, Ready};
        [
            after(&[]),
            after(&[register(2)]),
            after(&[register(0)]),
            after(&[register(0), Ready]),
            after(&[register(0), Draining]),
            after(&[register(0), results(OURS, 1, 1)]),
            after(&[register(0), results(OURS, 1, 1), file(OURS)]),
            after(&[register(0), results(OTHER, 1, 1)]),
            after(&[register(0), results(OTHER, 1, 1), file(OTHER)]),
        ]
    }

    /// Which states admit the message. There is no other arm: a new message needs a row of its own.
    ///
    /// Greeting, Reporting, Serving, ready, draining, then lists: ours files, ours evidence, other's
    /// files, other's evidence.
    fn row(message: &FromBuilder) -> [u8; 9] {
        match message {
            FromBuilder::Register { .. } => [1, 0, 0, 0, 0, 0, 0, 0, 0],
            FromBuilder::Held { .. } => [0, 1, 0, 0, 0, 0, 0, 0, 0],
            FromBuilder::Ready => [0, 0, 1, 0, 0, 1, 1, 1, 1],
            FromBuilder::Fetch { .. } => [0, 0, 1, 1, 1, 0, 0, 1, 1],
            FromBuilder::Phase { .. } => [0, 0, 1, 1, 1, 0, 0, 1, 1],
            FromBuilder::Log { .. } => [0, 0, 1, 1, 1, 0, 0, 1, 1],
            FromBuilder::Ping { .. } => [0, 1, 1, 1, 1, 1, 1, 1, 1],
            FromBuilder::Results { .. } => [0, 0, 1, 1, 1, 0, 0, 1, 1],
            FromBuilder::File { .. } => [0, 0, 0, 0, 0, 1, 0, 0, 0],
            FromBuilder::Evidence { .. } => [0, 0, 0, 0, 0, 0, 1, 0, 0],
            FromBuilder::Data { .. } => [0, 0, 1, 1, 1, 0, 0, 1, 1],
            FromBuilder::Draining => [0, 0, 1, 1, 0, 1, 1, 1, 1],
            FromBuilder::Release { .. } => [0, 0, 1, 1, 1, 0, 0, 1, 1],
        }
    }

    #[test]
    fn every_message_is_admitted_in_exactly_the_states_of_its_row() {
        let messages = samples::from_builder();
        let mut seen = [false; FromBuilder::VARIANTS as usize];
        for message in messages {
            let message = samples::with_lease(message, OURS);
            seen[samples::variant(&message)] = true;
            let row = row(&message);
            for (column, mut order) in states().into_iter().enumerate() {
                let before = format!("{order:?}");
                let want = if row[column] == 1 { Ok(()) } else { Err(RejectCode::Order) };
                assert_eq!(order.admit(&message), want, "{message:?} in {before}");
                if want.is_err() {
                    assert_eq!(format!("{order:?}"), before, "{message:?}");
                }
            }
        }
        assert!(seen.iter().all(|seen| *seen), "a message has no sample: {seen:?}");
    }

    #[test]
    fn exactly_the_announced_number_of_held_is_taken() {
        for n in 0..=HELD_MAX {
            let mut order = after(&[register(n)]);
            for left in (1..=n).rev() {
                assert_eq!(order.state(), State::Reporting { left });
                assert_eq!(order.admit(&FromBuilder::Ready), Err(RejectCode::Order));
                assert_eq!(order.admit(&held()), Ok(()));
            }
            assert_eq!(order.state(), State::Serving { ready: false, draining: false });
            assert_eq!(order.admit(&held()), Err(RejectCode::Order));
        }
        assert_eq!(after(&[]).admit(&register(HELD_MAX + 1)), Err(RejectCode::Limit));
    }

    #[test]
    fn ready_needs_a_job_before_it_may_be_said_again() {
        let mut order = after(&[register(0), FromBuilder::Ready]);
        assert_eq!(order.state(), State::Serving { ready: true, draining: false });
        assert_eq!(order.admit(&FromBuilder::Ready), Err(RejectCode::Order));
        order.job_sent();
        assert_eq!(order.admit(&FromBuilder::Ready), Ok(()));
        // Draining takes `Ready` back, and a job may have crossed it on the wire.
        assert_eq!(order.admit(&FromBuilder::Draining), Ok(()));
        assert_eq!(order.state(), State::Serving { ready: false, draining: true });
        order.job_sent();
        assert_eq!(order.state(), State::Serving { ready: false, draining: true });
        assert_eq!(order.admit(&FromBuilder::Ready), Err(RejectCode::Order));
    }

    #[test]
    fn a_list_has_its_announced_length_and_order() {
        for (files, lines) in [(0, 0), (1, 0), (0, 1), (3, 2)] {
            let mut order = after(&[register(0), results(OURS, files, lines)]);
            let phase = FromBuilder::Phase { lease: OURS, phase: Phase::Upload };
            for left in (0..files).rev() {
                assert_eq!(order.admit(&phase), Err(RejectCode::Order));
                assert_eq!(order.admit(&evidence(OURS)), Err(RejectCode::Order), "{left} files left");
                assert_eq!(order.admit(&file(OURS)), Ok(()));
            }
            for _ in 0..lines {
                assert_eq!(order.admit(&phase), Err(RejectCode::Order));
                assert_eq!(order.admit(&file(OURS)), Err(RejectCode::Order));
                assert_eq!(order.admit(&evidence(OURS)), Ok(()));
            }
            assert_eq!(order.admit(&file(OURS)), Err(RejectCode::Order));
            assert_eq!(order.admit(&evidence(OURS)), Err(RejectCode::Order));
            assert_eq!(order.admit(&phase), Ok(()));
            assert_eq!(order.admit(&results(OURS, files, lines)), Ok(()), "said again");
        }
    }

    #[test]
    fn lists_of_two_leases_and_other_messages_may_interleave() {
        let release = FromBuilder::Release { lease: OTHER, why: ReleaseWhy::Stopped };
        let order = after(&[
            register(0),
            results(OURS, 1, 1),
            ping(),
            results(OTHER, 1, 0),
            file(OURS),
            file(OTHER),
            release,
            evidence(OURS),
            results(OURS, 0, 0),
        ]);
        assert!(order.lists.is_empty());
    }

    #[test]
    fn numbers_over_their_limits_are_refused_and_change_nothing() {
        let fetch = |length| FromBuilder::Fetch { lease: OURS, offset: 0, length };
        for (message, want) in [
            (fetch(0), Err(RejectCode::Limit)),
            (fetch(1), Ok(())),
            (fetch(FETCH_BYTES_MAX), Ok(())),
            (fetch(FETCH_BYTES_MAX + 1), Err(RejectCode::Limit)),
            (results(OURS, FILES_MAX, EVIDENCE_MAX), Ok(())),
            (results(OURS, FILES_MAX + 1, 0), Err(RejectCode::Limit)),
            (results(OURS, 0, EVIDENCE_MAX + 1), Err(RejectCode::Limit)),
            (results(OURS, u32::MAX, u16::MAX), Err(RejectCode::Limit)),
        ] {
            let mut order = after(&[register(0)]);
            assert_eq!(order.admit(&message), want, "{message:?}");
            assert_eq!(order.lists.is_empty(), want.is_err() || matches!(message, FromBuilder::Fetch { .. }));
        }
    }

    #[test]
    fn a_builder_keeps_at_most_as_many_lists_open_as_it_may_hold_leases() {
        let mut order = after(&[register(0)]);
        let lease = |counter| LeaseId { incarnation: 5, counter };
        for counter in 0..u32::from(HELD_MAX) {
            assert_eq!(order.admit(&results(lease(counter), 1, 0)), Ok(()));
        }
        assert_eq!(order.admit(&results(lease(99), 1, 0)), Err(RejectCode::Limit));
        assert_eq!(order.admit(&results(lease(99), 0, 0)), Ok(()));
        assert_eq!(order.admit(&file(lease(3))), Ok(()));
        assert_eq!(order.admit(&results(lease(99), 1, 0)), Ok(()));
    }
}
