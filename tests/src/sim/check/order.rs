//! In which order packages are leased.
//!
//! Owns a model of what waits and was never tried: for such packages nothing but `priority.txt` and the name counts,
//! whoever asks. Of packages that were tried before it says nothing but that they must not go before a listed one.

use std::collections::BTreeSet;

use moji_proto::FileName;
use moji_server::core::queue;

/// The model, of one run of the hub.
#[derive(Debug, Default)]
pub(super) struct OrderModel {
    /// Lines of `priority.txt`, without `.src.rpm`.
    pub(super) listed: Vec<String>,
    /// What waits and was never tried.
    pub(super) fresh: BTreeSet<FileName>,
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
        match msg {
            queue::Msg::Priority(names) => {
                self.listed = names.iter().map(|name| name.trim_end_matches(".src.rpm").to_owned()).collect();
            }
            queue::Msg::Appeared { srpm, .. } if !touched(srpm.as_str()) && !tried(srpm) => {
                self.fresh.insert(srpm.clone());
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
        let stem = srpm.as_str().trim_end_matches(".src.rpm");
        let mine = self.listed.iter().position(|listed| listed == stem);
        let above = &self.listed[..mine.unwrap_or(self.listed.len())];
        let mut above = above.iter().filter_map(|stem| FileName::new(format!("{stem}.src.rpm")).ok());
        if let Some(first) = above.find(|name| self.fresh.contains(name)) {
            return Some(first);
        }
        let first = self.fresh.first().filter(|first| mine.is_none() && was_fresh && *first < srpm);
        first.cloned()
    }
}
