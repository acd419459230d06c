//! One Parquet file, its row groups in order, in the columns of a declared schema.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch, max, min};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use event_time::TIME;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::archive::union::{convention, widened};
use crate::decode::time::{RANGE, Unit, Written};
use crate::decode::unread::Unread;
use crate::failure::failed;
use crate::fault::{Fault, SourceError};
use crate::files::block::{self, Block};
use crate::files::input::InputFile;
use crate::files::known::mark::FileMark;
use crate::files::known::sum::RowSum;
use crate::position;
use crate::schema;
use crate::source::{Rejected, position_fields};

/// Of a file at which the Parquet library gave up.
pub(crate) const UNDECODABLE: &str = "it is damaged Parquet, and cannot be decoded";

pub(crate) struct ParquetFile {
    file: InputFile,
    reader: ParquetRecordBatchReader,
    decoded: Schema,
    /// The decoded columns and the position's.
    schema: SchemaRef,
    time: String,
    /// Under what its rows are known.
    topic: String,
    partition: i32,
    /// Of the whole file.
    sum: RowSum,
    /// The number of the next row.
    row: u64,
    /// Of event times that are numbers.
    unit: Unit,
    /// The columns that are not decoded.
    left_out: Vec<String>,
    unread: Unread,
    /// Rows decoded that were not asked for yet.
    rest: Option<RecordBatch>,
}

impl ParquetFile {
    /// # Errors
    /// No Parquet file, or one without the columns of the schema.
    pub(crate) fn open(
        file: &InputFile,
        decoded: &Schema,
        time: &str,
        written: Written,
        unread: &Unread,
        at: &FileMark,
    ) -> Result<Self> {
        let builder = builder(file)?;
        let columns = decoded.fields().iter().map(|field| {
            let held = builder.schema().index_of(field.name());
            held.with_context(|| SourceError::BadData(format!("{}: no column {}", file.path.display(), field.name())))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        for (field, column) in decoded.fields().iter().zip(&columns) {
            let held = builder.schema().field(*column).data_type();
            let counted = field.name() == time && *field.data_type() == TIME && is_number(held);
            if counted && written.unit.is_none() {
                let (path, held) = (file.path.display(), held.to_string());
                let what = "say its unit since 1970: s, ms, us or ns, as in";
                bail!(SourceError::BadData(format!("{path}: column {time} is {held}: {what} --time {time}:ms")));
            }
            if !counted && widened(&convention(held), field.data_type()).as_ref() != Some(field.data_type()) {
                let (path, name, wanted) = (file.path.display(), field.name(), schema::type_name(field.data_type()));
                bail!(SourceError::BadData(format!("{path}: column {name} is {held}, which is no {wanted}")));
            }
        }
        let is_read =
            |name: &String| decoded.index_of(name).is_ok() || position_fields().iter().any(|f| f.name() == name);
        let left_out = builder.schema().fields().iter().map(|field| field.name().clone()).filter(|name| !is_read(name));
        let left_out = left_out.collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
        let reader = builder.with_projection(mask).with_offset(at.row as usize).with_batch_size(block::ROWS_MAX / 4);
        let reader = reader.build().map_err(|e| failed(format!("read {}", file.path.display()), e))?;
        let schema = position::with_positions(decoded);
        Ok(Self {
            file: file.clone(),
            reader,
            decoded: decoded.clone(),
            schema,
            time: time.to_owned(),
            unit: written.unit.unwrap_or(Unit::Millis),
            left_out,
            unread: unread.clone(),
            topic: at.topic.clone(),
            partition: at.partition,
            sum: at.sum,
            row: at.row,
            rest: None,
        })
    }

    /// The next rows, at most as many as asked for; `None` at the end.
    pub(crate) fn next(&mut self, rows_max: usize) -> Result<Option<Block>> {
        let Some(batch) = self.rest.take().map_or_else(|| self.decode(), |rest| Ok(Some(rest)))? else {
            return Ok(None);
        };
        let rows = batch.num_rows().min(rows_max);
        self.rest = (rows < batch.num_rows()).then(|| batch.slice(rows, batch.num_rows() - rows));
        self.block(&batch.slice(0, rows)).map(Some)
    }

    /// Corrupt pages can make the reader panic; that is no reason to take the process down.
    fn decode(&mut self) -> Result<Option<RecordBatch>> {
        let what = || format!("read {}, row {}", self.file.path.display(), self.row);
        match catch_unwind(AssertUnwindSafe(|| self.reader.next())) {
            Ok(None) => Ok(None),
            Ok(Some(Ok(batch))) => self.conform(&batch).map(Some).map_err(|e| failed(what(), e)),
            Ok(Some(Err(e))) => Err(failed(what(), e)),
            Err(_) => Err(SourceError::BadData(format!("{}: {UNDECODABLE}", what())).into()),
        }
    }

    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let nullable = self.decoded.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let column = |name: &str, kind: &DataType| {
            let held =
                batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))?;
            conform(held, kind, self.unit)
        };
        let columns = schema.fields().iter().map(|f| column(f.name(), f.data_type())).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(schema, columns)
    }

    fn block(&mut self, batch: &RecordBatch) -> Result<Block> {
        let (first, rows) = (self.row, batch.num_rows() as u64);
        self.row += rows;
        self.unread.add(&mut self.left_out.iter().map(|name| (name.clone(), rows)).collect());
        let rejected = self.rejected(batch, first)?;
        let bad = |i: usize| rejected.binary_search_by_key(&(first as i64 + i as i64), |r| r.offset).is_ok();
        let good: BooleanArray = (0..batch.num_rows()).map(|i| Some(!bad(i))).collect();
        let offsets = (first as i64..).zip(good.values()).filter_map(|(i, good)| good.then_some(i)).collect::<Vec<_>>();
        let arrived_at = TimestampMicrosecondArray::from_value(self.file.stat.modified, offsets.len());
        let mut columns = filter_record_batch(batch, &good)?.columns().to_vec();
        columns.extend(position::columns(&self.topic, self.partition, offsets, arrived_at)?);
        let rows_good =
            RecordBatch::try_new(self.schema.clone(), columns).context("columns do not fit their schema")?;
        let sums = (0..rows).map(|_| self.sum).collect();
        let block = Block::new(self.file.name.clone(), rows_good, rejected, (first..=first + rows).collect(), first);
        Ok(block.with_sums(sums, self.sum.0 as u64))
    }

    /// The rows that lack a value they must have, or whose event time is out of range; kept as JSON.
    fn rejected(&self, batch: &RecordBatch, first: u64) -> Result<Vec<Rejected>> {
        let mut rejected = Vec::new();
        if self.is_clean(batch) {
            return Ok(rejected);
        }
        for row in 0..batch.num_rows() {
            let Some(fault) = self.fault(batch, row) else { continue };
            let mut raw = LineDelimitedWriter::new(Vec::new());
            raw.write(&batch.slice(row, 1))?;
            raw.finish()?;
            rejected.push(Rejected {
                topic: self.topic.clone(),
                partition: self.partition,
                offset: (first + row as u64) as i64,
                arrived_at: Some(self.file.stat.modified),
                reason: fault.to_string(),
                raw: raw.into_inner().trim_ascii_end().to_vec(),
            });
        }
        Ok(rejected)
    }

    /// Whether no row is at fault, as null counts and bounds say for all at once.
    fn is_clean(&self, batch: &RecordBatch) -> bool {
        self.decoded.fields().iter().zip(batch.columns()).all(|(field, column)| {
            let required = !field.is_nullable() || *field.name() == self.time;
            let times = column.as_primitive_opt::<TimestampMicrosecondType>();
            let bounds = times.map(|times| [min(times), max(times)]).into_iter().flatten().flatten();
            !(required && column.null_count() > 0) && bounds.into_iter().all(|time| RANGE.contains(&time))
        })
    }

    fn fault(&self, batch: &RecordBatch, row: usize) -> Option<Fault> {
        let mut faults = self.decoded.fields().iter().zip(batch.columns()).filter_map(|(field, column)| {
            let name = field.name();
            let time = *name == self.time;
            if column.is_null(row) && (time || !field.is_nullable()) {
                let code = if time { "no_event_time" } else { "missing" };
                return Some(Fault::new(code, format!("{name} is missing or null")));
            }
            let moment = column.as_primitive_opt::<TimestampMicrosecondType>().filter(|c| c.is_valid(row))?.value(row);
            let out =
                || Fault::new("time_out_of_range", format!("{name}: {moment} µs is not in the years 1900 to 2261"));
            (!RANGE.contains(&moment)).then(out)
        });
        faults.next()
    }
}

/// Whether the file ends as a whole Parquet file does: with the length of its footer, which is written last. One that is
/// still being copied does not.
pub(crate) fn is_whole(file: &File, bytes: u64) -> io::Result<bool> {
    let mut end = [0; 8];
    if bytes < 12 {
        return Ok(false);
    }
    file.read_exact_at(&mut end, bytes - 8)?;
    let footer = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    Ok(&end[4..] == b"PAR1" && footer <= bytes - 12)
}

/// Its rows.
pub(crate) fn count(file: &InputFile) -> Result<u64> {
    Ok(builder(file)?.metadata().file_metadata().num_rows().unsigned_abs())
}

/// The declared columns of a file, as rescan would read them; `time` is not nullable.
pub(crate) fn infer(file: &InputFile, time: &str) -> Result<Schema> {
    let held = builder(file)?.schema().clone();
    let fields = held.fields().iter().map(|f| {
        let counted = f.name() == time && is_number(f.data_type());
        let kind = if counted { TIME } else { convention(f.data_type()) };
        f.as_ref().clone().with_data_type(kind).with_nullable(f.name() != time)
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// The embedded Arrow schema is not read: it says nothing that Parquet's own does not, and a corrupt one panics.
fn builder(file: &InputFile) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let said = |e: &dyn std::fmt::Display| format!("read {}: {e}", file.path.display());
    let input = file.open()?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    match catch_unwind(AssertUnwindSafe(|| ParquetRecordBatchReaderBuilder::try_new_with_options(input, options))) {
        Ok(Ok(builder)) => Ok(builder),
        Ok(Err(e)) => Err(SourceError::BadData(said(&e)).into()),
        Err(_) => Err(SourceError::BadData(said(&UNDECODABLE)).into()),
    }
}

/// Casts without loss, or fails. Nanoseconds are floored, so that a time before 1970 stays in its hour.
fn conform(held: &ArrayRef, kind: &DataType, unit: Unit) -> Result<ArrayRef, ArrowError> {
    if *kind == TIME && is_number(held.data_type()) {
        return moments(held, unit);
    }
    if *kind == TIME && matches!(held.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) {
        let nanos = held.as_primitive::<TimestampNanosecondType>();
        return Ok(Arc::new(nanos.unary::<_, TimestampMicrosecondType>(|t| t.div_euclid(1000))));
    }
    cast_with_options(held, kind, &CastOptions { safe: false, ..CastOptions::default() })
}

/// Whether event times may be such numbers.
fn is_number(kind: &DataType) -> bool {
    kind.is_integer() || matches!(kind, DataType::Float32 | DataType::Float64)
}

/// Numbers as times; one that no time can hold is the last moment there is, which is out of range for every row.
fn moments(numbers: &ArrayRef, unit: Unit) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let times: TimestampMicrosecondArray = if numbers.data_type().is_integer() {
        let counts = cast_with_options(numbers, &DataType::Int64, &options)?;
        counts.as_primitive::<Int64Type>().unary(|count| unit.micros(count).unwrap_or(i64::MAX))
    } else {
        let counts = cast_with_options(numbers, &DataType::Float64, &options)?;
        counts.as_primitive::<Float64Type>().unary(|count| unit.micros_of(count).unwrap_or(i64::MAX))
    };
    Ok(Arc::new(times))
}
