//! On real folders; the time is the test's.

use super::*;
use crate::stage::testrpm;

struct Bench {
    dir: tempfile::TempDir,
    hands: Hands,
    to: Sender<Msg>,
    told: Receiver<Msg>,
    /// Far behind every file's time.
    now_s: u64,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let (to, told) = unbounded();
        let hands = Hands::new(dir.path().to_owned());
        Bench { hands, dir, to, told, now_s: now_s() + 1_000 }
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What is told after a look: folder, whether it is a result, names of RPMs.
    fn look(&mut self) -> Vec<(String, bool, Vec<String>)> {
        self.hands.look(self.now_s, &self.to);
        self.told()
    }

    fn told(&self) -> Vec<(String, bool, Vec<String>)> {
        let msgs = self.told.try_iter().flat_map(|msg| match msg {
            Msg::ByHand(seen) => seen,
            other => panic!("{other:?}"),
        });
        let names = |rpms: Vec<Found>| rpms.into_iter().map(|found| found.name).collect();
        msgs.map(|seen| (seen.folder, seen.is_result, names(seen.rpms))).collect()
    }
}

fn seen(folder: &str, is_result: bool, rpms: &[&str]) -> (String, bool, Vec<String>) {
    (folder.to_owned(), is_result, rpms.iter().map(|name| (*name).to_owned()).collect())
}

fn rpm() -> Vec<u8> {
    testrpm::build("x", "1").binaries[0].1.clone()
}

#[test]
fn rpms_of_people_and_of_results_are_told_once_and_again_when_they_change() {
    let mut bench = Bench::new();
    let rpm = rpm();
    for path in [
        "top.rpm",
        "mine/x.rpm",
        "mine/deep/y.rpm",
        "r-1-1/r.rpm",
        ".dot/z.rpm",
        "repodata/z.rpm",
        "mine/.z.rpm",
    ] {
        bench.put(path, &rpm);
    }
    bench.put("r-1-1/result.json", b"{}");
    bench.put("mine/README", b"");
    let mut told = bench.look();
    told.sort();
    let want = [
        seen("", false, &["top.rpm"]),
        seen("mine", false, &["x.rpm"]),
        seen("mine/deep", false, &["y.rpm"]),
        seen("r-1-1", true, &["r.rpm"]),
    ];
    assert_eq!(told, want);
    assert_eq!(bench.look(), []);
    // An RPM of a result goes, one of people gets other bytes in its place, a folder goes.
    fs::remove_file(bench.dir.path().join("r-1-1/r.rpm")).unwrap();
    bench.put("mine/deep/y.rpm", &testrpm::build("y", "2").binaries[1].1);
    assert_eq!(bench.look(), [seen("mine/deep", false, &["y.rpm"]), seen("r-1-1", true, &[])]);
    fs::remove_dir_all(bench.dir.path().join("mine")).unwrap();
    assert_eq!(bench.look(), [seen("mine", false, &[]), seen("mine/deep", false, &[])]);
    assert_eq!(bench.look(), []);
    bench.hands.forget();
    assert_eq!(bench.look(), [seen("r-1-1", true, &[])]);
}

#[test]
fn what_is_still_being_copied_waits_and_what_is_no_rpm_is_not_told() {
    let mut bench = Bench::new();
    let rpm = rpm();
    bench.put("mine/x.rpm", &rpm[..rpm.len() - 1]);
    bench.put("mine/start.rpm", &rpm[..50]);
    bench.put("mine/foreign.rpm", b"this is no RPM at all, whatever its name says");
    assert_eq!(bench.look(), []);
    assert!(bench.hands.changing);
    bench.put("mine/x.rpm", &rpm);
    assert_eq!(bench.look(), [seen("mine", false, &["x.rpm"])]);
    bench.now_s += TRUNCATED_AFTER_S;
    assert_eq!(bench.look(), []);
    assert!(!bench.hands.changing, "the truncated one has been named");
    bench.put("mine/start.rpm", &rpm);
    assert_eq!(bench.look(), [seen("mine", false, &["start.rpm", "x.rpm"])]);
}

#[test]
fn what_changed_just_now_may_change_again_and_waits() {
    let mut bench = Bench::new();
    bench.put("mine/x.rpm", &rpm());
    bench.now_s = now_s();
    assert_eq!(bench.look(), []);
    assert!(bench.hands.changing);
    bench.now_s += 1_000;
    assert_eq!(bench.look(), [seen("mine", false, &["x.rpm"])]);
}

#[test]
fn only_the_names_that_something_happened_to_are_looked_at() {
    let mut bench = Bench::new();
    assert_eq!(bench.look(), []);
    for folder in ["r-1-1", "s-1-1"] {
        bench.put(&format!("{folder}/result.json"), b"{}");
        bench.put(&format!("{folder}/x.rpm"), b"");
    }
    let at = |bench: &mut Bench, name: &str| {
        let names = BTreeSet::from([name.to_owned()]);
        let all = bench.hands.look_at(&names, bench.now_s, &bench.to);
        (all, bench.told())
    };
    assert_eq!(at(&mut bench, "s-1-1"), (false, vec![seen("s-1-1", true, &["x.rpm"])]));
    assert_eq!(at(&mut bench, "top.rpm"), (true, vec![]));
    fs::remove_dir_all(bench.dir.path().join("s-1-1")).unwrap();
    assert_eq!(at(&mut bench, "s-1-1"), (false, vec![seen("s-1-1", false, &[])]));
    assert_eq!(bench.look(), [seen("r-1-1", true, &["x.rpm"])]);
}
