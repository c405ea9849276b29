//! What one more publication costs a builder's dnf: with the two tiers, and with one repository of everything.
//!
//! Owns both of them, over HTTP on loopback. The programs are real, and each dnf keeps its cache, as mock does.

use moji_server::index::RecentChange;
use moji_tests::{Dnf, FileServer};

use super::ours::full_recent;
use super::peer::Peer;
use super::site::Site;
use crate::table::{Runs, Summary, Table};

/// How often it is measured.
const RUNS: usize = 3;
/// What a builder is to fetch after a publication at most, bytes.
const BYTES_WANTED: f64 = 1e6;

/// What it cost.
#[derive(Default)]
struct Costs {
    mb: Runs,
    cpu_s: Runs,
    peak_mib: Runs,
}

/// A builder that uses one or the other.
struct Builder {
    dnf: Dnf,
    costs: Costs,
}

impl Builder {
    fn new(site: &Site, server: &FileServer, paths: &[(&str, &str)]) -> Builder {
        let urls: Vec<(&str, String)> = paths.iter().map(|(id, path)| (*id, server.url(path))).collect();
        let dnf = Dnf::new(site.path(), urls.iter().map(|(id, url)| (*id, &**url)));
        dnf.run(&["makecache"]).expect("dnf reads the repository");
        Builder { dnf, costs: Costs::default() }
    }

    /// Takes in what was published, and finds the newest package in it.
    fn build(&mut self, server: &FileServer, package: &str) {
        let before = server.sent_bytes();
        let capability = format!("pkgconfig({package}1)");
        let words: [&[&str]; 2] =
            [&["makecache", "--refresh"], &["-q", "repoquery", "--whatprovides", &capability]];
        let [(_, first), (said, second)] =
            words.map(|words| self.dnf.measure(words).expect("dnf reads the repository"));
        assert!(said.contains(package), "{package} is published; dnf says: {said}");
        self.costs.mb.push((server.sent_bytes() - before) as f64 / 1e6);
        self.costs.cpu_s.push(first.cpu_s + second.cpu_s);
        self.costs.peak_mib.push(first.peak_bytes.max(second.peak_bytes) as f64 / f64::from(1 << 20));
    }
}

/// Measures and prints it.
pub(super) fn run(site: &mut Site, peer: &Peer, summary: &mut Summary) {
    let mut recent = full_recent(site);
    peer.update_s();
    let (repo, index) = (site.publisher.repo(), peer.out.join("repodata"));
    let tiers_server = site.publisher.serve();
    let one_server = FileServer::start([("/one/repodata/", &*index), ("/one/", &*repo)]);
    let mut tiers =
        Builder::new(site, &tiers_server, &[("recent", "/tier/recent/"), ("base", "/tier/base/")]);
    let mut one = Builder::new(site, &one_server, &[("one", "/one/")]);
    for _ in 0..RUNS {
        let made = site.next_result();
        let verified = site.publisher.stage(&made).expect("a stage");
        let add = site.publisher.commit(&verified).expect("a commit");
        recent.publish(RecentChange { add, ..RecentChange::default() }).expect("a publication");
        peer.update_s();
        tiers.build(&tiers_server, &made.package);
        one.build(&one_server, &made.package);
    }
    let (tiers, one) = (tiers.costs, one.costs);
    let title = "One more publication, as a builder's dnf sees it (makecache and repoquery, caches kept)";
    let mut table = Table::new(title, &["what", "fetched, MB", "CPU, s", "peak memory, MiB"]);
    for (what, costs) in
        [("one repository of 25,000 (createrepo_c)", &one), ("two tiers, recent full (moji)", &tiers)]
    {
        table.row([what.to_owned(), costs.mb.text(2), costs.cpu_s.text(2), costs.peak_mib.text(0)]);
    }
    let ratio = |one: &Runs, tiers: &Runs| format!("{:.1} times less", one.median() / tiers.median());
    table.row([
        String::new(),
        ratio(&one.mb, &tiers.mb),
        ratio(&one.cpu_s, &tiers.cpu_s),
        ratio(&one.peak_mib, &tiers.peak_mib),
    ]);
    table.print();
    let wanted = Some(("1 MB", tiers.mb.median() < BYTES_WANTED / 1e6));
    let peer = |runs| Some(("one repository", runs));
    summary.add("a builder fetches after a publication", (&tiers.mb, 2, "MB"), peer(&one.mb), wanted);
    summary.add("its dnf's CPU", (&tiers.cpu_s, 2, "s"), peer(&one.cpu_s), None);
    summary.add("its dnf's peak memory", (&tiers.peak_mib, 0, "MiB"), peer(&one.peak_mib), None);
}
