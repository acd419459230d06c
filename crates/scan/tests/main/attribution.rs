//! `attribute` against its definition, computed play by play without f; and what a late impression may touch.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, TimestampMicrosecondType};
use futures::TryStreamExt;
use rand::RngExt;
use scan::{Batch, Binding, Limits, Literal, Scan, Script, State};

use testkit::events::{Event, MINUTE, batch, events, schema, seeded};

const LOOKBACK: i64 = 60 * MINUTE;
const LIMITS: Limits = Limits { threads: 1, memory: None };
const INPUTS: [&str; 2] = ["impressions", "plays"];
const ONE: i128 = 1_000_000_000_000;

async fn attribute() -> Scan {
    let binding = Binding {
        inputs: INPUTS.iter().map(|input| ((*input).to_owned(), schema())).collect(),
        columns: BTreeMap::from([("subject".to_owned(), vec!["country".to_owned()])]),
        params: BTreeMap::from([
            ("lookback".to_owned(), Literal::Interval(LOOKBACK)),
            ("model".to_owned(), Literal::Text("last,first,linear".to_owned())),
        ]),
        ..Binding::default()
    };
    let text = include_str!("../../../../sql/attribute.sql");
    Scan::new(&Script::parse("attribute", text).unwrap(), &binding).await.unwrap_or_else(|e| panic!("{e}"))
}

/// A credited impression: play, its time, model, impression, its time, credit in 10^-12, the two sources.
type Row = (String, i64, String, Option<(i64, String)>, i128, Option<String>, Option<String>);

fn rows(pieces: &[RecordBatch]) -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    for piece in pieces {
        let text = |name: &str, row: usize| {
            let column = piece.column_by_name(name).unwrap().as_string_view();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let time = |name: &str| piece.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>();
        let credit = piece.column_by_name("credit").unwrap().as_primitive::<Decimal128Type>();
        for row in 0..piece.num_rows() {
            let impression = text("impression_event_id", row).map(|id| (time("impression_ts").value(row), id));
            let (play, model) = (text("play_event_id", row).unwrap(), text("model", row).unwrap());
            let sources = (text("source_of_play", row), text("source_of_discovery", row));
            let play_ts = time("play_ts").value(row);
            rows.insert((play, play_ts, model, impression, credit.value(row), sources.0, sources.1));
        }
    }
    rows
}

/// The definition: candidates have the play's country, and come at its time or before it, by at most the lookback.
fn defined(events: &[Event]) -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    for play in events.iter().filter(|event| event.input == "plays") {
        let near = |event: &&Event| {
            event.input == "impressions"
                && event.country.is_some()
                && event.country == play.country
                && (play.ts - LOOKBACK..=play.ts).contains(&event.ts)
        };
        let candidates: BTreeMap<(i64, String), &Event> =
            events.iter().filter(near).map(|event| ((event.ts, event.event_id.clone()), event)).collect();
        let own = |event: &&&Event| {
            let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
            same(&event.request_id, &play.request_id) && event.video_id.is_some() && event.video_id == play.video_id
        };
        let shown_in = |event: &&Event| event.event_id[event.event_id.len() - 1..].to_owned();
        let source = candidates.values().rev().find(own).or(candidates.values().next_back()).map(shown_in);
        let discovery = candidates.values().next().map(shown_in);
        let mut credit = |model: &str, impression: Option<&(i64, String)>, credit: i128| {
            let (source, discovery) = (source.clone(), discovery.clone());
            rows.insert((
                play.event_id.clone(),
                play.ts,
                model.to_owned(),
                impression.cloned(),
                credit,
                source,
                discovery,
            ));
        };
        credit("last", candidates.keys().next_back(), ONE);
        credit("first", candidates.keys().next(), ONE);
        let count = candidates.len() as i128;
        if count == 0 {
            credit("linear", None, ONE);
        }
        for (at, impression) in candidates.keys().enumerate() {
            credit("linear", Some(impression), ONE / count + i128::from((at as i128) < ONE % count));
        }
    }
    rows
}

async fn step(scan: &Scan, state: State, events: &[Event]) -> (State, Vec<RecordBatch>) {
    let (state, stepped) = scan.step(state, Batch::Rows(batch(events, &INPUTS, &schema())), LIMITS).await.unwrap();
    let mut rows = Vec::new();
    for (_, stream) in stepped.outputs {
        rows.extend(stream.try_collect::<Vec<_>>().await.unwrap());
    }
    (state, rows)
}

#[tokio::test]
async fn credits_are_as_defined() {
    let scan = attribute().await;
    for seed in 0..256 {
        let events = events(&mut seeded(seed), &INPUTS);
        let (_, out) = step(&scan, scan.empty(), &events).await;
        let found = rows(&scan.outputs()[0].compact(&out).unwrap().map(Result::unwrap).collect::<Vec<_>>());
        assert_eq!(found, defined(&events), "seed {seed}: {events:#?}");
        let mut sums: BTreeMap<(String, i64, String), i128> = BTreeMap::new();
        for (play, ts, model, _, credit, ..) in found {
            *sums.entry((play, ts, model)).or_default() += credit;
        }
        assert!(sums.values().all(|sum| *sum == ONE), "seed {seed}: {sums:?}");
    }
}

/// The minimal closure: what comes late changes only plays within the lookback after it, and those as if it had been
/// there.
#[tokio::test]
async fn a_late_impression_corrects_what_it_reaches_and_nothing_else() {
    let scan = attribute().await;
    let mut corrected = 0;
    for seed in 0..500 {
        let mut rng = seeded(seed);
        let mut events = events(&mut rng, &INPUTS);
        let late = Event {
            input: "impressions",
            event_id: "late".to_owned(),
            ts: events[rng.random_range(0..events.len())].ts - rng.random_range(0..3) * 20 * MINUTE,
            request_id: None,
            video_id: None,
            country: events[rng.random_range(0..events.len())].country.clone(),
        };
        let (state, mut out) = step(&scan, scan.empty(), &events).await;
        let (_, corrections) = step(&scan, state, std::slice::from_ref(&late)).await;
        for (play, ts, ..) in rows(&corrections) {
            let reached = events.iter().any(|event| {
                event.event_id == play && event.ts == ts && event.country == late.country && event.country.is_some()
            });
            assert!(reached && (late.ts..=late.ts + LOOKBACK).contains(&ts), "seed {seed}: {play} was touched");
            corrected += 1;
        }
        out.extend(corrections);
        events.push(late);
        assert_eq!(
            rows(&scan.outputs()[0].compact(&out).unwrap().map(Result::unwrap).collect::<Vec<_>>()),
            defined(&events),
            "seed {seed}: {events:#?}"
        );
    }
    assert!(corrected > 100, "{corrected} rows were corrected: the cases test too little");
}
