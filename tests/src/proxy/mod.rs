//! A TCP proxy on loopback that breaks connections on command.
//!
//! A test puts it between builders and hub. Two threads a connection copy bytes, one a
//! direction; before each write they ask the shared rules what may pass. A cut shuts both
//! sockets down, which ends the threads' reads.
//!
//! Owns its threads and sockets. Must never change, lose, hold back or reorder a byte but where a test said so: by an
//! order to all connections, or by the [`Fate`] of one.

mod fate;
mod pump;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fate::Script;
pub use fate::{Direction, Fate, Fault, Strike};
use pump::accept;
use rules::{Rules, Shared};

/// A proxy in front of one address; ends, with all its connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `upstream`.
    ///
    /// # Panics
    /// When no loopback socket can be had.
    pub fn new(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::new(Rules::new(upstream)));
        let inner = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new()
            .name("proxy".into())
            .spawn(move || accept(&listener, &inner))
            .expect("a thread can be started");
        Self { addr, shared, acceptor: Some(acceptor) }
    }

    /// The address to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// New connections go to `upstream` from now on.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.shared.rules().upstream = upstream;
    }

    /// Cuts every connection now; new ones are welcome.
    pub fn cut(&self) {
        self.shared.rules().cut_all();
        self.shared.changed.notify_all();
    }

    /// Resets every connection now; new ones are welcome.
    pub fn reset(&self) {
        self.shared.rules().reset_all();
        self.shared.changed.notify_all();
    }

    /// From now on `script` says what becomes of each new connection, by its number, counted from 1.
    pub fn script(&self, script: impl FnMut(usize) -> Fate + Send + 'static) {
        self.shared.rules().script = Some(Script(Box::new(script)));
    }

    /// New connections are left in peace again, and what waits to strike the others does not any more.
    pub fn heal(&self) {
        let mut rules = self.shared.rules();
        rules.script = None;
        for pair in &mut rules.live {
            pair.fate = Fate::default();
        }
        drop(rules);
        self.shared.changed.notify_all();
    }

    /// A fault for the open connection with this number, counted from its next byte; false if it is not open. One that
    /// needs no byte strikes at once when it is to strike after none.
    pub fn strike(&self, connection: usize, strike: Strike) -> bool {
        self.shared.rules().strike(connection, strike)
    }

    /// How often each fault of a [`Fate`] has struck.
    pub fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.shared.rules().struck.clone()
    }

    /// Numbers of the connections that are open now.
    pub fn open(&self) -> Vec<usize> {
        self.shared.rules().live.iter().map(|pair| pair.id).collect()
    }

    /// While true, new connections are closed at once.
    pub fn refuse(&self, refuse: bool) {
        self.shared.rules().refusing = refuse;
    }

    /// While true nothing passes in either direction, and nobody is told.
    pub fn stall(&self, stall: bool) {
        self.shared.rules().stalled = stall;
        self.shared.changed.notify_all();
    }

    /// Every chunk waits this long before it passes.
    pub fn delay(&self, delay: Duration) {
        self.shared.rules().delay = delay;
    }

    /// Nothing longer than `bytes` is written at once from now on, each as a packet of its own.
    pub fn pieces(&self, bytes: usize) {
        self.shared.rules().piece = bytes;
    }

    /// Lets `bytes` more through in that direction, then cuts the connection that carries the
    /// next one. Works once; [`Proxy::trips`] counts.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        let mut rules = self.shared.rules();
        let lane = rules.lane(direction);
        lane.trip_at = Some(lane.passed + bytes);
    }

    /// Bytes let through in that direction since the proxy began.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.rules().lane(direction).passed
    }

    /// Connections accepted since the proxy began, refused ones too.
    pub fn connections(&self) -> usize {
        self.shared.rules().accepted
    }

    /// Connections open now.
    pub fn live(&self) -> usize {
        self.shared.rules().live.len()
    }

    /// How often a `cut_after` came true.
    pub fn trips(&self) -> usize {
        self.shared.rules().trips
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut rules = self.shared.rules();
            rules.closing = true;
            rules.cut_all();
        }
        self.shared.changed.notify_all();
        // Wakes the acceptor out of accept(), which then sees `closing`.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}
