//! What do earlier batches leave? Keyed rows, by event time, merged by lattices.

pub(crate) mod bucket;
pub(crate) mod by_time;
pub(crate) mod incoming;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod runs;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;

use crate::lattice::Detail;
use crate::script::conform::conform;
use crate::state::layout::{Layout, Merged};
use crate::state::table::Table;

/// Everything that one step leaves to the next.
#[derive(Debug, Default)]
pub struct State {
    tables: BTreeMap<String, Table>,
}

impl State {
    pub(crate) fn new(layouts: &BTreeMap<String, Arc<Layout>>) -> State {
        let table = |(name, layout): (&String, &Arc<Layout>)| (name.clone(), Table::new(layout.clone()));
        State { tables: layouts.iter().map(table).collect() }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    pub(crate) fn table_mut(&mut self, name: &str) -> Option<&mut Table> {
        self.tables.get_mut(name)
    }

    /// Merges rows of `state.NAME` again that an earlier step merged: how state comes back after a restart. Rows of
    /// tables that this script does not have are left out.
    ///
    /// # Errors
    /// Rows of another schema.
    pub fn restore(&mut self, name: &str, rows: &RecordBatch) -> Result<Merged> {
        let Some(table) = self.tables.get_mut(name) else { return Ok(Merged::default()) };
        table.merge(&conform(rows, table.schema())?, &mut Vec::new())
    }

    /// All rows of a table; of sets of ids what counts them.
    ///
    /// # Errors
    /// None for a table of this script.
    pub fn summary(&self, name: &str) -> Result<Vec<RecordBatch>> {
        let Some(table) = self.tables.get(name) else { return Ok(Vec::new()) };
        let found = table.all(false);
        let columns = (0..table.schema().fields().len()).map(|column| table.gather(column, &found, Detail::Summary));
        Ok(vec![RecordBatch::try_new(table.schema().clone(), columns.collect::<Result<_>>()?)?])
    }

    /// Drops what no row at `before` (microseconds) or later can meet; answers how many rows.
    pub fn expire(&mut self, before: i64) -> usize {
        self.tables.values_mut().map(|table| table.expire(before)).sum()
    }

    /// Rows of each table.
    pub fn rows(&self) -> BTreeMap<String, usize> {
        self.tables.iter().map(|(name, table)| (name.clone(), table.rows())).collect()
    }
}
