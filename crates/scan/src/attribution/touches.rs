//! The impressions before a play, as scripts of attribution gather them: `touches(ts, id, row, own)`, an aggregate.
//!
//! It is a set, held as a list in order of time and id, so that repeats and the order of arrival do not show.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, StructArray, UInt32Array, make_comparator, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, and, concat, filter, is_not_null, take};
use arrow::datatypes::{DataType, Field, Fields, TimestampMicrosecondType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, TypeSignature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use event_time::TIME;

use crate::aggregate::grouped::by_group;
use crate::aggregate::one_group::{Groups, OneGroup};
use crate::attribution::credit::Model;
use crate::lattice::Detail;
use crate::state::bucket::compact_column;

/// Its name.
pub(crate) const TOUCHES: &str = "touches";

/// `touches(ts, id, row, own[, models])`: one entry for each time and id, ascending; those without a time are none. Where
/// the list says all that is ever asked of it (`detail`), entries that none of the models reads may be left out.
pub(crate) fn touches(detail: Detail) -> AggregateUDF {
    let args = [4, 5].map(TypeSignature::Any).to_vec();
    let signature = Signature::one_of(args, Volatility::Immutable);
    AggregateUDF::new_from_impl(Touches { signature, prunes: detail == Detail::Summary })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Touches {
    signature: Signature,
    prunes: bool,
}

/// Whether the models among the arguments read the earliest and the latest entry alone; beside those, sources are read
/// from the latest of the play's own.
pub(crate) fn ends_only(args: &[Arc<dyn PhysicalExpr>]) -> bool {
    let models = args.get(4).and_then(|models| models.downcast_ref::<Literal>());
    let models = models.and_then(|models| models.value().try_as_str().flatten());
    let at_an_end = |name: &str| matches!(name.parse(), Ok(Model::Last | Model::First));
    models.is_some_and(|models| models.split(',').all(at_an_end))
}

/// The fields of an entry: when the impression was, its id, the row it was shown in, whether the play came from its
/// request, and how many candidates there are, where the list does not have all of them.
fn entry(args: &[DataType]) -> Result<Fields> {
    let [_, id, row, _, ..] = args else {
        let what = "touches takes a time, an id, a row, whether it is the play's own, and the models";
        return Err(DataFusionError::Plan(what.into()));
    };
    Ok(Fields::from(vec![
        Field::new("ts", TIME, true),
        Field::new("id", id.clone(), true),
        Field::new("row", row.clone(), true),
        Field::new("own", DataType::Boolean, true),
        Field::new("place", DataType::Int64, true),
    ]))
}

fn item(entry: Fields) -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(entry), true))
}

impl AggregateUDFImpl for Touches {
    fn name(&self) -> &str {
        TOUCHES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item(entry(args)?)))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(Lists::new(&args, self.prunes)?)))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Lists::new(&args, self.prunes)?))
    }
}

/// The entries of all groups as they came, sorted when they are asked for.
#[derive(Debug)]
struct Lists {
    entry: Fields,
    chunks: Vec<ArrayRef>,
    /// Of each entry.
    groups: Vec<u32>,
    total: usize,
    /// Whether only the ends of each list count.
    ends: bool,
    /// With so many entries there may be some that do not count.
    full: usize,
}

/// How many arguments are fields of an entry. Behind them scripts name the models; whoever passes over candidates says in
/// their place how many there are.
pub(crate) const TOLD: usize = 4;

/// Entries of all groups that are worth a look at.
const LOOKED_AT: usize = if cfg!(test) { 8 } else { 1 << 16 };

impl Lists {
    fn new(args: &AccumulatorArgs, prunes: bool) -> Result<Lists> {
        match args.return_field.data_type() {
            DataType::List(item) => match item.data_type() {
                DataType::Struct(entry) => {
                    let ends = prunes && ends_only(args.exprs);
                    let (entry, chunks, groups) = (entry.clone(), Vec::new(), Vec::new());
                    Ok(Lists { entry, chunks, groups, total: 0, ends, full: LOOKED_AT })
                }
                other => Err(DataFusionError::Internal(format!("touches are structs, not {other}"))),
            },
            other => Err(DataFusionError::Internal(format!("touches are a list, not {other}"))),
        }
    }

    /// Rows as entries, and which rows they are.
    fn entries(&self, values: &[ArrayRef], wanted: Option<&BooleanArray>) -> Result<(ArrayRef, BooleanArray)> {
        let timed = is_not_null(&values[0])?;
        let kept = wanted.map_or(Ok(timed.clone()), |wanted| and(&timed, wanted))?;
        let own = |(at, column): (usize, &ArrayRef)| {
            let column = filter(column, &kept)?;
            Ok(arrow::compute::cast(&column, self.entry[at].data_type())?)
        };
        let mut columns = values.iter().take(TOLD).enumerate().map(own).collect::<Result<Vec<_>>>()?;
        columns.push(match values.get(TOLD) {
            Some(places) if *places.data_type() == DataType::Int64 => filter(places, &kept)?,
            _ => new_null_array(&DataType::Int64, kept.true_count()),
        });
        Ok((Arc::new(StructArray::try_new(self.entry.clone(), columns, None)?), kept))
    }

    /// The lists of the first groups; the others become the first.
    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let total = self.total;
        let count = self.leaving(emit_to);
        let all = one_array(&DataType::Struct(self.entry.clone()), std::mem::take(&mut self.chunks))?;
        let mut order = vec![0u32; self.groups.len()];
        let starts = by_group(&self.groups, total, |from, to| order[to] = from as u32);
        let (offsets, kept) = distinct(all.as_struct(), &starts[..=count], order.clone(), self.ends)?;
        let values = take(&all, &UInt32Array::from(kept), None)?;
        // Text that is a small part of what it came in would keep all of that.
        let columns = values.as_struct().columns().iter().map(compact_column).collect();
        let values: ArrayRef = Arc::new(StructArray::try_new(self.entry.clone(), columns, None)?);
        let rest = &order[starts[count] as usize..];
        self.groups = rest.iter().map(|at| self.groups[*at as usize] - count as u32).collect();
        self.chunks =
            if rest.is_empty() { Vec::new() } else { vec![take(&all, &UInt32Array::from(rest.to_vec()), None)?] };
        Ok(Arc::new(ListArray::try_new(item(self.entry.clone()), OffsetBuffer::new(offsets.into()), values, None)?))
    }

    /// Lets go of entries that do not count, once there are many: what is held grows with the groups then.
    fn prune(&mut self) -> Result<()> {
        if !self.ends || self.groups.len() < self.full {
            return Ok(());
        }
        let all = one_array(&DataType::Struct(self.entry.clone()), std::mem::take(&mut self.chunks))?;
        let mut order = vec![0u32; self.groups.len()];
        let starts = by_group(&self.groups, self.total, |from, to| order[to] = from as u32);
        let (_, kept) = distinct(all.as_struct(), &starts, order, true)?;
        self.groups = kept.iter().map(|at| self.groups[*at as usize]).collect();
        let kept = take(&all, &UInt32Array::from(kept), None)?;
        let columns = kept.as_struct().columns().iter().map(compact_column).collect();
        self.chunks = vec![Arc::new(StructArray::try_new(self.entry.clone(), columns, None)?)];
        self.full = LOOKED_AT.max(2 * self.groups.len());
        Ok(())
    }
}

fn one_array(of: &DataType, chunks: Vec<ArrayRef>) -> Result<ArrayRef> {
    if chunks.is_empty() {
        return Ok(arrow::array::new_empty_array(of));
    }
    Ok(concat(&chunks.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
}

/// Sorts the entries of each group by time and id, and keeps one of each; where only the `ends` count, the earliest, the
/// latest, and the latest of the play's own.
fn distinct(entries: &StructArray, starts: &[u32], mut order: Vec<u32>, ends: bool) -> Result<(Vec<i32>, Vec<u32>)> {
    let times = entries.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let comparator = |column: usize, descending| {
        let options = SortOptions { descending, nulls_first: !descending };
        make_comparator(entries.column(column), entries.column(column), options)
    };
    // Of two entries of one impression the one that says more of it stands, whichever came first.
    let (id, row, own) = (comparator(1, false)?, comparator(2, true)?, comparator(3, true)?);
    let own_of = entries.column(3).as_boolean();
    let mut offsets = vec![0];
    let mut kept: Vec<u32> = Vec::with_capacity(order.len());
    for bounds in starts.windows(2) {
        let group = &mut order[bounds[0] as usize..bounds[1] as usize];
        group.sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            times[a].cmp(&times[b]).then_with(|| id(a, b)).then_with(|| own(a, b)).then_with(|| row(a, b))
        });
        let start = kept.len();
        for at in group {
            let at = *at as usize;
            let known = kept[start..].last().is_some_and(|last| {
                let last = *last as usize;
                times[last] == times[at] && id(last, at).is_eq()
            });
            if !known {
                kept.push(at as u32);
            }
        }
        if ends && kept.len() - start > 2 {
            let owns = |at: &usize| own_of.is_valid(*at) && own_of.value(*at);
            let latest = kept[start..].iter().rposition(|at| owns(&(*at as usize)));
            let last = kept.len() - start - 1;
            let mut place = 0..;
            let counts = |at: usize| at == 0 || at == last || Some(at) == latest;
            let mut ends = kept.split_off(start);
            ends.retain(|_| place.next().is_some_and(counts));
            kept.append(&mut ends);
        }
        offsets.push(kept.len() as i32);
    }
    Ok((offsets, kept))
}

impl GroupsAccumulator for Lists {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        wanted: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let (entries, kept) = self.entries(values, wanted)?;
        self.total = total;
        self.groups
            .extend(groups.iter().zip(&kept).filter(|(_, kept)| *kept == Some(true)).map(|(group, _)| *group as u32));
        self.chunks.push(entries);
        self.prune()
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.total = total;
        let lists = states[0].as_list::<i32>();
        let offsets = lists.value_offsets();
        for (group, bounds) in groups.iter().zip(offsets.windows(2)) {
            self.groups.extend((bounds[0]..bounds[1]).map(|_| *group as u32));
        }
        let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
        self.chunks.push(lists.values().slice(first, last - first));
        self.prune()
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], wanted: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let (entries, kept) = self.entries(values, wanted)?;
        let offsets = OffsetBuffer::from_lengths(kept.iter().map(|kept| usize::from(kept == Some(true))));
        Ok(vec![Arc::new(ListArray::try_new(item(self.entry.clone()), offsets, entries, None)?)])
    }

    fn size(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.get_array_memory_size()).sum::<usize>() + self.groups.capacity() * 4
    }
}

impl Groups for Lists {
    fn groups(&mut self) -> &mut usize {
        &mut self.total
    }
}
