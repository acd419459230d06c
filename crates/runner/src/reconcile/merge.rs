//! Walks two sides of a partition in key order, side by side, and tells every row on which they differ.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use anyhow::Result;
use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, make_comparator};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use arrow::row::OwnedRow;
use arrow::util::display::array_value_to_string;
use connector::Hour;
use tempfile::TempDir;

use crate::reconcile::columns::{Column, Columns};
use crate::reconcile::events::{Event, Events};
use crate::reconcile::report::{Cause, Difference, Summary};
use crate::reconcile::rows::{Cursor, Page};
use crate::reconcile::survey::at;

/// The whole of something: a row, a partition.
const WHOLE: &str = "*";

/// What explains the rows of a partition.
pub(crate) struct Proof {
    /// What f makes of the batch's own input; none where that is not what it was.
    pub baseline: Option<Option<Cursor>>,
    /// What it makes with some causes, the fewest first.
    pub others: Vec<(Vec<Cause>, Option<Cursor>)>,
    pub events: Events,
    /// Holds the files of these rows.
    #[expect(dead_code, reason = "deleted with this")]
    pub scratch: TempDir,
}

/// Why a row differs.
#[derive(Clone, Default)]
struct Why {
    causes: Vec<Cause>,
    events: Vec<Event>,
    event_count: u64,
}

impl Proof {
    /// The fewest causes with which f makes the stream's row of a key, which the batch has as `batch`.
    async fn causes(&mut self, key: &OwnedRow, batch: &Option<Cursor>, stream: &Option<Cursor>) -> Result<Vec<Cause>> {
        let cursors = self.baseline.iter_mut().chain(self.others.iter_mut().map(|(_, cursor)| cursor));
        for cursor in cursors.flatten() {
            while cursor.key().is_some_and(|at| at < key.row()) {
                cursor.advance().await?;
            }
        }
        if self.baseline.as_ref().is_some_and(|made| at(made, key.row()) != at(batch, key.row())) {
            return Ok(Vec::new());
        }
        let there = at(stream, key.row());
        let found = self.others.iter().find(|(_, made)| at(made, key.row()) == there);
        Ok(found.map(|(causes, _)| causes.clone()).unwrap_or_default())
    }
}

/// One partition being compared.
pub(crate) struct Merge<'a> {
    pub hour: Hour,
    pub columns: &'a Columns,
    pub tolerance: &'a BTreeMap<String, f64>,
    /// One side may still change.
    pub pending: bool,
    /// What f makes of other input, where the hour can be explained.
    pub proof: Option<Proof>,
    pub summary: &'a mut Summary,
    pub on_difference: &'a mut dyn FnMut(Difference) -> Result<()>,
}

impl Merge<'_> {
    /// Tells the columns that only one side has.
    pub(crate) fn columns_apart(&mut self) -> Result<()> {
        let key: Vec<_> = self.columns.key.iter().map(|c| (c.name.clone(), WHOLE.to_string())).collect();
        for (name, batch, stream) in &self.columns.apart {
            let text = |kind: &Option<DataType>| kind.as_ref().map(DataType::to_string);
            self.tell(key.clone(), name, text(batch), text(stream), None, &Why::default())?;
        }
        Ok(())
    }

    /// Compares all rows.
    pub(crate) async fn rows(&mut self, batch: &mut Option<Cursor>, stream: &mut Option<Cursor>) -> Result<()> {
        while let Some(order) = order(batch, stream) {
            let (in_batch, in_stream) = (order.is_le(), order.is_ge());
            if in_batch && repeats(batch)? || in_stream && repeats(stream)? {
                self.repeated(batch, stream, order).await?;
                continue;
            }
            let why =
                if differs(batch, stream, order) { self.why(batch, stream, order).await? } else { Why::default() };
            self.once(batch, stream, order, &why)?;
            if in_batch {
                self.summary.rows_batch += 1;
                advance(batch).await?;
            }
            if in_stream {
                self.summary.rows_stream += 1;
                advance(stream).await?;
            }
        }
        Ok(())
    }

    /// A key that each side has at most once.
    fn once(&mut self, batch: &Option<Cursor>, stream: &Option<Cursor>, order: Ordering, why: &Why) -> Result<()> {
        match (order, batch, stream) {
            (Ordering::Equal, Some(batch), Some(stream)) => self.pair(batch, stream, why),
            (Ordering::Less, Some(batch), _) => {
                let Some((page, at)) = batch.row() else { return Ok(()) };
                self.tell(self.key(page, at)?, WHOLE, Some(self.row(page, at)?), None, None, why)
            }
            (_, _, Some(stream)) => {
                let Some((page, at)) = stream.row() else { return Ok(()) };
                self.tell(self.key(page, at)?, WHOLE, None, Some(self.row(page, at)?), None, why)
            }
            _ => Ok(()),
        }
    }

    /// A row that is on both sides: nothing is allocated unless it differs.
    fn pair(&mut self, batch: &Cursor, stream: &Cursor, why: &Why) -> Result<()> {
        let mut equal = true;
        if batch.values() != stream.values()
            && let (Some((b, i)), Some((s, j))) = (batch.row(), stream.row())
        {
            for (at, column) in self.columns.values.iter().enumerate() {
                let (left, right) = (self.value(b, at), self.value(s, at));
                if !same((left, i), (right, j))? {
                    equal = false;
                    let within = self.tolerance.get(&column.name).map(|x| within(*x, (left, i), (right, j)));
                    let near = (within.transpose()? == Some(true)).then_some(Cause::Tolerance);
                    self.tell(self.key(b, i)?, &column.name, text(left, i)?, text(right, j)?, near, why)?;
                }
            }
        }
        self.summary.rows_equal += u64::from(equal);
        Ok(())
    }

    /// A key that one side has several times. Which of its rows belong together nobody can say: they are counted.
    async fn repeated(
        &mut self,
        batch: &mut Option<Cursor>,
        stream: &mut Option<Cursor>,
        order: Ordering,
    ) -> Result<()> {
        let first = if order.is_le() { batch.as_ref() } else { stream.as_ref() };
        let Some((owned, (page, at))) = first.and_then(|c| Some((c.key()?.owned(), c.row()?))) else { return Ok(()) };
        let key = self.key(page, at)?;
        let mut counts = [0, 0];
        for (count, side) in counts.iter_mut().zip([batch, stream]) {
            if let Some(side) = side {
                *count = side.pass(&owned).await?;
            }
        }
        let [b, s] = counts;
        self.summary.rows_batch += b;
        self.summary.rows_stream += s;
        let text = |n: u64| (n > 0).then(|| if n == 1 { "1 row".to_string() } else { format!("{n} rows") });
        self.tell(key, WHOLE, text(b), text(s), None, &Why::default())
    }

    fn value<'p>(&self, page: &'p Page, column: usize) -> &'p ArrayRef {
        page.batch.column(self.columns.key.len() + column)
    }

    fn key(&self, page: &Page, at: usize) -> Result<Vec<(String, String)>> {
        named(&self.columns.key, &page.batch, 0, at)
    }

    fn row(&self, page: &Page, at: usize) -> Result<String> {
        let values = named(&self.columns.values, &page.batch, self.columns.key.len(), at)?;
        Ok(values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", "))
    }

    /// Why a key differs, as far as f proves it; what may still change needs no proof.
    async fn why(&mut self, batch: &Option<Cursor>, stream: &Option<Cursor>, order: Ordering) -> Result<Why> {
        let first = if order.is_le() { batch } else { stream };
        let Some(proof) = self.proof.as_mut().filter(|_| !self.pending) else { return Ok(Why::default()) };
        let Some((owned, (page, at))) = first.as_ref().and_then(|c| Some((c.key()?.owned(), c.row()?))) else {
            return Ok(Why::default());
        };
        let causes = proof.causes(&owned, batch, stream).await?;
        let key = named(&self.columns.key, &page.batch, 0, at)?;
        let (events, event_count) = proof.events.behind(&causes, &key)?;
        Ok(Why { causes, events, event_count })
    }

    /// `known` is a cause that needs no other.
    fn tell(
        &mut self,
        key: Vec<(String, String)>,
        column: &str,
        batch: Option<String>,
        stream: Option<String>,
        known: Option<Cause>,
        why: &Why,
    ) -> Result<()> {
        let none = if self.pending { Cause::Pending } else { Cause::Unexplained };
        let (cause, why) = match (known, why.causes.as_slice()) {
            (Some(cause), _) => (cause, Why { causes: vec![cause], ..Why::default() }),
            (None, []) if self.pending => (none, Why { causes: vec![none], ..Why::default() }),
            (None, []) => (none, Why::default()),
            (None, [one]) => (*one, why.clone()),
            (None, _) => (Cause::Several, why.clone()),
        };
        *self.summary.differences.entry(cause).or_default() += 1;
        *self.summary.hours.entry(self.hour).or_default().entry(cause).or_default() += 1;
        let (hour, column, proven) = (self.hour, column.to_string(), cause != Cause::Unexplained);
        let Why { causes, events, event_count } = why;
        (self.on_difference)(Difference {
            hour,
            key,
            column,
            batch,
            stream,
            cause,
            causes,
            events,
            event_count,
            proven,
        })
    }
}

/// Whether the sides do not have the same bytes under the key that they are at.
fn differs(batch: &Option<Cursor>, stream: &Option<Cursor>, order: Ordering) -> bool {
    order.is_ne() || batch.as_ref().and_then(Cursor::values) != stream.as_ref().and_then(Cursor::values)
}

/// Which side has the smaller key; none at the end of both.
fn order(batch: &Option<Cursor>, stream: &Option<Cursor>) -> Option<Ordering> {
    match (batch.as_ref().and_then(Cursor::key), stream.as_ref().and_then(Cursor::key)) {
        (None, None) => None,
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (Some(b), Some(s)) => Some(b.cmp(&s)),
    }
}

fn repeats(side: &Option<Cursor>) -> Result<bool> {
    side.as_ref().map_or(Ok(false), Cursor::repeats)
}

async fn advance(side: &mut Option<Cursor>) -> Result<()> {
    match side {
        Some(side) => side.advance().await,
        None => Ok(()),
    }
}

/// The names of columns and the values of a row, its columns beginning at `start`.
pub(crate) fn named(columns: &[Column], batch: &RecordBatch, start: usize, at: usize) -> Result<Vec<(String, String)>> {
    let cell = |(i, column): (usize, &Column)| {
        let value = text(batch.column(start + i), at)?.unwrap_or_else(|| "null".to_string());
        Ok((column.name.clone(), value))
    };
    columns.iter().enumerate().map(cell).collect()
}

fn text(array: &ArrayRef, at: usize) -> Result<Option<String>> {
    if array.is_null(at) { Ok(None) } else { Ok(Some(array_value_to_string(array, at)?)) }
}

/// A value in an array.
type Cell<'a> = (&'a ArrayRef, usize);

/// Equal bit for bit, but for NaN, which is one value however it is written.
fn same((left, i): Cell<'_>, (right, j): Cell<'_>) -> Result<bool> {
    let nan = match left.data_type() {
        _ if left.is_null(i) || right.is_null(j) => false,
        DataType::Float64 => {
            left.as_primitive::<Float64Type>().value(i).is_nan()
                && right.as_primitive::<Float64Type>().value(j).is_nan()
        }
        DataType::Float32 => {
            left.as_primitive::<Float32Type>().value(i).is_nan()
                && right.as_primitive::<Float32Type>().value(j).is_nan()
        }
        _ => false,
    };
    Ok(nan || make_comparator(left, right, SortOptions::default())?(i, j).is_eq())
}

/// Whether two numbers are at most this far apart. 64-bit integers are subtracted as such: as floats, large neighbours
/// would be the same number.
fn within(tolerance: f64, (left, i): Cell<'_>, (right, j): Cell<'_>) -> Result<bool> {
    if left.is_null(i) || right.is_null(j) || !left.data_type().is_numeric() {
        return Ok(false);
    }
    if *left.data_type() == DataType::Int64 {
        let [a, b] = [(left, i), (right, j)].map(|(array, at)| i128::from(array.as_primitive::<Int64Type>().value(at)));
        return Ok((a - b).abs() as f64 <= tolerance);
    }
    let number = |(array, at): Cell<'_>| {
        Ok::<_, anyhow::Error>(cast(&array.slice(at, 1), &DataType::Float64)?.as_primitive::<Float64Type>().value(0))
    };
    Ok((number((left, i))? - number((right, j))?).abs() <= tolerance)
}
