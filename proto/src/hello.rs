//! The first bytes in each direction: role and protocol versions. Frozen.
//!
//! Owns `Hello` (16 plain bytes, the prologue of the Noise handshake), `Welcome` (16 bytes, the
//! payload of the second Noise message) and the choice of a version. Must never change again:
//! whatever changes later, an old peer still reads these and learns that it is too old. The zeros
//! at the end are sent as zeros and not looked at when read, so that they stay free.
//!
//! | bytes | `Hello` | bytes | `Welcome` |
//! |---|---|---|---|
//! | 0..5 | `moji\0` | 0..2 | chosen version, 0 for none |
//! | 5 | role | 2..4 | lowest version of the hub |
//! | 6..8 | lowest version | 4..6 | highest version of the hub |
//! | 8..10 | highest version | 6..16 | zeros |
//! | 10..16 | zeros | | |

use std::fmt;

/// Length of [`Hello`] on the wire, bytes.
pub const HELLO_BYTES: usize = 16;
/// Length of [`Welcome`] on the wire, bytes.
pub const WELCOME_BYTES: usize = 16;

/// How every connection begins. The zero tells it from all protocols that begin with text.
const MAGIC: [u8; 5] = *b"moji\0";

/// What a peer wants to be for the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// It builds packages.
    Builder = 1,
    /// It is an operator's command.
    Operator = 2,
}

impl Role {
    /// The role with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Role> {
        [Role::Builder, Role::Operator].into_iter().find(|role| *role as u8 == code)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Builder => "builder",
            Role::Operator => "operator",
        })
    }
}

/// The protocol versions that one side speaks: `low` to `high`, both included. 0 is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Lowest.
    pub low: u16,
    /// Highest.
    pub high: u16,
}

impl Versions {
    /// What this program speaks.
    pub const OURS: Versions = Versions { low: 3, high: 3 };
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}-{}", self.low, self.high)
        }
    }
}

/// The highest version that both sides speak; none if there is no such version. A range whose ends
/// are the wrong way round is empty.
#[must_use]
pub fn choose(ours: Versions, theirs: Versions) -> Option<u16> {
    let highest = ours.high.min(theirs.high);
    let lowest = ours.low.max(theirs.low);
    (lowest <= highest && highest != 0).then_some(highest)
}

/// What the initiator says first, in plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What it wants to be.
    pub role: Role,
    /// What it speaks.
    pub versions: Versions,
}

/// Why 16 bytes are no [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloError {
    /// They do not begin with `moji\0`.
    Magic,
    /// The role has a number that nobody knows.
    Role(u8),
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HelloError::Magic => f.write_str("not moji's protocol"),
            HelloError::Role(code) => write!(f, "unknown role {code}"),
        }
    }
}

impl std::error::Error for HelloError {}

impl Hello {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..5].copy_from_slice(&MAGIC);
        bytes[5] = self.role as u8;
        bytes[6..8].copy_from_slice(&self.versions.low.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.versions.high.to_be_bytes());
        bytes
    }

    /// Reads the bytes of the wire.
    ///
    /// # Errors
    /// [`HelloError`] says which part is wrong.
    pub fn from_bytes(bytes: &[u8; HELLO_BYTES]) -> Result<Hello, HelloError> {
        if bytes[..5] != MAGIC {
            return Err(HelloError::Magic);
        }
        let role = Role::from_code(bytes[5]).ok_or(HelloError::Role(bytes[5]))?;
        Ok(Hello { role, versions: Versions { low: be(bytes, 6), high: be(bytes, 8) } })
    }
}

/// What the hub answers, inside the second Noise message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that both go on with; 0 if there is none, and then the hub closes.
    pub chosen: u16,
    /// What the hub speaks.
    pub versions: Versions,
}

impl Welcome {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; WELCOME_BYTES] {
        let mut bytes = [0; WELCOME_BYTES];
        bytes[..2].copy_from_slice(&self.chosen.to_be_bytes());
        bytes[2..4].copy_from_slice(&self.versions.low.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.versions.high.to_be_bytes());
        bytes
    }

    /// Reads the bytes of the wire: any 16 are a `Welcome`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; WELCOME_BYTES]) -> Welcome {
        Welcome { chosen: be(bytes, 0), versions: Versions { low: be(bytes, 2), high: be(bytes, 4) } }
    }
}

fn be(bytes: &[u8; 16], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(low: u16, high: u16) -> Versions {
        Versions { low, high }
    }

    #[test]
    fn the_highest_common_version_is_chosen() {
        for (ours, theirs, want) in [
            (v(1, 1), v(1, 1), Some(1)),
            (v(1, 3), v(2, 5), Some(3)),
            (v(2, 5), v(1, 9), Some(5)),
            (v(4, 4), v(1, 9), Some(4)),
            (v(1, 2), v(2, 3), Some(2)),
            (v(1, 2), v(3, 4), None),
            (v(u16::MAX, u16::MAX), v(1, u16::MAX), Some(u16::MAX)),
            // Ends the wrong way round, and version 0, which means "none".
            (v(1, 9), v(5, 3), None),
            (v(1, 1), v(0, 0), None),
            (v(0, 0), v(0, 0), None),
            (v(0, 2), v(0, 1), Some(1)),
        ] {
            assert_eq!(choose(ours, theirs), want, "{ours} {theirs}");
            assert_eq!(choose(theirs, ours), want, "{theirs} {ours}");
        }
    }

    #[test]
    fn hello_has_its_frozen_bytes() {
        let hello = Hello { role: Role::Operator, versions: v(0x0102, 0x0304) };
        let bytes = *b"moji\0\x02\x01\x02\x03\x04\0\0\0\0\0\0";
        assert_eq!(hello.to_bytes(), bytes);
        assert_eq!(Hello::from_bytes(&bytes), Ok(hello));
        let builder = Hello { role: Role::Builder, versions: v(1, 1) };
        assert_eq!(&builder.to_bytes(), b"moji\0\x01\0\x01\0\x01\0\0\0\0\0\0");
    }

    #[test]
    fn bytes_at_the_end_of_hello_stay_free() {
        let bytes = *b"moji\0\x01\0\x01\0\x02future";
        assert_eq!(Hello::from_bytes(&bytes), Ok(Hello { role: Role::Builder, versions: v(1, 2) }));
    }

    #[test]
    fn a_wrong_hello_says_what_is_wrong() {
        let good = Hello { role: Role::Builder, versions: v(1, 1) }.to_bytes();
        for at in 0..5 {
            let mut bad = good;
            bad[at] ^= 1;
            assert_eq!(Hello::from_bytes(&bad), Err(HelloError::Magic), "{at}");
        }
        for role in (0..=255).filter(|role| ![1, 2].contains(role)) {
            let mut bad = good;
            bad[5] = role;
            assert_eq!(Hello::from_bytes(&bad), Err(HelloError::Role(role)));
        }
    }

    #[test]
    fn welcome_has_its_frozen_bytes() {
        let welcome = Welcome { chosen: 0x0506, versions: v(0x0102, 0x0304) };
        let bytes = *b"\x05\x06\x01\x02\x03\x04\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(welcome.to_bytes(), bytes);
        assert_eq!(Welcome::from_bytes(&bytes), welcome);
    }
}
