//! Reactor and desk together, with real files, against an operator's client.

use std::fs;

use crossbeam_channel::{Receiver, Sender, bounded};
use moji_proto::limits::{CHUNK_BYTES_MAX, UPLOAD_WINDOW_BYTES};
use moji_proto::message::{EventKind, Order, ToOperator as R, Which};

use super::*;
use crate::actors;
use crate::core::desk::{Desk, Setup as DeskSetup};
use crate::core::queue::{self, Note};
use crate::core::view::{Event, Reply, View};
use crate::desk::{Setup, Worker};
use crate::history::{History, Reader};
use crate::stage::testdisk::{Faults, TestDisk, folders};

/// A hub of which only reactor and desk run; the test is everybody else.
struct Desks {
    addr: SocketAddr,
    peers: actors::Peers,
    queue: Receiver<queue::Msg>,
    history: Receiver<Note>,
    folders: crate::disk::Folders,
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Desks {
    fn start() -> Desks {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let (handle, inbox) = wire().unwrap();
        let (peers, inboxes) = channels(handle);
        let clock: Arc<Real> = Arc::new(Real::default());
        let reactor = Reactor::new(config(), vec![listener], inbox, peers.clone(), clock.clone()).unwrap();
        let reactor = std::thread::spawn(|| reactor.run().unwrap());
        drop(History::open(&folders.state).unwrap());
        let disk: Arc<TestDisk> = Arc::new(TestDisk(Faults::none()));
        let worker = Worker::new(Setup {
            disk: disk.clone(),
            clock: clock.clone(),
            folders: folders.clone(),
            min_free: None,
            builders: None,
            reload: Box::new(|| Ok(())),
            past: Box::new(Reader::open(disk, folders.clone()).unwrap()),
        });
        let (stop, stopped) = bounded(0);
        let core = Desk::new(DeskSetup::default());
        let desk =
            actors::desk::start(core, Arc::new(worker), None, clock, peers.clone(), inboxes.desk, stopped);
        Desks {
            addr,
            peers,
            queue: inboxes.queue,
            history: inboxes.history,
            folders,
            stop: Some(stop),
            threads: vec![reactor, desk],
            _dir: dir,
        }
    }

    fn operator(&self, key: u8) -> Client {
        let mut client = Client::open(self.addr, Role::Operator, key, psk(2));
        client.say(&hail());
        client
    }

    /// Answers the queue's next message.
    fn answer(&self, view: &View) -> Option<queue::Msg> {
        match self.queue.recv_timeout(PATIENCE).unwrap() {
            queue::Msg::Look => {
                actors::tell(&self.peers.desk, crate::core::desk::Msg::View(Arc::new(view.clone())));
                None
            }
            other => Some(other),
        }
    }

    fn event(&self, event: Event) {
        actors::tell(&self.peers.desk, crate::core::desk::Msg::Event(event));
    }
}

impl Drop for Desks {
    fn drop(&mut self) {
        self.peers.net.command(Command::Shutdown);
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

fn heard(client: &mut Client) -> R {
    client.hear().expect("the hub goes on")
}

fn farm() -> View {
    let mut package = crate::core::desk::sample_package("a-1-1.src.rpm");
    package.row.lease = Some(LEASE);
    package.row.state = moji_proto::message::PackageState::Building;
    View { packages: vec![package], ..View::default() }
}

#[test]
fn an_operator_asks_changes_and_follows_over_a_connection() {
    let hub = Desks::start();
    let mut client = hub.operator(1);
    client.say(&FromOperator::Status);
    assert!(hub.answer(&farm()).is_none());
    assert!(matches!(heard(&mut client), R::Farm(farm) if farm.packages[4] == 1));
    assert!(matches!(heard(&mut client), R::Package(row) if row.srpm.as_str() == "a-1-1.src.rpm"));
    assert_eq!(heard(&mut client), R::End { rows: 2 });
    client.say(&FromOperator::Change { order: Order::Cancel, target: Line::lossy("a"), words: 0 });
    let change = loop {
        match hub.answer(&farm()) {
            Some(queue::Msg::Change(change)) => break change,
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    };
    assert_eq!(change.who, "wolf@desk (127.0.0.1)");
    let replies = vec![Reply::Changed { target: "a-1-1.src.rpm".into(), text: "cancelled".into() }];
    actors::tell(&hub.peers.desk, crate::core::desk::Msg::Replied { ticket: change.ticket, replies });
    assert!(matches!(heard(&mut client), R::Changed { .. }));
    assert_eq!(heard(&mut client), R::End { rows: 1 });
    // Orders that the desk carries out itself are events and are in the history.
    let mut watcher = hub.operator(2);
    let watch = FromOperator::Events { pattern: Line::default(), after: 0, current: true };
    watcher.say(&watch);
    assert!(hub.answer(&farm()).is_none());
    assert!(matches!(heard(&mut watcher), R::Package(_)));
    client.say(&FromOperator::Change { order: Order::First, target: Line::lossy("a-1-1"), words: 0 });
    assert!(matches!(heard(&mut client), R::Changed { .. }));
    assert!(matches!(heard(&mut watcher), R::Event(row) if row.kind == EventKind::Ordered));
    assert!(matches!(hub.history.recv_timeout(PATIENCE).unwrap(), Note::Event(_)));
    assert_eq!(fs::read_to_string(hub.folders.source.join("priority.txt")).unwrap(), "a-1-1.src.rpm\n");
}

#[test]
fn a_log_is_followed_over_a_connection_to_its_end() {
    let hub = Desks::start();
    let live = crate::stage::live_dir(&hub.folders, LEASE);
    fs::create_dir_all(&live).unwrap();
    fs::write(live.join("build.log"), "one\n").unwrap();
    let mut client = hub.operator(1);
    let (package, which) = (Line::lossy("a"), Which::Build);
    client.say(&FromOperator::Log { package, which, attempt: 0, offset: 0, follow: true });
    assert!(hub.answer(&farm()).is_none());
    assert!(matches!(heard(&mut client), R::LogOf { live: true, attempt: 1, .. }));
    assert_eq!(heard(&mut client), R::Log { offset: 0, bytes: Bytes(b"one\n".to_vec()) });
    fs::write(live.join("build.log"), "one\ntwo\n").unwrap();
    let grown = crate::core::desk::Msg::Grown { lease: LEASE, which: Which::Build, bytes: 8 };
    actors::tell(&hub.peers.desk, grown);
    assert_eq!(heard(&mut client), R::Log { offset: 4, bytes: Bytes(b"two\n".to_vec()) });
    let attempt = hub.folders.state.join("attempts").join(LEASE.to_string());
    fs::create_dir_all(attempt.parent().unwrap()).unwrap();
    fs::write(live.join("build.log"), "one\ntwo\nend\n").unwrap();
    fs::rename(&live, &attempt).unwrap();
    hub.event(Event { lease: Some(LEASE), ..Event::new(EventKind::Ended, "failed") });
    assert_eq!(heard(&mut client), R::Log { offset: 8, bytes: Bytes(b"end\n".to_vec()) });
    assert!(matches!(heard(&mut client), R::LogEnd { .. }));
    assert_eq!(heard(&mut client), R::End { rows: 5 });
}

#[test]
fn a_source_rpm_is_sent_over_a_connection_within_the_window() {
    let hub = Desks::start();
    let (name, bytes) = crate::stage::testrpm::build("sent", "1").source;
    let mut client = hub.operator(1);
    let submit = FromOperator::Submit {
        name: FileName::new(name.as_str()).unwrap(),
        size: bytes.len() as u64,
        digest: Digest::of(&bytes),
        first: false,
        options: 0,
    };
    client.say(&submit);
    assert_eq!(heard(&mut client), R::Want { offset: 0 });
    assert!((bytes.len() as u64) < UPLOAD_WINDOW_BYTES);
    for (at, piece) in bytes.chunks(CHUNK_BYTES_MAX.min(1_000)).enumerate() {
        client.say(&FromOperator::Data { offset: at as u64 * 1_000, bytes: Bytes(piece.to_vec()) });
    }
    loop {
        match heard(&mut client) {
            R::Ack { offset } => assert!(offset <= bytes.len() as u64),
            R::Changed { target, .. } => break assert_eq!(target.as_str(), name),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard(&mut client), R::End { rows: 1 });
    assert_eq!(fs::read(hub.folders.source.join(&name)).unwrap(), bytes);
}
