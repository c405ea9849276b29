//! Real dnf as a user of the repository: installs into a folder, runs what it installed.
//!
//! Owns the installroots of a farm. Must never use a repository beside the hub's and the mini
//! distribution, nor the machine's own rpm database.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::daemon::run_to_end;
use crate::world::{mini_folder, poll_until};

/// Longest transaction: a compiler from the mini distribution takes five seconds.
const DNF_LIMIT: Duration = Duration::from_secs(120);

/// An installroot that dnf filled.
#[derive(Debug)]
pub struct Installed {
    root: PathBuf,
}

impl Installed {
    /// Whether this absolute path exists in it.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Where this absolute path of it lies on the host.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Runs a program in it by chroot; its stdout.
    ///
    /// # Errors
    /// What it said when its exit code is not 0.
    pub fn run(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new("chroot");
        command.arg(&self.root).args(words);
        let ended = run_to_end(command, DNF_LIMIT);
        if ended.code == 0 { Ok(ended.stdout) } else { Err(ended.stdout + &ended.stderr) }
    }

    /// `name-version-release.arch` of every installed package, sorted.
    pub fn packages(&self) -> Vec<String> {
        let mut command = Command::new("rpm");
        command.args(["-qa", "--dbpath", "/var/lib/rpm", "--root"]).arg(&self.root);
        let ended = run_to_end(command, DNF_LIMIT);
        let mut packages: Vec<String> = ended.stdout.lines().map(str::to_owned).collect();
        packages.sort();
        packages
    }
}

/// dnf with a cache, an installroot and repositories of its own, as a builder's mock keeps it.
#[derive(Debug)]
pub struct Dnf {
    folder: PathBuf,
}

/// What a run of dnf cost.
#[derive(Clone, Copy, Debug)]
pub struct DnfCost {
    /// CPU, seconds.
    pub cpu_s: f64,
    /// Most memory that it had at once, bytes.
    pub peak_bytes: u64,
}

impl Dnf {
    /// One below `folder` that knows these repositories: a name and a URL each.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn new<'a>(folder: &Path, repositories: impl IntoIterator<Item = (&'a str, &'a str)>) -> Dnf {
        let scratch = tempfile::Builder::new().prefix("dnf-").tempdir_in(folder);
        // Kept: the farm's folder goes as a whole.
        let dnf = Dnf { folder: scratch.expect("a folder for dnf").keep() };
        fs::create_dir_all(dnf.folder.join("repos")).expect("a folder for dnf");
        for (id, base) in repositories {
            dnf.add(id, base, "gpgcheck=0");
        }
        let conf = "[main]\nmodule_platform_id=platform:mini1\ninstall_weak_deps=0\n";
        fs::write(dnf.folder.join("dnf.conf"), conf).expect("dnf.conf is written");
        dnf
    }

    /// Tells it of one more repository, with these lines about signatures.
    fn add(&self, id: &str, base: &str, signatures: &str) {
        let text = format!("[{id}]\nname={id}\nbaseurl={base}\n{signatures}\nmetadata_expire=0\n");
        let file = self.folder.join("repos").join(format!("{id}.repo"));
        fs::write(file, text).expect("a repo file is written");
    }

    /// Its installroot.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Where it is, caches and all; what it downloads is put here.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command that runs it with these words.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("dnf");
        // The plugin `local` offers what any dnf on this machine ever installed.
        command
            .env("HOME", &self.folder)
            .env("no_proxy", "127.0.0.1")
            .current_dir(&self.folder)
            .args(["-y", "--disableplugin=local", "--releasever=1", "-c"])
            .arg(self.folder.join("dnf.conf"))
            .arg(format!("--installroot={}", self.root().display()))
            .arg(format!("--setopt=reposdir={}", self.folder.join("repos").display()))
            .arg(format!("--setopt=cachedir={}", self.folder.join("cache").display()))
            .args(words);
        command
    }

    /// Runs it; its stdout.
    ///
    /// # Errors
    /// All that it said when it failed.
    pub fn run(&self, words: &[&str]) -> Result<String, String> {
        let ended = run_to_end(self.command(words), DNF_LIMIT);
        if ended.code == 0 { Ok(ended.stdout) } else { Err(ended.stdout + &ended.stderr) }
    }

    /// Runs it; its stdout, and what it cost. Other children must not end meanwhile: their CPU would count.
    ///
    /// # Errors
    /// All that it said when it failed.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn measure(&self, words: &[&str]) -> Result<(String, DnfCost), String> {
        let spent = || {
            let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("every process has children's usage");
            let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
            seconds(usage.user_time()) + seconds(usage.system_time())
        };
        let (before, mut peak_bytes) = (spent(), 0);
        let out = self.folder.join("said");
        let file = File::create(&out).expect("a file in dnf's folder");
        let copy = file.try_clone().expect("a descriptor can be duplicated");
        let mut command = self.command(words);
        let mut child = command.stdin(Stdio::null()).stdout(copy).stderr(file).spawn().expect("dnf starts");
        let status = format!("/proc/{}/status", child.id());
        let ended = poll_until(DNF_LIMIT, || {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
            peak_bytes = peak_bytes.max(peak.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024);
            !matches!(child.try_wait(), Ok(None))
        });
        if !ended {
            let _ = child.kill();
        }
        let good = child.wait().is_ok_and(|status| status.success());
        let said = fs::read_to_string(&out).unwrap_or_default();
        if good { Ok((said, DnfCost { cpu_s: spent() - before, peak_bytes })) } else { Err(said) }
    }
}

/// The URL of the mini distribution.
pub(crate) fn mini_url() -> String {
    format!("file://{}/mini-x86_64", mini_folder().display())
}

/// `dnf install PACKAGES` from `url` (and the mini distribution) into a fresh root in `folder`.
///
/// # Errors
/// All that dnf said when it failed.
pub(crate) fn install(folder: &Path, url: &str, packages: &[&str]) -> Result<Installed, String> {
    install_with(folder, url, "gpgcheck=0", packages)
}

/// The same with these lines about signatures for the repository at `url`.
///
/// # Errors
/// All that dnf said when it failed.
pub fn install_with(
    folder: &Path,
    url: &str,
    signatures: &str,
    packages: &[&str],
) -> Result<Installed, String> {
    let dnf = Dnf::new(folder, [("mini", mini_url().as_str())]);
    dnf.add("moji", url, signatures);
    dnf.run(&[&["install"], packages].concat())?;
    Ok(Installed { root: dnf.root() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpms::{rpms_from_spec, simple_spec};

    #[test]
    fn dnf_installs_from_an_index_and_says_why_it_cannot() {
        let folder = tempfile::tempdir().expect("a folder");
        let repo = folder.path().join("repo");
        fs::create_dir(&repo).expect("a folder");
        rpms_from_spec(&repo, &simple_spec("shipped", "3", ""));
        let mut command = Command::new("createrepo_c");
        command.arg("-q").arg(&repo);
        assert_eq!(run_to_end(command, DNF_LIMIT).code, 0);
        let url = format!("file://{}", repo.display());
        let installed = install(folder.path(), &url, &["shipped"]).expect("dnf installs");
        assert!(installed.has("/usr/share/shipped/data"));
        assert_eq!(installed.packages(), ["shipped-3-1.noarch"]);
        let refused = install(folder.path(), &url, &["no-such-package"]);
        assert!(refused.expect_err("no such package").contains("no-such-package"));
    }
}
