//! The core with threads that are played: each order is answered when the test says so.

use super::*;
use crate::core::capabilities::Requirement;
use crate::repodata::{Class, Compression, Described, Listed, encode_provided};
use crate::rpmfile::{Capability, Nevra};
use crate::testshare::share_of;

const MINUTE_MS: u64 = 60_000;

fn published(folder: &str, rpms: &[&str]) -> Published {
    let rpms = rpms.iter().map(|name| FileName::new(*name).unwrap()).collect();
    Published { folder: folder.into(), rpms }
}

/// A result with one RPM, which is called like its folder.
fn one(folder: &str) -> Published {
    published(folder, &[&format!("{folder}.rpm")])
}

/// A result with so many RPMs, called like its folder as well.
fn several(folder: &str, count: usize) -> Published {
    let rpms: Vec<String> = (0..count).map(|n| format!("{folder}-{n}.rpm")).collect();
    published(folder, &rpms.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What every package provides: where it is, with its length as the version.
fn provided(path: &Path, stamp: Stamp) -> Provided {
    let [name, arch] = ["n", "noarch"].map(str::to_owned);
    let (version, release) = ("1".to_owned(), "1".to_owned());
    let at = Capability { name: format!("at({path})"), flags: 8, evr: stamp.size.to_string() };
    let nevra = Nevra { name, epoch: 0, version, release, arch };
    Provided { nevra, provides: vec![at], files: Vec::new(), source: None }
}

/// A file of a package that `primary` does not list.
fn file_of(path: &str) -> String {
    format!("/usr/share/{path}")
}

fn group(paths: &[Path], stamp: Stamp) -> Arc<Group> {
    let described = |path: &Path| {
        let filelists = format!("<file>{}</file>", file_of(path));
        let texts = [Vec::new(), filelists.into_bytes(), Vec::new(), encode_provided(&provided(path, stamp))];
        let text_bytes = texts.each_ref().map(|text| u32::try_from(text.len()).unwrap());
        let Stamp { size, modified_unix_s } = stamp;
        let listed = Listed { path: path.clone(), size, modified_unix_s, text_bytes };
        Described { listed, class: Class::Main, texts }
    };
    let described: Vec<Described> = paths.iter().map(described).collect();
    Arc::new(Group::seal(Class::Main, Compression::Gzip, &described))
}

/// What a shelf provides.
fn stock(shelf: &BTreeMap<Path, Stamp>) -> Box<Capabilities> {
    let mut stock = Box::<Capabilities>::default();
    for (path, stamp) in shelf {
        let Provided { nevra, provides, .. } = provided(path, *stamp);
        stock.add(path, &nevra, &provides, &[]);
    }
    stock
}

fn stamp(size: u64) -> Stamp {
    Stamp { size, modified_unix_s: 1 }
}

/// The core, and what its three threads have.
struct Bench {
    core: Repo,
    now: Time,
    /// Effects that nobody has looked at yet.
    told: Vec<Effect>,
    /// On recent, and lingering there.
    recent: BTreeMap<Path, Arc<Group>>,
    shelf: BTreeMap<Path, Stamp>,
    complete: BTreeSet<Path>,
    /// What the queue knows.
    stock: Capabilities,
    /// Results without a piece.
    unread: Vec<String>,
    /// What the files are that the reader finds.
    files: BTreeMap<Path, Stamp>,
}

impl Bench {
    fn new(published: Vec<Published>, config: Config) -> Bench {
        Bench {
            core: Repo::new(published, config),
            now: Time(0),
            told: Vec::new(),
            recent: BTreeMap::new(),
            shelf: BTreeMap::new(),
            complete: BTreeSet::new(),
            stock: Capabilities::default(),
            unread: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// One that has started and is through with it.
    fn started(published: Vec<Published>) -> Bench {
        let mut bench = Bench::new(published, Config::default());
        bench.tell(Msg::Tick);
        bench.tell(Msg::AllSeen);
        bench.run();
        bench
    }

    fn tell(&mut self, msg: Msg) {
        let mut out = Vec::new();
        self.core.handle(self.now, msg, &mut out);
        // The queue hears all in order, whatever becomes of orders.
        for effect in &out {
            match effect {
                Effect::Queue(queue::Msg::Published(queue::News { stock, came, gone })) => {
                    if let Some(stock) = stock {
                        self.stock = (**stock).clone();
                    }
                    gone.iter().for_each(|path| _ = self.stock.remove(path));
                    for (path, Provided { nevra, provides, files, .. }) in came {
                        self.stock.add(path, nevra, provides, files);
                    }
                }
                Effect::Queue(queue::Msg::FilesFound(found)) => {
                    found.iter().for_each(|(path, files)| self.stock.add_files(path, files));
                }
                _ => {}
            }
        }
        self.told.extend(out);
    }

    /// Whether the queue knows where this is.
    fn knows(&self, capability: &str, path: &str) -> bool {
        self.stock.who_provides(&Requirement::parse(capability)) == [path]
    }

    /// The first order that waits and fits.
    fn take(&mut self, fits: impl Fn(&Effect) -> bool) -> Option<Effect> {
        let at = self.told.iter().position(fits)?;
        Some(self.told.remove(at))
    }

    fn groups_of(&self, sources: Vec<Source>) -> (Vec<Arc<Group>>, Vec<String>) {
        let (mut groups, mut unread) = (Vec::new(), Vec::new());
        let mut folders = BTreeSet::new();
        for source in &sources {
            let Source::Result { folder, rpms } = source else { continue };
            assert!(folders.insert(folder), "the piece of {folder} is read twice");
            let own = format!("{folder}/");
            assert!(rpms.iter().all(|at| at.starts_with(&own)), "not all in {folder}: {rpms:?}");
        }
        for source in sources {
            match source {
                Source::Result { folder, .. } if self.unread.contains(&folder) => unread.push(folder),
                Source::Result { rpms, .. } => groups.push(group(&rpms, stamp(7))),
                Source::Groups(there) => groups.extend(there),
                Source::Files(paths) => groups
                    .extend(paths.iter().map(|path| group(std::slice::from_ref(path), self.files[path]))),
            }
        }
        (groups, unread)
    }

    /// Carries out one order; its answer is given at once.
    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Open => {
                let on_shelf = self.shelf.iter().map(|(path, stamp)| (path.clone(), *stamp)).collect();
                self.tell(Msg::Opened(Ok(Opened { on_shelf, stock: stock(&self.shelf), sweep_at: None })));
            }
            Effect::Read(paths) => {
                let (good, bad): (Vec<Path>, Vec<Path>) =
                    paths.into_iter().partition(|path| self.files.contains_key(path));
                let groups =
                    good.iter().map(|path| group(std::slice::from_ref(path), self.files[path])).collect();
                let skipped = bad.into_iter().map(|path| Skipped { path, stamp: None }).collect();
                self.tell(Msg::Read(Read { groups, skipped, failed: None }));
            }
            Effect::Recent { add, gone, merged } => {
                let (groups, unread) = self.groups_of(add);
                self.recent.retain(|path, _| !gone.contains(path) && !merged.contains(path));
                for one in groups {
                    for listed in &one.packages {
                        let stamp = Stamp::of(listed);
                        let other = self
                            .recent
                            .insert(listed.path.clone(), group(std::slice::from_ref(&listed.path), stamp));
                        assert!(other.is_none(), "{} is added twice", listed.path);
                        assert!(!self.shelf.contains_key(&listed.path), "{} is on a shelf", listed.path);
                    }
                }
                let groups = self.recent.values().cloned().collect();
                self.tell(Msg::RecentLive(Ok(Live { groups, unread, sweep_at: None })));
            }
            Effect::Merge { add, gone } => {
                let (from_recent, others): (Vec<_>, Vec<_>) =
                    add.into_iter().partition(|source| matches!(source, Source::Groups(_)));
                let stamps = |groups: Vec<Arc<Group>>| -> Vec<(Path, Stamp)> {
                    packages(&groups).map(|(path, stamp)| (path.clone(), stamp)).collect()
                };
                let added = stamps(self.groups_of(others).0);
                for path in &gone {
                    assert!(self.shelf.remove(path).is_some(), "{path} is on no shelf");
                }
                self.shelf.extend(stamps(self.groups_of(from_recent).0));
                self.shelf.extend(added.iter().cloned());
                let stock = (!added.is_empty()).then(|| stock(&self.shelf));
                self.tell(Msg::Merged(Ok(Merged { added, stock, skipped: Vec::new(), sweep_at: None })));
            }
            Effect::Complete { recent } => {
                self.complete = packages(&recent).map(|(path, _)| path.clone()).collect();
                let recent = self.complete.len();
                self.complete.extend(self.shelf.keys().cloned());
                assert_eq!(self.complete.len(), recent + self.shelf.len(), "something is listed twice");
                self.tell(Msg::CompleteLive(Ok(None)));
            }
            Effect::Find { files, recent } => {
                let on_recent = recent.iter().flat_map(|group| group.which_have(&files).unwrap());
                let mut found: Vec<(Path, Vec<String>)> = on_recent.collect();
                for path in self.shelf.keys() {
                    let files = files.find(format!("<file>{}</file>", file_of(path)).as_bytes());
                    found.extend((!files.is_empty()).then(|| (path.clone(), files)));
                }
                self.tell(Msg::Found(Ok(found)));
            }
            Effect::Compare { builds, .. } => {
                let same = |build: Compare| Compared { folder: build.folder, change: None };
                self.tell(Msg::Compared(Ok(builds.into_iter().map(same).collect())));
            }
            Effect::SweepRecent => self.tell(Msg::RecentSwept(Ok(None))),
            Effect::SweepIndex => self.tell(Msg::IndexSwept(Ok(None))),
            Effect::Queue(_) | Effect::Desk(_) | Effect::Log(..) => {}
        }
    }

    /// Carries out all orders, and those that follow.
    fn run(&mut self) {
        while let Some(effect) = self.take(|_| true) {
            self.carry_out(effect);
        }
        assert!(!matches!(self.core.deadline(), Some(at) if at <= self.now), "what is due was not ordered");
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.tell(Msg::Tick);
    }

    fn recent(&self) -> Vec<&str> {
        self.recent.keys().map(|path| &**path).collect()
    }

    fn shelf(&self) -> Vec<&str> {
        self.shelf.keys().map(|path| &**path).collect()
    }

    fn complete(&self) -> Vec<&str> {
        self.complete.iter().map(|path| &**path).collect()
    }

    fn hand(&mut self, folder: &str, rpms: &[(&str, u64)]) {
        let rpms = rpms.iter().map(|(name, size)| Found { name: (*name).to_owned(), stamp: stamp(*size) });
        let rpms: Vec<Found> = rpms.collect();
        for found in &rpms {
            self.files.insert(path(folder, &found.name), found.stamp);
        }
        self.tell(Msg::ByHand(vec![Seen { folder: folder.to_owned(), is_result: false, rpms }]));
    }
}

fn is_recent(effect: &Effect) -> bool {
    matches!(effect, Effect::Recent { .. })
}

fn is_merge(effect: &Effect) -> bool {
    matches!(effect, Effect::Merge { .. })
}

fn is_complete(effect: &Effect) -> bool {
    matches!(effect, Effect::Complete { .. })
}

fn is_read(effect: &Effect) -> bool {
    matches!(effect, Effect::Read(_))
}

fn is_published(effect: &Effect) -> bool {
    matches!(effect, Effect::Queue(queue::Msg::Published(_)))
}

#[test]
fn what_repo_holds_is_live_after_the_start() {
    let mut bench = Bench::new(vec![one("a-1-1"), one("b-1-1")], Config::default());
    assert_eq!(bench.core.deadline(), Some(Time(0)));
    bench.tell(Msg::Tick);
    assert!(matches!(bench.told[..], [Effect::Open]));
    bench.run();
    assert_eq!(bench.recent(), ["a-1-1/a-1-1.rpm", "b-1-1/b-1-1.rpm"]);
    // The complete index of the last run stays until all folders were looked at.
    assert!(bench.complete().is_empty());
    bench.tell(Msg::AllSeen);
    bench.run();
    assert_eq!(bench.complete(), bench.recent());
}

#[test]
fn results_that_arrive_while_recent_is_published_go_out_together_next() {
    let mut bench = Bench::started(Vec::new());
    bench.tell(Msg::Published(one("a-1-1")));
    let first = bench.take(is_recent).unwrap();
    for folder in ["b-1-1", "c-1-1@2"] {
        bench.tell(Msg::Published(one(folder)));
    }
    assert!(bench.take(|_| true).is_none());
    bench.carry_out(first);
    assert!(bench.take(is_published).is_some());
    let Some(Effect::Recent { add, .. }) = bench.take(is_recent) else { panic!() };
    assert_eq!(add.len(), 2);
}

#[test]
fn rebuild_takes_the_place_of_what_it_rebuilds_and_gives_it_back() {
    let mut bench =
        Bench::started(vec![published("a-1-1", &["a.rpm", "a-doc.rpm"]), published("a-1-1@2", &["a.rpm"])]);
    assert_eq!(bench.recent(), ["a-1-1/a-doc.rpm", "a-1-1@2/a.rpm"]);
    bench.tell(Msg::Published(published("a-1-1@3", &["a.rpm", "a-doc.rpm"])));
    bench.run();
    assert_eq!(bench.recent(), ["a-1-1@3/a-doc.rpm", "a-1-1@3/a.rpm"]);
    assert_eq!(bench.complete(), bench.recent());
    for (folder, want) in [
        ("a-1-1@3", &["a-1-1/a-doc.rpm", "a-1-1@2/a.rpm"][..]),
        ("a-1-1@2", &["a-1-1/a-doc.rpm", "a-1-1/a.rpm"]),
        ("a-1-1", &[]),
    ] {
        bench.tell(Msg::Withdraw { folder: folder.into() });
        bench.run();
        assert_eq!(bench.recent(), want);
        assert_eq!(bench.complete(), want);
    }
}

#[test]
fn full_recent_is_merged_and_what_was_merged_leaves_it() {
    let config = Config { recent_packages_max: 3, ..Config::default() };
    let mut bench = Bench::new(Vec::new(), config);
    bench.tell(Msg::Tick);
    bench.tell(Msg::AllSeen);
    bench.run();
    for folder in ["a-1-1", "b-1-1", "c-1-1"] {
        bench.tell(Msg::Published(one(folder)));
        bench.run();
    }
    assert_eq!((bench.recent.len(), bench.shelf.len()), (3, 0));
    bench.wait(365 * 24 * 60 * MINUTE_MS);
    bench.run();
    assert_eq!(bench.shelf.len(), 0, "merged merely because time passed");
    bench.tell(Msg::Published(one("d-1-1")));
    bench.run();
    assert_eq!((bench.recent.len(), bench.shelf.len()), (0, 4));
    assert_eq!(bench.complete(), bench.shelf());
}

#[test]
fn what_is_published_during_a_merge_does_not_wait_for_it() {
    let mut bench = Bench::started(vec![one("a-1-1")]);
    bench.core.config.recent_packages_max = 0;
    bench.tell(Msg::Tick);
    let merge = bench.take(is_merge).unwrap();
    bench.tell(Msg::Published(one("c-1-1")));
    let recent = bench.take(is_recent).expect("published while the merge runs");
    bench.carry_out(recent);
    assert_eq!(bench.recent(), ["a-1-1/a-1-1.rpm", "c-1-1/c-1-1.rpm"]);
    bench.tell(Msg::Withdraw { folder: "a-1-1".into() });
    let recent = bench.take(is_recent).expect("withdrawn while the merge runs");
    bench.carry_out(recent);
    assert_eq!(bench.recent(), ["c-1-1/c-1-1.rpm"]);
    bench.carry_out(merge);
    // It came onto the shelf although it had been withdrawn meanwhile: the next merge takes it off again.
    bench.run();
    assert_eq!(bench.shelf(), ["c-1-1/c-1-1.rpm"]);
    assert_eq!(bench.complete(), ["c-1-1/c-1-1.rpm"]);
}

/// One whose shelf holds these results already.
fn shelved(results: Vec<Published>) -> Bench {
    let mut bench = Bench::new(results.clone(), Config::default());
    for Published { folder, rpms } in results {
        bench.shelf.extend(rpms.iter().map(|rpm| (path(&folder, rpm.as_str()), stamp(7))));
    }
    bench.tell(Msg::Tick);
    bench.tell(Msg::AllSeen);
    bench.run();
    assert!(bench.recent.is_empty());
    bench
}

#[test]
fn damaged_shelves_are_filled_again_before_the_next_complete_index() {
    let mut bench = shelved(vec![one("a-1-1"), one("b-1-1")]);
    bench.tell(Msg::Withdraw { folder: "a-1-1".into() });
    bench.take(is_merge).unwrap();
    bench.shelf.clear();
    bench.tell(Msg::Opened(Ok(Opened { on_shelf: Vec::new(), stock: Box::default(), sweep_at: None })));
    assert!(bench.take(is_complete).is_none(), "it would hold less than the last one");
    bench.run();
    assert_eq!((bench.recent(), bench.complete()), (vec!["b-1-1/b-1-1.rpm"], vec!["b-1-1/b-1-1.rpm"]));
}

#[test]
fn what_is_withdrawn_from_a_shelf_goes_with_a_merge_before_the_next_complete_index() {
    let mut bench = shelved(vec![one("a-1-1"), one("b-1-1")]);
    bench.tell(Msg::Withdraw { folder: "a-1-1".into() });
    assert!(bench.take(is_complete).is_none());
    let merge = bench.take(is_merge).unwrap();
    bench.carry_out(merge);
    assert!(bench.take(|effect| matches!(effect, Effect::Desk(desk::Msg::Withdrawn { .. }))).is_none());
    let complete = bench.take(is_complete).unwrap();
    bench.carry_out(complete);
    assert_eq!((bench.shelf(), bench.complete()), (vec!["b-1-1/b-1-1.rpm"], vec!["b-1-1/b-1-1.rpm"]));
    let told = bench.take(|effect| matches!(effect, Effect::Desk(desk::Msg::Withdrawn { .. })));
    assert!(matches!(told, Some(Effect::Desk(desk::Msg::Withdrawn { folder })) if folder == "a-1-1"));
}

#[test]
fn a_rebuild_of_what_is_on_a_shelf_is_usable_at_once_and_merged() {
    let mut bench = shelved(vec![published("a-1-1", &["a.rpm"])]);
    bench.tell(Msg::Published(published("a-1-1@2", &["a.rpm"])));
    let recent = bench.take(is_recent).unwrap();
    assert!(bench.take(is_merge).is_none(), "builders would have neither");
    bench.carry_out(recent);
    assert_eq!(bench.recent(), ["a-1-1@2/a.rpm"]);
    bench.run();
    assert_eq!((bench.recent().len(), bench.shelf()), (0, vec!["a-1-1@2/a.rpm"]));
}

#[test]
fn deletion_waits_until_no_index_names_the_folder() {
    let is_told = |effect: &Effect| matches!(effect, Effect::Desk(desk::Msg::Withdrawn { .. }));
    // A complete index that is being made names it still.
    let mut bench = Bench::started(vec![one("a-1-1")]);
    bench.tell(Msg::Published(one("b-1-1")));
    let recent = bench.take(is_recent).unwrap();
    bench.carry_out(recent);
    let complete = bench.take(is_complete).unwrap();
    bench.tell(Msg::Withdraw { folder: "a-1-1".into() });
    bench.carry_out(complete);
    assert!(bench.take(is_told).is_none());
    assert!(bench.take(is_complete).is_none(), "before recent has taken it off");
    bench.told.retain(|effect| !matches!(effect, Effect::Desk(_) | Effect::Queue(_)));
    let recent = bench.take(is_recent).unwrap();
    bench.carry_out(recent);
    assert!(bench.take(is_told).is_none());
    let complete = bench.take(is_complete).unwrap();
    bench.carry_out(complete);
    assert!(bench.take(is_told).is_some());
    // A publication that is on its way brings it once more.
    bench.tell(Msg::Published(one("c-1-1")));
    let recent = bench.take(is_recent).unwrap();
    bench.tell(Msg::Withdraw { folder: "c-1-1".into() });
    while let Some(complete) = bench.take(is_complete) {
        bench.carry_out(complete);
        assert!(bench.take(is_told).is_none());
    }
    bench.carry_out(recent);
    let told = |bench: &mut Bench| bench.take(is_told).is_some();
    assert!(!told(&mut bench));
    bench.told.retain(|effect| !matches!(effect, Effect::Desk(_)));
    while let Some(effect) = bench.take(|effect| is_recent(effect) || is_complete(effect)) {
        bench.carry_out(effect);
    }
    assert!(told(&mut bench));
    // What was in no index at all.
    bench.tell(Msg::Withdraw { folder: "never".into() });
    let complete = bench.take(is_complete).unwrap();
    bench.carry_out(complete);
    assert!(told(&mut bench));
}

#[test]
fn what_was_merged_is_taken_off_recent_when_it_is_withdrawn_while_it_lingers() {
    let mut bench = Bench::started(vec![one("a-1-1")]);
    bench.core.config.recent_packages_max = 0;
    bench.tell(Msg::Tick);
    bench.run();
    assert_eq!((bench.recent().len(), bench.shelf().len()), (0, 1));
    bench.tell(Msg::Withdraw { folder: "a-1-1".into() });
    let Some(Effect::Recent { gone, .. }) = bench.take(is_recent) else { panic!() };
    assert_eq!(gone.len(), 1);
}

#[test]
fn complete_follows_ten_times_at_once_and_then_once_a_minute() {
    let mut bench = Bench::started(Vec::new());
    let mut completes = 1;
    for n in 0..30 {
        bench.tell(Msg::Published(one(&format!("p{n}-1-1"))));
        while let Some(effect) = bench.take(|_| true) {
            completes += usize::from(is_complete(&effect));
            bench.carry_out(effect);
        }
    }
    assert_eq!(completes, 10);
    assert_eq!(bench.recent.len(), 30);
    assert_eq!(bench.core.deadline(), Some(Time(MINUTE_MS)));
    bench.wait(MINUTE_MS);
    bench.run();
    assert_eq!(bench.complete.len(), 30);
    assert_eq!(bench.core.deadline(), None);
}

#[test]
fn removals_are_merged_ten_times_at_once_and_then_once_a_minute_unless_recent_is_full() {
    for is_full in [false, true] {
        let mut bench = shelved((0..12).map(|n| one(&format!("p{n}-1-1"))).collect());
        let mut merges = 0;
        for n in 0..12 {
            bench.tell(Msg::Withdraw { folder: format!("p{n}-1-1") });
            while let Some(effect) = bench.take(|_| true) {
                merges += usize::from(is_merge(&effect));
                bench.carry_out(effect);
            }
        }
        assert_eq!((merges, bench.shelf.len()), (10, 2));
        if is_full {
            bench.core.config.recent_packages_max = 0;
            bench.tell(Msg::Published(one("new-1-1")));
        } else {
            bench.wait(MINUTE_MS);
        }
        bench.run();
        assert_eq!(bench.shelf.len(), usize::from(is_full));
    }
}

#[test]
fn superseded_files_are_deleted_when_they_are_old_enough_and_after_a_pause_if_that_failed() {
    let is_sweep = |effect: &Effect| matches!(effect, Effect::SweepRecent | Effect::SweepIndex);
    let mut bench = Bench::started(Vec::new());
    bench.tell(Msg::Published(one("a-1-1")));
    let Some(Effect::Recent { add, .. }) = bench.take(is_recent) else { panic!() };
    let groups = bench.groups_of(add).0;
    let (recent, index) = (Time(MINUTE_MS), Time(2 * MINUTE_MS));
    bench.tell(Msg::RecentLive(Ok(Live { groups, unread: Vec::new(), sweep_at: Some(recent) })));
    bench.take(is_complete).unwrap();
    bench.tell(Msg::CompleteLive(Ok(Some(index))));
    assert_eq!(bench.core.deadline(), Some(recent));
    bench.wait(MINUTE_MS - 1);
    assert!(bench.take(is_sweep).is_none(), "somebody may be reading them");
    bench.wait(1);
    assert!(matches!(bench.take(is_sweep), Some(Effect::SweepRecent)));
    bench.tell(Msg::RecentSwept(Ok(None)));
    assert_eq!(bench.core.deadline(), Some(index));
    bench.wait(MINUTE_MS);
    assert!(matches!(bench.take(is_sweep), Some(Effect::SweepIndex)));
    bench.tell(Msg::IndexSwept(Err("no".into())));
    assert!(bench.take(is_sweep).is_none());
    assert_eq!(bench.core.deadline(), Some(index.plus_ms(SWEEP_AGAIN_MS)));
    bench.wait(SWEEP_AGAIN_MS);
    assert!(matches!(bench.take(is_sweep), Some(Effect::SweepIndex)));
    bench.tell(Msg::IndexSwept(Ok(None)));
    assert_eq!(bench.core.deadline(), None);
}

#[test]
fn files_are_found_on_recent_and_on_the_shelf_and_looked_for_again_after_an_error() {
    let is_find = |effect: &Effect| matches!(effect, Effect::Find { .. });
    let mut bench = shelved(vec![one("a-1-1")]);
    bench.tell(Msg::Published(one("b-1-1")));
    bench.run();
    let [shelved, recent] = ["a-1-1/a-1-1.rpm", "b-1-1/b-1-1.rpm"].map(Path::from);
    bench.tell(Msg::FindFiles([&*shelved, &*recent, "nowhere"].map(file_of).into()));
    bench.take(is_find).expect("somebody waits for the answer");
    bench.tell(Msg::Found(Err("no".into())));
    assert!(bench.take(is_find).is_none());
    bench.now = bench.core.deadline().unwrap();
    bench.tell(Msg::Tick);
    let find = bench.take(is_find).unwrap();
    bench.carry_out(find);
    for path in [shelved, recent] {
        assert!(bench.knows(&file_of(&path), &path), "{path}");
    }
    assert_eq!(bench.core.deadline(), None);
}

#[test]
fn with_a_foreign_url_builders_see_the_complete_index_which_is_made_without_pauses() {
    let mut bench = Bench::new(Vec::new(), Config { tiers: false, ..Config::default() });
    bench.tell(Msg::Tick);
    bench.tell(Msg::AllSeen);
    bench.run();
    for n in 0..30 {
        bench.tell(Msg::Published(one(&format!("p{n}-1-1"))));
        let recent = bench.take(is_recent).unwrap();
        bench.carry_out(recent);
        assert!(bench.take(is_published).is_none());
        let complete = bench.take(is_complete).expect("no pause");
        bench.carry_out(complete);
        assert!(bench.take(is_published).is_some());
        bench.run();
        assert_eq!(bench.complete.len(), n + 1);
    }
}

#[test]
fn an_order_that_fails_is_given_again_after_growing_pauses_and_nothing_is_forgotten() {
    let mut bench = Bench::started(Vec::new());
    bench.tell(Msg::Published(one("a-1-1")));
    for pause_ms in [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
        assert!(bench.take(is_recent).is_some());
        bench.tell(Msg::RecentLive(Err("no".into())));
        assert!(matches!(bench.take(|_| true), Some(Effect::Log(log::Level::Error, _))));
        assert_eq!(bench.core.deadline(), Some(bench.now.plus_ms(pause_ms)));
        bench.tell(Msg::Published(one("b-1-1")));
        assert!(bench.take(|_| true).is_none());
        bench.wait(pause_ms);
    }
    let recent = bench.take(is_recent).unwrap();
    bench.carry_out(recent);
    assert_eq!(bench.recent(), ["a-1-1/a-1-1.rpm", "b-1-1/b-1-1.rpm"]);
    assert!(bench.take(is_complete).is_some());
    bench.tell(Msg::CompleteLive(Err("no".into())));
    bench.told.clear();
    bench.wait(5_000);
    bench.run();
    assert_eq!(bench.complete(), bench.recent());
}

#[test]
fn a_merge_that_fails_does_not_keep_what_is_new_from_everybody() {
    let mut bench = shelved(vec![one("a-1-1"), one("b-1-1")]);
    bench.tell(Msg::Withdraw { folder: "a-1-1".into() });
    assert!(bench.take(is_merge).is_some());
    bench.tell(Msg::Merged(Err("no".into())));
    bench.tell(Msg::Published(one("c-1-1")));
    bench.run();
    assert_eq!(bench.complete().len(), 3);
    bench.wait(5_000);
    bench.run();
    assert_eq!(bench.complete(), ["b-1-1/b-1-1.rpm", "c-1-1/c-1-1.rpm"]);
}

#[test]
fn rpms_by_hand_are_read_indexed_and_removed() {
    let mut bench = shelved(vec![one("a-1-1")]);
    bench.hand("mine/deep", &[("x.rpm", 1), ("bad.rpm", 2)]);
    bench.hand("", &[("top.rpm", 3)]);
    bench.files.remove("mine/deep/bad.rpm");
    bench.run();
    assert_eq!(bench.recent(), ["mine/deep/x.rpm", "top.rpm"]);
    // The bad one is not read again before it changes.
    bench.files.insert("mine/deep/bad.rpm".into(), stamp(2));
    bench.hand("mine/deep", &[("x.rpm", 1), ("bad.rpm", 2)]);
    assert!(bench.take(|_| true).is_none());
    bench.tell(Msg::LookAgain);
    bench.run();
    assert_eq!(bench.recent(), ["mine/deep/bad.rpm", "mine/deep/x.rpm", "top.rpm"]);
    // Changed ones go and come again; merged ones leave the shelf first.
    bench.hand("mine/deep", &[("x.rpm", 9)]);
    bench.run();
    assert_eq!(bench.recent(), ["mine/deep/x.rpm", "top.rpm"]);
    assert_eq!(bench.core.places.recent[&Path::from("mine/deep/x.rpm")], stamp(9));
    bench.core.config.recent_packages_max = 0;
    bench.tell(Msg::Tick);
    bench.run();
    bench.core.config.recent_packages_max = 9;
    bench.hand("", &[("top.rpm", 4)]);
    bench.run();
    assert_eq!(bench.complete(), ["a-1-1/a-1-1.rpm", "mine/deep/x.rpm", "top.rpm"]);
    assert_eq!(bench.core.places.recent[&Path::from("top.rpm")], stamp(4));
    bench.hand("", &[]);
    bench.hand("mine/deep", &[]);
    bench.run();
    assert_eq!(bench.complete(), ["a-1-1/a-1-1.rpm"]);
}

#[test]
fn a_result_goes_before_what_people_put_there_under_its_name() {
    let mut bench = Bench::started(Vec::new());
    bench.hand("mine", &[("a.rpm", 1)]);
    bench.run();
    bench.tell(Msg::Published(published("a-1-1", &["a.rpm"])));
    bench.run();
    assert_eq!(bench.recent(), ["a-1-1/a.rpm"]);
    // Somebody takes it away, and puts it back.
    for (there, want) in [(&[][..], "mine/a.rpm"), (&[("a.rpm", 7)], "a-1-1/a.rpm")] {
        let rpms = there
            .iter()
            .map(|(name, size): &(&str, u64)| Found { name: (*name).to_owned(), stamp: stamp(*size) });
        let seen = Seen { folder: "a-1-1".into(), is_result: true, rpms: rpms.collect() };
        bench.tell(Msg::ByHand(vec![seen]));
        bench.run();
        assert_eq!(bench.recent(), [want]);
    }
    // What a hub made and did not publish is nobody's.
    let rpms = vec![Found { name: "held.rpm".into(), stamp: stamp(1) }];
    bench.tell(Msg::ByHand(vec![Seen { folder: "held-1-1".into(), is_result: true, rpms }]));
    assert!(bench.take(|_| true).is_none());
}

#[test]
fn results_without_a_piece_are_read_and_changed_files_on_the_shelf_are_noticed_after_a_start() {
    let mut bench = Bench::new(vec![one("old-1-1"), one("gone-1-1")], Config::default());
    bench.unread = vec!["old-1-1".into()];
    bench.files.insert("old-1-1/old-1-1.rpm".into(), stamp(7));
    for (path, size) in
        [("mine/same.rpm", 1), ("mine/changed.rpm", 2), ("mine/gone.rpm", 3), ("gone-1-1/gone-1-1.rpm", 7)]
    {
        bench.shelf.insert(path.into(), stamp(size));
    }
    bench.tell(Msg::Tick);
    bench.run();
    bench.hand("mine", &[("same.rpm", 1), ("changed.rpm", 5)]);
    let seen = Seen { folder: "gone-1-1".into(), is_result: false, rpms: Vec::new() };
    bench.tell(Msg::ByHand(vec![seen]));
    assert!(bench.take(is_merge).is_none());
    bench.tell(Msg::AllSeen);
    bench.run();
    assert_eq!(bench.complete(), ["mine/changed.rpm", "mine/same.rpm", "old-1-1/old-1-1.rpm"]);
    assert_eq!(bench.core.wanted.paths().len(), 3);
}

#[test]
fn a_cold_start_over_much_goes_onto_the_shelf_and_the_old_index_stays_meanwhile() {
    let many = (1..3_000).map(|n| one(&format!("p{n}-1-1")));
    let results = [published("two-1-1", &["a.rpm", "b.rpm"])].into_iter().chain(many).collect();
    let mut bench = Bench::new(results, Config::default());
    bench.tell(Msg::Tick);
    while let Some(effect) = bench.take(|effect| !is_merge(effect)) {
        assert!(!is_complete(&effect));
        bench.carry_out(effect);
    }
    // The newest are usable at once.
    assert_eq!(bench.recent.len(), 256);
    assert!(bench.recent.contains_key("p2999-1-1/p2999-1-1.rpm"));
    bench.hand("mine", &[("x.rpm", 1)]);
    bench.tell(Msg::AllSeen);
    let merge = bench.take(is_merge).unwrap();
    bench.tell(Msg::Published(one("new-1-1")));
    let recent = bench.take(is_recent).unwrap();
    bench.carry_out(recent);
    assert!(bench.recent.contains_key("new-1-1/new-1-1.rpm"));
    bench.carry_out(merge);
    bench.run();
    assert_eq!((bench.complete.len(), bench.core.places.live()), (3_003, 3_003));
}

#[test]
fn what_a_cold_start_leaves_on_recent_is_of_whole_results() {
    for (max, newest, want) in [(256, 1, 255), (256, 300, 0), (2_000, 1, 1_201)] {
        let pairs = (0..600).map(|n| several(&format!("p{n:03}-1-1"), 2));
        let results = pairs.chain([several("z-1-1", newest)]).collect();
        let config = Config { recent_packages_max: max, ..Config::default() };
        let mut bench = Bench::new(results, config);
        bench.tell(Msg::Tick);
        while let Some(effect) = bench.take(|effect| !is_merge(effect)) {
            bench.carry_out(effect);
        }
        assert_eq!(bench.recent.len(), want, "{newest} of at most {max}");
        bench.tell(Msg::AllSeen);
        bench.run();
        assert_eq!(bench.complete.len(), 1_200 + newest);
    }
}

#[test]
fn what_must_be_read_is_read_in_pieces_once_all_was_seen_and_no_result_is_divided() {
    let results: Vec<Published> = (0..100).map(|n| several(&format!("r{n:03}-1-1"), 3)).collect();
    let mut bench = Bench::new(results.clone(), Config::default());
    for Published { folder, rpms } in results {
        bench.files.extend(rpms.iter().map(|rpm| (path(&folder, rpm.as_str()), stamp(7))));
        bench.unread.push(folder);
    }
    bench.tell(Msg::Tick);
    while let Some(effect) = bench.take(|effect| !is_read(effect)) {
        bench.carry_out(effect);
    }
    assert!(bench.told.is_empty());
    bench.tell(Msg::AllSeen);
    let read = bench.take(is_read).unwrap();
    assert!(matches!(&read, Effect::Read(paths) if paths.len() == 258), "{read:?}");
    bench.hand("mine", &[("x.rpm", 1)]);
    assert!(bench.take(is_read).is_none(), "one order at a time");
    bench.carry_out(read);
    let read = bench.take(is_read).unwrap();
    assert!(matches!(&read, Effect::Read(paths) if paths.len() == 43), "{read:?}");
    bench.carry_out(read);
    bench.run();
    assert_eq!(bench.complete.len(), 301);
}

#[test]
fn what_was_changed_since_it_was_read_is_read_again_before_it_is_published() {
    let mut bench = Bench::started(Vec::new());
    bench.tell(Msg::Published(one("a-1-1")));
    let recent = bench.take(is_recent).unwrap();
    bench.hand("mine", &[("x.rpm", 1)]);
    let read = bench.take(is_read).unwrap();
    bench.carry_out(read);
    bench.hand("mine", &[("x.rpm", 2)]);
    bench.carry_out(recent);
    assert!(bench.take(is_recent).is_none(), "it would be listed with the wrong length");
    bench.run();
    assert_eq!(Stamp::of(&bench.recent["mine/x.rpm"].packages[0]), stamp(2));
}

#[test]
fn whatever_happens_in_whatever_order_everything_ends_where_it_belongs() {
    for seed in 1..=share_of(299) {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |n: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % n
        };
        let config = Config { recent_packages_max: 3, tiers: below(2) == 0 };
        let mut bench = Bench::new(vec![published("a-0-0", &["a.rpm"])], config);
        bench.tell(Msg::Tick);
        bench.tell(Msg::AllSeen);
        let (mut number, mut hands) = (0, BTreeMap::new());
        let mut live = vec!["a-0-0".to_owned()];
        let mut files = BTreeSet::new();
        for _ in 0..200 {
            match below(13) {
                12 => {
                    let folders = ["mine".to_owned(), format!("r-{number}"), format!("r-{}", number / 2)];
                    let file = |folder: &String| file_of(&path(folder, "b.rpm"));
                    files = folders.iter().filter(|_| below(2) == 0).map(file).collect();
                    bench.tell(Msg::FindFiles(files.clone()));
                }
                0..=2 => {
                    number += 1;
                    let folder = format!("r-{number}");
                    let names = ["a.rpm", "b.rpm", "c.rpm"];
                    let rpms: Vec<&str> = names.into_iter().filter(|_| below(2) == 0).collect();
                    bench.tell(Msg::Published(published(&folder, &rpms)));
                    live.push(folder);
                }
                3 if !live.is_empty() => {
                    let folder = live.remove(below(live.len() as u64) as usize);
                    bench.tell(Msg::Withdraw { folder });
                }
                4 => {
                    hands.insert(["b.rpm", "x.rpm"][below(2) as usize], below(4));
                    let now: Vec<(&str, u64)> = hands.iter().map(|(name, size)| (*name, *size)).collect();
                    bench.hand("mine", &now);
                }
                5 => {
                    hands.clear();
                    bench.hand("mine", &[]);
                }
                6 => bench.wait(below(100_000)),
                7 => {
                    if bench.take(is_recent).is_some() {
                        bench.tell(Msg::RecentLive(Err("no".into())));
                    }
                }
                8 => {
                    if bench.take(is_merge).is_some() {
                        bench.tell(Msg::Merged(Err("no".into())));
                    } else if bench.take(is_complete).is_some() {
                        bench.tell(Msg::CompleteLive(Err("no".into())));
                    } else if bench.take(|effect| matches!(effect, Effect::Find { .. })).is_some() {
                        bench.tell(Msg::Found(Err("no".into())));
                    }
                }
                _ => {
                    let count = bench.told.len() as u64;
                    if count > 0 {
                        let effect = bench.told.remove(below(count) as usize);
                        bench.carry_out(effect);
                    }
                }
            }
        }
        for _ in 0..100 {
            bench.run();
            bench.wait(300_000);
        }
        let both: BTreeSet<Path> = bench.recent.keys().chain(bench.shelf.keys()).cloned().collect();
        let want: BTreeSet<Path> = bench.core.wanted.paths().into_iter().collect();
        assert_eq!(both, want, "seed {seed}");
        assert_eq!(bench.complete, want, "seed {seed}");
        assert!(bench.core.leaving.is_empty(), "seed {seed}");
        assert_eq!(bench.stock.len(), want.len(), "seed {seed}");
        for (path, stamp) in bench.core.places.recent.iter().chain(&bench.shelf) {
            assert!(bench.knows(&format!("at({path}) = {}", stamp.size), path), "seed {seed}: {path}");
            let file = file_of(path);
            assert!(!files.contains(&file) || bench.knows(&file, path), "seed {seed}: {file}");
        }
        let exact = |path: &Path, stamp: Stamp| bench.files.get(path).is_none_or(|want| *want == stamp);
        assert!(bench.core.places.recent.iter().all(|(path, stamp)| exact(path, *stamp)), "seed {seed}");
        assert!(bench.shelf.iter().all(|(path, stamp)| exact(path, *stamp)), "seed {seed}");
    }
}

#[test]
fn builds_are_compared_one_order_at_a_time_and_once_more_after_an_error() {
    let mut bench = Bench::started(vec![one("a-1")]);
    let build = |folder: &str| Compare { folder: folder.into(), earlier: vec!["a-1".into()] };
    let ordered = |bench: &mut Bench| match bench.take(|effect| matches!(effect, Effect::Compare { .. })) {
        Some(Effect::Compare { builds, recent }) => {
            assert_eq!(recent.len(), 1);
            builds.into_iter().map(|build| build.folder).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    };
    bench.tell(Msg::Compare(vec![build("a-2")]));
    assert_eq!(ordered(&mut bench), "a-2");
    bench.tell(Msg::Compare(vec![build("a-3")]));
    assert_eq!(ordered(&mut bench), "", "the thread is at work");
    bench.tell(Msg::Compared(Err("no".into())));
    assert_eq!(ordered(&mut bench), "", "not at once");
    bench.wait(5_000);
    assert_eq!(ordered(&mut bench), "a-2 a-3");
    bench.tell(Msg::Compared(Ok(vec![Compared { folder: "a-2".into(), change: None }])));
    let told = |effect: &Effect| matches!(effect, Effect::Queue(queue::Msg::Compared(all)) if all.len() == 1);
    assert!(bench.take(told).is_some());
    bench.run();
    assert_eq!(ordered(&mut bench), "");
}
