//! `faults [FILE]`: the table of faults, from the rows that the suites left in `target/faults/`.
//!
//! Owns how the table reads. Writes it to FILE, or to stdout. Must never say anything that no suite has counted.

use std::fmt::Write;
use std::process::ExitCode;

use moji_tests::faults::{Row, rows};

const HEAD: &str = "# What moji was put through\n\n\
    Made by `tests/faults` from what its suites counted; nothing here is typed by hand. A violation is a package that \
    was lost, doubled or partly published, or anything else that the column *must hold* names. Suites take `MOJI_SEED`; \
    how many cases they run is a variable of each (see `tests/faults`).\n\n";

fn main() -> ExitCode {
    let rows = rows();
    if rows.is_empty() {
        eprintln!("faults: no suite has left a row in target/faults/: run tests/faults");
        return ExitCode::from(1);
    }
    let text = HEAD.to_owned() + &table(&rows);
    match std::env::args_os().nth(1) {
        None => print!("{text}"),
        Some(path) => {
            if let Err(error) = std::fs::write(&path, text) {
                eprintln!("faults: {}: {error}", path.display());
                return ExitCode::from(1);
            }
        }
    }
    // A table with a violation in it is shown, and is no success.
    ExitCode::from(u8::from(rows.iter().any(|row| !row.violations.is_empty())))
}

/// The rows as a table in Markdown, a heading for each subject, and the sum.
fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut subject = None;
    for row in rows {
        if subject != Some(row.subject) {
            subject = Some(row.subject);
            let _ = writeln!(text, "{}## {}\n", if text.is_empty() { "" } else { "\n" }, title(row.subject));
            let _ = writeln!(
                text,
                "| suite | fault | must hold | cases | violations | took | measured beside it |"
            );
            let _ = writeln!(text, "|---|---|---|--:|--:|--:|---|");
        }
        let figures = row.figures.iter().map(|figure| cell(figure)).collect::<Vec<_>>().join("; ");
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {figures} |",
            cell(&row.command),
            cell(&row.fault),
            cell(&row.holds),
            thousands(row.cases),
            row.violations.len(),
            took(row.seconds),
        );
    }
    let cases = rows.iter().map(|row| row.cases).sum();
    let violations: usize = rows.iter().map(|row| row.violations.len()).sum();
    let days = rows.iter().map(|row| row.ended).max().map_or(0, |last| last / 86_400);
    let _ = writeln!(
        text,
        "\n{} cases in {} suites, {violations} violations; last run on {}.",
        thousands(cases),
        rows.len(),
        date(days)
    );
    for row in rows.iter().filter(|row| !row.violations.is_empty()) {
        let _ = writeln!(text, "\nViolations of `{}`:\n", row.name);
        for violation in row.violations.iter().take(20) {
            let _ = writeln!(text, "- {}", cell(violation));
        }
    }
    text
}

fn title(subject: u8) -> &'static str {
    match subject {
        1 => "Killed at any moment",
        2 => "Errors, full disks, nothing left of something",
        3 => "Power cuts",
        4 => "The network",
        5 => "Hostile peers",
        6 => "Damaged and random input",
        7 => "Load",
        8 => "Time",
        9 => "Endurance",
        10 => "Tests that are tested",
        _ => "Other",
    }
}

/// Text that cannot end a cell or a row.
fn cell(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|").replace('<', "&lt;")
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn took(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Days since 1970 as a date: the algorithm `civil_from_days` of Howard Hinnant, for dates after 1970.
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: u8, name: &str, violations: &[&str]) -> Row {
        Row {
            subject,
            name: name.to_owned(),
            fault: "kill -9 | at once".to_owned(),
            holds: "all of it".to_owned(),
            command: "cargo test".to_owned(),
            cases: 12_345,
            violations: violations.iter().map(|&text| text.to_owned()).collect(),
            figures: vec!["1 s".to_owned(), "2 MB".to_owned()],
            seconds: 130,
            ended: 1_795_435_200,
        }
    }

    #[test]
    fn a_table_has_a_heading_a_subject_and_tells_the_sum() {
        let text = table(&[row(1, "a", &[]), row(1, "b", &[]), row(3, "c", &[])]);
        assert_eq!(text.matches("## Killed at any moment").count(), 1);
        assert_eq!(text.matches("## Power cuts").count(), 1);
        let line = "| `cargo test` | kill -9 \\| at once | all of it | 12,345 | 0 | 2 min | 1 s; 2 MB |";
        assert_eq!(text.lines().filter(|&shown| shown == line).count(), 3, "{text}");
        assert!(text.contains("37,035 cases in 3 suites, 0 violations; last run on 2026-11-23."), "{text}");
    }

    #[test]
    fn violations_are_counted_and_named() {
        let text = table(&[row(1, "a", &["one is lost", "<two>"])]);
        assert!(text.contains("| 12,345 | 2 |"), "{text}");
        assert!(text.contains("Violations of `a`:\n\n- one is lost\n- &lt;two>\n"), "{text}");
    }

    #[test]
    fn days_are_dates() {
        for (days, text) in
            [(0, "1970-01-01"), (58, "1970-02-28"), (59, "1970-03-01"), (11_016, "2000-02-29")]
        {
            assert_eq!(date(days), text);
        }
        assert_eq!(date(25_567), "2040-01-01");
    }
}
