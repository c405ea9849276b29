//! The three handshake messages, over `snow`.
//!
//! Owns the pattern's name and how each side reads and writes its messages. Knows no buffers,
//! versions or roles.
//!
//! A responder has several secrets to try on the third message. `snow` 0.10 restores its hashes
//! after a message that did not decrypt, but neither its cipher's key nor the nonce, so that a
//! second try would always fail. Each further secret therefore gets a responder of its own, played
//! forward to the same point with the same ephemeral key: four multiplications on the curve.

use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifier, HandshakeModifierList,
    HandshakePattern, HashChoice, NoiseParams,
};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{HandshakeState, TransportState};
use zeroize::Zeroizing;

use crate::curve::X25519;
use crate::hello::{HELLO_BYTES, WELCOME_BYTES};
use crate::ids::PublicKey;
use crate::secret::{Psk, SecretKey};

/// Frozen until release 1.0 and beyond: a peer with another one reads noise.
const PATTERN: &str = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s";
const DH: DHChoice = DHChoice::Curve25519;
const CIPHER: CipherChoice = CipherChoice::ChaChaPoly;
const HASH: HashChoice = HashChoice::Blake2s;
/// Where `psk3` puts the shared secret: at the end of the third message.
const PSK_AT: u8 = 3;

/// First message: ephemeral key, tag of the empty payload.
pub(super) const FIRST_BYTES: usize = 32 + 16;
/// Second message: ephemeral key, static key and `Welcome` with a tag each.
pub(super) const SECOND_BYTES: usize = 32 + 32 + 16 + WELCOME_BYTES + 16;
/// Third message: static key with a tag, tag of the empty payload.
pub(super) const THIRD_BYTES: usize = 32 + 16 + 16;

/// A handshake message does not decrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// The initiator's side.
pub(super) struct Call(HandshakeState);

impl Call {
    /// Begins, and gives the first message.
    pub(super) fn new(
        key: &SecretKey,
        psk: &Psk,
        hello: &[u8; HELLO_BYTES],
        ephemeral: &[u8; 32],
    ) -> (Call, [u8; FIRST_BYTES]) {
        let mut state = start(key, hello, ephemeral, X25519::boxed).build_initiator().expect(BUILT);
        state.set_psk(PSK_AT.into(), psk.as_bytes()).expect("a secret has 32 bytes");
        let mut first = [0; FIRST_BYTES];
        write(&mut state, &[], &mut first);
        (Call(state), first)
    }

    /// Reads the second message: who the hub is, and its `Welcome`.
    pub(super) fn read_second(
        &mut self,
        second: &[u8; SECOND_BYTES],
    ) -> Result<(PublicKey, [u8; WELCOME_BYTES]), Damaged> {
        let mut welcome = [0; WELCOME_BYTES];
        self.0.read_message(second, &mut welcome).map_err(|_| Damaged)?;
        Ok((peer(&self.0).ok_or(Damaged)?, welcome))
    }

    /// Gives the third message; records follow.
    pub(super) fn write_third(mut self) -> (TransportState, [u8; THIRD_BYTES]) {
        let mut third = [0; THIRD_BYTES];
        write(&mut self.0, &[], &mut third);
        (self.0.into_transport_mode().expect("the third message is the last"), third)
    }
}

/// The responder's side once it has answered.
pub(super) struct Answer {
    state: HandshakeState,
    // What it takes to come to this point once more.
    key: SecretKey,
    hello: [u8; HELLO_BYTES],
    first: [u8; FIRST_BYTES],
    welcome: [u8; WELCOME_BYTES],
    ephemeral: Zeroizing<[u8; 32]>,
}

impl Answer {
    /// Reads the first message, and gives the second. Asks `fresh` for ephemeral secrets until one
    /// has a public half that cannot be taken for a refusal.
    pub(super) fn new(
        key: SecretKey,
        hello: &[u8; HELLO_BYTES],
        first: &[u8; FIRST_BYTES],
        welcome: &[u8; WELCOME_BYTES],
        mut fresh: impl FnMut() -> [u8; 32],
    ) -> Result<(Answer, [u8; SECOND_BYTES]), Damaged> {
        loop {
            let ephemeral = Zeroizing::new(fresh());
            let (state, second) = answer(&key, hello, first, welcome, &ephemeral)?;
            if !second.starts_with(&[0, 0]) {
                let answer =
                    Answer { state, key, hello: *hello, first: *first, welcome: *welcome, ephemeral };
                return Ok((answer, second));
            }
        }
    }

    /// Reads the third message with each secret in turn. Gives the channel, who the peer is and
    /// which secret fitted; nothing if none did.
    pub(super) fn read_third(
        self,
        third: &[u8; THIRD_BYTES],
        secrets: &[Psk],
    ) -> Result<Option<(TransportState, PublicKey, usize)>, Damaged> {
        let Answer { mut state, key, hello, first, welcome, ephemeral } = self;
        for (i, secret) in secrets.iter().enumerate() {
            if i > 0 {
                (state, _) = answer(&key, &hello, &first, &welcome, &ephemeral)?;
            }
            state.set_psk(PSK_AT.into(), secret.as_bytes()).expect("a secret has 32 bytes");
            let read = state.read_message(third, &mut []);
            // The static key comes before the secret: if even that did not decrypt, none will fit.
            let peer = peer(&state).ok_or(Damaged)?;
            if read.is_ok() {
                let transport = state.into_transport_mode().expect("the third message is the last");
                return Ok(Some((transport, peer, i)));
            }
        }
        Ok(None)
    }
}

fn answer(
    key: &SecretKey,
    hello: &[u8; HELLO_BYTES],
    first: &[u8; FIRST_BYTES],
    welcome: &[u8; WELCOME_BYTES],
    ephemeral: &[u8; 32],
) -> Result<(HandshakeState, [u8; SECOND_BYTES]), Damaged> {
    let mut state = start(key, hello, ephemeral, snows_curve).build_responder().expect(BUILT);
    state.read_message(first, &mut []).map_err(|_| Damaged)?;
    let mut second = [0; SECOND_BYTES];
    write(&mut state, welcome, &mut second);
    Ok((state, second))
}

/// What a failed start would contradict.
const BUILT: &str = "snow is built with these primitives";

fn start<'a>(
    key: &'a SecretKey,
    hello: &'a [u8; HELLO_BYTES],
    ephemeral: &[u8; 32],
    curve: Curve,
) -> snow::Builder<'a> {
    let resolver = Box::new(Primitives { ephemeral: Ephemeral(Zeroizing::new(*ephemeral)), curve });
    snow::Builder::with_resolver(params(), resolver)
        .local_private_key(key.as_bytes())
        .and_then(|builder| builder.prologue(hello))
        .expect("each is set once")
}

/// What [`PATTERN`] says. Not parsed: with the primitives it might name, that was 7 kB of the client.
fn params() -> NoiseParams {
    let modifiers = HandshakeModifierList { list: vec![HandshakeModifier::Psk(PSK_AT)] };
    let handshake = HandshakeChoice { pattern: HandshakePattern::XX, modifiers };
    NoiseParams::new(PATTERN.to_owned(), BaseChoice::Noise, handshake, DH, CIPHER, HASH)
}

fn write(state: &mut HandshakeState, payload: &[u8], message: &mut [u8]) {
    let written = state.write_message(payload, message).expect("it is our turn and the message fits");
    assert_eq!(written, message.len(), "a handshake message has a fixed length");
}

fn peer(state: &HandshakeState) -> Option<PublicKey> {
    state.get_remote_static()?.try_into().ok().map(PublicKey)
}

/// Makes an object that multiplies on the curve.
type Curve = fn() -> Box<dyn Dh>;

/// `snow`'s own primitives, but for what is given. Answers for the ones above only, by name, so that the linker can
/// leave out the rest.
struct Primitives {
    ephemeral: Ephemeral,
    curve: Curve,
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Ephemeral(self.ephemeral.0.clone())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        (*choice == DH).then(self.curve)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        if *choice == HASH { DefaultResolver.resolve_hash(&HASH) } else { None }
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        if *choice == CIPHER { DefaultResolver.resolve_cipher(&CIPHER) } else { None }
    }
}

/// One given ephemeral secret as all randomness: a handshake draws nothing else.
struct Ephemeral(Zeroizing<[u8; 32]>);

impl Random for Ephemeral {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        if dest.len() != self.0.len() {
            return Err(snow::Error::Rng);
        }
        dest.copy_from_slice(&*self.0);
        Ok(())
    }
}

/// For the hub, which shakes many hands: twice as fast for public keys as [`X25519`], where AVX2 is.
fn snows_curve() -> Box<dyn Dh> {
    DefaultResolver.resolve_dh(&DH).expect(BUILT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_are_what_the_pattern_says() {
        assert_eq!(params(), PATTERN.parse().unwrap());
    }

    #[test]
    fn the_ladder_agrees_with_snows_curve() {
        let (mut ours, mut theirs) = (X25519::boxed(), snows_curve());
        let mut point = [9; 32];
        for n in 0..=20 {
            let secret = [n * 12; 32];
            ours.set(&secret);
            theirs.set(&secret);
            assert_eq!((ours.pubkey(), ours.privkey()), (theirs.pubkey(), theirs.privkey()));
            let (mut one, mut other) = ([0; 32], [0; 32]);
            ours.dh(&point, &mut one).unwrap();
            theirs.dh(&point, &mut other).unwrap();
            assert_eq!(one, other);
            point = one;
        }
        assert_eq!(
            (ours.name(), ours.pub_len(), ours.priv_len()),
            (theirs.name(), theirs.pub_len(), theirs.priv_len())
        );
        let mut zeros = [1; 32];
        ours.dh(&[0; 32], &mut zeros).unwrap();
        assert_eq!(zeros, [0; 32], "as Noise wants it");
    }
}
