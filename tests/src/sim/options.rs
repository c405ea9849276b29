//! What a seed draws: the farm, and which faults happen to it how often.
//!
//! Owns the drawing. Swarm testing (Groce et al., 2012): each kind of fault is on in some runs and off in
//! others, because a run with all of them seldom gets far enough to find what needs only one.

use super::dice::Dice;

/// Latency, splitting and room of the network.
#[derive(Clone, Debug)]
pub struct Network {
    /// Shortest and longest way of a piece, milliseconds.
    pub latency_ms: (u64, u64),
    /// A write is cut into two pieces at a drawn byte, so often in a million.
    pub split: u32,
    /// What one direction holds, bytes.
    pub buffer_bytes: usize,
}

/// What a package is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Builds.
    Good,
    /// Fails of its own.
    Failing,
    /// Builds once this package is published.
    Needs(usize),
    /// Needs what nobody provides.
    NeedsNothingThere,
    /// Its builder sends packages of another source.
    Foreign,
    /// Its builder sends a damaged RPM.
    Damaged,
    /// Runs out of memory on boards with less, MiB.
    Large(u32),
}

/// One package.
#[derive(Clone, Debug)]
pub struct Package {
    /// What it is like.
    pub nature: Nature,
    /// Length of its payload, bytes.
    pub payload_bytes: usize,
    /// Length of its build.log, bytes.
    pub log_bytes: usize,
    /// When it is dropped into `source/`, milliseconds.
    pub dropped_ms: u64,
    /// How long it builds, milliseconds.
    pub build_ms: u64,
}

/// How often what happens, in a million, and what else a run draws.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// All packages.
    pub packages: Vec<Package>,
    /// Memory of each board, MiB.
    pub boards: Vec<u32>,
    /// `--duplicate-last`; then the hub believes that each board is twice as fast as the one before it, and that builds
    /// take long: every board that idles at the end gets a copy of what a slower one builds.
    pub duplicate_last: bool,
    /// A build with a thin repository lacks something, so often in a million; at 0 nobody gets one.
    pub thin: u32,
    /// Speed of each board in per cent of the one for which build times are given; empty if they are by chance.
    pub speeds: Vec<u32>,
    /// How long there are faults, milliseconds.
    pub faults_ms: u64,
    /// How the network is while there are.
    pub network: Network,
    /// `--lease-grace`, milliseconds.
    pub grace_ms: u64,
    /// `--retry-pause`, milliseconds.
    pub retry_pause_ms: u64,
    /// Whether messages between cores are handled in the order of their sending over all cores, or cores
    /// take turns by chance.
    pub fifo: bool,
    /// An actor pauses before a message.
    pub pause: u32,
    /// The hub is killed before an effect.
    pub hub_kill: u32,
    /// Instead of being killed, the hub loses power.
    pub hub_power: u32,
    /// The hub's disk: ENOSPC, EIO, power at a call.
    pub disk: [u32; 3],
    /// The hub's disk is full for a while, every so many milliseconds; 0 for never.
    pub full_every_ms: u64,
    /// Something happens to a connection every so many milliseconds; 0 for never.
    pub network_fault_every_ms: u64,
    /// Nobody reaches the hub for a while, every so many milliseconds; 0 for never.
    pub outage_every_ms: u64,
    /// A client is killed before an effect.
    pub client_kill: u32,
    /// Instead of being killed, the board loses power.
    pub client_power: u32,
    /// A client's own disk fails at a call.
    pub client_disk: u32,
    /// A client is told to stop or to drain every so many milliseconds; 0 for never.
    pub stop_every_ms: u64,
    /// The hub is stopped and started again every so many milliseconds; 0 for never.
    pub hub_stop_every_ms: u64,
    /// People edit `priority.txt` or `options.txt` every so many milliseconds; 0 for never.
    pub lists_every_ms: u64,
    /// A connection is turned away: the hub is full, the secret is wrong.
    pub refused: [u32; 2],
    /// How many of the boards run with `--once` and are started again.
    pub once: usize,
    /// People move files every so many milliseconds; 0 for never.
    pub people_every_ms: u64,
    /// A build ends as infra, lost, out of memory.
    pub build_faults: [u32; 3],
    /// Wall clocks are off by up to so many seconds, and jump at restarts.
    pub clock_off_s: u64,
    /// Somebody sets a wall clock, often by decades, of a hub or board that runs, every so many milliseconds; 0 for
    /// never.
    pub clock_jump_every_ms: u64,
    /// What is accepted is in the index a while later, and no index is made: a farm's hours are not spent on
    /// listing what it has built.
    pub no_index: bool,
    /// The index cannot be made.
    pub index_fails: u32,
    /// From how many packages on recent is merged.
    pub recent_packages_max: usize,
    /// Builders read the complete index, because people named a URL.
    pub foreign_url: bool,
    /// People put RPMs into `repo/`, change or take them away, or retract a result, every so many milliseconds; 0 for
    /// never.
    pub repo_every_ms: u64,
    /// The watch loses events and looks at everything instead.
    pub watch_overflow: u32,
    /// `history.db` is deleted while the hub is down.
    pub history_lost: u32,
    /// How often it is looked whether everything is done, milliseconds.
    pub inspect_every_ms: u64,
    /// After the faults everything must be done within this time, milliseconds.
    pub healed_max_ms: u64,
    /// Ends then, whatever is left to do, milliseconds; 0 for not before everything is done.
    pub stop_ms: u64,
}

/// Without faults the model of a farm looks so often whether it is through, milliseconds.
const QUIET_INSPECT_MS: u64 = 60_000;
/// How long a modelled farm may take, milliseconds: a month is a farm that does not get through.
const QUIET_MAX_MS: u64 = 30 * 86_400_000;
/// How often it is looked whether everything is done, milliseconds.
const INSPECT_EVERY_MS: u64 = 10_000;
/// The longest quarantine is an hour, and a package may meet a few of them, milliseconds.
const HEALED_MAX_MS: u64 = 8 * 3_600_000;

/// A rate that is drawn if this kind of fault is on, else 0.
fn rate(dice: &mut Dice, on_percent: u64, rates: &[u32]) -> u32 {
    if dice.below(100) < on_percent { *dice.pick(rates) } else { 0 }
}

fn every(dice: &mut Dice, on_percent: u64, low_ms: u64, high_ms: u64) -> u64 {
    if dice.below(100) < on_percent { dice.within(low_ms, high_ms) } else { 0 }
}

impl Options {
    /// Draws a run.
    #[must_use]
    pub fn draw(seed: u64) -> Options {
        let mut dice = Dice::new(seed);
        let d = &mut dice;
        let faults_ms = d.within(60_000, 900_000);
        let count = d.within(1, 6) as usize;
        let boards = (0..d.within(1, 4)).map(|_| *d.pick(&[128, 128, 512, 1024])).collect();
        let packages = (0..count).map(|i| package(d, i, count, faults_ms)).collect();
        let slow = d.chance(100_000);
        let options = Options {
            seed,
            packages,
            boards,
            duplicate_last: false,
            thin: 0,
            speeds: Vec::new(),
            faults_ms,
            network: Network {
                latency_ms: (0, *d.pick(if slow { &[3_000, 9_000] } else { &[1, 5, 50, 400] })),
                split: rate(d, 40, &[50_000, 500_000]),
                buffer_bytes: *d.pick(&[3_000, 20_000, 200_000, 200_000]),
            },
            grace_ms: *d.pick(&[0, 5_000, 60_000, 120_000, 600_000]),
            retry_pause_ms: *d.pick(&[1_000, 60_000, 600_000]),
            fifo: d.chance(300_000),
            pause: rate(d, 40, &[1_000, 20_000, 200_000]),
            hub_kill: rate(d, 50, &[200, 1_000, 4_000]),
            hub_power: *d.pick(&[0, 500_000, 1_000_000]),
            disk: [rate(d, 25, &[500, 5_000]), rate(d, 20, &[200, 2_000]), rate(d, 40, &[300, 1_500, 4_000])],
            full_every_ms: every(d, 15, 60_000, 300_000),
            network_fault_every_ms: every(d, 50, 5_000, 120_000),
            outage_every_ms: every(d, 20, 60_000, 300_000),
            client_kill: rate(d, 40, &[500, 3_000, 10_000]),
            client_power: *d.pick(&[0, 300_000, 1_000_000]),
            client_disk: rate(d, 20, &[2_000, 20_000]),
            stop_every_ms: every(d, 30, 20_000, 200_000),
            people_every_ms: every(d, 20, 10_000, 200_000),
            build_faults: [
                rate(d, 25, &[50_000, 300_000]),
                rate(d, 25, &[50_000, 300_000]),
                rate(d, 20, &[50_000, 300_000]),
            ],
            clock_off_s: *d.pick(&[0, 0, 300, 200_000]),
            clock_jump_every_ms: 0,
            no_index: false,
            index_fails: rate(d, 20, &[100_000, 500_000]),
            recent_packages_max: *d.pick(&[0, 1, 3, 256]),
            foreign_url: d.chance(150_000),
            repo_every_ms: every(d, 40, 5_000, 120_000),
            watch_overflow: rate(d, 20, &[50_000]),
            history_lost: rate(d, 20, &[300_000]),
            hub_stop_every_ms: every(d, 25, 20_000, 300_000),
            lists_every_ms: every(d, 40, 2_000, 60_000),
            refused: [rate(d, 20, &[50_000, 400_000]), rate(d, 15, &[50_000, 300_000])],
            once: if d.chance(200_000) { d.within(1, 4) as usize } else { 0 },
            inspect_every_ms: INSPECT_EVERY_MS,
            healed_max_ms: HEALED_MAX_MS,
            stop_ms: 0,
        };
        // Drawn last: what other seeds were kept for stays what it was.
        let duplicate_last = d.chance(400_000);
        let clock_jump_every_ms = every(d, 30, 5_000, 120_000);
        Options { duplicate_last, clock_jump_every_ms, thin: rate(d, 60, &[200_000, 700_000]), ..options }
    }

    /// Nothing goes wrong: what a model of a farm starts from, without boards and packages.
    #[must_use]
    pub(super) fn quiet(seed: u64) -> Options {
        Options {
            seed,
            packages: Vec::new(),
            boards: Vec::new(),
            duplicate_last: false,
            thin: 0,
            speeds: Vec::new(),
            faults_ms: 0,
            network: Network { latency_ms: (0, 1), split: 0, buffer_bytes: 200_000 },
            grace_ms: 600_000,
            retry_pause_ms: 600_000,
            fifo: true,
            pause: 0,
            hub_kill: 0,
            hub_power: 0,
            disk: [0; 3],
            full_every_ms: 0,
            network_fault_every_ms: 0,
            outage_every_ms: 0,
            client_kill: 0,
            client_power: 0,
            client_disk: 0,
            stop_every_ms: 0,
            people_every_ms: 0,
            hub_stop_every_ms: 0,
            lists_every_ms: 0,
            refused: [0; 2],
            once: 0,
            build_faults: [0; 3],
            clock_off_s: 0,
            clock_jump_every_ms: 0,
            no_index: false,
            index_fails: 0,
            recent_packages_max: 256,
            foreign_url: false,
            repo_every_ms: 0,
            watch_overflow: 0,
            history_lost: 0,
            inspect_every_ms: QUIET_INSPECT_MS,
            healed_max_ms: QUIET_MAX_MS,
            stop_ms: 0,
        }
    }
}

/// Length of a file: mostly a piece, now and then a few, seldom more than a window.
fn bytes(d: &mut Dice) -> usize {
    let (low, high) = match d.below(1_000) {
        0..=4 => (300_000, 500_000),
        5..=59 => (30_000, 100_000),
        _ => (1, 3_000),
    };
    d.within(low, high) as usize
}

fn package(d: &mut Dice, i: usize, count: usize, faults_ms: u64) -> Package {
    let other = d.below(count as u64) as usize;
    let nature = match d.below(20) {
        0..=11 => Nature::Good,
        12..=13 => Nature::Failing,
        14..=15 if other != i => Nature::Needs(other),
        16 => Nature::NeedsNothingThere,
        17 => Nature::Foreign,
        18 => Nature::Damaged,
        19 => Nature::Large(256),
        _ => Nature::Good,
    };
    Package {
        nature,
        payload_bytes: bytes(d),
        log_bytes: bytes(d),
        dropped_ms: if d.chance(600_000) { 0 } else { d.below(faults_ms) },
        build_ms: *d.pick(&[500, 5_000, 30_000, 120_000]),
    }
}
