//! A side input: slowly changing facts, joined to the rows of an input as of each row's event time.
//!
//! Both runners add the same columns by the same [`Side::columns`]: the stream to its micro-batches, the batch inside
//! its plan. f then sees them as it sees any column.

pub(crate) mod versions;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringViewArray, StructArray};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::row::Rows;
use arrow::util::display::array_value_to_string;
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, col,
};
use twox_hash::XxHash3_128;

use crate::script::binding::canonical;
use crate::script::conform::conform;
use crate::side::versions::{Versions, comparable};

/// The column of a side input that says from when on a row holds, until the next one of its key. A row without it holds
/// before all others.
pub const VALID_FROM: &str = "valid_from";

/// One copy of a side input.
///
/// Of the rows of a key the one with the greatest `valid_from` at or before an event's time is joined to the event; of
/// two with the same the greater in all columns. A key with a null in it is no key.
#[derive(Debug)]
pub struct Side {
    name: String,
    keys: Vec<String>,
    time: String,
    /// By key, then `valid_from`, then all columns.
    rows: RecordBatch,
    versions: Versions,
    version: String,
}

impl Side {
    /// The side input `name`, joined by the columns `keys` as of the input's column `time`.
    ///
    /// # Errors
    /// Rows without one of the keys; a `valid_from` that is no timestamp.
    pub fn new(name: &str, keys: &[String], time: &str, rows: &RecordBatch) -> Result<Side> {
        let rows = conform(rows, &Arc::new(canonical(&rows.schema())))?;
        let columns = keys.iter().map(|key| rows.schema().index_of(key)).collect::<Result<Vec<_>, _>>()?;
        let (_, content) = comparable(&rows)?;
        let (versions, order) = Versions::new(&rows.project(&columns)?, &valid_from(name, &rows)?, &content)?;
        Ok(Side {
            name: name.to_owned(),
            keys: keys.to_vec(),
            time: time.to_owned(),
            version: version(&rows.schema(), &content),
            rows: take_record_batch(&rows, &order)?,
            versions,
        })
    }

    /// As on the command line.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns that its rows are found by.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The sum of the XXH3-128 of its rows, modulo 2^128, 32 hex digits: the same for any order and any file format.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What a reader of it may not have meant, and what is made of that.
    pub fn doubt(&self) -> Option<String> {
        let name = &self.name;
        let timeless = self.rows.schema().field_with_name(VALID_FROM).is_err();
        let timeless =
            timeless.then(|| format!("side input {name} has no column {VALID_FROM}: its rows hold at all times"));
        let said: Vec<String> = timeless.into_iter().chain(self.contradiction()).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn contradiction(&self) -> Option<String> {
        let row = self.versions.twins()?;
        let said = |column: &String| {
            let values = self.rows.column_by_name(column)?;
            Some(format!("{column} {}", array_value_to_string(values, row).ok()?))
        };
        let key: Vec<String> = self.keys.iter().chain([&VALID_FROM.to_owned()]).filter_map(said).collect();
        let what = "says two things at once: of such rows the greater in all columns stands";
        Some(format!("side input {} {what}; {} for one", self.name, key.join(", ")))
    }

    /// All rows, in an order of their own: what makes the same copy again.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Another copy of the same side input.
    ///
    /// # Errors
    /// Rows that lack a column or have it in another type.
    pub fn renewed(&self, rows: &RecordBatch) -> Result<Side> {
        let side = Side::new(&self.name, &self.keys, &self.time, rows)?;
        if side.rows.schema() == self.rows.schema() {
            return Ok(side);
        }
        Err(DataFusionError::Execution(format!("side input {} has other columns than before", self.name)))
    }

    /// The columns of an input with those of this side input: `NAME_COLUMN` for each of its columns but the keys, then
    /// `NAME_version` and `NAME_stale`. An input without the keys stays as it is.
    ///
    /// # Errors
    /// The input has a column of such a name already.
    pub fn extended(&self, input: &SchemaRef) -> Result<SchemaRef> {
        if !self.applies(input) {
            return Ok(input.clone());
        }
        let added = self.fields();
        let known = |field: &Arc<Field>, others: &[Arc<Field>]| others.iter().any(|other| other.name() == field.name());
        let twice = (0..added.len()).find(|at| known(&added[*at], input.fields()) || known(&added[*at], &added[..*at]));
        if let Some(at) = twice {
            let name = added[at].name();
            return Err(DataFusionError::Plan(format!("side input {} adds a second column {name}", self.name)));
        }
        Ok(Arc::new(Schema::new(input.fields().iter().chain(added.iter()).cloned().collect::<Vec<_>>())))
    }

    /// The rows of an input with the columns of [`Side::extended`].
    ///
    /// # Errors
    /// Rows whose time is no timestamp.
    pub fn enrich(&self, rows: &RecordBatch, stale: bool) -> Result<RecordBatch> {
        let schema = self.extended(&rows.schema())?;
        if !self.applies(&rows.schema()) {
            return Ok(rows.clone());
        }
        let of = |name: &String| rows.column_by_name(name).cloned();
        let keys: Vec<ArrayRef> = self.keys.iter().filter_map(of).collect();
        let times = of(&self.time).ok_or_else(|| DataFusionError::Internal(format!("no column {}", self.time)))?;
        let added = self.columns(&keys, &times, stale)?;
        Ok(RecordBatch::try_new(schema, rows.columns().iter().cloned().chain(added).collect())?)
    }

    /// The table of an input with the columns of [`Side::extended`].
    ///
    /// # Errors
    /// As [`Side::extended`].
    pub fn over(self: &Arc<Self>, table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        let schema = table.schema();
        self.extended(&schema)?;
        if !self.applies(&schema) {
            return Ok(table);
        }
        let column = |name: &String| col(Column::from_name(name));
        let function = ScalarUDF::new_from_impl(AsOf {
            name: format!("side_{}", self.name),
            side: self.clone(),
            signature: Signature::any(self.keys.len() + 1, Volatility::Immutable),
        });
        let found = function.call(self.keys.iter().chain([&self.time]).map(column).collect());
        let fields = self.fields();
        let added = fields.iter().map(|field| get_field(found.clone(), field.name().as_str()).alias(field.name()));
        let given: Vec<Expr> = schema.fields().iter().map(|field| column(field.name())).collect();
        let scan = LogicalPlanBuilder::scan("input", provider_as_source(table), None)?;
        let plan = scan.project(given.into_iter().chain(added))?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }

    fn applies(&self, input: &Schema) -> bool {
        self.keys.iter().chain([&self.time]).all(|column| input.field_with_name(column).is_ok())
    }

    /// What it adds to a row: its columns but the keys, its version, and whether it is only the last good copy.
    fn fields(&self) -> Fields {
        let named = |name: &str, kind: &DataType| Field::new(format!("{}_{name}", self.name), kind.clone(), true);
        let schema = self.rows.schema();
        let own = self.values().map(|at| named(schema.field(at).name(), schema.field(at).data_type()));
        own.chain([named("version", &DataType::Utf8View), named("stale", &DataType::Boolean)]).collect()
    }

    fn values(&self) -> impl Iterator<Item = usize> {
        let schema = self.rows.schema();
        (0..schema.fields().len()).filter(move |at| !self.keys.contains(schema.field(*at).name()))
    }

    /// The values of [`Side::fields`] for rows with these keys and times.
    fn columns(&self, keys: &[ArrayRef], times: &ArrayRef, stale: bool) -> Result<Vec<ArrayRef>> {
        let found = self.versions.as_of(keys, times)?;
        let mut columns =
            self.values().map(|at| take(self.rows.column(at), &found, None)).collect::<Result<Vec<_>, _>>()?;
        let version = std::iter::repeat_n(&self.version, found.len());
        columns.push(Arc::new(StringViewArray::from_iter_values(version)));
        columns.push(Arc::new(BooleanArray::from(vec![stale; found.len()])));
        Ok(columns)
    }
}

/// From when on each row holds; the beginning of time where it does not say.
fn valid_from(name: &str, rows: &RecordBatch) -> Result<Vec<i64>> {
    let Some(column) = rows.column_by_name(VALID_FROM) else { return Ok(vec![i64::MIN; rows.num_rows()]) };
    let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() else {
        let why = format!("{VALID_FROM} of side input {name} is {}, and not a timestamp", column.data_type());
        return Err(DataFusionError::Plan(why));
    };
    Ok(times.iter().map(|time| time.unwrap_or(i64::MIN)).collect())
}

fn version(schema: &Schema, content: &Rows) -> String {
    let columns = schema.fields().iter().map(|field| format!("{} {}\n", field.name(), field.data_type()));
    let columns = XxHash3_128::oneshot(columns.collect::<String>().as_bytes());
    let sum = content.iter().fold(columns, |sum, row| sum.wrapping_add(XxHash3_128::oneshot(row.as_ref())));
    format!("{sum:032x}")
}

/// `side_NAME(key, …, time)`: what a side input adds to a row, as a struct.
#[derive(Debug)]
struct AsOf {
    name: String,
    side: Arc<Side>,
    signature: Signature,
}

impl PartialEq for AsOf {
    fn eq(&self, other: &AsOf) -> bool {
        Arc::ptr_eq(&self.side, &other.side)
    }
}

impl Eq for AsOf {}

impl Hash for AsOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.side.version.hash(state);
    }
}

impl ScalarUDFImpl for AsOf {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(self.side.fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let Some((times, keys)) = arrays.split_last() else {
            return Err(DataFusionError::Internal(format!("{} without arguments", self.name)));
        };
        // A batch run has just loaded it.
        let columns = self.side.columns(keys, times, false)?;
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(self.side.fields(), columns, None)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, TimestampMicrosecondArray};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// A row of a side input: a key of two columns, from when on it holds, and what it says.
    type Version = (Option<i64>, Option<String>, Option<i64>, Option<i64>);
    type Event = (Option<i64>, Option<String>, i64);

    fn text(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
        Arc::new(values.collect::<StringViewArray>())
    }

    fn int(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
        Arc::new(values.collect::<Int64Array>())
    }

    fn versions(rows: &[Version]) -> RecordBatch {
        let from: TimestampMicrosecondArray = rows.iter().map(|row| row.2).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("video", int(rows.iter().map(|row| row.0)), true),
            ("country", text(rows.iter().map(|row| row.1.clone())), true),
            (VALID_FROM, Arc::new(from) as ArrayRef, true),
            ("says", int(rows.iter().map(|row| row.3)), true),
        ])
        .unwrap()
    }

    fn events(rows: &[Event]) -> RecordBatch {
        let ts: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.2)).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("video", int(rows.iter().map(|row| row.0)), true),
            ("country", text(rows.iter().map(|row| row.1.clone())), true),
            ("ts", Arc::new(ts) as ArrayRef, true),
        ])
        .unwrap()
    }

    fn side(rows: &[Version]) -> Side {
        Side::new("facts", &["video".to_owned(), "country".to_owned()], "ts", &versions(rows)).unwrap()
    }

    /// Every event against every version.
    fn brute_force(events: &[Event], versions: &[Version]) -> Vec<Option<(Option<i64>, Option<i64>)>> {
        let holds = |event: &Event, version: &Version| {
            let same = event.0.is_some() && event.0 == version.0 && event.1.is_some() && event.1 == version.1;
            same && version.2.is_none_or(|from| from <= event.2)
        };
        let of = |event: &Event| versions.iter().filter(|version| holds(event, version)).map(|v| (v.2, v.3)).max();
        events.iter().map(of).collect()
    }

    #[test]
    fn as_of_is_what_brute_force_finds() {
        for seed in 0..200 {
            println!("seed {seed}");
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut maybe =
                |bound: i64, nulls: u32| (rng.random_range(0..nulls) > 0).then(|| rng.random_range(-1..bound));
            let country = |n: Option<i64>| {
                n.map(|n| ["a country with a long name", "", "c"][n.unsigned_abs() as usize % 3].to_owned())
            };
            let count = seed as usize % 60;
            let some: Vec<Version> =
                (0..count).map(|_| (maybe(4, 9), country(maybe(3, 9)), maybe(8, 6), maybe(5, 5))).collect();
            let asked: Vec<Event> =
                (0..100).map(|_| (maybe(5, 9), country(maybe(3, 9)), maybe(10, u32::MAX).unwrap_or(0))).collect();
            let found = side(&some).enrich(&events(&asked), false).unwrap();
            let from = found["facts_valid_from"].as_primitive::<TimestampMicrosecondType>();
            let says = found["facts_says"].as_primitive::<arrow::datatypes::Int64Type>();
            let expected: Vec<_> = brute_force(&asked, &some).into_iter().map(Option::unwrap_or_default).collect();
            assert_eq!(from.iter().zip(says.iter()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_version_is_that_of_the_rows() {
        let rows: [Version; 3] =
            [(Some(1), None, Some(5), Some(1)), (Some(1), None, None, Some(2)), (Some(0), None, Some(5), None)];
        let reversed: Vec<Version> = rows.iter().rev().cloned().collect();
        assert_eq!(side(&rows).version(), side(&reversed).version());
        assert_eq!(side(&rows).rows(), side(&reversed).rows());
        assert_ne!(side(&rows).version(), side(&rows[..2]).version());
        assert_ne!(side(&rows[..0]).version(), side(&rows[..1]).version());
        // Frozen: records of past runs name copies by it.
        assert_eq!(side(&rows).version(), "3e8c9df4ab50c4ac7d9a048b0f3eacf3");
    }

    #[test]
    fn keys_of_another_type_are_cast_and_other_inputs_left_alone() {
        let side = side(&[(Some(7), Some("x".to_owned()), None, Some(1))]);
        let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 0]));
        let of = |video: ArrayRef| {
            let rows = RecordBatch::try_from_iter([
                ("video", video),
                ("country", text([Some("x".to_owned()), Some("x".to_owned())].into_iter())),
                ("ts", ts.clone()),
            ]);
            side.enrich(&rows.unwrap(), true).unwrap()
        };
        for video in
            [text(["7", "seven"].map(|id| Some(id.to_owned())).into_iter()), int([Some(7), Some(8)].into_iter())]
        {
            let rows = of(video);
            assert_eq!(rows["facts_says"].as_ref(), int([Some(1), None].into_iter()).as_ref());
            assert!(rows["facts_stale"].as_boolean().iter().all(|stale| stale == Some(true)));
        }
        let other = RecordBatch::try_from_iter([("country", ts.clone()), ("ts", ts.clone())]).unwrap();
        assert_eq!(side.enrich(&other, false).unwrap(), other);
    }

    #[test]
    fn a_column_is_added_once() {
        let side = side(&[]);
        let twice = side.extended(&side.extended(&events(&[]).schema()).unwrap()).unwrap_err().to_string();
        assert!(twice.contains("second column facts_valid_from"), "{twice}");
    }
}
