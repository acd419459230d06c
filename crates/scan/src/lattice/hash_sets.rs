//! Exact sets of 64-bit hashes while they are made: eight bytes an id, and each once however often it comes. Only who
//! wants the ids themselves gets them as `ids` has them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BinaryViewBuilder, BooleanArray};
use arrow::buffer::Buffer;
use arrow::datatypes::UInt64Type;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use crate::aggregate::grouped::wanted;
use crate::aggregate::one_group::Groups;
use crate::aggregate::parts::Parts;
use crate::lattice::Detail;
use crate::lattice::bottom::Bottom;
use crate::lattice::ids;

/// `id_set(hash)` of all groups. A set of hashes is the least of them without a bound.
#[derive(Debug)]
pub(crate) struct HashSets {
    detail: Detail,
    sets: Vec<Bottom>,
    /// Bytes on the heap of all sets: asked for after every batch, and groups may be millions.
    held: usize,
    parts: Parts,
    groups: usize,
}

/// Bytes of a set that become a buffer of their own: to copy fewer costs less than to keep them apart.
const APART: usize = 1 << 12;

impl HashSets {
    pub(crate) fn new(detail: Detail) -> HashSets {
        HashSets { detail, sets: Vec::new(), held: 0, parts: Parts::new(), groups: 0 }
    }

    fn grow(&mut self, total: usize) {
        self.groups = total;
        self.sets.resize_with(total, || Bottom::new(u64::MAX));
    }

    /// Takes sets out, united and settled, one by one: each is gone when the next is put together.
    fn emit(&mut self, emit_to: EmitTo, mut each: impl FnMut(Bottom) -> Result<()>) -> Result<()> {
        self.grow(self.groups);
        let groups = self.groups;
        let (sets, leaving) = (emit_to.take_needed(&mut self.sets), self.leaving(emit_to));
        self.held -= sets.iter().map(Bottom::bytes).sum::<usize>();
        let parts = self.parts.take(leaving, groups);
        for (group, mut set) in sets.into_iter().enumerate() {
            for (values, row) in parts.of(group) {
                let (hashes, _) = values.as_binary_view().value(row).as_chunks::<8>();
                hashes.iter().for_each(|hash| set.insert(u64::from_ne_bytes(*hash)));
            }
            set.settle();
            each(set)?;
        }
        Ok(())
    }
}

impl GroupsAccumulator for HashSets {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let (hashes, wanted) = (values[0].as_primitive::<UInt64Type>(), wanted(filter));
        for (row, group) in groups.iter().enumerate() {
            if wanted(row) && hashes.is_valid(row) {
                let set = &mut self.sets[*group];
                self.held -= set.bytes();
                set.insert(hashes.value(row));
                self.held += set.bytes();
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        let bytes = states[0].as_binary_view().lengths().map(|length| length as usize).sum();
        self.parts.push(&states[0], groups, bytes);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (mut values, detail) = (BinaryBuilder::new(), self.detail);
        self.emit(emit_to, |set| {
            match detail {
                Detail::Summary => values.append_value((set.len() as u64).to_le_bytes()),
                Detail::Whole => {
                    let mut all: Vec<u128> = set.hashes().map(ids::of_number).collect();
                    all.sort_unstable();
                    values.append_value(ids::encode(&all));
                }
            }
            Ok(())
        })?;
        Ok(Arc::new(values.finish()))
    }

    /// The hashes as they are in memory, not copied.
    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut values = BinaryViewBuilder::new();
        self.emit(emit_to, |set| {
            let hashes = Buffer::from_vec(set.into_hashes());
            if hashes.len() < APART {
                values.append_value(&hashes);
                return Ok(());
            }
            let length = u32::try_from(hashes.len()).map_err(|_| too_many())?;
            let block = values.append_block(hashes);
            Ok(values.try_append_view(block, 0, length)?)
        })?;
        Ok(vec![Arc::new(values.finish())])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let groups: Vec<usize> = (0..values[0].len()).collect();
        let mut sets = HashSets::new(self.detail);
        sets.update_batch(values, &groups, filter, groups.len())?;
        sets.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.sets.capacity() * size_of::<Bottom>() + self.held + self.parts.bytes()
    }
}

fn too_many() -> DataFusionError {
    DataFusionError::Execution("a set has more than 4 GiB of hashes: count fewer hours at once, or --approx".to_owned())
}

impl Groups for HashSets {
    fn groups(&mut self) -> &mut usize {
        &mut self.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::UInt64Array;

    /// Hashes of a large group and a small one, each thrice: what two threads' parts give in the end.
    fn united(detail: Detail) -> Vec<Vec<u8>> {
        let mut whole = HashSets::new(detail);
        for from in [0, 600] {
            let mut part = HashSets::new(detail);
            for _ in 0..3 {
                let hashes: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from_iter((from..from + 1000).map(Some)))];
                let groups: Vec<usize> = (0..1000).map(|row| usize::from(row % 100 == 0)).collect();
                part.update_batch(&hashes, &groups, None, 2).unwrap();
            }
            assert!(part.size() < 3 * 8 * 1000, "repeats are kept: {part:?}");
            whole.merge_batch(&part.state(EmitTo::All).unwrap(), &[0, 1], 2).unwrap();
        }
        let values = whole.evaluate(EmitTo::All).unwrap();
        values.as_binary::<i32>().iter().map(|value| value.unwrap().to_vec()).collect()
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let counts = united(Detail::Summary).iter().map(|value| ids::count(value).unwrap()).collect::<Vec<_>>();
        assert_eq!(counts, [1584, 16]);
    }

    #[test]
    fn the_ids_are_those_of_any_other_set() {
        let hashes: ArrayRef = Arc::new(UInt64Array::from_iter((0..1600).step_by(100).map(Some)));
        let mut expected = Vec::new();
        ids::hash_column(&hashes, |_, id| expected.push(id)).unwrap();
        expected.sort_unstable();
        assert_eq!(united(Detail::Whole)[1], ids::encode(&expected));
    }
}
