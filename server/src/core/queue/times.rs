//! How long packages build, and how fast boards are.
//!
//! Owns what results showed: of each source package the last builds, each on another builder, and of each builder its
//! speed. A time is *normalised* when it is multiplied by the speed of the builder that took it.
//!
//! Speed: a builder starts at that of its kind (see [`Times::speed`]). Whenever a package was built by two builders in
//! times `t` and `u`, the one with fewer such comparisons learns: the second one's speed is the first one's times `t / u`.
//! Its speed is the median of the last [`SAMPLES_MAX`] of these, so that one build that swapped, or one package that
//! scales with processors, does not move it far. Only ratios of speeds mean anything.
//!
//! Where nothing was built twice, sizes of SRPMs tell roughly how fast boards are, and how long what was never built takes
//! (`guess.rs`). Guesses are made anew with each look at all chains.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::guess::{Guess, Sizes};
use super::limits::Earlier;
use crate::core::types::BuilderId;

/// So many builds of a package are remembered: the last, each on another builder.
const BUILDS_MAX: usize = 4;
/// So many comparisons of a builder are remembered.
const SAMPLES_MAX: usize = 15;
/// No board is more than so many times as fast or as slow as another.
const RATIO_MAX: f64 = 64.0;
/// A build shorter than this tells of mock and not of the package or the board, seconds.
const TELLING_S: u32 = 5;

/// So many comparisons make a builder's own speed sure.
const SURE_SAMPLES: usize = 3;
/// So many times as fast is clearly faster.
const FASTER: f64 = 1.25;

/// A build that was measured.
#[derive(Clone, Copy, Debug)]
struct Build {
    board: u16,
    seconds: u32,
    /// The longest silence; 0 if unknown.
    silent_s: u32,
}

/// A builder.
#[derive(Clone, Debug)]
struct Board {
    /// Processors and memory: boards that agree in both are of a kind.
    kind: (u16, u32),
    samples: Vec<f64>,
}

/// What is known of times and speeds.
#[derive(Debug, Default)]
pub(super) struct Times {
    builds: BTreeMap<Box<str>, Vec<Build>>,
    boards: Vec<Board>,
    number: BTreeMap<BuilderId, u16>,
    /// Of each board; none before the first comparison or guess.
    speeds: Vec<f64>,
    guess: Guess,
    /// What sizes tell of each board's speed.
    guessed: BTreeMap<u16, f64>,
    /// What they tell of a build by a board of speed 1.
    sizes: Option<Sizes>,
}

/// What many sources take, seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Built {
    count: usize,
    sum: f64,
    longest: f64,
}

impl Built {
    fn add(&mut self, seconds: f64) {
        *self = Built { count: self.count + 1, sum: self.sum + seconds, longest: self.longest.max(seconds) };
    }

    /// How many sources they are of.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The longest, if there is any.
    pub(super) fn longest_s(&self) -> Option<f64> {
        (self.count > 0).then_some(self.longest)
    }

    /// The mean, if there is any.
    pub(super) fn mean_s(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl Times {
    /// A builder is of this kind.
    pub(super) fn is_of_kind(&mut self, id: BuilderId, cpus: u16, memory_mib: u32) {
        let at = self.board(id);
        self.boards[usize::from(at)].kind = (cpus, memory_mib);
        if self.has_speeds() {
            self.work_out();
        }
    }

    /// A source package was built in so many seconds, and silent for so many at most (0 if unknown).
    pub(super) fn built(&mut self, source: &str, id: BuilderId, seconds: u32, silent_s: u32) {
        let (board, seconds) = (self.board(id), seconds.max(1));
        let builds = match self.builds.get_mut(source) {
            Some(builds) => builds,
            None => self.builds.entry(source.into()).or_insert_with(|| Vec::with_capacity(1)),
        };
        builds.retain(|build| build.board != board);
        let others = builds.clone();
        if builds.len() == BUILDS_MAX {
            builds.remove(0);
        }
        let build = Build { board, seconds, silent_s };
        builds.push(build);
        for other in others {
            if seconds.min(other.seconds) >= TELLING_S {
                self.compare(other, build);
            }
        }
    }

    /// A builder has built an SRPM of this size in so many seconds.
    pub(super) fn built_of_size(&mut self, id: BuilderId, bytes: u64, seconds: u32) {
        let board = self.board(id);
        self.guess.built(usize::from(board), bytes, seconds);
    }

    /// Guesses anew.
    pub(super) fn guess_anew(&mut self) {
        let Some(line) = self.guess.line() else { return };
        self.guessed.clear();
        if let Some(speeds) = line.speeds() {
            let speeds = speeds.filter_map(|(number, speed)| Some((u16::try_from(number).ok()?, speed)));
            self.guessed.extend(speeds);
        }
        if self.has_speeds() || !self.guessed.is_empty() {
            self.work_out();
        }
        let speed = |number: usize| u16::try_from(number).map_or(1.0, |number| self.speed_of(number));
        self.sizes = Some(line.of_speed_1(speed));
    }

    /// How what was never built is guessed, if it can be.
    pub(super) fn sizes(&self) -> Option<Sizes> {
        self.sizes
    }

    /// A builder's speed: its own, else what sizes tell, else the median of those of its kind, else of all, else 1.
    pub(super) fn speed(&self, id: BuilderId) -> f64 {
        self.number.get(&id).map_or(1.0, |number| self.speed_of(*number))
    }

    /// Whether any builder differs from another.
    pub(super) fn has_speeds(&self) -> bool {
        !self.speeds.is_empty()
    }

    /// Normalised build time of a source package, seconds; the middle one of what was measured.
    pub(super) fn seconds(&self, source: &str) -> Option<f64> {
        let builds = self.builds.get(source)?;
        median(builds.iter().map(|build| f64::from(build.seconds) * self.speed_of(build.board)))
    }

    /// What the remembered builds of a source package tell of the next one by this builder.
    pub(super) fn earlier(&self, source: &str, id: BuilderId) -> Vec<Earlier> {
        let number = self.number.get(&id).copied();
        let tell = |build: &Build| {
            let is_own = number == Some(build.board);
            let is_sure =
                is_own || (self.is_compared(build.board) && number.is_some_and(|one| self.is_compared(one)));
            let factor = if is_own { 1.0 } else { self.speed_of(build.board) / self.speed(id) };
            let factor = if is_sure { factor } else { factor.max(1.0) };
            let on_it = |s: u32| f64::from(s) * factor;
            Earlier { took_s: on_it(build.seconds), silent_s: on_it(build.silent_s), is_sure }
        };
        self.builds.get(source).map(|builds| builds.iter().map(tell).collect()).unwrap_or_default()
    }

    /// Whether one builder is known to be clearly faster than another.
    pub(super) fn is_faster(&self, id: BuilderId, than: BuilderId) -> bool {
        self.speed(id) > self.speed(than) * FASTER
    }

    fn is_compared(&self, number: u16) -> bool {
        self.boards.get(usize::from(number)).is_some_and(|board| board.samples.len() >= SURE_SAMPLES)
    }

    /// Whether any build is known.
    pub(super) fn has_any(&self) -> bool {
        !self.builds.is_empty()
    }

    /// Adds so many after this source to `all`; gives the last of them if there are more.
    pub(super) fn add_after(&self, source: Option<&str>, count: usize, all: &mut Built) -> Option<Box<str>> {
        let from = source.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.builds.range::<str, _>((from, Bound::Unbounded)).map(|(source, _)| source);
        let mut last = None;
        for source in rest.by_ref().take(count) {
            self.seconds(source).into_iter().for_each(|seconds| all.add(seconds));
            last = Some(source);
        }
        rest.next().and(last).cloned()
    }

    fn board(&mut self, id: BuilderId) -> u16 {
        if let Some(number) = self.number.get(&id) {
            return *number;
        }
        let Ok(number) = u16::try_from(self.boards.len()) else { return 0 };
        self.boards.push(Board { kind: (0, 0), samples: Vec::new() });
        self.number.insert(id, number);
        if self.has_speeds() {
            self.work_out();
        }
        number
    }

    fn speed_of(&self, number: u16) -> f64 {
        self.speeds.get(usize::from(number)).copied().unwrap_or(1.0)
    }

    /// Works all speeds out.
    fn work_out(&mut self) {
        let mut own: Vec<Option<f64>> =
            self.boards.iter().map(|board| median(board.samples.iter().copied())).collect();
        // Guessed speeds go by their mean, compared ones by the first board's.
        let both = self.guessed.iter().filter_map(|(number, guess)| Some(own[usize::from(*number)]? / guess));
        let unit = median(both).unwrap_or(1.0);
        for (number, guess) in &self.guessed {
            own[usize::from(*number)].get_or_insert((guess * unit).clamp(1.0 / RATIO_MAX, RATIO_MAX));
        }
        let mut kinds: BTreeMap<(u16, u32), Vec<f64>> = BTreeMap::new();
        for (board, speed) in self.boards.iter().zip(&own) {
            kinds.entry(board.kind).or_default().extend(speed);
        }
        let kinds: BTreeMap<(u16, u32), Option<f64>> =
            kinds.into_iter().map(|(kind, speeds)| (kind, median(speeds.into_iter()))).collect();
        let all = median(own.iter().copied().flatten()).unwrap_or(1.0);
        let boards = self.boards.iter().zip(own);
        self.speeds = boards.map(|(board, own)| own.or(kinds[&board.kind]).unwrap_or(all)).collect();
    }

    fn compare(&mut self, before: Build, now: Build) {
        let samples = |build: Build| self.boards[usize::from(build.board)].samples.len();
        let (teacher, learner) = if samples(before) < samples(now) { (now, before) } else { (before, now) };
        let ratio = f64::from(teacher.seconds) / f64::from(learner.seconds);
        let speed = self.speed_of(teacher.board) * ratio;
        // Whoever teaches with nothing to go by is what others are measured against.
        for (board, speed) in [(teacher, self.speed_of(teacher.board)), (learner, speed)] {
            let samples = &mut self.boards[usize::from(board.board)].samples;
            if board.board == learner.board || samples.is_empty() {
                if samples.len() == SAMPLES_MAX {
                    samples.remove(0);
                }
                samples.push(speed.clamp(1.0 / RATIO_MAX, RATIO_MAX));
            }
        }
        self.work_out();
    }
}

/// The middle one; of two the larger.
fn median(of: impl Iterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = of.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use moji_proto::PublicKey;

    use super::*;

    fn id(n: u8) -> BuilderId {
        PublicKey([n; 32])
    }

    #[test]
    fn speeds_are_learned_from_the_same_packages_on_different_boards() {
        let mut times = Times::default();
        let real = [1.0, 2.0, 0.25, 0.5, 2.0];
        times.built("alone", id(0), 300, 0);
        assert!(!times.has_speeds());
        assert_eq!(
            (times.speed(id(0)), times.seconds("alone"), times.seconds("other")),
            (1.0, Some(300.0), None)
        );
        // Each package on two boards, one build in eight five times as long as it should be.
        for n in 0..200_u32 {
            for board in [n % 5, (n / 5 + n + 1) % 5] {
                let slow = if (n + board) % 8 == 0 { 5.0 } else { 1.0 };
                let seconds = f64::from(100 + n * 13) / real[board as usize] * slow;
                times.built(&format!("p{n}"), id(board as u8), seconds as u32, 0);
            }
        }
        for (n, real) in (0..).zip(real) {
            let speed = times.speed(id(n)) / times.speed(id(0)) / real;
            assert!((0.9..1.1).contains(&speed), "{n}: {speed}");
        }
        // Measured on the slow board, told for a board like the first.
        times.built("q", id(2), 4_000, 0);
        let seconds = times.seconds("q").unwrap() / times.speed(id(0));
        assert!((900.0..1_100.0).contains(&seconds), "{seconds}");
        // The longest of all, in one go and in pieces.
        let mut whole = Built::default();
        assert!(times.add_after(None, 1_000, &mut whole).is_none());
        assert!(whole.longest_s() >= times.seconds("p199"));
        let (mut all, mut after) = (Built::default(), None);
        loop {
            after = times.add_after(after.as_deref(), 3, &mut all);
            if after.is_none() {
                break;
            }
        }
        assert_eq!((all.longest_s(), all.mean_s()), (whole.longest_s(), whole.mean_s()));
    }

    #[test]
    fn a_board_that_was_never_compared_is_as_fast_as_its_kind() {
        let mut times = Times::default();
        (0..3).for_each(|n| times.is_of_kind(id(n), 4, 1024));
        times.is_of_kind(id(3), 1, 128);
        times.built("a", id(0), 100, 0);
        times.built("a", id(3), 400, 0);
        let ratio = |a, b| times.speed(id(a)) / times.speed(id(b));
        assert_eq!([ratio(0, 3), ratio(1, 3), ratio(2, 0)], [4.0, 4.0, 1.0]);
        // That is not sure enough to allow it less than was measured.
        times.built("b", id(3), 400, 40);
        let want = |took_s, silent_s, is_sure| vec![Earlier { took_s, silent_s, is_sure }];
        assert_eq!(times.earlier("b", id(1)), want(400.0, 40.0, false));
        assert_eq!(times.earlier("b", id(3)), want(400.0, 40.0, true));
        times.built("c", id(1), 400, 0);
        assert_eq!(times.earlier("c", id(3)), want(1_600.0, 0.0, false));
    }

    #[test]
    fn times_that_tell_nothing_move_nothing() {
        let mut times = Times::default();
        times.built("a", id(0), 0, 0);
        times.built("a", id(1), 4, 0);
        assert!(!times.has_speeds());
        times.built("b", id(0), u32::MAX, 0);
        times.built("b", id(1), 5, 0);
        assert_eq!(times.speed(id(1)) / times.speed(id(0)), RATIO_MAX);
    }
}
