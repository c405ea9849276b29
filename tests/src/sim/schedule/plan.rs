//! What is to be built on what, and the time that no order can beat.
//!
//! Owns what chance decides before anything runs: a scheduler that asks twice, or in another order, finds the same
//! packages, the same boards away at the same times and the same faults.

use crate::sim::dice::Dice;

/// Speeds of boards: slow, middling and fast.
const SPEEDS: [f64; 3] = [0.5, 1.0, 2.0];
/// Every build takes this long at least, seconds on a board of speed 1: mock's chroot.
const BUILD_MIN_S: f64 = 20.0;
/// Half of the packages take less than this beside that, seconds on a board of speed 1.
const BUILD_MEDIAN_S: f64 = 300.0;
/// Standard deviation of the logarithm: one in six takes three times the median, one in a thousand forty times.
const BUILD_SIGMA: f64 = 1.2;
/// Bytes of an SRPM for each second of its build, in the middle.
const BYTES_EACH_S: f64 = 1e4;
/// Standard deviation of the logarithm around that. The correlation of the logarithms of size and time is then
/// 1.2 / √(1.2² + 1.6²) = 0.6. That is assumed, not measured: sizes shall tell something, and not much (a large SRPM may
/// hold nothing but fonts, a small one C++ that takes hours).
const SIZE_SIGMA: f64 = 1.6;
/// So many packages need nothing of the distribution's own.
const ROOTS: usize = 10;
/// Names of mainline's that packages need beside that.
pub(super) const MAINLINE: usize = 200;
/// Chances in a million: a BuildRequires that no header has.
const HIDDEN_PPM: u32 = 50_000;
/// A package on which at most [`FEW`] depend and that cannot be built.
const FAILS_PPM: u32 = 40_000;
/// One of these that needs what nobody provides.
const MISSING_PPM: u32 = 10_000;
/// A broken foundation would leave nothing to compare.
const FEW: usize = 1;
/// A build that ends in an infra fault.
const INFRA_PPM: u32 = 5_000;
/// A board that vanishes for hours, and one that vanishes for ever.
const VANISHES_PPM: u32 = 100_000;
const DIES_PPM: u32 = 30_000;
/// Half of those that come back do so within this, seconds.
const AWAY_MEDIAN_S: f64 = 7_200.0;

/// A source package.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) name: String,
    /// On a board of speed 1, seconds.
    pub(super) seconds: f64,
    /// Of the SRPM, bytes.
    pub(super) size: u64,
    /// Numbers of packages, and whether its header says so.
    pub(super) needs: Vec<(usize, bool)>,
    /// Numbers of mainline's names.
    pub(super) mainline: Vec<usize>,
    /// It needs what nobody provides.
    pub(super) misses: bool,
    /// It fails by its own fault.
    pub(super) fails: bool,
    /// Build time that an earlier round would have found, seconds on a board of speed 1; none if it is new.
    pub(super) learned_s: Option<f64>,
}

/// The whole.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) packages: Vec<Package>,
    /// Speed, and when it vanishes and comes back, seconds.
    pub(super) boards: Vec<(f64, Option<(f64, f64)>)>,
    /// Whether each is tried with success or without by whoever tries all that can be.
    can_be_tried: Vec<bool>,
}

impl Plan {
    /// A distribution: a few foundations that much needs, chains some thirty deep, build times of some minutes with a
    /// tail of hours, sizes that have something to do with them.
    pub(super) fn draw(seed: u64, packages: usize, boards: usize) -> Plan {
        let mut dice = Dice::new(seed);
        // The order of names, in which packages come, is not that of dependencies.
        let mut names: Vec<String> = (0..packages).map(|n| format!("p{n:05}")).collect();
        (1..packages).for_each(|n| names.swap(n, dice.below(n as u64 + 1) as usize));
        let mut packages: Vec<Package> =
            names.into_iter().enumerate().map(|(n, name)| package(n, name, &mut dice)).collect();
        let mut behind = vec![0; packages.len()];
        packages.iter().flat_map(|one| &one.needs).for_each(|(need, _)| behind[*need] += 1);
        for (package, behind) in packages.iter_mut().zip(behind) {
            package.fails = behind <= FEW && dice.chance(FAILS_PPM);
            package.misses = behind <= FEW && dice.chance(MISSING_PPM);
        }
        let mut can_be_tried = vec![false; packages.len()];
        for n in 0..packages.len() {
            let needs = packages[n].needs.iter();
            let is_built = |n: usize| can_be_tried[n] && !packages[n].fails;
            can_be_tried[n] = !packages[n].misses && needs.clone().all(|(need, _)| is_built(*need));
        }
        let mut plan = Plan { seed, packages, boards: Vec::new(), can_be_tried };
        plan.boards = (0..boards).map(|board| (SPEEDS[board % SPEEDS.len()], None)).collect();
        let end_s = plan.bound_s();
        for (_, away) in &mut plan.boards {
            let from_s = dice.below(end_s as u64) as f64;
            let (dies, vanishes) = (dice.chance(DIES_PPM), dice.chance(VANISHES_PPM));
            let for_s = dice.log_normal(AWAY_MEDIAN_S, 0.7);
            *away = match (dies, vanishes) {
                (true, _) => Some((from_s, f64::INFINITY)),
                (_, true) => Some((from_s, from_s + for_s)),
                _ => None,
            };
        }
        // Somebody must be left.
        plan.boards[0].1 = None;
        plan
    }

    /// Whether whoever tries all that can be tried builds it, or finds that it fails.
    pub(super) fn can_be_tried(&self, package: usize) -> bool {
        self.can_be_tried[package]
    }

    /// Whether this attempt at a package ends in an infra fault.
    pub(super) fn is_infra(&self, package: usize, attempt: usize) -> bool {
        let mixed = self.seed ^ ((package as u64) << 32) ^ ((attempt as u64) << 20);
        Dice::new(mixed).chance(INFRA_PPM)
    }

    /// No order can be faster: the longest chain on the fastest board, or all work on all boards while they are there,
    /// seconds.
    pub(super) fn bound_s(&self) -> f64 {
        let (mut ends, mut work) = (vec![0.0_f64; self.packages.len()], 0.0);
        for (n, package) in self.packages.iter().enumerate().filter(|(n, _)| self.can_be_tried[*n]) {
            let start = package.needs.iter().map(|(need, _)| ends[*need]).fold(0.0, f64::max);
            ends[n] = start + package.seconds;
            work += package.seconds;
        }
        let longest = ends.into_iter().fold(0.0, f64::max) / SPEEDS[SPEEDS.len() - 1];
        longest.max(self.all_work_s(work))
    }

    /// When all boards together have done so much.
    fn all_work_s(&self, work: f64) -> f64 {
        // Moments at which the speed of all boards changes, and by how much.
        let mut changes: Vec<(f64, f64)> = Vec::new();
        for (speed, away) in &self.boards {
            changes.push((0.0, *speed));
            changes.extend(away.iter().flat_map(|(from, to)| [(*from, -speed), (*to, *speed)]));
        }
        changes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut at, mut speed, mut left) = (0.0, 0.0, work);
        for (when, by) in changes {
            if speed > 0.0 && left <= (when - at) * speed {
                break;
            }
            left -= (when - at) * speed;
            (at, speed) = (when, speed + by);
        }
        at + left / speed
    }
}

fn package(n: usize, name: String, dice: &mut Dice) -> Package {
    let seconds = BUILD_MIN_S + dice.log_normal(BUILD_MEDIAN_S, BUILD_SIGMA);
    let size = (seconds * dice.log_normal(BYTES_EACH_S, SIZE_SIGMA)) as u64;
    let wanted = if n < ROOTS { 0 } else { dice.below(6) };
    // Foundations are needed more often than others.
    let share = |dice: &mut Dice| dice.below(1 << 30) as f64 / f64::from(1 << 30);
    let mut needs: Vec<(usize, bool)> =
        (0..wanted).map(|_| ((n as f64 * share(dice).powi(3)) as usize, !dice.chance(HIDDEN_PPM))).collect();
    needs.sort_unstable();
    needs.dedup_by_key(|need| need.0);
    let mainline = (0..dice.below(8)).map(|_| dice.below(MAINLINE as u64) as usize).collect();
    // One in thirty is new; the others took about as long before.
    let learned_s = (dice.below(30) > 0).then(|| seconds * dice.log_normal(1.0, 0.15));
    Package { name, seconds, size, needs, mainline, misses: false, fails: false, learned_s }
}
