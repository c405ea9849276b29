//! All of the queue as an operator sees it.
//!
//! Owns the view that is being made, and changes nothing else. It costs about a microsecond a package, so what many
//! packages have in common is worked out once; and of many packages it is made a piece at a time, since builders must not
//! wait for whoever looks. So each row is true, but not all of them were so at the same moment.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use moji_proto::message::{Backend, BuilderRow, BuilderState, Health, PackageRow, Trouble};
use moji_proto::{FileName, Line, PublicKey, Time};

use super::estimate::Left;
use super::needs::Need;
use super::order::Rank;
use super::package::{Hold, Leased, Package, State};
use super::standing::{Builder, Link};
use super::times::Built;
use super::{Effect, Queue};
use crate::core::desk;
use crate::core::types::BuilderId;
use crate::core::view::{CopyView, PackageView, Told, View};
use crate::rpmfile::Nevra;

/// What decides who may have a package: packages with the same wishes wait for the same builders.
type Wishes<'a> = (
    &'a [String],
    &'a [String],
    &'a BTreeMap<BuilderId, Time>,
    &'a BTreeSet<BuilderId>,
    Option<u32>,
    Option<BuilderId>,
    &'a BTreeSet<BuilderId>,
    Need,
);

/// So many steps are done before somebody else's message is handled: less than a millisecond.
const PIECE: usize = 2_048;
/// A package's row costs as much as so many that are counted.
const ROW: usize = 4;
/// After a piece others have so long for their messages, milliseconds.
const REST_MS: u64 = 1;

/// A view that is being made.
#[derive(Debug, Default)]
pub(super) struct Looking {
    /// When the next piece is due.
    next: Time,
    /// What was measured of all sources up to `source`, or of all.
    built: Built,
    source: Option<Box<str>>,
    has_built: bool,
    /// Place in the order, from 1, of all up to `last_turn`, until their rows are made: what is taken out then need not be
    /// freed in one go at the end.
    turns: BTreeMap<FileName, usize>,
    /// How many were counted.
    waiting: usize,
    last_turn: Option<(Rank, FileName)>,
    /// Rows of all packages up to `last`.
    rows: Vec<PackageView>,
    last: Option<FileName>,
    /// What these have left to do.
    left: Left,
}

impl Looking {
    /// When it goes on.
    pub(super) fn next(&self) -> Time {
        self.next
    }
}

/// What is worked out once for all packages of a piece.
struct Common<'a> {
    /// Why nothing at all is leased.
    blocked: Option<String>,
    /// Whether some builder is idle.
    has_idle: bool,
    /// The package's place in the order, from 1.
    turn: usize,
    /// Why packages with these wishes are passed over.
    passed_over: BTreeMap<Wishes<'a>, String>,
}

impl Queue {
    /// Begins to answer a `Look`, also if it was at one.
    pub(super) fn look(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.looking = Some(Looking { next: now, ..Looking::default() });
        self.look_further(now, out);
    }

    /// Goes on with the view that is being made, if it is time. Says whether it was.
    pub(super) fn look_further(&mut self, now: Time, out: &mut Vec<Effect>) -> bool {
        let Some(mut looking) = self.looking.take_if(|looking| looking.next <= now) else { return false };
        let mut steps = PIECE;
        let is_done = self.add_built(&mut looking, &mut steps)
            && self.count_turns(&mut looking, &mut steps)
            && self.add_rows(now, &mut looking, &mut steps);
        if is_done {
            out.push(Effect::Desk(desk::Msg::View(Arc::new(self.view(now, looking)))));
        } else {
            looking.next = now.plus_ms(REST_MS);
            self.looking = Some(looking);
        }
        true
    }

    /// Goes through what was measured. Says whether that was all.
    fn add_built(&self, looking: &mut Looking, steps: &mut usize) -> bool {
        if !looking.has_built {
            let before = looking.built.count();
            looking.source = self.times.add_after(looking.source.as_deref(), *steps, &mut looking.built);
            looking.has_built = looking.source.is_none();
            *steps = steps.saturating_sub(looking.built.count() - before);
        }
        looking.has_built
    }

    /// Counts who waits, in order. Says whether that was all.
    fn count_turns(&self, looking: &mut Looking, steps: &mut usize) -> bool {
        let mut last = None;
        for one in self.order.after(looking.last_turn.as_ref()) {
            if *steps == 0 {
                break;
            }
            *steps -= 1;
            looking.waiting += 1;
            looking.turns.insert(one.1.clone(), looking.waiting);
            last = Some(one);
        }
        if let Some(last) = last {
            looking.last_turn = Some(last.clone());
        }
        *steps > 0
    }

    /// Adds rows of packages, by file name. Says whether that was all.
    fn add_rows(&self, now: Time, looking: &mut Looking, steps: &mut usize) -> bool {
        let mut common = Common {
            blocked: self.blocked(),
            has_idle: self.standing.idle(now).next().is_some(),
            turn: 0,
            passed_over: BTreeMap::new(),
        };
        let mean_s = looking.built.mean_s();
        let from = looking.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for (name, package) in self.packages.range::<FileName, _>((from, Bound::Unbounded)) {
            if *steps < ROW {
                break;
            }
            *steps -= ROW;
            // It may have come after the others were counted.
            common.turn = looking.turns.remove(name).unwrap_or(looking.waiting + 1);
            if package.state != State::Gone {
                self.add_left(&mut looking.left, now, mean_s, (name, package));
                looking.rows.push(self.package_view(now, name, package, &mut common));
            }
            last = Some(name);
        }
        if let Some(last) = last {
            looking.last = Some(last.clone());
        }
        *steps >= ROW
    }

    fn view(&self, now: Time, looking: Looking) -> View {
        let has_idle = self.standing.idle(now).next().is_some();
        View {
            packages: looking.rows,
            builders: self.builder_rows(now),
            blocked: self.concern(now),
            idle: has_idle.then(|| self.groups(now).why_nothing()),
            space: self.space,
            ends_in_s: self.ends_in_s(now, &looking.left),
            target: self.target.clone(),
        }
    }

    fn package_view<'a>(
        &'a self,
        now: Time,
        name: &'a FileName,
        package: &'a Package,
        common: &mut Common<'a>,
    ) -> PackageView {
        let wants = match &package.state {
            State::Held(Hold::Deps { wants, .. }) => wants.names(),
            _ => Vec::new(),
        };
        let (lease, copy) = match &package.state {
            State::Leased(Leased { lease, copy, .. }) => {
                (Some(*lease), copy.as_ref().map(|copy| (copy.lease, copy.builder)))
            }
            _ => (None, None),
        };
        let (since, before_s) = package.since;
        let why = self.rebuild.with_words(name, self.why(now, name, package, common));
        let row = PackageRow {
            srpm: name.clone(),
            nevr: package.srpm.as_ref().map(|srpm| nevr(&srpm.facts.nevra)).unwrap_or_default(),
            state: package.shown(),
            why: Line::lossy(&why),
            age_s: seconds(now.since_ms(since) / 1_000 + before_s),
            size: package.srpm.as_ref().map_or(0, |srpm| srpm.size),
            priority: self.order.line_of(name).map_or(0, count32),
            charged: u16::try_from(package.past.charged.len()).unwrap_or(u16::MAX),
            lease,
            builder: package.builder.clone(),
            phase: None,
            phase_age_s: 0,
            line: Line::default(),
            place: package.place.as_deref().map(Line::lossy).unwrap_or_default(),
            expected_s: self.expected_s(name, package),
            widened: package.widened,
        };
        let options = if self.options.is_empty() { Vec::new() } else { self.options_for(name).0 };
        let copy = copy.map(|(lease, key)| CopyView { lease, key, builder: self.standing.host(key) });
        PackageView { row, since: package.since, copy, wants, options }
    }

    /// Why a package is where it is.
    fn why<'a>(
        &'a self,
        now: Time,
        name: &FileName,
        package: &'a Package,
        common: &mut Common<'a>,
    ) -> String {
        match &package.state {
            State::Gone => String::new(),
            State::Unusable { why } => why.clone(),
            State::Held(Hold::Duplicate { of }) => format!("{of} is the same package"),
            State::Held(Hold::Behind { first, .. }) => format!("behind {first}, which is built again first"),
            State::Held(Hold::Deps { wants, until, is_guess: true }) => {
                let when = duration(until.since_ms(now));
                let what = wants.names().join(", ");
                format!(
                    "nobody provides {what}, which its header names; tried when a builder idles, or in {when}"
                )
            }
            State::Held(Hold::Deps { wants, until, .. }) => {
                let what = match &wants.names()[..] {
                    [] => "something to be published".to_owned(),
                    names => names.join(", "),
                };
                format!("waits for {what}; tried again in {}", duration(until.since_ms(now)))
            }
            State::Claimed { builder } => format!("is being leased to {}", self.standing.name(*builder)),
            State::Leased(_) if self.asked.who(name).is_some() => "is being cancelled".to_owned(),
            State::Leased(leased) => leased.copy.as_ref().map_or_else(
                || leased.again.clone(),
                |copy| format!("{} builds it too: the first result counts", self.standing.name(copy.builder)),
            ),
            State::Returning { .. } => "on its way back to source/".to_owned(),
            State::Retiring | State::Finished => {
                package.ending.as_ref().map(|ending| ending.text.clone()).unwrap_or_default()
            }
            State::Waiting => self.why_waits(now, name, package, common),
        }
    }

    /// Why a package that may be leased is not.
    fn why_waits<'a>(
        &'a self,
        now: Time,
        name: &FileName,
        package: &'a Package,
        common: &mut Common<'a>,
    ) -> String {
        if let Some(blocked) = &common.blocked {
            return format!("nothing is leased: {blocked}");
        }
        if package.not_before.is_some_and(|at| at > now) {
            return "the last try to lease it failed: again in a moment".to_owned();
        }
        // With no builder idle it simply waits its turn, wherever else it may go.
        let is_free = package.past.not_on.values().all(|until| *until <= now);
        if !common.has_idle && is_free {
            let turn = common.turn;
            return format!("{}number {turn} in the queue", self.unconfirmed(&package.past));
        }
        if let Some(id) = self.kept.get(name) {
            return format!("kept for {}, where it is done sooner", self.standing.name(*id));
        }
        let facts = package.srpm.as_ref().map(|srpm| &srpm.facts);
        let past = &package.past;
        let wishes: Wishes<'_> = (
            facts.map_or(&[], |facts| &facts.exclusive_arch[..]),
            facts.map_or(&[], |facts| &facts.exclude_arch[..]),
            &past.not_on,
            &past.lost_on,
            past.memory_mib,
            past.slow_on,
            &past.failed_on,
            Need::of(package),
        );
        common.passed_over.entry(wishes).or_insert_with(|| self.why_passed_over(now, package)).clone()
    }

    fn why_passed_over(&self, now: Time, package: &Package) -> String {
        let paused = package.past.not_on.iter().filter(|(_, until)| **until > now);
        let paused: Vec<String> = paused
            .map(|(id, until)| {
                format!(
                    "not again so soon on {}: in {}",
                    self.standing.name(*id),
                    duration(until.since_ms(now))
                )
            })
            .collect();
        let may = self.who_may(now, package);
        let mut parts = Vec::new();
        let unconfirmed = self.unconfirmed(&package.past);
        parts.extend(unconfirmed.strip_suffix("; ").map(str::to_owned));
        let need = Need::of(package);
        if self.standing.idle(now).any(|id| self.standing.all.get(&id).is_some_and(|b| !need.fits(b.room())))
        {
            parts.push(format!("needs {}", need.words()));
        }
        match &may[..] {
            [] if !paused.is_empty() => {}
            [] => parts.push("no builder that can have it".to_owned()),
            [first, rest @ ..] => {
                let more = if rest.is_empty() { String::new() } else { format!(" or {} others", rest.len()) };
                parts.push(format!("goes to {}{more} next", self.standing.name(*first)));
            }
        }
        parts.extend(paused);
        parts.join("; ")
    }

    // ---- builders

    fn builder_rows(&self, now: Time) -> Vec<BuilderRow> {
        let mut builds: BTreeMap<BuilderId, &FileName> = BTreeMap::new();
        for (name, package) in &self.packages {
            if let State::Leased(leased) = &package.state {
                builds.extend(leased.both().map(|one| (one.builder, name)));
            }
        }
        let known = self.standing.all.iter();
        let mut rows: Vec<BuilderRow> = known
            .map(|(id, builder)| self.builder_row(now, *id, builder, builds.get(id).copied()))
            .chain(
                self.standing
                    .told
                    .iter()
                    .map(|(id, (name, told))| away(*id, name, *told, builds.get(id).copied())),
            )
            .collect();
        rows.sort_by(|a, b| (&a.name, a.key).cmp(&(&b.name, b.key)));
        rows
    }

    fn builder_row(
        &self,
        now: Time,
        id: BuilderId,
        builder: &Builder,
        builds: Option<&FileName>,
    ) -> BuilderRow {
        let info = &builder.info;
        let (state, why) = self.how(now, id, builder, builds.is_some());
        let until = builder.quarantined_until(now).filter(|_| !builder.told.quarantined);
        BuilderRow {
            name: Line::lossy(info.name.as_str()),
            key: id,
            peer: Line::lossy(&info.peer.to_string()),
            state,
            why: Line::lossy(&why),
            until_s: until
                .filter(|_| state == BuilderState::Quarantined)
                .map_or(0, |until| seconds(until.since_ms(now).div_ceil(1_000))),
            age_s: seconds(now.since_ms(builder.since) / 1_000),
            arch: Line::lossy(info.arch.as_str()),
            version: Line::lossy(info.version.as_str()),
            cfg: info.cfg.clone(),
            backend: info.backend,
            cpus: info.cpus,
            memory_mib: info.memory_mib,
            health: builder.health,
            srpm: builds.cloned(),
            phase: None,
            faults: u16::try_from(builder.row).unwrap_or(u16::MAX),
            built: 0,
            failed: 0,
            suspect: Line::lossy(&self.suspects.words(id)),
        }
    }

    /// How a builder is, and why. What keeps it from work longest comes first.
    pub(super) fn how(
        &self,
        now: Time,
        id: BuilderId,
        builder: &Builder,
        busy: bool,
    ) -> (BuilderState, String) {
        let arch = &builder.info.arch;
        let Link::Up { draining, .. } = builder.link else {
            return (BuilderState::Away, told(builder.told).to_owned());
        };
        if !self.is_for_target(id) {
            let target = self.target.as_deref().unwrap_or("another");
            return (BuilderState::Unfit, format!("it builds for {arch}, the repository is {target}"));
        }
        if builder.told.quarantined {
            return (BuilderState::Quarantined, told(builder.told).to_owned());
        }
        if builder.quarantined_until(now).is_some() {
            return (BuilderState::Quarantined, format!("{} times infra or lost in a row", builder.row));
        }
        if let Some(trouble) = builder.trouble {
            let why = trouble_words(trouble, &builder.health);
            return (BuilderState::Troubled, why);
        }
        let drains = match (builder.told.drained, draining) {
            (true, _) => Some(told(builder.told)),
            (false, true) => Some("it was told to drain there"),
            (false, false) => None,
        };
        match (drains, busy) {
            (Some(why), true) => (BuilderState::Draining, why.to_owned()),
            (Some(why), false) => (BuilderState::Drained, why.to_owned()),
            (None, _) => {
                let why = if builder.is_on_trial() { "on trial after its quarantine" } else { "" };
                (if busy { BuilderState::Busy } else { BuilderState::Idle }, why.to_owned())
            }
        }
    }
}

/// What keeps a builder from work, as it says itself.
pub(super) fn trouble_words(trouble: Trouble, health: &Health) -> String {
    match trouble {
        Trouble::Clock => {
            let how = if health.clock_off_s > 0 { "ahead" } else { "behind" };
            let off = duration(u64::from(health.clock_off_s.unsigned_abs()) * 1_000);
            format!("its clock is {off} {how}")
        }
        Trouble::Disk => format!("its disk is too full, {} MiB free", health.disk_free_mib),
    }
}

/// What an operator told it, in words.
fn told(told: Told) -> &'static str {
    match (told.quarantined, told.drained, told.exit) {
        (true, ..) => "quarantined by an operator",
        (false, true, None) => "drained by an operator",
        (false, true, Some(_)) => "drained by an operator, and told to end",
        (false, false, _) => "",
    }
}

/// A builder of which only what it was told is known.
fn away(key: PublicKey, name: &FileName, orders: Told, builds: Option<&FileName>) -> BuilderRow {
    BuilderRow {
        name: Line::lossy(name.as_str()),
        key,
        peer: Line::default(),
        state: BuilderState::Away,
        why: Line::lossy(told(orders)),
        until_s: 0,
        age_s: 0,
        arch: Line::default(),
        version: Line::default(),
        cfg: Line::default(),
        backend: Backend::Mock,
        cpus: 0,
        memory_mib: 0,
        health: Health::default(),
        srpm: builds.cloned(),
        phase: None,
        faults: 0,
        built: 0,
        failed: 0,
        suspect: Line::default(),
    }
}

/// `name-epoch:version-release`, the epoch left out if there is none.
fn nevr(nevra: &Nevra) -> Line {
    let Nevra { name, epoch, version, release, .. } = nevra;
    Line::lossy(&match epoch {
        0 => format!("{name}-{version}-{release}"),
        epoch => format!("{name}-{epoch}:{version}-{release}"),
    })
}

/// A duration for people.
pub(super) fn duration(ms: u64) -> String {
    match ms.div_ceil(1_000) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s.div_ceil(60)),
        s => format!("{} h", s.div_ceil(3_600)),
    }
}

pub(super) fn seconds(s: u64) -> u32 {
    u32::try_from(s).unwrap_or(u32::MAX)
}

pub(super) fn count32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
