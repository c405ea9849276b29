//! The world: one clock, one queue of events, and all that happens to hub, boards and network.
//!
//! Owns time and every fault. A run has two phases: first there are faults, and only safety counts; then
//! they stop, everything that was off comes back, and within bounded time every package must be where it
//! belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use moji_client::core::{Effect, Event, ResultFile, Summary};
use moji_client::effects::perform;
use moji_proto::channel::{self, Channel, Connect};
use moji_proto::hello::{Role, Versions};
use moji_proto::message::{Backend, Exit, Message as _, Phase, ToBuilder, Verdict, Which};
use moji_proto::{Digest, FileName, LeaseId, Line, PublicKey, Time};
use moji_server::core::transfers::Op;
use moji_server::disk::Folders;
use moji_server::index::work::Order;
use moji_server::net::session::End;

use super::board::Board;
use super::check::{Checker, LACKS};
use super::dice::Dice;
use super::disk::{Change, Faults, SimDisk};
use super::hub::{self, Hub, Memory};
use super::options::{Nature, Network, Options};
use super::pipe::Pipe;
use super::planted::Planted;
use super::rpm;
use moji_server::result_json::ResultJson;

mod boards;
mod end;
mod faults;
mod indexes;
mod mock;
mod net;

/// So many events are more than any run needs that gets anywhere.
const EVENTS_MAX: u64 = 200_000_000;
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
    /// One of repo's threads is through with an order.
    Index(u32, Box<Order>),
    /// An index would be live by now, if this run made any.
    NoIndex(u32),
    /// Somebody looks at what people did in `repo/`, maybe for the first time.
    Hands(u32, bool),
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
    /// The hub is stopped and started again.
    HubStop,
    /// People edit a list.
    Lists,
    /// People do something in `repo/`.
    Repo,
    /// Somebody sets a wall clock.
    Clock,
}

impl Fault {
    const ALL: [Fault; 9] = [
        Fault::Full,
        Fault::Network,
        Fault::Outage,
        Fault::Stop,
        Fault::People,
        Fault::HubStop,
        Fault::Lists,
        Fault::Repo,
        Fault::Clock,
    ];
}

struct Conn {
    board: usize,
    /// Its board has a wrong secret.
    stranger: bool,
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
    /// Second leases beside another.
    pub copies: u64,
    /// Builds that began again since their repository was not enough, as often as it was said.
    pub again: u64,
}

impl Stats {
    /// Adds those of another run.
    pub(super) fn add(&mut self, other: &Stats) {
        self.events += other.events;
        self.virtual_ms += other.virtual_ms;
        self.hub_crashes += other.hub_crashes;
        self.client_crashes += other.client_crashes;
        self.builds += other.builds;
        self.connections += other.connections;
        self.copies += other.copies;
        self.again += other.again;
    }
}

/// A build as it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// Number of the board.
    pub board: usize,
    /// Number of the package.
    pub package: usize,
    /// When it began, milliseconds.
    pub began_ms: u64,
    /// When it ended by itself, milliseconds.
    pub ended_ms: Option<u64>,
}

/// What a run was.
pub(super) struct Ran {
    pub(super) stats: Stats,
    /// All builds, by their beginning.
    pub(super) builds: Vec<Build>,
    /// The last verdict on each package.
    pub(super) verdicts: BTreeMap<usize, Verdict>,
}

/// Files that mock left.
type Made = Rc<Vec<(ResultFile, Vec<u8>)>>;

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
    /// The public half of its key.
    hub_key: PublicKey,
    /// Which run of the hub it is.
    pub(super) hub_gen: u32,
    /// The hub dies of the present event.
    pub(super) dying: bool,
    /// The hub is being stopped: it is not killed meanwhile.
    stopping: bool,
    hub_off_s: i64,
    /// Lines of `priority.txt` as it is.
    priority: Vec<String>,
    boards: Vec<Board>,
    attempts: Vec<u64>,
    conns: BTreeMap<u64, Conn>,
    last_conn: u64,
    outage_until_ms: u64,
    /// The last change that the watch will hear of, milliseconds.
    pub(super) watch_ms: u64,
    /// What must hold.
    pub(super) check: Checker,
    /// What readers of the indexes saw last.
    seen_indexes: BTreeMap<&'static str, indexes::SeenIndex>,
    /// RPMs that people put into `repo/`, by path.
    by_hand: BTreeMap<String, Vec<u8>>,
    /// Folders of results that operators took out of the index.
    retracted: BTreeSet<String>,
    /// `history.db`.
    pub(super) memory: Memory,
    /// Taken out of the folders by people, to be put back.
    pocket: Vec<usize>,
    dropped: Vec<bool>,
    /// Each package's SRPM and its digest.
    srpms: Vec<(Vec<u8>, Digest)>,
    /// What mock leaves of a package that builds, or does not.
    made: BTreeMap<(usize, bool), Made>,
    faults_on: bool,
    healed_ms: u64,
    /// The bug that is planted.
    pub(super) planted: Option<Planted>,
    /// A builder was rejected for what it said: the two cores misunderstand each other.
    pub(super) rejected: Option<String>,
    trace: bool,
    done: bool,
    stats: Stats,
    builds: Vec<Build>,
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
            boards.map(|(i, memory)| Board::new(i, *memory, i < opt.once, Dice::new(dice.bits()))).collect();
        let srpms = opt.packages.iter().enumerate();
        let srpms = srpms.map(|(i, p)| {
            let bytes = rpm::source(&format!("p{i}"), 1, p.payload_bytes);
            let digest = Digest::of(&bytes);
            (bytes, digest)
        });
        let srpms = srpms.collect();
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
            hub_key: hub::key().public(),
            hub_gen: 0,
            dying: false,
            stopping: false,
            hub_off_s: 0,
            priority: Vec::new(),
            boards,
            conns: BTreeMap::new(),
            last_conn: 0,
            outage_until_ms: 0,
            watch_ms: 0,
            check: Checker::default(),
            seen_indexes: BTreeMap::new(),
            by_hand: BTreeMap::new(),
            retracted: BTreeSet::new(),
            memory: Memory::default(),
            pocket: Vec::new(),
            srpms,
            made: BTreeMap::new(),
            faults_on: opt.faults_ms > 0,
            healed_ms: 0,
            planted,
            rejected: None,
            trace,
            done: false,
            stats: Stats::default(),
            builds: Vec::new(),
            opt,
        };
        world.begin();
        world
    }

    /// The keys of all boards.
    pub(super) fn board_keys(&self) -> Vec<PublicKey> {
        self.boards.iter().map(|board| board.public).collect()
    }

    /// A second lease was granted, or not.
    pub(super) fn count_copy(&mut self, is_one: bool) {
        self.stats.copies += u64::from(is_one);
    }

    pub(super) fn count_again(&mut self) {
        self.stats.again += 1;
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
        for fault in Fault::ALL {
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
            Fault::HubStop => self.opt.hub_stop_every_ms,
            Fault::Lists => self.opt.lists_every_ms,
            Fault::Repo => self.opt.repo_every_ms,
            Fault::Clock => self.opt.clock_jump_every_ms,
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
    pub(super) fn run(mut self) -> Result<Ran, String> {
        let mut instant = (0, 0);
        while !self.done {
            let Some(((at, _), event)) = self.events.pop_first() else {
                return Err("nothing is left to happen".to_owned());
            };
            instant = if at == instant.0 { (at, instant.1 + 1) } else { (at, 0) };
            if self.opt.stop_ms > 0 && at > self.opt.stop_ms {
                self.now_ms = self.opt.stop_ms;
                break;
            }
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
        let verdicts = self.check.verdicts().iter().map(|(srpm, verdict)| (number_of(srpm), *verdict));
        Ok(Ran { verdicts: verdicts.collect(), stats: self.stats, builds: self.builds })
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
            Ev::Index(run, order) => self.with_hub(run, |hub, world| hub.index(world, *order)),
            Ev::NoIndex(run) => self.with_hub(run, |hub, _| hub.no_index()),
            Ev::Hands(run, first) => self.with_hub(run, |hub, world| hub.hands(world, first)),
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
        if self.disk.is_off() || !self.stopping && self.chance(self.opt.hub_kill) {
            self.dying = true;
        }
        self.dying
    }

    /// Whether the hub is being stopped.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
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
            self.check_indexes();
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
}

fn file_name(text: &str) -> FileName {
    FileName::new(text).expect("names of the simulation are safe")
}
