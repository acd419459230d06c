//! `rescan merge`: the archives of several regions as one.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use scan::Literal;

use crate::exit::Usage;
use crate::flags::RunFlags;
use crate::launch::Plan;
use crate::words::microseconds;

/// The archives of several regions as one: every event once, whichever of them have it
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rescan merge us/impressions eu/impressions asia/impressions --out impressions
  rescan merge us/plays eu/plays --out plays --day 2026-11-20

What comes of events in different regions, a play here and its impression there, is then joined, counted or attributed
over the merged archives. Merging in any order, any grouping, or again, gives the same rows.")]
pub struct Merge {
    /// Archives that ingest wrote, dt=/hr= directories or s3://…
    #[arg(required = true, num_args = 2.., value_name = "URI")]
    archives: Vec<String>,
    #[command(flatten)]
    run: RunFlags,
    /// An event that comes again within this, in event time, is a repeat
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = microseconds)]
    dedup: i64,
    /// The column that tells one event from another
    #[arg(long, value_name = "COLUMN", default_value = "event_id")]
    id: String,
    /// The column that says when an event happened
    #[arg(long, value_name = "COLUMN", default_value = "ts")]
    time: String,
}

impl Merge {
    pub fn plan(mut self) -> Result<Plan> {
        if !self.run.inputs.is_empty() || self.run.follow || self.run.replay {
            return Err(
                Usage("merge takes archives as they are: leave out --in, --follow and --replay".to_owned()).into()
            );
        }
        let rest = self.archives.split_off(1);
        self.run.inputs = self.archives;
        Ok(Plan {
            command: "merge".to_owned(),
            regions: rest.into_iter().map(|uri| ("events".to_owned(), uri)).collect(),
            columns: BTreeMap::from([
                ("event_id".to_owned(), vec![self.id]),
                ("ts".to_owned(), vec![self.time.clone()]),
            ]),
            params: BTreeMap::from([("dedup".to_owned(), Literal::Interval(self.dedup))]),
            // The union of regions is what one region would have read: f is that of ingest.
            ..Plan::of("ingest", &["events"], self.time, self.run)?
        })
    }
}
