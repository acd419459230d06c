//! Sealing: all rows that were put out for an hour become one file, one row a key, sorted; `_SUCCESS` says so.

use std::path::Path;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use connector::{Hour, SUCCESS, SealedFile, Success};
use journal::{Marker, Publish};
use scan::{Chosen, Output};
use serde_json::Value;

use crate::files::write_parquet;
use crate::sample::Ids;

/// A sealed hour, written and not yet published.
pub(crate) struct Sealed {
    pub partition: String,
    pub publish: Option<Publish>,
    pub marker: Marker,
    pub rows: u64,
    pub ids: Ids,
}

/// What to seal, and where: paths are relative to the root.
pub(crate) struct Sealing<'a> {
    pub root: &'a Path,
    pub command: &'a str,
    pub output: &'a Output,
    /// The partition's path, and where its file is staged.
    pub partition: String,
    pub staged: String,
    /// Which of the rows are in the sample, where one is drawn.
    pub chosen: Option<&'a Chosen>,
    /// What `_SUCCESS` says of inputs and ledger.
    pub inputs: Value,
    pub ledger: Value,
}

impl Sealing<'_> {
    /// Compacts the rows and writes them. The file's name says its content, so that another content never takes its
    /// place unseen.
    pub(crate) fn write(self, rows: &[RecordBatch]) -> Result<Sealed> {
        let (schema, rows) = self.stand(rows)?;
        let mut ids = Ids::default();
        if self.chosen.is_some() {
            rows.iter().try_for_each(|rows| ids.add(rows, &self.output.key[0]))?;
        }
        let count = rows.iter().map(|rows| rows.num_rows() as u64).sum();
        let mut files = Vec::new();
        let mut publish = None;
        if count > 0 {
            let sum = write_parquet(&self.root.join(&self.staged), &schema, &self.output.key, &rows)?;
            let name = format!("part-{}.parquet", &sum.checksum[..12]);
            files.push(SealedFile {
                name: name.clone(),
                rows: count,
                bytes: sum.bytes,
                checksum: sum.checksum.clone(),
            });
            let path = format!("{}/{name}", self.partition);
            publish = Some(Publish { staged: self.staged, path, bytes: sum.bytes, checksum: sum.checksum });
        }
        let success = Success {
            format: 1,
            command: self.command.to_owned(),
            output: self.output.name.clone(),
            key: self.output.key.clone(),
            merge: if self.output.greatest.is_empty() { "rows".to_owned() } else { "greatest".to_owned() },
            rows: count,
            files,
            inputs: self.inputs,
            ledger: self.ledger,
        };
        let marker = Marker { path: format!("{}/{SUCCESS}", self.partition), content: serde_json::to_value(success)? };
        Ok(Sealed { partition: self.partition, publish, marker, rows: count, ids })
    }

    /// The rows that stand, and their columns. What is not in the sample goes first: the cut of what stands into pieces
    /// must not depend on how many candidates there were.
    fn stand(&self, rows: &[RecordBatch]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let visible = self.output.visible();
        let Some(chosen) = self.chosen else { return Ok((visible, self.output.compact(rows)?)) };
        let rows = rows.iter().map(|rows| chosen.keep(rows)).collect::<Result<Vec<_>, _>>()?;
        let rows = self.output.compact(&rows)?;
        let rows = rows.iter().map(|rows| chosen.weigh(rows)).collect::<Result<Vec<_>, _>>()?;
        Ok((chosen.schema(&visible), rows))
    }
}

/// The path of an hour of an output.
pub(crate) fn partition(place: &str, hour: Hour) -> String {
    format!("{place}{}", hour.path())
}
