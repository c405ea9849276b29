//! What every handler is given, and the questions that pages and the API share.
//!
//! Owns how an answer is put together from the snapshot, the desk, the history and the folders. A handler only reads
//! its parameters, asks one of these, and renders what comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moji_proto::Line;
use moji_proto::human::size;
use moji_proto::message::{BuilderState as WireBuilder, PackageState as WireState, ToOperator, Topic};

use super::desk::{Ask, Desk, Rows};
use super::model::{
    Attempt, Blocked, Builder, BuilderDetail, BuilderState, Concern, ConcernKind, Cycle, Event, Events,
    History, Lack, Overview, Package, PackageDetail, PackageState, Page, Repository, text,
};
use super::past::Past;
use super::problem::Problem;
use super::serve::Setup;
use super::shelf::Shelf;
use super::snapshot::{Snapshot, Snapshots, Sort};
use super::turns::Turns;
use crate::core::desk::{RESULTS_MAX, event_filter};
use crate::history::Totals;
use crate::payloads::{Cache, Stats};

/// Builds that an overview names: more than a page shows, fewer than a browser minds.
const BUILDING_MAX: usize = 1_000;
/// Concerns that an overview names.
const CONCERNS_MAX: usize = 100;
/// Capabilities that are told of at once.
pub(crate) const BLOCKED_MAX: u32 = 1_000;
/// How long what is told of them serves: where thousands wait, it costs the queue fifty milliseconds.
const BLOCKED_FRESH: Duration = Duration::from_secs(5);
/// Events that are told of at once.
pub(crate) const EVENTS_MAX: u32 = 1_000;
/// Attempts of a builder that are shown.
const TRIES_MAX: u32 = 50;
/// Names that are told with a `No`.
const NAMES_MAX: usize = 20;
/// Below so many times what must stay free the hub's disk is a concern.
const FLOOR_TIMES: u64 = 2;

/// What every handler is given; clones are the same.
#[derive(Clone)]
pub(crate) struct Site(Arc<Inner>);

struct Inner {
    desk: Desk,
    snapshots: Snapshots,
    past: Past,
    shelf: Shelf,
    turns: Turns,
    cache: Option<Cache>,
    /// What was told last of what packages wait for, and when.
    blocked: tokio::sync::Mutex<Option<(Instant, Blocked)>>,
}

/// Which packages are listed, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Those whose file name has this in it, whatever the case; empty means all.
    pub(crate) q: String,
    /// Those in this state.
    pub(crate) state: Option<PackageState>,
    /// In which order; by name if nothing is said.
    pub(crate) sort: Option<Sort>,
    /// How many are left out.
    pub(crate) offset: usize,
    /// At most so many.
    pub(crate) limit: usize,
}

impl Site {
    pub(super) fn new(setup: Setup, scheme: &'static str) -> Result<Site, String> {
        let past = Past::open(&setup)?;
        let shelf = Shelf::new(&setup, scheme);
        let desk = Desk::new(setup.desk, setup.bridge);
        let snapshots = Snapshots::new(desk.clone());
        let cache = setup.thin.map(|thin| thin.cache);
        let (turns, blocked) = Default::default();
        Ok(Site(Arc::new(Inner { desk, snapshots, past, shelf, turns, cache, blocked })))
    }

    /// For what has no question of its own here: following logs and events.
    pub(crate) fn desk(&self) -> &Desk {
        &self.0.desk
    }

    /// The farm as it was at most a second ago.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, Problem> {
        self.0.snapshots.now().await
    }

    /// All builds there ever were, in numbers that only grow.
    pub(super) async fn totals(&self) -> Result<Arc<Totals>, Problem> {
        self.0.past.totals().await
    }

    /// What the cache of packages did; None if there is none.
    pub(super) async fn cache(&self) -> Option<Stats> {
        let cache = self.0.cache.clone()?;
        tokio::task::spawn_blocking(move || cache.stats()).await.ok()
    }

    /// The farm as a whole.
    pub(crate) async fn overview(&self) -> Result<Overview, Problem> {
        let snapshot = self.snapshot().await?;
        let glance = &snapshot.glance;
        let farm = &glance.farm;
        let packages: BTreeMap<PackageState, u32> =
            WireState::ALL.into_iter().map(PackageState::from).zip(farm.packages).collect();
        let builders: BTreeMap<BuilderState, u32> =
            WireBuilder::ALL.into_iter().map(BuilderState::from).zip(farm.builders).collect();
        let mut building = snapshot.building();
        building.truncate(BUILDING_MAX);
        let mut results: Vec<Event> = glance.results.iter().map(Event::from).collect();
        if results.len() < RESULTS_MAX {
            let before = self.0.past.results_before(glance.first_seq).await?;
            results.extend(before.iter().map(Event::from).take(RESULTS_MAX - results.len()));
        }
        Ok(Overview {
            version: farm.version.to_string(),
            started: snapshot.when(glance.started),
            target: text(&farm.target),
            total: packages.values().sum(),
            done: packages.iter().filter(|(state, _)| state.is_final()).map(|(_, n)| n).sum(),
            expected_end: snapshot.expected_end(),
            packages,
            builders,
            building,
            concerns: concerns(&snapshot),
            results,
            blocked: text(&farm.blocked),
            idle: text(&farm.idle),
            free_bytes: farm.free_bytes,
            floor_bytes: farm.floor_bytes,
            rpms: farm.rpms,
            last_event: glance.last_seq,
        })
    }

    /// All builders.
    pub(crate) async fn builders(&self) -> Result<Vec<Builder>, Problem> {
        Ok(self.snapshot().await?.builders().collect())
    }

    /// One builder and what it did.
    pub(crate) async fn builder(&self, name: &str) -> Result<BuilderDetail, Problem> {
        let snapshot = self.snapshot().await?;
        let (row, builder) = snapshot.builder(name)?;
        let attempts = self.0.past.tries_of(row.key, TRIES_MAX).await?;
        Ok(BuilderDetail { builder, attempts })
    }

    /// Packages.
    pub(crate) async fn packages(&self, wanted: &Wanted) -> Result<Page<Package>, Problem> {
        let snapshot = self.snapshot().await?;
        let all = snapshot.packages();
        let q = wanted.q.to_ascii_lowercase();
        let state = wanted.state.map(WireState::from);
        let fits = |at: &&u32| {
            let row = &all[**at as usize].row;
            state.is_none_or(|state| row.state == state)
                && (q.is_empty() || has(row.srpm.as_str(), &q) || has(row.nevr.as_str(), &q))
        };
        let (mut total, mut rows) = (0, Vec::new());
        for at in snapshot.sorted(wanted.sort.unwrap_or(Sort::Name)).iter().filter(fits) {
            if total >= wanted.offset && rows.len() < wanted.limit {
                rows.push(snapshot.package(&all[*at as usize]));
            }
            total += 1;
        }
        Ok(Page::new(total, wanted.offset, rows))
    }

    /// One package and all that is known of it.
    pub(crate) async fn package(&self, name: &str) -> Result<PackageDetail, Problem> {
        let snapshot = self.snapshot().await?;
        let view = snapshot.find_package(name)?;
        let srpm = view.row.srpm.to_string();
        let mut detail = PackageDetail {
            package: snapshot.package(view),
            options: view.options.iter().map(ToString::to_string).collect(),
            why: Vec::new(),
            order: Vec::new(),
            passed_over: Vec::new(),
            next: Vec::new(),
            lacks: Vec::new(),
            waits_for: Vec::new(),
            waited_for_by: Vec::new(),
            attempts: Vec::new(),
        };
        for row in self.in_turn(Ask::Why { package: srpm.clone() }).await? {
            match row {
                ToOperator::Text { topic: Topic::First, line } => {
                    detail.waits_for.extend(snapshot.neighbour(line.as_str()));
                }
                ToOperator::Text { topic: Topic::Behind, line } => {
                    detail.waited_for_by.extend(snapshot.neighbour(line.as_str()));
                }
                ToOperator::Text { topic, line } => {
                    let lines = match topic {
                        Topic::Why => &mut detail.why,
                        Topic::Order => &mut detail.order,
                        Topic::Passed => &mut detail.passed_over,
                        Topic::Next => &mut detail.next,
                        _ => continue,
                    };
                    lines.push(line.to_string());
                }
                ToOperator::Lack(row) => detail.lacks.push(Lack::from(&row)),
                _ => {}
            }
        }
        let mut rows = self.0.desk.ask(Ask::Show { package: srpm.clone() }).await?;
        while let Some(row) = next(&mut rows).await? {
            match (row, detail.attempts.last_mut()) {
                (ToOperator::Attempt(row), _) => detail.attempts.push(Attempt::new(&srpm, &row)),
                (ToOperator::Text { topic, line }, Some(attempt)) => match topic {
                    Topic::Evidence => attempt.evidence.push(line.to_string()),
                    Topic::Provenance => attempt.provenance.push(line.to_string()),
                    Topic::File => attempt.files.push(file_path(line.as_str())),
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(detail)
    }

    /// All that the queue answers to a question, which it is asked when its turn comes.
    async fn in_turn(&self, ask: Ask) -> Result<Vec<ToOperator>, Problem> {
        let desk = self.0.desk.clone();
        let work = async move {
            let (mut rows, mut all) = (desk.ask(ask).await?, Vec::new());
            while let Some(row) = next(&mut rows).await? {
                all.push(row);
            }
            Ok(all)
        };
        self.0.turns.take(work).await?
    }

    /// What packages wait for that is not there, as it was a moment ago; at most so many capabilities.
    pub(crate) async fn blocked(&self, limit: u32) -> Result<Blocked, Problem> {
        let mut kept = self.0.blocked.lock().await;
        let fresh = kept.take_if(|(at, _)| at.elapsed() < BLOCKED_FRESH);
        let (at, all) = match fresh {
            Some(fresh) => fresh,
            None => (Instant::now(), self.all_blocked().await?),
        };
        let lacks = all.lacks.iter().take(limit as usize).cloned().collect();
        let told = Blocked { lacks, cycles: all.cycles.clone(), ..all };
        *kept = Some((at, all));
        Ok(told)
    }

    async fn all_blocked(&self) -> Result<Blocked, Problem> {
        let mut blocked = Blocked::default();
        for row in self.in_turn(Ask::Blocked { rows: BLOCKED_MAX }).await? {
            match (row, blocked.cycles.last_mut()) {
                (ToOperator::Blocked(row), _) => {
                    (blocked.packages, blocked.unnamed) = (row.packages, row.unnamed);
                    (blocked.capabilities, blocked.cycle_count) = (row.capabilities, row.cycles);
                }
                (ToOperator::Lack(row), _) => blocked.lacks.push(Lack::from(&row)),
                (ToOperator::Cycle(row), _) => blocked.cycles.push(Cycle::from(&row)),
                (ToOperator::Text { topic: Topic::Member, line }, Some(cycle)) => {
                    cycle.members.push(line.to_string());
                }
                (ToOperator::Text { topic: Topic::Import, line }, Some(cycle)) => {
                    cycle.imports.push(line.to_string());
                }
                _ => {}
            }
        }
        Ok(blocked)
    }

    /// Events: the newest `limit` of those that a name or pattern fits, oldest first.
    pub(crate) async fn newest_events(&self, pattern: &str, limit: u32) -> Result<Events, Problem> {
        let ask = Ask::History { pattern: pattern.to_owned(), rows: limit.min(EVENTS_MAX) };
        let mut rows = self.0.desk.ask(ask).await?;
        let mut found = Vec::new();
        while let Some(row) = next(&mut rows).await? {
            if let ToOperator::Event(row) = row {
                found.push(Event::from(&row));
            }
        }
        let last = found.last().map_or(0, |event| event.seq);
        Ok(Events { rows: found, last })
    }

    /// Of the first `limit` events after this one those that a name or pattern fits, oldest first.
    pub(crate) async fn events_after(
        &self,
        pattern: &str,
        after: u64,
        limit: u32,
    ) -> Result<Events, Problem> {
        let read = self.0.past.events(after, limit.min(EVENTS_MAX) as usize).await?;
        let pattern = Line::lossy(pattern);
        let fits = event_filter(&pattern);
        let last = read.last().map_or(after, |row| row.seq);
        Ok(Events { rows: read.iter().filter(|row| fits(row)).map(Event::from).collect(), last })
    }

    /// The history of the last so many days in numbers.
    pub(crate) async fn history(&self, days: u32) -> Result<Arc<History>, Problem> {
        self.0.past.numbers(days).await
    }

    /// The repository, for somebody who calls this hub `host`.
    pub(crate) async fn repository(&self, host: &str) -> Result<Repository, Problem> {
        let snapshot = self.snapshot().await?;
        self.0.shelf.repository(host, &snapshot.glance.farm).await
    }
}

/// The next row; a `No` is a problem.
pub(crate) async fn next(rows: &mut Rows) -> Result<Option<ToOperator>, Problem> {
    match rows.next().await {
        Some(ToOperator::No { code, text, .. }) => {
            let mut names = Vec::new();
            while let Some(ToOperator::Name { name }) = rows.next().await {
                if names.len() < NAMES_MAX {
                    names.push(name.to_string());
                }
            }
            Err(Problem::no(code, &text, &names))
        }
        Some(row) => Ok(Some(row)),
        None => Ok(None),
    }
}

/// Where a file of a result is on this port.
fn file_path(relative: &str) -> String {
    let parts: Vec<String> = relative.split('/').map(super::model::in_path).collect();
    format!("{}{}", super::REPO_PATH, parts.join("/"))
}

/// Whether `text` has `q`, which is in lower case, in it.
fn has(text: &str, q: &str) -> bool {
    text.as_bytes().windows(q.len()).any(|window| window.eq_ignore_ascii_case(q.as_bytes()))
}

/// What somebody should look at.
fn concerns(snapshot: &Snapshot) -> Vec<Concern> {
    let glance = &snapshot.glance;
    let farm = &glance.farm;
    let mut found = Vec::new();
    let mut add = |kind, text: String, builder: Option<String>, package: Option<String>| {
        found.push(Concern { kind, text, builder, package });
    };
    if !farm.blocked.as_str().is_empty() {
        add(ConcernKind::Blocked, farm.blocked.to_string(), None, None);
    }
    if farm.floor_bytes > 0 && farm.free_bytes < farm.floor_bytes.saturating_mul(FLOOR_TIMES) {
        let (free, floor) = (size(farm.free_bytes), size(farm.floor_bytes));
        let text = format!("{free} free for the hub's folders: below {floor} nothing is leased");
        add(ConcernKind::Disk, text, None, None);
    }
    for row in &glance.builders {
        let name = Some(row.name.to_string());
        match row.state {
            WireBuilder::Quarantined | WireBuilder::Troubled | WireBuilder::Unfit | WireBuilder::Unlisted => {
                let text = format!("{} is {}: {}", row.name, row.state, row.why);
                add(ConcernKind::Builder, text, name.clone(), None);
            }
            _ => {}
        }
        if !row.suspect.as_str().is_empty() {
            add(ConcernKind::Suspect, format!("{}: {}", row.name, row.suspect), name, None);
        }
    }
    for package in snapshot.packages() {
        let row = &package.row;
        let kind = match row.state {
            WireState::Review => ConcernKind::Review,
            WireState::Unusable => ConcernKind::Unusable,
            _ => continue,
        };
        add(kind, format!("{}: {}", row.srpm, row.why), None, Some(row.srpm.to_string()));
    }
    let deps = farm.packages[WireState::Deps as usize];
    if deps > 0 {
        let who = if deps == 1 { "1 package waits".to_owned() } else { format!("{deps} packages wait") };
        let text = format!("{who} for what is not there");
        add(ConcernKind::Deps, text, None, None);
    }
    found.truncate(CONCERNS_MAX);
    found
}
