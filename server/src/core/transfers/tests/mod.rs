//! The core with a real worker over a temporary folder, and a builder that plays its part.
// The worker under test writes files, so its tests look at files.
#![allow(clippy::disallowed_methods)]

mod faults;
mod pieces;
mod protocol;
mod results;
mod thin;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moji_proto::limits::{CHUNK_BYTES_MAX, UPLOAD_WINDOW_BYTES};
use moji_proto::message::{self, Backend, Exit, FromBuilder, Phase, RejectedWhy, ToBuilder, Verdict, Which};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line, Time};

use super::{Effect, Limits, Msg, Op, Transfers};
use crate::clock::Clock;
use crate::core::types::{Outcome, Report, Ruling, SessionId, Sha256};
use crate::core::{leases, queue, repo};
use crate::disk::Folders;
use crate::repodata::{PIECE_NAME, Part, decode_piece};
use crate::result_json::ResultJson;
use crate::signing::{Signer, test_signer};
use crate::stage::Worker;
use crate::stage::testdisk::{Faults, TestDisk, folders, info};
use crate::stage::testrpm::{Built, build};

const S1: SessionId = SessionId(1);
const S2: SessionId = SessionId(2);
/// Of every build.
const LIMITS: message::Limits = message::Limits { silence_s: 60, build_s: 3_600 };

fn lease(counter: u32) -> LeaseId {
    LeaseId { incarnation: 1_764_000_000, counter }
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

/// A clock that stands until it is set.
struct Still(Arc<AtomicU64>);

impl Clock for Still {
    fn now(&self) -> Time {
        Time(0)
    }

    fn unix_s(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A hub's transfers, and all that they said.
struct Hub {
    dir: tempfile::TempDir,
    folders: Folders,
    faults: Arc<Faults>,
    unix_s: Arc<AtomicU64>,
    core: Transfers,
    worker: Worker,
    signer: Option<Arc<Signer>>,
    now: Time,
    ops: VecDeque<(LeaseId, Op)>,
    sent: VecDeque<(SessionId, ToBuilder)>,
    closed: Vec<(SessionId, RejectCode)>,
    leases: Vec<leases::Msg>,
    published: Vec<repo::Published>,
    stopped: u32,
    /// What the queue was told last of a shortage.
    short: Option<String>,
    /// What the queue was told of builds that began again.
    again: Vec<String>,
    /// Bytes of pieces handed in less bytes given back.
    owed: BTreeMap<SessionId, i64>,
    /// Largest value that `owed` ever had.
    owed_max: i64,
}

impl Hub {
    fn new() -> Hub {
        Hub::with(Limits::default())
    }

    fn with(limits: Limits) -> Hub {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        let faults = Faults::none();
        let unix_s = Arc::new(AtomicU64::new(1_764_000_123));
        let clock = Arc::new(Still(unix_s.clone()));
        let worker = Worker::new(Arc::new(TestDisk(faults.clone())), clock, folders.clone());
        Hub {
            dir,
            folders,
            faults,
            unix_s,
            core: Transfers::new(limits),
            worker,
            signer: None,
            now: Time(1_000),
            ops: VecDeque::new(),
            sent: VecDeque::new(),
            closed: Vec::new(),
            leases: Vec::new(),
            published: Vec::new(),
            stopped: 0,
            short: None,
            again: Vec::new(),
            owed: BTreeMap::new(),
            owed_max: 0,
        }
    }

    /// A hub that signs, or does not.
    fn signing(signer: Option<Arc<Signer>>) -> Hub {
        let mut hub = Hub { signer, ..Hub::new() };
        hub.restart();
        hub
    }

    /// The hub's process ends and another one starts: only the folders stay.
    fn restart(&mut self) {
        self.core = Transfers::new(Limits::default());
        let disk = Arc::new(TestDisk(self.faults.clone()));
        let worker = Worker::new(disk, Arc::new(Still(self.unix_s.clone())), self.folders.clone());
        self.worker = worker.signed_by(self.signer.clone());
        self.ops.clear();
        self.sent.clear();
        self.owed.clear();
        self.short = None;
    }

    /// Hands a message to the core; operations wait.
    fn tell(&mut self, msg: Msg) {
        if let Msg::FromBuilder {
            session,
            msg: FromBuilder::Data { bytes, .. } | FromBuilder::Log { bytes, .. },
        } = &msg
        {
            let owed = self.owed.entry(*session).or_default();
            *owed += bytes.0.len() as i64;
            self.owed_max = self.owed_max.max(*owed);
        }
        let mut out = Vec::new();
        self.core.handle(self.now, msg, &mut out);
        for effect in out {
            match effect {
                Effect::Io { lease, op } => self.ops.push_back((lease, op)),
                Effect::Send(session, msg) => self.sent.push_back((session, msg)),
                Effect::Consumed(session, bytes) => {
                    let owed = self.owed.entry(session).or_default();
                    *owed -= i64::from(bytes);
                    assert!(*owed >= 0, "more bytes given back than were handed in");
                }
                Effect::Close(session, code) => self.closed.push((session, code)),
                Effect::EndThin(lease) => self.worker.end_thin(lease),
                Effect::Leases(msg) => self.leases.push(msg),
                Effect::Queue(queue::Msg::StopLeasing { .. }) => self.stopped += 1,
                Effect::Queue(queue::Msg::Short { why }) => {
                    assert_ne!(self.short.is_some(), why.is_some(), "told twice");
                    self.short = why;
                }
                Effect::Queue(queue::Msg::Again { text, .. }) => self.again.push(text),
                Effect::Queue(other) => panic!("unexpected {other:?}"),
                Effect::Repo(repo::Msg::Published(published)) => self.published.push(published),
                Effect::Repo(other) => panic!("unexpected {other:?}"),
                Effect::Desk(_) | Effect::Log(..) => {}
            }
        }
    }

    fn hear(&mut self, session: SessionId, msg: FromBuilder) {
        self.tell(Msg::FromBuilder { session, msg });
    }

    /// Does one operation that waits.
    fn work_once(&mut self) -> bool {
        let Some((lease, op)) = self.ops.pop_front() else { return false };
        let done = self.worker.run(lease, op);
        self.tell(Msg::Done { lease, done });
        true
    }

    /// Does all operations, and those that follow from them.
    fn work(&mut self) {
        while self.work_once() {}
    }

    /// Lets time pass up to the next deadline.
    fn wait(&mut self) {
        let deadline = self.core.deadline().expect("something to wait for");
        self.now = self.now.max(deadline);
        self.tell(Msg::Tick);
    }

    fn srpm(&self, built: &Built) -> FileName {
        fs::write(self.folders.working.join(&built.source.0), &built.source.1).unwrap();
        name(&built.source.0)
    }

    fn open(&mut self, id: LeaseId, session: SessionId, built: &Built) {
        let srpm = self.srpm(built);
        let options = vec![Line::lossy("--nocheck")];
        self.tell(Msg::Open { lease: id, session, builder: info(), srpm, options, limits: LIMITS });
        self.work();
    }

    fn adopt(&mut self, id: LeaseId, session: SessionId, built: &Built) {
        self.tell(Msg::Adopt {
            lease: id,
            session,
            builder: info(),
            srpm: name(&built.source.0),
            digest: Digest::of(&built.source.1),
            phase: Phase::Upload,
            options: Vec::new(),
        });
        self.work();
    }

    fn take_sent(&mut self) -> Vec<ToBuilder> {
        self.sent.drain(..).map(|(_, msg)| msg).collect()
    }

    /// The report of the lease that was sealed last.
    fn report(&self) -> Report {
        match self.leases.last() {
            Some(leases::Msg::Sealing { report, .. }) => report.clone(),
            other => panic!("not sealed but {other:?}"),
        }
    }

    fn rule(&mut self, id: LeaseId, ruling: Ruling) {
        self.tell(Msg::Ruling { lease: id, ruling });
        self.work();
    }

    fn outcome(&self) -> Outcome {
        match self.leases.last() {
            Some(leases::Msg::Settled { outcome, .. }) => outcome.clone(),
            other => panic!("not settled but {other:?}"),
        }
    }

    fn json(&self, folder: &str) -> ResultJson {
        let path = self.folders.repo.join(folder).join("result.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// Names of the RPMs in the piece of a folder, which says of each what is true.
    fn described(&self, folder: &str) -> Vec<String> {
        let dir = self.folders.repo.join(folder);
        let mut names = Vec::new();
        for group in decode_piece(&fs::read(dir.join(PIECE_NAME)).unwrap()).unwrap() {
            let (text, ranges) = group.texts(Part::Primary).unwrap();
            for (listed, range) in group.packages.iter().zip(ranges) {
                let name = listed.path.strip_prefix(&format!("{folder}/")).expect("of this folder");
                let bytes = fs::read(dir.join(name)).unwrap();
                let modified = fs::metadata(dir.join(name)).unwrap().modified().unwrap();
                let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
                assert_eq!((listed.size, listed.modified_unix_s), (bytes.len() as u64, modified));
                let text = String::from_utf8_lossy(&text[range]);
                assert!(text.contains(&*listed.path), "{text}");
                assert!(text.contains(&Sha256::of(&bytes).to_string()), "{text}");
                names.push(name.to_owned());
            }
        }
        names.sort();
        names
    }

    fn list(&self, path: &str) -> Vec<String> {
        list(self.dir.path().join(path))
    }

    /// Every byte was given back.
    fn assert_even(&self) {
        assert!(self.owed.values().all(|owed| *owed == 0), "{:?}", self.owed);
    }
}

fn list(path: PathBuf) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A builder with a finished build.
struct Builder {
    lease: LeaseId,
    session: SessionId,
    files: Vec<(String, Vec<u8>)>,
    /// Digests as announced.
    digests: Vec<Digest>,
    /// The file that is being sent, where it is, and how far it may go.
    sending: Option<(usize, u64, u64)>,
    /// Bytes of files sent.
    sent: u64,
    /// What else the hub said.
    heard: Vec<ToBuilder>,
}

impl Builder {
    fn new(lease: LeaseId, session: SessionId, files: Vec<(String, Vec<u8>)>) -> Builder {
        let digests = files.iter().map(|(_, bytes)| Digest::of(bytes)).collect();
        Builder { lease, session, files, digests, sending: None, sent: 0, heard: Vec::new() }
    }

    fn announce(&mut self, hub: &mut Hub) {
        let (lease, session) = (self.lease, self.session);
        hub.hear(
            session,
            FromBuilder::Results {
                lease,
                exit: Exit::Code(0),
                phase: Phase::Build,
                backend: Backend::Mock,
                seconds: 42,
                oom_kills: 0,
                silence_s: 30,
                peak_memory_mib: 120,
                peak_disk_mib: 900,
                files: self.files.len() as u32,
                evidence: 1,
            },
        );
        for ((file, bytes), digest) in self.files.iter().zip(&self.digests) {
            let (name, size, digest) = (name(file), bytes.len() as u64, *digest);
            hub.hear(session, FromBuilder::File { lease, name, size, digest });
        }
        let line = Line::lossy("it went well");
        hub.hear(session, FromBuilder::Evidence { lease, which: Which::Build, line });
        hub.work();
    }

    /// Reads what the hub said, sends one piece if it may. False if it can do nothing.
    fn step(&mut self, hub: &mut Hub) -> bool {
        let lease = self.lease;
        while let Some((session, msg)) = hub.sent.pop_front() {
            assert_eq!(session, self.session);
            match msg {
                ToBuilder::Want { file, offset, .. } => {
                    self.sending = Some((file as usize, offset, offset + UPLOAD_WINDOW_BYTES));
                }
                ToBuilder::Ack { file, offset, .. } => {
                    let (sending, _, end) = self.sending.as_mut().unwrap();
                    assert_eq!(*sending, file as usize);
                    *end = offset + UPLOAD_WINDOW_BYTES;
                }
                other => self.heard.push(other),
            }
        }
        let Some((file, at, end)) = &mut self.sending else { return false };
        let bytes = &self.files[*file].1;
        let to = (*at + CHUNK_BYTES_MAX as u64).min(*end).min(bytes.len() as u64);
        if to == *at {
            return false;
        }
        let piece = Bytes(bytes[*at as usize..to as usize].to_vec());
        self.sent += to - *at;
        let data = FromBuilder::Data { lease, file: *file as u32, offset: *at, bytes: piece };
        *at = to;
        hub.hear(self.session, data);
        true
    }

    /// Sends as long as it may and the hub does its work.
    fn upload(&mut self, hub: &mut Hub) {
        while self.step(hub) {
            hub.work();
        }
    }
}

fn publish() -> Ruling {
    Ruling::Publish { held: None }
}
