//! Items of the groups of an aggregation, in the order they came: a list appended to costs a fraction of a list a group.

use arrow::array::{Array, BooleanArray};

/// Items, and the group of each. Two lists: side by side, a group would take as much room as a wide item.
#[derive(Debug)]
pub(crate) struct Grouped<T> {
    items: Vec<T>,
    group_of: Vec<u32>,
}

impl<T: Copy + Default> Grouped<T> {
    pub(crate) fn new() -> Grouped<T> {
        Grouped { items: Vec::new(), group_of: Vec::new() }
    }

    pub(crate) fn push(&mut self, group: usize, item: T) {
        self.items.push(item);
        self.group_of.push(group as u32);
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Takes out the items of the first `taken` of all `groups`, in the order of groups, and where each group starts; the
    /// other groups become the first.
    pub(crate) fn take(&mut self, taken: usize, groups: usize) -> (Vec<u32>, Vec<T>) {
        let (mut starts, mut items) = std::mem::replace(self, Grouped::new()).sorted(groups);
        self.items = items.split_off(starts[taken] as usize);
        let later = starts[taken..].windows(2).zip(0u32..);
        self.group_of = later.flat_map(|(bounds, group)| (bounds[0]..bounds[1]).map(move |_| group)).collect();
        starts.truncate(taken + 1);
        (starts, items)
    }

    fn sorted(self, groups: usize) -> (Vec<u32>, Vec<T>) {
        let mut items = vec![T::default(); self.items.len()];
        let starts = by_group(&self.group_of, groups, |from, to| items[to] = self.items[from]);
        (starts, items)
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<T>() + self.group_of.capacity() * size_of::<u32>()
    }
}

/// Counting sort: where each group starts. `place` is told of each item where it was and where it goes.
pub(crate) fn by_group(group_of: &[u32], groups: usize, mut place: impl FnMut(usize, usize)) -> Vec<u32> {
    let mut starts = vec![0u32; groups + 1];
    group_of.iter().for_each(|group| starts[*group as usize + 1] += 1);
    (0..groups).for_each(|group| starts[group + 1] += starts[group]);
    let mut next = starts.clone();
    for (from, group) in group_of.iter().enumerate() {
        let to = &mut next[*group as usize];
        place(from, *to as usize);
        *to += 1;
    }
    starts
}

/// Which rows an aggregate takes, where a script says `filter (where …)`.
pub(crate) fn wanted(filter: Option<&BooleanArray>) -> impl Fn(usize) -> bool {
    move |row| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_taken_from_the_first() {
        let mut grouped = Grouped::new();
        for (group, item) in [(2, 'a'), (0, 'b'), (3, 'c'), (2, 'd'), (0, 'e')] {
            grouped.push(group, item);
        }
        assert_eq!(grouped.take(2, 4), (vec![0, 2, 2], vec!['b', 'e']));
        grouped.push(2, 'f');
        assert_eq!(grouped.take(3, 3), (vec![0, 2, 3, 4], vec!['a', 'd', 'c', 'f']));
        assert_eq!(grouped.take(0, 0), (vec![0], vec![]));
    }
}
