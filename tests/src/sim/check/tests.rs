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
    check.granted(LEASE, &name("p0-1-1.src.rpm"), board(1), false, false);
    check
}

#[test]
fn a_package_has_one_lease_and_one_of_another_builder_beside_it() {
    let second = LeaseId { counter: 2, ..LEASE };
    let third = LeaseId { counter: 3, ..LEASE };
    for (on, beside, fine) in [(2, true, true), (1, true, false), (2, false, false)] {
        let mut check = leased();
        let srpm = name("p0-1-1.src.rpm");
        check.granted(second, &srpm, board(on), false, beside);
        assert_eq!(check.wrong.is_none(), fine, "{on} {beside}");
        if fine {
            check.commits(LEASE, Some(board(1)));
            assert_eq!(check.wrong, None);
            check.commits(second, Some(board(2)));
            assert!(check.wrong.take().is_some(), "it is not the main one");
            check.ended(LEASE);
            check.commits(second, Some(board(2)));
            check.granted(third, &srpm, board(1), false, true);
            assert_eq!(check.wrong, None);
            check.granted(LeaseId { counter: 4, ..LEASE }, &srpm, board(3), false, true);
            assert!(check.wrong.is_some(), "there is one already");
        }
    }
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
