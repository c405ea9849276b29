//! The queue's thread.
//!
//! Owns carrying out the queue's effects, and the look at free space before each message, at most once
//! a second. Decides nothing.

use std::io;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;
use moji_proto::Time;

use super::{Peers, Woken, spawn, tell, wait};
use crate::clock::Clock;
use crate::core::queue::{Effect, Msg, Queue};

/// Free space is looked at so often at most, milliseconds: a result takes longer to arrive.
const SPACE_EVERY_MS: u64 = 1_000;

/// Starts the queue. `space` tells how much is free on the folders' file system and how much must stay free,
/// bytes. Ends when `stop`'s senders are gone.
///
/// # Panics
/// If the system has no thread left.
pub fn start(
    core: Queue,
    inbox: Receiver<Msg>,
    stop: Receiver<()>,
    clock: impl Clock + 'static,
    peers: Peers,
    space: impl Fn() -> io::Result<(u64, u64)> + Send + 'static,
) -> JoinHandle<()> {
    spawn("queue", move || {
        Shell { core, peers, looked: None, out: Vec::new() }.run(&inbox, &stop, &clock, &space)
    })
}

struct Shell {
    core: Queue,
    peers: Peers,
    /// When free space was looked at last.
    looked: Option<Time>,
    out: Vec<Effect>,
}

impl Shell {
    fn run(
        mut self,
        inbox: &Receiver<Msg>,
        stop: &Receiver<()>,
        clock: &dyn Clock,
        space: &dyn Fn() -> io::Result<(u64, u64)>,
    ) {
        loop {
            let msg = match wait(inbox, stop, clock, self.core.deadline()) {
                Woken::Msg(msg) => msg,
                Woken::Tick => Msg::Tick,
                Woken::Stop => return,
            };
            let now = clock.now();
            if self.looked.is_none_or(|at| now.since_ms(at) >= SPACE_EVERY_MS) {
                self.looked = Some(now);
                self.look(now, space);
            }
            self.handle(now, msg);
        }
    }

    fn look(&mut self, now: Time, space: &dyn Fn() -> io::Result<(u64, u64)>) {
        match space() {
            Ok((free_bytes, floor_bytes)) => self.handle(now, Msg::Space { free_bytes, floor_bytes }),
            Err(error) => log::warn!("failed to learn how much space is free: {error}"),
        }
    }

    fn handle(&mut self, now: Time, msg: Msg) {
        self.core.handle(now, msg, &mut self.out);
        for effect in self.out.drain(..) {
            match effect {
                Effect::Leases(msg) => tell(&self.peers.leases, msg),
                Effect::Transfers(msg) => tell(&self.peers.transfers, msg),
                Effect::Repo(msg) => tell(&self.peers.repo, msg),
                Effect::Send(session, msg) => self.peers.net.send(session, msg),
                Effect::Desk(msg) => tell(&self.peers.desk, msg),
                Effect::History(note) => tell(&self.peers.history, note),
                Effect::Log(level, text) => log::log!(level, "{text}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use crossbeam_channel::bounded;
    use moji_proto::{FileName, LeaseId, PublicKey};

    use super::super::channels;
    use super::*;
    use crate::core::queue::{Config, Note};
    use crate::{clock, net};

    #[test]
    fn effects_reach_those_they_are_for_and_the_thread_ends_with_the_hub() {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (net, _commands) = net::Handle::new(Arc::new(waker));
        let (peers, inboxes) = channels(net);
        let (stop, stopped) = bounded(0);
        let config = Config {
            attempts: 5,
            confirm_failures: 1,
            duplicate_last: false,
            retry_pause_ms: 1,
            limits: Default::default(),
            rebuild_dependents: false,
            target: None,
            started: Time(0),
        };
        let core = Queue::new(config);
        let queue = peers.queue.clone();
        let thread =
            start(core, inboxes.queue, stopped, clock::Real::default(), peers, || Ok((1 << 40, 1 << 41)));
        let lease = LeaseId { incarnation: 1, counter: 1 };
        let srpm = FileName::new("a-1-1.src.rpm").unwrap();
        tell(&queue, Msg::Granted { srpm, lease, builder: PublicKey([1; 32]), beside: false });
        let note = inboxes.history.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(note, Note::Began { lease: began, .. } if began == lease));
        drop(stop);
        thread.join().unwrap();
    }
}
