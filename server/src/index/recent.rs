//! Recent: the index of what is on no shelf yet.
//!
//! Owns its groups, in memory as they are compressed, and `STATE/index/recent/repodata`. Never reads the shelves:
//! [`crate::core::repo`] tells what was merged. A publication is on the way from a result to the next build, so it
//! compresses nothing but headers and footers, and what it costs depends on recent alone.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use moji_proto::Time;
use sha2::{Digest as _, Sha256};

use super::generation::{Generations, data_name};
use super::{Config, IndexError, Layout, TIER_KEEP_MS, at, damaged, make_folder};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::repodata::{Class, Compression, DamagedMember, Group, Part};
use crate::repodata::{DataFile, footer, header};

/// How long a merged package stays in recent too, milliseconds: longer than any dnf takes from one `repomd.xml` to the
/// other.
const LINGER_MS: u64 = 600_000;
/// From here on the digests are worth a thread, bytes: the time to start one.
const THREAD_BYTES: usize = 128 * 1024;

/// What a publication changes, in this order: paths go, groups come, paths are on base now.
#[derive(Clone, Debug, Default)]
pub struct RecentChange {
    /// New groups. A path in them that is in recent already is replaced.
    pub add: Vec<Group>,
    /// Paths that are not published any more.
    pub gone: BTreeSet<Box<str>>,
    /// Paths that base has now: they linger.
    pub merged: BTreeSet<Box<str>>,
}

/// The index of what is new. For the fast thread.
pub struct Recent {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    layout: Layout,
    config: Config,
    /// Opened with the first use.
    pub(super) generations: Option<Generations>,
    content: Content,
}

/// What is in recent.
#[derive(Clone, Default)]
struct Content {
    /// On no shelf.
    groups: Vec<Arc<Group>>,
    /// On base too, and since when. Oldest first.
    lingering: VecDeque<(Time, Arc<Group>)>,
}

impl Recent {
    /// Works in the folders of `layout`, where nothing is touched yet.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, layout: Layout, config: Config) -> Recent {
        Recent { disk, clock, layout, config, generations: None, content: Content::default() }
    }

    /// Makes an empty index where there is none, so that ports may open.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn ensure_exists(&mut self) -> Result<(), IndexError> {
        if !self.config.tiers || self.generations()?.is_there() {
            return Ok(());
        }
        self.write(&self.content.clone())
    }

    /// Adds groups, takes paths out, lets `merged` paths linger, and publishes once. On Ok readers see it and it
    /// survives a power cut.
    ///
    /// # Errors
    /// What cannot be read or written; nothing has changed then.
    pub fn publish(&mut self, change: RecentChange) -> Result<(), IndexError> {
        let changed = self.content.changed(change, &self.config, self.clock.now());
        let content = changed.map_err(|damage| at(&self.layout.index.join("recent"))(damaged(damage)))?;
        if self.config.tiers {
            self.write(&content)?;
        }
        self.content = content;
        Ok(())
    }

    /// What is in recent and on no shelf.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.content.groups.clone()
    }

    /// Deletes old generations and lets go what lingered long enough.
    ///
    /// # Errors
    /// What cannot be read or written; the next sweep tries again.
    pub fn sweep(&mut self) -> Result<(), IndexError> {
        let now = self.clock.now();
        let mut content = self.content.clone();
        content.lingering.retain(|(since, _)| now.since_ms(*since) < LINGER_MS);
        if content.lingering.len() < self.content.lingering.len() {
            if self.config.tiers {
                self.write(&content)?;
            }
            self.content = content;
        }
        self.generations.as_mut().map_or(Ok(()), Generations::sweep)
    }

    /// When there is something to sweep.
    #[must_use]
    pub fn next_sweep(&self) -> Option<Time> {
        let lingering = self.content.lingering.front().map(|(since, _)| since.plus_ms(LINGER_MS));
        let old = self.generations.as_ref().and_then(Generations::next_sweep);
        lingering.into_iter().chain(old).min()
    }

    fn generations(&mut self) -> Result<&mut Generations, IndexError> {
        if self.generations.is_none() {
            let folder = self.layout.index.join("recent");
            make_folder(&*self.disk, &self.layout.index)?;
            make_folder(&*self.disk, &folder)?;
            self.generations = Some(Generations::open(
                self.disk.clone(),
                self.clock.clone(),
                self.config.signer.clone(),
                folder.join("repodata"),
                TIER_KEEP_MS,
            )?);
        }
        Ok(self.generations.as_mut().expect("it was opened just now"))
    }

    /// Publishes the index of `content`.
    fn write(&mut self, content: &Content) -> Result<(), IndexError> {
        let unix_s = self.clock.unix_s();
        let files = content.files(self.config.compression, unix_s);
        let generations = self.generations()?;
        let mut drafts = Vec::with_capacity(files.len());
        for (file, bytes) in files.iter().filter(|(file, _)| !generations.has(file)) {
            match generations.place(file, bytes) {
                Ok(draft) => drafts.push((file.part, draft)),
                Err(error) => {
                    generations.discard_drafts();
                    return Err(error);
                }
            }
        }
        let files: Vec<DataFile> = files.into_iter().map(|(file, _)| file).collect();
        let staged = generations.stage_drafts(&files, drafts, &mut [], &[], unix_s)?;
        generations.go_live(staged)
    }
}

impl Content {
    fn changed(&self, change: RecentChange, config: &Config, now: Time) -> Result<Content, DamagedMember> {
        let RecentChange { add, gone, merged } = change;
        let mut leave: BTreeSet<&str> = gone.iter().map(|path| &**path).collect();
        leave.extend(add.iter().flat_map(|group| &group.packages).map(|package| &*package.path));
        let mut content = Content::default();
        for (since, group) in &self.lingering {
            content.lingering.extend(without(group, &leave)?.map(|group| (*since, group)));
        }
        let stay: Vec<Option<Arc<Group>>> =
            self.groups.iter().map(|group| without(group, &leave)).collect::<Result<_, _>>()?;
        let mut groups: Vec<Arc<Group>> = stay.into_iter().flatten().collect();
        for group in &add {
            groups.extend(in_compression(group, config.compression)?);
        }
        let merged: BTreeSet<&str> = merged.iter().map(|path| &**path).collect();
        for group in groups {
            let (on_base, on_none): (BTreeSet<&str>, BTreeSet<&str>) =
                group.packages.iter().map(|package| &*package.path).partition(|path| merged.contains(path));
            // Builders never saw those of the other class, so nobody misses them.
            if group.class == Class::Main
                && let Some(group) = without(&group, &on_none)?
            {
                content.lingering.push_back((now, group));
            }
            content.groups.extend(without(&group, &on_base)?);
        }
        let mut lingering: usize = content.lingering.iter().map(|(_, group)| group.packages.len()).sum();
        while lingering > config.recent_packages_max {
            lingering -= content.lingering.pop_front().map_or(0, |(_, group)| group.packages.len());
        }
        Ok(content)
    }

    /// The data files with their bytes. What their text's digest is, nobody is told: readers of XML never ask, and it
    /// would cost more than all the rest.
    fn files(&self, compression: Compression, unix_s: u64) -> Vec<(DataFile, Vec<u8>)> {
        let groups: Vec<&Group> = self
            .lingering
            .iter()
            .map(|(_, group)| &**group)
            .chain(self.groups.iter().map(|group| &**group))
            .filter(|group| group.class == Class::Main)
            .collect();
        let packages = groups.iter().map(|group| group.packages.len()).sum();
        let file = |part: Part| {
            let (head, foot) = (header(part, packages), footer(part));
            let members: usize = groups.iter().map(|group| group.members[part as usize].len()).sum();
            // Header and footer take some hundred bytes.
            let mut bytes = Vec::with_capacity(members + 1_024);
            bytes.extend(compression.member(&head));
            groups.iter().for_each(|group| bytes.extend(&group.members[part as usize]));
            bytes.extend(compression.member(&foot));
            let open_bytes = groups.iter().map(|group| group.open_bytes(part)).sum::<u64>()
                + (head.len() + foot.len()) as u64;
            let sha256: [u8; 32] = Sha256::digest(&bytes).into();
            let name = data_name(&sha256, part, compression);
            let data = DataFile {
                part,
                name,
                sha256,
                bytes: bytes.len() as u64,
                open_sha256: None,
                open_bytes,
                unix_s,
            };
            (data, bytes)
        };
        let bytes: usize = groups.iter().map(|group| group.members[Part::Filelists as usize].len()).sum();
        if bytes < THREAD_BYTES {
            return Part::PUBLISHED.map(file).into();
        }
        // The list of files is as large as the others together.
        std::thread::scope(|scope| {
            let filelists = || file(Part::Filelists);
            let thread = std::thread::Builder::new().name("digest".to_owned());
            let thread = thread.spawn_scoped(scope, filelists).ok();
            let (primary, other) = (file(Part::Primary), file(Part::Other));
            let filelists =
                thread.map_or_else(filelists, |thread| thread.join().expect("a digest does not panic"));
            vec![primary, filelists, other]
        })
    }
}

/// The group without these paths, itself if it has none of them; None if nothing is left.
pub(super) fn without(
    group: &Arc<Group>,
    paths: &BTreeSet<&str>,
) -> Result<Option<Arc<Group>>, DamagedMember> {
    match group.packages.iter().filter(|package| paths.contains(&*package.path)).count() {
        0 => Ok(Some(group.clone())),
        n if n == group.packages.len() => Ok(None),
        _ => Ok(group.without(paths)?.map(Arc::new)),
    }
}

/// The same packages, compressed as they shall be.
pub(super) fn in_compression(
    group: &Group,
    compression: Compression,
) -> Result<Option<Arc<Group>>, DamagedMember> {
    if group.packages.is_empty() {
        return Ok(None);
    }
    if group.compression == compression {
        return Ok(Some(Arc::new(group.clone())));
    }
    Ok(Some(Arc::new(Group::seal(group.class, compression, &group.unseal()?))))
}
