//! Which source would provide what is missing.
//!
//! Owns the guess, by what the repository knows and by names, and the words for it. A guess is a hint for people and
//! decides nothing; which sources a capability may come from is [`super::chain`]'s.

use std::collections::BTreeMap;

use moji_proto::message::PackageState;
use moji_proto::{FileName, Time};

use super::Queue;
use super::chain::sources_of;
use super::look::duration;
use super::order::stem;
use super::package::{Package, State};
use crate::core::capabilities::Requirement;

/// Names of sources, each with the one file of that source that matters most.
pub(super) struct Sources<'a>(BTreeMap<&'a str, (&'a FileName, &'a Package)>);

/// Who would provide something.
pub(super) struct Provider {
    /// Which SRPM, and where it is; None if nothing is known that would.
    pub(super) from: Option<(FileName, PackageState)>,
    /// In words.
    pub(super) text: String,
}

impl Queue {
    /// The index of all sources that are known.
    pub(super) fn sources(&self) -> Sources<'_> {
        let mut all: BTreeMap<&str, (&FileName, &Package)> = BTreeMap::new();
        for (name, package) in self.packages.iter().filter(|(_, package)| package.state != State::Gone) {
            let best = all.entry(source_of(name, package)).or_insert((name, package));
            if promise(package) < promise(best.1) {
                *best = (name, package);
            }
        }
        Sources(all)
    }

    /// Who would provide a capability, which is missing to `asker` if one package is asked about.
    pub(super) fn provider(
        &self,
        now: Time,
        sources: &Sources<'_>,
        capability: &str,
        asker: Option<&FileName>,
    ) -> Provider {
        let requirement = Requirement::parse(capability);
        let guesses = requirement.atoms().into_iter().flat_map(|atom| {
            let known = self.owners.source_of(&atom.name).map(str::to_owned);
            known.into_iter().chain(sources_of(&atom.name))
        });
        let found: Vec<_> = guesses.filter_map(|guess| sources.0.get(&*guess)).collect();
        // What may still come is likelier than what would have brought it already.
        let live = found.iter().find(|(_, package)| package.state.is_live());
        let Some((name, package)) = live.or(found.first()).copied() else {
            let text =
                "nothing known would provide it: a source package or an RPM in repo/ that does ends the wait";
            return Provider { from: None, text: text.to_owned() };
        };
        let text = if asker == Some(*name) {
            "perhaps from itself: a build of it from elsewhere must be put into repo/ first".to_owned()
        } else {
            let short = stem(name.as_str());
            format!("perhaps from {short}, which {} (moji why {short})", how_it_is(now, package))
        };
        Provider { from: Some(((*name).clone(), package.shown())), text }
    }
}

/// Name of the source package.
fn source_of<'a>(name: &'a FileName, package: &'a Package) -> &'a str {
    if let Some(srpm) = &package.srpm {
        return &srpm.facts.nevra.name;
    }
    let nvr = stem(name.as_str());
    nvr.rsplitn(3, '-').nth(2).unwrap_or(nvr)
}

/// How soon it may provide something; the least first.
fn promise(package: &Package) -> u8 {
    match package.shown() {
        PackageState::Building => 0,
        PackageState::Waiting => 1,
        PackageState::Deps => 2,
        PackageState::Review => 3,
        PackageState::Failed => 4,
        PackageState::Cancelled | PackageState::Excluded | PackageState::Unusable => 5,
        PackageState::Finished | PackageState::Duplicate => 6,
        PackageState::Success => 7,
    }
}

/// What is to be said of it behind "which".
fn how_it_is(now: Time, package: &Package) -> String {
    let (since, before_s) = package.since;
    let ago = duration(now.since_ms(since).saturating_add(before_s.saturating_mul(1_000)));
    match package.shown() {
        PackageState::Waiting => "waits its turn".to_owned(),
        PackageState::Deps => "waits for capabilities itself".to_owned(),
        PackageState::Duplicate => "waits for another file of the same package".to_owned(),
        PackageState::Unusable => "is no whole SRPM".to_owned(),
        PackageState::Building => format!("is being built, since {ago}"),
        PackageState::Success => "is published without it".to_owned(),
        PackageState::Failed => format!("failed {ago} ago"),
        PackageState::Excluded => "is not for this architecture".to_owned(),
        PackageState::Review => "is built and waits for review".to_owned(),
        PackageState::Cancelled => format!("was cancelled {ago} ago"),
        PackageState::Finished => "lies in finished/ and was not built here".to_owned(),
    }
}
