//! The cache with mirrors that are right, wrong, slow, cut off and away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::disk::Real;
use crate::mainline::tests::site::{Answer, Gate, Server};

/// Long beside anything that a busy machine does: nothing here ends by it unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that is moved by hand.
#[derive(Default)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }

    fn unix_s(&self) -> u64 {
        1_000_000 + self.0.load(Ordering::Relaxed) / 1_000
    }
}

struct Bench {
    folder: tempfile::TempDir,
    server: Server,
    clock: Arc<Hand>,
    free: Arc<AtomicU64>,
    bytes_max: u64,
}

/// Bytes that no other number has.
fn bytes(n: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7) as u8 ^ n).collect()
}

/// What an index says of these bytes.
fn payload(href: &str, bytes: &[u8]) -> Payload {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Payload {
        layer: 0,
        href: href.to_owned(),
        size: bytes.len() as u64,
        checksum: ("sha256".to_owned(), hex),
    }
}

impl Bench {
    fn new() -> Bench {
        let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
        Bench {
            folder,
            server,
            clock: Arc::default(),
            free: Arc::new(AtomicU64::new(1 << 40)),
            bytes_max: 1 << 30,
        }
    }

    fn start(&self) -> Cache {
        let free = self.free.clone();
        Cache::start(Setup {
            places: vec![self.server.url.parse().unwrap()],
            state: self.folder.path().to_owned(),
            bytes_max: self.bytes_max,
            is_off: false,
            space: Box::new(move || Ok((free.load(Ordering::Relaxed), 1_000))),
            disk: Arc::new(Real),
            clock: self.clock.clone(),
            proxy: None,
        })
    }

    /// Has the server give a file.
    fn give(&self, href: &str, bytes: &[u8]) -> Payload {
        self.server.set(href, Answer::File(bytes.to_vec()));
        payload(href, bytes)
    }

    /// What is in the cache's folder.
    fn kept(&self) -> Vec<String> {
        let folders = std::fs::read_dir(self.folder.path().join("cache")).into_iter().flatten();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn here(cache: &Cache, payload: &Payload) -> Reading {
    match cache.find(payload) {
        Found::Here(reading) => reading,
        other => panic!("{other:?}"),
    }
}

/// Runs this to its end.
fn block<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("it ends") })
}

/// Reads a file to its end, or to where it breaks off.
fn read(mut reading: Reading) -> Result<Vec<u8>, (Vec<u8>, Trouble)> {
    let mut all = Vec::new();
    while (all.len() as u64) < reading.size {
        match block(reading.beyond(all.len() as u64)) {
            Ok(there) => {
                let max = usize::try_from(there).unwrap() - all.len();
                all.extend(reading.read(all.len() as u64, max.min(5_000)).unwrap());
            }
            Err(trouble) => return Err((all, trouble)),
        }
    }
    Ok(all)
}

fn get(cache: &Cache, payload: &Payload) -> Result<Vec<u8>, String> {
    match cache.find(payload) {
        Found::Here(reading) => read(reading).map_err(|(_, trouble)| trouble.to_string()),
        Found::No(trouble) => Err(trouble.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sixty_askers_cost_one_download_and_read_while_it_comes() {
    let (bench, gate) = (Bench::new(), Gate::default());
    let file = bytes(1, 300_000);
    let wanted = payload("a.rpm", &file);
    bench.server.set("a.rpm", Answer::Held(file.clone(), 100_000, gate.clone()));
    let cache = bench.start();
    let askers: Vec<_> = (0..60)
        .map(|_| {
            let (cache, wanted) = (cache.clone(), wanted.clone());
            std::thread::spawn(move || {
                let mut reading = here(&cache, &wanted);
                // The first bytes are there before the last ones were sent.
                assert!(block(reading.beyond(99_999)).unwrap() >= 100_000);
                (reading.read(0, 10).unwrap(), reading)
            })
        })
        .collect();
    let begun: Vec<_> = askers.into_iter().map(|asker| asker.join().unwrap()).collect();
    gate.open();
    for (first, reading) in begun {
        assert_eq!(first, file[..10]);
        assert_eq!(read(reading).unwrap(), file);
    }
    assert_eq!(bench.server.asked(), ["/os/a.rpm 200"]);
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.hits, stats.fetched_bytes), (1, 59, 300_000));
    assert_eq!(get(&cache, &wanted).unwrap(), file);
    assert_eq!((cache.stats().hits, cache.stats().files, cache.stats().bytes), (60, 1, 300_000));
}

#[test]
fn what_is_kept_survives_a_restart_and_what_was_coming_is_cleared_away() {
    let bench = Bench::new();
    let file = bytes(1, 10_000);
    let wanted = bench.give("a.rpm", &file);
    assert_eq!(get(&bench.start(), &wanted).unwrap(), file);
    let kept = bench.kept();
    // A hub that was killed left half of another.
    let folder = bench.folder.path().join("cache").join(&wanted.checksum.1[..2]);
    std::fs::write(folder.join(format!(".sha256-{}", "0".repeat(64))), "half").unwrap();
    bench.server.asked();
    let cache = bench.start();
    assert_eq!(bench.kept(), kept);
    assert_eq!(get(&cache, &wanted).unwrap(), file);
    assert!(bench.server.asked().is_empty());
    // Somebody cut it, or deleted it: it is fetched again.
    let path = folder.join(&kept[0]);
    std::fs::write(&path, "cut").unwrap();
    assert_eq!(get(&cache, &wanted).unwrap(), file);
    std::fs::remove_dir_all(bench.folder.path().join("cache")).unwrap();
    assert_eq!(get(&cache, &wanted).unwrap(), file);
    assert_eq!(bench.server.asked().len(), 2);
    assert_eq!(bench.kept(), kept);
}

#[test]
fn what_was_not_used_for_the_longest_time_makes_room_for_what_comes() {
    let bench = Bench { bytes_max: 30_000, ..Bench::new() };
    let files: Vec<Vec<u8>> = (0..5).map(|n| bytes(n, 10_000)).collect();
    let wanted: Vec<Payload> = (0..5).map(|n| bench.give(&format!("{n}.rpm"), &files[n])).collect();
    let cache = bench.start();
    for n in [0, 1, 2, 0, 3] {
        assert_eq!(get(&cache, &wanted[n]).unwrap(), files[n]);
    }
    assert_eq!(bench.server.asked().len(), 4);
    // 1 went, and what is read stays whatever comes.
    let Found::Here(zero) = cache.find(&wanted[0]) else { panic!("it is kept") };
    for n in [2, 3, 4, 1, 2] {
        assert_eq!(get(&cache, &wanted[n]).unwrap(), files[n]);
    }
    assert_eq!(bench.server.asked(), ["/os/4.rpm 200", "/os/1.rpm 200", "/os/2.rpm 200"]);
    assert_eq!(get(&cache, &wanted[0]).unwrap(), files[0]);
    assert_eq!(read(zero).unwrap(), files[0]);
    assert!(bench.server.asked().is_empty());
    assert_eq!((cache.stats().bytes, cache.stats().files, cache.stats().evictions), (30_000, 3, 4));
    assert_eq!(bench.kept().len(), 3);
}

#[test]
fn what_the_cache_cannot_keep_is_left_to_the_board() {
    let bench = Bench { bytes_max: 30_000, ..Bench::new() };
    let (small, large) = (bytes(1, 10_000), bytes(2, 40_000));
    let cache = bench.start();
    let kept = bench.give("small.rpm", &small);
    let url = format!("{}large.rpm", bench.server.url);
    let large = bench.give("large.rpm", &large);
    assert!(matches!(cache.find(&large), Found::Elsewhere(to) if to == url));
    let strange = Payload { checksum: ("crc".to_owned(), "ab".to_owned()), ..large.clone() };
    assert!(matches!(cache.find(&strange), Found::Elsewhere(to) if to == url));
    assert_eq!(get(&cache, &kept).unwrap(), small);
    // The hub wants 1,000 bytes free, and a quarter more. Nothing goes for what finds no room all the same …
    let more = bench.give("more.rpm", &bytes(3, 25_000));
    bench.free.store(1_250 + 25_000 - 10_001, Ordering::Relaxed);
    assert_eq!(block(here(&cache, &more).is_there()), Err(Trouble::NoRoom));
    assert!(matches!(cache.elsewhere(&more), Found::Elsewhere(to) if to.ends_with("/os/more.rpm")));
    assert_eq!(bench.kept().len(), 1);
    // … but for the hub itself.
    bench.free.store(1_249, Ordering::Relaxed);
    assert_eq!(block(here(&cache, &more).is_there()), Err(Trouble::NoRoom));
    assert!(bench.kept().is_empty());
    bench.free.store(26_250, Ordering::Relaxed);
    assert_eq!(get(&cache, &more).unwrap(), bytes(3, 25_000));
    assert_eq!(bench.server.asked(), ["/os/small.rpm 200", "/os/more.rpm 200"]);
}

#[test]
fn what_is_not_what_the_index_says_reaches_nobody_whole_and_is_fetched_anew() {
    let bench = Bench::new();
    let (right, wrong) = (bytes(1, 100_000), bytes(2, 100_000));
    let wanted = payload("a.rpm", &right);
    let cache = bench.start();
    bench.server.set("a.rpm", Answer::File(wrong));
    let (got, trouble) = read(here(&cache, &wanted)).unwrap_err();
    assert!(got.len() < right.len(), "the last byte is held back");
    assert!(trouble.to_string().contains("/os/a.rpm: it has another checksum"), "{trouble}");
    for wrong in [&right[1..], &[&right[..], b"x"].concat()] {
        bench.server.set("a.rpm", Answer::File(wrong.to_vec()));
        let (got, trouble) = read(here(&cache, &wanted)).unwrap_err();
        assert!(got.is_empty() && trouble.to_string().contains("another size"), "{trouble}");
    }
    assert!(bench.kept().is_empty());
    bench.server.set("a.rpm", Answer::File(right.clone()));
    assert_eq!(get(&cache, &wanted).unwrap(), right);
    assert_eq!((bench.server.asked().len(), cache.stats().failures), (4, 3));
    // Another index has another length for the same checksum.
    let liar = Payload { size: 5, ..wanted };
    assert!(get(&cache, &liar).unwrap_err().contains("another length"));
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    for whole in [false, true] {
        let bench = Bench::new();
        let file = bytes(1, 200_000);
        let wanted = payload("a.rpm", &file);
        bench.server.set("a.rpm", Answer::Cut(file.clone(), 90_000));
        let cache = bench.start();
        let mut reading = here(&cache, &wanted);
        assert!(block(reading.beyond(89_999)).unwrap() >= 90_000);
        if whole {
            // One that knows no parts sends all of it once more.
            bench.server.set("a.rpm", Answer::Whole(file.clone()));
        }
        assert_eq!(read(reading).unwrap(), file);
        let asked = bench.server.asked();
        let then = if whole { "/os/a.rpm 200" } else { "/os/a.rpm 206" };
        assert!(asked.len() > 1 && asked[0] == "/os/a.rpm 200" && asked.last().unwrap() == then, "{asked:?}");
        if !whole {
            assert_eq!(cache.stats().fetched_bytes, 200_000);
        }
    }
}

#[test]
fn a_mirror_that_is_away_is_asked_once_in_a_while_and_named() {
    let bench = Bench::new();
    let file = bytes(1, 1_000);
    let (wanted, other) = (payload("a.rpm", &file), payload("b.rpm", &bytes(2, 1_000)));
    let cache = bench.start();
    bench.server.set("a.rpm", Answer::Other("503 Service Unavailable\r\nContent-Length: 0"));
    let why = format!("{}a.rpm: the server says 503 Service Unavailable", bench.server.url);
    for wanted in [&wanted, &wanted, &other] {
        assert_eq!(get(&cache, wanted).unwrap_err(), why);
    }
    assert_eq!(bench.server.asked(), ["/os/a.rpm 503"]);
    // It is back, and asked when that is not fresh any more.
    bench.give("a.rpm", &file);
    bench.clock.pass(TROUBLE_MS - 1);
    assert_eq!(get(&cache, &wanted).unwrap_err(), why);
    bench.clock.pass(1);
    assert_eq!(get(&cache, &wanted).unwrap(), file);
    // A file that it has not says nothing of others.
    assert!(get(&cache, &other).unwrap_err().contains("404"));
    assert!(get(&cache, &other).unwrap_err().contains("404"));
    assert_eq!(get(&cache, &wanted).unwrap(), file);
    assert_eq!(bench.server.asked(), ["/os/a.rpm 200", "/os/b.rpm 404"]);
}

#[test]
fn more_is_asked_for_than_is_fetched_at_once_and_all_of_it_comes() {
    let (bench, gate) = (Bench::new(), Gate::default());
    let files: Vec<Vec<u8>> = (0..20).map(|n| bytes(n, 5_000)).collect();
    let cache = bench.start();
    let readings: Vec<Reading> = files
        .iter()
        .enumerate()
        .map(|(n, file)| {
            let href = format!("{n}.rpm");
            bench.server.set(&href, Answer::Held(file.clone(), 100, gate.clone()));
            here(&cache, &payload(&href, file))
        })
        .collect();
    for mut reading in readings.iter().take(DOWNLOADS).cloned() {
        assert!(block(reading.is_there()).is_ok());
    }
    assert_eq!(bench.server.asked().len(), DOWNLOADS);
    gate.open();
    for (reading, file) in readings.into_iter().zip(&files) {
        assert_eq!(&read(reading).unwrap(), file);
    }
    assert_eq!(bench.server.asked().len(), files.len() - DOWNLOADS);
}

#[test]
fn paths_that_leave_a_repository_are_asked_of_nobody() {
    let bench = Bench::new();
    let cache = bench.start();
    let wanted = payload("a.rpm", b"x");
    for href in ["../a.rpm", "/etc/passwd", "http://evil.example/x", "a?b", "a//b", ""] {
        let wanted = Payload { href: href.to_owned(), ..wanted.clone() };
        assert!(matches!(cache.find(&wanted), Found::No(_)), "{href}");
        assert!(matches!(cache.elsewhere(&wanted), Found::No(_)), "{href}");
    }
    assert!(matches!(cache.find(&Payload { layer: 1, ..wanted }), Found::No(_)));
    assert!(bench.server.asked().is_empty());
}
