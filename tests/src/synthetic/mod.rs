//! Repositories of any size, made in seconds: RPMs with headers like real ones and next to no payload.
//!
//! Owns what is in them. The same seed gives the same bytes. Their digests are true, so that everything which reads
//! RPMs takes them; [`Shape::INSTALLABLE`] ones can even be installed, the others list files that they do not hold.
//! What is in a header is modelled on a distribution: sizes, counts, and how well it all compresses.

mod files;
pub(crate) mod header;
pub(crate) mod tag;
pub(crate) mod words;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use moji_server::repodata::Compression;

use files::Files;
use header::{Header, package};
use words::Words;

/// Packages of a result, the source package first.
pub const RESULT_PACKAGES: usize = 5;
/// Every so many results have a debug package in the place of their documentation.
const DEBUG_EVERY: usize = 4;
/// When the first package was built, unix seconds; the others follow.
const EPOCH_UNIX_S: u32 = 1_750_000_000;
const DAY_S: u32 = 86_400;
/// Senses of dependencies (`rpmds.h`): EQUAL, and GREATER with EQUAL.
const EQUAL: u32 = 8;
const AT_LEAST: u32 = 12;
/// A dependency on rpm itself: RPMSENSE_RPMLIB, LESS and EQUAL.
const RPMLIB: u32 = (1 << 24) | 10;

/// How much a package's header says.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Files that it lists.
    pub files: usize,
    /// Capabilities that it provides beside its own name.
    pub provides: usize,
    /// Packages of the same repository that it requires.
    pub requires: usize,
    /// Entries of its changelog.
    pub changes: usize,
    /// Length of its description, bytes.
    pub description_bytes: usize,
}

impl Shape {
    /// As in a distribution of desktops and servers.
    pub const REAL: Shape =
        Shape { files: 40, provides: 6, requires: 11, changes: 10, description_bytes: 1_000 };
    /// One that rpm installs: it has no files and needs nothing.
    pub const INSTALLABLE: Shape =
        Shape { files: 0, provides: 1, requires: 0, changes: 1, description_bytes: 60 };
}

/// What a package of a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Source,
    Main,
    Libs,
    Devel,
    Doc,
    Debug,
}

impl Kind {
    fn suffix(self) -> &'static str {
        match self {
            Kind::Source | Kind::Main => "",
            Kind::Libs => "-libs",
            Kind::Devel => "-devel",
            Kind::Doc => "-doc",
            Kind::Debug => "-debuginfo",
        }
    }
}

/// One made RPM.
#[derive(Debug)]
pub struct MadeRpm {
    /// Its file name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One made result.
#[derive(Debug)]
pub struct MadeResult {
    /// Name-version-release of its source package: its folder's name.
    pub nvr: String,
    /// The package's name.
    pub package: String,
    /// Its RPMs, the source package first.
    pub rpms: Vec<MadeRpm>,
}

/// A world of packages that fit together.
#[derive(Clone, Copy, Debug)]
pub struct Synthetic {
    /// Tells worlds apart.
    pub seed: u64,
    /// What all headers are like.
    pub shape: Shape,
    /// Results that may be required by others: those before this one.
    pub results: usize,
}

impl Synthetic {
    /// Result `number`; any number is good.
    #[must_use]
    pub fn result(&self, number: usize) -> MadeResult {
        let last = if number % DEBUG_EVERY == DEBUG_EVERY - 1 { Kind::Debug } else { Kind::Doc };
        let kinds = [Kind::Source, Kind::Main, Kind::Libs, Kind::Devel, last];
        let rpms = kinds.map(|kind| self.rpm(number, kind)).into();
        MadeResult { nvr: self.nvr(number), package: self.name(number), rpms }
    }

    /// Only the main package of result `number`.
    #[must_use]
    pub fn main_rpm(&self, number: usize) -> MadeRpm {
        self.rpm(number, Kind::Main)
    }

    /// Name of the source package of result `number`.
    #[must_use]
    pub fn name(&self, number: usize) -> String {
        let mut words = Words::of(self.seed, number as u64);
        // The number makes it unique, the words make it compress like a name.
        format!("{}-{}{number}", words.word(), words.word())
    }

    /// Name-version-release of result `number`.
    #[must_use]
    pub fn nvr(&self, number: usize) -> String {
        format!("{}-{}-{}", self.name(number), self.version(number), release(number))
    }

    fn version(&self, number: usize) -> String {
        let mut words = Words::of(!self.seed, number as u64);
        format!("{}.{}.{}", words.below(9), words.below(30), words.below(12))
    }

    /// Puts results into folders of their own below `repo`, with all cores.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, repo: &Path, results: Range<usize>) -> io::Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let write = |core: usize| {
                let own = results.clone().skip(core).step_by(cores);
                own.map(|number| self.result(number)).try_for_each(|made| made.write(repo))
            };
            let threads: Vec<_> = (0..cores).map(|core| scope.spawn(move || write(core))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("making RPMs does not panic"))
        })
    }

    fn rpm(&self, number: usize, kind: Kind) -> MadeRpm {
        let mut words = Words::of(self.seed ^ (kind as u64 + 1) << 56, number as u64);
        let (source, version, release) = (self.name(number), self.version(number), release(number));
        let name = format!("{source}{}", kind.suffix());
        let evr = format!("{version}-{release}");
        let is_source = kind == Kind::Source;
        let mut header = Header::default();
        self.identity(&mut header, &mut words, (&name, &version, &release));
        let nvr = format!("{source}-{evr}");
        if is_source {
            header.numbers(tag::SOURCEPACKAGE, &[1]);
        } else {
            header.string(tag::SOURCERPM, &format!("{nvr}.src.rpm"));
        }
        self.dependencies(&mut header, &mut words, number, (&name, &evr));
        self.changelog(&mut header, &mut words, number, &evr);
        let files = Files::new(self.shape.files, &mut words, &name, kind);
        files.store(&mut header, EPOCH_UNIX_S + number as u32);
        header.string(tag::PAYLOADFORMAT, "cpio");
        header.string(tag::PAYLOADCOMPRESSOR, "gzip");
        header.string(tag::PAYLOADFLAGS, "9");
        let payload = Compression::Gzip.member(CPIO_END.as_bytes());
        let arch = if is_source { "src" } else { "x86_64" };
        MadeRpm {
            name: format!("{name}-{evr}.{arch}.rpm"),
            bytes: package(header, is_source, &payload, CPIO_END.len() as u32),
        }
    }

    fn identity(&self, header: &mut Header, words: &mut Words, (name, version, release): (&str, &str, &str)) {
        header.strings(tag::I18NTABLE, &["C"]);
        header.string(tag::NAME, name);
        header.string(tag::VERSION, version);
        header.string(tag::RELEASE, release);
        header.translated(tag::SUMMARY, &words.text(50).replace('\n', " "));
        header.translated(tag::DESCRIPTION, &words.text(self.shape.description_bytes));
        header.numbers(tag::BUILDTIME, &[EPOCH_UNIX_S + words.below(10_000_000) as u32]);
        header.string(tag::BUILDHOST, &format!("board{}.example", words.below(100)));
        header.numbers(tag::SIZE, &[words.below(5_000_000) as u32]);
        header.string(tag::VENDOR, "Synthetic");
        header.string(tag::LICENSE, ["MIT", "GPL-2.0-or-later", "BSD-3-Clause"][words.below(3) as usize]);
        header.string(tag::PACKAGER, "Synthetic <packages@example>");
        header.translated(tag::GROUP, "Unspecified");
        header.string(tag::URL, &format!("https://{name}.example/{}", words.word()));
        header.string(tag::OS, "linux");
        header.string(tag::ARCH, "x86_64");
        header.string(tag::ENCODING, "utf-8");
        header.string(tag::RPMVERSION, "4.18.0");
    }

    fn dependencies(&self, header: &mut Header, words: &mut Words, number: usize, (name, evr): (&str, &str)) {
        let mut names = vec![name.to_owned(), format!("{name}(x86-64)")];
        let (mut flags, mut versions) = (vec![EQUAL; 2], vec![evr.to_owned(); 2]);
        for n in 0..self.shape.provides {
            names.push(match n % 3 {
                0 => format!("lib{name}.so.{n}()(64bit)"),
                1 => format!("pkgconfig({name}{n})"),
                _ => format!("{}({name})", words.word()),
            });
            let versioned = n % 3 == 1;
            flags.push(if versioned { EQUAL } else { 0 });
            versions.push(if versioned { evr.to_owned() } else { String::new() });
        }
        header.strings(tag::PROVIDENAME, &names);
        header.numbers(tag::PROVIDEFLAGS, &flags);
        header.strings(tag::PROVIDEVERSION, &versions);
        let (mut names, mut flags, mut versions) =
            (vec!["rpmlib(CompressedFileNames)".to_owned()], vec![RPMLIB], vec!["3.0.4-1".to_owned()]);
        for n in 0..self.shape.requires {
            // Most packages need the same few, and some of their neighbours.
            let far = words.below(if n % 2 == 0 { 100 } else { self.results as u64 }) as usize;
            let other = if far == number { far + 1 } else { far };
            let of = self.name(other);
            names.push(if n % 3 == 0 { of } else { format!("lib{of}.so.0()(64bit)") });
            flags.push(if n % 3 == 0 { AT_LEAST } else { 0 });
            versions.push(if n % 3 == 0 { "0.1".to_owned() } else { String::new() });
        }
        header.strings(tag::REQUIRENAME, &names);
        header.numbers(tag::REQUIREFLAGS, &flags);
        header.strings(tag::REQUIREVERSION, &versions);
    }

    fn changelog(&self, header: &mut Header, words: &mut Words, number: usize, evr: &str) {
        let (mut times, mut names, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..self.shape.changes as u32 {
            let days = n * 30 + words.below(30) as u32;
            times.push(EPOCH_UNIX_S + number as u32 - days * DAY_S);
            let (who, at) = (words.word(), words.word());
            names.push(format!("{who} {at} <{who}@{at}.example> - {evr}.{n}"));
            texts.push(format!("- {}", words.text(80).replace('\n', "\n  ")));
        }
        header.numbers(tag::CHANGELOGTIME, &times);
        header.strings(tag::CHANGELOGNAME, &names);
        header.strings(tag::CHANGELOGTEXT, &texts);
    }
}

fn release(number: usize) -> String {
    format!("{}.syn1", number % 7 + 1)
}

impl MadeResult {
    /// Writes its folder below `repo`.
    ///
    /// # Errors
    /// Those of the file system; the folder must not be there yet.
    pub fn write(&self, repo: &Path) -> io::Result<()> {
        let folder = repo.join(&self.nvr);
        fs::create_dir(&folder)?;
        self.rpms.iter().try_for_each(|rpm| fs::write(folder.join(&rpm.name), &rpm.bytes))
    }
}

/// The end of an archive (cpio's `newc`), which is all that a payload has.
pub(crate) const CPIO_END: &str = concat!(
    "07070100000000000000000000000000000000000000010000000000000000",
    "000000000000000000000000000000000000000000000b00000000TRAILER!!!\0\0\0\0"
);

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use moji_server::rpmfile::{read_facts, verify_digests};

    use super::*;
    use crate::run_to_end;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn rpm_and_the_hub_take_them_and_a_seed_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let world = Synthetic { seed: 7, shape: Shape::REAL, results: 10 };
        world.write(folder.path(), 2..4).unwrap();
        for number in 2..4 {
            let made = world.result(number);
            assert_eq!(made.rpms.len(), RESULT_PACKAGES);
            for rpm in made.rpms {
                let path = folder.path().join(&made.nvr).join(&rpm.name);
                assert_eq!(fs::read(&path).unwrap(), rpm.bytes, "{}", rpm.name);
                let facts = read_facts(&rpm.bytes[..]).unwrap();
                assert_eq!(facts.nevra.file_name(facts.kind), rpm.name);
                verify_digests(&rpm.bytes[..]).unwrap();
                let mut check = Command::new("rpm");
                check.arg("-K").arg(&path);
                let ended = run_to_end(check, LIMIT);
                assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
            }
        }
        let other = Synthetic { seed: 8, ..world };
        assert_ne!(other.result(2).rpms[1].bytes, world.result(2).rpms[1].bytes);
    }

    #[test]
    fn dnf_installs_those_that_hold_all_they_list() {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        fs::create_dir(&repo).unwrap();
        let world = Synthetic { seed: 7, shape: Shape::INSTALLABLE, results: 2 };
        world.write(&repo, 0..2).unwrap();
        let mut command = Command::new("createrepo_c");
        command.arg("-q").arg(&repo);
        assert_eq!(run_to_end(command, LIMIT).code, 0);
        let url = format!("file://{}", repo.display());
        let name = world.name(1);
        let installed = crate::dnf::install(folder.path(), &url, &[&name]).unwrap();
        assert_eq!(installed.packages(), [format!("{}.x86_64", world.nvr(1))]);
    }
}
