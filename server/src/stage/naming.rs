//! Names of the folders that results will have in `repo/`.
//!
//! Owns who holds which before it is there: what a repository says of an RPM names its folder and is written before
//! the commit, so the name must be known by then, and no other lease may take it. In memory only: a lease whose
//! result is not committed when the hub stops is checked anew and gets a name anew.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use moji_proto::LeaseId;

use super::{Trouble, Worker, wrote};

/// The name that a lease holds.
#[derive(Clone, Debug)]
struct Held {
    folder: String,
    /// Whether the stage has a piece that names this folder.
    is_described: bool,
}

/// Names that are taken before their folders are there.
#[derive(Default)]
pub(super) struct Naming(Mutex<BTreeMap<LeaseId, Held>>);

impl Naming {
    /// Whether the lease's stage has a piece that names the folder it holds.
    pub(super) fn is_described(&self, lease: LeaseId) -> bool {
        self.lock().get(&lease).is_some_and(|held| held.is_described)
    }

    /// Says so.
    pub(super) fn set_described(&self, lease: LeaseId, is_described: bool) {
        if let Some(held) = self.lock().get_mut(&lease) {
            held.is_described = is_described;
        }
    }

    /// The lease needs no name any more.
    pub(super) fn forget(&self, lease: LeaseId) {
        self.lock().remove(&lease);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LeaseId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// The name of the folder that this lease's result will have: the first of `NVR`, `NVR@2`, `NVR@3`, … that is not
    /// there and that no other lease holds. The lease keeps it, until something is there.
    pub(super) fn reserve(&self, lease: LeaseId, nvr: &str) -> Result<String, Trouble> {
        let mut all = self.naming.lock();
        let is_there = |folder: &str| {
            let path = self.folders.repo.join(folder);
            self.disk.exists(&path).map_err(|e| wrote("look at", &path, &e))
        };
        if let Some(held) = all.get(&lease)
            && !is_there(&held.folder)?
        {
            return Ok(held.folder.clone());
        }
        for number in 1u32.. {
            let folder = if number == 1 { nvr.to_owned() } else { format!("{nvr}@{number}") };
            let is_held = all.iter().any(|(of, held)| *of != lease && held.folder == folder);
            if !is_held && !is_there(&folder)? {
                all.insert(lease, Held { folder: folder.clone(), is_described: false });
                return Ok(folder);
            }
        }
        Err(Trouble::Failed(format!("no free folder for {nvr}")))
    }
}
