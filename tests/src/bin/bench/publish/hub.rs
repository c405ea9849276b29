//! A real hub that finds 25,000 RPMs which nobody described: how long until all are indexed, and what it needs then.
//!
//! Owns that hub. What it serves meanwhile is for the tests.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use moji_tests::poll_until;
use moji_tests::synthetic::{RESULT_PACKAGES, Shape, Synthetic};

use crate::hub::{Hub, Quiet};
use crate::table::Table;

/// How long it may take; a PC takes a quarter of a minute.
const LIMIT: Duration = Duration::from_secs(300);

/// Measures and prints it.
pub(super) fn run(base: &Path, packages: usize) {
    let world = Synthetic { seed: 3, shape: Shape::REAL, results: packages / RESULT_PACKAGES };
    let empty = Hub::start(base, |_| {});
    assert!(poll_until(LIMIT, || listed(&empty) == Some(0)), "no empty index; its log:\n{}", empty.log());
    quiet(&empty);
    let empty_bytes = empty.memory_bytes();
    drop(empty);
    let mut began = Instant::now();
    let hub = Hub::start_among(base, |folder| {
        world.write(&folder.join("repo"), 0..world.results).expect("RPMs can be written");
        began = Instant::now();
    });
    let opened_s = began.elapsed().as_secs_f64();
    assert!(
        poll_until(LIMIT, || listed(&hub) == Some(packages)),
        "not all is indexed; its log:\n{}",
        hub.log()
    );
    let (seconds, cpu_s) = (began.elapsed().as_secs_f64(), hub.cpu_s());
    quiet(&hub);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let log = hub.log();
    let told = log.lines().filter(|line| line.contains("reading RPMs for the index")).count();
    let title = format!("A hub that finds {packages} RPMs nobody described");
    let mut table = Table::new(&title, &["what", "measured"]);
    for (what, figure) in [
        ("its ports were open after", format!("{opened_s:.2} s")),
        ("all was indexed after", format!("{seconds:.1} s")),
        ("cores it used", format!("{:.2}", cpu_s / seconds)),
        ("times it told how far it was", told.to_string()),
        ("peak memory", format!("{:.0} MiB", mib(hub.peak_bytes()))),
        (
            "memory afterwards, less an empty hub's",
            format!("{:.1} MiB", mib(hub.memory_bytes().saturating_sub(empty_bytes))),
        ),
    ] {
        table.row([what.to_owned(), figure]);
    }
    table.print();
}

fn quiet(hub: &Hub) {
    let mut quiet = Quiet::new(hub.pid());
    poll_until(LIMIT, || quiet.is_reached());
}

/// How many packages the index of everything says that it has.
fn listed(hub: &Hub) -> Option<usize> {
    let repodata = hub.folder("repo").join("repodata");
    let repomd = fs::read_to_string(repodata.join("repomd.xml")).ok()?;
    let name = repomd.split("href=\"repodata/").filter_map(|rest| rest.split('"').next());
    let name = name.into_iter().find(|name| name.contains("-primary.xml"))?;
    let mut head = Command::new("sh");
    head.args(["-c", "gzip -dc \"$0\" | head -c 400"]).arg(repodata.join(name));
    let text = String::from_utf8_lossy(&head.output().ok()?.stdout).into_owned();
    text.split_once(" packages=\"")?.1.split('"').next()?.parse().ok()
}
