//! Asking the desk, as an operator would who may only read.
//!
//! Owns the web's sessions with the desk: their numbers, how many there may be, and their ends. A session runs one
//! [`Ask`], which has no way to say anything that changes something. Must never block: what the desk says waits in a
//! channel of the session's own, which the session's credit bounds, and what is said to the desk never waits.
//!
//! ```text
//! a page ── Rows::next ◀── channel ◀── Bridge::answer ── desk's thread
//!    └────── ask, More, drop ──────▶ inbox of the desk ──────▲
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;
use moji_proto::Line;
use moji_proto::message::{FromOperator, ToOperator, Which};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::actors::tell;
use crate::core::desk::{Glance, INNER_ROWS, Msg};
use crate::core::types::SessionId;

/// Questions at once that have an end: each holds at most 512 KiB of a log, and is over in milliseconds. More wait.
const ASKS_MAX: usize = 32;
/// How long they wait for their turn.
const ASKS_WAIT: Duration = Duration::from_secs(20);
/// Followers of logs and events at once: each costs the desk a glance at every message.
pub(super) const FOLLOWERS_MAX: usize = 256;

/// What may be asked. All of it is answered with rows and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// One package: `Package`, its `Text`s, then each attempt, oldest first: `Attempt`, its `Text`s.
    Show {
        /// Which.
        package: String,
    },
    /// Why a package is where it is: `Package`, `Text`s, `Lack`s, `Attempt`s.
    Why {
        /// Which.
        package: String,
    },
    /// What packages wait for: `Blocked`, then a `Lack` each; then each cycle: `Cycle`, its `Text`s.
    Blocked {
        /// At most so many capabilities.
        rows: u32,
    },
    /// What happened: an `Event` each, oldest first.
    History {
        /// To which packages or builders; empty means all.
        pattern: String,
        /// The newest so many.
        rows: u32,
    },
    /// A log: `LogOf`, then `Log` pieces; if it is followed, until the build and its log are at an end.
    Log {
        /// Of which package.
        package: String,
        /// Which log.
        which: Which,
        /// Of which attempt, counted from 1; 0 means the newest.
        attempt: u16,
        /// From where, bytes.
        offset: u64,
        /// Whether to go on while it grows.
        follow: bool,
    },
    /// What happens: an `Event` each, until the rows are dropped.
    #[allow(dead_code, reason = "for pages that are live")]
    Events {
        /// To which packages or builders; empty means all.
        pattern: String,
        /// First what happened after this event; 0 means only what happens from now on.
        after: u64,
    },
}

impl Ask {
    /// Whether it may go on for ever.
    fn follows(&self) -> bool {
        matches!(self, Ask::Log { follow: true, .. } | Ask::Events { .. })
    }

    fn into_request(self) -> FromOperator {
        let line = |text: String| Line::lossy(&text);
        match self {
            Ask::Show { package } => FromOperator::Show { package: line(package) },
            Ask::Why { package } => FromOperator::Why { package: line(package) },
            Ask::Blocked { rows } => FromOperator::Blocked { rows },
            Ask::History { pattern, rows } => FromOperator::History { pattern: line(pattern), rows },
            Ask::Log { package, which, attempt, offset, follow } => {
                FromOperator::Log { package: line(package), which, attempt, offset, follow }
            }
            Ask::Events { pattern, after } => {
                FromOperator::Events { pattern: line(pattern), after, current: false }
            }
        }
    }
}

/// All that may be open is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy {
    follows: bool,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, what) = if self.follows {
            (FOLLOWERS_MAX, "pages follow logs and events")
        } else {
            (ASKS_MAX, "questions are being answered")
        };
        write!(f, "{count} {what} already: try again later")
    }
}

/// The desk's way to the web; clones are the same way.
#[derive(Clone, Default)]
pub struct Bridge(Arc<Mutex<Open>>);

/// What is open.
#[derive(Default)]
struct Open {
    last: u64,
    sessions: BTreeMap<SessionId, UnboundedSender<ToOperator>>,
    /// Who waits for the next glance.
    glances: Vec<oneshot::Sender<Arc<Glance>>>,
    /// The desk is gone.
    ended: bool,
}

impl Bridge {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says `msg` to a page. One that is gone is ignored: its end was told already.
    pub fn answer(&self, session: SessionId, msg: ToOperator) {
        if let Some(page) = self.lock().sessions.get(&session) {
            let _ = page.send(msg);
        }
    }

    /// Ends a session.
    pub fn close(&self, session: SessionId) {
        self.lock().sessions.remove(&session);
    }

    /// Shows a glance to all who wait for one.
    pub fn glance(&self, glance: &Arc<Glance>) {
        let waiting = std::mem::take(&mut self.lock().glances);
        for page in waiting {
            let _ = page.send(Arc::clone(glance));
        }
    }

    /// The desk ends: nobody is answered any more.
    pub fn end(&self) {
        let mut open = self.lock();
        open.ended = true;
        open.sessions.clear();
        open.glances.clear();
    }
}

/// The web's way to the desk; clones are the same way.
#[derive(Clone)]
pub(crate) struct Desk {
    to: Sender<Msg>,
    bridge: Bridge,
    asks: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(to: Sender<Msg>, bridge: Bridge) -> Desk {
        let places = |count| Arc::new(Semaphore::new(count));
        Desk { to, bridge, asks: places(ASKS_MAX), followers: places(FOLLOWERS_MAX) }
    }

    /// Begins a question; its rows come as they are taken. Dropping them ends it.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Rows, Busy> {
        let follows = ask.follows();
        let place = if follows {
            Arc::clone(&self.followers).try_acquire_owned().ok()
        } else {
            // Closed or too late: either way there is no place.
            let place = tokio::time::timeout(ASKS_WAIT, Arc::clone(&self.asks).acquire_owned()).await;
            place.ok().and_then(Result::ok)
        };
        let place = place.ok_or(Busy { follows })?;
        let (page, rows) = unbounded_channel();
        let session = {
            let mut open = self.bridge.lock();
            open.last += 1;
            let session = SessionId::inner(open.last);
            // Otherwise the channel is closed, and the first row is the end.
            if !open.ended {
                open.sessions.insert(session, page);
            }
            session
        };
        tell(&self.to, Msg::Connected { session, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) });
        tell(&self.to, Msg::FromOperator { session, msg: ask.into_request() });
        Ok(Rows { session, rows, desk: self.clone(), taken: 0, _place: place })
    }

    /// The farm as it is now; None if the hub ends.
    pub(super) async fn glance(&self) -> Option<Arc<Glance>> {
        let (page, glance) = oneshot::channel();
        {
            let mut open = self.bridge.lock();
            if open.ended {
                return None;
            }
            open.glances.push(page);
        }
        tell(&self.to, Msg::Glance);
        glance.await.ok()
    }
}

/// Rows of an answer. Dropping them ends the question, wherever it is.
pub(crate) struct Rows {
    session: SessionId,
    rows: UnboundedReceiver<ToOperator>,
    desk: Desk,
    /// Since more were granted.
    taken: u16,
    _place: OwnedSemaphorePermit,
}

/// Rows taken before more are granted: so the desk need not wait for a page that keeps up.
const GRANT_ROWS: u16 = INNER_ROWS / 2;

impl Rows {
    /// The next row; None after the last one. A `No` is a row.
    pub(crate) async fn next(&mut self) -> Option<ToOperator> {
        match self.rows.recv().await? {
            ToOperator::End { .. } | ToOperator::Reject { .. } => {
                self.rows.close();
                None
            }
            row => {
                self.taken += 1;
                if self.taken >= GRANT_ROWS {
                    let msg = FromOperator::More { rows: std::mem::take(&mut self.taken) };
                    tell(&self.desk.to, Msg::FromOperator { session: self.session, msg });
                }
                Some(row)
            }
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.desk.bridge.close(self.session);
        tell(&self.desk.to, Msg::Disconnected { session: self.session });
    }
}

#[cfg(test)]
mod tests;
