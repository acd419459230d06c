//! `rescan generate`: made-up impressions and plays, with what was injected into them.

pub mod made_up;
pub mod topics;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use connector::{Hour, KafkaSettings, Location};
use generator::{Occupied, Plan, Truth};

use crate::commands::generate::topics::Topics;
use crate::exit::Usage;

/// Makes up impressions and plays, in the order in which they arrive, and tells the truth about them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rescan generate --hours 3 --impressions-per-hour 100000 --to demo/raw
  rescan generate --hours 24 --impressions-per-hour 400000 --format parquet --to demo/parquet
  rescan generate --impressions-per-hour 50000 --to kafka://localhost:9092 --truth demo/truth")]
pub struct Generate {
    /// Where to: a directory, or kafka://host:port for its topics impressions and plays
    #[arg(long, value_name = "URI")]
    to: String,
    /// How rows are written; Kafka takes JSON
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Where the truth goes when rows go to Kafka; in a directory it stands beside them
    #[arg(long, value_name = "DIR")]
    truth: Option<PathBuf>,
    /// The first hour of event time, UTC
    #[arg(long, default_value = "2026-11-20T00", value_name = "HOUR")]
    start: Hour,
    /// Hours of event time
    #[arg(long, default_value_t = 3)]
    hours: u64,
    /// Impressions in each hour
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    impressions_per_hour: u64,
    /// Same seed and flags, same bytes
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Share of events that arrive late
    #[arg(long, default_value_t = 0.02, value_name = "SHARE")]
    late: f64,
    /// Share of events that arrive twice
    #[arg(long, default_value_t = 0.01, value_name = "SHARE")]
    duplicates: f64,
    /// Malformed lines, on top of the good ones and as a share of them; none in Parquet
    #[arg(long, default_value_t = 0.001, value_name = "SHARE")]
    malformed: f64,
    /// Plays, as a share of impressions
    #[arg(long, default_value_t = 0.08, value_name = "SHARE")]
    plays_share: f64,
    /// Share of plays that no impression led to
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    without_impression: f64,
    /// Share of the other plays that happen in another region than their impression
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    other_region: f64,
    /// Profiles that watch [default: 200000, fewer in a small run]
    #[arg(long, value_name = "N")]
    profiles: Option<u32>,
    /// Videos to be seen [default: 2000, fewer in a small run]
    #[arg(long, value_name = "N")]
    videos: Option<u32>,
    /// An event that is older than the newest of its source partition by more than this is late
    #[arg(long, default_value = "30m", value_parser = humantime::parse_duration, value_name = "TIME")]
    watermark_delay: Duration,
    /// Partitions of a Kafka topic that is not there yet
    #[arg(long, default_value_t = 3, value_name = "N")]
    partitions: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Json,
    Parquet,
}

impl Generate {
    /// About how many rows there will be, for a progress bar.
    pub fn rows_expected(&self) -> Result<u64> {
        Ok(self.plan()?.rows_expected())
    }

    /// Makes up the rows; `None` where the same rows are there already. `progress` gets the rows so far.
    pub async fn run(&self, kafka: &KafkaSettings, progress: impl FnMut(u64)) -> Result<Option<Truth>> {
        if let Some(brokers) = self.to.strip_prefix("kafka://") {
            return self.to_kafka(brokers.trim_end_matches('/'), kafka, progress).await.map(Some);
        }
        let to = &self.to;
        ensure!(self.truth.is_none(), Usage(format!("--truth is for Kafka: in {to} it stands beside the rows")));
        let directory = Location::parse(to, &BTreeMap::new())?.local_path();
        let directory = directory.ok_or_else(|| Usage(format!("--to {to} is no local directory, nor Kafka")))?;
        let made = generator::write(&self.plan()?, &directory, progress);
        made.map_err(|error| if error.is::<Occupied>() { Usage(error.to_string()).into() } else { error })
    }

    async fn to_kafka(&self, brokers: &str, settings: &KafkaSettings, progress: impl FnMut(u64)) -> Result<Truth> {
        let is_json = self.format == Format::Json;
        ensure!(is_json, Usage("--format parquet is for directories: Kafka takes JSON".to_owned()));
        let plan = self.plan()?;
        let mut topics = Topics::open(brokers, settings, i32::try_from(self.partitions)?).await?;
        let plan = Plan { partitions: topics.partitions()?, ..plan };
        let truth = generator::generate(&plan, &mut topics, progress)?;
        topics.flush()?;
        self.truth.iter().try_for_each(|directory| generator::write_truth(&truth, directory))?;
        Ok(truth)
    }

    fn plan(&self) -> Result<Plan> {
        let plan = Plan {
            format: match self.format {
                Format::Json => generator::Format::Json,
                Format::Parquet => generator::Format::Parquet,
            },
            start_ms: u64::try_from(self.start.start_us() / 1000)
                .with_context(|| Usage(format!("--start {} is before 1970", self.start)))?,
            hours: self.hours,
            impressions_per_hour: self.impressions_per_hour,
            seed: self.seed,
            late: self.late,
            duplicates: self.duplicates,
            malformed: self.malformed,
            plays_share: self.plays_share,
            without_impression: self.without_impression,
            other_region: self.other_region,
            profiles: self.profiles,
            videos: self.videos,
            watermark_delay_ms: u64::try_from(self.watermark_delay.as_millis())?,
            partitions: 1,
        };
        plan.check().map_err(|error| Usage(error.to_string()))?;
        Ok(plan)
    }
}
