//! What is said where there is no page: what is wrong, and what comes near.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use moji_proto::human::distance;

use super::overview::name;
use super::target::{builder_path, package_path, unescape};
use super::{Look, Shell, fill, html};
use crate::web::model::When;
use crate::web::problem::Problem;
use crate::web::site::Site;

/// Suggestions at most.
const NEAR_MAX: usize = 10;
/// Letters that may differ, of how many.
const DIFFERS: usize = 3;
/// Pages that are suggested for a path that comes near.
const PATHS: [&str; 7] = ["/packages", "/builders", "/history", "/repository", "/repo/", "/api/", "/metrics"];

#[derive(Template)]
#[template(path = "problem.html")]
struct Page {
    shell: Shell,
    status: u16,
    headline: &'static str,
    text: String,
    /// Name and path.
    near: Vec<(String, String)>,
}

/// The page for a problem.
pub(super) async fn answer(site: &Site, uri: &Uri, problem: &Problem) -> Response {
    let near =
        if problem.status == StatusCode::NOT_FOUND { near(site, uri.path()).await } else { Vec::new() };
    let shell = Shell::new(problem.status.as_str(), "", Look::once(When(0)));
    let body = shown(shell, problem.status, problem.text.clone(), near);
    html(problem.status, body.unwrap_or_else(|problem| problem.text))
}

pub(super) fn shown(
    shell: Shell,
    status: StatusCode,
    text: String,
    near: Vec<(String, String)>,
) -> Result<String, Problem> {
    let headline = match status {
        StatusCode::NOT_FOUND => "There is no such page",
        StatusCode::BAD_REQUEST => "This makes no sense to the hub",
        StatusCode::SERVICE_UNAVAILABLE => "The hub cannot answer now",
        StatusCode::METHOD_NOT_ALLOWED => "Nothing can be changed here",
        _ => "The hub failed to answer",
    };
    fill(&Page { shell, status: status.as_u16(), headline, text, near })
}

/// Packages, builders and pages whose names come near the last part of a path.
async fn near(site: &Site, path: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').filter(|part| *part != "log").collect();
    let asked = parts.last().and_then(|part| unescape(part)).unwrap_or_default();
    let mut found = Vec::new();
    if let [one] = parts[..] {
        let pages = PATHS.iter().filter(|path| comes_near(one, path.trim_matches('/')));
        found.extend(pages.map(|path| ((*path).to_owned(), (*path).to_owned())));
    }
    if let Ok(snapshot) = site.snapshot().await {
        let rows = snapshot.packages().iter().map(|package| package.row.srpm.as_str());
        found.extend(nearest(&asked, rows).into_iter().map(|srpm| (name(srpm), package_path(srpm))));
        let names = snapshot.glance.builders.iter().map(|row| row.name.as_str());
        found.extend(nearest(&asked, names).into_iter().map(|name| (name.to_owned(), builder_path(name))));
    }
    found.truncate(NEAR_MAX);
    found
}

/// Those that begin as what was asked, then those that have it in them, then those that differ by a letter or two from
/// it up to their version.
fn nearest<'a>(asked: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let asked = asked.strip_suffix(".src.rpm").unwrap_or(asked).to_lowercase();
    if asked.is_empty() {
        return Vec::new();
    }
    let stem = stem(&asked);
    let rank = |one: &str| {
        let one = one.to_lowercase();
        if one.starts_with(&asked) {
            Some(0)
        } else if one.contains(&asked) {
            Some(1)
        } else {
            comes_near(stem, self::stem(&one)).then_some(2)
        }
    };
    let mut found: Vec<(u8, &str)> = names.filter_map(|one| Some((rank(one)?, one))).collect();
    found.sort();
    found.into_iter().take(NEAR_MAX).map(|(_, one)| one).collect()
}

/// The name of `name-version-release`.
fn stem(name: &str) -> &str {
    let is_version = |(at, _): &(usize, &str)| name[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    name.match_indices('-').find(is_version).map_or(name, |(at, _)| &name[..at])
}

/// Whether two words differ by few letters for their length.
fn comes_near(a: &str, b: &str) -> bool {
    let lengths = [a, b].map(|word| word.chars().count());
    let allowed = (lengths[0].max(lengths[1]) / DIFFERS).min(2);
    // Words whose lengths do not fit need no closer look.
    lengths[0].abs_diff(lengths[1]) <= allowed && distance(a, b) <= allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_near_is_named_best_first() {
        let names =
            ["zlib-1.3-1.src.rpm", "zlib-ng-2.1-1.src.rpm", "mingw-zlib-1-1.src.rpm", "bash-5-1.src.rpm"];
        let near = |asked: &str| nearest(asked, names.into_iter());
        assert_eq!(near("zlib"), ["zlib-1.3-1.src.rpm", "zlib-ng-2.1-1.src.rpm", "mingw-zlib-1-1.src.rpm"]);
        assert_eq!(near("zlib-1.2-9.src.rpm"), ["zlib-1.3-1.src.rpm"], "another version");
        assert_eq!(near("zilb"), ["zlib-1.3-1.src.rpm"], "swapped");
        assert_eq!(near("zlbi-ng"), ["zlib-ng-2.1-1.src.rpm"]);
        assert_eq!(near("bassh"), ["bash-5-1.src.rpm"]);
        assert!(near("").is_empty() && near("gcc").is_empty() && near("zxxb").is_empty());
    }

    #[test]
    fn a_distance_is_that_of_letters() {
        for (a, b, want) in
            [("package", "packages", true), ("pakcage", "package", true), ("x", "y", false), ("", "", true)]
        {
            assert_eq!(comes_near(a, b), want, "{a} {b}");
        }
    }
}
