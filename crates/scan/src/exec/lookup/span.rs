//! Between which times a join says that a partner may be: the comparisons of its filter that hold a column of time
//! against what is known of the other side.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExprRef, split_conjunction};
use datafusion::physical_plan::joins::utils::JoinFilter;
use event_time::TIME;

use crate::exec::pairs::evaluated;

/// Bounds of the time of a partner.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// The partner's column of time, counted among the columns of its side.
    pub column: usize,
    pub bounds: Vec<Bound>,
    /// Whether the filter asks for nothing else.
    pub whole: bool,
}

/// A bound: `time + shift OP value`.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// Microseconds.
    shift: i64,
    op: Operator,
    /// Over the columns of the other side.
    value: PhysicalExprRef,
}

impl Span {
    /// The bounds that a filter sets to the first column of time on one side that it sets any to.
    pub(crate) fn of(filter: &JoinFilter, side: JoinSide) -> Result<Option<Span>> {
        let conjuncts = split_conjunction(filter.expression());
        let compared: Vec<_> =
            conjuncts.iter().map(|conjunct| compared(conjunct, filter, side)).collect::<Result<_>>()?;
        let Some(column) = compared.iter().flatten().map(|(column, _)| *column).next() else { return Ok(None) };
        let bounds = compared.into_iter().flatten().filter(|(of, _)| *of == column).map(|(_, bound)| bound);
        let bounds: Vec<Bound> = bounds.collect();
        let whole = bounds.len() == conjuncts.len();
        Ok(Some(Span { column, bounds, whole }))
    }

    /// The first and the last time, microseconds, that a partner of each row may have; where it can have none, the first
    /// is after the last.
    pub(crate) fn of_rows(&self, rows: &RecordBatch) -> Result<Vec<(i64, i64)>> {
        let mut spans = vec![(i64::MIN, i64::MAX); rows.num_rows()];
        let values = evaluated(self.bounds.iter().map(|bound| &bound.value), rows)?;
        for (Bound { op, shift, .. }, values) in self.bounds.iter().zip(&values) {
            let values = values.as_primitive::<TimestampMicrosecondType>();
            for (row, (first, last)) in spans.iter_mut().enumerate() {
                let value = values.is_valid(row).then(|| values.value(row).saturating_sub(*shift));
                match (op, value) {
                    (_, None) => (*first, *last) = (i64::MAX, i64::MIN),
                    (Operator::Gt, Some(value)) => *first = (*first).max(value.saturating_add(1)),
                    (Operator::GtEq, Some(value)) => *first = (*first).max(value),
                    (Operator::Lt, Some(value)) => *last = (*last).min(value.saturating_sub(1)),
                    (_, Some(value)) => *last = (*last).min(value),
                }
            }
        }
        Ok(spans)
    }
}

/// What a conjunct compares: a column of time of this side, and how it is bounded by the other side.
fn compared(conjunct: &PhysicalExprRef, filter: &JoinFilter, side: JoinSide) -> Result<Option<(usize, Bound)>> {
    let Some(binary) = conjunct.downcast_ref::<BinaryExpr>() else { return Ok(None) };
    let column = |expr: &PhysicalExprRef| {
        let (expr, shift) = shifted(expr);
        let at = expr.downcast_ref::<Column>()?.index();
        let index = &filter.column_indices()[at];
        (index.side == side && *filter.schema().field(at).data_type() == TIME).then_some((index.index, shift))
    };
    let ((column, shift), op, value) = match (column(binary.left()), column(binary.right())) {
        (Some(column), None) => (column, Some(*binary.op()), binary.right()),
        (None, Some(column)) => (column, binary.op().swap(), binary.left()),
        _ => return Ok(None),
    };
    let op = op.filter(|op| matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq));
    let other = |column: &Column| filter.column_indices()[column.index()].side != side;
    let is_value = collect_columns(value).iter().all(other) && value.data_type(filter.schema())? == TIME;
    let Some(op) = op.filter(|_| is_value) else { return Ok(None) };
    let value = value.clone().transform(|expr| {
        let place = expr.downcast_ref::<Column>().map(|column| {
            Arc::new(Column::new(column.name(), filter.column_indices()[column.index()].index)) as PhysicalExprRef
        });
        Ok(place.map_or_else(|| Transformed::no(expr), Transformed::yes))
    });
    Ok(Some((column, Bound { shift, op, value: value.data()? })))
}

/// An expression without the microseconds of fixed length that are added to it, and those.
fn shifted(expr: &PhysicalExprRef) -> (&PhysicalExprRef, i64) {
    let sum = expr.downcast_ref::<BinaryExpr>();
    let length = sum.and_then(|sum| match (sum.op(), sum.right().downcast_ref::<Literal>()?.value()) {
        (Operator::Plus, ScalarValue::DurationMicrosecond(Some(us))) => Some((sum.left(), *us)),
        (Operator::Minus, ScalarValue::DurationMicrosecond(Some(us))) => Some((sum.left(), us.checked_neg()?)),
        _ => None,
    });
    length.unwrap_or((expr, 0))
}
