//! All that changes something but `submit`: `retry`, `cancel`, `prio`, `options`, `accept`, `refuse`,
//! `retract`, `drain`, `resume`, `quarantine`, `release`, `approve`.
//!
//! Owns one request for each target: all of them are tried, and one no makes the exit code 1. What can be
//! done is the hub's to say.

use moji_proto::Line;
use moji_proto::limits::{OPTIONS_MAX, WORDS_MAX};
use moji_proto::message::{FromOperator, Order, ToOperator, Topic};

use super::ask::{ask, line};
use super::link::Session;
use super::output::Out;
use super::{code, look, print};
use crate::exit::Failure;

/// All packages or builders.
const ALL: &str = "*";

/// Asks for one change of each target. Of those that go first, the first named goes before the others, so it is
/// asked for last.
pub(super) fn change(
    session: &mut Session,
    out: &mut Out,
    order: Order,
    targets: &[String],
    words: &[Line],
) -> Result<u8, Failure> {
    let mut worst = code::OK;
    let mut targets: Vec<&String> = targets.iter().collect();
    if order == Order::First {
        targets.reverse();
    }
    for target in targets {
        let request = FromOperator::Change { order, target: line(target)?, words: words.len() as u8 };
        let code = ask(session, out, &request, words, |row, out| match row {
            ToOperator::Changed { target, text } => {
                let text = if out.json {
                    print::json::changed(&target, &text)
                } else {
                    print::changed(out.style(), &target, &text)
                };
                out.say(&text).map(|()| None)
            }
            other => Ok(Some(other)),
        })?;
        worst = worst.max(code);
    }
    Ok(worst)
}

/// The targets that are named, or all if `all`.
pub(super) fn targets(named: Vec<String>, all: bool) -> Vec<String> {
    if all { vec![ALL.to_owned()] } else { named }
}

/// `moji options PKG` without words: those that it has, a line each, as `options.txt` and
/// `moji options` take them.
pub(super) fn show_options(session: &mut Session, out: &mut Out, package: &str) -> Result<u8, Failure> {
    let (code, shown) = look::ask_show(session, out, package)?;
    if out.json {
        if let Some(package) = &shown.package {
            out.say(&print::json::show(package, &shown.texts, &[]))?;
        }
        return Ok(code);
    }
    for text in shown.texts.iter().filter(|text| text.topic == Topic::Option) {
        out.say(&format!("{}\n", print::safe(text.line.as_str())))?;
    }
    Ok(code)
}

/// Words of mock's options as lines of a request.
///
/// # Errors
/// A [`Failure`] if there are too many, or one is no line.
pub(super) fn options(words: &[String]) -> Result<Vec<Line>, Failure> {
    checked(words, OPTIONS_MAX, "options")
}

/// The words of a change as lines of a request.
///
/// # Errors
/// As [`options`].
pub(super) fn words(words: &[String]) -> Result<Vec<Line>, Failure> {
    checked(words, WORDS_MAX, "words")
}

fn checked(words: &[String], max: u8, what: &str) -> Result<Vec<Line>, Failure> {
    if words.len() > usize::from(max) {
        let text = format!("{} {what} are too many: at most {max} fit", words.len());
        return Err(Failure::new(code::USAGE, text));
    }
    words.iter().map(|word| line(word)).collect()
}
