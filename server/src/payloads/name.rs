//! What a package is called in the cache: the kind of its checksum and the checksum.
//!
//! Owns which kinds are known and that names are names of files. Bytes that have the same name are the same.

use std::fmt;

use sha2::digest::DynDigest;

/// The kinds that are written by `createrepo_c`, and the one that old repositories have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Md5, Kind::Sha1, Kind::Sha224, Kind::Sha256, Kind::Sha384, Kind::Sha512];

    fn as_str(self) -> &'static str {
        match self {
            Kind::Md5 => "md5",
            Kind::Sha1 => "sha1",
            Kind::Sha224 => "sha224",
            Kind::Sha256 => "sha256",
            Kind::Sha384 => "sha384",
            Kind::Sha512 => "sha512",
        }
    }

    fn hasher(self) -> Box<dyn DynDigest> {
        match self {
            Kind::Md5 => Box::new(md5::Md5::default()),
            Kind::Sha1 => Box::new(sha1::Sha1::default()),
            Kind::Sha224 => Box::new(sha2::Sha224::default()),
            Kind::Sha256 => Box::new(sha2::Sha256::default()),
            Kind::Sha384 => Box::new(sha2::Sha384::default()),
            Kind::Sha512 => Box::new(sha2::Sha512::default()),
        }
    }
}

/// A package's name in the cache. Its text is `sha256-0a1b…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    kind: Kind,
    hex: String,
}

impl Name {
    /// The name of what has this checksum; None if the kind is not known, or the checksum is none of that kind.
    pub(super) fn new(kind: &str, hex: &str) -> Option<Name> {
        // createrepo of old wrote `sha` for SHA-1.
        let kind = if kind == "sha" { "sha1" } else { kind };
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        let hex = hex.to_ascii_lowercase();
        let digits = 2 * kind.hasher().output_size();
        let is_one = hex.len() == digits && hex.bytes().all(|b| b.is_ascii_hexdigit());
        is_one.then_some(Name { kind, hex })
    }

    /// The name that a file has; None if it is none that was given here.
    pub(super) fn of_file(file: &str) -> Option<Name> {
        let (kind, hex) = file.split_once('-')?;
        Name::new(kind, hex).filter(|name| name.to_string() == file)
    }

    /// The folder that its file is in.
    pub(super) fn folder(&self) -> &str {
        &self.hex[..2]
    }

    pub(super) fn hasher(&self) -> Box<dyn DynDigest> {
        self.kind.hasher()
    }

    /// Whether this is the digest that it is called after.
    pub(super) fn is(&self, digest: &[u8]) -> bool {
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        hex == self.hex
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind.as_str(), self.hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_all_kinds_are_names_and_nothing_else_is() {
        for (kind, digits) in
            [("md5", 32), ("sha", 40), ("sha1", 40), ("sha224", 56), ("sha256", 64), ("sha384", 96)]
        {
            let name = Name::new(kind, &"aB".repeat(digits / 2)).unwrap();
            assert_eq!(name.folder(), "ab");
            assert_eq!(Name::of_file(&name.to_string()), Some(name));
            assert_eq!(Name::new(kind, &"ab".repeat(digits / 2 - 1)), None, "{kind}");
        }
        let text = "x".repeat(64);
        for (kind, hex) in [("sha256", &*text), ("crc32", "01234567"), ("", ""), ("sha256", "../../etc")] {
            assert_eq!(Name::new(kind, hex), None, "{kind} {hex}");
        }
        let sha1 = "ab".repeat(20);
        for file in [".sha1-ab", "sha1", &format!("sha-{sha1}"), &format!("sha1-{}", sha1.to_uppercase())] {
            assert_eq!(Name::of_file(file), None, "{file}");
        }
    }

    #[test]
    fn a_digest_is_compared_with_the_name() {
        for kind in Kind::ALL {
            let digest = |bytes: &[u8]| {
                let mut hasher = kind.hasher();
                hasher.update(bytes);
                hasher.finalize()
            };
            let hex: String = digest(b"x").iter().map(|byte| format!("{byte:02x}")).collect();
            let name = Name::new(kind.as_str(), &hex).unwrap();
            assert!(name.is(&digest(b"x")) && !name.is(&digest(b"y")));
        }
        // RFC 1321, A.5.
        assert!(Name::new("md5", "900150983cd24fb0d6963f7d28e17f72").unwrap().is(&{
            let mut hasher = Kind::Md5.hasher();
            hasher.update(b"abc");
            hasher.finalize()
        }));
    }
}
