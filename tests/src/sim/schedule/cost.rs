//! How long the real queue takes for a message where many packages wait.
//!
//! Owns the measurement and its table. Times are CPU time of the machine, so nothing may depend on them. A message is
//! counted as what it is, and once more as a decision if it ended in a lease.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::farm::Farm;
use super::moji::{Knows, Moji};
use super::plan::Plan;

/// What is told to operators is asked for so often.
const ASKED: usize = 20;
/// A message that ended in a lease.
pub(super) const DECISION: &str = "decision";

/// How long messages of a kind took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How many there were.
    pub count: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 of 100 of them took no longer.
    pub p99: Duration,
    /// The longest: what somebody may wait for it who comes when it has begun.
    pub longest: Duration,
}

impl Cost {
    fn of(mut all: Vec<Duration>) -> Option<Cost> {
        all.sort_unstable();
        let (count, longest) = (all.len(), *all.last()?);
        Some(Cost { count, p50: all[count / 2], p99: all[count * 99 / 100], longest })
    }
}

/// What messages cost.
#[derive(Clone, Debug)]
pub struct Costs {
    /// Packages that waited to the end.
    pub waiting: usize,
    /// Boards.
    pub boards: usize,
    /// Whether mainline was known, and no build time; else build times were.
    pub is_mainline: bool,
    /// Of each kind of message, decisions too.
    pub kinds: BTreeMap<&'static str, Cost>,
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Costs { waiting, boards, is_mainline, kinds } = self;
        let knows = if *is_mainline { "no times, --mainline" } else { "times learned" };
        writeln!(f, "the queue with {waiting} packages waiting and {boards} boards ({knows}):")?;
        write!(f, "{:<12} {:>8} {:>12} {:>12} {:>12}", "message", "count", "half", "99 %", "longest")?;
        let decision = kinds.get_key_value(DECISION);
        for (kind, cost) in decision.into_iter().chain(kinds.iter().filter(|(kind, _)| **kind != DECISION)) {
            let Cost { count, p50, p99, longest } = cost;
            let [p50, p99, longest] = [p50, p99, longest].map(|time| format!("{time:.1?}"));
            write!(f, "\n{kind:<12} {count:>8} {p50:>12} {p99:>12} {longest:>12}")?;
        }
        Ok(())
    }
}

/// Lets so many builds end while so many packages wait, and measures every message.
#[must_use]
pub fn measure(waiting: usize, builds: usize, boards: usize, seed: u64, is_mainline: bool) -> Costs {
    // A few more, so that as many wait still at the end.
    let plan = Plan::draw(seed, waiting + builds, boards);
    let mut moji = Moji::new(&plan, if is_mainline { Knows::Mainline } else { Knows::Times });
    Farm::new(&plan).build(&mut moji, builds);
    (0..ASKED).for_each(|_| moji.ask());
    let mut took: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    for (kind, time, is_decision) in moji.took() {
        took.entry(kind).or_default().push(*time);
        if *is_decision {
            took.entry(DECISION).or_default().push(*time);
        }
    }
    let kinds = took.into_iter().filter_map(|(kind, all)| Some((kind, Cost::of(all)?))).collect();
    Costs { waiting, boards, is_mainline, kinds }
}
