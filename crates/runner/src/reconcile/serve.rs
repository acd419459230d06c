//! The serving view of a lambda architecture: hours that the batch has sealed, and the stream's where it has not yet. It is
//! an output like any other, and goes forward only: an hour of the batch never becomes the stream's again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use connector::{Hour, HourFiles, Location, SUCCESS, SealedFile, SourceError, Success};
use journal::{Epoch, Journal, Marker, Publish, Sum, checksum_of};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::guard::foreign::OwnFiles;
use crate::guard::owner::Owner;
use crate::guard::roll_forward::roll_forward;
use crate::output::files::{copy, write_bytes};
use crate::output::layout::{hour_journal, partition, token};
use crate::reconcile::{ReconcileOptions, Side};

/// What `_SUCCESS` of a served hour says of the side that it is from.
const SIDE: &str = "side";

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Hours that are new, or the batch's now.
    pub batch: u64,
    /// Hours that are new, from the stream.
    pub stream: u64,
    /// Hours that were there already.
    pub up_to_date: u64,
}

/// Where an hour is served from.
struct From<'a> {
    side: &'a Side<'a>,
    files: &'a HourFiles,
    success: &'a Success,
}

/// Brings a serving view of two outputs up to date, hour by hour, each at once for readers.
///
/// # Errors
/// [`Occupied`](crate::Occupied); an hour that another engine sealed, for it has no facts to vouch for its files; files
/// that are not those that were sealed; as [`reconcile`](crate::reconcile).
pub async fn serve(batch: &Location, stream: &Location, out: &Path, options: &ReconcileOptions) -> Result<Served> {
    let (batch, stream) = (Side::list("batch", batch, options).await?, Side::list("stream", stream, options).await?);
    roll_forward(out)?;
    let owner = Owner::of_view();
    let owned = owner.check(out)?;
    OwnFiles::of_no_job(out, owned).refuse_foreign()?;
    let mut served = Served::default();
    let hours: BTreeSet<Hour> = batch.hours.keys().chain(stream.hours.keys()).copied().collect();
    for hour in hours {
        let from = match sealed(&batch, hour)? {
            Some(from) => from,
            None => match sealed(&stream, hour)? {
                Some(from) => from,
                None => continue,
            },
        };
        owner.claim(out)?;
        match put(&from, hour, out).await? {
            false => served.up_to_date += 1,
            true if from.side.name == batch.name => served.batch += 1,
            true => served.stream += 1,
        }
    }
    Ok(served)
}

/// What a side has sealed of an hour.
fn sealed<'a>(side: &'a Side<'a>, hour: Hour) -> Result<Option<From<'a>>> {
    let Some(files) = side.hours.get(&hour).filter(|files| files.sealed) else { return Ok(None) };
    let what = format!("{} {}: hour {hour} is not sealed by rescan: ingest it first", side.name, side.root);
    let success = files.success.as_ref().with_context(|| SourceError::BadData(what))?;
    Ok(Some(From { side, files, success }))
}

/// Puts an hour in the view, if it is not there. Whether it was put.
async fn put(from: &From<'_>, hour: Hour, out: &Path) -> Result<bool> {
    let partition = partition("", hour);
    let there = there(&out.join(&partition).join(SUCCESS))?;
    let side = |success: &Success| success.inputs[SIDE].as_str().map(str::to_owned);
    let was = there.as_ref().and_then(side);
    let same = there.as_ref().is_some_and(|there| there.files == from.success.files);
    let back = was.as_deref() == Some("batch") && from.side.name != "batch";
    if back || same && was.as_deref() == Some(from.side.name) {
        return Ok(false);
    }
    let mut journal = Journal::open(out, &PathBuf::from(hour_journal(hour)), BTreeMap::new())?;
    let mut epoch = Epoch { number: journal.next_number(), token: token(), ..Epoch::default() };
    for file in &from.success.files {
        let path = format!("{partition}/{}", file.name);
        if checksum_of(&out.join(&path)).is_ok_and(|there| there == file.sum()) {
            continue;
        }
        let staged = format!("{}/{:010}-{}-{}", journal.stage(), epoch.number, epoch.token, file.name);
        let sum = fetch(from, file, &out.join(&staged), &journal).await?;
        epoch.publish.push(Publish { staged, path, bytes: sum.bytes, checksum: sum.checksum });
    }
    let kept = |file: &&SealedFile| !from.success.files.iter().any(|new| new.name == file.name);
    let old = there.iter().flat_map(|there| &there.files).filter(kept);
    epoch.remove.extend(old.map(|file| format!("{partition}/{}", file.name)));
    let inputs = json!({ SIDE: from.side.name, "root": from.side.root.to_string(), "inputs": from.success.inputs });
    let success = Success { inputs, ..from.success.clone() };
    let content = serde_json::to_value(success)?;
    epoch.markers.push(Marker { path: format!("{partition}/{SUCCESS}"), content });
    journal.commit(epoch)?;
    journal.collect_garbage()?;
    Ok(true)
}

/// The facts of an hour of the view.
fn there(path: &Path) -> Result<Option<Success>> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => {
            let text = text.with_context(|| format!("read {}", path.display()))?;
            let damaged = |what| SourceError::BadData(format!("{} {what}: restore it", path.display()));
            Ok(Success::read(&text).map_err(damaged)?)
        }
    }
}

/// Copies a file, and looks whether it is the one that was sealed.
async fn fetch(from: &From<'_>, file: &SealedFile, to: &Path, journal: &Journal) -> Result<Sum> {
    let found = from.files.files.iter().find(|found| found.name == file.name);
    let found = found.with_context(|| format!("{} of {} is gone", file.name, from.side.root))?;
    if let Some(root) = from.side.root.local_path() {
        let path = Path::new("/").join(found.path.as_ref());
        ensure!(path.starts_with(&root), "{} is not below {}", path.display(), root.display());
        copy(&path, to, &file.sum(), journal.syncs())?;
        return Ok(file.sum());
    }
    let sum = write_bytes(to, &from.side.root.bytes(&found.path).await?, journal.syncs())?;
    let what = from.side.root.spelled(&found.path);
    let changed = format!("{what} is not the file that _SUCCESS names: restore it, or make its hour again");
    ensure!(sum == file.sum(), SourceError::BadData(changed));
    Ok(sum)
}
