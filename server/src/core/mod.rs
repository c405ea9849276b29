//! The hub's decisions, as pure state machines.
//!
//! A core is `handle(&mut self, now, msg, &mut out)` and `deadline()`. It has no I/O, clock, thread,
//! channel, randomness or unordered map; clippy enforces that here. A time-out is a message too
//! (`Tick`). What a core wants done it says as an effect; what came of it comes back as a message,
//! and only then does the core promise anything to anybody.
//!
//! How a package travels, and who says what to whom:
//!
//! ```text
//!  watch ──Appeared──▶ queue ──Claim──▶ leases ── journal, sync, rename, fsync ──┐
//!                        ▲                 ▲                                     │
//!                        │                 │◀── Moved ───────────────────────────┘
//!                     Granted              ├──Open──▶ transfers ── hash ── Job ─▶ builder
//!                        │                 │                          Results ◀── builder
//!                        │                 │◀─Sealing─ transfers (all files whole and verified)
//!                      Judge ◀─────────────┤           the lease can no longer expire
//!                        └──Ruling──────────────────▶ transfers ── commit point: rename, fsync
//!                                          │◀─Settled─ transfers ── Accepted ──▶ builder
//!                      Ended ◀─────────────┘           └──Published──▶ repo ──▶ queue
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use moji_proto::Time;

pub mod capabilities;
pub mod desk;
pub mod intake;
pub mod leases;
pub mod queue;
pub mod repo;
pub mod transfers;
pub mod types;
pub mod view;

/// A pure state machine that an actor runs.
pub trait Core {
    /// What it is told.
    type Msg;
    /// What it wants done.
    type Effect;
    /// Takes one message.
    fn handle(&mut self, now: Time, msg: Self::Msg, out: &mut Vec<Self::Effect>);
    /// When it wants a `Tick`, if ever.
    fn deadline(&self) -> Option<Time>;
    /// The message that says that time passed.
    fn tick() -> Self::Msg;
}
