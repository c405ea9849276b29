//! Why a channel ends.
//!
//! Owns the errors and their texts. A text is a fragment that reads after "failed to talk to …: ".

use std::fmt;

use super::noise::Damaged;
use crate::hello::{HelloError, Versions};
use crate::ids::PublicKey;

/// Why a channel ended, or would not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelError {
    /// The peer does not speak moji's protocol.
    BadMagic,
    /// The peer's role has a number that nobody knows.
    UnknownRole(u8),
    /// No protocol version is common.
    NoCommonVersion {
        /// What this side speaks.
        ours: Versions,
        /// What the peer speaks.
        theirs: Versions,
    },
    /// The hub chose a version that this side did not offer.
    BadWelcome(u16),
    /// The hub is not the one that was pinned.
    WrongHubKey {
        /// Who it must be.
        pinned: PublicKey,
        /// Who it is.
        offered: PublicKey,
    },
    /// The peer has none of the secrets of its role.
    WrongSecret,
    /// A handshake message is damaged or forged.
    DamagedHandshake,
    /// The hub refused with a code that nobody knows.
    UnknownRefusal(u8),
    /// A record, or a message to be sealed, is too short, bytes.
    TooShort(usize),
    /// A record, or a message to be sealed, is too long, bytes.
    TooLong(usize),
    /// A record does not decrypt.
    DamagedRecord,
    /// Something was to be sealed before the handshake was over.
    NotEstablished,
    /// All 2^64 - 1 records of one direction were used.
    Exhausted,
    /// The channel is over: it was refused or had an error before.
    Over,
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelError::BadMagic => f.write_str("the peer does not speak moji's protocol"),
            ChannelError::UnknownRole(code) => write!(f, "unknown role {code}"),
            ChannelError::NoCommonVersion { ours, theirs } => {
                write!(f, "no common protocol version: we speak {ours}, the peer speaks {theirs}")
            }
            ChannelError::BadWelcome(chosen) => {
                write!(f, "the hub chose protocol version {chosen}, which was not offered")
            }
            ChannelError::WrongHubKey { pinned, offered } => {
                write!(f, "the hub's key is {offered}, expected {pinned}")
            }
            ChannelError::WrongSecret => f.write_str("the peer does not have the secret"),
            ChannelError::DamagedHandshake => f.write_str("damaged handshake"),
            ChannelError::UnknownRefusal(code) => write!(f, "the hub refused with unknown code {code}"),
            ChannelError::TooShort(bytes) => write!(f, "record of {bytes} bytes is too short"),
            ChannelError::TooLong(bytes) => write!(f, "record of {bytes} bytes is too long"),
            ChannelError::DamagedRecord => f.write_str("record does not decrypt"),
            ChannelError::NotEstablished => f.write_str("the handshake is not over"),
            ChannelError::Exhausted => f.write_str("the channel's record numbers are used up"),
            ChannelError::Over => f.write_str("the channel is over"),
        }
    }
}

impl std::error::Error for ChannelError {}

impl From<HelloError> for ChannelError {
    fn from(error: HelloError) -> Self {
        match error {
            HelloError::Magic => ChannelError::BadMagic,
            HelloError::Role(code) => ChannelError::UnknownRole(code),
        }
    }
}

impl From<Damaged> for ChannelError {
    fn from(Damaged: Damaged) -> Self {
        ChannelError::DamagedHandshake
    }
}

impl From<snow::Error> for ChannelError {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::State(snow::error::StateProblem::Exhausted) => ChannelError::Exhausted,
            _ => ChannelError::DamagedRecord,
        }
    }
}
