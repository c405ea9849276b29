//! The desk's thread.
//!
//! Owns carrying out the desk's effects. Decides nothing.

use std::thread::JoinHandle;

use crossbeam_channel::Receiver;

use super::{Peers, run, spawn, tell};
use crate::clock::Clock;
use crate::core::desk::{Desk, Effect, Msg};

/// Starts the desk. It ends when `stop`'s senders are gone.
///
/// # Panics
/// If the system has no thread left.
pub fn start(
    core: Desk,
    inbox: Receiver<Msg>,
    stop: Receiver<()>,
    clock: impl Clock + 'static,
    peers: Peers,
) -> JoinHandle<()> {
    spawn("desk", move || run(core, &inbox, &stop, &clock, |effect| carry_out(&peers, effect)))
}

fn carry_out(peers: &Peers, effect: Effect) {
    match effect {
        Effect::Send(session, msg) => peers.net.answer(session, msg),
        Effect::Consumed(session, bytes) => peers.net.consumed(session, bytes),
        Effect::Close(session, code) => peers.net.close(session, code),
        Effect::Queue(msg) => tell(&peers.queue, msg),
        Effect::Repo(msg) => tell(&peers.repo, msg),
        Effect::Work { .. } | Effect::History(_) | Effect::Hook(_) => {}
        Effect::Log(level, text) => log::log!(level, "{text}"),
    }
}
