//! The newest epoch of a stream's output, to look at.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use journal::{Decision, Epoch, JournalError, look, recover};
use runner::STREAM_JOURNAL;

/// The last epoch of the stream's journal, where there is one.
pub fn last_epoch(out: &Path) -> Result<Option<Epoch>> {
    let chain = out.join(STREAM_JOURNAL);
    let mut broken = None;
    // A look beside a run that goes on may find half of a change: what is broken is so when looked at again.
    for _ in 0..2 {
        let mut facts =
            look(&chain, &BTreeMap::new()).with_context(|| format!("read the journal in {}", chain.display()))?;
        if let Some(Ok(newest)) = &facts.newest {
            facts.config = newest.config.clone();
        }
        broken = match recover(&facts) {
            Decision::Corrupt { what } => Some(what),
            Decision::Gap { missing } => Some(format!("epochs {} to {} are missing", missing.start(), missing.end())),
            _ => return Ok(facts.newest.and_then(Result::ok)),
        };
    }
    Err(JournalError::Corrupt { path: chain, what: broken.unwrap_or_default() }.into())
}
