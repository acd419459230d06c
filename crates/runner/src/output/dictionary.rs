//! Which columns are worth no dictionary: Parquet's writer would fill one to its limit of 1 MiB, and give it up.

use std::hash::Hash;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use hashbrown::HashSet;

/// Values that are looked at. Of so many from a column with as many distinct values as fit a dictionary, one in fifteen
/// repeats another.
const LOOKED_AT: usize = 4096;

/// Whether the values of a column of a piece of a file, which tell for all of it, hardly repeat. A short column may have
/// its dictionary, and so may one that is neither text, time, nor a number of 64 bits.
pub(crate) fn hardly_repeats(piece: &RecordBatch, column: usize) -> bool {
    let column = piece.column(column);
    if column.len() < LOOKED_AT {
        return false;
    }
    match column.data_type() {
        DataType::Utf8View => differ(column.as_string_view()),
        DataType::Int64 => differ(column.as_primitive::<Int64Type>()),
        DataType::Float64 => differ(column.as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_bits))),
        DataType::Timestamp(TimeUnit::Microsecond, _) => differ(column.as_primitive::<TimestampMicrosecondType>()),
        _ => false,
    }
}

/// Whether nearly all of the values differ. A null is none, for it is never written; of too few values nobody knows.
fn differ<T: Eq + Hash>(values: impl IntoIterator<Item = Option<T>>) -> bool {
    let values: Vec<T> = values.into_iter().take(LOOKED_AT).flatten().collect();
    let looked_at = values.len();
    looked_at > LOOKED_AT * 3 / 4 && values.into_iter().collect::<HashSet<T>>().len() > looked_at - looked_at / 32
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringViewArray};

    use super::*;

    #[test]
    fn ids_hardly_repeat_and_ids_of_a_few_thousand_do() {
        let column = |of: usize, rows: usize| -> ArrayRef {
            Arc::new(StringViewArray::from_iter_values((0..rows).map(|row| format!("id {}", row * 7919 % of))))
        };
        let looked_at = |of, rows| {
            let piece = RecordBatch::try_from_iter([("id", column(of, rows))]).unwrap();
            hardly_repeats(&piece, 0)
        };
        assert!(looked_at(usize::MAX, 5_000));
        assert!(!looked_at(3_000, 5_000));
        assert!(!looked_at(usize::MAX, 1_000));
    }

    #[test]
    fn nulls_do_not_make_ids_repeat() {
        let ids = |null_of: usize| -> ArrayRef {
            Arc::new(
                (0..5_000).map(|row| (row % null_of > 0).then(|| format!("id {row}"))).collect::<StringViewArray>(),
            )
        };
        let looked_at = |null_of| hardly_repeats(&RecordBatch::try_from_iter([("id", ids(null_of))]).unwrap(), 0);
        assert!(looked_at(10));
        assert!(!looked_at(3));
        assert!(!looked_at(1));
    }
}
