//! Estimates equal sums by hand, are None where undefined, and do not depend on the order of rows.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use report::{Estimate, Estimator, Logged};

fn row(slot: &str, propensity: f64, probability: f64, reward: f64) -> Logged<'_> {
    Logged { policy: 0, slot, propensity, probability, reward }
}

fn estimator<'a>(rows: impl IntoIterator<Item = &'a Logged<'a>>) -> Estimator {
    let mut estimator = Estimator::new(["one", "two"].map(str::to_owned));
    rows.into_iter().for_each(|row| estimator.add(row).unwrap());
    estimator
}

fn is(estimate: Option<Estimate>, value: f64, variance: Option<f64>) {
    let estimate = estimate.unwrap();
    let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-12,
        (a, b) => a == b,
    };
    let error = variance.map(f64::sqrt);
    assert!(near(Some(estimate.value), Some(value)), "{estimate:?}");
    assert!(near(estimate.standard_error, error), "{estimate:?}");
    assert!(near(estimate.low, error.map(|error| value - 1.959963984540054 * error)), "{estimate:?}");
    assert!(near(estimate.high, error.map(|error| value + 1.959963984540054 * error)), "{estimate:?}");
}

#[test]
fn four_rows_by_hand() {
    let rows = [row("10", 0.5, 1.0, 1.0), row("10", 0.25, 1.0, 0.0), row("9", 0.5, 0.0, 1.0), row("9", 0.25, 0.5, 2.0)];
    let estimates = estimator(&rows).estimates();
    let one = &estimates[0];
    assert_eq!((one.policy.as_str(), one.overall.rows, one.overall.matched), ("one", 4, 3));
    is(one.overall.take_rate, 1.0, Some(2.0 / 3.0 / 4.0));
    is(one.overall.replay, 2.0 / 2.5, Some(1.04 / 6.25 * 4.0 / 3.0));
    is(one.overall.ips, 6.0 / 4.0, Some(11.0 / 3.0 / 4.0));
    is(one.overall.snips, 6.0 / 8.0, Some(15.5 / 64.0 * 4.0 / 3.0));
    assert!((one.overall.effective_sample_size.unwrap() - 64.0 / 24.0).abs() < 1e-12);

    assert_eq!(one.slots.iter().map(|slot| slot.slot.as_str()).collect::<Vec<_>>(), ["9", "10"]);
    let nine = &one.slots[0].estimates;
    assert_eq!((nine.rows, nine.matched, nine.effective_sample_size), (2, 1, Some(1.0)));
    is(nine.take_rate, 1.5, Some(0.25));
    is(nine.replay, 2.0, None);
    is(nine.ips, 2.0, Some(4.0));
    is(nine.snips, 2.0, None);
}

#[test]
fn what_is_undefined_is_none_and_null() {
    let estimates = estimator(&[row("1", 0.5, 0.0, 1.0)]).estimates();
    let [one, two] = &estimates[..] else { panic!("two policies") };
    is(one.overall.take_rate, 1.0, None);
    for of in [&one.overall, &one.slots[0].estimates, &two.overall] {
        assert_eq!((of.matched, of.effective_sample_size), (0, None));
        assert_eq!((of.replay, of.ips, of.snips), (None, None, None));
    }
    assert_eq!((two.overall.rows, two.overall.take_rate, two.slots.len()), (0, None, 0));
    let json = serde_json::to_value(&estimates).unwrap();
    assert_eq!(json[0]["slots"][0]["slot"], "1");
    assert_eq!(json[0]["slots"][0]["take_rate"]["value"], 1.0);
    assert!(json[0]["overall"]["snips"].is_null());
}

#[test]
fn rewards_without_spread_have_no_error_rather_than_a_nan() {
    let rows = vec![row("1", 0.3, 0.1, 0.7); 1000];
    let overall = estimator(&rows).estimates().remove(0).overall;
    for estimate in [overall.take_rate, overall.replay, overall.ips, overall.snips] {
        assert!(estimate.unwrap().standard_error.unwrap() < 1e-7, "{estimate:?}");
    }
}

#[test]
fn on_uniform_logs_replay_is_snips() {
    let seed = 11;
    println!("seed {seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    for actions in 2..80 {
        let propensity = 1.0 / f64::from(actions);
        let rows: Vec<Logged> = (0..200)
            .map(|_| row("1", propensity, dice.random_range(0.0..1.0f64).powi(3), dice.random_range(-5.0..50.0)))
            .collect();
        let overall = estimator(&rows).estimates().remove(0).overall;
        let (replay, snips) = (overall.replay.unwrap(), overall.snips.unwrap());
        assert!((replay.value - snips.value).abs() < 1e-9, "{replay:?} {snips:?}");
        assert!((replay.standard_error.unwrap() - snips.standard_error.unwrap()).abs() < 1e-9);
    }
}

/// Rows whose sums in f64 differ with their order.
fn rows_of_all_sizes(dice: &mut ChaCha8Rng) -> Vec<Logged<'static>> {
    let mut rows = Vec::new();
    for at in 0..500 {
        let probability = if dice.random_bool(0.3) { 0.0 } else { dice.random_range(0.0..1.0) };
        let reward = dice.random_range(-1.0..1.0) * 10f64.powi(dice.random_range(-12..12));
        rows.push(Logged {
            policy: at % 2,
            slot: ["1", "2", "top"][dice.random_range(0..3)],
            propensity: dice.random_range(1e-4..1.0),
            probability,
            reward,
        });
    }
    rows
}

#[test]
fn order_and_grouping_do_not_show_in_a_bit() {
    let seed = 3;
    println!("seed {seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = rows_of_all_sizes(&mut dice);
    let expected = serde_json::to_string(&estimator(&rows).estimates()).unwrap();
    for _ in 0..256 {
        rows.shuffle(&mut dice);
        let mut parts: Vec<Estimator> = rows.chunks(dice.random_range(1..=500)).map(estimator).collect();
        parts.push(estimator(&[]));
        while parts.len() > 1 {
            let part = parts.swap_remove(dice.random_range(0..parts.len()));
            let into = dice.random_range(0..parts.len());
            parts[into].merge(&part).unwrap();
        }
        assert_eq!(serde_json::to_string(&parts[0].estimates()).unwrap(), expected);
    }
}

#[test]
fn rows_out_of_range_are_refused_and_leave_nothing() {
    let nan = f64::NAN;
    let mut none = estimator(&[]);
    for (bad, reason) in [
        (row("1", 0.0, 1.0, 1.0), "propensity 0 is outside (0, 1]"),
        (row("1", 1.5, 1.0, 1.0), "propensity 1.5 is outside (0, 1]"),
        (row("1", nan, 1.0, 1.0), "propensity NaN is outside (0, 1]"),
        (row("1", 0.5, -0.1, 1.0), "probability -0.1 of policy 0 is outside [0, 1]"),
        (row("1", 0.5, nan, 1.0), "probability NaN of policy 0 is outside [0, 1]"),
        (row("1", 0.5, 0.0, nan), "reward NaN with propensity 0.5 cannot be summed"),
        (row("1", 0.5, 0.0, 1e200), "reward 1000"),
        (row("1", 1e-300, 1.0, 1.0), "reward 1 with propensity 0.0000"),
        (Logged { policy: 2, ..row("1", 0.5, 1.0, 1.0) }, "policy 2 is unknown: there are 2"),
    ] {
        let error = none.add(&bad).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error}");
    }
    assert_eq!(none.estimates(), estimator(&[]).estimates());
    let error = none.merge(&Estimator::new(["other".to_owned()])).unwrap_err().to_string();
    assert!(error.contains(r#"policies ["other"] are not ["one", "two"]"#), "{error}");
}

#[test]
fn the_mean_weight_is_what_the_probabilities_sum_to() {
    // Two actions, logged with 0.8 and 0.2: ten thousand rows in that proportion.
    let rows = |first: f64, second: f64| {
        let mut rows = vec![row("1", 0.8, first, 1.0); 8_000];
        rows.extend(vec![row("1", 0.2, second, 0.0); 2_000]);
        estimator(&rows).estimates().swap_remove(0)
    };
    for (first, second) in [(0.8, 0.2), (0.5, 0.5), (1.0, 0.0)] {
        let of = rows(first, second);
        assert!((of.overall.weight.unwrap().value - 1.0).abs() < 1e-12);
        let named = of.doubts.iter().any(|doubt| doubt.contains("no distribution"));
        assert!(!named, "{first} {second}");
    }
    let twice = rows(1.0, 1.0);
    assert!((twice.overall.weight.unwrap().value - 2.0).abs() < 1e-12);
    let doubts = &twice.doubts;
    assert!(doubts[0].contains("one is no distribution") && doubts[0].contains("too high"), "{doubts:?}");
    let half = rows(0.25, 0.25).doubts;
    assert!(half[0].contains("too low"), "{half:?}");
    // The two differ by just what is said.
    assert!((twice.overall.ips.unwrap().value - 2.0 * twice.overall.snips.unwrap().value).abs() < 1e-12);
}

#[test]
fn replay_of_what_was_logged_is_doubted_where_it_is_not_the_take_rate() {
    let logged = |propensities: [f64; 2]| {
        let rows = propensities.map(|p| row("1", p, p, if p > 0.5 { 1.0 } else { 0.0 }));
        estimator(&rows).estimates().swap_remove(0).doubts
    };
    assert_eq!(logged([0.5, 0.5]), Vec::<String>::new());
    let doubts = logged([0.8, 0.2]);
    assert!(doubts.len() == 1 && doubts[0].contains("replay of one is not its take rate"), "{doubts:?}");
}
