//! An hour of a batch run: sealed by itself, or as one of a sample's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use arrow::array::RecordBatch;
use connector::Hour;
use journal::{Epoch, Journal, Ledger, Syncs, Unbalanced};
use scan::{Chosen, Merged};
use serde_json::Value;
use tokio::task::block_in_place;

use crate::account::{account, take};
use crate::aside::keep_refused;
use crate::batch::repeats::{once_each, repeats};
use crate::batch::wanted::current::identity;
use crate::batch::wanted::listed::{Listed, read_rows};
use crate::guard::foreign::{set_aside, superseded};
use crate::input::side::SideInput;
use crate::job::Job;
use crate::output::layout::{hour_journal, partition, rejected, token};
use crate::output::pieces::Pieces;
use crate::output::sample::Ids;
use crate::output::seal::{Sealed, Sealing};
use crate::report::Report;
use crate::report::add;

/// One try at an epoch.
#[derive(Clone)]
pub(crate) struct Attempt {
    stage: String,
    syncs: Syncs,
    number: u64,
    token: String,
    /// What every hour is made of, where all are made of the same.
    pub inputs: Option<Value>,
}

impl Attempt {
    /// The next epoch of a journal.
    pub(crate) fn at(journal: &Journal) -> Attempt {
        let (stage, syncs) = (journal.stage().to_owned(), journal.syncs().clone());
        Attempt { stage, syncs, number: journal.next_number(), token: token(), inputs: None }
    }

    /// Before anything is in it.
    pub(crate) fn epoch(&self, job: &Job) -> Result<Epoch> {
        let sides = job.sides.iter().map(SideInput::facts).collect();
        let job = job.spec.checksum()?;
        Ok(Epoch { number: self.number, token: self.token.clone(), job, sides, ..Epoch::default() })
    }
}

/// Sealed hours, and what of them is still to be decided.
#[derive(Default)]
pub(crate) struct Part {
    pub report: Report,
    pub ids: Ids,
    pub epoch: Epoch,
}

impl Part {
    /// Adds other hours.
    pub(crate) fn add(&mut self, other: Part) {
        self.report.add(other.report);
        self.ids.merge(other.ids);
        self.epoch.publish.extend(other.epoch.publish);
        self.epoch.remove.extend(other.epoch.remove);
        self.epoch.markers.extend(other.epoch.markers);
        add(&mut self.epoch.ledger, &other.epoch.ledger);
    }
}

/// Seals an hour and decides it, in a journal of its own: others may do other hours meanwhile.
pub(crate) async fn commit(
    job: &Job,
    listed: &[Listed],
    hour: Hour,
    rows: BTreeMap<String, Pieces>,
    refused: BTreeMap<String, Vec<RecordBatch>>,
) -> Result<Part> {
    let chain = PathBuf::from(hour_journal(hour));
    let mut journal = block_in_place(|| Journal::open(&job.out, &chain, BTreeMap::new()))?;
    let mut part = seal(job, listed, hour, rows, refused, None, &Attempt::at(&journal)).await?;
    part.report.epochs = 1;
    // Other hours are written while this one waits for the disk.
    block_in_place(move || {
        journal.commit(std::mem::take(&mut part.epoch))?;
        journal.collect_garbage()?;
        Ok(part)
    })
}

/// The rows that were handed to f, by footers and by what was refused; what was read of them is counted elsewhere.
fn fed(ledger: &BTreeMap<String, Ledger>) -> Result<BTreeMap<String, u64>, Unbalanced> {
    let of = |(input, ledger): (&String, &Ledger)| match ledger.read.checked_sub(ledger.rejected) {
        Some(fed) => Ok((input.clone(), fed)),
        None => ledger.check(input).map(|()| (input.clone(), 0)),
    };
    ledger.iter().map(of).collect()
}

/// Counts the rows of an input that f puts out once each: all of them, and those that do not stand are repeats.
///
/// # Errors
/// f put out more rows, or less.
fn take_told(job: &Job, input: &str, ledger: &mut Ledger, sealed: &Sealed) -> Result<(), Unbalanced> {
    if job.merged.is_none() {
        Ledger { accepted: sealed.told, ..*ledger }.check(input)?;
    }
    let retracted = sealed.told.saturating_sub(sealed.rows).min(ledger.accepted);
    take(ledger, Merged { retracted, ..Merged::default() });
    Ok(())
}

/// What is wrong with the files of an input, where they do not hold the rows that they tell of.
async fn untrue(job: &Job, listed: &[Listed], input: &str, hour: Hour) -> Result<Option<anyhow::Error>> {
    let time = job.scan.inputs().iter().find(|of| of.name == input).map(|of| of.time.clone()).unwrap_or_default();
    for listed in listed.iter().filter(|listed| listed.input.name == input) {
        if let Some(untrue) = listed.untrue(&time, hour).await? {
            return Ok(Some(untrue.into()));
        }
    }
    Ok(None)
}

/// Writes an hour where an epoch will publish it.
pub(crate) async fn seal(
    job: &Job,
    listed: &[Listed],
    hour: Hour,
    mut rows: BTreeMap<String, Pieces>,
    refused: BTreeMap<String, Vec<RecordBatch>>,
    chosen: Option<&Chosen>,
    attempt: &Attempt,
) -> Result<Part> {
    let Attempt { stage, syncs, number, token, .. } = attempt;
    let mut epoch = attempt.epoch(job)?;
    let mut ledger = read_rows(listed, hour).await?;
    for (input, rows) in &refused {
        let place = partition(&rejected(input), hour);
        epoch.remove.extend(superseded(job, &rejected(input), hour, None)?);
        let count = keep_refused(&job.out, &place, stage, rows, &mut epoch, syncs)?;
        if count > 0 {
            ledger.entry(input.clone()).or_default().rejected += count;
        }
    }
    for (input, merged) in account(&fed(&ledger)?, &repeats(job, listed, hour).await?)? {
        take(ledger.entry(input).or_default(), merged);
    }
    let (mut report, mut ids) = (Report::default(), Ids::default());
    for output in job.scan.outputs() {
        let rows = rows.remove(&output.name).unwrap_or(Pieces::Held(Vec::new()));
        let partition = partition(&job.place(output), hour);
        let staged = format!("{stage}/{number:010}-{token}-{}-{hour}.parquet", output.name);
        let sealing = Sealing {
            root: &job.out,
            command: &job.command,
            spec: epoch.job.clone(),
            output,
            made: job.made(output),
            partition: partition.clone(),
            staged,
            chosen,
            inputs: attempt.inputs.clone().map_or_else(|| identity(job, listed, hour), Ok)?,
            ledger: serde_json::Value::Null,
            syncs: syncs.clone(),
        };
        let mut sealed = block_in_place(|| sealing.write(rows))?;
        if let Some(input) = once_each(job)
            && let Some(ledger) = ledger.get_mut(input)
            && let Err(unbalanced) = take_told(job, input, ledger, &sealed)
        {
            return Err(untrue(job, listed, input, hour).await?.unwrap_or_else(|| unbalanced.into()));
        }
        ledger.iter().try_for_each(|(input, ledger)| ledger.check(input))?;
        ids.merge(sealed.ids);
        sealed.marker.content["ledger"] = serde_json::to_value(&ledger)?;
        let published = sealed.publish.as_ref().map(|publish| publish.path.as_str());
        epoch.remove.extend(superseded(job, &job.place(output), hour, published)?);
        sealed.publish.iter().try_for_each(|publish| set_aside(job, &job.place(output), hour, publish))?;
        report.rows += sealed.rows;
        report.sealed.push(sealed.partition);
        epoch.publish.extend(sealed.publish);
        epoch.markers.push(sealed.marker);
    }
    epoch.ledger = ledger.clone();
    report.ledger = ledger;
    Ok(Part { report, ids, epoch })
}
