//! `items(value)`: the entries of a list, as texts, whether it comes as one or as a text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, ListBuilder, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// `items(value)`: of a list its entries as they are printed; of a text what `|`, `,` and blanks part in it; of anything
/// else itself alone. Of null it is null.
pub(crate) fn items() -> ScalarUDF {
    ScalarUDF::new_from_impl(Items { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Items {
    signature: Signature,
}

fn list() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true)))
}

impl ScalarUDFImpl for Items {
    fn name(&self) -> &str {
        "items"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(match values.data_type() {
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => cast(&values, &list())?,
            _ => Arc::new(parted(&cast(&values, &DataType::Utf8View)?)),
        }))
    }
}

fn parted(texts: &ArrayRef) -> ListArray {
    let texts = texts.as_string_view();
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for text in texts {
        let parts = text.unwrap_or_default().split(|c: char| c == '|' || c == ',' || c.is_whitespace());
        parts.filter(|part| !part.is_empty()).for_each(|part| lists.values().append_value(part));
        lists.append(text.is_some());
    }
    lists.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringViewArray;

    #[test]
    fn a_text_is_parted_by_bars_commas_and_blanks() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("1|2, 3  x"), Some(" "), None, Some("7")]));
        let lists = parted(&texts);
        let of = |row| lists.value(row).as_string_view().iter().flatten().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!([of(0), of(1), of(3)], [vec!["1", "2", "3", "x"], vec![], vec!["7"]]);
        assert!(lists.is_null(2) && lists.is_valid(1));
    }
}
