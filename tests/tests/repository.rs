//! The repository of a running hub: what is published, taken away or put there by people is in the tiers and in the
//! index of everything, and nothing that lies there spoils either.
//!
//! Owns the scenarios in which people touch `repo/`, and those of its disk. Readers beside publications and deaths are in
//! `publication.rs`.

mod quick;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use moji_tests::{
    Farm, SOON, foreign, read_index, rpms_from_spec, run_to_end, simple_spec, srpm_from_spec, truncated,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use quick::quick;

/// Where RPMs are, as an index says it; none if there is no whole index.
fn hrefs(repodata: &Path) -> BTreeSet<String> {
    read_index(repodata).map_or_else(|_| BTreeSet::new(), |published| published.into_keys().collect())
}

/// What the index of everything says.
fn complete(farm: &Farm) -> BTreeSet<String> {
    hrefs(&farm.repo().join("repodata"))
}

/// What builders see.
fn tiers(farm: &Farm) -> BTreeSet<String> {
    let index = farm.state().join("index");
    &hrefs(&index.join("base/repodata")) | &hrefs(&index.join("recent/repodata"))
}

/// Waits until these RPMs are what both say, the index of everything with the source packages beside them.
fn wait_published(farm: &Farm, what: &str, binaries: &[&str], sources: &[&str]) {
    let set = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect::<BTreeSet<_>>();
    let (binaries, sources) = (set(binaries), set(sources));
    farm.wait_until(&format!("{what} in the tiers"), SOON, |farm| tiers(farm) == binaries);
    farm.wait_until(&format!("{what} in repodata"), SOON, |farm| complete(farm) == &binaries | &sources);
}

/// Builds a package; the folder of its result.
fn build(farm: &Farm, name: &str) {
    let package = quick(farm, name, "1");
    farm.drop_file(&package.srpm);
    farm.wait_finished(&package.file);
}

fn moji(farm: &Farm, words: &[&str]) {
    let ended = farm.moji(words);
    assert_eq!(ended.code, 0, "{words:?}: {}{}", ended.stdout, ended.stderr);
}

#[test]
fn what_is_rebuilt_retracted_deleted_or_put_there_is_noticed_by_both_indexes() {
    let farm = Farm::plan().start();
    build(&farm, "one");
    build(&farm, "two");
    let [one, one_src] = ["one-1-1/one-1-1.noarch.rpm", "one-1-1/one-1-1.src.rpm"];
    let [two, two_src] = ["two-1-1/two-1-1.noarch.rpm", "two-1-1/two-1-1.src.rpm"];
    wait_published(&farm, "both", &[one, two], &[one_src, two_src]);

    let srpm = "one-1-1.src.rpm";
    fs::rename(farm.finished().join(srpm), farm.source().join(srpm)).expect("a person moves it back");
    farm.wait_until("its second result", SOON, |farm| farm.results("one-1-1").len() == 2);
    let [again, again_src] = ["one-1-1@2/one-1-1.noarch.rpm", "one-1-1@2/one-1-1.src.rpm"];
    wait_published(&farm, "the rebuild", &[again, two], &[again_src, two_src]);

    moji(&farm, &["retract", "one-1-1@2"]);
    wait_published(&farm, "the first build", &[one, two], &[one_src, two_src]);
    moji(&farm, &["retract", "one-1-1"]);
    wait_published(&farm, "the other", &[two], &[two_src]);

    let made = tempfile::tempdir_in(farm.path()).expect("a folder");
    let rpm = rpms_from_spec(made.path(), &simple_spec("foreign", "1", "")).remove(0);
    fs::create_dir(farm.repo().join("by-hand")).expect("a folder");
    fs::copy(&rpm, farm.repo().join("by-hand/foreign-1-1.noarch.rpm")).expect("a copy");
    let by_hand = "by-hand/foreign-1-1.noarch.rpm";
    wait_published(&farm, "what was put there", &[by_hand, two], &[two_src]);
    assert!(farm.install(&["foreign", "two"]).expect("dnf installs").has("/usr/share/foreign/data"));

    fs::remove_file(farm.repo().join(two)).expect("a person deletes it");
    wait_published(&farm, "what is left", &[by_hand], &[two_src]);
    fs::remove_dir_all(farm.repo().join("by-hand")).expect("a person deletes it");
    wait_published(&farm, "nothing", &[], &[two_src]);
}

#[test]
fn a_truncated_rpm_and_a_foreign_file_are_named_and_everything_else_is_indexed() {
    let farm = Farm::plan().nothing_started().start();
    let [made, other] = [(); 2].map(|()| tempfile::tempdir_in(farm.path()).expect("a folder"));
    let rpm = rpms_from_spec(made.path(), &simple_spec("good", "1", "")).remove(0);
    let half = rpms_from_spec(other.path(), &simple_spec("half", "1", "")).remove(0);
    let folder = farm.repo().join("by-hand");
    fs::create_dir(&folder).expect("a folder");
    fs::copy(&rpm, folder.join("good-1-1.noarch.rpm")).expect("a copy");
    let half = truncated(&half, &folder, 3_000);
    foreign(&folder, "page-1-1.noarch.rpm");
    foreign(&farm.repo(), "README.html");
    // Nobody copies it any more.
    let long_ago = SystemTime::now() - Duration::from_secs(3_600);
    File::options().write(true).open(&half).and_then(|file| file.set_modified(long_ago)).expect("a time");
    let mut farm = farm;
    farm.start_hub();
    wait_published(&farm, "the good one", &["by-hand/good-1-1.noarch.rpm"], &[]);
    farm.wait_hub_says("half-1-1.noarch.rpm' is not indexed: it is truncated");
    farm.wait_hub_says("page-1-1.noarch.rpm' is not indexed: not an RPM package");
    assert!(!farm.hub().logs_contain("README.html"), "{}", farm.hub().log_text());
    assert!(farm.install(&["good"]).is_ok());
    // Once it is whole it counts.
    let half = rpms_from_spec(other.path(), &simple_spec("half", "1", "")).remove(0);
    fs::copy(&half, folder.join("half-1-1.noarch.rpm")).expect("a copy");
    let both = ["by-hand/good-1-1.noarch.rpm", "by-hand/half-1-1.noarch.rpm"];
    wait_published(&farm, "both", &both, &[]);
    let log = farm.hub().log_count("page-1-1.noarch.rpm' is not indexed");
    assert_eq!(log, 1, "it is said once\n{}", farm.hub().log_text());
}

#[test]
fn an_index_that_createrepo_c_made_before_is_served_until_mojis_takes_its_place() {
    let mut farm = Farm::plan().nothing_started().start();
    let made = tempfile::tempdir_in(farm.path()).expect("a folder");
    let spec = simple_spec("older", "1", "");
    for rpm in [rpms_from_spec(made.path(), &spec).remove(0), srpm_from_spec(made.path(), &spec)] {
        fs::copy(&rpm, farm.repo().join(rpm.file_name().expect("a name"))).expect("a copy");
    }
    let mut createrepo = Command::new("createrepo_c");
    createrepo.arg("-q").arg(farm.repo());
    assert_eq!(run_to_end(createrepo, SOON).code, 0);
    let repodata = farm.repo().join("repodata");
    let files = || -> BTreeSet<PathBuf> {
        fs::read_dir(&repodata).expect("an index").map(|entry| entry.expect("an entry").path()).collect()
    };
    let (theirs, inode) = (files(), fs::metadata(repodata.join("repomd.xml")).expect("there").ino());
    assert!(read_index(&repodata).is_ok_and(|index| index.len() == 2));
    farm.start_hub();
    assert!(farm.install(&["older"]).expect("dnf installs").has("/usr/share/older/data"));
    farm.wait_until("moji's own index", SOON, |_| {
        fs::metadata(repodata.join("repomd.xml")).is_ok_and(|metadata| metadata.ino() != inode)
    });
    wait_published(&farm, "the old ones", &["older-1-1.noarch.rpm"], &["older-1-1.src.rpm"]);
    assert!(theirs.is_subset(&files()), "who read the old repomd.xml finds what it names");
    farm.add_builder();
    build(&farm, "newer");
    let binaries = ["newer-1-1/newer-1-1.noarch.rpm", "older-1-1.noarch.rpm"];
    wait_published(&farm, "both", &binaries, &["newer-1-1/newer-1-1.src.rpm", "older-1-1.src.rpm"]);
    assert!(farm.install(&["older", "newer"]).expect("dnf installs").has("/usr/share/newer/data"));
}

/// A small file system of its own that goes when the test ends.
struct Small(PathBuf);

impl Small {
    fn new(at: &Path, mib: u32) -> Small {
        fs::create_dir_all(at).expect("a mount point");
        let options = format!("size={mib}m,mode=755");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(&*options)).expect("a tmpfs");
        Small(at.to_owned())
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).expect("a file");
        let page = [7; 4096];
        while file.write_all(&page).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).expect("it was filled");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // It may be gone with the farm already.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn while_the_disk_of_the_indexes_is_full_the_old_ones_stay_whole_and_all_follows_once_there_is_space() {
    let mut farm = Farm::plan().nothing_started().start();
    // Results go elsewhere: nothing but the publication feels it.
    let disk = Small::new(&farm.state().join("index"), 8);
    farm.start_hub();
    farm.add_builder();
    build(&farm, "one");
    let [one, one_src] = ["one-1-1/one-1-1.noarch.rpm", "one-1-1/one-1-1.src.rpm"];
    wait_published(&farm, "the first", &[one], &[one_src]);
    disk.fill();
    build(&farm, "two");
    farm.wait_hub_says("No space left on device");
    farm.wait_hub_says("trying again in");
    assert_eq!(tiers(&farm), BTreeSet::from([one.to_owned()]), "builders see what was whole");
    assert!(read_index(&farm.repo().join("repodata")).is_ok());
    assert!(farm.install(&["one"]).is_ok());
    // Not even a start changes that.
    farm.hub().kill9();
    farm.start_hub();
    assert_eq!(tiers(&farm), BTreeSet::from([one.to_owned()]));
    disk.empty();
    let [two, two_src] = ["two-1-1/two-1-1.noarch.rpm", "two-1-1/two-1-1.src.rpm"];
    wait_published(&farm, "both", &[one, two], &[one_src, two_src]);
    assert!(farm.install(&["one", "two"]).is_ok());
}
