//! The desk's core with a clock of its own: requests and answers, credit, followers, ends in the middle.

use std::net::IpAddr;
use std::sync::Arc;

use moji_proto::limits::{OPERATOR_ROWS, OPERATOR_ROWS_MAX};
use moji_proto::message::{
    AttemptRow, Backend, BlockedRow, BuilderRow, BuilderState, EventKind, FromOperator, Health, NameOf,
    NoCode, Order, PackageRow, PackageState, Phase, ToOperator, Topic, Verdict, Which,
};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line, PublicKey, Time};

use super::*;
use crate::core::view::{Change, PackageView};

mod events;
mod logs;
mod submit;

const LEASE: LeaseId = LeaseId { incarnation: 1, counter: 1 };

fn srpm(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn line(text: &str) -> Line {
    Line::lossy(text)
}

pub(super) fn package(srpm: &str, nevr: &str) -> PackageView {
    let row = PackageRow {
        srpm: FileName::new(srpm).unwrap(),
        nevr: line(nevr),
        state: PackageState::Waiting,
        why: Line::default(),
        age_s: 0,
        size: 0,
        priority: 0,
        charged: 0,
        lease: None,
        builder: None,
        phase: None,
        phase_age_s: 0,
        line: Line::default(),
        place: Line::default(),
        expected_s: 0,
        widened: 0,
    };
    PackageView { row, since: (Time(0), 0), copy: None, wants: Vec::new(), options: Vec::new() }
}

pub(super) fn builder(name: &str, key: u8) -> BuilderRow {
    BuilderRow {
        name: line(name),
        key: PublicKey([key; 32]),
        peer: Line::default(),
        state: BuilderState::Idle,
        why: Line::default(),
        until_s: 0,
        age_s: 0,
        arch: Line::default(),
        version: Line::default(),
        cfg: Line::default(),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 1,
        health: Health::default(),
        srpm: None,
        phase: None,
        faults: 0,
        built: 0,
        failed: 0,
        suspect: Line::default(),
    }
}

/// A package that waits, one that is built, one that is in review, one that succeeded.
fn farm() -> View {
    let mut building = package("b-1-1.src.rpm", "b-1-1");
    (building.row.state, building.row.lease) = (PackageState::Building, Some(LEASE));
    building.row.builder = FileName::new("arm").ok();
    let mut review = package("r-1-1.src.rpm", "r-1-1");
    (review.row.state, review.row.place) = (PackageState::Review, line("r-1-1"));
    let mut success = package("s-1-1.src.rpm", "s-1-1");
    (success.row.state, success.row.place) = (PackageState::Success, line("s-1-1@2"));
    let mut waiting = package("a-1-1.src.rpm", "a-1-1");
    (waiting.options, waiting.wants) = (vec![line("--nocheck")], vec!["libx.so".to_owned()]);
    let mut busy = builder("arm", 1);
    (busy.state, busy.srpm) = (BuilderState::Busy, FileName::new("b-1-1.src.rpm").ok());
    let mut away = builder("away", 2);
    away.state = BuilderState::Away;
    View { packages: vec![waiting, building, review, success], builders: vec![busy, away], ..View::default() }
}

fn attempt(number: u16, ended: bool, place: &str) -> AttemptRow {
    AttemptRow {
        number,
        lease: LeaseId { counter: u32::from(number), ..LEASE },
        builder: Line::default(),
        began_unix_s: 1,
        ended_unix_s: u64::from(ended),
        seconds: 0,
        verdict: ended.then_some(Verdict::Failed),
        reason: line("it failed"),
        charged: false,
        place: line(place),
    }
}

/// A desk, its clock, and what it wants done and nobody did yet.
struct Bench {
    desk: Desk,
    now: u64,
    view: Arc<View>,
    effects: Vec<Effect>,
}

const ANN: SessionId = SessionId(1);
const BOB: SessionId = SessionId(2);

impl Bench {
    fn new() -> Bench {
        let setup = Setup { first_seq: 100, hook: true, ..Setup::default() };
        let mut bench =
            Bench { desk: Desk::new(setup), now: 1_000_000, view: Arc::new(farm()), effects: Vec::new() };
        bench.connect(ANN);
        bench.connect(BOB);
        bench
    }

    fn connect(&mut self, session: SessionId) {
        self.tell(Msg::Connected { session, peer: IpAddr::from([10, 0, 0, 7]) });
        let version = srpm("0.1.0");
        self.say(session, FromOperator::Hail { user: line("ann"), host: line("desk"), version });
    }

    fn tell(&mut self, msg: Msg) {
        self.desk.handle(Time(self.now), msg, &mut self.effects);
    }

    fn say(&mut self, session: SessionId, msg: FromOperator) {
        self.tell(Msg::FromOperator { session, msg });
    }

    fn event(&mut self, event: Event) {
        self.tell(Msg::Event(event));
    }

    fn leased(&mut self, package: &str, lease: LeaseId) {
        let package = FileName::new(package).ok();
        self.event(Event { srpm: package, lease: Some(lease), ..Event::new(EventKind::Leased, "") });
    }

    fn ended(&mut self, lease: LeaseId) {
        let verdict = Some(Verdict::Failed);
        self.event(Event { lease: Some(lease), verdict, ..Event::new(EventKind::Ended, "it failed") });
    }

    /// What was said to a session since the last time.
    fn heard(&mut self, session: SessionId) -> Vec<ToOperator> {
        let mut heard = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::Send(to, msg) if *to == session => {
                heard.push(msg.clone());
                false
            }
            _ => true,
        });
        heard
    }

    /// The jobs since the last time.
    fn jobs(&mut self) -> Vec<(Run, Job)> {
        let mut jobs = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::Work { run, job } => {
                jobs.push((*run, job.clone()));
                false
            }
            _ => true,
        });
        jobs
    }

    fn job(&mut self) -> (Run, Job) {
        let jobs: Vec<_> = self.jobs().into_iter().filter(|(_, job)| !matches!(job, Job::Close(_))).collect();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.into_iter().next().unwrap()
    }

    fn done(&mut self, run: Run, done: Done) {
        self.tell(Msg::Done { run, done });
    }

    /// How often the queue was asked for a view; answers.
    fn looks(&mut self) -> usize {
        let before = self.effects.len();
        self.effects.retain(|effect| !matches!(effect, Effect::Queue(queue::Msg::Look)));
        let looks = before - self.effects.len();
        for _ in 0..looks {
            self.tell(Msg::View(self.view.clone()));
        }
        looks
    }

    /// The queue, the workers' counts and last lines answer; gives what the session hears.
    fn ask(&mut self, msg: FromOperator) -> Vec<ToOperator> {
        self.say(ANN, msg);
        self.looks();
        for (run, job) in self.jobs() {
            match job {
                Job::Counts => self.done(run, Done::Counts([(PublicKey([1; 32]), (7, 3))].into())),
                Job::Tails(of) => {
                    let lines = of.into_iter().map(|(lease, _)| (lease, line("gcc -c x.c"))).collect();
                    self.done(run, Done::Tails(lines));
                }
                job => self.effects.push(Effect::Work { run, job }),
            }
        }
        self.heard(ANN)
    }

    fn change(&mut self, order: Order, target: &str, words: &[&str]) -> Vec<ToOperator> {
        let count = u8::try_from(words.len()).unwrap();
        self.say(ANN, FromOperator::Change { order, target: line(target), words: count });
        for word in words {
            self.say(ANN, FromOperator::Word { word: line(word) });
        }
        self.looks();
        self.heard(ANN)
    }

    fn changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::Queue(queue::Msg::Change(change)) => {
                changes.push(change.clone());
                false
            }
            _ => true,
        });
        changes
    }
}

fn brief(rows: &[ToOperator]) -> Vec<String> {
    rows.iter()
        .map(|row| match row {
            ToOperator::Package(row) => format!("package {}", row.srpm),
            ToOperator::Builder(row) => format!("builder {} {}", row.name, row.state),
            ToOperator::Attempt(row) => format!("attempt {}", row.number),
            ToOperator::Event(row) => format!("event {} {}", row.seq, row.kind),
            ToOperator::Text { topic, line } => format!("{topic:?} {line}"),
            ToOperator::Name { name } => format!("name {name}"),
            ToOperator::LogOf { attempt, live, .. } => format!("log of {attempt} {live}"),
            ToOperator::Log { offset, bytes } => {
                format!("log {offset} {}", String::from_utf8_lossy(&bytes.0))
            }
            ToOperator::LogEnd { verdict, reason } => format!("log end {verdict:?} {reason}"),
            ToOperator::Changed { target, text } => format!("changed {target}: {text}"),
            ToOperator::No { code, target, .. } => format!("no {code:?} {target}"),
            ToOperator::End { rows } => format!("end {rows}"),
            ToOperator::Farm(_) => "farm".to_owned(),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn questions_are_answered_from_one_view_in_the_order_of_their_rows() {
    use FromOperator as M;
    let list = |pattern: &str, state| M::List { pattern: line(pattern), state };
    let names = |prefix: &str, of| M::Names { prefix: line(prefix), of };
    for (ask, want) in [
        (M::Status, &["farm", "package b-1-1.src.rpm", "builder away away", "end 3"][..]),
        (
            list("", None),
            &[
                "package a-1-1.src.rpm",
                "package b-1-1.src.rpm",
                "package r-1-1.src.rpm",
                "package s-1-1.src.rpm",
                "end 4",
            ],
        ),
        (list("?-1-1", Some(PackageState::Review)), &["package r-1-1.src.rpm", "end 1"]),
        (list("b-1-1", Some(PackageState::Review)), &["end 0"]),
        (list("nothing", None), &["no NotFound nothing", "end 1"]),
        (list("no*", Some(PackageState::Review)), &["no NotFound no*", "end 1"]),
        (M::Builders { pattern: line("") }, &["builder arm busy", "builder away away", "end 2"]),
        (M::Builders { pattern: line("a??") }, &["builder arm busy", "end 1"]),
        (M::Builders { pattern: line("arn") }, &["no NotFound arn", "name arm", "end 2"]),
        (names("a", NameOf::Package), &["name a-1-1", "end 1"]),
        (names("", NameOf::Builder), &["name arm", "name away", "end 2"]),
        (names("s", NameOf::Result), &["name s-1-1@2", "end 1"]),
        (M::Show { package: line("x") }, &["no NotFound x", "end 1"]),
        (M::Why { package: line("nothing") }, &["no NotFound nothing", "end 1"]),
        (M::Why { package: line("a-1-2") }, &["no NotFound a-1-2", "name a-1-1", "end 2"]),
        (
            M::Why { package: line("[ab]-1-1") },
            &["no Ambiguous [ab]-1-1", "name a-1-1.src.rpm", "name b-1-1.src.rpm", "end 3"],
        ),
        (
            M::Show { package: line("?-1-1") },
            &[
                "no Ambiguous ?-1-1",
                "name a-1-1.src.rpm",
                "name b-1-1.src.rpm",
                "name r-1-1.src.rpm",
                "name s-1-1.src.rpm",
                "end 5",
            ],
        ),
    ] {
        let mut bench = Bench::new();
        assert_eq!(brief(&bench.ask(ask.clone())), want, "{ask:?}");
    }
}

#[test]
fn rows_have_phase_line_and_counts_that_only_the_desk_knows() {
    let mut bench = Bench::new();
    bench.leased("b-1-1.src.rpm", LEASE);
    bench.tell(Msg::Phase { lease: LEASE, phase: Phase::Build });
    bench.tell(Msg::Grown { lease: LEASE, which: Which::Build, bytes: 5 });
    bench.tell(Msg::Indexed { rpms: 5 });
    bench.now += 3_000;
    bench.tell(Msg::Unlisted { key: PublicKey([9; 32]), peer: IpAddr::from([10, 0, 0, 9]) });
    let rows = bench.ask(FromOperator::Status);
    let [ToOperator::Farm(farm), ToOperator::Package(package), ..] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(farm.rpms, 5);
    assert_eq!(farm.packages, [1, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0]);
    assert_eq!(farm.builders, [0, 1, 0, 0, 0, 0, 0, 1, 1]);
    assert_eq!((package.phase, package.phase_age_s), (Some(Phase::Build), 3));
    assert_eq!(package.line, line("gcc -c x.c"));
    assert_eq!(brief(&rows[2..]), ["builder away away", "builder 10.0.0.9 unlisted", "end 4"]);
    let rows = bench.ask(FromOperator::Builders { pattern: line("arm") });
    let [ToOperator::Builder(row), _] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.phase, row.built, row.failed), (Some(Phase::Build), 7, 3));
    // Nothing grew: nothing is read again.
    bench.ask(FromOperator::Status);
    assert!(bench.jobs().is_empty());
}

#[test]
fn many_who_ask_cost_one_look_until_something_is_changed() {
    let mut bench = Bench::new();
    let list = FromOperator::List { pattern: line("a"), state: Some(PackageState::Waiting) };
    bench.say(ANN, list.clone());
    bench.say(BOB, list.clone());
    assert_eq!(bench.looks(), 1);
    assert_eq!((bench.heard(ANN).len(), bench.heard(BOB).len()), (2, 2));
    bench.now += 200;
    bench.say(ANN, list.clone());
    assert_eq!(bench.looks(), 0);
    bench.now += 1;
    bench.say(ANN, list.clone());
    assert_eq!(bench.looks(), 1);
    bench.change(Order::Cancel, "a", &[]);
    let ticket = bench.changes()[0].ticket;
    // A view that was on its way already when the change came does not count.
    bench.now += 300;
    bench.say(BOB, list);
    bench.tell(Msg::Replied { ticket, replies: Vec::new() });
    assert_eq!(bench.looks(), 1);
    assert!(bench.heard(BOB).is_empty());
    assert_eq!(bench.looks(), 1);
    assert_eq!(bench.heard(BOB).len(), 2);
}

#[test]
fn a_long_answer_goes_as_far_as_its_credit_and_ends_once() {
    let mut bench = Bench::new();
    let packages = (0..200).map(|n| package(&format!("p{n:03}-1-1.src.rpm"), "")).collect();
    bench.view = Arc::new(View { packages, ..View::default() });
    let rows = bench.ask(FromOperator::List { pattern: line(""), state: Some(PackageState::Waiting) });
    assert_eq!(rows.len(), usize::from(OPERATOR_ROWS));
    // What others do meanwhile moves nothing.
    bench.leased("x", LEASE);
    assert!(bench.heard(ANN).is_empty());
    bench.say(ANN, FromOperator::More { rows: 36 });
    assert_eq!(bench.heard(ANN).len(), 36);
    for _ in 0..3 {
        bench.say(ANN, FromOperator::More { rows: u16::MAX });
    }
    let rows = bench.heard(ANN);
    assert_eq!((rows.len(), rows.last()), (101, Some(&ToOperator::End { rows: 200 })));
    assert!(OPERATOR_ROWS_MAX < u32::from(u16::MAX));
}

#[test]
fn a_package_is_shown_with_its_attempts_and_what_each_left() {
    let mut bench = Bench::new();
    let rows = bench.ask(FromOperator::Show { package: line("a") });
    assert_eq!(brief(&rows), ["package a-1-1.src.rpm", "Option --nocheck", "Wants libx.so"]);
    let (run, job) = bench.job();
    assert!(matches!(job, Job::Attempts(of) if of == srpm("a-1-1.src.rpm")));
    bench.done(run, Done::Attempts(vec![attempt(1, true, "attempts/1-1"), attempt(2, false, "")]));
    assert_eq!(brief(&bench.heard(ANN)), ["attempt 1"]);
    let (run, job) = bench.job();
    assert!(matches!(job, Job::Details(place) if place == line("attempts/1-1")));
    let text = ToOperator::Text { topic: Topic::Evidence, line: line("build.log: error") };
    bench.done(run, Done::Details(vec![text]));
    assert_eq!(brief(&bench.heard(ANN)), ["Evidence build.log: error", "attempt 2", "end 6"]);
}

/// Questions to the queue since the last time.
fn asked(bench: &mut Bench) -> Vec<(Ticket, queue::About)> {
    let mut asked = Vec::new();
    bench.effects.retain(|effect| match effect {
        Effect::Queue(queue::Msg::Ask { ticket, about }) => {
            asked.push((*ticket, about.clone()));
            false
        }
        _ => true,
    });
    asked
}

#[test]
fn reasons_are_the_queues_and_the_newest_attempts_follow_them() {
    let mut bench = Bench::new();
    bench.leased("b-1-1.src.rpm", LEASE);
    bench.tell(Msg::Phase { lease: LEASE, phase: Phase::Build });
    let rows = bench.ask(FromOperator::Why { package: line("b") });
    let [ToOperator::Package(row)] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.srpm.as_str(), row.phase), ("b-1-1.src.rpm", Some(Phase::Build)));
    let [(ticket, queue::About::Package(of))] = &asked(&mut bench)[..] else { panic!() };
    assert_eq!(*of, srpm("b-1-1.src.rpm"));
    assert!(bench.jobs().is_empty(), "the history is asked when the queue has answered");
    let said = vec![ToOperator::Text { topic: Topic::Why, line: line("so it is") }];
    bench.tell(Msg::Explained { ticket: *ticket, rows: said });
    assert_eq!(brief(&bench.heard(ANN)), ["Why so it is"]);
    let (run, job) = bench.job();
    assert!(matches!(job, Job::Attempts(of) if of == srpm("b-1-1.src.rpm")));
    let attempts = (1..=7).map(|number| attempt(number, true, "attempts/1-1")).collect();
    bench.done(run, Done::Attempts(attempts));
    let want = ["attempt 3", "attempt 4", "attempt 5", "attempt 6", "attempt 7", "end 7"];
    assert_eq!(brief(&bench.heard(ANN)), want);
    assert!(bench.desk.shared.tickets.is_empty());
}

#[test]
fn what_packages_wait_for_is_made_sense_of_by_a_worker() {
    let mut bench = Bench::new();
    assert!(bench.ask(FromOperator::Blocked { rows: 3 }).is_empty());
    let [(ticket, queue::About::Blocked { rows: 3 })] = asked(&mut bench)[..] else { panic!() };
    bench.tell(Msg::Surveyed { ticket, survey: Box::default() });
    let (run, job) = bench.job();
    let Job::Blocked(survey) = job else { panic!("{job:?}") };
    bench.done(run, Done::Blocked(survey.rows()));
    let rows = bench.heard(ANN);
    let head = BlockedRow { packages: 0, unnamed: 0, capabilities: 0, cycles: 0 };
    assert_eq!(rows, [ToOperator::Blocked(head), ToOperator::End { rows: 1 }]);
    // Whoever hung up is not told, and holds nothing up.
    bench.ask(FromOperator::Blocked { rows: 3 });
    let [(ticket, _)] = asked(&mut bench)[..] else { panic!() };
    bench.tell(Msg::Disconnected { session: ANN });
    bench.tell(Msg::Surveyed { ticket, survey: Box::default() });
    assert!(bench.jobs().is_empty() && bench.desk.shared.tickets.is_empty());
}

#[test]
fn a_session_that_ends_in_the_middle_leaves_nothing_open() {
    let mut bench = Bench::new();
    bench.leased("b-1-1.src.rpm", LEASE);
    bench.ask(logs::follow("b", 0, true));
    let (run, _) = bench.job();
    bench.done(run, Done::Attempts(Vec::new()));
    bench.job();
    bench.tell(Msg::Disconnected { session: ANN });
    assert!(bench.jobs().is_empty());
    // What was under way closes what it had open.
    bench.done(run, logs::piece("late", true));
    assert!(matches!(bench.jobs()[..], [(_, Job::Close(closed))] if closed == run));
    assert!(bench.desk.runs.is_empty());
    // A change that is under way is carried out all the same.
    bench.say(BOB, FromOperator::Change { order: Order::Accept, target: line("r"), words: 0 });
    bench.looks();
    let (run, _) = bench.job();
    bench.tell(Msg::Disconnected { session: BOB });
    bench.effects.clear();
    bench.done(run, Done::Decided(vec![decided(Decision::Accepted)], Vec::new()));
    assert!(bench.effects.iter().any(|effect| matches!(effect, Effect::Repo(repo::Msg::Published(_)))));
    assert!(bench.effects.iter().any(|effect| matches!(effect, Effect::Queue(queue::Msg::Decided { .. }))));
}

fn decided(decision: Decision) -> Decided {
    Decided {
        srpm: srpm("r-1-1.src.rpm"),
        folder: "r-1-1".to_owned(),
        decision,
        source: "r".to_owned(),
        binaries: vec!["r".to_owned()],
        rpms: vec![srpm("r-1-1.noarch.rpm")],
        delete: decision == Decision::Retracted,
        who: String::new(),
    }
}

#[test]
fn retracted_rpms_are_deleted_once_no_index_names_them() {
    let mut bench = Bench::new();
    bench.change(Order::Retract { delete: true }, "r-1-1", &[]);
    let (run, _) = bench.job();
    bench.done(run, Done::Decided(vec![decided(Decision::Retracted)], Vec::new()));
    assert_eq!(bench.heard(ANN).len(), 2);
    assert!(bench.jobs().is_empty());
    bench.event(Event::new(EventKind::Published, ""));
    bench.tell(Msg::Withdrawn { folder: "other-1-1".to_owned() });
    assert!(bench.jobs().is_empty());
    bench.tell(Msg::Withdrawn { folder: "r-1-1".to_owned() });
    let (run, job) = bench.job();
    assert!(matches!(&job, Job::Delete { folder, rpms } if folder == "r-1-1" && rpms.len() == 1), "{job:?}");
    bench.done(run, Done::Deleted);
    bench.tell(Msg::Withdrawn { folder: "r-1-1".to_owned() });
    assert!(bench.jobs().is_empty());
}

#[test]
fn changes_go_to_whom_they_belong_with_names_resolved() {
    for (order, target) in
        [(Order::Cancel, "a"), (Order::Retry { verdict: None }, "*"), (Order::Drain { exit: true }, "arm")]
    {
        let mut bench = Bench::new();
        assert!(bench.change(order, target, &[]).is_empty());
        let change = bench.changes().remove(0);
        assert_eq!((change.order, change.who.as_str()), (order, "ann@desk (10.0.0.7)"));
        assert_eq!(change.packages.len() + change.builders.len(), if target == "*" { 4 } else { 1 });
        let replies = vec![
            Reply::Changed { target: "x".into(), text: "done".into() },
            Reply::No { code: NoCode::Refused, target: "y".into(), text: "no".into() },
        ];
        bench.tell(Msg::Replied { ticket: change.ticket, replies });
        assert_eq!(brief(&bench.heard(ANN)), ["changed x: done", "no Refused y", "end 2"]);
    }
    for (order, target, words, want) in [
        (Order::Cancel, "nope", &[][..], "no NotFound nope"),
        (Order::Drain { exit: false }, "nope", &[], "no NotFound nope"),
        (Order::Accept, "a", &[], "no Refused a-1-1.src.rpm"),
        (Order::Options, "a", &["--resultdir=/etc"], "no BadInput a"),
        (Order::Approve, "b 1", &[], "no BadInput b 1"),
        (Order::Approve, "b1", &[], "no NotFound b1"),
    ] {
        let mut bench = Bench::new();
        let rows = brief(&bench.change(order, target, words));
        assert_eq!(rows, [want, "end 1"], "{order:?} {target}");
    }
}

#[test]
fn orders_that_are_files_are_written_by_workers_and_told_as_events() {
    let key = PublicKey([9; 32]);
    for (order, target, words) in [
        (Order::First, "a", &[][..]),
        (Order::Options, "a*", &["--nocheck"]),
        (Order::Approve, "b1", &["10.0.0.9", "armv5tel"]),
        (Order::Approve, "b1", &["09090909"]),
        (Order::Approve, "10.0.0.9", &[]),
    ] {
        let mut bench = Bench::new();
        bench.tell(Msg::Unlisted { key, peer: IpAddr::from([10, 0, 0, 9]) });
        assert!(bench.change(order, target, words).is_empty());
        let (run, job) = bench.job();
        match job {
            Job::Prioritise { names, .. } => assert_eq!(names, [srpm("a-1-1.src.rpm")]),
            Job::SetOptions { glob, .. } => assert_eq!(glob, "a*"),
            Job::Approve { key: named, archs, .. } => {
                assert_eq!((named, archs.len()), (key, usize::from(words.len() == 2)));
            }
            job => panic!("{job:?}"),
        }
        let changed = Reply::Changed { target: "a-1-1.src.rpm".into(), text: "done".into() };
        bench.done(run, Done::Changed(vec![changed]));
        assert_eq!(brief(&bench.heard(ANN)), ["changed a-1-1.src.rpm: done", "end 1"]);
        let is_told = |effect: &Effect| match effect {
            Effect::History(row) => row.kind == EventKind::Ordered && row.who == line("ann@desk (10.0.0.7)"),
            _ => false,
        };
        assert!(bench.effects.iter().any(is_told), "{order:?}");
        assert_eq!(bench.desk.shared.unlisted.is_empty(), order == Order::Approve);
    }
}

#[test]
fn one_operator_too_many_is_told_to_come_later_until_another_leaves() {
    let mut bench = Bench::new();
    for n in 0..OPERATORS_MAX as u64 {
        let session = SessionId(100 + n);
        bench.connect(session);
        bench.say(session, FromOperator::Status);
    }
    assert_eq!(brief(&bench.ask(FromOperator::Status)), ["no Later ", "end 1"]);
    bench.tell(Msg::Disconnected { session: SessionId(100) });
    assert!(bench.ask(FromOperator::Status).len() > 1);
}

#[test]
fn status_names_the_packages_whose_thin_repository_was_not_enough_the_most_often_first() {
    let mut bench = Bench::new();
    let mut view = farm();
    for (number, package) in view.packages.iter_mut().enumerate() {
        package.row.widened = [1, 0, 3, 0][number % 4];
    }
    let names: Vec<String> =
        [2, 0].map(|at: usize| view.packages[at].row.srpm.as_str().replace(".src.rpm", "")).to_vec();
    bench.view = Arc::new(view);
    let rows = bench.ask(FromOperator::Status);
    let ToOperator::Farm(farm) = &rows[0] else { panic!("{rows:?}") };
    assert_eq!(farm.thin.as_str(), format!("{} (3), {} (1)", names[0], names[1]));
}
