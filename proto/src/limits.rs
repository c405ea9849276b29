//! Every limit of the wire, with its unit and why it is what it is.
//!
//! Owns numbers only. A limit that only one side needs lives with that side.

/// Default TCP port of the protocol.
pub const PORT: u16 = 6789;
/// Default TCP port of the hub's read-only HTTP service.
pub const HTTP_PORT: u16 = 6780;

/// Smallest encrypted record, bytes: one byte of message and the 16-byte tag.
pub const RECORD_BYTES_MIN: usize = 17;
/// Largest encrypted record, bytes: half of what Noise allows, so that a board's two buffers stay small.
pub const RECORD_BYTES_MAX: usize = 32_768;
/// Bytes the AEAD adds to a record.
pub const TAG_BYTES: usize = 16;
/// Largest message inside a record, bytes.
pub const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX - TAG_BYTES;
/// Largest piece of a file or log in one message, bytes: leaves 240 for the fields around it.
pub const CHUNK_BYTES_MAX: usize = 32_512;

/// How far an upload may run ahead of the hub's last `Ack`, bytes: fills 100 Mbit/s at 20 ms.
pub const UPLOAD_WINDOW_BYTES: u64 = 256 * 1024;
/// Most that one `Fetch` may ask for, bytes; the builder keeps one such piece outstanding.
pub const FETCH_BYTES_MAX: u32 = 256 * 1024;

/// Longest file name, bytes (NAME_MAX of Linux file systems).
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// Longest line of evidence, path, option or host name, bytes: a terminal page of one log line.
pub const LINE_BYTES_MAX: usize = 1_024;

/// Most leases that one builder may report after a reconnect: one build and a few spools.
pub const HELD_MAX: u8 = 16;
/// Most lines of evidence with one result.
pub const EVIDENCE_MAX: u16 = 64;
/// Most mock options with one job.
pub const OPTIONS_MAX: u8 = 32;
/// Most repositories named in `Registered`.
pub const REPOS_MAX: u8 = 8;
/// Most files in one result on the wire; the hub's own limit may be lower.
pub const FILES_MAX: u32 = 16_384;

/// Rows of an answer that the hub sends an operator unasked; pieces of logs make that 2 MiB at most.
pub const OPERATOR_ROWS: u16 = 64;
/// Rows that an operator may grant beyond those that are on their way.
pub const OPERATOR_ROWS_MAX: u32 = 1_024;
/// Most words with one change.
pub const WORDS_MAX: u8 = 64;

/// How often a builder says `Ping`, milliseconds.
pub const PING_EVERY_MS: u64 = 20_000;
/// Silence after which either side takes the connection for dead, milliseconds.
pub const SILENCE_MAX_MS: u64 = 60_000;
/// Time for a handshake from the first byte to the last, milliseconds.
pub const HANDSHAKE_MAX_MS: u64 = 20_000;
/// Time a record may stay half received, milliseconds.
pub const PARTIAL_RECORD_MAX_MS: u64 = 30_000;
/// How far a builder's clock may be off the hub's before it takes no work, seconds: five minutes. Beyond that, what a
/// build stamps and checks (certificates, metadata that is not yet valid, files from the future) goes wrong.
pub const CLOCK_SKEW_MAX_S: u32 = 300;
