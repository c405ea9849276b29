//! Virtual time: boards that build, fail and vanish, the same whoever decides.
//!
//! Owns what happens, and counts what was in vain. Decides nothing: a [`Scheduler`] says who builds what.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::plan::Plan;

/// What dnf takes to find that something is missing, seconds on a board of speed 1.
const MISSING_S: f64 = 60.0;
/// What passes until an infra fault ends a build, seconds on a board of speed 1.
const INFRA_S: f64 = 120.0;
/// A board that says nothing for so long is away, milliseconds.
const SILENCE_MS: u64 = 60_000;
/// The lease of a board that is away ends after this, milliseconds.
const GRACE_MS: u64 = 600_000;

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Built, and builders can see it.
    Success,
    /// Its own fault.
    Failed,
    /// These packages were not there, or something that nobody provides.
    Deps(Vec<usize>),
    /// The board's fault.
    Infra,
    /// The board is away.
    Lost,
}

/// Who decides. What it wants built it says when asked, after each of these.
pub(super) trait Scheduler {
    /// A board is there, and idle.
    fn up(&mut self, now_ms: u64, board: usize);
    /// A board is away.
    fn down(&mut self, now_ms: u64, board: usize);
    /// A build took so long, and ended; its board is idle, unless it is away.
    fn ended(&mut self, now_ms: u64, board: usize, package: usize, seconds: f64, end: End);
    /// When it wants to be asked without anything happening.
    fn wake_ms(&self) -> Option<u64> {
        None
    }
    /// Time passed.
    fn tick(&mut self, _now_ms: u64) {}
    /// Who is to build what from now on: package and board.
    fn starts(&mut self, now_ms: u64) -> Vec<(usize, usize)>;
}

/// What will happen, in this order where it does so at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A board comes, or comes back.
    Up(usize),
    /// A board falls silent.
    Vanish(usize),
    /// That is noticed.
    Down(usize),
    /// The board's build ends, if it is still that one.
    End(usize, u64),
    /// The board's lease ends, if it is still that one.
    Lose(usize, u64),
}

/// A board.
#[derive(Clone, Debug, Default)]
struct Board {
    is_away: bool,
    /// The hub has not noticed, or has.
    is_down: bool,
    /// Number of the lease, package, when it began and how it ends.
    job: Option<(u64, usize, u64, End)>,
}

/// A farm at work.
#[derive(Debug)]
pub(super) struct Farm<'a> {
    plan: &'a Plan,
    now_ms: u64,
    boards: Vec<Board>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    published: Vec<bool>,
    attempts: Vec<usize>,
    failures: Vec<usize>,
    leases: u64,
    ended: usize,
    in_vain: usize,
    /// Packages that can be tried and were not with a result.
    left: usize,
}

fn ms(seconds: f64) -> u64 {
    (seconds * 1_000.0) as u64
}

impl<'a> Farm<'a> {
    pub(super) fn new(plan: &'a Plan) -> Farm<'a> {
        let count = plan.packages.len();
        let mut events = BinaryHeap::new();
        for (board, (_, away)) in plan.boards.iter().enumerate() {
            events.push(Reverse((0, Event::Up(board))));
            if let Some((from, to)) = away {
                events.push(Reverse((ms(*from), Event::Vanish(board))));
                // Whoever comes back has been noticed to be away.
                let back = ms(*to).max(ms(*from) + SILENCE_MS + GRACE_MS + 1);
                events.extend(to.is_finite().then_some(Reverse((back, Event::Up(board)))));
            }
        }
        Farm {
            plan,
            now_ms: 0,
            boards: vec![Board::default(); plan.boards.len()],
            events,
            published: vec![false; count],
            attempts: vec![0; count],
            failures: vec![0; count],
            leases: 0,
            ended: 0,
            in_vain: 0,
            left: (0..count).filter(|n| plan.can_be_tried(*n)).count(),
        }
    }

    /// Builds that a scheduler who knows everything would not have begun.
    pub(super) fn wasted(&self) -> usize {
        self.in_vain
    }

    /// Runs until all that can be built is; gives when that is, milliseconds.
    pub(super) fn build_all(&mut self, scheduler: &mut impl Scheduler) -> u64 {
        self.build(scheduler, usize::MAX)
    }

    /// The same, until so many builds have ended.
    pub(super) fn build(&mut self, scheduler: &mut impl Scheduler, builds: usize) -> u64 {
        let turns_max = 10_000 * (self.plan.packages.len() + 100);
        for _ in 0..turns_max {
            if self.left == 0 || self.ended >= builds {
                return self.now_ms;
            }
            let next = self.events.peek().map(|Reverse((at, _))| *at);
            let wake = scheduler.wake_ms().map(|at| at.max(self.now_ms));
            match (next, wake) {
                (Some(at), wake) if wake.is_none_or(|wake| at <= wake) => {
                    let Some(Reverse((_, event))) = self.events.pop() else { break };
                    self.now_ms = at;
                    self.on(event, scheduler);
                }
                (_, Some(wake)) => {
                    self.now_ms = wake;
                    scheduler.tick(wake);
                }
                _ => break,
            }
            for (package, board) in scheduler.starts(self.now_ms) {
                self.start(package, board);
            }
        }
        panic!("seed {}: nothing moves, and {} packages could be built", self.plan.seed, self.left)
    }

    fn start(&mut self, package: usize, board: usize) {
        let one = &self.plan.packages[package];
        let lacks: Vec<usize> =
            one.needs.iter().map(|(need, _)| *need).filter(|need| !self.published[*need]).collect();
        self.attempts[package] += 1;
        let (seconds, end) = if one.misses || !lacks.is_empty() {
            (MISSING_S, End::Deps(lacks))
        } else if self.plan.is_infra(package, self.attempts[package]) {
            (INFRA_S, End::Infra)
        } else {
            (one.seconds, if one.fails { End::Failed } else { End::Success })
        };
        self.leases += 1;
        let lease = self.leases;
        assert!(self.boards[board].job.is_none(), "board {board} builds already");
        if self.boards[board].is_away {
            let noticed = self.now_ms + SILENCE_MS + GRACE_MS;
            self.events.push(Reverse((noticed, Event::Lose(board, lease))));
        } else {
            let at = self.now_ms + ms(seconds / self.plan.boards[board].0);
            self.events.push(Reverse((at, Event::End(board, lease))));
        }
        self.boards[board].job = Some((lease, package, self.now_ms, end));
    }

    fn on(&mut self, event: Event, scheduler: &mut impl Scheduler) {
        let now_ms = self.now_ms;
        match event {
            Event::Up(board) => {
                (self.boards[board].is_away, self.boards[board].is_down) = (false, false);
                scheduler.up(now_ms, board);
            }
            Event::Vanish(board) => {
                self.boards[board].is_away = true;
                self.events.push(Reverse((now_ms + SILENCE_MS, Event::Down(board))));
                if let Some((lease, ..)) = self.boards[board].job {
                    self.events.push(Reverse((now_ms + SILENCE_MS + GRACE_MS, Event::Lose(board, lease))));
                }
            }
            Event::Down(board) => {
                self.boards[board].is_down = true;
                scheduler.down(now_ms, board);
            }
            Event::End(board, lease) | Event::Lose(board, lease) => {
                let is_lost = matches!(event, Event::Lose(..));
                if is_lost != self.boards[board].is_away {
                    return;
                }
                let Some((_, package, since, end)) = self.boards[board].job.take_if(|job| job.0 == lease)
                else {
                    return;
                };
                let end = if is_lost { End::Lost } else { end };
                self.count(package, &end);
                let seconds = (now_ms - since) as f64 / 1_000.0;
                scheduler.ended(now_ms, board, package, seconds, end);
            }
        }
    }

    fn count(&mut self, package: usize, end: &End) {
        self.ended += 1;
        match end {
            End::Success => {
                self.published[package] = true;
                self.left -= 1;
            }
            End::Failed => {
                self.failures[package] += 1;
                if self.failures[package] == 1 {
                    self.left -= 1;
                } else {
                    self.in_vain += 1;
                }
            }
            End::Deps(_) => self.in_vain += 1,
            End::Infra | End::Lost => {}
        }
    }
}
