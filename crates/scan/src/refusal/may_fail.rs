//! Whether an expression may fail on a row, by what it is made of.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr};
use datafusion::physical_plan::PhysicalExpr;

/// Functions that answer to every row that there can be.
const INFALLIBLE: &str = "array_has array_length bottom_edge btrim cardinality cell character_length coalesce concat \
                          contains date_bin date_part date_trunc edge_of ends_with get_field greatest id_count items least \
                          lower ltrim named_struct nullif nvl replace reverse rtrim split starts_with strpos struct \
                          text_list unit_hash upper";

/// Whether an expression may fail on a row of these columns.
pub(crate) fn may_fail(expression: &Arc<dyn PhysicalExpr>, columns: &Schema) -> bool {
    let mut fails = false;
    let walked = expression.apply(|part| {
        fails |= fails_itself(part, columns);
        Ok(if fails { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    fails || walked.is_err()
}

fn fails_itself(part: &Arc<dyn PhysicalExpr>, columns: &Schema) -> bool {
    if let Some(cast) = part.downcast_ref::<CastExpr>() {
        let from = cast.expr().data_type(columns);
        return from.map_or(true, |from| !always_casts(&from, cast.cast_type()));
    }
    if let Some(binary) = part.downcast_ref::<BinaryExpr>() {
        let whole = || binary.data_type(columns).map_or(true, |of| !of.is_floating());
        let divides = matches!(binary.op(), Operator::Divide | Operator::Modulo | Operator::IntegerDivide);
        let counts = matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply);
        let wide = || binary.data_type(columns).map_or(true, |of| !of.is_integer() && !of.is_floating());
        return divides && whole() || counts && wide();
    }
    let function = part.downcast_ref::<ScalarFunctionExpr>();
    function.is_some_and(|function| !INFALLIBLE.split(' ').any(|name| name == function.name()))
}

/// Whether every value of one type is one of another.
fn always_casts(from: &DataType, to: &DataType) -> bool {
    use DataType::{Boolean, Float32, Float64, Int64, LargeUtf8, Null, Utf8, Utf8View};
    let text = |of: &DataType| matches!(of, Utf8 | LargeUtf8 | Utf8View);
    from == to
        || *from == Null
        || text(to) && (text(from) || from.is_numeric() || from.is_temporal() || *from == Boolean)
        || from.is_integer() && matches!(to, Float32 | Float64)
        || *from == Float32 && *to == Float64
        || *from == Boolean && to.is_integer()
        || *to == Int64 && from.is_integer() && *from != DataType::UInt64
        || CastExpr::check_bigger_cast(to, from)
}
