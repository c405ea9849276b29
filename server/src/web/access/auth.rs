//! Asking for a name and a password (HTTP Basic, RFC 7617).
//!
//! Owns who was let in a moment ago, so that a page of many parts costs one check of a password, and what is said of those
//! who are not. A password is checked on a thread that may block, two at a time; one of a name that is not there costs as
//! much. Never logs a password, nor a name that is not there: people type passwords into the wrong field.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moji_proto::secret::random_bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::accounts::{Accounts, AccountsError};
use super::throttle::Throttle;

/// Passwords that are checked at once: each takes a core for 50 to 500 ms.
const CHECKS_MAX: usize = 2;
/// How long who was let in is let in unchecked; a new file ends it at once.
const KNOWN_TIME: Duration = Duration::from_secs(300);
/// How many are known: 100 bytes each.
const KNOWN_MAX: usize = 1_024;
/// Longest name with password that is looked at.
const CREDENTIALS_BYTES_MAX: usize = 1_024;

/// Who may read.
pub(super) struct Auth {
    file: PathBuf,
    inner: Mutex<Inner>,
    checks: Semaphore,
    /// Makes digests of credentials in memory worthless elsewhere.
    salt: [u8; 32],
}

struct Inner {
    accounts: Arc<Accounts>,
    /// Digest of credentials that were right, and until when that is believed.
    known: HashMap<[u8; 32], Instant>,
    throttle: Throttle,
}

/// A name and a password, as sent.
struct Credentials {
    name: String,
    password: Vec<u8>,
}

impl Auth {
    pub(super) fn load(file: &Path) -> Result<Auth, AccountsError> {
        let accounts = Arc::new(Accounts::read(file)?);
        let mut salt = [0; 32];
        random_bytes(&mut salt);
        let inner = Inner { accounts, known: HashMap::new(), throttle: Throttle::default() };
        let checks = Semaphore::new(CHECKS_MAX);
        Ok(Auth { file: file.to_owned(), inner: Mutex::new(inner), checks, salt })
    }

    /// Reads the file again; from then on only what it says counts.
    pub(super) fn reload(&self) -> Result<(), AccountsError> {
        let accounts = Accounts::read(&self.file)?;
        log::info!("{} names may read the HTTP port", accounts.len());
        let mut inner = self.lock();
        inner.accounts = Arc::new(accounts);
        inner.known.clear();
        Ok(())
    }

    /// Whether whoever sent this may read; otherwise what it is told.
    pub(super) async fn check(&self, headers: &HeaderMap, reader: IpAddr) -> Result<(), Response<Body>> {
        let credentials = credentials(headers).ok_or_else(ask)?;
        let digest = self.digest(&credentials);
        if self.lock().knows(&digest) {
            return Ok(());
        }
        // Counted before it is known to be wrong: so many at once are no way around the count.
        self.lock().throttle.charge(reader, Instant::now()).map_err(wait)?;
        if self.verify(credentials, digest, reader).await {
            self.lock().throttle.refund(reader);
            return Ok(());
        }
        Err(ask())
    }

    async fn verify(&self, credentials: Credentials, digest: [u8; 32], reader: IpAddr) -> bool {
        let Ok(_turn) = self.checks.acquire().await else { return false };
        let accounts = {
            let inner = self.lock();
            // While this one waited, the same was checked for another part of the page.
            if inner.knows(&digest) {
                return true;
            }
            Arc::clone(&inner.accounts)
        };
        let (hash, is_there) = accounts.hash(&credentials.name);
        let (hash, password) = (hash.to_owned(), credentials.password);
        let fits =
            tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await;
        let is_right = fits.unwrap_or(false) && is_there;
        let mut inner = self.lock();
        if is_right {
            // Unless the file was read again meanwhile.
            if Arc::ptr_eq(&inner.accounts, &accounts) {
                inner.remember(digest);
            }
            return true;
        }
        let who = if is_there {
            credentials.name.escape_debug().to_string()
        } else {
            "somebody unknown".to_owned()
        };
        log::warn!("http={reader} wrong password of {who}");
        if inner.throttle.is_full(reader, Instant::now()) {
            log::warn!("http={reader} no more passwords are checked for a while: too many were wrong");
        }
        false
    }

    /// Until the result is dropped no password is checked.
    #[cfg(test)]
    pub(super) async fn take_all_turns(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.checks.acquire_many(u32::try_from(CHECKS_MAX).unwrap()).await.unwrap()
    }

    fn digest(&self, credentials: &Credentials) -> [u8; 32] {
        let length = u64::try_from(credentials.name.len()).unwrap_or(u64::MAX);
        let digest = Sha256::new().chain_update(self.salt).chain_update(length.to_be_bytes());
        digest.chain_update(&credentials.name).chain_update(&credentials.password).finalize().into()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn knows(&self, digest: &[u8; 32]) -> bool {
        self.known.get(digest).is_some_and(|until| *until > Instant::now())
    }

    fn remember(&mut self, digest: [u8; 32]) {
        if self.known.len() >= KNOWN_MAX {
            let now = Instant::now();
            self.known.retain(|_, until| *until > now);
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(digest, Instant::now() + KNOWN_TIME);
    }
}

/// What was sent, if it can be read.
fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, text) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || text.len() > CREDENTIALS_BYTES_MAX {
        return None;
    }
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(bytes[..colon].to_vec()).ok()?;
    Some(Credentials { name, password: bytes[colon + 1..].to_vec() })
}

/// A name and a password, please.
fn ask() -> Response<Body> {
    let mut response = (StatusCode::UNAUTHORIZED, "this hub wants a name and a password\n").into_response();
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"moji\", charset=\"UTF-8\""));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Later, please.
fn wait(time: Duration) -> Response<Body> {
    let seconds = time.as_secs() + 1;
    let text = format!("too many wrong passwords came from your address: try again in {seconds} s\n");
    let mut response = (StatusCode::TOO_MANY_REQUESTS, text).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
