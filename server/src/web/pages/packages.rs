//! `/packages`: all packages, searched, filtered, sorted, a hundred at a time.

use std::collections::BTreeMap;

use askama::Template;
use moji_proto::message::PackageState as WireState;

use super::builders::{Filter, Header, Pager};
use super::overview::name;
use super::say::{self, Markup};
use super::target::{PackagesAsked, builder_path, package_path, with_query};
use super::{Shell, fill};
use crate::web::model::{Package, PackageState, Page as Rows};
use crate::web::problem::Problem;
use crate::web::site::{Site, Wanted};
use crate::web::snapshot::Sort;

/// Packages on a page.
const ROWS: usize = 100;
/// Orders: word, order, column.
pub(super) const SORTS: [(&str, Sort, &str); 5] = [
    ("name", Sort::Name, "Package"),
    ("state", Sort::State, "State"),
    ("newest", Sort::Newest, "Since"),
    ("size", Sort::Size, "Size"),
    ("oldest", Sort::Oldest, ""),
];

#[derive(Template)]
#[template(path = "packages.html")]
struct Page {
    shell: Shell,
    q: String,
    state: &'static str,
    sort: String,
    states: Vec<Filter>,
    headers: Vec<Header>,
    rows: Vec<Row>,
    found: String,
    pager: Pager,
}

struct Row {
    name: String,
    path: String,
    badge: Markup,
    age: Markup,
    size: String,
    builder: String,
    builder_path: String,
    why: String,
}

pub(super) async fn page(site: &Site, shell: Shell, asked: &PackagesAsked) -> Result<String, Problem> {
    let sort = sort(&asked.sort)?;
    let (q, offset) = (asked.q.clone(), asked.offset as usize);
    let wanted = Wanted { q, state: asked.state, sort: Some(sort), offset, limit: ROWS };
    let rows = site.packages(&wanted).await?;
    let farm = &site.snapshot().await?.glance.farm;
    let counts = WireState::ALL.into_iter().map(PackageState::from).zip(farm.packages).collect();
    shown(shell, &rows, &counts, asked)
}

pub(super) fn shown(
    shell: Shell,
    rows: &Rows<Package>,
    counts: &BTreeMap<PackageState, u32>,
    asked: &PackagesAsked,
) -> Result<String, Problem> {
    fill(&Page::new(shell, rows, counts, asked))
}

fn sort(word: &str) -> Result<Sort, Problem> {
    if word.is_empty() {
        return Ok(Sort::Name);
    }
    let found = SORTS.iter().find(|(one, ..)| *one == word).map(|(_, sort, _)| *sort);
    let words: Vec<&str> = SORTS.iter().map(|(word, ..)| *word).collect();
    found
        .ok_or_else(|| Problem::bad(format!("bad parameter: sort: '{word}' is none of {}", words.join(", "))))
}

impl Page {
    fn new(
        shell: Shell,
        found: &Rows<Package>,
        counts: &BTreeMap<PackageState, u32>,
        asked: &PackagesAsked,
    ) -> Page {
        let path = |state: Option<PackageState>, sort: &str, offset: usize| {
            let offset = if offset == 0 { String::new() } else { offset.to_string() };
            let state = state.map(PackageState::as_str).unwrap_or_default();
            with_query("/packages", &[("q", &asked.q), ("state", state), ("sort", sort), ("offset", &offset)])
        };
        let filter = |state: Option<PackageState>, count: u32| Filter {
            word: state.map_or("all", PackageState::as_str).to_owned(),
            count: say::count(count),
            path: path(state, &asked.sort, 0),
            is_on: asked.state == state,
        };
        let there = counts.iter().filter(|(state, count)| **count > 0 || asked.state == Some(**state));
        let mut states = vec![filter(None, counts.values().sum())];
        states.extend(there.map(|(state, count)| filter(Some(*state), *count)));
        let is_on = |word: &str| asked.sort == word || (asked.sort.is_empty() && word == "name");
        let headers = SORTS.iter().filter(|(_, _, column)| !column.is_empty()).map(|(word, _, name)| {
            // Once more on the time turns it round.
            let (to, on) = match *word {
                "newest" if is_on("newest") => ("oldest", true),
                "newest" => ("newest", is_on("oldest")),
                word => (word, is_on(word)),
            };
            let class = if matches!(*word, "newest" | "size") { "num" } else { "" };
            Header { name, path: path(asked.state, to, 0), is_on: on, class }
        });
        let (offset, total) = (found.offset as usize, found.total as usize);
        Page {
            q: asked.q.clone(),
            state: asked.state.map(PackageState::as_str).unwrap_or_default(),
            sort: asked.sort.clone(),
            states,
            headers: headers.collect(),
            rows: found.rows.iter().map(|row| Row::new(&shell, row)).collect(),
            found: say::counted(found.total, "package", "packages"),
            pager: Pager::new(offset, found.rows.len(), total, ROWS, |offset| {
                path(asked.state, &asked.sort, offset)
            }),
            shell,
        }
    }
}

impl Row {
    fn new(shell: &Shell, package: &Package) -> Row {
        Row {
            name: name(&package.srpm),
            path: package_path(&package.srpm),
            badge: say::state(package.state),
            age: shell.look.age(package.since),
            size: package.size_bytes.map(say::size).unwrap_or_default(),
            builder_path: package.builder.as_deref().map(builder_path).unwrap_or_default(),
            builder: package.builder.clone().unwrap_or_default(),
            why: package.why.clone().unwrap_or_default(),
        }
    }
}
