//! What a run is: f, where its output goes, and the flags that matter.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use scan::{Held, Limits, Output, Sampling, Scan};

use crate::aside::excess::AsideLimits;
use crate::input::gate::TimePolicy;
use crate::input::side::SideInput;
use crate::merged::Merged;
use crate::output::made::Made;
use crate::spec::JobSpec;

/// A run of f, batch or stream.
pub struct Job {
    /// The command's name, for `_SUCCESS`.
    pub command: String,
    /// What another process needs to plan it again.
    pub spec: JobSpec,
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
