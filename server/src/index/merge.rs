//! Merging: puts packages on the shelves and takes them out.
//!
//! Owns when groups are packed anew: those that lose packages, and small ones; all others are copied as they are.
//! What is added goes through a *spool*, files that nobody reads and that are never synced, because the header of a
//! document says how many packages follow, and `add` may be too much for memory.
//!
//! The order on disk: all new files are written and synced; the catalog is renamed, which is the commit point; base's
//! `repomd.xml` is renamed. A crash between the last two leaves readers with the old base, whose files are still
//! there; the next [`Shelves::open`] shows them the new one.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use super::catalog::{Body, Catalog, Placed, Shelf};
use super::generation::{DataDraft, Draft, Staged, sync_all};
use super::shelf::{CLASSES, OpenBody, Shelves};
use super::{IndexError, at, damaged, remove_if_there};
use crate::disk::Unsynced;
use crate::repodata::{Class, Compression, Described, GROUP_PACKAGES_MAX, Group, PARTS, Part};
use crate::repodata::{DataFile, footer, header};

/// Fewer packages than this in a group are packed together with others.
const GROUP_PACKAGES_MIN: usize = GROUP_PACKAGES_MAX * 3 / 4;

/// What is new on one shelf.
struct Spool {
    class: Class,
    compression: Compression,
    /// The members of each part.
    files: [Draft; PARTS],
    groups: Vec<Placed>,
    /// Not enough for a group yet.
    waiting: Vec<Described>,
}

impl Spool {
    /// Adds packages, packed anew.
    fn push(&mut self, package: Described) -> Result<(), IndexError> {
        self.waiting.push(package);
        if self.waiting.len() == GROUP_PACKAGES_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), IndexError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let group = Group::seal(self.class, self.compression, &self.waiting);
        self.waiting.clear();
        self.append(group)
    }

    /// Adds a group as it is.
    fn append(&mut self, group: Group) -> Result<(), IndexError> {
        for (file, member) in self.files.iter_mut().zip(&group.members) {
            file.append(member)?;
        }
        let member_bytes = group.members.each_ref().map(|member| member.len() as u64);
        self.groups.push(Placed { packages: group.packages, member_bytes });
        Ok(())
    }
}

/// A part of a shelf that is being written.
enum PartDraft {
    Published(DataDraft),
    Kept(Draft),
}

/// One attempt.
struct Attempt {
    catalog: Catalog,
    spools: [Spool; 2],
    /// Which groups stay as they are.
    keep: [Vec<bool>; 2],
    is_changed: [bool; 2],
}

impl Shelves {
    /// Puts groups on the shelves and takes paths out; publishes base if it changed. A path that is added is replaced.
    ///
    /// # Errors
    /// What cannot be read or written, and errors of `add`; the shelves are as before then.
    pub fn merge(
        &mut self,
        add: &mut dyn Iterator<Item = Result<Group, IndexError>>,
        gone: &BTreeSet<Box<str>>,
    ) -> Result<(), IndexError> {
        self.last_generation += 1;
        let merged = self.try_merge(add, gone);
        if merged.is_err() {
            self.base.discard_drafts();
            let _ = remove_if_there(&*self.disk, &self.catalog_new_path());
        }
        self.is_untidy = self.tidy().is_err();
        merged
    }

    fn try_merge(
        &mut self,
        add: &mut dyn Iterator<Item = Result<Group, IndexError>>,
        gone: &BTreeSet<Box<str>>,
    ) -> Result<(), IndexError> {
        let mut attempt = self.attempt()?;
        let mut added: HashSet<Box<str>> = HashSet::new();
        for group in add {
            self.spool(&mut attempt, group?, &mut added)?;
        }
        for class in CLASSES {
            self.take_out(&mut attempt, class, &|path| gone.contains(path) || added.contains(path))?;
            attempt.spools[class as usize].flush()?;
        }
        drop(added);
        if attempt.is_changed == [false, false] && self.catalog.compression == self.config.compression {
            return Ok(());
        }
        let (data, mut drafts) = self.write(&mut attempt)?;
        let unix_s = self.clock.unix_s();
        let compression = attempt.catalog.compression;
        let files: Vec<DataFile> = data.iter().map(|draft| draft.data_file(compression, unix_s)).collect();
        for (file, body) in files.iter().zip(attempt.catalog.main.bodies.iter_mut().flatten()) {
            *body = Body::published(file, body.start);
        }
        let mut new = Draft::create(&*self.disk, self.catalog_new_path())?;
        new.append(&attempt.catalog.encode())?;
        drafts.push(new);
        let staged = self.stage(&files, data, &mut drafts, unix_s)?;
        self.commit(attempt.catalog, staged)
    }

    fn attempt(&self) -> Result<Attempt, IndexError> {
        let compression = self.config.compression;
        let spool = |class: Class| {
            let file = |part: Part| {
                let name = format!(".spool-{}-{}", class_name(class), part.name());
                Draft::create(&*self.disk, self.layout.index.join("extra").join(name))
            };
            let files =
                [file(Part::Primary)?, file(Part::Filelists)?, file(Part::Other)?, file(Part::Provides)?];
            Ok(Spool { class, compression, files, groups: Vec::new(), waiting: Vec::new() })
        };
        Ok(Attempt {
            catalog: Catalog { generation: self.last_generation, compression, ..Catalog::default() },
            spools: [spool(Class::Main)?, spool(Class::Extra)?],
            keep: Default::default(),
            // A shelf that was never written is, so that its index can be read.
            is_changed: CLASSES.map(|class| self.catalog.shelf(class).bodies.is_none()),
        })
    }

    /// Takes in what is to be added. Of one path twice the first counts.
    fn spool(
        &self,
        attempt: &mut Attempt,
        group: Group,
        added: &mut HashSet<Box<str>>,
    ) -> Result<(), IndexError> {
        let spool = &mut attempt.spools[group.class as usize];
        let is_small = group.packages.len() < GROUP_PACKAGES_MIN;
        let paths = || group.packages.iter().map(|package| &package.path);
        let has_twice = paths().any(|path| added.contains(path));
        if !has_twice && !is_small && group.compression == self.config.compression {
            added.extend(paths().cloned());
            attempt.is_changed[group.class as usize] = true;
            return spool.append(group);
        }
        let packages = group.unseal().map_err(|damage| at(&self.layout.repo)(damaged(damage)))?;
        for package in packages {
            if added.insert(package.listed.path.clone()) {
                attempt.is_changed[group.class as usize] = true;
                spool.push(package)?;
            }
        }
        Ok(())
    }

    /// Packs what is left of groups that lose packages or are small, if the shelf changes at all.
    fn take_out(
        &self,
        attempt: &mut Attempt,
        class: Class,
        leaves: &dyn Fn(&str) -> bool,
    ) -> Result<(), IndexError> {
        let groups = &self.catalog.shelf(class).groups;
        let is_other = self.catalog.compression != self.config.compression;
        let stays = |group: &Placed| !is_other && !group.packages.iter().any(|package| leaves(&package.path));
        let mut keep: Vec<bool> = groups.iter().map(stays).collect();
        attempt.is_changed[class as usize] |= is_other || keep.contains(&false);
        if attempt.is_changed[class as usize] && !groups.is_empty() {
            let bodies = self.open_bodies(class)?;
            let mut starts = bodies.each_ref().map(|body| body.range().0);
            for (group, keep) in groups.iter().zip(&mut keep) {
                *keep &= group.packages.len() >= GROUP_PACKAGES_MIN;
                if !*keep {
                    let packages = self.read_group(class, &bodies, group, starts)?.unseal();
                    let mut packages =
                        packages.map_err(|damage| at(&self.layout.index.join("extra"))(damaged(damage)))?;
                    packages.retain(|package| !leaves(&package.listed.path));
                    for package in packages {
                        attempt.spools[class as usize].push(package)?;
                    }
                }
                for (start, bytes) in starts.iter_mut().zip(group.member_bytes) {
                    *start += bytes;
                }
            }
        }
        attempt.keep[class as usize] = keep;
        Ok(())
    }

    pub(super) fn open_bodies(&self, class: Class) -> Result<[OpenBody<'_>; PARTS], IndexError> {
        let open = |part: Part| {
            self.open_body(class, part).map(|body| body.expect("a shelf that has groups has files"))
        };
        Ok([open(Part::Primary)?, open(Part::Filelists)?, open(Part::Other)?, open(Part::Provides)?])
    }

    /// Writes the files of what has changed: those of base, and the others.
    fn write(&self, attempt: &mut Attempt) -> Result<(Vec<DataDraft>, Vec<Draft>), IndexError> {
        let (mut published, mut kept) = (Vec::new(), Vec::new());
        for class in CLASSES {
            let old = self.catalog.shelf(class);
            if !attempt.is_changed[class as usize] {
                *attempt.catalog.shelf_mut(class) = old.clone();
                continue;
            }
            let spool = &attempt.spools[class as usize];
            let keep = &attempt.keep[class as usize];
            let stay = old.groups.iter().zip(keep).filter(|(_, keep)| **keep).map(|(group, _)| group.clone());
            let mut shelf = Shelf { bodies: None, groups: stay.collect() };
            shelf.groups.extend(spool.groups.iter().cloned());
            let mut bodies = Vec::with_capacity(PARTS);
            for part in Part::ALL {
                let mut draft = self.begin(attempt.catalog.generation, class, part)?;
                let start = self.write_part(&mut draft, &shelf, spool, keep, part)?;
                match draft {
                    PartDraft::Published(draft) => {
                        bodies.push(Body {
                            name: String::new(),
                            bytes: draft.bytes(),
                            start,
                            published: None,
                        });
                        published.push(draft);
                    }
                    PartDraft::Kept(draft) => {
                        let name = draft.path().file_name().and_then(|name| name.to_str());
                        let name = name.expect("a name of our own").to_owned();
                        bodies.push(Body { name, bytes: draft.bytes(), start, published: None });
                        kept.push(draft);
                    }
                }
            }
            shelf.bodies = Some(bodies.try_into().expect("one of each part"));
            *attempt.catalog.shelf_mut(class) = shelf;
        }
        Ok((published, kept))
    }

    fn begin(&self, generation: u64, class: Class, part: Part) -> Result<PartDraft, IndexError> {
        if class == Class::Main && part != Part::Provides {
            return self.base.draft(part).map(PartDraft::Published);
        }
        let name = format!("{generation:08x}-{}-{}", class_name(class), part.name());
        let path = self.body_path(class, part, &name);
        Draft::create(&*self.disk, path).map(PartDraft::Kept)
    }

    /// Writes one file of a shelf: groups that stay, then the spool's. Gives where the first group begins.
    fn write_part(
        &self,
        draft: &mut PartDraft,
        shelf: &Shelf,
        spool: &Spool,
        keep: &[bool],
        part: Part,
    ) -> Result<u64, IndexError> {
        let compression = spool.compression;
        if let PartDraft::Published(draft) = draft {
            let text = header(part, shelf.packages());
            draft.append(&compression.member(&text))?;
            draft.expands_to(&text);
        }
        let start = draft.bytes();
        if keep.contains(&true) {
            let body = self.open_body(spool.class, part)?.expect("a shelf that has groups has files");
            for ((group, at), _) in body.groups().zip(keep).filter(|(_, keep)| **keep) {
                let member = body.read(at, group.member_bytes[part as usize])?;
                draft.append(&member, compression, group.open_bytes(part))?;
            }
        }
        let mut at = 0;
        for group in &spool.groups {
            let bytes = group.member_bytes[part as usize];
            let member = spool.files[part as usize].read(at, bytes)?;
            at += bytes;
            draft.append(&member, compression, group.open_bytes(part))?;
        }
        if let PartDraft::Published(draft) = draft {
            let text = footer(part);
            draft.append(&compression.member(&text))?;
            draft.expands_to(&text);
        }
        Ok(start)
    }

    /// Everything but the commit: all files of it survive a power cut.
    fn stage(
        &mut self,
        files: &[DataFile],
        data: Vec<DataDraft>,
        drafts: &mut [Draft],
        unix_s: u64,
    ) -> Result<Option<Staged>, IndexError> {
        let extra = self.layout.index.join("extra");
        if !data.is_empty() {
            return self.base.stage(files, data, drafts, &[&extra], unix_s).map(Some);
        }
        let all = drafts.iter_mut().map(Draft::unsynced).chain([Unsynced::Folder(&extra)]);
        sync_all(&*self.disk, all.collect())?;
        Ok(None)
    }

    /// The commit point, and what readers see.
    fn commit(&mut self, catalog: Catalog, staged: Option<Staged>) -> Result<(), IndexError> {
        let path = self.catalog_path();
        let renamed = self.disk.rename(&self.catalog_new_path(), &path).map_err(at(&path));
        let index = &self.layout.index;
        let synced = renamed.and_then(|()| self.disk.sync_dir(index).map_err(at(index)));
        let live = match (synced, staged) {
            (Err(error), staged) => {
                staged.into_iter().for_each(|staged| self.base.abandon(staged));
                Err(error)
            }
            (Ok(()), Some(staged)) => self.base.go_live(staged),
            (Ok(()), None) => Ok(()),
        };
        match live {
            Ok(()) => {
                self.catalog = catalog;
                self.uncertain.clear();
            }
            Err(_) => self.uncertain.extend(catalog.files().map(str::to_owned)),
        }
        live
    }

    fn catalog_new_path(&self) -> PathBuf {
        self.layout.index.join("catalog.new")
    }
}

impl PartDraft {
    /// Writes a member, whose text is read too if readers are told its digest.
    fn append(&mut self, member: &[u8], compression: Compression, open_bytes: u64) -> Result<(), IndexError> {
        let draft = match self {
            PartDraft::Kept(draft) => return draft.append(member),
            PartDraft::Published(draft) => draft,
        };
        draft.append(member)?;
        let bytes = usize::try_from(open_bytes).expect("a text fits into memory");
        let text = compression.expand(member, bytes).map_err(|damage| at(draft.path())(damaged(damage)))?;
        draft.expands_to(&text);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        match self {
            PartDraft::Published(draft) => draft.bytes(),
            PartDraft::Kept(draft) => draft.bytes(),
        }
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Main => "main",
        Class::Extra => "extra",
    }
}
