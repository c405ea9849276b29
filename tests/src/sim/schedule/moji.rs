//! The real queue as a scheduler.
//!
//! Owns its messages: what watch, leases, transfers and repo would tell it. Must never look into it, nor tell it more than
//! they could.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use moji_proto::message::{Backend, Exit, Phase, Verdict, Which};
use moji_proto::{Digest, FileName, LeaseId, Line, PublicKey, Time};
use moji_server::core::capabilities::Capabilities;
use moji_server::core::queue::{About, Config, Effect, Msg, News, Queue};
use moji_server::core::types::{
    BuilderId, BuilderInfo, End as Ended, Report, Ruling, SessionId, Srpm, StagedFile,
};
use moji_server::core::view::Ticket;
use moji_server::core::{desk, leases, transfers};
use moji_server::repodata::Provided;
use moji_server::rpmfile::{Capability, Facts, Kind, Nevra};

use nix::time::{ClockId, clock_gettime};

use super::farm::{End, Scheduler};
use super::plan::{MAINLINE, Package, Plan};

/// The hub's default for `--retry-pause`, milliseconds.
const RETRY_PAUSE_MS: u64 = 600_000;
/// The hub's default for `--attempts`.
const ATTEMPTS: usize = 5;
/// The hub runs for an hour when the packages come: it is not just after a start.
const START_MS: u64 = 3_600_000;
/// Architecture of all boards.
const ARCH: &str = "armv5tel";

/// What the queue has to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knows {
    /// Headers and sizes.
    Headers,
    /// And what mainline provides.
    Mainline,
    /// Headers, sizes and the build times of an earlier round.
    Times,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Moji<'a> {
    plan: &'a Plan,
    queue: Queue,
    numbers: BTreeMap<&'a str, usize>,
    /// The lease of each package that has one.
    leases: BTreeMap<usize, LeaseId>,
    counter: u32,
    starts: Vec<(usize, usize)>,
    now_ms: u64,
    /// What was ruled last.
    ruling: Option<Ruling>,
    /// What each message was, how long it took, and whether it ended in a lease.
    took: Vec<(&'static str, Duration, bool)>,
    /// Whether the view that was asked for is there.
    has_view: bool,
}

fn id(board: usize) -> BuilderId {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(board as u64).to_be_bytes());
    PublicKey(key)
}

fn board_of(id: BuilderId) -> usize {
    u64::from_be_bytes(id.0[..8].try_into().expect("eight bytes")) as usize
}

fn file_name(text: String) -> FileName {
    FileName::new(text).expect("it is a good name")
}

fn srpm_name(name: &str) -> FileName {
    file_name(format!("{name}-1-1.src.rpm"))
}

fn capability(name: String) -> Capability {
    Capability { name, flags: 0, evr: String::new() }
}

fn facts(name: &str, kind: Kind) -> Facts {
    let arch = if kind == Kind::Source { "src" } else { ARCH };
    let source_rpm = (kind == Kind::Binary).then(|| format!("{name}-1-1.src.rpm"));
    let [name, version, release, arch] = [name, "1", "1", arch].map(str::to_owned);
    let nevra = Nevra { name, epoch: 0, version, release, arch };
    let (requires, provides, exclusive_arch, exclude_arch) = Default::default();
    Facts { kind, nevra, source_rpm, requires, provides, exclusive_arch, exclude_arch }
}

fn mainline_name(number: usize) -> String {
    format!("mainline-{number}-devel")
}

fn devel(package: &Package) -> String {
    format!("{}-devel", package.name)
}

/// What this thread has computed so far: what else runs on the machine does not count.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// What a message is called in the table.
fn kind(msg: &Msg) -> &'static str {
    match msg {
        Msg::Appeared { .. } => "appeared",
        Msg::Vanished { .. } => "vanished",
        Msg::BuilderUp { .. } => "builder up",
        Msg::BuilderDown { .. } => "builder down",
        Msg::Ready { .. } => "ready",
        Msg::Granted { .. } => "granted",
        Msg::Judge { .. } => "judge",
        Msg::Ended { .. } => "ended",
        Msg::Published(_) => "published",
        Msg::Tick => "tick",
        Msg::Look => "view, pieces",
        Msg::Ask { about: About::Package(_), .. } => "moji why",
        Msg::Ask { about: About::Blocked { .. }, .. } => "moji blocked",
        _ => "others",
    }
}

/// What nobody provides.
fn missing(package: &Package) -> String {
    format!("nothing-for-{}", package.name)
}

impl<'a> Moji<'a> {
    /// A hub in whose `source/` all packages of the plan lie.
    pub(super) fn new(plan: &'a Plan, knows: Knows) -> Moji<'a> {
        let config = Config {
            attempts: ATTEMPTS,
            confirm_failures: 1,
            duplicate_last: false,
            retry_pause_ms: RETRY_PAUSE_MS,
            limits: Default::default(),
            rebuild_dependents: false,
            target: None,
            started: Time(0),
        };
        let numbers = plan.packages.iter().enumerate().map(|(n, one)| (one.name.as_str(), n)).collect();
        let (leases, counter, starts, now_ms, ruling, took, has_view) = Default::default();
        let queue = Queue::new(config);
        let mut moji = Moji { plan, queue, numbers, leases, counter, starts, now_ms, ruling, took, has_view };
        match knows {
            Knows::Headers => {}
            Knows::Mainline => moji.learn_mainline(),
            Knows::Times => moji.learn_times(),
        }
        for package in &plan.packages {
            let mut facts = facts(&package.name, Kind::Source);
            let own = package.needs.iter().filter(|(_, is_said)| *is_said);
            let own = own.map(|(need, _)| devel(&plan.packages[*need]));
            let mainline = package.mainline.iter().map(|number| mainline_name(*number));
            let missing = package.misses.then(|| missing(package));
            facts.requires = own.chain(mainline).chain(missing).map(capability).collect();
            let facts = Srpm { size: package.size, facts };
            moji.tell(0, Msg::Appeared { srpm: srpm_name(&package.name), facts });
        }
        moji.took.clear();
        moji
    }

    /// What each message since all packages are known was, how long it took, and whether it ended in a lease.
    pub(super) fn took(&self) -> &[(&'static str, Duration, bool)] {
        &self.took
    }

    /// Asks what operators ask.
    pub(super) fn ask(&mut self) {
        let now_ms = self.now_ms;
        let srpm = srpm_name(&self.plan.packages[self.plan.packages.len() / 2].name);
        self.tell(now_ms, Msg::Look);
        // A view of so many is made in pieces.
        while !self.has_view {
            self.tell_as(kind(&Msg::Look), self.now_ms + 1, Msg::Tick);
        }
        self.has_view = false;
        let now_ms = self.now_ms;
        for about in [About::Package(srpm), About::Blocked { rows: 20 }] {
            self.tell(now_ms, Msg::Ask { ticket: Ticket(0), about });
        }
    }

    fn learn_mainline(&mut self) {
        let mut there = Capabilities::default();
        for number in 0..MAINLINE {
            let provides = [capability(mainline_name(number))];
            there.add(
                &number.to_string(),
                &facts(&mainline_name(number), Kind::Binary).nevra,
                &provides,
                &[],
            );
        }
        let stock = Some(Box::default());
        self.tell(0, Msg::Published(News { stock, ..News::default() }));
        self.tell(0, Msg::Mainline(Arc::new(there)));
    }

    fn learn_times(&mut self) {
        let plan = self.plan;
        for (n, package) in plan.packages.iter().enumerate() {
            let Some(learned_s) = package.learned_s else { continue };
            // On two boards each, so that speeds are known.
            for board in [n, n / 3 + 1].map(|n| n % plan.boards.len()) {
                let seconds = (learned_s / plan.boards[board].0) as u32;
                self.tell(
                    0,
                    Msg::Took { source: package.name.clone(), builder: id(board), seconds, silent_s: 0 },
                );
            }
        }
    }

    fn tell(&mut self, now_ms: u64, msg: Msg) {
        self.tell_as(kind(&msg), now_ms, msg);
    }

    fn tell_as(&mut self, kind: &'static str, now_ms: u64, msg: Msg) {
        let mut out = Vec::new();
        self.now_ms = now_ms;
        let began = cpu_time();
        self.queue.handle(Time(START_MS + now_ms), msg, &mut out);
        let took = cpu_time().saturating_sub(began);
        let mut claims = Vec::new();
        for effect in out {
            match effect {
                Effect::Leases(leases::Msg::Claim { srpm, builder, .. }) => claims.push((srpm, builder)),
                Effect::Transfers(transfers::Msg::Ruling { ruling, .. }) => self.ruling = Some(ruling),
                Effect::Desk(desk::Msg::View(_)) => self.has_view = true,
                _ => {}
            }
        }
        self.took.push((kind, took, !claims.is_empty()));
        for (srpm, builder) in claims {
            self.grant(now_ms, &srpm, builder);
        }
    }

    fn grant(&mut self, now_ms: u64, srpm: &FileName, builder: BuilderId) {
        let name = srpm.as_str().split('-').next().unwrap_or_default();
        let package = self.numbers[name];
        self.counter += 1;
        let lease = LeaseId { incarnation: 1, counter: self.counter };
        self.leases.insert(package, lease);
        self.starts.push((package, board_of(builder)));
        self.tell(now_ms, Msg::Granted { srpm: srpm.clone(), lease, builder, beside: false });
        self.tell(now_ms, Msg::Vanished { srpm: srpm.clone() });
    }

    /// What builders send of a build that ended so.
    fn report(&self, package: &Package, seconds: f64, end: &End) -> Report {
        let plain = |which, text: &str| vec![(which, Line::lossy(text))];
        let (code, evidence) = match end {
            End::Success => (0, Vec::new()),
            End::Failed => {
                (1, plain(Which::Build, "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)"))
            }
            End::Infra | End::Lost => (60, plain(Which::Root, "Build root is locked by another process.")),
            End::Deps(lacks) => {
                let names = lacks.iter().map(|need| devel(&self.plan.packages[*need]));
                let names = names.chain(package.misses.then(|| missing(package)));
                let line = |name| Line::lossy(&format!("No matching package to install: '{name}'"));
                (30, names.map(|name| (Which::Root, line(name))).collect())
            }
        };
        let staged = |facts: Facts| StagedFile {
            name: file_name(facts.nevra.file_name(facts.kind)),
            size: 1,
            digest: Digest::of(b""),
            rpm: Some(facts),
            sha256: None,
        };
        let source = facts(&package.name, Kind::Source);
        let rpms = [source.clone(), facts(&package.name, Kind::Binary)];
        let is_built = *end == End::Success;
        Report {
            source: source.nevra,
            exit: Exit::Code(code),
            phase: Phase::Build,
            backend: Backend::Mock,
            seconds: seconds as u32,
            oom_kills: 0,
            silence_s: 0,
            peak: Default::default(),
            evidence,
            files: if is_built { rpms.into_iter().map(staged).collect() } else { Vec::new() },
            defect: None,
        }
    }
}

impl Scheduler for Moji<'_> {
    fn up(&mut self, now_ms: u64, board: usize) {
        let info = BuilderInfo {
            id: id(board),
            name: file_name(format!("board{board}")),
            instance: 1,
            arch: file_name(ARCH.to_owned()),
            version: file_name("0".to_owned()),
            cfg: Line::lossy("cfg"),
            cfg_digest: Digest::of(b""),
            backend: Backend::Mock,
            cpus: 1,
            memory_mib: 512,
            disk_free_mib: 10_000,
            clock_unix_s: 0,
            setup: Line::default(),
            weak: false,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        self.tell(now_ms, Msg::BuilderUp { session: SessionId(board as u64), info });
        self.tell(now_ms, Msg::Ready { builder: id(board) });
    }

    fn down(&mut self, now_ms: u64, board: usize) {
        self.tell(now_ms, Msg::BuilderDown { builder: id(board) });
    }

    fn ended(&mut self, now_ms: u64, board: usize, number: usize, seconds: f64, end: End) {
        let package = &self.plan.packages[number];
        let (srpm, builder) = (srpm_name(&package.name), id(board));
        let lease = self.leases.remove(&number).expect("it was leased");
        if end == End::Lost {
            let end = Ended::Returned(Verdict::Lost);
            return self.tell(now_ms, Msg::Ended { srpm, lease, builder, end });
        }
        let report = self.report(package, seconds, &end);
        self.tell(now_ms, Msg::Judge { srpm: srpm.clone(), lease, builder, report });
        let folder = Some(format!("{}-1-1", package.name));
        let ruled = match self.ruling.take().expect("a report is ruled about at once") {
            Ruling::Publish { .. } => Ended::Finished { verdict: Verdict::Success, folder },
            Ruling::Keep { verdict, .. } => Ended::Finished { verdict, folder },
            Ruling::Reject { .. } => Ended::Finished { verdict: Verdict::Failed, folder },
            Ruling::Return { verdict, .. } => Ended::Returned(verdict),
        };
        self.tell(now_ms, Msg::Ended { srpm, lease, builder, end: ruled });
        if end == End::Success {
            let provided = Provided {
                nevra: facts(&package.name, Kind::Binary).nevra,
                provides: vec![capability(devel(package))],
                files: Vec::new(),
                source: None,
            };
            let came = vec![(format!("{0}-1-1/{0}.rpm", package.name).into(), provided)];
            self.tell(now_ms, Msg::Published(News { came, ..News::default() }));
        }
        self.tell(now_ms, Msg::Ready { builder });
    }

    fn wake_ms(&self) -> Option<u64> {
        self.queue.deadline().map(|at| at.0.saturating_sub(START_MS))
    }

    fn tick(&mut self, now_ms: u64) {
        self.tell(now_ms, Msg::Tick);
    }

    fn starts(&mut self, _now_ms: u64) -> Vec<(usize, usize)> {
        std::mem::take(&mut self.starts)
    }
}
