//! Core, store and recovery together on a disk in memory: what holds after every step and crash.

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::message::{Exit, Limits, Phase, ReleaseWhy, Verdict};
use moji_proto::{Digest, PublicKey};

use super::*;
use crate::core::leases::Config;
use crate::core::leases::tests::{GRACE_MS, info, name, report};
use crate::core::types::{End, Fate, HeldLease, Outcome, Report, SessionId};
use crate::core::{queue, transfers};
use crate::disk::memory::Memory;
use crate::recovery::{recover, tests::put_result};

fn start(disk: &Memory, folders: &Folders, unix_s: u64) -> (Leases, Store) {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = recover(&shared, folders, unix_s).unwrap();
    let core = Leases::new(Config { grace_ms: GRACE_MS }, found.past, Time(0), &mut Vec::new());
    (core, Store::new(shared, folders.clone(), found.journal))
}

fn claim(package: u64, builder: u8) -> Msg {
    let srpm = name(&format!("p{package}.src.rpm"));
    Msg::Claim {
        srpm,
        builder: PublicKey([builder; 32]),
        options: Vec::new(),
        limits: Limits::default(),
        beside: false,
    }
}

fn connect(core: &mut Leases, store: &mut Store, builder: u8, session: u64) {
    let session = SessionId(session);
    let connected = Msg::Connected { session, info: info(builder), held: Vec::new() };
    store.run(core, Time(0), [connected, Msg::Ready { session }]);
}

#[test]
fn a_thousand_claims_share_one_sync_of_the_journal() {
    let (disk, folders) = Memory::with_folders();
    for package in 0..1_000 {
        disk.put(folders.source.join(format!("p{package}.src.rpm")), b"x");
    }
    let (mut core, mut store) = start(&disk, &folders, 1);
    let ids: Vec<[u8; 32]> = (0..1_000_u32)
        .map(|builder| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&builder.to_le_bytes());
            key
        })
        .collect();
    for (session, key) in ids.iter().enumerate() {
        let session = SessionId(session as u64);
        let info = crate::core::types::BuilderInfo { id: PublicKey(*key), ..info(1) };
        let connected = Msg::Connected { session, info, held: Vec::new() };
        store.run(&mut core, Time(0), [connected, Msg::Ready { session }]);
    }
    let before = disk.syncs();
    let claims = ids.iter().enumerate().map(|(package, key)| Msg::Claim {
        srpm: name(&format!("p{package}.src.rpm")),
        builder: PublicKey(*key),
        options: Vec::new(),
        limits: Limits::default(),
        beside: false,
    });
    let said = store.run(&mut core, Time(0), claims);
    let opened = said.iter().filter(|e| matches!(e, Effect::Transfers(transfers::Msg::Open { .. }))).count();
    assert_eq!(opened, 1_000);
    let after = disk.syncs();
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 2), "one journal, two folders");
}

#[test]
fn a_newer_file_dropped_while_leased_survives_the_return() {
    let (disk, folders) = Memory::with_folders();
    let (waiting, leased) = (folders.source.join("p1.src.rpm"), folders.working.join("p1.src.rpm"));
    disk.put(&waiting, b"old");
    let (mut core, mut store) = start(&disk, &folders, 1);
    connect(&mut core, &mut store, 1, 1);
    store.run(&mut core, Time(0), [claim(1, 1)]);
    disk.put(&waiting, b"new");
    let lease = *core.leased().keys().next().unwrap();
    let release = Msg::Release { session: SessionId(1), lease, why: ReleaseWhy::Stopped };
    let said = store.run(&mut core, Time(0), [release]);
    assert!(said.iter().any(|e| matches!(e, Effect::Queue(queue::Msg::Ended { .. }))));
    assert_eq!((disk.bytes(&waiting), disk.bytes(&leased)), (Some(b"new".to_vec()), None));
}

#[test]
fn a_retry_moves_a_finished_package_back_and_never_over_a_file() {
    let (disk, folders) = Memory::with_folders();
    let (waiting, done) = (folders.source.join("p1.src.rpm"), folders.finished.join("p1.src.rpm"));
    let (mut core, mut store) = start(&disk, &folders, 1);
    for (before, want, after) in [
        ((None, Some("old")), true, (Some("old"), None)),
        ((Some("new"), Some("old")), false, (Some("new"), Some("old"))),
        ((Some("new"), None), false, (Some("new"), None)),
    ] {
        let put = |path: &PathBuf, text: Option<&str>| match text {
            Some(text) => disk.put(path, text.as_bytes()),
            None => drop(disk.remove_file(path)),
        };
        put(&waiting, before.0);
        put(&done, before.1);
        let syncs = disk.syncs();
        let said = store.run(&mut core, Time(0), [Msg::Retry { srpm: name("p1.src.rpm") }]);
        let placed = |e: &Effect| match e {
            Effect::Queue(queue::Msg::Placed { to: Place::Source, moved, .. }) => Some(*moved),
            _ => None,
        };
        assert_eq!(said.iter().filter_map(placed).collect::<Vec<_>>(), [want], "{before:?}");
        let folders_synced = disk.syncs().1 - syncs.1;
        assert_eq!(folders_synced, if want { 2 } else { 0 });
        let text = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        assert_eq!((disk.bytes(&waiting), disk.bytes(&done)), (text(after.0), text(after.1)));
    }
}

#[test]
fn a_failed_sync_of_the_journal_grants_nothing_and_stops_leasing_once() {
    let (disk, folders) = Memory::with_folders();
    disk.put(folders.source.join("p1.src.rpm"), b"x");
    let (mut core, mut store) = start(&disk, &folders, 1);
    connect(&mut core, &mut store, 1, 1);
    // The journal is written, its sync fails, all else would work.
    disk.fail_one(1);
    let said = store.run(&mut core, Time(0), [claim(1, 1)]);
    let stops = |said: &[Effect]| {
        said.iter().filter(|e| matches!(e, Effect::Queue(queue::Msg::StopLeasing { .. }))).count()
    };
    assert_eq!(stops(&said), 1);
    assert!(!said.iter().any(|e| matches!(e, Effect::Transfers(_))));
    assert!(disk.bytes(folders.source.join("p1.src.rpm")).is_some());
    let said = store.run(&mut core, Time(0), [claim(1, 1)]);
    assert_eq!(stops(&said), 0);
    assert!(disk.bytes(folders.source.join("p1.src.rpm")).is_some(), "claims fail until the restart");
}

#[test]
fn a_move_that_may_not_be_durable_is_told_to_nobody() {
    let (disk, folders) = Memory::with_folders();
    disk.put(folders.source.join("p1.src.rpm"), b"x");
    let (mut core, mut store) = start(&disk, &folders, 1);
    connect(&mut core, &mut store, 1, 1);
    // Journal written and synced, file moved (two calls in this disk), then a folder's sync fails.
    disk.fail_one(4);
    let said = store.run(&mut core, Time(0), [claim(1, 1)]);
    assert!(matches!(said[..], [Effect::Queue(queue::Msg::StopLeasing { .. })]), "{said:?}");
    assert!(disk.bytes(folders.working.join("p1.src.rpm")).is_some());
    disk.crash(|_| 0);
    let (core, _) = start(&disk, &folders, 1);
    let leased = !core.leased().is_empty();
    assert_eq!(disk.bytes(folders.working.join("p1.src.rpm")).is_some(), leased);
}

#[test]
fn a_foreign_file_in_working_is_never_overwritten() {
    let (disk, folders) = Memory::with_folders();
    let (waiting, foreign) = (folders.source.join("p1.src.rpm"), folders.working.join("p1.src.rpm"));
    disk.put(&waiting, b"x");
    let (mut core, mut store) = start(&disk, &folders, 1);
    connect(&mut core, &mut store, 1, 1);
    disk.put(&foreign, b"foreign");
    let said = store.run(&mut core, Time(0), [claim(1, 1)]);
    assert!(matches!(said[..], [Effect::Queue(queue::Msg::ClaimFailed { .. })]), "{said:?}");
    assert_eq!(
        (disk.bytes(&waiting), disk.bytes(&foreign)),
        (Some(b"x".to_vec()), Some(b"foreign".to_vec()))
    );
}

#[test]
fn a_builder_that_registers_is_welcomed_with_the_time_and_the_repositories() {
    use crate::net::{Command, Handle};
    struct Noon;
    impl Clock for Noon {
        fn now(&self) -> Time {
            Time(0)
        }
        fn unix_s(&self) -> u64 {
            43_200
        }
    }
    let poll = mio::Poll::new().unwrap();
    let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
    let (net, commands) = Handle::new(waker);
    let (peers, inboxes) = crate::actors::channels(net);
    let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
    let (disk, folders) = Memory::with_folders();
    let (core, store) = start(&disk, &folders, 1);
    let repo = Line::lossy("/repo");
    let welcome = Welcome { ping_s: 20, http_port: 6780, repos: vec![repo.clone()] };
    std::thread::scope(|scope| {
        scope.spawn(|| run(core, Vec::new(), store, &welcome, &peers, &inboxes.leases, &stopped, &Noon));
        let session = SessionId(1);
        tell(&peers.leases, Msg::Connected { session, info: info(1), held: Vec::new() });
        let registered = ToBuilder::Registered { time_unix_s: 43_200, ping_s: 20, http_port: 6780, repos: 1 };
        for want in [registered, ToBuilder::Repo { place: repo }] {
            let Command::Send(to, said) = commands.recv().unwrap() else { panic!("something else was said") };
            assert_eq!((to, said), (session, want));
        }
        assert!(matches!(inboxes.queue.recv().unwrap(), queue::Msg::BuilderUp { .. }));
        drop(stop);
    });
}

#[test]
fn a_long_run_does_not_grow_the_journal_without_bound() {
    let (disk, folders) = Memory::with_folders();
    disk.put(folders.source.join("p1.src.rpm"), b"x");
    let (mut core, mut store) = start(&disk, &folders, 1);
    connect(&mut core, &mut store, 1, 1);
    let session = SessionId(1);
    let mut largest = 0;
    for _ in 0..12_000 {
        store.run(&mut core, Time(0), [Msg::Ready { session }, claim(1, 1)]);
        let lease = *core.leased().keys().next().unwrap();
        store.run(&mut core, Time(0), [Msg::Release { session, lease, why: ReleaseWhy::Stopped }]);
        largest = largest.max(store.journal_bytes());
    }
    assert!(largest < 1_100_000, "{largest}");
    assert!(store.journal_bytes() < largest, "it was written anew");
}

impl Store {
    fn journal_bytes(&self) -> u64 {
        let path = self.folders.working.join(crate::journal::FILE_NAME);
        self.disk.stat(&path).unwrap().map_or(0, |stat| stat.len)
    }
}

/// Marsaglia's xorshift64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

const PACKAGES: u64 = 5;
const BUILDERS: u64 = 3;

/// A small farm: the test plays queue, transfers, builders and the power company.
struct Farm {
    disk: Memory,
    folders: Folders,
    core: Leases,
    store: Store,
    dice: Dice,
    now: Time,
    runs: u64,
    sessions: u64,
    /// Session of each builder that is connected, and what each builder has on its disk.
    connected: BTreeMap<u8, SessionId>,
    held: BTreeMap<u8, BTreeMap<LeaseId, FileName>>,
    opened: BTreeSet<LeaseId>,
    /// Leases that were promised and not heard to end.
    promised: BTreeSet<LeaseId>,
    sealed: BTreeSet<LeaseId>,
    committed: BTreeMap<LeaseId, FileName>,
    /// Second leases so far, and how many of two leases were outdone, ended otherwise, or built in vain.
    seconds: u32,
    fates: [u32; 3],
}

impl Farm {
    fn new(seed: u64) -> Farm {
        let (disk, folders) = Memory::with_folders();
        for package in 0..PACKAGES {
            disk.put(folders.source.join(format!("p{package}.src.rpm")), b"x");
        }
        let (core, store) = start(&disk, &folders, 1);
        Farm {
            disk,
            folders,
            core,
            store,
            dice: Dice(seed),
            now: Time(0),
            runs: 1,
            sessions: 0,
            connected: BTreeMap::new(),
            held: BTreeMap::new(),
            opened: BTreeSet::new(),
            promised: BTreeSet::new(),
            sealed: BTreeSet::new(),
            committed: BTreeMap::new(),
            seconds: 0,
            fates: [0; 3],
        }
    }

    fn some_lease(&mut self) -> LeaseId {
        let leases: Vec<LeaseId> = self.core.leased().into_keys().collect();
        match leases.len() {
            0 => LeaseId { incarnation: 1, counter: 1 },
            n => leases[self.dice.below(n as u64) as usize],
        }
    }

    fn message(&mut self) -> Option<Msg> {
        let builder = 1 + self.dice.below(BUILDERS) as u8;
        let session = self.connected.get(&builder).copied();
        let package = name(&format!("p{}.src.rpm", self.dice.below(PACKAGES)));
        let lease = self.some_lease();
        Some(match self.dice.below(16) {
            0 | 1 => {
                self.sessions += 1;
                let session = SessionId(self.sessions);
                self.connected.insert(builder, session);
                let spool = self.held.entry(builder).or_default();
                if self.dice.below(8) == 0 {
                    spool.clear();
                }
                let held = spool.iter().map(|(lease, srpm)| HeldLease {
                    lease: *lease,
                    srpm: srpm.clone(),
                    digest: Digest::of(b"x"),
                    phase: Phase::Build,
                });
                Msg::Connected { session, info: info(builder), held: held.collect() }
            }
            2 => Msg::Disconnected { session: self.connected.remove(&builder)? },
            3..=5 => Msg::Ready { session: session? },
            6..=8 => {
                let beside = self.dice.below(2) == 0;
                let leased = self.core.leased().remove(&lease).filter(|_| beside);
                Msg::Claim {
                    srpm: leased.unwrap_or(package),
                    builder: PublicKey([builder; 32]),
                    options: Vec::new(),
                    limits: Limits::default(),
                    beside,
                }
            }
            9 => {
                let why = [ReleaseWhy::Stopped, ReleaseWhy::ShimDied][self.dice.below(2) as usize];
                let lease = *self.held.get(&builder)?.keys().next_back()?;
                let session = session?;
                self.held.get_mut(&builder)?.remove(&lease);
                Msg::Release { session, lease, why }
            }
            10 | 11 => {
                let exit = Exit::Code(u8::from(self.dice.below(4) == 0));
                Msg::Sealing { lease, report: Report { exit, ..report() } }
            }
            12 => Msg::Vanished { srpm: package },
            13 if self.dice.below(4) == 0 => Msg::Cancel { srpm: package },
            14 if self.dice.below(4) == 0 => {
                let damaged = self.dice.below(2) == 0;
                Msg::Unfit { lease, why: "x".into(), damaged, has_job: false }
            }
            _ => {
                self.now = self.now.plus_ms(self.dice.below(GRACE_MS));
                Msg::Tick
            }
        })
    }

    /// What transfers do with sealed leases: commit, keep, or give up.
    fn settle(&mut self) -> Option<Msg> {
        let lease = self.sealed.pop_first()?;
        let srpm = self.core.leased()[&lease].clone();
        Some(match self.dice.below(3) {
            0 => Msg::Unsealed { lease },
            1 => Msg::Settled { lease, outcome: Outcome::Kept { verdict: Verdict::Infra } },
            _ => {
                let folder = format!("r{lease}");
                put_result(&self.disk, &self.folders, &folder, lease, srpm.as_str());
                self.committed.insert(lease, srpm);
                Msg::Settled { lease, outcome: Outcome::Committed { folder, verdict: Verdict::Success } }
            }
        })
    }

    fn hear(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Transfers(transfers::Msg::Open { lease, builder, srpm, .. }) => {
                    assert!(self.opened.insert(lease), "lease {lease} was given twice");
                    self.held.entry(builder.id.0[0]).or_default().insert(lease, srpm);
                }
                Effect::Queue(queue::Msg::Granted { lease, beside, .. }) => {
                    self.seconds += u32::from(beside);
                    self.promised.insert(lease);
                }
                Effect::Queue(queue::Msg::Ended { lease, end, .. }) => {
                    self.promised.remove(&lease);
                    match end {
                        End::Beside(Fate::Outdone(_)) => self.fates[0] += 1,
                        End::Beside(Fate::Returned(_)) => self.fates[1] += 1,
                        End::Beside(Fate::InVain(_)) => self.fates[2] += 1,
                        _ => {}
                    }
                }
                Effect::Queue(queue::Msg::Judge { lease, .. }) => {
                    self.sealed.insert(lease);
                }
                Effect::Send(session, ToBuilder::Gone { lease } | ToBuilder::Done { lease }) => {
                    for (builder, now) in &self.connected {
                        if *now == session {
                            self.held.get_mut(builder).map(|held| held.remove(&lease));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn check(&self) {
        for package in 0..PACKAGES {
            let file = format!("p{package}.src.rpm");
            let places = [&self.folders.source, &self.folders.working, &self.folders.finished];
            let found = places.iter().filter(|dir| self.disk.bytes(dir.join(&file)).is_some()).count();
            assert_eq!(found, 1, "{file} is in {found} folders");
        }
        let leased = self.core.leased();
        let mains = self.core.mains();
        let packages: BTreeSet<&FileName> = leased.values().collect();
        assert!(leased.len() <= 2 * packages.len(), "more than one lease beside the main one");
        for package in packages {
            let of =
                |leases: &BTreeMap<LeaseId, FileName>| leases.values().filter(|of| *of == package).count();
            let (all, main) = (of(&leased), of(&mains));
            assert!(main == 1 && all <= 2, "{package} has {all} leases, {main} of them the main one");
        }
    }

    fn step(&mut self) {
        // Now and then the operator retries what is finished.
        if self.dice.below(20) == 0 {
            let file = format!("p{}.src.rpm", self.dice.below(PACKAGES));
            if self.disk.take(self.folders.finished.join(&file)) {
                self.disk.put(self.folders.source.join(&file), b"x");
            }
        }
        if self.dice.below(50) == 0 {
            // Between two polls: all that was promised holds, but for what was on its way out when a sync failed.
            let leaving = self.core.leaving();
            self.promised.retain(|lease| !leaving.contains(lease));
            self.power_cut();
            let live: BTreeSet<LeaseId> = self.core.leased().into_keys().collect();
            self.promised.retain(|lease| !self.committed.contains_key(lease));
            assert!(self.promised.is_subset(&live), "{:?} was promised, {live:?} lives", self.promised);
            self.check();
        }
        let mut batch = Vec::new();
        for _ in 0..=self.dice.below(3) {
            batch.extend(self.message());
        }
        batch.extend(self.settle());
        let crash = self.dice.below(50) == 0;
        if crash {
            self.disk.fail_after(self.dice.below(12));
        } else if self.dice.below(100) == 0 {
            self.disk.fail_one(self.dice.below(12));
        }
        let said = self.store.run(&mut self.core, self.now, batch);
        if crash {
            self.power_cut();
            self.promised = self.core.leased().into_keys().collect();
        } else {
            self.disk.heal();
            self.hear(said);
        }
        self.check();
    }

    fn power_cut(&mut self) {
        loop {
            self.disk.crash(|n| self.dice.below(n));
            // The power may go again while the hub puts things right.
            if self.dice.below(3) > 0 {
                break;
            }
            self.disk.fail_after(self.dice.below(20));
            let shared: Arc<dyn Disk> = Arc::new(self.disk.clone());
            let _ = recover(&shared, &self.folders, 1);
        }
        self.runs += 1;
        let (core, store) = start(&self.disk, &self.folders, 1);
        (self.core, self.store, self.now) = (core, store, Time(0));
        self.connected.clear();
        self.sealed.clear();
        for lease in self.core.leased().keys() {
            assert!(!self.committed.contains_key(lease), "lease {lease} is committed and lives");
        }
    }
}

#[test]
fn whatever_happens_a_package_is_in_one_folder_under_one_lease() {
    let (mut seconds, mut fates) = (0, [0; 3]);
    for seed in 1..=60_u64 {
        println!("seed {seed}");
        let mut farm = Farm::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..900 {
            farm.step();
        }
        let (runs, opened, committed) = (farm.runs, farm.opened.len(), farm.committed.len());
        assert!(runs > 5 && opened > 10 && committed > 2, "too little happened: {runs} {opened} {committed}");
        seconds += farm.seconds;
        fates = std::array::from_fn(|n| fates[n] + farm.fates[n]);
    }
    let enough = seconds > 80 && fates.iter().all(|count| *count > 8);
    assert!(enough, "too little happened to second leases: {seconds} {fates:?}");
}

#[test]
fn a_farm_left_alone_gives_every_package_back() {
    for seed in 1..=20_u64 {
        println!("seed {seed}");
        let mut farm = Farm::new(seed.wrapping_mul(0xd134_2543_de82_ef95));
        for _ in 0..60 {
            farm.step();
        }
        farm.disk.crash(|n| n - 1);
        farm.power_cut();
        let said = farm.store.run(&mut farm.core, Time(GRACE_MS), [Msg::Tick]);
        farm.hear(said);
        farm.check();
        assert_eq!(farm.core.leased().len(), 0);
        assert_eq!(farm.core.deadline(), None);
    }
}
