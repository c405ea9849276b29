//! `--mainline URL_OR_FOLDER`: where a repository is.
//!
//! Owns what may be given, and putting a file's place together from it. Asks nobody whether anything is there.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use ureq::http::Uri;

/// The file that tells which files a repository's index consists of.
const REPOMD: &str = "repodata/repomd.xml";

/// Where a repository is: the folder that has `repodata/` in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Its URL, `http` or `https`, with a slash at its end.
    Url(String),
    /// Its folder.
    Folder(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Url(url) => f.write_str(url),
            Place::Folder(folder) => folder.display().fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        if text.contains('$') {
            return Err(
                "variables like $basearch mean nothing here: write out what they stand for".to_owned()
            );
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        match scheme {
            "" => folder(text),
            "file" if rest.contains('%') => {
                Err("signs like %20 mean nothing here: give the folder itself".to_owned())
            }
            "file" => folder(rest.strip_prefix("localhost").unwrap_or(rest)),
            "http" | "https" => url(text),
            _ => Err(format!("moji cannot read '{scheme}://': give http, https, file or a folder")),
        }
    }
}

fn folder(path: &str) -> Result<Place, String> {
    let path = Path::new(path);
    let climbs = path.components().any(|part| part == Component::ParentDir);
    if !path.is_absolute() || climbs {
        return Err("give the folder's whole path, without '..', or a URL".to_owned());
    }
    // Slashes that stand for nothing are gone, so that one folder has one text.
    Ok(Place::Folder(path.components().collect()))
}

fn url(text: &str) -> Result<Place, String> {
    if text.contains(['?', '#']) {
        return Err("a list of mirrors is no repository: give the URL of one mirror".to_owned());
    }
    let wrong = || "not a URL like http://mirror.example/os/".to_owned();
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if authority.as_str().contains('@') {
        return Err("a password in a URL shows in 'ps': give a mirror that asks for none".to_owned());
    }
    let host = authority.host();
    let whole = authority.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    if host.is_empty() || whole != authority.as_str() {
        return Err(wrong());
    }
    let bare = text.strip_suffix(REPOMD).unwrap_or(text).trim_end_matches('/');
    Ok(Place::Url(format!("{bare}/")))
}

impl Place {
    /// Where `repodata/repomd.xml` is.
    #[must_use]
    pub(super) fn repomd(&self) -> Place {
        self.join(REPOMD)
    }

    /// Where a file of the repository is. `href` was checked with [`is_inside`].
    #[must_use]
    pub(super) fn join(&self, href: &str) -> Place {
        match self {
            Place::Url(url) => Place::Url(format!("{url}{href}")),
            Place::Folder(folder) => Place::Folder(folder.join(href)),
        }
    }

    /// The repository whose `repomd.xml` was found here, if this is the place of one: mirrors are redirected to.
    #[must_use]
    pub(super) fn of_repomd(url: &str) -> Option<Place> {
        let base = url.strip_suffix(REPOMD)?;
        base.ends_with('/').then(|| Place::Url(base.to_owned()))
    }
}

/// Whether a path of an index stays inside its repository and can be part of a URL as it is.
#[must_use]
pub(crate) fn is_inside(href: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\' | b'"' | b'<' | b'>');
    !href.starts_with('/')
        && href.bytes().all(is_plain)
        && !href.contains("://")
        && href.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_folders_are_read_and_have_one_text_each() {
        let check = |text: &str, want: &str, repomd: &str| {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), want, "{text}");
            assert_eq!(place.repomd().to_string(), repomd, "{text}");
        };
        let url = "http://mirror.example:8080/os/";
        for text in [url, "http://mirror.example:8080/os", "http://mirror.example:8080/os//"] {
            check(text, url, "http://mirror.example:8080/os/repodata/repomd.xml");
        }
        check("https://a/b/repodata/repomd.xml", "https://a/b/", "https://a/b/repodata/repomd.xml");
        check("https://[::1]/", "https://[::1]/", "https://[::1]/repodata/repomd.xml");
        for text in ["/srv/os", "/srv/os/", "//srv/./os", "file:///srv/os/", "file://localhost/srv/os"] {
            check(text, "/srv/os", "/srv/os/repodata/repomd.xml");
        }
    }

    #[test]
    fn what_is_no_repository_is_refused_with_what_to_do() {
        let check = |text: &str, word: &str| {
            let error = text.parse::<Place>().unwrap_err();
            assert!(error.contains(word) && !error.contains('\n'), "{text}: {error}");
        };
        check("", "whole path");
        check("os", "whole path");
        check("../os", "whole path");
        check("/srv/../os", "whole path");
        check("file://os", "whole path");
        check("file:///a%20b", "the folder itself");
        check("ftp://mirror.example/os", "'ftp://'");
        check("http://mirror.example/$basearch/os", "$basearch");
        check("https://mirrors.example/metalink?repo=f42", "one mirror");
        check("http://me:secret@mirror.example/", "password");
        check("http://", "not a URL");
        check("http:///os", "not a URL");
        check("http://a b/", "not a URL");
        check("http://host:port/", "not a URL");
    }

    #[test]
    fn paths_of_an_index_cannot_leave_its_repository() {
        for href in ["repodata/ab-primary.xml.gz", "a", "Packages/g/gcc-c++-4.8.rpm", "a%20b", "x:y"] {
            assert!(is_inside(href), "{href}");
        }
        let bad =
            ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "http://evil/x", "a?b", "a b"];
        for href in bad {
            assert!(!is_inside(href), "{href}");
        }
    }
}
