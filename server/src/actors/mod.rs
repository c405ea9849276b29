//! A thread for each core.
//!
//! Owns the channels between actors and the loop they all run: receive one thing, handle it, run
//! all effects in order, wait again. Decides nothing.
//!
//! All channels, each with what bounds it and what happens when it is full. None is bounded by a
//! number of its own, because actors send to each other in a circle (see [`crate::core`]) and a full
//! channel in a circle is a deadlock; each is bounded by what feeds it:
//!
//! | to | from | bounded by |
//! |---|---|---|
//! | leases | reactor | sessions: a session that has [`crate::net::SESSION_BACKLOG_BYTES`] unhandled is not read |
//! | leases | queue, transfers, watch | live leases, files in the folders |
//! | transfers | reactor | as leases |
//! | transfers | leases, queue, workers | live leases; a session's pieces as above |
//! | desk | reactor, queue, transfers, repo, workers, web | operators' requests, which run one at a time a session; live logs as above |
//! | queue | leases, watch, repo, desk | builders, live leases, files in the folders |
//! | repo | transfers | results committed while one index is made |
//! | reactor | all | Data by what builders fetched (256 KiB a lease), the rest by what they said |
//! | web | desk | rows by the credit of each page, glances by who waits for one |
//! | history | queue, desk | attempts and events; SQLite takes thousands a second |

pub mod desk;
pub mod leases;
pub mod queue;
pub mod repo;
pub mod transfers;

use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, never, select, unbounded};
use moji_proto::Time;

use crate::clock::Clock;
use crate::core::{self, Core};
use crate::net;
use crate::web::Bridge;

/// Niceness of threads that do what nobody waits for.
const BEHIND: i32 = 10;

/// How actors reach each other.
#[derive(Clone)]
pub struct Peers {
    /// To leases.
    pub leases: Sender<core::leases::Msg>,
    /// To the queue.
    pub queue: Sender<core::queue::Msg>,
    /// To transfers.
    pub transfers: Sender<core::transfers::Msg>,
    /// To repo.
    pub repo: Sender<core::repo::Msg>,
    /// To the desk.
    pub desk: Sender<core::desk::Msg>,
    /// To the history.
    pub history: Sender<core::queue::Note>,
    /// To builders.
    pub net: net::Handle,
    /// To the pages that are open.
    pub web: Bridge,
}

/// The other ends of [`Peers`].
pub struct Inboxes {
    /// Of leases.
    pub leases: Receiver<core::leases::Msg>,
    /// Of the queue.
    pub queue: Receiver<core::queue::Msg>,
    /// Of transfers.
    pub transfers: Receiver<core::transfers::Msg>,
    /// Of repo.
    pub repo: Receiver<core::repo::Msg>,
    /// Of the desk.
    pub desk: Receiver<core::desk::Msg>,
    /// Of the history.
    pub history: Receiver<core::queue::Note>,
}

/// Makes all channels; `net` reaches the reactor.
#[must_use]
pub fn channels(net: net::Handle) -> (Peers, Inboxes) {
    let (leases, leases_in) = unbounded();
    let (queue, queue_in) = unbounded();
    let (transfers, transfers_in) = unbounded();
    let (repo, repo_in) = unbounded();
    let (desk, desk_in) = unbounded();
    let (history, history_in) = unbounded();
    (
        Peers { leases, queue, transfers, repo, desk, history, net, web: Bridge::default() },
        Inboxes {
            leases: leases_in,
            queue: queue_in,
            transfers: transfers_in,
            repo: repo_in,
            desk: desk_in,
            history: history_in,
        },
    )
}

/// Says `msg`. A receiver that is gone means that the hub shuts down; there is nobody left to tell.
pub fn tell<M>(to: &Sender<M>, msg: M) {
    let _ = to.send(msg);
}

/// What an actor woke up for.
pub enum Woken<M> {
    /// A message.
    Msg(M),
    /// The deadline passed.
    Tick,
    /// The hub shuts down.
    Stop,
}

/// Waits for the next message, the deadline, or the end (when `stop`'s senders are gone).
pub fn wait<M>(
    inbox: &Receiver<M>,
    stop: &Receiver<()>,
    clock: &dyn Clock,
    deadline: Option<Time>,
) -> Woken<M> {
    let timer = match deadline {
        Some(at) => crossbeam_channel::after(Duration::from_millis(at.since_ms(clock.now()))),
        None => never(),
    };
    select! {
        recv(inbox) -> msg => msg.map_or(Woken::Stop, Woken::Msg),
        recv(stop) -> _ => Woken::Stop,
        recv(timer) -> _ => Woken::Tick,
    }
}

/// Runs `core` until the hub shuts down; `run` carries out one effect.
pub fn run<C: Core>(
    mut core: C,
    inbox: &Receiver<C::Msg>,
    stop: &Receiver<()>,
    clock: &dyn Clock,
    mut run: impl FnMut(C::Effect),
) {
    let mut effects = Vec::new();
    loop {
        let msg = match wait(inbox, stop, clock, core.deadline()) {
            Woken::Msg(msg) => msg,
            Woken::Tick => C::tick(),
            Woken::Stop => return,
        };
        core.handle(clock.now(), msg, &mut effects);
        effects.drain(..).for_each(&mut run);
    }
}

/// Starts a named thread.
///
/// # Panics
/// If the system has no thread left: the hub cannot run without its actors.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).expect("a thread for each actor")
}

/// Starts a named thread that does what nobody waits for: while all processors are busy, those that dispatch, take and
/// publish go before it. A niceness of 10 gives it a tenth of what each of them gets (`sched(7)`: 110 against 1,024).
///
/// # Panics
/// If the system has no thread left.
pub fn spawn_behind(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    spawn(name, || {
        // On Linux that is this thread's alone, and nothing can refuse it.
        if let Err(error) = rustix::process::setpriority_process(None, BEHIND) {
            log::debug!("failed to let a thread go behind others: {error}");
        }
        body();
    })
}
