//! What mock left: hashed, synced, and the logs cut to size.
//!
//! Owns which entries of the result folder count. The folder belongs to the user that built, so
//! nothing in it is trusted: no link is followed, only regular files at the top count.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use moji_proto::limits::FILES_MAX;
use moji_proto::{FileName, Hasher};

use crate::core::ResultFile;
use crate::files;

/// Longest log that is kept whole, bytes; of a longer one the middle is cut.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Pieces in which files are read, bytes.
const READ_BYTES: usize = 32 * 1024;

/// Opens a regular file for reading and nothing else: no link, no pipe, no device.
///
/// # Errors
/// Any error of the file system; `InvalidInput` for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // O_NONBLOCK so that a pipe without a writer does not hold us up; regular files ignore it.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"))
    }
}

/// Cuts the middle of logs over 64 MiB, then hashes and syncs every regular file of `result`.
/// `spare` is where a cut log is made. Returns the files in the order of their names and a line for
/// each entry that was left out.
///
/// # Errors
/// Any error of the file system on what counts.
pub(super) fn collect(result: &Path, spare: &Path) -> io::Result<(Vec<ResultFile>, Vec<String>)> {
    let mut found = Vec::new();
    let mut left_out = Vec::new();
    for entry in fs::read_dir(result)? {
        let entry = entry?;
        let name = entry.file_name();
        let regular = entry.file_type()?.is_file();
        match name.to_str().map(FileName::new) {
            Some(Ok(name)) if regular => found.push(name),
            _ => left_out.push(format!("left out: {}", name.to_string_lossy().escape_debug())),
        }
    }
    found.sort();
    if found.len() > FILES_MAX as usize {
        left_out.push(format!("left out: {} files over {FILES_MAX}", found.len() - FILES_MAX as usize));
        found.truncate(FILES_MAX as usize);
    }
    let mut result_files = Vec::with_capacity(found.len());
    for name in found {
        let path = result.join(&name);
        if name.as_str().ends_with(".log") {
            cut_or_truncate(&path, spare, LOG_BYTES_MAX)?;
        }
        result_files.push(hash(&path, name)?);
    }
    files::sync_folder(result)?;
    Ok((result_files, left_out))
}

fn hash(path: &Path, name: FileName) -> io::Result<ResultFile> {
    let mut file = open_regular(path)?;
    let mut hasher = Hasher::default();
    let mut size = 0;
    let mut piece = vec![0; READ_BYTES];
    loop {
        let length = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&piece[..length]);
        size += length as u64;
    }
    file.sync_all()?;
    Ok(ResultFile { name, size, digest: hasher.finish() })
}

/// Cuts the middle; where the disk has no room for that, the end.
fn cut_or_truncate(path: &Path, spare: &Path, limit: u64) -> io::Result<()> {
    match cut(path, spare, limit) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            files::remove(spare)?;
            let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
            OpenOptions::new().write(true).custom_flags(flags).open(path)?.set_len(limit)
        }
        other => other,
    }
}

/// Replaces a log over `limit` by its beginning, a mark, and its end.
fn cut(path: &Path, spare: &Path, limit: u64) -> io::Result<()> {
    let mut log = open_regular(path)?;
    let size = log.metadata()?.len();
    if size <= limit {
        return Ok(());
    }
    // 64 bytes are more than the mark takes.
    let half = (limit - 64) / 2;
    files::remove(spare)?;
    let mut short = OpenOptions::new().write(true).create_new(true).mode(0o644).open(spare)?;
    io::copy(&mut Read::by_ref(&mut log).take(half), &mut short)?;
    write!(short, "\n[moji: {} bytes cut here]\n", size - 2 * half)?;
    log.seek(SeekFrom::Start(size - half))?;
    io::copy(&mut log.take(half), &mut short)?;
    fs::rename(spare, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use moji_proto::Digest;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_at_the_top_count() {
        let folder = tempfile::tempdir().unwrap();
        let result = folder.path().join("result");
        fs::create_dir_all(result.join("sub")).unwrap();
        fs::write(result.join("b.rpm"), "bb").unwrap();
        fs::write(result.join("a.log"), "a").unwrap();
        fs::write(result.join(".hidden"), "").unwrap();
        symlink("/etc/passwd", result.join("c.log")).unwrap();
        nix::unistd::mkfifo(&result.join("d.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (found, left_out) = collect(&result, &folder.path().join("spare")).unwrap();
        let names: Vec<&str> = found.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a.log", "b.rpm"]);
        assert_eq!((found[1].size, found[1].digest), (2, Digest::of(b"bb")));
        assert_eq!(left_out.len(), 4);
    }

    #[test]
    fn a_log_over_the_limit_keeps_its_beginning_and_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (log, spare) = (folder.path().join("build.log"), folder.path().join("spare"));
        fs::write(&log, format!("begin{}end", "x".repeat(2000))).unwrap();
        cut(&log, &spare, 1000).unwrap();
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.len() <= 1000 && text.starts_with("begin") && text.ends_with("end"));
        assert!(text.contains("[moji: 1072 bytes cut here]"));
        cut(&log, &spare, 1000).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), text);
    }
}
