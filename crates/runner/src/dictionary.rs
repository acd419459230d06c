//! Which columns are worth no dictionary: Parquet's writer would fill one to its limit of 1 MiB, and give it up.

use std::collections::HashSet;
use std::hash::Hash;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};

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
    let distinct = match column.data_type() {
        DataType::Utf8View => distinct(column.as_string_view()),
        DataType::Int64 => distinct(column.as_primitive::<Int64Type>()),
        DataType::Float64 => distinct(column.as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_bits))),
        DataType::Timestamp(TimeUnit::Microsecond, _) => distinct(column.as_primitive::<TimestampMicrosecondType>()),
        _ => 0,
    };
    distinct > LOOKED_AT - LOOKED_AT / 32
}

fn distinct<T: Eq + Hash>(values: impl IntoIterator<Item = Option<T>>) -> usize {
    values.into_iter().take(LOOKED_AT).flatten().collect::<HashSet<T>>().len()
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
}
