//! Ten thousand builders: what they cost the hub when idle, how long it takes when all come back at once, also after the
//! hub was killed, and when all ask for work at once; then a day of a farm in minutes (`day.rs`).
//!
//! Owns this benchmark, and its row in the table of faults: nobody is turned away, every builder gets one job, every
//! package is leased once, and none is lost. Builders connect from an address each; their side of every handshake runs
//! beside the hub, on the same cores.
//!
//! `MOJI_LOAD_BUILDERS`, `MOJI_LOAD_BOARDS` and `MOJI_LOAD_DAY_S` make it smaller, for a test: then it is done once.

mod day;
mod upload;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use moji_proto::message::{FromBuilder, ToBuilder};
use moji_tests::faults::Tally;

use crate::hub::{Hub, cpu_s};
use crate::srpm;
use crate::swarm::{Held, Swarm};
use crate::table::{RUNS, Runs, Summary, Table, met, runs};

/// No new run begins after so long.
const ENOUGH: Duration = Duration::from_secs(100);
const BUILDERS: usize = 10_000;
/// Packages beside one for each builder, one for so many: none is built twice, as the last ones of a farm are.
const SPARE: usize = 10;
/// What an idle builder may cost the hub, bytes.
const EXPECTED_BYTES: f64 = 8_000.0;
/// How soon all are back, seconds.
const EXPECTED_S: f64 = 4.0;
/// How long idle builders are watched: half of them ping meanwhile.
const IDLE: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(120);
/// How long the hub may take to come to rest between runs.
const REST: Duration = Duration::from_secs(20);

/// How much of it is done.
struct Size {
    builders: usize,
    boards: usize,
    /// How long a day takes.
    day: Duration,
    is_whole: bool,
}

impl Size {
    fn from_env() -> Size {
        let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
        let builders = number("MOJI_LOAD_BUILDERS");
        Size {
            builders: builders.unwrap_or(BUILDERS),
            boards: number("MOJI_LOAD_BOARDS").unwrap_or(day::BOARDS),
            day: number("MOJI_LOAD_DAY_S").map_or(day::DAY, |seconds| Duration::from_secs(seconds as u64)),
            is_whole: builders.is_none(),
        }
    }
}

/// What was measured of the crowd.
#[derive(Default)]
struct Figures {
    first: Runs,
    bytes: Runs,
    idle_cpu: Runs,
    descriptors: Runs,
    back: Runs,
    hub_cpu: Runs,
    own_cpu: Runs,
    failures: Runs,
    asked: Asked,
    killed: Killed,
}

/// All asked at once.
#[derive(Default)]
struct Asked {
    all_s: Runs,
    p50_ms: Runs,
    p99_ms: Runs,
}

/// The hub was killed and started again.
#[derive(Default)]
struct Killed {
    /// From the kill until the new hub listened.
    down_s: Runs,
    /// From then until the last builder was registered.
    back_s: Runs,
    /// From the same until the last had its job back.
    adopted_s: Runs,
    syns: Runs,
    drops: Runs,
    cookies: Runs,
}

/// Runs it, with the hub's folders in `base`.
pub(crate) fn run(base: &Path, summary: &mut Summary) {
    let size = Size::from_env();
    let mut tally = Tally::new(
        7,
        if size.is_whole { "load" } else { "load-small" },
        &format!(
            "{} builders connect, reconnect and ask for work at once; a killed hub gets them all back; a day of {} boards in {} s",
            size.builders,
            size.boards,
            size.day.as_secs()
        ),
        "nobody is turned away, every builder gets one job, every package is leased once and ends in one place",
        if size.is_whole { "tests/bench crowd" } else { "cargo test -p moji-tests --test load" },
    );
    let mut figures = Figures::default();
    for run in runs(ENOUGH).take(if size.is_whole { RUNS } else { 1 }) {
        let began = Instant::now();
        one_run(base, &size, &mut figures, &mut tally);
        println!("crowd: run {} of at most {RUNS}, {:.2} s", run + 1, began.elapsed().as_secs_f64());
    }
    table(&size, &figures);
    summed_up(&size, &figures, summary);
    let (asked, killed) = (&figures.asked, &figures.killed);
    tally.figure(format!(
        "all asked at once: p99 {:.0} ms; after a kill all were back in {:.1} s; an idle builder takes {:.0} bytes of the hub",
        asked.p99_ms.median(),
        killed.back_s.median(),
        figures.bytes.median()
    ));
    day::run(base, &size, summary, &mut tally);
    tally.end();
}

fn one_run(base: &Path, size: &Size, figures: &mut Figures, tally: &mut Tally) {
    let packages = size.builders + size.builders / SPARE;
    let mut hub = Hub::start(base, |source| {
        for number in 0..packages {
            srpm::write(source, &format!("p{number:05}"), 64).expect("a package can be written");
        }
    });
    let mut swarm = Swarm::new(&hub, size.builders);
    swarm.rest(&hub, REST);
    let before = hub.memory_bytes();
    let began = Instant::now();
    swarm.connect_and_wait(LIMIT);
    figures.first.push(began.elapsed().as_secs_f64());
    tally.holds(swarm.failures == 0, || format!("{} turned away at first", swarm.failures));
    swarm.rest(&hub, REST);
    let (began, cpu) = (Instant::now(), hub.cpu_s());
    let idle = if size.is_whole { IDLE } else { IDLE / 10 };
    swarm.run_until(LIMIT, "a while to pass", |_, _| began.elapsed() >= idle);
    figures.idle_cpu.push((hub.cpu_s() - cpu) / began.elapsed().as_secs_f64() * 100.0);
    figures.bytes.push(hub.memory_bytes().saturating_sub(before) as f64 / size.builders as f64);
    figures.descriptors.push(hub.descriptors() as f64);

    swarm.disconnect_all();
    swarm.rest(&hub, REST);
    let (began, cpu, own) = (Instant::now(), hub.cpu_s(), cpu_s(std::process::id()));
    swarm.connect_and_wait(LIMIT);
    figures.back.push(began.elapsed().as_secs_f64());
    figures.hub_cpu.push(hub.cpu_s() - cpu);
    figures.own_cpu.push(cpu_s(std::process::id()) - own);
    figures.failures.push(swarm.failures as f64);
    tally.holds(swarm.failures == 0, || format!("{} turned away when all came back", swarm.failures));
    tally.cases(2 * size.builders as u64);

    swarm.rest(&hub, REST);
    let jobs = ask(&mut swarm, &mut figures.asked, tally);
    places(&hub, packages, size.builders, "all had asked", tally);
    kill(&mut hub, &mut swarm, &jobs, &mut figures.killed, tally);
    places(&hub, packages, size.builders, "the hub was killed", tally);
}

/// Has everybody ask, and returns what each got.
fn ask(swarm: &mut Swarm, asked: &mut Asked, tally: &mut Tally) -> Vec<Option<Held>> {
    let mut jobs: Vec<Option<Held>> = vec![None; swarm.len()];
    let (mut leases, mut srpms) = (BTreeSet::new(), BTreeSet::new());
    let mut spans = Runs::default();
    let mut left = swarm.len();
    let all = Instant::now();
    let mut asked_at = vec![all; swarm.len()];
    for (i, asked_at) in asked_at.iter_mut().enumerate() {
        *asked_at = Instant::now();
        swarm.say(i, &FromBuilder::Ready);
    }
    swarm.run_until(LIMIT, "every builder to have a job", |_, news| {
        if let Some((i, ToBuilder::Job { lease, srpm, digest, .. })) = news {
            spans.push(asked_at[i].elapsed().as_secs_f64() * 1e3);
            tally.case();
            tally.holds(leases.insert(lease), || format!("lease {lease} was given twice"));
            tally.holds(srpms.insert(srpm.clone()), || format!("{srpm} was leased twice"));
            let first = jobs[i].replace(Held { lease, srpm, digest }).is_none();
            tally.holds(first, || format!("builder {i} got a second job"));
            left -= usize::from(first);
        }
        left == 0
    });
    asked.all_s.push(all.elapsed().as_secs_f64());
    asked.p50_ms.push(spans.quantile(0.5));
    asked.p99_ms.push(spans.quantile(0.99));
    for (i, held) in jobs.iter().enumerate() {
        swarm.hold(i, held.clone());
    }
    jobs
}

/// Kills the hub while everybody has a job, and has all come back to the next one at once.
fn kill(hub: &mut Hub, swarm: &mut Swarm, jobs: &[Option<Held>], killed: &mut Killed, tally: &mut Tally) {
    let before = Listening::now();
    let began = Instant::now();
    hub.kill_and_restart();
    killed.down_s.push(began.elapsed().as_secs_f64());
    let began = Instant::now();
    swarm.failures = 0;
    let (mut back_s, mut left) = (None, jobs.len());
    let mut has_job = vec![false; jobs.len()];
    swarm.run_until(LIMIT, "every builder to have its job back", |swarm, news| {
        match news {
            None => {
                if swarm.registered == swarm.len() && swarm.failures > 0 {
                    back_s.get_or_insert(began.elapsed().as_secs_f64());
                }
                return left == 0;
            }
            Some((i, ToBuilder::Adopted { lease, .. })) => {
                let own = jobs[i].as_ref().is_some_and(|held| held.lease == lease);
                tally.holds(own && !has_job[i], || format!("builder {i} got back {lease}, which it had not"));
                left -= usize::from(!std::mem::replace(&mut has_job[i], true));
                tally.case();
            }
            Some((i, said @ (ToBuilder::Job { .. } | ToBuilder::Gone { .. } | ToBuilder::Done { .. }))) => {
                tally.violation(format!("builder {i}, which is at work, was told {said:?}"));
                left -= usize::from(!std::mem::replace(&mut has_job[i], true));
            }
            Some(_) => {}
        }
        false
    });
    killed.adopted_s.push(began.elapsed().as_secs_f64());
    killed.back_s.push(back_s.unwrap_or_else(|| began.elapsed().as_secs_f64()));
    // Each lost one connection with the old hub.
    let more = swarm.failures.saturating_sub(jobs.len());
    tally.holds(more == 0, || format!("{more} turned away by the hub that was started again"));
    let after = Listening::now();
    killed.syns.push(after.syns - before.syns);
    killed.drops.push(after.drops - before.drops);
    killed.cookies.push(after.cookies - before.cookies);
}

/// Every package is in one place.
fn places(hub: &Hub, packages: usize, leased: usize, when: &str, tally: &mut Tally) {
    let [source, working, finished] = ["source", "working", "finished"].map(|name| hub.count(name));
    let is_right = (source, working, finished) == (packages - leased, leased, 0);
    tally.holds(is_right, || {
        format!(
            "once {when}, {source} packages wait, {working} are leased, {finished} finished, of {packages}"
        )
    });
}

/// What the kernel counts of connections that wait to be accepted, of the whole machine.
struct Listening {
    /// SYNs that were sent again.
    syns: f64,
    /// Connections that a full queue dropped.
    drops: f64,
    /// SYNs that were answered with a cookie since the queue of half-open ones was full.
    cookies: f64,
}

impl Listening {
    fn now() -> Listening {
        let text = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
        let names = lines.next().unwrap_or_default().split(' ');
        let counts: Vec<(&str, &str)> = names.zip(lines.next().unwrap_or_default().split(' ')).collect();
        let count = |wanted: &str| {
            let found = counts.iter().find(|(name, _)| *name == wanted);
            found.and_then(|(_, count)| count.parse().ok()).unwrap_or(f64::NAN)
        };
        Listening {
            syns: count("TCPSynRetrans"),
            drops: count("ListenDrops"),
            cookies: count("SyncookiesSent"),
        }
    }
}

fn table(size: &Size, figures: &Figures) {
    let mut table = Table::new(
        &format!(
            "{} builders, an address each; median of all runs, each with a new hub (smallest to largest)",
            size.builders
        ),
        &["what", "figure", "expected", "met"],
    );
    let mut row = |what: &str, figure: String, expected: &str, is_met: Option<bool>| {
        table.row([what.to_owned(), figure, expected.to_owned(), is_met.map(met).unwrap_or_default()]);
    };
    let Figures { asked, killed, .. } = figures;
    let is_small = figures.bytes.median() < EXPECTED_BYTES;
    row("hub memory an idle builder, bytes", figures.bytes.text(0), "< 8,000", Some(is_small));
    row("hub CPU while idle, each pinging every 20 s, % of a core", figures.idle_cpu.text(1), "", None);
    row("hub descriptors", figures.descriptors.text(0), "", None);
    row("all connect at once to a new hub, s", figures.first.text(2), "", None);
    row("all reconnect at once, s", figures.back.text(2), "< 4", Some(figures.back.median() < EXPECTED_S));
    row("  hub CPU meanwhile, s", figures.hub_cpu.text(2), "", None);
    row("  CPU of the builders meanwhile, s", figures.own_cpu.text(2), "", None);
    row("  attempts turned away and made again", figures.failures.text(0), "", None);
    row("all ask for work at once: all have a durable job, s", asked.all_s.text(2), "", None);
    row("  from Ready to Job, p50, ms", asked.p50_ms.text(0), "", None);
    row("  from Ready to Job, p99, ms", asked.p99_ms.text(0), "", None);
    row(
        "the hub is killed (-9) while all build; the next one listens after, s",
        killed.down_s.text(2),
        "",
        None,
    );
    row("  then until the last is registered, s (1 s of it they wait)", killed.back_s.text(2), "", None);
    row("  then until the last has its job back, s", killed.adopted_s.text(2), "", None);
    row("  SYNs sent again meanwhile", killed.syns.text(0), "", None);
    row("  connections that a full queue of the listener dropped", killed.drops.text(0), "", None);
    row("  SYNs answered with a cookie", killed.cookies.text(0), "", None);
    table.print();
}

fn summed_up(size: &Size, figures: &Figures, summary: &mut Summary) {
    let Figures { asked, killed, .. } = figures;
    let count = size.builders;
    let is_small = figures.bytes.median() < EXPECTED_BYTES;
    let is_soon = figures.back.median() < EXPECTED_S;
    let bytes = (&figures.bytes, 0, "B");
    summary.add(&format!("hub memory an idle builder, at {count}"), bytes, None, Some(("< 8,000", is_small)));
    summary.add(&format!("{count} reconnect at once"), (&figures.back, 2, "s"), None, Some(("< 4", is_soon)));
    summary.add("  CPU of the hub meanwhile", (&figures.hub_cpu, 2, "s"), None, None);
    summary.add("  CPU of the builders meanwhile", (&figures.own_cpu, 2, "s"), None, None);
    summary.add("  attempts made again", (&figures.failures, 0, ""), None, None);
    summary.add(&format!("{count} ask at once, Ready to Job, p50"), (&asked.p50_ms, 0, "ms"), None, None);
    summary.add("  p99", (&asked.p99_ms, 0, "ms"), None, None);
    summary.add(&format!("{count} back at a hub that was killed"), (&killed.back_s, 2, "s"), None, None);
    summary.add("  all have their job back", (&killed.adopted_s, 2, "s"), None, None);
}
