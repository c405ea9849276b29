//! The cache with mirrors that are right, wrong, slow, cut off and away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::clock;
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
