//! `moji builders`.
//!
//! Owns a line a builder, and everything of one. What is unknown or empty is left out.

use moji_proto::message::{BuilderRow, BuilderState};

use super::page::{Column, Page, Paint, Span, paint, plain};
use super::units::count;
use super::words::{backend_word, builder_paint, builder_why, builder_words, nvr, phase_word, trouble_words};
use super::{Style, duration, local_time, size};

/// Where the text after a label begins, columns.
const INDENT: usize = 13;

/// Room for `key`, a fingerprint (which `moji approve` takes) and `…`, columns: names are cut before it.
const DOES_COLUMNS_MIN: usize = 21;

/// `moji builders`: a line a builder; nothing of none.
#[must_use]
pub fn builders(style: &Style, builders: &[BuilderRow]) -> String {
    let mut page = Page::new(style);
    if builders.is_empty() {
        return page.finish();
    }
    let columns = [
        Column::name("BUILDER"),
        Column::text("STATE"),
        Column::number("FOR"),
        Column::text("ARCH"),
        Column::number("DISK"),
        Column::number("GOOD"),
        Column::number("BAD"),
        Column::text("DOES").at_least(DOES_COLUMNS_MIN),
    ];
    let mixed = builders.iter().any(|b| b.arch != builders[0].arch && is_known(b));
    let all = mixed || style.width.is_none();
    let rows: Vec<Vec<Span>> = builders.iter().map(|builder| row(builder, all)).collect();
    page.table(&columns, &rows);
    page.finish()
}

/// On a terminal the architecture is shown only where builders differ.
fn row(builder: &BuilderRow, arch: bool) -> Vec<Span> {
    let known = is_known(builder);
    let only = |is: bool, text: String| plain(if is { text } else { String::new() });
    vec![
        plain(&builder.name),
        paint(builder.state.as_str(), builder_paint(builder.state)),
        plain(duration(builder.age_s.into())),
        only(arch, builder.arch.to_string()),
        only(known, mib(builder.health.disk_free_mib)),
        only(builder.built > 0, builder.built.to_string()),
        only(builder.failed > 0, builder.failed.to_string()),
        plain(does(builder)),
    ]
}

/// Of a builder that was turned away nothing is known but its key and address.
fn is_known(builder: &BuilderRow) -> bool {
    builder.state != BuilderState::Unlisted
}

fn mib(mib: u32) -> String {
    size(u64::from(mib) << 20)
}

fn load(centi: u32) -> String {
    format!("{}.{:02}", centi / 100, centi % 100)
}

/// `build zlib-1.3-1`, or why it does nothing and for how long.
fn does(builder: &BuilderRow) -> String {
    let mut parts = Vec::new();
    if let Some(srpm) = &builder.srpm {
        let phase = builder.phase.map_or(String::new(), |phase| format!("{} ", phase_word(phase)));
        parts.push(format!("{phase}{}", nvr(srpm.as_str())));
    }
    parts.extend(why(builder));
    parts.join("; ")
}

fn why(builder: &BuilderRow) -> Option<String> {
    let until = duration(builder.until_s.into());
    match (builder_why(builder).as_str(), builder.until_s) {
        ("", 0) => None,
        ("", _) => Some(format!("for {until} more")),
        (why, 0) => Some(why.to_owned()),
        (why, _) => Some(format!("{why}, for {until} more")),
    }
}

/// Everything of one builder, for `moji builders NAME`.
#[must_use]
pub fn builder(style: &Style, builder: &BuilderRow) -> String {
    let mut page = Page::new(style);
    page.words(plain(""), 0, paint(&builder.name, Paint::Bold));
    let words = builder_words(builder.state);
    page.words(label("state"), INDENT, paint(words, builder_paint(builder.state)));
    if is_known(builder) {
        field(&mut page, "why", &why(builder).unwrap_or_default());
    } else {
        // The whole key follows.
        field(&mut page, "why", builder.why.as_str());
    }
    if let Some(srpm) = &builder.srpm {
        let phase = builder.phase.map_or(String::new(), |phase| format!(", {}", phase_word(phase)));
        field(&mut page, "builds", &format!("{}{phase}", nvr(srpm.as_str())));
    }
    let since = local_time(style, style.now_unix_s.saturating_sub(builder.age_s.into()));
    let name = match builder.state {
        BuilderState::Away => "away",
        BuilderState::Unlisted => "called",
        _ => "connected",
    };
    field(&mut page, name, &format!("since {since}, {}", duration(builder.age_s.into())));
    field(&mut page, "from", builder.peer.as_str());
    field(&mut page, "key", &builder.key.to_string());
    if is_known(builder) {
        machine(&mut page, builder);
    }
    page.finish()
}

fn machine(page: &mut Page<'_>, builder: &BuilderRow) {
    field(page, "arch", builder.arch.as_str());
    field(page, "moji", builder.version.as_str());
    let cfg = builder.cfg.as_str();
    let with = if cfg.is_empty() { String::new() } else { format!(", {cfg}") };
    field(page, "builds by", &format!("{}{with}", backend_word(builder.backend)));
    let cpus = count(builder.cpus.into(), "processor");
    field(page, "machine", &format!("{cpus}, {} of memory", mib(builder.memory_mib)));
    let health = &builder.health;
    let free = format!("{} of disk, {} of memory", mib(health.disk_free_mib), mib(health.memory_free_mib));
    field(page, "free", &free);
    field(page, "load", &load(health.load_centi));
    if let Some(celsius) = health.celsius {
        field(page, "hottest", &format!("{celsius} °C"));
    }
    if health.clock_off_s.unsigned_abs() > 1 {
        let off = duration(health.clock_off_s.unsigned_abs().into());
        let how = if health.clock_off_s > 0 { "ahead of" } else { "behind" };
        field(page, "clock", &format!("{off} {how} the hub's"));
    }
    if let Some(trouble) = health.trouble {
        page.words(label("trouble"), INDENT, paint(trouble_words(trouble), Paint::Red));
    }
    let mut history = format!("{} built, {} failed", builder.built, builder.failed);
    if builder.faults > 0 {
        history.push_str(&format!(", {} infra or lost in a row", builder.faults));
    }
    field(page, "history", &history);
}

fn field(page: &mut Page<'_>, name: &str, text: &str) {
    if !text.is_empty() {
        page.words(label(name), INDENT, plain(text));
    }
}

fn label(name: &str) -> Span {
    paint(format!("  {name}"), Paint::Dim)
}
