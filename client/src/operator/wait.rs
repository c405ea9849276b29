//! `wait PKG…`: until every one of the packages is at an end.
//!
//! Owns which packages those are (whatever the names fitted at the start) and how each stands. After a lost
//! connection the hub says anew how they stand, so that a restart of it is no matter.

use std::collections::BTreeMap;
use std::time::Instant;

use moji_proto::message::{EventKind, FromOperator, PackageState, ToOperator};
use moji_proto::{FileName, Line};

use super::ask::{Noes, Stop, ask, line};
use super::link::{Lost, Next, Session};
use super::output::Out;
use super::retry::Redial;
use super::settings::Access;
use super::{code, print};
use crate::exit::Failure;

/// Most packages that are named when the time runs out.
const NAMED_MAX: usize = 5;

/// How packages stand.
#[derive(Debug, Default)]
pub(super) struct Standing {
    packages: BTreeMap<FileName, Option<PackageState>>,
}

impl Standing {
    /// The package is in this state now, or (None) nowhere any more; what that says, if it is at an end now
    /// and was not before.
    fn set(&mut self, srpm: &FileName, state: Option<PackageState>) -> Option<&'static str> {
        let word = match state {
            None => "gone",
            Some(state) => state.as_str(),
        };
        let before = self.packages.insert(srpm.clone(), state);
        (before != Some(state) && is_end(state)).then_some(word)
    }

    fn at_end(&self) -> bool {
        self.packages.values().all(|state| is_end(*state))
    }

    /// Those that are not at an end.
    fn open(&self) -> Vec<&FileName> {
        self.packages.iter().filter(|(_, state)| !is_end(**state)).map(|(srpm, _)| srpm).collect()
    }

    /// The exit code that this is worth.
    pub(super) fn code(&self) -> u8 {
        let well = |state: &Option<PackageState>| !is_end(*state) || *state == Some(PackageState::Success);
        if self.packages.values().all(well) { code::OK } else { code::NO }
    }

    /// As [`Standing::set`], and prints the line of a package that is at an end.
    pub(super) fn show(
        &mut self,
        out: &mut Out,
        srpm: &FileName,
        state: Option<PackageState>,
        why: &Line,
    ) -> Result<(), Failure> {
        let Some(word) = self.set(srpm, state) else { return Ok(()) };
        let text = if out.json {
            let (srpm, why) = (json(srpm.as_str()), json(why.as_str()));
            format!("{{\"srpm\":{srpm},\"state\":\"{word}\",\"why\":{why}}}\n")
        } else if why.as_str().is_empty() {
            format!("{}: {word}\n", shown(srpm))
        } else {
            format!("{}: {word}: {}\n", shown(srpm), print::safe(why.as_str()))
        };
        out.say(&text)
    }
}

/// A package as all commands show it.
fn shown(srpm: &FileName) -> String {
    print::safe(srpm.as_str().trim_end_matches(".src.rpm"))
}

fn is_end(state: Option<PackageState>) -> bool {
    state.is_none_or(PackageState::is_final)
}

/// A JSON string; the wire's texts have no control characters.
fn json(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `moji wait PKG…`.
///
/// # Errors
/// A [`Failure`] if the hub cannot be reached at first, or nobody reads.
pub(super) fn wait(
    access: &Access,
    out: &mut Out,
    names: &[String],
    until: Option<Instant>,
) -> Result<u8, Failure> {
    let patterns = names.iter().map(|name| line(name)).collect::<Result<Vec<Line>, Failure>>()?;
    let mut redial = Redial::new(access);
    let mut standing: Option<Standing> = None;
    while let Some(mut session) = redial.open(until)? {
        let mut wait = Wait { session: &mut session, out, patterns: &patterns, until };
        match wait.once(&mut redial, &mut standing) {
            Ok(Some(code)) => return Ok(code),
            Ok(None) => break,
            Err(Stop::Lost(lost)) => redial.lost(lost)?,
            Err(Stop::Failed(failure)) => return Err(failure),
        }
    }
    let open = standing.as_ref().map(Standing::open).unwrap_or_default();
    let named: Vec<String> = open.iter().take(NAMED_MAX).map(|srpm| shown(srpm)).collect();
    let more = if open.len() > NAMED_MAX { ", …" } else { "" };
    let what =
        if open.len() == 1 { "1 package is".to_owned() } else { format!("{} packages are", open.len()) };
    let text = format!("the time is over and {what} not at an end: {}{more}", named.join(", "));
    Err(Failure::new(code::NO, text))
}

struct Wait<'a> {
    session: &'a mut Session,
    out: &'a mut Out,
    patterns: &'a [Line],
    until: Option<Instant>,
}

impl Wait<'_> {
    /// Over one connection: the exit code, or none if the time is over.
    fn once(&mut self, redial: &mut Redial<'_>, standing: &mut Option<Standing>) -> Result<Option<u8>, Stop> {
        let standing = match standing {
            Some(standing) => {
                self.look_again(standing)?;
                standing
            }
            None => match self.resolve()? {
                Ok(found) => standing.insert(found),
                Err(code) => return Ok(Some(code)),
            },
        };
        redial.well();
        // The hub takes one pattern; with several names all packages are looked at here.
        let pattern = match self.patterns {
            [one] => one.clone(),
            _ => Line::default(),
        };
        if standing.at_end() {
            return Ok(Some(standing.code()));
        }
        self.session.ask(&FromOperator::Events { pattern, after: 0, current: true }, &[])?;
        let mut noes = Noes::default();
        while !standing.at_end() {
            let next = match self.until {
                None => self.session.row()?.map_or(Next::End, Next::Row),
                Some(until) => self.session.next(until)?,
            };
            match next {
                Next::Nothing => return Ok(None),
                Next::End => {
                    let code = noes.end(self.out)?;
                    if code != code::OK {
                        return Ok(Some(code));
                    }
                    return Err(Lost::Away("the hub ended the stream of events".to_owned()).into());
                }
                Next::Row(row) => {
                    if let Some(row) = noes.take(row, self.out)? {
                        self.row(standing, row)?;
                    }
                }
            }
        }
        Ok(Some(standing.code()))
    }

    fn row(&mut self, standing: &mut Standing, row: ToOperator) -> Result<(), Stop> {
        match row {
            ToOperator::Package(package) => {
                if standing.packages.contains_key(&package.srpm) {
                    standing.show(self.out, &package.srpm, Some(package.state), &package.why)?;
                }
            }
            ToOperator::Event(event) => {
                if let Some(srpm) = &event.srpm
                    && standing.packages.contains_key(srpm)
                    && (event.state.is_some() || event.kind == EventKind::Left)
                {
                    standing.show(self.out, srpm, event.state, &event.text)?;
                }
            }
            other => return Err(self.session.nonsense(&other).into()),
        }
        Ok(())
    }

    /// What the names fit, each of them; or the exit code if one fits nothing.
    fn resolve(&mut self) -> Result<Result<Standing, u8>, Stop> {
        let mut standing = Standing::default();
        let mut worst = code::OK;
        for pattern in self.patterns {
            let request = FromOperator::List { pattern: pattern.clone(), state: None };
            let mut found = Vec::new();
            let code = ask(self.session, self.out, &request, &[], |row, _| match row {
                ToOperator::Package(package) => {
                    found.push(package);
                    Ok(None)
                }
                other => Ok(Some(other)),
            })?;
            for package in found {
                standing.show(self.out, &package.srpm, Some(package.state), &package.why)?;
            }
            worst = worst.max(code);
        }
        Ok(if worst == code::OK { Ok(standing) } else { Err(worst) })
    }

    /// After a pause: which of the packages are still somewhere.
    fn look_again(&mut self, standing: &mut Standing) -> Result<(), Stop> {
        for srpm in standing.open().into_iter().cloned().collect::<Vec<FileName>>() {
            let request = FromOperator::List { pattern: Line::lossy(srpm.as_str()), state: None };
            self.session.ask(&request, &[])?;
            let mut found = None;
            while let Some(row) = self.session.row()? {
                match row {
                    ToOperator::Package(package) if package.srpm == srpm => found = Some(package),
                    _ => {}
                }
            }
            let why = found.as_ref().map_or(Line::default(), |package| package.why.clone());
            standing.show(self.out, &srpm, found.map(|package| package.state), &why)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_told_once_when_it_ends_and_again_after_a_retry() {
        let name = FileName::new("a-1-1.src.rpm").unwrap();
        let mut standing = Standing::default();
        assert_eq!(standing.set(&name, Some(PackageState::Building)), None);
        assert!(!standing.at_end() && standing.open().len() == 1);
        assert_eq!(standing.set(&name, Some(PackageState::Failed)), Some("failed"));
        assert_eq!(standing.set(&name, Some(PackageState::Failed)), None);
        assert!(standing.at_end() && standing.code() == code::NO);
        assert_eq!(standing.set(&name, Some(PackageState::Waiting)), None);
        assert_eq!(standing.set(&name, Some(PackageState::Success)), Some("success"));
        assert!(standing.at_end() && standing.code() == code::OK);
        assert_eq!(standing.set(&name, None), Some("gone"));
        assert_eq!(standing.code(), code::NO);
    }
}
