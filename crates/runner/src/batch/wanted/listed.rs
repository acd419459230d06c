//! The hours of inputs that a batch run reads: which there are, and what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use connector::{
    DataFile, Hour, HourFiles, Location, Misfiled, SourceError, Success, by_event_time, count_rows, hours_there, list,
    read,
};
use datafusion::catalog::TableProvider;
use futures::TryStreamExt;
use journal::Ledger;
use thiserror::Error;

use crate::batch::wanted::filed::Filed;
use crate::batch::wanted::range::{Asked, Range};
use crate::batch::wanted::spans::Spans;
use crate::input::region::of_region;
use crate::job::Job;
use crate::output::gaps::SILENCE;
use crate::wants::{Wanting, listed};

/// Input that a batch run needs and that is not there (exit 66).
#[derive(Debug, Error)]
pub enum MissingInput {
    /// Hours that do not exist, inside the range or between the first and the last in reach.
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
    /// Hours that were there when output was made of them.
    #[error(
        "{root} no longer has {}, of which the output was made: restore it; or name the hours to write with --from and \
         --to, and pass --allow-incomplete --force to replace what was made of more",
        named(.hours)
    )]
    Gone {
        /// The input's root.
        root: String,
        /// The hours.
        hours: Vec<Hour>,
    },
    /// No hour may be written yet.
    #[error(
        "nothing can be written yet: {}: wait for it, or name hours with --from and --to and pass --allow-incomplete",
        listed(.0)
    )]
    Waits(Vec<Wanting>),
    /// Sealed hours that are damaged, and cannot be made again.
    #[error("the files of sealed hours of the output are not those that _SUCCESS names, and {}: restore one or the other", listed(.0))]
    Damaged(Vec<Wanting>),
}

fn named(hours: &[Hour]) -> String {
    let shown: Vec<String> = hours.iter().take(3).map(|hour| format!("hour {hour}")).collect();
    let more = hours.len().saturating_sub(shown.len());
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
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

/// The hours of one place of an input.
pub(crate) struct Listed {
    pub input: Reach,
    /// What people call it: the input's name where it is in one place, else the place.
    pub label: String,
    pub root: Location,
    pub region: Option<String>,
    /// Those in reach of the run.
    pub hours: BTreeMap<Hour, HourFiles>,
    /// The first hour that is there and the last, in reach or not.
    pub ends: Option<(Hour, Hour)>,
    /// Whether who writes there seals hours: not every writer of Parquet does.
    pub seals: bool,
    /// The hours between them that a stream does not seal, after a month without rows.
    silent: Spans,
    /// The hours that every hour of output is made of, where any row may change any hour.
    pub whole: Option<(Hour, Hour)>,
    /// In which hours the rows of its files happened.
    filed: Filed,
    /// How many names were passed over there, for they are hidden.
    pub skipped: u64,
}

/// What a place holds, before it is known which of its hours are read.
struct Found {
    place: Place,
    /// The hours that are there, each with whether it is sealed.
    there: BTreeMap<Hour, bool>,
    filed: Filed,
    /// All hours, where they are those of the rows and not of the directories.
    hours: Option<BTreeMap<Hour, HourFiles>>,
}

impl Found {
    async fn new(job: &Job, place: Place, misfiled: Misfiled) -> Result<Found> {
        let input = job.scan.inputs().iter().find(|input| input.name == place.input);
        let time = input.filter(|_| job.merged.is_none()).map(|input| input.time.clone());
        let read = time.clone().filter(|_| misfiled == Misfiled::Read);
        let Some(time) = read else {
            let there = hours_there(&place.root).await?;
            return Ok(Found { place, there, filed: Filed::by_directory(time), hours: None });
        };
        let hours = list(&place.root, ..).await?;
        hours.values().try_for_each(|hour| hour.data(&place.root).map(|_| ()))?;
        let refiled = by_event_time(&place.root, hours, &time).await?;
        let (filed, hours) = Filed::by_event_time(time, refiled);
        let there = hours.iter().map(|(hour, files)| (*hour, files.sealed)).collect();
        Ok(Found { place, there, filed, hours: Some(hours) })
    }

    fn ends(&self) -> Option<(Hour, Hour)> {
        self.there.keys().next().copied().zip(self.there.keys().last().copied())
    }
}

/// What a run reads, and the range of its output.
///
/// # Errors
/// A place that cannot be listed; a range in which no place has an hour.
pub(crate) async fn found(job: &Job, places: Vec<Place>, asked: Asked) -> Result<(Vec<Listed>, Range)> {
    let mut found = Vec::new();
    for place in places {
        found.push(Found::new(job, place, asked.misfiled).await?);
    }
    let named: Vec<String> = found.iter().map(|found| found.place.root.to_string()).collect();
    let range = asked.range(found.iter().filter_map(Found::ends), &named.join(", "))?;
    let mut listed = Vec::new();
    for found in found {
        listed.push(Listed::new(job, found, range).await?);
    }
    label(&mut listed);
    Ok((listed, range))
}

impl Listed {
    async fn new(job: &Job, found: Found, range: Range) -> Result<Listed> {
        let ends = found.ends();
        let Found { place: Place { input, root, region }, there, filed, hours } = found;
        let (input, joint) = (Reach::of(job, &input)?, job.sampling.is_some());
        let (from, to) = around(&input, range.begins(), range.to);
        // What another run made says what it holds in its _SUCCESS alone.
        let seals = job.merged.is_some() || there.values().any(|sealed| *sealed);
        let mut skipped = 0;
        let hours = match hours {
            Some(hours) => hours.into_iter().filter(|(hour, _)| (from..to).contains(hour)).collect(),
            None => {
                let listed = connector::listed(&root, from..to).await?;
                let sealed = |hour: &Hour| there.get(hour).is_some_and(|sealed| *sealed);
                listed.refuse_unread(&root, |hour| !range.whole || !seals || sealed(&hour))?;
                skipped = listed.skipped;
                listed.hours
            }
        };
        hours.values().try_for_each(|hour| hour.data(&root).map(|_| ()))?;
        let whole = joint.then(|| {
            let full = there.iter().filter(|(_, sealed)| **sealed || !seals).map(|(hour, _)| hour.plus(1));
            let full = full.max().filter(|_| range.whole && !range.allow_incomplete);
            (range.from, full.unwrap_or(range.to).min(range.to))
        });
        let silent = silent(&root, &there, from..to).await?;
        Ok(Listed { label: input.name.clone(), input, root, region, hours, ends, seals, silent, whole, filed, skipped })
    }

    /// Whether an hour is there in full.
    pub(crate) fn has(&self, hour: Hour) -> bool {
        self.hours.get(&hour).is_some_and(|files| files.sealed || !self.seals)
    }

    /// Whether an hour that is not there is one of a long silence.
    pub(crate) fn is_silent(&self, hour: Hour) -> bool {
        self.silent.contains(hour)
    }

    /// The input hours that make the output of `[from, to)`.
    pub(crate) fn reach(&self, from: Hour, to: Hour) -> (Hour, Hour) {
        self.whole.unwrap_or_else(|| around(&self.input, from, to))
    }

    /// The files that hours of output are made of.
    pub(crate) fn files(&self, from: Hour, to: Hour) -> Vec<DataFile> {
        let (from, to) = self.reach(from, to);
        self.within(from, to)
    }

    /// The files with rows of some input hours.
    fn within(&self, from: Hour, to: Hour) -> Vec<DataFile> {
        let mut once = BTreeSet::new();
        let files = self.hours.range(from..to).flat_map(|(_, hour)| hour.files.iter());
        files.filter(|file| !self.filed.refiled || once.insert(&file.path)).cloned().collect()
    }

    /// The rows of some input hours; none where there is no file.
    ///
    /// # Errors
    /// A file that cannot be read, or is not the one that was sealed; a row that did not happen in its hour.
    pub(crate) async fn table(&self, from: Hour, to: Hour) -> Result<Option<Arc<dyn TableProvider>>> {
        let files = self.within(from, to);
        if files.is_empty() {
            return Ok(None);
        }
        let hours = self.hours.range(from..to).map(|(hour, of)| (*hour, of.files.clone())).collect();
        self.filed.check(&self.root, hours).await?;
        let table = connector::scan(&self.root, &files).await?;
        let table = self.filed.only(table, &files, from.start_us()..to.start_us())?;
        self.region.iter().try_fold(table, |table, region| of_region(table, region)).map(Some)
    }

    /// The facts of a sealed hour.
    pub(crate) fn success(&self, hour: Hour) -> Option<&Success> {
        self.hours.get(&hour)?.success.as_ref()
    }

    /// The first file of an hour that holds other rows of it than its footer and statistics tell: somebody else wrote it
    /// wrong, or it is damaged.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) async fn untrue(&self, time: &str, hour: Hour) -> Result<Option<SourceError>> {
        // Where hours are those of the rows, a file holds rows of others too.
        for file in self.own(hour).iter().filter(|_| !self.filed.refiled) {
            let told = count_rows(&self.root, std::slice::from_ref(file)).await?;
            let (mut rows, mut found) = (read(&self.root, file).await?, 0);
            while let Some(rows) = rows.try_next().await? {
                let times =
                    rows.column_by_name(time).and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
                let of_hour = |time: &Option<i64>| time.is_none_or(|time| Hour::of(time) == hour);
                found += times.map_or(0, |times| times.iter().filter(of_hour).count() as u64);
            }
            if found != told {
                let (path, what) = (self.root.spelled(&file.path), "rows that happened in hour");
                let said = format!("{path} holds {found} {what} {hour}, and tells of {told}: write it anew");
                return Ok(Some(SourceError::BadData(said)));
            }
        }
        Ok(None)
    }

    fn own(&self, hour: Hour) -> &[DataFile] {
        self.hours.get(&hour).map(|hour| hour.files.as_slice()).unwrap_or_default()
    }

    /// How many rows an hour has.
    async fn rows(&self, hour: Hour) -> Result<u64> {
        self.filed.check(&self.root, [(hour, self.own(hour).to_vec())].into()).await?;
        self.filed.rows(&self.root, hour, self.own(hour)).await
    }

    /// Those of an hour that say no time.
    pub(crate) async fn timeless(&self, hour: Hour) -> Result<Vec<RecordBatch>> {
        self.filed.timeless(&self.root, hour, self.own(hour)).await
    }
}

/// Calls the places of an input that is in several by where they are.
fn label(listed: &mut [Listed]) {
    let names: Vec<String> = listed.iter().map(|listed| listed.input.name.clone()).collect();
    let several = |name: &String| names.iter().filter(|other| *other == name).count() > 1;
    for listed in listed.iter_mut().filter(|listed| several(&listed.input.name)) {
        listed.label = listed.root.to_string();
    }
}

/// The hours of a range that a stream left unsealed: those of a gap after a month of sealed hours without rows.
async fn silent(root: &Location, there: &BTreeMap<Hour, bool>, range: std::ops::Range<Hour>) -> Result<Spans> {
    let mut silent = Vec::new();
    for ((last, _), (next, _)) in there.iter().zip(there.iter().skip(1)) {
        let gap = last.plus(1).max(range.start)..(*next).min(range.end);
        let month = last.plus(1 - SILENCE)..last.plus(1);
        if gap.is_empty() || there.range(month.clone()).filter(|(_, sealed)| **sealed).count() as i64 != SILENCE {
            continue;
        }
        let empty = |hour: &HourFiles| hour.success.as_ref().is_some_and(|success| success.rows == 0);
        if list(root, month).await?.values().all(empty) {
            silent.extend(Hour::range(gap));
        }
    }
    Ok(Spans::of(silent))
}

/// The hours that the rows which make the output of `[from, to)` are in.
fn around(input: &Reach, from: Hour, to: Hour) -> (Hour, Hour) {
    (
        Hour::of(from.start_us().saturating_sub(input.before)),
        Hour::of(to.start_us().saturating_add(input.after) - 1).plus(1),
    )
}

/// The rows of the hour itself, by input.
pub(crate) async fn read_rows(listed: &[Listed], hour: Hour) -> Result<BTreeMap<String, Ledger>> {
    let mut ledger = BTreeMap::new();
    for listed in listed {
        let read = listed.rows(hour).await?;
        let here = Ledger { read, ..Ledger::default() };
        ledger.entry(listed.input.name.clone()).or_insert_with(Ledger::default).add(&here);
    }
    Ok(ledger)
}
