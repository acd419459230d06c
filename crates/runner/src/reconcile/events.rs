//! The events behind a difference: those of the evidence that say what the key of the row says.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use serde::{Deserialize, Serialize};

use crate::reconcile::evidence::Evidence;
use crate::reconcile::report::Cause;

/// So many are named of a difference.
const NAMED: usize = 100;

/// An event that one side did not take.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Event {
    /// The input.
    pub input: String,
    /// Where it came from; none where its input does not say.
    pub topic: Option<String>,
    /// The same.
    pub partition: Option<i64>,
    /// The same.
    pub offset: Option<i64>,
    /// Its id.
    pub event_id: Option<String>,
    /// When it happened, as its column says it.
    pub ts: Option<String>,
}

/// The rows of a batch by what some columns say.
type ByValues = BTreeMap<Vec<String>, Vec<usize>>;

/// The rows of evidence of an hour, to be looked up by what keys say.
pub(crate) struct Events {
    rows: Vec<(Cause, String, Option<String>, RecordBatch)>,
    id: String,
    /// By batch and the columns looked for.
    found: BTreeMap<(usize, Vec<String>), ByValues>,
}

impl Events {
    pub(crate) fn of(evidence: &[Evidence], id: &str, time: impl Fn(&str) -> Option<String>) -> Events {
        let mut rows = Vec::new();
        for Evidence { cause, inputs, .. } in evidence {
            for (input, of) in inputs {
                rows.extend(of.rows.iter().map(|rows| (*cause, input.clone(), time(input), rows.clone())));
            }
        }
        Events { rows, id: id.to_owned(), found: BTreeMap::new() }
    }

    /// The events of these causes that say what a key says, at most some of them, and how many they are. A key that says
    /// nothing that an input has a column for leaves all its events in.
    ///
    /// # Errors
    /// Values that cannot be shown.
    pub(crate) fn behind(&mut self, causes: &[Cause], key: &[(String, String)]) -> Result<(Vec<Event>, u64)> {
        let (mut named, mut count) = (Vec::new(), 0);
        for at in 0..self.rows.len() {
            if causes.contains(&self.rows[at].0) {
                let rows = match self.look_up(at, key)? {
                    Some(rows) => rows,
                    None => (0..self.rows[at].3.num_rows()).collect(),
                };
                count += rows.len() as u64;
                for row in rows.into_iter().take(NAMED - named.len()) {
                    named.push(self.event(at, row)?);
                }
            }
        }
        Ok((named, count))
    }

    /// The rows of a cause that say what a key says: the number of their batch among all, and theirs in it.
    ///
    /// # Errors
    /// Values that cannot be shown.
    pub(crate) fn rows_of(&mut self, cause: Cause, key: &[(String, String)]) -> Result<Vec<(usize, usize)>> {
        let mut found = Vec::new();
        for at in (0..self.rows.len()).filter(|at| self.rows[*at].0 == cause).collect::<Vec<_>>() {
            found.extend(self.look_up(at, key)?.into_iter().flatten().map(|row| (at, row)));
        }
        Ok(found)
    }

    /// The rows of a batch that say what a key says; none where no column of it does.
    fn look_up(&mut self, at: usize, key: &[(String, String)]) -> Result<Option<Vec<usize>>> {
        let (_, input, _, rows) = &self.rows[at];
        let said = key.iter().filter_map(|(name, value)| Some((column(input, name, rows)?, value.clone())));
        let (columns, values): (Vec<String>, Vec<String>) = said.unzip();
        if columns.is_empty() {
            return Ok(None);
        }
        let found = match self.found.entry((at, columns)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let mut found = ByValues::new();
                for row in 0..rows.num_rows() {
                    let says = |column: &String| Ok(text(rows, column, row)?.unwrap_or_else(|| "null".to_owned()));
                    let says = new.key().1.iter().map(says).collect::<Result<Vec<_>>>()?;
                    found.entry(says).or_default().push(row);
                }
                new.insert(found)
            }
        };
        Ok(Some(found.get(&values).cloned().unwrap_or_default()))
    }

    fn event(&self, at: usize, row: usize) -> Result<Event> {
        let (_, input, time, rows) = &self.rows[at];
        let number = |column: &str| Ok::<_, anyhow::Error>(text(rows, column, row)?.and_then(|text| text.parse().ok()));
        Ok(Event {
            input: input.clone(),
            topic: text(rows, "_topic", row)?,
            partition: number("_partition")?,
            offset: number("_offset")?,
            event_id: text(rows, &self.id, row)?,
            ts: time.as_ref().map(|time| text(rows, time, row)).transpose()?.flatten(),
        })
    }
}

/// The column of an input that a column of the output is made of: `video_id` of any, `play_event_id` of `plays`.
fn column(input: &str, name: &str, rows: &RecordBatch) -> Option<String> {
    let schema = rows.schema();
    let has = |name: &str| schema.field_with_name(name).is_ok();
    let of_input = [input, input.strip_suffix('s').unwrap_or(input)];
    let stripped = of_input.iter().find_map(|prefix| name.strip_prefix(prefix)?.strip_prefix('_'));
    [stripped, Some(name)].into_iter().flatten().find(|name| has(name)).map(str::to_owned)
}

fn text(rows: &RecordBatch, column: &str, row: usize) -> Result<Option<String>> {
    match rows.column_by_name(column) {
        Some(values) if !values.is_null(row) => Ok(Some(array_value_to_string(values, row)?)),
        _ => Ok(None),
    }
}
