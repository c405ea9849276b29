//! How many connections there may be, and how long a reader may stand still.
//!
//! Owns the places for connections: so many in all, so many an address. Pages that follow the farm or a log hold one each
//! for hours; they have a share of their own, and builders' dnf finds the others.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::super::desk::FOLLOWERS_MAX;
use super::super::live::STREAMS_MAX;

/// Most HTTP connections at once: a thousand boards may fetch, and descriptors are left for the rest.
const CONNECTIONS_MAX: usize = 2_048;
/// Of one address: 80 boards behind one NAT, whose dnf opens three each, or a proxy; and one phone never takes all.
const OF_ADDRESS_MAX: usize = 256;
const _: () =
    assert!(STREAMS_MAX + FOLLOWERS_MAX <= CONNECTIONS_MAX / 2, "half of them is for files and answers");
/// Between two lines that say so.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What connections are allowed.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Limits {
    /// Connections in all.
    pub(in crate::web) connections: usize,
    /// Connections of one address.
    pub(in crate::web) of_address: usize,
    /// Time that a new connection waits for a place before it is turned away.
    pub(in crate::web) wait: Duration,
    /// Time for a request's head to arrive, and for an idle connection to stay open.
    pub(in crate::web) head: Duration,
    /// Time until TLS is agreed upon.
    pub(in crate::web) handshake: Duration,
    /// Time that a reader may take nothing of what it asked for.
    pub(in crate::web) stall: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let seconds = Duration::from_secs;
        Limits {
            connections: CONNECTIONS_MAX,
            of_address: OF_ADDRESS_MAX,
            // A moment of all boards at once is over by then.
            wait: seconds(10),
            head: seconds(60),
            // An ARMv5 board needs 1 s of CPU, beside a build more.
            handshake: seconds(30),
            stall: seconds(60),
        }
    }
}

/// The places for connections; clones share them.
#[derive(Clone)]
pub(in crate::web) struct Places {
    limits: Limits,
    all: Arc<Semaphore>,
    of: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    by_address: HashMap<IpAddr, usize>,
    /// When it was last said that all are taken, or all of an address.
    said: Option<Instant>,
}

/// A place that is taken until it is dropped.
pub(in crate::web) struct Place {
    address: IpAddr,
    of: Arc<Mutex<Taken>>,
    _permit: OwnedSemaphorePermit,
}

/// One of all places, not yet of any address.
pub(in crate::web) struct Free(OwnedSemaphorePermit);

impl Places {
    pub(in crate::web) fn new(limits: Limits) -> Places {
        Places { limits, all: Arc::new(Semaphore::new(limits.connections)), of: Arc::default() }
    }

    /// A place for the next connection, if there is one within `wait`.
    pub(in crate::web) async fn free(&self, wait: Duration) -> Option<Free> {
        if let Ok(permit) = Arc::clone(&self.all).try_acquire_owned() {
            return Some(Free(permit));
        }
        self.say(|limits| format!("all {} connections are taken", limits.connections));
        let permit = tokio::time::timeout(wait, Arc::clone(&self.all).acquire_owned()).await;
        permit.ok().and_then(Result::ok).map(Free)
    }

    /// Makes it a place of `address`, if it may have one more.
    pub(in crate::web) fn take(&self, free: Free, address: IpAddr) -> Option<Place> {
        {
            let mut taken = self.lock();
            let count = taken.by_address.entry(address).or_default();
            if *count < self.limits.of_address {
                *count += 1;
                return Some(Place { address, of: Arc::clone(&self.of), _permit: free.0 });
            }
        }
        self.say(|limits| format!("{address} has {} connections and gets no more", limits.of_address));
        None
    }

    /// Says it once, and again if it is still so after a while.
    fn say(&self, what: impl FnOnce(&Limits) -> String) {
        let now = Instant::now();
        let mut taken = self.lock();
        if taken.said.is_none_or(|said| now.duration_since(said) >= SAY_EVERY) {
            taken.said = Some(now);
            log::warn!("http: {}; readers that come now are turned away", what(&self.limits));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// A stream whose reader must take something now and then.
pub(in crate::web) struct Patient<S> {
    stream: S,
    limit: Duration,
    /// Runs while there is something that the reader does not take.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(in crate::web) fn new(stream: S, limit: Duration) -> Patient<S> {
        Patient { stream, limit, stall: None }
    }

    /// What became of an attempt to say something; an error once the reader stood still for too long.
    fn progress<T>(&mut self, cx: &mut Context<'_>, said: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if said.is_ready() {
            self.stall = None;
            return said;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.progress(cx, said)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.progress(cx, said)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.stream).poll_flush(cx);
        if said.is_ready() { said } else { self.progress(cx, said) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.progress(cx, said)
    }
}
