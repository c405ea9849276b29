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
mod peers;
mod srpm;
mod swarm;
mod table;
mod transfer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A benchmark: its name and what runs it, with all folders in the given one.
type Bench = (&'static str, fn(&Path));

const ALL: [Bench; 4] = [
    ("dispatch", dispatch::run),
    ("grants", grants::run),
    ("transfer", transfer::run),
    ("crowd", crowd::run),
];

/// Descriptors for ten thousand builders and the rest.
const DESCRIPTORS: u64 = 10_500;

fn main() -> ExitCode {
    let (mut names, mut base) = (Vec::new(), std::env::temp_dir());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--folder" => base = words.next().map(PathBuf::from).unwrap_or(base),
            "all" => names.extend(ALL.map(|(name, _)| name.to_owned())),
            _ => names.push(word),
        }
    }
    let known: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
    if names.is_empty() || names.iter().any(|name| !known.contains(&name.as_str())) {
        eprintln!("usage: bench all|{} [--folder DIR]", known.join("|"));
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
    for (name, run) in ALL {
        if names.iter().any(|wanted| wanted == name) {
            let began = Instant::now();
            run(&base);
            println!("\nbench: {name} took {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    ExitCode::SUCCESS
}
