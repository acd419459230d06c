//! `rescan attribute`: which impressions each play is credited to.

pub mod explain_play;
pub mod tuples;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use scan::{Literal, Model};

use crate::commands::attribute::explain_play::explain_play;
use crate::commands::attribute::tuples::TupleFlags;
use crate::culprit;
use crate::exit::Usage;
use crate::launch::launch;
use crate::plan::Plan;
use crate::plan::flags::RunFlags;
use crate::scripts::script;
use crate::words::{TimeColumn, columns, microseconds};

/// Plays with the impressions they are credited to
#[derive(Args, Debug)]
#[command(
    after_help = "Inputs: impressions, plays; each has event_id, request_id, video_id, a time and the columns of --by, impressions
have row too.
Output: play_event_id, model, impression_event_id (null where nothing led to the play), credit (the credits of a play and
model sum to 1), play_ts, impression_ts, source_of_play, source_of_discovery. Key: play_event_id, model, impression_event_id.
With --tuples, a row an impression: request_id, impression_event_id, impression_ts, context_X, action, slot, propensity,
action_set, reward. Key: impression_event_id, impression_ts.

Examples:
  rescan attribute --in impressions=archive/impressions --in plays=archive/plays --out attributed --day 2026-11-20
  rescan attribute --in impressions=archive/impressions --in plays=archive/plays --model last,linear --out attributed
  rescan attribute --in impressions=raw/impressions.jsonl --in plays=raw/plays.jsonl --by profile_id --lookback 6h --out attributed
  rescan attribute --in impressions=archive/impressions --in plays=archive/plays --model last,linear --explain-play ID
  rescan attribute --in impressions=archive/impressions --in plays=archive/plays --tuples --context country,device --out tuples
  rescan attribute --in impressions=archive/impressions --in plays=archive/plays --report policies.html \
    --policy 'first=case when slot = 1 then 1 else 0 end' --out tuples"
)]
pub struct Attribute {
    #[command(flatten)]
    run: RunFlags,
    /// The columns that a play and its candidates share
    #[arg(long, value_name = "COLUMN,…", default_value = "profile_id,video_id")]
    by: String,
    /// A candidate comes before its play by at most this
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = microseconds)]
    lookback: i64,
    /// How credit is shared: last, first, linear, position, decay
    #[arg(long, value_name = "MODEL,…", value_delimiter = ',', default_value = "last")]
    model: Vec<Model>,
    /// With decay, an impression this much older than the latest gets half as much
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = microseconds)]
    half_life: i64,
    /// Write nothing: show the impressions around this play, what each model gives them, or why they are no candidates;
    /// rows of raw files count that a stream would call late
    #[arg(long, value_name = "ID", conflicts_with_all = ["tuples", "report", "policy"])]
    explain_play: Option<String>,
    /// The column that says when an event happened, and what numbers in it count: ts:s, ms, us, ns [milliseconds]
    #[arg(long, value_name = "COLUMN[:UNIT]", default_value = "ts")]
    time: TimeColumn,
    #[command(flatten)]
    tuples: TupleFlags,
}

impl Attribute {
    pub async fn run(mut self) -> Result<ExitCode> {
        match self.explain_play.take() {
            Some(play) => {
                let models = self.model.clone();
                let plan = self.plan()?;
                culprit::named(plan.reads()?, explain_play(plan, &models, &play)).await
            }
            None => launch(self.plan()?).await,
        }
    }

    fn plan(self) -> Result<Plan> {
        if self.tuples.wanted() {
            return self.tuples_plan();
        }
        if self.half_life <= 0 {
            return Err(Usage("--half-life is no time: write 1h".to_owned()).into());
        }
        let mut models: Vec<String> = self.model.iter().map(Model::to_string).collect();
        models.sort_unstable();
        models.dedup();
        Ok(Plan {
            columns: BTreeMap::from([
                ("subject".to_owned(), columns(&self.by)?),
                ("ts".to_owned(), vec![self.time.name.clone()]),
            ]),
            params: BTreeMap::from([
                ("lookback".to_owned(), Literal::Interval(self.lookback)),
                ("model".to_owned(), Literal::Text(models.join(","))),
                ("half_life".to_owned(), Literal::Interval(self.half_life)),
            ]),
            ..Plan::of("attribute", &["impressions", "plays"], self.time, self.run)?
        })
    }

    /// One row an impression instead of one a credit.
    fn tuples_plan(self) -> Result<Plan> {
        if self.model != [Model::Last] {
            return Err(Usage("the reward of --tuples is by the model last: leave out --model".to_owned()).into());
        }
        let mut replaced = self.tuples.columns()?;
        replaced.insert("subject".to_owned(), columns(&self.by)?);
        replaced.insert("ts".to_owned(), vec![self.time.name.clone()]);
        Ok(Plan {
            script: script("tuples")?,
            policies: self.tuples.policies()?,
            columns: replaced,
            expressions: self.tuples.expressions(),
            params: BTreeMap::from([("lookback".to_owned(), Literal::Interval(self.lookback))]),
            ..Plan::of("attribute", &["impressions", "plays"], self.time, self.run)?
        })
    }
}
