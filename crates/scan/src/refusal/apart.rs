//! Rows on which an expression fails, told apart from those on which it does not: a cast of text that is no number, a
//! division by zero. Nothing is tried twice where nothing fails.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result};

/// What was made of rows, and the rows of which nothing could be made.
pub(crate) struct Apart<T> {
    /// Of neighbouring rows together, in their order.
    pub made: Vec<T>,
    /// The others, by number in their order, each with the reason.
    pub failed: Vec<(usize, DataFusionError)>,
}

/// Works on rows; where that fails, on each half of them.
///
/// # Errors
/// What has nothing to do with the values of rows, such as a lack of memory.
pub(crate) async fn apart<T, W: Future<Output = Result<T>>>(
    rows: &RecordBatch,
    mut work: impl FnMut(RecordBatch) -> W,
) -> Result<Apart<T>> {
    let mut apart = Apart { made: Vec::new(), failed: Vec::new() };
    let mut pending: Vec<Range<usize>> = std::iter::once(0..rows.num_rows()).collect();
    while let Some(part) = pending.pop() {
        match work(rows.slice(part.start, part.len())).await {
            Ok(made) => apart.made.push(made),
            Err(error) if part.is_empty() || !is_of_values(&error) => return Err(error),
            Err(error) if part.len() == 1 => apart.failed.push((part.start, error)),
            Err(_) => {
                let middle = part.start + part.len() / 2;
                pending.push(middle..part.end);
                pending.push(part.start..middle);
            }
        }
    }
    Ok(apart)
}

/// Whether an error is of what a row holds.
pub(crate) fn is_of_values(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => {
            !matches!(error.as_ref(), ArrowError::IoError(..) | ArrowError::MemoryError(_))
        }
        DataFusionError::Execution(_) => true,
        _ => false,
    }
}

/// Why a row is rejected: the expression, and what the engine says of it.
pub(crate) fn reason(expression: &str, error: &DataFusionError) -> String {
    let said = match error.find_root() {
        DataFusionError::ArrowError(error, _) => error.to_string(),
        DataFusionError::Execution(said) => said.clone(),
        other => other.strip_backtrace(),
    };
    format!("failed_expression: {expression}: {said}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn rows(values: &[i64]) -> RecordBatch {
        RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(values.to_vec())) as _)]).unwrap()
    }

    fn values(rows: &RecordBatch) -> Vec<i64> {
        rows.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    /// Fails where a value is odd, and counts how often it is asked.
    async fn evens(of: &[i64]) -> (Vec<i64>, Vec<usize>, usize) {
        let mut asked = 0;
        let given = rows(of);
        let found = apart(&given, |rows| {
            asked += 1;
            let made = match values(&rows).iter().find(|value| *value % 2 == 1) {
                Some(odd) => Err(DataFusionError::Execution(format!("{odd} is odd"))),
                None => Ok(values(&rows)),
            };
            std::future::ready(made)
        });
        let Apart { made, failed } = found.await.unwrap();
        (made.concat(), failed.into_iter().map(|(row, _)| row).collect(), asked)
    }

    #[tokio::test]
    async fn every_row_is_made_or_failed_and_nothing_is_asked_twice_where_none_fails() {
        assert_eq!(evens(&[2, 4, 6]).await, (vec![2, 4, 6], vec![], 1));
        assert_eq!(evens(&[]).await, (vec![], vec![], 1));
        for odd in 0..9 {
            let mut of: Vec<i64> = (0..9).map(|n| 2 * n).collect();
            of[odd] = 1;
            let (made, failed, asked) = evens(&of).await;
            of.remove(odd);
            assert_eq!((made, failed), (of, vec![odd]));
            assert!(asked <= 9, "{asked}");
        }
        assert_eq!(evens(&[1, 1, 3]).await, (vec![], vec![0, 1, 2], 5));
    }

    #[tokio::test]
    async fn what_is_not_of_values_is_an_error() {
        let errors: [fn() -> DataFusionError; 3] = [
            || DataFusionError::ResourcesExhausted("memory".to_owned()),
            || DataFusionError::from(ArrowError::MemoryError("memory".to_owned())),
            || DataFusionError::from(ArrowError::IoError("disk".to_owned(), std::io::Error::other("disk"))),
        ];
        for error in errors {
            assert!(apart(&rows(&[1, 2]), |_| std::future::ready(Err::<(), _>(error()))).await.is_err());
        }
        let cast = |_| std::future::ready(Err::<(), _>(ArrowError::CastError("x".to_owned()).into()));
        assert_eq!(apart(&rows(&[1, 2]), cast).await.unwrap().failed.len(), 2);
    }
}
