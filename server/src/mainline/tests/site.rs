//! Repositories for tests: folders, and a web server for one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use sha2::{Digest as _, Sha256};

use crate::repodata::{DataFile, Part, repomd};

/// A package in few words.
#[derive(Clone, Debug)]
pub(in super::super) struct Sketch {
    pub(in super::super) name: String,
    pub(in super::super) version: String,
    pub(in super::super) arch: &'static str,
    pub(in super::super) provides: Vec<String>,
    pub(in super::super) files: Vec<String>,
}

impl Sketch {
    pub(in super::super) fn new(name: &str, version: &str) -> Sketch {
        let (name, version) = (name.to_owned(), version.to_owned());
        Sketch { name, version, arch: "noarch", provides: Vec::new(), files: Vec::new() }
    }

    /// What it is in a list.
    pub(in super::super) fn text(&self) -> String {
        let Sketch { name, version, arch, provides, files } = self;
        let mut text = format!(
            "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>{arch}</arch>\n  \
             <version epoch=\"0\" ver=\"{version}\" rel=\"1\"/>\n  \
             <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>\n  <summary>Some text of {name}</summary>\n  \
             <description>A description that is longer than the summary of {name}, over\nsome lines.</description>\n  \
             <location href=\"Packages/{name}-{version}-1.{arch}.rpm\"/>\n  <format>\n    <rpm:provides>\n",
            "ab".repeat(32),
        );
        writeln!(
            text,
            "      <rpm:entry name=\"{name}\" flags=\"EQ\" epoch=\"0\" ver=\"{version}\" rel=\"1\"/>"
        )
        .unwrap();
        provides.iter().for_each(|name| writeln!(text, "      <rpm:entry name=\"{name}\"/>").unwrap());
        text.push_str("    </rpm:provides>\n    <rpm:requires>\n");
        provides.iter().for_each(|name| writeln!(text, "      <rpm:entry name=\"{name}\"/>").unwrap());
        text.push_str("    </rpm:requires>\n");
        files.iter().for_each(|file| writeln!(text, "    <file>{file}</file>").unwrap());
        text.push_str("  </format>\n</package>\n");
        text
    }
}

/// A list of packages.
pub(in super::super) fn primary(packages: &[Sketch]) -> String {
    let all: String = packages.iter().map(Sketch::text).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">\n{all}</metadata>\n",
        packages.len()
    )
}

/// Writes a repository whose list of packages is this file.
pub(super) fn publish(folder: &Path, list: &[u8]) {
    let file = DataFile {
        part: Part::Primary,
        name: "primary.xml.gz".to_owned(),
        sha256: Sha256::digest(list).into(),
        bytes: list.len() as u64,
        open_sha256: None,
        open_bytes: 1,
        unix_s: 1,
    };
    std::fs::create_dir_all(folder.join("repodata")).unwrap();
    std::fs::write(folder.join("repodata/primary.xml.gz"), list).unwrap();
    std::fs::write(folder.join("repodata/repomd.xml"), repomd(1, &[file], &[])).unwrap();
}

pub(super) fn gzip(text: &str) -> Vec<u8> {
    crate::repodata::Compression::Gzip.member(text.as_bytes())
}

/// What a server says of one path.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The file, or the part of it that is asked for, with an `ETag` of its digest.
    File(Vec<u8>),
    /// This status and these headers.
    Other(&'static str),
    /// So many bytes of the file, then the connection ends.
    Cut(Vec<u8>, usize),
    /// The file up to so many bytes, and the rest once the gate opens.
    Held(Vec<u8>, usize, Gate),
    /// The file, whatever part is asked for.
    Whole(Vec<u8>),
}

/// Closed until somebody opens it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut is_open = self.0.0.lock().unwrap();
        while !*is_open {
            is_open = self.0.1.wait(is_open).unwrap();
        }
    }
}

/// A web server on loopback.
pub(crate) struct Server {
    pub(crate) url: String,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/os/", listener.local_addr().unwrap());
        let (answers, asked) = (Arc::<Mutex<BTreeMap<String, Answer>>>::default(), Arc::default());
        let server = Server { url, answers, asked };
        let (answers, asked) = (server.answers.clone(), server.asked.clone());
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, asked) = (answers.clone(), asked.clone());
                std::thread::spawn(move || answer(stream, &answers, &asked));
            }
        });
        server
    }

    /// Serves this list of packages.
    pub(super) fn publish(&self, list: &[u8]) {
        let folder = tempfile::tempdir().unwrap();
        publish(folder.path(), list);
        for name in ["repodata/primary.xml.gz", "repodata/repomd.xml"] {
            self.set(name, Answer::File(std::fs::read(folder.path().join(name)).unwrap()));
        }
    }

    pub(crate) fn set(&self, name: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(format!("/os/{name}"), answer);
    }

    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        match &self.answers.lock().unwrap()[&format!("/os/{name}")] {
            Answer::File(bytes) => bytes.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn set_elsewhere(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// What was asked for since the last time, each with the status that it was answered with.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn answer(
    stream: TcpStream,
    answers: &Mutex<BTreeMap<String, Answer>>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut if_none_match, mut from) = (None, None);
    for line in lines.by_ref() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(": ") else { continue };
        match &*name.to_ascii_lowercase() {
            "if-none-match" => if_none_match = Some(value.to_owned()),
            "range" => {
                from = value.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse().ok())
            }
            _ => {}
        }
    }
    let answer = answers.lock().unwrap().get(&path).cloned();
    let (head, body) = match &answer {
        Some(
            Answer::File(bytes) | Answer::Cut(bytes, _) | Answer::Held(bytes, ..) | Answer::Whole(bytes),
        ) => {
            let etag = format!("\"{:02x?}\"", &Sha256::digest(bytes)[..4]);
            let from = from.filter(|_| !matches!(answer, Some(Answer::Whole(_))));
            let all = bytes.len();
            if if_none_match.as_deref() == Some(&etag) {
                (format!("304 Not Modified\r\nETag: {etag}"), &[][..])
            } else if let Some(from) = from {
                let head = format!(
                    "206 Partial Content\r\nETag: {etag}\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{all}",
                    all - from,
                    all - 1
                );
                (head, &bytes[from..])
            } else {
                (format!("200 OK\r\nETag: {etag}\r\nContent-Length: {all}"), &bytes[..])
            }
        }
        Some(Answer::Other(head)) => ((*head).to_owned(), &[][..]),
        None => ("404 Not Found\r\nContent-Length: 0".to_owned(), &[][..]),
    };
    asked.lock().unwrap().push(format!("{path} {}", &head[..3]));
    let mut stream = stream;
    stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes())?;
    match &answer {
        Some(Answer::Cut(_, until)) => stream.write_all(&body[..body.len().min(*until)])?,
        Some(Answer::Held(_, until, gate)) => {
            let (now, then) = body.split_at(body.len().min(*until));
            stream.write_all(now)?;
            gate.pass();
            stream.write_all(then)?;
        }
        _ => stream.write_all(body)?,
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // Closed with something unread, it would be reset.
    std::io::copy(&mut stream.take(1 << 16), &mut std::io::sink())?;
    Ok(())
}
