//! `attribute --report`: what other policies would have earned, from the tuples that are sealed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use connector::{Location, SourceError, list, read, schema_of};
use futures::TryStreamExt;
use report::{Estimator, Logged, PolicyEstimates, policy_page};
use scan::{Door, Passed};
use serde_json::json;

use crate::plan::distribution::Sums;
use crate::plan::report_file::ReportFile;

/// Target policies, and where what is said of them goes.
#[derive(Debug)]
pub struct Policies {
    /// By name: SQL over the columns of the tuples, the probability with which the policy takes the action of a row.
    pub policies: Vec<(String, String)>,
    pub files: Vec<ReportFile>,
}

impl Policies {
    /// That each policy is SQL over the columns of the tuples: before anything is made.
    ///
    /// # Errors
    /// It is not, with the policy's name.
    pub async fn check(&self, tuples: &SchemaRef) -> Result<()> {
        let shown = tuples.fields().iter().filter(|field| !field.name().starts_with('_')).cloned();
        self.doors(&Arc::new(Schema::new(shown.collect::<Vec<_>>()))).await.map(|_| ())
    }

    async fn doors(&self, tuples: &SchemaRef) -> Result<Vec<Door>> {
        let mut doors = Vec::new();
        for (name, sql) in &self.policies {
            let select = format!("cast(({sql}) as double) as probability");
            doors.push(Door::new(tuples, Some(&select), None).await.with_context(|| format!("policy {name}"))?);
        }
        Ok(doors)
    }

    /// Estimates from all sealed hours of an output, and writes the files.
    pub async fn report(&self, out: &Path) -> Result<Vec<PolicyEstimates>> {
        let estimates = self.estimates(out).await?;
        for file in &self.files {
            file.write(
                || policy_page(&format!("Policies over {}", out.display()), &estimates).html(),
                || Ok(format!("{:#}\n", json!({ "policies": estimates }))),
            )?;
        }
        Ok(estimates)
    }

    async fn estimates(&self, out: &Path) -> Result<Vec<PolicyEstimates>> {
        let root = Location::parse(&out.to_string_lossy(), &BTreeMap::new())?;
        let hours = list(&root, ..).await?;
        let sealed = hours.values().filter(|hour| hour.sealed).map(|hour| hour.data(&root));
        let files = sealed.collect::<Result<Vec<_>>>()?.concat();
        let mut estimator = Estimator::new(self.policies.iter().map(|(name, _)| name.clone()));
        if files.is_empty() {
            return Ok(estimator.estimates());
        }
        let schema = schema_of(&root, &files).await?;
        let doors = self.doors(&schema).await?;
        let mut sums = vec![Sums::default(); doors.len()];
        for file in &files {
            let mut pieces = read(&root, file).await?;
            while let Some(rows) = pieces.try_next().await? {
                for (policy, door) in doors.iter().enumerate() {
                    let Passed { rows: probabilities, failed } = door.pass(rows.clone()).await?;
                    if let Some((row, why)) = failed.first() {
                        return Err(self.refused(policy, &rows, *row, why));
                    }
                    self.add(&mut estimator, policy, &rows, &probabilities)?;
                    sums[policy].add(&self.policies[policy].1, door, &rows).await?;
                }
            }
        }
        let mut estimates = estimator.estimates();
        for (of, sums) in estimates.iter_mut().zip(&sums) {
            // What is known of each tuple says more than what is estimated from all.
            if let Some(known) = sums.doubt(&of.policy) {
                of.doubts.retain(|doubt| !doubt.contains("is no distribution"));
                of.doubts.insert(0, known);
            }
        }
        Ok(estimates)
    }

    /// Of a tuple for which a policy gives no probability.
    fn refused(&self, policy: usize, rows: &RecordBatch, row: usize, why: &str) -> anyhow::Error {
        let (name, sql) = &self.policies[policy];
        let id = rows.column_by_name("impression_event_id").and_then(|ids| array_value_to_string(ids, row).ok());
        let of = format!("for the tuple of impression {}", id.unwrap_or_default());
        let what = format!("policy {name}: {sql} {why} {of}, and not a probability in [0, 1]");
        SourceError::BadData(format!("{what}: correct it, or give --policy {name}=SQL")).into()
    }

    fn add(&self, estimator: &mut Estimator, policy: usize, rows: &RecordBatch, of: &RecordBatch) -> Result<()> {
        let column = |name: &str| rows.column_by_name(name).with_context(|| format!("tuples have no column {name}"));
        let slots = cast(column("slot")?, &DataType::Utf8View)?;
        let slots = slots.as_string_view();
        let number = |name: &str| Ok::<_, anyhow::Error>(column(name)?.as_primitive::<Float64Type>().values());
        let (propensities, rewards) = (number("propensity")?, number("reward")?);
        let probabilities = of.column(0).as_primitive::<Float64Type>();
        for row in 0..rows.num_rows() {
            let probability = probabilities.is_valid(row).then(|| probabilities.value(row));
            let Some(probability) = probability.filter(|probability| (0.0..=1.0).contains(probability)) else {
                let is = probability.map_or_else(|| "null".to_owned(), |probability| probability.to_string());
                return Err(self.refused(policy, rows, row, &format!("is {is}")));
            };
            let slot = if slots.is_valid(row) { slots.value(row) } else { "unknown" };
            let (propensity, reward) = (propensities[row], rewards[row]);
            estimator.add(&Logged { policy, slot, propensity, probability, reward })?;
        }
        Ok(())
    }
}
