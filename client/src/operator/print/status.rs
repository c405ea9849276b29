//! `moji status`: the screen that people leave open.
//!
//! Owns its order: what is wrong stands above what goes on, and a farm that is well is a few calm lines. States
//! that nothing is in, and columns that say nothing, are left out.

use moji_proto::message::{BuilderRow, BuilderState, FarmRow, PackageRow, PackageState};

use super::page::{Column, Page, Paint, Span, paint, plain};
use super::units::count;
use super::words::{builder_paint, builder_why, nvr, package_paint, phase_word};
use super::{Style, duration, ends, local_time, size};

/// Where the text after a label begins, columns.
const INDENT: usize = 10;

/// Builders in need of attention that a terminal shows: more would push what is built off the screen.
const ATTENTION_ROWS: usize = 8;

/// Free space below this many floors is near the floor.
const NEAR_FLOORS: u64 = 2;

/// A clock that is off by more than this is worth a word: ages and times no longer fit together, seconds.
const CLOCK_OFF_S: u64 = 120;

/// What happens, what waits, what wants somebody, what is done.
const PACKAGES: [PackageState; 11] = [
    PackageState::Building,
    PackageState::Waiting,
    PackageState::Deps,
    PackageState::Review,
    PackageState::Failed,
    PackageState::Unusable,
    PackageState::Duplicate,
    PackageState::Success,
    PackageState::Excluded,
    PackageState::Cancelled,
    PackageState::Finished,
];

/// Who works, who could, who is kept from it.
const BUILDERS: [BuilderState; 9] = [
    BuilderState::Busy,
    BuilderState::Idle,
    BuilderState::Quarantined,
    BuilderState::Troubled,
    BuilderState::Unlisted,
    BuilderState::Unfit,
    BuilderState::Draining,
    BuilderState::Drained,
    BuilderState::Away,
];

/// `moji status`: the farm, what is built (`packages`), and builders that need attention (`builders`).
#[must_use]
pub fn status(style: &Style, farm: &FarmRow, packages: &[PackageRow], builders: &[BuilderRow]) -> String {
    let mut page = Page::new(style);
    header(&mut page, style, farm);
    page.gap();
    counts(&mut page, farm);
    if let Some(ends) = ends(style, farm.ends_in_s) {
        page.words(label("ends"), INDENT, plain(ends));
    }
    if farm.packages[PackageState::Deps as usize] > 0 {
        page.words(label("deps"), INDENT, plain("moji blocked lists what is missing"));
    }
    space(&mut page, farm);
    if !farm.blocked.as_str().is_empty() {
        page.words(paint("blocked", Paint::Red), INDENT, paint(&farm.blocked, Paint::Red));
    }
    if !farm.idle.as_str().is_empty() {
        page.words(label("idle"), INDENT, plain(&farm.idle));
    }
    if !farm.thin.as_str().is_empty() {
        page.words(label("thin"), INDENT, plain(format!("not enough for {}", farm.thin)));
    }
    attention(&mut page, style, builders);
    builds(&mut page, packages);
    page.finish()
}

fn label(text: &str) -> Span {
    paint(text, Paint::Dim)
}

fn header(page: &mut Page<'_>, style: &Style, farm: &FarmRow) {
    let mut parts = vec![format!("up {}", duration(farm.up_s.into()))];
    if !farm.target.as_str().is_empty() {
        parts.push(farm.target.to_string());
    }
    parts.push(count(farm.rpms.into(), "RPM"));
    let title = paint(format!("moji {}", farm.version), Paint::Bold);
    page.ends(vec![title, plain(format!(", {}", parts.join(", ")))], plain(local_time(style, farm.unix_s)));
    let off = farm.unix_s.abs_diff(style.now_unix_s);
    if off > CLOCK_OFF_S {
        let how = if farm.unix_s > style.now_unix_s { "ahead of" } else { "behind" };
        let text = format!("the hub's clock is {} {how} this machine's", duration(off));
        page.line(&[paint(text, Paint::Yellow)]);
    }
}

fn counts(page: &mut Page<'_>, farm: &FarmRow) {
    // The arrays are in the order of `ALL`, which is that of the variants.
    let item = |n: u32, word: &str, colour| (n > 0).then(|| paint(format!("{n} {word}"), colour));
    let packages = PACKAGES
        .iter()
        .filter_map(|state| item(farm.packages[*state as usize], state.as_str(), package_paint(*state)));
    let builders = BUILDERS
        .iter()
        .filter_map(|state| item(farm.builders[*state as usize], state.as_str(), builder_paint(*state)));
    for (name, items) in [("packages", packages.collect::<Vec<_>>()), ("builders", builders.collect())] {
        let none = items.is_empty().then(|| paint("none", Paint::Dim));
        page.items(label(name), INDENT, items.into_iter().chain(none).collect());
    }
}

fn space(page: &mut Page<'_>, farm: &FarmRow) {
    let free = format!("{} free", size(farm.free_bytes));
    let floor = size(farm.floor_bytes);
    let (text, colour) = if farm.floor_bytes == 0 {
        (free, Paint::Plain)
    } else if farm.free_bytes < farm.floor_bytes {
        (format!("{free}: nothing is leased below {floor}"), Paint::Red)
    } else if farm.free_bytes < farm.floor_bytes.saturating_mul(NEAR_FLOORS) {
        (format!("{free}, nothing is leased below {floor}"), Paint::Yellow)
    } else {
        (format!("{free}, nothing is leased below {floor}"), Paint::Plain)
    };
    page.words(label("space"), INDENT, paint(text, colour));
}

fn attention(page: &mut Page<'_>, style: &Style, builders: &[BuilderRow]) {
    let shown = style.width.map_or(builders.len(), |_| builders.len().min(ATTENTION_ROWS));
    let rows: Vec<Vec<Span>> = builders[..shown].iter().map(attention_row).collect();
    if rows.is_empty() {
        return;
    }
    page.gap();
    let columns = [
        Column::name("ATTENTION"),
        Column::text("STATE"),
        Column::number("FOR"),
        Column::number("ENDS IN"),
        Column::text("WHY"),
    ];
    page.table(&columns, &rows);
    if builders.len() > shown {
        let more = format!("… {}: moji builders", count((builders.len() - shown) as u64, "more builder"));
        page.line(&[paint(more, Paint::Dim)]);
    }
}

fn attention_row(builder: &BuilderRow) -> Vec<Span> {
    let ends = if builder.until_s > 0 { duration(builder.until_s.into()) } else { String::new() };
    // How long it is connected says nothing about a builder that is; how long it is away does.
    let since = match builder.state {
        BuilderState::Away => duration(builder.age_s.into()),
        _ => String::new(),
    };
    vec![
        plain(&builder.name),
        paint(builder.state.as_str(), builder_paint(builder.state)),
        plain(since),
        plain(ends),
        plain(builder_why(builder)),
    ]
}

fn builds(page: &mut Page<'_>, packages: &[PackageRow]) {
    if packages.is_empty() {
        return;
    }
    page.gap();
    let columns = [
        Column::name("PACKAGE"),
        Column::name("BUILDER"),
        Column::text("PHASE"),
        Column::number("ELAPSED"),
        Column::number("OF"),
        Column::text("LAST LINE"),
    ];
    let rows: Vec<Vec<Span>> = packages
        .iter()
        .map(|package| {
            vec![
                plain(nvr(package.srpm.as_str())),
                plain(package.builder.as_ref().map_or("", |name| name.as_str())),
                paint(package.phase.map_or("", phase_word), Paint::Cyan),
                plain(duration(package.age_s.into())),
                plain(expected(package)),
                paint(&package.line, Paint::Dim),
            ]
        })
        .collect();
    page.table(&columns, &rows);
}

/// How long it should take on that builder, if anything is known of it.
fn expected(package: &PackageRow) -> String {
    if package.expected_s > 0 { duration(package.expected_s.into()) } else { String::new() }
}
