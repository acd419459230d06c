//! From the hash of a key to the rows that have it: an open-addressing table of chains, appended to and dropped whole.

use hashbrown::HashTable;

const END: u32 = u32::MAX;

/// Set in a head with more rows behind it: most have none, and one look into memory less is a third of the cost.
const MORE: u32 = 1 << 31;

/// Rows by the 64-bit hash of their key. Rows are numbered in the order of insertion. Two keys may share a hash: whoever
/// follows a chain compares the keys themselves. There is room for 2^31 - 1 rows.
#[derive(Debug, Default)]
pub(crate) struct Index {
    heads: HashTable<Head>,
    next: Vec<u32>,
}

/// The newest row of a hash, and how many rows have it.
#[derive(Debug)]
struct Head {
    hash: u64,
    row: u32,
    rows: u32,
}

impl Index {
    /// Adds the next row; `None` where its key has a null and no look-up can find it. Answers how many rows have its hash.
    pub(crate) fn push(&mut self, hash: Option<u64>) -> u32 {
        let row = self.next.len() as u32;
        let Some(hash) = hash else {
            self.next.push(END);
            return 0;
        };
        let (next, rows) = match self.heads.entry(hash, |head| head.hash == hash, |head| head.hash) {
            hashbrown::hash_table::Entry::Occupied(mut entry) => {
                let head = entry.get_mut();
                head.rows += 1;
                (std::mem::replace(&mut head.row, row | MORE) & !MORE, head.rows)
            }
            hashbrown::hash_table::Entry::Vacant(entry) => {
                entry.insert(Head { hash, row, rows: 1 });
                (END, 1)
            }
        };
        self.next.push(next);
        rows
    }

    /// Whether any row has this hash.
    #[inline]
    pub(crate) fn has(&self, hash: u64) -> bool {
        self.heads.find(hash, |head| head.hash == hash).is_some()
    }

    /// The newest row with this hash.
    #[inline]
    pub(crate) fn newest(&self, hash: u64) -> Option<u32> {
        self.heads.find(hash, |head| head.hash == hash).map(|head| head.row & !MORE)
    }

    /// The rows with this hash, the newest first.
    #[inline]
    pub(crate) fn chain(&self, hash: u64) -> Chain<'_> {
        let head = self.heads.find(hash, |head| head.hash == hash).map_or(END, |head| head.row);
        match head {
            END => Chain { next: &[], row: END },
            _ if head & MORE == 0 => Chain { next: &[], row: head },
            _ => Chain { next: &self.next, row: head & !MORE },
        }
    }
}

/// Iterates over the rows of one hash.
pub(crate) struct Chain<'a> {
    /// Nothing where the row is the only one.
    next: &'a [u32],
    row: u32,
}

impl Iterator for Chain<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let row = (self.row != END).then_some(self.row)?;
        self.row = self.next.get(row as usize).copied().unwrap_or(END);
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_hold_every_row_of_a_hash() {
        let mut index = Index::default();
        let rows = [Some(7), None, Some(9), Some(7), Some(7)].map(|hash| index.push(hash));
        assert_eq!(rows, [1, 0, 1, 2, 3]);
        assert_eq!(index.chain(7).collect::<Vec<_>>(), [4, 3, 0]);
        assert_eq!(index.chain(9).collect::<Vec<_>>(), [2]);
        assert_eq!(index.chain(0).count(), 0);
        assert_eq!([7, 9, 0].map(|hash| index.has(hash)), [true, true, false]);
    }
}
