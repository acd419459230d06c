//! Which columns of two partitions are compared, and in which type.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use arrow::datatypes::{DataType, Schema};
use connector::{SourceError, widened};

/// A column that both sides have, in the type that holds the values of both.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub name: String,
    pub kind: DataType,
}

/// What two partitions have in common.
#[derive(Debug, PartialEq)]
pub(crate) struct Columns {
    /// In the order of the key.
    pub key: Vec<Column>,
    /// The others, but for those that say where a row came from (`_offset`).
    pub values: Vec<Column>,
    /// What they have not: the name, and the type on each side.
    pub apart: Vec<(String, Option<DataType>, Option<DataType>)>,
}

impl Columns {
    /// Compares two schemas; a partition without files has none, and no columns apart from the other's either.
    pub(crate) fn of(batch: Option<&Schema>, stream: Option<&Schema>, key: &[String]) -> Result<Self> {
        let mut columns = Self { key: Vec::new(), values: Vec::new(), apart: Vec::new() };
        for name in names(batch, stream) {
            let kinds = [kind(batch, &name), kind(stream, &name)];
            let is_key = key.contains(&name);
            if name.starts_with('_') && !is_key {
                continue;
            }
            let common = match &kinds {
                [Some(a), Some(b)] => widened(a, b),
                [Some(a), None] if stream.is_none() => Some(a.clone()),
                [None, Some(b)] if batch.is_none() => Some(b.clone()),
                _ => None,
            };
            match (common, is_key, kinds) {
                (Some(kind), true, _) => columns.key.push(Column { name, kind }),
                (Some(kind), false, _) => columns.values.push(Column { name, kind }),
                (None, true, [a, b]) => bail!(no_key(&name, a, b)),
                (None, false, [a, b]) => columns.apart.push((name, a, b)),
            }
        }
        if let Some(lost) = key.iter().find(|k| !columns.key.iter().any(|c| c.name == **k)) {
            bail!(no_key(lost, None, None));
        }
        columns.key.sort_by_key(|c| key.iter().position(|k| *k == c.name));
        Ok(columns)
    }

    /// Refuses tolerances that would never be looked at.
    pub(crate) fn allow(&self, tolerance: &BTreeMap<String, f64>) -> Result<()> {
        let numeric = |name: &String| self.values.iter().any(|c| c.name == *name && c.kind.is_numeric());
        let apart = |name: &String| self.apart.iter().any(|(n, ..)| n == name);
        match tolerance.keys().find(|name| !numeric(name) && !apart(name)) {
            Some(name) if !self.key.is_empty() => {
                bail!(SourceError::Usage(format!(
                    "tolerance of {name}: both outputs need a numeric column of that name"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// The columns of the first, then those that only the second has.
fn names(first: Option<&Schema>, second: Option<&Schema>) -> Vec<String> {
    let of = |schema: Option<&Schema>| {
        schema.map_or_else(Vec::new, |s| s.fields().iter().map(|f| f.name().clone()).collect())
    };
    let mut names = of(first);
    let more: Vec<String> = of(second).into_iter().filter(|n| !names.contains(n)).collect();
    names.extend(more);
    names
}

fn kind(schema: Option<&Schema>, name: &str) -> Option<DataType> {
    schema.and_then(|s| s.field_with_name(name).ok()).map(|f| f.data_type().clone())
}

fn no_key(name: &str, batch: Option<DataType>, stream: Option<DataType>) -> SourceError {
    let text = |kind: Option<DataType>| kind.map_or("not there".to_string(), |k| k.to_string());
    let (batch, stream) = (text(batch), text(stream));
    SourceError::BadData(format!("key column {name}: batch {batch}, stream {stream}: name columns of both with --key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(columns.iter().map(|(n, k)| Field::new(*n, k.clone(), true)).collect::<Vec<_>>())
    }

    fn named(columns: &[Column]) -> Vec<(&str, DataType)> {
        columns.iter().map(|c| (c.name.as_str(), c.kind.clone())).collect()
    }

    #[test]
    fn columns_meet_by_name_in_the_wider_type() {
        use DataType::{Float32, Float64, Int32, Int64, Utf8View};
        let a =
            schema(&[("x", Float32), ("b", Int64), ("_offset", Int64), ("a", Int32), ("old", Int32), ("k", Utf8View)]);
        let b = schema(&[("a", Int64), ("b", Int64), ("x", Float64), ("new", Int32), ("k", Int64)]);
        let key = ["a".to_string(), "b".to_string()];
        let both = Columns::of(Some(&a), Some(&b), &key).unwrap();
        assert_eq!(named(&both.key), [("a", Int64), ("b", Int64)]);
        assert_eq!(named(&both.values), [("x", Float64)]);
        let apart = [
            ("old".to_string(), Some(Int32), None),
            ("k".to_string(), Some(Utf8View), Some(Int64)),
            ("new".to_string(), None, Some(Int32)),
        ];
        assert_eq!(both.apart, apart);
        let one = Columns::of(None, Some(&b), &key).unwrap();
        assert_eq!((named(&one.values).len(), one.apart.len()), (3, 0));
    }

    #[test]
    fn a_key_must_be_on_both_sides() {
        let a = schema(&[("a", DataType::Int32), ("b", DataType::Int32)]);
        let b = schema(&[("a", DataType::Int32), ("b", DataType::Utf8View)]);
        for key in ["b", "c"] {
            let error = Columns::of(Some(&a), Some(&b), &[key.to_string()]).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(SourceError::BadData(_))), "{error}");
        }
    }
}
