//! What an idle board gets a copy of at the end, and what becomes of a package with two leases.

use moji_proto::message::Order;

use super::*;
use crate::core::queue::package::Leased;
use crate::core::types::Fate;
use crate::core::view::{Change, Ticket};

/// Builder 1 is four times as fast as 2, 3 as fast as 2; `g` and `h` take 1,000 s on it, `a` 100 s.
fn rig() -> Rig {
    let mut rig = Rig::with(Config { duplicate_last: true, ..Rig::new().queue.config });
    let mut took = |source: &str, builder, seconds| {
        let source = source.to_owned();
        rig.tell(Msg::Took { source, builder: key(builder), seconds, silent_s: 0 });
    };
    for (name, seconds) in [("a", 100), ("b", 100), ("g", 1_000), ("h", 1_100)] {
        took(name, 1, seconds);
        took(name, 2, 4 * seconds);
    }
    took("a", 3, 400);
    rig
}

/// Builder 2 has `g` since just now.
fn slow_has_g() -> (Rig, LeaseId) {
    let mut rig = rig();
    rig.drop_in(&["g"]);
    rig.up(2);
    let lease = rig.grant("g", 2);
    rig.effects();
    (rig, lease)
}

impl Rig {
    /// Claims of copies since the last look, as `g→1`.
    fn copies(&mut self) -> Vec<String> {
        let is_copy =
            |effect: &Effect| matches!(effect, Effect::Leases(leases::Msg::Claim { beside: true, .. }));
        self.out.retain(is_copy);
        self.claims()
    }

    fn copied(&mut self, name: &str, builder: u8) -> LeaseId {
        self.counter += 1;
        let lease = lease(self.counter);
        self.tell(Msg::Granted { srpm: file(name), lease, builder: key(builder), beside: true });
        lease
    }

    fn leased(&self, name: &str) -> Leased {
        match &self.queue.packages[&file(name)].state {
            State::Leased(leased) => leased.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// What the history was told of ended leases, as `lease verdict charged reason`.
    fn noted(&mut self) -> Vec<String> {
        let note = |effect| match effect {
            Effect::History(Note::Ended { lease, verdict, reason, charged, .. }) => {
                Some(format!("{} {verdict} {charged} {reason}", lease.counter))
            }
            _ => None,
        };
        self.effects().into_iter().filter_map(note).collect()
    }
}

#[test]
fn the_longest_build_is_copied_to_the_faster_board_once_nothing_waits() {
    let (mut rig, _) = slow_has_g();
    rig.up(3);
    rig.drop_in(&["a"]);
    rig.grant("a", 3);
    rig.effects();
    rig.up(1);
    assert_eq!(rig.copies(), ["g→1"], "a is done sooner");
    rig.copied("g", 1);
    assert_eq!(rig.copies(), [""; 0], "there is one already, and 1 is at work");
}

#[test]
fn nothing_is_copied_where_that_gains_little_or_may_not_be() {
    type Before = fn(&mut Rig);
    let changes: [(&str, Before); 8] = [
        ("none", |_| ()),
        ("off", |rig| rig.queue.config.duplicate_last = false),
        // 1,200 s of 4,000 are left on builder 2, and 1,000 s are needed on builder 1.
        ("late", |rig| rig.now = rig.now.plus_ms(2_800_000)),
        ("something waits", |rig| {
            rig.tell(Msg::Space { free_bytes: 0, floor_bytes: 1 });
            rig.drop_in(&["a"]);
        }),
        ("failed there", |rig| {
            let past = &mut rig.queue.packages.get_mut(&file("g")).unwrap().past;
            past.failed_on.insert(key(1));
        }),
        ("paused there", |rig| {
            let past = &mut rig.queue.packages.get_mut(&file("g")).unwrap().past;
            past.not_on.insert(key(1), Time(u64::MAX));
        }),
        ("too small", |rig| {
            rig.tell(Msg::Needed {
                source: "g".to_owned(),
                peak: crate::core::types::Peak { memory_mib: 999, disk_mib: 0 },
            });
            let package = rig.queue.packages.get_mut(&file("g")).unwrap();
            package.peak.memory_mib = 999;
        }),
        ("being cancelled", |rig| {
            let (who, packages) = ("ann".to_owned(), vec![file("g")]);
            let ticket = Ticket(1);
            rig.tell(Msg::Change(Change {
                ticket,
                who,
                order: Order::Cancel,
                packages,
                builders: Vec::new(),
            }));
        }),
    ];
    for (what, change) in changes {
        let (mut rig, _) = slow_has_g();
        change(&mut rig);
        rig.effects();
        rig.up(1);
        let want: &[&str] = if what == "none" { &["g→1"] } else { &[] };
        assert_eq!(rig.copies(), want, "{what}");
        // A board that is no faster never gets it.
        let (mut rig, _) = slow_has_g();
        rig.up(3);
        assert_eq!(rig.copies(), [""; 0]);
    }
}

#[test]
fn what_takes_longer_than_it_should_is_copied_later_without_a_message() {
    let mut rig = rig();
    rig.drop_in(&["a"]);
    rig.up(2);
    rig.grant("a", 2);
    // 10 s are left of 400 s, and 100 s are needed elsewhere.
    rig.now = rig.now.plus_ms(390_000);
    rig.up(1);
    assert_eq!(rig.copies(), [""; 0]);
    let again = rig.queue.deadline().unwrap();
    assert!(again <= rig.now.plus_ms(60_000), "{again:?}");
    // Ten times as long: half of that again is expected, and 0.375 of it on a board that is four times as fast.
    rig.now = rig.now.plus_ms(3_610_000);
    rig.tell(Msg::Tick);
    assert_eq!(rig.copies(), ["a→1"]);
}

#[test]
fn a_board_is_tried_once_a_lease_unless_it_was_not_there() {
    let (mut rig, _) = slow_has_g();
    rig.up(1);
    assert_eq!(rig.copies(), ["g→1"]);
    let failed = |why| Msg::ClaimFailed { srpm: file("g"), builder: key(1), why };
    rig.tell(failed(ClaimFailure::NoBuilder));
    assert_eq!(rig.copies(), [""; 0]);
    rig.ready(1);
    assert_eq!(rig.copies(), ["g→1"]);
    rig.tell(failed(ClaimFailure::Leased));
    rig.ready(1);
    assert_eq!(rig.copies(), [""; 0]);
    assert_eq!(rig.leased("g").builder, key(2));
}

#[test]
fn a_copy_that_wins_takes_the_place_and_the_other_is_nobodys_fault() {
    let (mut rig, first) = slow_has_g();
    rig.up(1);
    let second = rig.copied("g", 1);
    assert_eq!(rig.leased("g").copy.as_ref().map(|copy| copy.lease), Some(second));
    assert_eq!(rig.why("g"), "b1 builds it too: the first result counts");
    rig.effects();
    rig.end("g", first, 2, End::Beside(Fate::Outdone("b1 built it first")));
    assert_eq!(rig.noted(), [format!("{} released false b1 built it first", first.counter)]);
    assert_eq!((rig.leased("g").lease, rig.leased("g").copy), (second, None));
    rig.judge("g", second, 1, report("g", Verdict::Success));
    rig.end("g", second, 1, finished(Verdict::Success));
    assert_eq!(rig.queue.packages[&file("g")].state, State::Finished);
    assert_eq!((rig.charged("g"), rig.queue.standing.all[&key(2)].row), (0, 0));
}

#[test]
fn a_main_lease_that_ends_is_charged_as_ever_and_its_copy_goes_on() {
    for (verdict, charged) in [(Verdict::Lost, 1), (Verdict::Released, 0), (Verdict::Infra, 0)] {
        let (mut rig, first) = slow_has_g();
        rig.up(1);
        let second = rig.copied("g", 1);
        rig.end("g", first, 2, End::Beside(Fate::Returned(verdict)));
        assert_eq!((rig.leased("g").lease, rig.charged("g")), (second, charged), "{verdict}");
        assert_eq!(rig.queue.packages[&file("g")].builder.as_ref().map(FileName::as_str), Some("b1"));
        // No further copy but to a faster board, and not to the same one.
        rig.ready(2);
        assert_eq!(rig.copies(), ["g→1"], "{verdict}: what was asked for before");
    }
}

#[test]
fn a_copy_that_ends_costs_no_attempt_and_its_failure_counts_for_nothing() {
    let failed = Fate::InVain(Box::new(report("g", Verdict::Failed)));
    let broken = Fate::InVain(Box::new(report("g", Verdict::Infra)));
    for (fate, noted, row) in [
        (Fate::Returned(Verdict::Lost), "lost false it was a copy: the other builder goes on", 1),
        (Fate::Outdone("x"), "released false x", 0),
        (failed, "released false it was a copy and counts for nothing: failed: %build failed", 0),
        (broken, "released false it was a copy and counts for nothing: infra: exit 60", 1),
    ] {
        let (mut rig, first) = slow_has_g();
        rig.up(1);
        let second = rig.copied("g", 1);
        rig.effects();
        rig.end("g", second, 1, End::Beside(fate));
        let said = rig.noted();
        assert!(said[0].starts_with(&format!("{} {noted}", second.counter)), "{said:?}");
        assert_eq!((rig.leased("g").lease, rig.leased("g").copy), (first, None));
        assert_eq!((rig.charged("g"), rig.queue.standing.all[&key(1)].row), (0, row), "{noted}");
        let past = &rig.queue.packages[&file("g")].past;
        assert!(past.failed_on.is_empty() && past.lost_on.is_empty() && past.not_on.is_empty());
        rig.ready(1);
        assert_eq!(rig.copies(), [""; 0], "not there again");
        // The end of the other one is as ever.
        rig.judge("g", first, 2, report("g", Verdict::Failed));
        rig.end("g", first, 2, finished(Verdict::Failed));
        assert_eq!(rig.noted()[0].split(' ').nth(1), Some("failed"));
    }
}
