//! What f is applied to at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::exec::reading::Reading;

/// All rows of the inputs, wherever they are.
#[derive(Default)]
pub struct Tables {
    /// Any number of tables for each input, by name.
    pub inputs: BTreeMap<String, Vec<Arc<dyn TableProvider>>>,
    /// Of the outputs only rows whose `_time` is in this range, microseconds: who asks reads more than that of inputs.
    pub within: Option<Range<i64>>,
    /// For tables that are larger than memory: every operator spills, and each output comes in the order of its key,
    /// ascending and nulls first.
    pub sorted: bool,
    /// Told of the rows that are read, while they are.
    pub reading: Reading,
}
