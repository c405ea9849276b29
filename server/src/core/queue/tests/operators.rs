//! What operators see, change, and are told.

use moji_proto::message::{BuilderState, EventKind, Order, PackageState, ToBuilder};

use super::*;
use crate::clock::{Clock, Real};
use crate::core::desk;
use crate::core::leases::Place;
use crate::core::view::{Change, Decision, Event, Reply, Ticket, Told, View};

const ANN: &str = "ann@desk (10.0.0.7)";
const RETRY: Order = Order::Retry { verdict: None };

impl Rig {
    fn change(&mut self, order: Order, names: &[&str], builders: &[u8]) {
        self.counter += 1;
        let packages = names.iter().map(|name| file(name)).collect();
        let builders = builders.iter().map(|builder| key(*builder)).collect();
        let ticket = Ticket(self.counter.into());
        self.tell(Msg::Change(Change { ticket, who: ANN.to_owned(), order, packages, builders }));
    }

    /// What was sent besides logs since the last look, a word or two each.
    fn said(&mut self) -> Vec<String> {
        let word = |effect| match effect {
            Effect::Leases(leases::Msg::Retry { .. }) => Some("retry".to_owned()),
            Effect::Leases(leases::Msg::Retire { .. }) => Some("retire".to_owned()),
            Effect::Leases(leases::Msg::Cancel { .. }) => Some("cancel".to_owned()),
            Effect::Send(_, msg) => Some(format!("{msg:?}").to_lowercase()),
            Effect::Desk(desk::Msg::Replied { replies, .. }) => Some(answer(&replies)),
            _ => None,
        };
        self.effects().into_iter().filter_map(word).collect()
    }

    /// Events since the last look, as `kind state`.
    fn events(&mut self) -> Vec<String> {
        let word = |event: Event| {
            let state = event.state.map_or(String::new(), |state| format!(" {state}"));
            let by = if event.who.is_empty() { "" } else { " ann" };
            format!("{}{state}{by}", event.kind)
        };
        let event = |effect| match effect {
            Effect::Desk(desk::Msg::Event(event)) => Some(word(event)),
            _ => None,
        };
        self.effects().into_iter().filter_map(event).collect()
    }

    pub(super) fn view(&mut self) -> std::sync::Arc<View> {
        self.effects();
        self.tell(Msg::Look);
        match self.effects().pop() {
            Some(Effect::Desk(desk::Msg::View(view))) => view,
            other => panic!("{other:?}"),
        }
    }

    fn row(&mut self, name: &str) -> (PackageState, String) {
        let view = self.view();
        let found = view.packages.iter().find(|package| package.row.srpm == file(name)).unwrap();
        (found.row.state, found.row.why.to_string())
    }

    fn builder(&mut self, builder: u8) -> (BuilderState, String) {
        let view = self.view();
        let found = view.builders.iter().find(|row| row.key == key(builder)).unwrap();
        (found.state, found.why.to_string())
    }

    fn placed(&mut self, name: &str, to: Place, moved: bool) {
        self.tell(Msg::Placed { srpm: file(name), to, moved });
    }
}

/// `yes` or the code of the no, for each reply.
fn answer(replies: &[Reply]) -> String {
    let word = |reply: &Reply| match reply {
        Reply::Changed { .. } => "yes".to_owned(),
        Reply::No { code, .. } => format!("no:{code:?}"),
    };
    replies.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A queue whose package `a` is in this state; builder 1 has it if somebody does.
fn in_state(state: &str) -> Rig {
    let mut rig = Rig::new();
    rig.tell(Msg::Scanned);
    let result = |verdict| move |rig: &mut Rig| drop(rig.build("a", 1, verdict));
    match state {
        "gone" => {}
        "unusable" => rig.tell(Msg::Unusable { srpm: file("a"), why: "short".to_owned() }),
        "waiting" => rig.drop_in(&["a"]),
        "duplicate" => {
            let twin = FileName::new("0-1-1.src.rpm").unwrap();
            rig.tell(Msg::Appeared { srpm: twin, facts: srpm("a") });
            rig.drop_in(&["a"]);
        }
        "retiring" => {
            let attempts = vec![(Verdict::Lost, "x".to_owned()); 5];
            rig.tell(Msg::Charged { srpm: file("a"), attempts });
            rig.drop_in(&["a"]);
        }
        "foreign" => rig.tell(Msg::FinishedChanged { srpm: file("a"), present: true }),
        _ => {
            rig.up(1);
            rig.drop_in(&["a"]);
            match state {
                "claimed" => {}
                "leased" => drop(rig.grant("a", 1)),
                "ruled" => {
                    let lease = rig.grant("a", 1);
                    rig.judge("a", lease, 1, report("a", Verdict::Success));
                }
                "deps" => result(Verdict::Deps)(&mut rig),
                "success" => result(Verdict::Success)(&mut rig),
                "failed" => result(Verdict::Failed)(&mut rig),
                "review" => {
                    let (folder, source) = ("d-1-1".to_owned(), "d".to_owned());
                    rig.tell(Msg::Known { folder, source, binaries: vec!["a".to_owned()] });
                    result(Verdict::Success)(&mut rig);
                }
                _ => panic!("{state}"),
            }
        }
    }
    rig.effects();
    rig
}

#[test]
fn every_package_state_answers_every_order_as_the_table_says() {
    for (state, retry, cancel) in [
        ("gone", "no:NotFound", "no:NotFound"),
        ("unusable", "no:Refused", "no:Refused"),
        ("waiting", "yes", "retire"),
        ("deps", "yes", "retire"),
        ("duplicate", "no:Refused", "retire"),
        ("claimed", "no:Refused", "cancel"),
        ("leased", "no:Refused", "cancel"),
        ("ruled", "no:Refused", "no:Refused"),
        ("retiring", "no:Later", "no:Refused"),
        ("success", "retry", "no:Refused"),
        ("failed", "retry", "no:Refused"),
        ("review", "no:Refused", "no:Refused"),
        ("foreign", "retry", "no:Refused"),
    ] {
        for (order, want) in [(RETRY, retry), (Order::Cancel, cancel)] {
            let mut rig = in_state(state);
            rig.change(order, &["a"], &[]);
            assert_eq!(rig.said(), [want], "{order:?} of {state}");
        }
    }
}

#[test]
fn a_cancelled_package_is_answered_for_when_it_is_in_finished() {
    let mut rig = in_state("waiting");
    rig.change(Order::Cancel, &["a"], &[]);
    rig.change(Order::Cancel, &["a"], &[]);
    assert_eq!(rig.said(), ["retire"]);
    rig.tell(Msg::Vanished { srpm: file("a") });
    assert_eq!(rig.said(), [""; 0]);
    rig.placed("a", Place::Finished, true);
    let noted = |effect: &Effect| {
        matches!(effect, Effect::History(Note::EndedAs { state: PackageState::Cancelled, .. }))
    };
    assert!(rig.out.iter().any(noted));
    assert_eq!(rig.said(), ["yes", "yes"]);
    rig.tell(Msg::FinishedChanged { srpm: file("a"), present: true });
    assert_eq!(rig.row("a"), (PackageState::Cancelled, format!("cancelled by {ANN}")));
}

#[test]
fn a_cancel_that_comes_too_late_or_goes_wrong_is_answered_all_the_same() {
    // What happens next to a package that is being cancelled, and the answer.
    type Next = fn(&mut Rig);
    let rows: [(&str, Next, &str, PackageState); 6] = [
        ("leased", |rig| rig.end("a", lease(1), 1, End::Cancelled), "yes", PackageState::Cancelled),
        (
            "leased",
            |rig| drop(rig.judge("a", lease(1), 1, report("a", Verdict::Success))),
            "no:Refused",
            PackageState::Building,
        ),
        (
            "leased",
            |rig| rig.end("a", lease(1), 1, finished(Verdict::Failed)),
            "no:Refused",
            PackageState::Failed,
        ),
        (
            "leased",
            |rig| rig.end("a", lease(1), 1, End::Returned(Verdict::Lost)),
            "retire",
            PackageState::Cancelled,
        ),
        (
            "claimed",
            |rig| {
                rig.tell(Msg::ClaimFailed { srpm: file("a"), builder: key(1), why: ClaimFailure::NoBuilder })
            },
            "retire",
            PackageState::Cancelled,
        ),
        // Its builder came back for it just then.
        ("waiting", |rig| assert_eq!(rig.grant("a", 1), lease(2)), "cancel", PackageState::Building),
    ];
    for (state, next, want, then) in rows {
        let mut rig = in_state(state);
        rig.change(Order::Cancel, &["a"], &[]);
        rig.effects();
        next(&mut rig);
        assert_eq!(rig.said(), [want], "{state}");
        assert_eq!(rig.row("a").0, then, "{state}");
    }
    for (state, order) in [("waiting", Order::Cancel), ("leased", Order::Cancel), ("failed", RETRY)] {
        let mut rig = in_state(state);
        rig.change(order, &["a"], &[]);
        rig.effects();
        rig.tell(Msg::StopLeasing { why: "disk".to_owned() });
        assert_eq!(rig.said(), ["no:Failed"], "{state}");
    }
}

#[test]
fn a_retried_package_waits_from_the_order_on_and_starts_afresh() {
    let mut rig = in_state("failed");
    rig.change(RETRY, &["a"], &[]);
    assert_eq!(rig.row("a"), (PackageState::Waiting, "on its way back to source/".to_owned()));
    // The watch and leases tell of it in any order.
    rig.tell(Msg::FinishedChanged { srpm: file("a"), present: false });
    rig.drop_in(&["a"]);
    rig.placed("a", Place::Source, true);
    assert_eq!(rig.said(), ["yes"]);
    rig.ready(1);
    assert_eq!(rig.claims(), ["a→1"]);
    // It cannot move: it is what it was.
    let mut rig = in_state("failed");
    let before = rig.row("a");
    rig.change(RETRY, &["a"], &[]);
    rig.effects();
    rig.placed("a", Place::Source, false);
    assert_eq!(rig.said(), ["no:Refused"]);
    assert_eq!(rig.row("a"), before);
}

#[test]
fn a_verdict_chooses_among_several_and_none_is_said_once() {
    let mut rig = in_state("failed");
    rig.drop_in(&["b", "c"]);
    let by = |verdict| Order::Retry { verdict: Some(verdict) };
    for (verdict, names, want) in [
        (Verdict::Failed, &["a", "b", "c"][..], "retry"),
        (Verdict::Memory, &["b", "c"], "no:Refused"),
        (Verdict::Memory, &["b"], "no:Refused"),
    ] {
        rig.change(by(verdict), names, &[]);
        assert_eq!(rig.said(), [want], "{verdict}");
    }
}

#[test]
fn of_many_builders_only_those_that_were_drained_are_said_to_be_resumed() {
    let mut rig = Rig::new();
    rig.up(1);
    rig.up(2);
    rig.change(Order::Drain { exit: false }, &[], &[1]);
    rig.effects();
    rig.change(Order::Resume, &[], &[1, 2]);
    assert_eq!(rig.said(), ["undrain", "yes"]);
    rig.change(Order::Resume, &[], &[1, 2]);
    assert_eq!(rig.said(), ["no:Refused no:Refused"]);
}

#[test]
fn builders_obey_and_the_orders_survive_a_reconnect_and_a_restart() {
    let drain = |exit| Order::Drain { exit };
    for (orders, said, state) in [
        (&[drain(false)][..], &["drain", "yes"][..], BuilderState::Drained),
        (&[drain(true)], &["exit", "yes"], BuilderState::Drained),
        (&[drain(false), Order::Resume], &["drain", "yes", "undrain", "yes"], BuilderState::Idle),
        (&[Order::Resume], &["no:Refused"], BuilderState::Idle),
        (&[Order::Quarantine], &["yes"], BuilderState::Quarantined),
        (&[Order::Quarantine, Order::Release], &["yes", "yes"], BuilderState::Idle),
        (&[Order::Release], &["no:Refused"], BuilderState::Idle),
    ] {
        let mut rig = Rig::new();
        rig.up(1);
        rig.effects();
        let (mut told, mut got) = (Vec::new(), Vec::new());
        for order in orders {
            rig.change(*order, &[], &[1]);
            let notes = rig.out.iter().filter_map(|effect| match effect {
                Effect::History(Note::Told { told, .. }) => Some(*told),
                _ => None,
            });
            told.extend(notes);
            got.extend(rig.said());
        }
        assert_eq!(got, said, "{orders:?}");
        assert_eq!(rig.builder(1).0, state, "{orders:?}");
        rig.drop_in(&["a"]);
        assert_eq!(rig.claims().len(), usize::from(state == BuilderState::Idle), "{orders:?}");
        // After a restart, the history tells.
        let mut later = Rig::new();
        let told = told.last().copied().unwrap_or_default();
        later.tell(Msg::Told { builder: key(1), name: info(1).name, told });
        assert_eq!(later.builder(1).0, BuilderState::Away);
        later.up(1);
        let again: Vec<String> = later.said();
        let want = match told {
            Told { exit: Some(_), .. } => vec!["exit"],
            Told { drained: true, .. } => vec!["drain"],
            _ => vec![],
        };
        assert_eq!(again, want, "{orders:?}");
        assert_eq!(later.builder(1).0, state, "{orders:?}");
        // A process that is started after one was told to end is not told to end.
        later.up_with(BuilderInfo { instance: 2, ..info(1) });
        let sends = later.out.iter().filter(|effect| matches!(effect, Effect::Send(_, ToBuilder::Exit)));
        assert_eq!(sends.count(), 0);
    }
}

#[test]
fn release_ends_an_automatic_quarantine() {
    let mut rig = Rig::new();
    rig.tell(Msg::Scanned);
    rig.up(1);
    for name in ["a", "b", "c"] {
        rig.drop_in(&[name]);
        rig.build(name, 1, Verdict::Infra);
    }
    let (state, why) = rig.builder(1);
    assert_eq!((state, why.as_str()), (BuilderState::Quarantined, "3 times infra or lost in a row"));
    rig.change(Order::Release, &[], &[1]);
    assert_eq!(rig.said(), ["yes"]);
    assert_eq!(rig.builder(1).0, BuilderState::Idle);
}

#[test]
fn decisions_change_state_place_and_owners() {
    let decide = |rig: &mut Rig, folder: &str, decision| {
        let binaries = vec!["a".to_owned()];
        let (folder, source, who) = (folder.to_owned(), "a".to_owned(), ANN.to_owned());
        rig.tell(Msg::Decided { srpm: file("a"), folder, decision, source, binaries, who });
    };
    for (state, decision, then, owner) in [
        ("review", Decision::Accepted, PackageState::Success, Some("a")),
        ("review", Decision::Refused, PackageState::Failed, Some("d")),
        ("success", Decision::Retracted, PackageState::Cancelled, None),
    ] {
        let mut rig = in_state(state);
        decide(&mut rig, "x-1-1", decision);
        assert_eq!(rig.events(), [format!("ordered {then} ann")]);
        assert_eq!(rig.row("a").0, then);
        assert_eq!(rig.queue.owners.source_of("a"), owner, "{decision:?}");
    }
    // Of two published results the earlier one counts again.
    let mut rig = Rig::new();
    for (folder, ago_s) in [("a-1-1", 20), ("a-1-1@2", 10)] {
        rig.tell(past(folder, Verdict::Success, None, None, ago_s));
    }
    rig.tell(Msg::FinishedChanged { srpm: file("a"), present: true });
    decide(&mut rig, "a-1-1@2", Decision::Retracted);
    assert_eq!(rig.row("a").0, PackageState::Success);
    assert_eq!(rig.view().packages[0].row.place.as_str(), "a-1-1");
}

fn past(folder: &str, verdict: Verdict, held: Option<&str>, decision: Option<Decision>, ago_s: u64) -> Msg {
    let result = PastResult {
        folder: folder.to_owned(),
        builder: None,
        verdict,
        reason: "why".to_owned(),
        held: held.map(str::to_owned),
        decision: decision.map(|decision| (decision, ANN.to_owned())),
        ago_s,
    };
    Msg::Past { srpm: file("a"), result }
}

#[test]
fn finished_packages_are_after_a_restart_what_they_were_before() {
    use Decision::{Accepted, Refused, Retracted};
    for (held, decision, verdict, want) in [
        (None, None, Verdict::Success, PackageState::Success),
        (None, None, Verdict::Failed, PackageState::Failed),
        (None, None, Verdict::Excluded, PackageState::Excluded),
        (Some("x"), None, Verdict::Success, PackageState::Review),
        (Some("x"), Some(Accepted), Verdict::Success, PackageState::Success),
        (Some("x"), Some(Refused), Verdict::Success, PackageState::Failed),
        (None, Some(Retracted), Verdict::Success, PackageState::Cancelled),
    ] {
        let mut rig = Rig::new();
        rig.tell(past("a-1-1", verdict, held, decision, 100));
        assert!(rig.view().packages.is_empty(), "its SRPM was not seen yet");
        rig.tell(Msg::FinishedChanged { srpm: file("a"), present: true });
        assert_eq!(rig.row("a").0, want);
        assert_eq!(rig.view().packages[0].row.age_s, 100);
        // Cancelled afterwards, with no result of its own; or long before.
        for (ago_s, want) in [(200, want), (50, PackageState::Cancelled)] {
            let (state, text) = (PackageState::Cancelled, "x".to_owned());
            rig.tell(Msg::EndedAs { srpm: file("a"), state, text, ago_s });
            assert_eq!(rig.row("a").0, want);
        }
        // Built again it is none of that any longer.
        rig.drop_in(&["a"]);
        assert_eq!(rig.row("a").0, PackageState::Waiting);
    }
}

#[test]
fn what_was_there_at_the_start_is_no_news_and_what_comes_later_is() {
    let mut rig = Rig::new();
    rig.drop_in(&["a", "b"]);
    assert_eq!(rig.events(), [""; 0]);
    rig.tell(Msg::Scanned);
    rig.drop_in(&["c"]);
    assert_eq!(rig.events(), ["waiting waiting"]);
    rig.up(1);
    rig.build("a", 1, Verdict::Deps);
    assert_eq!(rig.events(), ["builder-up", "leased building", "ended deps"]);
    rig.tell(news("x"));
    assert_eq!(rig.events(), ["waiting waiting"]);
    rig.build("a", 1, Verdict::Success);
    assert_eq!(rig.events(), ["leased building", "ended success"]);
    rig.tell(Msg::Vanished { srpm: file("b") });
    assert_eq!(rig.events(), ["left"]);
    rig.tell(Msg::BuilderDown { builder: key(1) });
    rig.tell(Msg::BuilderDown { builder: key(1) });
    assert_eq!(rig.events(), ["builder-down"]);
}

#[test]
fn a_publication_that_wakes_many_is_one_event() {
    let mut rig = Rig::new();
    rig.tell(Msg::Scanned);
    let names: Vec<String> = (0..40).map(|n| format!("p{n}")).collect();
    rig.up(1);
    for name in &names {
        rig.ready(1);
        rig.drop_in(&[name]);
        rig.build(name, 1, Verdict::Deps);
    }
    rig.effects();
    rig.tell(news("x"));
    let events: Vec<Event> = rig
        .effects()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Desk(desk::Msg::Event(event)) => Some(event),
            _ => None,
        })
        .collect();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].kind, &events[0].srpm), (EventKind::Waiting, &None));
    assert!(events[0].text.starts_with("40 packages"), "{}", events[0].text);
}

#[test]
fn the_view_says_why() {
    let mut rig = Rig::new();
    let rule = |glob: &str, word: &str| OptionRule { glob: glob.to_owned(), words: vec![Line::lossy(word)] };
    rig.tell(Msg::Options(vec![rule("a*", "--nocheck"), rule("b-1-1", "--x"), rule("[a]*", "--y")]));
    rig.tell(Msg::Priority(vec!["x.src.rpm".to_owned(), "b-1-1.src.rpm".to_owned()]));
    rig.drop_in(&["a", "b", "c"]);
    assert_eq!(rig.row("b").1, "number 1 in the queue");
    assert_eq!(rig.row("c").1, "number 3 in the queue");
    rig.up(1);
    rig.build("b", 1, Verdict::Infra);
    rig.ready(1);
    rig.build("a", 1, Verdict::Deps);
    rig.lose("c", 1, Verdict::Lost);
    let view = rig.view();
    let words = |at: usize| view.packages[at].options.iter().map(Line::as_str).collect::<Vec<_>>();
    assert_eq!((words(0), words(1), words(2)), (vec!["--nocheck", "--y"], vec!["--x"], vec![]));
    assert_eq!(view.packages[0].wants, ["x"]);
    let a = &view.packages[0].row;
    assert_eq!(
        (a.nevr.as_str(), a.size, a.builder.as_ref().map(FileName::as_str)),
        ("a-1-1", 100, Some("b1"))
    );
    assert_eq!(view.packages[1].row.priority, 2);
    assert_eq!(view.packages[2].row.charged, 1);
    assert_eq!(view.idle, None);
    rig.ready(1);
    assert_eq!(rig.row("a"), (PackageState::Deps, "waits for x; tried again in 24 h".to_owned()));
    assert_eq!(rig.row("c"), (PackageState::Waiting, "is being leased to b1".to_owned()));
    assert_eq!(rig.row("b").1, "not again so soon on b1: in 10 min");
    rig.up(2);
    rig.tell(Msg::ClaimFailed { srpm: file("b"), builder: key(2), why: ClaimFailure::Leased });
    assert_eq!(rig.row("b").1, "the last try to lease it failed: again in a moment");
    rig.tell(Msg::Space { free_bytes: 1 << 20, floor_bytes: 2 << 20 });
    assert_eq!(rig.row("b").1, "nothing is leased: 1 MiB free, 2 are needed");
    assert_eq!(rig.view().blocked.as_deref(), Some("1 MiB free, 2 are needed"));
}

#[test]
#[ignore = "a measurement: run it with --release --nocapture"]
fn a_view_of_25_000_packages_is_fast() {
    let mut rig = Rig::new();
    let rules =
        (0..200).map(|n| OptionRule { glob: format!("p{n}-*"), words: vec![Line::lossy("--nocheck")] });
    rig.tell(Msg::Options(rules.collect()));
    for n in 0..25_000 {
        rig.drop_in(&[&format!("p{n}")]);
    }
    let measure = |rig: &mut Rig, what| {
        let clock = Real::default();
        rig.view();
        println!("{what}: {} ms", clock.now().0);
    };
    measure(&mut rig, "nobody is idle");
    // A thousand idle builders that may have nothing.
    rig.tell(Msg::Target { arch: "aarch64".to_owned() });
    for n in 0..1_000u16 {
        let [high, low] = n.to_be_bytes();
        let mut id = [7; 32];
        (id[0], id[1]) = (high, low);
        rig.up_with(BuilderInfo { id: PublicKey(id), ..info(1) });
    }
    measure(&mut rig, "a thousand idle builders");
}

#[test]
fn a_view_of_thousands_is_made_in_pieces_and_what_comes_between_is_in_it() {
    let mut rig = Rig::new();
    let names: Vec<String> = (0..3_000).map(|n| format!("p{n:04}")).collect();
    names.iter().for_each(|name| rig.drop_in(&[name]));
    rig.effects();
    let view_of = |effect| match effect {
        Effect::Desk(desk::Msg::View(view)) => Some(view),
        _ => None,
    };
    rig.tell(Msg::Look);
    let mut pieces = 1;
    let view = loop {
        if let Some(view) = rig.effects().into_iter().find_map(view_of) {
            break view;
        }
        assert!(rig.queue.deadline().is_some_and(|at| at <= rig.now.plus_ms(1)), "nobody goes on with it");
        if pieces == 4 {
            rig.drop_in(&["q"]);
            rig.tell(Msg::Vanished { srpm: file("p2999") });
        }
        rig.pass_ms(1);
        pieces += 1;
    };
    assert!((7..=12).contains(&pieces), "{pieces} pieces");
    let shown: Vec<&FileName> = view.packages.iter().map(|one| &one.row.srpm).collect();
    let want: Vec<FileName> = names[..2_999].iter().map(|name| file(name)).chain([file("q")]).collect();
    assert_eq!(shown, want.iter().collect::<Vec<_>>());
    let why = |at: usize| view.packages[at].row.why.as_str();
    assert_eq!((why(0), why(2_000)), ("number 1 in the queue", "number 2001 in the queue"));
    assert_eq!(why(2_999), "number 3001 in the queue");
    // Who asks again meanwhile gets one view, made from then on.
    rig.tell(Msg::Look);
    rig.pass_ms(1);
    rig.tell(Msg::Look);
    for _ in 0..20 {
        rig.pass_ms(1);
    }
    assert_eq!(rig.effects().into_iter().filter_map(view_of).count(), 1);
}

#[test]
fn a_build_that_begins_again_is_counted_for_its_package_and_said_while_it_runs() {
    let mut rig = Rig::new();
    rig.tell(Msg::Scanned);
    rig.up(1);
    rig.drop_in(&["a"]);
    let lease = rig.grant("a", 1);
    rig.effects();
    let again = |rig: &mut Rig, name: &str, text: &str| {
        rig.tell(Msg::Again { srpm: file(name), lease, builder: key(1), text: text.to_owned() });
    };
    again(&mut rig, "a", "built again: x was not in its thin repository (1 of 2)");
    again(&mut rig, "a", "built again: y was not in its thin repository (2 of 2)");
    assert_eq!(rig.events(), ["again building", "again building"]);
    again(&mut rig, "nobody", "");
    assert_eq!(rig.events(), Vec::<String>::new());
    let widened = |rig: &mut Rig| rig.view().packages[0].row.widened;
    let why = "built again: y was not in its thin repository (2 of 2)";
    assert_eq!((widened(&mut rig), rig.row("a").1), (2, why.to_owned()));
    rig.end("a", lease, 1, finished(Verdict::Success));
    assert_eq!((widened(&mut rig), rig.row("a").1), (2, String::new()));
    assert_eq!(rig.charged("a"), 0);
}
