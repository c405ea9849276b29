//! Text that came over the wire, checked when it is decoded.
//!
//! Owns two newtypes: [`FileName`], which is safe as one path component, and [`Line`], which is
//! one bounded line. A value of either type has been checked; nothing else may build one.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::{FILE_NAME_BYTES_MAX, LINE_BYTES_MAX};

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// Nothing in it.
    Empty,
    /// More bytes than its type allows.
    TooLong,
    /// A slash, a control character, or (in a file name) a leading dot.
    Unsafe,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TextError::Empty => "is empty",
            TextError::TooLong => "is too long",
            TextError::Unsafe => "has a slash, a control character or a leading dot",
        })
    }
}

impl std::error::Error for TextError {}

/// One path component: 1 to 255 bytes of UTF-8, no slash, no control character, no leading dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FileName(String);

impl FileName {
    /// Checks `text` and takes it.
    ///
    /// # Errors
    /// What is wrong with it, as [`TextError`].
    pub fn new(text: impl Into<String>) -> Result<FileName, TextError> {
        let text = text.into();
        if text.is_empty() {
            Err(TextError::Empty)
        } else if text.len() > FILE_NAME_BYTES_MAX {
            Err(TextError::TooLong)
        } else if text.starts_with('.') || text.contains('/') || text.contains(char::is_control) {
            Err(TextError::Unsafe)
        } else {
            Ok(FileName(text))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<std::path::Path> for FileName {
    fn as_ref(&self) -> &std::path::Path {
        self.0.as_ref()
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        FileName::new(text).map_err(serde::de::Error::custom)
    }
}

/// One line of text, at most 1,024 bytes, without control characters. May be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Line(String);

impl Line {
    /// Makes a line of `text`, whatever it holds: what colours it on a terminal goes (`ESC [ … m` and the like; ECMA-48,
    /// 5.4), other control characters become spaces, and what is over the limit is cut at a character's end.
    #[must_use]
    pub fn lossy(text: &str) -> Line {
        let mut line = String::with_capacity(text.len().min(LINE_BYTES_MAX));
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c == '\x1b'
                && let Some(sequence) = rest.as_str().strip_prefix('[')
            {
                let after = sequence.trim_start_matches(|c| (' '..='?').contains(&c)).chars();
                rest = after;
                if rest.as_str().starts_with(|c| ('@'..='~').contains(&c)) {
                    rest.next();
                }
                continue;
            }
            let c = if c.is_control() { ' ' } else { c };
            if line.len() + c.len_utf8() > LINE_BYTES_MAX {
                break;
            }
            line.push(c);
        }
        Line(line)
    }

    /// Checks `text` and takes it as it is.
    ///
    /// # Errors
    /// [`TextError::TooLong`] or [`TextError::Unsafe`].
    pub fn new(text: impl Into<String>) -> Result<Line, TextError> {
        let text = text.into();
        if text.len() > LINE_BYTES_MAX {
            Err(TextError::TooLong)
        } else if text.contains(char::is_control) {
            Err(TextError::Unsafe)
        } else {
            Ok(Line(text))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        Line::new(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_one_safe_path_component() {
        for (text, want) in [
            ("zlib-1.3-1.src.rpm", None),
            ("", Some(TextError::Empty)),
            ("../x", Some(TextError::Unsafe)),
            ("..", Some(TextError::Unsafe)),
            (".hidden", Some(TextError::Unsafe)),
            ("a/b", Some(TextError::Unsafe)),
            ("a\nb", Some(TextError::Unsafe)),
            ("a\0b", Some(TextError::Unsafe)),
        ] {
            assert_eq!(FileName::new(text).err(), want, "{text:?}");
        }
        assert_eq!(FileName::new("x".repeat(256)), Err(TextError::TooLong));
        assert!(FileName::new("x".repeat(255)).is_ok());
    }

    #[test]
    fn a_lossy_line_is_always_a_valid_line() {
        for text in ["a\tb\x1b[31m", "é".repeat(600).as_str(), ""] {
            let line = Line::lossy(text);
            assert_eq!(Line::new(line.as_str()), Ok(line.clone()));
        }
        assert_eq!(Line::lossy("a\tb").as_str(), "a b");
        assert_eq!(Line::lossy("\x1b[01;31m\x1b[Kerror\x1b[m: \x1b7x\x1b[").as_str(), "error:  7x");
        assert_eq!(Line::lossy("a\x1b[1\tb").as_str(), "a b");
        for (text, want) in [
            ("\x1b[1;32m[12] \x1b[0mCC [x] a[0]", "[12] CC [x] a[0]"),
            ("\x1b[m\x1b[K", ""),
            ("[", "["),
            ("make[2]: done", "make[2]: done"),
        ] {
            assert_eq!(Line::lossy(text).as_str(), want);
        }
    }
}
