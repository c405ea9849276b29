//! A run of bytes inside a message.
//!
//! Owns the encoding only: a varint length and the bytes, copied once.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::CHUNK_BYTES_MAX;

/// A piece of a file or log, at most [`CHUNK_BYTES_MAX`] long.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Copying;
        impl Visitor<'_> for Copying {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {CHUNK_BYTES_MAX} bytes")
            }
            fn visit_bytes<E: Error>(self, v: &[u8]) -> Result<Bytes, E> {
                if v.len() > CHUNK_BYTES_MAX {
                    return Err(E::invalid_length(v.len(), &self));
                }
                Ok(Bytes(v.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Copying)
    }
}
