//! Digests of a file from the bytes that somebody else reads of it.
//!
//! Owns one pass over an RPM: the check of its own digests reads all of it, and the digest that a builder compares
//! with, or the one that the repository names, is taken from what passes by.

use std::cell::RefCell;
use std::io;

use moji_proto::{Digest, Hasher};
use sha2::Digest as _;

use super::READ_BYTES;
use crate::core::types::Sha256;
use crate::disk::File;
use crate::rpmfile;

/// What is computed from bytes in their order.
pub(super) trait Sum: Default {
    /// What it comes to.
    type Out;
    /// Takes the next bytes.
    fn update(&mut self, bytes: &[u8]);
    /// What all bytes so far come to.
    fn finish(self) -> Self::Out;
}

impl Sum for Hasher {
    type Out = Digest;

    fn update(&mut self, bytes: &[u8]) {
        Hasher::update(self, bytes);
    }

    fn finish(self) -> Digest {
        Hasher::finish(self)
    }
}

impl Sum for sha2::Sha256 {
    type Out = Sha256;

    fn update(&mut self, bytes: &[u8]) {
        sha2::Digest::update(self, bytes);
    }

    fn finish(self) -> Sha256 {
        Sha256(self.finalize().into())
    }
}

impl<A: Sum, B: Sum> Sum for (A, B) {
    type Out = (A::Out, B::Out);

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
        self.1.update(bytes);
    }

    fn finish(self) -> Self::Out {
        (self.0.finish(), self.1.finish())
    }
}

/// Hashes a file while somebody else reads it from front to back, with whatever they skip.
pub(super) struct Hashing<'a, S> {
    file: &'a dyn File,
    /// The sum of so many bytes.
    state: RefCell<(S, u64)>,
}

impl<'a, S: Sum> Hashing<'a, S> {
    pub(super) fn new(file: &'a dyn File) -> Hashing<'a, S> {
        Hashing { file, state: RefCell::default() }
    }

    /// Takes what is new of some bytes of the file.
    fn saw(&self, bytes: &[u8], offset: u64) {
        let (sum, at) = &mut *self.state.borrow_mut();
        let known = usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
        if offset <= *at
            && let Some(new) = bytes.get(known..)
        {
            sum.update(new);
            *at += new.len() as u64;
        }
    }

    /// Reads and hashes up to `offset`, or to the end of the file.
    fn catch_up(&self, offset: u64) -> io::Result<()> {
        let mut buf = Vec::new();
        loop {
            let at = self.state.borrow().1;
            let want = usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX).min(READ_BYTES);
            buf.resize(want, 0);
            let n = self.file.read_at(&mut buf, at)?;
            if n == 0 {
                return Ok(());
            }
            self.saw(&buf[..n], at);
        }
    }

    /// The sum of the whole file.
    pub(super) fn finish(self) -> io::Result<S::Out> {
        self.catch_up(u64::MAX)?;
        Ok(self.state.into_inner().0.finish())
    }
}

impl<S: Sum> rpmfile::ReadAt for Hashing<'_, S> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.catch_up(offset)?;
        let n = self.file.read_at(buf, offset)?;
        self.saw(&buf[..n], offset);
        Ok(n)
    }

    fn byte_len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk as _;
    use crate::disk::memory::Memory;
    use crate::rpmfile::ReadAt as _;

    #[test]
    fn digests_are_those_of_the_whole_file_whatever_was_read_of_it() {
        let (disk, folders) = Memory::with_folders();
        let bytes: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
        let path = folders.source.join("x");
        let file = disk.create(&path).unwrap();
        file.write_at(&bytes, 0).unwrap();
        let end = bytes.len() as u64;
        // Where it is read, and how much.
        for reads in [
            &[][..],
            &[(0, 4_000_000)],
            &[(0, 96), (96, 16), (0, 96), (5_000, 10), (4_000, 2_000)],
            &[(3_999_000, 1_000), (0, 10)],
            &[(2_000_000, 300_000), (2_100_000, 300_000), (end, 10), (end + 10, 10)],
        ] {
            let hashing: Hashing<'_, (Hasher, sha2::Sha256)> = Hashing::new(&*file);
            for &(offset, len) in reads {
                let mut buf = vec![0; len];
                let n = hashing.read_at(&mut buf, offset).unwrap();
                let from = usize::try_from(offset.min(end)).unwrap();
                assert_eq!(buf[..n], bytes[from..(from + len).min(bytes.len())], "{reads:?}");
            }
            let want = (Digest::of(&bytes), Sha256::of(&bytes));
            assert_eq!(hashing.finish().unwrap(), want, "{reads:?}");
        }
    }
}
