//! Which hours of a batch run are made in one plan, how many plans run side by side, and what each may take.

use connector::{HOUR_US, Hour};
use scan::Limits;

use crate::batch::wanted::listed::Listed;
use crate::job::Job;

/// Hours that run in one plan at most, or as many as f reaches around them: each plan reads those again. All output of
/// a plan is in memory before its hours are sealed.
const HOURS_A_PLAN: usize = 2;

/// Parquet grows by about this on its way into memory.
const GROWTH: u64 = 6;

/// Hours of so few bytes wait for the disk most of their time: so many plans of them run side by side, each with so much
/// memory at least.
const SMALL: u64 = 1 << 20;
const SMALL_SIDE_BY_SIDE: usize = 32;
const SMALL_MEMORY: usize = 64 << 20;

/// The plans of a run, how many of them run side by side, and what each may take. Plans that meet nobody keep all
/// threads busy from the first hour to the last. Those that are too large for that, or reach so far that many hours are
/// in each, have the whole machine one after another.
pub(crate) fn planned(job: &Job, listed: &[Listed], hours: Vec<Hour>) -> (Vec<Vec<Hour>>, usize, Limits) {
    let Limits { threads, memory } = job.limits;
    if job.sampling.is_some() {
        let plans = if hours.is_empty() { Vec::new() } else { vec![hours] };
        return (plans, 1, job.limits);
    }
    let share = Limits { threads: 1, memory: memory.map(|memory| memory / threads.max(1)) };
    let shared = plans(listed, share, hours.clone());
    let fit = shared.iter().all(|plan| fits(listed, share, plan[0], plan[plan.len() - 1]));
    // Nobody knows how much comes of sets that are unfolded again.
    let known = memory.is_none() || job.merged.is_none();
    if fit && known && hours_a_plan(listed) <= HOURS_A_PLAN {
        let small = shared.iter().all(|plan| bytes(listed, plan[0], plan[plan.len() - 1]) <= SMALL);
        let many = memory.map_or(SMALL_SIDE_BY_SIDE, |memory| (memory / SMALL_MEMORY).min(SMALL_SIDE_BY_SIDE));
        let most = if small { threads.max(many) } else { threads };
        let side_by_side = most.min(shared.len()).max(1);
        let memory = memory.map(|memory| memory / side_by_side);
        return (shared, side_by_side, Limits { threads: (threads / side_by_side).max(1), memory });
    }
    (plans(listed, job.limits, hours), 1, job.limits)
}

/// One where no hour needs those around it.
fn hours_a_plan(listed: &[Listed]) -> usize {
    let around = listed.iter().map(|listed| listed.input.before.saturating_add(listed.input.after)).max().unwrap_or(0);
    if around == 0 { 1 } else { HOURS_A_PLAN.max(around.div_euclid(HOUR_US) as usize) }
}

/// Cuts hours into plans: neighbours go together, as far as memory allows, where f reaches around them.
fn plans(listed: &[Listed], limits: Limits, hours: Vec<Hour>) -> Vec<Vec<Hour>> {
    let most = hours_a_plan(listed);
    let mut plans: Vec<Vec<Hour>> = Vec::new();
    for hour in hours {
        match plans.last_mut() {
            Some(plan)
                if plan.len() < most
                    && plan.last().is_some_and(|last| last.plus(1) == hour)
                    && fits(listed, limits, plan[0], hour) =>
            {
                plan.push(hour);
            }
            _ => plans.push(vec![hour]),
        }
    }
    plans
}

/// Whether what makes the hours from `first` to `last` leaves half of memory for what comes of it.
pub(crate) fn fits(listed: &[Listed], limits: Limits, first: Hour, last: Hour) -> bool {
    limits.memory.is_none_or(|memory| bytes(listed, first, last) * GROWTH <= memory as u64 / 2)
}

/// Of the files that make the hours from `first` to `last`.
fn bytes(listed: &[Listed], first: Hour, last: Hour) -> u64 {
    let files = listed.iter().flat_map(|listed| listed.files(first, last.plus(1)));
    files.map(|file| file.bytes).sum()
}
