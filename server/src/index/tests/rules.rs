//! What is in which index, and for how long.

use super::*;
use crate::core::capabilities::Requirement;
use crate::core::repo::{Msg, Source};
use crate::disk::Disk;
use crate::index::reading::{ReadConfig, Reader};
use crate::index::work::{Slow, SlowOrder};
use crate::repodata::Finder;

fn merged(paths: BTreeSet<Box<str>>) -> RecentChange {
    RecentChange { merged: paths, ..RecentChange::default() }
}

#[test]
fn builders_see_what_is_not_a_source_package_and_everybody_else_sees_all() {
    let mut hub = Hub::new(Config::default());
    assert_eq!(hub.index("repo/repodata"), Some(set(&[])));
    hub.add(result("a", 3));
    hub.merge(result("b", 70), &set(&[])).unwrap();
    hub.shelves.complete(&hub.recent.groups()).unwrap();
    let seen = hub.seen();
    assert_eq!(seen.recent, set(&["a/a-1.rpm", "a/a-2.rpm"]));
    assert_eq!(seen.base, main_paths(&result("b", 70)));
    assert_eq!(seen.complete, [paths(&result("a", 3)), paths(&result("b", 70))].concat_sets());
    assert_eq!(hub.listed(), paths(&result("b", 70)));
    // What is given as recent though it is on a shelf is there once.
    let both = [result("a", 3), result("b", 70)].concat().into_iter().map(Arc::new).collect::<Vec<_>>();
    hub.shelves.complete(&both).unwrap();
    assert_eq!(hub.seen(), seen);
}

trait ConcatSets {
    fn concat_sets(&self) -> BTreeSet<Box<str>>;
}

impl ConcatSets for [BTreeSet<Box<str>>; 2] {
    fn concat_sets(&self) -> BTreeSet<Box<str>> {
        self.iter().flatten().cloned().collect()
    }
}

#[test]
fn merged_package_lingers_ten_minutes_and_the_oldest_go_when_there_are_too_many() {
    let mut hub = Hub::new(Config { recent_packages_max: 5, ..Config::default() });
    hub.add(result("a", 4));
    hub.add(result("b", 4));
    hub.clock.pass_ms(1_000);
    hub.recent.publish(merged(paths(&result("a", 4)))).unwrap();
    assert_eq!(hub.seen().recent, [main_paths(&result("a", 4)), main_paths(&result("b", 4))].concat_sets());
    let left: BTreeSet<_> =
        hub.recent.groups().iter().flat_map(|group| paths(&[(**group).clone()])).collect();
    assert_eq!(left, paths(&result("b", 4)));
    let due = hub.recent.next_sweep().unwrap();
    assert_eq!(due, Time(601_000));
    hub.clock.pass_ms(599_999);
    hub.recent.sweep().unwrap();
    assert!(hub.seen().recent.contains("a/a-1.rpm"));
    hub.clock.pass_ms(1);
    hub.recent.sweep().unwrap();
    assert_eq!(hub.seen().recent, main_paths(&result("b", 4)));
    // Three and three are more than five; what is taken back does not linger.
    hub.add(result("c", 4));
    hub.recent.publish(merged(paths(&result("b", 4)))).unwrap();
    hub.recent.publish(merged(paths(&result("c", 4)))).unwrap();
    assert_eq!(hub.seen().recent, main_paths(&result("c", 4)));
    let gone = set(&["c/c-2.rpm"]);
    hub.recent.publish(RecentChange { gone, ..RecentChange::default() }).unwrap();
    assert_eq!(hub.seen().recent, set(&["c/c-1.rpm", "c/c-3.rpm"]));
    // Half of a group.
    hub.add(result("d", 4));
    hub.recent.publish(merged(set(&["d/d-1.rpm"]))).unwrap();
    let left: Vec<_> = hub.recent.groups().iter().flat_map(|group| paths(&[(**group).clone()])).collect();
    assert_eq!(left.len(), 3);
    assert!(!left.contains(&"d/d-1.rpm".into()));
    assert!(hub.seen().recent.contains("d/d-1.rpm") && hub.seen().recent.contains("d/d-2.rpm"));
}

#[test]
fn small_groups_become_large_ones_and_large_ones_are_not_packed_again() {
    let mut hub = Hub::new(Config::default());
    let sizes = |hub: &Hub, class: Class| -> Vec<usize> {
        hub.shelves.catalog.shelf(class).groups.iter().map(|group| group.packages.len()).collect()
    };
    let small: Vec<Group> = (0..50).flat_map(|n| result(&format!("s{n}"), 3)).collect();
    hub.merge(small, &set(&[])).unwrap();
    assert_eq!(sizes(&hub, Class::Main), [32, 32, 32, 4]);
    assert_eq!(sizes(&hub, Class::Extra), [32, 18]);
    let base = hub.names("state/index/base/repodata");
    hub.merge(Vec::new(), &set(&["nobody"])).unwrap();
    assert_eq!(hub.names("state/index/base/repodata"), base);
    // Only of one class: base does not change.
    hub.merge(Vec::new(), &set(&["s1/s1.src.rpm"])).unwrap();
    assert_eq!(hub.names("state/index/base/repodata"), base);
    assert_eq!(sizes(&hub, Class::Extra), [32, 17]);
    hub.merge(result("t", 100), &set(&["s0/s0-1.rpm"])).unwrap();
    // Untouched ones first; then what was added and full; then all the small ones together.
    assert_eq!(sizes(&hub, Class::Main), [32, 32, 32, 32, 32, 32, 6]);
    assert_eq!(sizes(&hub, Class::Extra), [32, 18]);
    assert_eq!(hub.seen().base.len(), 198);
    let listed = hub.listed();
    let hub = hub.again();
    assert_eq!((hub.listed(), hub.seen().base.len()), (listed, 198));
}

#[test]
fn added_path_replaces_the_one_on_the_shelf() {
    let mut hub = Hub::new(Config::default());
    hub.merge(result("a", 40), &set(&[])).unwrap();
    let mut other = package("a/a-7.rpm");
    other.listed.size = 99;
    let again = [Group::seal(Class::Main, Compression::Gzip, &[other.clone(), package("a/new.rpm")])];
    hub.merge([again.to_vec(), again.to_vec()].concat(), &set(&["a/a-8.rpm"])).unwrap();
    assert_eq!(hub.listed().len(), 40);
    assert_eq!(hub.shelves.listed().filter(|(package, _)| *package == &other.listed).count(), 1);
    assert_eq!(hub.seen().base.len(), 39);
}

#[test]
fn iterator_that_fails_changes_nothing() {
    let mut hub = Hub::new(Config::default());
    hub.merge(result("a", 40), &set(&[])).unwrap();
    let (seen, names) = (hub.seen(), hub.names("state/index/extra"));
    let error = || IndexError { path: "repo/b/.repodata".into(), error: io::Error::other("no") };
    let mut add = result("b", 40).into_iter().map(Ok).chain([Err(error())]);
    let failed = hub.shelves.merge(&mut add, &set(&[])).unwrap_err();
    assert_eq!(failed.to_string(), "repo/b/.repodata: no");
    assert_eq!((hub.seen(), hub.names("state/index/extra")), (seen, names));
}

#[test]
fn other_compression_takes_over_groups_of_the_first() {
    let disk = {
        let mut hub = Hub::new(Config::default());
        hub.merge(result("a", 40), &set(&[])).unwrap();
        hub.disk
    };
    let config = Config { compression: Compression::Zstd, ..Config::default() };
    let mut hub = Hub::on(disk, Arc::default(), config);
    hub.add(result("b", 4));
    assert_eq!(hub.seen().recent.len(), 3);
    hub.shelves.complete(&hub.recent.groups()).unwrap();
    assert_eq!(hub.seen().complete.len(), 44);
    hub.shelves.complete(&[]).unwrap();
    hub.merge(result("c", 4), &set(&[])).unwrap();
    hub.shelves.complete(&result("d", 40).into_iter().map(Arc::new).collect::<Vec<_>>()).unwrap();
    assert_eq!(hub.seen().complete.len(), 84);
    hub.clock.pass_ms(3_600_000);
    hub.recent.sweep().unwrap();
    hub.shelves.sweep().unwrap();
    for folder in ["state/index/recent/repodata", "state/index/base/repodata", "repo/repodata"] {
        let names = hub.names(folder);
        assert!(
            names.len() == 4 && names.iter().filter(|name| name.ends_with(".zst")).count() == 3,
            "{names:?}"
        );
    }
}

#[test]
fn superseded_files_stay_an_hour_in_the_tiers_and_ten_minutes_in_the_complete_index() {
    let mut hub = Hub::new(Config::default());
    for name in ["a", "b"] {
        hub.add(result(name, 3));
        hub.merge(result(name, 3), &set(&[])).unwrap();
        hub.shelves.complete(&[]).unwrap();
    }
    let count = |hub: &Hub| {
        ["state/index/recent/repodata", "state/index/base/repodata", "repo/repodata"]
            .map(|folder| hub.names(folder).len())
    };
    let check = |hub: &mut Hub, at_ms: u64, want: [usize; 3]| {
        hub.clock.0.store(at_ms, Ordering::Relaxed);
        hub.recent.sweep().unwrap();
        hub.shelves.sweep().unwrap();
        assert_eq!(count(hub), want, "{at_ms}");
        hub.seen();
    };
    check(&mut hub, 599_999, [10, 10, 10]);
    assert_eq!(hub.shelves.next_sweep(), Some(Time(600_000)));
    check(&mut hub, 600_000, [10, 10, 4]);
    assert_eq!(hub.shelves.next_sweep(), Some(Time(3_600_000)));
    assert_eq!(hub.recent.next_sweep(), Some(Time(3_600_000)));
    check(&mut hub, 3_599_999, [10, 10, 4]);
    check(&mut hub, 3_600_000, [4, 4, 4]);
    assert_eq!((hub.recent.next_sweep(), hub.shelves.next_sweep()), (None, None));
}

#[test]
fn what_comes_back_is_not_swept_with_its_first_generation() {
    let mut hub = Hub::new(Config::default());
    let take = |gone: &[&str]| RecentChange { gone: set(gone), ..RecentChange::default() };
    hub.clock.pass_ms(1);
    hub.add(result("a", 2));
    hub.clock.pass_ms(1_000_000);
    hub.recent.publish(take(&["a/a-1.rpm", "a/a.src.rpm"])).unwrap();
    hub.clock.pass_ms(1_000_000);
    hub.add(result("a", 2));
    // The empty one was superseded twice; only the first time is an hour ago.
    hub.clock.pass_ms(1_700_000);
    hub.recent.sweep().unwrap();
    assert_eq!(hub.names("state/index/recent/repodata").len(), 7);
    hub.seen();
    hub.clock.pass_ms(2_000_000);
    hub.recent.sweep().unwrap();
    assert_eq!(hub.names("state/index/recent/repodata").len(), 4);
    hub.seen();
}

#[test]
fn burst_of_superseded_files_is_bounded() {
    let mut hub = Hub::new(Config::default());
    hub.recent.generations.as_mut().unwrap().keep_files_max(30);
    for n in 0..50_u32 {
        hub.recent
            .publish(RecentChange {
                add: vec![Group::seal(Class::Main, Compression::Gzip, &[package(&format!("{n}.rpm"))])],
                gone: n.checked_sub(1).map(|n| format!("{n}.rpm").into()).into_iter().collect(),
                merged: set(&[]),
            })
            .unwrap();
        hub.clock.pass_ms(10);
        if hub.recent.next_sweep().is_some_and(|due| due <= hub.clock.now()) {
            hub.recent.sweep().unwrap();
        }
    }
    assert_eq!(hub.names("state/index/recent/repodata").len(), 30 + 4);
    hub.seen();
}

#[test]
fn index_of_createrepo_c_is_taken_over_and_what_is_not_ours_stays() {
    let (disk, _) = Memory::with_folders();
    crate::disk::Disk::create_dir(&disk, Path::new("repo/repodata")).unwrap();
    let digest = "a".repeat(64);
    let data = |kind: &str, name: &str| {
        format!("  <data type=\"{kind}\"><location href=\"repodata/{name}\"/></data>\n")
    };
    let names =
        [("primary", "primary.xml.gz"), ("filelists", "b-filelists.xml.gz"), ("other", "other.xml.gz")];
    let ours: String = names.iter().map(|(kind, name)| data(kind, name)).collect();
    let foreign = [data("group", &format!("{digest}-comps.xml")), data("updateinfo", "updateinfo.xml.gz")];
    let repomd = format!("<repomd>\n{ours}{}{}</repomd>\n", foreign[0], data("modules", "is-gone.yaml"));
    for (_, name) in names {
        disk.put(format!("repo/repodata/{name}"), b"old");
    }
    disk.put(format!("repo/repodata/{digest}-comps.xml"), b"comps");
    disk.put(format!("repo/repodata/{digest}-primary.sqlite.bz2"), b"db");
    disk.put("repo/repodata/.primary.new", b"left by a crash");
    disk.put("repo/repodata/README", b"somebody's");
    disk.put("repo/repodata/repomd.xml.asc", b"somebody's, of the old one");
    disk.put("repo/repodata/repomd.xml", repomd.as_bytes());
    let clock = Arc::new(Hand::default());
    let mut hub = Hub::on(disk, clock, Config::default());
    assert_eq!(
        hub.disk.bytes("repo/repodata/repomd.xml").unwrap(),
        repomd.as_bytes(),
        "the old one serves on"
    );
    hub.shelves.complete(&result("a", 3).into_iter().map(Arc::new).collect::<Vec<_>>()).unwrap();
    assert_eq!(hub.seen().complete.len(), 3);
    let text = |hub: &Hub| String::from_utf8(hub.disk.bytes("repo/repodata/repomd.xml").unwrap()).unwrap();
    assert!(text(&hub).contains(foreign[0].trim()) && !text(&hub).contains("is-gone"));
    hub.clock.pass_ms(599_999);
    hub.shelves.sweep().unwrap();
    assert!(names.iter().all(|(_, name)| hub.names("repo/repodata").contains(&(*name).to_owned())));
    // Somebody adds an element by hand.
    hub.disk.put("repo/repodata/updateinfo.xml.gz", b"updates");
    hub.disk.put(
        "repo/repodata/repomd.xml",
        text(&hub).replace("</repomd>", &format!("{}</repomd>", foreign[1])).as_bytes(),
    );
    hub.shelves.complete(&[]).unwrap();
    assert!(foreign.iter().all(|element| text(&hub).contains(element.trim())));
    hub.clock.pass_ms(600_000);
    hub.shelves.sweep().unwrap();
    let left = hub.names("repo/repodata");
    assert_eq!(left.len(), 7, "{left:?}");
    assert!(left.contains(&format!("{digest}-comps.xml")) && left.contains(&"README".to_owned()));
    assert!(hub.seen().complete.is_empty());
}

/// Signs with a word and the length of what it signs.
struct Signer;

impl RepomdSigner for Signer {
    fn sign(&self, repomd: &[u8]) -> Result<Vec<u8>, String> {
        match repomd.windows(5).any(|bytes| bytes == b"<data") {
            true => Ok(format!("signed {}", hex(repomd)).into_bytes()),
            false => Err("no".to_owned()),
        }
    }
}

#[test]
fn each_index_is_signed_and_a_stale_signature_goes() {
    let config = Config { signer: Some(Arc::new(Signer)), ..Config::default() };
    let mut hub = Hub::new(config);
    hub.add(result("a", 3));
    hub.merge(result("b", 3), &set(&[])).unwrap();
    hub.shelves.complete(&[]).unwrap();
    let folders = ["state/index/recent/repodata", "state/index/base/repodata", "repo/repodata"];
    for folder in folders {
        let repomd = hub.disk.bytes(format!("{folder}/repomd.xml")).unwrap();
        let signature = hub.disk.bytes(format!("{folder}/repomd.xml.asc")).unwrap();
        assert_eq!(signature, Signer.sign(&repomd).unwrap());
    }
    let mut hub = Hub::on(hub.disk, hub.clock, Config::default());
    hub.add(result("a", 3));
    hub.merge(result("c", 3), &set(&[])).unwrap();
    hub.shelves.complete(&[]).unwrap();
    for folder in folders {
        assert!(!hub.names(folder).contains(&"repomd.xml.asc".to_owned()));
    }
}

#[test]
fn damaged_catalog_or_shelf_gives_empty_shelves_and_the_old_base_serves_on() {
    let damage: [&dyn Fn(&Memory); 4] = [
        &|disk| assert!(disk.take("state/index/catalog")),
        &|disk| {
            let mut bytes = disk.bytes("state/index/catalog").unwrap();
            bytes[100] ^= 1;
            disk.put("state/index/catalog", &bytes);
        },
        &|disk| disk.put("state/index/extra/00000002-extra-other", b"short"),
        &|disk| assert!(disk.take("state/index/extra/00000002-main-provides")),
    ];
    for damage in damage {
        let mut hub = Hub::new(Config::default());
        hub.merge(result("a", 40), &set(&[])).unwrap();
        damage(&hub.disk);
        let mut hub = hub.again();
        assert_eq!(hub.listed(), set(&[]));
        assert_eq!(hub.seen().base.len(), 39);
        hub.merge(result("b", 40), &set(&[])).unwrap();
        assert_eq!(hub.seen().base, main_paths(&result("b", 40)));
        let hub = hub.again();
        assert_eq!(hub.listed(), paths(&result("b", 40)));
    }
}

/// The slow thread over this hub's files.
pub(super) fn slow(hub: &Hub) -> Slow {
    let (disk, clock): (Arc<dyn Disk>, _) = (Arc::new(hub.disk.clone()), hub.clock.clone());
    let read = ReadConfig { compression: Compression::Gzip, threads: 1 };
    let reader = Arc::new(Reader::new(disk.clone(), clock.clone(), layout(), read));
    Slow::new(disk, clock, layout(), hub.config.clone(), reader)
}

#[test]
fn damage_that_a_merge_meets_starts_the_shelves_over() {
    let mut hub = Hub::new(Config::default());
    let (a, b) = (result("a", 40), result("b", 3));
    hub.merge(a.iter().chain(&b).cloned().collect(), &set(&[])).unwrap();
    let body = hub.names("state/index/base/repodata").into_iter().find(|name| name.contains("filelists"));
    let body = Path::new("state/index/base/repodata").join(body.unwrap());
    let mut bytes = hub.disk.bytes(&body).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    hub.disk.put(&body, &bytes);
    let mut slow = slow(&hub);
    let on_shelf = |msg| match msg {
        Msg::Opened(opened) => opened.unwrap().on_shelf.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(on_shelf(slow.run(SlowOrder::Open)), 43);
    // Every group but full ones is taken apart, and of those the ones that lose something.
    let gone = set(&["a/a-1.rpm", "a/a-33.rpm"]);
    assert_eq!(on_shelf(slow.run(SlowOrder::Merge { add: Vec::new(), gone })), 0);
    let all = vec![Source::Groups(a.iter().chain(&b).cloned().map(Arc::new).collect())];
    let merged = slow.run(SlowOrder::Merge { add: all, gone: set(&[]) });
    assert!(matches!(&merged, Msg::Merged(Ok(_))), "{merged:?}");
    assert_eq!(hub.seen().base, main_paths(&[a, b].concat()));
}

#[test]
fn what_builders_see_is_known_by_what_it_provides_and_by_files_that_are_asked_for() {
    let mut hub = Hub::new(Config::default());
    let (a, b) = (result("a", 40), result("b", 3));
    hub.merge(a.clone(), &set(&[])).unwrap();
    let mut slow = slow(&hub);
    let Msg::Opened(Ok(opened)) = slow.run(SlowOrder::Open) else { panic!("it does not open") };
    // Not the source package.
    assert_eq!(opened.stock.len(), 39);
    assert_eq!(opened.stock.who_provides(&Requirement::parse("a/a-7.rpm = 1-1")), ["a/a-7.rpm"]);
    let paths = ["a/a.src.rpm", "a/a-7.rpm", "b/b-1.rpm", "b/b.src.rpm", "c/c-1.rpm"];
    let files = Finder::new(&paths.map(|path| format!("/usr/share/{path}")).into());
    let recent = b.iter().cloned().map(Arc::new).collect();
    let Msg::Found(Ok(found)) = slow.run(SlowOrder::Find { files, recent }) else {
        panic!("it finds nothing")
    };
    let want = ["a/a-7.rpm", "b/b-1.rpm"].map(|path| (path.into(), vec![format!("/usr/share/{path}")]));
    assert_eq!(found, want);
    // What is read and comes onto a shelf at once.
    let read = Source::Groups(b.into_iter().map(Arc::new).collect());
    let Msg::Merged(Ok(merged)) = slow.run(SlowOrder::Merge { add: vec![read], gone: set(&[]) }) else {
        panic!("it does not merge")
    };
    assert!(merged.stock.is_none(), "those were on recent");
}

#[test]
fn without_tiers_recent_is_not_written() {
    let mut hub = Hub::new(Config { tiers: false, ..Config::default() });
    hub.add(result("a", 3));
    assert_eq!(hub.index("state/index/recent/repodata"), None);
    hub.shelves.complete(&hub.recent.groups()).unwrap();
    assert_eq!(hub.seen().complete.len(), 3);
}
