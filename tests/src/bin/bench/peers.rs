//! What people would move the same bytes with: iperf3 (the wire alone), nginx with curl, rsync.
//!
//! Owns their processes and folders; all end when they are dropped. Loopback only, on ports that were free a
//! moment before.

use std::fmt;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::hub::{bound, cpu_s};
use crate::srpm;

/// How long a server may take to open its port.
const READY: Duration = Duration::from_secs(10);

/// Which way bytes go, as a builder sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the hub.
    Download,
    /// To the hub.
    Upload,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Download => "download",
            Direction::Upload => "upload",
        })
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// What moved.
    pub(crate) bytes: f64,
    /// In which time.
    pub(crate) seconds: f64,
    /// CPU of the side that stands for the hub.
    pub(crate) hub_cpu_s: f64,
    /// CPU of the side that stands for builders.
    pub(crate) builder_cpu_s: f64,
}

/// A server that is killed when dropped.
struct Server(Child, u16);

impl Server {
    /// Starts what `command` makes for a free port and waits until it is open.
    fn start(command: impl FnOnce(u16) -> Command) -> Server {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let mut command = command(port);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Server(child.unwrap_or_else(|why| panic!("cannot start {command:?}: {why}")), port);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let has_ended = !matches!(server.0.try_wait(), Ok(None));
            assert!(!has_ended && began.elapsed() < READY, "{command:?} does not open its port");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    fn cpu_s(&self) -> f64 {
        cpu_s(self.0.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs clients to their end, all at once, and says what it took.
fn clients(server: &Server, bytes: f64, commands: Vec<Command>) -> Sample {
    let (hub, own) = (server.cpu_s(), cpu_s(std::process::id()));
    let began = Instant::now();
    let children: Vec<(String, Child)> = commands
        .into_iter()
        .map(|mut command| {
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            (format!("{command:?}"), child.expect("tests/bench installs the peers"))
        })
        .collect();
    for (command, mut child) in children {
        let status = child.wait().expect("a child can be waited for");
        assert!(status.success(), "{command}: {status}");
    }
    let seconds = began.elapsed().as_secs_f64();
    // What a child of the server used counts for the server once it has waited for it.
    let children = format!("/proc/{0}/task/{0}/children", server.0.id());
    while began.elapsed() < READY && fs::read_to_string(&children).is_ok_and(|text| !text.is_empty()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    Sample { bytes, seconds, hub_cpu_s: server.cpu_s() - hub, builder_cpu_s: cpu_s(std::process::id()) - own }
}

/// iperf3: plain TCP from memory to memory.
pub(crate) struct Iperf(Server);

impl Iperf {
    pub(crate) fn start() -> Iperf {
        Iperf(Server::start(|port| {
            let mut command = bound("iperf3");
            command.args(["-s", "-B", "127.0.0.1", "-p", &port.to_string()]);
            command
        }))
    }

    /// Sends for a second.
    pub(crate) fn run(&self, direction: Direction, streams: usize) -> Sample {
        let mut command = Command::new("iperf3");
        command.args(["-c", "127.0.0.1", "-t", "1", "-J", "-p", &self.0.1.to_string()]);
        command.args(["-P", &streams.to_string()]);
        if direction == Direction::Download {
            command.arg("-R");
        }
        let (hub, own) = (self.0.cpu_s(), cpu_s(std::process::id()));
        let output = command.output().expect("tests/bench installs iperf3");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("iperf3 writes JSON");
        let received = &report["end"]["sum_received"];
        let number = |key: &str| received[key].as_f64().unwrap_or_else(|| panic!("iperf3 said {report}"));
        Sample {
            bytes: number("bytes"),
            seconds: number("seconds"),
            hub_cpu_s: self.0.cpu_s() - hub,
            builder_cpu_s: cpu_s(std::process::id()) - own,
        }
    }
}

/// nginx with one worker, curl as its client. What is uploaded is written but not synced.
pub(crate) struct Nginx {
    aes: Server,
    chacha: Server,
    folder: PathBuf,
    names: Vec<String>,
    bytes: f64,
}

impl Nginx {
    /// Serves `count` new files of `file_bytes` payload below `folder`.
    pub(crate) fn start(folder: &Path, count: usize, file_bytes: u32) -> Nginx {
        let files = folder.join("files");
        fs::create_dir(&files).expect("a folder can be made");
        let names: Vec<String> = (0..count).map(|number| format!("c{number:02}")).collect();
        names.iter().for_each(|name| srpm::write(&files, name, file_bytes).expect("a file can be written"));
        let names: Vec<String> = names.iter().map(|name| srpm::file_name(name)).collect();
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "1",
            ])
            .args(["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(folder)
            .stderr(Stdio::null())
            .status();
        assert!(made.is_ok_and(|status| status.success()), "openssl makes a certificate");
        let [aes, chacha] = [("aes", "TLS_AES_128_GCM_SHA256"), ("chacha", "TLS_CHACHA20_POLY1305_SHA256")]
            .map(|(name, suite)| {
                Server::start(|port| {
                    let conf = folder.join(format!("{name}.conf"));
                    fs::write(&conf, configuration(folder, name, suite, port))
                        .expect("a file can be written");
                    let mut command = bound("nginx");
                    command.arg("-p").arg(folder).arg("-c").arg(conf).args(["-e", "stderr"]);
                    command
                })
            });
        let bytes =
            names.iter().map(|name| fs::metadata(files.join(name)).map_or(0, |meta| meta.len())).sum::<u64>();
        Nginx { aes, chacha, folder: folder.to_owned(), names, bytes: bytes as f64 }
    }

    /// The files that are served.
    pub(crate) fn files(&self) -> &[String] {
        &self.names
    }

    /// One curl moves all files, all at once.
    pub(crate) fn run(&self, direction: Direction, chacha: bool) -> Sample {
        let server = if chacha { &self.chacha } else { &self.aes };
        let mut curl = Command::new("curl");
        curl.args([
            "-sSkf",
            "--no-progress-meter",
            "--noproxy",
            "*",
            "--parallel",
            "--parallel-immediate",
            "--parallel-max",
            "64",
        ]);
        for name in &self.names {
            match direction {
                Direction::Download => {
                    curl.args(["-o", "/dev/null"]).arg(format!("https://127.0.0.1:{}/{name}", server.1))
                }
                Direction::Upload => {
                    let url = format!("https://127.0.0.1:{}/up-{name}", server.1);
                    curl.arg("-T").arg(self.folder.join("files").join(name)).arg(url)
                }
            };
        }
        let sample = clients(server, self.bytes, vec![curl]);
        for name in &self.names {
            // Only uploads left one.
            let _ = fs::remove_file(self.folder.join("files").join(format!("up-{name}")));
        }
        sample
    }
}

fn configuration(folder: &Path, name: &str, suite: &str, port: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/{name}.pid;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; sendfile on; client_max_body_size 0; client_body_temp_path {folder}/{name}-body;\n\
         server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;\n\
         ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites {suite}; root {folder}/files; dav_methods PUT; }} }}\n"
    )
}

/// rsync as a daemon, one client a file, nothing encrypted. What is uploaded is synced (`--fsync`); what is
/// downloaded goes to memory.
pub(crate) struct Rsync {
    server: Server,
    folder: PathBuf,
    memory: tempfile::TempDir,
}

impl Rsync {
    pub(crate) fn start(folder: &Path) -> Rsync {
        let conf = folder.join("rsyncd.conf");
        let text = format!(
            "use chroot = no\nuid = 0\ngid = 0\n[files]\npath = {}/files\nread only = no\n",
            folder.display()
        );
        fs::write(&conf, text).expect("a file can be written");
        let server = Server::start(|port| {
            let mut command = bound("rsync");
            command.args(["--daemon", "--no-detach", "--address=127.0.0.1", &format!("--port={port}")]);
            command.arg(format!("--config={}", conf.display()));
            command
        });
        let memory = tempfile::Builder::new().prefix("moji-bench-").tempdir_in("/dev/shm").expect("a folder");
        Rsync { server, folder: folder.to_owned(), memory }
    }

    /// Moves these files, all at once.
    pub(crate) fn run(&self, direction: Direction, names: &[String]) -> Sample {
        let files = self.folder.join("files");
        let bytes: u64 =
            names.iter().map(|name| fs::metadata(files.join(name)).map_or(0, |meta| meta.len())).sum();
        let command = |name: &String| {
            let mut command = Command::new("rsync");
            let url = |name: &str| format!("rsync://127.0.0.1:{}/files/{name}", self.server.1);
            match direction {
                Direction::Download => command.args(["-W", &url(name)]).arg(self.memory.path()),
                Direction::Upload => {
                    command.args(["-W", "--fsync"]).arg(files.join(name)).arg(url(&format!("up-{name}")))
                }
            };
            command
        };
        let sample = clients(&self.server, bytes as f64, names.iter().map(command).collect());
        for name in names {
            // One of the two is there.
            let _ = fs::remove_file(files.join(format!("up-{name}")));
            let _ = fs::remove_file(self.memory.path().join(name));
        }
        sample
    }
}
