//! The service without its listener and thread, for the fuzz targets in `tests/fuzz` alone.
//!
//! Owns a runtime. The door and all paths are the hub's own. Must never be used by the hub.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::body::Body;
use axum::http::Request;

use super::access::Access;
use super::serve::{Setup, site};

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// All paths of a hub.
pub struct Service {
    runtime: tokio::runtime::Runtime,
    site: Router,
    access: Access,
}

impl Service {
    /// Makes it.
    ///
    /// # Errors
    /// As [`super::start`].
    pub fn new(mut setup: Setup) -> io::Result<Service> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let access = std::mem::take(&mut setup.access);
        let site = site(setup, &access)?;
        Ok(Service { runtime, site, access })
    }

    /// Status and body of what is answered to `GET` of this path and query; None if it is no path or an answer
    /// without end.
    #[must_use]
    pub fn get(&self, target: &[u8], headers: &[(&str, &[u8])]) -> Option<(u16, Vec<u8>)> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).ok()?;
        if request.uri().path().ends_with("/events") || request.uri().path().ends_with("/stream") {
            return None;
        }
        let reader = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.runtime.block_on(async {
            let answer = self.access.pass(self.site.clone(), reader, request).await;
            let status = answer.status().as_u16();
            let body = axum::body::to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.ok()?;
            Some((status, body.to_vec()))
        })
    }
}
