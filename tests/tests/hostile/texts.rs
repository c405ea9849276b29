//! Markup, control characters, colours of a terminal and giant texts in every field that a peer fills.
//!
//! Owns what may be said (it is shown, escaped) and what not (it ends the session). What pages do with it in a browser
//! is the browser's suites' to show.

use moji_proto::message::{Exit, FromBuilder, FromOperator, Message, Phase, ToBuilder, ToOperator, Which};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line};
use moji_tests::faults::Tally;

use crate::rogue::{End, Rogue, Upload, register, results};
use crate::scene::{Lines, Scene, log};

/// What stands where the hostile text is put; as long as the longest of [`BAD`].
const STAND_IN: &str = "STANDINSTANDINSTANDIN";

/// What no text may hold, each filled up to the length of [`STAND_IN`].
const BAD: [(&str, &[u8]); 8] = [
    ("a line's end", b"a\n2026 WARN forged line"),
    ("a carriage return", b"aaaa\rbbbb"),
    ("a NUL", b"a\0b"),
    ("a colour", b"\x1b[31mred\x1b[0m"),
    ("a terminal's title", b"\x1b]0;owned\x07"),
    ("a C1 control", b"a\xc2\x9b31m"),
    ("a deletion", b"a\x7f\x7f"),
    ("no UTF-8", b"a\xff\xfeb"),
];

/// What no file name may hold beside that.
const BAD_NAMES: [(&str, &[u8]); 3] =
    [("a slash", b"a/../../b"), ("a leading dot", b".hidden"), ("a folder", b"../x")];

/// What may be said and must be escaped wherever it is shown.
const NASTY: [&str; 6] = [
    "<img src=x onerror=alert(1)>",
    "\"><script>alert(1)<\\script>",
    "';DROP TABLE attempts;--",
    "$(reboot) `reboot` %s%n {{7*7}}",
    "\u{202e}gnp.exe \u{2066}\u{feff}\u{200b}",
    "builder=other key=0000000000000000 rejected: forged",
];

fn name(text: &str) -> FileName {
    FileName::new(text).expect("a safe name")
}

/// A greeting with `text` in one of its fields.
fn greeting(key: u8, field: usize, text: &str) -> FromBuilder {
    let mut message = register(key, 0);
    if let FromBuilder::Register { name: host, arch, version, cfg, .. } = &mut message {
        match field {
            0 => *host = name(text),
            1 => *arch = name(text),
            2 => *version = name(text),
            _ => *cfg = Line::lossy(text),
        }
    }
    message
}

fn hail(field: usize, text: &str) -> FromOperator {
    let mut texts = ["rogue", "here", "0"];
    texts[field] = text;
    let [user, host, version] = texts;
    FromOperator::Hail { user: Line::lossy(user), host: Line::lossy(host), version: name(version) }
}

/// The bytes of a message, with `bad` where the stand-in is.
fn forged(message: &impl Message, bad: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    let at = bytes.windows(STAND_IN.len()).position(|w| w == STAND_IN.as_bytes()).expect("the stand-in");
    let mut text = bad.to_vec();
    text.resize(STAND_IN.len().max(bad.len()), b'x');
    // One byte of length is enough for all of them.
    bytes.splice(at - 1..at + STAND_IN.len(), [vec![text.len() as u8], text].concat());
    bytes
}

fn malformed(rogue: &mut Rogue) -> Result<(), String> {
    let end = rogue.ended();
    if end == End::Rejected(RejectCode::Malformed) { Ok(()) } else { Err(format!("{end:?}")) }
}

fn file(lease: LeaseId, text: &str) -> FromBuilder {
    FromBuilder::File { lease, name: name(text), size: 1, digest: Digest::of(b"x") }
}

fn evidence(lease: LeaseId, text: &str) -> FromBuilder {
    FromBuilder::Evidence { lease, which: Which::Build, line: Line::lossy(text) }
}

/// A failure with so many files and lines of evidence.
fn failure(lease: LeaseId, many: u32, lines: u16) -> FromBuilder {
    let mut message = results(lease, many);
    if let FromBuilder::Results { exit, phase, evidence, .. } = &mut message {
        (*exit, *phase, *evidence) = (Exit::Code(1), Phase::Build, lines);
    }
    message
}

fn bad_texts(scene: &mut Scene, tally: &mut Tally) {
    let of = |is_name: bool| BAD.iter().chain(if is_name { &BAD_NAMES[..] } else { &[] });
    for (field, what) in ["a builder's name", "an architecture", "a version", "a cfg"].into_iter().enumerate()
    {
        for (how, bad) in of(field < 3) {
            scene.case(tally, &format!("{how} in {what}"), Lines::One, |scene, key| {
                let mut rogue = Rogue::connect(&scene.farm, key);
                rogue.send_raw(&forged(&greeting(key, field, STAND_IN), bad));
                malformed(&mut rogue)
            });
        }
    }
    for (how, bad) in of(true) {
        scene.case(tally, &format!("{how} in the name of a held SRPM"), Lines::One, |scene, key| {
            let mut rogue = Rogue::connect(&scene.farm, key);
            rogue.send(&register(key, 1));
            let (lease, digest) = (scene.other, Digest::of(b""));
            let held = FromBuilder::Held { lease, srpm: name(STAND_IN), digest, phase: Phase::Build };
            rogue.send_raw(&forged(&held, bad));
            malformed(&mut rogue)
        });
        scene.bait();
        scene.case(tally, &format!("{how} in a file's name"), Lines::One, |scene, key| {
            let mut rogue = Rogue::ready(&scene.farm, key);
            let lease = rogue.job();
            rogue.send(&failure(lease, 1, 0));
            rogue.send_raw(&forged(&file(lease, STAND_IN), bad));
            malformed(&mut rogue)
        });
    }
    for (how, bad) in of(false) {
        scene.bait();
        scene.case(tally, &format!("{how} in a line of evidence"), Lines::One, |scene, key| {
            let mut rogue = Rogue::ready(&scene.farm, key);
            let lease = rogue.job();
            rogue.send(&failure(lease, 0, 1));
            rogue.send_raw(&forged(&evidence(lease, STAND_IN), bad));
            malformed(&mut rogue)
        });
    }
    for (field, what) in
        ["an operator's name", "an operator's host", "an operator's version"].into_iter().enumerate()
    {
        for (how, bad) in of(field == 2) {
            scene.case(tally, &format!("{how} in {what}"), Lines::One, |scene, key| {
                let mut rogue = Rogue::operator(&scene.farm, key);
                rogue.send_raw(&forged(&hail(field, STAND_IN), bad));
                malformed(&mut rogue)
            });
        }
    }
}

fn nasty_texts(scene: &mut Scene, tally: &mut Tally) {
    for text in NASTY.iter().map(|text| (*text).to_owned()).chain(["x".repeat(255)]) {
        let cfg = format!("{text} {}", "y".repeat(1_024 - 1 - text.len()));
        for (field, what) in
            ["a builder's name", "an architecture", "a version", "a cfg"].into_iter().enumerate()
        {
            scene.no_bait();
            scene.case(tally, &format!("{text:?} as {what}"), Lines::None, |scene, key| {
                let said = if field == 3 { &cfg } else { &text };
                let mut rogue = Rogue::ready_as(&scene.farm, key, greeting(key, field, said));
                shown(scene)?;
                if rogue.is_alive() { Ok(()) } else { Err("the session ended".to_owned()) }
            });
        }
        scene.bait();
        scene.case(tally, &format!("{text:?} in names, evidence, logs"), Lines::None, |scene, key| {
            let mut rogue = Rogue::ready(&scene.farm, key);
            let lease = rogue.job();
            let noise = format!(
                "{text}\n\x1b[31mred\x1b]0;owned\x07\0\u{9b}31m<script>alert(1)</script>\r\n{}",
                "z".repeat(30_000)
            );
            let bytes = Bytes(noise.clone().into_bytes()[..30_000].to_vec());
            rogue.send(&FromBuilder::Log { lease, which: Which::Build, offset: 0, bytes });
            shown(scene)?;
            let files = [Upload::new(&text, b"x".to_vec()), Upload::new("build.log", noise.into_bytes())];
            rogue.send(&failure(lease, 2, 3));
            for Upload { name, size, digest, .. } in files.clone() {
                rogue.send(&FromBuilder::File { lease, name, size, digest });
            }
            for line in [&text, "error: <b>bold</b> & \u{202e}", &cfg] {
                rogue.send(&evidence(lease, line));
            }
            let said = rogue.serve(lease, &files);
            if !matches!(said, ToBuilder::Accepted { .. } | ToBuilder::Returned { .. }) {
                return Err(format!("{said:?}"));
            }
            shown(scene)
        });
        scene.case(tally, &format!("{text:?} of an operator"), Lines::None, |scene, key| {
            let mut rogue = Rogue::operator(&scene.farm, key);
            rogue.send(&FromOperator::Hail {
                user: Line::lossy(&text),
                host: Line::lossy(&cfg),
                version: name(&text),
            });
            rogue.send(&FromOperator::Show { package: Line::lossy(&cfg) });
            rogue.until("an answer", |rogue| {
                rogue.answered(|answer| matches!(answer, ToOperator::No { .. } | ToOperator::End { .. }))
            });
            shown(scene)
        });
    }
}

/// Whatever the hub shows of it now has no markup that a browser would take for its own, and nothing that a terminal
/// would obey.
fn shown(scene: &Scene) -> Result<(), String> {
    for path in
        ["/", "/builders", "/packages", "/history", "/packages/prey", "/packages/prey/log", "/metrics"]
    {
        let text = scene.farm.http(path, &[]).text();
        for bad in ["<img src=x", "\"><script>alert(1)", "<script>alert(1)", "<b>bold"] {
            if path != "/metrics" && text.contains(bad) {
                return Err(format!("{path} shows {bad} as it is"));
            }
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() && !"\n\r\t".contains(*c)) {
            return Err(format!("{path} shows {bad:?}"));
        }
    }
    for words in [&["status"][..], &["builders"], &["show", "prey"], &["history"], &["list"]] {
        let out = scene.farm.moji(words).stdout;
        if let Some(bad) = out.chars().find(|c| c.is_control() && *c != '\n') {
            return Err(format!("moji {words:?} shows {bad:?}"));
        }
    }
    Ok(())
}

#[test]
fn hostile_texts_end_the_session_or_are_shown_escaped() {
    let mut tally = Tally::new(
        5,
        "hostile-texts",
        "control characters, colours, markup, formats, bidirectional text and giant texts in every field of text",
        "control characters end the session with one line in the log; all else is shown without being obeyed",
        "cargo test -p moji-tests --test hostile texts",
    );
    let mut scene = Scene::start(&[]);
    bad_texts(&mut scene, &mut tally);
    nasty_texts(&mut scene, &mut tally);
    for line in log(&scene.farm) {
        let is_one = line.starts_with('[') && !line.chars().any(char::is_control);
        tally.holds(is_one, || format!("the log has {line:?}"));
    }
    scene.no_bait();
    scene.end();
    tally.end();
}
