//! The physical rule that joins and gathers in one operator: a left join whose rows are then gathered by columns of its
//! left side becomes a [`GroupJoinExec`], where a left row without a partner gathers nothing. The rows are the same, but
//! not which partition has them: so nothing above it may rely on that.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, JoinType, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_expr::projection::update_expr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{Partitioning, PhysicalExprRef, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{Distribution, ExecutionPlan, ExecutionPlanProperties};

use crate::attribution::touches::{TOUCHES, ends_only};
use crate::exec::group_join::GroupJoinExec;
use crate::exec::group_join::group_terms::{Ends, GroupJoin};
use crate::exec::lookup::lookup_rule::{is_plain, output};
use crate::exec::lookup::span::Span;

/// To be run when lists are gathered in one phase.
#[derive(Debug)]
pub(crate) struct GroupJoinRule;

impl PhysicalOptimizerRule for GroupJoinRule {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        joins(plan, false)
    }

    fn name(&self) -> &str {
        "group_join"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The same plan with group joins, but where something above relies on which of its rows are in which partition.
fn joins(plan: Arc<dyn ExecutionPlan>, relied: bool) -> Result<Arc<dyn ExecutionPlan>> {
    let aggregate = plan.downcast_ref::<AggregateExec>().filter(|_| !relied);
    if let Some(joined) = aggregate.map(joined).transpose()?.flatten() {
        return joined.map_children(|input| Ok(Transformed::yes(joins(input, false)?))).data();
    }
    let mut required = plan.input_distribution_requirements().into_per_child().into_iter();
    let deals = plan.downcast_ref::<RepartitionExec>().is_some();
    plan.map_children(|input| {
        let relied = match required.next() {
            Some(Distribution::SinglePartition) => false,
            Some(Distribution::UnspecifiedDistribution) => relied && !deals,
            _ => true,
        };
        Ok(Transformed::yes(joins(input, relied)?))
    })
    .data()
}

fn joined(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let whole = matches!(aggregate.mode(), AggregateMode::Single | AggregateMode::SinglePartitioned);
    let ([gathers], [None]) = (aggregate.aggr_expr(), aggregate.filter_expr()) else { return Ok(None) };
    let groups = aggregate.group_expr();
    if !whole || !groups.is_single() || groups.is_empty() || gathers.fun().name() != TOUCHES || gathers.is_distinct() {
        return Ok(None);
    }
    let rows = undealt(aggregate.input());
    let Some(projection) = rows.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let Some(join) = undealt(projection.input()).downcast_ref::<HashJoinExec>() else { return Ok(None) };
    let Some(turned) = Turned::of(join) else { return Ok(None) };
    let output = turned.output;
    let of_join = |expr: &PhysicalExprRef| update_expr(expr, projection.expr(), true);
    let mut group = Vec::new();
    for (expr, _) in aggregate.group_expr().expr() {
        match of_join(expr)?.and_then(|expr| expr.downcast_ref::<Column>().map(|column| output[column.index()].clone()))
        {
            Some(column) if column.side == JoinSide::Left => group.push(column.index),
            _ => return Ok(None),
        }
    }
    let Some(args) = gathers.expressions().iter().map(of_join).collect::<Result<Option<Vec<_>>>>()? else {
        return Ok(None);
    };
    // Without a time there is no entry.
    let time = args.first().and_then(|time| time.downcast_ref::<Column>());
    if !time.is_some_and(|time| output[time.index()].side == JoinSide::Right) {
        return Ok(None);
    }
    let span = turned.filter.as_ref().map(|filter| Span::of(filter, JoinSide::Right)).transpose()?.flatten();
    let ends = match &span {
        Some(span) if ends_only(&gathers.expressions()) => ends(&args, &output, span)?,
        _ => None,
    };
    // Which models there are is not told of each pair.
    let args: Vec<PhysicalExprRef> = args.into_iter().take(4).collect();
    let used: BTreeSet<usize> = args.iter().flat_map(collect_columns).map(|column| column.index()).collect();
    let used: Vec<usize> = used.into_iter().collect();
    let args = args.into_iter().map(|arg| among(arg, &used)).collect::<Result<_>>()?;
    let group_join = GroupJoin {
        on: turned.on,
        filter: turned.filter,
        span,
        ends,
        partnered: turned.partnered,
        group,
        aggregate: gathers.clone(),
        args,
        pair: used.iter().map(|column| output[*column].clone()).collect(),
        pair_schema: Arc::new(join.schema().project(&used)?),
    };
    let (left, right) = (turned.left, turned.right);
    if left.output_partitioning().partition_count() == 0 || right.output_partitioning().partition_count() == 0 {
        return Ok(None);
    }
    let (left, right) = (one_partition(unshuffled(left)), unshuffled(right).clone());
    Ok(Some(Arc::new(GroupJoinExec::new(left, right, Arc::new(group_join), aggregate.schema()))))
}

/// A left join, or a right join turned around to one.
struct Turned<'a> {
    left: &'a Arc<dyn ExecutionPlan>,
    right: &'a Arc<dyn ExecutionPlan>,
    on: Vec<(PhysicalExprRef, PhysicalExprRef)>,
    filter: Option<JoinFilter>,
    output: Vec<ColumnIndex>,
    partnered: Option<Arc<DynamicFilterPhysicalExpr>>,
}

impl<'a> Turned<'a> {
    fn of(join: &'a HashJoinExec) -> Option<Turned<'a>> {
        if !is_plain(join) {
            return None;
        }
        let (left, right, filter) = (join.left(), join.right(), join.filter().cloned());
        match join.join_type() {
            JoinType::Left => {
                let mut filters = join.dynamic_expressions_produced().into_iter();
                let partnered = filters.find_map(|filter| Arc::downcast(filter).ok());
                Some(Turned { left, right, on: join.on().to_vec(), filter, output: output(join), partnered })
            }
            // The rows that its filter is of are all read: it stays true.
            JoinType::Right => Some(Turned {
                left: right,
                right: left,
                on: join.on().iter().map(|(left, right)| (right.clone(), left.clone())).collect(),
                filter: filter.map(|filter| {
                    let columns = turned(filter.column_indices());
                    JoinFilter::new(filter.expression().clone(), columns, filter.schema().clone())
                }),
                output: turned(&output(join)),
                partnered: None,
            }),
            _ => None,
        }
    }
}

fn turned(columns: &[ColumnIndex]) -> Vec<ColumnIndex> {
    columns.iter().map(|column| ColumnIndex { side: column.side.negate(), ..column.clone() }).collect()
}

/// Which right rows count where only the ends of a list do; none where it cannot be told without a look at all pairs.
/// `args` are over what the join puts out.
fn ends(args: &[PhysicalExprRef], output: &[ColumnIndex], span: &Span) -> Result<Option<Ends>> {
    let right = |arg: &PhysicalExprRef| {
        let column = &output[arg.downcast_ref::<Column>()?.index()];
        (column.side == JoinSide::Right).then_some(column.index)
    };
    let ([time, identity, _, own, ..], whole) = (args, span.whole) else { return Ok(None) };
    let (Some(time), Some(identity)) = (right(time), right(identity)) else { return Ok(None) };
    if time != span.column || !whole {
        return Ok(None);
    }
    let mut pairs = Vec::new();
    for equal in split_conjunction(own).into_iter().filter(|own| !is_false(own)) {
        let Some(equal) = equal.downcast_ref::<BinaryExpr>().filter(|equal| *equal.op() == Operator::Eq) else {
            return Ok(None);
        };
        let sides = [equal.left(), equal.right()];
        let of = |side: JoinSide| sides.iter().find(|expr| is_of(expr, output, side));
        let (Some(left), Some(right)) = (of(JoinSide::Left), of(JoinSide::Right)) else { return Ok(None) };
        pairs.push((below(left, output)?, below(right, output)?));
    }
    Ok(Some(Ends { identity, own: pairs }))
}

/// Whether an expression is true of no row.
pub(crate) fn is_false(expr: &PhysicalExprRef) -> bool {
    let literal = expr.downcast_ref::<Literal>();
    literal.is_some_and(|literal| matches!(literal.value(), ScalarValue::Boolean(None | Some(false))))
}

/// Whether an expression over what a join puts out is one over columns of a side.
pub(crate) fn is_of(expr: &PhysicalExprRef, output: &[ColumnIndex], side: JoinSide) -> bool {
    let columns = collect_columns(expr);
    !columns.is_empty() && columns.iter().all(|column| output[column.index()].side == side)
}

/// The same over the columns of the side itself.
pub(crate) fn below(expr: &PhysicalExprRef, output: &[ColumnIndex]) -> Result<PhysicalExprRef> {
    let place = |column: &Column| Arc::new(Column::new(column.name(), output[column.index()].index)) as PhysicalExprRef;
    let placed = expr.clone().transform(|expr| {
        let placed = expr.downcast_ref::<Column>().map(place);
        Ok(placed.map_or_else(|| Transformed::no(expr), Transformed::yes))
    });
    placed.data()
}

/// An expression over all columns as one over those in use.
pub(crate) fn among(expr: PhysicalExprRef, used: &[usize]) -> Result<PhysicalExprRef> {
    expr.transform(|expr| {
        let place = |column: &Column| Some(Column::new(column.name(), used.binary_search(&column.index()).ok()?));
        let placed = expr.downcast_ref::<Column>().and_then(place);
        Ok(placed.map_or_else(|| Transformed::no(expr), |column| Transformed::yes(Arc::new(column) as _)))
    })
    .data()
}

/// What is below whatever deals rows to other threads: a group join deals its pairs itself.
fn undealt(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    plan.downcast_ref::<RepartitionExec>().map_or(plan, |dealt| undealt(dealt.input()))
}

/// What is below a shuffle by keys, which gives each thread its keys and not only its share.
fn unshuffled(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    match plan.downcast_ref::<RepartitionExec>() {
        Some(shuffle) if matches!(shuffle.partitioning(), Partitioning::Hash(..)) => unshuffled(shuffle.input()),
        _ => plan,
    }
}

fn one_partition(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match plan.output_partitioning().partition_count() {
        1 => plan.clone(),
        _ => Arc::new(CoalescePartitionsExec::new(plan.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
    use datafusion::datasource::MemTable;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::SessionContext;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::at_once::table_config;
    use crate::exec::gather::GatherOnce;
    use crate::lattice::Detail;
    use crate::scan::session;

    const GATHERED: &str = "select play, at, touches(shown, id, slot, own) as touches from (
        select l.id as play, l.ts as at, r.ts as shown, r.id, r.slot, l.n = r.n as own
        from lefts l left join rights r
          on l.k = r.k and l.ts between r.ts and r.ts + interval '3 seconds')
        group by play, at";

    /// Ids that come twice, keys that are null or have no partner, times that are equal.
    fn rows(random: &mut StdRng) -> RecordBatch {
        let count = random.random_range(0..30);
        let mut some = |of: i64| -> Vec<Option<i64>> {
            (0..count).map(|_| random.random_bool(0.9).then(|| random.random_range(0..of))).collect()
        };
        let text = |numbers: Vec<Option<i64>>| -> ArrayRef {
            let text = |number: i64| format!("an id that is longer than twelve bytes {number}");
            Arc::new(numbers.into_iter().map(|number| number.map(text)).collect::<StringViewArray>())
        };
        let times = some(8).into_iter().map(|second| Some(second.unwrap_or(0) * 1_000_000));
        let columns: [(&str, ArrayRef); 5] = [
            ("id", text(some(20))),
            ("ts", Arc::new(times.collect::<TimestampMicrosecondArray>())),
            ("k", Arc::new(Int64Array::from(some(6)))),
            ("n", Arc::new(Int64Array::from(some(2)))),
            ("slot", text(some(3))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    /// Rows with these keys, at one time.
    fn rows_of(keys: &[i64]) -> RecordBatch {
        let text = |number: usize| format!("id {number}");
        let ids: ArrayRef = Arc::new((0..keys.len()).map(|number| Some(text(number))).collect::<StringViewArray>());
        let numbers: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0; keys.len()]));
        let columns = [("id", ids.clone()), ("ts", times), ("k", numbers.clone()), ("n", numbers), ("slot", ids)];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn tables(random: &mut StdRng, context: &SessionContext, again: &SessionContext) {
        for name in ["lefts", "rights"] {
            let partitions: Vec<Vec<RecordBatch>> = (0..random.random_range(1..4))
                .map(|_| (0..random.random_range(1..3)).map(|_| rows(random)).collect())
                .collect();
            let table = Arc::new(MemTable::try_new(partitions[0][0].schema(), partitions).unwrap());
            context.register_table(name, table.clone()).unwrap();
            again.register_table(name, table).unwrap();
        }
    }

    fn context(threads: usize, rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>) -> SessionContext {
        session(&table_config(threads), rules, Arc::default(), false, Detail::Whole)
    }

    /// The rows of a query, in order, and whether a group join made them.
    async fn gathered(context: &SessionContext, query: &str) -> Result<(Vec<String>, bool)> {
        let plan = context.sql(query).await?.create_physical_plan().await?;
        let joined = displayable(plan.as_ref()).indent(false).to_string().contains("GroupJoinExec");
        let rows = collect(plan, context.task_ctx()).await?;
        let text = datafusion::arrow::util::pretty::pretty_format_batches(&rows)?.to_string();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        Ok((lines, joined))
    }

    /// In how many of some runs a group join made the rows, which are those of the usual plan in all of them.
    async fn joined_of(query: &str, runs: u64) -> u64 {
        let mut times = 0;
        for seed in 0..runs {
            let random = &mut StdRng::seed_from_u64(seed);
            let parts = random.random_range(2..5);
            let ours = context(parts, vec![Arc::new(GatherOnce), Arc::new(GroupJoinRule)]);
            let usual = context(parts, Vec::new());
            tables(random, &ours, &usual);
            let (found, joined) = gathered(&ours, query).await.unwrap();
            assert_eq!(found, gathered(&usual, query).await.unwrap().0, "seed {seed}: {query}");
            times += u64::from(joined);
        }
        times
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_group_join_gathers_what_a_join_and_an_aggregate_do() {
        let times = joined_of(GATHERED, 100).await;
        // The planner turns a join around where the left side is the larger one.
        assert!(times > 40, "{times}");
        assert!(joined_of(&format!("select * from ({GATHERED}) where at > '1970-01-01T00:00:02'"), 20).await > 0);
        // Also below a join, where it reads one side as it comes.
        let again = format!("select a.play, b.at, a.touches from ({GATHERED}) a join ({GATHERED}) b using (play, at)");
        assert!(joined_of(&again, 20).await > 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_no_group_join_stays_as_it_is() {
        let counted = format!("select at, count(*) from ({GATHERED}) group by at");
        for query in [
            &GATHERED.replace("left join", "join"),
            &GATHERED.replace("left join", "full join"),
            &GATHERED.replace("l.k = r.k", "(l.k is not distinct from r.k)"),
            &GATHERED.replace("r.ts as shown", "coalesce(r.ts, l.ts) as shown"),
            &GATHERED.replace("l.ts as at", "r.ts as at"),
            &GATHERED.replace("own) as touches", "own) filter (where own) as touches"),
            &GATHERED.replace("play, at, touches", "touches").replace("group by play, at", ""),
            &counted,
        ] {
            assert_eq!(joined_of(query, 20).await, 0, "{query}");
        }
    }

    #[tokio::test]
    async fn a_row_that_fails_ends_all_partitions() {
        let ours = context(3, vec![Arc::new(GatherOnce), Arc::new(GroupJoinRule)]);
        let (few, many) = (rows_of(&[1, 2, 3]), rows_of(&[1; 40]));
        ours.register_batch("lefts", few).unwrap();
        let many = MemTable::try_new(many.schema(), vec![vec![many.clone()], vec![many.clone()], vec![many]]).unwrap();
        ours.register_table("rights", Arc::new(many)).unwrap();
        let left = "(select id, ts, k, 10 / (n - n) as n from lefts) l";
        for failing in [GATHERED.replace("l.n = r.n", "10 / (r.n - r.n) = l.n"), GATHERED.replace("lefts l", left)] {
            let plan = ours.sql(&failing).await.unwrap().create_physical_plan().await.unwrap();
            assert!(displayable(plan.as_ref()).indent(false).to_string().contains("GroupJoinExec"), "{failing}");
            let ended = tokio::time::timeout(Duration::from_secs(60), collect(plan, ours.task_ctx())).await.unwrap();
            let error = ended.unwrap_err().to_string();
            assert!(error.contains("ivide by zero"), "{error}");
        }
    }
}
