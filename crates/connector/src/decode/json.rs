//! One JSON object to one row, strictly: what serde_json would round, wrap or take the last of is a fault here.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::decode::row::Row;
use crate::fault::Fault;

/// The nesting that a value nobody asked for may have.
const DEPTH_MAX: usize = 64;

/// Sets the row's cells from one document. Fields that no column is declared for are skipped.
pub(crate) fn read(document: &[u8], row: &mut Row) -> Result<(), Fault> {
    let text = std::str::from_utf8(document)
        .map_err(|e| Fault::new("bad_encoding", format!("not UTF-8 from byte {} of the row on", e.valid_up_to())))?;
    let mut object = Object { row, column: None, fault: None };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = object.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (read, object.fault.take()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(fault)) => Err(fault),
        (Err(error), None) => Err(object.name(&error, text)),
    }
}

struct Object<'r> {
    row: &'r mut Row,
    /// The column being read, for messages.
    column: Option<usize>,
    /// The reason behind the error that serde carries up.
    fault: Option<Fault>,
}

impl<'de> DeserializeSeed<'de> for &mut Object<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(column) = map.next_key_seed(Name(self.row))? {
            self.column = column;
            let read = match column {
                None => shallow(map.next_value()?),
                Some(i) if self.row.is_set(i) => {
                    Err(Fault::new("duplicate_key", format!("{} is there twice", self.row.name(i))))
                }
                Some(i) if self.row.is_text(i) => {
                    map.next_value_seed(Text { row: self.row, column: i })?;
                    Ok(())
                }
                Some(i) => plain(self.row, i, map.next_value()?),
            };
            if let Err(fault) = read {
                self.fault = Some(fault);
                return Err(A::Error::custom(""));
            }
        }
        self.column = None;
        Ok(())
    }
}

impl Object<'_> {
    /// The reason for an error of serde_json's own, which tells its kinds apart by their text only.
    fn name(&self, error: &serde_json::Error, text: &str) -> Fault {
        let said = error.to_string();
        let code = match error.classify() {
            _ if is_deep(text) => return too_deep(),
            Category::Data => "wrong_type",
            _ if said.contains("hex escape") => "bad_encoding",
            _ if said.starts_with("trailing characters") => "multiple_documents",
            Category::Eof => "json_truncated",
            _ if is_non_finite(text, error.column()) => "non_finite",
            _ => "json_malformed",
        };
        Fault::new(code, self.column.map_or(said.clone(), |i| format!("{}: {said}", self.row.name(i))))
    }
}

/// The column that a key names.
struct Name<'r>(&'r mut Row);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.find(name))
    }
}

/// A string or null for a text column.
struct Text<'r> {
    row: &'r mut Row,
    column: usize,
}

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.row.set_text(self.column, text);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.row.set_null(self.column);
        Ok(())
    }
}

/// Any other value comes as it was written: serde_json would have rounded its digits already.
fn plain(row: &mut Row, column: usize, value: &RawValue) -> Result<(), Fault> {
    let value = value.get();
    match value.as_bytes().first() {
        Some(b'n') => {
            row.set_null(column);
            Ok(())
        }
        Some(b'{' | b'[') => Err(row.wrong_type(column, value)),
        Some(b't' | b'f') if !row.is_boolean(column) => Err(row.wrong_type(column, value)),
        Some(b'"') if row.is_time(column) && value.contains('\\') => {
            let text: String = serde_json::from_str(value).map_err(|e| Fault::new("bad_encoding", e.to_string()))?;
            row.set_plain(column, &text)
        }
        Some(b'"') if row.is_time(column) => row.set_plain(column, value.trim_matches('"')),
        Some(b'"') if matches!(value, "\"NaN\"" | "\"Infinity\"" | "\"-Infinity\"") => {
            Err(Fault::of("non_finite", row.name(column), value, "is not finite"))
        }
        Some(b'"') => Err(row.wrong_type(column, value)),
        _ => row.set_plain(column, value),
    }
}

fn shallow(value: &RawValue) -> Result<(), Fault> {
    if is_deep(value.get()) { Err(too_deep()) } else { Ok(()) }
}

fn too_deep() -> Fault {
    Fault::new("too_deep", format!("nested more than {DEPTH_MAX} deep"))
}

/// Brackets inside strings don't count.
fn is_deep(value: &str) -> bool {
    if !value.trim_start().starts_with(['{', '[']) {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in value.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// `NaN` and `Infinity` are what some writers take for JSON.
fn is_non_finite(text: &str, column: usize) -> bool {
    let rest = text.get(column.saturating_sub(1)..).unwrap_or("");
    ["NaN", "Infinity", "-Infinity"].iter().any(|word| rest.starts_with(word))
}
