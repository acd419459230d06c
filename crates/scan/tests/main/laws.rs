//! The laws of f, for every script: any cut, order, repetition, restart and runner gives the rows that f gives of all
//! events at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use quota::Rules;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use scan::{Batch, Binding, CELLS, Limits, Literal, Sampling, Scan, Script, State, Tables};

use testkit::events::{DELAY, Event, MINUTE, events, positioned, rows, schema, seeded, shuffle};
use testkit::scripts::{script, scripts_of_commands};

const LIMITS: Limits = Limits { threads: 2, memory: None };
const CASES: u64 = 256;

/// A script with flags, as the laws see it.
struct Job {
    name: String,
    scan: Scan,
    /// The names of its inputs.
    inputs: Vec<&'static str>,
    /// How its candidates become a sample.
    sampling: Option<Sampling>,
    cases: u64,
}

/// Every script in `sql/` as it is, and the flags of some.
async fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    for (name, sql) in scripts_of_commands() {
        let job = bound(&format!("{name} as it is"), &sql, &Binding::default()).await;
        jobs.push(Job { cases: CASES / 4, ..job });
    }
    let pair: &[&str] = &["impressions", "plays"];
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
    jobs.push(sketches(aggregate, pair, &counts).await);
    jobs.push(job("aggregate with sets", aggregate, pair, schema(), &[], &[]).await);
    let attribute = &script("attribute");
    let models = [("model", Literal::Text("last,first,linear,position,decay".to_owned()))];
    jobs.push(job("attribute", attribute, pair, schema(), &models, &[("subject", &["country", "video_id"])]).await);
    let params = [("lookback", Literal::Interval(60 * MINUTE))];
    jobs.push(job("attribute within", attribute, pair, schema(), &params, &[("subject", &["country"])]).await);
    jobs.push(tuples().await);
    let ingest = &script("ingest");
    jobs.push(job("ingest", ingest, &["events"], positioned(), &[], &[]).await);
    jobs.push(sample("stratify", "max_size = 6\n[[rule]]\nstrata = ['country']\nmax_each = 2", "event_id").await);
    let negatives = "[[rule]]\nstrata = ['country']\n[negatives]\npositive = 'video_id = 1'\nper_positive = 1.5";
    jobs.push(sample("stratify negatives", negatives, "event_id").await);
    jobs.push(sample("stratify units", "max_size = 3", "request_id").await);
    jobs
}

async fn bound(name: &str, sql: &str, binding: &Binding) -> Job {
    let scan = Scan::new(&Script::parse(name, sql).unwrap(), binding).await.unwrap_or_else(|e| panic!("{e}"));
    let inputs = scan.inputs().iter().map(|input| &*input.name.clone().leak()).collect();
    Job { name: name.to_owned(), scan, inputs, sampling: None, cases: CASES }
}

async fn sketches(sql: &str, inputs: &[&str], columns: &[(&str, &[&str])]) -> Job {
    let binding = Binding { approximate: true, ..binding(inputs, &schema(), &[], columns) };
    bound("aggregate by sketches", sql, &binding).await
}

async fn tuples() -> Job {
    let expressions = [
        ("action", "video_id"),
        ("slot", "row"),
        ("propensity", "0.3 * video_id"),
        ("action_set", "case when country = 'DE' then '1|2' end"),
    ];
    let expressions = expressions.map(|(name, sql)| (name.to_owned(), vec![sql.to_owned()]));
    let columns = [("subject", vec!["country"]), ("context", vec!["country", "video_id"])];
    let columns = columns.map(|(name, list)| (name.to_owned(), list.into_iter().map(str::to_owned).collect()));
    let binding = Binding {
        inputs: ["impressions", "plays"].map(|input| (input.to_owned(), schema())).into(),
        columns: columns.into(),
        expressions: expressions.into(),
        params: BTreeMap::from([("lookback".to_owned(), Literal::Interval(60 * MINUTE))]),
        approximate: false,
    };
    bound("tuples", &script("tuples"), &binding).await
}

async fn sample(name: &str, rules: &str, unit: &str) -> Job {
    let sampling = Sampling { rules: Rules::parse(rules).unwrap(), relax: false };
    let positive = sampling.rules.negatives.as_ref().map_or("false", |negatives| &negatives.positive);
    let params = [("most", Literal::Integer(sampling.most() as i64)), ("whole", Literal::Bool(true))];
    let expressions =
        [("unit", vec![unit.to_owned()]), ("positive", vec![positive.to_owned()]), ("stratum", sampling.strata())];
    let binding = Binding {
        inputs: BTreeMap::from([("events".to_owned(), schema())]),
        columns: BTreeMap::from([("split".to_owned(), Vec::new())]),
        expressions: expressions.into_iter().map(|(name, texts)| (name.to_owned(), texts)).collect(),
        params: params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        approximate: false,
    };
    Job { sampling: Some(sampling), ..bound(name, &script("stratify"), &binding).await }
}

async fn job(
    name: &str,
    sql: &str,
    inputs: &[&str],
    schema: SchemaRef,
    params: &[(&str, Literal)],
    columns: &[(&str, &[&str])],
) -> Job {
    bound(name, sql, &binding(inputs, &schema, params, columns)).await
}

fn binding(inputs: &[&str], schema: &SchemaRef, params: &[(&str, Literal)], columns: &[(&str, &[&str])]) -> Binding {
    let owned = |list: &[&str]| list.iter().map(|column| (*column).to_owned()).collect();
    Binding {
        inputs: inputs.iter().map(|input| ((*input).to_owned(), schema.clone())).collect(),
        columns: columns.iter().map(|(name, list)| ((*name).to_owned(), owned(list))).collect(),
        params: params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        ..Binding::default()
    }
}

type Rows = BTreeMap<String, Vec<RecordBatch>>;

impl Job {
    /// Events as the rows of one step.
    fn batch(&self, events: &[Event]) -> Rows {
        let inputs = self.scan.inputs().iter();
        inputs.map(|input| (input.name.clone(), vec![rows(events, &input.name, &input.schema)])).collect()
    }

    async fn step(
        &self,
        state: State,
        events: &[Event],
        out: &mut Rows,
    ) -> (State, BTreeMap<String, Vec<RecordBatch>>) {
        let batch = Batch::Rows(self.batch(events));
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
        self.standing(&out, &state.summary(CELLS).unwrap())
    }

    /// What stands of the outputs, hour by hour, as text.
    fn standing(&self, out: &Rows, cells: &[RecordBatch]) -> String {
        let chosen = self.sampling.as_ref().map(|sampling| sampling.choose(cells).unwrap());
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
                let rows = match &chosen {
                    None => output.compact(&rows).unwrap().map(Result::unwrap).collect::<Vec<_>>(),
                    Some(chosen) => {
                        let kept: Vec<RecordBatch> = rows.iter().map(|rows| chosen.keep(rows).unwrap()).collect();
                        let rows = output.compact(&kept).unwrap().map(Result::unwrap).collect::<Vec<_>>();
                        rows.iter().map(|rows| chosen.weigh(rows).unwrap()).collect()
                    }
                };
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

    /// f(empty, all), as for tables that fit into memory or that do not.
    async fn tables(&self, events: &[Event], sorted: bool) -> String {
        let table = |(name, rows): (String, Vec<RecordBatch>)| {
            let table = MemTable::try_new(rows[0].schema(), vec![rows]).unwrap();
            (name, vec![Arc::new(table) as Arc<dyn datafusion::catalog::TableProvider>])
        };
        let tables = self.batch(events).into_iter().map(table).collect();
        let (_, stepped) = self
            .scan
            .step(self.scan.empty(), Batch::Tables(Tables { inputs: tables, sorted, ..Tables::default() }), LIMITS)
            .await
            .unwrap();
        let mut out = Rows::new();
        for (name, stream) in stepped.outputs {
            let rows: Vec<RecordBatch> = stream.try_collect().await.unwrap();
            if sorted {
                let output = self.scan.outputs().iter().find(|output| output.name == name).unwrap();
                assert_in_order(&rows, &output.key);
            }
            out.insert(name, rows);
        }
        self.standing(&out, stepped.next.get(CELLS).map(Vec::as_slice).unwrap_or_default())
    }
}

/// Keys ascend from row to row.
fn assert_in_order(rows: &[RecordBatch], key: &[String]) {
    let Some(first) = rows.first() else { return };
    let all = concat_batches(&first.schema(), rows).unwrap();
    let fields = key.iter().map(|name| SortField::new(all.column_by_name(name).unwrap().data_type().clone()));
    let converter = RowConverter::new(fields.collect()).unwrap();
    let columns: Vec<_> = key.iter().map(|name| all.column_by_name(name).unwrap().clone()).collect();
    let keys = converter.convert_columns(&columns).unwrap();
    assert!((1..all.num_rows()).all(|row| keys.row(row - 1) <= keys.row(row)), "{key:?}");
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

/// Runs a law over seeded cases of every script, or of those that `RESCAN_JOB` names.
fn law(law: &str, check: impl AsyncFn(&Job, &[Event], &mut ChaCha8Rng) -> (String, String)) {
    let base: u64 = std::env::var("RESCAN_SEED").map_or(7, |seed| seed.parse().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let only = std::env::var("RESCAN_JOB").unwrap_or_default();
        let jobs: Vec<Job> = jobs().await.into_iter().filter(|job| job.name.contains(&only)).collect();
        assert!(!jobs.is_empty(), "RESCAN_JOB={only} is the name of no job");
        for job in jobs {
            for seed in base..base + job.cases {
                let mut rng = seeded(seed);
                let events = events(&mut rng, &job.inputs);
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
        (job.reference(events).await, job.standing(&out, &state.summary(CELLS).unwrap()))
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
        let (state, _) = job.step(state, &[there.as_slice(), rest].concat(), &mut out).await;
        (job.reference(events).await, job.standing(&out, &state.summary(CELLS).unwrap()))
    });
}

/// Where all events of an output row are in one region, the union of both outputs is the output of both.
#[test]
fn merge_of_outputs() {
    law("merge of outputs", async |job, events, _| {
        let region = |event: &Event| match job.name.as_str() {
            "ingest" | "stratify" | "stratify negatives" => event.event_id.bytes().last(),
            "join on two" | "attribute" | "attribute within" | "tuples" => {
                event.country.as_ref().and_then(|name| name.bytes().last())
            }
            name if name.starts_with("join") => event.request_id.as_ref().and_then(|id| id.bytes().last()),
            // Counts are no union of counts: their sets merge in state, above.
            _ => None,
        };
        let (here, there): (Vec<_>, Vec<_>) =
            events.iter().cloned().partition(|event| region(event).is_none_or(|byte| byte % 2 == 0));
        let (mut state, mut out) = (job.scan.empty(), Rows::new());
        for region in [&here, &there] {
            let (_, deltas) = job.step(job.scan.empty(), region, &mut out).await;
            for (name, rows) in deltas.iter().flat_map(|(name, rows)| rows.iter().map(move |rows| (name, rows))) {
                state.restore(name, rows).unwrap();
            }
        }
        (job.reference(events).await, job.standing(&out, &state.summary(CELLS).unwrap()))
    });
}

#[test]
fn two_runners() {
    law("two runners", async |job, events, rng| {
        (job.tables(events, false).await, job.fold(&cut(events, rng), true).await)
    });
}

#[test]
fn larger_than_memory() {
    law("larger than memory", async |job, events, _| (job.reference(events).await, job.tables(events, true).await));
}
