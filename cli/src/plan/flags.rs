//! Flags that every run of f has.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use connector::{Hour, Misfiled};
use runner::{AsideLimits, Idle, Most, TimePolicy};
use scan::Limits;

use crate::exit::Usage;
use crate::settings::{KafkaFlags, S3Flags};
use crate::words::{Zone, bytes, directory, microseconds, named, pair, positive, zone};

/// The default of `--watermark-delay`, microseconds.
const WATERMARK_DELAY: i64 = 30 * 60 * 1_000_000;

/// Where rows come from and go to, which hours, and how time is told.
#[derive(Args, Debug)]
pub struct RunFlags {
    /// An input, NAME=URI: a directory of hours of Parquet, dt=/hr= (or s3://…); a file, all files below a directory, or
    /// those of a pattern such as 'raw/*.jsonl', in natural order; - for standard input; kafka://host/topic
    #[arg(long = "in", value_name = "NAME=URI")]
    pub inputs: Vec<String>,
    /// Where the output goes: a directory
    #[arg(long, value_name = "DIR", value_parser = directory, default_value = "", hide_default_value = true)]
    pub out: PathBuf,
    /// The first hour, UTC. Where --from or --to is left out, hours wait until every input has them
    #[arg(long, value_name = "HOUR", help_heading = "Range")]
    pub from: Option<Hour>,
    /// The hour after the last
    #[arg(long, value_name = "HOUR", help_heading = "Range")]
    pub to: Option<Hour>,
    /// One hour
    #[arg(long, conflicts_with_all = ["from", "to"], help_heading = "Range")]
    pub hour: Option<Hour>,
    /// One day, 2026-11-20
    #[arg(long, conflicts_with_all = ["from", "to", "hour"], help_heading = "Range")]
    pub day: Option<String>,
    /// Infer the schema from so many rows, spread over all files [default: all rows of 16 MB, and 10000 of more]
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Input")]
    pub infer_rows: Option<usize>,
    /// The zone of times that name none: UTC, Europe/Berlin, +05:30 [default: such rows are rejected]
    #[arg(long, value_parser = zone, help_heading = "Time")]
    pub zone: Option<Zone>,
    /// The watermark trails the newest event time of a source partition by this [default: 30m; of files that are all there
    /// no row is late, unless this or --allowed-lateness is given: then they are a stream in the order of their rows]
    #[arg(long, value_name = "TIME", value_parser = microseconds, help_heading = "Time")]
    pub watermark_delay: Option<i64>,
    /// A window takes rows for this long after the watermark has passed its end [default: 0]
    #[arg(long, value_name = "TIME", value_parser = microseconds, help_heading = "Time")]
    pub allowed_lateness: Option<i64>,
    /// Do not wait for a source partition, or for one of the input NAME, that shows nothing for this long: what it shows
    /// later may be late [default: files and standard input never; a Kafka partition 1m, while others of its topic show rows]
    #[arg(long, value_name = "[NAME=]TIME", value_parser = idle_timeout, help_heading = "Time")]
    pub idle_timeout: Vec<(Option<String>, Duration)>,
    /// Rows further ahead of their arrival are rejected. Of standard input that is when they are read, unless the run is
    /// one over history, where rows that do not say when they arrived are not judged by it
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = microseconds, help_heading = "Time")]
    pub max_future: i64,
    /// A run ends with 65 where more rows of an input are rejected than this, 1% or 100, before it commits them
    /// [default: 1% of at least 1,000 rows, and where all are]
    #[arg(long, value_name = "SHARE|N", help_heading = "Rows")]
    pub max_rejected: Option<Most>,
    /// The same of rows that come late [default: a warning says why they do]
    #[arg(long, value_name = "SHARE|N", help_heading = "Rows")]
    pub max_late: Option<Most>,
    /// Go on with what comes later, for ever: from the start, for a run without it ends and seals every hour
    #[arg(long, help_heading = "Stream")]
    pub follow: bool,
    /// Read an archive that ingest wrote in the order in which its rows arrived
    #[arg(long, conflicts_with = "follow", help_heading = "Stream")]
    pub replay: bool,
    /// Begin with the state that a stream of the same command and params left there, or merge --state made: what is older
    /// than its watermark is late
    #[arg(long, value_name = "DIR", value_parser = directory, help_heading = "Stream")]
    pub init_state: Vec<PathBuf>,
    /// At the end of the input keep the state, for a later run to begin with
    #[arg(long, help_heading = "Stream")]
    pub keep_state: bool,
    /// A micro-batch waits no longer than this
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration, help_heading = "Stream")]
    pub interval: Duration,
    /// Rows of a micro-batch at most
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = positive, help_heading = "Stream")]
    pub max_rows: usize,
    /// What was done is committed this often
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration, help_heading = "Stream")]
    pub commit_interval: Duration,
    /// The columns of an input: impressions, plays, infer, or a file with a line `name type` each
    #[arg(long, value_name = "[NAME=]SCHEMA", help_heading = "Input")]
    pub schema: Vec<String>,
    /// How rows are written [default: by the files' names; Kafka and standard input: json]
    #[arg(long, value_enum, help_heading = "Input")]
    pub format: Option<Format>,
    #[command(flatten)]
    pub kafka: KafkaFlags,
    #[command(flatten)]
    pub s3: S3Flags,
    /// Metadata to join as of each row's time: a file or directory with a column valid_from; adds columns NAME_…
    #[arg(long, value_name = "NAME=URI", value_parser = pair, help_heading = "Side inputs")]
    pub side: Vec<(String, String)>,
    /// The columns it is joined by [default: those that it shares with the inputs]
    #[arg(long, value_name = "NAME=COLUMN,…", value_parser = pair, help_heading = "Side inputs")]
    pub side_key: Vec<(String, String)>,
    /// A stream loads it again once it is this old; while that fails, its rows say NAME_stale
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = microseconds, help_heading = "Side inputs")]
    pub side_ttl: i64,
    /// Take hours that are not there, or not sealed, as they are; an hour that was made of more needs --force too
    #[arg(long, help_heading = "Batch")]
    pub allow_incomplete: bool,
    /// Write hours again that are up to date
    #[arg(long, help_heading = "Batch")]
    pub force: bool,
    /// Rows that are not in the directory of their hour: end the run, or read them with the hour they happened in
    #[arg(long, value_enum, default_value_t, value_name = "WHAT", help_heading = "Batch")]
    pub misfiled: MisfiledRows,
    /// Write on which input hours each hour of output depends, as a file for Make to include
    #[arg(long, value_name = "FILE", help_heading = "Batch")]
    pub make_deps: Option<PathBuf>,
    /// Threads to use [default: all]
    #[arg(long, value_name = "N", value_parser = positive, env = "RESCAN_THREADS", help_heading = "Machine")]
    pub threads: Option<usize>,
    /// Memory before operators spill, as 500M or 2G
    #[arg(long, value_name = "BYTES", value_parser = memory, env = "RESCAN_MEMORY_LIMIT", help_heading = "Machine")]
    pub memory_limit: Option<usize>,
    #[command(flatten)]
    pub show: ShowFlags,
}

/// What a run says of itself.
#[derive(Args, Debug)]
pub struct ShowFlags {
    /// Say what would be done, and write nothing
    #[arg(long, help_heading = "Output")]
    pub dry_run: bool,
    /// Show f, its plan and its sources, and run nothing
    #[arg(long, help_heading = "Output")]
    pub explain: bool,
    /// Print the report as JSON on standard output
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// How progress is shown: bars on a terminal, else lines
    #[arg(long, value_enum, default_value_t, env = "RESCAN_PROGRESS", help_heading = "Output")]
    pub progress: ProgressKind,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Csv,
    Parquet,
}

/// What is done with rows that are not in the directory of their hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MisfiledRows {
    #[default]
    Refuse,
    Read,
}

impl From<MisfiledRows> for Misfiled {
    fn from(rows: MisfiledRows) -> Misfiled {
        match rows {
            MisfiledRows::Refuse => Misfiled::Refuse,
            MisfiledRows::Read => Misfiled::Read,
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    #[default]
    Auto,
    Bar,
    Log,
    Json,
    None,
}

impl RunFlags {
    /// The inputs by name; one URI without a name stands for the one input there is.
    pub fn named(&self, names: &[&str]) -> Result<BTreeMap<String, String>> {
        let mut uris = BTreeMap::new();
        for input in &self.inputs {
            let (name, uri) = match (named(input), names) {
                ((Some(name), uri), _) | ((None, uri), &[name]) => (name, uri),
                _ => {
                    return Err(Usage(format!(
                        "--in {input} has no name: write --in {}=URI",
                        names.join("=URI --in ")
                    ))
                    .into());
                }
            };
            if !names.is_empty() && !names.contains(&name) {
                return Err(Usage(format!("there is no input {name}: {} are", names.join(", "))).into());
            }
            if uris.insert(name.to_owned(), uri.to_owned()).is_some() {
                return Err(Usage(format!("--in {name} is there twice")).into());
            }
        }
        match names.iter().find(|name| !uris.contains_key(**name)) {
            Some(missing) => Err(Usage(format!("input {missing} is missing: write --in {missing}=URI")).into()),
            None => Ok(uris),
        }
    }

    /// The range that was asked for, half open.
    pub fn range(&self) -> Result<(Option<Hour>, Option<Hour>)> {
        if let Some(hour) = self.hour {
            return Ok((Some(hour), Some(hour.plus(1))));
        }
        if let Some(day) = &self.day {
            let first: Hour =
                format!("{day}T00").parse().map_err(|_| Usage(format!("{day} is no day: write 2026-11-20")))?;
            return Ok((Some(first), Some(first.plus(24))));
        }
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => Err(Usage(format!("--from {from} is not before --to {to}")).into()),
            range => Ok(range),
        }
    }

    /// The same, as bounds.
    pub fn bounds(&self) -> Result<(Bound<Hour>, Bound<Hour>)> {
        let (from, to) = self.range()?;
        Ok((from.map_or(Bound::Unbounded, Bound::Included), to.map_or(Bound::Unbounded, Bound::Excluded)))
    }

    pub fn time(&self) -> TimePolicy {
        TimePolicy {
            watermark_delay: self.watermark_delay.unwrap_or(WATERMARK_DELAY),
            allowed_lateness: self.allowed_lateness.unwrap_or(0),
            max_future: self.max_future,
        }
    }

    pub fn aside(&self) -> AsideLimits {
        AsideLimits { rejected: self.max_rejected, late: self.max_late }
    }

    /// When the others do not wait for partitions of an input: as its last `--idle-timeout` says, or else every input's.
    pub fn idle(&self, input: &str, uri: &str) -> Idle {
        let of = |name: Option<&str>| self.idle_timeout.iter().rev().find(|(of, _)| of.as_deref() == name);
        match of(Some(input)).or_else(|| of(None)) {
            Some((_, timeout)) => Idle::After(*timeout),
            None if uri.starts_with("kafka://") => Idle::BesideOthers(Duration::from_secs(60)),
            None => Idle::Never,
        }
    }

    pub fn limits(&self) -> Limits {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        Limits { threads: self.threads.unwrap_or(all), memory: self.memory_limit }
    }

    /// The schema that was given for an input.
    pub fn schema_of(&self, input: &str) -> Option<&str> {
        let for_input = |given: &'_ String| match given.split_once('=') {
            Some((name, _)) => name == input,
            None => true,
        };
        self.schema
            .iter()
            .rev()
            .find(|given| for_input(given))
            .map(|given| given.split_once('=').map_or(given.as_str(), |pair| pair.1))
    }
}

/// `5m`, or `plays=5m`.
fn idle_timeout(text: &str) -> Result<(Option<String>, Duration), String> {
    let (name, time) = named(text);
    let micros = u64::try_from(microseconds(time)?).map_err(|e| e.to_string())?;
    Ok((name.map(str::to_owned), Duration::from_micros(micros)))
}

/// With next to nothing the engine may wait for ever for memory that nobody will give back.
fn memory(text: &str) -> Result<usize, String> {
    let bytes = bytes(text)?;
    if bytes < 1 << 20 { Err("write at least 1M".to_owned()) } else { Ok(bytes) }
}
