//! Who waits for what.
//!
//! Owns the conditions of packages that wait, and finds those that an arrival makes true: an arrival costs what waits
//! for its names, however many others wait. Decides nothing else; whoever is woken is forgotten here.
//!
//! Of a rich requirement, any part that arrives counts as all of it: the rest may be the distribution's own, of which
//! nothing is known here. A vain attempt on a board is a smaller loss than a day's wait.

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::FileName;

use super::{Answer, Capabilities, Requirement, could_be_file};
use crate::rpmfile::{Capability, Nevra};

/// What one package waits for.
#[derive(Clone, Debug)]
struct Wait {
    /// All of these must be there.
    all: Vec<Requirement>,
    /// One of these must be there, if any is named.
    any: Vec<Requirement>,
    /// Rich ones of which a part arrived.
    begun: BTreeSet<Requirement>,
}

impl Wait {
    fn is_over(&self, there: &Capabilities) -> bool {
        let has = |one: &Requirement| there.answer(one) == Answer::Yes || self.begun.contains(one);
        self.all.iter().all(has) && (self.any.is_empty() || self.any.iter().any(has))
    }

    fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.all.iter().chain(&self.any)
    }
}

/// All packages that wait for capabilities.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    waiting: BTreeMap<FileName, Wait>,
    /// Who waits for something of that name, versions aside.
    pub(super) by_name: BTreeMap<String, BTreeSet<FileName>>,
}

impl Waits {
    /// The package waits until all of `all` and at least one of `any` are there (none of either asks for nothing).
    /// What it waited for before no longer counts. Says whether all that is there already; then it does not wait.
    pub fn wait(
        &mut self,
        there: &Capabilities,
        srpm: FileName,
        all: Vec<Requirement>,
        any: Vec<Requirement>,
    ) -> bool {
        self.forget(&srpm);
        let wait = Wait { all, any, begun: BTreeSet::new() };
        if wait.is_over(there) {
            return true;
        }
        for atom in wait.requirements().flat_map(Requirement::atoms) {
            self.by_name.entry(atom.name.clone()).or_default().insert(srpm.clone());
        }
        self.waiting.insert(srpm, wait);
        false
    }

    /// The package waits no longer.
    pub fn forget(&mut self, srpm: &FileName) {
        let Some(wait) = self.waiting.remove(srpm) else { return };
        for atom in wait.requirements().flat_map(Requirement::atoms) {
            if let Some(who) = self.by_name.get_mut(&atom.name) {
                who.remove(srpm);
                if who.is_empty() {
                    self.by_name.remove(&atom.name);
                }
            }
        }
    }

    /// A package was added with these: the packages whose condition has become true, by name; they are forgotten.
    /// `there` holds it already.
    pub fn arrived(
        &mut self,
        there: &Capabilities,
        nevra: &Nevra,
        provides: &[Capability],
        files: &[String],
    ) -> Vec<FileName> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let names = provides.iter().map(|one| &one.name).chain(files).chain([&nevra.name]);
        let names: BTreeSet<&str> =
            names.map(String::as_str).filter(|name| self.by_name.contains_key(*name)).collect();
        let mut touched = BTreeSet::new();
        for name in &names {
            touched.extend(self.by_name[*name].iter().cloned());
        }
        let over = |srpm: &FileName| {
            let wait = self.waiting.get_mut(srpm).expect("who has a name waits");
            let arrived = |one: &&Requirement| {
                !matches!(one, Requirement::One(_))
                    && one.atoms().into_iter().any(|atom| {
                        names.contains(&*atom.name) && there.provides(&Requirement::One(atom.clone()))
                    })
            };
            let begun: Vec<Requirement> = wait.requirements().filter(arrived).cloned().collect();
            wait.begun.extend(begun);
            wait.is_over(there)
        };
        let over: Vec<FileName> = touched.into_iter().filter(over).collect();
        over.iter().for_each(|srpm| self.forget(srpm));
        over
    }

    /// The packages whose condition is true, by name, after more changed than arrivals; they are forgotten.
    pub fn look(&mut self, there: &Capabilities) -> Vec<FileName> {
        let over = self.waiting.iter().filter(|(_, wait)| wait.is_over(there));
        let over: Vec<FileName> = over.map(|(srpm, _)| srpm.clone()).collect();
        over.iter().for_each(|srpm| self.forget(srpm));
        over
    }

    /// Files that somebody waits for and that `primary` would not list.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        // All paths stand together: behind '/' comes '0'.
        let paths = self.by_name.range("/".to_owned().."0".to_owned());
        paths.map(|(name, _)| name.as_str()).filter(|name| could_be_file(&named(name)))
    }

    /// Who waits for a capability of this name, versions aside, by name.
    pub fn who(&self, name: &str) -> impl Iterator<Item = &FileName> {
        self.by_name.get(name).into_iter().flatten()
    }

    /// What a package waits for: all of the first and one of the second, if there are any. None if it does not wait.
    #[must_use]
    pub fn of(&self, srpm: &FileName) -> Option<(&[Requirement], &[Requirement])> {
        self.waiting.get(srpm).map(|wait| (&wait.all[..], &wait.any[..]))
    }

    /// How many packages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn named(name: &str) -> Capability {
    Capability { name: name.to_owned(), flags: 0, evr: String::new() }
}
