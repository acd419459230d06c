//! `edge_of(cell, edges)`: how far the sample of a row's cell reaches. As a function of the row, and not a join, it lets a
//! scan drop a row before it reads the columns that only the sample needs.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// `edge_of(cell, edges)`: the edge of a cell, null where it has none. `edges` is one value: a list of structs of cell and
/// edge, in the order of cells.
pub(crate) fn edge_of() -> ScalarUDF {
    ScalarUDF::new_from_impl(EdgeOf { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct EdgeOf {
    signature: Signature,
}

impl ScalarUDFImpl for EdgeOf {
    fn name(&self) -> &str {
        "edge_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let cells = cast(&args.args[0].to_array(args.number_rows)?, &DataType::Utf8View)?;
        let broken = || DataFusionError::Plan("edges are a list of structs of a cell and its edge".to_owned());
        let ColumnarValue::Scalar(ScalarValue::List(list)) = &args.args[1] else { return Err(broken()) };
        let edges = list.values().as_struct_opt().filter(|entry| entry.num_columns() == 2).ok_or_else(broken)?;
        let known = edges.column(0).as_string_view_opt().ok_or_else(broken)?;
        let edge = edges.column(1).as_primitive_opt::<UInt64Type>().ok_or_else(broken)?;
        Ok(ColumnarValue::Array(Arc::new(edges_of(cells.as_string_view(), known, edge))))
    }
}

/// Neighbours are often of one cell, which is looked up once.
fn edges_of(cells: &StringViewArray, known: &StringViewArray, edges: &UInt64Array) -> UInt64Array {
    let mut last = (None, None);
    let edge = |(cell, view): (Option<&str>, &u128)| {
        let cell = cell?;
        if last.0 != Some(*view) {
            let place = place(known, cell);
            last = (Some(*view), place.map(|place| edges.value(place)));
        }
        last.1
    };
    cells.iter().zip(cells.views()).map(edge).collect()
}

/// Where a text is in an ascending list.
fn place(known: &StringViewArray, cell: &str) -> Option<usize> {
    let (mut from, mut to) = (0, known.len());
    while from < to {
        let middle = from.midpoint(to);
        match known.value(middle).cmp(cell) {
            Ordering::Less => from = middle + 1,
            Ordering::Equal => return Some(middle),
            Ordering::Greater => to = middle,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_has_its_edge() {
        let known = StringViewArray::from_iter_values(["-2:US", "-2:US6:mobile and more", "-4:null"]);
        let edges = UInt64Array::from(vec![1, 2, u64::MAX]);
        let cells = ["-4:null", "-2:US6:mobile and more", "-2:US6:mobile and more", "-2:US", "-2:US6:mobile and mort"];
        let cells = StringViewArray::from_iter(cells.map(Some).into_iter().chain([None]));
        let found: Vec<_> = edges_of(&cells, &known, &edges).iter().collect();
        assert_eq!(found, [Some(u64::MAX), Some(2), Some(2), Some(1), None, None]);
    }
}
