//! Rows as JSON, an object a line.
//!
//! Field names are those of the rows, a health's among its builder's; a time loses its unit (`began_unix_s` is
//! `began`, `unix_s` and `unix_ms` are `time`) and is ISO 8601 in UTC, null if it is unknown. States are words, keys
//! and leases text, what is not there is null. Every text is escaped so far that it may go to a terminal
//! as well. Written by hand: serde_json would bring a second serialiser for one direction of eleven shapes.

use std::fmt::{Display, Write as _};

use moji_proto::Line;
use moji_proto::message::{
    AttemptRow, BlockedRow, BuilderRow, BuilderState, EventRow, FarmRow, LackRow, NoCode, PackageRow,
    PackageState, Topic,
};

use super::text::is_hazard;
use super::words::{backend_word, phase_word, trouble_word};
use super::{Attempt, Cycle, Text, iso};

/// An object that is being written.
struct Object(String);

impl Object {
    fn new() -> Object {
        Object("{".to_owned())
    }

    fn raw(&mut self, name: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.extend([&string(name), ":", value]);
    }

    fn text(&mut self, name: &str, value: impl Display) {
        self.raw(name, &string(&value.to_string()));
    }

    fn maybe(&mut self, name: &str, value: Option<impl Display>) {
        let value = value.map_or_else(|| "null".to_owned(), |value| string(&value.to_string()));
        self.raw(name, &value);
    }

    fn number(&mut self, name: &str, value: impl Into<u64>) {
        self.raw(name, &value.into().to_string());
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "true" } else { "false" });
    }

    fn time(&mut self, name: &str, unix_s: u64) {
        self.maybe(name, (unix_s > 0).then(|| iso(unix_s)));
    }

    fn list(&mut self, name: &str, values: impl Iterator<Item = String>) {
        self.raw(name, &format!("[{}]", values.collect::<Vec<_>>().join(",")));
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn line(self) -> String {
        let mut line = self.finish();
        line.push('\n');
        line
    }
}

/// A JSON string.
pub(super) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // All hazards are in the first plane, so one unit is enough.
            c if is_hazard(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `{"farm":{…},"packages":[…],"builders":[…]}`.
#[must_use]
pub fn status(farm: &FarmRow, packages: &[PackageRow], builders: &[BuilderRow]) -> String {
    let mut status = Object::new();
    status.raw("farm", &farm_object(farm).finish());
    status.list("packages", packages.iter().map(|row| package_object(row).finish()));
    status.list("builders", builders.iter().map(|row| builder_object(row).finish()));
    status.line()
}

/// One package.
#[must_use]
pub fn package(package: &PackageRow) -> String {
    package_object(package).line()
}

/// `{"package":{…},"options":[…],"wants":[…],"files":[…],"evidence":[…],"provenance":[…],"attempts":[{…}]}`.
#[must_use]
pub fn show(package: &PackageRow, texts: &[Text], attempts: &[Attempt]) -> String {
    let mut show = Object::new();
    show.raw("package", &package_object(package).finish());
    lines(&mut show, texts);
    let attempts = attempts.iter().map(|attempt| {
        let mut object = attempt_object(&attempt.row);
        lines(&mut object, &attempt.texts);
        object.finish()
    });
    show.list("attempts", attempts);
    show.line()
}

/// `{"package":{…},"why":[…],"lacks":[{…}],"order":[…],"passed_over":[…],"next":[…],"attempts":[{…}]}`.
#[must_use]
pub fn why(package: &PackageRow, texts: &[Text], lacks: &[LackRow], attempts: &[AttemptRow]) -> String {
    let mut why = Object::new();
    why.raw("package", &package_object(package).finish());
    list_of(&mut why, "why", Topic::Why, texts);
    why.list("lacks", lacks.iter().map(|row| lack_object(row).finish()));
    list_of(&mut why, "order", Topic::Order, texts);
    list_of(&mut why, "passed_over", Topic::Passed, texts);
    list_of(&mut why, "next", Topic::Next, texts);
    why.list("attempts", attempts.iter().map(|row| attempt_object(row).finish()));
    why.line()
}

/// `{"packages":…,"unnamed":…,"capabilities":…,"cycles":…}`: how much there is, whatever follows.
#[must_use]
pub fn blocked(row: &BlockedRow) -> String {
    let mut object = Object::new();
    object.number("packages", row.packages);
    object.number("unnamed", row.unnamed);
    object.number("capabilities", row.capabilities);
    object.number("cycles", row.cycles);
    object.line()
}

/// One capability that is missing.
#[must_use]
pub fn lack(row: &LackRow) -> String {
    lack_object(row).line()
}

/// `{"cycle":[…],"import":[…],"members":…,"imports":…,"exact":…,"sure":…}`.
#[must_use]
pub fn cycle(cycle: &Cycle) -> String {
    let mut object = Object::new();
    list_of(&mut object, "cycle", Topic::Member, &cycle.texts);
    list_of(&mut object, "import", Topic::Import, &cycle.texts);
    object.number("members", cycle.row.members);
    object.number("imports", cycle.row.imports);
    object.flag("exact", cycle.row.exact);
    object.flag("sure", cycle.row.sure);
    object.line()
}

/// One attempt, without its lines.
#[must_use]
pub fn attempt(attempt: &AttemptRow) -> String {
    attempt_object(attempt).line()
}

/// One builder.
#[must_use]
pub fn builder(builder: &BuilderRow) -> String {
    builder_object(builder).line()
}

/// One event.
#[must_use]
pub fn event(event: &EventRow) -> String {
    let mut object = Object::new();
    object.number("seq", event.seq);
    let seconds = iso(event.unix_ms / 1_000);
    object.text("time", seconds.replace('Z', &format!(".{:03}Z", event.unix_ms % 1_000)));
    object.text("kind", event.kind.as_str());
    object.maybe("srpm", event.srpm.as_ref().map(|name| name.as_str()));
    object.maybe("lease", event.lease.map(|lease| lease.to_string()));
    object.maybe("builder", event.builder.as_ref().map(|name| name.as_str()));
    object.maybe("verdict", event.verdict.map(|verdict| verdict.as_str()));
    object.maybe("phase", event.phase.map(phase_word));
    object.maybe("state", event.state.map(|state| state.as_str()));
    object.text("who", &event.who);
    object.text("text", &event.text);
    object.line()
}

/// `{"changed":TARGET,"text":…}`.
#[must_use]
pub fn changed(target: &Line, text: &Line) -> String {
    let mut object = Object::new();
    object.text("changed", target);
    object.text("text", text);
    object.line()
}

/// `{"no":"not-found","target":…,"text":…,"names":[…]}`.
#[must_use]
pub fn no(code: NoCode, target: &Line, text: &Line, names: &[Line]) -> String {
    let mut object = Object::new();
    object.text(
        "no",
        match code {
            NoCode::NotFound => "not-found",
            NoCode::Ambiguous => "ambiguous",
            NoCode::Refused => "refused",
            NoCode::BadInput => "bad-input",
            NoCode::Later => "later",
            NoCode::Failed => "failed",
        },
    );
    object.text("target", target);
    object.text("text", text);
    object.list("names", names.iter().map(|name| string(name.as_str())));
    object.line()
}

fn lines(object: &mut Object, texts: &[Text]) {
    for (name, topic) in [
        ("options", Topic::Option),
        ("wants", Topic::Wants),
        ("files", Topic::File),
        ("evidence", Topic::Evidence),
        ("provenance", Topic::Provenance),
    ] {
        list_of(object, name, topic, texts);
    }
}

fn list_of(object: &mut Object, name: &str, topic: Topic, texts: &[Text]) {
    let of_topic = texts.iter().filter(|text| text.topic == topic);
    object.list(name, of_topic.map(|text| string(text.line.as_str())));
}

fn lack_object(row: &LackRow) -> Object {
    let mut object = Object::new();
    object.text("capability", &row.capability);
    object.flag("there", row.there);
    object.flag("any", row.any);
    object.number("holds", row.holds);
    object.number("holds_all", row.holds_all);
    object.number("chain_s", row.chain_s);
    object.maybe("from", row.from.as_ref().map(|name| name.as_str()));
    object.maybe("state", row.state.map(|state| state.as_str()));
    object.text("text", &row.text);
    object
}

fn farm_object(farm: &FarmRow) -> Object {
    let mut packages = Object::new();
    for (state, n) in PackageState::ALL.iter().zip(farm.packages) {
        packages.number(state.as_str(), n);
    }
    let mut builders = Object::new();
    for (state, n) in BuilderState::ALL.iter().zip(farm.builders) {
        builders.number(state.as_str(), n);
    }
    let mut object = Object::new();
    object.time("time", farm.unix_s);
    object.number("up_s", farm.up_s);
    object.text("version", farm.version.as_str());
    object.text("target", &farm.target);
    object.raw("packages", &packages.finish());
    object.raw("builders", &builders.finish());
    object.number("free_bytes", farm.free_bytes);
    object.number("floor_bytes", farm.floor_bytes);
    object.text("blocked", &farm.blocked);
    object.text("idle", &farm.idle);
    object.number("rpms", farm.rpms);
    object.number("ends_in_s", farm.ends_in_s);
    object.text("thin", &farm.thin);
    object
}

fn package_object(package: &PackageRow) -> Object {
    let mut object = Object::new();
    object.text("srpm", package.srpm.as_str());
    object.text("nevr", &package.nevr);
    object.text("state", package.state.as_str());
    object.text("why", &package.why);
    object.number("age_s", package.age_s);
    object.number("size", package.size);
    object.number("priority", package.priority);
    object.number("charged", package.charged);
    object.maybe("lease", package.lease.map(|lease| lease.to_string()));
    object.maybe("builder", package.builder.as_ref().map(|name| name.as_str()));
    object.maybe("phase", package.phase.map(phase_word));
    object.number("phase_age_s", package.phase_age_s);
    object.text("line", &package.line);
    object.text("place", &package.place);
    object.number("expected_s", package.expected_s);
    object.number("widened", package.widened);
    object
}

fn attempt_object(attempt: &AttemptRow) -> Object {
    let mut object = Object::new();
    object.number("number", attempt.number);
    object.text("lease", attempt.lease.to_string());
    object.text("builder", &attempt.builder);
    object.time("began", attempt.began_unix_s);
    object.time("ended", attempt.ended_unix_s);
    object.number("seconds", attempt.seconds);
    object.maybe("verdict", attempt.verdict.map(|verdict| verdict.as_str()));
    object.text("reason", &attempt.reason);
    object.flag("charged", attempt.charged);
    object.text("place", &attempt.place);
    object
}

fn builder_object(builder: &BuilderRow) -> Object {
    let mut object = Object::new();
    object.text("name", &builder.name);
    object.text("key", builder.key.to_string());
    object.text("peer", &builder.peer);
    object.text("state", builder.state.as_str());
    object.text("why", &builder.why);
    object.number("until_s", builder.until_s);
    object.number("age_s", builder.age_s);
    object.text("arch", &builder.arch);
    object.text("version", &builder.version);
    object.text("cfg", &builder.cfg);
    object.text("backend", backend_word(builder.backend));
    object.number("cpus", builder.cpus);
    object.number("memory_mib", builder.memory_mib);
    object.number("disk_free_mib", builder.health.disk_free_mib);
    object.number("memory_free_mib", builder.health.memory_free_mib);
    object.number("load_centi", builder.health.load_centi);
    object.raw("celsius", &builder.health.celsius.map_or("null".to_owned(), |celsius| celsius.to_string()));
    object.raw("clock_off_s", &builder.health.clock_off_s.to_string());
    object.maybe("trouble", builder.health.trouble.map(trouble_word));
    object.maybe("srpm", builder.srpm.as_ref().map(|name| name.as_str()));
    object.maybe("phase", builder.phase.map(phase_word));
    object.number("faults", builder.faults);
    object.number("built", builder.built);
    object.number("failed", builder.failed);
    object.text("suspect", &builder.suspect);
    object
}
