//! mock: what a build comes to.
//!
//! Owns the outcomes, which follow from what the package is like and from the faults of builds.

use super::*;

impl World {
    pub(super) fn build_starts(&mut self, board: usize, lease: LeaseId, build: u64) {
        let it = &self.boards[board];
        let Some(job) = it.around.folder.jobs.get(&lease) else { return };
        let package = number_of(&job.record.srpm);
        let (bytes, digest) = &self.srpms[package];
        let right = job.srpm == *bytes && job.record.digest == *digest;
        let others = it.around.folder.jobs.iter().filter(|(id, job)| **id != lease && job.running.is_some());
        let others = others.count();
        self.check.started(lease, it.public, others, right);
        self.check.has(package, &job.record.options);
        if it.once && it.around.started > 1 {
            self.check.fail(format!("board{board} runs with --once and builds {lease} as its second job"));
        }
        let ms = self.opt.packages[package].build_ms;
        let ms = match self.opt.speeds.get(board) {
            Some(percent) => ms * 100 / u64::from(*percent),
            None => ms / 2 + self.dice.below(ms + 1),
        };
        self.builds.push(Build { board, package, began_ms: self.now_ms, ended_ms: None });
        self.at(self.now_ms + ms / 2, Ev::Build(board, lease, build, false));
        self.at(self.now_ms + ms, Ev::Build(board, lease, build, true));
    }

    pub(super) fn build(&mut self, board: usize, lease: LeaseId, build: u64, ends: bool) {
        let Some(job) = self.boards[board].around.folder.jobs.get(&lease) else { return };
        if job.running != Some(build) {
            return;
        }
        let package = number_of(&job.record.srpm);
        if ends {
            self.stats.builds += 1;
            let mut last = self.builds.iter_mut().rev();
            if let Some(build) = last.find(|it| it.board == board && it.package == package) {
                build.ended_ms = Some(self.now_ms);
            }
            return self.build_ends(board, lease, package);
        }
        let log = vec![b'l'; self.opt.packages[package].log_bytes / 2];
        let size = log.len() as u64;
        let around = &mut self.boards[board].around;
        if let Some(job) = around.folder.jobs.get_mut(&lease) {
            job.results.insert(file_name("build.log"), log);
        }
        around.events.push_back(Event::PhaseSeen { lease, phase: Phase::Build });
        around.events.push_back(Event::LogGrown { lease, which: Which::Build, size });
        self.board_run(board);
    }

    pub(super) fn build_ends(&mut self, board: usize, lease: LeaseId, package: usize) {
        let [infra, lost, memory] = self.opt.build_faults;
        let (infra, lost, memory) = (self.chance(infra), self.chance(lost), self.chance(memory));
        let indexed = self.indexed();
        let provided =
            |needed: usize| indexed.iter().any(|path| path.ends_with(&format!("/p{needed}-1-1.noarch.rpm")));
        let thin = self.boards[board].around.folder.jobs.get(&lease).map(|job| job.record.place.clone());
        let is_thin = thin.is_some_and(|place| !place.as_str().is_empty());
        let lacks = is_thin && self.chance(self.opt.thin);
        let plan = &self.opt.packages[package];
        let line = |which: Which, text: &str| vec![(which, Line::lossy(text))];
        let needs = |needed: &str| line(Which::Root, &format!("No matching package to install: '{needed}'"));
        let (code, evidence) = match plan.nature {
            _ if lacks => (30, needs(LACKS)),
            _ if infra => (30, line(Which::Root, "Status code: 503 for http://hub/repo")),
            _ if memory => (247, Vec::new()),
            Nature::Large(mib) if self.boards[board].memory_mib < mib => (247, Vec::new()),
            Nature::Needs(needed) if !provided(needed) => (30, needs(&format!("p{needed}"))),
            Nature::NeedsNothingThere => (30, needs("nothing-there")),
            Nature::Failing => {
                (1, line(Which::Build, "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)"))
            }
            _ => (0, Vec::new()),
        };
        let made = self.results(package, code == 0);
        let summary = Summary {
            exit: Exit::Code(code),
            phase: Phase::Build,
            backend: Backend::Mock,
            seconds: 1,
            oom_kills: 0,
            peak_memory_mib: 0,
            silence_s: 0,
            files: made.iter().map(|(file, _)| file.clone()).collect(),
            evidence,
        };
        self.say(|| format!("board{board} lease={lease} mock ends with {code}, lost {lost}"));
        let around = &mut self.boards[board].around;
        let Some(job) = around.folder.jobs.get_mut(&lease) else { return };
        job.running = None;
        if lost {
            around.events.push_back(Event::ShimDied { lease });
        } else {
            job.results = made.iter().map(|(file, bytes)| (file.name.clone(), bytes.clone())).collect();
            job.summary = Some(summary.clone());
            around.events.push_back(Event::Ended { lease, summary });
        }
        if self.boards[board].core.is_none() {
            // Whoever starts next finds it in the folder.
            self.boards[board].around.events.clear();
        }
        self.board_run(board);
    }

    /// What mock leaves of a package: the same every time.
    fn results(&mut self, package: usize, good: bool) -> Made {
        if let Some(made) = self.made.get(&(package, good)) {
            return made.clone();
        }
        let plan = &self.opt.packages[package];
        let mut files = vec![(file_name("build.log"), vec![b'l'; plan.log_bytes])];
        if good {
            let (name, source) = match plan.nature {
                Nature::Foreign => ("evil".to_owned(), rpm::source("evil", 1, 9)),
                _ => (format!("p{package}"), self.srpms[package].0.clone()),
            };
            let mut binary = rpm::binary(&name, &name, 1, plan.payload_bytes);
            if plan.nature == Nature::Damaged {
                binary.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1);
            }
            files.push((file_name(&format!("{name}-1-1.src.rpm")), source));
            files.push((file_name(&format!("{name}-1-1.noarch.rpm")), binary));
        }
        let listed = |(name, bytes): (FileName, Vec<u8>)| {
            let digest = Digest::of(&bytes);
            (ResultFile { name, size: bytes.len() as u64, digest }, bytes)
        };
        let made: Made = Rc::new(files.into_iter().map(listed).collect());
        self.made.insert((package, good), made.clone());
        made
    }

    pub(super) fn killed(&mut self, board: usize, run: u32, lease: LeaseId, clean: bool) {
        let it = &mut self.boards[board];
        if it.epoch != run || it.core.is_none() {
            return;
        }
        if clean {
            it.around.folder.jobs.remove(&lease);
        }
        it.around.events.push_back(Event::Killed { lease });
        self.board_run(board);
    }
}
