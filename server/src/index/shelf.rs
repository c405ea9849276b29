//! The shelves: what is in the index for long.
//!
//! Owns the catalog, the files it names, and the folders of base and of the complete index. Never keeps a package's
//! texts in memory: there may be 25,000. [`merge`](super::merge) changes the shelves, [`complete`](super::complete)
//! copies them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use moji_proto::Time;

use super::catalog::{Body, Catalog, Placed, Shelf};
use super::generation::{Generations, read_range};
use super::{
    COMPLETE_KEEP_MS, Config, IndexError, Layout, TIER_KEEP_MS, at, damaged, make_folder, read_if_there,
    remove_if_there,
};
use crate::clock::Clock;
use crate::disk::{Disk, File};
use crate::repodata::{
    Class, DamagedMember, Finder, Group, Holder, Listed, PARTS, Part, Provided, decode_provided,
};

/// Both shelves.
pub(super) const CLASSES: [Class; 2] = [Class::Main, Class::Extra];

/// The catalog's file in `STATE/index/`.
pub(super) const CATALOG: &str = "catalog";

/// Takes a package and its text of a part.
pub(super) type EachText<'a> = dyn FnMut(&Listed, &[u8]) -> Result<(), DamagedMember> + 'a;

/// What is on the shelves. For the slow thread.
pub struct Shelves {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) layout: Layout,
    pub(super) config: Config,
    pub(super) catalog: Catalog,
    /// The largest generation whose file names were used.
    pub(super) last_generation: u64,
    /// Files of catalogs that may be live, because an error came when they were renamed.
    pub(super) uncertain: BTreeSet<String>,
    /// A merge left files that could not be deleted.
    pub(super) is_untidy: bool,
    pub(super) base: Generations,
    pub(super) complete: Generations,
}

impl Shelves {
    /// Loads the catalog, checks that what it names is there, and repairs what a crash left. A catalog that is gone
    /// or damaged gives empty shelves. Makes empty indexes where there are none.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        layout: Layout,
        config: Config,
    ) -> Result<Shelves, IndexError> {
        let base = layout.index.join("base");
        for folder in [&layout.index, &base, &layout.index.join("extra")] {
            make_folder(&*disk, folder)?;
        }
        let generations = |folder: PathBuf, keep_ms| {
            Generations::open(disk.clone(), clock.clone(), config.signer.clone(), folder, keep_ms)
        };
        let base = generations(base.join("repodata"), TIER_KEEP_MS)?;
        let complete = generations(layout.repo.join("repodata"), COMPLETE_KEEP_MS)?;
        let mut shelves = Shelves {
            disk,
            clock,
            layout,
            config,
            catalog: Catalog::default(),
            last_generation: 0,
            uncertain: BTreeSet::new(),
            is_untidy: false,
            base,
            complete,
        };
        shelves.load()?;
        shelves.tidy()?;
        shelves.repair()?;
        Ok(shelves)
    }

    /// Takes over the catalog that is there, if its files are.
    fn load(&mut self) -> Result<(), IndexError> {
        let path = self.catalog_path();
        let Some(bytes) = read_if_there(&*self.disk, &path)? else { return Ok(()) };
        let Some(catalog) = Catalog::decode(&bytes) else {
            log::warn!("{}: damaged or of another version: the index is made anew", path.display());
            return Ok(());
        };
        self.last_generation = catalog.generation;
        for class in CLASSES {
            for (part, body) in Part::ALL.iter().zip(catalog.shelf(class).bodies.iter().flatten()) {
                let path = self.body_path(class, *part, &body.name);
                let stat = self.disk.stat(&path).map_err(at(&path))?;
                if stat.is_none_or(|stat| stat.len != body.bytes) {
                    log::warn!("{}: gone or damaged: the index is made anew", path.display());
                    return Ok(());
                }
            }
        }
        self.catalog = catalog;
        Ok(())
    }

    /// Deletes what no catalog names.
    pub(super) fn tidy(&self) -> Result<(), IndexError> {
        let extra = self.layout.index.join("extra");
        let named: BTreeSet<&str> = self.catalog.files().collect();
        let is_named = |name: &str| named.contains(name) || self.uncertain.contains(name);
        for name in self.disk.list(&extra).map_err(at(&extra))? {
            if !name.to_str().is_some_and(is_named) {
                remove_if_there(&*self.disk, &extra.join(name))?;
            }
        }
        Ok(())
    }

    /// Makes base name what the catalog does, and indexes where there are none.
    fn repair(&mut self) -> Result<(), IndexError> {
        match self.catalog.published() {
            Some(files) if !self.base.is_live(&files) => {
                let unix_s = self.clock.unix_s();
                let staged = self.base.stage(&files, Vec::new(), &mut [], &[], unix_s)?;
                self.base.go_live(staged)?;
            }
            None if !self.base.is_there() => self.merge(&mut std::iter::empty(), &BTreeSet::new())?,
            _ => {}
        }
        if self.complete.is_there() { Ok(()) } else { self.complete(&[]) }
    }

    /// What is on the shelves.
    pub fn listed(&self) -> impl Iterator<Item = (&Listed, Class)> {
        CLASSES.iter().flat_map(|class| {
            let groups = &self.catalog.shelf(*class).groups;
            groups.iter().flat_map(|group| &group.packages).map(|package| (package, *class))
        })
    }

    /// Tells what each package that builders see provides, one group after another.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn provided(&self, each: &mut dyn FnMut(&Listed, Provided)) -> Result<(), IndexError> {
        self.each_text(Class::Main, Part::Provides, &mut |listed, text| {
            each(listed, decode_provided(text).map_err(|_| DamagedMember)?);
            Ok(())
        })
    }

    /// Which packages that builders see have which of these files.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn which_have(&self, files: &Finder) -> Result<Vec<Holder>, IndexError> {
        let mut all = Vec::new();
        self.each_text(Class::Main, Part::Filelists, &mut |listed, text| {
            let found = files.find(text);
            if !found.is_empty() {
                all.push((listed.path.clone(), found));
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// Calls `each` with the text of each package of a shelf; never more than a group's texts are in memory.
    pub(super) fn each_text(
        &self,
        class: Class,
        part: Part,
        each: &mut EachText<'_>,
    ) -> Result<(), IndexError> {
        let Some(body) = self.open_body(class, part)? else { return Ok(()) };
        let fails = |damage| at(&body.path)(damaged(damage));
        for (group, start) in body.groups() {
            let member = body.read(start, group.member_bytes[part as usize])?;
            let bytes = usize::try_from(group.open_bytes(part)).expect("texts fit into memory");
            let text = self.catalog.compression.expand(&member, bytes).map_err(fails)?;
            let mut rest = &text[..];
            for package in &group.packages {
                let (one, others) = rest.split_at(package.text_bytes[part as usize] as usize);
                rest = others;
                each(package, one).map_err(fails)?;
            }
        }
        Ok(())
    }

    /// Deletes old generations.
    ///
    /// # Errors
    /// What cannot be read or written; the next sweep tries again.
    pub fn sweep(&mut self) -> Result<(), IndexError> {
        if self.is_untidy {
            self.tidy()?;
            self.is_untidy = false;
        }
        self.base.sweep()?;
        self.complete.sweep()
    }

    /// When there is something to sweep.
    #[must_use]
    pub fn next_sweep(&self) -> Option<Time> {
        self.base.next_sweep().into_iter().chain(self.complete.next_sweep()).min()
    }

    pub(super) fn catalog_path(&self) -> PathBuf {
        self.layout.index.join(CATALOG)
    }

    /// Where a shelf's file is: what readers may have in base's folder, all else beside it.
    pub(super) fn body_path(&self, class: Class, part: Part, name: &str) -> PathBuf {
        match (class, part) {
            (Class::Main, Part::Primary | Part::Filelists | Part::Other) => self.base.path(name),
            _ => self.layout.index.join("extra").join(name),
        }
    }

    /// Opens a part of a shelf.
    pub(super) fn open_body(&self, class: Class, part: Part) -> Result<Option<OpenBody<'_>>, IndexError> {
        let shelf = self.catalog.shelf(class);
        let Some(bodies) = &shelf.bodies else { return Ok(None) };
        let body = &bodies[part as usize];
        let path = self.body_path(class, part, &body.name);
        let file = self.disk.open(&path).map_err(at(&path))?;
        Ok(Some(OpenBody { part, shelf, body, path, file }))
    }
}

/// A part of a shelf, to be read.
pub(super) struct OpenBody<'a> {
    part: Part,
    shelf: &'a Shelf,
    body: &'a Body,
    path: PathBuf,
    file: Box<dyn File>,
}

impl OpenBody<'_> {
    /// All groups, with where each member begins.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&Placed, u64)> {
        let mut at = self.body.start;
        self.shelf.groups.iter().map(move |group| {
            let start = at;
            at += group.member_bytes[self.part as usize];
            (group, start)
        })
    }

    /// Where the first member begins, and how long all are.
    pub(super) fn range(&self) -> (u64, u64) {
        let bytes = self.shelf.groups.iter().map(|group| group.member_bytes[self.part as usize]).sum();
        (self.body.start, bytes)
    }

    /// Length of the text of all groups, bytes.
    pub(super) fn open_bytes(&self) -> u64 {
        self.shelf.groups.iter().map(|group| group.open_bytes(self.part)).sum()
    }

    pub(super) fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, IndexError> {
        read_range(&*self.file, &self.path, offset, bytes)
    }
}

impl Shelves {
    /// A group as it was put there.
    pub(super) fn read_group(
        &self,
        class: Class,
        bodies: &[OpenBody<'_>; PARTS],
        group: &Placed,
        starts: [u64; PARTS],
    ) -> Result<Group, IndexError> {
        let mut members: [Vec<u8>; PARTS] = Default::default();
        for part in Part::ALL.map(|part| part as usize) {
            members[part] = bodies[part].read(starts[part], group.member_bytes[part])?;
        }
        Ok(Group { class, compression: self.catalog.compression, packages: group.packages.clone(), members })
    }
}
