//! One CSV record to one row, as strictly as JSON.

use anyhow::Result;
use arrow::datatypes::Schema;

use crate::fault::Fault;
use crate::row::Row;

/// Where the fields of a record go.
pub(crate) struct Fields {
    columns: Vec<Option<usize>>,
}

impl Fields {
    pub(crate) fn in_order(schema: &Schema) -> Self {
        Self { columns: (0..schema.fields().len()).map(Some).collect() }
    }

    pub(crate) fn named(_header: &[u8], _names: &[&String]) -> Result<Self> {
        Ok(Self { columns: vec![] })
    }

    pub(crate) fn read(&mut self, _record: &[u8], _row: &mut Row) -> Result<u64, Fault> {
        Err(Fault::new("wrong_columns", format!("not {} fields", self.columns.len())))
    }
}
