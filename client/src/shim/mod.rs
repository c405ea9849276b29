//! The shim: waits for mock when the client may come and go.
//!
//! Owns one build from mock's start to the exit status on disk. It is this same program, started as
//! `moji-client --shim JOBDIR`, in a session of its own: a client that was killed or upgraded finds
//! it again by the `shim` file. It hashes and syncs what mock left, so that the client's loop never
//! has to, and never talks to the hub.

mod collect;
mod evidence;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use moji_proto::Line;
use moji_proto::message::{Backend, Exit, Limits, Phase, Which};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, chown, initgroups, setgid, setsid, setuid};

use crate::core::Summary;
use crate::files;
use crate::launch::{JobFolder, Launch, MARKER};
use crate::proc::{self, Belongs, Process};
pub use collect::open_regular;

/// The lines of the logs in `result` that are sent with a result; for the fuzz targets in `tests/fuzz` alone.
#[doc(hidden)]
#[must_use]
pub fn evidence_of(result: &Path, exit: Exit) -> Vec<(Which, Line)> {
    evidence::gather(result, exit)
}

/// What protects the client and the shim from the OOM killer, in its own unit.
pub const OOM_SCORE_PROTECTED: i32 = -900;
/// What offers mock to the OOM killer before anything else.
const OOM_SCORE_EXPOSED: i32 = 500;
/// Disk kept back for the manifest, bytes, in case the build fills the disk: 16,384 files would
/// take 5 MiB, real builds a few KiB.
const RESERVE_BYTES: usize = 256 * 1024;
/// How long leftovers of a build are killed before the shim goes on without their death.
const LEFTOVERS_MAX: Duration = Duration::from_secs(5);
/// How often the shim looks when it cannot simply wait.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long mock may take to end after SIGTERM: measured 0.5 to 1.6 s. As where the client kills it.
const TERM_MAX: Duration = Duration::from_secs(10);
/// How often logs are looked at, milliseconds: limits are hours, and it costs a few stat(2).
const LOOK_AT_LOGS_EVERY_MS: u16 = 1_000;
/// Exit code of `--run` when the program could not be started.
const NOT_STARTED: i32 = 127;

/// Sets this process's OOM score; without the right to lower it, it stays.
pub fn set_oom_score(score: i32) {
    let _ = fs::write("/proc/self/oom_score_adj", score.to_string());
}

/// Runs the shim of the job in `folder` to its end.
///
/// # Errors
/// What kept it from writing an exit status; the client then sees a dead shim.
pub fn main(folder: &Path) -> io::Result<()> {
    let folder = JobFolder(folder.to_owned());
    close_inherited();
    // Fails only for a session leader, which is what we want to be.
    let _ = setsid();
    let _ = nix::sys::prctl::set_child_subreaper(true);
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    set_oom_score(OOM_SCORE_PROTECTED);
    let this = Process::current().ok_or_else(|| io::Error::other("no /proc"))?;
    if !folder.claim(&this)? {
        return Ok(());
    }
    let launch = folder.launch()?;
    fresh_folders(&folder, &launch)?;
    fs::write(folder.entry("reserve"), vec![0; RESERVE_BYTES])?;

    let (began, oom_before) = (Instant::now(), proc::oom_kills());
    let Ended { exit, silence_s, evidence } = build(&folder, &launch)?;
    let seconds = began.elapsed().as_secs().try_into().unwrap_or(u32::MAX);
    kill_leftovers(&launch);
    let oom_kills = proc::oom_kills().saturating_sub(oom_before).try_into().unwrap_or(u32::MAX);
    let phase = phase_of(&folder.result()).unwrap_or(Phase::Init);
    files::remove(&folder.entry("reserve"))?;
    files::replace(&folder.entry("collect"), b"", 0o644)?;
    // Here and not in the client's loop: a build tree may hold 100,000 files.
    files::remove_folder(&folder.work())?;

    let mut evidence = evidence.unwrap_or_else(|| evidence::gather(&folder.result(), exit));
    let collected = collect::collect(&folder.result(), &folder.entry("cut"));
    let line = |text: &str| (Which::Mock, Line::lossy(text));
    let result_files = match collected {
        Ok((result_files, left_out)) => {
            evidence.extend(left_out.iter().map(|text| line(text)));
            result_files
        }
        Err(error) => {
            // What the disk says is this builder's fault, and the hub rules so by these very words.
            evidence.insert(0, line(&format!("failed to collect the result: {error}")));
            Vec::new()
        }
    };
    evidence.truncate(usize::from(moji_proto::limits::EVIDENCE_MAX));
    let backend = launch.backend;
    let peak_memory_mib = proc::peak_memory_mib();
    let summary = Summary {
        exit,
        phase,
        backend,
        seconds,
        oom_kills,
        files: result_files,
        evidence,
        peak_memory_mib,
        silence_s,
    };
    folder.write("manifest", &summary)?;
    files::replace(&folder.entry("status"), format!("{exit}\n").as_bytes(), 0o644)
}

/// Closes what the client inherited from whoever started it, down to the three standard ones.
fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The one that listed the folder is closed already.
        let _ = nix::unistd::close(fd);
    }
}

fn fresh_folders(folder: &JobFolder, launch: &Launch) -> io::Result<()> {
    let mut fresh = vec![folder.result()];
    if launch.backend == Backend::Rpmbuild {
        fresh.push(folder.work());
        fresh.push(folder.work().join("tmp"));
    }
    for path in fresh {
        files::remove_folder(&path)?;
        fs::create_dir(&path)?;
        give(launch, &path)?;
    }
    files::sync_folder(&folder.0)
}

fn give(launch: &Launch, path: &Path) -> io::Result<()> {
    if let Some((uid, gid)) = launch.owner {
        chown(path, Some(uid.into()), Some(gid.into()))?;
    }
    Ok(())
}

/// How mock ended.
struct Ended {
    exit: Exit,
    /// For how long at most no log grew, seconds, begun ones counted whole.
    silence_s: u32,
    /// Where the shim ended it: telling lines from before what dies says its last words.
    evidence: Option<Vec<(Which, Line)>>,
}

/// Starts mock and waits for its end.
fn build(folder: &JobFolder, launch: &Launch) -> io::Result<Ended> {
    let mut limits = folder.record()?.limits;
    if let Some(timeout_s) = launch.timeout_s {
        limits.build_s = if limits.build_s == 0 { timeout_s } else { limits.build_s.min(timeout_s) };
    }
    let log = match launch.backend {
        Backend::Mock => Which::Mock,
        Backend::Rpmbuild => Which::Build,
    };
    let path = folder.result().join(log.file_name());
    let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
    give(launch, &path)?;
    say_state(folder, launch, "Start: rpmbuild")?;
    files::remove(&folder.entry("not-started"))?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    let children = SignalFd::with_flags(&children, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    // The child is waited for together with the orphans that this process, as a subreaper, inherits.
    let child = Command::new("/proc/self/exe")
        .arg0("moji-client")
        .args(["--run".as_ref(), folder.0.as_os_str(), "build".as_ref()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    let pid = Pid::from_raw(child.id() as i32);
    if let Some(process) = Process::of(pid.as_raw()) {
        folder.write("mock", &process)?;
    }
    let mut ended = wait(pid, &children, folder, launch, limits)?;
    say_state(folder, launch, "Finish: rpmbuild")?;
    if fs::metadata(folder.entry("not-started")).is_ok_and(|meta| meta.len() > 0) {
        ended.exit = Exit::NotStarted;
    }
    Ok(ended)
}

/// Waits for `pid`, and ends it at its limits; reaps every other child on the way. Time is counted here, by a clock
/// that nobody sets: a client may come and go meanwhile.
fn wait(
    pid: Pid,
    children: &SignalFd,
    folder: &JobFolder,
    launch: &Launch,
    limits: Limits,
) -> io::Result<Ended> {
    let began = Instant::now();
    let (mut grown, mut size, mut silence_s) = (began, 0, 0);
    // How the shim ends it, and until when SIGTERM may be enough.
    let (mut over, mut until) = (None::<Ended>, began);
    loop {
        let exit = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(ended, code)) if ended == pid => Some(Exit::Code(code as u8)),
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => {
                Some(Exit::Signal(signal as i32 as u8))
            }
            Ok(WaitStatus::StillAlive) => None,
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        silence_s = silence_s.max(grown.elapsed().as_secs() as u32 + 1);
        if let Some(exit) = exit {
            return Ok(over.unwrap_or(Ended { exit, silence_s, evidence: None }));
        }
        let now_size = logs_bytes(&folder.result());
        if now_size != size {
            (size, grown) = (now_size, Instant::now());
        }
        if over.is_some() {
            if Instant::now() >= until {
                kill_leftovers(launch);
            }
        } else if let Some(exit) = limit(limits, began, grown) {
            let evidence = Some(evidence::gather(&folder.result(), exit));
            over = Some(Ended { exit, silence_s, evidence });
            until = Instant::now() + TERM_MAX;
            let _ = kill(pid, Signal::SIGTERM);
        }
        let mut polled = [PollFd::new(children.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut polled, LOOK_AT_LOGS_EVERY_MS);
        while let Ok(Some(_)) = children.read_signal() {}
    }
}

/// How the build is to be ended, if its time is up.
fn limit(limits: Limits, began: Instant, grown: Instant) -> Option<Exit> {
    let over = |since: Instant, limit_s: u32| limit_s > 0 && since.elapsed().as_secs() >= limit_s.into();
    if over(grown, limits.silence_s) {
        Some(Exit::Silent(limits.silence_s))
    } else {
        over(began, limits.build_s).then_some(Exit::TooLong(limits.build_s))
    }
}

/// How much is in all logs, bytes. What the build's user put in their place is not followed.
fn logs_bytes(result: &Path) -> u64 {
    Which::ALL
        .into_iter()
        .filter_map(|which| fs::symlink_metadata(result.join(which.file_name())).ok())
        .fold(0, |sum, meta| sum.wrapping_add(meta.len()))
}

/// rpmbuild keeps no state.log: the shim does, so that phases look the same.
fn say_state(folder: &JobFolder, launch: &Launch, text: &str) -> io::Result<()> {
    if launch.backend == Backend::Mock {
        return Ok(());
    }
    let path = folder.result().join(Which::State.file_name());
    let flags = nix::libc::O_NOFOLLOW;
    let mut log = OpenOptions::new().append(true).create(true).custom_flags(flags).open(&path)?;
    writeln!(log, "{text}")
}

/// Kills what the build left running, so that no file changes while it is hashed.
fn kill_leftovers(launch: &Launch) {
    let this = std::process::id() as i32;
    let marker = format!("{MARKER}={}", launch.ext);
    let end = Instant::now() + LEFTOVERS_MAX;
    loop {
        let left = proc::of_build(&Belongs { ancestors: &[this], marker: &marker, ext: &launch.ext });
        if left.is_empty() || Instant::now() >= end {
            return;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The phase that mock's state.log tells, if there is one.
#[must_use]
pub fn phase_of(result: &Path) -> Option<Phase> {
    // A state.log is a few dozen lines; the bound is for one that is not mock's.
    const STATE_LOG_BYTES_MAX: u64 = 256 * 1024;
    let file = open_regular(&result.join(Which::State.file_name())).ok()?;
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, STATE_LOG_BYTES_MAX), &mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find_map(|line| {
        [
            ("Start: rpmbuild", Phase::Build),
            ("Start: build setup", Phase::Setup),
            ("Start: chroot init", Phase::Init),
            ("Start: clean chroot", Phase::Init),
        ]
        .into_iter()
        .find_map(|(needle, phase)| line.contains(needle).then_some(phase))
    })
}

/// `--run JOBDIR WHAT`: becomes mock's user and then mock. Returns only when that failed.
///
/// `WHAT` is `build` or the number of a cleaning command.
pub fn run(folder: &Path, what: &str) -> i32 {
    let folder = JobFolder(folder.to_owned());
    // Opened before the user changes; closed by a successful exec.
    let note = (what == "build").then(|| File::create(folder.entry("not-started")).ok()).flatten();
    let error = match folder.launch() {
        Ok(launch) => become_program(&launch, what),
        Err(error) => error,
    };
    let text = format!("moji-client: failed to start the build: {error}\n");
    let _ = io::stderr().write_all(text.as_bytes());
    if let Some(mut note) = note {
        let _ = note.write_all(text.as_bytes());
    }
    NOT_STARTED
}

fn become_program(launch: &Launch, what: &str) -> io::Error {
    let words = match what {
        "build" => Some(&launch.build),
        number => number.parse().ok().and_then(|number: usize| launch.clean.get(number)),
    };
    let Some((program, words)) = words.and_then(|words| words.split_first()) else {
        return io::Error::other("no such command");
    };
    set_oom_score(OOM_SCORE_EXPOSED);
    if let Some(user) = &launch.user
        && let Err(error) = become_user(&user.name, user.uid, user.gid)
    {
        return io::Error::other(format!("becoming user {}: {error}", user.name));
    }
    let env = launch.env.iter().map(|(name, value)| (name, value));
    let error = Command::new(program).args(words).env_clear().envs(env).current_dir("/").exec();
    io::Error::new(error.kind(), format!("{program}: {error}"))
}

/// Gives up root for good: groups first, since a user may not change them.
///
/// # Errors
/// Whatever the kernel says.
pub fn become_user(name: &str, uid: u32, gid: u32) -> io::Result<()> {
    let name = std::ffi::CString::new(name).map_err(io::Error::other)?;
    initgroups(&name, gid.into())?;
    setgid(gid.into())?;
    setuid(uid.into())?;
    Ok(())
}

/// Starts the shim of the job in `folder`, in a process that outlives this one.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn spawn(folder: &JobFolder) -> io::Result<std::process::Child> {
    let log: PathBuf = folder.entry("shim.log");
    let log = OpenOptions::new().append(true).create(true).open(log)?;
    Command::new("/proc/self/exe")
        .arg0("moji-client")
        .args(["--shim".as_ref(), folder.0.as_os_str()])
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
}

/// Starts one of the commands that clean up after a killed build.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn spawn_cleaner(folder: &JobFolder, number: usize) -> io::Result<std::process::Child> {
    Command::new("/proc/self/exe")
        .arg0("moji-client")
        .args(["--run".as_ref(), folder.0.as_os_str(), number.to_string().as_ref()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
