//! Source RPMs that operators send.

use super::*;

fn submit(size: u64) -> FromOperator {
    let digest = Digest::of(b"x");
    FromOperator::Submit { name: srpm("n-1-1.src.rpm"), size, digest, first: true, options: 0 }
}

#[test]
fn a_source_rpm_arrives_within_its_window_and_is_delivered_whole() {
    let mut bench = Bench::new();
    bench.ask(submit(10));
    let (run, job) = bench.job();
    assert!(matches!(job, Job::Open(_)));
    bench.say(BOB, submit(10));
    assert_eq!(brief(&bench.heard(BOB)), ["no Later n-1-1.src.rpm", "end 1"]);
    bench.done(run, Done::Opened(4));
    assert_eq!(bench.heard(ANN), [ToOperator::Want { offset: 4 }]);
    let data = |offset, len| FromOperator::Data { offset, bytes: Bytes(vec![0; len]) };
    bench.say(ANN, data(4, 2));
    let (_, job) = bench.job();
    assert!(matches!(job, Job::Write { offset: 4, .. }));
    // What comes while a worker writes goes as one.
    bench.say(ANN, data(6, 1));
    bench.say(ANN, data(7, 3));
    assert!(bench.jobs().is_empty());
    bench.done(run, Done::Written(6));
    assert_eq!(bench.heard(ANN), [ToOperator::Ack { offset: 6 }]);
    let (_, job) = bench.job();
    assert!(matches!(job, Job::Write { offset: 6, bytes } if bytes.0.len() == 4));
    bench.done(run, Done::Written(10));
    bench.heard(ANN);
    assert!(matches!(bench.job().1, Job::Deliver { first: true, .. }));
    bench.done(
        run,
        Done::Changed(vec![Reply::Changed { target: "n-1-1.src.rpm".into(), text: "waits".into() }]),
    );
    assert_eq!(brief(&bench.heard(ANN)), ["changed n-1-1.src.rpm: waits", "end 1"]);
    let consumed = bench.effects.iter().filter_map(|effect| match effect {
        Effect::Consumed(ANN, bytes) => Some(*bytes),
        _ => None,
    });
    assert_eq!(consumed.sum::<u32>(), 6);
    assert!(bench.desk.shared.parcels.is_empty());
}

#[test]
fn every_byte_of_a_submit_that_fails_is_given_back_and_a_gap_ends_the_session() {
    let mut bench = Bench::new();
    let data = |offset, len| FromOperator::Data { offset, bytes: Bytes(vec![0; len]) };
    bench.ask(submit(10));
    let (run, _) = bench.job();
    bench.done(run, Done::Opened(0));
    bench.say(ANN, data(0, 2));
    bench.say(ANN, data(2, 3));
    bench.done(run, Done::Failed("disk full".to_owned()));
    // On its way when the hub gave up.
    bench.say(ANN, data(5, 5));
    let consumed = |bench: &Bench| -> u32 {
        bench
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Consumed(ANN, bytes) => Some(*bytes),
                _ => None,
            })
            .sum()
    };
    assert_eq!(consumed(&bench), 10);
    assert_eq!(brief(&bench.heard(ANN))[1..], ["no Failed n-1-1.src.rpm", "end 1"]);
    for (offset, len) in [(1, 1), (0, 11), (0, 0)] {
        let mut bench = Bench::new();
        bench.ask(submit(10));
        let (run, _) = bench.job();
        bench.done(run, Done::Opened(0));
        bench.say(ANN, data(offset, len));
        let closed = |effect: &Effect| matches!(effect, Effect::Close(ANN, RejectCode::Limit));
        assert!(bench.effects.iter().any(closed), "{offset} {len}");
        assert_eq!(consumed(&bench) as usize, len);
    }
}
