//! Signing of what the hub publishes: RPMs before their commit, and `repomd.xml`.
//!
//! Owns the key of `--sign-key` in memory. It is read once, at the start; what becomes of its file later changes nothing
//! until a restart. Decides nothing about what is signed or when: [`crate::stage`] has RPMs signed before the commit
//! point, and whoever publishes an index its `repomd.xml`. Never prints or writes a secret but for
//! `moji-server key --new`.
//!
//! | file | owns |
//! |---|---|
//! | `key` | reading, checking and making a key |
//! | `package` | an RPM with a signature, as a new file |
//! | `repomd` | `repomd.xml.asc`, and which of them a reader of the hub's HTTP wants |

mod key;
mod package;
mod repomd;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use key::{SignKeyError, Signer, make, public_of};
pub use package::{SignError, Signed};
pub(crate) use repomd::REPOMD_BYTES_MAX;
pub use repomd::{Pairs, is_signature, put_right, replace};

/// The public key's name in `REPO`, for people and for static web servers.
pub const PUBLIC_KEY: &str = "RPM-GPG-KEY-moji";
