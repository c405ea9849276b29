//! What the command line and the machine say, checked before anything is connected.
//!
//! Owns every check whose failure a person has to mend: the user, mock and its configuration, the
//! secret, the hub's name. Each gives one line and an exit code.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use moji_proto::limits::PORT;
use moji_proto::message::Backend;
use moji_proto::secret::Secret;
use moji_proto::{Digest, FileName, Hasher, LeaseId, Line};
use nix::unistd::{Gid, Group, Uid, User, geteuid};

use crate::exit::{self, Failure};
use crate::launch::{JobFolder, Launch, PATH, PROBE_EXT, RunAs, Tools, find_program};
use crate::state::StateFolder;

/// Default user to run mock as.
pub const MOCK_USER: &str = "moji";
/// The group whose members may run mock.
const MOCK_GROUP: &str = "mock";
/// What mock exits with when its configuration is missing or invalid.
const MOCK_CONFIG_CODE: i32 = 3;
/// Most bytes of a configuration file or a secret that are read.
const SMALL_FILE_BYTES_MAX: u64 = 1024 * 1024;

fn config(text: impl Into<String>) -> Failure {
    Failure::new(exit::CONFIG, text)
}

/// `host[:port]` as host, without brackets, and port.
///
/// # Errors
/// A [`Failure`] if it is neither.
pub fn parse_hub(text: &str) -> Result<(String, u16), Failure> {
    let wrong =
        || Failure::new(exit::USAGE, format!("'{text}' is no hub: write HOST, HOST:PORT or [IPV6]:PORT"));
    let port = |digits: &str| digits.parse().ok().filter(|port| *port != 0).ok_or_else(wrong);
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        match rest.split_once(']').ok_or_else(wrong)? {
            (host, "") => (host, PORT),
            (host, rest) => (host, port(rest.strip_prefix(':').ok_or_else(wrong)?)?),
        }
    } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
        (text, PORT)
    } else {
        match text.split_once(':') {
            Some((host, digits)) => (host, port(digits)?),
            None => (text, PORT),
        }
    };
    let fine = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
    if host.is_empty() || host.starts_with('-') || !host.chars().all(fine) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

/// The host as it stands in a URL.
#[must_use]
pub fn url_host(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The secret, from wherever it was given; none is a choice too.
///
/// # Errors
/// A [`Failure`] if it cannot be read or is no secret.
pub fn secret(password: Option<&str>, password_file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let file = password.and_then(|text| text.strip_prefix('@')).map(Path::new);
    let (text, whence) = match (password_file.or(file), password) {
        (Some(path), _) => {
            let text = read_small(path)
                .map_err(|error| config(format!("cannot read the secret in {}: {error}", path.display())))?;
            let mode = fs::metadata(path).map_or(0, |meta| meta.permissions().mode());
            if mode & 0o077 != 0 {
                log::warn!("others may read the secret: chmod 600 {}", path.display());
            }
            let text = String::from_utf8(text)
                .map_err(|_| config(format!("the secret in {} is not UTF-8", path.display())))?;
            (text, format!("in {}", path.display()))
        }
        (None, Some(text)) => {
            log::warn!("'ps' shows the secret: put it into a file and say @FILE or --password-file FILE");
            (text.to_owned(), "given as a word".to_owned())
        }
        (None, None) => return Ok(None),
    };
    let secret = Secret::parse(&text);
    secret.map(Some).map_err(|error| config(format!("the secret {whence} is none: {error}: copy it again")))
}

fn read_small(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(SMALL_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whom mock becomes, and who stands in SUDO_UID.
///
/// # Errors
/// A [`Failure`] if there is no such user, or it may not run mock.
pub fn user(name: Option<&str>, backend: Backend) -> Result<(Option<RunAs>, Option<RunAs>, String), Failure> {
    if !geteuid().is_root() {
        let own = User::from_uid(geteuid()).ok().flatten();
        if let Some(name) = name
            && own.as_ref().is_none_or(|own| own.name != name)
        {
            return Err(config(format!(
                "only root may run mock as '{name}': leave --mock-user out, or be root"
            )));
        }
        let home = own.map_or_else(|| "/".into(), |own| own.dir.display().to_string());
        return Ok((None, None, home));
    }
    let name = name.unwrap_or(MOCK_USER);
    let found = User::from_name(name).ok().flatten().ok_or_else(|| {
        config(format!(
            "there is no user '{name}': make one in group {MOCK_GROUP}, or name another with --mock-user"
        ))
    })?;
    let home = found.dir.display().to_string();
    if found.uid.is_root() {
        return Ok((None, mock_group_member(), home));
    }
    if backend == Backend::Mock && !may_mock(&found) {
        let text = format!("user '{name}' is not in group {MOCK_GROUP}: usermod -a -G {MOCK_GROUP} {name}");
        return Err(config(text));
    }
    Ok((Some(run_as(&found)), None, home))
}

fn run_as(user: &User) -> RunAs {
    RunAs { name: user.name.clone(), uid: user.uid.as_raw(), gid: user.gid.as_raw() }
}

fn may_mock(user: &User) -> bool {
    let Some(group) = Group::from_name(MOCK_GROUP).ok().flatten() else { return false };
    user.gid == group.gid || group.mem.contains(&user.name)
}

/// A user, not root, who may run mock, if there is one.
fn mock_group_member() -> Option<RunAs> {
    let group = Group::from_name(MOCK_GROUP).ok().flatten();
    let members = group.map(|group| group.mem).unwrap_or_default();
    members
        .iter()
        .map(String::as_str)
        .chain([MOCK_USER])
        .filter_map(|name| User::from_name(name).ok().flatten())
        .find(|user| !user.uid.is_root())
        .map(|user| run_as(&user))
}

/// Checks that the build's user can reach the state folder.
///
/// # Errors
/// A [`Failure`] that names the folder in the way.
pub fn reachable(state: &StateFolder, user: Option<&RunAs>) -> Result<(), Failure> {
    let Some(user) = user else { return Ok(()) };
    for folder in state.0.ancestors() {
        let Ok(meta) = fs::metadata(folder) else { continue };
        let (uid, gid, mode) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()), meta.mode());
        let bit = if uid.as_raw() == user.uid {
            0o100
        } else if gid.as_raw() == user.gid {
            0o010
        } else {
            0o001
        };
        if mode & bit == 0 {
            let text = format!(
                "user '{}' cannot enter {}: chmod o+x it, or name another folder with --state",
                user.name,
                folder.display()
            );
            return Err(Failure::new(exit::STATE, text));
        }
    }
    Ok(())
}

/// The program that builds, absolute.
///
/// # Errors
/// A [`Failure`] if it is not there.
pub fn program(name: Option<&str>, backend: Backend) -> Result<String, Failure> {
    let (name, option) = match backend {
        Backend::Mock => (name.unwrap_or("mock"), "--mock"),
        Backend::Rpmbuild => ("rpmbuild", "PATH"),
    };
    let path = find_program(name)
        .ok_or_else(|| config(format!("'{name}' is not installed: install it, or correct {option}")))?;
    Ok(path.display().to_string())
}

/// MOCK_CONFIG as mock gets it (a path absolute, since mock is not started here) and the file, if it
/// can be found.
#[must_use]
pub fn mock_config(name: &str) -> (String, Option<PathBuf>) {
    if name.ends_with(".cfg")
        && let Ok(path) = std::path::absolute(name)
    {
        let found = path.is_file().then(|| path.clone());
        return (path.display().to_string(), found);
    }
    let path = Path::new("/etc/mock").join(format!("{name}.cfg"));
    (name.to_owned(), path.is_file().then_some(path))
}

/// Digest of the configuration file's bytes; of nothing where there is none.
#[must_use]
pub fn config_digest(path: Option<&Path>) -> Digest {
    let bytes = path.and_then(|path| read_small(path).ok()).unwrap_or_default();
    let mut hasher = Hasher::default();
    hasher.update(&bytes);
    hasher.finish()
}

/// The architecture that is built for: what the configuration names as target, or the machine's.
#[must_use]
pub fn arch(config: Option<&Path>) -> String {
    let text = config.and_then(|path| read_small(path).ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let target = text.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix("config_opts[")?;
        let (name, value) = rest.split_once(']')?;
        let unquote = |text: &str| text.trim().trim_matches(['\'', '"']).to_owned();
        let value = value.trim_start().strip_prefix('=')?;
        (unquote(name) == "target_arch").then(|| unquote(value.split('#').next().unwrap_or_default()))
    });
    target.filter(|target| FileName::new(target.as_str()).is_ok()).unwrap_or_else(machine_arch)
}

/// The machine's name in rpm's words.
fn machine_arch() -> String {
    let machine = nix::sys::utsname::uname().map(|uname| uname.machine().to_string_lossy().into_owned());
    match machine.as_deref() {
        Ok("armv7l") => "armv7hl".to_owned(),
        Ok("armv6l") => "armv6hl".to_owned(),
        Ok(machine) => machine.to_owned(),
        Err(_) => "noarch".to_owned(),
    }
}

/// Asks mock once where its chroots are, which also shows that it and its configuration are there, and
/// whether it knows `--addrepo`. Returns the folder of all chroots, if mock named it.
///
/// # Errors
/// A [`Failure`] if mock cannot be run or does not know the configuration.
pub fn probe(tools: &mut Tools, state: &StateFolder) -> Result<Option<PathBuf>, Failure> {
    let where_to = |text: String| text.lines().rev().find(|line| line.starts_with('/')).and_then(chroots);
    let error = match ask(tools, state, "-p") {
        Ok(text) => return Ok(where_to(text)),
        Err(error) => error,
    };
    // optparse and argparse both name the option that they do not know.
    if !error.text.contains("--addrepo") {
        return Err(error);
    }
    tools.has_addrepo = false;
    let chroots = where_to(ask(tools, state, "-p")?);
    log::warn!(
        "this mock has no --addrepo: builds use what is published only if the configuration '{}' names the hub's \
         repository",
        tools.cfg
    );
    Ok(chroots)
}

/// Asks mock once what it installs into a chroot first, and whether with weak dependencies; empty where builds cannot have a
/// repository of their own, or mock does not say.
#[must_use]
pub fn setup(tools: &Tools, state: &StateFolder) -> (Line, bool) {
    if tools.backend != Backend::Mock || !tools.has_addrepo {
        return Default::default();
    }
    match ask(tools, state, "--debug-config-expanded") {
        Ok(text) => crate::setup::parse(&text),
        Err(error) => {
            log::info!("builds with the whole repositories: {}", error.text);
            Default::default()
        }
    }
}

/// Runs mock with this word and gives what it printed.
fn ask(tools: &Tools, state: &StateFolder, word: &str) -> Result<String, Failure> {
    let folder = JobFolder(state.0.join("probe"));
    let unusable = |error: std::io::Error| {
        Failure::new(exit::STATE, format!("cannot use {}: {error}", folder.0.display()))
    };
    crate::files::remove_folder(&folder.0).map_err(unusable)?;
    fs::create_dir(&folder.0).map_err(unusable)?;
    let words = ["-r", &tools.cfg, word].into_iter().map(str::to_owned);
    let launch = Launch {
        lease: LeaseId { incarnation: 0, counter: 0 },
        backend: Backend::Mock,
        build: [tools.program.clone()]
            .into_iter()
            .chain(words)
            .chain([format!("--uniqueext={PROBE_EXT}")])
            .chain(tools.has_addrepo.then(|| "--addrepo=file:///".to_owned()))
            .collect(),
        clean: Vec::new(),
        env: tools.env(),
        user: tools.user.clone(),
        owner: None,
        ext: PROBE_EXT.to_owned(),
        timeout_s: None,
    };
    folder.write("launch", &launch).map_err(unusable)?;
    let output = Command::new("/proc/self/exe")
        .arg0("moji-client")
        .args(["--run".as_ref(), folder.0.as_os_str(), "build".as_ref()])
        .current_dir("/")
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| config(format!("cannot run {}: {error}", tools.program)))?;
    let not_started = fs::metadata(folder.entry("not-started")).is_ok_and(|meta| meta.len() > 0);
    let _ = crate::files::remove_folder(&folder.0);
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing").trim();
    let last = last.strip_prefix("moji-client: ").unwrap_or(last);
    match output.status.code() {
        _ if not_started => Err(config(last)),
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Some(MOCK_CONFIG_CODE) => Err(config(format!(
            "mock does not know the configuration '{}': {last}: see /etc/mock, or give the path of a .cfg file",
            tools.cfg
        ))),
        _ => Err(config(format!("mock cannot run ({}): {last}", output.status))),
    }
}

/// The folder above the one that is named after the probe.
fn chroots(line: &str) -> Option<PathBuf> {
    let mut ancestors = Path::new(line).ancestors();
    ancestors
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(PROBE_EXT)))?;
    ancestors.next().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_a_host_with_or_without_a_port() {
        for (text, want) in [
            ("hub", Some(("hub", 6789))),
            ("hub.example:7000", Some(("hub.example", 7000))),
            ("127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("::1", Some(("::1", 6789))),
            ("[::1]:7", Some(("::1", 7))),
            ("[::1]", Some(("::1", 6789))),
            ("", None),
            ("hub:", None),
            ("hub:0", None),
            ("hub:99999", None),
            ("a b", None),
            ("-x", None),
            ("http://hub", None),
            ("[::1", None),
        ] {
            let want = want.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(parse_hub(text).ok(), want, "{text}");
        }
        assert_eq!(url_host("::1"), "[::1]");
    }

    #[test]
    fn the_target_of_a_configuration_is_the_architecture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cfg");
        fs::write(&path, "x\nconfig_opts['target_arch'] = 'armv5tel'  # small\n").unwrap();
        assert_eq!(arch(Some(&path)), "armv5tel");
        assert_eq!(arch(None), machine_arch());
    }

    #[test]
    fn the_chroots_are_above_the_one_of_the_probe() {
        assert_eq!(chroots("/var/lib/mock/mini-moji-probe/root"), Some("/var/lib/mock".into()));
        assert_eq!(chroots("/somewhere"), None);
    }

    #[test]
    fn secrets_come_from_files_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "a long enough passphrase\n").unwrap();
        let at = format!("@{}", path.display());
        let from_at = secret(Some(&at), None).unwrap().unwrap();
        assert!(secret(None, Some(&path)).unwrap().unwrap() == from_at);
        assert!(secret(None, None).unwrap().is_none());
        fs::write(&path, "a long enough passphrase\r\n\r\n").unwrap();
        assert!(secret(None, Some(&path)).unwrap().unwrap() == from_at);
        fs::write(&path, "a long enough passphrase\nand another line\n").unwrap();
        let error = secret(None, Some(&path)).unwrap_err();
        assert!(error.code == exit::CONFIG && error.text.contains("one line"), "{error:?}");
        fs::write(&path, "\n").unwrap();
        assert_eq!(secret(None, Some(&path)).unwrap_err().code, exit::CONFIG);
        assert!(secret(Some("@/nowhere/s"), None).unwrap_err().text.contains("/nowhere/s"));
    }
}
