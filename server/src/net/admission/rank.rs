//! Who goes first when there is no room.
//!
//! Owns the order of those who have not registered: an address that is not known before one that is, then the one with
//! the most connections, then whoever made no progress for longest. Every change costs the logarithm of their number:
//! ten thousand strangers must not make each accept a walk through all of them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use moji_proto::Time;

use crate::core::types::SessionId;

/// When somebody last made progress, and who that is.
type Waiting = (Time, SessionId);

/// An address.
#[derive(Debug, Default)]
struct Place {
    /// Its connections, the one without progress for longest first.
    waiting: BTreeSet<Waiting>,
    is_known: bool,
    /// Its first connection has waited long enough to be sent away: it is in `ripe`, else in `green`.
    is_ripe: bool,
}

impl Place {
    fn first(&self) -> Waiting {
        *self.waiting.first().expect("a place without connections is forgotten")
    }

    fn rank(&self, at: IpAddr) -> Rank {
        (!self.is_known, self.waiting.len(), Reverse(self.first()), at)
    }
}

/// Not known, how many, since when: the greatest goes first.
type Rank = (bool, usize, Reverse<Waiting>, IpAddr);

/// Those who have not registered.
#[derive(Debug)]
pub(super) struct Ranking {
    /// Nobody is sent away for want of room before so long without progress, ms.
    patience_ms: u64,
    /// Where each is counted, and when it came or authenticated: bytes alone are no progress.
    sessions: HashMap<SessionId, (IpAddr, Time)>,
    places: HashMap<IpAddr, Place>,
    /// How many of the places are not known.
    strange: usize,
    ripe: BTreeSet<Rank>,
    green: BTreeSet<(Waiting, IpAddr)>,
}

impl Ranking {
    pub(super) fn new(patience_ms: u64) -> Ranking {
        Ranking {
            patience_ms,
            sessions: HashMap::new(),
            places: HashMap::new(),
            strange: 0,
            ripe: BTreeSet::new(),
            green: BTreeSet::new(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn insert(&mut self, now: Time, session: SessionId, at: IpAddr, is_known: bool) {
        self.sessions.insert(session, (at, now));
        self.change(at, |place| {
            place.is_known = is_known;
            place.waiting.insert((now, session));
        });
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        if let Some((at, since)) = self.sessions.remove(&session) {
            self.change(at, |place| {
                place.waiting.remove(&(since, session));
            });
        }
    }

    /// The session came further, if it is one of these.
    pub(super) fn progress(&mut self, now: Time, session: SessionId) {
        if let Some((at, since)) = self.sessions.get_mut(&session) {
            let (at, before) = (*at, std::mem::replace(since, now));
            self.change(at, |place| {
                place.waiting.remove(&(before, session));
                place.waiting.insert((now, session));
            });
        }
    }

    /// The address authenticated, or that is too long ago.
    pub(super) fn set_known(&mut self, at: IpAddr, is_known: bool) {
        if self.places.contains_key(&at) {
            self.change(at, |place| place.is_known = is_known);
        }
    }

    /// Who goes first. Strangers do not take the place of friends, however slow those are.
    pub(super) fn worst(&mut self, now: Time) -> Option<SessionId> {
        while let Some((waiting, at)) = self.green.first().copied()
            && now.since_ms(waiting.0) >= self.patience_ms
        {
            self.green.pop_first();
            let place = self.places.get_mut(&at).expect("a place that is green is here");
            place.is_ripe = true;
            self.ripe.insert(place.rank(at));
        }
        let (is_strange, _, Reverse((_, session)), _) = *self.ripe.last()?;
        (is_strange || self.strange == 0).then_some(session)
    }

    /// Changes a place, and its rank with it.
    fn change(&mut self, at: IpAddr, change: impl FnOnce(&mut Place)) {
        let place = self.places.entry(at).or_default();
        if !place.waiting.is_empty() {
            self.strange -= usize::from(!place.is_known);
            match place.is_ripe {
                true => self.ripe.remove(&place.rank(at)),
                false => self.green.remove(&(place.first(), at)),
            };
        }
        let before = place.waiting.first().copied();
        change(place);
        if place.waiting.is_empty() {
            self.places.remove(&at);
            return;
        }
        self.strange += usize::from(!place.is_known);
        // Another first one has its own time to wait.
        place.is_ripe &= before == Some(place.first());
        match place.is_ripe {
            true => self.ripe.insert(place.rank(at)),
            false => self.green.insert((place.first(), at)),
        };
    }

    /// Whether all that is derived agrees with what is here.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.places.values().map(|place| place.waiting.len()).sum::<usize>(), self.sessions.len());
        assert_eq!(self.ripe.len() + self.green.len(), self.places.len());
        assert_eq!(self.strange, self.places.values().filter(|place| !place.is_known).count());
        for (at, place) in &self.places {
            match place.is_ripe {
                true => assert!(self.ripe.contains(&place.rank(*at))),
                false => assert!(self.green.contains(&(place.first(), *at))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`Ranking::worst`] means, by a walk through all.
    fn walked(of: &Ranking, now: Time) -> Option<(bool, usize, Reverse<Time>)> {
        let stuck = of.sessions.values().filter(|(_, since)| now.since_ms(*since) >= of.patience_ms);
        let rank = |at: &IpAddr| (!of.places[at].is_known, of.places[at].waiting.len());
        let worst = stuck.map(|(at, since)| (rank(at).0, rank(at).1, Reverse(*since))).max()?;
        (worst.0 || of.places.values().all(|place| place.is_known)).then_some(worst)
    }

    #[test]
    fn the_order_is_that_of_a_walk_through_all_whatever_happens() {
        let mut of = Ranking::new(50);
        let mut dice = 7u64;
        let mut roll = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % below
        };
        let (mut now, mut next) = (Time(0), 0);
        for _ in 0..20_000 {
            now = now.plus_ms(roll(4));
            let at = IpAddr::V4((0x7f00_0000 + roll(9) as u32).into());
            let some = SessionId(next.max(1) - 1 - roll(30).min(next.max(1) - 1));
            match roll(8) {
                0..=3 => {
                    let is_known = of.places.get(&at).is_some_and(|place| place.is_known);
                    of.insert(now, SessionId(next), at, is_known);
                    next += 1;
                }
                4 => of.remove(some),
                5 => of.progress(now, some),
                6 => of.set_known(at, roll(3) == 0),
                _ => {
                    let want = walked(&of, now);
                    let got = of.worst(now);
                    let got_rank = got.map(|session| {
                        let (at, since) = of.sessions[&session];
                        (!of.places[&at].is_known, of.places[&at].waiting.len(), Reverse(since))
                    });
                    assert_eq!(got_rank, want);
                    got.into_iter().for_each(|session| of.remove(session));
                }
            }
            of.check();
        }
        assert!(of.len() > 0);
    }
}
