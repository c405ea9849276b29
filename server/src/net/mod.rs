//! The reactor: sockets, handshakes, records.
//!
//! Owns every socket of the protocol port. Decrypts, decodes, checks the order of messages, answers
//! pings, and hands messages on; seals and writes what actors send. Never touches a file, never
//! waits for an actor.

mod handle;

pub use handle::{Command, Handle};

/// How much of a session's messages may wait in actors before its socket is no longer read, bytes:
/// four upload windows, so that it only ever binds when the disk is slower than the network.
pub const SESSION_BACKLOG_BYTES: u32 = 1024 * 1024;
