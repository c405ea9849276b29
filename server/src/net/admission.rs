//! Who may connect.
//!
//! Owns the room for peers that have not registered, the list of builders, and which addresses
//! have shown that they know a secret. Decides only: whoever owns the sockets closes them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::mem::{Discriminant, discriminant};
use std::net::{IpAddr, Ipv6Addr};

use moji_proto::{PublicKey, Time};

use super::session::End;
use crate::core::types::{BuilderId, SessionId};
use rank::Ranking;

mod rank;

/// Of the room for peers that have not registered, honest ones are let in at once as long as one in so many places is
/// taken: a third of a second of handshakes, so that a farm that comes back at once is not turned away.
const ROOM_SHARE: usize = 16;
/// Of the time for a handshake, who has not come further in one part of so many may be sent away when there is no room:
/// seconds, where a board's part of a handshake takes tenths. Before that, the next ones wait in the kernel.
const PATIENCE_SHARE: u64 = 8;
/// How long an address that authenticated goes last when room is made, ms: a day, so that a board
/// that is switched off at night still counts in the morning.
const KNOWN_MS: u64 = 24 * 3_600 * 1_000;
/// Addresses remembered so; beyond it the one heard of longest ago is forgotten.
const KNOWN_MAX: usize = 16_384;
/// The same complaint about the same peer is logged once in this time, ms.
const COMPLAINT_EVERY_MS: u64 = 60_000;
/// Complaints remembered of each sort of peers; beyond it new ones are not logged until old ones are a minute old.
const COMPLAINTS_MAX: usize = 1_024;

/// Who may connect.
#[derive(Debug)]
pub(super) struct Admission {
    /// How many may be connected without having registered.
    pending_max: usize,
    builders: Option<HashSet<BuilderId>>,
    /// Who has not registered.
    pending: Ranking,
    known: HashMap<IpAddr, Time>,
    /// The same, the one heard of longest ago first.
    known_since: BTreeSet<(Time, IpAddr)>,
    /// About strangers, by address.
    of_places: Complaints<(IpAddr, Discriminant<End>)>,
    /// About those who know a secret, by key: no stranger can use up their share.
    of_keys: Complaints<(PublicKey, String)>,
}

impl Admission {
    /// Room for `pending_max` peers, each of which has `handshake_ms` to authenticate.
    pub(super) fn new(pending_max: usize, handshake_ms: u64, builders: Option<Vec<BuilderId>>) -> Admission {
        let mut admission = Admission {
            pending_max,
            builders: None,
            pending: Ranking::new(handshake_ms / PATIENCE_SHARE),
            known: HashMap::new(),
            known_since: BTreeSet::new(),
            of_places: Complaints::default(),
            of_keys: Complaints::default(),
        };
        admission.set_builders(builders);
        admission
    }

    /// Changes the list of builders.
    pub(super) fn set_builders(&mut self, builders: Option<Vec<BuilderId>>) {
        self.builders = builders.map(|list| list.into_iter().collect());
    }

    /// Whether the builder may be here, as far as the list goes.
    pub(super) fn lists(&self, builder: &PublicKey) -> bool {
        self.builders.as_ref().is_none_or(|list| list.contains(builder))
    }

    /// Whether one more may come in. If there is no room and nobody may be sent away yet, whoever waits in the kernel
    /// goes on waiting.
    pub(super) fn admits(&mut self, now: Time) -> bool {
        self.pending.len() < self.pending_max || self.victim(now).is_some()
    }

    /// A connection was accepted. Says who must go at once, if there is no room for both.
    pub(super) fn arrived(&mut self, now: Time, session: SessionId, peer: IpAddr) -> Option<SessionId> {
        let is_full = self.pending.len() >= self.pending_max;
        let victim = if is_full { self.victim(now) } else { None };
        victim.into_iter().for_each(|victim| self.settled(victim));
        let place = counted_as(peer);
        self.pending.insert(now, session, place, self.known.contains_key(&place));
        victim
    }

    /// Whether more should be let in before some of those who are here have registered.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < self.pending_max.div_ceil(ROOM_SHARE)
    }

    /// The session registered or is over: it no longer takes room here.
    pub(super) fn settled(&mut self, session: SessionId) {
        self.pending.remove(session);
    }

    /// Whoever this is knows a secret.
    pub(super) fn authenticated(&mut self, now: Time, session: SessionId, peer: IpAddr) {
        self.pending.progress(now, session);
        let place = counted_as(peer);
        self.forget(now);
        if let Some(before) = self.known.insert(place, now) {
            self.known_since.remove(&(before, place));
        }
        self.known_since.insert((now, place));
        if self.known.len() > KNOWN_MAX
            && let Some((_, oldest)) = self.known_since.pop_first()
        {
            self.known.remove(&oldest);
            self.pending.set_known(oldest, false);
        }
        self.pending.set_known(place, true);
    }

    /// Whether it is time to log that a connection from there ended so.
    pub(super) fn may_complain(&mut self, now: Time, peer: IpAddr, end: End) -> bool {
        self.of_places.may_say(now, (counted_as(peer), discriminant(&end)))
    }

    /// The same of a peer that knows a secret.
    pub(super) fn may_complain_of(&mut self, now: Time, key: PublicKey, end: End) -> bool {
        self.of_keys.may_say(now, (key, end.to_string()))
    }

    /// Addresses that authenticated longer than a day ago are strangers again.
    fn forget(&mut self, now: Time) {
        while let Some((at, place)) = self.known_since.first().copied()
            && now.since_ms(at) >= KNOWN_MS
        {
            self.known_since.pop_first();
            self.known.remove(&place);
            self.pending.set_known(place, false);
        }
    }

    /// The oldest of the address with the most, of those who made no progress for long; addresses that authenticated
    /// within a day go when there are no others.
    fn victim(&mut self, now: Time) -> Option<SessionId> {
        self.forget(now);
        self.pending.worst(now)
    }
}

/// What was complained about when.
#[derive(Debug)]
struct Complaints<K>(HashMap<K, Time>);

impl<K> Default for Complaints<K> {
    fn default() -> Complaints<K> {
        Complaints(HashMap::new())
    }
}

impl<K: Eq + Hash> Complaints<K> {
    fn may_say(&mut self, now: Time, key: K) -> bool {
        let is_fresh = |at: &Time| now.since_ms(*at) < COMPLAINT_EVERY_MS;
        if self.0.get(&key).is_some_and(is_fresh) {
            return false;
        }
        if self.0.len() >= COMPLAINTS_MAX {
            self.0.retain(|_, at| is_fresh(at));
            if self.0.len() >= COMPLAINTS_MAX {
                return false;
            }
        }
        self.0.insert(key, now);
        true
    }
}

/// What counts as one address: of IPv6 the network of 64 bits, which one host may fill at will; but
/// all of a link would be one there, and the hub itself is nobody's network.
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() && !ip.is_unicast_link_local() => {
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64))
        }
        ip => ip,
    }
}

/// Whether a hub without a secret serves this address: loopback, RFC 1918, fc00::/7, link-local.
pub(super) fn is_private(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use moji_proto::refusal::RejectCode;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const HANDSHAKE_MS: u64 = 800;
    const PATIENCE_MS: u64 = 100;

    fn admission(max: usize) -> Admission {
        Admission::new(max, HANDSHAKE_MS, None)
    }

    /// Somebody is at the door: None if there is no room, else who was sent away.
    fn knock(admission: &mut Admission, now: Time, id: u64, peer: &str) -> Option<Option<u64>> {
        let victim = admission.admits(now).then(|| admission.arrived(now, SessionId(id), ip(peer)));
        assert!(admission.pending.len() <= admission.pending_max);
        admission.pending.check();
        victim.map(|victim| victim.map(|session| session.0))
    }

    /// Lets sessions 1, 2, … arrive from these addresses, with time enough between them for those who do nothing
    /// to be sent away; says who was sent away at each.
    fn check(max: usize, known: &[&str], arrivals: &[&str], want: &[Option<u64>]) {
        let mut admission = admission(max);
        for peer in known {
            admission.authenticated(Time(0), SessionId(0), ip(peer));
        }
        let mut id = 0;
        let got: Vec<_> = arrivals
            .iter()
            .map(|peer| {
                id += 1;
                knock(&mut admission, Time(id * PATIENCE_MS), id, peer).expect("all before have waited")
            })
            .collect();
        assert_eq!(got, want, "{arrivals:?}");
    }

    #[test]
    fn when_full_the_oldest_of_the_address_with_the_most_goes() {
        check(3, &[], &["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"], &[None, None, None, Some(2)]);
        check(3, &[], &["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"], &[None, None, None, Some(1)]);
        check(2, &[], &["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"], &[None, None, Some(1), Some(2)]);
        // A host that fills its network counts as one, and so does a mapped address.
        check(
            3,
            &[],
            &["10.0.0.1", "fd00::1:0:0:0:1", "fd00::1:0:0:0:2", "fd00:0:0:1::3"],
            &[None, None, None, Some(2)],
        );
        check(3, &[], &["10.0.0.9", "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.3"], &[None, None, None, Some(2)]);
        check(3, &[], &["10.0.0.9", "fe80::1", "fe80::2", "fe80::3"], &[None, None, None, Some(1)]);
    }

    #[test]
    fn nobody_is_sent_away_who_made_progress_a_moment_ago() {
        // Who knocks when, and what becomes of it. Sessions 1 and 2 are let in, and 2 authenticates at 50 ms.
        for (max, knocks) in [
            (2, &[(99, None), (100, Some(Some(1))), (149, None), (150, Some(Some(2))), (151, None)][..]),
            (
                2,
                &[
                    (150, Some(Some(1))),
                    (150, Some(Some(2))),
                    (150, None),
                    (249, None),
                    (250, Some(Some(10))),
                ],
            ),
            (3, &[(1, Some(None)), (2, None), (100, Some(Some(1)))]),
        ] {
            let mut admission = admission(max);
            for id in [1, 2] {
                assert_eq!(knock(&mut admission, Time(0), id, "10.0.0.1"), Some(None));
            }
            admission.authenticated(Time(50), SessionId(2), ip("10.0.0.1"));
            // Not an address that goes last.
            admission.pending.set_known(ip("10.0.0.1"), false);
            for (id, (at, want)) in (10..).zip(knocks) {
                assert_eq!(knock(&mut admission, Time(*at), id, "10.0.0.2"), *want, "{at} of {knocks:?}");
            }
        }
    }

    #[test]
    fn a_thousand_who_come_at_once_all_stay_while_they_go_on() {
        let mut admission = admission(64);
        let (mut here, mut now, mut id) = (std::collections::VecDeque::new(), 0, 0);
        while id < 1_000 {
            match knock(&mut admission, Time(now), id, "10.0.0.1") {
                Some(victim) => {
                    assert_eq!(victim, None);
                    here.push_back(SessionId(id));
                    id += 1;
                }
                None => {
                    // One handshake of the 64 is through, in less than its share of their patience.
                    now += 1;
                    admission.settled(here.pop_front().unwrap());
                }
            }
        }
        assert!(now < 1_000 && admission.pending.len() <= 64);
    }

    #[test]
    fn there_is_room_until_a_share_has_not_registered() {
        let mut admission = admission(2 * ROOM_SHARE);
        assert!(admission.has_room());
        admission.arrived(Time(0), SessionId(1), ip("10.0.0.1"));
        assert!(admission.has_room());
        admission.arrived(Time(0), SessionId(2), ip("10.0.0.2"));
        assert!(!admission.has_room());
        admission.settled(SessionId(1));
        assert!(admission.has_room());
        // However little is allowed, the first may come.
        assert!(self::admission(1).has_room());
    }

    #[test]
    fn a_farm_that_knows_a_secret_is_complained_about_by_key_whatever_strangers_do() {
        let mut admission = admission(1);
        for n in 0..2 * COMPLAINTS_MAX as u32 {
            admission.may_complain(Time(0), IpAddr::V4(n.into()), End::Closed);
        }
        let (one, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let (order, limit) = (End::Rejected(RejectCode::Order), End::Rejected(RejectCode::Limit));
        for (key, end, want) in
            [(one, order, true), (one, limit, true), (other, order, true), (one, order, false)]
        {
            assert_eq!(admission.may_complain_of(Time(0), key, end), want, "{end}");
        }
    }

    #[test]
    fn addresses_that_authenticated_within_a_day_go_last() {
        let known = &["10.0.0.1"];
        check(2, known, &["10.0.0.1", "10.0.0.2", "10.0.0.1"], &[None, None, Some(2)]);
        check(2, known, &["10.0.0.1", "10.0.0.1", "10.0.0.1"], &[None, None, Some(1)]);
        check(2, known, &["10.0.0.1", "10.0.0.1", "10.0.0.2"], &[None, None, Some(1)]);
        let mut two = admission(2);
        two.authenticated(Time(0), SessionId(0), ip("10.0.0.1"));
        assert_eq!(knock(&mut two, Time(0), 1, "10.0.0.1"), Some(None));
        assert_eq!(knock(&mut two, Time(PATIENCE_MS), 2, "10.0.0.2"), Some(None));
        // The stranger came just now, and does not outlast whoever is known.
        assert_eq!(knock(&mut two, Time(PATIENCE_MS + 1), 3, "10.0.0.2"), None);
        assert_eq!(knock(&mut two, Time(2 * PATIENCE_MS), 3, "10.0.0.2"), Some(Some(2)));
        // After a day it is a stranger too.
        assert_eq!(knock(&mut two, Time(KNOWN_MS), 4, "10.0.0.3"), Some(Some(1)));
    }

    #[test]
    fn private_addresses_are_those_of_the_rfcs() {
        for yes in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.1.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(ip(yes)), "{yes}");
        }
        for no in
            ["8.8.8.8", "172.32.0.1", "192.169.0.1", "2001:db8::1", "::ffff:8.8.8.8", "100.64.0.1", "fec0::1"]
        {
            assert!(!is_private(ip(no)), "{no}");
        }
    }

    #[test]
    fn a_complaint_is_logged_once_a_minute_for_each_address() {
        let mut admission = admission(1);
        let (a, b) = (ip("10.0.0.1"), ip("10.0.0.2"));
        assert!(admission.may_complain(Time(0), a, End::Closed));
        assert!(!admission.may_complain(Time(59_999), a, End::Closed));
        assert!(admission.may_complain(Time(59_999), a, End::HandshakeTime));
        assert!(admission.may_complain(Time(59_999), b, End::Closed));
        assert!(admission.may_complain(Time(60_000), a, End::Closed));
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        let mut admission = admission(1);
        for n in 0..COMPLAINTS_MAX as u32 + 5 {
            let peer = IpAddr::V4((0x0a00_0000 + n).into());
            let logged = admission.may_complain(Time(0), peer, End::Closed);
            assert_eq!(logged, n < COMPLAINTS_MAX as u32);
        }
        for n in 0..KNOWN_MAX as u32 + 5 {
            admission.authenticated(Time(u64::from(n)), SessionId(0), IpAddr::V4((0x0a00_0000 + n).into()));
        }
        assert_eq!(admission.known.len(), KNOWN_MAX);
        assert!(!admission.known.contains_key(&ip("10.0.0.0")));
    }
}
