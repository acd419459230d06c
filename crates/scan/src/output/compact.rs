//! From changed rows to the rows that stand: one a key, sorted by key.

use arrow::array::{Array, AsArray, RecordBatch, make_array};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::Result;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::output::order::{Order, encode};
use crate::script::bind::Output;

/// Rows of a piece of compacted output. Files are written piece by piece, so that their bytes do not depend on how rows
/// came.
pub(crate) const PIECE_ROWS: usize = 1 << 16;

/// Columns of an output that say how rows stand, and are not shown.
const HIDDEN: [&str; 5] = ["retracted", "_version", "_merged_hour", "_merged_region", "_time"];

impl Output {
    /// The columns that readers see.
    pub fn visible(&self) -> SchemaRef {
        let fields = self.schema.fields().iter().filter(|field| !HIDDEN.contains(&field.name().as_str()));
        Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
    }

    /// The rows that stand of all that were put out for some keys: one a key, in the order of keys, visible columns
    /// only, in pieces of a fixed size, each made as it is taken. Idempotent, and the same for any order and cut of
    /// `rows`.
    ///
    /// # Errors
    /// Rows of another schema.
    pub fn compact(&self, rows: &[RecordBatch]) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let places: Vec<(usize, usize)> = rows
            .iter()
            .enumerate()
            .flat_map(|(batch, rows)| (0..rows.num_rows()).map(move |row| (batch, row)))
            .collect();
        let standing = self.standing(rows, &places)?;
        let visible = self.visible();
        let visible = visible.fields().iter().map(|field| self.schema.index_of(field.name()));
        let visible: Vec<usize> = visible.collect::<Result<_, _>>()?;
        let rows: Vec<RecordBatch> = rows.iter().map(|rows| rows.project(&visible)).collect::<Result<_, _>>()?;
        Ok((0..standing.len()).step_by(PIECE_ROWS).map(move |from| {
            let piece = &standing[from..standing.len().min(from + PIECE_ROWS)];
            plain(&interleave_record_batch(&rows.iter().collect::<Vec<_>>(), piece)?)
        }))
    }

    fn standing(&self, rows: &[RecordBatch], places: &[(usize, usize)]) -> Result<Vec<(usize, usize)>> {
        let retracted = |rows: &RecordBatch| rows.column_by_name("retracted").map(|column| column.as_boolean().clone());
        let retracted: Vec<_> = rows.iter().map(|rows| retracted(rows).filter(|_| self.retracts)).collect();
        let taken = |place: (usize, usize)| {
            retracted[place.0].as_ref().is_some_and(|column| column.is_valid(place.1) && column.value(place.1))
        };
        let order = self.greatest_of_groups(rows, Order::by(&self.key, rows)?)?;
        if self.agrees {
            self.agree(rows, places, &order)?;
        }
        let mut standing = Vec::with_capacity(order.rows.len());
        // Where in `standing` the strongest of several rows is to go, and those rows.
        let mut contested: Vec<(usize, Vec<(usize, usize)>)> = Vec::new();
        for group in order.groups(self.key.len()) {
            let mut members = group.iter().map(|row| places[*row as usize]);
            if members.clone().any(taken) {
                continue;
            }
            if group.len() > 1 {
                contested.push((standing.len(), members.clone().collect()));
            }
            standing.extend(members.next());
        }
        for (index, place) in self.strongest(rows, &contested)? {
            standing[index] = place;
        }
        Ok(standing)
    }

    /// Of rows in the order of keys those that are the greatest of their group.
    fn greatest_of_groups(&self, rows: &[RecordBatch], order: Order) -> Result<Order> {
        if self.group == self.key.len() || self.greatest.is_empty() {
            return Ok(order);
        }
        let rank = encode(rows, &self.greatest)?;
        let rank = |row: &u32| rank.row(*row as usize);
        let mut kept = Order { rows: Vec::with_capacity(order.rows.len()), differs: Vec::new() };
        let mut at = 0;
        for members in order.groups(self.group) {
            let greatest = members.iter().map(rank).max();
            // What a row differs in from the last that was kept: the least of what it and those between differ in.
            let mut differs = self.key.len();
            for (row, apart) in members.iter().zip(&order.differs[at..]) {
                differs = differs.min(*apart);
                if Some(rank(row)) == greatest {
                    kept.rows.push(*row);
                    kept.differs.push(std::mem::replace(&mut differs, self.key.len()));
                }
            }
            at += members.len();
        }
        Ok(kept)
    }

    /// The row of each key that stands: the greater in the columns that say so, then the lesser in all.
    fn strongest(
        &self,
        rows: &[RecordBatch],
        groups: &[(usize, Vec<(usize, usize)>)],
    ) -> Result<Vec<(usize, (usize, usize))>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<(usize, usize)> = groups.iter().flat_map(|(_, group)| group.iter().copied()).collect();
        let some = [interleave_record_batch(&rows.iter().collect::<Vec<_>>(), &places)?];
        let columns: Vec<String> = self.schema.fields().iter().map(|field| field.name().clone()).collect();
        let content = encode(&some, &columns)?;
        let rank = if self.greatest.is_empty() { None } else { Some(encode(&some, &self.greatest)?) };
        let weaker = |a: &usize, b: &usize| {
            let greater = rank.as_ref().map_or(Ordering::Equal, |rank| rank.row(*a).cmp(&rank.row(*b)));
            greater.then_with(|| content.row(*b).cmp(&content.row(*a)))
        };
        let mut from = 0;
        let strongest = groups.iter().filter_map(|(index, group)| {
            let members = from..from + group.len();
            from = members.end;
            Some((*index, places[members.max_by(weaker)?]))
        });
        Ok(strongest.collect())
    }
}

/// Without the validity of columns that have no nulls: a file would tell that a row which does not stand had one.
fn plain(rows: &RecordBatch) -> Result<RecordBatch> {
    let columns = rows.columns().iter().map(|column| {
        if column.nulls().is_none() || column.null_count() > 0 {
            return Ok(column.clone());
        }
        Ok(make_array(column.to_data().into_builder().nulls(None).build()?))
    });
    Ok(RecordBatch::try_new(rows.schema(), columns.collect::<Result<_>>()?)?)
}
