//! How much of their many stories tests play that take them by the hundred: all, unless somebody wants it cheaper.
//! Owns that one number; must never decide what a single story checks.

use std::sync::OnceLock;

/// `all`, or the share of it that `MOJI_MODEL_SHARE=N` leaves (one in N, at least one). For those who run the tests
/// thousands of times, as tests/mutants does.
pub(crate) fn share_of(all: u64) -> u64 {
    static ONE_IN: OnceLock<u64> = OnceLock::new();
    let one_in = ONE_IN.get_or_init(|| {
        std::env::var("MOJI_MODEL_SHARE")
            .map_or(1, |text| text.parse().expect("MOJI_MODEL_SHARE is a number"))
    });
    (all / one_in).max(1)
}
