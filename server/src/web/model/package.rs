//! Packages, their attempts, and what they wait for.

use moji_proto::message::{AttemptRow, CycleRow, LackRow, PackageRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::{PackageState, Phase, Verdict, When, Which, in_path, text};

/// One package.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Package {
    /// File name of its SRPM: what names it everywhere.
    pub srpm: String,
    /// `name-epoch:version-release` of its header (epoch left out if there is none).
    pub nevr: Option<String>,
    /// Where it is.
    pub state: PackageState,
    /// Why it is there.
    pub why: Option<String>,
    /// Since when.
    pub since: When,
    /// Length of the SRPM.
    pub size_bytes: Option<u64>,
    /// Its line in `priority.txt`, from 1.
    pub priority: Option<u32>,
    /// Attempts that count against the hub's `--attempts`.
    pub charged: u16,
    /// The live lease.
    pub lease: Option<String>,
    /// Host name of who builds it, or built it last.
    pub builder: Option<String>,
    /// Where its build is.
    pub phase: Option<Phase>,
    /// Since when it is there.
    pub phase_since: Option<When>,
    /// How long its build is expected to take in all, seconds.
    pub expected_s: Option<u32>,
    /// The last line of its live log.
    pub line: Option<String>,
    /// Where its last result is, relative to the repository: `NVR`, `NVR@2`.
    pub place: Option<String>,
}

impl Package {
    pub(crate) fn new(row: &PackageRow, since: When, phase_since: Option<When>) -> Package {
        Package {
            srpm: row.srpm.to_string(),
            nevr: text(&row.nevr),
            state: row.state.into(),
            why: text(&row.why),
            since,
            size_bytes: (row.size != 0).then_some(row.size),
            priority: (row.priority != 0).then_some(row.priority),
            charged: row.charged,
            lease: row.lease.map(|lease| lease.to_string()),
            builder: row.builder.as_ref().map(ToString::to_string),
            phase: row.phase.map(Into::into),
            phase_since: phase_since.filter(|_| row.phase.is_some()),
            expected_s: (row.expected_s != 0).then_some(row.expected_s),
            line: text(&row.line),
            place: text(&row.place),
        }
    }

    /// Its name as a part of a path.
    #[must_use]
    pub fn path_name(&self) -> String {
        in_path(&self.srpm)
    }
}

/// One package and all that is known of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PackageDetail {
    /// The package.
    pub package: Package,
    /// mock options that it gets.
    pub options: Vec<String>,
    /// Why it is where it is, a sentence each.
    pub why: Vec<String>,
    /// Its place in the order, and the reason for it.
    pub order: Vec<String>,
    /// Builders that are not at work and did not get it, and why.
    pub passed_over: Vec<String>,
    /// What happens next, or what an operator may do.
    pub next: Vec<String>,
    /// Capabilities that it waits for.
    pub lacks: Vec<Lack>,
    /// Packages that look as if they had to be built before it; at most 100.
    pub waits_for: Vec<Neighbour>,
    /// Packages that look as if they needed it; at most 100.
    pub waited_for_by: Vec<Neighbour>,
    /// Attempts to build it, oldest first.
    pub attempts: Vec<Attempt>,
}

/// A package that another one waits for, or that waits for another one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Neighbour {
    /// File name of its SRPM.
    pub srpm: String,
    /// Where it is.
    pub state: PackageState,
}

/// A capability that packages wait for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Lack {
    /// Its name, with a version if there is one, as a log has it.
    pub capability: String,
    /// Whether what is published provides it.
    pub there: bool,
    /// Whether one of several such would be enough.
    pub any: bool,
    /// Packages that wait for it.
    pub holds: u32,
    /// Those, and all that look as if they needed one of them, directly or not; null where only one package was asked
    /// about.
    pub holds_all: Option<u32>,
    /// Build time of the longest chain of packages behind it.
    pub chain_s: Option<u32>,
    /// The SRPM that looks as if it would provide it.
    pub from: Option<String>,
    /// Where that is.
    pub state: Option<PackageState>,
    /// Who would provide it, in words.
    pub text: Option<String>,
}

impl From<&LackRow> for Lack {
    fn from(row: &LackRow) -> Lack {
        Lack {
            capability: row.capability.to_string(),
            there: row.there,
            any: row.any,
            holds: row.holds,
            holds_all: (row.holds_all != 0).then_some(row.holds_all),
            chain_s: (row.chain_s != 0).then_some(row.chain_s),
            from: row.from.as_ref().map(ToString::to_string),
            state: row.state.map(Into::into),
            text: text(&row.text),
        }
    }
}

/// All that waits for capabilities.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Blocked {
    /// Packages that wait for capabilities.
    pub packages: u32,
    /// Those of them of which no log names what they lack.
    pub unnamed: u32,
    /// Capabilities that are missing; `lacks` may have fewer.
    pub capabilities: u32,
    /// Cycles there are; `cycles` may have fewer.
    pub cycle_count: u32,
    /// Capabilities that are missing, the longest chain first.
    pub lacks: Vec<Lack>,
    /// Packages that wait for each other.
    pub cycles: Vec<Cycle>,
}

/// Packages that wait for each other.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Cycle {
    /// How many; `members` may have fewer.
    pub member_count: u32,
    /// How many must come from elsewhere to break it.
    pub import_count: u32,
    /// Whether no fewer would do.
    pub exact: bool,
    /// Whether logs name all that they lack of each other; otherwise headers hint at it.
    pub sure: bool,
    /// They.
    pub members: Vec<String>,
    /// Those that would break it if they came from elsewhere.
    pub imports: Vec<String>,
}

impl From<&CycleRow> for Cycle {
    fn from(row: &CycleRow) -> Cycle {
        Cycle {
            member_count: row.members,
            import_count: row.imports,
            exact: row.exact,
            sure: row.sure,
            members: Vec::new(),
            imports: Vec::new(),
        }
    }
}

/// One attempt to build a package.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u16,
    /// The lease.
    pub lease: String,
    /// Host name of the builder.
    pub builder: Option<String>,
    /// When it began.
    pub began: Option<When>,
    /// When it ended.
    pub ended: Option<When>,
    /// From mock's start to its end.
    pub duration_s: Option<u32>,
    /// What the hub ruled; null while it runs, or if it ended without a ruling.
    pub verdict: Option<Verdict>,
    /// In words.
    pub reason: Option<String>,
    /// Whether it used up one of the package's attempts.
    pub charged: bool,
    /// The folder of its logs: `repo/NVR`, `attempts/LEASE`; null if none is kept.
    pub place: Option<String>,
    /// Lines of its logs that tell what went wrong, as `build.log: text`.
    pub evidence: Vec<String>,
    /// Who built with what.
    pub provenance: Vec<String>,
    /// Paths of its RPMs on this port.
    pub files: Vec<String>,
    /// Where its logs are read.
    pub logs: Vec<LogLink>,
}

/// Where a log is read.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogLink {
    /// Which log.
    pub which: Which,
    /// Path of its text on this port.
    pub path: String,
}

impl Attempt {
    pub(crate) fn new(srpm: &str, row: &AttemptRow) -> Attempt {
        let runs = row.ended_unix_s == 0;
        let log = |which: &Which| LogLink {
            which: *which,
            path: format!("/api/v1/packages/{}/log?which={which}&attempt={}", in_path(srpm), row.number),
        };
        let logs = if runs || !row.place.as_str().is_empty() { Which::ALL } else { &[] };
        Attempt {
            number: row.number,
            lease: row.lease.to_string(),
            builder: text(&row.builder),
            began: When::of_s(row.began_unix_s),
            ended: When::of_s(row.ended_unix_s),
            duration_s: (row.seconds != 0).then_some(row.seconds),
            verdict: row.verdict.map(Into::into),
            reason: text(&row.reason),
            charged: row.charged,
            place: text(&row.place),
            evidence: Vec::new(),
            provenance: Vec::new(),
            files: Vec::new(),
            logs: logs.iter().map(log).collect(),
        }
    }
}
