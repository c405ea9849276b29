//! Processes hurt at a chosen system call: killed before it, or told that it failed.
//!
//! Owns strace: a trace that tells which calls a process makes that change files ([`Trace`]), and the harm at one of
//! them ([`harm`], [`under`]). strace counts for each thread alone and each call alone, so a [`Point`] names both. Must
//! never judge what came of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Daemon, SOON, poll_until};

/// Calls that change files, or make a change last. The question mark lets strace go on where a machine lacks one.
const CHANGES: &str = "?open,?openat,?creat,?write,?writev,?pwrite64,?pwritev,?rename,?renameat,?renameat2,?link,\
                       ?linkat,?unlink,?unlinkat,?rmdir,?mkdir,?mkdirat,?symlink,?symlinkat,?fsync,?fdatasync,\
                       ?sync_file_range,?ftruncate,?truncate,?fallocate,?chmod,?fchmod,?fchmodat,?chown,?fchown,\
                       ?fchownat,?utimensat,?copy_file_range,?sendfile";
/// How much of what a call is about is kept for people, characters.
const ABOUT_MAX: usize = 160;
/// How long a thread may take to get its name.
const NAMED: Duration = Duration::from_secs(2);

/// One call of one thread of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Name of the thread; threads that share their work (`files-0`, `files-1`) go by what is before the hyphen.
    pub thread: String,
    /// Name of the call.
    pub call: String,
    /// Which of that thread's calls of that name it is, from 1; of those on `path`, if there is one.
    pub number: usize,
    /// Only calls on this path below the farm's folder count, as where a process opens more files the more there are.
    pub path: Option<String>,
    /// What it was about when it was traced, for people: its words, the farm's folder left out.
    pub about: String,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}: {}", self.thread, self.call, self.number, self.about)
    }
}

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// SIGKILL before it.
    Kill,
    /// It is not made and fails with this error, as `EIO`.
    Error(&'static str),
    /// The same, and all of its kind that follow, until strace ends.
    Errors(&'static str),
}

impl Harm {
    /// strace's words for it.
    fn words(self, call: &str, number: usize) -> String {
        match self {
            Harm::Kill => format!("inject={call}:signal=KILL:when={number}"),
            Harm::Error(error) => format!("inject={call}:error={error}:when={number}"),
            Harm::Errors(error) => format!("inject={call}:error={error}:when={number}+"),
        }
    }
}

/// A process that is watched: every call of it that changes files of a folder is noted.
#[derive(Debug)]
pub struct Trace {
    strace: Daemon,
    file: PathBuf,
    folder: PathBuf,
    /// Name of the thread, where it is only one: strace does not tell it then.
    one: Option<String>,
}

impl Trace {
    /// Watches process `pid` with all threads it has and will have, and all processes it starts; what they do in
    /// `folder` counts.
    ///
    /// # Panics
    /// When strace cannot.
    pub fn of(pid: u32, folder: &Path) -> Trace {
        Trace::begin(pid, folder, &["-f"], None)
    }

    /// Watches only the one thread of process `pid`.
    ///
    /// # Panics
    /// When strace cannot.
    pub fn of_one(pid: u32, folder: &Path) -> Trace {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Trace::begin(pid, folder, &[], Some(name.trim_end().to_owned()))
    }

    fn begin(pid: u32, folder: &Path, follow: &[&str], one: Option<String>) -> Trace {
        let file = folder.join(format!("trace-{pid}.txt"));
        let mut strace = Command::new("strace");
        strace.args(follow).args(trace_words(&file)).args(["-p", &pid.to_string()]);
        let strace = Daemon::spawn("strace", strace, &folder.join("strace.txt"));
        let all: Vec<u32> = threads(pid).into_iter().map(|(tid, _)| tid).collect();
        wait_traced(&strace, pid, &all);
        Trace { strace, file, folder: folder.to_owned(), one }
    }

    /// Ends it; the calls in the order in which they were made.
    pub fn end(mut self) -> Vec<Point> {
        self.strace.term(SOON);
        let mut points = points(&self.file, &self.folder);
        for point in points.iter_mut().filter(|point| point.thread.is_empty()) {
            point.thread = self.one.clone().unwrap_or_default();
        }
        points
    }
}

/// The command, watched from its first instruction; [`points`] reads `file` afterwards. Its process is strace's grandparent's
/// child as before: pid and output are the command's own.
pub fn traced(command: &Command, file: &Path) -> Command {
    wrapped(command, &[vec!["-f".to_owned()], trace_words(file)].concat())
}

fn trace_words(file: &Path) -> Vec<String> {
    let file = file.display().to_string();
    let words = ["-qq", "-y", "-Y", "-s", "64", "-e", "signal=none", "-e"];
    let all = words.into_iter().map(str::to_owned);
    all.chain([format!("trace={CHANGES}"), "-o".to_owned(), file]).collect()
}

/// The command, hurt at the call of this name and number of whichever of its threads comes there first.
pub fn under(command: &Command, point: &Point, harm: Harm, folder: &Path) -> Command {
    wrapped(command, &harm_words(point, harm, true, folder))
}

/// The points, those that open one of these files told by its path.
#[must_use]
pub fn by_path(points: Vec<Point>, files: &[&str]) -> Vec<Point> {
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let told = |mut point: Point| {
        let found = files.iter().find(|file| point.about.contains(&format!("\"{file}\"")));
        if let (Some(file), "openat") = (found, point.call.as_str()) {
            let number = counts.entry((point.thread.clone(), file)).or_default();
            *number += 1;
            (point.number, point.path) = (*number, Some(file.trim_start_matches('/').to_owned()));
        }
        point
    };
    points.into_iter().map(told).collect()
}

fn wrapped(command: &Command, words: &[String]) -> Command {
    let mut strace = Command::new("strace");
    strace.arg("-D").args(words).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        strace.current_dir(folder);
    }
    strace
}

/// Hurts process `pid` at this point. It lasts until the strace that is returned is dropped. A thread that comes and goes
/// may not be there yet: then it is whichever thread comes first to a call of that name and number.
///
/// # Panics
/// When strace cannot.
pub fn harm(pid: u32, point: &Point, harm: Harm, folder: &Path) -> Daemon {
    let mut tids: Vec<u32> = Vec::new();
    // A process that was started just now has its parent's name until it executes its program.
    let found = poll_until(NAMED, || {
        let all = threads(pid).into_iter();
        tids = all.filter(|(_, name)| role(name) == point.thread).map(|(tid, _)| tid).collect();
        !tids.is_empty()
    });
    let mut strace = Command::new("strace");
    strace.args(harm_words(point, harm, !found, folder));
    if !found {
        strace.args(["-p", &pid.to_string()]);
        tids = threads(pid).into_iter().map(|(tid, _)| tid).collect();
    } else {
        for tid in &tids {
            strace.args(["-p", &tid.to_string()]);
        }
    }
    let strace = Daemon::spawn("strace", strace, &folder.join("strace.txt"));
    wait_traced(&strace, pid, &tids);
    strace
}

fn harm_words(point: &Point, harm: Harm, follow: bool, folder: &Path) -> Vec<String> {
    let mut words: Vec<String> = if follow { vec!["-f".to_owned()] } else { Vec::new() };
    words.extend(["-qq", "-e", "signal=none", "-o", "/dev/null"].map(str::to_owned));
    if let Some(path) = &point.path {
        words.extend(["-P".to_owned(), folder.join(path).display().to_string()]);
    }
    let harm = harm.words(&point.call, point.number);
    words.extend(["-e".to_owned(), format!("trace={}", point.call), "-e".to_owned(), harm]);
    words
}

/// Threads of a process: their ids and names.
fn threads(pid: u32) -> Vec<(u32, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let named = |task: fs::DirEntry| {
        let tid = task.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        Some((tid, name.trim_end().to_owned()))
    };
    tasks.filter_map(named).collect()
}

/// A thread's name without the number it has among its like.
fn role(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((role, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => role,
        _ => name,
    }
}

fn wait_traced(strace: &Daemon, pid: u32, tids: &[u32]) {
    let is_traced = |tid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
        let tracer = text.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        // One that has ended meanwhile is nobody's.
        tracer.is_none_or(|tracer| tracer.trim() != "0")
    };
    let attached = poll_until(SOON, || tids.iter().all(is_traced));
    assert!(attached, "strace attaches to {pid}: {}", strace.log_text());
}

/// The calls of a trace that change what is below `folder`, logs left out, each with its number among its like.
pub fn points(file: &Path, folder: &Path) -> Vec<Point> {
    let bytes = fs::read(file).unwrap_or_default();
    let folder = folder.display().to_string();
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let Some((thread, call, words)) = parse(line) else { continue };
        let number = counts.entry((thread.to_owned(), call.to_owned())).or_default();
        *number += 1;
        if changes(call, words, &folder) {
            let about: String = words.replace(&folder, "").chars().take(ABOUT_MAX).collect();
            let (thread, call) = (thread.to_owned(), call.to_owned());
            found.push(Point { thread, call, number: *number, path: None, about });
        }
    }
    found
}

/// Thread (none where only one is watched), call and the rest of a line of the trace at which a call begins.
fn parse(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, rest) = match line.split_once('<').filter(|(pid, _)| pid.parse::<u32>().is_ok()) {
        Some((_, rest)) => rest.split_once("> ")?,
        None => ("", line),
    };
    let (call, words) = rest.split_once('(')?;
    let is_name = call.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then_some((role(thread), call, words))
}

/// Whether a call changes something below the folder.
fn changes(call: &str, words: &str, folder: &str) -> bool {
    if !words.contains(folder) {
        return false;
    }
    let descriptor = || {
        words.split_once('>').is_some_and(|(first, _)| {
            first.contains(folder) && ![".log", "strace.txt"].iter().any(|own| first.ends_with(own))
        })
    };
    match call {
        "open" | "openat" => ["O_CREAT", "O_TRUNC"].iter().any(|flag| words.contains(flag)),
        "write" | "writev" | "pwrite64" | "pwritev" | "ftruncate" | "fallocate" => descriptor(),
        // The file that is sent is the second; a socket is no file.
        "sendfile" => descriptor(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(folder).env("OF_THE_TEST", "told");
        command
    }

    const STORY: &str =
        "echo $OF_THE_TEST > one; read go < wait; mkdir two; mv one two/three; rmdir no; rm two/three";

    #[test]
    fn what_a_program_changes_is_told_call_by_call() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("trace");
        fs::write(folder.path().join("wait"), "go\n").expect("a file");
        let command = traced(&shell(STORY, folder.path()), &file);
        let mut run = Daemon::spawn("shell", command, &folder.path().join("log"));
        run.wait_exit(SOON);
        let whole = || points(&file, folder.path()).iter().any(|point| point.call.starts_with("unlink"));
        // The first paths are relative: the folder shows in what a descriptor is.
        assert!(poll_until(SOON, whole), "{:?}", fs::read_to_string(&file));
        let calls: Vec<_> =
            points(&file, folder.path()).into_iter().map(|point| (point.thread, point.call)).collect();
        for (thread, call) in [("sh", "write"), ("mv", "rename"), ("rm", "unlinkat")] {
            let is = |found: &&(String, String)| found.0 == thread && found.1.starts_with(call);
            assert_eq!(calls.iter().filter(is).count(), 1, "{thread} {call}: {calls:?}");
        }
    }

    #[test]
    fn a_process_dies_at_its_call_or_hears_of_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        nix::unistd::mkfifo(&path.join("wait"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let story = "read go < wait; echo one > one; echo two > two; echo three > three";
        let (thread, call, about) = ("sh".to_owned(), "write".to_owned(), String::new());
        let point = Point { thread, call, number: 2, path: None, about };
        for (what, left) in [(Harm::Kill, 1), (Harm::Error("EIO"), 2), (Harm::Errors("ENOSPC"), 1)] {
            let mut run = Daemon::spawn("shell", shell(story, path), &path.join("log"));
            let strace = harm(run.pid(), &point, what, path);
            fs::write(path.join("wait"), "go\n").expect("the pipe is read");
            let status = run.wait_exit(SOON);
            let names = ["one", "two", "three"];
            let full = |name: &&&str| fs::metadata(path.join(name)).is_ok_and(|meta| meta.len() > 0);
            assert_eq!(names.iter().filter(full).count(), left, "{what:?}: {}", run.log_text());
            assert_eq!(status.code().is_none(), what == Harm::Kill, "{what:?}");
            drop(strace);
            names.iter().for_each(|name| drop(fs::remove_file(path.join(name))));
        }
        let begun = under(&shell("echo one > one; echo two > two", path), &point, Harm::Kill, path);
        let mut run = Daemon::spawn("shell", begun, &path.join("log"));
        assert!(run.wait_exit(SOON).code().is_none());
        assert!(fs::metadata(path.join("two")).is_ok_and(|meta| meta.len() == 0));
        let opens = Point { call: "openat".to_owned(), about: "\"/two\"".to_owned(), ..point };
        let point = by_path(vec![opens], &["/two"]).remove(0);
        let two = path.join("two").display().to_string();
        let begun =
            under(&shell(&format!("echo > one; echo > {two}; echo > three"), path), &point, Harm::Kill, path);
        ["one", "two"].iter().for_each(|name| fs::remove_file(path.join(name)).expect("it was made"));
        let mut run = Daemon::spawn("shell", begun, &path.join("log"));
        assert!(run.wait_exit(SOON).code().is_none());
        assert_eq!(["one", "two", "three"].map(|name| path.join(name).exists()), [true, false, false]);
    }
}
