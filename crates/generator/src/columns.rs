//! Events as Arrow columns of the built-in schemas: text, 64-bit integers, and event time in microseconds.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};

use crate::event::{Event, Topic};

/// One batch of events, which are all of this topic.
pub(crate) fn columns(topic: Topic, events: &[Event]) -> Result<RecordBatch> {
    let before = [
        ("event_id", ids(events, |event| event.id)),
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| event.ts as i64 * 1000))),
        ),
        ("request_id", ids(events, |event| event.request)),
        ("profile_id", integers(events, |event| event.profile)),
        ("video_id", integers(events, |event| event.video)),
    ];
    let place = [
        ("country", texts(events.iter().map(Event::country))),
        ("device", texts(events.iter().map(Event::device))),
        ("region", texts(events.iter().map(Event::region))),
    ];
    let (row_and_rank, last) = match topic {
        Topic::Impressions => (Some(row_and_rank(events)), ("propensity", propensities(events))),
        Topic::Plays => (None, ("duration_s", durations(events))),
    };
    let all = before.into_iter().chain(row_and_rank.into_iter().flatten()).chain(place).chain([last]);
    RecordBatch::try_from_iter(all).context("made-up rows do not fit their schema")
}

fn row_and_rank(events: &[Event]) -> [(&'static str, ArrayRef); 2] {
    let shown = || events.iter().filter_map(Event::shown);
    let ranks = Int32Array::from_iter_values(shown().map(|(_, rank, _)| rank.into()));
    [("row", texts(shown().map(|(row, ..)| row))), ("rank", Arc::new(ranks))]
}

fn propensities(events: &[Event]) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(events.iter().filter_map(Event::shown).map(|(.., propensity)| propensity)))
}

fn durations(events: &[Event]) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(events.iter().filter_map(Event::watched)))
}

fn ids(events: &[Event], id: impl Fn(&Event) -> u128) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(events.iter().map(|event| format!("{:032x}", id(event)))))
}

fn integers(events: &[Event], value: impl Fn(&Event) -> u32) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(events.iter().map(|event| value(event).into())))
}

fn texts(values: impl Iterator<Item = &'static str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}
