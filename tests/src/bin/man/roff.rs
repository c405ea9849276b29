//! A help text as a man page.
//!
//! Owns the page's sections and its roff. Every word of a page is the help's, but for [`Page`]'s few lines.

use std::fmt::Write as _;

use crate::help::{Block, Help, Section};

/// What a page has beside the help.
pub(crate) struct Page {
    pub(crate) program: &'static str,
    pub(crate) section: u8,
    /// Behind the help's own files: a path, and what is there.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Other pages, `name(section)`.
    pub(crate) see_also: &'static str,
}

/// The page's headings, in their order, each with the help's headings that lead to it.
const HEADINGS: [(&str, &[&str]); 8] = [
    ("COMMANDS", &["Commands", "Look", "Packages", "Builders", "In scripts"]),
    ("ARGUMENTS", &["Arguments"]),
    ("OPTIONS", &["Options"]),
    ("KEYS", &["Keys"]),
    ("FILES", &["Files", "Folders"]),
    ("SIGNALS", &["Signals"]),
    ("EXIT STATUS", &["Exit codes"]),
    ("EXAMPLES", &["Example"]),
];

/// Writes the page.
///
/// # Errors
/// The help's heading that has no place on a page.
pub(crate) fn render(page: &Page, help: &Help) -> Result<String, String> {
    let placed = |section: &Section| HEADINGS.iter().any(|(_, titles)| leads(titles, section));
    if let Some(lost) = help.sections.iter().find(|section| !placed(section)) {
        return Err(format!(
            "{}: its help has a section '{}': give it a place in HEADINGS",
            page.program, lost.title
        ));
    }
    let name = page.program;
    let (_, about) = help.about.split_once(": ").unwrap_or(("", &help.about));
    let mut out = format!(
        ".\\\" Made from --help by 'cargo run -p moji-tests --bin man': change the help instead.\n\
         .TH {} {} \"\" \"moji {}\" \"moji\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
        escaped(&name.to_uppercase()),
        page.section,
        env!("CARGO_PKG_VERSION"),
        escaped(name),
        escaped(about)
    );
    for (i, form) in help.usage.iter().enumerate() {
        let between = if i == 0 { "" } else { ".br\n" };
        let _ = writeln!(out, "{between}{}", form_of(form));
    }
    let _ = writeln!(out, ".SH DESCRIPTION\n{}.", sentence(&help.about));
    for (heading, titles) in HEADINGS {
        let sections = || help.sections.iter().filter(|section| leads(titles, section));
        let more = if heading == "FILES" { page.files } else { &[] };
        if sections().next().is_none() && more.is_empty() {
            continue;
        }
        let _ = writeln!(out, ".SH {}", quoted(heading));
        let many = sections().count() > 1;
        for section in sections() {
            if many {
                let _ = writeln!(out, ".SS {}", quoted(&section.title));
            }
            body(&mut out, section, heading == "OPTIONS");
        }
        for (path, text) in more {
            row(&mut out, &format!("\\fI{}\\fR", escaped(path)), text);
        }
    }
    let _ = writeln!(out, ".SH \"SEE ALSO\"\n{}", references(page.see_also));
    Ok(out)
}

fn leads(titles: &[&str], section: &Section) -> bool {
    titles.iter().any(|title| section.title.starts_with(title))
}

/// The rows of a section; what its heading says beyond one word comes first.
fn body(out: &mut String, section: &Section, options: bool) {
    if section.title.contains('(') {
        let _ = writeln!(out, "{}:", sentence(&section.title));
    }
    for block in &section.blocks {
        match block {
            Block::Row(term, text) if options => row(out, &form_of(term), text),
            Block::Row(term, text) => row(out, &format!("\\fB{}\\fR", escaped(term)), text),
            Block::Line(line) if section.title.starts_with("Example") => {
                let _ = writeln!(out, ".PP\n.nf\n.RS\n{}\n.RE\n.fi", escaped(line));
            }
            Block::Line(text) | Block::Text(text) => {
                let _ = writeln!(out, ".PP\n{}", escaped(text));
            }
        }
    }
}

fn row(out: &mut String, term: &str, text: &str) {
    let _ = writeln!(out, ".TP\n{term}\n{}", escaped(text));
}

/// A form of the command line: words and options bold, what stands for something else italic.
fn form_of(form: &str) -> String {
    let mut out = String::new();
    let mut rest = form;
    while let Some(first) = rest.chars().next() {
        let placeholder =
            |text: &str| text.find(|c: char| !(c.is_ascii_uppercase() || c == '_')).unwrap_or(text.len());
        let word = |text: &str| text.find([' ', '[', ']', '<', '>', '|', ',']).unwrap_or(text.len()).max(1);
        let (length, text) = match first {
            '<' => {
                let end = rest.find('>').map_or(rest.len(), |end| end + 1);
                (end, format!("\\fI{}\\fR", escaped(rest[..end].trim_matches(['<', '>']))))
            }
            _ if placeholder(rest) > 1 => {
                let end = placeholder(rest);
                (end, format!("\\fI{}\\fR", escaped(&rest[..end])))
            }
            ' ' | '[' | ']' | '|' | ',' => (1, escaped(&rest[..1])),
            _ => (word(rest), format!("\\fB{}\\fR", escaped(&rest[..word(rest)]))),
        };
        out += &text;
        rest = &rest[length..];
    }
    out
}

/// `a(1), b(8)` with bold names.
fn references(pages: &str) -> String {
    let page = |page: &str| {
        let (name, section) = page.split_once('(').unwrap_or((page, ""));
        format!("\\fB{}\\fR({section}", escaped(name))
    };
    pages.split(", ").map(page).collect::<Vec<_>>().join(",\n")
}

/// With a capital letter, if its first word is not a program's name.
fn sentence(text: &str) -> String {
    if text.starts_with("moji") {
        return escaped(text);
    }
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    escaped(&(first + letters.as_str()))
}

fn quoted(heading: &str) -> String {
    if heading.contains(' ') { format!("\"{heading}\"") } else { heading.to_owned() }
}

/// Text as roff: no sign of it means anything but itself, and none needs more than ASCII.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => out += "\\e",
            '-' => out += "\\-",
            '\'' => out += "\\(aq",
            '`' => out += "\\(aq",
            '^' => out += "\\(ha",
            '~' => out += "\\(ti",
            '…' => out += "...",
            '.' if out.is_empty() => out += "\\&.",
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Page =
        Page { program: "prog", section: 8, files: &[("/etc/prog", "Settings.")], see_also: "a-b(1), c(8)" };

    #[test]
    fn a_page_has_all_that_the_help_says() {
        let help = "prog: does 'things'\n\nUsage: prog [OPTIONS] <WHERE> [--place <DIR>]\n\nOptions:\n  \
                    -p, --place <DIR>  Where…\n\nExit codes:\n  0  done\n\nExample:\n  .prog \\ ~\n";
        let text = render(&PAGE, &Help::read(help)).unwrap();
        for part in [
            "prog \\- does \\(aqthings\\(aq\n",
            "\\fBprog\\fR [\\fIOPTIONS\\fR] \\fIWHERE\\fR [\\fB\\-\\-place\\fR \\fIDIR\\fR]\n",
            ".SH OPTIONS\n.TP\n\\fB\\-p\\fR, \\fB\\-\\-place\\fR \\fIDIR\\fR\nWhere...\n",
            ".SH FILES\n.TP\n\\fI/etc/prog\\fR\nSettings.\n",
            ".SH \"EXIT STATUS\"\n.TP\n\\fB0\\fR\ndone\n",
            ".nf\n.RS\n\\&.prog \\e \\(ti\n.RE\n",
            ".SH \"SEE ALSO\"\n\\fBa\\-b\\fR(1),\n\\fBc\\fR(8)\n",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }

    #[test]
    fn a_section_without_a_place_is_an_error() {
        let error = render(&PAGE, &Help::read("a\n\nUsage: a\n\nOdds and ends:\n  x  y\n")).unwrap_err();
        assert!(error.contains("'Odds and ends'"), "{error}");
    }
}
