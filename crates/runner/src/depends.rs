//! On which input hours the hours of output depend: for Make.

use connector::Hour;

use crate::job::{Job, Report};
use crate::listed::Listed;
use crate::range::Range;

/// A `_SUCCESS` of the output, below its root, and the input hours that it is made of once they are there.
#[derive(Clone, Debug)]
pub struct Depends {
    /// `dt=2016-11-07/hr=03/_SUCCESS`.
    pub target: String,
    /// Input hours.
    pub on: Vec<Reached>,
}

/// Hours of one place of an input.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Where it is.
    pub root: String,
    /// The first hour.
    pub from: Hour,
    /// The hour after the last.
    pub to: Hour,
    /// Whether its writer seals hours.
    pub seals: bool,
}

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
