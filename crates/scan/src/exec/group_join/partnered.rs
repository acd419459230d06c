//! Whether a row has a partner on the other side of a join: what a group join lets scans of its right side leave out
//! before they decode the rest of a row.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Schema};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::{PhysicalExpr, PhysicalExprRef};

use crate::exec::pairs::evaluated;
use crate::state::index::Index;
use crate::state::layout::hash_whole;

/// True where the keys' hash is in the index: of all rows with a partner, and of those few that share a hash with one.
#[derive(Debug)]
pub(crate) struct Partnered {
    keys: Vec<PhysicalExprRef>,
    index: Arc<Index>,
}

impl Partnered {
    pub(crate) fn new(keys: Vec<PhysicalExprRef>, index: Arc<Index>) -> Partnered {
        Partnered { keys, index }
    }
}

/// Two are the same where they look into the same index.
impl PartialEq for Partnered {
    fn eq(&self, other: &Partnered) -> bool {
        self.keys == other.keys && Arc::ptr_eq(&self.index, &other.index)
    }
}

impl Eq for Partnered {}

impl Hash for Partnered {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.keys.hash(state);
        Arc::as_ptr(&self.index).hash(state);
    }
}

impl fmt::Display for Partnered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        write!(f, "partnered({})", keys.join(", "))
    }
}

impl PhysicalExpr for Partnered {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let (hashes, whole) = hash_whole(&evaluated(&self.keys, batch)?)?;
        let has = BooleanBuffer::collect_bool(hashes.len(), |row| self.index.has(hashes[row]));
        let has = if let Some(whole) = whole { &has & whole.inner() } else { has };
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(has))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.keys.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, keys: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Partnered::new(keys, self.index.clone())))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use datafusion::physical_expr::expressions::Column;

    use super::*;
    use crate::state::layout::hash_rows;

    fn column(name: &str, at: usize) -> PhysicalExprRef {
        Arc::new(Column::new(name, at))
    }

    #[test]
    fn rows_with_a_partner_pass_and_others_do_not_wherever_their_key_is() {
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let mut index = Index::default();
        hash_rows(&[keys], true).unwrap().into_iter().for_each(|hash| {
            index.push(hash);
        });
        let partnered: Arc<dyn PhysicalExpr> = Arc::new(Partnered::new(vec![column("k", 0)], Arc::new(index)));
        let rights: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), Some(2), None, Some(1)]));
        let other: ArrayRef = Arc::new(Int64Array::from(vec![1; 4]));
        let rows = RecordBatch::try_from_iter_with_nullable([("other", other, true), ("k", rights, true)]).unwrap();
        let partnered = partnered.with_new_children(vec![column("k", 1)]).unwrap();
        let passed = partnered.evaluate(&rows).unwrap().into_array(4).unwrap();
        assert_eq!(passed.as_boolean(), &BooleanArray::from(vec![true, false, false, true]));
    }
}
