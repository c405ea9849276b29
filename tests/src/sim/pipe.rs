//! One direction of a connection.
//!
//! Owns bytes on their way: they arrive in order, cut anywhere, later, or never.

use std::collections::VecDeque;

use super::dice::Dice;
use super::options::Network;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Pieces on their way, and when each arrives, milliseconds.
    flying: VecDeque<(u64, Vec<u8>)>,
    /// Arrived and not read.
    ready: Vec<u8>,
    /// Bytes on their way or not read.
    held: usize,
    /// When the last piece arrives.
    last_ms: u64,
    /// Whatever is written vanishes.
    hole: bool,
}

impl Pipe {
    /// Takes as many bytes as fit; says how many, and when pieces arrive.
    pub(super) fn write(
        &mut self,
        now_ms: u64,
        bytes: &[u8],
        net: &Network,
        dice: &mut Dice,
    ) -> (usize, Vec<u64>) {
        let room = net.buffer_bytes.saturating_sub(self.held);
        let taken = bytes.len().min(room);
        if self.hole {
            // The kernel takes bytes for a while even if nobody gets them.
            self.held += taken;
            return (taken, Vec::new());
        }
        let mut times = Vec::new();
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            let count =
                if dice.chance(net.split) { dice.within(1, rest.len() as u64) as usize } else { rest.len() };
            let (piece, more) = rest.split_at(count);
            let at = (now_ms + dice.within(net.latency_ms.0, net.latency_ms.1)).max(self.last_ms);
            self.last_ms = at;
            self.flying.push_back((at, piece.to_vec()));
            if times.last() != Some(&at) {
                times.push(at);
            }
            rest = more;
        }
        self.held += taken;
        (taken, times)
    }

    /// What has arrived by now and was not read, to be taken out from its front.
    pub(super) fn arrived(&mut self, now_ms: u64) -> &[u8] {
        while !self.hole && self.flying.front().is_some_and(|(at, _)| *at <= now_ms) {
            if let Some((_, piece)) = self.flying.pop_front() {
                self.ready.extend(piece);
            }
        }
        &self.ready
    }

    /// So many of them were read.
    pub(super) fn read(&mut self, count: usize) {
        self.ready.drain(..count);
        self.held -= count;
    }

    /// When the last of what was written arrives.
    #[must_use]
    pub(super) fn last_ms(&self) -> u64 {
        self.last_ms
    }

    /// From now on whatever is written, and what is on its way, vanishes.
    pub(super) fn open_hole(&mut self) {
        self.hole = true;
        self.flying.clear();
    }

    /// Whether whatever is written vanishes.
    #[must_use]
    pub(super) fn is_hole(&self) -> bool {
        self.hole
    }
}
