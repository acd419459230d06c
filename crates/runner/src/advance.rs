//! One step. Batch and stream both end here: nobody else calls f.

use std::collections::BTreeMap;

use anyhow::Result;
use journal::{Ledger, Unbalanced};
use scan::{Batch, Limits, Merged, Scan, State, Stepped};

/// Applies f once.
///
/// # Errors
/// Rows that do not fit; what the engine reports.
#[expect(clippy::disallowed_methods, reason = "the one caller of f")]
pub(crate) async fn advance(scan: &Scan, state: State, batch: Batch, limits: Limits) -> Result<(State, Stepped)> {
    Ok(scan.step(state, batch, limits).await?)
}

/// What state made of the rows of each input that were handed to f. An input with a table of state of its own name
/// tells new rows from repeats there; any other takes every row.
///
/// # Errors
/// State has merged another number of rows than f was handed.
pub(crate) fn account(
    fed: &BTreeMap<String, u64>,
    merged: &BTreeMap<String, Merged>,
) -> Result<BTreeMap<String, Merged>, Unbalanced> {
    let checked = |(input, fed): (&String, &u64)| {
        let merged = merged.get(input).copied().unwrap_or(Merged { new: *fed, ..Merged::default() });
        let ledger = Ledger { read: *fed, accepted: merged.new, duplicate: merged.known, ..Ledger::default() };
        ledger.check(input).map(|()| (input.clone(), merged))
    };
    fed.iter().map(checked).collect()
}

/// Adds what state made of rows. A step may retract rows that earlier ones took, and more of them than it takes: so
/// they are taken off all that was ever accepted.
pub(crate) fn take(ledger: &mut Ledger, merged: Merged) {
    ledger.accepted += merged.new;
    ledger.duplicate += merged.known;
    ledger.reclass(merged.retracted, |ledger| &mut ledger.duplicate);
}
