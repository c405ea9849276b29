//! `/thin/`: the repositories of single builds, and the packages that they name.
//!
//! Owns the paths below it and nothing of what is there: [`Thins`] knows the repositories, [`crate::payloads`] the packages
//! of mainline, `repo/` the hub's own. Only packages are served that the repository in the path names: nobody can use
//! the hub to reach anything else.
//!
//! | path | what |
//! |---|---|
//! | `/thin/<which>/repodata/repomd.xml` | the index; it may change while a lease lives |
//! | `/thin/<which>/repodata/<file>` | what it names, by digest |
//! | `/thin/<which>/<layer>/<href>` | a package: of `repo/`, of a mainline folder, or through the cache |
//!
//! `<which>` is a lease, or the first 16 digits of a builder's key: that stays the same from build to build, so that the
//! board's dnf finds the packages again that it has already.
//!
//! | file | owns |
//! |---|---|
//! | `desk.rs` | which lease has which repository |
//! | `ranges.rs` | whole answers, parts, and conditions |
//! | `flow.rs` | a file as a body, also one that still comes |

mod desk;
mod flow;
mod ranges;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tower::ServiceExt as _;
use tower_http::services::ServeDir;

use crate::mainline::place::is_inside;
use crate::payloads::{Cache, Found, Reading, Trouble};
use crate::thin::write::{Payload, Thin};

pub use desk::{Ask, Thins};

use desk::Miss;

/// Path of all thin repositories on the HTTP port.
pub const THIN_PATH: &str = "/thin/";
const REPOMD: &str = "repodata/repomd.xml";
/// When a board may ask again for what is not there yet, seconds.
const AGAIN_S: u16 = 5;

/// What changes under its name.
const FRESH: &str = "no-cache";
/// What never does.
const FOREVER: &str = "public, max-age=86400";

/// What the paths are answered from.
#[derive(Clone)]
pub struct Setup {
    /// The repositories.
    pub thins: Thins,
    /// Packages of mainline.
    pub cache: Cache,
}

struct Room {
    thins: Thins,
    cache: Cache,
    repo: PathBuf,
}

/// The router; `repo` is where the hub's own packages are.
pub(super) fn router(setup: Setup, repo: &Path) -> Router {
    let Setup { thins, cache } = setup;
    let room = Arc::new(Room { thins, cache, repo: repo.to_owned() });
    Router::new().route("/thin/{*path}", get(answer)).with_state(room)
}

async fn answer(State(room): State<Arc<Room>>, request: Request) -> Response {
    let (request, _nothing) = request.into_parts();
    let path = request.uri.path().to_owned();
    let Some((which, rest)) = path.strip_prefix(THIN_PATH).and_then(|path| path.split_once('/')) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let thin = match room.thins.thin(which).await {
        Ok(thin) => thin,
        Err(Miss::Unknown) => return no(StatusCode::NOT_FOUND, "there is no such lease"),
        Err(Miss::NotYet(why)) => return later(&why),
    };
    if rest == REPOMD {
        return ranges::bytes(&request, "text/xml", FRESH, &thin.repomd);
    }
    if let Some((name, bytes)) = thin.files.iter().find(|(name, _)| name == rest) {
        let kind = if name.ends_with(".xml") { "text/xml" } else { "application/octet-stream" };
        return ranges::bytes(&request, kind, FOREVER, bytes);
    }
    match named(&thin, rest) {
        Some(payload) => room.payload(payload, request).await,
        None => no(StatusCode::NOT_FOUND, "the repository of this build has no such file"),
    }
}

/// The package at this path: as the index writes it, or with signs written as `%2B` that need not be.
fn named<'a>(thin: &'a Thin, path: &str) -> Option<&'a Payload> {
    thin.payloads.get(path).or_else(|| thin.payloads.get(&decoded(path)?))
}

/// What a path with signs like `%2B` stands for; None if that is no text.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = behind.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

impl Room {
    async fn payload(self: Arc<Room>, payload: &Payload, request: Parts) -> Response {
        if payload.layer >= self.cache.layers() {
            return from_folder(&self.repo, &payload.href, request).await;
        }
        let (cache, wanted) = (self.cache.clone(), payload.clone());
        let found = tokio::task::spawn_blocking(move || cache.find(&wanted)).await;
        match found {
            Ok(Found::Here(reading)) => self.here(payload, reading, &request).await,
            Ok(Found::Folder(folder)) => from_folder(&folder, &payload.href, request).await,
            Ok(Found::Elsewhere(url)) => elsewhere(&url),
            Ok(Found::No(trouble)) => troubled(&trouble),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    async fn here(&self, payload: &Payload, mut reading: Reading, request: &Parts) -> Response {
        let answer = ranges::answer(request, reading.size, &reading.etag);
        let (status, fields) =
            ranges::head(&answer, reading.size, &reading.etag, "application/x-rpm", FOREVER);
        let Some(range) = answer.range().filter(|_| request.method == Method::GET) else {
            return (status, fields, Body::empty()).into_response();
        };
        match reading.is_there().await {
            Ok(()) => (status, fields, flow::body(reading, range, self.cache.clone())).into_response(),
            Err(Trouble::NoRoom) => {
                let (cache, wanted) = (self.cache.clone(), payload.clone());
                match tokio::task::spawn_blocking(move || cache.elsewhere(&wanted)).await {
                    Ok(Found::Elsewhere(url)) => elsewhere(&url),
                    _ => troubled(&Trouble::NoRoom),
                }
            }
            Err(trouble) => troubled(&trouble),
        }
    }
}

/// A file of a folder. Its path is one of an index, so nobody vouches for it.
async fn from_folder(folder: &Path, href: &str, mut request: Parts) -> Response {
    let is_hidden = |part: &str| part.starts_with('.') || part.to_ascii_lowercase().starts_with("%2e");
    let uri = format!("/{href}").parse::<Uri>();
    let (Ok(uri), true) = (uri, is_inside(href) && !href.split('/').any(is_hidden)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    request.uri = uri;
    let request = Request::from_parts(request, Body::empty());
    let served = ServeDir::new(folder).append_index_html_on_directories(false).oneshot(request).await;
    let Ok(mut response) = served.map(IntoResponse::into_response);
    if response.status().is_success() {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(FOREVER));
    }
    response
}

/// The board goes to the mirror itself.
fn elsewhere(url: &str) -> Response {
    match HeaderValue::from_str(url) {
        Ok(url) => {
            let fields = [(LOCATION, url), (CACHE_CONTROL, HeaderValue::from_static(FRESH))];
            (StatusCode::FOUND, fields).into_response()
        }
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn troubled(trouble: &Trouble) -> Response {
    match trouble {
        Trouble::Mirror(why) => no(StatusCode::BAD_GATEWAY, why),
        Trouble::NoRoom | Trouble::Busy => later(&trouble.to_string()),
    }
}

/// Not now: whoever asks again soon may get it.
fn later(why: &str) -> Response {
    let mut response = no(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(AGAIN_S));
    response
}

fn no(status: StatusCode, why: &str) -> Response {
    let line = Bytes::from(format!("{}\n", why.replace(['\r', '\n'], " ")));
    let fields = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, FRESH)];
    (status, fields, line).into_response()
}
