//! Why a file was not taken for an RPM, in words for whoever put it there. Never holds a byte of
//! the file itself, so its text may go into a log or a page as it is.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a file could not be read as an RPM. Its text reads after "failed to read x.rpm: ".
#[derive(Debug)]
pub enum RpmError {
    /// It does not start as an RPM does and never will, however much is appended.
    NotRpm,
    /// It is shorter than it says it is; `need` is the length known to be needed, in bytes, which
    /// is the whole file's once its signature header is there.
    Truncated {
        /// Bytes needed.
        need: u64,
        /// Bytes there.
        have: u64,
    },
    /// It goes on after its declared end.
    TooLong {
        /// Length its headers declare, in bytes.
        want: u64,
        /// Bytes there.
        have: u64,
    },
    /// A number in it is above what the hub is willing to handle.
    Limit(Excess),
    /// A header breaks the rules of the format.
    Malformed(Fault),
    /// The bytes are not those that the digests were made over.
    Digest(DigestFault),
    /// The file system failed.
    Io(io::Error),
}

/// Which limit was passed, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// What was counted, with its unit, in the plural: "header tags".
    pub what: &'static str,
    /// How many the file declares.
    pub found: u64,
    /// How many are allowed.
    pub max: u64,
}

/// The part of a package that is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first 96 bytes.
    Lead,
    /// The signature header.
    Signature,
    /// The main header.
    Header,
}

/// A rule of the format that a file breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub part: Part,
    /// The tag's number, where one tag is at fault.
    pub tag: Option<u32>,
    /// What is wrong with it.
    pub what: &'static str,
}

/// A digest that is not there or not true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestFault {
    /// The named digest differs from what was computed.
    Mismatch(&'static str),
    /// No digest that the hub can compute covers the main header.
    NoneOverHeader,
    /// No digest that the hub can compute covers the payload.
    NoneOverPayload,
}

impl fmt::Display for RpmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRpm => write!(f, "not an RPM package"),
            Self::Truncated { need, have } => {
                write!(f, "truncated: {have} bytes of at least {need}")
            }
            Self::TooLong { want, have } => {
                write!(f, "too long: {have} bytes where its headers say {want}")
            }
            Self::Limit(Excess { what, found, max }) => {
                write!(f, "too large: {found} {what}, at most {max} are read")
            }
            Self::Malformed(fault) => write!(f, "malformed {fault}"),
            Self::Digest(fault) => write!(f, "damaged: {fault}"),
            Self::Io(e) => write!(f, "{e}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lead => "lead",
            Self::Signature => "signature",
            Self::Header => "header",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag {
            Some(tag) => write!(f, "{}: tag {tag} {}", self.part, self.what),
            None => write!(f, "{}: {}", self.part, self.what),
        }
    }
}

impl fmt::Display for DigestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch(which) => write!(f, "{which} does not match"),
            Self::NoneOverHeader => write!(f, "no known digest covers its header"),
            Self::NoneOverPayload => write!(f, "no known digest covers its payload"),
        }
    }
}

impl Error for RpmError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(e) => Some(e),
            _ => None,
        }
    }
}

impl From<io::Error> for RpmError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}
