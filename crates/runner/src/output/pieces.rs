//! Output rows of an hour on their way into its file: from memory, or a few at a time where they are too many for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;
use futures::executor::block_on_stream;
use scan::{Chosen, Output};

/// What f put out for an hour.
pub(crate) enum Pieces {
    /// In any order.
    Held(Vec<RecordBatch>),
    /// In the order of the key.
    Sorted(SendableRecordBatchStream),
}

/// How many rows f put out, without those that only take others back.
fn told(output: &Output, rows: &RecordBatch) -> u64 {
    let retracted = rows.column_by_name("retracted").filter(|_| output.retracts);
    let retracted = retracted.and_then(|column| column.as_boolean_opt()).map_or(0, BooleanArray::true_count);
    (rows.num_rows() - retracted) as u64
}

impl Pieces {
    /// The same, counted into `count` once all are taken, without those that only take others back.
    pub(crate) fn counted(self, output: &Output, count: &Arc<AtomicU64>) -> Pieces {
        match self {
            Pieces::Held(rows) => {
                count.fetch_add(rows.iter().map(|rows| told(output, rows)).sum(), Ordering::Relaxed);
                Pieces::Held(rows)
            }
            Pieces::Sorted(rows) => {
                let (schema, output, count) = (rows.schema(), output.clone(), count.clone());
                let counted = rows.inspect_ok(move |rows| {
                    count.fetch_add(told(&output, rows), Ordering::Relaxed);
                });
                Pieces::Sorted(Box::pin(RecordBatchStreamAdapter::new(schema, counted)))
            }
        }
    }

    /// The rows that stand, in pieces of a fixed size. What is not in the sample goes first, where one is drawn: the
    /// cut into pieces must not depend on how many candidates there were. Sorted rows are read as the pieces are taken,
    /// on the thread that takes them.
    pub(crate) fn standing<'a>(
        self,
        output: &'a Output,
        chosen: Option<&'a Chosen>,
    ) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + 'a>> {
        let kept = move |rows: RecordBatch| -> Result<RecordBatch> {
            let Some(chosen) = chosen else { return Ok(rows) };
            Ok(chosen.keep(&rows)?)
        };
        let shown = move |rows: Result<RecordBatch>| -> Result<RecordBatch> {
            let Some(chosen) = chosen else { return rows };
            Ok(chosen.weigh(&rows?)?)
        };
        Ok(match self {
            Pieces::Held(rows) => {
                let rows = rows.into_iter().map(kept).collect::<Result<Vec<_>>>()?;
                Box::new(output.compact(&rows)?.map(|rows| Ok(rows?)).map(shown))
            }
            Pieces::Sorted(rows) => {
                let rows = block_on_stream(rows).map(move |rows| kept(rows?));
                Box::new(output.compact_sorted(rows).map(shown))
            }
        })
    }
}
