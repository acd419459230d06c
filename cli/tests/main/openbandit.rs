//! A log of somebody else's making: columns in the shape of the Open Bandit Dataset's, and not in ours. The rows are
//! made up here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::workdir::{Ran, Workdir};

const SELECT: &str = "column_1 as event_id, column_1 as request_id, timestamp as ts, item_id, position, click, \
                      propensity_score as propensity";

/// A row of the log.
struct Shown {
    number: usize,
    second: usize,
    item: usize,
    position: usize,
    click: bool,
}

/// Four hours of rows, in order.
fn shown() -> impl Iterator<Item = Shown> {
    (0..600).map(|number| Shown {
        number,
        second: number * 23 + number % 7,
        item: number * number % 11,
        position: 1 + number % 3,
        click: number % 13 == 0,
    })
}

impl Shown {
    fn hour(&self) -> String {
        format!("2019-11-24T{:02}", 8 + self.second / 3600)
    }
}

fn log() -> String {
    let mut log = ",timestamp,item_id,position,click,propensity_score".to_owned();
    (0..4).for_each(|n| write!(log, ",user_feature_{n}").unwrap());
    (0..3).for_each(|n| write!(log, ",user-item_affinity_{n}").unwrap());
    for row in shown() {
        let (minute, second) = (row.second / 60 % 60, row.second % 60);
        let time = row.hour().replace('T', " ");
        let clicked = u8::from(row.click);
        write!(log, "\n{},{time}:{minute:02}:{second:02}.{:06}+00:00", row.number, row.number * 997).unwrap();
        write!(log, ",{},{},{clicked},0.09090909,ab,cd,ef,01,0.0,1.5,0.0", row.item, row.position).unwrap();
    }
    log + "\n"
}

fn ingest(dir: &Workdir, filter: &str, out: &str) -> Ran {
    let mut command = dir.command(&format!("ingest --in log.csv --out {out}"));
    let ran = Ran::of(command.args(["--select", SELECT, "--where", filter]).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran
}

#[test]
fn counts_of_a_foreign_log_are_those_of_an_independent_count() {
    let dir = Workdir::new();
    dir.write("log.csv", log());
    let said = ingest(&dir, "true", "archive/impressions").err;
    let inferred = "column_1 int64\ntimestamp timestamp not null\nitem_id int64\nposition int64\nclick int64\n\
                    propensity_score float64\nuser_feature_0 text\n";
    assert!(said.contains(inferred), "{said}");
    ingest(&dir, "click = 1", "archive/plays");
    dir.ok("aggregate --in impressions=archive/impressions --in plays=archive/plays --by item_id,position --epoch 1h \
            --sets --out counts");

    let mut expected: BTreeMap<_, [BTreeSet<String>; 2]> = BTreeMap::new();
    for row in shown() {
        let [impressions, plays] = expected.entry((row.hour(), row.item, row.position)).or_default();
        impressions.insert(row.number.to_string());
        plays.extend(row.click.then(|| row.number.to_string()));
    }
    let expected: Vec<Value> = expected
        .into_iter()
        .map(|((hour, item, position), [impressions, plays])| {
            json!({
                "hour": hour, "epoch": format!("{hour}:00:00"), "item_id": item, "position": position,
                "impressions": impressions.len(), "plays": plays.len(),
                "take_rate": plays.len() as f64 / impressions.len() as f64,
                "impression_requests": impressions, "play_requests": plays,
            })
        })
        .collect();
    assert_eq!(dir.rows("counts"), expected);
}

/// What the propensity is said to be, of another policy than the uniform one.
const PROPENSITY: &str = "case when item_id < 4 then 0.25 when item_id = 7 then 1 else 0.125 end";

fn propensity(row: &Shown) -> f64 {
    match row.item {
        0..4 => 0.25,
        7 => 1.0,
        _ => 0.125,
    }
}

/// Take rate, replay, IPS and SNIPS by their definitions, of a policy that gives the logged actions these probabilities.
fn estimates(rows: &[&Shown], probability: impl Fn(&Shown) -> f64) -> [Option<f64>; 4] {
    let sum = |term: &dyn Fn(&Shown) -> f64| rows.iter().map(|row| term(row)).sum::<f64>();
    let reward = |row: &Shown| f64::from(u8::from(row.click));
    let weight = |row: &Shown| probability(row) / propensity(row);
    let n = rows.len() as f64;
    let (matched, weights) = (sum(&probability), sum(&weight));
    let earned = sum(&|row| weight(row) * reward(row));
    let matches = matched > 0.0;
    [
        Some(sum(&reward) / n),
        matches.then(|| sum(&|row| probability(row) * reward(row)) / matched),
        matches.then_some(earned / n),
        matches.then_some(earned / weights),
    ]
}

/// What a policy gives the logged action.
type Probability = fn(&Shown) -> f64;

#[test]
fn policies_over_a_foreign_log_earn_what_an_independent_computation_says() {
    let dir = Workdir::new();
    dir.write("log.csv", log());
    ingest(&dir, "true", "archive/impressions");
    ingest(&dir, "click = 1", "archive/plays");
    let words = "attribute --in impressions=archive/impressions --in plays=archive/plays --by event_id --lookback 1h \
                 --action item_id --slot position --report page.html --report page.json --out tuples";
    let mut command = dir.command(words);
    command.args(["--propensity", PROPENSITY, "--policy", "uniform=1.0/11", "--policy"]);
    let ran = Ran::of(command.arg("even=case when action % 2 = 0 then 1 else 0 end").output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("policy even\n  slot"), "{}", ran.err);
    assert!(dir.read("page.html").starts_with("<!DOCTYPE html>"));

    let found: Value = serde_json::from_str(&dir.read("page.json")).unwrap();
    let log: Vec<Shown> = shown().collect();
    let policies: [(&str, Probability); 3] =
        [("logged", propensity), ("uniform", |_| 1.0 / 11.0), ("even", |row| f64::from(u8::from(row.item % 2 == 0)))];
    for (at, (name, probability)) in policies.into_iter().enumerate() {
        let found = &found["policies"][at];
        assert_eq!(found["policy"], name);
        for slot in 0..=3 {
            let of = if slot == 0 { &found["overall"] } else { &found["slots"][slot - 1] };
            let rows: Vec<&Shown> = log.iter().filter(|row| slot == 0 || row.position == slot).collect();
            assert_eq!(of["rows"], rows.len(), "{of}");
            let names = ["take_rate", "replay", "ips", "snips"];
            for (name, expected) in names.into_iter().zip(estimates(&rows, probability)) {
                let (found, expected) = (of[name]["value"].as_f64().unwrap(), expected.unwrap());
                assert!((found - expected).abs() < 1e-9, "{name}: {found} and not {expected}");
            }
        }
    }
}

/// A wide schema does not push what a run says off the screen, and a run that goes on has said it.
#[test]
fn an_inferred_schema_is_shown_once_and_not_at_length() {
    let dir = Workdir::new();
    let row = |id: u32| {
        let columns: Vec<String> = (0..40).map(|n| format!("\"c{n}\":{n}")).collect();
        format!("{{\"event_id\":\"{id}\",\"ts\":\"2016-11-07T10:00:00Z\",{}}}\n", columns.join(","))
    };
    dir.write("wide.jsonl", row(1));
    let line = "ingest --in wide.jsonl --watermark-delay 1h --out out";
    let shown = |err: &str| err.lines().filter(|line| line.starts_with('c') && line.ends_with(" int64")).count();
    let first = dir.ok(line).err;
    assert!(first.contains("inferred") && first.contains("and 30 more: --explain shows all"), "{first}");
    assert_eq!(shown(&first), 10, "{first}");
    assert_eq!(shown(&dir.ok(&format!("{line} --explain")).err), 40);
    assert!(!dir.ok(line).err.contains("inferred"));
}
