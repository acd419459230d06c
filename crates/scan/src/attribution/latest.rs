//! The one of some touches that counts where only one does: `latest(touches)`, the row of the latest of its own, else of
//! the latest; and `has_own(touches)`, whether one is its own.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, ListArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::attribution::credits::field;

/// `latest(touches)`; null where there is none.
pub(crate) fn latest() -> ScalarUDF {
    ScalarUDF::new_from_impl(Latest { signature: Signature::any(1, Volatility::Immutable) })
}

/// `has_own(touches)`.
pub(crate) fn has_own() -> ScalarUDF {
    ScalarUDF::new_from_impl(HasOwn { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Latest {
    signature: Signature,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct HasOwn {
    signature: Signature,
}

/// Of each list the place of its latest entry that is its own.
fn latest_own(touches: &ListArray) -> impl Iterator<Item = Option<usize>> {
    let own = touches.values().as_struct().column(3).as_boolean();
    let is_own = |at: &usize| own.is_valid(*at) && own.value(*at);
    touches.value_offsets().windows(2).map(move |bounds| (bounds[0] as usize..bounds[1] as usize).rev().find(is_own))
}

impl ScalarUDFImpl for Latest {
    fn name(&self) -> &str {
        "latest"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        field(&args[0], "row")
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let touches = args.args[0].to_array(args.number_rows)?;
        let touches = touches.as_list::<i32>();
        let ends =
            touches.value_offsets().windows(2).map(|bounds| (bounds[0] < bounds[1]).then(|| bounds[1] as usize - 1));
        let latest = latest_own(touches).zip(ends).map(|(own, end)| own.or(end).map(|at| at as u32));
        let rows = take(touches.values().as_struct().column(2), &latest.collect::<UInt32Array>(), None)?;
        Ok(ColumnarValue::Array(rows))
    }
}

impl ScalarUDFImpl for HasOwn {
    fn name(&self) -> &str {
        "has_own"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        field(&args[0], "own")
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let touches = args.args[0].to_array(args.number_rows)?;
        let has: BooleanArray = latest_own(touches.as_list::<i32>()).map(|own| Some(own.is_some())).collect();
        Ok(ColumnarValue::Array(Arc::new(has)))
    }
}
