//! The files that a package lists: names, folders, modes, digests.
//!
//! Owns where they are. Folders are spread over many parents: libsolv takes quadratic time for subfolders of one.

use super::Kind;
use super::header::{Header, hex};
use super::tag;
use super::words::Words;

/// Parents of packages' own folders, at each of two levels.
const SHELVES: u64 = 48;

/// The files that a package lists, in rpm's order.
pub(super) struct Files {
    /// Folder (an index), name, mode.
    files: Vec<(u32, String, u16)>,
    folders: Vec<String>,
    digests: Vec<String>,
    sizes: Vec<u32>,
}

/// Modes: a program, a plain file.
const PROGRAM: u16 = 0o100_755;
const PLAIN: u16 = 0o100_644;

impl Files {
    pub(super) fn new(count: usize, words: &mut Words, name: &str, kind: Kind) -> Files {
        let mut shelf = |root: &str| {
            let (outer, inner) = (words.below(SHELVES), words.below(SHELVES));
            format!("{root}/{}/{}/{name}/", letters(outer), letters(inner))
        };
        let folders: Vec<String> = match kind {
            Kind::Source => vec![String::new()],
            Kind::Debug => ["/usr/lib/debug/.build-id", "/usr/lib/debug/usr"].map(shelf).into(),
            _ => {
                let own = ["/usr/share", "/usr/share/doc", "/usr/lib64", "/usr/include", "/usr/libexec"];
                let mut folders: Vec<String> = own.map(&mut shelf).into();
                folders.extend(["/usr/bin/", "/usr/lib64/", "/usr/share/man/man1/"].map(str::to_owned));
                folders
            }
        };
        let mut files = Vec::new();
        for n in 0..count {
            let folder = n % folders.len();
            let (one, other) = (words.word(), words.word());
            let (file, mode) = match &*folders[folder] {
                "/usr/bin/" => (format!("{name}-{one}{n}"), PROGRAM),
                "/usr/lib64/" => (format!("lib{name}-{one}.so.{n}"), PROGRAM),
                "/usr/share/man/man1/" => (format!("{name}-{one}{n}.1.gz"), PLAIN),
                _ => (format!("{one}_{other}{n}.{}", ["h", "txt", "py", "html"][n % 4]), PLAIN),
            };
            files.push((folder as u32, file, mode));
        }
        // rpm's order is that of whole paths.
        files.sort_by_key(|(folder, file, _)| format!("{}{file}", folders[*folder as usize]));
        let digests = files.iter().map(|_| digest(words)).collect();
        let sizes = files.iter().map(|_| words.below(200_000) as u32).collect();
        Files { files, folders, digests, sizes }
    }

    pub(super) fn store(&self, header: &mut Header, unix_s: u32) {
        let count = self.files.len();
        let pick = |value: u32| vec![value; count];
        header.strings(tag::BASENAMES, &self.files.iter().map(|(_, file, _)| file).collect::<Vec<_>>());
        header.numbers(tag::DIRINDEXES, &self.files.iter().map(|(folder, ..)| *folder).collect::<Vec<_>>());
        if count > 0 {
            header.strings(tag::DIRNAMES, &self.folders);
        }
        header.shorts(tag::FILEMODES, &self.files.iter().map(|(.., mode)| *mode).collect::<Vec<_>>());
        header.numbers(tag::FILESIZES, &self.sizes);
        header.shorts(tag::FILERDEVS, &vec![0; count]);
        header.numbers(tag::FILEMTIMES, &pick(unix_s));
        header.strings(tag::FILEDIGESTS, &self.digests);
        header.strings(tag::FILELINKTOS, &vec![""; count]);
        header.numbers(tag::FILEFLAGS, &pick(0));
        header.strings(tag::FILEUSERNAME, &vec!["root"; count]);
        header.strings(tag::FILEGROUPNAME, &vec!["root"; count]);
        header.numbers(tag::FILEVERIFYFLAGS, &pick(u32::MAX));
        header.numbers(tag::FILEDEVICES, &pick(1));
        header.numbers(tag::FILEINODES, &(1..=count as u32).collect::<Vec<_>>());
        header.strings(tag::FILELANGS, &vec![""; count]);
        if count > 0 {
            header.numbers(tag::FILEDIGESTALGO, &[8]);
        }
    }
}

/// Two letters for a shelf.
fn letters(number: u64) -> String {
    [number / 8, number % 8].iter().map(|&n| char::from(b'a' + n as u8)).collect()
}

fn digest(words: &mut Words) -> String {
    let bytes: Vec<u8> = (0..4).flat_map(|_| words.next().to_be_bytes()).collect();
    hex(&bytes)
}
