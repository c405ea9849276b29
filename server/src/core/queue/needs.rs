//! How much memory and disk packages need, and which boards can hold them.
//!
//! Owns the rules by which a package is kept from boards that are too small for it:
//!
//! - *Known*: what its source package's last build took, as its builder told. A board holds it whose memory is at least
//!   that of the build's largest process (all of them together are more on a board with more processors, and swap
//!   helps), and whose free disk is at least what disappeared of it during the build.
//! - *Ran out*: more than the board had on which it ran out, of memory or of disk.
//! - *Guessed*, of what was never built and has an SRPM of 16 MiB or more, the largest few of a distribution: four times
//!   the SRPM's length of memory, and twenty times of disk: sources unpack to some five times that, objects
//!   and packages come to more, and the linker of what is large needs memory.
//!
//! Only boards that are connected and take work count, idle or not. If none of them can hold a package, the biggest
//! gets it, and whoever comes near; a guess no longer counts then. What a board has free is what it said when it last
//! had nothing to do, or had just begun.

use std::collections::BTreeMap;

use super::package::Package;
use crate::core::types::Peak;

/// An SRPM from this length on lets its needs be guessed, bytes: 16 MiB, one package in thirty of a distribution.
const LARGE_BYTES: u64 = 16 << 20;
/// Guessed memory for each byte of an SRPM.
const MEMORY_TIMES: u64 = 4;
/// Guessed disk for each byte of an SRPM.
const DISK_TIMES: u64 = 20;
/// Where nobody is big enough, whoever lacks no more than this share of the biggest is as good: 1 in 8. Boards of a kind
/// differ by a few MiB.
const NEAR_SHARE: u32 = 8;

/// What a board has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Memory, MiB.
    pub(super) memory_mib: u32,
    /// Disk, MiB.
    pub(super) disk_mib: u32,
}

impl Room {
    /// Whether it is at least as big in both.
    pub(super) fn holds(&self, least: Room) -> bool {
        self.memory_mib >= least.memory_mib && self.disk_mib >= least.disk_mib
    }
}

/// How much a package needs of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Least {
    mib: u32,
    is_guess: bool,
}

/// What a package needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    memory: Least,
    disk: Least,
}

impl Need {
    /// Of a package.
    pub(super) fn of(package: &Package) -> Need {
        let size = package.srpm.as_ref().map_or(0, |srpm| srpm.size);
        let guess = |times| if size < LARGE_BYTES { 0 } else { mib(size.saturating_mul(times)) };
        let least = |peak: u32, tried: Option<u32>, times| match peak.max(tried.map_or(0, |mib| mib + 1)) {
            0 => Least { mib: guess(times), is_guess: true },
            mib => Least { mib, is_guess: false },
        };
        Need {
            memory: least(package.peak.memory_mib, package.past.memory_mib, MEMORY_TIMES),
            disk: least(package.peak.disk_mib, package.past.disk_mib, DISK_TIMES),
        }
    }

    /// Whether a board has all that.
    pub(super) fn fits(&self, room: Room) -> bool {
        room.holds(Room { memory_mib: self.memory.mib, disk_mib: self.disk.mib })
    }

    /// What a board must have to be given it, if these are all that could be.
    pub(super) fn least_of(&self, rooms: impl Iterator<Item = Room> + Clone) -> Room {
        let memory_mib = self.memory.among(rooms.clone().map(|room| room.memory_mib));
        let left = rooms.filter(|room| room.memory_mib >= memory_mib);
        Room { memory_mib, disk_mib: self.disk.among(left.map(|room| room.disk_mib)) }
    }

    /// In words; empty if it needs nothing in particular.
    pub(super) fn words(&self) -> String {
        let one = |least: Least, what| {
            let how = if least.is_guess { ", by its size" } else { "" };
            (least.mib > 0).then(|| format!("{} MiB of {what}{how}", least.mib))
        };
        let parts: Vec<String> =
            [one(self.memory, "memory"), one(self.disk, "disk")].into_iter().flatten().collect();
        parts.join(" and ")
    }
}

impl Least {
    fn among(self, sizes: impl Iterator<Item = u32>) -> u32 {
        match sizes.max().unwrap_or(0) {
            biggest if biggest >= self.mib => self.mib,
            _ if self.is_guess => 0,
            biggest => biggest - biggest / NEAR_SHARE,
        }
    }
}

/// The rooms that count: those than which no other is at least as big in both.
pub(super) fn biggest(rooms: impl Iterator<Item = Room>) -> Vec<Room> {
    let mut all: Vec<Room> = Vec::new();
    for room in rooms {
        if !all.iter().any(|other| other.holds(room)) {
            all.retain(|other| !room.holds(*other));
            all.push(room);
        }
    }
    all
}

/// What the last build of each source package took.
#[derive(Debug, Default)]
pub(super) struct Peaks(BTreeMap<Box<str>, Peak>);

impl Peaks {
    /// A source package was built. What its builder did not tell stays as it was.
    pub(super) fn built(&mut self, source: &str, peak: Peak) {
        if peak == Peak::default() {
            return;
        }
        let known = match self.0.get_mut(source) {
            Some(known) => known,
            None => self.0.entry(source.into()).or_default(),
        };
        let told = |new: u32, old: u32| if new > 0 { new } else { old };
        known.memory_mib = told(peak.memory_mib, known.memory_mib);
        known.disk_mib = told(peak.disk_mib, known.disk_mib);
    }

    /// What it took; 0 if that is not known.
    pub(super) fn of(&self, source: &str) -> Peak {
        self.0.get(source).copied().unwrap_or_default()
    }
}

fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes >> 20).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn room(memory_mib: u32, disk_mib: u32) -> Room {
        Room { memory_mib, disk_mib }
    }

    fn need(memory: u32, disk: u32, is_guess: bool) -> Need {
        let least = |mib| Least { mib, is_guess };
        Need { memory: least(memory), disk: least(disk) }
    }

    #[test]
    fn who_can_hold_it_gets_it_else_the_biggest_and_a_guess_keeps_nobody_from_work() {
        let farm = [room(128, 9_000), room(512, 2_000), room(500, 4_000)];
        for (need, want) in [
            (need(0, 0, true), room(0, 0)),
            (need(300, 0, false), room(300, 0)),
            (need(300, 3_000, false), room(300, 3_000)),
            // Nobody: the biggest, or near to it, and of these the one with most disk.
            (need(900, 0, false), room(448, 0)),
            (need(900, 8_000, false), room(448, 3_500)),
            (need(900, 8_000, true), room(0, 8_000)),
            (need(0, 99_999, true), room(0, 0)),
        ] {
            assert_eq!(need.least_of(farm.into_iter()), want, "{need:?}");
            assert_eq!(need.least_of(biggest(farm.into_iter()).into_iter()), want, "{need:?}");
        }
        assert_eq!(need(1, 1, false).least_of(std::iter::empty()), room(0, 0));
    }

    #[test]
    fn only_rooms_that_no_other_outdoes_count() {
        let all = [room(1, 1), room(2, 2), room(2, 1), room(1, 3), room(2, 2)];
        assert_eq!(biggest(all.into_iter()), [room(2, 2), room(1, 3)]);
    }

    #[test]
    fn what_a_builder_did_not_tell_stays_as_it_was() {
        let mut peaks = Peaks::default();
        let peak = |memory_mib, disk_mib| Peak { memory_mib, disk_mib };
        for (told, want) in [
            (peak(0, 0), peak(0, 0)),
            (peak(50, 0), peak(50, 0)),
            (peak(40, 900), peak(40, 900)),
            (peak(0, 800), peak(40, 800)),
        ] {
            peaks.built("a", told);
            assert_eq!(peaks.of("a"), want);
        }
    }
}
