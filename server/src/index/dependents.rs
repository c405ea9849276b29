//! What a new build changed, and who was built against it: answers for [`crate::core::repo`].
//!
//! Owns two looks: at the pieces of a build and of those before it, for what they provide, and, only where that is
//! different, at the `primary` of all that is published, for who needs something of it. Nothing of that is kept in memory.
//! The second takes about as long as making the complete index does. Decides nothing.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::shelf::CLASSES;
use super::work::Slow;
use super::{IndexError, at, damaged, read_if_there};
use crate::core::capabilities::{Capabilities, Requirement, change, compare_evrs};
use crate::core::repo::{Changed, Compare, Compared};
use crate::repodata::{
    Class, Group, Needs, PIECE_NAME, Part, Provided, decode_piece, decode_provided, needs,
};
use std::sync::Arc;

/// What a build provides.
struct Build {
    /// Version of its source package.
    evr: String,
    /// Name of its source package.
    source: String,
    /// What builders can install of it.
    packages: Vec<Provided>,
}

/// A change whose dependents are looked for.
struct Looked {
    folder: String,
    source: String,
    what: String,
    offered: Box<Capabilities>,
    /// Folders that need something of it.
    found: BTreeSet<Box<str>>,
}

impl Slow {
    /// Compares each build with the latest version before it, and finds what was built against those that changed.
    pub(super) fn compare(
        &mut self,
        builds: &[Compare],
        recent: &[Arc<Group>],
    ) -> Result<Vec<Compared>, IndexError> {
        let mut looked = Vec::new();
        for Compare { folder, earlier } in builds {
            looked.extend(self.change_of(folder, earlier)?);
        }
        if !looked.is_empty() {
            self.find_dependents(&mut looked, recent)?;
        }
        let mut changes: BTreeMap<String, Changed> = looked
            .into_iter()
            .map(|Looked { folder, what, offered, found, .. }| {
                let dependents = found.into_iter().map(String::from).collect();
                (folder, Changed { what, offered, dependents })
            })
            .collect();
        let compared = |build: &Compare| Compared {
            folder: build.folder.clone(),
            change: changes.remove(&build.folder),
        };
        Ok(builds.iter().map(compared).collect())
    }

    fn change_of(&self, folder: &str, earlier: &[String]) -> Result<Option<Looked>, IndexError> {
        let Some(now) = self.build(folder)? else { return Ok(None) };
        let mut before: Option<Build> = None;
        for folder in earlier {
            let Some(build) = self.build(folder)? else { continue };
            // Of two builds of one version the later one counts.
            if before.as_ref().is_none_or(|last| compare_evrs(&build.evr, &last.evr) != Ordering::Less) {
                before = Some(build);
            }
        }
        // dnf installs the latest version, whenever it was built.
        let Some(before) = before.filter(|b| compare_evrs(&b.evr, &now.evr) != Ordering::Greater) else {
            return Ok(None);
        };
        let Some(what) = change(&before.packages, &now.packages) else { return Ok(None) };
        let mut offered = Box::<Capabilities>::default();
        for (number, one) in before.packages.iter().chain(&now.packages).enumerate() {
            offered.add(&number.to_string(), &one.nevra, &one.provides, &one.files);
        }
        let (folder, source, found) = (folder.to_owned(), now.source, BTreeSet::new());
        Ok(Some(Looked { folder, source, what, offered, found }))
    }

    /// What the piece in this folder says; None if there is none that can be read: then nothing can be said of it.
    fn build(&self, folder: &str) -> Result<Option<Build>, IndexError> {
        let path = self.layout.repo.join(folder).join(PIECE_NAME);
        let Some(bytes) = read_if_there(&*self.disk, &path)? else { return Ok(None) };
        let Ok(groups) = decode_piece(&bytes) else {
            log::warn!(
                "'{}' is damaged or of another version: nothing is built again for it",
                path.display()
            );
            return Ok(None);
        };
        let (mut source, mut packages) = (None, Vec::new());
        for group in &groups {
            let (text, ranges) = group.texts(Part::Provides).map_err(|damage| at(&path)(damaged(damage)))?;
            for range in ranges {
                let Ok(provided) = decode_provided(&text[range]) else { return Ok(None) };
                match (group.class, provided.source.is_none()) {
                    (_, true) => source = Some(provided.nevra),
                    (Class::Main, false) => packages.push(provided),
                    (Class::Extra, false) => {}
                }
            }
        }
        Ok(source.map(|nevra| {
            let epoch = if nevra.epoch == 0 { String::new() } else { format!("{}:", nevra.epoch) };
            let evr = format!("{epoch}{}-{}", nevra.version, nevra.release);
            Build { evr, source: nevra.name, packages }
        }))
    }

    /// Looks through all that is published, once for all changes.
    fn find_dependents(&mut self, looked: &mut [Looked], recent: &[Arc<Group>]) -> Result<(), IndexError> {
        let recent_folder = self.layout.index.join("recent");
        // Version of each folder's source package, by its name.
        let mut sources: HashMap<String, Vec<(String, Box<str>)>> = HashMap::new();
        let mut each = |path: &str, text: &[u8]| {
            let Some((folder, _)) = path.rsplit_once('/') else { return };
            let Some(package) = std::str::from_utf8(text).ok().and_then(needs) else { return };
            for one in looked.iter_mut().filter(|one| !one.found.contains(folder)) {
                if is_needed(&one.offered, &package) {
                    one.found.insert(folder.into());
                }
            }
            if package.is_source {
                sources.entry(package.name).or_default().push((package.evr, folder.into()));
            }
        };
        for class in CLASSES {
            self.shelves().each_text(class, Part::Primary, &mut |listed, text| {
                each(&listed.path, text);
                Ok(())
            })?;
        }
        for group in recent {
            let fails = |damage| at(&recent_folder)(damaged(damage));
            let (text, ranges) = group.texts(Part::Primary).map_err(fails)?;
            for (listed, range) in group.packages.iter().zip(ranges) {
                each(&listed.path, &text[range]);
            }
        }
        for one in looked {
            let others = sources.iter().filter(|(name, _)| **name != one.source);
            let latest: BTreeSet<&str> = others.flat_map(|(_, folders)| latest(folders)).collect();
            one.found.retain(|folder| latest.contains(&**folder));
        }
        Ok(())
    }
}

/// Folders of the latest version.
fn latest(folders: &[(String, Box<str>)]) -> impl Iterator<Item = &str> {
    let last = folders.iter().map(|(evr, _)| evr).max_by(|a, b| compare_evrs(a, b));
    let is_last = move |evr: &str| last.is_some_and(|last| compare_evrs(evr, last) == Ordering::Equal);
    folders.iter().filter(move |(evr, _)| is_last(evr)).map(|(_, folder)| &**folder)
}

/// Whether the package needs something that is offered; of a rich requirement any part counts.
fn is_needed(offered: &Capabilities, package: &Needs) -> bool {
    package.requires.iter().any(|one| !offered.who_provides(&Requirement::of(one)).is_empty())
}
