//! One schema for many files: their columns by name, in the types that rescan computes with.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use event_time::TIME;

use crate::fault::SourceError;

/// The columns of all files by name, in the order in which they are first met: times as [`TIME`], text as `Utf8View`,
/// and a column that a file does not have is nullable. Files are named for the error.
///
/// # Errors
/// [`SourceError::BadData`], with both schemas, where a column has types that do not widen to one.
pub(crate) fn union(files: &[(String, SchemaRef)]) -> Result<SchemaRef> {
    let mut columns: Vec<Field> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (at, (name, schema)) in files.iter().enumerate() {
        refuse_twins(name, schema)?;
        let mut absent: HashSet<usize> = (0..columns.len()).collect();
        for field in schema.fields() {
            let new = Field::new(field.name(), convention(field.data_type()), field.is_nullable());
            let Some(&place) = places.get(field.name().as_str()) else {
                places.insert(field.name(), columns.len());
                columns.push(if at == 0 { new } else { new.with_nullable(true) });
                continue;
            };
            absent.remove(&place);
            let column = &mut columns[place];
            let Some(wide) = widened(column.data_type(), new.data_type()) else {
                bail!(conflict(field.name(), files, at));
            };
            *column = Field::new(field.name(), wide, column.is_nullable() || new.is_nullable());
        }
        for place in absent {
            columns[place].set_nullable(true);
        }
    }
    Ok(Arc::new(Schema::new(columns)))
}

/// The type that holds the values of both unchanged: integers widen to the longer, float32 to float64, and a column
/// that is null everywhere to anything.
pub fn widened(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Float32, Float64, Int8, Int16, Int32, Int64, Null};
    let length = |t: &DataType| [Int8, Int16, Int32, Int64].iter().position(|i| i == t);
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Float32, Float64) | (Float64, Float32) => Some(Float64),
        _ => Some(if length(a)? > length(b)? { a.clone() } else { b.clone() }),
    }
}

/// The type that a column of a file is read as.
pub(crate) fn convention(file: &DataType) -> DataType {
    match file {
        DataType::Timestamp(..) => TIME,
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => convention(values),
        other => other.clone(),
    }
}

fn refuse_twins(file: &str, schema: &Schema) -> Result<()> {
    let mut names = BTreeSet::new();
    match schema.fields().iter().find(|f| !names.insert(f.name())) {
        Some(twin) => bail!(SourceError::BadData(format!("{file}: two columns are called {}", twin.name()))),
        None => Ok(()),
    }
}

/// The last file's column against the first one before it that does not go with it.
fn conflict(column: &str, files: &[(String, SchemaRef)], at: usize) -> SourceError {
    let kind = |schema: &Schema| schema.field_with_name(column).ok().map(|f| convention(f.data_type()));
    let this = kind(&files[at].1);
    let clash = |schema: &Schema| matches!((kind(schema), &this), (Some(a), Some(b)) if widened(&a, b).is_none());
    let other = files[..at].iter().position(|(_, schema)| clash(schema)).unwrap_or(0);
    let describe = |(name, schema): &(String, SchemaRef)| {
        let field = schema.field_with_name(column).ok();
        field.map_or_else(|| format!("missing in {name}"), |field| format!("{} in {name}", field.data_type()))
    };
    let (first, second) = (describe(&files[other]), describe(&files[at]));
    SourceError::BadData(format!("column {column} has no common type: it is {first}, {second}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::TimeUnit;

    fn schema(columns: &[(&str, DataType, bool)]) -> SchemaRef {
        let field = |(name, kind, nullable): &(&str, DataType, bool)| Field::new(*name, kind.clone(), *nullable);
        Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
    }

    fn united(files: &[SchemaRef]) -> Result<SchemaRef> {
        let named: Vec<_> = files.iter().enumerate().map(|(i, s)| (format!("f{i}"), s.clone())).collect();
        union(&named)
    }

    #[test]
    fn times_and_text_have_one_type_whatever_the_file_says() {
        let utc = Some(Arc::from("UTC"));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let a = schema(&[("ts", DataType::Timestamp(TimeUnit::Millisecond, utc), false), ("s", DataType::Utf8, false)]);
        let b = schema(&[("s", dictionary, false), ("ts", DataType::Timestamp(TimeUnit::Nanosecond, None), false)]);
        assert_eq!(united(&[a, b]).unwrap(), schema(&[("ts", TIME, false), ("s", DataType::Utf8View, false)]));
    }

    #[test]
    fn columns_are_added_and_widened() {
        let a = schema(&[("a", DataType::Int32, false), ("x", DataType::Float32, false), ("n", DataType::Null, true)]);
        let b = schema(&[
            ("x", DataType::Float64, false),
            ("n", DataType::Int16, false),
            ("new", DataType::Boolean, false),
        ]);
        let c = schema(&[("a", DataType::Int64, false), ("x", DataType::Float32, false), ("n", DataType::Int8, false)]);
        let all = [("a", DataType::Int64, true), ("x", DataType::Float64, false), ("n", DataType::Int16, true)];
        let all: Vec<_> = all.into_iter().chain([("new", DataType::Boolean, true)]).collect();
        assert_eq!(united(&[a, b, c]).unwrap(), schema(&all));
    }

    #[test]
    fn a_conflict_names_both_files_and_their_schemas() {
        let a = schema(&[("id", DataType::Utf8, false)]);
        let b = schema(&[("rank", DataType::Int64, false)]);
        let c = schema(&[("rank", DataType::Utf8, true), ("id", DataType::Utf8, false)]);
        let error = united(&[a.clone(), b, c]).unwrap_err();
        let text = "column rank has no common type: it is Int64 in f1, Utf8 in f2";
        assert_eq!(error.downcast_ref(), Some(&SourceError::BadData(text.to_string())));
        let twins = schema(&[("id", DataType::Utf8, false), ("id", DataType::Utf8, false)]);
        assert_eq!(united(&[a, twins]).unwrap_err().to_string(), "f1: two columns are called id");
    }

    #[test]
    fn what_would_change_a_value_does_not_widen() {
        use DataType::{Boolean, Date32, Float64, Int32, Int64, UInt64, Utf8View};
        for (a, b) in
            [(Int64, UInt64), (Int64, Float64), (Int32, Boolean), (Utf8View, Int64), (TIME, Int64), (Date32, TIME)]
        {
            assert_eq!((widened(&a, &b), widened(&b, &a)), (None, None), "{a} {b}");
        }
    }
}
