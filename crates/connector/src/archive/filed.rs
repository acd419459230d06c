//! When the rows of Parquet files happened: by their footers where those say it, else by the rows. A row belongs in the
//! directory of its hour, and a run that reads a few hours relies on that.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, max, min};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execute_stream;
use event_time::{Hour, TIME};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;

use crate::archive::location::Location;
use crate::archive::partitions::{DataFile, HourFiles};
use crate::archive::table::{FOOTERS, Files, Footer, footer_of};
use crate::failure::failed;
use crate::fault::SourceError;

/// What is done with rows that are not in the directory of their hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Misfiled {
    /// The run stops.
    #[default]
    Refuse,
    /// They are read with the hour that they happened in.
    Read,
}

/// When the rows of a file happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// All rows.
    pub rows: u64,
    /// Those without an event time.
    pub timeless: u64,
    /// The earliest time and the latest, microseconds.
    pub bounds: Option<(i64, i64)>,
}

/// When the rows of each file happened; `time` is the column that says it.
///
/// # Errors
/// A file that is no Parquet, or cannot be read.
pub async fn times(root: &Location, files: &[DataFile], time: &str) -> Result<Vec<Times>> {
    // Owned, or the future could not be sent to another thread: the compiler takes the borrow for a general one.
    let all: Vec<_> = files.iter().map(|file| times_of(root.clone(), file.clone(), time.to_owned())).collect();
    stream::iter(all).buffered(FOOTERS).try_collect().await
}

async fn times_of(root: Location, file: DataFile, time: String) -> Result<Times> {
    let footer = footer_of(&root, &file).await?;
    if let Some(times) = said(&footer, &time) {
        return Ok(times);
    }
    let mut found = Times { rows: 0, timeless: 0, bounds: None };
    let mut columns = column(&root, &file, &time).await?;
    while let Some(times) = columns.try_next().await? {
        let times = times.as_primitive::<TimestampMicrosecondType>();
        found.rows += times.len() as u64;
        found.timeless += times.null_count() as u64;
        found.bounds = wider(found.bounds, min(times).zip(max(times)));
    }
    Ok(found)
}

fn wider(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

/// By the statistics of a footer; none where it has none of this column.
fn said(footer: &Footer, time: &str) -> Option<Times> {
    let groups = footer.metadata.row_groups();
    let rows = groups.iter().map(|group| group.num_rows() as u64).sum();
    let empty = Times { rows, timeless: rows, bounds: None };
    let Ok(field) = footer.schema.field_with_name(time) else { return Some(empty) };
    if rows == 0 {
        return Some(empty);
    }
    let descr = footer.metadata.file_metadata().schema_descr();
    let converter = StatisticsConverter::try_new(field.name(), &footer.schema, descr).ok()?;
    let converter = converter.with_missing_null_counts_as_zero(false);
    let micros = |values: ArrayRef| cast(&values, &TIME).ok();
    let least = micros(converter.row_group_mins(groups).ok()?)?;
    let most = micros(converter.row_group_maxes(groups).ok()?)?;
    let nulls = converter.row_group_null_counts(groups).ok()?;
    if nulls.null_count() > 0 {
        return None;
    }
    let filled = groups.iter().enumerate().filter(|(group, of)| (of.num_rows() as u64) > nulls.value(*group));
    let known = |(group, _): (usize, _)| {
        let at = |bound: &ArrayRef| {
            bound.is_valid(group).then(|| bound.as_primitive::<TimestampMicrosecondType>().value(group))
        };
        at(&least).zip(at(&most))
    };
    let bounds: Option<Vec<(i64, i64)>> = filled.map(known).collect();
    let bounds = bounds?.into_iter().map(Some).fold(None, wider);
    Some(Times { rows, timeless: nulls.values().iter().sum(), bounds })
}

/// The times of a file's rows, in their order.
async fn column(root: &Location, file: &DataFile, time: &str) -> Result<BoxStream<'static, Result<ArrayRef>>> {
    let table = Files::open(root, std::slice::from_ref(file)).await?;
    let at = table.schema.index_of(time)?;
    let context = Arc::new(TaskContext::default());
    context.runtime_env().register_object_store(&root.url, Arc::clone(&root.store));
    let what = format!("read {}", root.spelled(&file.path));
    let rows = table.plan(1, Some(&vec![at]), None).and_then(|plan| execute_stream(plan, context));
    let rows = rows.map_err(|e| failed(what.clone(), e))?;
    let times = move |rows: Result<RecordBatch, _>| {
        let rows = rows.map_err(|e| failed(what.clone(), e))?;
        cast(rows.column(0), &TIME).with_context(|| what.clone())
    };
    Ok(rows.map(times).boxed())
}

/// How many rows of a file happened in each hour.
///
/// # Errors
/// As [`times`].
pub async fn hours_in(root: &Location, file: &DataFile, time: &str) -> Result<BTreeMap<Hour, u64>> {
    let mut hours = BTreeMap::new();
    let mut columns = column(root, file, time).await?;
    while let Some(times) = columns.try_next().await? {
        let times = times.as_primitive::<TimestampMicrosecondType>();
        times.iter().flatten().for_each(|us| *hours.entry(Hour::of(us)).or_default() += 1);
    }
    Ok(hours)
}

/// That the rows of a file happened in the hour of its directory.
///
/// # Errors
/// [`SourceError::BadData`] for the first that did not.
pub async fn refuse_misfiled(root: &Location, hour: Hour, file: &DataFile, time: &str, times: &Times) -> Result<()> {
    let here = hour.start_us()..hour.plus(1).start_us();
    let inside = |bounds: (i64, i64)| here.contains(&bounds.0) && here.contains(&bounds.1);
    if times.bounds.is_none_or(inside) {
        return Ok(());
    }
    let (row, us) = first_outside(root, file, time, here).await?;
    let belongs = Hour::of(us).path();
    bail!(SourceError::BadData(format!(
        "row {row} of {} has {time} {}, which is not in hour {hour}: hours are UTC, by event time, so that the \
         row belongs in {belongs}; file it there, or pass --misfiled read to find such rows in all files",
        root.spelled(&file.path),
        moment(us)
    )))
}

/// The first row that is not in a range, counted from 1, and its time.
async fn first_outside(root: &Location, file: &DataFile, time: &str, range: Range<i64>) -> Result<(u64, i64)> {
    let mut before = 0;
    let mut columns = column(root, file, time).await?;
    while let Some(times) = columns.try_next().await? {
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let outside = |(_, us): &(usize, Option<i64>)| us.is_some_and(|us| !range.contains(&us));
        if let Some((row, Some(us))) = times.iter().enumerate().find(outside) {
            return Ok((before + row as u64 + 1, us));
        }
        before += times.len() as u64;
    }
    bail!(SourceError::BadData(format!("the footer of {} names times that no row has", root.spelled(&file.path))))
}

fn moment(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us)
        .map_or_else(|| format!("{us} µs"), |at| at.format("%FT%T%.fZ").to_string())
}

/// The files of hours as the hours of their rows: a file is in each hour that one of its rows happened in. Also how many
/// rows of each file those are.
///
/// # Errors
/// As [`times`].
pub async fn by_event_time(root: &Location, hours: BTreeMap<Hour, HourFiles>, time: &str) -> Result<Refiled> {
    let mut refiled = Refiled::default();
    for (hour, HourFiles { files, sealed, .. }) in hours {
        if files.is_empty() {
            refiled.add(hour, None, sealed);
        }
        for (file, times) in files.iter().zip(times(root, &files, time).await?) {
            let single = times.bounds.filter(|(first, last)| Hour::of(*first) == Hour::of(*last));
            let counts = match single {
                Some((us, _)) => BTreeMap::from([(Hour::of(us), times.rows - times.timeless)]),
                None if times.bounds.is_none() => BTreeMap::new(),
                None => hours_in(root, file, time).await?,
            };
            let home = counts.keys().next().copied().unwrap_or(hour);
            counts.keys().chain([&home]).for_each(|hour| refiled.add(*hour, Some(file), sealed));
            refiled.counts.insert(file.path.to_string(), (home, times.timeless, counts));
        }
    }
    for files in refiled.hours.values_mut() {
        files.files.sort_by(|a, b| a.path.cmp(&b.path));
        files.files.dedup_by(|a, b| a.path == b.path);
    }
    Ok(refiled)
}

/// Files by the hours of their rows.
#[derive(Debug, Default)]
pub struct Refiled {
    /// The files that have rows in each hour. An hour is sealed where all directories of its files are.
    pub hours: BTreeMap<Hour, HourFiles>,
    /// For each file by its path: the hour that its rows without event time count to, how many those are, and how many
    /// rows happened in each hour.
    pub counts: BTreeMap<String, (Hour, u64, BTreeMap<Hour, u64>)>,
}

impl Refiled {
    fn add(&mut self, hour: Hour, file: Option<&DataFile>, sealed: bool) {
        let files = self.hours.entry(hour).or_insert_with(|| HourFiles { sealed: true, ..HourFiles::default() });
        files.sealed &= sealed;
        files.files.extend(file.cloned());
    }
}
