//! Builds with a thin repository: what is offered, what is widened, and when all repositories are used.

use std::sync::Mutex;

use super::*;
use crate::core::transfers::{Need, ThinDesk, place};

/// What the desk was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Offer(Box<Need>),
    Widen(LeaseId, Vec<String>),
    End(LeaseId),
}

/// A desk that does what it is told to.
struct Desk {
    offers: bool,
    widens: bool,
    asked: Mutex<Vec<Asked>>,
}

impl ThinDesk for Desk {
    fn offer(&self, need: &Need) -> bool {
        self.asked.lock().unwrap().push(Asked::Offer(Box::new(need.clone())));
        self.offers
    }

    fn widen(&self, lease: LeaseId, names: &[String]) -> bool {
        self.asked.lock().unwrap().push(Asked::Widen(lease, names.to_vec()));
        self.widens
    }

    fn end(&self, lease: LeaseId) {
        self.asked.lock().unwrap().push(Asked::End(lease));
    }
}

/// A hub with a desk, and a builder that can be given a repository of its own.
struct Thin {
    hub: Hub,
    desk: Arc<Desk>,
    built: Built,
}

const S: SessionId = SessionId(1);

fn board() -> crate::core::types::BuilderInfo {
    let setup = Line::lossy("install @buildsys-build");
    crate::core::types::BuilderInfo { setup, weak: true, ..info() }
}

impl Thin {
    fn new(offers: bool, widens: bool) -> Thin {
        let mut thin = Thin {
            hub: Hub::new(),
            desk: Arc::new(Desk { offers, widens, asked: Mutex::default() }),
            built: crate::stage::testrpm::build("hello", "1.0"),
        };
        thin.restart();
        thin
    }

    fn restart(&mut self) {
        self.hub.restart();
        self.hub.core = Transfers::new(Limits::default()).with_thin(true);
        let disk = Arc::new(TestDisk(self.hub.faults.clone()));
        let clock = Arc::new(Still(self.hub.unix_s.clone()));
        let worker = Worker::new(disk, clock, self.hub.folders.clone());
        self.hub.worker = worker.with_thin(Some(self.desk.clone()));
    }

    fn open(&mut self, builder: crate::core::types::BuilderInfo) {
        let (srpm, options) = (self.hub.srpm(&self.built), Vec::new());
        self.hub.tell(Msg::Open { lease: lease(1), session: S, builder, srpm, options, limits: LIMITS });
        self.hub.work();
    }

    /// Opens a lease; says with which repository.
    fn opened(&mut self) -> String {
        self.open(board());
        match &self.hub.take_sent()[..] {
            [ToBuilder::Job { place, .. }] => place.as_str().to_owned(),
            other => panic!("no job: {other:?}"),
        }
    }

    fn adopt(&mut self, session: SessionId) -> Vec<ToBuilder> {
        self.hub.tell(Msg::Adopt {
            lease: lease(1),
            session,
            builder: board(),
            srpm: name(&self.built.source.0),
            digest: Digest::of(&self.built.source.1),
            phase: Phase::Upload,
            options: Vec::new(),
        });
        self.hub.work();
        self.hub.take_sent()
    }

    /// A build that ended so, after so many seconds; says what the hub says to that.
    fn ended(&mut self, session: SessionId, exit: u8, seconds: u32, lines: &[&str]) -> Vec<ToBuilder> {
        self.say_ended(session, exit, seconds, lines);
        self.hub.work();
        self.hub.take_sent()
    }

    fn say_ended(&mut self, session: SessionId, exit: u8, seconds: u32, lines: &[&str]) {
        let results = FromBuilder::Results {
            lease: lease(1),
            exit: Exit::Code(exit),
            phase: Phase::Setup,
            backend: Backend::Mock,
            seconds,
            oom_kills: 0,
            silence_s: 1,
            peak_memory_mib: 1,
            peak_disk_mib: 1,
            files: 1,
            evidence: lines.len() as u16,
        };
        self.hub.hear(session, results);
        let digest = Digest::of(b"log");
        self.hub
            .hear(session, FromBuilder::File { lease: lease(1), name: name("root.log"), size: 3, digest });
        for line in lines {
            let line = Line::lossy(line);
            self.hub.hear(session, FromBuilder::Evidence { lease: lease(1), which: Which::Root, line });
        }
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.desk.asked.lock().unwrap())
    }

    fn log(&self) -> String {
        let path = self.hub.dir.path().join(format!("working/.stage-{}/.live/root.log", lease(1)));
        String::from_utf8(fs::read(path).unwrap_or_default()).unwrap()
    }

    fn say_log(&mut self, offset: u64, text: &str) {
        let bytes = Bytes(text.as_bytes().to_vec());
        self.hub.hear(S, FromBuilder::Log { lease: lease(1), which: Which::Root, offset, bytes });
        self.hub.work();
    }
}

fn again(place: &str) -> [ToBuilder; 1] {
    [ToBuilder::Again { lease: lease(1), place: Line::lossy(place) }]
}

fn want() -> [ToBuilder; 1] {
    [ToBuilder::Want { lease: lease(1), file: 0, offset: 0 }]
}

fn widen(names: &[&str]) -> Asked {
    Asked::Widen(lease(1), names.iter().map(|name| (*name).to_owned()).collect())
}

const MISSING: &str = "No matching package to install: 'libfoo-devel'";
const OURS: &str = "/thin/0707070707070707/";

#[test]
fn a_builder_gets_the_place_that_its_key_has_and_the_desk_what_it_needs() {
    let mut thin = Thin::new(true, true);
    assert_eq!(thin.opened(), OURS);
    assert_eq!(place(&info().id), OURS);
    let [Asked::Offer(need)] = &thin.asked()[..] else { panic!("nothing was asked") };
    assert_eq!((need.lease, need.builder, &*need.arch, need.weak), (lease(1), info().id, "armv5tel", true));
    assert_eq!(need.setup.as_str(), "install @buildsys-build");
    thin.hub.tell(Msg::Close { lease: lease(1), why: "lost".to_owned() });
    thin.hub.work();
    assert_eq!(thin.asked(), [Asked::End(lease(1))]);
}

#[test]
fn nobody_gets_one_whom_the_desk_cannot_serve_or_who_did_not_say_its_setup() {
    let mut thin = Thin::new(false, true);
    assert_eq!(thin.opened(), "");
    assert_eq!(thin.ended(S, 30, 1, &[MISSING]), want(), "what all repositories lack is for the queue");
    for builder in [info(), crate::core::types::BuilderInfo { backend: Backend::Rpmbuild, ..board() }] {
        let mut thin = Thin::new(true, true);
        thin.open(builder);
        assert!(thin.asked().is_empty());
    }
    let mut thin = Thin::new(true, true);
    thin.hub.core = Transfers::new(Limits::default());
    assert_eq!(thin.opened(), "", "no mainline, no thin repository");
}

#[test]
fn what_a_build_lacks_is_added_twice_and_then_it_gets_all_repositories() {
    let mut thin = Thin::new(true, true);
    thin.opened();
    thin.asked();
    assert_eq!(thin.ended(S, 30, 1, &["Error: Unable to find a match: bar foo", MISSING]), again(OURS));
    assert_eq!(thin.asked(), [widen(&["bar", "foo", "libfoo-devel"])]);
    assert_eq!(
        thin.ended(S, 30, 2, &["nothing provides libbar.so.1 needed by libfoo-devel-1-1"]),
        again(OURS)
    );
    assert_eq!(thin.asked(), [widen(&["libbar.so.1"])]);
    assert_eq!(thin.ended(S, 30, 3, &[MISSING]), again(""));
    assert_eq!(thin.asked(), []);
    let told = thin.hub.again.clone();
    assert_eq!(
        told,
        [
            "built again: bar, foo, libfoo-devel were not in its thin repository (1 of 2)",
            "built again: libbar.so.1 was not in its thin repository (2 of 2)",
            "built again with all repositories: libfoo-devel was not in its thin repository"
        ]
    );
    // Only what fails with all repositories is a result: it is taken, and the queue rules.
    assert_eq!(thin.ended(S, 30, 4, &[MISSING]), want());
    let data = FromBuilder::Data { lease: lease(1), file: 0, offset: 0, bytes: Bytes(b"log".to_vec()) };
    thin.hub.hear(S, data);
    thin.hub.work();
    thin.hub.rule(lease(1), Ruling::Keep { verdict: Verdict::Failed, reason: "no".to_owned() });
    assert_eq!(thin.hub.json("hello-1.0-1").again, told);
    assert_eq!(thin.asked(), [Asked::End(lease(1))]);
}

#[test]
fn a_result_that_lacks_nothing_of_the_repository_is_taken_at_once() {
    for (exit, lines) in [
        (0, &["fine"][..]),
        (1, &["error: Bad exit status from /var/tmp/x (%build)"]),
        (30, &["No space left on device"]),
        (30, &["Error: more space needed on the / filesystem"]),
        (30, &["Child return code was: -9"]),
        (11, &["Timeout(8) expired for command"]),
    ] {
        let mut thin = Thin::new(true, true);
        thin.opened();
        thin.asked();
        assert_eq!(thin.ended(S, exit, 1, lines), want(), "{exit} {lines:?}");
        assert_eq!(thin.asked(), []);
    }
}

#[test]
fn whatever_else_mock_could_not_install_goes_the_same_way_without_names() {
    for lines in [&["Status code: 404 for http://hub/thin/x/repodata/repomd.xml"][..], &["unheard of"], &[]] {
        let mut thin = Thin::new(true, true);
        thin.opened();
        thin.asked();
        assert_eq!(thin.ended(S, 30, 1, lines), again(OURS), "{lines:?}");
        assert_eq!(thin.asked(), [widen(&[])]);
        assert_eq!(thin.hub.again, ["built again: its thin repository was not enough, exit 30 (1 of 2)"]);
    }
}

#[test]
fn a_desk_that_cannot_widen_leaves_all_repositories() {
    let mut thin = Thin::new(true, false);
    thin.opened();
    assert_eq!(thin.ended(S, 30, 1, &[MISSING]), again(""));
    assert_eq!(thin.ended(S, 30, 2, &[MISSING]), want());
}

#[test]
fn an_answer_that_the_builder_did_not_hear_is_said_again_and_counts_once() {
    let mut thin = Thin::new(true, true);
    thin.opened();
    thin.asked();
    // While the desk is at it, the connection breaks.
    thin.say_ended(S, 30, 1, &[MISSING]);
    thin.hub.tell(Msg::Detach { lease: lease(1) });
    thin.hub.work();
    assert_eq!(thin.hub.take_sent(), []);
    let second = SessionId(2);
    assert!(matches!(thin.adopt(second)[..], [ToBuilder::Adopted { .. }]));
    assert_eq!(thin.ended(second, 30, 1, &[MISSING]), again(OURS));
    // Now the answer itself is lost.
    thin.hub.tell(Msg::Detach { lease: lease(1) });
    let third = SessionId(3);
    thin.adopt(third);
    assert_eq!(thin.ended(third, 30, 1, &[MISSING]), again(OURS));
    assert_eq!(thin.hub.again.len(), 1);
    // What fails in the same session and looks the same is another build.
    assert_eq!(thin.ended(third, 30, 1, &[MISSING]), again(OURS));
    assert_eq!(thin.ended(third, 30, 1, &[MISSING]), again(""));
    // All repositories are promised, but the builder never heard: what it says is of the thin one still.
    thin.hub.tell(Msg::Detach { lease: lease(1) });
    let fourth = SessionId(4);
    thin.adopt(fourth);
    assert_eq!(thin.ended(fourth, 30, 1, &[MISSING]), again(""));
    assert_eq!(thin.ended(fourth, 30, 1, &[MISSING]), want());
}

#[test]
fn a_hub_that_restarts_offers_again_and_comes_to_an_end_too() {
    let mut thin = Thin::new(true, true);
    thin.opened();
    thin.ended(S, 30, 1, &[MISSING]);
    thin.asked();
    thin.restart();
    let second = SessionId(2);
    assert!(matches!(thin.adopt(second)[..], [ToBuilder::Adopted { .. }]));
    assert!(matches!(thin.asked()[..], [Asked::Offer(_)]));
    let mut said = Vec::new();
    for seconds in 0..4 {
        said.extend(thin.ended(second, 30, seconds, &[MISSING]));
    }
    assert_eq!(said, [again(OURS), again(OURS), again(""), want()].concat());
}

#[test]
fn a_lease_that_ends_while_the_desk_is_at_it_is_over() {
    let mut thin = Thin::new(true, true);
    thin.opened();
    thin.asked();
    thin.say_ended(S, 30, 1, &[MISSING]);
    thin.hub.tell(Msg::Close { lease: lease(1), why: "cancelled".to_owned() });
    thin.hub.work();
    assert_eq!(thin.hub.take_sent(), []);
    assert_eq!(thin.asked(), [widen(&["libfoo-devel"]), Asked::End(lease(1))]);
}

#[test]
fn logs_go_on_behind_a_line_that_says_why() {
    let mut thin = Thin::new(true, true);
    thin.opened();
    thin.say_log(0, "first\n");
    thin.ended(S, 30, 1, &[MISSING]);
    let line = "--- built again: libfoo-devel was not in its thin repository (1 of 2)\n";
    assert_eq!(thin.log(), format!("first\n{line}"));
    thin.say_log(0, "second");
    thin.say_log(3, "ond\n");
    assert_eq!(thin.log(), format!("first\n{line}second\n"));
    thin.hub.tell(Msg::Detach { lease: lease(1) });
    // The builder counts from where this build's began.
    let [ToBuilder::Adopted { logs, .. }] = thin.adopt(SessionId(2))[..] else { panic!("not adopted") };
    assert_eq!(logs[Which::Root as usize], 7);
}

#[test]
fn a_builder_says_nothing_of_its_result_while_the_desk_is_at_it() {
    let data = FromBuilder::Data { lease: lease(1), file: 0, offset: 0, bytes: Bytes(b"log".to_vec()) };
    let fetch = FromBuilder::Fetch { lease: lease(1), offset: 0, length: 1 };
    for msg in [data, fetch] {
        let mut thin = Thin::new(true, true);
        thin.opened();
        thin.say_ended(S, 30, 1, &[MISSING]);
        thin.hub.hear(S, msg.clone());
        assert_eq!(thin.hub.closed, [(S, RejectCode::Order)], "{msg:?}");
    }
}
