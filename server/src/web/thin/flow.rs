//! A file as the body of an answer, also one that still comes.
//!
//! Owns the task that waits for its bytes and reads them, a piece at a time, on a thread that may block. A reader that
//! takes nothing has two pieces in memory, not a file; one that goes away ends the task. If the file breaks off the
//! connection is cut, so that nobody takes half of it for the whole.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

use crate::payloads::{Cache, Reading, Trouble};

/// What is read at once, bytes.
const PIECE_BYTES: u64 = 64 * 1024;

/// These bytes of a file.
pub(super) fn body(reading: Reading, range: Range<u64>, cache: Cache) -> Body {
    let (pieces, taken) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = send(reading, range, &cache, &pieces).await {
            // It is cut off for that.
            let _ = pieces.send(Err(error)).await;
        }
    });
    Body::new(Flow(taken))
}

async fn send(
    mut reading: Reading,
    range: Range<u64>,
    cache: &Cache,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let there = tokio::select! {
            there = reading.beyond(at) => there.map_err(broken)?,
            () = pieces.closed() => return Ok(()),
        };
        let max = usize::try_from((there.min(range.end) - at).min(PIECE_BYTES)).unwrap_or(usize::MAX);
        let reader = reading.clone();
        let read = tokio::task::spawn_blocking(move || reader.read(at, max)).await;
        let bytes = read.map_err(io::Error::other)??;
        let n = bytes.len() as u64;
        cache.gave(n);
        if pieces.send(Ok(bytes)).await.is_err() {
            return Ok(());
        }
        at += n;
    }
    Ok(())
}

fn broken(trouble: Trouble) -> io::Error {
    io::Error::other(trouble.to_string())
}

/// The pieces as they come.
struct Flow(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Flow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
