//! Groups: packages that are compressed together.
//!
//! Owns how texts become members and come out again. One member a package would make the files half as large again.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::compress::{Compression, DamagedMember};
use super::find::{Finder, Holder};

/// Most packages in a group: more make the files hardly smaller, and taking one out means compressing the others again.
pub const GROUP_PACKAGES_MAX: usize = 32;

/// A file of the repository, or what the hub keeps for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// `primary.xml`: what packages are, need and provide.
    Primary,
    /// `filelists.xml`: all their files.
    Filelists,
    /// `other.xml`: their changelogs.
    Other,
    /// What they provide, in the hub's own form. Never published.
    Provides,
}

/// How many parts there are.
pub const PARTS: usize = 4;

impl Part {
    /// All, in the order in which they index arrays.
    pub const ALL: [Part; PARTS] = [Part::Primary, Part::Filelists, Part::Other, Part::Provides];
    /// Those that are files of the repository.
    pub const PUBLISHED: [Part; 3] = [Part::Primary, Part::Filelists, Part::Other];

    /// Its name: in `repomd.xml` and in file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Primary => "primary",
            Part::Filelists => "filelists",
            Part::Other => "other",
            Part::Provides => "provides",
        }
    }
}

/// Whether builders want a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// In the tiers and in the complete index.
    Main,
    /// In the complete index only: source and debug packages.
    Extra,
}

/// A package of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Where its RPM is, relative to the repository: the `href` in the texts.
    pub path: Box<str>,
    /// Length of the RPM, bytes.
    pub size: u64,
    /// When the RPM was last changed, unix seconds.
    pub modified_unix_s: u64,
    /// Length of each text, bytes, not compressed.
    pub text_bytes: [u32; PARTS],
}

/// One RPM as the index will say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What and how long.
    pub listed: Listed,
    /// For whom.
    pub class: Class,
    /// Its text of each [`Part`].
    pub texts: [Vec<u8>; PARTS],
}

/// Packages of one class that are compressed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// For whom.
    pub class: Class,
    /// How the members are compressed.
    pub compression: Compression,
    /// In the order of their texts.
    pub packages: Vec<Listed>,
    /// A member of each [`Part`].
    pub members: [Vec<u8>; PARTS],
}

impl Group {
    /// Packs packages, all of `class`.
    #[must_use]
    pub fn seal(class: Class, compression: Compression, packages: &[Described]) -> Group {
        debug_assert!(packages.iter().all(|package| package.class == class));
        let member = |part: Part| {
            let texts: Vec<&[u8]> =
                packages.iter().map(|package| &package.texts[part as usize][..]).collect();
            compression.member(&texts.concat())
        };
        Group {
            class,
            compression,
            packages: packages.iter().map(|package| package.listed.clone()).collect(),
            members: Part::ALL.map(member),
        }
    }

    /// Packs packages of both classes, in order, into as few groups as there must be.
    #[must_use]
    pub fn seal_all(compression: Compression, packages: Vec<Described>) -> Vec<Group> {
        let (main, extra): (Vec<_>, Vec<_>) =
            packages.into_iter().partition(|package| package.class == Class::Main);
        let groups = [(Class::Main, main), (Class::Extra, extra)];
        let seal = |(class, packages): &(Class, Vec<Described>)| {
            let groups = packages.chunks(GROUP_PACKAGES_MAX);
            groups.map(|packages| Group::seal(*class, compression, packages)).collect::<Vec<_>>()
        };
        groups.iter().flat_map(seal).collect()
    }

    /// Length of a part's member, not compressed, bytes.
    #[must_use]
    pub fn open_bytes(&self, part: Part) -> u64 {
        self.packages.iter().map(|package| u64::from(package.text_bytes[part as usize])).sum()
    }

    /// What a part's member expands to, with where each package's text is in it.
    ///
    /// # Errors
    /// If the member is damaged.
    pub fn texts(&self, part: Part) -> Result<(Vec<u8>, Vec<Range<usize>>), DamagedMember> {
        let bytes = usize::try_from(self.open_bytes(part)).map_err(|_| DamagedMember)?;
        let all = self.compression.expand(&self.members[part as usize], bytes)?;
        let mut at = 0;
        let range = |package: &Listed| {
            let start = at;
            at += package.text_bytes[part as usize] as usize;
            start..at
        };
        Ok((all, self.packages.iter().map(range).collect()))
    }

    /// Which packages have which of these files.
    ///
    /// # Errors
    /// If a member is damaged.
    pub fn which_have(&self, files: &Finder) -> Result<Vec<Holder>, DamagedMember> {
        let (text, ranges) = self.texts(Part::Filelists)?;
        let found = self.packages.iter().zip(ranges).filter_map(|(listed, range)| {
            let found = files.find(&text[range]);
            (!found.is_empty()).then(|| (listed.path.clone(), found))
        });
        Ok(found.collect())
    }

    /// Takes the packages out again.
    ///
    /// # Errors
    /// If a member is damaged.
    pub fn unseal(&self) -> Result<Vec<Described>, DamagedMember> {
        let mut all: Vec<Described> = self
            .packages
            .iter()
            .map(|listed| Described { listed: listed.clone(), class: self.class, texts: Default::default() })
            .collect();
        for part in Part::ALL {
            let (text, ranges) = self.texts(part)?;
            for (package, range) in all.iter_mut().zip(ranges) {
                package.texts[part as usize] = text[range].to_vec();
            }
        }
        Ok(all)
    }

    /// The group without the packages at these paths; None if nothing is left.
    ///
    /// # Errors
    /// If a member is damaged.
    pub fn without(&self, gone: &BTreeSet<&str>) -> Result<Option<Group>, DamagedMember> {
        if !self.packages.iter().any(|package| gone.contains(&*package.path)) {
            return Ok(Some(self.clone()));
        }
        let mut packages = self.unseal()?;
        packages.retain(|package| !gone.contains(&*package.listed.path));
        let group = Group::seal(self.class, self.compression, &packages);
        Ok((!packages.is_empty()).then_some(group))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::repodata::{Provided, encode_provided};
    use crate::rpmfile::Nevra;

    /// A package whose texts tell whose they are.
    pub(crate) fn described(path: &str, class: Class) -> Described {
        let mut texts = Part::ALL.map(|part| format!("<{} {path}/>", part.name()).into_bytes());
        let [version, release, arch] = ["1", "1", "noarch"].map(str::to_owned);
        let nevra = Nevra { name: path.to_owned(), epoch: 0, version, release, arch };
        let provided = Provided { nevra, provides: Vec::new(), files: Vec::new(), source: None };
        texts[Part::Provides as usize] = encode_provided(&provided);
        let text_bytes = [0, 1, 2, 3].map(|part: usize| texts[part].len() as u32);
        let listed = Listed { path: path.into(), size: 7, modified_unix_s: 9, text_bytes };
        Described { listed, class, texts }
    }

    #[test]
    fn packages_come_out_of_groups_as_they_went_in() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let class = |n| if n % 3 == 0 { Class::Extra } else { Class::Main };
            let all: Vec<Described> = (0..100).map(|n| described(&format!("a/{n}"), class(n))).collect();
            let groups = Group::seal_all(compression, all.clone());
            // 66 and 34 packages.
            assert_eq!(
                groups.iter().map(|group| group.packages.len()).collect::<Vec<_>>(),
                [32, 32, 2, 32, 2]
            );
            let mut back: Vec<Described> = groups.iter().flat_map(|group| group.unseal().unwrap()).collect();
            back.sort_by_key(|package| package.listed.path[2..].parse::<u32>().unwrap());
            assert_eq!(back, all);
        }
    }

    #[test]
    fn what_is_taken_out_of_a_group_leaves_the_others() {
        let [a, b] = ["a", "b"].map(|path| described(path, Class::Main));
        let group = Group::seal(Class::Main, Compression::Gzip, &[a.clone(), b.clone()]);
        let check = |gone: &[&str], want: Option<&[Described]>| {
            let left = group.without(&gone.iter().copied().collect()).unwrap();
            assert_eq!(left.map(|group| group.unseal().unwrap()).as_deref(), want, "{gone:?}");
        };
        check(&[], Some(&[a.clone(), b.clone()]));
        check(&["c"], Some(&[a.clone(), b.clone()]));
        check(&["a"], Some(&[b]));
        check(&["b", "c"], Some(&[a]));
        check(&["a", "b"], None);
    }
}
