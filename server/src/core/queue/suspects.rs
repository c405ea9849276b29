//! Boards that fail what others pass.
//!
//! Owns the count, over packages: a board is blamed for a package that failed on it and that another board built
//! afterwards. It is suspected once it is blamed for [`BLAMED_MIN`] of them and for more than twice as many as boards
//! are on average: where a farm's compiler is broken for a day, all of them fail what is built later. Whoever
//! builds [`GOOD_MIN`] packages and is blamed for none meanwhile starts afresh. Only verdicts about packages count;
//! what is a board's own fault leads to quarantine, in [`super::standing`].

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::FileName;

use super::order::stem;
use crate::core::types::BuilderId;

/// A board that failed so many packages that others built is suspected: one may be chance, and so may two.
const BLAMED_MIN: usize = 3;
/// It is blamed for more than so many times as many as boards are on average.
const AVERAGE_TIMES: usize = 2;
/// So many successes with no blame between clear a board.
const GOOD_MIN: u32 = 10;
/// So many packages are named: what fits into a line.
const NAMED_MAX: usize = 3;

/// What is known of a board.
#[derive(Debug, Default)]
struct Board {
    /// Packages that it failed and another one built, in the order in which that was found.
    blamed: Vec<FileName>,
    /// Successes since the last of these.
    good: u32,
    is_suspect: bool,
}

/// A board whose standing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is suspected from now on, or of one package more.
    Suspected(BuilderId),
    /// It is no longer.
    Cleared(BuilderId),
}

/// All boards, and what failed on whom.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    failed: BTreeMap<FileName, BTreeSet<BuilderId>>,
    boards: BTreeMap<BuilderId, Board>,
}

impl Suspects {
    /// A package failed on a board by its own fault, as it seemed.
    pub(super) fn failed(&mut self, srpm: &FileName, id: BuilderId) {
        self.boards.entry(id).or_default();
        self.failed.entry(srpm.clone()).or_default().insert(id);
    }

    /// A board built a package.
    pub(super) fn built(&mut self, srpm: &FileName, id: BuilderId) -> Vec<Change> {
        let board = self.boards.entry(id).or_default();
        board.good = board.good.saturating_add(1);
        let mut changes = Vec::new();
        if board.good >= GOOD_MIN {
            board.blamed.clear();
            if std::mem::take(&mut board.is_suspect) {
                changes.push(Change::Cleared(id));
            }
        }
        for other in self.failed.remove(srpm).unwrap_or_default() {
            if other != id {
                changes.extend(self.blame(srpm, other));
            }
        }
        changes
    }

    /// Another file has this name now.
    pub(super) fn forget(&mut self, srpm: &FileName) {
        self.failed.remove(srpm);
    }

    /// What a board is suspected of, in words; empty if it is not.
    pub(super) fn words(&self, id: BuilderId) -> String {
        let Some(board) = self.boards.get(&id).filter(|board| board.is_suspect) else { return String::new() };
        let last = board.blamed.iter().rev().take(NAMED_MAX).map(|srpm| stem(srpm.as_str()));
        let more = board.blamed.len().saturating_sub(NAMED_MAX);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("fails what others pass: {}{more}", last.collect::<Vec<_>>().join(", "))
    }

    fn blame(&mut self, srpm: &FileName, id: BuilderId) -> Option<Change> {
        let board = self.boards.get_mut(&id)?;
        board.good = 0;
        if !board.blamed.contains(srpm) {
            board.blamed.push(srpm.clone());
        }
        let own = board.blamed.len();
        let others = self.boards.iter().filter(|(other, _)| **other != id);
        let (count, sum) =
            others.fold((0, 0), |(count, sum), (_, board)| (count + 1, sum + board.blamed.len()));
        let stands_out = own * count > AVERAGE_TIMES * sum;
        let board = self.boards.get_mut(&id)?;
        board.is_suspect |= own >= BLAMED_MIN && stands_out;
        board.is_suspect.then_some(Change::Suspected(id))
    }
}

#[cfg(test)]
mod tests {
    use moji_proto::PublicKey;

    use super::*;

    const A: BuilderId = PublicKey([1; 32]);
    const B: BuilderId = PublicKey([2; 32]);
    const C: BuilderId = PublicKey([3; 32]);

    fn file(n: u32) -> FileName {
        FileName::new(format!("p{n}-1-1.src.rpm")).unwrap()
    }

    /// Package `n` fails on the first and is built by the second.
    fn passes(suspects: &mut Suspects, n: u32, bad: BuilderId, good: BuilderId) -> Vec<Change> {
        suspects.failed(&file(n), bad);
        suspects.built(&file(n), good)
    }

    #[test]
    fn the_third_package_that_another_board_builds_makes_a_suspect_and_ten_good_ones_clear_it() {
        let mut suspects = Suspects::default();
        assert_eq!(passes(&mut suspects, 1, A, B), []);
        assert_eq!(passes(&mut suspects, 2, A, B), []);
        // The same package again is no third one.
        assert_eq!(passes(&mut suspects, 2, A, C), []);
        assert_eq!(suspects.words(A), "");
        assert_eq!(passes(&mut suspects, 3, A, C), [Change::Suspected(A)]);
        assert_eq!(suspects.words(A), "fails what others pass: p3-1-1, p2-1-1, p1-1-1");
        assert_eq!(passes(&mut suspects, 4, A, C), [Change::Suspected(A)]);
        assert_eq!(suspects.words(A), "fails what others pass: p4-1-1, p3-1-1, p2-1-1 and 1 more");
        assert_eq!(suspects.words(B), "");
        for n in 11..20 {
            assert_eq!(suspects.built(&file(n), A), []);
        }
        assert_eq!(suspects.built(&file(20), A), [Change::Cleared(A)]);
        assert_eq!(suspects.words(A), "");
    }

    #[test]
    fn what_fails_and_passes_on_the_same_board_or_is_another_file_blames_nobody() {
        let mut suspects = Suspects::default();
        for n in 1..9 {
            passes(&mut suspects, n, A, A);
            suspects.failed(&file(n + 10), A);
            suspects.forget(&file(n + 10));
            suspects.built(&file(n + 10), B);
        }
        assert_eq!(suspects.words(A), "");
    }

    #[test]
    fn no_board_is_suspected_where_all_fail_what_is_built_later() {
        let mut suspects = Suspects::default();
        for n in 0..9 {
            let [bad, good] = [[A, B], [B, C], [C, A]][n as usize % 3];
            suspects.failed(&file(n), bad);
            if n < 3 {
                suspects.built(&file(n), good);
            }
        }
        for n in 3..9 {
            suspects.built(&file(n), [B, C, A][n as usize % 3]);
        }
        assert!([A, B, C].iter().all(|board| suspects.words(*board).is_empty()));
    }
}
