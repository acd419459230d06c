//! What became of every row that was read: `read = accepted + duplicate + late + rejected + filtered`. Readers count what
//! does not come to f; of what does, this says what it was. Both runners count here, a stream by what state says of the
//! rows of a step, a batch by what it finds of the rows of an hour.

use std::collections::BTreeMap;

use journal::{Ledger, Unbalanced};
use scan::Merged;

/// What state made of the rows of each input that were handed to f. An input of which nothing tells new rows from repeats
/// takes every row.
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
