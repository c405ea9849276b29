//! Who may read the HTTP port, end to end: TLS with a private authority, names and passwords, builders and dnf that find
//! their repository all the same, and nothing on it that changes anything.
//!
//! Owns the view from outside. What single files and limits do is tested where they are read, in `server/src/web/`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use moji_tests::{Farm, Finished, SOON, install_with, read_index, run_to_end};

/// A certificate for this machine and its key, in a folder of their own.
struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Pair {
        let pair = Pair { folder: tempfile::tempdir().expect("a folder") };
        pair.issue();
        pair
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("hub.crt")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("hub.key")
    }

    /// Makes a new one in place of what is there.
    fn issue(&self) {
        let config = self.folder.path().join("openssl.cnf");
        let text = "[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\nbasicConstraints=CA:FALSE\n\
                    subjectAltName=DNS:localhost,IP:127.0.0.1\n";
        fs::write(&config, text).expect("a file");
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args(["-days", "100", "-subj", "/CN=localhost", "-config"]).arg(config);
        command.arg("-keyout").arg(self.key()).arg("-out").arg(self.cert());
        let ended = run_to_end(command, SOON);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }

    fn args(&self) -> [String; 4] {
        let [cert, key] = [self.cert(), self.key()].map(|path| path.display().to_string());
        ["--http-cert".to_owned(), cert, "--http-key".to_owned(), key]
    }
}

/// anna, whose password is `open sesame`.
const NAMES: &str = "anna:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

fn write_names(folder: &Path) -> String {
    let file = folder.join("names");
    fs::write(&file, NAMES).expect("a file");
    file.display().to_string()
}

fn hub_log(farm: &Farm) -> String {
    fs::read_to_string(farm.path().join("hub.log")).expect("the hub's log")
}

/// What curl says.
fn curl(words: &[&str]) -> Finished {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*"]).args(words);
    run_to_end(command, SOON)
}

#[test]
fn builders_and_dnf_use_a_repository_that_asks_for_tls_and_a_password() {
    let pair = Pair::new();
    let names = write_names(pair.folder.path());
    let cert = pair.cert().display().to_string();
    // A private authority, as a board's configuration names it.
    let trust = format!(
        "config_opts['dnf.conf'] = config_opts['dnf.conf'].replace('[main]', '[main]\\nsslcacert={cert}')\n"
    );
    let args = pair.args().into_iter().chain(["--http-auth".to_owned(), names]);
    let farm = Farm::plan().hub_args(args).cfg(&trust).start();
    farm.drop_srpm("pkga");
    farm.wait_finished("pkga");
    // It needs what is in the repository only.
    farm.drop_srpm("pkgb");
    farm.wait_finished("pkgb");
    assert_eq!(farm.result_json("pkgb-1.0-1")["verdict"], "success", "{}", farm.diagnosis());

    let url = farm.repo_url().to_owned();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let install = |more: &str| {
        let lines = format!("gpgcheck=0\n{more}");
        install_with(farm.path(), &url, &lines, &["pkgb"]).map(|_| ())
    };
    let login = "username=anna\npassword=open sesame";
    assert_eq!(install(&format!("sslcacert={cert}\n{login}")), Ok(()));
    assert!(install(login).is_err(), "nobody vouches for the certificate");
    assert!(install(&format!("sslcacert={cert}")).is_err(), "no password");
    assert!(install(&format!("sslcacert={cert}\nusername=anna\npassword=close")).is_err());

    let plain = farm.http("/repo/", &[]);
    assert_eq!(plain.status, 400, "{}", plain.text());
    assert!(plain.text().contains("https://"), "{}", plain.text());
    let shown = curl(&["--cacert", &cert, "-u", "anna:open sesame", &url]);
    assert!(shown.stdout.contains(&format!("baseurl={url}")), "{}{}", shown.stdout, shown.stderr);
    let health = url.replace("/repo/", "/healthz");
    assert_eq!(curl(&["--cacert", &cert, &health]).stdout, "ok\n");
    assert!(hub_log(&farm).contains("wrong password of anna"), "{}", hub_log(&farm));
    assert!(!hub_log(&farm).contains("close"));
}

#[test]
fn a_renewed_certificate_is_served_after_a_hangup_and_a_broken_one_is_not() {
    let pair = Pair::new();
    let mut farm = Farm::plan().builders(0).hub_args(pair.args()).start();
    let url = farm.repo_url().to_owned();
    let trusts = |cert: &Path| curl(&["--cacert", &cert.display().to_string(), &url]).code == 0;
    let old = pair.folder.path().join("old");
    fs::copy(pair.cert(), &old).expect("a copy");
    assert!(trusts(&old));
    pair.issue();
    farm.hub().signal(nix::sys::signal::Signal::SIGHUP);
    farm.wait_until("the new certificate", SOON, |_| trusts(&pair.cert()));
    assert!(!trusts(&old));
    fs::write(pair.key(), "nonsense").expect("a file");
    farm.hub().signal(nix::sys::signal::Signal::SIGHUP);
    farm.wait_hub_says("the certificate of the HTTP port stays as it was");
    assert!(trusts(&pair.cert()));
}

#[test]
fn a_hub_does_not_start_with_files_that_it_cannot_use() {
    let (pair, other) = (Pair::new(), Pair::new());
    let farm = Farm::plan().nothing_started().start();
    let [cert, key, wrong] = [pair.cert(), pair.key(), other.key()].map(|path| path.display().to_string());
    let names = pair.folder.path().join("names");
    fs::write(&names, "anna:$apr1$abcdefgh$0123456789012345678901\n").expect("a file");
    let names = names.display().to_string();
    for (args, code, want) in [
        (vec!["--http-cert", &cert, "--http-key", &wrong], 6, format!("{wrong}: is not the key of")),
        (vec!["--http-cert", "/none", "--http-key", &key], 6, "/none: No such file".to_owned()),
        (vec!["--http-cert", &cert], 2, "  --http-key <FILE>".to_owned()),
        (vec!["--http-auth", &names], 6, format!("{names}: line 1: the password of anna is hashed with MD5")),
        (vec!["--http", "off", "--http-auth", &names], 2, "leaves nothing".to_owned()),
    ] {
        let mut command = farm.hub_command();
        command.args([farm.source(), farm.working(), farm.finished(), farm.repo()]);
        command.args(["--listen", "127.0.0.1:0"]).arg("--state").arg(farm.state());
        if !args.contains(&"--http") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        command.args(&args);
        let ended = run_to_end(command, SOON);
        assert_eq!(ended.code, code, "{args:?}: {}", ended.stderr);
        let said =
            ended.stderr.lines().filter(|line| line.contains(&want) && !line.starts_with("Usage")).count();
        assert_eq!(said, 1, "{args:?}: no {want:?} in {}", ended.stderr);
    }
}

/// All files below a folder with their length and time.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u64, Option<std::time::SystemTime>)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let meta = entry.metadata().expect("it is there");
            if meta.is_dir() {
                folders.push(entry.path());
            }
            all.insert(entry.path(), (meta.len(), meta.modified().ok()));
        }
    }
    all
}

/// Sends a request and reads what comes, to the end.
fn send(addr: SocketAddr, method: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(addr).expect("the hub is there");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    stream.write_all(head.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    // Reset, where the hub does not care for the rest.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn nothing_on_the_http_port_changes_anything() {
    let farm = Farm::plan().builders(1).start();
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    // The last thing that the hub does by itself.
    farm.wait_until("the index of everything", SOON, |farm| {
        read_index(&farm.repo().join("repodata")).is_ok_and(|published| published.len() == 2)
    });
    let described: serde_json::Value =
        serde_json::from_slice(&farm.http("/api/v1/openapi.json", &[]).body).expect("JSON");
    let paths = described["paths"].as_object().expect("paths").keys();
    let mut targets: Vec<String> = paths.map(|path| path.replace("{name}", "hello-1.0-1.src.rpm")).collect();
    assert!(targets.len() >= 10, "{targets:?}");
    targets.extend(
        [
            "/",
            "/builders",
            "/builders/builder0",
            "/packages",
            "/packages/hello-1.0-1.src.rpm",
            "/packages/hello-1.0-1.src.rpm/log",
            "/packages/hello-1.0-1.src.rpm/log/stream",
            "/history",
            "/repository",
            "/repository/moji.repo",
            "/events?page=/",
            "/static/moji.css",
            "/favicon.svg",
            "/metrics",
            "/healthz",
            "/api/",
            "/api/v1/openapi.json",
            "/repo/",
            "/repo/hello-1.0-1/build.log",
            "/repo/new",
            "/tier/recent/repodata/repomd.xml",
            "/tier/base/new",
            "/none",
        ]
        .map(str::to_owned),
    );
    let folders = [farm.source(), farm.working(), farm.finished(), farm.repo()];
    let before: Vec<_> = folders.iter().map(|folder| tree(folder)).collect();
    let events = farm.http("/api/v1/events", &[]).text();
    let addr = farm.repo_url().trim_start_matches("http://").split('/').next().expect("an address");
    let addr: SocketAddr = addr.parse().expect("an address");
    for target in &targets {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "MOVE"] {
            let answer = send(addr, method, target);
            assert!(answer.starts_with("HTTP/1.1 405 "), "{method} {target}: {answer}");
            assert!(
                answer.to_ascii_lowercase().contains("\r\nallow: get, head\r\n"),
                "{method} {target}: {answer}"
            );
        }
    }
    let after: Vec<_> = folders.iter().map(|folder| tree(folder)).collect();
    assert_eq!(before, after);
    assert_eq!(farm.http("/api/v1/events", &[]).text(), events, "nor did anything happen");
}

#[test]
fn pages_that_follow_the_farm_leave_room_for_boards() {
    /// What `live.rs` allows.
    const STREAMS: usize = 512;
    let farm = Farm::plan().builders(0).start();
    let addr: SocketAddr =
        farm.repo_url()["http://".len()..].split('/').next().expect("a host").parse().expect("it");
    let mut open = Vec::new();
    let mut refused = None;
    for number in 0..=STREAMS {
        let from = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + number / 200).expect("few"));
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddrV4::new(from, 0).into()).expect("an address of loopback");
        socket.connect(&addr.into()).expect("the hub is there");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.write_all(b"GET /events?page=%2F HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        match &answer {
            b"HTTP/1.1 200" => open.push(stream),
            other => refused = Some((number, String::from_utf8_lossy(other).into_owned())),
        }
    }
    assert_eq!(refused, Some((STREAMS, "HTTP/1.1 503".to_owned())));
    assert_eq!(farm.http("/tier/recent/repodata/repomd.xml", &[]).status, 200);
    assert_eq!(farm.http("/", &[]).status, 200);
}
