//! What to doubt of the estimates of a policy: that it is a distribution, and that its replay means what it seems to.

use crate::estimate_cell::estimate_cell;
use crate::estimates::Estimates;

/// Standard errors by which a mean weight differs from 1 before it counts as another number: with fewer, of many honest
/// policies some would be named.
const SURE: f64 = 4.0;

/// Less than this is rounding.
const ROUNDED: f64 = 1e-6;

/// The doubts about a policy of this name, a sentence or two each.
pub(crate) fn doubts(policy: &str, of: &Estimates) -> Vec<String> {
    let no_distribution = of.weight.filter(|weight| {
        weight.standard_error.is_some_and(|error| (weight.value - 1.0).abs() > SURE * error + ROUNDED)
    });
    let no_distribution = no_distribution.map(|weight| {
        let sum = estimate_cell(Some(weight)).replace('\n', " ");
        let much = if weight.value > 1.0 { "high" } else { "low" };
        format!(
            "{policy} is no distribution over what could be logged: its probabilities sum to {sum} and not to 1, or the \
             propensities are wrong. Its IPS is by that factor too {much}; its SNIPS is that of probabilities in the same \
             proportion which sum to 1."
        )
    });
    let replayed = of.replay.zip(of.take_rate).filter(|_| of.as_logged);
    let replayed = replayed.filter(|(replay, rate)| (replay.value - rate.value).abs() > ROUNDED).map(|_| {
        format!(
            "The replay of {policy} is not its take rate, for likelier choices count more in it: replay is right only \
             where logging was uniformly random."
        )
    });
    no_distribution.into_iter().chain(replayed).collect()
}
