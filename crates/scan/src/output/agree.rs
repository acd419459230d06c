//! Rows that come from several regions: those of one key, or of one group, must say the same in all that have them.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::util::display::array_value_to_string;
use datafusion::error::{DataFusionError, Result};

use crate::output::order::{Order, encode};
use crate::script::bind::Output;

/// Whose a row is: a column of rows that are merged as they are. Of others each row speaks for itself.
const REGION: &str = "_merged_region";

impl Output {
    /// Compares the rows of each group, which are neighbours in `order`.
    ///
    /// # Errors
    /// The first group of which two regions say something else, with what they say.
    pub(crate) fn agree(&self, rows: &[RecordBatch], places: &[(usize, usize)], order: &Order) -> Result<()> {
        let several: Vec<&[u32]> = order.groups(self.group).filter(|group| group.len() > 1).collect();
        if several.is_empty() {
            return Ok(());
        }
        let places: Vec<(usize, usize)> = several.iter().copied().flatten().map(|row| places[*row as usize]).collect();
        let some = interleave_record_batch(&rows.iter().collect::<Vec<_>>(), &places)?;
        let visible: Vec<String> = self.visible().fields().iter().map(|field| field.name().clone()).collect();
        let content = encode(std::slice::from_ref(&some), &visible)?;
        let region = some.column_by_name(REGION).map(|column| column.as_string_view());
        let mut from = 0;
        for group in several {
            let mut says: BTreeMap<(&str, usize), Vec<usize>> = BTreeMap::new();
            for row in from..from + group.len() {
                let whose = region.map_or(("", row), |region| (region.value(row), 0));
                let said = says.entry(whose).or_default();
                // A region that is named twice says the same twice.
                if said.last().is_none_or(|last| content.row(*last) != content.row(row)) {
                    said.push(row);
                }
            }
            from += group.len();
            let mut says = says.iter();
            let Some(first) = says.next() else { continue };
            let differs = |said: &[usize]| {
                !said.iter().map(|row| content.row(*row)).eq(first.1.iter().map(|row| content.row(*row)))
            };
            if let Some(other) = says.find(|(_, said)| differs(said)) {
                return Err(self.disagreement(&some, &visible, [first, other]));
            }
        }
        Ok(())
    }

    fn disagreement(
        &self,
        rows: &RecordBatch,
        visible: &[String],
        sides: [(&(&str, usize), &Vec<usize>); 2],
    ) -> DataFusionError {
        let told = |columns: &[String], row: usize| {
            let told = columns.iter().filter_map(|name| {
                let column = rows.column_by_name(name).filter(|column| column.is_valid(row))?;
                Some(format!("{name}={}", array_value_to_string(column, row).ok()?))
            });
            told.collect::<Vec<_>>().join(" ")
        };
        let row = sides[0].1[0];
        let rest: Vec<String> = visible.iter().filter(|name| !self.key[..self.group].contains(name)).cloned().collect();
        let says = sides.map(|((region, _), said)| {
            let values: Vec<String> = said.iter().map(|row| told(&rest, *row)).collect();
            format!("{} {}", if region.is_empty() { "one" } else { region }, values.join(" and "))
        });
        let time =
            rows.column_by_name("_time").and_then(|time| array_value_to_string(time, row).ok()).unwrap_or_default();
        DataFusionError::Execution(format!(
            "hour {}, {}: {}, and outputs cannot tell which is right: {}; merge the archives and run the command again",
            time.get(..13).unwrap_or_default(),
            told(&self.key[..self.group], row),
            // What is worked out again is of no region.
            if sides[0].0.0.is_empty() { "an event is there with two contents" } else { "regions differ" },
            says.join(", but ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
    use std::sync::Arc;

    /// Rows of a play and an impression, each of a region.
    fn merged(rows: &[(&str, i64, i64)]) -> Result<usize> {
        let regions = rows.iter().map(|row| Some(row.0)).collect::<StringViewArray>();
        let number =
            |of: fn(&(&str, i64, i64)) -> i64| Arc::new(rows.iter().map(of).collect::<Int64Array>()) as ArrayRef;
        let times = TimestampMicrosecondArray::from(vec![0; rows.len()]);
        let rows = RecordBatch::try_from_iter([
            ("play", number(|row| row.1)),
            ("impression", number(|row| row.2)),
            (REGION, Arc::new(regions) as ArrayRef),
            ("_time", Arc::new(times) as ArrayRef),
        ])?;
        let key = ["play", "impression"].map(str::to_owned).to_vec();
        let (schema, greatest) = (rows.schema(), Vec::new());
        let name = "credits".to_owned();
        let output = Output { name, schema, key, greatest, group: 1, holds: None, agrees: true, retracts: false };
        output.compact(&[rows])?.map(|rows| Ok(rows?.num_rows())).sum()
    }

    #[test]
    fn regions_that_say_the_same_of_a_group_agree() {
        assert_eq!(merged(&[("us", 1, 5), ("us", 1, 6), ("eu", 2, 5)]).unwrap(), 3);
        assert_eq!(merged(&[("us", 1, 5), ("eu", 1, 6), ("us", 1, 6), ("eu", 1, 5)]).unwrap(), 2);
        assert_eq!(merged(&[("us", 1, 5), ("us", 1, 5), ("eu", 1, 5)]).unwrap(), 1, "us is named twice");
    }

    #[test]
    fn a_row_more_or_another_is_told_with_its_hour_and_both_sides() {
        for rows in [&[("us", 1, 5), ("us", 1, 6), ("eu", 1, 5)][..], &[("us", 1, 5), ("eu", 1, 6)]] {
            let refused = merged(rows).unwrap_err().to_string();
            assert!(refused.contains("hour 1970-01-01T00, play=1: regions differ"), "{refused}");
            assert!(refused.contains("us impression=5") && refused.contains("eu impression="), "{refused}");
        }
    }
}
