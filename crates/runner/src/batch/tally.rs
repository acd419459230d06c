//! What the plans of a batch run reject together: judged by all rows that the run reads, so that it does not matter in
//! which order its hours are made. Nothing is counted while nothing is rejected.

use std::collections::BTreeMap;

use anyhow::Result;
use connector::Hour;
use journal::Ledger;
use tokio::sync::Mutex;

use crate::aside::excess::{AsideLimits, Judged, Reasons};
use crate::aside::refused;
use crate::batch::wanted::listed::{Listed, read_rows};
use crate::output::hours::Hours;
use crate::report::add;

/// The account of a batch run's rejected rows.
pub(crate) struct Tally {
    limits: AsideLimits,
    hours: Vec<Hour>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// All rows of the run by input, once they are counted, and those that were rejected so far.
    ledger: Option<BTreeMap<String, Ledger>>,
    reasons: Reasons,
}

impl Tally {
    /// Of a run that makes these hours.
    pub(crate) fn new(limits: AsideLimits, hours: &[Hour]) -> Tally {
        Tally { limits, hours: hours.to_vec(), seen: Mutex::default() }
    }

    /// Adds what a plan refused of its hours, from `first` on.
    ///
    /// # Errors
    /// More than the run may reject: none of the plan's hours may then be committed.
    pub(crate) async fn reject(&self, listed: &[Listed], first: Hour, rows: &BTreeMap<String, Hours>) -> Result<()> {
        if rows.values().all(|hours| hours.len() == 0) {
            return Ok(());
        }
        let mut seen = self.seen.lock().await;
        let Seen { ledger, reasons } = &mut *seen;
        if ledger.is_none() {
            let mut read = BTreeMap::new();
            for hour in &self.hours {
                add(&mut read, &read_rows(listed, *hour).await?);
            }
            *ledger = Some(read);
        }
        for (input, hours) in rows {
            let rejected = refused(hours.since(first))?;
            reasons.add(input, &rejected);
            let counted = ledger.get_or_insert_default().entry(input.clone()).or_default();
            counted.rejected += rejected.num_rows() as u64;
            self.limits.rejected(Judged { input, run: *counted, all: *counted, ended: true }, reasons)?;
        }
        Ok(())
    }
}
