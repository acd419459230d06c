//! Rows in the order of some columns, and where the values of each begin anew.

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::error::Result;

/// An order of the rows of some batches, numbered through: ascending by columns, nulls first.
pub(crate) struct Order {
    pub rows: Vec<u32>,
    /// For each row of the order the first column in which it differs from the row before it; as many as there are
    /// columns where it differs in none. The first row differs in the first column.
    pub differs: Vec<usize>,
}

impl Order {
    /// Sorts by one column after another: most rows differ in the first bytes of one, which are held beside the row's
    /// number, so that only rows with equal beginnings are looked up to compare them.
    ///
    /// # Errors
    /// A column that is not there.
    pub(crate) fn by(columns: &[String], rows: &[RecordBatch]) -> Result<Order> {
        let values = columns.iter().map(|column| encode(rows, std::slice::from_ref(column)));
        let values: Vec<Rows> = values.collect::<Result<_>>()?;
        let count = rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        let mut order = Order { rows: (0..count as u32).collect(), differs: vec![columns.len(); count] };
        if let Some(first) = order.differs.first_mut() {
            *first = 0;
        }
        arrange(&values, 0, &mut order.rows, &mut order.differs, &mut Vec::new());
        Ok(order)
    }

    /// The rows of each group that agrees in the first `columns` columns, as ranges of the order.
    pub(crate) fn groups(&self, columns: usize) -> impl Iterator<Item = &[u32]> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let begun = from;
            let rest = self.differs.get(begun + 1..)?;
            from = begun + 1 + rest.iter().position(|differs| *differs < columns).unwrap_or(rest.len());
            Some(&self.rows[begun..from])
        })
    }
}

/// Sorts rows that agree in the columns before `column`. `sorting` is scratch.
fn arrange(columns: &[Rows], column: usize, rows: &mut [u32], differs: &mut [usize], sorting: &mut Vec<(u128, u32)>) {
    let Some(values) = columns.get(column) else { return };
    let value = |row: u32| values.row(row as usize);
    sorting.clear();
    sorting.extend(rows.iter().map(|row| (beginning(value(*row).as_ref()), *row)));
    sorting.sort_unstable_by_key(|(beginning, _)| *beginning);
    let mut from = 0;
    for run in sorting.chunk_by_mut(|a, b| a.0 == b.0) {
        if from > 0 {
            differs[from] = column;
        }
        if run.windows(2).any(|pair| value(pair[0].1) != value(pair[1].1)) {
            run.sort_unstable_by(|a, b| value(a.1).cmp(&value(b.1)));
            for (at, pair) in run.windows(2).enumerate() {
                if value(pair[0].1) != value(pair[1].1) {
                    differs[from + at + 1] = column;
                }
            }
        }
        from += run.len();
    }
    rows.iter_mut().zip(sorting.iter()).for_each(|(row, (_, sorted))| *row = *sorted);
    let mut from = 0;
    for to in 1..=rows.len() {
        if to == rows.len() || differs[to] == column {
            if to - from > 1 {
                arrange(columns, column + 1, &mut rows[from..to], &mut differs[from..to], sorting);
            }
            from = to;
        }
    }
}

/// The first bytes of a value: less for a lesser value, or equal.
fn beginning(value: &[u8]) -> u128 {
    let mut head = [0; 16];
    let length = value.len().min(head.len());
    head[..length].copy_from_slice(&value[..length]);
    u128::from_be_bytes(head)
}

/// The columns of all rows in one form that compares as bytes.
pub(crate) fn encode(rows: &[RecordBatch], columns: &[String]) -> Result<Rows> {
    let Some(first) = rows.first() else { return Ok(RowConverter::new(Vec::new())?.empty_rows(0, 0)) };
    let schema = first.schema();
    let positions: Vec<usize> = columns.iter().map(|column| schema.index_of(column)).collect::<Result<_, _>>()?;
    let fields = positions.iter().map(|column| SortField::new(schema.field(*column).data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let mut encoded = converter.empty_rows(rows.iter().map(RecordBatch::num_rows).sum(), 0);
    for rows in rows {
        converter.append(&mut encoded, rows.project(&positions)?.columns())?;
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringViewArray};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Texts that agree in more bytes than are held, are prefixes of one another, end in zeros, or are null.
    fn text(random: &mut StdRng) -> Option<String> {
        let long = "the same for twenty bytes and more ";
        match random.random_range(0..6) {
            0 => None,
            1 => Some(String::new()),
            2 => Some("\0".repeat(random.random_range(0..20))),
            3 => Some(long[..random.random_range(0..long.len())].to_owned()),
            _ => Some(format!("{long}{}", random.random_range(0..4))),
        }
    }

    #[test]
    fn rows_come_by_one_column_after_another_and_groups_where_they_differ() {
        for seed in 0..200 {
            let random = &mut StdRng::seed_from_u64(seed);
            let batches: Vec<Vec<(Option<String>, Option<i64>)>> = (0..random.random_range(0..4))
                .map(|_| {
                    let row = |random: &mut StdRng| {
                        (text(random), random.random_bool(0.8).then(|| random.random_range(-2..2)))
                    };
                    (0..random.random_range(0..40)).map(|_| row(random)).collect()
                })
                .collect();
            let rows: Vec<RecordBatch> = batches
                .iter()
                .map(|rows| {
                    let texts: StringViewArray = rows.iter().map(|row| row.0.as_deref()).collect();
                    let numbers: Int64Array = rows.iter().map(|row| row.1).collect();
                    let columns = [("text", Arc::new(texts) as ArrayRef), ("number", Arc::new(numbers))];
                    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
                        .unwrap()
                })
                .collect();
            let all: Vec<_> = batches.into_iter().flatten().collect();
            let order = Order::by(&["text".to_owned(), "number".to_owned()], &rows).unwrap();
            let ordered: Vec<_> = order.rows.iter().map(|row| all[*row as usize].clone()).collect();
            let mut expected = all.clone();
            expected.sort();
            assert_eq!(ordered, expected, "seed {seed}");
            let groups = |columns| order.groups(columns).map(<[u32]>::len).collect::<Vec<_>>();
            let texts: Vec<usize> = expected.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len).collect();
            let both: Vec<usize> = expected.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
            assert_eq!((groups(1), groups(2)), (texts, both), "seed {seed}");
        }
    }
}
