//! One step. Batch and stream both end here: nobody else calls f.

use anyhow::Result;
use scan::{Batch, Limits, Scan, State, Stepped};

/// Applies f once.
///
/// # Errors
/// Rows that do not fit; what the engine reports.
#[expect(clippy::disallowed_methods, reason = "the one caller of f")]
pub(crate) async fn advance(scan: &Scan, state: State, batch: Batch, limits: Limits) -> Result<(State, Stepped)> {
    Ok(scan.step(state, batch, limits).await?)
}
