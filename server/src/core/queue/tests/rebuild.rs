//! What is built again since what it was built against changed, with a repo that says what changed.

use moji_proto::message::{EventKind, Order};

use super::*;
use crate::core::capabilities::Capabilities;
use crate::core::desk;
use crate::core::leases::Place;
use crate::core::repo::{self, Changed, Compare, Compared};
use crate::core::view::{Decision, Event};

const DAY_MS: u64 = 24 * 3600 * 1000;

/// Of that name, with these BuildRequires.
fn srpm_with(name: &str, requires: &[&str]) -> Srpm {
    let mut srpm = srpm(name);
    srpm.facts.requires = requires.iter().map(|one| capability(one)).collect();
    srpm
}

fn capability(text: &str) -> Capability {
    match Requirement::parse(text) {
        Requirement::One(one) => one,
        rich => panic!("{rich}"),
    }
}

/// What a binary package of that name provides, beside itself.
fn provided(name: &str, provides: &[&str]) -> Provided {
    let nevra = facts(name, Kind::Binary, "noarch").nevra;
    let provides = provides.iter().map(|one| capability(one)).collect();
    Provided { nevra, provides, files: Vec::new(), source: Some(format!("{name}-1-1.src.rpm")) }
}

/// A queue with the option, and boards enough.
fn rig() -> Rig {
    let mut rig = Rig::with(Config { rebuild_dependents: true, ..Rig::new().queue.config });
    rig.tell(Msg::Scanned);
    (1..=6).for_each(|builder| rig.up(builder));
    rig
}

impl Rig {
    /// Leases what was claimed for somebody; who.
    fn lease(&mut self, name: &str) -> (LeaseId, u8) {
        let State::Claimed { builder } = self.queue.packages[&file(name)].state else {
            panic!("{name}: {:?}", self.queue.packages[&file(name)].state)
        };
        (self.grant(name, builder.0[0]), builder.0[0])
    }

    /// The build ends with this verdict; a success is in this folder, and builders do not see it yet.
    fn finish(&mut self, name: &str, (lease, builder): (LeaseId, u8), verdict: Verdict, folder: &str) {
        self.judge(name, lease, builder, report(name, verdict));
        let folder = Some(folder.to_owned());
        self.end(name, lease, builder, End::Finished { verdict, folder });
        self.ready(builder);
    }

    /// Builders see that folder, with one package that provides this.
    fn see(&mut self, name: &str, folder: &str) {
        let path = format!("{folder}/{name}.rpm").into();
        let came = vec![(path, provided(name, &[&format!("{name}-devel")]))];
        self.tell(Msg::Published(News { came, ..News::default() }));
    }

    fn appear(&mut self, name: &str, requires: &[&str]) {
        self.tell(Msg::Appeared { srpm: file(name), facts: srpm_with(name, requires) });
    }

    /// Built, published and seen.
    fn publish(&mut self, name: &str, requires: &[&str], folder: &str) {
        self.appear(name, requires);
        let lease = self.lease(name);
        self.finish(name, lease, Verdict::Success, folder);
        self.see(name, folder);
    }

    /// What repo was asked since the last look, as `folder after earlier…`.
    fn asked(&mut self) -> Vec<String> {
        let words = |Compare { folder, earlier }: Compare| format!("{folder} after {}", earlier.join(" "));
        let asked = |effect| match effect {
            Effect::Repo(repo::Msg::Compare(builds)) => builds.into_iter().map(words).collect(),
            _ => Vec::new(),
        };
        self.effects().into_iter().flat_map(asked).collect()
    }

    /// Repo answers; with dependents, or that nothing is different.
    fn compared(&mut self, folder: &str, dependents: Option<&[&str]>) {
        let change = dependents.map(|folders| {
            let mut offered = Box::<Capabilities>::default();
            let Provided { nevra, provides, .. } = provided("foo", &["foo-devel", "libfoo.so.2"]);
            offered.add("0", &nevra, &provides, &[]);
            let dependents = folders.iter().map(|one| (*one).to_owned()).collect();
            Changed { what: "libfoo.so.1 -> libfoo.so.2".to_owned(), offered, dependents }
        });
        self.tell(Msg::Compared(vec![Compared { folder: folder.to_owned(), change }]));
    }

    /// foo is built once more and provides something else: so many times it was built by now.
    fn change_foo(&mut self, times: u32, dependents: &[&str]) {
        let folder = format!("foo-1-1@{times}");
        self.publish("foo", &[], &folder);
        self.compared(&folder, Some(dependents));
    }

    /// Names of what is moved to `source/` since the last look.
    fn retried(&mut self) -> Vec<String> {
        let name = |effect| match effect {
            Effect::Leases(leases::Msg::Retry { srpm }) => Some(srpm.as_str().split('-').next()?.to_owned()),
            _ => None,
        };
        self.effects().into_iter().filter_map(name).collect()
    }

    /// It is in `source/` again.
    fn back(&mut self, name: &str, requires: &[&str]) {
        self.tell(Msg::Placed { srpm: file(name), to: Place::Source, moved: true });
        self.appear(name, requires);
    }

    fn state(&self, name: &str) -> &State {
        &self.queue.packages[&file(name)].state
    }

    fn behind(&self, name: &str) -> Option<&str> {
        match self.state(name) {
            State::Held(Hold::Behind { first, .. }) => first.as_str().split('-').next(),
            _ => None,
        }
    }

    fn is_claimed(&self, name: &str) -> bool {
        matches!(self.state(name), State::Claimed { .. })
    }
}

/// foo is published, and a, which is built against it.
fn with_a() -> Rig {
    let mut rig = rig();
    rig.publish("foo", &[], "foo-1-1");
    rig.publish("a", &["foo-devel"], "a-1-1");
    rig.effects();
    rig
}

#[test]
fn repo_is_asked_of_a_second_build_when_builders_see_it_and_of_no_first_one() {
    let mut rig = rig();
    rig.publish("foo", &[], "foo-1-1");
    rig.publish("a", &[], "a-1-1");
    assert_eq!(rig.asked(), [""; 0]);
    rig.appear("foo", &[]);
    let lease = rig.lease("foo");
    rig.finish("foo", lease, Verdict::Success, "foo-1-1@2");
    rig.see("a", "a-1-1");
    assert_eq!(rig.asked(), [""; 0], "they do not see it yet");
    rig.see("foo", "foo-1-1@2");
    assert_eq!(rig.asked(), ["foo-1-1@2 after foo-1-1"]);
    // Word of the index may come first, and all at once.
    rig.appear("foo", &[]);
    let lease = rig.lease("foo");
    let mut stock = Box::<Capabilities>::default();
    stock.add("foo-1-1@3/foo.rpm", &facts("foo", Kind::Binary, "noarch").nevra, &[], &[]);
    rig.tell(Msg::Published(News { stock: Some(stock), ..News::default() }));
    rig.finish("foo", lease, Verdict::Success, "foo-1-1@3");
    assert_eq!(rig.asked(), ["foo-1-1@3 after foo-1-1 foo-1-1@2"]);
    // A failure is nothing new.
    rig.appear("foo", &[]);
    let lease = rig.lease("foo");
    rig.finish("foo", lease, Verdict::Failed, "foo-1-1@4");
    rig.see("foo", "foo-1-1@4");
    assert_eq!(rig.asked(), [""; 0]);
}

#[test]
fn without_the_option_nobody_is_asked_and_nothing_is_remembered() {
    let mut rig = rig();
    rig.queue.config.rebuild_dependents = false;
    rig.publish("foo", &[], "foo-1-1");
    rig.publish("foo", &[], "foo-1-1@2");
    assert_eq!(rig.asked(), [""; 0]);
    rig.compared("foo-1-1@2", Some(&["foo-1-1"]));
    assert_eq!(rig.retried(), [""; 0]);
}

#[test]
fn what_was_built_against_a_changed_package_is_built_again_once_and_nothing_else_is() {
    let mut rig = with_a();
    rig.publish("other", &[], "other-1-1");
    rig.publish("foo", &[], "foo-1-1@2");
    rig.effects();
    rig.compared("foo-1-1@2", None);
    assert_eq!(rig.retried(), [""; 0], "nothing is different");
    rig.publish("foo", &[], "foo-1-1@3");
    rig.effects();
    rig.compared("foo-1-1@3", Some(&["a-1-1"]));
    let text = "pkg=foo-1-1.src.rpm provides changed (libfoo.so.1 -> libfoo.so.2): 1 package is built again";
    let lines = |effect: &Effect| matches!(effect, Effect::Log(_, line) if line == text);
    assert_eq!(rig.out.iter().filter(|effect| lines(effect)).count(), 1);
    assert_eq!(rig.retried(), ["a"]);
    // Said again, or that a folder changed that nobody asked about.
    rig.compared("foo-1-1@3", Some(&["a-1-1", "other-1-1"]));
    rig.compared("never-1-1", Some(&["a-1-1", "other-1-1"]));
    assert_eq!(rig.retried(), [""; 0]);
    rig.back("a", &["foo-devel"]);
    let lease = rig.lease("a");
    rig.finish("a", lease, Verdict::Success, "a-1-1@2");
    rig.see("a", "a-1-1@2");
    assert_eq!(rig.asked(), ["a-1-1@2 after a-1-1"]);
    // Its own provides are what they were: it ends here.
    rig.compared("a-1-1@2", None);
    assert_eq!(rig.retried(), [""; 0]);
    assert_eq!(rig.state("a"), &State::Finished);
}

#[test]
fn two_changes_while_it_waits_are_one_reason() {
    let mut rig = with_a();
    rig.change_foo(2, &["a-1-1"]);
    assert_eq!(rig.retried(), ["a"]);
    // On its way, waiting, claimed.
    rig.change_foo(3, &["a-1-1"]);
    rig.back("a", &["foo-devel"]);
    rig.change_foo(4, &["a-1-1"]);
    assert_eq!(rig.retried(), [""; 0]);
    let lease = rig.lease("a");
    rig.finish("a", lease, Verdict::Success, "a-1-1@2");
    assert_eq!(rig.retried(), [""; 0], "it was leased after the last of them");
}

#[test]
fn what_failed_was_cancelled_retracted_or_waits_and_the_package_itself_are_left() {
    let mut rig = with_a();
    for name in ["failed", "cancelled", "retracted", "waits", "held"] {
        rig.publish(name, &["foo-devel"], &format!("{name}-1-1"));
    }
    rig.appear("failed", &["foo-devel"]);
    let lease = rig.lease("failed");
    rig.finish("failed", lease, Verdict::Failed, "failed-1-1@2");
    rig.appear("cancelled", &["foo-devel"]);
    let lease = rig.lease("cancelled");
    rig.order(Order::Cancel, "cancelled");
    rig.end("cancelled", lease.0, lease.1, End::Cancelled);
    let (srpm, source) = (file("retracted"), "retracted".to_owned());
    let (folder, binaries, who) = ("retracted-1-1".to_owned(), vec![source.clone()], String::new());
    rig.tell(Msg::Decided { srpm, folder, decision: Decision::Retracted, source, binaries, who });
    rig.appear("waits", &["foo-devel"]);
    let lease = rig.lease("waits");
    rig.end("waits", lease.0, lease.1, End::Returned(Verdict::Lost));
    rig.appear("held", &["foo-devel"]);
    let lease = rig.lease("held");
    rig.judge("held", lease.0, lease.1, report("held", Verdict::Deps));
    rig.end("held", lease.0, lease.1, End::Returned(Verdict::Deps));
    rig.effects();
    let all =
        ["a", "failed", "cancelled", "retracted", "waits", "held", "foo"].map(|name| format!("{name}-1-1"));
    rig.change_foo(2, &all.each_ref().map(|folder| &**folder));
    assert_eq!(rig.retried(), ["a"]);
}

#[test]
fn a_retraction_is_no_new_build() {
    let mut rig = with_a();
    let foo = |folder: &str, decision| {
        let (srpm, source, binaries) = (file("foo"), "foo".to_owned(), vec!["foo".to_owned()]);
        Msg::Decided { srpm, folder: folder.to_owned(), decision, source, binaries, who: String::new() }
    };
    rig.publish("foo", &[], "foo-1-1@2");
    rig.effects();
    // Before repo has answered.
    rig.tell(foo("foo-1-1@2", Decision::Retracted));
    rig.compared("foo-1-1@2", Some(&["a-1-1"]));
    rig.see("foo", "foo-1-1");
    assert_eq!(rig.retried(), [""; 0]);
    // What is accepted is one.
    rig.tell(foo("foo-1-1@3", Decision::Accepted));
    rig.see("foo", "foo-1-1@3");
    assert_eq!(rig.asked(), ["foo-1-1@3 after foo-1-1"]);
}

#[test]
fn what_is_being_built_is_built_again_once_it_is_built_unless_it_was_leased_later_or_fails() {
    for (is_later, verdict, want) in
        [(false, Verdict::Success, &["a"][..]), (true, Verdict::Success, &[]), (false, Verdict::Failed, &[])]
    {
        let mut rig = with_a();
        rig.appear("a", &["foo-devel"]);
        let early = (!is_later).then(|| rig.lease("a"));
        rig.publish("foo", &[], "foo-1-1@2");
        let lease = early.unwrap_or_else(|| rig.lease("a"));
        rig.compared("foo-1-1@2", Some(&["a-1-1"]));
        assert_eq!(rig.retried(), [""; 0]);
        rig.finish("a", lease, verdict, "a-1-1@2");
        assert_eq!(rig.retried(), want, "{is_later} {verdict}");
    }
}

#[test]
fn a_lost_lease_that_is_taken_up_again_was_built_against_the_old_one() {
    let mut rig = with_a();
    rig.appear("a", &["foo-devel"]);
    let (lost, builder) = rig.lease("a");
    (2..=6).for_each(|builder| rig.tell(Msg::BuilderDown { builder: key(builder) }));
    rig.tell(Msg::BuilderDown { builder: key(1) });
    rig.end("a", lost, builder, End::Returned(Verdict::Lost));
    rig.appear("a", &["foo-devel"]);
    rig.tell(Msg::BuilderUp { session: SessionId(1), info: info(1) });
    // foo comes from elsewhere.
    rig.tell(Msg::Known { folder: "foo-1-1@2".into(), source: "foo".into(), binaries: vec!["foo".into()] });
    let past = PastResult {
        folder: "foo-1-1@2".into(),
        builder: None,
        verdict: Verdict::Success,
        reason: String::new(),
        held: None,
        decision: None,
        ago_s: 0,
    };
    rig.tell(Msg::Past { srpm: file("foo"), result: past });
    rig.see("foo", "foo-1-1@2");
    rig.compared("foo-1-1@2", Some(&["a-1-1"]));
    let lease = rig.grant("a", builder);
    rig.effects();
    rig.finish("a", (lease, builder), Verdict::Success, "a-1-1@2");
    assert_eq!(rig.retried(), ["a"]);
}

#[test]
fn a_first_build_whose_header_asks_for_what_changed_is_built_again_once_it_is_built() {
    let mut rig = with_a();
    rig.appear("new", &["libfoo.so.2 >= 1"]);
    rig.appear("old", &["foo = 7"]);
    let leases = ["new", "old"].map(|name| rig.lease(name));
    rig.change_foo(2, &[]);
    assert_eq!(rig.retried(), [""; 0]);
    for (name, lease) in ["new", "old"].into_iter().zip(leases) {
        rig.finish(name, lease, Verdict::Success, &format!("{name}-1-1"));
    }
    assert_eq!(rig.retried(), ["new"]);
}

#[test]
fn what_changes_at_each_build_has_another_one_built_again_three_times_a_day() {
    let mut rig = with_a();
    for times in 2..=4 {
        rig.change_foo(times, &["a-1-1"]);
        assert_eq!(rig.retried(), ["a"], "{times}");
        rig.back("a", &["foo-devel"]);
        let lease = rig.lease("a");
        rig.finish("a", lease, Verdict::Success, &format!("a-1-1@{times}"));
        rig.see("a", &format!("a-1-1@{times}"));
        rig.effects();
    }
    rig.change_foo(5, &["a-1-1"]);
    let is_said = |effect: &Effect| match effect {
        Effect::Log(log::Level::Warn, line) => line.contains("a-1-1.src.rpm is not built again although foo"),
        _ => false,
    };
    assert!(rig.out.iter().any(is_said));
    assert_eq!(rig.retried(), [""; 0]);
    // Another one's change is another matter.
    rig.publish("bar", &[], "bar-1-1");
    rig.publish("bar", &[], "bar-1-1@2");
    rig.compared("bar-1-1@2", Some(&["a-1-1"]));
    assert_eq!(rig.retried(), ["a"]);
    rig.back("a", &[]);
    let lease = rig.lease("a");
    rig.finish("a", lease, Verdict::Success, "a-1-1@5");
    rig.see("a", "a-1-1@5");
    rig.pass_ms(DAY_MS);
    rig.change_foo(6, &["a-1-1"]);
    assert_eq!(rig.retried(), ["a"]);
}

#[test]
fn what_is_not_moved_stays_finished_and_nobody_waits_for_it() {
    let mut rig = with_a();
    rig.publish("b", &["a-devel"], "b-1-1");
    rig.change_foo(2, &["a-1-1", "b-1-1"]);
    assert_eq!(rig.retried(), ["a", "b"]);
    rig.back("b", &["a-devel"]);
    assert_eq!(rig.behind("b"), Some("a"));
    rig.tell(Msg::Placed { srpm: file("a"), to: Place::Source, moved: false });
    assert_eq!(rig.state("a"), &State::Finished);
    assert!(rig.is_claimed("b"));
    assert_eq!(rig.queue.rebuild.words(&file("a")), None);
}

/// a is built against foo, b against a, and all of them go back.
fn chain_of_two() -> Rig {
    let mut rig = with_a();
    rig.publish("b", &["a-devel", "foo-devel"], "b-1-1");
    rig.change_foo(2, &["a-1-1", "b-1-1"]);
    assert_eq!(rig.retried(), ["a", "b"]);
    rig.back("b", &["a-devel", "foo-devel"]);
    assert_eq!(rig.behind("b"), Some("a"), "a is on its way");
    rig.back("a", &["foo-devel"]);
    assert!(rig.is_claimed("a"));
    rig
}

#[test]
fn what_is_built_against_another_that_is_built_again_waits_until_builders_see_that() {
    let mut rig = chain_of_two();
    let lease = rig.lease("a");
    assert_eq!(rig.behind("b"), Some("a"));
    rig.finish("a", lease, Verdict::Success, "a-1-1@2");
    assert_eq!(rig.behind("b"), Some("a"), "nobody sees it yet");
    assert_eq!(rig.queue.rebuild.words(&file("a")), None, "it is built");
    rig.see("a", "a-1-1@2");
    assert!(rig.is_claimed("b"));
    // What a changed by that does not have it built once more.
    rig.compared("a-1-1@2", Some(&["b-1-1"]));
    let lease = rig.lease("b");
    rig.finish("b", lease, Verdict::Success, "b-1-1@2");
    rig.see("b", "b-1-1@2");
    assert_eq!(rig.retried(), [""; 0]);
    assert!(["a", "b"].iter().all(|name| rig.queue.rebuild.words(&file(name)).is_none()));
}

#[test]
fn whatever_ends_the_others_turn_ends_the_wait() {
    type Ends = fn(&mut Rig);
    let fails: Ends = |rig| {
        let lease = rig.lease("a");
        rig.finish("a", lease, Verdict::Failed, "a-1-1@2");
    };
    let lacks: Ends = |rig| {
        let (lease, builder) = rig.lease("a");
        rig.judge("a", lease, builder, report("a", Verdict::Deps));
        rig.end("a", lease, builder, End::Returned(Verdict::Deps));
    };
    let retracted: Ends = |rig| {
        let lease = rig.lease("a");
        rig.finish("a", lease, Verdict::Success, "a-1-1@2");
        let (srpm, source) = (file("a"), "a".to_owned());
        let (folder, binaries, who) = ("a-1-1@2".to_owned(), vec![source.clone()], String::new());
        rig.tell(Msg::Decided { srpm, folder, decision: Decision::Retracted, source, binaries, who });
    };
    let ends: [(&str, Ends); 6] = [
        ("fails", fails),
        ("lacks", lacks),
        ("retracted", retracted),
        ("taken out", |rig| {
            let builder = rig.lease("a");
            rig.end("a", builder.0, builder.1, End::Taken);
        }),
        ("an operator", |rig| rig.order(Order::Retry { verdict: None }, "b")),
        ("a day", |rig| rig.pass_ms(DAY_MS)),
    ];
    for (what, end) in ends {
        let mut rig = chain_of_two();
        end(&mut rig);
        assert!(rig.is_claimed("b"), "{what}: {:?}", rig.state("b"));
    }
    // A lost one is still to come.
    let mut rig = chain_of_two();
    let (lease, builder) = rig.lease("a");
    rig.end("a", lease, builder, End::Returned(Verdict::Lost));
    assert_eq!(rig.behind("b"), Some("a"));
}

#[test]
fn packages_that_are_built_against_each_other_do_not_wait_for_ever() {
    let mut rig = rig();
    rig.publish("foo", &[], "foo-1-1");
    let circle = [("a", "c-devel"), ("b", "a-devel"), ("c", "b-devel")];
    for (name, needs) in circle {
        rig.publish(name, &[needs], &format!("{name}-1-1"));
    }
    rig.change_foo(2, &["a-1-1", "b-1-1", "c-1-1"]);
    circle.iter().for_each(|(name, needs)| rig.back(name, &[needs]));
    let mut built = Vec::new();
    for round in 0..3 {
        let claimed: Vec<&str> =
            circle.iter().map(|(name, _)| *name).filter(|name| rig.is_claimed(name)).collect();
        let [one] = claimed[..] else { panic!("{round}: {claimed:?}") };
        let lease = rig.lease(one);
        let folder = format!("{one}-1-1@2");
        rig.finish(one, lease, Verdict::Success, &folder);
        rig.see(one, &folder);
        rig.compared(&folder, None);
        built.push(one);
    }
    assert_eq!(built.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{built:?}");
    assert!(circle.iter().all(|(name, _)| rig.state(name) == &State::Finished));
}

#[test]
fn operators_see_who_did_it_and_why() {
    let mut rig = chain_of_two();
    let why = "built again: foo changed (libfoo.so.1 -> libfoo.so.2)";
    let by_hub = |name: &str, effects: &[Effect]| {
        let is = |event: &Event| {
            event.kind == EventKind::Ordered
                && event.who == "the hub"
                && event.srpm == Some(file(name))
                && event.text == why
        };
        effects.iter().any(|effect| matches!(effect, Effect::Desk(desk::Msg::Event(event)) if is(event)))
    };
    let effects = rig.effects();
    assert!(by_hub("a", &effects) && by_hub("b", &effects));
    rig.tell(Msg::Look);
    let Some(Effect::Desk(desk::Msg::View(view))) = rig.effects().pop() else { panic!("no view") };
    let row = |name: &str| &view.packages.iter().find(|one| one.row.srpm == file(name)).unwrap().row;
    assert_eq!(row("b").state.to_string(), "waiting");
    let behind = format!("{why}; behind a-1-1.src.rpm, which is built again first");
    assert_eq!(row("b").why.as_str(), behind);
    assert!(row("a").why.as_str().starts_with(why));
    assert_eq!(rig.queue.snapshot(rig.now).waiting, 1);
    // What changed is told of once, too.
    let mut rig = with_a();
    rig.publish("foo", &[], "foo-1-1@2");
    rig.effects();
    rig.compared("foo-1-1@2", Some(&["a-1-1"]));
    let told = rig.effects().into_iter().filter_map(|effect| match effect {
        Effect::Desk(desk::Msg::Event(event)) => Some(event.text),
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        ["provides changed (libfoo.so.1 -> libfoo.so.2): 1 package is built again"]
    );
}

#[test]
fn a_start_looks_at_what_was_published_within_a_day_before_and_whom_it_concerns() {
    let past = |name: &str, folder: &str, ago_s: u64| {
        let known = Msg::Known { folder: folder.into(), source: name.into(), binaries: vec![name.into()] };
        let result = PastResult {
            folder: folder.into(),
            builder: None,
            verdict: Verdict::Success,
            reason: String::new(),
            held: None,
            decision: None,
            ago_s,
        };
        [known, Msg::Past { srpm: file(name), result }]
    };
    let mut rig = Rig::with(Config { rebuild_dependents: true, ..Rig::new().queue.config });
    let results = [
        past("bar", "bar-1-1", 200_000),
        past("bar", "bar-1-1@2", 86_401),
        past("foo", "foo-1-1", 9_000),
        past("early", "early-1-1", 5_000),
        past("foo", "foo-1-1@2", 4_000),
        past("late", "late-1-1", 3_000),
    ];
    let (known, past): (Vec<Msg>, Vec<Msg>) = results.into_iter().map(|[known, past]| (known, past)).unzip();
    known.into_iter().chain(past).for_each(|msg| rig.tell(msg));
    for name in ["foo", "bar", "early", "late"] {
        rig.tell(Msg::FinishedChanged { srpm: file(name), present: true });
    }
    for (name, folder) in [("bar", "bar-1-1@2"), ("foo", "foo-1-1@2")] {
        rig.see(name, folder);
    }
    assert_eq!(rig.asked(), [""; 0], "the folders were not looked at yet");
    rig.tell(Msg::Scanned);
    assert_eq!(rig.asked(), ["foo-1-1@2 after foo-1-1"]);
    // Leased after the start, when all of that could be seen.
    rig.up(1);
    rig.publish("new", &["foo-devel"], "new-1-1");
    rig.compared("foo-1-1@2", Some(&["early-1-1", "late-1-1", "new-1-1"]));
    assert_eq!(rig.retried(), ["early"]);
}

#[test]
fn while_nothing_is_moved_nothing_is() {
    let mut rig = with_a();
    rig.tell(Msg::StopLeasing { why: "a sync failed".to_owned() });
    rig.queue.stopped = None;
    rig.publish("foo", &[], "foo-1-1@2");
    rig.queue.stopped = Some("a sync failed".to_owned());
    rig.compared("foo-1-1@2", Some(&["a-1-1"]));
    assert_eq!(rig.retried(), [""; 0]);
    assert_eq!(rig.state("a"), &State::Finished);
}
