//! Which hub, and with which secret.
//!
//! Owns the order in which both are looked for, and the configuration files. Everything that a person has
//! to mend gives one line that names it.
//!
//! | | looked for in this order |
//! |---|---|
//! | hub | `--hub`, `$MOJI_HUB`, `hub =` in the configuration, a hub on this machine |
//! | secret | `--password-file`, `password-file =` in the configuration, `operator.secret` of a hub on this machine, none |
//!
//! The configuration is `~/.config/moji.conf`, then `/etc/moji.conf`, each value by itself.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use moji_proto::PublicKey;
use moji_proto::limits::PORT;
use moji_proto::secret::{Psk, Secret};

use super::{code, whereabouts};
use crate::exit::Failure;
use crate::settings::{parse_hub, url_host};
use crate::state::StateFolder;

/// The hub where none is named.
const THIS_MACHINE: &str = "127.0.0.1";
/// The hub's file with the operators' secret, in its state folder.
const OPERATOR_SECRET: &str = "operator.secret";
/// How somebody gets a secret.
const HOW: &str = "the hub prints one with 'moji-server token --operator'";

/// What the command line says about it.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--hub`.
    pub hub: Option<String>,
    /// `--password-file`.
    pub password_file: Option<PathBuf>,
}

/// What the machine says about it.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// `$MOJI_HUB`.
    pub(super) hub: Option<String>,
    /// `$HOME`.
    pub(super) home: Option<PathBuf>,
    /// The configuration files, in the order in which they count.
    pub(super) configs: Vec<PathBuf>,
    /// Folders in which a hub on this machine says where it is.
    pub(super) whereabouts: Vec<PathBuf>,
    /// Folder for what this command remembers.
    pub(super) state: Option<PathBuf>,
    /// This machine's name.
    pub(super) host_name: String,
}

/// How to reach the hub.
#[derive(Clone, Debug)]
pub struct Access {
    /// Host: a name or an address without brackets.
    pub(super) host: String,
    /// TCP port.
    pub(super) port: u16,
    /// What is shared with the hub.
    pub(super) psk: Psk,
    /// Where the secret comes from; none if there is none.
    pub(super) secret_from: Option<PathBuf>,
    /// The hub's key, if the secret names it.
    pub(super) hub_key: Option<PublicKey>,
    /// Folder for what this command remembers.
    pub(super) state: Option<PathBuf>,
}

impl Access {
    /// `HOST:PORT`, for a person and for the list of known hubs.
    #[must_use]
    pub fn hub(&self) -> String {
        format!("{}:{}", url_host(&self.host), self.port)
    }
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Machine {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let below = |name, folder: &str| absolute(name).or_else(|| Some(home.as_ref()?.join(folder)));
        let own = below("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("moji.conf"));
        let host_name = nix::unistd::gethostname().unwrap_or_default();
        Machine {
            hub: std::env::var("MOJI_HUB").ok().filter(|hub| !hub.is_empty()),
            configs: own.into_iter().chain(["/etc/moji.conf".into()]).collect(),
            whereabouts: whereabouts::folders(absolute("XDG_RUNTIME_DIR").as_deref()),
            state: below("XDG_STATE_HOME", ".local/state").map(|folder| folder.join("moji")),
            host_name: host_name.to_string_lossy().into_owned(),
            home,
        }
    }

    fn is_this(&self, host: &str) -> bool {
        let own = self.host_name.as_str();
        let short = own.split('.').next().unwrap_or(own);
        host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            || host.eq_ignore_ascii_case("localhost")
            || (!own.is_empty() && (host.eq_ignore_ascii_case(own) || host.eq_ignore_ascii_case(short)))
    }
}

/// Finds hub and secret.
///
/// # Errors
/// A [`Failure`] that names what is wrong: the hub's name, a configuration file, the secret's file.
pub fn access(given: &Given, machine: &Machine) -> Result<Access, Failure> {
    let config = Config::read(machine)?;
    let named = given.hub.as_ref().or(machine.hub.as_ref()).or(config.hub.as_ref());
    let (mut host, port) = match named {
        Some(text) => parse_hub(text)?,
        None => (THIS_MACHINE.to_owned(), PORT),
    };
    let file = given.password_file.clone().or(config.password_file);
    let local = if machine.is_this(&host) { local(machine, port, file.is_none())? } else { None };
    if let Some(listen) = local.as_ref().and_then(|local| local.listen)
        && named.is_none()
        && !listen.ip().is_unspecified()
    {
        host = listen.ip().to_string();
    }
    let (secret, secret_from) = match (file, local) {
        (Some(file), _) => (Some(read(&file)?), Some(file)),
        (None, Some(local)) => {
            let path = local.state.join(OPERATOR_SECRET);
            match read_text(&path) {
                Ok(text) => (Some(parse(&path, &text)?), Some(path)),
                // A hub without secrets serves its own machine.
                Err(error) if error.kind() == ErrorKind::NotFound => (None, None),
                Err(error) => return Err(unreadable(&path, &error)),
            }
        }
        (None, None) if machine.is_this(&host) => (None, None),
        (None, None) => {
            let text = format!(
                "no secret for {host}: give --password-file FILE, or write 'password-file = FILE' into {} ({HOW})",
                machine.configs.first().map_or_else(String::new, |path| path.display().to_string()),
            );
            return Err(Failure::new(code::HUB, text));
        }
    };
    let hub_key = secret.as_ref().and_then(Secret::hub_key);
    let psk = secret.map_or(Psk::NONE, |secret| stretched(&secret, machine.state.as_deref()));
    Ok(Access { host, port, psk, secret_from, hub_key, state: machine.state.clone() })
}

fn local(machine: &Machine, port: u16, needed: bool) -> Result<Option<whereabouts::Whereabouts>, Failure> {
    match whereabouts::find(&machine.whereabouts, port) {
        Ok(found) => Ok(found),
        Err(_) if !needed => Ok(None),
        Err((path, error)) => Err(unreadable(&path, &error)),
    }
}

fn read(path: &Path) -> Result<Secret, Failure> {
    let text = read_text(path).map_err(|error| unreadable(path, &error))?;
    parse(path, &text)
}

/// What else is in a file that is no secret may be anything: at most this is read, bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, SECRET_BYTES_MAX), &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(path: &Path, text: &str) -> Result<Secret, Failure> {
    Secret::parse(text)
        .map_err(|error| Failure::new(code::HUB, format!("no secret in {}: {error} ({HOW})", path.display())))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let what = match error.kind() {
        ErrorKind::PermissionDenied => "run it as root or give --password-file".to_owned(),
        ErrorKind::NotFound => format!("give another --password-file ({HOW})"),
        _ => "give --password-file".to_owned(),
    };
    Failure::new(code::HUB, format!("cannot read the secret in {}: {error}: {what}", path.display()))
}

/// A passphrase takes a second on a small machine: what it became is kept, as the builder does.
fn stretched(secret: &Secret, folder: Option<&Path>) -> Psk {
    match (secret, folder) {
        (Secret::Passphrase(_), Some(folder)) if make(folder).is_ok() => {
            StateFolder(folder.to_owned()).psk(secret)
        }
        _ => secret.psk(),
    }
}

/// Makes the folder for what this command remembers.
///
/// # Errors
/// Any error of the file system.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[derive(Debug, Default)]
struct Config {
    hub: Option<String>,
    password_file: Option<PathBuf>,
}

impl Config {
    fn read(machine: &Machine) -> Result<Config, Failure> {
        let mut config = Config::default();
        for path in &machine.configs {
            match fs::read_to_string(path) {
                Ok(text) => config.add(path, &text, machine.home.as_deref())?,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => {
                    return Err(Failure::new(
                        code::USAGE,
                        format!("cannot read {}: {error}", path.display()),
                    ));
                }
            }
        }
        Ok(config)
    }

    fn add(&mut self, path: &Path, text: &str, home: Option<&Path>) -> Result<(), Failure> {
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong =
                |what: &str| Failure::new(code::USAGE, format!("{}, line {}: {what}", path.display(), i + 1));
            let (key, value) = line
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
                .filter(|(_, value)| !value.is_empty())
                .ok_or_else(|| wrong("write 'hub = HOST' or 'password-file = FILE'"))?;
            match key {
                "hub" => {
                    self.hub.get_or_insert(value.to_owned());
                }
                "password-file" => {
                    let file = match (value.strip_prefix("~/"), home) {
                        (Some(rest), Some(home)) => home.join(rest),
                        _ => PathBuf::from(value),
                    };
                    if !file.is_absolute() {
                        return Err(wrong("write the whole path of the password file, from / or ~/ on"));
                    }
                    self.password_file.get_or_insert(file);
                }
                _ => return Err(wrong(&format!("'{key}' is unknown: there are hub and password-file"))),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
