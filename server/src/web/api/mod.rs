//! `/api/`: JSON for programs, its description, its documentation.
//!
//! Owns the paths and their parameters. What stands in an answer is [`super::model`]'s, where it comes from
//! [`super::site`]'s.
//!
//! | file | owns |
//! |---|---|
//! | `answer.rs` | how an answer goes out: JSON, ETag, errors |
//! | `asked.rs` | parameters, and what is said of bad ones |
//! | `log.rs` | the text of a log |
//! | `describe.rs` | the OpenAPI description and the page made from it |

mod answer;
mod asked;
mod describe;
mod log;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use utoipa::IntoParams;

pub(super) use answer::{failure, json, tagged};

use self::answer::Answer;
use self::asked::{Asked, Named};
use super::model::{
    Blocked, Builder, BuilderDetail, Events, Failure, History, Overview, Package, PackageDetail,
    PackageState, Page, Repository,
};
use super::problem::Problem;
use super::repo::host;
use super::site::{BLOCKED_MAX, EVENTS_MAX, Site, Wanted};
use super::snapshot::Sort;

/// Packages that one answer has if nothing is said, and at most.
const ROWS: u32 = 100;
const ROWS_MAX: u32 = 1_000;
/// Days of history if nothing is said.
const DAYS: u32 = 30;

/// The router of `/api/`.
pub(super) fn router(site: Site) -> Router {
    let v1 = Router::new()
        .route("/overview", get(overview))
        .route("/builders", get(builders))
        .route("/builders/{name}", get(builder))
        .route("/packages", get(packages))
        .route("/packages/{name}", get(package))
        .route("/packages/{name}/log", get(log::log))
        .route("/blocked", get(blocked))
        .route("/events", get(events))
        .route("/history", get(history))
        .route("/repository", get(repository))
        .route("/openapi.json", get(describe::openapi))
        .fallback(|| async { failure(&Problem::not_found("there is no such path: /api/ lists all")) })
        .with_state(site);
    Router::new().nest("/api/v1", v1).route("/api/", get(describe::page))
}

/// What whoever would change something is told; [`super::access`] says it.
pub(super) fn not_allowed() -> Response {
    let text = "nothing can be changed here: only GET and HEAD are answered";
    failure(&Problem::new(StatusCode::METHOD_NOT_ALLOWED, text))
}

/// The farm as a whole: counts, what is being built, what somebody should look at.
#[utoipa::path(get, path = "/api/v1/overview", tag = "farm", responses(
    (status = 200, body = Overview), (status = 503, body = Failure)))]
async fn overview(State(site): State<Site>, headers: HeaderMap) -> Answer {
    json(&headers, &site.overview().await?)
}

/// All builders, by name; those that were turned away come last.
#[utoipa::path(get, path = "/api/v1/builders", tag = "farm", responses(
    (status = 200, body = Vec<Builder>), (status = 503, body = Failure)))]
async fn builders(State(site): State<Site>, headers: HeaderMap) -> Answer {
    json(&headers, &site.builders().await?)
}

/// One builder, by name or by at least six digits of its key, and its newest attempts.
#[utoipa::path(get, path = "/api/v1/builders/{name}", tag = "farm",
    params(("name" = String, Path, description = "Host name, or the beginning of its key.")), responses(
    (status = 200, body = BuilderDetail), (status = 400, body = Failure), (status = 404, body = Failure),
    (status = 503, body = Failure)))]
async fn builder(State(site): State<Site>, Named(name): Named, headers: HeaderMap) -> Answer {
    json(&headers, &site.builder(&name).await?)
}

/// Which packages, and how many.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct PackagesAsked {
    /// Those whose file name or `name-epoch:version-release` has this in it, whatever the case.
    #[param(max_length = 256)]
    q: Option<String>,
    /// Those in this state.
    #[param(inline)]
    state: Option<PackageState>,
    /// In which order; by name if nothing is said.
    #[param(inline)]
    sort: Option<Sort>,
    /// How many of them to leave out: `next_offset` of the answer before.
    #[param(minimum = 0)]
    offset: Option<u32>,
    /// At most so many; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Packages.
#[utoipa::path(get, path = "/api/v1/packages", tag = "packages", params(PackagesAsked), responses(
    (status = 200, body = Page<Package>), (status = 400, body = Failure), (status = 503, body = Failure)))]
async fn packages(
    State(site): State<Site>,
    Asked(asked): Asked<PackagesAsked>,
    headers: HeaderMap,
) -> Answer {
    let q = asked.q.unwrap_or_default();
    asked::at_most("q", q.len(), 256, "bytes")?;
    let wanted = Wanted {
        q,
        state: asked.state,
        sort: asked.sort,
        offset: asked.offset.unwrap_or(0) as usize,
        limit: asked::within("limit", asked.limit, ROWS, 1..=ROWS_MAX)? as usize,
    };
    json(&headers, &site.packages(&wanted).await?)
}

/// One package: why it is where it is, what it waits for, its attempts with their logs and RPMs.
#[utoipa::path(get, path = "/api/v1/packages/{name}", tag = "packages",
    params(("name" = String, Path,
        description = "File name of the SRPM, `name-[epoch:]version-release`, or name if only one has it.")),
    responses((status = 200, body = PackageDetail), (status = 400, body = Failure), (status = 404, body = Failure),
    (status = 503, body = Failure)))]
async fn package(State(site): State<Site>, Named(name): Named, headers: HeaderMap) -> Answer {
    json(&headers, &site.package(&name).await?)
}

/// How much of it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct BlockedAsked {
    /// At most so many capabilities; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What packages wait for that is not there, and packages that wait for each other.
#[utoipa::path(get, path = "/api/v1/blocked", tag = "packages", params(BlockedAsked), responses(
    (status = 200, body = Blocked), (status = 400, body = Failure), (status = 503, body = Failure)))]
async fn blocked(State(site): State<Site>, Asked(asked): Asked<BlockedAsked>, headers: HeaderMap) -> Answer {
    let limit = asked::within("limit", asked.limit, ROWS, 1..=BLOCKED_MAX)?;
    json(&headers, &site.blocked(limit).await?)
}

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct EventsAsked {
    /// Those about packages or builders of this name; `*`, `?` and `[…]` are understood.
    #[param(max_length = 256)]
    about: Option<String>,
    /// The first ones after this event, in place of the newest.
    #[param(minimum = 0)]
    after: Option<u64>,
    /// At most so many; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What happened, oldest first: the newest, or what came after an event.
#[utoipa::path(get, path = "/api/v1/events", tag = "history", params(EventsAsked), responses(
    (status = 200, body = Events), (status = 400, body = Failure), (status = 503, body = Failure)))]
async fn events(State(site): State<Site>, Asked(asked): Asked<EventsAsked>, headers: HeaderMap) -> Answer {
    let limit = asked::within("limit", asked.limit, ROWS, 1..=EVENTS_MAX)?;
    let about = asked.about.unwrap_or_default();
    asked::at_most("about", about.len(), 256, "bytes")?;
    let events = match asked.after {
        Some(after) => site.events_after(&about, after, limit).await?,
        None => site.newest_events(&about, limit).await?,
    };
    json(&headers, &events)
}

/// Of how many days.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct HistoryAsked {
    /// The last so many days (UTC), today among them; 30 if nothing is said.
    #[param(minimum = 1, maximum = 366)]
    days: Option<u32>,
}

/// What was built when, how long it took, why it failed: for plots.
#[utoipa::path(get, path = "/api/v1/history", tag = "history", params(HistoryAsked), responses(
    (status = 200, body = History), (status = 400, body = Failure), (status = 503, body = Failure)))]
async fn history(State(site): State<Site>, Asked(asked): Asked<HistoryAsked>, headers: HeaderMap) -> Answer {
    let days = asked::within("days", asked.days, DAYS, 1..=super::past::DAYS_MAX)?;
    json(&headers, &*site.history(days).await?)
}

/// The repository and how to use it.
#[utoipa::path(get, path = "/api/v1/repository", tag = "repository", responses(
    (status = 200, body = Repository), (status = 503, body = Failure)))]
async fn repository(State(site): State<Site>, headers: HeaderMap) -> Answer {
    json(&headers, &site.repository(host(&headers)).await?)
}
