//! An estimate with its interval, as text.

use crate::moments::Estimate;
use crate::number::{as_exact_as, number};

/// As exact as its error lets it be; the interval on a line below.
pub(crate) fn estimate_cell(estimate: Option<Estimate>) -> String {
    match estimate {
        Some(Estimate { value, standard_error: Some(error), low: Some(low), high: Some(high) }) if error > 0.0 => {
            let [value, low, high] = [value, low, high].map(|number| as_exact_as(error, number));
            format!("{value}\n[{low}, {high}]")
        }
        estimate => number(estimate.map(|of| of.value)),
    }
}
