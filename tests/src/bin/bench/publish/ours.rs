//! moji's publisher, on the threads that the hub would use, measured a step at a time.
//!
//! Owns those measurements; every one of them starts from what is on disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use moji_server::index::{IndexError, Recent, RecentChange};
use moji_server::repodata::Group;
use moji_tests::Publisher;
use moji_tests::synthetic::RESULT_PACKAGES;

use super::peer::Peer;
use super::site::Site;
use crate::table::{Runs, Summary, Table};

/// Packages in recent when it is full.
const RECENT_PACKAGES: usize = 256;
/// Results of a burst.
const BURST: usize = 256;
/// How often the complete index is made.
const COMPLETES: usize = 5;
/// What the hub may need for its indexes at 25,000 packages, bytes.
const MEMORY_WANTED: u64 = 16 << 20;
/// How long a merge may delay a publication, milliseconds.
const DELAY_WANTED_MS: f64 = 50.0;
/// Results described ahead of a merge in a cold start.
const DESCRIBED_AHEAD: usize = 64;

/// How long publications took.
#[derive(Default)]
pub(super) struct Publications {
    /// Of results of five RPMs, milliseconds.
    pub(super) five_ms: Runs,
    /// Of results of one RPM.
    pub(super) one_ms: Runs,
    /// What of the first was for describing and the commit.
    pub(super) commit_ms: Runs,
    /// What of the first was for the index.
    pub(super) publish_ms: Runs,
}

/// How long it took to index what nobody had described.
pub(super) struct ColdStart {
    pub(super) seconds: f64,
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn add(groups: Vec<Group>) -> RecentChange {
    RecentChange { add: groups, ..RecentChange::default() }
}

/// Describes every RPM of the site with all cores and puts it on the shelves.
pub(super) fn cold_start(site: &Site) -> ColdStart {
    let began = Instant::now();
    let mut shelves = site.publisher.shelves().expect("empty shelves");
    let results = site.first_results();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (out, described) = mpsc::sync_channel::<Vec<Group>>(DESCRIBED_AHEAD);
        for _ in 0..cores {
            let (out, next, results, publisher) = (out.clone(), &next, &results, &site.publisher);
            scope.spawn(move || {
                while let Some(nvr) = results.get(next.fetch_add(1, Ordering::Relaxed)) {
                    out.send(publisher.read(nvr).expect("a made RPM is described")).expect("it is awaited");
                }
            });
        }
        drop(out);
        let mut groups = described.into_iter().flatten().map(Ok);
        shelves.merge(&mut groups, &BTreeSet::new()).expect("a merge");
    });
    ColdStart { seconds: began.elapsed().as_secs_f64() }
}

/// Publishes results one after another until recent is full: first of five RPMs, then, anew, of one.
pub(super) fn publications(site: &mut Site) -> Publications {
    let mut runs = Publications::default();
    let mut recent = site.publisher.recent().expect("an empty recent");
    for _ in 0..RECENT_PACKAGES / (RESULT_PACKAGES - 1) {
        let made = site.next_result();
        let verified = site.publisher.stage(&made).expect("a stage");
        let began = Instant::now();
        let groups = site.publisher.commit(&verified).expect("a commit");
        runs.commit_ms.push(ms(began));
        let indexing = Instant::now();
        recent.publish(add(groups)).expect("a publication");
        runs.publish_ms.push(ms(indexing));
        runs.five_ms.push(ms(began));
    }
    let mut recent = site.publisher.recent().expect("an empty recent");
    for _ in 0..RECENT_PACKAGES {
        let made = site.next_small_result();
        let verified = site.publisher.stage(&made).expect("a stage");
        let began = Instant::now();
        let groups = site.publisher.commit(&verified).expect("a commit");
        recent.publish(add(groups)).expect("a publication");
        runs.one_ms.push(ms(began));
    }
    runs
}

/// A full recent.
pub(super) fn full_recent(site: &mut Site) -> Recent {
    let mut recent = site.publisher.recent().expect("an empty recent");
    let mut all = Vec::new();
    for _ in 0..RECENT_PACKAGES / (RESULT_PACKAGES - 1) {
        let made = site.next_result();
        let verified = site.publisher.stage(&made).expect("a stage");
        all.extend(site.publisher.commit(&verified).expect("a commit"));
    }
    recent.publish(add(all)).expect("a publication");
    recent
}

/// Makes the complete index several times, each after one more result.
pub(super) fn completes(site: &mut Site) -> Runs {
    let mut runs = Runs::default();
    let mut shelves = site.publisher.shelves().expect("shelves");
    let mut recent = full_recent(site);
    for _ in 0..COMPLETES {
        let made = site.next_result();
        let verified = site.publisher.stage(&made).expect("a stage");
        recent.publish(add(site.publisher.commit(&verified).expect("a commit"))).expect("a publication");
        let began = Instant::now();
        shelves.complete(&recent.groups()).expect("a complete index");
        runs.push(ms(began));
    }
    runs
}

/// What the hub's indexes need in memory at this site, in a process that has nothing else.
pub(super) fn memory(site: &Site, summary: &mut Summary) {
    let own = std::env::current_exe().expect("a program knows where it is");
    let output =
        Command::new(own).args([MEMORY_WORD]).arg(site.path()).output().expect("this program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let mut table = Table::new(
        "Memory of recent and shelves at 25,000 packages (RssAnon, less than before)",
        &["when", "MiB"],
    );
    let mut worst = 0;
    for line in text.lines() {
        let (when, bytes) = line.split_once(": ").expect("the child's own lines");
        let bytes: u64 = bytes.parse().expect("a number");
        worst = worst.max(bytes);
        table.row([when.to_owned(), format!("{:.1}", bytes as f64 / (1 << 20) as f64)]);
    }
    table.print();
    let mut runs = Runs::default();
    runs.push(worst as f64 / (1 << 20) as f64);
    let wanted = Some(("16 MiB", worst <= MEMORY_WANTED));
    summary.add("memory for the indexes of 25,000 packages", (&runs, 1, "MiB"), None, wanted);
}

/// What makes this program the child of [`memory`].
pub(crate) const MEMORY_WORD: &str = "memory-of-indexes";

/// Opens the indexes of the site at `folder` and prints what each step needs. Results with a piece are on no shelf yet.
pub(crate) fn memory_child(folder: &Path) {
    let own = || {
        let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
        line.and_then(|kib| kib.parse::<u64>().ok()).expect("every process has memory") * 1024
    };
    let before = own();
    let say = |when: &str| println!("{when}: {}", own().saturating_sub(before));
    let publisher = Publisher::new(folder).expect("the site is there");
    let mut shelves = publisher.shelves().expect("shelves");
    say("shelves opened");
    let mut recent = publisher.recent().expect("an empty recent");
    let results = publisher.results().expect("the repository");
    let mut left = RECENT_PACKAGES / (RESULT_PACKAGES - 1);
    for nvr in results {
        let groups = publisher.piece(&nvr).expect("a whole piece");
        if left > 0 && !groups.is_empty() {
            recent.publish(add(groups)).expect("a publication");
            left -= 1;
        }
    }
    say("recent filled, a result at a time");
    shelves.complete(&recent.groups()).expect("a complete index");
    say("a complete index made");
}

/// Many results at once: described and committed by one thread, published by another, as the hub's transfers and repo do.
pub(super) fn burst(site: &mut Site, peer: &Peer, summary: &mut Summary) {
    let made: Vec<_> = (0..BURST).map(|_| site.next_result()).collect();
    let staged: Vec<_> = made.iter().map(|made| site.publisher.stage(made).expect("a stage")).collect();
    let mut recent = site.publisher.recent().expect("an empty recent");
    let (began, mut publications) = (Instant::now(), 0);
    std::thread::scope(|scope| {
        let (out, committed) = mpsc::channel::<Vec<Group>>();
        let (publisher, staged) = (&site.publisher, &staged);
        scope.spawn(move || {
            for verified in staged {
                out.send(publisher.commit(verified).expect("a commit")).expect("it is awaited");
            }
        });
        while let Ok(mut groups) = committed.recv() {
            groups.extend(committed.try_iter().flatten());
            recent.publish(add(groups)).expect("a publication");
            publications += 1;
        }
    });
    let (mut ours, mut theirs) = (Runs::default(), Runs::default());
    ours.push(began.elapsed().as_secs_f64());
    theirs.push(peer.update_s());
    println!(
        "\nbench: {BURST} results at once: all published in {:.2} s by {publications} publications; one createrepo_c --update after them all: {:.1} s",
        ours.median(),
        theirs.median()
    );
    summary.add(
        "256 results of 5 RPMs at once, 25,000 packages",
        (&ours, 2, "s"),
        Some(("one createrepo_c --update after all", &theirs)),
        None,
    );
}

/// Publishes one result after another, without and with a merge beside it.
pub(super) fn merge_beside(site: &mut Site, summary: &mut Summary) {
    let mut shelves = site.publisher.shelves().expect("shelves");
    let full = full_recent(site).groups();
    let mut recent = site.publisher.recent().expect("an empty recent");
    let publish = |site: &mut Site, recent: &mut Recent, runs: &mut Runs| {
        let made = site.next_result();
        let verified = site.publisher.stage(&made).expect("a stage");
        let began = Instant::now();
        let groups = site.publisher.commit(&verified).expect("a commit");
        recent.publish(add(groups)).expect("a publication");
        runs.push(ms(began));
    };
    let (mut quiet, mut beside) = (Runs::default(), Runs::default());
    for _ in 0..RECENT_PACKAGES / RESULT_PACKAGES {
        publish(site, &mut recent, &mut quiet);
    }
    let merging = AtomicBool::new(true);
    let took = Mutex::new(0.0);
    std::thread::scope(|scope| {
        let (merging, took) = (&merging, &took);
        scope.spawn(move || {
            let began = Instant::now();
            let mut groups = full.iter().map(|group| Ok::<Group, IndexError>(Group::clone(group)));
            shelves.merge(&mut groups, &BTreeSet::new()).expect("a merge");
            *took.lock().expect("no thread panicked") = ms(began);
            merging.store(false, Ordering::Relaxed);
        });
        while merging.load(Ordering::Relaxed) {
            publish(site, &mut recent, &mut beside);
        }
    });
    let took = took.into_inner().expect("no thread panicked");
    let delay = beside.quantile(1.0) - quiet.median();
    println!(
        "\nbench: a merge of 256 packages into 25,000 took {took:.0} ms with {} publications beside it, ms: {}; without: {}",
        beside.len(),
        beside.text(2),
        quiet.text(2)
    );
    let mut runs = Runs::default();
    runs.push(delay);
    let wanted = Some(("50 ms", delay <= DELAY_WANTED_MS));
    summary.add("longest delay of a publication by a merge, 25,000 packages", (&runs, 1, "ms"), None, wanted);
}
