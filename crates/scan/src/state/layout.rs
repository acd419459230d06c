//! What a table of state is: its columns and what they are for; and by which hashes its rows are found.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::datatypes::SchemaRef;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::Result;

use crate::lattice::Lattice;

/// Columns by which joins look rows up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LookedUp {
    pub columns: Vec<usize>,
    /// Whether a join asks for partners within a span of event time.
    pub by_time: bool,
    /// The columns that make a row a probing row's own, where the latest of those is asked for.
    pub own: Option<Vec<usize>>,
}

/// What a script declares of a table of state.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub schema: SchemaRef,
    pub key: Vec<usize>,
    /// Event time: a column of the key, so that a key's rows are all in one bucket.
    pub time: usize,
    /// Microseconds after its time in which a row can still meet one that is not late.
    pub keep: i64,
    pub lattices: Vec<(usize, Lattice)>,
    /// The boolean column that takes a row back.
    pub retracted: Option<usize>,
    pub lookups: Vec<LookedUp>,
}

/// What merging rows into a table did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Rows whose key was not there.
    pub new: u64,
    /// Rows whose key was there already.
    pub known: u64,
    /// Rows that stood and were retracted.
    pub retracted: u64,
}

/// Hashes of rows over some columns; with `nulls_differ` a null has none. State and whoever looks into it share this.
pub(crate) fn hash_rows(columns: &[ArrayRef], nulls_differ: bool) -> Result<Vec<Option<u64>>> {
    let (hashes, whole) = hash_whole(columns)?;
    let has = |row| !nulls_differ || whole.as_ref().is_none_or(|whole| whole.is_valid(row));
    Ok(hashes.into_iter().enumerate().map(|(row, hash)| has(row).then_some(hash)).collect())
}

/// The hashes of [`hash_rows`], and which rows have no null in any of the columns; `None` where no row has.
pub(crate) fn hash_whole(columns: &[ArrayRef]) -> Result<(Vec<u64>, Option<NullBuffer>)> {
    let mut hashes = vec![0; columns.first().map_or(0, |column| column.len())];
    create_hashes(columns, &RandomState::with_seed(0x7265_7363_616e), &mut hashes)?;
    let nulls = columns.iter().map(|column| column.logical_nulls());
    let whole = nulls.fold(None, |all, nulls| NullBuffer::union(all.as_ref(), nulls.as_ref()));
    Ok((hashes, whole.filter(|whole| whole.null_count() > 0)))
}
