//! Connections to the HTTP port: those that stall, flood, or speak plain text to TLS.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::routing::get;
use moji_proto::secret::SecretKey;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::super::access::Limits;
use super::super::access::tls::tests::issue;
use super::*;

/// Long beside anything that a busy machine does: nothing here ends by it unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// A limit that a test runs into.
const SHORT: Duration = Duration::from_millis(200);

/// Tells when it is dropped.
struct Endless(mpsc::Sender<()>);

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl hyper::body::Body for Endless {
    type Data = hyper::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Infallible>>> {
        let piece = hyper::body::Bytes::from_static(&[b'x'; 65_536]);
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(piece))))
    }
}

struct Served {
    addr: SocketAddr,
    web: Web,
    /// An endless answer was given up.
    given_up: mpsc::Receiver<()>,
}

/// Serves `ok` at `/` and an answer without end at `/endless`.
fn start(mut access: Access, change: impl FnOnce(&mut Limits)) -> Served {
    change(&mut access.limits);
    let (tell, given_up) = mpsc::channel();
    let endless = move || {
        let body = Body::new(Endless(tell.clone()));
        async move { body }
    };
    let site = Router::new().route("/", get(|| async { "ok" })).route("/endless", get(endless));
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Served { addr, web: spawn(listener, runtime, site, access), given_up }
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Connects from another address of loopback.
    fn connect_from(&self, address: Ipv4Addr) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddrV4::new(address, 0).into()).unwrap();
        socket.connect(&self.addr.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// Asks for `/` and leaves the connection open; the head of the answer.
fn ask(stream: &mut (impl Read + Write)) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\nok") {
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(answer).unwrap()
}

/// Waits until the hub ends the connection; what it said.
fn to_end(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the hub does not end it"),
        // Reset: it ended with something unread.
        _ => String::from_utf8_lossy(&said).into_owned(),
    }
}

#[test]
fn who_takes_too_long_for_a_head_is_disconnected() {
    let served = start(Access::default(), |limits| limits.head = SHORT);
    let mut half = served.connect();
    half.write_all(b"GET / HTTP/1.1\r\nHost").unwrap();
    assert!(!to_end(&mut half).contains("200"));
    let mut idle = served.connect();
    assert!(ask(&mut idle).ends_with("ok"));
    assert_eq!(to_end(&mut idle), "", "and who asks for nothing more");
}

#[test]
fn a_reader_that_takes_nothing_is_disconnected() {
    let served = start(Access::default(), |limits| limits.stall = SHORT);
    let mut stream = served.connect();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    served.given_up.recv_timeout(PATIENCE).expect("its answer is given up");
}

#[test]
fn an_address_has_so_many_connections_and_others_have_theirs() {
    let served = start(Access::default(), |limits| limits.of_address = 2);
    let (mut one, mut two) = (served.connect(), served.connect());
    assert!(ask(&mut one).ends_with("ok") && ask(&mut two).ends_with("ok"));
    let answer = ask(&mut served.connect());
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After"), "{answer}");
    assert!(ask(&mut served.connect_from(Ipv4Addr::new(127, 0, 0, 2))).ends_with("ok"));
    assert!(ask(&mut one).ends_with("ok"), "it goes on");
    drop(two);
    // The hub hears of the end on its own thread.
    let deadline = std::time::Instant::now() + PATIENCE;
    while !ask(&mut served.connect()).ends_with("ok") {
        assert!(std::time::Instant::now() < deadline, "the place is never free again");
    }
}

#[test]
fn when_all_places_are_taken_readers_wait_a_while_and_are_then_turned_away() {
    let served = start(Access::default(), |limits| (limits.connections, limits.wait) = (1, SHORT));
    let mut one = served.connect();
    assert!(ask(&mut one).ends_with("ok"));
    assert!(ask(&mut served.connect()).starts_with("HTTP/1.1 503 "));
    assert!(ask(&mut one).ends_with("ok"), "it goes on");
    drop(served);

    let served = start(Access::default(), |limits| (limits.connections, limits.wait) = (1, PATIENCE));
    let mut one = served.connect();
    assert!(ask(&mut one).ends_with("ok"));
    let mut next = served.connect();
    next.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert!(ask(&mut one).ends_with("ok"));
    drop(one);
    assert!(to_end(&mut next).ends_with("ok"), "it waited for its place");
}

/// A hub with TLS.
struct Secure {
    served: Served,
    cert: PathBuf,
    folder: tempfile::TempDir,
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn secure(change: impl FnOnce(&mut Limits)) -> Secure {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = issue(folder.path(), "hub", "DNS:hub.example");
    let hub = SecretKey::from_bytes([7; 32]);
    let access = Access::load(Some((&cert, &key)), None, true, &hub, unix_s()).unwrap();
    Secure { served: start(access, change), cert, folder }
}

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl Secure {
    fn connect(&self, trusted: &Path, version: &'static SupportedProtocolVersion) -> TlsStream {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_protocol_versions(&[version]).unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let client = ClientConnection::new(Arc::new(config), "hub.example".try_into().unwrap()).unwrap();
        StreamOwned::new(client, self.served.connect())
    }
}

#[test]
fn both_versions_of_tls_are_spoken_and_a_renewed_certificate_is_used_from_then_on() {
    let hub = secure(|_| ());
    let old = hub.folder.path().join("old");
    fs::copy(&hub.cert, &old).unwrap();
    let mut before = hub.connect(&old, &rustls::version::TLS12);
    assert!(ask(&mut before).ends_with("ok"));
    assert!(ask(&mut hub.connect(&old, &rustls::version::TLS13)).ends_with("ok"));
    issue(hub.folder.path(), "hub", "DNS:hub.example");
    assert!(ask(&mut hub.connect(&old, &rustls::version::TLS13)).ends_with("ok"), "not read again yet");
    hub.served.web.reload(unix_s());
    assert!(ask(&mut before).ends_with("ok"), "what is open goes on");
    assert!(ask(&mut hub.connect(&hub.cert, &rustls::version::TLS12)).ends_with("ok"));
    let mut distrusts = hub.connect(&old, &rustls::version::TLS13);
    assert!(distrusts.write_all(b"x").and_then(|()| distrusts.flush()).is_err(), "the old one is gone");
}

#[test]
fn who_speaks_plain_http_to_tls_is_told_so() {
    let hub = secure(|_| ());
    let mut stream = hub.served.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let answer = to_end(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
}

#[test]
fn who_connects_to_tls_and_stays_silent_or_stops_half_way_is_disconnected() {
    let hub = secure(|limits| limits.handshake = SHORT);
    assert_eq!(to_end(&mut hub.served.connect()), "");
    let mut half = hub.served.connect();
    half.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    assert_eq!(to_end(&mut half), "");
}

#[test]
fn a_reader_that_takes_nothing_over_tls_is_disconnected_too() {
    let hub = secure(|limits| limits.stall = SHORT);
    let mut stream = hub.connect(&hub.cert, &rustls::version::TLS13);
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    hub.served.given_up.recv_timeout(PATIENCE).expect("its answer is given up");
}
