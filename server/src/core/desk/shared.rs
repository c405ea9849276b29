//! What all sessions share: the last view, what is known of live logs, the newest events, keys turned away.
//!
//! Owns when the queue is asked for a view and the workers for last lines and counts: once for all who wait.
//! Everything here is bounded; what falls out is asked for again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use moji_proto::message::{
    Backend, BuilderRow, BuilderState, EventKind, EventRow, Health, PackageRow, Phase, Verdict, Which,
};
use moji_proto::{Digest, FileName, LeaseId, Line, PublicKey, Time};

use super::{Effect, Job, Run, Setup, names};
use crate::core::queue;
use crate::core::view::{Event, PackageView, Reply, Ticket, View};

/// How long a view serves, milliseconds: a person sees no difference, and many who look cost one look.
const VIEW_MS: u64 = 200;
/// How often the last line of a live log is read at most, milliseconds.
const TAIL_MS: u64 = 1_000;
/// How long counts of the history serve, milliseconds.
const COUNTS_MS: u64 = 10_000;
/// Newest events that are kept, rows of some 300 bytes: what a follower may be behind without the history.
const RING_MAX: usize = 4_096;
/// Live leases that are known at most: as many as builders that a hub may have.
const LIVE_MAX: usize = 16_384;
/// Leases that ended of which it is remembered how.
const ENDED_MAX: usize = 4_096;
/// Keys turned away that are remembered.
const UNLISTED_MAX: usize = 64;

/// What is known of a lease that lives.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) srpm: Option<FileName>,
    pub(super) builder: Option<FileName>,
    pub(super) phase: Option<(Phase, Time)>,
    /// Length of each log, bytes.
    pub(super) logs: [u64; 4],
    /// The log that grew last.
    last: Option<Which>,
    line: Line,
    /// When the last line was read.
    tailed: Option<Time>,
    /// Whether a log grew since.
    grew: bool,
    /// Whether the last view did not have it.
    missed: bool,
}

/// How a lease ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) verdict: Option<Verdict>,
    pub(super) reason: Line,
}

/// A builder that was turned away.
#[derive(Clone, Debug)]
pub(super) struct Unlisted {
    pub(super) key: PublicKey,
    pub(super) peer: IpAddr,
    since: Time,
}

/// A change that a worker carries out.
#[derive(Clone, Debug)]
pub(super) struct Ordered {
    /// Which operator wants it.
    pub(super) who: String,
    /// The builder that it lets in.
    pub(super) key: Option<PublicKey>,
}

/// A view, and what was so when it was made.
#[derive(Debug)]
struct Seen {
    view: Arc<View>,
    /// When it was asked for.
    asked: Time,
    /// How many changes had been made then.
    changes: u64,
    /// The last event before it.
    seq: u64,
}

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) setup: Setup,
    /// The wall clock, unix milliseconds.
    pub(super) unix_ms: u64,
    seen: Option<Seen>,
    /// A view is on its way, asked for then, after so many changes.
    looking: Option<(Time, u64)>,
    /// Changes that operators made.
    changes: u64,
    pub(super) live: BTreeMap<LeaseId, Live>,
    ended: BTreeMap<LeaseId, Ending>,
    ended_order: VecDeque<LeaseId>,
    tailing: bool,
    tailed_at: Option<Time>,
    pub(super) counts: BTreeMap<PublicKey, (u32, u32)>,
    counting: bool,
    counted_at: Option<Time>,
    pub(super) ring: VecDeque<EventRow>,
    pub(super) next_seq: u64,
    pub(super) unlisted: VecDeque<Unlisted>,
    pub(super) tickets: BTreeMap<Ticket, Run>,
    last_run: u64,
    /// Digests that are being sent.
    pub(super) parcels: BTreeSet<Digest>,
    /// What sessions made happen in this turn.
    pub(super) events: Vec<Event>,
    /// Changes that workers carry out.
    pub(super) orders: BTreeMap<Run, Ordered>,
    /// RPM files in the index, as far as it was told.
    pub(super) rpms: u32,
    /// Files to be deleted when the index no longer has them, by folder.
    deletions: BTreeMap<String, Vec<FileName>>,
}

impl Shared {
    pub(super) fn new(setup: Setup) -> Shared {
        Shared {
            unix_ms: 0,
            seen: None,
            looking: None,
            changes: 0,
            live: BTreeMap::new(),
            ended: BTreeMap::new(),
            ended_order: VecDeque::new(),
            tailing: false,
            tailed_at: None,
            counts: BTreeMap::new(),
            counting: false,
            counted_at: None,
            ring: VecDeque::new(),
            next_seq: setup.first_seq,
            unlisted: VecDeque::new(),
            tickets: BTreeMap::new(),
            last_run: 0,
            parcels: BTreeSet::new(),
            events: Vec::new(),
            orders: BTreeMap::new(),
            rpms: 0,
            deletions: setup.deletions.iter().cloned().collect(),
            setup,
        }
    }

    pub(super) fn next_run(&mut self) -> Run {
        self.last_run += 1;
        Run(self.last_run)
    }

    /// Number of the last event.
    pub(super) fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// A view for a request that came at `asked`, and the last event before it. If there is none yet, it is
    /// asked for.
    pub(super) fn view(&mut self, now: Time, asked: Time, out: &mut Vec<Effect>) -> Option<(Arc<View>, u64)> {
        if let Some(seen) = &self.seen
            && seen.changes == self.changes
            && seen.asked.plus_ms(VIEW_MS) >= asked
        {
            return Some((seen.view.clone(), seen.seq));
        }
        if self.looking.is_none() {
            self.looking = Some((now, self.changes));
            out.push(Effect::Queue(queue::Msg::Look));
        }
        None
    }

    /// The queue changed by an operator's word: what was seen before no longer counts.
    pub(super) fn stale_view(&mut self) {
        self.changes += 1;
    }

    /// A view came.
    pub(super) fn viewed(&mut self, now: Time, view: Arc<View>) {
        let (asked, changes) = self.looking.take().unwrap_or((now, self.changes));
        let mut building: BTreeMap<LeaseId, (&FileName, &Option<FileName>)> = BTreeMap::new();
        for PackageView { row, copy, .. } in &view.packages {
            building.extend(row.lease.map(|lease| (lease, (&row.srpm, &row.builder))));
            building.extend(copy.as_ref().map(|copy| (copy.lease, (&row.srpm, &copy.builder))));
        }
        // What was leased while the queue was looked at may not be seen before the next view.
        self.live.retain(|lease, live| {
            let is_there = building.contains_key(lease);
            is_there || !std::mem::replace(&mut live.missed, true)
        });
        for (lease, (srpm, builder)) in building {
            let live = self.live.entry(lease).or_default();
            live.missed = false;
            live.srpm = Some(srpm.clone());
            live.builder.clone_from(builder);
        }
        let seq = self.last_seq();
        self.seen = Some(Seen { view, asked, changes, seq });
    }

    /// Whether last lines are as new as a request that came at `asked` may expect; if not, they are read.
    pub(super) fn has_tails(&mut self, now: Time, asked: Time, out: &mut Vec<Effect>) -> bool {
        if self.tailing {
            return false;
        }
        if self.tailed_at.is_some_and(|at| at >= asked) {
            return true;
        }
        let due = |live: &Live| live.grew && live.tailed.is_none_or(|at| now.since_ms(at) >= TAIL_MS);
        let wanted: Vec<(LeaseId, Which)> = self
            .live
            .iter()
            .filter(|(_, live)| due(live))
            .filter_map(|(lease, live)| Some((*lease, live.last?)))
            .collect();
        if wanted.is_empty() {
            return true;
        }
        for (lease, _) in &wanted {
            if let Some(live) = self.live.get_mut(lease) {
                (live.grew, live.tailed) = (false, Some(now));
            }
        }
        self.tailing = true;
        out.push(Effect::Work { run: Run::default(), job: Job::Tails(wanted) });
        false
    }

    pub(super) fn tailed(&mut self, now: Time, lines: Vec<(LeaseId, Line)>) {
        self.tailing = false;
        self.tailed_at = Some(now);
        for (lease, line) in lines {
            if let Some(live) = self.live.get_mut(&lease) {
                live.line = line;
            }
        }
    }

    /// Whether the counts of builders are new enough; if not, they are asked for.
    pub(super) fn has_counts(&mut self, asked: Time, out: &mut Vec<Effect>) -> bool {
        let new = self.counted_at.is_some_and(|at| at.plus_ms(COUNTS_MS) >= asked);
        if !new && !self.counting {
            self.counting = true;
            out.push(Effect::Work { run: Run::default(), job: Job::Counts });
        }
        new
    }

    /// Counts came, or could not be had: then the old ones serve on.
    pub(super) fn counted(&mut self, now: Time, counts: Option<BTreeMap<PublicKey, (u32, u32)>>) {
        self.counting = false;
        self.counted_at = Some(now);
        if let Some(counts) = counts {
            self.counts = counts;
        }
    }

    fn lease(&mut self, lease: LeaseId) -> &mut Live {
        if self.live.len() >= LIVE_MAX && !self.live.contains_key(&lease) {
            self.live.pop_first();
        }
        self.live.entry(lease).or_default()
    }

    /// A build came to another phase. Gives the event, if it is one.
    pub(super) fn phase(&mut self, now: Time, lease: LeaseId, phase: Phase) -> Option<Event> {
        if self.ended.contains_key(&lease) {
            return None;
        }
        let live = self.lease(lease);
        if live.phase.is_some_and(|(known, _)| known == phase) {
            return None;
        }
        live.phase = Some((phase, now));
        let mut event = Event::new(EventKind::Phase, "");
        (event.srpm, event.builder) = (live.srpm.clone(), live.builder.clone());
        (event.lease, event.phase) = (Some(lease), Some(phase));
        event.srpm.is_some().then_some(event)
    }

    /// A live log grew.
    pub(super) fn grown(&mut self, lease: LeaseId, which: Which, bytes: u64) {
        if self.ended.contains_key(&lease) {
            return;
        }
        let live = self.lease(lease);
        live.logs[which as usize] = live.logs[which as usize].max(bytes);
        // What mock does beside the build is of interest only before it.
        if live.last != Some(Which::Build) {
            live.last = Some(which);
        }
        live.grew = true;
    }

    /// How a lease ended, if it did and not too long ago.
    pub(super) fn ending(&self, lease: LeaseId) -> Option<&Ending> {
        self.ended.get(&lease)
    }

    /// The live lease of a package.
    pub(super) fn lease_of(&self, srpm: &FileName) -> Option<LeaseId> {
        self.live.iter().find(|(_, live)| live.srpm.as_ref() == Some(srpm)).map(|(lease, _)| *lease)
    }

    /// Numbers an event, keeps it, and learns from it.
    pub(super) fn remember(&mut self, now: Time, event: Event) -> EventRow {
        let Event { kind, srpm, lease, builder, verdict, phase, state, who, text } = event;
        let row = EventRow {
            seq: self.next_seq,
            unix_ms: self.unix_ms,
            kind,
            srpm,
            lease,
            builder,
            verdict,
            phase,
            state,
            who: Line::lossy(&who),
            text: Line::lossy(&text),
        };
        self.next_seq += 1;
        match (kind, lease) {
            (EventKind::Leased, Some(lease)) => {
                let live = self.lease(lease);
                live.srpm.clone_from(&row.srpm);
                live.builder.clone_from(&row.builder);
                live.phase.get_or_insert((Phase::Fetch, now));
            }
            (EventKind::Ended | EventKind::Left, Some(lease)) => {
                self.live.remove(&lease);
                let ending = Ending { verdict, reason: row.text.clone() };
                if self.ended.insert(lease, ending).is_none() {
                    self.ended_order.push_back(lease);
                }
                if self.ended_order.len() > ENDED_MAX
                    && let Some(old) = self.ended_order.pop_front()
                {
                    self.ended.remove(&old);
                }
            }
            _ => {}
        }
        if self.ring.len() >= RING_MAX {
            self.ring.pop_front();
        }
        self.ring.push_back(row.clone());
        row
    }

    /// Number of the oldest event in the ring; events before it are in the history only.
    pub(super) fn ring_from(&self) -> u64 {
        self.ring.front().map_or(self.next_seq, |row| row.seq)
    }

    /// The package's row with what only the desk knows.
    pub(super) fn fill_package(&self, now: Time, row: &PackageRow) -> PackageRow {
        let mut row = row.clone();
        if let Some(live) = row.lease.and_then(|lease| self.live.get(&lease)) {
            if let Some((phase, since)) = live.phase {
                row.phase = Some(phase);
                row.phase_age_s = seconds(now.since_ms(since));
            }
            row.line = live.line.clone();
        }
        row
    }

    /// The builder's row with what only the desk knows.
    pub(super) fn fill_builder(&self, view: &View, row: &BuilderRow) -> BuilderRow {
        let mut row = row.clone();
        if let Some(srpm) = &row.srpm
            && let Ok(at) = view.packages.binary_search_by(|package| package.row.srpm.cmp(srpm))
        {
            let PackageView { row: package, copy, .. } = &view.packages[at];
            let copy = copy.as_ref().filter(|copy| copy.key == row.key).map(|copy| copy.lease);
            let live = copy.or(package.lease).and_then(|lease| self.live.get(&lease));
            row.phase = live.and_then(|live| live.phase).map(|(phase, _)| phase);
        }
        if let Some((built, failed)) = self.counts.get(&row.key) {
            (row.built, row.failed) = (*built, *failed);
        }
        row
    }

    /// A builder was turned away.
    pub(super) fn turned_away(&mut self, now: Time, key: PublicKey, peer: IpAddr) {
        self.unlisted.retain(|unlisted| unlisted.key != key);
        if self.unlisted.len() >= UNLISTED_MAX {
            self.unlisted.pop_front();
        }
        self.unlisted.push_back(Unlisted { key, peer, since: now });
    }

    /// Rows of builders that were turned away.
    pub(super) fn unlisted_rows(&self, now: Time) -> impl Iterator<Item = BuilderRow> {
        self.unlisted.iter().map(move |unlisted| BuilderRow {
            name: Line::lossy(&unlisted.peer.to_string()),
            key: unlisted.key,
            peer: Line::lossy(&unlisted.peer.to_string()),
            state: BuilderState::Unlisted,
            why: Line::lossy("not in the list of builders: 'moji approve NAME KEY' lets it in"),
            until_s: 0,
            age_s: seconds(now.since_ms(unlisted.since)),
            arch: Line::default(),
            version: Line::default(),
            cfg: Line::default(),
            backend: Backend::Mock,
            cpus: 0,
            memory_mib: 0,
            health: Health::default(),
            srpm: None,
            phase: None,
            faults: 0,
            built: 0,
            failed: 0,
            suspect: Line::default(),
        })
    }

    /// What workers carried out: each thing that was changed becomes an event, whoever still listens.
    pub(super) fn ordered(&mut self, run: Run, replies: &[Reply]) {
        let Some(Ordered { who, key }) = self.orders.remove(&run) else { return };
        self.stale_view();
        for reply in replies {
            let Reply::Changed { target, text } = reply else { continue };
            self.unlisted.retain(|unlisted| Some(unlisted.key) != key);
            let srpm =
                FileName::new(target.as_str()).ok().filter(|name| names::stem(name.as_str()) != target);
            let text = if srpm.is_some() { text.clone() } else { format!("{target}: {text}") };
            let event = Event { srpm, who: who.clone(), ..Event::new(EventKind::Ordered, text) };
            self.events.push(event);
        }
    }

    /// These files go when no index that is live names them.
    pub(super) fn delete_later(&mut self, folder: String, rpms: Vec<FileName>) {
        self.deletions.insert(folder, rpms);
    }

    /// No index names anything of this folder any more: what is to be deleted now.
    pub(super) fn take_deletion(&mut self, folder: &str) -> Option<Vec<FileName>> {
        self.deletions.remove(folder)
    }
}

/// Milliseconds as whole seconds.
pub(super) fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1_000).unwrap_or(u32::MAX)
}
