//! Builders without builds: many connections of the real channel in one thread.
//!
//! Owns sockets, handshakes, `Register` and pings, each builder on a loopback address of its own as boards
//! are. What a builder answers is for each benchmark to say. One that is turned away or cut off tries again
//! after the pause that the real client makes.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use moji_proto::channel::{Channel, Connect, Event};
use moji_proto::hello::{Role, Versions};
use moji_proto::limits::PING_EVERY_MS;
use moji_proto::message::{Backend, FromBuilder, Health, Message as _, Phase, ToBuilder};
use moji_proto::secret::{Psk, SecretKey, random_u64};
use moji_proto::{Digest, FileName, LeaseId, Line, PublicKey};
use socket2::{Domain, Socket, Type};

use crate::hub::{Hub, Quiet};

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;
/// First pause after a connection failed, as in the client; each further one doubles it.
const BACKOFF: Duration = Duration::from_secs(1);

/// A job that a builder tells the hub of when it registers.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) lease: LeaseId,
    pub(crate) srpm: FileName,
    pub(crate) digest: Digest,
}

/// All builders.
pub(crate) struct Swarm {
    poll: Poll,
    addr: SocketAddr,
    psk: Psk,
    hub_key: PublicKey,
    peers: Vec<Peer>,
    buffer: Vec<u8>,
    heard: Vec<ToBuilder>,
    began: Instant,
    /// Pings sent or left out since then.
    pings: usize,
    /// Builders that are registered.
    pub(crate) registered: usize,
    /// Connections that came to nothing.
    pub(crate) failures: usize,
}

struct Peer {
    key: SecretKey,
    instance: u64,
    link: Option<Link>,
    retry_at: Option<Instant>,
    failures: u32,
    registered: bool,
    held: Option<Held>,
}

struct Link {
    stream: TcpStream,
    /// None until the socket is connected: boards compute their handshakes each on a CPU of its own, and ten
    /// thousand of them computed here before the first is served would make the hub wait for us.
    channel: Option<Channel>,
    out: Vec<u8>,
    sent: usize,
}

impl Swarm {
    /// `count` builders that are not connected.
    pub(crate) fn new(hub: &Hub, count: usize) -> Swarm {
        let peer = |_| Peer {
            key: SecretKey::generate(),
            instance: random_u64(),
            link: None,
            retry_at: None,
            failures: 0,
            registered: false,
            held: None,
        };
        Swarm {
            poll: Poll::new().expect("a poll"),
            addr: hub.addr,
            psk: hub.token.secret.clone(),
            hub_key: hub.token.hub_key,
            peers: (0..count).map(peer).collect(),
            buffer: vec![0; READ_BYTES],
            heard: Vec::new(),
            began: Instant::now(),
            pings: 0,
            registered: 0,
            failures: 0,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Has all of them connect at once.
    pub(crate) fn connect_all(&mut self) {
        (0..self.peers.len()).for_each(|i| self.connect(i));
    }

    /// Connects all of them, and returns when the hub knows each.
    pub(crate) fn connect_and_wait(&mut self, limit: Duration) {
        self.connect_all();
        self.run_until(limit, "all builders to be registered", |swarm, _| swarm.registered == swarm.len());
    }

    /// Serves all builders until the hub has nothing left to do, or for `limit` if it always has.
    pub(crate) fn rest(&mut self, hub: &Hub, limit: Duration) {
        let (mut quiet, began) = (Quiet::new(hub.pid()), Instant::now());
        let is_over = || began.elapsed() >= limit;
        self.run_until(2 * limit, "the hub to rest", |_, _| quiet.is_reached() || is_over());
        if is_over() {
            println!("bench: the hub was still busy after {limit:?}; figures may be too high");
        }
    }

    /// Drops all connections.
    pub(crate) fn disconnect_all(&mut self) {
        for peer in &mut self.peers {
            (peer.link, peer.retry_at, peer.registered, peer.failures) = (None, None, false, 0);
        }
        (self.registered, self.failures) = (0, 0);
    }

    /// What the builder says that it holds from now on.
    pub(crate) fn hold(&mut self, i: usize, held: Option<Held>) {
        self.peers[i].held = held;
    }

    /// Cuts one builder's connection; it tries again as if the network had done that.
    pub(crate) fn cut(&mut self, i: usize) {
        self.lost(i);
    }

    /// Whether the builder is registered.
    pub(crate) fn is_registered(&self, i: usize) -> bool {
        self.peers[i].registered
    }

    fn connect(&mut self, i: usize) {
        match self.dial(i) {
            Ok(stream) => {
                let peer = &mut self.peers[i];
                peer.retry_at = None;
                peer.link = Some(Link { stream, channel: None, out: Vec::new(), sent: 0 });
            }
            Err(_) => self.lost(i),
        }
    }

    /// The socket is connected, or failed to: begins the handshake.
    fn begin(&mut self, i: usize) {
        let Swarm { peers, psk, hub_key, .. } = self;
        let peer = &mut peers[i];
        let Some(link) = peer.link.as_mut().filter(|link| link.channel.is_none()) else { return };
        let connect = Connect {
            role: Role::Builder,
            versions: Versions::OURS,
            key: &peer.key,
            psk: psk.clone(),
            hub_key: Some(*hub_key),
        };
        link.channel = Some(Channel::connect(connect, &mut link.out));
    }

    /// From 127.1.0.1 on, one address a builder.
    fn dial(&self, i: usize) -> io::Result<TcpStream> {
        let number = u32::try_from(i).expect("a few thousand builders");
        let own = Ipv4Addr::from(0x7f01_0001 + number / 250 * 256 + number % 250);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&SocketAddr::new(own.into(), 0).into())?;
        match socket.connect(&self.addr.into()) {
            Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
                return Err(error);
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(i), Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    /// The connection came to nothing: another one after a while.
    fn lost(&mut self, i: usize) {
        let peer = &mut self.peers[i];
        peer.link = None;
        self.registered -= usize::from(std::mem::take(&mut peer.registered));
        self.failures += 1;
        let pause = BACKOFF * 2u32.pow(peer.failures.min(6));
        peer.failures += 1;
        // Half of it is jitter, but never less than a second.
        let pause = pause.mul_f64(0.5 + (random_u64() % 512) as f64 / 1024.0).max(BACKOFF);
        peer.retry_at = Some(Instant::now() + pause);
    }

    /// Says something to the hub; nothing if the builder is not connected.
    pub(crate) fn say(&mut self, i: usize, message: &FromBuilder) {
        if let Some(Link { channel: Some(channel), out, .. }) = &mut self.peers[i].link {
            channel.send(message, out).expect("an established channel takes messages");
        }
        self.flush(i);
    }

    fn flush(&mut self, i: usize) {
        let Some(link) = &mut self.peers[i].link else { return };
        while link.sent < link.out.len() {
            match link.stream.write(&link.out[link.sent..]) {
                Ok(count) => link.sent += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.lost(i),
            }
        }
        link.sent = 0;
        link.out.clear();
    }

    /// Serves all builders until `step` says that it is enough. It is called with everything that a builder
    /// hears, and once a turn with nothing; only then its answer counts.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        what: &str,
        mut step: impl FnMut(&mut Swarm, Option<(usize, ToBuilder)>) -> bool,
    ) {
        let by = Instant::now() + limit;
        let mut events = Events::with_capacity(1_024);
        while !step(self, None) {
            assert!(
                Instant::now() < by,
                "waited {limit:?} in vain for {what}; {} of {} registered, {} attempts failed",
                self.registered,
                self.len(),
                self.failures
            );
            self.turn(&mut events, &mut step);
        }
    }

    fn turn(
        &mut self,
        events: &mut Events,
        step: &mut impl FnMut(&mut Swarm, Option<(usize, ToBuilder)>) -> bool,
    ) {
        match self.poll.poll(events, Some(Duration::from_millis(2))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("the poll failed: {error}"),
            _ => {}
        }
        for event in events.iter() {
            let i = event.token().0;
            if event.is_writable() {
                self.begin(i);
                self.flush(i);
            }
            if event.is_readable() {
                self.read(i, step);
            }
        }
        if self.failures > 0 {
            let now = Instant::now();
            let due = |peer: &Peer| peer.retry_at.is_some_and(|at| at <= now);
            let due: Vec<usize> = (0..self.peers.len()).filter(|i| due(&self.peers[*i])).collect();
            due.into_iter().for_each(|i| self.connect(i));
        }
        self.ping();
    }

    /// Keeps up with one ping a builder every 20 s, evenly spread.
    fn ping(&mut self) {
        let rounds = self.began.elapsed().as_millis() as f64 / PING_EVERY_MS as f64;
        let due = (rounds * self.peers.len() as f64) as usize;
        for number in self.pings..due {
            let i = number % self.peers.len();
            if self.peers[i].registered {
                self.say(i, &FromBuilder::Ping { health: Health::default() });
            }
        }
        self.pings = due;
    }

    fn read(&mut self, i: usize, step: &mut impl FnMut(&mut Swarm, Option<(usize, ToBuilder)>) -> bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(link) = &mut self.peers[i].link {
            match link.stream.read(&mut buffer) {
                Ok(0) => self.lost(i),
                Ok(count) => self.take(i, &buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted) => {}
                Err(_) => self.lost(i),
            }
            let mut heard = std::mem::take(&mut self.heard);
            for heard in heard.drain(..) {
                step(self, Some((i, heard)));
            }
            self.heard = heard;
        }
        self.buffer = buffer;
    }

    fn take(&mut self, i: usize, mut input: &[u8]) {
        while !input.is_empty()
            && let Some(Link { channel: Some(channel), out, .. }) = &mut self.peers[i].link
        {
            let (taken, event) = match channel.receive(input, out) {
                Ok(step) => step,
                Err(_) => return self.lost(i),
            };
            input = &input[taken..];
            match event {
                Some(Event::Established { .. }) => {
                    let register = self.register(i);
                    self.say(i, &register);
                    if let Some(Held { lease, srpm, digest }) = self.peers[i].held.clone() {
                        self.say(i, &FromBuilder::Held { lease, srpm, digest, phase: Phase::Build });
                    }
                }
                Some(Event::Record(record)) => {
                    match ToBuilder::decode(&record).expect("the hub speaks this version") {
                        ToBuilder::Registered { .. } => {
                            self.peers[i].registered = true;
                            self.peers[i].failures = 0;
                            self.registered += 1;
                        }
                        ToBuilder::Reject { code } => panic!("the hub rejected builder {i}: {code}"),
                        ToBuilder::Pong => {}
                        said => self.heard.push(said),
                    }
                }
                Some(Event::Refused(_)) => return self.lost(i),
                None => {}
            }
        }
    }

    fn register(&self, i: usize) -> FromBuilder {
        let name = |text: String| FileName::new(text).expect("a safe name");
        FromBuilder::Register {
            name: name(format!("board-{i}")),
            instance: self.peers[i].instance,
            arch: name("x86_64".to_owned()),
            version: name("0.1.0".to_owned()),
            cfg: Line::lossy("default"),
            cfg_digest: Digest::of(b""),
            backend: Backend::Mock,
            cpus: 2,
            memory_mib: 2_048,
            disk_free_mib: 100_000,
            clock_unix_s: unix_s(),
            setup: Line::default(),
            weak: false,
            held: u8::from(self.peers[i].held.is_some()),
        }
    }
}

fn unix_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
