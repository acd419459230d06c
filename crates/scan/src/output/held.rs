//! What an output holds of what f read: the way back from the rows of several regions to the inputs of one f.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col, lit};

use crate::script::binding::canonical;
use crate::script::conform::nothing;
use crate::script::packed_table::conforming;

/// Tables by the name of the input that they are.
pub type Inputs = BTreeMap<String, Arc<dyn TableProvider>>;

/// What the rows of an output hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// They are the rows of this input, each once.
    Input(String),
    /// All that f read: it runs again over what several outputs hold.
    Inputs(Vec<HeldInput>),
    /// Nothing but themselves: the input `rows`, with the hour that each lives in as `_merged_hour`, and whose it is as
    /// `_merged_region`.
    Rows,
    /// What rows of other regions may change, for this reason: there is no way to make one output of several.
    Divided(String),
}

/// An input as an output holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldInput {
    /// Its name.
    pub input: String,
    /// Columns of the output, each with what it is in the input: a column; a list, whose elements are one; or a row `play`,
    /// which is all other columns `play_X`, each as `X`.
    pub columns: Vec<(String, String)>,
    /// The input's event time.
    pub time: String,
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
        let view = |(name, plan): (String, LogicalPlan)| {
            (name, Arc::new(ViewTable::new(plan, None)) as Arc<dyn TableProvider>)
        };
        let inputs = match self {
            Held::Inputs(inputs) => {
                let of = |held: &HeldInput| Ok((held.input.clone(), held.rows(&rows, schema)?));
                inputs.iter().map(of).collect::<Result<Vec<_>>>()?
            }
            Held::Input(_) | Held::Rows | Held::Divided(_) => vec![("rows".to_owned(), rows)],
        };
        Ok(inputs.into_iter().map(view).collect())
    }

    /// Whether the rows of an output are taken apart into rows that are there once, however many pairs they are in.
    pub fn in_pairs(&self, schema: &SchemaRef) -> bool {
        matches!(self, Held::Inputs(inputs) if inputs.iter().any(|held| held.row(schema).is_some()))
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
        if matches!(self, Held::Inputs(_)) {
            return Ok(rows);
        }
        let own: Vec<Expr> = rows.schema().fields().iter().map(|field| column(field.name())).collect();
        let hour = lit(ScalarValue::TimestampMicrosecond(Some(hour), None)).alias("_merged_hour");
        let region = lit(ScalarValue::Utf8View(Some(region.to_owned()))).alias("_merged_region");
        LogicalPlanBuilder::from(rows).project(own.into_iter().chain([hour, region]))?.build()
    }
}

impl HeldInput {
    /// The row of the output that is this input.
    fn row(&self, schema: &SchemaRef) -> Option<&str> {
        let mut names = self.columns.iter().map(|(name, _)| name.as_str());
        names.find(|name| schema.field_with_name(name).is_err())
    }

    /// Its rows among those of an output.
    fn rows(&self, rows: &LogicalPlan, schema: &SchemaRef) -> Result<LogicalPlan> {
        match self.row(schema) {
            Some(row) => self.in_row(rows, row),
            None => self.listed(rows, schema),
        }
    }

    /// Those of a row, each once however many pairs it is in.
    fn in_row(&self, rows: &LogicalPlan, row: &str) -> Result<LogicalPlan> {
        let shared = || self.columns.iter().filter(|(name, _)| name != row);
        let names = rows.schema().fields().iter().map(|field| field.name());
        let own = names.filter(|name| shared().all(|(known, _)| known != *name));
        let own = own.filter_map(|name| Some(column(name).alias(name.strip_prefix(row)?.strip_prefix('_')?)));
        let columns: Vec<Expr> = shared().map(|(held, name)| column(held).alias(name)).chain(own).collect();
        let there = column(&format!("{row}_{}", self.time)).is_not_null();
        LogicalPlanBuilder::from(rows.clone()).filter(there)?.project(columns)?.distinct()?.build()
    }

    /// A row for each element of each list, and one without an element for each group: a group may have none at all.
    fn listed(&self, rows: &LogicalPlan, schema: &SchemaRef) -> Result<LogicalPlan> {
        let is_list = |name: &str| matches!(schema.field_with_name(name).map(Field::data_type), Ok(DataType::List(_)));
        let with = |listed: bool| {
            let held = |(held, name): &(String, String)| match is_list(held) && !listed {
                true => lit(ScalarValue::Utf8View(None)).alias(name),
                false => column(held).alias(name),
            };
            LogicalPlanBuilder::from(rows.clone()).project(self.columns.iter().map(held).collect::<Vec<_>>())
        };
        let mut elements = with(true)?;
        for (_, name) in self.columns.iter().filter(|(held, _)| is_list(held)) {
            elements = elements.unnest_column(name.as_str())?;
        }
        with(false)?.union(elements.build()?)?.build()
    }
}

fn column(name: &str) -> Expr {
    col(Column::from_name(name))
}
