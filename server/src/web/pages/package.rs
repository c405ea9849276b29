//! `/packages/NAME`: why a package is where it is, what it waits for and what waits for it, its attempts.

use std::collections::BTreeMap;

use askama::Template;

use super::draw::graph::{Node, graph};
use super::overview::{self, name};
use super::say::{self, Markup};
use super::target::{builder_path, folder_path, package_path, with_query};
use super::{Shell, fill};
use crate::web::model::{Attempt, Lack, Package, PackageDetail, PackageState, Which};
use crate::web::problem::Problem;
use crate::web::site::Site;

#[derive(Template)]
#[template(path = "package.html")]
struct Page {
    shell: Shell,
    name: String,
    badge: Markup,
    since: Markup,
    build: Option<overview::Row>,
    /// What is said, paragraph by paragraph: a heading and its lines.
    words: Vec<(&'static str, Vec<String>)>,
    lacks: Vec<LackRow>,
    graph: Option<Markup>,
    attempts: Vec<AttemptRow>,
    /// Name and value.
    facts: Vec<(&'static str, String)>,
    /// Name and path of the folder of its result.
    folder: Option<(String, String)>,
}

struct LackRow {
    capability: String,
    text: String,
    from: String,
    path: String,
    badge: Option<Markup>,
}

struct AttemptRow {
    number: u16,
    badge: Markup,
    builder: String,
    builder_path: String,
    when: Option<Markup>,
    age: Option<Markup>,
    took: String,
    reason: String,
    is_charged: bool,
    evidence: Vec<String>,
    provenance: Vec<String>,
    /// Name and path.
    logs: Vec<(&'static str, String)>,
    rpms: Vec<(String, String)>,
    files: Vec<(String, String)>,
}

pub(super) async fn page(site: &Site, mut shell: Shell, asked: &str) -> Result<String, Problem> {
    let detail = site.package(asked).await?;
    shell.title = name(&detail.package.srpm);
    shown(shell, &detail)
}

pub(super) fn shown(shell: Shell, detail: &PackageDetail) -> Result<String, Problem> {
    fill(&Page::new(shell, detail))
}

impl Page {
    fn new(shell: Shell, detail: &PackageDetail) -> Page {
        let package = &detail.package;
        let words = [
            ("Why", &detail.why),
            ("Place in the order", &detail.order),
            ("Passed over", &detail.passed_over),
            ("What happens next", &detail.next),
        ];
        Page {
            name: name(&package.srpm),
            badge: say::state(package.state),
            since: shell.look.age(package.since),
            build: (package.state == PackageState::Building).then(|| overview::Row::new(&shell, package)),
            words: words
                .into_iter()
                .filter(|(_, lines)| !lines.is_empty())
                .map(|(head, lines)| (head, lines.clone()))
                .collect(),
            lacks: detail.lacks.iter().map(lack).collect(),
            graph: neighbours(detail),
            attempts: detail.attempts.iter().rev().map(|one| attempt(&shell, &package.srpm, one)).collect(),
            facts: facts(package, &detail.options),
            folder: package.place.as_deref().map(|place| (format!("repo/{place}/"), folder_path(place))),
            shell,
        }
    }
}

fn facts(package: &Package, options: &[String]) -> Vec<(&'static str, String)> {
    let all = [
        ("Source RPM", package.srpm.clone()),
        ("Package", package.nevr.clone().unwrap_or_default()),
        ("Size", package.size_bytes.map(say::size).unwrap_or_default()),
        ("Line in priority.txt", package.priority.map(|line| line.to_string()).unwrap_or_default()),
        ("Charged attempts", package.charged.to_string()),
        ("Expected to take", package.expected_s.map(|s| say::duration(s.into())).unwrap_or_default()),
        ("Options", options.join(" ")),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn lack(lack: &Lack) -> LackRow {
    LackRow {
        capability: lack.capability.clone(),
        text: match (lack.there, &lack.text) {
            (true, None) => "is there now".to_owned(),
            (_, text) => text.clone().unwrap_or_default(),
        },
        from: lack.from.as_deref().map(name).unwrap_or_default(),
        path: lack.from.as_deref().map(package_path).unwrap_or_default(),
        badge: lack.state.map(say::state),
    }
}

/// What is known of who waits for whom.
fn neighbours(detail: &PackageDetail) -> Option<Markup> {
    let node = |srpm: &str, state: Option<PackageState>| Node {
        name: srpm.to_owned(),
        path: package_path(srpm),
        tone: state.map_or("off", say::tone),
        word: state.map(|state| state.to_string()).unwrap_or_default(),
    };
    let mut before: BTreeMap<&str, Node> = BTreeMap::new();
    for lack in detail.lacks.iter().filter(|lack| !lack.there) {
        // What nobody here would build is named by what it is.
        let found = match &lack.from {
            Some(srpm) => (&**srpm, node(srpm, lack.state)),
            None => {
                let word = "nobody provides it".to_owned();
                let name = lack.capability.clone();
                (&*lack.capability, Node { name, path: String::new(), tone: "bad", word })
            }
        };
        before.insert(found.0, found.1);
    }
    for one in &detail.waits_for {
        before.insert(&one.srpm, node(&one.srpm, Some(one.state)));
    }
    let before: Vec<Node> = before.into_values().collect();
    let after: Vec<Node> = detail.waited_for_by.iter().map(|one| node(&one.srpm, Some(one.state))).collect();
    let own = &detail.package;
    let middle = Node { path: String::new(), ..node(&own.srpm, Some(own.state)) };
    graph(&middle, &before, &after)
}

/// Where a log is read by people.
pub(super) fn log_path(srpm: &str, which: Which, attempt: u16) -> String {
    let path = format!("{}/log", package_path(srpm));
    with_query(&path, &[("which", which.as_str()), ("attempt", &attempt.to_string())])
}

fn attempt(shell: &Shell, srpm: &str, one: &Attempt) -> AttemptRow {
    let builder = one.builder.clone().unwrap_or_default();
    let file = |path: &String| {
        let last = path.rsplit('/').next().unwrap_or_default();
        (super::target::unescape(last).unwrap_or_else(|| last.to_owned()), path.clone())
    };
    // Logs are named once, where people read them.
    let is_shown = |(name, _): &(String, String)| {
        let which = name.strip_suffix(".log").unwrap_or_default();
        !one.logs.iter().any(|log| log.which.as_str() == which)
    };
    let (rpms, files) =
        one.files.iter().map(file).filter(is_shown).partition(|(name, _)| name.ends_with(".rpm"));
    AttemptRow {
        number: one.number,
        badge: say::verdict(one.verdict, one.ended.is_none()),
        builder_path: builder_path(&builder),
        builder,
        when: one.began.map(say::moment),
        age: one.ended.or(one.began).map(|at| shell.look.age(at)),
        took: one.duration_s.map(|s| say::duration(s.into())).unwrap_or_default(),
        reason: one.reason.clone().unwrap_or_default(),
        is_charged: one.charged,
        evidence: one.evidence.clone(),
        provenance: one.provenance.clone(),
        logs: one
            .logs
            .iter()
            .map(|log| (log.which.as_str(), log_path(srpm, log.which, one.number)))
            .collect(),
        rpms,
        files,
    }
}
