//! One story for each rule.

use moji_proto::message::{Health, Trouble};

use super::*;

#[test]
fn packages_go_to_idle_builders_in_order_of_their_names() {
    let mut rig = Rig::new();
    rig.drop_in(&["c", "a", "b"]);
    rig.up(1);
    rig.up(2);
    assert_eq!(rig.claims(), ["a→1", "b→2"]);
}

#[test]
fn no_builder_gets_two_and_no_package_goes_out_twice() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.up(2);
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→1"]);
    rig.drop_in(&["a", "b", "c"]);
    rig.ready(1);
    assert_eq!(rig.claims(), ["b→2"]);
    rig.grant("a", 1);
    assert_eq!(rig.claims(), [""; 0]);
    rig.ready(1);
    assert_eq!(rig.claims(), ["c→1"]);
}

#[test]
fn priority_comes_first_then_what_was_released_then_names() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["z"]);
    rig.lose("z", 1, Verdict::Released);
    rig.drop_in(&["a", "b", "c"]);
    rig.tell(Msg::Priority(vec!["c-1-1.src.rpm".to_owned(), "later-1-1.src.rpm".to_owned()]));
    rig.effects();
    for builder in 2..5 {
        rig.up(builder);
    }
    assert_eq!(rig.claims(), ["c→2", "z→3", "a→4"]);
    rig.drop_in(&["later"]);
    rig.up(5);
    assert_eq!(rig.claims(), ["later→5"]);
}

#[test]
fn the_longest_idle_builder_goes_first() {
    let mut rig = Rig::new();
    rig.up(2);
    rig.pass_ms(1);
    rig.up(1);
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→2"]);
}

#[test]
fn released_packages_are_not_charged_and_may_go_to_the_same_builder() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.lose("a", 1, Verdict::Released);
    assert_eq!(rig.charged("a"), 0);
    rig.effects();
    rig.ready(1);
    assert_eq!(rig.claims(), ["a→1"]);
    // The grant used up its turn: after infra it has no place in front of others.
    rig.build("a", 1, Verdict::Infra);
    rig.drop_in(&["0"]);
    rig.effects();
    rig.pass_ms(PAUSE_MS);
    rig.up(2);
    assert_eq!(rig.claims(), ["0→2"]);
}

#[test]
fn after_infra_another_builder_gets_it_and_the_same_one_after_the_pause() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.build("a", 1, Verdict::Infra);
    rig.effects();
    rig.ready(1);
    assert_eq!(rig.claims(), [""; 0]);
    rig.up(2);
    assert_eq!(rig.claims(), ["a→2"]);
    rig.tell(Msg::ClaimFailed { srpm: file("a"), builder: key(2), why: ClaimFailure::NoBuilder });
    rig.pass_ms(PAUSE_MS - 1);
    assert_eq!(rig.claims(), [""; 0]);
    assert_eq!(rig.queue.deadline(), Some(rig.now.plus_ms(1)));
    rig.pass_ms(1);
    assert_eq!(rig.claims(), ["a→1"]);
    assert_eq!(rig.charged("a"), 0);
}

#[test]
fn after_memory_a_builder_with_more_gets_it_even_if_it_must_be_waited_for() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.tell(Msg::BuilderUp { session: SessionId(2), info: BuilderInfo { memory_mib: 512, ..info(2) } });
    rig.build("a", 1, Verdict::Memory);
    assert_eq!(rig.charged("a"), 1);
    rig.effects();
    rig.ready(1);
    assert_eq!(rig.claims(), [""; 0]);
    rig.ready(2);
    assert_eq!(rig.claims(), ["a→2"]);
    // Nobody has enough: the biggest tries it again, and not one that has less.
    rig.build("a", 2, Verdict::Memory);
    assert_eq!(rig.claims(), [""; 0]);
    rig.ready(2);
    assert_eq!(rig.claims(), ["a→2"]);
}

#[test]
fn nobody_waits_for_a_bigger_builder_that_is_away_or_drains() {
    let mut rig = Rig::new();
    rig.up_with(BuilderInfo { memory_mib: 512, ..info(2) });
    rig.tell(Msg::BuilderDown { builder: key(2) });
    rig.up_with(BuilderInfo { memory_mib: 512, ..info(3) });
    rig.tell(Msg::Draining { builder: key(3) });
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.build("a", 1, Verdict::Memory);
    rig.effects();
    rig.ready(1);
    assert_eq!(rig.claims(), ["a→1"]);
}

#[test]
fn a_ruling_whose_commit_failed_does_not_count_when_the_lease_is_lost_later() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    let lease = rig.grant("a", 1);
    rig.judge("a", lease, 1, report("a", Verdict::Infra));
    rig.end("a", lease, 1, End::Returned(Verdict::Lost));
    let charged = &rig.queue.packages[&file("a")].past.charged;
    assert_eq!(charged[..], [(Verdict::Lost, "on b1".to_owned())]);
}

#[test]
fn the_last_charged_attempt_ends_in_finished_with_all_reasons() {
    let mut rig = Rig::with(Config { attempts: 2, ..Rig::new().queue.config });
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.lose("a", 1, Verdict::Lost);
    let ruling = rig.build("a", 1, Verdict::Memory);
    let Ruling::Keep { verdict: Verdict::Failed, reason } = ruling else { panic!("{ruling:?}") };
    assert!(reason.contains("lost: on b1; memory: exit 1: virtual memory exhausted"), "{reason}");
    assert_eq!(rig.queue.snapshot(rig.now).finished, 1);
}

#[test]
fn lost_attempts_used_up_retire_the_package_until_it_is_dropped_in_again() {
    let mut rig = Rig::with(Config { attempts: 1, ..Rig::new().queue.config });
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.lose("a", 1, Verdict::Lost);
    let retire =
        |e: &Effect| matches!(e, Effect::Leases(leases::Msg::Retire { why, .. }) if why.contains("lost"));
    assert_eq!(rig.effects().iter().filter(|e| retire(e)).count(), 1);
    // A rescan before leases got to it asks again.
    rig.drop_in(&["a"]);
    assert_eq!(rig.effects().iter().filter(|e| retire(e)).count(), 1);
    rig.up(2);
    assert_eq!(rig.claims(), [""; 0]);
    rig.tell(Msg::Vanished { srpm: file("a") });
    rig.tell(Msg::FinishedChanged { srpm: file("a"), present: true });
    let afresh = |e: &Effect| matches!(e, Effect::History(Note::Afresh { .. }));
    assert_eq!(rig.effects().iter().filter(|e| afresh(e)).count(), 1);
    rig.tell(Msg::FinishedChanged { srpm: file("a"), present: false });
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→2"]);
}

#[test]
fn a_lost_lease_is_charged_only_if_the_builder_alone_is_to_blame() {
    let mut rig = Rig::new();
    rig.tell(Msg::Granted { srpm: file("inherited"), lease: lease(90), builder: key(7), beside: false });
    (1..=3).for_each(|builder| rig.up(builder));
    rig.drop_in(&["a", "b", "c", "inherited"]);
    let leases = [rig.grant("a", 1), rig.grant("b", 2), rig.grant("c", 3)];
    // One of three, and long after it the other two: a crowd of two.
    rig.tell(Msg::BuilderDown { builder: key(1) });
    rig.pass_ms(120_000);
    rig.tell(Msg::BuilderDown { builder: key(2) });
    rig.pass_ms(30_000);
    rig.tell(Msg::BuilderDown { builder: key(3) });
    rig.pass_ms(600_000);
    for (name, (lease, builder)) in ["a", "b", "c"].iter().zip(leases.into_iter().zip(1..)) {
        rig.end(name, lease, builder, End::Returned(Verdict::Lost));
    }
    rig.end("inherited", lease(90), 7, End::Returned(Verdict::Lost));
    assert_eq!(["a", "b", "c", "inherited"].map(|name| rig.charged(name)), [1, 0, 0, 0]);
    // The last one of all is no crowd.
    rig.drop_in(&["d"]);
    rig.up(1);
    let lease = rig.grant("d", 1);
    rig.pass_ms(120_000);
    rig.tell(Msg::BuilderDown { builder: key(1) });
    rig.end("d", lease, 1, End::Returned(Verdict::Lost));
    assert_eq!(rig.charged("d"), 1);
    // A crowd before the lease began excuses nothing.
    rig.drop_in(&["a", "b", "c"]);
    rig.up(2);
    rig.lose("b", 2, Verdict::Lost);
    assert_eq!(rig.charged("b"), 1);
}

#[test]
fn the_end_of_an_earlier_lease_is_not_that_of_a_later_one() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.up(2);
    rig.drop_in(&["a"]);
    let first = rig.grant("a", 1);
    rig.end("a", first, 1, End::Returned(Verdict::Lost));
    rig.effects();
    let second = rig.grant("a", 2);
    let charged = rig.charged("a");
    for end in [End::Returned(Verdict::Lost), End::Taken, End::Cancelled, finished(Verdict::Success)] {
        rig.end("a", first, 1, end);
        let state = &rig.queue.packages[&file("a")].state;
        assert!(matches!(state, State::Leased(leased) if leased.lease == second), "{state:?}");
    }
    assert_eq!(rig.charged("a"), charged);
}

#[test]
fn soon_after_a_start_nothing_lost_is_charged() {
    let mut rig = Rig::new();
    rig.now = Time(60_000);
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.lose("a", 1, Verdict::Lost);
    assert_eq!(rig.charged("a"), 0);
}

#[test]
fn what_waits_for_dependencies_goes_on_when_they_are_published_beside_what_is_new() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["b"]);
    rig.build("b", 1, Verdict::Deps);
    rig.effects();
    rig.ready(1);
    let stuck = "nothing to lease: 1 wait for dependencies (b-1-1.src.rpm: x)";
    assert_eq!(rig.logged(stuck), 1);
    rig.pass_ms(PAUSE_MS);
    assert_eq!(rig.logged(stuck), 0);
    rig.drop_in(&["m"]);
    assert_eq!(rig.claims(), ["m→1"]);
    rig.build("m", 1, Verdict::Failed);
    rig.ready(1);
    assert_eq!(rig.logged(stuck), 1);
    rig.drop_in(&["z"]);
    assert_eq!(rig.claims(), ["z→1"]);
    // It is there once builders can see it, not for whatever else is published.
    rig.tell(news("w"));
    rig.tell(news("x"));
    rig.grant("z", 1);
    rig.drop_in(&["y"]);
    rig.ready(1);
    assert_eq!(rig.claims(), ["b→1"]);
    rig.up(2);
    assert_eq!(rig.claims(), ["y→2"]);
}

#[test]
fn what_was_published_during_the_build_may_be_what_it_missed() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["b"]);
    let lease = rig.grant("b", 1);
    rig.tell(news("x"));
    rig.judge("b", lease, 1, report("b", Verdict::Deps));
    rig.end("b", lease, 1, End::Returned(Verdict::Deps));
    rig.effects();
    rig.ready(1);
    assert_eq!(rig.claims(), ["b→1"]);
}

#[test]
fn what_was_published_before_a_restart_may_be_what_a_build_from_before_it_missed() {
    // Simulation, seed 9605: it waited for a package that was published long ago.
    let mut rig = Rig::new();
    rig.drop_in(&["b"]);
    rig.tell(Msg::Granted { srpm: file("b"), lease: lease(90), builder: key(7), beside: false });
    rig.judge("b", lease(90), 7, report("b", Verdict::Deps));
    rig.end("b", lease(90), 7, End::Returned(Verdict::Deps));
    rig.tell(news("x"));
    rig.up(1);
    assert_eq!(rig.claims(), ["b→1"]);
}

#[test]
fn missing_dependencies_are_tried_once_a_day_all_the_same_and_never_charged() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["b"]);
    rig.build("b", 1, Verdict::Deps);
    rig.ready(1);
    rig.effects();
    rig.pass_ms(24 * 3600 * 1000 - 1);
    assert_eq!(rig.claims(), [""; 0]);
    rig.pass_ms(1);
    assert_eq!(rig.claims(), ["b→1"]);
    assert_eq!(rig.charged("b"), 0);
}

#[test]
fn three_of_its_own_in_a_row_quarantine_a_builder_longer_each_time_and_deps_never() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a", "b", "c", "d", "f", "g", "z"]);
    for name in ["a", "b"] {
        rig.build(name, 1, Verdict::Infra);
    }
    rig.build("c", 1, Verdict::Deps);
    rig.build("d", 1, Verdict::Infra);
    rig.lose("z", 1, Verdict::Lost);
    assert_eq!(rig.logged("quarantined"), 0);
    rig.build("f", 1, Verdict::Infra);
    assert_eq!(rig.logged("builder=b1 quarantined for 1 min"), 1);
    rig.ready(1);
    assert_eq!(rig.claims(), [""; 0]);
    rig.pass_ms(60_000);
    assert_eq!(rig.claims(), ["g→1"]);
    rig.build("g", 1, Verdict::Infra);
    assert_eq!(rig.logged("quarantined for 5 min"), 1);
    rig.pass_ms(299_999);
    rig.drop_in(&["h"]);
    rig.ready(1);
    assert_eq!(rig.claims(), [""; 0]);
    rig.pass_ms(1);
    assert_eq!(rig.claims(), ["h→1"]);
    rig.build("h", 1, Verdict::Success);
    rig.drop_in(&["i"]);
    rig.lose("i", 1, Verdict::Lost);
    assert_eq!(rig.logged("quarantined"), 0);
}

#[test]
fn a_lost_package_goes_to_another_builder_first_and_to_a_lone_one_at_once() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.lose("a", 1, Verdict::Lost);
    rig.ready(1);
    assert_eq!(rig.claims().last().map(AsRef::as_ref), Some("a→1"));
    let mut rig = Rig::new();
    rig.up(1);
    rig.up(2);
    rig.drop_in(&["a"]);
    rig.lose("a", 1, Verdict::Lost);
    rig.ready(1);
    assert_eq!(rig.claims().last().map(AsRef::as_ref), Some("a→2"));
}

#[test]
fn infra_on_three_builders_lets_one_canary_out_at_a_time_until_one_succeeds() {
    let mut rig = Rig::new();
    (1..=5).for_each(|builder| rig.up(builder));
    rig.drop_in(&["a", "b", "c"]);
    let leases =
        [("a", 1), ("b", 2), ("c", 3)].map(|(name, builder)| (name, builder, rig.grant(name, builder)));
    for (name, builder, lease) in leases {
        rig.judge(name, lease, builder, report(name, Verdict::Infra));
    }
    rig.effects();
    rig.tell(Msg::Draining { builder: key(4) });
    rig.tell(Msg::Draining { builder: key(5) });
    for (name, builder, lease) in leases {
        rig.end(name, lease, builder, End::Returned(Verdict::Infra));
    }
    assert_eq!(rig.logged("one lease at a time"), 1);
    rig.up(4);
    rig.up(5);
    assert_eq!(rig.claims(), ["a→4"]);
    rig.build("a", 4, Verdict::Infra);
    assert_eq!(rig.claims(), ["a→5"]);
    rig.ready(4);
    assert_eq!(rig.claims(), [""; 0]);
    rig.build("a", 5, Verdict::Success);
    assert_eq!(rig.claims(), ["b→4"]);
    rig.ready(5);
    assert_eq!(rig.claims(), ["c→5"]);
}

#[test]
fn a_success_between_keeps_the_world_well() {
    let mut rig = Rig::new();
    (1..=4).for_each(|builder| rig.up(builder));
    rig.drop_in(&["a", "b", "c", "d"]);
    rig.build("a", 1, Verdict::Infra);
    rig.build("b", 2, Verdict::Infra);
    rig.build("c", 3, Verdict::Success);
    rig.build("d", 4, Verdict::Infra);
    assert_eq!(rig.logged("one lease at a time"), 0);
}

#[test]
fn the_same_riddle_on_three_builders_is_the_packages_own_fault() {
    let mut rig = Rig::new();
    rig.drop_in(&["a"]);
    let riddle = |n| Report {
        exit: Exit::Code(50),
        evidence: vec![(Which::Mock, Line::lossy(&format!("riddle {n}")))],
        ..report("a", Verdict::Infra)
    };
    for builder in 1..=3 {
        rig.up(builder);
    }
    assert!(matches!(rig.build_with("a", 1, riddle(1)), Ruling::Return { verdict: Verdict::Infra, .. }));
    assert!(matches!(rig.build_with("a", 2, riddle(2)), Ruling::Return { .. }));
    // Neither the same builder again nor another riddle counts.
    assert!(matches!(rig.build_with("a", 1, riddle(3)), Ruling::Return { .. }));
    assert!(matches!(rig.build("a", 3, Verdict::Infra), Ruling::Return { .. }));
    let last = rig.build_with("a", 3, riddle(4));
    assert!(matches!(last, Ruling::Keep { verdict: Verdict::Failed, .. }), "{last:?}");
}

#[test]
fn the_second_file_with_a_package_waits_until_the_first_is_done() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.up(2);
    rig.drop_in(&["a"]);
    rig.effects();
    let copy = FileName::new("copy.src.rpm").unwrap();
    rig.tell(Msg::Appeared { srpm: copy.clone(), facts: srpm("a") });
    assert_eq!(rig.logged("pkg=copy.src.rpm is not leased: a-1-1.src.rpm is the same package"), 1);
    assert_eq!(rig.claims(), [""; 0]);
    let lease = rig.grant("a", 1);
    assert_eq!(rig.queue.snapshot(rig.now).duplicates.count, 1);
    assert_eq!(rig.claims(), [""; 0]);
    rig.judge("a", lease, 1, report("a", Verdict::Success));
    rig.end("a", lease, 1, finished(Verdict::Success));
    let claimed = |e: &Effect| matches!(e, Effect::Leases(leases::Msg::Claim { srpm, .. }) if *srpm == copy);
    assert!(rig.effects().iter().any(claimed));
}

#[test]
fn a_file_dropped_while_its_name_is_leased_is_built_afterwards() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    let lease = rig.grant("a", 1);
    rig.effects();
    rig.ready(1);
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), [""; 0]);
    rig.judge("a", lease, 1, report("a", Verdict::Success));
    rig.end("a", lease, 1, finished(Verdict::Success));
    assert_eq!(rig.claims(), ["a→1"]);
    // The same, but somebody thought better of it.
    let lease = rig.grant("a", 1);
    rig.drop_in(&["a"]);
    rig.tell(Msg::Vanished { srpm: file("a") });
    rig.end("a", lease, 1, finished(Verdict::Failed));
    rig.ready(1);
    assert_eq!(rig.claims(), [""; 0]);
}

#[test]
fn a_file_moved_back_from_finished_starts_afresh() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.lose("a", 1, Verdict::Lost);
    rig.build("a", 1, Verdict::Failed);
    rig.tell(Msg::FinishedChanged { srpm: file("a"), present: true });
    rig.ready(1);
    rig.effects();
    rig.tell(Msg::FinishedChanged { srpm: file("a"), present: false });
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→1"]);
    assert_eq!(rig.charged("a"), 0);
}

#[test]
fn a_replaced_file_starts_afresh_and_the_same_one_does_not() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.lose("a", 1, Verdict::Lost);
    rig.tell(Msg::Vanished { srpm: file("a") });
    rig.drop_in(&["a"]);
    assert_eq!(rig.charged("a"), 1);
    let facts = Srpm { size: 101, ..srpm("a") };
    rig.tell(Msg::Appeared { srpm: file("a"), facts });
    assert_eq!(rig.charged("a"), 0);
}

#[test]
fn attempts_of_an_earlier_run_count_and_may_be_used_up() {
    let mut rig = Rig::new();
    rig.up(1);
    let attempts = vec![(Verdict::Lost, "on b9".to_owned()); 4];
    rig.tell(Msg::Charged { srpm: file("a"), attempts: attempts.clone() });
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→1"]);
    rig.lose("a", 1, Verdict::Lost);
    assert_eq!(rig.queue.snapshot(rig.now).retiring, 1);
}

#[test]
fn unusable_files_are_named_once_and_good_ones_are_leased_in_their_place() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.effects();
    let unusable = Msg::Unusable { srpm: file("a"), why: "not an RPM package".to_owned() };
    rig.tell(unusable.clone());
    rig.tell(unusable);
    assert_eq!(rig.logged("pkg=a-1-1.src.rpm is left in source/: not an RPM package"), 1);
    assert_eq!(rig.queue.snapshot(rig.now).unusable.count, 1);
    // It is as it was, but for what is wrong with it.
    rig.tell(Msg::Unusable { srpm: file("a"), why: "it is short".to_owned() });
    assert_eq!(rig.queue.packages[&file("a")].state, State::Unusable { why: "it is short".to_owned() });
    assert_eq!(rig.logged("pkg=a-1-1.src.rpm is left in source/: it is short"), 1);
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→1"]);
}

#[test]
fn below_the_floor_nothing_is_leased_and_it_is_said_once_a_change() {
    let mut rig = Rig::new();
    let space = |free_bytes| Msg::Space { free_bytes, floor_bytes: 2 << 30 };
    rig.tell(space(1 << 30));
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.tell(space(1 << 30));
    let effects = rig.effects();
    let said =
        |e: &Effect| matches!(e, Effect::Log(log::Level::Error, text) if text.contains("1024 MiB free"));
    assert_eq!(effects.iter().filter(|e| said(e)).count(), 1);
    assert!(!effects.iter().any(|e| matches!(e, Effect::Leases(_))));
    assert_eq!(rig.queue.deadline(), Some(rig.now.plus_ms(SPACE_AGAIN_MS)));
    rig.tell(space(3 << 30));
    assert_eq!(rig.claims(), ["a→1"]);
    let floor = |gib: u64| space_floor(gib << 30) >> 30;
    assert_eq!([10, 100, 1000].map(floor), [2, 5, 20]);
}

#[test]
fn after_a_failed_sync_nothing_is_leased() {
    let mut rig = Rig::new();
    rig.tell(Msg::StopLeasing { why: "fsync: EIO".to_owned() });
    assert_eq!(rig.logged("nothing is leased until a restart: fsync: EIO"), 1);
    rig.up(1);
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), [""; 0]);
    let told = Some("fsync: EIO: when its cause is gone, restart the hub");
    assert_eq!(rig.view().blocked.as_deref(), told);
}

#[test]
fn what_waits_for_space_is_told_and_leasing_goes_on() {
    let mut rig = Rig::new();
    rig.up(1);
    assert_eq!(rig.view().blocked, None);
    rig.tell(Msg::Short { why: Some("failed to write f0: no space; free some space".to_owned()) });
    rig.now = rig.now.plus_ms(90_000);
    let told = "uploads and commits wait for 90 s, and go on by themselves: failed to write f0: no space; free some space";
    assert_eq!(rig.view().blocked.as_deref(), Some(told));
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→1"]);
    rig.tell(Msg::StopLeasing { why: "fsync: EIO".to_owned() });
    let both = format!("fsync: EIO: when its cause is gone, restart the hub; {told}");
    assert_eq!(rig.view().blocked, Some(both));
    rig.tell(Msg::Short { why: None });
    let told = Some("fsync: EIO: when its cause is gone, restart the hub");
    assert_eq!(rig.view().blocked.as_deref(), told);
}

#[test]
fn builders_that_drain_are_in_trouble_or_build_for_something_else_get_nothing() {
    let mut rig = Rig::with(Config { target: Some("armv5tel".to_owned()), ..Rig::new().queue.config });
    rig.up(1);
    rig.tell(Msg::Draining { builder: key(1) });
    rig.up_with(BuilderInfo { arch: FileName::new("x86_64").unwrap(), ..info(2) });
    assert_eq!(rig.logged("builder=b2 gets nothing"), 1);
    rig.up(3);
    let trouble = |trouble| Msg::Health { builder: key(3), health: Health { trouble, ..Health::default() } };
    rig.tell(trouble(Some(Trouble::Disk)));
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), [""; 0]);
    rig.tell(trouble(None));
    assert_eq!(rig.claims(), ["a→3"]);
}

#[test]
fn a_header_that_rules_an_architecture_out_is_a_wish_where_no_other_is_there() {
    let mut rig = Rig::new();
    let mut facts = srpm("a");
    facts.facts.exclusive_arch = vec!["armv7hl".to_owned()];
    rig.up(1);
    rig.up_with(BuilderInfo { arch: FileName::new("armv7hl").unwrap(), ..info(2) });
    rig.tell(Msg::Appeared { srpm: file("a"), facts: facts.clone() });
    assert_eq!(rig.claims(), ["a→2"]);
    let mut rig = Rig::new();
    rig.up(1);
    rig.tell(Msg::Appeared { srpm: file("a"), facts });
    assert_eq!(rig.claims(), ["a→1"]);
    assert!(matches!(rig.build("a", 1, Verdict::Excluded), Ruling::Keep { verdict: Verdict::Excluded, .. }));
}

#[test]
fn options_of_all_matching_lines_add_up_in_their_order() {
    let mut rig = Rig::new();
    let rule = |glob: &str, word: &str| OptionRule { glob: glob.to_owned(), words: vec![Line::lossy(word)] };
    rig.tell(Msg::Options(vec![
        rule("a-*", "--nocheck"),
        rule("b*", "--without=x"),
        rule("?-1-1", "--with=y"),
        rule("*.src.rpm", "--with=z"),
    ]));
    rig.up(1);
    rig.drop_in(&["a"]);
    let words = |e| match e {
        Effect::Leases(leases::Msg::Claim { options, .. }) => Some(options),
        _ => None,
    };
    let options: Vec<_> = rig.effects().into_iter().find_map(words).unwrap();
    let options: Vec<_> = options.iter().map(Line::as_str).collect();
    assert_eq!(options, ["--nocheck", "--with=y", "--with=z"]);
}

#[test]
fn the_first_accepted_build_fixes_the_target_and_the_owners_of_names() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a", "b"]);
    rig.build("a", 1, Verdict::Success);
    let target = |e: &Effect| matches!(e, Effect::History(Note::Target { arch }) if arch == "armv5tel");
    assert!(rig.effects().iter().any(target));
    let mut other = report("b", Verdict::Success);
    other.files[1].rpm.as_mut().unwrap().nevra.arch = "armv7hl".to_owned();
    assert!(matches!(rig.build_with("b", 1, other), Ruling::Reject { .. }));
    let mut thief = report("c", Verdict::Success);
    thief.files[1].rpm.as_mut().unwrap().nevra.name = "a".to_owned();
    assert!(matches!(rig.build_with("c", 1, thief), Ruling::Publish { held: Some(_) }));
    let (folder, source) = ("d-1-1".to_owned(), "d".to_owned());
    rig.tell(Msg::Known { folder, source, binaries: vec!["e".to_owned()] });
    assert!(matches!(rig.build("e", 1, Verdict::Success), Ruling::Publish { held: Some(_) }));
}

#[test]
fn a_target_of_an_earlier_run_counts_but_not_before_the_option() {
    let mut rig = Rig::new();
    rig.tell(Msg::Target { arch: "armv7hl".to_owned() });
    assert!(matches!(rig.build("a", 1, Verdict::Success), Ruling::Reject { .. }));
    let mut rig = Rig::with(Config { target: Some("armv5tel".to_owned()), ..Rig::new().queue.config });
    rig.tell(Msg::Target { arch: "armv7hl".to_owned() });
    assert!(matches!(rig.build("a", 1, Verdict::Success), Ruling::Publish { held: None }));
}

#[test]
fn a_result_judged_twice_counts_once() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    let lease = rig.grant("a", 1);
    rig.judge("a", lease, 1, report("a", Verdict::Memory));
    rig.judge("a", lease, 1, report("a", Verdict::Memory));
    assert_eq!(rig.charged("a"), 0);
    rig.end("a", lease, 1, End::Returned(Verdict::Memory));
    assert_eq!(rig.charged("a"), 1);
}

#[test]
fn a_claim_that_fails_is_made_again_only_when_it_can_succeed() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.effects();
    let failed = |why| Msg::ClaimFailed { srpm: file("a"), builder: key(1), why };
    rig.tell(failed(ClaimFailure::NoBuilder));
    assert_eq!(rig.claims(), [""; 0]);
    rig.ready(1);
    assert_eq!(rig.claims(), ["a→1"]);
    rig.tell(failed(ClaimFailure::Leased));
    assert_eq!(rig.claims(), [""; 0]);
    rig.pass_ms(settle::CLAIM_AGAIN_MS);
    assert_eq!(rig.claims(), ["a→1"]);
    // The watch says that it is there: perhaps it is not up to date.
    rig.tell(failed(ClaimFailure::NoSuchFile));
    assert_eq!(rig.claims(), [""; 0]);
    rig.pass_ms(settle::CLAIM_AGAIN_MS);
    assert_eq!(rig.claims(), ["a→1"]);
    rig.tell(Msg::Vanished { srpm: file("a") });
    rig.tell(failed(ClaimFailure::NoSuchFile));
    rig.pass_ms(PAUSE_MS);
    assert_eq!(rig.claims(), [""; 0]);
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→1"]);
}

#[test]
fn a_cancelled_package_is_gone_until_a_file_comes() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    let lease = rig.grant("a", 1);
    rig.effects();
    rig.end("a", lease, 1, End::Taken);
    rig.ready(1);
    assert_eq!(rig.claims(), [""; 0]);
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→1"]);
}

#[test]
fn a_package_leased_before_the_restart_waits_for_its_file_when_it_comes_back() {
    let mut rig = Rig::new();
    rig.tell(Msg::Granted { srpm: file("a"), lease: lease(77), builder: key(1), beside: false });
    rig.up(1);
    rig.end("a", lease(77), 1, End::Returned(Verdict::Infra));
    assert_eq!(rig.claims(), [""; 0]);
    rig.drop_in(&["a"]);
    rig.up(2);
    assert_eq!(rig.claims(), ["a→2"]);
}
