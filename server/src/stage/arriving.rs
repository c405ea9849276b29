//! Digests of files that are still arriving.
//!
//! Owns the state of each digest between two pieces of a file, so that a whole file need not be read again. It
//! only ever saves work: what is not here is read from the disk, as after a restart.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use moji_proto::{Hasher, LeaseId};

/// A file that arrived in order so far.
struct Partial {
    file: u32,
    bytes: u64,
    hasher: Hasher,
}

/// Of each lease the file that arrives, if it came from its first byte on.
#[derive(Default)]
pub(super) struct Arriving(Mutex<BTreeMap<LeaseId, Partial>>);

impl Arriving {
    /// Takes out the state over the first `bytes` of this file; none if something else came last.
    pub(super) fn take(&self, lease: LeaseId, file: u32, bytes: u64) -> Option<Hasher> {
        let partial = self.lock().remove(&lease);
        if bytes == 0 {
            return Some(Hasher::default());
        }
        partial.filter(|partial| (partial.file, partial.bytes) == (file, bytes)).map(|partial| partial.hasher)
    }

    /// Keeps the state over the first `bytes` of this file.
    pub(super) fn keep(&self, lease: LeaseId, file: u32, bytes: u64, hasher: Hasher) {
        self.lock().insert(lease, Partial { file, bytes, hasher });
    }

    /// The lease has no more files to come.
    pub(super) fn forget(&self, lease: LeaseId) {
        self.lock().remove(&lease);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LeaseId, Partial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moji_proto::Digest;

    #[test]
    fn only_what_continues_exactly_where_it_was_is_taken_up() {
        let (arriving, a) = (Arriving::default(), LeaseId { incarnation: 1, counter: 1 });
        let check = |file, bytes, want: Option<&[u8]>| {
            let mut hasher = Hasher::default();
            hasher.update(b"abc");
            arriving.keep(a, 2, 3, hasher);
            let got = arriving.take(a, file, bytes).map(Hasher::finish);
            assert_eq!(got, want.map(Digest::of), "{file} {bytes}");
            assert!(arriving.take(a, 2, 3).is_none(), "it is taken once");
        };
        check(2, 3, Some(b"abc"));
        check(2, 4, None);
        check(1, 3, None);
        check(2, 0, Some(b""));
        arriving.keep(a, 2, 3, Hasher::default());
        assert!(arriving.take(LeaseId { incarnation: 1, counter: 2 }, 2, 3).is_none());
        arriving.forget(a);
        assert!(arriving.take(a, 2, 3).is_none());
    }
}
