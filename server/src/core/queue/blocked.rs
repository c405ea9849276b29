//! What a worker makes of a survey: missing capabilities, the longest chain behind them first, and cycles.
//!
//! Owns the rows of `moji blocked`. Pure, and in no hurry: the queue's thread never runs it.

use moji_proto::message::{BlockedRow, CycleRow, LackRow, PackageState, ToOperator, Topic};
use moji_proto::{FileName, Line};

use super::cycles::{Cycle, Needs, cycles};
use super::look::{count32, seconds};
use super::order::stem;

/// So many packages of a cycle are told, and so many imports: more are no help to anybody.
const NAMES_MAX: usize = 1_000;
/// So many cycles are told.
const CYCLES_MAX: usize = 200;

/// A package that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) srpm: FileName,
    /// What it lacks, as far as others that wait would provide it: one of each group.
    pub(super) groups: Vec<Vec<u32>>,
    /// Whether a log named that.
    pub(super) is_named: bool,
}

/// A capability that is missing.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    pub(super) name: String,
    /// Whether all that lack it would get along with something else.
    pub(super) any: bool,
    /// Who lacks it.
    pub(super) holds: Vec<u32>,
    /// The longest chain behind it, seconds.
    pub(super) chain_s: u64,
    pub(super) from: Option<(FileName, PackageState)>,
    pub(super) text: String,
}

impl Missing {
    pub(super) fn new(name: &str) -> Missing {
        let (holds, from, text) = Default::default();
        Missing { name: name.to_owned(), any: true, holds, chain_s: 0, from, text }
    }
}

/// What waits for what that is not there.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    pub(super) waiters: Vec<Waiter>,
    pub(super) missing: Vec<Missing>,
    /// Packages that wait for capabilities.
    pub(super) packages: u32,
    /// Those that wait for nothing that has a name.
    pub(super) unnamed: u32,
    /// Capabilities that are missing; those of `missing` are the first.
    pub(super) capabilities: u32,
    /// Whether any build time is known.
    pub(super) has_times: bool,
}

impl Survey {
    /// The rows of an answer.
    #[must_use]
    pub fn rows(&self) -> Vec<ToOperator> {
        let cycles = self.cycles();
        let mut out = vec![ToOperator::Blocked(BlockedRow {
            packages: self.packages,
            unnamed: self.unnamed,
            capabilities: self.capabilities,
            cycles: count32(cycles.len()),
        })];
        let mut reach = Reach::new(&self.waiters);
        out.extend(self.missing.iter().map(|one| ToOperator::Lack(self.lack(one, &mut reach))));
        for (cycle, sure) in cycles.iter().take(CYCLES_MAX) {
            self.tell(cycle, *sure, &mut out);
        }
        out
    }

    /// The cycle that one of them is on, and whether logs name it: all its packages and those to import.
    pub(super) fn cycle_of(&self, one: u32) -> Option<(Vec<&FileName>, Vec<&FileName>, Cycle, bool)> {
        let (cycle, sure) = self.cycles().into_iter().find(|(cycle, _)| cycle.members.contains(&one))?;
        let named = |all: &[u32]| all.iter().map(|one| &self.waiters[*one as usize].srpm).collect();
        Some((named(&cycle.members), named(&cycle.imports), cycle, sure))
    }

    fn lack(&self, one: &Missing, reach: &mut Reach) -> LackRow {
        let (from, state) = one.from.clone().unzip();
        LackRow {
            capability: Line::lossy(&one.name),
            there: false,
            any: one.any,
            holds: count32(one.holds.len()),
            holds_all: reach.count(&one.holds),
            chain_s: if self.has_times { seconds(one.chain_s) } else { 0 },
            from,
            state,
            text: Line::lossy(&one.text),
        }
    }

    /// All cycles, each with whether logs name it; those first, then the larger ones.
    fn cycles(&self) -> Vec<(Cycle, bool)> {
        let named = |waiter: &Waiter| if waiter.is_named { waiter.groups.clone() } else { Vec::new() };
        let mut found: Vec<(Cycle, bool)> =
            cycles(self.waiters.iter().map(named).collect()).into_iter().map(|cycle| (cycle, true)).collect();
        // What headers hint at must not blur what is known.
        let mut needs: Needs = self.waiters.iter().map(|waiter| waiter.groups.clone()).collect();
        for member in found.iter().flat_map(|(cycle, _)| &cycle.members) {
            needs[*member as usize].clear();
        }
        found.extend(cycles(needs).into_iter().map(|cycle| (cycle, false)));
        found.sort_by(|(a, a_sure), (b, b_sure)| {
            (b_sure, b.members.len()).cmp(&(a_sure, a.members.len())).then_with(|| a.members.cmp(&b.members))
        });
        found
    }

    fn tell(&self, cycle: &Cycle, sure: bool, out: &mut Vec<ToOperator>) {
        let (members, imports) = (count32(cycle.members.len()), count32(cycle.imports.len()));
        out.push(ToOperator::Cycle(CycleRow { members, imports, exact: cycle.exact, sure }));
        for (topic, names) in [(Topic::Member, &cycle.members), (Topic::Import, &cycle.imports)] {
            out.extend(names.iter().take(NAMES_MAX).map(|name| {
                let line = Line::lossy(stem(self.waiters[*name as usize].srpm.as_str()));
                ToOperator::Text { topic, line }
            }));
        }
    }
}

/// Who is behind whom.
struct Reach {
    behind: Vec<Vec<u32>>,
    /// In which round each was reached last.
    round: Vec<u32>,
    rounds: u32,
}

impl Reach {
    fn new(waiters: &[Waiter]) -> Reach {
        let mut behind = vec![Vec::new(); waiters.len()];
        for (number, waiter) in (0..).zip(waiters) {
            waiter.groups.iter().flatten().for_each(|first| behind[*first as usize].push(number));
        }
        Reach { behind, round: vec![0; waiters.len()], rounds: 0 }
    }

    /// How many these are with all behind them.
    fn count(&mut self, from: &[u32]) -> u32 {
        self.rounds += 1;
        let (mut next, mut count) = (from.to_vec(), 0);
        while let Some(one) = next.pop() {
            if std::mem::replace(&mut self.round[one as usize], self.rounds) != self.rounds {
                count += 1;
                next.extend(&self.behind[one as usize]);
            }
        }
        count
    }
}
