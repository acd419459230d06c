//! How a play's credit is shared among the impressions before it: exact, in integers, so that the credits of a play sum
//! to one to the last digit, on every machine.

use std::fmt;
use std::str::FromStr;

/// Digits of a credit after the point; credits are decimals with one digit before it.
pub(crate) const SCALE: i8 = 12;

/// A whole credit.
pub(crate) const ONE: i128 = 1_000_000_000_000;

/// A rule of attribution. Names and shares are those of dbt-snowplow-attribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// All to the latest.
    Last,
    /// All to the earliest.
    First,
    /// The same to each.
    Linear,
    /// 40 % to the earliest, 40 % to the latest, 20 % to those between.
    Position,
    /// Half as much for each half-life before the latest.
    Decay,
}

/// The models by name.
const MODELS: [(&str, Model); 5] = [
    ("last", Model::Last),
    ("first", Model::First),
    ("linear", Model::Linear),
    ("position", Model::Position),
    ("decay", Model::Decay),
];

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MODELS.iter().find(|(_, model)| model == self).map_or("", |(name, _)| name))
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(name: &str) -> Result<Model, String> {
        let found = MODELS.iter().find(|(known, _)| *known == name.trim());
        found.map(|(_, model)| *model).ok_or_else(|| {
            let names: Vec<&str> = MODELS.iter().map(|(name, _)| *name).collect();
            format!("{name} is no model: {} are", names.join(", "))
        })
    }
}

impl Model {
    /// Adds the credits of impressions at these times, ascending, microseconds: `(which, credit)`, without those that
    /// get none. They sum to [`ONE`]; what does not divide evenly goes, a digit each, to those whose share lost most by
    /// rounding down, of equals the earlier. No impression, no credit.
    pub(crate) fn credits(self, times: &[i64], half_life: i64, into: &mut Vec<(usize, i128)>) {
        let Some(newest) = times.last() else { return };
        match self {
            Model::Last => into.push((times.len() - 1, ONE)),
            Model::First => into.push((0, ONE)),
            _ if times.len() == 1 => into.push((0, ONE)),
            Model::Linear => share(&vec![1; times.len()], into),
            Model::Position => share(&positions(times.len()), into),
            Model::Decay => {
                let weights: Vec<i128> = times.iter().map(|time| weight(newest - time, half_life)).collect();
                share(&weights, into);
            }
        }
    }
}

/// 40, 20 over all between, 40; where there is nothing between, its share goes to the ends.
fn positions(count: usize) -> Vec<i128> {
    match count {
        1 | 2 => vec![1; count],
        _ => {
            let between = count as i128 - 2;
            let mut weights = vec![1; count];
            weights[0] = 2 * between;
            weights[count - 1] = 2 * between;
            weights
        }
    }
}

/// 2^52 halved for each half-life, rounded. `libm` and not the platform's: the same bits everywhere.
fn weight(age: i64, half_life: i64) -> i128 {
    libm::round(libm::exp2(52.0 - age as f64 / half_life.max(1) as f64)) as i128
}

/// Shares one credit by weights.
fn share(weights: &[i128], into: &mut Vec<(usize, i128)>) {
    let total: i128 = weights.iter().sum();
    let given: i128 = weights.iter().map(|weight| weight * ONE / total).sum();
    let mut by_loss: Vec<usize> = (0..weights.len()).collect();
    by_loss.sort_by_key(|which| std::cmp::Reverse(weights[*which] * ONE % total));
    let mut rounded_up = vec![0; weights.len()];
    by_loss.into_iter().take((ONE - given) as usize).for_each(|which| rounded_up[which] = 1);
    let credits = weights.iter().zip(rounded_up).map(|(weight, up)| weight * ONE / total + up);
    into.extend(credits.enumerate().filter(|(_, credit)| *credit > 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credits(model: Model, times: &[i64]) -> Vec<i128> {
        let mut credits = Vec::new();
        model.credits(times, 10, &mut credits);
        assert_eq!(credits.iter().map(|(_, credit)| credit).sum::<i128>(), ONE);
        let mut all = vec![0; times.len()];
        credits.into_iter().for_each(|(which, credit)| all[which] = credit);
        all
    }

    #[test]
    fn each_model_shares_as_it_says() {
        assert_eq!(credits(Model::Last, &[1, 2, 3]), [0, 0, ONE]);
        assert_eq!(credits(Model::First, &[1, 2, 3]), [ONE, 0, 0]);
        assert_eq!(credits(Model::Linear, &[1, 2, 3]), [333_333_333_334, 333_333_333_333, 333_333_333_333]);
        assert_eq!(credits(Model::Position, &[1]), [ONE]);
        assert_eq!(credits(Model::Position, &[1, 2]), [ONE / 2, ONE / 2]);
        assert_eq!(credits(Model::Position, &[1, 2, 3]), [ONE * 2 / 5, ONE / 5, ONE * 2 / 5]);
        assert_eq!(credits(Model::Position, &[1, 2, 3, 4]), [ONE * 2 / 5, ONE / 10, ONE / 10, ONE * 2 / 5]);
        assert_eq!(credits(Model::Decay, &[0, 10]), [333_333_333_333, 666_666_666_667]);
        assert_eq!(credits(Model::Decay, &[5, 5]), [ONE / 2, ONE / 2]);
    }

    #[test]
    fn a_share_too_small_to_count_is_none() {
        let mut given = Vec::new();
        Model::Decay.credits(&[0, 1_000_000], 10, &mut given);
        assert_eq!(given, [(1, ONE)]);
    }

    #[test]
    fn credits_sum_to_one_for_any_number() {
        for count in 1..200 {
            let times: Vec<i64> = (0..count)
                .map(|number| number * number % 37)
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect();
            for (_, model) in MODELS {
                credits(model, &times);
            }
        }
    }

    #[test]
    fn a_model_is_known_by_name() {
        assert_eq!("linear".parse(), Ok(Model::Linear));
        assert!("lineal".parse::<Model>().unwrap_err().contains("linear"));
    }
}
