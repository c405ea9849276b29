//! All of the farm at once, for the hub's own web actor, which shows it to many.
//!
//! Owns what a glance holds. It shares the queue's view and adds only what the desk knows, so it costs the same however
//! many packages there are; and it is asked for once for all who look.

use std::sync::Arc;

use moji_proto::Time;
use moji_proto::message::{BuilderRow, EventKind, EventRow, FarmRow, PackageRow, PackageState};

use super::{Cx, Desk, Effect, rows};
use crate::core::view::View;

/// Ends of builds that are shown: a screenful.
pub const RESULTS_MAX: usize = 30;

/// The farm at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// When, by the hub's own clock.
    pub now: Time,
    /// The wall clock then, unix milliseconds.
    pub unix_ms: u64,
    /// When the hub started.
    pub started: Time,
    /// The queue; what of it is being built is whole only in `building`.
    pub view: Arc<View>,
    /// Counts, free space, what stands in the way.
    pub farm: FarmRow,
    /// What is being built, by file name.
    pub building: Vec<Build>,
    /// All builders, those behind them that were turned away.
    pub builders: Vec<BuilderRow>,
    /// The newest ends of leases in this run, newest first, at most [`RESULTS_MAX`].
    pub results: Vec<EventRow>,
    /// Number of the last event.
    pub last_seq: u64,
    /// Number of the first event of this run.
    pub first_seq: u64,
}

/// A package that is being built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Its row, with phase and last line.
    pub row: PackageRow,
    /// Since when it is in that phase.
    pub phase_since: Option<Time>,
}

impl Desk {
    /// Answers who asked for a glance, once all that it needs is there.
    pub(super) fn give_glance(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some(asked) = self.glance else { return };
        let Some((view, _)) = self.shared.view(now, asked, out) else { return };
        let has_counts = self.shared.has_counts(asked, out);
        let has_tails = self.shared.has_tails(now, asked, out);
        if has_counts && has_tails {
            self.glance = None;
            let glance = glance(view, &Cx { now, shared: &mut self.shared, out });
            out.push(Effect::Glance(Arc::new(glance)));
        }
    }
}

fn glance(view: Arc<View>, cx: &Cx<'_>) -> Glance {
    let shared = &*cx.shared;
    let at_work = view.packages.iter().filter(|package| package.row.state == PackageState::Building);
    let building = at_work.map(|package| {
        let live = package.row.lease.and_then(|lease| shared.live.get(&lease));
        Build {
            row: shared.fill_package(cx.now, &package.row),
            phase_since: live.and_then(|live| live.phase).map(|(_, since)| since),
        }
    });
    let building = building.collect();
    let known = view.builders.iter().map(|row| shared.fill_builder(&view, row));
    let builders = known.chain(shared.unlisted_rows(cx.now)).collect();
    let ends = shared.ring.iter().rev().filter(|row| row.kind == EventKind::Ended && row.verdict.is_some());
    Glance {
        now: cx.now,
        unix_ms: shared.unix_ms,
        started: shared.setup.started,
        farm: rows::farm(&view, cx),
        building,
        builders,
        results: ends.take(RESULTS_MAX).cloned().collect(),
        last_seq: shared.last_seq(),
        first_seq: shared.setup.first_seq,
        view,
    }
}
