//! The leases actor: runs the core's effects in the order that makes them safe.
//!
//! Owns the journal and the moves between the three source folders. A poll takes all messages that
//! wait, and their grants share one sync of the journal and one fsync of each folder. Decides nothing: a
//! file operation that fails in a way that leaves the truth unknown stops all granting until a
//! restart, and recovery finds out.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::Receiver;
use moji_proto::message::ToBuilder;
use moji_proto::{FileName, LeaseId, Line, Time};

use super::{Peers, Woken, tell, wait};
use crate::clock::Clock;
use crate::core::leases::{Effect, Leases, Msg, Place, Record};
use crate::disk::{Disk, Folders};
use crate::journal::{Journal, RewriteError};

/// Most messages handled with one sync: bounds how long the first of them waits for the last.
const BATCH_MESSAGES_MAX: usize = 4_096;

/// What every builder is told when it registers.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// How often to ping, seconds.
    pub ping_s: u16,
    /// Port of the HTTP service; 0 if there is none.
    pub http_port: u16,
    /// Paths or URLs for mock's `--addrepo`, at most [`moji_proto::limits::REPOS_MAX`].
    pub repos: Vec<Line>,
}

/// Runs leases until the hub shuts down. `first` are the effects of [`Leases::new`].
pub fn run(
    mut core: Leases,
    first: Vec<Effect>,
    mut store: Store,
    welcome: &Welcome,
    peers: &Peers,
    inbox: &Receiver<Msg>,
    stop: &Receiver<()>,
    clock: &dyn Clock,
) {
    let outside = Outside { welcome, peers, clock };
    first.into_iter().for_each(|effect| outside.say(effect));
    loop {
        let msg = match wait(inbox, stop, clock, core.deadline()) {
            Woken::Msg(msg) => msg,
            Woken::Tick => Msg::Tick,
            Woken::Stop => return,
        };
        let batch = std::iter::once(msg).chain(inbox.try_iter()).take(BATCH_MESSAGES_MAX);
        for effect in store.run(&mut core, clock.now(), batch) {
            outside.say(effect);
        }
    }
}

/// Everybody else.
struct Outside<'a> {
    welcome: &'a Welcome,
    peers: &'a Peers,
    clock: &'a dyn Clock,
}

impl Outside<'_> {
    fn say(&self, effect: Effect) {
        match effect {
            Effect::Welcome(session) => {
                let Welcome { ping_s, http_port, repos } = self.welcome;
                let count = u8::try_from(repos.len()).expect("few repositories are configured");
                let registered = ToBuilder::Registered {
                    time_unix_s: self.clock.unix_s(),
                    ping_s: *ping_s,
                    http_port: *http_port,
                    repos: count,
                };
                self.peers.net.send(session, registered);
                for place in repos {
                    self.peers.net.send(session, ToBuilder::Repo { place: place.clone() });
                }
            }
            Effect::Log(level, text) => log::log!(level, "{text}"),
            Effect::Send(session, msg) => self.peers.net.send(session, msg),
            Effect::Close(session, code) => self.peers.net.close(session, code),
            Effect::Queue(msg) => tell(&self.peers.queue, msg),
            Effect::Transfers(msg) => tell(&self.peers.transfers, msg),
            Effect::Journal(_) | Effect::JournalLater(_) | Effect::Move { .. } | Effect::Inspect { .. } => {
                unreachable!("the store ran it")
            }
        }
    }
}

/// The part of the actor that touches the disk.
pub struct Store {
    disk: Arc<dyn Disk>,
    folders: Folders,
    journal: Journal,
    broken: bool,
}

/// A wanted move.
struct Wanted {
    lease: LeaseId,
    srpm: FileName,
    from: Place,
    to: Place,
}

/// One round of effects, by stage.
#[derive(Default)]
struct Round {
    grants: Vec<Record>,
    moves: Vec<Wanted>,
    ends: Vec<Record>,
    inspect: Vec<FileName>,
}

impl Round {
    /// Takes what is the disk's; the rest goes to `outward`.
    fn sort(effects: Vec<Effect>, outward: &mut Vec<Effect>) -> Round {
        let mut round = Round::default();
        for effect in effects {
            match effect {
                Effect::Journal(record) => round.grants.push(record),
                Effect::JournalLater(record) => round.ends.push(record),
                Effect::Move { lease, srpm, from, to } => round.moves.push(Wanted { lease, srpm, from, to }),
                Effect::Inspect { srpm } => round.inspect.push(srpm),
                effect => outward.push(effect),
            }
        }
        round
    }
}

impl Store {
    /// A store over the journal that recovery opened.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, folders: Folders, journal: Journal) -> Store {
        Store { disk, folders, journal, broken: false }
    }

    /// Hands `msgs` to the core and runs all that touches the disk; returns the rest, which may be
    /// said to the world because everything that it promises is durable.
    pub fn run(&mut self, core: &mut Leases, now: Time, msgs: impl IntoIterator<Item = Msg>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for msg in msgs {
            core.handle(now, msg, &mut effects);
        }
        let mut outward = Vec::new();
        while !effects.is_empty() {
            let round = Round::sort(std::mem::take(&mut effects), &mut outward);
            let mut facts = Vec::new();
            let granted = self.grant(&round.grants, &mut facts);
            self.move_all(round.moves, granted, &mut facts);
            self.note(&round.ends, &mut facts);
            for srpm in round.inspect {
                let present = self.disk.exists(&self.folders.working.join(&srpm)).unwrap_or(true);
                facts.push(Msg::Inspected { srpm, present });
            }
            for fact in facts {
                core.handle(now, fact, &mut effects);
            }
            if effects.is_empty() {
                self.tidy(core, now, &mut effects);
            }
        }
        outward
    }

    /// Stores grants durably; says whether they are.
    fn grant(&mut self, grants: &[Record], facts: &mut Vec<Msg>) -> bool {
        if grants.is_empty() || self.broken {
            return !self.broken;
        }
        let stored = self.journal.append(grants).and_then(|()| self.journal.sync());
        if let Err(error) = &stored {
            self.fail(format!("failed to store leases in the journal: {error}"), facts);
        }
        stored.is_ok()
    }

    /// Appends what may get lost.
    fn note(&mut self, ends: &[Record], facts: &mut Vec<Msg>) {
        if ends.is_empty() || self.broken {
            return;
        }
        match self.journal.append(ends) {
            Err(error) if error.kind() != ErrorKind::StorageFull => {
                self.fail(format!("failed to write the journal of leases: {error}"), facts);
            }
            _ => {}
        }
    }

    /// Moves files and syncs their folders once. What is not durable after that is not told: its
    /// lease stays as it is until the restart.
    fn move_all(&mut self, moves: Vec<Wanted>, granted: bool, facts: &mut Vec<Msg>) {
        let mut touched = BTreeSet::new();
        let mut told = Vec::new();
        for wanted in moves {
            let Wanted { lease, to, .. } = wanted;
            if to == Place::Working && !granted {
                told.push((lease, false));
                continue;
            }
            match self.move_one(&wanted, &mut touched) {
                Ok(moved) => told.push((lease, moved)),
                Err(error) => {
                    self.fail(format!("failed to move {}: {error}", wanted.srpm), facts);
                    if to == Place::Working {
                        told.push((lease, false));
                    }
                }
            }
        }
        let mut durable = true;
        for folder in &touched {
            if let Err(error) = self.disk.sync_dir(folder) {
                self.fail(format!("failed to sync '{}': {error}", folder.display()), facts);
                durable = false;
            }
        }
        told.retain(|(_, moved)| durable || !moved);
        facts.extend(told.into_iter().map(|(lease, moved)| Msg::Moved { lease, moved }));
    }

    /// Whether the file is at its place now; errors leave it where it was.
    fn move_one(&self, wanted: &Wanted, touched: &mut BTreeSet<PathBuf>) -> io::Result<bool> {
        let (from_dir, to_dir) = (self.path(wanted.from), self.path(wanted.to));
        let (from, to) = (from_dir.join(&wanted.srpm), to_dir.join(&wanted.srpm));
        if wanted.from == wanted.to {
            return self.disk.exists(&from);
        }
        let done = match wanted.to {
            Place::Finished => self.disk.rename(&from, &to),
            Place::Source | Place::Working => self.disk.rename_new(&from, &to),
        };
        let done = match done {
            // Somebody dropped this name while it was leased: theirs is the one to build now. It is
            // there already, so taking ours away leaves the package in one folder at any instant after.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && wanted.to == Place::Source => {
                if wanted.from == Place::Finished {
                    return Ok(false);
                }
                self.disk.remove_file(&from)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                log::error!(
                    "pkg={} is in the working folder without a lease: take it out, the one in the source folder \
                     cannot be leased",
                    wanted.srpm
                );
                return Ok(false);
            }
            done => done,
        };
        match done {
            Ok(()) => {
                touched.insert(to_dir.to_owned());
                touched.insert(from_dir.to_owned());
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Keeps the journal from growing without bound.
    fn tidy(&mut self, core: &mut Leases, now: Time, effects: &mut Vec<Effect>) {
        if self.broken || !self.journal.is_large() {
            return;
        }
        match self.journal.rewrite(&core.records()) {
            Ok(()) => {}
            Err(RewriteError::Kept(error)) => {
                log::warn!("failed to shorten the journal of leases, going on with the long one: {error}");
            }
            Err(RewriteError::Lost(error)) => {
                let mut facts = Vec::new();
                self.fail(format!("failed to replace the journal of leases: {error}"), &mut facts);
                facts.into_iter().for_each(|fact| core.handle(now, fact, effects));
            }
        }
    }

    fn path(&self, place: Place) -> &Path {
        match place {
            Place::Source => &self.folders.source,
            Place::Working => &self.folders.working,
            Place::Finished => &self.folders.finished,
        }
    }

    /// Nothing is granted from here on. The core hears it before it hears what failed.
    fn fail(&mut self, why: String, facts: &mut Vec<Msg>) {
        self.broken = true;
        facts.insert(0, Msg::Broken { why });
    }
}

#[cfg(test)]
mod tests;
