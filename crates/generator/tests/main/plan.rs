//! A small run, and where it goes.

use std::path::Path;

use generator::{Format, Plan, Truth};

pub(crate) const START_MS: u64 = 1_795_132_800_000;

/// Three hours from 2026-11-20T00, with everything in it that can be asked for.
pub(crate) fn small(seed: u64) -> Plan {
    Plan {
        format: Format::Json,
        start_ms: START_MS,
        hours: 3,
        impressions_per_hour: 20_000,
        seed,
        late: 0.02,
        duplicates: 0.01,
        malformed: 0.005,
        plays_share: 0.08,
        without_impression: 0.05,
        other_region: 0.05,
        profiles: None,
        videos: None,
        watermark_delay_ms: 1_800_000,
        partitions: 1,
    }
}

pub(crate) fn write(plan: &Plan, directory: &Path) -> Truth {
    generator::write(plan, directory, |_| {}).unwrap().unwrap()
}
