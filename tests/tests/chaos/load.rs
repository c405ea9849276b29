//! Packages without end whose builds cost next to nothing, and the question whether anything became of them but one
//! success each, byte for byte.
//!
//! Owns what was made and dropped. Must never hurt the farm.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use moji_tests::synthetic::{Shape, Synthetic};
use moji_tests::varied::Chance;
use moji_tests::{Farm, Outcome, read_index, rpms_from_spec, srpm_from_spec};
use sha2::{Digest, Sha256};

/// What the hub says of a lease whose job its builder never heard of: another one is no fault.
const NEVER_GOT: &str = " released: its builder never got the job";

/// A number from the environment.
pub(crate) fn number<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The seed of this run, printed.
pub(crate) fn seed(suite: &str) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
    let seed = number("MOJI_SEED", now % 1_000_000_000);
    eprintln!("{suite}: MOJI_SEED={seed}");
    seed
}

/// A package that was dropped.
#[derive(Debug)]
pub(crate) struct Made {
    /// File name of its SRPM.
    pub(crate) srpm: String,
    nvr: String,
    /// Digests of its RPMs, by file name.
    rpms: BTreeMap<String, String>,
}

/// All packages of a run.
#[derive(Debug)]
pub(crate) struct Load {
    world: Synthetic,
    chance: Chance,
    pub(crate) made: Vec<Made>,
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name_of(path: &std::path::Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

impl Load {
    pub(crate) fn new(seed: u64) -> Load {
        let world = Synthetic { seed, shape: Shape::INSTALLABLE, results: 1 };
        Load { world, chance: Chance(seed), made: Vec::new() }
    }

    /// Makes one more small package, plans its build, which leaves so many RPMs (at most 5, the source package is one), and
    /// drops it.
    pub(crate) fn drop_small(&mut self, farm: &Farm, rpms: usize) {
        let mut made = self.world.result(self.made.len());
        made.rpms.truncate(rpms);
        let folder = farm.path().join("made").join(&made.nvr);
        fs::create_dir_all(&folder).expect("a folder for RPMs");
        let paths = made.rpms.iter().map(|rpm| {
            let path = folder.join(&rpm.name);
            fs::write(&path, &rpm.bytes).expect("an RPM is written");
            path
        });
        let paths = paths.collect();
        self.drop_it(farm, made.nvr, paths);
    }

    /// The same with so many KiB of noise in the source package and the binary one.
    #[allow(dead_code, reason = "the soak has no use for it")]
    pub(crate) fn drop_big(&mut self, farm: &Farm, kib: u32) {
        let name = format!("big{}", self.made.len());
        let folder = farm.path().join("made").join(&name);
        fs::create_dir_all(&folder).expect("a folder for RPMs");
        let spec = format!(
            "%define noise %([ -e %{{_sourcedir}}/noise ] || {{ mkdir -p %{{_sourcedir}}; \
             head -c {} /dev/urandom > %{{_sourcedir}}/noise; }})\n%{{noise}}\n\
             Name: {name}\nVersion: 1.0\nRelease: 1\nSummary: big\nLicense: MIT\nSource: noise\n\
             BuildArch: noarch\n%description\nBig.\n%install\n\
             install -D %{{SOURCE0}} %{{buildroot}}/usr/share/{name}\n%files\n/usr/share/{name}\n",
            kib * 1024
        );
        let mut paths = vec![srpm_from_spec(&folder, &spec)];
        paths.extend(rpms_from_spec(&folder, &spec));
        self.drop_it(farm, format!("{name}-1.0-1"), paths);
    }

    /// The first is the source package.
    fn drop_it(&mut self, farm: &Farm, nvr: String, paths: Vec<PathBuf>) {
        let lines = 100 + self.chance.below(600);
        let log: String = (0..lines).map(|line| format!("{nvr} says line {line}\n")).collect();
        let mut built = Outcome::exit(0).log("build.log", &log);
        let mut rpms = BTreeMap::new();
        for path in &paths {
            let name = name_of(path);
            rpms.insert(name.clone(), hex(&fs::read(path).expect("it was written")));
            built = built.file(&name, path);
        }
        let srpm = name_of(&paths[0]);
        farm.outcome(&srpm, built);
        farm.drop_file(&paths[0]);
        self.made.push(Made { srpm, nvr, rpms });
    }

    /// How many are not finished yet.
    pub(crate) fn unfinished(&self, farm: &Farm) -> usize {
        self.made.len().saturating_sub(count(farm, "finished"))
    }

    /// How many wait.
    pub(crate) fn waiting(farm: &Farm) -> usize {
        count(farm, "source")
    }

    /// What is wrong: each package is to be finished exactly once, its result byte for byte what was built, and leased
    /// once, or again where `excuses` says why a lease was lost. Without them, leases are not counted.
    pub(crate) fn wrong(&self, farm: &Farm, excuses: Option<&[&str]>) -> Vec<String> {
        let mut wrong = Vec::new();
        let (leases, excused) = lease_counts(farm, excuses.unwrap_or_default());
        let index = read_index(&farm.repo().join("repodata"));
        let index = index.unwrap_or_else(|why| {
            wrong.push(format!("the index: {why}"));
            BTreeMap::default().into_iter().collect()
        });
        let all: usize = self.made.iter().map(|made| made.rpms.len()).sum();
        if index.len() != all {
            wrong.push(format!("the index has {} RPMs of {all}", index.len()));
        }
        let mut repo: Vec<String> = names(farm, "repo");
        repo.retain(|name| name != "repodata" && !name.starts_with('.'));
        if repo.len() != self.made.len() {
            wrong.push(format!("{} results of {} packages", repo.len(), self.made.len()));
        }
        for Made { srpm, nvr, rpms } in &self.made {
            let places = farm.places(srpm);
            if places != ["finished"] {
                wrong.push(format!("{srpm} is in {places:?}"));
            }
            let folder = farm.repo().join(nvr);
            let json = fs::read_to_string(folder.join("result.json")).unwrap_or_default();
            if !json.contains("\"success\"") {
                wrong.push(format!("{nvr} has no good result: {json}"));
            }
            for (name, digest) in rpms {
                let found = fs::read(folder.join(name)).map(|bytes| hex(&bytes));
                if found.as_ref().ok() != Some(digest) {
                    wrong.push(format!("{nvr}/{name} is not what was built: {found:?}"));
                }
                if index.get(&format!("{nvr}/{name}")) != Some(digest) {
                    wrong.push(format!("{nvr}/{name} is not in the index as it was built"));
                }
            }
            let most = 1 + excused.get(srpm).copied().unwrap_or(0);
            let leased = leases.get(srpm).copied().unwrap_or(0);
            if excuses.is_some() && (leased == 0 || leased > most) {
                wrong.push(format!("{srpm} was leased {leased} times, {most} would be right"));
            }
        }
        for name in fs::read_dir(farm.path()).into_iter().flatten().flatten() {
            let text = fs::read(name.path()).unwrap_or_default();
            if String::from_utf8_lossy(&text).contains("panicked at") {
                wrong.push(format!("{} has a panic", name.path().display()));
            }
        }
        wrong
    }
}

/// How often each package was leased, and how often a lease of it was lost for a good reason.
fn lease_counts(farm: &Farm, excuses: &[&str]) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let (mut leases, mut excused) = (BTreeMap::new(), BTreeMap::new());
    let log = fs::read(farm.path().join("hub.log")).unwrap_or_default();
    for line in String::from_utf8_lossy(&log).lines() {
        let Some((_, rest)) = line.split_once("pkg=") else { continue };
        let Some((srpm, rest)) = rest.split_once(' ') else { continue };
        if rest.ends_with(" leased") {
            *leases.entry(srpm.to_owned()).or_default() += 1;
        } else if rest.ends_with(NEVER_GOT) || excuses.iter().any(|excuse| rest.contains(excuse)) {
            *excused.entry(srpm.to_owned()).or_default() += 1;
        }
    }
    (leases, excused)
}

pub(crate) fn names(farm: &Farm, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(farm.path().join(folder)).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn count(farm: &Farm, folder: &str) -> usize {
    names(farm, folder).iter().filter(|name| !name.starts_with('.') && name.ends_with(".src.rpm")).count()
}

/// Nothing of any job is left on a builder.
pub(crate) fn has_no_spool(farm: &Farm, builder: usize) -> bool {
    names(farm, &format!("builder{builder}/jobs")).is_empty()
}

/// The hub refuses the builder, or the builder the hub: it would wait a minute.
pub(crate) fn is_refused(farm: &Farm, builder: usize) -> bool {
    fs::read_to_string(farm.builder_state(builder).join("status")).is_ok_and(|line| line.contains("refuses"))
}
