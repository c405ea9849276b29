//! The farm that faults are done to, and the question whether anything was lost, doubled or half published.
//!
//! Owns one farm, packages that need no build, and [`World::settle`], which holds after whatever was done. Must never
//! look away: what a case left behind shows at the next one at the latest, for all packages are in the index.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use moji_tests::synthetic::{MadeRpm, Shape, Synthetic};
use moji_tests::{Farm, Outcome, SOON, poll_until, read_index};
use sha2::{Digest, Sha256};

/// How long a case may take until all is well again: a builder whose hub is gone comes back after up to a few seconds, on
/// a busy machine all takes longer.
const SETTLED: Duration = Duration::from_secs(90);

/// A package and what its build leaves.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    /// File name of its SRPM.
    pub(crate) srpm: String,
    /// Name of its result folder.
    pub(crate) nvr: String,
    /// Its RPMs and their SHA-256, the SRPM first.
    pub(crate) rpms: Vec<(String, String)>,
    /// Its result folders and the verdict of each: the last is published if that is `success`.
    pub(crate) results: Vec<(String, &'static str)>,
    /// Whether the last result was taken back.
    pub(crate) retracted: bool,
    /// Whether its RPMs were deleted then.
    pub(crate) deleted: bool,
}

impl Package {
    /// Whether its RPMs are to be in the indexes, and out of which folder.
    fn published(&self) -> Option<&str> {
        let (folder, verdict) = self.results.last()?;
        (*verdict == "success" && !self.retracted).then_some(folder.as_str())
    }
}

/// A farm with packages.
pub(crate) struct World {
    pub(crate) farm: Farm,
    made: Synthetic,
    next: usize,
    builders: usize,
    hub_args: Vec<String>,
    /// All that were dropped so far.
    pub(crate) packages: BTreeMap<String, Package>,
    /// RPMs that the test laid into `repo/`: their place below it, and SHA-256.
    pub(crate) by_hand: BTreeMap<String, String>,
    /// SRPMs that may have been leased more often than they have results.
    pub(crate) explained: BTreeSet<String>,
}

impl World {
    /// A farm with so many builders, all of them registered.
    pub(crate) fn new(seed: u64, builders: usize, hub_args: &[&str]) -> World {
        let farm = Farm::plan().builders(builders).hub_args(hub_args.iter().copied()).start();
        let world = World {
            farm,
            made: Synthetic { seed, shape: Shape::INSTALLABLE, results: 1 },
            next: 0,
            builders,
            hub_args: hub_args.iter().map(|arg| (*arg).to_owned()).collect(),
            packages: BTreeMap::new(),
            by_hand: BTreeMap::new(),
            explained: BTreeSet::new(),
        };
        for builder in 0..builders {
            world.farm.wait_builder_says(builder, "registered with the hub");
        }
        world
    }

    /// The command that starts the hub where it was, to run it another way.
    pub(crate) fn hub_command(&self) -> Command {
        let farm = &self.farm;
        let mut command = farm.hub_command();
        let http = farm.repo_url().trim_start_matches("http://");
        command.args([farm.source(), farm.working(), farm.finished(), farm.repo()]);
        command.args([
            "--listen",
            &farm.hub_addr().to_string(),
            "--http",
            http.split('/').next().unwrap_or(""),
        ]);
        command.arg("--state").arg(farm.state()).args(&self.hub_args);
        command
    }

    /// Makes a package whose build succeeds at once, or as soon as the gate opens. It is not dropped yet.
    pub(crate) fn package(&mut self, gate: Option<&Path>) -> Package {
        let made = self.made.result(self.next);
        self.next += 1;
        let folder = self.farm.path().join("made").join(&made.nvr);
        fs::create_dir_all(&folder).expect("a folder for RPMs");
        let mut outcome = Outcome::exit(0).log("build.log", "made\n").log("state.log", "Finish: run\n");
        let mut rpms = Vec::new();
        // The source package, and one that is for builders.
        for MadeRpm { name, bytes } in made.rpms.iter().take(2) {
            let path = folder.join(name);
            fs::write(&path, bytes).expect("a file");
            outcome = outcome.file(name, &path);
            rpms.push((name.clone(), sha256(bytes)));
        }
        if let Some(gate) = gate {
            outcome = outcome.gate(gate);
        }
        let srpm = rpms[0].0.clone();
        self.farm.outcome(&srpm, outcome);
        let results = vec![(made.nvr.clone(), "success")];
        Package { srpm, nvr: made.nvr, rpms, results, retracted: false, deleted: false }
    }

    /// Makes a package whose first build fails by its own fault; a later one succeeds.
    pub(crate) fn failing_package(&mut self) -> Package {
        let mut package = self.package(None);
        let outcomes = self.farm.path().join("outcomes");
        let later = format!("{}.json", package.srpm);
        fs::rename(outcomes.join(&later), outcomes.join(format!(".later-{later}"))).expect("it was planned");
        let own = "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n";
        self.farm.outcome(&package.srpm, Outcome::exit(1).log("build.log", own));
        package.results[0].1 = "failed";
        package
    }

    /// From here on its builds succeed; the next result is expected.
    pub(crate) fn mend(&mut self, package: &mut Package) {
        let outcomes = self.farm.path().join("outcomes");
        let later = format!("{}.json", package.srpm);
        fs::rename(outcomes.join(format!(".later-{later}")), outcomes.join(&later)).expect("it was planned");
        let folder = format!("{}@{}", package.nvr, package.results.len() + 1);
        package.results.push((folder, "success"));
        self.packages.insert(package.nvr.clone(), package.clone());
    }

    /// Drops it into `source/`.
    pub(crate) fn drop(&mut self, package: &Package) {
        self.farm.drop_file(&self.farm.path().join("made").join(&package.nvr).join(&package.srpm));
        self.packages.insert(package.nvr.clone(), package.clone());
    }

    /// Lays result `number` of another world into `repo/` by hand; its folder.
    pub(crate) fn lay(&mut self, of: &Synthetic, number: usize) -> String {
        let made = of.result(number);
        // Not seen before it is whole.
        let aside = self.farm.path().join("aside");
        fs::create_dir_all(&aside).expect("a folder");
        made.write(&aside).expect("RPMs are written");
        fs::rename(aside.join(&made.nvr), self.farm.repo().join(&made.nvr)).expect("a folder is moved");
        for rpm in &made.rpms {
            self.by_hand.insert(format!("{}/{}", made.nvr, rpm.name), sha256(&rpm.bytes));
        }
        made.nvr
    }

    /// Takes it away again.
    pub(crate) fn unlay(&mut self, folder: &str) {
        fs::rename(self.farm.repo().join(folder), self.farm.path().join("aside").join(folder))
            .and_then(|()| fs::remove_dir_all(self.farm.path().join("aside").join(folder)))
            .expect("a folder is removed");
        self.by_hand.retain(|path, _| !path.starts_with(&format!("{folder}/")));
    }

    /// Starts whatever does not run.
    pub(crate) fn raise(&mut self) {
        if !self.farm.hub().is_running() {
            self.farm.start_hub();
        }
        for builder in 0..self.builders {
            if !self.farm.builder(builder).is_running() {
                self.farm.start_builder(builder);
            }
        }
    }

    /// Raises all, waits until all is done, and says what does not hold. What takes longer than it ever should is
    /// told with the whole story.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        self.raise();
        let end = Instant::now() + SETTLED;
        let settled = poll_until(SETTLED, || self.unsettled().is_none());
        if !settled || Instant::now() >= end {
            let why = self.unsettled().unwrap_or_default();
            eprintln!("{why}\n{}", self.farm.diagnosis());
            return vec![format!("not done in {SETTLED:?}: {why}")];
        }
        self.wrong()
    }

    /// What is not done yet.
    pub(crate) fn unsettled(&self) -> Option<String> {
        for package in self.packages.values() {
            let places = self.farm.places(&package.srpm);
            if places != ["finished"] {
                return Some(format!("{} is in {places:?}", package.srpm));
            }
        }
        let own = [".daemon", ".leases", ".lock"];
        if let Some(left) = names(&self.farm.working()).iter().find(|name| !own.contains(&name.as_str())) {
            return Some(format!("working/{left} is left"));
        }
        for builder in 0..self.builders {
            let jobs = self.farm.builder_state(builder).join("jobs");
            if let Some(left) = names(&jobs).first() {
                return Some(format!("builder {builder} has {left} still"));
            }
        }
        for package in self.packages.values().filter(|package| package.deleted) {
            let mut left = names(&self.farm.repo().join(&package.nvr)).into_iter();
            if let Some(left) = left.find(|name| name.ends_with(".rpm")) {
                return Some(format!("repo/{}/{left} is to be deleted", package.nvr));
            }
        }
        self.unpublished().err()
    }

    /// Compares the indexes with what must be in them: both tiers together the binary packages, each once in each; the
    /// complete index everything.
    pub(crate) fn unpublished(&self) -> Result<(), String> {
        let (mut all, mut main) = (self.by_hand.clone(), BTreeMap::new());
        for package in self.packages.values() {
            let Some(folder) = package.published() else { continue };
            let at = |(name, digest): &(String, String)| (format!("{folder}/{name}"), digest.clone());
            all.extend(package.rpms.iter().map(at));
        }
        // Source packages and what only people with debuggers want are for nobody who builds.
        let is_main = |path: &str| !path.ends_with(".src.rpm") && !path.contains("-debuginfo-");
        main.extend(
            all.iter().filter(|(path, _)| is_main(path)).map(|(path, id)| (path.clone(), id.clone())),
        );
        let index = self.farm.state().join("index");
        let mut tiers = read_index(&index.join("base/repodata"))?;
        tiers.extend(read_index(&index.join("recent/repodata"))?);
        // A tier names its files from the repository's folder on.
        compare("the tiers", &tiers.into_iter().map(from_repo).collect(), &main)?;
        let complete = read_index(&self.farm.repo().join("repodata"))?;
        compare("repo/repodata", &complete.into_iter().map(from_repo).collect(), &all)
    }

    /// What is wrong although all is done.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let hub = self.log("hub.log");
        let builders: Vec<String> =
            (0..self.builders).map(|builder| self.log(&format!("builder{builder}.log"))).collect();
        for (name, text) in [("hub", &hub)].into_iter().chain(builders.iter().map(|text| ("builder", text))) {
            for sign in ["panicked", "BUG", "invariant"] {
                if text.contains(sign) {
                    wrong.push(format!("a {name} {sign}"));
                }
            }
        }
        for package in self.packages.values() {
            self.whole(package, &mut wrong);
            // A lease that no builder ever heard of, because the hub died too early, is as good as none.
            let of = |with| builders.iter().flat_map(move |text| leases(text, &package.srpm, with));
            let heard: BTreeSet<String> = of(" bytes").collect();
            if heard.len() > package.results.len() && !self.explained.contains(&package.srpm) {
                let (times, results) = (heard.len(), package.results.len());
                wrong.push(format!("{} was leased {times} times for {results} results", package.srpm));
            }
            // All that builders heard of as taken is in the repository.
            let kept: BTreeSet<String> =
                package.results.iter().filter_map(|(folder, _)| self.lease_of(folder)).collect();
            if let Some(lost) = of(" accepted").find(|lease| !kept.contains(lease)) {
                wrong.push(format!("{}: {lost} was accepted, {kept:?} is there", package.srpm));
            }
        }
        for folder in ["source", "finished", "repo"] {
            for name in names(&self.farm.path().join(folder)) {
                if name.starts_with('.') {
                    wrong.push(format!("{folder}/{name} is left"));
                }
            }
        }
        wrong
    }

    /// The result folders that are expected, with all that was built in them, byte by byte.
    fn whole(&self, package: &Package, wrong: &mut Vec<String>) {
        let results = self.farm.results(&package.nvr);
        let wanted: Vec<&str> = package.results.iter().map(|(folder, _)| folder.as_str()).collect();
        if results != wanted {
            wrong.push(format!("{} has the results {results:?}, not {wanted:?}", package.nvr));
        }
        for (folder, verdict) in &package.results {
            let said = self.result(folder)["verdict"].clone();
            if said != *verdict {
                wrong.push(format!("{folder}/result.json says {said}"));
            }
            let path = self.farm.repo().join(folder);
            for name in names(&path) {
                if name.ends_with(".new") || name.starts_with('.') && name != ".repodata" {
                    wrong.push(format!("repo/{folder}/{name} is left"));
                }
            }
            if *verdict != "success" || package.deleted {
                continue;
            }
            for (name, digest) in &package.rpms {
                let found =
                    fs::read(path.join(name)).map_or_else(|why| why.to_string(), |bytes| sha256(&bytes));
                if found != *digest {
                    wrong.push(format!("repo/{folder}/{name} is not what was built: {found}"));
                }
            }
        }
    }

    fn result(&self, folder: &str) -> serde_json::Value {
        let json = fs::read(self.farm.repo().join(folder).join("result.json")).unwrap_or_default();
        serde_json::from_slice(&json).unwrap_or_default()
    }

    fn lease_of(&self, folder: &str) -> Option<String> {
        Some(self.result(folder)["lease"].as_str()?.to_owned())
    }

    /// A daemon's log, of all its runs.
    pub(crate) fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.farm.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Leases of this SRPM in the lines of a builder's log that have this word.
fn leases<'a>(log: &'a str, srpm: &str, word: &'a str) -> Vec<String> {
    let about = format!("pkg={srpm} lease=");
    let lines = log.lines().filter(|line| line.contains(word));
    lines.filter_map(|line| Some(line.split_once(&about)?.1.split(' ').next()?.to_owned())).collect()
}

fn from_repo((path, digest): (String, String)) -> (String, String) {
    let parts: Vec<&str> = path.rsplit('/').take(2).collect();
    (parts.into_iter().rev().collect::<Vec<_>>().join("/"), digest)
}

fn compare(
    what: &str,
    found: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Result<(), String> {
    let missing = wanted.iter().find(|(path, digest)| found.get(*path) != Some(digest));
    let surplus = found.keys().find(|path| !wanted.contains_key(*path));
    match (missing, surplus) {
        (Some((path, _)), _) => Err(format!("{what} lacks {path}")),
        (None, Some(path)) => Err(format!("{what} names {path}")),
        (None, None) => Ok(()),
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    found
}

/// Waits for one of two ends; whether it was the first.
pub(crate) fn first_of(mut one: impl FnMut() -> bool, mut other: impl FnMut() -> bool) -> Option<bool> {
    let mut which = None;
    poll_until(SOON, || {
        which = if one() {
            Some(true)
        } else if other() {
            Some(false)
        } else {
            None
        };
        which.is_some()
    });
    which
}
