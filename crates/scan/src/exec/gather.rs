//! The physical rule that gathers lists once. The engine aggregates before it shuffles rows to the thread that has their
//! group, and again after that; a list is not made smaller by the first, only copied: so its rows are shuffled as they
//! are.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

use crate::aggregate::repeated::REPEATS;
use crate::attribution::touches::TOUCHES;

/// Rewrites aggregations in two phases of what gathers lists to one.
#[derive(Debug)]
pub(crate) struct GatherOnce;

impl PhysicalOptimizerRule for GatherOnce {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let once = node.downcast_ref::<AggregateExec>().map(once).transpose()?.flatten();
            Ok(once.map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &str {
        "gather_once"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn once(last: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let gathers = last.aggr_expr().iter().any(|aggregate| [TOUCHES, REPEATS].contains(&aggregate.fun().name()));
    let Some(shuffle) = last.input().downcast_ref::<RepartitionExec>().filter(|_| gathers) else { return Ok(None) };
    let Some(first) = shuffle.input().downcast_ref::<AggregateExec>() else { return Ok(None) };
    if (*last.mode(), *first.mode()) != (AggregateMode::FinalPartitioned, AggregateMode::Partial) {
        return Ok(None);
    }
    let to = Partitioning::Hash(first.group_expr().input_exprs(), shuffle.partitioning().partition_count());
    let rows = RepartitionExec::try_new(first.input().clone(), to)?;
    let gathered = AggregateExec::try_new(
        AggregateMode::SinglePartitioned,
        first.group_expr().clone(),
        first.aggr_expr().to_vec(),
        first.filter_expr().to_vec(),
        Arc::new(rows),
        first.input_schema(),
    )?;
    Ok(Some(Arc::new(gathered)))
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::attribution::touches::touches;
    use crate::lattice::Detail;

    #[tokio::test]
    async fn lists_are_gathered_in_one_phase_and_counts_in_two() {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        context.register_udaf(touches(Detail::Whole));
        let values = "(values (1, timestamp '2026-11-20', 'a'), (2, timestamp '2026-11-20', 'b')) t (play, ts, id)";
        context.sql(&format!("create table shown as select * from {values}")).await.unwrap();
        let plan = async |aggregate: &str| {
            let query = format!("select play, {aggregate} from shown group by play");
            let plan = context.sql(&query).await.unwrap().create_physical_plan().await.unwrap();
            let plan = GatherOnce.optimize(plan, &ConfigOptions::default()).unwrap();
            displayable(plan.as_ref()).indent(false).to_string()
        };
        let (gathered, counted) = (plan("touches(ts, id, '', true)").await, plan("count(id)").await);
        assert!(gathered.contains("mode=SinglePartitioned") && !gathered.contains("mode=Partial"), "{gathered}");
        assert!(counted.contains("mode=FinalPartitioned") && counted.contains("mode=Partial"), "{counted}");
    }
}
