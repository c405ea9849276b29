//! Reads a command line by a table, and prints the same table as help.
//!
//! Owns the forms that are understood (`--name VALUE`, `--name=VALUE`, `-v`, `--`) and the wording of what is
//! wrong with them. Knows no option by name: [`crate::cli`] has the table and gives the values their meaning.
//! Not clap: that was 90 kB of 500 on ARM.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::str::FromStr;

/// Column at which the help's second column begins: just right of the longest option.
const HELP_COLUMN: usize = 36;

/// A command line: what may stand there, and how `--help` explains it.
#[derive(Debug)]
pub(crate) struct Syntax {
    /// The program's name and version.
    pub(crate) program: &'static str,
    pub(crate) version: &'static str,
    /// The first line of the help.
    pub(crate) about: &'static str,
    /// Words that stand alone, with their explanation.
    pub(crate) verbs: &'static [(&'static str, &'static str)],
    /// What stands without a name, in its order, `NAME` or `[NAME]`.
    pub(crate) operands: &'static [(&'static str, &'static str)],
    pub(crate) options: &'static [Opt],
    /// The end of the help.
    pub(crate) after: &'static str,
}

/// An option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// Without the two hyphens.
    pub(crate) name: &'static str,
    /// Its other form, a single letter.
    pub(crate) short: Option<char>,
    /// What the help calls its value; empty if it takes none.
    pub(crate) value: &'static str,
    /// The explanation, in as many lines as it needs; empty for what this program says to itself.
    pub(crate) help: &'static str,
    /// Whether it goes with a verb too.
    pub(crate) with_verb: bool,
}

impl Opt {
    /// An option with a value.
    pub(crate) const fn value(name: &'static str, value: &'static str, help: &'static str) -> Opt {
        Opt { name, short: None, value, help, with_verb: false }
    }

    /// An option without one.
    pub(crate) const fn flag(name: &'static str, help: &'static str) -> Opt {
        Opt::value(name, "", help)
    }

    /// `--name <VALUE>`.
    fn usage(&self) -> String {
        let mut text = format!("--{}", self.name);
        if !self.value.is_empty() {
            let _ = write!(text, " <{}>", self.value);
        }
        text
    }
}

/// What a command line says.
#[derive(Debug)]
pub(crate) enum Said {
    /// It asks for this text.
    Text(String),
    /// It has these words.
    Words(Words),
}

/// The words of a command line, to be taken out one after the other.
#[derive(Debug)]
pub(crate) struct Words {
    syntax: &'static Syntax,
    verb: Option<usize>,
    operands: Vec<OsString>,
    options: Vec<(&'static Opt, OsString)>,
}

/// A word as it came, for a message.
fn shown(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}

impl Syntax {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// A line that says what is wrong.
    pub(crate) fn read(&'static self, words: &[OsString]) -> Result<Said, String> {
        let mut said = Words { syntax: self, verb: None, operands: Vec::new(), options: Vec::new() };
        let mut rest = words.iter();
        let mut only_operands = false;
        while let Some(word) = rest.next() {
            let bytes = word.as_bytes();
            if only_operands || bytes.len() < 2 || bytes[0] != b'-' {
                if let Some(text) = said.operand(word, only_operands)? {
                    return Ok(Said::Text(text));
                }
            } else if bytes == b"--" {
                only_operands = true;
            } else if bytes[1] == b'-' {
                let mut parts = bytes[2..].splitn(2, |byte| *byte == b'=');
                let name = parts.next().unwrap_or_default();
                if let Some(text) = self.asked(name) {
                    return Ok(Said::Text(text));
                }
                let option = self.options.iter().find(|option| option.name.as_bytes() == name);
                let option = option.ok_or_else(|| self.unknown(word))?;
                let given = parts.next().map(OsStr::from_bytes);
                said.option(option, given, &mut rest)?;
            } else {
                for letter in &bytes[1..] {
                    if let Some(text) = self.asked(&[*letter]) {
                        return Ok(Said::Text(text));
                    }
                    let option = self.options.iter().find(|option| option.short == Some(char::from(*letter)));
                    said.option(option.ok_or_else(|| self.unknown(word))?, None, &mut rest)?;
                }
            }
        }
        said.check()?;
        Ok(Said::Words(said))
    }

    /// What the two options say that every program has.
    fn asked(&self, name: &[u8]) -> Option<String> {
        match name {
            b"help" | b"h" => Some(self.help()),
            b"version" | b"V" => Some(format!("{} {}\n", self.program, self.version)),
            _ => None,
        }
    }

    fn unknown(&self, word: &OsStr) -> String {
        format!("unexpected argument '{}' found", shown(word))
    }

    /// The forms of the command line, a line each.
    pub(crate) fn usage(&self) -> String {
        let mut text = format!("Usage: {} [OPTIONS]", self.program);
        for (name, _) in self.operands {
            let _ = if name.starts_with('[') { write!(text, " {name}") } else { write!(text, " <{name}>") };
        }
        let mut between = "\n       ";
        for (i, (verb, _)) in self.verbs.iter().enumerate() {
            let _ = if i == 0 {
                write!(text, "{between}{} {verb}", self.program)
            } else {
                write!(text, "{between}{verb}")
            };
            between = "|";
        }
        for option in self.options.iter().filter(|option| option.with_verb) {
            let _ = write!(text, " [{}]", option.usage());
        }
        text.push('\n');
        text
    }

    /// What `--help` prints.
    pub(crate) fn help(&self) -> String {
        let mut text = format!("{}\n\n{}\nCommands:\n", self.about, self.usage());
        for (verb, help) in self.verbs {
            row(&mut text, verb, help);
        }
        text.push_str("\nArguments:\n");
        for (name, help) in self.operands {
            row(&mut text, name, help);
        }
        text.push_str("\nOptions:\n");
        for option in self.options.iter().filter(|option| !option.help.is_empty()) {
            let short = option.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
            row(&mut text, &format!("{short}{}", option.usage()), option.help);
        }
        row(&mut text, "-h, --help", "Print help");
        row(&mut text, "-V, --version", "Print version");
        let _ = writeln!(text, "\n{}", self.after);
        text
    }
}

/// Two columns; the second one's further lines begin below its first.
fn row(text: &mut String, name: &str, help: &str) {
    let mut name = name;
    for line in help.lines() {
        let _ = writeln!(text, "  {name:width$}{line}", width = HELP_COLUMN - 2);
        name = "";
    }
}

impl Words {
    /// Takes a word without a name: a text if it asks for help.
    fn operand(&mut self, word: &OsStr, plain: bool) -> Result<Option<String>, String> {
        if self.operands.is_empty() && self.verb.is_none() && !plain {
            self.verb = self.syntax.verbs.iter().position(|(verb, _)| *verb == word);
            if self.verb.is_some() {
                return Ok(None);
            }
            if word == "help" {
                return Ok(Some(self.syntax.help()));
            }
        }
        if self.verb.is_some() || self.operands.len() == self.syntax.operands.len() {
            return Err(self.syntax.unknown(word));
        }
        self.operands.push(word.to_owned());
        Ok(None)
    }

    fn option<'a>(
        &mut self,
        option: &'static Opt,
        given: Option<&OsStr>,
        rest: &mut impl Iterator<Item = &'a OsString>,
    ) -> Result<(), String> {
        let value = match (option.value.is_empty(), given) {
            (true, None) => OsString::new(),
            (true, Some(value)) => {
                return Err(format!("unexpected value '{}' for '{}' found", shown(value), option.usage()));
            }
            (false, Some(value)) => value.to_owned(),
            // An option in its place is a forgotten value; `--name=-x` gives such a one.
            (false, None) => {
                let next = rest.next().filter(|word| word.len() < 2 || word.as_bytes()[0] != b'-');
                next.cloned().unwrap_or_default()
            }
        };
        if !option.value.is_empty() && value.is_empty() {
            return Err(format!("a value is required for '{}' but none was supplied", option.usage()));
        }
        if self.options.iter().any(|(other, _)| other.name == option.name) {
            return Err(format!("the argument '{}' cannot be used multiple times", option.usage()));
        }
        self.options.push((option, value));
        Ok(())
    }

    /// Whether all that is needed is there, and nothing that does not go together.
    fn check(&self) -> Result<(), String> {
        if let Some(verb) = self.verb() {
            let other = self.options.iter().find(|(option, _)| !option.with_verb);
            return match other {
                Some((option, _)) => Err(format!("'{}' cannot be used with '{verb}'", option.usage())),
                None => Ok(()),
            };
        }
        let missing = self.syntax.operands.iter().skip(self.operands.len());
        let missing: Vec<&str> =
            missing.map(|(name, _)| *name).filter(|name| !name.starts_with('[')).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("the following required arguments were not provided: {}", missing.join(" ")))
    }

    /// The verb, if there is one.
    pub(crate) fn verb(&self) -> Option<&'static str> {
        self.verb.map(|i| self.syntax.verbs[i].0)
    }

    /// Takes the next word without a name.
    ///
    /// # Errors
    /// A line if it is no UTF-8.
    pub(crate) fn next(&mut self) -> Result<Option<String>, String> {
        if self.operands.is_empty() {
            return Ok(None);
        }
        let word = self.operands.remove(0);
        word.into_string().map(Some).map_err(|word| format!("'{}' is not UTF-8", shown(&word)))
    }

    /// Takes an option's value as it stands there; of one without a value, whether it is there.
    pub(crate) fn raw(&mut self, name: &'static str) -> Option<OsString> {
        let at = self.options.iter().position(|(option, _)| option.name == name)?;
        Some(self.options.remove(at).1)
    }

    /// Takes an option's value.
    ///
    /// # Errors
    /// A line if it is no UTF-8 or cannot be read as what it shall be.
    pub(crate) fn value<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>, String>
    where
        T::Err: ToString,
    {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let wrong = |why: &str| format!("invalid value '{}' for '--{name}': {why}", shown(&value));
        let text = value.to_str().ok_or_else(|| wrong("it is not UTF-8"))?;
        text.parse().map(Some).map_err(|error: T::Err| wrong(&error.to_string()))
    }

    /// What nobody has taken.
    #[cfg(test)]
    pub(crate) fn left(&self) -> Vec<&'static str> {
        self.options.iter().map(|(option, _)| option.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SYNTAX: Syntax = Syntax {
        program: "prog",
        version: "1",
        about: "Does nothing.",
        verbs: &[("go", "Go on"), ("stop", "Go no further")],
        operands: &[("WHERE", "A place"), ("[WHEN]", "A time")],
        options: &[
            Opt::value("size", "BYTES", "How large\nit may be"),
            Opt { with_verb: true, ..Opt::value("place", "DIR", "Where") },
            Opt { short: Some('q'), ..Opt::flag("quiet", "Say nothing") },
            Opt { short: Some('x'), ..Opt::flag("extra", "Do more") },
            Opt::flag("hidden", ""),
        ],
        after: "The end.",
    };

    fn read(line: &str) -> Result<Said, String> {
        SYNTAX.read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    /// Verb, operands and options of a line that is right.
    fn words(line: &str) -> (Option<&'static str>, Vec<OsString>, Vec<(&'static str, OsString)>) {
        let Ok(Said::Words(words)) = read(line) else { panic!("{line}") };
        let options = words.options.iter().map(|(option, value)| (option.name, value.clone())).collect();
        (words.verb(), words.operands, options)
    }

    #[test]
    fn every_form_is_understood() {
        let plain = |line: &str, operands: &[&str], options: &[(&'static str, &str)]| {
            let operands = operands.iter().map(OsString::from).collect();
            let options = options.iter().map(|(name, value)| (*name, OsString::from(value))).collect();
            assert_eq!(words(line), (None, operands, options), "{line}");
        };
        plain("here", &["here"], &[]);
        plain("--size 3 here --quiet now", &["here", "now"], &[("size", "3"), ("quiet", "")]);
        plain("here --size=3=4 -xq", &["here"], &[("size", "3=4"), ("extra", ""), ("quiet", "")]);
        plain("here --size=-3", &["here"], &[("size", "-3")]);
        plain("--quiet -- --size go", &["--size", "go"], &[("quiet", "")]);
        plain("- now", &["-", "now"], &[]);
        plain("here go", &["here", "go"], &[]);
        assert_eq!(words("go --place=/x"), (Some("go"), vec![], vec![("place", "/x".into())]));
        assert_eq!(words("--place /x stop"), (Some("stop"), vec![], vec![("place", "/x".into())]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, want) in [
            ("", "the following required arguments were not provided: WHERE"),
            ("a b c", "unexpected argument 'c' found"),
            ("go b", "unexpected argument 'b' found"),
            ("a --sizes 3", "unexpected argument '--sizes' found"),
            ("a --siz=3", "unexpected argument '--siz=3' found"),
            ("a -qz", "unexpected argument '-qz' found"),
            ("a --size", "a value is required for '--size <BYTES>' but none was supplied"),
            ("a --size --quiet", "a value is required for '--size <BYTES>' but none was supplied"),
            ("a --size=", "a value is required for '--size <BYTES>' but none was supplied"),
            ("a --size 1 --size 2", "the argument '--size <BYTES>' cannot be used multiple times"),
            ("a -q --quiet", "the argument '--quiet' cannot be used multiple times"),
            ("a --quiet=yes", "unexpected value 'yes' for '--quiet' found"),
            ("go --quiet", "'--quiet' cannot be used with 'go'"),
        ] {
            assert_eq!(read(line).unwrap_err(), want, "{line}");
        }
    }

    #[test]
    fn values_are_read_as_what_they_shall_be() {
        let take = |line: &str| {
            let Ok(Said::Words(mut words)) = read(line) else { panic!("{line}") };
            words.value::<u8>("size")
        };
        assert_eq!((take("a"), take("a --size 255")), (Ok(None), Ok(Some(255))));
        let error = take("a --size 256").unwrap_err();
        assert_eq!(error, "invalid value '256' for '--size': number too large to fit in target type");
        let line =
            ["a", "--size"].map(OsString::from).into_iter().chain([OsStr::from_bytes(b"\xff").to_owned()]);
        let Ok(Said::Words(mut words)) = SYNTAX.read(&line.collect::<Vec<_>>()) else { panic!() };
        assert!(words.value::<u8>("size").unwrap_err().ends_with("it is not UTF-8"));
    }

    #[test]
    fn help_shows_the_table() {
        let help = "\
Does nothing.

Usage: prog [OPTIONS] <WHERE> [WHEN]
       prog go|stop [--place <DIR>]

Commands:
  go                                Go on
  stop                              Go no further

Arguments:
  WHERE                             A place
  [WHEN]                            A time

Options:
      --size <BYTES>                How large
                                    it may be
      --place <DIR>                 Where
  -q, --quiet                       Say nothing
  -x, --extra                       Do more
  -h, --help                        Print help
  -V, --version                     Print version

The end.
";
        for line in ["--help", "a -h", "help", "go --help", "-qh"] {
            assert!(matches!(read(line).unwrap(), Said::Text(text) if text == help), "{line}");
        }
        for line in ["--version", "-V"] {
            assert!(matches!(read(line).unwrap(), Said::Text(text) if text == "prog 1\n"), "{line}");
        }
    }
}
