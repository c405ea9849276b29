//! Schedulers that know nothing of what they build.
//!
//! Owns their order. Both are fair to themselves: boards that are away are noticed as the hub notices them, and what they
//! lost is built again.

use std::collections::VecDeque;

use super::farm::{End, Scheduler};
use super::plan::Plan;
use crate::sim::dice::Dice;

/// Boards that are idle, the longest first.
#[derive(Debug, Default)]
struct Idle(VecDeque<usize>);

impl Idle {
    fn up(&mut self, board: usize) {
        self.0.push_back(board);
    }

    fn down(&mut self, board: usize) {
        self.0.retain(|one| *one != board);
    }
}

/// The packages as they come: by name.
fn as_they_come(plan: &Plan) -> VecDeque<usize> {
    let mut all: Vec<usize> = (0..plan.packages.len()).collect();
    all.sort_by(|a, b| plan.packages[*a].name.cmp(&plan.packages[*b].name));
    all.into()
}

/// Each package once; what misses something again, at the end, when anything is published.
#[derive(Debug)]
pub(super) struct Once {
    queue: VecDeque<usize>,
    /// What misses something.
    misses: Vec<usize>,
    idle: Idle,
    dice: Option<Dice>,
    /// Publications, and how many there were when each package was leased.
    published: usize,
    then: Vec<usize>,
}

impl Once {
    pub(super) fn in_order(plan: &Plan) -> Once {
        let (misses, idle) = Default::default();
        let then = vec![0; plan.packages.len()];
        Once { queue: as_they_come(plan), misses, idle, dice: None, published: 0, then }
    }

    pub(super) fn at_random(plan: &Plan) -> Once {
        Once { dice: Some(Dice::new(plan.seed)), ..Once::in_order(plan) }
    }
}

impl Scheduler for Once {
    fn up(&mut self, _now_ms: u64, board: usize) {
        self.idle.up(board);
    }

    fn down(&mut self, _now_ms: u64, board: usize) {
        self.idle.down(board);
    }

    fn ended(&mut self, _now_ms: u64, board: usize, package: usize, _seconds: f64, end: End) {
        match end {
            End::Success => {
                self.published += 1;
                self.queue.extend(self.misses.drain(..));
            }
            End::Failed => {}
            End::Deps(_) if self.then[package] == self.published => self.misses.push(package),
            End::Deps(_) | End::Infra | End::Lost => self.queue.push_back(package),
        }
        if end != End::Lost {
            self.idle.up(board);
        }
    }

    fn starts(&mut self, _now_ms: u64) -> Vec<(usize, usize)> {
        let mut starts = Vec::new();
        while !self.queue.is_empty()
            && let Some(board) = self.idle.0.pop_front()
        {
            if let Some(dice) = &mut self.dice {
                self.queue.swap(0, dice.below(self.queue.len() as u64) as usize);
            }
            let Some(package) = self.queue.pop_front() else { break };
            self.then[package] = self.published;
            starts.push((package, board));
        }
        starts
    }
}

/// All that is not built is tried, then all that is not built yet, and so on; why something failed is not looked at.
#[derive(Debug)]
pub(super) struct Rounds {
    queue: VecDeque<usize>,
    /// For the next round.
    again: VecDeque<usize>,
    at_work: usize,
    idle: Idle,
}

impl Rounds {
    pub(super) fn new(plan: &Plan) -> Rounds {
        Rounds { queue: as_they_come(plan), again: VecDeque::new(), at_work: 0, idle: Idle::default() }
    }
}

impl Scheduler for Rounds {
    fn up(&mut self, _now_ms: u64, board: usize) {
        self.idle.up(board);
    }

    fn down(&mut self, _now_ms: u64, board: usize) {
        self.idle.down(board);
    }

    fn ended(&mut self, _now_ms: u64, board: usize, package: usize, _seconds: f64, end: End) {
        self.at_work -= 1;
        if end != End::Success {
            self.again.push_back(package);
        }
        if end != End::Lost {
            self.idle.up(board);
        }
    }

    fn starts(&mut self, _now_ms: u64) -> Vec<(usize, usize)> {
        if self.queue.is_empty() && self.at_work == 0 {
            self.queue = std::mem::take(&mut self.again);
        }
        let mut starts = Vec::new();
        while !self.queue.is_empty()
            && let Some(board) = self.idle.0.pop_front()
        {
            let Some(package) = self.queue.pop_front() else { break };
            self.at_work += 1;
            starts.push((package, board));
        }
        starts
    }
}
