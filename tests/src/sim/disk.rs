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

use moji_server::disk::{Disk, File, Folders, Stat};

use super::dice::Dice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

type Names = BTreeMap<String, Node>;

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    /// What a power cut leaves; None while it equals `now`.
    durable: Option<Vec<u8>>,
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

    /// From now on these go wrong.
    pub(super) fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Full, or not.
    pub(super) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Whether the power went at a call.
    #[must_use]
    pub(super) fn is_off(&self) -> bool {
        self.lock().off
    }

    /// Takes what the watch is to be told.
    #[must_use]
    pub(super) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.lock().changes)
    }

    /// What was done to something published, if anything was.
    #[must_use]
    pub(super) fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    /// Time passes: late syncs count.
    pub(super) fn pass(&self, now_ms: u64) {
        let mut state = self.lock();
        state.now_ms = now_ms;
        while state.late.front().is_some_and(|(at, _)| *at <= now_ms) {
            match state.late.pop_front() {
                Some((_, Late::Names(upto))) => state.commit(upto),
                Some((_, Late::Bytes(content, bytes))) => {
                    let content = &mut state.contents[content];
                    content.durable = (content.now != bytes).then_some(bytes);
                }
                None => {}
            }
        }
    }

    /// The process is killed: what it wrote stays, its calls end.
    pub(super) fn restart(&self) {
        self.lock().off = false;
    }

    /// The power goes and comes back: `dice` chooses what survives of what was not synced.
    pub(super) fn power_cut(&self, dice: &mut Dice) {
        let mut state = self.lock();
        state.off = false;
        state.late.clear();
        state.changes.clear();
        let kept = dice.below(state.log.len() as u64 + 1);
        let upto = state.committed + kept;
        state.commit(upto);
        state.log.clear();
        state.committed = upto;
        state.names = state.durable.clone();
        for content in &mut state.contents {
            let Some(durable) = content.durable.take() else { continue };
            if content.now.starts_with(&durable) {
                let extra = (content.now.len() - durable.len()) as u64;
                content.now.truncate(durable.len() + dice.below(extra + 1) as usize);
            } else {
                content.now = durable;
            }
        }
    }

    /// Puts a durable file there, as somebody outside does; says its inode.
    pub(super) fn put(&self, path: &str, bytes: &[u8]) -> u64 {
        let mut state = self.lock();
        state.contents.push(Content { now: bytes.to_vec(), durable: None });
        let node = Node::File(state.contents.len() - 1);
        state.outside(Op::Add(path.to_owned(), node));
        state.contents.len() as u64
    }

    /// Moves a file, as somebody outside does. False if it is not there.
    pub(super) fn shove(&self, from: &str, to: &str) -> bool {
        let mut state = self.lock();
        let there = state.names.contains_key(from);
        if there {
            state.outside(Op::Rename(from.to_owned(), to.to_owned()));
        }
        there
    }

    /// Takes a file away, as somebody outside does. False if it is not there.
    pub(super) fn take(&self, path: &str) -> bool {
        let mut state = self.lock();
        let there = state.names.contains_key(path);
        if there {
            state.outside(Op::Remove(path.to_owned()));
        }
        there
    }

    /// Bytes of a file as programs see it; never fails by chance.
    #[must_use]
    pub(super) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        match state.names.get(path) {
            Some(Node::File(content)) => Some(state.contents[*content].now.clone()),
            _ => None,
        }
    }

    /// Length and inode of a file as programs see it; never fails by chance.
    #[must_use]
    pub(super) fn look(&self, path: &str) -> Option<(u64, u64)> {
        let state = self.lock();
        match state.names.get(path) {
            Some(Node::File(content)) => {
                Some((state.contents[*content].now.len() as u64, *content as u64 + 1))
            }
            _ => None,
        }
    }

    /// Bytes of a file as a power cut would leave it at the worst.
    #[must_use]
    pub(super) fn durable_bytes(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        match state.durable.get(path) {
            Some(Node::File(content)) => {
                let content = &state.contents[*content];
                Some(content.durable.as_ref().unwrap_or(&content.now).clone())
            }
            _ => None,
        }
    }

    /// Names in a folder as programs see them; never fails by chance.
    #[must_use]
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        self.lock().inside(folder)
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

impl File for Open {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.call(false)?;
        let rest = state.contents[self.content].now.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.call(true)?;
        state.guard(&self.path);
        let content = &mut state.contents[self.content];
        content.durable.get_or_insert_with(|| content.now.clone());
        let end = offset as usize + buf.len();
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[offset as usize..end].copy_from_slice(buf);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.call(false)?.contents[self.content].now.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.call(false)?;
        state.guard(&self.path);
        let content = &mut state.contents[self.content];
        content.durable.get_or_insert_with(|| content.now.clone());
        content.now.resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.call(false)?;
        let (late_ms, now_ms) = (state.faults.sync_late_ms, state.now_ms);
        if late_ms > 0 {
            let bytes = state.contents[self.content].now.clone();
            state.late.push_back((now_ms + late_ms, Late::Bytes(self.content, bytes)));
        } else {
            state.contents[self.content].durable = None;
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let path = text(path);
        match self.call(false)?.names.get(&path) {
            Some(Node::File(content)) => Ok(Box::new(Open { disk: self.clone(), content: *content, path })),
            Some(Node::Folder) => Err(ErrorKind::IsADirectory.into()),
            None if path.contains("/result.json/") => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let node = self.add(path, |state| {
            state.contents.push(Content { now: Vec::new(), durable: None });
            Node::File(state.contents.len() - 1)
        })?;
        let Node::File(content) = node else { return Err(ErrorKind::IsADirectory.into()) };
        Ok(Box::new(Open { disk: self.clone(), content, path: text(path) }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn File>> {
        match self.create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.open(path),
            done => done,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (text(from), text(to));
        let mut state = self.call(false)?;
        if !state.names.contains_key(&from) {
            return Err(ErrorKind::NotFound.into());
        }
        state.guard(&from);
        state.guard(&to);
        state.change(Op::Rename(from, to));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = text(path);
        let mut state = self.call(false)?;
        if state.names.get(&path) != Some(&Node::Folder) {
            return Err(ErrorKind::NotFound.into());
        }
        if state.faults.skip_folder_sync
            && matches!(path.as_str(), "repo" | "working" | "finished" | "source")
        {
            return Ok(());
        }
        let last = state.log.iter().rposition(|op| op.touches(&path));
        let upto = last.map_or(state.committed, |last| state.committed + last as u64 + 1);
        if state.faults.sync_late_ms > 0 {
            let at = state.now_ms + state.faults.sync_late_ms;
            state.late.push_back((at, Late::Names(upto)));
        } else {
            state.commit(upto);
        }
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.add(path, |_| Node::Folder).map(drop)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = text(path);
        let mut state = self.call(false)?;
        if !state.names.contains_key(&path) {
            return Err(ErrorKind::NotFound.into());
        }
        state.guard(&path);
        state.change(Op::Remove(path));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = text(path);
        let mut state = self.call(false)?;
        if state.names.contains_key(&path) {
            state.guard(&format!("{path}/"));
            state.change(Op::Remove(path));
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let path = text(path);
        let state = self.call(false)?;
        if state.names.get(&path) != Some(&Node::Folder) {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(state.inside(&path).into_iter().map(PathBuf::from).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let state = self.call(false)?;
        Ok(state.names.get(&text(path)).map(|node| match node {
            Node::Folder => Stat { len: 0, is_dir: true, modified_ns: 0, inode: 0 },
            Node::File(content) => Stat {
                len: state.contents[*content].now.len() as u64,
                is_dir: false,
                modified_ns: 0,
                inode: *content as u64 + 1,
            },
        }))
    }

    fn space(&self, _: &Path) -> io::Result<(u64, u64)> {
        let state = self.call(false)?;
        Ok((if state.full { 1 << 20 } else { 1 << 40 }, 1 << 41))
    }
}
