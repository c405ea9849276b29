//! Taking a source RPM from an operator.
//!
//! Owns the window. A piece that is written is acknowledged, and only then may another come; what was sent
//! before the session broke is there still and is gone on from. Nothing is in `source/` before all of it was
//! checked.

use moji_proto::limits::UPLOAD_WINDOW_BYTES;
use moji_proto::message::{NoCode, ToOperator};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Line};

use super::session::{Answer, Session, Step};
use super::{Cx, Job, Parcel};
use crate::core::types::SessionId;
use crate::core::view::Reply;

#[derive(Debug)]
enum State {
    Opening,
    Receiving,
    Delivering,
}

/// A source RPM that arrives.
#[derive(Debug)]
pub(super) struct Taking {
    parcel: Parcel,
    first: bool,
    options: Vec<Line>,
    state: State,
    /// Bytes that arrived.
    arrived: u64,
    /// Bytes that are written and acknowledged.
    written: u64,
    /// What arrived and is not with a worker.
    waiting: Vec<u8>,
    /// What is with a worker, bytes.
    writing: u32,
}

impl Taking {
    /// A piece; true if it will be consumed once it is written.
    pub(super) fn data(&mut self, offset: u64, bytes: Bytes) -> Result<bool, RejectCode> {
        let end = offset.saturating_add(bytes.0.len() as u64);
        let may = matches!(self.state, State::Receiving)
            && offset == self.arrived
            && !bytes.0.is_empty()
            && end <= self.parcel.size.min(self.written + UPLOAD_WINDOW_BYTES);
        if !may {
            return Err(RejectCode::Limit);
        }
        self.arrived = end;
        self.waiting.extend_from_slice(&bytes.0);
        Ok(true)
    }

    pub(super) fn step(&mut self) -> Result<Step, Job> {
        match self.state {
            State::Opening => Err(Job::Open(self.parcel.clone())),
            State::Receiving if !self.waiting.is_empty() => {
                let bytes = Bytes(std::mem::take(&mut self.waiting));
                self.writing = u32::try_from(bytes.0.len()).expect("at most a window");
                Err(Job::Write { offset: self.written, bytes })
            }
            State::Receiving if self.written == self.parcel.size => {
                self.state = State::Delivering;
                let (parcel, options) = (self.parcel.clone(), self.options.clone());
                Err(Job::Deliver { parcel, first: self.first, options })
            }
            State::Receiving | State::Delivering => Ok(Step::Wait),
        }
    }

    /// The request is over: what was sent stays, and what waited is given back.
    pub(super) fn leave(&self, cx: &mut Cx<'_>, session: SessionId) {
        cx.shared.parcels.remove(&self.parcel.digest);
        let bytes = self.writing + u32::try_from(self.waiting.len()).expect("at most a window");
        if bytes > 0 {
            cx.out.push(super::Effect::Consumed(session, bytes));
        }
    }
}

impl Session {
    /// An operator wants to send a source RPM.
    pub(super) fn submit(&mut self, cx: &mut Cx<'_>, parcel: Parcel, first: bool, options: Vec<Line>) {
        let name = parcel.name.to_string();
        if !name.ends_with(".src.rpm") && !name.ends_with(".nosrc.rpm") {
            return self.no(NoCode::BadInput, &name, "is no source RPM: its name does not end in .src.rpm");
        }
        if !options.is_empty()
            && let Err(why) = crate::lists::check_options(&options)
        {
            return self.no(NoCode::BadInput, &name, why);
        }
        if !cx.shared.parcels.insert(parcel.digest) {
            return self.no(NoCode::Later, &name, "is being sent by another session: wait for it");
        }
        self.order(cx, None);
        let (state, waiting) = (State::Opening, Vec::new());
        let taking = Taking { parcel, first, options, state, arrived: 0, written: 0, waiting, writing: 0 };
        self.answer = Answer::Submit(Box::new(taking));
    }

    /// The staging file is there, with so much in it.
    pub(super) fn submit_opened(&mut self, cx: &mut Cx<'_>, offset: u64) {
        let Answer::Submit(taking) = &mut self.answer else { return };
        (taking.arrived, taking.written, taking.state) = (offset, offset, State::Receiving);
        self.say(cx, ToOperator::Want { offset });
    }

    /// It is written up to here.
    pub(super) fn submit_written(&mut self, cx: &mut Cx<'_>, offset: u64) {
        let Answer::Submit(taking) = &mut self.answer else { return };
        let bytes = std::mem::take(&mut taking.writing);
        taking.written = offset;
        self.consumed(cx, bytes);
        self.say(cx, ToOperator::Ack { offset });
    }

    /// It is in `source/`, or is not for a reason that the operator reads.
    pub(super) fn submitted(&mut self, cx: &mut Cx<'_>, replies: Vec<Reply>) {
        self.finish(cx, replies);
    }

    /// The hub failed.
    pub(super) fn submit_failed(&mut self, cx: &mut Cx<'_>, why: &str) {
        let Answer::Submit(taking) = &self.answer else { return };
        let target = taking.parcel.name.to_string();
        self.finish(cx, vec![Reply::No { code: NoCode::Failed, target, text: why.to_owned() }]);
    }

    /// The last rows of a submit.
    fn finish(&mut self, cx: &mut Cx<'_>, replies: Vec<Reply>) {
        self.leave(cx);
        self.answer = Answer::Replies(replies.into_iter());
    }
}
