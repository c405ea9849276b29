//! A yum index as a reader finds it, held against itself.
//!
//! Owns the checks that every index must pass at any moment: all files that `repomd.xml` names are there, as long and
//! with the digests it says, and the three of them are about the same packages. Must not share code with what writes indexes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

/// The packages of an index: where each RPM is, and its SHA-256.
pub type Published = BTreeMap<String, String>;

/// The files of an index that must be there.
const FILES: [(&str, &str); 3] =
    [("primary", "metadata"), ("filelists", "filelists"), ("other", "otherdata")];

/// Reads the index in this `repodata` folder.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read_index(repodata: &Path) -> Result<Published, String> {
    let repomd = fs::read_to_string(repodata.join("repomd.xml"))
        .map_err(|why| format!("{}/repomd.xml: {why}", repodata.display()))?;
    let mut documents = Vec::new();
    for (part, root) in FILES {
        let said = between(&repomd, &format!("<data type=\"{part}\">"), "</data>")
            .ok_or_else(|| format!("repomd.xml names no {part}:\n{repomd}"))?;
        let text = read_file(repodata, said)?;
        if !text.starts_with("<?xml") || !text.trim_end().ends_with(&format!("</{root}>")) {
            return Err(format!("{part} is no whole document"));
        }
        let count = text.matches("<package ").count();
        let declared = between(&text, " packages=\"", "\"").and_then(|count| count.parse().ok());
        if declared != Some(count) {
            return Err(format!("{part} declares {declared:?} packages and has {count}"));
        }
        documents.push(text);
    }
    let published: Published =
        documents[0].split("<package ").skip(1).map(place).collect::<Result<_, _>>()?;
    let count = documents[0].split("<package ").skip(1).count();
    if published.len() != count {
        return Err(format!("{count} packages stand at {} places: one is named twice", published.len()));
    }
    let ids: BTreeSet<&str> = published.values().map(String::as_str).collect();
    for (text, (part, _)) in documents.iter().zip(FILES).skip(1) {
        let own = text.split("<package pkgid=\"").skip(1).filter_map(|rest| rest.split('"').next());
        if own.collect::<BTreeSet<_>>() != ids {
            return Err(format!("{part} is about other packages than primary"));
        }
    }
    Ok(published)
}

/// The `href` and the SHA-256 of a package of primary.
fn place(package: &str) -> Result<(String, String), String> {
    let href = between(package, "<location href=\"", "\"");
    let digest = between(package, "<checksum type=\"sha256\" pkgid=\"YES\">", "<");
    match (href, digest) {
        (Some(href), Some(digest)) => Ok((href.to_owned(), digest.to_owned())),
        _ => Err(format!("a package of primary without place or digest: {package}")),
    }
}

/// What a file holds, as `repomd.xml` says it: `said` is its `<data>`.
fn read_file(repodata: &Path, said: &str) -> Result<String, String> {
    let name = between(said, "<location href=\"repodata/", "\"").ok_or("a file without a place")?;
    let path = repodata.join(name);
    let bytes = fs::read(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    let open = expand(&path)?;
    let check = |what: &str, want: Option<&str>, found: String| match want {
        Some(want) if want != found => Err(format!("{name}: {what} is {found}, repomd.xml says {want}")),
        _ => Ok(()),
    };
    let number = |tag: &str| between(said, &format!("<{tag}>"), "<");
    let digest = |tag: &str| between(said, &format!("<{tag} type=\"sha256\">"), "<");
    if digest("checksum").is_none() || number("open-size").is_none() {
        return Err(format!("{name}: repomd.xml says no checksum or no open-size: {said}"));
    }
    check("checksum", digest("checksum"), hex(&bytes))?;
    check("size", number("size"), bytes.len().to_string())?;
    check("open-checksum", digest("open-checksum"), hex(&open))?;
    check("open-size", number("open-size"), open.len().to_string())?;
    String::from_utf8(open).map_err(|why| format!("{name}: {why}"))
}

fn expand(path: &PathBuf) -> Result<Vec<u8>, String> {
    let zstd = path.extension().is_some_and(|suffix| suffix == "zst");
    let mut command = Command::new(if zstd { "zstd" } else { "gzip" });
    let output = command.arg("-dc").arg(path).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(output.stdout),
        output => Err(format!("{} cannot be expanded: {output:?}", path.display())),
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands between the first of one text and the next of another.
fn between<'a>(text: &'a str, one: &str, other: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(one)?;
    Some(rest.split_once(other)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Shape, Synthetic};

    #[test]
    fn what_createrepo_c_made_passes_and_whatever_is_changed_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let world = Synthetic { seed: 7, shape: Shape::REAL, results: 2 };
        world.write(folder.path(), 0..2).expect("RPMs are written");
        let mut command = Command::new("createrepo_c");
        command.args(["-q", "--no-database"]).arg(folder.path());
        assert!(command.status().is_ok_and(|status| status.success()));
        let repodata = folder.path().join("repodata");
        let published = read_index(&repodata).expect("a whole index");
        assert_eq!(published.len(), 10);
        let rpm = &world.result(1).rpms[2];
        assert_eq!(published[&format!("{}/{}", world.nvr(1), rpm.name)], hex(&rpm.bytes));
        for entry in fs::read_dir(&repodata).expect("an index") {
            let path = entry.expect("an entry").path();
            let bytes = fs::read(&path).expect("a file");
            fs::write(&path, &bytes[..bytes.len() - 20]).expect("a file");
            let shorter = read_index(&repodata);
            assert!(shorter.is_err() || path.ends_with("repomd.xml"), "{}", path.display());
            fs::remove_file(&path).expect("a file");
            assert!(read_index(&repodata).is_err(), "{}", path.display());
            fs::write(&path, bytes).expect("a file");
        }
        let repomd = fs::read_to_string(repodata.join("repomd.xml")).expect("a file");
        for tag in ["checksum", "open-checksum", "size", "open-size"] {
            let at = repomd.find(&format!("</{tag}>")).expect("it is said");
            let mut other = repomd.clone().into_bytes();
            other[at - 1] = if other[at - 1] == b'1' { b'2' } else { b'1' };
            fs::write(repodata.join("repomd.xml"), other).expect("a file");
            assert!(read_index(&repodata).is_err(), "{tag}");
        }
    }
}
