//! `repomd.xml.asc`, and which one a reader wants.
//!
//! Owns the memory of signatures that lets the hub's HTTP serve pairs. Two files cannot be replaced as one: a reader that
//! has `repomd.xml` of one publication and asks for `repomd.xml.asc` after the next would refuse the repository. A file with
//! the signatures of several generations does not help: librepo takes none whose first signature is of other bytes
//! (1.14; with rpm's OpenPGP it reads one only), libzypp none that holds a wrong one. So there is one signature in the
//! file, and the hub's HTTP remembers which `repomd.xml` an address was served last and answers with the signature of
//! that one. Must never answer with a signature that this hub did not make.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::Digest as _;

use super::Signer;
use crate::disk::Disk;
use crate::index::RepomdSigner;

/// Signatures that are remembered: a minute of four publications a second. Half a kilobyte each.
const SIGNATURES_MAX: usize = 256;
/// Readers that are remembered: each board has an address.
const READERS_MAX: usize = 4_096;
/// Longest path that is remembered, bytes: the hub's own have a third of it, and anybody may ask for others.
const PATH_BYTES_MAX: usize = 128;
/// Largest `repomd.xml` that is signed or looked at, bytes: one has about three kilobytes.
pub(crate) const REPOMD_BYTES_MAX: u64 = 1 << 20;

type Sum = [u8; 32];

/// Which signature belongs to which `repomd.xml`, and who was served which.
#[derive(Debug, Default)]
pub struct Pairs(Mutex<Memory>);

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// SHA-256 of a `repomd.xml`, and its signature; oldest first.
    signatures: VecDeque<(Sum, Vec<u8>)>,
    /// What an address was served last at a path, and the number of that serving.
    pub(super) readers: BTreeMap<(IpAddr, String), (Sum, u64)>,
    servings: u64,
}

impl Pairs {
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a signature.
    pub(crate) fn signed(&self, repomd: &[u8], signature: &[u8]) {
        let sum = sha2::Sha256::digest(repomd).into();
        let mut memory = self.memory();
        memory.signatures.retain(|(other, _)| *other != sum);
        if memory.signatures.len() >= SIGNATURES_MAX {
            memory.signatures.pop_front();
        }
        memory.signatures.push_back((sum, signature.to_owned()));
    }

    /// Notes that this address got these bytes as the `repomd.xml` at `path`.
    pub fn served(&self, reader: IpAddr, path: &str, repomd: &[u8]) {
        if path.len() > PATH_BYTES_MAX {
            return;
        }
        let sum: Sum = sha2::Sha256::digest(repomd).into();
        let mut memory = self.memory();
        memory.servings += 1;
        let number = memory.servings;
        memory.readers.insert((reader, path.to_owned()), (sum, number));
        if memory.readers.len() > READERS_MAX {
            let oldest = memory.readers.iter().min_by_key(|(_, (_, number))| *number);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                memory.readers.remove(&key);
            }
        }
    }

    /// The signature of the `repomd.xml` at `path` that this address got last; None if that is not known, and then the
    /// file there is the best answer.
    #[must_use]
    pub fn signature_for(&self, reader: IpAddr, path: &str) -> Option<Vec<u8>> {
        let memory = self.memory();
        let (want, _) = memory.readers.get(&(reader, path.to_owned()))?;
        memory.signatures.iter().find(|(sum, _)| sum == want).map(|(_, signature)| signature.clone())
    }
}

/// The path of the `repomd.xml` whose signature is at this path.
#[must_use]
pub fn is_signature(path: &str) -> Option<&str> {
    path.strip_suffix(".asc").filter(|path| path.ends_with("/repomd.xml"))
}

impl RepomdSigner for Signer {
    fn sign(&self, repomd: &[u8]) -> Result<Vec<u8>, String> {
        let signature =
            self.armored(repomd).map_err(|error| format!("failed to sign repomd.xml: {error}"))?;
        self.pairs.signed(repomd, &signature);
        Ok(signature)
    }
}

/// Makes `repomd.xml.asc` in a `repodata` folder fit, at the start: a crash between the two renames, a new key, or none any
/// more. Nothing there is fine.
///
/// # Errors
/// Those of the file system; `Other` if the key does not sign.
pub fn put_right(disk: &dyn Disk, repodata: &Path, signer: Option<&Signer>) -> io::Result<()> {
    let path = repodata.join("repomd.xml.asc");
    let repomd = read(disk, &repodata.join("repomd.xml"))?;
    let (Some(signer), Some(repomd)) = (signer, repomd) else {
        return match disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    if let Some(old) = read(disk, &path)?
        && signer.made(&old, &repomd)
    {
        signer.pairs.signed(&repomd, &old);
        return Ok(());
    }
    let signature = signer.sign(&repomd).map_err(io::Error::other)?;
    replace(disk, repodata, "repomd.xml.asc", &signature)
}

/// Puts a whole small file in the place of the old one.
///
/// # Errors
/// Those of the file system.
pub fn replace(disk: &dyn Disk, folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = folder.join(format!(".{name}.new"));
    match disk.remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&new)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&new, &folder.join(name))?;
    disk.sync_dir(folder)
}

/// A small file; None if it is not there.
fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = file.len()?.min(REPOMD_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let n = file.read_at(&mut bytes, 0)?;
    bytes.truncate(n);
    Ok(Some(bytes))
}
