//! How often an address may be wrong.
//!
//! Owns a count an address of logins that failed, which falls with time. It is a table of bounded size: who fills it makes
//! it forget those that were wrong least.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Wrong passwords in a row that are nobody's business: a person who tries the three that come to mind, twice.
const WRONG_MAX: u32 = 10;
/// After so long one more is allowed: ten a minute, 14,400 a day.
const FORGET_EVERY: Duration = Duration::from_secs(6);
/// Addresses that are remembered: 100 bytes each.
const ADDRESSES_MAX: usize = 4_096;

/// Wrong logins by address.
#[derive(Default)]
pub(super) struct Throttle {
    /// When all that an address did is forgotten.
    forgotten: HashMap<IpAddr, Instant>,
}

impl Throttle {
    /// Counts a try of `address`.
    ///
    /// # Errors
    /// How long it must wait for the next one. The try is not counted then.
    pub(super) fn charge(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let network = network(address);
        let until = self.forgotten.get(&network).copied().filter(|until| *until > now).unwrap_or(now);
        let full = now + FORGET_EVERY * (WRONG_MAX - 1);
        if let Some(wait) = until.checked_duration_since(full).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        self.make_room(now);
        self.forgotten.insert(network, until + FORGET_EVERY);
        Ok(())
    }

    /// The try of `address` was right after all.
    pub(super) fn refund(&mut self, address: IpAddr) {
        if let Some(until) = self.forgotten.get_mut(&network(address)) {
            *until = until.checked_sub(FORGET_EVERY).unwrap_or(*until);
        }
    }

    /// Whether the next try of `address` will be refused: time to say so once.
    pub(super) fn is_full(&self, address: IpAddr, now: Instant) -> bool {
        let until = self.forgotten.get(&network(address));
        until.is_some_and(|until| *until > now + FORGET_EVERY * (WRONG_MAX - 1))
    }

    fn make_room(&mut self, now: Instant) {
        if self.forgotten.len() < ADDRESSES_MAX {
            return;
        }
        self.forgotten.retain(|_, until| *until > now);
        if self.forgotten.len() >= ADDRESSES_MAX
            && let Some(least) =
                self.forgotten.iter().min_by_key(|(_, until)| **until).map(|(address, _)| *address)
        {
            self.forgotten.remove(&least);
        }
    }
}

/// Who has one address of IPv6 has the other 2^64 of its network too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(throttle: &mut Throttle, address: &str, now: Instant) -> Result<(), Duration> {
        throttle.charge(address.parse().unwrap(), now)
    }

    #[test]
    fn an_address_is_wrong_ten_times_then_once_in_six_seconds() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for at in 0..WRONG_MAX {
            assert!(!throttle.is_full("10.0.0.1".parse().unwrap(), start), "{at}");
            assert_eq!(charge(&mut throttle, "10.0.0.1", start), Ok(()), "{at}");
        }
        assert!(throttle.is_full("10.0.0.1".parse().unwrap(), start));
        assert_eq!(charge(&mut throttle, "10.0.0.1", start), Err(FORGET_EVERY));
        assert_eq!(
            charge(&mut throttle, "::ffff:10.0.0.1", start),
            Err(FORGET_EVERY),
            "the same by another name"
        );
        assert_eq!(charge(&mut throttle, "10.0.0.2", start), Ok(()), "another one");
        let later = start + FORGET_EVERY;
        assert_eq!(charge(&mut throttle, "10.0.0.1", later), Ok(()));
        assert_eq!(charge(&mut throttle, "10.0.0.1", later), Err(FORGET_EVERY));
        throttle.refund("10.0.0.1".parse().unwrap());
        assert_eq!(charge(&mut throttle, "10.0.0.1", later), Ok(()), "what was right does not count");
        assert_eq!(charge(&mut throttle, "10.0.0.1", start + FORGET_EVERY * 100), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_the_table_stays_small() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for host in 1..=WRONG_MAX {
            assert_eq!(charge(&mut throttle, &format!("2001:db8::{host:x}"), start), Ok(()));
        }
        assert!(charge(&mut throttle, "2001:db8::ffff", start).is_err());
        assert_eq!(charge(&mut throttle, "2001:db8:0:1::1", start), Ok(()));
        for net in 0..2 * ADDRESSES_MAX {
            assert_eq!(charge(&mut throttle, &format!("2001:db9:{net:x}::1"), start), Ok(()));
        }
        assert!(throttle.forgotten.len() <= ADDRESSES_MAX);
        assert!(charge(&mut throttle, "2001:db8::1", start).is_err(), "who was wrong most is remembered");
    }
}
