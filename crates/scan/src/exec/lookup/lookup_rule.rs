//! The physical rule that turns a hash join of a batch with state into a look-up by key. f does not change: where the
//! rule finds nothing to do, the hash join gives the same rows, at the cost of all state a step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, JoinType, NullEquality};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, build_join_schema};

use crate::exec::lookup::span::Span;
use crate::exec::lookup::{KeyLookupJoinExec, Kind, Lookup};
use crate::exec::slot::{Slot, slot_below};
use crate::state::layout::LookedUp;

/// The column sets that joins look up, by table of state: each becomes an index.
pub(crate) type Lookups = BTreeMap<String, Vec<LookedUp>>;

/// Rewrites joins with state, and remembers which indexes they need.
#[derive(Debug, Default)]
pub(crate) struct KeyLookupRule {
    lookups: Mutex<Lookups>,
}

impl KeyLookupRule {
    /// The indexes that all plans so far need.
    pub(crate) fn lookups(&self) -> Lookups {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lookup of a table by some columns, made where there is none.
    pub(crate) fn index(&self, table: &str, columns: Vec<usize>, by_time: bool) -> usize {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lookups.entry(table.to_owned()).or_default();
        let at = known.iter().position(|held| held.columns == columns).unwrap_or_else(|| {
            known.push(LookedUp { columns, by_time, own: None });
            known.len() - 1
        });
        known[at].by_time |= by_time;
        at
    }

    /// Lets a lookup tell which rows are a probing row's own, by these columns; whether it tells no other.
    pub(crate) fn tells_own(&self, table: &str, lookup: usize, own: Vec<usize>) -> bool {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let held = lookups.get_mut(table).and_then(|held| held.get_mut(lookup));
        held.is_some_and(|held| *held.own.get_or_insert_with(|| own.clone()) == own)
    }

    fn rewrite(&self, join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let sides = [(JoinSide::Left, join.right()), (JoinSide::Right, join.left())];
        for (batch_side, state_side) in sides {
            let Some(slot) = slot_below(state_side) else { continue };
            let Slot::State(table) = &slot.slot else { continue };
            let Some(kind) = kind(*join.join_type(), batch_side) else { continue };
            if !is_plain(join) {
                continue;
            }
            let mut keys = Vec::new();
            for (left, right) in join.on() {
                let (batch, state) = if batch_side == JoinSide::Left { (left, right) } else { (right, left) };
                let Some(column) = state.downcast_ref::<Column>() else { return Ok(None) };
                keys.push((batch.clone(), slot.columns[column.index()]));
            }
            let span = join.filter().map(|filter| Span::of(filter, state_side_of(batch_side))).transpose()?.flatten();
            let span = span.map(|span| Span { column: slot.columns[span.column], ..span });
            let by_time = span.is_some();
            let lookup = Lookup {
                kind,
                table: table.clone(),
                lookup: self.index(table, keys.iter().map(|key| key.1).collect(), by_time),
                keys,
                filter: join.filter().cloned(),
                span,
                standing: slot.standing,
                batch_side,
                state_columns: slot.columns.clone(),
                output: output(join),
            };
            let batch = if batch_side == JoinSide::Left { join.left() } else { join.right() };
            let node = KeyLookupJoinExec::new(Arc::new(lookup), vec![batch.clone()], join.schema());
            return Ok(Some(Arc::new(node)));
        }
        Ok(None)
    }
}

fn state_side_of(batch: JoinSide) -> JoinSide {
    if batch == JoinSide::Left { JoinSide::Right } else { JoinSide::Left }
}

/// Whether a join has nothing but its keys and its filter that says which pairs come out.
pub(crate) fn is_plain(join: &HashJoinExec) -> bool {
    join.null_equality() == NullEquality::NullEqualsNothing && !join.null_aware && join.fetch().is_none()
}

/// Where each column comes from that a join puts out.
pub(crate) fn output(join: &HashJoinExec) -> Vec<ColumnIndex> {
    let all = build_join_schema(&join.left().schema(), &join.right().schema(), join.join_type()).1;
    match &join.projection {
        Some(projection) => projection.iter().map(|column| all[*column].clone()).collect(),
        None => all,
    }
}

/// What a join type means for a batch on this side; `None` where it needs every row of state.
fn kind(join: JoinType, batch: JoinSide) -> Option<Kind> {
    match (join, batch) {
        (JoinType::Inner, _) => Some(Kind::Pairs { outer: false }),
        (JoinType::Left, JoinSide::Left) | (JoinType::Right, JoinSide::Right) => Some(Kind::Pairs { outer: true }),
        (JoinType::LeftSemi, JoinSide::Left) | (JoinType::RightSemi, JoinSide::Right) => {
            Some(Kind::Batch { matched: true })
        }
        (JoinType::LeftAnti, JoinSide::Left) | (JoinType::RightAnti, JoinSide::Right) => {
            Some(Kind::Batch { matched: false })
        }
        (JoinType::LeftSemi, JoinSide::Right) | (JoinType::RightSemi, JoinSide::Left) => Some(Kind::State),
        _ => None,
    }
}

impl PhysicalOptimizerRule for KeyLookupRule {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let rewritten = node.downcast_ref::<HashJoinExec>().map(|join| self.rewrite(join)).transpose()?.flatten();
            Ok(rewritten.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &str {
        "key_lookup"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
