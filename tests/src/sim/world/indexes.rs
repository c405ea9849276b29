//! What readers see of the indexes, and what people do in `repo/`.
//!
//! Owns what must hold of every index at any time: `repomd.xml` names only files that are there, with the digests that
//! it says.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::*;

/// Where indexes are.
const RECENT: &str = "state/index/recent/repodata";
const BASE: &str = "state/index/base/repodata";
const COMPLETE: &str = "repo/repodata";
/// RPMs that people put there by one name.
const BY_HAND: [&str; 2] = ["hand/h1-1-1.noarch.rpm", "hand2/h2-1-1.noarch.rpm"];

/// An index as it was seen last.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenIndex {
    repomd: Vec<u8>,
    files: Vec<String>,
    paths: Vec<String>,
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(inside, _)| inside)
}

fn read_index(disk: &SimDisk, folder: &str, repomd: Vec<u8>) -> Result<SeenIndex, String> {
    let text = String::from_utf8_lossy(&repomd).into_owned();
    let mut seen = SeenIndex { repomd, ..SeenIndex::default() };
    let mut counts = Vec::new();
    for data in text.split("<data ").skip(1) {
        let name = between(data, "href=\"repodata/", "\"").ok_or("a <data> without a location")?;
        let path = format!("{folder}/{name}");
        let bytes = disk.bytes(&path).ok_or_else(|| format!("{folder} names {name}, which is not there"))?;
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if between(data, "<checksum type=\"sha256\">", "<") != Some(&digest) {
            return Err(format!("{path} is not what repomd.xml says"));
        }
        let mut xml = String::new();
        MultiGzDecoder::new(&bytes[..])
            .read_to_string(&mut xml)
            .map_err(|error| format!("{path}: {error}"))?;
        if between(data, "<open-size>", "<") != Some(&xml.len().to_string()) {
            return Err(format!("{path} expands to {} bytes, which is not what repomd.xml says", xml.len()));
        }
        let said = between(&xml, " packages=\"", "\"").and_then(|count| count.parse().ok());
        counts.push(xml.matches("<package ").count());
        if said != counts.last().copied() {
            return Err(format!("{path} says that it has {said:?} packages and has {counts:?}"));
        }
        if data.starts_with("type=\"primary\"") {
            let hrefs = xml.split("<location ").skip(1).filter_map(|rest| between(rest, "href=\"", "\""));
            seen.paths = hrefs.map(str::to_owned).collect();
        }
        seen.files.push(path);
    }
    counts.dedup();
    if seen.files.len() != 3 || counts.len() != 1 {
        return Err(format!("{folder} has {} files of {counts:?} packages", seen.files.len()));
    }
    Ok(seen)
}

impl World {
    /// Every index that readers can see is whole.
    pub(in crate::sim) fn check_indexes(&mut self) {
        if self.opt.no_index {
            return;
        }
        for folder in [RECENT, BASE, COMPLETE] {
            let seen = self.seen_indexes.remove(folder).unwrap_or_default();
            let repomd = self.disk.bytes(&format!("{folder}/repomd.xml"));
            let Some(repomd) = repomd else {
                if !seen.repomd.is_empty() && !self.disk.is_off() {
                    self.check.fail(format!("{folder} has no repomd.xml any more"));
                }
                continue;
            };
            let now = if repomd == seen.repomd {
                let missing = seen.files.iter().find(|path| self.disk.look(path).is_none());
                missing.map_or(Ok(seen.clone()), |path| Err(format!("{path} is not there any more")))
            } else {
                read_index(&self.disk, folder, repomd)
            };
            match now {
                Ok(now) => {
                    // What the power cut may take back again was never promised, not even that there is one.
                    let kept = if self.disk.is_off() { seen } else { now };
                    self.seen_indexes.insert(folder, kept);
                }
                Err(why) => self.check.fail(why),
            }
        }
    }

    fn listed(&mut self, folders: &[&str]) -> Vec<String> {
        self.check_indexes();
        folders
            .iter()
            .filter_map(|folder| self.seen_indexes.get(*folder))
            .flat_map(|seen| seen.paths.clone())
            .collect()
    }

    /// Paths that builders see.
    pub(super) fn indexed(&mut self) -> Vec<String> {
        if self.opt.foreign_url { self.listed(&[COMPLETE]) } else { self.listed(&[RECENT, BASE]) }
    }

    /// Paths in the complete index.
    fn completed(&mut self) -> Vec<String> {
        self.listed(&[COMPLETE])
    }

    /// RPMs of results and of people that are to be in the index, if all went well. Source packages are in the complete one only.
    fn to_index(&self, with_sources: bool) -> BTreeSet<String> {
        let mut last: BTreeMap<String, (u64, usize, String)> = BTreeMap::new();
        for folder in self.disk.names("repo") {
            let json = self.disk.bytes(&format!("repo/{folder}/result.json")).unwrap_or_default();
            let Ok(json) = serde_json::from_slice::<ResultJson>(&json) else { continue };
            if json.verdict != "success" || json.held.is_some() || self.retracted.contains(&folder) {
                continue;
            }
            for file in
                json.files.iter().filter(|file| file.package.is_some() && (with_sources || !file.is_source))
            {
                let this = (json.committed_unix_s, folder.len(), folder.clone());
                let known = last.entry(file.name.clone()).or_insert_with(|| this.clone());
                *known = this.max(known.clone());
            }
        }
        let results = last.into_iter().map(|(name, (_, _, folder))| format!("{folder}/{name}"));
        results.chain(self.by_hand.keys().cloned()).collect()
    }

    /// What is not as it must be when everything is done.
    pub(super) fn not_indexed(&mut self) -> Option<String> {
        if self.opt.no_index {
            return None;
        }
        let (for_builders, for_all) = (self.indexed(), self.completed());
        for (what, with_sources, listed) in
            [("for builders", self.opt.foreign_url, for_builders), ("complete", true, for_all)]
        {
            let want = self.to_index(with_sources);
            let have: BTreeSet<String> = listed.iter().cloned().collect();
            // Names are what counts: of rebuilds within one second the clock does not tell the last.
            let names = |paths: &BTreeSet<String>| -> BTreeSet<String> {
                paths.iter().map(|path| path.rsplit('/').next().unwrap_or_default().to_owned()).collect()
            };
            if names(&want) != names(&have) {
                return Some(format!("the index {what} has {have:?}, and not {want:?}"));
            }
            if let Some(path) =
                have.iter().find(|path| self.retracted.contains(path.split('/').next().unwrap_or_default()))
            {
                return Some(format!("the index {what} has {path}, which was retracted"));
            }
            if let Some(path) = have.iter().find(|path| self.disk.look(&format!("repo/{path}")).is_none()) {
                return Some(format!("the index {what} names {path}, which is not there"));
            }
        }
        None
    }

    /// People put an RPM into `repo/`, put another in its place, take it away, or retract a result.
    pub(super) fn change_repo(&mut self) {
        if self.dice.chance(300_000) {
            return self.retract();
        }
        let path = *self.dice.pick(&BY_HAND);
        if self.by_hand.contains_key(path) && self.dice.chance(400_000) {
            self.say(|| format!("somebody takes repo/{path} away"));
            self.disk.take(&format!("repo/{path}"));
            self.by_hand.remove(path);
        } else {
            let name = path.split('/').next_back().unwrap_or_default().split('-').next().unwrap_or_default();
            let payload_bytes = self.dice.within(1, 900) as usize;
            let bytes = rpm::binary(name, name, 1, payload_bytes);
            self.say(|| format!("somebody puts repo/{path} there, {} bytes", bytes.len()));
            self.disk.put_folder(&format!("repo/{}", path.split('/').next().unwrap_or_default()));
            self.disk.put(&format!("repo/{path}"), &bytes);
            self.by_hand.insert(path.to_owned(), bytes);
        }
        let ms = self.dice.within(10, 12_000);
        self.hub_after(ms, |run| Ev::Hands(run, false));
    }

    fn retract(&mut self) {
        let mut folders = self.disk.names("repo");
        folders.retain(|folder| {
            let json = self.disk.bytes(&format!("repo/{folder}/result.json")).unwrap_or_default();
            let json = serde_json::from_slice::<ResultJson>(&json).ok();
            json.is_some_and(|json| json.verdict == "success" && json.held.is_none())
                && !self.retracted.contains(folder)
        });
        // What nobody has been promised yet is still to be published.
        folders.retain(|folder| self.check.is_promised(folder));
        if folders.is_empty() || self.hub.is_none() {
            return;
        }
        let folder = self.dice.pick(&folders).clone();
        self.say(|| format!("somebody retracts {folder}"));
        let decided = format!("{{\"decision\":\"retracted\",\"who\":\"x\",\"unix_s\":{}}}", hub::UNIX_S);
        self.disk.put(&format!("repo/{folder}/decision.json"), decided.as_bytes());
        self.retracted.insert(folder.clone());
        self.with_hub(self.hub_gen, |hub, _| hub.withdraw(&folder));
    }
}
