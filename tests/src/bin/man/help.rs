//! What a program's `--help` says, taken apart.
//!
//! Owns the layout that the programs' help texts have in common: clap's, and that of the client's own table. Knows
//! no program and no option by name.

/// A help text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Help {
    /// The first line.
    pub(crate) about: String,
    /// The forms of the command line, without the word `Usage:`.
    pub(crate) usage: Vec<String>,
    /// What follows, in its order.
    pub(crate) sections: Vec<Section>,
}

/// A heading and what stands below it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// Without its colon.
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// A term and its explanation.
    Row(String, String),
    /// A line by itself: an example.
    Line(String),
    /// Text at the margin.
    Text(String),
}

/// An option, from a row like `-v, --verbose` or `--state <DIR>`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opt {
    pub(crate) long: String,
    pub(crate) short: Option<char>,
    /// What its value is called.
    pub(crate) value: Option<String>,
    pub(crate) help: String,
}

/// Lines indented by this much or more go on with the explanation above: terms stand at 2 to 6.
const CONTINUED: usize = 8;

impl Help {
    /// Takes `--help`'s text apart.
    pub(crate) fn read(text: &str) -> Help {
        let mut help = Help::default();
        let mut lines = text.lines().peekable();
        help.about = lines.next().unwrap_or_default().to_owned();
        while lines.next_if(|line| !line.starts_with("Usage:")).is_some() {}
        while let Some(line) = lines.next_if(|line| !line.is_empty()) {
            help.usage.push(line.trim_start_matches("Usage:").trim().to_owned());
        }
        for line in lines.filter(|line| !line.trim().is_empty()) {
            if !line.starts_with(' ') && line.ends_with(':') {
                let title = line.trim_end_matches(':').to_owned();
                help.sections.push(Section { title, blocks: Vec::new() });
                continue;
            }
            if help.sections.is_empty() {
                help.sections.push(Section::default());
            }
            let section = help.sections.last_mut().expect("there is one");
            section.add(line);
        }
        help
    }

    /// The rows of the section that is called so.
    pub(crate) fn rows(&self, title: &str) -> impl Iterator<Item = (&str, &str)> {
        let section = self.sections.iter().filter(move |section| section.title == title);
        section.flat_map(|section| &section.blocks).filter_map(|block| match block {
            Block::Row(term, text) => Some((&**term, &**text)),
            _ => None,
        })
    }

    /// The words that stand alone.
    pub(crate) fn verbs(&self) -> Vec<(&str, &str)> {
        self.rows("Commands").filter(|(verb, _)| *verb != "help").collect()
    }

    /// All options.
    pub(crate) fn options(&self) -> Vec<Opt> {
        self.rows("Options").filter_map(|(term, text)| Opt::read(term, text)).collect()
    }
}

impl Section {
    fn add(&mut self, line: &str) {
        let words = line.trim_start();
        let indent = line.len() - words.len();
        if indent == 0 {
            if let Some(Block::Text(text)) = self.blocks.last_mut() {
                *text += " ";
                *text += words;
            } else {
                self.blocks.push(Block::Text(words.to_owned()));
            }
        } else if let (CONTINUED.., Some(Block::Row(_, text))) = (indent, self.blocks.last_mut()) {
            *text += " ";
            *text += words;
        } else if self.title.starts_with("Example") {
            self.blocks.push(Block::Line(words.to_owned()));
        } else if self.title == "Exit codes" && !words.contains("  ") | several_codes(words) {
            for item in words.split("   ") {
                let (code, text) = item.trim().split_once(' ').unwrap_or((item, ""));
                self.blocks.push(Block::Row(code.to_owned(), text.to_owned()));
            }
        } else if let Some((term, text)) = words.split_once("  ") {
            self.blocks.push(Block::Row(term.to_owned(), text.trim().to_owned()));
        } else {
            self.blocks.push(Block::Line(words.to_owned()));
        }
    }
}

/// Whether a line is `0 this   1 that`.
fn several_codes(words: &str) -> bool {
    let mut items = words.split("   ").map(|item| item.trim().split_once(' '));
    items.all(|item| item.is_some_and(|(code, text)| code.parse::<u8>().is_ok() && !text.starts_with(' ')))
}

impl Opt {
    fn read(term: &str, text: &str) -> Option<Opt> {
        let term = term.trim_end_matches("...");
        let short =
            term.strip_prefix('-').and_then(|rest| rest.chars().next()).filter(|letter| *letter != '-');
        let (_, rest) = term.split_once("--")?;
        let (long, value) = match rest.split_once(' ') {
            Some((long, value)) => (long, Some(value.trim_matches(['<', '>']).to_owned())),
            None => (rest, None),
        };
        Some(Opt { long: long.to_owned(), short, value, help: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Does things.

Usage: prog [OPTIONS] <WHERE>
       prog go|stop [--place <DIR>]

Commands:
  go    Go on
  stop  Go no
        further

Options:
      --place <DIR>  Where
  -v, --verbose...   Say
                     more
  -h, --help         Print help

Exit codes:
  0 done   2 usage
  3 a place
That was
all.

Example:
  prog go  --place x
";

    #[test]
    fn a_help_text_is_taken_apart() {
        let help = Help::read(TEXT);
        assert_eq!(help.about, "Does things.");
        assert_eq!(help.usage, ["prog [OPTIONS] <WHERE>", "prog go|stop [--place <DIR>]"]);
        assert_eq!(help.verbs(), [("go", "Go on"), ("stop", "Go no further")]);
        let option = |long: &str, short, value: Option<&str>, help: &str| Opt {
            long: long.to_owned(),
            short,
            value: value.map(str::to_owned),
            help: help.to_owned(),
        };
        let want = [
            option("place", None, Some("DIR"), "Where"),
            option("verbose", Some('v'), None, "Say more"),
            option("help", Some('h'), None, "Print help"),
        ];
        assert_eq!(help.options(), want);
        let codes: Vec<_> = help.rows("Exit codes").collect();
        assert_eq!(codes, [("0", "done"), ("2", "usage"), ("3", "a place")]);
        assert_eq!(help.sections[2].blocks.last(), Some(&Block::Text("That was all.".to_owned())));
        assert_eq!(help.sections[3].blocks, [Block::Line("prog go  --place x".to_owned())]);
    }

    #[test]
    fn exit_codes_in_two_columns_are_rows_too() {
        let help = Help::read("a\n\nUsage: a\n\nExit codes:\n  0  done: (--once) well\n  1  not   so well\n");
        let codes: Vec<_> = help.rows("Exit codes").collect();
        assert_eq!(codes, [("0", "done: (--once) well"), ("1", "not   so well")]);
    }
}
