//! Versions by key, each from some time on: which one holds when.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::row::{Row, RowConverter, Rows, SortField};
use datafusion::error::Result;
use event_time::TIME;

use crate::script::one_float::one_value;

/// The rows of a side input, in the order of key, time and content.
#[derive(Debug)]
pub(crate) struct Versions {
    kinds: Vec<DataType>,
    converter: RowConverter,
    /// The key of each row, and from when on it holds, microseconds.
    key: Rows,
    from: Vec<i64>,
    /// Of the first two rows of one key and time that differ, the former.
    twins: Option<usize>,
}

impl Versions {
    /// Of rows with these keys, times and contents (as [`comparable`] has them); and the order in which they are numbered here.
    pub(crate) fn new(keys: &RecordBatch, from: &[i64], content: &Rows) -> Result<(Versions, UInt32Array)> {
        let one = keys.columns().iter().map(one_value).collect();
        let keys = &RecordBatch::try_new(keys.schema(), one)?;
        let (converter, key) = comparable(keys)?;
        let mut order: Vec<u32> = (0..from.len() as u32).collect();
        let at = |row: u32| (key.row(row as usize), from[row as usize]);
        order.sort_unstable_by(|a, b| {
            at(*a).cmp(&at(*b)).then_with(|| content.row(*a as usize).cmp(&content.row(*b as usize)))
        });
        let differ = |pair: &[u32]| content.row(pair[0] as usize) != content.row(pair[1] as usize);
        let twins = order.windows(2).position(|pair| at(pair[0]) == at(pair[1]) && differ(pair));
        let sorted = order.iter().map(|row| from[*row as usize]).collect();
        let order = UInt32Array::from(order);
        let keys = take_record_batch(keys, &order)?;
        let key = converter.convert_columns(keys.columns())?;
        let kinds = keys.columns().iter().map(|column| column.data_type().clone()).collect();
        Ok((Versions { kinds, converter, key, from: sorted, twins }, order))
    }

    /// A row of a key and time of which another row says something else.
    pub(crate) fn twins(&self) -> Option<usize> {
        self.twins
    }

    /// For each key and time the row that holds then, if there is one.
    pub(crate) fn as_of(&self, keys: &[ArrayRef], times: &ArrayRef) -> Result<UInt32Array> {
        // A key that is none in the side input's type is not in it.
        let keys = keys.iter().zip(&self.kinds).map(|(key, kind)| cast(key, kind)).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<ArrayRef> = keys.iter().map(one_value).collect();
        let probes = self.converter.convert_columns(&keys)?;
        let times = cast(times, &TIME)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let row = |row: usize| {
            if times.is_null(row) || keys.iter().any(|key| key.is_null(row)) {
                return None;
            }
            let last = self.after(probes.row(row), times.value(row)).checked_sub(1)?;
            (self.key.row(last) == probes.row(row)).then_some(last as u32)
        };
        Ok((0..probes.num_rows()).map(row).collect())
    }

    /// How many rows are at or before a key and a time.
    fn after(&self, key: Row<'_>, time: i64) -> usize {
        let (mut low, mut high) = (0, self.from.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.key.row(middle).cmp(&key).then(self.from[middle].cmp(&time)).is_le() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// Rows in a form that compares as bytes.
pub(crate) fn comparable(rows: &RecordBatch) -> Result<(RowConverter, Rows)> {
    let fields = rows.columns().iter().map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let encoded = converter.convert_columns(rows.columns())?;
    Ok((converter, encoded))
}
