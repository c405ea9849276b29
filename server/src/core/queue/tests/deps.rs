//! What waits for BuildRequires, with a repo that knows what is published.

use super::*;
use crate::core::capabilities::Capabilities;
use crate::core::repo;

const DAY_MS: u64 = 24 * 3600 * 1000;

fn missing(lines: &[&str]) -> Report {
    let evidence = lines.iter().map(|line| (Which::Root, Line::lossy(line))).collect();
    Report { evidence, ..report("a", Verdict::Deps) }
}

impl Rig {
    /// What it waits for, as `x, y; z` for all of x and y and one of z.
    fn awaits(&self, name: &str) -> Option<String> {
        let say = |of: &[Requirement]| of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (all, any) = self.queue.stock.waits.of(&file(name))?;
        Some(format!("{}; {}", say(all), say(any)))
    }

    /// All that it waits for is published.
    fn provided(&mut self, name: &str) {
        let Some((all, any)) = self.queue.stock.waits.of(&file(name)) else { return };
        let all: Vec<String> = all.iter().chain(any.first()).map(ToString::to_string).collect();
        all.iter().for_each(|one| self.tell(news(one)));
    }
}

#[test]
fn a_package_waits_for_exactly_what_its_log_names_and_goes_to_an_idle_builder_at_once() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    rig.effects();
    let lines = [
        "Error: No matching package to install: 'y(api) >= 1:2-3'",
        " - nothing provides libx.so.1(V 1) needed by x-1-1.noarch from base",
        " - nothing provides z needed by x-2-1.noarch from base",
        "Error: No matching package to install: 'w'",
    ];
    rig.build_with("a", 1, missing(&lines));
    assert_eq!(rig.awaits("a").unwrap(), "w, y(api) >= 1:2-3; libx.so.1(V 1), z");
    rig.ready(1);
    // Whatever else is published, and for however long.
    rig.tell(Msg::Published(News::default()));
    rig.pass_ms(DAY_MS - 1);
    for half in ["w", "z", "y(api) = 1:2-2"] {
        rig.tell(news(half));
        assert_eq!(rig.claims(), [""; 0], "{half}");
    }
    rig.tell(news("y(api) = 1:2-3"));
    assert_eq!(rig.claims(), ["a→1"]);
    assert_eq!(rig.charged("a"), 0);
}

#[test]
fn what_was_woken_stands_with_what_was_never_tried_and_what_is_tried_blindly_behind_it() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a", "b"]);
    for (name, lack) in [("a", "x"), ("b", "y")] {
        rig.build_with(name, 1, missing(&[&format!("No matching package to install: '{lack}'")]));
    }
    rig.drop_in(&["c"]);
    rig.provided("b");
    rig.pass_ms(DAY_MS);
    rig.drop_in(&["d"]);
    rig.effects();
    for builder in 2..6 {
        rig.up(builder);
    }
    assert_eq!(rig.claims(), ["b→2", "c→3", "d→4", "a→5"]);
}

#[test]
fn everything_is_tried_once_a_day_and_then_waits_anew() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    for _ in 0..3 {
        rig.build_with("a", 1, missing(&["No matching package to install: 'x'"]));
        rig.ready(1);
        assert_eq!(rig.awaits("a").unwrap(), "x; ");
        rig.effects();
        rig.pass_ms(DAY_MS - 1);
        assert_eq!(rig.claims(), [""; 0]);
        rig.pass_ms(1);
        assert_eq!(rig.claims(), ["a→1"]);
        assert_eq!(rig.awaits("a"), None);
    }
}

#[test]
fn whatever_ends_a_wait_is_noticed() {
    type Leave = fn(&mut Rig);
    let leaves: [(&str, Leave); 4] = [
        ("vanished", |rig| rig.tell(Msg::Vanished { srpm: file("a") })),
        ("unusable", |rig| rig.tell(Msg::Unusable { srpm: file("a"), why: "no".to_owned() })),
        ("granted", |rig| _ = rig.grant("a", 1)),
        ("replaced", |rig| {
            let facts = Srpm { size: 101, ..srpm("a") };
            rig.tell(Msg::Appeared { srpm: file("a"), facts });
        }),
    ];
    for (what, leave) in leaves {
        let mut rig = Rig::new();
        rig.up(1);
        rig.drop_in(&["a"]);
        rig.build_with("a", 1, missing(&["No matching package to install: 'x'"]));
        assert_eq!(rig.queue.stock.waits.len(), 1);
        leave(&mut rig);
        assert_eq!(rig.queue.stock.waits.len(), 0, "{what}");
    }
}

#[test]
fn what_no_log_names_goes_on_a_pause_after_the_next_publication() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    let unnamed = || missing(&["package a requires b, but none of the providers can be installed"]);
    rig.build_with("a", 1, unnamed());
    rig.ready(1);
    assert_eq!(rig.awaits("a"), None);
    rig.effects();
    rig.pass_ms(PAUSE_MS);
    assert_eq!(rig.claims(), [""; 0]);
    rig.tell(Msg::Published(News::default()));
    rig.pass_ms(PAUSE_MS / 2);
    // A later one does not begin the pause again.
    rig.tell(Msg::Published(News::default()));
    rig.pass_ms(PAUSE_MS / 2 - 1);
    assert_eq!(rig.claims(), [""; 0]);
    rig.pass_ms(1);
    assert_eq!(rig.claims(), ["a→1"]);
    // Published while it was built: the pause begins when it comes back.
    let lease = rig.grant("a", 1);
    rig.tell(Msg::Published(News::default()));
    rig.judge("a", lease, 1, unnamed());
    rig.end("a", lease, 1, End::Returned(Verdict::Deps));
    rig.ready(1);
    rig.effects();
    rig.pass_ms(PAUSE_MS - 1);
    assert_eq!(rig.claims(), [""; 0]);
    rig.pass_ms(1);
    assert_eq!(rig.claims(), ["a→1"]);
}

#[test]
fn what_misses_again_what_is_there_pauses_longer_each_time_and_forgets_that_when_it_misses_something_else() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a"]);
    let fail = |rig: &mut Rig, name: &str| {
        rig.build_with("a", 1, missing(&[&format!("No matching package to install: '{name}'")]));
        rig.ready(1);
        rig.effects();
        rig.provided("a");
    };
    // Published while it was built, or not: the first time it is taken at its word.
    fail(&mut rig, "x");
    assert_eq!(rig.claims(), ["a→1"]);
    fail(&mut rig, "y");
    assert_eq!(rig.claims(), ["a→1"]);
    for doublings in 0..9 {
        fail(&mut rig, ["x", "y"][doublings % 2]);
        let pause_ms = (PAUSE_MS << doublings).min(DAY_MS);
        rig.pass_ms(pause_ms - 1);
        assert_eq!(rig.claims(), [""; 0], "{doublings}");
        rig.pass_ms(1);
        assert_eq!(rig.claims(), ["a→1"], "{doublings}");
    }
    fail(&mut rig, "z");
    assert_eq!(rig.claims(), ["a→1"]);
}

#[test]
fn what_was_published_while_it_was_built_wakes_it_at_once_and_what_is_gone_again_does_not() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a", "b"]);
    let lack = || missing(&["No matching package to install: 'x'"]);
    for (name, is_there) in [("a", true), ("b", false)] {
        let lease = rig.grant(name, 1);
        rig.tell(news("x"));
        if !is_there {
            rig.tell(old_news("x"));
        }
        rig.judge(name, lease, 1, lack());
        rig.end(name, lease, 1, End::Returned(Verdict::Deps));
        assert_eq!(rig.awaits(name).is_none(), is_there);
    }
    // All there is may be told anew.
    let mut stock = Box::<Capabilities>::default();
    stock.add("x/it.rpm", &facts("x", Kind::Binary, "noarch").nevra, &[], &[]);
    rig.effects();
    rig.up(2);
    assert_eq!(rig.claims(), ["a→2"]);
    rig.up(3);
    rig.tell(Msg::Published(News { stock: Some(stock), ..News::default() }));
    assert_eq!(rig.claims(), ["b→3"]);
}

#[test]
fn repo_is_asked_for_files_that_only_filelists_would_tell_of_and_for_no_others() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.drop_in(&["a", "b"]);
    rig.tell(news("x"));
    let asked = |rig: &mut Rig| -> Vec<Vec<String>> {
        let asked = |effect| match effect {
            Effect::Repo(repo::Msg::FindFiles(files)) => Some(files.into_iter().collect()),
            _ => None,
        };
        rig.effects().into_iter().filter_map(asked).collect()
    };
    rig.build_with("a", 1, missing(&["No matching package to install: '/usr/bin/x'"]));
    assert_eq!(asked(&mut rig), [[""; 0]; 0]);
    rig.build_with("b", 1, missing(&["No matching package to install: '/usr/share/x'"]));
    assert_eq!(asked(&mut rig), [["/usr/share/x"]]);
    rig.ready(1);
    rig.tell(Msg::FilesFound(vec![("x/it.rpm".into(), vec!["/usr/share/x".to_owned()])]));
    assert_eq!(rig.awaits("b"), None);
    assert_eq!(asked(&mut rig), [[""; 0]]);
}
