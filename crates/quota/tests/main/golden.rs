//! Worked out by hand.

use quota::{Rule, Rules, solve};

use crate::instances::cell;

#[test]
fn three_rules_on_two_columns() {
    let rules = Rules::parse(
        "size = 100
         [[rule]]
         strata = ['device']
         share = { tv = 0.4, other = 0.6 }
         [[rule]]
         strata = ['country']
         min = { US = 50 }
         [[rule]]
         strata = ['country', 'device']
         max = { 'US/tv' = 15 }",
    );
    let cells = [
        cell(&["tv", "US", "US/tv"], 100),
        cell(&["tv", "FR", "FR/tv"], 300),
        cell(&["phone", "US", "US/phone"], 200),
        cell(&["phone", "FR", "FR/phone"], 200),
        cell(&["web", "FR", "FR/web"], 200),
    ];
    // tv is 40 rows, in proportion 10 US and 30 FR; the others 60, in proportion 20 each. US then has 30 and lacks 20.
    // With u rows of US/tv, at most 15, and 50 - u of US/phone, the 10 + u others shared by FR/phone and FR/web:
    // u^2/100 + (40-u)^2/300 + (50-u)^2/200 + 2 ((10+u)/2)^2/200 is least where
    // 2u/100 - 2(40-u)/300 - 2(50-u)/200 + (10+u)/200 = 0, so 12u - 160 + 4u - 300 + 6u + 30 + 3u = 0, u = 17.2.
    assert_eq!(solve(&rules.unwrap(), &cells).unwrap(), [15, 25, 35, 13, 12]);
}

#[test]
fn shares_are_met_to_the_row_by_largest_remainder() {
    let rules =
        |size| Rules::parse(&format!("size = {size}\n[[rule]]\nstrata=['c']\nshare={{a=0.47, b=0.33, other=0.2}}"));
    let cells = [cell(&["a"], 100), cell(&["b"], 100), cell(&["c"], 60), cell(&["d"], 30)];
    // 10: 4.7, 3.3, 2. 11: 5.17, 3.63, 2.2. The rest goes 2 to 1 over c and d.
    assert_eq!(solve(&rules(10).unwrap(), &cells).unwrap(), [5, 3, 1, 1]);
    assert_eq!(solve(&rules(11).unwrap(), &cells).unwrap(), [5, 4, 1, 1]);
    assert_eq!(solve(&rules(100).unwrap(), &cells).unwrap(), [47, 33, 13, 7]);
}

#[test]
fn without_a_size_the_total_is_the_greatest_that_the_rules_allow() {
    let cells = [cell(&["a"], 40), cell(&["b"], 90)];
    let rules = |text: &str| Rules::parse(&format!("{text}\n[[rule]]\nstrata=['c']\nshare={{a=0.4, b=0.6}}")).unwrap();
    // a has 40 = 0.4 x 100; of 101 it would get 40.4, so 40 and 61; of 102 41.
    assert_eq!(solve(&rules(""), &cells).unwrap(), [40, 61]);
    assert_eq!(solve(&rules("max_size = 10"), &cells).unwrap(), [4, 6]);
    let rules = Rules::parse("max_size = 200\n[[rule]]\nstrata=['c']\nmax_each = 50\nmax = {b = 70}").unwrap();
    assert_eq!(solve(&rules, &cells).unwrap(), [40, 70]);
}

#[test]
fn a_row_goes_where_it_is_cheapest_and_ties_go_to_the_earlier_label() {
    let same = [cell(&[], 5), cell(&[], 5), cell(&[], 5)];
    assert_eq!(solve(&size(7), &same).unwrap(), [3, 2, 2]);
    // The k-th row costs (2k - 1) / supply: a 1/60, 3/60, 5/60; b 1/30, 3/30; c 1/10. So of 5 rows a 3, b 2.
    let rules = |size| Rules { rules: vec![Rule { strata: vec!["x".into()], ..Rule::default() }], ..self::size(size) };
    let cells = [cell(&["a"], 60), cell(&["b"], 30), cell(&["c"], 10)];
    assert_eq!(solve(&rules(5), &cells).unwrap(), [3, 2, 0]);
    assert_eq!(solve(&rules(100), &cells).unwrap(), [60, 30, 10]);
    assert_eq!(solve(&size(0), &[]).unwrap(), [0u64; 0]);
}

fn size(size: u64) -> Rules {
    Rules { size: Some(size), ..Rules::default() }
}
