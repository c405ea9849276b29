//! Repo: the index over what is published.
//!
//! Owns which results are indexed, and batches: results that arrive while an index is being made go
//! into the next one. Never knows builders.

use moji_proto::FileName;

use super::queue;

/// A result that may be indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Folder in `repo/`.
    pub folder: String,
    /// Its RPM files.
    pub rpms: Vec<FileName>,
}

/// What repo is told.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A result was committed. (transfers)
    Published(Published),
    /// The index that was being made is live, or could not be made. (shell)
    Indexed(Result<(), String>),
    /// Time passed. (shell)
    Tick,
}

/// What repo wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make and publish an index over exactly these files (paths relative to `repo/`), and say `Indexed`.
    Index(Vec<String>),
    /// Tell the queue.
    Queue(queue::Msg),
}
