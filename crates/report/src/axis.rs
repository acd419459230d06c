//! An axis with ticks at round numbers.

use crate::number::{decimal, decimal_value, power_of_ten};

/// Floats further out than this are drawn there, so that differences stay finite.
const FURTHEST: f64 = 1e300;
/// Between labels, in letters.
const GAP: usize = 1;

/// A range of numbers whose ends are ticks.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Values and their labels, ascending; at least two.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Spans the values, with as many ticks as have labels that fit into the width of `letters`; 0 to 1 without values.
    pub fn new(values: impl Iterator<Item = f64>, letters: usize) -> Axis {
        let ends = values.filter(|value| value.is_finite()).map(|value| value.clamp(-FURTHEST, FURTHEST));
        let ends = ends.fold(None, |ends, value| match ends {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        });
        let (low, high) = widened(ends.unwrap_or((0.0, 1.0)));
        // Labels stand below the middle of their ticks, so those at the ends jut out by half.
        let longest = |axis: &Axis| axis.ticks.iter().map(|(_, label)| label.len()).max().unwrap_or(0);
        let fits = |axis: &Axis| (longest(axis) + GAP) * (axis.ticks.len() - 1) <= letters;
        let steps = |steps| Axis::with_steps(low, high, steps);
        (2..=6).rev().map(steps).find(fits).unwrap_or_else(|| steps(1))
    }

    /// Where a value is: 0 at the lower end, 1 at the upper.
    pub fn place(&self, value: f64) -> f64 {
        match (self.ticks.first(), self.ticks.last()) {
            (Some((low, _)), Some((high, _))) => ((value - low) / (high - low)).clamp(0.0, 1.0),
            _ => 0.0,
        }
    }

    /// Steps of 1, 2 or 5 times a power of ten, about as many as asked for.
    fn with_steps(low: f64, high: f64, steps: i32) -> Axis {
        let least = (high - low) / f64::from(steps);
        let power = power_of_ten(least);
        let (digit, power) = [(1, power), (2, power), (5, power), (1, power + 1)]
            .into_iter()
            .find(|(digit, power)| decimal_value(*digit, *power) >= least)
            .unwrap_or((2, power + 1));
        let step = decimal_value(digit, power);
        // A quotient that should be whole may miss by a little.
        let (first, last) = ((low / step + 1e-6).floor() as i64, (high / step - 1e-6).ceil() as i64);
        let tick = |at: i64| (decimal_value(at * digit, power), decimal(at * digit, power));
        Axis { ticks: (first..=last).map(tick).collect() }
    }
}

/// Ends far enough apart that steps between them can be told apart.
fn widened((low, high): (f64, f64)) -> (f64, f64) {
    let largest = low.abs().max(high.abs());
    match () {
        () if largest < 1e-300 => (low, low + 1.0),
        () if high - low < largest * 1e-6 => (low - largest * 0.05, high + largest * 0.05),
        () => (low, high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], letters: usize) -> Vec<String> {
        Axis::new(values.iter().copied(), letters).ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_fit() {
        assert_eq!(
            labels(&[0.0037, 0.0065], 42),
            ["0.0035", "0.0040", "0.0045", "0.0050", "0.0055", "0.0060", "0.0065"]
        );
        assert_eq!(labels(&[0.0037, 0.0065], 30), ["0.003", "0.004", "0.005", "0.006", "0.007"]);
        assert_eq!(labels(&[0.0, 10_000.0], 60), ["0", "2,000", "4,000", "6,000", "8,000", "10,000"]);
        assert_eq!(labels(&[-0.3, 0.3], 60), ["-0.3", "-0.2", "-0.1", "0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(&[0.0, 0.97], 8), ["0", "0.5", "1.0"]);
        assert_eq!(labels(&[0.0, 0.97], 7), ["0", "1"]);
    }

    #[test]
    fn odd_values_have_an_axis_too() {
        let wide = [f64::MAX, f64::MIN];
        for values in [&[][..], &[0.0], &[5e-324], &[1.0], &[-7e20], &[1e16, 1e16 + 2.0], &[f64::NAN, 3.0], &wide] {
            for letters in [1, 50] {
                let axis = Axis::new(values.iter().copied(), letters);
                assert!((2..=8).contains(&axis.ticks.len()), "{values:?}: {axis:?}");
                assert!(axis.ticks.is_sorted_by(|a, b| a.0 < b.0), "{values:?}: {axis:?}");
                assert!(values.iter().all(|value| value.is_nan() || (0.0..=1.0).contains(&axis.place(*value))));
            }
        }
    }
}
