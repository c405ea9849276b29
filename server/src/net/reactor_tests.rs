//! The reactor over real loopback sockets, against a small client made of the real channel.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream as StdStream;
use std::thread::JoinHandle;

use moji_proto::channel::{Channel, Connect, Event as ChannelEvent};
use moji_proto::hello::{Role, Versions};
use moji_proto::message::{Backend, FromBuilder, FromOperator, Health, Message, ToBuilder, ToOperator};
use moji_proto::refusal::Refusal;
use moji_proto::{Bytes, Digest, LeaseId, Line};
use nix::sys::resource::{Resource, setrlimit};
use socket2::{Domain, Socket, Type};

use super::*;
use crate::actors::{Inboxes, channels};
use crate::clock::Real;
use crate::core::transfers;
use crate::core::types::BuilderInfo;
use crate::net::{Handle, SESSION_BACKLOG_BYTES, listen, wire};

#[path = "reactor_tests/desk.rs"]
mod desk;

/// A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const LEASE: LeaseId = LeaseId { incarnation: 1, counter: 1 };

fn psk(byte: u8) -> Psk {
    Psk::from_bytes([byte; 32])
}

fn config() -> Config {
    Config {
        key: SecretKey::from_bytes([3; 32]),
        secrets: Secrets { builder: vec![psk(1)], operator: vec![psk(2)] },
        builders: None,
        pending_max: PENDING_MAX,
        clocks: Clocks::default(),
    }
}

/// A reactor in a thread, and what actors would hear.
struct Hub {
    addr: SocketAddr,
    handle: Handle,
    inboxes: Inboxes,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Hub {
    fn start(config: Config) -> Hub {
        Hub::prepare(config).0.running()
    }

    /// Listens, but does not run yet.
    fn prepare(config: Config) -> (Waiting, SocketAddr) {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let (handle, inbox) = wire().unwrap();
        let (peers, inboxes) = channels(handle.clone());
        let reactor = Reactor::new(config, vec![listener], inbox, peers, Arc::new(Real::default())).unwrap();
        (Waiting { reactor, hub: Hub { addr, handle, inboxes, thread: None } }, addr)
    }

    fn leases(&self) -> leases::Msg {
        self.inboxes.leases.recv_timeout(PATIENCE).unwrap()
    }

    fn connected(&self) -> (SessionId, BuilderInfo) {
        match self.leases() {
            leases::Msg::Connected { session, info, .. } => (session, info),
            other => panic!("{other:?}"),
        }
    }

    fn disconnected(&self) -> SessionId {
        match self.leases() {
            leases::Msg::Disconnected { session } => session,
            other => panic!("{other:?}"),
        }
    }

    /// A registered builder.
    fn builder(&self, key: u8, instance: u64) -> (Client, SessionId) {
        let mut client = Client::open(self.addr, Role::Builder, key, psk(1));
        client.say(&register(instance));
        let (session, _) = self.connected();
        (client, session)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.handle.command(Command::Shutdown);
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.unwrap().unwrap();
            }
        }
    }
}

struct Waiting {
    reactor: Reactor,
    hub: Hub,
}

impl Waiting {
    fn running(self) -> Hub {
        let Waiting { reactor, mut hub } = self;
        hub.thread = Some(std::thread::spawn(|| reactor.run()));
        hub
    }
}

/// The other end.
struct Client {
    stream: StdStream,
    channel: Channel,
    input: Vec<u8>,
}

impl Client {
    /// Connects and shakes hands.
    fn open(addr: SocketAddr, role: Role, key: u8, psk: Psk) -> Client {
        Client::greet(patient(StdStream::connect(addr).unwrap()), role, key, psk)
    }

    fn greet(stream: StdStream, role: Role, key: u8, psk: Psk) -> Client {
        let mut out = Vec::new();
        let key = SecretKey::from_bytes([key; 32]);
        let connect = Connect { role, versions: Versions::OURS, key: &key, psk, hub_key: None };
        let channel = Channel::connect(connect, &mut out);
        let mut client = Client { stream, channel, input: Vec::new() };
        client.stream.write_all(&out).unwrap();
        let event = client.event();
        assert!(matches!(event, Some(ChannelEvent::Established { .. })), "{event:?}");
        client
    }

    /// The next event; None when the hub hung up.
    fn event(&mut self) -> Option<ChannelEvent> {
        let mut buffer = [0; 4_096];
        loop {
            let mut out = Vec::new();
            let (taken, event) = self.channel.receive(&self.input, &mut out).unwrap();
            self.input.drain(..taken);
            self.stream.write_all(&out).unwrap();
            if event.is_some() {
                return event;
            }
            let count = self.stream.read(&mut buffer).unwrap();
            if count == 0 {
                return None;
            }
            self.input.extend_from_slice(&buffer[..count]);
        }
    }

    fn say(&mut self, message: &impl Message) {
        let mut out = Vec::new();
        self.channel.send(message, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    fn hear<M: Message>(&mut self) -> Option<M> {
        match self.event() {
            Some(ChannelEvent::Record(bytes)) => Some(M::decode(&bytes).unwrap()),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    /// The hub said this and hung up.
    fn rejected(&mut self, code: RejectCode) {
        assert_eq!(self.hear(), Some(ToBuilder::Reject { code }));
        assert_eq!(self.hear::<ToBuilder>(), None);
    }

    fn pong(&mut self) {
        self.say(&FromBuilder::Ping { health: Health::default() });
        assert_eq!(self.hear(), Some(ToBuilder::Pong));
    }
}

fn patient(stream: StdStream) -> StdStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Connects from this address of loopback's network.
fn connect_from(addr: SocketAddr, from: &str) -> StdStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    patient(socket.into())
}

/// All that the hub says before it hangs up.
fn last_words(stream: &mut StdStream) -> Vec<u8> {
    let mut words = Vec::new();
    stream.read_to_end(&mut words).unwrap();
    words
}

fn register(instance: u64) -> FromBuilder {
    FromBuilder::Register {
        name: FileName::new(format!("b{instance}")).unwrap(),
        instance,
        arch: FileName::new("armv5tel").unwrap(),
        version: FileName::new("0.1.0").unwrap(),
        cfg: Line::lossy("mini"),
        cfg_digest: Digest::of(b""),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 128,
        disk_free_mib: 4_000,
        clock_unix_s: 1,
        setup: Line::default(),
        weak: false,
        held: 0,
    }
}

fn data(bytes: usize) -> FromBuilder {
    FromBuilder::Data { lease: LEASE, file: 0, offset: 0, bytes: Bytes(vec![1; bytes]) }
}

#[test]
fn a_builder_comes_is_heard_is_told_and_goes() {
    let hub = Hub::start(config());
    let mut client = Client::open(hub.addr, Role::Builder, 9, psk(1));
    client.say(&register(5));
    let (session, info) = hub.connected();
    assert_eq!(info.id, SecretKey::from_bytes([9; 32]).public());
    assert_eq!(info.peer, client.stream.local_addr().unwrap().ip());
    client.say(&FromBuilder::Ready);
    assert!(matches!(hub.leases(), leases::Msg::Ready { session: got } if got == session));
    client.say(&data(1_000));
    let msg = hub.inboxes.transfers.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(msg, transfers::Msg::FromBuilder { session: got, .. } if got == session), "{msg:?}");
    hub.handle.send(SessionId(session.0 + 1_000), ToBuilder::Exit);
    hub.handle.send(session, ToBuilder::Drain);
    assert_eq!(client.hear(), Some(ToBuilder::Drain));
    client.pong();
    assert!(matches!(hub.leases(), leases::Msg::Health { .. }));
    drop(client);
    assert_eq!(hub.disconnected(), session);
}

#[test]
fn an_actor_can_end_a_session_and_leases_hear_of_it_once() {
    let hub = Hub::start(config());
    let (mut client, session) = hub.builder(1, 1);
    hub.handle.close(session, RejectCode::NotYours);
    client.rejected(RejectCode::NotYours);
    assert_eq!(hub.disconnected(), session);
    drop(client);
    hub.handle.close(session, RejectCode::NotYours);
    let (_client, next) = hub.builder(1, 1);
    assert_ne!(next, session);
}

#[test]
fn a_wrong_secret_and_a_stranger_read_why() {
    let hub = Hub::start(config());
    for (role, secret) in [(Role::Builder, psk(7)), (Role::Operator, psk(1))] {
        let mut client = Client::open(hub.addr, role, 1, secret);
        assert_eq!(last_words(&mut client.stream), [0, 0, 5]);
    }
    let mut stream = patient(StdStream::connect(hub.addr).unwrap());
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(last_words(&mut stream), [0, 0, 8]);
    assert!(hub.inboxes.leases.is_empty());
}

#[test]
fn secrets_can_change_and_without_any_loopback_is_served() {
    let hub = Hub::start(config());
    hub.handle.command(Command::Secrets(Secrets::default()));
    for role in [Role::Operator, Role::Builder] {
        let mut client = Client::open(hub.addr, role, 1, Psk::NONE);
        match role {
            Role::Operator => {
                client.say(&hail());
                client.say(&FromOperator::Ping);
                assert_eq!(client.hear(), Some(ToOperator::Pong));
            }
            Role::Builder => {
                client.say(&register(1));
                hub.connected();
            }
        }
    }
    // A builder's secret alone opens nothing to operators.
    hub.handle.command(Command::Secrets(Secrets { builder: vec![psk(1)], operator: Vec::new() }));
    let mut client = Client::open(hub.addr, Role::Operator, 1, Psk::NONE);
    assert_eq!(last_words(&mut client.stream), [0, 0, 5]);
}

#[test]
fn of_two_connections_of_one_builder_the_new_one_stays() {
    let hub = Hub::start(config());
    let (mut other, _) = hub.builder(2, 1);
    let (mut old, old_session) = hub.builder(1, 1);
    let mut new = Client::open(hub.addr, Role::Builder, 1, psk(1));
    new.say(&register(1));
    assert_eq!(hub.disconnected(), old_session, "the end of the old one comes first");
    let (new_session, _) = hub.connected();
    assert_ne!(new_session, old_session);
    old.rejected(RejectCode::Replaced);
    new.pong();
    other.pong();
}

#[test]
fn two_hosts_with_one_key_are_both_refused_and_nobody_else_is() {
    let hub = Hub::start(config());
    let (mut other, _) = hub.builder(2, 9);
    let (mut a, _) = hub.builder(1, 10);
    let mut b = Client::open(hub.addr, Role::Builder, 1, psk(1));
    b.say(&register(20));
    a.rejected(RejectCode::Replaced);
    hub.disconnected();
    let (b_session, _) = hub.connected();
    let mut a = Client::open(hub.addr, Role::Builder, 1, psk(1));
    a.say(&register(10));
    a.rejected(RejectCode::Cloned);
    b.rejected(RejectCode::Cloned);
    assert_eq!(hub.disconnected(), b_session);
    Client::open(hub.addr, Role::Builder, 1, psk(1)).rejected(RejectCode::Cloned);
    other.pong();
    assert!(matches!(hub.leases(), leases::Msg::Health { .. }));
    assert!(hub.inboxes.leases.is_empty());
}

#[test]
fn only_listed_builders_are_served_and_a_removed_one_goes_at_once() {
    let key = |byte| SecretKey::from_bytes([byte; 32]).public();
    let hub = Hub::start(Config { builders: Some(vec![key(1), key(2)]), ..config() });
    Client::open(hub.addr, Role::Builder, 3, psk(1)).rejected(RejectCode::NotListed);
    let (mut stays, _) = hub.builder(1, 1);
    let (mut goes, session) = hub.builder(2, 1);
    let mut late = Client::open(hub.addr, Role::Builder, 2, psk(1));
    hub.handle.command(Command::Builders(Some(vec![key(1)])));
    goes.rejected(RejectCode::NotListed);
    assert_eq!(hub.disconnected(), session);
    late.say(&register(1));
    late.rejected(RejectCode::NotListed);
    stays.pong();
}

#[test]
fn when_too_many_wait_the_oldest_of_the_greediest_address_goes() {
    let hub = Hub::start(Config { pending_max: 3, ..config() });
    let mut first = connect_from(hub.addr, "127.0.0.2");
    let mut greedy = connect_from(hub.addr, "127.0.0.3");
    let greedy_too = connect_from(hub.addr, "127.0.0.3");
    let stream = connect_from(hub.addr, "127.0.0.4");
    assert_eq!(last_words(&mut greedy), Refusal::Full.to_bytes());
    // Whoever registers makes room, and its address goes last from now on.
    let mut client = Client::greet(stream, Role::Builder, 1, psk(1));
    client.say(&register(1));
    hub.connected();
    let known = connect_from(hub.addr, "127.0.0.4");
    let _known_too = connect_from(hub.addr, "127.0.0.4");
    assert_eq!(last_words(&mut first), Refusal::Full.to_bytes());
    client.pong();
    // And nobody else had to go.
    Client::greet(greedy_too, Role::Builder, 3, psk(1));
    Client::greet(known, Role::Builder, 4, psk(1));
}

#[test]
fn who_is_in_the_middle_of_a_handshake_stays_and_the_next_one_waits() {
    let clocks = Clocks { handshake_ms: 600_000, ..Clocks::default() };
    let hub = Hub::start(Config { pending_max: 1, clocks, ..config() });
    let slow = connect_from(hub.addr, "127.0.0.2");
    let waiting: Vec<_> = (3..9).map(|n| connect_from(hub.addr, &format!("127.0.0.{n}"))).collect();
    let mut served = Client::greet(slow, Role::Builder, 1, psk(1));
    served.say(&register(1));
    hub.connected();
    let mut all = vec![served];
    for (key, stream) in (2..).zip(waiting) {
        let mut next = Client::greet(stream, Role::Builder, key, psk(1));
        next.say(&register(1));
        hub.connected();
        all.push(next);
    }
    all.iter_mut().for_each(Client::pong);
}

#[test]
fn without_a_descriptor_peers_are_refused_and_served_again_later() {
    const CHILD: &str = "MOJI_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(CHILD).is_none() {
        // A process of its own, because the limit is the whole process's.
        let name = "net::reactor::tests::without_a_descriptor_peers_are_refused_and_served_again_later";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("1 passed"), "{text}");
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, 60, 64).unwrap();
    let (waiting, addr) = Hub::prepare(config());
    // They wait in the backlog until the reactor runs.
    let mut clients: Vec<_> = (0..8).map(|_| patient(StdStream::connect(addr).unwrap())).collect();
    let mut fillers: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    fillers.truncate(fillers.len() - 3);
    let hub = waiting.running();
    for client in &mut clients[3..] {
        assert_eq!(last_words(client), Refusal::Full.to_bytes());
    }
    let mut served = Client::greet(clients.swap_remove(0), Role::Builder, 1, psk(1));
    served.say(&register(1));
    hub.connected();
    drop((fillers, clients));
    let (mut late, _) = hub.builder(2, 2);
    late.pong();
    served.pong();
}

#[test]
fn peers_that_fall_silent_are_dropped() {
    let clocks = Clocks { handshake_ms: 100, silence_ms: 300, ..Clocks::default() };
    let hub = Hub::start(Config { clocks, ..config() });
    let mut mute = patient(StdStream::connect(hub.addr).unwrap());
    assert!(last_words(&mut mute).is_empty());
    let mut half = Client::open(hub.addr, Role::Builder, 1, psk(1));
    half.rejected(RejectCode::Silence);
    let (mut client, session) = hub.builder(2, 1);
    client.rejected(RejectCode::Silence);
    assert_eq!(hub.disconnected(), session);
}

#[test]
fn a_session_whose_messages_wait_is_not_read_until_they_are_dealt_with() {
    let hub = Hub::start(config());
    let (mut greedy, session) = hub.builder(1, 1);
    let (mut other, _) = hub.builder(2, 2);
    const PIECES: usize = 320;
    let sender = std::thread::spawn(move || {
        for _ in 0..PIECES {
            greedy.say(&data(32_000));
        }
        greedy.pong();
    });
    let transfers = &hub.inboxes.transfers;
    let mut got = 0;
    while (got as u32) < SESSION_BACKLOG_BYTES {
        transfers.recv_timeout(PATIENCE).unwrap();
        got += 32_000;
    }
    // The others are served meanwhile, in as many turns as the rest would have taken.
    for _ in 0..PIECES {
        other.pong();
    }
    assert!(transfers.len() <= READ_BYTES / 32_000 + 1, "{} more were read", transfers.len());
    hub.handle.consumed(session, got as u32);
    for _ in got / 32_000..PIECES {
        transfers.recv_timeout(PATIENCE).unwrap();
        hub.handle.consumed(session, 32_000);
    }
    sender.join().unwrap();
}

#[test]
fn a_large_transfer_arrives_whole_and_in_order() {
    let hub = Hub::start(config());
    let (mut client, session) = hub.builder(1, 1);
    for offset in 0..500 {
        let bytes = Bytes(vec![offset as u8; 32_000]);
        hub.handle.send(session, ToBuilder::Data { lease: LEASE, offset, bytes });
    }
    for want in 0..500 {
        match client.hear() {
            Some(ToBuilder::Data { offset, bytes, .. }) => {
                assert_eq!((offset, bytes), (want, Bytes(vec![want as u8; 32_000])));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn hail() -> FromOperator {
    let line = Line::lossy;
    FromOperator::Hail { user: line("wolf"), host: line("desk"), version: FileName::new("0.1.0").unwrap() }
}

#[test]
fn a_shutdown_is_told_to_all_and_closes_the_port() {
    let mut hub = Hub::start(config());
    let (mut client, _) = hub.builder(1, 1);
    let mut stranger = patient(StdStream::connect(hub.addr).unwrap());
    let mut operator = Client::open(hub.addr, Role::Operator, 2, psk(2));
    operator.say(&hail());
    operator.say(&FromOperator::Ping);
    assert_eq!(operator.hear(), Some(ToOperator::Pong));
    hub.handle.command(Command::Shutdown);
    client.rejected(RejectCode::ShuttingDown);
    assert_eq!(operator.hear(), Some(ToOperator::Reject { code: RejectCode::ShuttingDown }));
    assert!(last_words(&mut stranger).is_empty());
    // One peer does not hang up: the reactor ends all the same.
    hub.thread.take().unwrap().join().unwrap().unwrap();
    // Leases stay as a crash would leave them: nobody's attempt is charged for a restart.
    assert!(hub.inboxes.leases.try_recv().is_err());
    assert!(StdStream::connect(hub.addr).is_err());
}
