//! What may state hold? Values with a merge that is associative, commutative and idempotent, so that repeats, order and
//! cuts of the input change nothing.

pub(crate) mod bottom;
pub(crate) mod hash_sets;
pub(crate) mod ids;
pub(crate) mod sketch;
pub(crate) mod texts;

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};

use crate::lattice::bottom::Bottom;
use crate::lattice::ids::IdSet;
use crate::lattice::sketch::Sketch;
use crate::lattice::texts::TextSet;

/// A merge, by the name that `merge COLUMN by NAME` uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lattice {
    /// Union of id sets.
    IdSet,
    /// Union of sketches of id sets.
    Sketch,
    /// Union of text sets.
    TextSet,
    /// The k least hashes.
    Bottom,
    /// The least value.
    Least,
    /// The greatest value.
    Greatest,
}

impl Lattice {
    /// By name; `approximate` has sketches stand in for sets.
    pub(crate) fn named(name: &str, approximate: bool) -> Result<Lattice, String> {
        match name {
            "id_set" if approximate => Ok(Lattice::Sketch),
            "id_set" => Ok(Lattice::IdSet),
            "text_set" => Ok(Lattice::TextSet),
            "bottom" => Ok(Lattice::Bottom),
            "least" => Ok(Lattice::Least),
            "greatest" => Ok(Lattice::Greatest),
            other => Err(format!("{other} is no lattice: id_set, text_set, bottom, least, greatest are")),
        }
    }

    /// The values of a column.
    pub(crate) fn values(self, column: &ArrayRef) -> Result<Vec<Value>> {
        let register = |row| Ok(Value::Register(ScalarValue::try_from_array(column, row)?));
        match self {
            Lattice::IdSet => binaries(column)?.map(|bytes| Ok(Value::Ids(IdSet::decode(bytes)?))).collect(),
            Lattice::Sketch => binaries(column)?.map(|bytes| Ok(Value::Sketch(Sketch::decode(bytes)?))).collect(),
            Lattice::TextSet => binaries(column)?.map(|bytes| Ok(Value::Texts(TextSet::decode(bytes)?))).collect(),
            Lattice::Bottom => binaries(column)?.map(|bytes| Ok(Value::Bottom(Bottom::decode(bytes)?))).collect(),
            Lattice::Least | Lattice::Greatest => (0..column.len()).map(register).collect(),
        }
    }

    /// Merges one value of a column into `value`.
    pub(crate) fn merge(self, value: &mut Value, column: &ArrayRef, row: usize) -> Result<()> {
        match (self, value) {
            (Lattice::IdSet, Value::Ids(set)) => set.merge(binary(column, row)?),
            (Lattice::Sketch, Value::Sketch(sketch)) => sketch.merge(binary(column, row)?),
            (Lattice::TextSet, Value::Texts(set)) => set.merge(binary(column, row)?),
            (Lattice::Bottom, Value::Bottom(set)) => set.merge(binary(column, row)?),
            (Lattice::Least | Lattice::Greatest, Value::Register(held)) => {
                let new = ScalarValue::try_from_array(column, row)?;
                let wanted = if self == Lattice::Least { Ordering::Less } else { Ordering::Greater };
                if held.is_null() || (!new.is_null() && new.partial_cmp(held) == Some(wanted)) {
                    *held = new;
                }
                Ok(())
            }
            _ => Err(DataFusionError::Internal("a state column holds values of another lattice".to_owned())),
        }
    }
}

/// What state holds of one key in one column.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Ids(IdSet),
    Sketch(Sketch),
    Texts(TextSet),
    Bottom(Bottom),
    Register(ScalarValue),
}

/// How much of a value a reader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The whole value, which can be merged again.
    Whole,
    /// What its readers in `next` need: what counts a set of ids, constant in size; texts and hashes themselves.
    Summary,
}

/// A column of values.
pub(crate) fn column<'a>(values: impl Iterator<Item = &'a Value>, kind: &DataType, detail: Detail) -> Result<ArrayRef> {
    let mut registers = Vec::new();
    let mut binaries = BinaryBuilder::new();
    for value in values {
        match (value, detail) {
            (Value::Ids(set), Detail::Whole) => binaries.append_value(set.encode()),
            (Value::Ids(set), Detail::Summary) => binaries.append_value((set.len() as u64).to_le_bytes()),
            (Value::Sketch(sketch), Detail::Whole) => binaries.append_value(sketch.encode()),
            (Value::Sketch(sketch), Detail::Summary) => binaries.append_value(sketch.count().to_le_bytes()),
            (Value::Texts(set), _) => binaries.append_value(set.encode()),
            (Value::Bottom(set), _) => binaries.append_value(set.encode()),
            (Value::Register(value), _) => registers.push(value.clone()),
        }
    }
    if registers.is_empty() && *kind == DataType::Binary {
        return Ok(std::sync::Arc::new(binaries.finish()));
    }
    if registers.is_empty() {
        return Ok(arrow::array::new_empty_array(kind));
    }
    ScalarValue::iter_to_array(registers)
}

fn binaries(column: &ArrayRef) -> Result<impl Iterator<Item = &[u8]>> {
    let column = column.as_binary_opt::<i32>().ok_or_else(|| not_binary(column.data_type()))?;
    Ok((0..column.len()).map(|row| column.value(row)))
}

fn binary(column: &ArrayRef, row: usize) -> Result<&[u8]> {
    Ok(column.as_binary_opt::<i32>().ok_or_else(|| not_binary(column.data_type()))?.value(row))
}

fn not_binary(kind: &DataType) -> DataFusionError {
    DataFusionError::Plan(format!("a set column is binary, not {kind}"))
}

/// Counts a column value or a summary of either kind of set.
pub(crate) fn count(bytes: &[u8]) -> Result<u64> {
    match bytes.len() {
        8 => ids::count(bytes),
        _ if Sketch::is_sketch(bytes) => Ok(Sketch::decode(bytes)?.count()),
        _ => ids::count(bytes),
    }
}
