//! Figures as a table: medians, spread, ratios.
//!
//! Owns how figures are summed up and printed. Measures nothing.

use std::time::{Duration, Instant};

/// How often a figure is measured, at most and at least.
pub(crate) const RUNS: usize = 5;
const RUNS_LEAST: usize = 3;

/// Ratios below this one are told as one in so many.
const RATIO_LEAST: f64 = 0.1;

/// The numbers of the runs of one figure, from 0: [`RUNS`] of them, or fewer once they took `enough` together, so that a
/// slow disk or a busy machine does not keep a benchmark from its end.
pub(crate) fn runs(enough: Duration) -> impl Iterator<Item = usize> {
    let began = Instant::now();
    (0..RUNS).take_while(move |run| *run < RUNS_LEAST || began.elapsed() < enough)
}

/// The figures of several runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(Vec<f64>);

impl Runs {
    /// Adds a run's figure.
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// Adds all figures of another run.
    pub(crate) fn append(&mut self, other: Runs) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The figure that `share` of all (0 to 1) do not exceed; NaN without any.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1) as f64;
        sorted.get((share * last).ceil() as usize).copied().unwrap_or(f64::NAN)
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// `median (smallest to largest)`, with so many decimals.
    pub(crate) fn text(&self, decimals: usize) -> String {
        let (low, high) = (self.quantile(0.0), self.quantile(1.0));
        format!("{:.decimals$} ({low:.decimals$} to {high:.decimals$})", self.median())
    }
}

/// A table that prints itself as Markdown, its columns aligned.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(title: &str, columns: &[&str]) -> Table {
        Table { title: title.to_owned(), rows: vec![columns.iter().map(|&text| text.to_owned()).collect()] }
    }

    /// Adds a row with a cell a column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it to stdout.
    pub(crate) fn print(&self) {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        println!("\n{}\n", self.title);
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} ")).collect();
            println!("|{}|", cells.join("|"));
            if number == 0 {
                let lines: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
                println!("|{}|", lines.join("|"));
            }
        }
    }
}

/// All figures once more, a line each: what a reader wants who has read nothing before.
pub(crate) struct Summary(Table);

impl Summary {
    /// One without figures.
    pub(crate) fn new() -> Summary {
        let columns = ["figure", "measured", "noise", "beside it in the same run", "ratio", "wanted", "met"];
        Summary(Table::new("Summary: medians; noise is smallest to largest of all runs", &columns))
    }

    /// Adds a figure. The peer has a name and runs of its own; wanted is in words, with whether that is met.
    pub(crate) fn add(
        &mut self,
        what: &str,
        figure: (&Runs, usize, &str),
        peer: Option<(&str, &Runs)>,
        wanted: Option<(&str, bool)>,
    ) {
        let (runs, decimals, unit) = figure;
        let (low, high) = (runs.quantile(0.0), runs.quantile(1.0));
        let beside = peer.map(|(name, peer)| format!("{name}: {:.decimals$} {unit}", peer.median()));
        let ratio = peer.map(|(_, peer)| match runs.median() / peer.median() {
            ratio if ratio < RATIO_LEAST => format!("1/{:.0}", 1.0 / ratio),
            ratio => format!("{ratio:.2}"),
        });
        self.0.row([
            what.to_owned(),
            format!("{:.decimals$} {unit}", runs.median()),
            format!("{low:.decimals$} to {high:.decimals$}"),
            beside.unwrap_or_default(),
            ratio.unwrap_or_default(),
            wanted.map(|(text, _)| text.to_owned()).unwrap_or_default(),
            wanted.map(|(_, is_met)| met(is_met)).unwrap_or_default(),
        ]);
    }

    /// Prints it, and how many figures missed what was wanted.
    pub(crate) fn print(&self) {
        self.0.print();
        let count =
            |word: &str| self.0.rows.iter().filter(|row| row.last().is_some_and(|met| met == word)).count();
        println!("\nbench: {} figures as wanted, {} missed", count("yes"), count("NO"));
    }
}

/// `yes` or `NO`, for a column of what was expected.
pub(crate) fn met(is_met: bool) -> String {
    if is_met { "yes".to_owned() } else { "NO".to_owned() }
}
