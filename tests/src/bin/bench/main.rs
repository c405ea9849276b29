//! `bench NAME…|all [--folder DIR]`: moji's figures beside those of what people would use instead.
//!
//! Owns the list of benchmarks. The hub is the real program; builders are simulated in this one, with the real
//! channel on real loopback sockets. Nothing leaves loopback, and every wait has a limit. `tests/bench` builds
//! and calls it.

mod builds;
mod cpu;
mod crowd;
mod dispatch;
mod grants;
mod hub;
mod pages;
mod peers;
mod publish;
mod srpm;
mod swarm;
mod table;
mod transfer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use table::Summary;

/// A benchmark: its name and what runs it, with all folders in the given one.
type Bench = (&'static str, fn(&Path, &mut Summary));

/// Those that take less than ten minutes together.
const ALL: [Bench; 5] = [
    ("dispatch", dispatch::run),
    ("pages", pages::run),
    ("grants", grants::run),
    ("transfer", transfer::run),
    ("crowd", crowd::run),
];

/// Those that must be named.
const NAMED: [Bench; 1] = [("publish", publish::run)];

const HELP: &str = "\
usage: tests/bench NAME...|all [--folder DIR]

  dispatch   from the last byte of a result to the builder's next job
  pages      the same span while 200 people look at the hub's pages, beside nobody looking
  grants     1,000 and 10,000 builders ask for a job at once
  transfer   bytes to and from 1 and 32 builders, beside iperf3, nginx and rsync
  crowd      10,000 builders: idle, reconnecting and asking all at once, back at a hub that was killed; and a day of a
             farm of 120 boards in a minute and a half

  publish    until a result is in the index, at 1,000, 5,000 and 25,000 packages, beside createrepo_c; and what it
             costs a builder's dnf. Not in `all`: it takes ten minutes by itself

  --folder DIR   where the hub's folders are made (default: the system's temporary folder): its disk is measured
  --help         this

Each measures three to five times, as time allows, and prints a table; the last table has all figures, what they are compared with, and
whether they are as wanted. `all` takes less than ten minutes. Of all CPU: leave the machine alone meanwhile.";

/// Descriptors for ten thousand builders and the rest.
const DESCRIPTORS: u64 = 10_500;

fn main() -> ExitCode {
    let (mut names, mut base) = (Vec::new(), std::env::temp_dir());
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == publish::MEMORY_WORD).is_some() {
        publish::memory_child(Path::new(&words.next().expect("the folder of a site")));
        return ExitCode::SUCCESS;
    }
    while let Some(word) = words.next() {
        match word.as_str() {
            "--folder" => match words.next().map(PathBuf::from).filter(|folder| folder.is_dir()) {
                Some(folder) => base = folder,
                None => {
                    eprintln!("bench: --folder needs a folder that exists");
                    return ExitCode::from(2);
                }
            },
            "--help" | "-h" => {
                println!("{HELP}");
                return ExitCode::SUCCESS;
            }
            "all" => names.extend(ALL.map(|(name, _)| name.to_owned())),
            _ => names.push(word),
        }
    }
    let benches: Vec<Bench> = ALL.into_iter().chain(NAMED).collect();
    let known: Vec<&str> = benches.iter().map(|(name, _)| *name).collect();
    if names.is_empty() || names.iter().any(|name| !known.contains(&name.as_str())) {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    }
    let limit = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok(hard)
    });
    if limit.is_ok_and(|limit| limit < DESCRIPTORS) {
        eprintln!("bench: needs {DESCRIPTORS} open descriptors (ulimit -Hn)");
        return ExitCode::FAILURE;
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("bench: {cores} cores, load before {}", load.split(' ').next().unwrap_or("?"));
    let (mut summary, began_all) = (Summary::new(), Instant::now());
    for (name, run) in benches {
        if names.iter().any(|wanted| wanted == name) {
            let began = Instant::now();
            run(&base, &mut summary);
            println!("\nbench: {name} took {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    summary.print();
    println!("bench: all of it took {:.0} s", began_all.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
