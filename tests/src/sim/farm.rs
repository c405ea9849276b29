//! A model of a farm: so many boards and packages, no faults, the real cores, virtual time.
//!
//! Owns the farm's plan and the figures that it comes to, so that two ways of choosing the next package can
//! be compared over the same plan. Whoever wants another farm changes the plan, not the simulator.

use std::collections::BTreeMap;
use std::fmt;

use super::dice::Dice;
use super::{Build, Failure, Nature, Options, Package, Ran, Stats};

/// Half of the packages build faster than this on a board of speed 100 %, milliseconds: some minutes, as
/// on small boards.
const BUILD_MEDIAN_MS: f64 = 420_000.0;
/// Standard deviation of the logarithm of build times: one package in six takes three times the median, and
/// one in a thousand thirty times.
const BUILD_SIGMA: f64 = 1.1;
/// Shortest build, milliseconds: mock's chroot alone takes this long.
const BUILD_MIN_MS: u64 = 20_000;
/// Slowest and fastest board, per cent.
const SPEED_PERCENT: (u64, u64) = (40, 200);
/// Memory of boards, MiB.
const BOARD_MIB: [u32; 4] = [128, 512, 512, 1024];
/// A package that needs more memory than the smaller boards have, MiB.
const LARGE_MIB: u32 = 600;

/// One board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Memory, MiB.
    pub memory_mib: u32,
    /// Speed, per cent.
    pub speed_percent: u32,
}

/// One package; all wait at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// What it is like.
    pub nature: Nature,
    /// How long it builds on a board of speed 100 %, milliseconds.
    pub build_ms: u64,
}

/// A farm.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of what little chance there is: latency, when boards start.
    pub seed: u64,
    /// Boards.
    pub boards: Vec<Board>,
    /// Packages.
    pub packages: Vec<Work>,
    /// Stops after so many milliseconds of virtual time; None runs until everything is done.
    pub stop_ms: Option<u64>,
}

impl Plan {
    /// Draws a farm: log-normal build times, boards of different speed and memory, a few packages that
    /// fail or need much memory.
    #[must_use]
    pub fn draw(seed: u64, boards: usize, packages: usize) -> Plan {
        let mut dice = Dice::new(seed);
        let mut boards: Vec<Board> = (0..boards)
            .map(|_| Board {
                memory_mib: *dice.pick(&BOARD_MIB),
                speed_percent: dice.within(SPEED_PERCENT.0, SPEED_PERCENT.1) as u32,
            })
            .collect();
        if let Some(first) = boards.first_mut() {
            // Whatever the rest is like, everything can be built.
            first.memory_mib = first.memory_mib.max(2 * LARGE_MIB);
        }
        let work = |_| Work {
            nature: match dice.below(100) {
                0..=4 => Nature::Failing,
                5 => Nature::Large(LARGE_MIB),
                _ => Nature::Good,
            },
            build_ms: (dice.log_normal(BUILD_MEDIAN_MS, BUILD_SIGMA) as u64).max(BUILD_MIN_MS),
        };
        Plan { seed, packages: (0..packages).map(work).collect(), boards, stop_ms: None }
    }

    fn options(&self) -> Options {
        let package = |work: &Work| Package {
            nature: work.nature,
            payload_bytes: 1_000,
            log_bytes: 1_000,
            dropped_ms: 0,
            build_ms: work.build_ms,
        };
        Options {
            packages: self.packages.iter().map(package).collect(),
            boards: self.boards.iter().map(|board| board.memory_mib).collect(),
            speeds: self.boards.iter().map(|board| board.speed_percent).collect(),
            stop_ms: self.stop_ms.unwrap_or(0),
            no_index: true,
            ..Options::quiet(self.seed)
        }
    }
}

/// What a farm came to.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Virtual time that was simulated, milliseconds.
    pub virtual_ms: u64,
    /// When the last build ended, milliseconds.
    pub last_build_ms: u64,
    /// Packages by their last verdict; those without one are not in it.
    pub verdicts: BTreeMap<&'static str, usize>,
    /// Packages.
    pub packages: usize,
    /// Builds that ended.
    pub builds: usize,
    /// Time that each board spent building until the last build ended, milliseconds.
    pub busy_ms: Vec<u64>,
    /// Times between two builds of a board, the shortest first, milliseconds.
    pub idle_ms: Vec<u64>,
    /// All builds, by their beginning.
    pub all: Vec<Build>,
    /// What the simulator counted.
    pub stats: Stats,
}

impl Figures {
    fn of(plan: &Plan, ran: Ran) -> Figures {
        let Ran { stats, builds, verdicts } = ran;
        let last_build_ms = builds.iter().filter_map(|build| build.ended_ms).max().unwrap_or(0);
        let mut busy_ms = vec![0; plan.boards.len()];
        let mut free_since: Vec<Option<u64>> = vec![None; plan.boards.len()];
        let mut idle_ms = Vec::new();
        for build in &builds {
            let ended_ms = build.ended_ms.unwrap_or(stats.virtual_ms);
            busy_ms[build.board] += ended_ms.min(last_build_ms).saturating_sub(build.began_ms);
            if let Some(free) = free_since[build.board].replace(ended_ms) {
                idle_ms.push(build.began_ms.saturating_sub(free));
            }
        }
        idle_ms.sort_unstable();
        let mut counts = BTreeMap::new();
        for verdict in verdicts.values() {
            *counts.entry(verdict.as_str()).or_default() += 1;
        }
        Figures {
            virtual_ms: stats.virtual_ms,
            last_build_ms,
            verdicts: counts,
            packages: plan.packages.len(),
            builds: builds.iter().filter(|build| build.ended_ms.is_some()).count(),
            busy_ms,
            idle_ms,
            all: builds,
            stats,
        }
    }

    /// Share of the time until the last build ended that each board spent building, the least first.
    #[must_use]
    pub fn utilisation(&self) -> Vec<f64> {
        let total = self.last_build_ms.max(1) as f64;
        let mut all: Vec<f64> = self.busy_ms.iter().map(|busy| *busy as f64 / total).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// Mean time between two builds of a board, milliseconds.
    #[must_use]
    pub fn idle_mean_ms(&self) -> f64 {
        self.idle_ms.iter().sum::<u64>() as f64 / self.idle_ms.len().max(1) as f64
    }

    /// Time between two builds of a board which this share of them does not exceed, milliseconds.
    #[must_use]
    pub fn idle_quantile_ms(&self, share: f64) -> u64 {
        let last = self.idle_ms.len().saturating_sub(1);
        self.idle_ms.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = |ms: u64| ms as f64 / 3_600_000.0;
        let judged: usize = self.verdicts.values().sum();
        writeln!(f, "  simulated             {:>9.2} h", hours(self.virtual_ms))?;
        writeln!(f, "  last build ended at   {:>9.2} h", hours(self.last_build_ms))?;
        writeln!(f, "  packages              {:>9}", self.packages)?;
        for (verdict, count) in &self.verdicts {
            writeln!(f, "    {verdict:<19} {count:>9}")?;
        }
        writeln!(f, "    without a verdict   {:>9}", self.packages - judged)?;
        writeln!(f, "  builds                {:>9}", self.builds)?;
        let shares = self.utilisation();
        let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        let (least, most) = (shares.first().unwrap_or(&0.0), shares.last().unwrap_or(&0.0));
        writeln!(f, "  boards building, mean {:>9.2} %", 100.0 * mean)?;
        writeln!(f, "    least, most         {:>9.2} % {:.2} %", 100.0 * least, 100.0 * most)?;
        writeln!(f, "  idle between builds   {:>9.2} s mean", self.idle_mean_ms() / 1_000.0)?;
        let (p95, most) = (self.idle_quantile_ms(0.95), self.idle_quantile_ms(1.0));
        write!(f, "    95 %, most          {:>9.2} s {:.2} s", p95 as f64 / 1e3, most as f64 / 1e3)
    }
}

/// Runs a farm.
///
/// # Errors
/// What is wrong; a broken invariant of a core too.
pub fn run(plan: &Plan) -> Result<Figures, Failure> {
    super::ran(plan.options(), None, false).map(|ran| Figures::of(plan, ran))
}
