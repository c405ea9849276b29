//! How long builds take, and all of them together, as far as learned times tell.
//!
//! Owns no state: an estimate is made from the queue and decides nothing. Times of packages that were never built are
//! taken to be the mean of all that were measured.
//!
//! The end of the whole set is the later of two moments, both of which no farm can beat:
//!
//! - the work that is left, in normalised seconds (`times.rs`), over the speeds of all builders that take work: as if
//!   nobody ever waited;
//! - the longest way: the builds that look as if they had to follow each other (`chain.rs`, a circle counted as its
//!   longest member), on the fastest of these builders, and what is left of the longest build that runs.
//!
//! What waits for capabilities counts if a package that waits or is built looks as if it provided them; else it cannot
//! be built as things are. Builds that fail and are tried again are not foreseen.

use moji_proto::{FileName, Time};

use super::Queue;
use super::look::seconds;
use super::matching::OVERDUE;
use super::order::stem;
use super::package::{Hold, Package, State};

/// What some packages have left to do, in normalised seconds.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Of all packages.
    work_s: f64,
    /// Of the longest way.
    way_s: f64,
    /// What the longest build that runs still takes on its builder.
    build_s: f64,
    packages: usize,
}

impl Queue {
    /// How long the build of a leased package is expected to take on its builder, seconds; 0 if it is not leased, or
    /// nothing is known of it.
    pub(super) fn expected_s(&self, name: &FileName, package: &Package) -> u32 {
        let State::Leased(leased) = &package.state else { return 0 };
        let own_s = self.times.seconds(source(name, package));
        own_s.map_or(0, |own_s| whole(own_s / self.times.speed(leased.builder)))
    }

    /// Seconds until all is built that can be built, which has so much left; 0 if that is unknown: no time was learned
    /// yet, nobody builds, nothing may be leased, or nothing is left.
    pub(super) fn ends_in_s(&self, now: Time, left: &Left) -> u32 {
        if self.blocked().is_some() {
            return 0;
        }
        let serving =
            self.standing.all.iter().filter(|(id, b)| b.is_willing(now) && self.is_for_target(**id));
        let (mut together, mut fastest) = (0.0, 0.0_f64);
        for speed in serving.map(|(id, _)| self.times.speed(*id)) {
            together += speed;
            fastest = fastest.max(speed);
        }
        if fastest <= 0.0 || left.packages == 0 {
            return 0;
        }
        whole((left.work_s / together).max(left.way_s / fastest).max(left.build_s))
    }

    /// Adds what a package has left, if it comes. `mean_s` is the mean of all that was measured, if anything was: it costs
    /// a walk through all of it, so whoever asks for many packages has it once.
    pub(super) fn add_left(
        &self,
        left: &mut Left,
        now: Time,
        mean_s: Option<f64>,
        (name, package): (&FileName, &Package),
    ) {
        let Some(mean_s) = mean_s.filter(|_| self.comes(name, package)) else { return };
        let own_s = self.times.seconds(source(name, package)).unwrap_or(mean_s);
        let mut done_s = 0.0;
        if let State::Leased(leased) = &package.state {
            let speed = self.times.speed(leased.builder);
            let taken_s = (now.since_ms(package.since.0) / 1_000 + package.since.1) as f64;
            let build_s = match own_s / speed - taken_s {
                left_s if left_s > 0.0 => left_s,
                _ => taken_s * OVERDUE,
            };
            left.build_s = left.build_s.max(build_s);
            done_s = own_s - build_s * speed;
        }
        left.packages += 1;
        left.work_s += own_s - done_s;
        left.way_s = left.way_s.max(self.chain.way_s(name) - done_s);
    }

    /// Whether a package is built some day if all goes well.
    fn comes(&self, name: &FileName, package: &Package) -> bool {
        match &package.state {
            State::Waiting | State::Claimed { .. } | State::Leased(_) | State::Returning { .. } => true,
            State::Held(Hold::Behind { .. }) => true,
            State::Held(Hold::Deps { .. }) => self.chain.place(name).blocked > 0,
            State::Held(Hold::Duplicate { .. })
            | State::Gone
            | State::Unusable { .. }
            | State::Retiring
            | State::Finished => false,
        }
    }
}

/// Name of the source package; of one that was leased before this run saw its file, as the file name has it.
fn source<'a>(name: &'a FileName, package: &'a Package) -> &'a str {
    match &package.srpm {
        Some(srpm) => &srpm.facts.nevra.name,
        None => stem(name.as_str()).rsplitn(3, '-').nth(2).unwrap_or_default(),
    }
}

/// A second at least: 0 is unknown.
fn whole(s: f64) -> u32 {
    seconds(s.ceil() as u64).max(1)
}
