//! Which boards can hold a package, and who gets it where none can.

use super::*;
use crate::core::types::Peak;

/// A package with an SRPM of so many MiB.
fn large(rig: &mut Rig, name: &str, mib: u64) {
    let srpm = Srpm { size: mib << 20, ..srpm(name) };
    rig.tell(Msg::Appeared { srpm: file(name), facts: srpm });
}

/// A builder with so much memory and disk, MiB.
fn board(builder: u8, memory_mib: u32, disk_free_mib: u32) -> BuilderInfo {
    BuilderInfo { memory_mib, disk_free_mib, ..info(builder) }
}

fn needed(rig: &mut Rig, source: &str, memory_mib: u32, disk_mib: u32) {
    rig.tell(Msg::Needed { source: source.to_owned(), peak: Peak { memory_mib, disk_mib } });
}

fn full() -> Report {
    let line = Line::lossy("cc1: error: x.s: No space left on device");
    Report { evidence: vec![(Which::Build, line)], ..report("a", Verdict::Infra) }
}

#[test]
fn what_a_package_took_before_the_restart_keeps_it_from_boards_that_are_too_small() {
    // Memory and disk of a small and a big builder, what the package took, and who gets it.
    for (small, big, took, want) in [
        ((128, 9_000), (512, 9_000), (300, 0), "a→2"),
        ((128, 9_000), (512, 9_000), (128, 9_000), "a→1"),
        ((512, 1_000), (512, 9_000), (100, 1_001), "a→2"),
        // Nobody can: the biggest, or one that is near it.
        ((128, 9_000), (512, 9_000), (2_000, 0), "a→2"),
        ((500, 9_000), (512, 9_000), (2_000, 0), "a→1"),
        ((512, 1_000), (512, 9_000), (0, 50_000), "a→2"),
        // Nothing is known of it.
        ((128, 1_000), (512, 9_000), (0, 0), "a→1"),
    ] {
        let mut rig = Rig::new();
        needed(&mut rig, "a", took.0, took.1);
        rig.up_with(board(1, small.0, small.1));
        rig.pass_ms(1);
        rig.up_with(board(2, big.0, big.1));
        rig.drop_in(&["a"]);
        assert_eq!(rig.claims(), [want], "{small:?} {big:?} {took:?}");
    }
}

#[test]
fn a_package_waits_for_the_bigger_board_that_is_busy_and_says_so_but_not_for_one_that_takes_no_work() {
    let mut rig = Rig::new();
    needed(&mut rig, "a", 300, 0);
    rig.up_with(board(2, 512, 9_000));
    rig.drop_in(&["b"]);
    let lease = rig.grant("b", 2);
    rig.up_with(board(1, 128, 9_000));
    rig.effects();
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), [""; 0]);
    assert_eq!(rig.why("a"), "needs 300 MiB of memory; goes to b2 next");
    rig.end("b", lease, 2, finished(Verdict::Failed));
    rig.ready(2);
    assert_eq!(rig.claims(), ["a→2"]);

    let mut rig = Rig::new();
    needed(&mut rig, "a", 300, 0);
    rig.up_with(board(2, 512, 9_000));
    rig.tell(Msg::Draining { builder: key(2) });
    rig.up_with(board(1, 128, 9_000));
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→1"]);
}

#[test]
fn the_size_of_a_large_srpm_is_a_hint_that_nobody_idles_for() {
    for (mib, first, want) in [
        // Four times its size of memory, twenty times of disk.
        (100, (399, 9_000), "a→2"),
        (100, (400, 1_999), "a→2"),
        (100, (400, 2_000), "a→1"),
        // What is not large needs nothing in particular.
        (15, (16, 16), "a→1"),
        // Nobody has that: a guess counts for nothing then.
        (900, (128, 9_000), "a→1"),
    ] {
        let mut rig = Rig::new();
        rig.up_with(board(1, first.0, first.1));
        rig.pass_ms(1);
        rig.up_with(board(2, 512, 9_000));
        large(&mut rig, "a", mib);
        assert_eq!(rig.claims(), [want], "{mib} MiB, {first:?}");
    }
}

#[test]
fn what_was_built_tells_more_than_the_size() {
    let mut rig = Rig::new();
    rig.up_with(board(1, 128, 9_000));
    large(&mut rig, "a", 100);
    let built = Report { peak: Peak { memory_mib: 90, disk_mib: 700 }, ..report("a", Verdict::Success) };
    rig.build_with("a", 1, built);
    rig.effects();
    rig.tell(Msg::FinishedChanged { srpm: file("a"), present: true });
    rig.up_with(board(2, 512, 9_000));
    rig.ready(1);
    rig.tell(Msg::BuilderDown { builder: key(2) });
    rig.up_with(board(2, 512, 9_000));
    large(&mut rig, "a", 100);
    assert_eq!(rig.claims(), ["a→1"], "it was built with 90 MiB");
}

#[test]
fn a_package_that_filled_a_disk_goes_to_a_board_with_more_free() {
    let mut rig = Rig::new();
    rig.up_with(board(1, 128, 2_000));
    rig.drop_in(&["a"]);
    rig.tell(Msg::BuilderUp { session: SessionId(2), info: board(2, 128, 1_900) });
    rig.tell(Msg::BuilderUp { session: SessionId(3), info: board(3, 128, 2_001) });
    rig.build_with("a", 1, full());
    rig.effects();
    rig.ready(2);
    assert_eq!(rig.claims(), [""; 0], "it has less, and b3 is only busy");
    assert_eq!(rig.why("a").split(';').next(), Some("needs 2001 MiB of disk"));
    rig.ready(3);
    assert_eq!(rig.claims().last().map(AsRef::as_ref), Some("a→3"));
    assert_eq!(rig.charged("a"), 0);
}

#[test]
fn free_disk_counts_as_it_was_when_the_board_had_nothing_to_do() {
    let mut rig = Rig::new();
    needed(&mut rig, "a", 0, 5_000);
    rig.up_with(board(1, 128, 9_000));
    rig.drop_in(&["b"]);
    let lease = rig.grant("b", 1);
    let ping = |disk_free_mib| {
        let health = moji_proto::message::Health { disk_free_mib, ..Default::default() };
        Msg::Health { builder: key(1), health }
    };
    // b fills it for a while: a waits for it all the same.
    rig.tell(ping(8_900));
    rig.tell(ping(3_000));
    rig.up_with(board(2, 128, 4_000));
    rig.effects();
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), [""; 0]);
    rig.end("b", lease, 1, finished(Verdict::Failed));
    rig.ready(1);
    assert_eq!(rig.claims(), ["a→1"]);
    // What it says while it is idle counts.
    rig.lose("a", 1, Verdict::Released);
    rig.tell(Msg::Vanished { srpm: file("a") });
    rig.ready(1);
    rig.tell(ping(3_000));
    rig.ready(2);
    rig.effects();
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→2"]);
}

#[test]
fn memory_that_was_not_enough_before_the_restart_is_remembered() {
    let mut rig = Rig::new();
    rig.tell(Msg::Tried {
        srpm: file("a"),
        builder: key(1),
        verdict: Verdict::Memory,
        is_open: true,
        memory_mib: 128,
    });
    rig.up(1);
    rig.pass_ms(1);
    rig.up_with(board(2, 256, 10_000));
    rig.drop_in(&["a"]);
    assert_eq!(rig.claims(), ["a→2"]);
}
