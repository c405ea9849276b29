//! What the hub wants to know of a package: what it is called, what it was made from, what it
//! needs and provides, and where it may be built. Names are checked to be safe as file names here,
//! once, so that nobody has to do it later.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::{Excess, Part, RpmError};
use super::header::{Header, fault};
use super::package::Package;
use super::read::ReadAt;

/// Longest file name of a package, in bytes. File systems take 255; the rest is left for what
/// the hub puts around a name (`@2`, a dot, a suffix).
const FILE_NAME_BYTES_MAX: usize = 240;
/// Sense bits of a capability that compare versions: LESS 2, GREATER 4, EQUAL 8 (rpmds.h).
const SENSE_COMPARISON: u32 = 0x0e;
/// Capabilities of rpm itself start so; no repository provides them.
const RPMLIB: &str = "rpmlib(";

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
const SOURCERPM: u32 = 1044;
const PROVIDENAME: u32 = 1047;
const REQUIREFLAGS: u32 = 1048;
const REQUIRENAME: u32 = 1049;
const REQUIREVERSION: u32 = 1050;
const NOSOURCE: u32 = 1051;
const NOPATCH: u32 = 1052;
const EXCLUDEARCH: u32 = 1059;
const EXCLUSIVEARCH: u32 = 1061;
const SOURCEPACKAGE: u32 = 1106;
const PROVIDEFLAGS: u32 = 1112;
const PROVIDEVERSION: u32 = 1113;

/// Whether a package is built from or built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A source package (SRPM), with or without its sources.
    Source,
    /// Anything that can be installed.
    Binary,
}

/// A package's identity. From [`read_facts`] every part of it is plain ASCII that is safe inside
/// a file name, version and release hold no `-`, and so [`Nevra::nvr`] is unambiguous. The order is that
/// of the text, for sorted output; it is not rpm's order of versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nevra {
    /// The package's name.
    pub name: String,
    /// Its epoch, 0 where it has none.
    pub epoch: u32,
    /// Its version.
    pub version: String,
    /// Its release.
    pub release: String,
    /// What a binary package runs on. Of a source package `src` or `nosrc`, not the machine it was made on.
    pub arch: String,
}

/// Something that a package provides or requires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Capability {
    /// A name, path, `name(thing)`, or a rich dependency in parentheses.
    pub name: String,
    /// How versions compare: LESS 2, GREATER 4, EQUAL 8 and sums of them; 0 for any version.
    pub flags: u32,
    /// `[epoch:]version[-release]`; empty for any.
    pub evr: String,
}

/// What a package's main header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Source or binary.
    pub kind: Kind,
    /// What it is called.
    pub nevra: Nevra,
    /// The file name of the source package a binary was built from; `None` of a source package.
    pub source_rpm: Option<String>,
    /// What it requires, without `rpmlib(`; of a source package these are its BuildRequires.
    pub requires: Vec<Capability>,
    /// What it provides.
    pub provides: Vec<Capability>,
    /// The only architectures it may be built on; empty for all.
    pub exclusive_arch: Vec<String>,
    /// Architectures it must not be built on.
    pub exclude_arch: Vec<String>,
}

impl Nevra {
    /// `name-version-release`.
    pub fn nvr(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.release)
    }

    /// The file name rpmbuild gives such a package: `N-V-R.A.rpm`, or `N-V-R.src.rpm` and
    /// `N-V-R.nosrc.rpm` for [`Kind::Source`], whatever machine it was made on.
    pub fn file_name(&self, kind: Kind) -> String {
        let arch = match (kind, self.arch.as_str()) {
            (Kind::Binary, arch) => arch,
            (Kind::Source, NOSRC) => NOSRC,
            (Kind::Source, _) => SRC,
        };
        format!("{}.{arch}.rpm", self.nvr())
    }
}

/// The architecture of a source package.
const SRC: &str = "src";
/// The architecture of a source package that lacks a source or patch.
const NOSRC: &str = "nosrc";

impl fmt::Display for Nevra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.name)?;
        if self.epoch != 0 {
            write!(f, "{}:", self.epoch)?;
        }
        write!(f, "{}-{}.{}", self.version, self.release, self.arch)
    }
}

/// Reads what a package says about itself. Its payload is not read and its digests are not checked
/// ([`super::verify_digests`]), but its length is.
///
/// Fails with [`RpmError::Truncated`] or [`RpmError::TooLong`] when the length is not what the
/// headers say, with `Limit` above 32 and 1,024 tags, 1 and 32 MiB, 262,144 capabilities or file names of
/// 240 bytes, and with `NotRpm`, `Malformed` or `Io`.
pub fn read_facts<R: ReadAt + ?Sized>(file: &R) -> Result<Facts, RpmError> {
    facts_of(&Package::read(file)?.main)
}

/// As [`read_facts`], of a header that was read.
pub(super) fn facts_of(main: &Header) -> Result<Facts, RpmError> {
    let (kind, source_rpm) = kind(main)?;
    let nevra = nevra(main, kind)?;
    let mut requires = capabilities(main, REQUIRENAME, REQUIREFLAGS, REQUIREVERSION)?;
    requires.retain(|c| !c.name.starts_with(RPMLIB));
    Ok(Facts {
        kind,
        nevra,
        source_rpm,
        requires,
        provides: capabilities(main, PROVIDENAME, PROVIDEFLAGS, PROVIDEVERSION)?,
        exclusive_arch: owned(main.strings(EXCLUSIVEARCH)?),
        exclude_arch: owned(main.strings(EXCLUDEARCH)?),
    })
}

/// Source or binary. rpm goes by the absence of SOURCERPM, others by SOURCEPACKAGE, which old
/// packages lack; one that is both would be either, depending on who looks.
fn kind(main: &Header) -> Result<(Kind, Option<String>), RpmError> {
    let Some(source_rpm) = main.string(SOURCERPM)? else {
        return Ok((Kind::Source, None));
    };
    if main.has(SOURCEPACKAGE) {
        return Err(main.bad(SOURCEPACKAGE, "and 1044 contradict each other"));
    }
    let stem = source_rpm.strip_suffix(".src.rpm").or_else(|| source_rpm.strip_suffix(".nosrc.rpm"));
    if !stem.is_some_and(is_name) {
        return Err(main.bad(SOURCERPM, "is not the name of a source package"));
    }
    file_name_limit(source_rpm)?;
    Ok((Kind::Binary, Some(source_rpm.to_owned())))
}

fn nevra(main: &Header, kind: Kind) -> Result<Nevra, RpmError> {
    let part = |tag, is_safe: fn(&str) -> bool| match main.string(tag)? {
        Some(text) if is_safe(text) => Ok(text.to_owned()),
        Some(_) => Err(main.bad(tag, "is not safe in a file name")),
        None => Err(main.bad(tag, "is missing")),
    };
    let built_for = part(ARCH, is_arch)?;
    let arch = match kind {
        Kind::Source if main.has(NOSOURCE) || main.has(NOPATCH) => NOSRC.to_owned(),
        Kind::Source => SRC.to_owned(),
        Kind::Binary if built_for == SRC || built_for == NOSRC => {
            return Err(main.bad(ARCH, "is a source package's, in a binary"));
        }
        Kind::Binary => built_for,
    };
    let nevra = Nevra {
        name: part(NAME, is_name)?,
        epoch: main.u32(EPOCH)?.unwrap_or(0),
        version: part(VERSION, is_version)?,
        release: part(RELEASE, is_version)?,
        arch,
    };
    file_name_limit(&nevra.file_name(kind))?;
    Ok(nevra)
}

/// What rpmbuild lets names be made of (`build/parsePreamble.c`): no separator, control
/// character, space, `@` or `:`, nothing beyond ASCII; `%` and braces from macros that were not defined.
fn is_name(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-_.+~^%{}".contains(&b);
    let first = text.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') && text.bytes().all(inside)
}

/// As a name, but `-` separates versions from releases; and they never come first in a file name.
fn is_version(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"_.+~^%{}".contains(&b);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(inside)
}

fn is_arch(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.is_empty() && text.bytes().all(inside)
}

fn file_name_limit(name: &str) -> Result<(), RpmError> {
    if name.len() <= FILE_NAME_BYTES_MAX {
        return Ok(());
    }
    Err(RpmError::Limit(Excess {
        what: "bytes in a file name",
        found: name.len() as u64,
        max: FILE_NAME_BYTES_MAX as u64,
    }))
}

/// The capabilities in three parallel arrays. Very old packages have the names only.
fn capabilities(main: &Header, names: u32, flags: u32, versions: u32) -> Result<Vec<Capability>, RpmError> {
    let name = main.strings(names)?;
    let flag = main.u32s(flags)?;
    let version = main.strings(versions)?;
    for (tag, count) in [(flags, flag.len()), (versions, version.len())] {
        if count != 0 && count != name.len() {
            return Err(fault(Part::Header, Some(tag), "has not as many elements as there are names"));
        }
    }
    let mut all = Vec::with_capacity(name.len());
    for (i, name) in name.into_iter().enumerate() {
        if name.is_empty() {
            return Err(main.bad(names, "holds an empty name"));
        }
        all.push(Capability {
            name: name.to_owned(),
            flags: flag.get(i).map_or(0, |f| f & SENSE_COMPARISON),
            evr: version.get(i).copied().unwrap_or_default().to_owned(),
        });
    }
    Ok(all)
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}
