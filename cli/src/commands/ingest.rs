//! `rescan ingest`: raw events to deduplicated, partitioned Parquet.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use scan::Literal;

use crate::plan::Plan;
use crate::plan::flags::RunFlags;
use crate::words::{TimeColumn, microseconds};

/// The defaults of `--id`, `--time` and `--dedup`.
pub const ID: &str = "event_id";
pub const TIME: &str = "ts";
pub const DEDUP: &str = "1h";

/// Every event once, in hourly Parquet partitions
#[derive(Args, Debug)]
#[command(after_help = "Input: events.
Output: its columns, or those of --select, and where each row came from: _topic, _partition, _offset and _arrived_at, when
it arrived. Key: the column of --id, the time.

Examples:
  rescan ingest --in raw/impressions.jsonl --schema impressions --out archive/impressions
  rescan ingest --in kafka://localhost:9092/plays --schema plays --out archive/plays --follow
  rescan ingest --in log.csv --select 'id as event_id, timestamp as ts, item' --where 'item > 0' --out archive/items

Only ingest takes out repeats that have another time than the event they repeat. Other commands that read raw rows take
rows of one id and one time for one event, as after ingest --dedup 0: where senders try again, ingest first.")]
pub struct Ingest {
    #[command(flatten)]
    run: RunFlags,
    /// The column that identifies an event
    #[arg(long, value_name = "COLUMN", default_value = ID)]
    id: String,
    /// The column that says when it happened, and what numbers in it count: ts:s, ms, us, ns [milliseconds]
    #[arg(long, value_name = "COLUMN[:UNIT]", default_value = TIME)]
    time: TimeColumn,
    /// A row repeats an event that is at most this much earlier
    #[arg(long, value_name = "TIME", default_value = DEDUP, value_parser = microseconds)]
    dedup: i64,
    /// Which rows to take, as a SQL condition
    #[arg(long = "where", value_name = "SQL")]
    filter: Option<String>,
    /// Which columns to take, as a SQL select list
    #[arg(long, value_name = "SQL")]
    select: Option<String>,
}

impl Ingest {
    pub fn plan(self) -> Result<Plan> {
        let columns = [("event_id", &self.id), ("ts", &self.time.name)];
        Ok(Plan {
            columns: columns.into_iter().map(|(name, column)| (name.to_owned(), vec![column.clone()])).collect(),
            params: BTreeMap::from([("dedup".to_owned(), Literal::Interval(self.dedup))]),
            filter: self.filter,
            select: self.select,
            ..Plan::of("ingest", &["events"], self.time, self.run)?
        })
    }
}
