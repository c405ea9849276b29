//! Who gets what first, where headers hint at what waits for what and times are known.

use super::*;
use crate::rpmfile::Capability;

/// An SRPM with these BuildRequires.
fn needing(name: &str, size: u64, requires: &[&str]) -> Srpm {
    let capability = |name: &&str| Capability { name: (*name).to_owned(), flags: 0, evr: String::new() };
    let facts = facts(name, Kind::Source, "src");
    Srpm { size, facts: Facts { requires: requires.iter().map(capability).collect(), ..facts } }
}

impl Rig {
    fn drop_needing(&mut self, name: &str, size: u64, requires: &[&str]) {
        self.tell(Msg::Appeared { srpm: file(name), facts: needing(name, size, requires) });
    }

    fn took(&mut self, source: &str, builder: u8, seconds: u32) {
        self.tell(Msg::Took { source: source.to_owned(), builder: key(builder), seconds, silent_s: 0 });
    }

    /// Why the package waits, as an operator reads it.
    pub(super) fn why(&mut self, name: &str) -> String {
        self.tell(Msg::Look);
        let is_view = |effect: &Effect| match effect {
            Effect::Desk(crate::core::desk::Msg::View(view)) => Some(view.clone()),
            _ => None,
        };
        let view = self.out.iter().rev().find_map(is_view).unwrap();
        let package = view.packages.iter().find(|package| package.row.srpm == file(name)).unwrap();
        package.row.why.as_str().to_owned()
    }
}

#[test]
fn the_longest_chain_goes_first_then_the_largest_and_what_is_behind_something_last() {
    let mut rig = Rig::new();
    rig.drop_needing("a", 1, &["nothing-here"]);
    rig.drop_needing("b", 9, &[]);
    rig.drop_needing("c", 1, &["z-devel"]);
    rig.drop_needing("d", 5, &["pkgconfig(c)"]);
    rig.drop_needing("z", 1, &[]);
    (1..=5).for_each(|builder| rig.up(builder));
    // z holds up c and d. What is behind something is tried all the same before a builder would idle.
    assert_eq!(rig.claims(), ["z→1", "b→2", "a→3", "c→4", "d→5"]);
}

#[test]
fn a_giant_starts_early_and_priority_comes_before_it() {
    let mut rig = Rig::new();
    for (name, seconds) in [("a", 60), ("b", 70), ("g", 9_000), ("p", 10)] {
        rig.took(name, 1, seconds);
        rig.drop_in(&[name]);
    }
    // Never built: as long as the longest.
    rig.drop_in(&["n"]);
    rig.tell(Msg::Priority(vec!["p-1-1.src.rpm".to_owned()]));
    (1..=5).for_each(|builder| rig.up(builder));
    assert_eq!(rig.claims(), ["p→1", "g→2", "n→3", "b→4", "a→5"]);
}

#[test]
fn what_is_built_sets_those_behind_it_free_at_once() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_needing("lib", 1, &[]);
    rig.drop_needing("app", 1, &["lib-devel"]);
    rig.drop_needing("zz", 1, &[]);
    rig.effects();
    rig.build("lib", 1, Verdict::Success);
    // Its chain is as long as the other's, and its name comes first.
    rig.ready(1);
    assert_eq!(rig.claims(), ["app→1"]);
}

/// Builder 1 is four times as fast as 2 and 3; `a` to `d` take 100 s on it, the giant 10,000 s.
fn fast_and_slow() -> Rig {
    let mut rig = Rig::new();
    for name in ["a", "b", "c", "d"] {
        rig.took(name, 1, 100);
        rig.took(name, 2, 400);
    }
    rig.took("a", 3, 400);
    rig.took("g", 1, 10_000);
    rig
}

#[test]
fn of_idle_builders_the_fastest_gets_what_goes_first() {
    let mut rig = fast_and_slow();
    rig.drop_in(&["a", "g"]);
    for builder in [3, 2, 1] {
        rig.tell(Msg::BuilderUp { session: SessionId(1), info: info(builder) });
    }
    // All at once: nothing is given out below the floor.
    rig.tell(Msg::Space { free_bytes: 0, floor_bytes: 1 });
    (1..=3).rev().for_each(|builder| rig.ready(builder));
    rig.tell(Msg::Space { free_bytes: 2, floor_bytes: 1 });
    assert_eq!(rig.claims(), ["g→1", "a→2"]);
}

#[test]
fn a_slow_builder_takes_from_the_small_end_when_a_fast_one_could_take_the_giant() {
    let mut rig = fast_and_slow();
    rig.drop_in(&["a"]);
    rig.up(1);
    rig.grant("a", 1);
    rig.drop_in(&["b", "g"]);
    rig.effects();
    rig.up(2);
    assert_eq!(rig.claims(), ["b→2"]);
    rig.grant("b", 2);
    rig.up(3);
    assert_eq!(rig.claims(), [""; 0]);
    assert_eq!(rig.why("g"), "kept for b1, where it is done sooner");
    rig.effects();
    // The fast one has it as soon as it is free.
    rig.tell(Msg::Judge {
        srpm: file("a"),
        lease: lease(1),
        builder: key(1),
        report: report("a", Verdict::Success),
    });
    rig.end("a", lease(1), 1, finished(Verdict::Success));
    rig.ready(1);
    assert_eq!(rig.claims(), ["g→1"]);
}

#[test]
fn nothing_is_kept_for_a_builder_that_is_gone_or_drains_or_cannot_have_it() {
    type Change = fn(&mut Rig);
    let changes: [(&str, Change); 4] = [
        ("gone", |rig| rig.tell(Msg::BuilderDown { builder: key(1) })),
        ("drains", |rig| rig.tell(Msg::Draining { builder: key(1) })),
        ("listed", |rig| rig.tell(Msg::Listed(vec![(key(1), vec!["other".to_owned()])]))),
        ("priority", |rig| rig.tell(Msg::Priority(vec!["g-1-1.src.rpm".to_owned()]))),
    ];
    for (what, change) in changes {
        let mut rig = fast_and_slow();
        rig.drop_in(&["a"]);
        rig.up(1);
        rig.grant("a", 1);
        rig.drop_in(&["g"]);
        rig.up(2);
        assert_eq!(rig.claims(), ["a→1"], "{what}");
        change(&mut rig);
        assert_eq!(rig.claims(), ["g→2"], "{what}");
    }
}

#[test]
fn what_is_kept_too_long_goes_to_a_slow_builder_after_all() {
    let mut rig = fast_and_slow();
    rig.drop_in(&["a"]);
    rig.up(1);
    rig.grant("a", 1);
    rig.drop_in(&["g"]);
    rig.up(2);
    rig.effects();
    // The fast one's build was to take 100 s. Half of what it has taken is what it will take, until the slow one's
    // 40,000 s are less than that and the 10,000 s of the fast one.
    let mut waited_s = 0;
    while rig.claims().is_empty() {
        let next = rig.queue.deadline().expect("it is looked at again");
        waited_s += next.since_ms(rig.now) / 1_000;
        rig.now = next;
        rig.tell(Msg::Tick);
        assert!(waited_s < 60_000, "{waited_s}");
    }
    assert!((40_000..46_000).contains(&waited_s), "{waited_s}");
}

#[test]
fn where_much_waits_the_chains_are_looked_at_apart_from_grants() {
    let mut rig = Rig::new();
    for n in 0..300 {
        rig.drop_needing(&format!("p{n:03}"), 1, &["z-devel"]);
    }
    rig.drop_needing("z", 1, &[]);
    // Whoever comes before that gets what he would get without headers, at once.
    rig.up(1);
    assert_eq!(rig.claims(), ["p000→1"]);
    // Piece by piece, a millisecond later each.
    while let Some(due) = rig.queue.deadline().filter(|due| *due <= rig.now.plus_ms(1)) {
        rig.now = due;
        rig.tell(Msg::Tick);
    }
    rig.up(2);
    assert_eq!(rig.claims(), ["z→2"]);
}

/// Four boards, two of them four times as fast as the others, have built 40 packages, none of them twice: large SRPMs
/// take longer.
fn sizes_known() -> Rig {
    let mut rig = Rig::new();
    (1..=4).for_each(|builder| rig.up(builder));
    for n in 0..80_u64 {
        let (name, builder) = (format!("x{n:02}"), 1 + (n % 4) as u8);
        let size = 1_000 << (n / 4 % 10);
        rig.drop_needing(&name, size, &[]);
        let seconds = 25 << (n / 4 % 10 / 2);
        let built = Report {
            seconds: if builder < 3 { seconds } else { seconds * 4 },
            ..report(&name, Verdict::Success)
        };
        rig.build_with(&name, builder, built);
    }
    rig.effects();
    rig
}

#[test]
fn where_nothing_was_built_twice_sizes_tell_who_is_fast_and_what_is_a_giant() {
    let mut rig = sizes_known();
    for name in ["a", "b"] {
        rig.drop_needing(name, 1_000, &[]);
    }
    rig.ready(1);
    rig.ready(2);
    rig.claims();
    rig.grant("a", 1);
    rig.grant("b", 2);
    rig.pass_ms(60_000);
    // The giant is kept for a fast one, of which 3 is none, and that gets what is small.
    rig.drop_needing("giant", 1 << 23, &[]);
    rig.drop_needing("small", 1_000, &[]);
    rig.pass_ms(120_000);
    rig.ready(3);
    assert_eq!(rig.claims(), ["small→3"]);
    rig.ready(4);
    assert_eq!(rig.claims(), [""; 0]);
    assert!(rig.why("giant").starts_with("kept for b"), "{}", rig.why("giant"));
    // For the order both take as long as the longest.
    let own = |rig: &Rig, name: &str| rig.queue.chain.place(&file(name)).own_s;
    assert_eq!(own(&rig, "giant"), own(&rig, "small"));
}
