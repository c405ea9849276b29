//! Times: ISO 8601 in UTC outside, unix milliseconds inside.

use std::fmt;

use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::hooks::iso;

/// A moment, unix milliseconds. In JSON and as text `2026-11-22T19:31:05Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct When(pub u64);

impl When {
    /// Of unix seconds; None of 0, which means that it is not known.
    #[must_use]
    pub fn of_s(unix_s: u64) -> Option<When> {
        (unix_s != 0).then(|| When(unix_s.saturating_mul(1_000)))
    }

    /// Unix seconds.
    #[must_use]
    pub fn unix_s(self) -> u64 {
        self.0 / 1_000
    }

    /// How long ago it was at that moment, seconds; 0 if it was not yet.
    #[must_use]
    pub fn ago_s(self, now: When) -> u64 {
        now.0.saturating_sub(self.0) / 1_000
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&iso(self.0))
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for When {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("A time, ISO 8601 in UTC."))
            .into()
    }
}

impl ToSchema for When {}
