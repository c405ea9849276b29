//! Reading and following logs.

use super::*;

pub(super) fn follow(package: &str, offset: u64, follow: bool) -> FromOperator {
    FromOperator::Log { package: line(package), which: Which::Build, attempt: 0, offset, follow }
}

pub(super) fn piece(text: &str, end: bool) -> Done {
    Done::LogRead { pieces: vec![Bytes(text.as_bytes().to_vec())], end }
}

#[test]
fn a_live_log_is_followed_over_the_end_of_its_lease_by_two_at_once() {
    let mut bench = Bench::new();
    bench.leased("b-1-1.src.rpm", LEASE);
    for session in [ANN, BOB] {
        bench.say(session, follow("b", 0, true));
        bench.looks();
        let (run, _) = bench.job();
        bench.done(run, Done::Attempts(vec![attempt(1, false, "")]));
        assert_eq!(brief(&bench.heard(session)), ["log of 1 true"]);
        let (run, _) = bench.job();
        bench.done(run, piece("abc", true));
        assert_eq!(brief(&bench.heard(session)), ["log 0 abc"]);
    }
    bench.tell(Msg::Grown { lease: LEASE, which: Which::Root, bytes: 99 });
    bench.tell(Msg::Grown { lease: LEASE, which: Which::Build, bytes: 3 });
    assert!(bench.jobs().is_empty());
    bench.tell(Msg::Grown { lease: LEASE, which: Which::Build, bytes: 5 });
    for (run, job) in bench.jobs() {
        assert!(matches!(&job, Job::ReadLog { of, offset: 3, .. } if of.live), "{job:?}");
        bench.done(run, piece("de", true));
    }
    assert_eq!(brief(&bench.heard(ANN)), ["log 3 de"]);
    bench.ended(LEASE);
    let jobs = bench.jobs();
    assert_eq!(jobs.len(), 2);
    for (run, job) in jobs {
        assert!(matches!(&job, Job::ReadLog { of, offset: 5, .. } if !of.live), "{job:?}");
        bench.done(run, piece("f", true));
    }
    let end = ["log 5 f", "log end Some(Failed) it failed", "end 5"];
    assert_eq!(brief(&bench.heard(ANN)), end);
    assert_eq!(brief(&bench.heard(BOB))[1..], end);
    assert!(bench.jobs().iter().all(|(_, job)| matches!(job, Job::Close(_))));
}

#[test]
fn a_package_that_waits_is_followed_from_its_lease_on() {
    let mut bench = Bench::new();
    bench.ask(follow("a", 0, true));
    let (run, _) = bench.job();
    bench.done(run, Done::Attempts(vec![attempt(1, true, "")]));
    assert!(bench.heard(ANN).is_empty() && bench.jobs().is_empty());
    bench.leased("a-1-1.src.rpm", LeaseId { counter: 9, ..LEASE });
    assert_eq!(brief(&bench.heard(ANN)), ["log of 2 true"]);
    assert!(matches!(bench.job().1, Job::ReadLog { of, .. } if of.lease.counter == 9));
    // One that leaves the queue has no log.
    let mut bench = Bench::new();
    bench.ask(follow("a", 0, true));
    let (run, _) = bench.job();
    bench.done(run, Done::Attempts(Vec::new()));
    let left = Event { srpm: FileName::new("a-1-1.src.rpm").ok(), ..Event::new(EventKind::Left, "gone") };
    bench.event(left);
    assert_eq!(brief(&bench.heard(ANN)), ["log end None gone", "end 1"]);
}

#[test]
fn a_finished_log_is_read_from_where_the_client_was_and_a_missing_one_is_said() {
    let mut bench = Bench::new();
    bench.ask(follow("s", 7, false));
    let (run, _) = bench.job();
    bench.done(run, Done::Attempts(vec![attempt(1, true, ""), attempt(2, true, "repo/s-1-1@2")]));
    assert_eq!(brief(&bench.heard(ANN)), ["log of 2 false"]);
    let (run, job) = bench.job();
    assert!(
        matches!(job, Job::ReadLog { of, offset: 7, .. } if of.place == line("repo/s-1-1@2") && !of.live)
    );
    bench.done(run, piece("x", false));
    assert_eq!(brief(&bench.heard(ANN)), ["log 7 x"]);
    let (run, _) = bench.job();
    bench.done(run, Done::LogRead { pieces: Vec::new(), end: true });
    assert_eq!(brief(&bench.heard(ANN)), ["end 2"]);
    for (attempts, want) in [(vec![attempt(1, true, "")], 3), (Vec::new(), 0)] {
        let mut bench = Bench::new();
        let number = if want == 3 { 3 } else { 0 };
        let ask = FromOperator::Log {
            package: line("a"),
            which: Which::Root,
            attempt: number,
            offset: 0,
            follow: false,
        };
        bench.ask(ask);
        let (run, _) = bench.job();
        bench.done(run, Done::Attempts(attempts));
        assert_eq!(brief(&bench.heard(ANN)), ["no NotFound a-1-1.src.rpm", "end 1"]);
    }
}
