//! One value of each float: 0.0 and -0.0 are one, and so is every NaN. What compares bytes (hashes, sorts, state, files)
//! then agrees with what compares numbers. Of an input these are the columns that the script names, as only such are
//! compared; the others pass as they are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, col,
};

use crate::script::bind::Input;

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// Floats with 0.0 for -0.0, and one NaN for all; anything else as it is.
pub fn one_value(column: &ArrayRef) -> ArrayRef {
    // -0.0 + 0.0 is 0.0.
    macro_rules! one {
        ($kind:ty, $nan:expr, $zero:expr) => {
            Arc::new(column.as_primitive::<$kind>().unary::<_, $kind>(|x| if x.is_nan() { $nan } else { x + $zero }))
                as ArrayRef
        };
    }
    match column.data_type() {
        DataType::Float16 => one!(Float16Type, Half::NAN, Half::ZERO),
        DataType::Float32 => one!(Float32Type, f32::NAN, 0.0),
        DataType::Float64 => one!(Float64Type, f64::NAN, 0.0),
        _ => column.clone(),
    }
}

/// [`one_value`] in SQL: `one_float(column)`.
pub fn one_float() -> ScalarUDF {
    ScalarUDF::new_from_impl(OneFloat { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OneFloat {
    signature: Signature,
}

impl ScalarUDFImpl for OneFloat {
    fn name(&self) -> &str {
        "one_float"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        Ok(kinds[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array(one_value(&args.args[0].to_array(args.number_rows)?)))
    }
}

impl Input {
    /// Rows with one value of each float that the script may compare.
    pub(crate) fn with_one_float(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        if self.floats.is_empty() {
            return Ok(rows.clone());
        }
        let schema = rows.schema();
        let columns =
            schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
                if self.floats.contains(field.name()) { one_value(column) } else { column.clone() }
            });
        Ok(RecordBatch::try_new(schema.clone(), columns.collect())?)
    }

    /// The same of a table.
    pub(crate) fn over_one_float(&self, table: LogicalPlan) -> Result<LogicalPlan> {
        if self.floats.is_empty() {
            return Ok(table);
        }
        let columns: Vec<Expr> = self
            .seen
            .fields()
            .iter()
            .map(|field| {
                let column = col(Column::from_name(field.name()));
                let compared = self.floats.contains(field.name());
                if compared { one_float().call(vec![column]).alias(field.name()) } else { column }
            })
            .collect();
        LogicalPlanBuilder::from(table).project(columns)?.build()
    }
}
