//! Shims, what they run, and how it is killed.
//!
//! Owns the processes of all jobs. Never waits: everything is looked at in ticks, twice a second
//! while something builds, five times while it writes, and ten times while something is being killed.
//!
//! ```text
//! Term ──mock gone, or 10 s──▶ Sweep ──nothing left, or 3 s──▶ Clean 0 ──▶ Clean 1 ──▶ done
//! ```

use std::fs;
use std::io;
use std::process::Child;

use log::Level;
use moji_proto::message::{Phase, Which};
use moji_proto::{LeaseId, Time};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::core::{Event, JobRecord, Repos};
use crate::files;
use crate::jobmap::JobMap;
use crate::launch::{JobFolder, Launch, MARKER, Tools};
use crate::proc::{self, Belongs, Process};
use crate::shim;
use crate::state::StateFolder;

/// How often a build is looked at that writes nothing, milliseconds.
const LOOK_EVERY_MS: u64 = 500;
/// How often one is looked at that wrote something since the last time, milliseconds: who follows its log takes
/// that for live, and it costs a few stat(2).
const LOOK_AGAIN_MS: u64 = 200;
/// How often a kill goes on, milliseconds.
const KILL_EVERY_MS: u64 = 100;
/// How long mock may take to end after SIGTERM, milliseconds: measured 0.5 to 1.6 s, and what is
/// left of the 15 s of a stop.
const TERM_MAX_MS: u64 = 10_000;
/// How long processes are looked for and killed after mock is gone, milliseconds.
const SWEEP_MAX_MS: u64 = 3_000;
/// How long one cleaning command may take, milliseconds: deleting a chroot on a slow card.
const CLEAN_MAX_MS: u64 = 600_000;

/// How long until a folder is deleted again that could not be, milliseconds: a disk that failed once may fail for long.
const DELETE_AGAIN_MS: u64 = 10_000;

/// One build that is looked at.
struct Running {
    folder: JobFolder,
    /// The shim, where this process started it.
    child: Option<Child>,
    sizes: [u64; 4],
}

/// Where a kill is.
enum Step {
    Term { until: Time },
    Sweep { until: Time },
    Clean { number: usize, child: Child, until: Time },
    Done,
}

/// One build that is being killed.
struct Killing {
    lease: LeaseId,
    folder: JobFolder,
    launch: Launch,
    shim: Option<Process>,
    mock: Option<Process>,
    clean: bool,
    /// Whether nothing of the job is needed any more: else the next process cleans up.
    deletes: bool,
    step: Step,
}

/// The processes of all jobs.
pub(super) struct ChildrenSet {
    state: StateFolder,
    tools: Tools,
    running: JobMap<Running>,
    killing: Vec<Killing>,
    /// Children that only have to be reaped.
    ending: Vec<Child>,
    look_at: Time,
    /// Kills that were over at once.
    killed: Vec<LeaseId>,
    /// Folders that could not be deleted, and when it is tried again.
    left: Vec<JobFolder>,
    delete_at: Time,
}

impl ChildrenSet {
    pub(super) fn new(state: StateFolder, tools: Tools) -> ChildrenSet {
        ChildrenSet {
            state,
            tools,
            running: JobMap::default(),
            killing: Vec::new(),
            ending: Vec::new(),
            look_at: Time(0),
            killed: Vec::new(),
            left: Vec::new(),
            delete_at: Time(0),
        }
    }

    /// Looks at a build that an earlier process started.
    pub(super) fn watch(&mut self, lease: LeaseId) {
        let running = Running { folder: self.state.job(lease), child: None, sizes: [0; 4] };
        self.running.insert(lease, running);
    }

    pub(super) fn start(&mut self, record: &JobRecord, repos: &Repos) -> io::Result<()> {
        let folder = self.state.job(record.lease);
        let len = fs::metadata(folder.entry("srpm").join(&record.srpm))?.len();
        if len != record.size {
            return Err(io::Error::other(format!("the SRPM has {len} of {} bytes", record.size)));
        }
        folder.renew(record)?;
        folder.write("launch", &self.tools.launch(&folder, record, repos))?;
        let child = Some(shim::spawn(&folder)?);
        self.running.insert(record.lease, Running { folder, child, sizes: [0; 4] });
        Ok(())
    }

    /// Begins to kill what runs of a job. A kill under way that was to clean stops cleaning if this
    /// one is not to.
    pub(super) fn kill(&mut self, now: Time, lease: LeaseId, clean: bool) {
        if let Some(killing) = self.killing.iter_mut().find(|killing| killing.lease == lease) {
            killing.stop_cleaning(clean);
            return;
        }
        let folder = self.state.job(lease);
        if let Some(running) = self.running.remove(lease) {
            self.ending.extend(running.child);
        }
        let Ok(launch) = folder.launch() else {
            // Nothing was ever started.
            self.forget(now, lease);
            self.killed.push(lease);
            return;
        };
        if let Err(error) = files::replace(&folder.entry("over"), b"", 0o644) {
            log::warn!("lease={lease} failed to mark the job as over: {error}");
        }
        // A shim that has not claimed its job yet finds itself too late.
        let nobody = Process { pid: 0, start: 0, boot: String::new() };
        let _ = folder.claim(&nobody);
        let (shim, mock) = (folder.process("shim"), folder.process("mock"));
        if let Some(mock) = &mock {
            mock.signal(Signal::SIGTERM);
        }
        let step = Step::Term { until: now.plus_ms(TERM_MAX_MS) };
        self.killing.push(Killing { lease, folder, launch, shim, mock, clean, deletes: false, step });
    }

    /// When the next tick is due.
    pub(super) fn due(&self, now: Time) -> Option<Time> {
        if !self.killed.is_empty() {
            Some(now)
        } else if !self.killing.is_empty() {
            Some(now.plus_ms(KILL_EVERY_MS))
        } else {
            let look = (!self.running.is_empty()).then_some(self.look_at.max(now));
            let delete = (!self.left.is_empty()).then_some(self.delete_at.max(now));
            look.into_iter().chain(delete).min()
        }
    }

    /// Reaps what ended, so that the next tick looks at once.
    pub(super) fn reap(&mut self) {
        self.ending.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        self.look_at = Time(0);
    }

    /// Looks at everything that is due. Logs are looked at only if there is `room` to send them.
    #[inline(never)]
    pub(super) fn tick(&mut self, now: Time, room: bool, events: &mut impl Extend<Event>) {
        events.extend(self.killed.drain(..).map(|lease| Event::Killed { lease }));
        if now >= self.look_at && !self.running.is_empty() {
            let mut pause_ms = LOOK_EVERY_MS;
            let mut over = Vec::new();
            for (lease, running) in self.running.iter_mut() {
                let sizes = running.sizes;
                let (seen, ended) = running.look(lease, room);
                if running.sizes != sizes {
                    pause_ms = LOOK_AGAIN_MS;
                }
                events.extend(seen);
                if let Some(ended) = ended {
                    events.extend([ended]);
                    over.push(lease);
                }
            }
            self.look_at = now.plus_ms(pause_ms);
            for lease in over {
                let running = self.running.remove(lease);
                self.ending.extend(running.and_then(|running| running.child));
            }
        }
        for killing in &mut self.killing {
            killing.advance(now);
        }
        let (done, left) = std::mem::take(&mut self.killing)
            .into_iter()
            .partition(|killing| matches!(killing.step, Step::Done));
        self.killing = left;
        let done: Vec<Killing> = done;
        for Killing { lease, deletes, .. } in done {
            if deletes {
                self.forget(now, lease);
            }
            events.extend([Event::Killed { lease }]);
        }
        if !self.left.is_empty() && now >= self.delete_at {
            let left = std::mem::take(&mut self.left);
            left.into_iter().for_each(|folder| self.delete(now, folder, Level::Debug));
        }
        self.ending.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }

    /// Deletes a job's folder, now or when its disk lets it.
    pub(super) fn forget(&mut self, now: Time, lease: LeaseId) {
        self.delete(now, self.state.job(lease), Level::Error);
    }

    fn delete(&mut self, now: Time, folder: JobFolder, level: Level) {
        if let Err(error) = files::remove_folder(&folder.0) {
            log::log!(level, "failed to delete {}: {error}; trying again", folder.0.display());
            self.left.push(folder);
            self.delete_at = now.plus_ms(DELETE_AGAIN_MS);
        }
    }
}

impl Running {
    /// What can be seen of a build, and how it ended if it did.
    fn look(&mut self, lease: LeaseId, room: bool) -> (Vec<Event>, Option<Event>) {
        let mut seen = Vec::new();
        // Looked at before the logs, so that the logs are whole when the end is seen.
        let dead = self.is_shim_dead();
        let summary = self.folder.summary();
        let result = self.folder.result();
        if self.folder.entry("collect").exists() {
            seen.push(Event::PhaseSeen { lease, phase: Phase::Collect });
        } else if let Some(phase) = shim::phase_of(&result) {
            seen.push(Event::PhaseSeen { lease, phase });
        }
        for which in Which::ALL.into_iter().filter(|_| room) {
            // lstat: what the build's user put there is not followed.
            let Ok(meta) = fs::symlink_metadata(result.join(which.file_name())) else { continue };
            let size = &mut self.sizes[which as usize];
            if meta.is_file() && meta.len() >= *size {
                *size = meta.len();
                seen.push(Event::LogGrown { lease, which, size: meta.len() });
            }
        }
        let ended = match summary {
            Ok(summary) => Some(Event::Ended { lease, summary }),
            Err(_) if dead => Some(Event::ShimDied { lease }),
            Err(_) => None,
        };
        (seen, ended)
    }

    fn is_shim_dead(&mut self) -> bool {
        if let Some(child) = &mut self.child {
            return !matches!(child.try_wait(), Ok(None));
        }
        !self.folder.process("shim").is_some_and(|shim| shim.is_alive())
    }
}

impl Killing {
    fn stop_cleaning(&mut self, clean: bool) {
        self.clean &= clean;
        if !self.clean
            && let Step::Clean { child, .. } = &mut self.step
        {
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
            let _ = child.try_wait();
            self.step = Step::Done;
        }
    }

    #[inline(never)]
    fn advance(&mut self, now: Time) {
        match &mut self.step {
            Step::Term { until } => {
                let alive = self.mock.as_ref().is_some_and(Process::is_alive);
                if alive && now < *until {
                    return;
                }
                if let Some(mock) = &self.mock {
                    mock.signal(Signal::SIGKILL);
                }
                self.step = Step::Sweep { until: now.plus_ms(SWEEP_MAX_MS) };
                self.advance(now);
            }
            Step::Sweep { until } => {
                let until = *until;
                if self.sweep() && now < until {
                    return;
                }
                // Last, because its descendants are known by it; gone when it is not there to signal.
                let shim_was_there = self.shim.as_ref().is_some_and(|shim| shim.signal(Signal::SIGKILL));
                if shim_was_there && now < until {
                    return;
                }
                self.unmount();
                self.next_clean(0, now);
            }
            Step::Clean { number, child, until } => match child.try_wait() {
                Ok(None) if now < *until => {}
                Ok(None) => {
                    log::warn!("lease={} cleaning takes too long: given up", self.lease);
                    let _ = child.kill();
                    let _ = child.try_wait();
                    self.finish();
                }
                _ => {
                    let next = *number + 1;
                    self.next_clean(next, now);
                }
            },
            Step::Done => {}
        }
    }

    /// Kills what is there of the build; false if nothing was.
    fn sweep(&self) -> bool {
        // Those of another boot are numbers of somebody else by now.
        let ancestors: Vec<i32> =
            [&self.shim, &self.mock].into_iter().flatten().filter(|p| p.is_alive()).map(|p| p.pid).collect();
        let marker = format!("{MARKER}={}", self.launch.ext);
        let belongs = Belongs { ancestors: &ancestors, marker: &marker, ext: &self.launch.ext };
        let left = proc::of_build(&belongs);
        for pid in &left {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        !left.is_empty() || self.mock.as_ref().is_some_and(Process::is_alive)
    }

    fn unmount(&self) {
        for mount in proc::mounts_under(&self.launch.ext) {
            if let Err(error) = umount2(&mount, MntFlags::MNT_DETACH) {
                log::warn!("lease={} failed to unmount {}: {error}", self.lease, mount.display());
            }
        }
    }

    fn next_clean(&mut self, number: usize, now: Time) {
        if !self.clean {
            self.step = Step::Done;
        } else if number >= self.launch.clean.len() {
            self.finish();
        } else {
            match shim::spawn_cleaner(&self.folder, number) {
                Ok(child) => {
                    self.step = Step::Clean { number, child, until: now.plus_ms(CLEAN_MAX_MS) };
                }
                Err(error) => {
                    log::warn!("lease={} failed to clean the chroot: {error}", self.lease);
                    self.finish();
                }
            }
        }
    }

    fn finish(&mut self) {
        self.deletes = true;
        self.step = Step::Done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moji_proto::message::{Backend, Limits};
    use moji_proto::{Digest, FileName};

    fn tools() -> Tools {
        Tools {
            backend: Backend::Mock,
            program: "/bin/true".to_owned(),
            cfg: "mini".to_owned(),
            user: None,
            sudo: None,
            home: "/".to_owned(),
            timeout_s: None,
            chroots: None,
            has_addrepo: true,
        }
    }

    #[test]
    fn a_build_does_not_start_from_an_srpm_whose_last_piece_was_not_stored() {
        // Simulation, seed 285: the disk was full at the last piece, and mock got a cut SRPM.
        let dir = tempfile::tempdir().unwrap();
        let state = StateFolder::create(&dir.path().join("state")).unwrap();
        let record = JobRecord {
            lease: LeaseId { incarnation: 17, counter: 1 },
            srpm: FileName::new("a-1-1.src.rpm").unwrap(),
            size: 9,
            digest: Digest::of(b"123456789"),
            options: Vec::new(),
            limits: Limits::default(),
            place: Default::default(),
        };
        let folder = state.job(record.lease);
        fs::create_dir_all(folder.entry("srpm")).unwrap();
        fs::write(folder.entry("srpm").join(&record.srpm), "123456").unwrap();
        let mut children = ChildrenSet::new(state, tools());
        let error = children.start(&record, &Repos { urls: Vec::new(), alone: false }).unwrap_err();
        assert_eq!(error.to_string(), "the SRPM has 6 of 9 bytes");
        assert!(children.running.is_empty() && !folder.entry("launch").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_deleted_goes_when_it_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateFolder::create(&dir.path().join("state")).unwrap();
        let lease = LeaseId { incarnation: 17, counter: 1 };
        let path = state.job(lease).0;
        // What is no folder cannot be deleted as one.
        fs::write(&path, "").unwrap();
        let mut children = ChildrenSet::new(state, tools());
        assert_eq!(children.due(Time(5)), None);
        children.forget(Time(5), lease);
        let again = Time(5).plus_ms(DELETE_AGAIN_MS);
        assert_eq!(children.due(Time(5)), Some(again));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let mut events = Vec::new();
        children.tick(Time(6), true, &mut events);
        assert!(path.exists());
        children.tick(again, true, &mut events);
        assert!(!path.exists() && events.is_empty());
        assert_eq!(children.due(again), None);
    }
}
