//! Outputs of several regions that are the input of one run.

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::datatypes::SchemaRef;
use scan::Held;

use crate::output::made::Made;

/// Outputs that a run merges: all of one f, so that all hold the same.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Of what f.
    pub made: Made,
    /// What they hold of what it read.
    pub held: Held,
    /// Their columns.
    pub schema: SchemaRef,
}

impl Merged {
    /// What a run calls its one input: the outputs together.
    pub const INPUT: &str = "rows";

    /// The columns of the inputs of f that they hold.
    ///
    /// # Errors
    /// Columns that are not those of such outputs.
    pub fn inputs(&self) -> Result<BTreeMap<String, SchemaRef>> {
        Ok(self.held.schemas(&self.schema)?)
    }
}
