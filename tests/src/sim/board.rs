//! A board: the real client core over a simulated state folder, mock and socket.
//!
//! Owns what survives on the board and what its programs do. Decides nothing that the client decides.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use moji_client::core::{
    Builder, Config, Event, Found, FoundStage, JobRecord, Level, Measured, Released, Repos, Summary,
};
use moji_client::effects::{Children, Clock, Link, PieceOf, Store, World};
use moji_proto::channel::Channel;
use moji_proto::message::{Backend, FromBuilder, Message as _, Which};
use moji_proto::secret::SecretKey;
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line, PublicKey, Time};

use super::dice::Dice;

/// While fewer bytes than this wait to be sent there is room for pieces of files, as in the real shell.
const ROOM_BYTES: usize = 32 * 1024;

/// A job's folder.
#[derive(Clone, Debug)]
pub(super) struct JobDir {
    /// What was stored first.
    pub(super) record: JobRecord,
    /// The SRPM as far as it came.
    pub(super) srpm: Vec<u8>,
    /// The shim was started.
    pub(super) launched: bool,
    /// The build that runs.
    pub(super) running: Option<u64>,
    /// What the shim wrote.
    pub(super) summary: Option<Summary>,
    /// What mock left.
    pub(super) results: BTreeMap<FileName, Vec<u8>>,
    /// Its end began.
    pub(super) over: bool,
}

/// What survives a crash of the client.
#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    /// Jobs.
    pub(super) jobs: BTreeMap<LeaseId, JobDir>,
    /// Releases that were not confirmed.
    pub(super) released: Vec<Released>,
    /// Whether it drains.
    pub(super) draining: bool,
    /// Folders that were deleted, but not durably.
    pub(super) deleted: BTreeMap<LeaseId, JobDir>,
}

/// What the board wants the world to do, later.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// Connect.
    Connect,
    /// Close this connection.
    Close(u64),
    /// A build of a job began.
    Build(LeaseId, u64),
    /// What runs of a job is killed.
    Kill(LeaseId, bool),
    /// A line for the trace.
    Say(String),
}

/// The connection as the client's socket has it.
#[derive(Default)]
pub(super) enum Socket {
    /// None.
    #[default]
    Idle,
    /// On its way.
    Connecting,
    /// Open.
    Open(u64, Box<Channel>),
}

/// Everything around the core.
pub(super) struct Around {
    /// Time of this run of the client.
    pub(super) now: Time,
    /// The wall clock, unix seconds.
    pub(super) unix_s: u64,
    /// What survives.
    pub(super) folder: Folder,
    /// The connection.
    pub(super) socket: Socket,
    /// Bytes to be sent.
    pub(super) out: Vec<u8>,
    /// Pieces to be sent when there is room.
    pub(super) pieces: VecDeque<PieceOf>,
    /// Events for the core.
    pub(super) events: VecDeque<Event>,
    /// For the world.
    pub(super) wishes: Vec<Wish>,
    /// Chance of its own.
    pub(super) dice: Dice,
    /// Its disk fails, so often in a million.
    pub(super) disk_fails: u32,
    /// Builds are counted.
    pub(super) builds: u64,
    /// Builds that this run of the client started.
    pub(super) started: u64,
}

/// A board.
pub(super) struct Board {
    /// Its key.
    pub(super) key: SecretKey,
    /// The public half of it.
    pub(super) public: PublicKey,
    /// Memory, MiB.
    pub(super) memory_mib: u32,
    /// It runs with `--once`.
    pub(super) once: bool,
    /// The client, while it runs.
    pub(super) core: Option<Builder>,
    /// Everything around it.
    pub(super) around: Around,
    /// Runs of the client, counted.
    pub(super) epoch: u32,
    /// When this run began, milliseconds.
    pub(super) began_ms: u64,
    /// The earliest timer that is set, milliseconds.
    pub(super) armed_ms: Option<u64>,
    /// By how much its wall clock is off, seconds.
    pub(super) clock_off_s: i64,
}

impl Board {
    /// A board that is off.
    #[must_use]
    pub(super) fn new(number: usize, memory_mib: u32, once: bool, dice: Dice) -> Board {
        // Not the first byte: its low bits do not count in a Curve25519 key.
        let mut key = [7; 32];
        key[8..16].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        let key = SecretKey::from_bytes(key);
        Board {
            public: key.public(),
            key,
            memory_mib,
            core: None,
            around: Around {
                now: Time(0),
                unix_s: 0,
                folder: Folder::default(),
                socket: Socket::Idle,
                out: Vec::new(),
                pieces: VecDeque::new(),
                events: VecDeque::new(),
                wishes: Vec::new(),
                dice,
                disk_fails: 0,
                builds: 0,
                started: 0,
            },
            once,
            epoch: 0,
            began_ms: 0,
            armed_ms: None,
            clock_off_s: 0,
        }
    }

    /// Starts the client over what its folder holds.
    pub(super) fn start(&mut self, number: usize, now_ms: u64) {
        self.epoch += 1;
        self.began_ms = now_ms;
        self.armed_ms = None;
        let around = &mut self.around;
        around.now = Time(0);
        around.started = 0;
        let jobs =
            around.folder.jobs.values().map(|job| Found { record: job.record.clone(), stage: stage(job) });
        let jobs = jobs.collect();
        let draining = around.folder.draining;
        let released =
            around.folder.released.iter().map(|it| Released { pinged: None, ..it.clone() }).collect();
        around.events = VecDeque::from([Event::Begin { jobs, released, draining }]);
        let name = |text: &str| FileName::new(text).expect("a safe name");
        self.core = Some(Builder::new(Config {
            name: name(&format!("board{number}")),
            instance: u64::from(self.epoch) << 8 | number as u64,
            arch: name("armv5tel"),
            version: name("0.1.0"),
            cfg: Line::lossy("sim"),
            cfg_digest: Digest::of(b""),
            backend: Backend::Mock,
            cpus: 1,
            memory_mib: self.memory_mib,
            setup: Line::lossy("install @buildsys-build"),
            weak: false,
            hub_host: "hub".to_owned(),
            once: self.once,
            disk_free_min_mib: 100,
            seed: around.dice.bits(),
        }));
    }

    /// The client's process ends; says which connection it had.
    pub(super) fn end(&mut self) -> Option<u64> {
        self.core = None;
        let around = &mut self.around;
        around.events.clear();
        around.pieces.clear();
        around.out.clear();
        match std::mem::take(&mut around.socket) {
            Socket::Open(conn, _) => Some(conn),
            Socket::Idle | Socket::Connecting => None,
        }
    }

    /// The board's power goes: builds die, and what was not synced may be undone.
    pub(super) fn lose_power(&mut self, dice: &mut Dice) {
        let folder = &mut self.around.folder;
        for (lease, job) in std::mem::take(&mut folder.deleted) {
            if dice.chance(500_000) {
                folder.jobs.entry(lease).or_insert(job);
            }
        }
        for job in folder.jobs.values_mut() {
            if job.running.take().is_some() && dice.chance(300_000) {
                job.launched = false;
            }
            if !job.launched {
                let kept = dice.below(job.srpm.len() as u64 + 1);
                job.srpm.truncate(kept as usize);
            }
        }
    }

    /// The folder becomes durable by itself after a while.
    pub(super) fn settle_folder(&mut self) {
        self.around.folder.deleted.clear();
    }
}

fn stage(job: &JobDir) -> FoundStage {
    if job.over {
        FoundStage::Leftover
    } else if !job.launched {
        FoundStage::Fetching
    } else if job.running.is_some() {
        FoundStage::Building
    } else if let Some(summary) = &job.summary {
        FoundStage::Finished(summary.clone())
    } else {
        FoundStage::Lost
    }
}

impl Around {
    fn flaky(&mut self) -> io::Result<()> {
        if self.dice.chance(self.disk_fails) {
            let code = if self.dice.chance(500_000) { 28 } else { 5 };
            return Err(io::Error::from_raw_os_error(code));
        }
        Ok(())
    }

    /// Reads queued pieces into the socket while it has room.
    pub(super) fn feed(&mut self) {
        while matches!(self.socket, Socket::Open(..))
            && self.out.len() < ROOM_BYTES
            && let Some(piece) = self.pieces.pop_front()
        {
            let PieceOf { lease, file, name, offset, length } = piece;
            let bytes = self.folder.jobs.get(&lease).and_then(|job| job.results.get(&name));
            let bytes =
                bytes.and_then(|bytes| bytes.get(offset as usize..(offset + u64::from(length)) as usize));
            match bytes.map(<[u8]>::to_vec) {
                Some(bytes) => self.send(&FromBuilder::Data { lease, file, offset, bytes: Bytes(bytes) }),
                None => {
                    let why = format!("{name} became shorter");
                    self.events.push_back(Event::SpoolBroken { lease, why });
                }
            }
        }
    }

    /// The connection is over; says so to the core.
    pub(super) fn fail(&mut self, why: &str) {
        self.disconnect();
        self.events.push_back(Event::Disconnected(why.to_owned()));
    }
}

impl Clock for Around {
    fn now(&self) -> Time {
        self.now
    }
}

impl Link for Around {
    fn connect(&mut self) {
        self.disconnect();
        self.socket = Socket::Connecting;
        self.wishes.push(Wish::Connect);
    }

    fn disconnect(&mut self) {
        self.pieces.clear();
        self.out.clear();
        if let Socket::Open(conn, _) = std::mem::take(&mut self.socket) {
            self.wishes.push(Wish::Close(conn));
        }
    }

    fn send(&mut self, message: &FromBuilder) {
        if let Socket::Open(_, channel) = &mut self.socket
            && channel.established()
        {
            let mut plain = Vec::new();
            message.encode(&mut plain);
            if channel.seal(&plain, &mut self.out).is_err() {
                self.events.push_back(Event::Disconnected("the channel broke".to_owned()));
            }
        }
    }

    fn send_piece(&mut self, piece: PieceOf) {
        self.pieces.push_back(piece);
    }

    fn drop_pieces(&mut self, lease: LeaseId) {
        self.pieces.retain(|piece| piece.lease != lease);
    }
}

impl Store for Around {
    fn store_job(&mut self, record: &JobRecord) -> io::Result<()> {
        self.flaky()?;
        let (record, lease) = (record.clone(), record.lease);
        let job = JobDir {
            record,
            srpm: Vec::new(),
            launched: false,
            running: None,
            summary: None,
            results: BTreeMap::new(),
            over: false,
        };
        if self.folder.jobs.contains_key(&lease) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.folder.jobs.insert(lease, job);
        self.folder.deleted.clear();
        Ok(())
    }

    fn write_srpm(&mut self, lease: LeaseId, _: &FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.flaky()?;
        let job = self.folder.jobs.get_mut(&lease).ok_or(io::ErrorKind::NotFound)?;
        if offset == 0 {
            job.srpm.clear();
        }
        job.srpm.extend_from_slice(bytes);
        Ok(())
    }

    fn store_releases(&mut self, released: &[Released]) -> io::Result<()> {
        self.folder.released = released.to_vec();
        Ok(())
    }

    fn store_drain(&mut self, draining: bool) -> io::Result<()> {
        self.folder.draining = draining;
        Ok(())
    }

    fn read_log(&mut self, lease: LeaseId, which: Which, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let job = self.folder.jobs.get(&lease).ok_or(io::ErrorKind::NotFound)?;
        let name = FileName::new(which.file_name()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let log = job.results.get(&name).map_or(&[][..], Vec::as_slice);
        let rest = log.get(offset as usize..).unwrap_or_default();
        Ok(rest[..rest.len().min(length as usize)].to_vec())
    }

    fn forget(&mut self, lease: LeaseId) {
        if let Some(job) = self.folder.jobs.remove(&lease) {
            self.folder.deleted.insert(lease, job);
        }
    }

    fn measure(&mut self) -> Measured {
        Measured {
            disk_free_mib: 4_096,
            memory_free_mib: 64,
            load_centi: 100,
            celsius: Some(48),
            unix_s: self.unix_s,
        }
    }
}

impl Children for Around {
    fn start(&mut self, record: &JobRecord, _: &Repos) -> io::Result<()> {
        self.flaky()?;
        self.builds += 1;
        let build = self.builds;
        let job = self.folder.jobs.get_mut(&record.lease).ok_or(io::ErrorKind::NotFound)?;
        if job.srpm.len() as u64 != record.size {
            return Err(io::Error::other("the SRPM is not whole"));
        }
        // The same job again is no second one.
        self.started += u64::from(!job.launched);
        job.record = record.clone();
        (job.summary, job.results) = Default::default();
        job.launched = true;
        job.running = Some(build);
        self.wishes.push(Wish::Build(record.lease, build));
        Ok(())
    }

    fn kill(&mut self, _: Time, lease: LeaseId, clean: bool) {
        if let Some(job) = self.folder.jobs.get_mut(&lease) {
            job.running = None;
            job.over = true;
        }
        self.wishes.push(Wish::Kill(lease, clean));
    }
}

impl World for Around {
    fn log(&mut self, _: Level, text: &str) {
        self.wishes.push(Wish::Say(text.to_owned()));
    }
}
