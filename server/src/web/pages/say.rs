//! How things are said on pages: ages, sizes, counts, states.
//!
//! Owns [`Markup`], the only type that templates do not escape, and all that is made of it outside `draw/`. A text from
//! elsewhere never becomes one but through [`escape`].

use std::fmt;

pub(crate) use moji_proto::human::{duration, size};

use crate::web::model::{BuilderState, PackageState, Verdict, When};

/// Markup that is not escaped again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Markup(pub(super) String);

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Markup {}

/// A text as it stands in markup, between tags or quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// How a page is looked at: once, with ages as they are now, or live, where the reader's own clock fills them in and
/// only what truly changed is a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    now: Option<When>,
}

impl Look {
    /// At this moment.
    pub(crate) fn once(now: When) -> Look {
        Look { now: Some(now) }
    }

    /// From now on.
    pub(crate) fn live() -> Look {
        Look { now: None }
    }

    /// How long ago something was: `12 m`.
    pub(crate) fn age(self, since: When) -> Markup {
        let text = self.now.map(|now| duration(since.ago_s(now))).unwrap_or_default();
        Markup(format!("<time class=\"n\" datetime=\"{since}\" data-ago=\"{}\">{text}</time>", since.0))
    }

    /// How long it is until something: `3 h 05 m`.
    pub(crate) fn left(self, until: When) -> Markup {
        // Seen from then, now is as long ago as it is until then.
        let text = self.now.map(|now| left(now.ago_s(until))).unwrap_or_default();
        Markup(format!("<time class=\"n\" datetime=\"{until}\" data-in=\"{}\">{text}</time>", until.0))
    }

    /// How far a build is that is expected to take so long.
    pub(crate) fn progress(self, since: When, expected_s: u32) -> Markup {
        let elapsed_s = self.now.map(|now| since.ago_s(now).min(u64::from(expected_s)));
        let value = elapsed_s.map(|s| format!(" value=\"{s}\"")).unwrap_or_default();
        let (of, since) = (expected_s.max(1), since.0);
        Markup(format!(
            "<progress max=\"{of}\"{value} data-ago=\"{since}\" aria-label=\"elapsed of the expected {}\"></progress>",
            duration(of.into())
        ))
    }
}

/// `in 3 h 05 m`, or that it should be over.
fn left(left_s: u64) -> String {
    if left_s == 0 { "any moment".to_owned() } else { format!("in {}", duration(left_s)) }
}

/// A moment: `2026-11-22 19:31:05`, in UTC.
pub(crate) fn moment(when: When) -> Markup {
    let iso = when.to_string();
    let text = iso.replace('T', " ");
    Markup(format!("<time class=\"n\" datetime=\"{iso}\">{}</time>", text.trim_end_matches('Z')))
}

/// `25 000`: thousands set apart by a narrow space that does not break.
pub(crate) fn count(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 package`, `25 000 packages`.
pub(crate) fn counted(number: impl Into<u64>, one: &str, many: &str) -> String {
    let number = number.into();
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

fn badge(kind: &str, word: &str) -> Markup {
    Markup(format!("<span class=\"badge {kind}\">{word}</span>"))
}

/// A package's state.
pub(crate) fn state(state: PackageState) -> Markup {
    badge(tone(state), state.as_str())
}

/// A builder's state.
pub(crate) fn builder(state: BuilderState) -> Markup {
    badge(builder_tone(state), state.as_str())
}

/// A verdict; an attempt without one runs, or ended without a ruling.
pub(crate) fn verdict(verdict: Option<Verdict>, runs: bool) -> Markup {
    match verdict {
        Some(verdict) => badge(verdict_tone(verdict), verdict.as_str()),
        None if runs => badge("run", "running"),
        None => badge("off", "no ruling"),
    }
}

/// In which colour a state is shown; each word has a style in the stylesheet.
pub(crate) fn tone(state: PackageState) -> &'static str {
    match state {
        PackageState::Building => "run",
        PackageState::Success => "ok",
        PackageState::Failed => "bad",
        PackageState::Review | PackageState::Unusable => "look",
        PackageState::Deps => "wait",
        PackageState::Waiting => "next",
        PackageState::Duplicate
        | PackageState::Excluded
        | PackageState::Cancelled
        | PackageState::Finished => "off",
    }
}

pub(crate) fn builder_tone(state: BuilderState) -> &'static str {
    match state {
        BuilderState::Busy => "run",
        BuilderState::Idle => "ok",
        BuilderState::Quarantined | BuilderState::Unlisted => "bad",
        BuilderState::Troubled | BuilderState::Unfit => "look",
        BuilderState::Draining | BuilderState::Drained => "wait",
        BuilderState::Away => "off",
    }
}

pub(crate) fn verdict_tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Success => "ok",
        Verdict::Failed => "bad",
        Verdict::Infra | Verdict::Memory | Verdict::Lost | Verdict::Timeout => "look",
        Verdict::Deps => "wait",
        Verdict::Excluded | Verdict::Released => "off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_once_and_left_to_the_reader_when_live() {
        let (then, now) = (When(1_000_000), When(1_000_000 + 3_900_000));
        let once = Look::once(now).age(then).0;
        assert!(once.contains(">1 h 05 m<") && once.contains("data-ago=\"1000000\""), "{once}");
        assert!(Look::live().age(then).0.contains("\"></time>"));
        assert!(Look::once(then).left(now).0.contains(">in 1 h 05 m<"));
        assert!(Look::once(now).left(then).0.contains(">any moment<"));
        assert!(Look::once(now).progress(then, 60).0.contains("max=\"60\" value=\"60\""));
        assert!(!Look::live().progress(then, 60).0.contains("value"));
        assert!(moment(When(0)).0.contains(">1970-01-01 00:00:00<"));
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!((count(7u32), count(25_000u32)), ("7".into(), "25\u{202f}000".into()));
        assert_eq!(count(1_234_567u32), "1\u{202f}234\u{202f}567");
        assert_eq!(counted(1u32, "package", "packages"), "1 package");
        assert_eq!(counted(0u32, "package", "packages"), "0 packages");
        assert_eq!((size(1_536), size(900)), ("1.5 KiB".into(), "900 B".into()));
        assert_eq!((duration(59), duration(90_000)), ("59 s".into(), "1 d 1 h".into()));
    }

    #[test]
    fn what_comes_from_elsewhere_is_no_markup() {
        assert_eq!(escape("<a b='\"&"), "&lt;a b=&#39;&quot;&amp;");
    }
}
