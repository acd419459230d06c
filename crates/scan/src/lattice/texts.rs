//! The text set: the lattice that lists. Its merge is union as the id set's is, and it gives back what it was given.
//!
//! As a column value it is binary: the number of texts as `u64`, then each text's length as `u32` and its bytes, the
//! texts ascending, numbers little-endian. Scripts make it by `text_set(text)` and list it by `text_list(set)`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListBuilder, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TypeSignature, Volatility,
};

/// A set of texts, as given.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextSet {
    texts: BTreeSet<Box<str>>,
    /// Bytes of all texts.
    bytes: usize,
}

impl TextSet {
    /// From a column value.
    pub(crate) fn decode(bytes: &[u8]) -> Result<TextSet> {
        let mut set = TextSet::default();
        set.merge(bytes)?;
        Ok(set)
    }

    /// Union with a column value.
    pub(crate) fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        texts(bytes)?.into_iter().for_each(|text| self.insert(text));
        Ok(())
    }

    fn insert(&mut self, text: &str) {
        if !self.texts.contains(text) {
            self.bytes += text.len();
            self.texts.insert(text.into());
        }
    }

    /// The column value.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 4 * self.texts.len() + self.bytes);
        bytes.extend_from_slice(&(self.texts.len() as u64).to_le_bytes());
        for text in &self.texts {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// Bytes on the heap, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.texts.len() * size_of::<Box<str>>()
    }
}

/// The texts of a column value, ascending.
fn texts(bytes: &[u8]) -> Result<Vec<&str>> {
    let broken =
        || DataFusionError::Execution(format!("{} bytes are no text set: text_set(...) makes one", bytes.len()));
    let (count, mut rest) = bytes.split_first_chunk::<8>().ok_or_else(broken)?;
    let mut texts = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(broken)?;
        texts.push(std::str::from_utf8(text).map_err(|_| broken())?);
        rest = tail;
    }
    if texts.len() as u64 == u64::from_le_bytes(*count) && rest.is_empty() { Ok(texts) } else { Err(broken()) }
}

/// One group's set. The engine keeps one for each group.
impl Accumulator for TextSet {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = cast(&values[0], &DataType::Utf8View)?;
        values.as_string_view().iter().flatten().for_each(|text| self.insert(text));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_binary::<i32>().iter().flatten().try_for_each(|set| self.merge(set))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.encode())))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn size(&self) -> usize {
        size_of::<TextSet>() + self.bytes()
    }
}

/// `text_set(text)`: the distinct texts of a group; nulls are none, and numbers are texts as they are printed.
pub(crate) fn text_set() -> AggregateUDF {
    AggregateUDF::new_from_impl(TextSetFunction { signature: Signature::any(1, Volatility::Immutable) })
}

/// `text_list(set)`: the texts of a set, ascending by their bytes.
pub(crate) fn text_list() -> ScalarUDF {
    let binary = TypeSignature::Exact(vec![DataType::Binary]);
    ScalarUDF::new_from_impl(TextList { signature: Signature::new(binary, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextSetFunction {
    signature: Signature,
}

impl AggregateUDFImpl for TextSetFunction {
    fn name(&self) -> &str {
        "text_set"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(TextSet::default()))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextList {
    signature: Signature,
}

impl ScalarUDFImpl for TextList {
    fn name(&self) -> &str {
        "text_list"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let sets = args.args[0].to_array(args.number_rows)?;
        let sets = sets.as_binary::<i32>();
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for set in sets.iter() {
            set.map_or(Ok(Vec::new()), texts)?.into_iter().for_each(|text| lists.values().append_value(text));
            lists.append(set.is_some());
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn union_forgets_order_and_repeats() {
        let set = |texts: &[&str]| {
            let mut set = TextSet::default();
            texts.iter().for_each(|text| set.insert(text));
            set
        };
        let (mut one, other) = (set(&["b", "", "a", "b"]), set(&["ä", "a"]));
        one.merge(&other.encode()).unwrap();
        assert_eq!(one.encode(), set(&["ä", "a", "", "b"]).encode());
        assert_eq!(texts(&one.encode()).unwrap(), ["", "a", "b", "ä"]);
        assert_eq!(crate::lattice::count(&one.encode()).unwrap(), 4);
    }

    #[test]
    fn other_bytes_are_refused() {
        let id_set = crate::lattice::ids::encode(&[1, 2]);
        let mut long = TextSet::default();
        long.insert("abc");
        let cut = &long.encode()[..13];
        for bytes in [&[][..], &[0; 7], &[1, 0, 0, 0, 0, 0, 0, 0], &id_set, cut] {
            assert!(TextSet::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
