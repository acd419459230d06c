//! State on disk: the rows that steps merged, epoch by epoch. Merging them again makes the same state, so a snapshot
//! costs what changed and not what there is.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::max;
use arrow::datatypes::TimestampMicrosecondType;
use journal::{Journal, StateFile, Sum};
use scan::{Scan, State};

use crate::output::files::{read_arrow, write_arrow};

/// More files of a table than this are written as one.
const FILES_MAX: usize = 24;

/// The state files that stand, and the rows that no epoch has written yet.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub files: Vec<StateFile>,
    pending: BTreeMap<String, Vec<RecordBatch>>,
}

impl Snapshot {
    /// Reads the files of an epoch into empty state.
    pub(crate) fn restore(root: &Path, files: Vec<StateFile>, state: &mut State) -> Result<Snapshot> {
        for file in &files {
            for rows in read(root, file)? {
                state.restore(&file.table, &rows).with_context(|| format!("restore {}", file.path))?;
            }
        }
        Ok(Snapshot { files, pending: BTreeMap::new() })
    }

    /// Takes the rows that a step merged. Rows of a table that f does not have stay until whoever reads them back lets
    /// go of them; their last column is their time.
    pub(crate) fn add(&mut self, deltas: BTreeMap<String, Vec<RecordBatch>>) {
        for (table, rows) in deltas {
            self.pending.entry(table).or_default().extend(rows.into_iter().filter(|rows| rows.num_rows() > 0));
        }
    }

    /// Writes what is pending as files of an epoch of a journal, below the root, and lets go of files whose rows no row at
    /// `before` or later can meet.
    pub(crate) fn write(
        &mut self,
        scan: &Scan,
        root: &Path,
        journal: &Journal,
        name: &str,
        before: Option<i64>,
    ) -> Result<()> {
        let expired = |table: &str, newest: i64| {
            let keep = scan.keep(table).unwrap_or(i64::MAX);
            before.is_some_and(|before| newest.saturating_add(keep) < before)
        };
        self.files.retain(|file| !expired(&file.table, file.newest));
        for (table, mut rows) in std::mem::take(&mut self.pending) {
            let older: Vec<&StateFile> = self.files.iter().filter(|file| file.table == table).collect();
            if older.len() >= FILES_MAX {
                let older: Vec<RecordBatch> =
                    older.iter().map(|file| read(root, file)).collect::<Result<Vec<_>>>()?.concat();
                rows.splice(0..0, older);
                self.files.retain(|file| file.table != table);
            }
            // Those of older files too: merged with newer ones, their file would stand for ever.
            rows.retain(|rows| !expired(&table, newest(scan, &table, rows)));
            let Some(first) = rows.first() else { continue };
            let path = format!("{}/{name}-{table}.arrow", journal.state());
            let sum = write_arrow(&root.join(&path), &first.schema(), &rows, journal.syncs())?;
            let count = rows.iter().map(|rows| rows.num_rows() as u64).sum();
            let newest = rows.iter().map(|rows| newest(scan, &table, rows)).max().unwrap_or(i64::MIN);
            self.files.push(StateFile { table, path, rows: count, bytes: sum.bytes, checksum: sum.checksum, newest });
        }
        Ok(())
    }
}

fn newest(scan: &Scan, table: &str, rows: &RecordBatch) -> i64 {
    let column = scan.time_column(table).unwrap_or(rows.num_columns() - 1);
    max(rows.column(column).as_primitive::<TimestampMicrosecondType>()).unwrap_or(i64::MIN)
}

/// The rows of a state file, below an output's root.
pub(crate) fn read(root: &Path, file: &StateFile) -> Result<Vec<RecordBatch>> {
    read_arrow(&root.join(&file.path), &Sum { bytes: file.bytes, checksum: file.checksum.clone() })
}
