//! Whose word counts: failures that others must confirm, builders that come out of quarantine, boards that fail what
//! others pass.

use moji_proto::message::{BuilderRow, PackageState};

use super::*;

/// A queue that wants so many builders to agree.
fn confirming(builders: usize) -> Rig {
    Rig::with(Config { confirm_failures: builders, ..Rig::new().queue.config })
}

impl Rig {
    fn board_row(&mut self, builder: u8) -> BuilderRow {
        self.tell(Msg::Look);
        let is_view = |effect: &Effect| match effect {
            Effect::Desk(crate::core::desk::Msg::View(view)) => Some(view.clone()),
            _ => None,
        };
        let view = self.out.iter().rev().find_map(is_view).unwrap();
        view.builders.iter().find(|row| row.key == key(builder)).unwrap().clone()
    }

    /// Three faults in a row.
    fn quarantine(&mut self, builder: u8) {
        for name in ["x", "y", "z"] {
            self.drop_in(&[name]);
            self.build(name, builder, Verdict::Infra);
            self.tell(Msg::Vanished { srpm: file(name) });
        }
        assert_eq!(self.board_row(builder).state, moji_proto::message::BuilderState::Quarantined);
    }

    fn shown(&self, name: &str) -> PackageState {
        self.queue.packages[&file(name)].shown()
    }
}

#[test]
fn a_failure_counts_once_two_builders_agree_and_waits_for_the_other_one_until_then() {
    let mut rig = confirming(2);
    rig.up(1);
    rig.pass_ms(1);
    rig.drop_in(&["a"]);
    rig.tell(Msg::BuilderUp { session: SessionId(2), info: info(2) });
    rig.effects();
    let ruling = rig.build("a", 1, Verdict::Failed);
    let Ruling::Return { verdict: Verdict::Failed, reason } = ruling else { panic!("{ruling:?}") };
    assert!(reason.ends_with("(1 of 2 boards, waits for another)"), "{reason}");
    assert_eq!(rig.shown("a"), PackageState::Waiting);
    rig.effects();
    rig.ready(1);
    assert_eq!(rig.claims(), [""; 0], "b2 is asked, although it is busy");
    assert_eq!(rig.why("a"), "failed on b1, 1 of 2 boards: waits for another; goes to b2 next");
    rig.ready(2);
    assert_eq!(rig.claims(), ["a→2"]);
    let ruling = rig.build("a", 2, Verdict::Failed);
    let Ruling::Keep { verdict: Verdict::Failed, reason } = ruling else { panic!("{ruling:?}") };
    assert!(reason.starts_with("failed on b1 and b2: %build failed"), "{reason}");
    assert_eq!(rig.charged("a"), 0);
}

#[test]
fn a_lone_builders_word_is_taken_and_the_reason_says_so() {
    let mut rig = confirming(2);
    rig.up(1);
    rig.drop_in(&["a"]);
    let ruling = rig.build("a", 1, Verdict::Failed);
    let Ruling::Keep { verdict: Verdict::Failed, reason } = ruling else { panic!("{ruling:?}") };
    let why = "(on b1 only, 1 of 2: no other board that may have it is connected)";
    assert!(reason.ends_with(why), "{reason}");
}

#[test]
fn a_builder_asked_twice_is_one_builder_and_its_word_is_taken_once_the_others_are_gone() {
    let mut rig = confirming(3);
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.tell(Msg::BuilderUp { session: SessionId(2), info: info(2) });
    rig.build("a", 1, Verdict::Failed);
    // Whoever could agree leaves: the first one is asked again.
    rig.tell(Msg::BuilderDown { builder: key(2) });
    rig.effects();
    rig.ready(1);
    assert_eq!(rig.claims(), ["a→1"]);
    let ruling = rig.build("a", 1, Verdict::Failed);
    assert!(
        matches!(&ruling, Ruling::Keep { reason, .. } if reason.contains("on b1 only, 1 of 3")),
        "{ruling:?}"
    );
}

#[test]
fn a_builder_that_must_pause_with_a_package_is_waited_for_to_confirm_it() {
    let mut rig = confirming(2);
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.tell(Msg::BuilderUp { session: SessionId(2), info: info(2) });
    rig.build("a", 1, Verdict::Failed);
    rig.build("a", 2, Verdict::Infra);
    rig.effects();
    rig.ready(1);
    rig.ready(2);
    assert_eq!(rig.claims(), [""; 0]);
    rig.pass_ms(PAUSE_MS);
    assert_eq!(rig.claims(), ["a→2"]);
}

#[test]
fn a_success_elsewhere_ends_the_wait_and_one_failure_is_enough_by_default() {
    let mut rig = confirming(2);
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.tell(Msg::BuilderUp { session: SessionId(2), info: info(2) });
    rig.build("a", 1, Verdict::Failed);
    rig.ready(2);
    assert_eq!(rig.build("a", 2, Verdict::Success), Ruling::Publish { held: None });

    let mut rig = confirming(1);
    rig.up(1);
    rig.up(2);
    rig.drop_in(&["a"]);
    let ruling = rig.build("a", 1, Verdict::Failed);
    assert!(
        matches!(&ruling, Ruling::Keep { reason, .. } if reason.starts_with("%build failed")),
        "{ruling:?}"
    );
}

#[test]
fn who_failed_it_before_the_restart_is_not_asked_again() {
    let mut rig = confirming(2);
    let (srpm, verdict) = (file("a"), Verdict::Failed);
    rig.tell(Msg::Tried { srpm, builder: key(1), verdict, is_open: true, memory_mib: 0 });
    rig.up(1);
    rig.pass_ms(1);
    rig.up(2);
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→2"]);
}

#[test]
fn after_a_quarantine_the_shortest_known_build_comes_first_then_anything() {
    let mut rig = Rig::new();
    // As the folders and the history tell: c was built in the shortest time, a is the smallest.
    for (name, seconds) in [("b", 900), ("c", 20), ("d", 4_000)] {
        rig.tell(Msg::Took { source: name.to_owned(), builder: key(9), seconds, silent_s: 0 });
    }
    rig.up(1);
    rig.quarantine(1);
    rig.drop_in(&["a", "b", "c", "d"]);
    rig.ready(1);
    rig.effects();
    rig.pass_ms(60_000);
    assert_eq!(rig.claims(), ["c→1"]);
    assert_eq!(rig.board_row(1).why.as_str(), "on trial after its quarantine");
    // Nothing is proven by what waits for something: the next in line of the trial.
    rig.build("c", 1, Verdict::Deps);
    rig.effects();
    rig.ready(1);
    assert_eq!(rig.claims(), ["b→1"]);
    rig.build("b", 1, Verdict::Success);
    assert_eq!(rig.logged("builder=b1 built b-1-1.src.rpm after its quarantine"), 1);
    rig.ready(1);
    assert_eq!(rig.claims(), ["a→1"], "as anybody: what was never built may be long, and goes first");
    assert_eq!(rig.board_row(1).why.as_str(), "");
}

#[test]
fn where_nothing_is_known_to_build_the_smallest_plain_package_is_the_trial() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.quarantine(1);
    for (name, size) in [("a", 900), ("b", 70), ("c", 80)] {
        rig.tell(Msg::Appeared { srpm: file(name), facts: Srpm { size, ..srpm(name) } });
    }
    rig.ready(1);
    rig.effects();
    rig.pass_ms(60_000);
    assert_eq!(rig.claims(), ["b→1"]);
    // Its own failure proves nothing about the builder.
    rig.build("b", 1, Verdict::Failed);
    rig.effects();
    rig.ready(1);
    assert_eq!(rig.claims(), ["c→1"]);
}

#[test]
fn a_builder_that_fails_its_trial_is_quarantined_for_longer() {
    // By its own fault, or by failing what is known to build.
    for verdict in [Verdict::Infra, Verdict::Failed] {
        let mut rig = Rig::new();
        rig.tell(Msg::Took { source: "a".to_owned(), builder: key(9), seconds: 20, silent_s: 0 });
        rig.up(1);
        rig.quarantine(1);
        rig.drop_in(&["a", "b"]);
        rig.ready(1);
        rig.pass_ms(60_000);
        // What it waits for is nobody's fault, and no success either.
        rig.build("b", 1, Verdict::Deps);
        rig.effects();
        rig.build("a", 1, verdict);
        assert_eq!(rig.logged("builder=b1 quarantined for 5 min"), 1, "{verdict}");
        rig.ready(1);
        assert_eq!(rig.claims(), [""; 0]);
    }
}

#[test]
fn others_take_the_rest_while_one_is_on_trial_and_an_operators_release_needs_none() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.quarantine(1);
    rig.ready(1);
    rig.pass_ms(60_000);
    rig.up(2);
    rig.effects();
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→1"]);
    rig.drop_in(&["b"]);
    assert_eq!(rig.claims(), ["b→2"]);

    let mut rig = Rig::new();
    rig.up(1);
    rig.quarantine(1);
    rig.pass_ms(60_000);
    assert!(rig.queue.standing.all[&key(1)].is_on_trial());
    let now = rig.now;
    rig.queue.standing.all.get_mut(&key(1)).unwrap().release(now);
    assert!(!rig.queue.standing.all[&key(1)].is_on_trial());
}

#[test]
fn a_board_that_fails_what_others_pass_is_named_until_it_builds_again() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.up(2);
    for name in ["a", "b", "c"] {
        assert_eq!(rig.board_row(1).suspect.as_str(), "");
        rig.drop_in(&[name]);
        rig.build(name, 1, Verdict::Failed);
        // An operator retries it.
        rig.drop_in(&[name]);
        rig.effects();
        rig.build(name, 2, Verdict::Success);
    }
    assert_eq!(rig.board_row(1).suspect.as_str(), "fails what others pass: c-1-1, b-1-1, a-1-1");
    assert_eq!(rig.board_row(2).suspect.as_str(), "");
    assert_eq!(rig.logged("builder=b1 fails what others pass: c-1-1, b-1-1, a-1-1"), 1);
    for n in 0..10 {
        let name = format!("good{n}");
        rig.drop_in(&[&name]);
        rig.build(&name, 1, Verdict::Success);
    }
    assert_eq!(rig.board_row(1).suspect.as_str(), "");
    assert_eq!(rig.logged("builder=b1 builds well"), 1);
}
