//! `rescan inspect`: what an output holds, and how far its run has come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use connector::{Hour, HourFiles, Location, SourceError, list};
use journal::Epoch;
use report::count;
use runner::{Intact, Manifest, OWN, content, damage};
use serde_json::{Value, json};

use crate::plan::last_epoch::last_epoch;
use crate::show::sample_report;
use crate::show::table::{Table, ledger};
use crate::show::time;
use crate::words::location;

/// What an output holds: partitions, ledger, watermark, state, late and rejected rows
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rescan inspect joined
  rescan inspect joined --json
  rescan inspect joined --verify

Files of sealed hours that were deleted, cut or edited are named, exit code 65: by their size and times, with --verify by
their bytes. So are sealed hours that are gone, except those before all others: old hours may be deleted.")]
pub struct Inspect {
    /// The output
    out: String,
    /// Read every file of the sealed hours, and compare its checksum
    #[arg(long)]
    verify: bool,
    /// Print JSON on standard output
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub async fn run(&self) -> Result<ExitCode> {
        let location = location(&self.out, &BTreeMap::new())?;
        let hours = list(&location, ..).await?;
        let epoch = last_epoch(Path::new(&self.out))?;
        let damaged = self.damaged(&location, &hours).await?;
        let sample = Manifest::of(&PathBuf::from(&self.out))?;
        if let Some(sample) = sample.as_ref().filter(|_| damaged.is_empty()) {
            verify(sample, &location, &hours).await?;
        }
        let partitions: Vec<(Hour, bool, Option<u64>, u64)> = hours
            .iter()
            .map(|(hour, files)| {
                let bytes = files.files.iter().map(|file| file.bytes).sum();
                (*hour, files.sealed, files.success.as_ref().map(|success| success.rows), bytes)
            })
            .collect();
        if partitions.is_empty() && epoch.is_none() {
            return Err(SourceError::Missing(format!("{} holds no output of rescan", self.out)).into());
        }
        if self.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&as_json(&partitions, epoch.as_ref(), sample.as_ref(), &damaged))?
            );
        } else {
            print(&partitions, epoch.as_ref());
            if let Some(sample) = sample.as_ref().filter(|_| damaged.is_empty()) {
                println!("\nsample verified: {} rows, ids {}", count(sample.content.rows), sample.content.ids);
                print!("{}", sample_report::lines(sample));
            }
        }
        match damage(&damaged) {
            Some(what) => Err(SourceError::BadData(what).into()),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    /// What is not as it was sealed.
    async fn damaged(&self, root: &Location, hours: &BTreeMap<Hour, HourFiles>) -> Result<Vec<String>> {
        let found = self.look(root, hours).await?;
        // Beside a run that makes an hour again, a look may find half of the change.
        if found.is_empty() { Ok(found) } else { self.look(root, &list(root, ..).await?).await }
    }

    async fn look(&self, root: &Location, hours: &BTreeMap<Hour, HourFiles>) -> Result<Vec<String>> {
        let local = root.local_path();
        let owned = local.as_ref().is_some_and(|local| local.join(OWN).is_dir());
        let mut intact = local.as_deref().map(|local| Intact::of(local, self.verify));
        let mut damaged = Vec::new();
        for (hour, files) in hours {
            let ours = files.success.is_some() || files.damaged.is_some() || owned && files.sealed;
            let found = intact.as_mut().filter(|_| ours).map(|intact| intact.damage(&hour.path())).transpose()?;
            if let Some(what) = found.flatten() {
                damaged.push(format!("{what}: restore it, or make its hour again"));
            } else if let Err(other) = self.compared(root, files, local.is_some()).await {
                match other.downcast_ref() {
                    Some(SourceError::BadData(what)) => damaged.push(what.clone()),
                    _ => return Err(other),
                }
            }
        }
        let gone = intact.as_mut().map(Intact::gone).transpose()?.unwrap_or_default();
        damaged.extend(gone.into_iter().map(|(_, what)| format!("{what}: restore it, or make its hour again")));
        Ok(damaged)
    }

    /// That an hour has the files that it was sealed with, and in a bucket that they are those.
    async fn compared(&self, root: &Location, files: &HourFiles, local: bool) -> Result<()> {
        let files = files.data(root)?;
        let cut = files.iter().find(|file| file.sum.as_ref().is_some_and(|sum| sum.bytes != file.bytes));
        match cut {
            _ if local => Ok(()),
            Some(file) => connector::verify(root, std::slice::from_ref(file)).await,
            None if self.verify => connector::verify(root, files).await,
            None => Ok(()),
        }
    }
}

/// Counts the rows of a sample again, and hashes their ids.
async fn verify(sample: &Manifest, location: &Location, hours: &BTreeMap<Hour, HourFiles>) -> Result<()> {
    let key = hours.values().find_map(|hour| hour.success.as_ref()?.key.first());
    let Some(id) = key else { return Ok(()) };
    let found = content(location, id).await?;
    ensure!(
        found == sample.content,
        SourceError::BadData(format!(
            "the sample was touched: it had {} rows, ids {}; it has {} rows, ids {}: draw it again with --force",
            sample.content.rows, sample.content.ids, found.rows, found.ids
        ))
    );
    Ok(())
}

fn as_json(
    partitions: &[(Hour, bool, Option<u64>, u64)],
    epoch: Option<&Epoch>,
    sample: Option<&Manifest>,
    damaged: &[String],
) -> Value {
    let partition = |(hour, sealed, rows, bytes): &(Hour, bool, Option<u64>, u64)| json!({ "hour": hour.to_string(), "sealed": sealed, "rows": rows, "bytes": bytes });
    json!({
        "partitions": partitions.iter().map(partition).collect::<Vec<_>>(),
        "epoch": epoch.map(|epoch| epoch.number),
        "watermark": epoch.and_then(|epoch| epoch.watermark).map(time),
        "ledger": epoch.map(|epoch| &epoch.ledger),
        "sources": epoch.map(|epoch| &epoch.sources),
        // Where there are many files, this file has the places of all, and `sources` those that changed since.
        "offsets": epoch.map(|epoch| &epoch.offsets),
        "open": epoch.map(|epoch| &epoch.open),
        "state": epoch.map(|epoch| &epoch.state),
        "state_kept_from": epoch.and_then(kept).map(time),
        "sample": sample,
        "damaged": damaged,
    })
}

/// From when on rows may come to the state that a stream kept at the end of its input, or several did.
fn kept(epoch: &Epoch) -> Option<i64> {
    let kept = epoch.kept.filter(|kept| *kept > i64::MIN);
    kept.or(epoch.watermark.filter(|watermark| *watermark < i64::MAX && epoch.sources.is_empty()))
}

fn print(partitions: &[(Hour, bool, Option<u64>, u64)], epoch: Option<&Epoch>) {
    let mut table = Table::new(&["hour", "sealed", "rows", "bytes"]);
    for (hour, sealed, rows, bytes) in partitions {
        let rows = rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string());
        table.row([hour.to_string(), if *sealed { "yes" } else { "no" }.to_owned(), rows, bytes.to_string()]);
    }
    print!("{table}");
    let Some(epoch) = epoch else { return };
    let watermark = epoch.watermark.map_or_else(|| "none yet".to_owned(), time);
    let state: u64 = epoch.state.iter().map(|file| file.rows).sum();
    let kept = kept(epoch).map_or_else(String::new, |from| format!(" kept for rows from {} on", time(from)));
    println!(
        "\nepoch {}, watermark {watermark}, {state} rows of state{kept}, {} hours open",
        epoch.number,
        epoch.open.len()
    );
    print!("{}", ledger(&epoch.ledger));
}
