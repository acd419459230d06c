//! The hours of inputs that a batch run reads: which there are, which must be, and what is in them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use connector::{DataFile, Hour, HourFiles, Location, SourceError, list};
use journal::{Ledger, Sum, checksum_of};
use thiserror::Error;

use crate::job::Job;

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
    #[error("{root} has not sealed {}: wait until its writer has, or pass --allow-incomplete", named(.hours))]
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

/// Where an input is: all of it, or what one region has of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The input.
    pub input: String,
    /// Its hours.
    pub root: Location,
    /// What the region is called: the `_topic` of its rows is then `REGION/TOPIC`.
    pub region: Option<String>,
}

/// What a run reads at a location, and how far around an hour of output.
pub(crate) struct Reach {
    pub name: String,
    pub before: i64,
    pub after: i64,
}

impl Reach {
    /// Of an input of f, or of what holds its inputs.
    pub(crate) fn of(job: &Job, name: &str) -> Result<Reach> {
        let inputs = job.scan.inputs();
        let (before, after) = if job.merged.is_some() {
            // A row is in the hour of the latest of its events, so the earlier ones are in hours to come.
            let most = inputs.iter().map(|input| input.before.max(input.after)).max().unwrap_or(0);
            (most, most)
        } else {
            let input = inputs.iter().find(|input| input.name == name);
            let input = input.with_context(|| format!("{} has no input {name}", job.command))?;
            (input.before, input.after)
        };
        Ok(Reach { name: name.to_owned(), before, after })
    }
}

/// An input's hours.
pub(crate) struct Listed {
    pub input: Reach,
    pub root: Location,
    pub region: Option<String>,
    pub hours: BTreeMap<Hour, HourFiles>,
    /// The range of the run, where any row of it may change any hour of the output.
    whole: Option<(Hour, Hour)>,
}

/// The hours of an input location that exist; for a range that nobody gave.
///
/// # Errors
/// The location cannot be listed.
pub async fn extent(root: &Location) -> Result<Option<(Hour, Hour)>> {
    let hours = list(root, ..).await?;
    Ok(hours.keys().next().copied().zip(hours.keys().last().map(|last| last.plus(1))))
}

impl Listed {
    pub(crate) async fn new(job: &Job, place: Place, range: Range) -> Result<Listed> {
        let (input, joint) = (Reach::of(job, &place.input)?, job.sampling.is_some());
        let Place { root, region, .. } = place;
        let (from, to) = around(&input, range.from, range.to);
        let hours = list(&root, from..to).await?;
        hours.values().try_for_each(|hour| hour.data(&root).map(|_| ()))?;
        let inside = || Hour::range(range.from..range.to);
        if !range.allow_incomplete {
            let mut missing: Vec<Hour> = inside().filter(|hour| !hours.contains_key(hour)).collect();
            if range.whole {
                // Nobody asked for hours before its first or after its last: but one between them is lost.
                let (first, last) = (hours.keys().next().copied(), hours.keys().last().copied());
                missing.retain(|hour| first < Some(*hour) && Some(*hour) < last);
                missing.truncate(if missing.is_empty() || seals(&root).await? { usize::MAX } else { 0 });
            }
            if !missing.is_empty() {
                return Err(MissingInput::Missing { root: root.to_string(), hours: missing }.into());
            }
            let unsealed: Vec<Hour> =
                inside().filter(|hour| hours.get(hour).is_some_and(|hour| !hour.sealed)).collect();
            if !unsealed.is_empty() && seals(&root).await? {
                return Err(MissingInput::Unsealed { root: root.to_string(), hours: unsealed }.into());
            }
        }
        Ok(Listed { input, root, region, hours, whole: joint.then_some((range.from, range.to)) })
    }

    /// The input hours that make the output of `[from, to)`.
    pub(crate) fn reach(&self, from: Hour, to: Hour) -> (Hour, Hour) {
        self.whole.unwrap_or_else(|| around(&self.input, from, to))
    }

    /// The files that hours of output are made of.
    pub(crate) fn files(&self, from: Hour, to: Hour) -> Vec<DataFile> {
        let (from, to) = self.reach(from, to);
        self.hours.range(from..to).flat_map(|(_, hour)| hour.files.iter().cloned()).collect()
    }
}

/// What places lack of the hours in range that others of their input have, where nobody asked for these hours: regions
/// that are behind.
pub(crate) fn absent(listed: &[Listed], range: Range) -> Vec<String> {
    let lacks = |here: &Listed| {
        let others = |hour: &Hour| {
            listed.iter().any(|there| there.input.name == here.input.name && there.hours.contains_key(hour))
        };
        let absent = |hour: &Hour| !here.hours.contains_key(hour) && others(hour);
        let hours: Vec<Hour> = Hour::range(range.from..range.to).filter(absent).collect();
        (!hours.is_empty()).then(|| {
            let what = "is taken to have no events there: run it again once it has, or say --from and --to";
            format!("{} has no {}, and {what}", here.root, named(&hours))
        })
    };
    let asked = !range.whole || range.allow_incomplete;
    if asked { Vec::new() } else { listed.iter().filter_map(lacks).collect() }
}

/// Whether who writes there seals hours: not every writer of Parquet does.
async fn seals(root: &Location) -> Result<bool> {
    Ok(list(root, ..).await?.values().any(|hour| hour.sealed))
}

/// The hours that the rows which make the output of `[from, to)` are in.
fn around(input: &Reach, from: Hour, to: Hour) -> (Hour, Hour) {
    (
        Hour::of(from.start_us().saturating_sub(input.before)),
        Hour::of(to.start_us().saturating_add(input.after) - 1).plus(1),
    )
}

/// Compares the files of sealed hours with what their `_SUCCESS` says: Parquet itself takes many a flipped bit for data.
pub(crate) async fn verify(listed: &[Listed], first: Hour, last: Hour) -> Result<()> {
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

/// The rows of the hour itself, by input.
pub(crate) async fn read_rows(listed: &[Listed], hour: Hour) -> Result<BTreeMap<String, Ledger>> {
    let mut ledger = BTreeMap::new();
    for Listed { input, root, hours, .. } in listed {
        let files = hours.get(&hour).map(|hour| hour.files.as_slice()).unwrap_or_default();
        let read = connector::count_rows(root, files).await?;
        let here = Ledger { read, accepted: read, ..Ledger::default() };
        ledger.entry(input.name.clone()).or_insert_with(Ledger::default).add(&here);
    }
    Ok(ledger)
}
