//! The id set: the lattice that counts. Its merge is union, so it does not mind repeats, order or regions.
//!
//! As a column value it is binary: the number of ids as `u64`, then the ids, each a `u128`, ascending, little-endian.
//! A value of eight bytes that names a number and no ids is a *summary*: it can be counted, and not merged.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, UInt64Type};
use datafusion::error::{DataFusionError, Result};
use hashbrown::HashSet;
use twox_hash::XxHash3_128;

/// Up to this many ids stay a sorted list, which is smaller and as fast as a hash set.
const LIST_MAX: usize = 16;

/// A set of ids, each the XXH3-128 of the id as given: two ids share one with a chance of 2^-128 a pair.
#[derive(Clone, Debug)]
pub(crate) enum IdSet {
    List(Vec<u128>),
    Hash(HashSet<u128>),
}

impl IdSet {
    /// From a column value; refuses a summary.
    pub(crate) fn decode(bytes: &[u8]) -> Result<IdSet> {
        let mut set = IdSet::List(Vec::new());
        for id in ids(bytes)? {
            set.insert(id);
        }
        Ok(set)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            IdSet::List(list) => list.len(),
            IdSet::Hash(hash) => hash.len(),
        }
    }

    /// Union with a column value.
    pub(crate) fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        for id in ids(bytes)? {
            self.insert(id);
        }
        Ok(())
    }

    fn insert(&mut self, id: u128) {
        match self {
            IdSet::Hash(hash) => {
                hash.insert(id);
            }
            IdSet::List(list) => {
                let Err(at) = list.binary_search(&id) else { return };
                if list.len() < LIST_MAX {
                    list.insert(at, id);
                } else {
                    let mut hash: HashSet<u128> = list.drain(..).collect();
                    hash.insert(id);
                    *self = IdSet::Hash(hash);
                }
            }
        }
    }

    /// The column value.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            IdSet::List(list) => encode(list),
            IdSet::Hash(hash) => {
                let mut list: Vec<u128> = hash.iter().copied().collect();
                list.sort_unstable();
                encode(&list)
            }
        }
    }
}

/// A column value of ascending, distinct ids.
pub(crate) fn encode(ids: &[u128]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + 16 * ids.len());
    append(ids, &mut bytes);
    bytes
}

/// Appends a column value of ascending, distinct ids.
pub(crate) fn append(ids: &[u128], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(ids.len() as u64).to_le_bytes());
    ids.iter().for_each(|id| bytes.extend_from_slice(&id.to_le_bytes()));
}

/// The number of ids in a column value or a summary.
pub(crate) fn count(bytes: &[u8]) -> Result<u64> {
    let head = bytes.first_chunk::<8>().ok_or_else(|| broken(bytes.len()))?;
    Ok(u64::from_le_bytes(*head))
}

/// The ids of a column value.
pub(crate) fn ids(bytes: &[u8]) -> Result<impl Iterator<Item = u128> + '_> {
    let count = count(bytes)? as usize;
    let (ids, rest) = bytes[8..].as_chunks::<16>();
    if ids.len() != count || !rest.is_empty() {
        return Err(broken(bytes.len()));
    }
    Ok(ids.iter().map(|id| u128::from_le_bytes(*id)))
}

fn broken(len: usize) -> DataFusionError {
    DataFusionError::Execution(format!("{len} bytes are no id set: only id_set(...) makes one"))
}

/// The id that a number stands for.
pub(crate) fn of_number(number: u64) -> u128 {
    XxHash3_128::oneshot(&number.to_le_bytes())
}

/// Ids of a column, `None` where it is null. Text and integers may be ids.
pub(crate) fn hash_column(column: &ArrayRef, mut each: impl FnMut(usize, u128)) -> Result<()> {
    fn all<T: AsRef<[u8]>>(values: impl Iterator<Item = Option<T>>, mut each: impl FnMut(usize, u128)) {
        for (row, value) in values.enumerate() {
            if let Some(value) = value {
                each(row, XxHash3_128::oneshot(value.as_ref()));
            }
        }
    }
    match column.data_type() {
        DataType::Utf8View => all(column.as_string_view().iter(), &mut each),
        DataType::Utf8 => all(column.as_string::<i32>().iter(), &mut each),
        DataType::LargeUtf8 => all(column.as_string::<i64>().iter(), &mut each),
        DataType::Int64 => all(column.as_primitive::<Int64Type>().iter().map(|v| v.map(i64::to_le_bytes)), &mut each),
        DataType::UInt64 => all(column.as_primitive::<UInt64Type>().iter().map(|v| v.map(u64::to_le_bytes)), &mut each),
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>().iter();
            all(values.map(|v| v.map(|v| i64::from(v).to_le_bytes())), &mut each);
        }
        DataType::Null => {}
        other => return Err(DataFusionError::Plan(format!("ids are text or integers, not {other}: cast them"))),
    }
    Ok(())
}
