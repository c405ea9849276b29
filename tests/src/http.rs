//! The least of HTTP: a client of one GET, read to the end, and a server of files that counts what it sends.
//!
//! Owns the test's own view of what the hub serves, so that no client library hides what went
//! over the wire. The client must never follow a redirect or tidy a path: tests send hostile ones. The server knows
//! no ranges and closes every connection: for dnf that is enough.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest silence of the hub before a test gives up.
const SILENCE: Duration = Duration::from_secs(10);

/// An answer over HTTP.
#[derive(Debug)]
pub struct Response {
    /// Status code, as in 200.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of header field `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// GET of `target` exactly as written, with extra header lines (`Name: value`).
///
/// # Errors
/// Those of the socket, and an answer that is not HTTP.
pub fn get(addr: SocketAddr, target: &str, extra: &[&str]) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    for line in extra {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| std::io::Error::other("not an HTTP answer"))
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Response { status, headers, body: bytes[end + 4..].to_vec() })
}

/// Serves folders on a port of loopback until it is dropped.
#[derive(Debug)]
pub struct FileServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// What a path starts with, and the folder that the rest of it is in. The first that fits counts.
    folders: Vec<(String, PathBuf)>,
    sent_bytes: AtomicU64,
    stops: AtomicBool,
}

impl FileServer {
    /// Serves each folder below the path beside it. The first one that a request fits decides.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start<'a>(folders: impl IntoIterator<Item = (&'a str, &'a Path)>) -> FileServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback");
        let addr = listener.local_addr().expect("it is bound");
        let folders = folders.into_iter().map(|(path, folder)| (path.to_owned(), folder.to_owned()));
        let shared = Arc::new(Shared {
            folders: folders.collect(),
            sent_bytes: AtomicU64::new(0),
            stops: AtomicBool::new(false),
        });
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.stops.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), served) = (stream, Arc::clone(&served)) else { continue };
                // Whoever goes away in the middle has seen enough.
                std::thread::spawn(move || drop(served.answer(&stream)));
            }
        });
        FileServer { addr, shared, thread: Some(thread) }
    }

    /// The URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Bytes that it sent so far, heads included.
    pub fn sent_bytes(&self) -> u64 {
        self.shared.sent_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Relaxed);
        // Wakes it up; it fails only when the thread has ended.
        drop(TcpStream::connect(self.addr));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic");
        }
    }
}

impl Shared {
    fn answer(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(SILENCE))?;
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let target = first.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
        let file = target.and_then(|target| self.open(target));
        let (status, bytes) = file.as_ref().map_or(("404 Not Found", 0), |(_, bytes)| ("200 OK", *bytes));
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let body = file.map_or(Ok(0), |(mut file, _)| io::copy(&mut file, &mut stream))?;
        self.sent_bytes.fetch_add(head.len() as u64 + body, Ordering::Relaxed);
        Ok(())
    }

    fn open(&self, target: &str) -> Option<(File, u64)> {
        let target = target.replace("%40", "@").replace("%2B", "+").replace("%7E", "~").replace("%5E", "^");
        let fits = |(path, folder): &(String, PathBuf)| Some(folder.join(target.strip_prefix(&**path)?));
        let path = self.folders.iter().find_map(fits).filter(|_| !target.contains(".."))?;
        let file = File::open(path).ok()?;
        let stat = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((file, stat.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_first_folder_that_fits_are_served_and_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [("one", "1"), ("two", "22"), ("a@b", "333")] {
            std::fs::create_dir_all(folder.path().join("inner")).expect("a folder");
            std::fs::write(folder.path().join("inner").join(name), text).expect("a file");
            std::fs::write(folder.path().join(name), "outer").expect("a file");
        }
        let inner = folder.path().join("inner");
        let server = FileServer::start([("/x/in/", &*inner), ("/x/", folder.path())]);
        let ask = |target: &str| {
            let answer = get(server.addr, target, &[]).expect("an answer");
            (answer.status, answer.text())
        };
        assert_eq!(ask("/x/in/two"), (200, "22".into()));
        assert_eq!(ask("/x/in/a%40b"), (200, "333".into()));
        assert_eq!(ask("/x/one"), (200, "outer".into()));
        assert!(server.sent_bytes() > 10);
        for target in ["/x/none", "/x/", "/one", "/x/in/../one"] {
            assert_eq!(ask(target).0, 404, "{target}");
        }
    }

    #[test]
    fn status_headers_and_body_are_told_apart() {
        let answer =
            parse(b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/9\r\n\r\nab\r\n").expect("an answer");
        assert_eq!(answer.status, 206);
        assert_eq!(answer.header("content-range"), Some("bytes 0-1/9"));
        assert_eq!(answer.body, b"ab\r\n");
        assert!(parse(b"garbage").is_none());
    }
}
