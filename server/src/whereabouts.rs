//! `/run/moji-server/PORT.hub`: where a hub that runs here has its state folder, for `moji` on the same machine.
//!
//! Owns that file. It is a convenience: whatever is wrong with it is said once and never stops the hub.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where root's hubs say where they are.
const RUN: &str = "/run/moji-server";
/// The folder's name in a user's own runtime folder.
const NAME: &str = "moji-server";

/// The files that were written; removed when dropped.
#[derive(Debug, Default)]
pub struct Whereabouts {
    files: Vec<PathBuf>,
}

/// The folder of such files: a user's own if there is one.
fn folder() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !nix::unistd::geteuid().is_root());
    own.map_or_else(|| PathBuf::from(RUN), |own| Path::new(&own).join(NAME))
}

/// Writes a file for each port on which the hub listens.
#[must_use]
pub fn tell(state: &Path, listen: &[SocketAddr]) -> Whereabouts {
    tell_in(&folder(), state, listen)
}

fn tell_in(folder: &Path, state: &Path, listen: &[SocketAddr]) -> Whereabouts {
    let mut written = Whereabouts::default();
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
    let mut text = format!("state {}\n", state.display());
    listen.iter().for_each(|addr| text.push_str(&format!("listen {addr}\n")));
    for addr in listen {
        let path = folder.join(format!("{}.hub", addr.port()));
        if written.files.contains(&path) {
            continue;
        }
        if let Err(error) = write(folder, &path, &text) {
            log::warn!(
                "failed to write {}: {error}: 'moji' here must be told --hub and its secret",
                path.display()
            );
            return written;
        }
        written.files.push(path);
    }
    written
}

fn write(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

impl Drop for Whereabouts {
    fn drop(&mut self) {
        for path in &self.files {
            if let Err(error) = fs::remove_file(path) {
                log::debug!("failed to remove {}: {error}", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_says_where_it_is_for_each_port_as_long_as_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run/moji-server");
        let listen: Vec<SocketAddr> =
            ["127.0.0.1:6789", "[::1]:6789", "127.0.0.1:7000"].map(|addr| addr.parse().unwrap()).into();
        let told = tell_in(&folder, Path::new("/srv/state"), &listen);
        let want = "state /srv/state\nlisten 127.0.0.1:6789\nlisten [::1]:6789\nlisten 127.0.0.1:7000\n";
        for name in ["6789.hub", "7000.hub"] {
            assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), want);
        }
        drop(told);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let told = tell_in(&dir.path().join("file/x"), dir.path(), &["127.0.0.1:1".parse().unwrap()]);
        assert!(told.files.is_empty());
    }
}
