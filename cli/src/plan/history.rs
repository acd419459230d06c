//! When a run over files is one over history: all of its input is there, so no row of it is late.

use std::collections::BTreeMap;

use anyhow::Result;
use runner::{History, STREAM_JOURNAL};

use crate::plan::Plan;
use crate::plan::open::Opened;

/// What says in a run's configuration whether rows may be late.
pub const DELAY: &str = "--watermark-delay";
/// Its value where none is.
const NONE: &str = "none: all input is there";

/// Rows in memory where no limit is given, bytes.
const MEMORY: usize = 4 << 30;
/// Of the memory there is, rows that go to f before all are read take this part, for f and its output hold them too.
const EARLY: usize = 8;
/// And rows that wait for their hour this one.
const WAITING: usize = 4;

/// Whether rows of a run may be late.
#[derive(Clone, Copy)]
pub struct Lateness {
    /// What may be in memory of input that is all there; none where rows are judged as they come.
    pub history: Option<History>,
    /// Whether the run, or the one that it goes on with, began over history.
    none: bool,
}

impl Lateness {
    /// Rows may be late where they come from Kafka, `--follow` or `--replay`, or where a flag asks for it. A run that goes
    /// on does as it did when it began.
    ///
    /// # Errors
    /// The directory of the output's journal cannot be listed.
    pub fn of(plan: &Plan, opened: &Opened) -> Result<Lateness> {
        let flags = &plan.flags;
        let asked = flags.watermark_delay.is_some() || flags.allowed_lateness.is_some();
        let comes = flags.follow || flags.replay || plan.inputs.values().any(|uri| uri.starts_with("kafka://"));
        let complete = matches!(opened, Opened::Stream(..)) && !asked && !comes;
        let none = match journal::look(&flags.out.join(STREAM_JOURNAL), &BTreeMap::new())?.newest {
            Some(Ok(last)) if last.config.get(DELAY).is_some_and(|delay| delay == NONE) => {
                complete || !asked && last.watermark == Some(i64::MAX)
            }
            Some(Ok(_)) => false,
            // What is wrong with a journal is said by the run that opens it.
            Some(Err(_)) | None => complete,
        };
        let memory = flags.limits().memory.unwrap_or(MEMORY);
        let history = History { early_bytes: memory / EARLY, waiting_bytes: memory / WAITING };
        Ok(Lateness { history: Some(history).filter(|_| none && complete), none })
    }

    /// Whether any row may be late.
    pub fn is_judged(self) -> bool {
        !self.none
    }

    /// For the run's configuration.
    pub fn written(self, delay: i64) -> String {
        if self.none { NONE.to_owned() } else { format!("{delay} µs") }
    }
}
