//! A map from texts to small values that keeps no text.
//!
//! Owns the packing: 44 bits of a text's hash and the value, in short sorted runs. Two texts that fall together are
//! taken for one: with half a million of them that happens once in some ten million questions, and costs a package one
//! vain attempt. Whoever must be sure compares the texts.

use std::hash::Hasher;

/// Bits of a hash that choose the run: runs of about a hundred at 25,000 packages, which move in one go.
const RUN_BITS: u32 = 12;
/// A full run grows by this share of its length: room for more would cost megabytes over all runs.
const GROW_SHARE: usize = 8;

/// What a text is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    run: u16,
    rest: u32,
}

impl Key {
    /// Of a text: the same in every run of the program.
    #[allow(clippy::cast_possible_truncation, reason = "the bits are chosen")]
    pub(super) fn of(text: &str) -> Key {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(text.as_bytes());
        let hash = hasher.finish();
        Key { run: (hash >> (u64::BITS - RUN_BITS)) as u16, rest: hash as u32 }
    }
}

/// Values by text; several of one text stay in the order in which they came.
#[derive(Clone, Debug)]
pub(super) struct Table<V> {
    runs: Box<[Vec<(u32, V)>]>,
}

impl<V> Default for Table<V> {
    fn default() -> Table<V> {
        Table { runs: (0..1 << RUN_BITS).map(|_| Vec::new()).collect() }
    }
}

impl<V> Table<V> {
    /// Adds a value.
    pub(super) fn insert(&mut self, key: Key, value: V) {
        let run = &mut self.runs[usize::from(key.run)];
        if run.len() == run.capacity() {
            run.reserve_exact(run.len() / GROW_SHARE + 1);
        }
        let at = run.partition_point(|(rest, _)| *rest <= key.rest);
        run.insert(at, (key.rest, value));
    }

    /// The values of a text.
    pub(super) fn all(&self, key: Key) -> impl Iterator<Item = &V> {
        let run = &self.runs[usize::from(key.run)];
        let start = run.partition_point(|(rest, _)| *rest < key.rest);
        run[start..].iter().take_while(move |(rest, _)| *rest == key.rest).map(|(_, value)| value)
    }

    /// Keeps those values only, and may change them.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        for run in &mut self.runs {
            run.retain_mut(|(_, value)| keep(value));
            let room = run.len() + run.len() / GROW_SHARE + 1;
            run.shrink_to(room);
        }
    }

    /// How many values there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// What it takes up, bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let run = |run: &Vec<(u32, V)>| size_of::<Vec<(u32, V)>>() + run.capacity() * size_of::<(u32, V)>();
        self.runs.iter().map(run).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_text_in_order_until_they_are_taken_out() {
        let mut table = Table::default();
        for n in 0..20_000_u32 {
            table.insert(Key::of(&format!("name{}", n % 10_000)), n);
        }
        assert_eq!(table.len(), 20_000);
        for n in 0..10_000_u32 {
            let found: Vec<u32> = table.all(Key::of(&format!("name{n}"))).copied().collect();
            assert_eq!(found, [n, n + 10_000]);
        }
        assert_eq!(table.all(Key::of("other")).count(), 0);
        table.retain(|n| *n >= 15_000);
        assert_eq!(table.len(), 5_000);
        assert_eq!(table.all(Key::of("name1")).count(), 0);
        assert_eq!(table.all(Key::of("name7000")).copied().collect::<Vec<u32>>(), [17_000]);
    }
}
