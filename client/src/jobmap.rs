//! A map from leases to what is known of them, in the leases' order.
//!
//! Owns nothing but the order. A builder has one job and at most a few old results, so a sorted list does; a
//! `BTreeMap` of each kind of value was 4 kB on ARM. Used by [`crate::core`] and [`crate::shell`].

use std::ops::Index;

use moji_proto::LeaseId;

/// Values by their lease.
#[derive(Clone, Debug)]
pub struct JobMap<V>(Vec<(LeaseId, V)>);

impl<V> Default for JobMap<V> {
    fn default() -> JobMap<V> {
        JobMap(Vec::new())
    }
}

impl<V> JobMap<V> {
    fn find(&self, lease: LeaseId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&lease, |(lease, _)| *lease)
    }

    /// Adds a value or replaces the lease's former one.
    pub fn insert(&mut self, lease: LeaseId, value: V) {
        match self.find(lease) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (lease, value)),
        }
    }

    /// Takes a lease's value out.
    pub fn remove(&mut self, lease: LeaseId) -> Option<V> {
        self.find(lease).ok().map(|at| self.0.remove(at).1)
    }

    /// The value of a lease.
    #[must_use]
    pub fn get(&self, lease: LeaseId) -> Option<&V> {
        self.find(lease).ok().map(|at| &self.0[at].1)
    }

    /// The value of a lease, to be changed.
    pub fn get_mut(&mut self, lease: LeaseId) -> Option<&mut V> {
        self.find(lease).ok().map(|at| &mut self.0[at].1)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (LeaseId, &V)> {
        self.0.iter().map(|(lease, value)| (*lease, value))
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (LeaseId, &mut V)> {
        self.0.iter_mut().map(|(lease, value)| (*lease, value))
    }

    /// Their values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Keeps those for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.0.retain(|(_, value)| keep(value));
    }
}

impl<V> Index<LeaseId> for JobMap<V> {
    type Output = V;

    fn index(&self, lease: LeaseId) -> &V {
        self.get(lease).expect("the lease is known")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(counter: u32) -> LeaseId {
        LeaseId { incarnation: 1, counter }
    }

    #[test]
    fn what_was_put_in_is_there_once_and_in_order() {
        let mut map = JobMap::default();
        for (counter, value) in [(3, 'c'), (1, 'a'), (2, 'x'), (2, 'b')] {
            map.insert(lease(counter), value);
        }
        assert_eq!(
            map.iter().map(|(lease, value)| (lease, *value)).collect::<Vec<_>>(),
            [(lease(1), 'a'), (lease(2), 'b'), (lease(3), 'c')]
        );
        *map.get_mut(lease(3)).unwrap() = 'z';
        assert_eq!((map.remove(lease(1)), map.remove(lease(1)), map.get(lease(4))), (Some('a'), None, None));
        map.iter_mut().for_each(|(_, value)| value.make_ascii_uppercase());
        map.retain(|value| *value != 'B');
        assert_eq!((map.len(), map[lease(3)]), (1, 'Z'));
    }
}
