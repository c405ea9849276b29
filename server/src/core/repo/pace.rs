//! Pauses: after errors, and between what costs readers much.
//!
//! Owns no decision about what is made, only about when.

use moji_proto::Time;

/// Pause after an error, milliseconds. It doubles with every further one up to [`RETRY_MS_MAX`].
const RETRY_MS: u64 = 5_000;
/// Longest such pause, milliseconds: a person who made room need not wait long.
const RETRY_MS_MAX: u64 = 300_000;
/// What is saved up at most: so many follow each other at once after a quiet time.
const TOKENS_MAX: u32 = 10;
/// One more after so many milliseconds.
const TOKEN_MS: u64 = 60_000;

/// Growing pauses after errors.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Errors since the last success.
    errors: u32,
    at: Option<Time>,
}

impl Retry {
    /// It went well.
    pub(super) fn succeeded(&mut self) {
        *self = Retry::default();
    }

    /// It failed. Gives the pause, milliseconds.
    pub(super) fn failed(&mut self, now: Time) -> u64 {
        let pause_ms = (RETRY_MS << self.errors.min(16)).min(RETRY_MS_MAX);
        self.errors += 1;
        self.at = Some(now.plus_ms(pause_ms));
        pause_ms
    }

    /// When the pause ends, if there is one at `now`.
    pub(super) fn until(&self, now: Time) -> Option<Time> {
        self.at.filter(|at| *at > now)
    }
}

/// A bucket of tokens.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: u32,
    /// When the last one was added.
    since: Time,
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket { tokens: TOKENS_MAX, since: Time(0) }
    }
}

impl Bucket {
    fn refill(&mut self, now: Time) {
        let more = now.since_ms(self.since) / TOKEN_MS;
        self.tokens = TOKENS_MAX.min(self.tokens.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)));
        self.since = if self.tokens == TOKENS_MAX { now } else { self.since.plus_ms(more * TOKEN_MS) };
    }

    /// When there will be a token; None if there is one at `now`.
    pub(super) fn wait(&self, now: Time) -> Option<Time> {
        let at = self.since.plus_ms(TOKEN_MS);
        (self.tokens == 0 && at > now).then_some(at)
    }

    /// Takes a token, which must be there.
    pub(super) fn take(&mut self, now: Time) {
        self.refill(now);
        self.tokens = self.tokens.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_at_once_and_then_one_a_minute() {
        let mut bucket = Bucket::default();
        for _ in 0..10 {
            assert_eq!(bucket.wait(Time(7)), None);
            bucket.take(Time(7));
        }
        for minute in 1..4 {
            let at = Time(7 + minute * TOKEN_MS);
            assert_eq!(bucket.wait(Time(at.0 - 1)), Some(at));
            assert_eq!(bucket.wait(at), None);
            bucket.take(at);
        }
        // Three are saved up in three minutes and a half, and no more than ten ever.
        let later = Time(7 + 6 * TOKEN_MS + TOKEN_MS / 2);
        for _ in 0..3 {
            assert_eq!(bucket.wait(later), None);
            bucket.take(later);
        }
        assert_eq!(bucket.wait(later), Some(Time(7 + 7 * TOKEN_MS)));
        let late = Time(1_000 * TOKEN_MS);
        (0..10).for_each(|_| bucket.take(late));
        assert_eq!(bucket.wait(late), Some(late.plus_ms(TOKEN_MS)));
    }
}
