//! How a message becomes bytes and bytes a message.
//!
//! Owns the encoding (postcard: the variant's number, then its fields) and the five ways in which bytes
//! may be wrong. Never looks at what a message means.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{FromBuilder, FromOperator, ToBuilder, ToOperator};
use crate::limits::MESSAGE_BYTES_MAX;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end inside the message.
    Truncated,
    /// More bytes than a record may hold.
    Oversize,
    /// Bytes are left after the message.
    Trailing,
    /// A message number nobody knows.
    Unknown,
    /// A field holds what it must not.
    Malformed,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::Truncated => "message ends early",
            DecodeError::Oversize => "message over the limit",
            DecodeError::Trailing => "bytes after the message",
            DecodeError::Unknown => "unknown message",
            DecodeError::Malformed => "malformed field",
        })
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for crate::refusal::RejectCode {
    fn from(error: DecodeError) -> Self {
        use crate::refusal::RejectCode;
        match error {
            DecodeError::Unknown => RejectCode::Unknown,
            DecodeError::Oversize => RejectCode::Limit,
            DecodeError::Truncated | DecodeError::Trailing | DecodeError::Malformed => RejectCode::Malformed,
        }
    }
}

/// What travels in a record: one of the four enums of this module.
pub trait Message: Serialize + for<'de> Deserialize<'de> {
    /// How many variants there are: a larger number is [`DecodeError::Unknown`].
    const VARIANTS: u32;

    /// Appends the message's bytes to `out`.
    ///
    /// # Panics
    /// If it is larger than a record: whoever builds messages keeps pieces within
    /// [`crate::limits::CHUNK_BYTES_MAX`].
    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let bytes = postcard::to_extend(self, std::mem::take(out));
        *out = bytes.expect("a message always encodes");
        assert!(out.len() - start <= MESSAGE_BYTES_MAX, "message over the limit");
    }

    /// Reads exactly one message.
    ///
    /// # Errors
    /// One [`DecodeError`] for each way in which `bytes` may be wrong.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(DecodeError::Oversize);
        }
        let (variant, _) = postcard::take_from_bytes::<u32>(bytes).map_err(kind)?;
        if variant >= Self::VARIANTS {
            return Err(DecodeError::Unknown);
        }
        let (message, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(kind)?;
        if rest.is_empty() { Ok(message) } else { Err(DecodeError::Trailing) }
    }
}

pub(super) fn kind(error: postcard::Error) -> DecodeError {
    match error {
        postcard::Error::DeserializeUnexpectedEnd => DecodeError::Truncated,
        _ => DecodeError::Malformed,
    }
}

impl Message for FromBuilder {
    const VARIANTS: u32 = 13;
}
impl Message for ToBuilder {
    const VARIANTS: u32 = 20;
}
impl Message for FromOperator {
    const VARIANTS: u32 = 17;
}
impl Message for ToOperator {
    const VARIANTS: u32 = 20;
}
