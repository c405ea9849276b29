//! Whole looks: repositories in folders and behind a web server, that are right, wrong, changed and away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moji_proto::Time;

use super::look::{LOOK_EVERY_MS, Mainline, Setup};
use super::place::Place;
use crate::clock::Clock;
use crate::core::capabilities::{Capabilities, Requirement};
use crate::disk::Real;

mod figures;
pub(crate) mod site;

use site::{Answer, Server, Sketch, gzip, primary, publish};

const MINUTE_MS: u64 = 60_000;

/// A clock that is moved by hand.
#[derive(Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }

    fn unix_s(&self) -> u64 {
        1_000_000
    }
}

struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<Hand>,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap(), clock: Arc::default() }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn open(&self, places: &[&str]) -> Mainline {
        let setup = Setup {
            places: places.iter().map(|place| place.parse().unwrap()).collect(),
            state: self.state(),
            target: Some("aarch64".to_owned()),
            disk: Arc::new(Real),
            clock: self.clock.clone(),
        };
        Mainline::open(setup, None)
    }

    fn pass(&self, ms: u64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// Passes the time until the next mirror is asked; says how long that was.
    fn pass_until(&self, mainline: &Mainline) -> u64 {
        let ms = mainline.deadline().unwrap().since_ms(self.clock.now());
        self.pass(ms);
        ms
    }

    fn kept(&self) -> Vec<PathBuf> {
        let mainline = self.folder.path().join("mainline");
        let folders = std::fs::read_dir(mainline).into_iter().flatten().map(|entry| entry.unwrap().path());
        let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
        let mut all: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    }
}

fn list(names: &[&str]) -> Vec<u8> {
    let all: Vec<Sketch> = names.iter().map(|name| Sketch::new(name, "1")).collect();
    gzip(&primary(&all))
}

fn has(there: &Capabilities, name: &str) -> bool {
    there.provides(&Requirement::parse(name))
}

#[test]
fn all_repositories_make_one_and_are_remembered_without_them() {
    let bench = Bench::new();
    let (a, b) = (bench.folder.path().join("a"), bench.folder.path().join("b"));
    let mut zlib = Sketch::new("zlib", "1.3");
    zlib.files = vec!["/usr/bin/zpipe".to_owned(), "/etc/zlib.conf".to_owned()];
    zlib.provides = vec!["libz.so.1()(64bit)".to_owned()];
    let mut foreign = Sketch::new("foreign", "1");
    foreign.arch = "x86_64";
    let mut source = Sketch::new("source", "1");
    source.arch = "src";
    publish(&a, &gzip(&primary(&[zlib, foreign, source])));
    // The same path as in the other one, and all that zstd and xz can do differently.
    publish(&b, &zstd::bulk::compress(primary(&[Sketch::new("zlib", "1.3")]).as_bytes(), 3).unwrap());
    let places = [a.to_str().unwrap(), b.to_str().unwrap()];
    let check = |there: &Capabilities| {
        assert_eq!(there.len(), 2);
        for there_is in
            ["zlib = 1.3-1", "zlib >= 1.2", "libz.so.1()(64bit)", "/usr/bin/zpipe", "/etc/zlib.conf"]
        {
            assert!(has(there, there_is), "{there_is}");
        }
        for there_is_not in ["zlib > 1.3-1", "foreign", "source", "/usr/bin/other"] {
            assert!(!has(there, there_is_not), "{there_is_not}");
        }
        let who = there.who_provides(&Requirement::parse("zlib"));
        assert_eq!(who, ["0/Packages/zlib-1.3-1.noarch.rpm", "1/Packages/zlib-1.3-1.noarch.rpm"]);
    };
    let mut mainline = bench.open(&places);
    assert!(mainline.remember().is_none());
    check(&mainline.look(false).unwrap());
    assert!(mainline.look(true).is_none(), "nothing changed");
    std::fs::remove_dir_all(&a).unwrap();
    std::fs::remove_dir_all(&b).unwrap();
    let mut mainline = bench.open(&places);
    check(&mainline.remember().unwrap());
    assert!(mainline.look(false).is_none());
    // Of one that is no longer named nothing is kept.
    assert_eq!(bench.kept().len(), 4);
    assert!(bench.open(&places[..1]).remember().is_some());
    assert_eq!(bench.kept().len(), 2);
}

#[test]
fn nothing_is_said_before_all_repositories_are_known() {
    let bench = Bench::new();
    let (a, b) = (bench.folder.path().join("a"), bench.folder.path().join("b"));
    publish(&a, &list(&["x"]));
    let mut mainline = bench.open(&[a.to_str().unwrap(), b.to_str().unwrap()]);
    assert!(mainline.look(false).is_none());
    publish(&b, &list(&["y"]));
    assert_eq!(bench.pass_until(&mainline), MINUTE_MS);
    let there = mainline.look(false).unwrap();
    assert!(has(&there, "x") && has(&there, "y"));
}

#[test]
fn an_index_that_did_not_change_is_not_fetched_again() {
    let (bench, server) = (Bench::new(), Server::start());
    server.publish(&list(&["x"]));
    let mut mainline = bench.open(&[&server.url]);
    assert!(has(&mainline.look(false).unwrap(), "x"));
    assert_eq!(server.asked(), ["/os/repodata/repomd.xml 200", "/os/repodata/primary.xml.gz 200"]);
    assert_eq!(bench.pass_until(&mainline), LOOK_EVERY_MS);
    assert!(mainline.look(false).is_none());
    assert_eq!(server.asked(), ["/os/repodata/repomd.xml 304"]);
    // Not before its time, unless somebody asks for it.
    bench.pass(MINUTE_MS);
    assert!(mainline.look(false).is_none());
    assert_eq!(server.asked(), [""; 0]);
    assert!(mainline.look(true).is_none());
    assert_eq!(server.asked(), ["/os/repodata/repomd.xml 304"]);
    // Neither after a restart.
    let mut mainline = bench.open(&[&server.url]);
    assert!(has(&mainline.remember().unwrap(), "x"));
    assert!(mainline.look(false).is_none());
    assert_eq!(server.asked(), ["/os/repodata/repomd.xml 304"]);
    // A new one takes its place, also on the disk.
    server.publish(&list(&["y"]));
    let there = mainline.look(true).unwrap();
    assert!(has(&there, "y") && !has(&there, "x"));
    assert_eq!(bench.kept().len(), 2);
    // Another repomd.xml that names the same list costs no more than itself, and that once.
    let repomd = server.file("repodata/repomd.xml");
    server.set("repodata/repomd.xml", Answer::File([&repomd[..], b"<!-- -->"].concat()));
    server.asked();
    assert!(mainline.look(true).is_none() && mainline.look(true).is_none());
    assert_eq!(server.asked(), ["/os/repodata/repomd.xml 200", "/os/repodata/repomd.xml 304"]);
}

#[test]
fn a_mirror_that_is_away_is_asked_again_later_and_later_and_what_was_known_stays() {
    let (bench, server) = (Bench::new(), Server::start());
    server.publish(&list(&["x"]));
    let mut mainline = bench.open(&[&server.url]);
    assert!(mainline.look(false).is_some());
    server.set("repodata/repomd.xml", Answer::Other("503 Service Unavailable\r\nContent-Length: 0"));
    assert_eq!(bench.pass_until(&mainline), 60 * MINUTE_MS);
    for minutes in [1, 2, 4, 8, 16, 30, 30] {
        assert!(mainline.look(false).is_none());
        assert_eq!(bench.pass_until(&mainline), minutes * MINUTE_MS);
    }
    server.publish(&list(&["x", "y"]));
    let there = mainline.look(false).unwrap();
    assert!(has(&there, "x") && has(&there, "y"));
    assert_eq!(bench.pass_until(&mainline), 60 * MINUTE_MS);
    // The next outage begins with a minute again.
    server.set("repodata/repomd.xml", Answer::Other("404 Not Found\r\nContent-Length: 0"));
    assert!(mainline.look(false).is_none());
    assert_eq!(bench.pass_until(&mainline), MINUTE_MS);
}

#[test]
fn what_is_damaged_changes_nothing_and_is_fetched_when_it_is_right_again() {
    let (bench, server) = (Bench::new(), Server::start());
    server.publish(&list(&["x"]));
    let mut mainline = bench.open(&[&server.url]);
    assert!(mainline.look(false).is_some());
    // Not compressed, so that another list has the same length.
    let [new, other] =
        ["y", "z"].map(|name| primary(&[Sketch::new("x", "1"), Sketch::new(name, "1")]).into_bytes());
    let name = "repodata/primary.xml.gz";
    server.publish(&new);
    let wrong = [
        Answer::Cut(new.clone(), new.len() / 2),
        Answer::File(new[..new.len() - 1].to_vec()),
        Answer::File([&new[..], b"x"].concat()),
        Answer::File(other),
        Answer::Other("404 Not Found\r\nContent-Length: 0"),
        Answer::Other("304 Not Modified"),
    ];
    for answer in wrong {
        server.set(name, answer.clone());
        assert!(mainline.look(true).is_none(), "{answer:?}");
        let known = bench.open(&[&server.url]).remember().unwrap();
        assert!(has(&known, "x") && !has(&known, "y"), "{answer:?}");
    }
    server.set(name, Answer::File(new));
    assert!(has(&mainline.look(true).unwrap(), "y"));
    assert_eq!(bench.kept().len(), 2);
}

#[test]
fn a_list_that_makes_no_sense_is_fetched_once_and_the_old_one_counts() {
    let bomb = gzip(&format!("<metadata>{}", " ".repeat(4 << 20)));
    let lists: [Vec<u8>; 5] = [
        gzip("<html>Sign in</html>"),
        gzip("not XML"),
        bomb,
        b"BZh91AY".to_vec(),
        gzip("<metadata><package/></metadata>"),
    ];
    for wrong in lists {
        let (bench, server) = (Bench::new(), Server::start());
        server.publish(&list(&["x"]));
        let mut mainline = bench.open(&[&server.url]);
        assert!(mainline.look(false).is_some());
        server.publish(&wrong);
        server.asked();
        assert!(mainline.look(true).is_none());
        assert_eq!(server.asked().len(), 2);
        for minutes in [1, 2, 4, 8] {
            assert_eq!(bench.pass_until(&mainline), minutes * MINUTE_MS);
            assert!(mainline.look(false).is_none());
            assert_eq!(server.asked(), ["/os/repodata/repomd.xml 200"]);
        }
        assert!(has(&bench.open(&[&server.url]).remember().unwrap(), "x"));
        server.publish(&list(&["y"]));
        assert!(has(&mainline.look(true).unwrap(), "y"));
    }
}

#[test]
fn what_is_kept_and_damaged_is_read_again() {
    let (bench, server) = (Bench::new(), Server::start());
    server.publish(&list(&["x"]));
    assert!(bench.open(&[&server.url]).look(false).is_some());
    let [known, packed] = &bench.kept()[..] else { panic!("two files") };
    assert!(known.ends_with("known.json"));
    let spoil = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
    let damages: [&dyn Fn(); 5] = [
        &|| spoil(packed, b"x"),
        &|| std::fs::remove_file(packed).unwrap(),
        &|| spoil(known, b"{"),
        &|| spoil(known, &std::fs::read_to_string(known).unwrap().replace("Sha256", "Sha512").into_bytes()),
        &|| spoil(known, &vec![b' '; 1 << 20]),
    ];
    for damage in damages {
        damage();
        let mut mainline = bench.open(&[&server.url]);
        assert!(mainline.remember().is_none());
        server.asked();
        assert!(has(&mainline.look(false).unwrap(), "x"));
        assert_eq!(server.asked().len(), 2);
        assert!(bench.open(&[&server.url]).remember().is_some());
    }
}

#[test]
fn a_redirector_sends_the_whole_index_to_one_mirror() {
    let (bench, server) = (Bench::new(), Server::start());
    let mirror = Server::start();
    mirror.publish(&list(&["x"]));
    let to: &'static str =
        format!("302 Found\r\nLocation: {}repodata/repomd.xml\r\nContent-Length: 0", mirror.url).leak();
    server.set_elsewhere("/any/repodata/repomd.xml", Answer::Other(to));
    let place = server.url.replace("/os/", "/any/");
    assert!(has(&bench.open(&[&place]).look(false).unwrap(), "x"));
    assert_eq!(server.asked(), ["/any/repodata/repomd.xml 302"]);
    assert_eq!(mirror.asked(), ["/os/repodata/repomd.xml 200", "/os/repodata/primary.xml.gz 200"]);
    // One that sends people round and round is away.
    let round: &'static str =
        format!("302 Found\r\nLocation: {place}repodata/repomd.xml\r\nContent-Length: 0").leak();
    server.set_elsewhere("/any/repodata/repomd.xml", Answer::Other(round));
    assert!(Bench::new().open(&[&place]).look(false).is_none());
    assert!(server.asked().len() < 10);
}

#[test]
fn the_thread_hands_on_what_is_kept_and_what_is_new_and_ends_with_the_hub() {
    let bench = Bench::new();
    let folder = bench.folder.path().join("a");
    publish(&folder, &list(&["x"]));
    let place: Place = folder.to_str().unwrap().parse().unwrap();
    let setup = Setup {
        places: vec![place.clone(), place],
        state: bench.state(),
        target: None,
        disk: Arc::new(Real),
        clock: Arc::new(crate::clock::Real::default()),
    };
    let (stop, stopped) = crossbeam_channel::bounded(0);
    let (said, heard) = crossbeam_channel::unbounded();
    let handle = super::start(setup, stopped, move |there| said.send(there).unwrap());
    let there = heard.recv().unwrap();
    assert!(has(&there, "x") && there.len() == 1, "a place that is given twice counts once");
    publish(&folder, &list(&["y"]));
    handle.look_again();
    assert!(has(&heard.recv().unwrap(), "y"));
    drop(stop);
    assert!(heard.recv().is_err());
}
