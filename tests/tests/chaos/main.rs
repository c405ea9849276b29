//! Chaos: every way in which a network can fail, at random and one at a time, while packages are built.
//!
//! Owns what the scenarios have in common. What a cut costs at each byte is for `connections.rs`; here many faults meet
//! many builders, and nothing may be lost, doubled or changed.

mod killed_mock;
mod links;
mod load;
#[path = "../pieces/mod.rs"]
mod pieces;
mod sessions;
mod single;
