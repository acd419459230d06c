//! `rescan reconcile`: proves that batch and stream agree, or tells every row on which they do not, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::ops::Bound;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use connector::{Hour, Location};
use runner::{Cause, Difference, ReconcileOptions, Served, Summary, reconcile, serve};

use crate::culprit::{self, Read};
use crate::exit::Usage;
use crate::print::{in_line, plain};
use crate::settings::S3Flags;
use crate::show::table::Table;
use crate::words::{absolute, columns, directory, location, pair};

/// So many differences are shown, and `--all` shows the others.
const SHOWN: u64 = 20;

/// And so many events of each.
const EVENTS: usize = 3;

/// Proves that two outputs agree, or tells every row on which they do not, and why
#[derive(Args, Debug)]
#[command(
    after_help = "A cause is proven by f itself: applied to the batch's input without the rows that the stream did not
take (late, rejected, gap), or with the stream's flags (config) or version of a side input (side-input), it makes the
stream's row. An hour that is still open is pending. What nothing proves is unexplained.

Exit codes: 0 equal, 1 every difference is explained and proven, 3 some are not.

Examples:
  rescan reconcile --batch joined --stream joined-stream
  rescan reconcile --batch joined --stream joined-stream --in plays=moved/plays --all
  rescan reconcile --batch joined --stream joined-stream --merge served
  rescan reconcile --batch a --stream b --key event_id --tolerance score=1e-9 --json"
)]
pub struct Reconcile {
    /// The batch run's output
    #[arg(long, value_name = "URI")]
    batch: String,
    /// The stream run's output
    #[arg(long, value_name = "URI")]
    stream: String,
    /// Where an input of the batch run is now, if it has moved
    #[arg(long = "in", value_name = "NAME=URI", value_parser = pair)]
    inputs: Vec<(String, String)>,
    /// The columns that tell rows apart [default: those that the outputs name]
    #[arg(long, value_name = "COLUMN,…")]
    key: Option<String>,
    /// Numbers of a column this close are explained
    #[arg(long, value_name = "COLUMN=X", value_parser = pair)]
    tolerance: Vec<(String, String)>,
    /// The first hour, UTC
    #[arg(long, value_name = "HOUR")]
    from: Option<Hour>,
    /// The hour after the last
    #[arg(long, value_name = "HOUR")]
    to: Option<Hour>,
    /// Bring a serving view up to date: hours that the batch has sealed, then the stream's
    #[arg(long, value_name = "DIR", value_parser = directory)]
    merge: Option<PathBuf>,
    /// Show all differences, not the first 20
    #[arg(long)]
    all: bool,
    /// Print differences and summary as JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    s3: S3Flags,
}

impl Reconcile {
    pub async fn run(&self) -> Result<ExitCode> {
        let hours =
            (self.from.map_or(Bound::Unbounded, Bound::Included), self.to.map_or(Bound::Unbounded, Bound::Excluded));
        let (uris, s3) = (vec![self.batch.clone(), self.stream.clone()], self.s3.options()?);
        culprit::named(Read { uris, s3, hours }, self.compare()).await
    }

    async fn compare(&self) -> Result<ExitCode> {
        let summary = self.summary().await?;
        verdict(&summary);
        Ok(ExitCode::from(summary.exit_code()))
    }

    /// Prints what differs, and answers how much.
    async fn summary(&self) -> Result<Summary> {
        let (s3, options) = (self.s3.options()?, self.options()?);
        let (batch, stream) = (location(&self.batch, &s3)?, location(&self.stream, &s3)?);
        if self.json {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let tell = |difference| Ok(writeln!(out, "{}", plain(&serde_json::to_string(&difference)?))?);
            let mut summary = reconcile(&batch, &stream, &options, tell).await?;
            summary.merged = self.merged(&batch, &stream, &options).await?;
            writeln!(out, "{}", plain(&serde_json::to_string(&summary)?))?;
            out.flush()?;
            return Ok(summary);
        }
        // The table of all comes before the first of them.
        let what = "a file for the differences";
        let mut lines = BufWriter::new(tempfile::tempfile().context(what)?);
        let mut told = 0;
        let mut summary = reconcile(&batch, &stream, &options, |difference| {
            told += 1;
            if self.all || told <= SHOWN {
                shown(&difference).iter().try_for_each(|line| writeln!(lines, "{}", in_line(line)))?;
            }
            Ok(())
        })
        .await?;
        let lines = lines.into_inner().map_err(std::io::IntoInnerError::into_error).context(what)?;
        self.print(&summary, lines, told)?;
        summary.merged = self.merged(&batch, &stream, &options).await?;
        Ok(summary)
    }

    async fn merged(&self, batch: &Location, stream: &Location, options: &ReconcileOptions) -> Result<Option<Served>> {
        let Some(out) = &self.merge else { return Ok(None) };
        for side in [batch, stream] {
            let local = side.local_path();
            let overlaps = |root: &PathBuf| absolute(out).starts_with(root) || root.starts_with(absolute(out));
            if local.as_ref().is_some_and(overlaps) {
                let what =
                    format!("--merge {} and {side} overlap: give the view a directory of its own", out.display());
                return Err(Usage(what).into());
            }
        }
        serve(batch, stream, out, options).await.map(Some)
    }

    fn options(&self) -> Result<ReconcileOptions> {
        let mut tolerance = BTreeMap::new();
        for (column, value) in &self.tolerance {
            let close = value.parse().ok().filter(|close: &f64| *close >= 0.0);
            let wrong = || Usage(format!("--tolerance {column}={value}: {value} is no number from 0 on"));
            tolerance.insert(column.clone(), close.ok_or_else(wrong)?);
        }
        let key = self.key.as_deref().map(columns).transpose()?;
        let (moved, stores) = (self.inputs.iter().cloned().collect(), self.s3.options()?);
        let (from, to) = (self.from, self.to);
        Ok(ReconcileOptions { key, tolerance, from, to, moved, stores, ..ReconcileOptions::default() })
    }

    fn print(&self, summary: &Summary, mut lines: File, told: u64) -> Result<()> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        if told > 0 {
            writeln!(out, "{}", by_hour(summary))?;
        }
        lines.rewind()?;
        BufReader::new(lines).lines().try_for_each(|line| writeln!(out, "{}", line?))?;
        if !self.all && told > SHOWN {
            writeln!(out, "and {} more: --all shows them", told - SHOWN)?;
        }
        Ok(out.flush()?)
    }
}

/// Hours down, causes across, and the counts.
fn by_hour(summary: &Summary) -> Table {
    let causes: BTreeSet<Cause> = summary.differences.keys().copied().collect();
    let mut rows = vec![std::iter::once("hour".to_owned()).chain(causes.iter().map(Cause::to_string)).collect()];
    let counts = |of: &BTreeMap<Cause, u64>| {
        let count = |cause: &Cause| of.get(cause).map_or_else(|| "-".to_owned(), |count| report::count(*count));
        causes.iter().map(count).collect::<Vec<_>>()
    };
    rows.extend(summary.hours.iter().map(|(hour, of)| [vec![hour.to_string()], counts(of)].concat()));
    rows.push([vec!["all".to_owned()], counts(&summary.differences)].concat());
    Table::of(rows)
}

/// A difference, and the events behind it.
fn shown(difference: &Difference) -> Vec<String> {
    let key: Vec<String> = difference.key.iter().map(|(column, value)| format!("{column}={value}")).collect();
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let (batch, stream) = (value(&difference.batch), value(&difference.stream));
    let cause = match difference.causes.as_slice() {
        [_, _, ..] => difference.causes.iter().map(Cause::to_string).collect::<Vec<_>>().join(" and "),
        _ => difference.cause.to_string(),
    };
    let (hour, key, column) = (difference.hour, key.join(" "), &difference.column);
    let mut lines = vec![format!("{hour}  {key}  {column}  batch {batch}  stream {stream}  {cause}")];
    for event in difference.events.iter().take(EVENTS) {
        let at = event.offset.map(|offset| {
            let (topic, partition) = (event.topic.clone().unwrap_or_default(), event.partition.unwrap_or_default());
            format!(", {topic}-{partition} at {offset}")
        });
        let (id, time) = (value(&event.event_id), value(&event.ts));
        lines.push(format!("    {} {id} of {time}{}", event.input, at.unwrap_or_default()));
    }
    let more = difference.event_count.saturating_sub(EVENTS as u64);
    if more > 0 && !difference.events.is_empty() {
        lines.push(format!("    and {more} more events"));
    }
    lines
}

fn verdict(summary: &Summary) {
    let differences: u64 = summary.differences.values().sum();
    eprintln!(
        "reconcile: {} hours ({} equal by checksum), {} batch rows, {} stream rows, {} equal, {differences} differences",
        summary.partitions,
        summary.partitions_equal_by_checksum,
        summary.rows_batch,
        summary.rows_stream,
        summary.rows_equal
    );
    for (cause, count) in &summary.differences {
        eprintln!("  {cause}: {count}");
    }
    if let Some(Served { batch, stream, up_to_date }) = summary.merged {
        eprintln!("merged: {batch} hours of the batch, {stream} of the stream, {up_to_date} up to date");
    }
    for (why, hours) in &summary.unproven {
        let hours = if *hours == 1 { "1 hour".to_owned() } else { format!("{hours} hours") };
        eprintln!("  not proven in {hours}: {}", in_line(why));
    }
}
