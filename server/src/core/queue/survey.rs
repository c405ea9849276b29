//! What waits for what that is not there, taken down for a worker.
//!
//! Owns no state, and works nothing out that can be worked out elsewhere: the queue has other things to do. What a log
//! named counts; of what no log has named yet the header's BuildRequires do, but not those that another package got
//! from wherever its board has them: a build that came through, or one that named others as missing.

use std::collections::BTreeMap;

use moji_proto::message::PackageState;
use moji_proto::{FileName, Time};

use super::Queue;
use super::blocked::{Missing, Survey, Waiter};
use super::chain::{END, Guesses};
use super::deps::Wants;
use super::look::count32;
use super::package::{Hold, Package, State};
use crate::core::capabilities::{Answer, Capabilities, Requirement};
use crate::rpmfile::Capability;

/// A package is said to be on a cycle if it is among so many at most: more are for `moji blocked`, whose worker has time.
const CIRCLE_MAX: usize = 256;

/// Where a capability may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// From no source that waits.
    Nobody,
    /// From one that is being built.
    Soon,
    /// From one that waits.
    Waiter(u32),
}

/// A package that waits, and what it needs.
type Waits<'a> = (&'a FileName, &'a Package, Option<Guesses<'a>>);

/// What is asked of a requirement.
struct Lookup<'a> {
    there: &'a Capabilities,
    /// By number of the source.
    from: Vec<From>,
    /// Whether a file that nobody asked repo about counts as missing.
    files_count: bool,
}

impl Queue {
    /// Takes all of it down; of missing capabilities so many, the longest chain first.
    pub(super) fn survey(&self, now: Time, rows: u32) -> Survey {
        let (waiters, from) = self.waiters();
        let got = self.got_elsewhere();
        let mut lookup = Lookup { there: &self.stock.there, from, files_count: false };
        let mut survey = Survey { has_times: self.times.has_any(), ..Survey::default() };
        let mut missing: BTreeMap<String, Missing> = BTreeMap::new();
        for (number, waits) in (0..).zip(waiters) {
            let wants = wants_of(waits.1);
            survey.packages += u32::from(wants.is_some());
            survey.unnamed += u32::from(wants.is_some_and(Wants::is_empty));
            survey.waiters.push(waiter(number, waits, &mut lookup, &got, &mut missing));
        }
        survey.capabilities = count32(missing.len());
        survey.missing = missing.into_values().collect();
        survey.missing.sort_by(|a, b| {
            (b.chain_s, b.holds.len()).cmp(&(a.chain_s, a.holds.len())).then_with(|| a.name.cmp(&b.name))
        });
        survey.missing.truncate(rows as usize);
        let sources = self.sources();
        for one in &mut survey.missing {
            let provider = self.provider(now, &sources, &one.name, None);
            (one.from, one.text) = (provider.from, provider.text);
        }
        survey
    }

    /// Those among whom a cycle is that the package is on, if it can be on one, and its number: who counts together with it
    /// for the order.
    pub(super) fn survey_of(&self, name: &FileName) -> Option<(Survey, u32)> {
        let circle = self.chain.circle(name);
        // Alone it can only lack itself, and the order does not look at that.
        let is_named = |package: &Package| wants_of(package).is_some_and(|wants| !wants.is_empty());
        let may_be = match circle.len() {
            1 => self.packages.get(name).is_some_and(is_named),
            count => (2..=CIRCLE_MAX).contains(&count),
        };
        if !may_be {
            return None;
        }
        // What others can provide who are not in it holds nobody up.
        let mut from = vec![From::Nobody; self.chain.sources()];
        self.chain.live_sources().for_each(|source| from[source as usize] = From::Soon);
        let mut waiters: Vec<Waits<'_>> = Vec::new();
        for name in circle {
            let Some(package) = self.packages.get(name) else { continue };
            if matches!(package.state, State::Waiting | State::Held(Hold::Deps { .. }))
                && let Some(guesses) = self.chain.guesses(name)
            {
                from[guesses.source as usize] = From::Waiter(waiters.len() as u32);
                waiters.push((name, package, Some(guesses)));
            }
        }
        let number = waiters.iter().position(|(one, ..)| *one == name)?;
        let got = if waiters.iter().all(|(_, package, _)| is_named(package)) {
            Vec::new()
        } else {
            self.got_elsewhere()
        };
        let mut lookup = Lookup { there: &self.stock.there, from, files_count: false };
        let numbered = (0..).zip(waiters);
        let waiter = |(number, waits)| waiter(number, waits, &mut lookup, &got, &mut BTreeMap::new());
        Some((Survey { waiters: numbered.map(waiter).collect(), ..Survey::default() }, number as u32))
    }

    /// All that wait, and where what each source provides may come from.
    fn waiters(&self) -> (Vec<Waits<'_>>, Vec<From>) {
        let mut from = vec![From::Nobody; self.chain.sources()];
        let (mut waiters, mut soon): (Vec<Waits<'_>>, Vec<u32>) = Default::default();
        for (name, package) in &self.packages {
            match package.state {
                State::Waiting | State::Held(Hold::Deps { .. } | Hold::Behind { .. }) => {
                    let guesses = self.chain.guesses(name);
                    if let Some(guesses) = guesses {
                        from[guesses.source as usize] = From::Waiter(waiters.len() as u32);
                    }
                    waiters.push((name, package, guesses));
                }
                State::Claimed { .. } | State::Leased(_) => {
                    soon.extend(self.chain.guesses(name).map(|guesses| guesses.source));
                }
                _ => {}
            }
        }
        soon.into_iter().for_each(|source| from[source as usize] = From::Soon);
        (waiters, from)
    }

    /// Marks, sorted, of all BuildRequires that some package got although the hub does not publish them, perhaps.
    fn got_elsewhere(&self) -> Vec<u64> {
        let mut got = Vec::new();
        for package in self.packages.values() {
            let Some(srpm) = &package.srpm else { continue };
            let missed = match &package.state {
                State::Held(Hold::Deps { wants, .. }) if !wants.is_empty() => wants.names(),
                State::Finished
                    if matches!(package.shown(), PackageState::Success | PackageState::Review) =>
                {
                    Vec::new()
                }
                _ => continue,
            };
            let requires = srpm.facts.requires.iter();
            let had = requires.filter(|one| !missed.iter().any(|name| names(name, one)));
            got.extend(had.map(mark));
        }
        got.sort_unstable();
        got.dedup();
        got
    }
}

impl Lookup<'_> {
    /// What is missing of a requirement: of each group one would do. Takes a guess for each name in it.
    fn lacks<'g>(
        &self,
        requirement: &Requirement,
        guesses: &mut impl Iterator<Item = &'g [u32]>,
    ) -> Vec<Vec<From>> {
        let groups = match requirement {
            Requirement::One(_) => vec![vec![self.first(guesses.next())]],
            Requirement::And(of) | Requirement::With(of) => {
                of.iter().flat_map(|one| self.lacks(one, guesses)).collect()
            }
            Requirement::Or(of) => {
                vec![of.iter().flat_map(|one| self.lacks(one, guesses)).flatten().collect()]
            }
            Requirement::Without(a, b) => {
                let lacks = self.lacks(a, guesses);
                self.lacks(b, guesses);
                lacks
            }
            // Whether it is needed depends on what else is installed.
            Requirement::If(a, b, c) | Requirement::Unless(a, b, c) => {
                for one in [Some(a), Some(b), c.as_ref()].into_iter().flatten() {
                    self.lacks(one, guesses);
                }
                return Vec::new();
            }
        };
        if self.is_lack(requirement) { groups } else { Vec::new() }
    }

    fn is_lack(&self, requirement: &Requirement) -> bool {
        match self.there.answer(requirement) {
            Answer::Yes => false,
            Answer::AskFilelists => self.files_count,
            Answer::No => true,
        }
    }

    /// The likeliest that is known.
    fn first(&self, guesses: Option<&[u32]>) -> From {
        let all = guesses.unwrap_or_default().iter().map(|source| self.from[*source as usize]);
        all.into_iter().find(|from| *from != From::Nobody).unwrap_or(From::Nobody)
    }
}

/// What a log named, or could not name.
fn wants_of(package: &Package) -> Option<&Wants> {
    match &package.state {
        State::Held(Hold::Deps { wants, .. }) => Some(wants),
        _ => None,
    }
}

/// What holds one package; who lacks what a log named is noted in `missing`.
fn waiter(
    number: u32,
    (name, package, guesses): Waits<'_>,
    lookup: &mut Lookup<'_>,
    got: &[u64],
    missing: &mut BTreeMap<String, Missing>,
) -> Waiter {
    let named = wants_of(package).filter(|wants| !wants.is_empty());
    lookup.files_count = named.is_some();
    let groups = match named {
        Some(wants) => named_groups(number, guesses, wants, lookup, missing),
        None => header_groups(number, guesses, package, lookup, got),
    };
    Waiter { srpm: name.clone(), groups, is_named: named.is_some() }
}

/// What a log named; who lacks it is noted in `missing`.
fn named_groups(
    number: u32,
    guesses: Option<Guesses<'_>>,
    wants: &Wants,
    lookup: &Lookup<'_>,
    missing: &mut BTreeMap<String, Missing>,
) -> Vec<Vec<u32>> {
    let chain_s = guesses.map_or(0, |guesses| guesses.place.chain_s);
    let mut guesses = guesses.map_or(&[][..], |guesses| guesses.missed).split(|one| *one == END);
    let (mut groups, mut any, mut is_any_there) = (Vec::new(), Vec::new(), false);
    for text in wants.names() {
        let requirement = Requirement::parse(&text);
        let lacks = lookup.lacks(&requirement, &mut guesses);
        let is_there = lookup.there.answer(&requirement) == Answer::Yes;
        let is_any = !wants.all.contains(&text);
        if is_any {
            is_any_there |= is_there;
            any.extend(lacks.into_iter().flatten());
        } else {
            groups.extend(lacks);
        }
        if !is_there {
            let one = missing.entry(text).or_insert_with_key(|text| Missing::new(text));
            one.any &= is_any && wants.any.len() > 1;
            one.holds.push(number);
            one.chain_s = one.chain_s.max(chain_s);
        }
    }
    if !is_any_there && !any.is_empty() {
        groups.push(any);
    }
    waiters_only(groups)
}

/// What a header needs and nobody has got anywhere.
fn header_groups(
    number: u32,
    guesses: Option<Guesses<'_>>,
    package: &Package,
    lookup: &Lookup<'_>,
    got: &[u64],
) -> Vec<Vec<u32>> {
    let (Some(guesses), Some(srpm)) = (guesses, &package.srpm) else { return Vec::new() };
    let mut needs = guesses.needs.split(|one| *one == END);
    let mut groups = Vec::new();
    for capability in &srpm.facts.requires {
        if capability.name.starts_with('(') {
            groups.extend(lookup.lacks(&Requirement::parse(&capability.name), &mut needs));
            continue;
        }
        let from = lookup.first(needs.next());
        // Most come from elsewhere: that is the least work to find.
        let is_lack = matches!(from, From::Waiter(_))
            && got.binary_search(&mark(capability)).is_err()
            && lookup.is_lack(&Requirement::One(capability.clone()));
        if is_lack {
            groups.push(vec![from]);
        }
    }
    // A name that is like its own may be anybody's.
    groups.retain_mut(|group| {
        group.retain(|from| *from != From::Waiter(number));
        !group.is_empty()
    });
    waiters_only(groups)
}

/// Groups that only packages that wait can meet, without the rest.
fn waiters_only(groups: Vec<Vec<From>>) -> Vec<Vec<u32>> {
    let waiters = |group: Vec<From>| -> Option<Vec<u32>> {
        let mut of = Vec::with_capacity(group.len());
        for from in group {
            match from {
                From::Soon => return None,
                From::Waiter(number) => of.push(number),
                From::Nobody => {}
            }
        }
        of.sort_unstable();
        of.dedup();
        (!of.is_empty()).then_some(of)
    };
    let mut groups: Vec<Vec<u32>> = groups.into_iter().filter_map(waiters).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Whether a log means this BuildRequires. One that says no version means all of them.
fn names(missed: &str, required: &Capability) -> bool {
    let rest = missed.strip_prefix(&*required.name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// A number that stands for a BuildRequires with its version (FNV-1a).
fn mark(capability: &Capability) -> u64 {
    let Capability { name, flags, evr } = capability;
    let bytes = name.bytes().chain([0]).chain(flags.to_be_bytes()).chain(evr.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
