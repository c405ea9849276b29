//! The wire: messages, handshake, records.
//!
//! Owns one function a target. Also included by `proto/tests/fuzz_smoke.rs`, which needs no libFuzzer. A finding is a
//! panic.

use std::fmt::Debug;

use moji_proto::PublicKey;
use moji_proto::channel::{Accept, Channel, ChannelError, Connect, Event};
use moji_proto::hello::{Role, Versions};
use moji_proto::message::{FromBuilder, FromOperator, Message, ToBuilder, ToOperator};
use moji_proto::order::Order;
use moji_proto::secret::{Psk, SecretKey};

/// Decodes `data` as each of the four enums; what decodes is the same after another round.
pub(crate) fn decode(data: &[u8]) {
    decode_as::<FromBuilder>(data);
    decode_as::<ToBuilder>(data);
    decode_as::<FromOperator>(data);
    decode_as::<ToOperator>(data);
}

/// Reads `data` as what a builder says: one message, then a session of them, each after its length, a byte.
pub(crate) fn builder(data: &[u8]) {
    decode_as::<FromBuilder>(data);
    let (mut order, mut rest) = (Order::default(), data);
    while let [len, tail @ ..] = rest {
        let (said, after) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = after;
        let Ok(message) = FromBuilder::decode(said) else { continue };
        let before = order.state();
        if order.admit(&message).is_err() {
            assert_eq!(order.state(), before, "what is refused changes nothing: {message:?}");
        }
    }
}

/// Reads `data` as what a hub says, to a builder and to an operator.
pub(crate) fn hub(data: &[u8]) {
    decode_as::<ToBuilder>(data);
    decode_as::<ToOperator>(data);
}

/// Reads `data` as what an operator says.
pub(crate) fn operator(data: &[u8]) {
    decode_as::<FromOperator>(data);
}

fn decode_as<M: Message + Debug + PartialEq>(data: &[u8]) {
    let Ok(message) = M::decode(data) else { return };
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    // Shorter where a number was not written in the shortest way.
    assert!(bytes.len() <= data.len(), "{message:?} grew");
    assert_eq!(M::decode(&bytes).as_ref(), Ok(&message));
}

/// Lets two ends talk and changes what they say as `data` tells: `[stage, piece, rest…]`. At stage
/// 0 and 1 `rest` is all that an acceptor or initiator hears. At stages 2 to 6 it changes the
/// first, second or third handshake message, or the records to the hub or to the builder.
/// Everything arrives in pieces of `piece` bytes.
pub(crate) fn handshake(data: &[u8]) {
    let [stage, piece, rest @ ..] = data else { return };
    let piece = match piece {
        0 => usize::MAX,
        n => usize::from(*n),
    };
    let (mut caller, mut accepter, hello) = ends();
    match stage % 7 {
        0 => stranger(&mut accepter, piece, rest),
        1 => stranger(&mut caller, piece, rest),
        stage => conversation(&mut caller, &mut accepter, hello, piece, stage, rest),
    }
}

/// As [`handshake`], but only what becomes of changed records.
pub(crate) fn records(data: &[u8]) {
    let [stage, rest @ ..] = data else { return };
    handshake(&[&[5 + stage % 2], rest].concat());
}

/// Two ends that fit, and what the initiator said.
fn ends() -> (Channel, Channel, Vec<u8>) {
    let (builder, hub) = (SecretKey::from_bytes([2; 32]), SecretKey::from_bytes([1; 32]));
    let secrets = [Psk::from_bytes([6; 32]), Psk::from_bytes([7; 32])];
    let accepter = Channel::accept(Accept {
        versions: Versions::OURS,
        key: &hub,
        builder_secrets: &secrets,
        operator_secrets: &secrets[..1],
    });
    let mut hello = Vec::new();
    let connect = Connect {
        role: Role::Builder,
        versions: Versions::OURS,
        key: &builder,
        psk: secrets[1].clone(),
        hub_key: Some(hub_key()),
    };
    (Channel::connect(connect, &mut hello), accepter, hello)
}

/// The public half of the hub's key, computed once: it costs as much as a handshake's step.
fn hub_key() -> PublicKey {
    static KEY: std::sync::OnceLock<PublicKey> = std::sync::OnceLock::new();
    *KEY.get_or_init(|| SecretKey::from_bytes([1; 32]).public())
}

/// A peer that knows no secret gets nothing but a refusal.
fn stranger(channel: &mut Channel, piece: usize, said: &[u8]) {
    let mut out = Vec::new();
    let (events, error) = deliver(channel, piece, said, &mut out);
    assert!(!channel.established());
    assert!(out.len() <= 112, "at most one handshake message");
    match (events.as_slice(), error) {
        ([], _) | ([Event::Refused(_)], None | Some(ChannelError::Over)) => {}
        other => panic!("a stranger brought about {other:?}"),
    }
}

/// Runs the whole conversation with the bytes of one stage changed.
fn conversation(
    caller: &mut Channel,
    accepter: &mut Channel,
    hello: Vec<u8>,
    piece: usize,
    stage: u8,
    edits: &[u8],
) {
    let change = |at: u8, wire: &mut Vec<u8>| at == stage && edit(wire, edits);
    let (mut first, mut second, mut third) = (hello, Vec::new(), Vec::new());
    let changed = change(2, &mut first);
    let (events, _) = deliver(accepter, piece, &first, &mut second);
    assert!(events.is_empty());
    if changed && second.is_empty() {
        return assert!(!accepter.established());
    }
    // Bytes after the first message, or none missing: the answer came.
    let changed = change(3, &mut second) || changed;
    let (events, _) = deliver(caller, piece, &second, &mut third);
    if changed && !matches!(events[..], [Event::Established { .. }, ..]) {
        return assert!(third.is_empty() && !caller.established());
    }
    assert_eq!(third.len(), 64, "an unchanged second message is answered");
    let changed = change(4, &mut third) || changed;
    let (events, _) = deliver(accepter, piece, &third, &mut Vec::new());
    if changed && !matches!(events[..], [Event::Established { secret: 1, .. }, ..]) {
        return assert!(events.is_empty() && !accepter.established());
    }
    assert!(matches!(events[..], [Event::Established { secret: 1, role: Role::Builder, .. }]));
    if !accepter.established() || !caller.established() {
        return assert!(changed, "an unchanged handshake opens the channel");
    }
    let to_builder = stage == 6;
    let (from, to) = if to_builder { (accepter, caller) } else { (caller, accepter) };
    arrive(from, to, piece, |wire| change(if to_builder { 6 } else { 5 }, wire) || changed);
}

/// Whatever happens on the way, only a beginning of what was sent arrives.
fn arrive(from: &mut Channel, to: &mut Channel, piece: usize, change: impl FnOnce(&mut Vec<u8>) -> bool) {
    let plains = [vec![1; 1], vec![2; 300], vec![3; 2_000], vec![4; 17]];
    let mut wire = Vec::new();
    plains.iter().for_each(|plain| from.seal(plain, &mut wire).expect("the channel is open"));
    let changed = change(&mut wire);
    let (events, error) = deliver(to, piece, &wire, &mut Vec::new());
    for (i, event) in events.iter().enumerate() {
        match event {
            Event::Record(plain) => assert_eq!(Some(plain), plains.get(i), "only what was sent arrives"),
            Event::Refused(_) => assert!(changed && i == 0, "a refusal replaces the first record"),
            Event::Established { .. } => panic!("established twice"),
        }
    }
    assert!(changed || (error.is_none() && events.len() == plains.len()));
}

/// Changes `wire` by runs of four bytes of `edits`: what, where (two bytes), and with what.
/// Says whether anything is different.
fn edit(wire: &mut Vec<u8>, edits: &[u8]) -> bool {
    let before = wire.clone();
    for edit in edits.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([edit[1], edit[2]]));
        let at = at % (wire.len() + 1);
        match edit[0] % 4 {
            0 => wire.truncate(at),
            1 => wire.insert(at, edit[3]),
            2 if at < wire.len() => drop(wire.remove(at)),
            _ if at < wire.len() => wire[at] ^= edit[3],
            _ => {}
        }
    }
    *wire != before
}

/// Hands `input` over in pieces. Gives the events, and the error that ended them.
fn deliver(
    channel: &mut Channel,
    piece: usize,
    input: &[u8],
    out: &mut Vec<u8>,
) -> (Vec<Event>, Option<ChannelError>) {
    let mut events = Vec::new();
    for mut part in input.chunks(piece) {
        while !part.is_empty() {
            match channel.receive(part, out) {
                Ok((taken, event)) => {
                    assert!(taken <= part.len());
                    assert!(event.is_some() || taken == part.len(), "bytes are left without an event");
                    events.extend(event);
                    part = &part[taken..];
                }
                Err(error) => {
                    assert_eq!(channel.receive(part, out), Err(ChannelError::Over));
                    assert!(!channel.established() && !channel.is_partial());
                    return (events, Some(error));
                }
            }
        }
    }
    (events, None)
}
