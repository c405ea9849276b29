//! Why a package is where it is, in every state; what is missing, and cycles.

use std::time::Instant;

use moji_proto::message::{BlockedRow, CycleRow, LackRow, Order, PackageState, ToOperator, Topic, Trouble};

use super::*;
use crate::core::desk;
use crate::core::leases::Place;
use crate::core::queue::package::Leased;
use crate::core::view::{Change, Decision, Ticket};

const HOUR_MS: u64 = 3_600_000;

fn missing(lines: &[&str]) -> Report {
    let evidence = lines.iter().map(|line| (Which::Root, Line::lossy(line))).collect();
    Report { evidence, ..report("a", Verdict::Deps) }
}

/// An SRPM with these BuildRequires.
fn needing(name: &str, requires: &[&str]) -> Srpm {
    let capability = |name: &&str| Capability { name: (*name).to_owned(), flags: 0, evr: String::new() };
    let facts = facts(name, Kind::Source, "src");
    Srpm { size: 100, facts: Facts { requires: requires.iter().map(capability).collect(), ..facts } }
}

impl Rig {
    fn ask(&mut self, about: About) -> Effect {
        self.effects();
        self.tell(Msg::Ask { ticket: Ticket(7), about });
        let mut answer = self.effects();
        assert_eq!(answer.len(), 1, "{answer:?}");
        answer.remove(0)
    }

    fn reasons(&mut self, name: &FileName) -> Vec<ToOperator> {
        match self.ask(About::Package(name.clone())) {
            Effect::Desk(desk::Msg::Explained { ticket: Ticket(7), rows }) => rows,
            other => panic!("{other:?}"),
        }
    }

    /// What is said of it, `Topic text` a line.
    fn told(&mut self, name: &str) -> String {
        let line = |row: ToOperator| match row {
            ToOperator::Text { topic, line } => format!("{topic:?} {line}\n"),
            ToOperator::Lack(row) => {
                let or = if row.any { "or " } else { "" };
                format!("Lack {or}{} {}: {}\n", row.capability, row.there, row.text)
            }
            other => panic!("{other:?}"),
        };
        self.reasons(&file(name)).into_iter().map(line).collect()
    }

    fn lacks(&mut self, name: &str, builder: u8, lacks: &[&str]) {
        let lines: Vec<String> =
            lacks.iter().map(|lack| format!("No matching package to install: '{lack}'")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.build_with(name, builder, missing(&lines));
    }

    fn blocked(&mut self, rows: u32) -> Vec<ToOperator> {
        match self.ask(About::Blocked { rows }) {
            Effect::Desk(desk::Msg::Surveyed { ticket: Ticket(7), survey }) => survey.rows(),
            other => panic!("{other:?}"),
        }
    }

    /// Cycles, as `members; import: …` with `?` where fewer may do or headers alone hint at it.
    fn cycles(&mut self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for row in self.blocked(0) {
            match row {
                ToOperator::Cycle(CycleRow { exact, sure, .. }) => {
                    let mark = |yes, word: &str| if yes { String::new() } else { format!("{word}? ") };
                    all.push(format!("{}{}", mark(exact, "least"), mark(sure, "sure")));
                }
                ToOperator::Text { topic, line } => {
                    let last = all.last_mut().unwrap();
                    let word = if topic == Topic::Import && !last.contains(';') { "; " } else { " " };
                    let name = line.as_str().strip_suffix("-1-1").unwrap();
                    let word = if last.is_empty() || last.ends_with(' ') { "" } else { word };
                    last.push_str(&format!("{word}{name}"));
                }
                _ => {}
            }
        }
        all
    }

    pub(super) fn order(&mut self, order: Order, name: &str) {
        let packages = vec![file(name)];
        let change =
            Change { ticket: Ticket(1), who: "ann".to_owned(), order, packages, builders: Vec::new() };
        self.tell(Msg::Change(change));
    }
}

/// Brings `a` into a state.
type Way = fn(&mut Rig);

#[test]
fn every_state_says_what_holds_the_package_and_what_may_be_done() {
    let ways: [(&str, PackageState, Way, &[&str]); 16] = [
        (
            "unusable",
            PackageState::Unusable,
            |rig| rig.tell(Msg::Unusable { srpm: file("a"), why: "it is short".to_owned() }),
            &["no whole SRPM: it is short", "Next put a whole one"],
        ),
        (
            "no builder",
            PackageState::Waiting,
            |rig| rig.drop_in(&["a"]),
            &[
                "no builder is connected",
                "Order number 1 of 1: nothing waits behind it; no build time is known",
            ],
        ),
        (
            "blocked",
            PackageState::Waiting,
            |rig| {
                rig.tell(Msg::Space { free_bytes: 0, floor_bytes: 1 << 30 });
                rig.drop_in(&["a"]);
            },
            &["nothing is leased: 0 MiB free, 1024 are needed"],
        ),
        (
            "duplicate",
            PackageState::Duplicate,
            |rig| {
                let twin = FileName::new("0-1-1.src.rpm").unwrap();
                rig.tell(Msg::Appeared { srpm: twin, facts: srpm("a") });
                rig.drop_in(&["a"]);
            },
            &["0-1-1.src.rpm is the same package", "moji why 0-1-1", "when 0-1-1 has left source/"],
        ),
        (
            "claimed",
            PackageState::Waiting,
            |rig| {
                rig.up(1);
                rig.drop_in(&["a"]);
            },
            &["is being leased to b1"],
        ),
        (
            "leased",
            PackageState::Building,
            |rig| {
                rig.tell(Msg::Took { source: "a".to_owned(), builder: key(1), seconds: 600, silent_s: 0 });
                rig.up(1);
                rig.drop_in(&["a"]);
                rig.grant("a", 1);
            },
            &["b1 builds it, lease 9-1", "should take 10 min", "moji log -f a-1-1", "moji cancel a-1-1"],
        ),
        (
            "cancelling",
            PackageState::Building,
            |rig| {
                rig.up(1);
                rig.drop_in(&["a"]);
                rig.grant("a", 1);
                rig.order(Order::Cancel, "a");
            },
            &["is being cancelled by ann", "no earlier build tells"],
        ),
        (
            "ruled",
            PackageState::Building,
            |rig| {
                rig.up(1);
                rig.drop_in(&["a"]);
                let lease = rig.grant("a", 1);
                rig.judge("a", lease, 1, report("a", Verdict::Success));
            },
            &["its result has arrived", "success"],
        ),
        (
            "deps",
            PackageState::Deps,
            |rig| {
                rig.up(1);
                rig.drop_in(&["a"]);
                rig.lacks("a", 1, &["x(api) >= 2"]);
            },
            &[
                "Lack x(api) >= 2 false: nothing known would provide it",
                "goes on at once",
                "tried again all the same in 24 h",
                "moji retry a-1-1",
            ],
        ),
        (
            "nameless deps",
            PackageState::Deps,
            |rig| {
                rig.up(1);
                rig.drop_in(&["a"]);
                rig.build_with("a", 1, missing(&["none of the providers can be installed"]));
            },
            &["no log names which", "after the next publication"],
        ),
        (
            "retiring",
            PackageState::Failed,
            |rig| {
                let attempts = vec![(Verdict::Lost, "board gone".to_owned()); 5];
                rig.tell(Msg::Charged { srpm: file("a"), attempts });
                rig.drop_in(&["a"]);
            },
            &["is on its way to finished/", "lost: board gone", "moji retry a-1-1"],
        ),
        (
            "success",
            PackageState::Success,
            |rig| {
                rig.up(1);
                rig.drop_in(&["a"]);
                rig.build("a", 1, Verdict::Success);
            },
            &["built and published", "in repo/x-1-1"],
        ),
        (
            "failed",
            PackageState::Failed,
            |rig| {
                rig.up(1);
                rig.drop_in(&["a"]);
                rig.build("a", 1, Verdict::Failed);
            },
            &["it failed: ", "%build failed", "in repo/x-1-1", "moji log a-1-1", "moji retry a-1-1"],
        ),
        (
            "review",
            PackageState::Review,
            |rig| {
                rig.tell(Msg::Known {
                    folder: "d-1-1".to_owned(),
                    source: "d".to_owned(),
                    binaries: vec!["a".to_owned()],
                });
                rig.up(1);
                rig.drop_in(&["a"]);
                rig.build("a", 1, Verdict::Success);
            },
            &["built and not published yet: ", "moji accept a-1-1", "moji refuse a-1-1"],
        ),
        (
            "excluded",
            PackageState::Excluded,
            |rig| {
                rig.up(1);
                rig.drop_in(&["a"]);
                rig.build("a", 1, Verdict::Excluded);
            },
            &["not for this architecture: ", "moji retry a-1-1"],
        ),
        (
            "finished",
            PackageState::Finished,
            |rig| rig.tell(Msg::FinishedChanged { srpm: file("a"), present: true }),
            &["somebody put it into finished/", "moji retry a-1-1"],
        ),
    ];
    let mut seen = Vec::new();
    for (what, state, way, parts) in ways {
        let mut rig = Rig::new();
        way(&mut rig);
        assert_eq!(rig.queue.packages[&file("a")].shown(), state, "{what}");
        let told = rig.told("a");
        parts.iter().for_each(|part| assert!(told.contains(part), "{what}: '{part}' in\n{told}"));
        seen.push(state);
    }
    // Cancelled, as an operator leaves it, and what is asked to come back.
    let mut rig = Rig::new();
    rig.drop_in(&["a"]);
    rig.order(Order::Cancel, "a");
    assert!(rig.told("a").contains("is on its way to finished/"));
    rig.tell(Msg::Placed { srpm: file("a"), to: Place::Finished, moved: true });
    rig.tell(Msg::FinishedChanged { srpm: file("a"), present: true });
    assert_eq!(rig.queue.packages[&file("a")].shown(), PackageState::Cancelled);
    let told = rig.told("a");
    assert!(
        told.contains("an operator ended it: cancelled by ann") && told.contains("moji retry a-1-1"),
        "{told}"
    );
    rig.order(Order::Retry { verdict: None }, "a");
    rig.tell(Msg::Placed { srpm: file("a"), to: Place::Source, moved: true });
    assert_eq!(rig.told("a"), "Why is on its way back to source/\n");
    seen.push(PackageState::Cancelled);
    assert!(PackageState::ALL.iter().all(|state| seen.contains(state)), "{seen:?}");
    // Nothing is said of what nobody knows.
    assert_eq!(rig.told("zzz"), "");
}

#[test]
fn the_place_in_the_order_has_its_reason() {
    let mut rig = Rig::new();
    for (name, seconds) in [("a", 60), ("lib", 600), ("mid", 1_200), ("top", 5_400)] {
        rig.tell(Msg::Took { source: name.to_owned(), builder: key(1), seconds, silent_s: 0 });
    }
    for (name, requires) in [("lib", &[][..]), ("mid", &["lib-devel"]), ("top", &["mid-devel"]), ("a", &[])] {
        rig.tell(Msg::Appeared { srpm: file(name), facts: needing(name, requires) });
    }
    let order = |rig: &mut Rig, name: &str| {
        let told = rig.told(name);
        told.lines().filter_map(|line| line.strip_prefix("Order ")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        order(&mut rig, "lib"),
        "number 1 of 4: a chain of 2 h of building with all behind it (longest: lib-1-1 → mid-1-1 → top-1-1); \
         it builds for about 10 min\nof equal chains the larger SRPM goes first: 100 bytes"
    );
    let told = order(&mut rig, "mid");
    assert!(
        told.starts_with("number 3 of 4: behind what looks as if it must be built first: lib-1-1\n"),
        "{told}"
    );
    assert!(told.contains("(longest: mid-1-1 → top-1-1)"), "{told}");
    let told = rig.told("a");
    assert!(told.contains("number 2 of 4: nothing waits behind it; it builds for about 60 s"), "{told}");
    assert!(told.contains("Next moji prio a-1-1 puts it first"), "{told}");
    // What is done is no longer in the way, nor in a chain.
    rig.tell(Msg::Vanished { srpm: file("mid") });
    rig.pass_ms(10);
    assert!(
        order(&mut rig, "lib").starts_with("number 2 of 3: nothing waits behind it"),
        "{}",
        order(&mut rig, "lib")
    );
    rig.tell(Msg::Priority(vec!["zzz".to_owned(), "top-1-1".to_owned()]));
    assert_eq!(order(&mut rig, "top"), "number 1 of 3: line 2 of priority.txt");
    assert!(!rig.told("top").contains("moji prio"));
    // Given back, and tried blindly.
    rig.up(1);
    let lease = rig.grant("top", 1);
    rig.end("top", lease, 1, End::Returned(Verdict::Released));
    rig.tell(Msg::Appeared { srpm: file("top"), facts: needing("top", &["mid-devel"]) });
    rig.tell(Msg::Priority(Vec::new()));
    assert!(
        order(&mut rig, "top").starts_with("number 1 of 3: a builder gave it back"),
        "{}",
        order(&mut rig, "top")
    );
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    for _ in 0..2 {
        rig.lacks("a", 1, &["x"]);
        rig.pass_ms(24 * HOUR_MS);
    }
    let told = rig.told("a");
    assert!(
        told.contains("number 1 of 1: a BuildRequires was missing 2 times before: it is tried blindly"),
        "{told}"
    );
    assert!(told.contains("its last try ended deps"), "{told}");
}

#[test]
fn neighbours_are_told_each_way_until_they_are_done() {
    let mut rig = Rig::new();
    for (name, requires) in [("lib", &[][..]), ("mid", &["lib-devel"]), ("top", &["lib", "mid-devel"])] {
        rig.tell(Msg::Appeared { srpm: file(name), facts: needing(name, requires) });
    }
    let around = |rig: &mut Rig, name: &str| {
        let told = rig.told(name);
        let lines = told.lines().filter(|line| line.starts_with("First ") || line.starts_with("Behind "));
        lines.map(|line| line.replace("-1-1.src.rpm", "")).collect::<Vec<_>>()
    };
    assert_eq!(around(&mut rig, "lib"), ["Behind mid", "Behind top"]);
    assert_eq!(around(&mut rig, "mid"), ["First lib", "Behind top"]);
    assert_eq!(around(&mut rig, "top"), ["First lib", "First mid"]);
    rig.up(1);
    rig.build("lib", 1, Verdict::Success);
    assert_eq!(around(&mut rig, "mid"), ["Behind top"], "what is done is nobody's neighbour");
    assert_eq!(around(&mut rig, "lib"), Vec::<String>::new());
}

#[test]
fn each_builder_that_is_not_at_work_has_its_reason_and_those_that_are_alike_stand_together() {
    let ways: [(&str, Way, &str); 9] = [
        (
            "paused",
            |rig| {
                rig.up(1);
                rig.build("a", 1, Verdict::Infra);
                rig.ready(1);
            },
            "b1: it failed there: not again for 10 min",
        ),
        (
            "lost",
            |rig| {
                // Ruled out everywhere, so it goes to one after the other.
                let mut facts = srpm("a");
                facts.facts.exclude_arch = vec!["armv5tel".to_owned()];
                rig.tell(Msg::Appeared { srpm: file("a"), facts: facts.clone() });
                rig.up(1);
                let lease = rig.grant("a", 1);
                rig.drop_in(&["z"]);
                rig.up(2);
                rig.grant("z", 2);
                rig.end("a", lease, 1, End::Returned(Verdict::Lost));
                rig.tell(Msg::Appeared { srpm: file("a"), facts });
                rig.ready(1);
            },
            "b1: it was lost there: others are tried first",
        ),
        (
            "memory",
            |rig| {
                rig.up_with(BuilderInfo { memory_mib: 512, ..info(1) });
                rig.drop_in(&["z"]);
                rig.up_with(BuilderInfo { memory_mib: 1_024, ..info(2) });
                rig.grant("z", 2);
                rig.build("a", 1, Verdict::Memory);
                rig.ready(1);
            },
            "b1: has 512 MiB, and 512 MiB were not enough",
        ),
        (
            "header",
            |rig| {
                let mut facts = srpm("a");
                facts.facts.exclude_arch = vec!["armv5tel".to_owned()];
                rig.tell(Msg::Appeared { srpm: file("a"), facts });
                rig.drop_in(&["z"]);
                rig.up_with(BuilderInfo { arch: FileName::new("armv7hl").unwrap(), ..info(2) });
                rig.grant("z", 2);
                rig.up(1);
            },
            "b1: its header rules armv5tel out",
        ),
        (
            "quarantined",
            |rig| {
                (1..=3).for_each(|builder| rig.up(builder));
                let builders = vec![key(1), key(2), key(3)];
                let change = Change {
                    ticket: Ticket(1),
                    who: "ann".to_owned(),
                    order: Order::Quarantine,
                    packages: Vec::new(),
                    builders,
                };
                rig.tell(Msg::Change(change));
            },
            "b1, b2, b3: quarantined: quarantined by an operator",
        ),
        (
            "draining",
            |rig| {
                (1..=5).for_each(|builder| {
                    rig.up(builder);
                    rig.tell(Msg::Draining { builder: key(builder) });
                });
            },
            "b1, b2, b3 and 2 more: drained: it was told to drain there",
        ),
        (
            "disk",
            |rig| {
                rig.up(1);
                let health = Health {
                    disk_free_mib: 12,
                    memory_free_mib: 1,
                    trouble: Some(Trouble::Disk),
                    ..Health::default()
                };
                rig.tell(Msg::Health { builder: key(1), health });
            },
            "b1: troubled: its disk is too full, 12 MiB free",
        ),
        (
            "listed",
            |rig| {
                rig.tell(Msg::Listed(vec![(key(1), vec!["other".to_owned()])]));
                rig.up(1);
            },
            "b1: it builds for armv5tel",
        ),
        (
            "at work",
            |rig| {
                rig.drop_in(&["0"]);
                rig.up(1);
                rig.grant("0", 1);
            },
            "1 builder is at work that may have it",
        ),
    ];
    for (what, change, part) in ways {
        let mut rig = Rig::new();
        // Builders that are there take it otherwise.
        if !matches!(what, "paused" | "lost" | "memory") {
            rig.tell(Msg::Space { free_bytes: 0, floor_bytes: 1 });
        }
        rig.drop_in(&["a"]);
        change(&mut rig);
        rig.tell(Msg::Space { free_bytes: 2, floor_bytes: 1 });
        let told = rig.told("a");
        assert!(told.contains(&format!("Passed {part}")), "{what}: '{part}' in\n{told}");
    }
}

#[test]
fn what_is_kept_for_a_faster_builder_says_so_with_the_time_it_would_take() {
    let mut rig = Rig::new();
    for name in ["a", "b", "c", "d"] {
        rig.tell(Msg::Took { source: name.to_owned(), builder: key(1), seconds: 100, silent_s: 0 });
        rig.tell(Msg::Took { source: name.to_owned(), builder: key(2), seconds: 400, silent_s: 0 });
    }
    rig.tell(Msg::Took { source: "g".to_owned(), builder: key(1), seconds: 10_000, silent_s: 0 });
    rig.drop_in(&["a"]);
    rig.up(1);
    rig.grant("a", 1);
    rig.drop_in(&["g"]);
    rig.up(2);
    let told = rig.told("g");
    assert!(
        told.contains("Passed b2: kept for b1, where it is done sooner: it takes about 12 h here"),
        "{told}"
    );
    assert!(told.contains("Passed 1 builder is at work that may have it"), "{told}");
}

#[test]
fn what_a_package_lacks_is_traced_to_whoever_would_provide_it() {
    let ways: [(&str, Way, &str); 9] = [
        ("nobody", |_| {}, "false: nothing known would provide it"),
        (
            "waits",
            |rig| {
                rig.tell(Msg::Space { free_bytes: 0, floor_bytes: 1 });
                rig.drop_in(&["x"]);
            },
            "false: perhaps from x-1-1, which waits its turn (moji why x-1-1)",
        ),
        (
            "deps",
            |rig| {
                rig.drop_in(&["x"]);
                rig.lacks("x", 1, &["y"]);
            },
            "false: perhaps from x-1-1, which waits for capabilities itself (moji why x-1-1)",
        ),
        (
            "building",
            |rig| {
                rig.drop_in(&["x"]);
                rig.grant("x", 1);
                rig.pass_ms(2 * HOUR_MS);
            },
            "false: perhaps from x-1-1, which is being built, since 2 h (moji why x-1-1)",
        ),
        (
            "failed",
            |rig| {
                rig.drop_in(&["x"]);
                rig.build("x", 1, Verdict::Failed);
                rig.pass_ms(3 * HOUR_MS);
            },
            "false: perhaps from x-1-1, which failed 3 h ago (moji why x-1-1)",
        ),
        (
            "published without it",
            |rig| {
                rig.drop_in(&["x"]);
                rig.build("x", 1, Verdict::Success);
            },
            "false: perhaps from x-1-1, which is published without it (moji why x-1-1)",
        ),
        (
            "owner",
            |rig| {
                rig.tell(Msg::Known {
                    folder: "kit-1-1".to_owned(),
                    source: "kit".to_owned(),
                    binaries: vec!["x-devel".to_owned()],
                });
                rig.tell(Msg::FinishedChanged { srpm: file("kit"), present: true });
            },
            "false: perhaps from kit-1-1, which lies in finished/ and was not built here (moji why kit-1-1)",
        ),
        (
            "what may still come before what failed",
            |rig| {
                rig.drop_in(&["x-devel"]);
                rig.build("x-devel", 1, Verdict::Failed);
                rig.drop_in(&["x"]);
                rig.grant("x", 1);
            },
            "false: perhaps from x-1-1, which is being built",
        ),
        (
            "retracted",
            |rig| {
                rig.drop_in(&["x"]);
                rig.build("x", 1, Verdict::Success);
                rig.tell(Msg::FinishedChanged { srpm: file("x"), present: true });
                rig.tell(Msg::Decided {
                    srpm: file("x"),
                    folder: "x-1-1".to_owned(),
                    decision: Decision::Retracted,
                    source: "x".to_owned(),
                    binaries: Vec::new(),
                    who: "ann".to_owned(),
                });
            },
            "false: perhaps from x-1-1, which was cancelled",
        ),
    ];
    for (what, way, text) in ways {
        let mut rig = Rig::new();
        rig.up(1);
        rig.drop_in(&["a"]);
        rig.lacks("a", 1, &["x-devel"]);
        way(&mut rig);
        let told = rig.told("a");
        assert!(told.contains(&format!("Lack x-devel {text}")), "{what}: '{text}' in\n{told}");
    }
    // Itself; some of which one is enough; and what is there although builds missed it.
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.lacks("a", 1, &["a-libs"]);
    assert!(rig.told("a").contains("Lack a-libs false: perhaps from itself"), "{}", rig.told("a"));
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    let nothing = |name: &str| format!(" - nothing provides {name} needed by z-1-1.noarch from base");
    rig.build_with("a", 1, missing(&["No matching package to install: 'w'", &nothing("x"), &nothing("y")]));
    rig.tell(news("w"));
    let told = rig.told("a");
    let want = "Lack w true: is published in w/it.rpm\n\
                Lack or x false: nothing known would provide it: a source package or an RPM in repo/ that does ends the wait\n\
                Lack or y false: nothing";
    assert!(told.starts_with(want), "{told}");
    assert!(told.contains("(of those marked 'or' one is enough)"), "{told}");
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.lacks("a", 1, &["x"]);
    rig.tell(news("x"));
    rig.lacks("a", 1, &["x"]);
    let told = rig.told("a");
    assert!(
        told.contains("all that its log named is published, yet builds missed it 1 times more: it pauses"),
        "{told}"
    );
}

#[test]
fn missing_capabilities_stand_with_all_that_they_hold_the_longest_chain_first() {
    let mut rig = Rig::new();
    for (name, seconds) in [("a", 10), ("b", 20), ("c", 30), ("far", 7_000), ("n", 5)] {
        rig.tell(Msg::Took { source: name.to_owned(), builder: key(1), seconds, silent_s: 0 });
    }
    rig.up(1);
    rig.drop_in(&["a", "b", "c", "n"]);
    rig.lacks("a", 1, &["x", "only(a)"]);
    rig.lacks("b", 1, &["x"]);
    rig.lacks("c", 1, &["b-devel", "there"]);
    rig.build_with("n", 1, missing(&["none of the providers can be installed"]));
    rig.tell(news("there"));
    rig.tell(Msg::Space { free_bytes: 0, floor_bytes: 1 });
    // Waits its turn behind c, by its header.
    rig.tell(Msg::Appeared { srpm: file("far"), facts: needing("far", &["c", "nowhere"]) });
    rig.pass_ms(60_000);
    let rows = rig.blocked(u32::MAX);
    let head = BlockedRow { packages: 4, unnamed: 1, capabilities: 3, cycles: 0 };
    assert_eq!(rows[0], ToOperator::Blocked(head));
    let brief = |row: &ToOperator| match row {
        ToOperator::Lack(LackRow {
            capability, there, any, holds, holds_all, chain_s, from, state, ..
        }) => {
            assert!(!there && !any);
            let from = from.as_ref().map_or("-", |name| name.as_str());
            format!(
                "{capability}: {holds} {holds_all} {chain_s} {from} {}",
                state.map_or("-", PackageState::as_str)
            )
        }
        other => panic!("{other:?}"),
    };
    let all: Vec<String> = rows[1..].iter().map(brief).collect();
    assert_eq!(all, ["x: 2 4 7050 - -", "b-devel: 1 2 7030 b-1-1.src.rpm deps", "only(a): 1 1 10 - -"]);
    assert_eq!(rig.blocked(1).len(), 2, "as many as were asked for");
    assert_eq!(
        Rig::new().blocked(9),
        [ToOperator::Blocked(BlockedRow { packages: 0, unnamed: 0, capabilities: 0, cycles: 0 })]
    );
}

#[test]
fn cycles_are_what_logs_name_before_what_headers_hint_at() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a", "b", "c", "s", "t"]);
    rig.lacks("a", 1, &["b-devel"]);
    assert_eq!(rig.cycles(), [""; 0], "b was not tried yet, and its header needs nothing");
    rig.lacks("b", 1, &["a-libs >= 2"]);
    assert_eq!(rig.cycles(), ["a b; a"]);
    rig.lacks("c", 1, &["a-devel", "nobody(has)"]);
    rig.lacks("s", 1, &["s-bootstrap"]);
    rig.lacks("t", 1, &["c-libs"]);
    assert_eq!(rig.cycles(), ["a b; a", "s; s"]);
    // By headers alone; what others got from their boards' own repositories counts for nothing.
    rig.tell(Msg::Space { free_bytes: 0, floor_bytes: 1 });
    let header = |rig: &mut Rig, name: &str, requires: &[&str]| {
        rig.tell(Msg::Appeared { srpm: file(name), facts: needing(name, requires) });
    };
    header(&mut rig, "p", &["q-devel", "rpmlib(X)", "p-filesystem"]);
    header(&mut rig, "q", &["(p-libs or zzz)"]);
    assert_eq!(rig.cycles(), ["a b; a", "s; s", "sure? p q; p"]);
    header(&mut rig, "built", &["q-devel"]);
    rig.tell(Msg::Space { free_bytes: 2, floor_bytes: 1 });
    rig.build("built", 1, Verdict::Success);
    assert_eq!(rig.cycles(), ["a b; a", "s; s"]);
    // What is built now may end it.
    rig.grant("b", 1);
    assert_eq!(rig.cycles(), ["s; s"]);
}

#[test]
fn a_package_on_a_cycle_is_told_who_else_is_and_what_breaks_it() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a", "b", "c", "s"]);
    rig.lacks("a", 1, &["b-devel"]);
    rig.lacks("c", 1, &["a-devel"]);
    rig.lacks("s", 1, &["s-bootstrap"]);
    let cycle = |rig: &mut Rig, name: &str| -> String {
        let told = rig.told(name);
        let lines = told.lines().filter(|line| line.contains("cycle")).map(str::to_owned);
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(cycle(&mut rig, "a"), "", "b was not tried yet, and its header needs nothing");
    rig.lacks("b", 1, &["a-libs >= 2"]);
    let want = "Why is on a cycle of 2 packages, each of which lacks another: a-1-1, b-1-1\n\
                Next a build of a-1-1 from elsewhere in repo/ would break the cycle";
    assert_eq!(cycle(&mut rig, "a"), want);
    assert_eq!(cycle(&mut rig, "b"), want);
    assert_eq!(cycle(&mut rig, "c"), "", "it waits for the cycle, and nobody on it for c");
    let want = "Why is a cycle by itself: it lacks what it would build\n\
                Next a build of s-1-1 from elsewhere in repo/ would break the cycle";
    assert_eq!(cycle(&mut rig, "s"), want);
    // By headers, of what waits its turn; what others got elsewhere counts for nothing.
    rig.tell(Msg::Space { free_bytes: 0, floor_bytes: 1 });
    for (name, requires) in [("p", ["q-devel", "r"]), ("q", ["p-libs", "r"]), ("r", ["p", "q"])] {
        rig.tell(Msg::Appeared { srpm: file(name), facts: needing(name, &requires) });
    }
    let want = "Why is on a cycle of 3 packages, each of which lacks another, as headers hint: p-1-1, q-1-1, r-1-1\n\
                Next builds of p-1-1, q-1-1 from elsewhere in repo/ would break the cycle (no fewer do)";
    assert_eq!(cycle(&mut rig, "r"), want);
    rig.tell(Msg::Appeared {
        srpm: file("built"),
        facts: needing("built", &["p", "q", "q-devel", "p-libs"]),
    });
    rig.tell(Msg::Space { free_bytes: 2, floor_bytes: 1 });
    rig.build("built", 1, Verdict::Success);
    assert!(cycle(&mut rig, "r").is_empty(), "{}", cycle(&mut rig, "r"));
    // What is built now may end it.
    rig.grant("b", 1);
    assert_eq!(cycle(&mut rig, "a"), "");
}

#[test]
fn a_cycle_ends_with_an_alternative_and_with_what_is_published() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a", "b", "c"]);
    let nothing = |name: &str| format!(" - nothing provides {name} needed by z-1-1.noarch from base");
    rig.build_with("a", 1, missing(&[&nothing("b-devel"), &nothing("c-devel")]));
    rig.lacks("b", 1, &["a-devel"]);
    assert_eq!(rig.cycles(), [""; 0], "c may be built");
    let leased = rig.grant("c", 1);
    assert_eq!(rig.cycles(), [""; 0], "c is being built");
    rig.end("c", leased, 1, End::Returned(Verdict::Released));
    rig.tell(Msg::Appeared { srpm: file("c"), facts: srpm("c") });
    rig.lacks("c", 1, &["a-libs"]);
    assert_eq!(rig.cycles(), ["a b c; a"]);
    rig.tell(news("a-libs"));
    assert_eq!(rig.cycles(), [""; 0]);
}

/// `cargo test --release -p moji-server --lib queue::tests::why::figures -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn figures() {
    const PACKAGES: usize = 25_000;
    let mut rig = Rig::new();
    rig.tell(Msg::Space { free_bytes: 0, floor_bytes: 1 });
    let mut dice = 1_u64;
    let mut below = |n: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % n
    };
    let name = |n: usize| format!("package{n:05}");
    for n in 0..PACKAGES {
        rig.queue.times.built(&name(n), key(1), 60 + n as u32 % 5_000, 0);
        let own: Vec<String> = (0..10)
            .map(|at| match at {
                // What is from the distribution, one in a hundred, and foundations.
                0..6 => format!("base{:03}(x)", below(500)),
                6 if n % 100 == 0 => format!("{}-devel", name(below(PACKAGES))),
                _ => format!("{}-devel", name(below(1 + n / 2))),
            })
            .collect();
        let requires: Vec<&str> = own.iter().map(String::as_str).collect();
        rig.tell(Msg::Appeared { srpm: file(&name(n)), facts: needing(&name(n), &requires) });
        rig.out.clear();
    }
    let time = |what: &str, began: Instant| println!("{what}: {:?}", began.elapsed());
    let show = |rig: &mut Rig, what: &str| {
        let began = Instant::now();
        let moved = rig.queue.chain.look(rig.now, &rig.queue.times);
        rig.queue.put_in_order(moved);
        time(&format!("{what}: a look at all chains"), began);
        for n in [0, 1, PACKAGES / 2, PACKAGES - 1] {
            let began = Instant::now();
            let lines = rig.reasons(&file(&name(n))).len();
            time(&format!("{what}: why {} ({lines} lines)", name(n)), began);
        }
        let began = Instant::now();
        let survey = rig.queue.survey(rig.now, 20);
        time(&format!("{what}: blocked, in the queue"), began);
        let began = Instant::now();
        let rows = survey.rows();
        time(&format!("{what}: blocked, by a worker"), began);
        println!("{:?}", rows[0]);
    };
    show(&mut rig, "all wait");
    for n in 0..PACKAGES {
        if n % 3 == 0 {
            continue;
        }
        let leased = Leased::of(lease(1), key(1), rig.now);
        let all = vec![format!("{}-devel", name(below(1 + n / 2))), format!("gone{:04}", below(2_000))];
        rig.queue.hold_for_deps(rig.now, &file(&name(n)), &leased, Wants { all, any: Vec::new() });
    }
    rig.tell(Msg::Tick);
    rig.now = rig.now.plus_ms(60_000);
    show(&mut rig, "two thirds wait for capabilities");
}
