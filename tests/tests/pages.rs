//! Pages of a real hub, read without a browser: every one is whole, points nowhere else, and follows the farm.
//!
//! Owns what a reader of the HTTP port gets. What single pages look like with hostile names is tested where they are
//! rendered; what a browser makes of them, with one.

mod quick;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use moji_tests::{Farm, Outcome, SOON};
use quick::quick;
use scraper::{Html, Selector};
use serde_json::Value;

/// A look at a stream that has nothing to say yet.
const GLANCE: Duration = Duration::from_millis(200);

/// Server-sent events as they come. HTTP/1.0 is asked for, whose answers have no chunks.
struct Stream {
    socket: TcpStream,
    heard: Vec<u8>,
}

impl Stream {
    fn open(farm: &Farm, path: &str, header: &str) -> Stream {
        let host = farm.repo_url().trim_start_matches("http://").trim_end_matches("/repo/");
        let addr: SocketAddr = host.parse().expect("the hub's own port");
        let mut socket = TcpStream::connect(addr).expect("the hub listens");
        socket.set_read_timeout(Some(GLANCE)).expect("a limit");
        write!(socket, "GET {path} HTTP/1.0\r\nHost: {host}\r\n{header}\r\n").expect("a request goes out");
        Stream { socket, heard: Vec::new() }
    }

    /// Reads until an event is there that `is_it` says yes to; the id and data of all events so far.
    fn until(
        &mut self,
        what: &str,
        is_it: impl Fn(&(String, String, Value)) -> bool,
    ) -> Vec<(String, String, Value)> {
        let began = Instant::now();
        let mut buffer = [0; 65_536];
        loop {
            let events = self.events();
            if events.iter().any(&is_it) {
                return events;
            }
            assert!(began.elapsed() < SOON, "no event for {what}: {}", String::from_utf8_lossy(&self.heard));
            match self.socket.read(&mut buffer) {
                Ok(0) => panic!("the stream ended before {what}: {}", String::from_utf8_lossy(&self.heard)),
                Ok(n) => self.heard.extend_from_slice(&buffer[..n]),
                Err(_) => {}
            }
        }
    }

    /// Name, id and data of each whole event.
    fn events(&self) -> Vec<(String, String, Value)> {
        let text = String::from_utf8_lossy(&self.heard);
        let Some((_, body)) = text.split_once("\r\n\r\n") else { return Vec::new() };
        let Some((whole, _)) = body.rsplit_once("\n\n") else { return Vec::new() };
        let event = |text: &str| {
            let field =
                |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").to_owned();
            let data = serde_json::from_str(&field("data: ")).ok()?;
            Some((field("event: "), field("id: "), data))
        };
        whole.split("\n\n").filter_map(event).collect()
    }
}

fn select<'a>(page: &'a Html, what: &str) -> Vec<scraper::ElementRef<'a>> {
    page.select(&Selector::parse(what).expect("a selector")).collect()
}

/// A farm that built `alpha`, and failed at `beta`.
fn small_farm() -> Farm {
    let farm = Farm::plan().builders(1).start();
    let (alpha, beta) = (quick(&farm, "alpha", "1"), quick(&farm, "beta", "1"));
    farm.outcome(
        &beta.file,
        Outcome::exit(1).log("build.log", "cc: error: no input\nerror: Bad exit status\n"),
    );
    for package in [&alpha, &beta] {
        farm.drop_file(&package.srpm);
        farm.wait_finished(&package.file);
    }
    farm
}

/// The name of its builder.
fn builder(farm: &Farm) -> String {
    let all: Value = serde_json::from_str(&farm.http("/api/v1/builders", &[]).text()).expect("JSON");
    all[0]["name"].as_str().expect("it has a name").to_owned()
}

#[test]
fn every_page_is_whole_and_loads_nothing_from_elsewhere() {
    let farm = small_farm();
    let builder = format!("/builders/{}", builder(&farm));
    for path in [
        "/",
        "/builders",
        "/builders?state=idle&sort=built",
        &builder,
        "/packages",
        "/packages?q=ALPHA&state=success&sort=newest",
        "/packages/alpha-1-1.src.rpm",
        "/packages/beta",
        "/packages/alpha/log",
        "/packages/beta/log?which=build&attempt=1&line=2",
        "/packages/beta/log?which=root",
        "/history",
        "/history?days=7",
        "/repository",
    ] {
        let answer = farm.http(path, &[]);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{path}: {text}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let page = Html::parse_document(&text);
        assert!(page.errors.is_empty(), "{path}: {:?}\n{text}", page.errors);
        let ids: Vec<&str> = select(&page, "[id]").iter().filter_map(|one| one.value().id()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{path}: {ids:?}");
        for element in select(&page, "*") {
            for (name, value) in element.value().attrs() {
                let leads = ["href", "src", "action", "data", "poster", "srcset"].contains(&name);
                assert!(!leads || value.starts_with(['/', '#', '?']), "{path}: {name}={value}");
                assert!(!value.starts_with("//") && !name.starts_with("on"), "{path}: {name}={value}");
            }
        }
        for asset in select(&page, "link[href], script[src]") {
            let path = asset.attr("href").or(asset.attr("src")).expect("it was selected by it");
            let asset = farm.http(path, &[]);
            assert_eq!(asset.status, 200, "{path}");
            assert!(asset.header("cache-control").is_some_and(|rule| rule.contains("immutable")), "{path}");
        }
        // Links that pages have lead to pages.
        for link in select(&page, "main a[href^='/'], header a[href^='/']") {
            let path = link.attr("href").expect("it was selected by it");
            assert_eq!(farm.http(path, &[]).status, 200, "{path}");
        }
    }
    for icon in ["/favicon.ico", "/favicon.svg"] {
        assert_eq!(farm.http(icon, &[]).header("content-type"), Some("image/svg+xml"));
    }
    let repo_file = farm.http("/repository/moji.repo", &[]).text();
    assert!(repo_file.contains(&format!("baseurl={}", farm.repo_url())), "{repo_file}");
    let page = farm.http("/packages?state=failed", &[]).text();
    assert!(page.contains("beta-1-1") && !page.contains("alpha-1-1"), "{page}");
}

#[test]
fn who_has_a_page_already_is_told_so() {
    let farm = Farm::plan().builders(0).start();
    let first = farm.http("/packages", &[]);
    let tag = first.header("etag").expect("a tag").to_owned();
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    assert_eq!(farm.http("/packages", &[&format!("If-None-Match: {tag}")]).status, 304);
}

#[test]
fn a_path_that_is_none_is_answered_with_what_comes_near() {
    let farm = small_farm();
    let check = |path: &str, status: u16, want: &str| {
        let answer = farm.http(path, &[]);
        assert_eq!(answer.status, status, "{path}");
        let page = Html::parse_document(&answer.text());
        let near: Vec<_> =
            select(&page, ".near a").into_iter().filter_map(|link| link.attr("href")).collect();
        assert!(want.is_empty() || near.contains(&want), "{path}: {near:?}");
    };
    check("/packages/alpah", 404, "/packages/alpha-1-1.src.rpm");
    check("/packages/alpha-2-1.src.rpm/log", 404, "/packages/alpha-1-1.src.rpm");
    check("/packges", 404, "/packages");
    check("/alpha", 404, "/packages/alpha-1-1.src.rpm");
    let builder = format!("/builders/{}", builder(&farm));
    check(&format!("{builder}x"), 404, &builder);
    check("/packages?state=great", 400, "");
    check("/history?days=0", 400, "");
    check("/packages/%3Cscript%3Ealert(1)%3C/script%3E", 404, "");
    assert_eq!(farm.http("/events?page=/nothing", &[]).status, 404);
    assert_eq!(farm.http("/static/moji.00000000.css", &[]).status, 404);
    let repository = farm.http("/repo/", &[]).text();
    assert!(repository.contains("baseurl="), "the repository stays as it is: {repository}");
}

#[test]
fn an_open_page_is_told_when_a_package_is_built() {
    let farm = Farm::plan().builders(1).start();
    let package = quick(&farm, "alpha", "1");
    let mut overview = Stream::open(&farm, "/events?page=/", "");
    let said = |event: &(String, String, Value), region: &str, word: &str| {
        event.2["regions"][region].as_str().is_some_and(|html| html.contains(word))
    };
    overview.until("how it is", |event| said(event, "results", "No build has ended yet"));
    let mut page = Stream::open(&farm, "/events?page=/packages%3Fstate%3Dsuccess", "");
    page.until("how it is", |event| said(event, "rows", "No package here"));
    farm.drop_file(&package.srpm);
    let events = overview.until("its result", |event| said(event, "results", "alpha-1-1"));
    page.until("its row", |event| said(event, "rows", "/packages/alpha-1-1.src.rpm"));
    let ids: Vec<u64> = events.iter().map(|(_, id, _)| id.parse().expect("a number")).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    // Who comes back is told what changed meanwhile, and nothing of what did not.
    let first = ids[0];
    let mut again = Stream::open(&farm, "/events?page=/", &format!("Last-Event-ID: {first}\r\n"));
    let events = again.until("what was missed", |event| said(event, "results", "alpha-1-1"));
    assert!(events[0].2["regions"].get("trouble").is_none(), "{events:?}");
}

/// Asks for the page that follows the overview, from this loopback address.
fn follow_from(http: SocketAddr, host: u8) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into()).expect("all of 127/8 is here");
    socket.connect(&http.into()).expect("the hub listens");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).expect("a limit");
    stream.write_all(b"GET /events?page=/ HTTP/1.0\r\nHost: hub\r\n\r\n").expect("a request goes out");
    stream
}

#[test]
fn a_place_is_found_for_512_that_follow_a_page_and_the_next_one_is_told_to_wait() {
    let farm = Farm::plan().builders(0).start();
    let host = farm.repo_url().trim_start_matches("http://").trim_end_matches("/repo/");
    let http: SocketAddr = host.parse().expect("the hub's own port");
    // One address has no more than 256 connections.
    let head = |mut stream: &TcpStream| {
        let mut bytes = [0; 12];
        stream.read_exact(&mut bytes).expect("an answer");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut open = Vec::new();
    for number in 0..512 {
        let stream = follow_from(http, 2 + u8::try_from(number % 4).expect("small"));
        assert_eq!(head(&stream), "HTTP/1.0 200", "{number}");
        open.push(stream);
    }
    let mut answer = String::new();
    follow_from(http, 9).read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 503"), "{answer}");
    assert!(answer.contains("512 pages are followed already: try again later"), "{answer}");
    // Who only reads is served all the same.
    assert_eq!(farm.http("/", &[]).status, 200);
    open.pop();
    farm.wait_until("the place that became free", SOON, |_| head(&follow_from(http, 9)).ends_with("200"));
}

#[test]
fn a_log_is_followed_from_its_beginning_to_the_end_of_the_build() {
    let farm = Farm::plan().builders(1).start();
    let package = quick(&farm, "alpha", "1");
    let mut log = String::from("\x1b[31m<script>alert(1)</script>\x1b[0m & \"quotes\"\n");
    for number in 0..20_000 {
        log.push_str(&format!("line {number} of a build that says a lot\n"));
    }
    log.push_str("error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\nthe end, without a line's");
    let gate = farm.gate("log");
    farm.outcome(&package.file, Outcome::exit(1).log("build.log", &log).gate(&gate));
    farm.drop_file(&package.srpm);
    farm.wait_until("the package to be seen", SOON, |farm| farm.http("/packages/alpha", &[]).status == 200);
    // Where nothing is written yet the stream waits for it.
    let mut stream = Stream::open(&farm, "/packages/alpha-1-1.src.rpm/log/stream?which=build", "");
    let has = |event: &(String, String, Value), word: &str| {
        ["html", "open"].iter().any(|key| event.2[key].as_str().is_some_and(|html| html.contains(word)))
    };
    stream.until("the last line", |event| has(event, "the end, without"));
    let live = farm.http("/packages/alpha/log", &[]).text();
    assert!(live.contains("data-stream=") && live.contains("line 19999 of"), "{live}");
    farm.open_gate("log");
    let events = stream.until("the end", |(name, ..)| name == "over");
    let (_, _, over) = events.last().expect("there is one");
    assert_eq!(over["verdict"], "failed", "{over}");

    let mut html: String = events.iter().filter_map(|(_, _, told)| told["html"].as_str()).collect();
    let open = events.iter().filter_map(|(_, _, told)| told["open"].as_str()).next_back().unwrap_or_default();
    html.push_str(open);
    let page = Html::parse_fragment(&html);
    assert!(select(&page, "script").is_empty());
    let lines = select(&page, "p");
    let link = Selector::parse("a").expect("a selector");
    let mut text = String::new();
    for (number, line) in (1..).zip(&lines) {
        assert_eq!(line.value().id(), Some(&*format!("L{number}")));
        let whole: String = line.text().collect();
        let own: String = line.select(&link).flat_map(|link| link.text()).collect();
        text.push_str(&whole[own.len()..]);
        text.push('\n');
    }
    let plain = log.replace("\x1b[31m", "").replace("\x1b[0m", "");
    assert!(text.trim_end() == plain, "{} bytes were followed, {} written", text.len(), plain.len());

    // Its lines have the same numbers from wherever they are looked at.
    let path = "/packages/alpha/log?which=build&attempt=1";
    // Number and text of the first line that begins at this byte or later.
    let line_at = |offset: usize| {
        let begins = offset - 1 + log[offset - 1..].find('\n').expect("there is more") + 1;
        let text = log[begins..].lines().next().expect("there is more");
        (1 + log[..begins].matches('\n').count(), text.to_owned())
    };
    let near = |part: &str, (number, text): (usize, String)| (part.to_owned(), number, text);
    for (part, number, want) in [
        near("", (20_003, "the end, without a line's".to_owned())),
        near("&line=12345", (12_345, "line 12343 of a build that says a lot".to_owned())),
        near("&offset=0", (1, "<script>alert(1)</script> & \"quotes\"".to_owned())),
        near("&offset=400000", line_at(400_000)),
        near("&offset=400000", line_at(460_000)),
        near("&before=400000", line_at(340_000)),
        near("&before=400000", line_at(399_000)),
    ] {
        let page = Html::parse_document(&farm.http(&format!("{path}{part}"), &[]).text());
        let line = select(&page, &format!("#L{number}")).into_iter().next();
        let line: String = line.unwrap_or_else(|| panic!("no line {number} at {part}")).text().collect();
        assert_eq!(line, format!("{number}{want}"), "{part}");
    }
    // A reader that was cut off goes on where it was.
    let (_, id, _) = &events[0];
    let from = format!("Last-Event-ID: {id}\r\n");
    let mut again = Stream::open(&farm, "/packages/alpha/log/stream?which=build&attempt=1", &from);
    let events = again.until("the end", |(name, ..)| name == "over");
    let (_, next) = id.split_once('-').expect("an offset and a line");
    assert_eq!(events[0].2["first"].to_string(), next);
}
