//! An operator's change: names become things, and each thing goes to whom it belongs.
//!
//! Owns nothing that outlives the request. What needs the queue's state goes to the queue; lists, decisions
//! and the list of builders are files, which workers write before anybody hears of the change.

use moji_proto::message::{NoCode, Order, PackageState};
use moji_proto::{FileName, Line, PublicKey};

use super::names;
use super::session::{Answer, Session};
use super::{Cx, Decided, Effect, Job, Verdictable, decided_word};
use crate::core::view::{Change, Decision, PackageView, Reply, Ticket, View};
use crate::core::{queue, repo};

/// Least digits of a key that name one that was turned away: fewer may be an architecture.
const KEY_DIGITS_MIN: usize = 8;

/// Whether an order is about things that are in the view.
pub(super) fn needs_view(order: Order) -> bool {
    !matches!(order, Order::Retract { .. } | Order::Approve)
}

impl Session {
    /// Carries out an order about what the view has.
    pub(super) fn change(
        &mut self,
        cx: &mut Cx<'_>,
        view: &View,
        order: Order,
        target: &str,
        words: Vec<Line>,
    ) {
        match order {
            Order::Retry { .. }
            | Order::Cancel
            | Order::First
            | Order::Last
            | Order::Clear
            | Order::Accept
            | Order::Refuse => match names::packages(view, target) {
                Ok(found) => self.change_packages(cx, order, &found),
                Err(miss) => self.miss(target, miss),
            },
            Order::Options => self.change_options(cx, view, target, words),
            Order::Drain { .. } | Order::Resume | Order::Quarantine | Order::Release => {
                match names::builders(view, target) {
                    Ok(found) => {
                        let builders = found.iter().map(|row| row.key).collect();
                        self.tell_queue(cx, order, Vec::new(), builders);
                    }
                    Err(miss) => self.miss(target, miss),
                }
            }
            Order::Retract { delete } => self.retract(cx, target, delete),
            Order::Approve => self.approve(cx, target, &words),
        }
    }

    fn tell_queue(
        &mut self,
        cx: &mut Cx<'_>,
        order: Order,
        packages: Vec<FileName>,
        builders: Vec<PublicKey>,
    ) {
        let ticket = Ticket(self.run.0);
        cx.shared.tickets.insert(ticket, self.run);
        let who = self.who.clone();
        let change = Change { ticket, who, order, packages, builders };
        cx.out.push(Effect::Queue(queue::Msg::Change(change)));
        self.answer = Answer::Waiting;
    }

    fn change_packages(&mut self, cx: &mut Cx<'_>, order: Order, found: &[&PackageView]) {
        let names: Vec<FileName> = found.iter().map(|package| package.row.srpm.clone()).collect();
        match order {
            Order::First | Order::Last | Order::Clear => {
                self.answer = Answer::Waiting;
                self.order(cx, None);
                self.work(cx, Job::Prioritise { order, names });
            }
            Order::Accept | Order::Refuse => self.decide(cx, order, found),
            _ => self.tell_queue(cx, order, names, Vec::new()),
        }
    }

    /// Accepts or refuses what waits for that; the rest is told why not.
    fn decide(&mut self, cx: &mut Cx<'_>, order: Order, found: &[&PackageView]) {
        let decision = if order == Order::Accept { Decision::Accepted } else { Decision::Refused };
        let (wait, others): (Vec<&PackageView>, Vec<&PackageView>) =
            found.iter().copied().partition(|package| package.row.state == PackageState::Review);
        if wait.is_empty() {
            // Of a pattern that nothing fits one refusal is enough.
            let row = &others.first().expect("a name means something").row;
            let (target, word) = (row.srpm.to_string(), decided_word(decision));
            let text = format!("is {}: only what is in review can be {word}", row.state);
            return self.no(NoCode::Refused, &target, text);
        }
        let result = |package: &PackageView| Verdictable {
            target: package.row.srpm.to_string(),
            folder: package.row.place.to_string(),
        };
        let results = wait.into_iter().map(result).collect();
        self.answer = Answer::Waiting;
        let who = self.who.clone();
        self.work(cx, Job::Decide { results, decision, who });
    }

    fn change_options(&mut self, cx: &mut Cx<'_>, view: &View, target: &str, words: Vec<Line>) {
        if !words.is_empty()
            && let Err(why) = crate::lists::check_options(&words)
        {
            return self.no(NoCode::BadInput, target, why);
        }
        let glob = if names::is_glob(target) {
            target.to_owned()
        } else {
            match names::package(view, target) {
                Ok(package) => package.row.srpm.to_string(),
                Err(miss) => return self.miss(target, miss),
            }
        };
        self.answer = Answer::Waiting;
        self.order(cx, None);
        self.work(cx, Job::SetOptions { glob, words });
    }

    /// Takes results out of the index; their folders are found by a worker.
    pub(super) fn retract(&mut self, cx: &mut Cx<'_>, target: &str, delete: bool) {
        self.answer = Answer::Waiting;
        let (target, who) = (target.to_owned(), self.who.clone());
        self.work(cx, Job::Retract { target, delete, who });
    }

    /// Writes a builder into the list.
    pub(super) fn approve(&mut self, cx: &mut Cx<'_>, name: &str, words: &[Line]) {
        let is_name = |text: &str| {
            !text.is_empty()
                && FileName::new(text).is_ok()
                && !text.contains(|c: char| c.is_whitespace() || c == '#')
        };
        if !is_name(name) || words.iter().any(|word| !is_name(word.as_str())) {
            return self.no(
                NoCode::BadInput,
                name,
                "a name, a key and architectures are words without spaces or '#'",
            );
        }
        let mut words = words.iter().map(Line::as_str).peekable();
        let key: Option<PublicKey> = words.peek().and_then(|word| word.parse().ok());
        let key = match key {
            Some(key) => {
                words.next();
                Some(key)
            }
            None => {
                let digits =
                    |word: &&str| word.len() >= KEY_DIGITS_MIN && word.bytes().all(|b| b.is_ascii_hexdigit());
                let by = words.next_if(|word| digits(word) || word.parse::<std::net::IpAddr>().is_ok());
                let by = by.unwrap_or(name).to_ascii_lowercase();
                let fits = |key: &PublicKey, peer: &std::net::IpAddr| {
                    peer.to_string() == by || (digits(&by.as_str()) && key.to_string().starts_with(&by))
                };
                let mut found =
                    cx.shared.unlisted.iter().filter(|unlisted| fits(&unlisted.key, &unlisted.peer));
                match (found.next(), found.next()) {
                    (Some(one), None) => Some(one.key),
                    _ => None,
                }
            }
        };
        let Some(key) = key else {
            let known = cx.shared.unlisted.iter().rev();
            let names: Vec<String> = known.map(|one| format!("{} {}", one.key, one.peer)).collect();
            let text =
                "name its key: not exactly one builder that was turned away is known by that".to_owned();
            return self.miss(name, names::Miss { code: NoCode::NotFound, text, names });
        };
        let archs = words.map(str::to_owned).collect();
        self.answer = Answer::Waiting;
        self.order(cx, Some(key));
        self.work(cx, Job::Approve { name: name.to_owned(), key, archs });
    }
}

/// A decision is durable: tells everybody, and says so.
pub(super) fn carry_out(cx: &mut Cx<'_>, decided: Decided) -> Reply {
    let Decided { srpm, folder, decision, source, binaries, rpms, delete, who } = decided;
    match decision {
        Decision::Accepted => {
            let published = repo::Published { folder: folder.clone(), rpms };
            cx.out.push(Effect::Repo(repo::Msg::Published(published)));
        }
        Decision::Retracted => {
            if delete {
                cx.shared.delete_later(folder.clone(), rpms);
            }
            cx.out.push(Effect::Repo(repo::Msg::Withdraw { folder: folder.clone() }));
        }
        Decision::Refused => {}
    }
    let (text, target) = match (decision, delete) {
        (Decision::Accepted, _) => (format!("accepted: {folder} is published"), srpm.to_string()),
        (Decision::Refused, _) => (format!("refused: {folder} is not published"), srpm.to_string()),
        (Decision::Retracted, false) => ("retracted: out of the index".to_owned(), folder.clone()),
        (Decision::Retracted, true) => {
            ("retracted: out of the index, its RPMs are deleted".to_owned(), folder.clone())
        }
    };
    let told = queue::Msg::Decided { srpm, folder, decision, source, binaries, who };
    cx.out.push(Effect::Queue(told));
    cx.shared.stale_view();
    Reply::Changed { target, text }
}
