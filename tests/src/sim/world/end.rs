//! The end: whether everything is done, and what must hold then.
//!
//! Owns liveness: what is stuck is said with why.

use super::*;

impl World {
    pub(super) fn inspect(&mut self) {
        match self.left() {
            None => {
                self.say(|| "everything is done".to_owned());
                self.finish();
                self.done = true;
            }
            Some(left) if self.now_ms > self.healed_ms + self.opt.healed_max_ms => {
                let hub = self
                    .hub
                    .as_ref()
                    .map(|hub| hub.queue.snapshot(Time(self.now_ms - hub.started_ms)).why_nothing());
                let boards: Vec<String> = self
                    .boards
                    .iter()
                    .map(|board| {
                        board.core.as_ref().map_or("off".to_owned(), moji_client::core::Builder::status)
                    })
                    .collect();
                let hours = self.opt.healed_max_ms / 3_600_000;
                self.check.fail(format!(
                    "stuck {hours} h after the faults: {left}; the hub: {hub:?}; the boards: {boards:?}; live leases: {:?}",
                    self.check.live()
                ));
            }
            Some(_) => self.at(self.now_ms + self.opt.inspect_every_ms, Ev::Inspect),
        }
    }

    /// What is not done yet.
    pub(super) fn left(&mut self) -> Option<String> {
        let indexed = self.indexed();
        if self.hub.is_none() {
            return Some("the hub is down".to_owned());
        }
        for (package, plan) in self.opt.packages.iter().enumerate() {
            let name = srpm_name(package);
            let waits = match plan.nature {
                Nature::NeedsNothingThere => true,
                Nature::Needs(needed) => {
                    !indexed.iter().any(|path| path.ends_with(&format!("/p{needed}-1-1.noarch.rpm")))
                }
                _ => false,
            };
            let there = |place: &str| self.disk.look(&format!("{place}/{name}")).is_some();
            if !(self.dropped[package] && (there("finished") || waits) && !there("working"))
                || (there("source") && !waits)
            {
                return Some(format!(
                    "{name} ({:?}) is in {:?}",
                    plan.nature,
                    ["source", "working", "finished"].map(|place| there(place).then_some(place))
                ));
            }
        }
        if let Some(lease) = self.check.live().first() {
            return Some(format!("lease {lease} lives"));
        }
        for (number, board) in self.boards.iter().enumerate() {
            if let Some(lease) = board.around.folder.jobs.keys().next() {
                return Some(format!("board{number} has a job of {lease}"));
            }
            if !board.around.folder.released.is_empty() {
                return Some(format!("board{number} has releases that nobody heard of"));
            }
        }
        self.disk
            .names("working")
            .into_iter()
            .find(|name| name.starts_with(".stage-"))
            .map(|name| format!("working/{name} is there"))
            .or_else(|| self.not_indexed())
    }

    /// What must hold when everything is done.
    pub(super) fn finish(&mut self) {
        self.check.repo(&self.disk);
        self.check.knows_priority(&self.priority);
        for (package, plan) in self.opt.packages.iter().enumerate() {
            let name = srpm_name(package);
            let folders = self.check.results_of(&name);
            let rpm = format!("p{package}-1-1.noarch.rpm");
            let published =
                folders.iter().any(|folder| self.disk.look(&format!("repo/{folder}/{rpm}")).is_some());
            let excused = self.check.charged.contains(&name);
            let bad = matches!(
                plan.nature,
                Nature::Failing | Nature::Foreign | Nature::Damaged | Nature::NeedsNothingThere
            );
            if plan.nature == Nature::Good && !published && !excused {
                self.check.fail(format!("{name} is finished, was never charged, and is not published"));
            }
            if bad && published {
                self.check.fail(format!("{name} ({:?}) was published", plan.nature));
            }
        }
    }
}
