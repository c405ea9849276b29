//! The core alone: every state against every message, and the stories that DESIGN.md tells.

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::message::{Backend, Exit, Limits, Phase, ReleaseWhy, Verdict};
use moji_proto::{Digest, FileName, LeaseId, Line, PublicKey, Time};

use super::*;
use crate::core::types;
use crate::core::types::HeldLease;
use crate::rpmfile::Nevra;

pub(crate) const GRACE_MS: u64 = 600_000;
const RUN: u64 = 1_000;

mod second;

pub(crate) fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

pub(crate) fn info(builder: u8) -> BuilderInfo {
    BuilderInfo {
        id: PublicKey([builder; 32]),
        name: name(&format!("b{builder}")),
        instance: 1,
        arch: name("x86_64"),
        version: name("0.1.0"),
        cfg: Line::lossy("cfg"),
        cfg_digest: Digest::of(b""),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 128,
        disk_free_mib: 9_999,
        clock_unix_s: 0,
        setup: Line::default(),
        weak: false,
        peer: [127, 0, 0, 1].into(),
    }
}

pub(crate) fn report() -> Report {
    let text = || "1".to_owned();
    Report {
        source: Nevra { name: "a".into(), epoch: 0, version: text(), release: text(), arch: "src".into() },
        exit: Exit::Code(0),
        phase: Phase::Build,
        backend: Backend::Mock,
        seconds: 1,
        oom_kills: 0,
        silence_s: 0,
        peak: Default::default(),
        evidence: Vec::new(),
        files: Vec::new(),
        defect: None,
    }
}

fn id(counter: u32) -> LeaseId {
    LeaseId { incarnation: RUN, counter }
}

fn held(lease: LeaseId) -> HeldLease {
    HeldLease { lease, srpm: name("a.src.rpm"), digest: Digest::of(b"a"), phase: Phase::Build }
}

/// An effect in a word or two; logs are left out.
fn word(effect: &Effect) -> Option<String> {
    let first = |text: String| text.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
    Some(match effect {
        Effect::Log(..) => return None,
        Effect::Journal(_) => "grant".into(),
        Effect::JournalLater(Record::End { revivable: true, .. }) => "expired".into(),
        Effect::JournalLater(_) => "final".into(),
        Effect::Move { from, to, .. } => format!("{from:?}>{to:?}"),
        Effect::Inspect { .. } => "look".into(),
        Effect::Welcome(_) => "Welcome".into(),
        Effect::Send(_, msg) => first(format!("{msg:?}")),
        Effect::Close(_, code) => format!("close:{code:?}"),
        Effect::Queue(queue::Msg::Ended { end: types::End::Finished { .. }, .. }) => "Ended:Finished".into(),
        Effect::Queue(queue::Msg::Ended { end: types::End::Beside(fate), lease, .. }) => {
            let fate = match fate {
                types::Fate::InVain(_) => "InVain".to_owned(),
                types::Fate::Outdone(_) => "Outdone".to_owned(),
                types::Fate::Returned(verdict) => format!("{verdict:?}"),
            };
            format!("{}:{fate}", lease.counter)
        }
        Effect::Queue(queue::Msg::Ended { end, .. }) => format!("Ended:{end:?}"),
        Effect::Queue(queue::Msg::Granted { beside: true, .. }) => "Second".into(),
        Effect::Queue(queue::Msg::ClaimFailed { why, .. }) => format!("{why:?}"),
        Effect::Queue(msg) => first(format!("{msg:?}")),
        Effect::Transfers(msg) => first(format!("{msg:?}")),
    })
}

fn words(effects: &[Effect]) -> String {
    effects.iter().filter_map(word).collect::<Vec<_>>().join(" ")
}

struct Bench {
    core: Leases,
    now: Time,
}

impl Bench {
    fn with(grace_ms: u64, past: Past) -> Bench {
        let past = Past { incarnation: RUN, ..past };
        Bench { core: Leases::new(Config { grace_ms }, past, Time(0), &mut Vec::new()), now: Time(0) }
    }

    fn new() -> Bench {
        Bench::with(GRACE_MS, Past::default())
    }

    fn say(&mut self, msg: Msg) -> String {
        let mut out = Vec::new();
        self.core.handle(self.now, msg, &mut out);
        words(&out)
    }

    fn connect(&mut self, builder: u8, session: u64, held: Vec<HeldLease>) -> String {
        self.say(Msg::Connected { session: SessionId(session), info: info(builder), held })
    }

    fn claim(&mut self, builder: u8) -> String {
        let (srpm, builder) = (name("a.src.rpm"), PublicKey([builder; 32]));
        self.say(Msg::Claim { srpm, builder, options: Vec::new(), limits: Limits::default(), beside: false })
    }

    fn moved(&mut self, moved: bool) -> String {
        self.say(Msg::Moved { lease: id(1), moved })
    }

    /// Builder 1 (session 1) and builder 2 (session 2) are idle; a.src.rpm is in state `state`.
    fn in_state(state: &str) -> Bench {
        let mut bench = Bench::new();
        for builder in [1, 2] {
            bench.connect(builder, builder.into(), Vec::new());
            bench.say(Msg::Ready { session: SessionId(builder.into()) });
        }
        let steps: &[&str] = match state {
            "none" => &[],
            "arriving" => &["claim"],
            "live" => &["claim", "moved"],
            "away" => &["claim", "moved", "take", "gone"],
            "sealed" => &["claim", "moved", "seal"],
            "expired" => &["claim", "moved", "take", "gone", "tick"],
            "released" => &["claim", "moved", "release"],
            "ended" => &["claim", "moved", "release", "moved"],
            _ => panic!("{state}"),
        };
        for step in steps {
            bench.step(step);
        }
        bench
    }

    fn step(&mut self, step: &str) -> String {
        let lease = id(1);
        let session = SessionId(1);
        match step {
            "claim" => self.claim(1),
            "claim2" => self.claim(2),
            "moved" => self.moved(true),
            "failed" => self.moved(false),
            "take" => self.say(Msg::Taken { lease }),
            "gone" => self.say(Msg::Disconnected { session }),
            "gone11" => self.say(Msg::Disconnected { session: SessionId(11) }),
            "tick" => {
                self.now = self.now.plus_ms(GRACE_MS);
                self.say(Msg::Tick)
            }
            "release" => self.say(Msg::Release { session, lease, why: ReleaseWhy::Stopped }),
            "release2" => self.say(Msg::Release { session: SessionId(2), lease, why: ReleaseWhy::Stopped }),
            "cancel" => self.say(Msg::Cancel { srpm: name("a.src.rpm") }),
            "retire" => self.say(Msg::Retire { srpm: name("a.src.rpm"), why: "x".into() }),
            "retry" => self.say(Msg::Retry { srpm: name("a.src.rpm") }),
            "unfit" => self.say(Msg::Unfit { lease, why: "x".into(), damaged: false, has_job: false }),
            "damaged" => self.say(Msg::Unfit { lease, why: "x".into(), damaged: true, has_job: false }),
            "seal" => self.say(Msg::Sealing { lease, report: report() }),
            "unseal" => self.say(Msg::Unsealed { lease }),
            "vanish" => self.say(Msg::Vanished { srpm: name("a.src.rpm") }),
            "absent" => self.say(Msg::Inspected { srpm: name("a.src.rpm"), present: false }),
            "present" => self.say(Msg::Inspected { srpm: name("a.src.rpm"), present: true }),
            "with" => self.connect(1, 11, vec![held(lease)]),
            "without" => self.connect(1, 11, Vec::new()),
            "thief" => self.connect(2, 12, vec![held(lease)]),
            _ => panic!("{step}"),
        }
    }
}

#[test]
fn every_state_answers_every_message_as_the_table_says() {
    let mut wrong = Vec::new();
    for line in include_str!("table.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut cells = line.splitn(3, '|').map(str::trim);
        let (state, step, want) = (cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap());
        let got = Bench::in_state(state).step(step);
        if got != want {
            wrong.push(format!("{state:<9}| {step:<9}| {got}"));
        }
    }
    assert!(wrong.is_empty(), "the core does otherwise:\n{}", wrong.join("\n"));
}

#[test]
fn a_claim_is_told_only_after_its_move_and_its_grant() {
    let mut bench = Bench::in_state("none");
    assert_eq!(bench.claim(1), "grant Source>Working");
    assert_eq!(bench.moved(true), "Granted Open");
    assert_eq!(bench.claim(2), "Leased");
}

#[test]
fn a_builder_gets_a_job_only_after_it_said_ready_again() {
    let mut bench = Bench::in_state("ended");
    assert_eq!(bench.claim(1), "NoBuilder");
    assert_eq!(bench.say(Msg::Draining { session: SessionId(2) }), "Draining");
    assert_eq!(bench.claim(2), "NoBuilder");
    assert_eq!(bench.say(Msg::Ready { session: SessionId(1) }), "Ready");
    assert_eq!(bench.claim(1), "grant Source>Working");
}

#[test]
fn a_builder_that_got_a_job_of_an_unreadable_srpm_is_idle_once_it_says_ready_again() {
    // Simulation, seed 2753: the next job reached it before it had dropped the first.
    for damaged in [false, true] {
        for has_job in [false, true] {
            let mut bench = Bench::in_state("live");
            bench.say(Msg::Unfit { lease: id(1), why: "x".into(), damaged, has_job });
            bench.moved(true);
            let want = if has_job { "NoBuilder" } else { "grant Source>Working" };
            assert_eq!(bench.claim(1), want, "damaged {damaged}, has the job {has_job}");
            if has_job {
                bench.say(Msg::Ready { session: SessionId(1) });
                assert_eq!(bench.claim(1), "grant Source>Working");
            }
        }
    }
}

#[test]
fn a_claim_for_a_file_that_is_gone_leaves_the_builder_idle() {
    let mut bench = Bench::in_state("arriving");
    assert_eq!(bench.moved(false), "final NoSuchFile");
    assert_eq!(bench.claim(1), "grant Source>Working");
}

#[test]
fn a_builder_back_within_the_grace_goes_on() {
    let mut bench = Bench::in_state("away");
    assert_eq!(bench.core.deadline(), Some(Time(GRACE_MS)));
    bench.now = Time(GRACE_MS - 1);
    assert_eq!(bench.say(Msg::Tick), "");
    assert_eq!(bench.step("with"), "Welcome BuilderUp Adopt");
    assert_eq!(bench.core.deadline(), None);
}

#[test]
fn an_old_session_that_ends_after_the_new_one_began_changes_nothing() {
    let mut bench = Bench::in_state("live");
    assert_eq!(bench.step("with"), "Detach BuilderDown Welcome BuilderUp Adopt");
    assert_eq!(bench.step("gone"), "");
    assert_eq!(bench.core.deadline(), None);
}

#[test]
fn an_expired_lease_is_taken_up_again_while_its_srpm_waits() {
    let mut bench = Bench::in_state("expired");
    assert_eq!(bench.moved(true), "expired Ended:Returned(Lost)");
    assert_eq!(bench.step("with"), "Welcome BuilderUp grant Source>Working");
    assert_eq!(bench.moved(true), "Granted Adopt");
    // The SRPM turned out to be another one.
    assert_eq!(bench.step("unfit"), "Close Working>Source");
    let mut bench = Bench::in_state("expired");
    bench.moved(true);
    bench.step("with");
    assert_eq!(bench.moved(false), "expired Gone");
}

#[test]
fn an_expired_lease_is_gone_once_another_builder_has_the_package() {
    let mut bench = Bench::in_state("expired");
    bench.moved(true);
    bench.claim(2);
    assert_eq!(bench.step("with"), "Welcome BuilderUp Gone");
}

#[test]
fn a_builder_back_while_its_srpm_leaves_gets_it_again() {
    let mut bench = Bench::in_state("expired");
    assert_eq!(bench.step("with"), "Welcome BuilderUp");
    // No second grant: the first was never ended in the journal.
    assert_eq!(bench.moved(true), "Ended:Returned(Lost) Source>Working");
    assert_eq!(bench.moved(true), "Granted Adopt");
}

#[test]
fn without_grace_a_disconnect_ends_the_lease_at_once() {
    let mut bench = Bench::with(0, Past::default());
    bench.connect(1, 1, Vec::new());
    bench.say(Msg::Ready { session: SessionId(1) });
    bench.claim(1);
    bench.moved(true);
    assert_eq!(bench.step("gone"), "Detach BuilderDown Close Working>Source");
}

#[test]
fn a_lease_whose_builder_never_got_the_job_costs_no_attempt() {
    // Simulation, seeds 72487, 203648 and 314833: the session ended in the instant of `Job`, then the grace.
    let released = "Ended:Returned(Released)";
    let lost = "Ended:Returned(Lost)";
    for (grace_ms, steps, want) in [
        (0, &["gone"][..], released),
        (GRACE_MS, &["gone", "tick"], released),
        (GRACE_MS, &["gone", "without"], released),
        (0, &["take", "gone"], lost),
        (GRACE_MS, &["take", "gone", "tick"], lost),
        (GRACE_MS, &["take", "gone", "without"], lost),
        // Whoever reports it has it.
        (GRACE_MS, &["gone", "with", "tick", "gone11", "tick"], lost),
    ] {
        let mut bench = Bench::with(grace_ms, Past::default());
        bench.connect(1, 1, Vec::new());
        bench.say(Msg::Ready { session: SessionId(1) });
        bench.claim(1);
        bench.moved(true);
        for step in steps {
            bench.step(step);
        }
        assert_eq!(bench.moved(true), format!("expired {want}"), "{steps:?}");
    }
}

#[test]
fn a_committed_lease_is_done_for_ever() {
    let mut bench = Bench::in_state("sealed");
    let outcome = Outcome::Committed { folder: "a-1-1".into(), verdict: Verdict::Success };
    assert_eq!(bench.say(Msg::Settled { lease: id(1), outcome }), "Working>Finished");
    assert_eq!(bench.step("with"), "BuilderDown Welcome BuilderUp Done");
    assert_eq!(bench.moved(true), "final Ended:Finished");
    assert_eq!(bench.connect(1, 13, vec![held(id(1))]), "BuilderDown Welcome BuilderUp Done");
}

#[test]
fn a_lease_that_was_ruled_on_is_not_taken_up_again() {
    let mut bench = Bench::in_state("sealed");
    let outcome = Outcome::Kept { verdict: Verdict::Memory };
    assert_eq!(bench.say(Msg::Settled { lease: id(1), outcome }), "Working>Source");
    assert_eq!(bench.moved(true), "final Ended:Returned(Memory)");
    assert_eq!(bench.step("with"), "BuilderDown Welcome BuilderUp Gone");
}

#[test]
fn a_seal_outlives_the_connection_and_begins_the_grace_when_it_is_broken() {
    let mut bench = Bench::in_state("sealed");
    assert_eq!(bench.step("gone"), "Detach BuilderDown");
    assert_eq!(bench.step("tick"), "");
    assert_eq!(bench.step("unseal"), "");
    assert_eq!(bench.core.deadline(), Some(Time(2 * GRACE_MS)));
    assert_eq!(bench.step("tick"), "Close Working>Source");
}

#[test]
fn the_grace_after_a_restart_is_two_minutes_at_least() {
    let grant = Grant { srpm: name("a.src.rpm"), builder: PublicKey([1; 32]), beside: None };
    let old = LeaseId { incarnation: 5, counter: 9 };
    let past = Past {
        live: BTreeMap::from([(old, grant)]),
        orphans: BTreeSet::from([name("o.src.rpm")]),
        ..Past::default()
    };
    for (grace_ms, want) in [(0, 120_000), (GRACE_MS, GRACE_MS)] {
        assert_eq!(Bench::with(grace_ms, past.clone()).core.deadline(), Some(Time(want)));
    }
    let mut bench = Bench::with(0, past.clone());
    assert_eq!(bench.connect(1, 1, vec![held(old)]), "Welcome BuilderUp Adopt");
    let mut bench = Bench::with(0, past);
    bench.now = Time(120_000);
    assert_eq!(bench.say(Msg::Tick), "Close Working>Source Working>Source");
}

#[test]
fn a_lease_whose_record_is_lost_is_taken_up_from_where_its_file_lies() {
    let old = LeaseId { incarnation: 5, counter: 9 };
    let orphans = BTreeSet::from([name("a.src.rpm")]);
    let mut bench = Bench::with(GRACE_MS, Past { orphans, ..Past::default() });
    assert_eq!(bench.connect(1, 1, vec![held(old)]), "Welcome BuilderUp grant Working>Working");
    assert_eq!(bench.say(Msg::Moved { lease: old, moved: true }), "Granted Adopt");
    assert_eq!(bench.core.deadline(), None);
    let mut bench = Bench::with(GRACE_MS, Past::default());
    assert_eq!(bench.connect(1, 1, vec![held(old)]), "Welcome BuilderUp grant Source>Working");
}

#[test]
fn made_up_leases_move_no_file() {
    for (lease, srpm) in [
        (id(1), "a.src.rpm"),
        (LeaseId { incarnation: RUN + 1, counter: 1 }, "a.src.rpm"),
        (LeaseId { incarnation: 5, counter: 1 }, "priority.txt"),
    ] {
        let claim = HeldLease { srpm: name(srpm), ..held(lease) };
        assert_eq!(Bench::new().connect(1, 1, vec![claim]), "Welcome BuilderUp Gone", "{lease} {srpm}");
    }
}

#[test]
fn a_package_dropped_beside_its_orphan_is_the_one_that_is_leased() {
    let orphans = BTreeSet::from([name("a.src.rpm")]);
    let mut bench = Bench::with(GRACE_MS, Past { orphans, ..Past::default() });
    bench.connect(1, 1, Vec::new());
    bench.say(Msg::Ready { session: SessionId(1) });
    assert_eq!(bench.claim(1), "Working>Source grant Source>Working");
}

#[test]
fn after_a_failed_sync_nothing_is_granted_and_nobody_is_told_gone() {
    let mut bench = Bench::in_state("expired");
    bench.moved(true);
    assert_eq!(bench.say(Msg::Broken { why: "x".into() }), "StopLeasing");
    assert_eq!(bench.say(Msg::Broken { why: "y".into() }), "");
    assert_eq!(bench.claim(2), "NoBuilder");
    assert_eq!(bench.step("with"), "close:ShuttingDown");
}

#[test]
fn after_a_failed_sync_a_builder_that_is_back_while_its_srpm_leaves_does_not_get_it() {
    let mut bench = Bench::in_state("expired");
    assert_eq!(bench.step("with"), "Welcome BuilderUp");
    assert_eq!(bench.say(Msg::Broken { why: "x".into() }), "StopLeasing");
    assert_eq!(bench.moved(true), "expired Ended:Returned(Lost) close:ShuttingDown");
}

#[test]
fn ids_are_never_given_twice() {
    let mut bench = Bench::in_state("none");
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        bench.claim(1);
        let lease = *bench.core.leased().keys().next().unwrap();
        assert!(seen.insert(lease), "{lease}");
        bench.say(Msg::Moved { lease, moved: false });
    }
}

#[test]
#[should_panic(expected = "settled without a seal")]
fn a_commit_without_a_seal_is_a_broken_invariant() {
    let outcome = Outcome::Kept { verdict: Verdict::Infra };
    Bench::in_state("live").say(Msg::Settled { lease: id(1), outcome });
}

#[test]
fn all_that_lives_is_in_the_journal_written_anew() {
    let bench = Bench::in_state("live");
    let (live, ended) = crate::journal::fold(bench.core.records());
    assert_eq!((live.len(), ended.len()), (1, 0));
    let bench = Bench::in_state("ended");
    let (live, ended) = crate::journal::fold(bench.core.records());
    assert_eq!((live.len(), ended.len()), (0, 1));
}

#[test]
fn a_cancelled_package_goes_to_finished() {
    let mut bench = Bench::in_state("live");
    assert_eq!(bench.say(Msg::Cancel { srpm: name("b.src.rpm") }), "");
    assert_eq!(bench.step("cancel"), "Cancel Close Working>Finished");
    assert_eq!(bench.moved(true), "final Ended:Cancelled");
}
