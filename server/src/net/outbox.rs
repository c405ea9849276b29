//! What waits to be written to one peer.
//!
//! Owns two lanes of messages and a little ciphertext. Messages are sealed when the socket takes
//! them and not before, control always first: however much bulk waits, a `Pong` waits for at most
//! [`SEALED_BYTES`] of it. Within a lane the order is kept. Never touches a socket.

use std::collections::VecDeque;

use moji_proto::channel::{Channel, ChannelError};
use moji_proto::message::{Message as _, ToBuilder, ToOperator};

/// Ciphertext made at a time, bytes: two large records, so that a system call moves enough and a
/// transfer delays control messages by no more than that.
const SEALED_BYTES: usize = 64 * 1024;
/// A ciphertext buffer is kept when it is no larger than this, bytes: room for a few pongs, so that
/// an idle session keeps nothing.
const SEALED_BYTES_KEPT: usize = 256;
/// Control messages that may wait for a peer that does not read: a job with all options, an answer
/// for each held lease, an `Ack` for each piece of every window come to a tenth of it.
pub(super) const CONTROL_MESSAGES_MAX: usize = 4_096;
/// Pieces that may wait in the bulk lane, each up to 32 KiB: 16 leases with a whole fetch of 256 KiB
/// each come to 144; the rest is slack for smaller pieces.
pub(super) const BULK_MESSAGES_MAX: usize = 1_024;

/// A message to either kind of peer.
#[derive(Debug)]
pub(super) enum Outgoing {
    Builder(ToBuilder),
    Operator(ToOperator),
}

/// The peer does not read: a lane is full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// The lanes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    control: VecDeque<Outgoing>,
    bulk: VecDeque<Outgoing>,
    /// Ciphertext, or plain bytes of the handshake.
    sealed: Vec<u8>,
    /// How much of it is written.
    written: usize,
}

impl Outbox {
    /// Queues a message in its lane.
    pub(super) fn push(&mut self, message: Outgoing) -> Result<(), Overflow> {
        let (lane, limit) = match message {
            Outgoing::Builder(ToBuilder::Data { .. }) => (&mut self.bulk, BULK_MESSAGES_MAX),
            _ => (&mut self.control, CONTROL_MESSAGES_MAX),
        };
        if lane.len() >= limit {
            return Err(Overflow);
        }
        lane.push_back(message);
        Ok(())
    }

    /// Queues the last message: no bulk goes before it, and no limit is left to keep.
    pub(super) fn push_last(&mut self, message: Outgoing) {
        self.bulk = VecDeque::new();
        self.control.push_back(message);
    }

    /// Drops what is not sealed: the channel is over.
    pub(super) fn drop_unsealed(&mut self) {
        self.control = VecDeque::new();
        self.bulk = VecDeque::new();
    }

    /// Where bytes go that are not messages: the handshake's, and refusals.
    pub(super) fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.sealed
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.written == self.sealed.len() && self.control.is_empty() && self.bulk.is_empty()
    }

    /// The next bytes to write; empty if nothing waits. `scratch` is overwritten.
    pub(super) fn next_bytes(
        &mut self,
        channel: &mut Channel,
        scratch: &mut Vec<u8>,
    ) -> Result<&[u8], ChannelError> {
        if self.written == self.sealed.len() {
            self.written = 0;
            self.sealed.clear();
            while self.sealed.len() < SEALED_BYTES
                && let Some(message) = self.control.pop_front().or_else(|| self.bulk.pop_front())
            {
                scratch.clear();
                match &message {
                    Outgoing::Builder(message) => message.encode(scratch),
                    Outgoing::Operator(message) => message.encode(scratch),
                }
                channel.seal(scratch, &mut self.sealed)?;
            }
            if self.sealed.is_empty() {
                self.shrink();
            }
        }
        Ok(&self.sealed[self.written..])
    }

    /// So many of the bytes are written.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written += count;
        debug_assert!(self.written <= self.sealed.len(), "no more is written than there is");
    }

    fn shrink(&mut self) {
        if self.sealed.capacity() > SEALED_BYTES_KEPT {
            self.sealed = Vec::new();
        }
        for lane in [&mut self.control, &mut self.bulk] {
            if lane.capacity() > 4 {
                *lane = VecDeque::new();
            }
        }
    }
}

#[cfg(test)]
impl Outbox {
    /// Bytes of memory it keeps.
    pub(super) fn kept_bytes(&self) -> usize {
        self.sealed.capacity() + (self.control.capacity() + self.bulk.capacity()) * size_of::<Outgoing>()
    }
}
