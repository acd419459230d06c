//! What scripts of sampling call: `unit_hash(unit, seed)`, `cell(positive, stratum, …)` and `split(unit, seed, splits)`.
//!
//! The hash is frozen: a sample drawn today is drawn again in ten years. It is XXH3-64, seeded, of the unit as text; see
//! the test vectors below.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder, UInt32Array, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use quota::Splits;
use twox_hash::XxHash3_64;

/// `unit_hash(unit, seed)`: a 64-bit number that stands for a unit of sampling; a null unit is the text `null`.
pub(crate) fn unit_hash() -> ScalarUDF {
    ScalarUDF::new_from_impl(Function { kind: Kind::Hash, signature: Signature::any(2, Volatility::Immutable) })
}

/// `cell(positive, stratum, …)`: the combination of strata that a row is in, apart for positives and others.
pub(crate) fn cell() -> ScalarUDF {
    ScalarUDF::new_from_impl(Function { kind: Kind::Cell, signature: Signature::variadic_any(Volatility::Immutable) })
}

/// `split(unit, seed, 'train=0.8,test=0.2')`: the split that a unit is in, whatever its strata; null without splits.
pub(crate) fn split() -> ScalarUDF {
    ScalarUDF::new_from_impl(Function { kind: Kind::Split, signature: Signature::any(3, Volatility::Immutable) })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Hash,
    Cell,
    Split,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    kind: Kind,
    signature: Signature,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Hash => "unit_hash",
            Kind::Cell => "cell",
            Kind::Split => "split",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        if let (Kind::Cell, Some(positive)) = (self.kind, args.first())
            && *positive != DataType::Boolean
        {
            return Err(DataFusionError::Plan(format!("what is positive is true or false, and not {positive}")));
        }
        Ok(if self.kind == Kind::Hash { DataType::UInt64 } else { DataType::Utf8View })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = |arg: &ColumnarValue| Ok(cast(&arg.to_array(args.number_rows)?, &DataType::Utf8View)?);
        let array: ArrayRef = match self.kind {
            Kind::Hash => {
                let seed = seed(&args.args[1])?;
                let units = text(&args.args[0])?;
                let hashes = units.as_string_view().iter().map(|unit| hashed(unit, seed));
                Arc::new(UInt64Array::from_iter_values(hashes))
            }
            Kind::Split => splits(&text(&args.args[0])?, seed(&args.args[1])?, &args.args[2])?,
            Kind::Cell => {
                let strata = args.args[1..].iter().map(text).collect::<Result<Vec<_>>>()?;
                cells(&args.args[0].to_array(args.number_rows)?, &strata)?
            }
        };
        Ok(ColumnarValue::Array(array))
    }
}

fn hashed(unit: Option<&str>, seed: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, unit.unwrap_or("null").as_bytes())
}

fn seed(value: &ColumnarValue) -> Result<u64> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(seed))) => Ok(seed.cast_unsigned()),
        _ => Err(DataFusionError::Plan("a seed is an integer".to_owned())),
    }
}

/// Another hash than the one that chooses: the least of that one are not spread over all splits.
fn splits(units: &ArrayRef, seed: u64, splits: &ColumnarValue) -> Result<ArrayRef> {
    let text = match splits {
        ColumnarValue::Scalar(ScalarValue::Utf8View(Some(text)) | ScalarValue::Utf8(Some(text))) => text,
        _ => return Err(DataFusionError::Plan("the splits are a text: 'train=0.8,test=0.2'".to_owned())),
    };
    if text.is_empty() {
        return Ok(arrow::array::new_null_array(&DataType::Utf8View, units.len()));
    }
    let splits = Splits::parse(text).map_err(|e| DataFusionError::Plan(e.to_string()))?;
    let of = |unit| Some(splits.of(hashed(unit, !seed)));
    Ok(Arc::new(units.as_string_view().iter().map(of).collect::<StringViewArray>()))
}

/// `+` or `-`, then of each stratum its length, `:` and its label: every combination has a text of its own. Neighbours
/// are often of one request and so of one cell, whose text is made once.
fn cells(positive: &ArrayRef, strata: &[ArrayRef]) -> Result<ArrayRef> {
    let positive = cast(positive, &DataType::Boolean)?;
    let positive = positive.as_boolean();
    let strata: Vec<&StringViewArray> = strata.iter().map(|stratum| stratum.as_string_view()).collect();
    let is_positive = |row: usize| positive.is_valid(row) && positive.value(row);
    let same = |a: usize, b: usize| {
        let same = |stratum: &&StringViewArray| {
            stratum.views()[a] == stratum.views()[b] && stratum.is_valid(a) == stratum.is_valid(b)
        };
        is_positive(a) == is_positive(b) && strata.iter().all(same)
    };
    let (mut runs, mut count) = (StringViewBuilder::new(), 0u32);
    let mut run_of = Vec::with_capacity(positive.len());
    let (mut cell, mut length) = (String::new(), itoa::Buffer::new());
    for row in 0..positive.len() {
        if row == 0 || !same(row - 1, row) {
            cell.clear();
            cell.push(if is_positive(row) { '+' } else { '-' });
            for stratum in &strata {
                let label = if stratum.is_valid(row) { label(stratum.value(row)) } else { NULL.into() };
                cell.push_str(length.format(label.len()));
                cell.push(':');
                cell.push_str(&label);
            }
            runs.append_value(&cell);
            count += 1;
        }
        run_of.push(count - 1);
    }
    Ok(take(&runs.finish(), &UInt32Array::from(run_of), None)?)
}

/// The label of a null.
const NULL: &str = "null";

/// The label of a text: itself, but for those that would be taken for a null.
fn label(text: &str) -> Cow<'_, str> {
    if text.trim_start_matches('\\') == NULL { format!("\\{text}").into() } else { text.into() }
}

/// The label of a stratum of several columns: theirs, joined so that no other labels give the same.
pub(crate) fn joined(labels: &[&str]) -> String {
    match labels {
        [label] => (*label).to_owned(),
        labels => {
            let escaped: Vec<_> = labels.iter().map(|l| l.replace('\\', "\\\\").replace('/', "\\/")).collect();
            escaped.join("/")
        }
    }
}

/// Whether a cell is of positives, and its labels.
pub(crate) fn labels(cell: &str) -> Option<(bool, Vec<&str>)> {
    let positive = match cell.as_bytes().first()? {
        b'+' => true,
        b'-' => false,
        _ => return None,
    };
    let (mut rest, mut labels) = (&cell[1..], Vec::new());
    while !rest.is_empty() {
        let (length, tail) = rest.split_once(':')?;
        let (label, tail) = tail.split_at_checked(length.parse().ok()?)?;
        labels.push(label);
        rest = tail;
    }
    Some((positive, labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_hash_is_frozen() {
        let vectors = [("", 0), ("e1", 0), ("e1", 7), ("0123456789abcdef0123456789abcdef", 0), ("null", u64::MAX)];
        let hashes: Vec<String> =
            vectors.into_iter().map(|(unit, seed)| format!("{:016x}", hashed(Some(unit), seed))).collect();
        let frozen =
            ["2d06800538d394c2", "1f7e24023b50eaef", "de1bd5695b64ed4b", "01121d5b6c0ac055", "f9b4d46c80ef5933"];
        assert_eq!(hashes, frozen);
        assert_eq!(hashed(None, 3), hashed(Some("null"), 3));
    }

    #[test]
    fn a_cell_is_read_back() {
        let strata: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from_iter([Some("US"), None, Some(""), Some("1:a"), Some("1:a"), Some("1:a")])),
            Arc::new(StringViewArray::from_iter([Some(""), Some("tv"), Some("tv"), Some("ü"), Some("ü"), Some("ü")])),
        ];
        let positive = [Some(true), None, Some(false), Some(false), None, Some(true)];
        let positive: ArrayRef = Arc::new(arrow::array::BooleanArray::from_iter(positive));
        let cells = cells(&positive, &strata).unwrap();
        let read: Vec<_> = cells.as_string_view().iter().map(|cell| labels(cell.unwrap()).unwrap()).collect();
        let last = vec!["1:a", "ü"];
        assert_eq!(read[..3], [(true, vec!["US", ""]), (false, vec!["null", "tv"]), (false, vec!["", "tv"])]);
        assert_eq!(read[3..], [(false, last.clone()), (false, last.clone()), (true, last)]);
        assert_eq!(labels("?"), None);
    }

    #[test]
    fn different_values_have_different_labels() {
        let values = [None, Some("null"), Some("\\null"), Some(""), Some("/"), Some("a/b"), Some("a\\"), Some("b")];
        let (a, b): (Vec<_>, Vec<_>) = values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))).unzip();
        let pairs = a.len();
        let column = |texts: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringViewArray::from_iter(texts)) };
        let positive: ArrayRef = Arc::new(arrow::array::BooleanArray::from(vec![false; pairs]));
        let cells = cells(&positive, &[column(a), column(b)]).unwrap();
        let of_pairs = cells.as_string_view().iter().map(|cell| joined(&labels(cell.unwrap()).unwrap().1));
        assert_eq!(of_pairs.collect::<HashSet<_>>().len(), pairs);
        assert_eq!([joined(&["a/b"]), joined(&["a/b", "c"]), joined(&["a", "b/c"])], ["a/b", "a\\/b/c", "a/b\\/c"]);
        assert_eq!([label("null"), label("US")], ["\\null", "US"]);
    }
}
