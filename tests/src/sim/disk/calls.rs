//! The hub's calls, each of which may fail or be the last one.
//!
//! Owns the two views' rules for each call; see the parent.

use super::*;

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
        let end = offset as usize + buf.len();
        let now = content.change(offset as usize);
        if now.len() < end {
            now.resize(end, 0);
        }
        now[offset as usize..end].copy_from_slice(buf);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.call(false)?.contents[self.content].now.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.call(false)?;
        state.guard(&self.path);
        let content = &mut state.contents[self.content];
        content.change(len as usize).resize(len as usize, 0);
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
            state.contents.push(Content::new(Vec::new()));
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

    fn boot(&self) -> String {
        self.lock().boots.to_string()
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
