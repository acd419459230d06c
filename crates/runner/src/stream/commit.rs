//! What an epoch decides: the hours it seals, the rows it leaves open, the state after it, and what it accounts for.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::RecordBatch;
use connector::Hour;
use journal::{Epoch, Marker, OpenFile, Publish, Sum, Syncs};
use scan::{Chosen, Output};

use crate::aside;
use crate::guard::foreign::superseded;
use crate::job::Job;
use crate::output::files::{read_arrow, write_arrow, write_aside};
use crate::output::gaps::to_seal;
use crate::output::hours::Hours;
use crate::output::layout::{self, MANIFEST, partition};
use crate::output::pieces::Pieces;
use crate::output::sample::{Ids, Manifest};
use crate::output::seal::{Sealed, Sealing};
use crate::output::sealed_to::SealedTo;
use crate::report::Report;

/// Output rows on their way to disk.
pub(crate) struct Outputs {
    /// Rows since the last commit, by output.
    pub hours: BTreeMap<String, Hours>,
    /// Files of rows that earlier epochs left open, by partition path.
    pub open: BTreeMap<String, Vec<OpenFile>>,
    pub sealed: SealedTo,
}

/// The files of one epoch while it is made.
pub(crate) struct Draft<'a> {
    pub job: &'a Job,
    pub stage: String,
    /// Where its files are handed in.
    pub syncs: Syncs,
    pub name: String,
    pub epoch: Epoch,
    /// The sample, once it is drawn.
    pub chosen: Option<Arc<Chosen>>,
}

impl Outputs {
    pub(crate) fn new(job: &Job, last: Option<&Epoch>) -> Result<Outputs> {
        let hours = job.scan.outputs().iter().map(|output| (output.name.clone(), Hours::default())).collect();
        let open = last.map(|last| last.open.clone()).unwrap_or_default();
        let sealed = last.map(SealedTo::read).transpose()?.unwrap_or_default();
        Ok(Outputs { hours, open, sealed })
    }

    /// Adds the rows of a step.
    pub(crate) fn add(&mut self, output: &str, rows: &RecordBatch) -> Result<()> {
        self.hours.entry(output.to_owned()).or_default().add(rows)
    }

    pub(crate) fn rows(&self) -> usize {
        self.hours.values().map(Hours::len).sum()
    }
}

impl Draft<'_> {
    /// Seals the hours that the watermark has made final, and writes the rows of all others as open files.
    pub(crate) async fn outputs(
        &mut self,
        outputs: &mut Outputs,
        watermark: Option<i64>,
        report: &mut Report,
    ) -> Result<()> {
        let job = self.job;
        let settle = job.settle();
        for output in job.scan.outputs() {
            let place = job.place(output);
            let mut hours = self.present(outputs, output, &place)?;
            let last = hours.last().copied();
            // A sample is drawn at the end; until then every hour may still gain and lose rows.
            let final_to = watermark.filter(|_| job.sampling.is_none() || self.chosen.is_some());
            let bound = final_to.map(|watermark| Hour::of(watermark.saturating_sub(settle)));
            let first = outputs.sealed.sealed_to.get(&output.name).copied().or(hours.first().copied());
            // At the end of all input there is nothing beyond the last hour that has rows, nor beyond what is sealed.
            let end = last.map(|last| last.plus(1)).or(first.filter(|_| watermark == Some(i64::MAX)));
            let bound = bound.map(|bound| end.map_or(bound, |end| bound.min(end)));
            if let (Some(first), Some(bound)) = (first, bound)
                && let Some(early) = hours.first().filter(|hour| **hour < first)
            {
                bail!("{} got rows for {early}, which is sealed (sealed up to {first}, now {bound})", output.name);
            }
            if let (Some(first), Some(bound)) = (first, bound) {
                let sealed = to_seal(first..bound, &hours, outputs.sealed.rows_to.get(&output.name).copied());
                let rows_to = hours.iter().rfind(|hour| **hour < bound).copied();
                outputs.sealed.rows_to.extend(rows_to.map(|hour| (output.name.clone(), hour)));
                hours.retain(|hour| *hour >= bound);
                self.seal(outputs, output, &place, sealed, report).await?;
                if bound > first {
                    outputs.sealed.sealed_to.insert(output.name.clone(), bound);
                }
            }
            for hour in hours {
                self.leave_open(outputs, output, &place, hour)?;
            }
        }
        self.epoch.open = outputs.open.clone();
        self.epoch.notes = serde_json::to_value(&outputs.sealed)?;
        Ok(())
    }

    /// The hours of an output that have rows, in memory or open on disk.
    fn present(&self, outputs: &Outputs, output: &Output, place: &str) -> Result<Vec<Hour>> {
        let mut hours = outputs.hours.get(&output.name).map(Hours::hours).unwrap_or_default();
        for open in outputs.open.keys() {
            let path = open.strip_prefix(place).and_then(Hour::from_path);
            hours.extend(path);
        }
        hours.sort_unstable();
        hours.dedup();
        Ok(hours)
    }

    async fn seal(
        &mut self,
        outputs: &mut Outputs,
        output: &Output,
        place: &str,
        hours: Vec<Hour>,
        report: &mut Report,
    ) -> Result<()> {
        let permits = Arc::new(tokio::sync::Semaphore::new(self.job.limits.threads.max(1)));
        let mut writing = tokio::task::JoinSet::new();
        for hour in hours {
            // Nobody else's file is beside it.
            superseded(self.job, place, hour, None)?;
            let path = partition(place, hour);
            let mut rows = outputs.hours.get_mut(&output.name).map(|hours| hours.take(hour)).unwrap_or_default();
            let open = outputs.open.remove(&path).unwrap_or_default();
            self.epoch.remove.extend(open.iter().map(|file| file.path.clone()));
            let chosen = self.chosen.clone();
            let (root, command, output) = (self.job.out.clone(), self.job.command.clone(), output.clone());
            let spec = self.epoch.job.clone();
            let staged = format!("{}/{}-{}.parquet", self.stage, self.name, path.replace(['/', '='], "-"));
            let ledger = serde_json::to_value(&self.epoch.ledger)?;
            let (made, syncs) = (self.job.made(&output), self.syncs.clone());
            let permit = permits.clone().acquire_owned().await?;
            writing.spawn_blocking(move || -> Result<(Hour, Sealed)> {
                let _permit = permit;
                for file in &open {
                    let sum = Sum { bytes: file.bytes, checksum: file.checksum.clone() };
                    rows.extend(read_arrow(&root.join(&file.path), &sum)?);
                }
                let inputs = serde_json::Value::Null;
                let sealing = Sealing {
                    root: &root,
                    command: &command,
                    spec,
                    output: &output,
                    made,
                    partition: path,
                    staged,
                    chosen: chosen.as_deref(),
                    inputs,
                    ledger,
                    syncs,
                };
                Ok((hour, sealing.write(Pieces::Held(rows))?))
            });
        }
        let mut sealed = Vec::new();
        while let Some(done) = writing.join_next().await {
            sealed.push(done??);
        }
        sealed.sort_by_key(|(hour, _)| *hour);
        let mut ids = Ids::default();
        for (_, sealed) in sealed {
            ids.merge(sealed.ids);
            report.rows += sealed.rows;
            report.sealed.push(sealed.partition);
            self.epoch.publish.extend(sealed.publish);
            self.epoch.markers.push(sealed.marker);
        }
        if let Some(chosen) = &self.chosen {
            let manifest = Manifest::new(&self.job.config, chosen, ids.content());
            self.epoch.markers.push(Marker { path: MANIFEST.to_owned(), content: serde_json::to_value(&manifest)? });
            report.sample = Some(manifest);
        }
        Ok(())
    }

    fn leave_open(&mut self, outputs: &mut Outputs, output: &Output, place: &str, hour: Hour) -> Result<()> {
        let rows = outputs.hours.get_mut(&output.name).map(|hours| hours.take(hour)).unwrap_or_default();
        if rows.is_empty() {
            return Ok(());
        }
        let partition = partition(place, hour);
        let staged = format!("{}/{}-open-{}.arrow", self.stage, self.name, partition.replace(['/', '='], "-"));
        let path = layout::open(&partition, &self.name);
        let sum = write_arrow(&self.job.out.join(&staged), &output.schema, &rows, &self.syncs)?;
        let count = rows.iter().map(|rows| rows.num_rows() as u64).sum();
        let file = OpenFile { path: path.clone(), rows: count, bytes: sum.bytes, checksum: sum.checksum.clone() };
        outputs.open.entry(partition).or_default().push(file);
        self.epoch.publish.push(Publish { staged, path, bytes: sum.bytes, checksum: sum.checksum });
        Ok(())
    }

    /// Writes late and rejected rows.
    pub(crate) fn aside(&mut self, rows: BTreeMap<(&'static str, String), Vec<RecordBatch>>) -> Result<()> {
        for ((kind, input), rows) in rows {
            let schema = rows.first().map_or_else(aside::rejected_schema, RecordBatch::schema);
            let staged = format!("{}/{}-{kind}-{input}.parquet", self.stage, self.name);
            let rows = rows.into_iter().map(Ok);
            let sum = write_aside(&self.job.out.join(&staged), &schema, rows, &self.syncs)?;
            let path = layout::aside(kind, &input, &self.name);
            self.epoch.publish.push(Publish { staged, path, bytes: sum.bytes, checksum: sum.checksum });
        }
        Ok(())
    }
}
