//! Where things are on the machine that runs the tests, and the one way to wait for something.
//!
//! Owns the knowledge of the cache that `tests/setup` fills and of cargo's target folder.
//! Must never make anything there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a condition is looked at again: often enough not to slow a test of half a second,
/// seldom enough not to take a core from what is waited for.
const POLL: Duration = Duration::from_millis(20);

/// Looks at `holds` every few milliseconds until it is true (then true) or `limit` is over
/// (then false).
pub fn poll_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// The cache folder of `tests/setup`.
pub(crate) fn cache() -> PathBuf {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache"),
    };
    base.join("moji-tests")
}

/// The folder that holds the mini distribution (`mini-x86_64` in it).
///
/// # Panics
/// When `tests/setup` has not run.
pub fn mini_folder() -> PathBuf {
    let folder = cache().join("mini");
    // Resolved, so that another checkout's tests/setup cannot change it under a running test.
    folder
        .canonicalize()
        .unwrap_or_else(|_| panic!("no mini distribution at {}: run tests/setup", folder.display()))
}

/// The SRPM of `tests/mini/specs/NAME.spec`.
///
/// # Panics
/// When `tests/setup` has not run or there is no such spec.
pub fn cached_srpm(name: &str) -> PathBuf {
    let file = cache().join("srpms").join(format!("{name}-1.0-1.src.rpm"));
    assert!(file.exists(), "no {}: run tests/setup", file.display());
    file
}

/// The path of the stand-in for mock.
pub fn fake_mock() -> PathBuf {
    sources().join("mini/fake-mock")
}

/// The folder of this crate in the source tree.
pub(crate) fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path of the built program `name` (`moji-server`, `moji-client`), beside this test in
/// cargo's target folder. It is as old as the last `cargo build --workspace`.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a test knows its own path");
    let built = this.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    built
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not built: run cargo build --workspace"))
}
