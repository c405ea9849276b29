//! JSON: exact objects, and that whatever a text holds comes back from another parser.

use moji_proto::message::{NoCode, Trouble};
use serde_json::Value;

use super::super::json;
use super::*;

#[test]
fn a_package_has_the_fields_of_its_row() {
    let row = package("zlib-1.3-1", PackageState::Waiting);
    check(
        &json::package(&row),
        r#"
{"srpm":"zlib-1.3-1.src.rpm","nevr":"","state":"waiting","why":"","age_s":11100,"size":0,"priority":0,"charged":0,"lease":null,"builder":null,"phase":null,"phase_age_s":0,"line":"","place":"","expected_s":0,"widened":0}
"#,
    );
    let row = building("zlib-1.3-1", "board7", Phase::Build, 720, "gcc \"a\\b\" -O2");
    check(
        &json::package(&row),
        r#"
{"srpm":"zlib-1.3-1.src.rpm","nevr":"","state":"building","why":"","age_s":720,"size":0,"priority":0,"charged":0,"lease":"1795370190-7","builder":"board7","phase":"build","phase_age_s":360,"line":"gcc \"a\\b\" -O2","place":"","expected_s":0,"widened":0}
"#,
    );
}

#[test]
fn a_builder_has_its_health_among_its_fields() {
    let mut row = builder("board7", BuilderState::Troubled);
    row.health.trouble = Some(Trouble::Clock);
    check(
        &json::builder(&row),
        r#"
{"name":"board7","key":"abababababababababababababababababababababababababababababababab","peer":"192.0.2.7","state":"troubled","why":"","until_s":0,"age_s":187200,"arch":"armv5tel","version":"0.1.0","cfg":"fedora-42-armv5tel","backend":"mock","cpus":1,"memory_mib":128,"disk_free_mib":5120,"memory_free_mib":61,"load_centi":107,"celsius":54,"clock_off_s":-3,"trouble":"clock","srpm":null,"phase":null,"faults":0,"built":0,"failed":0,"suspect":""}
"#,
    );
}

#[test]
fn an_event_has_its_time_in_utc_to_the_millisecond() {
    let mut row = event_row(EventKind::Ended);
    (row.verdict, row.state) = (Some(Verdict::Lost), Some(PackageState::Waiting));
    check(
        &json::event(&row),
        r#"
{"seq":1795370190000007,"time":"2026-11-22T19:31:05.042Z","kind":"ended","srpm":null,"lease":null,"builder":null,"verdict":"lost","phase":null,"state":"waiting","who":"","text":""}
"#,
    );
}

#[test]
fn answers_name_their_kind() {
    check(&json::changed(&line("zlib"), &line("waits")), "{\"changed\":\"zlib\",\"text\":\"waits\"}\n");
    check(
        &json::no(NoCode::NotFound, &line("zlb"), &line("no"), &[line("zlib")]),
        "{\"no\":\"not-found\",\"target\":\"zlb\",\"text\":\"no\",\"names\":[\"zlib\"]}\n",
    );
}

#[test]
fn status_and_show_are_one_object_each() {
    let builds = [building("zlib-1.3-1", "board7", Phase::Build, 720, "gcc")];
    let got: Value = serde_json::from_str(&json::status(&farm(), &builds, &[])).unwrap();
    assert_eq!(got["farm"]["time"], "2026-11-22T19:31:05Z");
    assert_eq!(got["farm"]["packages"].as_object().unwrap().len(), PackageState::ALL.len());
    assert_eq!(got["farm"]["builders"]["unlisted"], 0);
    assert_eq!(got["packages"][0]["phase"], "build");
    assert_eq!(got["builders"], Value::Array(vec![]));

    let texts = [text(Topic::Option, "--nocheck"), text(Topic::Wants, "foo")];
    let mut row = attempt(1, None);
    row.ended_unix_s = 0;
    let attempts = [Attempt {
        row,
        texts: vec![text(Topic::Evidence, "build.log: \"x\""), text(Topic::Provenance, "b7")],
    }];
    let row = package("zlib-1.3-1", PackageState::Failed);
    let shown = json::show(&row, &texts, &attempts);
    assert_eq!(shown.lines().count(), 1);
    let got: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(got["options"][0], "--nocheck");
    assert_eq!(got["wants"][0], "foo");
    assert_eq!(got["attempts"][0]["evidence"][0], "build.log: \"x\"");
    assert_eq!(got["attempts"][0]["provenance"][0], "b7");
    assert_eq!(got["attempts"][0]["began"], "2026-11-22T17:31:05Z");
    assert_eq!(got["attempts"][0]["ended"], Value::Null);
    assert_eq!(got["attempts"][0]["verdict"], Value::Null);
}

#[test]
fn any_text_comes_back_as_it_was_and_moves_no_cursor() {
    for text in super::hostile::TEXTS.iter().copied().chain(["\"\\/\u{7f}\u{0}", "\u{9b}", "\u{10ffff}"]) {
        // A line holds no controls; the escaping does not rely on it.
        let mut row = event_row(EventKind::Held);
        row.text = line(text);
        let written = json::event(&row);
        assert!(!written.trim_end().chars().any(super::super::text::is_hazard), "{written:?}");
        let got: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(got["text"], row.text.as_str());
        let got: Value = serde_json::from_str(&json::string(text)).unwrap();
        assert_eq!(got, text);
    }
}
