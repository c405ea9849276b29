//! X25519, the curve of the handshake and of all keys.
//!
//! Owns how `curve25519-dalek` multiplies for the builder and for [`crate::secret`]; the hub's handshakes take
//! `snow`'s own way. Knows no messages.

use curve25519_dalek::constants::X25519_BASEPOINT;
use curve25519_dalek::montgomery::MontgomeryPoint;
use snow::types::{Dh, Random};
use zeroize::{Zeroize as _, Zeroizing};

/// X25519 (RFC 7748) by the Montgomery ladder alone, for the builder: without the Edwards curve, which `snow` takes
/// for public keys, the client is 9 kB smaller.
pub(crate) struct X25519 {
    secret: [u8; 32],
    public: [u8; 32],
}

impl X25519 {
    /// One without a key.
    pub(crate) fn boxed() -> Box<dyn Dh> {
        Box::new(X25519 { secret: [0; 32], public: [0; 32] })
    }
}

impl Drop for X25519 {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = public(&self.secret);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *secret)?;
        self.set(&*secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.secret
    }

    /// Noise, section 12.1: a result of zeros is no error.
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let point = public.get(..32).and_then(|bytes| bytes.try_into().ok()).ok_or(snow::Error::Dh)?;
        out[..32].copy_from_slice(&MontgomeryPoint(point).mul_clamped(self.secret).to_bytes());
        Ok(())
    }
}

/// The public key of a secret one, by RFC 7748, section 6.1.
pub(crate) fn public(secret: &[u8; 32]) -> [u8; 32] {
    X25519_BASEPOINT.mul_clamped(*secret).to_bytes()
}
