//! Where a hub on this very machine says that it is: `/run/moji-server/PORT.hub`.
//!
//! Owns the reading of that file, which the hub writes at its start and removes at its end. Each line is a
//! word and a value: `state DIR`, `listen ADDR`.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What such a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whereabouts {
    /// The hub's state folder.
    pub(super) state: PathBuf,
    /// Where it listens.
    pub(super) listen: Option<SocketAddr>,
}

/// What the first of `folders` that has a file for `port` says.
///
/// # Errors
/// The file and why it cannot be read, or what is wrong with it.
pub(super) fn find(folders: &[PathBuf], port: u16) -> Result<Option<Whereabouts>, (PathBuf, io::Error)> {
    for folder in folders {
        let path = folder.join(format!("{port}.hub"));
        match fs::read_to_string(&path) {
            Ok(text) => match parse(&text) {
                Some(found) => return Ok(Some(found)),
                None => {
                    let damaged = io::Error::new(io::ErrorKind::InvalidData, "it has no line 'state DIR'");
                    return Err((path, damaged));
                }
            },
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err((path, error)),
        }
    }
    Ok(None)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn parse(text: &str) -> Option<Whereabouts> {
    let value = |word: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
            .map(str::trim)
            .filter(|value| !value.is_empty())
    };
    let listen = value("listen").and_then(|text| text.parse().ok());
    Some(Whereabouts { state: Path::new(value("state")?).to_owned(), listen })
}

/// The folders in which hubs write that file: that of the system, that of the user's session.
pub(super) fn folders(session: Option<&Path>) -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("/run/moji-server")];
    folders.extend(session.filter(|path| path.is_absolute()).map(|path| path.join("moji-server")));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_port_is_found_in_the_first_folder_that_has_one() {
        let bench = tempfile::tempdir().unwrap();
        let folders = [bench.path().join("one"), bench.path().join("two")];
        assert_eq!(find(&folders, 6789).unwrap(), None);
        fs::create_dir(&folders[1]).unwrap();
        fs::write(folders[1].join("6789.hub"), "state /srv/a b\nlisten 0.0.0.0:6789\n").unwrap();
        let want = Whereabouts { state: "/srv/a b".into(), listen: Some("0.0.0.0:6789".parse().unwrap()) };
        assert_eq!(find(&folders, 6789).unwrap(), Some(want));
        assert_eq!(find(&folders, 7000).unwrap(), None);
        fs::write(folders[1].join("7000.hub"), "listen 127.0.0.1:7000\n").unwrap();
        assert_eq!(find(&folders, 7000).unwrap_err().0, folders[1].join("7000.hub"));
    }
}
