//! What is run for one job: the command lines, as whom, and where things lie in the job's folder.
//!
//! Owns the layout of a job's folder and the files in it that client and shim share. A job's folder:
//!
//! | entry | is |
//! |---|---|
//! | `job` | the job's record, written before anything is fetched |
//! | `srpm/` | the SRPM |
//! | `launch` | what to run, written before the shim is started |
//! | `shim`, `mock` | their process numbers with start times; `shim` is linked, so that only one can claim it |
//! | `result/` | what mock leaves, with `mock.log` |
//! | `collect` | mock is done, the shim hashes |
//! | `manifest`, `status` | what was built; `status` is written last |
//! | `over` | kill and clean whatever is left of this job |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use moji_proto::message::Backend;
use moji_proto::{Digest, LeaseId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::{JobRecord, Repos, Summary};
use crate::files;
use crate::proc::Process;

/// Where programs are looked for, and what mock gets as PATH.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Environment variable that marks every process of a job; its value is [`Launch::ext`].
pub const MARKER: &str = "MOJI_JOB";
/// Hexadecimal digits that tell one client's job folder from another's of the same lease: one in four
/// thousand million is taken for another's, and paths of Unix sockets in chroots stay short.
const EXT_DIGITS: usize = 8;
/// `--uniqueext` of the question for the chroot's path; no lease is called so.
pub const PROBE_EXT: &str = "moji-probe";

/// As whom mock runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    /// User name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
}

/// What the shim and the cleaner run for one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The lease.
    pub lease: LeaseId,
    /// What builds.
    pub backend: Backend,
    /// The build's command line.
    pub build: Vec<String>,
    /// What is run after a kill, in order.
    pub clean: Vec<Vec<String>>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Whom to become first; none stays what the client is.
    pub user: Option<RunAs>,
    /// Who owns the result folder; none leaves it as it is.
    pub owner: Option<(u32, u32)>,
    /// mock's `--uniqueext`, which ends the name of the chroot's folder.
    pub ext: String,
    /// Seconds after which the shim ends the build itself, where the backend has no such option.
    pub timeout_s: Option<u32>,
}

/// How builds are run on this machine: the same for all jobs of a process.
#[derive(Clone, Debug)]
pub struct Tools {
    /// What builds.
    pub backend: Backend,
    /// mock or rpmbuild, absolute.
    pub program: String,
    /// What `mock -r` gets.
    pub cfg: String,
    /// Whom to become; none stays what the client is.
    pub user: Option<RunAs>,
    /// SUDO_UID and SUDO_USER for a mock that runs as root, if there is such a user.
    pub sudo: Option<RunAs>,
    /// Home folder of that user.
    pub home: String,
    /// `--rpmbuild_timeout` for every job, seconds.
    pub timeout_s: Option<u32>,
    /// Where mock keeps its chroots, if it said so.
    pub chroots: Option<PathBuf>,
    /// Whether mock knows `--addrepo`. An old one relies on its configuration.
    pub has_addrepo: bool,
}

impl Tools {
    /// The environment of mock, and of nothing else of ours.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        let mut env = vec![("PATH", PATH.to_owned()), ("HOME", self.home.clone())];
        env.push(("LANG", "C.UTF-8".to_owned()));
        env.push(("TERM", "dumb".to_owned()));
        if let Some(user) = &self.user {
            env.push(("USER", user.name.clone()));
            env.push(("LOGNAME", user.name.clone()));
        }
        if let Some(sudo) = &self.sudo {
            env.push(("SUDO_UID", sudo.uid.to_string()));
            env.push(("SUDO_GID", sudo.gid.to_string()));
            env.push(("SUDO_USER", sudo.name.clone()));
        }
        env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What to run for `record` in the job's folder.
    #[must_use]
    pub fn launch(&self, folder: &JobFolder, record: &JobRecord, repos: &Repos) -> Launch {
        let ext = folder.ext(record.lease);
        let mut env = self.env();
        env.push((MARKER.to_owned(), ext.clone()));
        let owner = self.user.as_ref().or(self.sudo.as_ref()).map(|user| (user.uid, user.gid));
        let (build, clean, timeout_s) = match self.backend {
            Backend::Mock => (self.mock(folder, record, repos, &ext), self.clean(folder, &ext), None),
            Backend::Rpmbuild => {
                for (name, value) in &mut env {
                    if name == "HOME" {
                        *value = folder.work().display().to_string();
                    }
                }
                let (build, timeout_s) = self.rpmbuild(folder, record);
                // A build tree may hold 100,000 files: not for the client's loop to delete.
                let work = folder.work().display().to_string();
                let rm = find_program("rm").map(|rm| rm.display().to_string());
                let clean = rm.map(|rm| vec![rm, "-rf".to_owned(), work]).into_iter().collect();
                (build, clean, timeout_s)
            }
        };
        let (lease, backend, user) = (record.lease, self.backend, self.user.clone());
        Launch { lease, backend, build, clean, env, user, owner, ext, timeout_s }
    }

    fn mock(&self, folder: &JobFolder, record: &JobRecord, repos: &Repos, ext: &str) -> Vec<String> {
        let mut words = vec![self.program.clone(), "-r".to_owned(), self.cfg.clone()];
        words.push(format!("--uniqueext={ext}"));
        words.push(format!("--resultdir={}", folder.result().display()));
        if self.has_addrepo {
            words.extend(repos.urls.iter().map(|url| format!("--addrepo={url}")));
            if repos.alone {
                // In this order: the other way round dnf finds nothing enabled.
                words.push("--disablerepo=*".to_owned());
                words.extend(repos.urls.iter().map(|url| format!("--enablerepo={}", repo_id(url))));
            }
        }
        words.extend(self.timeout_s.map(|seconds| format!("--rpmbuild_timeout={seconds}")));
        words.extend(record.options.iter().map(|word| word.as_str().to_owned()));
        words.push("--rebuild".to_owned());
        words.push(folder.srpm(record).display().to_string());
        words
    }

    /// With the result folder of the build: without one mock takes its own, which lies beside the
    /// chroot, and leaves the folder around both.
    fn clean(&self, folder: &JobFolder, ext: &str) -> Vec<Vec<String>> {
        ["--orphanskill", "--clean"]
            .iter()
            .map(|verb| {
                let ext = format!("--uniqueext={ext}");
                let result = format!("--resultdir={}", folder.result().display());
                vec![self.program.clone(), "-r".into(), self.cfg.clone(), ext, result, (*verb).to_owned()]
            })
            .collect()
    }

    /// The options that the hub allows are rpmbuild's own, but for the time-out.
    fn rpmbuild(&self, folder: &JobFolder, record: &JobRecord) -> (Vec<String>, Option<u32>) {
        let mut timeout_s = self.timeout_s;
        let mut words = vec![self.program.clone(), "-ra".to_owned()];
        let result = folder.result().display().to_string();
        for (macro_name, value) in [
            ("_topdir", folder.work().display().to_string()),
            ("_rpmdir", result.clone()),
            ("_srcrpmdir", result),
            ("_rpmfilename", "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned()),
            ("_tmppath", folder.work().join("tmp").display().to_string()),
        ] {
            words.extend(["--define".to_owned(), format!("{macro_name} {value}")]);
        }
        let mut options = record.options.iter().map(|word| word.as_str());
        while let Some(word) = options.next() {
            let seconds = match word.strip_prefix("--rpmbuild_timeout") {
                Some("") => options.next(),
                Some(rest) => rest.strip_prefix('='),
                None => {
                    words.push(word.to_owned());
                    continue;
                }
            };
            timeout_s = seconds.and_then(|seconds| seconds.parse().ok()).or(timeout_s);
        }
        words.push(folder.srpm(record).display().to_string());
        (words, timeout_s.filter(|seconds| *seconds > 0))
    }
}

/// One job's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFolder(pub PathBuf);

impl JobFolder {
    /// What the job's chroot and processes are known by on this machine. The lease alone will not do: hubs that
    /// started in the same second number their leases alike, and what is known so is killed.
    #[must_use]
    pub fn ext(&self, lease: LeaseId) -> String {
        let folder = Digest::of(self.0.as_os_str().as_encoded_bytes()).to_string();
        format!("moji-{lease}-{}", &folder[..EXT_DIGITS])
    }

    /// Where the SRPM lies.
    #[must_use]
    pub fn srpm(&self, record: &JobRecord) -> PathBuf {
        self.0.join("srpm").join(record.srpm.as_str())
    }

    /// mock's result folder.
    #[must_use]
    pub fn result(&self) -> PathBuf {
        self.0.join("result")
    }

    /// rpmbuild's `_topdir`.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// An entry of the folder.
    #[must_use]
    pub fn entry(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The job's record.
    ///
    /// # Errors
    /// Any error of the file system; `InvalidData` if it is no record.
    pub fn record(&self) -> io::Result<JobRecord> {
        self.read("job")
    }

    /// What to run.
    ///
    /// # Errors
    /// As [`JobFolder::record`].
    pub fn launch(&self) -> io::Result<Launch> {
        self.read("launch")
    }

    /// Makes the folder ready for a build whatever an earlier one left, which `record` may differ from in its place.
    /// Whoever is killed on the way leaves the earlier result, or a job that was not begun.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn renew(&self, record: &JobRecord) -> io::Result<()> {
        // The last of them says whether it came to the end.
        const LEFT: [&str; 5] = ["status", "manifest", "collect", "mock", "shim"];
        if !self.entry("launch").exists() && !self.entry("shim").exists() {
            return Ok(());
        }
        self.write("job", record)?;
        files::remove(&self.entry("launch"))?;
        files::sync_folder(&self.0)?;
        files::remove_folder(&self.result())?;
        LEFT.iter().try_for_each(|name| files::remove(&self.entry(name)))
    }

    /// The process that a file names, if it is there.
    #[must_use]
    pub fn process(&self, name: &str) -> Option<Process> {
        self.read(name).ok()
    }

    /// How the build ended, once `status` is there.
    ///
    /// # Errors
    /// As [`JobFolder::record`]; `NotFound` before the end.
    pub fn summary(&self) -> io::Result<Summary> {
        fs::metadata(self.entry("status"))?;
        self.read("manifest")
    }

    /// Reads one of the entries.
    ///
    /// # Errors
    /// As [`JobFolder::record`].
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<T> {
        let mut bytes = fs::read(self.entry(name))?;
        // Stands for the last two numbers of what was written when there were none yet. What is left over is ignored.
        bytes.extend([0; 2]);
        postcard::from_bytes(&bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "damaged"))
    }

    /// Replaces one of the entries, durably.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        let bytes = postcard::to_stdvec(value).map_err(io::Error::other)?;
        files::replace(&self.entry(name), &bytes, 0o644)
    }

    /// Claims the job for `process`: true for the first who does, false for all others. A shim
    /// claims its job before it starts anything; who wants to clean up after a shim that never wrote
    /// a word claims it first, so that a late shim finds itself too late.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn claim(&self, process: &Process) -> io::Result<bool> {
        let name = format!("shim.{}", process.pid);
        self.write(&name, process)?;
        let linked = fs::hard_link(self.entry(&name), self.entry("shim"));
        files::remove(&self.entry(&name))?;
        match linked {
            Ok(()) => files::sync_folder(&self.0).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// How mock calls a repository that is added by this URL: without scheme, `/` as `_`, other signs dropped.
fn repo_id(url: &str) -> String {
    let rest = url.split_once("//").map_or(url, |(_, rest)| rest);
    rest.replace('/', "_").chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// The path of `program` as mock's environment finds it: itself if it has a slash.
#[must_use]
pub fn find_program(program: &str) -> Option<PathBuf> {
    let executable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return std::path::absolute(program).ok().filter(|path| executable(path));
    }
    PATH.split(':').map(|folder| Path::new(folder).join(program)).find(|path| executable(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use moji_proto::{FileName, Line};

    fn tools(backend: Backend) -> Tools {
        let program = "/usr/bin/mock".to_owned();
        let (cfg, home) = ("mini".to_owned(), "/".to_owned());
        Tools {
            backend,
            program,
            cfg,
            user: None,
            sudo: None,
            home,
            timeout_s: Some(60),
            chroots: None,
            has_addrepo: true,
        }
    }

    fn record(options: &[&str]) -> JobRecord {
        JobRecord {
            lease: LeaseId { incarnation: 17, counter: 1 },
            srpm: FileName::new("a-1-1.src.rpm").unwrap(),
            size: 1,
            digest: Digest::of(b""),
            options: options.iter().map(|word| Line::new(*word).unwrap()).collect(),
            limits: Default::default(),
            place: Default::default(),
        }
    }

    #[test]
    fn mock_gets_its_options_before_the_package() {
        let folder = JobFolder("/s/jobs/17-1".into());
        let record = record(&["--nocheck"]);
        let repos = Repos { urls: vec!["http://hub:6780/repo/".to_owned()], alone: false };
        let launch = tools(Backend::Mock).launch(&folder, &record, &repos);
        let ext = folder.ext(record.lease);
        assert!(ext.starts_with("moji-17-1-") && ext.len() == 18, "{ext}");
        assert!(launch.env.contains(&(MARKER.to_owned(), ext.clone())));
        assert_eq!(
            launch.build.join(" "),
            format!(
                "/usr/bin/mock -r mini --uniqueext={ext} --resultdir=/s/jobs/17-1/result \
                 --addrepo=http://hub:6780/repo/ --rpmbuild_timeout=60 --nocheck --rebuild \
                 /s/jobs/17-1/srpm/a-1-1.src.rpm"
            )
        );
        let clean =
            format!("/usr/bin/mock -r mini --uniqueext={ext} --resultdir=/s/jobs/17-1/result --clean");
        assert_eq!(launch.clean[1].join(" "), clean);
    }

    #[test]
    fn jobs_of_two_clients_with_one_lease_number_are_told_apart() {
        let lease = record(&[]).lease;
        let [one, other] =
            ["/s/one/jobs/17-1", "/s/two/jobs/17-1"].map(|path| JobFolder(path.into()).ext(lease));
        assert_ne!(one, other);
    }

    #[test]
    fn rpmbuild_gets_the_options_and_the_shim_the_timeout() {
        let folder = JobFolder("/s/jobs/17-1".into());
        for (options, timeout) in [
            (vec!["--nocheck", "--rpmbuild_timeout", "9"], Some(9)),
            (vec!["--rpmbuild_timeout=7", "--nocheck"], Some(7)),
            (vec!["--nocheck"], Some(60)),
        ] {
            let launch = tools(Backend::Rpmbuild).launch(
                &folder,
                &record(&options),
                &Repos { urls: Vec::new(), alone: false },
            );
            assert_eq!(launch.timeout_s, timeout);
            let options: Vec<&String> =
                launch.build.iter().filter(|word| word.contains("rpmbuild_")).collect();
            assert!(options.is_empty() && launch.build.contains(&"--nocheck".to_owned()));
        }
    }

    #[test]
    fn one_repository_alone_is_added_and_all_others_are_switched_off_before_it_is_switched_on() {
        let folder = JobFolder("/s/jobs/17-1".into());
        for (url, id) in [
            ("http://hub:6780/thin/0f2e/", "hub6780_thin_0f2e_"),
            ("http://127.0.0.1:8571/thin", "1270018571_thin"),
            ("http://[::1]:6780/a-b//c", "16780_ab__c"),
        ] {
            let repos = Repos { urls: vec![url.to_owned()], alone: true };
            let words = tools(Backend::Mock).launch(&folder, &record(&[]), &repos).build.join(" ");
            let want = format!(" --addrepo={url} --disablerepo=* --enablerepo={id} --rpmbuild_timeout=60 ");
            assert!(words.contains(&want), "{words}");
        }
        let old = Tools { has_addrepo: false, ..tools(Backend::Mock) };
        let repos = Repos { urls: vec!["http://hub/".to_owned()], alone: true };
        let words = old.launch(&folder, &record(&[]), &repos).build.join(" ");
        assert!(!words.contains("repo="), "its configuration's own are all it has: {words}");
    }

    #[test]
    fn a_folder_is_made_ready_for_another_build_wherever_the_last_one_was_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let folder = JobFolder(dir.path().join("17-1"));
        let entries = ["launch", "status", "manifest", "collect", "mock"];
        // How many of them an earlier attempt to do this had removed.
        for removed in 0..=entries.len() {
            let _ = fs::remove_dir_all(&folder.0);
            fs::create_dir_all(folder.result()).unwrap();
            fs::write(folder.result().join("root.log"), "old").unwrap();
            folder.write("job", &record(&[])).unwrap();
            entries[removed..].iter().for_each(|name| fs::write(folder.entry(name), "").unwrap());
            folder.claim(&Process::current().unwrap()).unwrap();
            let wider = JobRecord { place: Line::lossy("/thin/x/"), ..record(&[]) };
            folder.renew(&wider).unwrap();
            assert_eq!(folder.record().unwrap(), wider);
            let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(left, ["job"], "{removed}");
            assert!(folder.claim(&Process::current().unwrap()).unwrap());
        }
    }

    #[test]
    fn a_folder_that_nothing_was_started_in_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = JobFolder(dir.path().to_owned());
        folder.renew(&record(&[])).unwrap();
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    }

    #[test]
    fn only_the_first_claims_a_job() {
        let folder = tempfile::tempdir().unwrap();
        let folder = JobFolder(folder.path().to_owned());
        let this = Process::current().unwrap();
        assert!(folder.claim(&this).unwrap());
        assert!(!folder.claim(&this).unwrap());
        assert_eq!(folder.process("shim"), Some(this));
    }

    #[test]
    fn what_a_shim_from_before_there_were_all_numbers_wrote_is_read_as_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let folder = JobFolder(dir.path().to_owned());
        let summary = Summary {
            exit: moji_proto::message::Exit::Code(0),
            phase: moji_proto::message::Phase::Build,
            backend: Backend::Mock,
            seconds: 9,
            oom_kills: 0,
            files: Vec::new(),
            evidence: Vec::new(),
            peak_memory_mib: 100,
            silence_s: 7,
        };
        folder.write("status", &0).unwrap();
        folder.write("manifest", &summary).unwrap();
        assert_eq!(folder.summary().unwrap(), summary);
        let bytes = fs::read(folder.entry("manifest")).unwrap();
        let cut = |by| fs::write(folder.entry("manifest"), &bytes[..bytes.len() - by]).unwrap();
        cut(1);
        assert_eq!(folder.summary().unwrap(), Summary { silence_s: 0, ..summary.clone() });
        cut(2);
        assert_eq!(folder.summary().unwrap(), Summary { peak_memory_mib: 0, silence_s: 0, ..summary });
        cut(3);
        assert!(folder.summary().is_err());
    }
}
