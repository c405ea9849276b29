//! The queue alone, with leases, builders and folders played by the tests.

mod deps;
mod endgame;
mod estimate;
mod headers;
mod limits;
mod model;
mod operators;
mod order;
mod placement;
mod rebuild;
mod scenarios;
mod states;
mod trust;
mod why;

use std::net::{IpAddr, Ipv4Addr};

use moji_proto::message::{Backend, Exit, Limits, Phase, Which};
use moji_proto::{Digest, LeaseId, Line, PublicKey};

use super::*;
use crate::core::capabilities::Requirement;
use crate::core::types::{End, Report, Ruling, Srpm, StagedFile};
use crate::core::{leases, transfers};
use crate::repodata::Provided;
use crate::rpmfile::{Capability, Facts, Kind};

/// RPMSENSE_EQUAL.
const EQUAL: u32 = 8;
/// `--retry-pause` of these tests, milliseconds.
const PAUSE_MS: u64 = 600_000;

fn file(name: &str) -> FileName {
    FileName::new(format!("{name}-1-1.src.rpm")).unwrap()
}

fn facts(name: &str, kind: Kind, arch: &str) -> Facts {
    let source_rpm = (kind == Kind::Binary).then(|| format!("{name}-1-1.src.rpm"));
    let [name, version, release, arch] = [name, "1", "1", arch].map(str::to_owned);
    let nevra = Nevra { name, epoch: 0, version, release, arch };
    let (requires, provides, exclusive_arch, exclude_arch) = Default::default();
    Facts { kind, nevra, source_rpm, requires, provides, exclusive_arch, exclude_arch }
}

fn srpm(name: &str) -> Srpm {
    Srpm { size: 100, facts: facts(name, Kind::Source, "src") }
}

fn key(builder: u8) -> BuilderId {
    PublicKey([builder; 32])
}

fn info(builder: u8) -> BuilderInfo {
    BuilderInfo {
        id: key(builder),
        name: FileName::new(format!("b{builder}")).unwrap(),
        instance: 1,
        arch: FileName::new("armv5tel").unwrap(),
        version: FileName::new("0").unwrap(),
        cfg: Line::lossy("cfg"),
        cfg_digest: Digest::of(b""),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 128,
        disk_free_mib: 10_000,
        clock_unix_s: 0,
        setup: Line::default(),
        weak: false,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

fn lease(counter: u32) -> LeaseId {
    LeaseId { incarnation: 9, counter }
}

/// A result of this verdict is in `repo/`.
fn finished(verdict: Verdict) -> End {
    End::Finished { verdict, folder: Some("x-1-1".to_owned()) }
}

/// A report that the verdict rules give this verdict for.
fn report(name: &str, verdict: Verdict) -> Report {
    let (exit, line, binary) = match verdict {
        Verdict::Success => (0, "", true),
        Verdict::Excluded => (1, "error: Architecture is excluded: armv5tel", false),
        Verdict::Infra => (60, "Build root is locked", false),
        Verdict::Memory => (1, "virtual memory exhausted", false),
        Verdict::Deps => (30, "No matching package to install: 'x'", false),
        Verdict::Failed => (1, "error: Bad exit status from x (%build)", false),
        Verdict::Lost | Verdict::Released | Verdict::Timeout => panic!("not a result"),
    };
    let staged = |facts: Facts| StagedFile {
        name: FileName::new(facts.nevra.file_name(facts.kind)).unwrap(),
        size: 1,
        digest: Digest::of(b""),
        rpm: Some(facts),
        sha256: None,
    };
    let source = facts(name, Kind::Source, "src");
    let rpms = [source.clone(), facts(name, Kind::Binary, "armv5tel")];
    Report {
        source: source.nevra,
        exit: Exit::Code(exit),
        phase: Phase::Build,
        backend: Backend::Mock,
        seconds: 5,
        oom_kills: 0,
        silence_s: 2,
        peak: Default::default(),
        evidence: vec![(Which::Build, Line::lossy(line))],
        files: if binary { rpms.into_iter().map(staged).collect() } else { Vec::new() },
        defect: None,
    }
}

/// A package is published that provides this.
fn news(capability: &str) -> Msg {
    let Requirement::One(Capability { name, evr, .. }) = Requirement::parse(capability) else {
        panic!("{capability} is rich")
    };
    let flags = if evr.is_empty() { 0 } else { EQUAL };
    let provided = Provided {
        nevra: facts("of", Kind::Binary, "noarch").nevra,
        provides: vec![Capability { name, flags, evr }],
        files: Vec::new(),
        source: None,
    };
    Msg::Published(News { came: vec![(format!("{capability}/it.rpm").into(), provided)], ..News::default() })
}

/// It is published no longer.
fn old_news(capability: &str) -> Msg {
    Msg::Published(News { gone: vec![format!("{capability}/it.rpm").into()], ..News::default() })
}

/// A queue whose effects are looked at after each message.
struct Rig {
    queue: Queue,
    now: Time,
    out: Vec<Effect>,
    counter: u32,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(Config {
            attempts: 5,
            confirm_failures: 1,
            duplicate_last: false,
            retry_pause_ms: PAUSE_MS,
            limits: Limits { silence_s: 86_400, build_s: 1_209_600 },
            rebuild_dependents: false,
            target: None,
            started: Time(0),
        })
    }

    /// The clock stands an hour after the start.
    fn with(config: Config) -> Rig {
        Rig { queue: Queue::new(config), now: Time(3_600_000), out: Vec::new(), counter: 0 }
    }

    fn tell(&mut self, msg: Msg) {
        self.queue.handle(self.now, msg, &mut self.out);
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.tell(Msg::Tick);
    }

    fn drop_in(&mut self, names: &[&str]) {
        for name in names {
            self.tell(Msg::Appeared { srpm: file(name), facts: srpm(name) });
        }
    }

    fn up_with(&mut self, info: BuilderInfo) {
        let builder = info.id;
        self.tell(Msg::BuilderUp { session: SessionId(1), info });
        self.tell(Msg::Ready { builder });
    }

    fn up(&mut self, builder: u8) {
        self.up_with(info(builder));
    }

    /// All effects since the last look.
    fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out)
    }

    /// Claims since the last look, as `a→1`.
    fn claims(&mut self) -> Vec<String> {
        let claim = |effect| match effect {
            Effect::Leases(leases::Msg::Claim { srpm, builder, .. }) => {
                let name = srpm.as_str().split('-').next().unwrap().to_owned();
                Some(format!("{name}→{}", builder.0[0]))
            }
            _ => None,
        };
        self.effects().into_iter().filter_map(claim).collect()
    }

    /// Log lines since the last look that hold `text`.
    fn logged(&mut self, text: &str) -> usize {
        let is = |effect: &Effect| matches!(effect, Effect::Log(_, line) if line.contains(text));
        self.effects().iter().filter(|effect| is(effect)).count()
    }

    fn grant(&mut self, name: &str, builder: u8) -> LeaseId {
        self.counter += 1;
        let lease = lease(self.counter);
        self.tell(Msg::Granted { srpm: file(name), lease, builder: key(builder), beside: false });
        // The watch sees that the file has left source/.
        self.tell(Msg::Vanished { srpm: file(name) });
        lease
    }

    fn judge(&mut self, name: &str, lease: LeaseId, builder: u8, report: Report) -> Ruling {
        self.tell(Msg::Judge { srpm: file(name), lease, builder: key(builder), report });
        let ruling = |effect: &Effect| match effect {
            Effect::Transfers(transfers::Msg::Ruling { ruling, .. }) => Some(ruling.clone()),
            _ => None,
        };
        self.out.iter().rev().find_map(ruling).unwrap()
    }

    fn end(&mut self, name: &str, lease: LeaseId, builder: u8, end: End) {
        self.tell(Msg::Ended { srpm: file(name), lease, builder: key(builder), end });
    }

    /// Grants, has it built with this verdict, ends the lease as ruled.
    fn build(&mut self, name: &str, builder: u8, verdict: Verdict) -> Ruling {
        self.build_with(name, builder, report(name, verdict))
    }

    fn build_with(&mut self, name: &str, builder: u8, report: Report) -> Ruling {
        let lease = self.grant(name, builder);
        let ruling = self.judge(name, lease, builder, report);
        let end = match &ruling {
            Ruling::Publish { .. } => finished(Verdict::Success),
            Ruling::Keep { verdict, .. } => finished(*verdict),
            Ruling::Reject { .. } => finished(Verdict::Failed),
            Ruling::Return { verdict, .. } => End::Returned(*verdict),
        };
        self.end(name, lease, builder, end);
        ruling
    }

    /// Grants and ends the lease without a result.
    fn lose(&mut self, name: &str, builder: u8, verdict: Verdict) {
        let lease = self.grant(name, builder);
        self.end(name, lease, builder, End::Returned(verdict));
    }

    fn ready(&mut self, builder: u8) {
        self.tell(Msg::Ready { builder: key(builder) });
    }

    fn charged(&self, name: &str) -> usize {
        self.queue.packages.get(&file(name)).map_or(0, |p| p.past.charged.len())
    }
}
