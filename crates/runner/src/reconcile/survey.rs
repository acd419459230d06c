//! A walk over the rows of an hour, of both sides and of what f makes of other input, that counts what agrees.

use anyhow::Result;
use arrow::row::{OwnedRow, Row};

use crate::reconcile::columns::Columns;
use crate::reconcile::merge::named;
use crate::reconcile::rows::Cursor;

/// How the rows that f makes of other input compare with a stream's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// Keys that differ between the sides, and are as the stream has them.
    pub explained: u64,
    /// Keys that are the same on both sides, and are not so here: the stream cannot have read such input.
    pub contradicted: u64,
    /// The first of these, each as the names and values of its columns.
    pub keys: Vec<Vec<(String, String)>>,
}

impl Agreement {
    /// Whether it contradicts nothing where the other does, or explains more.
    pub(crate) fn is_better_than(&self, other: &Agreement) -> bool {
        let rank = |of: &Agreement| (of.contradicted == 0, of.explained);
        rank(self) > rank(other)
    }
}

/// So many contradicted keys are named.
const NAMED: usize = 10_000;

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Keys that differ between the sides.
    pub differing: u64,
    /// Those of them that none of the others explains.
    pub unexplained: u64,
    /// How each of the others compares.
    pub others: Vec<Agreement>,
}

/// What a side has under a key: nothing, or its values.
pub(crate) fn at<'a>(cursor: &'a Option<Cursor>, key: Row<'_>) -> Option<Option<Row<'a>>> {
    let cursor = cursor.as_ref().filter(|cursor| cursor.key() == Some(key))?;
    Some(cursor.values())
}

/// Walks all rows. A key that a side has several times is none that can be explained.
///
/// # Errors
/// Files that cannot be read.
pub(crate) async fn survey(
    batch: &mut Option<Cursor>,
    stream: &mut Option<Cursor>,
    others: &mut [Option<Cursor>],
    columns: &Columns,
) -> Result<Survey> {
    let mut found = Survey { others: vec![Agreement::default(); others.len()], ..Survey::default() };
    while let Some(key) = least(batch, stream, others) {
        let repeated = repeats(batch, &key)? || repeats(stream, &key)?;
        let there = at(stream, key.row());
        let agree = at(batch, key.row()) == there;
        let explained = others.iter().any(|other| at(other, key.row()) == there);
        found.differing += u64::from(!agree);
        found.unexplained += u64::from(!agree && !repeated && !explained);
        for (found, other) in found.others.iter_mut().zip(others.iter()) {
            let same = at(other, key.row()) == there;
            found.explained += u64::from(!agree && !repeated && same);
            if agree && !repeated && !same {
                found.contradicted += 1;
                let said =
                    [batch.as_ref(), other.as_ref()].into_iter().flatten().find(|at| at.key() == Some(key.row()));
                if let Some((page, at)) = said.and_then(Cursor::row).filter(|_| found.keys.len() < NAMED) {
                    found.keys.push(named(&columns.key, &page.batch, 0, at)?);
                }
            }
        }
        for cursor in [&mut *batch, &mut *stream].into_iter().chain(others.iter_mut()).flatten() {
            cursor.pass(&key).await?;
        }
    }
    Ok(found)
}

/// The least key that any of them is at.
fn least(batch: &Option<Cursor>, stream: &Option<Cursor>, others: &[Option<Cursor>]) -> Option<OwnedRow> {
    let all = [batch, stream].into_iter().chain(others);
    Some(all.filter_map(|cursor| cursor.as_ref()?.key()).min()?.owned())
}

fn repeats(side: &Option<Cursor>, key: &OwnedRow) -> Result<bool> {
    match side.as_ref().filter(|side| side.key() == Some(key.row())) {
        Some(side) => side.repeats(),
        None => Ok(false),
    }
}
