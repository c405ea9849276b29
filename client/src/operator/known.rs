//! The keys of hubs that were seen before: `~/.local/state/moji/known_hubs`.
//!
//! Owns that file: a line `HOST:PORT KEY` for each hub whose key no token names. The first key that a hub
//! proves is kept; another one later is refused. Never forgets a hub by itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use moji_proto::PublicKey;

use super::code;
use crate::exit::Failure;
use crate::files;

/// The file in `folder`.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("known_hubs")
}

/// The key that `hub` (`HOST:PORT`) had before, if it was seen.
///
/// # Errors
/// A [`Failure`] if the file is there and cannot be read or its line is damaged: a damaged file must not
/// make us trust anybody anew.
pub(super) fn find(folder: &Path, hub: &str) -> Result<Option<PublicKey>, Failure> {
    let path = path(folder);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let text = format!("cannot read the keys of known hubs in {}: {error}", path.display());
            return Err(Failure::new(code::HUB, text));
        }
    };
    let Some(key) = entries(&text).find(|(known, _)| *known == hub).map(|(_, key)| key) else {
        return Ok(None);
    };
    key.parse().map(Some).map_err(|_| {
        let text =
            format!("the line of {hub} in {} is damaged: delete it to trust the hub anew", path.display());
        Failure::new(code::HUB, text)
    })
}

/// Keeps the key that `hub` proved to have.
///
/// # Errors
/// Any error of the file system.
pub(super) fn keep(folder: &Path, hub: &str, key: &PublicKey) -> io::Result<()> {
    let path = path(folder);
    let mut text = match fs::read_to_string(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        text => text.unwrap_or_default(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("{hub} {key}\n"));
    files::replace(&path, text.as_bytes(), 0o600)
}

fn entries(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.trim().split_once(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_known_by_the_first_key_it_had_and_a_damaged_line_is_no_new_hub() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        assert_eq!(find(folder.path(), "a:1"), Ok(None));
        keep(folder.path(), "a:1", &one).unwrap();
        keep(folder.path(), "b:1", &other).unwrap();
        assert_eq!(find(folder.path(), "a:1"), Ok(Some(one)));
        assert_eq!(find(folder.path(), "b:1"), Ok(Some(other)));
        assert_eq!(find(folder.path(), "a:2"), Ok(None));
        fs::write(path(folder.path()), "a:1 0102\n").unwrap();
        assert!(find(folder.path(), "a:1").unwrap_err().text.contains("damaged"));
    }
}
