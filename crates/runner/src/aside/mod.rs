//! Rows that f never sees, kept with where they came from and why: late and rejected.

pub(crate) mod excess;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::json::LineDelimitedWriter;
use connector::{Rejected, position_fields};
use journal::{Epoch, Publish, Syncs};
use scan::REASON;

use crate::output::files::write_aside;

/// Why a row is late.
pub(crate) const LATE: &str = "late: older than its partition's watermark";
/// The same, where its partition alone would not have made it so.
pub(crate) const OVERSLEPT: &str = "late: older than the watermark that went on while its partition was idle";

/// A row that is late says why beside its columns.
pub(crate) fn late(rows: &RecordBatch, reason: &str) -> Result<RecordBatch> {
    let reason = StringViewArray::from_iter_values(std::iter::repeat_n(reason, rows.num_rows()));
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(REASON, DataType::Utf8View, false)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(reason));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Where a rejected row came from, why it was rejected, and the row as it came.
pub(crate) fn rejected_schema() -> SchemaRef {
    let mut fields: Vec<Field> = position_fields().into();
    fields.push(Field::new("reason", DataType::Utf8View, false));
    fields.push(Field::new("raw", DataType::Binary, false));
    Arc::new(Schema::new(fields))
}

pub(crate) fn rejected(rows: &[Rejected]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| &row.topic))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.partition))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.offset))),
        Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.arrived_at))),
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| &row.reason))),
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| &row.raw))),
    ];
    Ok(RecordBatch::try_new(rejected_schema(), columns)?)
}

/// Decoded rows that are rejected all the same, for the reason that `reason` gives of each by its number: their raw form
/// is their JSON.
fn decoded(rows: &RecordBatch, reason: impl Fn(usize) -> String) -> Result<Vec<Rejected>> {
    let visible: Vec<usize> =
        (0..rows.num_columns()).filter(|column| !rows.schema().field(*column).name().starts_with('_')).collect();
    let visible = rows.project(&visible)?;
    let column = |name: &str| rows.column_by_name(name);
    let arrived = column("_arrived_at").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let partition = column("_partition").and_then(|column| column.as_primitive_opt::<Int32Type>());
    let offset = column("_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let topic = column("_topic").and_then(|column| column.as_string_view_opt());
    let one = |row: usize| {
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(&visible.slice(row, 1))?;
        writer.finish()?;
        Ok(Rejected {
            topic: topic.map_or_else(String::new, |topic| topic.value(row).to_owned()),
            partition: partition.map_or(0, |partition| partition.value(row)),
            offset: offset.map_or(0, |offset| offset.value(row)),
            arrived_at: arrived.filter(|arrived| arrived.is_valid(row)).map(|arrived| arrived.value(row)),
            reason: reason(row),
            raw: writer.into_inner().trim_ascii_end().to_vec(),
        })
    };
    (0..rows.num_rows()).map(one).collect()
}

/// Rows that are too far ahead of their arrival.
pub(crate) fn future(rows: &RecordBatch, time: &str) -> Result<Vec<Rejected>> {
    decoded(rows, |_| format!("future_time: {time} is further ahead of its arrival than --max-future allows"))
}

/// Rows that say no time.
pub(crate) fn timeless(rows: &RecordBatch, time: &str) -> Result<Vec<Rejected>> {
    decoded(rows, |_| format!("no_event_time: {time} is null"))
}

/// Rows on which an expression of the door fails, by number and why.
pub(crate) fn failed(rows: &RecordBatch, failed: &[(usize, String)]) -> Result<Vec<Rejected>> {
    let one = |(row, reason): &(usize, String)| decoded(&rows.slice(*row, 1), |_| reason.clone());
    Ok(failed.iter().map(one).collect::<Result<Vec<_>>>()?.concat())
}

/// Rows that f refused.
pub(crate) fn refused<'a>(rows: impl IntoIterator<Item = &'a RecordBatch>) -> Result<RecordBatch> {
    let mut all = Vec::new();
    for rows in rows {
        let reasons = rows.column_by_name(REASON).and_then(|column| column.as_string_view_opt());
        all.extend(decoded(rows, |row| reasons.map_or_else(String::new, |reasons| reasons.value(row).to_owned()))?);
    }
    rejected(&all)
}

/// Writes rows that f refused where an epoch will publish them, and says how many.
pub(crate) fn keep_refused(
    root: &Path,
    place: &str,
    stage: &str,
    rows: &[RecordBatch],
    epoch: &mut Epoch,
    syncs: &Syncs,
) -> Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let rows = refused(rows)?;
    let name = format!("{:010}-{}", epoch.number, epoch.token);
    let staged = format!("{stage}/{name}-rejected-{}.parquet", place.replace(['/', '='], "-"));
    let sum = write_aside(&root.join(&staged), &rows.schema(), [Ok(rows.clone())], syncs)?;
    let path = format!("{place}/{name}.parquet");
    epoch.publish.push(Publish { staged, path, bytes: sum.bytes, checksum: sum.checksum });
    Ok(rows.num_rows() as u64)
}
