//! f over a handful of rows, to see what it makes of them: nothing is read, written or remembered.

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::array::RecordBatch;
use futures::TryStreamExt;
use scan::{Batch, Limits, Scan};

use crate::advance::advance;

/// f(empty, rows): what stands of each output.
///
/// # Errors
/// Rows that do not fit their input.
pub async fn once(scan: &Scan, rows: BTreeMap<String, Vec<RecordBatch>>) -> Result<BTreeMap<String, Vec<RecordBatch>>> {
    let limits = Limits { threads: 1, memory: None };
    let (_, stepped) = advance(scan, scan.empty(), Batch::Rows(rows), limits).await?;
    let mut outputs = BTreeMap::new();
    for (name, stream) in stepped.outputs {
        let rows: Vec<RecordBatch> = stream.try_collect().await?;
        if let Some(output) = scan.outputs().iter().find(|output| output.name == name) {
            outputs.insert(name, output.compact(&rows)?.collect::<Result<_, _>>()?);
        }
    }
    Ok(outputs)
}
