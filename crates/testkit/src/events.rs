//! Random events, made so that the interesting cases are common: few ids, times on the edges of bounds and hours.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use event_time::TIME;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Microseconds.
pub const MINUTE: i64 = 60_000_000;
/// How far a row may arrive behind the newest before it; the watermark trails by this.
pub const DELAY: i64 = 30 * MINUTE;

/// One event of any input.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Which input it is of.
    pub input: &'static str,
    /// Its columns; `ts` in microseconds.
    pub event_id: String,
    /// When it happened.
    pub ts: i64,
    /// One of few.
    pub request_id: Option<String>,
    /// One of few.
    pub video_id: Option<i64>,
    /// One of few.
    pub country: Option<String>,
}

/// The columns of impressions and plays that scripts name, and one more.
pub fn schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8View, true);
    let ts = Field::new("ts", TIME, true);
    let video = Field::new("video_id", DataType::Int64, true);
    Arc::new(Schema::new(vec![text("event_id"), ts, text("request_id"), video, text("country"), text("row")]))
}

/// With the columns that say where a row came from, as `ingest` reads them.
pub fn positioned() -> SchemaRef {
    let mut fields: Vec<Field> = schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("_topic", DataType::Utf8View, true));
    fields.push(Field::new("_partition", DataType::Int32, true));
    fields.push(Field::new("_offset", DataType::Int64, true));
    fields.push(Field::new("_arrived_at", TIME, true));
    Arc::new(Schema::new(fields))
}

/// Events in arrival order: none more than [`DELAY`] behind the newest before it.
pub fn events(rng: &mut ChaCha8Rng, inputs: &[&'static str]) -> Vec<Event> {
    let count = rng.random_range(1..60);
    let base = 1_700_000_000_000_000i64.div_euclid(3_600_000_000) * 3_600_000_000;
    let mut events: Vec<(i64, Event)> = (0..count)
        .map(|number| {
            let edge = [0, 1, -1, MINUTE, 17 * MINUTE][rng.random_range(0..5)];
            let ts = base + rng.random_range(0..14) * 30 * MINUTE + edge;
            let pick = |rng: &mut ChaCha8Rng, nulls: bool| {
                (!nulls || rng.random_range(0..8) > 0).then(|| rng.random_range(0..4u32))
            };
            let event = Event {
                input: inputs[rng.random_range(0..inputs.len())],
                event_id: format!("e{number}"),
                ts,
                request_id: pick(rng, true).map(|n| format!("a-long-request-id-{n}")),
                video_id: pick(rng, true).map(i64::from),
                country: pick(rng, true).map(|n| ["US", "DE", "", "BR"][n as usize].to_owned()),
            };
            (ts + rng.random_range(0..=DELAY), event)
        })
        .collect();
    // Some events again: the same, or under the same id at another time.
    for _ in 0..rng.random_range(0..6) {
        let (arrival, mut event) = events[rng.random_range(0..events.len())].clone();
        if rng.random_range(0..3) == 0 {
            event.ts += [1, MINUTE, 60 * MINUTE, 60 * MINUTE + 1][rng.random_range(0..4)];
        }
        events.push((arrival.max(event.ts) + rng.random_range(0..MINUTE), event));
    }
    events.sort_by_key(|(arrival, event)| (*arrival, event.event_id.clone(), event.ts));
    let mut newest = i64::MIN;
    let on_time = |(_, event): (i64, Event)| {
        let late = event.ts < newest.saturating_sub(DELAY);
        newest = newest.max(event.ts);
        (!late).then_some(event)
    };
    events.into_iter().filter_map(on_time).collect()
}

/// Events of one input as rows.
pub fn rows(events: &[Event], input: &str, schema: &SchemaRef) -> RecordBatch {
    let events: Vec<&Event> = events.iter().filter(|event| event.input == input).collect();
    let text = |value: fn(&Event) -> Option<&str>| -> ArrayRef {
        Arc::new(StringViewArray::from_iter(events.iter().map(|event| value(event))))
    };
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "event_id" => text(|event| Some(&event.event_id)),
            "request_id" => text(|event| event.request_id.as_deref()),
            "country" => text(|event| event.country.as_deref()),
            "row" => text(|event| event.event_id.get(event.event_id.len() - 1..)),
            "ts" => Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| event.ts))),
            "video_id" => Arc::new(Int64Array::from_iter(events.iter().map(|event| event.video_id))),
            _ => one_of_few(field, events.iter().map(|event| number(event, field.name())).collect()),
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

/// A column that no event has by name, from numbers: of each type one of few values, null where there is no number. What
/// says where a row came from is null.
pub fn one_of_few(field: &Field, numbers: Vec<Option<u32>>) -> ArrayRef {
    let numbers = numbers.into_iter().map(|number| number.map(|number| number % 4));
    match field.data_type() {
        _ if field.name().starts_with('_') => new_null_array(field.data_type(), numbers.len()),
        DataType::Utf8View => {
            Arc::new(numbers.map(|n| Some(format!("{} {}", field.name(), n?))).collect::<StringViewArray>())
        }
        DataType::Int64 => Arc::new(numbers.map(|n| n.map(i64::from)).collect::<Int64Array>()),
        DataType::Int32 => Arc::new(numbers.map(|n| Some(n? as i32)).collect::<Int32Array>()),
        DataType::Float64 => Arc::new(numbers.map(|n| Some(f64::from(n? + 1) / 4.0)).collect::<Float64Array>()),
        DataType::Boolean => Arc::new(numbers.map(|n| Some(n? % 2 == 0)).collect::<BooleanArray>()),
        other => panic!("column {} is {other}: give events of that type here", field.name()),
    }
}

/// What an event has in a column: the same for events that are the same.
fn number(event: &Event, column: &str) -> Option<u32> {
    let own: u32 = event.event_id.bytes().map(u32::from).sum();
    match column.len() % 2 {
        0 => event.video_id.map(|video| video as u32),
        _ => (!own.is_multiple_of(8)).then_some(own),
    }
}

/// Events as the rows of one step.
pub fn batch(events: &[Event], inputs: &[&str], schema: &SchemaRef) -> BTreeMap<String, Vec<RecordBatch>> {
    inputs.iter().map(|input| ((*input).to_owned(), vec![rows(events, input, schema)])).collect()
}

/// Randomness that a seed repeats.
pub fn seeded(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Brings items into another order.
pub fn shuffle<T>(items: &mut [T], rng: &mut impl Rng) {
    for at in (1..items.len()).rev() {
        items.swap(at, rng.random_range(0..=at));
    }
}
