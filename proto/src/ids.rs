//! Ids and digests as types of their own, so that none is taken for another.
//!
//! Owns their text forms too: those appear in folder names and logs and must not change.

use std::fmt;
use std::str::FromStr;

use blake2::{Blake2s256, Digest as _};
use serde::{Deserialize, Serialize};

/// Names one lease for ever: no two leases of one hub share it, over all its runs.
///
/// The text form `INCARNATION-COUNTER` is used in folder names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId {
    /// Number of the hub's run: at least its start in unix seconds, always larger than the last one.
    pub incarnation: u64,
    /// Counts leases within the run, from 1.
    pub counter: u32,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incarnation, self.counter)
    }
}

/// The text was not `INCARNATION-COUNTER`, 64 hexadecimal digits or the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdError;

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id of this kind")
    }
}

impl std::error::Error for IdError {}

impl FromStr for LeaseId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<LeaseId, IdError> {
        let (incarnation, counter) = text.split_once('-').ok_or(IdError)?;
        let id = LeaseId {
            incarnation: incarnation.parse().map_err(|_| IdError)?,
            counter: counter.parse().map_err(|_| IdError)?,
        };
        // "+7" and "007" parse too, but are not how an id is written.
        if id.to_string() == text { Ok(id) } else { Err(IdError) }
    }
}

macro_rules! thirty_two_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<$name, IdError> {
                if text.len() != 64 || !text.is_ascii() {
                    return Err(IdError);
                }
                let mut bytes = [0; 32];
                for (i, byte) in bytes.iter_mut().enumerate() {
                    let pair = &text[2 * i..2 * i + 2];
                    if pair.starts_with('+') {
                        return Err(IdError);
                    }
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| IdError)?;
                }
                Ok($name(bytes))
            }
        }
    };
}

thirty_two_bytes! {
    /// BLAKE2s-256 of a file's bytes: the hash that the channel brings along anyway, and the
    /// fastest of its strength on a 32-bit board.
    Digest
}

thirty_two_bytes! {
    /// A Curve25519 public key: who a hub or a builder is.
    PublicKey
}

impl PublicKey {
    /// The first 16 hexadecimal digits: enough for a person to compare.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.to_string()[..16].to_owned()
    }
}

/// Computes a [`Digest`] piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(Blake2s256);

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes so far.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_ids_survive_their_text_form_and_nothing_else_parses() {
        let id = LeaseId { incarnation: 1_764_000_000, counter: 7 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "7", "1-", "-1", "+1-2", "01-2", "1-2-3", "1-99999999999", "../1-2"] {
            assert_eq!(bad.parse::<LeaseId>(), Err(IdError), "{bad}");
        }
    }

    #[test]
    fn digests_are_blake2s_256() {
        // RFC 7693, appendix B: BLAKE2s-256 of "abc".
        let want = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
        assert_eq!(Digest::of(b"abc").to_string(), want);
        assert_eq!(want.parse::<Digest>(), Ok(Digest::of(b"abc")));
        assert_eq!("+f".repeat(32).parse::<Digest>(), Err(IdError));
    }
}
