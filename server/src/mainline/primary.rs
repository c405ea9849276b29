//! `primary.xml`: the packages of a repository.
//!
//! Owns what of it is looked at: name, architecture, version, location, length, digest, what is provided and needed, and
//! the files that are listed. Reads one package at a time and holds no more than that, beside the bytes it was read from.

use std::fmt;
use std::io::BufRead;
use std::ops::Range;

use super::arch;
use super::xml::{Piece, Tag, Xml, XmlError, short};
use crate::rpmfile::{Capability, Nevra};

/// Most that is held of one package, bytes with [`ENTRY_BYTES`] for each thing. Kernels, which provide a name for each
/// driver, have half a megabyte.
const PACKAGE_BYTES_MAX: usize = 4 << 20;
/// What a file or a capability takes beside its text, bytes.
const ENTRY_BYTES: usize = 64;
/// Longest element of a package, bytes: what is held of it, and its descriptions.
const ELEMENT_BYTES_MAX: usize = 16 << 20;

/// Senses of a comparison, as `rpmfile` has them.
const LESS: u32 = 2;
const GREATER: u32 = 4;
const EQUAL: u32 = 8;

/// Where elements stand: the root is at 0.
const PACKAGE_DEPTH: usize = 1;
const ABOUT_DEPTH: usize = 2;
const FORMAT_DEPTH: usize = 3;
const ENTRY_DEPTH: usize = 4;

/// A binary package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// What it is called.
    pub(crate) nevra: Nevra,
    /// Where it is, relative to the repository.
    pub(crate) href: String,
    /// How long it is, bytes; 0 if that is not said.
    pub(crate) size: u64,
    /// What kind of digest it has, and that in hexadecimal digits, which also names it in `filelists`.
    pub(crate) checksum: (String, String),
    /// What it provides.
    pub(crate) provides: Vec<Capability>,
    /// What it requires.
    pub(crate) requires: Vec<Capability>,
    /// What is to be installed with it if it can be.
    pub(crate) recommends: Vec<Capability>,
    /// With what it is to be installed if it can be.
    pub(crate) supplements: Vec<Capability>,
    /// In whose place it is.
    pub(crate) obsoletes: Vec<Capability>,
    /// Beside what it cannot be.
    pub(crate) conflicts: Vec<Capability>,
    /// Those of its files that are listed.
    pub(crate) files: Vec<String>,
    /// Where `<location/>` is in its element.
    pub(crate) location: Range<usize>,
    /// Where `</format>` is in its element, if it is there: files can be added before it.
    pub(crate) format_end: Option<usize>,
    /// What all of that takes, bytes.
    pub(crate) bytes: usize,
}

/// Why a list of packages cannot be read.
#[derive(Debug)]
pub(crate) enum PrimaryError {
    /// It cannot be read.
    Xml(XmlError),
    /// It is some other XML.
    Other(String),
    /// A package has no name, version or location, or a version that makes no sense.
    Senseless(u64),
    /// A package is too large.
    TooLarge(u64),
    /// What is said of a package is too long.
    TooLong(u64),
}

impl fmt::Display for PrimaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrimaryError::Xml(error) => error.fmt(f),
            PrimaryError::Other(root) => write!(f, "it begins with <{root}>, not <metadata>"),
            PrimaryError::Senseless(number) => {
                write!(f, "package {number} in it has no name, version or location that makes sense")
            }
            PrimaryError::TooLarge(number) => {
                write!(
                    f,
                    "package {number} in it provides and needs more than {} MiB",
                    PACKAGE_BYTES_MAX >> 20
                )
            }
            PrimaryError::TooLong(number) => {
                write!(f, "what it says of package {number} is longer than {} MiB", ELEMENT_BYTES_MAX >> 20)
            }
        }
    }
}

impl From<XmlError> for PrimaryError {
    fn from(error: XmlError) -> PrimaryError {
        PrimaryError::Xml(error)
    }
}

/// Where the text goes that is being read.
#[derive(Clone, Copy)]
enum Into {
    Nowhere,
    Name,
    Arch,
    Checksum,
    File,
}

/// Which dependencies are being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Other,
    Provides,
    Requires,
    Recommends,
    Supplements,
    Obsoletes,
    Conflicts,
}

impl Section {
    fn named(name: &str) -> Section {
        match name {
            "provides" => Section::Provides,
            "requires" => Section::Requires,
            "recommends" => Section::Recommends,
            "supplements" => Section::Supplements,
            "obsoletes" => Section::Obsoletes,
            "conflicts" => Section::Conflicts,
            _ => Section::Other,
        }
    }
}

/// What is being read.
struct Reading {
    /// The package that is open.
    package: Package,
    into: Into,
    /// Whether `package` is open, not some other element of the list.
    is_package: bool,
    section: Section,
    /// Whether `<location>` is open.
    is_in_location: bool,
    /// Packages so far, of any kind.
    number: u64,
}

/// Calls `each` with every binary package that fits the target and its element as it stands there, until it fails.
///
/// # Errors
/// Why the list cannot be read, or what `each` says.
pub(crate) fn read<E: From<PrimaryError>>(
    from: impl BufRead,
    target: Option<&str>,
    mut each: impl FnMut(&Package, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut xml = Xml::new(from);
    let mut reading = Reading {
        package: none(),
        into: Into::Nowhere,
        is_package: false,
        section: Section::Other,
        is_in_location: false,
        number: 0,
    };
    let mut is_begun = false;
    loop {
        let (depth, before) = (xml.depth(), xml.kept().len());
        let Some(piece) = xml.next().map_err(PrimaryError::from)? else { break };
        match piece {
            Piece::Start(tag) if depth == 0 => match tag.name() {
                "metadata" => is_begun = true,
                root => return Err(PrimaryError::Other(short(root)).into()),
            },
            Piece::Start(tag) => {
                reading.start(depth, &tag, before)?;
                if depth == PACKAGE_DEPTH {
                    xml.keep(reading.is_package);
                }
            }
            Piece::Text(text) => reading.text(&text),
            Piece::Character(character) => reading.text(character.encode_utf8(&mut [0; 4])),
            Piece::End if depth == PACKAGE_DEPTH + 1 && reading.is_package => {
                reading.check()?;
                if arch::fits(&reading.package.nevra.arch, target) {
                    each(&reading.package, xml.kept())?;
                }
                xml.keep(false);
            }
            Piece::End => reading.end(depth - 1, before, xml.kept())?,
            Piece::Other => {}
        }
        if xml.kept().len() > ELEMENT_BYTES_MAX {
            return Err(PrimaryError::TooLong(reading.number).into());
        }
    }
    // Not even the root: an empty file, or a text.
    if is_begun { Ok(()) } else { Err(PrimaryError::from(XmlError::Cut).into()) }
}

fn none() -> Package {
    let nevra = Nevra {
        name: String::new(),
        epoch: 0,
        version: String::new(),
        release: String::new(),
        arch: String::new(),
    };
    Package {
        nevra,
        href: String::new(),
        size: 0,
        checksum: <(String, String)>::default(),
        provides: Vec::new(),
        requires: Vec::new(),
        recommends: Vec::new(),
        supplements: Vec::new(),
        obsoletes: Vec::new(),
        conflicts: Vec::new(),
        files: Vec::new(),
        location: 0..0,
        format_end: None,
        bytes: 0,
    }
}

impl Reading {
    /// An element of this depth begins, `at` bytes behind the package's start.
    fn start(&mut self, depth: usize, tag: &Tag<'_>, at: usize) -> Result<(), PrimaryError> {
        match (depth, tag.name()) {
            (PACKAGE_DEPTH, name) => {
                self.is_package = name == "package";
                self.number += u64::from(self.is_package);
                self.package = none();
            }
            _ if !self.is_package => {}
            (ABOUT_DEPTH, "name") => self.into = Into::Name,
            (ABOUT_DEPTH, "arch") => self.into = Into::Arch,
            (ABOUT_DEPTH, "version") => self.version(tag)?,
            (ABOUT_DEPTH, "checksum") => {
                self.package.checksum.0 = tag.attribute("type")?.unwrap_or_default();
                self.into = Into::Checksum;
            }
            (ABOUT_DEPTH, "size") => {
                let size = tag.attribute("package")?.unwrap_or_default();
                self.package.size = size.parse().unwrap_or(0);
            }
            // Which of two counts, readers need not agree on.
            (ABOUT_DEPTH, "location") if !self.package.href.is_empty() => {
                return Err(PrimaryError::Senseless(self.number));
            }
            (ABOUT_DEPTH, "location") => {
                self.package.href = tag.attribute("href")?.unwrap_or_default();
                self.package.location.start = at;
                self.is_in_location = true;
            }
            (FORMAT_DEPTH, "file") => {
                self.package.files.push(String::new());
                self.into = Into::File;
                self.grow(0)?;
            }
            (FORMAT_DEPTH, name) => self.section = Section::named(name),
            (ENTRY_DEPTH, "entry") if self.section != Section::Other => {
                let one = capability(tag)?;
                self.grow(one.name.len() + one.evr.len())?;
                let package = &mut self.package;
                match self.section {
                    Section::Other => {}
                    Section::Provides => package.provides.push(one),
                    Section::Requires => package.requires.push(one),
                    Section::Recommends => package.recommends.push(one),
                    Section::Supplements => package.supplements.push(one),
                    Section::Obsoletes => package.obsoletes.push(one),
                    Section::Conflicts => package.conflicts.push(one),
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let package = &mut self.package;
        // As long as it is no more than a package may have, it is looked at when its element ends.
        if package.bytes > PACKAGE_BYTES_MAX {
            return;
        }
        package.bytes += text.len();
        match self.into {
            Into::Nowhere => package.bytes -= text.len(),
            Into::Name => package.nevra.name.push_str(text),
            Into::Arch => package.nevra.arch.push_str(text),
            Into::Checksum => package.checksum.1.push_str(text.trim()),
            Into::File => package.files.last_mut().expect("its element is open").push_str(text),
        }
    }

    /// The element at this depth ends with what stands behind `before` in the package's element.
    fn end(&mut self, depth: usize, before: usize, element: &[u8]) -> Result<(), PrimaryError> {
        self.into = Into::Nowhere;
        if depth <= FORMAT_DEPTH {
            self.section = Section::Other;
        }
        if depth == ABOUT_DEPTH && self.is_package {
            if std::mem::take(&mut self.is_in_location) {
                self.package.location.end = element.len();
            } else if element.get(before..).is_some_and(|end| end.starts_with(b"</format")) {
                self.package.format_end = Some(before);
            }
        }
        self.limit()
    }

    fn version(&mut self, tag: &Tag<'_>) -> Result<(), PrimaryError> {
        let nevra = &mut self.package.nevra;
        let mut is_sane = true;
        tag.attributes(|name, value| match name {
            "epoch" => {
                is_sane &= value.is_empty() || value.parse().map(|epoch| nevra.epoch = epoch).is_ok();
            }
            "ver" => nevra.version = value.into_owned(),
            "rel" => nevra.release = value.into_owned(),
            _ => {}
        })?;
        if is_sane { Ok(()) } else { Err(PrimaryError::Senseless(self.number)) }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), PrimaryError> {
        self.package.bytes += bytes + ENTRY_BYTES;
        self.limit()
    }

    fn limit(&self) -> Result<(), PrimaryError> {
        let fits = self.package.bytes <= PACKAGE_BYTES_MAX;
        if fits { Ok(()) } else { Err(PrimaryError::TooLarge(self.number)) }
    }

    /// A package is read.
    fn check(&mut self) -> Result<(), PrimaryError> {
        let Package { nevra, href, .. } = &self.package;
        let texts = [&nevra.name, &nevra.arch, &nevra.version, href];
        self.into = Into::Nowhere;
        self.section = Section::Other;
        self.is_in_location = false;
        if texts.iter().any(|text| text.is_empty()) {
            return Err(PrimaryError::Senseless(self.number));
        }
        self.package.bytes += texts.iter().map(|text| text.len()).sum::<usize>() + ENTRY_BYTES;
        self.limit()
    }
}

/// An `<rpm:entry name="…" flags="EQ" epoch="0" ver="1" rel="2"/>`.
fn capability(tag: &Tag<'_>) -> Result<Capability, XmlError> {
    let mut capability = Capability { name: String::new(), flags: 0, evr: String::new() };
    let (mut epoch, mut release) = (String::new(), String::new());
    tag.attributes(|name, value| match name {
        "name" => capability.name = value.into_owned(),
        "flags" => {
            capability.flags = match &*value {
                "EQ" => EQUAL,
                "LT" => LESS,
                "GT" => GREATER,
                "LE" => LESS | EQUAL,
                "GE" => GREATER | EQUAL,
                _ => 0,
            };
        }
        "epoch" => epoch = value.into_owned(),
        "ver" => capability.evr = value.into_owned(),
        "rel" => release = value.into_owned(),
        _ => {}
    })?;
    // createrepo_c writes an epoch of 0 where the header has none, and both are the same.
    if !matches!(&*epoch, "" | "0") {
        capability.evr.insert(0, ':');
        capability.evr.insert_str(0, &epoch);
    }
    if !release.is_empty() {
        capability.evr.push('-');
        capability.evr.push_str(&release);
    }
    // Any version, whichever of the two is missing.
    if capability.flags == 0 || capability.evr.is_empty() {
        (capability.flags, capability.evr) = (0, String::new());
    }
    Ok(capability)
}

#[cfg(test)]
mod tests {
    use super::super::tests::site::{self, Sketch};
    use super::*;

    fn all(text: &[u8], target: Option<&str>) -> Result<Vec<Package>, String> {
        let mut all = Vec::new();
        let each = |package: &Package, element: &[u8]| -> Result<(), PrimaryError> {
            assert!(element.starts_with(b"<package") && element.ends_with(b">"));
            assert!(element[package.location.clone()].starts_with(b"<"));
            all.push(package.clone());
            Ok(())
        };
        read(text, target, each).map_err(|error| error.to_string())?;
        Ok(all)
    }

    fn provided(name: &str, flags: u32, evr: &str) -> Capability {
        Capability { name: name.to_owned(), flags, evr: evr.to_owned() }
    }

    const ONE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="1">
<package type="rpm">
  <name>gcc-c&#43;+</name>
  <arch>aarch64</arch>
  <version epoch="3" ver="4.8" rel="1.el7"/>
  <checksum type="sha256" pkgid="YES">abc</checksum>
  <summary>C &amp; more</summary>
  <description><name>not this</name></description>
  <size package="7" installed="8" archive="9"/>
  <location href="Packages/g/gcc-c++-4.8.rpm"/>
  <format>
    <rpm:license>GPL</rpm:license>
    <rpm:provides>
      <rpm:entry name="gcc-c++" flags="EQ" epoch="3" ver="4.8" rel="1.el7"/>
      <rpm:entry name="libx.so()(64bit)"/>
      <rpm:entry name="old" flags="LT" epoch="0" ver="2"/>
      <rpm:entry name="font(&lt;a&gt;)" flags="GE" ver="1" rel="2"/>
      <rpm:entry name="less" flags="LE" ver="1"/>
      <rpm:entry name="more" flags="GT" ver="1"/>
    </rpm:provides>
    <rpm:requires><rpm:entry name="(a or b)" pre="1"/><rpm:entry name="c" flags="GE" ver="1"/></rpm:requires>
    <rpm:recommends><rpm:entry name="r"/></rpm:recommends>
    <rpm:suggests><rpm:entry name="nothing"/></rpm:suggests>
    <rpm:supplements><rpm:entry name="s"/></rpm:supplements>
    <rpm:enhances><rpm:entry name="nothing"/></rpm:enhances>
    <rpm:obsoletes><rpm:entry name="o" flags="LT" ver="2"/></rpm:obsoletes>
    <rpm:conflicts><rpm:entry name="/usr/bin/x"/></rpm:conflicts>
    <file>/usr/bin/g&amp;++</file>
    <file type="dir">/etc/g</file>
  </format>
</package>
</metadata>
"#;

    #[test]
    fn a_package_is_read_with_all_that_counts_and_nothing_else() {
        let [package] = &all(ONE.as_bytes(), Some("aarch64")).unwrap()[..] else { panic!("one") };
        let Nevra { name, epoch, version, release, arch } = &package.nevra;
        assert_eq!(
            (&**name, *epoch, &**version, &**release, &**arch),
            ("gcc-c++", 3, "4.8", "1.el7", "aarch64")
        );
        assert_eq!(package.href, "Packages/g/gcc-c++-4.8.rpm");
        assert_eq!(package.files, ["/usr/bin/g&++", "/etc/g"]);
        let want = [
            provided("gcc-c++", 8, "3:4.8-1.el7"),
            provided("libx.so()(64bit)", 0, ""),
            provided("old", 2, "2"),
            provided("font(<a>)", 12, "1-2"),
            provided("less", 10, "1"),
            provided("more", 4, "1"),
        ];
        assert_eq!(package.provides, want);
        assert_eq!(package.requires, [provided("(a or b)", 0, ""), provided("c", 12, "1")]);
        assert_eq!(package.recommends, [provided("r", 0, "")]);
        assert_eq!(package.supplements, [provided("s", 0, "")]);
        assert_eq!(package.obsoletes, [provided("o", 2, "2")]);
        assert_eq!(package.conflicts, [provided("/usr/bin/x", 0, "")]);
        assert_eq!(package.checksum, ("sha256".to_owned(), "abc".to_owned()));
        assert_eq!(package.size, 7);
        let element = &ONE[ONE.find("<package").unwrap()..];
        assert_eq!(&element[package.location.clone()], r#"<location href="Packages/g/gcc-c++-4.8.rpm"/>"#);
        assert!(element[package.format_end.unwrap()..].starts_with("</format>"));
        assert_eq!(all(ONE.as_bytes(), Some("x86_64")).unwrap(), []);
        assert_eq!(all(ONE.replace(">aarch64<", ">src<").as_bytes(), None).unwrap(), []);
    }

    #[test]
    fn what_is_no_list_of_packages_is_said_to_be_none() {
        let check = |text: &str, word: &str| {
            let error = all(text.as_bytes(), None).unwrap_err();
            assert!(error.contains(word) && !error.contains('\n'), "{word}: {error}");
        };
        check("", "in the middle");
        check("Not found", "in the middle");
        check("<html><body/></html>", "<html>");
        check("<metadata><package/></metadata>", "package 1 in it has no name");
        check(
            &ONE.replace("epoch=\"3\" ver=\"4.8\" rel=\"1.el7\"/>\n  <c", "epoch=\"-3\" ver=\"1\"/>\n  <c"),
            "package 1",
        );
        check(&ONE.replace("href=", "x="), "location");
        check(&ONE.replace("<format>", "<location href=\"other\"/><format>"), "location");
        let long = format!("<!--{}-->", "x".repeat(1 << 19)).repeat(33);
        check(&ONE.replace("<format>", &format!("{long}<format>")), "longer than 16 MiB");
        let long = format!("<file>{}</file>", "x".repeat(1 << 19));
        check(&ONE.replace("<file type", &format!("{}<file type", long.repeat(9))), "more than 4 MiB");
        let many = "<rpm:entry name=\"x\"/>".repeat(70_000);
        check(&ONE.replace("<rpm:provides>", &format!("<rpm:provides>{many}")), "more than 4 MiB");
        assert_eq!(all(b"<metadata><other><name>x</name></other></metadata>", None).unwrap(), []);
        for end in 0..ONE.trim_end().len() {
            assert!(all(&ONE.as_bytes()[..end], None).is_err(), "{end}");
        }
    }

    /// SplitMix64.
    fn chance(seed: &mut u64) -> usize {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) & 0xffff_ffff).unwrap()
    }

    #[test]
    fn whatever_the_bytes_are_there_is_an_answer() {
        let list = site::primary(&[Sketch::new("a", "1"), Sketch::new("b", "2")]);
        let texts = [ONE.as_bytes(), list.as_bytes()];
        let pieces: [&[u8]; 8] =
            [b"<", b">", b"&", b"<package>", b"</package>", b"<![CDATA[", b"<!--", b"\xff\xfe\0"];
        let (mut good, mut bad) = (0, 0);
        for mut seed in 0..20_000_u64 {
            let mut text = texts[chance(&mut seed) % texts.len()].to_vec();
            for _ in 0..=chance(&mut seed) % 3 {
                let at = chance(&mut seed) % text.len();
                match chance(&mut seed) % 4 {
                    0 => text[at] = chance(&mut seed).to_le_bytes()[0],
                    1 => drop(text.splice(at..at, pieces[chance(&mut seed) % pieces.len()].iter().copied())),
                    2 => drop(text.drain(at..text.len().min(at + chance(&mut seed) % 40))),
                    _ => text.copy_within(at / 2..at, 0),
                }
                text.push(b'\n');
            }
            match all(&text, None) {
                Ok(_) => good += 1,
                Err(error) => {
                    assert!(!error.contains('\n') && error.len() < 500, "{error}");
                    bad += 1;
                }
            }
        }
        assert!(good > 1_000 && bad > 1_000, "{good} {bad}");
    }
}
