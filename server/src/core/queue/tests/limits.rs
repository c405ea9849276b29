//! Builds that their builders ended: who tries once more, and when that one is to be ended.

use super::*;

const HOUR_S: u32 = 3_600;

impl Rig {
    /// Limits of the claims since the last look.
    fn limits(&mut self) -> Vec<(u32, u32)> {
        let limits = |effect| match effect {
            Effect::Leases(leases::Msg::Claim { limits, .. }) => Some((limits.silence_s, limits.build_s)),
            _ => None,
        };
        self.effects().into_iter().filter_map(limits).collect()
    }

    /// Builds of other packages from which the speeds of builders 1, 2 and 3 follow: 2 is four times as fast as 1 and 3.
    fn compare(&mut self) {
        for n in 0..8 {
            for (builder, seconds) in [(1, 400), (2, 100), (3, 400)] {
                let source = format!("other{n}");
                self.tell(Msg::Took { source, builder: key(builder), seconds, silent_s: 1 });
            }
        }
    }
}

fn ended(exit: Exit) -> Report {
    let (seconds, silence_s) = (90_000, 86_403);
    let evidence = vec![(Which::Build, Line::lossy("configured")), (Which::Build, Line::lossy("linking x"))];
    Report { exit, seconds, silence_s, evidence, ..report("a", Verdict::Failed) }
}

const SILENT: &str = "silent for 24 h (limit 24 h), last line: linking x";
const LONG: &str = "took longer than 14 d, last line: linking x";

fn too_long() -> Report {
    ended(Exit::TooLong(1_209_600))
}

#[test]
fn what_was_ended_is_tried_once_more_on_another_builder_and_has_failed_then() {
    let mut rig = Rig::new();
    rig.drop_in(&["a"]);
    rig.up(1);
    rig.up(2);
    rig.claims();
    let ruling = rig.build_with("a", 1, ended(Exit::Silent(86_400)));
    assert_eq!(ruling, Ruling::Return { verdict: Verdict::Timeout, reason: SILENT.to_owned() });
    assert_eq!(rig.charged("a"), 1);
    // The one that ended it does not get it again, although it is idle first.
    rig.ready(1);
    assert_eq!(rig.claims(), ["a→2"]);
    let ruling = rig.build_with("a", 2, too_long());
    let reason = format!("{LONG}; before that: {SILENT}");
    assert_eq!(ruling, Ruling::Keep { verdict: Verdict::Failed, reason });
}

#[test]
fn where_nobody_else_may_have_it_it_has_failed_at_once() {
    for exit in [Exit::Silent(86_400), Exit::TooLong(1_209_600), Exit::Code(11)] {
        let mut rig = Rig::new();
        rig.drop_in(&["a"]);
        rig.up(1);
        rig.up_with(BuilderInfo { arch: FileName::new("s390x").unwrap(), ..info(9) });
        rig.tell(Msg::Target { arch: "armv5tel".to_owned() });
        let ruling = rig.build_with("a", 1, ended(exit));
        assert!(matches!(ruling, Ruling::Keep { verdict: Verdict::Failed, .. }), "{exit}: {ruling:?}");
    }
}

#[test]
fn what_took_too_long_goes_to_a_faster_builder_and_never_from_there_to_a_slow_one() {
    let again = |exit, on| {
        let mut rig = Rig::new();
        rig.compare();
        rig.drop_in(&["a"]);
        (1..=3).for_each(|builder| rig.up(builder));
        rig.claims();
        let ruling = rig.build_with("a", on, ended(exit));
        (1..=3).for_each(|builder| rig.ready(builder));
        matches!(ruling, Ruling::Return { .. }).then(|| rig.claims())
    };
    for (exit, on, want) in [
        (Exit::Silent(9), 1, Some("a→2")),
        (Exit::TooLong(9), 1, Some("a→2")),
        (Exit::Code(11), 1, Some("a→2")),
        (Exit::TooLong(9), 2, None),
        (Exit::Code(11), 2, None),
    ] {
        assert_eq!(again(exit, on), want.map(|claim| vec![claim.to_owned()]), "{exit} on {on}");
    }
    // What hangs on the fastest may do better on any other.
    assert!(again(Exit::Silent(9), 2).is_some_and(|claims| !claims.contains(&"a→2".to_owned())));
}

#[test]
fn a_busy_builder_that_may_have_it_is_waited_for() {
    let mut rig = Rig::new();
    rig.drop_in(&["b", "a"]);
    rig.up(1);
    rig.up(2);
    assert_eq!(rig.claims(), ["a→1", "b→2"]);
    let lease = rig.grant("b", 2);
    rig.build_with("a", 1, ended(Exit::Silent(86_400)));
    rig.ready(1);
    rig.pass_ms(10 * PAUSE_MS);
    assert_eq!(rig.claims(), Vec::<String>::new());
    rig.end("b", lease, 2, finished(Verdict::Success));
    rig.ready(2);
    assert_eq!(rig.claims(), ["a→2"]);
}

#[test]
fn a_faster_builder_that_is_busy_is_waited_for_beside_an_idle_one_that_is_not() {
    let mut rig = Rig::new();
    rig.compare();
    rig.drop_in(&["b"]);
    rig.up(2);
    let lease = rig.grant("b", 2);
    rig.drop_in(&["a"]);
    rig.up(1);
    rig.up(3);
    rig.build_with("a", 1, too_long());
    rig.claims();
    rig.ready(1);
    rig.pass_ms(10 * PAUSE_MS);
    assert_eq!(rig.claims(), Vec::<String>::new());
    rig.end("b", lease, 2, finished(Verdict::Success));
    rig.ready(2);
    assert_eq!(rig.claims(), ["a→2"]);
}

#[test]
fn a_first_try_that_was_ended_before_a_restart_is_not_forgotten() {
    let mut rig = Rig::new();
    rig.drop_in(&["a"]);
    rig.up(1);
    rig.up(2);
    let attempts = vec![(Verdict::Timeout, SILENT.to_owned())];
    rig.tell(Msg::Charged { srpm: file("a"), attempts });
    let ruling = rig.build_with("a", 1, too_long());
    let reason = format!("{LONG}; before that: {SILENT}");
    assert_eq!(ruling, Ruling::Keep { verdict: Verdict::Failed, reason });
}

#[test]
fn builders_that_end_builds_are_neither_quarantined_nor_is_the_world_broken() {
    let mut rig = Rig::new();
    (1..=5).for_each(|builder| rig.up(builder));
    for (name, builder) in [("a", 1), ("b", 1), ("c", 1), ("d", 2), ("e", 3)] {
        rig.drop_in(&[name]);
        rig.build_with(name, builder, ended(Exit::Silent(86_400)));
    }
    assert_eq!(rig.logged("quarantined") + rig.logged("one lease at a time"), 0);
}

#[test]
fn limits_come_of_the_options_and_of_what_is_known_of_package_and_board() {
    let limits = |knows: &[(u8, u32, u32)], builder: u8| {
        let mut rig = Rig::new();
        rig.compare();
        for (by, seconds, silent_s) in knows.iter().copied() {
            let (source, builder) = ("a".to_owned(), key(by));
            rig.tell(Msg::Took { source, builder, seconds, silent_s });
        }
        rig.drop_in(&["a"]);
        rig.up(builder);
        let limits = rig.limits();
        assert_eq!(limits.len(), 1);
        limits[0]
    };
    let options = (24 * HOUR_S, 14 * 24 * HOUR_S);
    assert_eq!(limits(&[], 1), options);
    // Measured there, or on another board with known speeds: 2 needs a quarter of the time.
    assert_eq!(limits(&[(1, 10 * HOUR_S, HOUR_S)], 1), (6 * HOUR_S, 60 * HOUR_S));
    assert_eq!(limits(&[(1, 10 * HOUR_S, HOUR_S)], 2), (2 * HOUR_S, 15 * HOUR_S));
    assert_eq!(limits(&[(2, 10 * HOUR_S, HOUR_S)], 1), (24 * HOUR_S, 240 * HOUR_S));
    // Nobody knows how fast 4 is: wider only.
    assert_eq!(limits(&[(2, 10 * HOUR_S, HOUR_S)], 4), options);
    assert_eq!(limits(&[(1, 200 * HOUR_S, 9 * HOUR_S)], 4), (54 * HOUR_S, 1_200 * HOUR_S));
}

#[test]
fn only_after_a_build_that_was_ended_at_a_limit_is_the_next_one_given_the_options_again() {
    for (verdict, want) in [
        (Verdict::Timeout, (24 * HOUR_S, 14 * 24 * HOUR_S)),
        (Verdict::Lost, (12 * HOUR_S, 12 * HOUR_S)),
        (Verdict::Infra, (12 * HOUR_S, 12 * HOUR_S)),
    ] {
        let mut rig = Rig::new();
        let (source, builder) = ("a".to_owned(), key(1));
        rig.tell(Msg::Took { source, builder, seconds: 600, silent_s: 2 * HOUR_S });
        rig.tell(Msg::Charged { srpm: file("a"), attempts: vec![(verdict, "x".to_owned())] });
        rig.drop_in(&["a"]);
        rig.up(1);
        assert_eq!(rig.limits(), [want], "{verdict}");
    }
}

#[test]
fn a_result_teaches_and_a_second_try_is_never_shorter_than_the_options() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.limits();
    let built = Report { seconds: 600, silence_s: 2 * HOUR_S, ..report("a", Verdict::Success) };
    rig.build_with("a", 1, built);
    rig.drop_in(&["a"]);
    rig.ready(1);
    assert_eq!(rig.limits(), [(12 * HOUR_S, 12 * HOUR_S)]);
    rig.up(2);
    rig.build_with("a", 1, ended(Exit::TooLong(12 * HOUR_S)));
    assert_eq!(rig.limits(), [(24 * HOUR_S, 14 * 24 * HOUR_S)]);
}
