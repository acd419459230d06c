//! The batch runner: f(empty, all) over hours of Parquet. An hour's output is a pure function of its inputs' hours and
//! those around that f reaches to, so hours may run one by one, in any order, side by side, or all in one plan.

pub(crate) mod beyond;
pub(crate) mod draw;
pub(crate) mod evaluate;
pub(crate) mod hour;
pub(crate) mod plans;
pub(crate) mod repeats;
pub(crate) mod tally;
pub(crate) mod wanted;
pub(crate) mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use connector::Hour;
use journal::Ledger;
use scan::{Limits, Reading};

use crate::batch::beyond::{early, late, refuse_cut};
use crate::batch::draw::{Draw, other_hours};
use crate::batch::evaluate::make;
use crate::batch::plans::planned;
use crate::batch::tally::Tally;
use crate::batch::wanted::current::{identity, stale};
use crate::batch::wanted::depends::depends;
use crate::batch::wanted::listed::{Listed, Place, found};
use crate::batch::wanted::range::{Asked, Range};
use crate::batch::write::write;
use crate::guard::foreign::OwnFiles;
use crate::guard::intact::Intact;
use crate::guard::owner::{Owner, Runner};
use crate::job::Job;
use crate::output::hours::Hours;
use crate::report::{Progress, Report};
use crate::wants::Wanting;

/// How often it is looked how many rows were read.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the hours of a range that are not up to date and whose inputs are complete. An input may be in several places,
/// and is all of them together.
///
/// # Errors
/// [`MissingInput`](crate::MissingInput), [`Occupied`](crate::Occupied); whatever keeps an hour from being committed.
/// Hours that were committed before stand.
pub async fn batch(
    job: Arc<Job>,
    places: Vec<Place>,
    asked: Asked,
    mut progress: impl FnMut(&Progress),
) -> Result<Report> {
    let (mut listed, range) = look(&job, places, asked).await?;
    let joint = job.sampling.is_some();
    let mut draw = if joint { Some(Draw::open(&job)?) } else { None };
    let mut report = Report::default();
    listed.iter().for_each(|place| report.skip(&place.input.name, place.skipped));
    let mut intact = Intact::of(&job.out, false);
    let stale = stale(&job, &mut listed, range, &mut intact, &mut report).await?;
    report.damaged = damaged(&job, &stale, &mut intact)?;
    intact.remember()?;
    progress(&Progress { warnings: report.damaged.clone(), ..Progress::default() });
    let listed = Arc::new(listed);
    if let Some(draw) = draw.as_mut().filter(|_| !stale.is_empty()) {
        draw.replace(&job, range).await?;
        draw.made_of(identity(&job, &listed, range.from)?);
    }
    early(&job, &listed, range, &stale, &mut report).await?;
    let last = stale.last().copied();
    let tally = Arc::new(Tally::new(job.aside, &stale));
    let (plans, side_by_side, limits) = planned(&job, &listed, stale);
    let total: usize = plans.iter().map(Vec::len).sum();
    let mut plans = plans.into_iter();
    let mut running = tokio::task::JoinSet::new();
    let (mut done, reading) = (0, Reading::default());
    let shared = Shared { job: job.clone(), listed: listed.clone(), range, tally, reading: reading.clone() };
    loop {
        while running.len() < side_by_side && !job.stopped() {
            let Some(hours) = plans.next() else { break };
            running.spawn(run(shared.clone(), hours, limits, draw.take()));
        }
        match tokio::time::timeout(LOOK, running.join_next()).await {
            Ok(None) => break,
            Ok(Some(finished)) => {
                let part = finished??;
                done += part.sealed.len() as u64;
                report.add(part);
            }
            // Nothing is done yet; but rows are read.
            Err(_) => {}
        }
        let sum = |count: fn(&Ledger) -> u64| report.ledger.values().map(count).sum::<u64>();
        let (rows, rejected) = (sum(|ledger| ledger.read).max(reading.rows()), sum(|ledger| ledger.rejected));
        progress(&Progress { rows, rejected, hours: (done, Some(total as u64)), ..Progress::default() });
    }
    report.stopped = plans.next().is_some();
    if !report.stopped {
        late(&job, &listed, range, last, &mut report).await?;
    }
    report.sealed.sort();
    report.depends = depends(&job, &listed, range, &report);
    Ok(report)
}

/// What a batch run would do.
pub struct Impact {
    /// The hours that it would write.
    pub stale: Vec<Hour>,
    /// How many are there already, made of the same.
    pub up_to_date: u64,
    /// The hours of a former sample that it would take out.
    pub removed: Vec<Hour>,
    /// The hours that wait for input.
    pub waiting: Vec<Wanting>,
    /// Those that would stay as they are, because an input has vanished.
    pub kept: Vec<Wanting>,
    /// Those that would be replaced although they were made of more.
    pub replaced: Vec<Wanting>,
    /// What is wrong with sealed hours.
    pub damaged: Vec<String>,
}

/// What [`batch`] would do; writes nothing.
///
/// # Errors
/// What keeps such a run from beginning.
pub async fn impact(job: &Job, places: Vec<Place>, asked: Asked) -> Result<Impact> {
    let (mut listed, range) = look(job, places, asked).await?;
    let mut report = Report::default();
    let mut intact = Intact::of(&job.out, false);
    let stale = stale(job, &mut listed, range, &mut intact, &mut report).await?;
    let damaged = damaged(job, &stale, &mut intact)?;
    let joint = job.sampling.is_some() && !stale.is_empty();
    let others = if joint { other_hours(job, range).await? } else { Vec::new() };
    let removed = others.into_iter().map(|(_, hour, _)| hour).collect();
    let Report { up_to_date, waiting, kept, replaced, .. } = report;
    Ok(Impact { stale, up_to_date, removed, waiting, kept, replaced, damaged })
}

/// What is wrong with sealed hours, and what becomes of it.
fn damaged(job: &Job, stale: &[Hour], intact: &mut Intact<'_>) -> Result<Vec<String>> {
    let mut damaged = Vec::new();
    for output in job.scan.outputs() {
        damaged.extend(intact.damaged(&job.place(output))?);
    }
    damaged.extend(intact.gone()?);
    let told = |(hour, what): (Hour, String)| match stale.contains(&hour) {
        true => format!("{what}: hour {hour} is made again"),
        false => format!("{what}: restore it, or make hour {hour} again"),
    };
    Ok(damaged.into_iter().map(told).collect())
}

/// What there is to read; nothing is read where the output is another's.
async fn look(job: &Job, places: Vec<Place>, asked: Asked) -> Result<(Vec<Listed>, Range)> {
    let owned = Owner::new(job, Runner::Batch).check(&job.out)?;
    OwnFiles::of(job, owned).refuse_foreign()?;
    let (listed, range) = found(job, places, asked).await?;
    job.merged.iter().try_for_each(|merged| merged.check(&listed))?;
    Ok((listed, range))
}

/// What all plans of a run share.
#[derive(Clone)]
struct Shared {
    job: Arc<Job>,
    listed: Arc<Vec<Listed>>,
    range: Range,
    tally: Arc<Tally>,
    reading: Reading,
}

/// Runs neighbouring hours as one plan, and commits each, or all of a sample at once.
async fn run(shared: Shared, hours: Vec<Hour>, limits: Limits, draw: Option<Draw>) -> Result<Report> {
    let (Some(first), Some(last)) = (hours.first().copied(), hours.last().copied()) else {
        return Ok(Report::default());
    };
    let Shared { job, listed, range, tally, reading } = shared;
    let within = first.start_us()..last.plus(1).start_us();
    let mut made = make(&job, &listed, (first, last), within, limits, reading).await?;
    add_timeless(&listed, &hours, &mut made.refused).await?;
    tally.reject(&listed, first, &made.refused).await?;
    if made.outputs.is_empty() {
        refuse_cut(&job, &listed, range, first, last).await?;
    }
    write(job, listed, hours, made, limits, draw).await
}

/// Adds the rows of hours that say no time to those that f refused.
async fn add_timeless(listed: &[Listed], hours: &[Hour], refused: &mut BTreeMap<String, Hours>) -> Result<()> {
    for listed in listed {
        for hour in hours {
            for rows in listed.timeless(*hour).await? {
                refused.entry(listed.input.name.clone()).or_default().add(&rows)?;
            }
        }
    }
    Ok(())
}
