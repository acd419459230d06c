//! Whether the probabilities of a policy sum to 1 over the action set of each tuple: asked of the policy itself, with each
//! action of the set in the place of the logged one.

use anyhow::Result;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::Float64Type;
use scan::{Door, Passed};

/// What a policy may not speak of, for its probability of another action to be known: what was logged of this one.
const LOGGED: [&str; 2] = ["propensity", "reward"];

/// A sum may differ by this from 1, for floats do.
const ROUNDED: f64 = 1e-6;

/// What the probabilities of one policy sum to.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    /// Tuples whose action set is known.
    asked: u64,
    /// Those over whose set they do not sum to 1, and the sum at the first.
    apart: u64,
    first: Option<f64>,
}

impl Sums {
    /// Adds tuples; `door` gives a policy's probability of each tuple's action.
    pub async fn add(&mut self, sql: &str, door: &Door, tuples: &RecordBatch) -> Result<()> {
        let lowercase = sql.to_lowercase();
        if LOGGED.iter().any(|logged| lowercase.contains(logged)) {
            return Ok(());
        }
        let Some((rows, counts)) = of_every_action(tuples)? else { return Ok(()) };
        let Passed { rows, failed } = door.pass(rows).await?;
        if !failed.is_empty() {
            // Which action it is that fails is said where a policy fails at a tuple.
            return Ok(());
        }
        let mut probabilities = rows.column(0).as_primitive::<Float64Type>().iter();
        for count in counts {
            let sum: f64 = probabilities.by_ref().take(count).map(|of| of.unwrap_or(0.0)).sum();
            self.asked += 1;
            if (sum - 1.0).abs() > ROUNDED {
                self.apart += 1;
                self.first.get_or_insert(sum);
            }
        }
        Ok(())
    }

    /// What to doubt about a policy of this name.
    pub fn doubt(&self, policy: &str) -> Option<String> {
        let sum = self.first?;
        Some(format!(
            "{policy} is no distribution: over the action sets of {} of {} tuples its probabilities do not sum to 1, at the \
             first to {sum:.4}. Its IPS is off by as much; its SNIPS is that of probabilities in the same proportion which \
             sum to 1.",
            self.apart, self.asked
        ))
    }
}

/// Each tuple once for every action of its set, with that as its action; and how many actions there are of each. None
/// where no set is known.
fn of_every_action(tuples: &RecordBatch) -> Result<Option<(RecordBatch, Vec<usize>)>> {
    let (Some(sets), Ok(action)) = (tuples.column_by_name("action_set"), tuples.schema().index_of("action")) else {
        return Ok(None);
    };
    let Some(sets) = sets.as_list_opt::<i32>() else { return Ok(None) };
    let (mut rows, mut counts, mut actions) = (Vec::new(), Vec::new(), Vec::<ArrayRef>::new());
    for row in (0..sets.len()).filter(|row| sets.is_valid(*row)) {
        let set = sets.value(row);
        rows.extend(std::iter::repeat_n(row as u32, set.len()));
        counts.push(set.len());
        actions.push(set);
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let repeated = take_record_batch(tuples, &UInt32Array::from(rows))?;
    let actions: Vec<&dyn Array> = actions.iter().map(AsRef::as_ref).collect();
    let actions = cast(&arrow::compute::concat(&actions)?, repeated.column(action).data_type())?;
    let mut columns = repeated.columns().to_vec();
    columns[action] = actions;
    Ok(Some((RecordBatch::try_new(repeated.schema(), columns)?, counts)))
}
