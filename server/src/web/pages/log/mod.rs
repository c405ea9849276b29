//! `/packages/NAME/log`: a log, as it grows.
//!
//! Owns which part of a log is shown, and the stream of what is added to it. Lines are numbered from the beginning of the
//! log whatever part is shown (`index.rs`); what a build prints never becomes markup (`lines.rs`). Without a script the
//! page has the last 64 KiB and links to all other parts; with it, lines are added as they come.

mod index;
mod lines;

use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use moji_proto::message::ToOperator;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub(super) use self::index::Logs;
use self::index::{COUNTED_MAX, Index, Of, read};
use self::lines::Lines;
use super::overview::name;
use super::package::log_path;
use super::say::{self, Markup};
use super::target::{LogAsked, Part, package_path, with_query};
use super::{Pages, Shell, fill, query};
use crate::web::api::failure;
use crate::web::desk::{Ask, Rows};
use crate::web::live::{event, feed, give};
use crate::web::model::{Verdict, Which, in_path};
use crate::web::problem::Problem;
use crate::web::site::next;

/// How much of a log one page has, bytes.
const WINDOW: u64 = 64 << 10;
/// Lines that are shown before the one that was asked for.
const LINES_BEFORE: u64 = 20;
/// What comes within this time goes out together: no eye sees the difference.
const GATHER: Duration = Duration::from_millis(100);
/// It goes out earlier when there is so much of it, bytes.
const GATHER_BYTES: usize = 64 << 10;
/// A comment is sent when a log is silent for so long.
const SILENCE_MAX: Duration = Duration::from_secs(15);

#[derive(Template)]
#[template(path = "log.html")]
struct Page {
    shell: Shell,
    name: String,
    path: String,
    which: &'static str,
    /// Name, path, whether it is shown.
    logs: Vec<(&'static str, String, bool)>,
    attempt: u16,
    is_live: bool,
    said: String,
    lines: Markup,
    /// Offset of the first byte that is shown; number of the first line.
    from: u64,
    first: u64,
    older: String,
    newer: String,
    newest: String,
    raw: String,
    /// Where what is added comes from; empty if nothing is.
    stream: String,
}

/// The page.
pub(super) async fn page(pages: &Pages, shell: Shell, asked: &str, log: LogAsked) -> Result<String, Problem> {
    let site = &pages.site;
    let srpm = site.snapshot().await?.find_package(asked)?.row.srpm.to_string();
    let of = match Logs::find(site, &srpm, log.which, log.attempt).await {
        Ok(of) => of,
        // It may be built yet.
        Err(problem) if log.attempt == 0 && problem.status.is_client_error() => {
            let of = Of { srpm, which: log.which, attempt: 0, is_live: true };
            return fill(&Page::new(shell, &of, &Window::default(), &Index::default(), problem.text));
        }
        Err(problem) => return Err(problem),
    };
    let index = pages.logs.index(site, &of).await?;
    let (start, until) = wanted(&index, log.part);
    let (mark, ends) = match log.part {
        Part::Line(number) => index.before_line(number.saturating_sub(LINES_BEFORE)),
        _ => index.before_offset(start),
    };
    let length = usize::try_from(until.max(mark) - mark).unwrap_or(0);
    let (_, text) = read(site, &of.srpm, of.which, of.attempt, mark, length).await?;
    let window = match log.part {
        Part::Line(number) => from_line(&text, mark, ends, number.saturating_sub(LINES_BEFORE)),
        _ => cut(&text, mark, ends, start),
    };
    fill(&Page::new(shell, &of, &window, &index, String::new()))
}

/// From which byte to which a part goes, as far as that is known without its text.
fn wanted(index: &Index, part: Part) -> (u64, u64) {
    match part {
        Part::Tail => (index.end.saturating_sub(WINDOW), index.end),
        Part::From(offset) => (offset.min(index.end), offset.saturating_add(WINDOW).min(index.end)),
        Part::Before(offset) => (offset.min(index.end).saturating_sub(WINDOW), offset.min(index.end)),
        Part::Line(number) => {
            // Its line begins before the next mark, or in the piece behind the last one.
            let (mark, _) = index.before_line(number.saturating_sub(LINES_BEFORE));
            (mark, mark.saturating_add(3 * WINDOW).min(index.end))
        }
    }
}

/// A part of a log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Window {
    from: u64,
    /// Number of its first line.
    first: u64,
    text: Vec<u8>,
}

/// What of `text`, which begins at `mark` with `ends` line ends before it, is shown of a part from `start` on: from the
/// first line that begins there.
fn cut(text: &[u8], mark: u64, ends: u64, start: u64) -> Window {
    let skip = usize::try_from(start - mark).unwrap_or(usize::MAX).min(text.len());
    // The byte before tells whether a line begins at `start`.
    let at = match skip.checked_sub(1) {
        None if mark == 0 => 0,
        // A mark is anywhere in a line.
        before => {
            let from = before.unwrap_or(0);
            let end = text[from..].iter().position(|byte| *byte == b'\n');
            // A line longer than the part is shown from its middle.
            end.map_or(skip, |end| from + end + 1)
        }
    };
    let before = text[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
    Window { from: mark + at as u64, first: ends + before + 1, text: text[at..].to_vec() }
}

/// The same from line `number` on, one part long.
fn from_line(text: &[u8], mark: u64, ends: u64, number: u64) -> Window {
    let mut at = 0;
    let mut line = ends + 1;
    while line < number.max(1) {
        let Some(end) = text[at..].iter().position(|byte| *byte == b'\n') else { break };
        at += end + 1;
        line += 1;
    }
    let end = text.len().min(at + WINDOW as usize);
    Window { from: mark + at as u64, first: line, text: text[at..end].to_vec() }
}

impl Page {
    fn new(shell: Shell, of: &Of, window: &Window, index: &Index, said: String) -> Page {
        let path = package_path(&of.srpm);
        let log = format!("{path}/log");
        let attempt = of.attempt.to_string();
        let part = |word: &str, at: u64| {
            let at = at.to_string();
            with_query(&log, &[("which", of.which.as_str()), ("attempt", &attempt), (word, &at)])
        };
        let mut lines = Lines::new(line_link(of.which, of.attempt), window.from, window.first.max(1));
        let mut html = String::new();
        lines.push(&window.text, &mut html);
        let end = window.from + window.text.len() as u64;
        let is_end = end >= index.end;
        let follows = of.is_live && is_end;
        // A line that goes on is told with the rest of it; only one that is longer than a part is told in pieces.
        let is_piece = !is_end && html.is_empty();
        if is_piece || (is_end && !follows) {
            lines.write_open(&mut html);
        }
        let (offset, number) = lines.place();
        let after = if is_piece { end } else { offset };
        let stream = with_query(
            &format!("{log}/stream"),
            &[("which", of.which.as_str()), ("attempt", &attempt), ("from", &format!("{offset}-{number}"))],
        );
        let logs = Which::ALL
            .iter()
            .map(|which| (which.as_str(), log_path(&of.srpm, *which, of.attempt), *which == of.which));
        let too_long = index.end >= COUNTED_MAX;
        Page {
            name: name(&of.srpm),
            which: of.which.as_str(),
            logs: logs.collect(),
            attempt: of.attempt,
            is_live: of.is_live,
            said: match (said.is_empty(), index.end, too_long) {
                (false, ..) => said,
                (_, 0, _) if !of.is_live => "this log is empty, or was not kept".to_owned(),
                (_, _, true) => format!("only the first {} are shown here", say::size(COUNTED_MAX)),
                _ => String::new(),
            },
            lines: Markup(html),
            from: window.from,
            first: window.first.max(1),
            older: if window.from > 0 { part("before", window.from) } else { String::new() },
            newer: if is_end { String::new() } else { part("offset", after) },
            newest: log_path(&of.srpm, of.which, of.attempt),
            raw: format!(
                "/api/v1/packages/{}/log?which={}&attempt={attempt}&offset={}",
                in_path(&of.srpm),
                of.which,
                window.from
            ),
            stream: if follows { stream } else { String::new() },
            path,
            shell,
        }
    }
}

/// A link to a line, up to its number: it is relative, and the same wherever the line is shown.
fn line_link(which: Which, attempt: u16) -> String {
    format!("?which={which}&amp;attempt={attempt}&amp;line=")
}

/// Parameters of the stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamAsked {
    which: Option<Which>,
    attempt: u16,
    /// `OFFSET-LINE`: the first line, and where it begins.
    from: String,
}

/// Lines that were added.
#[derive(Serialize)]
struct Added<'a> {
    /// Whole lines.
    html: &'a str,
    /// The line that is open.
    open: &'a str,
    /// Where the first of them begins, its number, and the number of the one after the last.
    from: u64,
    first: u64,
    next: u64,
}

/// The build is over.
#[derive(Serialize)]
struct Over {
    verdict: Option<Verdict>,
    reason: String,
}

/// `GET /packages/NAME/log/stream`: what is added to a log, as events. The id of each is where the next one begins.
pub(super) async fn stream(
    State(pages): State<Pages>,
    Path(package): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match begin(&pages, package, &uri, &headers).await {
        Ok(response) => response,
        Err(problem) => failure(&problem),
    }
}

async fn begin(pages: &Pages, package: String, uri: &Uri, headers: &HeaderMap) -> Result<Response, Problem> {
    let asked: StreamAsked = query(uri)?;
    let which = asked.which.unwrap_or(Which::Build);
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let (offset, number) = match last.unwrap_or(&asked.from) {
        "" => (0, 1),
        from => place(from).ok_or_else(|| Problem::bad("bad parameter: from must be OFFSET-LINE"))?,
    };
    let attempt = asked.attempt;
    let place = pages.live.place()?;
    let ask = Ask::Log { package, which: which.into(), attempt, offset, follow: true };
    let rows = pages.site.desk().ask(ask).await?;
    let (to, response) = feed();
    tokio::spawn(async move {
        let lines = Lines::new(line_link(which, attempt), offset, number);
        follow(rows, lines, which, &to).await;
        drop(place);
    });
    Ok(response)
}

fn place(text: &str) -> Option<(u64, u64)> {
    let (offset, number) = text.split_once('-')?;
    Some((offset.parse().ok()?, number.parse().ok().filter(|number| *number > 0)?))
}

/// Sends what comes, gathered, until the log is at its end or nobody listens.
async fn follow(mut rows: Rows, mut lines: Lines, which: Which, to: &mpsc::Sender<bytes::Bytes>) {
    loop {
        let row = tokio::select! {
            row = next(&mut rows) => row,
            () = to.closed() => return,
            () = tokio::time::sleep(SILENCE_MAX) => {
                if !give(to, bytes::Bytes::from_static(b":\n\n")).await {
                    return;
                }
                continue;
            }
        };
        let (mut html, (from, first)) = (String::new(), lines.place());
        let mut end = take(row, &mut lines, which, &mut html);
        let late = tokio::time::Instant::now() + GATHER;
        while end.is_none() && html.len() < GATHER_BYTES {
            let Ok(row) = tokio::time::timeout_at(late, next(&mut rows)).await else { break };
            end = take(row, &mut lines, which, &mut html);
        }
        let mut open = String::new();
        lines.write_open(&mut open);
        let (offset, number) = lines.place();
        let added = Added { html: &html, open: &open, from, first, next: number };
        if !give(to, event("lines", &format!("{offset}-{number}"), &added)).await {
            return;
        }
        if let Some(over) = end {
            let _ = give(to, event("over", "", &over)).await;
            return;
        }
    }
}

/// Takes a row; Some when there is nothing more to come.
fn take(
    row: Result<Option<ToOperator>, Problem>,
    lines: &mut Lines,
    which: Which,
    html: &mut String,
) -> Option<Over> {
    match row {
        Ok(Some(ToOperator::LogOf { attempt, .. })) => lines.set_link(line_link(which, attempt)),
        Ok(Some(ToOperator::Log { bytes, .. })) => lines.push(&bytes.0, html),
        Ok(Some(ToOperator::LogEnd { verdict, reason })) => {
            return Some(Over { verdict: verdict.map(Into::into), reason: reason.to_string() });
        }
        Ok(Some(_)) => {}
        Ok(None) => return Some(Over { verdict: None, reason: "the log ended".to_owned() }),
        Err(problem) => return Some(Over { verdict: None, reason: problem.text }),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_begins_with_a_whole_line_and_its_number() {
        let text = b"zero\none\ntwo\n";
        for (mark, ends, start, want) in [
            (0, 0, 0, (0, 1, "zero\none\ntwo\n")),
            (0, 0, 1, (5, 2, "one\ntwo\n")),
            (0, 0, 5, (5, 2, "one\ntwo\n")),
            (0, 0, 6, (9, 3, "two\n")),
            (0, 0, 13, (13, 4, "")),
            (100, 7, 100, (105, 9, "one\ntwo\n")),
            (100, 7, 105, (105, 9, "one\ntwo\n")),
        ] {
            let window = cut(text, mark, ends, start);
            let found = (window.from, window.first, std::str::from_utf8(&window.text).unwrap());
            assert_eq!(found, want, "mark {mark}, start {start}");
        }
        let window = cut(&[b'x'; 50], 100, 7, 120);
        assert_eq!(
            (window.from, window.first, window.text.len()),
            (120, 8, 30),
            "a line longer than the part"
        );
        let window = from_line(text, 100, 7, 10);
        assert_eq!((window.from, window.first, &*window.text), (109, 10, &b"two\n"[..]));
        let window = from_line(text, 0, 0, 99);
        assert_eq!((window.from, window.first), (13, 4), "beyond the end");
    }

    #[test]
    fn a_place_is_an_offset_and_a_line() {
        assert_eq!(place("12-3"), Some((12, 3)));
        for bad in ["", "12", "12-", "12-0", "-1-1", "a-b"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
