//! What a lease's own builder may say when: one table of state and message, default deny.
//!
//! Owns fetching and live logs; what is said of results is in [`super::upload`].

use moji_proto::Bytes;
use moji_proto::limits::FETCH_BYTES_MAX;
use moji_proto::message::{FromBuilder, Which};
use moji_proto::refusal::RejectCode;

use super::lease::{Lease, Repeat, State};
use super::machine::Cx;
use super::{Effect, Op};
use crate::core::{desk, leases};

/// Longest live log, bytes: what a log in a result may have before its middle is cut. What comes
/// after is dropped; the whole log comes with the result.
pub(super) const LIVE_LOG_BYTES_MAX: u64 = 64 << 20;
/// Pieces of logs kept in memory while a disk is full, operations: some 256 KiB. What comes after is
/// dropped, so that the session is read on and its pings are heard.
const STALLED_LOGS_MAX: usize = 8;

impl Lease {
    /// Takes a message of the lease's own session. True if its piece is dealt with by an operation.
    pub(super) fn hear(&mut self, cx: &mut Cx<'_>, msg: FromBuilder) -> Result<bool, RejectCode> {
        match msg {
            FromBuilder::Phase { phase, .. } => {
                self.about.phase = Some(phase);
                cx.out.push(Effect::Desk(desk::Msg::Phase { lease: self.id(), phase }));
                self.log(cx, log::Level::Debug, &format!("phase {phase:?}").to_lowercase());
                return Ok(false);
            }
            FromBuilder::Log { which, offset, bytes, .. } => return Ok(self.live_log(which, offset, bytes)),
            _ => {}
        }
        // Nothing comes of it any more, but its builder cannot know yet.
        if matches!(self.state, State::Unfit | State::Spoiled | State::Closing(_)) {
            return Ok(false);
        }
        match msg {
            FromBuilder::Fetch { offset, length, .. } => {
                if offset == 0 {
                    cx.out.push(Effect::Leases(leases::Msg::Taken { lease: self.id() }));
                }
                self.fetch(offset, length).map(|()| false)
            }
            FromBuilder::Results { files, evidence, .. } if self.repeat == Repeat::May && self.is_past() => {
                self.repeat = Repeat::Rest(files, evidence);
                Ok(false)
            }
            FromBuilder::Results { .. } => {
                self.repeat = Repeat::No;
                self.results(cx, &msg).map(|()| false)
            }
            FromBuilder::File { .. } | FromBuilder::Evidence { .. } if self.is_past() => {
                self.repeated(&msg).map(|()| false)
            }
            FromBuilder::File { name, size, digest, .. } => self.file(cx, name, size, digest).map(|()| false),
            FromBuilder::Evidence { which, line, .. } => self.evidence(cx, which, line).map(|()| false),
            FromBuilder::Data { file, offset, bytes, .. } => {
                self.data(cx, file, offset, bytes).map(|()| true)
            }
            _ => Err(RejectCode::Order),
        }
    }

    /// Whether the result is past its upload.
    fn is_past(&self) -> bool {
        matches!(self.state, State::Verifying(..) | State::Sealed(_) | State::Committing(..))
    }

    /// A `File` or `Evidence` that the hub has already.
    fn repeated(&mut self, msg: &FromBuilder) -> Result<(), RejectCode> {
        let is_file = matches!(msg, FromBuilder::File { .. });
        self.repeat = match self.repeat {
            Repeat::Rest(files, evidence) if is_file && files > 0 => Repeat::Rest(files - 1, evidence),
            Repeat::Rest(0, evidence) if !is_file && evidence > 0 => Repeat::Rest(0, evidence - 1),
            _ => return Err(RejectCode::Order),
        };
        Ok(())
    }

    /// Records a piece of a log: what overlaps is cut, what leaves a gap or is over the limit is
    /// dropped. Logs are for people who watch; the whole of them comes with the result.
    fn live_log(&mut self, which: Which, offset: u64, mut bytes: Bytes) -> bool {
        let offset = offset.saturating_add(self.log_bases[which as usize]);
        let records = matches!(
            self.state,
            State::Building(_) | State::Gathering(_) | State::Surveying(_) | State::Uploading(_)
        );
        let stalled = self.retry_at.is_some() && self.todo.len() > STALLED_LOGS_MAX;
        let have = self.logs[which as usize];
        let len = bytes.0.len() as u64;
        let Some(end) = offset.checked_add(len) else { return false };
        if !records || stalled || len == 0 || offset > have || end <= have || end > LIVE_LOG_BYTES_MAX {
            return false;
        }
        let overlap = usize::try_from(have - offset).expect("shorter than a piece");
        let credit = self.session().map(|session| (session, u32::try_from(len).expect("a piece")));
        bytes.0.drain(..overlap);
        self.logs[which as usize] = end;
        self.push(Op::Log { which, offset: have, bytes }, credit);
        true
    }

    /// Reads a piece of the SRPM.
    fn fetch(&mut self, offset: u64, length: u32) -> Result<(), RejectCode> {
        if !matches!(self.state, State::Building(_)) || self.about.digest.is_none() {
            return Err(RejectCode::Order);
        }
        if length == 0 || offset >= self.size || length > FETCH_BYTES_MAX.saturating_sub(self.fetching) {
            return Err(RejectCode::Limit);
        }
        let end = self.size.min(offset.saturating_add(length.into()));
        let srpm = self.about.srpm.clone().expect("an opened lease has an SRPM");
        // One operation for all of it: a worker's turn costs more than the reading of a message's piece.
        let length = u32::try_from(end - offset).expect("at most FETCH_BYTES_MAX");
        self.push(Op::Read { srpm, offset, length }, None);
        self.fetching += length;
        Ok(())
    }
}
