//! Reading the hub's own repositories.
//!
//! Owns finding the files that a `repomd.xml` names in its own folder. They are the hub's own, but somebody may have changed them:
//! they are read with the same limits as those of mirrors.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;

use super::layer::{Layer, ReadError};
use crate::mainline::repomd::{self, Files};
use crate::mainline::unpack;

/// Longest `repomd.xml`, bytes.
const REPOMD_BYTES_MAX: u64 = 4 << 20;

/// Reads the packages of the repository in `folder` (which has `repodata/` in it); `texts` is an empty file of its own.
///
/// # Errors
/// If a file cannot be read, or is not what it should be.
pub fn of_repodata(folder: &Path, target: Option<&str>, texts: File) -> io::Result<Layer> {
    let files = files(folder)?;
    let primary = open(folder, &files.primary.href)?;
    Layer::read(primary, texts, target, None).map_err(other)
}

/// Takes those of `paths` that `filelists` of the repository in `folder` has. Says how many files there are.
///
/// # Errors
/// If a file cannot be read, or is not what it should be.
pub fn find_files_of_repodata(
    layer: &mut Layer,
    folder: &Path,
    paths: &BTreeSet<String>,
) -> io::Result<usize> {
    let Some(filelists) = files(folder)?.filelists else { return Ok(0) };
    layer.add_files(open(folder, &filelists.href)?, paths).map_err(other)
}

fn files(folder: &Path) -> io::Result<Files> {
    let mut text = Vec::new();
    File::open(folder.join("repodata/repomd.xml"))?.take(REPOMD_BYTES_MAX).read_to_end(&mut text)?;
    repomd::files(&text).map_err(|error| io::Error::other(error.to_string()))
}

fn open(folder: &Path, href: &str) -> io::Result<impl BufRead + use<>> {
    let file = File::open(folder.join(href))?;
    unpack::open(file).map_err(|error| io::Error::other(format!("{href}: {error}")))
}

fn other(error: ReadError) -> io::Error {
    io::Error::other(error)
}
