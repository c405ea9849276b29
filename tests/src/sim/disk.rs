//! The hub's disk: what programs see, and what survives a power cut.
//!
//! Owns two views. Names become durable in the order in which they changed, as journalling file systems
//! do: a sync of a folder commits everything up to the last change in it, and nothing later. Bytes
//! become durable with the sync of their file. A power cut keeps some first part of the changes of names
//! that were not synced, and of the bytes that were not. It watches `repo/` too: what is published there
//! never changes, and whoever does it is remembered as a violation.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moji_proto::Digest;
use moji_server::disk::{Disk, File, Folders, Stat};

use super::dice::Dice;

mod calls;
mod outside;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

type Names = BTreeMap<String, Node>;

/// What a power cut leaves of a file that was changed since its last sync.
#[derive(Debug)]
enum Durable {
    /// So many bytes of what programs see: the rest was appended.
    Front(usize),
    /// These.
    Bytes(Vec<u8>),
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    /// What a power cut leaves; None while it equals `now`.
    durable: Option<Durable>,
    /// Digest of `now`, once somebody asked for it.
    digest: Option<Digest>,
}

impl Content {
    fn new(now: Vec<u8>) -> Content {
        Content { now, durable: None, digest: None }
    }

    /// The bytes to be changed, from `at` on only.
    fn change(&mut self, at: usize) -> &mut Vec<u8> {
        self.digest = None;
        match self.durable {
            None if at >= self.now.len() => self.durable = Some(Durable::Front(self.now.len())),
            None => self.durable = Some(Durable::Bytes(self.now.clone())),
            Some(Durable::Front(front)) if at < front => {
                self.durable = Some(Durable::Bytes(self.now[..front].to_vec()));
            }
            Some(_) => {}
        }
        &mut self.now
    }

    fn durable(&self) -> &[u8] {
        match &self.durable {
            None => &self.now,
            Some(Durable::Front(front)) => &self.now[..*front],
            Some(Durable::Bytes(bytes)) => bytes,
        }
    }

    /// Length and digest of what programs see, or of what a power cut leaves.
    fn fingerprint(&mut self, durable: bool) -> (u64, Digest) {
        if durable && self.durable.is_some() {
            let bytes = self.durable();
            return (bytes.len() as u64, Digest::of(bytes));
        }
        (self.now.len() as u64, *self.digest.get_or_insert_with(|| Digest::of(&self.now)))
    }
}

#[derive(Clone, Debug)]
enum Op {
    Add(String, Node),
    Rename(String, String),
    Remove(String),
}

impl Op {
    fn touches(&self, folder: &str) -> bool {
        match self {
            Op::Add(path, _) | Op::Remove(path) => parent(path) == folder,
            Op::Rename(from, to) => parent(from) == folder || parent(to) == folder,
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn apply(names: &mut Names, op: &Op) {
    match op {
        Op::Add(path, node) => {
            names.insert(path.clone(), *node);
        }
        Op::Rename(from, to) => {
            for (path, node) in take_tree(names, from) {
                names.insert(format!("{to}{}", &path[from.len()..]), node);
            }
        }
        Op::Remove(path) => {
            take_tree(names, path);
        }
    }
}

/// Takes a name and all below it.
fn take_tree(names: &mut Names, top: &str) -> Vec<(String, Node)> {
    let mut taken: Vec<(String, Node)> = names.remove_entry(top).into_iter().collect();
    if taken.iter().any(|(_, node)| *node == Node::Folder) {
        let below = format!("{top}/");
        let inside: Vec<String> = names
            .range(below.clone()..)
            .take_while(|(path, _)| path.starts_with(&below))
            .map(|(p, _)| p.clone())
            .collect();
        taken.extend(inside.into_iter().filter_map(|path| names.remove_entry(&path)));
    }
    taken
}

/// Which calls go wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// Writes fail with ENOSPC, so often in a million.
    pub(super) no_space: u32,
    /// Any call fails with EIO, so often in a million.
    pub(super) eio: u32,
    /// The power goes at a call, so often in a million.
    pub(super) power: u32,
    /// Planted: these folders' syncs do nothing.
    pub(super) skip_folder_sync: bool,
    /// Planted: syncs return at once and count this much later, milliseconds.
    pub(super) sync_late_ms: u64,
}

/// A change of a name that the watch is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Folder.
    pub(super) folder: String,
    /// Name in it.
    pub(super) name: String,
    /// Whether it is there now.
    pub(super) arrived: bool,
}

enum Late {
    Names(u64),
    Bytes(usize, Vec<u8>),
}

#[derive(Default)]
struct State {
    names: Names,
    durable: Names,
    log: VecDeque<Op>,
    /// How many operations were committed before the first of `log`.
    committed: u64,
    contents: Vec<Content>,
    faults: Faults,
    dice: Option<Dice>,
    off: bool,
    full: bool,
    changes: Vec<Change>,
    violation: Option<String>,
    late: VecDeque<(u64, Late)>,
    now_ms: u64,
    /// Power cuts so far.
    boots: u32,
}

/// The disk; clones share it.
#[derive(Clone, Default)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

struct Open {
    disk: SimDisk,
    content: usize,
    path: String,
}

fn text(path: &Path) -> String {
    path.to_str().expect("paths of the simulation are text").to_owned()
}

impl SimDisk {
    /// One that has the hub's folders.
    #[must_use]
    pub(super) fn new(dice: Dice) -> (SimDisk, Folders) {
        let disk = SimDisk::default();
        let names = ["source", "working", "finished", "repo", "state"];
        {
            let mut state = disk.lock();
            state.dice = Some(dice);
            for name in names {
                state.names.insert(name.to_owned(), Node::Folder);
            }
            state.durable = state.names.clone();
        }
        let [source, working, finished, repo, state] = names.map(PathBuf::from);
        (disk, Folders { source, working, finished, repo, state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of the hub; may fail or be the last one.
    fn call(&self, writes: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.off {
            return Err(io::Error::other("the power is off"));
        }
        let Faults { no_space, eio, power, .. } = state.faults;
        let full = state.full;
        let Some(dice) = &mut state.dice else { return Ok(state) };
        if dice.chance(power) {
            state.off = true;
            return Err(io::Error::other("the power is off"));
        }
        if writes && (full || dice.chance(no_space)) {
            return Err(io::Error::from_raw_os_error(28));
        }
        if dice.chance(eio) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(state)
    }

    fn add(&self, path: &Path, node: impl FnOnce(&mut State) -> Node) -> io::Result<Node> {
        let path = text(path);
        let mut state = self.call(true)?;
        if state.names.contains_key(&path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let parent = parent(&path);
        if !parent.is_empty() && state.names.get(parent) != Some(&Node::Folder) {
            return Err(ErrorKind::NotFound.into());
        }
        state.guard(&path);
        let node = node(&mut state);
        state.change(Op::Add(path, node));
        Ok(node)
    }
}

impl State {
    /// A change by the hub.
    fn change(&mut self, op: Op) {
        self.note(&op);
        apply(&mut self.names, &op);
        self.log.push_back(op);
    }

    /// A change by somebody else; durable at once, with all before it.
    fn outside(&mut self, op: Op) {
        self.change(op);
        let upto = self.committed + self.log.len() as u64;
        self.commit(upto);
    }

    fn commit(&mut self, upto: u64) {
        while self.committed < upto
            && let Some(op) = self.log.pop_front()
        {
            apply(&mut self.durable, &op);
            self.committed += 1;
        }
    }

    /// Remembers what the watch is to be told of a change.
    fn note(&mut self, op: &Op) {
        let mut tell = |path: &str, arrived: bool| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            if matches!(folder, "source" | "working" | "finished") && !name.starts_with('.') {
                self.changes.push(Change { folder: folder.to_owned(), name: name.to_owned(), arrived });
            }
        };
        match op {
            Op::Add(path, _) => tell(path, true),
            Op::Remove(path) => tell(path, false),
            Op::Rename(from, to) => {
                tell(from, false);
                tell(to, true);
            }
        }
    }

    /// Notes a change to something published.
    fn guard(&mut self, path: &str) {
        let Some(rest) = path.strip_prefix("repo/") else { return };
        if let Some((folder, _)) = rest.split_once('/')
            && folder != "repodata"
            && !folder.starts_with('.')
        {
            self.violation.get_or_insert(format!("the published path '{path}' was changed"));
        }
    }

    fn inside(&self, folder: &str) -> Vec<String> {
        let below = format!("{folder}/");
        let names = self.names.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
        names
            .map(|(path, _)| &path[below.len()..])
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect()
    }
}
