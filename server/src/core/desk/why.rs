//! Why a package is where it is, and what all packages wait for.
//!
//! Owns the order of the answer: the package, what the queue says, the newest attempts as the history has them. Asks the
//! queue once a question, and has a worker make sense of what it took down about all packages.

use std::collections::VecDeque;

use moji_proto::FileName;
use moji_proto::message::{AttemptRow, ToOperator};

use super::names::{self, Miss};
use super::session::{Answer, Session, Step};
use super::{Cx, Effect, Job, Run};
use crate::core::queue::{self, About, Survey};
use crate::core::view::{Ticket, View};

/// So many attempts are told, the newest: what came before is `show`'s.
const ATTEMPTS_MAX: usize = 5;

/// Why one package is where it is.
#[derive(Debug)]
pub(super) struct Why {
    srpm: FileName,
    head: VecDeque<ToOperator>,
    is_explained: bool,
    attempts: Option<VecDeque<AttemptRow>>,
}

impl Why {
    /// Asks the queue.
    pub(super) fn new(view: &View, text: &str, cx: &mut Cx<'_>, run: Run) -> Result<Why, Miss> {
        let package = names::package(view, text)?;
        let srpm = package.row.srpm.clone();
        ask(cx, run, About::Package(srpm.clone()));
        let head = VecDeque::from([ToOperator::Package(cx.shared.fill_package(cx.now, &package.row))]);
        Ok(Why { srpm, head, is_explained: false, attempts: None })
    }

    /// The history answered.
    pub(super) fn attempts(&mut self, mut rows: Vec<AttemptRow>) {
        rows.drain(..rows.len().saturating_sub(ATTEMPTS_MAX));
        self.attempts = Some(rows.into());
    }

    pub(super) fn step(&mut self) -> Result<Step, Job> {
        if let Some(row) = self.head.pop_front() {
            return Ok(Step::Row(row));
        }
        if !self.is_explained {
            return Ok(Step::Wait);
        }
        let Some(attempts) = &mut self.attempts else { return Err(Job::Attempts(self.srpm.clone())) };
        Ok(attempts.pop_front().map_or(Step::End, |row| Step::Row(ToOperator::Attempt(row))))
    }
}

impl Session {
    /// Asks what all packages wait for.
    pub(super) fn ask_blocked(&mut self, cx: &mut Cx<'_>, rows: u32) {
        ask(cx, self.run, About::Blocked { rows });
        self.answer = Answer::Blocked;
    }

    /// The queue said why a package is where it is.
    pub(super) fn explained(&mut self, rows: Vec<ToOperator>) {
        if let Answer::Why(why) = &mut self.answer {
            why.head.extend(rows);
            why.is_explained = true;
        }
    }

    /// The queue said what packages wait for.
    pub(super) fn surveyed(&mut self, cx: &mut Cx<'_>, survey: Box<Survey>) {
        if matches!(self.answer, Answer::Blocked) {
            self.work(cx, Job::Blocked(survey));
        }
    }
}

fn ask(cx: &mut Cx<'_>, run: Run, about: About) {
    let ticket = Ticket(run.0);
    cx.shared.tickets.insert(ticket, run);
    cx.out.push(Effect::Queue(queue::Msg::Ask { ticket, about }));
}
