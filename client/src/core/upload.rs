//! The window of one upload.
//!
//! Owns which piece is sent next. The hub asks for one file at a time; what it did not ask for is
//! never sent. Never runs more than [`UPLOAD_WINDOW_BYTES`] past what the hub has acknowledged.

use moji_proto::limits::{CHUNK_BYTES_MAX, UPLOAD_WINDOW_BYTES};

use super::ResultFile;

/// A piece to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Number of the file.
    pub(super) file: u32,
    /// Where it begins.
    pub(super) offset: u64,
    /// Its length, bytes.
    pub(super) length: u32,
}

/// How far an upload is within this session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Upload {
    /// The file that is asked for; none before the first `Want`.
    wanted: Option<Wanted>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    file: u32,
    /// Where the next piece begins.
    next: u64,
    /// What the hub has of it.
    acked: u64,
}

impl Upload {
    /// The hub wants `file` from `offset`: the next one, or the same again because it arrived
    /// damaged. False if there is no such place.
    #[must_use]
    pub(super) fn want(&mut self, files: &[ResultFile], file: u32, offset: u64) -> bool {
        let there = files.get(file as usize).is_some_and(|file| offset <= file.size);
        if there {
            self.wanted = Some(Wanted { file, next: offset, acked: offset });
        }
        there
    }

    /// The hub has `file` up to `offset`.
    pub(super) fn ack(&mut self, file: u32, offset: u64) {
        if let Some(wanted) = &mut self.wanted
            && wanted.file == file
            && offset <= wanted.next
        {
            wanted.acked = wanted.acked.max(offset);
        }
    }

    /// The next piece that the window has room for.
    pub(super) fn next_piece(&mut self, files: &[ResultFile]) -> Option<Piece> {
        let wanted = self.wanted.as_mut()?;
        let left = files.get(wanted.file as usize)?.size - wanted.next;
        let length = left.min(CHUNK_BYTES_MAX as u64);
        if length == 0 || wanted.next + length > wanted.acked + UPLOAD_WINDOW_BYTES {
            return None;
        }
        let piece = Piece { file: wanted.file, offset: wanted.next, length: length as u32 };
        wanted.next += length;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moji_proto::{Digest, FileName};

    fn files(sizes: &[u64]) -> Vec<ResultFile> {
        let file = |size: &u64| ResultFile {
            name: FileName::new("f").unwrap(),
            size: *size,
            digest: Digest::of(b""),
        };
        sizes.iter().map(file).collect()
    }

    fn all(upload: &mut Upload, files: &[ResultFile]) -> Vec<Piece> {
        std::iter::from_fn(|| upload.next_piece(files)).collect()
    }

    #[test]
    fn nothing_is_sent_that_is_not_wanted() {
        let files = files(&[10, 0, 5]);
        let mut upload = Upload::default();
        assert_eq!(all(&mut upload, &files), []);
        assert!(upload.want(&files, 0, 4));
        assert_eq!(all(&mut upload, &files), [Piece { file: 0, offset: 4, length: 6 }]);
        assert!(upload.want(&files, 1, 0));
        assert_eq!(all(&mut upload, &files), []);
        assert!(upload.want(&files, 2, 0));
        assert_eq!(all(&mut upload, &files), [Piece { file: 2, offset: 0, length: 5 }]);
    }

    #[test]
    fn the_window_stops_at_its_limit_and_an_ack_moves_it_on() {
        let files = files(&[10_000_000]);
        let mut upload = Upload::default();
        assert!(upload.want(&files, 0, 100));
        let sent = all(&mut upload, &files);
        let bytes: u64 = sent.iter().map(|piece| u64::from(piece.length)).sum();
        assert!(bytes <= UPLOAD_WINDOW_BYTES && bytes > UPLOAD_WINDOW_BYTES - CHUNK_BYTES_MAX as u64);
        upload.ack(0, 100 + 2 * CHUNK_BYTES_MAX as u64);
        assert_eq!(all(&mut upload, &files).len(), 2);
        // Old news, another file's, and what was never sent move nothing.
        upload.ack(0, 1);
        upload.ack(1, 500_000);
        upload.ack(0, 9_000_000);
        assert_eq!(all(&mut upload, &files), []);
    }

    #[test]
    fn a_damaged_file_goes_again_with_a_window_of_its_own() {
        let files = files(&[300_000]);
        let mut upload = Upload::default();
        assert!(upload.want(&files, 0, 0));
        let first = all(&mut upload, &files);
        assert!(upload.want(&files, 0, 0));
        assert_eq!(all(&mut upload, &files), first);
    }

    #[test]
    fn a_place_that_does_not_exist_is_refused() {
        let files = files(&[1]);
        let mut upload = Upload::default();
        assert!(!upload.want(&files, 1, 0));
        assert!(!upload.want(&files, 0, 2));
        assert!(upload.want(&files, 0, 1));
    }
}
