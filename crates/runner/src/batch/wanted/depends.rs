//! On which input hours the hours of output depend: for Make.

use connector::Hour;

use crate::batch::wanted::listed::Listed;
use crate::batch::wanted::range::Range;
use crate::job::Job;
use crate::report::{Depends, Reached, Report};

/// What the hours of a run depend on, without those that wait for input.
pub(crate) fn depends(job: &Job, listed: &[Listed], range: Range, report: &Report) -> Vec<Depends> {
    let waits = |hour: &Hour| report.waiting.iter().any(|of| of.first <= *hour && *hour <= of.last);
    let mut all = Vec::new();
    for hour in range.hours().filter(|hour| !waits(hour)) {
        let reached = |listed: &Listed| {
            let (from, to) = listed.reach(hour, hour.plus(1));
            Reached { root: listed.root.to_string(), from, to, seals: listed.seals }
        };
        let on: Vec<Reached> = listed.iter().map(reached).collect();
        for output in job.scan.outputs() {
            let target = format!("{}{}/{}", job.place(output), hour.path(), connector::SUCCESS);
            all.push(Depends { target, on: on.clone() });
        }
    }
    all
}
