//! What a step puts out, on its way to the runner: in memory, or on disk where a key with many partners on both sides makes
//! more rows than memory is for.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};

/// Values that are in memory at most: text is in buffers that rows share, so each takes 16 bytes or less.
const VALUES_MAX: usize = if cfg!(test) { 64 } else { 1 << 22 };

/// Reads rows to their end, so that nothing else is needed for them any more, and gives the same rows again.
pub(crate) async fn spooled(
    mut rows: SendableRecordBatchStream,
    runtime: &Arc<RuntimeEnv>,
) -> Result<SendableRecordBatchStream> {
    let schema = rows.schema();
    let (mut held, mut values) = (Vec::new(), 0);
    while values < VALUES_MAX {
        let Some(rows) = rows.try_next().await? else {
            return Ok(Box::pin(MemoryStream::try_new(held, schema, None)?));
        };
        values += rows.num_rows() * rows.num_columns();
        held.push(rows);
    }
    let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
    let spills = SpillManager::new(runtime.clone(), metrics, schema.clone());
    let mut file = spills.create_in_progress_file("rows that a step puts out")?;
    while let Some(rows) = rows.try_next().await? {
        for part in parts(&rows) {
            file.append_batch(&part)?;
        }
    }
    let held = futures::stream::iter(held.into_iter().map(Ok));
    Ok(match file.finish()? {
        Some(file) => {
            let spilled = spills.read_spill_as_stream(file, None)?;
            Box::pin(RecordBatchStreamAdapter::new(schema, held.chain(spilled)))
        }
        None => Box::pin(RecordBatchStreamAdapter::new(schema, held)),
    })
}

/// Rows of a batch on disk: it is read back as a whole.
const PART_ROWS: usize = 8192;

fn parts(rows: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let starts = (0..rows.num_rows()).step_by(PART_ROWS);
    starts.map(|from| rows.slice(from, PART_ROWS.min(rows.num_rows() - from)))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringViewArray};

    use super::*;

    #[tokio::test]
    async fn rows_come_back_as_they_were_from_memory_and_from_disk() {
        for count in [0, 1, 5, 40] {
            let batch = |number: i64| {
                let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(number..number + 9));
                let texts = (0..9).map(|at| format!("a text that is longer than twelve bytes {number} {at}"));
                let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
                RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap()
            };
            let rows: Vec<RecordBatch> = (0..count).map(batch).collect();
            let given = MemoryStream::try_new(rows.clone(), batch(0).schema(), None).unwrap();
            let spooled = spooled(Box::pin(given), &Arc::default()).await.unwrap();
            let found: Vec<RecordBatch> = spooled.try_collect().await.unwrap();
            assert_eq!(found, rows, "{count} batches");
        }
    }
}
