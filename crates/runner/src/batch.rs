//! The batch runner: f(empty, all) over hours of Parquet. An hour's output is a pure function of its inputs' hours and
//! those around that f reaches to, so hours may run one by one, in any order, side by side, or all in one plan.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::RecordBatch;
use connector::{DataFile, Hour, HourFiles, Location, SourceError, list};
use datafusion::catalog::TableProvider;
use futures::TryStreamExt;
use journal::{Epoch, Journal, Ledger, Sum, checksum_of};
use scan::{Batch, CELLS, Chosen, Input, Limits};
use serde_json::json;
use thiserror::Error;

use crate::advance::advance;
use crate::aside::keep_refused;
use crate::commit::token;
use crate::hours::Hours;
use crate::job::{Job, Progress, Report};
use crate::sample::{Ids, Manifest};
use crate::seal::{Sealing, partition};
use crate::side::SideInput;

/// Input that a batch run needs and that is not there (exit 66).
#[derive(Debug, Error)]
pub enum MissingInput {
    /// Hours inside the range that do not exist.
    #[error("{root} has no {}: wait for it, or pass --allow-incomplete to take what is there", named(.hours))]
    Missing {
        /// The input's root.
        root: String,
        /// The hours.
        hours: Vec<Hour>,
    },
    /// Hours that their writer has not finished.
    #[error("{root} has not sealed {}: run `rescan wait` first, or pass --allow-incomplete", named(.hours))]
    Unsealed {
        /// The input's root.
        root: String,
        /// The hours.
        hours: Vec<Hour>,
    },
}

fn named(hours: &[Hour]) -> String {
    let shown: Vec<String> = hours.iter().take(3).map(|hour| format!("hour {hour}")).collect();
    let more = hours.len().saturating_sub(shown.len());
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// Which hours, and how strictly.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The first hour.
    pub from: Hour,
    /// The hour after the last.
    pub to: Hour,
    /// Take hours that are not there, or not sealed, as they are.
    pub allow_incomplete: bool,
    /// It is all that there is, and nobody asked for these hours: one that is not there has no events.
    pub whole: bool,
    /// Write hours again that are up to date.
    pub force: bool,
}

/// An input's hours.
struct Listed {
    input: Input,
    root: Location,
    hours: BTreeMap<Hour, HourFiles>,
    /// The range of the run, where any row of it may change any hour of the output.
    whole: Option<(Hour, Hour)>,
}

/// Hours that run in one plan at most, or as many as f reaches around them: each plan reads those again. All output of
/// a plan is in memory before its hours are sealed.
const HOURS_A_PLAN: usize = 4;

/// Parquet grows by about this on its way into memory.
const GROWTH: u64 = 6;

/// The hours of an input location that exist; for a range that nobody gave.
///
/// # Errors
/// The location cannot be listed.
pub async fn extent(root: &Location) -> Result<Option<(Hour, Hour)>> {
    let hours = list(root, ..).await?;
    Ok(hours.keys().next().copied().zip(hours.keys().last().map(|last| last.plus(1))))
}

/// Runs the hours of a range that are not up to date. An input may be in several places, and is all of them together.
///
/// # Errors
/// [`MissingInput`]; whatever keeps an hour from being committed. Hours that were committed before stand.
pub async fn batch(
    job: Arc<Job>,
    inputs: Vec<(String, Location)>,
    range: Range,
    mut progress: impl FnMut(&Progress),
) -> Result<Report> {
    let mut listed = Vec::new();
    for (name, root) in inputs {
        let input = job.scan.inputs().iter().find(|input| input.name == name).cloned();
        let input = input.with_context(|| format!("{} has no input {name}", job.command))?;
        listed.push(Listed::new(input, root, range, job.sampling.is_some()).await?);
    }
    let listed = Arc::new(listed);
    let mut report = Report::default();
    let stale = stale(&job, &listed, range, &mut report).await?;
    if !stale.is_empty() {
        job.sides.iter().try_for_each(|side| side.keep(&job.out))?;
    }
    let joint = job.sampling.is_some();
    let independent = !joint && job.scan.inputs().iter().all(|input| input.before == 0 && input.after == 0);
    let plans = if joint && !stale.is_empty() {
        vec![stale]
    } else if independent {
        stale.into_iter().map(|hour| vec![hour]).collect()
    } else {
        plans(&job, &listed, stale)
    };
    let total: usize = plans.iter().map(Vec::len).sum();
    let side_by_side = if independent { job.limits.threads.max(1) } else { 1 };
    let limits = Limits { threads: if independent { 1 } else { job.limits.threads }, ..job.limits };
    let mut plans = plans.into_iter();
    let mut running = tokio::task::JoinSet::new();
    let mut done = 0;
    loop {
        while running.len() < side_by_side && !job.stopped() {
            let Some(hours) = plans.next() else { break };
            running.spawn(run(job.clone(), listed.clone(), hours, limits));
        }
        let Some(finished) = running.join_next().await else { break };
        let part = finished??;
        done += part.sealed.len() as u64;
        report.add(part);
        let rows = report.ledger.values().map(|ledger| ledger.read).sum();
        progress(&Progress { rows, hours: (done, Some(total as u64)), ..Progress::default() });
    }
    report.stopped = plans.next().is_some();
    report.sealed.sort();
    Ok(report)
}

impl Listed {
    async fn new(input: Input, root: Location, range: Range, joint: bool) -> Result<Listed> {
        let (from, to) = around(&input, range.from, range.to);
        let hours = list(&root, from..to).await?;
        let inside = || Hour::range(range.from..range.to);
        if !range.allow_incomplete {
            let missing: Vec<Hour> = inside().filter(|hour| !hours.contains_key(hour)).collect();
            if !missing.is_empty() && !range.whole {
                return Err(MissingInput::Missing { root: root.to_string(), hours: missing }.into());
            }
            let unsealed: Vec<Hour> =
                inside().filter(|hour| hours.get(hour).is_some_and(|hour| !hour.sealed)).collect();
            if !unsealed.is_empty() && seals(&root).await? {
                return Err(MissingInput::Unsealed { root: root.to_string(), hours: unsealed }.into());
            }
        }
        Ok(Listed { input, root, hours, whole: joint.then_some((range.from, range.to)) })
    }

    /// The input hours that make the output of `[from, to)`.
    fn reach(&self, from: Hour, to: Hour) -> (Hour, Hour) {
        self.whole.unwrap_or_else(|| around(&self.input, from, to))
    }

    /// The files that hours of output are made of.
    fn files(&self, from: Hour, to: Hour) -> Vec<DataFile> {
        let (from, to) = self.reach(from, to);
        self.hours.range(from..to).flat_map(|(_, hour)| hour.files.iter().cloned()).collect()
    }
}

/// Whether who writes there seals hours: not every writer of Parquet does.
async fn seals(root: &Location) -> Result<bool> {
    Ok(list(root, ..).await?.values().any(|hour| hour.sealed))
}

/// The hours that the rows which make the output of `[from, to)` are in.
fn around(input: &Input, from: Hour, to: Hour) -> (Hour, Hour) {
    (
        Hour::of(from.start_us().saturating_sub(input.before)),
        Hour::of(to.start_us().saturating_add(input.after) - 1).plus(1),
    )
}

/// What an hour is made of: equal identities give equal bytes.
fn identity(job: &Job, listed: &[Listed], hour: Hour) -> Result<serde_json::Value> {
    let mut text = serde_json::to_string(&job.config)?;
    let mut absent = Vec::new();
    let mut files = 0;
    for listed in listed {
        let Listed { input, root, hours, .. } = listed;
        let (from, to) = listed.reach(hour, hour.plus(1));
        absent.extend(
            Hour::range(from..to).filter(|hour| !hours.contains_key(hour)).map(|hour| format!("{}/{hour}", input.name)),
        );
        for file in hours.range(from..to).flat_map(|(_, hour)| &hour.files) {
            files += 1;
            text += &format!("\n{}/{}:{}:{}:{}", input.name, root, file.path, file.bytes, file.version);
        }
    }
    let sides: BTreeMap<&str, &str> = job.sides.iter().map(|side| (side.named().0, side.version())).collect();
    let mut identity = json!({ "files": files, "absent": absent });
    if !sides.is_empty() {
        text += &format!("\n{}", json!(sides));
        identity["sides"] = json!(sides);
    }
    identity["identity"] = json!(Sum::of(text.as_bytes()).checksum);
    Ok(identity)
}

/// The hours whose output is not there, or was made of something else.
async fn stale(job: &Job, listed: &[Listed], range: Range, report: &mut Report) -> Result<Vec<Hour>> {
    let mut stale = Vec::new();
    let mut done = BTreeMap::new();
    for output in job.scan.outputs() {
        let root = Location::parse(&job.out.join(job.place(output)).to_string_lossy(), &BTreeMap::new())?;
        let hours = if job.out.exists() { list(&root, range.from..range.to).await? } else { BTreeMap::new() };
        done.insert(output.name.clone(), hours);
    }
    for hour in Hour::range(range.from..range.to) {
        let identity = identity(job, listed, hour)?;
        let current = |hours: &BTreeMap<Hour, HourFiles>| {
            hours.get(&hour).is_some_and(|files| {
                files.success.as_ref().is_some_and(|success| success.inputs == identity && whole(files, success))
            })
        };
        if !range.force && done.values().all(current) { report.up_to_date += 1 } else { stale.push(hour) }
    }
    if job.sampling.is_some() && (!stale.is_empty() || !Manifest::path(&job.out).exists()) {
        // A sample is drawn over all hours or none.
        report.up_to_date = 0;
        return Ok(Hour::range(range.from..range.to).collect());
    }
    Ok(stale)
}

/// Whether the files are those that `_SUCCESS` names.
fn whole(files: &HourFiles, success: &connector::Success) -> bool {
    let there: BTreeMap<&str, u64> = files.files.iter().map(|file| (file.name(), file.bytes)).collect();
    success.files.len() == there.len()
        && success.files.iter().all(|file| there.get(file.name.as_str()) == Some(&file.bytes))
}

/// Cuts hours into plans: neighbours go together, as far as memory allows.
fn plans(job: &Job, listed: &[Listed], hours: Vec<Hour>) -> Vec<Vec<Hour>> {
    let bytes = |hour: Hour| -> u64 {
        let own = listed.iter().filter_map(|listed| listed.hours.get(&hour));
        own.flat_map(|hour| &hour.files).map(|file| file.bytes).sum::<u64>() * GROWTH
    };
    let around = listed.iter().map(|listed| listed.input.before.saturating_add(listed.input.after)).max().unwrap_or(0);
    let most = HOURS_A_PLAN.max(around.div_euclid(3_600_000_000) as usize);
    let room = job.limits.memory.map_or(u64::MAX, |memory| memory as u64 / 2);
    let mut plans: Vec<Vec<Hour>> = Vec::new();
    let mut filled = 0;
    for hour in hours {
        let size = bytes(hour);
        match plans.last_mut() {
            Some(plan)
                if plan.len() < most
                    && plan.last().is_some_and(|last| last.plus(1) == hour)
                    && filled + size <= room =>
            {
                plan.push(hour);
                filled += size;
            }
            _ => {
                plans.push(vec![hour]);
                filled = size;
            }
        }
    }
    plans
}

/// Runs neighbouring hours as one plan, and commits each.
async fn run(job: Arc<Job>, listed: Arc<Vec<Listed>>, hours: Vec<Hour>, limits: Limits) -> Result<Report> {
    let (Some(first), Some(last)) = (hours.first().copied(), hours.last().copied()) else {
        return Ok(Report::default());
    };
    let mut tables: BTreeMap<String, Vec<Arc<dyn TableProvider>>> = BTreeMap::new();
    for input in listed.iter() {
        let files = input.files(first, last.plus(1));
        if !files.is_empty() {
            let mut table = connector::scan(&input.root, &files).await?;
            for side in &job.sides {
                table = side.over(table)?;
            }
            tables.entry(input.input.name.clone()).or_default().push(table);
        }
    }
    verify(&listed, first, last).await?;
    // The engine does not say in which file it failed.
    let of = || format!("run {} for the hours {first} to {last}", job.command);
    let (_, stepped) = advance(&job.scan, job.scan.empty(), Batch::Tables(tables), limits).await.with_context(of)?;
    let cells = stepped.next.get(CELLS).map(Vec::as_slice).unwrap_or_default();
    let chosen = job.sampling.as_ref().map(|sampling| sampling.choose(cells).map(Arc::new)).transpose()?;
    let mut outputs: BTreeMap<String, Hours> = BTreeMap::new();
    for (name, mut rows) in stepped.outputs {
        let hours = outputs.entry(name).or_default();
        while let Some(rows) = rows.try_next().await.with_context(of)? {
            let rows = chosen.as_ref().map_or(Ok(rows.clone()), |chosen| chosen.keep(&rows))?;
            hours.add_within(&rows, first, last)?;
        }
    }
    let mut refused: BTreeMap<String, Hours> = BTreeMap::new();
    for (name, rows) in stepped.refused {
        let hours = refused.entry(name).or_default();
        rows.iter().try_for_each(|rows| hours.add_within(rows, first, last))?;
    }
    let permits = Arc::new(tokio::sync::Semaphore::new(limits.threads.max(1)));
    let mut committing = tokio::task::JoinSet::new();
    for hour in hours {
        let rows = take(&mut outputs, hour);
        let refused = take(&mut refused, hour);
        let (job, listed, chosen) = (job.clone(), listed.clone(), chosen.clone());
        let permit = permits.clone().acquire_owned().await?;
        committing.spawn(async move {
            let _permit = permit;
            commit(&job, &listed, hour, rows, refused, chosen.as_deref()).await
        });
    }
    let (mut report, mut ids) = (Report::default(), Ids::default());
    while let Some(done) = committing.join_next().await {
        let (part, of_hour) = done??;
        report.add(part);
        ids.merge(of_hour);
    }
    if let Some(chosen) = &chosen {
        let manifest = Manifest::new(&job.config, chosen, ids.content());
        manifest.write(&job.out)?;
        report.sample = Some(manifest);
    }
    Ok(report)
}

/// Takes the rows of an hour out, by name.
fn take(of: &mut BTreeMap<String, Hours>, hour: Hour) -> BTreeMap<String, Vec<RecordBatch>> {
    of.iter_mut().map(|(name, hours)| (name.clone(), hours.take(hour))).collect()
}

/// Compares the files of sealed hours with what their `_SUCCESS` says: Parquet itself takes many a flipped bit for data.
async fn verify(listed: &[Listed], first: Hour, last: Hour) -> Result<()> {
    let mut checks = tokio::task::JoinSet::new();
    for listed in listed {
        let Listed { root, hours, .. } = listed;
        let (from, to) = listed.reach(first, last.plus(1));
        let Some(root) = root.local_path() else { continue };
        for (hour, success) in hours.range(from..to).filter_map(|(hour, files)| Some((hour, files.success.as_ref()?))) {
            for file in &success.files {
                let path = root.join(hour.path()).join(&file.name);
                let sum = Sum { bytes: file.bytes, checksum: file.checksum.clone() };
                checks.spawn_blocking(move || -> Result<()> {
                    let found = checksum_of(&path).with_context(|| format!("read {}", path.display()))?;
                    let said = "is not the file that _SUCCESS names: restore it, or make its hour again";
                    ensure!(found == sum, SourceError::BadData(format!("{} {said}", path.display())));
                    Ok(())
                });
            }
        }
    }
    while let Some(checked) = checks.join_next().await {
        checked??;
    }
    Ok(())
}

/// Seals an hour.
async fn commit(
    job: &Job,
    listed: &[Listed],
    hour: Hour,
    mut rows: BTreeMap<String, Vec<RecordBatch>>,
    refused: BTreeMap<String, Vec<RecordBatch>>,
    chosen: Option<&Chosen>,
) -> Result<(Report, Ids)> {
    let chain = PathBuf::from(format!("_rescan/journal/batch-{hour}"));
    let mut journal = Journal::open(&job.out, &chain, BTreeMap::new())?;
    let (number, token) = (journal.next_number(), token());
    let sides = job.sides.iter().map(SideInput::facts).collect();
    let mut epoch = Epoch { number, token: token.clone(), sides, ..Epoch::default() };
    let mut ledger = read_rows(listed, hour).await?;
    for (input, rows) in &refused {
        let place = format!("_rescan/rejected/{input}/{}", hour.path());
        epoch.remove.extend(superseded(job, &place, None).await?);
        let count = keep_refused(&job.out, &place, journal.stage(), rows, &mut epoch)?;
        let ledger = ledger.entry(input.clone()).or_default();
        (ledger.accepted, ledger.rejected) = (ledger.accepted.saturating_sub(count), ledger.rejected + count);
    }
    let (mut report, mut ids) = (Report::default(), Ids::default());
    for output in job.scan.outputs() {
        let rows = rows.remove(&output.name).unwrap_or_default();
        let partition = partition(&job.place(output), hour);
        let staged = format!("{}/{number:010}-{token}-{}.parquet", journal.stage(), output.name);
        let sealing = Sealing {
            root: &job.out,
            command: &job.command,
            output,
            partition: partition.clone(),
            staged,
            chosen,
            inputs: identity(job, listed, hour)?,
            ledger: serde_json::Value::Null,
        };
        let mut sealed = sealing.write(&rows)?;
        // Where f's one input has state of its own, its output is its rows, once each: the others were repeats.
        if let ([input], [_]) = (job.scan.inputs(), job.scan.outputs())
            && job.scan.keep(&input.name).is_some()
            && let Some(ledger) = ledger.get_mut(&input.name)
        {
            ledger.duplicate = ledger.read.saturating_sub(sealed.rows);
            ledger.accepted = ledger.read - ledger.duplicate;
        }
        ids.merge(sealed.ids);
        sealed.marker.content["ledger"] = serde_json::to_value(&ledger)?;
        epoch
            .remove
            .extend(superseded(job, &partition, sealed.publish.as_ref().map(|publish| publish.path.as_str())).await?);
        report.rows += sealed.rows;
        report.sealed.push(sealed.partition);
        epoch.publish.extend(sealed.publish);
        epoch.markers.push(sealed.marker);
    }
    epoch.ledger = ledger.clone();
    journal.commit(epoch)?;
    journal.collect_garbage()?;
    report.ledger = ledger;
    report.epochs = 1;
    Ok((report, ids))
}

/// The rows of the hour itself, by input.
async fn read_rows(listed: &[Listed], hour: Hour) -> Result<BTreeMap<String, Ledger>> {
    let mut ledger = BTreeMap::new();
    for Listed { input, root, hours, .. } in listed {
        let files = hours.get(&hour).map(|hour| hour.files.as_slice()).unwrap_or_default();
        let read = connector::count_rows(root, files).await?;
        let here = Ledger { read, accepted: read, ..Ledger::default() };
        ledger.entry(input.name.clone()).or_insert_with(Ledger::default).add(&here);
    }
    Ok(ledger)
}

/// Files of a partition that a new one takes the place of.
async fn superseded(job: &Job, partition: &str, published: Option<&str>) -> Result<Vec<String>> {
    let dir = job.out.join(partition);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&dir).into_iter().flatten() {
        let name = entry.with_context(|| format!("list {}", dir.display()))?.file_name().to_string_lossy().into_owned();
        let path = format!("{partition}/{name}");
        if name.ends_with(".parquet") && !name.starts_with(['_', '.']) && Some(path.as_str()) != published {
            files.push(path);
        }
    }
    Ok(files)
}
