//! `rescan join`: plays with the impressions they came from.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::{Args, ValueEnum};
use scan::Literal;

use crate::plan::Plan;
use crate::plan::flags::RunFlags;
use crate::words::{TimeColumn, microseconds, shared};

/// Plays with the impressions they came from
#[derive(Args, Debug)]
#[command(after_help = "Inputs: impressions, plays; each has event_id, a time and the columns of --on.
Output: the columns of --on, then the others as impression_X and play_X: those of impressions alone with --type semi and
anti, null where a partner is missing. Key: play_event_id, impression_event_id.

Examples:
  rescan join --in impressions=archive/impressions --in plays=archive/plays --out joined --day 2026-11-20
  rescan join --in impressions=raw/impressions.jsonl --in plays=raw/plays.jsonl --out joined --type left
  rescan join --in impressions=kafka://localhost:9092/impressions --in plays=kafka://localhost:9092/plays --out joined --follow")]
pub struct Join {
    #[command(flatten)]
    run: RunFlags,
    /// The columns that a play and its impression share
    #[arg(long, value_name = "COLUMN,…", default_value = "request_id")]
    on: String,
    /// A play comes after its impression by at most this
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = microseconds)]
    within: i64,
    /// Which rows stand without a partner
    #[arg(long = "type", value_enum, default_value_t, value_name = "TYPE")]
    kind: Kind,
    /// The column that says when an event happened, and what numbers in it count: ts:s, ms, us, ns [milliseconds]
    #[arg(long, value_name = "COLUMN[:UNIT]", default_value = "ts")]
    time: TimeColumn,
}

/// Which rows stand without a partner.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Kind {
    /// Pairs
    #[default]
    Inner,
    /// Pairs, and impressions without a play
    Left,
    /// Pairs, and plays without an impression
    Right,
    /// Pairs, and all rows without a partner
    Full,
    /// Impressions with a play
    Semi,
    /// Impressions without a play
    Anti,
}

impl Join {
    pub fn plan(self) -> Result<Plan> {
        Ok(Plan {
            columns: BTreeMap::from([
                ("request_id".to_owned(), shared(&self.on, &self.time.name)?),
                ("ts".to_owned(), vec![self.time.name.clone()]),
            ]),
            params: BTreeMap::from([
                ("within".to_owned(), Literal::Interval(self.within)),
                ("type".to_owned(), Literal::Text(self.kind.to_string())),
            ]),
            ..Plan::of("join", &["impressions", "plays"], self.time, self.run)?
        })
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}
