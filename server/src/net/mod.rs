//! The reactor: sockets, handshakes, records.
//!
//! Owns every socket of the protocol port. Decrypts, decodes, checks the order of messages, answers
//! pings, and hands messages on; seals and writes what actors send. Never touches a file, never
//! waits for an actor.
//!
//! | file | owns |
//! |---|---|
//! | `reactor` | the loop: sockets, events, commands, the settling step |
//! | `reactor/door` | a connection's way from accept to being known to leases |
//! | `session` | one connection without its socket: bytes in, facts out |
//! | `outbox` | what waits to be written to one peer, in two lanes |
//! | `admission`, `clones` | who may connect |
//! | `listen` | the port, descriptors |
//! | `deadlines` | when which session must be looked at |
//! | `handle` | how actors reach the reactor |
//!
//! At start: [`wire`] makes the handle that [`crate::actors::channels`] needs, [`listen`] opens the
//! port, [`Reactor::new`] takes both, and [`Reactor::run`] is the body of a thread. [`session`] is public for
//! the simulator, which has a network of its own.

mod admission;
mod clones;
mod deadlines;
mod handle;
mod listen;
mod outbox;
mod reactor;
pub mod session;

pub use handle::{Command, Handle, Inbox, wire};
pub use listen::listen;
pub use reactor::{Config, PENDING_MAX, Reactor, Secrets};
pub use session::Clocks;

/// How much of a session's messages may wait in actors before its socket is no longer read, bytes:
/// four upload windows, so that it only ever binds when the disk is slower than the network.
pub const SESSION_BACKLOG_BYTES: u32 = 1024 * 1024;
