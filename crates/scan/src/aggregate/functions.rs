//! The functions that count ids, which scripts may call beside SQL's own: `id_set(id)`, an aggregate, and
//! `id_count(set)`. Those that list ids are in `texts`.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::aggregate::grouped::{Grouped, wanted};
use crate::aggregate::one_group::{Groups, OneGroup};
use crate::aggregate::parts::Parts;
use crate::lattice::hash_sets::HashSets;
use crate::lattice::ids;
use crate::lattice::sketch::Sketch;
use crate::lattice::{self, Detail};

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

    /// One value of each group: what the accumulators below say of themselves.
    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let kind = if self.keeps_hashes(args.input_fields) { DataType::BinaryView } else { DataType::Binary };
        Ok(vec![Arc::new(Field::new(format!("{}[ids]", args.name), kind, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if self.keeps_hashes(args.expr_fields) {
            return Ok(Box::new(OneGroup(HashSets::new(self.detail))));
        }
        Ok(Box::new(OneGroup(IdSets::new(self.approximate, self.detail))))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if self.keeps_hashes(args.expr_fields) {
            return Ok(Box::new(HashSets::new(self.detail)));
        }
        Ok(Box::new(IdSets::new(self.approximate, self.detail)))
    }
}

impl IdSetFunction {
    /// Whether ids are numbers that may stay as they are until they are counted.
    fn keeps_hashes(&self, ids: &[FieldRef]) -> bool {
        !self.approximate && matches!(ids, [id] if *id.data_type() == DataType::UInt64)
    }
}

/// The ids of all groups as they came, sorted by group and id when they are asked for.
#[derive(Debug)]
struct IdSets {
    approximate: bool,
    detail: Detail,
    ids: Grouped<u128>,
    /// Sets of ids to unite with those.
    parts: Parts,
    /// Where approximate, of groups with many ids; with their ids and sets they are the whole.
    sketches: BTreeMap<u32, Sketch>,
    /// So many ids are too many to keep where a sketch would do.
    full: usize,
    groups: usize,
}

/// Ids of a group that take as much room as its sketch, and ids of all groups that are worth a look at.
const SKETCHED: usize = 256;
const LOOKED_AT: usize = 1 << 16;

impl IdSets {
    fn new(approximate: bool, detail: Detail) -> IdSets {
        let (ids, parts, sketches) = (Grouped::new(), Parts::new(), BTreeMap::new());
        IdSets { approximate, detail, ids, parts, sketches, full: LOOKED_AT, groups: 0 }
    }

    fn emit(&mut self, emit_to: EmitTo, detail: Detail) -> Result<ArrayRef> {
        let groups = self.groups;
        let emitted = self.leaving(emit_to);
        let (starts, ids) = self.ids.take(emitted, groups);
        let parts = self.parts.take(emitted, groups);
        let later = self.sketches.split_off(&(emitted as u32));
        let later = later.into_iter().map(|(group, sketch)| (group - emitted as u32, sketch)).collect();
        let mut sketches = std::mem::replace(&mut self.sketches, later);
        let mut bytes = Vec::with_capacity(8 * emitted + if detail == Detail::Whole { 16 * ids.len() } else { 0 });
        let mut offsets = Vec::with_capacity(emitted + 1);
        offsets.push(0);
        let mut of_group = Vec::new();
        for group in 0..emitted {
            let mut sketch = sketches.remove(&(group as u32));
            of_group.clear();
            of_group.extend_from_slice(&ids[starts[group] as usize..starts[group + 1] as usize]);
            for (values, row) in parts.of(group) {
                let set = values.as_binary::<i32>().value(row);
                if Sketch::is_sketch(set) {
                    sketched(&mut sketch)?.merge(set)?;
                } else {
                    of_group.extend(ids::ids(set)?);
                }
            }
            self.append(distinct(&mut of_group), sketch, detail, &mut bytes)?;
            offsets.push(i32::try_from(bytes.len()).map_err(|_| too_many())?);
        }
        Ok(Arc::new(BinaryArray::try_new(OffsetBuffer::new(offsets.into()), bytes.into(), None)?))
    }

    fn append(&self, ids: &[u128], mut sketch: Option<Sketch>, detail: Detail, bytes: &mut Vec<u8>) -> Result<()> {
        if self.approximate || sketch.is_some() {
            let sketch = sketched(&mut sketch)?;
            ids.iter().for_each(|id| sketch.insert(*id));
            match detail {
                Detail::Summary => bytes.extend_from_slice(&sketch.count().to_le_bytes()),
                Detail::Whole => bytes.extend_from_slice(&sketch.encode()),
            }
        } else if detail == Detail::Summary {
            bytes.extend_from_slice(&(ids.len() as u64).to_le_bytes());
        } else {
            ids::append(ids, bytes);
        }
        Ok(())
    }

    /// Sketches the ids of groups that have many: what is held grows with the groups, and not with the ids.
    fn sketch(&mut self) -> Result<()> {
        let (starts, ids) = self.ids.take(self.groups, self.groups);
        for (bounds, group) in starts.windows(2).zip(0u32..) {
            let ids = &ids[bounds[0] as usize..bounds[1] as usize];
            let mut sketch = self.sketches.remove(&group);
            if ids.len() < SKETCHED && sketch.is_none() {
                ids.iter().for_each(|id| self.ids.push(group as usize, *id));
            } else {
                let sketch = sketched(&mut sketch)?;
                ids.iter().for_each(|id| sketch.insert(*id));
            }
            self.sketches.extend(sketch.map(|sketch| (group, sketch)));
        }
        self.full = LOOKED_AT.max(2 * self.ids.len());
        Ok(())
    }
}

/// The sketch, made where there is none.
fn sketched(sketch: &mut Option<Sketch>) -> Result<&mut Sketch> {
    Ok(match sketch {
        Some(sketch) => sketch,
        None => sketch.insert(Sketch::new()?),
    })
}

fn too_many() -> DataFusionError {
    let what = "the sets of a step have more than 2 GiB of ids: count fewer hours at once, or --approx";
    DataFusionError::Execution(what.to_owned())
}

/// The ids ascending, each once. A stable sort takes what was put together from sorted sets in one pass.
fn distinct(ids: &mut [u128]) -> &[u128] {
    ids.sort();
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
        let wanted = wanted(filter);
        ids::hash_column(&values[0], |row, id| {
            if wanted(row) {
                self.ids.push(groups[row], id);
            }
        })?;
        if self.approximate && self.ids.len() > self.full { self.sketch() } else { Ok(()) }
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups = total;
        let offsets = values[0].as_binary::<i32>().value_offsets();
        self.parts.push(&values[0], groups, (offsets[groups.len()] - offsets[0]) as usize);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to, self.detail)
    }

    /// Partial results are plain sets, but for those that were too large: they are merged by the code above.
    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let approximate = std::mem::replace(&mut self.approximate, false);
        let state = self.emit(emit_to, Detail::Whole);
        self.approximate = approximate;
        Ok(vec![state?])
    }

    /// Each row as a set of its own: where nearly every row is a group, the engine groups once instead of twice.
    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let groups: Vec<usize> = (0..values[0].len()).collect();
        let mut sets = IdSets::new(false, Detail::Whole);
        sets.update_batch(values, &groups, filter, groups.len())?;
        sets.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        let sketches: usize = self.sketches.values().map(Sketch::bytes).sum();
        self.ids.bytes() + self.parts.bytes() + sketches
    }
}

impl Groups for IdSets {
    fn groups(&mut self) -> &mut usize {
        &mut self.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(from: i64, to: i64) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from_iter_values(from..to))]
    }

    /// Two threads' parts of a large group and a small one, merged: counts of both.
    fn counted(approximate: bool) -> Vec<u64> {
        let mut merged = IdSets::new(approximate, Detail::Summary);
        for from in [0, 600_000] {
            let mut part = IdSets::new(approximate, Detail::Summary);
            part.update_batch(&ids(0, 90), &[1; 90], None, 2).unwrap();
            for from in [from, from + 400_000, from + 400_000] {
                part.update_batch(&ids(from, from + 400_000), &[0; 400_000], None, 2).unwrap();
            }
            assert_eq!(part.ids.len() < 1_000_000, approximate);
            merged.merge_batch(&part.state(EmitTo::All).unwrap(), &[0, 1], 2).unwrap();
        }
        let counts = merged.evaluate(EmitTo::All).unwrap();
        counts.as_binary::<i32>().iter().map(|count| lattice::count(count.unwrap()).unwrap()).collect()
    }

    #[test]
    fn parts_merge_to_the_whole() {
        assert_eq!(counted(false), [1_400_000, 90]);
    }

    #[test]
    fn many_ids_are_sketched_and_few_are_not() {
        let counts = counted(true);
        assert!(
            (counts[0] as f64 / 1_400_000.0 - 1.0).abs() < 3.0 * crate::lattice::sketch::RELATIVE_ERROR,
            "{counts:?}"
        );
        assert_eq!(counts[1], 90);
    }
}
