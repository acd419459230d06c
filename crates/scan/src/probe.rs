//! Looking rows of state up by key, and by time where the join says between which times a partner may be.

use datafusion::error::Result;

use crate::bucket::Bucket;
use crate::table::{Found, Table};

/// What is looked up in a table.
pub(crate) struct Probe<'a> {
    /// Which of the table's lookups.
    pub lookup: usize,
    /// Of each probing row the hash of its key; none where it has no partner.
    pub hashes: &'a [Option<u64>],
    /// Of each probing row the first and the last time, microseconds, that a partner may have.
    pub spans: Option<Vec<(i64, i64)>>,
    /// Whether rows that were retracted are no partners.
    pub standing: bool,
    /// Whether one partner will do.
    pub one: bool,
}

impl Table {
    /// Candidates of each probing row: pairs of its number and a row of state. Their keys may still differ. Calls `each`
    /// with at most `at_once` of them at a time.
    pub(crate) fn probe(
        &self,
        probe: &Probe<'_>,
        at_once: usize,
        mut each: impl FnMut(&[u32], &[Found]) -> Result<()>,
    ) -> Result<()> {
        let (mut probing, mut found) = (Vec::new(), Vec::new());
        let mut done = vec![false; if probe.one { probe.hashes.len() } else { 0 }];
        for (position, (start, bucket)) in self.buckets.iter().enumerate() {
            let lasts = (start.saturating_mul(self.width), bucket.newest);
            for (row, hash) in probe.hashes.iter().enumerate() {
                let Some(hash) = hash else { continue };
                let span = probe.spans.as_ref().map(|spans| spans[row]);
                let apart = span.is_some_and(|(first, last)| first > last || last < lasts.0 || first > lasts.1);
                if apart || probe.one && done[row] {
                    continue;
                }
                for state_row in self.candidates(bucket, probe, *hash, span) {
                    probing.push(row as u32);
                    found.push(Found { bucket: position as u32, row: state_row });
                    if probing.len() == at_once {
                        each(&probing, &found)?;
                        probing.clear();
                        found.clear();
                    }
                    if probe.one {
                        done[row] = true;
                        break;
                    }
                }
            }
        }
        if probing.is_empty() { Ok(()) } else { each(&probing, &found) }
    }

    /// The rows of a bucket that have a hash, and a time within the span.
    fn candidates<'a>(
        &'a self,
        bucket: &'a Bucket,
        probe: &Probe<'_>,
        hash: u64,
        span: Option<(i64, i64)>,
    ) -> impl Iterator<Item = u32> + use<'a> {
        let standing = probe.standing;
        let by_time = bucket.by_time[probe.lookup].as_ref().and_then(|by_time| by_time.get(hash));
        let (sorted, chain) = match (by_time, span) {
            (Some(times), Some((first, last))) => (Some(times.between(first, last, standing)), None),
            _ => (None, Some(bucket.indexes[1 + probe.lookup].chain(hash))),
        };
        let within = move |row: &u32| {
            span.is_none_or(|(first, last)| (first..=last).contains(&bucket.time(self.stored_time, *row)))
        };
        let rows = sorted.into_iter().flatten().chain(chain.into_iter().flatten().filter(within));
        rows.filter(move |row| bucket.live(*row) && !(standing && bucket.retracted.contains(row)))
    }
}
