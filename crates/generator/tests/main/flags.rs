//! Flags that cannot be met, directories that hold something else, and what the flags leave alone.

use std::cell::RefCell;

use anyhow::Result;
use generator::{Event, Plan, Sink, generate};

use super::plan::{small, write};

/// Keeps ids, in order of arrival, with their partition.
#[derive(Default)]
struct Ids(Vec<(u128, u64, u32)>);

impl Sink for Ids {
    fn row(&mut self, event: &Event, partition: u32) -> Result<()> {
        self.0.push((event.id, event.ts, partition));
        Ok(())
    }

    fn malformed(&mut self, _beside: &Event, _partition: u32, _line: &[u8]) -> Result<()> {
        Ok(())
    }
}

fn refusal(plan: Plan) -> String {
    generate(&plan, &mut Ids::default(), |_| {}).unwrap_err().to_string()
}

#[test]
fn flags_that_cannot_be_met_are_refused_by_name() {
    let refusals = [
        (Plan { late: 1.1, ..small(7) }, "--late 1.1 is no share"),
        (Plan { duplicates: f64::NAN, ..small(7) }, "--duplicates NaN is no share"),
        (Plan { late: 0.9, ..small(7) }, "--late 0.9 cannot be met"),
        (Plan { hours: 1, watermark_delay_ms: 3_600_000, ..small(7) }, "--late 0.02 cannot be met"),
        (Plan { hours: 0, ..small(7) }, "--hours 0"),
        (Plan { impressions_per_hour: 4, ..small(7) }, "--impressions-per-hour 4"),
        (Plan { start_ms: 1, ..small(7) }, "--start"),
        (Plan { videos: Some(59), ..small(7) }, "--videos 59"),
        (Plan { profiles: Some(0), ..small(7) }, "--profiles 0"),
        (Plan { partitions: 0, ..small(7) }, "--partitions 0"),
        (Plan { watermark_delay_ms: u64::MAX, ..small(7) }, "--watermark-delay"),
    ];
    for (plan, words) in refusals {
        let refusal = refusal(plan);
        assert!(refusal.starts_with(words), "{refusal}");
    }
}

#[test]
fn a_second_run_writes_nothing_and_another_plan_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan { impressions_per_hour: 500, ..small(7) };
    write(&plan, directory.path());
    assert!(generator::write(&plan, directory.path(), |_| panic!("it makes rows")).unwrap().is_none());
    for other in [Plan { late: 0.03, ..plan.clone() }, Plan { seed: 8, ..plan.clone() }] {
        let refusal = generator::write(&other, directory.path(), |_| {}).unwrap_err().to_string();
        assert!(refusal.contains("other flags"), "{refusal}");
    }
}

#[test]
fn what_is_injected_leaves_the_events_alone() {
    let events = |plan: &Plan| {
        let mut ids = Ids::default();
        generate(plan, &mut ids, |_| {}).unwrap();
        ids.0.sort_unstable();
        ids.0.dedup();
        ids.0.into_iter().map(|(id, ts, _)| (id, ts)).collect::<Vec<_>>()
    };
    let plain = Plan { late: 0.0, duplicates: 0.0, malformed: 0.0, ..small(7) };
    assert!(events(&plain) == events(&Plan { partitions: 3, ..small(7) }));
}

#[test]
fn partitions_share_the_rows_and_keep_a_request_together() {
    let plan = Plan { partitions: 3, ..small(7) };
    let mut ids = Ids::default();
    let reports = RefCell::new(vec![]);
    let truth = generate(&plan, &mut ids, |rows| reports.borrow_mut().push(rows)).unwrap();
    for partition in 0..3 {
        let rows = ids.0.iter().filter(|row| row.2 == partition).count();
        assert!((rows * 3).abs_diff(ids.0.len()) < ids.0.len() / 10, "{rows} of {}", ids.0.len());
    }
    assert!(truth.impressions.late > 1_000, "{}", truth.impressions.late);
    let reports = reports.into_inner();
    assert!(reports.len() >= 3 && reports.is_sorted() && reports.iter().all(|&rows| rows <= ids.0.len() as u64));
    assert!(plan.rows_expected().abs_diff(ids.0.len() as u64) < 2_000, "{} rows", ids.0.len());
}
