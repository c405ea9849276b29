//! What the order is worth: a whole distribution built from nothing, in virtual time, by the real queue and by simple
//! schedulers that know less.
//!
//! Owns the comparison and its table. The queue is driven through its messages; leases, boards, repository and dnf are
//! played by `schedule/farm.rs`, the same for all: no network, no disk, no thread in it.
//!
//! | file | owns |
//! |---|---|
//! | `schedule/plan.rs` | what is to be built on what, and the time that no order can beat |
//! | `schedule/farm.rs` | virtual time: boards that build, fail and vanish |
//! | `schedule/moji.rs` | the real queue as a scheduler |
//! | `schedule/simple.rs` | the others |
//! | `schedule/cost.rs` | how long the real queue takes for a message |

pub mod cost;
mod farm;
mod moji;
mod plan;
mod simple;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use self::farm::Farm;
use self::moji::{Knows, Moji};
use self::plan::Plan;
use self::simple::{Once, Rounds};

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Source packages.
    pub packages: usize,
    /// Boards, a third each slow, middling and fast.
    pub boards: usize,
    /// The first run's seed; each further one has the next.
    pub seed: u64,
    /// Runs, each with another plan.
    pub runs: usize,
    /// Threads.
    pub threads: usize,
}

/// A scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// moji, with build times of an earlier round.
    Times,
    /// moji, with headers and sizes only.
    Headers,
    /// The same, told of mainline.
    Mainline,
    /// First come first served; what misses something is tried again when anything is published.
    Fifo,
    /// The same in random order.
    Random,
    /// All that is not built yet is tried in each round (`mock --chain --recurse`).
    Rounds,
}

impl Who {
    /// All, in the order of the table.
    pub const ALL: [Who; 6] = [Who::Times, Who::Headers, Who::Mainline, Who::Fifo, Who::Random, Who::Rounds];

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Who::Times => "moji, times learned",
            Who::Headers => "moji, no times",
            Who::Mainline => "moji, no times, --mainline",
            Who::Fifo => "first come, first served",
            Who::Random => "random order",
            Who::Rounds => "everything in each round",
        }
    }
}

/// What a scheduler came to in one run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Hours until all that can be built is built.
    pub hours: f64,
    /// That over what no order can beat.
    pub ratio: f64,
    /// Builds that a scheduler who knows everything would not have begun.
    pub wasted: usize,
}

/// What all came to.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What was simulated.
    pub setup: Setup,
    /// Hours that no order can beat, of each run.
    pub bounds_h: Vec<f64>,
    /// Of each scheduler, of each run.
    pub outcomes: Vec<(Who, Vec<Outcome>)>,
}

impl Comparison {
    /// Medians of what it came to.
    ///
    /// # Panics
    /// If there was no run.
    #[must_use]
    pub fn median(&self, who: Who) -> Outcome {
        let (_, runs) = self.outcomes.iter().find(|(one, _)| *one == who).expect("all take part");
        let of = |value: fn(&Outcome) -> f64| median(runs.iter().map(value));
        let wasted = of(|run| run.wasted as f64) as usize;
        Outcome { hours: of(|run| run.hours), ratio: of(|run| run.ratio), wasted }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = median(self.bounds_h.iter().copied());
        writeln!(f, "no order is faster than {bound:.1} h")?;
        writeln!(
            f,
            "{:<28} {:>10} {:>15} {:>14}",
            "scheduler", "makespan h", "over the bound", "wasted builds"
        )?;
        for who in Who::ALL {
            let Outcome { hours, ratio, wasted } = self.median(who);
            writeln!(f, "{:<28} {hours:>10.1} {ratio:>15.3} {wasted:>14}", who.name())?;
        }
        write!(f, "medians of {} runs from seed {}", self.setup.runs, self.setup.seed)
    }
}

/// Lets all schedulers build the same distributions on the same boards.
///
/// # Panics
/// If a scheduler stops although something can be built: that is what it is for.
#[must_use]
pub fn compare(setup: Setup) -> Comparison {
    let plans: Vec<Plan> = (0..setup.runs as u64)
        .map(|run| Plan::draw(setup.seed + run, setup.packages, setup.boards))
        .collect();
    let jobs: Vec<(Who, &Plan)> =
        Who::ALL.into_iter().flat_map(|who| plans.iter().map(move |plan| (who, plan))).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(vec![None; jobs.len()]));
    std::thread::scope(|scope| {
        for _ in 0..setup.threads.max(1) {
            scope.spawn(|| {
                while let Some((who, plan)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let outcome = run(who, plan);
                    let at = jobs.iter().position(|(w, p)| *w == who && std::ptr::eq(*p, plan));
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done[at.expect("it is a job")] = Some(outcome);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut done = done.into_iter().map(|outcome| outcome.expect("all have run"));
    let outcomes = Who::ALL.map(|who| (who, done.by_ref().take(plans.len()).collect()));
    let bounds_h = plans.iter().map(|plan| plan.bound_s() / 3_600.0).collect();
    Comparison { setup, bounds_h, outcomes: outcomes.into() }
}

fn run(who: Who, plan: &Plan) -> Outcome {
    let mut farm = Farm::new(plan);
    let end_ms = match who {
        Who::Times => farm.build_all(&mut Moji::new(plan, Knows::Times)),
        Who::Headers => farm.build_all(&mut Moji::new(plan, Knows::Headers)),
        Who::Mainline => farm.build_all(&mut Moji::new(plan, Knows::Mainline)),
        Who::Fifo => farm.build_all(&mut Once::in_order(plan)),
        Who::Random => farm.build_all(&mut Once::at_random(plan)),
        Who::Rounds => farm.build_all(&mut Rounds::new(plan)),
    };
    let hours = end_ms as f64 / 3_600_000.0;
    Outcome { hours, ratio: hours * 3_600.0 / plan.bound_s(), wasted: farm.wasted() }
}

/// The middle one; of two the larger.
fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = of.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
