//! The shell: one mio loop around the core.
//!
//! Owns the socket, the children, the state folder and the signals, and carries out what the core
//! decides. Never blocks on any of them, and decides nothing itself. What it does that touches the
//! disk in the loop is small: a record, a piece of at most 32 KiB; hashing and syncing of results is
//! the shim's.

mod children;
mod socket;

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use moji_proto::limits::CHUNK_BYTES_MAX;
use moji_proto::message::{FromBuilder, Which};
use moji_proto::{Bytes, FileName, LeaseId, Time};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use crate::core::{
    Builder, Config, Effect, Event, FoundStage, JobRecord, Level, Measured, Released, Repos, UNREACHABLE,
};
use crate::daemon;
use crate::effects::{Children, Clock, Link, PieceOf, Store, World, perform};
use crate::exit::{self, Failure};
use crate::files;
use crate::launch::Tools;
use crate::logger;
use crate::proc;
use crate::shim::open_regular;
use crate::state::StateFolder;
use children::ChildrenSet;
pub use socket::{Dial, print_addresses};
use socket::{RESOLVER, SOCKET, Socket};

/// The token of the signals.
const SIGNALS: Token = Token(2);
/// Events taken from the kernel at a time: there are three sources.
const EVENTS_MAX: usize = 8;

/// Runs a builder until the core says that it ends, or it is told to leave; returns the exit code. Calls `up` once
/// nothing can keep it from running any more.
///
/// # Errors
/// A [`Failure`] if the loop cannot be set up or the state folder cannot be read.
pub fn run(
    config: Config,
    tools: Tools,
    state: StateFolder,
    dial: Dial,
    up: impl FnOnce(),
) -> Result<u8, Failure> {
    let internal = |error: io::Error| Failure::new(exit::STATE, format!("cannot run: {error}: report this"));
    let mut poll = Poll::new().map_err(internal)?;
    let signals = daemon::signals().map_err(|error| internal(error.into()))?;
    poll.registry()
        .register(&mut SourceFd(&signals.as_raw_fd()), SIGNALS, Interest::READABLE)
        .map_err(internal)?;
    let registry = poll.registry().try_clone().map_err(internal)?;

    let (jobs, released) = (state.found()?, state.released()?);
    let draining = state.is_draining();
    let chroots = tools.chroots.clone();
    let mut children = ChildrenSet::new(state.clone(), tools);
    for job in jobs.iter().filter(|job| job.stage == FoundStage::Building) {
        children.watch(job.record.lease);
    }
    let mut real = Real {
        began: Instant::now(),
        state,
        chroots,
        socket: Socket::new(dial, registry),
        children,
        pieces: VecDeque::new(),
        leaves: false,
        events: VecDeque::from([Event::Begin { jobs, released, draining }]),
    };
    let mut builder = Builder::new(config);
    let mut ready = Events::with_capacity(EVENTS_MAX);
    let (mut status, mut away) = (String::new(), None);
    up();
    loop {
        if let Some(code) = real.settle(&mut builder) {
            return Ok(code);
        }
        let mut line = builder.status();
        if line.ends_with(UNREACHABLE) {
            line = line + " since " + away.get_or_insert_with(logger::now);
        } else {
            away = None;
        }
        if line != status {
            real.state.say_status(&line);
            status = line;
        }
        match poll.poll(&mut ready, real.patience(&builder)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(internal(error)),
            _ => {}
        }
        real.take(&ready, &signals);
        if real.leaves {
            return Ok(exit::OK);
        }
        if builder.deadline().is_some_and(|due| real.now() >= due) {
            real.events.push_back(Event::Timer);
        }
    }
}

/// The real world.
struct Real {
    began: Instant,
    state: StateFolder,
    /// Where mock keeps its chroots.
    chroots: Option<PathBuf>,
    socket: Socket,
    children: ChildrenSet,
    /// Pieces of files that wait for room in the socket.
    pieces: VecDeque<PieceOf>,
    /// Told to end at once and to leave everything to the next client.
    leaves: bool,
    events: VecDeque<Event>,
}

impl Real {
    /// Lets the core take all events there are and carries out what it says, until there is
    /// nothing left to do but wait. Returns the exit code when the core ends.
    #[inline(never)]
    fn settle(&mut self, builder: &mut Builder) -> Option<u8> {
        let mut effects = Vec::new();
        loop {
            while let Some(event) = self.events.pop_front() {
                let now = self.now();
                builder.handle(now, event, &mut effects);
                for effect in effects.drain(..) {
                    if let Effect::Exit(code) = effect {
                        return Some(code);
                    }
                    let answer = perform(self, effect);
                    self.events.extend(answer);
                }
            }
            self.keep_hub();
            self.feed();
            self.socket.flush();
            if self.socket.has_input() {
                self.socket.read(&mut self.events);
            }
            let more = self.socket.has_input() || (self.socket.has_room() && !self.pieces.is_empty());
            if self.events.is_empty() && !more {
                return None;
            }
        }
    }

    /// Reads queued pieces of files into the socket while it has room.
    #[inline(never)]
    fn feed(&mut self) {
        while self.socket.has_room()
            && let Some(piece) = self.pieces.pop_front()
        {
            let PieceOf { lease, file, name, offset, length } = piece;
            let path = self.state.job(lease).result().join(&name);
            match read_piece(&path, offset, length) {
                Ok(bytes) if bytes.len() == length as usize => {
                    self.socket.send(&FromBuilder::Data { lease, file, offset, bytes: Bytes(bytes) });
                }
                Ok(_) => self.spool_broken(lease, format!("{name} became shorter")),
                Err(error) => self.spool_broken(lease, format!("{name}: {error}")),
            }
        }
    }

    /// Free space where builds and results are kept, whichever is less, MiB.
    fn disk_free_mib(&self) -> u32 {
        let state = disk_free_mib(&self.state.0);
        self.chroots.as_deref().map_or(state, |chroots| state.min(disk_free_mib(chroots)))
    }

    fn spool_broken(&mut self, lease: LeaseId, why: String) {
        self.events.push_back(Event::SpoolBroken { lease, why });
    }

    /// Stores the hub's key after first use.
    fn keep_hub(&mut self) {
        if let Some(key) = self.socket.take_proven() {
            match self.state.keep_known_hub(&key) {
                Ok(()) => log::info!("trusts the hub with key {key} from now on"),
                Err(error) => log::error!("failed to store the hub's key: {error}"),
            }
        }
    }

    /// How long the loop may wait.
    fn patience(&self, builder: &Builder) -> Option<Duration> {
        let now = self.now();
        let due =
            [builder.deadline(), self.children.due(now), self.socket.due()].into_iter().flatten().min()?;
        // A millisecond more, so that the moment has surely come when the loop wakes.
        Some(Duration::from_millis(due.since_ms(now) + u64::from(due > now)))
    }

    /// Turns what the kernel reported into events.
    #[inline(never)]
    fn take(&mut self, ready: &Events, signals: &SignalFd) {
        let now = self.now();
        for event in ready {
            match event.token() {
                SOCKET => {
                    let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                    let writable = event.is_writable() || event.is_error();
                    self.socket.ready(readable, writable, now, &mut self.events);
                }
                RESOLVER => self.socket.resolver_ready(now, &mut self.events),
                _ => self.take_signals(signals),
            }
        }
        self.socket.timer(now, &mut self.events);
        let room = self.socket.has_room();
        self.children.tick(now, room, &mut self.events);
    }

    fn take_signals(&mut self, signals: &SignalFd) {
        while let Ok(Some(info)) = signals.read_signal() {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGTERM | Signal::SIGINT) => self.events.push_back(Event::Stop),
                Ok(Signal::SIGUSR1) => self.events.push_back(Event::Drain),
                Ok(Signal::SIGUSR2) => self.events.push_back(Event::Enable),
                Ok(Signal::SIGHUP) => self.leaves = true,
                _ => self.children.reap(),
            }
        }
    }
}

/// Free space for an ordinary user at `path` or the nearest folder above it, MiB; 0 if it cannot be
/// told.
#[must_use]
pub fn disk_free_mib(path: &Path) -> u32 {
    let stat = path.ancestors().find_map(|path| nix::sys::statvfs::statvfs(path).ok());
    // The types of the fields differ between platforms.
    #[allow(clippy::unnecessary_cast)]
    let bytes =
        stat.map_or(0, |stat| (stat.blocks_available() as u64).saturating_mul(stat.fragment_size() as u64));
    (bytes / (1024 * 1024)).try_into().unwrap_or(u32::MAX)
}

fn read_piece(path: &Path, offset: u64, length: u32) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let mut bytes = vec![0; (length as usize).min(CHUNK_BYTES_MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

impl Clock for Real {
    fn now(&self) -> Time {
        Time(self.began.elapsed().as_millis() as u64)
    }
}

impl Link for Real {
    fn connect(&mut self) {
        let now = self.now();
        self.socket.connect(now, &mut self.events);
    }

    fn disconnect(&mut self) {
        self.pieces.clear();
        self.socket.disconnect();
    }

    fn send(&mut self, message: &FromBuilder) {
        self.socket.send(message);
    }

    fn send_piece(&mut self, piece: PieceOf) {
        self.pieces.push_back(piece);
    }

    fn drop_pieces(&mut self, lease: LeaseId) {
        self.pieces.retain(|piece| piece.lease != lease);
    }
}

impl Store for Real {
    fn store_job(&mut self, record: &JobRecord) -> io::Result<()> {
        let folder = self.state.job(record.lease);
        fs::create_dir(&folder.0)?;
        fs::create_dir(folder.entry("srpm"))?;
        folder.write("job", record)?;
        files::sync_folder(&self.state.0.join("jobs"))
    }

    fn write_srpm(&mut self, lease: LeaseId, srpm: &FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let path = self.state.job(lease).entry("srpm").join(srpm);
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        if offset == 0 {
            file.set_len(0)?;
        }
        file.write_all(bytes)
    }

    fn store_releases(&mut self, released: &[Released]) -> io::Result<()> {
        self.state.keep_released(released)
    }

    fn store_drain(&mut self, draining: bool) -> io::Result<()> {
        self.state.keep_draining(draining)
    }

    fn read_log(&mut self, lease: LeaseId, which: Which, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        read_piece(&self.state.job(lease).result().join(which.file_name()), offset, length)
    }

    fn forget(&mut self, lease: LeaseId) {
        let now = self.now();
        self.children.forget(now, lease);
    }

    fn measure(&mut self) -> Measured {
        let (_, memory_free_mib) = proc::memory_mib();
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Measured {
            disk_free_mib: self.disk_free_mib(),
            memory_free_mib,
            load_centi: proc::load_centi(),
            celsius: proc::celsius(),
            unix_s: unix.as_secs(),
        }
    }
}

impl Children for Real {
    fn start(&mut self, record: &JobRecord, repos: &Repos) -> io::Result<()> {
        self.children.start(record, repos)
    }

    fn kill(&mut self, now: Time, lease: LeaseId, clean: bool) {
        self.children.kill(now, lease, clean);
    }
}

impl World for Real {
    fn log(&mut self, level: Level, text: &str) {
        match level {
            Level::Info => log::info!("{text}"),
            Level::Warn => log::warn!("{text}"),
            Level::Error => log::error!("{text}"),
        }
    }
}
