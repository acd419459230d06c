//! Output rows by the hour they live in.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use connector::{Hour, SourceError};

use crate::output::by_hour::by_hour;

/// Rows of one output, not yet written, by hour.
#[derive(Debug, Default)]
pub(crate) struct Hours {
    rows: BTreeMap<Hour, Vec<RecordBatch>>,
    count: usize,
}

impl Hours {
    /// Adds rows; their last column says when each happened.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        self.add_within(rows, Hour::of(i64::MIN), Hour::of(i64::MAX))
    }

    /// Adds those rows that live in the hours from `first` to `last`.
    pub(crate) fn add_within(&mut self, rows: &RecordBatch, first: Hour, last: Hour) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let times = rows.columns().last().and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.context("an output has no event time")?;
        if times.null_count() > 0 {
            bail!(SourceError::BadData("a row of output has no event time: its time is null".to_owned()));
        }
        for (hour, rows) in by_hour(rows, times.values())? {
            self.push(hour, rows, first, last);
        }
        Ok(())
    }

    fn push(&mut self, hour: Hour, rows: RecordBatch, first: Hour, last: Hour) {
        if first <= hour && hour <= last {
            self.count += rows.num_rows();
            self.rows.entry(hour).or_default().push(rows);
        }
    }

    /// Takes the rows of an hour out.
    pub(crate) fn take(&mut self, hour: Hour) -> Vec<RecordBatch> {
        let rows = self.rows.remove(&hour).unwrap_or_default();
        self.count -= rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        rows
    }

    /// The rows of an hour and of those after it, which stay.
    pub(crate) fn since(&self, hour: Hour) -> impl Iterator<Item = &RecordBatch> {
        self.rows.range(hour..).flat_map(|(_, rows)| rows)
    }

    /// The hours that have rows here.
    pub(crate) fn hours(&self) -> Vec<Hour> {
        self.rows.keys().copied().collect()
    }

    /// Rows held.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}
