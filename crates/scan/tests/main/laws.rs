//! The laws of f, for every script: any cut, order, repetition, restart and runner gives the rows that f gives of all
//! events at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use scan::{Batch, Binding, Limits, Literal, Scan, Script, State};

use crate::events::{DELAY, Event, MINUTE, batch, events, positioned, schema, seeded, shuffle};

const LIMITS: Limits = Limits { threads: 2, memory: None };
const CASES: u64 = 256;

/// A script with flags, as the laws see it.
struct Job {
    name: String,
    scan: Scan,
    inputs: &'static [&'static str],
    schema: SchemaRef,
}

/// A script, from `RESCAN_SQL` where a broken one is to be tried.
fn script(name: &str) -> String {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sql");
    let dir = std::env::var("RESCAN_SQL").unwrap_or_else(|_| own.to_owned());
    std::fs::read_to_string(format!("{dir}/{name}.sql")).unwrap()
}

async fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    let pair: &'static [&'static str] = &["impressions", "plays"];
    let join = &script("join");
    for kind in ["inner", "left", "right", "full", "semi", "anti"] {
        let params = [("type", Literal::Text(kind.to_owned())), ("within", Literal::Interval(60 * MINUTE))];
        jobs.push(job(&format!("join {kind}"), join, pair, schema(), &params, &[]).await);
    }
    jobs.push(job("join on two", join, pair, schema(), &[], &[("request_id", &["video_id", "country"])]).await);
    let aggregate = &script("aggregate");
    let counts: [(&str, &[&str]); 2] = [("impression_requests", &[]), ("play_requests", &[])];
    jobs.push(job("aggregate", aggregate, pair, schema(), &[], &counts).await);
    let by_two = [counts[0], counts[1], ("video_id", &["video_id", "country"])];
    jobs.push(job("aggregate by two", aggregate, pair, schema(), &[], &by_two).await);
    jobs.push(job("aggregate with sets", aggregate, pair, schema(), &[], &[]).await);
    let attribute = &script("attribute");
    let models = [("model", Literal::Text("last,first,linear,position,decay".to_owned()))];
    jobs.push(job("attribute", attribute, pair, schema(), &models, &[("subject", &["country", "video_id"])]).await);
    let params = [("lookback", Literal::Interval(60 * MINUTE))];
    jobs.push(job("attribute within", attribute, pair, schema(), &params, &[("subject", &["country"])]).await);
    let ingest = &script("ingest");
    jobs.push(job("ingest", ingest, &["events"], positioned(), &[], &[]).await);
    jobs
}

async fn job(
    name: &str,
    sql: &str,
    inputs: &'static [&'static str],
    schema: SchemaRef,
    params: &[(&str, Literal)],
    columns: &[(&str, &[&str])],
) -> Job {
    let binding = Binding {
        inputs: inputs.iter().map(|input| ((*input).to_owned(), schema.clone())).collect(),
        columns: columns
            .iter()
            .map(|(name, list)| ((*name).to_owned(), list.iter().map(|c| (*c).to_owned()).collect()))
            .collect(),
        params: params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        approximate: false,
    };
    let scan = Scan::new(&Script::parse(name, sql).unwrap(), &binding).await.unwrap_or_else(|e| panic!("{e}"));
    Job { name: name.to_owned(), scan, inputs, schema }
}

type Rows = BTreeMap<String, Vec<RecordBatch>>;

impl Job {
    async fn step(
        &self,
        state: State,
        events: &[Event],
        out: &mut Rows,
    ) -> (State, BTreeMap<String, Vec<RecordBatch>>) {
        let batch = Batch::Rows(batch(events, self.inputs, &self.schema));
        let (state, stepped) = self.scan.step(state, batch, LIMITS).await.unwrap();
        for (name, stream) in stepped.outputs {
            out.entry(name).or_default().extend(stream.try_collect::<Vec<_>>().await.unwrap());
        }
        (state, stepped.deltas)
    }

    /// Folds f over cuts of the events, dropping state as a runner does.
    async fn fold(&self, steps: &[Vec<Event>], expire: bool) -> String {
        let (mut state, mut out, mut newest) = (self.scan.empty(), Rows::new(), i64::MIN);
        for events in steps {
            state = self.step(state, events, &mut out).await.0;
            newest = events.iter().map(|event| event.ts).fold(newest, i64::max);
            if expire {
                state.expire(newest.saturating_sub(DELAY));
            }
        }
        self.standing(&out)
    }

    /// What stands of the outputs, hour by hour, as text.
    fn standing(&self, out: &Rows) -> String {
        let mut text = String::new();
        for output in self.scan.outputs() {
            let mut hours: BTreeMap<i64, Vec<RecordBatch>> = BTreeMap::new();
            for rows in out.get(&output.name).into_iter().flatten() {
                let times = rows.columns().last().unwrap().as_primitive::<TimestampMicrosecondType>();
                let hour = |time: i64| time.div_euclid(60 * MINUTE);
                let mut present: Vec<i64> = times.values().iter().map(|time| hour(*time)).collect();
                present.sort_unstable();
                present.dedup();
                for present in present {
                    let mask = times.values().iter().map(|time| Some(hour(*time) == present)).collect();
                    hours.entry(present).or_default().push(filter_record_batch(rows, &mask).unwrap());
                }
            }
            for (hour, rows) in hours {
                let rows = output.compact(&rows).unwrap();
                if !rows.is_empty() {
                    text += &format!("{} {hour}\n{}\n", output.name, pretty_format_batches(&rows).unwrap());
                }
            }
        }
        text
    }

    async fn reference(&self, events: &[Event]) -> String {
        self.fold(&[events.to_vec()], false).await
    }

    async fn tables(&self, events: &[Event]) -> String {
        let table = |(name, rows)| {
            let table = MemTable::try_new(self.schema.clone(), vec![rows]).unwrap();
            (name, Arc::new(table) as Arc<dyn datafusion::catalog::TableProvider>)
        };
        let tables = batch(events, self.inputs, &self.schema).into_iter().map(table).collect();
        let (_, stepped) = self.scan.step(self.scan.empty(), Batch::Tables(tables), LIMITS).await.unwrap();
        let mut out = Rows::new();
        for (name, stream) in stepped.outputs {
            out.insert(name, stream.try_collect().await.unwrap());
        }
        self.standing(&out)
    }
}

fn cut(events: &[Event], rng: &mut ChaCha8Rng) -> Vec<Vec<Event>> {
    let mut steps = vec![Vec::new()];
    for event in events {
        if rng.random_range(0..6) == 0 {
            steps.push(Vec::new());
        }
        if let Some(step) = steps.last_mut() {
            step.push(event.clone());
        }
    }
    steps
}

/// Runs a law over seeded cases of every script.
fn law(law: &str, check: impl AsyncFn(&Job, &[Event], &mut ChaCha8Rng) -> (String, String)) {
    let base: u64 = std::env::var("RESCAN_SEED").map_or(7, |seed| seed.parse().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for job in jobs().await {
            for seed in base..base + CASES {
                let mut rng = seeded(seed);
                let events = events(&mut rng, job.inputs);
                let (expected, got) = check(&job, &events, &mut rng).await;
                let name = &job.name;
                assert!(
                    expected == got,
                    "{law}, {name}, RESCAN_SEED={seed}\n{events:#?}\nexpected\n{expected}\ngot\n{got}"
                );
            }
        }
    });
}

#[test]
fn chunking() {
    law("chunking", async |job, events, rng| (job.reference(events).await, job.fold(&cut(events, rng), true).await));
}

#[test]
fn order() {
    law("order", async |job, events, rng| {
        let mut shuffled = events.to_vec();
        shuffle(&mut shuffled, rng);
        (job.reference(events).await, job.fold(&cut(&shuffled, rng), false).await)
    });
}

#[test]
fn duplicates() {
    law("duplicates", async |job, events, rng| {
        let mut steps = cut(events, rng);
        let again = steps[rng.random_range(0..steps.len())].clone();
        steps.push(again);
        (job.reference(events).await, job.fold(&steps, false).await)
    });
}

#[test]
fn resume() {
    law("resume", async |job, events, rng| {
        let (mut state, mut out, mut log) = (job.scan.empty(), Rows::new(), Vec::<(String, RecordBatch)>::new());
        for events in cut(events, rng) {
            if rng.random_range(0..3) == 0 {
                state = job.scan.empty();
                shuffle(&mut log, rng);
                for (name, rows) in &log {
                    state.restore(name, rows).unwrap();
                }
            }
            let (next, deltas) = job.step(state, &events, &mut out).await;
            state = next;
            log.extend(
                deltas.into_iter().flat_map(|(name, rows)| rows.into_iter().map(move |rows| (name.clone(), rows))),
            );
        }
        (job.reference(events).await, job.standing(&out))
    });
}

/// Two regions step apart; what they left is merged, and goes on. The outputs of the second are put out again from the
/// merged state: where sets meet, neither region could count their union.
#[test]
fn merge() {
    law("merge", async |job, events, rng| {
        let (mut state, mut out) = (job.scan.empty(), Rows::new());
        let (regions, rest) = events.split_at(rng.random_range(0..=events.len()));
        let (here, there): (Vec<_>, Vec<_>) = regions.iter().cloned().partition(|_| rng.random());
        for region in [&here, &there] {
            let (_, deltas) = job.step(job.scan.empty(), region, &mut out).await;
            for (name, rows) in deltas.iter().flat_map(|(name, rows)| rows.iter().map(move |rows| (name, rows))) {
                state.restore(name, rows).unwrap();
            }
        }
        job.step(state, &[there.as_slice(), rest].concat(), &mut out).await;
        (job.reference(events).await, job.standing(&out))
    });
}

/// Where all events of an output row are in one region, the union of both outputs is the output of both.
#[test]
fn merge_of_outputs() {
    law("merge of outputs", async |job, events, _| {
        let region = |event: &Event| match job.name.as_str() {
            "ingest" => event.event_id.bytes().last(),
            "join on two" | "attribute" | "attribute within" => {
                event.country.as_ref().and_then(|name| name.bytes().last())
            }
            name if name.starts_with("join") => event.request_id.as_ref().and_then(|id| id.bytes().last()),
            // Counts are no union of counts: their sets merge in state, above.
            _ => None,
        };
        let (here, there): (Vec<_>, Vec<_>) =
            events.iter().cloned().partition(|event| region(event).is_none_or(|byte| byte % 2 == 0));
        let mut out = Rows::new();
        job.step(job.scan.empty(), &here, &mut out).await;
        job.step(job.scan.empty(), &there, &mut out).await;
        (job.reference(events).await, job.standing(&out))
    });
}

#[test]
fn two_runners() {
    law("two runners", async |job, events, rng| (job.tables(events).await, job.fold(&cut(events, rng), true).await));
}
