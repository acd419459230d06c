//! The columns that say where each row came from, after [`position_fields`](crate::position_fields).

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int32Array, Int64Array, StringViewBuilder, TimestampMicrosecondArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::source::position_fields;

/// These columns, then the position's.
pub(crate) fn with_positions(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().cloned().chain(position_fields().map(Arc::new));
    Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
}

/// One row for each offset and arrival.
pub(crate) fn columns(
    topic: &str,
    partition: i32,
    offsets: Vec<i64>,
    arrived_at: TimestampMicrosecondArray,
) -> Result<[ArrayRef; 4]> {
    let rows = offsets.len();
    let mut topics = StringViewBuilder::with_capacity(rows);
    let block = topics.append_block(Buffer::from(topic.as_bytes()));
    let length = u32::try_from(topic.len()).context("name of a topic too long")?;
    for _ in 0..rows {
        topics.try_append_view(block, 0, length)?;
    }
    Ok([
        Arc::new(topics.finish()),
        Arc::new(Int32Array::from_value(partition, rows)),
        Arc::new(Int64Array::from(offsets)),
        Arc::new(arrived_at),
    ])
}
