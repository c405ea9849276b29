//! The two lists that people write into `source/`: `priority.txt` and `options.txt`.
//!
//! Owns their formats, as bytes in and values out. Forgives what editors of three systems do to a text
//! file; a line that cannot be meant is told with its number and left out, and the rest counts. Never reads
//! a file.

use std::fmt;

use moji_proto::Line;
use moji_proto::limits::OPTIONS_MAX;

use crate::core::queue::OptionRule;

mod edit;

pub use edit::{Place, edit_options, edit_priority};

/// Name of the list of what goes first.
pub const PRIORITY: &str = "priority.txt";
/// Name of the list of mock options.
pub const OPTIONS: &str = "options.txt";
/// Longest list that is read, bytes: 25,000 names take 1.5 MB.
pub const LIST_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What Windows' editors write first.
const BOM: char = '\u{feff}';
/// Longest name of a macro or a build condition, bytes.
const NAME_BYTES_MAX: usize = 128;

/// A line of `options.txt` that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub why: BadOption,
}

/// What is wrong with a line of `options.txt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadOption {
    /// A quotation mark has no second.
    Quote,
    /// A pattern and nothing behind it.
    NoOptions,
    /// An option that is not on the list.
    NotAllowed(String),
    /// An option whose value is missing or not of its kind.
    Value(&'static str),
    /// More options than a job holds.
    TooMany,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.why)
    }
}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadOption::Quote => f.write_str("a quotation mark without its second"),
            BadOption::NoOptions => f.write_str("no options behind the pattern"),
            BadOption::NotAllowed(word) => {
                write!(f, "{word:?} is none of --nocheck, --with, --without, --define, --rpmbuild_timeout")
            }
            BadOption::Value(option) => write!(f, "{option} has no value or none of its kind"),
            BadOption::TooMany => write!(f, "more than {OPTIONS_MAX} words"),
        }
    }
}

impl std::error::Error for BadLine {}

/// Reads `priority.txt`: the names in it, first line first, each with its `.src.rpm`.
#[must_use]
pub fn parse_priority(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let names = lines(&text).map(|(_, line)| {
        let name = plain_path(line);
        let whole = name.ends_with(".src.rpm") || name.ends_with(".nosrc.rpm");
        if whole { name.to_owned() } else { format!("{name}.src.rpm") }
    });
    names.collect()
}

/// Reads `options.txt`: the rules in it, first line first, and the lines that do not count.
#[must_use]
pub fn parse_options(bytes: &[u8]) -> (Vec<OptionRule>, Vec<BadLine>) {
    let text = String::from_utf8_lossy(bytes);
    let (mut rules, mut bad) = (Vec::new(), Vec::new());
    for (number, line) in lines(&text) {
        match rule(line) {
            Ok(rule) => rules.push(rule),
            Err(why) => bad.push(BadLine { number, why }),
        }
    }
    (rules, bad)
}

/// Whether a package may be given these mock options.
///
/// # Errors
/// What is wrong with them, in words.
pub fn check_options(words: &[Line]) -> Result<(), String> {
    rule(&edit::option_line("x", words)).map(|_| ()).map_err(|why| why.to_string())
}

/// Lines that say something, trimmed, with their numbers from 1. `lines` takes LF and CRLF; a lone CR
/// ends a line too.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let lines =
        text.lines().enumerate().flat_map(|(n, line)| line.split('\r').map(move |part| (n + 1, part)));
    lines.map(|(n, line)| (n, line.trim())).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn plain_path(mut name: &str) -> &str {
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    name
}

fn rule(line: &str) -> Result<OptionRule, BadOption> {
    let mut words = split(line)?.into_iter();
    let glob = words.next().ok_or(BadOption::NoOptions)?;
    let mut out = Vec::new();
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let (option, is_good): (&'static str, fn(&str) -> bool) = match option.as_str() {
            "--nocheck" if value.is_none() => {
                out.push(line_of("--nocheck", "--nocheck")?);
                continue;
            }
            "--nocheck" => return Err(BadOption::Value("--nocheck")),
            "--with" => ("--with", is_name),
            "--without" => ("--without", is_name),
            "--define" => ("--define", is_definition),
            "--rpmbuild_timeout" => ("--rpmbuild_timeout", |text| text.parse::<u32>().is_ok()),
            _ => return Err(BadOption::NotAllowed(option)),
        };
        let value = value.or_else(|| words.next()).filter(|value| is_good(value));
        let value = value.ok_or(BadOption::Value(option))?;
        out.push(line_of(option, option)?);
        out.push(line_of(option, &value)?);
    }
    match out.len() {
        0 => Err(BadOption::NoOptions),
        count if count > usize::from(OPTIONS_MAX) => Err(BadOption::TooMany),
        _ => Ok(OptionRule { glob: plain_path(&glob).to_owned(), words: out }),
    }
}

fn line_of(option: &'static str, word: &str) -> Result<Line, BadOption> {
    Line::new(word).map_err(|_| BadOption::Value(option))
}

/// A name of a build condition: nothing that could be an option itself.
fn is_name(text: &str) -> bool {
    let first = text.bytes().next();
    text.len() <= NAME_BYTES_MAX
        && first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+.-".contains(&b))
}

/// `NAME BODY`, as rpm's `--define` wants it.
fn is_definition(text: &str) -> bool {
    text.trim_start().split_once([' ', '\t']).is_some_and(|(name, body)| {
        // rpm takes macros with options, `name(ab:)`.
        let name = name.split_once('(').map_or(name, |(name, _)| name);
        is_name(name) && !body.trim().is_empty()
    })
}

/// Splits a line into words as a shell does: quotation marks of both kinds, `\` before a sign, and `#`
/// at a word's start ends the line.
fn split(line: &str) -> Result<Vec<String>, BadOption> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        match (quote, sign) {
            (Some(mark), sign) if mark == sign => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(signs.next()),
            (Some(_), sign) => word.get_or_insert_default().push(sign),
            (None, '#') if word.is_none() => break,
            (None, '\'' | '"') => {
                quote = Some(sign);
                word.get_or_insert_default();
            }
            (None, sign) if sign.is_whitespace() => words.extend(word.take()),
            (None, sign) => word.get_or_insert_default().push(sign),
        }
    }
    if quote.is_some() {
        return Err(BadOption::Quote);
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_forgives_what_editors_do() {
        for (text, want) in [
            ("", &[][..]),
            ("a-1-1.src.rpm\nb-1-1.src.rpm\n", &["a-1-1.src.rpm", "b-1-1.src.rpm"]),
            ("a-1-1.src.rpm\r\nb-1-1\r\n", &["a-1-1.src.rpm", "b-1-1.src.rpm"]),
            ("a\rb", &["a.src.rpm", "b.src.rpm"]),
            ("\u{feff}a-1-1.src.rpm", &["a-1-1.src.rpm"]),
            ("  ./a  \n\n\t\n# no\n  # no\n././b", &["a.src.rpm", "b.src.rpm"]),
            ("a.nosrc.rpm", &["a.nosrc.rpm"]),
        ] {
            assert_eq!(parse_priority(text.as_bytes()), want, "{text:?}");
        }
        assert_eq!(parse_priority(b"a\xff"), ["a\u{fffd}.src.rpm"]);
    }

    #[test]
    fn options_on_the_list_count_in_both_spellings() {
        for (text, glob, words) in [
            ("gcc* --nocheck", "gcc*", &["--nocheck"][..]),
            ("./gcc* --with x --without=y", "gcc*", &["--with", "x", "--without", "y"]),
            ("a --define 'dist .el9'", "a", &["--define", "dist .el9"]),
            ("a --define=\"_smp_mflags -j1\"", "a", &["--define", "_smp_mflags -j1"]),
            ("a --define '_f(x:) %{-x*}'", "a", &["--define", "_f(x:) %{-x*}"]),
            ("a --rpmbuild_timeout 60 # why", "a", &["--rpmbuild_timeout", "60"]),
            ("'a b' --rpmbuild_timeout=60\r", "a b", &["--rpmbuild_timeout", "60"]),
        ] {
            let (rules, bad) = parse_options(text.as_bytes());
            assert_eq!(bad, [], "{text}");
            let got: Vec<_> = rules[0].words.iter().map(Line::as_str).collect();
            assert_eq!((rules[0].glob.as_str(), got.as_slice()), (glob, words), "{text}");
        }
    }

    #[test]
    fn a_bad_line_is_named_and_left_out_and_the_rest_counts() {
        let value = |option| BadOption::Value(option);
        for (line, why) in [
            ("a --resultdir=/etc", BadOption::NotAllowed("--resultdir".to_owned())),
            ("a -D x", BadOption::NotAllowed("-D".to_owned())),
            ("a rm", BadOption::NotAllowed("rm".to_owned())),
            ("a", BadOption::NoOptions),
            ("a --define 'x", BadOption::Quote),
            ("a --define x", value("--define")),
            ("a --define 'x '", value("--define")),
            ("a --define '--x y'", value("--define")),
            ("a --with", value("--with")),
            ("a --with --nocheck", value("--with")),
            ("a --with=x/y", value("--with")),
            ("a --nocheck=1", value("--nocheck")),
            ("a --rpmbuild_timeout -1", value("--rpmbuild_timeout")),
            ("a --rpmbuild_timeout soon", value("--rpmbuild_timeout")),
        ] {
            let (rules, bad) = parse_options(format!("# list\nx --nocheck\n{line}\ny --nocheck").as_bytes());
            assert_eq!(bad, [BadLine { number: 3, why }], "{line}");
            assert_eq!(rules.len(), 2, "{line}");
        }
        let many = format!("a {}", "--nocheck ".repeat(usize::from(OPTIONS_MAX) + 1));
        assert_eq!(parse_options(many.as_bytes()).1[0].why, BadOption::TooMany);
        let long = format!("a --define 'x {}'", "y".repeat(2_000));
        assert_eq!(parse_options(long.as_bytes()).1[0].why, BadOption::Value("--define"));
    }
}
