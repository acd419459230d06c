//! `--dry-run`: what a run would do, by what it would find.

use std::process::ExitCode;

use anyhow::Result;
use runner::{Impact, Job, goes_on, impact};

use crate::plan::Plan;
use crate::plan::last_epoch::last_epoch;
use crate::plan::open::Opened;
use crate::show::incomplete;

/// Says which hours a batch run would write, or where a stream would go on; writes nothing.
///
/// # Errors
/// What would keep the run from beginning.
pub async fn would_run(plan: &Plan, job: &Job, opened: Opened) -> Result<ExitCode> {
    match opened {
        Opened::Batch(places, _) => {
            let would = impact(job, places, plan.asked()?).await?;
            incomplete(&plan.command, &would.waiting, &would.kept, &would.replaced);
            would.damaged.iter().for_each(|damaged| eprintln!("{}: {damaged}", plan.command));
            eprintln!("{}", would_write(plan, &would));
        }
        Opened::Stream(..) => {
            let (last, out) = (last_epoch(&job.out)?, job.out.display());
            let after = goes_on(job, last.as_ref())?.map(|epoch| format!(", after epoch {epoch} of it"));
            let (command, after) = (&plan.command, after.unwrap_or_default());
            if last.is_some_and(|last| last.watermark == Some(i64::MAX)) {
                eprintln!("would write nothing: {command} came to the end of its input in {out}");
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!("would run {command} over {}, into {out}{after}", plan.shown());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn would_write(plan: &Plan, would: &Impact) -> String {
    let (command, out, there) = (&plan.command, plan.flags.out.display(), would.up_to_date);
    let hours = |hours: u64| if hours == 1 { "1 hour".to_owned() } else { format!("{hours} hours") };
    match (would.stale.first(), would.stale.last()) {
        (Some(first), Some(last)) => {
            let of = if first == last { first.to_string() } else { format!("{first} to {last}") };
            let there = if there > 0 { format!("; {} up to date", hours(there)) } else { String::new() };
            let gone = would.removed.len() as u64;
            let gone = if gone > 0 { format!("; {} of another sample go", hours(gone)) } else { String::new() };
            format!("would run {command} for {}, {of}, into {out}{there}{gone}", hours(would.stale.len() as u64))
        }
        _ => format!("would write nothing: {command} is up to date in {out}, {}", hours(there)),
    }
}
