//! A schema that nobody gave, from rows.

use std::collections::HashMap;
use std::fmt;

use anyhow::{Result, bail, ensure};
use arrow::datatypes::{DataType, Field, Schema};
use event_time::TIME;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::csv;
use crate::decode::text_format::TextFormat;
use crate::decode::time;
use crate::fault::SourceError;

/// What a column's values have been so far.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Null,
    Bool,
    Int,
    Float,
    Time,
    Text,
    Nested,
}

/// The columns of rows, in the order in which they are first met: integers, floats, booleans, times with a zone, else
/// text. Nested JSON is no column, and a row that cannot be read says nothing.
#[derive(Default)]
pub(crate) struct Columns {
    kinds: Vec<(String, Kind)>,
    places: HashMap<String, usize>,
    /// Whether a file of CSV has said which there are: every other one must have them.
    headed: bool,
}

impl Columns {
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Adds what rows of one file have; of CSV the first is the header.
    ///
    /// # Errors
    /// A header that cannot be read.
    pub(crate) fn add<'a>(&mut self, rows: impl Iterator<Item = &'a [u8]>, format: TextFormat) -> Result<()> {
        match format {
            TextFormat::Json => self.add_json(rows),
            TextFormat::Csv => self.add_csv(rows)?,
        }
        Ok(())
    }

    fn add_json<'a>(&mut self, rows: impl Iterator<Item = &'a [u8]>) {
        for row in rows {
            let Ok(object) = serde_json::from_slice::<Object<'_>>(row) else { continue };
            for (name, value) in object.0 {
                self.meet(name, json_kind(value.get()));
            }
        }
    }

    fn add_csv<'a>(&mut self, mut rows: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let names = rows.next().map(csv::names).transpose()?.unwrap_or_default();
        let ours: Vec<bool> = names.iter().map(|name| !self.headed || self.places.contains_key(name)).collect();
        names.iter().zip(&ours).filter(|(_, ours)| **ours).for_each(|(name, _)| self.meet(name.clone(), Kind::Null));
        self.headed |= !names.is_empty();
        for row in rows {
            let Ok(values) = csv::values(row) else { continue };
            for ((name, ours), value) in names.iter().zip(&ours).zip(values) {
                if *ours {
                    self.meet(name.clone(), value.map_or(Kind::Null, |text| csv_kind(&text)));
                }
            }
        }
        Ok(())
    }

    fn meet(&mut self, name: String, kind: Kind) {
        if let Some(place) = self.places.get(&name) {
            self.kinds[*place].1 = self.kinds[*place].1.with(kind);
        } else {
            self.places.insert(name.clone(), self.kinds.len());
            self.kinds.push((name, kind));
        }
    }

    /// The columns as a schema. `time` is a timestamp whatever its values are; empty, it is none.
    ///
    /// # Errors
    /// No row, or no column `time`.
    pub(crate) fn schema(self, time: &str) -> Result<Schema> {
        let none = || SourceError::BadData("no row to infer a schema from: give one with --schema".to_owned());
        ensure!(!self.is_empty(), none());
        if !time.is_empty() && !self.places.contains_key(time) {
            let names: Vec<_> = self.kinds.iter().map(|(name, _)| name.as_str()).collect();
            let what = format!("no column {time} among {}: name the event time with --time", names.join(", "));
            bail!(SourceError::Usage(what));
        }
        let field = |(name, kind): (String, Kind)| {
            let kind = match kind {
                _ if name == time => return Some(Field::new(name, TIME, false)),
                Kind::Nested => return None,
                Kind::Null | Kind::Text => DataType::Utf8View,
                Kind::Bool => DataType::Boolean,
                Kind::Int => DataType::Int64,
                Kind::Float => DataType::Float64,
                Kind::Time => TIME,
            };
            Some(Field::new(name, kind, true))
        };
        Ok(Schema::new(self.kinds.into_iter().filter_map(field).collect::<Vec<_>>()))
    }
}

impl Kind {
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            (Self::Nested, _) | (_, Self::Nested) => Self::Nested,
            _ => Self::Text,
        }
    }
}

fn json_kind(value: &str) -> Kind {
    match value.as_bytes().first() {
        Some(b'n') => Kind::Null,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'{' | b'[') => Kind::Nested,
        Some(b'"') => {
            if time::parse(value.trim_matches('"'), None).is_ok() {
                Kind::Time
            } else {
                Kind::Text
            }
        }
        _ if value.contains(['.', 'e', 'E']) => Kind::Float,
        _ => Kind::Int,
    }
}

fn csv_kind(value: &str) -> Kind {
    let digits = value.strip_prefix('-').unwrap_or(value);
    match value {
        _ if digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.") => Kind::Text,
        _ if digits.starts_with(|c: char| c.is_ascii_digit()) && value.parse::<i64>().is_ok() => Kind::Int,
        _ if digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.contains(['.', 'e', 'E'])
            && value.parse::<f64>().is_ok() =>
        {
            Kind::Float
        }
        "true" | "false" | "True" | "False" | "TRUE" | "FALSE" => Kind::Bool,
        _ if time::parse(value, None).is_ok() => Kind::Time,
        _ => Kind::Text,
    }
}

/// The fields of an object in their order.
struct Object<'de>(Vec<(String, &'de RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    fn inferred(rows: &[&str], format: TextFormat, time: &str) -> Result<Schema> {
        let mut columns = Columns::default();
        columns.add(rows.iter().map(|r| r.as_bytes()), format)?;
        columns.schema(time)
    }

    fn printed(rows: &[&str], format: TextFormat, time: &str) -> String {
        schema::print(&inferred(rows, format, time).unwrap())
    }

    #[test]
    fn csv_types() {
        let rows = [
            ",timestamp,item,score,zip,flag,none,mixed,big",
            "0,2019-11-24 00:00:00.010255+00:00,79,0.08,01234,True,,1,99999999999999999999",
            "1,2019-11-24 00:00:00.010255+00:00,14,2,99999,False,,x,1",
        ];
        let expected = "column_1 int64\ntimestamp timestamp not null\nitem int64\nscore float64\nzip text\nflag boolean\n\
                        none text\nmixed text\nbig text\n";
        assert_eq!(printed(&rows, TextFormat::Csv, "timestamp"), expected);
    }

    #[test]
    fn json_types() {
        let rows = [
            r#"{"ts":5,"id":"x","n":1,"at":"2019-11-24T00:00:00Z","deep":{}}"#,
            "garbage",
            r#"{"ts":6,"n":1.5,"late":false}"#,
        ];
        let expected = "ts timestamp not null\nid text\nn float64\nat timestamp\nlate boolean\n";
        assert_eq!(printed(&rows, TextFormat::Json, "ts"), expected);
        let error = inferred(&rows, TextFormat::Json, "when").unwrap_err().to_string();
        assert!(error.contains("no column when among ts, id"), "{error}");
    }
}
