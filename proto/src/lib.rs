//! moji's wire: what hub, builder and operator's command say to each other on TCP 6789.
//!
//! Owns ids, limits, messages, the handshake, records and who may say what when; and what all programs tell people in the
//! same words (`human`). Knows nothing of files, sockets, clocks or policy: bytes go in, messages come out.
//!
//! | version | what changed |
//! |---|---|
//! | 1 | the first |
//! | 2 | `Job` says when to end the build, `Results` how long it was silent and whether it was ended |

pub mod bytes;
pub mod channel;
mod curve;
pub mod hello;
pub mod human;
pub mod ids;
pub mod limits;
pub mod message;
pub mod order;
pub mod refusal;
pub mod secret;
pub mod text;
pub mod time;

pub use bytes::Bytes;
pub use ids::{Digest, Hasher, LeaseId, PublicKey};
pub use text::{FileName, Line};
pub use time::Time;
