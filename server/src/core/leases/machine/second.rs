//! A second lease beside the main one of a package.
//!
//! Owns what becomes of the one when something becomes of the other. A second lease never moves the file and is never
//! sealed: it ends alone, or takes the main one's place first, and then is a lease like any.
//!
//! | happens | main lease | second lease |
//! |---|---|---|
//! | the second builds it while the main one is live | over, its builder is stopped | in its place, sealed |
//! | the second's whole result is no success | goes on | over |
//! | the main one's result is whole | sealed | goes on; whole, it waits |
//! | and is committed | leaves | over |
//! | or sends the SRPM back; the main one expires, is released or unfit | over | in its place; sealed if it is whole |
//! | the second expires, is released or unfit | goes on | over |
//! | cancelled, taken out of `working/`, damaged when the main one reads it | leaves | over |
//!
//! A restart takes up both. The ends of leases may be lost in a crash: then a main one that is over lives on beside its
//! second, and both may still do all of this.

use log::Level;
use moji_proto::message::{Exit, Verdict};
use moji_proto::{FileName, LeaseId};

use super::{Holder, Lease, Leases, Place, State};
use crate::core::leases::{Effect, Record};
use crate::core::queue::{self, ClaimFailure};
use crate::core::types::{BuilderId, End, Fate, Report, SessionId};

impl Leases {
    pub(super) fn is_second(&self, id: LeaseId) -> bool {
        self.leases.get(&id).is_some_and(|lease| self.seconds.get(&lease.srpm) == Some(&id))
    }

    /// The second lease of a package, once its builder has the job.
    fn second_of(&self, srpm: &FileName) -> Option<LeaseId> {
        let id = self.seconds.get(srpm).copied()?;
        (!matches!(self.leases[&id].state, State::Arriving { .. })).then_some(id)
    }

    fn has_live_main(&self, srpm: &FileName) -> bool {
        self.by_srpm.get(srpm).is_some_and(|main| self.is_live(main))
    }

    /// Whether the package may have a second lease, for this builder.
    pub(super) fn may_have_second(&self, srpm: &FileName, builder: BuilderId) -> bool {
        let is_other = |main: &LeaseId| self.leases[main].builder != builder;
        self.has_live_main(srpm)
            && self.by_srpm.get(srpm).is_some_and(is_other)
            && !self.seconds.contains_key(srpm)
    }

    /// Its grant is durable, and it was looked whether the file is in `working/`. Nobody was told anything yet.
    pub(super) fn second_arrived(&mut self, id: LeaseId, moved: bool, out: &mut Vec<Effect>) {
        let Lease { srpm, builder, state, .. } = &self.leases[&id];
        let (srpm, builder) = (srpm.clone(), *builder);
        let State::Arriving { session, instead, .. } = state else {
            panic!("lease {id} was moved unasked");
        };
        let (session, is_wanted) = (*session, instead.is_none() && moved && self.has_live_main(&srpm));
        if let (Some(session), true) = (session, is_wanted) {
            let lease = self.leases.get_mut(&id).expect("it was just there");
            lease.state = State::Live { holder: Holder::Here(session), adopted: false };
            out.push(Effect::Queue(queue::Msg::Granted { srpm, lease: id, builder, beside: true }));
            self.log(out, Level::Info, id, "leased beside another builder");
            return self.open(id, session, out);
        }
        self.remove(id);
        out.push(Effect::JournalLater(Record::End { lease: id, revivable: false }));
        if let Some(peer) = session.and_then(|session| self.sessions.get_mut(&session)) {
            peer.takes_job = true;
        }
        let why = if is_wanted || self.broken { ClaimFailure::NoBuilder } else { ClaimFailure::Leased };
        out.push(Effect::Queue(queue::Msg::ClaimFailed { srpm, builder, why }));
    }

    /// The second one's result is whole.
    pub(super) fn second_is_whole(&mut self, id: LeaseId, report: Report, out: &mut Vec<Effect>) {
        let lease = self.leases.get_mut(&id).expect("callers know the lease");
        let srpm = lease.srpm.clone();
        let main = self.by_srpm[&srpm];
        if matches!(self.leases[&main].state, State::Sealed { .. }) {
            let lease = self.leases.get_mut(&id).expect("callers know the lease");
            let session = lease.state.session();
            lease.state = State::Parked { session, report: Box::new(report) };
        } else if report.exit == Exit::Code(0) && report.defect.is_none() {
            let why = "another builder built it first";
            self.log(out, Level::Info, main, &format!("cancelled: {why}"));
            self.give_up(main, Fate::Outdone(why), why, out);
            self.promote(&srpm, out);
            self.seal(id, report, out);
        } else {
            let why = "its result is no success, and the other builder goes on";
            self.log(out, Level::Info, id, &format!("counts for nothing: {why}"));
            self.give_up(id, Fate::InVain(Box::new(report)), why, out);
        }
    }

    /// The package's second lease, if it has one, is nobody's any more.
    pub(super) fn drop_second(&mut self, srpm: &FileName, why: &'static str, out: &mut Vec<Effect>) {
        if let Some(id) = self.second_of(srpm) {
            self.log(out, Level::Info, id, &format!("cancelled: {why}"));
            self.give_up(id, Fate::Outdone(why), why, out);
        }
    }

    /// Ends a lease beside another one, and its build.
    fn give_up(&mut self, id: LeaseId, fate: Fate, why: &str, out: &mut Vec<Effect>) {
        self.stop_builder(id, out);
        self.close(id, why, out);
        self.end(id, End::Beside(fate), false, out);
    }

    /// The lease is over and no result counts: its SRPM goes back to `source/`, unless another lease of it goes on.
    pub(super) fn go_back(
        &mut self,
        id: LeaseId,
        verdict: Verdict,
        revivable: bool,
        idle: Option<SessionId>,
        out: &mut Vec<Effect>,
    ) {
        let srpm = self.leases[&id].srpm.clone();
        let is_second = self.is_second(id);
        if !is_second && self.second_of(&srpm).is_none() {
            return self.leave(id, Place::Source, End::Returned(verdict), revivable, idle, out);
        }
        self.end(id, End::Beside(Fate::Returned(verdict)), revivable, out);
        if !is_second {
            self.promote(&srpm, out);
        }
        if let Some(peer) = idle.and_then(|session| self.sessions.get_mut(&session)) {
            peer.takes_job = true;
            out.push(Effect::Queue(queue::Msg::Ready { builder: peer.info.id }));
        }
    }

    /// The main lease is over: the second one is the main one now.
    fn promote(&mut self, srpm: &FileName, out: &mut Vec<Effect>) {
        let id = self.seconds.remove(srpm).expect("callers know that there is one");
        let before = self.by_srpm.insert(srpm.clone(), id);
        assert!(before.is_none(), "{srpm} has one main lease only");
        let lease = self.leases.get_mut(&id).expect("an index of leases");
        if let State::Parked { report, .. } = &mut lease.state {
            let report = (**report).clone();
            self.seal(id, report, out);
        }
    }
}
