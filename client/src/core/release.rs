//! Leases given back, until the hub is known to have heard of it.
//!
//! Owns the list of releases. An entry is stored before it is sent and goes when a `Pong` proves that
//! the hub heard it, or when the hub answers its `Held` with `Gone` or `Done`.

use moji_proto::message::{FromBuilder, Phase, ReleaseWhy};
use moji_proto::{Digest, FileName, LeaseId};
use serde::{Deserialize, Serialize};

use super::job::Stage;
use super::{Builder, Effect, Level, once_code};

/// How many leases are remembered for what the hub sent before it heard: nothing is under way for so long that as many
/// more were given back meanwhile.
const PAST_MAX: usize = 16;

/// A lease that was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The lease.
    pub lease: LeaseId,
    /// File name of its SRPM.
    pub srpm: FileName,
    /// Digest of its SRPM.
    pub digest: Digest,
    /// Why.
    pub why: ReleaseWhy,
    /// Number of the `Ping` that was sent right after it in this session.
    #[serde(skip)]
    pub pinged: Option<u64>,
}

impl Builder {
    /// Gives the lease of a job back: stored, then sent if there is somebody to hear it.
    pub(super) fn release(&mut self, lease: LeaseId, why: ReleaseWhy, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(lease) else { return };
        let live = job.live;
        let released =
            Released { lease, srpm: job.record.srpm.clone(), digest: job.record.digest, why, pinged: None };
        let text = format!("pkg={} lease={lease} given back: {}", released.srpm, why_text(why));
        out.push(Effect::Log(Level::Info, text));
        self.released.push(released);
        // Were there more than the hub lets us report, the oldest is the hub's to time out.
        while self.released.len() > usize::from(moji_proto::limits::HELD_MAX) {
            self.released.remove(0);
        }
        out.push(Effect::StoreReleases(self.released.clone()));
        if self.config.once {
            self.once_over = true;
            self.once_code = once_code(why);
        }
        if live {
            self.send_release(lease, out);
        }
    }

    /// Sends a stored release and a `Ping` after it.
    pub(super) fn send_release(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        if !self.link.is_registered() {
            return;
        }
        let Some(why) = self.released.iter().find(|r| r.lease == lease).map(|r| r.why) else { return };
        self.link.send(FromBuilder::Release { lease, why }, out);
        self.say_ping(out);
        let pings = self.link.pings();
        if let Some(released) = self.released.iter_mut().find(|r| r.lease == lease) {
            released.pinged = pings;
        }
    }

    /// Drops the releases that the hub has heard.
    pub(super) fn forget_confirmed(&mut self, out: &mut Vec<Effect>) {
        let Some(pongs) = self.link.pongs() else { return };
        let before = self.released.len();
        let past = &mut self.past;
        self.released.retain(|released| {
            let is_heard = released.pinged.is_some_and(|ping| ping <= pongs);
            past.extend(is_heard.then_some(released.lease));
            !is_heard
        });
        if self.released.len() != before {
            self.past.drain(..self.past.len().saturating_sub(PAST_MAX));
            out.push(Effect::StoreReleases(self.released.clone()));
        }
    }

    /// Drops one release: the hub says that the lease is over.
    pub(super) fn drop_release(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        let before = self.released.len();
        self.released.retain(|released| released.lease != lease);
        if self.released.len() != before {
            out.push(Effect::StoreReleases(self.released.clone()));
        }
    }

    /// SIGTERM: gives back what runs, keeps what only has to be uploaded.
    pub(super) fn stop(&mut self, out: &mut Vec<Effect>) {
        if !matches!(self.mode, super::Mode::Serving | super::Mode::Draining) {
            return;
        }
        self.mode = super::Mode::Stopping;
        self.link.quiet();
        let leases: Vec<LeaseId> = self.jobs.iter().map(|(lease, _)| lease).collect();
        for lease in leases {
            match self.jobs[lease].stage {
                Stage::Options(_) => {
                    self.release(lease, ReleaseWhy::Stopped, out);
                    self.jobs.remove(lease);
                }
                Stage::Fetching { .. } => {
                    self.release(lease, ReleaseWhy::Stopped, out);
                    self.forget(lease, out);
                }
                // The build is done; the shim finishes alone, and the next client finds the spool.
                Stage::Building { phase: Phase::Collect } | Stage::Finished { .. } => {}
                Stage::Building { .. } => {
                    self.release(lease, ReleaseWhy::Stopped, out);
                    self.end(lease, false, out);
                }
                Stage::Ending => self.end(lease, false, out),
            }
        }
    }
}

fn why_text(why: ReleaseWhy) -> &'static str {
    match why {
        ReleaseWhy::Stopped => "told to stop",
        ReleaseWhy::ShimDied => "the shim died without an exit status",
        ReleaseWhy::BadSrpm => "the SRPM arrived damaged three times",
        ReleaseWhy::Disk => "this builder's disk failed or is full",
    }
}
