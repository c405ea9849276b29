//! Repositories for tests: folders, and a web server for one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

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
    publish_with(folder, list, None, None);
}

/// Writes a repository of these files.
pub(super) fn publish_with(folder: &Path, list: &[u8], filelists: Option<&[u8]>, groups: Option<&[u8]>) {
    std::fs::create_dir_all(folder.join("repodata")).unwrap();
    let file = |part: Part, bytes: &[u8]| {
        let name = format!("{}.xml.gz", part.name());
        std::fs::write(folder.join("repodata").join(&name), bytes).unwrap();
        DataFile {
            part,
            name,
            sha256: Sha256::digest(bytes).into(),
            bytes: bytes.len() as u64,
            open_sha256: None,
            open_bytes: 1,
            unix_s: 1,
        }
    };
    let mut files = vec![file(Part::Primary, list)];
    files.extend(filelists.map(|bytes| file(Part::Filelists, bytes)));
    let groups = groups.map(|bytes| {
        std::fs::write(folder.join("repodata/comps.xml"), bytes).unwrap();
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "<data type=\"group\"><checksum type=\"sha256\">{digest}</checksum><location \
             href=\"repodata/comps.xml\"/></data>"
        )
    });
    let groups: Vec<String> = groups.into_iter().collect();
    std::fs::write(folder.join("repodata/repomd.xml"), repomd(1, &files, &groups)).unwrap();
}

pub(super) fn gzip(text: &str) -> Vec<u8> {
    crate::repodata::Compression::Gzip.member(text.as_bytes())
}

/// What a server says of one path.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The file, with an `ETag` of its digest.
    File(Vec<u8>),
    /// This status and these headers.
    Other(&'static str),
    /// So many bytes of the file, then the connection ends.
    Cut(Vec<u8>, usize),
}

/// A web server on loopback.
pub(super) struct Server {
    pub(super) url: String,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/os/", listener.local_addr().unwrap());
        let (answers, asked) = (Arc::<Mutex<BTreeMap<String, Answer>>>::default(), Arc::default());
        let server = Server { url, answers, asked };
        let (answers, asked) = (server.answers.clone(), server.asked.clone());
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &answers, &asked);
            }
        });
        server
    }

    /// Serves this list of packages.
    pub(super) fn publish(&self, list: &[u8]) {
        let folder = tempfile::tempdir().unwrap();
        publish(folder.path(), list);
        self.publish_folder(folder.path());
    }

    /// Serves this list of packages, with these of files and groups.
    pub(super) fn publish_with(&self, list: &[u8], filelists: &[u8], groups: &[u8]) {
        let folder = tempfile::tempdir().unwrap();
        publish_with(folder.path(), list, Some(filelists), Some(groups));
        self.publish_folder(folder.path());
    }

    fn publish_folder(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder.join("repodata")).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("repodata/{}", path.file_name().unwrap().to_str().unwrap());
            self.set(&name, Answer::File(std::fs::read(path).unwrap()));
        }
    }

    pub(super) fn set(&self, name: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(format!("/os/{name}"), answer);
    }

    pub(super) fn file(&self, name: &str) -> Vec<u8> {
        match &self.answers.lock().unwrap()[&format!("/os/{name}")] {
            Answer::File(bytes) => bytes.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn set_elsewhere(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// What was asked for since the last time, each with the status that it was answered with.
    pub(super) fn asked(&self) -> Vec<String> {
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
    let mut if_none_match = None;
    for line in lines.by_ref() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("if-none-match")
        {
            if_none_match = Some(value.to_owned());
        }
    }
    let answer = answers.lock().unwrap().get(&path).cloned();
    let (head, body) = match &answer {
        Some(Answer::File(bytes) | Answer::Cut(bytes, _)) => {
            let etag = format!("\"{:02x?}\"", &Sha256::digest(bytes)[..4]);
            if if_none_match.as_deref() == Some(&etag) {
                (format!("304 Not Modified\r\nETag: {etag}"), &[][..])
            } else {
                let until = if let Some(Answer::Cut(_, until)) = answer { until } else { bytes.len() };
                let head = format!("200 OK\r\nETag: {etag}\r\nContent-Length: {}", bytes.len());
                (head, &bytes[..until])
            }
        }
        Some(Answer::Other(head)) => ((*head).to_owned(), &[][..]),
        None => ("404 Not Found\r\nContent-Length: 0".to_owned(), &[][..]),
    };
    asked.lock().unwrap().push(format!("{path} {}", &head[..3]));
    let mut stream = stream;
    stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes())?;
    stream.write_all(body)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // Closed with something unread, it would be reset.
    std::io::copy(&mut stream.take(1 << 16), &mut std::io::sink())?;
    Ok(())
}
