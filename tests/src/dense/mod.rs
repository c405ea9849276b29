//! A mainline of any size that hangs together as a distribution does: dense dependencies, a core that everything leads
//! to, several ways to satisfy many things, and every shape of dependency that rpm knows.
//!
//! Owns what is in it; the same seed gives the same bytes, and a smaller mainline is the beginning of a larger one.
//! [`Dense::write`] makes a repository of it in which no RPM lies: its metadata are true, and [`Dense::source`] makes
//! the RPMs that somebody wants. Must never keep more than one source package in memory at a time. The dependencies are
//! modelled on Fedora's; most packages can be installed, a few cannot, as there.
//!
//! | file | owns |
//! |---|---|
//! | `core.txt` | the core, as a list |
//! | `package` | an RPM of a package |
//! | `tail` | all packages that are no core |
//! | `repository` | the files of a repository |

mod core;
mod package;
mod repository;
mod tail;

use std::path::{Path, PathBuf};

pub use package::{Dep, Kind, Package};
pub use repository::{SETUP_GROUP, Writer};

/// What all releases end with.
const RELEASE_SUFFIX: &str = ".made1";

/// Changes with everything that changes a mainline: part of the name under which it is kept.
const GENERATION: &str = concat!(
    include_str!("core.txt"),
    include_str!("core.rs"),
    include_str!("mod.rs"),
    include_str!("package.rs"),
    include_str!("repository.rs"),
    include_str!("tail.rs")
);

/// A mainline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dense {
    /// Tells mainlines apart.
    pub seed: u64,
    /// Packages in it; a few more, because source packages are whole.
    pub packages: usize,
}

/// A source package.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Epoch, version and release, of all its packages too.
    pub evr: (u32, String, String),
    /// What building it requires, as in a spec file. Empty for the core.
    pub build_requires: Vec<String>,
    /// Its binary packages.
    pub packages: Vec<Package>,
}

impl Source {
    /// A package of it that says nothing yet.
    fn package(&self, name: &str, arch: &'static str) -> Package {
        let (epoch, version, release) = self.evr.clone();
        Package {
            name: name.to_owned(),
            epoch,
            source: format!("{}-{version}-{release}{RELEASE_SUFFIX}.src.rpm", self.name),
            version,
            release: release + RELEASE_SUFFIX,
            arch,
            text: format!("The package {name}"),
            ..Package::default()
        }
    }

    /// Its source RPM, with its build requirements.
    pub fn srpm(&self) -> Package {
        let mut package = self.package(&self.name, "src");
        self.build_requires.iter().for_each(|text| package.says(Kind::Requires, text));
        package
    }
}

impl Dense {
    /// All its source packages, one after another.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        let mut left = self.packages;
        let core = core::sources();
        let seed = self.seed;
        let first = core.len();
        let tail = (0..).map(move |number| tail::source(seed, number));
        debug_assert!(first > 0);
        core.into_iter().chain(tail.flatten()).take_while(move |source| {
            let is_wanted = left > 0;
            left = left.saturating_sub(source.packages.len());
            is_wanted
        })
    }

    /// The repository's folder in the tests' cache, made there when it is not.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn cached(&self) -> PathBuf {
        repository::cached(&format!("dense-{}-{}", self.seed, self.packages), GENERATION, |folder| {
            self.write(folder)
        })
    }

    /// Of every so many source packages that are no core, itself with its version so much higher; 0 gives it again.
    pub fn newer(&self, every: usize, by: u64) -> impl Iterator<Item = Source> {
        // A source package has some three packages.
        let numbers = (0..self.packages / 4).skip(every / 2).step_by(every);
        let seed = self.seed;
        numbers.map(move |number| tail::newer(seed, number, by))
    }

    /// The same without the core and without groups: packages that nobody beside them needs, for a distribution of
    /// another core.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn cached_tail(&self) -> PathBuf {
        repository::cached(&format!("dense-tail-{}-{}", self.seed, self.packages), GENERATION, |folder| {
            write(folder, self.sources().filter(|source| !source.build_requires.is_empty()), false)
        })
    }

    /// Writes its repository into `folder`, which is made.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        write(folder, self.sources(), true)
    }
}

/// Writes a repository of these source packages' packages into `folder`, which is made; with its groups or without.
///
/// # Errors
/// Those of the file system.
pub fn write(folder: &Path, sources: impl IntoIterator<Item = Source>, groups: bool) -> std::io::Result<()> {
    let mut writer = Writer::start(folder)?;
    for source in sources {
        source.packages.iter().try_for_each(|package| writer.add(package))?;
    }
    writer.finish(groups)
}

/// The package with what every package provides: itself, and itself for its architecture.
fn own_names(mut package: Package) -> Package {
    let evr = package.evr();
    let itself = format!("{} = {evr}", package.name);
    package.says(Kind::Provides, &itself);
    match package.arch {
        "x86_64" => package.says(Kind::Provides, &format!("{}(x86-64) = {evr}", package.name)),
        "i686" => package.says(Kind::Provides, &format!("{}(x86-32) = {evr}", package.name)),
        _ => {}
    }
    package
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_packages_and_a_smaller_mainline_is_the_beginning_of_a_larger_one() {
        let small: Vec<Source> = Dense { seed: 3, packages: 700 }.sources().collect();
        let large: Vec<Source> = Dense { seed: 3, packages: 900 }.sources().collect();
        assert!(small.len() < large.len());
        for (one, other) in small.iter().zip(&large) {
            let rpms = |source: &Source| {
                source.packages.iter().map(|package| package.rpm().bytes).collect::<Vec<_>>()
            };
            assert_eq!(one.build_requires, other.build_requires);
            assert_eq!(rpms(one), rpms(other), "{}", one.name);
        }
        let other = Dense { seed: 4, packages: 700 }.sources().last().expect("it has sources");
        assert_ne!(small.last().expect("it has sources").name, other.name);
    }
}
