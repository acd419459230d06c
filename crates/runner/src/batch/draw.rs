//! A batch run of a sample: its hours belong together, so one run at a time draws them, and one epoch decides them all.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use connector::{Hour, Location, SUCCESS, list};
use journal::{Epoch, Journal, Marker};
use scan::Chosen;
use serde_json::Value;

use crate::batch::hour::{Attempt, Part};
use crate::batch::wanted::range::Range;
use crate::guard::foreign::superseded;
use crate::guard::owner::Occupied;
use crate::job::Job;
use crate::output::layout::{MANIFEST, SAMPLE_JOURNAL, partition, rejected};
use crate::output::sample::Manifest;
use crate::report::Report;

/// The journal of a sample, and what its epoch takes away.
pub(crate) struct Draw {
    journal: Journal,
    attempt: Attempt,
    former: Epoch,
}

impl Draw {
    /// Holds the output for this run, and finishes what a killed one has decided.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub(crate) fn open(job: &Job) -> Result<Draw> {
        let journal = Journal::open(&job.out, Path::new(SAMPLE_JOURNAL), BTreeMap::new())?;
        Ok(Draw { attempt: Attempt::at(&journal), journal, former: Epoch::default() })
    }

    /// An output holds the hours of one sample: those that a former one has beyond this one's go with `--force`.
    ///
    /// # Errors
    /// [`Occupied::OtherHours`] without.
    pub(crate) async fn replace(&mut self, job: &Job, range: Range) -> Result<()> {
        for (place, hour, sealed) in other_hours(job, range).await? {
            self.take_away(job, &place, hour, sealed)?;
        }
        Ok(())
    }

    fn take_away(&mut self, job: &Job, place: &str, hour: Hour, sealed: bool) -> Result<()> {
        let partition = partition(place, hour);
        self.former.unseal.extend(sealed.then(|| format!("{partition}/{SUCCESS}")));
        self.former.remove.extend(superseded(job, place, hour, None)?);
        for input in job.scan.inputs() {
            let refused = rejected(&input.name);
            self.former.remove.extend(superseded(job, &refused, hour, None)?);
        }
        Ok(())
    }

    /// What each of its hours is made of: all that the sample is drawn over.
    pub(crate) fn made_of(&mut self, inputs: Value) {
        self.attempt.inputs = Some(inputs);
    }

    /// Where its hours are sealed.
    pub(crate) fn attempt(&self) -> Attempt {
        self.attempt.clone()
    }

    /// Decides all hours of the sample at once.
    ///
    /// # Errors
    /// As [`Journal::commit`]; the former sample then stands.
    pub(crate) fn commit(mut self, job: &Job, hours: Part, chosen: &Chosen) -> Result<Report> {
        let Part { mut report, ids, epoch: Epoch { publish, mut remove, markers, ledger, .. } } = hours;
        let manifest = Manifest::new(&job.config, chosen, ids.content());
        remove.extend(self.former.remove);
        let unseal = self.former.unseal;
        let mut epoch = Epoch { publish, remove, markers, unseal, ledger, ..self.attempt.epoch(job)? };
        epoch.markers.push(Marker { path: MANIFEST.to_owned(), content: serde_json::to_value(&manifest)? });
        self.journal.commit(epoch)?;
        self.journal.collect_garbage()?;
        report.epochs = 1;
        report.sample = Some(manifest);
        Ok(report)
    }
}

/// The hours of a former sample beyond a range: which output's, and whether they are sealed.
///
/// # Errors
/// [`Occupied::OtherHours`] where they may not go.
pub(crate) async fn other_hours(job: &Job, range: Range) -> Result<Vec<(String, Hour, bool)>> {
    let mut others = Vec::new();
    for output in job.scan.outputs() {
        let place = job.place(output);
        let root = Location::parse(&job.out.join(&place).to_string_lossy(), &BTreeMap::new())?;
        let there = if job.out.exists() { list(&root, ..).await? } else { BTreeMap::new() };
        for (hour, files) in there.into_iter().filter(|(hour, _)| !(range.from..range.to).contains(hour)) {
            ensure!(range.force, Occupied::OtherHours { out: job.out.clone(), hour });
            others.push((place.clone(), hour, files.sealed));
        }
    }
    Ok(others)
}
