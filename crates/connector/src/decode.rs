//! Bytes to chunks: one row of JSON or CSV at a time into columns, with its position beside it. What is no row is kept
//! whole with the reason, and nothing is left out: rows and rejected rows together are the rows read.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewBuilder, TimestampMicrosecondArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::csv::Fields;
use crate::fault::Fault;
use crate::json;
use crate::row::Row;
use crate::source::{Chunk, Offset, Rejected, position_fields};

/// A row of text longer than this is rejected: 16 MiB.
pub const ROW_BYTES_MAX: usize = 16 << 20;

/// How a row of text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// A JSON object.
    Json,
    /// A CSV record, RFC 4180. An empty field is null.
    Csv,
}

/// Decodes the rows of one source partition, chunk by chunk.
///
/// A row is rejected, with one of these codes first in its reason, where it is not exactly what the schema says:
/// `bad_encoding`, `csv_truncated`, `duplicate_key`, `empty_payload`, `int_overflow`, `json_malformed`, `json_truncated`,
/// `lossy_number`, `missing`, `multiple_documents`, `no_event_time`, `no_zone`, `non_finite`, `time_out_of_range`,
/// `too_deep`, `too_large`, `wrong_columns`, `wrong_type`.
pub struct Decoder {
    schema: SchemaRef,
    row: Row,
    /// Where a CSV record's fields go; `None` for JSON.
    fields: Option<Fields>,
    offsets: Vec<i64>,
    arrived_at: Vec<Option<i64>>,
    rejected: Vec<Rejected>,
    read: u64,
    unknown: u64,
}

impl Decoder {
    /// A decoder to the columns of `schema`, of which `time` must be a timestamp: the event time, which no row can do
    /// without. Columns that are not nullable are required too. CSV fields come in the order of the schema until
    /// [`Decoder::header`] says otherwise.
    ///
    /// # Errors
    /// No such time column, or a type that text is not decoded to.
    pub fn new(format: TextFormat, schema: &Schema, time: &str) -> Result<Self> {
        let fields = schema.fields().iter().cloned().chain(position_fields().map(Arc::new));
        Ok(Self {
            row: Row::new(schema, time)?,
            fields: (format == TextFormat::Csv).then(|| Fields::in_order(schema)),
            schema: Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>())),
            offsets: vec![],
            arrived_at: vec![],
            rejected: vec![],
            read: 0,
            unknown: 0,
        })
    }

    /// The decoded columns, then [`position_fields`].
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Reads one row, without its line end, that stands at `offset` and arrived at `arrived_at` (microseconds).
    pub fn decode(&mut self, bytes: &[u8], offset: i64, arrived_at: Option<i64>) {
        if let Err(fault) = self.columns(bytes) {
            self.row.clear();
            return self.reject(bytes, offset, arrived_at, &fault);
        }
        self.read += 1;
        self.offsets.push(offset);
        self.arrived_at.push(arrived_at);
    }

    fn columns(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.len() > ROW_BYTES_MAX {
            return Err(Fault::new("too_large", format!("longer than {ROW_BYTES_MAX} bytes")));
        }
        if bytes.trim_ascii().is_empty() {
            return Err(Fault::new("empty_payload", "no bytes"));
        }
        self.unknown += match &mut self.fields {
            Some(fields) => fields.read(bytes, &mut self.row)?,
            None => json::read(bytes, &mut self.row)?,
        };
        self.row.commit()
    }

    /// Counts and keeps a row that is at fault by itself, before any decoding: a tombstone, a huge line.
    pub fn reject(&mut self, bytes: &[u8], offset: i64, arrived_at: Option<i64>, fault: &Fault) {
        self.read += 1;
        let (topic, reason, raw) = (String::new(), fault.to_string(), bytes.to_vec());
        self.rejected.push(Rejected { topic, partition: 0, offset, arrived_at, reason, raw });
    }

    /// Takes the names of the fields from a CSV header. Other columns than the schema's are skipped.
    ///
    /// # Errors
    /// Columns that are missing or there twice, by name.
    pub fn header(&mut self, record: &[u8]) -> Result<()> {
        let names: Vec<_> =
            self.schema.fields().iter().take(self.schema.fields().len() - 4).map(|f| f.name()).collect();
        self.fields = Some(Fields::named(record, &names)?);
        Ok(())
    }

    /// Rows read since the last [`Decoder::finish`], good and bad.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Fields skipped, in all rows so far, because no column is declared for them.
    pub fn unknown_fields(&self) -> u64 {
        self.unknown
    }

    /// The rows read since the last time, all of this topic and partition; `next` is the position behind them.
    ///
    /// # Errors
    /// More text in one chunk than Arrow can hold.
    pub fn finish(&mut self, topic: &str, partition: i32, next: Offset) -> Result<Chunk> {
        let rows = self.offsets.len();
        let mut columns = self.row.finish();
        let arrived_at = TimestampMicrosecondArray::from(std::mem::take(&mut self.arrived_at));
        columns.extend([
            constant(topic, rows)?,
            Arc::new(Int32Array::from_value(partition, rows)) as ArrayRef,
            Arc::new(Int64Array::from(std::mem::take(&mut self.offsets))),
            Arc::new(arrived_at),
        ]);
        let mut rejected = std::mem::take(&mut self.rejected);
        for row in &mut rejected {
            (row.topic, row.partition) = (topic.to_owned(), partition);
        }
        let rows = RecordBatch::try_new(self.schema(), columns).context("decoded columns do not fit their schema")?;
        Ok(Chunk { rows, rejected, read: std::mem::take(&mut self.read), next })
    }
}

/// The same text `rows` times, its bytes once.
pub(crate) fn constant(text: &str, rows: usize) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(rows);
    let block = builder.append_block(Buffer::from(text.as_bytes()));
    for _ in 0..rows {
        builder.try_append_view(block, 0, u32::try_from(text.len())?)?;
    }
    Ok(Arc::new(builder.finish()))
}
