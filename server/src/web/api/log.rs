//! The text of a log.
//!
//! Owns how much of it goes out at once. It is text for programs and for people, and never anything else: what a build
//! prints is not trusted.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use moji_proto::message::ToOperator;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::desk::Ask;
use super::super::model::{Failure, Which};
use super::super::site::{Site, next};
use super::answer::{Answer, respond};
use super::asked::{Asked, Named, within};

/// Bytes of a log that one answer has if nothing is said, and at most.
const LOG_BYTES: u32 = 256 << 10;
const LOG_BYTES_MAX: u32 = 1 << 20;
/// Where the next part begins.
const NEXT_OFFSET: HeaderName = HeaderName::from_static("moji-next-offset");
/// Whether the log may still grow.
const LIVE: HeaderName = HeaderName::from_static("moji-live");
/// Which attempt it is of.
const ATTEMPT: HeaderName = HeaderName::from_static("moji-attempt");

/// Which log, and which part of it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct LogAsked {
    /// Which log; `build` if nothing is said.
    #[param(inline)]
    which: Option<Which>,
    /// Of which attempt, counted from 1; the newest if nothing is said.
    #[param(minimum = 0, maximum = 65535)]
    attempt: Option<u16>,
    /// From where, bytes.
    #[param(minimum = 0)]
    offset: Option<u64>,
    /// At most so many bytes; 262144 if nothing is said.
    #[param(minimum = 1, maximum = 1048576)]
    length: Option<u32>,
}

/// A part of a log, as text. `moji-next-offset` of the answer is where the next part begins, `moji-live` whether the log
/// may still grow: who follows it asks again with that offset.
#[utoipa::path(get, path = "/api/v1/packages/{name}/log", tag = "packages",
    params(("name" = String, Path,
        description = "File name of the SRPM, `name-[epoch:]version-release`, or name if only one has it."), LogAsked),
    responses(
    (status = 200, body = String, content_type = "text/plain; charset=utf-8"),
    (status = 400, body = Failure), (status = 404, body = Failure), (status = 503, body = Failure)))]
pub(super) async fn log(
    State(site): State<Site>,
    Named(package): Named,
    Asked(asked): Asked<LogAsked>,
) -> Answer {
    let length = within("length", asked.length, LOG_BYTES, 1..=LOG_BYTES_MAX)? as usize;
    let which = asked.which.unwrap_or(Which::Build).into();
    let (attempt, offset) = (asked.attempt.unwrap_or(0), asked.offset.unwrap_or(0));
    let ask = Ask::Log { package, which, attempt, offset, follow: false };
    let mut rows = site.desk().ask(ask).await.map_err(super::super::problem::Problem::from)?;
    let (mut body, mut of, mut is_live) = (Vec::new(), 0, false);
    while let Some(row) = next(&mut rows).await? {
        match row {
            ToOperator::LogOf { attempt, live, .. } => (of, is_live) = (attempt, live),
            ToOperator::Log { bytes, .. } => body.extend_from_slice(&bytes.0),
            _ => {}
        }
        if body.len() >= length {
            body.truncate(length);
            break;
        }
    }
    let next_offset = offset.saturating_add(body.len() as u64);
    let mut response = respond(StatusCode::OK, "text/plain; charset=utf-8", body);
    let headers = response.headers_mut();
    headers.insert(NEXT_OFFSET, HeaderValue::from(next_offset));
    headers.insert(LIVE, HeaderValue::from_static(if is_live { "true" } else { "false" }));
    headers.insert(ATTEMPT, HeaderValue::from(of));
    Ok(response)
}
