//! One value of every message, for tests.
//!
//! Owns the values that the golden bytes in `golden.txt` belong to, in the same order. Values that
//! a field's type has at its ends are chosen on purpose.

use super::*;
use crate::refusal::RejectCode;

pub(crate) use operator::{from_operator, to_operator};

mod operator;

fn lease() -> LeaseId {
    LeaseId { incarnation: 1_764_000_000, counter: 300 }
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

/// The number of a message's variant.
pub(crate) fn variant<M: Message>(message: &M) -> usize {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    postcard::take_from_bytes::<u32>(&bytes).unwrap().0 as usize
}

/// The same message about another lease.
pub(crate) fn with_lease(mut message: FromBuilder, to: LeaseId) -> FromBuilder {
    match &mut message {
        FromBuilder::Register { .. }
        | FromBuilder::Ready
        | FromBuilder::Ping { .. }
        | FromBuilder::Draining => {}
        FromBuilder::Held { lease, .. }
        | FromBuilder::Fetch { lease, .. }
        | FromBuilder::Phase { lease, .. }
        | FromBuilder::Log { lease, .. }
        | FromBuilder::Results { lease, .. }
        | FromBuilder::File { lease, .. }
        | FromBuilder::Evidence { lease, .. }
        | FromBuilder::Data { lease, .. }
        | FromBuilder::Release { lease, .. } => *lease = to,
    }
    message
}

pub(crate) fn from_builder() -> Vec<FromBuilder> {
    let lease = lease();
    let health = Health {
        disk_free_mib: 512,
        memory_free_mib: 100,
        load_centi: 150,
        celsius: Some(74),
        clock_off_s: -70,
        trouble: None,
    };
    vec![
        FromBuilder::Register {
            name: name("board7"),
            instance: u64::MAX,
            arch: name("armv5tel"),
            version: name("0.1.0"),
            cfg: Line::lossy("/etc/mock/default.cfg"),
            cfg_digest: Digest::of(b"cfg"),
            backend: Backend::Mock,
            cpus: 1,
            memory_mib: 128,
            disk_free_mib: 2_048,
            clock_unix_s: 1_764_000_001,
            setup: Line::lossy("install @buildsys-build"),
            weak: true,
            held: 2,
        },
        FromBuilder::Held {
            lease,
            srpm: name("zlib-1.3-1.src.rpm"),
            digest: Digest::of(b"srpm"),
            phase: Phase::Build,
        },
        FromBuilder::Ready,
        FromBuilder::Fetch { lease, offset: 262_144, length: 65_536 },
        FromBuilder::Phase { lease, phase: Phase::Setup },
        FromBuilder::Log {
            lease,
            which: Which::Root,
            offset: 127,
            bytes: Bytes(b"DEBUG util.py\n".to_vec()),
        },
        FromBuilder::Ping { health },
        FromBuilder::Ping { health: Health { trouble: Some(Trouble::Disk), ..health } },
        FromBuilder::Results {
            lease,
            exit: Exit::Signal(9),
            phase: Phase::Build,
            backend: Backend::Rpmbuild,
            seconds: 3_600,
            oom_kills: 1,
            peak_memory_mib: 300,
            silence_s: 200,
            peak_disk_mib: 2_000,
            files: 3,
            evidence: 1,
        },
        FromBuilder::Results {
            lease,
            exit: Exit::Silent(86_400),
            phase: Phase::Build,
            backend: Backend::Mock,
            seconds: u32::MAX,
            oom_kills: 0,
            peak_memory_mib: 0,
            silence_s: 86_400,
            peak_disk_mib: 0,
            files: 0,
            evidence: 0,
        },
        FromBuilder::File { lease, name: name("build.log"), size: u64::MAX, digest: Digest::of(b"file") },
        FromBuilder::Evidence { lease, which: Which::Build, line: Line::lossy("error: Bad exit status") },
        FromBuilder::Data { lease, file: u32::MAX, offset: 128, bytes: Bytes(vec![0xed, 0xab]) },
        FromBuilder::Draining,
        FromBuilder::Release { lease, why: ReleaseWhy::ShimDied },
    ]
}

pub(crate) fn to_builder() -> Vec<ToBuilder> {
    let lease = lease();
    vec![
        ToBuilder::Registered { time_unix_s: 1_764_000_002, ping_s: 20, http_port: 6780, repos: 2 },
        ToBuilder::Repo { place: Line::lossy("/base") },
        ToBuilder::Adopted { lease, logs: [0, 127, 128, u64::MAX] },
        ToBuilder::Done { lease },
        ToBuilder::Gone { lease },
        ToBuilder::Job {
            lease,
            srpm: name("zlib-1.3-1.src.rpm"),
            size: 1 << 33,
            digest: Digest::of(b"srpm"),
            limits: Limits { silence_s: 86_400, build_s: u32::MAX },
            place: Line::lossy("/thin/2f/"),
            options: 1,
        },
        ToBuilder::JobOption { lease, word: Line::lossy("--nocheck") },
        ToBuilder::Data { lease, offset: 1 << 33, bytes: Bytes(Vec::new()) },
        ToBuilder::Pong,
        ToBuilder::Cancel { lease },
        ToBuilder::Drain,
        ToBuilder::Undrain,
        ToBuilder::Exit,
        ToBuilder::Want { lease, file: 0, offset: 0 },
        ToBuilder::Ack { lease, file: 2, offset: 262_144 },
        ToBuilder::Again { lease, place: Line::default() },
        ToBuilder::Accepted { lease, verdict: Verdict::Success },
        ToBuilder::Returned { lease, verdict: Verdict::Infra },
        ToBuilder::Rejected { lease, why: RejectedWhy::Foreign },
        ToBuilder::Reject { code: RejectCode::Replaced },
    ]
}
