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
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moji_proto::channel::Accept;
use moji_proto::hello::Versions;
use moji_proto::message::{ToBuilder, Verdict};
use moji_proto::refusal::{Refusal, RejectCode};
use moji_proto::secret::{Psk, SecretKey};
use moji_proto::{FileName, LeaseId, Line, PublicKey, Time};
use moji_server::actors::leases::Store;
use moji_server::clock::Clock;
use moji_server::core::intake::{self, Intake, Seen, Stamp, What};
use moji_server::core::leases::{self, Leases, Place};
use moji_server::core::queue::{self, Note, Queue};
use moji_server::core::repo::{self, Repo};
use moji_server::core::transfers::{self, Done, Op, Transfers};
use moji_server::core::types::{BuilderInfo, End as LeaseEnd, Fate, HeldLease, Ruling, SessionId, Srpm};
use moji_server::disk::Disk;
use moji_server::index::reading::{ReadConfig, Reader};
use moji_server::index::work::{Fast, Order, Slow};
use moji_server::index::{Config, Layout, Recent};
use moji_server::net::Clocks;
use moji_server::net::session::{End, Event, Session};
use moji_server::recovery::{self, Recovered, recover};
use moji_server::rpmfile::{Kind, ReadAt, expected_file_len, read_facts};
use moji_server::stage::Worker;

use super::check::To;
use super::disk::{Change, SimDisk};
use super::planted::Planted;
use super::world::{Ev, Side, World};

mod actors;
mod index;
mod reactor;
mod stand_ins;
mod start;
mod watch;

pub(super) use stand_ins::Memory;
use stand_ins::{SimClock, ThinStandIn};

/// The hub's secret key.
const HUB_KEY: [u8; 32] = [0x42; 32];
/// What everybody shares.
const PSK: [u8; 32] = [0x17; 32];
/// What somebody has who was given another secret.
const WRONG_PSK: [u8; 32] = [0x18; 32];
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

/// What somebody has who was given another secret.
#[must_use]
pub(super) fn wrong_psk() -> Psk {
    Psk::from_bytes(WRONG_PSK)
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
    /// The same when it started.
    began_off_s: i64,
    clock: Arc<SimClock>,
    leases: Leases,
    store: Store,
    /// The queue, to be asked why nothing happens.
    pub(super) queue: Queue,
    transfers: Transfers,
    repo: Repo,
    intake: Intake,
    /// Its deadline, which takes a look at every file to be known.
    intake_at: Option<Time>,
    worker: Worker,
    fast: Fast,
    slow: Slow,
    reader: Arc<Reader>,
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
    /// Sessions of builders as leases have heard of them, who holds each lease, and since when whoever is gone is gone,
    /// milliseconds.
    present: BTreeMap<SessionId, PublicKey>,
    holders: BTreeMap<LeaseId, PublicKey>,
    gone_ms: BTreeMap<PublicKey, u64>,
}

enum Command {
    Send(SessionId, ToBuilder),
    Close(SessionId, RejectCode),
    Consumed(SessionId, u32),
}

impl Hub {
    fn now(&self, world: &World) -> Time {
        Time(world.now_ms - self.started_ms)
    }

    /// Somebody sets its wall clock: by how much it is off from now on, seconds.
    pub(super) fn set_wall_clock(&mut self, off_s: i64) {
        self.unix_off_s = off_s;
    }

    /// What leases take for the time: planted, that of the wall clock since the hub's start.
    fn leases_now(&self, world: &World, now: Time) -> Time {
        if world.planted != Some(Planted::WallClock) {
            return now;
        }
        Time(
            now.0.saturating_add_signed(
                self.unix_off_s.saturating_sub(self.began_off_s).saturating_mul(1_000),
            ),
        )
    }

    /// When leases want a tick, in the hub's own time.
    fn leases_deadline(&self, world: &World) -> Option<Time> {
        let now = self.now(world);
        let at = self.leases.deadline()?;
        if world.planted != Some(Planted::WallClock) {
            return Some(at);
        }
        let in_ms = at.0.saturating_sub(self.leases_now(world, now).0);
        Some(Time(now.0.saturating_add(in_ms)))
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

    /// Ends in order, as the daemon does when it is told to: the sessions first, then every actor once it has
    /// handled what waits for it.
    pub(super) fn stop(&mut self, world: &mut World) {
        let now = self.tick_clock(world);
        self.end_sessions(world, now);
        while !world.dying
            && let Some(actor) = self.next(world)
        {
            self.act(world, actor);
        }
        self.watch(world);
    }

    /// Handles what waits. False when the hub died of it.
    #[must_use]
    pub(super) fn run(&mut self, world: &mut World) -> bool {
        loop {
            let Some(actor) = self.next(world) else {
                world.check.all_heard();
                break;
            };
            if world.chance(world.opt.pause) {
                if actor < 5 {
                    self.order.push_front(actor);
                }
                let pause_ms = world.dice.within(1, 500);
                world.hub_after(pause_ms, Ev::HubRun);
                break;
            }
            self.act(world, actor);
            if world.dying {
                return false;
            }
        }
        self.watch(world);
        self.arm(world);
        true
    }

    fn act(&mut self, world: &mut World, actor: usize) {
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
    }

    /// When repo wants a tick: never where no index is made.
    fn repo_deadline(&self, world: &World) -> Option<Time> {
        if world.opt.no_index { None } else { self.repo.deadline() }
    }

    /// Deadlines that have come.
    pub(super) fn timers(&mut self, world: &mut World) {
        let now = self.tick_clock(world);
        let due = |deadline: Option<Time>| deadline.is_some_and(|at| at <= now);
        if due(self.leases_deadline(world)) {
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
        if due(self.repo_deadline(world)) && !world.dying {
            self.handle_repo(world, now, repo::Msg::Tick);
        }
        if due(self.intake_at) && !world.dying {
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
            self.leases_deadline(world),
            self.queue.deadline(),
            self.transfers.deadline(),
            self.repo_deadline(world),
            self.intake_at,
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
