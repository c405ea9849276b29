//! What a simulated board builds and sends: a log that grows, then a result with small RPMs.
//!
//! Owns those messages and the window of an upload. When they are said is for the day (`day.rs`).

use std::time::Instant;

use moji_proto::limits::{CHUNK_BYTES_MAX, UPLOAD_WINDOW_BYTES};
use moji_proto::message::{Backend, Exit, FromBuilder, Phase, Which};
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line};
use moji_tests::synthetic::Synthetic;

use crate::swarm::Swarm;

/// A log grows by so much at a time, and so often during a build.
const LOG_BYTES: usize = 2_048;
pub(super) const LOGS: u32 = 4;
/// RPMs of a result: the source package and one binary.
const RPMS: usize = 2;

/// What a board builds.
pub(super) struct Job {
    pub(super) lease: LeaseId,
    pub(super) number: usize,
    pub(super) seconds: f64,
    pub(super) fails: bool,
    /// It loses its connection once its log has grown so often.
    pub(super) breaks_at: Option<u32>,
    pub(super) fetched: u64,
    pub(super) log_bytes: u64,
}

/// Files on their way, one after another, as the client sends them.
pub(super) struct Upload {
    files: Vec<Vec<u8>>,
    pub(super) file: u32,
    pub(super) next: u64,
    pub(super) acked: u64,
    /// When the last byte was sent.
    pub(super) sent: Option<Instant>,
}

/// A piece of a log.
pub(super) fn log(number: usize, piece: u32) -> Vec<u8> {
    let line = format!("gcc -O2 -c part{piece}.c of package {number}\n");
    line.bytes().cycle().take(LOG_BYTES - 1).chain([b'\n']).collect()
}

impl Upload {
    /// The build's whole log, and its RPMs if it went well.
    pub(super) fn of(world: Synthetic, job: &Job) -> Upload {
        let mut files = vec![(0..LOGS).flat_map(|piece| log(job.number, piece)).collect()];
        if !job.fails {
            let rpms = world.result(job.number).rpms.into_iter().take(RPMS);
            files.extend(rpms.map(|rpm| rpm.bytes));
        }
        Upload { files, file: 0, next: 0, acked: 0, sent: None }
    }

    /// Says what there is.
    pub(super) fn begin(&mut self, swarm: &mut Swarm, i: usize, job: &Job) {
        (self.file, self.next, self.acked, self.sent) = (0, 0, 0, None);
        let lease = job.lease;
        let names = ["build.log", "source.src.rpm", "main.x86_64.rpm"];
        swarm.say(
            i,
            &FromBuilder::Results {
                lease,
                exit: Exit::Code(u8::from(job.fails)),
                phase: Phase::Build,
                backend: Backend::Mock,
                seconds: job.seconds as u32,
                oom_kills: 0,
                peak_memory_mib: 300,
                silence_s: 10,
                peak_disk_mib: 500,
                files: u32::try_from(self.files.len()).expect("three at most"),
                evidence: u16::from(job.fails),
            },
        );
        for (name, bytes) in names.into_iter().zip(&self.files) {
            let (name, size) = (FileName::new(name).expect("a safe name"), bytes.len() as u64);
            swarm.say(i, &FromBuilder::File { lease, name, size, digest: Digest::of(bytes) });
        }
        if job.fails {
            let line = Line::lossy("error: Bad exit status from /var/tmp/rpm-tmp.x (%build)");
            swarm.say(i, &FromBuilder::Evidence { lease, which: Which::Build, line });
        }
    }

    /// Sends what the window has room for.
    pub(super) fn go_on(&mut self, swarm: &mut Swarm, i: usize, lease: LeaseId) {
        let Some(bytes) = self.files.get(self.file as usize) else { return };
        let size = bytes.len() as u64;
        while self.next < size {
            let length = (size - self.next).min(CHUNK_BYTES_MAX as u64);
            if self.next + length > self.acked + UPLOAD_WINDOW_BYTES {
                return;
            }
            let piece = Bytes(bytes[self.next as usize..(self.next + length) as usize].to_vec());
            swarm.say(i, &FromBuilder::Data { lease, file: self.file, offset: self.next, bytes: piece });
            self.next += length;
        }
        self.sent = Some(Instant::now());
    }
}
