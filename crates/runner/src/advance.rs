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

/// What became of the rows of each input that were handed to f. An input with a table of state of its own name tells
/// new rows from repeats there; any other takes every row.
///
/// # Errors
/// State has merged another number of rows than f was handed.
pub(crate) fn account(
    fed: &BTreeMap<String, u64>,
    merged: &BTreeMap<String, Merged>,
) -> Result<BTreeMap<String, Ledger>, Unbalanced> {
    let ledger = |(input, fed): (&String, &u64)| {
        let Some(merged) = merged.get(input) else {
            return Ok((input.clone(), Ledger { read: *fed, accepted: *fed, ..Ledger::default() }));
        };
        let ledger = Ledger {
            read: *fed,
            accepted: merged.new - merged.retracted,
            duplicate: merged.known + merged.retracted,
            ..Ledger::default()
        };
        ledger.check(input).map(|()| (input.clone(), ledger))
    };
    fed.iter().map(ledger).collect()
}
