//! What is published, by capability: what waits for something learns here whether it is there.
//!
//! Owns names, `name(thing)`s with their versions and the files that `primary` lists, of every published binary
//! package, packed so that 25,000 packages take some 8 MB; and [`Waits`], who waits for what. Pure: the queue holds
//! them, and repo tells it of a package only when builders can see it, so that who is woken finds what it waited for.
//!
//! | file | owns |
//! |---|---|
//! | `change.rs` | what a new build provides otherwise than the one before it |
//! | `requirement.rs` | what dnf, rpm and headers say is needed, and how versions meet |
//! | `table.rs` | a map by the hashes of texts |
//! | `waits.rs` | who waits for what |
//!
//! Most files of a package stand in `filelists` alone, and are not held: a question about one of those is answered
//! with [`Answer::AskFilelists`]. Whoever adds a package hands over, beside the files of `primary`, those of its other
//! files that [`Waits::files`] names, and [`Capabilities::add_files`] those of what was there before; then waiting for
//! one works as for anything else.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::rpmfile::{Capability, Nevra};

mod change;
mod requirement;
mod table;
#[cfg(test)]
mod tests;
mod waits;

pub use self::change::change;
pub(crate) use self::requirement::{EQUAL, overlap};
pub use self::requirement::{Requirement, compare_evrs};
pub use self::waits::Waits;

use self::requirement::meets;
use self::table::{Key, Table};

/// What is taken out stays in the tables until it is this share of all: cleaning up looks at everything once.
const GONE_SHARE: usize = 8;
/// … and at least so many packages.
const GONE_MIN: usize = 64;
/// Bits of a sense in a [`Version`]: LESS, GREATER and EQUAL are 2, 4 and 8.
const SENSE_BITS: u32 = 3;

/// Whether something is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// Nothing published has it.
    No,
    /// Nothing that is held here has it, but it names a file that only `filelists` would tell of.
    AskFilelists,
    /// It is there.
    Yes,
}

/// Whether `primary` lists this file (createrepo_c's `cr_is_primary`).
#[must_use]
pub fn is_primary(path: &str) -> bool {
    path.starts_with("/etc/") || path == "/usr/lib/sendmail" || path.contains("bin/")
}

/// A sense and the number of a text of versions in one word; 0 for any version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version(u32);

impl Version {
    fn flags(self) -> u32 {
        (self.0 & ((1 << SENSE_BITS) - 1)) << 1
    }

    fn text(self) -> u32 {
        self.0 >> SENSE_BITS
    }
}

/// Something that a package provides.
#[derive(Clone, Copy, Debug)]
struct Provide {
    package: u32,
    version: Version,
}

/// Texts of versions, each once.
#[derive(Clone, Debug, Default)]
struct Versions {
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
    by_text: Table<u32>,
}

impl Versions {
    fn get(&self, number: u32) -> &str {
        let at = number as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[at] as usize]
    }

    fn intern(&mut self, evr: &str) -> u32 {
        let key = Key::of(evr);
        if let Some(number) = self.by_text.all(key).find(|number| self.get(**number) == evr) {
            return *number;
        }
        let number = u32::try_from(self.ends.len()).expect("fewer than 2^29 versions");
        self.text.push_str(evr);
        self.ends.push(u32::try_from(self.text.len()).expect("versions take less than 4 GiB"));
        self.by_text.insert(key, number);
        number
    }
}

/// As [`Capabilities::answer`], where several repositories are there.
#[must_use]
pub fn answer_among(there: &[&Capabilities], requirement: &Requirement) -> Answer {
    let answers =
        |of: &'_ [Requirement]| -> Vec<Answer> { of.iter().map(|one| answer_among(there, one)).collect() };
    match requirement {
        Requirement::And(of) => answers(of).into_iter().min().unwrap_or(Answer::No),
        Requirement::Or(of) => answers(of).into_iter().max().unwrap_or(Answer::No),
        Requirement::If(a, _, c) | Requirement::Unless(a, _, c) => {
            let c = c.as_ref().map_or(Answer::Yes, |c| answer_among(there, c));
            answer_among(there, a).min(c)
        }
        // One package must have it all.
        Requirement::One(_) | Requirement::With(_) | Requirement::Without(..) => {
            there.iter().map(|one| one.answer(requirement)).max().unwrap_or(Answer::No)
        }
    }
}

/// What is published.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    /// Path of each package; None of one that is gone and whose number is not free yet.
    paths: Vec<Option<Box<str>>>,
    /// Numbers that are free.
    free: Vec<u32>,
    /// Packages that are gone but still in the tables.
    gone: Vec<u32>,
    by_path: Table<u32>,
    provides: Table<Provide>,
    files: Table<u32>,
    versions: Versions,
}

impl Capabilities {
    /// A binary package is published at `path`, with these provides and files. Takes the place of what was there.
    pub fn add(&mut self, path: &str, nevra: &Nevra, provides: &[Capability], files: &[String]) {
        self.remove(path);
        let package = self.number(path);
        for one in provides {
            self.provide(package, one);
        }
        // Packages of old have no such line; dnf adds it, so it is there.
        let own = own(nevra);
        if !provides.contains(&own) {
            self.provide(package, &own);
        }
        for file in files {
            self.files.insert(Key::of(file), package);
        }
    }

    /// What is published at `path`, if something is, has these files, too.
    pub fn add_files(&mut self, path: &str, files: &[String]) {
        let Some(package) = self.package_at(path) else { return };
        for file in files {
            let key = Key::of(file);
            if !self.files.all(key).any(|one| *one == package) {
                self.files.insert(key, package);
            }
        }
    }

    /// Nothing is published at `path` any more. Says whether something was.
    pub fn remove(&mut self, path: &str) -> bool {
        let Some(package) = self.package_at(path) else { return false };
        self.paths[package as usize] = None;
        self.gone.push(package);
        if self.gone.len() >= GONE_MIN.max(self.len() / GONE_SHARE) {
            self.clean_up();
        }
        true
    }

    /// How many packages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.paths.len() - self.free.len() - self.gone.len()
    }

    /// Whether there is no package.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether what is published meets a requirement. A rich one is met only if it is whatever else is installed:
    /// `(a if b)` by `a`, `(a if b else c)` by both `a` and `c`.
    #[must_use]
    pub fn provides(&self, requirement: &Requirement) -> bool {
        self.answer(requirement) == Answer::Yes
    }

    /// As [`Capabilities::provides`], but tells apart what only `filelists` would know.
    #[must_use]
    pub fn answer(&self, requirement: &Requirement) -> Answer {
        let worst = |of: &[Requirement]| of.iter().map(|one| self.answer(one)).min();
        match requirement {
            Requirement::One(one) => match (self.who(one).next().is_some(), could_be_file(one)) {
                (true, _) => Answer::Yes,
                (false, true) => Answer::AskFilelists,
                (false, false) => Answer::No,
            },
            Requirement::And(of) => worst(of).unwrap_or(Answer::No),
            Requirement::Or(of) => of.iter().map(|one| self.answer(one)).max().unwrap_or(Answer::No),
            Requirement::If(a, _, c) | Requirement::Unless(a, _, c) => {
                let c = c.as_ref().map_or(Answer::Yes, |c| self.answer(c));
                self.answer(a).min(c)
            }
            Requirement::With(_) | Requirement::Without(..) if !self.packages(requirement).is_empty() => {
                Answer::Yes
            }
            // Each of them is there, but never in one package: only files that are not held could change that.
            Requirement::With(of) => match worst(of) {
                Some(Answer::AskFilelists) => Answer::AskFilelists,
                _ => Answer::No,
            },
            Requirement::Without(a, _) if self.answer(a) == Answer::AskFilelists => Answer::AskFilelists,
            Requirement::Without(..) => Answer::No,
        }
    }

    /// Paths of the packages that have a part in meeting a requirement, in the order in which they were added.
    #[must_use]
    pub fn who_provides(&self, requirement: &Requirement) -> Vec<&str> {
        let packages = self.packages(requirement);
        packages.iter().filter_map(|package| self.paths[*package as usize].as_deref()).collect()
    }

    /// What it takes up, bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // What an allocator puts around each text and rounds it up by.
        const AROUND: usize = 16;
        let path = |path: &Option<Box<str>>| path.as_ref().map_or(0, |path| path.len() + AROUND);
        self.paths.iter().map(path).sum::<usize>()
            + self.paths.capacity() * size_of::<Option<Box<str>>>()
            + (self.free.capacity() + self.gone.capacity() + self.versions.ends.capacity()) * size_of::<u32>()
            + self.versions.text.capacity()
            + [&self.by_path, &self.files, &self.versions.by_text]
                .map(Table::heap_bytes)
                .iter()
                .sum::<usize>()
            + self.provides.heap_bytes()
    }

    fn packages(&self, requirement: &Requirement) -> BTreeSet<u32> {
        let all =
            |of: &[Requirement]| -> BTreeSet<u32> { of.iter().flat_map(|one| self.packages(one)).collect() };
        match requirement {
            Requirement::One(one) => self.who(one).collect(),
            Requirement::And(of) | Requirement::Or(of) => all(of),
            Requirement::With(of) => {
                let mut each = of.iter().map(|one| self.packages(one));
                let first = each.next().unwrap_or_default();
                each.fold(first, |both, other| both.intersection(&other).copied().collect())
            }
            Requirement::Without(a, b) => {
                let without = self.packages(b);
                self.packages(a).difference(&without).copied().collect()
            }
            Requirement::If(a, _, c) | Requirement::Unless(a, _, c) => {
                let mut both = self.packages(a);
                both.extend(c.iter().flat_map(|c| self.packages(c)));
                both
            }
        }
    }

    /// Packages that meet a requirement that is not rich.
    fn who<'a>(&'a self, wanted: &'a Capability) -> impl Iterator<Item = u32> {
        let key = Key::of(&wanted.name);
        let version = |one: &Provide| match one.version {
            Version(0) => (0, ""),
            version => (version.flags(), self.versions.get(version.text())),
        };
        let fits = move |one: &&Provide| {
            let (flags, evr) = version(one);
            meets(wanted, flags, evr)
        };
        let named = self.provides.all(key).filter(fits).map(|one| one.package);
        let is_path = wanted.name.starts_with('/') && wanted.flags == 0;
        let files = is_path.then(|| self.files.all(key).copied()).into_iter().flatten();
        named.chain(files).filter(|package| self.paths[*package as usize].is_some())
    }

    fn provide(&mut self, package: u32, one: &Capability) {
        let version = if one.flags == 0 || one.evr.is_empty() {
            Version(0)
        } else {
            Version(self.versions.intern(&one.evr) << SENSE_BITS | one.flags >> 1)
        };
        self.provides.insert(Key::of(&one.name), Provide { package, version });
    }

    fn package_at(&self, path: &str) -> Option<u32> {
        let is_it = |package: &&u32| self.paths[**package as usize].as_deref() == Some(path);
        self.by_path.all(Key::of(path)).find(is_it).copied()
    }

    /// Gives a new package a number.
    fn number(&mut self, path: &str) -> u32 {
        let package = self.free.pop().unwrap_or_else(|| {
            if self.paths.len() == self.paths.capacity() {
                self.paths.reserve_exact(self.paths.len() / GONE_SHARE + GONE_MIN);
            }
            self.paths.push(None);
            u32::try_from(self.paths.len() - 1).expect("fewer than 2^32 packages")
        });
        self.paths[package as usize] = Some(path.into());
        self.by_path.insert(Key::of(path), package);
        package
    }

    /// Takes what is gone out of the tables, with versions that nobody has any longer.
    fn clean_up(&mut self) {
        let paths = &self.paths;
        let is_there = |package: u32| paths[package as usize].is_some();
        self.by_path.retain(|package| is_there(*package));
        self.files.retain(|package| is_there(*package));
        let mut versions = Versions::default();
        let before = &self.versions;
        self.provides.retain(|one| {
            let stays = is_there(one.package);
            if stays && one.version != Version(0) {
                let text = versions.intern(before.get(one.version.text()));
                one.version = Version(text << SENSE_BITS | one.version.flags() >> 1);
            }
            stays
        });
        versions.text.shrink_to_fit();
        self.versions = versions;
        self.free.append(&mut self.gone);
    }
}

/// What every package provides: itself.
pub(crate) fn own(nevra: &Nevra) -> Capability {
    let Nevra { name, epoch, version, release, .. } = nevra;
    let mut evr = String::new();
    if *epoch != 0 {
        let _ = write!(evr, "{epoch}:");
    }
    let _ = write!(evr, "{version}-{release}");
    Capability { name: name.clone(), flags: EQUAL, evr }
}

/// Whether it may be a file that is not held.
fn could_be_file(one: &Capability) -> bool {
    one.name.starts_with('/') && one.flags == 0 && !is_primary(&one.name)
}
