//! What an output holds of what f read: the way back from the rows of several regions to the inputs of one f.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col, lit};

use crate::script::binding::canonical;
use crate::script::conform::{conforming, nothing};

/// Tables by the name of the input that they are.
pub type Inputs = BTreeMap<String, Arc<dyn TableProvider>>;

/// What the rows of an output hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// Every impression and every play, alone or in pairs: those of a full join.
    Halves {
        /// The columns that both halves share.
        on: Vec<String>,
        /// The column of each half that says when it happened.
        time: String,
    },
    /// The request ids of every group and epoch: those of counts with their sets.
    Sets {
        /// The columns of a group.
        by: Vec<String>,
        /// The column of the inputs that says when, and here when an epoch begins.
        time: String,
    },
    /// Nothing but themselves: the input `rows`, with the hour that each lives in as `_merged_hour`, and whose it is as
    /// `_merged_region`.
    Rows,
}

impl Held {
    /// The inputs of f that the outputs of regions hold together. The outputs have the columns of `schema`, and `hour`
    /// is where rows live that hold nothing but themselves, microseconds.
    ///
    /// # Errors
    /// A schema without the columns that are to be held.
    pub fn inputs(
        &self,
        schema: &SchemaRef,
        regions: Vec<(String, Arc<dyn TableProvider>)>,
        hour: i64,
    ) -> Result<Inputs> {
        let schema = &Arc::new(canonical(schema));
        let context = SessionContext::new();
        let mut rows = LogicalPlanBuilder::from(self.told(nothing(schema)?, "", hour)?);
        for (region, table) in regions {
            rows = rows.union(self.told(conforming(&context, table, schema)?, &region, hour)?)?;
        }
        let rows = rows.build()?;
        let view = |(name, plan): (&str, LogicalPlan)| {
            (name.to_owned(), Arc::new(ViewTable::new(plan, None)) as Arc<dyn TableProvider>)
        };
        let inputs = match self {
            Held::Halves { on, time } => {
                vec![("impressions", half(&rows, "impression_", on, time)?), ("plays", half(&rows, "play_", on, time)?)]
            }
            Held::Sets { by, time } => vec![
                ("impressions", listed(&rows, "impression_requests", by, time)?),
                ("plays", listed(&rows, "play_requests", by, time)?),
            ],
            Held::Rows => vec![("rows", rows)],
        };
        Ok(inputs.into_iter().map(view).collect())
    }

    /// The columns of those inputs.
    ///
    /// # Errors
    /// As [`Held::inputs`].
    pub fn schemas(&self, schema: &SchemaRef) -> Result<BTreeMap<String, SchemaRef>> {
        let inputs = self.inputs(schema, Vec::new(), 0)?;
        Ok(inputs.into_iter().map(|(name, table)| (name, table.schema())).collect())
    }

    /// Rows of a region, with where they are from if f is to see it.
    fn told(&self, rows: LogicalPlan, region: &str, hour: i64) -> Result<LogicalPlan> {
        if *self != Held::Rows {
            return Ok(rows);
        }
        let own: Vec<Expr> = rows.schema().fields().iter().map(|field| column(field.name())).collect();
        let hour = lit(ScalarValue::TimestampMicrosecond(Some(hour), None)).alias("_merged_hour");
        let region = lit(ScalarValue::Utf8View(Some(region.to_owned()))).alias("_merged_region");
        LogicalPlanBuilder::from(rows).project(own.into_iter().chain([hour, region]))?.build()
    }
}

/// The halves of one kind, each once however many pairs it is in.
fn half(rows: &LogicalPlan, prefix: &str, on: &[String], time: &str) -> Result<LogicalPlan> {
    let names = rows.schema().fields().iter().filter(|field| !on.contains(field.name()));
    let own = names.filter_map(|field| Some(column(field.name()).alias(field.name().strip_prefix(prefix)?)));
    let columns: Vec<Expr> = on.iter().map(|name| column(name)).chain(own).collect();
    let there = column(&format!("{prefix}{time}")).is_not_null();
    LogicalPlanBuilder::from(rows.clone()).filter(there)?.project(columns)?.distinct()?.build()
}

/// A row for each id of each set, and one without an id for each group: a group may have no ids at all.
fn listed(rows: &LogicalPlan, list: &str, by: &[String], time: &str) -> Result<LogicalPlan> {
    let with = |id: Expr| {
        let group = by.iter().map(|name| column(name)).chain([column("epoch").alias(time), id.alias("request_id")]);
        LogicalPlanBuilder::from(rows.clone()).project(group.collect::<Vec<_>>())
    };
    let ids = with(column(list))?.unnest_column("request_id")?;
    with(lit(ScalarValue::Utf8View(None)))?.union(ids.build()?)?.build()
}

fn column(name: &str) -> Expr {
    col(Column::from_name(name))
}
