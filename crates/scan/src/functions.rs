//! The functions that count ids, which scripts may call beside SQL's own: `id_set(id)`, an aggregate, and
//! `id_count(set)`. Those that list ids are in `texts`.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int64Array};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::ids;
use crate::lattice::{self, Detail};
use crate::sketch::Sketch;

/// `id_set(id)`: the distinct ids of a group; nulls are none. Sketched where `approximate`; where nobody merges the
/// results further, `detail` may leave out everything but the count.
pub(crate) fn id_set(approximate: bool, detail: Detail) -> AggregateUDF {
    AggregateUDF::new_from_impl(IdSetFunction {
        signature: Signature::any(1, Volatility::Immutable),
        approximate,
        detail,
    })
}

/// `id_count(set)`: how many ids are in a set, exactly or as its sketch estimates.
pub(crate) fn id_count() -> ScalarUDF {
    let binary = TypeSignature::Exact(vec![DataType::Binary]);
    ScalarUDF::new_from_impl(IdCount { signature: Signature::new(binary, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IdCount {
    signature: Signature,
}

impl ScalarUDFImpl for IdCount {
    fn name(&self) -> &str {
        "id_count"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let sets = args.args[0].to_array(args.number_rows)?;
        let sets = sets.as_binary::<i32>();
        let count = |set: Option<&[u8]>| set.map_or(Ok(0), |set| lattice::count(set).map(|count| count as i64));
        let counts: Result<Vec<i64>> = sets.iter().map(count).collect();
        Ok(ColumnarValue::Array(Arc::new(Int64Array::from(counts?))))
    }
}

#[derive(Debug)]
struct IdSetFunction {
    signature: Signature,
    approximate: bool,
    detail: Detail,
}

impl PartialEq for IdSetFunction {
    fn eq(&self, other: &Self) -> bool {
        (self.approximate, self.detail) == (other.approximate, other.detail)
    }
}

impl Eq for IdSetFunction {}

impl Hash for IdSetFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.approximate, self.detail == Detail::Summary).hash(state);
    }
}

impl AggregateUDFImpl for IdSetFunction {
    fn name(&self) -> &str {
        "id_set"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(IdSets::new(self))))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(IdSets::new(self)))
    }
}

/// The ids of all groups as they came, sorted by group and id when they are asked for: a list appended to costs a
/// fraction of a hash set a group.
#[derive(Debug)]
struct IdSets {
    approximate: bool,
    detail: Detail,
    pairs: Vec<(u32, u128)>,
    groups: usize,
}

impl IdSets {
    fn new(function: &IdSetFunction) -> IdSets {
        IdSets { approximate: function.approximate, detail: function.detail, pairs: Vec::new(), groups: 0 }
    }

    fn emit(&mut self, emit_to: EmitTo, detail: Detail) -> Result<ArrayRef> {
        let emitted = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(n) => n,
        };
        let (pairs, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|pair| (pair.0 as usize) < emitted);
        self.pairs = rest;
        self.pairs.iter_mut().for_each(|pair| pair.0 -= emitted as u32);
        self.groups -= emitted;
        let (starts, mut ids) = by_group(pairs, emitted);
        let mut values = BinaryBuilder::with_capacity(emitted, 8 * emitted);
        for bounds in starts.windows(2) {
            let ids = &mut ids[bounds[0] as usize..bounds[1] as usize];
            values.append_value(self.value(distinct(ids), detail)?);
        }
        Ok(Arc::new(values.finish()))
    }

    fn value(&self, ids: &[u128], detail: Detail) -> Result<Vec<u8>> {
        if !self.approximate {
            let count = (ids.len() as u64).to_le_bytes();
            return Ok(if detail == Detail::Summary { count.to_vec() } else { ids::encode(ids) });
        }
        let mut sketch = Sketch::new()?;
        ids.iter().for_each(|id| sketch.insert(*id));
        Ok(if detail == Detail::Summary { sketch.count().to_le_bytes().to_vec() } else { sketch.encode() })
    }
}

/// Counting sort by group: where each group starts, and all ids in the order of groups.
fn by_group(pairs: Vec<(u32, u128)>, groups: usize) -> (Vec<u32>, Vec<u128>) {
    let mut starts = vec![0u32; groups + 1];
    pairs.iter().for_each(|pair| starts[pair.0 as usize + 1] += 1);
    (0..groups).for_each(|group| starts[group + 1] += starts[group]);
    let mut next = starts.clone();
    let mut ids = vec![0u128; pairs.len()];
    for (group, id) in pairs {
        let at = &mut next[group as usize];
        ids[*at as usize] = id;
        *at += 1;
    }
    (starts, ids)
}

fn distinct(ids: &mut [u128]) -> &[u128] {
    ids.sort_unstable();
    let mut kept = 0;
    for at in 0..ids.len() {
        if kept == 0 || ids[at] != ids[kept - 1] {
            ids[kept] = ids[at];
            kept += 1;
        }
    }
    &ids[..kept]
}

impl GroupsAccumulator for IdSets {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups = total;
        let kept = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let pairs = &mut self.pairs;
        ids::hash_column(&values[0], |row, id| {
            if kept(row) {
                pairs.push((groups[row] as u32, id));
            }
        })
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups = total;
        let sets = values[0].as_binary::<i32>();
        for (row, group) in groups.iter().enumerate() {
            self.pairs.extend(ids::ids(sets.value(row))?.map(|id| (*group as u32, id)));
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to, self.detail)
    }

    /// Partial results are plain sets, sketched or not: they are merged by the code above.
    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let approximate = std::mem::replace(&mut self.approximate, false);
        let state = self.emit(emit_to, Detail::Whole);
        self.approximate = approximate;
        Ok(vec![state?])
    }

    /// Each row as a set of its own: where nearly every row is a group, the engine groups once instead of twice.
    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let groups: Vec<usize> = (0..values[0].len()).collect();
        let mut sets = IdSets { approximate: false, detail: Detail::Whole, pairs: Vec::new(), groups: 0 };
        sets.update_batch(values, &groups, filter, groups.len())?;
        sets.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.pairs.capacity() * size_of::<(u32, u128)>()
    }
}

/// The whole input as one group.
#[derive(Debug)]
struct OneGroup(IdSets);

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        GroupsAccumulator::update_batch(&mut self.0, values, &vec![0; values[0].len()], None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        GroupsAccumulator::merge_batch(&mut self.0, states, &vec![0; states[0].len()], 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.groups = 1;
        ScalarValue::try_from_array(&GroupsAccumulator::evaluate(&mut self.0, EmitTo::All)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.groups = 1;
        let state = GroupsAccumulator::state(&mut self.0, EmitTo::All)?;
        Ok(vec![ScalarValue::try_from_array(&state[0], 0)?])
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(&self.0)
    }
}
