//! `/builders`: who builds, how they are, what they are at.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use askama::Template;

use super::overview::name;
use super::say::{self, Markup};
use super::target::{BuildersAsked, builder_path, package_path, with_query};
use super::{Shell, fill};
use crate::web::model::{Builder, BuilderState, History, Verdict};
use crate::web::problem::Problem;
use crate::web::site::Site;

/// Builders on a page.
const ROWS: usize = 100;
/// Days over which speed is told.
pub(super) const SPEED_DAYS: u32 = 7;
/// Orders: word, column.
pub(super) const SORTS: [(&str, &str); 5] =
    [("name", "Builder"), ("state", "State"), ("built", "Built"), ("failed", "Failed"), ("load", "Load")];

#[derive(Template)]
#[template(path = "builders.html")]
struct Page {
    shell: Shell,
    states: Vec<Filter>,
    headers: Vec<Header>,
    rows: Vec<Row>,
    total: String,
    pager: Pager,
}

/// A link that narrows a list.
pub(super) struct Filter {
    pub(super) word: String,
    pub(super) count: String,
    pub(super) path: String,
    pub(super) is_on: bool,
}

/// The head of a column, and the link that sorts by it; an empty path where nothing is sorted.
pub(super) struct Header {
    pub(super) name: &'static str,
    pub(super) path: String,
    pub(super) is_on: bool,
    pub(super) class: &'static str,
}

/// Links to the parts before and after this one; empty where there is none.
#[derive(Default)]
pub(super) struct Pager {
    pub(super) said: String,
    pub(super) before: String,
    pub(super) after: String,
}

impl Pager {
    /// For `shown` of `total` from `offset` on; `path` makes the link to an offset.
    pub(super) fn new(
        offset: usize,
        shown: usize,
        total: usize,
        rows: usize,
        path: impl Fn(usize) -> String,
    ) -> Pager {
        let end = offset + shown;
        Pager {
            said: match (shown, total) {
                (_, 0) => "none".to_owned(),
                (0, total) => format!("none here; {} in all", say::count(total as u64)),
                (_, total) if total == shown => String::new(),
                _ => format!(
                    "{} to {} of {}",
                    say::count(offset as u64 + 1),
                    say::count(end as u64),
                    say::count(total as u64)
                ),
            },
            before: if offset > 0 { path(offset.saturating_sub(rows)) } else { String::new() },
            after: if shown > 0 && end < total { path(end) } else { String::new() },
        }
    }
}

struct Row {
    name: String,
    path: String,
    badge: Markup,
    why: String,
    since: Option<Markup>,
    srpm: String,
    srpm_path: String,
    phase: &'static str,
    built: String,
    failed: String,
    load: String,
    health: String,
    has_trouble: bool,
    suspect: String,
    speed: String,
}

pub(super) async fn page(site: &Site, shell: Shell, asked: &BuildersAsked) -> Result<String, Problem> {
    let all = site.builders().await?;
    let history = site.history(SPEED_DAYS).await?;
    shown(shell, all, &history, asked)
}

pub(super) fn shown(
    shell: Shell,
    all: Vec<Builder>,
    history: &History,
    asked: &BuildersAsked,
) -> Result<String, Problem> {
    fill(&Page::new(shell, all, history, asked))
}

impl Page {
    fn new(shell: Shell, mut all: Vec<Builder>, history: &History, asked: &BuildersAsked) -> Page {
        let mut counts: BTreeMap<BuilderState, u32> = BTreeMap::new();
        for builder in &all {
            *counts.entry(builder.state).or_default() += 1;
        }
        let everyone = all.len();
        let path = |state: Option<BuilderState>, sort: &str, offset: usize| {
            let offset = if offset == 0 { String::new() } else { offset.to_string() };
            let state = state.map(BuilderState::as_str).unwrap_or_default();
            with_query("/builders", &[("state", state), ("sort", sort), ("offset", &offset)])
        };
        let states = counts.iter().map(|(state, count)| Filter {
            word: state.to_string(),
            count: say::count(*count),
            path: path(Some(*state), &asked.sort, 0),
            is_on: asked.state == Some(*state),
        });
        let everything = Filter {
            word: "all".to_owned(),
            count: say::count(everyone as u64),
            path: path(None, &asked.sort, 0),
            is_on: asked.state.is_none(),
        };
        let states: Vec<Filter> = std::iter::once(everything).chain(states).collect();
        all.retain(|builder| asked.state.is_none_or(|state| builder.state == state));
        sort(&mut all, &asked.sort);
        let offset = asked.offset as usize;
        let speeds = speeds(history);
        let rows: Vec<Row> =
            all.iter().skip(offset).take(ROWS).map(|builder| Row::new(&shell, builder, &speeds)).collect();
        let header = |(word, name): (&'static str, &'static str)| Header {
            name,
            path: path(asked.state, word, 0),
            is_on: asked.sort == word || (asked.sort.is_empty() && word == "name"),
            class: if matches!(word, "built" | "failed" | "load") { "num" } else { "" },
        };
        Page {
            states,
            headers: SORTS.into_iter().map(header).collect(),
            total: say::counted(everyone as u64, "builder", "builders"),
            pager: Pager::new(offset, rows.len(), all.len(), ROWS, |offset| {
                path(asked.state, &asked.sort, offset)
            }),
            rows,
            shell,
        }
    }
}

/// Equal ones stay in the order of their names.
fn sort(builders: &mut [Builder], by: &str) {
    match by {
        "state" => builders.sort_by_key(|builder| builder.state),
        "built" => builders.sort_by_key(|builder| Reverse(builder.built)),
        "failed" => builders.sort_by_key(|builder| Reverse(builder.failed)),
        "load" => builders.sort_by_key(|builder| Reverse(builder.load_centi)),
        _ => {}
    }
}

/// What builders did lately: successes and build time, by name.
fn speeds(history: &History) -> BTreeMap<&str, String> {
    let one = |days: &crate::web::model::BuilderDays| {
        let built = days.attempts.get(&Verdict::Success).copied().unwrap_or(0);
        let all: u64 = days.attempts.values().map(|n| u64::from(*n)).sum();
        let mean = days.build_s.checked_div(all).filter(|mean| *mean > 0);
        let mean = mean.map(|s| format!(", {} each", say::duration(s))).unwrap_or_default();
        format!("{} in {SPEED_DAYS} d{mean}", say::count(built))
    };
    history.builders.iter().map(|days| (&*days.builder, one(days))).collect()
}

/// Free memory, free disk, temperature, clock: what there is to say.
pub(super) fn health(builder: &Builder) -> String {
    let mib = |mib: u32| say::size(u64::from(mib) << 20);
    let mut parts = Vec::new();
    if let Some(free) = builder.memory_free_mib {
        parts.push(format!("{} memory free", mib(free)));
    }
    if let Some(free) = builder.disk_free_mib {
        parts.push(format!("{} disk free", mib(free)));
    }
    if let Some(celsius) = builder.celsius {
        parts.push(format!("{celsius} °C"));
    }
    // Nobody cares for seconds.
    if builder.clock_off_s.abs() >= 10 {
        parts.push(format!("clock {:+} s", builder.clock_off_s));
    }
    parts.join(" · ")
}

pub(super) fn load(builder: &Builder) -> String {
    builder.load_centi.map(|centi| format!("{}.{:02}", centi / 100, centi % 100)).unwrap_or_default()
}

impl Row {
    fn new(shell: &Shell, builder: &Builder, speeds: &BTreeMap<&str, String>) -> Row {
        Row {
            name: builder.name.clone(),
            path: builder_path(&builder.name),
            badge: say::builder(builder.state),
            why: builder.why.clone().unwrap_or_default(),
            since: builder.since.map(|since| shell.look.age(since)),
            srpm: builder.srpm.as_deref().map(name).unwrap_or_default(),
            srpm_path: builder.srpm.as_deref().map(package_path).unwrap_or_default(),
            phase: builder.phase.map(|phase| phase.as_str()).unwrap_or_default(),
            built: say::count(builder.built),
            failed: say::count(builder.failed),
            load: load(builder),
            health: health(builder),
            has_trouble: builder.trouble.is_some(),
            suspect: builder.suspect.clone().unwrap_or_default(),
            speed: speeds.get(&*builder.name).cloned().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pager_leads_to_all_parts_and_not_beyond() {
        let pager = |offset, shown, total| {
            let pager = Pager::new(offset, shown, total, 100, |offset| offset.to_string());
            (pager.said, pager.before, pager.after)
        };
        let owned = |said: &str, before: &str, after: &str| (said.into(), before.into(), after.into());
        assert_eq!(pager(0, 5, 5), owned("", "", ""));
        assert_eq!(pager(0, 100, 250), owned("1 to 100 of 250", "", "100"));
        assert_eq!(pager(200, 50, 250), owned("201 to 250 of 250", "100", ""));
        assert_eq!(pager(50, 100, 250), owned("51 to 150 of 250", "0", "150"));
        assert_eq!(pager(900, 0, 250), owned("none here; 250 in all", "800", ""));
        assert_eq!(pager(0, 0, 0), owned("none", "", ""));
    }
}
