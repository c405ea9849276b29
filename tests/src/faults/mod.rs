//! Hurting a farm on purpose, and counting what came of it.
//!
//! Owns the tools of the fault suites: the table's rows ([`Tally`]) and, in a file each, the ways to hurt. A tool must
//! never decide by itself that something was well: a suite says so, case by case.

pub mod birth;
pub mod calls;
mod cutter;
mod disk;
mod tally;

pub use cutter::{Cutter, Traced};
pub use disk::{Kind, LoopDisk};
pub use tally::{Row, Tally, rows};
