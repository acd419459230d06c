//! What is kept of a sample beside its rows, so that anybody can draw it again, or see that nobody touched it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use connector::{Location, list, read};
use futures::TryStreamExt;
use journal::JournalError;
use quota::{Achieved, Relaxed};
use scan::{Chosen, Part};

use crate::output::layout::MANIFEST;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

/// How a sample came about and what is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this file.
    pub format: u32,
    /// Everything that gives the sample: rules, seed, unit, splits, script.
    pub config: BTreeMap<String, String>,
    /// The columns or expressions that strata are of.
    pub strata: Vec<String>,
    /// Supply and quota of each combination of strata.
    pub cells: Vec<Part>,
    /// What each rule asked for, and got.
    pub achieved: Achieved,
    /// The clauses that gave way.
    pub relaxed: Vec<Relaxed>,
    /// What is in it.
    pub content: Content,
}

/// What identifies the rows of a sample, in any order and layout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// How many.
    pub rows: u64,
    /// The sum of the XXH3-128 of their ids, modulo 2^128, as hexadecimal: the same for any order.
    pub ids: String,
}

impl Manifest {
    /// Of a sample as it was chosen.
    pub(crate) fn new(config: &BTreeMap<String, String>, chosen: &Chosen, content: Content) -> Manifest {
        Manifest {
            format: 1,
            config: config.clone(),
            strata: chosen.strata.clone(),
            cells: chosen.parts.clone(),
            achieved: chosen.achieved.clone(),
            relaxed: chosen.relaxed.clone(),
            content,
        }
    }

    /// Where it is.
    pub(crate) fn path(out: &Path) -> PathBuf {
        out.join(MANIFEST)
    }

    /// Of an output; none where it is no sample.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn of(out: &Path) -> Result<Option<Manifest>> {
        let path = Manifest::path(out);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let damaged = |e: serde_json::Error| JournalError::Corrupt { path, what: format!("is no manifest: {e}") };
        Ok(Some(serde_json::from_slice(&text).map_err(damaged)?))
    }
}

/// The sum of the hashes of ids.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ids {
    sum: u128,
    rows: u64,
}

impl Ids {
    pub(crate) fn add(&mut self, rows: &RecordBatch, id: &str) -> Result<()> {
        let ids = rows.column_by_name(id).with_context(|| format!("the sample has no column {id}"))?;
        let ids = cast(ids, &DataType::Utf8View)?;
        let ids = ids.as_string_view();
        for row in 0..ids.len() {
            self.sum = self.sum.wrapping_add(XxHash3_128::oneshot(ids.value(row).as_bytes()));
        }
        self.rows += ids.len() as u64;
        Ok(())
    }

    pub(crate) fn merge(&mut self, other: Ids) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.rows += other.rows;
    }

    pub(crate) fn content(self) -> Content {
        Content { rows: self.rows, ids: format!("{:032x}", self.sum) }
    }
}

/// What the sealed hours of an output hold, counted again; `id` is the column of ids.
///
/// # Errors
/// They cannot be read.
pub async fn content(root: &Location, id: &str) -> Result<Content> {
    let mut ids = Ids::default();
    for (_, hour) in list(root, ..).await? {
        for file in &hour.files {
            let mut rows = read(root, file).await?;
            while let Some(rows) = rows.try_next().await? {
                ids.add(&rows, id)?;
            }
        }
    }
    Ok(ids.content())
}
