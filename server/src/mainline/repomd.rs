//! `repomd.xml` of somebody else's repository: where its lists of packages, of their files and of groups are.
//!
//! Owns the digests that are known. [`crate::repodata`] writes such files and reads the hub's own.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::digest::DynDigest;

use super::place::is_inside;
use super::xml::{Piece, Xml, XmlError, short};

/// How a file's bytes are checked: what `createrepo_c --checksum` takes. Nobody signs it, so it is there to find what is cut
/// or was changed in between, and the weak ones of old repositories are as good for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DigestKind {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl DigestKind {
    fn named(name: &str) -> Option<DigestKind> {
        Some(match name {
            "sha" | "sha1" => DigestKind::Sha1,
            "sha224" => DigestKind::Sha224,
            "sha256" => DigestKind::Sha256,
            "sha384" => DigestKind::Sha384,
            "sha512" => DigestKind::Sha512,
            _ => return None,
        })
    }

    pub(crate) fn hasher(self) -> Box<dyn DynDigest> {
        match self {
            DigestKind::Sha1 => Box::new(sha1::Sha1::default()),
            DigestKind::Sha224 => Box::new(sha2::Sha224::default()),
            DigestKind::Sha256 => Box::new(sha2::Sha256::default()),
            DigestKind::Sha384 => Box::new(sha2::Sha384::default()),
            DigestKind::Sha512 => Box::new(sha2::Sha512::default()),
        }
    }
}

/// A file of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexFile {
    /// Where it is, relative to the repository.
    pub(crate) href: String,
    /// How [`IndexFile::digest`] was computed.
    pub(crate) kind: DigestKind,
    /// Its digest, in hexadecimal digits.
    pub(crate) digest: String,
    /// Its length, bytes, where that is told: old repositories do not.
    pub(crate) bytes: Option<u64>,
}

impl IndexFile {
    /// Whether its digest is one.
    pub(crate) fn is_sane(&self) -> bool {
        let digits = 2 * self.kind.hasher().output_size();
        self.digest.len() == digits && self.digest.bytes().all(|b| b.is_ascii_hexdigit())
    }
}

/// The files of an index that are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// The packages.
    pub(crate) primary: IndexFile,
    /// All files of all packages, if that is there and makes sense.
    pub(crate) filelists: Option<IndexFile>,
    /// The groups, compressed if they are there in that form, too.
    pub(crate) group: Option<IndexFile>,
}

/// Why a `repomd.xml` is of no use.
#[derive(Debug)]
pub(crate) enum RepomdError {
    /// It cannot be read.
    Xml(XmlError),
    /// It is some other XML.
    Other(String),
    /// It names no list of packages.
    NoPrimary,
    /// What it says of the list of packages makes no sense.
    Senseless(&'static str),
}

impl fmt::Display for RepomdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RepomdError::Xml(error) => error.fmt(f),
            RepomdError::Other(root) => write!(f, "it begins with <{root}>, not <repomd>"),
            RepomdError::NoPrimary => f.write_str("it names no 'primary', which lists the packages"),
            RepomdError::Senseless(what) => write!(f, "the {what} of 'primary' in it makes no sense"),
        }
    }
}

impl From<XmlError> for RepomdError {
    fn from(error: XmlError) -> RepomdError {
        RepomdError::Xml(error)
    }
}

/// What stands in the element of one file.
#[derive(Debug, Default)]
struct Data {
    href: String,
    kind: String,
    digest: String,
    bytes: String,
}

/// Where the text goes that is being read.
#[derive(Clone, Copy)]
enum Into {
    Nowhere,
    Digest,
    Bytes,
}

/// Which list a `<data>` is, by its type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Primary,
    Filelists,
    /// The higher, the better.
    Group(u8),
}

impl Kind {
    fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "primary" => Kind::Primary,
            "filelists" => Kind::Filelists,
            "group" => Kind::Group(1),
            "group_gz" => Kind::Group(2),
            "group_xz" => Kind::Group(3),
            "group_zst" => Kind::Group(4),
            _ => return None,
        })
    }
}

/// Finds the lists.
///
/// # Errors
/// Why it cannot.
pub(crate) fn files(repomd: &[u8]) -> Result<Files, RepomdError> {
    let mut xml = Xml::new(repomd);
    let (mut data, mut into) = (None::<(Kind, Data)>, Into::Nowhere);
    let (mut primary, mut filelists, mut group) = (None, None, None::<(u8, IndexFile)>);
    let mut is_begun = false;
    loop {
        let depth = xml.depth();
        let Some(piece) = xml.next()? else { break };
        match piece {
            Piece::Start(tag) => match (depth, tag.name()) {
                (0, "repomd") => is_begun = true,
                (0, root) => return Err(RepomdError::Other(short(root))),
                (1, "data") => {
                    let kind = tag.attribute("type")?.as_deref().and_then(Kind::named);
                    data = kind.map(|kind| (kind, Data::default()));
                }
                (2, name) => {
                    let Some((_, data)) = &mut data else { continue };
                    match name {
                        "location" => data.href = tag.attribute("href")?.unwrap_or_default(),
                        "checksum" => {
                            data.kind = tag.attribute("type")?.unwrap_or_default();
                            into = Into::Digest;
                        }
                        "size" => into = Into::Bytes,
                        _ => {}
                    }
                }
                _ => {}
            },
            Piece::End => {
                into = Into::Nowhere;
                if depth == 2 {
                    match data.take() {
                        Some((Kind::Primary, data)) => primary = Some(data),
                        Some((Kind::Filelists, data)) => filelists = data.check().ok(),
                        Some((Kind::Group(rank), data))
                            if group.as_ref().is_none_or(|(had, _)| *had < rank) =>
                        {
                            group = data.check().ok().map(|file| (rank, file)).or(group);
                        }
                        _ => {}
                    }
                }
            }
            Piece::Text(text) => match (&mut data, into) {
                (Some((_, data)), Into::Digest) => data.digest.push_str(text.trim()),
                (Some((_, data)), Into::Bytes) => data.bytes.push_str(text.trim()),
                _ => {}
            },
            Piece::Character(_) | Piece::Other => {}
        }
    }
    match primary {
        Some(data) => Ok(Files { primary: data.check()?, filelists, group: group.map(|(_, file)| file) }),
        None if is_begun => Err(RepomdError::NoPrimary),
        None => Err(XmlError::Cut.into()),
    }
}

impl Data {
    fn check(self) -> Result<IndexFile, RepomdError> {
        let Data { href, kind, digest, bytes } = self;
        if !is_inside(&href) {
            return Err(RepomdError::Senseless("location"));
        }
        let kind = DigestKind::named(&kind).ok_or(RepomdError::Senseless("kind of checksum"))?;
        let bytes = match &*bytes {
            "" => None,
            text => Some(text.parse().map_err(|_| RepomdError::Senseless("size"))?),
        };
        let file = IndexFile { href, kind, digest: digest.to_ascii_lowercase(), bytes };
        if file.is_sane() { Ok(file) } else { Err(RepomdError::Senseless("checksum")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repodata::{DataFile, Part, repomd};

    fn xml(data: &str) -> String {
        let other = "<data type=\"other\"><checksum type=\"md5\">1</checksum><location href=\"/\"/></data>";
        format!("<?xml version=\"1.0\"?>\n<repomd><revision>1</revision>{other}{data}{other}</repomd>\n")
    }

    fn data(href: &str, kind: &str, digest: &str, size: &str) -> String {
        xml(&format!(
            "<data type=\"primary\"><checksum type=\"{kind}\">{digest}</checksum><open-checksum \
             type=\"sha256\">ff</open-checksum>{size}<location href=\"{href}\"/></data>"
        ))
    }

    #[test]
    fn what_the_hub_writes_is_read() {
        let file = DataFile {
            part: Part::Primary,
            name: "x-primary.xml.gz".to_owned(),
            sha256: [0xab; 32],
            bytes: 7,
            open_sha256: Some([1; 32]),
            open_bytes: 9,
            unix_s: 3,
        };
        let found = files(&repomd(1, &[file], &[])).unwrap().primary;
        let want = IndexFile {
            href: "repodata/x-primary.xml.gz".to_owned(),
            kind: DigestKind::Sha256,
            digest: "ab".repeat(32),
            bytes: Some(7),
        };
        assert_eq!(found, want);
    }

    #[test]
    fn old_and_new_digests_are_known() {
        let kinds =
            [("sha", 40), ("sha1", 40), ("sha224", 56), ("sha256", 64), ("sha384", 96), ("sha512", 128)];
        for (kind, digits) in kinds {
            let text = data("repodata/primary.xml.gz", kind, &"AB".repeat(digits / 2), "");
            let found = files(text.as_bytes()).unwrap().primary;
            assert_eq!((found.digest, found.bytes), ("ab".repeat(digits / 2), None), "{kind}");
        }
    }

    #[test]
    fn files_and_groups_are_found_where_they_make_sense() {
        let digest = "ab".repeat(32);
        let primary = data("p", "sha256", &digest, "");
        let find = |more: &[(&str, &str)]| {
            let one = |(kind, href): &(&str, &str)| {
                data(href, "sha256", &digest, "").replace("type=\"primary\"", &format!("type=\"{kind}\""))
            };
            let all: String = more.iter().map(one).collect();
            let text = primary.replace("</repomd>", &all.replace("<?xml version=\"1.0\"?>", ""));
            let text = text.replace("<repomd>", "").replace("</repomd>", "").replace('\n', "");
            let text = text.replace("?>", "?><repomd>") + "</repomd>";
            let found = files(text.as_bytes()).unwrap();
            let href = |file: Option<IndexFile>| file.map(|file| file.href).unwrap_or_default();
            (href(found.filelists), href(found.group))
        };
        let check = |more: &[(&str, &str)], filelists: &str, group: &str| {
            assert_eq!(find(more), (filelists.to_owned(), group.to_owned()), "{more:?}");
        };
        check(&[], "", "");
        check(&[("filelists", "f"), ("group", "g")], "f", "g");
        check(&[("group_gz", "gz"), ("group", "g"), ("modules", "m")], "", "gz");
        check(&[("group", "g"), ("group_xz", "xz"), ("group_gz", "gz")], "", "xz");
        check(&[("group", "g"), ("group_xz", "../xz"), ("filelists", "/f")], "", "g");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |text: &str, word: &str| {
            let error = files(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains('\n'), "{text}: {error}");
        };
        let digest = "ab".repeat(32);
        check(&xml(""), "no 'primary'");
        check("<html><body>Sign in</body></html>", "<html>");
        check("", "in the middle");
        check("hello", "in the middle");
        check("<repomd><data type='primary'>", "in the middle");
        check(&data("../x", "sha256", &digest, ""), "location");
        check(&data("", "sha256", &digest, ""), "location");
        check(&data("http://evil/x", "sha256", &digest, ""), "location");
        check(&data("x", "md5", &digest[..32], ""), "kind of checksum");
        check(&data("x", "sha256", &digest[1..], ""), "checksum");
        check(&data("x", "sha256", &digest.replace('a', "x"), ""), "checksum");
        check(&data("x", "sha256", &digest, "<size>-1</size>"), "size");
        let whole = data("x", "sha256", &digest, "<size>1</size>");
        for end in 0..whole.trim_end().len() {
            assert!(files(&whole.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
