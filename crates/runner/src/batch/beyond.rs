//! Output beyond the hours of input: a script may give a row another time than that of the events it is made of. What
//! lives before the first hour of input is written with it; what lives after the last waits until that hour is there.

use std::sync::Arc;

use anyhow::{Result, bail};
use connector::{Hour, SUCCESS, SourceError};
use scan::{Reading, Tables};

use crate::batch::evaluate::{Made, make, make_of, tables};
use crate::batch::wanted::current::early_hours;
use crate::batch::wanted::listed::Listed;
use crate::batch::wanted::range::Range;
use crate::batch::write::write;
use crate::job::Job;
use crate::report::Report;
use crate::wants::{Why, add};

/// The first hour of all input and the last, where output may live beyond them.
fn ends(job: &Job, listed: &[Listed], range: Range) -> Option<(Hour, Hour)> {
    let other = job.sampling.is_some() || job.merged.is_some() || !range.anywhere;
    let ends = listed.iter().filter_map(|listed| listed.ends);
    ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).filter(|_| !other)
}

/// Writes the output that lives before the first hour of input, where that hour is to be written: it is made of no other
/// input than that hour is.
///
/// # Errors
/// As for any hour; [`SourceError::BadData`] for a row that is further away than the script says.
pub(crate) async fn early(
    job: &Arc<Job>,
    listed: &Arc<Vec<Listed>>,
    range: Range,
    stale: &[Hour],
    report: &mut Report,
) -> Result<()> {
    let Some((first, _)) = ends(job, listed, range).filter(|(first, _)| stale.first() == Some(first)) else {
        return Ok(());
    };
    let after = listed.iter().map(|listed| listed.input.after).max().unwrap_or(0);
    let begin = Hour::of(first.start_us().saturating_sub(after));
    if begin == first {
        return Ok(());
    }
    let made = make(job, listed, (first, first), i64::MIN..first.start_us(), job.limits, Reading::default()).await?;
    refuse_far(&made, job, begin, first)?;
    let hours = Range { from: begin, to: first, window: None, ..range };
    let hours = early_hours(job, listed, hours, |hour| made.outputs.contains_key(&hour), report).await?;
    let part = write(job.clone(), listed.clone(), hours, made, job.limits, None).await?;
    report.add(part);
    Ok(())
}

/// Reports the hours after the last of input that have output already, where the last was written.
///
/// # Errors
/// As for any hour; [`SourceError::BadData`] for a row that is further away than the script says.
pub(crate) async fn late(
    job: &Job,
    listed: &[Listed],
    range: Range,
    last_written: Option<Hour>,
    report: &mut Report,
) -> Result<()> {
    let Some((_, last)) = ends(job, listed, range).filter(|(_, last)| last_written == Some(*last)) else {
        return Ok(());
    };
    let before = listed.iter().map(|listed| listed.input.before).max().unwrap_or(0);
    let end = Hour::of(last.plus(1).start_us().saturating_add(before).saturating_sub(1)).plus(1);
    if end == last.plus(1) {
        return Ok(());
    }
    let made =
        make(job, listed, (last, last), last.plus(1).start_us()..i64::MAX, job.limits, Reading::default()).await?;
    refuse_far(&made, job, last.plus(1), end)?;
    for hour in made.outputs.keys() {
        add(&mut report.waiting, *hour, listed.iter().map(|listed| (listed.label.clone(), *hour, Why::Missing)));
    }
    Ok(())
}

/// That hours without output, which were asked for, are not those whose rows make output of an hour before the range.
///
/// # Errors
/// [`SourceError::Usage`] with the range that fits.
pub(crate) async fn refuse_cut(job: &Job, listed: &[Listed], range: Range, first: Hour, last: Hour) -> Result<()> {
    if range.whole || !range.anywhere {
        return Ok(());
    }
    let mut own = Vec::new();
    for listed in listed {
        own.extend(listed.table(first, last.plus(1)).await?.map(|table| (listed, table)));
    }
    let within = Some(i64::MIN..range.from.start_us());
    let tables = Tables { inputs: tables(job, own, first)?, within, ..Tables::default() };
    let made = make_of(job, tables, (first, last), job.limits).await?;
    for hour in made.outputs.keys() {
        for output in job.scan.outputs() {
            let root = job.out.join(job.place(output)).join(hour.path());
            if !root.join(SUCCESS).exists() {
                let of = format!("the rows of hours {first} to {last} make output of hour {hour}");
                // Output before all input is written with the first hour of it.
                let first = listed.iter().filter_map(|listed| listed.ends).map(|ends| ends.0).min();
                let from = first.map_or(*hour, |first| first.max(*hour));
                let said = format!("{of}, which is not in the range: write --from {from}, or run that hour first");
                bail!(SourceError::Usage(said));
            }
        }
    }
    Ok(())
}

fn refuse_far(made: &Made, job: &Job, from: Hour, to: Hour) -> Result<()> {
    if let Some(hour) = made.outputs.keys().find(|hour| !(from..to).contains(hour)) {
        let said = "which is further from its input than the script says: declare how far with before and after";
        bail!(SourceError::BadData(format!("{} puts a row out for hour {hour}, {said}", job.command)));
    }
    Ok(())
}
