//! In which hour the rows of input files happened, as far as a run has looked: each footer is read once for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use arrow::array::{RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::compute::{filter_record_batch, is_null};
use arrow::datatypes::{DataType, Field, Schema};
use connector::{DataFile, Hour, HourFiles, Location, Refiled, TIME, read, refuse_misfiled, times};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlanBuilder, lit};
use datafusion::prelude::ident;
use futures::TryStreamExt;
use scan::REASON;

/// The rows of a file.
#[derive(Clone, Debug, Default)]
struct Counted {
    /// The hour that rows without event time count to.
    home: Option<Hour>,
    timeless: u64,
    rows: BTreeMap<Hour, u64>,
}

/// What is known of the files of a place.
pub(crate) struct Filed {
    /// The event time column; none where rows are outputs that are merged, which are where their `_SUCCESS` says.
    time: Option<String>,
    /// Whether a file may hold rows of several hours.
    pub refiled: bool,
    known: Mutex<BTreeMap<String, Counted>>,
}

impl Filed {
    /// Of files whose rows must be in the directory of their hour.
    pub(crate) fn by_directory(time: Option<String>) -> Filed {
        Filed { time, refiled: false, known: Mutex::default() }
    }

    /// Of files that were sorted by the times of their rows; gives the hours, too.
    pub(crate) fn by_event_time(time: String, refiled: Refiled) -> (Filed, BTreeMap<Hour, HourFiles>) {
        let counts = refiled.counts.into_iter();
        let known = counts.map(|(path, (home, timeless, rows))| (path, Counted { home: Some(home), timeless, rows }));
        (Filed { time: Some(time), refiled: true, known: Mutex::new(known.collect()) }, refiled.hours)
    }

    fn counted(&self, file: &DataFile) -> Option<Counted> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(file.path.as_ref()).cloned()
    }

    /// That the rows of files happened in the hours of their directories.
    ///
    /// # Errors
    /// For the first that did not; for a file that cannot be read.
    pub(crate) async fn check(&self, root: &Location, hours: BTreeMap<Hour, Vec<DataFile>>) -> Result<()> {
        let Some(time) = self.time.as_ref().filter(|_| !self.refiled) else { return Ok(()) };
        let files = hours.into_iter().flat_map(|(hour, files)| files.into_iter().map(move |file| (hour, file)));
        let (hours, files): (Vec<Hour>, Vec<DataFile>) = files.filter(|(_, file)| self.counted(file).is_none()).unzip();
        let found = times(root, &files, time).await?;
        for ((hour, file), times) in hours.into_iter().zip(&files).zip(found) {
            refuse_misfiled(root, hour, file, time, &times).await?;
            let rows = BTreeMap::from([(hour, times.rows - times.timeless)]);
            let counted = Counted { home: Some(hour), timeless: times.timeless, rows };
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(file.path.to_string(), counted);
        }
        Ok(())
    }

    /// How many rows of files an hour has.
    pub(crate) async fn rows(&self, root: &Location, hour: Hour, files: &[DataFile]) -> Result<u64> {
        if self.time.is_none() {
            return connector::count_rows(root, files).await;
        }
        let counted = files.iter().filter_map(|file| self.counted(file));
        let rows = |of: Counted| {
            let timeless = if of.home == Some(hour) { of.timeless } else { 0 };
            of.rows.get(&hour).copied().unwrap_or(0) + timeless
        };
        Ok(counted.map(rows).sum())
    }

    /// The rows that count to an hour and say no time, as f refuses rows: the last two columns are [`REASON`] and `_time`,
    /// which is the begin of the hour.
    pub(crate) async fn timeless(&self, root: &Location, hour: Hour, files: &[DataFile]) -> Result<Vec<RecordBatch>> {
        let mut timeless = Vec::new();
        let Some(time) = &self.time else { return Ok(timeless) };
        let here = |file: &&DataFile| self.counted(file).is_some_and(|of| of.home == Some(hour) && of.timeless > 0);
        for file in files.iter().filter(here) {
            let mut rows = read(root, file).await?;
            while let Some(rows) = rows.try_next().await? {
                let rows = match rows.column_by_name(time) {
                    Some(times) => filter_record_batch(&rows, &is_null(times)?)?,
                    None => rows,
                };
                if rows.num_rows() > 0 {
                    timeless.push(with_reason(&rows, &format!("no_event_time: {time} is null"), hour)?);
                }
            }
        }
        Ok(timeless)
    }

    /// A table without the rows of these files that did not happen in a range, microseconds, or say no time.
    pub(crate) fn only(
        &self,
        table: Arc<dyn TableProvider>,
        files: &[DataFile],
        range: Range<i64>,
    ) -> Result<Arc<dyn TableProvider>> {
        let timeless = || files.iter().any(|file| self.counted(file).is_some_and(|of| of.timeless > 0));
        let Some(time) = self.time.as_ref().filter(|_| self.refiled || timeless()) else { return Ok(table) };
        if table.schema().field_with_name(time).is_err() {
            return Ok(table);
        }
        let at = |us: i64| lit(ScalarValue::TimestampMicrosecond(Some(us), None));
        let wanted = ident(time).between(at(range.start), at(range.end.saturating_sub(1)));
        let plan = LogicalPlanBuilder::scan("filed", provider_as_source(table), None)?.filter(wanted)?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

fn with_reason(rows: &RecordBatch, reason: &str, hour: Hour) -> Result<RecordBatch> {
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(REASON, DataType::Utf8View, true)));
    fields.push(Arc::new(Field::new("_time", TIME, true)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(reason, rows.num_rows()))));
    columns.push(Arc::new(TimestampMicrosecondArray::from_value(hour.start_us(), rows.num_rows())));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
