//! Connections that are cut, stalled, slow or refused at every stage of a job: the job goes on.
//!
//! Owns the scenarios in which only the network fails. The proxy between builder and hub does it.

mod pieces;

use std::time::Duration;

use moji_tests::{Direction, Farm, SOON};
use pieces::{
    assert_done_once, assert_no_spool, at_gate, builder_log, drop_planned, hub_lines, hub_log, leases, plan,
};

/// What both sides may take to notice a black hole: 60 s of silence, and some for a busy machine.
const NOTICED: Duration = Duration::from_secs(100);

fn farm() -> Farm {
    let farm = Farm::plan().through_proxy().start();
    farm.wait_builder_says(0, "registered with the hub");
    farm
}

/// How often a builder has registered, all its runs.
fn registrations(farm: &Farm) -> usize {
    builder_log(farm, 0).matches("registered with the hub").count()
}

#[test]
fn a_cut_at_any_byte_of_the_download_lets_the_same_lease_fetch_on() {
    let farm = farm();
    // The first piece of the SRPM comes behind some 100 bytes of Job.
    for (number, bytes) in [200, 5_000, 40_000, 262_144, 300_000, 900_000].into_iter().enumerate() {
        let package = plan(&farm, &format!("down{number}"), 1000, 1, None);
        let (trips, before) = (farm.proxy().trips(), farm.proxy().bytes(Direction::ToBuilder));
        farm.proxy().cut_after(Direction::ToBuilder, bytes);
        drop_planned(&farm, &package);
        assert_done_once(&farm, 0, &package);
        assert_eq!(farm.proxy().trips(), trips + 1, "cut after {bytes}");
        assert_eq!(leases(&farm, &package.srpm), 1, "cut after {bytes}\n{}", farm.diagnosis());
        // What was here already is not sent again, but for one piece of a `Fetch`.
        let sent = farm.proxy().bytes(Direction::ToBuilder) - before;
        assert!(sent < package.srpm_bytes * 105 / 100 + 300_000, "cut after {bytes}: {sent}");
    }
}

#[test]
fn a_cut_before_the_builder_knows_of_its_job_costs_nothing() {
    let farm = Farm::plan().through_proxy().hub_args(["--attempts", "1"]).start();
    for (number, bytes) in [0, 20].into_iter().enumerate() {
        farm.wait_until("the builder to be idle", SOON, |farm| {
            registrations(farm) > number
                && hub_log(farm).lines().last().is_some_and(|line| line.contains("nothing to"))
        });
        let package = plan(&farm, &format!("job{number}"), 1, 1, None);
        farm.proxy().cut_after(Direction::ToBuilder, bytes);
        drop_planned(&farm, &package);
        assert_done_once(&farm, 0, &package);
        assert_eq!(leases(&farm, &package.srpm), 2, "{}", farm.diagnosis());
    }
}

#[test]
fn a_cut_at_any_byte_of_the_upload_resumes_it() {
    let farm = farm();
    for (number, bytes) in [0, 60, 300, 3_000, 40_000, 300_000, 1_000_000].into_iter().enumerate() {
        let gate = format!("go{number}");
        let package = plan(&farm, &format!("up{number}"), 1, 1200, Some(&gate));
        drop_planned(&farm, &package);
        at_gate(&farm, 0, &package);
        let (trips, before) = (farm.proxy().trips(), farm.proxy().bytes(Direction::ToHub));
        farm.proxy().cut_after(Direction::ToHub, bytes);
        farm.open_gate(&gate);
        assert_done_once(&farm, 0, &package);
        assert_eq!(farm.proxy().trips(), trips + 1, "cut after {bytes}");
        assert_eq!(leases(&farm, &package.srpm), 1, "cut after {bytes}\n{}", farm.diagnosis());
        let sent = farm.proxy().bytes(Direction::ToHub) - before;
        assert!(sent < package.result_bytes * 105 / 100 + 600_000, "cut after {bytes}: {sent}");
    }
}

#[test]
fn a_cut_at_any_byte_of_what_the_hub_says_about_a_result_loses_and_doubles_nothing() {
    const STEP_BYTES: u64 = 25;
    const MOST: usize = 40;
    let farm = farm();
    for number in 0..MOST {
        let gate = format!("go{number}");
        let package = plan(&farm, &format!("say{number}"), 1, 1, Some(&gate));
        drop_planned(&farm, &package);
        at_gate(&farm, 0, &package);
        let trips = farm.proxy().trips();
        farm.proxy().cut_after(Direction::ToBuilder, number as u64 * STEP_BYTES);
        farm.open_gate(&gate);
        assert_done_once(&farm, 0, &package);
        assert_eq!(leases(&farm, &package.srpm), 1, "step {number}\n{}", farm.diagnosis());
        if farm.proxy().trips() == trips {
            // All that the hub says passed: so one of the cuts before came right before `Accepted`.
            let log = builder_log(&farm, 0);
            assert!(
                log.contains("done already"),
                "no cut before Accepted in {number} steps\n{}",
                farm.diagnosis()
            );
            return;
        }
    }
    panic!("the hub says more than {MOST} steps about one result\n{}", farm.diagnosis());
}

#[test]
fn a_build_goes_on_while_the_hub_cannot_be_reached_and_its_result_waits() {
    let farm = farm();
    let package = plan(&farm, "away", 1, 100, Some("go"));
    drop_planned(&farm, &package);
    let mock = at_gate(&farm, 0, &package);
    farm.proxy().refuse(true);
    farm.proxy().cut();
    farm.wait_hub_says("its builder is gone: the grace begins");
    assert_eq!(farm.mocks().iter().map(|mock| mock.pid).collect::<Vec<_>>(), [mock]);
    farm.open_gate("go");
    farm.wait_builder_says(0, "ended after");
    assert_eq!(farm.places(&package.srpm), ["working"]);
    farm.proxy().refuse(false);
    assert_done_once(&farm, 0, &package);
    assert_eq!(leases(&farm, &package.srpm), 1, "{}", farm.diagnosis());
}

#[test]
fn a_hub_that_is_down_for_a_whole_build_gets_its_result_later() {
    let mut farm = farm();
    let package = plan(&farm, "down", 1, 100, Some("go"));
    drop_planned(&farm, &package);
    at_gate(&farm, 0, &package);
    farm.hub().kill9();
    farm.open_gate("go");
    farm.wait_builder_says(0, "ended after");
    farm.start_hub();
    assert_done_once(&farm, 0, &package);
    assert_eq!(leases(&farm, &package.srpm), 1, "{}", farm.diagnosis());
    assert_eq!(hub_lines(&farm, &package.srpm, "adopted: its builder is back"), 1, "{}", farm.diagnosis());
}

#[test]
fn a_black_hole_is_noticed_by_both_sides_and_the_build_goes_on() {
    let farm = farm();
    let package = plan(&farm, "hole", 1, 1, Some("go"));
    drop_planned(&farm, &package);
    let mock = at_gate(&farm, 0, &package);
    farm.proxy().stall(true);
    farm.wait_until("both to notice the silence", NOTICED, |farm| {
        hub_log(farm).contains(" disconnected: ") && builder_log(farm, 0).contains("silent for 60 s")
    });
    assert_eq!(farm.mocks().iter().map(|mock| mock.pid).collect::<Vec<_>>(), [mock]);
    farm.proxy().stall(false);
    farm.open_gate("go");
    assert_done_once(&farm, 0, &package);
    assert_eq!(leases(&farm, &package.srpm), 1, "{}", farm.diagnosis());
}

#[test]
fn a_job_works_with_every_byte_in_a_packet_of_its_own() {
    let farm = Farm::plan().through_proxy().builders(0).start();
    farm.proxy().pieces(1);
    let mut farm = farm;
    farm.add_builder();
    let package = plan(&farm, "bytes", 40, 40, None);
    drop_planned(&farm, &package);
    assert_done_once(&farm, 0, &package);
    assert_eq!(registrations(&farm), 1, "{}", farm.diagnosis());
}

#[test]
fn a_slow_line_is_no_dead_line() {
    let farm = farm();
    farm.proxy().delay(Duration::from_millis(250));
    let package = plan(&farm, "slowly", 300, 300, None);
    drop_planned(&farm, &package);
    assert_done_once(&farm, 0, &package);
    assert_eq!(registrations(&farm), 1, "{}", farm.diagnosis());
    assert_no_spool(&farm, 0);
}
