//! State that outlives its run: what a stream left at its place, and how another one begins with it.
//!
//! State tells what a row to come meets. Beside it stand the rows of output hours that such a row may still change: the
//! next run begins with them too, so that its hours are whole. Those of several runs are no one's whole hours, and are
//! left to the merge of outputs; but the candidates of a sample, which is drawn of all that there are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use connector::{Hour, SourceError};
use journal::{Decision, Difference, Epoch, JournalError, Lock, OpenFile, Sum, differences, recover};
use scan::{Output, State};
use thiserror::Error;

use crate::job::Job;
use crate::output::files::read_arrow;
use crate::output::layout::STREAM_JOURNAL;
use crate::output::sealed_to::SealedTo;
use crate::stream::commit::Outputs;
use crate::stream::snapshot::{Snapshot, read};

/// The rows of open hours stand among the state files as a table of this name and a dot, and their output.
const OPEN: &str = "open";
/// The same, of a sample.
const CANDIDATES: &str = "candidates";

/// Which hours of output are open hangs on it, and which rows state is kept for.
const LATENESS: &str = "--allowed-lateness";

/// State of another f (exit 78). Nothing was written.
#[derive(Debug, Error)]
#[error(
    "the state in {} is of a run with {key} {there}, and {whose} has {here}: state goes on with the same command, \
     script, flags and columns",
    place.display()
)]
pub struct OtherState {
    /// Where the state is.
    pub place: PathBuf,
    /// The first thing that differs.
    pub key: String,
    /// What it is there.
    pub there: String,
    /// Whose is otherwise.
    pub whose: String,
    /// What it is there.
    pub here: String,
}

/// What a stream, or a union of them, left at a place; no run changes it meanwhile.
pub(crate) struct Left {
    pub root: PathBuf,
    pub epoch: Epoch,
    /// What a row at or after it can meet is in the state; none where no row had come.
    pub watermark: Option<i64>,
    _lock: Option<Lock>,
}

impl Left {
    /// Looks and writes nothing.
    ///
    /// # Errors
    /// `Missing` where no run left state; `Locked` while one is at it; `Corrupt`.
    pub(crate) fn at(root: &Path) -> Result<Left> {
        let (chain, place) = (root.join(STREAM_JOURNAL), root.display());
        let missing = |what: String| Err(SourceError::Missing(what).into());
        let corrupt = |what: String| Err(JournalError::Corrupt { path: chain.clone(), what }.into());
        let lock = Lock::shared(&chain)?;
        let facts = journal::look(&chain, &BTreeMap::new())?;
        match recover(&facts) {
            Decision::Fresh => return missing(format!("{place} has no state: no stream has run into it")),
            Decision::RollForward { .. } => {
                return missing(format!("{place} has half an epoch: start its run again, which ends that"));
            }
            Decision::Corrupt { what } => return corrupt(what),
            Decision::Gap { missing } => {
                return corrupt(format!("the records of epochs {} to {} are missing", missing.start(), missing.end()));
            }
            Decision::Continue { .. } | Decision::ConfigChanged { .. } => {}
        }
        let epoch = facts.newest.and_then(Result::ok).context("a chain without its last record")?;
        let watermark = match (epoch.watermark, epoch.kept) {
            (Some(i64::MAX), None) => {
                let what = "let go of its state at the end of its input: run it with --keep-state, into another --out";
                return missing(format!("the run into {place} {what}"));
            }
            (Some(i64::MAX), kept) => kept.filter(|kept| *kept > i64::MIN),
            (watermark, _) => watermark,
        };
        Ok(Left { root: root.to_owned(), epoch, watermark, _lock: lock })
    }

    /// What gives this state, but for where its rows came from, which hours, and when each was late.
    pub(crate) fn f(&self) -> BTreeMap<String, String> {
        of_f(&self.epoch.config)
    }

    /// That the state is of the same f as `whose`, which has this config.
    ///
    /// # Errors
    /// [`OtherState`].
    pub(crate) fn same_f(&self, whose: &str, config: &BTreeMap<String, String>) -> Result<(), OtherState> {
        let differences = differences(&self.f(), &of_f(config)).into_iter();
        // Where the command is another, so is much that follows from it.
        let Some(first) = differences.min_by_key(|difference| difference.key != "command") else { return Ok(()) };
        let Difference { key, then, now } = first;
        let said = |value: Option<String>| value.unwrap_or_else(|| "not set".to_owned());
        let (place, whose) = (self.root.clone(), whose.to_owned());
        Err(OtherState { there: said(then), here: said(now), place, key, whose })
    }
}

fn of_f(config: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let of_rows = |key: &str| key.starts_with("in ") || key.starts_with("--") && key != LATENESS;
    config.iter().filter(|(key, _)| !of_rows(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whether the rows of a state file are of no use to a union.
pub(crate) fn alone(table: &str) -> bool {
    table.strip_prefix(OPEN).is_some_and(|output| output.starts_with('.'))
}

fn open_table(job: &Job, output: &Output) -> String {
    format!("{}.{}", if job.sampling.is_some() { CANDIDATES } else { OPEN }, output.name)
}

/// What the streams of the job's f left at its places.
///
/// # Errors
/// Those of [`Left::at`], and [`OtherState`].
fn lefts(job: &Job) -> Result<Vec<Left>> {
    let left = |place: &PathBuf| -> Result<Left> {
        let left = Left::at(place)?;
        left.same_f("this one", &job.config)?;
        Ok(left)
    };
    job.init_state.iter().map(left).collect()
}

/// Whether a run could begin with them; writes nothing.
///
/// # Errors
/// What would keep it from that.
pub(crate) fn look(job: &Job) -> Result<()> {
    lefts(job).map(|_| ())
}

/// Begins a run that has no epoch yet with what streams left at the job's places, and answers its watermark: the
/// greatest of theirs, before which what rows would meet may be gone. The first epoch holds all of it.
///
/// # Errors
/// Those of [`Left::at`], [`OtherState`], and state that is damaged.
pub(crate) fn begin(
    job: &Job,
    state: &mut State,
    snapshot: &mut Snapshot,
    outputs: &mut Outputs,
    warnings: &mut Vec<String>,
) -> Result<Option<i64>> {
    let mut watermark = None;
    let whole = job.sampling.is_some() || job.init_state.len() == 1;
    let tables: BTreeMap<String, &Output> =
        job.scan.outputs().iter().map(|output| (open_table(job, output), output)).collect();
    for left in lefts(job)? {
        let place = left.root.display();
        watermark = watermark.max(left.watermark);
        if left.epoch.kept.is_none() && !left.epoch.sources.is_empty() {
            let what =
                "was stopped before the end of its input: what it has not read is not in the state taken from it";
            warnings.push(format!("the run into {place} {what}"));
        }
        for file in left.epoch.state.iter().filter(|file| whole || !alone(&file.table)) {
            let rows = read(&left.root, file)?;
            if let Some(output) = tables.get(&file.table) {
                rows.iter().try_for_each(|rows| outputs.add(&output.name, rows))?;
                continue;
            }
            for rows in &rows {
                let restored = state.restore(&file.table, rows);
                restored.with_context(|| format!("restore {} of {place}", file.path))?;
            }
            snapshot.add([(file.table.clone(), rows)].into());
        }
        if let (Some(floor), true) = (left.watermark, whole && job.sampling.is_none() && !left.epoch.notes.is_null()) {
            // Hours without rows after its last ones are this run's to seal.
            outputs.sealed = SealedTo::read(&left.epoch)?.carried(Hour::of(floor.saturating_sub(job.settle())));
        }
        for output in job.scan.outputs().iter().filter(|_| whole) {
            for rows in open_rows(&left.root, &job.place(output), &left.epoch.open, Hour::of(i64::MIN))? {
                outputs.add(&output.name, &rows)?;
            }
        }
    }
    Ok(watermark)
}

/// The rows of each output's hours that a row at the watermark or after it may still change: for a snapshot, under the
/// names by which [`begin`] knows them.
///
/// # Errors
/// A file of open rows that is damaged.
pub(crate) fn still_open(
    job: &Job,
    outputs: &Outputs,
    watermark: Option<i64>,
) -> Result<BTreeMap<String, Vec<RecordBatch>>> {
    let bound = watermark.filter(|_| job.sampling.is_none());
    let from = Hour::of(bound.map_or(i64::MIN, |watermark| watermark.saturating_sub(job.settle())));
    let mut open = BTreeMap::new();
    for output in job.scan.outputs() {
        let mut rows = open_rows(&job.out, &job.place(output), &outputs.open, from)?;
        rows.extend(outputs.hours.get(&output.name).into_iter().flat_map(|hours| hours.since(from)).cloned());
        open.insert(open_table(job, output), rows);
    }
    Ok(open)
}

/// The rows of open files, of an output's hours from one on.
fn open_rows(root: &Path, place: &str, open: &BTreeMap<String, Vec<OpenFile>>, from: Hour) -> Result<Vec<RecordBatch>> {
    let mut rows = Vec::new();
    for (partition, files) in open {
        let hour = partition.strip_prefix(place).and_then(Hour::from_path);
        for file in files.iter().filter(|_| hour.is_some_and(|hour| hour >= from)) {
            let sum = Sum { bytes: file.bytes, checksum: file.checksum.clone() };
            rows.extend(read_arrow(&root.join(&file.path), &sum)?);
        }
    }
    Ok(rows)
}
