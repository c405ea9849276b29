//! Repo: the indexes over what is published.
//!
//! Owns what is indexed from where and when: which of several RPMs of one name, what is on recent and what on a
//! shelf, when a merge and a complete index are due, what is tried again after an error. Never knows builders,
//! never forgets a result. How indexes are made is [`crate::index`]'s.
//!
//! ```text
//!   Published ─▶ to add ──── Recent ───▶ on recent ──── Merge ───▶ on a shelf
//!    ByHand        │  ▲ reader: no piece, by hand                     ▲
//!                  └──┴── far too many (cold start) ───── Merge ──────┘
//!   Withdraw, gone by hand: off recent with the next Recent, off the shelf with the next Merge; then Complete
//! ```
//!
//! Three threads work for it, each on one order at a time: the fast one publishes recent, the slow one does
//! everything that takes longer the larger the repository is, the reader reads RPMs. What comes while an order is
//! carried out waits for the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use moji_proto::message::EventKind;
use moji_proto::{FileName, Time};

use super::capabilities::Capabilities;
use super::view::Event;
use super::{desk, queue};
use crate::repodata::{DamagedMember, Finder, Group, Holder, Provided};

mod compare;
mod messages;
mod news;
mod orders;
mod pace;
mod places;
#[cfg(test)]
mod tests;
mod wanted;

pub use compare::{Changed, Compare, Compared};
pub use messages::{
    Effect, Found, Live, Merged, Msg, Opened, Path, Published, Read, Seen, Skipped, Source, Stamp,
};
use news::News;
use pace::{Bucket, Retry};
use places::{Places, packages};
use wanted::{Want, Wanted};

/// Pause before a sweep that failed is tried again, milliseconds: old files are in nobody's way.
const SWEEP_AGAIN_MS: u64 = 300_000;

/// How the hub publishes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Whether builders read recent and base. If not, they read the complete index.
    pub tiers: bool,
    /// From how many packages on recent is merged.
    pub recent_packages_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { tiers: true, recent_packages_max: crate::index::RECENT_PACKAGES_MAX }
    }
}

/// What the fast thread does.
#[derive(Debug)]
enum Fast {
    Idle,
    Publishing(Batch),
    Sweeping,
}

/// What a publication changes.
#[derive(Debug, Default)]
struct Batch {
    add: BTreeSet<Path>,
    gone: BTreeSet<Path>,
    merged: BTreeSet<Path>,
}

/// What the slow thread does.
#[derive(Debug)]
enum Slow {
    /// Nothing yet: the shelves are still to be opened.
    Closed,
    Opening,
    Idle,
    Merging(Merging),
    /// Makes the complete index, without anything of these folders. Where builders read that one, the queue hears this
    /// when it is live.
    Completing(Vec<String>, News),
    /// Looks for files.
    Finding,
    /// Compares builds.
    Comparing(Vec<Compare>),
    Sweeping,
}

/// What a merge changes.
#[derive(Debug, Default)]
struct Merging {
    groups: Vec<Arc<Group>>,
    bulk: BTreeSet<Path>,
    gone: BTreeSet<Path>,
}

/// The repo core.
#[derive(Debug)]
pub struct Repo {
    config: Config,
    wanted: Wanted,
    places: Places,
    fast: Fast,
    slow: Slow,
    /// What the reader reads.
    reading: BTreeSet<Path>,
    /// What it has read, for the next publication.
    ready: Vec<Arc<Group>>,
    /// Results whose piece is not there or not readable: their RPMs are read.
    pieceless: BTreeSet<String>,
    /// So much is to be added that it goes onto the shelf without having been on recent.
    bulk: BTreeSet<Path>,
    /// What is on recent as it was published last.
    groups: Vec<Arc<Group>>,
    /// All of `repo/` has been looked at once: what was not found is not there.
    seen_all: bool,
    /// Recent has been published in this run.
    published: bool,
    /// The complete index does not say all.
    incomplete: bool,
    /// A complete index has been made in this run.
    completed: bool,
    /// Withdrawn results that an index may name still, with their RPMs.
    leaving: BTreeMap<String, Vec<Path>>,
    /// What the queue is to be told.
    news: News,
    /// Files that somebody waits for.
    files: BTreeSet<String>,
    /// Which of them are to be looked for in what is published already.
    to_find: BTreeSet<String>,
    /// Builds that are to be compared with earlier ones.
    to_compare: Vec<Compare>,
    compare_retry: Retry,
    fast_retry: Retry,
    read_retry: Retry,
    merge_retry: Retry,
    slow_retry: Retry,
    find_retry: Retry,
    completes: Bucket,
    removals: Bucket,
    sweep_recent_at: Option<Time>,
    sweep_index_at: Option<Time>,
    /// When something is due that waits for the time.
    wake: Option<Time>,
}

impl super::Core for Repo {
    type Msg = Msg;
    type Effect = Effect;

    fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        self.handle(now, msg, out);
    }

    fn deadline(&self) -> Option<Time> {
        self.deadline()
    }

    fn tick() -> Msg {
        Msg::Tick
    }
}

impl Repo {
    /// Starts from what `repo/` holds, in the order in which it was committed; the first tick is due at once.
    #[must_use]
    pub fn new(published: Vec<Published>, config: Config) -> Repo {
        let mut repo = Repo {
            config,
            wanted: Wanted::default(),
            places: Places::default(),
            fast: Fast::Idle,
            slow: Slow::Closed,
            reading: BTreeSet::new(),
            ready: Vec::new(),
            pieceless: BTreeSet::new(),
            bulk: BTreeSet::new(),
            groups: Vec::new(),
            seen_all: false,
            published: false,
            incomplete: true,
            completed: false,
            leaving: BTreeMap::new(),
            news: News::default(),
            files: BTreeSet::new(),
            to_find: BTreeSet::new(),
            to_compare: Vec::new(),
            compare_retry: Retry::default(),
            find_retry: Retry::default(),
            fast_retry: Retry::default(),
            read_retry: Retry::default(),
            merge_retry: Retry::default(),
            slow_retry: Retry::default(),
            completes: Bucket::default(),
            removals: Bucket::default(),
            sweep_recent_at: None,
            sweep_index_at: None,
            wake: Some(Time(0)),
        };
        for published in published {
            let changed = repo.wanted.publish(published);
            repo.reconsider(&changed);
        }
        repo
    }

    /// These RPMs of results that were withdrawn in an earlier run are to be told of when no index names them any more.
    #[must_use]
    pub fn leaving(mut self, left: &[(String, Vec<FileName>)]) -> Repo {
        for (folder, rpms) in left {
            let rpms = rpms.iter().map(|name| path(folder, name.as_str())).collect();
            self.leaving.insert(folder.clone(), rpms);
        }
        self
    }

    /// When it wants a `Tick`.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.wake
    }

    /// Takes one message.
    pub fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        match msg {
            Msg::Published(published) => {
                self.leaving.remove(&published.folder);
                let changed = self.wanted.publish(published);
                self.reconsider(&changed);
            }
            Msg::Withdraw { folder } => self.withdraw(&folder),
            Msg::ByHand(seen) => {
                for Seen { folder, is_result, rpms } in seen {
                    let changed = self.wanted.seen(&folder, is_result, &rpms);
                    self.reconsider(&changed);
                }
            }
            Msg::AllSeen => self.all_seen(),
            Msg::LookAgain => {
                let changed = self.wanted.forgive();
                self.reconsider(&changed);
            }
            Msg::FindFiles(files) => {
                self.to_find =
                    files.difference(&self.files).chain(files.intersection(&self.to_find)).cloned().collect();
                self.files = files;
            }
            Msg::Found(found) => self.found(now, found, out),
            Msg::Compare(builds) => self.to_compare.extend(builds),
            Msg::Compared(compared) => self.compared(now, compared, out),
            Msg::Opened(opened) => self.opened(now, opened, out),
            Msg::Read(read) => self.read(now, read, out),
            Msg::RecentLive(live) => self.recent_live(now, live, out),
            Msg::RecentSwept(swept) => {
                self.fast = Fast::Idle;
                self.sweep_recent_at = after_sweep(now, swept, out);
            }
            Msg::Merged(merged) => self.merged(now, merged, out),
            Msg::CompleteLive(live) => self.complete_live(now, live, out),
            Msg::IndexSwept(swept) => {
                self.slow = Slow::Idle;
                self.sweep_index_at = after_sweep(now, swept, out);
            }
            Msg::Tick => {}
        }
        self.settle(now, out);
    }

    fn reconsider<'a>(&mut self, paths: impl IntoIterator<Item = &'a Path>) {
        for at in paths {
            self.places.reconsider(at, self.wanted.want(at));
        }
    }

    fn withdraw(&mut self, folder: &str) {
        self.leaving.insert(folder.to_owned(), self.wanted.rpms_of(folder));
        let changed = self.wanted.withdraw(folder);
        self.reconsider(&changed);
        self.pieceless.remove(folder);
        // Whoever waits for it to be gone hears of that when the next complete index is live.
        self.incomplete = true;
    }

    /// What is on a shelf and was not found is gone.
    fn all_seen(&mut self) {
        if !std::mem::replace(&mut self.seen_all, true) {
            let on_shelf: Vec<Path> = self.places.shelf.keys().cloned().collect();
            self.reconsider(&on_shelf);
        }
    }

    fn opened(&mut self, now: Time, opened: Result<Opened, String>, out: &mut Vec<Effect>) {
        match opened {
            Ok(Opened { on_shelf, stock, sweep_at }) => {
                self.slow_retry.succeeded();
                self.slow = Slow::Idle;
                self.restock(stock, out);
                self.sweep_index_at = sweep_at;
                let before = std::mem::replace(&mut self.places.shelf, on_shelf.into_iter().collect());
                if !before.is_empty() {
                    // They were damaged and start over: the complete index stays until they hold as much again.
                    (self.completed, self.incomplete) = (false, true);
                }
                let known = self.places.to_add.iter().chain(before.keys()).cloned();
                let known: Vec<Path> = known.collect();
                self.reconsider(&known);
                if self.seen_all {
                    let on_shelf: Vec<Path> = self.places.shelf.keys().cloned().collect();
                    self.reconsider(&on_shelf);
                }
            }
            Err(why) => {
                self.slow = Slow::Closed;
                complain(&mut self.slow_retry, now, "open the index", &why, out);
            }
        }
    }

    fn read(&mut self, now: Time, read: Read, out: &mut Vec<Effect>) {
        let Read { groups, skipped, failed } = read;
        match failed {
            Some(why) => complain(&mut self.read_retry, now, "read RPMs for the index", &why, out),
            None => self.read_retry.succeeded(),
        }
        let read = std::mem::take(&mut self.reading);
        self.ready.extend(groups);
        self.set_aside(&skipped);
        self.reconsider(&read);
    }

    fn set_aside(&mut self, skipped: &[Skipped]) {
        for Skipped { path, stamp } in skipped {
            // Meanwhile it may be another one.
            let is_another =
                matches!((self.wanted.want(path), stamp), (Want::Exactly(want), Some(was)) if want != *was);
            if !is_another {
                let changed = self.wanted.set_aside(path);
                self.reconsider(&changed);
            }
        }
    }

    fn recent_live(&mut self, now: Time, live: Result<Live, String>, out: &mut Vec<Effect>) {
        let Fast::Publishing(batch) = std::mem::replace(&mut self.fast, Fast::Idle) else { return };
        let Live { groups, unread, sweep_at } = match live {
            Ok(live) => live,
            Err(why) => return complain(&mut self.fast_retry, now, "publish the index", &why, out),
        };
        self.fast_retry.succeeded();
        self.sweep_recent_at = sweep_at;
        let mut changed = self.places.set_recent(&groups);
        self.groups = groups;
        let came: BTreeSet<&Path> =
            changed.iter().filter(|at| !self.places.shelf.contains_key(*at)).collect();
        let provided = news::provided(&self.groups, &self.files, |at| came.contains(at));
        self.note(provided, out);
        self.pieceless.extend(unread);
        for at in &batch.gone {
            self.places.lingers.remove(at);
        }
        self.places.lingers.extend(batch.merged.iter().cloned());
        let recent = &self.places.recent;
        self.ready.retain(|group| !group.packages.iter().all(|listed| recent.contains_key(&listed.path)));
        let news = !(batch.add.is_empty() && batch.gone.is_empty() && self.published);
        self.published = true;
        changed.extend(batch.add.into_iter().chain(batch.gone).chain(batch.merged));
        self.note_gone(&changed);
        self.reconsider(&changed);
        if news {
            self.incomplete = true;
            if self.config.tiers {
                let news = std::mem::take(&mut self.news);
                self.tell_live(news, out);
            }
        }
    }

    /// The shelves hold this, and recent what it holds.
    fn restock(&mut self, stock: Box<Capabilities>, out: &mut Vec<Effect>) {
        self.news.start_over(stock);
        let provided = news::provided(&self.groups, &self.files, |_| true);
        self.note(provided, out);
        // It is looked at anew.
        self.to_find.clone_from(&self.files);
    }

    fn note(&mut self, provided: Result<Vec<(Path, Provided)>, DamagedMember>, out: &mut Vec<Effect>) {
        match provided {
            Ok(provided) => self.news.came(provided),
            Err(damage) => {
                let text =
                    format!("recent: {damage}: what waits for something in it is tried once a day only");
                out.push(Effect::Log(log::Level::Error, text));
            }
        }
    }

    /// Notes which of these paths are nowhere any more.
    fn note_gone(&mut self, paths: &[Path]) {
        let gone = paths.iter().filter(|at| self.places.is_nowhere(at));
        gone.for_each(|at| self.news.went(at));
    }

    fn found(&mut self, now: Time, found: Result<Vec<Holder>, String>, out: &mut Vec<Effect>) {
        self.slow = Slow::Idle;
        match found {
            Ok(found) => {
                self.find_retry.succeeded();
                if !found.is_empty() {
                    out.push(Effect::Queue(queue::Msg::FilesFound(found)));
                }
            }
            Err(why) => {
                self.to_find.clone_from(&self.files);
                complain(&mut self.find_retry, now, "look for files in the index", &why, out);
            }
        }
    }

    /// Builders see something new.
    fn tell_live(&self, news: News, out: &mut Vec<Effect>) {
        let rpms = self.places.live();
        out.push(Effect::Queue(queue::Msg::Published(news.tell())));
        out.push(Effect::Desk(desk::Msg::Indexed { rpms: u32::try_from(rpms).unwrap_or(u32::MAX) }));
        let text = format!("a new index is live: {rpms} RPMs");
        out.push(Effect::Desk(desk::Msg::Event(Event::new(EventKind::Published, text))));
    }

    fn merged(&mut self, now: Time, merged: Result<Merged, String>, out: &mut Vec<Effect>) {
        let Slow::Merging(order) = std::mem::replace(&mut self.slow, Slow::Idle) else { return };
        let Merged { added, stock, skipped, sweep_at } = match merged {
            Ok(merged) => merged,
            Err(why) => return complain(&mut self.merge_retry, now, "merge the index", &why, out),
        };
        self.merge_retry.succeeded();
        self.sweep_index_at = sweep_at;
        let shelf = &mut self.places.shelf;
        shelf.retain(|at, _| !order.gone.contains(at));
        shelf.extend(packages(&order.groups).map(|(at, stamp)| (at.clone(), stamp)));
        shelf.extend(added);
        self.bulk.retain(|at| !order.bulk.contains(at));
        self.set_aside(&skipped);
        if let Some(stock) = stock {
            self.restock(stock, out);
        }
        let gone: Vec<Path> = order.gone.iter().cloned().collect();
        self.note_gone(&gone);
        let moved: Vec<Path> = packages(&order.groups).map(|(at, _)| at.clone()).collect();
        self.reconsider(order.gone.iter().chain(&order.bulk).chain(&moved));
        if !(order.gone.is_empty() && order.bulk.is_empty()) {
            self.incomplete = true;
            if self.config.tiers {
                let news = std::mem::take(&mut self.news);
                self.tell_live(news, out);
            }
        }
    }

    fn complete_live(&mut self, now: Time, live: Result<Option<Time>, String>, out: &mut Vec<Effect>) {
        let Slow::Completing(without, news) = std::mem::replace(&mut self.slow, Slow::Idle) else { return };
        match live {
            Ok(sweep_at) => {
                self.slow_retry.succeeded();
                self.sweep_index_at = sweep_at;
                self.completed = true;
                if !self.config.tiers {
                    self.tell_live(news, out);
                }
                for folder in without {
                    if self.leaving.remove(&folder).is_some() {
                        out.push(Effect::Desk(desk::Msg::Withdrawn { folder }));
                    }
                }
            }
            Err(why) => {
                self.incomplete = true;
                self.news.put_back(news);
                complain(&mut self.slow_retry, now, "publish the complete index", &why, out);
            }
        }
    }
}

/// The path of an RPM in a folder of `repo/`.
fn path(folder: &str, name: &str) -> Path {
    if folder.is_empty() { name.into() } else { format!("{folder}/{name}").into() }
}

/// An order failed: says so, and when it is tried again.
fn complain(retry: &mut Retry, now: Time, what: &str, why: &str, out: &mut Vec<Effect>) {
    let seconds = retry.failed(now) / 1_000;
    let text = format!("failed to {what}: {why}; trying again in {seconds} s");
    out.push(Effect::Log(log::Level::Error, text));
}

/// When to sweep again.
fn after_sweep(now: Time, swept: Result<Option<Time>, String>, out: &mut Vec<Effect>) -> Option<Time> {
    swept.unwrap_or_else(|why| {
        let text = format!("failed to delete superseded files of the index: {why}");
        out.push(Effect::Log(log::Level::Warn, text));
        Some(now.plus_ms(SWEEP_AGAIN_MS))
    })
}
