//! A sample that state cannot give is an error, and never a smaller sample.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringViewArray};
use quota::Rules;
use scan::{SampleError, Sampling};

/// The table of cells with one cell of 5 units, of which `kept` are remembered, as the lattices write them.
fn cells(kept: u64) -> RecordBatch {
    let units = [&5u64.to_le_bytes()[..], &(0..5u128).flat_map(u128::to_le_bytes).collect::<Vec<_>>()].concat();
    let least = [&kept.to_be_bytes()[..], &(0..kept).flat_map(u64::to_be_bytes).collect::<Vec<_>>()].concat();
    let columns: [(&str, ArrayRef); 3] = [
        ("cell", Arc::new(StringViewArray::from_iter_values(["-2:US"]))),
        ("units", Arc::new(BinaryArray::from_iter_values([units]))),
        ("least", Arc::new(BinaryArray::from_iter_values([least]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn more_units_than_state_has_kept_are_an_error() {
    let rules = Rules::parse("size = 3\n[[rule]]\nstrata = ['country']").unwrap();
    let sampling = Sampling { rules, relax: false };
    assert_eq!(sampling.choose(&[cells(3)]).unwrap().parts[0].quota, 3);
    let error = sampling.choose(&[cells(2)]).unwrap_err();
    assert!(matches!(error, SampleError::Short { quota: 3, kept: 2, .. }), "{error}");
}
