//! What is ordered next, and of whom.
//!
//! Owns what makes a publication, a merge and a complete index due, and which goes first.

use super::*;

/// More packages than this to add at once are not for recent: they go onto the shelf directly.
const BULK_MIN: usize = 1_024;
/// Packages that the reader is given at once, but a result is never divided: what was read is published soon.
const READ_MAX: usize = 256;

/// The folder of a path.
fn folder_of(at: &str) -> &str {
    at.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Repo {
    /// Gives everybody who is idle the next order, and finds out when to look again.
    pub(super) fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.wake = None;
        let is_open = !matches!(self.slow, Slow::Closed | Slow::Opening);
        if is_open {
            self.divide();
            self.order_fast(now, out);
            self.order_reader(now, out);
        }
        self.order_slow(now, out);
    }

    fn wake_at(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Whether there is a pause; then a tick comes at its end.
    pub(super) fn pauses(&mut self, until: Option<Time>) -> bool {
        until.inspect(|at| self.wake_at(*at)).is_some()
    }

    /// Far too much to add goes onto the shelf, but for the newest.
    fn divide(&mut self) {
        if self.places.to_add.len() <= BULK_MIN {
            return;
        }
        let mut rest: Vec<Path> = self.places.to_add.iter().filter(|at| !self.is_busy(at)).cloned().collect();
        if rest.len() <= BULK_MIN {
            return;
        }
        let number = |at: &Path| self.wanted.number(folder_of(at));
        rest.sort_by_key(|at| std::cmp::Reverse(number(at)));
        let max = self.config.recent_packages_max.saturating_sub(self.places.recent.len());
        let mut newest = rest.iter().take_while(|at| number(at) > 0).take(max).count();
        // Whole results only.
        while newest > 0 && newest < rest.len() && number(&rest[newest]) == number(&rest[newest - 1]) {
            newest -= 1;
        }
        self.bulk.extend(rest.drain(newest..));
    }

    /// Whether somebody has or gets this path's groups already.
    fn is_busy(&self, at: &str) -> bool {
        self.bulk.contains(at)
            || self.reading.contains(at)
            || packages(&self.ready).any(|(it, _)| **it == *at)
    }

    /// Whether this path's groups are in its result's piece.
    fn has_piece(&self, at: &str) -> bool {
        self.wanted.is_of_result(at) && !self.pieceless.contains(folder_of(at))
    }

    /// What was read and is still wanted as it was read.
    fn usable(&mut self) -> Vec<Arc<Group>> {
        let (places, wanted) = (&self.places, &self.wanted);
        self.ready.retain(|group| {
            group.packages.iter().all(|listed| {
                let fits = match wanted.want(&listed.path) {
                    Want::Not => false,
                    Want::Any => true,
                    Want::Exactly(stamp) => stamp == Stamp::of(listed),
                };
                fits && places.to_add.contains(&listed.path)
            })
        });
        self.ready.clone()
    }

    /// The RPMs of results that can be published at once.
    fn results_to_add(&self) -> Vec<Source> {
        let mut sources: Vec<Source> = Vec::new();
        for at in &self.places.to_add {
            if self.is_busy(at) || !self.has_piece(at) {
                continue;
            }
            let here = folder_of(at);
            match sources.last_mut() {
                Some(Source::Result { folder, rpms }) if folder == here => rpms.push(at.clone()),
                _ => sources.push(Source::Result { folder: here.to_owned(), rpms: vec![at.clone()] }),
            }
        }
        sources
    }

    fn order_fast(&mut self, now: Time, out: &mut Vec<Effect>) {
        if !matches!(self.fast, Fast::Idle) {
            return;
        }
        let ready = self.usable();
        let mut add = self.results_to_add();
        if !ready.is_empty() {
            add.push(Source::Groups(ready));
        }
        let (gone, merged) = (self.places.off_recent.clone(), self.places.merged());
        if !(self.published && add.is_empty() && gone.is_empty() && merged.is_empty()) {
            if self.pauses(self.fast_retry.until(now)) {
                return;
            }
            let add_paths = add.iter().flat_map(paths_of).collect();
            self.fast =
                Fast::Publishing(Batch { add: add_paths, gone: gone.clone(), merged: merged.clone() });
            out.push(Effect::Recent { add, gone, merged });
        } else if let Some(at) = self.sweep_recent_at {
            if at > now {
                return self.wake_at(at);
            }
            self.fast = Fast::Sweeping;
            out.push(Effect::SweepRecent);
        }
    }

    fn order_reader(&mut self, now: Time, out: &mut Vec<Effect>) {
        if !self.seen_all || !self.reading.is_empty() {
            return;
        }
        let mut paths: Vec<Path> = Vec::new();
        for at in &self.places.to_add {
            let ends = paths.last().is_some_and(|last| folder_of(last) != folder_of(at));
            if paths.len() >= READ_MAX && (ends || !self.wanted.is_of_result(at)) {
                break;
            }
            if !self.has_piece(at) && !self.is_busy(at) {
                paths.push(at.clone());
            }
        }
        if !paths.is_empty() && !self.pauses(self.read_retry.until(now)) {
            self.reading.extend(paths.iter().cloned());
            out.push(Effect::Read(paths));
        }
    }

    fn order_slow(&mut self, now: Time, out: &mut Vec<Effect>) {
        let pauses = matches!(self.slow, Slow::Closed) && self.pauses(self.slow_retry.until(now));
        match self.slow {
            Slow::Closed if !pauses => {
                self.slow = Slow::Opening;
                out.push(Effect::Open);
            }
            Slow::Idle if self.published && self.seen_all => {
                let removes = self.removes();
                let _ = self.order_find(now, out)
                    || self.order_compare(now, out)
                    || removes && self.order_merge(now, out)
                    || self.order_complete(now, removes, out)
                    || !removes && self.is_full() && self.order_merge(now, out)
                    || self.order_sweep(now, out);
            }
            _ => {}
        }
    }

    /// Whether something is on a shelf that must not be, or far too much is to be added.
    fn removes(&self) -> bool {
        !(self.bulk.is_empty() && self.removable().is_empty())
    }

    /// What a merge may take off the shelf: what is rebuilt stays until its rebuild is live.
    fn removable(&self) -> BTreeSet<Path> {
        let is_replaced = |at: &&Path| match self.wanted.instead_of(at) {
            Some(other) => !self.places.is_nowhere(&other),
            None => true,
        };
        self.places.off_shelf.iter().filter(is_replaced).cloned().collect()
    }

    fn is_full(&self) -> bool {
        let merged = self.places.merged().len();
        self.places.recent.len() - merged > self.config.recent_packages_max
    }

    /// Whether recent shows what it must not, or will not do so any more in a moment.
    fn takes_off(&self) -> bool {
        let on_the_way = matches!(&self.fast, Fast::Publishing(batch) if !batch.gone.is_empty());
        on_the_way || !self.places.off_recent.is_empty()
    }

    /// What is on recent and on no shelf.
    fn unmerged(&self) -> Vec<Arc<Group>> {
        let is_merged = |group: &&Arc<Group>| {
            group.packages.iter().all(|listed| self.places.shelf.contains_key(&listed.path))
        };
        self.groups.iter().filter(|group| !is_merged(group)).cloned().collect()
    }

    /// True if it was ordered.
    fn order_merge(&mut self, now: Time, out: &mut Vec<Effect>) -> bool {
        if self.takes_off() || self.pauses(self.merge_retry.until(now)) {
            return false;
        }
        let is_urgent = !self.bulk.is_empty() || self.is_full();
        if !is_urgent && self.pauses(self.removals.wait(now)) {
            return false;
        }
        if !is_urgent {
            self.removals.take(now);
        }
        let bulk: BTreeSet<Path> = self.bulk.intersection(&self.places.to_add).cloned().collect();
        self.bulk.clone_from(&bulk);
        let (groups, gone) = (self.unmerged(), self.removable());
        if bulk.is_empty() && gone.is_empty() && groups.is_empty() {
            return false;
        }
        let mut add = self.sources(&bulk);
        if !groups.is_empty() {
            add.push(Source::Groups(groups.clone()));
        }
        self.slow = Slow::Merging(Merging { groups, bulk, gone: gone.clone() });
        out.push(Effect::Merge { add, gone });
        true
    }

    /// Where these paths' groups are.
    fn sources(&self, paths: &BTreeSet<Path>) -> Vec<Source> {
        let mut sources: Vec<Source> = Vec::new();
        for at in paths {
            let here = folder_of(at);
            match (self.has_piece(at), sources.last_mut()) {
                (true, Some(Source::Result { folder, rpms })) if folder == here => rpms.push(at.clone()),
                (true, _) => sources.push(Source::Result { folder: here.to_owned(), rpms: vec![at.clone()] }),
                (false, Some(Source::Files(files))) => files.push(at.clone()),
                (false, _) => sources.push(Source::Files(vec![at.clone()])),
            }
        }
        sources
    }

    /// True if it was ordered. A merge that takes something out comes first, unless it fails: what is new must not
    /// wait for that.
    fn order_complete(&mut self, now: Time, removes: bool, out: &mut Vec<Effect>) -> bool {
        let merge_first = removes && self.merge_retry.until(now).is_none() || !self.bulk.is_empty();
        // The index of an earlier run stays until the first one holds as much.
        let too_early = !self.completed && !self.places.to_add.is_empty();
        if !self.incomplete || merge_first || too_early || self.takes_off() {
            return false;
        }
        if self.pauses(self.slow_retry.until(now)) {
            return false;
        }
        if self.config.tiers {
            if self.pauses(self.completes.wait(now)) {
                return false;
            }
            self.completes.take(now);
        }
        self.incomplete = false;
        let news = if self.config.tiers { News::default() } else { std::mem::take(&mut self.news) };
        self.slow = Slow::Completing(self.left(), news);
        out.push(Effect::Complete { recent: self.unmerged() });
        true
    }

    /// Folders of withdrawn results that no index for builders names any more.
    fn left(&self) -> Vec<String> {
        let is_on_the_way =
            |at: &Path| matches!(&self.fast, Fast::Publishing(batch) if batch.add.contains(at));
        let is_gone = |at: &Path| self.places.is_nowhere(at) && !is_on_the_way(at);
        let left = self.leaving.iter().filter(|(_, rpms)| rpms.iter().all(is_gone));
        left.map(|(folder, _)| folder.clone()).collect()
    }

    /// True if it was ordered: somebody waits for the answer, and it takes a second or two.
    fn order_find(&mut self, now: Time, out: &mut Vec<Effect>) -> bool {
        if self.to_find.is_empty() || self.pauses(self.find_retry.until(now)) {
            return false;
        }
        let files = Finder::new(&std::mem::take(&mut self.to_find));
        self.slow = Slow::Finding;
        out.push(Effect::Find { files, recent: self.groups.clone() });
        true
    }

    fn order_sweep(&mut self, now: Time, out: &mut Vec<Effect>) -> bool {
        let Some(at) = self.sweep_index_at else { return false };
        if at > now {
            self.wake_at(at);
            return false;
        }
        self.slow = Slow::Sweeping;
        out.push(Effect::SweepIndex);
        true
    }
}

/// The paths that a source brings.
fn paths_of(source: &Source) -> Vec<Path> {
    match source {
        Source::Result { rpms, .. } => rpms.clone(),
        Source::Groups(groups) => packages(groups).map(|(at, _)| at.clone()).collect(),
        Source::Files(files) => files.clone(),
    }
}
