//! Rows by the hour they happened in.

use anyhow::Result;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use connector::Hour;

/// The rows of each hour, hours ascending, the rows of one in their order. `times` has the time of each row, microseconds.
/// Rows that come hour by hour are not copied, others once.
pub(crate) fn by_hour(rows: &RecordBatch, times: &[i64]) -> Result<Vec<(Hour, RecordBatch)>> {
    let hours: Vec<Hour> = times.iter().map(|time| Hour::of(*time)).collect();
    if hours.is_sorted() {
        return Ok(slices(rows, &hours));
    }
    let mut order: Vec<u32> = (0..hours.len() as u32).collect();
    order.sort_by_key(|row| hours[*row as usize]);
    let hours: Vec<Hour> = order.iter().map(|row| hours[*row as usize]).collect();
    Ok(slices(&take_record_batch(rows, &UInt32Array::from(order))?, &hours))
}

fn slices(rows: &RecordBatch, hours: &[Hour]) -> Vec<(Hour, RecordBatch)> {
    let mut first = 0;
    let neighbours = hours.chunk_by(|one, next| one == next).map(|of_hour| {
        let slice = rows.slice(first, of_hour.len());
        first += of_hour.len();
        (of_hour[0], slice)
    });
    neighbours.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use connector::HOUR_US;

    use super::*;

    /// Hours of rows, and the rows of each hour.
    type Case = (&'static [i64], &'static [(i64, &'static [i64])]);

    #[test]
    fn hours_ascend_and_rows_keep_their_order() {
        let cases: [Case; 5] = [
            (&[], &[]),
            (&[7, 7, 7], &[(7, &[0, 1, 2])]),
            (&[-1, 0, 0, 3], &[(-1, &[0]), (0, &[1, 2]), (3, &[3])]),
            (&[5, 4, 5, 4], &[(4, &[1, 3]), (5, &[0, 2])]),
            (&[0, -1], &[(-1, &[1]), (0, &[0])]),
        ];
        for (hours, expected) in cases {
            let numbers = Int64Array::from_iter_values(0..hours.len() as i64);
            let rows = RecordBatch::try_from_iter([("row", Arc::new(numbers) as ArrayRef)]).unwrap();
            let times: Vec<i64> = hours.iter().enumerate().map(|(row, hour)| hour * HOUR_US + row as i64).collect();
            let found = by_hour(&rows, &times).unwrap();
            let rows = |rows: &RecordBatch| rows.column(0).as_primitive::<Int64Type>().values().to_vec();
            let found: Vec<_> = found.iter().map(|(hour, of_hour)| (*hour, rows(of_hour))).collect();
            let expected: Vec<_> =
                expected.iter().map(|(hour, rows)| (Hour::of(hour * HOUR_US), rows.to_vec())).collect();
            assert_eq!(found, expected, "{hours:?}");
        }
    }
}
