//! Carrying out what [`crate::core::repo`] orders.
//!
//! Owns the two objects that publish: [`Fast`] has recent, [`Slow`] the shelves. Each belongs to one thread and does one
//! order at a time. Decides nothing.

use std::collections::BTreeSet;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};

use super::reading::{Reader, Tally, sha256};
use super::shelf::CATALOG;
use super::{Config, IndexError, Layout, Recent, RecentChange, Shelves, at, damaged, remove_if_there};
use crate::clock::Clock;
use crate::core::capabilities::Capabilities;
use crate::core::repo::{Compare, Effect, Live, Merged, Msg, Opened, Path, Source, Stamp};
use crate::disk::Disk;
use crate::repodata::{Class, Finder, Group, Holder, Provided};

/// What the fast thread is asked for.
#[derive(Clone, Debug)]
pub enum FastOrder {
    /// See [`crate::core::repo::Effect::Recent`].
    Publish {
        /// What comes.
        add: Vec<Source>,
        /// What goes.
        gone: BTreeSet<Path>,
        /// What is on base now.
        merged: BTreeSet<Path>,
    },
    /// Delete old files.
    Sweep,
}

/// What the slow thread is asked for.
#[derive(Clone, Debug)]
pub enum SlowOrder {
    /// Open the shelves.
    Open,
    /// See [`crate::core::repo::Effect::Merge`].
    Merge {
        /// What comes.
        add: Vec<Source>,
        /// What goes.
        gone: BTreeSet<Path>,
    },
    /// See [`crate::core::repo::Effect::Complete`].
    Complete(Vec<Arc<Group>>),
    /// See [`crate::core::repo::Effect::Find`].
    Find {
        /// Which.
        files: Finder,
        /// What is on recent.
        recent: Vec<Arc<Group>>,
    },
    /// See [`crate::core::repo::Effect::Compare`].
    Compare {
        /// Which.
        builds: Vec<Compare>,
        /// What is on recent.
        recent: Vec<Arc<Group>>,
    },
    /// Delete old files.
    Sweep,
}

/// For whom an effect of the core is.
#[derive(Clone, Debug)]
pub enum Order {
    /// For the fast thread.
    Fast(FastOrder),
    /// For the slow thread.
    Slow(SlowOrder),
    /// For the reader.
    Read(Vec<Path>),
}

impl Order {
    /// What an effect orders, or the effect if it is for an actor.
    ///
    /// # Errors
    /// The effect.
    pub fn of(effect: Effect) -> Result<Order, Box<Effect>> {
        Ok(match effect {
            Effect::Recent { add, gone, merged } => Order::Fast(FastOrder::Publish { add, gone, merged }),
            Effect::SweepRecent => Order::Fast(FastOrder::Sweep),
            Effect::Open => Order::Slow(SlowOrder::Open),
            Effect::Merge { add, gone } => Order::Slow(SlowOrder::Merge { add, gone }),
            Effect::Complete { recent } => Order::Slow(SlowOrder::Complete(recent)),
            Effect::Find { files, recent } => Order::Slow(SlowOrder::Find { files, recent }),
            Effect::Compare { builds, recent } => Order::Slow(SlowOrder::Compare { builds, recent }),
            Effect::SweepIndex => Order::Slow(SlowOrder::Sweep),
            Effect::Read(paths) => Order::Read(paths),
            Effect::Queue(_) | Effect::Desk(_) | Effect::Log(..) => return Err(Box::new(effect)),
        })
    }
}

/// Publishes recent.
pub struct Fast {
    recent: Recent,
    reader: Arc<Reader>,
}

impl Fast {
    /// Works with this recent.
    #[must_use]
    pub fn new(recent: Recent, reader: Arc<Reader>) -> Fast {
        Fast { recent, reader }
    }

    /// Carries out an order and says what came of it.
    pub fn run(&mut self, order: FastOrder) -> Msg {
        match order {
            FastOrder::Publish { add, gone, merged } => {
                Msg::RecentLive(self.publish(add, gone, merged).map_err(|error| error.to_string()))
            }
            FastOrder::Sweep => {
                let swept = self.recent.sweep().map_err(|error| error.to_string());
                Msg::RecentSwept(swept.map(|()| self.recent.next_sweep()))
            }
        }
    }

    fn publish(
        &mut self,
        sources: Vec<Source>,
        gone: BTreeSet<Path>,
        merged: BTreeSet<Path>,
    ) -> Result<Live, IndexError> {
        let (mut add, mut unread) = (Vec::new(), Vec::new());
        for source in sources {
            match source {
                Source::Groups(groups) => add.extend(groups.iter().map(|group| (**group).clone())),
                Source::Result { folder, rpms } => match self.reader.piece(&folder, &rpms)? {
                    Some(groups) => add.extend(groups),
                    None => unread.push(folder),
                },
                Source::Files(_) => unreachable!("recent is given what was read"),
            }
        }
        self.recent.publish(RecentChange { add, gone, merged })?;
        Ok(Live { groups: self.recent.groups(), unread, sweep_at: self.recent.next_sweep() })
    }
}

/// Merges, and publishes the complete index.
pub struct Slow {
    pub(super) disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    pub(super) layout: Layout,
    config: Config,
    reader: Arc<Reader>,
    shelves: Option<Shelves>,
}

impl Slow {
    /// Works in the folders of `layout`; the first order opens the shelves.
    #[must_use]
    pub fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        layout: Layout,
        config: Config,
        reader: Arc<Reader>,
    ) -> Slow {
        Slow { disk, clock, layout, config, reader, shelves: None }
    }

    /// Makes an index of base where there is none, so that ports may open.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn ensure_exists(&mut self) -> Result<(), IndexError> {
        let repomd = self.layout.index.join("base/repodata/repomd.xml");
        if !self.config.tiers || self.disk.exists(&repomd).map_err(at(&repomd))? {
            return Ok(());
        }
        self.open().map(drop)
    }

    /// Carries out an order and says what came of it.
    pub fn run(&mut self, order: SlowOrder) -> Msg {
        let words = |error: IndexError| error.to_string();
        match order {
            SlowOrder::Open => match self.open() {
                Err(error) if error.is_damage() => Msg::Opened(self.start_over(&error).map_err(words)),
                opened => Msg::Opened(opened.map_err(words)),
            },
            SlowOrder::Merge { add, gone } => match self.merge(add, &gone) {
                Err(error) if error.is_damage() => Msg::Opened(self.start_over(&error).map_err(words)),
                merged => Msg::Merged(merged.map_err(words)),
            },
            SlowOrder::Complete(recent) => {
                let shelves = self.shelves();
                let live = shelves.complete(&recent).map_err(words);
                Msg::CompleteLive(live.map(|()| shelves.next_sweep()))
            }
            SlowOrder::Find { files, recent } => Msg::Found(self.find(&files, &recent).map_err(words)),
            SlowOrder::Compare { builds, recent } => {
                Msg::Compared(self.compare(&builds, &recent).map_err(words))
            }
            SlowOrder::Sweep => {
                let shelves = self.shelves();
                let swept = shelves.sweep().map_err(words);
                Msg::IndexSwept(swept.map(|()| shelves.next_sweep()))
            }
        }
    }

    pub(super) fn shelves(&mut self) -> &mut Shelves {
        self.shelves.as_mut().expect("the first order opens the shelves")
    }

    fn open(&mut self) -> Result<Opened, IndexError> {
        let (disk, clock) = (self.disk.clone(), self.clock.clone());
        let shelves = Shelves::open(disk, clock, self.layout.clone(), self.config.clone())?;
        let on_shelf = shelves.listed().map(|(listed, _)| (listed.path.clone(), Stamp::of(listed))).collect();
        let sweep_at = shelves.next_sweep();
        let stock = stock(&shelves)?;
        self.shelves = Some(shelves);
        Ok(Opened { on_shelf, stock, sweep_at })
    }

    fn find(&mut self, files: &Finder, recent: &[Arc<Group>]) -> Result<Vec<Holder>, IndexError> {
        let recent_folder = self.layout.index.join("recent");
        let mut found = self.shelves().which_have(files)?;
        for group in recent.iter().filter(|group| group.class == Class::Main) {
            found.extend(group.which_have(files).map_err(|damage| at(&recent_folder)(damaged(damage)))?);
        }
        Ok(found)
    }

    /// Forgets what is on the shelves: trying again would only meet the same damage. What readers see stays until
    /// it is made anew.
    fn start_over(&mut self, error: &IndexError) -> Result<Opened, IndexError> {
        log::error!("{error}: the index is made anew");
        let catalog = self.layout.index.join(CATALOG);
        remove_if_there(&*self.disk, &catalog)?;
        self.disk.sync_dir(&self.layout.index).map_err(at(&self.layout.index))?;
        for folder in ["base/repodata", "extra"] {
            self.remove_damaged(&self.layout.index.join(folder))?;
        }
        self.open()
    }

    /// Removes files that are not what their names say: whole ones of those names would be taken to be there already.
    fn remove_damaged(&self, folder: &FilePath) -> Result<(), IndexError> {
        for name in self.disk.list(folder).map_err(at(folder))? {
            let path = folder.join(&name);
            let Some((digest, _)) = name.to_str().and_then(|name| name.split_once('-')) else { continue };
            let file = self.disk.open(&path).map_err(at(&path))?;
            let found = sha256(&*file).map_err(at(&path))?;
            if digest != found.map(|byte| format!("{byte:02x}")).concat() {
                log::error!("{}: damaged: removed", path.display());
                remove_if_there(&*self.disk, &path)?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, add: Vec<Source>, gone: &BTreeSet<Path>) -> Result<Merged, IndexError> {
        let tally = Mutex::new(Tally::default());
        let reader = self.reader.clone();
        let shelves = self.shelves();
        reader.stream(add, &tally, |groups| shelves.merge(groups, gone))?;
        let Tally { added, skipped } = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        // It is live whatever comes of this: the next start finds out.
        let stock = if added.is_empty() { None } else { stock(shelves).map_err(complain).ok() };
        Ok(Merged { added, stock, skipped, sweep_at: self.shelves().next_sweep() })
    }
}

fn complain(error: IndexError) {
    log::error!("{error}: what waits for something in it is tried once a day only");
}

/// What the packages on the shelves provide.
fn stock(shelves: &Shelves) -> Result<Box<Capabilities>, IndexError> {
    let mut stock = Box::<Capabilities>::default();
    shelves.provided(&mut |listed, Provided { nevra, provides, files, .. }| {
        stock.add(&listed.path, &nevra, &provides, &files);
    })?;
    Ok(stock)
}
