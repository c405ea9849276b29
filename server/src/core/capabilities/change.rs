//! What a new build provides otherwise than the build before it.
//!
//! Owns what counts: sonames with their symbol versions that came or went, and versions (epoch and version, by rpm's
//! order) of what both provide. A release counts for nothing, nor does a name without a version that came or went: nobody
//! has to be built again for those. Decides nothing about who was built against what.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::own;
use super::requirement::{EQUAL, compare_evrs, split};
use crate::repodata::Provided;
use crate::rpmfile::Capability;

/// So many names stand in the words of one change.
const NAMES_MAX: usize = 3;
/// So many characters of a name stand there: builders choose names.
const NAME_CHARS_MAX: usize = 80;

/// What counts of all packages of a build.
#[derive(Debug, Default)]
struct Offer<'a> {
    sonames: BTreeSet<&'a str>,
    /// Epochs and versions of a name, as they are written.
    versions: BTreeMap<&'a str, BTreeSet<String>>,
}

/// What is different for those that were built against the packages before, in words; None if nothing that counts is.
#[must_use]
pub fn change(before: &[Provided], now: &[Provided]) -> Option<String> {
    let owns = |all: &[Provided]| all.iter().map(|one| own(&one.nevra)).collect::<Vec<_>>();
    let (own_before, own_now) = (owns(before), owns(now));
    let (before, now) = (Offer::of(before, &own_before), Offer::of(now, &own_now));
    let words: Vec<String> = sonames(&before, &now).into_iter().chain(versions(&before, &now)).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

impl<'a> Offer<'a> {
    fn of(packages: &'a [Provided], own: &'a [Capability]) -> Offer<'a> {
        let mut offer = Offer::default();
        for one in packages.iter().flat_map(|package| &package.provides).chain(own) {
            if is_soname(&one.name) {
                offer.sonames.insert(&one.name);
            } else if one.flags == EQUAL && !one.evr.is_empty() {
                offer.versions.entry(&one.name).or_default().insert(without_release(&one.evr));
            }
        }
        offer
    }
}

/// Whether a capability is a library that programs are linked to: `libx.so.1`, `libx.so.1()(64bit)`, `libx.so.1(X_2)`.
fn is_soname(name: &str) -> bool {
    let library = base(name);
    (library.ends_with(".so") || library.contains(".so.")) && !library.contains(['/', ' '])
}

/// The library, without its symbols' version and the width of its words.
fn base(name: &str) -> &str {
    name.split('(').next().unwrap_or(name)
}

fn without_release(evr: &str) -> String {
    let evr = split(evr);
    match evr.epoch() {
        "" | "0" => evr.version().to_owned(),
        epoch => format!("{epoch}:{}", evr.version()),
    }
}

fn sonames(before: &Offer<'_>, now: &Offer<'_>) -> Option<String> {
    let gone: BTreeSet<&str> = before.sonames.difference(&now.sonames).copied().collect();
    let came: BTreeSet<&str> = now.sonames.difference(&before.sonames).copied().collect();
    // Only where no library is another one, their symbols' versions are worth a word.
    let bases = |names: &BTreeSet<&'_ str>| names.iter().map(|name| base(name).to_owned()).collect();
    let (had, has): (BTreeSet<String>, BTreeSet<String>) = (bases(&before.sonames), bases(&now.sonames));
    let (mut gone_words, mut came_words) = (some(had.difference(&has)), some(has.difference(&had)));
    if gone_words.is_empty() && came_words.is_empty() {
        (gone_words, came_words) = (some(gone.iter()), some(came.iter()));
    }
    match (gone_words.is_empty(), came_words.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("without {gone_words}")),
        (true, false) => Some(format!("with {came_words}")),
        (false, false) => Some(format!("{gone_words} -> {came_words}")),
    }
}

fn versions(before: &Offer<'_>, now: &Offer<'_>) -> Option<String> {
    let mut changed: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for (name, had) in &before.versions {
        let Some(has) = now.versions.get(name).filter(|has| !are_equal(had, has)) else { continue };
        let words = |of: &BTreeSet<String>| some(of.iter());
        changed.entry((words(had), words(has))).or_default().push(name);
    }
    let words = changed.into_iter().map(|((had, has), mut names)| {
        // The package's own name before `pkgconfig(name)`.
        names.sort_by_key(|name| (name.contains('('), name.len(), *name));
        let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        format!("{}{more} {had} -> {has}", short(names[0]))
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| some(words.iter()))
}

/// Whether each version of one has its equal in the other, as rpm compares them.
fn are_equal(a: &BTreeSet<String>, b: &BTreeSet<String>) -> bool {
    let is_equal = |one: &str, other: &str| compare_evrs(one, other) == Ordering::Equal;
    let is_in = |one: &String, all: &BTreeSet<String>| all.iter().any(|other| is_equal(one, other));
    a.iter().all(|one| is_in(one, b)) && b.iter().all(|one| is_in(one, a))
}

/// The first few of these names.
fn some<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    let mut names: Vec<String> = names.map(|name| short(name.as_ref())).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let all = names.join(", ");
    if more > 0 { format!("{all} and {more} more") } else { all }
}

fn short(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Requirement;
    use super::*;
    use crate::rpmfile::Nevra;

    /// Packages of one build: `NAME EVR: provides, …` a line.
    fn build(lines: &[&str]) -> Vec<Provided> {
        let one = |line: &&str| {
            let (what, provides) = line.split_once(':').unwrap();
            let (name, evr) = what.split_once(' ').unwrap();
            let (version, release) = evr.split_once('-').unwrap();
            let [name, version, release, arch] = [name, version, release, "noarch"].map(str::to_owned);
            let provides = provides.split(',').map(str::trim).filter(|text| !text.is_empty());
            let capability = |text: &str| match Requirement::parse(text) {
                Requirement::One(one) => one,
                rich => panic!("{rich}"),
            };
            let nevra = Nevra { name, epoch: 0, version, release, arch };
            let provides = provides.map(capability).collect();
            Provided { nevra, provides, files: Vec::new(), source: None }
        };
        lines.iter().map(one).collect()
    }

    fn check(before: &[&str], now: &[&str], want: Option<&str>) {
        let got = change(&build(before), &build(now));
        assert_eq!(got.as_deref(), want, "{before:?} -> {now:?}");
    }

    #[test]
    fn a_release_and_the_same_again_change_nothing() {
        let one = "f 1-1: libf.so.1()(64bit), pkgconfig(f) = 1-1, f(api)";
        check(&[one], &[one], None);
        check(&[one], &["f 1-2: libf.so.1()(64bit), pkgconfig(f) = 1-2, f(api)"], None);
        // As rpm compares them, and an epoch that is not said.
        check(&["f 1.0-1: a = 1.01"], &["f 1.0-1: a = 0:1.1"], None);
        check(&["f 1.0-1: a = 2_0-7"], &["f 1.00-1: a = 2.0"], None);
    }

    #[test]
    fn sonames_that_came_or_went_count_with_their_symbols_versions() {
        let both = "libf.so.1()(64bit) -> libf.so.2()(64bit)";
        let want = "libf.so.1 -> libf.so.2";
        let (a, b) = both.split_once(" -> ").unwrap();
        check(&[&format!("f 1-1: {a}")], &[&format!("f 1-1: {b}")], Some(want));
        check(&["f 1-1:"], &["f 1-1: libf.so.1"], Some("with libf.so.1"));
        check(&["f 1-1: libf.so, libg.so.3"], &["f 1-1: libg.so.3"], Some("without libf.so"));
        check(
            &["f 1-1: libf.so.1(F_1)(64bit)"],
            &["f 1-1: libf.so.1(F_1)(64bit), libf.so.1(F_2)(64bit)"],
            Some("with libf.so.1(F_2)(64bit)"),
        );
        // In another package of the same build: it is still there.
        check(&["f 1-1: libf.so.1", "g 1-1:"], &["f 1-1:", "g 1-1: libf.so.1"], None);
        let many = "f 1-1: liba.so.1, libb.so.1, libc.so.1, libd.so.1";
        check(&[many], &["f 1-1:"], Some("without liba.so.1, libb.so.1, libc.so.1 and 1 more"));
    }

    #[test]
    fn versions_count_where_both_builds_have_the_name() {
        check(&["f 1-1:"], &["f 2-1:"], Some("f 1 -> 2"));
        check(&["f 1-1: x = 3-1"], &["f 1-1: x = 1:3-1"], Some("x 3 -> 1:3"));
        check(&["f 1-1: x = 1~rc1"], &["f 1-1: x = 1"], Some("x 1~rc1 -> 1"));
        check(&["f 1-1: x = 1"], &["f 1-1: x = 1, x = 2"], Some("x 1 -> 1, 2"));
        check(
            &["f 1-1: pkgconfig(f) = 1", "f-devel 1-1:"],
            &["f 2-1: pkgconfig(f) = 2", "f-devel 2-1:"],
            Some("f and 2 more 1 -> 2"),
        );
        // A package or a capability more or less is nobody's reason.
        check(&["f 1-1: x = 1, y"], &["f 1-1: z = 1", "g 1-1:"], None);
        check(&["f 1-1: libf.so.1"], &["f 2-1: libf.so.2"], Some("libf.so.1 -> libf.so.2; f 1 -> 2"));
    }

    #[test]
    fn what_only_looks_like_a_library_is_none() {
        for (name, want) in [
            ("libx.so.1", true),
            ("libx.so", true),
            ("ld-linux.so.2(GLIBC_2.4)", true),
            ("/usr/lib/libx.so.1", false),
            ("x.sound", false),
            ("pkgconfig(x.so.1)", false),
        ] {
            assert_eq!(is_soname(name), want, "{name}");
        }
    }
}
