//! What operators change: packages start afresh or are cancelled, builders are drained or set aside, results are
//! decided about.
//!
//! Owns the answers: one for each change, with one reply for each thing that it is about, said only when what it
//! says is durable or has failed. A package that moves for an operator is *asked for* until leases, or whatever
//! comes between, has said what became of it; a second operator who wants the same joins the first.

use std::collections::BTreeMap;

use moji_proto::FileName;
use moji_proto::message::{EventKind, NoCode, Order, PackageState, ToBuilder, Verdict};

use super::package::{Ending, Hold, Package, State};
use super::{Effect, Note, Queue, events, log, rebuild};
use crate::core::desk;
use crate::core::leases::{self, Place};
use crate::core::types::{BuilderId, SessionId};
use crate::core::view::{Change, Decision, Event, Reply, Ticket, Told};
use crate::decision;

/// A package that went back to `source/` is seen there by the watch within this, milliseconds: it looks at once,
/// and reads a header. Later than that, somebody took it away before it was seen.
const SEEN_MS: u64 = 60_000;

/// Which way a package moves for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To `finished/`.
    Cancel,
    /// To `source/`.
    Retry,
}

/// A package that moves for operators.
#[derive(Debug)]
struct Move {
    way: Way,
    /// Who wanted it first.
    who: String,
    tickets: Vec<Ticket>,
}

/// A change that is not answered yet.
#[derive(Debug, Default)]
struct Open {
    replies: Vec<Reply>,
    /// For how many packages there is no reply yet.
    missing: usize,
}

/// What operators asked for and were not answered yet.
#[derive(Debug, Default)]
pub(super) struct Asked {
    moves: BTreeMap<FileName, Move>,
    changes: BTreeMap<Ticket, Open>,
}

impl Asked {
    /// Whether the package moves for an operator.
    pub(super) fn has(&self, name: &FileName) -> bool {
        self.moves.contains_key(name)
    }

    /// For whom it is cancelled.
    pub(super) fn who(&self, name: &FileName) -> Option<&str> {
        self.moves.get(name).filter(|asked| asked.way == Way::Cancel).map(|asked| asked.who.as_str())
    }

    fn join(&mut self, name: &FileName, way: Way, who: &str, ticket: Ticket) {
        let new = || Move { way, who: who.to_owned(), tickets: Vec::new() };
        self.moves.entry(name.clone()).or_insert_with(new).tickets.push(ticket);
    }
}

/// What came of an order for one thing.
enum Came {
    /// This is the reply.
    Now(Reply),
    /// Nothing yet.
    Later,
}

fn no(code: NoCode, target: impl ToString, text: impl Into<String>) -> Came {
    Came::Now(Reply::No { code, target: target.to_string(), text: text.into() })
}

fn changed(target: impl ToString, text: impl Into<String>) -> Came {
    Came::Now(Reply::Changed { target: target.to_string(), text: text.into() })
}

impl Queue {
    /// An operator changes something.
    pub(super) fn on_change(&mut self, change: Change, out: &mut Vec<Effect>) {
        let Change { ticket, who, order, packages, builders } = change;
        let mut open = Open::default();
        let mut take = |came| match came {
            Came::Now(reply) => open.replies.push(reply),
            Came::Later => open.missing += 1,
        };
        match order {
            Order::Retry { verdict } => {
                let (fitting, reply) = self.fitting(packages, verdict);
                reply.into_iter().for_each(|reply| take(Came::Now(reply)));
                for name in fitting {
                    take(self.retry(&name, ticket, &who, out));
                }
            }
            Order::Cancel => {
                for name in packages {
                    take(self.cancel(&name, ticket, &who, out));
                }
            }
            Order::Drain { .. } | Order::Resume | Order::Quarantine | Order::Release => {
                for id in builders {
                    take(self.order_builder(id, order, &who, out));
                }
                // Of many, those that have nothing to end are not worth a word, unless it is all of them.
                let some = open.replies.iter().any(|reply| matches!(reply, Reply::Changed { .. }));
                if some && matches!(order, Order::Resume | Order::Release) {
                    open.replies.retain(|reply| !matches!(reply, Reply::No { code: NoCode::Refused, .. }));
                }
            }
            Order::First
            | Order::Last
            | Order::Clear
            | Order::Options
            | Order::Accept
            | Order::Refuse
            | Order::Retract { .. }
            | Order::Approve => take(no(NoCode::Failed, "*", "that is no order for the queue")),
        }
        self.asked.changes.insert(ticket, open);
        self.close(ticket, out);
    }

    /// Answers a change if all of its replies are there.
    fn close(&mut self, ticket: Ticket, out: &mut Vec<Effect>) {
        if self.asked.changes.get(&ticket).is_some_and(|open| open.missing == 0)
            && let Some(Open { replies, .. }) = self.asked.changes.remove(&ticket)
        {
            out.push(Effect::Desk(desk::Msg::Replied { ticket, replies }));
        }
    }

    /// Replies about a package to all who wait for it.
    fn answer(&mut self, name: &FileName, reply: &Reply, out: &mut Vec<Effect>) {
        let Some(asked) = self.asked.moves.remove(name) else { return };
        for ticket in asked.tickets {
            if let Some(open) = self.asked.changes.get_mut(&ticket) {
                open.replies.push(reply.clone());
                open.missing = open.missing.saturating_sub(1);
            }
            self.close(ticket, out);
        }
    }

    /// What an operator wanted of the package cannot be any more.
    pub(super) fn answer_no(&mut self, name: &FileName, code: NoCode, why: &str, out: &mut Vec<Effect>) {
        self.answer(name, &Reply::No { code, target: name.to_string(), text: why.to_owned() }, out);
    }

    /// As [`Queue::answer_no`], because of how things are.
    pub(super) fn is_over(&mut self, name: &FileName, why: &str, out: &mut Vec<Effect>) {
        self.answer_no(name, NoCode::Refused, why, out);
    }

    /// Nothing moves until a restart: nobody waits for it.
    pub(super) fn nothing_moves(&mut self, why: &str, out: &mut Vec<Effect>) {
        let names: Vec<FileName> = self.asked.moves.keys().cloned().collect();
        for name in names {
            self.answer_no(&name, NoCode::Failed, &stuck(why), out);
        }
    }

    /// Tells of an order that was carried out, and logs it.
    pub(super) fn ordered(&self, name: &FileName, who: &str, text: &str, out: &mut Vec<Effect>) {
        log(out, log::Level::Info, format!("pkg={name} {text} by {who}"));
        let event = self.event(EventKind::Ordered, name, text);
        events::tell(out, Event { who: who.to_owned(), ..event });
    }

    // ---- retry

    /// The packages that ended with this verdict or wait because of it. Of several the others are no matter; of
    /// one it is said.
    fn fitting(&self, packages: Vec<FileName>, verdict: Option<Verdict>) -> (Vec<FileName>, Option<Reply>) {
        let Some(verdict) = verdict else { return (packages, None) };
        let target = match &packages[..] {
            [one] => one.to_string(),
            _ => "*".to_owned(),
        };
        let fits =
            |name: &FileName| self.packages.get(name).is_some_and(|package| is_because(package, verdict));
        let fitting: Vec<FileName> = packages.into_iter().filter(fits).collect();
        let text = format!("nothing ended with {verdict} or waits because of it");
        let none = fitting.is_empty().then_some(Reply::No { code: NoCode::Refused, target, text });
        (fitting, none)
    }

    fn retry(&mut self, name: &FileName, ticket: Ticket, who: &str, out: &mut Vec<Effect>) -> Came {
        let Some(package) = self.packages.get(name) else {
            return no(NoCode::NotFound, name, "there is no such package");
        };
        let review = package.shown() == PackageState::Review;
        match &package.state {
            State::Gone => no(NoCode::NotFound, name, "it is in none of the folders"),
            State::Unusable { why } => no(NoCode::Refused, name, format!("it is no whole SRPM: {why}")),
            State::Held(Hold::Duplicate { of }) => {
                no(NoCode::Refused, name, format!("{of} is the same package: cancel one of them"))
            }
            State::Claimed { .. } | State::Leased(_) => {
                no(NoCode::Refused, name, "it is being built: cancel it first")
            }
            State::Retiring => no(NoCode::Later, name, "it is on its way to finished/: try again"),
            State::Waiting | State::Held(Hold::Deps { .. } | Hold::Behind { .. }) => {
                self.forgive(name, out);
                self.rebuild.wave.free(name);
                self.package(name).past.tried = true;
                self.enqueue(name, out);
                self.ordered(name, who, "retried", out);
                changed(name, "holds and attempts are forgotten: it may be leased at once")
            }
            State::Finished if review => {
                no(NoCode::Refused, name, "its result waits for review: accept or refuse it first")
            }
            State::Finished => {
                if let Some(why) = &self.stopped {
                    return no(NoCode::Failed, name, stuck(why));
                }
                let until = self.now.plus_ms(SEEN_MS);
                self.wakes.insert(until);
                self.go(name, State::Returning { until });
                out.push(Effect::Leases(leases::Msg::Retry { srpm: name.clone() }));
                self.asked.join(name, Way::Retry, who, ticket);
                Came::Later
            }
            State::Returning { .. } if self.asked.has(name) => {
                self.asked.join(name, Way::Retry, who, ticket);
                Came::Later
            }
            State::Returning { .. } => changed(name, "it is on its way to source/ already"),
        }
    }

    // ---- cancel

    fn cancel(&mut self, name: &FileName, ticket: Ticket, who: &str, out: &mut Vec<Effect>) -> Came {
        let Some(package) = self.packages.get(name) else {
            return no(NoCode::NotFound, name, "there is no such package");
        };
        let joins = self.asked.moves.get(name).is_some_and(|asked| asked.way == Way::Cancel);
        match &package.state {
            State::Gone => return no(NoCode::NotFound, name, "it is in none of the folders"),
            State::Unusable { why } => {
                let text = format!("it is no whole SRPM: take it out of source/ ({why})");
                return no(NoCode::Refused, name, text);
            }
            State::Finished => {
                return no(NoCode::Refused, name, format!("it is over already: {}", package.shown()));
            }
            State::Returning { .. } => {
                return no(NoCode::Later, name, "it is on its way to source/: try again");
            }
            State::Retiring if !joins => {
                return no(NoCode::Refused, name, "it is on its way to finished/ already");
            }
            State::Leased(leased) if leased.ruled.is_some() => {
                return no(NoCode::Refused, name, "its result is here and is being taken");
            }
            State::Waiting | State::Held(_) | State::Claimed { .. } | State::Leased(_) | State::Retiring => {}
        }
        if let Some(why) = &self.stopped {
            return no(NoCode::Failed, name, stuck(why));
        }
        let is_leased = matches!(package.state, State::Claimed { .. } | State::Leased(_));
        self.asked.join(name, Way::Cancel, who, ticket);
        if joins {
            // It is under way.
        } else if is_leased {
            out.push(Effect::Leases(leases::Msg::Cancel { srpm: name.clone() }));
        } else {
            self.cancel_now(name, out);
        }
        Came::Later
    }

    /// Moves a package without a lease to `finished/` if an operator wants it cancelled. Says whether.
    pub(super) fn cancel_now(&mut self, name: &FileName, out: &mut Vec<Effect>) -> bool {
        let Some(ending) = self.asked.who(name).map(Ending::cancelled) else { return false };
        let why = ending.text.clone();
        self.own(name);
        self.package(name).ending = Some(ending);
        self.go(name, State::Retiring);
        out.push(Effect::Leases(leases::Msg::Retire { srpm: name.clone(), why }));
        true
    }

    /// A lease came to a package that an operator wants cancelled.
    pub(super) fn granted_although_cancelled(&mut self, name: &FileName, out: &mut Vec<Effect>) {
        if self.asked.who(name).is_some() {
            out.push(Effect::Leases(leases::Msg::Cancel { srpm: name.clone() }));
        }
    }

    /// The lease is over and the SRPM in `finished/`, because an operator wanted it.
    pub(super) fn cancelled(&mut self, name: &FileName, out: &mut Vec<Effect>) {
        let who = self.asked.who(name).unwrap_or("an operator").to_owned();
        let package = self.package(name);
        package.in_finished = true;
        package.ending = Some(Ending::cancelled(&who));
        self.after(name, out);
        self.is_cancelled(name, &who, out);
    }

    fn is_cancelled(&mut self, name: &FileName, who: &str, out: &mut Vec<Effect>) {
        if self.asked.has(name) {
            self.ordered(name, who, "cancelled", out);
            let text = "it is in finished/ until it is retried".to_owned();
            self.answer(name, &Reply::Changed { target: name.to_string(), text }, out);
        }
    }

    // ---- what leases say

    /// A package without a lease was moved, or could not be.
    pub(super) fn on_placed(&mut self, name: &FileName, to: Place, moved: bool, out: &mut Vec<Effect>) {
        match (to, moved) {
            (Place::Source, true) => self.is_back(name, out),
            (Place::Source, false) => {
                if matches!(self.package(name).state, State::Returning { .. }) {
                    self.leave(name, out);
                }
                let why = "it is not in finished/ any more, or source/ has a file of that name";
                self.is_over(name, why, out);
            }
            (Place::Finished | Place::Working, true) => self.is_away(name, out),
            (Place::Finished | Place::Working, false) => {
                if self.package(name).state == State::Retiring {
                    self.leave(name, out);
                }
                self.is_over(name, "it is not in source/ any more", out);
            }
        }
        self.tidy(name);
    }

    /// It is in `source/` again.
    fn is_back(&mut self, name: &FileName, out: &mut Vec<Effect>) {
        let package = self.package(name);
        package.in_finished = false;
        match package.state {
            State::Returning { .. } => self.forgive(name, out),
            State::Finished => self.go(name, State::Gone),
            _ => {}
        }
        if let Some(who) = self.asked.moves.get(name).map(|asked| asked.who.clone()) {
            self.ordered(name, &who, "retried", out);
            let text = "it is in source/ again".to_owned();
            self.answer(name, &Reply::Changed { target: name.to_string(), text }, out);
        } else if let Some(words) = self.rebuild.words(name) {
            self.ordered(name, rebuild::HUB, &words, out);
        }
    }

    /// It is in `finished/`.
    fn is_away(&mut self, name: &FileName, out: &mut Vec<Effect>) {
        let who = self.asked.who(name).map(str::to_owned);
        let package = self.package(name);
        package.in_finished = true;
        match package.state {
            State::Gone | State::Retiring => self.leave(name, out),
            // What was replaced meanwhile is cancelled as well.
            State::Waiting | State::Held(_) => {
                if let Some(who) = &who {
                    package.ending = Some(Ending::cancelled(who));
                    self.leave(name, out);
                }
            }
            _ => {}
        }
        if let Some(who) = who {
            self.is_cancelled(name, &who, out);
        }
    }

    // ---- builders

    fn order_builder(&mut self, id: BuilderId, order: Order, who: &str, out: &mut Vec<Effect>) -> Came {
        let now = self.now;
        let busy = self.packages.iter().find_map(|(name, package)| match &package.state {
            State::Leased(leased) if leased.both().any(|one| one.builder == id) => Some(name.clone()),
            _ => None,
        });
        let mut unknown = None;
        let (name, told, builder) = match (self.standing.all.get_mut(&id), self.standing.told.get_mut(&id)) {
            (Some(builder), _) => (builder.info.name.clone(), builder.told, Some(builder)),
            (None, Some((name, told))) => {
                let (name, before) = (name.clone(), *told);
                unknown = Some(told);
                (name, before, None)
            }
            (None, None) => return no(NoCode::NotFound, id.fingerprint(), "there is no such builder"),
        };
        let session = builder.as_ref().and_then(|builder| builder.session());
        let instance = builder.as_ref().map(|builder| builder.info.instance);
        let (next, text, say) = match order {
            Order::Drain { exit } => {
                let exit = if exit { instance } else { told.exit };
                let say = if exit.is_some() { ToBuilder::Exit } else { ToBuilder::Drain };
                let first = match (session, busy) {
                    (None, _) => "is away, and gets nothing when it is back".to_owned(),
                    (Some(_), Some(srpm)) => format!("finishes {srpm} and gets nothing more"),
                    (Some(_), None) => "gets nothing more".to_owned(),
                };
                let then = if exit.is_some() { ", and ends then" } else { "" };
                (Told { drained: true, exit, ..told }, format!("{first}{then}"), Some(say))
            }
            Order::Resume if !told.drained => {
                return no(NoCode::Refused, name, "no operator drained it");
            }
            Order::Resume => {
                let text = match told.exit {
                    Some(_) => "gets packages again; it was told to end, so start it there",
                    None => "gets packages again",
                };
                let next = Told { drained: false, exit: None, ..told };
                (next, text.to_owned(), Some(ToBuilder::Undrain))
            }
            Order::Quarantine => {
                let text = "gets nothing until it is released".to_owned();
                (Told { quarantined: true, ..told }, text, None)
            }
            _ => {
                let own = builder.is_some_and(|builder| builder.release(now));
                if !own && !told.quarantined {
                    return no(NoCode::Refused, name, "it is not in quarantine");
                }
                (Told { quarantined: false, ..told }, "is no longer in quarantine".to_owned(), None)
            }
        };
        match (self.standing.all.get_mut(&id), unknown) {
            (Some(builder), _) => builder.told = next,
            (None, Some(told)) => *told = next,
            (None, None) => {}
        }
        out.push(Effect::History(Note::Told { builder: id, told: next }));
        out.extend(session.zip(say).map(|(session, say)| Effect::Send(session, say)));
        log(out, log::Level::Info, format!("builder={name} {text}: ordered by {who}"));
        let event = Event::new(EventKind::Ordered, text.clone());
        events::tell(out, Event { builder: Some(name.clone()), who: who.to_owned(), ..event });
        changed(name, text)
    }

    /// A builder registered: what it was told it is told again. A process that was started after one was told to
    /// end is wanted, but still drained.
    pub(super) fn repeat_orders(
        &mut self,
        id: BuilderId,
        session: SessionId,
        instance: u64,
        out: &mut Vec<Effect>,
    ) {
        let Some(builder) = self.standing.all.get_mut(&id) else { return };
        if builder.told.exit.is_some_and(|exit| exit != instance) {
            builder.told.exit = None;
            out.push(Effect::History(Note::Told { builder: id, told: builder.told }));
        }
        if builder.told.exit.is_some() {
            out.push(Effect::Send(session, ToBuilder::Exit));
        } else if builder.told.drained {
            out.push(Effect::Send(session, ToBuilder::Drain));
        }
    }

    // ---- results

    /// An operator decided about a result, durably.
    pub(super) fn on_decided(
        &mut self,
        name: &FileName,
        folder: String,
        decision: Decision,
        source: &str,
        binaries: Vec<String>,
        who: &str,
        out: &mut Vec<Effect>,
    ) {
        let now = self.now;
        match decision {
            Decision::Accepted => {
                self.is_published(name, &folder, source, &binaries, out);
                self.owners.add(&folder, source, binaries);
            }
            Decision::Retracted => {
                self.is_retracted(&folder, source);
                self.owners.remove(&folder, &binaries);
            }
            Decision::Refused => {}
        }
        let package = self.package(name);
        let before = package.shown();
        package.published.retain(|published| *published != folder);
        if decision == Decision::Accepted {
            package.published.push(folder.clone());
        }
        // What starts afresh has ended no longer, and a later result counts more.
        if package.ending.is_some() && package.place.as_ref() == Some(&folder) {
            package.ending = Some(Ending::decided(decision, who));
            if decision == Decision::Retracted {
                package.fall_back();
            }
        }
        if package.shown() != before {
            package.since = (now, 0);
        }
        let word = decision::word(decision);
        self.ordered(name, who, &format!("{folder} {word}"), out);
        self.tidy(name);
    }
}

/// Whether the package ended with this verdict or waits because of it.
fn is_because(package: &Package, verdict: Verdict) -> bool {
    match (package.shown(), verdict) {
        (PackageState::Success, Verdict::Success)
        | (PackageState::Failed, Verdict::Failed)
        | (PackageState::Excluded, Verdict::Excluded)
        | (PackageState::Deps, Verdict::Deps) => true,
        (PackageState::Waiting, verdict) => package.past.last == Some(verdict),
        _ => false,
    }
}

fn stuck(why: &str) -> String {
    format!("nothing is moved until the hub is restarted: {why}")
}
