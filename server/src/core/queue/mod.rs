//! The queue: which package goes next to which builder.
//!
//! Owns order, holds, verdict policy and the standing of builders. Never touches files, sockets or
//! time-outs of leases.
//!
//! | file | owns |
//! |---|---|
//! | `messages.rs` | what the queue is told, and what it wants done |
//! | `package.rs` | the states of a package and which may follow which |
//! | `times.rs` | build times, and how fast boards are |
//! | `guess.rs` | what sizes tell of both where nothing was measured |
//! | `limits.rs` | when a builder ends a build by itself |
//! | `order.rs` | `priority.txt` and the sorted set of packages that wait |
//! | `standing.rs` | builders: idle, quarantined, vanished together; the canary |
//! | `arrivals.rs` | what the folders say |
//! | `chain.rs` | what waits for what, as headers hint, and the longest chains of build time |
//! | `estimate.rs` | when builds end, and all of them, as learned times tell |
//! | `stock.rs` | what builders can install, and who waits for it |
//! | `deps.rs` | what waits for BuildRequires, and what ends the wait |
//! | `headers.rs` | what headers name and nobody provides |
//! | `holds.rs` | who is held, by what ends it |
//! | `grants.rs` | answers to claims, and grants unasked |
//! | `verdict.rs`, `evidence.rs` | what a result means |
//! | `policy.rs` | what follows from it: attempts, holds, another builder |
//! | `confirm.rs` | when a package's own failure is believed |
//! | `matching.rs` | who gets what |
//! | `endgame.rs` | what a faster idle board builds as well, and two leases of one package |
//! | `needs.rs` | how much memory and disk packages need, and who can hold them |
//! | `trial.rs` | what a builder gets after a quarantine |
//! | `suspects.rs` | boards that fail what others pass |
//! | `settle.rs` | after every message: what is over, and why nothing moves |
//! | `status.rs` | counts, and why nothing is leased |
//! | `look.rs` | all of it, as an operator sees it |
//! | `why.rs` | why one package is where it is, in words |
//! | `provider.rs` | which source would provide what is missing |
//! | `survey.rs` | what waits for what that is not there, taken down for a worker |
//! | `blocked.rs` | what a worker makes of that: missing capabilities and cycles |
//! | `cycles.rs` | cycles in a graph, and the least that breaks them |
//! | `orders.rs` | what operators change, and what they are answered |
//! | `events.rs` | what is told to operators of what happens |
//! | `rebuild.rs` | what is built again since what it was built against changed |
//! | `wave.rs` | the order among what is built again |
//! | `owners.rs` | which source package a binary package comes from |
//!
//! What the folders say and what leases say come by two ways, so a message may be older than one that
//! came before it. Two rules make that harmless. The watch's last word about `source/` is kept whatever
//! the state, and counts once a claim or a lease is over; it never ends a lease. And a claim for a file that is
//! not there fails, and is made again only while the watch says that there is one.

use std::collections::BTreeMap;

use moji_proto::message::{EventKind, Health, Limits, PackageState, Verdict};
use moji_proto::{FileName, Time};

use self::chain::Chain;
use self::headers::Headers;
use self::holds::Holds;
use self::look::Looking;
use self::needs::Peaks;
use self::order::Order;
use self::orders::Asked;
use self::owners::Owners;
use self::package::{Ending, Hold, Package, State};
use self::rebuild::Rebuild;
use self::standing::{Link, Standing};
use self::stock::Stock;
use self::suspects::Suspects;
use self::times::Times;
use super::types::{BuilderId, BuilderInfo, SessionId};
use super::view::Event;
use crate::rpmfile::Nevra;

mod arrivals;
pub mod blocked;
mod chain;
mod confirm;
mod cycles;
mod deps;
mod endgame;
mod estimate;
mod events;
mod evidence;
pub mod glob;
mod grants;
mod guess;
mod headers;
mod holds;
mod limits;
mod look;
mod matching;
mod messages;
mod needs;
mod order;
mod orders;
pub mod owners;
mod package;
mod policy;
mod provider;
mod rebuild;
mod settle;
mod standing;
mod status;
mod stock;
mod survey;
mod suspects;
#[cfg(test)]
mod tests;
mod times;
mod trial;
pub mod verdict;
mod wave;
mod why;

pub use self::blocked::Survey;
pub use self::deps::Wants;
pub use self::messages::{About, ClaimFailure, Effect, Msg, News, Note, OptionRule, PastResult};
pub use self::settle::space_floor;
pub use self::status::Snapshot;

/// Free space is asked for again so often while there is too little, milliseconds.
const SPACE_AGAIN_MS: u64 = 10_000;

/// What the queue is set up with.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many charged attempts a package has (`--attempts`), at least 1.
    pub attempts: usize,
    /// So many builders must agree that a package fails (`--confirm-failures`), at least 1.
    pub confirm_failures: usize,
    /// How long a builder does not get a package again that it could not build, milliseconds
    /// (`--retry-pause`).
    pub retry_pause_ms: u64,
    /// When builders end a build of which nothing else is known (`--max-silence`, `--max-build`).
    pub limits: Limits,
    /// Whether a build that changed what it provides has what was built against it built again
    /// (`--rebuild-dependents`).
    pub rebuild_dependents: bool,
    /// Whether a faster board that idles at the end gets a copy of what is being built (`--duplicate-last`).
    pub duplicate_last: bool,
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
    /// What waits for what, as headers hint.
    chain: Chain,
    /// Build times and speeds.
    times: Times,
    /// What is published, and who waits for it.
    stock: Stock,
    /// What mainline provides, and who waits for what nobody does.
    headers: Headers,
    holds: Holds,
    /// What builds took of memory and disk.
    peaks: Peaks,
    /// Boards that fail what others pass.
    suspects: Suspects,
    /// What idle builders do not get since a faster one is done with it sooner.
    kept: BTreeMap<FileName, BuilderId>,
    /// `options.txt`, each rule with the length of what stands before the first sign of its pattern that is not
    /// itself: most rules name one package, and need no match to be passed over.
    options: Vec<(usize, OptionRule)>,
    standing: Standing,
    /// Source package of each binary package in the repository.
    owners: Owners,
    /// What is built again since what it was built against changed.
    rebuild: Rebuild,
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
    /// Why uploads and commits wait, and since when.
    short: Option<(String, Time)>,
    /// Moments at which something may become possible.
    wakes: std::collections::BTreeSet<Time>,
    /// Packages that may be leased since another file of theirs is done.
    promoted: Vec<FileName>,
    /// What the stock is to be told: what a package waits for, or that it no longer does.
    awaits: BTreeMap<FileName, Option<Wants>>,
    /// What was last said about why nothing is leased.
    said: Said,
    /// When the message that is handled came.
    now: Time,
    /// Whether the first look at the folders is over: what was there at the start is no news.
    scanned: bool,
    /// What operators asked for and were not answered yet.
    asked: Asked,
    /// The view that is being made.
    looking: Option<Looking>,
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
            chain: Chain::default(),
            times: Times::default(),
            stock: Stock::default(),
            headers: Headers::default(),
            holds: Holds::default(),
            peaks: Peaks::default(),
            suspects: Suspects::default(),
            kept: BTreeMap::new(),
            options: Vec::new(),
            standing: Standing::default(),
            owners: Owners::default(),
            rebuild: Rebuild::default(),
            listed: BTreeMap::new(),
            published: 1,
            releases: 0,
            space: None,
            stopped: None,
            short: None,
            wakes: std::collections::BTreeSet::new(),
            promoted: Vec::new(),
            awaits: BTreeMap::new(),
            said: Said::default(),
            now: Time(0),
            scanned: false,
            asked: Asked::default(),
            looking: None,
        }
    }

    /// Takes one message.
    pub fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        self.now = now;
        match msg {
            Msg::Appeared { srpm, facts } => self.on_appeared(&srpm, facts, out),
            Msg::Unusable { srpm, why } => self.on_unusable(&srpm, why, out),
            Msg::Vanished { srpm } => self.on_vanished(&srpm, out),
            Msg::FinishedChanged { srpm, present } => self.on_finished_changed(&srpm, present, out),
            Msg::Scanned => {
                self.scanned = true;
                self.look_at_fresh(out);
            }
            Msg::Priority(names) => {
                // No list at the start is no news.
                if !(names.is_empty() && self.order.has_no_list()) {
                    log(out, log::Level::Info, format!("priority.txt: {} lines", names.len()));
                }
                self.order.list(&names, &self.packages, &self.chain);
            }
            Msg::Options(rules) => {
                if !(rules.is_empty() && self.options.is_empty()) {
                    log(out, log::Level::Info, format!("options.txt: {} rules", rules.len()));
                }
                let literal =
                    |rule: &OptionRule| rule.glob.find(['*', '?', '[', '\\']).unwrap_or(rule.glob.len());
                self.options = rules.into_iter().map(|rule| (literal(&rule), rule)).collect();
            }
            Msg::Space { free_bytes, floor_bytes } => self.space = Some((free_bytes, floor_bytes)),
            Msg::BuilderUp { session, info } => self.on_builder_up(session, info, out),
            Msg::BuilderDown { builder } => self.on_builder_down(builder, out),
            Msg::Ready { builder } => self.standing.ready(now, builder),
            Msg::Draining { builder } => {
                if self.standing.drain(builder) {
                    let name = self.standing.name(builder);
                    log(out, log::Level::Info, format!("builder={name} drains: gets nothing more"));
                    self.tell_of_builder(builder, EventKind::Builder, "drains: gets nothing more", out);
                }
            }
            Msg::Health { builder, health } => {
                // Hundreds a second that say nothing new: they change nothing that is derived.
                if !self.on_health(builder, health, out) {
                    return;
                }
            }
            Msg::Granted { srpm, lease, builder, beside: false } => {
                self.on_granted(now, &srpm, lease, builder, out);
            }
            Msg::Granted { srpm, lease, builder, beside: true } => {
                self.on_copied(now, &srpm, lease, builder, out);
            }
            Msg::ClaimFailed { srpm, builder, why } => self.on_claim_failed(now, &srpm, builder, why, out),
            Msg::Judge { srpm, lease, builder, report } => self.on_judge(&srpm, lease, builder, &report, out),
            Msg::Ended { srpm, lease, builder, end } => self.on_ended(now, &srpm, lease, builder, end, out),
            Msg::Published(news) => self.on_published(now, news, out),
            Msg::Mainline(there) => self.on_mainline(there, out),
            Msg::FilesFound(found) => {
                let over = self.stock_files(&found);
                self.all_provided(now, over, out);
            }
            Msg::Placed { srpm, to, moved } => self.on_placed(&srpm, to, moved, out),
            Msg::Compared(compared) => self.on_compared(now, compared, out),
            Msg::Known { folder, source, binaries } => {
                self.was_published(&folder, &source, &binaries);
                self.owners.add(&folder, &source, binaries);
            }
            Msg::Took { source, builder, seconds, silent_s } => {
                self.times.built(&source, builder, seconds, silent_s);
                self.chain.touch();
            }
            Msg::Needed { source, peak } => self.peaks.built(&source, peak),
            Msg::Tried { srpm, builder, verdict, is_open, memory_mib } => {
                self.on_tried(&srpm, builder, verdict, is_open, memory_mib);
            }
            Msg::Past { srpm, result } => {
                self.was_built(&srpm, &result);
                self.package(&srpm).take(result, now);
            }
            Msg::EndedAs { srpm, state, text, ago_s } => self.on_ended_as(&srpm, state, text, ago_s),
            Msg::Told { builder, name, told } => {
                self.standing.told.insert(builder, (name, told));
            }
            Msg::Charged { srpm, attempts } => self.on_charged(&srpm, attempts, out),
            Msg::Target { arch } => {
                self.target.get_or_insert(arch);
            }
            Msg::Listed(listed) => self.listed = listed.into_iter().collect(),
            Msg::StopLeasing { why } => {
                let text = format!("nothing is leased until a restart: {why}");
                log(out, log::Level::Error, text.clone());
                if self.stopped.is_none() {
                    events::tell(out, Event::new(EventKind::Blocked, text));
                }
                self.nothing_moves(&why, out);
                self.stopped.get_or_insert(why);
            }
            Msg::Again { srpm, lease, builder, text } => self.on_again(&srpm, lease, builder, text, out),
            Msg::Short { why } => self.on_short(now, why, out),
            // Nothing follows from it.
            Msg::Look => return self.look(now, out),
            Msg::Ask { ticket, about } => return self.give_reasons(now, ticket, &about, out),
            Msg::Change(change) => self.on_change(change, out),
            Msg::Decided { srpm, folder, decision, source, binaries, who } => {
                self.on_decided(&srpm, folder, decision, &source, binaries, &who, out);
            }
            Msg::Tick => {
                let is_woken = self.wakes.first().is_some_and(|first| *first <= now);
                let is_chains_turn = self.chain.again().is_some_and(|at| at <= now);
                let is_at_chains = self.look_on(now);
                let showed = self.look_further(now, out);
                // Nothing follows from a piece of a view, nor from one of a look at all chains before the last one.
                if !is_woken && (is_at_chains || showed && !is_chains_turn) {
                    return;
                }
            }
        }
        self.settle(now, out);
    }

    /// When something may become possible without a message.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let look = self.looking.as_ref().map(Looking::next);
        self.wakes.first().copied().into_iter().chain(self.chain.again()).chain(look).min()
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
        let before = (package.shown(), package.state == State::Gone);
        if package.state.awaits() && !next.awaits() {
            self.awaits.insert(name.clone(), None);
        }
        self.headers.note(name, &next, self.chain.place(name).chain_s);
        self.holds.note(name, &package.state, &next);
        package.past.tried |= matches!(next, State::Leased(_));
        package.state = next;
        if before != (package.shown(), package.state == State::Gone) {
            package.since = match (&package.state, &package.ending) {
                // It was that before this run, and is only found to be.
                (State::Finished, Some(_)) if before.1 => package.since,
                _ => (self.now, 0),
            };
        }
        let free = match (&package.state, &package.srpm) {
            (
                State::Waiting
                | State::Held(Hold::Deps { .. } | Hold::Behind { .. })
                | State::Claimed { .. }
                | State::Leased(_),
                srpm,
            ) => {
                if let Some(srpm) = srpm {
                    self.chain.enter(name, &srpm.facts, srpm.size, &self.owners);
                }
                Vec::new()
            }
            _ => self.chain.leave(name),
        };
        if let State::Held(Hold::Deps { wants, .. }) = &package.state {
            self.chain.missed(name, &wants.names(), &self.owners);
        }
        if waits {
            self.order.insert(name, package, self.chain.place(name));
        } else {
            self.order.remove(name);
        }
        self.put_in_order(free);
        self.rebuild.wave.touch(name);
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
        let up = format!("connected from {peer}: {arch}, {cpus} cpus, {memory_mib} MiB");
        out.push(Effect::History(Note::Builder(info.clone())));
        let (id, instance) = (info.id, info.instance);
        self.times.is_of_kind(id, *cpus, *memory_mib);
        self.standing.up(self.now, session, info);
        self.tell_of_builder(id, EventKind::BuilderUp, up, out);
        self.repeat_orders(id, session, instance, out);
    }

    fn on_builder_down(&mut self, id: BuilderId, out: &mut Vec<Effect>) {
        let was_up = self.standing.all.get(&id).is_some_and(|builder| builder.link != Link::Down);
        self.standing.down(self.now, id);
        if was_up {
            self.tell_of_builder(id, EventKind::BuilderDown, "connection ended", out);
        }
    }

    /// Says whether that is news.
    fn on_health(&mut self, id: BuilderId, health: Health, out: &mut Vec<Effect>) -> bool {
        let Some(builder) = self.standing.all.get_mut(&id) else { return false };
        let is_news = builder.trouble != health.trouble;
        builder.take_health(health);
        if is_news {
            let name = &builder.info.name;
            let text = match health.trouble {
                Some(trouble) => {
                    format!("builder={name} takes no work: {}", look::trouble_words(trouble, &health))
                }
                None => format!("builder={name} takes work again"),
            };
            let level = if health.trouble.is_some() { log::Level::Warn } else { log::Level::Info };
            let told = text.split_once(' ').map_or_else(String::new, |(_, told)| told.to_owned());
            log(out, level, text);
            self.tell_of_builder(id, EventKind::Builder, told, out);
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

    /// What became of a package on a builder in an earlier run.
    fn on_tried(&mut self, srpm: &FileName, id: BuilderId, verdict: Verdict, is_open: bool, memory_mib: u32) {
        match verdict {
            Verdict::Success => drop(self.suspects.built(srpm, id)),
            Verdict::Failed => {
                self.suspects.failed(srpm, id);
                if is_open {
                    self.package(srpm).past.failed_on.insert(id);
                }
            }
            Verdict::Memory if is_open && memory_mib > 0 => {
                let past = &mut self.package(srpm).past;
                past.memory_mib = past.memory_mib.max(Some(memory_mib));
            }
            _ => {}
        }
    }

    /// How a package ended that has no result, in an earlier run. A result that is younger counts instead.
    fn on_ended_as(&mut self, srpm: &FileName, state: PackageState, text: String, ago_s: u64) {
        let now = self.now;
        let package = self.package(srpm);
        if package.ending.is_none() || package.since.1 >= ago_s {
            package.ending = Some(Ending { state, text, is_kept: true });
            package.since = (now, ago_s);
        }
    }
}

fn log(out: &mut Vec<Effect>, level: log::Level, text: String) {
    out.push(Effect::Log(level, text));
}
