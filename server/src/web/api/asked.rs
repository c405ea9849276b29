//! Parameters, and what is said of bad ones.
//!
//! Owns that every bad parameter is answered with one line that names it.

use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::super::problem::Problem;
use super::answer::Failed;

/// What stands behind the `?`.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked<T>, Failed> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Asked(asked)),
            Err(error) => {
                // The outer one only says that it is about the query.
                let why =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                Err(Problem::bad(format!("bad parameter: {why}")).into())
            }
        }
    }
}

/// The name in the path, unescaped.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Failed> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => {
                at_most("name", name.len(), 256, "bytes")?;
                Ok(Named(name))
            }
            Err(_) => Err(Problem::bad("bad name in the path: it is no UTF-8").into()),
        }
    }
}

/// A number, or the usual one, if it is within its bounds.
pub(super) fn within(
    name: &str,
    asked: Option<u32>,
    usual: u32,
    bounds: RangeInclusive<u32>,
) -> Result<u32, Problem> {
    let number = asked.unwrap_or(usual);
    if bounds.contains(&number) {
        return Ok(number);
    }
    let (least, most) = bounds.into_inner();
    Err(Problem::bad(format!("bad parameter: {name} must be from {least} to {most}, not {number}")))
}

/// Whether something is short enough.
pub(super) fn at_most(name: &str, len: usize, max: usize, unit: &str) -> Result<(), Problem> {
    if len <= max {
        return Ok(());
    }
    Err(Problem::bad(format!("bad parameter: {name} has {len} {unit}, at most {max} are looked at")))
}
