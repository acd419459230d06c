//! What `attribute --tuples` says of the columns that training reads.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;

use crate::exit::Usage;
use crate::plan::policies::Policies;
use crate::plan::report_file::ReportFile;
use crate::words::{columns, pair};

/// Rows to train on.
#[derive(Args, Debug)]
pub struct TupleFlags {
    /// One row an impression instead: context, action, propensity, action set and reward, once its lookback has passed
    #[arg(long, help_heading = "Tuples")]
    tuples: bool,
    /// What was known when the action was chosen; put out as context_COLUMN
    #[arg(long, value_name = "COLUMN,…", help_heading = "Tuples")]
    context: Option<String>,
    /// What was chosen: a column or SQL over the impressions
    #[arg(long, value_name = "SQL", default_value = "video_id", help_heading = "Tuples")]
    action: String,
    /// Where it was shown
    #[arg(long, value_name = "SQL", default_value = "rank", help_heading = "Tuples")]
    slot: String,
    /// With what probability it was chosen; impressions for which that is not in (0, 1] are rejected
    #[arg(long, value_name = "SQL", default_value = "propensity", help_heading = "Tuples")]
    propensity: String,
    /// What could have been chosen: a list, or a text parted by |, commas or blanks; where the action is not among it,
    /// the impression is rejected [default: unknown]
    #[arg(long, value_name = "SQL", help_heading = "Tuples")]
    action_set: Option<String>,
    /// Estimate what other policies would have earned, from all tuples in --out; may be given twice
    #[arg(long, value_name = "FILE.html|FILE.json", help_heading = "Tuples")]
    report: Vec<ReportFile>,
    /// Another policy: SQL over the tuples, the probability with which it takes the action of each
    /// [default: logged=propensity, and with --action-set uniform=1.0/cardinality(action_set)]
    #[arg(long, value_name = "NAME=SQL", value_parser = pair, help_heading = "Tuples")]
    policy: Vec<(String, String)>,
}

impl TupleFlags {
    /// Whether tuples are asked for.
    pub fn wanted(&self) -> bool {
        self.tuples || self.reports()
    }

    fn reports(&self) -> bool {
        !self.report.is_empty() || !self.policy.is_empty()
    }

    /// The policies to report on: those that are known, then those that the command line gives; an error for one that it
    /// gives twice.
    pub fn policies(&self) -> Result<Option<Policies>> {
        let of = |name: &str, sql: &str| (name.to_owned(), sql.to_owned());
        let mut policies = vec![of("logged", "propensity")];
        policies.extend(self.action_set.as_ref().map(|_| of("uniform", "1.0 / cardinality(action_set)")));
        for (at, (name, sql)) in self.policy.iter().enumerate() {
            if self.policy[..at].iter().any(|(other, _)| other == name) {
                return Err(Usage(format!("--policy {name} is there twice")).into());
            }
            match policies.iter_mut().find(|(known, _)| known == name) {
                Some(known) => known.1.clone_from(sql),
                None => policies.push(of(name, sql)),
            }
        }
        Ok(self.reports().then(|| Policies { policies, files: self.report.clone() }))
    }

    /// The columns of the script that flags replace; an error for context that tuples cannot hold.
    pub fn columns(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut context: Vec<String> = Vec::new();
        for column in self.context.as_deref().map(columns).transpose()?.into_iter().flatten() {
            if column.starts_with('_') {
                let what = "columns that begin with _ say where a row came from, and are no context: leave it out";
                return Err(Usage(format!("--context {column}: {what}")).into());
            }
            if !context.contains(&column) {
                context.push(column);
            }
        }
        Ok(BTreeMap::from([("context".to_owned(), context)]))
    }

    /// The expressions for which names of the script stand.
    pub fn expressions(&self) -> BTreeMap<String, Vec<String>> {
        let set = self.action_set.as_deref().unwrap_or("cast(null as text)");
        let of =
            [("action", &*self.action), ("slot", &*self.slot), ("propensity", &*self.propensity), ("action_set", set)];
        of.into_iter().map(|(name, sql)| (name.to_owned(), vec![sql.to_owned()])).collect()
    }
}
