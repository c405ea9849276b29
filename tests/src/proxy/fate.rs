//! What can become of one connection.
//!
//! Owns the faults' names and meanings. Must never do anything: the pumps do it.

use std::fmt;
use std::time::Duration;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a builder to the hub.
    ToHub,
    /// From the hub to a builder.
    ToBuilder,
}

impl Direction {
    /// Both.
    pub const BOTH: [Direction; 2] = [Direction::ToHub, Direction::ToBuilder];
}

/// A fault that strikes a connection once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ends for both sides, as by a process that died.
    Cut,
    /// Both sides get a reset.
    Reset,
    /// This bit (0 to 7) of the next byte comes out the other way.
    Flip(u8),
    /// From the next byte on nothing comes through any more in this direction, not even the end, and nobody is told. A
    /// reset after so long, if ever.
    HalfOpen(Option<Duration>),
    /// The same in both directions.
    BlackHole(Option<Duration>),
    /// It ends for the builder; what the builder had sent, from the next byte on, reaches the hub when a later connection
    /// has sent so many bytes. Towards the builder, this is a cut.
    Late(u64),
}

impl Fault {
    /// A word for the counts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Cut => "cut",
            Fault::Reset => "reset",
            Fault::Flip(_) => "flip",
            Fault::HalfOpen(_) => "half-open",
            Fault::BlackHole(_) => "black hole",
            Fault::Late(_) => "late",
        }
    }
}

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// The direction that is struck.
    pub way: Direction,
    /// Before the byte that this connection carries there after so many.
    pub after: u64,
    /// What happens.
    pub fault: Fault,
}

/// What becomes of a connection; by default it is left in peace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate {
    /// Every chunk waits at least so long.
    pub delay: Duration,
    /// And up to so much longer, each as chance will have it; chunks stay in order.
    pub jitter: Duration,
    /// Most bytes that are written at once; 0: as they came.
    pub piece: usize,
    /// Nothing passes until a later connection has sent so many bytes, or this one has waited ten seconds.
    pub after_next: Option<u64>,
    /// What strikes it.
    pub strike: Option<Strike>,
}

/// Decides what becomes of each connection: called with its number, counted from 1, as it is accepted.
pub(super) struct Script(pub(super) Box<dyn FnMut(usize) -> Fate + Send>);

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}
