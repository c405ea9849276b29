//! Who may read what, how it is protected on its way, and how much one reader may take.
//!
//! Owns the door: each request passes it before any handler sees it. It lets nothing through that could change anything,
//! asks for a password where one is wanted, and puts the paths that builders are told right. What is behind the door is
//! others' to know. Must never block the web's thread: passwords are checked on threads that may.
//!
//! | file | owns |
//! |---|---|
//! | `tls.rs` | certificate and key: reading, checking, changing them while connections go on |
//! | `auth.rs` | asking for a name and a password |
//! | `accounts.rs` | the file of names and hashes |
//! | `throttle.rs` | how often an address may be wrong |
//! | `limits.rs` | how many connections there may be, and how long a reader may stand still |

mod accounts;
mod auth;
mod limits;
mod throttle;
pub(super) mod tls;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::ALLOW;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use axum::response::IntoResponse;
use moji_proto::secret::SecretKey;
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use self::accounts::AccountsError;
use self::auth::Auth;
use self::tls::{Tls, TlsError};
use super::pairs::Reader;
use super::repo::{BASE_PATH, RECENT_PATH};
use super::thin::THIN_PATH;

pub(super) use self::limits::{Limits, Patient, Places};
pub(super) use self::tls::{is_tls, said_in_plain};

/// Whoever watches the hub needs no password: it tells nothing but whether the hub is well.
const OPEN_PATH: &str = "/healthz";
/// Where builders read their indexes when everybody else needs a password. A part that only they are told follows.
const BUILDERS_PATH: &str = "/as-builder/";
/// What is there for them.
const BUILDERS_MAY: [&str; 2] = ["/tier/", THIN_PATH];

/// Why the door cannot be set up.
#[derive(Debug)]
pub enum AccessError {
    /// Certificate or key.
    Tls(TlsError),
    /// The file of names and passwords.
    Accounts(AccountsError),
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccessError::Tls(error) => error.fmt(f),
            AccessError::Accounts(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AccessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AccessError::Tls(error) => Some(error),
            AccessError::Accounts(error) => Some(error),
        }
    }
}

impl From<TlsError> for AccessError {
    fn from(error: TlsError) -> AccessError {
        AccessError::Tls(error)
    }
}

impl From<AccountsError> for AccessError {
    fn from(error: AccountsError) -> AccessError {
        AccessError::Accounts(error)
    }
}

/// The door. [`Access::default`] is open, without TLS.
#[derive(Default)]
pub struct Access {
    tls: Option<Tls>,
    auth: Option<Auth>,
    /// The part of a path that only builders are told.
    builders: String,
    pub(super) limits: Limits,
}

impl Access {
    /// Reads certificate, key, and names with passwords, where they are given. `named` says that builders are told the
    /// certificate's name, so it must have one.
    ///
    /// # Errors
    /// What is wrong with which file, and what to do.
    pub fn load(
        pair: Option<(&Path, &Path)>,
        accounts: Option<&Path>,
        named: bool,
        hub: &SecretKey,
        unix_s: u64,
    ) -> Result<Access, AccessError> {
        let tls = pair.map(|(cert, key)| Tls::load(cert, key, named, unix_s)).transpose()?;
        let auth = accounts.map(Auth::load).transpose()?;
        if auth.is_some() && tls.is_none() {
            log::warn!(
                "--http-auth without --http-cert: passwords cross the network as plain text, unless a proxy on this \
                 machine adds TLS"
            );
        }
        Ok(Access { tls, auth, builders: builders_part(hub), limits: Limits::default() })
    }

    /// Reads the files again. What is wrong now leaves what was right before; connections that are open go on.
    pub fn reload(&self, unix_s: u64) {
        if let Some(tls) = &self.tls
            && let Err(error) = tls.reload(unix_s)
        {
            log::error!("the certificate of the HTTP port stays as it was: {error}");
        }
        if let Some(auth) = &self.auth
            && let Err(error) = auth.reload()
        {
            log::error!("the names and passwords of the HTTP port stay as they were: {error}");
        }
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Where builders find the newest packages and all others: a path on this port, to which a builder adds the host
    /// that it knows, or a whole URL with the name that the certificate has. The newest first: a builder that reads both
    /// while a package moves from one to the other misses it in neither.
    #[must_use]
    pub fn tiers(&self, port: u16) -> [String; 2] {
        let start = self.start(port);
        [RECENT_PATH, BASE_PATH].map(|path| format!("{start}{path}"))
    }

    /// Where a builder finds thin repositories, likewise: a lease or the first digits of the builder's key, and a slash,
    /// follow.
    #[must_use]
    pub fn thins(&self, port: u16) -> String {
        format!("{}{THIN_PATH}", self.start(port))
    }

    /// What stands before a path that builders are told.
    fn start(&self, port: u16) -> String {
        let secret = match &self.auth {
            Some(_) => format!("{BUILDERS_PATH}{}", self.builders),
            None => String::new(),
        };
        match self.tls.as_ref().and_then(Tls::name) {
            Some(name) => format!("https://{name}:{port}{secret}"),
            None => secret,
        }
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// One request, from whoever is at `reader`, to the handlers behind the door or not.
    pub(super) async fn pass(&self, site: Router, reader: IpAddr, mut request: Request) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return read_only(&request);
        }
        if let Some(auth) = &self.auth {
            match self.for_builders(request.uri()) {
                Some(uri) => *request.uri_mut() = uri,
                None if request.uri().path() == OPEN_PATH => {}
                None => {
                    if let Err(no) = auth.check(request.headers(), reader).await {
                        return no;
                    }
                }
            }
        }
        request.extensions_mut().insert(Reader(reader));
        match site.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// What a builder asks for, without the part that opened the door.
    fn for_builders(&self, uri: &Uri) -> Option<Uri> {
        let rest = uri.path().strip_prefix(BUILDERS_PATH)?;
        let (part, _) = rest.split_once('/')?;
        let path = &rest[part.len()..];
        // Digests: how long the comparison takes tells nothing about the part itself.
        let same = Sha256::digest(part) == Sha256::digest(&self.builders);
        if !same || !BUILDERS_MAY.iter().any(|may| path.starts_with(may)) {
            return None;
        }
        let target = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        target.parse::<PathAndQuery>().ok().map(Uri::from)
    }
}

/// Nothing on this port changes anything.
fn read_only(request: &Request) -> Response<Body> {
    let mut response = if request.uri().path().starts_with("/api/") {
        super::api::not_allowed()
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here: only GET and HEAD are answered\n")
            .into_response()
    };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// The same at each start, so that a build that goes on finds its repository; nobody can make it from anything public,
/// nor the key from it.
fn builders_part(hub: &SecretKey) -> String {
    let digest = Sha256::new().chain_update(b"moji/1 repository of builders").chain_update(hub.as_bytes());
    digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
