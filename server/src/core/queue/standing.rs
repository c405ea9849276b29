//! Builders as the queue sees them: who is idle, who is trusted, and whether the world is well.
//!
//! Owns quarantine and the trial after it, the canary and what counts as builders vanishing together. Never looks at
//! packages.

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::message::{Health, Trouble, Verdict};
use moji_proto::{FileName, Time};

use super::needs::Room;
use crate::core::types::{BuilderId, BuilderInfo, SessionId};
use crate::core::view::Told;

/// So many infra or lost in a row send a builder into quarantine.
const ROW_MAX: u32 = 3;
/// How long each quarantine in a row lasts, milliseconds: 1, 5, 15, 60 minutes. The first forgives a
/// reboot; the last costs a board that is broken for good an hour's worth of one package a time.
const QUARANTINE_MS: [u64; 4] = [60_000, 300_000, 900_000, 3_600_000];
/// Infra on so many builders with no success between means that the world is broken.
const WORLD_BUILDERS: usize = 3;
/// Builders that vanish within so many milliseconds vanish together: a power cut or a switch takes
/// the slowest of them 60 s of silence to be noticed.
const TOGETHER_MS: u64 = 60_000;
/// How many at least must vanish together: one is never a crowd.
const TOGETHER_MIN: usize = 2;

/// A builder's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not connected.
    Down,
    /// Connected.
    Up {
        /// Its session.
        session: SessionId,
        /// Since when it is idle; None while it is not.
        idle: Option<Time>,
        /// Whether it takes no new job.
        draining: bool,
    },
}

/// One builder; kept while it is away.
#[derive(Clone, Debug)]
pub(super) struct Builder {
    /// What it said of itself.
    pub(super) info: BuilderInfo,
    /// Its connection.
    pub(super) link: Link,
    /// The package that leases was asked to lease to it, until leases has answered.
    claiming: Option<FileName>,
    /// Under which moment it is among the idle ones.
    listed: Option<Time>,
    /// What keeps it from work, as it says.
    pub(super) trouble: Option<Trouble>,
    /// How its machine is, as of its last ping.
    pub(super) health: Health,
    /// What was leased to it last, and when.
    pub(super) job: Option<(FileName, Time)>,
    /// What operators told it.
    pub(super) told: Told,
    /// Since when it is connected, or away.
    pub(super) since: Time,
    /// Infra or lost in a row.
    pub(super) row: u32,
    /// Quarantines in a row.
    level: usize,
    /// No lease before.
    quarantined: Option<Time>,
    /// Whether its quarantine is over and it has built nothing since.
    on_trial: bool,
    /// Free disk when it last had nothing to do, MiB.
    disk_mib: u32,
    /// Whether it has said nothing of its disk since it got its present job.
    is_news: bool,
    /// When it last vanished.
    down_at: Option<Time>,
    /// When it last vanished together with others.
    crowd_at: Option<Time>,
}

impl Builder {
    fn new(info: BuilderInfo) -> Builder {
        Builder {
            info,
            link: Link::Down,
            claiming: None,
            listed: None,
            trouble: None,
            health: Health::default(),
            job: None,
            told: Told::default(),
            since: Time(0),
            row: 0,
            level: 0,
            quarantined: None,
            on_trial: false,
            disk_mib: 0,
            is_news: false,
            down_at: None,
            crowd_at: None,
        }
    }

    /// Whether it would take a package once it is idle.
    pub(super) fn is_willing(&self, now: Time) -> bool {
        let up = matches!(self.link, Link::Up { draining: false, .. });
        let told = self.told.drained || self.told.quarantined;
        up && !told && self.trouble.is_none() && self.quarantined.is_none_or(|until| until <= now)
    }

    /// Since when it could take a package at once; None if it cannot.
    pub(super) fn idle_since(&self) -> Option<Time> {
        match self.link {
            Link::Up { idle, draining: false, .. } if self.claiming.is_none() => idle,
            Link::Up { .. } | Link::Down => None,
        }
    }

    /// What it has for a package.
    pub(super) fn room(&self) -> Room {
        Room { memory_mib: self.info.memory_mib, disk_mib: self.disk_mib }
    }

    /// Whether it must show first that it is well again.
    pub(super) fn is_on_trial(&self) -> bool {
        self.on_trial
    }

    /// Takes what it says of its machine. One that is never idle for long has used little of its disk yet when it
    /// first speaks of a job.
    pub(super) fn take_health(&mut self, health: Health) {
        if matches!(self.link, Link::Up { idle: Some(_), .. }) || std::mem::take(&mut self.is_news) {
            self.disk_mib = health.disk_free_mib;
        }
        self.health = health;
        self.trouble = health.trouble;
    }

    /// When its quarantine ends, if it is in one.
    pub(super) fn quarantined_until(&self, now: Time) -> Option<Time> {
        self.quarantined.filter(|until| *until > now)
    }

    /// Its session, if it is connected.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self.link {
            Link::Up { session, .. } => Some(session),
            Link::Down => None,
        }
    }

    /// Ends its quarantine, whoever began it; false if there was none.
    pub(super) fn release(&mut self, now: Time) -> bool {
        let was = std::mem::take(&mut self.told.quarantined) || self.quarantined_until(now).is_some();
        (self.row, self.level, self.quarantined, self.on_trial) = (0, 0, None, false);
        was
    }
}

/// What a verdict did to the standing of builders, to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The builder gets nothing for so many milliseconds after so many infra or lost in a row.
    Quarantined {
        /// How long, milliseconds.
        for_ms: u64,
        /// How many in a row.
        row: u32,
    },
    /// From now on one lease at a time.
    Canary,
    /// The world is well again.
    Well,
    /// The builder built something after its quarantine.
    Trusted,
}

/// All builders, and the state of the world as their results show it.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// All that ever registered in this run.
    pub(super) all: BTreeMap<BuilderId, Builder>,
    /// Builders with an infra since the last success.
    infra_on: BTreeSet<BuilderId>,
    /// Whether there is one lease at a time.
    canary: bool,
    /// The package that is out as a canary.
    pub(super) bird: Option<FileName>,
    /// Who is idle, the longest first: derived, so that a message costs the same however many there are.
    idle: BTreeSet<(Time, BuilderId)>,
    /// Packages that leases was asked for and has not answered: derived too.
    claimed: BTreeSet<FileName>,
    /// What operators told builders that did not register in this run yet, with their names.
    pub(super) told: BTreeMap<BuilderId, (FileName, Told)>,
}

impl Standing {
    /// A builder registered.
    pub(super) fn up(&mut self, now: Time, session: SessionId, info: BuilderInfo) {
        let builder = self.all.entry(info.id).or_insert_with(|| Builder::new(info.clone()));
        let id = info.id;
        if let Some((_, told)) = self.told.remove(&id) {
            builder.told = told;
        }
        builder.since = now;
        builder.disk_mib = info.disk_free_mib;
        builder.info = info;
        builder.link = Link::Up { session, idle: None, draining: false };
        builder.trouble = None;
        self.list(id);
    }

    /// Leases is asked to lease a package to it.
    pub(super) fn claim(&mut self, id: BuilderId, srpm: &FileName) {
        if let Some(builder) = self.all.get_mut(&id) {
            builder.claiming = Some(srpm.clone());
            self.claimed.insert(srpm.clone());
            self.list(id);
        }
    }

    /// Leases has answered about that package.
    pub(super) fn answered(&mut self, id: BuilderId, srpm: &FileName) {
        if let Some(builder) = self.all.get_mut(&id)
            && builder.claiming.as_ref() == Some(srpm)
        {
            builder.claiming = None;
            self.claimed.remove(srpm);
            self.list(id);
        }
    }

    /// Brings a builder's place among the idle ones up to date.
    fn list(&mut self, id: BuilderId) {
        let Some(builder) = self.all.get_mut(&id) else { return };
        let since = builder.idle_since();
        if since == builder.listed {
            return;
        }
        if let Some(before) = std::mem::replace(&mut builder.listed, since) {
            self.idle.remove(&(before, id));
        }
        self.idle.extend(since.map(|since| (since, id)));
    }

    /// A builder's connection ended; with more than half of all within a minute, they vanished together.
    pub(super) fn down(&mut self, now: Time, id: BuilderId) {
        let Some(builder) = self.all.get_mut(&id) else { return };
        builder.link = Link::Down;
        builder.down_at = Some(now);
        builder.since = now;
        self.list(id);
        let vanished =
            |b: &Builder| b.link == Link::Down && b.down_at.is_some_and(|at| now.since_ms(at) <= TOGETHER_MS);
        let gone = self.all.values().filter(|b| vanished(b)).count();
        let left = self.all.values().filter(|b| b.link != Link::Down).count();
        if gone >= TOGETHER_MIN && gone > left {
            self.all.values_mut().filter(|b| vanished(b)).for_each(|b| b.crowd_at = Some(now));
        }
    }

    /// It is idle.
    pub(super) fn ready(&mut self, now: Time, id: BuilderId) {
        if let Some(Builder { link: Link::Up { idle, draining, .. }, .. }) = self.all.get_mut(&id) {
            *draining = false;
            idle.get_or_insert(now);
            self.list(id);
        }
    }

    /// It has something to do, or its readiness turned out to be old.
    pub(super) fn busy(&mut self, id: BuilderId) {
        if let Some(Builder { link: Link::Up { idle, .. }, is_news, .. }) = self.all.get_mut(&id) {
            (*idle, *is_news) = (None, true);
            self.list(id);
        }
    }

    /// It takes no new job. Says whether that is news.
    pub(super) fn drain(&mut self, id: BuilderId) -> bool {
        let is_news = match self.all.get_mut(&id) {
            Some(Builder { link: Link::Up { draining, .. }, .. }) => !std::mem::replace(draining, true),
            _ => false,
        };
        self.list(id);
        is_news
    }

    /// Whether `id` vanished together with most others at some time since `since`.
    pub(super) fn vanished_in_a_crowd(&self, id: BuilderId, since: Time) -> bool {
        self.all.get(&id).and_then(|b| b.crowd_at).is_some_and(|at| at >= since)
    }

    /// Takes the verdict on what a builder did. On trial, only a success clears it.
    pub(super) fn judged(&mut self, now: Time, id: BuilderId, verdict: Verdict, changes: &mut Vec<Change>) {
        match verdict {
            Verdict::Infra | Verdict::Lost => self.own_fault(now, id, changes),
            Verdict::Success | Verdict::Failed | Verdict::Excluded => {
                if let Some(builder) = self.all.get_mut(&id)
                    && (!builder.on_trial || verdict == Verdict::Success)
                {
                    (builder.row, builder.level, builder.quarantined) = (0, 0, None);
                    if std::mem::take(&mut builder.on_trial) {
                        changes.push(Change::Trusted);
                    }
                }
                self.infra_on.clear();
                if std::mem::take(&mut self.canary) {
                    self.bird = None;
                    changes.push(Change::Well);
                }
            }
            // mock and dnf ran: the row is broken, but nothing is proven.
            Verdict::Deps | Verdict::Memory | Verdict::Timeout => {
                if let Some(builder) = self.all.get_mut(&id).filter(|builder| !builder.on_trial) {
                    builder.row = 0;
                }
            }
            Verdict::Released => {}
        }
        if verdict == Verdict::Infra {
            self.infra_on.insert(id);
            if self.infra_on.len() >= WORLD_BUILDERS && !std::mem::replace(&mut self.canary, true) {
                changes.push(Change::Canary);
            }
        }
    }

    /// Whether nothing may be leased because a canary is out.
    pub(super) fn bird_is_out(&self) -> bool {
        self.canary && self.bird.is_some()
    }

    /// Whether there is one lease at a time.
    pub(super) fn is_canary(&self) -> bool {
        self.canary
    }

    /// Builders that could take something at once, the longest idle first.
    pub(super) fn idle(&self, now: Time) -> impl Iterator<Item = BuilderId> {
        let willing = move |id: &BuilderId| self.all.get(id).is_some_and(|b| b.is_willing(now));
        self.idle.iter().map(|(_, id)| *id).filter(willing)
    }

    /// Whether what is derived is what a look at all builders would find.
    pub(super) fn is_consistent(&self) -> bool {
        let idle = self.all.iter().filter_map(|(id, b)| Some((b.idle_since()?, *id)));
        let claimed = self.all.values().filter_map(|b| b.claiming.as_ref());
        idle.collect::<BTreeSet<_>>() == self.idle
            && claimed.collect::<BTreeSet<_>>() == self.claimed.iter().collect()
    }

    /// Whether leases was asked for anything and has not answered.
    pub(super) fn has_claims(&self) -> bool {
        !self.claimed.is_empty()
    }

    /// Whether leases was asked to lease this package and has not answered.
    pub(super) fn is_claimed(&self, name: &FileName) -> bool {
        self.claimed.contains(name)
    }

    /// Its host name, if it registered in this run.
    pub(super) fn host(&self, id: BuilderId) -> Option<FileName> {
        self.all.get(&id).map(|builder| builder.info.name.clone())
    }

    /// A name for logs.
    pub(super) fn name(&self, id: BuilderId) -> String {
        self.all.get(&id).map_or_else(|| id.fingerprint(), |b| b.info.name.to_string())
    }

    /// Ends quarantines whose time is over: a trial begins. Says whose.
    pub(super) fn pardon(&mut self, now: Time) -> Vec<BuilderId> {
        let over = |builder: &mut Builder| builder.quarantined.take_if(|until| *until <= now).is_some();
        let over = self.all.iter_mut().filter_map(|(id, builder)| over(builder).then_some((id, builder)));
        over.map(|(id, builder)| {
            builder.on_trial = true;
            *id
        })
        .collect()
    }

    fn own_fault(&mut self, now: Time, id: BuilderId, changes: &mut Vec<Change>) {
        let Some(builder) = self.all.get_mut(&id) else { return };
        builder.row += 1;
        if builder.row >= ROW_MAX {
            let for_ms = QUARANTINE_MS[builder.level.min(QUARANTINE_MS.len() - 1)];
            builder.level += 1;
            builder.quarantined = Some(now.plus_ms(for_ms));
            changes.push(Change::Quarantined { for_ms, row: builder.row });
        }
    }
}
