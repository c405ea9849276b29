//! A farm with something to lose: a published package, an honest builder in the middle of a build, and prey.
//!
//! Owns what must hold after every case of a group: nothing published has changed, the hub is the same process, the
//! neighbour is undisturbed, and the case left exactly the lines of warning that it should. Must never wait for a line
//! that may not come.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use moji_proto::message::{ToBuilder, Verdict};
use moji_proto::{Digest, LeaseId};
use moji_tests::faults::Tally;
use moji_tests::{Farm, Outcome, SOON, poll_until};

use crate::honest_builder_goes_on;
use crate::quick::{Quick, quick};
use crate::rogue::{Rogue, Upload, secret_key};

/// The neighbour's key.
const NEIGHBOUR: u8 = 253;
/// The key of who built what is published.
const FIRST: u8 = 254;

/// The farm and what it looked like before.
pub(crate) struct Scene {
    pub(crate) farm: Farm,
    pub(crate) prey: Quick,
    /// The neighbour's lease.
    pub(crate) other: LeaseId,
    calm: Quick,
    neighbour: Rogue,
    pid: u32,
    published: BTreeMap<PathBuf, Digest>,
    /// Lines of the hub's log that were looked at.
    read: usize,
    key: u8,
}

/// What a case must leave in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// No warning.
    None,
    /// One that names the peer.
    One,
}

impl Scene {
    /// Starts it with these arguments of the hub's more.
    pub(crate) fn start(more: &[&str]) -> Scene {
        let args = ["--lease-grace", "0", "--attempts", "1000"].into_iter().chain(more.iter().copied());
        let mut farm = Farm::plan().builders(0).hub_args(args).start();
        let pid = farm.hub().pid();
        let base = quick(&farm, "base", "1");
        farm.drop_file(&base.srpm);
        let mut first = Rogue::ready(&farm, FIRST);
        let lease = first.job();
        let said = first.upload(lease, &[Upload::of(&base.srpm), Upload::of(&base.rpm)]);
        assert_eq!(said, ToBuilder::Accepted { lease, verdict: Verdict::Success });
        farm.wait_finished(&base.file);
        farm.wait_until("it to be indexed", SOON, |farm| crate::indexed(farm).contains("<name>base<"));
        drop(first);
        let calm = quick(&farm, "calm", "1");
        farm.drop_file(&calm.srpm);
        let mut neighbour = Rogue::ready(&farm, NEIGHBOUR);
        let other = neighbour.job();
        let prey = quick(&farm, "prey", "1");
        let plan = |package: &Quick, name: &str| {
            let built = Outcome::exit(0).log("build.log", "quick\n");
            built.file(&package.file, &package.srpm).file(&format!("{name}-1-1.noarch.rpm"), &package.rpm)
        };
        farm.outcome(&prey.file, plan(&prey, "prey"));
        let published = published(&farm);
        let read = log(&farm).len();
        Scene { farm, prey, other, calm, neighbour, pid, published, read, key: 0 }
    }

    /// A key that no case has had.
    pub(crate) fn next_key(&mut self) -> u8 {
        self.key += 1;
        assert!(self.key < NEIGHBOUR, "more cases than keys: begin another scene");
        self.key
    }

    /// The prey waits in `source/`, wherever it was.
    pub(crate) fn bait(&self) {
        let Quick { file, srpm, .. } = &self.prey;
        let (source, finished) = (self.farm.source().join(file), self.farm.finished().join(file));
        if !self.is_anywhere() {
            self.farm.drop_file(srpm);
        }
        self.farm.wait_until("the prey to be free", SOON, |_| {
            // Moved back, it starts afresh.
            let _ = fs::rename(&finished, &source);
            source.exists()
        });
    }

    fn is_anywhere(&self) -> bool {
        ["source", "working", "finished"].iter().any(|folder| self.farm.is_in(folder, &self.prey.file))
    }

    /// The prey is taken away: a builder that is ready gets nothing.
    pub(crate) fn no_bait(&self) {
        if self.is_anywhere() {
            self.bait();
            fs::remove_file(self.farm.source().join(&self.prey.file)).expect("the prey is there");
        }
    }

    /// Runs a case; a panic in it is a violation, and so is whatever it says.
    pub(crate) fn case(
        &mut self,
        tally: &mut Tally,
        what: &str,
        lines: Lines,
        body: impl FnOnce(&mut Scene, u8) -> Result<(), String>,
    ) {
        let key = self.next_key();
        tally.case();
        match catch_unwind(AssertUnwindSafe(|| body(self, key))) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => tally.violation(format!("{what}: {why}")),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                tally.violation(format!("{what}: {}", text.unwrap_or_default()));
            }
        }
        self.check(tally, what, key, lines);
    }

    fn check(&mut self, tally: &mut Tally, what: &str, key: u8, lines: Lines) {
        let names =
            [format!("builder=rogue{key} "), format!("key={}", secret_key(key).public().fingerprint())];
        let is_named = |line: &String| names.iter().any(|name| line.contains(name.as_str()));
        if lines == Lines::One {
            // Not so long that the neighbour's silence ends its session.
            poll_until(SOON / 3, || {
                log(&self.farm)[self.read..].iter().any(|line| is_warning(line) && is_named(line))
            });
        }
        let all = log(&self.farm);
        let new: Vec<&String> = all[self.read..].iter().filter(|line| is_warning(line)).collect();
        let want = usize::from(lines == Lines::One);
        tally.holds(new.len() == want && new.iter().all(|line| is_named(line)), || {
            format!("{what}: {want} lines wanted in the log, there are {new:#?}")
        });
        if new.len() != want {
            eprintln!("{what}:\n{}", all[self.read..].join("\n"));
        }
        self.read = all.len();
        tally.holds(self.neighbour.is_alive(), || format!("{what}: the neighbour was disturbed"));
        tally.holds(published(&self.farm) == self.published, || {
            format!("{what}: what is published has changed")
        });
        let is_same = self.farm.hub().is_running() && self.farm.hub().pid() == self.pid;
        tally.holds(is_same, || format!("{what}: the hub has ended"));
    }

    /// The neighbour finishes its build, and an honest builder builds what is left.
    pub(crate) fn end(self) {
        let Scene { mut farm, calm, mut neighbour, other, pid, prey, .. } = self;
        let said = neighbour.upload(other, &[Upload::of(&calm.srpm), Upload::of(&calm.rpm)]);
        assert_eq!(said, ToBuilder::Accepted { lease: other, verdict: Verdict::Success });
        farm.wait_finished(&calm.file);
        drop(neighbour);
        let waits = farm.is_in("source", &prey.file);
        honest_builder_goes_on(&mut farm, pid);
        if waits {
            farm.wait_finished(&prey.file);
        }
        let index = crate::indexed(&farm);
        let names: Vec<&str> =
            index.split("<name>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
        let all = ["base", "calm", "honest", "prey", "second"];
        assert!(names.iter().all(|name| all.contains(name)), "{names:?} are published");
    }
}

/// A warning about a peer. That a lease is lost once its builder is gone is about the package, and so is what could not be
/// read for somebody who has gone meanwhile.
fn is_warning(line: &str) -> bool {
    let about_package = line.contains(" lost: its builder ") || line.contains(" failed to read ");
    (line.contains(" WARN ") || line.contains(" ERROR ")) && !about_package
}

/// The whole log of the hub, its last line only if it is whole.
pub(crate) fn log(farm: &Farm) -> Vec<String> {
    let text = fs::read(farm.path().join("hub.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole].lines().map(str::to_owned).collect()
}

/// All RPMs of the repository and what its index is, by digest.
fn published(farm: &Farm) -> BTreeMap<PathBuf, Digest> {
    let mut found = BTreeMap::new();
    walk(&farm.repo(), &mut found);
    found
}

fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Digest>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "rpm" || end == "xml") {
            found.insert(path.clone(), Digest::of(&fs::read(&path).unwrap_or_default()));
        }
    }
}
