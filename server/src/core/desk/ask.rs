//! What a request needs before it can be answered, and the first step of its answer.
//!
//! Owns that table. Everything that is waited for is asked for once for all who wait.

use moji_proto::Line;
use moji_proto::message::{FromOperator, NoCode, PackageState};

use super::change;
use super::events::Following;
use super::logs::{Reading, Wish};
use super::names;
use super::rows::{Rows, Show};
use super::session::{Answer, Session, Step};
use super::why::Why;
use super::{Cx, Parcel};

/// What a request needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Needs {
    view: bool,
    tails: bool,
    counts: bool,
}

fn needs(request: &FromOperator) -> Needs {
    use FromOperator as M;
    let view = Needs { view: true, ..Needs::default() };
    match request {
        M::Status => Needs { view: true, tails: true, counts: true },
        M::List { state: None | Some(PackageState::Building), .. } | M::Show { .. } => {
            Needs { tails: true, ..view }
        }
        M::List { .. } | M::Names { .. } | M::Log { .. } | M::Why { .. } => view,
        M::Builders { .. } => Needs { counts: true, ..view },
        M::Events { current, .. } => Needs { view: *current, ..Needs::default() },
        M::Change { order, .. } => Needs { view: change::needs_view(*order), ..Needs::default() },
        M::History { .. } | M::Submit { .. } | M::Blocked { .. } => Needs::default(),
        M::Ping | M::Hail { .. } | M::More { .. } | M::Data { .. } | M::Word { .. } => Needs::default(),
    }
}

impl Session {
    /// A request came.
    pub(super) fn ask(&mut self, cx: &mut Cx<'_>, request: FromOperator) {
        let left = match request {
            FromOperator::Submit { options, .. } => options,
            FromOperator::Change { words, .. } => words,
            _ => 0,
        };
        if left > 0 {
            self.answer = Answer::Words { request, words: Vec::new(), left };
        } else {
            self.prepare(cx, request, Vec::new());
        }
    }

    /// All of a request is there.
    pub(super) fn prepare(&mut self, cx: &mut Cx<'_>, request: FromOperator, words: Vec<Line>) {
        self.answer = Answer::Prepare { request, words, asked: cx.now };
    }

    /// Begins the answer if all that it needs is there.
    pub(super) fn start(&mut self, cx: &mut Cx<'_>) -> Step {
        let Answer::Prepare { request, asked, .. } = &self.answer else { return Step::Wait };
        let (needs, asked) = (needs(request), *asked);
        let mut seen = None;
        if needs.view {
            seen = cx.shared.view(cx.now, asked, cx.out);
            if seen.is_none() {
                return Step::Wait;
            }
        }
        let has_counts = !needs.counts || cx.shared.has_counts(asked, cx.out);
        let has_tails = !needs.tails || cx.shared.has_tails(cx.now, asked, cx.out);
        if !has_counts || !has_tails {
            return Step::Wait;
        }
        let Answer::Prepare { request, words, .. } = std::mem::replace(&mut self.answer, Answer::Waiting)
        else {
            return Step::Wait;
        };
        match seen {
            Some((view, seq)) => self.answer_from_view(cx, view, seq, request, words),
            None => self.answer_at_once(cx, request, words),
        }
        Step::Again
    }

    fn answer_from_view(
        &mut self,
        cx: &mut Cx<'_>,
        view: std::sync::Arc<crate::core::view::View>,
        seq: u64,
        request: FromOperator,
        words: Vec<Line>,
    ) {
        use FromOperator as M;
        self.answer = match request {
            M::Status => Answer::Rows(Rows::status(view)),
            M::List { pattern, state } => match names::no_package_of(&view, &pattern) {
                None => Answer::Rows(Rows::packages(view, &pattern, state)),
                Some(miss) => return self.miss(pattern.as_str(), miss),
            },
            M::Builders { pattern } => {
                match names::no_builder_of(&view, cx.shared.unlisted_rows(cx.now), &pattern) {
                    None => Answer::Rows(Rows::builders(view, &pattern)),
                    Some(miss) => return self.miss(pattern.as_str(), miss),
                }
            }
            M::Names { prefix, of } => Answer::Rows(Rows::names(view, &prefix, of)),
            M::Show { package } => match Show::new(&view, package.as_str(), cx) {
                Ok(show) => Answer::Show(Box::new(show)),
                Err(miss) => return self.miss(package.as_str(), miss),
            },
            M::Why { package } => match Why::new(&view, package.as_str(), cx, self.run) {
                Ok(why) => Answer::Why(Box::new(why)),
                Err(miss) => return self.miss(package.as_str(), miss),
            },
            M::Log { package, which, attempt, offset, follow } => {
                match Reading::new(&view, package.as_str(), Wish { which, attempt, offset, follow }) {
                    Ok(reading) => Answer::Log(Box::new(reading)),
                    Err(miss) => return self.miss(package.as_str(), miss),
                }
            }
            M::Events { pattern, after, .. } => {
                // What happened since the view was made comes after it.
                let after = if after == 0 { seq } else { after };
                let rows = Rows::packages(view, &pattern, None);
                Answer::Events(Following::live(&pattern, after).behind(rows))
            }
            M::Change { order, target, .. } => return self.change(cx, &view, order, target.as_str(), words),
            _ => return self.no(NoCode::Refused, "", "this hub does not answer that"),
        };
    }

    fn answer_at_once(&mut self, cx: &mut Cx<'_>, request: FromOperator, words: Vec<Line>) {
        use FromOperator as M;
        match request {
            M::Events { pattern, after, .. } => {
                let after = if after == 0 { cx.shared.last_seq() } else { after };
                self.answer = Answer::Events(Following::live(&pattern, after));
            }
            M::History { pattern, rows } => {
                self.answer = Answer::Events(Following::newest(cx.shared, &pattern, rows));
            }
            M::Blocked { rows } => self.ask_blocked(cx, rows),
            M::Submit { name, size, digest, first, .. } => {
                self.submit(cx, Parcel { name, size, digest }, first, words);
            }
            M::Change { order, target, .. } => {
                self.change(cx, &crate::core::view::View::default(), order, target.as_str(), words);
            }
            _ => self.no(NoCode::Refused, "", "this hub does not answer that"),
        }
    }
}
