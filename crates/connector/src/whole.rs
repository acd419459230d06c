//! Small files as one table in memory.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};

use crate::fault::SourceError;
use crate::files::{FileOptions, FileSource, inferred};
use crate::source::{Poll, Source, TIME};

/// All rows of a file, or of a directory of files, in the columns of `schema` or in those that the files suggest. Rows
/// need no event time; a column `time` is a timestamp all the same, and may be null.
///
/// # Errors
/// As [`FileSource::open`]; [`SourceError::BadData`] for a row that does not fit, or where there is none.
pub async fn read_whole(input: &str, schema: Option<SchemaRef>, time: &str) -> Result<RecordBatch> {
    let schema = match schema {
        Some(schema) => schema.as_ref().clone(),
        None => suggested(input, time)?,
    };
    let options = FileOptions { schema: schema.clone(), time: String::new(), format: None, follow: false };
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
    // A file that is being written anew is empty first.
    ensure!(read.num_rows() > 0, SourceError::BadData(format!("{input} holds no row")));
    Ok(read.project(&(0..schema.fields().len()).collect::<Vec<_>>())?)
}

fn suggested(input: &str, time: &str) -> Result<Schema> {
    let schema = inferred(input, None, "").map_err(|e| match e.downcast_ref::<SourceError>() {
        Some(_) => e,
        None => SourceError::BadData(format!("{input}: {e:#}")).into(),
    })?;
    let timed = |field: &arrow::datatypes::FieldRef| match field.name() == time && !field.data_type().is_temporal() {
        true => Arc::new(field.as_ref().clone().with_data_type(TIME)),
        false => field.clone(),
    };
    Ok(Schema::new(schema.fields().iter().map(timed).collect::<Vec<_>>()))
}
