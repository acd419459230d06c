//! A sum of floats without rounding, so that neither order nor grouping can show.
//!
//! Every finite f64 is a whole number of 2^-1074. The sum is that integer, in digits of 32 bits held in i64, whose upper
//! half takes the carries of 2^31 additions before they must move on (Kulisch's long accumulator, kept as in Neal,
//! "Fast Exact Summation Using Small and Large Superaccumulators", arXiv 1505.05571). One rounding, at the end.
//! Of the crates that do this, `xsum` 0.1.6 cannot merge and rounds some negative sums to a neighbour of the nearest.

/// 2,098 bits hold the largest f64; the rest is room for 2^63 of them.
const DIGITS: usize = 68;
const DIGIT_BITS: usize = 32;
const DIGIT: i64 = (1 << DIGIT_BITS) - 1;
/// Each addition puts less than 2^32 into a digit, and a digit holds less than 2^63.
const ADDITIONS_BETWEEN_CARRIES: u32 = (1 << 30) - 1;

/// An exact sum of finite floats.
#[derive(Clone, Debug)]
pub struct ExactSum {
    digits: [i64; DIGITS],
    additions: u32,
}

impl ExactSum {
    /// The sum of nothing.
    pub fn new() -> ExactSum {
        ExactSum { digits: [0; DIGITS], additions: 0 }
    }

    /// Adds a finite float. What infinities and NaN would add is not defined; callers refuse them.
    pub fn add(&mut self, float: f64) {
        let bits = float.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        let (integer, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let mut shifted = u128::from(integer) << (shift % DIGIT_BITS);
        for digit in &mut self.digits[shift / DIGIT_BITS..][..3] {
            let part = shifted as i64 & DIGIT;
            *digit += if float.is_sign_negative() { -part } else { part };
            shifted >>= DIGIT_BITS;
        }
        self.added();
    }

    /// Adds all that another sum holds.
    pub fn merge(&mut self, other: &ExactSum) {
        let mut other = other.clone();
        other.carry();
        for (digit, more) in self.digits.iter_mut().zip(other.digits) {
            *digit += more;
        }
        self.added();
    }

    /// The f64 nearest to the sum, ties to even; infinite beyond the largest f64.
    pub fn value(&self) -> f64 {
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.digits[DIGITS - 1] < 0;
        if negative {
            sum.digits.iter_mut().for_each(|digit| *digit = -*digit);
            sum.carry();
        }
        let top = sum.digits.iter().rposition(|digit| *digit != 0).unwrap_or(0).max(2);
        let leading = sum.digits[top - 2..=top].iter().rev().fold(0, |all, digit| all << DIGIT_BITS | *digit as u128);
        let dropped = (u128::BITS - leading.leading_zeros()).saturating_sub(u64::BITS);
        // A bit below the 64 kept decides ties, and only whether there is one matters.
        let below = leading & ((1 << dropped) - 1) != 0 || sum.digits[..top - 2].iter().any(|digit| *digit != 0);
        let rounded = ((leading >> dropped) as u64 | u64::from(below)) as f64;
        let exponent = ((top - 2) * DIGIT_BITS) as i64 + i64::from(dropped) - 1074;
        // In two steps, since 2^exponent may be no normal f64; neither rounds, short of overflow.
        let size = rounded * power_of_two(exponent / 2) * power_of_two(exponent - exponent / 2);
        if negative { -size } else { size }
    }

    fn added(&mut self) {
        self.additions += 1;
        if self.additions == ADDITIONS_BETWEEN_CARRIES {
            self.carry();
        }
    }

    /// Leaves 0 to 2^32 - 1 in each digit but the last, which keeps the sign.
    fn carry(&mut self) {
        let mut carried = 0;
        for digit in &mut self.digits[..DIGITS - 1] {
            let whole = *digit + carried;
            *digit = whole & DIGIT;
            carried = whole >> DIGIT_BITS;
        }
        self.digits[DIGITS - 1] += carried;
        self.additions = 0;
    }
}

/// For normal exponents, -1022 to 1023.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn sum(floats: &[f64]) -> ExactSum {
        let mut sum = ExactSum::new();
        floats.iter().for_each(|float| sum.add(*float));
        sum
    }

    #[test]
    fn nothing_is_rounded_before_the_end() {
        assert_eq!(sum(&[]).value(), 0.0);
        assert_eq!(sum(&[1e100, 1.0, -1e100]).value(), 1.0);
        assert_eq!(sum(&[0.1; 10]).value(), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]).value(), f64::MAX);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
        assert_eq!(sum(&[-f64::MAX, -f64::MAX]).value(), f64::NEG_INFINITY);
        assert_eq!(sum(&[5e-324, 5e-324, -1e-323, -5e-324]).value(), -5e-324);
    }

    #[test]
    fn ties_go_to_even_unless_a_bit_below_decides() {
        let half_an_ulp = f64::EPSILON / 2.0;
        assert_eq!(sum(&[1.0, half_an_ulp]).value(), 1.0);
        assert_eq!(sum(&[1.0, half_an_ulp, 5e-324]).value(), 1.0 + f64::EPSILON);
        assert_eq!(sum(&[1.0, half_an_ulp, -5e-324]).value(), 1.0);
        assert_eq!(sum(&[1.0, 3.0 * half_an_ulp]).value(), 1.0 + 2.0 * f64::EPSILON);
    }

    #[test]
    fn carries_move_on_before_a_digit_is_full() {
        let mut many = sum(&[1.5, -0.25]);
        for _ in 0..61 {
            let again = many.clone();
            many.merge(&again);
        }
        assert_eq!(many.value(), 1.25 * 2f64.powi(61));
        let mut full = sum(&[f64::MAX]);
        full.additions = ADDITIONS_BETWEEN_CARRIES - 1;
        full.digits[63] += 1 << 62;
        full.add(0.0);
        assert_eq!(full.additions, 0);
        assert!(full.digits.iter().all(|digit| (0..=DIGIT).contains(digit)));
    }

    /// In units of 2^-1074.
    fn integer(float: f64) -> BigInt {
        let bits = float.abs().to_bits();
        let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
        let integer = match exponent {
            0 => BigInt::from(fraction),
            _ => BigInt::from(fraction | 1 << 52) << (exponent - 1),
        };
        if float < 0.0 { -integer } else { integer }
    }

    #[test]
    fn no_float_is_nearer_to_the_sum_in_any_grouping() {
        let seed = 7;
        println!("seed {seed}");
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        for round in 0..3_000 {
            // Narrow exponents collide and cancel; wide ones reach subnormals and the largest.
            let spread = [2, 60, 1100][round % 3];
            let floats: Vec<f64> = (0..dice.random_range(1..50))
                .map(|_| {
                    let exponent = (1023 + dice.random_range(-spread..=spread)).clamp(0, 2030) as u64;
                    f64::from_bits(dice.random::<u64>() & 0x800f_ffff_ffff_ffff | exponent << 52)
                })
                .collect();
            let (left, right) = floats.split_at(dice.random_range(0..floats.len()));
            let mut merged = sum(right);
            merged.merge(&sum(left));
            let value = merged.value();
            assert_eq!(value.to_bits(), sum(&floats).value().to_bits());
            let exact: BigInt = floats.iter().map(|float| integer(*float)).sum();
            let miss = |float: f64| BigInt::from((integer(float) - &exact).magnitude().clone());
            for neighbour in [value.next_up(), value.next_down()] {
                let tie_to_even = miss(value) == miss(neighbour) && value.to_bits().is_multiple_of(2);
                assert!(miss(value) < miss(neighbour) || tie_to_even, "{value} of {floats:?}");
            }
        }
    }
}
