//! Weighted sums of rewards, and the means and standard errors they give.

use serde::Serialize;

use crate::exact_sum::ExactSum;

/// The 0.975 quantile of the normal distribution.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// An estimate of the mean reward, in units of the reward.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate itself.
    pub value: f64,
    /// None where there are too few rows to tell: under two, or under two that the policy could have chosen.
    pub standard_error: Option<f64>,
    /// Ends of the 95% confidence interval of a normal distribution, not cut off at 0 or 1. An interval without width
    /// means that rewards did not differ, not that the estimate is certain.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

impl Estimate {
    /// None unless the value is finite.
    fn new(value: f64, variance: Option<f64>) -> Option<Estimate> {
        // What rounding leaves of no variance may be less than none.
        let standard_error = variance.map(|variance| variance.max(0.0).sqrt()).filter(|error| error.is_finite());
        let end = |sign: f64| standard_error.map(|error| value + sign * NORMAL_95 * error);
        value.is_finite().then_some(Estimate { value, standard_error, low: end(-1.0), high: end(1.0) })
    }
}

/// Sums over rows with weight w and reward r.
#[derive(Clone, Debug)]
pub struct Moments {
    w: ExactSum,
    wr: ExactSum,
    ww: ExactSum,
    wwr: ExactSum,
    wwrr: ExactSum,
}

impl Moments {
    /// Of no rows.
    pub fn new() -> Moments {
        let zero = ExactSum::new;
        Moments { w: zero(), wr: zero(), ww: zero(), wwr: zero(), wwrr: zero() }
    }

    /// Adds a row; weight and reward must pass `is_summable`.
    pub fn add(&mut self, weight: f64, reward: f64) {
        let weighted = weight * reward;
        self.w.add(weight);
        self.wr.add(weighted);
        self.ww.add(weight * weight);
        self.wwr.add(weight * weighted);
        self.wwrr.add(weighted * weighted);
    }

    /// Adds the rows of another.
    pub fn merge(&mut self, other: &Moments) {
        self.w.merge(&other.w);
        self.wr.merge(&other.wr);
        self.ww.merge(&other.ww);
        self.wwr.merge(&other.wwr);
        self.wwrr.merge(&other.wwrr);
    }

    /// sum(w r) / sum(w) of `rows` rows, of which `matched` have weight; None without weight.
    ///
    /// Its variance is the delta method's for a ratio of two means, sum(w^2 (r - value)^2) / sum(w)^2 times
    /// n / (n - 1), so that with equal weights it is that of a mean (Cochran, "Sampling Techniques", 1977, section 6;
    /// Owen, "Monte Carlo theory, methods and examples", 2013, section 9.2).
    pub fn ratio(&self, rows: u64, matched: u64) -> Option<Estimate> {
        let weight = self.w.value();
        let value = self.wr.value() / weight;
        let residual = self.wwrr.value() - 2.0 * value * self.wwr.value() + value * value * self.ww.value();
        let variance = residual / weight / weight * (rows as f64 / (rows as f64 - 1.0));
        if weight > 0.0 { Estimate::new(value, (matched > 1).then_some(variance)) } else { None }
    }

    /// sum(w r) / n of `rows` rows; None without weight. Its variance is the sample variance of w r, over n.
    pub fn mean(&self, rows: u64) -> Option<Estimate> {
        let (n, sum) = (rows as f64, self.wr.value());
        let variance = (self.wwrr.value() - sum * sum / n) / (n - 1.0) / n;
        if self.w.value() > 0.0 { Estimate::new(sum / n, (rows > 1).then_some(variance)) } else { None }
    }

    /// sum(w) / n of `rows` rows; None without weight. Its variance is the sample variance of w, over n.
    pub fn mean_weight(&self, rows: u64) -> Option<Estimate> {
        let (n, sum) = (rows as f64, self.w.value());
        let variance = (self.ww.value() - sum * sum / n) / (n - 1.0) / n;
        if sum > 0.0 { Estimate::new(sum / n, (rows > 1).then_some(variance)) } else { None }
    }

    /// Kong's effective sample size, sum(w)^2 / sum(w^2); None without weight.
    pub fn effective_sample_size(&self) -> Option<f64> {
        let weight = self.w.value();
        let size = weight / self.ww.value() * weight;
        (weight > 0.0 && size.is_finite()).then_some(size)
    }
}

/// Whether all that a row adds to sums is finite.
pub fn is_summable(weight: f64, reward: f64) -> bool {
    let weighted = weight * reward;
    [weight * weight, weight * weighted, weighted * weighted].into_iter().all(f64::is_finite)
}
