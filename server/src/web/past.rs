//! What the history tells.
//!
//! Owns a connection of the web's own to `history.db`, read on threads that may block; at most one question is at it at
//! a time, and what it cost to count is kept for a few seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moji_proto::PublicKey;
use moji_proto::message::EventRow;

use super::model::{History, Try};
use super::problem::Problem;
use super::serve::Setup;
use crate::clock::Clock;
use crate::core::desk::RESULTS_MAX;
use crate::history::{Reader, Totals};

/// How long what was counted serves.
const FRESH: Duration = Duration::from_secs(5);
/// Days that are told of at most.
pub(crate) const DAYS_MAX: u32 = 366;

/// Reads the history; clones share the connection.
#[derive(Clone)]
pub(crate) struct Past(Arc<Inner>);

struct Inner {
    reader: Mutex<Reader>,
    clock: Arc<dyn Clock>,
    results: tokio::sync::OnceCell<Vec<EventRow>>,
    numbers: Kept<(u32, Arc<History>)>,
    totals: Kept<Arc<Totals>>,
}

/// What was read last, and when; who asks meanwhile waits for it.
type Kept<T> = tokio::sync::Mutex<Option<(Instant, T)>>;

impl Past {
    pub(super) fn open(setup: &Setup) -> Result<Past, String> {
        let reader = Reader::open(setup.disk.clone(), setup.folders.clone());
        let reader = reader.map_err(|error| format!("failed to read the history: {error}"))?;
        Ok(Past(Arc::new(Inner {
            reader: Mutex::new(reader),
            clock: setup.clock.clone(),
            results: tokio::sync::OnceCell::new(),
            numbers: Kept::default(),
            totals: Kept::default(),
        })))
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Reader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let inner = Arc::clone(&self.0);
        let read = move || query(&inner.reader.lock().unwrap_or_else(PoisonError::into_inner));
        let done = tokio::task::spawn_blocking(read).await;
        let done = done.map_err(|_| Problem::later("the hub is stopping"))?;
        done.map_err(|error| Problem::later(format!("failed to read the history: {error}")))
    }

    /// The newest ends of builds before this event, newest first. Read once: nothing comes to them.
    pub(super) async fn results_before(&self, seq: u64) -> Result<&[EventRow], Problem> {
        let read = || self.read(move |reader| reader.results_before(seq, RESULTS_MAX));
        self.0.results.get_or_try_init(read).await.map(Vec::as_slice)
    }

    /// The first `limit` events after this one, oldest first.
    pub(super) async fn events(&self, after: u64, limit: usize) -> Result<Vec<EventRow>, Problem> {
        self.read(move |reader| reader.events(after, limit)).await
    }

    /// The newest attempts of a builder, newest first.
    pub(super) async fn tries_of(&self, builder: PublicKey, limit: u32) -> Result<Vec<Try>, Problem> {
        let tries = self.read(move |reader| reader.tries_of(&builder, limit)).await?;
        Ok(tries.into_iter().map(Try::from).collect())
    }

    /// The last so many days in numbers.
    pub(super) async fn numbers(&self, days: u32) -> Result<Arc<History>, Problem> {
        let days = days.clamp(1, DAYS_MAX);
        let mut kept = self.0.numbers.lock().await;
        if let Some((at, (of, history))) = &*kept
            && *of == days
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(history));
        }
        let at = Instant::now();
        let today = self.0.clock.unix_s() / 86_400;
        let since_s = (today + 1).saturating_sub(u64::from(days)) * 86_400;
        let numbers = self.read(move |reader| reader.numbers(since_s)).await?;
        let history = Arc::new(History::from(numbers));
        *kept = Some((at, (days, Arc::clone(&history))));
        Ok(history)
    }

    /// All there ever was, in numbers that only grow.
    pub(super) async fn totals(&self) -> Result<Arc<Totals>, Problem> {
        let mut kept = self.0.totals.lock().await;
        if let Some((at, totals)) = &*kept
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(totals));
        }
        let at = Instant::now();
        let totals = Arc::new(self.read(Reader::totals).await?);
        *kept = Some((at, Arc::clone(&totals)));
        Ok(totals)
    }
}
