//! The hub's command line.
//!
//! Owns names, defaults and texts of the options, and the exit codes. Touches nothing.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use moji_proto::limits::{HTTP_PORT, PORT};

use crate::mainline::Place;
use crate::repodata::Compression;

/// Exit codes, for init scripts and people.
pub mod exit {
    /// Stopped as asked.
    pub const OK: u8 = 0;
    /// `stop`: the hub does not end; the parent of a daemon: it crashed before it was up.
    pub const UNFINISHED: u8 = 1;
    /// The command line makes no sense (clap's own code).
    pub const USAGE: u8 = 2;
    /// A folder is missing, unwritable or on another file system than its siblings.
    pub const FOLDER: u8 = 3;
    /// Another hub runs on these folders.
    pub const RUNNING: u8 = 4;
    /// An address cannot be listened on.
    pub const LISTEN: u8 = 5;
    /// A key, a secret, a certificate, or a list of builders or passwords cannot be used.
    pub const SECRET: u8 = 6;
    /// A service of the system that the hub needs is missing (inotify), or its hook.
    pub const MISSING: u8 = 7;
    /// `status`, `stop`: no hub runs on this folder.
    pub const NOT_RUNNING: u8 = 8;
}

const ABOUT: &str = "moji's hub: hands the source RPMs of a folder to builders and publishes what they build";

const AFTER: &str = "\
Folders (all on one file system):
  SOURCE     *.src.rpm that wait; priority.txt and options.txt may lie here too
  WORKING    what builders have right now
  FINISHED   what was built, well or not; move a file back to SOURCE to build it again
  REPO       one folder a result, and repodata/: a yum repository, also on HTTP

Signals:
  SIGTERM, SIGINT   stop cleanly; leases survive and builders go on building
  SIGHUP            read the list of builders, the secrets, the folders and the files of --http-… again

Exit codes:
  0 stopped   2 usage   3 folders   4 another hub runs here   5 cannot listen
  6 key, secret, certificate or list   7 inotify or the hook is missing   8 status, stop: no hub runs
  1 stop: the hub does not end

Example:
  moji-server token --state /srv/moji/finished/.moji
  moji-server /srv/moji/source /srv/moji/working /srv/moji/finished /srv/moji/repo";

/// `moji-server`'s command line.
#[derive(Debug, Parser)]
#[command(name = "moji-server", version, about = ABOUT, after_help = AFTER,
          args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    /// `token`, `key`, `status`, `stop`, or nothing: run the hub.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run the hub.
    #[command(flatten)]
    pub run: Run,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the token that builders (or operators) log in with; make it if there is none.
    Token {
        /// Print the operators' token instead.
        #[arg(long)]
        operator: bool,
        /// The hub's state folder.
        #[arg(long, value_name = "DIR", required_unless_present = "finished")]
        state: Option<PathBuf>,
        /// The hub's FINISHED folder, where the state folder is by default.
        #[arg(value_name = "FINISHED", conflicts_with = "state")]
        finished: Option<PathBuf>,
    },
    /// Print the public key of a key that signs, for boards; their dnf then refuses what the hub has not signed.
    Key {
        /// Make the key: RSA, without passphrase, in a new file that only its owner may read.
        #[arg(long)]
        new: bool,
        /// Whose key it is, for people who read it.
        #[arg(long, value_name = "TEXT", default_value = "moji farm", requires = "new")]
        name: String,
        /// The secret key.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print one line: the hub that runs on WORKING.
    Status {
        /// The hub's WORKING folder, where its lock is.
        working: PathBuf,
    },
    /// Stop the hub on WORKING and wait until it is gone; leases survive, builders go on building.
    Stop {
        /// The hub's WORKING folder, where its lock is.
        working: PathBuf,
    },
}

/// How the indexes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Repodata {
    /// With gzip.
    #[default]
    Gzip,
    /// With zstd.
    Zstd,
}

impl From<Repodata> for Compression {
    fn from(repodata: Repodata) -> Compression {
        match repodata {
            Repodata::Gzip => Compression::Gzip,
            Repodata::Zstd => Compression::Zstd,
        }
    }
}

/// How to run the hub.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Folder of SRPMs that wait.
    #[arg(required = true)]
    source: Option<PathBuf>,
    /// Folder of SRPMs that are being built.
    #[arg(required = true)]
    working: Option<PathBuf>,
    /// Folder of SRPMs that were built.
    #[arg(required = true)]
    finished: Option<PathBuf>,
    /// Folder of results: a yum repository.
    #[arg(required = true)]
    repo: Option<PathBuf>,
    /// A secret for builders, beside the token: a passphrase, or @FILE that holds one.
    pub password: Option<String>,
    /// Read PASSWORD from this file.
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    pub password_file: Option<PathBuf>,
    /// Where builders connect. May be given several times.
    #[arg(long, value_name = "ADDR:PORT", default_values_t = [SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT)])]
    pub listen: Vec<SocketAddr>,
    /// Where the repository is served over HTTP, read-only; `off` for nowhere.
    #[arg(long, value_name = "ADDR:PORT|off", default_value_t = Http::default())]
    pub http: Http,
    /// Serve HTTPS with this certificate (PEM, those of its issuers behind it), and tell builders https:// URLs with the
    /// first name in it, which they must be able to resolve and trust. Read again on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "http_key")]
    pub http_cert: Option<PathBuf>,
    /// The key of the certificate (PEM, without passphrase). Read again on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "http_cert")]
    pub http_key: Option<PathBuf>,
    /// Ask for a name and a password, for all on the HTTP port but /healthz: lines as 'htpasswd -nB NAME' makes them. The
    /// repository too; only builders are told a secret path to it, by their own connection. Read again on SIGHUP.
    #[arg(long, value_name = "FILE")]
    pub http_auth: Option<PathBuf>,
    /// Tell builders to use the repository at this URL instead of the hub's own HTTP service.
    #[arg(long, value_name = "URL")]
    pub repo_url: Option<String>,
    /// How the indexes are compressed. Old createrepo_c and dnf read gzip only.
    #[arg(long, value_enum, value_name = "gzip|zstd", hide_possible_values = true, default_value_t)]
    pub repodata: Repodata,
    /// Folder for keys, secrets, history and logs of attempts [default: FINISHED/.moji].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How long a lease outlives its builder's connection; 0 gives the package back at once.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub lease_grace: Duration,
    /// How often a package may run out of memory, be lost or take too long before it counts as failed.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: u32,
    /// So many different builders must agree that a package fails before it counts as failed.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub confirm_failures: u32,
    /// When nothing else waits for an idle builder, give it a copy of the package that takes longest on a slower one, if it
    /// would be done clearly sooner; the first whole result counts, and the other build is cancelled.
    #[arg(long)]
    pub duplicate_last: bool,
    /// How long a builder that failed a package by its own fault is not given it again.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub retry_pause: Duration,
    /// How long a build's logs may stand still before its builder ends it; 0: for ever. What earlier builds of the
    /// package showed makes it shorter (at least 2h) or longer.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub max_silence: Duration,
    /// How long a build may take before its builder ends it; 0: for ever. What hangs is silent, so this is only for what
    /// goes round in circles, and leaves time for a giant on a small board. Learned likewise (at least 12h).
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = duration)]
    pub max_build: Duration,
    /// The one architecture of this repository [default: that of the first result].
    #[arg(long, value_name = "ARCH")]
    pub target: Option<String>,
    /// Hold packages whose BuildRequires neither this yum repository nor moji's own can provide. May be given several
    /// times: everything that builders install from. URL of one mirror, or a folder; the one with repodata/ in it.
    #[arg(long, value_name = "URL_OR_FOLDER")]
    pub mainline: Vec<Place>,
    /// Most that the cache of packages of mainline, in the state folder, takes of the disk. What was not used for the
    /// longest time goes first, also while less is free than --min-free and a quarter of it.
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = size)]
    pub cache_size: u64,
    /// Send boards to the mirrors of --mainline for their packages instead of fetching each once for all of them.
    #[arg(long)]
    pub no_cache: bool,
    /// When a new build of a package provides other libraries (sonames) or versions than the one before, build again, once
    /// and in order, what was built against it.
    #[arg(long)]
    pub rebuild_dependents: bool,
    /// Serve only builders listed in this file: `name key [arch…]` a line.
    #[arg(long, value_name = "FILE")]
    pub builders: Option<PathBuf>,
    /// Sign RPMs and repodata with this OpenPGP secret key, armored or not; 'moji-server key --new FILE' makes one.
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,
    /// Read the passphrase of the key that signs from this file.
    #[arg(long, value_name = "FILE", requires = "sign_key")]
    pub sign_passphrase_file: Option<PathBuf>,
    /// Run this program for each event, with the event as a line of JSON on its standard input.
    #[arg(long, value_name = "PROGRAM")]
    pub hook: Option<PathBuf>,
    /// Lease nothing while less than this is free [default: 2G, or 5 % up to 20G if that is more].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub min_free: Option<u64>,
    /// Most files in one result.
    #[arg(long, value_name = "N", default_value_t = moji_proto::limits::FILES_MAX)]
    pub max_files: u32,
    /// Largest file in a result.
    #[arg(long, value_name = "SIZE", default_value = "8G", value_parser = size)]
    pub max_file_size: u64,
    /// Largest result.
    #[arg(long, value_name = "SIZE", default_value = "32G", value_parser = size)]
    pub max_result_size: u64,
    /// Go to the background, keep a parent that restarts the hub if it crashes, log to syslog; returns
    /// when the hub is up.
    #[arg(long)]
    pub daemon: bool,
    /// The parent of a daemon.
    #[arg(long, hide = true)]
    pub supervise: bool,
    /// The hub of such a parent.
    #[arg(long, hide = true)]
    pub worker: bool,
    /// Log to syslog instead of stderr.
    #[arg(long)]
    pub syslog: bool,
    /// Log more (debug); twice: everything.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Run {
    /// The five folders. clap has seen to it that they are given.
    #[must_use]
    pub fn folders(&self) -> crate::disk::Folders {
        let given = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
        let finished = given(&self.finished);
        crate::disk::Folders {
            state: self.state.clone().unwrap_or_else(|| default_state(&finished)),
            source: given(&self.source),
            working: given(&self.working),
            repo: given(&self.repo),
            finished,
        }
    }
}

/// Where the state folder is unless `--state` says otherwise.
#[must_use]
pub fn default_state(finished: &std::path::Path) -> PathBuf {
    finished.join(".moji")
}

/// Where HTTP is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http(pub Option<SocketAddr>);

impl Default for Http {
    fn default() -> Http {
        Http(Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), HTTP_PORT)))
    }
}

impl std::fmt::Display for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(addr) => addr.fmt(f),
            None => f.write_str("off"),
        }
    }
}

impl std::str::FromStr for Http {
    type Err = String;
    fn from_str(text: &str) -> Result<Http, String> {
        if text == "off" {
            return Ok(Http(None));
        }
        text.parse().map(|addr| Http(Some(addr))).map_err(|_| "not ADDR:PORT and not 'off'".to_owned())
    }
}

/// Reads `90`, `90s`, `10m`, `2h` or `1d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a time like 90, 90s, 10m, 2h or 1d".to_owned();
    let digits = text.trim_end_matches(['s', 'm', 'h', 'd']);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong)
}

/// Reads bytes: `4096`, `500M`, `8G`, with powers of 1,024.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "not a size like 4096, 500M or 8G".to_owned();
    let digits = text.trim_end_matches(['k', 'K', 'M', 'G', 'T']);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_four_folders_and_a_password_are_enough() {
        let cli = Cli::try_parse_from(["moji-server", "s", "w", "f", "r", "secret"]).unwrap();
        let folders = cli.run.folders();
        assert_eq!(folders.state, PathBuf::from("f/.moji"));
        assert_eq!(folders.repo, PathBuf::from("r"));
        assert_eq!(cli.run.password.as_deref(), Some("secret"));
        assert!(Cli::try_parse_from(["moji-server", "s", "w", "f"]).is_err());
        assert!(Cli::try_parse_from(["moji-server", "token"]).is_err());
        assert!(Cli::try_parse_from(["moji-server", "token", "--state", "x"]).is_ok());
    }

    #[test]
    fn mainline_is_read_from_many_places_and_a_wrong_one_is_a_usage_error() {
        let parse =
            |rest: &[&str]| Cli::try_parse_from([&["moji-server", "s", "w", "f", "r"], rest].concat());
        let cli = parse(&["--mainline", "http://m/os", "--mainline=/srv/os"]).unwrap();
        let places: Vec<String> = cli.run.mainline.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["http://m/os/", "/srv/os"]);
        let error = parse(&["--mainline", "http://m/$basearch/"]).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(exit::USAGE));
        assert!(error.to_string().contains("write out what they stand for"), "{error}");
    }

    #[test]
    fn the_cache_has_a_size_unless_it_is_given_another_one_or_is_off() {
        let parse = |rest: &[&str]| {
            Cli::try_parse_from([&["moji-server", "s", "w", "f", "r"], rest].concat()).map(|cli| cli.run)
        };
        let cache = |rest: &[&str]| parse(rest).map(|run| (run.cache_size, run.no_cache)).ok();
        assert_eq!(cache(&[]), Some((10 << 30, false)));
        assert_eq!(cache(&["--cache-size", "500M"]), Some((500 << 20, false)));
        assert_eq!(cache(&["--no-cache"]), Some((10 << 30, true)));
        assert_eq!(cache(&["--cache-size", "much"]), None);
    }

    #[test]
    fn certificate_and_key_are_given_together() {
        let parse =
            |rest: &[&str]| Cli::try_parse_from([&["moji-server", "s", "w", "f", "r"], rest].concat());
        assert!(parse(&["--http-cert", "c", "--http-key", "k", "--http-auth", "a"]).is_ok());
        for (rest, missing) in [(["--http-cert", "c"], "--http-key"), (["--http-key", "k"], "--http-cert")] {
            let error = parse(&rest).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(exit::USAGE));
            assert!(error.to_string().contains(missing), "{error}");
        }
    }

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        for (text, want) in [("0", 0), ("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(want)), "{text}");
        }
        for text in ["", "m", "1x", "-1", "1ms", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for (text, want) in [("0", 0), ("4096", 4096), ("2k", 2048), ("1M", 1 << 20), ("8G", 8 << 30)] {
            assert_eq!(size(text), Ok(want), "{text}");
        }
        for text in ["", "G", "1Z", "1MG", "99999999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!("off".parse(), Ok(Http(None)));
        assert!("nowhere".parse::<Http>().is_err());
    }
}
