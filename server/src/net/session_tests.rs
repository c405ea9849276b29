//! A session against a real channel, over scripted bytes and a clock of its own.

use moji_proto::channel::Connect;
use moji_proto::hello::Versions;
use moji_proto::limits::{CHUNK_BYTES_MAX, RECORD_BYTES_MAX};
use moji_proto::message::{Backend, Exit, Health, Limits, Phase, ReleaseWhy, Which};
use moji_proto::secret::{Psk, SecretKey};
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line};

use super::*;
use crate::net::outbox::CONTROL_MESSAGES_MAX;

const LEASE: LeaseId = LeaseId { incarnation: 1, counter: 2 };
const ID: SessionId = SessionId(7);

fn psk(byte: u8) -> Psk {
    Psk::from_bytes([byte; 32])
}

/// A builder's or operator's end and the session under test.
struct Pair {
    session: Session,
    client: Channel,
    now: Time,
}

impl Pair {
    /// Both ends, nothing exchanged but what the client says first.
    fn new(role: Role, secret: u8) -> (Pair, Vec<u8>) {
        let key = SecretKey::generate();
        let accept = Accept {
            versions: Versions::OURS,
            key: &key,
            builder_secrets: &[psk(1)],
            operator_secrets: &[psk(2)],
        };
        let session = Session::new(ID, "127.0.0.1".parse().unwrap(), accept, Clocks::default(), Time(0));
        let mut first = Vec::new();
        let connect = Connect {
            role,
            versions: Versions::OURS,
            key: &SecretKey::generate(),
            psk: psk(secret),
            hub_key: None,
        };
        let client = Channel::connect(connect, &mut first);
        (Pair { session, client, now: Time(0) }, first)
    }

    /// After the handshake.
    fn established(role: Role) -> Pair {
        let (mut pair, first) = Pair::new(role, role as u8);
        assert!(pair.give(&first).is_empty());
        let mut third = Vec::new();
        let second = pair.written();
        let (_, event) = pair.client.receive(&second, &mut third).unwrap();
        assert!(matches!(event, Some(ChannelEvent::Established { .. })));
        let events = pair.give(&third);
        assert!(matches!(events[..], [Event::Established { .. }]), "{events:?}");
        pair
    }

    /// After `Register` without leases.
    fn serving() -> Pair {
        let mut pair = Pair::established(Role::Builder);
        let events = pair.say(&register(0));
        assert!(matches!(events[..], [Event::Registered { .. }]), "{events:?}");
        pair
    }

    fn give(&mut self, mut input: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !input.is_empty() {
            let (taken, event) = self.session.receive(self.now, input);
            input = &input[taken..];
            events.extend(event);
        }
        events
    }

    fn sealed(&mut self, message: &impl Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.client.send(message, &mut bytes).unwrap();
        bytes
    }

    fn say(&mut self, message: &FromBuilder) -> Vec<Event> {
        let bytes = self.sealed(message);
        self.give(&bytes)
    }

    fn written(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.session.flush(self.now, &mut bytes, &mut Vec::new()).unwrap() {}
        bytes
    }

    /// What the client hears.
    fn hear<M: Message>(&mut self) -> Vec<M> {
        let bytes = self.written();
        self.open(&bytes)
    }

    fn open<M: Message>(&mut self, mut input: &[u8]) -> Vec<M> {
        let mut messages = Vec::new();
        while !input.is_empty() {
            let (taken, event) = self.client.receive(input, &mut Vec::new()).unwrap();
            input = &input[taken..];
            if let Some(ChannelEvent::Record(bytes)) = event {
                messages.push(M::decode(&bytes).unwrap());
            }
        }
        messages
    }

    fn ended_with_reject(&mut self, events: &[Event], code: RejectCode) {
        assert!(matches!(events, [Event::Ended(End::Rejected(got))] if *got == code), "{events:?}");
        assert_eq!(self.hear::<ToBuilder>(), [ToBuilder::Reject { code }]);
        assert!(self.session.is_closing());
        let ping = self.sealed(&FromBuilder::Ping { health: Health::default() });
        assert!(self.give(&ping).is_empty(), "nothing is taken any more");
    }
}

fn register(held: u8) -> FromBuilder {
    FromBuilder::Register {
        name: FileName::new("b1").unwrap(),
        instance: 5,
        arch: FileName::new("armv5tel").unwrap(),
        version: FileName::new("0.1.0").unwrap(),
        cfg: Line::lossy("mini"),
        cfg_digest: Digest::of(b""),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 128,
        disk_free_mib: 4_000,
        clock_unix_s: 1,
        setup: Line::default(),
        weak: false,
        held,
    }
}

fn held() -> FromBuilder {
    let srpm = FileName::new("a-1-1.src.rpm").unwrap();
    FromBuilder::Held { lease: LEASE, srpm, digest: Digest::of(b""), phase: Phase::Build }
}

fn log(bytes: usize) -> FromBuilder {
    FromBuilder::Log { lease: LEASE, which: Which::Build, offset: 0, bytes: Bytes(vec![b'x'; bytes]) }
}

fn results() -> FromBuilder {
    FromBuilder::Results {
        lease: LEASE,
        exit: Exit::Code(0),
        phase: Phase::Build,
        backend: Backend::Mock,
        seconds: 1,
        oom_kills: 0,
        silence_s: 0,
        peak_memory_mib: 0,
        peak_disk_mib: 0,
        files: 0,
        evidence: 0,
    }
}

fn file() -> FromBuilder {
    FromBuilder::File { lease: LEASE, name: FileName::new("a").unwrap(), size: 1, digest: Digest::of(b"") }
}

fn data(bytes: usize) -> FromBuilder {
    FromBuilder::Data { lease: LEASE, file: 0, offset: 0, bytes: Bytes(vec![1; bytes]) }
}

/// One of each, in the order of the wire.
fn all() -> Vec<FromBuilder> {
    vec![
        register(0),
        held(),
        FromBuilder::Ready,
        FromBuilder::Fetch { lease: LEASE, offset: 0, length: 1 },
        FromBuilder::Phase { lease: LEASE, phase: Phase::Build },
        log(3),
        FromBuilder::Ping { health: Health::default() },
        results(),
        file(),
        FromBuilder::Evidence { lease: LEASE, which: Which::Build, line: Line::lossy("x") },
        data(3),
        FromBuilder::Draining,
        FromBuilder::Release { lease: LEASE, why: ReleaseWhy::Stopped },
    ]
}

/// To whom an event goes.
fn routed(event: &Event) -> &'static str {
    match event {
        Event::Established { .. } => "established",
        Event::Registered { .. } => "registered",
        Event::Leases(leases::Msg::Health { .. }) => "health",
        Event::Leases(_) => "leases",
        Event::Transfers(_) => "transfers",
        Event::Desk(_) => "desk",
        Event::Ended(_) => "ended",
    }
}

fn piece() -> ToBuilder {
    ToBuilder::Data { lease: LEASE, offset: 0, bytes: Bytes(vec![7; CHUNK_BYTES_MAX]) }
}

#[test]
fn a_peer_that_sends_one_byte_at_a_time_is_served_like_any_other() {
    let (mut pair, first) = Pair::new(Role::Builder, 1);
    for byte in &first {
        assert!(pair.give(&[*byte]).is_empty());
    }
    let mut third = Vec::new();
    let second = pair.written();
    pair.client.receive(&second, &mut third).unwrap();
    let mut input = third;
    for message in [register(1), held(), FromBuilder::Ready, log(500)] {
        input.extend(pair.sealed(&message));
    }
    let events: Vec<_> = input.iter().flat_map(|byte| pair.give(&[*byte])).collect();
    let got: Vec<_> = events.iter().map(routed).collect();
    assert_eq!(got, ["established", "registered", "leases", "transfers"]);
    let Event::Registered { info, held } = &events[1] else { panic!() };
    assert_eq!((info.name.as_str(), info.instance, info.memory_mib), ("b1", 5, 128));
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].lease, held[0].phase), (LEASE, Phase::Build));
}

#[test]
fn two_records_in_one_read_are_two_messages() {
    let mut pair = Pair::serving();
    let mut input = pair.sealed(&FromBuilder::Ready);
    input.extend(pair.sealed(&log(1)));
    let events = pair.give(&input);
    assert_eq!(events.iter().map(routed).collect::<Vec<_>>(), ["leases", "transfers"]);
}

#[test]
fn each_message_goes_to_whom_it_concerns() {
    for message in all() {
        let mut pair = Pair::serving();
        let want = match &message {
            FromBuilder::Register { .. }
            | FromBuilder::Held { .. }
            | FromBuilder::File { .. }
            | FromBuilder::Evidence { .. } => "ended",
            FromBuilder::Ready | FromBuilder::Draining | FromBuilder::Release { .. } => "leases",
            FromBuilder::Ping { .. } => "health",
            _ => "transfers",
        };
        let events = pair.say(&message);
        assert_eq!(events.iter().map(routed).collect::<Vec<_>>(), [want], "{message:?}");
        if want == "ended" {
            pair.ended_with_reject(&events, RejectCode::Order);
        }
    }
}

#[test]
fn before_register_every_other_message_ends_the_session() {
    for message in all().into_iter().skip(1) {
        let mut pair = Pair::established(Role::Builder);
        let events = pair.say(&message);
        pair.ended_with_reject(&events, RejectCode::Order);
    }
}

#[test]
fn between_register_and_the_last_held_only_held_and_ping_may_come() {
    for message in all() {
        let mut pair = Pair::established(Role::Builder);
        assert!(pair.say(&register(2)).is_empty());
        assert!(pair.say(&held()).is_empty());
        let events = pair.say(&message);
        match message {
            FromBuilder::Held { .. } => assert_eq!(routed(&events[0]), "registered"),
            FromBuilder::Ping { .. } => {
                assert!(events.is_empty(), "leases do not know the session yet: {events:?}");
                assert_eq!(pair.hear::<ToBuilder>(), [ToBuilder::Pong]);
            }
            _ => pair.ended_with_reject(&events, RejectCode::Order),
        }
    }
}

#[test]
fn a_job_lets_the_builder_say_ready_again() {
    let mut pair = Pair::serving();
    let srpm = FileName::new("a-1-1.src.rpm").unwrap();
    let job = ToBuilder::Job {
        lease: LEASE,
        srpm,
        size: 1,
        digest: Digest::of(b""),
        limits: Limits::default(),
        place: Line::default(),
        options: 0,
    };
    assert_eq!(pair.say(&FromBuilder::Ready).len(), 1);
    assert!(pair.session.send(pair.now, job).is_none());
    assert_eq!(routed(&pair.say(&FromBuilder::Ready)[0]), "leases");
    let events = pair.say(&FromBuilder::Ready);
    assert!(matches!(events[..], [Event::Ended(End::Rejected(RejectCode::Order))]), "{events:?}");
}

#[test]
fn a_peer_that_cannot_authenticate_is_refused_in_plain_bytes() {
    let (mut pair, _) = Pair::new(Role::Builder, 1);
    let events = pair.give(&[b'G'; 64]);
    assert!(matches!(events[..], [Event::Ended(End::Refused(Refusal::Garbage))]), "{events:?}");
    assert_eq!(pair.written(), [0, 0, 8]);

    // A builder's secret never opens the operator's role.
    for (role, secret) in [(Role::Builder, 9), (Role::Builder, 2), (Role::Operator, 1)] {
        let (mut pair, first) = Pair::new(role, secret);
        assert!(pair.give(&first).is_empty());
        let mut third = Vec::new();
        let second = pair.written();
        pair.client.receive(&second, &mut third).unwrap();
        let events = pair.give(&third);
        assert!(matches!(events[..], [Event::Ended(End::Refused(Refusal::Secret))]), "{events:?}");
        assert_eq!(pair.written(), [0, 0, 5]);
    }
}

#[test]
fn bytes_that_are_no_record_end_the_session() {
    let too_long = u16::try_from(RECORD_BYTES_MAX + 1).unwrap().to_be_bytes();
    for (input, want) in [
        (too_long.to_vec(), ChannelError::TooLong(RECORD_BYTES_MAX + 1)),
        (vec![0, 16], ChannelError::TooShort(16)),
        ([vec![0, 17], vec![9; 17]].concat(), ChannelError::DamagedRecord),
    ] {
        let mut pair = Pair::serving();
        let events = pair.give(&input);
        assert!(matches!(events[..], [Event::Ended(End::Broken(got))] if got == want), "{events:?}");
        assert!(pair.session.is_closing());
        assert!(pair.written().is_empty());
    }
}

#[test]
fn records_that_are_no_message_are_rejected_with_their_own_code() {
    for (plain, want) in [
        (vec![13], RejectCode::Unknown),
        (vec![2, 0], RejectCode::Malformed),
        (vec![3], RejectCode::Malformed),
        (vec![0, 1, b'/'], RejectCode::Malformed),
    ] {
        let mut pair = Pair::established(Role::Builder);
        let mut input = Vec::new();
        pair.client.seal(&plain, &mut input).unwrap();
        let events = pair.give(&input);
        pair.ended_with_reject(&events, want);
    }
}

fn hail() -> FromOperator {
    FromOperator::Hail {
        user: Line::lossy("wolf"),
        host: Line::lossy("desk"),
        version: FileName::new("0.1.0").unwrap(),
    }
}

#[test]
fn an_operator_hails_and_then_asks_one_thing_after_the_other() {
    let mut pair = Pair::established(Role::Operator);
    for message in [hail(), FromOperator::Status] {
        let sealed = pair.sealed(&message);
        let events = pair.give(&sealed);
        assert!(
            matches!(&events[..], [Event::Desk(desk::Msg::FromOperator { msg, .. })] if *msg == message),
            "{events:?}"
        );
    }
    let ping = pair.sealed(&FromOperator::Ping);
    assert!(pair.give(&ping).is_empty());
    assert_eq!(pair.hear::<ToOperator>(), [ToOperator::Pong]);
    let now = pair.now;
    assert!(pair.session.answer(now, ToOperator::End { rows: 0 }).is_none());
    assert_eq!(pair.hear::<ToOperator>(), [ToOperator::End { rows: 0 }]);
    for message in [FromOperator::Status, FromOperator::Status] {
        let sealed = pair.sealed(&message);
        let events = pair.give(&sealed);
        match pair.session.is_closing() {
            false => assert!(matches!(events[..], [Event::Desk(_)]), "{events:?}"),
            true => {
                assert!(matches!(events[..], [Event::Ended(End::Rejected(RejectCode::Order))]), "{events:?}");
            }
        }
    }
    assert_eq!(pair.hear::<ToOperator>(), [ToOperator::Reject { code: RejectCode::Order }]);
}

#[test]
fn an_operator_who_does_not_hail_first_or_speaks_as_a_builder_is_rejected() {
    for (bytes, want) in
        [(vec![3], RejectCode::Order), (vec![0], RejectCode::Order), (vec![127], RejectCode::Unknown)]
    {
        let mut pair = Pair::established(Role::Operator);
        let mut input = Vec::new();
        pair.client.seal(&bytes, &mut input).unwrap();
        let events = pair.give(&input);
        assert!(matches!(events[..], [Event::Ended(End::Rejected(code))] if code == want), "{events:?}");
        assert_eq!(pair.hear::<ToOperator>(), [ToOperator::Reject { code: want }]);
    }
}

/// Nothing happens a millisecond before `after_ms`, and then `end`.
fn check_clock(mut pair: Pair, after_ms: u64, end: End, code: Option<RejectCode>) {
    assert_eq!(pair.session.deadline(), pair.now.plus_ms(after_ms), "{end:?}");
    assert!(pair.session.tick(Time(pair.session.deadline().0 - 1)).is_none());
    let event = pair.session.tick(pair.session.deadline());
    assert!(matches!(event, Some(Event::Ended(got)) if got == end), "{event:?}");
    assert_eq!(pair.session.is_closing(), code.is_some());
    if let Some(code) = code {
        assert_eq!(pair.hear::<ToBuilder>(), [ToBuilder::Reject { code }]);
        let by = pair.session.deadline();
        assert_eq!(by, pair.now.plus_ms(after_ms + 2_000));
        assert!(matches!(pair.session.tick(by), Some(Event::Ended(End::Closed))));
    }
}

#[test]
fn every_clock_ends_the_session_when_it_is_over_and_not_before() {
    let silence = Some(RejectCode::Silence);
    check_clock(Pair::new(Role::Builder, 1).0, 20_000, End::HandshakeTime, None);
    let (mut pair, first) = Pair::new(Role::Builder, 1);
    pair.give(&first);
    check_clock(pair, 20_000, End::HandshakeTime, None);
    check_clock(Pair::established(Role::Builder), 20_000, End::RegisterTime, silence);
    let mut pair = Pair::established(Role::Builder);
    pair.say(&register(1));
    check_clock(pair, 20_000, End::RegisterTime, silence);
    check_clock(Pair::serving(), 60_000, End::Rejected(RejectCode::Silence), silence);

    let mut pair = Pair::serving();
    let bytes = pair.sealed(&log(100));
    pair.give(&bytes[..50]);
    // More bytes of the same record gain nothing.
    pair.now = Time(10_000);
    pair.give(&bytes[50..60]);
    check_clock(pair, 20_000, End::PartialTime, silence);

    // The next record has a clock of its own.
    let mut pair = Pair::serving();
    let bytes = [pair.sealed(&log(100)), pair.sealed(&log(100))].concat();
    pair.give(&bytes[..50]);
    pair.now = Time(10_000);
    pair.give(&bytes[50..bytes.len() - 1]);
    check_clock(pair, 30_000, End::PartialTime, silence);
}

#[test]
fn whatever_a_peer_says_puts_silence_off() {
    let mut pair = Pair::serving();
    pair.now = Time(59_999);
    pair.say(&FromBuilder::Ping { health: Health::default() });
    pair.hear::<ToBuilder>();
    check_clock(pair, 60_000, End::Rejected(RejectCode::Silence), Some(RejectCode::Silence));
}

/// Takes so many bytes of each write, and blocks when it has `room` no more.
struct Script {
    taken: Vec<u8>,
    each: usize,
    room: usize,
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.each).min(self.room);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= count;
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_pong_overtakes_ten_megabytes_of_data() {
    let mut pair = Pair::serving();
    for _ in 0..10 * 1024 * 1024 / CHUNK_BYTES_MAX {
        assert!(pair.session.send(pair.now, piece()).is_none());
    }
    let mut script = Script { taken: Vec::new(), each: 1_000, room: 100_000 };
    assert_eq!(pair.session.flush(pair.now, &mut script, &mut Vec::new()), Ok(false));
    pair.say(&FromBuilder::Ping { health: Health::default() });
    script.room = usize::MAX;
    while pair.session.flush(pair.now, &mut script, &mut Vec::new()).unwrap() {}
    let messages: Vec<ToBuilder> = pair.open(&script.taken);
    let at = messages.iter().position(|message| *message == ToBuilder::Pong).unwrap();
    // 100,000 bytes were taken, and the rest of one buffer was sealed already.
    assert!(at * CHUNK_BYTES_MAX <= 200_000, "the pong came after {at} pieces");
    assert_eq!(messages.len(), 10 * 1024 * 1024 / CHUNK_BYTES_MAX + 1);
}

#[test]
fn messages_of_a_lane_keep_their_order_however_few_bytes_the_socket_takes() {
    let mut pair = Pair::serving();
    for file in 0..50 {
        pair.session.send(pair.now, ToBuilder::Ack { lease: LEASE, file, offset: 0 });
    }
    let mut script = Script { taken: Vec::new(), each: 1, room: 0 };
    while pair.session.wants_write() {
        script.room = 7;
        assert_eq!(pair.session.flush(pair.now, &mut script, &mut Vec::new()), Ok(false));
    }
    let files: Vec<_> = pair
        .open(&script.taken)
        .into_iter()
        .map(|message| match message {
            ToBuilder::Ack { file, .. } => file,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(files, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_turn_writes_no_more_than_its_share() {
    let mut pair = Pair::serving();
    for _ in 0..100 {
        pair.session.send(pair.now, piece());
    }
    let mut bytes = Vec::new();
    assert_eq!(pair.session.flush(pair.now, &mut bytes, &mut Vec::new()), Ok(true));
    assert!(bytes.len() < 2 * FLUSH_BYTES_PER_TURN, "{}", bytes.len());
}

#[test]
fn a_builder_that_does_not_read_is_given_up() {
    let mut pair = Pair::serving();
    let mut script = Script { taken: Vec::new(), each: 1, room: 0 };
    pair.session.send(pair.now, ToBuilder::Drain);
    assert_eq!(pair.session.flush(pair.now, &mut script, &mut Vec::new()), Ok(false));
    pair.now = Time(50_000);
    // It still pings, so that only this clock can tell.
    pair.say(&FromBuilder::Ping { health: Health::default() });
    assert_eq!(pair.session.flush(pair.now, &mut script, &mut Vec::new()), Ok(false));
    check_clock(pair, 10_000, End::NotReading, None);

    let mut pair = Pair::serving();
    for _ in 0..CONTROL_MESSAGES_MAX {
        assert!(pair.session.send(pair.now, ToBuilder::Drain).is_none());
    }
    let event = pair.session.send(pair.now, ToBuilder::Drain);
    assert!(matches!(event, Some(Event::Ended(End::NotReading))), "{event:?}");
    assert!(pair.session.is_closing() && !pair.session.wants_write());
}

#[test]
fn a_full_backlog_stops_reading_and_the_clocks_until_actors_are_done() {
    let mut pair = Pair::serving();
    let pieces = SESSION_BACKLOG_BYTES as usize / CHUNK_BYTES_MAX;
    for i in 0..=pieces {
        assert!(pair.session.wants_read(), "after {i} pieces");
        // Both kinds count.
        pair.say(&if i % 2 == 0 { log(CHUNK_BYTES_MAX) } else { data(CHUNK_BYTES_MAX) });
    }
    assert!(!pair.session.wants_read());
    let rest = pair.sealed(&log(100));
    pair.give(&rest[..50]);
    assert_eq!(pair.session.deadline(), Time(u64::MAX));

    pair.now = Time(500_000);
    let too_many = (pieces + 1) * CHUNK_BYTES_MAX - SESSION_BACKLOG_BYTES as usize;
    pair.session.consumed(pair.now, too_many as u32);
    assert!(!pair.session.wants_read());
    pair.session.consumed(pair.now, 1);
    assert!(pair.session.wants_read());
    check_clock(pair, 30_000, End::PartialTime, Some(RejectCode::Silence));
}

#[test]
fn a_rejected_peer_gets_its_control_messages_first_and_no_bulk() {
    let mut pair = Pair::serving();
    pair.session.send(pair.now, piece());
    pair.session.send(pair.now, ToBuilder::Drain);
    pair.session.reject(pair.now, RejectCode::Replaced);
    assert!(pair.session.send(pair.now, ToBuilder::Undrain).is_none());
    let code = RejectCode::Replaced;
    assert_eq!(pair.hear::<ToBuilder>(), [ToBuilder::Drain, ToBuilder::Reject { code }]);
    assert!(pair.session.wants_read(), "what the peer still sends is dropped, not left to a reset");
}

#[test]
fn an_idle_session_keeps_no_buffers() {
    let mut pair = Pair::serving();
    for _ in 0..100 {
        pair.session.send(pair.now, piece());
    }
    pair.say(&FromBuilder::Ping { health: Health::default() });
    pair.written();
    assert!(pair.session.out.kept_bytes() < 1_024, "{}", pair.session.out.kept_bytes());
}

#[test]
fn an_address_that_is_not_served_reads_so_at_once() {
    let (mut pair, first) = Pair::new(Role::Builder, 1);
    pair.session.refuse(pair.now, Refusal::Address);
    assert!(pair.give(&first).is_empty());
    assert_eq!(pair.written(), [0, 0, 4]);
    assert!(pair.session.is_closing());
}
