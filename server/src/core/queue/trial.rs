//! The way back from quarantine: what a builder on trial gets.
//!
//! Owns the choice of its package: of those that wait and that it may have, the one with the shortest known build, which
//! this farm has built before; if none is known, the smallest that waits for nothing; else any. It is always real
//! work: nothing that is published is built again for this. When the trial is over is for [`super::standing`] to say.

use moji_proto::{FileName, Time};

use super::Queue;
use super::needs::Room;
use crate::core::types::BuilderId;

impl Queue {
    /// The package with which a builder on trial may show that it is well again.
    pub(super) fn trial_for(
        &self,
        now: Time,
        id: BuilderId,
        taken: &[(FileName, BuilderId)],
        rooms: &mut Option<Vec<Room>>,
    ) -> Option<FileName> {
        let mut best: Option<((bool, bool, u64), &FileName)> = None;
        for name in self.order.iter() {
            let Some(package) = self.packages.get(name) else { continue };
            let Some(srpm) = &package.srpm else { continue };
            let seconds = self.times.seconds(&srpm.facts.nevra.name);
            let length = seconds.map_or(srpm.size, |seconds| seconds as u64);
            let merit = (seconds.is_none(), self.chain.place(name).blocked > 0, length);
            if best.as_ref().is_some_and(|(other, _)| *other <= merit)
                || taken.iter().any(|(other, _)| other == name)
                || package.not_before.is_some_and(|at| at > now)
                || self.standing.is_claimed(name)
                || !self.may_have(now, package, id, rooms, &mut None)
            {
                continue;
            }
            best = Some((merit, name));
        }
        best.map(|(_, name)| name.clone())
    }

    /// Whether this farm has built the package's source before.
    pub(super) fn is_known_to_build(&self, name: &FileName) -> bool {
        let srpm = self.packages.get(name).and_then(|package| package.srpm.as_ref());
        srpm.is_some_and(|srpm| self.times.seconds(&srpm.facts.nevra.name).is_some())
    }
}
