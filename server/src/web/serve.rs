//! The listener: accepting, limits of connections, the thread.
//!
//! Owns the HTTP port and its thread. Which path means what is its routers' to know.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::{Extension, Router};
use crossbeam_channel::Sender;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, oneshot};

use super::desk::Bridge;
use super::pairs::Reader;
use super::site::Site;
use super::{api, metrics, pages, repo};
use crate::clock::Clock;
use crate::core::desk;
use crate::disk::{Disk, Folders};
use crate::signing::Pairs;

/// Most HTTP connections at once: a thousand boards may fetch, and descriptors are left for the rest.
const CONNECTIONS_MAX: usize = 1_024;

/// Time for a request's head to arrive, and for an idle connection to stay open.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);

/// Pause after a failed accept (out of descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who takes nothing of what was sent to it for so long is cut off: a page that is followed from a phone that is gone
/// would keep its place for ever.
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
}

/// The running service; dropping it lets it end.
pub struct Web {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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
pub fn start(listener: TcpListener, setup: Setup) -> io::Result<Web> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let index = setup.folders.state.join("index");
    let files = repo::router(&setup.folders.repo, &index, setup.signatures.clone());
    let site = Site::new(setup).map_err(io::Error::other)?;
    let programs = api::router(site.clone()).merge(metrics::router(site.clone()));
    Ok(spawn(listener, runtime, files.merge(programs).merge(pages::router(site))))
}

pub(super) fn spawn(listener: TcpListener, runtime: tokio::runtime::Runtime, service: Router) -> Web {
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = crate::actors::spawn_behind("web", move || {
        runtime.block_on(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => tokio::select! {
                    () = accept(listener, service) => (),
                    _ = stopped => (),
                },
                Err(error) => log::error!("failed to serve HTTP: {error}"),
            }
        });
    });
    Web { stop: Some(stop), thread: Some(thread) }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, service: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
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
        let service = TowerToHyperService::new(service.clone().layer(Extension(Reader(peer.ip()))));
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME_MAX)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                log::trace!("HTTP connection ended: {error}");
            }
            drop(place);
        });
    }
}
