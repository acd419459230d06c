//! What a run says: while it goes on, and of what it did.

use std::collections::BTreeMap;

use connector::Hour;
use journal::Ledger;

use crate::output::sample::Manifest;
use crate::wants::Wanting;

/// What a run is doing, to be shown.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Rows read.
    pub rows: u64,
    /// Of these, what earlier runs of the same output had read.
    pub rows_before: u64,
    /// Of these, late and rejected ones.
    pub late: u64,
    /// See `late`.
    pub rejected: u64,
    /// Hours done, and to do where that is known.
    pub hours: (u64, Option<u64>),
    /// The job's watermark, microseconds.
    pub watermark: Option<i64>,
    /// Rows of state.
    pub state_rows: u64,
    /// What goes wrong while the run goes on; each is said once.
    pub warnings: Vec<String>,
}

/// What a run did.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// The inputs' rows by their fate.
    pub ledger: BTreeMap<String, Ledger>,
    /// How many files of the inputs were passed over, for their names are those of bookkeeping; a directory is one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
    /// Sealed output partitions that were written.
    pub sealed: Vec<String>,
    /// Rows in them.
    pub rows: u64,
    /// Output partitions that were done already.
    pub up_to_date: u64,
    /// Hours of output that wait for input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Wanting>,
    /// Sealed hours that were made of more input than is there, and stay as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Wanting>,
    /// Those that were replaced all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Wanting>,
    /// Sealed output that somebody had changed, and what became of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
    /// Epochs committed.
    pub epochs: u64,
    /// On which input hours the hours of a batch run depend.
    #[serde(skip)]
    pub depends: Vec<Depends>,
    /// What is in the sample, where one was drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Manifest>,
    /// Whether a signal ended the run before its input did.
    pub stopped: bool,
    /// What to doubt about what it did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Report {
    /// Counts files of an input that were passed over.
    pub(crate) fn skip(&mut self, input: &str, files: u64) {
        if files > 0 {
            *self.skipped.entry(input.to_owned()).or_default() += files;
        }
    }

    /// Adds what a part of the run did.
    pub(crate) fn add(&mut self, part: Report) {
        add(&mut self.ledger, &part.ledger);
        part.skipped.into_iter().for_each(|(input, files)| self.skip(&input, files));
        self.sealed.extend(part.sealed);
        self.rows += part.rows;
        self.damaged.extend(part.damaged);
        self.up_to_date += part.up_to_date;
        self.waiting.extend(part.waiting);
        self.kept.extend(part.kept);
        self.replaced.extend(part.replaced);
        self.epochs += part.epochs;
        self.depends.extend(part.depends);
        self.sample = part.sample.or(self.sample.take());
        self.stopped |= part.stopped;
        self.warnings.extend(part.warnings);
    }
}

/// A `_SUCCESS` of the output, below its root, and the input hours that it is made of once they are there.
#[derive(Clone, Debug)]
pub struct Depends {
    /// `dt=2016-11-07/hr=03/_SUCCESS`.
    pub target: String,
    /// Input hours.
    pub on: Vec<Reached>,
}

/// Hours of one place of an input.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Where it is.
    pub root: String,
    /// The first hour.
    pub from: Hour,
    /// The hour after the last.
    pub to: Hour,
    /// Whether its writer seals hours.
    pub seals: bool,
}

/// Adds what an epoch counted to what was counted before it.
pub(crate) fn add(sum: &mut BTreeMap<String, Ledger>, more: &BTreeMap<String, Ledger>) {
    for (input, ledger) in more {
        sum.entry(input.clone()).or_default().add(ledger);
    }
}
