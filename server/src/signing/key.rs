//! The key that signs: reading, checking, making.
//!
//! Owns which keys are good enough: those that rpm 4.14 and gpg 2.0 on an old board can check, version 4 with RSA or
//! Ed25519. Must never sign with a key that the owner did not mean to.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgp::composed::{
    ArmorOptions, Deserializable, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::SubpacketData::{IssuerFingerprint, IssuerKeyId, SignatureCreationTime};
use pgp::packet::{
    PacketTrait, SecretKey, SecretSubkey, Signature, SignatureConfig, SignatureType, Subpacket,
};
use pgp::types::{KeyDetails, KeyVersion, Password, Timestamp};

use super::repomd::Pairs;
use crate::clock::Clock;
use crate::rpmfile::KeyKind;

/// Largest file that is read as a key, bytes: one with many certifications has a tenth.
const KEY_FILE_BYTES_MAX: u64 = 1 << 20;
/// Size of a new RSA key, bits: what NIST allows beyond 2030, and half of 4096's time to sign.
const RSA_BITS: u32 = 3072;
/// A key that ends so soon is warned of, seconds: a month to think of it.
const EXPIRES_SOON_S: u64 = 30 * 86_400;

/// Why a key cannot sign.
#[derive(Debug)]
pub enum SignKeyError {
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// A file holds something else than it should; what to do.
    Content(PathBuf, String),
}

impl fmt::Display for SignKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignKeyError::File(path, error) => write!(f, "{}: {error}", path.display()),
            SignKeyError::Content(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

impl std::error::Error for SignKeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SignKeyError::File(_, error) => Some(error),
            SignKeyError::Content(..) => None,
        }
    }
}

/// The half of a key pair that signs.
enum Half {
    Primary(SecretKey),
    Sub(SecretSubkey),
}

/// Signs.
pub struct Signer {
    half: Half,
    public: SignedPublicKey,
    /// Unix seconds of the youngest key involved: nothing was signed before.
    made_unix_s: u64,
    clock: Arc<dyn Clock>,
    pub(super) pairs: Arc<Pairs>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.fingerprint())
    }
}

impl Signer {
    /// Reads the first secret key of a file, armored or not, and tries it. Warns of what is dangerous.
    ///
    /// # Errors
    /// [`SignKeyError`] for whatever keeps it from signing now.
    pub fn load(
        path: &Path,
        passphrase: Option<&str>,
        clock: Arc<dyn Clock>,
    ) -> Result<Signer, SignKeyError> {
        let bad = |what: String| SignKeyError::Content(path.to_owned(), what);
        let (bytes, mode) = read(path)?;
        if mode & 0o077 != 0 {
            log::warn!("{}: others than its owner may read this key: chmod 600 it", path.display());
        }
        let (mut keys, _) = SignedSecretKey::from_reader_many(&bytes[..]).map_err(|_| bad(no_key(&bytes)))?;
        let key = keys.next().and_then(Result::ok).ok_or_else(|| bad(no_key(&bytes)))?;
        key.verify_bindings()
            .map_err(|_| bad("the key's own signatures are wrong: export it again".into()))?;
        let now = clock.unix_s();
        let (half, ends) = choose(&key, passphrase, now).map_err(bad)?;
        if let Some(end) = ends.filter(|end| *end < now + EXPIRES_SOON_S) {
            log::warn!(
                "{}: this key expires in {} days: extend it ('gpg --quick-set-expire') and restart the hub",
                path.display(),
                (end - now) / 86_400
            );
        }
        let made = match &half {
            Half::Primary(half) => half.created_at(),
            Half::Sub(half) => half.created_at(),
        };
        let made_unix_s = u64::from(made.max(key.primary_key.created_at()).as_secs());
        if made_unix_s > now {
            return Err(bad("this key was made in the future: set this machine's clock".into()));
        }
        let signer = Signer { half, public: key.to_public_key(), made_unix_s, clock, pairs: Arc::default() };
        signer.packet(b"a try").map_err(|error| bad(format!("cannot sign: {error}")))?;
        Ok(signer)
    }

    /// The key's fingerprint, in hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.public.primary_key.fingerprint().to_string().to_uppercase()
    }

    /// The public key, armored.
    #[must_use]
    pub fn public_key(&self) -> String {
        armored_public(&self.public)
    }

    /// What readers of the hub's HTTP need of all signatures of `repomd.xml`.
    #[must_use]
    pub fn pairs(&self) -> Arc<Pairs> {
        self.pairs.clone()
    }

    /// In which of rpm's two tags its signatures belong.
    pub(super) fn kind(&self) -> KeyKind {
        match self.algorithm() {
            PublicKeyAlgorithm::RSA => KeyKind::Rsa,
            _ => KeyKind::Other,
        }
    }

    fn algorithm(&self) -> PublicKeyAlgorithm {
        match &self.half {
            Half::Primary(half) => half.algorithm(),
            Half::Sub(half) => half.algorithm(),
        }
    }

    /// A signature over these bytes, as an OpenPGP packet.
    ///
    /// # Errors
    /// What the library says; a key that was tried signs.
    pub(super) fn packet(&self, bytes: &[u8]) -> Result<Vec<u8>, pgp::errors::Error> {
        let mut packet = Vec::new();
        self.signature(bytes)?.to_writer_with_header(&mut packet)?;
        Ok(packet)
    }

    /// A detached signature over these bytes, armored.
    ///
    /// # Errors
    /// As [`Signer::packet`].
    pub(super) fn armored(&self, bytes: &[u8]) -> Result<Vec<u8>, pgp::errors::Error> {
        DetachedSignature::new(self.signature(bytes)?).to_armored_bytes(ArmorOptions::default())
    }

    /// Whether this armored signature over these bytes is by this key.
    pub(super) fn made(&self, armored: &[u8], bytes: &[u8]) -> bool {
        DetachedSignature::from_armor_single(armored).is_ok_and(|(signature, _)| match &self.half {
            Half::Primary(half) => signature.verify(half.public_key(), bytes).is_ok(),
            Half::Sub(half) => signature.verify(half.public_key(), bytes).is_ok(),
        })
    }

    fn signature(&self, bytes: &[u8]) -> Result<Signature, pgp::errors::Error> {
        match &self.half {
            Half::Primary(half) => sign(half, self.time(), bytes),
            Half::Sub(half) => sign(half, self.time(), bytes),
        }
    }

    /// Now; a clock that was set back does not make signatures older than their key.
    fn time(&self) -> Timestamp {
        let unix_s = self.clock.unix_s().max(self.made_unix_s);
        Timestamp::from_secs(u32::try_from(unix_s).unwrap_or(u32::MAX))
    }
}

/// Signs with SHA-256, which every rpm since 4.6 knows, and names the key in both ways that verifiers look for.
fn sign<K: pgp::types::SigningKey>(
    key: &K,
    at: Timestamp,
    bytes: &[u8],
) -> Result<Signature, pgp::errors::Error> {
    let mut config = SignatureConfig::v4(SignatureType::Binary, key.algorithm(), HashAlgorithm::Sha256);
    config.hashed_subpackets = vec![
        Subpacket::regular(SignatureCreationTime(at))?,
        Subpacket::regular(IssuerFingerprint(key.fingerprint()))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(IssuerKeyId(key.legacy_key_id()))?];
    config.sign(key, &Password::empty(), bytes)
}

fn read(path: &Path) -> Result<(Vec<u8>, u32), SignKeyError> {
    let fail = |error| SignKeyError::File(path.to_owned(), error);
    let meta = std::fs::metadata(path).map_err(fail)?;
    if !meta.is_file() || meta.len() > KEY_FILE_BYTES_MAX {
        let what = "is no key: give a file with an OpenPGP secret key".to_owned();
        return Err(SignKeyError::Content(path.to_owned(), what));
    }
    Ok((std::fs::read(path).map_err(fail)?, meta.mode()))
}

/// What is in a file without a secret key.
fn no_key(bytes: &[u8]) -> String {
    let public = SignedPublicKey::from_reader_many(bytes).ok().and_then(|(mut keys, _)| keys.next());
    match public {
        Some(Ok(_)) => {
            "holds a public key only: export the secret one ('gpg --export-secret-keys')".to_owned()
        }
        _ => "holds no OpenPGP secret key: make one with 'moji-server key --new FILE'".to_owned(),
    }
}

/// The half that signs, unlocked, and when it ends. The primary key if it may: rpm before 4.12 knows no subkeys.
fn choose(key: &SignedSecretKey, passphrase: Option<&str>, now: u64) -> Result<(Half, Option<u64>), String> {
    if !key.details.revocation_signatures.is_empty() {
        return Err("this key is revoked: make another".to_owned());
    }
    let own =
        key.details.users.iter().flat_map(|user| &user.signatures).chain(&key.details.direct_signatures);
    let own = newest(own.filter(|signature| signature.is_certification() || is_direct(signature)));
    let primary_ends = ends(own, key.primary_key.created_at());
    if primary_ends.is_some_and(|end| end <= now) {
        return Err(
            "this key has expired: extend it ('gpg --quick-set-expire') and export it again".to_owned()
        );
    }
    let mut why = "no key in it may sign: make one with 'moji-server key --new FILE'".to_owned();
    if own.is_none_or(may_sign) {
        let mut primary = key.primary_key.clone();
        match usable(&primary).and_then(|()| {
            unlock(primary.secret_params().is_encrypted(), passphrase, |password| {
                primary.remove_password(password)
            })
        }) {
            Ok(()) => return Ok((Half::Primary(primary), primary_ends)),
            Err(error) => why = error,
        }
    }
    for sub in &key.secret_subkeys {
        let Some(binding) = newest(sub.signatures.iter()) else { continue };
        let revoked = sub.signatures.iter().any(|s| s.typ() == Some(SignatureType::SubkeyRevocation));
        let sub_ends = ends(Some(binding), sub.key.created_at());
        if revoked || !binding.key_flags().sign() || sub_ends.is_some_and(|end| end <= now) {
            continue;
        }
        let mut half = sub.key.clone();
        match usable(&half).and_then(|()| {
            unlock(half.secret_params().is_encrypted(), passphrase, |password| half.remove_password(password))
        }) {
            Ok(()) => {
                let ends = [primary_ends, sub_ends].into_iter().flatten().min();
                return Ok((Half::Sub(half), ends));
            }
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn is_direct(signature: &Signature) -> bool {
    signature.typ() == Some(SignatureType::Key)
}

/// The newest of these signatures is the one that counts.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created())
}

/// Unix seconds at which a key ends by this signature over it; None for never.
fn ends(signature: Option<&Signature>, made: Timestamp) -> Option<u64> {
    let lasts = signature?.key_expiration_time()?.as_secs();
    (lasts > 0).then(|| u64::from(made.as_secs()) + u64::from(lasts))
}

/// Keys without flags are from times before there were any.
fn may_sign(signature: &Signature) -> bool {
    let flags = signature.key_flags();
    let any = flags.certify() || flags.encrypt_comms() || flags.encrypt_storage() || flags.authentication();
    flags.sign() || !any
}

/// Whether old rpm can check what it signs.
fn usable(key: &impl KeyDetails) -> Result<(), String> {
    let (version, algorithm) = (key.version(), key.algorithm());
    if version == KeyVersion::V4
        && matches!(algorithm, PublicKeyAlgorithm::RSA | PublicKeyAlgorithm::EdDSALegacy)
    {
        return Ok(());
    }
    Err(format!(
        "a {algorithm:?} key of version {}, which rpm on a board may not know: \
         make an RSA key of version 4 with 'moji-server key --new FILE'",
        u8::from(version)
    ))
}

/// Takes the passphrase off, if there is one.
fn unlock(
    is_locked: bool,
    passphrase: Option<&str>,
    mut remove: impl FnMut(&Password) -> Result<(), pgp::errors::Error>,
) -> Result<(), String> {
    match (is_locked, passphrase) {
        (false, _) => Ok(()),
        (true, None) => Err("is protected by a passphrase: give --sign-passphrase-file FILE".to_owned()),
        (true, Some(text)) => remove(&Password::from(text))
            .map_err(|_| "the passphrase in --sign-passphrase-file does not open this key".to_owned()),
    }
}

fn armored_public(key: &SignedPublicKey) -> String {
    key.to_armored_string(ArmorOptions::default()).expect("memory takes all that is written to it")
}

/// Makes a key for `name`, without passphrase, in a new file that only its owner may read. Takes seconds.
///
/// # Errors
/// [`SignKeyError::File`], also when there is such a file already.
pub fn make(path: &Path, name: &str) -> Result<(), SignKeyError> {
    let fail = |error| SignKeyError::File(path.to_owned(), error);
    // First, so that seconds of work are not for nothing.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let what = "is there already, and no key is overwritten: choose another name".to_owned();
            SignKeyError::Content(path.to_owned(), what)
        }
        _ => fail(error),
    })?;
    let made = SecretKeyParamsBuilder::default()
        .key_type(KeyType::Rsa(RSA_BITS))
        .can_certify(true)
        .can_sign(true)
        .primary_user_id(name.to_owned())
        .build()
        .map_err(|error| error.to_string())
        .and_then(|params| params.generate(rand::rngs::OsRng).map_err(|error| error.to_string()))
        .and_then(|key| key.to_armored_string(ArmorOptions::default()).map_err(|error| error.to_string()));
    let written = made.map_err(io::Error::other).and_then(|text| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| {
        let _ = std::fs::remove_file(path);
        fail(error)
    })
}

/// The public key of a secret key in a file, armored, and its fingerprint. Needs no passphrase.
///
/// # Errors
/// [`SignKeyError`].
pub fn public_of(path: &Path) -> Result<(String, String), SignKeyError> {
    let bad = |what: String| SignKeyError::Content(path.to_owned(), what);
    let (bytes, _) = read(path)?;
    let (mut keys, _) = SignedSecretKey::from_reader_many(&bytes[..]).map_err(|_| bad(no_key(&bytes)))?;
    let key = keys.next().and_then(Result::ok).ok_or_else(|| bad(no_key(&bytes)))?;
    let public = key.to_public_key();
    Ok((armored_public(&public), public.primary_key.fingerprint().to_string().to_uppercase()))
}
