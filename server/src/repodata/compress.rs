//! Members: gzip or zstd, each complete in itself.
//!
//! Owns the choice of level. A file is the concatenation of members; RFC 1952 (2.2) and RFC 8878 (3.1) both say that
//! this is a valid file whose content is the concatenation of theirs.

use std::cell::RefCell;
use std::fmt;
use std::io::Read;

use flate2::{Compress, FlushCompress, Status};
use serde::{Deserialize, Serialize};

/// Level of gzip: what createrepo_c and gzip(1) take.
const GZIP_LEVEL: u32 = 6;
/// Level of zstd: gzip's time at a better ratio.
const ZSTD_LEVEL: i32 = 9;

/// How far back gzip looks, as a power of two: its most.
const GZIP_WINDOW_BITS: u8 = 15;

thread_local! {
    /// What gzip works with, some 300 kB. Made anew for each member it would leave holes in the heap that glibc does not
    /// use again: 25 MB after sixty publications.
    static DEFLATE: RefCell<Compress> =
        RefCell::new(Compress::new_gzip(flate2::Compression::new(GZIP_LEVEL), GZIP_WINDOW_BITS));
}

/// How an index is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// Read by everything that reads yum repositories.
    #[default]
    Gzip,
    /// Smaller and faster to read; not for old createrepo_c.
    Zstd,
}

/// A member that does not expand to what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedMember;

impl fmt::Display for DamagedMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a compressed member is damaged")
    }
}

impl std::error::Error for DamagedMember {}

impl Compression {
    /// How a file's name ends, without the dot.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::Gzip => "gz",
            Compression::Zstd => "zst",
        }
    }

    /// One member that expands to `text`.
    #[must_use]
    pub fn member(self, text: &[u8]) -> Vec<u8> {
        match self {
            Compression::Gzip => DEFLATE.with_borrow_mut(|deflate| gzip(deflate, text)),
            Compression::Zstd => zstd::bulk::compress(text, ZSTD_LEVEL).expect("memory takes all"),
        }
    }

    /// What `member` expands to, which must be exactly `bytes` long.
    ///
    /// # Errors
    /// If it is not a whole member of that length. No more than `bytes` are ever held.
    pub fn expand(self, member: &[u8], bytes: usize) -> Result<Vec<u8>, DamagedMember> {
        let mut text = Vec::with_capacity(bytes);
        let limit = bytes as u64 + 1;
        let read = match self {
            Compression::Gzip => flate2::read::GzDecoder::new(member).take(limit).read_to_end(&mut text),
            Compression::Zstd => zstd::stream::read::Decoder::with_buffer(member)
                .and_then(|decoder| decoder.take(limit).read_to_end(&mut text)),
        };
        match read {
            Ok(_) if text.len() == bytes => Ok(text),
            _ => Err(DamagedMember),
        }
    }
}

/// One member of gzip.
fn gzip(deflate: &mut Compress, text: &[u8]) -> Vec<u8> {
    deflate.reset();
    // Texts of packages shrink to a fourth.
    let mut member = Vec::with_capacity(text.len() / 3 + 64);
    loop {
        let rest = &text[usize::try_from(deflate.total_in()).expect("it is in memory")..];
        match deflate.compress_vec(rest, &mut member, FlushCompress::Finish).expect("it was reset") {
            Status::StreamEnd => return member,
            Status::Ok | Status::BufError => member.reserve(member.len() / 2 + 64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_behind_each_other_and_damage_is_found() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            // The last one does not shrink.
            let noise: Vec<u8> =
                (0..30_000u32).map(|n| (n.wrapping_mul(n ^ 0x9e37_79b9) >> 13) as u8).collect();
            let texts: [&[u8]; 4] = [b"", b"one", &b"two ".repeat(10_000), &noise];
            for text in texts {
                let member = compression.member(text);
                assert_eq!(compression.expand(&member, text.len()).unwrap(), text);
                assert_eq!(compression.expand(&member, text.len() + 1), Err(DamagedMember));
                assert_eq!(compression.expand(&member[..member.len() - 1], text.len()), Err(DamagedMember));
                if !text.is_empty() {
                    assert_eq!(compression.expand(&member, text.len() - 1), Err(DamagedMember));
                }
            }
            let file: Vec<u8> = texts.iter().flat_map(|text| compression.member(text)).collect();
            let mut all = Vec::new();
            match compression {
                Compression::Gzip => flate2::read::MultiGzDecoder::new(&file[..]).read_to_end(&mut all),
                Compression::Zstd => {
                    zstd::stream::read::Decoder::with_buffer(&file[..]).unwrap().read_to_end(&mut all)
                }
            }
            .unwrap();
            assert_eq!(all, texts.concat());
        }
    }
}
