//! The world: one clock, one queue of events, and all that happens to hub, boards and network.
//!
//! Owns time and every fault. A run has two phases: first there are faults, and only safety counts; then
//! they stop, everything that was off comes back, and within bounded time every package must be where it
//! belongs.

use std::collections::BTreeMap;

use moji_client::core::{Effect, Event, ResultFile, Summary};
use moji_client::effects::perform;
use moji_proto::channel::{self, Channel, Connect};
use moji_proto::hello::{Role, Versions};
use moji_proto::message::{Backend, Exit, Message as _, Phase, ToBuilder, Which};
use moji_proto::{Digest, FileName, LeaseId, Line, Time};
use moji_server::core::transfers::Op;
use moji_server::disk::Folders;
use moji_server::net::session::End;

use super::board::{Board, Socket, Wish};
use super::check::Checker;
use super::dice::Dice;
use super::disk::{Change, Faults, SimDisk};
use super::hub::{self, Hub, Memory};
use super::options::{Nature, Network, Options};
use super::pipe::Pipe;
use super::planted::Planted;
use super::rpm;

/// So many events are more than any run needs that gets anywhere.
const EVENTS_MAX: u64 = 20_000_000;
/// More than this in one instant is a circle.
const INSTANT_EVENTS_MAX: u64 = 200_000;
/// With the bug planted, syncs are through so much later, milliseconds.
const SYNC_LATE_MS: u64 = 200;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The hub's.
    Hub,
    /// The board's.
    Board,
}

/// What happens next. Numbers name boards and connections; those of a run of hub or client that is over
/// are ignored.
#[derive(Clone, Debug)]
pub(super) enum Ev {
    /// The hub's process starts.
    HubUp,
    /// Messages wait in the hub (of this run).
    HubRun(u32),
    /// A deadline in the hub.
    HubTimer(u32),
    /// A worker is through with an operation.
    Io(u32, LeaseId, Box<Op>),
    /// The indexer is through.
    Index(u32, Vec<String>),
    /// The watch hears of a change.
    Watch(u32, Change),
    /// Somebody who leases nothing any more is restarted.
    Restart(u32),
    /// Bytes arrive at this end.
    Deliver(u64, Side),
    /// There is room again for this end to write.
    Room(u64, Side),
    /// This end hears that the connection is over.
    Fin(u64, Side),
    /// A board's attempt to connect comes to something: board, attempt.
    Connect(usize, u64),
    /// A board's client starts.
    BoardUp(usize),
    /// A deadline of a client (of this run).
    BoardTimer(usize, u32),
    /// A build goes on: board, lease, build, whether it ends.
    Build(usize, LeaseId, u64, bool),
    /// What ran of a job is dead: board, run, lease, whether the folder goes too.
    Killed(usize, u32, LeaseId, bool),
    /// A package is dropped.
    Drop(usize),
    /// Something happens.
    Fault(Fault),
    /// There is space again.
    Unfull,
    /// The faults stop.
    Heal,
    /// Is everything done?
    Inspect,
}

/// Kinds of faults that happen from time to time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The disk is full for a while.
    Full,
    /// Something happens to a connection.
    Network,
    /// Nobody reaches the hub for a while.
    Outage,
    /// A client is told to stop or to drain.
    Stop,
    /// People move files.
    People,
}

struct Conn {
    board: usize,
    /// From board to hub.
    up: Pipe,
    /// From hub to board.
    down: Pipe,
    hub_closed: bool,
    board_closed: bool,
    hub_blocked: bool,
    board_blocked: bool,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Events.
    pub events: u64,
    /// Virtual time, milliseconds.
    pub virtual_ms: u64,
    /// Crashes of the hub.
    pub hub_crashes: u64,
    /// Crashes of clients.
    pub client_crashes: u64,
    /// Builds that ended.
    pub builds: u64,
    /// Connections.
    pub connections: u64,
    /// Build time of all builds that ended, milliseconds.
    pub busy_ms: u64,
    /// When the last build ended, milliseconds.
    pub last_build_ms: u64,
}

/// A simulated farm.
pub(super) struct World {
    /// What was drawn.
    pub(super) opt: Options,
    /// All chance of the run.
    pub(super) dice: Dice,
    /// Time since the beginning, milliseconds.
    pub(super) now_ms: u64,
    events: BTreeMap<(u64, u64), Ev>,
    sequence: u64,
    /// The hub's disk.
    pub(super) disk: SimDisk,
    /// Where things are on it.
    pub(super) folders: Folders,
    hub: Option<Hub>,
    /// Which run of the hub it is.
    pub(super) hub_gen: u32,
    /// The hub dies of the present event.
    pub(super) dying: bool,
    hub_off_s: i64,
    boards: Vec<Board>,
    attempts: Vec<u64>,
    conns: BTreeMap<u64, Conn>,
    last_conn: u64,
    outage_until_ms: u64,
    /// The last change that the watch will hear of, milliseconds.
    pub(super) watch_ms: u64,
    /// What must hold.
    pub(super) check: Checker,
    /// `history.db`.
    pub(super) memory: Memory,
    /// Taken out of the folders by people, to be put back.
    pocket: Vec<usize>,
    dropped: Vec<bool>,
    srpms: Vec<Vec<u8>>,
    faults_on: bool,
    healed_ms: u64,
    /// The bug that is planted.
    pub(super) planted: Option<Planted>,
    /// A builder was rejected for what it said: the two cores misunderstand each other.
    pub(super) rejected: Option<String>,
    trace: bool,
    done: bool,
    stats: Stats,
}

/// File name of a package's SRPM.
fn srpm_name(package: usize) -> String {
    format!("p{package}-1-1.src.rpm")
}

fn number_of(srpm: &FileName) -> usize {
    let digits = srpm.as_str().trim_start_matches('p').split('-').next().unwrap_or_default();
    digits.parse().expect("only the simulation makes packages")
}

impl World {
    /// A farm in which nothing has happened yet.
    #[must_use]
    pub(super) fn new(opt: Options, planted: Option<Planted>, trace: bool) -> World {
        let mut dice = Dice::new(opt.seed ^ 0x5eed);
        let (disk, folders) = SimDisk::new(Dice::new(dice.bits()));
        let boards = opt.boards.iter().enumerate();
        let boards: Vec<Board> =
            boards.map(|(i, memory)| Board::new(i, *memory, Dice::new(dice.bits()))).collect();
        let srpms = opt.packages.iter().enumerate();
        let srpms = srpms.map(|(i, p)| rpm::source(&format!("p{i}"), 1, p.payload_bytes)).collect();
        let mut world = World {
            attempts: vec![0; boards.len()],
            dropped: vec![false; opt.packages.len()],
            dice,
            now_ms: 0,
            events: BTreeMap::new(),
            sequence: 0,
            disk,
            folders,
            hub: None,
            hub_gen: 0,
            dying: false,
            hub_off_s: 0,
            boards,
            conns: BTreeMap::new(),
            last_conn: 0,
            outage_until_ms: 0,
            watch_ms: 0,
            check: Checker::default(),
            memory: Memory::default(),
            pocket: Vec::new(),
            srpms,
            faults_on: opt.faults_ms > 0,
            healed_ms: 0,
            planted,
            rejected: None,
            trace,
            done: false,
            stats: Stats::default(),
            opt,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.set_disk_faults();
        self.at(0, Ev::HubUp);
        for board in 0..self.boards.len() {
            let ms = self.dice.below(5_000);
            self.at(ms, Ev::BoardUp(board));
        }
        for package in 0..self.opt.packages.len() {
            self.at(self.opt.packages[package].dropped_ms, Ev::Drop(package));
        }
        for fault in [Fault::Full, Fault::Network, Fault::Outage, Fault::Stop, Fault::People] {
            self.schedule(fault);
        }
        self.at(self.opt.faults_ms, Ev::Heal);
    }

    fn set_disk_faults(&mut self) {
        let [no_space, eio, power] = if self.faults_on { self.opt.disk } else { [0; 3] };
        let skip_folder_sync = self.planted == Some(Planted::SkipFolderSync);
        let late = self.planted == Some(Planted::PromiseBeforeSync);
        let sync_late_ms = if late { SYNC_LATE_MS } else { 0 };
        self.disk.set_faults(Faults { no_space, eio, power, skip_folder_sync, sync_late_ms });
    }

    fn schedule(&mut self, fault: Fault) {
        let every = match fault {
            Fault::Full => self.opt.full_every_ms,
            Fault::Network => self.opt.network_fault_every_ms,
            Fault::Outage => self.opt.outage_every_ms,
            Fault::Stop => self.opt.stop_every_ms,
            Fault::People => self.opt.people_every_ms,
        };
        if every > 0 {
            let ms = self.dice.within(1, 2 * every);
            self.at(self.now_ms + ms, Ev::Fault(fault));
        }
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn run(mut self) -> Result<Stats, String> {
        let mut instant = (0, 0);
        while !self.done {
            let Some(((at, _), event)) = self.events.pop_first() else {
                return Err("nothing is left to happen".to_owned());
            };
            instant = if at == instant.0 { (at, instant.1 + 1) } else { (at, 0) };
            self.now_ms = at;
            self.stats.events += 1;
            if self.stats.events > EVENTS_MAX || instant.1 > INSTANT_EVENTS_MAX {
                return Err(format!("runs in a circle: {event:?}"));
            }
            self.disk.pass(at);
            self.happen(event);
            if let Some(wrong) = self.check.wrong.take().or(self.disk.violation()) {
                return Err(wrong);
            }
            if let Some(rejected) = self.rejected.take() {
                return Err(rejected);
            }
        }
        self.stats.virtual_ms = self.now_ms;
        Ok(self.stats)
    }

    fn happen(&mut self, event: Ev) {
        match event {
            Ev::HubUp => self.hub_up(),
            Ev::HubRun(run) => self.with_hub(run, |_, _| {}),
            Ev::HubTimer(run) => self.with_hub(run, |hub, world| {
                hub.armed_ms = None;
                hub.timers(world);
            }),
            Ev::Io(run, lease, op) => self.with_hub(run, |hub, world| hub.io(world, lease, *op)),
            Ev::Index(run, paths) => self.with_hub(run, |hub, world| hub.index(world, &paths)),
            Ev::Watch(run, change) => self.with_hub(run, |hub, world| hub.changed(world, &change)),
            Ev::Restart(run) => {
                if run == self.hub_gen && self.hub.is_some() {
                    self.say(|| "the hub leases nothing any more: somebody restarts it".to_owned());
                    self.hub_dies(false);
                }
            }
            Ev::Deliver(conn, Side::Hub) | Ev::Room(conn, Side::Hub) => {
                self.with_hub(self.hub_gen, |hub, world| hub.ready(world, conn));
            }
            Ev::Fin(conn, Side::Hub) => {
                self.with_hub(self.hub_gen, |hub, world| hub.closed(world, conn, End::Closed));
                self.forget(conn);
            }
            Ev::Deliver(conn, Side::Board) => self.board_reads(conn),
            Ev::Room(conn, Side::Board) => {
                if let Some(board) = self.conns.get(&conn).map(|conn| conn.board) {
                    self.board_run(board);
                }
            }
            Ev::Fin(conn, Side::Board) => self.board_hears_end(conn),
            Ev::Connect(board, attempt) => self.connect(board, attempt),
            Ev::BoardUp(board) => self.board_up(board),
            Ev::BoardTimer(board, run) => self.board_timer(board, run),
            Ev::Build(board, lease, build, ends) => self.build(board, lease, build, ends),
            Ev::Killed(board, run, lease, clean) => self.killed(board, run, lease, clean),
            Ev::Drop(package) => self.drop_package(package),
            Ev::Fault(fault) => {
                if self.faults_on {
                    self.fault(fault);
                    self.schedule(fault);
                }
            }
            Ev::Unfull => self.disk.set_full(false),
            Ev::Heal => self.heal(),
            Ev::Inspect => self.inspect(),
        }
    }

    // ---- what everybody uses

    /// A line of the trace.
    pub(super) fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>10} {}", Time(self.now_ms).to_string(), text());
        }
    }

    /// True so often in a million, while there are faults.
    pub(super) fn chance(&mut self, per_million: u32) -> bool {
        self.faults_on && self.dice.chance(per_million)
    }

    /// Lets something happen at that time, milliseconds.
    pub(super) fn at(&mut self, at_ms: u64, event: Ev) {
        self.sequence += 1;
        self.events.insert((at_ms, self.sequence), event);
    }

    /// Lets something happen to this run of the hub, so many milliseconds from now.
    pub(super) fn hub_after(&mut self, ms: u64, event: impl FnOnce(u32) -> Ev) {
        self.at(self.now_ms + ms, event(self.hub_gen));
    }

    /// Whether the hub dies here: its power went at a call of the disk, or it is killed.
    pub(super) fn dies(&mut self) -> bool {
        if self.disk.is_off() || self.chance(self.opt.hub_kill) {
            self.dying = true;
        }
        self.dying
    }

    fn network(&self) -> Network {
        if self.faults_on {
            self.opt.network.clone()
        } else {
            Network { latency_ms: (0, 2), split: 0, buffer_bytes: 200_000 }
        }
    }

    // ---- the hub

    fn with_hub(&mut self, run: u32, body: impl FnOnce(&mut Hub, &mut World)) {
        if run != self.hub_gen {
            return;
        }
        let Some(mut hub) = self.hub.take() else { return };
        let was_stopped = hub.stopped;
        body(&mut hub, self);
        let lives = !self.dying && hub.run(self);
        if hub.stopped && !was_stopped {
            let ms = self.dice.within(1_000, 900_000);
            self.hub_after(ms, Ev::Restart);
        }
        self.hub = Some(hub);
        if !lives {
            let power = self.disk.is_off() || self.dice.chance(self.opt.hub_power);
            self.hub_dies(power);
        }
    }

    fn hub_dies(&mut self, power: bool) {
        self.dying = false;
        self.stats.hub_crashes += 1;
        self.hub_gen += 1;
        let Some(hub) = self.hub.take() else { return };
        self.say(|| format!("the hub {}", if power { "loses power" } else { "is killed" }));
        let silent = power && self.dice.chance(500_000);
        for conn in hub.connections() {
            if silent && let Some(it) = self.conns.get_mut(&conn) {
                it.up.open_hole();
                it.down.open_hole();
                it.hub_closed = true;
            } else {
                self.hang_up(conn, Side::Hub);
            }
        }
        drop(hub);
        self.after_hub(power);
    }

    fn after_hub(&mut self, power: bool) {
        if power {
            let mut dice = Dice::new(self.dice.bits());
            self.disk.power_cut(&mut dice);
            self.check.repo(&self.disk);
        } else {
            self.disk.restart();
        }
        for package in 0..self.dropped.len() {
            if self.dropped[package] && !self.pocket.contains(&package) {
                self.check.one_place(&self.disk, &srpm_name(package));
            }
        }
        let long = self.chance(300_000);
        let ms = self.dice.within(100, if long { 900_000 } else { 10_000 });
        self.at(self.now_ms + ms, Ev::HubUp);
    }

    fn hub_up(&mut self) {
        if self.hub.is_some() {
            return;
        }
        self.hub_gen += 1;
        if self.faults_on && self.opt.clock_off_s > 0 {
            self.hub_off_s = self.draw_clock();
        }
        if self.chance(self.opt.history_lost) {
            self.memory = Memory::default();
        }
        self.say(|| format!("the hub starts, its clock {} s off", self.hub_off_s));
        let off = self.hub_off_s;
        match Hub::start(self, off) {
            Some(hub) => {
                self.hub = Some(hub);
                self.with_hub(self.hub_gen, |_, _| {});
            }
            None => {
                let power = self.disk.is_off();
                self.after_hub(power);
            }
        }
    }

    fn draw_clock(&mut self) -> i64 {
        let span = self.opt.clock_off_s as i64;
        self.dice.below(2 * self.opt.clock_off_s + 1) as i64 - span
    }

    // ---- connections

    fn conn_pipe(&mut self, conn: u64, to: Side) -> Option<&mut Pipe> {
        let conn = self.conns.get_mut(&conn)?;
        Some(match to {
            Side::Hub => &mut conn.up,
            Side::Board => &mut conn.down,
        })
    }

    /// Writes towards an end; says how many bytes were taken.
    pub(super) fn pipe_write(&mut self, conn: u64, to: Side, bytes: &[u8]) -> usize {
        let net = self.network();
        let now = self.now_ms;
        let Some(it) = self.conns.get_mut(&conn) else { return bytes.len() };
        let (pipe, closed, blocked) = match to {
            Side::Hub => (&mut it.up, it.hub_closed, &mut it.board_blocked),
            Side::Board => (&mut it.down, it.board_closed, &mut it.hub_blocked),
        };
        if closed && !pipe.is_hole() {
            return bytes.len();
        }
        let (taken, times) = pipe.write(now, bytes, &net, &mut self.dice);
        *blocked |= taken < bytes.len();
        for at in times {
            self.at(at, Ev::Deliver(conn, to));
        }
        taken
    }

    /// What has arrived at an end and was not read.
    pub(super) fn pipe_arrived(&mut self, conn: u64, at: Side) -> Vec<u8> {
        let now = self.now_ms;
        self.conn_pipe(conn, at).map(|pipe| pipe.arrived(now).to_vec()).unwrap_or_default()
    }

    /// So many bytes were read at an end.
    pub(super) fn pipe_read(&mut self, conn: u64, at: Side, count: usize) {
        if let Some(pipe) = self.conn_pipe(conn, at) {
            pipe.read(count);
        }
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let (blocked, writer) = match at {
            Side::Hub => (&mut it.board_blocked, Side::Board),
            Side::Board => (&mut it.hub_blocked, Side::Hub),
        };
        if std::mem::take(blocked) {
            self.at(self.now_ms, Ev::Room(conn, writer));
        }
    }

    /// An end closes the connection; the other one hears of it after all that was written.
    pub(super) fn hang_up(&mut self, conn: u64, by: Side) {
        let now = self.now_ms;
        let latency = self.network().latency_ms;
        let way = self.dice.within(latency.0, latency.1);
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let (pipe, closed, other) = match by {
            Side::Hub => (&it.down, &mut it.hub_closed, Side::Board),
            Side::Board => (&it.up, &mut it.board_closed, Side::Hub),
        };
        if !std::mem::replace(closed, true) && !pipe.is_hole() {
            let at = (now + way).max(pipe.last_ms());
            self.at(at, Ev::Fin(conn, other));
        }
        self.forget(conn);
    }

    /// Forgets a connection that both ends have closed.
    fn forget(&mut self, conn: u64) {
        if self.conns.get(&conn).is_some_and(|it| it.hub_closed && it.board_closed) {
            // Fin events that are under way find nothing, which is all they would do.
            let hub_knows = self.hub.as_ref().is_some_and(|hub| hub.connections().contains(&conn));
            if !hub_knows {
                self.conns.remove(&conn);
            }
        }
    }

    fn connect(&mut self, board: usize, attempt: u64) {
        if self.attempts[board] != attempt || !matches!(self.boards[board].around.socket, Socket::Connecting)
        {
            return;
        }
        if self.now_ms < self.outage_until_ms {
            return;
        }
        if self.hub.is_none() {
            self.boards[board].around.fail("connection refused");
            return self.board_run(board);
        }
        self.last_conn += 1;
        self.stats.connections += 1;
        let conn = self.last_conn;
        self.conns.insert(
            conn,
            Conn {
                board,
                up: Pipe::default(),
                down: Pipe::default(),
                hub_closed: false,
                board_closed: false,
                hub_blocked: false,
                board_blocked: false,
            },
        );
        let it = &mut self.boards[board];
        let dial = Connect {
            role: Role::Builder,
            versions: Versions::OURS,
            key: &it.key,
            psk: hub::psk(),
            hub_key: Some(hub::key().public()),
        };
        it.around.out.clear();
        let channel = Channel::connect(dial, &mut it.around.out);
        it.around.socket = Socket::Open(conn, Box::new(channel));
        self.with_hub(self.hub_gen, |hub, world| hub.accept(world, conn));
        self.board_run(board);
    }

    // ---- boards

    fn board_up(&mut self, board: usize) {
        if self.boards[board].core.is_some() {
            return;
        }
        if self.faults_on && self.opt.clock_off_s > 0 {
            self.boards[board].clock_off_s = self.draw_clock();
        }
        self.say(|| format!("board{board} starts its client"));
        let (now, faults_on) = (self.now_ms, self.faults_on);
        let it = &mut self.boards[board];
        it.around.disk_fails = if faults_on { self.opt.client_disk } else { 0 };
        it.start(board, now);
        self.board_run(board);
    }

    fn board_timer(&mut self, board: usize, run: u32) {
        let now = self.now_ms;
        let it = &mut self.boards[board];
        if it.epoch != run {
            return;
        }
        it.armed_ms = None;
        let Some(core) = &it.core else { return };
        if core.deadline().is_some_and(|at| it.began_ms + at.0 <= now) {
            it.around.events.push_back(Event::Timer);
        }
        self.board_run(board);
    }

    /// Lets a client take all events there are, as its shell does.
    fn board_run(&mut self, board: usize) {
        let Some(mut core) = self.boards[board].core.take() else { return };
        let mut effects = Vec::new();
        loop {
            let it = &mut self.boards[board];
            it.around.now = Time(self.now_ms - it.began_ms);
            it.around.unix_s = (hub::UNIX_S + self.now_ms / 1_000).saturating_add_signed(it.clock_off_s);
            while let Some(event) = self.boards[board].around.events.pop_front() {
                let now = self.boards[board].around.now;
                core.handle(now, event, &mut effects);
                for effect in effects.drain(..) {
                    if self.chance(self.opt.client_kill) {
                        let power = self.dice.chance(self.opt.client_power);
                        return self.client_dies(board, power);
                    }
                    if let Effect::Exit(code) = effect {
                        return self.client_exits(board, code);
                    }
                    if let Effect::Send(message) = &effect {
                        self.say(|| format!("board{board} says {message:?}"));
                    }
                    let answer = perform(&mut self.boards[board].around, effect);
                    self.boards[board].around.events.extend(answer);
                    self.wishes(board);
                }
            }
            self.boards[board].around.feed();
            let moved = self.board_flush(board);
            self.wishes(board);
            let around = &self.boards[board].around;
            if around.events.is_empty() && !(moved && !around.pieces.is_empty()) {
                break;
            }
        }
        self.boards[board].core = Some(core);
        self.board_arm(board);
    }

    fn board_arm(&mut self, board: usize) {
        let now = self.now_ms;
        let it = &mut self.boards[board];
        let Some(at) = it.core.as_ref().and_then(moji_client::core::Builder::deadline) else { return };
        let at = (it.began_ms + at.0).max(now);
        if it.armed_ms.is_none_or(|armed| at < armed) {
            it.armed_ms = Some(at);
            let run = it.epoch;
            self.at(at, Ev::BoardTimer(board, run));
        }
    }

    /// Writes what waits; says whether any of it went.
    fn board_flush(&mut self, board: usize) -> bool {
        let Socket::Open(conn, _) = self.boards[board].around.socket else { return false };
        let mut out = std::mem::take(&mut self.boards[board].around.out);
        let mut moved = false;
        if !out.is_empty() {
            let taken = self.pipe_write(conn, Side::Hub, &out);
            out.drain(..taken);
            moved = taken > 0;
        }
        self.boards[board].around.out = out;
        moved
    }

    fn wishes(&mut self, board: usize) {
        let wishes = std::mem::take(&mut self.boards[board].around.wishes);
        for wish in wishes {
            match wish {
                Wish::Connect => {
                    self.attempts[board] += 1;
                    let attempt = self.attempts[board];
                    let latency = self.network().latency_ms;
                    let ms = 1 + self.dice.within(latency.0, latency.1);
                    self.at(self.now_ms + ms, Ev::Connect(board, attempt));
                }
                Wish::Close(conn) => self.hang_up(conn, Side::Board),
                Wish::Build(lease, build) => self.build_starts(board, lease, build),
                Wish::Kill(lease, clean) => {
                    let ms = self.dice.within(5, 8_000);
                    let run = self.boards[board].epoch;
                    self.at(self.now_ms + ms, Ev::Killed(board, run, lease, clean));
                }
                Wish::Say(text) => self.say(|| format!("board{board}: {text}")),
            }
        }
    }

    fn board_reads(&mut self, conn: u64) {
        let Some(board) = self.conns.get(&conn).map(|conn| conn.board) else { return };
        let input = self.pipe_arrived(conn, Side::Board);
        self.pipe_read(conn, Side::Board, input.len());
        let mut rest = &input[..];
        while !rest.is_empty() {
            let around = &mut self.boards[board].around;
            let Socket::Open(open, link) = &mut around.socket else { break };
            if *open != conn {
                break;
            }
            match link.receive(rest, &mut around.out) {
                Ok((used, event)) => {
                    rest = &rest[used..];
                    match event {
                        Some(channel::Event::Established { .. }) => around.events.push_back(Event::Connected),
                        Some(channel::Event::Record(record)) => match ToBuilder::decode(&record) {
                            Ok(message) => around.events.push_back(Event::Message(message)),
                            Err(error) => around.fail(&format!("the hub sent nonsense: {error}")),
                        },
                        Some(channel::Event::Refused(why)) => around.fail(&why.to_string()),
                        None => {}
                    }
                }
                Err(error) => around.fail(&format!("the channel broke: {error}")),
            }
        }
        self.wishes(board);
        self.board_run(board);
    }

    fn board_hears_end(&mut self, conn: u64) {
        let Some(board) = self.conns.get(&conn).map(|conn| conn.board) else { return };
        self.board_reads(conn);
        if matches!(self.boards[board].around.socket, Socket::Open(open, _) if open == conn) {
            self.boards[board].around.fail("the hub closed the connection");
            self.wishes(board);
            self.board_run(board);
        }
        self.forget(conn);
    }

    fn client_exits(&mut self, board: usize, code: u8) {
        self.say(|| format!("board{board}: its client ends with {code}"));
        self.wishes(board);
        if let Some(conn) = self.boards[board].end() {
            self.hang_up(conn, Side::Board);
        }
        self.client_comes_back(board);
    }

    fn client_dies(&mut self, board: usize, power: bool) {
        self.stats.client_crashes += 1;
        self.say(|| format!("board{board}: {}", if power { "loses power" } else { "its client is killed" }));
        self.wishes(board);
        let conn = self.boards[board].end();
        if power {
            let mut dice = Dice::new(self.dice.bits());
            self.boards[board].lose_power(&mut dice);
        }
        if let Some(conn) = conn {
            if power && let Some(it) = self.conns.get_mut(&conn) {
                it.up.open_hole();
                it.down.open_hole();
                it.board_closed = true;
            } else {
                self.hang_up(conn, Side::Board);
            }
        }
        self.client_comes_back(board);
    }

    fn client_comes_back(&mut self, board: usize) {
        let long = self.chance(300_000);
        let ms = self.dice.within(100, if long { 900_000 } else { 10_000 });
        self.at(self.now_ms + ms, Ev::BoardUp(board));
    }

    // ---- mock

    fn build_starts(&mut self, board: usize, lease: LeaseId, build: u64) {
        let it = &self.boards[board];
        let Some(job) = it.around.folder.jobs.get(&lease) else { return };
        let package = number_of(&job.record.srpm);
        let right = Digest::of(&job.srpm) == job.record.digest;
        let others = it.around.folder.jobs.iter().filter(|(id, job)| **id != lease && job.running.is_some());
        let others = others.count();
        self.check.started(lease, it.key.public(), others, right);
        let ms = self.opt.packages[package].build_ms;
        // Boards differ, unless the farm is a model of which the build times are given.
        let ms = if self.opt.faults_ms > 0 { ms / 2 + self.dice.below(ms + 1) } else { ms };
        self.at(self.now_ms + ms / 2, Ev::Build(board, lease, build, false));
        self.at(self.now_ms + ms, Ev::Build(board, lease, build, true));
    }

    fn build(&mut self, board: usize, lease: LeaseId, build: u64, ends: bool) {
        let Some(job) = self.boards[board].around.folder.jobs.get(&lease) else { return };
        if job.running != Some(build) {
            return;
        }
        let package = number_of(&job.record.srpm);
        if ends {
            self.stats.builds += 1;
            self.stats.busy_ms += self.opt.packages[package].build_ms;
            self.stats.last_build_ms = self.now_ms;
            return self.build_ends(board, lease, package);
        }
        let log = vec![b'l'; self.opt.packages[package].log_bytes / 2];
        let size = log.len() as u64;
        let around = &mut self.boards[board].around;
        if let Some(job) = around.folder.jobs.get_mut(&lease) {
            job.results.insert(file_name("build.log"), log);
        }
        around.events.push_back(Event::PhaseSeen { lease, phase: Phase::Build });
        around.events.push_back(Event::LogGrown { lease, which: Which::Build, size });
        self.board_run(board);
    }

    fn build_ends(&mut self, board: usize, lease: LeaseId, package: usize) {
        let [infra, lost, memory] = self.opt.build_faults;
        let (infra, lost, memory) = (self.chance(infra), self.chance(lost), self.chance(memory));
        let provided = |needed: usize| {
            self.indexed().iter().any(|path| path.ends_with(&format!("/p{needed}-1-1.noarch.rpm")))
        };
        let plan = &self.opt.packages[package];
        let line = |which: Which, text: &str| vec![(which, Line::lossy(text))];
        let needs = |needed: &str| line(Which::Root, &format!("No matching package to install: '{needed}'"));
        let (code, evidence) = match plan.nature {
            _ if infra => (30, line(Which::Root, "Status code: 503 for http://hub/repo")),
            _ if memory => (247, Vec::new()),
            Nature::Large(mib) if self.boards[board].memory_mib < mib => (247, Vec::new()),
            Nature::Needs(needed) if !provided(needed) => (30, needs(&format!("p{needed}"))),
            Nature::NeedsNothingThere => (30, needs("nothing-there")),
            Nature::Failing => {
                (1, line(Which::Build, "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)"))
            }
            _ => (0, Vec::new()),
        };
        let mut files = vec![(file_name("build.log"), vec![b'l'; plan.log_bytes])];
        if code == 0 {
            let (name, source) = match plan.nature {
                Nature::Foreign => ("evil".to_owned(), rpm::source("evil", 1, 9)),
                _ => (format!("p{package}"), self.srpms[package].clone()),
            };
            let mut binary = rpm::binary(&name, &name, 1, plan.payload_bytes);
            if plan.nature == Nature::Damaged {
                binary.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1);
            }
            files.push((file_name(&format!("{name}-1-1.src.rpm")), source));
            files.push((file_name(&format!("{name}-1-1.noarch.rpm")), binary));
        }
        let listed = files.iter().map(|(name, bytes)| ResultFile {
            name: name.clone(),
            size: bytes.len() as u64,
            digest: Digest::of(bytes),
        });
        let summary = Summary {
            exit: Exit::Code(code),
            phase: Phase::Build,
            backend: Backend::Mock,
            seconds: 1,
            oom_kills: 0,
            files: listed.collect(),
            evidence,
        };
        self.say(|| format!("board{board} lease={lease} mock ends with {code}, lost {lost}"));
        let around = &mut self.boards[board].around;
        let Some(job) = around.folder.jobs.get_mut(&lease) else { return };
        job.running = None;
        if lost {
            around.events.push_back(Event::ShimDied { lease });
        } else {
            job.results = files.into_iter().collect();
            job.summary = Some(summary.clone());
            around.events.push_back(Event::Ended { lease, summary });
        }
        if self.boards[board].core.is_none() {
            // Whoever starts next finds it in the folder.
            self.boards[board].around.events.clear();
        }
        self.board_run(board);
    }

    fn killed(&mut self, board: usize, run: u32, lease: LeaseId, clean: bool) {
        let it = &mut self.boards[board];
        if it.epoch != run || it.core.is_none() {
            return;
        }
        if clean {
            it.around.folder.jobs.remove(&lease);
        }
        it.around.events.push_back(Event::Killed { lease });
        self.board_run(board);
    }

    // ---- people and faults

    fn drop_package(&mut self, package: usize) {
        self.dropped[package] = true;
        self.put(package);
    }

    fn put(&mut self, package: usize) {
        let name = srpm_name(package);
        self.say(|| format!("somebody drops {name}"));
        self.check.absent.remove(&name);
        let bytes = self.srpms[package].clone();
        self.disk.put(&format!("source/{name}"), &bytes);
        self.tell_watch();
    }

    fn tell_watch(&mut self) {
        self.with_hub(self.hub_gen, |hub, world| hub.watch(world));
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Full => {
                self.say(|| "the hub's disk is full".to_owned());
                self.disk.set_full(true);
                let ms = self.dice.within(1_000, 120_000);
                self.at(self.now_ms + ms, Ev::Unfull);
            }
            Fault::Network => self.network_fault(),
            Fault::Outage => {
                let ms = self.dice.within(5_000, 150_000);
                self.say(|| format!("nobody reaches the hub for {ms} ms"));
                self.outage_until_ms = self.now_ms + ms;
                for conn in self.conns.values_mut() {
                    conn.up.open_hole();
                    conn.down.open_hole();
                }
            }
            Fault::Stop => {
                let board = self.dice.below(self.boards.len() as u64) as usize;
                let event = if self.dice.chance(500_000) { Event::Stop } else { Event::Drain };
                self.say(|| format!("board{board} is told to {event:?}"));
                if self.boards[board].core.is_some() {
                    self.boards[board].around.events.push_back(event);
                    self.board_run(board);
                }
            }
            Fault::People => self.people(),
        }
    }

    fn network_fault(&mut self) {
        let all: Vec<u64> = self.conns.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let conn = *self.dice.pick(&all);
        let kind = self.dice.below(4);
        self.say(|| format!("connection {conn}: {}", ["reset", "deaf", "mute", "dead"][kind as usize]));
        let Some(it) = self.conns.get_mut(&conn) else { return };
        if kind != 1 {
            it.down.open_hole();
        }
        if kind != 2 {
            it.up.open_hole();
        }
        if kind == 0 {
            self.at(self.now_ms, Ev::Fin(conn, Side::Hub));
            self.at(self.now_ms, Ev::Fin(conn, Side::Board));
        }
    }

    fn people(&mut self) {
        let package = self.dice.below(self.dropped.len() as u64) as usize;
        if !self.dropped[package] || self.pocket.contains(&package) {
            return;
        }
        let name = srpm_name(package);
        self.check.touched.insert(name.clone());
        match self.dice.below(3) {
            0 => self.put(package),
            1 => {
                if self.disk.shove(&format!("finished/{name}"), &format!("source/{name}")) {
                    self.say(|| format!("somebody moves {name} from finished/ to source/"));
                    self.tell_watch();
                }
            }
            _ => {
                self.check.absent.insert(name.clone());
                let taken =
                    ["working", "source", "finished"].map(|place| self.disk.take(&format!("{place}/{name}")));
                if taken.contains(&true) {
                    self.say(|| format!("somebody takes {name} away"));
                    self.dropped[package] = false;
                    self.pocket.push(package);
                    self.tell_watch();
                }
            }
        }
    }

    fn heal(&mut self) {
        self.say(|| "the faults stop".to_owned());
        self.faults_on = false;
        self.healed_ms = self.now_ms;
        self.outage_until_ms = 0;
        self.set_disk_faults();
        self.disk.set_full(false);
        let off = self.hub_off_s;
        for board in &mut self.boards {
            board.clock_off_s = off;
            board.around.disk_fails = 0;
            board.settle_folder();
        }
        for package in std::mem::take(&mut self.pocket) {
            self.drop_package(package);
        }
        for package in 0..self.dropped.len() {
            if !self.dropped[package] && self.opt.packages[package].dropped_ms <= self.now_ms {
                self.drop_package(package);
            }
        }
        self.at(self.now_ms + self.opt.inspect_every_ms, Ev::Inspect);
    }

    // ---- the end

    /// Paths in the live index.
    fn indexed(&self) -> Vec<String> {
        let repomd = self.disk.bytes("repo/repodata/repomd.xml").unwrap_or_default();
        let text = String::from_utf8_lossy(&repomd).into_owned();
        let name = text.split('"').nth(1).unwrap_or_default().to_owned();
        let list = self.disk.bytes(&format!("repo/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&list).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    fn inspect(&mut self) {
        match self.left() {
            None => {
                self.say(|| "everything is done".to_owned());
                self.finish();
                self.done = true;
            }
            Some(left) if self.now_ms > self.healed_ms + self.opt.healed_max_ms => {
                let hub = self
                    .hub
                    .as_ref()
                    .map(|hub| hub.queue.snapshot(Time(self.now_ms - hub.started_ms)).why_nothing());
                let boards: Vec<String> = self
                    .boards
                    .iter()
                    .map(|board| {
                        board.core.as_ref().map_or("off".to_owned(), moji_client::core::Builder::status)
                    })
                    .collect();
                let hours = self.opt.healed_max_ms / 3_600_000;
                self.check.fail(format!(
                    "stuck {hours} h after the faults: {left}; the hub: {hub:?}; the boards: {boards:?}; live leases: {:?}",
                    self.check.live()
                ));
            }
            Some(_) => self.at(self.now_ms + self.opt.inspect_every_ms, Ev::Inspect),
        }
    }

    /// What is not done yet.
    fn left(&self) -> Option<String> {
        let indexed = self.indexed();
        if self.hub.is_none() {
            return Some("the hub is down".to_owned());
        }
        for (package, plan) in self.opt.packages.iter().enumerate() {
            let name = srpm_name(package);
            let waits = match plan.nature {
                Nature::NeedsNothingThere => true,
                Nature::Needs(needed) => {
                    !indexed.iter().any(|path| path.ends_with(&format!("/p{needed}-1-1.noarch.rpm")))
                }
                _ => false,
            };
            let there = |place: &str| self.disk.look(&format!("{place}/{name}")).is_some();
            if !(self.dropped[package] && (there("finished") || waits) && !there("working"))
                || (there("source") && !waits)
            {
                return Some(format!(
                    "{name} ({:?}) is in {:?}",
                    plan.nature,
                    ["source", "working", "finished"].map(|place| there(place).then_some(place))
                ));
            }
        }
        if let Some(lease) = self.check.live().first() {
            return Some(format!("lease {lease} lives"));
        }
        for (number, board) in self.boards.iter().enumerate() {
            if let Some(lease) = board.around.folder.jobs.keys().next() {
                return Some(format!("board{number} has a job of {lease}"));
            }
            if !board.around.folder.released.is_empty() {
                return Some(format!("board{number} has releases that nobody heard of"));
            }
        }
        self.disk
            .names("working")
            .into_iter()
            .find(|name| name.starts_with(".stage-"))
            .map(|name| format!("working/{name} is there"))
            .or_else(|| self.not_indexed(&indexed))
    }

    fn not_indexed(&self, indexed: &[String]) -> Option<String> {
        self.opt.packages.iter().enumerate().find_map(|(package, plan)| {
            let built = matches!(plan.nature, Nature::Good | Nature::Needs(_) | Nature::Large(_));
            let rpm = format!("p{package}-1-1.noarch.rpm");
            let folders = self.check.results_of(&srpm_name(package));
            let published =
                folders.iter().any(|folder| self.disk.look(&format!("repo/{folder}/{rpm}")).is_some());
            let listed = indexed.iter().any(|path| path.ends_with(&format!("/{rpm}")));
            (built && published && !listed).then(|| format!("{rpm} is published and not in the index"))
        })
    }

    /// What must hold when everything is done.
    fn finish(&mut self) {
        self.check.repo(&self.disk);
        for path in self.indexed() {
            if self.disk.look(&format!("repo/{path}")).is_none() {
                self.check.fail(format!("the index names {path}, which is not there"));
            }
        }
        for (package, plan) in self.opt.packages.iter().enumerate() {
            let name = srpm_name(package);
            let folders = self.check.results_of(&name);
            let rpm = format!("p{package}-1-1.noarch.rpm");
            let published =
                folders.iter().any(|folder| self.disk.look(&format!("repo/{folder}/{rpm}")).is_some());
            let excused = self.check.charged.contains(&name);
            let bad = matches!(
                plan.nature,
                Nature::Failing | Nature::Foreign | Nature::Damaged | Nature::NeedsNothingThere
            );
            if plan.nature == Nature::Good && !published && !excused {
                self.check.fail(format!("{name} is finished, was never charged, and is not published"));
            }
            if bad && published {
                self.check.fail(format!("{name} ({:?}) was published", plan.nature));
            }
        }
    }
}

fn file_name(text: &str) -> FileName {
    FileName::new(text).expect("names of the simulation are safe")
}
