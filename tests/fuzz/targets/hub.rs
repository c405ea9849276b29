//! What the hub reads beside packages: its own files after somebody changed them, other people's repositories, and what
//! a browser asks.
//!
//! Owns what must hold of any bytes: no file of the hub's own can stop it, and every question has an answer.

use std::fs;
use std::sync::{Arc, OnceLock};

use crossbeam_channel::unbounded;
use moji_proto::Digest;
use moji_server::clock;
use moji_server::decision;
use moji_server::disk::{Folders, Real};
use moji_server::history::History;
use moji_server::journal;
use moji_server::mainline::fuzzing as foreign;
use moji_server::repodata::{decode_piece, decode_provided, needs};
use moji_server::result_json::ResultJson;
use moji_server::web::fuzzing::Service;
use moji_server::web::{Access, Bridge, Setup};

use super::texts::folder;

/// Reads `data` as each of the files by which the hub knows after a start what was.
pub(crate) fn state(data: &[u8]) {
    let folder = folder();
    if let Ok(read) = serde_json::from_slice::<ResultJson>(data) {
        let text = serde_json::to_vec(&read).expect("it always encodes");
        assert_eq!(serde_json::from_slice::<ResultJson>(&text).ok(), Some(read));
    }
    fs::write(folder.join(decision::FILE_NAME), data).expect("an input is written");
    if let Ok(Some(decided)) = decision::read(&Real, folder) {
        let _ = decision::word(decided.decision);
    }
    journal_of(data);
    // And with checks that are true.
    let line = |line: &[u8]| [&Digest::of(line).to_string().as_bytes()[..8], b" ", line, b"\n"].concat();
    journal_of(&data.split(|byte| *byte == b'\n').flat_map(line).collect::<Vec<_>>());
    let _ = decode_provided(data);
    if let Ok(groups) = decode_piece(data) {
        for group in groups {
            let _ = group.unseal();
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = needs(text);
    }
}

fn journal_of(data: &[u8]) {
    fs::write(folder().join(journal::FILE_NAME), data).expect("an input is written");
    let loaded = journal::load(&Real, folder()).expect("a journal is read whatever it says");
    assert!(loaded.torn_bytes <= data.len() as u64);
    let lines = data.iter().filter(|byte| **byte == b'\n').count();
    assert!(loaded.records.len() + loaded.damaged.len() <= lines + 1);
    let (grants, ended) = journal::fold(loaded.records);
    assert!(ended.keys().all(|lease| !grants.contains_key(lease)), "no lease is live and ended");
    let beside = grants.values().filter_map(|grant| grant.beside);
    assert!(beside.into_iter().all(|main| grants.contains_key(&main)), "beside a lease that is over");
}

/// Reads `data` as a mirror's `repomd.xml` and as its `primary`, packed or not.
pub(crate) fn mainline(data: &[u8]) {
    let _ = foreign::repomd(data);
    let any = foreign::primary(data, None);
    let one = foreign::primary(data, Some("armv5tel"));
    assert_eq!(any.is_some(), one.is_some(), "the target decides what counts, not what can be read");
    assert!(one <= any);
}

/// Asks for `data` as path and query behind each of a few beginnings. Nobody answers for the queue, as in a hub that stops.
pub(crate) fn api(data: &[u8]) {
    let (target, header) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &b""[..]),
    };
    let headers =
        [("if-none-match", header), ("range", header), ("host", header), ("accept-encoding", header)];
    let headers = if header.is_empty() { &headers[..0] } else { &headers[..] };
    for beginning in ["/", "/api/v1/"] {
        let target = [beginning.as_bytes(), target].concat();
        let Some((status, body)) = service().get(&target, headers) else { continue };
        assert!(
            status != 500 && (200..600).contains(&status),
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        let is_error = beginning != "/" && status >= 400;
        assert!(!is_error || std::str::from_utf8(&body).is_ok(), "an error is in words");
    }
}

fn service() -> &'static Service {
    static SERVICE: OnceLock<Service> = OnceLock::new();
    SERVICE.get_or_init(|| {
        let folders = ["source", "working", "finished", "repo", "hub"].map(|name| folder().join(name));
        for folder in &folders {
            fs::create_dir_all(folder).expect("a folder of the hub");
        }
        fs::create_dir_all(folders[3].join("a-1-1")).expect("a result's folder");
        fs::write(folders[3].join("a-1-1/build.log"), "one\ntwo\n").expect("a log");
        drop(History::open(&folders[4]).expect("a history"));
        let [source, working, finished, repo, state] = folders;
        let bridge = Bridge::default();
        bridge.end();
        let setup = Setup {
            folders: Folders { source, working, finished, repo, state },
            disk: Arc::new(Real),
            clock: Arc::new(clock::Real::default()),
            desk: unbounded().0,
            bridge,
            signatures: None,
            repo_url: None,
            thin: None,
            access: Access::default(),
        };
        Service::new(setup).expect("a service can be made")
    })
}
