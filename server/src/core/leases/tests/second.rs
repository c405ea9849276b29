//! A second lease beside the main one: every message in every state of both, and a restart in between.

use super::*;

const SRPM: &str = "a.src.rpm";

/// Lease 1 is builder 1's, lease 2 is builder 2's beside it; builder 3 is idle.
fn in_state(state: &str) -> Bench {
    let mut bench = Bench::new();
    for builder in [1, 2, 3] {
        bench.connect(builder, builder.into(), Vec::new());
        bench.say(Msg::Ready { session: SessionId(builder.into()) });
    }
    let steps: &[&str] = match state {
        "arriving" => &["claim 1", "moved 1", "beside 2"],
        "both" => &["claim 1", "moved 1", "beside 2", "moved 2"],
        "away 1" => &["claim 1", "moved 1", "taken 1", "beside 2", "moved 2", "taken 2", "gone 1"],
        "away 2" => &["claim 1", "moved 1", "taken 1", "beside 2", "moved 2", "taken 2", "gone 2"],
        "sealed" => &["claim 1", "moved 1", "beside 2", "moved 2", "built 1"],
        "parked" => &["claim 1", "moved 1", "beside 2", "moved 2", "built 1", "built 2"],
        "taken over" => &["claim 1", "moved 1", "beside 2", "moved 2", "built 2"],
        _ => panic!("{state}"),
    };
    steps.iter().for_each(|step| drop(say(&mut bench, step)));
    bench
}

/// Says what the words mean: what happens, and to which lease or builder.
fn say(bench: &mut Bench, step: &str) -> String {
    let (what, number) = step.split_once(' ').unwrap_or((step, "0"));
    let number: u32 = number.parse().unwrap();
    let (lease, session, builder) = (id(number), SessionId(number.into()), number as u8);
    let failed = || Report { exit: Exit::Code(1), ..report() };
    let defect = || Some((moji_proto::message::RejectedWhy::Foreign, "x".to_owned()));
    let settled = |outcome| Msg::Settled { lease, outcome };
    let msg = match what {
        "claim" | "beside" => Msg::Claim {
            srpm: name(SRPM),
            builder: PublicKey([builder; 32]),
            options: Vec::new(),
            limits: Limits::default(),
            beside: what == "beside",
        },
        "moved" => Msg::Moved { lease, moved: true },
        "missing" => Msg::Moved { lease, moved: false },
        "taken" => Msg::Taken { lease },
        "gone" => Msg::Disconnected { session },
        "tick" => {
            bench.now = bench.now.plus_ms(GRACE_MS);
            Msg::Tick
        }
        "release" => Msg::Release { session, lease, why: ReleaseWhy::Stopped },
        "unfit" => Msg::Unfit { lease, why: "x".into(), damaged: false, has_job: false },
        "damaged" => Msg::Unfit { lease, why: "x".into(), damaged: true, has_job: false },
        "built" => Msg::Sealing { lease, report: report() },
        "failed" => Msg::Sealing { lease, report: failed() },
        "defect" => Msg::Sealing { lease, report: Report { defect: defect(), ..report() } },
        "unsealed" => Msg::Unsealed { lease },
        "committed" => settled(Outcome::Committed { folder: "a-1-1".into(), verdict: Verdict::Success }),
        "kept" => settled(Outcome::Kept { verdict: Verdict::Infra }),
        "cancel" => Msg::Cancel { srpm: name(SRPM) },
        "absent" => Msg::Inspected { srpm: name(SRPM), present: false },
        "with" | "without" => {
            let held = if what == "with" { vec![held(lease)] } else { Vec::new() };
            Msg::Connected { session: SessionId(10 + u64::from(number)), info: info(builder), held }
        }
        _ => panic!("{step}"),
    };
    bench.say(msg)
}

#[test]
fn every_state_of_two_leases_answers_every_message_as_the_table_says() {
    let mut wrong = Vec::new();
    for line in include_str!("second.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut cells = line.splitn(3, '|').map(str::trim);
        let (state, step, want) = (cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap());
        let got = say(&mut in_state(state), step);
        if got != want {
            wrong.push(format!("{state:<11}| {step:<12}| {got}"));
        }
    }
    assert!(wrong.is_empty(), "the core does otherwise:\n{}", wrong.join("\n"));
}

/// Says these one after the other; the words of the last.
fn story(bench: &mut Bench, steps: &[&str]) -> String {
    steps.iter().fold(String::new(), |_, step| say(bench, step))
}

/// What is known of both leases at a start of the hub.
fn past() -> Past {
    let grant = |builder, beside| Grant { srpm: name(SRPM), builder: PublicKey([builder; 32]), beside };
    let live = BTreeMap::from([(id(1), grant(1, None)), (id(2), grant(2, Some(id(1))))]);
    Past { live, incarnation: RUN, ..Past::default() }
}

fn restarted() -> Bench {
    Bench::with(GRACE_MS, past())
}

#[test]
fn both_leases_are_taken_up_after_a_restart_and_either_may_win() {
    let mut told = Vec::new();
    drop(Leases::new(Config { grace_ms: 0 }, past(), Time(0), &mut told));
    assert_eq!(words(&told), "Granted Second");

    let both = &["with 1", "with 2"];
    for (steps, want) in [
        (&["built 2"][..], "Cancel Close final 1:Outdone Judge"),
        (&["built 1", "committed 1"], "Cancel Close final 2:Outdone Working>Finished"),
        (&["built 1", "kept 1"], "final 1:Infra"),
        (&["built 1", "built 2", "kept 1"], "final 1:Infra Judge"),
    ] {
        let mut bench = restarted();
        assert_eq!(story(&mut bench, both), "Welcome BuilderUp Adopt");
        assert_eq!(story(&mut bench, steps), want, "{steps:?}");
    }
    // Nobody comes back: the file goes back once.
    let mut bench = restarted();
    assert_eq!(story(&mut bench, &["tick"]), "Close expired 1:Lost Close Working>Source");
    assert_eq!(story(&mut bench, &["moved 2"]), "expired Ended:Returned(Lost)");
    assert_eq!(bench.core.leased().len(), 0);
}

#[test]
fn a_main_lease_that_was_outdone_and_lives_after_a_crash_does_no_harm() {
    // The end of lease 1 was lost; its builder has dropped the build, or has not heard of that.
    for (first, want) in
        [("without 1", "Welcome BuilderUp Close expired 1:Lost"), ("with 1", "Welcome BuilderUp Adopt")]
    {
        let mut bench = restarted();
        assert_eq!(say(&mut bench, first), want);
        say(&mut bench, "with 2");
        let last = story(&mut bench, &["built 2", "committed 2"]);
        assert_eq!(last, "Working>Finished", "{first}");
        assert_eq!(say(&mut bench, "moved 2"), "final Ended:Finished");
    }
}

#[test]
fn a_second_lease_that_comes_too_late_is_none_and_its_builder_stays_idle() {
    for (steps, then) in [
        (&["release 1"][..], &["moved 1"][..]),
        (&["cancel"], &["moved 1"]),
        (&["built 1"], &["committed 1", "moved 1"]),
        (&["absent"], &[]),
        (&["release 1", "moved 1"], &[]),
    ] {
        let mut bench = in_state("arriving");
        story(&mut bench, steps);
        assert_eq!(say(&mut bench, "moved 2"), "final Leased", "{steps:?}");
        story(&mut bench, then);
        assert_eq!(say(&mut bench, "claim 2"), "grant Source>Working", "{steps:?}");
    }
    let mut bench = in_state("arriving");
    assert_eq!(story(&mut bench, &["gone 2", "moved 2"]), "final NoBuilder");
}

#[test]
fn one_that_took_the_place_is_a_lease_like_any_and_may_have_a_second() {
    for steps in [&["release 1"][..], &["unfit 1"], &["without 1"]] {
        let mut bench = in_state("both");
        story(&mut bench, steps);
        assert_eq!(bench.core.mains(), bench.core.leased());
        assert_eq!(say(&mut bench, "beside 2"), "Leased", "not beside its own: {steps:?}");
        assert_eq!(say(&mut bench, "beside 3"), "grant Working>Working");
        assert_eq!(say(&mut bench, "moved 3"), "Second Open");
        assert_eq!(say(&mut bench, "built 3"), "Cancel Close final 2:Outdone Judge");
    }
}

#[test]
fn a_journal_written_anew_knows_which_of_both_is_the_main_one() {
    for (state, want) in [
        ("both", &[(1, None), (2, Some(1))][..]),
        ("parked", &[(1, None), (2, Some(1))]),
        ("taken over", &[(2, None)]),
    ] {
        let (live, _) = crate::journal::fold(in_state(state).core.records());
        let live: Vec<_> =
            live.iter().map(|(id, grant)| (id.counter, grant.beside.map(|main| main.counter))).collect();
        assert_eq!(live, want, "{state}");
    }
}
