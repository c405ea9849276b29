//! `completion` and what its scripts call: `moji __complete WORD…`.
//!
//! Owns what may stand where on a command line. Commands and options are known here; names come from the
//! hub. Silent, and at an end within 2 s, whatever is wrong: somebody presses Tab and waits.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::CommandFactory;
use moji_proto::Line;
use moji_proto::message::{FromOperator, NameOf, PackageState, ToOperator, Which};

use super::cli::{Args, Shell, VERDICTS, which_word};
use super::dial::{self, Patience};
use super::output::Out;
use super::settings::{self, Given, Machine};

/// After this the kernel ends it, seconds.
const PATIENCE_S: u32 = 2;
/// Most names that are of use to a person.
const NAMES_MAX: usize = 500;

const BASH: &str = include_str!("../../dist/completion/bash/moji");
const ZSH: &str = include_str!("../../dist/completion/zsh/_moji");
const FISH: &str = include_str!("../../dist/completion/fish/moji.fish");

/// The script of a shell.
pub(super) fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    }
}

/// `moji __complete WORD…`: the last word is the one that is being written.
pub(super) fn main(words: &[OsString]) {
    nix::unistd::alarm::set(PATIENCE_S);
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some((current, before)) = words.split_last() else { return };
    let at = Place::of(before);
    let found = match at.wants(current) {
        Wants::Words(words) => words.into_iter().filter(|word| word.starts_with(current)).collect(),
        Wants::Names(of, mut words) => {
            words.retain(|word| word.starts_with(current));
            words.extend(names(&at.given, current, of).unwrap_or_default());
            words
        }
        Wants::Nothing => Vec::new(),
    };
    let text: String = found.iter().map(|word| format!("{word}\n")).collect();
    let _ = Out::new(false, true).say(&text);
}

fn names(given: &Given, prefix: &str, of: NameOf) -> Option<Vec<String>> {
    let access = settings::access(given, &Machine::this()).ok()?;
    let mut session = dial::open(&access, Patience::COMPLETION).ok()?;
    let mut names = Vec::new();
    session.ask(&FromOperator::Names { prefix: Line::new(prefix).ok()?, of }, &[]).ok()?;
    while let (Some(row), true) = (session.row().ok()?, names.len() < NAMES_MAX) {
        if let ToOperator::Name { name } = row {
            names.push(super::print::safe(name.as_str()));
        }
    }
    Some(names)
}

/// What may stand at a place.
#[derive(Debug, PartialEq, Eq)]
enum Wants {
    Words(Vec<String>),
    /// Names of the hub, and these words.
    Names(NameOf, Vec<String>),
    /// Anything, a file: the shell knows better.
    Nothing,
}

/// What stands before the word.
#[derive(Debug, Default)]
struct Place {
    given: Given,
    command: Option<String>,
    /// Words that are no options, after the command.
    plain: usize,
    /// The option whose value the word is.
    option: Option<String>,
}

impl Place {
    fn of(before: &[String]) -> Place {
        let mut place = Place::default();
        // bash hands "--hub=x" on as three words.
        for word in before.iter().filter(|word| *word != "=") {
            if let Some(option) = place.option.take() {
                place.value(&option, word);
            } else if let Some((option, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
                place.value(option, value);
            } else if word.starts_with('-') {
                if place.takes_value(word) {
                    place.option = Some(word.clone());
                }
            } else if place.command.is_none() {
                place.command = Some(word.clone());
            } else {
                place.plain += 1;
            }
        }
        place
    }

    fn value(&mut self, option: &str, value: &str) {
        match option {
            "--hub" => self.given.hub = Some(value.to_owned()),
            "--password-file" => self.given.password_file = Some(PathBuf::from(value)),
            _ => {}
        }
    }

    fn arguments(&self) -> Vec<clap::Arg> {
        let mut all = Args::command();
        all.build();
        let found = match &self.command {
            None => Some(&all),
            Some(command) => all.find_subcommand(command),
        };
        found.map(|found| found.get_arguments().cloned().collect()).unwrap_or_default()
    }

    fn takes_value(&self, option: &str) -> bool {
        let (long, short) = (option.strip_prefix("--"), option.strip_prefix('-'));
        self.arguments().iter().any(|argument| {
            let fits = argument.get_long().is_some_and(|name| Some(name) == long)
                || argument.get_short().is_some_and(|name| Some(name.to_string().as_str()) == short);
            fits && argument.get_action().takes_values()
        })
    }

    fn wants(&self, current: &str) -> Wants {
        match self.option.as_deref() {
            Some("--verdict") => return words(&VERDICTS.map(|verdict| verdict.as_str())),
            Some("--which") => return words(&Which::ALL.map(which_word)),
            Some(_) => return Wants::Nothing,
            None => {}
        }
        if current.starts_with('-') {
            let long = |argument: &clap::Arg| {
                argument.get_long().filter(|_| !argument.is_hide_set()).map(|name| format!("--{name}"))
            };
            return Wants::Words(self.arguments().iter().filter_map(long).collect());
        }
        let states = || PackageState::ALL.map(|state| state.as_str().to_owned()).to_vec();
        match (self.command.as_deref(), self.plain) {
            (None, _) | (Some("help"), 0) => Wants::Words(commands()),
            (Some("list"), 0) => Wants::Names(NameOf::Package, states()),
            (Some("list"), 1) | (Some("show" | "why" | "log" | "options" | "history" | "events"), 0) => {
                Wants::Names(NameOf::Package, Vec::new())
            }
            (Some("retry" | "cancel" | "prio" | "accept" | "refuse" | "wait"), _) => {
                Wants::Names(NameOf::Package, Vec::new())
            }
            (Some("retract"), _) => Wants::Names(NameOf::Result, Vec::new()),
            (Some("drain" | "resume" | "quarantine" | "release"), _) | (Some("builders" | "approve"), 0) => {
                Wants::Names(NameOf::Builder, Vec::new())
            }
            (Some("completion"), 0) => words(&["bash", "zsh", "fish"]),
            _ => Wants::Nothing,
        }
    }
}

fn words(words: &[&str]) -> Wants {
    Wants::Words(words.iter().map(|word| (*word).to_owned()).collect())
}

/// All commands.
pub(super) fn commands() -> Vec<String> {
    let mut all = Args::command();
    all.build();
    all.get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(line: &str) -> Wants {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (current, before) = words.split_last().unwrap();
        Place::of(before).wants(current)
    }

    #[test]
    fn each_place_wants_what_may_stand_there() {
        let packages = Wants::Names(NameOf::Package, Vec::new());
        for line in [
            "show z",
            "why z",
            "--hub h show ",
            "--json retry a b ",
            "log -f ",
            "list failed ",
            "wait --timeout 5m ",
        ] {
            assert_eq!(wants(line), packages, "{line}");
        }
        assert_eq!(wants("drain --exit b"), Wants::Names(NameOf::Builder, Vec::new()));
        assert_eq!(wants("retract "), Wants::Names(NameOf::Result, Vec::new()));
        for line in
            ["submit ", "--password-file ", "history -n ", "blocked -n ", "blocked ", "--hub = ", "show a "]
        {
            assert_eq!(wants(line), Wants::Nothing, "{line}");
        }
        let Wants::Words(verdicts) = wants("retry --verdict ") else { panic!() };
        assert!(verdicts.contains(&"infra".to_owned()));
        let Wants::Words(options) = wants("prio --") else { panic!() };
        assert!(
            options.contains(&"--last".to_owned()) && options.contains(&"--json".to_owned()),
            "{options:?}"
        );
        let Wants::Words(commands) = wants("s") else { panic!() };
        assert!(commands.contains(&"submit".to_owned()) && commands.contains(&"help".to_owned()));
        let place = Place::of(&["--hub=a:1".to_owned(), "--password-file".to_owned(), "/s".to_owned()]);
        assert_eq!((place.given.hub.as_deref(), place.given.password_file), (Some("a:1"), Some("/s".into())));
    }
}
