//! What the model takes for a fault, and what only looks like one.

use super::*;

const LEASE: LeaseId = LeaseId { incarnation: 1_764_000_000, counter: 1 };

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn board(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

/// A model that knows of one lease.
fn leased() -> Checker {
    let mut check = Checker::default();
    check.hub_started();
    check.granted(LEASE, &name("p0-1-1.src.rpm"), board(1), false);
    check
}

#[test]
fn job_is_for_the_builder_that_holds_the_lease_or_for_nobody() {
    // Seed 48442 and 22 more: the session ended in the instant in which the job was ready.
    for (to, fine) in [
        (To::Builder(board(1)), true),
        (To::Nobody, true),
        (To::Builder(board(2)), false),
        (To::Stranger, false),
    ] {
        let mut check = leased();
        check.job(LEASE, to);
        assert_eq!(check.wrong.is_none(), fine, "{to:?}");
    }
}

#[test]
fn job_that_nobody_heard_is_built_by_nobody() {
    for (to, fine) in [(To::Builder(board(1)), true), (To::Nobody, false)] {
        let mut check = leased();
        check.job(LEASE, to);
        check.started(LEASE, board(1), 0, true);
        assert_eq!(check.wrong.is_none(), fine, "{to:?}");
    }
}
