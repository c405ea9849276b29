//! What the simulation does with the disk from outside: people, power, checks.
//!
//! Owns no fault: nothing here fails by chance.

use super::*;

impl SimDisk {
    /// From now on these go wrong.
    pub(in crate::sim) fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Full, or not.
    pub(in crate::sim) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Whether the power went at a call.
    #[must_use]
    pub(in crate::sim) fn is_off(&self) -> bool {
        self.lock().off
    }

    /// Takes what the watch is to be told.
    #[must_use]
    pub(in crate::sim) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.lock().changes)
    }

    /// What was done to something published, if anything was.
    #[must_use]
    pub(in crate::sim) fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    /// Time passes: late syncs count.
    pub(in crate::sim) fn pass(&self, now_ms: u64) {
        let mut state = self.lock();
        state.now_ms = now_ms;
        while state.late.front().is_some_and(|(at, _)| *at <= now_ms) {
            match state.late.pop_front() {
                Some((_, Late::Names(upto))) => state.commit(upto),
                Some((_, Late::Bytes(content, bytes))) => {
                    let content = &mut state.contents[content];
                    content.durable = (content.now != bytes).then_some(Durable::Bytes(bytes));
                }
                None => {}
            }
        }
    }

    /// The process is killed: what it wrote stays, its calls end.
    pub(in crate::sim) fn restart(&self) {
        self.lock().off = false;
    }

    /// The power goes and comes back: `dice` chooses what survives of what was not synced.
    pub(in crate::sim) fn power_cut(&self, dice: &mut Dice) {
        let mut state = self.lock();
        state.off = false;
        state.boots += 1;
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
            content.digest = None;
            let front = match durable {
                Durable::Bytes(bytes) if content.now.starts_with(&bytes) => bytes.len(),
                Durable::Bytes(bytes) => {
                    content.now = bytes;
                    continue;
                }
                Durable::Front(front) => front,
            };
            let extra = (content.now.len() - front) as u64;
            content.now.truncate(front + dice.below(extra + 1) as usize);
        }
    }

    /// Puts a durable file there, as somebody outside does; says its inode.
    pub(in crate::sim) fn put(&self, path: &str, bytes: &[u8]) -> u64 {
        let mut state = self.lock();
        state.contents.push(Content::new(bytes.to_vec()));
        let node = Node::File(state.contents.len() - 1);
        state.outside(Op::Add(path.to_owned(), node));
        state.contents.len() as u64
    }

    /// Makes a folder unless it is there, as somebody outside does.
    pub(in crate::sim) fn put_folder(&self, path: &str) {
        let mut state = self.lock();
        if !state.names.contains_key(path) {
            state.outside(Op::Add(path.to_owned(), Node::Folder));
        }
    }

    /// Moves a file, as somebody outside does. False if it is not there.
    pub(in crate::sim) fn shove(&self, from: &str, to: &str) -> bool {
        let mut state = self.lock();
        let there = state.names.contains_key(from);
        if there {
            state.outside(Op::Rename(from.to_owned(), to.to_owned()));
        }
        there
    }

    /// Takes a file away, as somebody outside does. False if it is not there.
    pub(in crate::sim) fn take(&self, path: &str) -> bool {
        let mut state = self.lock();
        let there = state.names.contains_key(path);
        if there {
            state.outside(Op::Remove(path.to_owned()));
        }
        there
    }

    /// Bytes of a file as programs see it; never fails by chance.
    #[must_use]
    pub(in crate::sim) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        match state.names.get(path) {
            Some(Node::File(content)) => Some(state.contents[*content].now.clone()),
            _ => None,
        }
    }

    /// Length and inode of a file as programs see it; never fails by chance.
    #[must_use]
    pub(in crate::sim) fn look(&self, path: &str) -> Option<(u64, u64)> {
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
    pub(in crate::sim) fn durable_bytes(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        match state.durable.get(path) {
            Some(Node::File(content)) => Some(state.contents[*content].durable().to_vec()),
            _ => None,
        }
    }

    /// Length and digest of a file as programs see it, or as a power cut would leave it at the worst.
    #[must_use]
    pub(in crate::sim) fn fingerprint(&self, path: &str, durable: bool) -> Option<(u64, Digest)> {
        let mut state = self.lock();
        let names = if durable { &state.durable } else { &state.names };
        match names.get(path) {
            Some(Node::File(content)) => {
                let content = *content;
                Some(state.contents[content].fingerprint(durable))
            }
            _ => None,
        }
    }

    /// Names in a folder as programs see them; never fails by chance.
    #[must_use]
    pub(in crate::sim) fn names(&self, folder: &str) -> Vec<String> {
        self.lock().inside(folder)
    }
}
