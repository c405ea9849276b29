//! A help text as completions for bash, zsh and fish.
//!
//! Owns what may stand where; the words are the help's. The scripts start no program but `find`.

use std::fmt::Write as _;

use crate::help::{Help, Opt};

/// What stands without a name on a program's command line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operands {
    /// A host, then a mock configuration.
    HubAndMock,
    /// Folders.
    Folders,
}

/// What an option's value is.
enum Value<'a> {
    File,
    Folder,
    OneOf(Vec<&'a str>),
    Other,
}

fn value(option: &Opt) -> Option<Value<'_>> {
    Some(match option.value.as_deref()? {
        "FILE" | "PROGRAM" => Value::File,
        "DIR" => Value::Folder,
        "LEVEL" => Value::OneOf(vec!["error", "warn", "info", "debug"]),
        words if words.contains('|') && words == words.to_lowercase() => {
            Value::OneOf(words.split('|').collect())
        }
        _ => Value::Other,
    })
}

const MADE: &str = "made from --help by 'cargo run -p moji-tests --bin man': change the help instead.";

/// For bash.
pub(crate) fn bash(program: &str, help: &Help, operands: Operands) -> String {
    let function = format!("_{}", program.replace('-', "_"));
    let options = help.options();
    let mut out = format!(
        "# {program}'s completion for bash, {MADE}\n\
         {function}() {{\n    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}}\n    \
         COMPREPLY=()\n    case $prev in\n"
    );
    for option in &options {
        let Some(value) = value(option) else { continue };
        let reply = match value {
            Value::File => {
                "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")".to_owned()
            }
            Value::Folder => {
                "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")".to_owned()
            }
            Value::OneOf(words) => {
                format!("mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\")", words.join(" "))
            }
            Value::Other => ":".to_owned(),
        };
        let _ = writeln!(out, "        --{}) {reply}; return ;;", option.long);
    }
    let longs: Vec<String> = options.iter().map(|option| format!("--{}", option.long)).collect();
    let verbs: Vec<&str> = help.verbs().iter().map(|(verb, _)| *verb).collect();
    let rest = match operands {
        Operands::HubAndMock => {
            "        mapfile -t COMPREPLY < <(compgen -W \"$(find /etc/mock -name '*.cfg' -printf '%f\\n' 2> /dev/null | sed 's/[.]cfg$//')\" -- \"$cur\")\n"
        }
        Operands::Folders => {
            "        compopt -o filenames\n        mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
        }
    };
    let _ = write!(
        out,
        "    esac\n    if [[ $cur == -* ]]; then\n        \
         mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\")\n    \
         elif ((COMP_CWORD == 1)); then\n        \
         mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\")\n    \
         else\n{rest}    fi\n}}\ncomplete -F {function} {program}\n",
        longs.join(" "),
        verbs.join(" ")
    );
    out
}

/// For zsh.
pub(crate) fn zsh(program: &str, help: &Help, operands: Operands) -> String {
    let mut out =
        format!("#compdef {program}\n# {program}'s completion for zsh, {MADE}\n\nlocal -a verbs\nverbs=(\n");
    let plain =
        |text: &str| text.replace(['\'', '`'], "").replace('[', "(").replace(']', ")").replace(':', "\\:");
    for (verb, text) in help.verbs() {
        let _ = writeln!(out, "    '{verb}:{}'", plain(text));
    }
    out += ")\n_arguments -s \\\n";
    for option in help.options() {
        let (equals, action) = match value(&option) {
            None => ("", String::new()),
            Some(Value::File) => ("=", ":file:_files".to_owned()),
            Some(Value::Folder) => ("=", ":folder:_files -/".to_owned()),
            Some(Value::OneOf(words)) => ("=", format!(":word:({})", words.join(" "))),
            Some(Value::Other) => ("=", format!(":{}:", plain(option.value.as_deref().unwrap_or_default()))),
        };
        let what = plain(&option.help);
        if let Some(short) = option.short {
            let _ = writeln!(out, "    '-{short}[{what}]' \\");
        }
        let _ = writeln!(out, "    '--{}{equals}[{what}]{action}' \\", option.long);
    }
    out += match operands {
        Operands::HubAndMock => {
            "    '1:hub or command:{_describe command verbs || _hosts}' \\\n    \
             '2:mock configuration:(/etc/mock/*.cfg(N:t:r))' \\\n    '3:password:_files -P @'\n"
        }
        Operands::Folders => {
            "    '1:folder or command:{_describe command verbs; _files -/}' \\\n    '*:folder:_files -/'\n"
        }
    };
    out
}

/// For fish.
pub(crate) fn fish(program: &str, help: &Help, operands: Operands) -> String {
    let mut out = format!("# {program}'s completion for fish, {MADE}\ncomplete -c {program} -f\n");
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    for (verb, text) in help.verbs() {
        let _ = writeln!(out, "complete -c {program} -n __fish_use_subcommand -a {verb} -d {}", quoted(text));
    }
    for option in help.options() {
        let short = option.short.map_or_else(String::new, |letter| format!(" -s {letter}"));
        let takes = match value(&option) {
            None => String::new(),
            Some(Value::File) => " -r -F".to_owned(),
            Some(Value::Folder) => " -x -a '(__fish_complete_directories)'".to_owned(),
            Some(Value::OneOf(words)) => format!(" -x -a '{}'", words.join(" ")),
            Some(Value::Other) => " -x".to_owned(),
        };
        let _ = writeln!(
            out,
            "complete -c {program} -l {}{short}{takes} -d {}",
            option.long,
            quoted(&option.help)
        );
    }
    out += &match operands {
        Operands::HubAndMock => format!(
            "complete -c {program} -n 'test (count (commandline -opc)) -eq 2' \
             -a '(string replace -rf \"^/etc/mock/(.*)[.]cfg\\$\" \\'$1\\' /etc/mock/*.cfg)' -d 'mock configuration'\n"
        ),
        Operands::Folders => format!("complete -c {program} -a '(__fish_complete_directories)'\n"),
    };
    out
}
