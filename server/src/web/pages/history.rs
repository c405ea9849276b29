//! `/history`: what was finished on each day, why builds failed, how long they took, who did it.

use std::collections::BTreeMap;

use askama::Template;

use super::builder::Row;
use super::builders::Filter;
use super::draw::plot::{Column, columns};
use super::say::{self, Markup};
use super::target::{builder_path, with_query};
use super::{Shell, fill};
use crate::web::model::{BuilderDays, History, Verdict};
use crate::web::problem::Problem;
use crate::web::site::Site;

/// Spans that are offered, days.
const SPANS: [u32; 4] = [7, 30, 90, 366];
/// Rows of tables.
const ROWS: usize = 30;
/// Three kinds of ends, in the order of the columns: style, name.
const KINDS: [(&str, &str); 3] = [("ok", "success"), ("bad", "failed"), ("look", "other")];

#[derive(Template)]
#[template(path = "history.html")]
struct Page {
    shell: Shell,
    spans: Vec<Filter>,
    /// Style and name of each kind.
    kinds: [(&'static str, &'static str); 3],
    days: Option<Markup>,
    durations: Option<Markup>,
    /// Of each day, newest first: date, then as many as there are kinds, then build time.
    table: Vec<(String, [String; 3], String)>,
    reasons: Vec<Reason>,
    builders: Vec<Busy>,
    newest: Vec<Row>,
}

struct Reason {
    badge: Markup,
    text: String,
    attempts: String,
    packages: String,
    last: Option<Markup>,
}

struct Busy {
    name: String,
    path: String,
    counts: [String; 3],
    took: String,
}

pub(super) async fn page(site: &Site, shell: Shell, days: u32) -> Result<String, Problem> {
    let history = site.history(days).await?;
    shown(shell, &history, days)
}

pub(super) fn shown(shell: Shell, history: &History, days: u32) -> Result<String, Problem> {
    fill(&Page::new(shell, history, days))
}

/// Successes, failures, all others.
fn kinds(attempts: &BTreeMap<Verdict, u32>) -> [u64; 3] {
    let of = |verdict| attempts.get(&verdict).copied().map_or(0, u64::from);
    let all: u64 = attempts.values().map(|n| u64::from(*n)).sum();
    let (success, failed) = (of(Verdict::Success), of(Verdict::Failed));
    [success, failed, all - success - failed]
}

fn column(name: String, counts: [u64; 3]) -> Column {
    let parts = KINDS.into_iter().zip(counts).map(|((tone, kind), n)| (tone, kind, n));
    Column { name, parts: parts.collect() }
}

impl Page {
    fn new(shell: Shell, history: &History, days: u32) -> Page {
        let span = |span: u32| Filter {
            word: say::counted(span, "day", "days"),
            count: String::new(),
            path: with_query("/history", &[("days", &span.to_string())]),
            is_on: span == days,
        };
        // Month and day: the year is in the table.
        let short = |date: &str| date.get(5..).unwrap_or(date).to_owned();
        let by_day: Vec<Column> =
            history.days.iter().map(|day| column(short(&day.date), kinds(&day.attempts))).collect();
        let took = history.durations.iter().scan(0, |before, one| {
            let name = match one.at_most_s {
                Some(most) => format!("≤ {}", say::duration(most.into())),
                None => format!("> {}", say::duration(*before)),
            };
            *before = one.at_most_s.map_or(0, u64::from);
            Some(Column { name, parts: vec![("run", "builds", one.builds.into())] })
        });
        let took: Vec<Column> = took.collect();
        let table =
            history.days.iter().rev().map(|day| {
                (day.date.clone(), kinds(&day.attempts).map(say::count), say::duration(day.build_s))
            });
        let reasons = history.reasons.iter().take(ROWS).map(|reason| Reason {
            badge: say::verdict(Some(reason.verdict), false),
            text: reason.reason.clone(),
            attempts: say::count(reason.attempts),
            packages: say::count(reason.packages),
            last: reason.last.map(|last| shell.look.age(last)),
        });
        let busy = |days: &BuilderDays| Busy {
            name: days.builder.clone(),
            path: builder_path(&days.builder),
            counts: kinds(&days.attempts).map(say::count),
            took: say::duration(days.build_s),
        };
        Page {
            spans: SPANS.map(span).into(),
            kinds: KINDS,
            days: columns("attempts that ended on each day", &by_day),
            durations: columns("successful builds by how long they took", &took),
            table: table.collect(),
            reasons: reasons.collect(),
            builders: history.builders.iter().take(ROWS).map(busy).collect(),
            newest: history.newest.iter().take(ROWS).map(|one| Row::new(&shell, one)).collect(),
            shell,
        }
    }
}
