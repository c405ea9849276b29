//! A TCP proxy on loopback that breaks connections on command.
//!
//! A test puts it between builders and hub. Two threads a connection copy bytes, one a
//! direction; before each write they ask the shared [`Rules`] what may pass. A cut shuts both
//! sockets down, which ends the threads' reads, so that no thread ever polls.
//!
//! Owns its threads and sockets; must never change a byte that it lets through.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes read at once: some records of the protocol, so that a throughput test stays honest.
const CHUNK_BYTES: usize = 64 * 1024;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a builder to the hub.
    ToHub,
    /// From the hub to a builder.
    ToBuilder,
}

/// What holds for one direction.
#[derive(Debug, Default)]
struct Lane {
    /// Bytes let through since the proxy began.
    passed: u64,
    /// The connection that would carry the byte after this many is cut instead.
    trip_at: Option<u64>,
}

/// Everything a test can order, and what came of it.
#[derive(Debug)]
struct Rules {
    upstream: SocketAddr,
    to_hub: Lane,
    to_builder: Lane,
    stalled: bool,
    refusing: bool,
    closing: bool,
    delay: Duration,
    /// Most bytes that are written at once; 0: as they came.
    piece: usize,
    accepted: usize,
    trips: usize,
    live: Vec<Pair>,
}

/// Both sockets of one connection.
#[derive(Debug)]
struct Pair {
    id: usize,
    builder: TcpStream,
    hub: TcpStream,
}

impl Pair {
    fn cut(&self) {
        // Fails only when the other side has gone already.
        let _ = self.builder.shutdown(Shutdown::Both);
        let _ = self.hub.shutdown(Shutdown::Both);
    }
}

impl Rules {
    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::ToHub => &mut self.to_hub,
            Direction::ToBuilder => &mut self.to_builder,
        }
    }

    fn cut_all(&mut self) {
        for pair in self.live.drain(..) {
            pair.cut();
        }
    }

    fn cut_one(&mut self, id: usize) {
        if let Some(at) = self.live.iter().position(|pair| pair.id == id) {
            self.live.remove(at).cut();
        }
    }
}

#[derive(Debug)]
struct Shared {
    rules: Mutex<Rules>,
    changed: Condvar,
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().expect("no thread panics while it holds the rules")
    }
}

/// A proxy in front of one address; ends, with all its connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `upstream`.
    ///
    /// # Panics
    /// When no loopback socket can be had.
    pub fn new(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let rules = Rules {
            upstream,
            to_hub: Lane::default(),
            to_builder: Lane::default(),
            stalled: false,
            refusing: false,
            closing: false,
            delay: Duration::ZERO,
            piece: 0,
            accepted: 0,
            trips: 0,
            live: Vec::new(),
        };
        let shared = Arc::new(Shared { rules: Mutex::new(rules), changed: Condvar::new() });
        let inner = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new()
            .name("proxy".into())
            .spawn(move || accept(&listener, &inner))
            .expect("a thread can be started");
        Self { addr, shared, acceptor: Some(acceptor) }
    }

    /// The address to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// New connections go to `upstream` from now on.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.shared.rules().upstream = upstream;
    }

    /// Cuts every connection now; new ones are welcome.
    pub fn cut(&self) {
        self.shared.rules().cut_all();
        self.shared.changed.notify_all();
    }

    /// While true, new connections are closed at once.
    pub fn refuse(&self, refuse: bool) {
        self.shared.rules().refusing = refuse;
    }

    /// While true nothing passes in either direction, and nobody is told.
    pub fn stall(&self, stall: bool) {
        self.shared.rules().stalled = stall;
        self.shared.changed.notify_all();
    }

    /// Every chunk waits this long before it passes.
    pub fn delay(&self, delay: Duration) {
        self.shared.rules().delay = delay;
    }

    /// Nothing longer than `bytes` is written at once from now on, each as a packet of its own.
    pub fn pieces(&self, bytes: usize) {
        self.shared.rules().piece = bytes;
    }

    /// Lets `bytes` more through in that direction, then cuts the connection that carries the
    /// next one. Works once; [`Proxy::trips`] counts.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        let mut rules = self.shared.rules();
        let lane = rules.lane(direction);
        lane.trip_at = Some(lane.passed + bytes);
    }

    /// Bytes let through in that direction since the proxy began.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.rules().lane(direction).passed
    }

    /// Connections accepted since the proxy began, refused ones too.
    pub fn connections(&self) -> usize {
        self.shared.rules().accepted
    }

    /// Connections open now.
    pub fn live(&self) -> usize {
        self.shared.rules().live.len()
    }

    /// How often a `cut_after` came true.
    pub fn trips(&self) -> usize {
        self.shared.rules().trips
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut rules = self.shared.rules();
            rules.closing = true;
            rules.cut_all();
        }
        self.shared.changed.notify_all();
        // Wakes the acceptor out of accept(), which then sees `closing`.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut pumps = Vec::new();
    for stream in listener.incoming() {
        let Ok(builder) = stream else { continue };
        let upstream = {
            let mut rules = shared.rules();
            if rules.closing {
                break;
            }
            rules.accepted += 1;
            (!rules.refusing).then_some(rules.upstream)
        };
        // A refused or failed connection ends as `builder` is dropped.
        let Some(Ok(hub)) = upstream.map(TcpStream::connect) else {
            continue;
        };
        pumps.extend(start(builder, hub, shared));
    }
    for pump in pumps {
        let _ = pump.join();
    }
}

fn start(builder: TcpStream, hub: TcpStream, shared: &Arc<Shared>) -> [JoinHandle<()>; 2] {
    let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor can be duplicated");
    let id = {
        let mut rules = shared.rules();
        let id = rules.accepted;
        let pair = Pair { id, builder: copy(&builder), hub: copy(&hub) };
        if rules.closing {
            pair.cut();
        }
        rules.live.push(pair);
        id
    };
    let spawn = |from: TcpStream, to: TcpStream, direction: Direction| {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            pump(from, to, direction, id, &shared);
            shared.rules().cut_one(id);
        })
    };
    [spawn(copy(&builder), copy(&hub), Direction::ToHub), spawn(hub, builder, Direction::ToBuilder)]
}

/// Copies one direction until an end closes or the rules cut it. A half-close ends both
/// directions: the protocol does not use it.
fn pump(mut from: TcpStream, mut to: TcpStream, way: Direction, id: usize, shared: &Shared) {
    let mut buffer = vec![0; CHUNK_BYTES];
    // Fails only on a connection that has gone already.
    let _ = to.set_nodelay(true);
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer) else {
            return;
        };
        let (allowed, trip) = admit(shared, way, id, length);
        let piece = match shared.rules().piece {
            0 => CHUNK_BYTES,
            piece => piece,
        };
        if buffer[..allowed].chunks(piece).any(|piece| to.write_all(piece).is_err()) || trip {
            return;
        }
    }
}

/// Waits as the rules demand; how many of `length` bytes may pass, and whether the connection
/// is to be cut after them.
fn admit(shared: &Shared, way: Direction, id: usize, length: usize) -> (usize, bool) {
    let mut rules = shared.rules();
    let arrived = Instant::now();
    loop {
        if rules.closing || !rules.live.iter().any(|pair| pair.id == id) {
            return (0, true);
        }
        let rest = rules.delay.saturating_sub(arrived.elapsed());
        rules = if rules.stalled {
            shared.changed.wait(rules).expect("no thread panics while it holds the rules")
        } else if rest > Duration::ZERO {
            let woken = shared.changed.wait_timeout(rules, rest);
            woken.expect("no thread panics while it holds the rules").0
        } else {
            break;
        };
    }
    let lane = rules.lane(way);
    let room = lane.trip_at.map_or(u64::MAX, |at| at - lane.passed);
    let allowed = length.min(usize::try_from(room).unwrap_or(usize::MAX));
    lane.passed += allowed as u64;
    let trip = allowed < length;
    if trip {
        lane.trip_at = None;
        rules.trips += 1;
    }
    (allowed, trip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::poll_until;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A proxy in front of a server that sends everything back.
    fn echo() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut writer = stream.try_clone().expect("a copy");
                    let _ = std::io::copy(&mut &stream, &mut writer);
                    // The proxy must see the end although this test holds no other copy.
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Proxy::new(addr)
    }

    fn client(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.addr()).expect("connects");
        stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
        stream
    }

    fn echoed(stream: &mut TcpStream, bytes: &[u8]) -> bool {
        let mut back = vec![0; bytes.len()];
        stream.write_all(bytes).is_ok() && stream.read_exact(&mut back).is_ok() && back == bytes
    }

    /// True when the other side is gone, whether by an end of file or a reset.
    fn is_cut(stream: &mut TcpStream) -> bool {
        match stream.read(&mut [0]) {
            Ok(length) => length == 0,
            Err(why) => why.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    #[test]
    fn bytes_pass_and_are_counted() {
        let proxy = echo();
        let mut stream = client(&proxy);
        let big = vec![7; 300_000];
        stream.write_all(&big[..1]).expect("writes");
        let mut one = [0];
        stream.read_exact(&mut one).expect("comes back");
        assert!(echoed(&mut stream, b"hello"));
        assert_eq!((proxy.bytes(Direction::ToHub), proxy.bytes(Direction::ToBuilder)), (6, 6));
        assert_eq!((proxy.connections(), proxy.live()), (1, 1));
    }

    #[test]
    fn a_cut_ends_all_connections_and_a_new_one_works() {
        let proxy = echo();
        let mut streams = [client(&proxy), client(&proxy)];
        assert!(streams.iter_mut().all(|stream| echoed(stream, b"x")));
        proxy.cut();
        assert!(streams.iter_mut().all(is_cut));
        assert!(echoed(&mut client(&proxy), b"again"));
    }

    #[test]
    fn a_trip_lets_exactly_that_many_bytes_through() {
        let proxy = echo();
        let mut stream = client(&proxy);
        assert!(echoed(&mut stream, b"12345"));
        proxy.cut_after(Direction::ToHub, 3);
        stream.write_all(b"abcdef").expect("writes");
        assert!(poll_until(LIMIT, || proxy.trips() == 1));
        assert_eq!(proxy.bytes(Direction::ToHub), 8);
        assert!(poll_until(LIMIT, || proxy.live() == 0));
        assert!(echoed(&mut client(&proxy), b"a trip works once"));
    }

    #[test]
    fn a_stall_holds_bytes_back_until_it_ends() {
        let proxy = echo();
        let mut stream = client(&proxy);
        assert!(echoed(&mut stream, b"x"));
        proxy.stall(true);
        stream.write_all(b"held").expect("writes");
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        assert!(stream.read(&mut [0; 4]).is_err());
        assert_eq!(proxy.bytes(Direction::ToHub), 1);
        proxy.stall(false);
        stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
        let mut back = [0; 4];
        stream.read_exact(&mut back).expect("comes back");
        assert_eq!(&back, b"held");
    }

    #[test]
    fn a_delay_is_felt_in_both_directions() {
        let proxy = echo();
        let mut stream = client(&proxy);
        proxy.delay(Duration::from_millis(60));
        let began = Instant::now();
        assert!(echoed(&mut stream, b"slow"));
        assert!(began.elapsed() >= Duration::from_millis(120));
    }

    #[test]
    fn refused_connections_are_closed_until_welcome_again() {
        let proxy = echo();
        proxy.refuse(true);
        assert!(is_cut(&mut client(&proxy)));
        proxy.refuse(false);
        assert!(echoed(&mut client(&proxy), b"welcome"));
        assert_eq!(proxy.connections(), 2);
    }

    #[test]
    fn dropping_a_stalled_proxy_ends_its_connections() {
        let proxy = echo();
        let mut stream = client(&proxy);
        assert!(echoed(&mut stream, b"x"));
        proxy.stall(true);
        stream.write_all(b"never").expect("writes");
        drop(proxy);
        assert!(is_cut(&mut stream));
    }
}
