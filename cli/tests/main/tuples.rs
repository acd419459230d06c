//! `attribute --tuples`: what is rejected, and what reports refuse.

use serde_json::{Value, json};

use super::workdir::{Workdir, parquet, walk};

/// Three impressions, of which one has an impossible propensity and one an action outside its set; and a play.
fn events() -> Workdir {
    let dir = Workdir::new();
    let impression = |id: &str, minute: u32, propensity: f64, set: &str| {
        let row = json!({
            "event_id": id, "ts": format!("2016-11-07T10:{minute:02}:00Z"), "request_id": id, "profile_id": 1,
            "video_id": 1, "row": set, "rank": 1, "propensity": propensity,
        });
        format!("{row}\n")
    };
    let impressions =
        [impression("good", 0, 0.5, "1|2"), impression("over", 1, 1.5, "1|2"), impression("outside", 2, 0.5, "2|3")];
    dir.write("impressions.jsonl", impressions.concat());
    let play = json!({ "event_id": "P", "ts": "2016-11-07T10:30:00Z", "profile_id": 1, "video_id": 1 });
    dir.write("plays.jsonl", format!("{play}\n"));
    for name in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in {name}.jsonl --schema {name} --out archive/{name}"));
    }
    dir
}

const STREAM: &str = "attribute --in impressions=impressions.jsonl --in plays=plays.jsonl --action-set row --json";
const BATCH: &str = "attribute --in impressions=archive/impressions --in plays=archive/plays --action-set row --json";

/// What became of the impressions, and those that were rejected, without when.
fn rejected(dir: &Workdir, words: &str, out: &str) -> (Value, Vec<Value>) {
    let ran = dir.ok(&format!("{words} --tuples --out {out}"));
    let files = walk(&dir.path(&format!("{out}/_rescan/rejected")));
    let mut rows: Vec<Value> = files.iter().flat_map(|file| parquet(file)).collect();
    rows.iter_mut().for_each(|row| row["_arrived_at"] = Value::Null);
    // An archive is in the order of its key, and no longer in that of arrival.
    rows.sort_by_key(|row| row["_offset"].as_i64());
    (ran.json()["ledger"]["impressions"].take(), rows)
}

#[test]
fn batch_and_stream_reject_the_same_rows() {
    let dir = events();
    let stream = rejected(&dir, STREAM, "stream");
    assert_eq!(rejected(&dir, BATCH, "batch"), stream);
    assert_eq!(dir.parts("batch"), dir.parts("stream"));
    assert_eq!((&stream.0["read"], &stream.0["accepted"], &stream.0["rejected"]), (&json!(3), &json!(1), &json!(2)));
    let reasons: Vec<(&Value, &Value)> = stream.1.iter().map(|row| (&row["_offset"], &row["reason"])).collect();
    let (over, outside) = (json!("propensity: it is not in (0, 1]"), json!("action: it is not in the action set"));
    assert_eq!(reasons, [(&json!(1), &over), (&json!(2), &outside)]);
    // An hour that is made again keeps its rejected rows once.
    assert_eq!(rejected(&dir, &format!("{BATCH} --force"), "batch"), stream);
}

#[test]
fn what_is_no_probability_is_refused_by_its_policy() {
    let dir = events();
    for (policy, is) in [("twice=2.0*propensity+0.5", "1.5"), ("none=null", "null")] {
        let ran = dir.run(&format!("{STREAM} --policy {policy} --out tuples"));
        let name = policy.split('=').next().unwrap();
        assert_eq!(ran.code, Some(65), "{}", ran.err);
        assert!(
            ran.err.contains(&format!("policy {name}: ")) && ran.err.contains(&format!(" is {is} ")),
            "{}",
            ran.err
        );
    }
    let ran = dir.run(&format!("{STREAM} --report page.pdf --out tuples"));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    let ran = dir.run(&format!("{STREAM} --tuples --model first --out tuples"));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
}

#[test]
fn what_is_no_sql_over_the_tuples_is_refused_before_anything_is_written() {
    let dir = events();
    for line in [STREAM, BATCH] {
        let ran = dir.run(&format!("{line} --policy wrong=nothing*2 --out tuples"));
        assert!(ran.code == Some(78) && ran.err.contains("policy wrong"), "{:?} {}", ran.code, ran.err);
        assert!(!dir.path("tuples").exists(), "{line}");
    }
}

/// The tuples are right whatever a policy says of them; a run that has them makes the report that is missing.
#[test]
fn a_report_that_failed_is_made_by_the_next_run() {
    let dir = events();
    let line = format!("{BATCH} --report page.html --out tuples");
    let ran = dir.run(&format!("{line} --policy twice=2*propensity+0.5"));
    assert!(ran.code == Some(65) && ran.err.contains("for the tuple of impression good"), "{}", ran.err);
    assert!(!dir.path("page.html").exists());
    dir.ok(&format!("{line} --policy half=propensity/2"));
    assert!(dir.read("page.html").contains("half"));
}

/// Of a policy whose action sets are known each tuple is asked.
#[test]
fn the_probabilities_over_an_action_set_are_summed() {
    let dir = events();
    for (policy, named) in [
        ("half=0.5", None),
        (
            "third=1.0/3",
            Some(
                "third is no distribution: over the action sets of 1 of 1 tuples its probabilities do not sum to 1, at the first to 0.6667",
            ),
        ),
        ("first=case(action)when(1)then(1.0)else(0.0)end", None),
        ("all=case(action)when(1)then(1.0)else(0.5)end", Some("at the first to 1.5")),
        ("logged=propensity", None),
    ] {
        let ran = dir.ok(&format!("{BATCH} --policy {policy} --out tuples"));
        assert_eq!(ran.err.contains("do not sum to 1"), named.is_some(), "{policy}: {}", ran.err);
        assert!(named.is_none_or(|named| ran.err.contains(named)), "{policy}: {}", ran.err);
    }
}

/// Ten thousand impressions of two titles, of which one is shown four times as often and played by all.
#[test]
fn a_policy_that_is_no_distribution_is_named_and_replay_of_the_log_explained() {
    let dir = Workdir::new();
    let impression = |at: usize| {
        let (video, propensity) = if at.is_multiple_of(5) { (2, 0.2) } else { (1, 0.8) };
        let ts = (1_478_512_800 + at as i64 / 10) * 1_000;
        let id = format!("i{at}");
        let row = json!({ "event_id": id, "ts": ts, "request_id": id, "profile_id": at, "video_id": video, "row": "1|2",
                          "rank": 1, "propensity": propensity });
        format!("{row}\n")
    };
    let play = |at: usize| {
        let ts = (1_478_512_800 + at as i64 / 10 + 1) * 1_000;
        format!("{}\n", json!({ "event_id": format!("p{at}"), "ts": ts, "profile_id": at, "video_id": 1 }))
    };
    dir.write("impressions.jsonl", (0..10_000).map(impression).collect::<String>());
    dir.write("plays.jsonl", (0..10_000).filter(|at| at % 5 > 0).map(play).collect::<String>());
    let policies = "--policy both=0.75 --policy first=case(action)when(1)then(1)else(0)end --policy other=1-propensity";
    let line = format!("{} {policies} --report page.html --out tuples", STREAM.replace(" --action-set row", ""));
    let ran = dir.ok(&line);
    let says = |what: &str| ran.err.lines().filter(|line| line.contains(what)).count();
    assert_eq!(
        says("both is no distribution over what could be logged: its probabilities sum to 1.5"),
        1,
        "{}",
        ran.err
    );
    assert_eq!(says("is no distribution"), 1, "{}", ran.err);
    assert_eq!(says("The replay of logged is not its take rate"), 1, "{}", ran.err);
    let page = dir.read("page.html");
    assert!(page.contains("both is no distribution") && page.contains("only if all its propensities are equal"));
    let policies = ran.json()["policies"].take();
    let weight = |of: usize| policies[of]["overall"]["weight"]["value"].as_f64().unwrap();
    assert!((weight(0) - 1.0).abs() < 1e-9 && (weight(1) - 1.5).abs() < 0.1, "{policies:#}");
}
