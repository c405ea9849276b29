//! Dependencies as primary.xml has them: which there are, and which requirements are left out.
//!
//! Owns createrepo_c's rules (`cr_package_from_header`, `cr_str_to_evr`, `cr_compare_dependency`), with its support of
//! SUSE's and Mandriva's old weak dependencies, which is on by default there. Must never copy the arrays of a
//! header except those that `rpmfile` has limited, which are PROVIDES and REQUIRES.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::xml::Xml;
use crate::rpmfile::Tags;

/// Bits of a dependency (rpm's `rpmds.h`).
const SENSE_COMPARISON: u64 = 0xf;
const SENSE_MISSINGOK: u64 = 1 << 19;
const SENSE_STRONG: u64 = 1 << 27;
/// POSTTRANS, PREREQ, PRETRANS, SCRIPT_PRE, SCRIPT_POST: needed before the package itself is installed.
const SENSE_PRE: u64 = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 9 | 1 << 10;
/// Capabilities of rpm itself, which no package provides.
const RPMLIB: &[u8] = b"rpmlib(";
/// Of its requirements only that of the highest version stays: glibc provides all lower ones too.
const LIBC: &[u8] = b"libc.so.6";

/// Tags of names, flags and versions.
pub(super) type Arrays = [u32; 3];
const PROVIDES: Arrays = [1047, 1112, 1113];
const REQUIRES: Arrays = [1049, 1048, 1050];
const CONFLICTS: Arrays = [1054, 1053, 1055];
const OBSOLETES: Arrays = [1090, 1114, 1115];
const RECOMMENDS: Arrays = [5046, 5048, 5047];
const SUGGESTS: Arrays = [5049, 5051, 5050];
const SUPPLEMENTS: Arrays = [5052, 5054, 5053];
const ENHANCES: Arrays = [5055, 5057, 5056];
const OLD_SUGGESTS: Arrays = [1156, 1158, 1157];
const OLD_ENHANCES: Arrays = [1159, 1161, 1160];

/// A dependency that is listed.
#[derive(Clone, Copy, Debug)]
struct Dependency<'a> {
    name: &'a [u8],
    sense: u64,
    /// As it stands in the header.
    evr: &'a [u8],
    pre: bool,
}

impl Dependency<'_> {
    /// How versions compare, where that makes sense.
    fn comparison(&self) -> Option<&'static str> {
        match self.sense & SENSE_COMPARISON {
            2 => Some("LT"),
            4 => Some("GT"),
            8 => Some("EQ"),
            10 => Some("LE"),
            12 => Some("GE"),
            _ => None,
        }
    }
}

/// Writes all sections. `own_files` are what the package has of its [`required_paths`], as far as primary.xml lists them.
pub(super) fn write_sections(xml: &mut Xml, tags: &Tags, own_files: &HashSet<&[u8]>) {
    let has = |bit: u64| move |d: &Dependency<'_>| d.sense & bit != 0;
    let has_not = |bit: u64| move |d: &Dependency<'_>| d.sense & bit == 0;
    let (requires, missing_ok) = requires(tags, own_files);
    section(xml, "provides", all(tags, PROVIDES));
    section(xml, "requires", requires.into_iter());
    section(xml, "conflicts", all(tags, CONFLICTS));
    section(xml, "obsoletes", all(tags, OBSOLETES));
    let old = all(tags, OLD_SUGGESTS).filter(has_not(SENSE_STRONG));
    section(xml, "suggests", all(tags, SUGGESTS).chain(old));
    let old = all(tags, OLD_ENHANCES).filter(has_not(SENSE_STRONG));
    section(xml, "enhances", all(tags, ENHANCES).chain(old));
    let old = all(tags, OLD_SUGGESTS).filter(has(SENSE_STRONG));
    section(xml, "recommends", missing_ok.into_iter().chain(all(tags, RECOMMENDS)).chain(old));
    let old = all(tags, OLD_ENHANCES).filter(has(SENSE_STRONG));
    section(xml, "supplements", all(tags, SUPPLEMENTS).chain(old));
}

/// Those of required names that are paths, which [`requires`] leaves out if the package has them.
pub(super) fn required_paths(tags: &Tags) -> HashSet<&[u8]> {
    raw(tags, REQUIRES).map(|d| d.name).filter(|name| name.starts_with(b"/")).collect()
}

fn section<'a>(xml: &mut Xml, name: &str, dependencies: impl Iterator<Item = Dependency<'a>>) {
    let mut dependencies = dependencies.peekable();
    if dependencies.peek().is_none() {
        return;
    }
    let mut is_open = false;
    for dependency in dependencies.filter(|d| !d.name.is_empty()) {
        if !is_open {
            xml.raw_fmt(format_args!("    <rpm:{name}>\n"));
            is_open = true;
        }
        entry(xml, &dependency);
        if xml.is_full() {
            return;
        }
    }
    if is_open {
        xml.raw_fmt(format_args!("    </rpm:{name}>\n"));
    } else {
        xml.raw_fmt(format_args!("    <rpm:{name}/>\n"));
    }
}

fn entry(xml: &mut Xml, dependency: &Dependency<'_>) {
    let mut attribute = |name: &str, value: &[u8]| {
        xml.raw(name);
        xml.value(value);
        xml.raw("\"");
    };
    attribute("      <rpm:entry name=\"", dependency.name);
    if let Some(comparison) = dependency.comparison() {
        attribute(" flags=\"", comparison.as_bytes());
        let (epoch, version, release) = split_evr(dependency.evr).unwrap_or_default();
        for (name, value) in [(" epoch=\"", epoch), (" ver=\"", version), (" rel=\"", release)] {
            if !value.is_empty() {
                attribute(name, value);
            }
        }
    }
    xml.raw(if dependency.pre { " pre=\"1\"/>\n" } else { "/>\n" });
}

/// The three arrays side by side, as far as the shortest goes; nothing unless all are there.
fn raw<'a>(tags: &'a Tags, [names, flags, versions]: Arrays) -> impl Iterator<Item = Dependency<'a>> {
    let arrays = tags.texts(names).zip(tags.numbers(flags)).zip(tags.texts(versions));
    arrays.into_iter().flat_map(|((names, flags), versions)| {
        let all = names.zip(flags).zip(versions);
        all.map(|((name, sense), evr)| Dependency { name, sense, evr, pre: false })
    })
}

/// Those whose epoch is a number: createrepo_c leaves out the others with a warning.
fn all<'a>(tags: &'a Tags, arrays: Arrays) -> impl Iterator<Item = Dependency<'a>> {
    raw(tags, arrays).filter(|d| split_evr(d.evr).is_some())
}

/// The requirements that are listed, and those that need not be fulfilled.
fn requires<'a>(tags: &'a Tags, own_files: &HashSet<&[u8]>) -> (Vec<Dependency<'a>>, Vec<Dependency<'a>>) {
    let key = |d: &Dependency<'a>| (d.name, d.comparison(), d.evr);
    let provided: HashSet<_> = all(tags, PROVIDES).map(|d| key(&d)).collect();
    // The last one of a name; only what equals it is a duplicate.
    let mut last: HashMap<&[u8], Dependency<'a>> = HashMap::new();
    let (mut listed, mut missing_ok) = (Vec::new(), Vec::new());
    let mut libc: Option<Dependency<'a>> = None;
    for mut d in raw(tags, REQUIRES) {
        if d.name.starts_with(RPMLIB) || own_files.contains(d.name) || provided.contains(&key(&d)) {
            continue;
        }
        d.pre = d.sense & SENSE_PRE != 0;
        let is_same = |other: &Dependency<'a>| key(other) == key(&d) && other.pre == d.pre;
        if last.get(d.name).is_some_and(is_same) || split_evr(d.evr).is_none() {
            continue;
        }
        if d.sense & SENSE_MISSINGOK != 0 {
            missing_ok.push(Dependency { pre: false, ..d });
        } else if d.name.starts_with(LIBC) {
            if libc.is_none_or(|libc| is_newer_libc(libc.name, d.name)) {
                libc = Some(d);
            }
        } else {
            last.insert(d.name, d);
            listed.push(d);
        }
    }
    listed.extend(libc);
    (listed, missing_ok)
}

/// Epoch, version and release of `[epoch:]version[-release]`; none if the epoch is no number.
fn split_evr(evr: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if evr.is_empty() {
        return Some((b"", b"", b""));
    }
    let (epoch, rest) = match split_once(evr, b':') {
        None => (&b"0"[..], evr),
        Some((b"", rest)) => (&b"0"[..], rest),
        Some((epoch, rest)) if is_number(epoch) => (epoch, rest),
        Some(_) => return None,
    };
    let (version, release) = split_once(rest, b'-').unwrap_or((rest, b""));
    Some((epoch, version, release))
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let middle = bytes.iter().position(|&b| b == at)?;
    Some((&bytes[..middle], &bytes[middle + 1..]))
}

/// What strtol(3) reads to its end.
fn is_number(bytes: &[u8]) -> bool {
    let is_space = |b: u8| b == b' ' || (9..=13).contains(&b);
    let start = bytes.iter().position(|&b| !is_space(b)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let digits = digits.strip_prefix(b"+").or_else(|| digits.strip_prefix(b"-")).unwrap_or(digits);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Whether the second `libc.so.6(GLIBC_x)(64bit)` has the higher version.
fn is_newer_libc(first: &[u8], second: &[u8]) -> bool {
    // The forms by rank, and the version of the last one.
    let form = |name| {
        let Some((_, rest)) = split_once(name, b'(') else { return (0, None) };
        let Some((inside, _)) = split_once(rest, b')') else { return (1, None) };
        if inside.is_empty() {
            return (2, None);
        }
        match inside.iter().position(u8::is_ascii_digit) {
            None => (3, None),
            Some(at) => (4, Some(&inside[at..])),
        }
    };
    match (form(first), form(second)) {
        ((4, Some(a)), (4, Some(b))) => compare_versions(a, b) == Ordering::Less,
        ((a, _), (b, _)) => a < b,
    }
}

/// As rpm compares versions (`rpmvercmp.c`).
fn compare_versions(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let skip = |s: &mut &[u8]| {
        let is_separator = |c: &u8| !c.is_ascii_alphanumeric() && !b"~^".contains(c);
        *s = &s[s.iter().position(|c| !is_separator(c)).unwrap_or(s.len())..];
    };
    while !a.is_empty() || !b.is_empty() {
        skip(&mut a);
        skip(&mut b);
        let (first_a, first_b) = (a.first().copied(), b.first().copied());
        match (first_a == Some(b'~'), first_b == Some(b'~')) {
            (true, true) => {
                (a, b) = (&a[1..], &b[1..]);
                continue;
            }
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        match (first_a, first_b) {
            (Some(b'^'), Some(b'^')) => {
                (a, b) = (&a[1..], &b[1..]);
                continue;
            }
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), None) => return Ordering::Greater,
            (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), Some(b'^')) => return Ordering::Greater,
            (Some(_), Some(_)) => {}
            _ => break,
        }
        let is_number = a[0].is_ascii_digit();
        let segment = |s: &[u8]| {
            let inside = |c: &u8| if is_number { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
            s.iter().position(|c| !inside(c)).unwrap_or(s.len())
        };
        let (end_a, end_b) = (segment(a), segment(b));
        if end_b == 0 {
            return if is_number { Ordering::Greater } else { Ordering::Less };
        }
        let (mut part_a, mut part_b) = (&a[..end_a], &b[..end_b]);
        (a, b) = (&a[end_a..], &b[end_b..]);
        let mut order = Ordering::Equal;
        if is_number {
            let trim = |s: &mut &[u8]| *s = &s[s.iter().position(|&c| c != b'0').unwrap_or(s.len())..];
            trim(&mut part_a);
            trim(&mut part_b);
            order = part_a.len().cmp(&part_b.len());
        }
        match order.then_with(|| part_a.cmp(part_b)) {
            Ordering::Equal => {}
            order => return order,
        }
    }
    a.len().min(1).cmp(&b.len().min(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_split_off_as_strtol_has_them() {
        let check = |evr: &str, want: Option<[&str; 3]>| {
            let got = split_evr(evr.as_bytes());
            let want = want.map(|[e, v, r]| (e.as_bytes(), v.as_bytes(), r.as_bytes()));
            assert_eq!(got, want, "{evr}");
        };
        check("", Some(["", "", ""]));
        check("1", Some(["0", "1", ""]));
        check("1-", Some(["0", "1", ""]));
        check("1:2-3-4", Some(["1", "2", "3-4"]));
        check(":2-3", Some(["0", "2", "3"]));
        check("+1:2", Some(["+1", "2", ""]));
        check(" -1:2", Some([" -1", "2", ""]));
        check("99999999999999999999999:2", Some(["99999999999999999999999", "2", ""]));
        check("1:", Some(["1", "", ""]));
        for bad in ["x:1", "1x:1", " :1", "+:1", "1 :1"] {
            check(bad, None);
        }
    }

    #[test]
    fn versions_compare_as_rpm_compares_them() {
        let order = [
            "1~~a", "1~a", "1", "1^", "1^a", "1.a", "1.0", "1.00a", "1.0.1", "1.2", "1.10", "2.0~rc1", "2.0",
        ];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(compare_versions(a.as_bytes(), b.as_bytes()), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare_versions(b"1.001", b"1_1"), Ordering::Equal);
        assert_eq!(compare_versions(b"1.", b"1"), Ordering::Equal);
    }

    #[test]
    fn the_highest_libc_wins_in_all_its_forms() {
        let order = [
            "libc.so.6",
            "libc.so.6(GLIBC_2",
            "libc.so.6()(64bit)",
            "libc.so.6(GLIBC_ABI_DT_RELR)(64bit)",
            "libc.so.6(GLIBC_2.2.5)(64bit)",
            "libc.so.6(GLIBC_2.38)(64bit)",
        ];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(is_newer_libc(a.as_bytes(), b.as_bytes()), i < j, "{a} {b}");
            }
        }
    }
}
