//! Answers that are rows of a view: the farm, packages, builders; and a package with its attempts.
//!
//! Owns the order of rows. A view is shared and walked row by row as credit allows, never copied.

use std::collections::VecDeque;
use std::sync::Arc;

use moji_proto::Line;
use moji_proto::message::{
    AttemptRow, BuilderRow, BuilderState, FarmRow, NameOf, PackageRow, PackageState, ToOperator, Topic,
};

use super::names::{self, Pattern};
use super::session::Step;
use super::shared::seconds;
use super::{Cx, Job};
use crate::core::view::View;

/// Names that are told for completion: more than a shell shows without asking.
const NAMES_MAX: usize = 200;
/// Packages that a line about thin repositories names.
const THIN_SHOWN_MAX: usize = 8;

/// A part of an answer.
#[derive(Debug)]
enum Part {
    Farm,
    Packages { pattern: Option<Pattern>, state: Option<PackageState> },
    Builders { pattern: Option<Pattern>, attention: bool },
    Unlisted { pattern: Option<Pattern> },
    Names(std::vec::IntoIter<String>),
}

/// Rows of a view.
#[derive(Debug)]
pub(super) struct Rows {
    view: Arc<View>,
    parts: VecDeque<Part>,
    /// How far the first part is.
    at: usize,
}

impl Rows {
    fn new(view: Arc<View>, parts: impl IntoIterator<Item = Part>) -> Rows {
        Rows { view, parts: parts.into_iter().collect(), at: 0 }
    }

    /// The farm, builds, builders that need attention.
    pub(super) fn status(view: Arc<View>) -> Rows {
        let building = Part::Packages { pattern: None, state: Some(PackageState::Building) };
        let builders = Part::Builders { pattern: None, attention: true };
        Rows::new(view, [Part::Farm, building, builders, Part::Unlisted { pattern: None }])
    }

    /// Packages.
    pub(super) fn packages(view: Arc<View>, pattern: &Line, state: Option<PackageState>) -> Rows {
        Rows::new(view, [Part::Packages { pattern: Pattern::new(pattern), state }])
    }

    /// Builders, those that were turned away among them.
    pub(super) fn builders(view: Arc<View>, pattern: &Line) -> Rows {
        let pattern = Pattern::new(pattern);
        let unlisted = Part::Unlisted { pattern: pattern.clone() };
        Rows::new(view, [Part::Builders { pattern, attention: false }, unlisted])
    }

    /// Names that begin so.
    pub(super) fn names(view: Arc<View>, prefix: &Line, of: NameOf) -> Rows {
        let packages = view.packages.iter().map(|package| &package.row);
        let mut names: Vec<String> = match of {
            NameOf::Package => packages.map(names::nvr).collect(),
            NameOf::Builder => view.builders.iter().map(|row| row.name.to_string()).collect(),
            NameOf::Result => packages
                .filter(|row| row.state == PackageState::Success)
                .map(|row| row.place.to_string())
                .collect(),
        };
        names.retain(|name| !name.is_empty() && name.starts_with(prefix.as_str()));
        names.sort();
        names.dedup();
        names.truncate(NAMES_MAX);
        Rows::new(view, [Part::Names(names.into_iter())])
    }

    pub(super) fn step(&mut self, cx: &mut Cx<'_>) -> Step {
        while let Some(part) = self.parts.front_mut() {
            if let Some(row) = part.next(&self.view, &mut self.at, cx) {
                return Step::Row(row);
            }
            self.parts.pop_front();
            self.at = 0;
        }
        Step::End
    }
}

impl Part {
    fn next(&mut self, view: &View, at: &mut usize, cx: &Cx<'_>) -> Option<ToOperator> {
        match self {
            Part::Farm => {
                *at += 1;
                (*at == 1).then(|| ToOperator::Farm(farm(view, cx)))
            }
            Part::Packages { pattern, state } => {
                let fits = |row: &&crate::core::view::PackageView| {
                    state.is_none_or(|state| row.row.state == state)
                        && pattern.as_ref().is_none_or(|pattern| pattern.fits_package(&row.row))
                };
                let found = view.packages.get(*at..)?.iter().position(|row| fits(&row))?;
                *at += found + 1;
                Some(ToOperator::Package(cx.shared.fill_package(cx.now, &view.packages[*at - 1].row)))
            }
            Part::Builders { pattern, attention } => {
                let calm = |row: &BuilderRow| {
                    matches!(row.state, BuilderState::Idle | BuilderState::Busy)
                        && row.suspect.as_str().is_empty()
                };
                let found = view.builders.get(*at..)?.iter().position(|row| {
                    !(*attention && calm(row))
                        && pattern.as_ref().is_none_or(|pattern| pattern.fits_builder(row))
                })?;
                *at += found + 1;
                Some(ToOperator::Builder(Box::new(cx.shared.fill_builder(view, &view.builders[*at - 1]))))
            }
            Part::Unlisted { pattern } => {
                let mut rows = cx.shared.unlisted_rows(cx.now).enumerate().skip(*at);
                let (found, row) =
                    rows.find(|(_, row)| pattern.as_ref().is_none_or(|pattern| pattern.fits_builder(row)))?;
                *at = found + 1;
                Some(ToOperator::Builder(Box::new(row)))
            }
            Part::Names(names) => names.next().map(|name| ToOperator::Name { name: Line::lossy(&name) }),
        }
    }
}

/// `zlib-1.3-1 (2), …`: whose builds began again since a thin repository was not enough, and how often; the most often first.
fn thin(view: &View) -> String {
    let mut rows: Vec<&PackageRow> =
        view.packages.iter().map(|package| &package.row).filter(|row| row.widened > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.widened));
    let shown = rows.iter().take(THIN_SHOWN_MAX);
    let name = |row: &PackageRow| row.srpm.as_str().trim_end_matches(".src.rpm").to_owned();
    let mut parts: Vec<String> = shown.map(|row| format!("{} ({})", name(row), row.widened)).collect();
    if rows.len() > THIN_SHOWN_MAX {
        parts.push(format!("{} more", rows.len() - THIN_SHOWN_MAX));
    }
    parts.join(", ")
}

pub(super) fn farm(view: &View, cx: &Cx<'_>) -> FarmRow {
    let (mut packages, mut builders) = ([0u32; 11], [0u32; 9]);
    view.packages.iter().for_each(|package| packages[package.row.state as usize] += 1);
    view.builders.iter().for_each(|row| builders[row.state as usize] += 1);
    builders[BuilderState::Unlisted as usize] += u32::try_from(cx.shared.unlisted.len()).unwrap_or(u32::MAX);
    let line = |text: &Option<String>| text.as_deref().map(Line::lossy).unwrap_or_default();
    let (free_bytes, floor_bytes) = view.space.unwrap_or_default();
    FarmRow {
        unix_s: cx.shared.unix_ms / 1_000,
        up_s: seconds(cx.now.since_ms(cx.shared.setup.started)),
        version: cx.shared.setup.version.clone(),
        target: line(&view.target),
        packages,
        builders,
        free_bytes,
        floor_bytes,
        blocked: line(&view.blocked),
        idle: line(&view.idle),
        rpms: cx.shared.rpms,
        ends_in_s: view.ends_in_s,
        thin: Line::lossy(&thin(view)),
    }
}

/// A package with its attempts: what each of them left is read when its turn comes.
#[derive(Debug)]
pub(super) struct Show {
    head: VecDeque<ToOperator>,
    srpm: moji_proto::FileName,
    /// The last result, if the history knows of no attempt.
    place: Line,
    attempts: Option<VecDeque<AttemptRow>>,
    /// Where the details of the last attempt are.
    details: Option<Line>,
}

impl Show {
    pub(super) fn new(view: &View, text: &str, cx: &Cx<'_>) -> Result<Show, names::Miss> {
        let package = names::package(view, text)?;
        let mut head = VecDeque::from([ToOperator::Package(cx.shared.fill_package(cx.now, &package.row))]);
        let options = package.options.iter().map(|line| (Topic::Option, line.clone()));
        let wants = package.wants.iter().map(|name| (Topic::Wants, Line::lossy(name)));
        head.extend(options.chain(wants).map(|(topic, line)| ToOperator::Text { topic, line }));
        let (srpm, place) = (package.row.srpm.clone(), package.row.place.clone());
        Ok(Show { head, srpm, place, attempts: None, details: None })
    }

    /// The history answered.
    pub(super) fn attempts(&mut self, rows: Vec<AttemptRow>) {
        // Without a history the last result is still there to be read.
        let place = std::mem::take(&mut self.place);
        self.details = (rows.is_empty() && !place.as_str().is_empty()).then_some(place);
        self.attempts = Some(rows.into());
    }

    pub(super) fn step(&mut self, _: &Cx<'_>) -> Result<Step, Job> {
        if let Some(row) = self.head.pop_front() {
            return Ok(Step::Row(row));
        }
        if let Some(place) = self.details.take() {
            return Err(Job::Details(place));
        }
        let Some(attempts) = &mut self.attempts else { return Err(Job::Attempts(self.srpm.clone())) };
        let Some(row) = attempts.pop_front() else { return Ok(Step::End) };
        self.details = (!row.place.as_str().is_empty()).then(|| row.place.clone());
        Ok(Step::Row(ToOperator::Attempt(row)))
    }
}
