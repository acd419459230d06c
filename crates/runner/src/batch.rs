//! The batch runner: f(empty, all) over hours of Parquet. An hour's output is a pure function of its inputs' hours and
//! those around that f reaches to, so hours may run one by one, in any order, side by side, or all in one plan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use connector::{HOUR_US, Hour};
use datafusion::catalog::TableProvider;
use futures::TryStreamExt;
use journal::Ledger;
use scan::{Batch, CELLS, Chosen, Held, Limits, Reading, Tables, unshared};

use crate::advance::advance;
use crate::beyond::{early, late, refuse_cut};
use crate::current::{identity, stale};
use crate::depends::depends;
use crate::draw::{Draw, other_hours};
use crate::foreign::OwnFiles;
use crate::hour::{Part, commit, seal};
use crate::hours::Hours;
use crate::intact::Intact;
use crate::job::Job;
use crate::listed::{Listed, Place, found};
use crate::owner::{Owner, Runner};
use crate::pieces::Pieces;
use crate::range::{Asked, Range};
use crate::report::{Progress, Report};
use crate::tally::Tally;
use crate::wants::Wanting;

/// Hours that run in one plan at most, or as many as f reaches around them: each plan reads those again. All output of
/// a plan is in memory before its hours are sealed.
const HOURS_A_PLAN: usize = 2;

/// How often it is looked how many rows were read.
const LOOK: Duration = Duration::from_millis(200);

/// Parquet grows by about this on its way into memory.
const GROWTH: u64 = 6;

/// Hours of so few bytes wait for the disk most of their time: so many plans of them run side by side, each with so much
/// memory at least.
const SMALL: u64 = 1 << 20;
const SMALL_SIDE_BY_SIDE: usize = 32;
const SMALL_MEMORY: usize = 64 << 20;

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

/// The plans of a run, how many of them run side by side, and what each may take. Plans that meet nobody keep all
/// threads busy from the first hour to the last. Those that are too large for that, or reach so far that many hours are
/// in each, have the whole machine one after another.
fn planned(job: &Job, listed: &[Listed], hours: Vec<Hour>) -> (Vec<Vec<Hour>>, usize, Limits) {
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
fn fits(listed: &[Listed], limits: Limits, first: Hour, last: Hour) -> bool {
    limits.memory.is_none_or(|memory| bytes(listed, first, last) * GROWTH <= memory as u64 / 2)
}

/// Of the files that make the hours from `first` to `last`.
fn bytes(listed: &[Listed], first: Hour, last: Hour) -> u64 {
    let files = listed.iter().flat_map(|listed| listed.files(first, last.plus(1)));
    files.map(|file| file.bytes).sum()
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

/// What f made of the input of some hours, by hour and output, or by input.
pub(crate) struct Made {
    pub outputs: BTreeMap<Hour, BTreeMap<String, Pieces>>,
    refused: BTreeMap<String, Hours>,
    /// The sample, where one is drawn.
    chosen: Option<Arc<Chosen>>,
}

/// The tables of each input.
pub(crate) type Inputs = BTreeMap<String, Vec<Arc<dyn TableProvider>>>;

/// The tables of the inputs that make the output of some hours.
async fn inputs(job: &Job, listed: &[Listed], first: Hour, last: Hour) -> Result<Inputs> {
    let mut tables = Vec::new();
    for listed in listed {
        let (from, to) = listed.reach(first, last.plus(1));
        tables.extend(listed.table(from, to).await?.map(|table| (listed, table)));
    }
    self::tables(job, tables, first)
}

/// Tables of places as those of the inputs of f; `hour` is the hour of output, where outputs are merged.
pub(crate) fn tables(job: &Job, tables: Vec<(&Listed, Arc<dyn TableProvider>)>, hour: Hour) -> Result<Inputs> {
    if let Some(merged) = &job.merged {
        return Ok(merged.tables(tables, hour)?.into_iter().map(|(name, table)| (name, vec![table])).collect());
    }
    let mut inputs = Inputs::new();
    for (listed, table) in tables {
        let table = job.sides.iter().try_fold(table, |table, side| side.over(table))?;
        inputs.entry(listed.input.name.clone()).or_default().push(table);
    }
    Ok(inputs)
}

/// Applies f to what makes the hours from `first` to `last`, and gives its output in a range, microseconds.
pub(crate) async fn make(
    job: &Job,
    listed: &[Listed],
    (first, last): (Hour, Hour),
    within: std::ops::Range<i64>,
    limits: Limits,
    reading: Reading,
) -> Result<Made> {
    let inputs = inputs(job, listed, first, last).await?;
    let one = within == (first.start_us()..first.plus(1).start_us());
    let sorted = one && !fits(listed, limits, first, last);
    let tables = Tables { inputs, within: Some(within), sorted, reading };
    make_of(job, tables, (first, last), limits).await
}

/// Applies f to tables that make the hours from the first to the last.
pub(crate) async fn make_of(job: &Job, tables: Tables, (first, last): (Hour, Hour), limits: Limits) -> Result<Made> {
    // The engine does not say in which file it failed.
    let of = || format!("run {} for the hours {first} to {last}", job.command);
    // What joins hold takes repeats out of whole hours, which is not sorted on disk: too large ones end for want of memory.
    let halves = job.merged.as_ref().is_some_and(|merged| matches!(merged.held, Held::Halves { .. }));
    let sorted = tables.sorted && !halves;
    let tables = Tables { sorted, ..tables };
    let (_, stepped) = advance(&job.scan, job.scan.empty(), Batch::Tables(tables), limits).await.with_context(of)?;
    let cells = stepped.next.get(CELLS).map(Vec::as_slice).unwrap_or_default();
    let chosen = job.sampling.as_ref().map(|sampling| sampling.choose(cells).map(Arc::new)).transpose()?;
    let mut outputs: BTreeMap<Hour, BTreeMap<String, Pieces>> = BTreeMap::new();
    for (name, mut rows) in stepped.outputs {
        if sorted {
            outputs.entry(first).or_default().insert(name, Pieces::Sorted(rows));
            continue;
        }
        let mut of_output = Hours::default();
        while let Some(rows) = rows.try_next().await.with_context(of)? {
            match &chosen {
                // A few rows out of many: as views they would hold all pages that were read.
                Some(chosen) => of_output.add(&unshared(&chosen.keep(&rows)?)?)?,
                None => of_output.add(&rows)?,
            }
        }
        for hour in of_output.hours() {
            outputs.entry(hour).or_default().insert(name.clone(), Pieces::Held(of_output.take(hour)));
        }
    }
    let mut refused: BTreeMap<String, Hours> = BTreeMap::new();
    for (name, rows) in stepped.refused {
        let hours = refused.entry(name).or_default();
        rows.iter().try_for_each(|rows| hours.add_within(rows, first, last))?;
    }
    Ok(Made { outputs, refused, chosen })
}
