//! `rescan facts`: labels with the facts as they stood.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use scan::Literal;

use crate::exit::Usage;
use crate::plan::flags::RunFlags;
use crate::plan::{Plan, Prefix};
use crate::words::{TimeColumn, microseconds, shared};

/// Labels with the facts as they stood: what was known of each label's subject when it came
#[derive(Args, Debug)]
#[command(after_help = "Inputs: labels, facts; each has event_id, a time and the columns of --on.
Output: each label once, with its own columns, and as fact_X those of the greatest fact at its time or before it: the
latest, and of facts at one time the one with the greater event_id. Key: event_id, ts.

A label without a fact stays, with nulls; so does one without a key, which meets no fact. No fact is newer than its label;
one that arrives late replaces the answer of the labels that it comes before.

Examples:
  rescan facts --in labels=archive/labels --in facts=archive/features --on profile_id --out training
  rescan facts --in labels=raw/labels.jsonl --in facts=raw/features.jsonl --on profile_id --within 7d --strict --out training
  rescan facts --in labels=archive/labels --in facts=archive/features --on profile_id --by-request request_id --out training")]
pub struct Facts {
    #[command(flatten)]
    run: RunFlags,
    /// The columns that a label and its facts share
    #[arg(long, value_name = "COLUMN,…")]
    on: String,
    /// A fact is older than its label by at most this
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = microseconds)]
    within: i64,
    /// A fact comes before its label, and not at its time
    #[arg(long)]
    strict: bool,
    /// A fact that agrees with its label in this column too goes before all others; the column fact_by says which was used:
    /// request, latest or null
    #[arg(long, value_name = "COLUMN")]
    by_request: Option<String>,
    /// The column that says when an event happened, and what numbers in it count: ts:s, ms, us, ns [milliseconds]
    #[arg(long, value_name = "COLUMN[:UNIT]", default_value = "ts")]
    time: TimeColumn,
}

impl Facts {
    pub fn plan(self) -> Result<Plan> {
        if self.strict && self.within == 0 {
            return Err(Usage("--strict leaves no fact --within 0: write --within 30d".to_owned()).into());
        }
        let on = shared(&self.on, &self.time.name)?;
        let mut replaced =
            BTreeMap::from([("subject".to_owned(), on.clone()), ("ts".to_owned(), vec![self.time.name.clone()])]);
        match &self.by_request {
            Some(request) => replaced.insert("request".to_owned(), vec![request.clone()]),
            None => {
                replaced.insert("request".to_owned(), on);
                replaced.insert("fact_by".to_owned(), Vec::new())
            }
        };
        let by = self.by_request.is_some().then(|| "by".to_owned());
        Ok(Plan {
            columns: replaced,
            prefix: Some(Prefix { prefix: "fact_", of: "facts", beside: "labels", more: by }),
            params: BTreeMap::from([
                ("within".to_owned(), Literal::Interval(self.within)),
                // Event time is in microseconds.
                ("apart".to_owned(), Literal::Interval(i64::from(self.strict))),
                ("by_request".to_owned(), Literal::Bool(self.by_request.is_some())),
            ]),
            ..Plan::of("facts", &["labels", "facts"], self.time, self.run)?
        })
    }
}
