//! The hub's folders at the start.
//!
//! Owns the checks that make every later move possible (they exist, are writable, share a file
//! system) and the lock that keeps a second hub out. Never moves a package.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::control::{self, DAEMON_LOCK_NAME};
pub use crate::control::{LOCK_NAME, Lock};
use crate::disk::Folders;

/// Mode of a state folder that the hub makes: it holds keys and secrets.
const STATE_MODE: u32 = 0o700;
/// The file that shows whether a folder can be written; the same at every start, so that one of a killed hub goes.
const PROBE_NAME: &str = ".moji-probe";
/// A folder cannot be used.
#[derive(Debug)]
pub enum FolderError {
    /// It is not there.
    Missing(&'static str, PathBuf),
    /// Something else has its name.
    NotAFolder(&'static str, PathBuf),
    /// It cannot be looked at.
    Unreadable(&'static str, PathBuf, io::Error),
    /// A file cannot be made in it.
    Unwritable(&'static str, PathBuf, io::Error),
    /// It is on another file system than the others.
    OtherFileSystem(&'static str, PathBuf, PathBuf),
    /// Two of the folders are one.
    Same(&'static str, &'static str, PathBuf),
    /// The state folder is not there and cannot be made.
    State(PathBuf, io::Error),
    /// Another hub uses the folders.
    Locked(PathBuf, Option<u32>),
    /// The lock cannot be taken for another reason.
    Lock(PathBuf, io::Error),
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderError::Missing(role, path) => {
                write!(f, "{role} folder '{}' does not exist: make it or correct its name", path.display())
            }
            FolderError::NotAFolder(role, path) => {
                write!(f, "{role} folder '{}' is not a folder: name a folder", path.display())
            }
            FolderError::Unreadable(role, path, error) => {
                write!(f, "{role} folder '{}' cannot be looked at: {error}", path.display())
            }
            FolderError::Unwritable(role, path, error) => write!(
                f,
                "{role} folder '{}' is not writable ({error}): let the hub's user write to it",
                path.display()
            ),
            FolderError::OtherFileSystem(role, path, other) => write!(
                f,
                "{role} folder '{}' is on another file system than '{}': all folders must share one",
                path.display(),
                other.display()
            ),
            FolderError::Same(role, other, path) => write!(
                f,
                "{role} folder and {other} folder are both '{}': name different folders",
                path.display()
            ),
            FolderError::State(path, error) => {
                write!(f, "state folder '{}' cannot be made ({error}): name another one", path.display())
            }
            FolderError::Locked(path, pid) => {
                write!(f, "another hub ")?;
                if let Some(pid) = pid {
                    write!(f, "(pid {pid}) ")?;
                }
                write!(f, "uses working folder '{}': stop it first", path.display())
            }
            FolderError::Lock(path, error) => write!(f, "cannot lock '{}': {error}", path.display()),
        }
    }
}

impl std::error::Error for FolderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FolderError::Unreadable(_, _, error)
            | FolderError::Unwritable(_, _, error)
            | FolderError::State(_, error)
            | FolderError::Lock(_, error) => Some(error),
            _ => None,
        }
    }
}

/// Checks the folders, makes the state folder if it is missing, and takes the lock.
///
/// # Errors
/// The first thing that is wrong, as one line that names folder and remedy.
pub fn check(folders: &Folders) -> Result<Lock, FolderError> {
    let roles = [
        ("source", &folders.source),
        ("working", &folders.working),
        ("finished", &folders.finished),
        ("repo", &folders.repo),
    ];
    let mut seen: Vec<(&'static str, &PathBuf, (u64, u64))> = Vec::new();
    for (role, path) in roles {
        let id = look(role, path)?;
        if let Some((other, ..)) = seen.iter().find(|(_, _, known)| *known == id) {
            return Err(FolderError::Same(role, other, path.clone()));
        }
        seen.push((role, path, id));
    }
    same_file_system(&seen)?;
    // Before the probes: a second hub must touch nothing.
    let lock = take_lock(&folders.working)?;
    probe("working", &folders.working)?;
    for (role, path) in roles.into_iter().filter(|(role, _)| *role != "working") {
        // First, because a read-only mount refuses a move as if it were another file system.
        probe(role, path)?;
        probe_move(role, path, &folders.working)?;
    }
    make_state(&folders.state)?;
    Ok(lock)
}

/// Device and number of the folder.
fn look(role: &'static str, path: &Path) -> Result<(u64, u64), FolderError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok((meta.dev(), meta.ino())),
        Ok(_) => Err(FolderError::NotAFolder(role, path.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(FolderError::Missing(role, path.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(FolderError::NotAFolder(role, path.to_owned()))
        }
        Err(error) => Err(FolderError::Unreadable(role, path.to_owned(), error)),
    }
}

/// Names the folder that is alone on its file system; of two and two, the later one.
fn same_file_system(seen: &[(&'static str, &PathBuf, (u64, u64))]) -> Result<(), FolderError> {
    let shared_by = |device: u64| seen.iter().filter(|(_, _, id)| id.0 == device).count();
    // On a tie the later one is the odd one: min_by_key takes the first of equals.
    let Some(odd) = seen.iter().rev().min_by_key(|(_, _, id)| shared_by(id.0)) else { return Ok(()) };
    match seen.iter().find(|(_, _, id)| id.0 != odd.2.0) {
        Some(other) => Err(FolderError::OtherFileSystem(odd.0, odd.1.clone(), other.1.clone())),
        None => Ok(()),
    }
}

/// Makes a file and removes it: permissions, read-only mounts and quotas have too many forms to ask.
fn probe(role: &'static str, path: &Path) -> Result<(), FolderError> {
    let name = path.join(PROBE_NAME);
    let unwritable = |error| FolderError::Unwritable(role, path.to_owned(), error);
    // One of a hub that was killed right here.
    let _ = fs::remove_file(&name);
    OpenOptions::new().write(true).create_new(true).open(&name).map_err(unwritable)?;
    fs::remove_file(&name).map_err(unwritable)
}

/// Moves a file from `working` to the folder and removes it: two mounts of one file system have the
/// same device and still refuse that.
fn probe_move(role: &'static str, path: &Path, working: &Path) -> Result<(), FolderError> {
    let (from, to) = (working.join(PROBE_NAME), path.join(PROBE_NAME));
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::CrossesDevices => FolderError::OtherFileSystem(role, path.to_owned(), working.to_owned()),
        _ => FolderError::Unwritable(role, path.to_owned(), error),
    };
    File::create_new(&from).map_err(|error| FolderError::Unwritable("working", working.to_owned(), error))?;
    if let Err(error) = fs::rename(&from, &to) {
        // The refusal is what counts; a file left behind begins with a dot and is tried again.
        let _ = fs::remove_file(&from);
        return Err(failed(error));
    }
    fs::remove_file(&to).map_err(failed)
}

fn make_state(path: &Path) -> Result<(), FolderError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(STATE_MODE)
        .create(path)
        .map_err(|error| FolderError::State(path.to_owned(), error))?;
    look("state", path)?;
    probe("state", path)
}

fn take_lock(working: &Path) -> Result<Lock, FolderError> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            FolderError::Unwritable("working", working.to_owned(), error)
        }
        _ => FolderError::Lock(working.join(LOCK_NAME), error),
    };
    control::take(working, LOCK_NAME).map_err(failed)?.ok_or_else(|| {
        FolderError::Locked(working.to_owned(), control::holder(working, LOCK_NAME).ok().flatten())
    })
}

/// Takes the lock of the parent that `--daemon` keeps.
///
/// # Errors
/// [`FolderError::Locked`] if there is one already.
pub fn lock_daemon(folders: &Folders) -> Result<Lock, FolderError> {
    let working = &folders.working;
    let taken = control::take(working, DAEMON_LOCK_NAME)
        .map_err(|error| FolderError::Lock(working.join(DAEMON_LOCK_NAME), error))?;
    taken.ok_or_else(|| {
        FolderError::Locked(working.clone(), control::holder(working, DAEMON_LOCK_NAME).ok().flatten())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(root: &Path) -> Folders {
        let folders = Folders {
            source: root.join("source"),
            working: root.join("working"),
            finished: root.join("finished"),
            repo: root.join("repo"),
            state: root.join("finished/.moji"),
        };
        for path in [&folders.source, &folders.working, &folders.finished, &folders.repo] {
            fs::create_dir(path).unwrap();
        }
        folders
    }

    fn refused(folders: &Folders) -> String {
        check(folders).unwrap_err().to_string()
    }

    #[test]
    fn sound_folders_are_locked_and_left_clean() {
        let root = tempfile::tempdir().unwrap();
        let folders = folders(root.path());
        let lock = check(&folders).unwrap();
        assert_eq!(fs::metadata(&folders.state).unwrap().mode() & 0o777, 0o700);
        for (path, left) in
            [(&folders.source, 0), (&folders.repo, 0), (&folders.state, 0), (&folders.working, 1)]
        {
            assert_eq!(fs::read_dir(path).unwrap().count(), left, "{}", path.display());
        }
        let second = refused(&folders);
        assert!(second.contains(&format!("(pid {})", std::process::id())), "{second}");
        drop(lock);
        // What a hub left that was killed while it looked at them.
        for path in [&folders.source, &folders.repo, &folders.state, &folders.working] {
            fs::write(path.join(PROBE_NAME), "").unwrap();
        }
        check(&folders).unwrap();
        for (path, left) in
            [(&folders.source, 0), (&folders.repo, 0), (&folders.state, 0), (&folders.working, 1)]
        {
            assert_eq!(fs::read_dir(path).unwrap().count(), left, "{}", path.display());
        }
    }

    #[test]
    fn each_unusable_folder_is_named_with_its_remedy() {
        let root = tempfile::tempdir().unwrap();
        let sound = folders(root.path());
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let missing = root.path().join("missing");
        for (broken, want) in [
            (
                Folders { source: missing.clone(), ..sound.clone() },
                "source folder '*/missing' does not exist: ",
            ),
            (Folders { repo: file.clone(), ..sound.clone() }, "repo folder '*/file' is not a folder: "),
            (
                Folders { working: file.join("x"), ..sound.clone() },
                "working folder '*/file/x' is not a folder: ",
            ),
            (
                Folders { finished: sound.source.clone(), ..sound.clone() },
                "finished folder and source folder are both '*/source': ",
            ),
            (Folders { state: file.clone(), ..sound.clone() }, "state folder '*/file' cannot be made "),
        ] {
            let said = refused(&broken).replace(root.path().to_str().unwrap(), "*");
            assert!(said.starts_with(want) && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn the_folder_on_another_file_system_is_named() {
        let (a, b, c) = (PathBuf::from("a"), PathBuf::from("b"), PathBuf::from("c"));
        for (devices, odd) in [([1, 1, 1], None), ([2, 1, 1], Some("a")), ([1, 1, 2], Some("c"))] {
            let seen = [("a", &a, (devices[0], 1)), ("b", &b, (devices[1], 2)), ("c", &c, (devices[2], 3))];
            let named = match same_file_system(&seen) {
                Ok(()) => None,
                Err(FolderError::OtherFileSystem(role, ..)) => Some(role),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(named, odd, "{devices:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        // /proc refuses new files to everybody, root too.
        let error = probe("source", Path::new("/proc/self")).unwrap_err().to_string();
        assert!(error.starts_with("source folder '/proc/self' is not writable ("), "{error}");
        let working = tempfile::tempdir().unwrap();
        let error = probe_move("source", Path::new("/proc/self"), working.path()).unwrap_err().to_string();
        assert!(error.contains("is on another file system than"), "{error}");
        assert_eq!(fs::read_dir(working.path()).unwrap().count(), 0);
    }
}
