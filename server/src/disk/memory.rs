//! A file system in memory for tests, with a volatile and a durable view.
//!
//! Names become durable in the order in which they changed (as journalling file systems do), all
//! of them with the next sync of any folder; bytes with the sync of their file. A crash keeps some
//! first part of what was not synced. Every call counts; one chosen call, or all from there on, fail
//! and do nothing.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, File, Folders, Stat};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    names: Names,
    durable: Names,
    /// The names after each change since the last sync.
    changes: Vec<Names>,
    contents: Vec<Content>,
    calls: u64,
    fail_at: Option<u64>,
    fail_one: Option<u64>,
    file_syncs: u64,
    folder_syncs: u64,
}

/// The file system; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

struct Open {
    disk: Memory,
    content: usize,
}

impl Memory {
    /// One that has the hub's folders.
    pub(crate) fn with_folders() -> (Memory, Folders) {
        let disk = Memory::default();
        let folders = Folders {
            source: "source".into(),
            working: "working".into(),
            finished: "finished".into(),
            repo: "repo".into(),
            state: "state".into(),
        };
        for path in [&folders.source, &folders.working, &folders.finished, &folders.repo, &folders.state] {
            disk.create_dir(path).unwrap();
        }
        disk.sync_dir(Path::new("source")).unwrap();
        (disk, folders)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn call(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        state.calls += 1;
        if state.fail_at.is_some_and(|at| state.calls >= at) || state.fail_one == Some(state.calls) {
            return Err(io::Error::other("the power is off"));
        }
        Ok(state)
    }

    /// Puts a durable file there, as somebody outside does.
    pub(crate) fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let mut state = self.lock();
        state.contents.push(Content { now: bytes.to_vec(), durable: bytes.to_vec() });
        let node = Node::File(state.contents.len() - 1);
        state.names.insert(path.as_ref().to_owned(), node);
        state.settle();
    }

    /// Takes a file away, as somebody outside does.
    pub(crate) fn take(&self, path: impl AsRef<Path>) -> bool {
        let mut state = self.lock();
        let taken = state.names.remove(path.as_ref()).is_some();
        state.settle();
        taken
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.lock();
        match state.names.get(path.as_ref()) {
            Some(Node::File(content)) => Some(state.contents[*content].now.clone()),
            _ => None,
        }
    }

    /// All further calls from the one after `calls` more fail, until [`Memory::crash`].
    pub(crate) fn fail_after(&self, calls: u64) {
        let mut state = self.lock();
        state.fail_at = Some(state.calls + calls + 1);
    }

    /// The one call after `calls` more fails.
    pub(crate) fn fail_one(&self, calls: u64) {
        let mut state = self.lock();
        state.fail_one = Some(state.calls + calls + 1);
    }

    /// Whether the call that was to fail has come.
    pub(crate) fn has_failed(&self) -> bool {
        let state = self.lock();
        state.fail_one.or(state.fail_at).is_some_and(|at| state.calls >= at)
    }

    /// Nothing fails any more.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        (state.fail_at, state.fail_one) = (None, None);
    }

    /// The power goes and comes back: `dice` chooses below its argument what survives.
    pub(crate) fn crash(&self, mut dice: impl FnMut(u64) -> u64) {
        let mut state = self.lock();
        (state.fail_at, state.fail_one) = (None, None);
        let kept = dice(state.changes.len() as u64 + 1) as usize;
        if kept > 0 {
            state.durable = state.changes[kept - 1].clone();
        }
        state.changes.clear();
        state.names = state.durable.clone();
        for content in &mut state.contents {
            let extra = content.now.len().saturating_sub(content.durable.len());
            if extra > 0 && content.now.starts_with(&content.durable) {
                let end = content.durable.len() + dice(extra as u64 + 1) as usize;
                content.now.truncate(end);
            } else {
                content.now = content.durable.clone();
            }
            content.durable = content.now.clone();
        }
    }

    /// How often files and folders were synced.
    pub(crate) fn syncs(&self) -> (u64, u64) {
        let state = self.lock();
        (state.file_syncs, state.folder_syncs)
    }
}

impl State {
    fn settle(&mut self) {
        self.durable = self.names.clone();
        self.changes.clear();
    }

    fn changed(&mut self) {
        self.changes.push(self.names.clone());
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        if self.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if let Some(parent) = path.parent().filter(|parent| parent.components().next().is_some())
            && self.names.get(parent) != Some(&Node::Folder)
        {
            return Err(ErrorKind::NotFound.into());
        }
        self.names.insert(path.to_owned(), node);
        self.changed();
        Ok(())
    }
}

impl File for Open {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.call()?;
        let rest = state.contents[self.content].now.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.call()?;
        let now = &mut state.contents[self.content].now;
        let end = offset as usize + buf.len();
        now.resize(now.len().max(end), 0);
        now[offset as usize..end].copy_from_slice(buf);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.call()?.contents[self.content].now.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.call()?.contents[self.content].now.resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.call()?;
        state.file_syncs += 1;
        let content = &mut state.contents[self.content];
        content.durable = content.now.clone();
        Ok(())
    }
}

impl Disk for Memory {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        match self.call()?.names.get(path) {
            Some(Node::File(content)) => Ok(Box::new(Open { disk: self.clone(), content: *content })),
            Some(Node::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.call()?;
        let content = state.contents.len();
        state.add(path, Node::File(content))?;
        state.contents.push(Content::default());
        Ok(Box::new(Open { disk: self.clone(), content }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn File>> {
        match self.create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.open(path),
            done => done,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        if !state.names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        let (moved, rest): (Names, Names) =
            state.names.clone().into_iter().partition(|(path, _)| path.starts_with(from));
        state.names = rest;
        for (path, node) in moved {
            let rest = path.strip_prefix(from).unwrap();
            let path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            state.names.insert(path, node);
        }
        state.changed();
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        if state.names.get(path) != Some(&Node::Folder) {
            return Err(ErrorKind::NotFound.into());
        }
        state.folder_syncs += 1;
        state.settle();
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call()?.add(path, Node::Folder)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        state.names.remove(path).ok_or(ErrorKind::NotFound)?;
        state.changed();
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        state.names.retain(|name, _| !name.starts_with(path));
        state.changed();
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.call()?;
        let inside = state.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| name.file_name().map(PathBuf::from)).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let state = self.call()?;
        Ok(state.names.get(path).map(|node| match node {
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
        Ok((1 << 40, 1 << 41))
    }
}
