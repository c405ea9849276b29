//! How long builders wait for their next job while many people look at the hub's pages.
//!
//! Owns this benchmark: 10,000 packages wait and 1,000 builders hold a lease each, as in `dispatch.rs`; runs with 200 open
//! pages that follow the farm, and one that is loaded anew each second, alternate with runs in which nobody looks. Readers
//! and builders run on the hub's own machine: what they cost counts against the pages.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::builds::Content;
use crate::dispatch::{RESULTS, at_work, fill, one_run};
use crate::hub::Hub;
use crate::table::{Runs, Summary, Table, runs};

/// Open pages.
const READERS: usize = 200;
/// What they look at, in turns.
const PAGES: [&str; 5] =
    ["/", "/packages?state=building", "/packages?q=p00&sort=newest", "/builders", "/builders?sort=built"];
/// No new pair of runs begins after so long.
const ENOUGH: Duration = Duration::from_secs(60);
/// Runs of results in one run: seconds, so that pages are rendered meanwhile.
const ROUNDS: usize = 6;
/// How long all readers may take to see their page.
const LIMIT: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_secs(20);

/// People who look.
#[derive(Default)]
struct Readers {
    stop: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Opens all pages and waits until each shows something.
    fn open(http: SocketAddr) -> Readers {
        let mut readers = Readers::default();
        let (stop, events, bytes) =
            (Arc::clone(&readers.stop), Arc::clone(&readers.events), Arc::clone(&readers.bytes));
        readers.threads.push(std::thread::spawn(move || follow(http, &stop, &events, &bytes)));
        let stop = Arc::clone(&readers.stop);
        readers.threads.push(std::thread::spawn(move || load(http, &stop)));
        let began = Instant::now();
        while readers.events.load(Ordering::Relaxed) < READERS as u64 {
            assert!(began.elapsed() < LIMIT, "not all pages were shown");
            std::thread::sleep(Duration::from_millis(10));
        }
        readers
    }

    /// Events and bytes that they were told so far.
    fn told(&self) -> (u64, u64) {
        (self.events.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("readers do not panic");
        }
    }
}

/// Follows all pages until it is stopped.
fn follow(http: SocketAddr, stop: &AtomicBool, events: &AtomicU64, bytes: &AtomicU64) {
    let mut poll = Poll::new().expect("a poll");
    let mut streams: Vec<mio::net::TcpStream> = (0..READERS)
        .map(|number| {
            let mut stream = TcpStream::connect(http).expect("the hub serves pages");
            let page = PAGES[number % PAGES.len()].replace('?', "%3F").replace('&', "%26");
            write!(stream, "GET /events?page={page} HTTP/1.1\r\nHost: hub\r\n\r\n")
                .expect("a request goes out");
            stream.set_nonblocking(true).expect("a flag");
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(number), Interest::READABLE)
                .expect("a place in the poll");
            stream
        })
        .collect();
    let (mut ready, mut buffer) = (Events::with_capacity(READERS), vec![0; 256 << 10]);
    while !stop.load(Ordering::Relaxed) {
        let waited = poll.poll(&mut ready, Some(Duration::from_millis(50)));
        assert!(waited.is_ok() || waited.is_err_and(|error| error.kind() == ErrorKind::Interrupted));
        for Token(number) in ready.iter().map(mio::event::Event::token) {
            loop {
                match streams[number].read(&mut buffer) {
                    Ok(0) => panic!("the hub closed a page"),
                    Ok(n) => {
                        bytes.fetch_add(n as u64, Ordering::Relaxed);
                        let text = &buffer[..n];
                        let told = text.windows(7).filter(|window| window == b"event: ").count();
                        events.fetch_add(told as u64, Ordering::Relaxed);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("a page was cut off: {error}"),
                }
            }
        }
    }
}

/// Loads a page each second until it is stopped.
pub(crate) fn load(http: SocketAddr, stop: &AtomicBool) {
    for page in PAGES.iter().cycle() {
        let mut stream = TcpStream::connect(http).expect("the hub serves pages");
        write!(stream, "GET {page} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
            .expect("a request goes out");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{page}: {}", String::from_utf8_lossy(&answer));
        for _ in 0..20 {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Runs it, with the hub's folders in `base`.
pub(crate) fn run(base: &Path, summary: &mut Summary) {
    let (hub, http) = Hub::start_with_pages(base, fill);
    let (mut swarm, mut builders) = at_work(&hub);
    let content = Content::new("build.log", 2_048);
    swarm.rest(&hub, REST);
    let mut figures: [[Runs; 3]; 2] = Default::default();
    let mut first = 0;
    for run in runs(ENOUGH) {
        // Who begins changes, so that what grows from run to run is nobody's.
        for with in [run % 2 == 1, run % 2 == 0] {
            let readers = with.then(|| Readers::open(http));
            let before = readers.as_ref().map_or((0, 0), Readers::told);
            let (began, cpu) = (Instant::now(), hub.cpu_s());
            let mut spans = Runs::default();
            for _ in 0..ROUNDS {
                let round = one_run(&mut swarm, &mut builders, &content, first, 1, RESULTS);
                spans.append(round.to_job);
                first += RESULTS;
            }
            let took = began.elapsed().as_secs_f64();
            let [p50, p99, busy] = &mut figures[usize::from(with)];
            p50.push(spans.quantile(0.5));
            p99.push(spans.quantile(0.99));
            busy.push((hub.cpu_s() - cpu) / took * 100.0);
            if let Some(readers) = readers {
                let (events, bytes) = readers.told();
                let (events, mib) = (events - before.0, (bytes - before.1) as f64 / f64::from(1 << 20));
                println!("pages: {READERS} readers were told {events} events, {mib:.1} MiB, in {took:.1} s");
            }
        }
    }
    let mut table = Table::new(
        "Ready to Job while people look at pages: 10,000 packages wait, 1,000 builders; ms, median of 3 to 5 runs (smallest to largest)",
        &["open pages", "p50", "p99", "hub's CPU, %"],
    );
    for (name, [p50, p99, busy]) in ["0", "200, and one loaded a second"].iter().zip(&figures) {
        table.row([(*name).to_owned(), p50.text(2), p99.text(2), busy.text(0)]);
    }
    table.print();
    let [without, with] = &figures;
    for (at, name) in ["p50", "p99"].iter().enumerate() {
        let what = format!("Ready to Job with 200 open pages, {name}");
        summary.add(&what, (&with[at], 2, "ms"), Some(("nobody looks", &without[at])), None);
    }
}
