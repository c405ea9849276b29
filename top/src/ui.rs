//! Where somebody looks: the page, the pane, the line; and what each key does there.
//!
//! Owns pages and what was asked of the hub for them. Pure: a key gives [`Wish`]es, answers come by tickets, and an
//! answer to a question that nobody asks any more is dropped.

use std::collections::VecDeque;

use moji_client::operator::print::{SafeLog, Text, safe};
use moji_proto::message::{
    AttemptRow, FromOperator, LackRow, PackageRow, PackageState, ToOperator, Verdict, Which,
};
use moji_proto::{FileName, Line};

use crate::keys::Key;
use crate::model::{BAR, Model, is_fit};

/// Lines of a log that are kept: what somebody scrolls back to. `moji log` has all of it.
pub const LOG_LINES_MAX: usize = 5_000;
/// A line of a log is cut here, characters: more than any terminal is wide.
const LOG_LINE_MAX: usize = 4_000;
/// Letters of a filter: more than any package's name has.
const FILTER_MAX: usize = 100;

/// Names one question to the hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To leave.
    Quit,
    /// All of the screen drawn again.
    Redraw,
    /// The hub to be asked this; the answer comes by the ticket.
    Ask(Ticket, FromOperator),
    /// No more of that answer.
    Drop(Ticket),
}

/// A line that is looked at, in a list that may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The line.
    pub at: usize,
    /// The first that is shown.
    pub top: usize,
    /// Lines that were shown last.
    pub height: usize,
}

impl Cursor {
    /// Makes both fit a list of so many lines, so many of which are shown.
    pub fn settle(&mut self, lines: usize, height: usize) {
        self.height = height;
        self.at = self.at.min(lines.saturating_sub(1));
        let last_top = lines.saturating_sub(height);
        self.top = self.top.min(self.at).max((self.at + 1).saturating_sub(height.max(1))).min(last_top);
    }

    fn press(&mut self, key: Key) -> bool {
        let page = self.height.saturating_sub(1).max(1);
        self.at = match key {
            Key::Up | Key::Char('k') => self.at.saturating_sub(1),
            Key::Down | Key::Char('j') => self.at.saturating_add(1),
            Key::PageUp => self.at.saturating_sub(page),
            Key::PageDown => self.at.saturating_add(page),
            Key::Home | Key::Char('g') => 0,
            // The next look makes it fit; no list is as long, and what is added to it must not wrap.
            Key::End | Key::Char('G') => usize::MAX / 2,
            _ => return false,
        };
        true
    }

    /// As [`Cursor::press`] where nothing is chosen: the text itself moves.
    fn scroll(&mut self, key: Key) -> bool {
        // The line in the middle of nowhere would have to be left first.
        self.at = match key {
            Key::Down | Key::Char('j') | Key::PageDown => self.at.max(self.top + self.height.max(1) - 1),
            Key::Up | Key::Char('k') | Key::PageUp => self.top,
            _ => self.at,
        };
        self.press(key)
    }
}

/// A part of the overview.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// What is wrong.
    Trouble,
    /// What is built.
    #[default]
    Builds,
    /// Last results.
    Results,
}

/// Packages by state.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    /// Which state; None means all.
    pub state: Option<PackageState>,
    /// The last answer that was whole.
    pub rows: Vec<PackageRow>,
    /// Whether there was one.
    pub is_known: bool,
    coming: Vec<PackageRow>,
    /// The line that is looked at.
    pub cursor: Cursor,
    ticket: Option<Ticket>,
}

impl Packages {
    /// Those that the filter lets through.
    #[must_use]
    pub fn shown(&self, filter: &str) -> Vec<&PackageRow> {
        self.rows.iter().filter(|row| is_fit(filter, &row.srpm)).collect()
    }
}

/// Why a package is where it is.
#[derive(Clone, Debug, Default)]
pub struct Why {
    /// Whose.
    pub srpm: Option<FileName>,
    /// The package; None before the answer.
    pub package: Option<PackageRow>,
    /// Its lines.
    pub texts: Vec<Text>,
    /// What it lacks.
    pub lacks: Vec<LackRow>,
    /// Its newest attempts.
    pub attempts: Vec<AttemptRow>,
    /// Why there is no answer.
    pub no: Option<String>,
    /// How far it is scrolled.
    pub cursor: Cursor,
    ticket: Ticket,
}

/// A log that is followed.
#[derive(Debug, Default)]
pub struct Log {
    /// Whose.
    pub srpm: Option<FileName>,
    /// Its last lines, the last of them perhaps not whole.
    pub lines: VecDeque<String>,
    safe: SafeLog,
    /// Which attempt, and whether it may still grow.
    pub of: Option<(u16, bool)>,
    /// How it ended, or why there is none.
    pub end: Option<String>,
    /// Whether the last line is to be seen.
    pub is_followed: bool,
    /// How far it is scrolled.
    pub cursor: Cursor,
    ticket: Ticket,
}

impl Log {
    fn push(&mut self, text: &str) {
        for (at, piece) in text.split('\n').enumerate() {
            if at > 0 || self.lines.is_empty() {
                self.lines.push_back(String::new());
            }
            let last = self.lines.back_mut().expect("there is one");
            let room = LOG_LINE_MAX.saturating_sub(last.len());
            last.extend(piece.chars().take(room));
        }
        let over = self.lines.len().saturating_sub(LOG_LINES_MAX);
        self.lines.drain(..over);
        self.cursor.top = self.cursor.top.saturating_sub(over);
        self.cursor.at = self.cursor.at.saturating_sub(over);
    }
}

/// What fills the screen below the farm's head.
#[derive(Debug)]
pub enum Page {
    /// Packages by state.
    Packages(Packages),
    /// Why one is where it is.
    Why(Box<Why>),
    /// A log.
    Log(Box<Log>),
    /// A line that did not fit.
    Text(String, Cursor),
    /// The keys.
    Help(Cursor),
}

/// Where somebody looks.
#[derive(Debug, Default)]
pub struct Ui {
    /// The pane of the overview.
    pub pane: Pane,
    /// The line in each pane: trouble, builds, results.
    pub cursors: [Cursor; 3],
    /// Pages above the overview, the last on top.
    pub pages: Vec<Page>,
    /// Only packages with these letters in their names.
    pub filter: String,
    /// Whether the filter is being written.
    pub is_typing: bool,
    /// Whether the screen stands still.
    pub is_paused: bool,
    tickets: u64,
}

impl Ui {
    /// A key was pressed.
    pub fn press(&mut self, key: Key, model: &Model, now_unix_s: u64) -> Vec<Wish> {
        match key {
            Key::Interrupt => return vec![Wish::Quit],
            Key::Redraw => return vec![Wish::Redraw],
            _ if self.is_typing => {
                self.write(key);
                return Vec::new();
            }
            Key::Char('q' | 'Q') => return vec![Wish::Quit],
            Key::Char('/') => self.is_typing = true,
            Key::Char(' ') => self.is_paused = !self.is_paused,
            Key::Char('?') if !matches!(self.pages.last(), Some(Page::Help(_))) => {
                self.pages.push(Page::Help(Cursor::default()));
            }
            Key::Escape | Key::Backspace | Key::Char('?') => return self.back(),
            _ if self.pages.is_empty() => return self.press_overview(key, model, now_unix_s),
            _ => return self.press_page(key),
        }
        Vec::new()
    }

    /// Letters of the filter.
    fn write(&mut self, key: Key) {
        match key {
            Key::Char(letter) if self.filter.chars().count() < FILTER_MAX => self.filter.push(letter),
            Key::Backspace if self.filter.pop().is_none() => self.is_typing = false,
            Key::Escape => {
                self.filter.clear();
                self.is_typing = false;
            }
            Key::Enter | Key::Tab => self.is_typing = false,
            _ => {}
        }
    }

    /// One page back; from the overview the filter goes.
    fn back(&mut self) -> Vec<Wish> {
        match self.pages.pop() {
            None => {
                self.filter.clear();
                Vec::new()
            }
            Some(page) => page.ticket().map(Wish::Drop).into_iter().collect(),
        }
    }

    fn press_overview(&mut self, key: Key, model: &Model, now_unix_s: u64) -> Vec<Wish> {
        let at = self.cursors[self.pane as usize].at;
        let srpm = match self.pane {
            Pane::Trouble => None,
            Pane::Builds => model.builds(&self.filter).get(at).map(|row| row.srpm.clone()),
            Pane::Results => model.results(&self.filter).get(at).and_then(|row| row.srpm.clone()),
        };
        match (key, srpm) {
            (Key::Tab | Key::BackTab, _) => {
                let panes = [Pane::Trouble, Pane::Builds, Pane::Results];
                let has_trouble = !model.trouble(now_unix_s).is_empty();
                let step = if key == Key::Tab { 1 } else { 2 };
                self.pane = panes[(self.pane as usize + step) % 3];
                if self.pane == Pane::Trouble && !has_trouble {
                    self.pane = panes[step];
                }
            }
            (Key::Char('p'), _) => return self.open_packages(None),
            (Key::Enter, Some(srpm)) => return self.open_why(srpm),
            (Key::Char('l'), Some(srpm)) => return self.open_log(srpm),
            (Key::Enter, None) if self.pane == Pane::Trouble => {
                if let Some(trouble) = model.trouble(now_unix_s).get(at) {
                    let text = format!("{} {}: {}", trouble.what, trouble.state, trouble.text);
                    self.pages.push(Page::Text(text.replace(" : ", ": "), Cursor::default()));
                }
            }
            (key, _) => {
                self.cursors[self.pane as usize].press(key);
            }
        }
        Vec::new()
    }

    fn press_page(&mut self, key: Key) -> Vec<Wish> {
        let filter = self.filter.clone();
        match self.pages.last_mut() {
            None => {}
            Some(Page::Packages(packages)) => {
                let srpm = packages.shown(&filter).get(packages.cursor.at).map(|row| row.srpm.clone());
                match (key, srpm) {
                    (Key::Enter, Some(srpm)) => return self.open_why(srpm),
                    (Key::Char('l'), Some(srpm)) => return self.open_log(srpm),
                    (Key::Left | Key::BackTab, _) => return self.turn(BAR.len()),
                    (Key::Right | Key::Tab | Key::Char('p'), _) => return self.turn(1),
                    (key, _) => {
                        packages.cursor.press(key);
                    }
                }
            }
            Some(Page::Why(why)) => match (key, why.srpm.clone()) {
                (Key::Char('l'), Some(srpm)) => return self.open_log(srpm),
                _ => {
                    why.cursor.scroll(key);
                }
            },
            Some(Page::Log(log)) => {
                let was = log.cursor;
                if matches!(key, Key::Char('f' | 'G') | Key::End) {
                    log.is_followed = true;
                } else if log.cursor.scroll(key) {
                    let is_at_end = was.top + was.height >= log.lines.len();
                    log.is_followed &= is_at_end && matches!(key, Key::Down | Key::PageDown | Key::Char('j'));
                }
            }
            Some(Page::Text(_, cursor) | Page::Help(cursor)) => {
                cursor.scroll(key);
            }
        }
        Vec::new()
    }

    // ---- questions

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn open_packages(&mut self, state: Option<PackageState>) -> Vec<Wish> {
        self.pages.push(Page::Packages(Packages { state, ..Packages::default() }));
        self.refresh()
    }

    /// To the next state; all of them are one too.
    fn turn(&mut self, by: usize) -> Vec<Wish> {
        let Some(Page::Packages(packages)) = self.pages.last_mut() else { return Vec::new() };
        let states: Vec<Option<PackageState>> = std::iter::once(None).chain(BAR.map(Some)).collect();
        let at = states.iter().position(|state| *state == packages.state).unwrap_or(0);
        let state = states[(at + by) % states.len()];
        let old = std::mem::replace(packages, Packages { state, ..Packages::default() });
        let mut wishes: Vec<Wish> = old.ticket.map(Wish::Drop).into_iter().collect();
        wishes.extend(self.refresh());
        wishes
    }

    /// Asks for the list that is on top anew, unless its answer is still on its way.
    pub fn refresh(&mut self) -> Vec<Wish> {
        let ticket = Ticket(self.tickets + 1);
        let Some(Page::Packages(packages)) = self.pages.last_mut() else { return Vec::new() };
        if packages.ticket.is_some() {
            return Vec::new();
        }
        packages.ticket = Some(ticket);
        packages.coming.clear();
        let request = FromOperator::List { pattern: Line::default(), state: packages.state };
        vec![Wish::Ask(self.ticket(), request)]
    }

    fn open_why(&mut self, srpm: FileName) -> Vec<Wish> {
        let ticket = self.ticket();
        let package = Line::lossy(srpm.as_str());
        self.pages.push(Page::Why(Box::new(Why { srpm: Some(srpm), ticket, ..Why::default() })));
        vec![Wish::Ask(ticket, FromOperator::Why { package })]
    }

    fn open_log(&mut self, srpm: FileName) -> Vec<Wish> {
        let ticket = self.ticket();
        let package = Line::lossy(srpm.as_str());
        let log = Log { srpm: Some(srpm), ticket, is_followed: true, ..Log::default() };
        self.pages.push(Page::Log(Box::new(log)));
        let request = FromOperator::Log { package, which: Which::Build, attempt: 0, offset: 0, follow: true };
        vec![Wish::Ask(ticket, request)]
    }

    // ---- answers

    fn asked(&mut self, ticket: Ticket) -> Option<&mut Page> {
        self.pages.iter_mut().find(|page| page.ticket() == Some(ticket))
    }

    /// A row of an answer.
    pub fn row(&mut self, ticket: Ticket, row: ToOperator) {
        match (self.asked(ticket), row) {
            (Some(Page::Packages(packages)), ToOperator::Package(row)) => packages.coming.push(row),
            (Some(Page::Why(why)), ToOperator::Package(row)) => why.package = Some(row),
            (Some(Page::Why(why)), ToOperator::Text { topic, line }) => why.texts.push(Text { topic, line }),
            (Some(Page::Why(why)), ToOperator::Lack(row)) => why.lacks.push(row),
            (Some(Page::Why(why)), ToOperator::Attempt(row)) => why.attempts.push(row),
            (Some(Page::Why(why)), ToOperator::No { text, .. }) => why.no = Some(text.to_string()),
            (Some(Page::Log(log)), ToOperator::LogOf { attempt, live, .. }) => log.of = Some((attempt, live)),
            (Some(Page::Log(log)), ToOperator::Log { bytes, .. }) => {
                let text = log.safe.push(&bytes.0);
                log.push(&text);
            }
            (Some(Page::Log(log)), ToOperator::LogEnd { verdict, reason }) => {
                let word = verdict.map_or("ended", Verdict::as_str);
                let reason = safe(reason.as_str());
                log.end = Some(if reason.is_empty() { word.to_owned() } else { format!("{word}: {reason}") });
            }
            (Some(Page::Log(log)), ToOperator::No { text, .. }) => log.end = Some(safe(text.as_str())),
            _ => {}
        }
    }

    /// An answer is complete, or came to nothing: then why.
    pub fn end(&mut self, ticket: Ticket, broken: Option<String>) {
        match self.asked(ticket) {
            Some(Page::Packages(packages)) => {
                packages.ticket = None;
                if broken.is_none() {
                    packages.rows = std::mem::take(&mut packages.coming);
                    packages.is_known = true;
                }
            }
            Some(Page::Why(why)) => why.no = why.no.take().or(broken),
            Some(Page::Log(log)) => {
                let rest = log.safe.finish();
                if !rest.is_empty() {
                    log.push(&rest);
                }
                log.end = log.end.take().or(broken).or(Some("the end".to_owned()));
                log.of = log.of.map(|(attempt, _)| (attempt, false));
            }
            _ => {}
        }
    }
}

impl Page {
    /// The question whose answer it shows.
    fn ticket(&self) -> Option<Ticket> {
        match self {
            Page::Packages(packages) => packages.ticket,
            Page::Why(why) => Some(why.ticket),
            Page::Log(log) => Some(log.ticket),
            Page::Text(..) | Page::Help(_) => None,
        }
    }
}
