//! The repo actor: one thread for the core, one that makes indexes.
//!
//! Owns the queue between them, which holds at most one index and one sweep. Decides nothing.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{Peers, run, spawn, tell};
use crate::clock::Clock;
use crate::core::repo::{Effect, Msg, Repo};
use crate::index::Indexer;

/// What the second thread is asked for.
enum Order {
    Publish(Vec<String>),
    Sweep,
}

/// Starts the actor. It ends when `stop`'s senders are gone, after an index that is being made.
///
/// # Panics
/// If the system has no thread left.
pub fn start(
    core: Repo,
    mut indexer: Indexer,
    clock: Arc<dyn Clock>,
    peers: Peers,
    inbox: Receiver<Msg>,
    stop: Receiver<()>,
) -> JoinHandle<()> {
    spawn("repo", move || {
        let (orders, work) = unbounded();
        let done = peers.repo.clone();
        let maker = spawn("index", move || serve(&mut indexer, &work, &done));
        run(core, &inbox, &stop, &*clock, |effect| carry_out(&peers, &orders, effect));
        drop(orders);
        maker.join().expect("the index thread does not panic");
    })
}

fn serve(indexer: &mut Indexer, work: &Receiver<Order>, done: &Sender<Msg>) {
    for order in work {
        match order {
            Order::Publish(paths) => {
                let made = indexer.publish(&paths).map_err(|error| error.to_string());
                tell(done, Msg::Indexed(made));
            }
            Order::Sweep => {
                if let Err(error) = indexer.sweep() {
                    log::warn!("failed to delete superseded files of the index: {error}");
                }
            }
        }
    }
}

fn carry_out(peers: &Peers, orders: &Sender<Order>, effect: Effect) {
    match effect {
        Effect::Index(paths) => tell(orders, Order::Publish(paths)),
        Effect::Sweep => tell(orders, Order::Sweep),
        Effect::Queue(msg) => tell(&peers.queue, msg),
        Effect::Desk(msg) => tell(&peers.desk, msg),
        Effect::Log(level, text) => log::log!(level, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::queue;
    use crate::index::Createrepo;
    use crate::stage::testdisk::{Faults, TestDisk, folders};

    #[test]
    fn first_index_is_made_without_being_asked_for_and_the_queue_hears_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let (net, _commands) = crate::net::Handle::new(waker);
        let (peers, inboxes) = super::super::channels(net);
        let (stop, stopped) = unbounded();
        let clock = Arc::new(crate::clock::Real::default());
        let disk = Arc::new(TestDisk(Faults::none()));
        let work = folders.state.join("index");
        let program = Box::new(Createrepo::default());
        let indexer = Indexer::new(disk, clock.clone(), program, folders.repo.clone(), work);
        let actor = start(Repo::new(Vec::new()), indexer, clock, peers, inboxes.repo, stopped);
        let told = inboxes.queue.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(matches!(told, queue::Msg::Published), "{told:?}");
        assert!(folders.repo.join("repodata/repomd.xml").exists());
        drop(stop);
        actor.join().unwrap();
    }
}
