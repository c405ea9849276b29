//! Whether a failure counts before other boards have seen it (`--confirm-failures`).
//!
//! Owns when a package's own failure is believed: once so many different boards agree, or no further board that is
//! connected may have the package. Until then the package waits in `source/`, for another board first. One that no
//! other board is connected for goes to the same one again, and then its word is taken.

use std::collections::BTreeSet;

use moji_proto::message::Verdict;
use moji_proto::{FileName, Time};

use super::Queue;
use super::package::{Package, Past};
use super::verdict::header_allows;
use crate::core::types::{BuilderId, Ruling};

impl Queue {
    /// Turns a builder's failure into one that counts, or into a wait for another builder.
    pub(super) fn confirm(&self, now: Time, name: &FileName, id: BuilderId, reason: &str) -> Ruling {
        let wanted = self.config.confirm_failures;
        let Some(package) = self.packages.get(name).filter(|_| wanted > 1) else {
            return Ruling::Keep { verdict: Verdict::Failed, reason: reason.to_owned() };
        };
        let mut on = package.past.failed_on.clone();
        on.insert(id);
        let names = self.names(&on);
        if on.len() >= wanted {
            let reason = format!("failed on {names}: {reason}");
            return Ruling::Keep { verdict: Verdict::Failed, reason };
        }
        let mut then = package.clone();
        then.past.failed_on.clone_from(&on);
        if !self.can_ask_others(now, &then) {
            let reason = format!(
                "{reason} (on {names} only, {} of {wanted}: no other board that may have it is connected)",
                on.len()
            );
            return Ruling::Keep { verdict: Verdict::Failed, reason };
        }
        let reason = format!("{reason} ({} of {wanted} boards, waits for another)", on.len());
        Ruling::Return { verdict: Verdict::Failed, reason }
    }

    /// Whether builders on which a package failed are to leave it to others: some that may have it are connected and
    /// take work, now or after a pause.
    pub(super) fn can_ask_others(&self, now: Time, package: &Package) -> bool {
        let failed_on = &package.past.failed_on;
        let allows = |arch: &str| package.srpm.as_ref().is_none_or(|srpm| header_allows(&srpm.facts, arch));
        !failed_on.is_empty()
            && self.standing.all.iter().any(|(id, builder)| {
                !failed_on.contains(id)
                    && builder.is_willing(now)
                    && self.is_for_target(*id)
                    && allows(builder.info.arch.as_str())
            })
    }

    /// How far its failure is confirmed, of a package that waits for more boards; empty of others.
    pub(super) fn unconfirmed(&self, past: &Past) -> String {
        if past.failed_on.is_empty() {
            return String::new();
        }
        let (has, wanted) = (past.failed_on.len(), self.config.confirm_failures);
        format!("failed on {}, {has} of {wanted} boards: waits for another; ", self.names(&past.failed_on))
    }

    fn names(&self, ids: &BTreeSet<BuilderId>) -> String {
        let names: Vec<String> = ids.iter().map(|id| self.standing.name(*id)).collect();
        names.join(" and ")
    }
}
