//! Why do the sides differ in an hour? A cause is proven by f itself: applied to the batch's input without the rows that
//! the stream did not take, or with what else the stream had, it makes the stream's rows.
//!
//! Causes are tried alone first, then together. What would change a key on which the sides agree is no cause: the stream
//! cannot have read such input. Where f does not make the batch's rows of the batch's input, nothing is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use connector::{Hour, Location, Success};
use datafusion::catalog::TableProvider;
use scan::Limits;
use tempfile::TempDir;

use crate::batch::evaluate::Inputs;
use crate::output::layout::OWN;
use crate::reconcile::again::{Again, Hourly, Where};
use crate::reconcile::events::Events;
use crate::reconcile::evidence::{Evidence, Record};
use crate::reconcile::matching::without;
use crate::reconcile::report::Cause;
use crate::spec::JobSpec;

/// f over other input than the batch's: what it makes of an hour.
pub(crate) struct WhatIf {
    /// What the input was changed by; none: it is the batch's own.
    pub causes: Vec<Cause>,
    pub table: Option<Arc<dyn TableProvider>>,
}

/// Explains the hours of a batch's output against a stream's.
pub(crate) struct Explainer<'a> {
    place: Where<'a>,
    batch: PathBuf,
    other: Option<PathBuf>,
    /// The same, where a stream wrote it.
    stream: Option<Record>,
    limits: Limits,
    /// The runs that were planned, by spec and by the versions of side inputs.
    planned: BTreeMap<(String, BTreeMap<String, String>), Arc<Again>>,
}

/// An hour that is explained: what f makes of it, the more causes the later.
pub(crate) struct Explained<'e, 'a> {
    explainer: &'e mut Explainer<'a>,
    hour: Hour,
    of: Recorded,
    /// The same of the other side, where that says it.
    theirs: Option<Recorded>,
    /// Whether the batch's input is not what it was.
    pub changed: bool,
    inputs: Inputs,
    evidence: Vec<Evidence>,
    /// The event time columns of the inputs.
    times: BTreeMap<String, String>,
    /// What may explain it, in the order in which it is tried.
    pub causes: Vec<Cause>,
    pub events: Events,
    pub scratch: TempDir,
}

/// What the `_SUCCESS` of an hour says of the run that made it.
struct Recorded {
    spec: JobSpec,
    output: String,
    sides: BTreeMap<String, String>,
}

/// The versions of side inputs that an hour of a batch was made with.
fn sides(success: &Success) -> BTreeMap<String, String> {
    serde_json::from_value(success.inputs["sides"].clone()).unwrap_or_default()
}

/// The root of the output that has what rescan alone reads: that of the hours, or the one above it where f has several
/// outputs.
pub(crate) fn own_root(root: &Location) -> Option<PathBuf> {
    let root = root.local_path()?;
    let above = root.parent().filter(|above| !root.join(OWN).exists() && above.join(OWN).exists());
    Some(above.map_or_else(|| root.clone(), PathBuf::from))
}

impl<'a> Explainer<'a> {
    /// Of two outputs on this disk.
    ///
    /// # Errors
    /// A record that is damaged.
    pub(crate) fn new(place: Where<'a>, batch: PathBuf, stream: Option<PathBuf>, limits: Limits) -> Result<Self> {
        let (other, stream) = (stream.clone(), stream.map(|root| Record::of(&root)).transpose()?.flatten());
        Ok(Explainer { place, batch, other, stream, limits, planned: BTreeMap::new() })
    }

    /// What may explain an hour.
    ///
    /// # Errors
    /// What keeps f from being applied again: an earlier version's output, which has no spec; inputs that are gone.
    pub(crate) async fn hour(
        &mut self,
        hour: Hour,
        success: Option<&Success>,
        other: Option<&Success>,
    ) -> Result<Explained<'_, 'a>> {
        let success = success.context("no _SUCCESS says which run made it")?;
        let spec = JobSpec::read(&self.batch, &success.job)?.context("an earlier version made it, and kept no spec")?;
        ensure!(spec.time.is_none(), "a stream made the batch side, and what it read is not read again");
        let (sides, theirs) = (sides(success), self.theirs(other)?);
        let of = Recorded { spec, output: success.output.clone(), sides };
        let again = self.planned(&of.spec, &of).await?;
        let hourly = again.hourly(hour).await?;
        let changed = hourly.identity["identity"] != success.inputs["identity"];
        let inputs = again.inputs(&hourly, hour).await?;
        let id = of.spec.id();
        let reach = |input: &str| again.reach(&hourly, hour, input);
        let evidence = match &self.stream {
            Some(stream) => stream.evidence(&inputs, reach, &id).await?,
            None => Vec::new(),
        };
        let mut causes: Vec<Cause> = evidence.iter().map(|evidence| evidence.cause).collect();
        if let Some(theirs) = &theirs {
            let versions = !of.sides.is_empty() && !theirs.sides.is_empty() && theirs.sides != of.sides;
            causes.extend(versions.then_some(Cause::SideInput));
            causes.extend((!theirs.spec.is_same_f(&of.spec)).then_some(Cause::Config));
        }
        let times = inputs.keys().filter_map(|input| Some((input.clone(), reach(input)?.0))).collect();
        let events = Events::of(&evidence, &id, |input| reach(input).map(|(time, ..)| time));
        let scratch = TempDir::new().context("a directory for what is compared")?;
        Ok(Explained { explainer: self, hour, of, theirs, changed, inputs, evidence, times, causes, events, scratch })
    }

    /// The run that made the other side: a stream's last, or a batch's of the hour.
    fn theirs(&self, success: Option<&Success>) -> Result<Option<Recorded>> {
        let output = success.map(|success| success.output.clone()).unwrap_or_default();
        if let Some(stream) = &self.stream {
            let recorded = |spec: &JobSpec| Recorded { spec: spec.clone(), output, sides: stream.sides() };
            return Ok(stream.spec.as_ref().map(recorded));
        }
        let Some((root, success)) = self.other.as_ref().zip(success) else { return Ok(None) };
        let spec = JobSpec::read(root, &success.job)?;
        Ok(spec.map(|spec| Recorded { spec, output, sides: sides(success) }))
    }

    /// A run of the batch's places.
    async fn planned(&mut self, spec: &JobSpec, of: &Recorded) -> Result<Arc<Again>> {
        self.with(spec, &of.output, &of.sides).await
    }

    async fn with(&mut self, spec: &JobSpec, output: &str, sides: &BTreeMap<String, String>) -> Result<Arc<Again>> {
        let key = (spec.checksum()?, sides.clone());
        if let Some(again) = self.planned.get(&key) {
            return Ok(again.clone());
        }
        let again = Arc::new(Again::plan(spec, output, sides, &self.place).await?);
        self.planned.insert(key, again.clone());
        Ok(again)
    }
}

impl Explained<'_, '_> {
    /// The causes that are rows of inputs.
    pub(crate) fn row_causes(&self) -> Vec<Cause> {
        self.evidence.iter().map(|evidence| evidence.cause).collect()
    }

    /// Tells the rows of a cause in the other way, where there is one; twice is as before.
    pub(crate) fn turn(&mut self, cause: Cause) -> bool {
        let of = self.evidence.iter_mut().find(|evidence| evidence.cause == cause);
        let Some((inputs, otherwise)) = of.and_then(|of| Some((&mut of.inputs, of.otherwise.as_mut()?))) else {
            return false;
        };
        std::mem::swap(inputs, otherwise);
        self.index();
        true
    }

    /// Leaves out of a cause the rows behind keys on which the sides agree: the stream has taken another copy of them.
    ///
    /// # Errors
    /// Values that cannot be shown.
    pub(crate) fn narrow(&mut self, cause: Cause, keys: &[Vec<(String, String)>]) -> Result<()> {
        let mut taken = BTreeSet::new();
        for key in keys {
            taken.extend(self.events.rows_of(cause, key)?);
        }
        let mut at = 0;
        for rows in self.evidence.iter_mut().flat_map(|evidence| evidence.inputs.values_mut()) {
            for rows in &mut rows.rows {
                let kept: BooleanArray = (0..rows.num_rows()).map(|row| Some(!taken.contains(&(at, row)))).collect();
                *rows = filter_record_batch(rows, &kept)?;
                at += 1;
            }
        }
        self.index();
        Ok(())
    }

    fn index(&mut self) {
        self.events = Events::of(&self.evidence, &self.of.spec.id(), |input| self.times.get(input).cloned());
    }

    /// What f makes of it with these causes; with none what it makes of the batch's own input, which is the batch's rows.
    ///
    /// # Errors
    /// As of [`Again::apply`].
    pub(crate) async fn with(&mut self, causes: &[Cause]) -> Result<WhatIf> {
        self.what_if(causes.to_vec()).await
    }

    /// What f makes of it with each set of so many causes.
    ///
    /// # Errors
    /// As of [`Again::apply`].
    pub(crate) async fn what_ifs(&mut self, count: usize) -> Result<Vec<WhatIf>> {
        let mut all = Vec::new();
        for causes in sets(&self.causes, count) {
            all.push(self.what_if(causes).await?);
        }
        Ok(all)
    }

    async fn what_if(&mut self, causes: Vec<Cause>) -> Result<WhatIf> {
        let (of, theirs) = (&self.of, &self.theirs);
        let has = |cause: Cause| causes.contains(&cause);
        let spec = match theirs.as_ref().filter(|_| has(Cause::Config)) {
            Some(theirs) => of.spec.with_f_of(&theirs.spec),
            None => of.spec.clone(),
        };
        let sides = match theirs.as_ref().filter(|_| has(Cause::SideInput)) {
            Some(theirs) => theirs.sides.clone(),
            None => of.sides.clone(),
        };
        let again = self.explainer.with(&spec, &self.of.output, &sides).await?;
        let of_batch = spec == self.of.spec && sides == self.of.sides;
        let mut inputs = match of_batch {
            true => self.inputs.clone(),
            // What they reach to may be more.
            false => {
                let hourly: Hourly = again.hourly(self.hour).await?;
                again.inputs(&hourly, self.hour).await?
            }
        };
        for evidence in self.evidence.iter().filter(|evidence| has(evidence.cause)) {
            for (input, rows) in &evidence.inputs {
                for table in inputs.get_mut(input).into_iter().flatten() {
                    *table = without(table, rows)?;
                }
            }
        }
        let names: Vec<String> = causes.iter().map(Cause::to_string).collect();
        let name = format!("without-{}.parquet", names.join("-"));
        let table = again.apply(inputs, self.hour, self.explainer.limits, (self.scratch.path(), &name)).await?;
        Ok(WhatIf { causes, table })
    }
}

/// The sets of so many causes, in order.
fn sets(causes: &[Cause], count: usize) -> Vec<Vec<Cause>> {
    let Some(fewer) = count.checked_sub(1) else { return vec![Vec::new()] };
    let with = |(at, first): (usize, &Cause)| {
        let rest = sets(&causes[at + 1..], fewer);
        rest.into_iter().map(|rest| [vec![*first], rest].concat()).collect::<Vec<_>>()
    };
    causes.iter().enumerate().flat_map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_tried_alone_first_and_in_order() {
        let causes = [Cause::Late, Cause::Gap, Cause::Config];
        assert_eq!(sets(&causes, 1), [[Cause::Late], [Cause::Gap], [Cause::Config]].map(Vec::from));
        let pairs = [[Cause::Late, Cause::Gap], [Cause::Late, Cause::Config], [Cause::Gap, Cause::Config]];
        assert_eq!(sets(&causes, 2), pairs.map(Vec::from));
        assert_eq!(sets(&causes, 3), [causes.to_vec()]);
        assert_eq!(sets(&causes, 4), Vec::<Vec<Cause>>::new());
        assert_eq!(sets(&causes, 0), [Vec::new()]);
    }
}
