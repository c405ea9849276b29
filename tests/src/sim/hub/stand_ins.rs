//! What stands for the world around the hub: its clock, `history.db`, whoever puts thin repositories together.
//!
//! Owns no decision, and no chance but what a seed of its own says.

use super::*;

/// The hub's clock.
#[derive(Default)]
pub(super) struct SimClock {
    now_ms: AtomicU64,
    unix_s: AtomicU64,
}

impl SimClock {
    pub(super) fn set(&self, now_ms: u64, unix_s: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        self.unix_s.store(unix_s, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Time {
        Time(self.now_ms.load(Ordering::Relaxed))
    }

    fn unix_s(&self) -> u64 {
        self.unix_s.load(Ordering::Relaxed)
    }
}

/// What the hub remembers in `history.db`.
#[derive(Debug, Default)]
pub(in crate::sim) struct Memory {
    pub(super) charged: BTreeMap<FileName, Vec<(Verdict, String)>>,
    pub(super) target: Option<String>,
}

impl Memory {
    pub(super) fn note(&mut self, note: &Note) {
        match note {
            Note::Ended { srpm, verdict, reason, charged: true, .. } => {
                self.charged.entry(srpm.clone()).or_default().push((*verdict, reason.clone()));
            }
            Note::Ended { is_last: false, .. } => {}
            Note::Ended { srpm, verdict: Verdict::Success | Verdict::Failed | Verdict::Excluded, .. }
            | Note::Afresh { srpm } => {
                self.charged.remove(srpm);
            }
            Note::Target { arch } => self.target = Some(arch.clone()),
            // For operators only, and there are none here.
            Note::EndedAs { .. } | Note::Told { .. } | Note::Event(_) => {}
            Note::Ended { .. } | Note::Began { .. } | Note::Builder(_) => {}
        }
    }
}

/// Serves most thin repositories, and can widen most of them.
pub(super) struct ThinStandIn {
    seed: u64,
    asked: AtomicU64,
}

impl ThinStandIn {
    pub(super) fn new(seed: u64) -> ThinStandIn {
        ThinStandIn { seed, asked: AtomicU64::new(0) }
    }

    /// Seven times of eight.
    fn does(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let mixed = (self.seed ^ asked).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed >> 61 != 0
    }
}

impl transfers::ThinDesk for ThinStandIn {
    fn offer(&self, _: &transfers::Need) -> bool {
        self.does()
    }

    fn widen(&self, _: LeaseId, _: &[String]) -> bool {
        self.does()
    }

    fn end(&self, _: LeaseId) {}
}
