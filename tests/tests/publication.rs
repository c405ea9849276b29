//! Publication: whoever reads the repository, at whatever moment and whatever died in between, reads a whole index.
//!
//! Owns the scenarios of readers beside publications, and of publications that are cut short. What the texts of an
//! index say is for the tests of `repodata`, single faults of the disk are for those of `index`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use moji_server::index::{RECENT_PACKAGES_MAX, RecentChange, Shelves};
use moji_server::repodata::Group;
use moji_tests::synthetic::{Shape, Synthetic};
use moji_tests::{Dnf, Finished, Publisher, SOON, Started, paths, program, read_index, run_to_end};

/// How long dnf reads beside publications, seconds, unless `MOJI_SECONDS` says more: a minute is for a run by hand.
const READING_S: u64 = 10;
/// Publications a second.
const A_SECOND: u32 = 20;
/// Results that are on the shelves before anybody reads.
const OLD_RESULTS: usize = 40;

/// A number that the environment may set.
fn number(variable: &str, otherwise: u64) -> u64 {
    let number = std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    eprintln!("{variable}={number}");
    number
}

/// Merges these groups.
fn merge_groups(shelves: &mut Shelves, groups: &[Arc<Group>]) {
    let mut add = groups.iter().map(|group| Ok(Group::clone(group)));
    shelves.merge(&mut add, &BTreeSet::new()).expect("a merge");
}

/// Merges all that recent has.
fn merge(started: &mut Started) {
    let groups = started.recent.groups();
    merge_groups(&mut started.shelves, &groups);
    let merged = paths(groups.iter().map(|group| &**group));
    started.recent.publish(RecentChange { merged, ..RecentChange::default() }).expect("a publication");
}

/// Stages, commits and publishes a result; its name.
fn publish(publisher: &Publisher, started: &mut Started, world: &Synthetic, number: usize) {
    let verified = publisher.stage(&world.result(number)).expect("a stage");
    let add = publisher.commit(&verified).expect("a commit");
    started.recent.publish(RecentChange { add, ..RecentChange::default() }).expect("a publication");
}

// --- readers ---

#[test]
fn dnf_reads_and_installs_without_a_failure_while_twenty_results_a_second_are_published() {
    let (seed, seconds) = (number("MOJI_SEED", 20_261_122), number("MOJI_SECONDS", READING_S));
    let folder = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(folder.path()).expect("folders");
    let world = Synthetic { seed, shape: Shape::INSTALLABLE, results: OLD_RESULTS };
    let mut started = publisher.start().expect("empty indexes");
    for number in 0..OLD_RESULTS {
        publish(&publisher, &mut started, &world, number);
    }
    merge(&mut started);
    started.shelves.complete(&started.recent.groups()).expect("a complete index");
    let (newest, ends) = (AtomicUsize::new(OLD_RESULTS - 1), AtomicBool::new(false));
    let server = publisher.serve();
    let urls = ["/tier/recent/", "/tier/base/", "/repo/"].map(|path| server.url(path));
    let tiers = Dnf::new(folder.path(), [("recent", &*urls[0]), ("base", &*urls[1])]);
    let complete = Dnf::new(folder.path(), [("complete", &*urls[2])]);
    let read = std::thread::scope(|scope| {
        let (newest, ends, publisher) = (&newest, &ends, &publisher);
        scope.spawn(|| publish_steadily(publisher, started, &world, newest, ends));
        let reader = |dnf: Dnf, is_exact| move || read_again_and_again(&dnf, &world, newest, ends, is_exact);
        let readers = [scope.spawn(reader(tiers, true)), scope.spawn(reader(complete, false))];
        let end = Instant::now() + Duration::from_secs(seconds);
        moji_tests::poll_until(Duration::from_secs(seconds), || Instant::now() >= end);
        let failed = |reader: std::thread::ScopedJoinHandle<'_, _>| reader.join();
        ends.store(true, Ordering::Relaxed);
        readers.map(failed)
    });
    let published = newest.load(Ordering::Relaxed) + 1 - OLD_RESULTS;
    let read = read.map(|read| read.expect("a reader does not panic").expect("dnf succeeds"));
    eprintln!("{published} results published, read {read:?} times");
    assert!(read.iter().all(|&times| times > 1) && published > 20, "{read:?} {published}");
}

/// Publishes steadily until it ends, while another thread merges and completes, as the hub does.
fn publish_steadily(
    publisher: &Publisher,
    started: Started,
    world: &Synthetic,
    newest: &AtomicUsize,
    ends: &AtomicBool,
) {
    let Started { mut recent, mut shelves } = started;
    // What is to be done with these groups: to be merged, or only to be in the index of everything.
    let (orders, work) = mpsc::sync_channel::<(bool, Vec<Arc<Group>>)>(1);
    let (done, merged) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (merges, groups) in work {
                if merges {
                    merge_groups(&mut shelves, &groups);
                    // Nobody hears of the last one.
                    let _ = done.send(paths(groups.iter().map(|group| &**group)));
                } else {
                    shelves.complete(&groups).expect("a complete index");
                }
                shelves.sweep().expect("a sweep");
            }
        });
        let (began, mut number, mut merging) = (Instant::now(), OLD_RESULTS, false);
        while !ends.load(Ordering::Relaxed) {
            let verified = publisher.stage(&world.result(number)).expect("a stage");
            let add = publisher.commit(&verified).expect("a commit");
            let merged: BTreeSet<_> = merged.try_iter().flatten().collect();
            merging &= merged.is_empty();
            let change = RecentChange { add, merged, ..RecentChange::default() };
            recent.publish(change).expect("a publication");
            newest.store(number, Ordering::Release);
            let groups = recent.groups();
            let full = paths(groups.iter().map(|group| &**group)).len() > RECENT_PACKAGES_MAX;
            // Between the begin of a merge and its end the shelves have what recent has too. Whoever is busy will hear of
            // the next one.
            if !merging && orders.try_send((full, groups)).is_ok() {
                merging = full;
            }
            recent.sweep().expect("a sweep");
            number += 1;
            let due = began + Duration::from_secs(1) / A_SECOND * (number - OLD_RESULTS) as u32;
            moji_tests::poll_until(SOON, || Instant::now() >= due);
        }
        drop(orders);
    });
}

/// Has dnf look for what was newest before it looked, and download or install it; how often it did.
fn read_again_and_again(
    dnf: &Dnf,
    world: &Synthetic,
    newest: &AtomicUsize,
    ends: &AtomicBool,
    is_exact: bool,
) -> Result<usize, String> {
    let mut times = 0;
    while !ends.load(Ordering::Relaxed) {
        let number = if is_exact { newest.load(Ordering::Acquire) } else { times % OLD_RESULTS };
        let name = world.name(number);
        dnf.run(&["makecache", "--refresh"])?;
        let action = if times % 4 == 3 { "install" } else { "download" };
        dnf.run(&["--refresh", action, &name]).map_err(|said| format!("{action} of {name}: {said}"))?;
        if action == "download" {
            let rpm = world.main_rpm(number);
            let got = fs::read(dnf.folder().join(&rpm.name)).map_err(|why| format!("{}: {why}", rpm.name))?;
            assert!(got == rpm.bytes, "{} is not what was published", rpm.name);
        }
        times += 1;
    }
    Ok(times)
}

// --- deaths ---

/// System calls that change files, or promise that they are changed.
const CALLS: &str = "write,pwrite64,pwritev,writev,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,\
                     rmdir,ftruncate,fallocate,copy_file_range,sendfile,splice,fsync,fdatasync,sync_file_range";
/// Most calls in one step; more are a mistake of the step or of this test.
const CALLS_MAX: usize = 300;

/// A site with old results on the shelves, some in recent, and one staged: what a step starts from.
struct Template {
    folder: tempfile::TempDir,
    /// The result that is staged.
    staged: String,
    before: Seen,
    with_staged: Seen,
}

/// What readers see: builders, and everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    tiers: BTreeMap<String, String>,
    complete: BTreeMap<String, String>,
}

impl Template {
    fn new() -> Template {
        let folder = tempfile::tempdir().expect("a folder");
        let publisher = Publisher::new(folder.path()).expect("folders");
        let world = Synthetic { seed: 5, shape: Shape::INSTALLABLE, results: 9 };
        let mut started = publisher.start().expect("empty indexes");
        for number in 0..8 {
            publish(&publisher, &mut started, &world, number);
            if number == 5 {
                merge(&mut started);
            }
        }
        started.shelves.complete(&started.recent.groups()).expect("a complete index");
        let before = Seen::at(folder.path()).expect("whole indexes");
        // Two of the eight have a debug package, all have a source package.
        assert_eq!((before.tiers.len(), before.complete.len()), (30, 40));
        // The same once more, with one more result.
        let further = copy(folder.path());
        let publisher = Publisher::new(further.path()).expect("folders");
        let mut started = publisher.start().expect("the indexes");
        publish(&publisher, &mut started, &world, 8);
        started.shelves.complete(&started.recent.groups()).expect("a complete index");
        let with_staged = Seen::at(further.path()).expect("whole indexes");
        assert_eq!(with_staged.complete.len(), 45);
        let staged = world.result(8);
        Publisher::new(folder.path()).and_then(|publisher| publisher.stage(&staged)).expect("a stage");
        Template { folder, staged: staged.nvr, before, with_staged }
    }
}

impl Seen {
    /// What is seen at this site.
    fn at(site: &Path) -> Result<Seen, String> {
        let mut tiers = read_index(&site.join("index/base/repodata"))?;
        tiers.extend(read_index(&site.join("index/recent/repodata"))?);
        let seen = Seen { tiers, complete: read_index(&site.join("repo/repodata"))? };
        let all = seen.tiers.keys().chain(seen.complete.keys());
        match all.map(|path| site.join("repo").join(path)).find(|path| !path.is_file()) {
            Some(missing) => Err(format!("{} is listed and not there", missing.display())),
            None => Ok(seen),
        }
    }
}

/// A copy of a site.
fn copy(site: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("cp");
    // Times stay: they are in the index.
    command.args(["-a", "-T"]).arg(site).arg(to.path());
    assert_eq!(run_to_end(command, SOON).code, 0);
    to
}

/// Runs a step of the publisher under strace, which is given these words.
fn traced(site: &Path, step: &[&str], strace: &[&str]) -> Finished {
    let mut command = Command::new("strace");
    command.args(["-f", "-q"]).args(strace).arg(program("publisher")).arg(site).args(step);
    run_to_end(command, SOON)
}

/// The calls that a step makes, each with its number among those of its name in its thread. Those before the step's own
/// begin are left out, unless it is the start itself that is looked at.
fn calls(template: &Template, step: &[&str]) -> BTreeSet<(String, usize)> {
    let (site, trace) = (copy(template.folder.path()), tempfile::NamedTempFile::new().expect("a file"));
    let path = trace.path().display().to_string();
    let ended = traced(site.path(), step, &["-e", &format!("trace={CALLS}"), "-o", &path]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let text = fs::read_to_string(trace.path()).expect("strace's output");
    let (mut counts, mut found, mut is_own) = (BTreeMap::new(), BTreeSet::new(), step == ["start"]);
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(char::is_whitespace) else { continue };
        let call = call.trim_start();
        let Some((name, _)) = call.split_once('(').filter(|_| !call.starts_with(['<', '+', '-'])) else {
            continue;
        };
        let count = counts.entry((pid.to_owned(), name.to_owned())).or_insert(0);
        *count += 1;
        if is_own {
            found.insert((name.to_owned(), *count));
        }
        is_own |= line.contains("/started\"");
    }
    assert!((10..CALLS_MAX).contains(&found.len()), "{} calls of {step:?}:\n{text}", found.len());
    found
}

/// Kills a step before each of its calls. What readers see then is one of `allowed`, and after the next start the
/// one that belongs to what is committed.
fn die_at_every_call(step: impl Fn(&Template) -> Vec<String>) {
    let template = Template::new();
    let step = step(&template);
    let step: Vec<&str> = step.iter().map(String::as_str).collect();
    let all = calls(&template, &step);
    let mut deaths = 0;
    for (call, number) in &all {
        let at = format!("{step:?} killed at {call} number {number}");
        let site = copy(template.folder.path());
        let inject = format!("inject={call}:signal=KILL:when={number}");
        let ended =
            traced(site.path(), &step, &["-e", &format!("trace={call}"), "-e", &inject, "-o", "/dev/null"]);
        deaths += usize::from(ended.code == -9);
        let seen = Seen::at(site.path()).unwrap_or_else(|why| panic!("{at}: {why}"));
        let [before, after] = [&template.before, &template.with_staged];
        assert!([&before.tiers, &after.tiers].contains(&&seen.tiers), "{at}: {} in tiers", seen.tiers.len());
        let all = &seen.complete;
        assert!([&before.complete, &after.complete].contains(&all), "{at}: {} in all", all.len());
        let is_committed = site.path().join("repo").join(&template.staged).exists();
        let want = if is_committed { after } else { before };
        let mut again = Command::new(program("publisher"));
        again.arg(site.path()).arg("start");
        let again = run_to_end(again, SOON);
        assert_eq!(again.code, 0, "{at}: {}", again.stderr);
        let seen = Seen::at(site.path()).unwrap_or_else(|why| panic!("{at}, started again: {why}"));
        let counts = (seen.tiers.len(), seen.complete.len());
        assert!(&seen == want, "{at}, started again: {counts:?} packages");
        assert_eq!(half_made(site.path()), Vec::<PathBuf>::new(), "{at}, started again");
    }
    eprintln!("{step:?}: killed {deaths} times at {} calls", all.len());
    // How many threads sync, and so how many calls each makes, is another matter in each run.
    assert!(deaths * 2 >= all.len(), "{deaths} deaths at {} calls", all.len());
}

/// Files that no index names and nobody will: those of a name that begins with a dot.
fn half_made(site: &Path) -> Vec<PathBuf> {
    let folders = ["index", "index/recent/repodata", "index/base/repodata", "index/extra", "repo/repodata"];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(site.join(folder)).ok()).flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')))
        .collect()
}

#[test]
fn a_publication_killed_at_each_call_leaves_whole_indexes_and_the_next_start_finishes_it() {
    die_at_every_call(|template| vec!["publish".to_owned(), template.staged.clone()]);
}

#[test]
fn a_merge_killed_at_each_call_leaves_whole_indexes_and_the_next_start_finishes_it() {
    die_at_every_call(|_| vec!["merge".to_owned()]);
}

#[test]
fn a_start_killed_at_each_call_leaves_whole_indexes_and_the_next_one_finishes_it() {
    die_at_every_call(|_| vec!["start".to_owned()]);
}
