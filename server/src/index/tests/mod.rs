//! Indexes on the memory disk, read as any reader reads them: from `repomd.xml` on, believing nothing.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use moji_proto::Time;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::clock::Clock;
use crate::disk::memory::Memory;
use crate::repodata::{Class, Described, Group, Listed, Part, Provided, encode_provided};
use crate::rpmfile::Nevra;
use std::collections::BTreeSet;

mod dependents;
mod faults;
mod rules;

/// A clock that tests set.
#[derive(Default)]
pub(super) struct Hand(pub(super) AtomicU64);

impl Hand {
    fn pass_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }

    fn unix_s(&self) -> u64 {
        1_700_000_000 + self.0.load(Ordering::Relaxed) / 1_000
    }
}

/// A package whose texts tell whose they are, and are not all of a length.
pub(super) fn package(path: &str) -> Described {
    let class = if path.ends_with(".src.rpm") { Class::Extra } else { Class::Main };
    let mut texts = Part::ALL.map(|part| {
        let lines = "  <line/>\n".repeat(path.bytes().map(usize::from).sum::<usize>() % 40);
        format!("<package part=\"{}\" path=\"{path}\">\n{lines}</package>\n", part.name()).into_bytes()
    });
    let [version, release, arch] = ["1", "1", "noarch"].map(str::to_owned);
    let nevra = Nevra { name: path.to_owned(), epoch: 0, version, release, arch };
    let provided = Provided { nevra, provides: Vec::new(), files: Vec::new(), source: None };
    texts[Part::Provides as usize] = encode_provided(&provided);
    let end = texts[Part::Filelists as usize].len() - "</package>\n".len();
    let file = format!("  <file>/usr/share/{path}</file>\n");
    texts[Part::Filelists as usize].splice(end..end, file.into_bytes());
    let text_bytes = texts.each_ref().map(|text| text.len() as u32);
    Described { listed: Listed { path: path.into(), size: 7, modified_unix_s: 9, text_bytes }, class, texts }
}

/// The groups of a result: a source package and some others.
pub(super) fn result(name: &str, packages: usize) -> Vec<Group> {
    let mut all = vec![package(&format!("{name}/{name}.src.rpm"))];
    all.extend((1..packages).map(|n| package(&format!("{name}/{name}-{n}.rpm"))));
    Group::seal_all(Compression::Gzip, all)
}

pub(super) fn paths(groups: &[Group]) -> BTreeSet<Box<str>> {
    groups.iter().flat_map(|group| &group.packages).map(|package| package.path.clone()).collect()
}

fn main_paths(groups: &[Group]) -> BTreeSet<Box<str>> {
    paths(&groups.iter().filter(|group| group.class == Class::Main).cloned().collect::<Vec<_>>())
}

pub(super) fn set(paths: &[&str]) -> BTreeSet<Box<str>> {
    paths.iter().map(|path| Box::from(*path)).collect()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    Some(text.split_once(from)?.1.split_once(to)?.0)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn expand(name: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    match name.ends_with(".gz") {
        true => flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap(),
        false => zstd::stream::read::Decoder::with_buffer(bytes).unwrap().read_to_string(&mut text).unwrap(),
    };
    text
}

/// What a reader finds in a `repodata` folder; None if nothing is there. Panics unless it is whole.
pub(super) fn read_index(
    read: &dyn Fn(&Path) -> Option<Vec<u8>>,
    folder: &Path,
) -> Option<BTreeSet<Box<str>>> {
    let repomd = String::from_utf8(read(&folder.join("repomd.xml"))?).unwrap();
    assert!(repomd.ends_with("</repomd>\n"), "{repomd}");
    let mut seen: BTreeMap<String, Vec<Box<str>>> = BTreeMap::new();
    for data in repomd.split("<data ").skip(1) {
        let part = between(data, "type=\"", "\"").unwrap();
        let name = between(data, "href=\"repodata/", "\"").unwrap();
        if !["primary", "filelists", "other"].contains(&part) {
            continue;
        }
        let bytes =
            read(&folder.join(name)).unwrap_or_else(|| panic!("{folder:?} names {name}, which is gone"));
        assert_eq!(between(data, "<size>", "<").unwrap(), bytes.len().to_string(), "{folder:?} {name}");
        assert_eq!(
            between(data, "<checksum type=\"sha256\">", "<").unwrap(),
            hex(&bytes),
            "{folder:?} {name}"
        );
        assert!(name.starts_with(&hex(&bytes)));
        let text = expand(name, &bytes);
        assert_eq!(between(data, "<open-size>", "<").unwrap(), text.len().to_string(), "{folder:?} {name}");
        if let Some(open) = between(data, "<open-checksum type=\"sha256\">", "<") {
            assert_eq!(open, hex(text.as_bytes()), "{folder:?} {name}");
        }
        let mut paths: Vec<Box<str>> = Vec::new();
        for package in text.split("<package ").skip(1) {
            assert_eq!(between(package, "part=\"", "\"").unwrap(), part);
            paths.push(between(package, "path=\"", "\"").unwrap().into());
        }
        assert_eq!(between(&text, "packages=\"", "\"").unwrap(), paths.len().to_string());
        assert!(text.starts_with("<?xml") && text.trim_end().ends_with('>'), "{text}");
        paths.sort();
        seen.insert(part.to_owned(), paths);
    }
    assert_eq!(seen.len(), 3, "{repomd}");
    let all: Vec<_> = seen.values().collect();
    assert!(all.iter().all(|paths| *paths == all[0]), "{seen:?}");
    let once: BTreeSet<Box<str>> = all[0].iter().cloned().collect();
    assert_eq!(once.len(), all[0].len(), "a package is there twice");
    Some(once)
}

/// What readers of recent, base and the complete index find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) recent: BTreeSet<Box<str>>,
    pub(super) base: BTreeSet<Box<str>>,
    pub(super) complete: BTreeSet<Box<str>>,
}

/// A disk with the publisher on it.
pub(super) struct Hub {
    pub(super) disk: Memory,
    pub(super) clock: Arc<Hand>,
    pub(super) config: Config,
    pub(super) recent: Recent,
    pub(super) shelves: Shelves,
}

pub(super) fn layout() -> Layout {
    Layout { repo: "repo".into(), index: "state/index".into() }
}

pub(super) fn open_shelves(disk: &Memory, clock: &Arc<Hand>, config: &Config) -> Result<Shelves, IndexError> {
    Shelves::open(Arc::new(disk.clone()), clock.clone(), layout(), config.clone())
}

impl Hub {
    /// An empty one.
    pub(super) fn new(config: Config) -> Hub {
        let (disk, _) = Memory::with_folders();
        Hub::on(disk, Arc::default(), config)
    }

    pub(super) fn on(disk: Memory, clock: Arc<Hand>, config: Config) -> Hub {
        let shelves = open_shelves(&disk, &clock, &config).unwrap();
        let mut recent = Recent::new(Arc::new(disk.clone()), clock.clone(), layout(), config.clone());
        recent.ensure_exists().unwrap();
        Hub { disk, clock, config, recent, shelves }
    }

    /// The same disk after a restart.
    pub(super) fn again(self) -> Hub {
        Hub::on(self.disk, self.clock, self.config)
    }

    pub(super) fn add(&mut self, groups: Vec<Group>) {
        self.recent.publish(RecentChange { add: groups, ..RecentChange::default() }).unwrap();
    }

    pub(super) fn merge(&mut self, groups: Vec<Group>, gone: &BTreeSet<Box<str>>) -> Result<(), IndexError> {
        self.shelves.merge(&mut groups.into_iter().map(Ok), gone)
    }

    pub(super) fn index(&self, folder: &str) -> Option<BTreeSet<Box<str>>> {
        read_index(&|path| self.disk.bytes(path), Path::new(folder))
    }

    pub(super) fn seen(&self) -> Seen {
        seen(&self.disk)
    }

    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let names = crate::disk::Disk::list(&self.disk, Path::new(folder)).unwrap();
        names.iter().map(|name| name.to_str().unwrap().to_owned()).collect()
    }

    pub(super) fn listed(&self) -> BTreeSet<Box<str>> {
        self.shelves.listed().map(|(package, _)| package.path.clone()).collect()
    }
}

pub(super) fn seen(disk: &Memory) -> Seen {
    let index = |folder: &str| read_index(&|path| disk.bytes(path), Path::new(folder)).unwrap_or_default();
    Seen {
        recent: index("state/index/recent/repodata"),
        base: index("state/index/base/repodata"),
        complete: index("repo/repodata"),
    }
}
