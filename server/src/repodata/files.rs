//! The files of a package, and which of them primary.xml lists.
//!
//! Owns putting paths together from a header's arrays. Must never hold all paths at once: the directories of a
//! hostile header may have megabytes and a million files in each.

use crate::rpmfile::Tags;

const OLDFILENAMES: u32 = 1027;
const FILEMODES: u32 = 1030;
const FILEFLAGS: u32 = 1037;
const DIRINDEXES: u32 = 1116;
const BASENAMES: u32 = 1117;
const DIRNAMES: u32 = 1118;

/// The bits of a mode that tell what a file is, and what they are of a directory (stat.h).
const MODE_TYPE: u64 = 0o170_000;
const MODE_DIRECTORY: u64 = 0o040_000;
/// RPMFILE_GHOST: owned, but not in the payload.
const FLAG_GHOST: u64 = 1 << 6;

/// What kind of file it is, as far as an index tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Plain,
    Directory,
    Ghost,
}

/// Calls `each` with every file's path and kind until it gives false. Nothing is listed where the arrays contradict
/// each other, which is how librpm and so createrepo_c have it (rpm's `indexSane`).
pub(super) fn for_each_file(tags: &Tags, mut each: impl FnMut(&[u8], FileKind) -> bool) {
    let (Some(flags), Some(modes)) = (tags.numbers(FILEFLAGS), tags.numbers(FILEMODES)) else { return };
    let mut kinds = flags.zip(modes).map(|(flags, mode)| match (mode & MODE_TYPE, flags & FLAG_GHOST) {
        (MODE_DIRECTORY, _) => FileKind::Directory,
        (_, 0) => FileKind::Plain,
        _ => FileKind::Ghost,
    });
    let arrays = (tags.texts(BASENAMES), tags.numbers(DIRINDEXES), tags.texts(DIRNAMES));
    let (Some(names), Some(indexes), Some(directories)) = arrays else {
        // Before rpm 4 paths were whole.
        let paths = tags.texts(OLDFILENAMES).into_iter().flatten();
        let _all = paths.zip(kinds).all(|(path, kind)| each(path, kind));
        return;
    };
    let (files, count) = (tags.count(BASENAMES), tags.count(DIRNAMES));
    // More directories than files are a waste of memory that no rpmbuild makes.
    if files != tags.count(DIRINDEXES) || count > files || indexes.clone().any(|i| i >= count as u64) {
        return;
    }
    let directories: Vec<&[u8]> = directories.collect();
    let mut path = Vec::new();
    for ((name, index), kind) in names.zip(indexes).zip(&mut kinds) {
        path.clear();
        path.extend_from_slice(directories[index as usize]);
        path.extend_from_slice(name);
        if !each(&path, kind) {
            return;
        }
    }
}

/// Whether primary.xml lists it (`cr_is_primary`): what people require by path.
pub(super) fn is_primary(path: &[u8]) -> bool {
    path.starts_with(b"/etc/") || path == b"/usr/lib/sendmail" || path.windows(4).any(|four| four == b"bin/")
}
