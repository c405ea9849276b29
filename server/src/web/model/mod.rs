//! What pages and the API show.
//!
//! Owns the types of the JSON, which are those that pages are rendered from, and how they are made from what the hub
//! knows. Field names are part of the API: they are added, never changed (a test holds them). Times are ISO 8601 in UTC,
//! durations seconds (`_s`), sizes bytes (`_bytes`) or MiB (`_mib`); what is not known is null. Texts that come from
//! builders are data: whoever shows them escapes them.
//!
//! Nothing here says how long ago something was: that would change with every second, and with it every answer. Pages
//! work it out with [`When::ago_s`].
//!
//! | file | owns |
//! |---|---|
//! | `words.rs` | states, verdicts, kinds: the words |
//! | `when.rs` | times |
//! | `package.rs` | packages, attempts, what they wait for |
//! | `farm.rs` | the farm as a whole, builders, events |
//! | `history.rs` | what the history tells in numbers |
//! | `repository.rs` | the repository and how to use it |

mod farm;
mod history;
mod package;
mod repository;
mod when;
mod words;

use serde::Serialize;
use utoipa::ToSchema;

pub use farm::{Builder, BuilderDetail, Concern, ConcernKind, Event, Events, Overview};
pub use history::{BuilderDays, Day, Duration, FailureReason, History, Try};
pub use package::{Attempt, Blocked, Cycle, Lack, LogLink, Neighbour, Package, PackageDetail};
pub use repository::{Index, Repository};
pub use when::When;
pub use words::{Backend, BuilderState, EventKind, PackageState, Phase, Trouble, Verdict, Which};

/// A part of a longer list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// How many there are in all that fit the question.
    pub total: u32,
    /// How many of them come before these.
    pub offset: u32,
    /// Where the next part begins; null if this is the last one.
    pub next_offset: Option<u32>,
    /// These.
    pub rows: Vec<T>,
}

impl<T> Page<T> {
    /// The rows from `offset` on, of `total`.
    #[must_use]
    pub fn new(total: usize, offset: usize, rows: Vec<T>) -> Page<T> {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let end = offset.saturating_add(rows.len());
        let next_offset = (end < total && !rows.is_empty()).then(|| count(end));
        Page { total: count(total), offset: count(offset), next_offset, rows }
    }
}

/// An answer that is an error.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Failure {
    /// What is wrong and, where something can be done, what: one line.
    pub error: String,
    /// The status of the answer.
    pub status: u16,
}

/// None of what is empty.
pub(super) fn text(line: &moji_proto::Line) -> Option<String> {
    (!line.as_str().is_empty()).then(|| line.to_string())
}

/// A name as a part of a path: everything but letters, digits and `-._~` is escaped.
#[must_use]
pub fn in_path(name: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
