//! What simulated builders say about a build: a failed one with a small log, the cheapest result that goes all
//! the way to its commit.
//!
//! Owns those messages. Sends nothing.

use moji_proto::limits::{CHUNK_BYTES_MAX, UPLOAD_WINDOW_BYTES};
use moji_proto::message::{Backend, Exit, FromBuilder, Phase, Which};
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line};

/// A file of a result: its bytes are `piece` over and over.
#[derive(Clone)]
pub(crate) struct Content {
    /// Length, bytes.
    pub(crate) size: u64,
    name: &'static str,
    digest: Digest,
    piece: Vec<u8>,
}

impl Content {
    /// A file of this length.
    pub(crate) fn new(name: &'static str, size: u64) -> Content {
        let piece: Vec<u8> = (0..CHUNK_BYTES_MAX as u32).map(|n| (n % 251) as u8).collect();
        let mut hasher = moji_proto::Hasher::default();
        let mut left = size as usize;
        while left > 0 {
            let n = left.min(piece.len());
            hasher.update(&piece[..n]);
            left -= n;
        }
        Content { size, name, digest: hasher.finish(), piece }
    }

    /// The result of a build that failed in `%build`, with this one file.
    pub(crate) fn results(&self, lease: LeaseId) -> [FromBuilder; 3] {
        let line = Line::lossy("error: Bad exit status from /var/tmp/rpm-tmp.x (%build)");
        [
            FromBuilder::Results {
                lease,
                exit: Exit::Code(1),
                phase: Phase::Build,
                backend: Backend::Mock,
                seconds: 60,
                oom_kills: 0,
                peak_memory_mib: 0,
                silence_s: 0,
                peak_disk_mib: 0,
                files: 1,
                evidence: 1,
            },
            FromBuilder::File {
                lease,
                name: FileName::new(self.name).expect("a safe name"),
                size: self.size,
                digest: self.digest,
            },
            FromBuilder::Evidence { lease, which: Which::Build, line },
        ]
    }
}

/// An upload as the client does it: never more than a window past what the hub has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload {
    next: u64,
    acked: u64,
}

impl Upload {
    /// The hub wants the file from `offset`, or has it up to there.
    pub(crate) fn heard(&mut self, is_want: bool, offset: u64) {
        self.acked = offset;
        if is_want {
            self.next = offset;
        }
    }

    /// The next piece that the window has room for.
    pub(crate) fn next_piece(&mut self, lease: LeaseId, content: &Content) -> Option<FromBuilder> {
        let length = (content.size - self.next).min(CHUNK_BYTES_MAX as u64);
        if length == 0 || self.next + length > self.acked + UPLOAD_WINDOW_BYTES {
            return None;
        }
        let bytes = Bytes(content.piece[..length as usize].to_vec());
        let message = FromBuilder::Data { lease, file: 0, offset: self.next, bytes };
        self.next += length;
        Some(message)
    }
}
