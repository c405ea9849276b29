//! How long builds are expected to take, and when all of them end.

use super::*;

impl Rig {
    fn ends_in_s(&mut self) -> u32 {
        self.view().ends_in_s
    }

    fn expected_s(&mut self, name: &str) -> u32 {
        let view = self.view();
        let package = view.packages.iter().find(|package| package.row.srpm == file(name)).unwrap();
        package.row.expected_s
    }

    fn learned(&mut self, source: &str, builder: u8, seconds: u32) {
        self.tell(Msg::Took { source: source.to_owned(), builder: key(builder), seconds, silent_s: 0 });
    }

    fn drop_behind(&mut self, name: &str, requires: &str) {
        let mut srpm = srpm(name);
        let capability = Capability { name: requires.to_owned(), flags: 0, evr: String::new() };
        srpm.facts.requires = vec![capability];
        self.tell(Msg::Appeared { srpm: file(name), facts: srpm });
    }
}

#[test]
fn nothing_is_estimated_before_a_build_was_measured_nor_while_nobody_builds() {
    let mut rig = Rig::new();
    rig.drop_in(&["a", "b"]);
    rig.up(1);
    rig.grant("a", 1);
    assert_eq!((rig.ends_in_s(), rig.expected_s("a")), (0, 0));
    rig.learned("a", 1, 100);
    assert_eq!((rig.ends_in_s(), rig.expected_s("a"), rig.expected_s("b")), (200, 100, 0));
    rig.tell(Msg::Draining { builder: key(1) });
    assert_eq!((rig.ends_in_s(), rig.expected_s("a")), (0, 100));
}

#[test]
fn nothing_is_estimated_while_nothing_is_leased_or_left() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.learned("a", 1, 100);
    assert_eq!(rig.ends_in_s(), 0, "nothing is left");
    rig.drop_in(&["a"]);
    assert_eq!(rig.ends_in_s(), 100);
    rig.tell(Msg::Space { free_bytes: 1, floor_bytes: 2 });
    assert_eq!(rig.ends_in_s(), 0, "nothing is leased");
}

#[test]
fn a_build_is_expected_to_take_what_its_builder_s_speed_makes_of_it() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.up(2);
    // The second is four times as fast, and has never built a.
    rig.learned("p", 1, 400);
    rig.learned("p", 2, 100);
    rig.learned("a", 1, 1_000);
    rig.drop_in(&["a"]);
    rig.grant("a", 2);
    assert_eq!(rig.expected_s("a"), 250);
    rig.drop_in(&["p"]);
    rig.grant("p", 1);
    assert_eq!(rig.expected_s("p"), 400);
}

#[test]
fn work_is_shared_by_all_builders_and_what_is_done_is_done() {
    let mut rig = Rig::new();
    for (name, seconds) in [("a", 100), ("b", 200), ("c", 600)] {
        rig.learned(name, 1, seconds);
        rig.drop_in(&[name]);
    }
    // As long as the mean of all.
    rig.drop_in(&["n"]);
    rig.up(1);
    assert_eq!(rig.ends_in_s(), 1_200);
    rig.up(2);
    // 1,200 by two are 600, and c alone takes as long.
    assert_eq!(rig.ends_in_s(), 600);
    rig.grant("c", 1);
    rig.grant("n", 2);
    rig.pass_ms(150_000);
    // c takes 450 still, n 150, a 100, b 200.
    assert_eq!(rig.ends_in_s(), 450);
    rig.pass_ms(250_000);
    // n should be over and is taken to need half of its 400 again; c takes 200.
    assert_eq!(rig.ends_in_s(), 350);
}

#[test]
fn builds_that_must_follow_each_other_are_no_shorter_for_more_builders() {
    let mut rig = Rig::new();
    for name in ["a", "b", "c", "d"] {
        rig.learned(name, 1, 100);
    }
    rig.drop_in(&["a", "d"]);
    rig.drop_behind("b", "a-devel");
    rig.drop_behind("c", "b-devel");
    (1..=8).for_each(|builder| rig.up(builder));
    rig.pass_ms(60_000);
    assert_eq!(rig.ends_in_s(), 300);
    // Where a circle is, only headers hint at it: it is no chain of all its members.
    for (name, behind) in [("e", "f-devel"), ("f", "g-devel"), ("g", "h-devel"), ("h", "e-devel")] {
        rig.drop_behind(name, behind);
    }
    rig.pass_ms(60_000);
    assert_eq!(rig.ends_in_s(), 300);
}

#[test]
fn what_waits_for_what_nobody_builds_is_not_waited_for() {
    let mut rig = Rig::new();
    rig.learned("a", 1, 100);
    rig.up(1);
    rig.drop_in(&["h"]);
    let evidence = vec![(Which::Root, Line::lossy("No matching package to install: 'a-devel'"))];
    rig.build_with("h", 1, Report { evidence, ..report("h", Verdict::Deps) });
    assert_eq!(rig.ends_in_s(), 0, "h is all there is, and has no chance");
    rig.drop_in(&["a"]);
    rig.pass_ms(60_000);
    assert_eq!(rig.ends_in_s(), 200, "a may provide what h waits for");
}
