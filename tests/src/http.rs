//! The least of an HTTP client: one GET, read to the end.
//!
//! Owns the test's own view of what the hub serves, so that no client library hides what went
//! over the wire. Must never follow a redirect or tidy a path: tests send hostile ones.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
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
pub(crate) fn get(addr: SocketAddr, target: &str, extra: &[&str]) -> std::io::Result<Response> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
