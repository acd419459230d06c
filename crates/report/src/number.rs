//! Numbers as people read them, the same wherever the report is made.

/// A number with commas between thousands.
pub fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// Four significant digits, or none after the point of a whole number, with commas between thousands; scientific if
/// very large or small; a dash for none.
pub fn number(number: Option<f64>) -> String {
    match number {
        None => "–".to_owned(),
        Some(number) if number.fract() == 0.0 && number.abs() < 1e9 => grouped(&format!("{:.0}", number + 0.0)),
        Some(number) => match power_of_ten(number) {
            power @ -6..=8 => grouped(&format!("{number:.*}", (3 - power).max(0) as usize)),
            _ => format!("{number:.3e}"),
        },
    }
}

/// As many decimals as two significant digits of a positive `error` have; more would say nothing.
pub fn as_exact_as(error: f64, number: f64) -> String {
    let rounded = format!("{number:.*}", (1 - power_of_ten(error)).clamp(0, 9) as usize);
    grouped(if rounded.contains(|digit: char| ('1'..='9').contains(&digit)) { &rounded } else { "0" })
}

/// The decimal `digits` times 10 to the `power`, with no more decimals than it has.
pub fn decimal(digits: i64, power: i32) -> String {
    match power {
        _ if digits == 0 => "0".to_owned(),
        0..=8 => grouped(&format!("{digits}{}", "0".repeat(power as usize))),
        -6..0 => grouped(&format!("{:.*}", power.unsigned_abs() as usize, decimal_value(digits, power))),
        _ => format!("{digits}e{power}"),
    }
}

/// The float nearest to that decimal, which multiplying would miss.
pub fn decimal_value(digits: i64, power: i32) -> f64 {
    format!("{digits}e{power}").parse().unwrap_or(f64::NAN)
}

/// The power of ten of the first digit, after rounding to four digits; logarithms differ from machine to machine.
pub fn power_of_ten(number: f64) -> i32 {
    format!("{number:.3e}").split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0)
}

fn grouped(decimal: &str) -> String {
    let (sign, unsigned) = decimal.split_at(usize::from(decimal.starts_with('-')));
    let whole = unsigned.find('.').unwrap_or(unsigned.len());
    let mut text = sign.to_owned();
    for (at, digit) in unsigned.chars().enumerate() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_are_shown() {
        for (value, text) in [
            (0.0, "0"),
            (0.005_123_4, "0.005123"),
            (0.99996, "1.000"),
            (-0.0, "0"),
            (60.0, "60"),
            (-1234.5678, "-1,235"),
            (10_000.0, "10,000"),
            (123_456_789.0, "123,456,789"),
            (1e9, "1.000e9"),
            (-2.5e-7, "-2.500e-7"),
        ] {
            assert_eq!(number(Some(value)), text);
        }
        assert_eq!(number(None), "–");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123), "123");
    }

    #[test]
    fn errors_say_how_many_decimals_count() {
        for ((error, value), text) in [
            ((0.000_82, 0.006_9), "0.00690"),
            ((0.01, -0.000_5), "-0.001"),
            ((0.01, -0.000_4), "0"),
            ((25.0, 1234.5), "1,234"),
            ((1e-30, 0.5), "0.500000000"),
        ] {
            assert_eq!(as_exact_as(error, value), text);
        }
    }

    #[test]
    fn decimals_are_exact() {
        for ((digits, power), text) in [
            ((15, -3), "0.015"),
            ((-2, -1), "-0.2"),
            ((0, -2), "0"),
            ((0, 3), "0"),
            ((25, 2), "2,500"),
            ((3, 12), "3e12"),
        ] {
            assert_eq!(decimal(digits, power), text);
        }
        assert_eq!(decimal_value(3, -1), 0.3);
    }
}
