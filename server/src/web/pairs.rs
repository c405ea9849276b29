//! `repomd.xml` and `repomd.xml.asc` as a pair, whatever is published between the two requests.
//!
//! Owns the look at these two requests; what belongs together is [`crate::signing::Pairs`]' to know. Readers are told apart by
//! their address: dnf opens a connection for each of the two. Where several share one (a proxy, a NAT), the answer is
//! the signature of what the last of them got, which is never older than what a plain file server would answer wrongly.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::signing::{Pairs, REPOMD_BYTES_MAX, is_signature};

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader(pub(super) IpAddr);

/// Notes which `repomd.xml` is served, and serves its signature.
pub(super) async fn pair(
    State(pairs): State<Arc<Pairs>>,
    Extension(Reader(reader)): Extension<Reader>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    if let Some(repomd) = is_signature(&path) {
        return match pairs.signature_for(reader, repomd) {
            Some(signature) => ([(CONTENT_TYPE, "application/pgp-signature")], signature).into_response(),
            None => next.run(request).await,
        };
    }
    let whole = request.method() == Method::GET && path.ends_with("/repomd.xml");
    let response = next.run(request).await;
    if !whole || response.status() != StatusCode::OK {
        return response;
    }
    let (head, body) = response.into_parts();
    let max = usize::try_from(REPOMD_BYTES_MAX).unwrap_or(usize::MAX);
    match to_bytes(body, max).await {
        Ok(bytes) => {
            pairs.served(reader, &path, &bytes);
            Response::from_parts(head, Body::from(bytes))
        }
        Err(error) => {
            log::error!("failed to read {path} for a reader: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
