//! The listener: accepting, limits of connections, the thread.
//!
//! Owns the HTTP port and its thread. Which path means what is its routers' to know, and who may read what [`Access`]'s.
//!
//! ```text
//! accept ─▶ a place? ─▶ TLS, if there is ─▶ HTTP ─▶ Access::pass ─▶ routers
//!              no: 503      plain: 400
//! ```

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use crossbeam_channel::Sender;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use super::access::{Access, Patient, Places, is_tls, said_in_plain};
use super::desk::Bridge;
use super::site::Site;
use super::{api, metrics, pages, repo, thin};
use crate::clock::Clock;
use crate::core::desk;
use crate::disk::{Disk, Folders};
use crate::signing::Pairs;

/// Readers that are being told at once that they are turned away; others are only turned away.
const REFUSALS_MAX: usize = 64;
/// How long such a reader has to say what it wants and to hear it: it is in nobody's way.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// Pause after a failed accept (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who confirms nothing of what was sent to it for so long is cut off: a page that is followed from a phone that is gone
/// would keep its place, as the kernel has room for hours of it.
const STALLED_TIME_MAX: Duration = Duration::from_secs(120);

/// What is served, and who is asked for it.
pub struct Setup {
    /// The hub's folders; `history.db` is there.
    pub folders: Folders,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The clock that the actors have.
    pub clock: Arc<dyn Clock>,
    /// To the desk.
    pub desk: Sender<desk::Msg>,
    /// From the desk.
    pub bridge: Bridge,
    /// Signatures, if what is served is signed.
    pub signatures: Option<Arc<Pairs>>,
    /// Where builders and people are told that the repository is, if that is not this port.
    pub repo_url: Option<String>,
    /// The repositories of single builds, if there are any.
    pub thin: Option<thin::Setup>,
    /// Who may read, and how.
    pub access: Access,
}

/// The running service; dropping it lets it end.
pub struct Web {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    access: Arc<Access>,
}

impl Web {
    /// Reads certificate, key and passwords again. Connections go on.
    pub fn reload(&self, unix_s: u64) {
        self.access.reload(unix_s);
    }
}

/// Binds `addr`.
///
/// # Errors
/// Those of bind(2) and listen(2).
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until the result is dropped.
///
/// # Errors
/// If the runtime cannot be made, or the history cannot be opened.
pub fn start(listener: TcpListener, mut setup: Setup) -> io::Result<Web> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let access = std::mem::take(&mut setup.access);
    Ok(spawn(listener, runtime, site(setup, &access)?, access))
}

/// All paths.
pub(super) fn site(setup: Setup, access: &Access) -> io::Result<Router> {
    let index = setup.folders.state.join("index");
    let files = repo::router(&setup.folders.repo, &index, setup.signatures.clone(), access.scheme());
    let files = match setup.thin.clone() {
        Some(thin) => files.merge(thin::router(thin, &setup.folders.repo)),
        None => files,
    };
    let site = Site::new(setup, access.scheme()).map_err(io::Error::other)?;
    let programs = api::router(site.clone()).merge(metrics::router(site.clone()));
    Ok(files.merge(programs).merge(pages::router(site)))
}

pub(super) fn spawn(
    listener: TcpListener,
    runtime: tokio::runtime::Runtime,
    site: Router,
    access: Access,
) -> Web {
    let (stop, stopped) = oneshot::channel::<()>();
    let access = Arc::new(access);
    let door = Arc::clone(&access);
    let thread = crate::actors::spawn_behind("web", move || {
        runtime.block_on(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => tokio::select! {
                    () = accept(listener, site, door) => (),
                    _ = stopped => (),
                },
                Err(error) => log::error!("failed to serve HTTP: {error}"),
            }
        });
    });
    Web { stop: Some(stop), thread: Some(thread), access }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, site: Router, access: Arc<Access>) {
    let places = Places::new(access.limits);
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut wait = access.limits.wait;
    loop {
        let free = places.free(wait).await;
        // Whoever comes next waited as well.
        wait = if free.is_some() { access.limits.wait } else { Duration::ZERO };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                log::debug!("failed to accept an HTTP connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Where the kernel refuses, its own limit counts: a quarter of an hour.
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(STALLED_TIME_MAX));
        let reader = peer.ip().to_canonical();
        // One may have become free until somebody came.
        let free = if free.is_some() { free } else { places.free(Duration::ZERO).await };
        let Some(place) = free.and_then(|free| places.take(free, reader)) else {
            // Over TLS there is nothing to say before much was spent on it.
            if let (None, Ok(turn)) = (access.tls(), Arc::clone(&refusals).try_acquire_owned()) {
                tokio::spawn(async move {
                    refuse(stream, "503 Service Unavailable", "too many connections: try again later\n")
                        .await;
                    drop(turn);
                });
            }
            continue;
        };
        let (site, access) = (site.clone(), Arc::clone(&access));
        tokio::spawn(async move {
            converse(stream, reader, site, access).await;
            drop(place);
        });
    }
}

/// One connection to its end.
async fn converse(stream: TcpStream, reader: IpAddr, site: Router, access: Arc<Access>) {
    let limits = access.limits;
    let Some(tls) = access.tls() else {
        return serve(Patient::new(stream, limits.stall), reader, site, access).await;
    };
    match tokio::time::timeout(limits.handshake, is_tls(&stream)).await {
        Ok(Some(true)) => {}
        Ok(Some(false)) => return refuse(stream, "400 Bad Request", said_in_plain()).await,
        Ok(None) | Err(_) => return,
    }
    let handshake = tls.acceptor().accept(Patient::new(stream, limits.stall));
    match tokio::time::timeout(limits.handshake, handshake).await {
        Ok(Ok(stream)) => serve(stream, reader, site, access).await,
        Ok(Err(error)) => log::debug!("http={reader} no TLS: {error}"),
        Err(_) => log::debug!("http={reader} no TLS: it took too long"),
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    reader: IpAddr,
    site: Router,
    access: Arc<Access>,
) {
    let head = access.limits.head;
    let service = service_fn(move |request: Request<Incoming>| {
        let (site, access) = (site.clone(), Arc::clone(&access));
        async move { Ok::<_, Infallible>(access.pass(site, reader, request.map(Body::new)).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        log::trace!("HTTP connection ended: {error}");
    }
}

/// Says in one answer why there is no other. What the reader says is read first: otherwise the kernel would take the
/// answer back.
async fn refuse(mut stream: TcpStream, status: &str, text: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nRetry-After: 10\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    );
    let mut rest = [0; 4_096];
    let talk = async {
        let _some = stream.read(&mut rest).await?;
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // Whoever goes away in the middle has heard enough.
    let _ = tokio::time::timeout(REFUSAL_TIME, talk).await;
}

#[cfg(test)]
mod tests;
