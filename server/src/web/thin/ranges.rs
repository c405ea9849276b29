//! Whole answers, parts of files, and conditions: RFC 9110, 13 and 14.
//!
//! Owns what a request's `Range`, `If-Range` and `If-None-Match` come to for a file whose `ETag` is its digest. Of several
//! ranges in one request none is served: the answer is the whole file, as the RFC allows; dnf asks for one, the rest of
//! a file that broke off.

use std::ops::Range;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All of so many bytes.
    Whole(u64),
    /// These bytes.
    Part(Range<u64>),
    /// The reader has it.
    Same,
    /// There are no such bytes.
    Outside,
}

impl Answer {
    /// The bytes that are sent, if any.
    pub(super) fn range(&self) -> Option<Range<u64>> {
        match self {
            Answer::Whole(size) => Some(0..*size),
            Answer::Part(range) => Some(range.clone()),
            Answer::Same | Answer::Outside => None,
        }
    }
}

/// What this request is answered with if the file has that many bytes and that `ETag`.
pub(super) fn answer(request: &Parts, size: u64, etag: &str) -> Answer {
    let field = |name: HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
    let is_same = |tags: &str| tags.split(',').any(|tag| matches!(tag.trim(), "*") || tag.trim() == etag);
    if field(IF_NONE_MATCH).is_some_and(is_same) {
        return Answer::Same;
    }
    // Another file, or a date, which this one has not: what the reader has is of no use.
    let is_other = request.headers.contains_key(IF_RANGE) && field(IF_RANGE) != Some(etag);
    if request.method != Method::GET || is_other {
        return Answer::Whole(size);
    }
    field(RANGE).and_then(|text| part(text, size)).unwrap_or(Answer::Whole(size))
}

/// One range; None if it is none, or several: then it counts as not said.
fn part(text: &str, size: u64) -> Option<Answer> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| {
        let is_one = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // A number that has no end is behind every file's.
        is_one.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (first, last) {
        ("", last) => size.saturating_sub(number(last)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..size.min(last.saturating_add(1))
        }
    };
    Some(if range.is_empty() { Answer::Outside } else { Answer::Part(range) })
}

/// Status and fields of an answer.
pub(super) fn head(
    answer: &Answer,
    size: u64,
    etag: &str,
    kind: &'static str,
    caching: &'static str,
) -> (StatusCode, HeaderMap) {
    let mut fields = HeaderMap::new();
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(etag) = HeaderValue::from_str(etag) {
        fields.insert(ETAG, etag);
    }
    let mut say = |name: HeaderName, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            fields.insert(name, value);
        }
    };
    let status = match answer {
        Answer::Whole(_) => StatusCode::OK,
        Answer::Part(range) => {
            say(CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1));
            StatusCode::PARTIAL_CONTENT
        }
        Answer::Same => return (StatusCode::NOT_MODIFIED, fields),
        Answer::Outside => {
            say(CONTENT_RANGE, format!("bytes */{size}"));
            return (StatusCode::RANGE_NOT_SATISFIABLE, fields);
        }
    };
    let range = answer.range().unwrap_or_default();
    say(CONTENT_LENGTH, (range.end - range.start).to_string());
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    (status, fields)
}

/// Answers with bytes that are in memory.
pub(super) fn bytes(request: &Parts, kind: &'static str, caching: &'static str, all: &[u8]) -> Response {
    let digest: String = Sha256::digest(all)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("\"{digest}\"");
    let answer = answer(request, all.len() as u64, &etag);
    let (status, fields) = head(&answer, all.len() as u64, &etag, kind, caching);
    let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let sent = answer.range().filter(|_| request.method == Method::GET);
    let body = match sent.and_then(|range| all.get(at(range.start)..at(range.end))) {
        Some(bytes) => Body::from(Bytes::copy_from_slice(bytes)),
        None => Body::empty(),
    };
    (status, fields, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_conditions_come_to_what_the_rfc_says() {
        let check = |fields: &[(&str, &str)], want: Answer| {
            let mut request = axum::http::Request::builder();
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let (request, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(answer(&request, 10, "\"e\""), want, "{fields:?}");
        };
        check(&[], Answer::Whole(10));
        for (text, range) in [
            ("0-0", 0..1),
            ("2-4", 2..5),
            ("2-", 2..10),
            ("9-", 9..10),
            ("-3", 7..10),
            ("-99", 0..10),
            ("5-99", 5..10),
            ("5-99999999999999999999", 5..10),
        ] {
            check(&[("range", &format!("bytes={text}"))], Answer::Part(range));
        }
        for text in ["10-", "99-100", "-0", "99999999999999999999-"] {
            check(&[("range", &format!("bytes={text}"))], Answer::Outside);
        }
        for text in
            ["bytes=4-2", "bytes=a-b", "bytes=+1-2", "bytes=-", "bytes=0-1,3-4", "lines=1-2", "bytes=1"]
        {
            check(&[("range", text)], Answer::Whole(10));
        }
        check(&[("range", "bytes=2-"), ("if-range", "\"e\"")], Answer::Part(2..10));
        check(&[("range", "bytes=2-"), ("if-range", "\"f\"")], Answer::Whole(10));
        check(&[("range", "bytes=2-"), ("if-range", "Fri, 01 Jan 2100 00:00:00 GMT")], Answer::Whole(10));
        check(&[("if-none-match", "\"e\"")], Answer::Same);
        check(&[("if-none-match", "\"d\", \"e\""), ("range", "bytes=2-")], Answer::Same);
        check(&[("if-none-match", "\"d\"")], Answer::Whole(10));
    }
}
