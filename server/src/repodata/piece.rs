//! Pieces: the groups of one result, beside its RPMs.
//!
//! Owns the file's name and version; its form is [`super::sealed`]'s. A damaged one is made anew from the RPMs.

use std::fmt;

use super::group::Group;
use super::sealed::{Magic, open_file, seal_file};

/// The file's name in a result's folder.
pub const PIECE_NAME: &str = ".repodata";
/// What it starts with. The number changes with the format, and with whatever changes the texts.
const MAGIC: &Magic = b"moji repodata 1\n";

/// A piece that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedPiece;

impl fmt::Display for DamagedPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is damaged or of another version")
    }
}

impl std::error::Error for DamagedPiece {}

/// The file of these groups.
#[must_use]
pub fn encode_piece(groups: &[Group]) -> Vec<u8> {
    seal_file(MAGIC, groups)
}

/// Reads the file.
///
/// # Errors
/// If it is damaged or of another version.
pub fn decode_piece(bytes: &[u8]) -> Result<Vec<Group>, DamagedPiece> {
    open_file(MAGIC, bytes).ok_or(DamagedPiece)
}

#[cfg(test)]
mod tests {
    use super::super::group::tests::described;
    use super::super::{Class, Compression};
    use super::*;

    #[test]
    fn a_piece_is_read_back_and_any_changed_byte_is_found() {
        let packages =
            vec![described("a-1-1/a.rpm", Class::Main), described("a-1-1/a.src.rpm", Class::Extra)];
        let groups = Group::seal_all(Compression::Gzip, packages);
        let piece = encode_piece(&groups);
        assert_eq!(decode_piece(&piece), Ok(groups));
        for at in 0..piece.len() {
            let mut changed = piece.clone();
            changed[at] ^= 1;
            assert_eq!(decode_piece(&changed), Err(DamagedPiece), "{at}");
            assert_eq!(decode_piece(&piece[..at]), Err(DamagedPiece), "{at}");
        }
    }
}
