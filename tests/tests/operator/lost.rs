//! `history.db` is lost: what `show`, `builders` and `history` say comes back from the folders.

use std::fs;

use moji_tests::{Farm, Outcome, SOON};
use serde_json::Value;

use crate::quick::quick;
use crate::{drop_planned, object, objects, ok, own_error, wait_state};

/// Takes out the times: what the history was told and what was written into a folder are two moments.
fn without_times(mut row: Value) -> Value {
    let fields = row.as_object_mut().expect("an object");
    for (key, is_known) in [("began", true), ("ended", true), ("time", true), ("seq", false)] {
        if let Some(value) = fields.remove(key) {
            assert!(!is_known || value.as_str().is_some_and(|text| text.starts_with("20")), "{key}: {value}");
        }
    }
    row
}

/// Events that the folders can tell.
fn history(farm: &Farm) -> Vec<Value> {
    let events = objects(farm, &["history", "-n", "1000"]).into_iter();
    events
        .filter(|event| ["leased", "ended"].map(Value::from).contains(&event["kind"]))
        .map(without_times)
        .collect()
}

/// Attempts as `show` says them.
fn attempts(farm: &Farm, name: &str) -> Vec<Value> {
    let all = object(farm, &["show", name])["attempts"].clone();
    all.as_array().expect("rows").iter().cloned().map(without_times).collect()
}

#[test]
fn attempts_builders_and_their_events_come_back_from_the_folders() {
    let mut farm = Farm::plan().start();
    farm.drop_file(&quick(&farm, "good", "1").srpm);
    wait_state(&farm, "good", "success");
    drop_planned(&farm, "bad", own_error());
    wait_state(&farm, "bad", "failed");
    ok(&farm, &["retry", "bad"]);
    farm.wait_until("its second result", SOON, |farm| farm.results("bad-1-1").len() == 2);
    wait_state(&farm, "bad", "failed");
    // No result: it goes back and is held.
    drop_planned(&farm, "wants", crate::lacks_ghost());
    wait_state(&farm, "wants", "deps");
    drop_planned(&farm, "never", Outcome::exit(0));
    wait_state(&farm, "never", "failed");
    let names = ["good", "bad", "wants", "never"];
    let before = names.map(|name| attempts(&farm, name));
    let events = history(&farm);
    assert_eq!(before[1].len(), 2, "{:?}", before[1]);
    assert_eq!(events.len(), 10, "{events:?}");

    // Nobody builds what waits again after the start: only what was is to be seen.
    farm.builder(0).term(SOON);
    assert_eq!(farm.hub().term(SOON).code(), Some(0));
    for file in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = fs::remove_file(farm.state().join(file));
    }
    farm.start_hub();
    farm.wait_hub_says("the history is new: filled from 4 results and 1 other attempts");
    wait_state(&farm, "bad", "failed");
    assert_eq!(names.map(|name| attempts(&farm, name)), before);
    assert_eq!(history(&farm), events);
    // Kept once more: what came back is a history like any other.
    crate::restart_hub(&mut farm);
    wait_state(&farm, "bad", "failed");
    assert_eq!(names.map(|name| attempts(&farm, name)), before);
    assert_eq!(history(&farm), events);
}
