//! What the history tells in numbers, for plots.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Verdict, When};
use crate::history::{BOUNDS_S, Numbers, Sum, Tried};

/// The history in numbers.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct History {
    /// Each day on which an attempt ended (UTC), oldest first.
    pub days: Vec<Day>,
    /// Why attempts failed in these days, the most frequent first; at most 50.
    pub reasons: Vec<FailureReason>,
    /// How long successful builds took in these days.
    pub durations: Vec<Duration>,
    /// What each builder did in these days, the most builds first; at most 200.
    pub builders: Vec<BuilderDays>,
    /// The newest attempts that ended, newest first; at most 100.
    pub newest: Vec<Try>,
}

/// A day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Day {
    /// `2026-11-22`, in UTC.
    pub date: String,
    /// Attempts that ended on it, by verdict.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub attempts: BTreeMap<Verdict, u32>,
    /// Build time of them together.
    pub build_s: u64,
}

/// Why attempts failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailureReason {
    /// What the hub ruled.
    pub verdict: Verdict,
    /// In words.
    pub reason: String,
    /// How many attempts.
    pub attempts: u32,
    /// Of how many packages.
    pub packages: u32,
    /// The newest of them.
    pub last: Option<When>,
}

/// Builds that took about so long.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Duration {
    /// At most so long; null means longer than all others.
    pub at_most_s: Option<u32>,
    /// How many took so long, but longer than the one before this allows.
    pub builds: u32,
}

/// What a builder did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BuilderDays {
    /// Its host name; its key if it has none.
    pub builder: String,
    /// Attempts that ended, by verdict.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub attempts: BTreeMap<Verdict, u32>,
    /// Build time of them together.
    pub build_s: u64,
}

/// One attempt among those of other packages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Try {
    /// File name of the SRPM.
    pub srpm: String,
    /// The lease.
    pub lease: String,
    /// Host name of the builder.
    pub builder: Option<String>,
    /// When it began.
    pub began: Option<When>,
    /// When it ended.
    pub ended: Option<When>,
    /// From mock's start to its end.
    pub duration_s: Option<u32>,
    /// What the hub ruled.
    pub verdict: Option<Verdict>,
    /// In words.
    pub reason: Option<String>,
}

impl From<Tried> for Try {
    fn from(tried: Tried) -> Try {
        let some = |text: String| (!text.is_empty()).then_some(text);
        Try {
            srpm: tried.srpm,
            lease: tried.lease,
            builder: some(tried.builder),
            began: When::of_s(tried.began_unix_s),
            ended: When::of_s(tried.ended_unix_s),
            duration_s: (tried.seconds != 0).then_some(tried.seconds),
            verdict: tried.verdict.map(Into::into),
            reason: some(tried.reason),
        }
    }
}

impl From<Numbers> for History {
    fn from(numbers: Numbers) -> History {
        let day = |(date, attempts, build_s)| Day { date, attempts, build_s };
        let builder = |(builder, attempts, build_s)| BuilderDays { builder, attempts, build_s };
        let reason = |reason: crate::history::Reason| FailureReason {
            verdict: reason.verdict.into(),
            reason: reason.reason,
            attempts: reason.attempts,
            packages: reason.packages,
            last: When::of_s(reason.last_unix_s),
        };
        let bounds = BOUNDS_S.into_iter().map(Some).chain([None]);
        let durations = bounds.zip(numbers.durations);
        let mut builders: Vec<BuilderDays> = together(numbers.builders).into_iter().map(builder).collect();
        let count = |builder: &BuilderDays| builder.attempts.values().map(|n| u64::from(*n)).sum::<u64>();
        builders.sort_by_key(|builder| std::cmp::Reverse(count(builder)));
        History {
            days: together(numbers.days).into_iter().map(day).collect(),
            reasons: numbers.reasons.into_iter().map(reason).collect(),
            durations: durations.map(|(at_most_s, builds)| Duration { at_most_s, builds }).collect(),
            builders,
            newest: numbers.newest.into_iter().map(Try::from).collect(),
        }
    }
}

/// Sums of one thing, which stand together, as one.
fn together(sums: Vec<Sum>) -> Vec<(String, BTreeMap<Verdict, u32>, u64)> {
    let mut all: Vec<(String, BTreeMap<Verdict, u32>, u64)> = Vec::new();
    for Sum { of, verdict, attempts, build_s } in sums {
        if all.last().is_none_or(|(last, ..)| *last != of) {
            all.push((of, BTreeMap::new(), 0));
        }
        if let Some((_, verdicts, total)) = all.last_mut() {
            verdicts.insert(verdict.into(), attempts);
            *total += build_s;
        }
    }
    all
}
