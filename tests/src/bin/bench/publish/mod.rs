//! What it takes until a result is in the repository's index, at 1,000, 5,000 and 25,000 packages, beside
//! `createrepo_c --update`; and what a builder's dnf then has to do.
//!
//! Owns the order of these measurements and what is wanted of them. The repositories are made here: see
//! [`moji_tests::synthetic`].

mod builder;
mod hub;
mod ours;
mod peer;
mod site;

use std::path::Path;
use std::time::Instant;

use crate::table::{Runs, Summary, Table, met};
use site::Site;

pub(crate) use ours::{MEMORY_WORD, memory_child};

/// Packages in the repositories.
const SIZES: [usize; 3] = [1_000, 5_000, 25_000];
/// How many times faster than createrepo_c a publication is to be at the second and the third size.
const FASTER: [Option<f64>; 3] = [None, Some(500.0), Some(4_000.0)];
/// How much slower a publication may be at the largest size than at the smallest.
const FLAT: f64 = 1.5;
/// How many times faster than createrepo_c the complete index is to be at the largest size.
const COMPLETE_FASTER: f64 = 80.0;

/// What one size gave.
struct Measured {
    packages: usize,
    published: ours::Publications,
    complete_ms: Runs,
    peer_ms: Runs,
}

/// Measures and prints it.
pub(crate) fn run(base: &Path, summary: &mut Summary) {
    let mut all = Vec::new();
    for packages in SIZES {
        let largest = packages == SIZES[SIZES.len() - 1];
        let began = Instant::now();
        let mut site = Site::make(base, packages);
        println!("\nbench: made {packages} RPMs in {:.1} s", began.elapsed().as_secs_f64());
        let cold = ours::cold_start(&site);
        println!("bench: {packages} RPMs without pieces described and indexed in {:.1} s", cold.seconds);
        let peer = peer::Peer::first_index(&site);
        println!("bench: createrepo_c made the first index of them in {:.1} s", peer.first_s);
        let peer_ms = peer.updates(&mut site);
        let published = ours::publications(&mut site);
        let complete_ms = ours::completes(&mut site);
        if largest {
            cold_start(summary, &cold, &peer);
            ours::memory(&site, summary);
            ours::burst(&mut site, &peer, summary);
            ours::merge_beside(&mut site, summary);
            builder::run(&mut site, &peer, summary);
        }
        all.push(Measured { packages, published, complete_ms, peer_ms });
    }
    table(&all);
    summed_up(&all, summary);
    hub::run(base, SIZES[SIZES.len() - 1]);
}

fn cold_start(summary: &mut Summary, cold: &ours::ColdStart, peer: &peer::Peer) {
    let one = |figure: f64| {
        let mut runs = Runs::default();
        runs.push(figure);
        runs
    };
    summary.add(
        "25,000 RPMs nobody described before, all indexed",
        (&one(cold.seconds), 1, "s"),
        Some(("createrepo_c", &one(peer.first_s))),
        None,
    );
}

fn table(all: &[Measured]) {
    let columns = [
        "packages",
        "createrepo_c --update, ms",
        "a result of 5 RPMs: median / p99, ms",
        "ratio",
        "a result of 1 RPM: median / p99, ms",
        "ratio",
        "of it described / committed / published",
        "complete index, ms",
        "ratio",
    ];
    let mut table = Table::new("From RPMs that are verified to an index that is live and synced", &columns);
    for Measured { packages, published, complete_ms, peer_ms } in all {
        let (five, one) = (&published.five_ms, &published.one_ms);
        let ratio = |ours: &Runs| format!("{:.0}", peer_ms.median() / ours.median());
        let both = |runs: &Runs| format!("{:.2} / {:.2}", runs.median(), runs.quantile(0.99));
        let [commit, publish] = [&published.commit_ms, &published.publish_ms].map(Runs::median);
        table.row([
            packages.to_string(),
            peer_ms.text(0),
            both(five),
            ratio(five),
            both(one),
            ratio(one),
            format!("{commit:.2} / {publish:.2}"),
            complete_ms.text(1),
            ratio(complete_ms),
        ]);
    }
    table.print();
}

fn summed_up(all: &[Measured], summary: &mut Summary) {
    for (Measured { packages, published, complete_ms, peer_ms }, faster) in all.iter().zip(FASTER) {
        let is_met = |ours: &Runs, times: f64| peer_ms.median() / ours.median() >= times;
        let wanted = faster.map(|times| (format!("1/{times}"), is_met(&published.five_ms, times)));
        summary.add(
            &format!("a result of 5 RPMs published, {packages} packages"),
            (&published.five_ms, 2, "ms"),
            Some(("createrepo_c --update", peer_ms)),
            wanted.as_ref().map(|(text, is_met)| (&**text, *is_met)),
        );
        if *packages == SIZES[2] {
            let wanted = format!("1/{COMPLETE_FASTER}");
            summary.add(
                &format!("the complete index, {packages} packages"),
                (complete_ms, 1, "ms"),
                Some(("createrepo_c --update", peer_ms)),
                Some((&wanted, is_met(complete_ms, COMPLETE_FASTER))),
            );
        }
    }
    let (first, last) = (&all[0].published.five_ms, &all[all.len() - 1].published.five_ms);
    let times = last.median() / first.median();
    println!(
        "\nbench: flat within {times:.2} times from 1,000 to 25,000; {FLAT} wanted: {}",
        met(times <= FLAT)
    );
}
