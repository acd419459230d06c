//! Which times of an event repeat another: `repeats(ts, within)`, an aggregate. It looks at neighbours in the order of
//! time, so that an event that came a million times costs a million times one, and not its square.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, PrimitiveArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, TimestampMicrosecondType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use event_time::TIME;

use crate::aggregate::grouped::{Grouped, wanted};
use crate::aggregate::one_group::{Groups, OneGroup};
use crate::script::declare::microseconds;

/// Its name.
pub(crate) const REPEATS: &str = "repeats";

/// `repeats(ts, within)`: the times of a group that come after another one by at most `within`, ascending, once each.
pub(crate) fn repeats() -> AggregateUDF {
    AggregateUDF::new_from_impl(Repeats { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Repeats {
    signature: Signature,
}

fn times() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(TIME, true)))
}

/// The second argument, microseconds.
fn within(args: &AccumulatorArgs) -> Result<i64> {
    let literal = args.exprs.get(1).and_then(|within| within.downcast_ref::<Literal>());
    let within = literal.and_then(|literal| microseconds(literal.value()));
    within.ok_or_else(|| DataFusionError::Plan("repeats takes a time, and an interval of days or less".to_owned()))
}

impl AggregateUDFImpl for Repeats {
    fn name(&self) -> &str {
        REPEATS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args {
            [time, _] if *time == TIME => Ok(times()),
            _ => Err(DataFusionError::Plan("repeats takes a time, and an interval".to_owned())),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[times]", args.name), times(), true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(Times::new(within(&args)?))))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Times::new(within(&args)?)))
    }
}

/// The times of all groups as they came, sorted when they are asked for.
#[derive(Debug)]
struct Times {
    within: i64,
    times: Grouped<i64>,
    groups: usize,
}

impl Times {
    fn new(within: i64) -> Times {
        Times { within, times: Grouped::new(), groups: 0 }
    }

    /// Takes out a list for each group: of the sorted times those which `kept` says of them and of the one before.
    fn emit(&mut self, emit_to: EmitTo, kept: impl Fn(Option<i64>, i64) -> bool) -> Result<ArrayRef> {
        let groups = self.groups;
        let count = self.leaving(emit_to);
        let (starts, mut times) = self.times.take(count, groups);
        let (mut lengths, mut all) = (Vec::with_capacity(count), Vec::new());
        for bounds in starts.windows(2) {
            let group = &mut times[bounds[0] as usize..bounds[1] as usize];
            group.sort_unstable();
            let (begun, mut before) = (all.len(), None);
            for time in group {
                if before != Some(*time) && kept(before, *time) {
                    all.push(*time);
                }
                before = Some(*time);
            }
            lengths.push(all.len() - begun);
        }
        list(lengths, all)
    }
}

fn list(lengths: impl IntoIterator<Item = usize>, of: Vec<i64>) -> Result<ArrayRef> {
    let values = PrimitiveArray::<TimestampMicrosecondType>::from(of);
    let item = Arc::new(Field::new_list_field(TIME, true));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(values), None)?))
}

impl GroupsAccumulator for Times {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups = total;
        let (times, wanted) = (values[0].as_primitive::<TimestampMicrosecondType>(), wanted(filter));
        for (row, group) in groups.iter().enumerate() {
            if wanted(row) && times.is_valid(row) {
                self.times.push(*group, times.value(row));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups = total;
        let lists = states[0].as_list::<i32>();
        let times = lists.values().as_primitive::<TimestampMicrosecondType>().values();
        for (group, bounds) in groups.iter().zip(lists.value_offsets().windows(2)) {
            times[bounds[0] as usize..bounds[1] as usize].iter().for_each(|time| self.times.push(*group, *time));
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let within = self.within;
        self.emit(emit_to, |before, time| before.is_some_and(|before| time.saturating_sub(before) <= within))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to, |_, _| true)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let (times, wanted) = (values[0].as_primitive::<TimestampMicrosecondType>(), wanted(filter));
        let taken: Vec<bool> = (0..times.len()).map(|row| wanted(row) && times.is_valid(row)).collect();
        let kept = taken.iter().zip(times.values()).filter(|(taken, _)| **taken).map(|(_, time)| *time).collect();
        Ok(vec![list(taken.iter().map(|taken| usize::from(*taken)), kept)?])
    }

    fn size(&self) -> usize {
        self.times.bytes()
    }
}

impl Groups for Times {
    fn groups(&mut self) -> &mut usize {
        &mut self.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::TimestampMicrosecondArray;

    fn read(lists: &ArrayRef) -> Vec<Vec<i64>> {
        let lists = lists.as_list::<i32>().iter().flatten();
        lists.map(|list| list.as_primitive::<TimestampMicrosecondType>().values().to_vec()).collect()
    }

    #[test]
    fn a_time_repeats_the_one_before_it_and_not_itself() {
        let mut parts = Times::new(10);
        let rows = [(0, 30), (1, 5), (0, 10), (0, 20), (0, 31), (0, 20), (0, 42), (2, 7)];
        let (groups, times): (Vec<usize>, Vec<i64>) = rows.into_iter().unzip();
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times));
        parts.update_batch(&[times], &groups, None, 4).unwrap();
        // As an aggregation in two phases, and as one that takes its first groups out.
        let mut whole = Times::new(10);
        let state = parts.state(EmitTo::All).unwrap();
        whole.merge_batch(&state, &[0, 1, 2, 3], 4).unwrap();
        whole.merge_batch(&state, &[0, 3, 2, 1], 4).unwrap();
        assert_eq!(read(&whole.evaluate(EmitTo::First(1)).unwrap()), [vec![20, 30, 31]]);
        assert_eq!(read(&whole.evaluate(EmitTo::All).unwrap()), [const { Vec::<i64>::new() }; 3]);
    }
}
