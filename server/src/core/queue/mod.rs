//! The queue: which package goes next to which builder.
//!
//! Owns order, holds, verdict policy and the standing of builders. Never touches files, sockets or
//! time-outs of leases.
//!
//! | file | owns |
//! |---|---|
//! | `messages.rs` | what the queue is told, and what it wants done |
//! | `package.rs` | the states of a package and which may follow which |
//! | `order.rs` | `priority.txt` and the sorted set of packages that wait |
//! | `standing.rs` | builders: idle, quarantined, vanished together; the canary |
//! | `arrivals.rs` | what the folders say |
//! | `grants.rs` | answers to claims, and grants unasked |
//! | `verdict.rs`, `evidence.rs` | what a result means |
//! | `policy.rs` | what follows from it: attempts, holds, another builder |
//! | `settle.rs` | after every message: who gets what |
//! | `status.rs` | counts, and why nothing is leased |
//!
//! What the folders say and what leases say come by two ways, so a message may be older than one that
//! came before it. Two rules make that harmless. The watch's last word about `source/` is kept whatever
//! the state, and counts once a claim or a lease is over; it never ends a lease. And a claim for a file that is
//! not there fails, and is made again only while the watch says that there is one.

use std::collections::BTreeMap;

use moji_proto::message::{Health, Trouble, Verdict};
use moji_proto::{FileName, Time};

use self::order::Order;
use self::package::{Hold, Package, State};
use self::standing::Standing;
use super::types::{BuilderId, BuilderInfo, SessionId};
use crate::rpmfile::Nevra;

mod arrivals;
mod evidence;
mod glob;
mod grants;
mod messages;
mod order;
mod package;
mod policy;
mod settle;
mod standing;
mod status;
#[cfg(test)]
mod tests;
pub mod verdict;

pub use self::messages::{ClaimFailure, Effect, Msg, Note, OptionRule};
pub use self::settle::space_floor;
pub use self::status::Snapshot;

/// Free space is asked for again so often while there is too little, milliseconds.
const SPACE_AGAIN_MS: u64 = 10_000;

/// What the queue is set up with.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many charged attempts a package has (`--attempts`), at least 1.
    pub attempts: usize,
    /// How long a builder does not get a package again that it could not build, milliseconds
    /// (`--retry-pause`).
    pub retry_pause_ms: u64,
    /// The one architecture that is published (`--target`).
    pub target: Option<String>,
    /// When the hub started.
    pub started: Time,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    config: Config,
    packages: BTreeMap<FileName, Package>,
    /// Live files of each name-epoch-version-release, the one that counts first.
    nevras: BTreeMap<Nevra, Vec<FileName>>,
    order: Order,
    options: Vec<OptionRule>,
    standing: Standing,
    /// Source package of each binary package in the repository.
    owners: BTreeMap<String, String>,
    /// `--target`, or what the first accepted build was for.
    target: Option<String>,
    /// Architectures that the list of builders allows each.
    listed: BTreeMap<BuilderId, Vec<String>>,
    /// Publications in this run, and one for all before it.
    published: u64,
    /// Releases in this run.
    releases: u64,
    /// Free space and floor, bytes.
    space: Option<(u64, u64)>,
    /// Why nothing is leased until a restart.
    stopped: Option<String>,
    /// Moments at which something may become possible.
    wakes: std::collections::BTreeSet<Time>,
    /// Packages that may be leased since another file of theirs is done.
    promoted: Vec<FileName>,
    /// What was last said about why nothing is leased.
    said: Said,
}

/// What was last logged, so that it is said once a change.
#[derive(Debug, Default)]
struct Said {
    /// Why nothing at all is leased.
    blocked: Option<&'static str>,
    /// Why idle builders get nothing.
    stuck: Option<String>,
}

impl crate::core::Core for Queue {
    type Msg = Msg;
    type Effect = Effect;

    fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        Queue::handle(self, now, msg, out);
    }

    fn deadline(&self) -> Option<Time> {
        Queue::deadline(self)
    }

    fn tick() -> Msg {
        Msg::Tick
    }
}

impl Queue {
    /// A queue that knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Queue {
        Queue {
            target: config.target.clone(),
            config,
            packages: BTreeMap::new(),
            nevras: BTreeMap::new(),
            order: Order::default(),
            options: Vec::new(),
            standing: Standing::default(),
            owners: BTreeMap::new(),
            listed: BTreeMap::new(),
            published: 1,
            releases: 0,
            space: None,
            stopped: None,
            wakes: std::collections::BTreeSet::new(),
            promoted: Vec::new(),
            said: Said::default(),
        }
    }

    /// Takes one message.
    pub fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        match msg {
            Msg::Appeared { srpm, facts } => self.on_appeared(&srpm, facts, out),
            Msg::Unusable { srpm, why } => self.on_unusable(&srpm, why, out),
            Msg::Vanished { srpm } => self.on_vanished(&srpm, out),
            Msg::FinishedChanged { srpm, present } => self.on_finished_changed(&srpm, present, out),
            Msg::Priority(names) => {
                // No list at the start is no news.
                if !(names.is_empty() && self.order.has_no_list()) {
                    log(out, log::Level::Info, format!("priority.txt: {} lines", names.len()));
                }
                self.order.list(&names, &self.packages);
            }
            Msg::Options(rules) => {
                if !(rules.is_empty() && self.options.is_empty()) {
                    log(out, log::Level::Info, format!("options.txt: {} rules", rules.len()));
                }
                self.options = rules;
            }
            Msg::Space { free_bytes, floor_bytes } => self.space = Some((free_bytes, floor_bytes)),
            Msg::BuilderUp { session, info } => self.on_builder_up(session, info, out),
            Msg::BuilderDown { builder } => self.standing.down(now, builder),
            Msg::Ready { builder } => self.standing.ready(now, builder),
            Msg::Draining { builder } => {
                if self.standing.drain(builder) {
                    let name = self.standing.name(builder);
                    log(out, log::Level::Info, format!("builder={name} drains: gets nothing more"));
                }
            }
            Msg::Health { builder, health } => {
                // Hundreds a second that say nothing new: they change nothing that is derived.
                if !self.on_health(builder, health, out) {
                    return;
                }
            }
            Msg::Granted { srpm, lease, builder } => self.on_granted(now, &srpm, lease, builder, out),
            Msg::ClaimFailed { srpm, builder, why } => self.on_claim_failed(now, &srpm, builder, why, out),
            Msg::Judge { srpm, lease, builder, report } => self.on_judge(&srpm, lease, builder, &report, out),
            Msg::Ended { srpm, lease, builder, end } => self.on_ended(now, &srpm, lease, builder, end, out),
            Msg::Published => self.on_published(out),
            Msg::Known { source, binaries } => self.owners_are(&source, binaries),
            Msg::Charged { srpm, attempts } => self.on_charged(&srpm, attempts, out),
            Msg::Target { arch } => {
                self.target.get_or_insert(arch);
            }
            Msg::Listed(listed) => self.listed = listed.into_iter().collect(),
            Msg::StopLeasing { why } => {
                log(out, log::Level::Error, format!("nothing is leased until a restart: {why}"));
                self.stopped.get_or_insert(why);
            }
            Msg::Tick => {}
        }
        self.settle(now, out);
    }

    /// When something may become possible without a message.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.wakes.first().copied()
    }

    /// The package of that name, known or not.
    fn package(&mut self, name: &FileName) -> &mut Package {
        self.packages.entry(name.clone()).or_insert_with(Package::new)
    }

    /// The one way to another state: checks that it may follow, and keeps what is derived from it.
    fn go(&mut self, name: &FileName, next: State) {
        let package = self.packages.entry(name.clone()).or_insert_with(Package::new);
        assert!(package.state.may_become(&next), "{name}: {:?} became {next:?}", package.state);
        let live = next.is_live();
        let waits = next == State::Waiting;
        package.state = next;
        if waits {
            self.order.insert(name, package);
        } else {
            self.order.remove(name);
        }
        if !live {
            self.disown(name);
        }
    }

    /// Takes up the package's name-epoch-version-release; says who has it already, if somebody has.
    fn own(&mut self, name: &FileName) -> Option<FileName> {
        let nevra = self.packages.get(name)?.srpm.as_ref()?.facts.nevra.clone();
        let files = self.nevras.entry(nevra).or_default();
        if !files.contains(name) {
            files.push(name.clone());
        }
        files.first().filter(|first| *first != name).cloned()
    }

    /// Gives up the package's name-epoch-version-release; the next file that has it moves up.
    fn disown(&mut self, name: &FileName) {
        let srpm = self.packages.get(name).and_then(|package| package.srpm.as_ref());
        let Some(nevra) = srpm.map(|srpm| srpm.facts.nevra.clone()) else { return };
        let Some(files) = self.nevras.get_mut(&nevra) else { return };
        files.retain(|file| file != name);
        match files.first() {
            Some(first) => self.promoted.push(first.clone()),
            None => {
                self.nevras.remove(&nevra);
            }
        }
    }

    /// Forgets a package of which there is nothing to remember.
    fn tidy(&mut self, name: &FileName) {
        if self.packages.get(name).is_some_and(Package::is_void) {
            self.packages.remove(name);
        }
    }

    /// The binary packages that this source package has in the repository.
    fn owners_are(&mut self, source: &str, binaries: Vec<String>) {
        for binary in binaries {
            self.owners.insert(binary, source.to_owned());
        }
    }

    fn on_builder_up(&mut self, session: SessionId, info: BuilderInfo, out: &mut Vec<Effect>) {
        let BuilderInfo { name, arch, cpus, memory_mib, peer, .. } = &info;
        let text = format!(
            "builder={name} up from {peer}, key {}: {arch}, {cpus} cpus, {memory_mib} MiB",
            info.id.fingerprint()
        );
        log(out, log::Level::Info, text);
        if let Some(target) =
            self.target.as_deref().filter(|target| !settle::may_build(arch.as_str(), target))
        {
            let text =
                format!("builder={name} gets nothing: it builds for {arch}, the repository is {target}");
            log(out, log::Level::Warn, text);
        }
        out.push(Effect::History(Note::Builder(info.clone())));
        self.standing.up(session, info);
    }

    /// Says whether that is news.
    fn on_health(&mut self, id: BuilderId, health: Health, out: &mut Vec<Effect>) -> bool {
        let Some(builder) = self.standing.all.get_mut(&id) else { return false };
        let is_news = builder.trouble != health.trouble;
        if is_news {
            builder.trouble = health.trouble;
            let name = &builder.info.name;
            let text = match health.trouble {
                Some(Trouble::Clock) => {
                    format!("builder={name} takes no work: its clock is more than a day off")
                }
                Some(Trouble::Disk) => {
                    let free = health.disk_free_mib;
                    format!("builder={name} takes no work: its disk is too full, {free} MiB free")
                }
                None => format!("builder={name} takes work again"),
            };
            let level = if health.trouble.is_some() { log::Level::Warn } else { log::Level::Info };
            log(out, level, text);
        }
        is_news
    }

    fn on_charged(&mut self, srpm: &FileName, attempts: Vec<(Verdict, String)>, out: &mut Vec<Effect>) {
        let package = self.package(srpm);
        package.past.charged = attempts;
        if matches!(package.state, State::Waiting | State::Held(_)) {
            self.enqueue(srpm, out);
        }
    }

    fn on_published(&mut self, out: &mut Vec<Effect>) {
        self.published += 1;
        let waits = |p: &Package| matches!(p.state, State::Held(Hold::Deps { .. }));
        let held: Vec<FileName> =
            self.packages.iter().filter(|(_, p)| waits(p)).map(|(name, _)| name.clone()).collect();
        for name in held {
            self.enqueue(&name, out);
        }
    }
}

fn log(out: &mut Vec<Effect>, level: log::Level, text: String) {
    out.push(Effect::Log(level, text));
}
