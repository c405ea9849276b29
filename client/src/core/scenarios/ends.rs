//! Builders that drain, stop, or are told to go on.

use super::*;

#[test]
fn a_drained_builder_finishes_and_exits_with_0() {
    let mut script = Script::in_stage("building");
    script.on(Event::Drain);
    assert_eq!(script.did()[..2], [Effect::StoreDrain(true), Effect::Send(FromBuilder::Draining)]);
    // Remembered across a reconnect.
    script.reconnect();
    script.did();
    script.hear(adopted([0; 4]));
    assert!(script.said().contains(&FromBuilder::Draining));
    script.pong();
    script.on(Event::Ended { lease: lease(1), summary: summary() });
    script.did();
    script.hear(ToBuilder::Accepted { lease: lease(1), verdict: Verdict::Success });
    let did = script.did();
    assert_eq!(did[..2], [Effect::Forget { lease: lease(1) }, Effect::StoreDrain(false)]);
    assert_eq!(did.last(), Some(&Effect::Exit(0)));
}

#[test]
fn a_drain_is_undone_by_a_new_session_in_which_the_build_goes_on() {
    let mut script = Script::in_stage("building");
    script.on(Event::Enable);
    assert_eq!(script.did(), [], "there is nothing to undo");
    script.on(Event::Drain).did();
    assert_eq!(script.builder.status(), "draining: a-1-1.src.rpm, building: chroot, connected");
    script.on(Event::Enable);
    assert_eq!(script.did(), [Effect::StoreDrain(false), Effect::Disconnect, Effect::Connect]);
    script.connect();
    script.did();
    script.hear(adopted([0; 4]));
    assert!(!script.said().contains(&FromBuilder::Draining));
    assert!(script.builder.status().starts_with("pkg=a-1-1.src.rpm "));
}

#[test]
fn a_drain_that_says_its_last_words_is_undone_and_a_stop_is_not() {
    let mut script = Script::ready();
    script.on(Event::Drain).did();
    assert!(script.builder.status().starts_with("stopping"));
    script.on(Event::Enable);
    assert_eq!(script.did(), [Effect::StoreDrain(false), Effect::Disconnect, Effect::Connect]);
    let mut script = Script::in_stage("building");
    script.on(Event::Stop).did();
    script.on(Event::Enable);
    assert_eq!(script.did(), []);
}

#[test]
fn status_tells_a_hub_that_is_away_from_one_that_refuses() {
    let mut script = Script::new(config());
    script.on(Event::Begin { jobs: vec![], released: vec![], draining: false });
    assert_eq!(script.builder.status(), "idle, connecting");
    script.on(Event::Disconnected("no route".into()));
    assert_eq!(script.builder.status(), "idle, hub unreachable");
    script.on(Event::Timer).pass(1_000);
    assert_eq!(script.builder.status(), "idle, hub unreachable");
    script.on(Event::Refused { why: "wrong secret".into(), code: 6 });
    assert!(script.builder.status().contains("refuses"));
}

#[test]
fn a_job_that_crosses_a_drain_is_given_back() {
    let mut script = Script::ready();
    script.on(Event::Drain);
    script.did();
    script.offer(1);
    let said = script.said();
    assert!(said.contains(&FromBuilder::Release { lease: lease(1), why: ReleaseWhy::Stopped }), "{said:?}");
    script.pong();
    assert_eq!(script.did().last(), Some(&Effect::Exit(0)));
}

#[test]
fn a_hub_that_does_not_answer_the_last_words_holds_nobody_up() {
    let mut script = Script::ready();
    script.on(Event::Drain);
    script.pass(FAREWELL_MAX_MS);
    assert_eq!(script.did().last(), Some(&Effect::Exit(0)));
}

#[test]
fn a_stop_gives_back_what_runs_and_keeps_what_is_built() {
    let release = Effect::Send(FromBuilder::Release { lease: lease(1), why: ReleaseWhy::Stopped });
    for (stage, released, ended) in [
        ("fetching", true, Some(Effect::Forget { lease: lease(1) })),
        ("building", true, Some(Effect::Kill { lease: lease(1), clean: false })),
        ("collecting", false, None),
        ("finished", false, None),
    ] {
        let mut script = Script::in_stage(stage);
        script.on(Event::Stop);
        let did = script.did();
        assert_eq!(did.contains(&release), released, "{stage}");
        assert!(ended.is_none_or(|ended| did.contains(&ended)), "{stage}");
        if stage == "building" {
            assert!(!did.contains(&Effect::Exit(0)));
            script.on(Event::Killed { lease: lease(1) });
        }
        script.pass(FAREWELL_MAX_MS);
        assert!(!released || script.did().contains(&Effect::Exit(0)), "{stage}");
        assert_eq!(script.builder.deadline(), None, "{stage}");
    }
}

#[test]
fn a_stop_while_the_hub_is_away_stores_the_release_and_exits_at_once() {
    let mut script = Script::in_stage("building");
    script.on(Event::Disconnected("broke".to_owned()));
    script.did();
    script.on(Event::Stop).on(Event::Killed { lease: lease(1) });
    let did = script.did();
    assert!(matches!(&did[0], Effect::StoreReleases(list) if list[0].why == ReleaseWhy::Stopped));
    assert_eq!(did.last(), Some(&Effect::Exit(0)));
}
