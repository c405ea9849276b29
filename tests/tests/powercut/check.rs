//! What must hold on a disk that lost its power.
//!
//! Owns the rules, and reads the folders itself. Must never change anything, nor ask the hub.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use moji_proto::Digest;
use serde_json::Value;

/// Begins what is said of a result that was promised and is not there as it was.
pub(crate) const LOST: &str = "LOST: ";

/// A package and what its build leaves.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) srpm: String,
    pub(crate) nvr: String,
    pub(crate) rpm: String,
    pub(crate) source_bytes: Vec<u8>,
    pub(crate) rpm_bytes: Vec<u8>,
}

/// In which folders an SRPM is must be one.
pub(crate) fn one_place(root: &Path, package: &Package) -> Option<String> {
    let places = ["source", "working", "finished"];
    let found: Vec<_> = places.iter().filter(|place| root.join(place).join(&package.srpm).exists()).collect();
    let [place] = found[..] else { return Some(format!("{} is in {found:?}", package.srpm)) };
    let whole =
        fs::read(root.join(place).join(&package.srpm)).is_ok_and(|bytes| bytes == package.source_bytes);
    (!whole).then(|| format!("{} in {place}/ has other bytes", package.srpm))
}

/// What was promised under this lease must be in `repo/`, whole.
pub(crate) fn promised(root: &Path, package: &Package, lease: &str) -> Option<String> {
    let lost = |why: String| Some(format!("{LOST}{} of lease {lease}: {why}", package.nvr));
    let entries = fs::read_dir(root.join("repo")).into_iter().flatten().flatten();
    let mut seen = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != package.nvr && !name.starts_with(&format!("{}@", package.nvr)) {
            continue;
        }
        let text = fs::read(entry.path().join("result.json")).unwrap_or_default();
        let json: Value = serde_json::from_slice(&text).unwrap_or_default();
        if json["lease"] == lease {
            return whole(&entry.path(), package, &json).and_then(lost);
        }
        seen.push(format!("{name} of {}", json["lease"]));
    }
    lost(format!("repo/ has no such result, only {seen:?}"))
}

/// What is wrong with a result's files.
pub(crate) fn whole(folder: &Path, package: &Package, json: &Value) -> Option<String> {
    if json["verdict"] != "success" {
        return Some(format!("its verdict is {}", json["verdict"]));
    }
    let listed = json["files"].as_array().map_or(&[][..], Vec::as_slice);
    for file in listed {
        let name = file["name"].as_str().unwrap_or_default();
        let bytes = match fs::read(folder.join(name)) {
            Ok(bytes) => bytes,
            Err(why) => return Some(format!("{name}: {why}")),
        };
        if file["size"] != bytes.len() as u64 || file["digest"] != Digest::of(&bytes).to_string() {
            return Some(format!("{name} has not the bytes that result.json says"));
        }
    }
    let same = |name: &str, bytes: &[u8]| fs::read(folder.join(name)).is_ok_and(|found| found == bytes);
    let is_listed = |name: &str| listed.iter().any(|file| file["name"] == name);
    for (name, bytes) in [(&package.rpm, &package.rpm_bytes), (&package.srpm, &package.source_bytes)] {
        if !is_listed(name) || !same(name, bytes) {
            return Some(format!("{name} is not what was built"));
        }
    }
    None
}

/// Lease ids that were given more than once, as the hub's log tells it.
pub(crate) fn given_twice(hub_log: &str) -> Vec<String> {
    let mut given: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in hub_log.lines().filter(|line| line.ends_with(" leased")) {
        let word = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
        if let (Some(lease), Some(pkg)) = (word("lease="), word("pkg=")) {
            given.entry(lease).or_default().push(pkg);
        }
    }
    let twice = given.into_iter().filter(|(_, pkgs)| pkgs.len() > 1);
    twice.map(|(lease, pkgs)| format!("lease {lease} was given twice: {pkgs:?}")).collect()
}
