//! The first bytes in each direction: role and protocol versions. Frozen.
//!
//! Owns `Hello` (16 plain bytes, the prologue of the Noise handshake), `Welcome` (16 bytes, the
//! payload of the second Noise message) and the choice of a version. Must never change again:
//! whatever changes later, an old peer still reads these and learns that it is too old.

