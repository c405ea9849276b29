//! One RPM as the index will say it.
//!
//! Owns the three elements of a package, byte for byte as createrepo_c writes them (`xml_dump_*.c`,
//! `parsehdr.c`), and the text of [`Part::Provides`]. Reads through [`crate::rpmfile`] only: its bounded check is the one parser
//! of headers that anybody may have written, so neither the rpm crate nor librpm ever sees them. Whatever
//! the bytes are, the answer is a value or an error, in time and memory of the header's size and
//! the longest text that is allowed.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::dependency::{required_paths, write_sections};
use super::files::{FileKind, for_each_file, is_primary};
use super::group::{Class, Described, Listed, Part};
use super::xml::{TEXT_BYTES_MAX, Xml, clean};
use crate::rpmfile::{Capability, Kind, Nevra, ReadAt, RpmError, Tags, read_tags};

/// Changelog entries that are listed, the newest: createrepo_c's default.
const CHANGELOGS_MAX: usize = 10;

const SUMMARY: u32 = 1004;
const DESCRIPTION: u32 = 1005;
const BUILDTIME: u32 = 1006;
const BUILDHOST: u32 = 1007;
const SIZE: u32 = 1009;
const VENDOR: u32 = 1011;
const LICENSE: u32 = 1014;
const PACKAGER: u32 = 1015;
const GROUP: u32 = 1016;
const URL: u32 = 1020;
const SOURCERPM: u32 = 1044;
const ARCHIVESIZE: u32 = 1046;
const CHANGELOGTIME: u32 = 1080;
const CHANGELOGNAME: u32 = 1081;
const CHANGELOGTEXT: u32 = 1082;
const LONGSIZE: u32 = 5009;
const LONGARCHIVESIZE: u32 = 271;
const PAYLOADSIZEALT: u32 = 5113;
/// RPMSIGTAG_PAYLOADSIZE, which librpm shows as ARCHIVESIZE.
const SIG_PAYLOADSIZE: u32 = 1007;

/// What the index says of a file beside what is in it.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Where it is, relative to the repository: `FOLDER/FILE.rpm`.
    pub href: &'a str,
    /// Its digest.
    pub sha256: [u8; 32],
    /// Its length, bytes.
    pub size: u64,
    /// When it was last changed, unix seconds.
    pub modified_unix_s: u64,
}

/// What one package offers to others, for the hub itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provided {
    /// What it is called.
    pub nevra: Nevra,
    /// What it provides, as its header says.
    pub provides: Vec<Capability>,
    /// Those of its files that primary.xml lists, which can be required without more ado.
    pub files: Vec<String>,
    /// The file name of the source package it was built from; none of a source package.
    pub source: Option<String>,
}

/// A text of [`Part::Provides`] that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedProvided;

impl fmt::Display for DamagedProvided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what a package provides is damaged")
    }
}

impl std::error::Error for DamagedProvided {}

/// Why an RPM cannot be in an index. Reads after "failed to index x.rpm: ".
#[derive(Debug)]
pub enum DescribeError {
    /// The bounded check refuses it.
    Rpm(RpmError),
    /// What the index would say of it is too long.
    TooLong(Part),
}

impl fmt::Display for DescribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DescribeError::Rpm(e) => write!(f, "{e}"),
            DescribeError::TooLong(part) => {
                write!(f, "too large: {} of it are more than {TEXT_BYTES_MAX} bytes", part.name())
            }
        }
    }
}

impl std::error::Error for DescribeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DescribeError::Rpm(e) => Some(e),
            DescribeError::TooLong(_) => None,
        }
    }
}

impl From<RpmError> for DescribeError {
    fn from(e: RpmError) -> Self {
        DescribeError::Rpm(e)
    }
}

/// Makes the texts of a package. Reads lead, signature and main header only, and checks no digest: `about` is believed.
///
/// # Errors
/// If the bounded check of [`crate::rpmfile`] refuses the file, or a text is longer than any real package's.
pub fn describe<R: ReadAt + ?Sized>(rpm: &R, about: &About<'_>) -> Result<Described, DescribeError> {
    let tags = read_tags(rpm)?;
    let pkgid: String = about.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    // First, because its limit bounds the work for primary.xml as well: both walk all paths.
    let filelists = filelists(&tags, &pkgid).finish().ok_or(DescribeError::TooLong(Part::Filelists))?;
    let files = Files::of(&tags);
    let primary =
        primary(&tags, &pkgid, about, &files).finish().ok_or(DescribeError::TooLong(Part::Primary))?;
    let other = other(&tags, &pkgid).finish().ok_or(DescribeError::TooLong(Part::Other))?;
    let class = class(tags.facts.kind, &tags.facts.nevra.name);
    let provides = encode_provided(&Provided {
        files: files.primary.iter().map(|(path, _)| clean(path).into_owned()).collect(),
        nevra: tags.facts.nevra,
        provides: tags.facts.provides,
        source: tags.facts.source_rpm,
    });
    let texts = [primary, filelists, other, provides];
    let text_bytes = texts.each_ref().map(|text| u32::try_from(text.len()).expect("texts are limited"));
    let listed = Listed {
        path: about.href.into(),
        size: about.size,
        modified_unix_s: about.modified_unix_s,
        text_bytes,
    };
    Ok(Described { listed, class, texts })
}

/// The text of [`Part::Provides`].
#[must_use]
pub fn encode_provided(provided: &Provided) -> Vec<u8> {
    postcard::to_stdvec(provided).expect("memory takes all")
}

/// Reads the text of [`Part::Provides`] of one package.
///
/// # Errors
/// If it is not that.
pub fn decode_provided(text: &[u8]) -> Result<Provided, DamagedProvided> {
    match postcard::take_from_bytes(text) {
        Ok((provided, [])) => Ok(provided),
        _ => Err(DamagedProvided),
    }
}

/// Whether builders want it: no source package and none of what Fedora puts into debug repositories.
fn class(kind: Kind, name: &str) -> Class {
    let is_debug =
        name.ends_with("-debuginfo") || name.ends_with("-debugsource") || name.contains("-debuginfo-common");
    if kind == Kind::Source || is_debug { Class::Extra } else { Class::Main }
}

/// The paths that primary.xml is about.
struct Files<'a> {
    primary: Vec<(Vec<u8>, FileKind)>,
    /// Paths that the package requires and has.
    own: HashSet<&'a [u8]>,
}

impl<'a> Files<'a> {
    fn of(tags: &'a Tags) -> Self {
        let required = required_paths(tags);
        let mut files = Files { primary: Vec::new(), own: HashSet::new() };
        for_each_file(tags, |path, kind| {
            if is_primary(path) {
                files.own.extend(required.get(path));
                files.primary.push((path.to_vec(), kind));
            }
            true
        });
        files
    }
}

fn arch(tags: &Tags) -> &str {
    // Of a package without its sources too.
    if tags.facts.kind == Kind::Source { "src" } else { &tags.facts.nevra.arch }
}

fn element(xml: &mut Xml, indent: &str, name: &str, content: &[u8]) {
    xml.raw_fmt(format_args!("{indent}<{name}>"));
    xml.text(content);
    xml.raw_fmt(format_args!("</{name}>\n"));
}

fn version(xml: &mut Xml, tags: &Tags) {
    let nevra = &tags.facts.nevra;
    xml.raw_fmt(format_args!("  <version epoch=\"{}\" ver=\"", nevra.epoch));
    xml.value(nevra.version.as_bytes());
    xml.raw("\" rel=\"");
    xml.value(nevra.release.as_bytes());
    xml.raw("\"/>\n");
}

fn file(xml: &mut Xml, indent: &str, path: &[u8], kind: FileKind) {
    let tag = match kind {
        FileKind::Plain => "<file>",
        FileKind::Directory => "<file type=\"dir\">",
        FileKind::Ghost => "<file type=\"ghost\">",
    };
    xml.raw(indent);
    xml.raw(tag);
    xml.text(path);
    xml.raw("</file>\n");
}

fn primary(tags: &Tags, pkgid: &str, about: &About<'_>, files: &Files<'_>) -> Xml {
    let mut xml = Xml::default();
    let text = |tag| tags.text(tag).unwrap_or_default();
    xml.raw("<package type=\"rpm\">\n");
    element(&mut xml, "  ", "name", tags.facts.nevra.name.as_bytes());
    element(&mut xml, "  ", "arch", arch(tags).as_bytes());
    version(&mut xml, tags);
    xml.raw_fmt(format_args!("  <checksum type=\"sha256\" pkgid=\"YES\">{pkgid}</checksum>\n"));
    element(&mut xml, "  ", "summary", text(SUMMARY));
    element(&mut xml, "  ", "description", text(DESCRIPTION));
    element(&mut xml, "  ", "packager", text(PACKAGER));
    element(&mut xml, "  ", "url", text(URL));
    let built = tags.number(BUILDTIME).unwrap_or(0);
    xml.raw_fmt(format_args!("  <time file=\"{}\" build=\"{built}\"/>\n", about.modified_unix_s));
    let installed = tags.number(LONGSIZE).or_else(|| tags.number(SIZE)).unwrap_or(0);
    let (package, archive) = (about.size, archive_size(tags));
    let sizes = format_args!("package=\"{package}\" installed=\"{installed}\" archive=\"{archive}\"");
    xml.raw_fmt(format_args!("  <size {sizes}/>\n"));
    xml.raw("  <location href=\"");
    xml.value(about.href.as_bytes());
    xml.raw("\"/>\n  <format>\n");
    element(&mut xml, "    ", "rpm:license", text(LICENSE));
    element(&mut xml, "    ", "rpm:vendor", text(VENDOR));
    element(&mut xml, "    ", "rpm:group", text(GROUP));
    element(&mut xml, "    ", "rpm:buildhost", text(BUILDHOST));
    element(&mut xml, "    ", "rpm:sourcerpm", text(SOURCERPM));
    let range = format_args!("start=\"{}\" end=\"{}\"", tags.main_start, tags.payload_start);
    xml.raw_fmt(format_args!("    <rpm:header-range {range}/>\n"));
    write_sections(&mut xml, tags, &files.own);
    files.primary.iter().for_each(|(path, kind)| file(&mut xml, "    ", path, *kind));
    xml.raw("  </format>\n</package>\n");
    xml
}

/// Bytes of the payload, not compressed. librpm shows signature tags as if they were of the main header.
fn archive_size(tags: &Tags) -> u64 {
    let main = |tag| tags.number(tag);
    main(LONGARCHIVESIZE)
        .or_else(|| tags.signature_number(LONGARCHIVESIZE))
        .or_else(|| main(ARCHIVESIZE))
        .or_else(|| tags.signature_number(SIG_PAYLOADSIZE))
        .or_else(|| main(PAYLOADSIZEALT))
        .unwrap_or(0)
}

/// What filelists.xml and other.xml start a package with.
fn start(tags: &Tags, pkgid: &str) -> Xml {
    let mut xml = Xml::default();
    xml.raw_fmt(format_args!("<package pkgid=\"{pkgid}\" name=\""));
    xml.value(tags.facts.nevra.name.as_bytes());
    xml.raw("\" arch=\"");
    xml.value(arch(tags).as_bytes());
    xml.raw("\">\n");
    version(&mut xml, tags);
    xml
}

fn filelists(tags: &Tags, pkgid: &str) -> Xml {
    let mut xml = start(tags, pkgid);
    for_each_file(tags, |path, kind| {
        file(&mut xml, "  ", path, kind);
        !xml.is_full()
    });
    xml.raw("</package>\n");
    xml
}

fn other(tags: &Tags, pkgid: &str) -> Xml {
    let mut xml = start(tags, pkgid);
    for (date, author, text) in changelogs(tags).into_iter().rev() {
        xml.raw("  <changelog author=\"");
        xml.value(author);
        xml.raw_fmt(format_args!("\" date=\"{date}\">"));
        xml.text(text);
        xml.raw("</changelog>\n");
    }
    xml.raw("</package>\n");
    xml
}

/// The first entries of the changelog, which are the newest.
fn changelogs(tags: &Tags) -> Vec<(i64, &[u8], &[u8])> {
    let arrays = (tags.numbers(CHANGELOGTIME), tags.texts(CHANGELOGNAME), tags.texts(CHANGELOGTEXT));
    let (Some(times), Some(authors), Some(texts)) = arrays else { return Vec::new() };
    let mut entries: Vec<(i64, &[u8], &[u8])> = Vec::new();
    let mut last = 0;
    for ((time, author), text) in times.zip(authors).zip(texts).take(CHANGELOGS_MAX) {
        let time = time as i64;
        // "If a previous entry has the same time, increment time of the previous entry by one", says
        // createrepo_c; its int is why times after 2038 stay.
        if last == time {
            let same = i64::from(time as i32)..;
            for (date, same) in entries.iter_mut().rev().map(|(date, ..)| date).zip(same) {
                if *date != same {
                    break;
                }
                *date += 1;
            }
        }
        last = time;
        entries.push((time, trim_author(author), text));
    }
    entries
}

/// Without the spaces at its end, but never empty if it was not.
fn trim_author(author: &[u8]) -> &[u8] {
    let end = author.iter().rposition(|&b| b != b' ').unwrap_or(0);
    &author[..author.len().min(end + 1)]
}
