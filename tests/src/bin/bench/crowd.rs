//! Ten thousand builders: what they cost the hub when idle, and how long it takes when all come back at once.
//!
//! Owns this benchmark. Builders connect from an address each; their side of every handshake runs beside the
//! hub, on the same cores.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::hub::{Hub, cpu_s};
use crate::swarm::Swarm;
use crate::table::{RUNS, Runs, Summary, Table, met, runs};

/// No new run begins after so long.
const ENOUGH: Duration = Duration::from_secs(100);
const BUILDERS: usize = 10_000;
/// What an idle builder may cost the hub, bytes.
const EXPECTED_BYTES: f64 = 8_000.0;
/// How soon all are back, seconds.
const EXPECTED_S: f64 = 4.0;
/// How long idle builders are watched: half of them ping meanwhile.
const IDLE: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(120);
/// How long the hub may take to come to rest between runs.
const REST: Duration = Duration::from_secs(20);

/// Runs it, with the hub's folders in `base`.
pub(crate) fn run(base: &Path, summary: &mut Summary) {
    let (mut first, mut bytes, mut idle_cpu, mut back) = <(Runs, Runs, Runs, Runs)>::default();
    let (mut hub_cpu, mut own_cpu, mut failures) = <(Runs, Runs, Runs)>::default();
    for run in runs(ENOUGH) {
        let hub = Hub::start(base, |_| {});
        let before = hub.memory_bytes();
        let mut swarm = Swarm::new(&hub, BUILDERS);
        let began = Instant::now();
        swarm.connect_and_wait(LIMIT);
        first.push(began.elapsed().as_secs_f64());
        swarm.rest(&hub, REST);
        let (began, cpu) = (Instant::now(), hub.cpu_s());
        swarm.run_until(LIMIT, "a while to pass", |_, _| began.elapsed() >= IDLE);
        idle_cpu.push((hub.cpu_s() - cpu) / began.elapsed().as_secs_f64() * 100.0);
        bytes.push((hub.memory_bytes() - before) as f64 / BUILDERS as f64);

        swarm.disconnect_all();
        swarm.rest(&hub, REST);
        let (began, cpu, own) = (Instant::now(), hub.cpu_s(), cpu_s(std::process::id()));
        swarm.connect_and_wait(LIMIT);
        back.push(began.elapsed().as_secs_f64());
        hub_cpu.push(hub.cpu_s() - cpu);
        own_cpu.push(cpu_s(std::process::id()) - own);
        failures.push(swarm.failures as f64);
        println!("crowd: run {} of at most {RUNS}, {:.2} s", run + 1, began.elapsed().as_secs_f64());
    }
    let mut table = Table::new(
        "10,000 builders, an address each; median of 3 to 5 runs, each with a new hub (smallest to largest)",
        &["what", "figure", "expected", "met"],
    );
    let mut row = |what: &str, figure: String, expected: &str, is_met: Option<bool>| {
        table.row([what.to_owned(), figure, expected.to_owned(), is_met.map(met).unwrap_or_default()]);
    };
    let is_small = bytes.median() < EXPECTED_BYTES;
    row("hub memory an idle builder, bytes", bytes.text(0), "< 8,000", Some(is_small));
    row("hub CPU while idle, each pinging every 20 s, % of a core", idle_cpu.text(1), "", None);
    row("all connect at once to a new hub, s", first.text(2), "", None);
    row("all reconnect at once, s", back.text(2), "< 4", Some(back.median() < EXPECTED_S));
    row("  hub CPU meanwhile, s", hub_cpu.text(2), "", None);
    row("  CPU of the builders meanwhile, s", own_cpu.text(2), "", None);
    row("  attempts turned away and made again", failures.text(0), "", None);
    table.print();
    summary.add("hub memory an idle builder, at 10,000", (&bytes, 0, "B"), None, Some(("< 8,000", is_small)));
    let is_soon = back.median() < EXPECTED_S;
    summary.add("10,000 reconnect at once", (&back, 2, "s"), None, Some(("< 4", is_soon)));
    summary.add("  CPU of the hub meanwhile", (&hub_cpu, 2, "s"), None, None);
    summary.add("  CPU of the builders meanwhile", (&own_cpu, 2, "s"), None, None);
    summary.add("  attempts made again", (&failures, 0, ""), None, None);
}
