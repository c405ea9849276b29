//! Boards at the HTTP port: what they get of a thin repository, and what nobody gets.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use moji_proto::{LeaseId, PublicKey};
use sha2::{Digest as _, Sha256};

use super::super::access::Access;
use super::super::serve::{Web, bind, spawn};
use super::*;
use crate::clock;
use crate::disk::Real;
use crate::mainline::tests::site::{Answer, Gate, Server};
use crate::payloads;

/// Long beside anything that a busy machine does: nothing here ends by it unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
const LEASE: LeaseId = LeaseId { incarnation: 7, counter: 1 };

/// A hub with a mirror, a mainline folder and a tier of its own, and a lease that needs a package of each.
struct Bench {
    folder: tempfile::TempDir,
    mirror: Server,
    cache: Cache,
    addr: SocketAddr,
    _web: Web,
}

fn bytes() -> Vec<u8> {
    (0..200_000_u32).map(|at| (at / 7) as u8).collect()
}

/// What an answer is.
struct Got {
    head: String,
    body: Vec<u8>,
}

impl Bench {
    fn new(is_off: bool) -> Bench {
        let (folder, mirror) = (tempfile::tempdir().unwrap(), Server::start());
        let (repo, local) = (folder.path().join("repo"), folder.path().join("local"));
        for (path, text) in [
            (repo.join("a-1-1@2/own.rpm"), "own"),
            (repo.join("a-1-1@2/.hidden"), "hidden"),
            (local.join("Packages/local.rpm"), "local"),
            (folder.path().join("outside.rpm"), "outside"),
        ] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let cache = Cache::start(payloads::Setup {
            places: vec![mirror.url.parse().unwrap(), local.to_str().unwrap().parse().unwrap()],
            state: folder.path().join("state"),
            bytes_max: 1 << 20,
            is_off,
            space: Box::new(|| Ok((1 << 40, 0))),
            disk: Arc::new(Real),
            clock: Arc::new(clock::Real::default()),
            proxy: None,
        });
        let thins = Thins::default();
        thins.offer(LEASE, &PublicKey([1; 32]), Box::new(|| Ok(thin())));
        let no = || Err("mainline is not known yet".to_owned());
        thins.offer(LeaseId { counter: 2, ..LEASE }, &PublicKey([2; 32]), Box::new(no));
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let site = router(Setup { thins, cache: cache.clone() }, &repo);
        let web = spawn(listener, runtime, site, Access::default());
        Bench { folder, mirror, cache, addr, _web: web }
    }

    fn ask(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        stream
    }

    fn get(&self, head: &str) -> Got {
        end(self.ask(head))
    }

    /// Asks and compares: parts of the head, and the body.
    fn check(&self, head: &str, want: &[&str], body: &[u8]) {
        let got = self.get(head);
        for want in want {
            assert!(got.head.contains(want), "{head}: no {want:?} in {}", got.head);
        }
        assert!(got.body == body, "{head}: {} bytes, {}", got.body.len(), got.head);
    }
}

/// Reads an answer to its end.
fn end(mut stream: TcpStream) -> Got {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let at = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..at].to_vec()).unwrap();
    Got { head, body: all.split_off(at + 4) }
}

/// What the lease needs.
fn thin() -> Thin {
    let hex =
        |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let bytes = bytes();
    let payload = |layer: usize, href: &str| {
        let payload = Payload {
            layer,
            href: href.to_owned(),
            size: bytes.len() as u64,
            checksum: ("sha256".to_owned(), hex(&bytes)),
        };
        (format!("{layer}/{href}"), payload)
    };
    let payloads: HashMap<String, Payload> = HashMap::from([
        payload(0, "Packages/g++.rpm"),
        payload(1, "Packages/local.rpm"),
        payload(1, "../outside.rpm"),
        payload(1, "%2e%2e/outside.rpm"),
        payload(2, "a-1-1@2/own.rpm"),
        payload(2, "a-1-1@2/.hidden"),
        payload(2, "none.rpm"),
    ]);
    let files = vec![("repodata/ab-primary.xml.gz".to_owned(), b"primary".to_vec())];
    Thin { repomd: b"<repomd/>".to_vec(), files, payloads, packages: 4, missing: Vec::new() }
}

const PACKAGE: &str = "/thin/7-1/0/Packages/g++.rpm";

#[test]
fn a_board_gets_its_index_and_packages_from_wherever_they_are() {
    let bench = Bench::new(false);
    bench.mirror.set("Packages/g++.rpm", Answer::File(bytes()));
    for which in ["7-1", &PublicKey([1; 32]).fingerprint()] {
        let start = format!("/thin/{which}");
        let check = |path: &str, want: &[&str], body: &[u8]| {
            bench.check(&format!("GET {start}/{path} HTTP/1.1"), want, body);
        };
        check("repodata/repomd.xml", &["200 OK", "cache-control: no-cache", "text/xml"], b"<repomd/>");
        check("repodata/ab-primary.xml.gz", &["200 OK", "max-age", "content-length: 7"], b"primary");
        check(
            "0/Packages/g++.rpm",
            &["200 OK", "max-age", "content-length: 200000", "etag: \"sha256-"],
            &bytes(),
        );
        check("0/Packages/g%2B%2b.rpm", &["200 OK"], &bytes());
        check("1/Packages/local.rpm", &["200 OK", "max-age"], b"local");
        check("2/a-1-1@2/own.rpm", &["200 OK", "max-age"], b"own");
        check("2/a-1-1%402/own.rpm", &["200 OK"], b"own");
    }
    assert_eq!(bench.mirror.asked(), ["/os/Packages/g++.rpm 200"]);
    let stats = bench.cache.stats();
    assert_eq!((stats.misses, stats.hits, stats.given_bytes), (1, 3, 800_000));
    // What is in a folder is served from there.
    assert_eq!((stats.files, stats.bytes), (1, 200_000));
}

#[test]
fn nothing_is_served_that_the_repository_does_not_name() {
    let bench = Bench::new(false);
    bench.mirror.set("Packages/other.rpm", Answer::File(bytes()));
    for path in [
        "/thin/7-1/0/Packages/other.rpm",
        "/thin/7-1/1/Packages/other.rpm",
        "/thin/7-1/3/a-1-1@2/own.rpm",
        "/thin/7-1/2/a-1-1@2/.hidden",
        "/thin/7-1/2/none.rpm",
        "/thin/7-1/1/../outside.rpm",
        "/thin/7-1/1/%2e%2e/outside.rpm",
        "/thin/7-1/1/..%2foutside.rpm",
        "/thin/7-1/0/http://evil.example/x",
        "/thin/7-1/http://evil.example/x",
        "/thin/7-1/repodata/none",
        "/thin/7-1/repodata/repomd.xml.asc",
        "/thin/7-1/%zz",
        "/thin/7-1/",
        "/thin/7-1",
        "/thin/",
        "/thin/7-3/repodata/repomd.xml",
        "/thin/0101010101010102/repodata/repomd.xml",
    ] {
        let got = bench.get(&format!("GET {path} HTTP/1.1"));
        let is_no = got.head.contains("404 Not Found") || got.head.contains("502 Bad Gateway");
        let text = String::from_utf8_lossy(&got.body);
        assert!(
            is_no && !text.contains("outside") && !text.contains("hidden"),
            "{path}: {} {text}",
            got.head
        );
    }
    assert!(bench.mirror.asked().is_empty());
    bench.check(
        "GET /thin/7-2/repodata/repomd.xml HTTP/1.1",
        &["503", "retry-after: 5"],
        b"mainline is not known yet\n",
    );
    let outside = bench.folder.path().join("outside.rpm");
    assert!(outside.exists());
}

#[test]
fn parts_are_served_of_what_comes_and_of_what_is_there() {
    let (bench, gate) = (Bench::new(false), Gate::default());
    let file = bytes();
    bench.mirror.set("Packages/g++.rpm", Answer::Held(file.clone(), 100_000, gate.clone()));
    let etag = format!("\"sha256-{}\"", thin().payloads["0/Packages/g++.rpm"].checksum.1);
    // How long it is and whether it is another one is known without the mirror.
    bench.check(&format!("HEAD {PACKAGE} HTTP/1.1"), &["200 OK", "content-length: 200000"], b"");
    bench.check(&format!("GET {PACKAGE} HTTP/1.1\r\nIf-None-Match: {etag}"), &["304"], b"");
    let part = |range: &str| bench.ask(&format!("GET {PACKAGE} HTTP/1.1\r\nRange: bytes={range}"));
    let check = |got: Got, range: std::ops::Range<usize>| {
        let said = format!("content-range: bytes {}-{}/200000", range.start, range.end - 1);
        assert!(got.head.contains("206") && got.head.contains(&said), "{said}: {}", got.head);
        assert!(got.body == file[range]);
    };
    let early = part("150000-");
    check(end(part("1000-1999")), 1_000..2_000);
    gate.open();
    check(end(early), 150_000..200_000);
    check(end(part("199999-")), 199_999..200_000);
    check(end(part("-10")), 199_990..200_000);
    assert!(end(part("200000-")).head.contains("416"));
    let rest = format!("GET {PACKAGE} HTTP/1.1\r\nRange: bytes=10-\r\nIf-Range: ");
    check(bench.get(&format!("{rest}{etag}")), 10..200_000);
    bench.check(&format!("{rest}\"another\""), &["200 OK"], &file);
    bench.check("GET /thin/7-1/1/Packages/local.rpm HTTP/1.1\r\nRange: bytes=1-2", &["206"], b"oc");
    bench.check("GET /thin/7-1/repodata/repomd.xml HTTP/1.1\r\nRange: bytes=1-2", &["206"], b"re");
    assert_eq!(bench.mirror.asked(), ["/os/Packages/g++.rpm 200"]);
}

#[test]
fn sixty_boards_use_the_uplink_once() {
    let (bench, gate) = (Bench::new(false), Gate::default());
    let file = bytes();
    bench.mirror.set("Packages/g++.rpm", Answer::Held(file.clone(), 50_000, gate.clone()));
    let mut boards: Vec<TcpStream> = (0..60).map(|_| bench.ask(&format!("GET {PACKAGE} HTTP/1.1"))).collect();
    // The first byte reaches each of them while the mirror still sends.
    for board in &mut boards {
        assert_eq!(board.peek(&mut [0]).unwrap(), 1);
    }
    gate.open();
    for board in boards {
        assert!(end(board).body == file);
    }
    assert_eq!(bench.mirror.asked(), ["/os/Packages/g++.rpm 200"]);
    let stats = bench.cache.stats();
    assert_eq!((stats.fetched_bytes, stats.given_bytes), (200_000, 60 * 200_000));
}

#[test]
fn a_mirror_that_is_wrong_or_away_is_named_and_its_readers_are_cut_off() {
    let bench = Bench::new(false);
    let get = format!("GET {PACKAGE} HTTP/1.1");
    let mut wrong = bytes();
    wrong[199_999] ^= 1;
    let gate = Gate::default();
    bench.mirror.set("Packages/g++.rpm", Answer::Held(wrong, 100_000, gate.clone()));
    let board = bench.ask(&get);
    assert_eq!(board.peek(&mut [0]).unwrap(), 1);
    gate.open();
    let got = end(board);
    assert!(got.head.contains("200 OK") && got.body.len() < 200_000, "{}", got.head);
    bench.mirror.set("Packages/g++.rpm", Answer::File(bytes()));
    bench.check(&get, &["200 OK"], &bytes());
    let other = Bench::new(false);
    other.mirror.set("Packages/g++.rpm", Answer::Other("500 Oops\r\nContent-Length: 0"));
    let line = format!("{}Packages/g++.rpm: the server says 500 Internal Server Error\n", other.mirror.url);
    other.check(&get, &["502 Bad Gateway", "no-cache"], line.as_bytes());
}

#[test]
fn without_a_cache_boards_are_sent_to_the_mirror_and_folders_are_served() {
    let bench = Bench::new(true);
    let location = format!("location: {}Packages/g++.rpm", bench.mirror.url);
    bench.check(&format!("GET {PACKAGE} HTTP/1.1"), &["302 Found", &location, "no-cache"], b"");
    bench.check("GET /thin/7-1/1/Packages/local.rpm HTTP/1.1", &["200 OK"], b"local");
    bench.check("GET /thin/7-1/2/a-1-1@2/own.rpm HTTP/1.1", &["200 OK"], b"own");
    assert!(bench.mirror.asked().is_empty());
    assert!(!bench.folder.path().join("state").exists());
    assert_eq!((bench.cache.stats().sent_away, bench.cache.stats().bytes_max), (1, 0));
}
