//! Secrets and keys: tokens, passphrases, static keys.
//!
//! Owns how they are written and stretched, and where random bytes come from. Never touches a file
//! and never prints a secret: `Debug` of every type here shows its name only.

use std::fmt;

use argon2::{Algorithm, Argon2, Params};
use snow::resolvers::{CryptoResolver as _, DefaultResolver};
use zeroize::Zeroize as _;

use crate::curve;
use crate::ids::PublicKey;

/// A passphrase with fewer characters than this is worth a warning.
pub const PASSPHRASE_CHARS_SHORT: usize = 16;

/// How every token begins. Text that begins so is never taken for a passphrase.
pub const TOKEN_PREFIX: &str = "moji1_";
/// Characters after the prefix: 64 bytes at 5 bits a character, rounded up.
const TOKEN_CHARS: usize = 103;
/// RFC 4648, section 6, in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Argon2id's memory, KiB: 19 MiB, the second of OWASP's equivalent choices and what a board has.
const ARGON2_MEMORY_KIB: u32 = 19 * 1024;
/// Argon2id's passes.
const ARGON2_PASSES: u32 = 2;
/// Argon2id's lanes: boards have one core.
const ARGON2_LANES: u32 = 1;
/// Fixed, because builder and hub have nothing else in common before the handshake.
const ARGON2_SALT: &[u8] = b"moji/1 shared secret";

/// Fills `bytes` from the kernel's random source.
///
/// # Panics
/// If the kernel gives none: nothing safe could be done without.
pub fn random_bytes(bytes: &mut [u8]) {
    let mut rng = DefaultResolver.resolve_rng().expect("snow is built with use-getrandom");
    rng.try_fill_bytes(bytes).expect("the kernel gives random bytes");
}

/// A random number, as [`random_bytes`].
///
/// # Panics
/// As [`random_bytes`].
#[must_use]
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    random_bytes(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A Curve25519 secret key: the identity of a hub or builder. Overwritten when dropped.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// A new key.
    ///
    /// # Panics
    /// As [`random_bytes`].
    #[must_use]
    pub fn generate() -> SecretKey {
        let mut key = SecretKey([0; 32]);
        random_bytes(&mut key.0);
        key
    }

    /// The key with these bytes: any 32 are a key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> SecretKey {
        SecretKey(bytes)
    }

    /// The bytes, for the key file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key that belongs to it. Costs a multiplication on the curve: keep the result.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(curve::public(&self.0))
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

/// What both ends of a channel must share: 32 bytes from a token or a stretched passphrase.
#[derive(Clone, PartialEq, Eq)]
pub struct Psk([u8; 32]);

impl Psk {
    /// No secret at all: zeros.
    pub const NONE: Psk = Psk([0; 32]);

    /// The secret with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Psk {
        Psk(bytes)
    }

    /// The bytes, for whoever caches a stretched passphrase.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Stretches a passphrase by Argon2id. Takes 19 MiB and, on a small board, seconds.
    ///
    /// # Panics
    /// If the passphrase has 4 GiB or more.
    #[must_use]
    pub fn from_passphrase(passphrase: &str) -> Psk {
        let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, Some(32));
        let params = params.expect("the parameters are within Argon2's bounds");
        let mut psk = Psk([0; 32]);
        Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), ARGON2_SALT, &mut psk.0)
            .expect("salt and output have lengths that Argon2 takes");
        psk
    }
}

impl Drop for Psk {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk")
    }
}

/// Why a text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// Nothing but white space.
    Empty,
    /// More than one line that is not blank: which of them is meant is not for both ends to guess.
    Lines,
    /// A token does not begin with `moji1_`.
    Prefix,
    /// A token has this many characters after `moji1_`, not 103.
    Length(usize),
    /// This character, counted from 1 over the whole token, cannot stand there.
    Character(usize),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::Empty => f.write_str("the secret is empty"),
            SecretError::Lines => f.write_str("it has more than one line, and a secret is one"),
            SecretError::Prefix => write!(f, "a token begins with '{TOKEN_PREFIX}'"),
            SecretError::Length(got) => {
                write!(f, "a token has {TOKEN_CHARS} characters after '{TOKEN_PREFIX}', this one has {got}")
            }
            SecretError::Character(at) => {
                write!(f, "character {at} of the token is wrong: it uses a-z and 2-7 only; copy it again")
            }
        }
    }
}

impl std::error::Error for SecretError {}

/// What `moji-server token` prints: who the hub is and the secret to reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The hub's identity, to be pinned.
    pub hub_key: PublicKey,
    /// The shared secret.
    pub secret: Psk,
}

impl Token {
    /// The text `moji1_…`: prefix and 103 characters of base32 (RFC 4648 in lower case, unpadded).
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(TOKEN_PREFIX.len() + TOKEN_CHARS);
        text.push_str(TOKEN_PREFIX);
        let (mut bits, mut count) = (0u32, 0);
        for byte in self.hub_key.0.iter().chain(&self.secret.0) {
            bits = bits << 8 | u32::from(*byte);
            count += 8;
            while count >= 5 {
                count -= 5;
                text.push(char::from(BASE32[(bits >> count) as usize & 31]));
            }
        }
        if count > 0 {
            text.push(char::from(BASE32[(bits << (5 - count)) as usize & 31]));
        }
        text
    }

    /// Reads the text of a token.
    ///
    /// # Errors
    /// [`SecretError`], never `Empty`.
    pub fn parse(text: &str) -> Result<Token, SecretError> {
        let digits = text.strip_prefix(TOKEN_PREFIX).ok_or(SecretError::Prefix)?;
        let wrong = |i: usize| SecretError::Character(TOKEN_PREFIX.len() + i + 1);
        // A strange character is the better message, also where it makes the length wrong.
        if let Some(i) = digits.chars().position(|c| !c.is_ascii() || !BASE32.contains(&(c as u8))) {
            return Err(wrong(i));
        }
        if digits.len() != TOKEN_CHARS {
            return Err(SecretError::Length(digits.len()));
        }
        let mut bytes = [0; 64];
        let (mut bits, mut count, mut next) = (0u32, 0, 0);
        for digit in digits.bytes() {
            let value = BASE32.iter().position(|known| *known == digit).expect("checked above");
            bits = bits << 5 | value as u32;
            count += 5;
            if count >= 8 {
                count -= 8;
                bytes[next] = (bits >> count) as u8;
                next += 1;
            }
        }
        // 103 digits hold three bits more than 64 bytes: only zeros, or one token had eight texts.
        if bits & ((1 << count) - 1) != 0 {
            return Err(wrong(TOKEN_CHARS - 1));
        }
        let (mut hub_key, mut secret) = ([0; 32], [0; 32]);
        hub_key.copy_from_slice(&bytes[..32]);
        secret.copy_from_slice(&bytes[32..]);
        bytes.zeroize();
        Ok(Token { hub_key: PublicKey(hub_key), secret: Psk(secret) })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The one line of a file that holds a secret, without the white space around it: what hub and builder both read.
///
/// # Errors
/// [`SecretError::Empty`] or [`SecretError::Lines`].
pub fn only_line(text: &str) -> Result<&str, SecretError> {
    match text.trim() {
        "" => Err(SecretError::Empty),
        text if text.contains(['\n', '\r']) => Err(SecretError::Lines),
        text => Ok(text),
    }
}

/// What an operator or a file gives as the secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A token.
    Token(Token),
    /// A passphrase, not stretched yet.
    Passphrase(String),
}

impl Secret {
    /// Reads a secret; white space around it (a file's last newline) does not belong to it.
    ///
    /// # Errors
    /// [`SecretError::Empty`], [`SecretError::Lines`], or what is wrong with a text that begins with `moji1_`.
    pub fn parse(text: &str) -> Result<Secret, SecretError> {
        let text = only_line(text)?;
        if text.starts_with(TOKEN_PREFIX) {
            Token::parse(text).map(Secret::Token)
        } else {
            Ok(Secret::Passphrase(text.to_owned()))
        }
    }

    /// The shared secret; stretches a passphrase as [`Psk::from_passphrase`].
    #[must_use]
    pub fn psk(&self) -> Psk {
        match self {
            Secret::Token(token) => token.secret.clone(),
            Secret::Passphrase(text) => Psk::from_passphrase(text),
        }
    }

    /// The hub's key, where the secret names it.
    #[must_use]
    pub fn hub_key(&self) -> Option<PublicKey> {
        match self {
            Secret::Token(token) => Some(token.hub_key),
            Secret::Passphrase(_) => None,
        }
    }

    /// Whether it is a passphrase of fewer than [`PASSPHRASE_CHARS_SHORT`] characters.
    #[must_use]
    pub fn is_short(&self) -> bool {
        matches!(self, Secret::Passphrase(text) if text.chars().count() < PASSPHRASE_CHARS_SHORT)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Token(_) => "Secret::Token",
            Secret::Passphrase(_) => "Secret::Passphrase",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        let mut bytes = [0; 64];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = (i as u8).wrapping_mul(37).wrapping_add(11);
        }
        Token {
            hub_key: PublicKey(bytes[..32].try_into().unwrap()),
            secret: Psk::from_bytes(bytes[32..].try_into().unwrap()),
        }
    }

    #[test]
    fn a_token_has_its_documented_text() {
        // Made with Python: base64.b32encode(bytes((i * 37 + 11) % 256 for i in range(64))).
        let want = concat!(
            "moji1_bmyfk6u7ytuq4m2ypwrmp3argznybjok54kdsxudvdg7efz4mgdk",
            "xuhvdi7wjcno2p4b2qthrsy5n6zaivvi7ngz7yruq3msw7oacjq",
        );
        assert_eq!(token().to_text(), want);
        assert_eq!(Token::parse(want), Ok(token()));
    }

    #[test]
    fn a_damaged_token_says_where_and_never_becomes_a_passphrase() {
        let good = token().to_text();
        assert_eq!(Secret::parse(&format!(" {good}\r\n")), Ok(Secret::Token(token())));
        for (text, want) in [
            (good[..good.len() - 1].to_owned(), SecretError::Length(102)),
            (format!("{good}a"), SecretError::Length(104)),
            ("moji1_".to_owned(), SecretError::Length(0)),
            (good.replacen('_', "_1", 1), SecretError::Character(7)),
            (format!("{}!", &good[..good.len() - 1]), SecretError::Character(109)),
            (format!("{}é", &good[..good.len() - 2]), SecretError::Character(108)),
            (format!("moji1_{}", good[6..].to_uppercase()), SecretError::Character(7)),
            // The last character holds two bits; here one more is set.
            (format!("{}b", &good[..good.len() - 1]), SecretError::Character(109)),
            (" \n".to_owned(), SecretError::Empty),
        ] {
            assert_eq!(Secret::parse(&text), Err(want), "{text}");
        }
        assert_eq!(Token::parse(&good[1..]), Err(SecretError::Prefix));
    }

    #[test]
    fn other_text_is_a_passphrase_without_the_white_space_around_it() {
        let secret = Secret::parse("  correct horse\n").unwrap();
        assert_eq!(secret, Secret::Passphrase("correct horse".to_owned()));
        assert!(secret.is_short());
        assert_eq!(secret.hub_key(), None);
        assert!(!Secret::parse("sixteen letters!").unwrap().is_short());
        assert!(Secret::parse("fifteen letters").unwrap().is_short());
    }

    #[test]
    fn a_secret_is_one_line_however_a_file_ends() {
        let one = Secret::parse("correct horse battery").unwrap();
        for text in
            ["correct horse battery\r\n", "\n correct horse battery \n\n", "correct horse battery\r\n \r\n"]
        {
            assert!(Secret::parse(text).unwrap() == one, "{text:?}");
        }
        let token = token().to_text();
        for text in ["correct\nhorse", "correct\r\nhorse\r\n", &format!("{token}\n# of the hub\n")] {
            assert_eq!(Secret::parse(text), Err(SecretError::Lines), "{text:?}");
        }
    }

    #[test]
    fn passphrases_are_stretched_by_argon2id_19_mib_2_passes() {
        // Made with Python's cryptography: Argon2id(salt=b"moji/1 shared secret", length=32,
        // iterations=2, lanes=1, memory_cost=19456).derive(b"correct horse battery staple").
        let want = "af4ed3f69314ab1ee11db622417d73b327237d57a5d2296b566720e62b5a839c";
        let psk = Secret::parse("correct horse battery staple").unwrap().psk();
        assert_eq!(PublicKey(*psk.as_bytes()).to_string(), want);
    }

    #[test]
    fn public_keys_are_those_of_curve25519() {
        // RFC 7748, section 6.1: Bob's keys.
        let secret = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
        let public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
        let PublicKey(bytes) = secret.parse().unwrap();
        assert_eq!(SecretKey::from_bytes(bytes).public().to_string(), public);
    }

    #[test]
    fn generated_keys_differ() {
        assert_ne!(SecretKey::generate().public(), SecretKey::generate().public());
        assert_ne!(random_u64(), random_u64());
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let shown = format!(
            "{:?} {:?} {:?} {:?} {:?}",
            SecretKey::from_bytes([7; 32]),
            Psk::from_bytes([7; 32]),
            token(),
            Secret::Token(token()),
            Secret::Passphrase("swordfish".to_owned())
        );
        assert_eq!(shown, "SecretKey Psk Token Secret::Token Secret::Passphrase");
    }
}
