//! The repository over HTTP, read-only.
//!
//! Owns the paths of the repository and of its tiers. Never changes anything and never asks another actor: it serves
//! files as they lie in `repo/` and, for the indexes that builders read, below `STATE/index/`, but for signatures of
//! `repomd.xml`, which are those of the one that the reader has. A folder is answered with a page that lists it.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HOST, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeDir;

use super::{pages, pairs};
use crate::signing::{PUBLIC_KEY, Pairs};

/// Path of the repository on the HTTP port.
pub const REPO_PATH: &str = "/repo/";

/// Path of the newest packages on the HTTP port, for builders.
pub const RECENT_PATH: &str = "/tier/recent/";
/// Path of all others.
pub const BASE_PATH: &str = "/tier/base/";

/// How what is served is told of.
#[derive(Clone)]
struct Told {
    repo: Arc<Path>,
    signed: bool,
    /// `http` or `https`.
    scheme: &'static str,
}

pub(super) fn router(
    repo: &Path,
    index: &Path,
    signatures: Option<Arc<Pairs>>,
    scheme: &'static str,
) -> Router {
    let told = Told { repo: repo.into(), signed: signatures.is_some(), scheme };
    let folder = |path: &Path| ServeDir::new(path).append_index_html_on_directories(false);
    // The longer path wins: the index of a tier is its own, everything else there is the repository's.
    let router = Router::new()
        .nest_service("/repo", folder(repo))
        .nest_service("/tier/recent/repodata", folder(&index.join("recent/repodata")))
        .nest_service("/tier/recent", folder(repo))
        .nest_service("/tier/base/repodata", folder(&index.join("base/repodata")))
        .nest_service("/tier/base", folder(repo));
    let router = match signatures {
        Some(signatures) => router.layer(middleware::from_fn_with_state(signatures, pairs::pair)),
        None => router,
    };
    router.layer(middleware::from_fn_with_state(told, guard))
}

/// What a person who opens the port in a browser reads: how to use the repository.
fn front(told: &Told, headers: &HeaderMap) -> Response {
    let url = format!("{}://{}{REPO_PATH}", told.scheme, host(headers));
    format!("This is a moji hub's repository. In a .repo file:\n\n{}", repo_file(&url, told.signed))
        .into_response()
}

/// How the reader calls this hub.
pub(super) fn host(headers: &HeaderMap) -> &str {
    headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("THIS-HOST:PORT")
}

/// A `.repo` file for the repository at `url`, which ends with a slash.
pub(super) fn repo_file(url: &str, signed: bool) -> String {
    let checks = if signed {
        format!("gpgcheck=1\nrepo_gpgcheck=1\ngpgkey={url}{PUBLIC_KEY}")
    } else {
        "gpgcheck=0".to_owned()
    };
    format!("[moji]\nname=moji\nbaseurl={url}\n{checks}\n")
}

/// No hidden files, and caches that never see an old `repomd.xml` (or its signature) for the new one.
async fn guard(State(told): State<Told>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if path.split('/').any(|part| part.starts_with('.') || part.to_ascii_lowercase().starts_with("%2e")) {
        return StatusCode::NOT_FOUND.into_response();
    }
    if path == REPO_PATH {
        return front(&told, request.headers());
    }
    let changes = ["/repomd.xml", "/repomd.xml.asc"].iter().any(|name| path.ends_with(name))
        || path.strip_prefix(REPO_PATH) == Some(PUBLIC_KEY);
    if changes {
        // It may change twice within the one second that HTTP dates tell apart.
        request.headers_mut().remove(IF_MODIFIED_SINCE);
        request.headers_mut().remove(IF_UNMODIFIED_SINCE);
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = next.run(request).await;
    if response.status() == StatusCode::NOT_FOUND
        && reads
        && let Some(path) = path.strip_prefix(REPO_PATH)
        && let Some(page) = pages::folder::answer(&told.repo, path).await
    {
        return page;
    }
    if response.status().is_success() {
        // All other paths never change their bytes.
        let rule = if changes { "no-cache" } else { "public, max-age=86400" };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(rule));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::super::access::Access;
    use super::super::serve::{Web, bind, spawn};
    use super::*;

    fn start(listener: TcpListener, repo: &Path, index: &Path, signatures: Option<Arc<Pairs>>) -> Web {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        spawn(listener, runtime, router(repo, index, signatures, "http"), Access::default())
    }

    fn ask(addr: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn the_repository_is_served_read_only_with_ranges_and_conditions() {
        let outside = tempfile::tempdir().unwrap();
        let repo = outside.path().join("repo");
        let index = outside.path().join("index");
        for tier in ["recent", "base"] {
            std::fs::create_dir_all(index.join(tier).join("repodata")).unwrap();
            std::fs::write(index.join(tier).join("repodata/repomd.xml"), format!("<{tier}/>")).unwrap();
            std::fs::write(index.join(tier).join("repodata/repomd.xml.asc"), "signed").unwrap();
            std::fs::write(index.join(tier).join("repodata/1-primary.xml.gz"), tier).unwrap();
        }
        std::fs::write(index.join("catalog"), "secret").unwrap();
        std::fs::create_dir_all(repo.join("repodata")).unwrap();
        std::fs::create_dir_all(repo.join("a-1-1@2")).unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        std::fs::write(repo.join(".hidden"), "secret").unwrap();
        std::fs::write(repo.join("a-1-1@2/a.rpm"), "0123456789").unwrap();
        std::fs::write(repo.join("a-1-1@2/.secret"), "").unwrap();
        std::fs::write(repo.join("repodata/repomd.xml"), "<repomd/>").unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let _web = start(listener, &repo, &index, None);
        let far = "Fri, 01 Jan 2100 00:00:00 GMT";
        let check = |head: &str, want: &[&str]| {
            let answer = ask(addr, &format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n"));
            for want in want {
                assert!(answer.contains(want), "{head}: no {want:?} in {answer}");
            }
            assert!(!answer.contains("secret"), "{head}: {answer}");
        };
        check("GET /repo/a-1-1@2/a.rpm HTTP/1.1", &["200 OK", "0123456789", "max-age"]);
        check("GET /repo/a-1-1%402/a.rpm HTTP/1.1", &["200 OK"]);
        check(
            "GET /repo/a-1-1@2/a.rpm HTTP/1.1\r\nRange: bytes=2-4",
            &["206", "content-range: bytes 2-4/10", "234"],
        );
        check("GET /repo/a-1-1@2/a.rpm HTTP/1.1\r\nRange: bytes=99-", &["416"]);
        check(&format!("GET /repo/a-1-1@2/a.rpm HTTP/1.1\r\nIf-Modified-Since: {far}"), &["304"]);
        check(
            &format!("GET /repo/repodata/repomd.xml HTTP/1.1\r\nIf-Modified-Since: {far}"),
            &["200 OK", "no-cache", "<repomd/>"],
        );
        check("HEAD /repo/a-1-1@2/a.rpm HTTP/1.1", &["200 OK", "content-length: 10"]);
        check("GET /repo/ HTTP/1.1", &["200 OK", "baseurl=http://x/repo/"]);
        let list = [
            "200 OK",
            "text/html",
            "no-cache",
            "content-security-policy",
            "<a href=\"a.rpm\">a.rpm</a>",
            "10 B",
        ];
        for path in ["/repo/a-1-1@2/", "/repo/a-1-1%402/"] {
            check(&format!("GET {path} HTTP/1.1"), &list);
        }
        check("GET /repo/a-1-1@2 HTTP/1.1", &["308", "location: /repo/a-1-1@2/"]);
        for tier in ["recent", "base"] {
            let repodata = format!("/tier/{tier}/repodata");
            check(
                &format!("GET {repodata}/repomd.xml HTTP/1.1"),
                &["200 OK", "no-cache", &format!("<{tier}/>")],
            );
            check(&format!("GET {repodata}/repomd.xml.asc HTTP/1.1"), &["200 OK", "no-cache", "signed"]);
            check(&format!("GET {repodata}/1-primary.xml.gz HTTP/1.1"), &["200 OK", "max-age", tier]);
            check(&format!("GET /tier/{tier}/a-1-1@2/a.rpm HTTP/1.1"), &["200 OK", "max-age", "0123456789"]);
            check(&format!("GET /tier/{tier}/repodata/none HTTP/1.1"), &["404"]);
            check(&format!("GET /tier/{tier}/repodata/../../catalog HTTP/1.1"), &["HTTP/1.1 4"]);
        }
        for path in [
            "/tier/catalog",
            "/tier/../index/catalog",
            "/repo/../secret",
            "/repo/%2e%2e/secret",
            "/repo/..%2fsecret",
            "/repo//../secret",
            "/repo/.hidden",
            "/repo/none/",
            "/repo/%2e%2e/",
            "/repo/..%2f/",
            "/repo//",
            "/repo/a-1-1@2/%2e",
            "/repo/a-1-1@2/..%2f..%2f",
        ] {
            check(&format!("GET {path} HTTP/1.1"), &["HTTP/1.1 4"]);
        }
        check("PUT /repo/x HTTP/1.1\r\nContent-Length: 0", &["405"]);
        check("DELETE /repo/a-1-1@2/a.rpm HTTP/1.1", &["405"]);
        assert!(repo.join("a-1-1@2/a.rpm").exists());
    }

    #[test]
    fn one_connection_serves_many_requests() {
        let repo = tempfile::tempdir().unwrap();
        std::fs::write(repo.path().join("x"), "abc").unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let _web = start(listener, repo.path(), repo.path(), None);
        let twice = "GET /repo/x HTTP/1.1\r\nHost: x\r\n\r\nGET /repo/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert_eq!(ask(addr, twice).matches("200 OK").count(), 2);
    }

    #[test]
    fn a_reader_gets_the_signature_of_the_index_it_has_and_is_told_the_key() {
        let repo = tempfile::tempdir().unwrap();
        let repodata = repo.path().join("repodata");
        std::fs::create_dir(&repodata).unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let pairs = Arc::new(Pairs::default());
        let _web = start(listener, repo.path(), repo.path(), Some(Arc::clone(&pairs)));
        let get =
            |path: &str| ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        let publish = |number: u32| {
            let (repomd, signature) = (format!("<repomd>{number}</repomd>"), format!("signature {number}"));
            pairs.signed(repomd.as_bytes(), signature.as_bytes());
            std::fs::write(repodata.join("repomd.xml"), repomd).unwrap();
            std::fs::write(repodata.join("repomd.xml.asc"), signature).unwrap();
        };
        let (repomd, signature) = ("/repo/repodata/repomd.xml", "/repo/repodata/repomd.xml.asc");
        publish(1);
        assert!(get(signature).ends_with("signature 1"), "the file, for who asks for nothing else");
        assert!(get(repomd).ends_with("<repomd>1</repomd>"));
        publish(2);
        let answer = get(signature);
        assert!(answer.ends_with("signature 1") && answer.contains("no-cache"), "{answer}");
        assert!(get(repomd).ends_with("<repomd>2</repomd>"));
        assert!(get(signature).ends_with("signature 2"));
        assert!(get("/repo/").contains("repo_gpgcheck=1\ngpgkey=http://x/repo/RPM-GPG-KEY-moji\n"));
    }
}
