//! What repo is told, and what it wants done.
//!
//! Owns plain data only.

use super::*;
use crate::core::capabilities::Capabilities;
use crate::repodata::{Finder, Holder, Listed};

/// Path of an RPM, relative to the repository.
pub type Path = Box<str>;

/// A result that may be indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Folder in `repo/`.
    pub folder: String,
    /// Its RPM files.
    pub rpms: Vec<FileName>,
}

/// Which bytes a file is likely to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Length, bytes.
    pub size: u64,
    /// Last change, unix seconds.
    pub modified_unix_s: u64,
}

impl Stamp {
    /// That of a package in an index.
    #[must_use]
    pub fn of(listed: &Listed) -> Stamp {
        Stamp { size: listed.size, modified_unix_s: listed.modified_unix_s }
    }
}

/// An RPM file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// What it is.
    pub stamp: Stamp,
}

/// What is in a folder of `repo/` now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its path in `repo/`; empty for `repo/` itself.
    pub folder: String,
    /// Whether it holds a `result.json`.
    pub is_result: bool,
    /// Its RPM files, as far as they are whole; none if the folder is gone.
    pub rpms: Vec<Found>,
}

/// The shelves are open.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What is on them.
    pub on_shelf: Vec<(Path, Stamp)>,
    /// What that provides.
    pub stock: Box<Capabilities>,
    /// When there is something to sweep.
    pub sweep_at: Option<Time>,
}

/// An RPM that is not indexed, because it cannot be read. Whoever read it has said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which.
    pub path: Path,
    /// What it was, if it was there.
    pub stamp: Option<Stamp>,
}

/// What the reader has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// What it could read.
    pub groups: Vec<Arc<Group>>,
    /// What is no sound RPM.
    pub skipped: Vec<Skipped>,
    /// Why the rest has to be tried again.
    pub failed: Option<String>,
}

/// Recent is live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// All of it, without what lingers.
    pub groups: Vec<Arc<Group>>,
    /// Folders of results that were left out because they have no piece that fits.
    pub unread: Vec<String>,
    /// When there is something to sweep.
    pub sweep_at: Option<Time>,
}

/// A merge is live.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// What was added from sources.
    pub added: Vec<(Path, Stamp)>,
    /// If something was: what the shelves provide now.
    pub stock: Option<Box<Capabilities>>,
    /// What of them is no sound RPM.
    pub skipped: Vec<Skipped>,
    /// When there is something to sweep.
    pub sweep_at: Option<Time>,
}

/// Where groups come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// These RPMs of a result: its piece, without the others.
    Result {
        /// Its folder.
        folder: String,
        /// Its RPM files.
        rpms: Vec<Path>,
    },
    /// They are here.
    Groups(Vec<Arc<Group>>),
    /// These files, which must be read.
    Files(Vec<Path>),
}

/// What repo is told.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A result was committed. (transfers, desk)
    Published(Published),
    /// A result is no longer to be indexed. (desk)
    Withdraw {
        /// Its folder.
        folder: String,
    },
    /// What people may have changed. (hands)
    ByHand(Vec<Seen>),
    /// Everything in `repo/` has been told since the start. (hands)
    AllSeen,
    /// What could not be read is tried again. (hands)
    LookAgain,
    /// These files of `filelists` are waited for, and no others: the queue is to hear which packages have them, those
    /// that are published and those that will be. (queue)
    FindFiles(BTreeSet<String>),
    /// Answer to `Find`. (shell)
    Found(Result<Vec<Holder>, String>),
    /// What do these builds provide otherwise than those before, and who was built against it? Answered with
    /// [`queue::Msg::Compared`]. (queue)
    Compare(Vec<Compare>),
    /// Answer to `Compare`. (shell)
    Compared(Result<Vec<Compared>, String>),
    /// Answer to `Open`; and to `Merge`, if the shelves were damaged and start over. (shell)
    Opened(Result<Opened, String>),
    /// Answer to `Read`. (shell)
    Read(Read),
    /// Answer to `Recent`. (shell)
    RecentLive(Result<Live, String>),
    /// Answer to `SweepRecent`: when there is more to sweep. (shell)
    RecentSwept(Result<Option<Time>, String>),
    /// Answer to `Merge`. (shell)
    Merged(Result<Merged, String>),
    /// Answer to `Complete`: when there is something to sweep. (shell)
    CompleteLive(Result<Option<Time>, String>),
    /// Answer to `SweepIndex`: when there is more to sweep. (shell)
    IndexSwept(Result<Option<Time>, String>),
    /// Time passed. (shell)
    Tick,
}

/// What repo wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Open the shelves. (slow)
    Open,
    /// Read these RPMs. (reader)
    Read(Vec<Path>),
    /// Publish recent with this change. (fast)
    Recent {
        /// What comes.
        add: Vec<Source>,
        /// What goes.
        gone: BTreeSet<Path>,
        /// What is on base now.
        merged: BTreeSet<Path>,
    },
    /// Delete recent's old files. (fast)
    SweepRecent,
    /// Put groups onto the shelves and take paths off them. (slow)
    Merge {
        /// What comes.
        add: Vec<Source>,
        /// What goes.
        gone: BTreeSet<Path>,
    },
    /// Publish the complete index over the shelves and these groups. (slow)
    Complete {
        /// What is on recent only.
        recent: Vec<Arc<Group>>,
    },
    /// Find out which packages on the shelves and in these groups have these files. (slow)
    Find {
        /// Which.
        files: Finder,
        /// What is on recent.
        recent: Vec<Arc<Group>>,
    },
    /// Compare these builds with those before, and find what was built against them. (slow)
    Compare {
        /// Which.
        builds: Vec<Compare>,
        /// What is on recent.
        recent: Vec<Arc<Group>>,
    },
    /// Delete old files of base and of the complete index. (slow)
    SweepIndex,
    /// Tell the queue.
    Queue(queue::Msg),
    /// Tell the desk.
    Desk(desk::Msg),
    /// A state change an operator reads about.
    Log(log::Level, String),
}
