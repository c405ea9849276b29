//! The repo actor: one thread for the core, and three that work for it.
//!
//! Owns the queues between them. The fast thread publishes recent and nothing else, so that no merge, no complete
//! index and no RPM that must be read first ever delays a publication; each queue holds at most one order. Decides
//! nothing.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{Peers, run, spawn, tell};
use crate::clock::Clock;
use crate::core::repo::{Effect, Msg, Path, Repo};
use crate::index::reading::Reader;
use crate::index::work::{Fast, FastOrder, Order, Slow, SlowOrder};

/// What works for the core.
pub struct Workers {
    /// Publishes recent.
    pub fast: Fast,
    /// Does what takes long.
    pub slow: Slow,
    /// Reads RPMs.
    pub reader: Arc<Reader>,
}

/// To the threads.
struct Orders {
    fast: Sender<FastOrder>,
    slow: Sender<SlowOrder>,
    read: Sender<Vec<Path>>,
}

/// Starts the actor. It ends when `stop`'s senders are gone, after what is being written; nothing more is read.
///
/// # Panics
/// If the system has no thread left.
pub fn start(
    core: Repo,
    workers: Workers,
    clock: Arc<dyn Clock>,
    peers: Peers,
    inbox: Receiver<Msg>,
    stop: Receiver<()>,
) -> JoinHandle<()> {
    spawn("repo", move || {
        let Workers { mut fast, mut slow, reader } = workers;
        let (fast_orders, for_fast) = unbounded();
        let (slow_orders, for_slow) = unbounded();
        let (read_orders, for_reader) = unbounded();
        let threads = [
            serve("recent", for_fast, peers.repo.clone(), move |order| fast.run(order)),
            serve("index", for_slow, peers.repo.clone(), move |order| slow.run(order)),
            {
                let reader = reader.clone();
                serve("reader", for_reader, peers.repo.clone(), move |paths| Msg::Read(reader.read(paths)))
            },
        ];
        let orders = Orders { fast: fast_orders, slow: slow_orders, read: read_orders };
        run(core, &inbox, &stop, &*clock, |effect| carry_out(&peers, &orders, effect));
        reader.stop();
        drop(orders);
        for thread in threads {
            thread.join().expect("the index threads do not panic");
        }
    })
}

/// Starts a thread that carries out orders and says what came of each.
fn serve<O: Send + 'static>(
    name: &str,
    orders: Receiver<O>,
    done: Sender<Msg>,
    mut run: impl FnMut(O) -> Msg + Send + 'static,
) -> JoinHandle<()> {
    spawn(name, move || orders.into_iter().for_each(|order| tell(&done, run(order))))
}

fn carry_out(peers: &Peers, orders: &Orders, effect: Effect) {
    match Order::of(effect) {
        Ok(Order::Fast(order)) => tell(&orders.fast, order),
        Ok(Order::Slow(order)) => tell(&orders.slow, order),
        Ok(Order::Read(paths)) => tell(&orders.read, paths),
        Err(effect) => match *effect {
            Effect::Queue(msg) => tell(&peers.queue, msg),
            Effect::Desk(msg) => tell(&peers.desk, msg),
            Effect::Log(level, text) => log::log!(level, "{text}"),
            order => unreachable!("{order:?} is an order"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::{queue, repo};
    use crate::index::reading::{ReadConfig, THREADS};
    use crate::index::{Config, Layout, Recent};
    use crate::repodata::Compression;
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
        let clock: Arc<dyn Clock> = Arc::new(crate::clock::Real::default());
        let disk = Arc::new(TestDisk(Faults::none()));
        let layout = Layout { repo: folders.repo.clone(), index: folders.state.join("index") };
        let config = Config::default();
        let read = ReadConfig { compression: Compression::Gzip, threads: THREADS };
        let reader = Arc::new(Reader::new(disk.clone(), clock.clone(), layout.clone(), read));
        let recent = Recent::new(disk.clone(), clock.clone(), layout.clone(), config.clone());
        let fast = Fast::new(recent, reader.clone());
        let slow = Slow::new(disk, clock.clone(), layout, config, reader.clone());
        let core = Repo::new(Vec::new(), repo::Config::default());
        let to_repo = peers.repo.clone();
        let actor = start(core, Workers { fast, slow, reader }, clock, peers, inboxes.repo, stopped);
        let told = inboxes.queue.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(matches!(told, queue::Msg::Published(_)), "{told:?}");
        assert!(folders.state.join("index/recent/repodata/repomd.xml").exists());
        tell(&to_repo, Msg::AllSeen);
        drop((stop, to_repo));
        actor.join().unwrap();
    }
}
