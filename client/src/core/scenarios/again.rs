//! Builds that begin again since the repository was not enough.

use super::*;

const PLACE: &str = "/thin/0f2e/";

fn alone(url: &str) -> Repos {
    Repos { urls: vec![url.to_owned()], alone: true }
}

fn again(place: &str) -> ToBuilder {
    ToBuilder::Again { lease: lease(1), place: Line::lossy(place) }
}

fn record_at(place: &str) -> JobRecord {
    JobRecord { place: Line::lossy(place), ..record(1) }
}

fn started(did: &[Effect]) -> Vec<(&JobRecord, &Repos)> {
    let starts = did.iter().filter_map(|effect| match effect {
        Effect::Start { record, repos } => Some((record, repos)),
        _ => None,
    });
    starts.collect()
}

#[test]
fn a_job_with_a_place_is_built_with_that_alone_and_has_it_in_its_record() {
    for (place, repos) in [
        (PLACE, alone("http://[::1]:6780/thin/0f2e/")),
        ("http://elsewhere/thin/", alone("http://elsewhere/thin/")),
        ("", Repos { urls: vec!["http://[::1]:6780/repo/".into(), "http://mirror/x/".into()], alone: false }),
    ] {
        let mut script = Script::ready();
        script.offer_at(1, place);
        assert_eq!(script.did()[0], Effect::StoreJob(record_at(place)));
        script.fetch(1);
        assert_eq!(started(&script.did()), [(&record_at(place), &repos)]);
    }
}

#[test]
fn a_result_that_lacked_something_is_thrown_away_and_built_again_from_the_first_byte_of_its_logs() {
    let mut script = Script::in_stage("building");
    script.on(Event::LogGrown { lease: lease(1), which: Which::Root, size: 10 });
    script.on(Event::Ended { lease: lease(1), summary: summary() }).did();
    for place in [PLACE, ""] {
        script.hear(again(place));
        let did = script.did();
        assert_eq!(started(&did)[0].0, &record_at(place));
        assert_eq!(started(&did)[0].1.alone, !place.is_empty());
        assert_eq!(
            did.last(),
            Some(&Effect::Send(FromBuilder::Phase { lease: lease(1), phase: Phase::Init }))
        );
        script.on(Event::LogGrown { lease: lease(1), which: Which::Root, size: 5 });
        let log = Effect::SendLog { lease: lease(1), which: Which::Root, offset: 0, length: 5 };
        assert_eq!(script.did(), [log]);
        script.on(Event::Ended { lease: lease(1), summary: summary() });
        assert!(matches!(script.said()[0], FromBuilder::Results { .. }));
    }
    script.hear(ToBuilder::Accepted { lease: lease(1), verdict: Verdict::Success });
    assert_eq!(script.said(), [FromBuilder::Ready]);
}

#[test]
fn a_builder_that_drains_builds_again_and_one_that_stops_gives_the_lease_back() {
    let mut script = Script::in_stage("finished");
    script.on(Event::Drain).hear(again(PLACE));
    assert_eq!(started(&script.did()).len(), 1);

    let mut script = Script::in_stage("finished");
    script.builder.mode = Mode::Stopping;
    script.hear(again(PLACE));
    let did = script.did();
    assert!(started(&did).is_empty());
    let release = FromBuilder::Release { lease: lease(1), why: ReleaseWhy::Stopped };
    assert!(
        did.contains(&Effect::Send(release)) && did.contains(&Effect::Forget { lease: lease(1) }),
        "{did:?}"
    );
}

#[test]
fn a_build_that_cannot_be_started_again_is_given_back() {
    let mut script = Script::in_stage("finished");
    script.hear(again(PLACE));
    script.on(Event::JobFailed { lease: lease(1), why: "start the build".to_owned() });
    let release = FromBuilder::Release { lease: lease(1), why: ReleaseWhy::Disk };
    assert!(script.said().contains(&release));
}

#[test]
fn what_is_found_on_the_way_to_another_build_goes_on_with_its_place() {
    // The former result, or a job that was not begun: both have the wider place in their record.
    let found = |stage| Found { record: record_at(PLACE), stage };
    let mut script = Script::new(config());
    script.begin(vec![found(FoundStage::Finished(summary()))], vec![]);
    script.connect();
    script.did();
    script.hear(adopted([9; 4]));
    assert!(matches!(script.said()[0], FromBuilder::Results { .. }));
    script.hear(again(PLACE));
    assert_eq!(started(&script.did())[0].0, &record_at(PLACE));

    let mut script = Script::new(config());
    script.begin(vec![found(FoundStage::Fetching)], vec![]);
    script.connect();
    script.hear(adopted([0; 4])).fetch(1);
    assert_eq!(started(&script.did()), [(&record_at(PLACE), &alone("http://[::1]:6780/thin/0f2e/"))]);
}

#[test]
fn again_at_the_wrong_moment_ends_the_session() {
    for stage in ["fetching", "building", "collecting", "uploading"] {
        let mut script = Script::in_stage(if stage == "uploading" { "finished" } else { stage });
        if stage == "uploading" {
            script.hear(ToBuilder::Want { lease: lease(1), file: 0, offset: 0 });
        }
        script.hear(again(PLACE));
        let did = script.did();
        assert!(did.contains(&Effect::Disconnect) && started(&did).is_empty(), "{stage}");
        assert_eq!(script.builder.jobs.len(), 1, "the job stays");
    }
    let mut script = Script::ready();
    script.hear(again(PLACE));
    assert!(script.did().contains(&Effect::Disconnect), "nobody's lease");
}

#[test]
fn again_that_crosses_a_release_is_passed_over() {
    let mut script = Script::in_stage("building");
    script.on(Event::ShimDied { lease: lease(1) }).did();
    script.hear(again(PLACE));
    script.on(Event::Killed { lease: lease(1) });
    script.hear(again(PLACE));
    let did = script.did();
    assert!(!did.contains(&Effect::Disconnect) && started(&did).is_empty(), "{did:?}");
}

#[test]
fn what_is_installed_first_is_said_with_the_name() {
    let mut script = Script::new(Config { weak: true, ..config() });
    script.begin(vec![], vec![]);
    let said = script.connect();
    let FromBuilder::Register { setup, weak, .. } = &said[0] else { panic!("{said:?}") };
    assert_eq!((setup.as_str(), *weak), ("install @buildsys-build", true));
}
