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

#[test]
fn job_that_nobody_heard_costs_no_attempt() {
    for (to, fine) in [(To::Builder(board(1)), true), (To::Nobody, false)] {
        let mut check = leased();
        check.job(LEASE, to);
        check.ended(LEASE);
        check.verdict(&name("p0-1-1.src.rpm"), LEASE, Verdict::Lost, true, RESTART_MS + 1);
        assert_eq!(check.wrong.is_none(), fine, "{to:?}");
    }
}

#[test]
fn lease_that_was_lost_before_the_hub_was_told_to_stop_is_charged_and_one_that_it_left_is_not() {
    // Seed 250503: the connection broke, and the hub was told to stop while leases had not yet heard of it.
    let age_ms = RESTART_MS + 1;
    for (gone, handled, fine) in
        [(Some(1), false, true), (Some(1), true, false), (Some(2), false, false), (None, false, false)]
    {
        let mut check = leased();
        gone.into_iter().for_each(|number| check.heard_of(board(number)));
        if handled {
            check.all_heard();
        }
        check.hub_stops();
        // What ends sessions from here on is the stop.
        check.heard_of(board(1));
        check.ended(LEASE);
        check.verdict(&name("p0-1-1.src.rpm"), LEASE, Verdict::Lost, true, age_ms);
        assert_eq!(check.wrong.is_none(), fine, "{gone:?} {handled}");
    }
    // It was over, and only the queue had not heard of that.
    let mut check = leased();
    check.ended(LEASE);
    check.hub_stops();
    check.verdict(&name("p0-1-1.src.rpm"), LEASE, Verdict::Lost, true, age_ms);
    assert_eq!(check.wrong, None);
}
