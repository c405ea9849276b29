//! Which page a path and its parameters mean.
//!
//! Owns the parameters of all pages and what is said of bad ones. A live stream names its page by the same path, so both
//! are read here. Parameters that a page does not know are ignored: links collect such things on their way.

use axum::extract::Query;
use axum::http::Uri;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::web::model::{BuilderState, PackageState, Which, in_path};
use crate::web::past::DAYS_MAX;
use crate::web::problem::Problem;
use crate::web::repo::REPO_PATH;

/// Longest name or search that is looked at, bytes.
const NAME_MAX: usize = 256;
/// Days of history if nothing is said.
pub(super) const DAYS: u32 = 30;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Overview,
    Builders(BuildersAsked),
    Builder(String),
    Packages(PackagesAsked),
    Package(String),
    Log(String, LogAsked),
    History(u32),
    Repository,
}

/// Which packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackagesAsked {
    pub(crate) q: String,
    pub(crate) state: Option<PackageState>,
    /// A word of [`super::packages::SORTS`].
    pub(crate) sort: String,
    pub(crate) offset: u32,
}

/// Which builders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BuildersAsked {
    pub(crate) state: Option<BuilderState>,
    /// A word of [`super::builders::SORTS`].
    pub(crate) sort: String,
    pub(crate) offset: u32,
}

/// Which part of which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogAsked {
    pub(crate) which: Which,
    /// From 1; 0 is the newest.
    pub(crate) attempt: u16,
    pub(crate) part: Part,
}

/// Which part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The end.
    Tail,
    /// From this byte on.
    From(u64),
    /// What comes before this byte.
    Before(u64),
    /// This line, counted from 1, and what stands around it.
    Line(u64),
}

/// All parameters of all pages, as text: an empty one is what a form sends that was not filled in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Words {
    q: String,
    state: String,
    sort: String,
    offset: String,
    days: String,
    which: String,
    attempt: String,
    before: String,
    line: String,
}

impl Target {
    /// The page at `uri`.
    pub(crate) fn parse(uri: &Uri) -> Result<Target, Problem> {
        let words: Words = query(uri)?;
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        Ok(match parts[..] {
            [""] => Target::Overview,
            ["builders"] => Target::Builders(BuildersAsked {
                state: word("state", &words.state)?,
                sort: words.sort,
                offset: number("offset", &words.offset, 0)?,
            }),
            ["builders", name] => Target::Builder(named(name)?),
            ["packages"] => Target::Packages(PackagesAsked {
                q: short("q", words.q.trim().to_owned())?,
                state: word("state", &words.state)?,
                sort: words.sort,
                offset: number("offset", &words.offset, 0)?,
            }),
            ["packages", name] => Target::Package(named(name)?),
            ["packages", name, "log"] => Target::Log(named(name)?, words.log()?),
            ["history"] => match number("days", &words.days, DAYS)? {
                days @ 1..=DAYS_MAX => Target::History(days),
                days => {
                    return Err(Problem::bad(format!("days must be from 1 to {DAYS_MAX}, not {days}")));
                }
            },
            ["repository"] => Target::Repository,
            _ => return Err(Problem::not_found(format!("there is no page {}", uri.path()))),
        })
    }

    /// The path of its page in the navigation.
    pub(crate) fn section(&self) -> &'static str {
        match self {
            Target::Overview => "/",
            Target::Builders(_) | Target::Builder(_) => "/builders",
            Target::Packages(_) | Target::Package(_) | Target::Log(..) => "/packages",
            Target::History(_) => "/history",
            Target::Repository => "/repository",
        }
    }
}

impl Words {
    fn log(&self) -> Result<LogAsked, Problem> {
        let part = match (&*self.line, &*self.before, &*self.offset) {
            ("", "", "") => Part::Tail,
            ("", "", offset) => Part::From(number("offset", offset, 0)?),
            ("", before, _) => Part::Before(number("before", before, 0)?),
            (line, ..) => Part::Line(number("line", line, 1)?),
        };
        Ok(LogAsked {
            which: word("which", &self.which)?.unwrap_or(Which::Build),
            attempt: number("attempt", &self.attempt, 0)?,
            part,
        })
    }
}

/// The parameters behind the `?`.
pub(in crate::web) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    match Query::try_from_uri(uri) {
        Ok(Query(found)) => Ok(found),
        Err(error) => {
            // The outer one only says that it is about the query.
            let why =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Err(Problem::bad(format!("bad parameter: {why}")))
        }
    }
}

/// A name in a path, unescaped.
fn named(part: &str) -> Result<String, Problem> {
    let name = unescape(part).ok_or_else(|| Problem::bad("bad name in the path: it is no UTF-8"))?;
    short("name", name)
}

fn short(what: &str, text: String) -> Result<String, Problem> {
    if text.len() <= NAME_MAX {
        return Ok(text);
    }
    let len = text.len();
    Err(Problem::bad(format!("bad parameter: {what} has {len} bytes, at most {NAME_MAX} are looked at")))
}

fn word<T: std::str::FromStr<Err = String>>(what: &str, text: &str) -> Result<Option<T>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|why| Problem::bad(format!("bad parameter: {what}: {why}")))
}

fn number<T: std::str::FromStr>(what: &str, text: &str, usual: T) -> Result<T, Problem> {
    if text.is_empty() {
        return Ok(usual);
    }
    text.parse().map_err(|_| Problem::bad(format!("bad parameter: {what} must be a number, not '{text}'")))
}

/// Undoes `%41`; None if what comes out is no text.
pub(super) fn unescape(part: &str) -> Option<String> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(out).ok()
}

/// The path of a package's page.
pub(crate) fn package_path(srpm: &str) -> String {
    format!("/packages/{}", in_path(srpm))
}

/// The path of a builder's page.
pub(crate) fn builder_path(name: &str) -> String {
    format!("/builders/{}", in_path(name))
}

/// The path of a folder of the repository.
pub(crate) fn folder_path(place: &str) -> String {
    format!("{REPO_PATH}{}/", in_path(place))
}

/// A path with parameters; those without a value are left out.
pub(crate) fn with_query(path: &str, words: &[(&str, &str)]) -> String {
    let given = words.iter().filter(|(_, value)| !value.is_empty());
    let all: Vec<String> = given.map(|(name, value)| format!("{name}={}", in_path(value))).collect();
    if all.is_empty() { path.to_owned() } else { format!("{path}?{}", all.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Result<Target, String> {
        Target::parse(&path.parse().unwrap()).map_err(|problem| problem.text)
    }

    #[test]
    fn a_path_means_a_page() {
        assert_eq!(parse("/"), Ok(Target::Overview));
        assert_eq!(parse("/builders/a%20b"), Ok(Target::Builder("a b".into())));
        assert_eq!(parse("/packages/g++-1.src.rpm"), Ok(Target::Package("g++-1.src.rpm".into())));
        assert_eq!(parse("/history"), Ok(Target::History(30)));
        assert_eq!(parse("/history?days=7&from=mail"), Ok(Target::History(7)));
        let Ok(Target::Packages(asked)) = parse("/packages?q=+zlib&state=&sort=size&offset=100") else {
            panic!("no packages")
        };
        assert_eq!((&*asked.q, asked.state, &*asked.sort, asked.offset), ("zlib", None, "size", 100));
        let log = |words: &str| match parse(&format!("/packages/x/log{words}")) {
            Ok(Target::Log(_, asked)) => (asked.which, asked.attempt, asked.part),
            other => panic!("{other:?}"),
        };
        assert_eq!(log(""), (Which::Build, 0, Part::Tail));
        assert_eq!(log("?which=root&attempt=2&offset=5"), (Which::Root, 2, Part::From(5)));
        assert_eq!(log("?line=7&offset=5"), (Which::Build, 0, Part::Line(7)));
        assert_eq!(log("?before=7"), (Which::Build, 0, Part::Before(7)));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (path, want) in [
            ("/nothing", "no page /nothing"),
            ("/packages/a/b", "no page"),
            ("/packages?state=great", "'great' is none of waiting"),
            ("/packages?offset=-1", "offset must be a number"),
            ("/history?days=0", "days must be from 1 to 366"),
            ("/builders/%ff", "no UTF-8"),
            ("/builders/%4", "no UTF-8"),
            ("/packages/x/log?line=x", "line must be a number"),
        ] {
            let error = parse(path).unwrap_err();
            assert!(error.contains(want), "{path}: {error}");
        }
        let long = format!("/packages?q={}", "x".repeat(257));
        assert!(parse(&long).unwrap_err().contains("q has 257 bytes"));
    }

    #[test]
    fn links_lead_back_to_the_page_that_they_were_made_for() {
        let path = with_query("/packages", &[("q", "a&b=<c>"), ("state", ""), ("sort", "size")]);
        assert_eq!(path, "/packages?q=a%26b%3D%3Cc%3E&sort=size");
        let Ok(Target::Packages(asked)) = parse(&path) else { panic!("{path}") };
        assert_eq!(asked.q, "a&b=<c>");
        assert_eq!(parse(&package_path("a/../b")), Ok(Target::Package("a/../b".into())));
    }
}
