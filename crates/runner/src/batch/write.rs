//! Hours that f has made, committed side by side.

use std::sync::Arc;

use anyhow::Result;
use connector::Hour;
use scan::Limits;

use crate::batch::draw::Draw;
use crate::batch::evaluate::Made;
use crate::batch::hour::{Part, commit, seal};
use crate::batch::wanted::listed::Listed;
use crate::guard::owner::{Owner, Runner};
use crate::job::Job;
use crate::report::Report;

/// Commits hours of which f made this, each by itself, or all of a sample at once.
pub(crate) async fn write(
    job: Arc<Job>,
    listed: Arc<Vec<Listed>>,
    hours: Vec<Hour>,
    made: Made,
    limits: Limits,
    draw: Option<Draw>,
) -> Result<Report> {
    let Made { mut outputs, mut refused, chosen } = made;
    Owner::new(&job, Runner::Batch).claim(&job.out)?;
    job.spec.keep(&job.out)?;
    job.sides.iter().try_for_each(|side| side.keep(&job.out))?;
    let attempt = draw.as_ref().map(Draw::attempt);
    // More hours than threads: some wait for the disk while others are written.
    let writers = if limits.memory.is_none() { 2 * limits.threads } else { limits.threads };
    let permits = Arc::new(tokio::sync::Semaphore::new(writers.max(1)));
    let mut committing = tokio::task::JoinSet::new();
    for hour in hours {
        let rows = outputs.remove(&hour).unwrap_or_default();
        let refused = refused.iter_mut().map(|(name, hours)| (name.clone(), hours.take(hour))).collect();
        let (job, listed, chosen, attempt) = (job.clone(), listed.clone(), chosen.clone(), attempt.clone());
        let permit = permits.clone().acquire_owned().await?;
        committing.spawn(async move {
            let _permit = permit;
            match attempt {
                Some(attempt) => seal(&job, &listed, hour, rows, refused, chosen.as_deref(), &attempt).await,
                None => commit(&job, &listed, hour, rows, refused).await,
            }
        });
    }
    let mut hours = Part::default();
    while let Some(done) = committing.join_next().await {
        hours.add(done??);
    }
    match draw.zip(chosen) {
        Some((draw, chosen)) => draw.commit(&job, hours, &chosen),
        None => Ok(hours.report),
    }
}
