//! The secure channel: a Noise handshake and encrypted records, without any I/O.
//!
//! Owns bytes in and bytes out of one connection. Never reads a socket or a clock, and never
//! allocates for a length before it has checked it.

