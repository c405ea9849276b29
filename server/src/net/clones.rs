//! Boards that were cloned with their key.
//!
//! Owns what each key's connections have called themselves. Every process of a builder has a random
//! instance number. A restart changes it for good; a number that comes back after another one took
//! over proves two live hosts. Decides only: whoever owns the sockets closes them.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use moji_proto::{FileName, PublicKey, Time};

/// How long both hosts are turned away, ms: ten minutes, so that somebody reads the log.
pub(super) const CLONED_MS: u64 = 600_000;
/// Instances remembered of a key: as many hosts may take turns and are still found out.
const FORMER_MAX: usize = 8;
/// Keys remembered: more builders than one hub will have; the one heard of longest ago is forgotten.
const KEYS_MAX: usize = 16_384;

/// A process that used a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// The random number of the process.
    pub(super) instance: u64,
    /// Its host name.
    pub(super) name: FileName,
    /// Where it called from.
    pub(super) addr: SocketAddr,
}

#[derive(Debug)]
enum Key {
    /// The last of them is the present one.
    Used { hosts: VecDeque<Host>, at: Time },
    /// Two hosts use it.
    Cloned { until: Time },
}

impl Key {
    fn at(&self) -> Time {
        match self {
            Key::Used { at, .. } | Key::Cloned { until: at } => *at,
        }
    }
}

/// What is known of all keys.
#[derive(Debug, Default)]
pub(super) struct Clones {
    keys: HashMap<PublicKey, Key>,
}

impl Clones {
    /// Whether the key is refused for now.
    pub(super) fn refuses(&mut self, now: Time, key: &PublicKey) -> bool {
        match self.keys.get(key) {
            Some(Key::Cloned { until }) if now < *until => true,
            Some(Key::Cloned { .. }) => {
                self.keys.remove(key);
                false
            }
            _ => false,
        }
    }

    /// A process registered with the key. If that proves a clone, the key is refused from now on,
    /// and the host that had taken over before is named.
    pub(super) fn registered(&mut self, now: Time, key: PublicKey, host: Host) -> Result<(), Host> {
        self.make_room(&key);
        let entry = self.keys.entry(key).or_insert(Key::Used { hosts: VecDeque::new(), at: now });
        let Key::Used { hosts, at } = entry else {
            *entry = Key::Used { hosts: VecDeque::from([host]), at: now };
            return Ok(());
        };
        *at = now;
        let last = hosts.len().saturating_sub(1);
        match hosts.iter().position(|known| known.instance == host.instance) {
            Some(i) if i < last => {
                let other = hosts[last].clone();
                *entry = Key::Cloned { until: now.plus_ms(CLONED_MS) };
                Err(other)
            }
            Some(i) => {
                hosts[i] = host;
                Ok(())
            }
            None => {
                if hosts.len() == FORMER_MAX {
                    hosts.pop_front();
                }
                hosts.push_back(host);
                Ok(())
            }
        }
    }

    fn make_room(&mut self, key: &PublicKey) {
        if self.keys.len() >= KEYS_MAX
            && !self.keys.contains_key(key)
            && let Some(oldest) = self.keys.iter().min_by_key(|(_, key)| key.at()).map(|(key, _)| *key)
        {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(instance: u64) -> Host {
        let name = FileName::new(format!("b{instance}")).unwrap();
        Host { instance, name, addr: "127.0.0.1:1".parse().unwrap() }
    }

    /// Lets these instances register in turn; says at which one, and with whom, a clone is found.
    fn check(instances: &[u64], want: Option<(usize, u64)>) {
        let mut clones = Clones::default();
        let key = PublicKey([1; 32]);
        let found = instances.iter().enumerate().find_map(|(i, instance)| {
            clones.registered(Time(0), key, host(*instance)).err().map(|other| (i, other.instance))
        });
        assert_eq!(found, want, "{instances:?}");
        assert_eq!(clones.refuses(Time(0), &key), want.is_some());
    }

    #[test]
    fn an_instance_that_comes_back_after_another_took_over_is_a_clone() {
        check(&[1, 1, 1], None);
        check(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], None);
        check(&[1, 2, 2, 2], None);
        check(&[1, 2, 1], Some((2, 2)));
        check(&[1, 1, 2, 2, 1], Some((4, 2)));
        check(&[1, 2, 3, 1], Some((3, 3)));
        check(&[1, 2, 3, 2], Some((3, 3)));
    }

    #[test]
    fn a_cloned_key_is_refused_for_ten_minutes_and_nobody_else_is() {
        let mut clones = Clones::default();
        let (key, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        for instance in [1, 2] {
            assert_eq!(clones.registered(Time(0), key, host(instance)), Ok(()));
        }
        assert_eq!(clones.registered(Time(5), key, host(1)), Err(host(2)));
        assert!(clones.refuses(Time(5 + CLONED_MS - 1), &key));
        assert!(!clones.refuses(Time(5), &other));
        assert!(!clones.refuses(Time(5 + CLONED_MS), &key));
        // Whoever of the two is left is welcome, whatever its number was.
        assert_eq!(clones.registered(Time(5 + CLONED_MS), key, host(1)), Ok(()));
        assert_eq!(clones.registered(Time(5 + CLONED_MS), key, host(1)), Ok(()));
    }

    #[test]
    fn what_is_remembered_of_keys_is_bounded() {
        let mut clones = Clones::default();
        for n in 0..KEYS_MAX as u64 + 3 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            assert_eq!(clones.registered(Time(n), PublicKey(key), host(1)), Ok(()));
        }
        assert_eq!(clones.keys.len(), KEYS_MAX);
        assert!(!clones.keys.contains_key(&PublicKey([0; 32])));
    }
}
