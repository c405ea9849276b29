//! What a test sees of its farm, and how it waits for it.
//!
//! Owns every look at folders, results, HTTP, processes and logs of a [`Farm`], and the diagnosis
//! a failing test ends with. Must never change anything in the farm (dnf's installroots aside).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::SOON;
use crate::dnf::{self, Installed};
use crate::farm::{Farm, file_name};
use crate::http::{self, Response};
use crate::processes::{Process, mounts_under, processes_of};
use crate::world::{fake_mock, poll_until};

/// Lines of each log in a diagnosis: enough for a story of a few packages.
const DIAGNOSIS_LINES: usize = 80;
/// Files of the tree in a diagnosis.
const DIAGNOSIS_FILES: usize = 200;

impl Farm {
    /// The folders of `source`, `working`, `finished` that hold this package now.
    pub fn places(&self, name: &str) -> Vec<&'static str> {
        let file = file_name(name);
        ["source", "working", "finished"]
            .into_iter()
            .filter(|place| self.path().join(place).join(&file).symlink_metadata().is_ok())
            .collect()
    }

    /// Whether the package is in that one of the three folders.
    pub fn is_in(&self, place: &str, name: &str) -> bool {
        self.places(name).contains(&place)
    }

    /// The folder invariant: the package is in exactly one of the three.
    ///
    /// # Panics
    /// When it is not, with a diagnosis. A look that falls between the two system calls of the
    /// test's own reading is repeated once.
    pub fn assert_one_place(&self, name: &str) {
        let one = || self.places(name).len() == 1;
        assert!(one() || one(), "{name} is in {:?}\n{}", self.places(name), self.diagnosis());
    }

    /// `result.json` of `repo/NVR/`.
    ///
    /// # Panics
    /// When it is missing or not JSON, with a diagnosis.
    pub fn result_json(&self, nvr: &str) -> Value {
        let path = self.repo().join(nvr).join("result.json");
        fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_else(|| panic!("no good {}\n{}", path.display(), self.diagnosis()))
    }

    /// The result folders of a package, sorted: `NVR`, `NVR@2`, and so on.
    pub fn results(&self, nvr: &str) -> Vec<String> {
        let again = format!("{nvr}@");
        let mut found = names(&self.repo());
        found.retain(|name| name == nvr || name.starts_with(&again));
        found
    }

    /// Names of the files in `repo/FOLDER/`, sorted.
    pub fn files_of(&self, folder: &str) -> Vec<String> {
        names(&self.repo().join(folder))
    }

    /// GET of `target` from the hub's HTTP port exactly as written, with extra header lines.
    ///
    /// # Panics
    /// When there is no HTTP answer.
    pub fn http(&self, target: &str, headers: &[&str]) -> Response {
        let addr = self.ready().http.expect("the hub's repository is on its own HTTP");
        http::get(addr, target, headers)
            .unwrap_or_else(|why| panic!("GET {target}: {why}\n{}", self.diagnosis()))
    }

    /// Installs packages with real dnf from the hub's repository over HTTP into a fresh root.
    ///
    /// # Errors
    /// What dnf said when it failed.
    pub fn install(&self, packages: &[&str]) -> Result<Installed, String> {
        dnf::install(self.path(), self.repo_url(), packages)
    }

    /// Every living process of the farm: daemons, shims, mock and what runs in its chroots.
    pub fn processes(&self) -> Vec<Process> {
        processes_of(self.path())
    }

    /// The mock processes of the farm, one for each build that runs.
    pub fn mocks(&self) -> Vec<Process> {
        let program = fake_mock().display().to_string();
        let mut found = self.processes();
        // The shim's words may name mock as well; mock's own begin with its interpreter. A client that
        // starts asks mock for the place of its chroots: that is no build.
        found.retain(|process| {
            process.command.contains("python")
                && process.command.split(' ').nth(1) == Some(program.as_str())
                && process.command.contains(" --rebuild ")
        });
        // A child that mock has forked has mock's words until it executes its program.
        let all: Vec<i32> = found.iter().map(|process| process.pid).collect();
        found.retain(|process| !all.contains(&process.parent));
        found
    }

    /// Mount points of the host under the farm's folder.
    pub fn mounts(&self) -> Vec<PathBuf> {
        mounts_under(self.path())
    }

    // --- waiting ---

    /// Waits until `holds`.
    ///
    /// # Panics
    /// When it does not within `limit`: with all logs and folders.
    pub fn wait_until(&self, what: &str, limit: Duration, mut holds: impl FnMut(&Self) -> bool) {
        if !poll_until(limit, || holds(self)) {
            panic!("waited {limit:?} in vain for {what}\n{}", self.diagnosis());
        }
    }

    /// Waits until the package is in `finished/` and in no other folder, and then for the hub to say so:
    /// its line follows the file, and tests count lines.
    ///
    /// # Panics
    /// When that takes longer than [`SOON`].
    pub fn wait_finished(&self, name: &str) {
        let what = format!("{name} in finished/");
        self.wait_until(&what, SOON, |farm| farm.places(name) == ["finished"]);
        // A hub that was killed in between never says it: then the file alone has to do.
        poll_until(LINE_FOLLOWS, || {
            self.hub.as_ref().is_none_or(|hub| has_word_after_lease(&hub.log_text(), name))
        });
    }

    /// Waits until the hub's log (since its last start) contains `text`.
    ///
    /// # Panics
    /// When that takes longer than [`SOON`].
    pub fn wait_hub_says(&self, text: &str) {
        let what = format!("'{text}' in the hub's log");
        self.wait_until(&what, SOON, |farm| farm.hub.as_ref().is_some_and(|hub| hub.logs_contain(text)));
    }

    /// Waits until the log of builder `number` (since its last start) contains `text`.
    ///
    /// # Panics
    /// When that takes longer than [`SOON`].
    pub fn wait_builder_says(&self, number: usize, text: &str) {
        let what = format!("'{text}' in the log of builder{number}");
        self.wait_until(&what, SOON, |farm| {
            farm.builders[number].as_ref().is_some_and(|builder| builder.logs_contain(text))
        });
    }

    /// The story so far: logs of all daemons, processes, files.
    pub fn diagnosis(&self) -> String {
        self.diagnosed.set(true);
        let mut text = String::new();
        for log in names(self.path()).iter().filter(|name| name.ends_with(".log")) {
            let bytes = fs::read(self.path().join(log)).unwrap_or_default();
            let all = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = all.lines().collect();
            let from = lines.len().saturating_sub(DIAGNOSIS_LINES);
            text += &format!("--- {log}\n{}\n", lines[from..].join("\n"));
        }
        text += "--- processes\n";
        for process in self.processes() {
            text += &format!("{} {}\n", process.pid, process.command);
        }
        text += "--- files\n";
        let mut files = Vec::new();
        for place in ["source", "working", "finished", "repo"] {
            tree(&self.path().join(place), place, &mut files);
        }
        text + &files.join("\n")
    }
}

/// Names in a folder, sorted; none when there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    found
}

fn tree(folder: &Path, label: &str, lines: &mut Vec<String>) {
    for name in names(folder) {
        let path = folder.join(&name);
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if lines.len() >= DIAGNOSIS_FILES {
            return;
        }
        lines.push(format!("{label}/{name} {}", meta.len()));
        if meta.is_dir() {
            tree(&path, &format!("{label}/{name}"), lines);
        }
    }
}
/// How long a line of the hub's log may lag behind what it tells.
const LINE_FOLLOWS: Duration = Duration::from_secs(3);

/// Whether the log's last line about a lease of the package is not that it was leased.
fn has_word_after_lease(log: &str, name: &str) -> bool {
    let package = format!("pkg={name}");
    let about = |line: &&str| line.contains(&package) && line.contains(" lease=");
    log.lines().rfind(about).is_none_or(|line| !line.ends_with(" leased"))
}
