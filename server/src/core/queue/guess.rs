//! How long packages build that nobody has built, and how fast boards are that nobody has compared: a guess from sizes.
//!
//! Owns sums over what was built while this hub runs, and the line through them. Where every package is built for the
//! first time, no package was built by two boards, so [`super::times`] cannot compare any. But a large SRPM takes longer
//! than a small one, roughly: the logarithm of the seconds is taken to be a number of the board's, plus so much for
//! each e-folding of the size, plus noise. The slope comes from differences within each board (so that it does not
//! matter who gets the large ones), and what is left of a board's mean tells how fast it is.
//!
//! A guess is for who gets what: never for the order, limits or verdicts. It is careful. A board's difference from others
//! counts as far as it is more than chance (the variance between boards by moments, as DerSimonian and Laird, 1986, do it
//! for studies), and not at all where all boards together differ no more than chance would make them.

/// So many builds more than boards must have been measured before anything is guessed.
const LEAST: f64 = 20.0;
/// The slope is drawn to 0 as if so much (builds times squared e-foldings of size) had shown none.
const RIDGE: f64 = 10.0;
/// Boards differ if they do by so many standard deviations more than chance would make them.
const CLEAR: f64 = 3.0;

/// Sums over the builds of one board: x is the logarithm of the SRPM's bytes, y that of the seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Guess {
    boards: Vec<Sums>,
}

/// Slope and start of the line for a board of speed 1; see [`seconds_of`].
pub(super) type Sizes = (f64, f64);

/// The line through it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    slope: f64,
    /// Variance of what the line leaves unexplained.
    noise: f64,
    /// Of each board with builds: its number, how many, and how much longer it takes than all do, as a logarithm.
    boards: Vec<(usize, f64, f64)>,
    /// The mean of all at size 1.
    start: f64,
    /// Variance between boards; none if they differ no more than by chance.
    between: Option<f64>,
}

impl Guess {
    /// A board built an SRPM of this size in so many seconds.
    pub(super) fn built(&mut self, board: usize, bytes: u64, seconds: u32) {
        if self.boards.len() <= board {
            self.boards.resize(board + 1, Sums::default());
        }
        let (x, y) = (ln_of(bytes), f64::from(seconds.max(1)).ln());
        let Sums { n, x: x_sum, y: y_sum, xx, xy, yy } = self.boards[board];
        self.boards[board] =
            Sums { n: n + 1.0, x: x_sum + x, y: y_sum + y, xx: xx + x * x, xy: xy + x * y, yy: yy + y * y };
    }

    /// The line through all that was built, once there is enough.
    pub(super) fn line(&self) -> Option<Line> {
        let used = || self.boards.iter().enumerate().filter(|(_, board)| board.n > 0.0);
        let (mut all, mut boards, mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (_, of) in used() {
            (all, boards) = (all + of.n, boards + 1.0);
            xx += of.xx - of.x * of.x / of.n;
            xy += of.xy - of.x * of.y / of.n;
            yy += of.yy - of.y * of.y / of.n;
        }
        let free = all - boards - 1.0;
        if free < LEAST {
            return None;
        }
        let slope = (xy / (xx + RIDGE)).clamp(0.0, 1.0);
        let noise = ((yy - 2.0 * slope * xy + slope * slope * xx) / free).max(0.0);
        let mean = |of: &Sums| (of.y - slope * of.x) / of.n;
        let start = used().map(|(_, of)| of.n * mean(of)).sum::<f64>() / all;
        let apart: f64 = used().map(|(_, of)| of.n * (mean(of) - start).powi(2)).sum();
        let squares: f64 = used().map(|(_, of)| of.n * of.n).sum();
        let by_chance = (boards - 1.0) * noise;
        let is_clear = apart > by_chance + CLEAR * noise * (2.0 * (boards - 1.0)).sqrt();
        let between = (boards > 1.0 && is_clear).then(|| (apart - by_chance) / (all - squares / all));
        let boards = used().map(|(number, of)| (number, of.n, mean(of) - start)).collect();
        Some(Line { slope, noise, boards, start, between })
    }
}

impl Line {
    /// Speed of each board that is known to differ from the others, which have 1.
    pub(super) fn speeds(&self) -> Option<impl Iterator<Item = (usize, f64)>> {
        let between = self.between?;
        let speed = move |(number, n, longer): &(usize, f64, f64)| {
            (*number, (-longer * between / (between + self.noise / n)).exp())
        };
        Some(self.boards.iter().map(speed))
    }

    /// What an SRPM of each size takes a board of speed 1, where boards have these speeds, for
    /// [`seconds_of`]. That is the mean: the few that take much longer than others of their size count.
    pub(super) fn of_speed_1(&self, speed: impl Fn(usize) -> f64) -> Sizes {
        let all: f64 = self.boards.iter().map(|(_, n, _)| n).sum();
        let normal = self.boards.iter().map(|(number, n, longer)| n * (longer + speed(*number).ln()));
        (self.slope, self.start + normal.sum::<f64>() / all + self.noise / 2.0)
    }
}

/// Seconds that an SRPM of this size takes by that line.
pub(super) fn seconds_of((slope, start): Sizes, bytes: u64) -> f64 {
    (start + slope * ln_of(bytes)).exp()
}

fn ln_of(bytes: u64) -> f64 {
    (bytes.max(1) as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number from a normal distribution (Box and Muller, 1958), the same each time.
    fn normal(dice: &mut u64) -> f64 {
        let mut unit = || {
            *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((*dice >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        };
        let (u, v) = (unit(), unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// So many builds by boards of these speeds; SRPMs of 2 MB take 300 s, e times as large ones e^0.4 times as long.
    fn builds(guess: &mut Guess, speeds: &[f64], count: usize, dice: &mut u64) {
        for n in 0..count {
            let board = n % speeds.len();
            // Slow boards get small ones.
            let size = 1.5 * normal(dice) + speeds[board].ln();
            let seconds = 300.0 * (0.4 * size + 0.9 * normal(dice)).exp() / speeds[board];
            guess.built(board, (2e6 * size.exp()) as u64, seconds as u32);
        }
    }

    #[test]
    fn speeds_and_times_are_guessed_from_sizes_where_nothing_was_built_twice() {
        for seed in 1..20 {
            let (mut guess, mut dice) = (Guess::default(), seed);
            let real = [0.5, 1.0, 2.0, 0.5, 1.0, 2.0];
            builds(&mut guess, &real, 20, &mut dice);
            assert!(guess.line().is_none(), "that is not enough");
            builds(&mut guess, &real, 1_200, &mut dice);
            let line = guess.line().expect("that is enough");
            let speeds: Vec<(usize, f64)> = line.speeds().expect("they differ").collect();
            for ((number, speed), real) in speeds.into_iter().zip(real) {
                assert!((0.7..1.4).contains(&(speed / real)), "seed {seed}: board {number} {speed}");
            }
            let of = line.of_speed_1(|board| real[board]);
            // The mean of what has such noise is e^(0.9² / 2) times the median.
            for (bytes, median) in [(2_000_000, 300.0), (200_000_000, 1_890.0), (20_000, 47.5)] {
                let ratio = seconds_of(of, bytes) / (median * 1.5);
                assert!((0.6..1.6).contains(&ratio), "seed {seed}: {bytes} bytes {ratio}");
            }
        }
    }

    #[test]
    fn boards_that_are_alike_are_not_told_apart_by_chance() {
        let told = (1..=100_u64).filter(|seed| {
            let (mut guess, mut dice) = (Guess::default(), *seed);
            builds(&mut guess, &[1.0; 20], 400, &mut dice);
            guess.line().is_some_and(|line| line.speeds().is_some())
        });
        assert!(told.count() <= 3);
        // One board has nobody to differ from, and what has no size is no error.
        let mut guess = Guess::default();
        (0..100).for_each(|_| guess.built(0, 0, 0));
        let line = guess.line().expect("that is enough");
        assert!(line.speeds().is_none());
        assert!((0.99..1.01).contains(&seconds_of(line.of_speed_1(|_| 1.0), 5_000)));
    }
}
