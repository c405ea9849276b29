//! A day of a farm in a minute and a half: a thousandth of the time for every build, everything else as it is.
//!
//! Owns that day. Boards fetch, build for as long as planned, log, upload RPMs and ask again; packages arrive all day,
//! some builds fail, networks break now and then, and somebody loads a page each second. At the end every package must
//! be where it belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moji_proto::message::{FromBuilder, Phase, ToBuilder, Verdict, Which};
use moji_proto::{Bytes, FileName, LeaseId};
use moji_tests::faults::Tally;
use moji_tests::synthetic::{Shape, Synthetic};
use moji_tests::varied::Chance;

use super::Size;
use super::upload::{Job, LOGS, Upload, log};
use crate::hub::{Hub, cpu_s};
use crate::pages::load;
use crate::swarm::{Held, Swarm};
use crate::table::{Runs, Summary, Table, met};

/// Boards of the farm.
pub(super) const BOARDS: usize = 120;
/// A thousandth of a day.
pub(super) const DAY: Duration = Duration::from_millis(86_400);
/// How much faster time goes for builds.
const SPEED: f64 = 1_000.0;
/// Planned seconds of builds: half take less than the first, very few more than the last.
const SECONDS: [f64; 3] = [900.0, 60.0, 14_400.0];
/// Of so many builds one fails.
const FAILS: usize = 50;
/// Of so many builds one loses its connection in the middle.
const BREAKS: usize = 100;
/// The share of packages that wait when the day begins, one in so many; the others arrive meanwhile.
const FIRST: usize = 3;
/// Packages that nobody has time for: the last ones of a farm are built twice, which is not the subject here.
const SPARE: usize = 500;
/// From `Ready` to `Job`, 99 of 100, milliseconds.
const EXPECTED_P99_MS: f64 = 10.0;
const LIMIT: Duration = Duration::from_secs(120);
const REST: Duration = Duration::from_secs(20);

/// What a board is doing.
enum Doing {
    /// It has said `Ready`, then.
    Asks(Instant),
    /// Its build is over then, and has said so much of its log.
    Builds(Job, Instant, u32),
    /// Its result is on the way.
    Uploads(Job, Upload),
    /// The day is over for it.
    Rests,
}

/// The farm and what became of its day.
struct Day<'a> {
    world: Synthetic,
    numbers: BTreeMap<FileName, usize>,
    boards: Vec<Doing>,
    chance: Chance,
    over: Instant,
    granted: BTreeSet<FileName>,
    accepted: BTreeSet<LeaseId>,
    breaks: usize,
    failed: usize,
    to_job: Runs,
    to_accepted: Runs,
    tally: &'a mut Tally,
}

/// Runs it, with the hub's folders in `base`.
pub(super) fn run(base: &Path, size: &Size, summary: &mut Summary, tally: &mut Tally) {
    let seed = std::env::var("MOJI_SEED").ok().map_or(1, |text| text.parse().expect("a number"));
    println!("crowd: a day of {} boards, MOJI_SEED={seed}", size.boards);
    // Builds take longer than the median on average: some packages are never built.
    let packages = (size.boards as f64 * size.day.as_secs_f64() / (SECONDS[0] / SPEED)) as usize + SPARE;
    let world = Synthetic { seed, shape: Shape::INSTALLABLE, results: packages };
    let (hub, http) = Hub::start_with_pages(base, |source| {
        (0..packages).step_by(FIRST).for_each(|number| arrive(world, source, number));
    });
    let mut swarm = Swarm::new(&hub, size.boards);
    swarm.connect_and_wait(LIMIT);
    swarm.rest(&hub, REST);
    let names = (0..packages).map(|number| (srpm_name(world, number), number));
    let mut day = Day {
        world,
        numbers: names.collect(),
        boards: std::iter::repeat_with(|| Doing::Rests).take(size.boards).collect(),
        chance: Chance(seed),
        over: Instant::now() + size.day,
        granted: BTreeSet::new(),
        accepted: BTreeSet::new(),
        breaks: 0,
        failed: 0,
        to_job: Runs::default(),
        to_accepted: Runs::default(),
        tally,
    };
    let (start, began) = (State::of(&hub), Instant::now());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| load(http, &stop));
        (0..size.boards).for_each(|i| day.ready(&mut swarm, i));
        let later: Vec<usize> = (0..packages).filter(|number| number % FIRST != 0).collect();
        let (source, mut arrived) = (hub.folder("source"), 0);
        swarm.run_until(size.day + LIMIT, "the day to end", |swarm, news| match news {
            Some((i, said)) => {
                day.hear(swarm, i, said);
                false
            }
            None => {
                let share = began.elapsed().as_secs_f64() / size.day.as_secs_f64();
                let due = ((share * later.len() as f64) as usize).min(later.len());
                later[arrived..due.max(arrived)].iter().for_each(|number| arrive(world, &source, *number));
                arrived = due.max(arrived);
                day.turn(swarm)
            }
        });
        stop.store(true, Ordering::Relaxed);
        later[arrived..].iter().for_each(|number| arrive(world, &source, *number));
    });
    let seconds = began.elapsed().as_secs_f64();
    swarm.rest(&hub, REST);
    let end = State::of(&hub);
    day.judge(&hub, packages, swarm.failures);
    day.report(size, &start, &end, seconds, summary);
}

/// What the hub uses.
struct State {
    mib: f64,
    descriptors: usize,
    cpu_s: f64,
    own_cpu_s: f64,
}

impl State {
    fn of(hub: &Hub) -> State {
        State {
            mib: hub.memory_bytes() as f64 / f64::from(1 << 20),
            descriptors: hub.descriptors(),
            cpu_s: hub.cpu_s(),
            own_cpu_s: cpu_s(std::process::id()),
        }
    }
}

fn srpm_name(world: Synthetic, number: usize) -> FileName {
    FileName::new(format!("{}.src.rpm", world.nvr(number))).expect("a safe name")
}

/// A package comes to `source/`.
fn arrive(world: Synthetic, source: &Path, number: usize) {
    let rpm = &world.result(number).rpms[0];
    let hidden = source.join(format!(".{number}"));
    fs::write(&hidden, &rpm.bytes).expect("a package can be written");
    fs::rename(hidden, source.join(&rpm.name)).expect("a package can be moved");
}

impl Day<'_> {
    /// The board asks for work, unless the day is over.
    fn ready(&mut self, swarm: &mut Swarm, i: usize) {
        swarm.hold(i, None);
        self.boards[i] = Doing::Rests;
        if Instant::now() < self.over {
            swarm.say(i, &FromBuilder::Ready);
            self.boards[i] = Doing::Asks(Instant::now());
        }
    }

    fn hear(&mut self, swarm: &mut Swarm, i: usize, said: ToBuilder) {
        match said {
            ToBuilder::Job { lease, srpm, size, digest, .. } => {
                let Doing::Asks(since) = self.boards[i] else {
                    return self.tally.violation(format!("board {i} got a job that it did not ask for"));
                };
                self.to_job.push(since.elapsed().as_secs_f64() * 1e3);
                self.tally.case();
                let is_new = self.granted.insert(srpm.clone());
                self.tally.holds(is_new, || format!("{srpm} was leased twice"));
                let number = self.numbers[&srpm];
                let job = self.plan(lease, number);
                let until = Instant::now() + Duration::from_secs_f64(job.seconds / SPEED);
                swarm.hold(i, Some(Held { lease, srpm, digest }));
                let length = u32::try_from(size).expect("a small package");
                swarm.say(i, &FromBuilder::Fetch { lease, offset: 0, length });
                self.boards[i] = Doing::Builds(job, until, 0);
            }
            ToBuilder::Data { bytes, .. } => {
                if let Doing::Builds(job, ..) = &mut self.boards[i] {
                    job.fetched += bytes.0.len() as u64;
                }
            }
            ToBuilder::Want { lease, file, offset } => {
                if let Doing::Uploads(_, upload) = &mut self.boards[i] {
                    (upload.file, upload.next, upload.acked) = (file, offset, offset);
                    upload.go_on(swarm, i, lease);
                }
            }
            ToBuilder::Ack { lease, file, offset } => {
                if let Doing::Uploads(_, upload) = &mut self.boards[i]
                    && upload.file == file
                {
                    upload.acked = offset;
                    upload.go_on(swarm, i, lease);
                }
            }
            ToBuilder::Accepted { lease, verdict } => self.accepted(swarm, i, lease, Some(verdict)),
            ToBuilder::Done { lease } => self.accepted(swarm, i, lease, None),
            ToBuilder::Adopted { lease, logs } => match &mut self.boards[i] {
                Doing::Builds(job, ..) if job.lease == lease => job.log_bytes = logs[0],
                Doing::Uploads(job, upload) if job.lease == lease => upload.begin(swarm, i, job),
                _ => self.tally.violation(format!("board {i} got back a lease that it had not")),
            },
            ToBuilder::JobOption { .. } | ToBuilder::Repo { .. } => {}
            other => self.tally.violation(format!("board {i} was told {other:?}")),
        }
    }

    fn accepted(&mut self, swarm: &mut Swarm, i: usize, lease: LeaseId, verdict: Option<Verdict>) {
        let Doing::Uploads(job, upload) = &self.boards[i] else {
            return self.tally.violation(format!("board {i}: a result was accepted that it did not send"));
        };
        let wanted = if job.fails { Verdict::Failed } else { Verdict::Success };
        let is_right = job.lease == lease && verdict.is_none_or(|verdict| verdict == wanted);
        self.tally.holds(is_right, || format!("board {i}: {verdict:?} instead of {wanted:?}"));
        self.tally.holds(self.accepted.insert(lease), || format!("{lease} was accepted twice"));
        self.failed += usize::from(job.fails);
        if let Some(sent) = upload.sent {
            self.to_accepted.push(sent.elapsed().as_secs_f64() * 1e3);
        }
        self.ready(swarm, i);
    }

    /// How a build will go: the logarithm of its time is spread evenly about the middle of three chances.
    fn plan(&mut self, lease: LeaseId, number: usize) -> Job {
        let mut chances = [0; 3].map(|_| self.chance.below(1_000));
        chances.sort_unstable();
        let share = chances[1] as f64 / 1_000.0;
        let [middle, least, most] = SECONDS;
        let seconds = if share < 0.5 {
            least * (middle / least).powf(2.0 * share)
        } else {
            middle * (most / middle).powf(2.0 * share - 1.0)
        };
        let breaks = self.chance.below(BREAKS) == 0;
        let breaks_at = breaks.then(|| self.chance.below(LOGS as usize) as u32);
        let fails = self.chance.below(FAILS) == 0;
        Job { lease, number, seconds, fails, breaks_at, fetched: 0, log_bytes: 0 }
    }

    /// What is due now; whether all boards rest.
    fn turn(&mut self, swarm: &mut Swarm) -> bool {
        let now = Instant::now();
        for i in 0..self.boards.len() {
            let Doing::Builds(job, until, logs) = &mut self.boards[i] else { continue };
            if !swarm.is_registered(i) || job.fetched == 0 {
                continue;
            }
            let step = Duration::from_secs_f64(job.seconds / SPEED) / (LOGS + 1);
            if *logs < LOGS && now + step * (LOGS - *logs) >= *until {
                if *logs == 0 {
                    swarm.say(i, &FromBuilder::Phase { lease: job.lease, phase: Phase::Build });
                }
                let (which, offset) = (Which::Build, job.log_bytes);
                let bytes = Bytes(log(job.number, *logs));
                job.log_bytes += bytes.0.len() as u64;
                swarm.say(i, &FromBuilder::Log { lease: job.lease, which, offset, bytes });
                if job.breaks_at == Some(*logs) {
                    self.breaks += 1;
                    swarm.cut(i);
                }
                *logs += 1;
            }
            if now >= *until && swarm.is_registered(i) {
                let Doing::Builds(job, ..) = std::mem::replace(&mut self.boards[i], Doing::Rests) else {
                    unreachable!("it was just looked at");
                };
                let mut upload = Upload::of(self.world, &job);
                upload.begin(swarm, i, &job);
                self.boards[i] = Doing::Uploads(job, upload);
            }
        }
        now >= self.over && self.boards.iter().all(|doing| matches!(doing, Doing::Rests))
    }

    /// Whether everything is where it belongs.
    fn judge(&mut self, hub: &Hub, packages: usize, failures: usize) {
        let more = failures.saturating_sub(self.breaks);
        self.tally.holds(more == 0, || format!("{more} boards were turned away or cut off"));
        let done = self.accepted.len();
        self.tally.holds(done == self.granted.len(), || {
            format!("{} leases were given, {done} results accepted", self.granted.len())
        });
        let places = ["source", "working", "finished", "repo"].map(|name| hub.count(name));
        // repo/ has its index, too.
        let [source, working, finished, repo] = places;
        let is_right = (source, working, finished) == (packages - done, 0, done) && repo >= done;
        self.tally.holds(is_right, || {
            format!(
                "of {packages} packages {done} were built: {source} wait, {working} are leased, {finished} finished, {repo} in repo/"
            )
        });
        for name in &self.granted {
            let nvr = name.as_str().trim_end_matches(".src.rpm");
            let is_there = hub.folder("repo").join(nvr).join("result.json").is_file();
            self.tally.holds(is_there, || format!("no result of {nvr}"));
        }
        let enough = self.granted.len() > self.boards.len();
        self.tally.holds(enough, || "boards did not even build two packages each".to_owned());
    }

    fn report(&mut self, size: &Size, start: &State, end: &State, seconds: f64, summary: &mut Summary) {
        let boards = size.boards;
        let title = format!(
            "A day of {boards} boards in {seconds:.0} s: {} builds ({} failed, {} lost their connection)",
            self.accepted.len(),
            self.failed,
            self.breaks
        );
        let mut table = Table::new(&title, &["what", "figure", "expected", "met"]);
        let p99 = self.to_job.quantile(0.99);
        let both = |runs: &Runs| format!("{:.2} / {:.2}", runs.quantile(0.5), runs.quantile(0.99));
        let is_met = p99 < EXPECTED_P99_MS;
        let cpu = |from: f64, to: f64| format!("{:.0}", (to - from) / seconds * 100.0);
        for (what, figure, expected) in [
            ("from Ready to Job, p50 / p99, ms", both(&self.to_job), Some(("p99 < 10", is_met))),
            ("from the last byte of a result to Accepted, p50 / p99, ms", both(&self.to_accepted), None),
            ("results a second", format!("{:.0}", self.accepted.len() as f64 / seconds), None),
            ("hub memory, start / end, MiB", format!("{:.1} / {:.1}", start.mib, end.mib), None),
            ("hub descriptors, start / end", format!("{} / {}", start.descriptors, end.descriptors), None),
            ("hub CPU, % of a core", cpu(start.cpu_s, end.cpu_s), None),
            ("CPU of the boards, % of a core", cpu(start.own_cpu_s, end.own_cpu_s), None),
        ] {
            let (expected, is_met) = expected.unzip();
            let is_met = is_met.map(met).unwrap_or_default();
            table.row([what.to_owned(), figure, expected.unwrap_or_default().to_owned(), is_met]);
        }
        table.print();
        let mut one = [(); 4].map(|()| Runs::default());
        let figures = [self.to_job.quantile(0.5), p99, start.mib, end.mib];
        one.iter_mut().zip(figures).for_each(|(runs, figure)| runs.push(figure));
        summary.add(&format!("a day of {boards} boards: Ready to Job, p50"), (&one[0], 2, "ms"), None, None);
        summary.add("  p99", (&one[1], 2, "ms"), None, Some(("< 10", is_met)));
        summary.add("  hub memory at its end", (&one[3], 1, "MiB"), Some(("at its start", &one[2])), None);
        self.tally.figure(format!(
            "a day of {boards} boards: {} builds, Ready to Job p50 {:.1} ms, p99 {p99:.1} ms; hub {:.0} MiB at the start, {:.0} MiB at the end, {} and {} descriptors",
            self.accepted.len(),
            self.to_job.quantile(0.5),
            start.mib,
            end.mib,
            start.descriptors,
            end.descriptors
        ));
    }
}
