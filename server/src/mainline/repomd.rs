//! `repomd.xml` of somebody else's repository: where its `primary` is.
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
pub(super) enum DigestKind {
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

    pub(super) fn hasher(self) -> Box<dyn DynDigest> {
        match self {
            DigestKind::Sha1 => Box::new(sha1::Sha1::default()),
            DigestKind::Sha224 => Box::new(sha2::Sha224::default()),
            DigestKind::Sha256 => Box::new(sha2::Sha256::default()),
            DigestKind::Sha384 => Box::new(sha2::Sha384::default()),
            DigestKind::Sha512 => Box::new(sha2::Sha512::default()),
        }
    }
}

/// The file that lists the packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Primary {
    /// Where it is, relative to the repository.
    pub(super) href: String,
    /// How [`Primary::digest`] was computed.
    pub(super) kind: DigestKind,
    /// Its digest, in hexadecimal digits.
    pub(super) digest: String,
    /// Its length, bytes, where that is told: old repositories do not.
    pub(super) bytes: Option<u64>,
}

impl Primary {
    /// Whether its digest is one.
    pub(super) fn is_sane(&self) -> bool {
        let digits = 2 * self.kind.hasher().output_size();
        self.digest.len() == digits && self.digest.bytes().all(|b| b.is_ascii_hexdigit())
    }
}

/// Why a `repomd.xml` is of no use.
#[derive(Debug)]
pub(super) enum RepomdError {
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

/// Finds `primary`.
///
/// # Errors
/// Why it cannot.
pub(super) fn primary(repomd: &[u8]) -> Result<Primary, RepomdError> {
    let mut xml = Xml::new(repomd);
    let (mut data, mut found, mut into) = (None::<Data>, None, Into::Nowhere);
    let mut is_begun = false;
    loop {
        let depth = xml.depth();
        let Some(piece) = xml.next()? else { break };
        match piece {
            Piece::Start(tag) => match (depth, tag.name()) {
                (0, "repomd") => is_begun = true,
                (0, root) => return Err(RepomdError::Other(short(root))),
                (1, "data") if tag.attribute("type")?.as_deref() == Some("primary") => {
                    data = Some(Data::default());
                }
                (2, name) => {
                    let Some(data) = &mut data else { continue };
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
                if depth == 2 && data.is_some() {
                    found = data.take();
                }
            }
            Piece::Text(text) => match (&mut data, into) {
                (Some(data), Into::Digest) => data.digest.push_str(text.trim()),
                (Some(data), Into::Bytes) => data.bytes.push_str(text.trim()),
                _ => {}
            },
            Piece::Character(_) | Piece::Other => {}
        }
    }
    match found {
        Some(data) => data.check(),
        None if is_begun => Err(RepomdError::NoPrimary),
        None => Err(XmlError::Cut.into()),
    }
}

impl Data {
    fn check(self) -> Result<Primary, RepomdError> {
        let Data { href, kind, digest, bytes } = self;
        if !is_inside(&href) {
            return Err(RepomdError::Senseless("location"));
        }
        let kind = DigestKind::named(&kind).ok_or(RepomdError::Senseless("kind of checksum"))?;
        let bytes = match &*bytes {
            "" => None,
            text => Some(text.parse().map_err(|_| RepomdError::Senseless("size"))?),
        };
        let primary = Primary { href, kind, digest: digest.to_ascii_lowercase(), bytes };
        if primary.is_sane() { Ok(primary) } else { Err(RepomdError::Senseless("checksum")) }
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
        let found = primary(&repomd(1, &[file], &[])).unwrap();
        let want = Primary {
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
            let found = primary(text.as_bytes()).unwrap();
            assert_eq!((found.digest, found.bytes), ("ab".repeat(digits / 2), None), "{kind}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |text: &str, word: &str| {
            let error = primary(text.as_bytes()).unwrap_err().to_string();
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
            assert!(primary(&whole.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
