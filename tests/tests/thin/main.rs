//! Thin repositories against real dnf: it installs the same from them as from the whole repositories, and can on a machine on
//! which it cannot from those.
//!
//! Owns the comparison at the size that is asked for: `MOJI_PACKAGES` in the mainline (6,000), `MOJI_SOURCES` that are
//! built (40), `MOJI_SMALL_PACKAGES` around a small machine (25,000). Left out, and said so, where there is no dnf for Python.

mod correct;
mod small;

use std::path::Path;

/// A number from the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number")))
}

/// Whether dnf is there, as a library of the system's Python; says so when not.
fn able() -> bool {
    let plugins = ["/usr/lib/python3/dist-packages/dnf-plugins/builddep.py"];
    let is_able = plugins.iter().any(|path| Path::new(path).exists());
    if !is_able {
        eprintln!("LEFT OUT: it needs dnf 4 and its plugin builddep for the system's Python");
    }
    is_able
}
