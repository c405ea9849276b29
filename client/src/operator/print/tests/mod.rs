//! What operators see, exactly.
//!
//! Owns rows to print ([`package`], [`builder`], [`farm`]); `scenes` makes farms of them.

use moji_proto::message::{
    AttemptRow, Backend, BlockedRow, BuilderRow, BuilderState, CycleRow, EventKind, EventRow, FarmRow,
    Health, LackRow, PackageRow, PackageState, Phase, Topic, Verdict,
};
use moji_proto::{FileName, LeaseId, Line, PublicKey};

use super::*;

mod hostile;
mod json;
mod scenes;
mod screens;
mod small;
mod why;

/// 2026-11-22 19:31:05 UTC.
const NOW: u64 = 1_795_375_865;

const LEASE: LeaseId = LeaseId { incarnation: 1_795_370_190, counter: 7 };

/// A terminal of 80 columns, an hour east of Greenwich, without colours.
fn terminal() -> Style {
    Style { width: Some(80), colour: false, now_unix_s: NOW, zone: Zone::of_machine(Some("CET-1")) }
}

fn piped() -> Style {
    Style { width: None, ..terminal() }
}

fn coloured() -> Style {
    Style { colour: true, ..terminal() }
}

fn line(text: &str) -> Line {
    Line::lossy(text)
}

fn file(name: &str) -> FileName {
    FileName::new(name).unwrap()
}

fn text(topic: Topic, text: &str) -> Text {
    Text { topic, line: line(text) }
}

fn farm() -> FarmRow {
    FarmRow {
        unix_s: NOW,
        up_s: 273_600,
        version: file("0.1.0"),
        target: line("armv5tel"),
        packages: [0; 11],
        builders: [0; 9],
        free_bytes: 412 << 30,
        floor_bytes: 10 << 30,
        blocked: line(""),
        idle: line(""),
        rpms: 12_408,
        ends_in_s: 0,
        thin: line(""),
    }
}

fn package(nvr: &str, state: PackageState) -> PackageRow {
    PackageRow {
        srpm: file(&format!("{nvr}.src.rpm")),
        nevr: line(""),
        state,
        why: line(""),
        age_s: 11_100,
        size: 0,
        priority: 0,
        charged: 0,
        lease: None,
        builder: None,
        phase: None,
        phase_age_s: 0,
        line: line(""),
        place: line(""),
        expected_s: 0,
        widened: 0,
    }
}

fn building(nvr: &str, on: &str, phase: Phase, age_s: u32, last: &str) -> PackageRow {
    PackageRow {
        age_s,
        lease: Some(LEASE),
        builder: Some(file(on)),
        phase: Some(phase),
        phase_age_s: age_s / 2,
        line: line(last),
        ..package(nvr, PackageState::Building)
    }
}

fn builder(name: &str, state: BuilderState) -> BuilderRow {
    BuilderRow {
        name: line(name),
        key: PublicKey([0xab; 32]),
        peer: line("192.0.2.7"),
        state,
        why: line(""),
        until_s: 0,
        age_s: 187_200,
        arch: line("armv5tel"),
        version: line("0.1.0"),
        cfg: line("fedora-42-armv5tel"),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 128,
        health: Health {
            disk_free_mib: 5_120,
            memory_free_mib: 61,
            load_centi: 107,
            celsius: Some(54),
            clock_off_s: -3,
            trouble: None,
        },
        srpm: None,
        phase: None,
        faults: 0,
        built: 0,
        failed: 0,
        suspect: line(""),
    }
}

fn event_row(kind: EventKind) -> EventRow {
    EventRow {
        seq: 1_795_370_190_000_007,
        unix_ms: NOW * 1_000 + 42,
        kind,
        srpm: None,
        lease: None,
        builder: None,
        verdict: None,
        phase: None,
        state: None,
        who: line(""),
        text: line(""),
    }
}

fn attempt(number: u16, verdict: Option<Verdict>) -> AttemptRow {
    AttemptRow {
        number,
        lease: LEASE,
        builder: line("board7"),
        began_unix_s: NOW - 7_200,
        ended_unix_s: NOW - 6_480,
        seconds: 655,
        verdict,
        reason: line(""),
        charged: true,
        place: line(""),
    }
}

/// Compares line by line, so that a difference can be seen.
#[track_caller]
fn check(got: &str, want: &str) {
    // Screens begin on the line after their quote.
    let want = want.strip_prefix('\n').unwrap_or(want);
    assert!(got == want, "got\n{got}---\nwant\n{want}---\n{got:?}");
}
