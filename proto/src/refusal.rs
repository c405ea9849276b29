//! Codes with which the hub turns a peer away.
//!
//! Owns two sets: [`Refusal`] in plain bytes before authentication (a hint only: anybody on the
//! path can forge it), and [`RejectCode`] inside the channel.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why the hub refused before authentication; sent as `00 00 CODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// No common protocol version.
    Version = 1,
    /// The role is not known.
    Role = 2,
    /// Too many connections.
    Full = 3,
    /// No secret is set, so only loopback and private addresses are served.
    Address = 4,
    /// The secret is wrong.
    Secret = 5,
    /// The builder is not in the list of builders.
    NotListed = 6,
    /// Two hosts use this key.
    Cloned = 7,
    /// The bytes were no handshake.
    Garbage = 8,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 8] = [
        Refusal::Version,
        Refusal::Role,
        Refusal::Full,
        Refusal::Address,
        Refusal::Secret,
        Refusal::NotListed,
        Refusal::Cloned,
        Refusal::Garbage,
    ];

    /// The three bytes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 3] {
        [0, 0, self as u8]
    }

    /// The refusal with this code, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Refusal> {
        Refusal::ALL.into_iter().find(|refusal| *refusal as u8 == code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Version => "hub and builder share no protocol version: upgrade the older one",
            Refusal::Role => "the hub does not know this role",
            Refusal::Full => "the hub has too many connections",
            Refusal::Address => {
                "the hub has no secret and serves private addresses only: run 'moji-server token' there"
            }
            Refusal::Secret => "the secret is wrong: compare it with 'moji-server token' on the hub",
            Refusal::NotListed => "this builder's key is not in the hub's list of builders",
            Refusal::Cloned => {
                "another host uses this builder's key: delete 'identity.key' in the state folder of one of them"
            }
            Refusal::Garbage => "the hub could not read the handshake",
        })
    }
}

/// Why the hub ends an authenticated session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RejectCode {
    /// A record that does not decrypt or a message that does not decode.
    Malformed,
    /// A message number nobody knows.
    Unknown,
    /// A message that may not come now.
    Order,
    /// A lease that is not this builder's.
    NotYours,
    /// A number or size over its limit.
    Limit,
    /// Nothing was heard for a minute.
    Silence,
    /// The upload was slower than the floor.
    TooSlow,
    /// A newer connection of the same builder took over.
    Replaced,
    /// Two hosts use this key.
    Cloned,
    /// The builder is not, or no longer, in the list of builders.
    NotListed,
    /// The hub shuts down; come again.
    ShuttingDown,
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RejectCode::Malformed => "malformed message",
            RejectCode::Unknown => "unknown message",
            RejectCode::Order => "message out of order",
            RejectCode::NotYours => "a lease that is not this builder's",
            RejectCode::Limit => "over a limit",
            RejectCode::Silence => "silent for a minute",
            RejectCode::TooSlow => "upload below 1 KiB/s",
            RejectCode::Replaced => "a newer connection of this builder took over",
            RejectCode::Cloned => "two hosts use this builder's key",
            RejectCode::NotListed => "not in the hub's list of builders",
            RejectCode::ShuttingDown => "the hub shuts down",
        })
    }
}
