//! The transfers actor: one thread for the core, a few for the file work.
//!
//! Owns the queue between them. It has no bound of its own: of each lease at most one operation is
//! under way. Decides nothing.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};
use moji_proto::LeaseId;

use super::{Peers, run, spawn, tell};
use crate::clock::Clock;
use crate::core::transfers::{Effect, Msg, Op, Transfers};
use crate::stage::Worker;

/// Worker threads: enough that a large file being hashed does not hold up small ones, few enough that
/// a slow disk is not made slower.
const WORKERS: usize = 4;

/// Starts the actor and its workers. They end when `stop`'s senders are gone, after the operations that
/// are under way.
///
/// # Panics
/// If the system has no thread left.
pub fn start(
    core: Transfers,
    worker: Arc<Worker>,
    clock: Arc<dyn Clock>,
    peers: Peers,
    inbox: Receiver<Msg>,
    stop: Receiver<()>,
) -> JoinHandle<()> {
    spawn("transfers", move || {
        let (ops, work) = unbounded();
        let workers: Vec<JoinHandle<()>> = (1..=WORKERS)
            .map(|number| {
                let (worker, work, done) = (worker.clone(), work.clone(), peers.transfers.clone());
                spawn(&format!("files-{number}"), move || serve(&worker, &work, &done))
            })
            .collect();
        run(core, &inbox, &stop, &*clock, |effect| carry_out(&peers, &ops, &worker, effect));
        drop(ops);
        for worker in workers {
            worker.join().expect("a worker does not panic");
        }
    })
}

fn serve(worker: &Worker, work: &Receiver<(LeaseId, Op)>, done: &Sender<Msg>) {
    for (lease, op) in work {
        tell(done, Msg::Done { lease, done: worker.run(lease, op) });
    }
}

fn carry_out(peers: &Peers, ops: &Sender<(LeaseId, Op)>, worker: &Worker, effect: Effect) {
    match effect {
        Effect::Io { lease, op } => tell(ops, (lease, op)),
        Effect::Send(session, msg) => peers.net.send(session, msg),
        Effect::Consumed(session, bytes) => peers.net.consumed(session, bytes),
        Effect::Close(session, code) => peers.net.close(session, code),
        Effect::EndThin(lease) => worker.end_thin(lease),
        Effect::Leases(msg) => tell(&peers.leases, msg),
        Effect::Queue(msg) => tell(&peers.queue, msg),
        Effect::Desk(msg) => tell(&peers.desk, msg),
        Effect::Repo(msg) => tell(&peers.repo, msg),
        Effect::Log(level, text) => log::log!(level, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use moji_proto::FileName;

    use super::*;
    use crate::core::leases;
    use crate::core::types::SessionId;
    use crate::stage::testdisk::{Faults, TestDisk, folders};

    #[test]
    fn operations_come_back_to_the_core_and_everything_ends_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let (net, _commands) = crate::net::Handle::new(waker);
        let (peers, inboxes) = super::super::channels(net);
        let (stop, stopped) = unbounded();
        let clock = Arc::new(crate::clock::Real::default());
        let disk = Arc::new(TestDisk(Faults::none()));
        let worker = Arc::new(Worker::new(disk, clock.clone(), folders(dir.path())));
        let core = Transfers::new(Default::default());
        let actor = start(core, worker, clock, peers.clone(), inboxes.transfers, stopped);
        let lease = LeaseId { incarnation: 1, counter: 1 };
        let session = SessionId(1);
        let (srpm, builder) = (FileName::new("a.src.rpm").unwrap(), crate::stage::testdisk::info());
        tell(
            &peers.transfers,
            Msg::Open { lease, session, builder, srpm, options: Vec::new(), limits: Default::default() },
        );
        let told = inboxes.leases.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(matches!(told, leases::Msg::Unfit { .. }), "{told:?}");
        drop(stop);
        actor.join().unwrap();
    }
}
