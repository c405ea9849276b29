//! The clock, behind a trait.
//!
//! Owns the only two ways to learn the time. Cores are handed the result and never ask.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use moji_proto::Time;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Monotonic time of this run.
    fn now(&self) -> Time;
    /// Wall clock, unix seconds.
    fn unix_s(&self) -> u64;
    /// Wall clock, unix milliseconds.
    fn unix_ms(&self) -> u64 {
        self.unix_s().saturating_mul(1_000)
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Time {
        (**self).now()
    }

    fn unix_s(&self) -> u64 {
        (**self).unix_s()
    }

    fn unix_ms(&self) -> u64 {
        (**self).unix_ms()
    }
}

/// The machine's own clock.
#[derive(Debug)]
pub struct Real {
    start: Instant,
}

impl Default for Real {
    fn default() -> Real {
        Real { start: Instant::now() }
    }
}

impl Clock for Real {
    fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn unix_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
