//! `sim`: runs simulated farms from seeds.
//!
//! Owns the command line only; see [`HELP`].

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Instant;

use moji_tests::sim::farm::{self, Plan};
use moji_tests::sim::schedule::{self, Setup, cost};
use moji_tests::sim::{Options, Planted, run, run_all};

/// A planted bug is found within so many seeds.
const PLANTED_SEEDS: u64 = 1_000;
/// Threads, unless something else is said: what a CI machine has.
const THREADS: usize = 2;
/// A distribution, the boards of a farm, and how often it is drawn, unless something else is said.
const PACKAGES: usize = 5_000;
const BOARDS: usize = 60;
const RUNS: usize = 5;
/// Packages that wait, and builds that end, where the time of a message is measured, unless something else is said.
const WAITING: usize = 25_000;
const BUILDS: usize = 3_000;
/// Something was found wrong.
const WRONG: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;

const HELP: &str = "\
Runs simulated farms: the real cores of hub and builders over a simulated network, clock and disk.

usage: sim --seeds A..B [--threads N]         all seeds from A to before B
       sim --seed N [--trace]                 one seed; prints what was drawn first
       sim --planted NAME|all                 whether a planted bug is found within 1000 seeds
       sim --farm BOARDS PACKAGES [--seed N] [--hours H]
                                              a farm without faults, and its figures
       sim --schedule [--packages N] [--boards N] [--seed N] [--runs N]
                                              a distribution built from nothing, by the queue
                                              and by schedulers that know less
       sim --decisions [--packages N] [--boards N] [--seed N]
                                              how long the queue takes for each message

  --seed N        the seed (with --farm, --schedule and --decisions: of what is drawn; else 0)
  --seeds A..B    many seeds
  --threads N     threads for many seeds and for --schedule (2)
  --trace         print what happens
  --planted NAME  plant this bug in the simulator's shells; also with --seed and --seeds
  --farm B P      B boards, P packages
  --hours H       stop the farm after H virtual hours
  --schedule      makespan over what no order can beat, builds in vain
  --decisions     how long messages take, those that end in a lease and others: only a release
                  build tells
  --packages N    packages for --schedule (5000), that wait for --decisions (25000)
  --boards N      boards for --schedule and --decisions, of three speeds (60)
  --runs N        so many plans for --schedule (5)
  --help          this text

example: sim --seeds 0..10000
         sim --seed 2753 --trace | less
         sim --farm 60 5000 --hours 24
         sim --schedule --packages 1000 --boards 20
         sim --decisions

exit code: 0 all is well; with --planted and no seed: the bug was found
           1 something is wrong, and said; with --planted and no seed: the bug was not found
           2 the command line is wrong";

#[derive(Default)]
struct Wanted {
    help: bool,
    seed: Option<u64>,
    seeds: Option<(u64, u64)>,
    threads: Option<usize>,
    trace: bool,
    planted: Vec<Planted>,
    farm: Option<(usize, usize)>,
    hours: Option<f64>,
    schedule: bool,
    decisions: bool,
    packages: Option<usize>,
    boards: Option<usize>,
    runs: Option<usize>,
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number"))
}

fn planted(name: &str) -> Result<Vec<Planted>, String> {
    if name == "all" {
        return Ok(Planted::ALL.to_vec());
    }
    let names = || Planted::ALL.map(Planted::name).join(", ");
    let unknown = || format!("no planted bug '{name}': there are {} and all", names());
    Planted::named(name).map(|planted| vec![planted]).ok_or_else(unknown)
}

fn parse(words: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    let mut words = words;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => wanted.help = true,
            "--seed" => wanted.seed = Some(number(&value()?)?),
            "--seeds" => {
                let text = value()?;
                let (from, to) = text.split_once("..").ok_or(format!("--seeds takes A..B, not '{text}'"))?;
                wanted.seeds = Some((number(from)?, number(to)?));
            }
            "--threads" => wanted.threads = Some(number(&value()?)?),
            "--farm" => wanted.farm = Some((number(&value()?)?, number(&value()?)?)),
            "--hours" => wanted.hours = Some(number(&value()?)?),
            "--schedule" => wanted.schedule = true,
            "--decisions" => wanted.decisions = true,
            "--packages" => wanted.packages = Some(number(&value()?)?),
            "--boards" => wanted.boards = Some(number(&value()?)?),
            "--runs" => wanted.runs = Some(number(&value()?)?),
            "--trace" => wanted.trace = true,
            "--planted" => wanted.planted = planted(&value()?)?,
            _ => return Err(format!("unknown word '{word}'")),
        }
    }
    check(&wanted)?;
    Ok(wanted)
}

/// What does not go together.
fn check(wanted: &Wanted) -> Result<(), String> {
    let wrong = |is: bool, what: &str| if is { Err(what.to_owned()) } else { Ok(()) };
    let Wanted { help, seed, seeds, threads, trace, planted, farm, hours, schedule, decisions, .. } = wanted;
    let is_queue = *schedule || *decisions;
    if *help {
        return Ok(());
    }
    let none = seed.is_none() && seeds.is_none() && planted.is_empty() && farm.is_none() && !is_queue;
    wrong(
        none,
        "say --seed N, --seeds A..B, --planted NAME, --farm BOARDS PACKAGES, --schedule or --decisions",
    )?;
    let sizes = [wanted.packages, wanted.boards, wanted.runs];
    wrong(
        !is_queue && sizes.iter().any(Option::is_some),
        "--packages, --boards and --runs go with --schedule and --decisions",
    )?;
    wrong(*schedule && *decisions, "--schedule and --decisions do not go together")?;
    wrong(*decisions && wanted.runs.is_some(), "--runs goes with --schedule only")?;
    wrong(sizes.contains(&Some(0)), "--packages, --boards and --runs need at least 1")?;
    let others = seeds.is_some() || !planted.is_empty() || farm.is_some() || hours.is_some() || *trace;
    wrong(is_queue && others, "--schedule and --decisions go with --seed, --threads and sizes only")?;
    wrong(seed.is_some() && seeds.is_some(), "--seed and --seeds do not go together")?;
    wrong(seeds.is_some_and(|(from, to)| from >= to), "--seeds A..B needs A below B")?;
    wrong(*threads == Some(0), "--threads needs at least 1")?;
    wrong(*trace && (seed.is_none() || farm.is_some()), "--trace goes with --seed only")?;
    wrong(farm.is_some() && (seeds.is_some() || !planted.is_empty()), "--farm goes with --seed and --hours")?;
    wrong(
        farm.is_some_and(|(boards, packages)| boards == 0 || packages == 0),
        "a farm needs a board and a package",
    )?;
    wrong(hours.is_some() && farm.is_none(), "--hours goes with --farm only")?;
    wrong(hours.is_some_and(|hours| !(hours > 0.0 && hours < 1e6)), "--hours needs more than 0")?;
    wrong(planted.len() > 1 && (seed.is_some() || seeds.is_some()), "--planted all takes no seeds")
}

/// Prints what the product logs, into the trace.
struct Printer;

impl log::Log for Printer {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        println!("{:>10} {}: {}", "", record.target(), record.args());
    }

    fn flush(&self) {}
}

fn run_farm(seed: u64, boards: usize, packages: usize, hours: Option<f64>) -> bool {
    let began = Instant::now();
    let plan = Plan {
        stop_ms: hours.map(|hours| ((hours * 3_600_000.0) as u64).max(1)),
        ..Plan::draw(seed, boards, packages)
    };
    println!("farm of {boards} boards, {packages} packages, seed {seed}:");
    match farm::run(&plan) {
        Ok(figures) => {
            println!("{figures}");
            println!("  took                  {:>9.2} s", began.elapsed().as_secs_f64());
            true
        }
        Err(failure) => {
            println!("  {}", failure.what);
            false
        }
    }
}

fn run_schedule(wanted: &Wanted, threads: usize) {
    let (packages, boards) = (wanted.packages.unwrap_or(PACKAGES), wanted.boards.unwrap_or(BOARDS));
    let (seed, runs) = (wanted.seed.unwrap_or(0), wanted.runs.unwrap_or(RUNS));
    println!("{packages} packages on {boards} boards of three speeds:");
    println!("{}", schedule::compare(Setup { packages, boards, seed, runs, threads }));
}

fn run_decisions(wanted: &Wanted) {
    let (packages, boards) = (wanted.packages.unwrap_or(WAITING), wanted.boards.unwrap_or(BOARDS));
    for is_mainline in [false, true] {
        println!("{}", cost::measure(packages, BUILDS, boards, wanted.seed.unwrap_or(0), is_mainline));
    }
}

fn run_one(seed: u64, planted: Option<Planted>, trace: bool) -> bool {
    let began = Instant::now();
    let options = Options::draw(seed);
    println!("seed {seed}");
    println!("{options:#?}");
    if trace && log::set_logger(&Printer).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    match run(options, planted, trace) {
        Ok(stats) => {
            println!("seed {seed}: fine, {stats:?}, {} ms", began.elapsed().as_millis());
            true
        }
        Err(failure) => {
            println!("seed {seed}: {}\n  replay: {}", failure.what, failure.replay(planted));
            false
        }
    }
}

fn run_many(from: u64, to: u64, threads: usize, planted: Option<Planted>) -> bool {
    let began = Instant::now();
    let summary = run_all(from, to, threads, planted, false);
    for failure in &summary.failures {
        println!("seed {}: {}\n  replay: {}", failure.seed, failure.what, failure.replay(planted));
    }
    let sums = &summary.sums;
    println!(
        "sim: {} seeds from {from}, {} failed, {:.1} s; {:.0} virtual hours, {} builds, {} copies, {} again, {} connections, {} crashes of hubs, {} of clients",
        summary.ran,
        summary.failures.len(),
        began.elapsed().as_secs_f64(),
        sums.virtual_ms as f64 / 3_600_000.0,
        sums.builds,
        sums.copies,
        sums.again,
        sums.connections,
        sums.hub_crashes,
        sums.client_crashes
    );
    summary.failures.is_empty()
}

fn find(planted: Planted, threads: usize) -> bool {
    let summary = run_all(0, PLANTED_SEEDS, threads, Some(planted), true);
    let name = planted.name();
    match summary.failures.first() {
        Some(failure) => println!("sim: {name}: found after {} seeds: {}", summary.ran, failure.what),
        None => println!("sim: {name}: NOT found by {} seeds", summary.ran),
    }
    !summary.failures.is_empty()
}

fn main() -> ExitCode {
    let wanted = match parse(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("sim: {why} (--help tells more)");
            return ExitCode::from(USAGE);
        }
    };
    let threads = wanted.threads.unwrap_or(THREADS);
    let planted = wanted.planted.first().copied();
    let fine = if wanted.help {
        println!("{HELP}");
        true
    } else if wanted.schedule {
        run_schedule(&wanted, threads);
        true
    } else if wanted.decisions {
        run_decisions(&wanted);
        true
    } else if let Some((boards, packages)) = wanted.farm {
        run_farm(wanted.seed.unwrap_or(0), boards, packages, wanted.hours)
    } else if let Some(seed) = wanted.seed {
        run_one(seed, planted, wanted.trace)
    } else if let Some((from, to)) = wanted.seeds {
        run_many(from, to, threads, planted)
    } else {
        wanted.planted.iter().filter(|planted| !find(**planted, threads)).count() == 0
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what is wrong with a command line; nothing for a right one.
    fn complaint(line: &str) -> String {
        parse(line.split_whitespace().map(str::to_owned)).err().unwrap_or_default()
    }

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        for (line, want) in [
            (
                "",
                "say --seed N, --seeds A..B, --planted NAME, --farm BOARDS PACKAGES, --schedule or --decisions",
            ),
            ("--seed", "--seed needs a value"),
            ("--seed x", "'x' is not a number"),
            ("--seeds 5", "--seeds takes A..B, not '5'"),
            ("--seeds 5..5", "--seeds A..B needs A below B"),
            ("--seeds 0..5 --threads 0", "--threads needs at least 1"),
            ("--seeds 0..5 --trace", "--trace goes with --seed only"),
            ("--seed 1 --seeds 0..5", "--seed and --seeds do not go together"),
            ("--farm 1", "--farm needs a value"),
            ("--farm 0 5", "a farm needs a board and a package"),
            ("--seed 1 --hours 2", "--hours goes with --farm only"),
            ("--farm 1 1 --hours -1", "--hours needs more than 0"),
            ("--runs 2 --seed 1", "--packages, --boards and --runs go with --schedule and --decisions"),
            ("--schedule --decisions", "--schedule and --decisions do not go together"),
            ("--decisions --runs 2", "--runs goes with --schedule only"),
            ("--decisions --trace", "--schedule and --decisions go with --seed, --threads and sizes only"),
            ("--schedule --boards 0", "--packages, --boards and --runs need at least 1"),
            (
                "--schedule --seeds 0..5",
                "--schedule and --decisions go with --seed, --threads and sizes only",
            ),
            ("--planted all --seed 1", "--planted all takes no seeds"),
            ("--loud", "unknown word '--loud'"),
        ] {
            assert_eq!(complaint(line), want, "{line}");
        }
        assert!(complaint("--planted x").starts_with("no planted bug 'x': there are skip-folder-sync, "));
    }

    #[test]
    fn every_line_of_the_help_is_understood() {
        for line in HELP.lines().filter_map(|line| line.split_once("sim --").map(|(_, rest)| rest)) {
            let line = line.split(" |").next().unwrap_or_default().split("   ").next().unwrap_or_default();
            let line = line.replace(['[', ']'], "").replace("A..B", "1..2").replace("NAME|all", "all");
            let numbers = |word: &str| {
                if ["N", "H", "BOARDS", "PACKAGES"].contains(&word) { "3" } else { word }.to_owned()
            };
            let line: Vec<String> = line.split_whitespace().map(numbers).collect();
            assert_eq!(complaint(&format!("--{}", line.join(" "))), "", "{line:?}");
        }
    }
}
