//! Schemas by name and as text: a line a column, `name type`, as in the brackets of SQL's `create table`.

use std::collections::HashSet;

use anyhow::{Result, bail, ensure};
use arrow::datatypes::{DataType, Field, Schema};
use event_time::TIME;

use crate::fault::SourceError;

const IMPRESSIONS: &str = "
    event_id text not null
    ts timestamp not null
    request_id text
    profile_id int64
    video_id int64
    row text
    rank int32
    country text
    device text
    region text
    propensity float64";

const PLAYS: &str = "
    event_id text not null
    ts timestamp not null
    request_id text
    profile_id int64
    video_id int64
    country text
    device text
    region text
    duration_s float64";

/// The schema of `impressions` or `plays`; `None` for any other name.
pub fn builtin(name: &str) -> Option<Schema> {
    match name {
        "impressions" => parse(IMPRESSIONS).ok(),
        "plays" => parse(PLAYS).ok(),
        _ => None,
    }
}

/// Reads a schema: a line a column with its name, its type and perhaps `not null`; a comma at the end, empty lines and
/// comments (`--`, `#`) are allowed. A name with blanks stands in double quotes.
///
/// # Errors
/// [`SourceError::Schema`]: a line that is no column, by its number, or a name that is there twice.
pub fn parse(text: &str) -> Result<Schema> {
    let mut fields: Vec<Field> = Vec::new();
    let mut names = HashSet::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim().trim_end_matches(',');
        if line.is_empty() || line.starts_with("--") || line.starts_with('#') {
            continue;
        }
        let wrong = |what: String| SourceError::Schema(format!("schema, line {}: {what}", i + 1));
        let field = column(line).map_err(|e| wrong(e.to_string()))?;
        ensure!(names.insert(field.name().clone()), wrong(format!("{} is there twice", field.name())));
        fields.push(field);
    }
    let none = || SourceError::Schema("schema without columns: write a line for each, such as `ts timestamp`".into());
    ensure!(!fields.is_empty(), none());
    Ok(Schema::new(fields))
}

/// A schema as [`parse`] reads it.
pub fn print(schema: &Schema) -> String {
    let column = |field: &Field| {
        let name = field.name();
        let plain = !name.is_empty() && !name.starts_with(['"', '#', '-']) && !name.contains(char::is_whitespace);
        let name = if plain { name.clone() } else { format!("\"{}\"", name.replace('"', "\"\"")) };
        format!("{name} {}{}\n", type_name(field.data_type()), if field.is_nullable() { "" } else { " not null" })
    };
    schema.fields().iter().map(|f| column(f)).collect()
}

fn column(line: &str) -> Result<Field> {
    let (name, rest) = name(line)?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let ends = |word: &str, end: &str| word.eq_ignore_ascii_case(end);
    let (kind, nullable) = match words.as_slice() {
        [kind @ .., not, null] if ends(not, "not") && ends(null, "null") => (kind, false),
        [kind @ .., null] if ends(null, "null") => (kind, true),
        kind => (kind, true),
    };
    let kind = kind.join(" ");
    let Some(kind) = named_type(&kind) else {
        match kind.to_lowercase().as_str() {
            "" => bail!("{name} has no type"),
            other => bail!("{name}: no type {other}; {TYPES}"),
        }
    };
    Ok(Field::new(name, kind, nullable))
}

/// The name at the start of a line, and what follows it.
fn name(line: &str) -> Result<(String, &str)> {
    let Some(quoted) = line.strip_prefix('"') else {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        return Ok((name.to_owned(), rest));
    };
    let mut end = 0;
    loop {
        match quoted[end..].find('"') {
            None => bail!("a quote is not closed"),
            Some(i) if quoted[end + i + 1..].starts_with('"') => end += i + 2,
            Some(i) => return Ok((quoted[..end + i].replace("\"\"", "\""), &quoted[end + i + 1..])),
        }
    }
}

const TYPES: &str = "there are text, int32, int64, float64, boolean, timestamp, and of Parquet files also float32, \
                     int16, uint8, uint16, uint32, uint64, decimal(DIGITS, SCALE), date, binary and Arrow's own names";

/// A type by its name: of SQL, of rescan, or Arrow's own.
fn named_type(name: &str) -> Option<DataType> {
    Some(match name.to_lowercase().as_str() {
        "text" | "varchar" | "string" | "utf8" => DataType::Utf8View,
        "tinyint" => DataType::Int8,
        "int16" | "smallint" | "int2" => DataType::Int16,
        "int32" | "int" | "integer" | "int4" => DataType::Int32,
        "int64" | "bigint" | "int8" | "long" => DataType::Int64,
        "uint8" => DataType::UInt8,
        "uint16" => DataType::UInt16,
        "uint32" => DataType::UInt32,
        "uint64" => DataType::UInt64,
        "float16" => DataType::Float16,
        "float32" | "real" | "float4" => DataType::Float32,
        "float64" | "double" | "double precision" | "float8" => DataType::Float64,
        "boolean" | "bool" => DataType::Boolean,
        "timestamp" | "timestamptz" | "timestamp with time zone" => TIME,
        "date" | "date32" => DataType::Date32,
        "binary" | "bytea" => DataType::BinaryView,
        decimal if decimal.starts_with("decimal(") => {
            let (digits, scale) = decimal.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            DataType::Decimal128(digits.trim().parse().ok()?, scale.trim().parse().ok()?)
        }
        _ => return name.parse().ok(),
    })
}

/// What [`parse`] calls a type.
pub(crate) fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8View => "text".to_owned(),
        t if *t == TIME => "timestamp".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::BinaryView => "binary".to_owned(),
        DataType::Decimal128(digits, scale) => format!("decimal({digits}, {scale})"),
        simple if simple.is_integer() || simple.is_floating() || *simple == DataType::Boolean => {
            simple.to_string().to_lowercase()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_schemas_are_read_back() {
        let text = "-- events\nevent_id text NOT NULL,\nts timestamp not null\n\n\"two \"\"words\"\"\" double precision,\na-b bigint\n\"\" bool\n";
        let schema = parse(text).unwrap();
        assert_eq!(parse(&print(&schema)).unwrap(), schema);
        let printed =
            "event_id text not null\nts timestamp not null\n\"two \"\"words\"\"\" float64\na-b int64\n\"\" boolean\n";
        assert_eq!(print(&schema), printed);
    }

    /// What inference shows of a Parquet file can be saved, corrected and read.
    #[test]
    fn types_of_parquet_files_are_read_back() {
        use DataType::*;
        let list = |of| List(std::sync::Arc::new(Field::new("item", of, true)));
        let kinds = [Int8, Int16, UInt8, UInt16, UInt32, UInt64, Float16, Float32, Date32, Date64, BinaryView, Null];
        let more = [
            Decimal128(38, 10),
            Decimal128(5, -2),
            Decimal256(76, 3),
            Time32(arrow::datatypes::TimeUnit::Millisecond),
            Time64(arrow::datatypes::TimeUnit::Microsecond),
            FixedSizeBinary(16),
            list(Utf8),
            Struct(vec![Field::new("a b", Int32, false), Field::new("c", list(Date32), true)].into()),
        ];
        let field = |(at, kind)| Field::new(format!("c{at}"), kind, at % 2 == 0);
        let schema = Schema::new(kinds.into_iter().chain(more).enumerate().map(field).collect::<Vec<_>>());
        assert_eq!(parse(&print(&schema)).unwrap(), schema, "{}", print(&schema));
    }

    #[test]
    fn bad_lines_are_named() {
        let said = |text: &str| format!("{:#}", parse(text).unwrap_err());
        assert_eq!(said("a text\n\nb money"), format!("schema, line 3: b: no type money; {TYPES}"));
        assert_eq!(said("a text\na text"), "schema, line 2: a is there twice");
        assert_eq!(said("a"), "schema, line 1: a has no type");
        assert!(said("\n# nothing").contains("without columns"));
    }

    #[test]
    fn the_built_in_schemas_are_there() {
        let names = |schema: Schema| schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>().join(" ");
        let impressions = "event_id ts request_id profile_id video_id row rank country device region propensity";
        assert_eq!(names(builtin("impressions").unwrap()), impressions);
        let plays = "event_id ts request_id profile_id video_id country device region duration_s";
        assert_eq!(names(builtin("plays").unwrap()), plays);
        assert!(builtin("clicks").is_none());
    }
}
