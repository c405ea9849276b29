//! Pages that follow the farm, by server-sent events.
//!
//! Owns the stream `/events?page=PATH`. All readers of the same page share a room; its task renders the page at most once
//! a second, only when something changed in the farm, and tells what differs from what it told before. Must never make
//! the hub wait: rooms take turns, and each turn is followed by a rest that is longer than it was.
//!
//! ```text
//! snapshot ──▶ room: render, compare ──▶ watch: the newest frame ──▶ reader: what it has not seen ──▶ socket
//! ```
//!
//! A frame has all regions of the page, each with the number of the frame in which it last changed. So a reader that was
//! slow, or away, gets every region once, as it is now, however many frames it missed; nothing is queued for it. Numbers
//! only grow, over restarts of the hub too, and a reader that comes back says the last one it had (`Last-Event-ID`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, watch};

use super::api::failure;
use super::pages::{Asker, Look, Pages, Target, render, version};
use super::problem::Problem;
use super::site::Site;

/// Streams at once: each is a connection, of which there are 2,048.
pub(super) const STREAMS_MAX: usize = 512;
/// A page is rendered no more often.
const PACE: Duration = Duration::from_secs(1);
/// A page is rendered once in so long even if nothing happened: free space and files change without an event.
const AT_LEAST: Duration = Duration::from_secs(15);
/// A turn of rendering is followed by a rest of so many times its length, so that pages never take more than a
/// quarter of a processor, however many are open.
pub(super) const RESTS: u32 = 3;
/// A comment is sent when nothing else was for so long: proxies and phones see that the stream lives.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Who has not taken what was sent for so long is let go, and comes back by itself.
const STALLED_MAX: Duration = Duration::from_secs(30);
/// A stream ends after so long, and its reader comes back by itself: an account that was taken back ends with it.
const STREAM_MAX: Duration = Duration::from_secs(600);
/// Pieces on their way to one reader.
const PIECES: usize = 2;
/// After how long a browser comes back, milliseconds.
const RETRY_MS: u32 = 2_000;

/// A part of a page that is told when it changes.
#[derive(Debug)]
struct Region {
    id: String,
    html: String,
    /// The frame in which it became so.
    changed: u64,
}

/// A page at one moment.
#[derive(Debug)]
struct Frame {
    number: u64,
    regions: Vec<Region>,
    /// The hub's wall clock then, unix milliseconds.
    now: u64,
    /// The number of the frame before, and what is told to who has seen that.
    step: (u64, Bytes),
}

type Room = watch::Receiver<Option<Arc<Frame>>>;

/// All streams; clones are the same.
#[derive(Clone)]
pub(super) struct Live(Arc<Inner>);

struct Inner {
    site: Site,
    rooms: Mutex<BTreeMap<String, watch::Sender<Option<Arc<Frame>>>>>,
    /// Held while a page is rendered, and the rest after it.
    turn: tokio::sync::Mutex<()>,
    places: Arc<Semaphore>,
    /// Number of the last frame of any page.
    last: AtomicU64,
}

/// Which page is followed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Followed {
    page: String,
}

/// What a reader is told.
#[derive(Serialize)]
struct Told<'a> {
    /// The hub's wall clock.
    now: u64,
    /// Of script and stylesheet: a page with others loads itself anew.
    version: &'a str,
    regions: BTreeMap<&'a str, &'a str>,
}

/// `GET /events?page=PATH`.
pub(super) async fn events(State(pages): State<Pages>, uri: Uri, headers: HeaderMap) -> Response {
    let begin = || {
        let followed: Followed = super::pages::query(&uri)?;
        let page: Uri = followed.page.parse().map_err(|_| Problem::bad("bad parameter: page is no path"))?;
        let target = Target::parse(&page)?;
        pages.live.join(target, page, super::repo::host(&headers))
    };
    match begin() {
        Ok((room, place)) => {
            let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
            let (to, body) = feed();
            tokio::spawn(async move {
                read(room, last.unwrap_or(0), to).await;
                drop(place);
            });
            body
        }
        Err(problem) => failure(&problem),
    }
}

impl Live {
    pub(super) fn new(site: Site) -> Live {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Live(Arc::new(Inner {
            site,
            rooms: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            places: Arc::new(Semaphore::new(STREAMS_MAX)),
            // Fewer than a thousand frames a second: the next run's numbers are higher.
            last: AtomicU64::new(u64::try_from(since.as_millis()).unwrap_or(0)),
        }))
    }

    /// A place among the streams.
    pub(super) fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.0.places).try_acquire_owned();
        place
            .map_err(|_| Problem::later(format!("{STREAMS_MAX} pages are followed already: try again later")))
    }

    /// The room of a page, and a place in it.
    fn join(
        &self,
        target: Target,
        page: Uri,
        host: &str,
    ) -> Result<(Room, tokio::sync::OwnedSemaphorePermit), Problem> {
        let place = self.place()?;
        // Only this page says how the hub is called.
        let host = if target == Target::Repository { host } else { "" };
        let key = format!("{host} {page}");
        let mut rooms = self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(&key) {
            return Ok((room.subscribe(), place));
        }
        let (to, room) = watch::channel(None);
        rooms.insert(key.clone(), to.clone());
        let (live, host) = (self.clone(), host.to_owned());
        tokio::spawn(async move { live.keep(&key, &target, &page, &host, &to).await });
        Ok((room, place))
    }

    /// Renders a page for its room until nobody is in it.
    async fn keep(
        &self,
        key: &str,
        target: &Target,
        page: &Uri,
        host: &str,
        to: &watch::Sender<Option<Arc<Frame>>>,
    ) {
        let mut seen: Option<(u64, Instant)> = None;
        loop {
            {
                // Nobody comes in while the lock is held.
                let mut rooms = self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner);
                if to.receiver_count() == 0 {
                    rooms.remove(key);
                    return;
                }
            }
            let began = Instant::now();
            if let Ok(snapshot) = self.0.site.snapshot().await
                && seen.is_none_or(|(change, at)| change != snapshot.change || at.elapsed() >= AT_LEAST)
            {
                seen = Some((snapshot.change, Instant::now()));
                let now = snapshot.taken_at().0;
                drop(snapshot);
                let asker = Asker { uri: page, host, look: Look::live() };
                let turn = self.0.turn.lock().await;
                let worked = Instant::now();
                // A page that cannot be had now stays as it was.
                if let Ok(html) = render(&self.0.site, target, &asker).await {
                    self.show(to, regions(&html), now);
                }
                tokio::time::sleep(worked.elapsed() * RESTS).await;
                drop(turn);
            }
            tokio::time::sleep(PACE.saturating_sub(began.elapsed())).await;
        }
    }

    /// Makes a frame of what a page is now, if that is not as it was.
    fn show(&self, to: &watch::Sender<Option<Arc<Frame>>>, found: Vec<(&str, &str)>, now: u64) {
        let before = to.borrow().clone();
        let old = before.as_deref().map_or(&[][..], |frame| &frame.regions);
        let number = self.0.last.fetch_add(1, Ordering::Relaxed) + 1;
        let regions = found.into_iter().map(|(id, html)| {
            let same = old.iter().find(|region| region.id == id && region.html == html);
            let changed = same.map_or(number, |region| region.changed);
            Region { id: id.to_owned(), html: html.to_owned(), changed }
        });
        let regions: Vec<Region> = regions.collect();
        if before.is_some() && regions.iter().all(|region| region.changed != number) {
            return;
        }
        let last = before.map_or(0, |frame| frame.number);
        let step = (last, told(number, &regions, last, now));
        to.send_replace(Some(Arc::new(Frame { number, regions, now, step })));
    }
}

/// Tells one reader what it has not seen, until it is gone.
async fn read(mut room: Room, mut last: u64, to: mpsc::Sender<Bytes>) {
    let hello = Bytes::from(format!("retry: {RETRY_MS}\n\n"));
    if to.send(hello).await.is_err() {
        return;
    }
    let mut is_first = true;
    loop {
        let frame = room.borrow_and_update().clone();
        if let Some(frame) = frame.filter(|frame| is_first || frame.number > last) {
            let piece = if frame.step.0 == last && last != 0 && !is_first {
                frame.step.1.clone()
            } else {
                told(frame.number, &frame.regions, last, frame.now)
            };
            (last, is_first) = (frame.number, false);
            if !give(&to, piece).await {
                return;
            }
        }
        tokio::select! {
            changed = room.changed() => if changed.is_err() { return },
            () = to.closed() => return,
            () = tokio::time::sleep(SILENCE_MAX) => {
                if !give(&to, Bytes::from_static(b":\n\n")).await {
                    return;
                }
            }
        }
    }
}

/// Sends a piece; false if the reader is gone or has not taken the last ones for too long.
pub(super) async fn give(to: &mpsc::Sender<Bytes>, piece: Bytes) -> bool {
    matches!(tokio::time::timeout(STALLED_MAX, to.send(piece)).await, Ok(Ok(())))
}

/// An event with all regions that changed after frame `last`.
fn told(number: u64, regions: &[Region], last: u64, now: u64) -> Bytes {
    let changed = regions.iter().filter(|region| region.changed > last);
    let regions = changed.map(|region| (&*region.id, &*region.html)).collect();
    event("regions", &number.to_string(), &Told { now, version: version(), regions })
}

/// An event as it goes over the wire (WHATWG HTML, 9.2.5). JSON has no line ends, so one `data:` line is enough.
pub(super) fn event(name: &str, id: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("keys are text");
    let id = if id.is_empty() { String::new() } else { format!("id: {id}\n") };
    Bytes::from(format!("event: {name}\n{id}data: {data}\n\n"))
}

/// The regions of a page: `<TAG id="ID" … data-live>…<!--/ID-->`. Nothing that was escaped looks like either.
pub(super) fn regions(html: &str) -> Vec<(&str, &str)> {
    const OPENS: &str = " data-live>";
    let region = |(at, _): (usize, &str)| {
        let tag = &html[html[..at].rfind('<')?..at];
        let id = tag.split_once(" id=\"")?.1.split('"').next()?;
        let rest = &html[at + OPENS.len()..];
        Some((id, &rest[..rest.find(&format!("<!--/{id}-->"))?]))
    };
    html.match_indices(OPENS).filter_map(region).collect()
}

/// A way to a reader, and the answer that it ends in.
pub(super) fn feed() -> (mpsc::Sender<Bytes>, Response) {
    let (to, from) = mpsc::channel(PIECES);
    let end = Box::pin(tokio::time::sleep(STREAM_MAX));
    let mut response = Body::from_stream(Feed { pieces: from, end }).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // nginx would keep events back until it has a page of them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    (to, response)
}

/// Pieces as they are given, until its end.
struct Feed {
    pieces: mpsc::Receiver<Bytes>,
    end: Pin<Box<tokio::time::Sleep>>,
}

impl futures_core::Stream for Feed {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(cx).map(|piece| piece.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_found_by_their_marks() {
        let html = "<p id=\"x\">0</p><section id=\"a\" class=\"b\" data-live><b>1</b><!--/a--></section>\
                    <tbody id=\"b\" data-live><!--/b--></tbody> data-live&gt;";
        assert_eq!(regions(html), [("a", "<b>1</b>"), ("b", "")]);
    }

    #[test]
    fn who_takes_nothing_is_let_go_and_who_takes_all_comes_back_after_a_while() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(readers());
    }

    async fn readers() {
        let (to, response) = feed();
        for _ in 0..PIECES {
            assert!(give(&to, Bytes::from_static(b"x")).await);
        }
        let began = tokio::time::Instant::now();
        assert!(!give(&to, Bytes::from_static(b"x")).await);
        assert_eq!(began.elapsed(), STALLED_MAX);
        drop(response);
        assert!(!give(&to, Bytes::from_static(b"x")).await, "its reader is gone");

        let (to, response) = feed();
        let teller = tokio::spawn(async move {
            while give(&to, Bytes::from_static(b"x")).await {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let began = tokio::time::Instant::now();
        let all = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), STREAM_MAX.as_secs());
        assert_eq!(all.len() as u64, STREAM_MAX.as_secs());
        teller.await.unwrap();
    }

    #[test]
    fn a_reader_is_told_every_region_that_it_has_not_seen_and_no_other() {
        let region = |id: &str, changed| Region { id: id.into(), html: format!("<{id}>"), changed };
        let all = [region("a", 5), region("b", 7)];
        let text = |last| String::from_utf8(told(7, &all, last, 9).to_vec()).unwrap();
        let begin =
            format!("event: regions\nid: 7\ndata: {{\"now\":9,\"version\":\"{}\",\"regions\":", version());
        assert_eq!(text(0), format!("{begin}{{\"a\":\"<a>\",\"b\":\"<b>\"}}}}\n\n"));
        assert_eq!(text(5), format!("{begin}{{\"b\":\"<b>\"}}}}\n\n"));
        assert_eq!(text(7), format!("{begin}{{}}}}\n\n"));
    }
}
