//! A row of the table of faults, counted while its suite runs.
//!
//! Owns `target/faults/NAME.json` and the end of a suite: violations are collected, so that one does not hide the
//! next, and fail the test at its end. Must never count a case that did not run; the table (`tests/faults`) is
//! made of these files alone.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Counts the cases of one suite. [`Tally::end`] writes the row; a tally that is dropped without it, as by a test that
/// panics, writes a row with a violation.
#[derive(Debug)]
pub struct Tally {
    row: Row,
    begun: Instant,
    ended: bool,
}

/// What a suite did, as the table tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Number of the subject, which orders the table: 1 kills, 2 errors, 3 power cuts, 4 network, 5 hostile peers,
    /// 6 damaged input, 7 load, 8 time, 9 endurance.
    pub subject: u8,
    /// A file's name, unique among all suites.
    pub name: String,
    /// What is done to the farm.
    pub fault: String,
    /// What must hold all the same.
    pub holds: String,
    /// The command that runs the suite.
    pub command: String,
    /// How often it was done.
    pub cases: u64,
    /// What did not hold, in words.
    pub violations: Vec<String>,
    /// Measured beside it, in words.
    pub figures: Vec<String>,
    /// How long the suite took, seconds.
    pub seconds: u64,
    /// When it ended, seconds since 1970.
    pub ended: u64,
}

impl Tally {
    /// Begins a row.
    pub fn new(subject: u8, name: &str, fault: &str, holds: &str, command: &str) -> Tally {
        let row = Row {
            subject,
            name: name.to_owned(),
            fault: fault.to_owned(),
            holds: holds.to_owned(),
            command: command.to_owned(),
            cases: 0,
            violations: Vec::new(),
            figures: Vec::new(),
            seconds: 0,
            ended: 0,
        };
        Tally { row, begun: Instant::now(), ended: false }
    }

    /// One case was run.
    pub fn case(&mut self) {
        self.cases(1);
    }

    /// So many cases were run.
    pub fn cases(&mut self, more: u64) {
        self.row.cases += more;
    }

    /// Something did not hold; the suite goes on.
    pub fn violation(&mut self, what: impl Into<String>) {
        let what = what.into();
        eprintln!("{}: VIOLATION: {what}", self.row.name);
        self.row.violations.push(what);
    }

    /// The same where `held` is false.
    pub fn holds(&mut self, held: bool, what: impl FnOnce() -> String) {
        if !held {
            self.violation(what());
        }
    }

    /// Something measured, for the table.
    pub fn figure(&mut self, what: impl Into<String>) {
        self.row.figures.push(what.into());
    }

    /// How many violations there are so far.
    pub fn violations(&self) -> usize {
        self.row.violations.len()
    }

    /// Writes the row.
    ///
    /// # Panics
    /// When there were violations, or no case at all.
    pub fn end(mut self) {
        self.write();
        eprintln!("{}: {} cases, {} violations", self.row.name, self.row.cases, self.row.violations.len());
        assert!(self.row.violations.is_empty(), "{}: {:#?}", self.row.name, self.row.violations);
        assert!(self.row.cases > 0, "{}: not a single case was run", self.row.name);
    }

    fn write(&mut self) {
        self.ended = true;
        self.row.seconds = self.begun.elapsed().as_secs();
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.row.ended = since.unwrap_or(Duration::ZERO).as_secs();
        let folder = folder();
        fs::create_dir_all(&folder).expect("a folder for the rows");
        let text = format!("{:#}\n", self.row.to_json());
        fs::write(folder.join(format!("{}.json", self.row.name)), text).expect("a row is written");
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.ended {
            self.row.violations.push("the suite did not come to its end".to_owned());
            self.write();
        }
    }
}

impl Row {
    fn to_json(&self) -> Value {
        json!({
            "subject": self.subject, "name": self.name, "fault": self.fault, "holds": self.holds,
            "command": self.command, "cases": self.cases, "violations": self.violations,
            "figures": self.figures, "seconds": self.seconds, "ended": self.ended,
        })
    }

    fn from_json(value: &Value) -> Option<Row> {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let number = |key: &str| value[key].as_u64();
        let texts = |key: &str| {
            let all = value[key].as_array()?.iter();
            all.map(|one| one.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        Some(Row {
            subject: u8::try_from(number("subject")?).ok()?,
            name: text("name")?,
            fault: text("fault")?,
            holds: text("holds")?,
            command: text("command")?,
            cases: number("cases")?,
            violations: texts("violations")?,
            figures: texts("figures")?,
            seconds: number("seconds")?,
            ended: number("ended")?,
        })
    }
}

/// All rows that suites have left in `target/faults/`, by subject, then by name.
///
/// # Panics
/// When a file there is no row, naming it.
pub fn rows() -> Vec<Row> {
    let files = fs::read_dir(folder()).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut rows: Vec<Row> = files
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| {
            let value = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
            let row = value.as_ref().and_then(Row::from_json);
            row.unwrap_or_else(|| panic!("{} is no row of the table: remove it", path.display()))
        })
        .collect();
    rows.sort_by(|a, b| (a.subject, &a.name).cmp(&(b.subject, &b.name)));
    rows
}

/// `target/faults/`, beside the profile's folder that this program is in.
fn folder() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this program");
    let profile =
        own.ancestors().find(|path| path.join("deps").is_dir()).expect("a profile's folder in target/");
    profile.parent().expect("target/").join("faults")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(name: &str) -> Tally {
        Tally::new(99, name, "nothing", "everything", "cargo test")
    }

    fn row(name: &str) -> Row {
        let path = folder().join(format!("{name}.json"));
        let text = fs::read_to_string(&path).expect("a row was written");
        fs::remove_file(path).expect("it can go");
        Row::from_json(&serde_json::from_str(&text).expect("JSON")).expect("a row")
    }

    #[test]
    fn a_row_is_what_was_counted() {
        let mut tally = tally("test-counted");
        tally.case();
        tally.cases(2);
        tally.figure("a figure");
        tally.end();
        let row = row("test-counted");
        assert_eq!((row.subject, row.cases, row.violations.len()), (99, 3, 0));
        assert_eq!(row.figures, ["a figure"]);
    }

    #[test]
    fn violations_do_not_stop_a_suite_and_fail_it_in_the_end() {
        let ended = std::panic::catch_unwind(|| {
            let mut tally = tally("test-violated");
            tally.case();
            tally.holds(true, || "this held".to_owned());
            tally.holds(false, || "this did not".to_owned());
            tally.violation("nor this");
            tally.end();
        });
        assert!(ended.is_err());
        assert_eq!(row("test-violated").violations, ["this did not", "nor this"]);
    }

    #[test]
    fn a_suite_that_breaks_off_or_runs_nothing_is_no_success() {
        let ended = std::panic::catch_unwind(|| {
            let mut tally = tally("test-broken");
            tally.case();
            panic!("in the middle");
        });
        assert!(ended.is_err());
        assert_eq!(row("test-broken").violations.len(), 1);
        let ended = std::panic::catch_unwind(|| tally("test-empty").end());
        assert!(ended.is_err());
        let _ = row("test-empty");
    }
}
