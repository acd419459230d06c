//! The rows of one side of a partition, in key order and encoded so that rows of both sides compare as bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::RecordBatch;
use arrow::row::{OwnedRow, Row, RowConverter, Rows, SortField};
use connector::{SourceError, failed};
use datafusion::catalog::TableProvider;
use datafusion::error::Result as PlanResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{cast, ident};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::stream::{Fuse, StreamExt as _, TryStreamExt as _};

use crate::reconcile::columns::{Column, Columns};

/// Turns rows into bytes that compare as their values do; one for both sides.
pub(crate) struct Encoder {
    keys: RowConverter,
    /// None where there are no columns besides the key.
    values: Option<RowConverter>,
    key_count: usize,
}

impl Encoder {
    pub(crate) fn new(columns: &Columns) -> Result<Self> {
        let converter =
            |columns: &[Column]| RowConverter::new(columns.iter().map(|c| SortField::new(c.kind.clone())).collect());
        let values = (!columns.values.is_empty()).then(|| converter(&columns.values)).transpose()?;
        Ok(Self { keys: converter(&columns.key)?, values, key_count: columns.key.len() })
    }

    fn page(&self, batch: RecordBatch) -> Result<Page> {
        let (keys, values) = batch.columns().split_at(self.key_count);
        let keys = self.keys.convert_columns(keys)?;
        let values = self.values.as_ref().map(|v| v.convert_columns(values)).transpose()?;
        Ok(Page { batch, keys, values })
    }
}

/// Some consecutive rows: the key columns, then the values.
pub(crate) struct Page {
    pub batch: RecordBatch,
    keys: Rows,
    values: Option<Rows>,
}

/// A place in the rows of one side. Two pages are in memory, so that the row behind it is always known.
pub(crate) struct Cursor {
    rows: Fuse<SendableRecordBatchStream>,
    encoder: Arc<Encoder>,
    what: String,
    page: Option<Page>,
    next: Option<Page>,
    at: usize,
}

impl Cursor {
    /// At the first row of a table, sorted by key if it is not so yet. `what` names the side in errors; no table, no
    /// rows.
    pub(crate) async fn open(
        table: Option<Arc<dyn TableProvider>>,
        columns: &Columns,
        encoder: &Arc<Encoder>,
        context: &SessionContext,
        what: String,
    ) -> Result<Option<Self>> {
        let Some(table) = table else { return Ok(None) };
        let sorted = is_sorted(select(&table, &columns.key, context), &encoder.keys, &what).await?;
        let all: Vec<Column> = columns.key.iter().chain(&columns.values).cloned().collect();
        let rows = async {
            let rows = select(&table, &all, context)?;
            let key = columns.key.iter().map(|c| ident(&c.name).sort(true, true)).collect();
            if sorted { rows } else { rows.sort(key)? }.execute_stream().await
        };
        let rows = rows.await.map_err(|e| failed(what.clone(), e))?;
        let mut cursor = Self { rows: rows.fuse(), encoder: Arc::clone(encoder), what, page: None, next: None, at: 0 };
        cursor.turn().await?;
        cursor.turn().await?;
        Ok(Some(cursor))
    }

    /// The page and the row in it; none behind the last row.
    pub(crate) fn row(&self) -> Option<(&Page, usize)> {
        self.page.as_ref().map(|page| (page, self.at))
    }

    pub(crate) fn key(&self) -> Option<Row<'_>> {
        self.row().map(|(page, at)| page.keys.row(at))
    }

    /// The values, encoded; none where there are no columns besides the key.
    pub(crate) fn values(&self) -> Option<Row<'_>> {
        self.row().and_then(|(page, at)| page.values.as_ref().map(|v| v.row(at)))
    }

    /// Whether the row behind this one has the same key.
    ///
    /// # Errors
    /// It has a smaller one: the rows were read before, and were in order then.
    pub(crate) fn repeats(&self) -> Result<bool> {
        let Some((page, at)) = self.row() else { return Ok(false) };
        let behind = match &self.next {
            _ if at + 1 < page.keys.num_rows() => page.keys.row(at + 1),
            Some(next) => next.keys.row(0),
            None => return Ok(false),
        };
        match page.keys.row(at).cmp(&behind) {
            Ordering::Less => Ok(false),
            Ordering::Equal => Ok(true),
            Ordering::Greater => bail!(SourceError::BadData(format!("{}: changed while it was read", self.what))),
        }
    }

    /// Goes to the next row.
    pub(crate) async fn advance(&mut self) -> Result<()> {
        self.at += 1;
        match &self.page {
            Some(page) if self.at < page.keys.num_rows() => Ok(()),
            _ => self.turn().await,
        }
    }

    /// Passes all rows of this key, and says how many they were.
    pub(crate) async fn pass(&mut self, key: &OwnedRow) -> Result<u64> {
        let mut passed = 0;
        while self.key() == Some(key.row()) {
            self.repeats()?;
            self.advance().await?;
            passed += 1;
        }
        Ok(passed)
    }

    async fn turn(&mut self) -> Result<()> {
        self.at = 0;
        self.page = self.next.take();
        while let Some(batch) = self.rows.try_next().await.map_err(|e| failed(self.what.clone(), e))? {
            if batch.num_rows() > 0 {
                self.next = Some(self.encoder.page(batch)?);
                break;
            }
        }
        Ok(())
    }
}

/// Some columns in the types agreed on, in the order of the files.
fn select(table: &Arc<dyn TableProvider>, columns: &[Column], context: &SessionContext) -> PlanResult<DataFrame> {
    let column = |c: &Column| cast(ident(&c.name), c.kind.clone()).alias(&c.name);
    context.read_table(Arc::clone(table))?.select(columns.iter().map(column))
}

/// Whether the keys never fall. It reads the key columns alone, for once a difference is told it cannot be taken back.
async fn is_sorted(keys: PlanResult<DataFrame>, encoder: &RowConverter, what: &str) -> Result<bool> {
    let explain = |e| failed(what.to_string(), e);
    let mut batches = keys.map_err(explain)?.execute_stream().await.map_err(explain)?;
    let mut last: Option<OwnedRow> = None;
    while let Some(batch) = batches.try_next().await.map_err(explain)? {
        let Some(end) = batch.num_rows().checked_sub(1) else { continue };
        let keys = encoder.convert_columns(batch.columns())?;
        let falls = (0..end).any(|i| keys.row(i) > keys.row(i + 1));
        if falls || last.is_some_and(|last| last.row() > keys.row(0)) {
            return Ok(false);
        }
        last = Some(keys.row(end).owned());
    }
    Ok(true)
}
