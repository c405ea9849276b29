//! Following events, and reading old ones: from the history first, then from the ring, without a gap.
//!
//! Owns how far a session is. A follower that is slower than what happens falls out of the ring and goes on
//! from the history; nobody waits for it. Events of phases are not in the history.

use moji_proto::Line;
use moji_proto::message::{EventKind, EventRow, ToOperator};

use super::names::Pattern;
use super::rows::Rows;
use super::session::Step;
use super::shared::Shared;
use super::{Cx, Job};

/// Events read from the history at once, rows of some 300 bytes.
const BATCH: usize = 256;

/// Events that are followed, or read up to a moment.
#[derive(Debug)]
pub(super) struct Following {
    pattern: Option<Pattern>,
    /// The last event that was dealt with.
    after: u64,
    /// The last one to be shown; None means all that will ever happen.
    until: Option<u64>,
    /// What is to be found in the history before anything is shown.
    find: Option<Job>,
    /// Where the history's part ends that is being read.
    replay_to: u64,
    /// What comes before all events.
    before: Option<Rows>,
}

impl Following {
    /// What happens after this event.
    pub(super) fn live(pattern: &Line, after: u64) -> Following {
        Following {
            pattern: Pattern::new(pattern),
            after,
            until: None,
            find: None,
            replay_to: 0,
            before: None,
        }
    }

    /// The newest so many events.
    pub(super) fn newest(shared: &Shared, pattern: &Line, rows: u32) -> Following {
        let text = pattern;
        let pattern = Pattern::new(pattern);
        let until = shared.last_seq();
        let mut following =
            Following { pattern, after: until, until: Some(until), find: None, replay_to: 0, before: None };
        let mut left = rows;
        for row in shared.ring.iter().rev() {
            if left == 0 {
                return following;
            }
            following.after = row.seq - 1;
            left -= u32::from(following.wants(row));
        }
        let before = shared.ring_from();
        following.after = before - 1;
        if left > 0 {
            following.find = Some(Job::Newest { pattern: text.clone(), rows: left, before });
        }
        following
    }

    /// First these rows.
    pub(super) fn behind(mut self, rows: Rows) -> Following {
        self.before = Some(rows);
        self
    }

    fn wants(&self, row: &EventRow) -> bool {
        (self.until.is_none() || row.kind != EventKind::Phase)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.fits_event(row))
    }

    /// The history told where to begin.
    pub(super) fn start(&mut self, after: u64) {
        self.after = self.after.min(after);
    }

    /// A piece of the history.
    pub(super) fn replayed(&mut self, rows: Vec<EventRow>) -> Vec<ToOperator> {
        let whole = rows.len() >= BATCH;
        // What the ring has too comes from there.
        let rows: Vec<EventRow> = rows.into_iter().filter(|row| row.seq < self.replay_to).collect();
        let last = rows.last().map_or(0, |row| row.seq);
        let to = if whole && rows.len() >= BATCH { last } else { self.replay_to.saturating_sub(1) };
        self.after = self.after.max(to);
        rows.into_iter().filter(|row| self.wants(row)).map(ToOperator::Event).collect()
    }

    pub(super) fn step(&mut self, cx: &mut Cx<'_>) -> Result<Step, Job> {
        if let Some(rows) = &mut self.before {
            if let Step::Row(row) = rows.step(cx) {
                return Ok(Step::Row(row));
            }
            self.before = None;
        }
        if let Some(find) = self.find.take() {
            return Err(find);
        }
        let from = cx.shared.ring_from();
        if self.after.saturating_add(1) < from {
            self.replay_to = from;
            return Err(Job::Replay { after: self.after, limit: BATCH });
        }
        let begin = cx.shared.ring.partition_point(|row| row.seq <= self.after);
        for row in cx.shared.ring.range(begin..) {
            if self.until.is_some_and(|until| row.seq > until) {
                return Ok(Step::End);
            }
            self.after = row.seq;
            if self.wants(row) {
                return Ok(Step::Row(ToOperator::Event(row.clone())));
            }
        }
        Ok(if self.until.is_some() { Step::End } else { Step::Wait })
    }
}
