//! Tests of the encoding: golden bytes, and every way in which bytes may be wrong.

use std::fmt::Debug;

use super::codec::kind;
use super::*;
use crate::limits::{CHUNK_BYTES_MAX, FILE_NAME_BYTES_MAX, LINE_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::refusal::RejectCode;

/// `ENUM HEX` a line, in the order of the samples. Changes with the protocol's version only.
const GOLDEN: &str = include_str!("golden.txt");

fn golden(of: &str) -> Vec<Vec<u8>> {
    let lines = GOLDEN.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(name, _)| *name == of).map(|(_, hex)| unhex(hex)).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    message.encode(&mut bytes);
    assert_eq!(&bytes[..6], b"before", "what was there stays");
    bytes.split_off(6)
}

fn check<M: Message + Debug + PartialEq>(of: &str, samples: &[M]) {
    let golden = golden(of);
    let mut variants = Vec::new();
    for (i, sample) in samples.iter().enumerate() {
        let bytes = encoded(sample);
        let want = golden.get(i).map(|bytes| hex(bytes)).unwrap_or_default();
        assert_eq!(hex(&bytes), want, "{of} {sample:?}");
        assert_eq!(M::decode(&bytes).as_ref(), Ok(sample));
        for end in 0..bytes.len() {
            assert_eq!(M::decode(&bytes[..end]), Err(DecodeError::Truncated), "{sample:?} cut at {end}");
        }
        for more in [&[0][..], &[0xff; 40]] {
            let long = [&bytes[..], more].concat();
            assert_eq!(M::decode(&long), Err(DecodeError::Trailing), "{sample:?}");
        }
        let mut large = bytes;
        large.resize(MESSAGE_BYTES_MAX, 0);
        assert_eq!(M::decode(&large), Err(DecodeError::Trailing), "{sample:?}");
        large.push(0);
        assert_eq!(M::decode(&large), Err(DecodeError::Oversize), "{sample:?}");
        variants.push(samples::variant(sample) as u32);
    }
    assert_eq!(golden.len(), samples.len(), "golden bytes of {of} without a sample");
    variants.dedup();
    let all: Vec<u32> = (0..M::VARIANTS).collect();
    assert_eq!(variants, all, "every variant of {of} has golden bytes, and VARIANTS counts them");
    for unknown in [M::VARIANTS, M::VARIANTS + 1, 127, 128, u32::MAX] {
        let mut bytes = postcard::to_allocvec(&unknown).unwrap();
        assert_eq!(M::decode(&bytes), Err(DecodeError::Unknown), "{of} {unknown}");
        bytes.extend_from_slice(&[0; 100]);
        assert_eq!(M::decode(&bytes), Err(DecodeError::Unknown), "{of} {unknown}");
    }
    assert_eq!(M::decode(&[0xff; 6]), Err(DecodeError::Malformed), "{of}: no number at all");
}

#[test]
fn what_builders_say_has_its_golden_bytes() {
    check("FromBuilder", &samples::from_builder());
}

#[test]
fn what_builders_hear_has_its_golden_bytes() {
    check("ToBuilder", &samples::to_builder());
}

#[test]
fn what_operators_say_has_its_golden_bytes() {
    check("FromOperator", &samples::from_operator());
}

#[test]
fn what_operators_hear_has_its_golden_bytes() {
    check("ToOperator", &samples::to_operator());
}

#[test]
fn a_variant_without_a_sample_does_not_decode() {
    // VARIANTS is counted by hand: were it too small, the last message would be unknown; were it
    // too large, the derived decoder would find this one malformed.
    fn last<M: Message + Debug + PartialEq>() {
        let bytes = postcard::to_allocvec(&M::VARIANTS).unwrap();
        assert!(postcard::take_from_bytes::<M>(&bytes).is_err_and(|e| kind(e) == DecodeError::Malformed));
    }
    last::<FromBuilder>();
    last::<ToBuilder>();
    last::<FromOperator>();
    last::<ToOperator>();
}

/// Checks the numbers of a small enum: `all` must be in wire order, and nothing may follow.
fn numbers<T: Serialize + for<'de> Deserialize<'de> + Debug + PartialEq>(all: &[T]) {
    for (number, value) in all.iter().enumerate() {
        let bytes = postcard::to_allocvec(value).unwrap();
        assert_eq!(usize::from(bytes[0]), number, "{value:?}");
        assert_eq!(postcard::from_bytes::<T>(&bytes).as_ref(), Ok(value));
    }
    assert!(postcard::from_bytes::<T>(&[all.len() as u8, 0]).is_err(), "a value after {:?}", all.last());
}

#[test]
fn the_numbers_inside_messages_do_not_change() {
    numbers(&[Phase::Fetch, Phase::Init, Phase::Setup, Phase::Build, Phase::Collect, Phase::Upload]);
    numbers(&Which::ALL);
    numbers(&[Exit::Code(0), Exit::Signal(9), Exit::NotStarted, Exit::Silent(1), Exit::TooLong(2)]);
    numbers(&[Backend::Mock, Backend::Rpmbuild]);
    numbers(&[
        Verdict::Success,
        Verdict::Excluded,
        Verdict::Infra,
        Verdict::Memory,
        Verdict::Deps,
        Verdict::Failed,
        Verdict::Lost,
        Verdict::Released,
        Verdict::Timeout,
    ]);
    numbers(&PackageState::ALL);
    numbers(&BuilderState::ALL);
    numbers(&EventKind::ALL);
    numbers(&[NameOf::Package, NameOf::Builder, NameOf::Result]);
    numbers(&[
        Topic::Evidence,
        Topic::Option,
        Topic::File,
        Topic::Wants,
        Topic::Provenance,
        Topic::Why,
        Topic::Order,
        Topic::Passed,
        Topic::Next,
        Topic::Member,
        Topic::Import,
        Topic::First,
        Topic::Behind,
    ]);
    numbers(&[
        NoCode::NotFound,
        NoCode::Ambiguous,
        NoCode::Refused,
        NoCode::BadInput,
        NoCode::Later,
        NoCode::Failed,
    ]);
    numbers(&[
        Order::Retry { verdict: None },
        Order::Cancel,
        Order::First,
        Order::Last,
        Order::Clear,
        Order::Options,
        Order::Accept,
        Order::Refuse,
        Order::Retract { delete: false },
        Order::Drain { exit: false },
        Order::Resume,
        Order::Quarantine,
        Order::Release,
        Order::Approve,
    ]);
    numbers(&[Trouble::Clock, Trouble::Disk]);
    numbers(&[ReleaseWhy::Stopped, ReleaseWhy::ShimDied, ReleaseWhy::BadSrpm, ReleaseWhy::Disk]);
    numbers(&[
        RejectedWhy::TooLarge,
        RejectedWhy::BadRpm,
        RejectedWhy::Foreign,
        RejectedWhy::Arch,
        RejectedWhy::Duplicate,
        RejectedWhy::Damaged,
    ]);
    numbers(&[
        RejectCode::Malformed,
        RejectCode::Unknown,
        RejectCode::Order,
        RejectCode::NotYours,
        RejectCode::Limit,
        RejectCode::Silence,
        RejectCode::TooSlow,
        RejectCode::Replaced,
        RejectCode::Cloned,
        RejectCode::NotListed,
        RejectCode::ShuttingDown,
    ]);
}

#[test]
fn fields_that_hold_what_they_must_not_are_malformed() {
    let lease = LeaseId { incarnation: 1, counter: 1 };
    let name = |text: &str| {
        // A name of the same length, replaced in the bytes: the type itself refuses the bad one.
        let digest = Digest::of(b"");
        let good = "x".repeat(text.len());
        let file = FromBuilder::File { lease, name: FileName::new(good.clone()).unwrap(), size: 0, digest };
        let mut bytes = encoded(&file);
        let at = bytes.windows(good.len()).position(|window| window == good.as_bytes()).unwrap();
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        bytes
    };
    let phase = encoded(&FromBuilder::Phase { lease, phase: Phase::Upload });
    let ping = encoded(&FromBuilder::Ping { health: Health::default() });
    let last = |bytes: &[u8], with: u8| [&bytes[..bytes.len() - 1], &[with]].concat();
    let log = [&[5, 1, 1, 0, 0][..], &[0x81, 0xfe, 0x01], &vec![0; CHUNK_BYTES_MAX + 1]].concat();
    let mut not_utf8 = name("ab");
    let at = not_utf8.windows(2).position(|window| window == b"ab").unwrap();
    not_utf8[at] = 0xff;
    for (what, bytes) in [
        ("slash", name("../etc")),
        ("dot", name(".x")),
        ("control", name("a\nb")),
        ("UTF-8", not_utf8),
        ("phase", last(&phase, 6)),
        ("option", last(&ping, 2)),
        ("chunk over its limit", log),
    ] {
        assert_eq!(FromBuilder::decode(&bytes), Err(DecodeError::Malformed), "{what}");
    }
}

#[test]
fn the_largest_messages_fit_into_a_record() {
    let lease = LeaseId { incarnation: u64::MAX, counter: u32::MAX };
    let bytes = Bytes(vec![0xff; CHUNK_BYTES_MAX]);
    let name = FileName::new("n".repeat(FILE_NAME_BYTES_MAX)).unwrap();
    let line = Line::lossy(&"l".repeat(LINE_BYTES_MAX));
    for message in [
        FromBuilder::Data { lease, file: u32::MAX, offset: u64::MAX, bytes: bytes.clone() },
        FromBuilder::Log { lease, which: Which::Mock, offset: u64::MAX, bytes: bytes.clone() },
        FromBuilder::Register {
            name: name.clone(),
            instance: u64::MAX,
            arch: name.clone(),
            version: name,
            cfg: line.clone(),
            cfg_digest: Digest::of(b""),
            backend: Backend::Rpmbuild,
            cpus: u16::MAX,
            memory_mib: u32::MAX,
            disk_free_mib: u32::MAX,
            clock_unix_s: u64::MAX,
            setup: line,
            weak: true,
            held: u8::MAX,
        },
    ] {
        assert_eq!(FromBuilder::decode(&encoded(&message)), Ok(message));
    }
    let data = ToBuilder::Data { lease, offset: u64::MAX, bytes };
    assert_eq!(ToBuilder::decode(&encoded(&data)), Ok(data));
}

#[test]
#[should_panic(expected = "message over the limit")]
fn a_message_over_the_limit_is_our_own_bug() {
    let lease = LeaseId { incarnation: 1, counter: 1 };
    encoded(&ToBuilder::Data { lease, offset: 0, bytes: Bytes(vec![0; MESSAGE_BYTES_MAX]) });
}

#[test]
fn each_decode_error_has_a_reject_code() {
    for (error, want) in [
        (DecodeError::Truncated, RejectCode::Malformed),
        (DecodeError::Trailing, RejectCode::Malformed),
        (DecodeError::Malformed, RejectCode::Malformed),
        (DecodeError::Oversize, RejectCode::Limit),
        (DecodeError::Unknown, RejectCode::Unknown),
    ] {
        assert_eq!(RejectCode::from(error), want);
    }
}
