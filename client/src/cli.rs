//! The command line.
//!
//! Owns the options, `--help` and the exit code. Everything it starts is elsewhere.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use log::LevelFilter;
use moji_proto::limits::LINE_BYTES_MAX;
use moji_proto::message::Backend;
use moji_proto::secret::{Psk, random_u64};
use moji_proto::{FileName, Line, PublicKey};
use nix::sys::signal::{SigSet, Signal};

use crate::core::Config;
use crate::exit::{self, Failure};
use crate::launch::Tools;
use crate::options::{Opt, Said, Syntax, Words};
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
  USR1, USR2     as 'disable', 'enable'
  HUP            as 'leave'
  A client that is killed with KILL leaves its build running; the next client takes it over.

Exit codes:
  0  done: drained, stopped, or (--once) a result delivered, whatever it was
  1  --once: the job could not be finished here; 'stop', 'leave': the client does not end
  2  the command line is wrong
  3  mock, its configuration, its user or the secret's file is wrong
  4  the state folder cannot be used, or another client uses it
  5  --once: the hub refused this builder
  6  --once: the secret is wrong, or the hub is not the one known
  7  --once: the hub cannot be reached
  8  disable, enable, stop, leave, status: no client runs on this state folder
Without --once, what a hub may mend (5 to 7) is logged and tried again, after a minute at most.";

static SYNTAX: Syntax = Syntax {
    program: "moji-client",
    version: env!("CARGO_PKG_VERSION"),
    about: "moji's builder: takes source RPMs from a hub, builds them with mock, sends back what came out",
    verbs: &[
        (DISABLE, "Finish the current build, upload it, then end; returns at once"),
        (ENABLE, "Take jobs again after 'disable'"),
        (STOP, "Stop now and wait until it is done (at most 15 s on a PC)"),
        (LEAVE, "End at once; the next client takes the build over (for upgrades)"),
        (STATUS, "Print one line: what the client does"),
    ],
    operands: &[
        ("HUB", "The hub: HOST or HOST:PORT (default port 6789)"),
        ("MOCK_CONFIG", "What 'mock -r' takes: a name or the path of a .cfg file"),
        ("[PASSWORD]", "The secret, or @FILE that holds it\n('ps' shows a secret that stands here)"),
    ],
    options: &[
        Opt::value("password-file", "FILE", "File that holds the secret"),
        Opt::value(
            "hub-key",
            "HEX",
            "The hub's public key\n[default: the token's, or the first one seen is kept]",
        ),
        Opt::value("name", "NAME", "Name of this builder [default: the host name]"),
        Opt::value(
            "arch",
            "ARCH",
            "rpm architecture it builds for\n[default: the configuration's target_arch, or this machine's]",
        ),
        Opt::value("mock", "PROGRAM", "Program with mock's command line [default: mock]"),
        Opt::value(
            "mock-user",
            "USER",
            "User to run builds as, in group mock\n[default: moji as root, otherwise the caller];\n\
             'root' keeps root and sets SUDO_UID to a member of group mock",
        ),
        Opt::value(
            "backend",
            "mock|rpmbuild",
            "'mock', or 'rpmbuild' to build on this very system,\nfor boards too small for dnf [default: mock]",
        ),
        Opt::value("rpmbuild-timeout", "SECONDS", "End a build after this long, seconds"),
        Opt {
            with_verb: true,
            ..Opt::value("state", "DIR", "Folder for keys, jobs and results; one for each client")
        },
        Opt::value("min-free", "MIB", "Take no job below this much free disk, MiB [default: 2048]"),
        Opt::flag("once", "Build one package, then exit"),
        Opt::flag("daemon", "Run in the background; restart when killed"),
        Opt::flag("syslog", "Log to syslog instead of stderr"),
        Opt::value("log-level", "LEVEL", "error, warn, info or debug [default: info]"),
        Opt { short: Some('v'), ..Opt::flag("verbose", "As --log-level debug") },
        // The parent of a daemon; the client of such a parent; that client after a crash: a drain goes on.
        Opt::flag("supervise", ""),
        Opt::flag("worker", ""),
        Opt::flag("restarted", ""),
    ],
    after: AFTER_HELP,
};
const DISABLE: &str = "disable";
const ENABLE: &str = "enable";
const STOP: &str = "stop";
const LEAVE: &str = "leave";
const STATUS: &str = "status";
/// Free disk below which no job is taken unless told otherwise, MiB: a small chroot and a build in it.
const MIN_FREE_DEFAULT_MIB: u32 = 2048;

/// What the words of [`SYNTAX`] mean.
#[derive(Debug)]
struct Args {
    hub: String,
    mock_config: String,
    password: Option<String>,
    password_file: Option<PathBuf>,
    hub_key: Option<String>,
    name: Option<String>,
    arch: Option<String>,
    mock: Option<String>,
    mock_user: Option<String>,
    backend: Backend,
    rpmbuild_timeout: Option<u32>,
    min_free: u32,
    once: bool,
    daemon: bool,
    syslog: bool,
    log_level: LevelFilter,
    supervise: bool,
    worker: bool,
    restarted: bool,
}

impl Args {
    fn new(words: &mut Words) -> Result<Args, String> {
        let level = words.value("log-level")?.unwrap_or(LevelFilter::Info);
        let args = Args {
            hub: words.next()?.unwrap_or_default(),
            mock_config: words.next()?.unwrap_or_default(),
            password: words.next()?,
            password_file: words.raw("password-file").map(PathBuf::from),
            hub_key: words.value("hub-key")?,
            name: words.value("name")?,
            arch: words.value("arch")?,
            mock: words.value("mock")?,
            mock_user: words.value("mock-user")?,
            backend: backend(words.value("backend")?)?,
            rpmbuild_timeout: words.value("rpmbuild-timeout")?,
            min_free: words.value("min-free")?.unwrap_or(MIN_FREE_DEFAULT_MIB),
            once: words.raw("once").is_some(),
            daemon: words.raw("daemon").is_some(),
            syslog: words.raw("syslog").is_some(),
            log_level: if words.raw("verbose").is_some() { LevelFilter::Debug } else { level },
            supervise: words.raw("supervise").is_some(),
            worker: words.raw("worker").is_some(),
            restarted: words.raw("restarted").is_some(),
        };
        if args.password.is_some() && args.password_file.is_some() {
            return Err("the argument '[PASSWORD]' cannot be used with '--password-file <FILE>'".to_owned());
        }
        Ok(args)
    }
}

fn backend(text: Option<String>) -> Result<Backend, String> {
    match text.as_deref() {
        None | Some("mock") => Ok(Backend::Mock),
        Some("rpmbuild") => Ok(Backend::Rpmbuild),
        Some(text) => Err(format!("invalid value '{text}' for '--backend': it is 'mock' or 'rpmbuild'")),
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
    let mut words = match SYNTAX.read(&args[1..]) {
        Ok(Said::Words(words)) => words,
        Ok(Said::Text(text)) => {
            // Whoever closes the pipe early has read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::from(exit::OK);
        }
        Err(wrong) => return usage_error(&wrong),
    };
    let state = words.raw("state").map(PathBuf::from);
    if let Some(verb) = words.verb() {
        return ended(control(verb, state), false);
    }
    match Args::new(&mut words) {
        Ok(parsed) => {
            let syslog = parsed.syslog;
            ended(run(&parsed, state, &args[1..]), syslog)
        }
        Err(wrong) => usage_error(&wrong),
    }
}

fn usage_error(wrong: &str) -> ExitCode {
    eprintln!("error: {wrong}\n\n{}\nFor more information, try '--help'.", SYNTAX.usage());
    ExitCode::from(exit::USAGE)
}

/// Says why it ended, unless it ended well.
fn ended(result: Result<u8, Failure>, syslog: bool) -> ExitCode {
    match result {
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

fn folder(state: Option<PathBuf>) -> Result<PathBuf, Failure> {
    state.map_or_else(StateFolder::default_path, Ok)
}

fn control(verb: &str, state: Option<PathBuf>) -> Result<u8, Failure> {
    let state = StateFolder(folder(state)?);
    match verb {
        DISABLE => control::disable(&state)?,
        ENABLE => control::enable(&state)?,
        STOP => control::stop(&state)?,
        LEAVE => control::leave(&state)?,
        _ => control::status(&state)?,
    }
    Ok(exit::OK)
}

fn run(args: &Args, state: Option<PathBuf>, words: &[OsString]) -> Result<u8, Failure> {
    let path = folder(state)?;
    logger::start(args.syslog, args.log_level)?;
    let state = StateFolder::create(&path)?;
    let words = &own_words(words);
    if args.supervise {
        return daemon::supervise(words, &state, args.syslog);
    }
    if args.daemon && !args.worker {
        return daemon::detach(words)
            .map_err(|error| Failure::new(exit::STATE, format!("cannot detach: {error}")));
    }
    // Who finds the lock may send these; they wait until the loop reads them.
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGUSR1);
    mask.add(Signal::SIGUSR2);
    let _ = mask.thread_block();
    let _lock = state.lock(CLIENT)?;
    // Until its parent begins, no other client does either.
    if !args.worker {
        drop(state.lock(DAEMON)?);
    }
    if !args.restarted {
        // A new start ends an old drain.
        state.keep_draining(false).map_err(|error| {
            Failure::new(exit::STATE, format!("cannot use {}: {error}", state.0.display()))
        })?;
    }
    shim::set_oom_score(shim::OOM_SCORE_PROTECTED);
    let (config, tools, dial) = prepare(args, &state)?;
    log::info!(
        "builder {} ({}) for {}, hub {}, state {}",
        config.name,
        dial.key.public(),
        config.arch,
        args.hub,
        state.0.display()
    );
    shell::run(config, tools, state, dial, || {
        if args.worker {
            daemon::up(args.syslog);
        }
    })
}

/// The command line without what this program adds to it itself.
fn own_words(words: &[OsString]) -> Vec<OsString> {
    let added = ["--supervise", "--worker", "--restarted"];
    words.iter().filter(|word| !added.iter().any(|added| word == added)).cloned().collect()
}

/// Checks everything and puts it together.
fn prepare(args: &Args, state: &StateFolder) -> Result<(Config, Tools, Dial), Failure> {
    let (host, port) = settings::parse_hub(&args.hub)?;
    let (tools, cfg_path) = tools(args, state)?;
    let dial = dial(args, state, &host, port)?;
    let usage = |text: String| Failure::new(exit::USAGE, text);
    let checked = |what: &str, text: String| {
        FileName::new(text).map_err(|error| usage(format!("the {what} {error}: give another with --{what}")))
    };
    let host_name = || nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let arch = args.arch.clone().unwrap_or_else(|| settings::arch(cfg_path.as_deref()));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let (setup, weak) = settings::setup(&tools, state);
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
        setup,
        weak,
        hub_host: settings::url_host(&host),
        once: args.once,
        disk_free_min_mib: args.min_free,
        seed: random_u64(),
    };
    Ok((config, tools, dial))
}

fn tools(args: &Args, state: &StateFolder) -> Result<(Tools, Option<PathBuf>), Failure> {
    let (cfg, cfg_path) = settings::mock_config(&args.mock_config);
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

    fn parse(words: &[&str]) -> Result<Args, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let Said::Words(mut words) = SYNTAX.read(&words)? else { panic!("no words") };
        words.raw("state");
        let args = Args::new(&mut words)?;
        assert!(words.left().is_empty(), "nobody reads {:?}", words.left());
        Ok(args)
    }

    #[test]
    fn the_old_forms_of_the_command_line_work() {
        let plain = parse(&["hub:1", "mini", "@secret"]).unwrap();
        assert_eq!(
            (&*plain.hub, &*plain.mock_config, plain.password.as_deref()),
            ("hub:1", "mini", Some("@secret"))
        );
        assert_eq!((plain.min_free, plain.log_level), (2048, LevelFilter::Info));
        assert_eq!((plain.backend, plain.once || plain.daemon || plain.syslog), (Backend::Mock, false));
        for wrong in [
            &["hub"][..],
            &[],
            &["hub", "cfg", "p", "--password-file", "f"],
            &["hub", "cfg", "--backend=x"],
            &["hub", "cfg", "--log-level=x"],
            &["hub", "cfg", "--min-free=x"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_option_of_the_table_is_read_and_changes_what_is_done() {
        let without = format!("{:?}", parse(&["hub", "cfg"]).unwrap());
        for option in SYNTAX.options.iter().filter(|option| option.name != "state") {
            let value = match option.value {
                "" => String::new(),
                "mock|rpmbuild" => "=rpmbuild".to_owned(),
                "LEVEL" => "=warn".to_owned(),
                _ => "=7".to_owned(),
            };
            let with = parse(&["hub", "cfg", &format!("--{}{value}", option.name)]).unwrap();
            assert_ne!(format!("{with:?}"), without, "--{} changes nothing", option.name);
        }
    }

    #[test]
    fn help_fits_a_terminal_and_its_columns() {
        for line in SYNTAX.help().lines() {
            assert!(line.len() <= 100, "{line}");
            // Between an option and its explanation there are two spaces at least.
            let option = line.strip_prefix("      --").or_else(|| line.strip_prefix("  -v, --"));
            assert!(option.is_none_or(|rest| rest.contains("  ")), "{line}");
        }
    }
}
