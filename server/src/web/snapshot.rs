//! The farm as it was at most a second ago, taken once for all who look.
//!
//! Owns when the desk is asked for a glance: when somebody looks and the last one is older than a second, and never
//! otherwise. So hundreds of open pages cost the queue one view a second, and none costs nothing. Rows are made from it
//! as they are shown; nobody copies all packages.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use moji_proto::Time;
use moji_proto::message::{BuilderRow, PackageState};
use tokio::sync::Mutex;

use super::desk::Desk;
use super::model::{Builder, Neighbour, Package, When};
use super::problem::Problem;
use crate::core::desk::{Glance, Miss, builder_named, package_named};
use crate::core::view::PackageView;

/// How long a snapshot serves: a person sees no difference.
const FRESH: Duration = Duration::from_secs(1);
/// How long the hub may take for one before whoever asked is told so.
const PATIENCE: Duration = Duration::from_secs(20);
/// By how much the wall clock may seem to move beside the hub's own before it is believed, milliseconds: below this it
/// is rounding, and times that are shown must not flicker.
const STEADY_MS: u64 = 2_000;

/// Takes snapshots; clones share them.
#[derive(Clone)]
pub(crate) struct Snapshots {
    desk: Desk,
    /// How long one serves.
    fresh: Duration,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    last: Option<(Instant, Arc<Snapshot>)>,
    taken: u64,
}

impl Snapshots {
    pub(super) fn new(desk: Desk) -> Snapshots {
        Snapshots { desk, fresh: FRESH, held: Arc::default() }
    }

    /// The farm as it was at most a second ago.
    pub(crate) async fn now(&self) -> Result<Arc<Snapshot>, Problem> {
        // Whoever comes while one is being taken waits here and gets the same.
        let mut held = self.held.lock().await;
        if let Some((at, snapshot)) = &held.last
            && at.elapsed() < self.fresh
        {
            return Ok(Arc::clone(snapshot));
        }
        let at = Instant::now();
        let glance = tokio::time::timeout(PATIENCE, self.desk.glance()).await;
        let glance = glance.map_err(|_| Problem::later("the hub is too busy to answer: try again later"))?;
        let glance = glance.ok_or_else(|| Problem::later("the hub is stopping"))?;
        held.taken += 1;
        let before = held.last.as_ref().map(|(_, snapshot)| &**snapshot);
        let snapshot = Arc::new(Snapshot::new(glance, before, held.taken));
        held.last = Some((at, Arc::clone(&snapshot)));
        Ok(snapshot)
    }
}

/// In which order packages are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sort {
    /// By file name.
    Name,
    /// By state, then by file name.
    State,
    /// What changed last comes first.
    Newest,
    /// What changed first comes first.
    Oldest,
    /// The largest SRPM first.
    Size,
}

const SORTS: usize = 5;

/// The farm at one moment.
pub(crate) struct Snapshot {
    pub(crate) glance: Arc<Glance>,
    /// Grows whenever something is not as it was in the one before.
    pub(crate) change: u64,
    /// How many were taken since the hub began, it among them.
    pub(crate) taken: u64,
    /// What the hub's own clock showed as 0, unix milliseconds.
    epoch_ms: u64,
    /// When all is built that can be built, unix milliseconds.
    end_ms: Option<u64>,
    /// Since when builders are as they are, and until when, unix milliseconds; in their order.
    builders: Vec<(Option<u64>, Option<u64>)>,
    orders: [OnceLock<Vec<u32>>; SORTS],
}

impl Snapshot {
    fn new(glance: Arc<Glance>, before: Option<&Snapshot>, taken: u64) -> Snapshot {
        let epoch_ms = glance.unix_ms.saturating_sub(glance.now.0);
        let epoch_ms = steady(before.map(|before| before.epoch_ms), epoch_ms);
        let known: BTreeMap<_, _> = before.into_iter().flat_map(Snapshot::known_builders).collect();
        let times = glance.builders.iter().map(|row| {
            let (since, until) = known.get(&row.key).copied().unwrap_or_default();
            let ago = (row.age_s != 0).then(|| glance.unix_ms.saturating_sub(u64::from(row.age_s) * 1_000));
            let ahead = (row.until_s != 0).then(|| glance.unix_ms + u64::from(row.until_s) * 1_000);
            (ago.map(|ago| steady(since, ago)), ahead.map(|ahead| steady(until, ahead)))
        });
        let builders = times.collect();
        let left_s = glance.farm.ends_in_s;
        let end = (left_s != 0).then(|| glance.unix_ms + u64::from(left_s) * 1_000);
        let end_ms = end.map(|end| steady(before.and_then(|before| before.end_ms), end));
        let change = match before {
            None => 1,
            Some(before) => before.change + u64::from(!is_same(&before.glance, &glance)),
        };
        Snapshot { glance, change, taken, epoch_ms, end_ms, builders, orders: Default::default() }
    }

    fn known_builders(&self) -> impl Iterator<Item = (moji_proto::PublicKey, (Option<u64>, Option<u64>))> {
        self.glance.builders.iter().map(|row| row.key).zip(self.builders.iter().copied())
    }

    /// The wall clock when it was taken.
    pub(crate) fn taken_at(&self) -> When {
        When(self.glance.unix_ms)
    }

    /// The wall clock at a time of the hub's own.
    pub(crate) fn when(&self, time: Time) -> When {
        When(self.epoch_ms + time.0)
    }

    /// When all is built that can be built; None while nobody can tell.
    pub(crate) fn expected_end(&self) -> Option<When> {
        self.end_ms.map(When)
    }

    /// All packages, by file name.
    pub(crate) fn packages(&self) -> &[PackageView] {
        &self.glance.view.packages
    }

    /// The package that a name means, as `moji` has it.
    pub(crate) fn find_package(&self, name: &str) -> Result<&PackageView, Miss> {
        package_named(&self.glance.view, name)
    }

    /// A package as it is shown.
    pub(crate) fn package(&self, view: &PackageView) -> Package {
        let (since, before_s) = view.since;
        let since = When((self.epoch_ms + since.0).saturating_sub(before_s.saturating_mul(1_000)));
        let building = &self.glance.building;
        let build = (view.row.state == PackageState::Building)
            .then(|| building.binary_search_by(|build| build.row.srpm.cmp(&view.row.srpm)).ok())
            .flatten();
        match build {
            Some(at) => {
                let phase_since = building[at].phase_since.map(|time| self.when(time));
                Package::new(&building[at].row, since, phase_since)
            }
            None => Package::new(&view.row, since, None),
        }
    }

    /// What is shown of a package beside another one; None if it has gone meanwhile.
    pub(crate) fn neighbour(&self, srpm: &str) -> Option<Neighbour> {
        let at = self.packages().binary_search_by(|package| package.row.srpm.as_str().cmp(srpm)).ok()?;
        Some(Neighbour { srpm: srpm.to_owned(), state: self.packages()[at].row.state.into() })
    }

    /// What is being built, the longest first.
    pub(crate) fn building(&self) -> Vec<Package> {
        let at_work = self.packages().iter().filter(|package| package.row.state == PackageState::Building);
        let mut found: Vec<Package> = at_work.map(|view| self.package(view)).collect();
        found.sort_by(|a, b| (a.since, &a.srpm).cmp(&(b.since, &b.srpm)));
        found
    }

    /// All builders, by name, those that were turned away last.
    pub(crate) fn builders(&self) -> impl Iterator<Item = Builder> {
        (0..self.glance.builders.len()).map(|at| self.builder_at(at))
    }

    fn builder_at(&self, at: usize) -> Builder {
        let (since, until) = self.builders[at];
        Builder::new(&self.glance.builders[at], since.map(When), until.map(When))
    }

    /// The builder that a name or a key means, and its row.
    pub(crate) fn builder(&self, name: &str) -> Result<(&BuilderRow, Builder), Miss> {
        let row = builder_named(&self.glance.builders, name)?;
        let at = self.glance.builders.iter().position(|one| std::ptr::eq(one, row));
        Ok((row, self.builder_at(at.expect("it is one of them"))))
    }

    /// Packages in this order, as places in [`Snapshot::packages`]; worked out once.
    pub(crate) fn sorted(&self, sort: Sort) -> &[u32] {
        self.orders[sort as usize].get_or_init(|| {
            let all = self.packages();
            let end = u32::try_from(all.len()).unwrap_or(u32::MAX);
            let range: Range<u32> = 0..end;
            let mut order: Vec<u32> = range.collect();
            let since = |at: &u32| {
                let (since, before_s) = all[*at as usize].since;
                i128::from(since.0) - i128::from(before_s) * 1_000
            };
            // They are in the order of their names, and equal ones stay so.
            match sort {
                Sort::Name => {}
                Sort::State => order.sort_by_key(|at| all[*at as usize].row.state),
                Sort::Newest => order.sort_by_key(|at| std::cmp::Reverse(since(at))),
                Sort::Oldest => order.sort_by_key(since),
                Sort::Size => order.sort_by_key(|at| std::cmp::Reverse(all[*at as usize].row.size)),
            }
            order
        })
    }
}

/// The value before, unless the new one is too far from it for rounding.
fn steady(before: Option<u64>, new: u64) -> u64 {
    before.filter(|before| before.abs_diff(new) <= STEADY_MS).unwrap_or(new)
}

/// Whether nothing but the time is another.
fn is_same(a: &Glance, b: &Glance) -> bool {
    let farm = |glance: &Glance| moji_proto::message::FarmRow {
        unix_s: 0,
        up_s: 0,
        ends_in_s: 0,
        ..glance.farm.clone()
    };
    let building = |glance: &Glance| {
        let rows = glance.building.iter().map(|build| {
            let mut row = build.row.clone();
            (row.age_s, row.phase_age_s) = (0, 0);
            row
        });
        rows.collect::<Vec<_>>()
    };
    let builders = |glance: &Glance| {
        let rows = glance.builders.iter().map(|row| BuilderRow { age_s: 0, until_s: 0, ..row.clone() });
        rows.collect::<Vec<_>>()
    };
    // Whatever becomes another package's state is an event.
    a.last_seq == b.last_seq && farm(a) == farm(b) && building(a) == building(b) && builders(a) == builders(b)
}

#[cfg(test)]
mod tests;
