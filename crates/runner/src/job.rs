//! What a run is: f, where its output goes, and the flags that matter.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use scan::{Held, Limits, Output, Sampling, Scan};

use crate::depends::Depends;
use crate::excess::AsideLimits;
use crate::gate::TimePolicy;
use crate::made::Made;
use crate::merged::Merged;
use crate::sample::Manifest;
use crate::side::SideInput;
use crate::wants::Wanting;

/// A run of f, batch or stream.
pub struct Job {
    /// The command's name, for `_SUCCESS`.
    pub command: String,
    /// f.
    pub scan: Scan,
    /// The output root.
    pub out: PathBuf,
    /// What gives these results: compared when a run is resumed, and part of an hour's identity.
    pub config: BTreeMap<String, String>,
    /// What is joined to the rows of inputs before f, in this order.
    pub sides: Vec<SideInput>,
    /// The outputs of regions that are its input, where it merges them.
    pub merged: Option<Merged>,
    /// Event time.
    pub time: TimePolicy,
    /// How the sample is drawn at the end, where f keeps candidates: no hour is final before that.
    pub sampling: Option<Sampling>,
    /// The places where streams of this f left the state that this one begins with; for streams.
    pub init_state: Vec<PathBuf>,
    /// Whether state outlives the end of the input; for streams.
    pub keep_state: bool,
    /// Threads and memory.
    pub limits: Limits,
    /// How many rows may be rejected or late before the run ends.
    pub aside: AsideLimits,
    /// Set by a signal: the run finishes or drops the current epoch and stops.
    pub stop: Arc<AtomicBool>,
}

impl Job {
    /// Where the hours of an output are, below the root: the root itself where there is only one output.
    pub(crate) fn place(&self, output: &Output) -> String {
        if self.scan.outputs().len() == 1 { String::new() } else { format!("{}/", output.name) }
    }

    /// Of which f the rows of an output are: of this one, but where it only unites those of another.
    pub(crate) fn made(&self, output: &Output) -> Made {
        let united = self.merged.as_ref().filter(|merged| merged.held == Held::Rows);
        united.map_or_else(|| Made::of(&self.scan, output), |merged| merged.made.clone())
    }

    /// How far an output's hour waits beyond its end before it is final, microseconds of event time.
    pub(crate) fn settle(&self) -> i64 {
        let after = self.scan.inputs().iter().map(|input| input.after).max().unwrap_or(0);
        after.saturating_add(self.time.allowed_lateness)
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What a run is doing, for whoever shows it.
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
    pub ledger: BTreeMap<String, journal::Ledger>,
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
    /// Adds what a part of the run did.
    pub(crate) fn add(&mut self, part: Report) {
        crate::commit::add(&mut self.ledger, &part.ledger);
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
