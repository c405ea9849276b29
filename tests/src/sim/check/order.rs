//! In which order packages are leased.
//!
//! Owns a model of what waits and was never tried: for such packages nothing but `priority.txt`, the size and the name
//! counts, whoever asks; unless one was missed by another, whose chain it then heads, or two boards built the same
//! package, so that one is known to be faster. After a quarantine it says nothing more: a builder on trial gets the
//! smallest package. Of packages that were tried before it says nothing but that they must
//! not go before a listed one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use moji_proto::FileName;
use moji_proto::message::Exit;
use moji_server::core::queue;
use moji_server::core::types::BuilderId;

/// The model, of one run of the hub.
#[derive(Debug, Default)]
pub(super) struct OrderModel {
    /// Lines of `priority.txt`, without `.src.rpm`.
    pub(super) listed: Vec<String>,
    /// What waits and was never tried.
    fresh: BTreeSet<FileName>,
    /// Lengths of files.
    sizes: BTreeMap<FileName, u64>,
    /// Names that logs missed.
    missed: BTreeSet<String>,
    /// Who built what.
    built: BTreeMap<FileName, BuilderId>,
    /// Whether speeds may be known.
    has_speeds: bool,
    /// Whether a builder may be on trial after a quarantine.
    pub(super) has_trials: bool,
    /// What the queue asked a lease for and has no answer of: it does not wait, whatever the watch still says of it.
    asked: BTreeSet<FileName>,
}

impl OrderModel {
    /// A new run of the hub knows nothing.
    pub(super) fn forget(&mut self) {
        *self = OrderModel::default();
    }

    /// The queue is told something.
    pub(super) fn told(
        &mut self,
        msg: &queue::Msg,
        touched: impl Fn(&str) -> bool,
        tried: impl Fn(&FileName) -> bool,
    ) {
        if let queue::Msg::Appeared { srpm, facts } = msg {
            self.sizes.insert(srpm.clone(), facts.size);
        }
        match msg {
            queue::Msg::Priority(names) => {
                self.listed = names.iter().map(|name| name.trim_end_matches(".src.rpm").to_owned()).collect();
            }
            queue::Msg::Appeared { srpm, .. }
                if !self.asked.contains(srpm) && !touched(srpm.as_str()) && !tried(srpm) =>
            {
                self.fresh.insert(srpm.clone());
            }
            queue::Msg::Judge { srpm, builder, report, .. } => {
                let names = report.evidence.iter().filter_map(|(_, line)| line.as_str().split('\'').nth(1));
                self.missed.extend(names.map(str::to_owned));
                if report.exit == Exit::Code(0) {
                    let before = self.built.insert(srpm.clone(), *builder);
                    self.has_speeds |= before.is_some_and(|before| before != *builder);
                }
            }
            queue::Msg::Took { .. } => self.has_speeds = true,
            queue::Msg::Granted { srpm, .. } => {
                self.asked.remove(srpm);
                self.fresh.remove(srpm);
            }
            queue::Msg::ClaimFailed { srpm, .. } => {
                self.asked.remove(srpm);
            }
            queue::Msg::Vanished { srpm } | queue::Msg::FinishedChanged { srpm, present: true } => {
                self.fresh.remove(srpm);
            }
            _ => {}
        }
    }

    /// A package is to be leased; says what goes before it and waits.
    pub(super) fn claimed(&mut self, srpm: &FileName) -> Option<FileName> {
        let was_fresh = self.fresh.remove(srpm);
        self.asked.insert(srpm.clone());
        if self.has_trials {
            return None;
        }
        let stem = srpm.as_str().trim_end_matches(".src.rpm");
        let mine = self.listed.iter().position(|listed| listed == stem);
        let above = &self.listed[..mine.unwrap_or(self.listed.len())];
        let mut above = above.iter().filter_map(|stem| FileName::new(format!("{stem}.src.rpm")).ok());
        if let Some(first) = above.find(|name| self.fresh.contains(name)) {
            return Some(first);
        }
        let name = stem.split('-').next().unwrap_or(stem);
        if mine.is_some() || !was_fresh || self.has_speeds || self.missed.contains(name) {
            return None;
        }
        let place = |name: &FileName| (Reverse(self.sizes.get(name).copied()), name.clone());
        self.fresh.iter().find(|first| place(first) < place(srpm)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::rpm;
    use moji_proto::{LeaseId, PublicKey};
    use moji_server::core::types::Srpm;
    use moji_server::rpmfile::read_facts;

    fn name(package: usize) -> FileName {
        FileName::new(format!("p{package}-1-1.src.rpm")).unwrap()
    }

    /// A model that is told things, of packages that nobody touched or tried.
    #[derive(Default)]
    struct Told(OrderModel);

    impl Told {
        fn tell(&mut self, msg: queue::Msg) -> &mut Told {
            self.0.told(&msg, |_| false, |_| false);
            self
        }

        fn appeared(&mut self, package: usize) -> &mut Told {
            let bytes = rpm::source(&format!("p{package}"), 1, 1);
            let facts = Srpm { size: bytes.len() as u64, facts: read_facts(&bytes[..]).unwrap() };
            self.tell(queue::Msg::Appeared { srpm: name(package), facts })
        }

        fn granted(&mut self, package: usize) -> &mut Told {
            let lease = LeaseId { incarnation: 1_764_000_000, counter: package as u32 };
            self.tell(queue::Msg::Granted {
                srpm: name(package),
                lease,
                builder: PublicKey([1; 32]),
                beside: false,
            })
        }
    }

    #[test]
    fn package_that_waits_goes_before_later_names_and_after_listed_ones() {
        let mut told = Told::default();
        told.appeared(1).appeared(2).appeared(3);
        assert_eq!(told.0.claimed(&name(2)), Some(name(1)));
        told.tell(queue::Msg::Priority(vec!["p3-1-1.src.rpm".to_owned()]));
        assert_eq!(told.0.claimed(&name(1)), Some(name(3)));
        assert_eq!(told.0.claimed(&name(3)), None);
    }

    #[test]
    fn package_that_a_lease_is_asked_for_does_not_wait_whatever_the_watch_still_says() {
        // Seed 124446: the watch had looked at all files once more before the move to working/.
        let mut told = Told::default();
        told.appeared(1).appeared(2).appeared(3);
        assert_eq!(told.0.claimed(&name(1)), None);
        told.appeared(1);
        assert_eq!(told.0.claimed(&name(2)), None);
        told.granted(1).appeared(2).granted(2);
        assert_eq!(told.0.claimed(&name(3)), None);
    }
}
