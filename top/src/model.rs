//! What is known of the farm, and what of it comes first.
//!
//! Owns the last answer that was whole and the newest results. Has no I/O and no clock: the time is handed in. Keeps
//! texts as they came: `screen` makes them safe.

use std::collections::VecDeque;

use moji_client::operator::print::{self, Paint};
use moji_proto::FileName;
use moji_proto::message::{BuilderRow, BuilderState, EventKind, EventRow, FarmRow, PackageRow, PackageState};

/// Results that are kept: more than anybody scrolls through.
pub const RESULTS_MAX: usize = 500;
/// Free space below this many floors is near the floor.
const NEAR_FLOORS: u64 = 2;
/// A clock that is off by more than this is worth a word, seconds.
const CLOCK_OFF_S: u64 = 120;

/// All states, in the order of the bar: what is done, what goes on, what waits, what is wrong, what does not count.
pub const BAR: [PackageState; 11] = [
    PackageState::Success,
    PackageState::Review,
    PackageState::Building,
    PackageState::Waiting,
    PackageState::Deps,
    PackageState::Failed,
    PackageState::Unusable,
    PackageState::Duplicate,
    PackageState::Excluded,
    PackageState::Cancelled,
    PackageState::Finished,
];

/// An answer to `Status`.
#[derive(Clone, Debug)]
pub struct Farm {
    /// The farm as a whole.
    pub row: FarmRow,
    /// What is built.
    pub builds: Vec<PackageRow>,
    /// Builders that need attention.
    pub builders: Vec<BuilderRow>,
}

impl Farm {
    /// Packages in a state.
    #[must_use]
    pub fn count(&self, state: PackageState) -> u32 {
        // The array is in the order of `ALL`, which is that of the variants.
        self.row.packages[state as usize]
    }

    /// All packages.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.row.packages.iter().map(|n| u64::from(*n)).sum()
    }

    /// How many are built, of how many that should be: those that nobody wants here do not count.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        use PackageState as S;
        let not_wanted = [S::Duplicate, S::Excluded, S::Cancelled, S::Finished];
        let wanted = PackageState::ALL.into_iter().filter(|state| !not_wanted.contains(state));
        (self.count(S::Success).into(), wanted.map(|state| u64::from(self.count(state))).sum())
    }
}

/// Something that somebody should know first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it is about: a builder, or a word.
    pub what: String,
    /// In a word.
    pub state: String,
    /// In words.
    pub text: String,
    /// How bad it is.
    pub paint: Paint,
}

impl Trouble {
    fn new(what: &str, paint: Paint, text: String) -> Trouble {
        Trouble { what: what.to_owned(), state: String::new(), text, paint }
    }
}

/// Whether the hub is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hub {
    /// It answers.
    #[default]
    There,
    /// It is away, and is tried again.
    Away {
        /// Since when, unix seconds here.
        since_unix_s: u64,
        /// Why.
        why: String,
    },
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// `HOST:PORT`.
    pub address: String,
    /// Whether it is there.
    pub hub: Hub,
    /// The last answer that was whole; none before the first.
    pub farm: Option<Farm>,
    /// Ends of leases, the newest first.
    pub results: VecDeque<EventRow>,
}

impl Model {
    /// Of a hub that has said nothing yet.
    #[must_use]
    pub fn new(address: String) -> Model {
        Model { address, ..Model::default() }
    }

    /// The farm as it is now.
    pub fn farm_is(&mut self, farm: Farm) {
        self.hub = Hub::There;
        self.farm = Some(farm);
    }

    /// The hub is away.
    pub fn is_away(&mut self, now_unix_s: u64, why: String) {
        let since_unix_s = match self.hub {
            Hub::There => now_unix_s,
            Hub::Away { since_unix_s, .. } => since_unix_s,
        };
        self.hub = Hub::Away { since_unix_s, why };
    }

    /// Something happened. Only ends of leases are kept, each once.
    pub fn event(&mut self, event: EventRow) {
        let is_new = self.results.front().is_none_or(|last| last.seq < event.seq);
        if event.kind == EventKind::Ended && is_new {
            self.results.push_front(event);
            self.results.truncate(RESULTS_MAX);
        }
    }

    /// Builds that the filter lets through, the one that runs longest first.
    #[must_use]
    pub fn builds(&self, filter: &str) -> Vec<&PackageRow> {
        let builds = self.farm.iter().flat_map(|farm| &farm.builds);
        let mut builds: Vec<&PackageRow> = builds.filter(|row| is_fit(filter, &row.srpm)).collect();
        builds.sort_by(|a, b| b.age_s.cmp(&a.age_s).then_with(|| a.srpm.cmp(&b.srpm)));
        builds
    }

    /// Results that the filter lets through, the newest first.
    #[must_use]
    pub fn results(&self, filter: &str) -> Vec<&EventRow> {
        let is_fit = |row: &&EventRow| row.srpm.as_ref().is_some_and(|srpm| is_fit(filter, srpm));
        self.results.iter().filter(is_fit).collect()
    }

    /// What is wrong, the worst first.
    #[must_use]
    pub fn trouble(&self, now_unix_s: u64) -> Vec<Trouble> {
        let Some(farm) = &self.farm else { return Vec::new() };
        let mut all = Vec::new();
        if !farm.row.blocked.as_str().is_empty() {
            all.push(Trouble::new("blocked", Paint::Red, farm.row.blocked.to_string()));
        }
        all.extend(space(&farm.row));
        let mut builders: Vec<Trouble> = farm.builders.iter().filter_map(builder).collect();
        builders.sort_by_key(|one| one.paint != Paint::Red);
        all.extend(builders);
        all.extend(packages(farm));
        let off = farm.row.unix_s.abs_diff(now_unix_s);
        if off > CLOCK_OFF_S && self.hub == Hub::There {
            let how = if farm.row.unix_s > now_unix_s { "ahead of" } else { "behind" };
            let text = format!("the hub's is {} {how} this machine's", print::duration(off));
            all.push(Trouble::new("clock", Paint::Yellow, text));
        }
        if !farm.row.idle.as_str().is_empty() && farm.count(PackageState::Waiting) > 0 {
            all.push(Trouble::new("idle", Paint::Plain, farm.row.idle.to_string()));
        }
        all
    }
}

/// Whether a package's name has the filter's letters in it, large or small.
#[must_use]
pub fn is_fit(filter: &str, srpm: &FileName) -> bool {
    filter.is_empty() || srpm.as_str().to_lowercase().contains(&filter.to_lowercase())
}

fn space(farm: &FarmRow) -> Option<Trouble> {
    let text = || {
        let (free, floor) = (print::size(farm.free_bytes), print::size(farm.floor_bytes));
        format!("{free} free, nothing is leased below {floor}")
    };
    if farm.free_bytes < farm.floor_bytes {
        Some(Trouble::new("space", Paint::Red, text()))
    } else if farm.free_bytes < farm.floor_bytes.saturating_mul(NEAR_FLOORS) {
        Some(Trouble::new("space", Paint::Yellow, text()))
    } else {
        None
    }
}

/// Who was told to drain is no trouble.
fn builder(row: &BuilderRow) -> Option<Trouble> {
    let text = match row.state {
        BuilderState::Draining | BuilderState::Drained => return None,
        BuilderState::Quarantined if row.until_s > 0 => {
            format!("{}, ends in {}", print::builder_why(row), print::duration(row.until_s.into()))
        }
        BuilderState::Away => {
            let why = print::builder_why(row);
            let since = format!("for {}", print::duration(row.age_s.into()));
            if why.is_empty() { since } else { format!("{since}, {why}") }
        }
        _ => print::builder_why(row),
    };
    let paint = match row.state {
        // It stands out by what failed on it.
        BuilderState::Idle | BuilderState::Busy => Paint::Yellow,
        state => print::builder_paint(state),
    };
    let state = row.state.as_str().to_owned();
    Some(Trouble { what: row.name.to_string(), state, text, paint })
}

fn packages(farm: &Farm) -> impl Iterator<Item = Trouble> {
    use PackageState as S;
    let kinds = [
        (S::Review, Paint::Yellow, "built, and wait for moji accept or moji refuse"),
        (S::Unusable, Paint::Red, "no whole source RPMs"),
        (S::Duplicate, Paint::Yellow, "there twice"),
        (
            S::Deps,
            Paint::Yellow,
            "held: what they need is not published (p lists them, moji blocked says what)",
        ),
    ];
    kinds.into_iter().filter_map(|(state, paint, text)| {
        let count = farm.count(state);
        let word = if count == 1 { "package" } else { "packages" };
        (count > 0).then(|| Trouble::new(state.as_str(), paint, format!("{count} {word} {text}")))
    })
}
