//! `rescan aggregate`: how often each group was shown and played in each epoch.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use scan::Literal;

use crate::exit::Usage;
use crate::plan::Plan;
use crate::plan::flags::RunFlags;
use crate::words::{TimeColumn, columns, microseconds};

/// Distinct requests that showed and played each group in each epoch, and their ratio
#[derive(Args, Debug)]
#[command(after_help = "Inputs: impressions, plays; each has request_id, a time and the columns of --by.
Output: the columns of --by; epoch, when it starts; impressions and plays, how many different requests; take_rate, plays by
impressions; with --sets impression_requests and play_requests. Key: the columns of --by, epoch.

Examples:
  rescan aggregate --in impressions=archive/impressions --in plays=archive/plays --out counts
  rescan aggregate --in impressions=raw/impressions.jsonl --in plays=raw/plays.jsonl --by country,device --epoch 1h --out counts
  rescan aggregate --in impressions=archive/impressions --in plays=archive/plays --sets --out requests")]
pub struct Aggregate {
    #[command(flatten)]
    run: RunFlags,
    /// The columns that make a group
    #[arg(long, value_name = "COLUMN,…", default_value = "video_id")]
    by: String,
    /// The width of an epoch, aligned to midnight UTC; it divides a day
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = microseconds)]
    epoch: i64,
    /// Count by sketches: less memory, with an error of 1.6 % in two of three counts
    #[arg(long)]
    approx: bool,
    /// List the request ids too, as impression_requests and play_requests; state and output grow with them
    #[arg(long, conflicts_with = "approx")]
    sets: bool,
    /// The column that says when an event happened, and what numbers in it count: ts:s, ms, us, ns [milliseconds]
    #[arg(long, value_name = "COLUMN[:UNIT]", default_value = "ts")]
    time: TimeColumn,
}

const DAY: i64 = 86_400_000_000;

impl Aggregate {
    pub fn plan(self) -> Result<Plan> {
        if self.epoch <= 0 || DAY % self.epoch != 0 {
            return Err(Usage("--epoch does not divide a day: write 5m, 30m, 1h or 6h".to_owned()).into());
        }
        if self.approx {
            let error = 100.0 * scan::RELATIVE_ERROR;
            eprintln!(
                "rescan: counts are estimates: two of three are within {error:.1} %, 19 of 20 within {:.1} %",
                2.0 * error
            );
        }
        let mut replaced = BTreeMap::from([
            ("video_id".to_owned(), columns(&self.by)?),
            ("ts".to_owned(), vec![self.time.name.clone()]),
        ]);
        if !self.sets {
            replaced.extend(["impression_requests", "play_requests"].map(|column| (column.to_owned(), Vec::new())));
        }
        Ok(Plan {
            columns: replaced,
            params: BTreeMap::from([("epoch".to_owned(), Literal::Interval(self.epoch))]),
            window: Some(self.epoch),
            approximate: self.approx,
            ..Plan::of("aggregate", &["impressions", "plays"], self.time, self.run)?
        })
    }
}
