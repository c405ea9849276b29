//! What pages are made of besides their text: the stylesheet, the script, the icon.
//!
//! Owns their paths. Each has a digest of its content in its name and may be kept for ever; a new hub has new names.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

/// What stands in `static/`: name, ending, type, content.
const ALL: [(&str, &str, &str, &str); 3] = [
    ("moji", "css", "text/css; charset=utf-8", include_str!("../../../static/moji.css")),
    ("moji", "js", "text/javascript; charset=utf-8", include_str!("../../../static/moji.js")),
    ("favicon", "svg", "image/svg+xml", include_str!("../../../static/favicon.svg")),
];
/// A year: what is kept for ever.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// For what has no digest in its name.
const A_DAY: &str = "public, max-age=86400";

/// Paths of the assets, for the head of a page.
#[derive(Debug)]
pub(crate) struct Assets {
    pub(crate) css: String,
    pub(crate) js: String,
    pub(crate) icon: String,
    /// Changes when one of them changes.
    pub(crate) version: String,
}

/// They never change while a hub runs.
pub(crate) static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let [css, js, icon] = ALL
        .map(|(name, ending, _, content)| format!("/static/{name}.{}.{ending}", digest(content.as_bytes())));
    let version = digest(format!("{css} {js} {icon}").as_bytes());
    Assets { css, js, icon, version }
});

fn digest(content: &[u8]) -> String {
    Sha256::digest(content)[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `/static/NAME.DIGEST.ENDING`, and without a digest for people.
pub(super) async fn asset(Path(file): Path<String>) -> Response {
    let path = format!("/static/{file}");
    let assets = &*ASSETS;
    let named = [&assets.css, &assets.js, &assets.icon].into_iter().position(|one| *one == path);
    let plain = || ALL.iter().position(|(name, ending, ..)| file == format!("{name}.{ending}"));
    match (named, plain()) {
        (Some(at), _) => respond(at, FOREVER),
        (None, Some(at)) => respond(at, "no-cache"),
        _ => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
    }
}

/// What browsers ask for by themselves; all that still do so understand SVG.
pub(super) async fn icon() -> Response {
    respond(2, A_DAY)
}

fn respond(at: usize, keep: &'static str) -> Response {
    let (_, _, kind, content) = ALL[at];
    let mut response = content.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
