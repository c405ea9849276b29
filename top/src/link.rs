//! Threads that talk to the hub: one asks how the farm is, one follows what happens, one for each question.
//!
//! Owns connections, pauses and when what is asked. Shows nothing and decides nothing: all goes as [`News`] to the loop
//! of `cli`. A thread ends when nobody hears it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use moji_client::exit::Failure;
use moji_client::operator::hub::{self, Access, Lost, Next, Patience, Session};
use moji_proto::Line;
use moji_proto::message::{EventKind, EventRow, FromOperator, ToOperator};

use crate::model::Farm;
use crate::ui::Ticket;

/// From one look at the farm to the next …
const EVERY: Duration = Duration::from_secs(1);
/// … but so many times as long as the last answer took: a hub that is slow to answer has other things to do.
const SHARE: u32 = 10;
/// The first pause before a hub that is away is tried again; each is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// The longest pause: a hub that is back should be seen soon.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Events that are looked through for the last results.
const HISTORY_ROWS: u32 = 1_000;
/// A question that nobody asks any more is noticed within this.
const NOTICE: Duration = Duration::from_millis(200);

/// What the hub said.
#[derive(Debug)]
pub enum News {
    /// The farm as it is.
    Farm(Box<Farm>),
    /// Something happened.
    Event(EventRow),
    /// The hub is away, and is tried again.
    Away(String),
    /// It does not let us in any more.
    Failed(Failure),
    /// A row of an answer.
    Row(Ticket, ToOperator),
    /// The answer is complete; or why it is not.
    End(Ticket, Option<String>),
}

/// Asks once how the farm is.
///
/// # Errors
/// [`Lost`] if the hub went away, or does not answer that.
pub fn status(session: &mut Session) -> Result<Farm, Lost> {
    session.ask(&FromOperator::Status, &[])?;
    let mut farm: Option<Farm> = None;
    while let Some(row) = session.row()? {
        match (row, &mut farm) {
            (ToOperator::Farm(row), None) => {
                farm = Some(Farm { row, builds: Vec::new(), builders: Vec::new() });
            }
            (ToOperator::Package(row), Some(farm)) => farm.builds.push(row),
            (ToOperator::Builder(row), Some(farm)) => farm.builders.push(*row),
            (ToOperator::No { text, .. }, _) => return Err(Lost::Away(text.to_string())),
            (other, _) => return Err(session.nonsense(&other)),
        }
    }
    farm.ok_or_else(|| Lost::Away("the hub said nothing of the farm".to_owned()))
}

/// The newest events of the history, oldest first.
///
/// # Errors
/// As [`status`].
pub fn history(session: &mut Session) -> Result<Vec<EventRow>, Lost> {
    let mut events = Vec::new();
    session.ask(&FromOperator::History { pattern: Line::default(), rows: HISTORY_ROWS }, &[])?;
    while let Some(row) = session.row()? {
        match row {
            ToOperator::Event(event) => events.push(event),
            ToOperator::No { text, .. } => return Err(Lost::Away(text.to_string())),
            other => return Err(session.nonsense(&other)),
        }
    }
    Ok(events)
}

/// Looks at the farm again and again, and follows what happens in it. `hear` takes the news to where they are wanted.
pub fn start<M: From<News> + Send + 'static>(access: &Access, session: Session, to: &Sender<M>) {
    let (its, tell) = (access.clone(), to.clone());
    thread::spawn(move || {
        keep(&its, Some(session), &tell, true, |session, tell| {
            loop {
                let began = Instant::now();
                let farm = status(session)?;
                if tell.send(News::Farm(Box::new(farm)).into()).is_err() {
                    return Ok(());
                }
                let pause = EVERY.max(began.elapsed() * SHARE);
                // The session lives on meanwhile: it pings, and notices an end.
                if let Next::Row(row) = session.next(began + pause)? {
                    return Err(session.nonsense(&row));
                }
            }
        });
    });
    let (its, tell) = (access.clone(), to.clone());
    thread::spawn(move || keep(&its, None, &tell, false, follow));
}

/// The last results, and from then on each one as it comes.
fn follow<M: From<News>>(session: &mut Session, tell: &Sender<M>) -> Result<(), Lost> {
    let mut after = 1;
    for event in history(session)? {
        after = event.seq;
        if event.kind == EventKind::Ended && tell.send(News::Event(event).into()).is_err() {
            return Ok(());
        }
    }
    session.ask(&FromOperator::Events { pattern: Line::default(), after, current: false }, &[])?;
    while let Some(row) = session.row()? {
        match row {
            ToOperator::Event(event) if event.kind == EventKind::Ended => {
                if tell.send(News::Event(event).into()).is_err() {
                    return Ok(());
                }
            }
            ToOperator::Event(_) => {}
            ToOperator::No { text, .. } => return Err(Lost::Away(text.to_string())),
            other => return Err(session.nonsense(&other)),
        }
    }
    Err(Lost::Away("the hub ended the stream of events".to_owned()))
}

/// Does it over and over, with a new connection whenever one is lost, until nobody hears any more. `is_first` of the
/// threads says when the hub is away.
fn keep<M: From<News>>(
    access: &Access,
    mut session: Option<Session>,
    tell: &Sender<M>,
    is_first: bool,
    work: impl Fn(&mut Session, &Sender<M>) -> Result<(), Lost>,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        let opened = session.take().map_or_else(|| hub::open(access, Patience::SCREEN), Ok);
        let came = Instant::now();
        let lost = match opened.and_then(|mut session| work(&mut session, tell)) {
            Ok(()) => return,
            Err(lost) => lost,
        };
        let said = match lost.away() {
            Ok(why) if is_first => tell.send(News::Away(why).into()),
            Ok(_) => Ok(()),
            // One of the two says it.
            Err(_) if !is_first => return,
            Err(failure) => return drop(tell.send(News::Failed(failure).into())),
        };
        if said.is_err() {
            return;
        }
        if came.elapsed() > PAUSE_MAX {
            pause = PAUSE_FIRST;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Asks one thing on a connection of its own, until `is_over`.
pub fn ask<M: From<News> + Send + 'static>(
    access: &Access,
    ticket: Ticket,
    request: FromOperator,
    is_over: Arc<AtomicBool>,
    to: &Sender<M>,
) {
    let (access, to) = (access.clone(), to.clone());
    thread::spawn(move || {
        let answered = hub::open(&access, Patience::SCREEN).and_then(|mut session| {
            session.ask(&request, &[])?;
            while !is_over.load(Ordering::Relaxed) {
                match session.next(Instant::now() + NOTICE)? {
                    Next::Row(row) => {
                        if to.send(News::Row(ticket, row).into()).is_err() {
                            break;
                        }
                    }
                    Next::Nothing => {}
                    Next::End => break,
                }
            }
            Ok(())
        });
        let broken = answered.err().map(|lost| Failure::from(lost).text);
        let _ = to.send(News::End(ticket, broken).into());
    });
}
