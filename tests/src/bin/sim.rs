//! `sim`: runs simulated farms from seeds.
//!
//! Owns the command line only.
//!
//! ```text
//! sim --seed N [--trace] [--planted NAME]     one farm; prints what was drawn first
//! sim --seeds A..B [--planted NAME]           all of them on two threads; exits 1 if one fails
//! sim --planted NAME                          seeds from 0 until one finds it, at most 1,000
//! sim --farm BOARDS PACKAGES [--seed N]       a farm without faults: how long it takes
//! ```

use std::process::ExitCode;
use std::time::Instant;

use moji_tests::sim::{Options, Planted, farm, run, run_all};

/// Threads for many seeds: what a CI machine has.
const THREADS: usize = 2;
/// A planted bug is found within so many seeds.
const PLANTED_SEEDS: u64 = 1_000;

struct Wanted {
    seed: Option<u64>,
    seeds: Option<(u64, u64)>,
    trace: bool,
    planted: Option<Planted>,
    farm: Option<(usize, usize)>,
}

fn parse() -> Result<Wanted, String> {
    let mut wanted = Wanted { seed: None, seeds: None, trace: false, planted: None, farm: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("'{text}' is not a number"));
        match word.as_str() {
            "--seed" => wanted.seed = Some(number(&value()?)?),
            "--seeds" => {
                let text = value()?;
                let (from, to) = text.split_once("..").ok_or("--seeds takes A..B")?;
                wanted.seeds = Some((number(from)?, number(to)?));
            }
            "--farm" => {
                let (boards, packages) = (number(&value()?)?, number(&value()?)?);
                wanted.farm = Some((boards as usize, packages as usize));
            }
            "--trace" => wanted.trace = true,
            "--planted" => {
                let name = value()?;
                let all: Vec<_> = Planted::ALL.iter().map(|planted| planted.name()).collect();
                let unknown = || format!("no planted bug '{name}': there are {}", all.join(", "));
                wanted.planted = Some(Planted::named(&name).ok_or_else(unknown)?);
            }
            _ => return Err(format!("unknown word '{word}'")),
        }
    }
    if wanted.seed.is_none() && wanted.seeds.is_none() && wanted.planted.is_none() && wanted.farm.is_none() {
        return Err("say --seed N, --seeds A..B, --planted NAME or --farm BOARDS PACKAGES".to_owned());
    }
    Ok(wanted)
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

fn run_farm(seed: u64, boards: usize, packages: usize) -> ExitCode {
    let began = Instant::now();
    match farm(seed, boards, &Options::build_times(seed, packages)) {
        Ok(stats) => {
            let share = stats.busy_ms as f64 / (stats.last_build_ms * boards as u64) as f64;
            println!(
                "{packages} packages on {boards} boards: {:.1} h, boards busy {:.1} %, {} builds, {} events; took {} ms",
                stats.last_build_ms as f64 / 3_600_000.0,
                100.0 * share,
                stats.builds,
                stats.events,
                began.elapsed().as_millis()
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}", failure.what);
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let wanted = match parse() {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("sim: {why}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    if let Some((boards, packages)) = wanted.farm {
        return run_farm(wanted.seed.unwrap_or(0), boards, packages);
    }
    if let Some(seed) = wanted.seed {
        let options = Options::draw(seed);
        println!("{options:#?}");
        if wanted.trace && log::set_logger(&Printer).is_ok() {
            log::set_max_level(log::LevelFilter::Info);
        }
        return match run(options, wanted.planted, wanted.trace) {
            Ok(stats) => {
                println!("seed {seed}: fine, {stats:?}, {} ms", began.elapsed().as_millis());
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("seed {seed}: {}", failure.what);
                ExitCode::FAILURE
            }
        };
    }
    let (from, to) = wanted.seeds.unwrap_or((0, PLANTED_SEEDS));
    let until_found = wanted.seeds.is_none();
    let (ran, failures) = run_all(from, to, THREADS, wanted.planted, until_found);
    for failure in &failures {
        println!("seed {}: {}", failure.seed, failure.what);
    }
    let ms = began.elapsed().as_millis();
    println!("{ran} seeds from {from}, {} failed, {ms} ms", failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
