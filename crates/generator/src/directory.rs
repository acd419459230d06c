//! Rows and their truth in a directory. `truth.json` comes last: with it, the directory is whole.

use std::fs;
use std::io::{BufWriter, IntoInnerError, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use thiserror::Error;

use crate::event::hex;
use crate::generate::generate;
use crate::hidden::Hidden;
use crate::json_lines::JsonLines;
use crate::parts::Parts;
use crate::plan::{Format, Plan};
use crate::truth::{Truth, VERSION};

const TRUTH: &str = "truth.json";

/// A directory that is not overwritten, because it holds the rows of another plan.
#[derive(Debug, Error)]
#[error("{} holds rows made with other flags: remove it, or write to another directory", .0.display())]
pub struct Occupied(PathBuf);

/// Makes up what `plan` says below `directory`: `impressions.jsonl` and `plays.jsonl`, or `impressions/` and `plays/`
/// with a Parquet file an hour; `truth.json`, and `truth/` with the ids of late and of repeated events, one a line.
/// Answers `None`, and writes nothing, where the same is there already. `progress` as in [`generate`].
///
/// # Errors
/// A plan that cannot be met, [`Occupied`], or a directory that cannot be written.
pub fn write(plan: &Plan, directory: &Path, progress: impl FnMut(u64)) -> Result<Option<Truth>> {
    plan.check()?;
    if is_done(plan, directory)? {
        return Ok(None);
    }
    let truth = match plan.format {
        Format::Json => {
            let mut lines = JsonLines::create(directory)?;
            let truth = generate(plan, &mut lines, progress)?;
            lines.finish().map(|()| truth)
        }
        Format::Parquet => {
            let mut parts = Parts::create(directory, plan)?;
            let truth = generate(plan, &mut parts, progress)?;
            parts.finish().map(|()| truth)
        }
    }?;
    write_truth(&truth, directory)?;
    Ok(Some(truth))
}

/// Whether the directory holds this plan's rows.
fn is_done(plan: &Plan, directory: &Path) -> Result<bool> {
    let path = directory.join(TRUTH);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(false) };
    let found: Value = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    let wanted: Value = serde_json::from_str(&serde_json::to_string(plan)?)?;
    if found["version"] == VERSION && found["seed"] == plan.seed && found["flags"] == wanted {
        return Ok(true);
    }
    bail!(Occupied(directory.to_owned()))
}

/// Writes `truth.json` and `truth/` below `directory`.
///
/// # Errors
/// The directory cannot be written.
pub fn write_truth(truth: &Truth, directory: &Path) -> Result<()> {
    let ids = directory.join("truth");
    write_ids(&ids, "late_impressions.txt", &truth.impressions.late_ids)?;
    write_ids(&ids, "late_plays.txt", &truth.plays.counts.late_ids)?;
    write_ids(&ids, "duplicate_impressions.txt", &truth.impressions.duplicate_ids)?;
    write_ids(&ids, "duplicate_plays.txt", &truth.plays.counts.duplicate_ids)?;
    let mut file = Hidden::create(directory, TRUTH)?;
    serde_json::to_writer_pretty(&mut file, truth)?;
    file.write_all(b"\n")?;
    file.publish()
}

fn write_ids(directory: &Path, name: &str, ids: &[u128]) -> Result<()> {
    let mut file = BufWriter::new(Hidden::create(directory, name)?);
    for &id in ids {
        file.write_all(&hex(id))?;
        file.write_all(b"\n")?;
    }
    file.into_inner().map_err(IntoInnerError::into_error).context("cannot write ids")?.publish()
}
