//! Following events and reading old ones.

use super::*;

#[test]
fn events_are_numbered_kept_and_followed_from_any_of_them_without_a_gap() {
    let mut bench = Bench::new();
    let watch = |after| FromOperator::Events { pattern: line(""), after, current: false };
    bench.say(ANN, watch(0));
    bench.leased("b-1-1.src.rpm", LEASE);
    bench.tell(Msg::Phase { lease: LEASE, phase: Phase::Build });
    assert_eq!(brief(&bench.heard(ANN)), ["event 100 leased", "event 101 phase"]);
    let kept: Vec<u64> = bench
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::History(row) | Effect::Hook(row) => Some(row.seq),
            _ => None,
        })
        .collect();
    assert_eq!(kept, [100, 100]);
    // From before this run: the history first, then what the ring has.
    bench.say(BOB, watch(40));
    let (run, job) = bench.job();
    assert!(matches!(job, Job::Replay { after: 40, .. }));
    let old = |seq| EventRow { seq, ..bench.desk.shared.ring[0].clone() };
    let rows = vec![old(50), old(60), old(100)];
    bench.done(run, Done::Events(rows));
    let want = ["event 50 leased", "event 60 leased", "event 100 leased", "event 101 phase"];
    assert_eq!(brief(&bench.heard(BOB)), want);
    bench.ended(LEASE);
    assert_eq!(brief(&bench.heard(BOB)), ["event 102 ended"]);
}

#[test]
fn a_follower_who_fell_behind_goes_on_from_the_history() {
    let mut bench = Bench::new();
    bench.say(ANN, FromOperator::Events { pattern: line(""), after: 0, current: false });
    for _ in 0..5_000 {
        bench.event(Event::new(EventKind::Blocked, ""));
    }
    assert_eq!(bench.heard(ANN).len(), 64);
    bench.say(ANN, FromOperator::More { rows: 1 });
    let (_, job) = bench.job();
    assert!(matches!(job, Job::Replay { after: 163, .. }), "{job:?}");
}

#[test]
fn the_newest_events_are_read_from_ring_and_history_up_to_now() {
    let mut bench = Bench::new();
    let history = |pattern: &str, rows| FromOperator::History { pattern: line(pattern), rows };
    bench.leased("b-1-1.src.rpm", LEASE);
    bench.tell(Msg::Phase { lease: LEASE, phase: Phase::Build });
    bench.event(Event::new(EventKind::Blocked, ""));
    assert_eq!(brief(&bench.ask(history("", 1))), ["event 102 blocked", "end 1"]);
    assert_eq!(brief(&bench.ask(history("", 2))), ["event 100 leased", "event 102 blocked", "end 2"]);
    assert_eq!(brief(&bench.ask(history("b", 1))), ["event 100 leased", "end 1"]);
    assert!(bench.ask(history("b", 3)).is_empty());
    let (run, job) = bench.job();
    assert!(matches!(job, Job::Newest { rows: 2, before: 100, .. }), "{job:?}");
    bench.done(run, Done::Newest(70));
    let (run, job) = bench.job();
    assert!(matches!(job, Job::Replay { after: 70, .. }), "{job:?}");
    let old = EventRow { seq: 71, ..bench.desk.shared.ring[0].clone() };
    bench.done(run, Done::Events(vec![old]));
    assert_eq!(brief(&bench.heard(ANN)), ["event 71 leased", "event 100 leased", "end 2"]);
}

#[test]
fn packages_as_they_are_now_come_before_what_happens_since() {
    let mut bench = Bench::new();
    bench.say(ANN, FromOperator::Events { pattern: line("b"), after: 0, current: true });
    bench.ended(LEASE);
    bench.looks();
    assert_eq!(brief(&bench.heard(ANN)), ["package b-1-1.src.rpm"]);
    bench.leased("b-1-1.src.rpm", LeaseId { counter: 2, ..LEASE });
    bench.leased("a-1-1.src.rpm", LeaseId { counter: 3, ..LEASE });
    assert_eq!(brief(&bench.heard(ANN)), ["event 101 leased"]);
}
