//! What scripts of attribution read from the impressions before a play: `credits(touches, models, half_life)`, the
//! credited impressions by model, and `sources(touches)`, where the play and its discovery came from.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, ListArray, StringViewBuilder, StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use event_time::TIME;

use crate::attribution::credit::{Model, ONE, SCALE};
use crate::script::declare::microseconds;

/// `credits(touches, 'last,linear', half_life)`: by model, each impression that has a share in the play, with that
/// share; where there is none, one entry with a null impression and the whole credit.
pub(crate) fn credits() -> ScalarUDF {
    ScalarUDF::new_from_impl(Credits { signature: Signature::any(3, Volatility::Immutable) })
}

/// `sources(touches)`: `play`, the row of the latest impression of the play's own request, else of the latest;
/// `discovery`, the row of the first; `candidates`, how many there are.
pub(crate) fn sources() -> ScalarUDF {
    ScalarUDF::new_from_impl(Sources { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Credits {
    signature: Signature,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sources {
    signature: Signature,
}

/// The type of a field of a list's entries.
pub(crate) fn field(list: &DataType, name: &str) -> Result<DataType> {
    let found = match list {
        DataType::List(item) => match item.data_type() {
            DataType::Struct(fields) => fields.find(name).map(|(_, field)| field.data_type().clone()),
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| DataFusionError::Plan(format!("{list} is not what touches(…) gives")))
}

fn credited(id: DataType) -> Fields {
    Fields::from(vec![
        Field::new("model", DataType::Utf8View, true),
        Field::new("impression_event_id", id, true),
        Field::new("impression_ts", TIME, true),
        Field::new("credit", DataType::Decimal128(SCALE as u8 + 1, SCALE), true),
    ])
}

impl ScalarUDFImpl for Credits {
    fn name(&self) -> &str {
        "credits"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        let entry = DataType::Struct(credited(field(&args[0], "id")?));
        Ok(DataType::List(Arc::new(Field::new("item", entry, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let touches = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(shared(touches.as_list::<i32>(), &models(&args.args[1])?, half_life(&args.args[2])?)?))
    }
}

fn models(value: &ColumnarValue) -> Result<Vec<Model>> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8View(Some(text)) | ScalarValue::Utf8(Some(text))) => {
            text.split(',').map(|name| name.parse().map_err(DataFusionError::Plan)).collect()
        }
        _ => Err(DataFusionError::Plan("the models of credits are a text: 'last,linear'".to_owned())),
    }
}

/// Microseconds.
fn half_life(value: &ColumnarValue) -> Result<i64> {
    let life = match value {
        ColumnarValue::Scalar(life) => microseconds(life),
        ColumnarValue::Array(_) => None,
    };
    life.ok_or_else(|| DataFusionError::Plan("the half-life of credits is an interval of days or less".to_owned()))
}

fn shared(touches: &ListArray, models: &[Model], half_life: i64) -> Result<ArrayRef> {
    let entries = touches.values().as_struct();
    let times = entries.column(0).as_primitive::<TimestampMicrosecondType>();
    let names: Vec<String> = models.iter().map(Model::to_string).collect();
    let (mut offsets, mut which, mut shares) = (vec![0i32], Vec::<Option<u32>>::new(), Vec::<i128>::new());
    let (mut model_of, mut given) = (StringViewBuilder::new(), Vec::new());
    for bounds in touches.value_offsets().windows(2) {
        let (from, to) = (bounds[0] as usize, bounds[1] as usize);
        for (model, name) in models.iter().zip(&names) {
            given.clear();
            model.credits(&times.values()[from..to], half_life, &mut given);
            if given.is_empty() {
                which.push(None);
                shares.push(ONE);
                model_of.append_value(name);
            }
            for (at, share) in &given {
                which.push(Some((from + at) as u32));
                shares.push(*share);
                model_of.append_value(name);
            }
        }
        offsets.push(which.len() as i32);
    }
    let which = UInt32Array::from(which);
    let shares = Decimal128Array::from(shares).with_precision_and_scale(SCALE as u8 + 1, SCALE)?;
    let fields = credited(entries.column(1).data_type().clone());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(model_of.finish()),
        take(entries.column(1), &which, None)?,
        take(entries.column(0), &which, None)?,
        Arc::new(shares),
    ];
    let values = StructArray::try_new(fields.clone(), columns, None)?;
    let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::new(offsets.into()), Arc::new(values), None)?))
}

impl ScalarUDFImpl for Sources {
    fn name(&self) -> &str {
        "sources"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(source(field(&args[0], "row")?)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let touches = args.args[0].to_array(args.number_rows)?;
        let touches = touches.as_list::<i32>();
        let entries = touches.values().as_struct();
        let own = entries.column(3).as_boolean();
        let (mut plays, mut discoveries) = (Vec::new(), Vec::new());
        for bounds in touches.value_offsets().windows(2) {
            let (from, to) = (bounds[0] as usize, bounds[1] as usize);
            let of_request = (from..to).rev().find(|at| own.is_valid(*at) && own.value(*at));
            plays.push(of_request.or_else(|| (from..to).last()).map(|at| at as u32));
            discoveries.push((from < to).then_some(from as u32));
        }
        let row = |at| take(entries.column(2), &UInt32Array::from(at), None);
        let fields = source(entries.column(2).data_type().clone());
        // Where a list does not have all of them, each of its entries says how many there are.
        let told = entries.column(4).as_primitive::<Int64Type>();
        let candidates = touches.value_offsets().windows(2).map(|bounds| {
            let (from, to) = (bounds[0] as usize, bounds[1] as usize);
            if from < to && told.is_valid(from) { told.value(from) } else { (to - from) as i64 }
        });
        let candidates = Arc::new(Int64Array::from_iter_values(candidates));
        let columns = vec![row(plays)?, row(discoveries)?, candidates];
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(fields, columns, None)?)))
    }
}

fn source(row: DataType) -> Fields {
    Fields::from(vec![
        Field::new("play", row.clone(), true),
        Field::new("discovery", row, true),
        Field::new("candidates", DataType::Int64, true),
    ])
}
