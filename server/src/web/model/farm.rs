//! The farm as a whole, its builders, and what happens.

use std::collections::BTreeMap;

use moji_proto::message::{BuilderRow, EventRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Backend, BuilderState, EventKind, Package, PackageState, Phase, Trouble, Try, Verdict, When, in_path,
    text,
};

/// The farm as a whole.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Overview {
    /// The hub's version of moji.
    pub version: String,
    /// When the hub started.
    pub started: When,
    /// Architecture of the repository; null while it is not known.
    pub target: Option<String>,
    /// Packages in each state.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub packages: BTreeMap<PackageState, u32>,
    /// All packages.
    pub total: u32,
    /// Those to which nothing more happens by itself.
    pub done: u32,
    /// When all that can be built is expected to be; null while nobody can tell.
    pub expected_end: Option<When>,
    /// Builders in each state.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub builders: BTreeMap<BuilderState, u32>,
    /// What is being built, the longest first; at most 1,000.
    pub building: Vec<Package>,
    /// What somebody should look at, the most urgent first; at most 100.
    pub concerns: Vec<Concern>,
    /// The newest ends of builds, newest first; at most 30.
    pub results: Vec<Event>,
    /// Why nothing is leased, or only little.
    pub blocked: Option<String>,
    /// Why idle builders get nothing.
    pub idle: Option<String>,
    /// Free space of the folders.
    pub free_bytes: u64,
    /// Below this nothing is leased.
    pub floor_bytes: u64,
    /// RPM files in the index.
    pub rpms: u32,
    /// Number of the last event: `/api/v1/events?after=` goes on from there.
    pub last_event: u64,
}

impl Overview {
    /// How much is done, in hundredths; 100 if there is nothing to do.
    #[must_use]
    pub fn percent(&self) -> u32 {
        if self.total == 0 {
            100
        } else {
            u32::try_from(u64::from(self.done) * 100 / u64::from(self.total)).unwrap_or(100)
        }
    }

    /// Packages in this state.
    #[must_use]
    pub fn count(&self, state: PackageState) -> u32 {
        self.packages.get(&state).copied().unwrap_or(0)
    }
}

/// What kind of thing somebody should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConcernKind {
    /// Nothing is leased, or only one package at a time.
    Blocked,
    /// The hub's disk is nearly full.
    Disk,
    /// A builder gets nothing, or was turned away.
    Builder,
    /// A builder fails what others build.
    Suspect,
    /// A package waits for an operator's decision.
    Review,
    /// A file in `source/` is no whole SRPM.
    Unusable,
    /// Packages wait for what is not there.
    Deps,
}

/// Something that somebody should look at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Concern {
    /// Of what kind.
    pub kind: ConcernKind,
    /// In words.
    pub text: String,
    /// The builder that it is about.
    pub builder: Option<String>,
    /// The package that it is about.
    pub package: Option<String>,
}

/// One builder.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Builder {
    /// Host name; of one that was turned away, its address.
    pub name: String,
    /// Its key.
    pub key: String,
    /// Where it called from last.
    pub peer: Option<String>,
    /// How it is.
    pub state: BuilderState,
    /// Why.
    pub why: Option<String>,
    /// When that ends by itself.
    pub until: Option<When>,
    /// Since when it is connected, or away.
    pub since: Option<When>,
    /// rpm architecture it builds for.
    pub arch: Option<String>,
    /// Its version of moji.
    pub version: Option<String>,
    /// Its mock configuration.
    pub cfg: Option<String>,
    /// What builds.
    pub backend: Backend,
    /// Processors.
    pub cpus: Option<u16>,
    /// Memory.
    pub memory_mib: Option<u32>,
    /// Available memory, as of its last word.
    pub memory_free_mib: Option<u32>,
    /// Free space where it builds, as of its last word.
    pub disk_free_mib: Option<u32>,
    /// One-minute load average, in hundredths.
    pub load_centi: Option<u32>,
    /// The hottest of its sensors, °C.
    pub celsius: Option<u8>,
    /// By how much its clock is ahead of the hub's, seconds; negative if it is behind.
    pub clock_off_s: i32,
    /// What keeps it from taking work, as it says itself.
    pub trouble: Option<Trouble>,
    /// What it builds.
    pub srpm: Option<String>,
    /// Where that is.
    pub phase: Option<Phase>,
    /// Builds in a row that ended by its own or the world's fault.
    pub faults: u16,
    /// Successes it has ever had here, as far as the history knows.
    pub built: u32,
    /// Failures.
    pub failed: u32,
    /// Which packages failed on it that others built; null if it does not stand out.
    pub suspect: Option<String>,
}

impl Builder {
    pub(crate) fn new(row: &BuilderRow, since: Option<When>, until: Option<When>) -> Builder {
        let health = &row.health;
        // One that is away since before the hub's start has told nothing.
        let known = |n: u32| (row.memory_mib != 0).then_some(n);
        // How it is comes with its first ping, some seconds after it.
        let told = |n: u32| (health.memory_free_mib != 0 || health.disk_free_mib != 0).then_some(n);
        Builder {
            name: row.name.to_string(),
            key: row.key.to_string(),
            peer: text(&row.peer),
            state: row.state.into(),
            why: text(&row.why),
            until,
            since,
            arch: text(&row.arch),
            version: text(&row.version),
            cfg: text(&row.cfg),
            backend: row.backend.into(),
            cpus: (row.cpus != 0).then_some(row.cpus),
            memory_mib: known(row.memory_mib),
            memory_free_mib: told(health.memory_free_mib),
            disk_free_mib: told(health.disk_free_mib),
            load_centi: told(health.load_centi),
            celsius: health.celsius,
            clock_off_s: health.clock_off_s,
            trouble: health.trouble.map(Into::into),
            srpm: row.srpm.as_ref().map(ToString::to_string),
            phase: row.phase.map(Into::into),
            faults: row.faults,
            built: row.built,
            failed: row.failed,
            suspect: text(&row.suspect),
        }
    }

    /// Its name as a part of a path.
    #[must_use]
    pub fn path_name(&self) -> String {
        in_path(&self.name)
    }
}

/// One builder and what it did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BuilderDetail {
    /// The builder.
    pub builder: Builder,
    /// Its newest attempts, newest first; at most 50.
    pub attempts: Vec<Try>,
}

/// What happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Events {
    /// Oldest first.
    pub rows: Vec<Event>,
    /// The last event that was looked at: `after` of the next question.
    pub last: u64,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Event {
    /// Its number: grows, also over restarts of the hub.
    pub seq: u64,
    /// When.
    pub time: When,
    /// What.
    pub kind: EventKind,
    /// The package's SRPM.
    pub srpm: Option<String>,
    /// The lease.
    pub lease: Option<String>,
    /// Host name of the builder.
    pub builder: Option<String>,
    /// The verdict.
    pub verdict: Option<Verdict>,
    /// The phase.
    pub phase: Option<Phase>,
    /// The state that the package is in from then on.
    pub state: Option<PackageState>,
    /// Which operator: `user@host (address)`.
    pub who: Option<String>,
    /// In words.
    pub text: Option<String>,
}

impl From<&EventRow> for Event {
    fn from(row: &EventRow) -> Event {
        Event {
            seq: row.seq,
            time: When(row.unix_ms),
            kind: row.kind.into(),
            srpm: row.srpm.as_ref().map(ToString::to_string),
            lease: row.lease.map(|lease| lease.to_string()),
            builder: row.builder.as_ref().map(ToString::to_string),
            verdict: row.verdict.map(Into::into),
            phase: row.phase.map(Into::into),
            state: row.state.map(Into::into),
            who: text(&row.who),
            text: text(&row.text),
        }
    }
}
