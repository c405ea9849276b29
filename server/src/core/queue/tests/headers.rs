//! What headers name and nobody provides, where mainline is known.

use std::sync::Arc;

use super::*;
use crate::core::capabilities::Capabilities;

/// A queue that knows of mainline, which has these, and of an empty repository.
fn rig(mainline: &[&str]) -> Rig {
    let mut rig = Rig::new();
    rig.tell(Msg::Published(News { stock: Some(Box::default()), ..News::default() }));
    rig.tell(mainline_of(mainline));
    rig
}

fn mainline_of(names: &[&str]) -> Msg {
    let mut there = Capabilities::default();
    for name in names {
        there.add(&format!("0/{name}.rpm"), &facts(name, Kind::Binary, "noarch").nevra, &[], &[]);
    }
    Msg::Mainline(Arc::new(there))
}

impl Rig {
    fn drop_in_needing(&mut self, name: &str, needs: &[&str]) {
        let require = |need: &&str| match Requirement::parse(need) {
            Requirement::One(one) => one,
            rich => Capability { name: rich.to_string(), flags: 0, evr: String::new() },
        };
        let mut srpm = srpm(name);
        srpm.facts.requires = needs.iter().map(require).collect();
        self.tell(Msg::Appeared { srpm: file(name), facts: srpm });
    }

    fn waits_for(&self, name: &str) -> String {
        match &self.queue.packages[&file(name)].state {
            State::Held(Hold::Deps { wants, is_guess, .. }) => {
                format!("{} {is_guess}", wants.names().join(", "))
            }
            other => format!("{other:?}"),
        }
    }
}

#[test]
fn what_nobody_provides_is_held_while_there_is_other_work_and_goes_on_when_it_is_published() {
    let mut rig = rig(&["gcc", "m"]);
    let needs = ["gcc", "x >= 2", "(y or m)", "/usr/share/any", "(z with m)"];
    rig.drop_in_needing("a", &needs);
    rig.drop_in(&["b", "c"]);
    rig.up(1);
    assert_eq!(rig.claims(), ["b→1"]);
    assert_eq!(rig.waits_for("a"), "(z with m), x >= 2 true");
    // Half of it is not enough.
    rig.tell(news("x = 2"));
    assert_eq!(rig.queue.stock.waits.len(), 1);
    rig.tell(mainline_of(&["gcc", "m", "z"]));
    assert_eq!(rig.waits_for("a"), "(z with m), x >= 2 true");
    rig.drop_in_needing("d", &["x = 2"]);
    rig.build("b", 1, Verdict::Success);
    rig.ready(1);
    assert_eq!(rig.claims(), ["c→1"]);
    rig.grant("c", 1);
    rig.up(2);
    // It is there: no guess holds it.
    assert_eq!(rig.claims(), ["d→2"]);
}

#[test]
fn mainline_that_gets_what_is_missing_ends_the_hold() {
    let mut rig = rig(&[]);
    rig.drop_in_needing("a", &["x"]);
    rig.drop_in(&["b"]);
    rig.up(1);
    assert_eq!(rig.claims(), ["b→1"]);
    assert_eq!(rig.waits_for("a"), "x true");
    rig.tell(mainline_of(&["x"]));
    assert_eq!(rig.waits_for("a"), "Waiting");
    assert!(rig.queue.stock.waits.is_empty());
    rig.grant("b", 1);
    rig.up(2);
    assert_eq!(rig.claims(), ["a→2"]);
}

#[test]
fn a_builder_that_would_idle_tries_what_is_held_once_and_then_its_log_counts() {
    let mut rig = rig(&[]);
    rig.drop_in_needing("a", &["x"]);
    rig.drop_in_needing("b", &["x", "y"]);
    rig.up(1);
    assert_eq!(rig.claims(), ["a→1"]);
    rig.build_with("a", 1, report("a", Verdict::Success));
    rig.ready(1);
    assert_eq!(rig.claims(), ["b→1"]);
    let missing = Report {
        evidence: vec![(Which::Root, Line::lossy("No matching package to install: 'w'"))],
        ..report("b", Verdict::Deps)
    };
    rig.build_with("b", 1, missing);
    assert_eq!(rig.waits_for("b"), "w false");
    rig.ready(1);
    rig.tell(news("w"));
    // Whatever its header names.
    assert_eq!(rig.claims(), ["b→1"]);
}

#[test]
fn who_held_it_may_be_overruled_and_a_day_is_enough() {
    for overrule in [
        (|rig| {
            let ticket = crate::core::view::Ticket(7);
            let (order, who) = (moji_proto::message::Order::Retry { verdict: None }, "ann".to_owned());
            let packages = vec![file("a")];
            let builders = Vec::new();
            rig.tell(Msg::Change(crate::core::view::Change { ticket, who, order, packages, builders }));
        }) as fn(&mut Rig),
        |rig| rig.pass_ms(24 * 3600 * 1000),
    ] {
        let mut rig = rig(&[]);
        rig.drop_in_needing("a", &["x"]);
        rig.drop_in(&["b"]);
        rig.up(1);
        rig.grant("b", 1);
        assert_eq!(rig.waits_for("a"), "x true");
        overrule(&mut rig);
        assert_eq!(rig.waits_for("a"), "Waiting");
        rig.effects();
        rig.up(2);
        assert_eq!(rig.claims(), ["a→2"]);
    }
}

#[test]
fn nothing_is_held_while_it_is_not_known_what_is_there() {
    for tell in [Msg::Published(News { stock: Some(Box::default()), ..News::default() }), mainline_of(&[])] {
        let mut rig = Rig::new();
        rig.tell(tell);
        rig.drop_in_needing("a", &["x"]);
        rig.drop_in(&["b"]);
        rig.up(1);
        rig.up(2);
        assert_eq!(rig.claims(), ["a→1", "b→2"]);
    }
}

#[test]
fn thousands_that_cannot_be_built_keep_nobody_waiting() {
    let mut rig = rig(&[]);
    (0..2_000).for_each(|n| rig.drop_in_needing(&format!("p{n:04}"), &["x"]));
    rig.drop_in(&["z"]);
    // The look at all chains, and its telling who moved, go in pieces: let them be over.
    while rig.queue.chain.again().is_some() {
        rig.pass_ms(1);
    }
    rig.up(1);
    let mut turns = 0;
    let claims = loop {
        let claims = rig.claims();
        if !claims.is_empty() {
            break claims;
        }
        turns += 1;
        assert!(turns < 80, "it never gets there");
        rig.pass_ms(1);
    };
    assert!(turns >= 60, "all were looked at in {turns} turns");
    assert_eq!(claims, ["z→1"]);
}
