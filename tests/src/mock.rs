//! The stand-in for mock, seen from a test: its cfg file, planned outcomes, and single runs.
//!
//! Owns what is written into a farm for `tests/mini/fake-mock` to read; that script's head
//! names the keys. Must never share chroots between two farms: each has its own basedir, only
//! the root cache is common.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::daemon::{Finished, run_to_end};
use crate::world::{cached_srpm, fake_mock, mini_folder, sources};

/// Longest build a test may run through the stand-in alone.
const BUILD_LIMIT: Duration = Duration::from_secs(180);

/// What mock shall do with one SRPM instead of building it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    keys: Map<String, Value>,
}

impl Outcome {
    /// Leave with `code` (negative: die by that signal); add logs and files to taste.
    pub fn exit(code: i32) -> Self {
        Self::default().with("exit", json!(code))
    }

    /// Build for real, but wait before `rpmbuild -bb` until `gate` exists.
    pub fn build_behind(gate: &Path) -> Self {
        Self::default().gate(gate)
    }

    /// Appends `text` to the log `name` in the result folder.
    #[must_use]
    pub fn log(self, name: &str, text: &str) -> Self {
        self.under("logs", name, text)
    }

    /// Copies the file at `path` into the result folder as `name`.
    #[must_use]
    pub fn file(self, name: &str, path: &Path) -> Self {
        self.under("files", name, &path.display().to_string())
    }

    /// Puts a symbolic link `name` to `target` into the result folder.
    #[must_use]
    pub fn link(self, name: &str, target: &str) -> Self {
        self.under("links", name, target)
    }

    /// What mock says on stderr.
    #[must_use]
    pub fn say(self, text: &str) -> Self {
        self.with("say", json!(text))
    }

    /// Waits, before it leaves, until `path` exists.
    #[must_use]
    pub fn gate(self, path: &Path) -> Self {
        self.with("gate", json!(path))
    }

    /// For the next build only; later ones build for real.
    #[must_use]
    pub fn once(self) -> Self {
        self.with("once", json!(true))
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.keys.insert(key.to_owned(), value);
        self
    }

    fn under(mut self, key: &str, name: &str, value: &str) -> Self {
        let map = self.keys.entry(key).or_insert_with(|| json!({}));
        map[name] = json!(value);
        self
    }

    /// Plans it in `folder` for the SRPM with file name `srpm`; complete at once, for a build
    /// may look at any moment.
    pub fn plan(&self, folder: &Path, srpm: &str) {
        fs::create_dir_all(folder).expect("a folder of outcomes can be made");
        let hidden = folder.join(format!(".{srpm}"));
        fs::write(&hidden, Value::Object(self.keys.clone()).to_string()).expect("a plan is written");
        fs::rename(&hidden, folder.join(format!("{srpm}.json"))).expect("a plan is put in place");
    }
}

/// Writes a cfg file over the mini distribution. `outcomes` are the folders with plans, the
/// first wins; `extra` is Python appended to the file.
pub(crate) fn write_cfg(path: &Path, basedir: &Path, outcomes: &[PathBuf], extra: &str) {
    let mini = mini_folder();
    let template = fs::read_to_string(sources().join("mini/mini.cfg.in")).expect("mini.cfg.in");
    let text = template
        .replace("@OUT@", &mini.display().to_string())
        .replace("@ARCH@", "x86_64")
        .replace("@BASEDIR@", &basedir.display().to_string())
        .replace("@CACHE@", &mini.join("root-cache").display().to_string());
    let text = format!("{text}config_opts['fake_outcomes'] = {}\n{extra}\n", json!(outcomes));
    fs::write(path, text).expect("a cfg file can be written");
}

/// The stand-in with a cfg and a folder of its own, without a farm.
#[derive(Debug)]
pub struct FakeMock {
    folder: tempfile::TempDir,
    runs: std::cell::Cell<u32>,
}

/// One run of the stand-in.
#[derive(Debug)]
pub struct Run {
    /// How it ended and what it said.
    pub ended: Finished,
    /// Names in the result folder with the text of the logs, RPMs without theirs; empty when
    /// there is no such folder.
    pub results: BTreeMap<String, String>,
}

impl Run {
    /// The text of a log, empty when it is not there.
    pub fn log(&self, name: &str) -> &str {
        self.results.get(name).map_or("", String::as_str)
    }

    /// Names of the RPMs that were left.
    pub fn rpms(&self) -> Vec<&str> {
        self.results.keys().filter(|name| name.ends_with(".rpm")).map(String::as_str).collect()
    }

    /// Names of the logs that were left.
    pub fn logs(&self) -> Vec<&str> {
        self.results.keys().filter(|name| name.ends_with(".log")).map(String::as_str).collect()
    }
}

impl Default for FakeMock {
    fn default() -> Self {
        Self::new("")
    }
}

impl FakeMock {
    /// A stand-in whose cfg ends with the Python text `extra`.
    pub fn new(extra: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("moji-mock-").tempdir().expect("a folder");
        let path = folder.path();
        write_cfg(&path.join("mini.cfg"), &path.join("mock"), &[path.join("outcomes")], extra);
        Self { folder, runs: std::cell::Cell::new(0) }
    }

    /// Its folder: `mini.cfg`, `mock` (the chroots) and `outcomes` are in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Plans the outcome of the cached SRPM `name`.
    pub fn outcome(&self, name: &str, outcome: &Outcome) {
        outcome.plan(&self.folder().join("outcomes"), &format!("{name}-1.0-1.src.rpm"));
    }

    /// The command `mock -r CFG --uniqueext=N --resultdir=DIR ARGUMENTS`, and DIR.
    pub fn command(&self, arguments: &[&str]) -> (Command, PathBuf) {
        let number = self.runs.get();
        self.runs.set(number + 1);
        let result = self.folder().join(format!("result{number}"));
        let mut command = Command::new(fake_mock());
        command
            .env("HOME", self.folder())
            .arg("-r")
            .arg(self.folder().join("mini.cfg"))
            .arg(format!("--uniqueext={number}"))
            .arg(format!("--resultdir={}", result.display()))
            .args(arguments);
        (command, result)
    }

    /// Runs it with these arguments to its end.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let (command, result) = self.command(arguments);
        Run { ended: run_to_end(command, BUILD_LIMIT), results: contents(&result) }
    }

    /// Builds the cached SRPM `name`.
    pub fn rebuild(&self, name: &str, arguments: &[&str]) -> Run {
        let srpm = cached_srpm(name).display().to_string();
        self.run(&[arguments, &["--rebuild", &srpm]].concat())
    }
}

impl Drop for FakeMock {
    fn drop(&mut self) {
        crate::processes::sweep(self.folder.path());
    }
}

fn contents(folder: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let bytes = if name.ends_with(".log") { fs::read(entry.path()) } else { Ok(Vec::new()) };
            (name, String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
        })
        .collect()
}
