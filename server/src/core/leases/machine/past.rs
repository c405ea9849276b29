//! What leases know of earlier runs, and what a journal must say so that the next run knows it.
//!
//! Owns plain data. Must never judge: what a record means is [`super`]'s, and the journal's `fold`.

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::{FileName, LeaseId};

use crate::core::leases::Record;
use crate::core::types::BuilderId;

/// A lease that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its SRPM.
    pub srpm: FileName,
    /// Who holds it.
    pub builder: BuilderId,
    /// The lease that it is the second one beside.
    pub beside: Option<LeaseId>,
}

/// A lease that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its SRPM.
    pub srpm: FileName,
    /// Who held it.
    pub builder: BuilderId,
    /// Whether that builder may take it up again.
    pub revivable: bool,
}

/// What was true on disk when the hub started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Number of this run, stored durably already.
    pub incarnation: u64,
    /// Leases whose SRPM is in `working/`.
    pub live: BTreeMap<LeaseId, Grant>,
    /// Leases that are over.
    pub ended: BTreeMap<LeaseId, Ended>,
    /// Leases that a `result.json` in `repo/` names.
    pub committed: BTreeSet<LeaseId>,
    /// SRPMs in `working/` without a lease.
    pub orphans: BTreeSet<FileName>,
}

/// All that a journal must say of these leases.
#[must_use]
pub fn records(ended: &BTreeMap<LeaseId, Ended>, live: &BTreeMap<LeaseId, Grant>) -> Vec<Record> {
    let grant = |lease: LeaseId, srpm: &FileName, builder: BuilderId, beside: Option<LeaseId>| {
        Record::Grant { lease, srpm: srpm.clone(), builder, beside }
    };
    let mut records = Vec::new();
    for (lease, Ended { srpm, builder, revivable }) in ended {
        records.push(grant(*lease, srpm, *builder, None));
        records.push(Record::End { lease: *lease, revivable: *revivable });
    }
    for (lease, Grant { srpm, builder, beside }) in mains_first(live) {
        records.push(grant(lease, srpm, *builder, *beside));
    }
    records
}

/// Live leases, the second ones last.
pub(super) fn mains_first(live: &BTreeMap<LeaseId, Grant>) -> impl Iterator<Item = (LeaseId, &Grant)> {
    let of = |beside: bool| live.iter().filter(move |(_, grant)| grant.beside.is_some() == beside);
    of(false).chain(of(true)).map(|(lease, grant)| (*lease, grant))
}
