//! Off-policy estimates: rows that one policy logged say what another would have earned.
//!
//! For a row with logged propensity p, reward r, and the target policy's probability pi of the logged action:
//!
//! | estimate | is | source |
//! |---|---|---|
//! | take rate | mean r: what was earned | |
//! | replay | sum(pi r) / sum(pi): of a deterministic policy, the mean over rows where it agrees | Li et al., WSDM 2011 |
//! | IPS | sum(w r) / n, w = pi / p: unbiased | Horvitz and Thompson, JASA 1952 |
//! | SNIPS | sum(w r) / sum(w): a little biased, varies less | Swaminathan and Joachims, NIPS 2015 |
//! | weight | sum(w) / n: estimates sum(pi) over the actions, which is 1 of a distribution | |
//! | effective sample size | sum(w)^2 / sum(w^2) | Kong, Chicago TR 348, 1992 |

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::doubts::doubts;
use crate::estimates::{Estimates, PolicyEstimates, SlotEstimates};
use crate::moments::{Moments, is_summable};

/// A logged action, as a target policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a> {
    /// Which target policy: an index into those the estimator was made with.
    pub policy: usize,
    /// The slot of the page that the action filled.
    pub slot: &'a str,
    /// The probability, in (0, 1], with which the action was chosen when it was logged.
    pub propensity: f64,
    /// The probability, in [0, 1], with which the target policy would have chosen it.
    pub probability: f64,
    /// What came of it; finite.
    pub reward: f64,
}

/// Gathers rows; any number, in any order, in any grouping, with the same estimates to the bit.
#[derive(Clone, Debug)]
pub struct Estimator {
    policies: Vec<(String, BTreeMap<String, Box<Gathered>>)>,
}

impl Estimator {
    /// For target policies of these names.
    pub fn new(policies: impl IntoIterator<Item = String>) -> Estimator {
        Estimator { policies: policies.into_iter().map(|name| (name, BTreeMap::new())).collect() }
    }

    /// Adds a row. An error, and nothing added, if a number is out of its range, or so large that its square is
    /// infinite.
    pub fn add(&mut self, row: &Logged) -> Result<()> {
        let Logged { policy, slot, propensity, probability, reward } = *row;
        ensure!(
            propensity > 0.0 && propensity <= 1.0,
            "propensity {propensity} is outside (0, 1]: log the probability with which the action was chosen"
        );
        ensure!(
            (0.0..=1.0).contains(&probability),
            "probability {probability} of policy {policy} is outside [0, 1]: give that of the logged action"
        );
        let weight = probability / propensity;
        ensure!(
            is_summable(1.0, reward) && is_summable(weight, reward),
            "reward {reward} with propensity {propensity} cannot be summed: give smaller finite ones"
        );
        let known = self.policies.len();
        let Some((_, slots)) = self.policies.get_mut(policy) else {
            anyhow::bail!("policy {policy} is unknown: there are {known}, counted from 0");
        };
        match slots.get_mut(slot) {
            Some(gathered) => gathered.add(weight, probability, reward),
            None => slots.entry(slot.to_owned()).or_default().add(weight, probability, reward),
        }
        Ok(())
    }

    /// Adds the rows of another estimator, which must have the same policies in the same order.
    pub fn merge(&mut self, other: &Estimator) -> Result<()> {
        let names = |estimator: &Estimator| estimator.policies.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let (ours, theirs) = (names(self), names(other));
        ensure!(ours == theirs, "policies {theirs:?} are not {ours:?}: merge estimators of the same policies");
        for ((_, slots), (_, others)) in self.policies.iter_mut().zip(&other.policies) {
            for (slot, gathered) in others {
                slots.entry(slot.clone()).or_default().merge(gathered);
            }
        }
        Ok(())
    }

    /// What the rows so far say, one a policy, in the order of the policies.
    pub fn estimates(&self) -> Vec<PolicyEstimates> {
        self.policies.iter().map(|(policy, slots)| policy_estimates(policy, slots)).collect()
    }
}

fn policy_estimates(policy: &str, gathered: &BTreeMap<String, Box<Gathered>>) -> PolicyEstimates {
    let mut overall = Gathered::default();
    gathered.values().for_each(|slot| overall.merge(slot));
    let mut slots: Vec<SlotEstimates> = gathered
        .iter()
        .map(|(slot, gathered)| SlotEstimates { slot: slot.clone(), estimates: gathered.estimates() })
        .collect();
    slots.sort_by_key(|of| of.slot.parse::<u64>().unwrap_or(u64::MAX));
    let overall = overall.estimates();
    PolicyEstimates { policy: policy.to_owned(), doubts: doubts(policy, &overall), overall, slots }
}

/// Of the rows of a policy in a slot.
#[derive(Clone, Debug)]
struct Gathered {
    rows: u64,
    matched: u64,
    as_logged: Moments,
    by_probability: Moments,
    by_inverse_propensity: Moments,
    /// Rows of weight 1.
    unit_weights: u64,
}

impl Default for Gathered {
    fn default() -> Gathered {
        let none = Moments::new;
        let (rows, matched, unit_weights) = (0, 0, 0);
        let (as_logged, by_probability, by_inverse_propensity) = (none(), none(), none());
        Gathered { rows, matched, as_logged, by_probability, by_inverse_propensity, unit_weights }
    }
}

impl Gathered {
    fn add(&mut self, weight: f64, probability: f64, reward: f64) {
        self.rows += 1;
        self.unit_weights += u64::from(weight == 1.0);
        self.as_logged.add(1.0, reward);
        if probability > 0.0 {
            self.matched += 1;
            self.by_probability.add(probability, reward);
            self.by_inverse_propensity.add(weight, reward);
        }
    }

    fn merge(&mut self, other: &Gathered) {
        self.rows += other.rows;
        self.unit_weights += other.unit_weights;
        self.matched += other.matched;
        self.as_logged.merge(&other.as_logged);
        self.by_probability.merge(&other.by_probability);
        self.by_inverse_propensity.merge(&other.by_inverse_propensity);
    }

    fn estimates(&self) -> Estimates {
        let Gathered { rows, matched, .. } = *self;
        Estimates {
            rows,
            matched,
            effective_sample_size: self.by_inverse_propensity.effective_sample_size(),
            take_rate: self.as_logged.ratio(rows, rows),
            replay: self.by_probability.ratio(rows, matched),
            ips: self.by_inverse_propensity.mean(rows),
            snips: self.by_inverse_propensity.ratio(rows, matched),
            weight: self.by_inverse_propensity.mean_weight(rows),
            as_logged: rows > 0 && self.unit_weights == rows,
        }
    }
}
