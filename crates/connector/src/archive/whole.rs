//! Small inputs as one table in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::prelude::{Expr, SessionContext, ident};
use event_time::TIME;

use crate::archive::location::Location;
use crate::archive::partitions::{is_partitioned, listed};
use crate::archive::table::scan;
use crate::decode::time::Written;
use crate::fault::SourceError;
use crate::files::sample::{Sample, inferred};
use crate::files::{FileOptions, FileSource};
use crate::source::{Poll, Source};

/// Where a small input is, to be read again and again: a file, a directory of files, or hours of Parquet, on this disk
/// or in a bucket.
#[derive(Clone, Debug)]
pub struct Whole {
    uri: String,
    options: BTreeMap<String, String>,
    written: Written,
}

impl Whole {
    /// Of a path or URL, with the options of its store, as in [`Location::parse`].
    pub fn new(uri: &str, options: &BTreeMap<String, String>) -> Whole {
        Whole { uri: uri.to_owned(), options: options.clone(), written: Written::default() }
    }

    /// Reads times as they are written: text of all columns, and numbers of the one that is read as a time.
    #[must_use]
    pub fn reading(self, written: Written) -> Whole {
        Whole { written, ..self }
    }

    /// All rows, in the columns of `schema` or in those that they have there. Rows need no event time; a column `time` of
    /// text files is a timestamp all the same, and may be null. Columns of hours that begin with `_` are left out: they
    /// say where a row came from. So are lists.
    ///
    /// # Errors
    /// As [`FileSource::open`]; [`SourceError::BadData`] for a row that does not fit, or where there is none;
    /// [`SourceError::Missing`] for an hour that others beside it are sealed and it is not, and for a bucket without hours.
    pub async fn read(&self, schema: Option<SchemaRef>, time: &str) -> Result<RecordBatch> {
        let place = Location::parse(&self.uri, &self.options)?;
        let on_disk = place.local_path();
        let read = if !on_disk.as_ref().is_some_and(|path| path.is_file()) && is_partitioned(&place).await? {
            read_hours(&place, schema).await?
        } else if let Some(path) = on_disk {
            read_files(&path.to_string_lossy(), schema, time, self.written).await?
        } else {
            bail!(SourceError::Missing(format!(
                "{place} has no hours dt=YYYY-MM-DD/hr=HH, which alone are read from S3"
            )))
        };
        // A file that is being written anew is empty first.
        ensure!(read.num_rows() > 0, SourceError::BadData(format!("{} holds no row", self.uri)));
        Ok(read)
    }
}

async fn read_hours(root: &Location, schema: Option<SchemaRef>) -> Result<RecordBatch> {
    let hours = listed(root, ..).await?.whole(root, &..)?;
    let unsealed = hours.iter().find(|(_, files)| !files.sealed).map(|(hour, _)| *hour);
    if let Some(hour) = unsealed.filter(|_| hours.values().any(|files| files.sealed)) {
        bail!(SourceError::Missing(format!("{root}: hour {hour} is not sealed yet")));
    }
    let files = hours.values().map(|hour| hour.data(root)).collect::<Result<Vec<_>>>()?.concat();
    let table = scan(root, &files).await?;
    let wanted = schema.unwrap_or_else(|| table.schema());
    // As from a file.
    let columns =
        wanted.fields().iter().filter(|field| !field.name().starts_with('_') && !field.data_type().is_nested());
    let columns: Vec<Expr> = columns.map(|field| ident(field.name())).collect();
    let rows = SessionContext::new().read_table(table)?.select(columns);
    let rows = rows.with_context(|| format!("read {root}"))?;
    let schema = Arc::new(rows.schema().as_arrow().clone());
    let rows = rows.collect().await.with_context(|| format!("read {root}"))?;
    Ok(concat_batches(&schema, &rows)?)
}

async fn read_files(input: &str, schema: Option<SchemaRef>, time: &str, written: Written) -> Result<RecordBatch> {
    let schema = match schema {
        Some(schema) => schema.as_ref().clone(),
        None => suggested(input, time)?,
    };
    // Rows need no time, and only an event time may be in another unit than milliseconds.
    let timed = written.unit.is_some() && schema.field_with_name(time).is_ok();
    let time = if timed { time.to_owned() } else { String::new() };
    let options = FileOptions { schema: schema.clone(), time, format: None, written, follow: false };
    let mut source = FileSource::open(input, options)?;
    let mut rows = Vec::new();
    loop {
        match source.read(0, usize::MAX).await? {
            Poll::Chunk(chunk) => {
                if let Some(bad) = chunk.rejected.first() {
                    let why = format!("{input}: row {} of {}: {}", bad.offset, bad.topic, bad.reason);
                    bail!(SourceError::BadData(why));
                }
                rows.push(chunk.rows);
            }
            Poll::Waiting => tokio::task::yield_now().await,
            Poll::Finished => break,
        }
    }
    let read = concat_batches(&source.schema(), &rows)?;
    Ok(read.project(&(0..schema.fields().len()).collect::<Vec<_>>())?)
}

fn suggested(input: &str, time: &str) -> Result<Schema> {
    let schema = inferred(input, None, "", Sample::First).map_err(|e| match e.downcast_ref::<SourceError>() {
        Some(_) => e,
        None => SourceError::BadData(format!("{input}: {e:#}")).into(),
    })?;
    // The copy that is kept of a side input has none.
    let flat = schema.fields().iter().filter(|field| !field.data_type().is_nested());
    let timed = |field: &arrow::datatypes::FieldRef| match field.name() == time && !field.data_type().is_temporal() {
        true => Arc::new(field.as_ref().clone().with_data_type(TIME)),
        false => field.clone(),
    };
    Ok(Schema::new(flat.map(timed).collect::<Vec<_>>()))
}
