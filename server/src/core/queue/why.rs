//! Why one package is where it is, in words.
//!
//! Owns no state and decides nothing: it repeats the questions of [`super::matching`] and [`super::deps`] and says what
//! came out. Each line names the thing and, where somebody can do something, the command. What only the desk knows, the
//! phase of a build, and what only the history knows, the attempts, are told behind it.

use std::collections::{BTreeMap, BTreeSet};

use moji_proto::message::{BuilderState, LackRow, PackageState, ToOperator, Topic};
use moji_proto::{FileName, Line, Time};

use super::chain::Place;
use super::deps::Wants;
use super::look::{count32, duration, seconds};
use super::messages::About;
use super::order::{Rank, stem};
use super::package::{Hold, Leased, Package, State};
use super::standing::{Builder, Link};
use super::{Effect, Queue, verdict};
use crate::core::capabilities::{Answer, Requirement};
use crate::core::desk;
use crate::core::types::{BuilderId, Srpm};
use crate::core::view::Ticket;

/// So many names stand in a line.
const NAMES_MAX: usize = 3;
/// So many neighbours of a package are named, each way.
const NEIGHBOURS_MAX: usize = 100;
/// So many packages of a chain stand in a line.
const CHAIN_MAX: usize = 6;

/// Lines so far.
#[derive(Default)]
struct Said(Vec<ToOperator>);

impl Said {
    fn say(&mut self, topic: Topic, text: impl AsRef<str>) {
        self.0.push(ToOperator::Text { topic, line: Line::lossy(text.as_ref()) });
    }

    fn why(&mut self, text: impl AsRef<str>) {
        self.say(Topic::Why, text);
    }

    fn next(&mut self, text: impl AsRef<str>) {
        self.say(Topic::Next, text);
    }
}

impl Queue {
    /// Answers an `Ask`.
    pub(super) fn give_reasons(&mut self, now: Time, ticket: Ticket, about: &About, out: &mut Vec<Effect>) {
        // Chains and places as they are now; where there are many, as they were a moment ago: everybody would wait for it.
        if self.chain.is_small() {
            self.chain.hurry();
            self.look_at_chains(now);
        }
        out.push(Effect::Desk(match about {
            About::Package(name) => desk::Msg::Explained { ticket, rows: self.explain(now, name) },
            About::Blocked { rows } => {
                desk::Msg::Surveyed { ticket, survey: Box::new(self.survey(now, *rows)) }
            }
        }));
    }

    fn explain(&self, now: Time, name: &FileName) -> Vec<ToOperator> {
        let mut said = Said::default();
        let Some(package) = self.packages.get(name) else { return said.0 };
        self.rebuild.words(name).into_iter().for_each(|words| said.why(words));
        match &package.state {
            State::Gone => said.why("it left source/ a moment ago"),
            State::Unusable { why } => {
                said.why(format!("it is no whole SRPM: {why}"));
                said.next("put a whole one in its place in source/");
            }
            State::Waiting => self.say_waiting(now, name, package, &mut said),
            State::Held(Hold::Deps { wants, until, is_guess }) => {
                if *is_guess {
                    said.why("was never tried: its header names what neither mainline nor this hub provides");
                    said.next("a header may be wrong: tried once when a builder would idle");
                }
                self.say_deps(now, name, package, wants, *until, &mut said);
                self.say_cycle(name, &mut said);
            }
            State::Held(Hold::Duplicate { of }) => {
                let short = stem(of.as_str());
                said.why(format!("{of} is the same package and comes first (moji why {short})"));
                said.next(format!("goes on when {short} has left source/; take one of both out"));
            }
            State::Held(Hold::Behind { first, until }) => {
                let first = stem(first.as_str());
                said.why(format!(
                    "{first} is built again first, and it is built against that (moji why {first})"
                ));
                let (short, when) = (stem(name.as_str()), duration(until.since_ms(now)));
                said.next(format!(
                    "waits for that no longer than {when}; moji retry {short} builds it at once"
                ));
            }
            State::Claimed { builder } => {
                said.why(format!("is being leased to {}", self.standing.name(*builder)));
            }
            State::Leased(leased) => self.say_building(name, package, leased, &mut said),
            State::Retiring => {
                said.why("is on its way to finished/");
                self.say_ending(name, package, &mut said);
            }
            State::Finished => self.say_ending(name, package, &mut said),
            State::Returning { .. } => said.why("is on its way back to source/"),
        }
        for first in self.chain.first(name).into_iter().take(NEIGHBOURS_MAX) {
            said.say(Topic::First, first.as_str());
        }
        for behind in self.chain.waiting_for(name).take(NEIGHBOURS_MAX) {
            said.say(Topic::Behind, behind.as_str());
        }
        said.0
    }

    // ---- what waits its turn

    fn say_waiting(&self, now: Time, name: &FileName, package: &Package, said: &mut Said) {
        if let Some(blocked) = self.blocked() {
            said.why(format!("nothing is leased: {blocked}"));
        }
        if package.not_before.is_some_and(|at| at > now) {
            said.why("the last try to lease it failed: again in a moment");
        }
        if let Some(last) = package.past.last {
            said.why(format!("its last try ended {last}"));
        }
        let (charged, of) = (package.past.charged.len(), self.config.attempts);
        if charged > 0 {
            said.why(format!("{charged} of {of} attempts are used up"));
        }
        self.say_order(name, package, said);
        self.say_cycle(name, said);
        self.say_builders(now, name, package, said);
    }

    fn say_order(&self, name: &FileName, package: &Package, said: &mut Said) {
        let Some((before, rank)) = self.order.place_of(name) else { return };
        let all = self.order.iter().count();
        let place = self.chain.place(name);
        let reason = match rank {
            Rank::Listed(line) => format!("line {} of priority.txt", line + 1),
            Rank::Released(_) => "a builder gave it back, so it goes before what was never tried".to_owned(),
            Rank::Plain(_) => self.weight(name, place),
            Rank::Behind(_) => {
                let first = some(
                    self.chain.first(name).into_iter().map(|one| stem(one.as_str())),
                    place.blocked as usize,
                );
                format!("behind what looks as if it must be built first: {first}")
            }
            Rank::Again(times) => format!(
                "a BuildRequires was missing {}: it is tried blindly, after all that was never tried",
                match times {
                    1 => "once before".to_owned(),
                    times => format!("{times} times before"),
                }
            ),
        };
        said.say(Topic::Order, format!("number {} of {all}: {reason}", before + 1));
        if matches!(rank, Rank::Behind(_)) {
            said.say(Topic::Order, self.weight(name, place));
        }
        if matches!(rank, Rank::Plain(_) | Rank::Behind(_)) {
            let size = package.srpm.as_ref().map_or(0, |srpm| srpm.size);
            said.say(Topic::Order, format!("of equal chains the larger SRPM goes first: {size} bytes"));
        }
        if before > 0 && !matches!(rank, Rank::Listed(_)) {
            said.next(format!("moji prio {} puts it first", stem(name.as_str())));
        }
    }

    /// What hangs on it.
    fn weight(&self, name: &FileName, place: Place) -> String {
        let has_times = self.times.has_any();
        let own = if has_times {
            format!("it builds for about {}", duration(place.likely_s * 1_000))
        } else {
            "no build time is known".to_owned()
        };
        let chain = self.chain.longest(name);
        if chain.len() < 2 {
            return format!("nothing waits behind it; {own}");
        }
        let shown =
            chain.iter().take(CHAIN_MAX).map(|one| stem(one.as_str())).collect::<Vec<_>>().join(" → ");
        let more = if chain.len() > CHAIN_MAX { " → …" } else { "" };
        let long = if has_times {
            format!("a chain of {} of building with all behind it", duration(place.chain_s * 1_000))
        } else {
            format!("a chain of {} packages", chain.len())
        };
        format!("{long} (longest: {shown}{more}); {own}")
    }

    // ---- builders

    /// Why nobody who is not at work has it.
    fn say_builders(&self, now: Time, name: &FileName, package: &Package, said: &mut Said) {
        let at_work: BTreeSet<BuilderId> = self.packages.values().flat_map(builders_of).collect();
        let may = self.who_may(now, package);
        let (mut busy, mut busy_may, mut reasons) = (0, 0, BTreeMap::<String, Vec<&str>>::new());
        for (id, builder) in self.standing.all.iter().filter(|(_, b)| b.link != Link::Down) {
            if at_work.contains(id) {
                busy += 1;
                busy_may += usize::from(may.contains(id));
                continue;
            }
            let reason = self.passed_over(now, name, package, (*id, builder), &may);
            reasons.entry(reason).or_default().push(builder.info.name.as_str());
        }
        if busy == 0 && reasons.is_empty() {
            return said.why("no builder is connected");
        }
        if busy > 0 {
            let text = match (busy, busy_may) {
                (1, 1) => "1 builder is at work that may have it".to_owned(),
                (1, _) => "1 builder is at work that may not have it".to_owned(),
                (_, may) => format!("{busy} builders are at work, {may} of them may have it"),
            };
            said.say(Topic::Passed, text);
        }
        for (reason, names) in reasons {
            let count = names.len();
            said.say(Topic::Passed, format!("{}: {reason}", some(names.into_iter(), count)));
        }
    }

    /// Why a builder that is not at work does not have it.
    fn passed_over(
        &self,
        now: Time,
        name: &FileName,
        package: &Package,
        (id, builder): (BuilderId, &Builder),
        may: &[BuilderId],
    ) -> String {
        let (state, why) = self.how(now, id, builder, false);
        if state != BuilderState::Idle {
            let until = builder.quarantined_until(now).filter(|_| !builder.told.quarantined);
            let more = until
                .map(|until| format!(", for {} more", duration(until.since_ms(now))))
                .unwrap_or_default();
            return match (state, why.as_str()) {
                (_, "") => format!("{state}{more}"),
                (BuilderState::Unfit, why) => why.to_owned(),
                (_, why) => format!("{state}: {why}{more}"),
            };
        }
        let arch = builder.info.arch.as_str();
        if let Some(until) = package.past.not_on.get(&id).filter(|until| **until > now) {
            return format!("it failed there: not again for {}", duration(until.since_ms(now)));
        }
        if let Some(keeper) = self.kept.get(name).filter(|_| may.contains(&id)) {
            let here_s = self.chain.place(name).likely_s as f64 / self.times.speed(id);
            let here = duration((here_s * 1_000.0) as u64);
            return format!(
                "kept for {}, where it is done sooner: it takes about {here} here",
                self.standing.name(*keeper)
            );
        }
        if !self.is_for_target(id) {
            return format!("the list of builders does not allow it {arch}");
        }
        if builder.idle_since().is_none() {
            return "has not said yet that it is ready".to_owned();
        }
        if may.contains(&id) {
            return "may have it, and gets it next".to_owned();
        }
        self.outdone(package, (id, builder), may)
    }

    /// Why others may have it and this builder may not: the first wish that they meet and it does not.
    fn outdone(&self, package: &Package, (id, builder): (BuilderId, &Builder), may: &[BuilderId]) -> String {
        let others = || may.iter().filter_map(|id| self.standing.all.get(id));
        let suits = |one: &Builder| {
            let allows = |srpm: &Srpm| verdict::header_allows(&srpm.facts, one.info.arch.as_str());
            package.srpm.as_ref().is_none_or(allows)
        };
        let is_new = |one: &BuilderId| !package.past.lost_on.contains(one);
        if !suits(builder) && others().any(suits) {
            return format!("its header rules {} out", builder.info.arch);
        }
        if !is_new(&id) && may.iter().any(is_new) {
            return "it was lost there: others are tried first".to_owned();
        }
        match package.past.memory_mib {
            Some(tried) => format!("has {} MiB, and {tried} MiB were not enough", builder.info.memory_mib),
            None => "others suit it better".to_owned(),
        }
    }

    // ---- what waits for capabilities

    fn say_deps(
        &self,
        now: Time,
        name: &FileName,
        package: &Package,
        wants: &Wants,
        until: Time,
        said: &mut Said,
    ) {
        let again = format!("tried again all the same in {}", duration(until.since_ms(now)));
        let retry = format!("moji retry {} tries it at once", stem(name.as_str()));
        if wants.is_empty() {
            said.why("a BuildRequires was missing, and no log names which");
            said.next("tried again a pause after the next publication");
            said.next(format!("{again}; {retry}"));
            return;
        }
        let sources = self.sources();
        let mut lacking = 0;
        for text in wants.names() {
            let there = self.stock.there.answer(&Requirement::parse(&text)) == Answer::Yes;
            lacking += usize::from(!there);
            said.0.push(ToOperator::Lack(self.lack(now, name, wants, text, there, &sources)));
        }
        let any = match (wants.all.is_empty(), wants.any.len()) {
            (_, 0) => "",
            (true, 1) => "",
            (true, _) => " (one of those marked 'or' is enough)",
            (false, _) => " (of those marked 'or' one is enough)",
        };
        if lacking > 0 {
            said.why(format!(
                "its log names what is missing{any}; it goes on at once when that is published"
            ));
        } else {
            let vain = package.past.vain;
            said.why(format!(
                "all that its log named is published, yet builds missed it {vain} times more: it pauses"
            ));
        }
        said.next(format!("{again}; {retry}"));
    }

    /// Whether it waits for what waits for it.
    fn say_cycle(&self, name: &FileName, said: &mut Said) {
        let Some((survey, number)) = self.survey_of(name) else { return };
        let Some((members, imports, cycle, sure)) = survey.cycle_of(number) else { return };
        let named = |all: Vec<&FileName>| {
            let count = all.len();
            some_of(CHAIN_MAX, all.into_iter().map(|one| stem(one.as_str())), count)
        };
        let hint = if sure { "" } else { ", as headers hint" };
        let (count, few) = (members.len(), imports.len());
        said.why(match count {
            1 => "is a cycle by itself: it lacks what it would build".to_owned(),
            _ => format!(
                "is on a cycle of {count} packages, each of which lacks another{hint}: {}",
                named(members)
            ),
        });
        let least = match (few, cycle.exact) {
            (1, _) => "",
            (_, true) => " (no fewer do)",
            (_, false) => " (fewer may do)",
        };
        let what = if few == 1 { "a build" } else { "builds" };
        said.next(format!(
            "{what} of {} from elsewhere in repo/ would break the cycle{least}",
            named(imports)
        ));
    }

    fn lack(
        &self,
        now: Time,
        name: &FileName,
        wants: &Wants,
        text: String,
        there: bool,
        sources: &super::provider::Sources<'_>,
    ) -> LackRow {
        let requirement = Requirement::parse(&text);
        let mut who = BTreeSet::from([name]);
        for atom in requirement.atoms() {
            who.extend(self.stock.waits.who(&atom.name));
        }
        let (from, words) = if there {
            let by = self.stock.there.who_provides(&requirement).first().map(|path| format!(" in {path}"));
            (None, format!("is published{}", by.unwrap_or_default()))
        } else {
            let provider = self.provider(now, sources, &text, Some(name));
            (provider.from, provider.text)
        };
        let (from, state) = from.unzip();
        let has_times = self.times.has_any();
        let chain_s = who.iter().map(|one| self.chain.place(one).chain_s).max().unwrap_or(0);
        LackRow {
            any: !wants.all.contains(&text) && wants.any.len() > 1,
            capability: Line::lossy(&text),
            there,
            holds: count32(who.len()),
            holds_all: 0,
            chain_s: if has_times { seconds(chain_s) } else { 0 },
            from,
            state,
            text: Line::lossy(&words),
        }
    }

    // ---- what is built, or was

    fn say_building(&self, name: &FileName, package: &Package, leased: &Leased, said: &mut Said) {
        let builder = self.standing.name(leased.builder);
        said.why(format!("{builder} builds it, lease {}", leased.lease));
        if let Some(copy) = &leased.copy {
            let copier = self.standing.name(copy.builder);
            said.why(format!(
                "{copier} is faster and builds it too, lease {}: the first result counts",
                copy.lease
            ));
        }
        if let Some(who) = self.asked.who(name) {
            said.why(format!("is being cancelled by {who}"));
        }
        if let Some(ruled) = &leased.ruled {
            said.why(format!("its result has arrived and is put in its place: {}", ruled.verdict));
        }
        let source = package.srpm.as_ref().map(|srpm| &srpm.facts.nevra.name);
        match source.and_then(|source| self.times.seconds(source)) {
            Some(own_s) => {
                let took = duration((own_s / self.times.speed(leased.builder) * 1_000.0) as u64);
                said.why(format!("should take {took} there, as earlier builds went"));
            }
            None => said.why("no earlier build tells how long it takes"),
        }
        let short = stem(name.as_str());
        said.next(format!("moji log -f {short} follows it, moji cancel {short} stops it"));
    }

    fn say_ending(&self, name: &FileName, package: &Package, said: &mut Said) {
        let text = package.ending.as_ref().map_or("", |ending| ending.text.as_str());
        let because = |what: &str| if text.is_empty() { what.to_owned() } else { format!("{what}: {text}") };
        let short = stem(name.as_str());
        let retry = format!("moji retry {short} builds it again");
        match package.shown() {
            PackageState::Success => said.why(because("it is built and published")),
            PackageState::Review => {
                said.why(because("it is built and not published yet"));
                said.next(format!("moji accept {short} publishes it, moji refuse {short} does not"));
            }
            PackageState::Excluded => {
                said.why(because("it is not for this architecture"));
                said.next(retry);
            }
            PackageState::Cancelled => {
                said.why(because("an operator ended it"));
                said.next(retry);
            }
            PackageState::Finished => {
                said.why(because("somebody put it into finished/, or its result is gone from repo/"));
                said.next(retry);
            }
            _ => {
                said.why(because("it failed"));
                said.next(format!("moji log {short} shows its last build's log; {retry}"));
            }
        }
        if let Some(place) = &package.place {
            said.why(format!("its result and logs are in repo/{place}"));
        }
    }
}

/// Who has the package, or is about to.
fn builders_of(package: &Package) -> Vec<BuilderId> {
    match &package.state {
        State::Leased(leased) => leased.both().map(|one| one.builder).collect(),
        State::Claimed { builder } => vec![*builder],
        _ => Vec::new(),
    }
}

/// The first few of `count` names.
fn some<'a>(names: impl Iterator<Item = &'a str>, count: usize) -> String {
    some_of(NAMES_MAX, names, count)
}

fn some_of<'a>(max: usize, names: impl Iterator<Item = &'a str>, count: usize) -> String {
    let shown: Vec<&str> = names.take(max).collect();
    match count.saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
