//! What builders can install, and who waits for it.
//!
//! Owns the index of what is published, as repo told it, and the conditions of packages that wait. Says who is through
//! with waiting; what follows from that is in [`super::deps`].
//!
//! Most files of a package stand in `filelists` only. Repo is asked for those that somebody waits for: it looks at what
//! is published already, and from then on says with each new package which of them it has.

use std::collections::BTreeSet;

use moji_proto::FileName;

use super::Queue;
use super::messages::{Effect, News};
use crate::core::capabilities::{Capabilities, Requirement, Waits};
use crate::core::repo;
use crate::repodata::{Holder, Provided};

/// What is there, and who waits.
#[derive(Debug, Default)]
pub(super) struct Stock {
    /// What builders can see in the hub's repository.
    pub(super) there: Capabilities,
    /// Whether it was told what is there.
    pub(super) is_known: bool,
    pub(super) waits: Waits,
    /// Files that repo was asked for.
    asked: BTreeSet<String>,
}

impl Stock {
    /// Takes the news; gives who is through with waiting.
    fn take(&mut self, news: News) -> Vec<FileName> {
        let is_all = news.stock.is_some();
        if let Some(stock) = news.stock {
            self.there = *stock;
            self.is_known = true;
        }
        for path in &news.gone {
            self.there.remove(path);
        }
        // All of a result counts at once.
        for (path, Provided { nevra, provides, files, .. }) in &news.came {
            self.there.add(path, nevra, provides, files);
        }
        if is_all {
            return self.waits.look(&self.there);
        }
        let arrived = news.came.iter().flat_map(|(_, Provided { nevra, provides, files, .. })| {
            self.waits.arrived(&self.there, nevra, provides, files)
        });
        arrived.collect()
    }

    /// Packages that are there have these files.
    fn take_files(&mut self, found: &[Holder]) -> Vec<FileName> {
        found.iter().for_each(|(path, files)| self.there.add_files(path, files));
        self.waits.look(&self.there)
    }

    /// The files that repo must be asked for, if it has not been told of all of them.
    fn unasked(&mut self) -> Option<BTreeSet<String>> {
        let is_asked = self.waits.files().all(|file| self.asked.contains(file));
        // Answers to what nobody waits for any more would cost each new package a look.
        let is_stale = !self.asked.is_empty() && self.waits.files().next().is_none();
        if is_asked && !is_stale {
            return None;
        }
        self.asked = self.waits.files().map(str::to_owned).collect();
        Some(self.asked.clone())
    }
}

impl Queue {
    /// Gives who is through with waiting since builders can see this.
    pub(super) fn stock_up(&mut self, news: News) -> Vec<FileName> {
        self.stock.take(news)
    }

    /// Gives who is through with waiting since these files were found.
    pub(super) fn stock_files(&mut self, found: &[Holder]) -> Vec<FileName> {
        self.stock.take_files(found)
    }

    /// Notes who waits for what since the last look, and who no longer does. Gives who need not wait at all.
    pub(super) fn note_waits(&mut self, out: &mut Vec<Effect>) -> Vec<FileName> {
        if self.awaits.is_empty() {
            return Vec::new();
        }
        let requirements = |names: &[String]| names.iter().map(|name| Requirement::parse(name)).collect();
        let mut over = Vec::new();
        for (srpm, wants) in std::mem::take(&mut self.awaits) {
            let Some(wants) = wants else {
                self.stock.waits.forget(&srpm);
                continue;
            };
            let (all, any) = (requirements(&wants.all), requirements(&wants.any));
            if self.stock.waits.wait(&self.stock.there, srpm.clone(), all, any) {
                over.push(srpm);
            }
        }
        if let Some(files) = self.stock.unasked() {
            out.push(Effect::Repo(repo::Msg::FindFiles(files)));
        }
        over
    }
}
