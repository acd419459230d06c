//! `rescan reconcile`: proves that batch and stream agree, or tells every row on which they do not.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Bound;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use connector::Hour;
use runner::{ReconcileOptions, Summary, reconcile};

use crate::culprit::{self, Read};
use crate::exit::Usage;
use crate::print::{in_line, plain};
use crate::settings::S3Flags;
use crate::words::{columns, location, pair};

/// Proves that two outputs agree, or tells every row on which they do not
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 equal, 1 every difference is explained, 3 some are not.

Examples:
  rescan reconcile --batch joined --stream joined-stream
  rescan reconcile --batch a --stream b --key event_id --tolerance score=1e-9 --json")]
pub struct Reconcile {
    /// The batch run's output
    #[arg(long, value_name = "URI")]
    batch: String,
    /// The stream run's output
    #[arg(long, value_name = "URI")]
    stream: String,
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
        let s3 = self.s3.options()?;
        let mut tolerance = BTreeMap::new();
        for (column, value) in &self.tolerance {
            let close = value.parse().ok().filter(|close: &f64| *close >= 0.0);
            let wrong = || Usage(format!("--tolerance {column}={value}: {value} is no number from 0 on"));
            tolerance.insert(column.clone(), close.ok_or_else(wrong)?);
        }
        let key = self.key.as_deref().map(columns).transpose()?;
        let options = ReconcileOptions { key, tolerance, from: self.from, to: self.to, ..ReconcileOptions::default() };
        let (batch, stream) = (location(&self.batch, &s3)?, location(&self.stream, &s3)?);
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let json = self.json;
        let summary = reconcile(&batch, &stream, &options, |difference| {
            if json {
                writeln!(out, "{}", plain(&serde_json::to_string(&difference)?))?;
                return Ok(());
            }
            let key: Vec<String> = difference.key.iter().map(|(column, value)| format!("{column}={value}")).collect();
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            let (batch, stream) = (value(&difference.batch), value(&difference.stream));
            let (hour, key, column, cause) = (difference.hour, key.join(" "), &difference.column, difference.cause);
            let line = format!("{hour}  {key}  {column}  batch {batch}  stream {stream}  {cause}");
            writeln!(out, "{}", in_line(&line))?;
            Ok(())
        })
        .await?;
        if json {
            writeln!(out, "{}", plain(&serde_json::to_string(&summary)?))?;
        }
        out.flush()?;
        verdict(&summary);
        Ok(ExitCode::from(summary.exit_code()))
    }
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
}
