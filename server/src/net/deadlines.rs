//! When which session must be looked at.
//!
//! Owns a heap of moments. Never reads a clock. A session is in it about once: its moment may pass
//! while the session has gained time meanwhile, and then it is simply put in again. So a thousand
//! pings a second cost the heap nothing, and an idle session one turn a minute.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use moji_proto::Time;

use crate::core::types::SessionId;

/// All moments, the next one first.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Time, SessionId)>>,
}

impl Deadlines {
    /// Wants `session` looked at when it is `at`.
    pub(super) fn push(&mut self, at: Time, session: SessionId) {
        self.heap.push(Reverse((at, session)));
    }

    /// The next moment.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// A moment that has passed, and whose it was.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<(Time, SessionId)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_out_in_order_and_never_early() {
        let mut deadlines = Deadlines::default();
        for (at, id) in [(30, 1), (10, 2), (20, 3)] {
            deadlines.push(Time(at), SessionId(id));
        }
        assert_eq!(deadlines.next(), Some(Time(10)));
        assert_eq!(deadlines.pop_due(Time(9)), None);
        assert_eq!(deadlines.pop_due(Time(20)), Some((Time(10), SessionId(2))));
        assert_eq!(deadlines.pop_due(Time(20)), Some((Time(20), SessionId(3))));
        assert_eq!(deadlines.pop_due(Time(20)), None);
    }
}
