//! What must hold, whatever happens.
//!
//! Owns a model of its own of leases and results, fed only by what cores say to each other and to
//! builders, and compares it with the disk. Never asks a core what it believes.

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::message::Verdict;
use moji_proto::{Digest, FileName, LeaseId, Line, PublicKey};
use moji_server::core::queue;
use moji_server::core::transfers::Manifest;
use moji_server::core::types::Outcome;
use moji_server::decision;
use moji_server::repodata::{PIECE_NAME, decode_piece};
use moji_server::result_json::ResultJson;

use super::disk::SimDisk;
use order::OrderModel;

mod order;
#[cfg(test)]
mod tests;

/// A lost lease is nobody's fault within this time after the hub's start, milliseconds: DESIGN's "lost
/// does not when the hub restarted", as long as leases wait for their builders then at least.
const RESTART_MS: u64 = 120_000;

/// What a build lacks that has a thin repository, and none with all of them.
pub(super) const LACKS: &str = "not-in-the-thin-one";

/// A commit that was promised.
#[derive(Clone, Debug)]
struct Promise {
    folder: String,
    srpm: FileName,
    /// Digest of each file, `result.json` too.
    files: BTreeMap<String, Digest>,
}

/// Whom something is sent to.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    /// The session is over: nobody hears it.
    Nobody,
    /// Who never registered.
    Stranger,
    /// A builder.
    Builder(PublicKey),
}

/// The model.
#[derive(Debug, Default)]
pub(super) struct Checker {
    /// Leases that live, by what leases told the queue.
    live: BTreeMap<LeaseId, (FileName, PublicKey)>,
    /// Those that are second ones, beside another that lives.
    seconds: BTreeSet<LeaseId>,
    /// All leases that were ever opened.
    opened: BTreeSet<LeaseId>,
    /// Who ever held which lease.
    holders: BTreeMap<LeaseId, PublicKey>,
    /// Leases that this run of the hub found and whose builder has not come back.
    inherited: BTreeSet<LeaseId>,
    /// Jobs that were sent.
    offered: BTreeMap<LeaseId, PublicKey>,
    /// Jobs that nobody heard of.
    unheard: BTreeSet<LeaseId>,
    /// Commits that are on disk, promised or not.
    committed: BTreeMap<LeaseId, Promise>,
    /// The folders of each package in `repo/`.
    folders: BTreeMap<FileName, Vec<String>>,
    /// The last verdict on each package.
    verdicts: BTreeMap<FileName, Verdict>,
    order: OrderModel,
    /// The hub is being stopped.
    stopping: bool,
    /// Builders that came, went, gave a lease back or lost it, of which not every actor may have heard.
    news: BTreeSet<PublicKey>,
    /// mock options that `options.txt` ever had for a package, each as one text.
    options: BTreeMap<usize, BTreeSet<String>>,
    /// Packages with which people did something: only a part of what must hold can be told of them.
    pub(super) touched: BTreeSet<String>,
    /// Packages that people took out of the folders.
    pub(super) absent: BTreeSet<String>,
    /// Packages of which an attempt was ever charged.
    pub(super) charged: BTreeSet<String>,
    /// The first thing that is wrong.
    pub(super) wrong: Option<String>,
}

impl Checker {
    /// Something is wrong.
    pub(super) fn fail(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(what());
        }
    }

    /// A run of the hub begins; what it finds is told by [`Checker::granted`] next.
    pub(super) fn hub_started(&mut self) {
        self.live.clear();
        self.seconds.clear();
        self.inherited.clear();
        self.order.forget();
        self.stopping = false;
        self.news.clear();
    }

    /// The hub told the queue of a lease; `found` if it was found at the start, `beside` if it is a second one, which may
    /// be beside exactly one of another builder.
    pub(super) fn granted(
        &mut self,
        lease: LeaseId,
        srpm: &FileName,
        builder: PublicKey,
        found: bool,
        beside: bool,
    ) {
        let others = self.live.iter().filter(|(id, (name, _))| name == srpm && **id != lease);
        let others: Vec<(LeaseId, PublicKey)> = others.map(|(id, (_, holder))| (*id, *holder)).collect();
        if beside {
            let right = matches!(others[..], [(_, holder)] if holder != builder);
            self.require(right, || format!("{srpm} has the lease {lease} beside {others:?}"));
            self.seconds.insert(lease);
        } else {
            self.require(others.is_empty(), || format!("{srpm} has two live leases: {lease} and {others:?}"));
        }
        let holder = *self.holders.entry(lease).or_insert(builder);
        self.require(holder == builder, || format!("lease {lease} of one builder went to another"));
        self.live.insert(lease, (srpm.clone(), builder));
        if found {
            self.inherited.insert(lease);
        }
    }

    /// The hub opens a new lease.
    pub(super) fn opened(&mut self, lease: LeaseId) {
        let new = self.opened.insert(lease);
        self.require(new, || format!("lease id {lease} was used twice"));
        let live = self.live.contains_key(&lease);
        self.require(live, || format!("lease {lease} was opened and the queue knows nothing of it"));
    }

    /// A builder is back with a lease.
    pub(super) fn adopted(&mut self, lease: LeaseId, builder: PublicKey) {
        self.inherited.remove(&lease);
        let holds = self.live.get(&lease).is_some_and(|(_, holder)| *holder == builder);
        self.require(holds, || format!("lease {lease} was adopted by somebody who does not hold it"));
    }

    /// The hub told the queue that a lease is over.
    pub(super) fn ended(&mut self, lease: LeaseId) {
        if let Some((srpm, holder)) = self.live.remove(&lease) {
            self.heard_of(holder);
            // Whichever of two goes on is the main one.
            let live = &self.live;
            self.seconds.retain(|second| live.get(second).is_some_and(|(name, _)| *name != srpm));
        }
    }

    /// Leases are told of a builder: it came, went, or gave a lease back. Once the hub is told to stop nothing counts.
    pub(super) fn heard_of(&mut self, builder: PublicKey) {
        if !self.stopping {
            self.news.insert(builder);
        }
    }

    /// No message waits in the hub.
    pub(super) fn all_heard(&mut self) {
        self.news.clear();
    }

    /// A job goes out. The session that it is for may be over, which transfers hear of later: then nobody got it,
    /// whoever builds it all the same was not offered it, and its lease ends like every other, but costs no attempt.
    pub(super) fn job(&mut self, lease: LeaseId, to: To) {
        let holder = self.live.get(&lease).map(|(_, holder)| *holder);
        let right = match to {
            To::Nobody => {
                self.unheard.insert(lease);
                true
            }
            To::Stranger => false,
            To::Builder(to) => {
                self.offered.insert(lease, to);
                holder.is_none_or(|holder| holder == to)
            }
        };
        self.require(right, || format!("job {lease} was sent to the wrong builder"));
    }

    /// A board starts mock.
    pub(super) fn started(&mut self, lease: LeaseId, board: PublicKey, others: usize, right: bool) {
        let offered = self.offered.get(&lease) == Some(&board);
        self.require(offered, || format!("a board builds {lease}, which it does not hold"));
        self.require(others == 0, || format!("a board builds {lease} and {others} more"));
        self.require(right, || format!("a board builds {lease} from an SRPM with a wrong digest"));
    }

    /// A result is about to be committed.
    pub(super) fn commits(&mut self, lease: LeaseId, builder: Option<PublicKey>) {
        let holder = self.live.get(&lease).map(|(_, holder)| *holder);
        self.require(holder.is_some(), || format!("the result of {lease} is accepted without a live lease"));
        self.require(builder.is_none() || holder == builder, || {
            format!("the result of {lease} is accepted from somebody who does not hold it")
        });
        let second = self.seconds.contains(&lease);
        self.require(!second, || format!("the result of {lease} is accepted beside a live lease"));
    }

    /// What comes of a result was ruled: nobody pays for what a thin repository lacked.
    pub(super) fn rules(&mut self, lease: LeaseId, manifest: &Manifest) {
        let lacked = manifest.evidence.iter().any(|(_, line)| line.as_str().contains(LACKS));
        self.require(!lacked, || format!("{lease} is ruled on by what its thin repository lacked"));
    }

    /// A commit was carried out.
    pub(super) fn committed(
        &mut self,
        disk: &SimDisk,
        lease: LeaseId,
        srpm: Option<FileName>,
        outcome: &Outcome,
    ) {
        let Outcome::Committed { folder, .. } = outcome else { return };
        match self.complete(disk, folder, true) {
            Ok((_, files)) => {
                let Some(srpm) = srpm else { return };
                self.promise(lease, Promise { folder: folder.clone(), srpm, files });
            }
            Err(why) => self.fail(format!("{lease} was committed, but a power cut now would lose it: {why}")),
        }
    }

    fn promise(&mut self, lease: LeaseId, promise: Promise) {
        if !self.committed.contains_key(&lease) {
            self.folders.entry(promise.srpm.clone()).or_default().push(promise.folder.clone());
            self.committed.insert(lease, promise);
        }
    }

    /// `Accepted` goes out.
    pub(super) fn accepted(&mut self, disk: &SimDisk, lease: LeaseId, to: Option<PublicKey>) {
        let Some(promise) = self.committed.get(&lease).cloned() else {
            return self.fail(format!("{lease} was accepted and is not in repo/"));
        };
        if let Err(why) = self.complete(disk, &promise.folder, true) {
            self.fail(format!("{lease} was accepted, but a power cut now would lose it: {why}"));
        }
        let right = to.is_none() || self.holders.get(&lease).copied() == to;
        self.require(right, || format!("{lease} was accepted from somebody who does not hold it"));
    }

    /// `Done` goes out: its builder deletes the spool.
    pub(super) fn done(&mut self, disk: &SimDisk, lease: LeaseId) {
        let there = disk.names("repo").iter().any(|folder| {
            let json = disk.durable_bytes(&format!("repo/{folder}/result.json"));
            let json = json.and_then(|bytes| serde_json::from_slice::<ResultJson>(&bytes).ok());
            json.is_some_and(|json| json.lease == lease.to_string())
        });
        self.require(there, || format!("{lease} was told to be done and is not in repo/ for good"));
    }

    /// A verdict on an attempt, as the history is told.
    pub(super) fn verdict(
        &mut self,
        srpm: &FileName,
        lease: LeaseId,
        verdict: Verdict,
        charged: bool,
        hub_age_ms: u64,
    ) {
        self.verdicts.insert(srpm.clone(), verdict);
        if !charged {
            return;
        }
        // What was lost before that, and only is handled now, counts.
        let before = self.holders.get(&lease).is_some_and(|holder| self.news.contains(holder));
        let why =
            || format!("lease {lease} ended as {verdict} and was charged while the hub was being stopped");
        self.require(!self.stopping || verdict != Verdict::Lost || before, why);
        self.charged.insert(srpm.as_str().to_owned());
        let had = !self.inherited.contains(&lease) && !self.unheard.contains(&lease);
        let may = match verdict {
            Verdict::Memory => true,
            Verdict::Lost => hub_age_ms > RESTART_MS && had,
            _ => false,
        };
        self.require(may, || format!("lease {lease} ended as {verdict} and was charged"));
    }

    /// The hub is told to stop.
    pub(super) fn hub_stops(&mut self) {
        self.stopping = true;
    }

    /// `options.txt` has this for a package now.
    pub(super) fn may_have(&mut self, package: usize, option: &str, value: &str) {
        let words = self.options.entry(package).or_default();
        words.insert(option.to_owned());
        words.insert(value.to_owned());
        words.insert(format!("{option}={value}"));
    }

    /// A build was told these options.
    pub(super) fn has(&mut self, package: usize, words: &[Line]) {
        let known =
            |word: &&Line| self.options.get(&package).is_some_and(|known| known.contains(word.as_str()));
        if let Some(word) = words.iter().find(|word| !known(word)) {
            self.fail(format!("p{package} is built with '{word}', which options.txt never had for it"));
        }
    }

    /// The queue is told something.
    pub(super) fn told_queue(&mut self, msg: &queue::Msg) {
        self.order.told(msg, |name| self.touched.contains(name), |name| self.verdicts.contains_key(name));
    }

    /// The queue wants this package leased: nothing may wait that goes before it.
    pub(super) fn claimed(&mut self, srpm: &FileName) {
        if let Some(first) = self.order.claimed(srpm) {
            self.fail(format!("{srpm} is leased, and {first} goes before it"));
        }
    }

    /// The queue put a builder into quarantine: what it gets next is chosen otherwise.
    pub(super) fn quarantined(&mut self) {
        self.order.has_trials = true;
    }

    /// When everything is done the queue knows `priority.txt` as it is; its last line is of no package.
    pub(super) fn knows_priority(&mut self, want: &[String]) {
        let known = self.order.listed.split_last().map_or(&[][..], |(_, known)| known);
        let why = || format!("priority.txt has {want:?}, and the queue knows {known:?}");
        let wrong = (known != want).then(why);
        self.wrong = self.wrong.take().or(wrong);
    }

    /// After a start of the hub, with recovery through.
    pub(super) fn after_recovery(&mut self, disk: &SimDisk) {
        self.repo(disk);
        let committed: Vec<(LeaseId, Promise)> =
            self.committed.iter().map(|(l, p)| (*l, p.clone())).collect();
        for (lease, promise) in committed {
            match self.complete(disk, &promise.folder, false) {
                Ok((_, files)) if files == promise.files => {}
                Ok(_) => self.fail(format!("repo/{} is not what it was", promise.folder)),
                Err(why) => self.fail(format!("{lease} was committed and is lost: {why}")),
            }
            let name = promise.srpm.as_str();
            if !self.touched.contains(name) && disk.look(&format!("finished/{name}")).is_none() {
                self.fail(format!("{lease} was committed; after recovery {name} is not in finished/"));
            }
        }
    }

    /// All of `repo/` is complete.
    pub(super) fn repo(&mut self, disk: &SimDisk) {
        for folder in disk.names("repo") {
            // People put RPMs there too.
            if folder == "repodata" || folder.starts_with('.') || folder.starts_with("hand") {
                continue;
            }
            match self.complete(disk, &folder, false) {
                Ok((json, files)) => {
                    // Committed, although whoever did it died before it could say so.
                    if let (Ok(lease), Ok(srpm)) = (json.lease.parse(), FileName::new(json.srpm)) {
                        self.promise(lease, Promise { folder, srpm, files });
                    }
                }
                Err(why) => self.fail(why),
            }
        }
        if let Some(why) = disk.violation() {
            self.fail(why);
        }
    }

    /// The SRPM is in one folder, as far as the hub moves it.
    pub(super) fn one_place(&mut self, disk: &SimDisk, name: &str) {
        if self.absent.contains(name) {
            return;
        }
        let places: Vec<&str> = ["source", "working", "finished"]
            .into_iter()
            .filter(|p| disk.look(&format!("{p}/{name}")).is_some())
            .collect();
        let fine = if self.touched.contains(name) { !places.is_empty() } else { places.len() == 1 };
        self.require(fine, || format!("{name} is in {places:?}"));
    }

    /// Whether a folder of `repo/` was committed and the hub has said so.
    #[must_use]
    pub(super) fn is_promised(&self, folder: &str) -> bool {
        self.committed.values().any(|promise| promise.folder == folder)
    }

    /// Live leases.
    #[must_use]
    pub(super) fn live(&self) -> Vec<LeaseId> {
        self.live.keys().copied().collect()
    }

    /// The last verdict on each package.
    #[must_use]
    pub(super) fn verdicts(&self) -> &BTreeMap<FileName, Verdict> {
        &self.verdicts
    }

    /// Folders of what is committed for a package.
    #[must_use]
    pub(super) fn results_of(&self, name: &str) -> Vec<String> {
        FileName::new(name).ok().and_then(|name| self.folders.get(&name).cloned()).unwrap_or_default()
    }

    /// Reads a folder of `repo/`: all that `result.json` lists must be there.
    fn complete(
        &self,
        disk: &SimDisk,
        folder: &str,
        durable: bool,
    ) -> Result<(ResultJson, BTreeMap<String, Digest>), String> {
        let read = |name: &str| {
            let path = format!("repo/{folder}/{name}");
            if durable { disk.durable_bytes(&path) } else { disk.bytes(&path) }
        };
        let missing = |name: &str| format!("repo/{folder}/{name} is not there");
        let bytes = read("result.json").ok_or_else(|| missing("result.json"))?;
        let json: ResultJson =
            serde_json::from_slice(&bytes).map_err(|error| format!("repo/{folder}: {error}"))?;
        let mut files = BTreeMap::from([("result.json".to_owned(), Digest::of(&bytes))]);
        for file in &json.files {
            let path = format!("repo/{folder}/{}", file.name);
            let (size, digest) = disk.fingerprint(&path, durable).ok_or_else(|| missing(&file.name))?;
            if size != file.size || digest.to_string() != file.digest {
                return Err(format!("repo/{folder}/{} is not what result.json says", file.name));
            }
            files.insert(file.name.clone(), digest);
        }
        let rpms = json.files.iter().filter(|file| file.package.is_some());
        let rpms: BTreeSet<String> = rpms.map(|file| format!("{folder}/{}", file.name)).collect();
        if !rpms.is_empty() {
            let piece = read(PIECE_NAME).ok_or_else(|| missing(PIECE_NAME))?;
            let groups = decode_piece(&piece).map_err(|e| format!("repo/{folder}/{PIECE_NAME}: {e}"))?;
            let described = groups.iter().flat_map(|group| &group.packages);
            if described.map(|listed| listed.path.to_string()).collect::<BTreeSet<_>>() != rpms {
                return Err(format!("repo/{folder}/{PIECE_NAME} describes others than its RPMs"));
            }
            files.insert(PIECE_NAME.to_owned(), Digest::of(&piece));
        }
        let there = disk.names(&format!("repo/{folder}"));
        // Derived from the RPMs, but it must not change either; and what operators decide comes later.
        if let Some((_, digest)) = disk.fingerprint(&format!("repo/{folder}/{PIECE_NAME}"), durable) {
            files.insert(PIECE_NAME.to_owned(), digest);
        }
        let there = there.into_iter().filter(|name| name != decision::FILE_NAME).collect::<Vec<_>>();
        if let Some(more) = there.iter().find(|name| !files.contains_key(*name)) {
            return Err(format!("repo/{folder}/{more} is not in result.json"));
        }
        Ok((json, files))
    }
}
