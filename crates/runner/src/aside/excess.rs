//! How many rows a run may set aside before it ends: `--max-rejected` and `--max-late`, judged before each commit over
//! the rows of the run so far, for each input by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use connector::{SourceError, TOMBSTONE};
use journal::Ledger;

use crate::output::layout;

/// A number of rows, or a share of those that were read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Most {
    /// So many rows.
    Rows(u64),
    /// From 0 to 100.
    Percent(f64),
}

/// How many rows a run may set aside; none is the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsideLimits {
    /// By default 1 % of at least [`ROWS_MIN`] rows, and fewer than all of any number.
    pub rejected: Option<Most>,
    /// By default any number: a run warns of them.
    pub late: Option<Most>,
}

/// Before the end of its input a run is not judged by a share of fewer rows than these.
const ROWS_MIN: u64 = 1_000;

/// Of rejected rows, where the command line does not say.
const REJECTED: Most = Most::Percent(1.0);

/// Late rows beyond this are warned of.
const LATE: Most = Most::Percent(5.0);

/// Kinds of reasons that are counted by themselves, and that an error names.
const KINDS_COUNTED: usize = 100;
const KINDS_NAMED: usize = 5;

impl FromStr for Most {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a share, 1%, or a number of rows, 100".to_owned();
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
                if (0.0..=100.0).contains(&percent) { Ok(Most::Percent(percent)) } else { Err(wrong()) }
            }
            None => text.parse().map(Most::Rows).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Most::Rows(rows) => write!(f, "{rows}"),
            Most::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Most {
    /// Whether `rows` of `read` are more. A share of few rows says nothing yet, unless all there are have `ended`.
    fn exceeded(self, rows: u64, read: u64, ended: bool) -> bool {
        match self {
            Most::Rows(most) => rows > most,
            Most::Percent(percent) => (ended || read >= ROWS_MIN) && 100.0 * rows as f64 > percent * read as f64,
        }
    }
}

/// What became of the rows of one input.
#[derive(Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub input: &'a str,
    /// In this run so far.
    pub run: Ledger,
    /// In all runs that the output is made by.
    pub all: Ledger,
    /// Whether there is no more input.
    pub ended: bool,
}

impl AsideLimits {
    /// Ends a run that rejects too much.
    ///
    /// # Errors
    /// [`SourceError::BadData`] with the commonest reasons.
    pub(crate) fn rejected(&self, of: Judged<'_>, reasons: &Reasons) -> Result<()> {
        let Judged { input, run, all, ended } = of;
        let tombstones = reasons.tombstones(input);
        let (rows, read) = (run.rejected - tombstones.min(run.rejected), run.read - tombstones.min(run.read));
        let none_left = self.rejected.is_none() && ended && rows > 0 && all.rejected == all.read;
        // By default a few bad rows do not end a run of a few rows.
        let most = self.rejected.unwrap_or(REJECTED);
        let too_many = most.exceeded(rows, read, ended && self.rejected.is_some());
        ensure!(
            !none_left && !too_many,
            SourceError::BadData(format!(
                "{input}: {rows} of {read} rows were rejected, and --max-rejected is {most}: {}; these rows are not \
                 committed: correct them, --schema or the expression, or allow for them with --max-rejected",
                reasons.commonest(input)
            ))
        );
        Ok(())
    }

    /// Ends a run to which too much comes late, where the command line says how much that is.
    ///
    /// # Errors
    /// [`SourceError::BadData`] with the cause.
    pub(crate) fn late(&self, of: Judged<'_>, cause: &str) -> Result<()> {
        let Judged { input, run: Ledger { read, late, .. }, ended, .. } = of;
        let too_many = self.late.filter(|most| most.exceeded(late, read, ended));
        let Some(most) = too_many else { return Ok(()) };
        let what = format!("{input}: {late} of {read} rows came late, and --max-late is {most}: {cause}");
        Err(SourceError::BadData(format!("{what}; these rows are not committed")).into())
    }

    /// What to warn of at the end of a run, or while one goes on for ever: much that comes late.
    pub(crate) fn warning(&self, of: Judged<'_>, cause: &str, out: &Path) -> Option<String> {
        let Judged { input, run: Ledger { read, late, .. }, ended, .. } = of;
        let many = LATE.exceeded(late, read, false) || ended && late > read / 2;
        let what =
            || format!("{late} of {read} rows of {input} came late, and are in {}/{}", out.display(), layout::LATE);
        (self.late.is_none() && many).then(|| format!("{}: {cause}", what()))
    }
}

/// Why rows were rejected, by input and kind: what stands before the first colon of a reason.
#[derive(Debug, Default)]
pub(crate) struct Reasons(BTreeMap<String, BTreeMap<String, Kind>>);

/// A kind of reason, and the first row that was rejected for it.
#[derive(Debug)]
struct Kind {
    rows: u64,
    reason: String,
    place: String,
}

impl Reasons {
    /// Counts rows of an input, in the columns of rejected ones.
    pub(crate) fn add(&mut self, input: &str, rejected: &RecordBatch) {
        let column = |name: &str| rejected.column_by_name(name);
        let Some(reasons) = column("reason").and_then(|column| column.as_string_view_opt()) else { return };
        let kinds = self.0.entry(input.to_owned()).or_default();
        for row in 0..reasons.len() {
            let reason = reasons.value(row);
            let kind = reason.split(':').next().unwrap_or_default();
            if let Some(known) = kinds.get_mut(kind) {
                known.rows += 1;
            } else {
                let kind = if kinds.len() < KINDS_COUNTED { kind } else { "other reasons" };
                let new = || Kind { rows: 0, reason: reason.to_owned(), place: place(rejected, row) };
                kinds.entry(kind.to_owned()).or_insert_with(new).rows += 1;
            }
        }
    }

    /// Messages without a value, which are no fault of anybody's.
    fn tombstones(&self, input: &str) -> u64 {
        self.0.get(input).and_then(|kinds| kinds.get(TOMBSTONE)).map_or(0, |kind| kind.rows)
    }

    fn commonest(&self, input: &str) -> String {
        let kinds = self.0.get(input).into_iter().flatten().filter(|(kind, _)| *kind != TOMBSTONE);
        let mut kinds: Vec<(&String, &Kind)> = kinds.collect();
        kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.rows));
        let named = kinds.iter().take(KINDS_NAMED);
        let told = named.map(|(_, Kind { rows, reason, place })| format!("{rows} as at {place}, {reason}"));
        let more = kinds.iter().skip(KINDS_NAMED).map(|(_, kind)| kind.rows).sum::<u64>();
        told.chain((more > 0).then(|| format!("{more} for other reasons"))).collect::<Vec<_>>().join("; ")
    }
}

/// Where a row came from: `TOPIC/PARTITION:OFFSET`.
pub(crate) fn place(rows: &RecordBatch, row: usize) -> String {
    let column = |name: &str| rows.column_by_name(name);
    let topic = column("_topic").and_then(|column| column.as_string_view_opt());
    let partition = column("_partition").and_then(|column| column.as_primitive_opt::<Int32Type>());
    let offset = column("_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
    match (topic, partition, offset) {
        (Some(topic), Some(partition), Some(offset)) if row < topic.len() => {
            format!("{}/{}:{}", topic.value(row), partition.value(row), offset.value(row))
        }
        _ => "a row that does not say where it came from".to_owned(),
    }
}
