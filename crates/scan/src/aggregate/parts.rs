//! Sets that other accumulators of an aggregation made, kept as they came: what they hold is not copied before somebody
//! asks for their group.

use arrow::array::ArrayRef;

use crate::aggregate::grouped::Grouped;

/// Values of a column to unite, and the group of each.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Which of the columns, and which of its rows.
    places: Grouped<(u32, u32)>,
    columns: Vec<ArrayRef>,
    held: usize,
}

/// Those of some groups.
pub(crate) struct Taken {
    starts: Vec<u32>,
    places: Vec<(u32, u32)>,
    columns: Vec<ArrayRef>,
}

impl Parts {
    pub(crate) fn new() -> Parts {
        Parts { places: Grouped::new(), columns: Vec::new(), held: 0 }
    }

    /// Keeps a column of sets that hold so many bytes.
    pub(crate) fn push(&mut self, column: &ArrayRef, groups: &[usize], bytes: usize) {
        let at = self.columns.len() as u32;
        groups.iter().zip(0u32..).for_each(|(group, row)| self.places.push(*group, (at, row)));
        self.columns.push(column.clone());
        self.held += bytes;
    }

    /// Takes out the sets of the first `taken` of all `groups`; the other groups become the first.
    pub(crate) fn take(&mut self, taken: usize, groups: usize) -> Taken {
        let (starts, places) = self.places.take(taken, groups);
        let columns = if taken == groups { std::mem::take(&mut self.columns) } else { self.columns.clone() };
        self.held = if taken == groups { 0 } else { self.held };
        Taken { starts, places, columns }
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.places.bytes() + self.held
    }
}

impl Taken {
    /// The sets of a group, each as a column and its row.
    pub(crate) fn of(&self, group: usize) -> impl Iterator<Item = (&ArrayRef, usize)> {
        let places = &self.places[self.starts[group] as usize..self.starts[group + 1] as usize];
        places.iter().map(|(column, row)| (&self.columns[*column as usize], *row as usize))
    }
}
