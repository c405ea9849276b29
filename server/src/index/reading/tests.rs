//! With RPMs from rpmbuild on real folders.

use std::fs;

use super::*;
use crate::disk::Real;
use crate::repodata::encode_piece;
use crate::stage::testrpm;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("repo")).unwrap();
        Bench { dir }
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.dir.path().join("repo").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn reader(&self, compression: Compression, threads: usize) -> Reader {
        let layout = Layout { repo: self.dir.path().join("repo"), index: self.dir.path().join("index") };
        let clock = Arc::new(crate::clock::Real::default());
        Reader::new(Arc::new(Real), clock, layout, ReadConfig { compression, threads })
    }
}

fn paths(paths: &[&str]) -> Vec<Path> {
    paths.iter().map(|path| (*path).into()).collect()
}

fn listed(groups: &[Group]) -> Vec<&str> {
    groups.iter().flat_map(|group| &group.packages).map(|listed| &*listed.path).collect()
}

#[test]
fn sound_rpms_are_described_and_the_others_are_named() {
    let bench = Bench::new();
    let built = testrpm::build("x", "1");
    let (good, source) = (&built.binaries[0].1, &built.source.1);
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    bench.put("mine/good.rpm", good);
    bench.put("top.src.rpm", source);
    bench.put("mine/short.rpm", &good[..good.len() - 1]);
    bench.put("mine/damaged.rpm", &damaged);
    bench.put("mine/foreign.rpm", b"no RPM");
    for threads in [1, 2] {
        let all = [
            "mine/good.rpm",
            "top.src.rpm",
            "mine/short.rpm",
            "mine/damaged.rpm",
            "mine/foreign.rpm",
            "mine/gone.rpm",
        ];
        let read = bench.reader(Compression::Gzip, threads).read(paths(&all));
        assert_eq!(read.failed, None);
        let groups: Vec<Group> = read.groups.iter().map(|group| (**group).clone()).collect();
        assert_eq!(listed(&groups), ["mine/good.rpm", "top.src.rpm"]);
        assert_eq!(read.skipped.iter().map(|skipped| &*skipped.path).collect::<Vec<_>>(), all[2..]);
        let primary = String::from_utf8(groups[0].unseal().unwrap()[0].texts[0].clone()).unwrap();
        let digest: String = Sha256::digest(good).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(primary.contains(&digest) && primary.contains("href=\"mine/good.rpm\""), "{primary}");
    }
}

#[test]
fn a_digest_that_result_json_tells_is_not_taken_again() {
    let bench = Bench::new();
    let rpm = &testrpm::build("x", "1").binaries[0].1;
    bench.put("x-1-1/x.rpm", rpm);
    for (size, trusted) in [(rpm.len(), true), (rpm.len() + 1, false)] {
        let json = format!(
            "{{\"files\":[{{\"name\":\"x.rpm\",\"size\":{size},\"sha256\":\"{}\"}}]}}",
            "ab".repeat(32)
        );
        bench.put("x-1-1/result.json", json.as_bytes());
        let read = bench.reader(Compression::Gzip, 1).read(paths(&["x-1-1/x.rpm"]));
        let primary = read.groups[0].unseal().unwrap()[0].texts[0].clone();
        assert_eq!(String::from_utf8(primary).unwrap().contains(&"ab".repeat(32)), trusted);
    }
}

#[test]
fn a_piece_gives_what_is_wanted_of_it_or_nothing() {
    let bench = Bench::new();
    let built = testrpm::build("x", "1");
    bench.put("x-1-1/a.rpm", &built.binaries[0].1);
    bench.put("x-1-1/b.rpm", &built.binaries[1].1);
    let (a, b) = ("x-1-1/a.rpm", "x-1-1/b.rpm");
    let reader = bench.reader(Compression::Gzip, 1);
    assert!(reader.piece("x-1-1", &paths(&[a])).unwrap().is_none());
    let groups: Vec<Group> =
        reader.read(paths(&[a, b])).groups.iter().map(|group| (**group).clone()).collect();
    let piece = encode_piece(&groups);
    bench.put("x-1-1/.repodata", &piece);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let reader = bench.reader(compression, 1);
        for wanted in [&[a][..], &[b], &[a, b]] {
            let groups = reader.piece("x-1-1", &paths(wanted)).unwrap().unwrap();
            assert_eq!(listed(&groups), wanted);
            assert!(groups.iter().all(|group| group.compression == compression && group.unseal().is_ok()));
        }
        assert!(reader.piece("x-1-1", &paths(&[a, "x-1-1/c.rpm"])).unwrap().is_none());
    }
    bench.put("x-1-1/.repodata", &piece[..piece.len() - 1]);
    assert!(reader.piece("x-1-1", &paths(&[a])).unwrap().is_none());
    // A merge reads the RPMs then.
    let tally = Mutex::new(Tally::default());
    let sources =
        vec![Source::Result { folder: "x-1-1".into(), rpms: paths(&[a]) }, Source::Files(paths(&[b]))];
    let groups: Result<Vec<Group>, IndexError> =
        bench.reader(Compression::Gzip, 2).stream(sources, &tally, |groups| groups.collect());
    let groups = groups.unwrap();
    let mut both = listed(&groups);
    both.sort_unstable();
    assert_eq!(both, [a, b]);
    assert_eq!(tally.into_inner().unwrap().added.len(), 2);
}

#[test]
fn an_rpm_that_ended_the_hub_twice_is_set_aside_until_it_changes() {
    let bench = Bench::new();
    let rpm = &testrpm::build("x", "1").binaries[0].1;
    bench.put("x.rpm", rpm);
    let stamp = |reader: &Reader| {
        let groups = reader.read(paths(&["x.rpm"])).groups;
        groups.first().map(|group| Stamp::of(&group.packages[0]))
    };
    let known = stamp(&bench.reader(Compression::Gzip, 1)).unwrap();
    // Read to the end once between two ends: the count begins anew.
    for (ends, is_read) in [(1, true), (1, true), (2, false)] {
        for _ in 0..ends {
            let reader = bench.reader(Compression::Gzip, 1);
            assert!(reader.marks().begin(0, &"x.rpm".into(), known));
        }
        assert_eq!(stamp(&bench.reader(Compression::Gzip, 1)).is_some(), is_read, "{ends}");
    }
    assert_eq!(stamp(&bench.reader(Compression::Gzip, 1)), None);
    let file = fs::File::options().write(true).open(bench.dir.path().join("repo/x.rpm")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert!(stamp(&bench.reader(Compression::Gzip, 1)).is_some());
}

#[test]
fn reading_ends_soon_when_the_hub_stops() {
    let bench = Bench::new();
    bench.put("x.rpm", &testrpm::build("x", "1").binaries[0].1);
    let reader = bench.reader(Compression::Gzip, 2);
    reader.stop();
    let read = reader.read(paths(&["x.rpm"]));
    assert!(read.groups.is_empty() && read.skipped.is_empty() && read.failed.unwrap().contains("stopping"));
}
