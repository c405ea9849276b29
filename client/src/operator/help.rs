//! The texts of `--help` that clap does not write, and what is said about a wrong command line.
//!
//! Owns words only. A test keeps the list of commands complete.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use moji_proto::human::distance;

use super::complete;

/// `moji --help`.
pub(super) const MAIN: &str = "\
moji: looks after a moji build farm

Usage: moji [OPTIONS] COMMAND ...

Look:
  status [--watch]                the farm at a glance: what needs attention
  top                             the farm live: progress, trouble, builds
  list [STATE] [PATTERN]          packages, all or those in a state
  show PKG                        all about a package: attempts, files
  why PKG                         why it is where it is, what it waits for
  blocked [-n N]                  what packages wait for, and cycles
  log PKG [-f]                    a build's log; -f follows it while it grows
  builders [PATTERN]              builders and how they are
  history [PATTERN] [-n N]        what happened

Packages:
  submit FILE...                  source RPMs to the farm
  retry PKG...                    build again; or --failed, --verdict V
  cancel PKG...                   stop the build, or take it out of the queue
  prio PKG... [--last|--clear]    to the front of the queue
  options PKG [WORDS...]          mock's options: show or set them
  accept PKG... / refuse PKG...   publish what waits for review, or do not
  retract NVR... [--delete]       take a result out of the repository

Builders:
  drain B...|--all [--exit]       give them nothing more
  resume B...|--all               give them work again
  quarantine B... / release B...  keep work from builders that spoil it
  approve NAME KEY [ARCH...]      write a new one into the list of builders

In scripts:
  wait PKG...|--idle              until they are built, and say how it went
  events [PATTERN] [--after SEQ]  what happens, a line each, until Ctrl-C
  completion bash|zsh|fish        completion for your shell

  help COMMAND                    more about a command, with examples

Options, before or after the command:
      --hub HOST[:PORT]           the hub [else $MOJI_HUB, configuration,
                                  this machine]
      --password-file FILE        the operators' secret [else configuration,
                                  a hub on this machine (needs root)]
      --json                      an object a line (status, show, why:
                                  one object)
      --no-color                  no colours; so does $NO_COLOR
  -h, --help    -V, --version

PKG is a name, name-version-release, a file name or a glob; quote globs.
Configuration: ~/.config/moji.conf, then /etc/moji.conf, with lines
  hub = hub.example:6789
  password-file = ~/.config/moji.secret

Exit codes:
  0  done
  1  the answer is no: not found, refused, the build failed, the time is over
  2  the command line is wrong, or a file that it names
  3  the hub cannot be reached, or does not let you in

Examples:
  moji submit zlib-1.3-1.src.rpm --first && moji wait zlib
  moji log -f zlib
  moji retry --verdict infra
  moji list failed --json
";

/// A wrong command line in one line, without the program's name.
pub(super) fn usage_error(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    if error.kind() == ErrorKind::InvalidSubcommand {
        let word = context(ContextKind::InvalidSubcommand).unwrap_or_default();
        let known = complete::commands();
        let hint = near(word, &known).map_or_else(String::new, |near| format!(" did you mean '{near}'?"));
        return format!("there is no command '{word}':{hint} 'moji help' lists them");
    }
    let text = error.to_string();
    let mut parts = text.split("\n\n");
    let what = parts.next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let usage = parts.find_map(|part| part.trim().strip_prefix("Usage: "));
    match usage.and_then(|usage| usage.lines().next()) {
        Some(usage) => format!("{what}: write {usage}"),
        None => format!("{what}: see 'moji help'"),
    }
}

/// The word that somebody probably meant.
fn near<'a>(word: &str, known: &'a [String]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = 1 + word.chars().count() / 4;
    known
        .iter()
        .map(|known| (if known.starts_with(&word) { 1 } else { distance(&word, known) }, known))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known.as_str())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::operator::cli::Args;

    #[test]
    fn a_mistyped_command_is_guessed_and_a_strange_one_is_not() {
        let known = complete::commands();
        for (word, want) in [
            ("stauts", Some("status")),
            ("retyr", Some("retry")),
            ("sub", Some("submit")),
            ("LIST", Some("list")),
            ("quarantin", Some("quarantine")),
            ("frobnicate", None),
            ("ls", None),
        ] {
            assert_eq!(near(word, &known), want, "{word}");
        }
    }

    #[test]
    fn the_help_names_every_command_and_fits_a_terminal() {
        for command in complete::commands() {
            let found = MAIN.lines().any(|line| line.split_whitespace().any(|word| word == command));
            assert!(found, "{command} is not in the help");
        }
        let mut all = Args::command();
        let each = all.get_subcommands_mut().map(|command| command.render_long_help().to_string());
        for help in each.chain([MAIN.to_owned()]) {
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
