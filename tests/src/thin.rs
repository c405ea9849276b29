//! Thin repositories beside the whole ones, and what dnf makes of both.
//!
//! Owns the way from repositories on the disk to the hub's thin ones, the question to dnf (`tests/mini/resolve.py`) and the
//! comparison of its answers. Decides nothing about what a thin repository has: that is [`moji_server::thin`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use moji_server::core::capabilities::Requirement;
use moji_server::repodata::named_files;
use moji_server::thin::{Layer, Thin, Want, close, lacking_paths, write};
use serde_json::{Value, json};

use crate::daemon::run_to_end;
use crate::world::sources;

/// Longest question to dnf: several hundred builds take minutes on a machine that does much else.
const DNF_LIMIT: Duration = Duration::from_secs(3_000);
/// Longest run of rpm.
const RPM_LIMIT: Duration = Duration::from_secs(300);
/// What packages of these repositories are for.
const TARGET: &str = "x86_64";

/// A repository that a build sees.
#[derive(Clone, Debug)]
pub struct Whole {
    /// Its id for dnf.
    pub id: String,
    /// It has `repodata/` in it.
    pub folder: PathBuf,
    /// As in dnf's configuration: at the same version the lower one wins.
    pub cost: u32,
}

/// Repositories as the hub holds them, to make thin ones of.
#[derive(Debug)]
pub struct Layers(pub Vec<Arc<Layer>>);

impl Layers {
    /// Reads them, with the files that their packages want and only `filelists` has. The first wins where two have the
    /// same. `also` are paths that builds want.
    ///
    /// # Panics
    /// When one cannot be read.
    pub fn read(wholes: &[Whole], also: &BTreeSet<String>) -> Layers {
        let read = |whole: &Whole| {
            let groups = file_of(&whole.folder, "-comps.xml");
            let primary = Cursor::new(file_of(&whole.folder, "-primary.xml.gz").expect("it lists packages"));
            let texts = tempfile::tempfile().expect("a scratch file");
            let primary = BufReader::new(MultiGzDecoder::new(primary));
            Layer::read(primary, texts, Some(TARGET), groups.as_deref())
                .unwrap_or_else(|why| panic!("{}: {why}", whole.folder.display()))
        };
        let mut layers: Vec<Arc<Layer>> = wholes.iter().map(read).map(Arc::new).collect();
        let mut paths = lacking_paths(&layers);
        paths.extend(also.iter().cloned());
        for (layer, whole) in layers.iter_mut().zip(wholes) {
            let Some(lists) = file_of(&whole.folder, "-filelists.xml.gz") else { continue };
            let lists = BufReader::new(MultiGzDecoder::new(Cursor::new(lists)));
            let layer = Arc::get_mut(layer).expect("nobody else has it yet");
            layer.add_files(lists, &paths).unwrap_or_else(|why| panic!("{}: {why}", whole.folder.display()));
        }
        Layers(layers)
    }

    /// The thin repository of one build.
    ///
    /// # Panics
    /// When the texts of its packages cannot be read.
    pub fn thin(&self, setup: &[String], requires: &[String], weak: bool) -> Thin {
        let want = Want {
            setup: format!("install {}", setup.join(" ")),
            requires: requires.iter().map(|text| Requirement::parse(text)).collect(),
            more: Vec::new(),
            weak,
        };
        write(&self.0, &close(&self.0, &want)).expect("scratch files can be read")
    }
}

/// The bytes of the file of a repository whose name ends so.
fn file_of(folder: &Path, end: &str) -> Option<Vec<u8>> {
    let repodata = folder.join("repodata");
    let repomd = fs::read(repodata.join("repomd.xml")).expect("a repository has repomd.xml");
    let name = named_files(&repomd).expect("it is one").into_iter().find(|name| name.ends_with(end))?;
    Some(fs::read(repodata.join(name)).expect("it names files that are there"))
}

/// Writes a thin repository into `folder`, which is made; bytes of it that dnf fetches.
///
/// # Panics
/// When it cannot be written.
pub fn store(thin: &Thin, folder: &Path) -> u64 {
    fs::create_dir_all(folder.join("repodata")).expect("a folder");
    fs::write(folder.join("repodata/repomd.xml"), &thin.repomd).expect("a file");
    for (path, bytes) in &thin.files {
        fs::write(folder.join(path), bytes).expect("a file");
    }
    (thin.repomd.len() + thin.files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()) as u64
}

/// One build for which dnf is asked.
#[derive(Clone, Debug)]
pub struct Build {
    /// Tells it from others.
    pub name: String,
    /// What its source package requires.
    pub requires: Vec<String>,
    /// Where its thin repository is.
    pub thin: PathBuf,
}

/// What dnf would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// It installs these (`NEVRA REPOSITORY`) and does these other things.
    Installs(BTreeSet<String>, BTreeSet<String>),
    /// It does nothing, and says why.
    Refused(String),
}

impl Resolved {
    fn of(value: &Value, ids: &[&str]) -> Resolved {
        if let Some(why) = value["error"].as_str() {
            return Resolved::Refused(why.to_owned());
        }
        let texts = |name: &str| {
            let all = value[name].as_array().into_iter().flatten().filter_map(Value::as_array);
            let text = |one: &Vec<Value>| {
                let text = |n: usize| one.get(n).and_then(Value::as_str).unwrap_or_default();
                // In a thin repository a path begins with the number of the repository that it is from.
                let of =
                    text(2).split_once('/').filter(|_| text(1) == "thin").and_then(|(n, _)| n.parse().ok());
                let id = of.and_then(|n: usize| ids.get(n).copied()).unwrap_or(text(1));
                format!("{} {id}", text(0))
            };
            all.map(text).collect()
        };
        Resolved::Installs(texts("install"), texts("other"))
    }

    /// What it installs; nothing where it refuses.
    pub fn installs(&self) -> BTreeSet<String> {
        match self {
            Resolved::Installs(all, _) => all.clone(),
            Resolved::Refused(_) => BTreeSet::new(),
        }
    }
}

/// What dnf says of one build.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of the build.
    pub name: String,
    /// From the whole repositories.
    pub full: Resolved,
    /// From the thin one.
    pub thin: Resolved,
    /// The chroot alone, from the thin one.
    pub thin_setup: Resolved,
}

impl Answer {
    /// How the thin repository's answer differs, in words; None where it does not. Two refusals are the same.
    pub fn difference(&self, setup: &Resolved) -> Option<String> {
        let about = |what: &str, full: &Resolved, thin: &Resolved| match (full, thin) {
            (Resolved::Refused(_), Resolved::Refused(_)) => None,
            (Resolved::Installs(..), Resolved::Refused(why)) => {
                Some(format!("{what}: only thin refuses: {why}"))
            }
            (Resolved::Refused(why), Resolved::Installs(..)) => {
                Some(format!("{what}: only full refuses: {why}"))
            }
            (full, thin) if full == thin => None,
            (full, thin) => {
                let (one, other) = (full.installs(), thin.installs());
                let [only_full, only_thin] = [&one - &other, &other - &one];
                Some(format!("{what}: only full: {only_full:?}; only thin: {only_thin:?}; full: {full:?}"))
            }
        };
        let differences = [about("setup", setup, &self.thin_setup), about("build", &self.full, &self.thin)];
        let text: Vec<String> = differences.into_iter().flatten().collect();
        (!text.is_empty()).then(|| format!("{}: {}", self.name, text.join("\n  ")))
    }
}

/// A question to dnf about many builds.
#[derive(Debug)]
pub struct Question<'a> {
    /// For dnf's own files.
    pub folder: &'a Path,
    /// The whole repositories, in the order of [`Layers`].
    pub wholes: &'a [Whole],
    /// What the chroot is set up with: words of `dnf install`.
    pub setup: &'a [String],
    /// Whether weak dependencies are installed.
    pub weak: bool,
    /// An installroot that holds the setup: see [`root_with`]. Without it dnf installs all at once.
    pub root: Option<&'a Path>,
}

impl Question<'_> {
    /// What the chroot would hold from the whole repositories, and what dnf would do for each build.
    ///
    /// # Panics
    /// When dnf fails otherwise than by refusing.
    pub fn ask(&self, builds: &[Build]) -> (Resolved, Vec<Answer>) {
        fs::create_dir_all(self.folder).expect("a scratch folder");
        let wholes: Vec<Value> =
            self.wholes.iter().map(|one| json!([one.id, one.folder, one.cost, true])).collect();
        let builds: Vec<Value> = builds
            .iter()
            .map(|one| json!({"name": one.name, "requires": one.requires, "thin": one.thin}))
            .collect();
        let jobs = json!({
            "folder": self.folder, "weak": self.weak, "setup": self.setup, "root": self.root, "full": wholes,
            "builds": builds,
        });
        let file = self.folder.join("jobs.json");
        fs::write(&file, jobs.to_string()).expect("a scratch file");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(sources().join("mini/resolve.py")).arg(&file).env("HOME", self.folder);
        let ended = run_to_end(command, DNF_LIMIT);
        assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
        let ids: Vec<&str> = self.wholes.iter().map(|one| &*one.id).collect();
        let mut lines =
            ended.stdout.lines().map(|line| -> Value { serde_json::from_str(line).expect("JSON") });
        let setup = Resolved::of(&lines.next().expect("the setup's line")["full"], &ids);
        let answer = |line: Value| Answer {
            name: line["name"].as_str().unwrap_or_default().to_owned(),
            full: Resolved::of(&line["full"], &ids),
            thin: Resolved::of(&line["thin"], &ids),
            thin_setup: Resolved::of(&line["thin_setup"], &ids),
        };
        (setup, lines.map(answer).collect())
    }
}

/// Makes `root` an installroot whose database says that these RPMs are installed. No file of theirs is.
///
/// # Panics
/// When rpm refuses one.
pub fn root_with(root: &Path, rpms: &BTreeMap<String, Vec<u8>>) {
    let folder = root.join("rpms");
    fs::create_dir_all(&folder).expect("a folder");
    for (name, bytes) in rpms {
        fs::write(folder.join(name), bytes).expect("a file");
    }
    let mut command = Command::new("rpm");
    command
        .args(["-i", "--justdb", "--nodeps", "--noscripts", "--notriggers", "--ignoresize", "--nosignature"])
        .args(["--dbpath", "/var/lib/rpm", "--root"])
        .arg(root)
        .args(rpms.keys().map(|name| folder.join(name)));
    let ended = run_to_end(command, RPM_LIMIT);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    fs::remove_dir_all(folder).expect("it was made here");
}
