//! The complete index: everything, for everybody.
//!
//! Owns how it is put together: bodies of both shelves and the groups of recent, copied. Nothing is compressed but
//! headers and footers, and nothing is expanded: `repomd.xml` tells the digests of the files, not those of their texts,
//! which readers of XML never ask for and which would mean reading 400 MB of text for each new package.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::generation::DataDraft;
use super::recent::{in_compression, without};
use super::shelf::{CLASSES, Shelves};
use super::{IndexError, at, damaged};
use crate::repodata::{DamagedMember, Group, Part};
use crate::repodata::{DataFile, footer, header};

/// Bytes copied at once.
const COPY_BYTES: u64 = 1 << 20;

impl Shelves {
    /// Publishes `REPO/repodata/` over the shelves and these groups. A package of theirs that is on a shelf too is
    /// there once.
    ///
    /// # Errors
    /// What cannot be read or written; the index is as before then.
    pub fn complete(&mut self, recent: &[Arc<Group>]) -> Result<(), IndexError> {
        let is_written = CLASSES.iter().any(|class| self.catalog.shelf(*class).bodies.is_some());
        if is_written && self.catalog.compression != self.config.compression {
            // One file cannot have both.
            self.merge(&mut std::iter::empty(), &BTreeSet::new())?;
        }
        self.complete.look_again()?;
        let recent = self.not_shelved(recent).map_err(|damage| at(&self.layout.repo)(damaged(damage)))?;
        let written = self.write_complete(&recent);
        if written.is_err() {
            self.complete.discard_drafts();
        }
        written
    }

    fn not_shelved(&self, recent: &[Arc<Group>]) -> Result<Vec<Arc<Group>>, DamagedMember> {
        let packages = recent.iter().flat_map(|group| &group.packages);
        let paths: HashSet<&str> = packages.map(|package| &*package.path).collect();
        let shelved = self.listed().map(|(package, _)| &*package.path).filter(|path| paths.contains(path));
        let shelved: BTreeSet<&str> = shelved.collect();
        let mut groups = Vec::with_capacity(recent.len());
        for group in recent {
            if let Some(group) = without(group, &shelved)? {
                groups.extend(in_compression(&group, self.config.compression)?);
            }
        }
        Ok(groups)
    }

    fn write_complete(&mut self, recent: &[Arc<Group>]) -> Result<(), IndexError> {
        let packages = CLASSES.iter().map(|class| self.catalog.shelf(*class).packages()).sum::<usize>()
            + recent.iter().map(|group| group.packages.len()).sum::<usize>();
        let mut drafts = Vec::with_capacity(Part::PUBLISHED.len());
        for part in Part::PUBLISHED {
            drafts.push(self.write_complete_part(part, packages, recent)?);
        }
        let unix_s = self.clock.unix_s();
        let data_file = |draft: &DataDraft| draft.data_file(self.config.compression, unix_s);
        let files: Vec<DataFile> = drafts.iter().map(data_file).collect();
        let staged = self.complete.stage(&files, drafts, &mut [], &[], unix_s)?;
        self.complete.go_live(staged)
    }

    fn write_complete_part(
        &self,
        part: Part,
        packages: usize,
        recent: &[Arc<Group>],
    ) -> Result<DataDraft, IndexError> {
        let mut draft = self.complete.draft(part)?;
        let compression = self.config.compression;
        let (head, foot) = (header(part, packages), footer(part));
        draft.append(&compression.member(&head))?;
        for class in CLASSES {
            let Some(body) = self.open_body(class, part)? else { continue };
            let (mut at, bytes) = body.range();
            let end = at + bytes;
            while at < end {
                let bytes = COPY_BYTES.min(end - at);
                draft.append(&body.read(at, bytes)?)?;
                at += bytes;
            }
            draft.expands_by(body.open_bytes());
        }
        for group in recent {
            draft.append(&group.members[part as usize])?;
            draft.expands_by(group.open_bytes(part));
        }
        draft.append(&compression.member(&foot))?;
        draft.expands_by((head.len() + foot.len()) as u64);
        Ok(draft)
    }
}
