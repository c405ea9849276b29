//! Bugs that are planted to see whether they are found.
//!
//! Owns their names. They live in the simulator's own shells and disk, which stand where the daemon's
//! threads and the kernel stand: there is nothing in the daemons to switch on.

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Folders are not synced after a move.
    SkipFolderSync,
    /// Syncs return before they are through.
    PromiseBeforeSync,
    /// A result counts without a live lease.
    AcceptStale,
    /// A package that goes back to `source/` is not told of to the queue.
    ForgetRequeue,
    /// A `Release` is not told of to leases.
    LoseRelease,
    /// Every run of the hub has the same incarnation.
    ReuseId,
    /// Of two builders of a package the one that was outdone is not told.
    ForgetOutdone,
    /// Leases' time is the wall clock's, which people set.
    WallClock,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 8] = [
        Planted::SkipFolderSync,
        Planted::PromiseBeforeSync,
        Planted::AcceptStale,
        Planted::ForgetRequeue,
        Planted::LoseRelease,
        Planted::ReuseId,
        Planted::ForgetOutdone,
        Planted::WallClock,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Planted::SkipFolderSync => "skip-folder-sync",
            Planted::PromiseBeforeSync => "promise-before-sync",
            Planted::AcceptStale => "accept-stale",
            Planted::ForgetRequeue => "forget-requeue",
            Planted::LoseRelease => "lose-release",
            Planted::ReuseId => "reuse-id",
            Planted::ForgetOutdone => "forget-outdone",
            Planted::WallClock => "wall-clock",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Planted> {
        Planted::ALL.into_iter().find(|planted| planted.name() == name)
    }
}
