//! Many builders asking at once.
//!
//! Owns this benchmark, and its peer: the same durable grants with one sync each, in the same folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use moji_proto::LeaseId;
use moji_proto::message::{FromBuilder, ReleaseWhy, ToBuilder};

use crate::hub::Hub;
use crate::srpm;
use crate::swarm::Swarm;
use crate::table::{Runs, Summary, Table, met, runs};

/// No new run of a figure begins after so long.
const ENOUGH: Duration = Duration::from_secs(45);
/// How many builders ask.
const BUILDERS: [usize; 2] = [1_000, 10_000];
/// How many grants the peer makes a run: enough to even out the disk, few enough for a slow one.
const PEER_GRANTS: u32 = 100;
/// How often faster than the peer the hub is to be.
const EXPECTED_RATIO: f64 = 5.0;
const LIMIT: Duration = Duration::from_secs(120);
/// How long the hub may take to come to rest between runs.
const REST: Duration = Duration::from_secs(20);

/// Runs it, with the hub's folders in `base`.
pub(crate) fn run(base: &Path, summary: &mut Summary) {
    let mut table = Table::new(
        "All builders ask at once; every grant durable before its Job is sent; median of 3 to 5 runs (smallest to largest)",
        &[
            "builders",
            "all have a job, s",
            "jobs/s",
            "one sync each, jobs/s",
            "ratio",
            "hub CPU, s",
            ">= 5 times",
        ],
    );
    for count in BUILDERS {
        let (mut seconds, mut rate, mut peer, mut ratio, mut cpu) =
            <(Runs, Runs, Runs, Runs, Runs)>::default();
        let hub = Hub::start(base, |source| {
            for number in 0..count {
                srpm::write(source, &format!("p{number:05}"), 64).expect("a package can be written");
            }
        });
        let mut swarm = Swarm::new(&hub, count);
        swarm.connect_and_wait(LIMIT);
        for _ in runs(ENOUGH) {
            swarm.rest(&hub, REST);
            let one = one_by_one(base, PEER_GRANTS).as_secs_f64();
            let cpu_before = hub.cpu_s();
            let took = ask(&mut swarm).as_secs_f64();
            cpu.push(hub.cpu_s() - cpu_before);
            seconds.push(took);
            rate.push(count as f64 / took);
            peer.push(1.0 / one);
            ratio.push(count as f64 * one / took);
        }
        let name = format!("{count} ask at once, all have a durable job");
        let is_met = ratio.median() >= EXPECTED_RATIO;
        summary.add(
            &name,
            (&rate, 0, "jobs/s"),
            Some(("one sync each", &peer)),
            Some((">= 5 times", is_met)),
        );
        table.row([
            count.to_string(),
            seconds.text(2),
            rate.text(0),
            peer.text(0),
            ratio.text(1),
            cpu.text(2),
            met(ratio.median() >= EXPECTED_RATIO),
        ]);
    }
    table.print();
}

/// Has everybody ask, says how long it took until the last had a job, and gives all jobs back.
fn ask(swarm: &mut Swarm) -> Duration {
    let mut leases: Vec<Option<LeaseId>> = vec![None; swarm.len()];
    let mut left = swarm.len();
    let began = Instant::now();
    (0..swarm.len()).for_each(|i| swarm.say(i, &FromBuilder::Ready));
    swarm.run_until(LIMIT, "every builder to have a job", |_, news| {
        if let Some((i, ToBuilder::Job { lease, .. })) = news {
            assert!(leases[i].replace(lease).is_none(), "one job a Ready");
            left -= 1;
        }
        left == 0
    });
    let took = began.elapsed();
    for (i, lease) in leases.into_iter().enumerate() {
        let lease = lease.expect("each has a job");
        swarm.say(i, &FromBuilder::Release { lease, why: ReleaseWhy::Stopped });
    }
    took
}

/// How long each of `count` syncs of a line takes in this folder, milliseconds: nothing durable is sooner.
pub(crate) fn syncs(base: &Path, count: u32) -> Runs {
    let mut file = tempfile::tempfile_in(base).expect("a file");
    let mut runs = Runs::default();
    for _ in 0..count {
        writeln!(file, "{}", "0".repeat(128)).expect("a line");
        let began = Instant::now();
        file.sync_data().expect("a sync");
        runs.push(began.elapsed().as_secs_f64() * 1e3);
    }
    runs
}

/// How long a durable grant takes with syncs of its own, on average of `count`: a line in a journal, the file's
/// move, both folders.
pub(crate) fn one_by_one(base: &Path, count: u32) -> Duration {
    let folder = tempfile::Builder::new().prefix("moji-bench-").tempdir_in(base).expect("a folder");
    let (source, working) = (folder.path().join("source"), folder.path().join("working"));
    for folder in [&source, &working] {
        fs::create_dir(folder).expect("a folder can be made");
    }
    for number in 0..count {
        srpm::write(&source, &format!("p{number:05}"), 64).expect("a package can be written");
    }
    let mut journal = File::create(working.join(".leases")).expect("a journal");
    let folders = [&source, &working].map(|path| File::open(path).expect("a folder can be opened"));
    let began = Instant::now();
    for number in 0..count {
        let name = srpm::file_name(&format!("p{number:05}"));
        writeln!(journal, "00000000 grant 1764000000-{number} {} {name}", "0".repeat(64)).expect("a line");
        journal.sync_data().expect("a sync");
        fs::rename(source.join(&name), working.join(&name)).expect("a move");
        folders.iter().for_each(|folder| folder.sync_all().expect("a sync"));
    }
    began.elapsed() / count
}
