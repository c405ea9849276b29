//! The desk's thread, and those that do its work on files.
//!
//! Owns carrying out the desk's effects and the queue of jobs: of each request at most one is under way, so
//! it is bounded by [`crate::core::desk::OPERATORS_MAX`] and the web's own limit. Decides nothing.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{Peers, Woken, spawn, tell, wait};
use crate::clock::Clock;
use crate::core::desk::{Desk, Effect, Job, Msg, Run};
use crate::core::queue::Note;
use crate::desk::Worker;
use crate::hooks::Hooks;

/// Threads for files: one that reads a long log does not hold up a submit.
const WORKERS: usize = 2;

/// Starts the desk and its workers; `hooks` is told of events if there is one. They end when `stop`'s senders
/// are gone, after the jobs that are under way.
///
/// # Panics
/// If the system has no thread left.
pub fn start(
    mut core: Desk,
    worker: Arc<Worker>,
    hooks: Option<Hooks>,
    clock: Arc<dyn Clock>,
    peers: Peers,
    inbox: Receiver<Msg>,
    stop: Receiver<()>,
) -> JoinHandle<()> {
    spawn("desk", move || {
        let (jobs, work) = unbounded();
        let workers: Vec<JoinHandle<()>> = (1..=WORKERS)
            .map(|number| {
                let (worker, work, done) = (worker.clone(), work.clone(), peers.desk.clone());
                spawn(&format!("desk-{number}"), move || serve(&worker, &work, &done))
            })
            .collect();
        let mut effects = Vec::new();
        loop {
            let msg = match wait(&inbox, &stop, &*clock, core.deadline_at()) {
                Woken::Msg(msg) => msg,
                Woken::Tick => Msg::Tick,
                Woken::Stop => break,
            };
            core.set_clock(clock.unix_ms());
            core.handle(clock.now(), msg, &mut effects);
            effects.drain(..).for_each(|effect| carry_out(&peers, &jobs, hooks.as_ref(), effect));
        }
        peers.web.end();
        drop(jobs);
        for worker in workers {
            worker.join().expect("a worker does not panic");
        }
    })
}

fn serve(worker: &Worker, work: &Receiver<(Run, Job)>, done: &Sender<Msg>) {
    for (run, job) in work {
        tell(done, Msg::Done { run, done: worker.run(run, job) });
    }
}

fn carry_out(peers: &Peers, jobs: &Sender<(Run, Job)>, hooks: Option<&Hooks>, effect: Effect) {
    match effect {
        Effect::Send(session, msg) if session.is_inner() => peers.web.answer(session, msg),
        Effect::Send(session, msg) => peers.net.answer(session, msg),
        // The web actor sends nothing that is counted.
        Effect::Consumed(session, _) if session.is_inner() => {}
        Effect::Consumed(session, bytes) => peers.net.consumed(session, bytes),
        Effect::Close(session, _) if session.is_inner() => peers.web.close(session),
        Effect::Close(session, code) => peers.net.close(session, code),
        Effect::Glance(glance) => peers.web.glance(&glance),
        Effect::Queue(msg) => tell(&peers.queue, msg),
        Effect::Repo(msg) => tell(&peers.repo, msg),
        Effect::Work { run, job } => tell(jobs, (run, job)),
        Effect::History(row) => tell(&peers.history, Note::Event(row)),
        Effect::Hook(row) => {
            if let Some(hooks) = hooks {
                hooks.tell(row);
            }
        }
        Effect::Log(level, text) => log::log!(level, "{text}"),
    }
}
