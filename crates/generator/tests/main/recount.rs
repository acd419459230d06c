//! The truth against a recount of the files by serde_json, which knows nothing of how they came to be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use generator::Plan;
use serde::Deserialize;
use serde_json::Value;

use super::plan::{START_MS, small, write};

const HOUR_MS: i64 = 3_600_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Impression {
    event_id: String,
    ts: i64,
    request_id: String,
    profile_id: i64,
    video_id: i64,
    row: String,
    rank: i32,
    country: String,
    device: String,
    region: String,
    propensity: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Play {
    event_id: String,
    ts: i64,
    request_id: String,
    profile_id: i64,
    video_id: i64,
    country: String,
    device: String,
    region: String,
    duration_s: f64,
}

/// What a file holds.
struct Found<T> {
    /// The distinct good rows, in order of arrival.
    rows: Vec<T>,
    lines: usize,
    malformed: usize,
    late: Vec<String>,
    duplicates: Vec<String>,
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path, delay_ms: i64, key: fn(&T) -> (&str, i64)) -> Found<T> {
    let bytes = fs::read(path).unwrap();
    let mut found = Found { rows: vec![], lines: 0, malformed: 0, late: vec![], duplicates: vec![] };
    let (mut seen, mut newest) = (BTreeMap::new(), i64::MIN);
    for line in bytes.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n') {
        found.lines += 1;
        let Ok(row) = serde_json::from_slice::<T>(line) else {
            found.malformed += 1;
            continue;
        };
        let (id, ts) = key(&row);
        let id = id.to_owned();
        if ts < newest.saturating_sub(delay_ms) {
            found.late.push(id.clone());
        }
        newest = newest.max(ts);
        if let Some(first) = seen.insert(id.clone(), line.to_vec()) {
            assert_eq!(first, line, "a duplicate differs from the first");
            found.duplicates.push(id);
        } else {
            found.rows.push(row);
        }
    }
    found
}

/// The files of a plan, with their counts checked against `truth.json` and the lists beside it.
fn recounted(plan: &Plan) -> (Found<Impression>, Found<Play>, Value) {
    let directory = tempfile::tempdir().unwrap();
    write(plan, directory.path());
    let truth: Value = serde_json::from_slice(&fs::read(directory.path().join("truth.json")).unwrap()).unwrap();
    let delay_ms = plan.watermark_delay_ms as i64;
    let impressions =
        read(&directory.path().join("impressions.jsonl"), delay_ms, |row: &Impression| (&row.event_id, row.ts));
    let plays = read(&directory.path().join("plays.jsonl"), delay_ms, |row: &Play| (&row.event_id, row.ts));
    check(&truth["impressions"], &impressions, directory.path(), "impressions");
    check(&truth["plays"], &plays, directory.path(), "plays");
    (impressions, plays, truth)
}

fn check<T>(truth: &Value, found: &Found<T>, directory: &Path, topic: &str) {
    let names = ["events", "lines", "duplicates", "late", "malformed"];
    let counts = [found.rows.len(), found.lines, found.duplicates.len(), found.late.len(), found.malformed];
    assert_eq!(names.map(|name| truth[name].as_u64().unwrap() as usize), counts, "{topic}: {names:?}");
    assert_eq!(found.lines, found.rows.len() + found.duplicates.len() + found.malformed, "{topic}");
    let late: BTreeSet<_> = found.late.iter().collect();
    assert!(found.duplicates.iter().all(|id| !late.contains(id)), "a late event of {topic} came twice");
    for (kind, ids) in [("late", &found.late), ("duplicate", &found.duplicates)] {
        let listed = fs::read_to_string(directory.join(format!("truth/{kind}_{topic}.txt"))).unwrap();
        assert!(listed.lines().eq(ids), "{kind} {topic}");
    }
}

/// Pairs over all rows, and over those that are not late.
fn joined(impressions: &Found<Impression>, plays: &Found<Play>) -> [u64; 2] {
    let mut pages = BTreeMap::<&str, Vec<&Impression>>::new();
    impressions.rows.iter().for_each(|row| pages.entry(&row.request_id).or_default().push(row));
    let late: BTreeSet<_> = impressions.late.iter().chain(&plays.late).collect();
    let mut pairs = [0, 0];
    for play in &plays.rows {
        for seen in pages.get(play.request_id.as_str()).into_iter().flatten() {
            let is_pair = (0..=2 * HOUR_MS).contains(&(play.ts - seen.ts));
            pairs[0] += u64::from(is_pair);
            pairs[1] += u64::from(is_pair && !late.contains(&play.event_id) && !late.contains(&seen.event_id));
        }
    }
    pairs
}

#[test]
fn the_truth_is_what_a_recount_finds() {
    let crowd = small(7);
    let few = Plan { impressions_per_hour: 150, late: 0.4, hours: 4, ..small(11) };
    let impatient =
        Plan { watermark_delay_ms: 5_000, late: 0.3, duplicates: 0.3, plays_share: 0.9, hours: 1, ..small(12) };
    let at_once = Plan { watermark_delay_ms: 0, late: 0.0, hours: 1, ..small(13) };
    for plan in [crowd, few, impatient, at_once] {
        let (impressions, plays, truth) = recounted(&plan);
        let [all, not_late] = joined(&impressions, &plays);
        assert!(all > 0);
        assert_eq!(
            (&truth["joined"]["all"], &truth["joined"]["not_late"]),
            (&all.into(), &not_late.into()),
            "{plan:?}"
        );
        let pages: BTreeMap<_, _> = impressions.rows.iter().map(|row| (&row.request_id, &row.region)).collect();
        let alone = plays.rows.iter().filter(|play| !pages.contains_key(&play.request_id)).count();
        let away = plays.rows.iter().filter(|play| pages.get(&play.request_id).is_some_and(|at| *at != &play.region));
        assert_eq!(truth["plays"]["without_impression"], alone);
        assert_eq!(truth["plays"]["other_region"], away.count());
    }
}

#[test]
fn what_is_not_asked_for_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan { late: 0.0, duplicates: 0.0, malformed: 0.0, plays_share: 0.0, ..small(14) };
    let truth = write(&plan, directory.path());
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!((read("impressions.jsonl").lines().count(), read("plays.jsonl").as_str()), (60_000, ""));
    assert_eq!((truth.impressions.lines, truth.plays.counts.lines, truth.joined.all), (60_000, 0, 0));
}

#[test]
fn shares_are_as_asked() {
    let (impressions, plays, truth) = recounted(&small(7));
    let near = |name: &str, count: &Value, of: usize, share: f64| {
        let is = count.as_u64().unwrap() as f64 / of as f64;
        assert!((is / share - 1.0).abs() < 0.2, "{name}: {is} is not about {share}");
    };
    for (topic, events) in [("impressions", impressions.rows.len()), ("plays", plays.rows.len())] {
        let of = &truth[topic];
        near("late", &of["late"], events, 0.02);
        near("duplicates", &of["duplicates"], events, 0.01);
        near("malformed", &of["malformed"], events, 0.005);
    }
    let with = plays.rows.len() - truth["plays"]["without_impression"].as_u64().unwrap() as usize;
    near("plays", &plays.rows.len().into(), impressions.rows.len(), 0.08);
    near("without impression", &truth["plays"]["without_impression"], plays.rows.len(), 0.05);
    near("other region", &truth["plays"]["other_region"], with, 0.05);
}

#[test]
fn rows_are_as_people_make_them() {
    let (impressions, plays, _) = recounted(&small(7));
    let mut hours = [0; 3];
    let mut pages = BTreeMap::<&str, Vec<&Impression>>::new();
    for row in &impressions.rows {
        hours[usize::try_from((row.ts - START_MS as i64).div_euclid(HOUR_MS)).unwrap()] += 1;
        pages.entry(&row.request_id).or_default().push(row);
        assert!(row.propensity > 0.0 && row.propensity <= 1.0);
        assert_eq!([row.event_id.len(), row.request_id.len()], [32, 32]);
    }
    assert_eq!(hours, [20_000; 3]);
    for page in pages.values_mut() {
        page.sort_by_key(|row| row.rank);
        assert!((5..=30).contains(&page.len()));
        assert!(page.iter().map(|row| row.rank).eq(1..=page.len() as i32));
        assert!(page.is_sorted_by_key(|row| row.ts));
        assert!(page.iter().all(|row| who(row) == who(page[0]) && !row.row.is_empty()));
        assert_eq!(page.iter().map(|row| row.video_id).collect::<BTreeSet<_>>().len(), page.len());
    }
    let mut delays = vec![];
    let home: BTreeMap<_, _> = impressions.rows.iter().map(|row| (&row.country, &row.region)).collect();
    for play in &plays.rows {
        assert!((0..3 * HOUR_MS).contains(&(play.ts - START_MS as i64)) && play.duration_s > 0.0);
        let Some(page) = pages.get(play.request_id.as_str()) else {
            assert_eq!(home[&play.country], &play.region, "without an impression there is no other region");
            continue;
        };
        let seen = page.iter().find(|row| row.video_id == play.video_id).unwrap();
        assert_eq!(who(seen), (play.profile_id, &play.country[..], &play.device[..]));
        assert!((0..2 * HOUR_MS).contains(&(play.ts - seen.ts)));
        delays.push(play.ts - seen.ts);
    }
    delays.sort_unstable();
    let median_s = delays[delays.len() / 2] / 1000;
    assert!((60..600).contains(&median_s), "half of the plays within {median_s} s");
}

#[test]
fn no_page_is_too_small_however_the_hour_ends() {
    let (impressions, ..) = recounted(&Plan { hours: 200, impressions_per_hour: 33, ..small(7) });
    let mut pages = BTreeMap::<&str, usize>::new();
    impressions.rows.iter().for_each(|row| *pages.entry(&row.request_id).or_default() += 1);
    assert!(pages.values().all(|size| (5..=30).contains(size)), "{pages:?}");
}

fn who(row: &Impression) -> (i64, &str, &str) {
    (row.profile_id, &row.country, &row.device)
}
