//! Getting the files of a repository, over HTTP or from a folder.
//!
//! Owns time-outs, redirects and conditional requests. What comes is a stream that nobody vouches for: whoever reads it
//! has the limits. [`crate::payloads`] gets packages in the same way.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use ureq::http::{HeaderMap, HeaderName, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Proxy, ResponseExt};

use super::place::Place;
use crate::disk::{Disk, File};

/// Time for a connection, seconds: one that takes longer is not there.
const CONNECT_S: u64 = 15;
/// Time in which something must come, seconds.
const SILENCE_S: u64 = 60;
/// Time for a whole file, seconds: 20 MB at 6 KB/s.
const FILE_S: u64 = 3_600;
/// Redirects that are followed: from a redirector to a mirror and within it.
const REDIRECTS_MAX: u32 = 5;
/// Longest value of a header that is kept, bytes.
const HEADER_BYTES_MAX: usize = 512;

/// What a server said of a file, so that it can be asked whether it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seal {
    etag: Option<String>,
    modified: Option<String>,
}

/// A file.
pub(super) struct Fetched {
    /// Its bytes.
    pub(super) body: Box<dyn Read>,
    /// Where it was found, if the server sent the reader elsewhere.
    pub(super) moved: Option<String>,
    /// To ask again with.
    pub(super) seal: Seal,
}

/// A file from some byte on.
pub(crate) struct Part {
    /// The bytes.
    pub(crate) body: Box<dyn Read>,
    /// Which byte of the file is the first: the one that was asked for, or 0 where the server gives whole files only, or
    /// the file is another one than before.
    pub(crate) at: u64,
    /// The length of the whole file, bytes, if the server tells it.
    pub(crate) whole: Option<u64>,
    /// To ask for the rest with.
    pub(crate) seal: Seal,
}

/// Why a file did not come.
#[derive(Debug)]
pub(crate) enum FetchError {
    /// The server has another answer.
    Status(StatusCode),
    /// There is no answer.
    Http(Box<ureq::Error>),
    /// It has another part than the one that was asked for.
    Range,
    /// The folder cannot be read.
    Io(io::Error),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Status(status) => write!(f, "the server says {status}"),
            FetchError::Http(error) => error.fmt(f),
            FetchError::Range => f.write_str("the server sends another part than it was asked for"),
            FetchError::Io(error) => error.fmt(f),
        }
    }
}

/// Gets files.
pub(crate) struct Fetcher {
    agent: Agent,
    disk: Arc<dyn Disk>,
}

impl Fetcher {
    /// `proxy` stands between the hub and servers: as a rule what the environment says.
    pub(super) fn new(disk: Arc<dyn Disk>, proxy: Option<Proxy>) -> Fetcher {
        // An hour lies between two looks.
        Fetcher { agent: agent(proxy, 0, Some(Duration::from_secs(FILE_S))), disk }
    }

    /// For many files that come one after the other, of any length: whoever reads them has an eye on the time, and
    /// `connections` stay open meanwhile.
    pub(crate) fn of_many(disk: Arc<dyn Disk>, proxy: Option<Proxy>, connections: usize) -> Fetcher {
        Fetcher { agent: agent(proxy, connections, None), disk }
    }

    /// Gets the file at `url` from the byte `from` on, if it is still the one of `seal`.
    ///
    /// # Errors
    /// Why it does not come.
    pub(crate) fn part(&self, url: &str, from: u64, seal: &Seal) -> Result<Part, FetchError> {
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
            // A weak one says that another file would do as well: not for the rest of this one.
            let strong = seal.etag.as_ref().filter(|etag| !etag.starts_with("W/"));
            if let Some(known) = strong.or(seal.modified.as_ref()) {
                request = request.header(IF_RANGE, known);
            }
        }
        let response = request.call().map_err(|error| FetchError::Http(Box::new(error)))?;
        let number = |name: HeaderName| header(response.headers(), name)?.parse().ok();
        let (at, whole) = match response.status() {
            StatusCode::OK => (0, number(CONTENT_LENGTH)),
            StatusCode::PARTIAL_CONTENT if from > 0 => {
                let range = header(response.headers(), CONTENT_RANGE);
                range.as_deref().and_then(content_range).ok_or(FetchError::Range)?
            }
            status => return Err(FetchError::Status(status)),
        };
        if at != 0 && at != from {
            return Err(FetchError::Range);
        }
        let seal = seal_of(response.headers());
        Ok(Part { body: Box::new(response.into_body().into_reader()), at, whole, seal })
    }

    /// Gets a file; None if it is the same as when `seal` was got.
    ///
    /// # Errors
    /// Why it does not come.
    pub(super) fn fetch(&self, place: &Place, seal: Option<&Seal>) -> Result<Option<Fetched>, FetchError> {
        match place {
            Place::Url(url) => self.http(url, seal),
            Place::Folder(path) => {
                let body = open(&*self.disk, path).map_err(FetchError::Io)?;
                Ok(Some(Fetched { body: Box::new(body), moved: None, seal: Seal::default() }))
            }
        }
    }

    fn http(&self, url: &str, seal: Option<&Seal>) -> Result<Option<Fetched>, FetchError> {
        let mut request = self.agent.get(url);
        if let Some(Seal { etag, modified }) = seal {
            for (name, value) in [(IF_NONE_MATCH, etag), (IF_MODIFIED_SINCE, modified)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
        }
        let response = request.call().map_err(|error| FetchError::Http(Box::new(error)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if seal.is_some() => return Ok(None),
            status => return Err(FetchError::Status(status)),
        }
        let seal = seal_of(response.headers());
        let moved = response.get_uri().to_string();
        let moved = (moved != url).then_some(moved);
        Ok(Some(Fetched { body: Box::new(response.into_body().into_reader()), moved, seal }))
    }
}

/// Connections to servers, so many of which wait for the next request.
fn agent(proxy: Option<Proxy>, connections: usize, whole: Option<Duration>) -> Agent {
    let tls = TlsConfig::builder()
        // What the administrator trusts: a mirror of one's own has a certificate of one's own.
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(REDIRECTS_MAX)
        .save_redirect_history(true)
        .user_agent(concat!("moji-server/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(CONNECT_S)))
        .timeout_recv_response(Some(Duration::from_secs(SILENCE_S)))
        .timeout_per_read(Some(Duration::from_secs(SILENCE_S)))
        .timeout_global(whole)
        .max_idle_connections(connections)
        .max_idle_connections_per_host(connections)
        .build()
        .new_agent()
}

/// The first byte and the length of the whole file, of `bytes 5-9/10` (RFC 9110, 14.4).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, whole.parse().ok()))
}

fn seal_of(headers: &HeaderMap) -> Seal {
    Seal { etag: header(headers, ETAG), modified: header(headers, LAST_MODIFIED) }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= HEADER_BYTES_MAX).then(|| value.to_owned())
}

/// A file of a disk, from its start.
///
/// # Errors
/// Those of open(2).
pub(super) fn open(disk: &dyn Disk, path: &Path) -> io::Result<impl Read + use<>> {
    Ok(FromStart { file: disk.open(path)?, at: 0 })
}

struct FromStart {
    file: Box<dyn File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
