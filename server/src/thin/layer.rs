//! One repository's packages.
//!
//! Owns what of them is held in memory: names, versions, what they provide, need and replace, as numbers; and the file of their
//! texts. A layer is made once and read by many threads. Whoever wrote the list is not trusted: what is held is limited,
//! and nothing in it is a place in memory or in a file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Write as _};
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use super::comps::Comps;
use super::table::{Interner, Lists, Table, Texts, key, push};
use crate::core::capabilities::{EQUAL, Requirement, overlap, own};
use crate::mainline::place::is_inside;
use crate::mainline::primary::{self, Package, PrimaryError};
use crate::mainline::xml::{Piece, Xml, XmlError};
use crate::rpmfile::Capability;

/// Most that one repository takes, bytes: three times a large distribution.
pub(crate) const HEAP_BYTES_MAX: usize = 256 << 20;
/// How often that is looked at, packages.
const WEIGH_EVERY: usize = 256;
/// Most files that are found in `filelists` and held for one repository.
const FOUND_FILES_MAX: usize = 100_000;
/// Bits of a sense in a [`Version`]: LESS, GREATER and EQUAL are 2, 4 and 8.
const SENSE_BITS: u32 = 3;
/// Those of rpm's senses that compare.
const COMPARISON: u32 = 14;
/// What rpm has itself, no package.
const OF_RPM: &str = "rpmlib(";

/// Why a list of packages cannot be taken.
#[derive(Debug)]
pub enum ReadError {
    /// The list of packages is not one.
    Packages(String),
    /// The list of groups is not one.
    Groups(String),
    /// The list of files is not one.
    Files(String),
    /// The file of texts cannot be written.
    Texts(io::Error),
    /// There is more than any repository has.
    TooMuch,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Packages(error) => write!(f, "its list of packages: {error}"),
            ReadError::Groups(error) => write!(f, "its list of groups: {error}"),
            ReadError::Files(error) => write!(f, "its list of files: {error}"),
            ReadError::Texts(error) => write!(f, "cannot write down its packages: {error}"),
            ReadError::TooMuch => write!(f, "it would take more than {} MiB", HEAP_BYTES_MAX >> 20),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Texts(error) => Some(error),
            _ => None,
        }
    }
}

impl From<PrimaryError> for ReadError {
    fn from(error: PrimaryError) -> ReadError {
        ReadError::Packages(error.to_string())
    }
}

/// A sense and the number of a text of versions in one word; 0 for any version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Version(u32);

impl Version {
    pub(super) fn flags(self) -> u32 {
        (self.0 & ((1 << SENSE_BITS) - 1)) << 1
    }
}

/// That a package provides or obsoletes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) package: u32,
    pub(super) version: Version,
}

/// Something that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Atom {
    pub(super) key: u64,
    text: u32,
    pub(super) version: Version,
}

/// What is held of a package.
#[derive(Clone, Copy, Debug)]
struct Held {
    name: u32,
    arch: u32,
    /// Its own.
    evr: u32,
    /// By what `filelists` calls it.
    pkgid: u64,
    /// Where its record is in the file of texts, and how long it and its first part are.
    at: u64,
    bytes: u32,
    about_bytes: u32,
}

/// What stands before a package's text in the file of texts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) href: String,
    pub(super) size: u64,
    pub(super) checksum: (String, String),
    /// Where `<location/>` is in the text.
    pub(super) location: (usize, usize),
    /// Where files can be added to it.
    pub(super) format_end: Option<usize>,
}

/// One repository's packages.
#[derive(Debug)]
pub struct Layer {
    texts: File,
    packages: Vec<Held>,
    strings: Texts,
    names: Table<u32>,
    /// What is provided, files among it.
    provides: Table<Claim>,
    obsoletes: Table<Claim>,
    atoms: Vec<Atom>,
    requires: Lists,
    recommends: Lists,
    /// Package and atom, whose text may be a rich dependency.
    supplements: Vec<(u32, u32)>,
    comps: Comps,
    /// Files that `primary` does not list.
    found: BTreeMap<u32, BTreeSet<String>>,
    found_by_key: Table<u32>,
}

/// A layer that is being made.
#[derive(Debug)]
pub struct Builder {
    texts: BufWriter<File>,
    at: u64,
    packages: Vec<Held>,
    strings: Interner,
    names: Vec<(u64, u32)>,
    provides: Vec<(u64, Claim)>,
    obsoletes: Vec<(u64, Claim)>,
    atoms: Vec<Atom>,
    atom_numbers: HashMap<(u32, Version), u32>,
    requires: Lists,
    recommends: Lists,
    supplements: Vec<(u32, u32)>,
}

impl Builder {
    /// Writes the texts of packages to `texts`, from its start.
    #[must_use]
    pub fn new(texts: File) -> Builder {
        Builder {
            texts: BufWriter::new(texts),
            at: 0,
            packages: Vec::new(),
            strings: Interner::default(),
            names: Vec::new(),
            provides: Vec::new(),
            obsoletes: Vec::new(),
            atoms: Vec::new(),
            atom_numbers: HashMap::new(),
            requires: Lists::default(),
            recommends: Lists::default(),
            supplements: Vec::new(),
        }
    }

    /// Adds a package and its element as it stands in `primary`. One whose location leaves the repository is left out:
    /// nobody could fetch it.
    ///
    /// # Errors
    /// If there are too many, or the file of texts cannot be written.
    pub(crate) fn add(&mut self, package: &Package, element: &[u8]) -> Result<(), ReadError> {
        if !is_inside(&package.href) {
            return Ok(());
        }
        self.number(package, element)?.ok_or(ReadError::TooMuch)?;
        if self.packages.len().is_multiple_of(WEIGH_EVERY) && self.heap_bytes() > HEAP_BYTES_MAX {
            return Err(ReadError::TooMuch);
        }
        Ok(())
    }

    /// None if there are more than numbers.
    fn number(&mut self, package: &Package, element: &[u8]) -> Result<Option<()>, ReadError> {
        let Some(held) = self.hold(package, element)? else { return Ok(None) };
        Ok(self.list(package, held))
    }

    fn list(&mut self, package: &Package, held: Held) -> Option<()> {
        let number = u32::try_from(self.packages.len()).ok()?;
        push(&mut self.packages, held);
        push(&mut self.names, (key(&package.nevra.name), number));
        let mut has_own = false;
        let own = own(&package.nevra);
        for one in &package.provides {
            has_own |= *one == own;
            self.provide(number, one)?;
        }
        // Packages of old have no such line; dnf adds it, so it is there.
        if !has_own {
            self.provide(number, &own)?;
        }
        let version = Version(0);
        for file in &package.files {
            push(&mut self.provides, (key(file), Claim { package: number, version }));
        }
        for one in &package.obsoletes {
            let version = self.version(one)?;
            push(&mut self.obsoletes, (key(&one.name), Claim { package: number, version }));
        }
        let requires = self.wanted(&package.requires)?;
        self.requires.push(requires.into_iter())?;
        let recommends = self.wanted(&package.recommends)?;
        self.recommends.push(recommends.into_iter())?;
        for one in &package.supplements {
            let atom = self.atom(one)?;
            push(&mut self.supplements, (number, atom));
        }
        // Only so that their paths are looked for.
        self.wanted(&package.conflicts)?;
        Some(())
    }

    /// Writes down its text.
    fn hold(&mut self, package: &Package, element: &[u8]) -> Result<Option<Held>, ReadError> {
        let about = About {
            href: package.href.clone(),
            size: package.size,
            checksum: package.checksum.clone(),
            location: (package.location.start, package.location.end),
            format_end: package.format_end,
        };
        let about = postcard::to_stdvec(&about).expect("memory takes all");
        let own = own(&package.nevra);
        let numbers = (|| {
            Some((
                self.strings.number(&package.nevra.name)?,
                self.strings.number(&package.nevra.arch)?,
                self.strings.number(&own.evr)?,
                u32::try_from(about.len()).ok()?,
                u32::try_from(about.len() + element.len()).ok()?,
            ))
        })();
        let Some((name, arch, evr, about_bytes, bytes)) = numbers else { return Ok(None) };
        for part in [&about[..], element] {
            self.texts.write_all(part).map_err(ReadError::Texts)?;
        }
        let pkgid = key(&package.checksum.1);
        let held = Held { name, arch, evr, pkgid, at: self.at, bytes, about_bytes };
        self.at += u64::from(bytes);
        Ok(Some(held))
    }

    fn provide(&mut self, package: u32, one: &Capability) -> Option<()> {
        let version = self.version(one)?;
        push(&mut self.provides, (key(&one.name), Claim { package, version }));
        Some(())
    }

    fn version(&mut self, of: &Capability) -> Option<Version> {
        let flags = of.flags & COMPARISON;
        if flags == 0 || of.evr.is_empty() {
            return Some(Version(0));
        }
        let text = self.strings.number(&of.evr)?;
        (text < 1 << (u32::BITS - SENSE_BITS)).then_some(Version(text << SENSE_BITS | flags >> 1))
    }

    /// All that stands in requirements.
    fn wanted(&mut self, of: &[Capability]) -> Option<Vec<u32>> {
        let mut all = Vec::new();
        for one in of.iter().filter(|one| !one.name.starts_with(OF_RPM)) {
            if one.name.starts_with('(') {
                for atom in Requirement::of(one).atoms() {
                    all.push(self.atom(atom)?);
                }
            } else {
                all.push(self.atom(one)?);
            }
        }
        Some(all)
    }

    fn atom(&mut self, of: &Capability) -> Option<u32> {
        let (text, version) = (self.strings.number(&of.name)?, self.version(of)?);
        if let Some(number) = self.atom_numbers.get(&(text, version)) {
            return Some(*number);
        }
        let number = u32::try_from(self.atoms.len()).ok()?;
        push(&mut self.atoms, Atom { key: key(&of.name), text, version });
        self.atom_numbers.insert((text, version), number);
        Some(number)
    }

    /// What it takes up, bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.packages.capacity() * size_of::<Held>()
            + self.strings.heap_bytes()
            + self.names.capacity() * size_of::<(u64, u32)>()
            + (self.provides.capacity() + self.obsoletes.capacity()) * size_of::<(u64, Claim)>()
            + self.atoms.capacity() * size_of::<Atom>()
            + self.atom_numbers.capacity() * (size_of::<((u32, Version), u32)>() + 1)
            + self.requires.heap_bytes()
            + self.recommends.heap_bytes()
            + self.supplements.capacity() * size_of::<(u32, u32)>()
    }

    /// That was all; `groups` is the repository's `comps.xml`, compressed or not.
    ///
    /// # Errors
    /// If the groups make no sense, there is too much, or the file of texts cannot be written.
    pub fn finish(self, groups: Option<&[u8]>) -> Result<Layer, ReadError> {
        let comps = groups.map(Comps::read).transpose().map_err(ReadError::Groups)?.unwrap_or_default();
        let texts = self.texts.into_inner().map_err(|error| ReadError::Texts(error.into_error()))?;
        // What the numbers were found by goes before the tables come.
        drop(self.atom_numbers);
        let mut layer = Layer {
            texts,
            packages: self.packages,
            strings: self.strings.texts,
            names: Table::of(self.names).ok_or(ReadError::TooMuch)?,
            provides: Table::of(self.provides).ok_or(ReadError::TooMuch)?,
            obsoletes: Table::of(self.obsoletes).ok_or(ReadError::TooMuch)?,
            atoms: self.atoms,
            requires: self.requires,
            recommends: self.recommends,
            supplements: self.supplements,
            comps,
            found: BTreeMap::new(),
            found_by_key: Table::of(Vec::new()).ok_or(ReadError::TooMuch)?,
        };
        layer.packages.shrink_to_fit();
        layer.strings.shrink();
        layer.atoms.shrink_to_fit();
        layer.requires.shrink();
        layer.recommends.shrink();
        layer.supplements.shrink_to_fit();
        if layer.heap_bytes() > HEAP_BYTES_MAX {
            return Err(ReadError::TooMuch);
        }
        Ok(layer)
    }
}

impl Layer {
    /// Reads an unpacked `primary.xml`. The text of each package that fits the target goes to `texts`, a file that is
    /// kept open and may be unlinked at once; `groups` is the repository's `comps.xml`, compressed or not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(
        primary: impl BufRead,
        texts: File,
        target: Option<&str>,
        groups: Option<&[u8]>,
    ) -> Result<Layer, ReadError> {
        let mut builder = Builder::new(texts);
        primary::read(primary, target, |package, element| builder.add(package, element))?;
        builder.finish(groups)
    }

    /// How many packages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// Whether there is no package.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// What it takes up in memory, bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let found = |files: &BTreeSet<String>| -> usize {
            files.iter().map(|file| file.len() + 2 * size_of::<String>()).sum()
        };
        self.packages.capacity() * size_of::<Held>()
            + self.strings.heap_bytes()
            + self.names.heap_bytes()
            + self.provides.heap_bytes()
            + self.obsoletes.heap_bytes()
            + self.atoms.capacity() * size_of::<Atom>()
            + self.requires.heap_bytes()
            + self.recommends.heap_bytes()
            + self.supplements.capacity() * size_of::<(u32, u32)>()
            + self.comps.heap_bytes()
            + self.found.values().map(found).sum::<usize>()
            + self.found_by_key.heap_bytes()
    }

    /// How long the file of texts is, bytes.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.packages.last().map_or(0, |last| last.at + u64::from(last.bytes))
    }

    /// Takes those of `paths` that an unpacked `filelists.xml` of the same repository has for files of its packages, as if
    /// `primary` listed them. Says how many there are.
    ///
    /// # Errors
    /// What is wrong with it. Nothing is taken then.
    pub fn add_files(
        &mut self,
        filelists: impl BufRead,
        paths: &BTreeSet<String>,
    ) -> Result<usize, ReadError> {
        let found = find_files(filelists, paths)?;
        Ok(self.add_found(&found))
    }

    /// Takes files that [`find_files`] found. Says how many there are.
    pub(crate) fn add_found(&mut self, found: &[(String, String)]) -> usize {
        let mut by_pkgid: HashMap<u64, Vec<&String>> = HashMap::new();
        for (pkgid, path) in found {
            by_pkgid.entry(key(pkgid)).or_default().push(path);
        }
        for (number, held) in self.packages.iter().enumerate() {
            let number = u32::try_from(number).expect("packages have numbers");
            for path in by_pkgid.get(&held.pkgid).into_iter().flatten() {
                let is_listed = self.provides.get(key(path)).iter().any(|claim| claim.package == number);
                if !is_listed {
                    self.found.entry(number).or_default().insert((*path).clone());
                }
            }
        }
        let rows =
            self.found.iter().flat_map(|(number, files)| files.iter().map(|file| (key(file), *number)));
        self.found_by_key = Table::of(rows.collect()).expect("as many as before are fewer than numbers");
        self.found.values().map(BTreeSet::len).sum()
    }

    /// Paths that some package wants.
    pub(super) fn wanted_paths(&self) -> impl Iterator<Item = &str> {
        let texts = self.atoms.iter().filter(|atom| atom.version == Version(0));
        texts.map(|atom| self.strings.get(atom.text)).filter(|text| text.starts_with('/'))
    }

    /// Packages that provide something, or have it as a file.
    pub(super) fn providers(&self, key: u64, flags: u32, evr: &str) -> impl Iterator<Item = u32> {
        let fits =
            move |claim: &&Claim| overlap(flags, evr, claim.version.flags(), self.evr_of(claim.version));
        let found = if flags == 0 { self.found_by_key.get(key) } else { &[] };
        let claims = self.provides.get(key).iter().filter(fits).map(|claim| claim.package);
        claims.chain(found.iter().copied())
    }

    /// Packages of this name.
    pub(super) fn named(&self, key: u64) -> &[u32] {
        self.names.get(key)
    }

    /// Packages that are there in the place of one of this name and version.
    pub(super) fn obsoleters(&self, key: u64, evr: &str) -> impl Iterator<Item = u32> {
        let claims = self.obsoletes.get(key).iter();
        let fits =
            move |claim: &&Claim| overlap(claim.version.flags(), self.evr_of(claim.version), EQUAL, evr);
        claims.filter(fits).map(|claim| claim.package)
    }

    /// The numbers of atoms that a package requires.
    pub(super) fn requires(&self, package: u32) -> &[u32] {
        self.requires.get(package)
    }

    /// The numbers of atoms that it recommends.
    pub(super) fn recommends(&self, package: u32) -> &[u32] {
        self.recommends.get(package)
    }

    /// Packages with what they supplement.
    pub(super) fn supplements(&self) -> impl Iterator<Item = (u32, Requirement)> {
        self.supplements.iter().map(|(package, atom)| {
            let atom = self.atom(*atom);
            let (name, evr) = (self.strings.get(atom.text).to_owned(), self.evr_of(atom.version).to_owned());
            (*package, Requirement::of(&Capability { name, flags: atom.version.flags(), evr }))
        })
    }

    pub(super) fn atoms(&self) -> usize {
        self.atoms.len()
    }

    pub(super) fn atom(&self, number: u32) -> Atom {
        self.atoms[number as usize]
    }

    pub(super) fn evr_of(&self, version: Version) -> &str {
        if version == Version(0) { "" } else { self.strings.get(version.0 >> SENSE_BITS) }
    }

    pub(super) fn name(&self, package: u32) -> &str {
        self.strings.get(self.packages[package as usize].name)
    }

    pub(super) fn arch(&self, package: u32) -> &str {
        self.strings.get(self.packages[package as usize].arch)
    }

    /// `[epoch:]version-release`.
    pub(super) fn evr(&self, package: u32) -> &str {
        self.strings.get(self.packages[package as usize].evr)
    }

    pub(super) fn comps(&self) -> &Comps {
        &self.comps
    }

    /// Files of a package that its text does not have.
    pub(super) fn found(&self, package: u32) -> impl Iterator<Item = &str> {
        self.found.get(&package).into_iter().flatten().map(String::as_str)
    }

    /// Reads what is said of a package, into `buf`, whose start is then not the text's; says where that is.
    ///
    /// # Errors
    /// Those of pread(2), and if the file is not what was written.
    pub(super) fn text<'a>(&self, package: u32, buf: &'a mut Vec<u8>) -> io::Result<(About, &'a [u8])> {
        let held = &self.packages[package as usize];
        buf.resize(held.bytes as usize, 0);
        self.texts.read_exact_at(buf, held.at)?;
        let (about, text) = buf.split_at(held.about_bytes as usize);
        let about: About = postcard::from_bytes(about).map_err(io::Error::other)?;
        let (start, end) = about.location;
        let is_whole = start <= end
            && end <= text.len()
            && about.format_end.is_none_or(|at| at >= end && at <= text.len());
        if is_whole { Ok((about, text)) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// Finds in an unpacked `filelists.xml` which packages have one of these paths: what the list calls each, and the path.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn find_files(
    filelists: impl BufRead,
    paths: &BTreeSet<String>,
) -> Result<Vec<(String, String)>, ReadError> {
    let longest = paths.iter().map(String::len).max().unwrap_or(0);
    let wrong = |error: XmlError| ReadError::Files(error.to_string());
    let mut xml = Xml::new(filelists);
    let (mut found, mut pkgid, mut path) = (Vec::new(), String::new(), None::<String>);
    let mut is_begun = false;
    loop {
        let depth = xml.depth();
        let Some(piece) = xml.next().map_err(wrong)? else { break };
        match piece {
            Piece::Start(tag) => match (depth, tag.name()) {
                (0, "filelists") => is_begun = true,
                (0, _) => return Err(ReadError::Files("it does not begin with <filelists>".to_owned())),
                (1, "package") => pkgid = tag.attribute("pkgid").map_err(wrong)?.unwrap_or_default(),
                (2, "file") => path = Some(String::new()),
                _ => path = None,
            },
            Piece::Text(text) => extend(&mut path, &text, longest),
            Piece::Character(one) => extend(&mut path, one.encode_utf8(&mut [0; 4]), longest),
            Piece::End => {
                if let Some(path) = path.take().filter(|path| paths.contains(path)) {
                    if found.len() == FOUND_FILES_MAX {
                        return Err(ReadError::TooMuch);
                    }
                    found.push((pkgid.clone(), path));
                }
            }
            Piece::Other => {}
        }
    }
    if is_begun { Ok(found) } else { Err(wrong(XmlError::Cut)) }
}

/// A path that is longer than any that is looked for is not held.
fn extend(path: &mut Option<String>, by: &str, longest: usize) {
    if let Some(path) = path
        && path.len() <= longest
    {
        path.push_str(by);
    }
}
