//! `/builders/NAME`: one builder, its health, what it is at, what it did.

use askama::Template;

use super::builders::{health, load};
use super::overview::name;
use super::say::{self, Markup};
use super::target::package_path;
use super::{Shell, fill};
use crate::web::model::{Builder, BuilderDetail, Try};
use crate::web::problem::Problem;
use crate::web::site::Site;

#[derive(Template)]
#[template(path = "builder.html")]
struct Page {
    shell: Shell,
    name: String,
    badge: Markup,
    why: String,
    since: Option<Markup>,
    until: Option<Markup>,
    suspect: String,
    trouble: String,
    srpm: String,
    srpm_path: String,
    phase: &'static str,
    health: String,
    /// Name and value.
    facts: Vec<(&'static str, String)>,
    tries: Vec<Row>,
}

/// An attempt among those of other packages.
pub(super) struct Row {
    pub(super) badge: Markup,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) builder: String,
    pub(super) builder_path: String,
    pub(super) age: Option<Markup>,
    pub(super) took: String,
    pub(super) reason: String,
}

pub(super) async fn page(site: &Site, shell: Shell, asked: &str) -> Result<String, Problem> {
    shown(shell, &site.builder(asked).await?)
}

pub(super) fn shown(shell: Shell, detail: &BuilderDetail) -> Result<String, Problem> {
    fill(&Page::new(shell, detail))
}

impl Page {
    fn new(shell: Shell, detail: &BuilderDetail) -> Page {
        let (builder, look) = (&detail.builder, shell.look);
        Page {
            name: builder.name.clone(),
            badge: say::builder(builder.state),
            why: builder.why.clone().unwrap_or_default(),
            since: builder.since.map(|since| look.age(since)),
            until: builder.until.map(|until| look.left(until)),
            suspect: builder.suspect.clone().unwrap_or_default(),
            trouble: builder.trouble.map(|trouble| trouble.to_string()).unwrap_or_default(),
            srpm: builder.srpm.as_deref().map(name).unwrap_or_default(),
            srpm_path: builder.srpm.as_deref().map(package_path).unwrap_or_default(),
            phase: builder.phase.map(|phase| phase.as_str()).unwrap_or_default(),
            health: health(builder),
            facts: facts(builder),
            tries: detail.attempts.iter().map(|one| Row::new(&shell, one)).collect(),
            shell,
        }
    }
}

fn facts(builder: &Builder) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let number = |n: Option<u16>| n.map(|n| n.to_string()).unwrap_or_default();
    let memory = builder.memory_mib.map(|mib| say::size(u64::from(mib) << 20)).unwrap_or_default();
    let all = [
        ("Successes", say::count(builder.built)),
        ("Failures", say::count(builder.failed)),
        ("Faults in a row", builder.faults.to_string()),
        ("Load", load(builder)),
        ("Processors", number(builder.cpus)),
        ("Memory", memory),
        ("Architecture", text(&builder.arch)),
        ("Builds with", format!("{} {}", builder.backend, text(&builder.cfg))),
        ("Version", text(&builder.version)),
        ("Calls from", text(&builder.peer)),
        ("Key", builder.key.clone()),
    ];
    all.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect()
}

impl Row {
    pub(super) fn new(shell: &Shell, one: &Try) -> Row {
        let builder = one.builder.clone().unwrap_or_default();
        Row {
            badge: say::verdict(one.verdict, one.ended.is_none()),
            name: name(&one.srpm),
            path: package_path(&one.srpm),
            builder_path: super::target::builder_path(&builder),
            builder,
            age: one.ended.or(one.began).map(|at| shell.look.age(at)),
            took: one.duration_s.map(|s| say::duration(s.into())).unwrap_or_default(),
            reason: one.reason.clone().unwrap_or_default(),
        }
    }
}
