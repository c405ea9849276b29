//! Pages: the farm for people, in a browser.
//!
//! Owns what is at which path, the head of every answer, and the frame around every page. Read-only. What a page shows is
//! asked of [`super::site::Site`]; a template in `templates/` puts it into words, and escapes all that is no
//! [`say::Markup`]. Pages need no script; with it, their regions follow the farm ([`super::live`]).
//!
//! | file | owns |
//! |---|---|
//! | `target.rs` | which page a path and its parameters mean |
//! | `overview.rs`, `builders.rs`, `builder.rs`, `packages.rs`, `package.rs`, `history.rs`, `repository.rs` | a page each |
//! | `folder.rs` | what lies in a folder of the repository |
//! | `log/` | the log viewer |
//! | `missing.rs` | what is said where there is no page, and what comes near |
//! | `say.rs` | ages, sizes, states: words that pages share |
//! | `draw/` | SVG |
//! | `assets.rs` | stylesheet, script, icon |
//!
//! To add a page: a variant of [`Target`], a file here, a template, an arm of [`render`], a link in `base.html`.

mod assets;
mod builder;
mod builders;
mod draw;
pub(super) mod folder;
mod history;
mod log;
mod missing;
mod overview;
mod package;
mod packages;
mod repository;
mod say;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::assets::{ASSETS, Assets};
pub(super) use self::say::Look;
pub(super) use self::target::{Target, query};
use super::api::tagged;
use super::live::Live;
use super::problem::Problem;
use super::site::Site;

/// What a browser may do with a page: use its stylesheet, its script and its icon, and ask this hub. Nothing that a
/// builder smuggled in could run, load or send anything.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Changes when script or stylesheet do.
pub(super) fn version() -> &'static str {
    &ASSETS.version
}

/// What every page is given; clones are the same.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) site: Site,
    pub(super) live: Live,
    logs: Arc<log::Logs>,
}

/// The router of pages; it answers whatever nobody else has a path for.
pub(super) fn router(site: Site) -> Router {
    let pages = Pages { live: Live::new(site.clone()), logs: Arc::default(), site };
    Router::new()
        .route("/", get(page))
        .route("/builders", get(page))
        .route("/builders/{name}", get(page))
        .route("/packages", get(page))
        .route("/packages/{name}", get(page))
        .route("/packages/{name}/log", get(page))
        .route("/packages/{name}/log/stream", get(log::stream))
        .route("/history", get(page))
        .route("/repository", get(page))
        .route("/repository/moji.repo", get(repository::repo_file))
        .route("/events", get(super::live::events))
        .route("/static/{file}", get(assets::asset))
        .route("/favicon.svg", get(assets::icon))
        .route("/favicon.ico", get(assets::icon))
        .fallback(nowhere)
        .with_state(pages)
}

/// The frame around a page.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    /// What stands in the title, before the hub's name.
    pub(super) title: String,
    /// Path of its section in the navigation.
    section: &'static str,
    /// Where its regions are followed; None if it does not change.
    events: Option<String>,
    pub(super) look: Look,
    assets: &'static Assets,
}

impl Shell {
    fn new(title: impl Into<String>, section: &'static str, look: Look) -> Shell {
        Shell { title: title.into(), section, events: None, look, assets: &ASSETS }
    }

    /// Of a page that follows the farm.
    fn following(mut self, uri: &Uri) -> Shell {
        let of = uri.path_and_query().map_or("/", |of| of.as_str());
        self.events = Some(target::with_query("/events", &[("page", of)]));
        self
    }

    /// Links of the navigation: path, name, whether this page is there.
    fn sections(&self) -> [(&'static str, &'static str, bool); 5] {
        let all = [
            ("/", "Overview"),
            ("/packages", "Packages"),
            ("/builders", "Builders"),
            ("/history", "History"),
            ("/repository", "Repository"),
        ];
        all.map(|(path, name)| (path, name, path == self.section))
    }
}

/// Who asks for a page, and for which.
pub(super) struct Asker<'a> {
    pub(super) uri: &'a Uri,
    /// How they call this hub.
    pub(super) host: &'a str,
    pub(super) look: Look,
}

/// A page whose regions can be followed, as markup.
pub(super) async fn render(site: &Site, target: &Target, asker: &Asker<'_>) -> Result<String, Problem> {
    let shell = |title: String| Shell::new(title, target.section(), asker.look).following(asker.uri);
    match target {
        Target::Overview => overview::page(site, shell("Overview".into())).await,
        Target::Builders(asked) => builders::page(site, shell("Builders".into()), asked).await,
        Target::Builder(name) => builder::page(site, shell(name.clone()), name).await,
        Target::Packages(asked) => packages::page(site, shell("Packages".into()), asked).await,
        Target::Package(name) => package::page(site, shell(name.clone()), name).await,
        Target::History(days) => history::page(site, shell("History".into()), *days).await,
        Target::Repository => repository::page(site, shell("Repository".into()), asker.host).await,
        Target::Log(..) => Err(Problem::bad("a log has a stream of its own: /packages/NAME/log/stream")),
    }
}

fn fill(template: &impl Template) -> Result<String, Problem> {
    let failed = |error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to render the page: {error}"))
    };
    template.render().map_err(failed)
}

async fn page(State(pages): State<Pages>, uri: Uri, headers: HeaderMap) -> Response {
    match answer(&pages, &uri, &headers).await {
        Ok(html) => {
            let mut response = tagged(&headers, "text/html; charset=utf-8", html.into_bytes());
            guard(response.headers_mut());
            response
        }
        Err(problem) => missing::answer(&pages.site, &uri, &problem).await,
    }
}

async fn answer(pages: &Pages, uri: &Uri, headers: &HeaderMap) -> Result<String, Problem> {
    let target = Target::parse(uri)?;
    let look = Look::once(pages.site.snapshot().await?.taken_at());
    match &target {
        Target::Log(name, asked) => {
            let shell = Shell::new(name.clone(), target.section(), look);
            log::page(pages, shell, name, *asked).await
        }
        target => render(&pages.site, target, &Asker { uri, host: super::repo::host(headers), look }).await,
    }
}

/// For paths that nobody has.
async fn nowhere(State(pages): State<Pages>, method: Method, uri: Uri) -> Response {
    let problem = if matches!(method, Method::GET | Method::HEAD) {
        Problem::not_found(format!("there is no page {}", uri.path()))
    } else {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "nothing can be changed here: use moji on the command line",
        )
    };
    missing::answer(&pages.site, &uri, &problem).await
}

/// A page that is no answer to be kept.
fn html(status: StatusCode, body: String) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    guard(headers);
    response
}

/// What a browser must keep to.
pub(super) fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
