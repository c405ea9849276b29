//! Texts and tables that take little.
//!
//! Owns the packing: a text once, rows of a table behind each other. Made once and never changed. A table keeps no text but
//! 64 bits of its hash: two that fall together make a thin repository larger than it must be, never smaller.

use std::collections::HashMap;
use std::hash::Hasher;

/// Bits of a key that choose where in a table the search for it begins.
const FIRST_BITS: u32 = 12;
/// A vector that is full grows by this share of its length: twice as much would cost more than all the rest.
const GROW_SHARE: usize = 8;

/// What a text is found by: the same in every run.
pub(super) fn key(text: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Adds to what may grow large.
pub(super) fn push<T>(to: &mut Vec<T>, one: T) {
    if to.len() == to.capacity() {
        to.reserve_exact(to.len() / GROW_SHARE + 64);
    }
    to.push(one);
}

/// Texts by number.
#[derive(Debug, Default)]
pub(super) struct Texts {
    all: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Texts {
    pub(super) fn get(&self, number: u32) -> &str {
        let at = number as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.all[start..self.ends[at] as usize]
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.all.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    pub(super) fn shrink(&mut self) {
        self.all.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

/// Gives each text one number.
#[derive(Debug, Default)]
pub(super) struct Interner {
    pub(super) texts: Texts,
    by_key: HashMap<u64, u32>,
}

impl Interner {
    /// The number of a text; None if there are too many.
    pub(super) fn number(&mut self, text: &str) -> Option<u32> {
        let key = key(text);
        if let Some(number) = self.by_key.get(&key).filter(|number| self.texts.get(**number) == text) {
            return Some(*number);
        }
        let number = u32::try_from(self.texts.ends.len()).ok()?;
        let end = u32::try_from(self.texts.all.len() + text.len()).ok()?;
        let all = &mut self.texts.all;
        if all.capacity() - all.len() < text.len() {
            all.reserve_exact(all.len() / GROW_SHARE + text.len());
        }
        all.push_str(text);
        push(&mut self.texts.ends, end);
        self.by_key.insert(key, number);
        Some(number)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.texts.heap_bytes() + self.by_key.capacity() * (size_of::<(u64, u32)>() + 1)
    }
}

/// Rows by key.
#[derive(Debug)]
pub(super) struct Table<V> {
    keys: Vec<u64>,
    /// Where the rows of each key end.
    ends: Vec<u32>,
    rows: Vec<V>,
    /// Where the keys with these first bits begin.
    firsts: Vec<u32>,
}

impl<V: Copy + Ord> Table<V> {
    /// Of rows in any order; None if there are too many.
    pub(super) fn of(mut rows: Vec<(u64, V)>) -> Option<Table<V>> {
        rows.sort_unstable();
        rows.dedup();
        u32::try_from(rows.len()).ok()?;
        let count = rows.chunk_by(|a, b| a.0 == b.0).count();
        let mut table = Table {
            keys: Vec::with_capacity(count),
            ends: Vec::with_capacity(count),
            rows: Vec::with_capacity(rows.len()),
            firsts: Vec::with_capacity((1 << FIRST_BITS) + 1),
        };
        for of_one in rows.chunk_by(|a, b| a.0 == b.0) {
            table.keys.push(of_one[0].0);
            table.rows.extend(of_one.iter().map(|(_, row)| *row));
            table.ends.push(u32::try_from(table.rows.len()).ok()?);
        }
        for first in 0..=1_u64 << FIRST_BITS {
            let at = match first.checked_shl(u64::BITS - FIRST_BITS) {
                Some(least) if first < 1 << FIRST_BITS => table.keys.partition_point(|key| *key < least),
                _ => table.keys.len(),
            };
            table.firsts.push(u32::try_from(at).ok()?);
        }
        Some(table)
    }

    /// The rows of a key, in their order.
    pub(super) fn get(&self, key: u64) -> &[V] {
        let first = usize::try_from(key >> (u64::BITS - FIRST_BITS)).expect("it has few bits");
        let (from, to) = (self.firsts[first] as usize, self.firsts[first + 1] as usize);
        let Ok(at) = self.keys[from..to].binary_search(&key) else { return &[] };
        let at = from + at;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.rows[start..self.ends[at] as usize]
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<u64>()
            + (self.ends.capacity() + self.firsts.capacity()) * size_of::<u32>()
            + self.rows.capacity() * size_of::<V>()
    }
}

/// A list of numbers for each number from 0 on.
#[derive(Debug, Default)]
pub(super) struct Lists {
    all: Vec<u32>,
    ends: Vec<u32>,
}

impl Lists {
    /// Adds the list of the next number; None if there are too many.
    pub(super) fn push(&mut self, list: impl Iterator<Item = u32>) -> Option<()> {
        list.for_each(|one| push(&mut self.all, one));
        push(&mut self.ends, u32::try_from(self.all.len()).ok()?);
        Some(())
    }

    pub(super) fn get(&self, number: u32) -> &[u32] {
        let at = number as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.all[start..self.ends[at] as usize]
    }

    pub(super) fn heap_bytes(&self) -> usize {
        (self.all.capacity() + self.ends.capacity()) * size_of::<u32>()
    }

    pub(super) fn shrink(&mut self) {
        self.all.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_key_and_others_are_not() {
        let mut rows: Vec<(u64, u32)> =
            (0..30_000).map(|n| (key(&format!("name{}", n % 10_000)), n)).collect();
        rows.extend([(0, 1), (u64::MAX, 2), (u64::MAX, 2)]);
        let table = Table::of(rows).unwrap();
        for n in 0..10_000 {
            assert_eq!(table.get(key(&format!("name{n}"))), [n, n + 10_000, n + 20_000]);
        }
        assert_eq!((table.get(0), table.get(u64::MAX)), (&[1][..], &[2][..]));
        assert_eq!(table.get(key("other")), [0; 0]);
        assert_eq!(Table::<u32>::of(Vec::new()).unwrap().get(7), [0; 0]);
    }

    #[test]
    fn a_text_has_one_number_and_lists_stand_apart() {
        let mut interner = Interner::default();
        let numbers: Vec<u32> = ["a", "", "bc", "a", ""].map(|text| interner.number(text).unwrap()).into();
        assert_eq!(numbers, [0, 1, 2, 0, 1]);
        assert_eq!(["a", "", "bc"], [0, 1, 2].map(|number| interner.texts.get(number)));
        let mut lists = Lists::default();
        for list in [&[1, 2][..], &[], &[3]] {
            lists.push(list.iter().copied()).unwrap();
        }
        assert_eq!([lists.get(0), lists.get(1), lists.get(2)], [&[1, 2][..], &[], &[3]]);
    }
}
