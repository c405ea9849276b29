//! `--hook PROGRAM`: runs a program for each event, with the event as one JSON object on its standard input.
//!
//! Owns a thread and the processes that it starts. Must never hold up the hub: events wait in a bounded
//! backlog, and what does not fit is dropped, oldest first. What the program writes goes to the log; how it
//! ends is said once and again only when that changes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use moji_proto::message::EventRow;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::actors::spawn;

/// Programs at once: enough that a slow web server does not delay what comes next, few enough for a small hub.
const RUNNING_MAX: usize = 4;
/// Time for one event, seconds: what takes longer hangs.
const RUN_MAX_S: u64 = 60;
/// Events that wait.
const BACKLOG_MAX: usize = 1_000;
/// How often running programs are looked at, milliseconds.
const LOOK_EVERY_MS: u64 = 50;
/// Longest line of its output that is logged, bytes.
const LINE_BYTES_MAX: u64 = 512;
/// Most lines that are logged of one run.
const LINES_MAX: usize = 100;
/// Where programs are looked for if the hub itself was not told.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether this program can be run.
///
/// # Errors
/// What is wrong with it and what to do.
pub fn check(program: &Path) -> Result<(), String> {
    let name = program.display();
    if !program.is_absolute() {
        return Err(format!("--hook {name}: give its whole path"));
    }
    let meta = std::fs::metadata(program).map_err(|error| format!("--hook {name}: {error}"))?;
    if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
        return Err(format!("--hook {name}: is no executable file: chmod +x it"));
    }
    Ok(())
}

/// Reaches the thread.
pub struct Hooks {
    events: Sender<EventRow>,
}

impl Hooks {
    /// Starts the thread. It ends when this is dropped, and kills what runs then.
    ///
    /// # Panics
    /// If the system has no thread left.
    #[must_use]
    pub fn start(program: PathBuf) -> (Hooks, JoinHandle<()>) {
        Hooks::with_limit(program, Duration::from_secs(RUN_MAX_S))
    }

    fn with_limit(program: PathBuf, limit: Duration) -> (Hooks, JoinHandle<()>) {
        let (events, inbox) = unbounded();
        let mut runner = Runner {
            program,
            limit,
            backlog: VecDeque::new(),
            running: Vec::new(),
            dropped: 0,
            last: Some("exit status 0".to_owned()),
        };
        (Hooks { events }, spawn("hooks", move || runner.run(&inbox)))
    }

    /// Runs the program for this event, sometime.
    pub fn tell(&self, event: EventRow) {
        crate::actors::tell(&self.events, event);
    }
}

struct Running {
    child: Child,
    until: Instant,
}

struct Runner {
    program: PathBuf,
    limit: Duration,
    backlog: VecDeque<EventRow>,
    running: Vec<Running>,
    /// Events dropped since the backlog was full.
    dropped: u64,
    /// How the program ended last.
    last: Option<String>,
}

impl Runner {
    fn run(&mut self, inbox: &Receiver<EventRow>) {
        loop {
            let first = if self.running.is_empty() && self.backlog.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(Duration::from_millis(LOOK_EVERY_MS))
            };
            match first {
                Ok(event) => {
                    std::iter::once(event).chain(inbox.try_iter()).for_each(|event| self.keep(event))
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.running.iter_mut().for_each(|running| drop(kill(running)));
                    return;
                }
            }
            self.look();
            while self.running.len() < RUNNING_MAX
                && let Some(event) = self.backlog.pop_front()
            {
                self.start(&event);
            }
            if self.backlog.is_empty() && self.dropped > 0 {
                log::warn!("hook: {} events were dropped", std::mem::take(&mut self.dropped));
            }
        }
    }

    fn keep(&mut self, event: EventRow) {
        if self.backlog.len() >= BACKLOG_MAX {
            if self.dropped == 0 {
                log::warn!("hook: {} is too slow, the oldest events are dropped", self.program.display());
            }
            self.dropped += 1;
            self.backlog.pop_front();
        }
        self.backlog.push_back(event);
    }

    /// Looks who is done, and ends who takes too long.
    fn look(&mut self) {
        let mut ends = Vec::new();
        self.running.retain_mut(|running| {
            let over = running.has_ended();
            if !over && running.until > Instant::now() {
                return true;
            }
            let status = kill(running);
            ends.push(if over { status } else { "killed: it took too long".to_owned() });
            false
        });
        for end in ends {
            self.ended(end.replace("exit status: ", "exit status "));
        }
    }

    /// Says how a run ended, if the last one ended otherwise.
    fn ended(&mut self, how: String) {
        if self.last.as_ref() == Some(&how) {
            return;
        }
        let level = if how == "exit status 0" { log::Level::Info } else { log::Level::Warn };
        log::log!(level, "hook: {}: {how}", self.program.display());
        self.last = Some(how);
    }

    fn start(&mut self, event: &EventRow) {
        let mut command = Command::new(&self.program);
        let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
        command.env_clear().env("PATH", path).current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return self.ended(format!("cannot be started: {error}")),
        };
        if let Some(mut stdin) = child.stdin.take() {
            // Shorter than a pipe holds, so it never blocks; a program need not read it.
            let _ = stdin.write_all(json(event).as_bytes());
        }
        if let Some(out) = child.stdout.take() {
            spawn("hook-out", move || say(out));
        }
        if let Some(err) = child.stderr.take() {
            spawn("hook-err", move || say(err));
        }
        self.running.push(Running { child, until: Instant::now() + self.limit });
    }
}

impl Running {
    /// Whether the program ended. It stays to be reaped: until then nobody else gets its number.
    fn has_ended(&self) -> bool {
        let how = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let pid = i32::try_from(self.child.id()).map(Pid::from_raw);
        !pid.is_ok_and(|pid| matches!(waitid(Id::Pid(pid), how), Ok(WaitStatus::StillAlive)))
    }
}

/// Ends a program and all that it left in its group, which would keep its pipes; says how the program ended.
fn kill(running: &mut Running) -> String {
    if let Ok(pid) = i32::try_from(running.child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    running.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Logs what a program writes; what is over the limits is read and dropped.
fn say(from: impl Read) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    for number in 0.. {
        line.clear();
        match (&mut from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if number < LINES_MAX => {
                let text: String = String::from_utf8_lossy(&line).trim_end().to_owned();
                log::info!("hook: {}", text.replace(char::is_control, " "));
            }
            Ok(_) => {}
        }
    }
}

/// An event as one line of JSON.
fn json(event: &EventRow) -> String {
    let name = |name: &Option<moji_proto::FileName>| name.as_ref().map(ToString::to_string);
    let value = serde_json::json!({
        "seq": event.seq,
        "time": iso(event.unix_ms),
        "kind": event.kind.as_str(),
        "srpm": name(&event.srpm),
        "lease": event.lease.map(|lease| lease.to_string()),
        "builder": name(&event.builder),
        "verdict": event.verdict.map(|verdict| verdict.as_str()),
        "phase": event.phase.map(|phase| format!("{phase:?}").to_lowercase()),
        "state": event.state.map(|state| state.as_str()),
        "who": event.who.as_str(),
        "text": event.text.as_str(),
    });
    format!("{value}\n")
}

/// ISO 8601 in UTC, whole seconds. Days to dates after Howard Hinnant's `civil_from_days`.
pub(crate) fn iso(unix_ms: u64) -> String {
    let (days, second) = (unix_ms / 86_400_000, unix_ms / 1_000 % 86_400);
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use moji_proto::message::EventKind;
    use moji_proto::{FileName, Line};

    use super::*;

    fn event(seq: u64) -> EventRow {
        EventRow {
            seq,
            unix_ms: 1_795_000_000_123,
            kind: EventKind::Ordered,
            srpm: FileName::new("a-1-1.src.rpm").ok(),
            lease: None,
            builder: None,
            verdict: None,
            phase: None,
            state: None,
            who: Line::lossy("wolf@desk (::1)"),
            text: Line::lossy("goes first"),
        }
    }

    fn program(dir: &Path, script: &str) -> PathBuf {
        let path = dir.join("hook");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn times_are_iso_8601_in_utc() {
        for (unix_s, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_000_000, "2026-11-18T11:06:40Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(iso(unix_s * 1_000), want);
        }
    }

    #[test]
    fn every_event_is_given_to_a_run_of_the_program_in_a_clean_world() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().display();
        let path = program(
            dir.path(),
            &format!(
                "cat > {out}/new.$$; env > {out}/env.$$; pwd >> {out}/env.$$; mv {out}/new.$$ {out}/done.$$"
            ),
        );
        let (hooks, thread) = Hooks::start(path);
        (1..=9).for_each(|seq| hooks.tell(event(seq)));
        let mut seen = Vec::new();
        while seen.len() < 9 {
            std::thread::yield_now();
            let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
            seen = names.filter(|path| path.file_stem().is_some_and(|stem| stem == "done")).collect();
        }
        let mut seqs: Vec<u64> = seen
            .iter()
            .map(|path| {
                let value: serde_json::Value =
                    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
                assert_eq!(
                    (&value["kind"], &value["time"]),
                    (&"ordered".into(), &"2026-11-18T11:06:40Z".into())
                );
                assert_eq!((&value["srpm"], &value["builder"]), (&"a-1-1.src.rpm".into(), &().into()));
                value["seq"].as_u64().unwrap()
            })
            .collect();
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=9).collect::<Vec<_>>());
        let env = fs::read_to_string(seen[0].to_str().unwrap().replace("done", "env")).unwrap();
        let names: Vec<&str> = env.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        // The shell adds some of its own.
        assert!(names.iter().all(|name| ["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)), "{env}");
        assert!(env.ends_with("\n/\n"), "{env}");
        drop(hooks);
        thread.join().unwrap();
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!("sleep 1000 & echo $! >> {0}.new; mv {0}.new {0}; wait", pids.display());
        let path = program(dir.path(), &script);
        let (hooks, thread) = Hooks::with_limit(path, Duration::from_millis(1));
        hooks.tell(event(1));
        let mut runs: u64 = 1;
        // It may be killed before it gets so far.
        while !pids.exists() {
            std::thread::yield_now();
            runs += 1;
            if runs.is_multiple_of(10_000) {
                hooks.tell(event(runs));
            }
        }
        drop(hooks);
        thread.join().unwrap();
        let pid: i32 = fs::read_to_string(&pids).unwrap().trim().parse().unwrap();
        let stat = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        while !stat().is_empty() && !stat().contains(") Z") {
            std::thread::yield_now();
        }
    }

    #[test]
    fn only_the_newest_events_wait_for_a_program_that_is_too_slow() {
        let mut runner = Runner {
            program: "/bin/false".into(),
            limit: Duration::ZERO,
            backlog: VecDeque::new(),
            running: Vec::new(),
            dropped: 0,
            last: None,
        };
        (0..1_005).for_each(|seq| runner.keep(event(seq)));
        assert_eq!((runner.backlog.len(), runner.dropped, runner.backlog[0].seq), (BACKLOG_MAX, 5, 5));
    }

    #[test]
    fn a_program_that_cannot_be_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = program(dir.path(), "");
        assert_eq!(check(&path), Ok(()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        for (path, want) in [
            (path.as_path(), "chmod"),
            (dir.path(), "chmod"),
            (&dir.path().join("no"), "No such file"),
            (Path::new("hook"), "whole path"),
        ] {
            assert!(check(path).unwrap_err().contains(want), "{path:?}");
        }
    }
}
