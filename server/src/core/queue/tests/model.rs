//! Random stories, played by a world that knows the truth.
//!
//! The world keeps the folders, the leases and what is on its way to the queue by two ways: what
//! leases say and what the watch says each stay in order, but come mixed. Checked: leases are never
//! asked for a package that is claimed already nor for a builder that is; and once everything heals, every
//! package that is not unusable ends in `finished/`. Operators cancel, retry and order builders about: each
//! change is answered once, with a reply for each thing it is about. In every other story what is built again changes
//! what it provides, for packages in a circle.

use std::collections::{BTreeSet, VecDeque};

use moji_proto::message::Order;

use super::super::wave::Wave;
use super::*;
use crate::core::capabilities::Capabilities;
use crate::core::desk;
use crate::core::repo::{self, Changed, Compare, Compared};
use crate::core::types::Fate;
use crate::core::view::{Change, Ticket};
use crate::testshare::share_of;

const BUILDERS: u8 = 4;
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A small generator (xorshift64*): the same seed tells the same story.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

struct World {
    rig: Rig,
    dice: Dice,
    source: BTreeSet<FileName>,
    finished: BTreeSet<FileName>,
    /// Live leases, and what was ruled on their result.
    leases: BTreeMap<FileName, (LeaseId, BuilderId, Option<End>)>,
    /// Second leases beside them.
    copies: BTreeMap<FileName, (LeaseId, BuilderId)>,
    /// Connected builders, and whether each is idle.
    up: BTreeMap<BuilderId, bool>,
    to_leases: VecDeque<leases::Msg>,
    from_leases: VecDeque<Msg>,
    from_watch: VecDeque<Msg>,
    /// Claims that the queue has no answer to yet.
    asked: Vec<(FileName, BuilderId)>,
    counter: u32,
    /// Second leases so far.
    copied: u32,
    healed: bool,
    /// Changes that are not answered, and how many replies each must have.
    tickets: BTreeMap<Ticket, usize>,
    /// Folders of what is published.
    published: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let rebuild_dependents = seed % 2 == 1;
        let duplicate_last = seed / 2 % 2 == 1;
        let earlier = Rig::new().queue.config;
        let mut rig = Rig::with(Config { attempts: 3, rebuild_dependents, duplicate_last, ..earlier });
        for (builder, seconds) in (1..=BUILDERS).zip([8_000, 4_000, 2_000, 1_000]) {
            if duplicate_last {
                rig.tell(Msg::Took { source: "a".to_owned(), builder: key(builder), seconds, silent_s: 0 });
            }
        }
        World {
            rig,
            dice: Dice(seed),
            source: BTreeSet::new(),
            finished: BTreeSet::new(),
            leases: BTreeMap::new(),
            copies: BTreeMap::new(),
            up: BTreeMap::new(),
            to_leases: VecDeque::new(),
            from_leases: VecDeque::new(),
            from_watch: VecDeque::new(),
            asked: Vec::new(),
            counter: 0,
            copied: 0,
            healed: false,
            tickets: BTreeMap::new(),
            published: Vec::new(),
        }
    }

    fn name(&mut self) -> FileName {
        file(NAMES[self.dice.roll(NAMES.len())])
    }

    fn short(name: &FileName) -> &str {
        name.as_str().split('-').next().unwrap()
    }

    fn watch(&mut self, name: &FileName) {
        let srpm = name.clone();
        self.from_watch.push_back(match self.source.contains(name) {
            true => Msg::Appeared { facts: srpm_of(name), srpm },
            false => Msg::Vanished { srpm },
        });
    }

    fn watch_finished(&mut self, name: &FileName) {
        let present = self.finished.contains(name);
        self.from_watch.push_back(Msg::FinishedChanged { srpm: name.clone(), present });
    }

    fn hear(&mut self, msg: Msg) {
        self.rig.tell(msg);
        for effect in self.rig.effects() {
            match effect {
                Effect::Leases(leases::Msg::Claim { srpm, builder, options, limits, beside }) => {
                    let double = self.asked.iter().any(|(s, b)| *s == srpm || *b == builder);
                    assert!(!double, "{srpm} for {builder:?} beside {:?}", self.asked);
                    self.asked.push((srpm.clone(), builder));
                    self.to_leases.push_back(leases::Msg::Claim { srpm, builder, options, limits, beside });
                }
                Effect::Leases(msg) => self.to_leases.push_back(msg),
                Effect::Desk(desk::Msg::Replied { ticket, replies }) => {
                    assert_eq!(self.tickets.remove(&ticket), Some(replies.len()), "{replies:?}");
                }
                Effect::Transfers(transfers::Msg::Ruling { lease, ruling }) => self.ruled(lease, &ruling),
                Effect::Repo(repo::Msg::Compare(builds)) => {
                    let compared = builds.into_iter().map(|build| self.compare(build)).collect();
                    self.from_leases.push_back(Msg::Compared(compared));
                }
                _ => {}
            }
        }
    }

    /// Some of what is published was built against it, until all is well.
    fn compare(&mut self, Compare { folder, .. }: Compare) -> Compared {
        let dependents: Vec<String> = self.published.clone();
        let dependents = dependents.into_iter().filter(|_| self.dice.roll(2) == 0).collect();
        let (what, offered) = ("something".to_owned(), Box::<Capabilities>::default());
        let change = (!self.healed).then_some(Changed { what, offered, dependents });
        Compared { folder, change }
    }

    /// Builders can see a result.
    fn index(&mut self, srpm: &FileName, folder: &str) {
        let short = World::short(srpm);
        let nevra = facts(short, Kind::Binary, "noarch").nevra;
        let provides = vec![Capability { name: format!("{short}-devel"), flags: 0, evr: String::new() }];
        let provided = Provided { nevra, provides, files: Vec::new(), source: None };
        let came = vec![(format!("{folder}/{short}.rpm").into(), provided)];
        self.from_leases.push_back(Msg::Published(News { came, ..News::default() }));
        self.published.push(folder.to_owned());
    }

    fn ruled(&mut self, lease: LeaseId, ruling: &Ruling) {
        let end = match ruling {
            Ruling::Publish { .. } => {
                End::Finished { verdict: Verdict::Success, folder: Some(format!("r-{}", lease.counter)) }
            }
            Ruling::Keep { verdict, .. } => finished(*verdict),
            Ruling::Reject { .. } => finished(Verdict::Failed),
            Ruling::Return { verdict, .. } => End::Returned(*verdict),
        };
        let entry = self.leases.values_mut().find(|(id, ..)| *id == lease);
        if let Some((.., ruled)) = entry {
            *ruled = Some(end);
        }
    }

    /// leases take one message from the queue.
    fn leases_work(&mut self) {
        match self.to_leases.pop_front() {
            Some(leases::Msg::Claim { srpm, builder, beside: true, .. }) => {
                let is_free = !self.copies.contains_key(&srpm) && self.up.get(&builder) == Some(&true);
                let may = |(_, main, ruled): &(LeaseId, BuilderId, Option<End>)| {
                    *main != builder && ruled.is_none()
                };
                if !is_free || !self.leases.get(&srpm).is_some_and(may) {
                    let why = ClaimFailure::Leased;
                    return self.from_leases.push_back(Msg::ClaimFailed { srpm, builder, why });
                }
                self.counter += 1;
                self.copied += 1;
                let lease = lease(self.counter);
                self.copies.insert(srpm.clone(), (lease, builder));
                self.up.insert(builder, false);
                self.from_leases.push_back(Msg::Granted { srpm, lease, builder, beside: true });
            }
            Some(leases::Msg::Claim { srpm, builder, .. }) => {
                let why = if self.leases.contains_key(&srpm) {
                    ClaimFailure::Leased
                } else if self.up.get(&builder) != Some(&true) {
                    ClaimFailure::NoBuilder
                } else if !self.source.contains(&srpm) {
                    ClaimFailure::NoSuchFile
                } else {
                    return self.grant(&srpm, builder);
                };
                self.from_leases.push_back(Msg::ClaimFailed { srpm, builder, why });
            }
            Some(leases::Msg::Retry { srpm }) => {
                let is_free = !self.leases.contains_key(&srpm) && !self.source.contains(&srpm);
                let moved = is_free && self.finished.remove(&srpm);
                if moved {
                    self.source.insert(srpm.clone());
                    self.watch_finished(&srpm);
                    self.watch(&srpm);
                }
                self.from_leases.push_back(Msg::Placed { srpm, to: leases::Place::Source, moved });
            }
            // What was ruled on is not cancelled.
            Some(leases::Msg::Cancel { srpm })
                if self.leases.get(&srpm).is_some_and(|(.., ruled)| ruled.is_none()) =>
            {
                self.end(&srpm, End::Cancelled);
            }
            Some(leases::Msg::Retire { srpm, .. }) => {
                let moved = !self.leases.contains_key(&srpm) && self.source.remove(&srpm);
                if moved {
                    self.finished.insert(srpm.clone());
                    self.watch(&srpm);
                    self.watch_finished(&srpm);
                }
                self.from_leases.push_back(Msg::Placed { srpm, to: leases::Place::Finished, moved });
            }
            _ => {}
        }
    }

    fn grant(&mut self, srpm: &FileName, builder: BuilderId) {
        self.counter += 1;
        let lease = lease(self.counter);
        self.source.remove(srpm);
        self.leases.insert(srpm.clone(), (lease, builder, None));
        self.up.insert(builder, false);
        self.from_leases.push_back(Msg::Granted { srpm: srpm.clone(), lease, builder, beside: false });
        self.watch(srpm);
    }

    fn end(&mut self, srpm: &FileName, end: End) {
        if let End::Returned(verdict) = end
            && self.copies.contains_key(srpm)
        {
            return self.promote(srpm, Fate::Returned(verdict));
        }
        self.end_copy(srpm, Fate::Outdone("x"));
        let Some((lease, builder, _)) = self.leases.remove(srpm) else { return };
        match end {
            End::Beside(_) => panic!("nothing else is there"),
            End::Finished { .. } | End::Cancelled => {
                self.finished.insert(srpm.clone());
                self.watch_finished(srpm);
            }
            End::Returned(_) => {
                self.source.insert(srpm.clone());
                self.watch(srpm);
            }
            End::Taken => {}
        }
        self.over(srpm, lease, builder, end);
    }

    fn end_copy(&mut self, srpm: &FileName, fate: Fate) {
        if let Some((lease, builder)) = self.copies.remove(srpm) {
            self.over(srpm, lease, builder, End::Beside(fate));
        }
    }

    /// The main lease is over, and the second one takes its place.
    fn promote(&mut self, srpm: &FileName, fate: Fate) {
        if let (Some((lease, builder, _)), Some((copy, on))) =
            (self.leases.remove(srpm), self.copies.remove(srpm))
        {
            self.leases.insert(srpm.clone(), (copy, on, None));
            self.over(srpm, lease, builder, End::Beside(fate));
        }
    }

    /// A builder with a copy is done, or its lease is lost.
    fn finish_copy(&mut self, srpm: &FileName) {
        let (Some((copy, on)), Some((.., None))) = (self.copies.get(srpm).copied(), self.leases.get(srpm))
        else {
            return;
        };
        let result = |verdict| Box::new(report(World::short(srpm), verdict));
        match if self.healed { 0 } else { self.dice.roll(4) } {
            0 => {
                self.promote(srpm, Fate::Outdone("x"));
                let (report, srpm) = (*result(Verdict::Success), srpm.clone());
                self.from_leases.push_back(Msg::Judge { srpm, lease: copy, builder: on, report });
            }
            1 => self.end_copy(srpm, Fate::InVain(result(Verdict::Failed))),
            2 => self.end_copy(srpm, Fate::InVain(result(Verdict::Infra))),
            _ => self.end_copy(srpm, Fate::Returned(Verdict::Lost)),
        }
    }

    fn over(&mut self, srpm: &FileName, lease: LeaseId, builder: BuilderId, end: End) {
        let folder = match &end {
            End::Finished { verdict: Verdict::Success, folder } => folder.clone(),
            _ => None,
        };
        let index_first = self.dice.roll(2) == 0;
        folder.iter().filter(|_| index_first).for_each(|folder| self.index(srpm, folder));
        self.from_leases.push_back(Msg::Ended { srpm: srpm.clone(), lease, builder, end });
        folder.iter().filter(|_| !index_first).for_each(|folder| self.index(srpm, folder));
        if self.up.contains_key(&builder) {
            self.ready(builder);
        }
    }

    fn ready(&mut self, builder: BuilderId) {
        self.up.insert(builder, true);
        self.from_leases.push_back(Msg::Ready { builder });
    }

    /// A builder is done, or its lease is lost.
    fn finish(&mut self, srpm: &FileName) {
        let Some((lease, builder, ruled)) = self.leases.get(srpm).cloned() else { return };
        if let Some(end) = ruled {
            return self.end(srpm, end);
        }
        let verdicts = [Verdict::Success, Verdict::Infra, Verdict::Memory, Verdict::Deps, Verdict::Failed];
        let roll = if self.healed { 0 } else { self.dice.roll(verdicts.len() + 2) };
        match verdicts.get(roll) {
            Some(verdict) => {
                let report = report(World::short(srpm), *verdict);
                self.from_leases.push_back(Msg::Judge { srpm: srpm.clone(), lease, builder, report });
            }
            None => self.end(srpm, End::Returned([Verdict::Lost, Verdict::Released][roll % 2])),
        }
    }

    fn connect(&mut self, builder: u8) {
        if self.up.insert(key(builder), false).is_none() {
            self.from_leases.push_back(Msg::BuilderUp { session: SessionId(1), info: info(builder) });
        }
        if !self.is_busy(key(builder)) {
            self.ready(key(builder));
        }
    }

    fn is_busy(&self, builder: BuilderId) -> bool {
        let copies = self.copies.values().map(|(_, holder)| *holder);
        self.leases.values().map(|(_, holder, _)| *holder).chain(copies).any(|holder| holder == builder)
    }

    /// A builder is back for a package that it had, although the lease was over.
    fn revive(&mut self, builder: BuilderId) {
        let name = self.name();
        let free = self.up.contains_key(&builder) && !self.is_busy(builder);
        if free && self.source.contains(&name) {
            self.grant(&name, builder);
        }
    }

    /// Somebody's hand in the folders.
    fn meddle(&mut self) {
        let name = self.name();
        match self.dice.roll(4) {
            0 => {
                self.source.remove(&name);
                self.watch(&name);
            }
            1 if self.finished.remove(&name) => {
                self.source.insert(name.clone());
                self.watch_finished(&name);
                self.watch(&name);
            }
            2 if self.leases.contains_key(&name) => self.end(&name, End::Taken),
            _ => {
                self.source.insert(name.clone());
                self.watch(&name);
            }
        }
    }

    /// An operator retries or cancels a package, or orders a builder about.
    fn order(&mut self) {
        self.counter += 1;
        let ticket = Ticket(self.counter.into());
        let name = self.name();
        let builder = key(1 + self.dice.roll(usize::from(BUILDERS)) as u8);
        let orders = [Order::Drain { exit: false }, Order::Resume, Order::Quarantine, Order::Release];
        let (order, packages, builders) = match self.dice.roll(8) {
            roll @ 0..4 => (orders[roll], Vec::new(), vec![builder]),
            4 | 5 => (Order::Cancel, vec![name.clone(), name], Vec::new()),
            _ => (Order::Retry { verdict: None }, vec![name], Vec::new()),
        };
        self.tickets.insert(ticket, packages.len().max(builders.len()));
        self.hear(Msg::Change(Change { ticket, who: "ann".to_owned(), order, packages, builders }));
    }

    fn deliver(&mut self) {
        let leases_first = self.dice.roll(2) == 0;
        let msg = match (leases_first, self.from_leases.is_empty(), self.from_watch.is_empty()) {
            (true, false, _) | (false, false, true) => self.from_leases.pop_front(),
            _ => self.from_watch.pop_front(),
        };
        let Some(msg) = msg else { return };
        // An answer to a claim: leases may be asked again.
        match &msg {
            Msg::Granted { srpm, builder, .. } | Msg::ClaimFailed { srpm, builder, .. } => {
                self.asked.retain(|asked| *asked != (srpm.clone(), *builder));
            }
            _ => {}
        }
        self.hear(msg);
    }

    fn step(&mut self) {
        match self.dice.roll(if self.healed { 8 } else { 14 }) {
            0..4 => self.deliver(),
            4 | 5 => self.leases_work(),
            6 => {
                let name = self.name();
                if self.dice.roll(2) == 0 {
                    self.finish_copy(&name);
                } else {
                    self.finish(&name);
                }
            }
            7 => {
                let ms = [1, 1_000, PAUSE_MS, 3_600_000][self.dice.roll(4)];
                self.rig.now = self.rig.now.plus_ms(ms);
                self.hear(Msg::Tick);
            }
            8 => self.meddle(),
            9 => {
                let builder = 1 + self.dice.roll(usize::from(BUILDERS)) as u8;
                self.connect(builder);
            }
            12 => self.order(),
            13 => self.publish(),
            10 => {
                let builder = key(1 + self.dice.roll(usize::from(BUILDERS)) as u8);
                self.revive(builder);
            }
            _ => {
                let builder = key(1 + self.dice.roll(usize::from(BUILDERS)) as u8);
                if self.up.remove(&builder).is_some() {
                    self.from_leases.push_back(Msg::BuilderDown { builder });
                }
            }
        }
    }

    /// Everybody is well from now on: what was dropped in must be built.
    /// Whatever is in `finished/` is shown there. (One that somebody took away before leases' word about it came
    /// may be shown too, until the next look at everything.)
    fn is_right(&self) {
        assert!(self.rig.queue.stock.waits.is_empty(), "nobody waits: {:?}", self.rig.queue.stock);
        for name in &self.finished {
            let shown = self.rig.queue.packages.get(name).map(|package| &package.state);
            assert_eq!(shown, Some(&State::Finished), "{name}");
        }
        let wave = format!("{:?}", self.rig.queue.rebuild.wave);
        assert_eq!(wave, format!("{:?}", Wave::default()), "nobody is built again");
    }

    /// What logs miss is published, or nobody knows what, or it is published no longer.
    fn publish(&mut self) {
        let msg = match self.dice.roll(3) {
            0 => Msg::Published(News::default()),
            1 => old_news("x"),
            _ => news("x"),
        };
        self.hear(msg);
    }

    fn heal(&mut self) {
        self.healed = true;
        (1..=BUILDERS).for_each(|builder| self.connect(builder));
        // One by one: of many, those that have nothing to end are not answered for.
        for (order, builder) in [Order::Resume, Order::Release]
            .into_iter()
            .flat_map(|order| (1..=BUILDERS).map(move |n| (order, key(n))))
        {
            self.counter += 1;
            let ticket = Ticket(self.counter.into());
            self.tickets.insert(ticket, 1);
            let (who, builders) = ("ann".to_owned(), vec![builder]);
            self.hear(Msg::Change(Change { ticket, who, order, packages: Vec::new(), builders }));
        }
        for _ in 0..20_000 {
            self.step();
            let is_quiet =
                self.from_watch.is_empty() && self.from_leases.is_empty() && self.to_leases.is_empty();
            if self.source.is_empty() && self.leases.is_empty() && is_quiet {
                assert!(self.tickets.is_empty(), "never answered: {:?}", self.tickets);
                return self.is_right();
            }
            if self.dice.roll(100) == 0 {
                self.publish();
            }
        }
        panic!("{:?} never built: {:?}", self.source, self.rig.queue.snapshot(self.rig.now));
    }
}

fn srpm_of(name: &FileName) -> Srpm {
    // Two of the files hold the same package.
    let short = World::short(name);
    let mut srpm = srpm(if short == "f" { "e" } else { short });
    // Two circles, with one package behind them.
    let needs: &[&str] = match short {
        "a" => &["b-devel"],
        "b" => &["c-devel"],
        "c" => &["a-devel", "b-devel"],
        "d" => &["a-devel", "e-devel"],
        _ => &[],
    };
    let capability = |name: &&str| Capability { name: (*name).to_owned(), flags: 0, evr: String::new() };
    srpm.facts.requires = needs.iter().map(capability).collect();
    srpm
}

#[test]
fn no_package_is_forgotten_and_none_is_leased_twice() {
    let (mut copied, stories) = (0, share_of(400));
    for seed in 1..=stories {
        let mut world = World::new(seed);
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.hear(Msg::Scanned);
            for name in NAMES {
                world.source.insert(file(name));
                world.watch(&file(name));
            }
            (0..600).for_each(|_| world.step());
            world.heal();
        }));
        assert!(told.is_ok(), "seed {seed}");
        copied += world.copied;
    }
    assert!(u64::from(copied) > stories / 4, "too few copies: {copied}");
}
