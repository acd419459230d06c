//! Rows and tables as a script sees them: the columns of an input, in its types.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StructArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};

use crate::script::wide::{is_run, run_of};

/// A table without rows, which the optimiser prunes with everything that hangs on it.
pub(crate) fn nothing(schema: &SchemaRef) -> Result<LogicalPlan> {
    let schema = Arc::new(DFSchema::try_from(schema.as_ref().clone())?);
    Ok(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema }))
}

/// Text as whole values instead of views, which share the pages that they were read from: some rows out of many then
/// weigh as much as they are, and operators that count what they hold spill no sooner than they must.
pub(crate) fn owned_text(schema: &SchemaRef) -> SchemaRef {
    fn owned(field: &Arc<Field>) -> Arc<Field> {
        let kind = match field.data_type() {
            DataType::Utf8View => DataType::Utf8,
            DataType::Struct(columns) if is_run(field) => DataType::Struct(columns.iter().map(owned).collect()),
            _ => return field.clone(),
        };
        Arc::new(field.as_ref().clone().with_data_type(kind))
    }
    Arc::new(Schema::new(schema.fields().iter().map(owned).collect::<Vec<_>>()))
}

/// Rows as a table sees them: its columns by name, in its types.
pub(crate) fn conform(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let missing = |field: &Field| Err(DataFusionError::Execution(format!("rows have no column {}", field.name())));
    Ok(RecordBatch::try_new(schema.clone(), found(rows, schema.fields(), &missing)?)?)
}

/// The same of rows in which columns may be missing: these are null.
pub(crate) fn conform_in_part(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let null = |field: &Field| Ok(new_null_array(field.data_type(), rows.num_rows()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), found(rows, schema.fields(), &null)?, &options)?)
}

fn found(rows: &RecordBatch, fields: &Fields, missing: &dyn Fn(&Field) -> Result<ArrayRef>) -> Result<Vec<ArrayRef>> {
    let held = rows.schema_ref();
    let mut places = None;
    let columns = fields.iter().enumerate().map(|(place, field)| {
        // Most rows have their columns in their places.
        let place = match held.fields().get(place) {
            Some(held) if held.name() == field.name() => Some(place),
            _ => places.get_or_insert_with(|| places_of(held)).get(field.name().as_str()).copied(),
        };
        match (place.map(|place| rows.column(place)), run_of(field)) {
            (Some(column), _) if column.data_type() == field.data_type() => Ok(column.clone()),
            (Some(column), _) => Ok(cast(column, field.data_type())?),
            (None, Some(run)) => {
                let columns = found(rows, run, missing)?;
                Ok(Arc::new(StructArray::try_new(run.clone(), columns, None)?) as ArrayRef)
            }
            (None, None) => missing(field),
        }
    });
    columns.collect()
}

/// Where each column is; of two with one name the first.
pub(crate) fn places_of(schema: &Schema) -> HashMap<&str, usize> {
    schema.fields().iter().enumerate().rev().map(|(place, field)| (field.name().as_str(), place)).collect()
}
