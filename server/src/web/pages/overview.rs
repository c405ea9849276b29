//! `/`: how far all of it is, what is wrong, what is being built where, what came of the last builds.

use askama::Template;

use super::draw::bar::{Part, bar};
use super::say::{self, Markup};
use super::target::{builder_path, package_path, with_query};
use super::{Shell, fill};
use crate::web::model::{
    BuilderState, Concern, ConcernKind, EventKind, Overview, Package, PackageState, Phase, Verdict,
};
use crate::web::problem::Problem;
use crate::web::site::Site;

/// Builds that are shown; a screen is full long before.
const BUILDING_MAX: usize = 50;
/// Concerns that are shown.
const CONCERNS_MAX: usize = 20;
/// States in the order of a package's life, as the bar shows them.
const BAR: [PackageState; 11] = [
    PackageState::Success,
    PackageState::Finished,
    PackageState::Building,
    PackageState::Review,
    PackageState::Failed,
    PackageState::Unusable,
    PackageState::Deps,
    PackageState::Waiting,
    PackageState::Duplicate,
    PackageState::Excluded,
    PackageState::Cancelled,
];

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    shell: Shell,
    total: String,
    done: String,
    percent: u32,
    is_empty: bool,
    target: String,
    left: Option<Markup>,
    bar: Option<Markup>,
    /// Badge, count and path of each state that has packages.
    legend: Vec<Count>,
    builders: Vec<Count>,
    free: String,
    rpms: String,
    trouble: Vec<Trouble>,
    more_trouble: usize,
    idle: Option<String>,
    building: Vec<Row>,
    more_building: Option<String>,
    results: Vec<Outcome>,
    version: String,
    since: Markup,
}

struct Count {
    badge: Markup,
    count: String,
    path: String,
}

struct Trouble {
    tone: &'static str,
    kind: &'static str,
    text: String,
    /// Empty: it leads nowhere.
    path: String,
}

/// A build.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) log: String,
    pub(super) builder: String,
    pub(super) builder_path: String,
    pub(super) phase: &'static str,
    pub(super) elapsed: Markup,
    pub(super) expected: String,
    pub(super) progress: Option<Markup>,
    pub(super) line: String,
}

struct Outcome {
    badge: Markup,
    name: String,
    path: String,
    builder: String,
    builder_path: String,
    age: Markup,
    text: String,
}

pub(super) async fn page(site: &Site, shell: Shell) -> Result<String, Problem> {
    shown(shell, &site.overview().await?)
}

pub(super) fn shown(shell: Shell, farm: &Overview) -> Result<String, Problem> {
    fill(&Page::new(shell, farm))
}

impl Page {
    fn new(shell: Shell, farm: &Overview) -> Page {
        let look = shell.look;
        let part = |state: &PackageState| Part {
            tone: say::tone(*state),
            name: state.to_string(),
            count: farm.count(*state).into(),
        };
        let parts: Vec<Part> = BAR.iter().map(part).collect();
        let legend = BAR.iter().filter(|state| farm.count(**state) > 0).map(|state| Count {
            badge: say::state(*state),
            count: say::count(farm.count(*state)),
            path: with_query("/packages", &[("state", state.as_str())]),
        });
        let builders = BuilderState::ALL.iter().filter_map(|state| {
            let count = farm.builders.get(state).copied().filter(|count| *count > 0)?;
            let path = with_query("/builders", &[("state", state.as_str())]);
            Some(Count { badge: say::builder(*state), count: say::count(count), path })
        });
        let building_count = farm.count(PackageState::Building);
        let more = building_count.saturating_sub(u32::try_from(BUILDING_MAX).unwrap_or(u32::MAX));
        Page {
            total: say::count(farm.total),
            done: say::count(farm.done),
            percent: farm.percent(),
            is_empty: farm.total == 0,
            target: farm.target.clone().unwrap_or_default(),
            left: farm.expected_end.filter(|_| farm.done < farm.total).map(|end| look.left(end)),
            bar: bar(&parts),
            legend: legend.collect(),
            builders: builders.collect(),
            free: say::size(farm.free_bytes),
            rpms: say::counted(farm.rpms, "RPM", "RPMs"),
            trouble: farm.concerns.iter().take(CONCERNS_MAX).map(trouble).collect(),
            more_trouble: farm.concerns.len().saturating_sub(CONCERNS_MAX),
            idle: farm.idle.clone(),
            building: farm.building.iter().take(BUILDING_MAX).map(|row| Row::new(&shell, row)).collect(),
            more_building: (more > 0).then(|| say::counted(more, "more", "more")),
            results: farm.results.iter().filter_map(|event| outcome(&shell, event)).collect(),
            version: farm.version.clone(),
            since: look.age(farm.started),
            shell,
        }
    }
}

impl Row {
    pub(super) fn new(shell: &Shell, package: &Package) -> Row {
        let (look, path) = (shell.look, package_path(&package.srpm));
        let expected = package.expected_s;
        // Without BuildRequires there is no output of rpmbuild yet.
        let which = match package.phase {
            Some(Phase::Build | Phase::Collect | Phase::Upload) => "build",
            _ => "root",
        };
        Row {
            name: name(&package.srpm),
            log: with_query(&format!("{path}/log"), &[("which", which)]),
            path,
            builder: package.builder.clone().unwrap_or_default(),
            builder_path: package.builder.as_deref().map(builder_path).unwrap_or_default(),
            phase: package.phase.map(Phase::as_str).unwrap_or("starting"),
            elapsed: look.age(package.since),
            expected: expected.map(|s| format!("of ~{}", say::duration(s.into()))).unwrap_or_default(),
            progress: expected.map(|s| look.progress(package.since, s)),
            line: package.line.clone().unwrap_or_default(),
        }
    }
}

/// A package's name without the ending that all have.
pub(super) fn name(srpm: &str) -> String {
    srpm.strip_suffix(".src.rpm").unwrap_or(srpm).to_owned()
}

fn trouble(concern: &Concern) -> Trouble {
    let (tone, kind) = match concern.kind {
        ConcernKind::Blocked => ("bad", "stopped"),
        ConcernKind::Disk => ("bad", "disk"),
        ConcernKind::Builder => ("bad", "builder"),
        ConcernKind::Suspect => ("look", "suspect"),
        ConcernKind::Review => ("look", "held"),
        ConcernKind::Unusable => ("look", "unusable"),
        ConcernKind::Deps => ("wait", "deps"),
    };
    let path = match (&concern.package, &concern.builder, concern.kind) {
        (Some(srpm), ..) => package_path(srpm),
        (_, Some(name), _) => builder_path(name),
        (_, _, ConcernKind::Deps) => "/packages?state=deps".to_owned(),
        _ => String::new(),
    };
    Trouble { tone, kind, text: concern.text.clone(), path }
}

fn outcome(shell: &Shell, event: &crate::web::model::Event) -> Option<Outcome> {
    let srpm = event.srpm.as_deref().filter(|_| event.kind == EventKind::Ended)?;
    let builder = event.builder.clone().unwrap_or_default();
    Some(Outcome {
        badge: say::verdict(event.verdict, false),
        name: name(srpm),
        path: package_path(srpm),
        builder_path: builder_path(&builder),
        builder,
        age: shell.look.age(event.time),
        text: event.text.clone().filter(|_| event.verdict != Some(Verdict::Success)).unwrap_or_default(),
    })
}
