//! One row on its way into columns: every value is checked and held in a cell first, and only a whole good row is
//! appended, so that a bad one leaves nothing behind. Nothing is allocated per row.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{
    Array, ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, StringViewBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use event_time::TIME;
use indexmap::IndexMap;

use crate::decode::time::{self, BadTime, Unit, Written};
use crate::fault::{Fault, SourceError};
use crate::schema;

pub(crate) struct Row {
    columns: Vec<Column>,
    /// The text of the row's cells, one behind the other.
    text: String,
    /// The event time, where rows have one.
    time: Option<usize>,
    /// Where the last name was found. Rows name their columns in the same order, so the next is likely behind it.
    last: usize,
    /// Where each name is.
    places: HashMap<String, usize>,
    /// How many rows had names that no column has, and those of the row at hand by their place in it.
    unread: IndexMap<String, u64>,
    left_out: Vec<usize>,
    written: Written,
}

/// Names behind the last one that are looked at before all are: rows may leave some out.
const NEXT: usize = 4;

struct Column {
    name: String,
    required: bool,
    cell: Cell,
    values: Values,
}

#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Absent,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text { start: usize, end: usize },
}

enum Values {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Text(StringViewBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl Row {
    /// A row of these columns, `time` the one that no row can do without; where it is empty, there is none.
    pub(crate) fn new(schema: &Schema, time: &str) -> Result<Self> {
        let at = timed(schema, time)?;
        let column = |field: &FieldRef| {
            let required = !field.is_nullable() || field.name() == time;
            Ok(Column { name: field.name().clone(), required, cell: Cell::Absent, values: Values::new(field)? })
        };
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        // Of two columns with one name the first is found.
        let places = columns.iter().enumerate().rev().map(|(place, column)| (column.name.clone(), place)).collect();
        Ok(Self {
            last: columns.len() - 1,
            columns,
            text: String::new(),
            time: at,
            places,
            unread: IndexMap::new(),
            left_out: Vec::new(),
            written: Written::default(),
        })
    }

    pub(crate) fn find(&mut self, name: &str) -> Option<usize> {
        let next = self.last + 1;
        let near = (next..self.columns.len()).chain(0..next).take(NEXT).find(|&i| self.columns[i].name == name);
        let found = near.or_else(|| self.places.get(name).copied());
        match found {
            Some(found) => self.last = found,
            None => {
                let place = self.leave_out(name, 0);
                self.left_out.push(place);
            }
        }
        found
    }

    /// Reads times as they are written.
    pub(crate) fn set_written(&mut self, written: Written) {
        self.written = written;
    }

    /// Counts rows with a name that no column has; where it stands among those.
    pub(crate) fn leave_out(&mut self, name: &str, rows: u64) -> usize {
        if let Some((place, _, known)) = self.unread.get_full_mut(name) {
            *known += rows;
            return place;
        }
        self.unread.insert_full(name.to_owned(), rows).0
    }

    /// How many rows had names that no column has, to be emptied.
    pub(crate) fn unread(&mut self) -> &mut IndexMap<String, u64> {
        &mut self.unread
    }

    pub(crate) fn name(&self, column: usize) -> &str {
        &self.columns[column].name
    }

    pub(crate) fn is_set(&self, column: usize) -> bool {
        self.columns[column].cell != Cell::Absent
    }

    pub(crate) fn is_text(&self, column: usize) -> bool {
        matches!(self.columns[column].values, Values::Text(_))
    }

    pub(crate) fn is_boolean(&self, column: usize) -> bool {
        matches!(self.columns[column].values, Values::Bool(_))
    }

    pub(crate) fn is_time(&self, column: usize) -> bool {
        matches!(self.columns[column].values, Values::Time(_))
    }

    pub(crate) fn set_null(&mut self, column: usize) {
        self.columns[column].cell = Cell::Null;
    }

    /// Only for a column that [`Row::is_text`].
    pub(crate) fn set_text(&mut self, column: usize, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.columns[column].cell = Cell::Text { start, end: self.text.len() };
    }

    /// Reads a value of any other type from its plain text form: `-7`, `0.5`, `true`, milliseconds, RFC 3339.
    pub(crate) fn set_plain(&mut self, column: usize, value: &str) -> Result<(), Fault> {
        let (is_time, written) = (Some(column) == self.time, self.written);
        let Column { name, cell, values, .. } = &mut self.columns[column];
        *cell = match values {
            Values::Text(_) => return Err(Fault::of("wrong_type", name, value, "is no text")),
            Values::Bool(_) => Cell::Bool(boolean(name, value)?),
            Values::Int64(_) => Cell::Int(int(name, value)?),
            Values::Int32(_) => {
                let wide = int(name, value)?;
                i32::try_from(wide).map_err(|_| Fault::of("int_overflow", name, value, "does not fit an int32"))?;
                Cell::Int(wide)
            }
            Values::Float64(_) => Cell::Float(float(name, value)?),
            Values::Time(_) => Cell::Int(moment(name, value, is_time, written)?),
        };
        Ok(())
    }

    /// Says that a value is of another kind altogether than its column.
    pub(crate) fn wrong_type(&self, column: usize, value: &str) -> Fault {
        let why = format!("is no {}", self.columns[column].values.kind());
        Fault::of(
            if Some(column) == self.time { "no_event_time" } else { "wrong_type" },
            self.name(column),
            value,
            &why,
        )
    }

    /// Appends the row if no required value is missing, and in any case makes room for the next one.
    pub(crate) fn commit(&mut self) -> Result<(), Fault> {
        let missing = |c: &Column| c.required && matches!(c.cell, Cell::Absent | Cell::Null);
        let untimed = self.time.map(|time| &self.columns[time]).filter(|time| missing(time));
        let fault = if let Some(time) = untimed {
            Some(Fault::new("no_event_time", format!("{} is missing or null", time.name)))
        } else {
            let column = self.columns.iter().find(|c| missing(c));
            column.map(|c| Fault::new("missing", format!("{} is missing or null", c.name)))
        };
        if fault.is_none() {
            self.columns.iter_mut().for_each(|c| c.values.append(c.cell, &self.text));
            for place in &self.left_out {
                self.unread[*place] += 1;
            }
        }
        self.clear();
        fault.map_or(Ok(()), Err)
    }

    /// Forgets the values set since the last row.
    pub(crate) fn clear(&mut self) {
        self.columns.iter_mut().for_each(|c| c.cell = Cell::Absent);
        self.text.clear();
        self.left_out.clear();
    }

    /// The appended rows as arrays, one a column.
    pub(crate) fn finish(&mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(|c| c.values.finish()).collect()
    }
}

/// Where the event time is in the columns of rows, which none can do without; nowhere if `time` is empty.
///
/// # Errors
/// No columns, no such one, or one of another type.
pub(crate) fn timed(schema: &Schema, time: &str) -> Result<Option<usize>> {
    if schema.fields().is_empty() {
        bail!(SourceError::BadData("rows have no column that can be read: nested values are none".to_owned()));
    }
    if time.is_empty() {
        return Ok(None);
    }
    let wrong = match schema.fields().iter().position(|field| field.name() == time) {
        Some(at) if *schema.field(at).data_type() == TIME => return Ok(Some(at)),
        Some(_) => format!("time column {time} is no timestamp: declare it as `{time} timestamp`"),
        None => format!("no time column {time} in the schema: name the right one with --time"),
    };
    Err(SourceError::Usage(wrong).into())
}

impl Values {
    fn new(field: &Field) -> Result<Self> {
        Ok(match field.data_type() {
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Utf8View => Self::Text(StringViewBuilder::new()),
            t if *t == TIME => Self::Time(TimestampMicrosecondBuilder::new()),
            t => {
                let (name, kind) = (field.name(), schema::type_name(t));
                let what = "declare it as text, or as a number, with --schema, and cast it with --select";
                bail!(SourceError::BadData(format!(
                    "column {name} is {kind}, which JSON and CSV are not read as: {what}"
                )))
            }
        })
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "boolean",
            Self::Int32(_) => "int32",
            Self::Int64(_) => "int64",
            Self::Float64(_) => "float64",
            Self::Text(_) => "text",
            Self::Time(_) => "timestamp",
        }
    }

    fn append(&mut self, cell: Cell, text: &str) {
        match (self, cell) {
            (Self::Bool(b), Cell::Bool(v)) => b.append_value(v),
            // `set_plain` has checked that it fits.
            (Self::Int32(b), Cell::Int(v)) => b.append_value(v as i32),
            (Self::Int64(b), Cell::Int(v)) => b.append_value(v),
            (Self::Float64(b), Cell::Float(v)) => b.append_value(v),
            (Self::Text(b), Cell::Text { start, end }) => b.append_value(&text[start..end]),
            (Self::Time(b), Cell::Int(v)) => b.append_value(v),
            (Self::Bool(b), _) => b.append_null(),
            (Self::Int32(b), _) => b.append_null(),
            (Self::Int64(b), _) => b.append_null(),
            (Self::Float64(b), _) => b.append_null(),
            (Self::Text(b), _) => b.append_null(),
            (Self::Time(b), _) => b.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(b) => fitted(b.finish()),
            Self::Int32(b) => fitted(b.finish()),
            Self::Int64(b) => fitted(b.finish()),
            Self::Float64(b) => fitted(b.finish()),
            Self::Text(b) => fitted(b.finish()),
            Self::Time(b) => fitted(b.finish()),
        }
    }
}

/// Without the room that was left for more: output and state hold on to text, and it came in blocks of 2 MiB.
fn fitted(mut array: impl Array + 'static) -> ArrayRef {
    array.shrink_to_fit();
    Arc::new(array)
}

fn boolean(name: &str, value: &str) -> Result<bool, Fault> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Ok(true),
        _ if value.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(Fault::of("wrong_type", name, value, "is no boolean")),
    }
}

fn int(name: &str, value: &str) -> Result<i64, Fault> {
    value.parse().map_err(|_| match value.parse::<f64>() {
        Ok(v) if v.abs() >= 9_223_372_036_854_775_808.0 => {
            Fault::of("int_overflow", name, value, "does not fit an int64")
        }
        Ok(v) if v.is_finite() => Fault::of("lossy_number", name, value, "is not written as an integer"),
        Ok(_) => Fault::of("non_finite", name, value, "is no integer"),
        Err(_) => Fault::of("wrong_type", name, value, "is no integer"),
    })
}

fn float(name: &str, value: &str) -> Result<f64, Fault> {
    match value.parse::<f64>() {
        Ok(v) if v.is_finite() => Ok(v),
        Ok(_) => Err(Fault::of("non_finite", name, value, "is not finite")),
        Err(_) => Err(Fault::of("wrong_type", name, value, "is no number")),
    }
}

/// A number is in the unit that the user gave for the event time, else milliseconds since 1970; anything else is RFC 3339.
fn moment(name: &str, value: &str, is_event_time: bool, written: Written) -> Result<i64, Fault> {
    let unit = written.unit.filter(|_| is_event_time);
    let number = value.parse::<f64>().ok();
    let micros = match value.parse::<i64>() {
        Ok(count) if unit.is_none() && is_event_time && SECONDS.contains(&count) => {
            let likely = wrong_unit(name, value, count as f64, "is in January 1970, as milliseconds");
            return Err(Fault { text: format!("{}, or of such a time --time {name}:ms", likely.text), ..likely });
        }
        Ok(count) => unit.unwrap_or(Unit::Millis).micros(count),
        Err(_) => match (time::parse(value, written.zone), number, unit) {
            (Ok(micros), ..) => Some(micros),
            (Err(BadTime::NoZone), ..) => {
                let why = "has no zone: end it with Z or +00:00, or say --zone UTC";
                return Err(Fault::of("no_zone", name, value, why));
            }
            (Err(BadTime::Ambiguous), ..) => {
                let why = "is no time of --zone, or two: its clocks were changed then";
                return Err(Fault::of("ambiguous_time", name, value, why));
            }
            (Err(BadTime::Malformed), Some(count), Some(unit)) => unit.micros_of(count),
            (Err(BadTime::Malformed), Some(count), None) if is_event_time && Unit::guess(count).is_some() => {
                return Err(wrong_unit(name, value, count, "is not written as an integer"));
            }
            (Err(BadTime::Malformed), Some(_), None) => Some(int(name, value)?),
            (Err(BadTime::Malformed), None, _) => {
                let code = if is_event_time { "no_event_time" } else { "wrong_type" };
                return Err(Fault::of(code, name, value, "is no time in RFC 3339"));
            }
        },
    };
    let inside = micros.filter(|t| time::RANGE.contains(t));
    inside.ok_or_else(|| match number.filter(|_| is_event_time) {
        Some(count) => wrong_unit(name, value, count, "is not in the years 1900 to 2261"),
        None => Fault::of("time_out_of_range", name, value, "is not in the years 1900 to 2261"),
    })
}

/// What is in January 1970 as milliseconds, and from 1973 to 2054 as seconds.
const SECONDS: Range<i64> = 100_000_000..2_678_400_000;

/// A number that is no likely event time, with the unit in which it is one.
fn wrong_unit(name: &str, value: &str, count: f64, why: &str) -> Fault {
    let code = if why.ends_with("integer") { "lossy_number" } else { "time_out_of_range" };
    match Unit::guess(count) {
        Some((short, long)) => Fault::of(code, name, value, &format!("{why}: of {long} say --time {name}:{short}")),
        None => Fault::of(code, name, value, why),
    }
}
