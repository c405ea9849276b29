//! Which source package each binary package in the repository comes from.
//!
//! Owns that the result published last counts, and that the one before it counts again once that is taken out.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Folder and source package of a result.
type Owner = (Arc<str>, Arc<str>);

/// Source packages of binary packages.
#[derive(Debug, Default)]
pub struct Owners {
    /// Each result that holds it, in the order in which they were published.
    by_binary: BTreeMap<String, Vec<Owner>>,
}

impl Owners {
    /// The source package of this binary package.
    #[must_use]
    pub fn source_of(&self, binary: &str) -> Option<&str> {
        self.by_binary.get(binary)?.last().map(|(_, source)| &**source)
    }

    /// A result is published.
    pub fn add(&mut self, folder: &str, source: &str, binaries: impl IntoIterator<Item = String>) {
        let (folder, source): (Arc<str>, Arc<str>) = (folder.into(), source.into());
        for binary in binaries {
            let results = self.by_binary.entry(binary).or_insert_with(|| Vec::with_capacity(1));
            results.retain(|(there, _)| *there != folder);
            results.push((folder.clone(), source.clone()));
        }
    }

    /// A result is no longer published.
    pub fn remove(&mut self, folder: &str, binaries: &[String]) {
        for binary in binaries {
            let Some(results) = self.by_binary.get_mut(binary) else { continue };
            results.retain(|(there, _)| &**there != folder);
            if results.is_empty() {
                self.by_binary.remove(binary);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_published_last_owns_and_the_one_before_comes_back() {
        let mut owners = Owners::default();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        owners.add("a-1-1", "a", names(&["x", "y"]));
        owners.add("b-1-1", "b", names(&["x"]));
        assert_eq!((owners.source_of("x"), owners.source_of("y")), (Some("b"), Some("a")));
        owners.remove("b-1-1", &names(&["x", "y", "z"]));
        assert_eq!((owners.source_of("x"), owners.source_of("y")), (Some("a"), Some("a")));
        owners.remove("a-1-1", &names(&["x"]));
        assert_eq!((owners.source_of("x"), owners.source_of("y")), (None, Some("a")));
    }
}
