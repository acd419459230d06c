//! Proportions as exact decimals: a whole number of 10^-18, so that no count depends on how a float rounds.

/// 1, in units of 10^-18.
pub(crate) const ONE: u64 = 1_000_000_000_000_000_000;
const DIGITS: usize = 18;

/// A decimal such as `0.25` in units of 10^-18; `None` if it is no plain decimal in [0, 1] of at most 18 places.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || places.len() > DIGITS || !digits(whole) || !digits(places) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let places: u64 = format!("{places:0<DIGITS$}").parse().ok()?;
    whole.checked_mul(ONE)?.checked_add(places).filter(|part| *part <= ONE)
}

/// The decimal that `value` prints as, cut after 18 places; 0 for what is no proportion.
pub(crate) fn of(value: f64) -> u64 {
    let mut text = value.to_string();
    if let Some(point) = text.find('.') {
        text.truncate(point + 1 + DIGITS);
    }
    parse(&text).unwrap_or(0)
}

/// `part` of `total`, rounded down.
pub(crate) fn floor(part: u64, total: u64) -> u64 {
    to_u64(u128::from(part) * u128::from(total) / u128::from(ONE))
}

/// `part` of `total`, rounded up.
pub(crate) fn ceil(part: u64, total: u64) -> u64 {
    to_u64((u128::from(part) * u128::from(total)).div_ceil(u128::from(ONE)))
}

/// `total` in whole parts as near as can be to `weights` (largest remainder; of equal remainders the earlier weight's).
/// All zeros if all weights are.
pub(crate) fn largest_remainder(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: &u64| u128::from(total) * u128::from(*weight);
    let mut parts: Vec<u64> = weights.iter().map(|weight| to_u64(exact(weight) / sum)).collect();
    let left = total - parts.iter().sum::<u64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(exact(&weights[*at]) % sum), *at));
    order.into_iter().zip(0..left).for_each(|(at, _)| parts[at] += 1);
    parts
}

/// Exact, as every quotient here is at most the total it was taken of.
fn to_u64(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_anything_else_is_refused() {
        assert_eq!(parse("0.1"), Some(ONE / 10));
        assert_eq!(parse("1"), Some(ONE));
        for wrong in ["", ".5", "-0.1", "1.1", "1e-3", "0.0000000000000000001", "99999999999999999999", "+1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!([of(0.4), of(1e-3), of(f64::NAN), of(-1.0)], [ONE / 10 * 4, ONE / 1000, 0, 0]);
    }

    #[test]
    fn the_largest_remainders_get_the_rows_that_are_left() {
        // 10 of (0.47, 0.33, 0.2) is 4.7, 3.3, 2.0.
        assert_eq!(largest_remainder(10, &[47, 33, 20]), [5, 3, 2]);
        assert_eq!(largest_remainder(1, &[1, 1]), [1, 0]);
        assert_eq!(largest_remainder(7, &[0, 0]), [0, 0]);
        assert_eq!(largest_remainder(u64::MAX, &[ONE, ONE]), [u64::MAX / 2 + 1, u64::MAX / 2]);
    }

    #[test]
    fn bounds_round_to_the_side_that_keeps_the_promise() {
        assert_eq!((ceil(ONE / 10, 11), floor(ONE / 10, 11)), (2, 1));
        assert_eq!((ceil(ONE / 10, 10), floor(ONE / 10, 10)), (1, 1));
    }
}
