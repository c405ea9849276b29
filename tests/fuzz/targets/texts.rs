//! Texts that people and builds write: the two lists, logs, configuration and the files of a client's state.
//!
//! Owns what must hold of any text: what does not count is told, what counts is within bounds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use moji_client::settings::{arch, parse_hub};
use moji_client::shim::{evidence_of, phase_of};
use moji_client::state::StateFolder;
use moji_proto::limits::{EVIDENCE_MAX, OPTIONS_MAX};
use moji_proto::message::{Backend, Exit, Phase, Which};
use moji_proto::secret::{Secret, Token};
use moji_proto::{FileName, Line, PublicKey};
use moji_server::core::queue::glob::matches;
use moji_server::core::queue::owners::Owners;
use moji_server::core::queue::verdict::{Context, judge};
use moji_server::core::types::{Peak, Report};
use moji_server::keys::parse_builders;
use moji_server::lists::{Place, check_options, edit_options, edit_priority, parse_options, parse_priority};
use moji_server::rpmfile::Nevra;

/// What separates the parts of an input that is several files.
const BETWEEN: u8 = 0;

/// A folder in memory that is this process's own.
pub(super) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = place.join(format!("moji-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for an input's files");
        folder
    })
}

/// Reads `data` as `priority.txt` and `options.txt`, and edits both as operators do.
pub(crate) fn lists(data: &[u8]) {
    let names = parse_priority(data);
    assert!(names.iter().all(|name| name.ends_with(".src.rpm") || name.ends_with(".nosrc.rpm")));
    let text = String::from_utf8_lossy(data);
    let ours: Vec<FileName> =
        ["a-1-1.src.rpm", "b-1-1.src.rpm"].iter().filter_map(|name| FileName::new(*name).ok()).collect();
    for place in [Place::First, Place::Last] {
        let edited = parse_priority(edit_priority(&text, &ours, place).as_bytes());
        assert!(ours.iter().all(|name| edited.iter().any(|line| line == name.as_str())), "{edited:?}");
    }
    let (rules, _) = parse_options(data);
    for rule in &rules {
        assert!(!rule.words.is_empty() && rule.words.len() <= usize::from(OPTIONS_MAX));
        assert_eq!(check_options(&rule.words), Ok(()), "{rule:?}");
        let _ = matches(&rule.glob, "gcc-13.2-1.src.rpm");
        let again = edit_options("", &rule.glob, &rule.words);
        if !rule.glob.is_empty() && !rule.glob.contains(['\n', '\r']) {
            let (read, bad) = parse_options(again.as_bytes());
            assert!(bad.is_empty() && read.len() <= 1, "{again:?} from {rule:?}");
        }
    }
}

/// Reads `data` as an exit code and the four logs of a build, which a builder sends lines of and the hub judges.
pub(crate) fn logs(data: &[u8]) {
    let [code, logs @ ..] = data else { return };
    let folder = folder();
    let mut parts = logs.split(|byte| *byte == BETWEEN);
    for which in Which::ALL {
        fs::write(folder.join(which.file_name()), parts.next().unwrap_or_default())
            .expect("a log is written");
    }
    let exit = match code {
        250 => Exit::NotStarted,
        251 => Exit::Silent(60),
        252 => Exit::Signal(9),
        code => Exit::Code(*code),
    };
    let evidence: Vec<(Which, Line)> = evidence_of(folder, exit);
    assert!(evidence.len() <= usize::from(EVIDENCE_MAX));
    let phase = phase_of(folder).unwrap_or(Phase::Init);
    let text = |text: &str| text.to_owned();
    let (name, version, release, arch) = (text("a"), text("1"), text("1"), text("src"));
    let report = Report {
        source: Nevra { name, epoch: 0, version, release, arch },
        exit,
        phase,
        backend: Backend::Mock,
        seconds: 1,
        oom_kills: 0,
        silence_s: 0,
        peak: Peak::default(),
        evidence,
        files: Vec::new(),
        defect: None,
    };
    let owners = Owners::default();
    let context = Context { target: Some("armv5tel"), builder_arch: "armv5tel", srpm: None, owners: &owners };
    let first = judge(&report, &context);
    assert_eq!(judge(&report, &context), first, "the same report, the same word");
}

/// Reads `data` as each of the small files that people hand out: lists of builders, secrets, mock's configuration, and
/// as what a client keeps.
pub(crate) fn config(data: &[u8]) {
    let folder = folder();
    let text = String::from_utf8_lossy(data);
    if let Ok(listed) = parse_builders(&text) {
        for one in listed {
            assert_eq!(one.key.to_string().parse::<PublicKey>().ok(), Some(one.key));
            assert!(!one.name.is_empty());
        }
    }
    let line = text.lines().next().unwrap_or_default();
    if let Ok(token) = Token::parse(line) {
        assert_eq!(Token::parse(&token.to_text()).map(|token| token.hub_key).ok(), Some(token.hub_key));
    }
    if let Ok(secret) = Secret::parse(line) {
        let _ = (secret.hub_key(), secret.is_short());
    }
    if let Ok((host, port)) = parse_hub(line) {
        assert!(!host.is_empty() && port != 0);
    }
    let file = folder.join("a.cfg");
    fs::write(&file, data).expect("an input is written");
    assert!(FileName::new(arch(Some(&file))).is_ok());
    let state = StateFolder::create(&folder.join("state")).expect("a client's state");
    for name in ["released", "known_hub", "known-hub", "status"] {
        fs::write(folder.join("state").join(name), data).expect("an input is written");
    }
    let _ = (state.released(), state.known_hub(), state.status());
}
