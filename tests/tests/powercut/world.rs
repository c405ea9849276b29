//! A farm whose hub has its folders on a disk that loses its power; builders, logs and plans are on another.
//!
//! Owns the farm, the disk, and what was promised so far.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use moji_tests::faults::{Cutter, LoopDisk, Traced};
use moji_tests::sim::rpm;
use moji_tests::varied::Chance;
use moji_tests::{Farm, Outcome, SOON, poll_until, read_index};

use crate::Moment;
use crate::check::{self, Package};

/// Builders: enough that grants and commits meet.
const BUILDERS: usize = 2;
/// Longest payload of an RPM, bytes.
const PAYLOAD_MAX: usize = 60_000;
/// A moment that has not come by then does not come.
const MOMENT: Duration = Duration::from_secs(60);

pub(crate) struct World {
    farm: Farm,
    disk: LoopDisk,
    cutter: Cutter,
    traced: Traced,
    packages: Vec<Package>,
    /// Numbers of those that were not finished when looked at last.
    open: Vec<usize>,
    /// Leases of which a builder heard that their result was accepted, and the number of the package.
    promised: BTreeMap<String, usize>,
    never_sync: bool,
    /// Holds the hub's program.
    _made: TempDir,
}

impl World {
    pub(crate) fn new(disk: LoopDisk) -> World {
        // The program must be named before the farm is made, whose folder would be the place for it.
        let made = tempfile::tempdir().expect("a folder");
        let traced = Traced::new(made.path());
        let farm = Farm::plan()
            .program("moji-server", traced.program().to_owned())
            .hub_args(["--min-free", "0"])
            .builder_args(["--min-free", "0"])
            .nothing_started()
            .start();
        fs::create_dir(farm.path().join("made")).expect("a folder");
        disk.take_folders(&farm);
        let (packages, open, promised) = Default::default();
        let cutter = Cutter::start();
        let mut world =
            World { farm, disk, cutter, traced, packages, open, promised, never_sync: false, _made: made };
        // Keys are made once. That alone is settled by force, since a farm that forgot its keys can show nothing.
        world.farm.start_hub();
        world.disk.settle();
        for _ in 0..BUILDERS {
            world.farm.add_builder();
        }
        world.farm.hub().kill9();
        world
    }

    /// From the next start the hub's syncs do nothing.
    pub(crate) fn never_sync(&mut self) {
        self.never_sync = true;
    }

    pub(crate) fn packages(&self) -> usize {
        self.packages.len()
    }

    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn promises(&self) -> usize {
        self.promised.len()
    }

    /// Puts so many new SRPMs into `source/` while the hub is away: whoever drops one sees to it that it is on the disk.
    pub(crate) fn drop_packages(&mut self, count: usize, chance: &mut Chance) {
        for _ in 0..count {
            let name = format!("cut{}", self.packages.len());
            let package = Package {
                srpm: format!("{name}-1-1.src.rpm"),
                nvr: format!("{name}-1-1"),
                rpm: format!("{name}-1-1.noarch.rpm"),
                source_bytes: rpm::source(&name, 1, 1 + chance.below(PAYLOAD_MAX)),
                rpm_bytes: rpm::binary(&name, &name, 1, 1 + chance.below(PAYLOAD_MAX)),
            };
            let made = self.farm.path().join("made");
            let (srpm, binary) = (made.join(&package.srpm), made.join(&package.rpm));
            fs::write(&srpm, &package.source_bytes).expect("an SRPM");
            fs::write(&binary, &package.rpm_bytes).expect("an RPM");
            let built = Outcome::exit(0).file(&package.srpm, &srpm).file(&package.rpm, &binary);
            self.farm.outcome(&package.srpm, built.log("build.log", "built\n"));
            self.farm.drop_file(&srpm);
            self.open.push(self.packages.len());
            self.packages.push(package);
        }
        self.disk.settle();
    }

    /// Starts the hub and waits for the moment. What came of it, in words.
    pub(crate) fn run_until(&mut self, moment: Moment, restart: bool) -> &'static str {
        match moment {
            Moment::Call(calls, when) => self.traced.die_at(calls, when),
            _ if self.never_sync => self.traced.never_sync(),
            _ => self.traced.leave_alone(),
        }
        let heard = self.heard();
        if self.farm.try_start_hub().is_err() {
            return if matches!(moment, Moment::Call(..)) { "died at the call" } else { "did not start" };
        }
        if restart {
            self.restart_builders();
        }
        let began = Instant::now();
        let mut was = "nothing was left to do";
        while began.elapsed() < MOMENT {
            if matches!(moment, Moment::After(delay) if began.elapsed() >= delay) {
                return "in between";
            }
            if matches!(moment, Moment::Accepted) && self.heard() > heard {
                return "accepted";
            }
            if !self.farm.hub().is_running() {
                was = "died at the call";
                break;
            }
            if self.is_done() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        was
    }

    /// Builders that were cut off wait a while before they come again: their machines lose their power as well.
    fn restart_builders(&mut self) {
        for number in 0..BUILDERS {
            self.farm.builder(number).kill9();
            self.farm.start_builder(number);
        }
    }

    /// Cuts the power, and brings it back. What is wrong then.
    pub(crate) fn cut(&mut self) -> Vec<String> {
        self.cutter.cut(self.disk.path()).expect("it could be cut before");
        self.farm.hub().kill9();
        self.disk.plug_in_again();
        // A move that nobody was told of may be undone.
        self.open = (0..self.packages.len()).collect();
        self.is_done();
        self.learn();
        self.wrong()
    }

    /// Lets the farm finish everything. What is wrong then.
    pub(crate) fn finish_all(&mut self) -> Vec<String> {
        self.traced.leave_alone();
        if let Err(log) = self.farm.try_start_hub() {
            return vec![format!("the hub does not start: {log}")];
        }
        self.restart_builders();
        let all_done = poll_until(SOON * 2, || self.is_done());
        self.learn();
        let mut wrong = self.wrong();
        if !all_done {
            let left = self.packages.iter().filter(|one| self.farm.places(&one.srpm) != ["finished"]);
            wrong.push(format!("not finished: {:?}", left.map(|one| &one.srpm).collect::<Vec<_>>()));
        }
        for package in &self.packages {
            let results = self.farm.results(&package.nvr);
            if results != [package.nvr.as_str()] {
                wrong.push(format!("{} has the results {results:?}", package.nvr));
            } else {
                let json = self.farm.result_json(&package.nvr);
                wrong.extend(check::whole(&self.farm.repo().join(&package.nvr), package, &json));
            }
        }
        let mut index = Err("never read".to_owned());
        let is_indexed = poll_until(SOON, || {
            index = read_index(&self.farm.repo().join("repodata"));
            let has = |one: &Package| {
                index
                    .as_ref()
                    .is_ok_and(|all| all.keys().any(|place| place.ends_with(&format!("/{}", one.rpm))))
            };
            self.packages.iter().all(has)
        });
        if !is_indexed {
            wrong.push(format!("not all is indexed: {:?}", index.map(|all| all.len())));
        }
        let log = fs::read_to_string(self.farm.path().join("hub.log")).unwrap_or_default();
        wrong.extend(check::given_twice(&log));
        wrong.extend(log.lines().filter(|line| line.contains("panicked")).map(str::to_owned));
        wrong
    }

    pub(crate) fn story(&self) -> String {
        self.farm.diagnosis()
    }

    fn is_done(&mut self) -> bool {
        self.open.retain(|number| self.farm.places(&self.packages[*number].srpm) != ["finished"]);
        self.open.is_empty()
    }

    fn builder_logs(&self) -> Vec<PathBuf> {
        (0..BUILDERS).map(|number| self.farm.path().join(format!("builder{number}.log"))).collect()
    }

    /// How much the builders have said that they were told.
    fn heard(&self) -> usize {
        let count =
            |path: &PathBuf| fs::read_to_string(path).map_or(0, |text| text.matches(": success").count());
        self.builder_logs().iter().map(count).sum()
    }

    /// Takes down what the builders have said that they were told.
    fn learn(&mut self) {
        for path in self.builder_logs() {
            let text = fs::read_to_string(path).unwrap_or_default();
            for line in text.lines().filter(|line| line.contains("accepted: success")) {
                let word = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
                let (lease, srpm) = (word("lease=").expect("a lease"), word("pkg=").expect("a package"));
                let known = self.packages.iter().position(|package| package.srpm == srpm);
                self.promised
                    .insert(lease.trim_end_matches(':').to_owned(), known.expect("a package of ours"));
            }
        }
    }

    fn wrong(&self) -> Vec<String> {
        let root = self.disk.path();
        let places = self.packages.iter().filter_map(|package| check::one_place(root, package));
        let promises = self.promised.iter();
        let promises =
            promises.filter_map(|(lease, number)| check::promised(root, &self.packages[*number], lease));
        places.chain(promises).collect()
    }
}
