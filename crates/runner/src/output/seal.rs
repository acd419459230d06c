//! Sealing: all rows that were put out for an hour become one file, one row a key, sorted; `_SUCCESS` says so.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use arrow::array::RecordBatch;
use connector::{SUCCESS, SealedFile, Success};
use journal::{Marker, Publish, Sum, Syncs};
use scan::{Chosen, Output};
use serde_json::Value;

use crate::output::files::write_parquet;
use crate::output::made::Made;
use crate::output::pieces::Pieces;
use crate::output::sample::Ids;

/// A sealed hour, written and not yet published.
pub(crate) struct Sealed {
    pub partition: String,
    pub publish: Option<Publish>,
    pub marker: Marker,
    pub rows: u64,
    /// Rows that f put out for it, without those that only take others back.
    pub told: u64,
    pub ids: Ids,
}

/// What to seal, and where: paths are relative to the root.
pub(crate) struct Sealing<'a> {
    pub root: &'a Path,
    pub command: &'a str,
    /// The checksum of the run's spec.
    pub spec: String,
    pub output: &'a Output,
    /// Of which f its rows are.
    pub made: Made,
    /// The partition's path, and where its file is staged.
    pub partition: String,
    pub staged: String,
    /// Which of the rows are in the sample, where one is drawn.
    pub chosen: Option<&'a Chosen>,
    /// What `_SUCCESS` says of inputs and ledger.
    pub inputs: Value,
    pub ledger: Value,
    /// Where its file is handed in.
    pub syncs: Syncs,
}

impl Sealing<'_> {
    /// Compacts the rows and writes them. The file's name says its content, so that another content never takes its
    /// place unseen.
    pub(crate) fn write(self, rows: Pieces) -> Result<Sealed> {
        let (mut count, mut ids, told) = (0, Ids::default(), Arc::default());
        let rows = rows.counted(self.output, &told).standing(self.output, self.chosen)?.map(|rows| {
            let rows = rows?;
            count += rows.num_rows() as u64;
            if self.chosen.is_some() {
                ids.add(&rows, &self.output.key[0])?;
            }
            Ok(rows)
        });
        let mut files = Vec::new();
        let mut publish = None;
        if let Some(sum) = self.write_rows(rows)? {
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
            f: self.made.written()?,
            job: self.spec,
            output: self.made.output,
            key: self.output.key.clone(),
            merge: if self.output.greatest.is_empty() { "rows".to_owned() } else { "greatest".to_owned() },
            rows: count,
            files,
            inputs: self.inputs,
            ledger: self.ledger,
        };
        let marker = Marker { path: format!("{}/{SUCCESS}", self.partition), content: serde_json::to_value(success)? };
        let told = told.load(Ordering::Relaxed);
        Ok(Sealed { partition: self.partition, publish, marker, rows: count, told, ids })
    }

    /// Writes rows, if there are any.
    fn write_rows(&self, mut rows: impl Iterator<Item = Result<RecordBatch>>) -> Result<Option<Sum>> {
        let Some(first) = rows.next().transpose()? else { return Ok(None) };
        let schema = first.schema();
        let rows = std::iter::once(Ok(first)).chain(rows);
        write_parquet(&self.root.join(&self.staged), &schema, &self.output.key, rows, &self.syncs).map(Some)
    }
}
