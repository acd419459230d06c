//! `attribute --explain-play` says of a play what `attribute` wrote of it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::workdir::Workdir;

#[test]
fn explanations_agree_with_the_output() {
    let dir = Workdir::new();
    dir.archive("--hours 2 --impressions-per-hour 3000");
    let command =
        "attribute --in impressions=archive/impressions --in plays=archive/plays --lookback 40m --model last,linear";
    dir.ok(&format!("{command} --out out"));
    let mut credits: BTreeMap<String, BTreeMap<(String, String), f64>> = BTreeMap::new();
    for row in dir.rows("out") {
        let of_play = credits.entry(row["play_event_id"].as_str().unwrap().to_owned()).or_default();
        if let Some(impression) = row["impression_event_id"].as_str() {
            let key = (impression.to_owned(), row["model"].as_str().unwrap().to_owned());
            of_play.insert(key, row["credit"].as_f64().unwrap());
        }
    }
    let (mut rejected, mut several) = (0, 0);
    for (play, expected) in credits.iter().step_by(11).take(30) {
        let explained: Value =
            serde_json::from_str(&dir.ok(&format!("{command} --explain-play {play} --json")).out).unwrap();
        let mut found = BTreeMap::new();
        for impression in explained["impressions"].as_array().unwrap() {
            assert!(impression["read_from"].as_str().unwrap().contains("impressions.jsonl"), "{impression}");
            rejected += usize::from(impression["rejected"].is_string());
            for (model, credit) in impression["credits"].as_object().into_iter().flatten() {
                let credit: f64 = credit.as_str().unwrap().parse().unwrap();
                let id = impression["impression_event_id"].as_str().unwrap();
                found.extend((credit > 0.0).then(|| ((id.to_owned(), model.clone()), credit)));
            }
        }
        several += usize::from(found.len() > 2);
        assert_eq!(found, *expected, "play {play}: {explained:#}");
    }
    assert!(rejected > 0 && several > 0, "the plays show too little: {rejected} rejected, {several} with several");
    // From the rows as they came, no archive needed.
    let raw =
        command.replace("archive/impressions", "raw/impressions.jsonl").replace("archive/plays", "raw/plays.jsonl");
    for play in credits.keys().step_by(31).take(5) {
        let explained = |command: &str| dir.ok(&format!("{command} --explain-play {play}")).out;
        assert_eq!(explained(&raw), explained(command));
    }
    // With the hours before the one that is asked for, as far as the lookback.
    let candidates = |flags: &str, play: &str| -> Vec<Value> {
        let explained = dir.ok(&format!("{command} --explain-play {play} --json {flags}")).json();
        let impressions = explained["impressions"].as_array().unwrap().iter();
        impressions.filter(|impression| !impression["credits"].is_null()).cloned().collect()
    };
    let (hour, mut early) = ("2016-11-07T01", 0);
    for row in dir.rows("out").iter().filter(|row| row["hour"] == hour && row["model"] == "linear").step_by(9).take(12)
    {
        let play = row["play_event_id"].as_str().unwrap();
        let found = candidates(&format!("--hour {hour}"), play);
        early += found.iter().filter(|impression| impression["impression_ts"].as_str() < Some(hour)).count();
        assert_eq!(found, candidates("", play));
    }
    assert!(early > 0, "no candidate is in the hour before");
    let nobody = dir.run(&format!("{command} --explain-play nobody"));
    assert!(nobody.code == Some(66) && nobody.err.contains("no play nobody"), "{}", nobody.err);
}
