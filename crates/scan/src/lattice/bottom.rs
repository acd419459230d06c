//! The k least: the lattice that samples. Of all hashes that were ever put in, the k least stay, so its merge is union
//! and forgetting, and a smaller sample lies in a larger one (KMV; Bar-Yossef et al. 2002, Cohen and Kaplan 2007).
//!
//! As a column value it is binary: k as `u64`, then the hashes, ascending, each a `u64`, big-endian. Scripts make it by
//! `bottom(hash, k)` and read the greatest hash that still counts by `bottom_edge(set)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::aggregate::grouped::wanted;

/// The least of some hashes, at most k of them.
#[derive(Clone, Debug)]
pub(crate) struct Bottom {
    most: u64,
    /// Ascending and distinct once settled; until then also what came since, in the order it came.
    least: Vec<u64>,
    /// Nothing above this counts any more.
    edge: u64,
    /// With so many it is settled: half of them have come since it was.
    room: usize,
}

/// Fewer are not worth being settled.
const ROOM: usize = 64;

impl Bottom {
    pub(crate) fn new(most: u64) -> Bottom {
        Bottom { most, least: Vec::new(), edge: if most == 0 { 0 } else { u64::MAX }, room: ROOM }
    }

    /// From a column value.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Bottom> {
        let mut set = Bottom::new(parts(bytes)?.0);
        set.merge(bytes)?;
        Ok(set)
    }

    /// Union with a column value.
    pub(crate) fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        let (most, hashes) = parts(bytes)?;
        if self.least.is_empty() {
            *self = Bottom::new(most);
        }
        hashes.for_each(|hash| self.insert(hash));
        self.settle();
        Ok(())
    }

    /// To be settled before it is read.
    pub(crate) fn insert(&mut self, hash: u64) {
        if hash > self.edge {
            return;
        }
        self.least.push(hash);
        if self.least.len() >= self.room {
            self.settle();
        }
    }

    pub(crate) fn settle(&mut self) {
        // Stable, for most of it is in order.
        self.least.sort();
        self.least.dedup();
        self.least.truncate(usize::try_from(self.most).unwrap_or(usize::MAX));
        if self.is_full() {
            self.edge = self.least.last().copied().unwrap_or(0);
        }
        self.room = ROOM.max(2 * self.least.len());
    }

    /// The column value.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 8 * self.least.len());
        bytes.extend_from_slice(&self.most.to_be_bytes());
        self.least.iter().for_each(|hash| bytes.extend_from_slice(&hash.to_be_bytes()));
        bytes
    }

    /// The hashes, ascending.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = u64> {
        self.least.iter().copied()
    }

    /// As [`Bottom::hashes`], and nothing of it stays.
    pub(crate) fn into_hashes(self) -> Vec<u64> {
        self.least
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.least.len()
    }

    /// Whether there may have been more than it holds.
    pub(crate) fn is_full(&self) -> bool {
        self.least.len() as u64 == self.most
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.least.capacity() * size_of::<u64>()
    }
}

/// The edge of a column value, which need not be decoded for that.
fn edge(bytes: &[u8]) -> Result<u64> {
    let (most, mut hashes) = parts(bytes)?;
    let full = most > 0 && hashes.len() as u64 == most;
    Ok(if full { hashes.next_back().unwrap_or(0) } else { Bottom::new(most).edge })
}

/// k, and the hashes.
fn parts(bytes: &[u8]) -> Result<(u64, impl ExactSizeIterator<Item = u64> + DoubleEndedIterator)> {
    let broken =
        || DataFusionError::Execution(format!("{} bytes are no bottom set: bottom(hash, k) makes one", bytes.len()));
    let (most, hashes) = bytes.split_first_chunk::<8>().ok_or_else(broken)?;
    let (hashes, rest) = hashes.as_chunks::<8>();
    if rest.is_empty() {
        Ok((u64::from_be_bytes(*most), hashes.iter().map(|hash| u64::from_be_bytes(*hash))))
    } else {
        Err(broken())
    }
}

/// `bottom(hash, k)`: the k least hashes of a group; nulls are none.
pub(crate) fn bottom() -> AggregateUDF {
    let signature = Signature::exact(vec![DataType::UInt64, DataType::Int64], Volatility::Immutable);
    AggregateUDF::new_from_impl(BottomFunction { signature })
}

/// `bottom_edge(set)`: the greatest hash that is in the set or could still come into it.
pub(crate) fn bottom_edge() -> ScalarUDF {
    let binary = TypeSignature::Exact(vec![DataType::Binary]);
    ScalarUDF::new_from_impl(Edge { signature: Signature::new(binary, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BottomFunction {
    signature: Signature,
}

impl AggregateUDFImpl for BottomFunction {
    fn name(&self) -> &str {
        "bottom"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Bottom::new(0)))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Bottoms(Vec::new())))
    }
}

/// k of an aggregate's second argument: it is the same in all rows.
fn most(column: &ArrayRef) -> u64 {
    let most = column.as_primitive::<Int64Type>();
    if most.is_empty() || most.is_null(0) { 0 } else { most.value(0).unsigned_abs() }
}

/// The sets of all groups.
#[derive(Debug)]
struct Bottoms(Vec<Bottom>);

impl Bottoms {
    fn grow(&mut self, total: usize, most: u64) {
        self.0.resize_with(total, || Bottom::new(most));
    }
}

impl GroupsAccumulator for Bottoms {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total, most(&values[1]));
        let (hashes, wanted) = (values[0].as_primitive::<UInt64Type>(), wanted(filter));
        for (row, group) in groups.iter().enumerate() {
            if wanted(row) && hashes.is_valid(row) {
                self.0[*group].insert(hashes.value(row));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total, 0);
        let sets = states[0].as_binary::<i32>();
        groups.iter().enumerate().try_for_each(|(row, group)| self.0[*group].merge(sets.value(row)))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sets = emit_to.take_needed(&mut self.0).into_iter().map(|mut set| {
            set.settle();
            set.encode()
        });
        Ok(Arc::new(BinaryArray::from_iter_values(sets)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let groups: Vec<usize> = (0..values[0].len()).collect();
        let mut sets = Bottoms(Vec::new());
        sets.update_batch(values, &groups, filter, groups.len())?;
        sets.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.0.iter().map(|set| size_of::<Bottom>() + set.bytes()).sum()
    }
}

/// The whole input as one group.
impl Accumulator for Bottom {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if self.least.is_empty() {
            *self = Bottom::new(most(&values[1]));
        }
        values[0].as_primitive::<UInt64Type>().iter().flatten().for_each(|hash| self.insert(hash));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_binary::<i32>().iter().flatten().try_for_each(|set| self.merge(set))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.settle();
        Ok(ScalarValue::Binary(Some(self.encode())))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of::<Bottom>() + self.bytes()
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Edge {
    signature: Signature,
}

impl ScalarUDFImpl for Edge {
    fn name(&self) -> &str {
        "bottom_edge"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let sets = args.args[0].to_array(args.number_rows)?;
        let sets = sets.as_binary::<i32>();
        let edge = |set: Option<&[u8]>| set.map(edge).transpose();
        let edges: Result<UInt64Array> = sets.iter().map(edge).collect();
        Ok(ColumnarValue::Array(Arc::new(edges?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(most: u64, hashes: &[u64]) -> Bottom {
        let mut set = Bottom::new(most);
        hashes.iter().for_each(|hash| set.insert(*hash));
        set.settle();
        set
    }

    #[test]
    fn the_least_stay_whatever_the_order_and_repetition() {
        for hashes in [[5, 1, 9, 3, 1, 7], [1, 1, 3, 5, 7, 9], [9, 7, 5, 3, 1, 1]] {
            let set = of(3, &hashes);
            assert_eq!(set.hashes().collect::<Vec<_>>(), [1, 3, 5]);
            assert_eq!((set.edge, edge(&set.encode()).unwrap(), set.is_full()), (5, 5, true));
        }
        assert_eq!((edge(&of(3, &[4]).encode()).unwrap(), of(3, &[4]).is_full()), (u64::MAX, false));
        assert_eq!((of(0, &[0, 4]).len(), of(0, &[4]).edge), (0, 0));
    }

    #[test]
    fn many_more_than_there_is_room_for_leave_the_least() {
        let hashes: Vec<u64> = (0..10_000u64).map(|n| n * 7_919 % 10_007).collect();
        for most in [3, 100, u64::MAX] {
            let mut all = hashes.clone();
            all.sort_unstable();
            all.truncate(usize::try_from(most).unwrap());
            assert_eq!(of(most, &hashes).hashes().collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn merging_parts_gives_the_whole() {
        let mut merged = Bottom::decode(&of(2, &[8, 2]).encode()).unwrap();
        merged.merge(&of(2, &[5, 1]).encode()).unwrap();
        merged.merge(&of(2, &[8, 2]).encode()).unwrap();
        assert_eq!(merged.hashes().collect::<Vec<_>>(), [1, 2]);
        assert!(Bottom::decode(&[0; 9]).is_err());
    }
}
