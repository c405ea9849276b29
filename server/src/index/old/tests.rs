//! With the real createrepo_c, real RPMs and the real dnf.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::stage::testdisk::{Faults, TestDisk, folders};
use crate::stage::testrpm::build;

#[derive(Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }

    fn unix_s(&self) -> u64 {
        0
    }
}

struct Bench {
    dir: tempfile::TempDir,
    faults: Arc<Faults>,
    clock: Arc<Hand>,
    indexer: Indexer,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Createrepo::default())
    }

    fn with(program: impl Program + 'static) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        let (faults, clock) = (Faults::none(), Arc::new(Hand::default()));
        let disk = Arc::new(TestDisk(faults.clone()));
        let work = folders.state.join("index");
        let indexer = Indexer::new(disk, clock.clone(), Box::new(program), folders.repo, work);
        Bench { dir, faults, clock, indexer }
    }

    fn repodata(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("repo/repodata")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Puts a real result into a folder; gives the paths of its RPMs.
    fn result(&self, name: &str, version: &str, folder: &str) -> Vec<String> {
        fs::create_dir_all(self.dir.path().join("repo").join(folder)).unwrap();
        let mut paths = Vec::new();
        for (file, bytes) in build(name, version).all() {
            let path = format!("{folder}/{file}");
            fs::write(self.dir.path().join("repo").join(&path), bytes).unwrap();
            paths.push(path);
        }
        paths
    }

    /// What dnf sees: name, version and location of each package; None if dnf fails.
    fn dnf(&self) -> Option<Vec<String>> {
        // To dnf a cache of less than a second is fresh whatever metadata_expire says.
        let _ = fs::remove_dir_all(self.dir.path().join("cache"));
        let repo = format!("moji,file://{}/repo", self.dir.path().display());
        let cache = format!("--setopt=cachedir={}/cache", self.dir.path().display());
        let root = format!("--installroot={}/root", self.dir.path().display());
        let format = "%{name} %{version} %{arch} %{location}";
        let output = Command::new("dnf")
            .args(["-q", "--disablerepo=*", "--repofrompath", &repo, "--enablerepo=moji", &cache, &root])
            .args(["--releasever=1", "--setopt=metadata_expire=0", "--setopt=reposdir=/dev/null"])
            .args(["repoquery", "--show-duplicates", "--qf", format])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        output.status.success().then_some(lines)
    }

    /// Whether dnf downloads this package whole.
    fn downloads(&self, name: &str) -> bool {
        let repo = format!("moji,file://{}/repo", self.dir.path().display());
        let cache = format!("--setopt=cachedir={}/cache", self.dir.path().display());
        let root = format!("--installroot={}/root", self.dir.path().display());
        let to = format!("--destdir={}/got", self.dir.path().display());
        let output = Command::new("dnf")
            .args(["-q", "--disablerepo=*", "--repofrompath", &repo, "--enablerepo=moji", &cache, &root])
            .args(["--releasever=1", "--setopt=reposdir=/dev/null", "--setopt=gpgcheck=0"])
            .args(["--setopt=keepcache=1", "install", "-y", "--downloadonly", &to, name])
            .output()
            .unwrap();
        assert!(output.status.success(), "dnf: {}", String::from_utf8_lossy(&output.stderr));
        output.status.success()
    }
}

#[test]
fn empty_index_is_made_once_and_dnf_reads_it() {
    let mut bench = Bench::new();
    bench.indexer.ensure_exists().unwrap();
    assert_eq!(bench.dnf(), Some(Vec::new()));
    let before = bench.repodata();
    assert_eq!(before.len(), 4, "{before:?}");
    bench.indexer.ensure_exists().unwrap();
    assert_eq!(bench.repodata(), before);
    assert!(!bench.dir.path().join("finished/.moji/index").exists());
}

#[test]
fn dnf_finds_and_takes_what_is_published_and_nothing_else() {
    let mut bench = Bench::new();
    bench.indexer.ensure_exists().unwrap();
    let mut paths = bench.result("hello", "1.0", "hello-1.0-1");
    // Lies in repo/ and is not published.
    bench.result("secret", "1.0", "secret-1.0-1");
    bench.indexer.publish(&paths).unwrap();
    let seen = bench.dnf().unwrap();
    assert_eq!(
        seen,
        [
            "hello 1.0 noarch hello-1.0-1/hello-1.0-1.noarch.rpm",
            "hello 1.0 src hello-1.0-1/hello-1.0-1.src.rpm",
            "hello-lib 1.0 noarch hello-1.0-1/hello-lib-1.0-1.noarch.rpm"
        ]
    );
    paths.extend(bench.result("c++", "2~rc1^git+1", "c++-2~rc1^git+1-1@2"));
    bench.indexer.publish(&paths).unwrap();
    let seen = bench.dnf().unwrap();
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[0], "c++ 2~rc1^git+1 noarch c++-2~rc1^git+1-1@2/c++-2~rc1^git+1-1.noarch.rpm");
    assert!(bench.downloads("c++"));
}

#[test]
fn superseded_files_stay_for_ten_minutes() {
    let mut bench = Bench::new();
    bench.indexer.ensure_exists().unwrap();
    let first = bench.repodata();
    fs::write(bench.dir.path().join("repo/repodata/README"), b"somebody's").unwrap();
    let paths = bench.result("hello", "1.0", "hello-1.0-1");
    bench.indexer.publish(&paths).unwrap();
    bench.clock.0.store(KEEP_OLD_MS - 1, Ordering::Relaxed);
    bench.indexer.sweep().unwrap();
    assert!(first.iter().all(|name| bench.repodata().contains(name)));
    bench.clock.0.store(KEEP_OLD_MS, Ordering::Relaxed);
    bench.indexer.sweep().unwrap();
    let left = bench.repodata();
    assert_eq!(left.len(), 5, "{left:?}");
    assert!(left.contains(&"README".to_owned()));
    assert_eq!(bench.dnf().unwrap().len(), 3);
}

#[test]
fn whatever_step_fails_readers_see_a_whole_index_and_the_next_try_succeeds() {
    let mut bench = Bench::new();
    bench.indexer.ensure_exists().unwrap();
    let paths = bench.result("hello", "1.0", "hello-1.0-1");
    for step in 0.. {
        bench.faults.full_after.store(step, Ordering::Relaxed);
        let made = bench.indexer.publish(&paths);
        bench.faults.full_after.store(u64::MAX, Ordering::Relaxed);
        if made.is_ok() {
            assert!(step > 10, "the fault was never met");
            break;
        }
        assert_eq!(bench.dnf(), Some(Vec::new()), "step {step}");
        let error = made.unwrap_err();
        assert!(matches!(error, IndexError::Io(..)), "{error}");
    }
    assert_eq!(bench.dnf().unwrap().len(), 3);
    bench.faults.sync.store(true, Ordering::Relaxed);
    assert!(bench.indexer.publish(&[]).is_err());
    bench.faults.sync.store(false, Ordering::Relaxed);
    assert_eq!(bench.dnf().unwrap().len(), 3);
}

#[test]
fn missing_or_failing_program_is_named() {
    for (program, words) in
        [("no-such-createrepo", "install the package 'createrepo_c'"), ("false", "failed")]
    {
        let mut bench = Bench::with(Createrepo::named(program));
        let error = bench.indexer.ensure_exists().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn repomd_that_names_anything_outside_is_refused() {
    let digest = "a".repeat(64);
    let location = |href: &str| format!("<data><location href=\"{href}\"/></data>");
    let names = |href: &str| locations(location(href).as_bytes());
    assert_eq!(names(&format!("repodata/{digest}-x.gz")).unwrap().len(), 1);
    for href in ["x.gz", "repodata/x.gz", "../x", "repodata/../x"] {
        assert_eq!(names(href), None, "{href}");
    }
    assert_eq!(names(&format!("repodata/{digest}-../../x")), None);
}
