//! From a whole result to the builder's next job.
//!
//! Owns this benchmark: 10,000 packages wait, 1,000 builders hold a lease each; one after another uploads a
//! failed build's log, hears `Accepted`, says `Ready` and gets its next job.

use std::path::Path;
use std::time::{Duration, Instant};

use moji_proto::LeaseId;
use moji_proto::message::{FromBuilder, ToBuilder};

use crate::builds::{Content, Upload};
use crate::grants::syncs;
use crate::hub::Hub;
use crate::srpm;
use crate::swarm::Swarm;
use crate::table::{Runs, Summary, Table, met, runs};

pub(crate) const BUILDERS: usize = 1_000;
/// So many that 10,000 still wait when the last result is in.
pub(crate) const PACKAGES: usize = 14_000;
/// No new run of a figure begins after so long.
const ENOUGH: Duration = Duration::from_secs(25);
/// Results of one run, with one builder at a time.
pub(crate) const RESULTS: usize = 200;
/// Results of one run in which several come at once, and how many.
const RESULTS_AT_ONCE: usize = 400;
const AT_ONCE: usize = 32;
/// From the last byte of a result to the next job, 99 of 100, milliseconds.
const EXPECTED_P99_MS: f64 = 10.0;
/// Syncs that are timed beside.
const SYNCS: u32 = 200;
const LIMIT: Duration = Duration::from_secs(60);
/// How long the hub may take to come to rest between runs.
const REST: Duration = Duration::from_secs(20);

/// A builder's way from one job to the next.
#[derive(Default)]
pub(crate) struct Builder {
    lease: Option<LeaseId>,
    upload: Upload,
    /// When the last byte of its result was sent.
    sent: Option<Instant>,
    /// When it said `Ready` after that.
    ready: Option<Instant>,
}

/// The three spans of one run's results, milliseconds.
#[derive(Default)]
pub(crate) struct Spans {
    to_accepted: Runs,
    /// From `Ready` to `Job`.
    pub(crate) to_job: Runs,
    all: Runs,
}

/// Runs it, with the hub's folders in `base` and in memory.
pub(crate) fn run(base: &Path, summary: &mut Summary) {
    let mut table = Table::new(
        "Result to next job: 10,000 packages wait, 1,000 builders connected; ms, median of 3 to 5 runs (smallest to largest)",
        &["folders", "results at once", "span", "p50", "p99", "jobs/s", "p99 < 10 ms"],
    );
    for (what, base) in [("disk", base), ("memory", Path::new("/dev/shm"))] {
        on(what, base, &mut table, summary);
    }
    table.print();
}

fn on(what: &str, base: &Path, table: &mut Table, summary: &mut Summary) {
    let one = syncs(base, SYNCS);
    let [sync_p50, sync_p99] = [0.5, 0.99].map(|share| one.quantile(share));
    println!("dispatch: on {what}, one fdatasync takes {sync_p50:.2} ms (p50), {sync_p99:.2} ms (p99)");
    let hub = Hub::start(base, fill);
    let (mut swarm, mut builders) = at_work(&hub);
    let content = Content::new("build.log", 2_048);
    for (at_once, results) in [(1, RESULTS), (AT_ONCE, RESULTS_AT_ONCE)] {
        swarm.rest(&hub, REST);
        let (mut p50, mut p99): ([Runs; 3], [Runs; 3]) = Default::default();
        let mut rate = Runs::default();
        for run in runs(ENOUGH) {
            let began = Instant::now();
            let spans = one_run(&mut swarm, &mut builders, &content, run * results, at_once, results);
            rate.push(results as f64 / began.elapsed().as_secs_f64());
            for (i, span) in [&spans.to_accepted, &spans.to_job, &spans.all].into_iter().enumerate() {
                p50[i].push(span.quantile(0.5));
                p99[i].push(span.quantile(0.99));
            }
        }
        let results = if at_once == 1 { "one at a time" } else { "32 at once" };
        let [mut p50_sync, mut p99_sync] = <[Runs; 2]>::default();
        p50_sync.push(sync_p50);
        p99_sync.push(sync_p99);
        let name = format!("result to next job, {what}, {results}");
        summary.add(&format!("{name}, p50"), (&p50[2], 2, "ms"), Some(("one fdatasync", &p50_sync)), None);
        let wanted = Some(("< 10", p99[2].median() < EXPECTED_P99_MS));
        summary.add(&format!("{name}, p99"), (&p99[2], 2, "ms"), Some(("one fdatasync", &p99_sync)), wanted);
        for (i, name) in ["last byte to Accepted", "Ready to Job", "last byte to Job"].into_iter().enumerate()
        {
            table.row([
                what.to_owned(),
                at_once.to_string(),
                name.to_owned(),
                p50[i].text(2),
                p99[i].text(2),
                if i == 2 { rate.text(0) } else { String::new() },
                if i == 2 { met(p99[i].median() < EXPECTED_P99_MS) } else { String::new() },
            ]);
        }
    }
}

/// Puts the packages into `source`.
pub(crate) fn fill(source: &Path) {
    for number in 0..PACKAGES {
        srpm::write(source, &format!("p{number:05}"), 64).expect("a package can be written");
    }
}

/// All builders, each with a job.
pub(crate) fn at_work(hub: &Hub) -> (Swarm, Vec<Builder>) {
    let mut swarm = Swarm::new(hub, BUILDERS);
    let mut builders: Vec<Builder> = std::iter::repeat_with(Builder::default).take(BUILDERS).collect();
    swarm.connect_and_wait(LIMIT);
    (0..BUILDERS).for_each(|i| swarm.say(i, &FromBuilder::Ready));
    swarm.run_until(LIMIT, "every builder to have a job", |_, news| {
        if let Some((i, ToBuilder::Job { lease, .. })) = news {
            builders[i].lease = Some(lease);
        }
        builders.iter().all(|builder| builder.lease.is_some())
    });
    (swarm, builders)
}

/// `results` results beginning with builder `first`, `at_once` of them under way at any time.
pub(crate) fn one_run(
    swarm: &mut Swarm,
    builders: &mut [Builder],
    content: &Content,
    first: usize,
    at_once: usize,
    results: usize,
) -> Spans {
    let mut spans = Spans::default();
    let (mut begun, mut done) = (0, 0);
    swarm.run_until(LIMIT, "the next job of every builder", |swarm, news| {
        let Some((i, said)) = news else {
            while begun < results && begun - done < at_once {
                let i = (first + begun) % builders.len();
                let lease = builders[i].lease.expect("it has a job");
                content.results(lease).iter().for_each(|message| swarm.say(i, message));
                begun += 1;
            }
            return done == results;
        };
        let builder = &mut builders[i];
        match said {
            ToBuilder::Want { lease, offset, .. } => {
                builder.upload.heard(true, offset);
                while let Some(piece) = builder.upload.next_piece(lease, content) {
                    swarm.say(i, &piece);
                }
                builder.sent = Some(Instant::now());
            }
            ToBuilder::Accepted { .. } => {
                let sent = builder.sent.expect("the result was sent");
                spans.to_accepted.push(sent.elapsed().as_secs_f64() * 1e3);
                builder.ready = Some(Instant::now());
                swarm.say(i, &FromBuilder::Ready);
            }
            ToBuilder::Job { lease, .. } => {
                let (sent, ready) = (builder.sent.take(), builder.ready.take());
                spans.to_job.push(ready.expect("it is ready").elapsed().as_secs_f64() * 1e3);
                spans.all.push(sent.expect("the result was sent").elapsed().as_secs_f64() * 1e3);
                builder.lease = Some(lease);
                done += 1;
            }
            ToBuilder::Ack { .. } => {}
            other => panic!("the hub said {other:?}"),
        }
        false
    });
    spans
}
