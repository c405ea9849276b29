//! Real dnf as a user of the repository: installs into a folder, runs what it installed.
//!
//! Owns the installroots of a farm. Must never use a repository beside the hub's and the mini
//! distribution, nor the machine's own rpm database.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::daemon::run_to_end;
use crate::world::mini_folder;

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
    let scratch = tempfile::Builder::new().prefix("dnf-").tempdir_in(folder);
    // Kept: the farm's folder goes as a whole.
    let scratch = scratch.expect("a folder for dnf").keep();
    let (root, repos) = (scratch.join("root"), scratch.join("repos"));
    fs::create_dir_all(&repos).expect("a folder for dnf");
    let mini = format!("file://{}/mini-x86_64", mini_folder().display());
    for (id, base, signatures) in [("moji", url, signatures), ("mini", &mini, "gpgcheck=0")] {
        let text = format!("[{id}]\nname={id}\nbaseurl={base}\n{signatures}\nmetadata_expire=0\n");
        fs::write(repos.join(format!("{id}.repo")), text).expect("a repo file is written");
    }
    let conf = scratch.join("dnf.conf");
    fs::write(&conf, "[main]\nmodule_platform_id=platform:mini1\ninstall_weak_deps=0\n")
        .expect("dnf.conf is written");
    let mut command = Command::new("dnf");
    // The plugin `local` offers what any dnf on this machine ever installed.
    command
        .env("HOME", &scratch)
        .env("no_proxy", "127.0.0.1")
        .args(["-y", "--disableplugin=local", "--releasever=1", "-c"])
        .arg(&conf)
        .arg(format!("--installroot={}", root.display()))
        .arg(format!("--setopt=reposdir={}", repos.display()))
        .arg(format!("--setopt=cachedir={}", scratch.join("cache").display()))
        .arg("install")
        .args(packages);
    let ended = run_to_end(command, DNF_LIMIT);
    if ended.code == 0 { Ok(Installed { root }) } else { Err(ended.stdout + &ended.stderr) }
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
