//! Answers that are errors.
//!
//! Owns which status a failure has. Its text is one line that names the thing and, where something can be done, what;
//! whoever answers decides whether it goes out as JSON or as a page.

use std::fmt;

use axum::http::StatusCode;
use moji_proto::Line;
use moji_proto::message::NoCode;

use super::desk::Busy;
use crate::core::desk::Miss;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Problem {
        Problem { status, text: text.into() }
    }

    /// There is no such thing.
    pub(crate) fn not_found(text: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, text)
    }

    /// What was asked makes no sense.
    pub(crate) fn bad(text: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, text)
    }

    /// The hub cannot answer now.
    pub(crate) fn later(text: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// The desk says no.
    pub(crate) fn no(code: NoCode, text: &Line, names: &[String]) -> Problem {
        let text = with_names(code, text.as_str(), names);
        Problem::new(status(code), text)
    }
}

/// What comes near, on the same line.
fn with_names(code: NoCode, text: &str, names: &[String]) -> String {
    match (code, names) {
        (_, []) => text.to_owned(),
        (NoCode::Ambiguous, names) => format!("{text}: {}", names.join(", ")),
        (_, names) => format!("{text}: did you mean {}?", names.join(", ")),
    }
}

fn status(code: NoCode) -> StatusCode {
    match code {
        NoCode::NotFound | NoCode::Ambiguous => StatusCode::NOT_FOUND,
        NoCode::Refused | NoCode::BadInput => StatusCode::BAD_REQUEST,
        NoCode::Later => StatusCode::SERVICE_UNAVAILABLE,
        NoCode::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Miss> for Problem {
    fn from(miss: Miss) -> Problem {
        let text = with_names(miss.code, &miss.text, &miss.names);
        Problem::new(status(miss.code), text)
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Problem {
        Problem::later(busy.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
