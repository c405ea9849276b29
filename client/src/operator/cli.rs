//! The command line: what can be said, and who does it.
//!
//! Owns options, their checks and the exit code. Says nothing to a hub itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use moji_proto::message::{Order, PackageState, Verdict, Which};

use super::dial::{self, Patience};
use super::link::Session;
use super::output::Out;
use super::settings::{self, Access, Given, Machine};
use super::{change, code, complete, events, help, idle, log, look, print, submit, top, wait, watch};
use crate::exit::Failure;

/// All verdicts, for `--verdict`.
pub(super) const VERDICTS: [Verdict; 9] = [
    Verdict::Success,
    Verdict::Excluded,
    Verdict::Infra,
    Verdict::Memory,
    Verdict::Deps,
    Verdict::Failed,
    Verdict::Lost,
    Verdict::Released,
    Verdict::Timeout,
];

#[derive(Parser, Debug)]
#[command(name = "moji", version, override_help = help::MAIN, max_term_width = 80, arg_required_else_help = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,

    /// The hub [else $MOJI_HUB, configuration, this machine]
    #[arg(long, value_name = "HOST[:PORT]", global = true)]
    hub: Option<String>,
    /// File with the operators' secret
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    /// No colours
    #[arg(long, global = true)]
    no_color: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show the farm at a glance: what builds, what needs attention
    #[command(
        after_help = "Examples:\n  moji status\n  moji status --watch      drawn again each second; q ends it"
    )]
    Status {
        /// Draw it again each second, until q
        #[arg(short, long)]
        watch: bool,
    },
    /// Show the farm live in a terminal: progress, trouble, what is built where
    #[command(
        after_help = "It is a program of its own, moji-top, beside this one: ? there lists its keys.\n\
        \nExamples:\n  moji top\n  moji top --once          the screen once, as plain text"
    )]
    Top {
        /// Print the screen once
        #[arg(long)]
        once: bool,
    },
    /// List packages, all or those in a state
    #[command(
        after_help = "States:\n  waiting deps duplicate unusable building success failed excluded review\n  cancelled finished\n\
        \nExamples:\n  moji list failed\n  moji list 'python3-*'\n  moji list waiting 'perl-*' --json"
    )]
    List {
        /// A state, or a package's name or glob
        #[arg(value_name = "STATE|PATTERN")]
        state_or_pattern: Option<String>,
        /// A package's name or glob
        pattern: Option<String>,
    },
    /// Show all about one package: its attempts, why they ended, its files
    #[command(after_help = "Examples:\n  moji show zlib\n  moji show zlib-1.3-1 --json")]
    Show {
        /// The package
        #[arg(value_name = "PKG")]
        package: String,
    },
    /// Tell why a package is where it is: what it waits for, who was passed over
    #[command(
        after_help = "What it lacks and who would provide that, its place in the order and the reason\n\
        for it, why builders that are not at work did not get it, how its newest\nattempts ended.\n\
        \nExamples:\n  moji why zlib\n  moji why zlib-1.3-1 --json | jq .lacks"
    )]
    Why {
        /// The package
        #[arg(value_name = "PKG")]
        package: String,
    },
    /// List what packages wait for, the longest chain of builds first, and cycles
    #[command(
        after_help = "HOLDS: packages that lack it. IN ALL: those, and what waits behind them. CHAIN:\n\
        build time of the longest chain behind it. Who would provide it is guessed from\nnames.\n\
        A cycle is packages that wait for each other. It ends when builds of those under\n\
        'import' come from elsewhere, as RPMs put into repo/.\n\
        \nExamples:\n  moji blocked\n  moji blocked -n 100\n  \
        moji blocked --json | jq -r 'select(.cycle).import[]'"
    )]
    Blocked {
        /// The first so many capabilities
        #[arg(short = 'n', value_name = "N", default_value_t = 20)]
        rows: u32,
    },
    /// Show builders and how they are; one that is named in full
    #[command(after_help = "Examples:\n  moji builders\n  moji builders 'board*'\n  moji builders board7")]
    Builders {
        /// A builder's name, key or glob
        pattern: Option<String>,
    },
    /// Show what happened
    #[command(
        after_help = "Examples:\n  moji history -n 20\n  moji history zlib\n  moji history board7 --json"
    )]
    History {
        /// To which packages or builders
        pattern: Option<String>,
        /// The newest so many
        #[arg(short = 'n', value_name = "N", default_value_t = 100)]
        rows: u32,
    },
    /// Hand source RPMs to the farm
    #[command(after_help = "After a broken connection or a restart of the hub it goes on where it was.\n\
        \nExamples:\n  moji submit *.src.rpm\n  moji submit zlib-1.3-1.src.rpm --first --options \"--without tests\"")]
    Submit {
        /// Source RPMs
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// To the front of the queue
        #[arg(long)]
        first: bool,
        /// mock's options for them, quoted as in a shell
        #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
        options: Option<String>,
    },
    /// Build packages again from the start, or those held back at once
    #[command(after_help = "Verdicts:\n  success excluded infra memory deps failed lost released\n\
        \nExamples:\n  moji retry zlib\n  moji retry --failed              all that failed\n  \
        moji retry 'perl-*' --verdict infra")]
    Retry {
        /// Packages
        #[arg(value_name = "PKG", required_unless_present_any = ["failed", "verdict"])]
        packages: Vec<String>,
        /// Only those that failed; without PKG all of them
        #[arg(long, conflicts_with = "verdict")]
        failed: bool,
        /// Only those that ended so; without PKG all of them
        #[arg(long, value_name = "V", value_parser = parse_verdict)]
        verdict: Option<Verdict>,
    },
    /// Stop packages' builds, or take them out of the queue, until a retry
    #[command(after_help = "Examples:\n  moji cancel zlib\n  moji cancel 'python3-*'")]
    Cancel {
        /// Packages
        #[arg(required = true, value_name = "PKG")]
        packages: Vec<String>,
    },
    /// Put packages to the front of the queue
    #[command(
        after_help = "Examples:\n  moji prio gcc glibc\n  moji prio 'texlive-*' --last\n  moji prio gcc --clear"
    )]
    Prio {
        /// Packages
        #[arg(required = true, value_name = "PKG")]
        packages: Vec<String>,
        /// To the front of priority.txt (as without any)
        #[arg(long, conflicts_with_all = ["last", "clear"])]
        first: bool,
        /// To its end: before what is not in it
        #[arg(long, conflicts_with = "clear")]
        last: bool,
        /// Out of it
        #[arg(long)]
        clear: bool,
    },
    /// Show or set mock's options for a package or glob
    #[command(after_help = "moji's own options go before PKG: all that follows it is mock's.\n\
        \nExamples:\n  moji options zlib                   show them\n  moji options zlib --without tests   \
        set them\n  moji options zlib --clear           none any more")]
    Options {
        /// The package, or a glob that is written into options.txt as it is
        #[arg(value_name = "PKG")]
        package: String,
        /// mock's options; --clear alone: none any more
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
        /// None any more
        #[arg(long)]
        clear: bool,
    },
    /// Publish results that wait for review
    #[command(after_help = "Example:\n  moji list review && moji show zlib && moji accept zlib")]
    Accept {
        /// Packages
        #[arg(required = true, value_name = "PKG")]
        packages: Vec<String>,
    },
    /// Do not publish results that wait for review
    #[command(after_help = "Example:\n  moji refuse zlib")]
    Refuse {
        /// Packages
        #[arg(required = true, value_name = "PKG")]
        packages: Vec<String>,
    },
    /// Take published results out of the repository
    #[command(after_help = "Examples:\n  moji retract zlib-1.3-1\n  moji retract zlib-1.3-1@2 --delete")]
    Retract {
        /// Results: NVR, NVR@2
        #[arg(required = true, value_name = "NVR")]
        results: Vec<String>,
        /// Delete their RPMs too; logs stay
        #[arg(long)]
        delete: bool,
    },
    /// Show a build's log
    #[command(after_help = "With -f the exit code is 1 if the build fails.\n\
        \nExamples:\n  moji log zlib\n  moji log -f zlib\n  moji log zlib --which root --attempt 1\n  \
        moji log zlib --raw > build.log")]
    Log {
        /// The package
        #[arg(value_name = "PKG")]
        package: String,
        /// Go on while it grows, until the build ends
        #[arg(short, long)]
        follow: bool,
        /// build, root, state or mock
        #[arg(long, value_name = "LOG", default_value = "build", value_parser = parse_which)]
        which: Which,
        /// Attempt, 1 is the oldest [default: the newest]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        attempt: Option<u16>,
        /// Its bytes as they are, control characters too
        #[arg(long)]
        raw: bool,
    },
    /// Give builders nothing more
    #[command(after_help = "Examples:\n  moji drain board7\n  moji drain --all --exit     before an upgrade")]
    Drain {
        #[command(flatten)]
        which: Builders,
        /// Their programs end once they are idle
        #[arg(long)]
        exit: bool,
    },
    /// Give builders work again
    #[command(after_help = "Examples:\n  moji resume board7\n  moji resume --all")]
    Resume {
        #[command(flatten)]
        which: Builders,
    },
    /// Keep work from builders that spoil it, until they are released
    #[command(after_help = "Example:\n  moji quarantine board7")]
    Quarantine {
        /// Builders
        #[arg(required = true, value_name = "B")]
        builders: Vec<String>,
    },
    /// End builders' quarantine, also one that the hub began
    #[command(after_help = "Example:\n  moji release board7")]
    Release {
        /// Builders
        #[arg(required = true, value_name = "B")]
        builders: Vec<String>,
    },
    /// Write a builder into the hub's list of builders
    #[command(
        after_help = "The key can be left out if just one builder of that name or address was turned\naway.\n\
        \nExamples:\n  moji builders               unlisted ones are at the end\n  moji approve board8\n  \
        moji approve board8 0123…cdef armv5tel"
    )]
    Approve {
        /// Its name
        name: String,
        /// Its key, or the beginning of it; then its architectures
        #[arg(value_name = "KEY|ARCH")]
        words: Vec<String>,
    },
    /// Wait until packages are built, or the farm is idle
    #[command(
        after_help = "A package is at an end as success, failed, excluded, review, cancelled or\nfinished. \
        The exit code is 0 if all were a success, 1 if not or if the time is\nover. A name stands for all versions \
        that are there now.\n\
        --idle: no package waits to be leased or is built. Those that wait for\ncapabilities (deps) do not count; \
        the exit code is about those that came to an\nend meanwhile.\n\
        \nExamples:\n  moji wait zlib-1.3-1\n  moji wait --idle --timeout 2h && moji list failed"
    )]
    Wait {
        /// Packages
        #[arg(value_name = "PKG", required_unless_present = "idle", conflicts_with = "idle")]
        packages: Vec<String>,
        /// Until no package waits or is built
        #[arg(long)]
        idle: bool,
        /// At most so long: 90s, 15m, 2h, 1d
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        timeout: Option<Duration>,
    },
    /// Show what happens, a line each, until Ctrl-C
    #[command(after_help = "Examples:\n  moji events\n  moji events 'python3-*' --json | jq .kind\n  \
        moji events --after 1764000000000123      first what happened since that event")]
    Events {
        /// To which packages or builders
        pattern: Option<String>,
        /// First all that happened after this event
        #[arg(long, value_name = "SEQ")]
        after: Option<u64>,
    },
    /// Print a script that teaches a shell to complete moji's command lines
    #[command(
        after_help = "Examples:\n  moji completion bash > /etc/bash_completion.d/moji\n  eval \"$(moji completion zsh)\"\n  \
        moji completion fish > ~/.config/fish/completions/moji.fish"
    )]
    Completion {
        /// Which shell
        shell: Shell,
    },
}

#[derive(clap::Args, Debug)]
struct Builders {
    /// Builders: names, keys or globs
    #[arg(value_name = "B", required_unless_present = "all", conflicts_with = "all")]
    builders: Vec<String>,
    /// All that are known
    #[arg(long)]
    all: bool,
}

/// A shell that has completion.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

fn parse_verdict(text: &str) -> Result<Verdict, String> {
    let found = VERDICTS.into_iter().find(|verdict| verdict.as_str() == text);
    found.ok_or_else(|| format!("there are {}", VERDICTS.map(|verdict| verdict.as_str()).join(", ")))
}

/// The word for a log.
pub(super) fn which_word(which: Which) -> &'static str {
    which.file_name().trim_end_matches(".log")
}

fn parse_which(text: &str) -> Result<Which, String> {
    let found = Which::ALL.into_iter().find(|which| which_word(*which) == text);
    found.ok_or_else(|| "there are build, root, state and mock".to_owned())
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = digits.parse::<u32>().ok().zip(unit).map(|(count, unit)| u64::from(count) * unit);
    seconds.map(Duration::from_secs).ok_or_else(|| "write 90s, 15m, 2h or 1d".to_owned())
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "__complete") {
        complete::main(&words[2..]);
        return ExitCode::SUCCESS;
    }
    let args = match Args::try_parse_from(&words) {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => {
            let text = error.to_string();
            return ended(Out::new(false, true).say(&text).map(|()| code::OK));
        }
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{}", help::MAIN);
            return ExitCode::from(code::USAGE);
        }
        Err(error) => return ended(Err(Failure::new(code::USAGE, help::usage_error(&error)))),
    };
    let mut out = Out::new(args.json, args.no_color);
    let given = Given { hub: args.hub, password_file: args.password_file };
    ended(run(args.command, &given, &mut out))
}

fn ended(result: Result<u8, Failure>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.text.is_empty() {
                eprintln!("moji: {}", print::safe(&failure.text));
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command, given: &Given, out: &mut Out) -> Result<u8, Failure> {
    let access = || settings::access(given, &Machine::this());
    let until = |timeout: Option<Duration>| timeout.map(|timeout| Instant::now() + timeout);
    match command {
        Command::Status { watch: true } => watch::watch(&access()?, out),
        Command::Top { once } => top::top(given, out, once),
        Command::Submit { files, first, options } => {
            submit::submit(access, out, &submit::Wanted { files, first, options })
        }
        Command::Log { package, follow, which, attempt, raw } => {
            let attempt = attempt.unwrap_or(0);
            log::log(&access()?, out, &log::Wanted { package, which, attempt, follow, raw })
        }
        Command::Wait { idle: true, timeout, .. } => idle::wait(&access()?, out, until(timeout)),
        Command::Wait { packages, timeout, .. } => wait::wait(&access()?, out, &packages, until(timeout)),
        Command::Events { pattern, after } => {
            events::events(&access()?, out, &pattern.unwrap_or_default(), after)
        }
        Command::Completion { shell } => out.say(complete::script(shell)).map(|()| code::OK),
        other => once(other, &access, out),
    }
}

/// What is one session and at its end.
fn once(
    command: Command,
    access: &dyn Fn() -> Result<Access, Failure>,
    out: &mut Out,
) -> Result<u8, Failure> {
    let open = || -> Result<Session, Failure> { Ok(dial::open(&access()?, Patience::COMMAND)?) };
    match command {
        Command::Status { .. } => look::status(&mut open()?, out),
        Command::List { state_or_pattern, pattern } => {
            let (state, pattern) = state_and_pattern(state_or_pattern, pattern)?;
            look::list(&mut open()?, out, state, &pattern)
        }
        Command::Show { package } => look::show(&mut open()?, out, &package),
        Command::Why { package } => look::why(&mut open()?, out, &package),
        Command::Blocked { rows } => look::blocked(&mut open()?, out, rows),
        Command::Builders { pattern } => look::builders(&mut open()?, out, &pattern.unwrap_or_default()),
        Command::History { pattern, rows } => {
            look::history(&mut open()?, out, &pattern.unwrap_or_default(), rows)
        }
        Command::Options { package, words, clear } if words.is_empty() && !clear => {
            change::show_options(&mut open()?, out, &package)
        }
        other => {
            let (order, targets, words) = ordered(other)?;
            change::change(&mut open()?, out, order, &targets, &words)
        }
    }
}

/// A change, what it is of, and its words.
fn ordered(command: Command) -> Result<(Order, Vec<String>, Vec<moji_proto::Line>), Failure> {
    let plain = |order, targets| Ok((order, targets, Vec::new()));
    match command {
        Command::Retry { packages, failed, verdict } => {
            let verdict = if failed { Some(Verdict::Failed) } else { verdict };
            let all = packages.is_empty();
            plain(Order::Retry { verdict }, change::targets(packages, all))
        }
        Command::Cancel { packages } => plain(Order::Cancel, packages),
        Command::Prio { packages, clear: true, .. } => plain(Order::Clear, packages),
        Command::Prio { packages, last: true, .. } => plain(Order::Last, packages),
        Command::Prio { packages, .. } => plain(Order::First, packages),
        Command::Options { words, clear: true, .. } if !words.is_empty() => {
            Err(Failure::new(code::USAGE, "--clear takes no words: leave one or the other out"))
        }
        Command::Options { package, words, .. } => {
            Ok((Order::Options, vec![package], change::options(&words)?))
        }
        Command::Accept { packages } => plain(Order::Accept, packages),
        Command::Refuse { packages } => plain(Order::Refuse, packages),
        Command::Retract { results, delete } => plain(Order::Retract { delete }, results),
        Command::Drain { which: Builders { builders, all }, exit } => {
            plain(Order::Drain { exit }, change::targets(builders, all))
        }
        Command::Resume { which: Builders { builders, all } } => {
            plain(Order::Resume, change::targets(builders, all))
        }
        Command::Quarantine { builders } => plain(Order::Quarantine, builders),
        Command::Release { builders } => plain(Order::Release, builders),
        Command::Approve { name, words } => Ok((Order::Approve, vec![name], change::words(&words)?)),
        Command::Status { .. }
        | Command::Top { .. }
        | Command::List { .. }
        | Command::Show { .. }
        | Command::Why { .. }
        | Command::Blocked { .. }
        | Command::Builders { .. }
        | Command::History { .. }
        | Command::Submit { .. }
        | Command::Log { .. }
        | Command::Wait { .. }
        | Command::Events { .. }
        | Command::Completion { .. } => unreachable!("the callers matched these"),
    }
}

/// `list`'s words: a state, a pattern, or both in this order.
fn state_and_pattern(
    first: Option<String>,
    second: Option<String>,
) -> Result<(Option<PackageState>, String), Failure> {
    let state = |word: &str| PackageState::ALL.into_iter().find(|state| state.as_str() == word);
    match (first, second) {
        (None, _) => Ok((None, String::new())),
        (Some(first), None) => Ok(match state(&first) {
            Some(state) => (Some(state), String::new()),
            None => (None, first),
        }),
        (Some(first), Some(pattern)) => match state(&first) {
            Some(state) => Ok((Some(state), pattern)),
            None => {
                let all = PackageState::ALL.map(PackageState::as_str).join(", ");
                Err(Failure::new(code::USAGE, format!("'{first}' is no state: there are {all}")))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(line: &str) -> (Order, Vec<String>, Vec<String>) {
        let args = Args::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        let (order, targets, words) = ordered(args.command).unwrap();
        (order, targets, words.iter().map(|word| word.as_str().to_owned()).collect())
    }

    #[test]
    fn each_change_is_the_order_that_its_words_say() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        for (line, want, targets, words) in [
            ("moji retry a b", Order::Retry { verdict: None }, &["a", "b"][..], &[][..]),
            ("moji retry --failed", Order::Retry { verdict: Some(Verdict::Failed) }, &["*"], &[]),
            ("moji retry --verdict infra", Order::Retry { verdict: Some(Verdict::Infra) }, &["*"], &[]),
            ("moji retry x* --verdict lost", Order::Retry { verdict: Some(Verdict::Lost) }, &["x*"], &[]),
            ("moji cancel a", Order::Cancel, &["a"], &[]),
            ("moji prio a b", Order::First, &["a", "b"], &[]),
            ("moji prio a --first", Order::First, &["a"], &[]),
            ("moji prio a --last", Order::Last, &["a"], &[]),
            ("moji prio --clear a", Order::Clear, &["a"], &[]),
            ("moji options a --clear", Order::Options, &["a"], &[]),
            ("moji options a --without b --json", Order::Options, &["a"], &["--without", "b", "--json"]),
            ("moji options a -D x", Order::Options, &["a"], &["-D", "x"]),
            ("moji accept a", Order::Accept, &["a"], &[]),
            ("moji refuse a", Order::Refuse, &["a"], &[]),
            ("moji retract a-1-1@2", Order::Retract { delete: false }, &["a-1-1@2"], &[]),
            ("moji retract a-1-1 --delete", Order::Retract { delete: true }, &["a-1-1"], &[]),
            ("moji drain --all --exit", Order::Drain { exit: true }, &["*"], &[]),
            ("moji drain b", Order::Drain { exit: false }, &["b"], &[]),
            ("moji resume --all", Order::Resume, &["*"], &[]),
            ("moji quarantine b c", Order::Quarantine, &["b", "c"], &[]),
            ("moji release b", Order::Release, &["b"], &[]),
            ("moji approve b 0123 armv5tel", Order::Approve, &["b"], &["0123", "armv5tel"]),
            ("moji approve b", Order::Approve, &["b"], &[]),
        ] {
            let (order, got, said) = order(line);
            assert_eq!(order, want, "{line}");
            assert_eq!(
                (got.as_slice(), said.as_slice()),
                (&strings(targets)[..], &strings(words)[..]),
                "{line}"
            );
        }
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn command_lines_that_say_nothing_or_two_things_are_wrong() {
        for line in [
            "moji",
            "moji retry",
            "moji retry --failed --verdict infra",
            "moji retry --verdict nonsense",
            "moji prio a --first --last",
            "moji drain",
            "moji drain b --all",
            "moji wait",
            "moji wait a --idle",
            "moji wait a --timeout 5x",
            "moji log",
            "moji log a --which dnf",
            "moji log a --attempt 0",
            "moji submit",
            "moji completion csh",
            "moji stauts",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        let words = |first: &str, second: &str| {
            state_and_pattern(Some(first.to_owned()), (!second.is_empty()).then(|| second.to_owned()))
        };
        assert_eq!(words("failed", ""), Ok((Some(PackageState::Failed), String::new())));
        assert_eq!(words("zlib", ""), Ok((None, "zlib".to_owned())));
        assert_eq!(words("review", "z*"), Ok((Some(PackageState::Review), "z*".to_owned())));
        assert_eq!(words("a", "b").unwrap_err().code, code::USAGE);
        let seconds = |text| parse_time(text).map(|time| time.as_secs()).ok();
        assert_eq!(
            ["90s", "15m", "2h", "1d", "7", "m", "-1s"].map(seconds).map(|s| s.unwrap_or(0)),
            [90, 900, 7200, 86_400, 7, 0, 0]
        );
    }
}
