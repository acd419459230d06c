//! What is estimated of a policy.

use serde::Serialize;

use crate::moments::Estimate;

/// Of a policy, overall and by slot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyEstimates {
    /// Its name.
    pub policy: String,
    /// Over all slots.
    pub overall: Estimates,
    /// Numbered slots first, by number; then others by name.
    pub slots: Vec<SlotEstimates>,
    /// What to doubt of them, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

/// Of a policy in a slot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlotEstimates {
    /// The slot.
    pub slot: String,
    /// In it.
    #[serde(flatten)]
    pub estimates: Estimates,
}

/// Each is None where it is undefined, never NaN: all but the take rate, without matched rows. IPS would then be 0,
/// which says nothing of the policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimates {
    /// Rows in all.
    pub rows: u64,
    /// Rows whose action the target policy could have chosen.
    pub matched: u64,
    /// How many rows of the target policy's own the matched ones are worth, at most `matched`.
    pub effective_sample_size: Option<f64>,
    /// Mean reward as logged.
    pub take_rate: Option<Estimate>,
    /// Mean reward of matched rows, weighted with the target policy's probability. Unbiased where logging was uniform.
    pub replay: Option<Estimate>,
    /// Inverse propensity score.
    pub ips: Option<Estimate>,
    /// Self-normalised inverse propensity score.
    pub snips: Option<Estimate>,
    /// The mean weight, pi / p: what the target policy's probabilities sum to, over all actions that logging could choose.
    /// Of a distribution it is 1.
    pub weight: Option<Estimate>,
    /// Whether it is the logging policy: of every row the probability is the propensity.
    #[serde(skip)]
    pub as_logged: bool,
}
