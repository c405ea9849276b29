//! What operators call things: packages, builders, events of either.
//!
//! Owns which name means which. A package is called by its file name, `name-[epoch:]version-release`, NVR
//! or name, each with or without `.src.rpm`, or by a glob of any of these. Decides nothing else, keeps nothing.

use moji_proto::message::{BuilderRow, EventRow, NoCode, PackageRow};
use moji_proto::{FileName, Line};

use crate::core::queue::glob;
use crate::core::view::{PackageView, View};

/// Near misses that are told.
const NEAR_MAX: usize = 5;
/// Names that are told of an ambiguous one: a screenful.
const AMBIGUOUS_MAX: usize = 20;
/// Longest name for which near misses are looked for, bytes: the work grows with its square.
const NEAR_BYTES_MAX: usize = 64;
/// Least digits of a key that name its builder: fewer may be a name.
const KEY_DIGITS_MIN: usize = 6;

/// Whether a name is a pattern.
pub(super) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// A name without the ending of source packages.
pub(super) fn stem(text: &str) -> &str {
    text.strip_suffix(".src.rpm").or_else(|| text.strip_suffix(".nosrc.rpm")).unwrap_or(text)
}

/// `name-version-release` taken apart; None if it is no such thing.
fn split_nvr(nvr: &str) -> Option<(&str, &str, &str)> {
    let (rest, release) = nvr.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    (!name.is_empty()).then_some((name, version, release))
}

/// What a package is called, most precise first: stem of the file name, NEVR, NVR, name.
struct Forms<'a> {
    stem: &'a str,
    nevr: &'a str,
    nvr: String,
    name: &'a str,
}

impl<'a> Forms<'a> {
    fn of(srpm: &'a FileName, nevr: &'a str) -> Forms<'a> {
        let stem = stem(srpm.as_str());
        let nevr = if nevr.is_empty() { stem } else { nevr };
        let (nvr, name) = match split_nvr(nevr) {
            Some((name, version, release)) => {
                let version = version.split_once(':').map_or(version, |(_, version)| version);
                (format!("{name}-{version}-{release}"), name)
            }
            None => (nevr.to_owned(), nevr),
        };
        Forms { stem, nevr, nvr, name }
    }

    fn all(&self) -> [&str; 4] {
        [self.stem, self.nevr, &self.nvr, self.name]
    }
}

/// `name-version-release` of a package.
pub(super) fn nvr(row: &PackageRow) -> String {
    Forms::of(&row.srpm, row.nevr.as_str()).nvr
}

/// What one or several things are called.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    is_glob: bool,
}

impl Pattern {
    /// None of an empty text, which means all.
    pub(super) fn new(text: &Line) -> Option<Pattern> {
        let text = text.as_str();
        (!text.is_empty()).then(|| Pattern { text: text.to_owned(), is_glob: is_glob(text) })
    }

    fn fits(&self, text: &str, form: &str) -> bool {
        if self.is_glob { glob::matches(text, form) } else { text == form }
    }

    fn fits_file(&self, srpm: &FileName, nevr: &str) -> bool {
        let bare = stem(&self.text);
        // `*.rpm` means whole file names.
        self.fits(&self.text, srpm.as_str())
            || Forms::of(srpm, nevr).all().into_iter().any(|form| self.fits(bare, form))
    }

    /// Whether it means this package.
    pub(super) fn fits_package(&self, row: &PackageRow) -> bool {
        self.fits_file(&row.srpm, row.nevr.as_str())
    }

    /// Whether it means this builder.
    pub(super) fn fits_builder(&self, row: &BuilderRow) -> bool {
        self.fits(&self.text, row.name.as_str()) || (!self.is_glob && is_key_of(&self.text, row))
    }

    /// Whether it means the package or the builder of this event.
    pub(super) fn fits_event(&self, row: &EventRow) -> bool {
        row.srpm.as_ref().is_some_and(|srpm| self.fits_file(srpm, ""))
            || row.builder.as_ref().is_some_and(|builder| self.fits(&self.text, builder.as_str()))
    }
}

fn is_key_of(text: &str, row: &BuilderRow) -> bool {
    text.len() >= KEY_DIGITS_MIN && row.key.to_string().starts_with(&text.to_ascii_lowercase())
}

/// What a name means if it does not mean exactly what is wanted.
#[derive(Debug, PartialEq, Eq)]
pub struct Miss {
    /// Of what kind.
    pub code: NoCode,
    /// In words.
    pub text: String,
    /// What it could mean.
    pub names: Vec<String>,
}

/// The packages that a name means: of a glob all, of anything else exactly one.
pub(super) fn packages<'v>(view: &'v View, text: &str) -> Result<Vec<&'v PackageView>, Miss> {
    let Some(pattern) = Pattern::new(&Line::lossy(text)) else {
        return Err(Miss {
            code: NoCode::BadInput,
            text: "a package must be named".into(),
            names: Vec::new(),
        });
    };
    if pattern.is_glob {
        let found: Vec<_> =
            view.packages.iter().filter(|package| pattern.fits_package(&package.row)).collect();
        return if found.is_empty() { Err(no_package(view, text)) } else { Ok(found) };
    }
    let bare = stem(text);
    let mut tiers: [Vec<&PackageView>; 5] = Default::default();
    for package in &view.packages {
        let row = &package.row;
        if row.srpm.as_str() == text {
            tiers[0].push(package);
            continue;
        }
        let forms = Forms::of(&row.srpm, row.nevr.as_str());
        if let Some(tier) = forms.all().into_iter().position(|form| form == bare) {
            tiers[tier + 1].push(package);
        }
    }
    match tiers.into_iter().find(|tier| !tier.is_empty()) {
        None => Err(no_package(view, text)),
        Some(found) if found.len() == 1 => Ok(found),
        Some(found) => {
            Err(ambiguous(found.into_iter().map(|package| package.row.srpm.to_string()).collect()))
        }
    }
}

/// The one package that a name means.
pub(super) fn package<'v>(view: &'v View, text: &str) -> Result<&'v PackageView, Miss> {
    match packages(view, text)?[..] {
        [one] => Ok(one),
        ref several => Err(ambiguous(several.iter().map(|package| package.row.srpm.to_string()).collect())),
    }
}

/// The builders that a name, key or glob means.
pub(super) fn builders<'v>(view: &'v View, text: &str) -> Result<Vec<&'v BuilderRow>, Miss> {
    builders_of(&view.builders, text)
}

/// The one builder that a name or key means.
pub(super) fn builder<'v>(rows: &'v [BuilderRow], text: &str) -> Result<&'v BuilderRow, Miss> {
    match builders_of(rows, text)?[..] {
        [one] => Ok(one),
        ref several => Err(ambiguous(several.iter().map(|row| row.name.to_string()).collect())),
    }
}

fn builders_of<'v>(rows: &'v [BuilderRow], text: &str) -> Result<Vec<&'v BuilderRow>, Miss> {
    let Some(pattern) = Pattern::new(&Line::lossy(text)) else {
        return Err(Miss {
            code: NoCode::BadInput,
            text: "a builder must be named".into(),
            names: Vec::new(),
        });
    };
    let found: Vec<_> = rows.iter().filter(|row| pattern.fits_builder(row)).collect();
    if found.is_empty() {
        return Err(no_builder(rows, text));
    }
    if !pattern.is_glob && found.len() > 1 {
        let names = found.iter().map(|row| format!("{} {}", row.name, row.key.fingerprint())).collect();
        return Err(ambiguous(names));
    }
    Ok(found)
}

/// Why a list of packages would be empty whatever state it is of: none is called so. An empty pattern means
/// all and never misses.
pub(super) fn no_package_of(view: &View, text: &Line) -> Option<Miss> {
    let pattern = Pattern::new(text)?;
    let known = view.packages.iter().any(|package| pattern.fits_package(&package.row));
    (!known).then(|| no_package(view, text.as_str()))
}

/// The same for builders, those that were turned away among them.
pub(super) fn no_builder_of(
    view: &View,
    mut unlisted: impl Iterator<Item = BuilderRow>,
    text: &Line,
) -> Option<Miss> {
    let pattern = Pattern::new(text)?;
    let known = view.builders.iter().any(|row| pattern.fits_builder(row))
        || unlisted.any(|row| pattern.fits_builder(&row));
    (!known).then(|| no_builder(&view.builders, text.as_str()))
}

fn ambiguous(mut names: Vec<String>) -> Miss {
    let count = names.len();
    names.truncate(AMBIGUOUS_MAX);
    Miss { code: NoCode::Ambiguous, text: format!("{count} have that name: say which"), names }
}

fn no_package(view: &View, text: &str) -> Miss {
    let names = view.packages.iter().flat_map(|package| {
        let forms = Forms::of(&package.row.srpm, package.row.nevr.as_str());
        [forms.name.to_owned(), forms.nvr]
    });
    Miss {
        code: NoCode::NotFound,
        text: format!("there is no package {text}"),
        names: near(stem(text), names),
    }
}

fn no_builder(rows: &[BuilderRow], text: &str) -> Miss {
    let names = near(text, rows.iter().map(|row| row.name.to_string()));
    Miss { code: NoCode::NotFound, text: format!("there is no builder {text}"), names }
}

/// The names nearest to `text`: few letters off, or beginning with it.
pub(super) fn near(text: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    if text.is_empty() || text.len() > NEAR_BYTES_MAX || is_glob(text) {
        return Vec::new();
    }
    let most = text.chars().count() / 3;
    let mut found: Vec<(usize, String)> = names
        .filter_map(|name| {
            let distance = if name.starts_with(text) { Some(0) } else { distance(text, &name, most) };
            distance.map(|distance| (distance, name))
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().take(NEAR_MAX).map(|(_, name)| name).collect()
}

/// How many letters must be put in, taken out or changed to make one of the other; None if more than `most`.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > 4 * most {
        return None;
    }
    let b: Vec<char> = b.chars().collect();
    if a.chars().count().abs_diff(b.len()) > most {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{builder, package as made};
    use super::*;

    fn view() -> View {
        View {
            packages: vec![
                made("bash-5.2-1.src.rpm", "bash-5.2-1"),
                made("gcc-13-1.src.rpm", "gcc-2:13-1"),
                made("gcc-14-1.src.rpm", "gcc-2:14-1"),
                made("other.src.rpm", "zlib-1.3-1"),
                made("zlib-1.3-1.src.rpm", "zlib-1.3-1"),
                made("unreadable.src.rpm", ""),
            ],
            builders: vec![
                builder("arm-1", 0xaa),
                builder("arm-2", 0xab),
                builder("twin", 1),
                builder("twin", 2),
            ],
            ..View::default()
        }
    }

    /// Files found, or what is said instead.
    fn found(text: &str) -> Result<Vec<String>, (NoCode, Vec<String>)> {
        match packages(&view(), text) {
            Ok(found) => Ok(found.iter().map(|package| stem(package.row.srpm.as_str()).to_owned()).collect()),
            Err(miss) => Err((miss.code, miss.names)),
        }
    }

    #[test]
    fn packages_are_found_by_every_name_they_have() {
        for (text, want) in [
            ("bash-5.2-1.src.rpm", &["bash-5.2-1"][..]),
            ("bash-5.2-1", &["bash-5.2-1"]),
            ("bash", &["bash-5.2-1"]),
            ("bash.src.rpm", &["bash-5.2-1"]),
            ("gcc-2:13-1", &["gcc-13-1"]),
            ("gcc-2:13-1.src.rpm", &["gcc-13-1"]),
            ("gcc-13-1", &["gcc-13-1"]),
            ("zlib-1.3-1", &["zlib-1.3-1"]),
            ("other", &["other"]),
            ("unreadable", &["unreadable"]),
            ("gcc*", &["gcc-13-1", "gcc-14-1"]),
            ("gcc-1[3]-?", &["gcc-13-1"]),
            ("*-2:14-*", &["gcc-14-1"]),
            ("b*.src.rpm", &["bash-5.2-1"]),
            ("b*.rpm", &["bash-5.2-1"]),
            ("zlib*", &["other", "zlib-1.3-1"]),
        ] {
            assert_eq!(found(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn a_name_that_means_several_or_none_says_which_or_what_comes_near() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let gccs = names(&["gcc-13-1.src.rpm", "gcc-14-1.src.rpm"]);
        assert_eq!(found("gcc"), Err((NoCode::Ambiguous, gccs.clone())));
        assert_eq!(package(&view(), "gcc*").unwrap_err().names, gccs);
        assert_eq!(found("zlib").unwrap_err().0, NoCode::Ambiguous);
        assert_eq!(found("bsah"), Err((NoCode::NotFound, names(&[]))));
        assert_eq!(found("bas"), Err((NoCode::NotFound, names(&["bash", "bash-5.2-1"]))));
        assert_eq!(found("gcc-13-2"), Err((NoCode::NotFound, names(&["gcc-13-1", "gcc-14-1"]))));
        assert_eq!(found("x*"), Err((NoCode::NotFound, names(&[]))));
        assert_eq!(found("").unwrap_err().0, NoCode::BadInput);
        assert_eq!(found(&"y".repeat(1_000)).unwrap_err().0, NoCode::NotFound);
    }

    #[test]
    fn builders_are_found_by_name_glob_and_key() {
        let names = |text: &str| {
            builders(&view(), text)
                .map(|rows| rows.iter().map(|row| row.name.to_string()).collect::<Vec<_>>())
        };
        for (text, want) in [
            ("arm-1", &["arm-1"][..]),
            ("arm-?", &["arm-1", "arm-2"]),
            ("abababab", &["arm-2"]),
            ("ABABABAB", &["arm-2"]),
            ("tw*", &["twin", "twin"]),
        ] {
            assert_eq!(names(text).unwrap(), want, "{text}");
        }
        assert_eq!(names("aaa").unwrap_err().code, NoCode::NotFound);
        assert_eq!(names("twin").unwrap_err().code, NoCode::Ambiguous);
        assert_eq!(names("arm-3").unwrap_err().names, ["arm-1", "arm-2"]);
    }
}
