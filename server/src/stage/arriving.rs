//! Digests of files that are still arriving.
//!
//! Owns the state of each digest between two pieces of a file, so that a whole file need not be read again: the
//! BLAKE2s-256 that the builder announced, and of an RPM the SHA-256 that the repository names it by. It only ever
//! saves work: what is not here is read from the disk, as after a restart.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use moji_proto::{Digest, Hasher, LeaseId};

use super::RPM_MAGIC;
use super::hashing::Sum;
use crate::core::types::Sha256;

/// A file that arrived in order so far.
#[derive(Default)]
pub(super) struct Partial {
    file: u32,
    bytes: u64,
    digest: Hasher,
    /// Of what starts like an RPM. One whose first piece is shorter than that start is read once more.
    sha256: Option<sha2::Sha256>,
}

impl Partial {
    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if self.bytes == 0 {
            self.sha256 = bytes.starts_with(&RPM_MAGIC).then(Default::default);
        }
        self.digest.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            Sum::update(sha256, bytes);
        }
        self.bytes += bytes.len() as u64;
    }

    /// The digests of all bytes.
    pub(super) fn finish(self) -> (Digest, Option<Sha256>) {
        (self.digest.finish(), self.sha256.map(Sum::finish))
    }
}

#[derive(Default)]
struct State {
    /// Of each lease the file that arrives, if it came from its first byte on.
    partial: BTreeMap<LeaseId, Partial>,
    /// Of RPMs that arrived whole.
    sha256: BTreeMap<(LeaseId, u32), Sha256>,
}

/// What is known of files that arrive.
#[derive(Default)]
pub(super) struct Arriving(Mutex<State>);

impl Arriving {
    /// Takes out the state over the first `bytes` of this file; none if something else came last.
    pub(super) fn take(&self, lease: LeaseId, file: u32, bytes: u64) -> Option<Partial> {
        let mut state = self.lock();
        state.sha256.remove(&(lease, file));
        let partial = state.partial.remove(&lease);
        if bytes == 0 {
            return Some(Partial { file, ..Partial::default() });
        }
        partial.filter(|partial| (partial.file, partial.bytes) == (file, bytes))
    }

    /// Keeps the state of a file.
    pub(super) fn keep(&self, lease: LeaseId, partial: Partial) {
        self.lock().partial.insert(lease, partial);
    }

    /// The file is whole, and this is its SHA-256.
    pub(super) fn keep_sha256(&self, lease: LeaseId, file: u32, sha256: Sha256) {
        self.lock().sha256.insert((lease, file), sha256);
    }

    /// The SHA-256 of a whole file, if it is known.
    pub(super) fn sha256(&self, lease: LeaseId, file: u32) -> Option<Sha256> {
        self.lock().sha256.get(&(lease, file)).copied()
    }

    /// The lease has no more files to come.
    pub(super) fn forget(&self, lease: LeaseId) {
        let mut state = self.lock();
        state.partial.remove(&lease);
        let mut rest = state.sha256.split_off(&(lease, 0));
        if let Some(next) = rest.keys().find(|(of, _)| *of != lease).copied() {
            let mut others = rest.split_off(&next);
            state.sha256.append(&mut others);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LeaseId = LeaseId { incarnation: 1, counter: 1 };
    const B: LeaseId = LeaseId { incarnation: 1, counter: 2 };

    fn partial(file: u32, pieces: &[&[u8]]) -> Partial {
        let mut partial = Partial { file, ..Partial::default() };
        pieces.iter().for_each(|piece| partial.update(piece));
        partial
    }

    #[test]
    fn only_what_continues_exactly_where_it_was_is_taken_up() {
        let arriving = Arriving::default();
        let check = |file, bytes, want: Option<&[u8]>| {
            arriving.keep(A, partial(2, &[b"abc"]));
            let got = arriving.take(A, file, bytes).map(|partial| partial.finish().0);
            assert_eq!(got, want.map(Digest::of), "{file} {bytes}");
            assert!(arriving.take(A, 2, 3).is_none(), "it is taken once");
        };
        check(2, 3, Some(b"abc"));
        check(2, 4, None);
        check(1, 3, None);
        check(2, 0, Some(b""));
        arriving.keep(A, partial(2, &[b"abc"]));
        assert!(arriving.take(B, 2, 3).is_none());
        arriving.forget(A);
        assert!(arriving.take(A, 2, 3).is_none());
    }

    #[test]
    fn sha256_is_taken_of_what_starts_like_an_rpm() {
        let rpm = [&RPM_MAGIC[..], b"abc"].concat();
        let check = |pieces: &[&[u8]], is_rpm: bool| {
            let all = pieces.concat();
            let want = (Digest::of(&all), is_rpm.then(|| Sha256::of(&all)));
            assert_eq!(partial(0, pieces).finish(), want, "{pieces:?}");
        };
        check(&[&rpm], true);
        check(&[&rpm[..4], &rpm[4..]], true);
        check(&[&rpm[..3], &rpm[3..]], false);
        check(&[b"log", &rpm], false);
        check(&[], false);
    }

    #[test]
    fn sha256_is_known_until_the_file_comes_again_or_the_lease_is_over() {
        let (arriving, sum) = (Arriving::default(), Sha256::of(b"x"));
        for (lease, file) in [(A, 0), (A, u32::MAX), (B, 0), (LeaseId { incarnation: 0, counter: 9 }, 7)] {
            arriving.keep_sha256(lease, file, sum);
        }
        let known = || [(A, 0), (A, u32::MAX), (B, 0)].map(|(lease, file)| arriving.sha256(lease, file));
        assert_eq!(known(), [Some(sum); 3]);
        assert!(arriving.take(A, 0, 0).is_some());
        assert_eq!(known(), [None, Some(sum), Some(sum)]);
        arriving.forget(A);
        assert_eq!(known(), [None, None, Some(sum)]);
        assert_eq!(arriving.sha256(LeaseId { incarnation: 0, counter: 9 }, 7), Some(sum));
    }
}
