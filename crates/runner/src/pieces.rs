//! Output rows of an hour on their way into its file: from memory, or a few at a time where they are too many for it.

use anyhow::Result;
use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::executor::block_on_stream;
use scan::{Chosen, Output};

/// What f put out for an hour.
pub(crate) enum Pieces {
    /// In any order.
    Held(Vec<RecordBatch>),
    /// In the order of the key.
    Sorted(SendableRecordBatchStream),
}

impl Pieces {
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
