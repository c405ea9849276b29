//! Listening sockets and the descriptors they need.
//!
//! Owns how the protocol port is opened, the process's descriptor limit, and the descriptor kept in
//! reserve. Never reads from a peer what matters.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};

use mio::net::TcpStream;
use moji_proto::refusal::Refusal;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;

/// Connections that may wait to be accepted: all boards of a large farm that come back at once
/// after the hub restarted. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Opens a port for [`super::Reactor::new`]: non-blocking, address reusable at once after a restart.
///
/// # Errors
/// What the system says, `AddrInUse` above all.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    // The standard library sets SO_REUSEADDR, and a second listen(2) changes only the backlog.
    let listener = TcpListener::bind(addr)?;
    SockRef::from(&listener).listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Raises the process's limit of open descriptors as far as it may, and says what it is now.
pub(super) fn raise_descriptor_limit() -> u64 {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    raised.unwrap_or_else(|error| {
        log::warn!("failed to raise the limit of open descriptors: {error}");
        0
    })
}

/// What became of an attempt to accept.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection.
    Peer(TcpStream, SocketAddr),
    /// One that was over before it began.
    Nobody,
    /// One that was turned away for want of a descriptor.
    TurnedAway(SocketAddr),
    /// Nobody waits.
    Empty,
    /// The system cannot now; try again later.
    Exhausted(io::Error),
}

/// A descriptor that is given up when there is no other, so that a peer can be told why.
#[derive(Debug)]
pub(super) struct Reserve(Option<File>);

impl Reserve {
    /// Takes one.
    pub(super) fn new() -> Reserve {
        Reserve(File::open("/dev/null").ok())
    }

    /// Accepts one connection. Without a free descriptor it tells the peer [`Refusal::Full`].
    pub(super) fn accept(&mut self, listener: &mio::net::TcpListener) -> Accepted {
        let error = match listener.accept() {
            Ok((stream, addr)) => return Accepted::Peer(stream, addr),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::WouldBlock => return Accepted::Empty,
            io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => return Accepted::Nobody,
            _ => {}
        }
        match error.raw_os_error().map(nix::errno::Errno::from_raw) {
            Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE) => {}
            Some(nix::errno::Errno::ENOBUFS | nix::errno::Errno::ENOMEM) => {
                return Accepted::Exhausted(error);
            }
            // accept(2) also hands out errors that the new connection has already.
            _ => return Accepted::Nobody,
        }
        if self.0.take().is_none() {
            *self = Reserve::new();
            return Accepted::Exhausted(error);
        }
        let outcome = match listener.accept() {
            Ok((mut stream, addr)) => {
                farewell(&mut stream, Refusal::Full);
                Accepted::TurnedAway(addr)
            }
            Err(again) if again.kind() == io::ErrorKind::WouldBlock => Accepted::Empty,
            Err(_) => Accepted::Exhausted(error),
        };
        *self = Reserve::new();
        outcome
    }
}

/// Tells a peer that is not served why, as far as one write reaches. What it sent is read once
/// before the socket is closed: otherwise the kernel answers with a reset that overtakes the reason.
pub(super) fn farewell(stream: &mut TcpStream, why: Refusal) {
    let _ = stream.write(&why.to_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read(&mut [0; 1_024]);
}
