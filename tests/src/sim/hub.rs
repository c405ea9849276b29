//! The hub: its real cores, store, worker, indexer, recovery and sessions, with queues of messages where
//! the daemon has threads and channels.
//!
//! Owns what the daemon's shells own: who is told what. It decides nothing, but it may be told to break a
//! rule ([`Planted`]): the planted bugs live here and in the simulated disk, so that no build of the
//! daemons holds any of them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use moji_proto::channel::Accept;
use moji_proto::hello::Versions;
use moji_proto::message::{ToBuilder, Verdict};
use moji_proto::refusal::RejectCode;
use moji_proto::secret::{Psk, SecretKey};
use moji_proto::{FileName, LeaseId, Line, PublicKey, Time};
use moji_server::actors::leases::Store;
use moji_server::clock::Clock;
use moji_server::core::intake::{self, Intake, Seen, Stamp, What};
use moji_server::core::leases::{self, Leases, Place};
use moji_server::core::queue::{self, Note, Queue};
use moji_server::core::repo::{self, Repo};
use moji_server::core::transfers::{self, Done, Op, Transfers};
use moji_server::core::types::{BuilderInfo, End as LeaseEnd, HeldLease, Ruling, SessionId, Srpm};
use moji_server::disk::Disk;
use moji_server::index::{IndexError, Indexer, Program};
use moji_server::net::Clocks;
use moji_server::net::session::{End, Event, Session};
use moji_server::recovery::{Recovered, recover};
use moji_server::rpmfile::{Kind, ReadAt, expected_file_len, read_facts};
use moji_server::stage::Worker;

use super::disk::{Change, SimDisk};
use super::planted::Planted;
use super::world::{Ev, Side, World};

mod reactor;

/// The hub's secret key.
const HUB_KEY: [u8; 32] = [0x42; 32];
/// What everybody shares.
const PSK: [u8; 32] = [0x17; 32];
/// The hub's clock at the start of a simulation, unix seconds.
pub(super) const UNIX_S: u64 = 1_764_000_000;
/// Free space is looked at so often at most, as in the real shell, milliseconds.
const SPACE_EVERY_MS: u64 = 1_000;
/// Messages that leases handle with one sync, at most.
const BATCH_MAX: u64 = 8;

/// The hub's secret key, for builders to know its public half.
#[must_use]
pub(super) fn key() -> SecretKey {
    SecretKey::from_bytes(HUB_KEY)
}

/// What everybody shares.
#[must_use]
pub(super) fn psk() -> Psk {
    Psk::from_bytes(PSK)
}

/// The hub's clock.
#[derive(Default)]
pub(super) struct SimClock {
    now_ms: AtomicU64,
    unix_s: AtomicU64,
}

impl SimClock {
    fn set(&self, now_ms: u64, unix_s: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        self.unix_s.store(unix_s, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Time {
        Time(self.now_ms.load(Ordering::Relaxed))
    }

    fn unix_s(&self) -> u64 {
        self.unix_s.load(Ordering::Relaxed)
    }
}

/// Stands for `createrepo_c`: the index is the list itself.
struct FakeCreaterepo {
    disk: SimDisk,
    fails: Arc<Mutex<bool>>,
}

impl Program for FakeCreaterepo {
    fn make(&self, _: &Path, out: &Path, list: &Path) -> Result<(), IndexError> {
        if *self.fails.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(IndexError::Failed("the simulation says so".to_owned()));
        }
        let list = self.disk.bytes(list.to_str().expect("text")).unwrap_or_default();
        let name = format!("{}-primary.xml", moji_proto::Digest::of(&list));
        let out = out.to_str().expect("text");
        let write = |name: &str, bytes: &[u8]| -> io::Result<()> {
            self.disk.create(Path::new(&format!("{out}/repodata/{name}")))?.write_at(bytes, 0)
        };
        let made = self
            .disk
            .create_dir(Path::new(&format!("{out}/repodata")))
            .and_then(|()| write(&name, &list))
            .and_then(|()| write("repomd.xml", format!("<location href=\"repodata/{name}\"/>").as_bytes()));
        made.map_err(|error| IndexError::Failed(error.to_string()))
    }
}

/// Bytes of a file of the simulated disk, read past its faults: the watch reads the real file system.
struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0[..].read_at(buf, offset)
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// What the hub remembers in `history.db`.
#[derive(Debug, Default)]
pub(super) struct Memory {
    charged: BTreeMap<FileName, Vec<(Verdict, String)>>,
    target: Option<String>,
}

impl Memory {
    fn note(&mut self, note: &Note) {
        match note {
            Note::Ended { srpm, verdict, reason, charged: true, .. } => {
                self.charged.entry(srpm.clone()).or_default().push((*verdict, reason.clone()));
            }
            Note::Ended { srpm, verdict: Verdict::Success | Verdict::Failed | Verdict::Excluded, .. }
            | Note::Afresh { srpm } => {
                self.charged.remove(srpm);
            }
            Note::Target { arch } => self.target = Some(arch.clone()),
            Note::Ended { .. } | Note::Began { .. } | Note::Builder(_) => {}
        }
    }
}

/// A connection as the reactor has it.
struct HubConn {
    session: Session,
    /// Its number among all connections.
    conn: u64,
    builder: Option<PublicKey>,
    left: bool,
    shut: bool,
}

/// A running hub.
pub(super) struct Hub {
    /// When it started, milliseconds.
    pub(super) started_ms: u64,
    /// By how much its wall clock is off, seconds.
    unix_off_s: i64,
    clock: Arc<SimClock>,
    leases: Leases,
    store: Store,
    /// The queue, to be asked why nothing happens.
    pub(super) queue: Queue,
    transfers: Transfers,
    repo: Repo,
    intake: Intake,
    worker: Worker,
    indexer: Indexer,
    index_fails: Arc<Mutex<bool>>,
    for_leases: VecDeque<leases::Msg>,
    for_queue: VecDeque<queue::Msg>,
    for_transfers: VecDeque<transfers::Msg>,
    for_repo: VecDeque<repo::Msg>,
    for_net: VecDeque<Command>,
    /// Which of the five was sent to, in order.
    order: VecDeque<usize>,
    conns: BTreeMap<SessionId, HubConn>,
    by_conn: BTreeMap<u64, SessionId>,
    builders: BTreeMap<PublicKey, SessionId>,
    last_session: u64,
    looked_ms: Option<u64>,
    /// The earliest timer that is set, milliseconds.
    pub(super) armed_ms: Option<u64>,
    /// It leases nothing until a restart.
    pub(super) stopped: bool,
    /// Planted: what builders reported that hold nothing, and results that count all the same.
    reported: BTreeMap<LeaseId, (HeldLease, BuilderInfo)>,
    forged: Vec<LeaseId>,
    srpms: BTreeMap<LeaseId, FileName>,
}

enum Command {
    Send(SessionId, ToBuilder),
    Close(SessionId, RejectCode),
    Consumed(SessionId, u32),
}

impl Hub {
    /// Starts a hub over what the disk holds, as `run.rs` does. None if it could not start.
    pub(super) fn start(world: &mut World, unix_off_s: i64) -> Option<Hub> {
        let clock = Arc::new(SimClock::default());
        let now_unix = unix(world.now_ms, unix_off_s);
        clock.set(0, now_unix);
        let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
        let Recovered { mut past, results, journal } = match recover(&disk, &world.folders, now_unix) {
            Ok(recovered) => recovered,
            Err(error) => {
                world.say(|| format!("hub: failed to put the folders right: {error}"));
                return None;
            }
        };
        if world.disk.is_off() {
            return None;
        }
        if world.planted == Some(Planted::ReuseId) {
            past.incarnation = UNIX_S;
        }
        let index_fails = Arc::new(Mutex::new(false));
        let program = FakeCreaterepo { disk: world.disk.clone(), fails: index_fails.clone() };
        let work = world.folders.state.join("index");
        let mut indexer =
            Indexer::new(disk.clone(), clock.clone(), Box::new(program), world.folders.repo.clone(), work);
        if indexer.ensure_exists().is_err() || world.disk.is_off() {
            return None;
        }
        let limits = transfers::Limits::default();
        let queue_config = queue::Config {
            attempts: 5,
            retry_pause_ms: world.opt.retry_pause_ms,
            target: None,
            started: Time(0),
        };
        let mut first = Vec::new();
        let config = leases::Config { grace_ms: world.opt.grace_ms };
        let leases = Leases::new(config, past, Time(0), &mut first);
        let mut in_order: Vec<_> = results.iter().collect();
        in_order.sort_by_key(|found| (found.result.committed_unix_s, found.folder.len()));
        let published = in_order.into_iter().filter_map(published).collect();
        let mut hub = Hub {
            started_ms: world.now_ms,
            unix_off_s,
            leases,
            store: Store::new(disk.clone(), world.folders.clone(), journal),
            queue: Queue::new(queue_config),
            transfers: Transfers::new(limits),
            repo: Repo::new(published),
            intake: Intake::new(intake::TRUNCATED_AFTER_MS),
            worker: Worker::new(disk, clock.clone(), world.folders.clone()),
            indexer,
            index_fails,
            clock,
            for_leases: VecDeque::new(),
            for_queue: VecDeque::new(),
            for_transfers: VecDeque::new(),
            for_repo: VecDeque::new(),
            for_net: VecDeque::new(),
            order: VecDeque::new(),
            conns: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            builders: BTreeMap::new(),
            last_session: 0,
            looked_ms: None,
            armed_ms: None,
            stopped: false,
            reported: BTreeMap::new(),
            forged: Vec::new(),
            srpms: BTreeMap::new(),
        };
        hub.remember(world, &results);
        world.check.hub_started();
        world.check.after_recovery(&world.disk);
        for effect in first {
            hub.leases_effect(world, effect, true);
        }
        let _ = world.disk.take_changes();
        hub.intake(world, intake::Msg::Rescan);
        Some(hub)
    }

    fn remember(&mut self, world: &World, results: &[moji_server::recovery::RepoResult]) {
        for (srpm, attempts) in &world.memory.charged {
            self.tell_queue(queue::Msg::Charged { srpm: srpm.clone(), attempts: attempts.clone() });
        }
        if let Some(arch) = world.memory.target.clone() {
            self.tell_queue(queue::Msg::Target { arch });
        }
        for found in results {
            let result = &found.result;
            if result.verdict == Verdict::Success.as_str() && result.held.is_none() {
                let binaries = result.files.iter().filter(|file| !file.is_source);
                let binaries = binaries.filter_map(|file| file.package.clone()).collect();
                self.tell_queue(queue::Msg::Known { source: result.source.clone(), binaries });
            }
        }
    }

    fn now(&self, world: &World) -> Time {
        Time(world.now_ms - self.started_ms)
    }

    fn tick_clock(&self, world: &World) -> Time {
        let now = self.now(world);
        self.clock.set(now.0, unix(world.now_ms, self.unix_off_s));
        now
    }

    fn tell_leases(&mut self, msg: leases::Msg) {
        self.for_leases.push_back(msg);
        self.order.push_back(0);
    }

    fn tell_queue(&mut self, msg: queue::Msg) {
        self.for_queue.push_back(msg);
        self.order.push_back(1);
    }

    fn tell_transfers(&mut self, msg: transfers::Msg) {
        self.for_transfers.push_back(msg);
        self.order.push_back(2);
    }

    fn tell_repo(&mut self, msg: repo::Msg) {
        self.for_repo.push_back(msg);
        self.order.push_back(3);
    }

    fn command(&mut self, command: Command) {
        self.for_net.push_back(command);
        self.order.push_back(4);
    }

    /// Which actor goes next.
    fn next(&mut self, world: &mut World) -> Option<usize> {
        let waits = [
            self.for_leases.is_empty(),
            self.for_queue.is_empty(),
            self.for_transfers.is_empty(),
            self.for_repo.is_empty(),
            self.for_net.is_empty(),
        ];
        if world.opt.fifo {
            while let Some(next) = self.order.pop_front() {
                if !waits[next] {
                    return Some(next);
                }
            }
        }
        self.order.clear();
        let ready: Vec<usize> = (0..waits.len()).filter(|i| !waits[*i]).collect();
        if ready.is_empty() { None } else { Some(*world.dice.pick(&ready)) }
    }

    /// Handles what waits. False when the hub died of it.
    #[must_use]
    pub(super) fn run(&mut self, world: &mut World) -> bool {
        while let Some(actor) = self.next(world) {
            if world.chance(world.opt.pause) {
                if actor < 5 {
                    self.order.push_front(actor);
                }
                let pause_ms = world.dice.within(1, 500);
                world.hub_after(pause_ms, Ev::HubRun);
                break;
            }
            let now = self.tick_clock(world);
            match actor {
                0 => self.run_leases(world, now),
                1 => self.run_queue(world, now),
                2 => {
                    if let Some(msg) = self.for_transfers.pop_front() {
                        self.handle_transfers(world, now, msg);
                    }
                }
                3 => {
                    if let Some(msg) = self.for_repo.pop_front() {
                        self.handle_repo(world, now, msg);
                    }
                }
                _ => self.run_net(world, now),
            }
            if world.dying {
                return false;
            }
        }
        self.watch(world);
        self.arm(world);
        true
    }

    fn run_leases(&mut self, world: &mut World, now: Time) {
        let count = world.dice.within(1, BATCH_MAX) as usize;
        let batch: Vec<leases::Msg> = (0..count).filter_map(|_| self.for_leases.pop_front()).collect();
        self.handle_leases(world, now, batch);
    }

    fn handle_leases(&mut self, world: &mut World, now: Time, batch: Vec<leases::Msg>) {
        let mut msgs = batch;
        msgs.retain(|msg| match msg {
            // What a forged ruling came to is not for leases, which know better.
            leases::Msg::Settled { lease, .. } | leases::Msg::Unsealed { lease } => {
                !self.forged.contains(lease)
            }
            _ => true,
        });
        let effects = self.store.run(&mut self.leases, now, msgs);
        for effect in effects {
            if world.dies() {
                return;
            }
            self.leases_effect(world, effect, false);
        }
    }

    fn leases_effect(&mut self, world: &mut World, effect: leases::Effect, found: bool) {
        match effect {
            leases::Effect::Welcome(session) => {
                let registered = ToBuilder::Registered {
                    time_unix_s: self.clock.unix_s(),
                    ping_s: 20,
                    http_port: 6780,
                    repos: 1,
                };
                self.command(Command::Send(session, registered));
                self.command(Command::Send(session, ToBuilder::Repo { place: Line::lossy("/repo") }));
            }
            leases::Effect::Log(_, text) => world.say(|| format!("leases: {text}")),
            leases::Effect::Send(session, msg) => {
                if let ToBuilder::Done { lease } = msg {
                    world.check.done(&world.disk, lease);
                }
                if let ToBuilder::Gone { lease } = msg
                    && world.planted == Some(Planted::AcceptStale)
                    && let Some((held, builder)) = self.reported.remove(&lease)
                {
                    let HeldLease { lease, srpm, digest, phase } = held;
                    let options = Vec::new();
                    return self.tell_transfers(transfers::Msg::Adopt {
                        lease,
                        session,
                        builder,
                        srpm,
                        digest,
                        phase,
                        options,
                    });
                }
                self.command(Command::Send(session, msg));
            }
            leases::Effect::Close(session, code) => self.command(Command::Close(session, code)),
            leases::Effect::Queue(msg) => self.leases_to_queue(world, msg, found),
            leases::Effect::Transfers(msg) => self.leases_to_transfers(world, msg),
            leases::Effect::Journal(_)
            | leases::Effect::JournalLater(_)
            | leases::Effect::Move { .. }
            | leases::Effect::Inspect { .. } => unreachable!("the store ran it"),
        }
    }

    fn leases_to_queue(&mut self, world: &mut World, msg: queue::Msg, found: bool) {
        match &msg {
            queue::Msg::Granted { srpm, lease, builder } => {
                self.srpms.insert(*lease, srpm.clone());
                world.check.granted(*lease, srpm, *builder, found);
            }
            queue::Msg::Ended { lease, end, .. } => {
                world.check.ended(*lease);
                let returned = matches!(end, LeaseEnd::Returned(_));
                if returned && world.planted == Some(Planted::ForgetRequeue) && world.dice.chance(500_000) {
                    return;
                }
            }
            queue::Msg::StopLeasing { .. } => self.stopped = true,
            _ => {}
        }
        self.tell_queue(msg);
    }

    fn leases_to_transfers(&mut self, world: &mut World, msg: transfers::Msg) {
        match &msg {
            transfers::Msg::Open { lease, .. } => world.check.opened(*lease),
            transfers::Msg::Adopt { lease, builder, .. } => world.check.adopted(*lease, builder.id),
            transfers::Msg::Stale { lease } if world.planted == Some(Planted::AcceptStale) => {
                self.forged.push(*lease);
                let ruling = Ruling::Publish { held: None };
                return self.tell_transfers(transfers::Msg::Ruling { lease: *lease, ruling });
            }
            _ => {}
        }
        self.tell_transfers(msg);
    }

    fn run_queue(&mut self, world: &mut World, now: Time) {
        if self.looked_ms.is_none_or(|at| now.0 - at >= SPACE_EVERY_MS) {
            self.looked_ms = Some(now.0);
            if let Ok((free_bytes, total)) = world.disk.space(Path::new("repo")) {
                let floor_bytes = queue::space_floor(total);
                self.handle_queue(world, now, queue::Msg::Space { free_bytes, floor_bytes });
            }
        }
        if !world.dying
            && let Some(msg) = self.for_queue.pop_front()
        {
            self.handle_queue(world, now, msg);
        }
    }

    fn handle_queue(&mut self, world: &mut World, now: Time, msg: queue::Msg) {
        let mut out = Vec::new();
        self.queue.handle(now, msg, &mut out);
        for effect in out {
            if world.dies() {
                return;
            }
            match effect {
                queue::Effect::Leases(msg) => self.tell_leases(msg),
                queue::Effect::Transfers(msg) => self.tell_transfers(msg),
                queue::Effect::Send(session, msg) => self.command(Command::Send(session, msg)),
                queue::Effect::History(note) => {
                    if let Note::Ended { srpm, lease, verdict, charged, .. } = &note {
                        world.check.verdict(srpm, *lease, *verdict, *charged, now.0);
                    }
                    world.memory.note(&note);
                }
                queue::Effect::Log(_, text) => world.say(|| format!("queue: {text}")),
            }
        }
    }

    fn handle_transfers(&mut self, world: &mut World, now: Time, msg: transfers::Msg) {
        if let transfers::Msg::Done { lease, done: Done::Committed(outcome) } = &msg {
            let srpm = self.srpms.get(lease).cloned();
            world.check.committed(&world.disk, *lease, srpm, outcome);
        }
        let mut out = Vec::new();
        self.transfers.handle(now, msg, &mut out);
        for effect in out {
            if world.dies() {
                return;
            }
            match effect {
                transfers::Effect::Io { lease, op } => {
                    if let Op::Commit(sealed) = &op {
                        world.check.commits(lease, sealed.about.builder.as_ref().map(|b| b.id));
                    }
                    let slow = world.chance(20_000);
                    let ms = if slow { world.dice.within(1_000, 20_000) } else { world.dice.below(6) };
                    world.hub_after(ms, |run| Ev::Io(run, lease, Box::new(op)));
                }
                transfers::Effect::Send(session, msg) => {
                    let to = self.conns.get(&session).and_then(|conn| conn.builder);
                    match &msg {
                        ToBuilder::Job { lease, .. } => world.check.job(*lease, to),
                        ToBuilder::Accepted { lease, .. } => world.check.accepted(&world.disk, *lease, to),
                        _ => {}
                    }
                    self.command(Command::Send(session, msg));
                }
                transfers::Effect::Consumed(session, bytes) => {
                    self.command(Command::Consumed(session, bytes))
                }
                transfers::Effect::Close(session, code) => self.command(Command::Close(session, code)),
                transfers::Effect::Leases(msg) => self.tell_leases(msg),
                transfers::Effect::Queue(msg) => {
                    self.stopped |= matches!(msg, queue::Msg::StopLeasing { .. });
                    self.tell_queue(msg);
                }
                transfers::Effect::Repo(msg) => self.tell_repo(msg),
                transfers::Effect::Log(_, text) => world.say(|| format!("transfers: {text}")),
            }
        }
    }

    /// A worker does an operation.
    pub(super) fn io(&mut self, world: &mut World, lease: LeaseId, op: Op) {
        self.tick_clock(world);
        let done = self.worker.run(lease, op);
        if !world.dies() {
            self.tell_transfers(transfers::Msg::Done { lease, done });
        }
    }

    fn handle_repo(&mut self, world: &mut World, now: Time, msg: repo::Msg) {
        let mut out = Vec::new();
        self.repo.handle(now, msg, &mut out);
        for effect in out {
            if world.dies() {
                return;
            }
            match effect {
                repo::Effect::Index(paths) => {
                    let ms = world.dice.within(10, 3_000);
                    world.hub_after(ms, |run| Ev::Index(run, paths));
                }
                repo::Effect::Sweep => {
                    let _ = self.indexer.sweep();
                }
                repo::Effect::Queue(msg) => self.tell_queue(msg),
                repo::Effect::Log(_, text) => world.say(|| format!("repo: {text}")),
            }
        }
    }

    /// The indexer makes an index.
    pub(super) fn index(&mut self, world: &mut World, paths: &[String]) {
        self.tick_clock(world);
        let fails = world.chance(world.opt.index_fails);
        *self.index_fails.lock().unwrap_or_else(PoisonError::into_inner) = fails;
        let made = self.indexer.publish(paths).map_err(|error| error.to_string());
        if !world.dies() {
            self.tell_repo(repo::Msg::Indexed(made));
        }
    }

    /// Hands what changed in the folders to the watch, a little later.
    pub(super) fn watch(&mut self, world: &mut World) {
        for change in world.disk.take_changes() {
            world.check.one_place(&world.disk, &change.name);
            let ms = world.dice.below(30);
            let at = (world.now_ms + ms).max(world.watch_ms);
            world.watch_ms = at;
            let generation = world.hub_gen;
            world.at(at, Ev::Watch(generation, change));
        }
    }

    /// The watch hears of a change.
    pub(super) fn changed(&mut self, world: &mut World, change: &Change) {
        if world.chance(world.opt.watch_overflow) {
            return self.intake(world, intake::Msg::Rescan);
        }
        let place = match change.folder.as_str() {
            "source" => Place::Source,
            "working" => Place::Working,
            _ => Place::Finished,
        };
        let what = if change.arrived { What::Arrived } else { What::Left };
        self.intake(world, intake::Msg::Event { place, name: change.name.clone().into(), what });
    }

    fn intake(&mut self, world: &mut World, msg: intake::Msg) {
        let mut out = Vec::new();
        let now = self.now(world);
        self.intake.handle(now, msg, &mut out);
        for effect in out {
            match effect {
                intake::Effect::List(place) => {
                    let folder = match place {
                        Place::Source => "source",
                        Place::Working => "working",
                        Place::Finished => "finished",
                    };
                    let names = world.disk.names(folder).into_iter().map(Into::into).collect();
                    self.intake(world, intake::Msg::Listed { place, names });
                }
                intake::Effect::Look(name) => {
                    let seen = look(&world.disk, &format!("source/{name}"));
                    self.intake(world, intake::Msg::Looked { name, seen });
                }
                intake::Effect::Read(list) => {
                    let bytes = world.disk.bytes(&format!("source/{}", list.file_name()));
                    self.intake(world, intake::Msg::Read { list, bytes });
                }
                intake::Effect::Queue(msg) => self.tell_queue(msg),
                intake::Effect::Leases(msg) => self.tell_leases(msg),
                intake::Effect::Log(_, text) => world.say(|| format!("watch: {text}")),
            }
        }
    }

    /// Deadlines that have come.
    pub(super) fn timers(&mut self, world: &mut World) {
        let now = self.tick_clock(world);
        let due = |deadline: Option<Time>| deadline.is_some_and(|at| at <= now);
        if due(self.leases.deadline()) {
            self.handle_leases(world, now, vec![leases::Msg::Tick]);
        }
        if due(self.queue.deadline()) && !world.dying {
            self.looked_ms = self.looked_ms.filter(|at| now.0 - at < SPACE_EVERY_MS);
            if self.looked_ms.is_none() {
                self.tell_queue(queue::Msg::Tick);
            } else {
                self.handle_queue(world, now, queue::Msg::Tick);
            }
        }
        if due(self.transfers.deadline()) && !world.dying {
            self.handle_transfers(world, now, transfers::Msg::Tick);
        }
        if due(self.repo.deadline()) && !world.dying {
            self.handle_repo(world, now, repo::Msg::Tick);
        }
        if due(self.intake.deadline()) && !world.dying {
            self.intake(world, intake::Msg::Tick);
        }
        let due: Vec<SessionId> =
            self.conns.iter().filter(|(_, conn)| conn.session.deadline() <= now).map(|(id, _)| *id).collect();
        for id in due {
            if !world.dying {
                self.session_tick(world, now, id);
            }
        }
    }

    fn arm(&mut self, world: &mut World) {
        let sessions = self.conns.values().map(|conn| conn.session.deadline()).min();
        let cores = [
            self.leases.deadline(),
            self.queue.deadline(),
            self.transfers.deadline(),
            self.repo.deadline(),
            self.intake.deadline(),
            sessions.filter(|at| *at < Time(u64::MAX)),
        ];
        let Some(at) = cores.into_iter().flatten().min() else { return };
        let at_ms = (self.started_ms + at.0).max(world.now_ms);
        if self.armed_ms.is_none_or(|armed| at_ms < armed) {
            self.armed_ms = Some(at_ms);
            let generation = world.hub_gen;
            world.at(at_ms, Ev::HubTimer(generation));
        }
    }
}

/// The wall clock.
fn unix(now_ms: u64, off_s: i64) -> u64 {
    (UNIX_S + now_ms / 1_000).saturating_add_signed(off_s)
}

fn published(found: &moji_server::recovery::RepoResult) -> Option<repo::Published> {
    let result = &found.result;
    if result.verdict != Verdict::Success.as_str() || result.held.is_some() {
        return None;
    }
    let rpms = result.files.iter().filter(|file| file.package.is_some());
    let rpms = rpms.filter_map(|file| FileName::new(file.name.clone()).ok()).collect();
    Some(repo::Published { folder: found.folder.clone(), rpms })
}

/// What is at `path`, as the watch looks at it.
fn look(disk: &SimDisk, path: &str) -> Seen {
    let (Some((len, inode)), Some(bytes)) = (disk.look(path), disk.bytes(path)) else { return Seen::Gone };
    let stamp = Stamp { len, modified_ns: 0, inode };
    let bytes = Bytes(bytes);
    match expected_file_len(&bytes) {
        Ok(want) if want.is_none_or(|want| len < want) => Seen::Short { stamp, want },
        Ok(_) => match read_facts(&bytes) {
            Ok(facts) if facts.kind == Kind::Source => Seen::Whole { stamp, srpm: Srpm { size: len, facts } },
            Ok(_) => Seen::Bad { stamp: Some(stamp), why: "a binary package".to_owned() },
            Err(error) => Seen::Bad { stamp: Some(stamp), why: error.to_string() },
        },
        Err(error) => Seen::Bad { stamp: Some(stamp), why: error.to_string() },
    }
}
