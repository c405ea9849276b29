//! Intake: what people do in the source folders, as news for the queue and for leases.
//!
//! Owns when a file counts: once it is as long as its own header says. Owns what is read again, and
//! what is said again. Never opens a file and never asks who moved one: the hub's own moves make events
//! too, so every event leads to a look at what is there now, and only that is told.
//!
//! ```text
//!            Looked: short                    as long as it says
//!  (nothing) ─────────────▶ Growing ────────────────────────────▶ Told(whole)
//!      ▲                      │ unchanged for 60 s                    │ another stamp
//!      │ Looked: gone         ▼                                       ▼
//!      └───────────────── Told(unusable) ◀─────────────────────── looked at again
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use moji_proto::{FileName, Time};

use super::leases::{self, Place};
use super::queue;
use super::types::Srpm;
use crate::lists::{self, parse_options, parse_priority};

/// A file shorter than it says and unchanged for so long is truncated, milliseconds (DESIGN, "Folders
/// are the truth").
pub const TRUNCATED_AFTER_MS: u64 = 60_000;
/// While a file is written to, it is looked at so often, milliseconds: well within the second in which
/// it is to be noticed, and four times a second costs nothing.
const WRITTEN_LOOK_MS: u64 = 250;

/// Tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Length, bytes.
    pub len: u64,
    /// Last change of its bytes, nanoseconds since 1970.
    pub modified_ns: u128,
    /// File serial number.
    pub inode: u64,
}

/// What a look at a file in `source/` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing of that name.
    Gone,
    /// It is shorter than it says.
    Short {
        /// Which file.
        stamp: Stamp,
        /// How long it should be, bytes, if so much of it is there.
        want: Option<u64>,
    },
    /// A whole SRPM.
    Whole {
        /// Which file.
        stamp: Stamp,
        /// What it holds.
        srpm: Srpm,
    },
    /// It is no SRPM, or cannot be read.
    Bad {
        /// Which file; None for what has no stamp, as a link to nowhere.
        stamp: Option<Stamp>,
        /// Why.
        why: String,
    },
}

/// What happened to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It may be another file now: made, moved in, closed after writing.
    Arrived,
    /// The file was written to, or its mode changed.
    Written,
    /// Deleted or moved out.
    Left,
}

/// One of the two lists in `source/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// `priority.txt`.
    Priority,
    /// `options.txt`.
    Options,
}

impl List {
    /// Its file name.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            List::Priority => lists::PRIORITY,
            List::Options => lists::OPTIONS,
        }
    }
}

/// What intake is told, all of it by the watch's shell.
#[derive(Clone, Debug)]
pub enum Msg {
    /// The start, SIGHUP, or events were lost: everything is looked at.
    Rescan,
    /// Something happened to a name.
    Event {
        /// In which folder.
        place: Place,
        /// The name.
        name: OsString,
        /// What.
        what: What,
    },
    /// Answer to [`Effect::List`].
    Listed {
        /// Which folder.
        place: Place,
        /// All names in it.
        names: Vec<OsString>,
    },
    /// Answer to [`Effect::Look`].
    Looked {
        /// The name in `source/`.
        name: FileName,
        /// What is there.
        seen: Seen,
    },
    /// Answer to [`Effect::Read`]: None if there is no such file.
    Read {
        /// Which list.
        list: List,
        /// Its bytes.
        bytes: Option<Vec<u8>>,
    },
    /// Time passed.
    Tick,
}

/// What intake wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Say [`Msg::Listed`] of this folder.
    List(Place),
    /// Say [`Msg::Looked`] of this name in `source/`.
    Look(FileName),
    /// Say [`Msg::Read`] of this list.
    Read(List),
    /// Tell the queue.
    Queue(queue::Msg),
    /// Tell leases.
    Leases(leases::Msg),
    /// Something an operator reads about.
    Log(log::Level, String),
}

#[derive(Debug)]
enum Entry {
    /// Too short so far.
    Growing { stamp: Stamp, since: Time },
    /// The queue knows; `why` if it is unusable.
    Told { stamp: Option<Stamp>, why: Option<String> },
}

/// What is known of the folders.
#[derive(Debug)]
pub struct Intake {
    truncated_after_ms: u64,
    source: BTreeMap<FileName, Entry>,
    working: BTreeSet<FileName>,
    finished: BTreeSet<FileName>,
    /// Names that are looked at again, and when.
    look_at: BTreeMap<FileName, Time>,
    read_at: BTreeMap<List, Time>,
    priority: Option<Vec<String>>,
    options: Option<Vec<u8>>,
    /// Names that cannot be names of packages, so that each is told once.
    strange: BTreeSet<OsString>,
}

impl Intake {
    /// Knows nothing yet; the first message is [`Msg::Rescan`]. `truncated_after_ms` is
    /// [`TRUNCATED_AFTER_MS`] but in tests.
    #[must_use]
    pub fn new(truncated_after_ms: u64) -> Intake {
        Intake {
            truncated_after_ms,
            source: BTreeMap::new(),
            working: BTreeSet::new(),
            finished: BTreeSet::new(),
            look_at: BTreeMap::new(),
            read_at: BTreeMap::new(),
            priority: None,
            options: None,
            strange: BTreeSet::new(),
        }
    }

    /// Takes one message.
    pub fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        match msg {
            // The lists first, so that the order is known before the first package is. source/ before
            // finished/, so that a file in both counts as dropped in again.
            Msg::Rescan => out.extend([
                Effect::Read(List::Priority),
                Effect::Read(List::Options),
                Effect::List(Place::Source),
                Effect::List(Place::Finished),
                Effect::List(Place::Working),
                Effect::Queue(queue::Msg::Scanned),
            ]),
            Msg::Event { place, name, what } => self.on_event(now, place, &name, what, out),
            Msg::Listed { place, names } => self.on_listed(place, &names, out),
            Msg::Looked { name, seen } => self.on_looked(now, name, seen, out),
            Msg::Read { list, bytes } => self.on_read(list, &bytes.unwrap_or_default(), out),
            Msg::Tick => self.on_tick(now, out),
        }
    }

    /// When to say [`Msg::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let looks = self.look_at.values().chain(self.read_at.values()).copied();
        looks.chain(self.source.values().filter_map(|entry| self.is_truncated_at(entry))).min()
    }

    fn is_truncated_at(&self, entry: &Entry) -> Option<Time> {
        match entry {
            Entry::Growing { since, .. } => Some(since.plus_ms(self.truncated_after_ms)),
            Entry::Told { .. } => None,
        }
    }

    fn on_event(&mut self, now: Time, place: Place, name: &OsStr, what: What, out: &mut Vec<Effect>) {
        if place == Place::Source
            && let Some(list) = [List::Priority, List::Options].into_iter().find(|l| name == l.file_name())
        {
            match what {
                What::Arrived | What::Left => out.push(Effect::Read(list)),
                What::Written => {
                    self.read_at.entry(list).or_insert(now.plus_ms(WRITTEN_LOOK_MS));
                }
            }
            return;
        }
        let Some(name) = self.package_name(name, place, out) else { return };
        match (place, what) {
            (Place::Source, What::Written) => {
                self.look_at.entry(name).or_insert(now.plus_ms(WRITTEN_LOOK_MS));
            }
            (Place::Source, What::Arrived) => out.push(Effect::Look(name)),
            (Place::Source, What::Left) => {
                // It may be back already, and the queue may have been told that it is gone: so what is
                // there is said again.
                if let Some(Entry::Told { .. }) = self.source.get(&name) {
                    self.source.remove(&name);
                }
                out.push(Effect::Look(name));
            }
            (Place::Working, What::Left) => {
                self.working.remove(&name);
                out.push(Effect::Leases(leases::Msg::Vanished { srpm: name }));
            }
            (Place::Working, What::Arrived) => {
                self.working.insert(name);
            }
            (Place::Finished, What::Arrived | What::Left) => {
                self.finished_is(&name, what == What::Arrived, out);
            }
            (Place::Working | Place::Finished, What::Written) => {}
        }
    }

    fn on_listed(&mut self, place: Place, names: &[OsString], out: &mut Vec<Effect>) {
        let names: BTreeSet<FileName> =
            names.iter().filter_map(|name| self.package_name(name, place, out)).collect();
        match place {
            Place::Source => {
                let gone: Vec<FileName> =
                    self.source.keys().filter(|name| !names.contains(*name)).cloned().collect();
                for name in names.into_iter().chain(gone) {
                    if let Some(Entry::Told { .. }) = self.source.get(&name) {
                        self.source.remove(&name);
                    }
                    out.push(Effect::Look(name));
                }
            }
            Place::Working => {
                for srpm in self.working.difference(&names).cloned() {
                    out.push(Effect::Leases(leases::Msg::Vanished { srpm }));
                }
                self.working = names;
            }
            Place::Finished => {
                let changed: Vec<FileName> = self.finished.symmetric_difference(&names).cloned().collect();
                for name in changed {
                    self.finished_is(&name, names.contains(&name), out);
                }
            }
        }
    }

    fn finished_is(&mut self, name: &FileName, present: bool, out: &mut Vec<Effect>) {
        if present {
            self.finished.insert(name.clone());
        } else {
            self.finished.remove(name);
        }
        out.push(Effect::Queue(queue::Msg::FinishedChanged { srpm: name.clone(), present }));
    }

    fn on_looked(&mut self, now: Time, name: FileName, seen: Seen, out: &mut Vec<Effect>) {
        self.look_at.remove(&name);
        let before = self.source.get(&name);
        match seen {
            Seen::Gone => {
                self.source.remove(&name);
                out.push(Effect::Queue(queue::Msg::Vanished { srpm: name }));
            }
            Seen::Short { stamp, want } => match before {
                Some(Entry::Told { stamp: Some(told), why: Some(_) }) if *told == stamp => {}
                Some(Entry::Growing { stamp: old, since }) if *old == stamp => {
                    if now.since_ms(*since) >= self.truncated_after_ms {
                        let why = match want {
                            Some(want) => format!("truncated: has {} of {want} bytes", stamp.len),
                            None => format!("truncated: ends within its headers, after {} bytes", stamp.len),
                        };
                        self.unusable(name, Some(stamp), why, out);
                    }
                }
                _ => {
                    self.source.insert(name, Entry::Growing { stamp, since: now });
                }
            },
            Seen::Whole { stamp, srpm } => match before {
                Some(Entry::Told { stamp: Some(told), why: None }) if *told == stamp => {}
                _ => {
                    self.source.insert(name.clone(), Entry::Told { stamp: Some(stamp), why: None });
                    out.push(Effect::Queue(queue::Msg::Appeared { srpm: name, facts: srpm }));
                }
            },
            Seen::Bad { stamp, why } => match before {
                Some(Entry::Told { stamp: told, why: Some(before) }) if *told == stamp && *before == why => {}
                _ => self.unusable(name, stamp, why, out),
            },
        }
    }

    fn unusable(&mut self, name: FileName, stamp: Option<Stamp>, why: String, out: &mut Vec<Effect>) {
        self.source.insert(name.clone(), Entry::Told { stamp, why: Some(why.clone()) });
        out.push(Effect::Queue(queue::Msg::Unusable { srpm: name, why }));
    }

    fn on_read(&mut self, list: List, bytes: &[u8], out: &mut Vec<Effect>) {
        self.read_at.remove(&list);
        match list {
            List::Priority => {
                let names = parse_priority(bytes);
                if self.priority.as_ref() != Some(&names) {
                    self.priority = Some(names.clone());
                    out.push(Effect::Queue(queue::Msg::Priority(names)));
                }
            }
            List::Options => {
                if self.options.as_deref() == Some(bytes) {
                    return;
                }
                self.options = Some(bytes.to_vec());
                let (rules, bad) = parse_options(bytes);
                for line in bad {
                    let text = format!("{} {line}: left out", lists::OPTIONS);
                    out.push(Effect::Log(log::Level::Warn, text));
                }
                out.push(Effect::Queue(queue::Msg::Options(rules)));
            }
        }
    }

    fn on_tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        let due: Vec<List> = self.read_at.iter().filter(|(_, at)| **at <= now).map(|(l, _)| *l).collect();
        for list in due {
            self.read_at.remove(&list);
            out.push(Effect::Read(list));
        }
        let old = |entry: &Entry| self.is_truncated_at(entry).is_some_and(|at| at <= now);
        let still = self.source.iter().filter(|(_, entry)| old(entry)).map(|(name, _)| name);
        let due = self.look_at.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name);
        let names: BTreeSet<FileName> = still.chain(due).cloned().collect();
        for name in names {
            self.look_at.remove(&name);
            out.push(Effect::Look(name));
        }
    }

    /// The name, if it is one of a package. What looks like one but cannot be handled is named once.
    fn package_name(&mut self, name: &OsStr, place: Place, out: &mut Vec<Effect>) -> Option<FileName> {
        let text = name.to_string_lossy();
        if text.starts_with('.') || !(text.ends_with(".src.rpm") || text.ends_with(".nosrc.rpm")) {
            return None;
        }
        let safe = name.to_str().and_then(|text| FileName::new(text).ok());
        if safe.is_none() && place == Place::Source && self.strange.insert(name.to_owned()) {
            let text = format!("pkg={} is left in source/: not a safe file name", text.escape_debug());
            out.push(Effect::Log(log::Level::Warn, text));
        }
        safe
    }
}

#[cfg(test)]
mod tests;
