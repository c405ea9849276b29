//! The command line, and the loop in which keys, signals and the hub's news meet.
//!
//! Owns when is drawn: at once after a key, soon after news, each second because of the clock; and how it ends: the terminal
//! is as before, whatever ended it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use moji_client::exit::Failure;
use moji_client::operator::code;
use moji_client::operator::hub::{self, Access, Given, Machine, Patience, Session};
use moji_client::operator::print::{Zone, columns, safe};
use nix::sys::signal::{SigSet, Signal, raise};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::terminal::Terminal;

use crate::keys::Key;
use crate::link::{self, News};
use crate::model::Model;
use crate::screen::{self, Look};
use crate::terminal::{Ansi, Screen, size};
use crate::ui::{Ticket, Ui, Wish};

/// The clock goes on so often.
const TICK: Duration = Duration::from_secs(1);
/// News are drawn together: more often than this nobody reads, and ssh carries all of it.
const NEWS: Duration = Duration::from_millis(250);
/// A list that is looked at is asked for again so often.
const LIST_EVERY: Duration = Duration::from_secs(5);

/// `moji-top --help`, of the shape that the man pages are made of.
const HELP: &str = "\
moji-top: shows a moji build farm live in a terminal

Usage: moji top [OPTIONS]
       moji-top [OPTIONS]

Options:
      --hub HOST[:PORT]     the hub [else $MOJI_HUB, configuration, this
                            machine]
      --password-file FILE  the operators' secret [else configuration, a hub
                            on this machine (needs root)]
      --once                print the screen once as plain text; $COLUMNS and
                            $LINES say how large if stdout is no terminal
      --no-color            no colours; so does $NO_COLOR
  -h, --help                this help
  -V, --version             the version

Keys:
  q, Ctrl-C                 leave
  Tab                       next pane: trouble, what is built, last results
  up, down, j, k            a line; PgUp, PgDn a page; g, G to the ends
  Enter                     why the package is where it is
  l                         its log, which goes on while it grows
  p                         packages by state; left and right change it
  /                         only packages with these letters in their names
  space                     the screen stands still
  Esc                       back
  ?                         all keys, and what the bar's signs mean
The screen shows how much is built and when all of it ends, what is wrong
first, what is built where with phase, time and last line of its log, and the
last results. It changes nothing.

Exit codes:
  0  done
  2  the command line is wrong, or stdout is no terminal
  3  the hub cannot be reached, or does not let you in

Examples:
  moji top
  moji top --hub hub.example --password-file ~/.config/moji.secret
  moji top --once
";

#[derive(Parser, Debug)]
#[command(name = "moji-top", version, override_help = HELP)]
struct Args {
    #[arg(long, value_name = "HOST[:PORT]")]
    hub: Option<String>,
    #[arg(long, value_name = "FILE")]
    password_file: Option<std::path::PathBuf>,
    #[arg(long)]
    once: bool,
    #[arg(long)]
    no_color: bool,
}

/// What the loop hears.
#[derive(Debug)]
enum Heard {
    Key(Key),
    Resized,
    Signal(Signal),
    /// There are no keys any more.
    Deaf(String),
    News(News),
}

impl From<News> for Heard {
    fn from(news: News) -> Heard {
        Heard::News(news)
    }
}

/// How it ends.
enum Ended {
    Quit,
    Signal(Signal),
    Failed(Failure),
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse_from(std::env::args_os().collect::<Vec<OsString>>()) {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => {
            return ended(say(&error.to_string()));
        }
        Err(error) => {
            let text = error.to_string();
            let what = text.lines().next().unwrap_or_default();
            let what = what.strip_prefix("error: ").unwrap_or(what);
            return ended(Err(Failure::new(code::USAGE, format!("{what}: see 'moji-top --help'"))));
        }
    };
    ended(run(&args))
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::from(code::OK),
        Err(failure) => {
            eprintln!("moji-top: {}", safe(&failure.text));
            ExitCode::from(failure.code)
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let is_live = !args.once;
    if is_live && !io::stdout().is_terminal() {
        let text =
            "stdout is no terminal: use 'moji top --once' for one screen, 'moji status --json' in a script";
        return Err(Failure::new(code::USAGE, text));
    }
    let given = Given { hub: args.hub.clone(), password_file: args.password_file.clone() };
    let access = hub::access(&given, &Machine::this())?;
    let look = Look {
        colour: is_live
            && !args.no_color
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        now_unix_s: now_unix_s(),
        zone: Zone::of_machine(std::env::var("TZ").ok().as_deref()),
        is_live,
    };
    // What is wrong with the hub's name or the secret is said on the usual screen.
    let patience = if is_live { Patience::SCREEN } else { Patience::COMMAND };
    let session = hub::open(&access, patience)?;
    if is_live { live(&access, session, look) } else { once(&access, session, &look) }
}

// ---- one screen

fn once(access: &Access, mut session: Session, look: &Look) -> Result<(), Failure> {
    let mut model = Model::new(access.hub());
    model.farm_is(link::status(&mut session)?);
    link::history(&mut session)?.into_iter().for_each(|event| model.event(event));
    let (width, height) = if io::stdout().is_terminal() { size() } else { asked_size() };
    say(&page(look, &model, width, height))
}

/// `$COLUMNS` and `$LINES`, else those of a small terminal.
fn asked_size() -> (u16, u16) {
    let number = |name, else_what| {
        let said = std::env::var(name).ok().and_then(|text| text.parse::<u16>().ok());
        said.filter(|n| (1..=1_000).contains(n)).unwrap_or(else_what)
    };
    (number("COLUMNS", 80), number("LINES", 24))
}

/// The screen as lines of text.
#[must_use]
pub fn page(look: &Look, model: &Model, width: u16, height: u16) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    screen::draw(look, model, &mut Ui::default(), &mut buffer);
    text(&buffer)
}

/// What stands in the cells, without blanks at the ends.
#[must_use]
pub fn text(buffer: &Buffer) -> String {
    let mut out = String::new();
    for row in buffer.content().chunks(usize::from(buffer.area().width).max(1)) {
        let (mut line, mut at) = (String::new(), 0);
        while let Some(cell) = row.get(at) {
            line.push_str(cell.symbol());
            at += columns(cell.symbol()).max(1);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    format!("{}\n", out.trim_end())
}

fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Nobody reads any more: nothing is wrong here.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(code::NO, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

// ---- live

struct Live<'a> {
    access: &'a Access,
    terminal: Terminal<Ansi>,
    look: Look,
    model: Model,
    /// What is shown while the screen stands still, and the time then.
    frozen: Option<(Model, u64)>,
    ui: Ui,
    /// Questions whose answers are on their way.
    asked: BTreeMap<Ticket, Arc<AtomicBool>>,
    to: Sender<Heard>,
}

fn live(access: &Access, session: Session, look: Look) -> Result<(), Failure> {
    let (to, heard) = mpsc::channel();
    // Before there is another thread: all of them leave these signals to one.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        signals.add(signal);
    }
    signals.thread_block().map_err(|error| broken(&error.into()))?;
    let screen = Screen::open().map_err(|error| broken(&error))?;
    let terminal = Terminal::new(Ansi::default()).map_err(|error| broken(&error))?;
    listen(signals, &to);
    link::start(access, session, &to);
    let model = Model::new(access.hub());
    let (frozen, ui, asked) = (None, Ui::default(), BTreeMap::new());
    let mut live = Live { access, terminal, look, model, frozen, ui, asked, to };
    let ended = live.run(&heard);
    drop(screen);
    match ended {
        Ended::Quit => Ok(()),
        Ended::Failed(failure) => Err(failure),
        Ended::Signal(signal) => {
            // The terminal is as before, and whoever waits for us learns what ended us.
            let _ = signals.thread_unblock();
            let _ = raise(signal);
            Ok(())
        }
    }
}

/// Threads for signals and keys.
fn listen(signals: SigSet, to: &Sender<Heard>) {
    let tell = to.clone();
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if tell.send(Heard::Signal(signal)).is_err() {
                return;
            }
        }
    });
    let tell = to.clone();
    thread::spawn(move || {
        loop {
            use crossterm::event::{Event, read};
            let heard = match read() {
                Ok(Event::Key(event)) => Key::of(&event).map(Heard::Key),
                Ok(Event::Resize(..)) => Some(Heard::Resized),
                Ok(_) => None,
                Err(error) => {
                    let _ = tell.send(Heard::Deaf(error.to_string()));
                    return;
                }
            };
            if heard.is_some_and(|heard| tell.send(heard).is_err()) {
                return;
            }
        }
    });
}

impl Live<'_> {
    fn run(&mut self, heard: &Receiver<Heard>) -> Ended {
        let mut drawn = Instant::now();
        let mut listed = Instant::now();
        let mut due = drawn;
        loop {
            let now = Instant::now();
            if now >= due {
                if let Err(error) = self.draw() {
                    return Ended::Failed(broken(&error));
                }
                drawn = Instant::now();
                due = drawn + TICK;
            }
            if listed.elapsed() >= LIST_EVERY {
                listed = Instant::now();
                let wishes = if self.ui.is_paused { Vec::new() } else { self.ui.refresh() };
                self.grant(wishes);
            }
            let wait = due.saturating_duration_since(Instant::now());
            let first = match heard.recv_timeout(wait) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => unreachable!("we have a sender ourselves"),
            };
            for one in std::iter::once(first).chain(heard.try_iter()) {
                let soon = match one {
                    Heard::Key(_) | Heard::Resized => Instant::now(),
                    _ => drawn + NEWS,
                };
                due = due.min(soon);
                if let Some(ended) = self.hear(one) {
                    return ended;
                }
            }
        }
    }

    fn hear(&mut self, heard: Heard) -> Option<Ended> {
        match heard {
            Heard::Signal(Signal::SIGINT) => return Some(Ended::Quit),
            Heard::Signal(signal) => return Some(Ended::Signal(signal)),
            Heard::Deaf(why) => {
                return Some(Ended::Failed(Failure::new(code::NO, format!("cannot read keys: {why}"))));
            }
            Heard::Resized => {}
            Heard::Key(key) => return self.press(key),
            Heard::News(News::Farm(farm)) => self.model.farm_is(*farm),
            Heard::News(News::Event(event)) => self.model.event(event),
            Heard::News(News::Away(why)) => self.model.is_away(now_unix_s(), why),
            Heard::News(News::Failed(failure)) => return Some(Ended::Failed(failure)),
            Heard::News(News::Row(ticket, row)) => self.ui.row(ticket, row),
            Heard::News(News::End(ticket, broken)) => {
                self.asked.remove(&ticket);
                self.ui.end(ticket, broken);
            }
        }
        None
    }

    fn press(&mut self, key: Key) -> Option<Ended> {
        let was_paused = self.ui.is_paused;
        let (model, now) = match &self.frozen {
            Some((model, now)) => (model, *now),
            None => (&self.model, now_unix_s()),
        };
        let wishes = self.ui.press(key, model, now);
        if was_paused != self.ui.is_paused {
            self.frozen = self.ui.is_paused.then(|| (self.model.clone(), now_unix_s()));
        }
        self.grant(wishes)
    }

    fn grant(&mut self, wishes: Vec<Wish>) -> Option<Ended> {
        for wish in wishes {
            match wish {
                Wish::Quit => return Some(Ended::Quit),
                Wish::Redraw => {
                    let _ = self.terminal.clear();
                }
                Wish::Ask(ticket, request) => {
                    let is_over = Arc::new(AtomicBool::new(false));
                    self.asked.insert(ticket, Arc::clone(&is_over));
                    link::ask(self.access, ticket, request, is_over, &self.to);
                }
                Wish::Drop(ticket) => {
                    if let Some(is_over) = self.asked.remove(&ticket) {
                        is_over.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
        None
    }

    fn draw(&mut self) -> io::Result<()> {
        self.look.now_unix_s = now_unix_s();
        let model = match &self.frozen {
            Some((model, now)) => {
                self.look.now_unix_s = *now;
                model
            }
            None => &self.model,
        };
        self.terminal.draw(|frame| screen::draw(&self.look, model, &mut self.ui, frame.buffer_mut()))?;
        Ok(())
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::new(code::NO, format!("cannot use the terminal: {error}"))
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
