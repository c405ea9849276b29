//! A farm in virtual time: what the order is worth.
//!
//! The queue alone decides; leases, boards and repo are played without faults or delays. Packages need others by
//! their headers, and fail with the words of dnf, in a minute on a board of speed 1, where one is not published.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::*;
use crate::rpmfile::Capability;

/// What dnf takes to find that something is missing, seconds.
const MISSING_S: f64 = 60.0;
/// Speeds of boards: slow, middling and fast.
const SPEEDS: [f64; 3] = [0.5, 1.0, 2.0];

/// A small generator (splitmix64).
struct Dice(u64);

impl Dice {
    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, sides: usize) -> usize {
        (self.share() * sides as f64) as usize
    }

    /// Log-normal of median 1.
    fn log_normal(&mut self, sigma: f64) -> f64 {
        let (u, v) = (self.share().max(1e-12), self.share());
        (sigma * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).exp()
    }
}

/// What is to be built, and on what.
struct Plan {
    names: Vec<String>,
    /// Seconds on a board of speed 1.
    seconds: Vec<f64>,
    sizes: Vec<u64>,
    needs: Vec<BTreeSet<usize>>,
    boards: usize,
}

impl Plan {
    /// A distribution: a few foundations that much needs, chains up to some thirty deep, build times of some
    /// minutes with a tail of hours, sizes that have something to do with them.
    fn draw(seed: u64, packages: usize, boards: usize) -> Plan {
        let mut dice = Dice(seed);
        // The order of dependencies is not that of names.
        let mut names: Vec<String> = (0..packages).map(|n| format!("p{n:05}")).collect();
        (1..packages).for_each(|n| names.swap(n, dice.below(n + 1)));
        let seconds: Vec<f64> = (0..packages).map(|_| 20.0 + 300.0 * dice.log_normal(1.2)).collect();
        let sizes = seconds.iter().map(|s| (s * 1e4 * dice.log_normal(1.0)) as u64).collect();
        let need = |n: usize, dice: &mut Dice| {
            let wanted = if n < 10 { 0 } else { dice.below(6) };
            // Foundations are needed more often than others.
            (0..wanted).map(|_| ((n as f64) * dice.share().powi(3)) as usize).collect()
        };
        let needs = (0..packages).map(|n| need(n, &mut dice)).collect();
        Plan { names, seconds, sizes, needs, boards }
    }

    fn speed(&self, board: usize) -> f64 {
        SPEEDS[board % SPEEDS.len()]
    }

    /// No order can be faster: all work on all boards, or the longest chain on the fastest, seconds.
    fn bound_s(&self) -> f64 {
        let capacity: f64 = (0..self.boards).map(|board| self.speed(board)).sum();
        let mut ends = vec![0.0_f64; self.names.len()];
        for n in 0..self.names.len() {
            let start = self.needs[n].iter().map(|need| ends[*need]).fold(0.0, f64::max);
            ends[n] = start + self.seconds[n];
        }
        let longest = ends.iter().copied().fold(0.0, f64::max) / SPEEDS[2];
        longest.max(self.seconds.iter().sum::<f64>() / capacity)
    }
}

/// What the queue has to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knows {
    /// File names; every publication ends all waits.
    Nothing,
    /// Headers, sizes and what is published.
    Headers,
    /// Build times of an earlier round, too.
    Times,
}

/// When it ends, milliseconds; board, package, lease, and what it lacked when it began.
type Build = (u64, usize, usize, LeaseId, Vec<usize>);

/// A farm at work.
struct Farm<'a> {
    plan: &'a Plan,
    rig: Rig,
    knows: Knows,
    published: BTreeSet<usize>,
    /// Builds that will end, the next first.
    ends: BinaryHeap<Reverse<Build>>,
    vain: usize,
    /// The longest that the queue took for one message.
    longest: std::time::Duration,
}

fn id(board: usize) -> BuilderId {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(board as u64).to_be_bytes());
    PublicKey(key)
}

impl<'a> Farm<'a> {
    fn new(plan: &'a Plan, knows: Knows) -> Farm<'a> {
        // What waits for nobody knows what goes on at once with the next publication.
        let retry_pause_ms = if knows == Knows::Nothing { 0 } else { PAUSE_MS };
        let config = Config { retry_pause_ms, attempts: 5, ..Rig::new().queue.config };
        let (published, ends) = Default::default();
        let longest = std::time::Duration::ZERO;
        Farm { plan, rig: Rig::with(config), knows, published, ends, vain: 0, longest }
    }

    #[allow(clippy::disallowed_methods, reason = "it measures")]
    fn tell(&mut self, msg: Msg) {
        let began = std::time::Instant::now();
        self.rig.tell(msg);
        self.longest = self.longest.max(began.elapsed());
        for effect in self.rig.effects() {
            if let Effect::Leases(leases::Msg::Claim { srpm, builder, .. }) = effect {
                self.lease(&srpm, builder);
            }
        }
    }

    fn number(&self, name: &str) -> usize {
        let name = name.split('-').next().unwrap();
        self.plan.names.iter().position(|one| one == name).unwrap()
    }

    fn lease(&mut self, srpm: &FileName, builder: BuilderId) {
        let package = self.number(srpm.as_str());
        let board = u64::from_be_bytes(builder.0[..8].try_into().unwrap()) as usize;
        self.rig.counter += 1;
        let lease = lease(self.rig.counter);
        let lacks: Vec<usize> = self.plan.needs[package].difference(&self.published).copied().collect();
        let seconds = if lacks.is_empty() { self.plan.seconds[package] } else { MISSING_S };
        let at = self.rig.now.0 + (seconds / self.plan.speed(board) * 1_000.0) as u64;
        self.ends.push(Reverse((at, board, package, lease, lacks)));
        let srpm = srpm.clone();
        self.tell(Msg::Granted { srpm: srpm.clone(), lease, builder });
        self.tell(Msg::Vanished { srpm });
    }

    fn end(&mut self, board: usize, package: usize, lease: LeaseId, lacks: &[usize]) {
        let (srpm, builder) = (file(&self.plan.names[package]), id(board));
        let verdict = if lacks.is_empty() { Verdict::Success } else { Verdict::Deps };
        let lack = |need: &usize| {
            let text = match self.knows {
                Knows::Nothing => "none of the providers can be installed".to_owned(),
                _ => format!("No matching package to install: '{}-devel'", self.plan.names[*need]),
            };
            (Which::Root, Line::lossy(&text))
        };
        let mut report = report(&self.plan.names[package], verdict);
        report.evidence = lacks.iter().map(lack).collect();
        report.seconds = (self.plan.seconds[package] / self.plan.speed(board)) as u32;
        self.tell(Msg::Judge { srpm: srpm.clone(), lease, builder, report });
        let end = if lacks.is_empty() { finished(Verdict::Success) } else { End::Returned(verdict) };
        self.tell(Msg::Ended { srpm, lease, builder, end });
        if lacks.is_empty() {
            self.published.insert(package);
            self.tell(news(&format!("{}-devel", self.plan.names[package])));
        } else {
            self.vain += 1;
        }
        self.tell(Msg::Ready { builder });
    }

    /// Builds everything; gives makespan over the bound, and builds in vain.
    fn run(mut self) -> (f64, usize, std::time::Duration) {
        if self.knows == Knows::Times {
            for (n, name) in self.plan.names.iter().enumerate() {
                // On two boards each, so that speeds are known.
                for board in [n, n / 3 + 1].map(|n| n % self.plan.boards) {
                    let seconds = (self.plan.seconds[n] / self.plan.speed(board)) as u32;
                    self.rig.tell(Msg::Took {
                        source: name.clone(),
                        builder: id(board),
                        seconds,
                        silent_s: 0,
                    });
                }
            }
        }
        for n in 0..self.plan.names.len() {
            let name = &self.plan.names[n];
            let mut facts = facts(name, Kind::Source, "src");
            let size = if self.knows == Knows::Nothing { 1 } else { self.plan.sizes[n] };
            if self.knows != Knows::Nothing {
                let require = |need: &usize| Capability {
                    name: format!("{}-devel", self.plan.names[*need]),
                    flags: 0,
                    evr: String::new(),
                };
                facts.requires = self.plan.needs[n].iter().map(require).collect();
            }
            self.tell(Msg::Appeared { srpm: file(name), facts: Srpm { size, facts } });
        }
        let start = self.rig.now;
        for board in 0..self.plan.boards {
            let info = BuilderInfo { id: id(board), ..info(1) };
            self.tell(Msg::BuilderUp { session: SessionId(board as u64), info });
            self.tell(Msg::Ready { builder: id(board) });
        }
        let mut turns = 0;
        while self.published.len() < self.plan.names.len() {
            turns += 1;
            assert!(
                turns < 200 * self.plan.names.len(),
                "{:?}: {:?}",
                self.knows,
                self.rig.queue.snapshot(self.rig.now)
            );
            let next = self.ends.peek().map(|end| end.0.0);
            let tick = self.rig.queue.deadline().map(|at| at.0);
            let at = [next, tick].into_iter().flatten().min().expect("somebody builds or waits");
            self.rig.now = Time(at.max(self.rig.now.0));
            match self.ends.peek() {
                Some(end) if end.0.0 <= at => {
                    let (_, board, package, lease, lacks) = self.ends.pop().unwrap().0;
                    self.end(board, package, lease, &lacks);
                }
                _ => self.tell(Msg::Tick),
            }
        }
        let makespan_s = self.rig.now.since_ms(start) as f64 / 1_000.0;
        (makespan_s / self.plan.bound_s(), self.vain, self.longest)
    }
}

#[test]
fn headers_and_times_bring_a_farm_close_to_what_is_possible() {
    for seed in 1..=3 {
        let plan = Plan::draw(seed, 300, 9);
        let [nothing, headers, times] =
            [Knows::Nothing, Knows::Headers, Knows::Times].map(|knows| Farm::new(&plan, knows).run());
        let told = format!("seed {seed}: {nothing:?} {headers:?} {times:?}");
        assert!(times.0 < 1.15 && headers.0 < 1.3 && headers.0 < nothing.0, "{told}");
        assert!(times.1 < nothing.1 / 4 && headers.1 < nothing.1 / 4, "{told}");
    }
}

/// `cargo test --release -p moji-server --lib queue::tests::farm::figures -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn figures() {
    for (packages, boards) in [(1_000, 20), (5_000, 60)] {
        for seed in 1..=3 {
            let plan = Plan::draw(seed, packages, boards);
            let hours = plan.bound_s() / 3_600.0;
            println!(
                "{packages} packages, {boards} boards, seed {seed}: no order is faster than {hours:.1} h"
            );
            for knows in [Knows::Nothing, Knows::Headers, Knows::Times] {
                let (over, vain, longest) = Farm::new(&plan, knows).run();
                println!(
                    "  {knows:?}: {over:.3} of that, {vain} builds in vain, at most {longest:?} for a message"
                );
            }
        }
    }
}
