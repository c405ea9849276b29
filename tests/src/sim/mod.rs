//! A simulated farm: the real cores of hub and client over a simulated network, clock and disk.
//!
//! Owns the simulated world and what must hold in it. It runs the hub's cores (leases with its store and
//! journal, queue, transfers with its worker, repo with its indexes, intake), recovery, the hub's sessions
//! and the client's core as the daemons have them; what it replaces are threads, sockets, mock,
//! inotify and SQLite. Everything a run does follows from its seed: no thread, no real
//! time, no unordered map. (The channels' ephemeral keys are random; nothing depends on their bytes.)
//!
//! | file | owns |
//! |---|---|
//! | `options.rs` | what a seed draws |
//! | `world.rs` | time, events, faults, the two phases |
//! | `hub.rs`, `hub/` | the shells of the hub's cores, its start, watch and reactor |
//! | `board.rs` | a board: state folder, mock, socket |
//! | `disk.rs`, `disk/` | the hub's disk with a volatile and a durable view |
//! | `pipe.rs` | one direction of a connection |
//! | `check.rs` | what must hold after every step |
//! | `planted.rs` | bugs that must be found |
//! | `farm.rs` | a farm without faults, and its figures |
//! | `schedule.rs`, `schedule/` | the queue alone on thousands of packages, beside simpler schedulers |
//! | `rpm.rs`, `dice.rs` | tiny packages, chance |
//!
//! `cargo run -p moji-tests --bin sim -- --seed N --trace` replays a seed.

mod board;
mod check;
mod dice;
mod disk;
pub mod farm;
mod hub;
mod options;
mod pipe;
mod planted;
pub mod rpm;
pub mod schedule;
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

pub use options::{Nature, Network, Options, Package};
pub use planted::Planted;
use world::Ran;
pub use world::{Build, Stats};

/// A seed that shows something wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
}

impl Failure {
    /// The one command that shows how it came to that.
    #[must_use]
    pub fn replay(&self, planted: Option<Planted>) -> String {
        let planted = planted.map(|planted| format!(" --planted {}", planted.name())).unwrap_or_default();
        format!("cargo run --profile sim -p moji-tests --bin sim -- --seed {}{planted} --trace", self.seed)
    }
}

thread_local! {
    /// What a run in this thread panicked with; Some while one runs.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics of runs out of the output: they are told as failures.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let caught = PANIC.with(|panic| match &mut *panic.borrow_mut() {
                Some(text) => {
                    *text = info.to_string().replace('\n', " ");
                    true
                }
                None => false,
            });
            if !caught {
                before(info);
            }
        }));
    });
}

/// Runs one farm.
///
/// # Errors
/// What is wrong; a broken invariant of a core too.
pub fn run(opt: Options, planted: Option<Planted>, trace: bool) -> Result<Stats, Failure> {
    ran(opt, planted, trace).map(|ran| ran.stats)
}

fn ran(opt: Options, planted: Option<Planted>, trace: bool) -> Result<Ran, Failure> {
    catch_panics();
    let seed = opt.seed;
    PANIC.with(|panic| *panic.borrow_mut() = Some(String::new()));
    let ended = catch_unwind(AssertUnwindSafe(|| world::World::new(opt, planted, trace).run()));
    let panicked = PANIC.with(|panic| panic.borrow_mut().take()).unwrap_or_default();
    match ended {
        Ok(Ok(ran)) => Ok(ran),
        Ok(Err(what)) => Err(Failure { seed, what }),
        Err(_) => Err(Failure { seed, what: panicked }),
    }
}

/// What many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many ran.
    pub ran: u64,
    /// Those that show something wrong, by seed.
    pub failures: Vec<Failure>,
    /// Sums over those that were fine.
    pub sums: Stats,
}

/// Runs all seeds from `from` to before `to` on `threads` threads, up to the first failure (`stop`) or to
/// the end.
///
/// # Panics
/// If a thread cannot be made.
#[must_use]
pub fn run_all(from: u64, to: u64, threads: usize, planted: Option<Planted>, stop: bool) -> Summary {
    let (next, over) = (AtomicU64::new(from), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    let ended = run(Options::draw(seed), planted, false);
                    let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    summary.ran += 1;
                    match ended {
                        Ok(stats) => summary.sums.add(&stats),
                        Err(failure) => {
                            summary.failures.push(failure);
                            over.fetch_or(stop, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.failures.sort_by_key(|failure| failure.seed);
    summary
}
