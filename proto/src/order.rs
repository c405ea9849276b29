//! Who may say what when: one table of state and message, default deny.
//!
//! Owns the order of a builder's session as the hub enforces it. Knows no leases: whether a lease
//! is the builder's own is for the hub's actors to say.

