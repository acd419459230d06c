//! The gate before f: event time of one source partition, and which of its rows are late or from the future.
//!
//! Each row is judged against the watermark of its own partition just before it, so the verdict is the same for every
//! cut of the input into batches. The job's watermark is the least of its partitions', so a row that is not late here
//! can never meet a closed window.

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;

use crate::input::lateness::{Furthest, Mover};

/// What the command line says about time, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct TimePolicy {
    /// The watermark trails the newest event time by this.
    pub watermark_delay: i64,
    /// A window takes rows for this long after the watermark has passed its end.
    pub allowed_lateness: i64,
    /// Rows that are further ahead of their arrival are rejected.
    pub max_future: i64,
}

/// Event time of a source partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Clock {
    /// The largest event time that it has shown.
    newest: Option<i64>,
    /// What its watermark was when it began.
    floor: Option<i64>,
    /// What the job's watermark was while this partition was idle: it may not fall behind that again.
    slept: Option<i64>,
    /// All rows are there: none is late but for the floor.
    all_there: bool,
    pub idle: bool,
    pub finished: bool,
}

/// Rows of a chunk by verdict, each in order.
pub(crate) struct Admitted {
    pub on_time: RecordBatch,
    pub late: RecordBatch,
    /// Late only because the job went on without their partition while it was idle.
    pub overslept: RecordBatch,
    pub future: RecordBatch,
    /// They say no time.
    pub timeless: RecordBatch,
    /// The last row that moved the watermark.
    pub newest: Option<usize>,
    /// The late row that is furthest behind.
    pub furthest: Option<Furthest>,
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    OnTime,
    Late,
    Overslept,
    Future,
    Timeless,
}

impl Clock {
    /// A clock that went on from a recorded watermark.
    pub(crate) fn resumed(watermark: Option<i64>, idle: bool, finished: bool) -> Clock {
        Clock { floor: watermark, idle, finished, ..Clock::default() }
    }

    /// A clock of rows that are all there, where only those before `floor` are late.
    pub(crate) fn all_there(floor: Option<i64>) -> Clock {
        Clock { floor, all_there: true, ..Clock::default() }
    }

    /// The same, where part of that watermark comes of the time when it was idle, and by its own rows it was `own`.
    pub(crate) fn overslept(self, own: Option<i64>) -> Clock {
        Clock { floor: own, slept: self.floor, ..self }
    }

    /// No row before this is expected any more; none before the first row.
    pub(crate) fn watermark(&self, delay: i64) -> Option<i64> {
        self.own(delay).max(self.slept)
    }

    /// The same by its own rows, as if it had never been idle.
    pub(crate) fn own(&self, delay: i64) -> Option<i64> {
        self.newest.map(|newest| newest.saturating_sub(delay)).max(self.floor)
    }

    /// The same before its end.
    pub(crate) fn awake(&self) -> Clock {
        Clock { idle: false, finished: false, ..self.clone() }
    }

    /// Keeps up with the job while idle.
    pub(crate) fn follow(&mut self, watermark: Option<i64>) {
        self.slept = self.slept.max(watermark);
    }

    /// Judges rows in order and moves on with them. `now` stands in where a row does not say when it arrived; without it
    /// such a row is not from the future.
    pub(crate) fn admit(
        &mut self,
        rows: &RecordBatch,
        time: &str,
        policy: &TimePolicy,
        now: Option<i64>,
    ) -> Result<Admitted> {
        let times = rows.column_by_name(time).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.with_context(|| format!("column {time} is no timestamp"))?.clone();
        let arrivals =
            rows.column_by_name("_arrived_at").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let latest = |row: usize| {
            let arrived = arrivals.filter(|arrivals| arrivals.is_valid(row)).map(|arrivals| arrivals.value(row));
            arrived.or(now).map_or(i64::MAX, |arrived| arrived.saturating_add(policy.max_future))
        };
        let (mut newest, mut furthest) = (None, None::<Furthest>);
        let mut judge = |(row, time): (usize, Option<i64>)| {
            let Some(time) = time else { return Verdict::Timeless };
            if time > latest(row) {
                return Verdict::Future;
            }
            let own = if self.all_there { self.floor } else { self.own(policy.watermark_delay) };
            let slept = self.slept;
            let (floor, bound) = (self.floor, own.max(slept));
            let bound = bound.map(|watermark| watermark.saturating_sub(policy.allowed_lateness));
            if self.newest < Some(time) {
                (self.newest, newest) = (Some(time), Some(row));
            }
            let Some(bound) = bound.filter(|bound| time < *bound) else { return Verdict::OnTime };
            let overslept = own.is_none_or(|own| time >= own.saturating_sub(policy.allowed_lateness));
            let delay = bound.saturating_add(policy.watermark_delay).saturating_sub(time);
            if furthest.is_none_or(|furthest| furthest.delay < delay) {
                let mover = match newest {
                    _ if overslept => Mover::Others,
                    _ if floor == own => Mover::Before,
                    Some(row) => Mover::Row(row),
                    None => Mover::Earlier,
                };
                furthest = Some(Furthest { row, delay, mover });
            }
            if overslept { Verdict::Overslept } else { Verdict::Late }
        };
        let verdicts: Vec<Verdict> = times.iter().enumerate().map(&mut judge).collect();
        let of = |wanted: Verdict| {
            let found = verdicts.iter().filter(|verdict| **verdict == wanted).count();
            if found == 0 || found == rows.num_rows() {
                return Ok(rows.slice(0, found));
            }
            let mask: BooleanArray = verdicts.iter().map(|verdict| Some(*verdict == wanted)).collect();
            filter_record_batch(rows, &mask)
        };
        let [on_time, late] = [of(Verdict::OnTime)?, of(Verdict::Late)?];
        let [overslept, future, timeless] = [of(Verdict::Overslept)?, of(Verdict::Future)?, of(Verdict::Timeless)?];
        Ok(Admitted { on_time, late, overslept, future, timeless, newest, furthest })
    }
}

/// The job's watermark: the least of the partitions that hold it, never less than it was. `None` before every one of
/// them has shown a row; `i64::MAX` once all have finished. Until then one that has finished holds it where `goes_on`:
/// what comes to it then comes to a later run.
pub(crate) fn watermark<'a>(
    clocks: impl Iterator<Item = &'a Clock>,
    delay: i64,
    before: Option<i64>,
    goes_on: bool,
) -> Option<i64> {
    let mut least = Some(i64::MAX);
    let mut holds = false;
    let mut finished = true;
    for clock in clocks {
        finished &= clock.finished;
        if clock.idle || clock.finished && !goes_on {
            continue;
        }
        holds = true;
        least = least.min(clock.watermark(delay));
    }
    match (finished, holds) {
        (true, _) => Some(i64::MAX),
        (false, true) => least.max(before),
        (false, false) => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::TimestampMicrosecondArray;
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;

    const POLICY: TimePolicy = TimePolicy { watermark_delay: 10, allowed_lateness: 2, max_future: 1_000 };

    fn rows(times: &[i64]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("ts", connector::TIME, false)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(TimestampMicrosecondArray::from(times.to_vec()))]).unwrap()
    }

    fn times(rows: &RecordBatch) -> Vec<i64> {
        rows.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec()
    }

    #[test]
    fn a_row_is_late_against_its_partitions_watermark_just_before_it() {
        let mut clock = Clock::default();
        let admitted = clock.admit(&rows(&[100, 88, 87, 200, 188, 187]), "ts", &POLICY, Some(0)).unwrap();
        assert_eq!(times(&admitted.on_time), [100, 88, 200, 188]);
        assert_eq!(times(&admitted.late), [87, 187]);
        assert_eq!(clock.watermark(POLICY.watermark_delay), Some(190));
    }

    #[test]
    fn the_furthest_behind_is_told_with_the_delay_that_would_have_kept_it() {
        let mut clock = Clock::default();
        let admitted = clock.admit(&rows(&[100, 87, 200, 80, 187]), "ts", &POLICY, Some(0)).unwrap();
        assert_eq!(admitted.newest, Some(2));
        let furthest = admitted.furthest.unwrap();
        assert_eq!(furthest, Furthest { row: 3, delay: 118, mover: Mover::Row(2) });
        let kept = TimePolicy { watermark_delay: furthest.delay, ..POLICY };
        let admit = |policy| Clock::default().admit(&rows(&[100, 87, 200, 80, 187]), "ts", &policy, Some(0)).unwrap();
        assert_eq!(admit(kept).late.num_rows(), 0);
        assert_eq!(admit(TimePolicy { watermark_delay: furthest.delay - 1, ..POLICY }).late.num_rows(), 1);
        let next = clock.admit(&rows(&[50]), "ts", &POLICY, Some(0)).unwrap();
        assert_eq!(next.furthest, Some(Furthest { row: 0, delay: 148, mover: Mover::Earlier }));
        let later = Clock::resumed(Some(190), false, false).admit(&rows(&[50]), "ts", &POLICY, Some(0)).unwrap();
        assert_eq!(later.furthest, Some(Furthest { row: 0, delay: 148, mover: Mover::Before }));
    }

    #[test]
    fn the_verdict_is_the_same_for_every_cut() {
        let all = [5, 100, 3, 99, 120, 108, 107, 119, 300, 287];
        let whole = times(&Clock::default().admit(&rows(&all), "ts", &POLICY, Some(0)).unwrap().late);
        for cut in 0..all.len() {
            let mut clock = Clock::default();
            let mut late = Vec::new();
            for part in [&all[..cut], &all[cut..]] {
                late.extend(times(&clock.admit(&rows(part), "ts", &POLICY, Some(0)).unwrap().late));
                clock = Clock::resumed(clock.watermark(POLICY.watermark_delay), false, false);
            }
            assert_eq!(late, whole, "cut at {cut}");
        }
        assert!(!whole.is_empty());
    }

    #[test]
    fn the_future_drags_nothing() {
        let mut clock = Clock::default();
        let admitted = clock.admit(&rows(&[100, 1_501, 101]), "ts", &POLICY, Some(500)).unwrap();
        assert_eq!(times(&admitted.future), [1_501]);
        assert_eq!(times(&admitted.on_time), [100, 101]);
        assert_eq!(clock.watermark(10), Some(91));
        let admitted = clock.admit(&rows(&[1_501]), "ts", &POLICY, None).unwrap();
        assert_eq!(times(&admitted.on_time), [1_501], "nobody knows when it arrived");
    }

    #[test]
    fn a_row_without_a_time_is_told_apart_and_drags_nothing() {
        let schema = Schema::new(vec![Field::new("ts", connector::TIME, true)]);
        let times_of = TimestampMicrosecondArray::from(vec![Some(100), None, Some(101), Some(50)]);
        let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times_of)]).unwrap();
        let mut clock = Clock::default();
        let admitted = clock.admit(&rows, "ts", &POLICY, Some(0)).unwrap();
        assert_eq!((times(&admitted.on_time), times(&admitted.late)), (vec![100, 101], vec![50]));
        assert_eq!((admitted.timeless.num_rows(), admitted.future.num_rows()), (1, 0));
        assert!(admitted.timeless.column(0).is_null(0));
        assert_eq!(clock.watermark(POLICY.watermark_delay), Some(91));
    }

    #[test]
    fn the_job_goes_with_the_slowest_that_is_awake() {
        let clock = |newest, idle, finished| Clock { newest, idle, finished, ..Clock::default() };
        let of = |clocks: &[Clock], before| watermark(clocks.iter(), 10, before, false);
        assert_eq!(of(&[clock(Some(100), false, false), clock(Some(50), false, false)], None), Some(40));
        assert_eq!(of(&[clock(Some(100), false, false), clock(None, false, false)], None), None);
        assert_eq!(of(&[clock(Some(100), false, false), clock(None, true, false)], None), Some(90));
        assert_eq!(of(&[clock(Some(100), false, false), clock(Some(50), false, true)], None), Some(90));
        assert_eq!(of(&[clock(Some(100), true, false)], Some(60)), Some(60));
        assert_eq!(of(&[clock(Some(100), false, true)], Some(60)), Some(i64::MAX));
        assert_eq!(of(&[clock(Some(100), false, false)], Some(95)), Some(95));
    }

    #[test]
    fn who_slept_wakes_in_the_jobs_time() {
        let mut clock = Clock { idle: true, ..Clock::default() };
        clock.follow(Some(50));
        let admitted = clock.admit(&rows(&[47, 48]), "ts", &POLICY, Some(0)).unwrap();
        assert_eq!((times(&admitted.overslept), times(&admitted.on_time)), (vec![47], vec![48]));
        assert_eq!(admitted.late.num_rows(), 0, "by its own rows none is");
        let admitted = clock.admit(&rows(&[100, 47, 87]), "ts", &POLICY, Some(0)).unwrap();
        assert_eq!((times(&admitted.overslept), times(&admitted.late)), (vec![], vec![47, 87]));
    }

    #[test]
    fn a_clock_goes_on_with_what_it_overslept() {
        let mut clock = Clock::resumed(Some(50), true, false).overslept(Some(20));
        assert_eq!((clock.watermark(10), clock.own(10)), (Some(50), Some(20)));
        let admitted = clock.admit(&rows(&[17, 18, 47, 48]), "ts", &POLICY, Some(0)).unwrap();
        let found = [&admitted.late, &admitted.overslept, &admitted.on_time].map(times);
        assert_eq!(found, [vec![17], vec![18, 47], vec![48]]);
    }
}
