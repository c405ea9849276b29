//! How an answer goes out.
//!
//! Owns the header fields of JSON: its ETag, by which whoever has it already is told no more, and errors. Texts stay
//! data: serde escapes them, and no browser is left to guess what they are.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::super::model::Failure;
use super::super::problem::Problem;

/// An answer, or why there is none.
pub(in crate::web) type Answer = Result<Response, Failed>;

/// Why there is none, as JSON.
pub(in crate::web) struct Failed(Problem);

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Failed {
        Failed(problem)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        failure(&self.0)
    }
}

/// An error.
pub(in crate::web) fn failure(problem: &Problem) -> Response {
    let body = Failure { error: problem.text.clone(), status: problem.status.as_u16() };
    let body = serde_json::to_vec(&body).expect("text and a number are JSON");
    respond(problem.status, "application/json", body)
}

/// A value, unless the reader has the same already.
pub(in crate::web) fn json<T: Serialize>(asked: &HeaderMap, value: &T) -> Answer {
    let body = serde_json::to_vec(value).expect("keys are words and numbers are whole");
    Ok(tagged(asked, "application/json", body))
}

/// A body, unless the reader has the same already.
pub(in crate::web) fn tagged(asked: &HeaderMap, kind: &'static str, body: Vec<u8>) -> Response {
    let digest = Sha256::digest(&body);
    let tag: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let mut response = if has(asked, &tag) {
        respond(StatusCode::NOT_MODIFIED, kind, Vec::new())
    } else {
        respond(StatusCode::OK, kind, body)
    };
    response.headers_mut().insert(ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits"));
    response
}

/// Whether the reader has what is tagged so (RFC 9110, 13.1.2: weak comparison).
fn has(asked: &HeaderMap, tag: &str) -> bool {
    let lists = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

pub(super) fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response {
    let mut response = HttpResponse::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_an_answer_already_gets_only_its_tag() {
        let ask = |tag: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(tag) = tag {
                headers.insert(IF_NONE_MATCH, tag.parse().unwrap());
            }
            let response = json(&headers, &[1, 2]).unwrap_or_else(IntoResponse::into_response);
            let tag = response.headers()[ETAG].to_str().unwrap().to_owned();
            (response.status().as_u16(), tag, response.headers().contains_key(CONTENT_TYPE))
        };
        let (status, tag, _) = ask(None);
        assert_eq!((status, tag.len()), (200, 34));
        for (asked, want) in [
            (tag.clone(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"x\", {tag}"), 304),
            ("*".to_owned(), 304),
            ("\"x\"".to_owned(), 200),
            (tag.trim_matches('"').to_owned(), 200),
        ] {
            assert_eq!(ask(Some(&asked)), (want, tag.clone(), want == 200), "{asked}");
        }
    }
}
