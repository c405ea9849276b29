//! Ten thousand strangers, who do not have the secret, while honest builders come.
//!
//! Owns the flood and what it costs: memory, and the time until an honest builder is served. `MOJI_STRANGERS` says how
//! many (default 10,000). Must never claim to measure a real network: all of it is loopback on one machine.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use moji_proto::channel::{Channel, Connect, Event};
use moji_proto::hello::{Role, Versions};
use moji_proto::message::{Message, ToBuilder};
use moji_proto::secret::{Secret, SecretKey};
use moji_tests::faults::Tally;
use moji_tests::{Farm, SOON};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::rogue::register;
use crate::{descriptors, honest_builder_goes_on};

/// Threads of strangers.
const THREADS: usize = 4;
/// Each thread looks at its sockets so often.
const ROUND: Duration = Duration::from_millis(250);
/// What the flood may cost the hub, KiB.
const GROWTH_KIB: u64 = 32 * 1024;
/// The aim is 5 s; a machine that is loaded otherwise gets three times that.
const SERVED: Duration = Duration::from_secs(15);
/// Sorts of honest builders: whether their address has authenticated before, and whether they are slow.
const SORTS: [(&str, bool, bool); 4] = [
    ("known", true, false),
    ("new", false, false),
    ("known and slow", true, true),
    ("new and slow", false, true),
];
/// Honest builders of each sort.
const SAMPLES: usize = 5;
/// A board's pause before each of its messages.
const SLOW: Duration = Duration::from_secs(1);

/// What a stranger says first, and how it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Silent,
    Http,
    Tls,
    Ssh,
    HalfHello,
    /// A handshake that costs the hub multiplications on the curve.
    Handshake,
    /// The same with a third message that is none.
    ForgedHandshake,
    SlowBytes,
    Garbage,
    GiantLength,
    WrongVersion,
    WrongRole,
    PortScan,
}

const KINDS: [Kind; 13] = [
    Kind::Silent,
    Kind::Http,
    Kind::Tls,
    Kind::Ssh,
    Kind::HalfHello,
    Kind::Handshake,
    Kind::ForgedHandshake,
    Kind::SlowBytes,
    Kind::Garbage,
    Kind::GiantLength,
    Kind::WrongVersion,
    Kind::WrongRole,
    Kind::PortScan,
];

impl Kind {
    fn words(self, number: usize) -> Vec<u8> {
        let hello = *b"moji\0\x01\0\x02\0\x02\0\0\0\0\0\0";
        let junk =
            |count: usize| -> Vec<u8> { (0..count).map(|i| (i * 31 + number * 7 + 1) as u8).collect() };
        match self {
            Kind::Silent | Kind::PortScan => Vec::new(),
            Kind::Http => b"GET / HTTP/1.1\r\nHost: hub\r\nUser-Agent: curl/8\r\n\r\n".to_vec(),
            Kind::Tls => [b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(), junk(500)].concat(),
            Kind::Ssh => b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
            Kind::HalfHello => hello[..9].to_vec(),
            Kind::SlowBytes => hello[..1].to_vec(),
            Kind::Handshake => [hello.to_vec(), first_message(number)].concat(),
            Kind::ForgedHandshake => [hello.to_vec(), first_message(number), junk(64)].concat(),
            Kind::Garbage => junk(16_000),
            Kind::GiantLength => vec![0xff; 4_096],
            Kind::WrongVersion => {
                [b"moji\0\x01\x7f\0\x7f\x01\0\0\0\0\0\0".to_vec(), first_message(number)].concat()
            }
            Kind::WrongRole => [b"moji\0\x09\0\x02\0\x02\0\0\0\0\0\0".to_vec(), junk(48)].concat(),
        }
    }
}

/// A true first message: an ephemeral key and the tag of nothing, which needs no secret.
fn first_message(number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let key = SecretKey::from_bytes([number as u8; 32]);
    let psk = moji_proto::secret::Psk::from_bytes([7; 32]);
    Channel::connect(
        Connect { role: Role::Builder, versions: Versions::OURS, key: &key, psk, hub_key: None },
        &mut out,
    );
    out.split_off(16)
}

/// One stranger's place: its socket is opened again whenever the hub has closed it.
struct Stranger {
    kind: Kind,
    from: Ipv4Addr,
    words: Arc<Vec<u8>>,
    socket: Option<TcpStream>,
    said: usize,
}

impl Stranger {
    /// Half come from a handful of hosts, half each from an address of its own.
    fn new(thread: usize, number: usize, words: &[Arc<Vec<u8>>]) -> Stranger {
        let part = 10 + thread as u8;
        let from = match number % 2 {
            0 => Ipv4Addr::new(127, part, 0, 1 + (number / 2 % 4) as u8),
            _ => Ipv4Addr::new(127, part, 1 + (number / 250) as u8, 1 + (number % 250) as u8),
        };
        let which = number / 2 % KINDS.len();
        Stranger { kind: KINDS[which], from, words: words[which].clone(), socket: None, said: 0 }
    }

    /// Goes a step on. Says whether it holds a connection.
    fn step(&mut self, hub: SocketAddr) -> bool {
        let Some(socket) = &mut self.socket else {
            self.said = 0;
            self.socket = dial(self.from, hub);
            return self.socket.is_some();
        };
        let end = if self.kind == Kind::SlowBytes { self.said + 1 } else { self.words.len() };
        let rest = self.words.get(self.said..end.min(self.words.len())).unwrap_or_default();
        let mut over = self.kind == Kind::PortScan;
        if !rest.is_empty() {
            match socket.write(rest) {
                Ok(count) => self.said += count,
                Err(error) if is_later(&error) => {}
                Err(_) => over = true,
            }
        }
        match socket.read(&mut [0; 256]) {
            Ok(0) => over = true,
            Ok(_) => {}
            Err(error) if is_later(&error) => {}
            Err(_) => over = true,
        }
        if over {
            self.socket = None;
        }
        !over
    }
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

/// Begins to connect.
fn dial(from: Ipv4Addr, hub: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.bind(&SocketAddr::from((from, 0)).into()).ok()?;
    match socket.connect(&hub.into()) {
        Ok(()) => Some(socket.into()),
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Some(socket.into()),
        Err(_) => None,
    }
}

/// The flood.
struct Flood {
    stop: Arc<AtomicBool>,
    held: Arc<[AtomicUsize; THREADS]>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(hub: SocketAddr, count: usize) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let held: Arc<[AtomicUsize; THREADS]> = Arc::default();
        let words: Vec<_> = KINDS.iter().enumerate().map(|(n, kind)| Arc::new(kind.words(n))).collect();
        let threads = (0..THREADS)
            .map(|thread| {
                let (stop, held, words) = (stop.clone(), held.clone(), words.clone());
                std::thread::spawn(move || {
                    let each = count.div_ceil(THREADS);
                    let mut all: Vec<_> = (0..each).map(|n| Stranger::new(thread, n, &words)).collect();
                    while !stop.load(Ordering::Relaxed) {
                        let begun = Instant::now();
                        let now = all.iter_mut().map(|one| usize::from(one.step(hub))).sum();
                        held[thread].store(now, Ordering::Relaxed);
                        // The flood's own pace, not a hope: a thread that never rests only measures itself.
                        std::thread::sleep(ROUND.saturating_sub(begun.elapsed()).max(ROUND / 2));
                    }
                })
            })
            .collect();
        Flood { stop, held, threads }
    }

    fn held(&self) -> usize {
        self.held.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().expect("a thread of strangers does not panic"));
    }
}

/// An honest builder.
struct Honest {
    stream: TcpStream,
    channel: Channel,
    heard: Vec<ToBuilder>,
}

impl Honest {
    /// Comes from this address and registers; how long that took without its own pauses.
    fn come(
        hub: SocketAddr,
        secret: &Secret,
        from: Ipv4Addr,
        pause: Duration,
    ) -> Result<(Honest, Duration), String> {
        let begun = Instant::now();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).map_err(|error| error.to_string())?;
        socket.bind(&SocketAddr::from((from, 0)).into()).map_err(|error| error.to_string())?;
        socket.connect_timeout(&hub.into(), SOON).map_err(|error| format!("cannot connect: {error}"))?;
        let stream: TcpStream = socket.into();
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        let mut out = Vec::new();
        let key = SecretKey::generate();
        let connect = Connect {
            role: Role::Builder,
            versions: Versions::OURS,
            key: &key,
            psk: secret.psk(),
            hub_key: secret.hub_key(),
        };
        let channel = Channel::connect(connect, &mut out);
        let mut honest = Honest { stream, channel, heard: Vec::new() };
        honest.say(&out, pause)?;
        while !honest.channel.established() {
            out = honest.hear()?;
        }
        honest.say(&out, pause)?;
        let (mut out, mut plain) = (Vec::new(), Vec::new());
        register(7, 0).encode(&mut plain);
        honest.channel.seal(&plain, &mut out).expect("an open channel");
        honest.say(&out, pause)?;
        while !honest.heard.iter().any(|message| matches!(message, ToBuilder::Registered { .. })) {
            honest.hear()?;
        }
        Ok((honest, begun.elapsed().saturating_sub(3 * pause)))
    }

    fn say(&mut self, bytes: &[u8], pause: Duration) -> Result<(), String> {
        // A board's slowness, not a hope.
        std::thread::sleep(pause);
        self.stream.write_all(bytes).map_err(|error| format!("turned away: {error}"))
    }

    /// Reads once; what the channel wants to say to that.
    fn hear(&mut self) -> Result<Vec<u8>, String> {
        let (mut buffer, mut out) = ([0; 4_096], Vec::new());
        let count = self.stream.read(&mut buffer).map_err(|error| format!("not answered: {error}"))?;
        let mut rest = &buffer[..count];
        if rest.is_empty() {
            return Err("hung up on".to_owned());
        }
        while !rest.is_empty() {
            let (taken, event) = self.channel.receive(rest, &mut out).map_err(|error| error.to_string())?;
            rest = &rest[taken..];
            match event {
                Some(Event::Record(plain)) => {
                    self.heard.push(ToBuilder::decode(&plain).map_err(|error| format!("{error:?}"))?);
                }
                Some(Event::Refused(why)) => return Err(format!("refused: {why}")),
                Some(Event::Established { .. }) | None => {}
            }
        }
        Ok(out)
    }

    /// How long a ping takes.
    fn ping(&mut self) -> Result<Duration, String> {
        let begun = Instant::now();
        let (mut out, mut plain) = (Vec::new(), Vec::new());
        moji_proto::message::FromBuilder::Ping { health: Default::default() }.encode(&mut plain);
        self.channel.seal(&plain, &mut out).expect("an open channel");
        self.heard.clear();
        self.say(&out, Duration::ZERO)?;
        while !self.heard.contains(&ToBuilder::Pong) {
            self.hear()?;
        }
        Ok(begun.elapsed())
    }
}

fn rss_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the hub runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

/// Processor time that a process has used.
fn cpu_ms(pid: u32) -> u128 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("the hub runs");
    // The main thread's alone would miss the reactor's: all of them.
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the hub runs").flatten();
    let of = |text: &str| text.split(' ').next().and_then(|ns| ns.parse::<u128>().ok()).unwrap_or(0);
    let all = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    all.map(|text| of(&text)).sum::<u128>().max(of(&text)) / 1_000_000
}

fn p50_and_max(mut times: Vec<Duration>) -> String {
    times.sort();
    let (middle, max) = (times.get(times.len() / 2), times.last());
    match (middle, max) {
        (Some(middle), Some(max)) => format!("p50 {} ms, max {} ms", middle.as_millis(), max.as_millis()),
        _ => "nobody".to_owned(),
    }
}

fn wanted() -> usize {
    let text = std::env::var("MOJI_STRANGERS").unwrap_or_default();
    if text.is_empty() { 10_000 } else { text.parse().expect("MOJI_STRANGERS is a number") }
}

#[test]
fn ten_thousand_strangers_do_not_keep_an_honest_builder_out() {
    let count = wanted();
    let mut tally = Tally::new(
        5,
        "hostile-strangers",
        "strangers without the secret hold or open thousands of connections, from a few addresses and from thousands: \
         silence, HTTP, TLS, SSH, garbage, giant lengths, half and forged handshakes, slow bytes, port scans",
        "the hub grows by less than 32 MB, and an honest builder, fast or slow, known or new, is served within 5 s",
        "cargo test -p moji-tests --test hostile strangers",
    );
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may be as high as the hard one");
    let mut farm = Farm::plan().builders(0).start();
    let (pid, hub) = (farm.hub().pid(), farm.hub_addr());
    let text = fs::read_to_string(farm.path().join("secret")).expect("the farm has a token");
    let secret = Secret::parse(&text).expect("a token");
    let known = Ipv4Addr::new(127, 0, 0, 77);
    let (mut calm, _) = Honest::come(hub, &secret, known, Duration::ZERO).expect("nobody is in its way");
    let (descriptors_before, before) = (descriptors(pid), rss_kib(pid));
    let (begun, cpu_before) = (Instant::now(), cpu_ms(pid));
    let flood = Flood::start(hub, count);
    farm.wait_until("the strangers to be there", SOON, |_| flood.held() > count / 2);
    let (mut most, mut pings, mut turned_away) = (0, Vec::new(), 0);
    let mut times = vec![Vec::new(); SORTS.len()];
    let (said, hear) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for (sort, (_, is_known, is_slow)) in SORTS.into_iter().enumerate() {
            let (said, secret) = (said.clone(), &secret);
            scope.spawn(move || {
                for sample in 0..SAMPLES {
                    let new = Ipv4Addr::new(127, 200, sort as u8, 1 + sample as u8);
                    let from = if is_known { known } else { new };
                    let pause = if is_slow { SLOW } else { Duration::ZERO };
                    let served = Honest::come(hub, secret, from, pause).map(|(_, time)| time);
                    said.send((sort, served)).expect("the test listens");
                }
            });
        }
        drop(said);
        loop {
            // A ping in between, each as soon as the one before is answered and somebody was served or a moment passed.
            match hear.recv_timeout(ROUND) {
                Ok((sort, served)) => {
                    tally.case();
                    let name = SORTS[sort].0;
                    match served {
                        Ok(time) => {
                            tally.holds(time < SERVED, || format!("a {name} builder waited {time:?}"));
                            times[sort].push(time);
                        }
                        Err(why) => {
                            turned_away += 1;
                            tally.violation(format!("a {name} builder was {why}"));
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            most = most.max(rss_kib(pid));
            match calm.ping() {
                Ok(time) => pings.push(time),
                Err(why) => {
                    tally.violation(format!("a builder that was there was {why}"));
                    break;
                }
            }
        }
    });
    let busy = cpu_ms(pid).saturating_sub(cpu_before);
    tally.figure(format!("the hub used {} % of a core", 100 * busy / begun.elapsed().as_millis().max(1)));
    tally.cases(flood.held() as u64);
    tally.figure(format!("{} hostile sockets", flood.held()));
    for ((name, ..), times) in SORTS.iter().zip(times) {
        tally.figure(format!("{name} builder served: {}", p50_and_max(times)));
    }
    tally.figure(format!("ping: {}", p50_and_max(pings)));
    tally.figure(format!("{turned_away} honest builders turned away"));
    let growth = most.saturating_sub(before);
    tally.figure(format!("{} MB more memory", growth.div_ceil(1_024)));
    tally.holds(growth < GROWTH_KIB, || format!("the hub grew from {before} to {most} KiB"));
    flood.end();
    farm.wait_until("the hub to let go of them", SOON, |_| descriptors(pid) <= descriptors_before + 8);
    let lines = farm.hub().log_text().lines().count();
    tally.holds(lines < 3_000, || format!("strangers filled the log with {lines} lines"));
    drop(calm);
    honest_builder_goes_on(&mut farm, pid);
    tally.end();
}
