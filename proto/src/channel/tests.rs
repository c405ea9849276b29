//! Tests of the channel: two ends in one process, bytes carried by hand.

use super::*;
use crate::ids::Digest;
use crate::message::{FromBuilder, Health, ToBuilder};

/// Whatever this program speaks now: the bytes below were made for it.
const OURS: Versions = Versions { low: 1, high: 1 };

fn hub() -> SecretKey {
    SecretKey::from_bytes([1; 32])
}

fn builder() -> SecretKey {
    SecretKey::from_bytes([2; 32])
}

fn psk(n: u8) -> Psk {
    Psk::from_bytes([n; 32])
}

/// Both ends with their defaults; a test changes what it is about.
struct Pair {
    role: Role,
    calls: Versions,
    answers: Versions,
    psk: Psk,
    pinned: Option<PublicKey>,
    builder_secrets: Vec<Psk>,
    operator_secrets: Vec<Psk>,
}

impl Default for Pair {
    fn default() -> Pair {
        Pair {
            role: Role::Builder,
            calls: OURS,
            answers: OURS,
            psk: psk(7),
            pinned: Some(hub().public()),
            builder_secrets: vec![psk(7)],
            operator_secrets: vec![psk(8)],
        }
    }
}

impl Pair {
    fn ends(&self, out: &mut Vec<u8>) -> (Channel, Channel) {
        let (caller, hub_key) = (builder(), hub());
        let accept = Accept {
            versions: self.answers,
            key: &hub_key,
            builder_secrets: &self.builder_secrets,
            operator_secrets: &self.operator_secrets,
        };
        let connect = Connect {
            role: self.role,
            versions: self.calls,
            key: &caller,
            psk: self.psk.clone(),
            hub_key: self.pinned,
        };
        (Channel::connect_with(connect, &[3; 32], out), Channel::accept(accept))
    }

    /// Runs the handshake and gives both ends, or what the first end to fail said.
    fn open(&self) -> Result<(Channel, Channel, Event), ChannelError> {
        let (mut to_hub, mut to_builder) = (Vec::new(), Vec::new());
        let (mut caller, mut accepter) = self.ends(&mut to_hub);
        assert_eq!(deliver(&mut accepter, &to_hub, 1000, &mut to_builder)?, []);
        to_hub.clear();
        deliver(&mut caller, &to_builder, 1000, &mut to_hub)?;
        let mut events = deliver(&mut accepter, &to_hub, 1000, &mut to_builder)?;
        assert_eq!(events.len(), 1);
        Ok((caller, accepter, events.remove(0)))
    }
}

/// Hands `input` over in pieces of at most `piece` bytes and collects the events.
fn deliver(
    channel: &mut Channel,
    input: &[u8],
    piece: usize,
    out: &mut Vec<u8>,
) -> Result<Vec<Event>, ChannelError> {
    let mut events = Vec::new();
    for mut part in input.chunks(piece) {
        while !part.is_empty() {
            let (taken, event) = channel.receive(part, out)?;
            assert!(taken > 0 && (event.is_some() || taken == part.len()));
            events.extend(event);
            part = &part[taken..];
        }
    }
    Ok(events)
}

#[test]
fn handshake_and_records_survive_pieces_of_any_size() {
    let plains = [vec![1], vec![2; 600], vec![3; MESSAGE_BYTES_MAX], vec![4; 1_025], vec![5]];
    for piece in [1, 2, 3, 15, 16, 63, 64, 65, 1_000, 32_770, usize::MAX] {
        let (mut to_hub, mut to_builder) = (Vec::new(), Vec::new());
        let (mut caller, mut accepter) = Pair::default().ends(&mut to_hub);
        assert_eq!(to_hub.len(), 16 + 48);
        assert!(deliver(&mut accepter, &to_hub, piece, &mut to_builder).unwrap().is_empty());
        assert_eq!(to_builder.len(), 112);
        to_hub.clear();
        let events = deliver(&mut caller, &to_builder, piece, &mut to_hub).unwrap();
        let peer = hub().public();
        assert_eq!(events, [Event::Established { peer, role: Role::Builder, version: OURS.high, secret: 0 }]);
        assert_eq!(to_hub.len(), 64);
        // The third message and records come in one go.
        plains.iter().for_each(|plain| caller.seal(plain, &mut to_hub).unwrap());
        let mut want = vec![Event::Established {
            peer: builder().public(),
            role: Role::Builder,
            version: OURS.high,
            secret: 0,
        }];
        want.extend(plains.iter().cloned().map(Event::Record));
        to_builder.clear();
        assert_eq!(deliver(&mut accepter, &to_hub, piece, &mut to_builder).unwrap(), want, "{piece}");
        assert!(to_builder.is_empty());
        // And back.
        plains.iter().for_each(|plain| accepter.seal(plain, &mut to_builder).unwrap());
        let events = deliver(&mut caller, &to_builder, piece, &mut Vec::new()).unwrap();
        assert_eq!(events, want[1..], "{piece}");
        assert!(!caller.is_partial() && !accepter.is_partial());
    }
}

#[test]
fn the_bytes_of_version_1_do_not_change() {
    let mut wire = Vec::new();
    let first = Versions { low: 1, high: 1 };
    let (mut caller, _) = Pair { calls: first, ..Pair::default() }.ends(&mut wire);
    assert_eq!(&wire[..16], b"moji\0\x01\0\x01\0\x01\0\0\0\0\0\0");
    let (hello, opening) = (*wire.first_chunk().unwrap(), wire[16..].try_into().unwrap());
    let welcome = Welcome { chosen: 1, versions: first }.to_bytes();
    let (answer, second) = Answer::new(hub(), &hello, &opening, &welcome, || [4; 32]).unwrap();
    wire.extend_from_slice(&second);
    let mut third = Vec::new();
    caller.receive(&second, &mut third).unwrap();
    caller.seal(b"over", &mut third).unwrap();
    wire.extend_from_slice(&third);
    let (mut noise, peer, _) = answer.read_third(third.first_chunk().unwrap(), &[psk(7)]).unwrap().unwrap();
    assert_eq!(peer, builder().public());
    let mut plain = [0; 4];
    noise.read_message(&third[66..], &mut plain).unwrap();
    assert_eq!(&plain, b"over");
    // The digest was computed with another implementation of Noise, over Python's cryptography.
    assert_eq!(wire.len(), 16 + 48 + 112 + 64 + 2 + 20);
    assert_eq!(
        Digest::of(&wire).to_string(),
        "0fafc37084be52c8e22d83f65369afa8184e9d38b557d7c8f80113a2e6180e6b"
    );
}

#[test]
fn messages_travel() {
    let (mut caller, mut accepter, _) = Pair::default().open().unwrap();
    let ping = FromBuilder::Ping { health: Health::default() };
    let (mut wire, mut back) = (Vec::new(), Vec::new());
    caller.send(&ping, &mut wire).unwrap();
    let Ok((_, Some(Event::Record(plain)))) = accepter.receive(&wire, &mut back) else { panic!() };
    assert_eq!(FromBuilder::decode(&plain), Ok(ping));
    accepter.send(&ToBuilder::Pong, &mut back).unwrap();
    let Ok((_, Some(Event::Record(plain)))) = caller.receive(&back, &mut wire) else { panic!() };
    assert_eq!(ToBuilder::decode(&plain), Ok(ToBuilder::Pong));
}

#[test]
fn a_false_hub_learns_nothing() {
    let pinned = SecretKey::from_bytes([9; 32]).public();
    let (mut to_hub, mut to_builder) = (Vec::new(), Vec::new());
    let (mut caller, mut accepter) = Pair { pinned: Some(pinned), ..Pair::default() }.ends(&mut to_hub);
    deliver(&mut accepter, &to_hub, 1000, &mut to_builder).unwrap();
    to_hub.clear();
    let error = caller.receive(&to_builder, &mut to_hub).unwrap_err();
    assert_eq!(error, ChannelError::WrongHubKey { pinned, offered: hub().public() });
    assert!(to_hub.is_empty());
    assert_eq!(caller.receive(b"x", &mut to_hub), Err(ChannelError::Over));
    // Without a pinned key any hub is taken, and named.
    assert!(Pair { pinned: None, ..Pair::default() }.open().is_ok());
}

#[test]
fn without_a_common_version_both_sides_name_both_ranges() {
    let v = |low, high| Versions { low, high };
    for (calls, answers) in [(v(1, 2), v(3, 4)), (v(5, 6), v(3, 4)), (v(2, 1), v(1, 9)), (v(0, 0), v(0, 4))] {
        let (mut to_hub, mut to_builder) = (Vec::new(), Vec::new());
        let (mut caller, mut accepter) = Pair { calls, answers, ..Pair::default() }.ends(&mut to_hub);
        let error = deliver(&mut accepter, &to_hub, 1, &mut to_builder).unwrap_err();
        assert_eq!(error, ChannelError::NoCommonVersion { ours: answers, theirs: calls });
        assert_eq!(Channel::refusal(&error), Some(Refusal::Version));
        to_hub.clear();
        // The answer came before the refusal and tells more.
        to_builder.extend_from_slice(&Refusal::Version.to_bytes());
        let error = deliver(&mut caller, &to_builder, 1, &mut to_hub).unwrap_err();
        assert_eq!(error, ChannelError::NoCommonVersion { ours: calls, theirs: answers });
        assert!(to_hub.is_empty());
    }
}

#[test]
fn a_version_that_was_not_offered_is_refused() {
    for chosen in [OURS.high + 1, u16::MAX] {
        let mut wire = Vec::new();
        let (mut caller, _) = Pair::default().ends(&mut wire);
        let (hello, first) = (*wire.first_chunk().unwrap(), wire[16..].try_into().unwrap());
        let welcome = Welcome { chosen, versions: OURS }.to_bytes();
        let (_, second) = Answer::new(hub(), &hello, &first, &welcome, || [4; 32]).unwrap();
        let mut third = Vec::new();
        assert_eq!(caller.receive(&second, &mut third), Err(ChannelError::BadWelcome(chosen)));
        assert!(third.is_empty());
    }
}

#[test]
fn each_role_opens_with_its_own_secrets_only() {
    let secrets = Pair {
        builder_secrets: vec![psk(1), psk(2), psk(3)],
        operator_secrets: vec![psk(4), psk(5)],
        ..Pair::default()
    };
    for (role, own) in [(Role::Builder, 1..=3), (Role::Operator, 4..=5)] {
        for n in 0..=6 {
            let pair = Pair {
                role,
                psk: psk(n),
                builder_secrets: secrets.builder_secrets.clone(),
                operator_secrets: secrets.operator_secrets.clone(),
                ..Pair::default()
            };
            let peer = builder().public();
            let index = usize::from(n.saturating_sub(*own.start()));
            let want = if own.contains(&n) {
                Ok(Event::Established { peer, role, version: OURS.high, secret: index })
            } else {
                Err(ChannelError::WrongSecret)
            };
            let got = pair.open();
            assert_eq!(got.as_ref().map(|(_, _, event)| event.clone()).map_err(|error| *error), want);
            // A later secret makes as good a channel as the first.
            if let Ok((mut caller, mut accepter, _)) = got {
                let (mut wire, mut back) = (Vec::new(), Vec::new());
                caller.seal(b"there", &mut wire).unwrap();
                let want = Some(Event::Record(b"there".to_vec()));
                assert_eq!(accepter.receive(&wire, &mut back).unwrap().1, want);
                accepter.seal(b"there", &mut back).unwrap();
                assert_eq!(caller.receive(&back, &mut wire).unwrap().1, want);
            }
        }
    }
    let nobody = Pair { builder_secrets: vec![], psk: Psk::NONE, ..Pair::default() };
    assert_eq!(nobody.open().err(), Some(ChannelError::WrongSecret));
    assert_eq!(Channel::refusal(&ChannelError::WrongSecret), Some(Refusal::Secret));
}

#[test]
fn a_refusal_is_heard_before_the_handshake_and_before_the_first_record_only() {
    for piece in [1, 2, 3] {
        for code in 0..=255 {
            let want = Refusal::from_code(code)
                .map(|refusal| vec![Event::Refused(refusal)])
                .ok_or(ChannelError::UnknownRefusal(code));
            let (mut calling, _) = Pair::default().ends(&mut Vec::new());
            assert_eq!(deliver(&mut calling, &[0, 0, code], piece, &mut Vec::new()), want);
            assert!(!calling.established() && !calling.is_partial());

            let (mut caller, _, _) = Pair::default().open().unwrap();
            assert_eq!(deliver(&mut caller, &[0, 0, code], piece, &mut Vec::new()), want);
            assert_eq!(caller.seal(b"x", &mut Vec::new()), Err(ChannelError::Over));
        }
        let (mut caller, mut accepter, _) = Pair::default().open().unwrap();
        let mut wire = Vec::new();
        accepter.seal(b"first", &mut wire).unwrap();
        assert_eq!(deliver(&mut caller, &wire, piece, &mut Vec::new()).unwrap().len(), 1);
        let late = deliver(&mut caller, &[0, 0, 5], piece, &mut Vec::new());
        assert_eq!(late, Err(ChannelError::TooShort(0)));
        // A hub is never refused.
        let (_, mut accepter, _) = Pair::default().open().unwrap();
        let late = deliver(&mut accepter, &[0, 0, 5], piece, &mut Vec::new());
        assert_eq!(late, Err(ChannelError::TooShort(0)));
    }
}

#[test]
fn an_answer_never_looks_like_a_refusal() {
    // A secret whose public half begins with two zeros: one in 65,536 does.
    let secret = "54e7510e799b3f8f1395620982a3d18adbf91d287695c5721944a5014a5212fd";
    let PublicKey(zeros) = secret.parse().unwrap();
    assert!(SecretKey::from_bytes(zeros).public().0.starts_with(&[0, 0]));
    let mut wire = Vec::new();
    let _ = Pair::default().ends(&mut wire);
    let (hello, first) = (*wire.first_chunk().unwrap(), wire[16..].try_into().unwrap());
    let mut supply = [[4; 32], zeros, zeros].to_vec();
    let welcome = Welcome { chosen: 1, versions: OURS }.to_bytes();
    let answer = Answer::new(hub(), &hello, &first, &welcome, || supply.pop().unwrap());
    assert!(!answer.unwrap().1.starts_with(&[0, 0]));
    assert!(supply.is_empty());
}

#[test]
fn strangers_are_told_why() {
    for (first, want, refusal) in [
        (&b"GET / HTTP/1.1\r\n"[..], ChannelError::BadMagic, Refusal::Garbage),
        (b"moji\0\x03\0\x01\0\x01\0\0\0\0\0\0", ChannelError::UnknownRole(3), Refusal::Role),
    ] {
        for piece in [1, 16] {
            let (_, mut accepter) = Pair::default().ends(&mut Vec::new());
            let error = deliver(&mut accepter, first, piece, &mut Vec::new()).unwrap_err();
            assert_eq!(error, want);
            assert_eq!(Channel::refusal(&error), Some(refusal));
            assert!(!accepter.is_partial());
        }
    }
}

#[test]
fn one_flipped_bit_anywhere_in_the_handshake_ends_it() {
    for at in 0..16 + 48 {
        let (mut wire, mut back) = (Vec::new(), Vec::new());
        let (_, mut accepter) = Pair::default().ends(&mut wire);
        wire[at] ^= 0x80;
        let error = deliver(&mut accepter, &wire, 1000, &mut back).unwrap_err();
        let want = match at {
            0..5 => ChannelError::BadMagic,
            5 => ChannelError::UnknownRole(0x81),
            _ => ChannelError::DamagedHandshake,
        };
        assert_eq!(error, want, "first message, byte {at}");
        assert!(back.is_empty());
    }
    let (mut wire, mut second) = (Vec::new(), Vec::new());
    let (_, mut accepter) = Pair::default().ends(&mut wire);
    deliver(&mut accepter, &wire, 1000, &mut second).unwrap();
    for at in 0..112 {
        let (mut caller, _) = Pair::default().ends(&mut Vec::new());
        let mut damaged = second.clone();
        damaged[at] ^= 1;
        let mut third = Vec::new();
        let error = deliver(&mut caller, &damaged, 1000, &mut third).unwrap_err();
        assert_eq!(error, ChannelError::DamagedHandshake, "second message, byte {at}");
        assert!(third.is_empty());
    }
    for at in 0..64 {
        let (mut wire, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
        let (mut caller, mut accepter) = Pair::default().ends(&mut wire);
        deliver(&mut accepter, &wire, 1000, &mut second).unwrap();
        deliver(&mut caller, &second, 1000, &mut third).unwrap();
        third[at] ^= 1;
        let error = deliver(&mut accepter, &third, 1000, &mut Vec::new()).unwrap_err();
        // Damage to the last tag cannot be told from a wrong secret.
        let want = if at < 48 { ChannelError::DamagedHandshake } else { ChannelError::WrongSecret };
        assert_eq!(error, want, "third message, byte {at}");
    }
}

#[test]
fn a_record_length_out_of_bounds_is_refused_before_its_bytes_come() {
    for length in (0..17).chain([32_769, 40_000, 65_535]) {
        let (_, mut accepter, _) = Pair::default().open().unwrap();
        let header = (length as u16).to_be_bytes();
        let want = if length < 17 { ChannelError::TooShort(length) } else { ChannelError::TooLong(length) };
        for piece in [1, 2] {
            let (_, mut other, _) = Pair::default().open().unwrap();
            assert_eq!(deliver(&mut other, &header, piece, &mut Vec::new()), Err(want));
            assert_eq!(other.buffer.capacity(), 0);
        }
        assert_eq!(accepter.receive(&[&header[..], &[0; 70_000]].concat(), &mut Vec::new()), Err(want));
        assert_eq!(accepter.receive(b"x", &mut Vec::new()), Err(ChannelError::Over));
        assert_eq!(Channel::refusal(&want), None);
    }
    for length in [17, 32_768] {
        let (_, mut accepter, _) = Pair::default().open().unwrap();
        let header = (length as u16).to_be_bytes();
        assert_eq!(accepter.receive(&header, &mut Vec::new()), Ok((2, None)));
        assert!(accepter.is_partial());
    }
}

#[test]
fn damaged_repeated_and_swapped_records_do_not_decrypt() {
    let mut records = Vec::new();
    let open = |records: &mut Vec<Vec<u8>>| {
        let (mut caller, accepter, _) = Pair::default().open().unwrap();
        records.clear();
        for plain in [b"one", b"two"] {
            let mut record = Vec::new();
            caller.seal(plain, &mut record).unwrap();
            records.push(record);
        }
        accepter
    };
    for at in 2..21 {
        let mut accepter = open(&mut records);
        records[0][at] ^= 1;
        let got = accepter.receive(&records[0], &mut Vec::new());
        assert_eq!(got, Err(ChannelError::DamagedRecord));
        assert_eq!(accepter.receive(&records[1], &mut Vec::new()), Err(ChannelError::Over));
    }
    let mut accepter = open(&mut records);
    assert_eq!(accepter.receive(&records[1], &mut Vec::new()), Err(ChannelError::DamagedRecord));
    let mut accepter = open(&mut records);
    assert!(accepter.receive(&records[0], &mut Vec::new()).is_ok());
    assert_eq!(accepter.receive(&records[0], &mut Vec::new()), Err(ChannelError::DamagedRecord));
}

#[test]
fn what_cannot_be_sealed_leaves_no_bytes() {
    let (mut caller, mut accepter, _) = Pair::default().open().unwrap();
    let mut out = b"before".to_vec();
    assert_eq!(caller.seal(b"", &mut out), Err(ChannelError::TooShort(0)));
    let long = vec![0; MESSAGE_BYTES_MAX + 1];
    assert_eq!(caller.seal(&long, &mut out), Err(ChannelError::TooLong(MESSAGE_BYTES_MAX + 1)));
    assert_eq!(out, b"before");
    // The channel goes on.
    caller.seal(&long[1..], &mut out).unwrap();
    assert_eq!(out.len(), 6 + 2 + RECORD_BYTES_MAX);
    let want = Event::Record(long[1..].to_vec());
    assert_eq!(accepter.receive(&out[6..], &mut Vec::new()), Ok((2 + RECORD_BYTES_MAX, Some(want))));

    let (mut caller, mut accepter) = Pair::default().ends(&mut Vec::new());
    assert_eq!(caller.seal(b"x", &mut out), Err(ChannelError::NotEstablished));
    assert_eq!(accepter.seal(b"x", &mut out), Err(ChannelError::NotEstablished));
}

#[test]
fn used_up_record_numbers_end_the_channel() {
    let (mut caller, mut accepter, _) = Pair::default().open().unwrap();
    let State::Open(open) = &mut accepter.state else { panic!() };
    open.noise.set_receiving_nonce(u64::MAX);
    let mut wire = Vec::new();
    caller.seal(b"x", &mut wire).unwrap();
    assert_eq!(accepter.receive(&wire, &mut Vec::new()), Err(ChannelError::Exhausted));
    assert_eq!(accepter.receive(&wire, &mut Vec::new()), Err(ChannelError::Over));
}

#[test]
fn a_channel_buffers_at_most_one_record_and_little_when_idle() {
    let (mut caller, mut accepter, _) = Pair::default().open().unwrap();
    let (mut large, mut small) = (Vec::new(), Vec::new());
    caller.seal(&[0; MESSAGE_BYTES_MAX], &mut large).unwrap();
    caller.seal(&[0; MESSAGE_BYTES_MAX], &mut large).unwrap();
    caller.seal(&[0; 20], &mut small).unwrap();
    // Whole records are not copied at all.
    let mut fresh = Pair::default().open().unwrap();
    let mut whole = Vec::new();
    fresh.0.seal(&[0; MESSAGE_BYTES_MAX], &mut whole).unwrap();
    assert!(fresh.1.receive(&whole, &mut Vec::new()).unwrap().1.is_some());
    assert!(fresh.1.buffer.capacity() <= SECOND_BYTES);
    // In pieces one buffer of one record's size serves all of them.
    let mut places = Vec::new();
    for piece in large.chunks(4_096) {
        deliver(&mut accepter, piece, usize::MAX, &mut Vec::new()).unwrap();
        assert!(accepter.buffer.capacity() <= LENGTH_BYTES + RECORD_BYTES_MAX);
        places.push(accepter.buffer.as_ptr());
    }
    places.dedup();
    assert_eq!(places.len(), 1);
    assert!(accepter.buffer.capacity() > BUFFER_KEPT_BYTES);
    deliver(&mut accepter, &small, usize::MAX, &mut Vec::new()).unwrap();
    assert_eq!(accepter.buffer.capacity(), 0);
}

#[test]
fn channels_may_move_between_threads() {
    fn check<T: Send>() {}
    check::<Channel>();
}
