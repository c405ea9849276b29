//! Changing the lists that people write: text in, text out.
//!
//! Owns where a name goes. Comments, empty lines and lines that mean nothing stay as they are, and so do the
//! line ends. Never reads or writes a file.

use moji_proto::{FileName, Line};

use super::{BOM, plain_path, split};

/// Where names go in `priority.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before all other names, behind the comments at the file's head.
    First,
    /// Behind all other lines.
    Last,
    /// Nowhere.
    Out,
}

/// A line and the line end that it has.
fn pieces(text: &str) -> Vec<(&str, &str)> {
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let at = rest.find(['\r', '\n']).unwrap_or(rest.len());
        let end = if rest[at..].starts_with("\r\n") { 2 } else { usize::from(at < rest.len()) };
        pieces.push((&rest[..at], &rest[at..at + end]));
        rest = &rest[at + end..];
    }
    pieces
}

/// The file's BOM, and what follows it.
fn head(text: &str) -> (&str, &str) {
    text.strip_prefix(BOM).map_or(("", text), |rest| (&text[..BOM.len_utf8()], rest))
}

fn is_silent(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// What a new line ends with: as the file's first does.
fn line_end<'a>(pieces: &[(&'a str, &'a str)]) -> &'a str {
    pieces.iter().map(|(_, end)| *end).find(|end| !end.is_empty()).unwrap_or("\n")
}

/// `priority.txt` with these names at that place, in the order given. Names are matched as the hub reads them.
#[must_use]
pub fn edit_priority(text: &str, names: &[FileName], place: Place) -> String {
    let (bom, text) = head(text);
    let lines = pieces(text);
    let end = line_end(&lines);
    let is_meant = |line: &str| {
        let name = plain_path(line.trim());
        let stem = |name: &str| {
            let bare = name.strip_suffix(".src.rpm");
            bare.map(str::to_owned).unwrap_or_else(|| name.to_owned())
        };
        !is_silent(line) && names.iter().any(|wanted| stem(wanted.as_str()) == stem(name))
    };
    let kept: Vec<(&str, &str)> = lines.into_iter().filter(|(line, _)| !is_meant(line)).collect();
    let at = match place {
        // Behind the comments at the head, unless they belong to the first name.
        Place::First => {
            let first = kept.iter().position(|(line, _)| !is_silent(line)).unwrap_or(kept.len());
            let gap = kept[..first].iter().rposition(|(line, _)| line.trim().is_empty());
            if first == kept.len() { first } else { gap.map_or(first, |gap| gap + 1) }
        }
        Place::Last | Place::Out => kept.len(),
    };
    let mut out = bom.to_owned();
    let push = |out: &mut String, (line, end): (&str, &str)| {
        out.push_str(line);
        out.push_str(end);
    };
    kept[..at].iter().for_each(|piece| push(&mut out, *piece));
    if place != Place::Out {
        if at > 0 && kept[at - 1].1.is_empty() {
            out.push_str(end);
        }
        names.iter().for_each(|name| push(&mut out, (name.as_str(), end)));
    }
    kept[at..].iter().for_each(|piece| push(&mut out, *piece));
    out
}

/// `options.txt` with these words for this glob; without words its lines are taken out. The first line that
/// has the same glob is replaced, further ones are taken out; a new one comes last, where it counts.
#[must_use]
pub fn edit_options(text: &str, glob: &str, words: &[Line]) -> String {
    let (bom, text) = head(text);
    let lines = pieces(text);
    let end = line_end(&lines);
    let bare = |text: &str| text.strip_suffix(".src.rpm").unwrap_or(text).to_owned();
    let is_meant = |line: &str| {
        let words = split(line.trim()).unwrap_or_default();
        !is_silent(line) && words.first().is_some_and(|first| bare(plain_path(first)) == bare(glob))
    };
    let mut new = (!words.is_empty()).then(|| option_line(glob, words));
    let mut out = bom.to_owned();
    let mut open = false;
    for (line, line_end) in lines {
        if is_meant(line) {
            let Some(new) = new.take() else { continue };
            out.push_str(&new);
        } else {
            out.push_str(line);
        }
        out.push_str(line_end);
        open = line_end.is_empty();
    }
    if let Some(new) = new {
        if open {
            out.push_str(end);
        }
        out.push_str(&new);
        out.push_str(end);
    }
    out
}

/// A line of `options.txt`.
pub(super) fn option_line(glob: &str, words: &[Line]) -> String {
    let words = std::iter::once(glob).chain(words.iter().map(Line::as_str));
    let line = words.map(quoted).collect::<Vec<_>>().join(" ");
    debug_assert!(split(&line).is_ok(), "what is quoted can be split");
    line
}

/// A word as the list wants it.
fn quoted(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !"'\"\\#".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else if !word.contains('\'') {
        format!("'{word}'")
    } else {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::{parse_options, parse_priority};

    fn names(names: &[&str]) -> Vec<FileName> {
        names.iter().map(|name| FileName::new(format!("{name}.src.rpm")).unwrap()).collect()
    }

    #[test]
    fn names_go_where_they_are_wanted_and_the_rest_stays_as_it_is() {
        use Place::{First, Last, Out};
        for (text, place, want) in [
            ("", First, "x.src.rpm\n"),
            ("", Last, "x.src.rpm\n"),
            ("", Out, ""),
            ("a\nb\n", First, "x.src.rpm\na\nb\n"),
            ("a\nb", Last, "a\nb\nx.src.rpm\n"),
            ("a\nx\nb\n", First, "x.src.rpm\na\nb\n"),
            ("a\n./x.src.rpm\nb\n", Last, "a\nb\nx.src.rpm\n"),
            ("a\nx\n# why\nx.src.rpm\nb\n", Out, "a\n# why\nb\n"),
            ("# head\n\n# of a\na\n", First, "# head\n\nx.src.rpm\n# of a\na\n"),
            ("# only\n", First, "# only\nx.src.rpm\n"),
            ("# only", First, "# only\nx.src.rpm\n"),
            ("a\r\nb\r\n", First, "x.src.rpm\r\na\r\nb\r\n"),
            ("a\rb", Last, "a\rb\rx.src.rpm\r"),
            ("\u{feff}a\n", First, "\u{feff}x.src.rpm\na\n"),
            ("?? junk\n", First, "x.src.rpm\n?? junk\n"),
        ] {
            assert_eq!(edit_priority(text, &names(&["x"]), place), want, "{text:?} {place:?}");
        }
        let two = edit_priority("a\nx\ny\n", &names(&["y", "x"]), First);
        assert_eq!(parse_priority(two.as_bytes()), ["y.src.rpm", "x.src.rpm", "a.src.rpm"]);
    }

    #[test]
    fn a_glob_has_one_line_of_options_and_other_lines_stay() {
        let line = Line::lossy;
        for (text, words, want) in [
            ("", &["--nocheck"][..], "x* --nocheck\n"),
            ("# c\ny --nocheck", &["--nocheck"], "# c\ny --nocheck\nx* --nocheck\n"),
            ("x* --with a # why\ny --nocheck\nx* --with b\n", &["--nocheck"], "x* --nocheck\ny --nocheck\n"),
            ("x* --with a\nbad '\n", &[], "bad '\n"),
            ("'x*' --with a\r\ny --nocheck\r\n", &["--nocheck"], "x* --nocheck\r\ny --nocheck\r\n"),
            ("y --nocheck\n", &[], "y --nocheck\n"),
        ] {
            let words: Vec<Line> = words.iter().copied().map(line).collect();
            assert_eq!(edit_options(text, "x*", &words), want, "{text:?}");
        }
    }

    #[test]
    fn words_are_read_as_they_were_meant() {
        for value in ["dist .el9", "a b'c", "x \\n", "q \"y\" # z", "v '\"\\"] {
            let words = [Line::lossy("--define"), Line::lossy(value)];
            let text = edit_options("", "a b*", &words);
            let (rules, bad) = parse_options(text.as_bytes());
            assert_eq!(bad, [], "{text}");
            assert_eq!((rules[0].glob.as_str(), &rules[0].words[..]), ("a b*", &words[..]), "{text}");
        }
    }
}
