//! The command line.
//!
//! Owns the options, `--help` and the exit code. Everything it starts is elsewhere.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use log::LevelFilter;
use moji_proto::limits::LINE_BYTES_MAX;
use moji_proto::message::Backend;
use moji_proto::secret::{Psk, random_u64};
use moji_proto::{FileName, Line, PublicKey};
use nix::sys::signal::SigSet;

use crate::core::Config;
use crate::exit::{self, Failure};
use crate::launch::Tools;
use crate::shell::Dial;
use crate::state::{CLIENT, DAEMON, StateFolder};
use crate::{control, daemon, logger, proc, settings, shell, shim};

const AFTER_HELP: &str = "\
Example:
  moji-client hub.example fedora-rawhide-armhfp @/etc/moji/secret
  moji-client disable          finish the current build, upload it, end

Files in the state folder (--state, default /var/lib/moji as root, $XDG_STATE_HOME/moji otherwise):
  identity.key   who this builder is; a copied one makes the hub refuse both boards
  known_hub      the hub's key, trusted at first use; delete it if the hub was set up anew
  jobs/          what is being built or waits to be uploaded; has no time limit

Signals:
  TERM, INT      stop now, within 15 s: kill the build, give its lease back; a finished build stays
                 in the state folder and is uploaded by the next client
  USR1           as 'disable'
  A client that is killed with KILL leaves its build running; the next client takes it over.

Exit codes:
  0  done: drained, stopped, or (--once) a result delivered, whatever it was
  1  --once: the job could not be finished here; 'stop': the client does not end
  2  the command line is wrong
  3  mock, its configuration, its user or the secret's file is wrong
  4  the state folder cannot be used, or another client uses it
  5  --once: the hub refused this builder
  6  --once: the secret is wrong, or the hub is not the one known
  7  --once: the hub cannot be reached
  8  disable, stop, status: no client runs on this state folder
Without --once, what a hub may mend (5 to 7) is logged and tried again, after a minute at most.";

/// moji's builder: takes source RPMs from a hub, builds them with mock, sends back what came out.
#[derive(Parser, Debug)]
#[command(name = "moji-client", version, after_help = AFTER_HELP, max_term_width = 100,
    args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// The hub: HOST or HOST:PORT (default port 6789)
    #[arg(required = true)]
    hub: Option<String>,
    /// What 'mock -r' takes: a name or the path of a .cfg file
    #[arg(required = true)]
    mock_config: Option<String>,
    /// The secret, or @FILE that holds it ('ps' shows a secret that stands here)
    password: Option<String>,

    /// File that holds the secret
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    password_file: Option<PathBuf>,
    /// The hub's public key; otherwise the token's, or the first one seen is kept
    #[arg(long, value_name = "HEX")]
    hub_key: Option<String>,
    /// Name of this builder [default: the host name]
    #[arg(long)]
    name: Option<String>,
    /// rpm architecture it builds for [default: the configuration's target_arch, or this machine's]
    #[arg(long)]
    arch: Option<String>,
    /// Program with mock's command line [default: mock]
    #[arg(long, value_name = "PROGRAM")]
    mock: Option<String>,
    /// User to run builds as, in group mock [default: moji as root, otherwise the caller];
    /// 'root' keeps root and sets SUDO_UID to a member of group mock
    #[arg(long, value_name = "USER")]
    mock_user: Option<String>,
    /// 'mock', or 'rpmbuild' to build on this very system, for boards too small for dnf
    #[arg(long, value_name = "mock|rpmbuild", default_value = "mock", value_parser = parse_backend)]
    backend: Backend,
    /// End a build after this long, seconds
    #[arg(long, value_name = "SECONDS")]
    rpmbuild_timeout: Option<u64>,
    /// Folder for keys, jobs and results; one for each client
    #[arg(long, value_name = "DIR", global = true)]
    state: Option<PathBuf>,
    /// Take no job below this much free disk, MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    min_free: u32,
    /// Build one package, then exit
    #[arg(long)]
    once: bool,
    /// Run in the background; restart when killed
    #[arg(long)]
    daemon: bool,
    /// Log to syslog instead of stderr
    #[arg(long)]
    syslog: bool,
    /// error, warn, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LevelFilter,
    /// As --log-level debug
    #[arg(short, long)]
    verbose: bool,

    /// The parent of a daemon.
    #[arg(long, hide = true)]
    supervise: bool,
    /// The client of such a parent.
    #[arg(long, hide = true)]
    worker: bool,
    /// That client after a crash: a drain goes on.
    #[arg(long, hide = true)]
    restarted: bool,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Finish the current build, upload it, then end; returns at once
    Disable,
    /// Stop now and wait until it is done (at most 15 s on a PC)
    Stop,
    /// Print one line: what the client does
    Status,
}

fn parse_backend(text: &str) -> Result<Backend, String> {
    match text {
        "mock" => Ok(Backend::Mock),
        "rpmbuild" => Ok(Backend::Rpmbuild),
        _ => Err("it is 'mock' or 'rpmbuild'".to_owned()),
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    // A client blocks the signals that its loop reads, and what it starts inherits that.
    let _ = SigSet::empty().thread_set_mask();
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = hidden(&args) {
        return code;
    }
    let parsed = match Args::try_parse_from(&args) {
        Ok(parsed) => parsed,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let syslog = parsed.syslog;
    match run(parsed, &args[1..]) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // With --syslog it may be that nobody reads stderr.
            if syslog {
                log::error!("{failure}");
            }
            eprintln!("moji-client: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

/// What this program starts itself as.
fn hidden(args: &[OsString]) -> Option<ExitCode> {
    let verb = args.get(1)?.to_str()?;
    match (verb, &args[2..]) {
        ("--shim", [folder]) => Some(match shim::main(folder.as_ref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("moji-client: the shim failed: {error}");
                ExitCode::FAILURE
            }
        }),
        ("--run", [folder, what]) => {
            let code = shim::run(folder.as_ref(), &what.to_string_lossy());
            Some(ExitCode::from(code as u8))
        }
        ("--resolve", [host, port]) => {
            let port = port.to_str().and_then(|port| port.parse().ok()).unwrap_or(0);
            shell::print_addresses(&host.to_string_lossy(), port);
            Some(ExitCode::SUCCESS)
        }
        _ => None,
    }
}

fn run(args: Args, words: &[OsString]) -> Result<u8, Failure> {
    let path = match &args.state {
        Some(path) => path.clone(),
        None => StateFolder::default_path()?,
    };
    if let Some(verb) = &args.verb {
        let state = StateFolder(path);
        match verb {
            Verb::Disable => control::disable(&state)?,
            Verb::Stop => control::stop(&state)?,
            Verb::Status => control::status(&state)?,
        }
        return Ok(exit::OK);
    }
    let level = if args.verbose { LevelFilter::Debug } else { args.log_level };
    logger::start(args.syslog, level)?;
    let state = StateFolder::create(&path)?;
    let words = &own_words(words);
    if args.supervise {
        return daemon::supervise(words, &state);
    }
    // Checked before a daemon detaches, so that a person sees what is wrong.
    let lock = state.lock(CLIENT)?;
    if args.daemon && !args.worker {
        drop(state.lock(DAEMON)?);
        prepare(&args, &state)?;
        drop(lock);
        return daemon::detach(words)
            .map(|()| exit::OK)
            .map_err(|error| Failure::new(exit::STATE, format!("cannot detach: {error}")));
    }
    if !args.restarted {
        // A new start ends an old drain.
        state.keep_draining(false).map_err(|error| {
            Failure::new(exit::STATE, format!("cannot use {}: {error}", state.0.display()))
        })?;
    }
    shim::set_oom_score(shim::OOM_SCORE_PROTECTED);
    let (config, tools, dial) = prepare(&args, &state)?;
    log::info!(
        "builder {} ({}) for {}, hub {}, state {}",
        config.name,
        dial.key.public(),
        config.arch,
        args.hub.as_deref().unwrap_or_default(),
        state.0.display()
    );
    shell::run(config, tools, state, dial)
}

/// The command line without what this program adds to it itself.
fn own_words(words: &[OsString]) -> Vec<OsString> {
    let added = ["--supervise", "--worker", "--restarted"];
    words.iter().filter(|word| !added.iter().any(|added| word == added)).cloned().collect()
}

/// Checks everything and puts it together.
fn prepare(args: &Args, state: &StateFolder) -> Result<(Config, Tools, Dial), Failure> {
    let (host, port) = settings::parse_hub(args.hub.as_deref().unwrap_or_default())?;
    let (tools, cfg_path) = tools(args, state)?;
    let dial = dial(args, state, &host, port)?;
    let usage = |text: String| Failure::new(exit::USAGE, text);
    let checked = |what: &str, text: String| {
        FileName::new(text).map_err(|error| usage(format!("the {what} {error}: give another with --{what}")))
    };
    let host_name = || nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let arch = args.arch.clone().unwrap_or_else(|| settings::arch(cfg_path.as_deref()));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let config = Config {
        name: checked("name", args.name.clone().unwrap_or_else(host_name))?,
        instance: random_u64(),
        arch: checked("arch", arch)?,
        version: checked("version", env!("CARGO_PKG_VERSION").to_owned())?,
        cfg: Line::new(tools.cfg.clone())
            .map_err(|error| usage(format!("MOCK_CONFIG {error} (at most {LINE_BYTES_MAX} bytes)")))?,
        cfg_digest: settings::config_digest(cfg_path.as_deref()),
        backend: args.backend,
        cpus: cpus.try_into().unwrap_or(u16::MAX),
        memory_mib: proc::memory_mib().0,
        hub_host: settings::url_host(&host),
        once: args.once,
        disk_free_min_mib: args.min_free,
        seed: random_u64(),
    };
    Ok((config, tools, dial))
}

fn tools(args: &Args, state: &StateFolder) -> Result<(Tools, Option<PathBuf>), Failure> {
    let (cfg, cfg_path) = settings::mock_config(args.mock_config.as_deref().unwrap_or_default());
    let program = settings::program(args.mock.as_deref(), args.backend)?;
    let (user, sudo, home) = settings::user(args.mock_user.as_deref(), args.backend)?;
    settings::reachable(state, user.as_ref())?;
    let (backend, timeout_s) = (args.backend, args.rpmbuild_timeout);
    let mut tools =
        Tools { backend, program, cfg, user, sudo, home, timeout_s, chroots: None, has_addrepo: true };
    if backend == Backend::Mock {
        tools.chroots = settings::probe(&mut tools, state)?;
    }
    Ok((tools, cfg_path))
}

fn dial(args: &Args, state: &StateFolder, host: &str, port: u16) -> Result<Dial, Failure> {
    let secret = settings::secret(args.password.as_deref(), args.password_file.as_deref())?;
    let given = match &args.hub_key {
        Some(text) => Some(text.trim().parse::<PublicKey>().map_err(|_| {
            Failure::new(exit::USAGE, "--hub-key is not 64 hexadecimal digits: copy it from the hub's log")
        })?),
        None => None,
    };
    let named = secret.as_ref().and_then(moji_proto::secret::Secret::hub_key);
    if let (Some(given), Some(named)) = (given, named)
        && given != named
    {
        let text = "--hub-key and the token name different hubs: leave --hub-key out";
        return Err(Failure::new(exit::USAGE, text));
    }
    let pinned = given.or(named);
    let wrong_key_hint = if pinned.is_some() {
        "compare the token or --hub-key with 'moji-server token' on the hub".to_owned()
    } else {
        format!("if the hub was set up anew, delete {}", state.known_hub_path().display())
    };
    let hub_key = match pinned {
        Some(key) => Some(key),
        None => state.known_hub()?,
    };
    let psk = secret.as_ref().map_or(Psk::NONE, |secret| state.psk(secret));
    Ok(Dial { host: host.to_owned(), port, key: state.identity()?, psk, hub_key, wrong_key_hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_old_forms_work() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let parse = |words: &[&str]| Args::try_parse_from(std::iter::once(&"moji-client").chain(words));
        let plain = parse(&["hub:1", "mini", "@secret"]).unwrap();
        assert_eq!(
            (plain.hub.as_deref(), plain.mock_config.as_deref(), plain.password.as_deref()),
            (Some("hub:1"), Some("mini"), Some("@secret"))
        );
        assert!(matches!(parse(&["disable"]).unwrap().verb, Some(Verb::Disable)));
        assert_eq!(parse(&["stop", "--state", "/s"]).unwrap().state, Some("/s".into()));
        for wrong in
            [&["hub"][..], &[], &["hub", "cfg", "p", "--password-file", "f"], &["hub", "cfg", "--backend=x"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
