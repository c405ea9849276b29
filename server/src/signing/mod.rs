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

/// A signer for tests of others, with a key that is made once.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) fn test_signer() -> std::sync::Arc<Signer> {
    static SIGNER: std::sync::OnceLock<std::sync::Arc<Signer>> = std::sync::OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sign.key");
        make(&path, "a test").unwrap();
        let clock = std::sync::Arc::new(crate::clock::Real::default());
        std::sync::Arc::new(Signer::load(&path, None, clock).unwrap())
    };
    std::sync::Arc::clone(SIGNER.get_or_init(make))
}
