//! An aggregate without `group by`: the whole input as one group of the accumulator that knows many.

use std::fmt::Debug;

use arrow::array::ArrayRef;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// Groups that are counted: of no rows there is one all the same.
pub(crate) trait Groups: GroupsAccumulator {
    /// How many there are.
    fn groups(&mut self) -> &mut usize;

    /// How many are taken out, which are then no more.
    fn leaving(&mut self, emit_to: EmitTo) -> usize {
        let groups = self.groups();
        let count = match emit_to {
            EmitTo::All => *groups,
            EmitTo::First(count) => count,
        };
        *groups -= count;
        count
    }
}

/// The one group.
#[derive(Debug)]
pub(crate) struct OneGroup<G>(pub G);

impl<G: Groups + Debug + Sync> Accumulator for OneGroup<G> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(values, &vec![0; values[0].len()], None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states, &vec![0; states[0].len()], 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        *self.0.groups() = 1;
        ScalarValue::try_from_array(&self.0.evaluate(EmitTo::All)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        *self.0.groups() = 1;
        self.0.state(EmitTo::All)?.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
