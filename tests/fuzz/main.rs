//! libFuzzer's program for all targets; MOJI_FUZZ_TARGET names the one that it runs.
//!
//! Owns the choice, and writes the seeds of a target where MOJI_FUZZ_SEEDS names a folder for them. What a target checks
//! is in `targets/`; `tests/fuzz/run` builds and starts this.
#![no_main]

use std::fs;
use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

use targets::{TARGETS, Target};

mod targets;

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fn choose() {
    let name = std::env::var("MOJI_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("MOJI_FUZZ_TARGET is none of: {}", names.join(" "));
        exit(2);
    };
    if let Some(folder) = std::env::var_os("MOJI_FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(Path::new(&folder).join(format!("seed-{number:04}")), seed).expect("a seed is written");
        }
        exit(0);
    }
    CHOSEN.get_or_init(|| target);
}

fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(target) = CHOSEN.get() {
        (target.body)(data);
    }
});
