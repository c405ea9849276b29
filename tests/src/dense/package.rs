//! One made package: what it is and says, and the RPM of that.
//!
//! Owns the way from a package to its bytes; knows nothing of which packages there are. The RPM is true in all that its
//! header says, and can be installed: every file in it is a ghost, so it needs no payload.

use crate::synthetic::header::{Header, package};
use crate::synthetic::{CPIO_END, MadeRpm, tag};

/// Tags of dependencies: names, flags, versions (`rpmtag.h`), in the order of [`Kind`].
const DEPENDENCIES: [[u32; 3]; Kind::COUNT] = [
    [1047, 1112, 1113],
    [1049, 1048, 1050],
    [1054, 1053, 1055],
    [1090, 1114, 1115],
    [5046, 5048, 5047],
    [5049, 5051, 5050],
    [5052, 5054, 5053],
    [5055, 5057, 5056],
];
const TAG_EPOCH: u32 = 1003;
/// `RPMSENSE_LESS`, `_GREATER`, `_EQUAL`, `_SCRIPT_PRE`, and what a dependency on rpm itself has (`rpmds.h`).
const LESS: u32 = 2;
const GREATER: u32 = 4;
const EQUAL: u32 = 8;
const SCRIPT_PRE: u32 = 1 << 9;
const RPMLIB: u32 = (1 << 24) | LESS | EQUAL;
/// `RPMFILE_GHOST`: a file that the package owns and does not hold.
const GHOST: u32 = 1 << 6;
/// Modes: a program, a plain file, a folder.
const PROGRAM: u16 = 0o100_755;
const PLAIN: u16 = 0o100_644;
const FOLDER: u16 = 0o040_755;
/// When all of it was built, unix seconds.
const BUILT_UNIX_S: u32 = 1_750_000_000;

/// What a dependency says of the two packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is there with this package.
    Provides,
    /// It must be there.
    Requires,
    /// It must not.
    Conflicts,
    /// It is replaced by this package.
    Obsoletes,
    /// It is there unless weak dependencies are not wanted.
    Recommends,
    /// It is preferred.
    Suggests,
    /// This package comes with it unless weak dependencies are not wanted.
    Supplements,
    /// This package is preferred with it.
    Enhances,
}

impl Kind {
    const COUNT: usize = 8;
}

/// A capability, as rpm writes it: `name`, `name OPERATOR EVR`, or a rich one in parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dep {
    kind: Kind,
    name: String,
    flags: u32,
    evr: String,
}

/// A package.
#[derive(Clone, Debug, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its epoch; 0 is the same as none.
    pub epoch: u32,
    /// Its version.
    pub version: String,
    /// Its release.
    pub release: String,
    /// Its architecture; `src` makes it a source package.
    pub arch: &'static str,
    /// File name of its source package.
    pub source: String,
    /// Everything that it says of others and of itself.
    pub deps: Vec<Dep>,
    /// Absolute paths; one that ends in `/` is a folder.
    pub files: Vec<String>,
    /// What it says of itself to people.
    pub text: String,
}

impl Package {
    /// `EPOCH:VERSION-RELEASE`, without an epoch of 0.
    pub fn evr(&self) -> String {
        let epoch = if self.epoch == 0 { String::new() } else { format!("{}:", self.epoch) };
        format!("{epoch}{}-{}", self.version, self.release)
    }

    /// What rpmbuild would call its file.
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.version, self.release, self.arch)
    }

    /// `NAME-EPOCH:VERSION-RELEASE.ARCH` as dnf prints it.
    pub fn nevra(&self) -> String {
        format!("{}-{}.{}", self.name, self.evr(), self.arch)
    }

    /// Adds one dependency, written as in a spec file.
    pub fn says(&mut self, kind: Kind, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        let operator = |word: &str| {
            Some(match word {
                "<" => LESS,
                "<=" => LESS | EQUAL,
                "=" => EQUAL,
                ">=" => GREATER | EQUAL,
                ">" => GREATER,
                _ => return None,
            })
        };
        let dep = match words[..] {
            [name, sign, evr] if !text.starts_with('(') => {
                let flags = operator(sign).unwrap_or_else(|| panic!("no operator in {text}"));
                Dep { kind, name: name.to_owned(), flags, evr: evr.to_owned() }
            }
            _ => Dep { kind, name: text.to_owned(), flags: 0, evr: String::new() },
        };
        if !self.deps.contains(&dep) {
            self.deps.push(dep);
        }
    }

    /// Adds what its scriptlets require.
    pub fn says_pre(&mut self, text: &str) {
        self.says(Kind::Requires, text);
        if let Some(dep) = self.deps.last_mut() {
            dep.flags |= SCRIPT_PRE;
        }
    }

    /// What it says of one kind, as in a spec file.
    pub fn said(&self, kind: Kind) -> impl Iterator<Item = String> {
        self.deps.iter().filter(move |dep| dep.kind == kind).map(|dep| {
            let sign = [(LESS, "<"), (GREATER, ">"), (EQUAL, "=")];
            let sign: String = sign.iter().filter(|(bit, _)| dep.flags & bit != 0).map(|(_, c)| *c).collect();
            if sign.is_empty() { dep.name.clone() } else { format!("{} {sign} {}", dep.name, dep.evr) }
        })
    }

    /// Its RPM.
    pub fn rpm(&self) -> MadeRpm {
        let mut header = Header::default();
        self.identity(&mut header);
        self.dependencies(&mut header);
        self.list_files(&mut header);
        header.string(tag::PAYLOADFORMAT, "cpio");
        header.string(tag::PAYLOADCOMPRESSOR, "gzip");
        header.string(tag::PAYLOADFLAGS, "9");
        let payload = moji_server::repodata::Compression::Gzip.member(CPIO_END.as_bytes());
        let bytes = package(header, self.arch == "src", &payload, CPIO_END.len() as u32);
        MadeRpm { name: self.file_name(), bytes }
    }

    fn identity(&self, header: &mut Header) {
        header.strings(tag::I18NTABLE, &["C"]);
        header.string(tag::NAME, &self.name);
        header.string(tag::VERSION, &self.version);
        header.string(tag::RELEASE, &self.release);
        if self.epoch > 0 {
            header.numbers(TAG_EPOCH, &[self.epoch]);
        }
        let first = self.text.split('\n').next().unwrap_or_default();
        header.translated(tag::SUMMARY, first);
        header.translated(tag::DESCRIPTION, &self.text);
        header.numbers(tag::BUILDTIME, &[BUILT_UNIX_S]);
        header.string(tag::BUILDHOST, "builder.example");
        header.numbers(tag::SIZE, &[4096]);
        header.string(tag::VENDOR, "Made");
        header.string(tag::LICENSE, "MIT");
        header.string(tag::PACKAGER, "Made");
        header.translated(tag::GROUP, "Unspecified");
        header.string(tag::URL, &format!("https://{}.example/", self.name));
        header.string(tag::OS, "linux");
        // A source package's says what it was made on.
        header.string(tag::ARCH, if self.arch == "src" { "x86_64" } else { self.arch });
        header.string(tag::ENCODING, "utf-8");
        header.string(tag::RPMVERSION, "4.18.0");
        if self.arch == "src" {
            header.numbers(tag::SOURCEPACKAGE, &[1]);
        } else {
            header.string(tag::SOURCERPM, &self.source);
        }
    }

    fn dependencies(&self, header: &mut Header) {
        let rich = self.deps.iter().any(|dep| dep.name.starts_with('('));
        let rpmlib = rich.then(|| Dep {
            kind: Kind::Requires,
            name: "rpmlib(RichDependencies)".into(),
            flags: RPMLIB,
            evr: "4.12.0-1".into(),
        });
        for (number, tags) in DEPENDENCIES.into_iter().enumerate() {
            let all = self.deps.iter().chain(&rpmlib).filter(|dep| dep.kind as usize == number);
            let all: Vec<&Dep> = all.collect();
            header.strings(tags[0], &all.iter().map(|dep| &dep.name).collect::<Vec<_>>());
            header.numbers(tags[1], &all.iter().map(|dep| dep.flags).collect::<Vec<_>>());
            header.strings(tags[2], &all.iter().map(|dep| &dep.evr).collect::<Vec<_>>());
        }
    }

    fn list_files(&self, header: &mut Header) {
        let mut files: Vec<&str> = self.files.iter().map(String::as_str).collect();
        files.sort_unstable();
        files.dedup();
        let mut folders: Vec<String> = Vec::new();
        let (mut names, mut indexes, mut modes) = (Vec::new(), Vec::new(), Vec::new());
        for path in &files {
            let whole = path.trim_end_matches('/');
            let (folder, name) = whole.rsplit_once('/').expect("a path is absolute");
            let folder = format!("{folder}/");
            let index = folders.iter().position(|known| *known == folder).unwrap_or_else(|| {
                folders.push(folder);
                folders.len() - 1
            });
            indexes.push(index as u32);
            names.push(name);
            modes.push(if path.ends_with('/') {
                FOLDER
            } else if path.contains("bin/") {
                PROGRAM
            } else {
                PLAIN
            });
        }
        let count = files.len();
        header.strings(tag::BASENAMES, &names);
        header.numbers(tag::DIRINDEXES, &indexes);
        header.strings(tag::DIRNAMES, &folders);
        header.shorts(tag::FILEMODES, &modes);
        header.numbers(tag::FILESIZES, &vec![0; count]);
        header.shorts(tag::FILERDEVS, &vec![0; count]);
        header.numbers(tag::FILEMTIMES, &vec![BUILT_UNIX_S; count]);
        header.strings(tag::FILEDIGESTS, &vec![""; count]);
        header.strings(tag::FILELINKTOS, &vec![""; count]);
        header.numbers(tag::FILEFLAGS, &vec![GHOST; count]);
        header.strings(tag::FILEUSERNAME, &vec!["root"; count]);
        header.strings(tag::FILEGROUPNAME, &vec!["root"; count]);
        header.numbers(tag::FILEVERIFYFLAGS, &vec![u32::MAX; count]);
        header.numbers(tag::FILEDEVICES, &vec![1; count]);
        header.numbers(tag::FILEINODES, &(1..=count as u32).collect::<Vec<_>>());
        header.strings(tag::FILELANGS, &vec![""; count]);
        if count > 0 {
            header.numbers(tag::FILEDIGESTALGO, &[8]);
        }
    }
}
