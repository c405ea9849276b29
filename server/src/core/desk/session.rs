//! One operator's session: the request that it runs, its rows, and the credit for them.
//!
//! ```text
//! Idle ──a request──▶ Words ──last one──▶ Prepare ──view, lines, counts──▶ Rows, Show, Log, Events, …
//!  ▲                                                                               │
//!  └──────────────────────── End, when nothing is left to send ────────────────────┘
//! ```
//!
//! Must never send a row without credit, nor end an answer twice. A row waits in `queue` at most until there
//! is credit; what a queue may hold is bounded by whoever fills it.

use std::collections::VecDeque;
use std::net::IpAddr;

use moji_proto::limits::{OPERATOR_ROWS, OPERATOR_ROWS_MAX};
use moji_proto::message::{EventRow, FromOperator, NoCode, ToOperator};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Line, PublicKey, Time};

use super::events::Following;
use super::logs::Reading;
use super::names::Miss;
use super::rows::{Rows, Show};
use super::shared::Ordered;
use super::submit::Taking;
use super::why::Why;
use super::{Cx, Done, Effect, INNER_ROWS, Job, Run};
use crate::core::types::SessionId;
use crate::core::view::Reply;

/// What a session is about.
#[derive(Debug)]
pub(super) enum Answer {
    /// No request runs.
    Idle,
    /// So many words of it are still to come.
    Words { request: FromOperator, words: Vec<Line>, left: u8 },
    /// It waits for what it needs, since then.
    Prepare { request: FromOperator, words: Vec<Line>, asked: Time },
    /// Rows of a view.
    Rows(Rows),
    /// A package and its attempts.
    Show(Box<Show>),
    /// Why a package is where it is.
    Why(Box<Why>),
    /// What packages wait for.
    Blocked,
    /// A log.
    Log(Box<Reading>),
    /// Events.
    Events(Following),
    /// A source RPM arrives.
    Submit(Box<Taking>),
    /// Somebody carries it out.
    Waiting,
    /// What came of it, for each thing.
    Replies(std::vec::IntoIter<Reply>),
    /// All rows are in the queue.
    Last,
}

/// What an answer has next.
pub(super) enum Step {
    /// A row, or something that is none.
    Row(ToOperator),
    /// Nothing yet.
    Wait,
    /// Rows are in the queue now.
    Again,
    /// Nothing any more.
    End,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    peer: IpAddr,
    /// `user@host (address)`.
    pub(super) who: String,
    /// It is one of those that are answered.
    pub(super) seated: bool,
    /// Its request, for what comes back late.
    pub(super) run: Run,
    pub(super) answer: Answer,
    pub(super) queue: VecDeque<ToOperator>,
    pub(super) credit: u32,
    rows: u32,
    /// A job of this request is with a worker.
    pub(super) busy: bool,
}

impl Session {
    pub(super) fn new(id: SessionId, peer: IpAddr) -> Session {
        Session {
            id,
            peer,
            who: peer.to_string(),
            seated: false,
            run: Run::default(),
            answer: Answer::Idle,
            queue: VecDeque::new(),
            credit: 0,
            rows: 0,
            busy: false,
        }
    }

    pub(super) fn hail(&mut self, user: &Line, host: &Line) {
        self.who = format!("{user}@{host} ({})", self.peer);
    }

    /// The operator takes so many rows more.
    pub(super) fn grant(&mut self, rows: u16) {
        self.credit = (self.credit + u32::from(rows)).min(OPERATOR_ROWS_MAX);
    }

    /// A request begins.
    pub(super) fn begin(&mut self, run: Run) {
        self.run = run;
        self.credit = u32::from(if self.id.is_inner() { INNER_ROWS } else { OPERATOR_ROWS });
        (self.rows, self.busy) = (0, false);
        self.queue.clear();
    }

    /// Has a worker do something for this request.
    pub(super) fn work(&mut self, cx: &mut Cx<'_>, job: Job) {
        assert!(!self.busy, "a request has one job at a time");
        self.busy = true;
        cx.out.push(Effect::Work { run: self.run, job });
    }

    /// What workers do for this request from here on is an operator's change.
    pub(super) fn order(&self, cx: &mut Cx<'_>, key: Option<PublicKey>) {
        cx.shared.orders.insert(self.run, Ordered { who: self.who.clone(), key });
    }

    /// The whole answer is no.
    pub(super) fn no(&mut self, code: NoCode, target: &str, text: impl AsRef<str>) {
        let (target, text) = (Line::lossy(target), Line::lossy(text.as_ref()));
        self.queue.push_back(ToOperator::No { code, target, text });
        self.answer = Answer::Last;
    }

    /// The whole answer is that there is no such thing, and what comes near.
    pub(super) fn miss(&mut self, target: &str, miss: Miss) {
        self.no(miss.code, target, miss.text);
        self.queue.extend(miss.names.iter().map(|name| ToOperator::Name { name: Line::lossy(name) }));
    }

    /// A word of a request.
    pub(super) fn word(&mut self, cx: &mut Cx<'_>, word: Line) {
        let Answer::Words { words, left, .. } = &mut self.answer else { return };
        words.push(word);
        *left = left.saturating_sub(1);
        if *left == 0
            && let Answer::Words { request, words, .. } = std::mem::replace(&mut self.answer, Answer::Waiting)
        {
            self.prepare(cx, request, words);
        }
    }

    /// What came of a change.
    pub(super) fn replied(&mut self, replies: Vec<Reply>) {
        self.busy = false;
        if matches!(self.answer, Answer::Waiting) {
            self.answer = Answer::Replies(replies.into_iter());
        }
    }

    /// What came of a job.
    pub(super) fn done(&mut self, cx: &mut Cx<'_>, done: Done) {
        self.busy = false;
        match (done, &mut self.answer) {
            (Done::Failed(why), Answer::Submit(_)) => self.submit_failed(cx, &why),
            (Done::Failed(why), _) => self.no(NoCode::Failed, "", why),
            (Done::Replies(replies), Answer::Submit(_)) => self.submitted(cx, replies),
            (Done::Changed(replies), Answer::Submit(_)) => self.submitted(cx, replies),
            (Done::Replies(replies) | Done::Changed(replies), _) => self.replied(replies),
            (Done::Attempts(rows), Answer::Show(show)) => show.attempts(rows),
            (Done::Attempts(rows), Answer::Why(why)) => why.attempts(rows),
            (Done::Blocked(rows), Answer::Blocked) => {
                self.queue.extend(rows);
                self.answer = Answer::Last;
            }
            (Done::Attempts(rows), Answer::Log(_)) => self.log_attempts(cx, rows),
            (Done::Details(rows), Answer::Show(_)) => self.queue.extend(rows),
            (Done::LogRead { pieces, end }, Answer::Log(reading)) => {
                self.queue.extend(reading.read(pieces, end));
            }
            (Done::Newest(after), Answer::Events(following)) => following.start(after),
            (Done::Events(rows), Answer::Events(following)) => self.queue.extend(following.replayed(rows)),
            (Done::Opened(offset), Answer::Submit(_)) => self.submit_opened(cx, offset),
            (Done::Written(offset), Answer::Submit(_)) => self.submit_written(cx, offset),
            // Of a request that came to its end meanwhile.
            _ => {}
        }
    }

    /// A piece of a source RPM.
    pub(super) fn data(&mut self, cx: &mut Cx<'_>, offset: u64, bytes: Bytes) {
        let len = u32::try_from(bytes.0.len()).expect("a piece fits a record");
        let taken = match &mut self.answer {
            Answer::Submit(taking) => taking.data(offset, bytes),
            // On its way when the answer ended.
            _ => Ok(false),
        };
        if taken != Ok(true) {
            cx.out.push(Effect::Consumed(self.id, len));
        }
        if taken.is_err() {
            cx.out.push(Effect::Close(self.id, RejectCode::Limit));
        }
    }

    pub(super) fn consumed(&self, cx: &mut Cx<'_>, bytes: u32) {
        cx.out.push(Effect::Consumed(self.id, bytes));
    }

    /// Something happened.
    pub(super) fn happened(&mut self, row: &EventRow) {
        if let Answer::Log(reading) = &mut self.answer {
            reading.happened(row);
        }
    }

    /// Says something that is no row.
    pub(super) fn say(&self, cx: &mut Cx<'_>, msg: ToOperator) {
        cx.out.push(Effect::Send(self.id, msg));
    }

    /// Sends what there is and may be sent.
    pub(super) fn pump(&mut self, cx: &mut Cx<'_>) {
        loop {
            let step = match self.queue.front() {
                Some(_) if self.credit == 0 => return,
                Some(_) => Step::Row(self.queue.pop_front().expect("it was just there")),
                None if matches!(self.answer, Answer::Last) => Step::End,
                None if self.credit == 0 => return,
                None => self.step(cx),
            };
            match step {
                Step::Row(row) => {
                    self.credit -= 1;
                    self.rows += 1;
                    self.say(cx, row);
                }
                Step::Again => {}
                Step::Wait => return,
                Step::End => {
                    self.leave(cx);
                    self.say(cx, ToOperator::End { rows: self.rows });
                    return;
                }
            }
        }
    }

    fn step(&mut self, cx: &mut Cx<'_>) -> Step {
        match &mut self.answer {
            Answer::Idle | Answer::Words { .. } | Answer::Waiting | Answer::Blocked => Step::Wait,
            Answer::Prepare { .. } => self.start(cx),
            Answer::Rows(rows) => rows.step(cx),
            Answer::Replies(replies) => match replies.next() {
                Some(reply) => Step::Row(reply_row(reply)),
                None => Step::End,
            },
            Answer::Last => Step::End,
            _ if self.busy => Step::Wait,
            Answer::Show(show) => {
                let step = show.step(cx);
                self.job(cx, step)
            }
            Answer::Why(why) => {
                let step = why.step();
                self.job(cx, step)
            }
            Answer::Log(reading) => {
                let step = reading.step(cx, self.credit);
                self.job(cx, step)
            }
            Answer::Events(following) => {
                let step = following.step(cx);
                self.job(cx, step)
            }
            Answer::Submit(taking) => {
                let step = taking.step();
                self.job(cx, step)
            }
        }
    }

    /// Starts the job that a step asks for.
    fn job(&mut self, cx: &mut Cx<'_>, step: Result<Step, Job>) -> Step {
        match step {
            Ok(step) => step,
            Err(job) => {
                self.work(cx, job);
                Step::Wait
            }
        }
    }

    /// The request is over, or its operator is gone.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_>) {
        let answer = std::mem::replace(&mut self.answer, Answer::Idle);
        if let Answer::Submit(taking) = &answer {
            taking.leave(cx, self.id);
        }
        // Otherwise it is closed when the job comes back that has it.
        if matches!(answer, Answer::Submit(_) | Answer::Log(_)) && !self.busy {
            cx.out.push(Effect::Work { run: Run::default(), job: Job::Close(self.run) });
        }
        if !self.busy {
            cx.shared.orders.remove(&self.run);
        }
        self.queue.clear();
    }
}

/// What came of a change for one thing, as a row.
pub(super) fn reply_row(reply: Reply) -> ToOperator {
    match reply {
        Reply::Changed { target, text } => {
            ToOperator::Changed { target: Line::lossy(&target), text: Line::lossy(&text) }
        }
        Reply::No { code, target, text } => {
            ToOperator::No { code, target: Line::lossy(&target), text: Line::lossy(&text) }
        }
    }
}
