//! `rescan attribute --explain-play ID`: every impression that could have brought about a play, and its fate.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{and, cast, concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use connector::{Hour, Poll, Source, SourceError};
use runner::{Feed, once};
use scan::{Literal, Model, Scan};
use serde_json::{Value, json};

use crate::plan::Plan;
use crate::plan::open::{Opened, open};
use crate::print::in_line;
use crate::show::table::Table;
use crate::show::time;

const ROWS: usize = 50_000;

/// Explains a play of the plan's inputs, whoever reads them.
pub async fn explain_play(mut plan: Plan, models: &[Model], id: &str) -> Result<ExitCode> {
    plan.as_rows = true;
    plan.flags.follow = false;
    reach_back(&mut plan)?;
    // Under the model linear every candidate has a share: that is how f tells who they are.
    let all: BTreeSet<String> = models.iter().chain([&Model::Linear]).map(Model::to_string).collect();
    plan.params.insert("model".to_owned(), Literal::Text(all.into_iter().collect::<Vec<_>>().join(",")));
    let opened = open(&plan).await?;
    let scan = Scan::new(&plan.script, &plan.binding(opened.schemas())?).await?;
    let Opened::Stream(mut feeds, ..) = opened else { anyhow::bail!("a play is explained from rows as they came") };
    let play = find(&mut feeds, "plays", |rows| text_is(rows, "event_id", id)).await?;
    let Some(play) = play else {
        let uri = plan.inputs.get("plays").cloned().unwrap_or_default();
        return Err(SourceError::Missing(format!("{uri} has no play {id}")).into());
    };
    let play = play.slice(0, 1);
    let impressions = find(&mut feeds, "impressions", |rows| same(rows, &play, &plan.columns["subject"])).await?;
    let shown = impressions.map_or_else(Vec::new, |rows| vec![rows]);
    let rows = BTreeMap::from([("plays".to_owned(), vec![play.clone()]), ("impressions".to_owned(), shown.clone())]);
    let credits = credits(&once(&scan, rows).await?)?;
    let fates = shown.first().map_or_else(|| Ok(Vec::new()), |shown| fates(shown, &play, &plan, models, &credits))?;
    print(&play, id, &fates, plan.flags.show.json, models)
}

/// Candidates of the first plays of a range are in the hours before it.
fn reach_back(plan: &mut Plan) -> Result<()> {
    let (from, to) = plan.flags.range()?;
    let before = plan.script.before("impressions", &plan.binding(BTreeMap::new())?)?;
    let from = from.map(|from| Hour::of(from.start_us().saturating_sub(before)));
    (plan.flags.from, plan.flags.to, plan.flags.hour, plan.flags.day) = (from, to, None, None);
    Ok(())
}

/// Of all rows of an input those that pass, in order of time and id.
async fn find(
    feeds: &mut [Feed],
    input: &str,
    passes: impl Fn(&RecordBatch) -> Result<BooleanArray>,
) -> Result<Option<RecordBatch>> {
    let feed =
        feeds.iter_mut().find(|feed| feed.input == input).with_context(|| format!("there is no input {input}"))?;
    feed.source.seek(&BTreeMap::new()).await?;
    let mut found = Vec::new();
    for partition in 0..feed.source.partitions().len() {
        while let Some(rows) = next(feed.source.as_mut(), partition).await? {
            let rows = filter_record_batch(&rows, &passes(&rows)?)?;
            found.extend((rows.num_rows() > 0).then_some(rows));
        }
    }
    let Some(first) = found.first() else { return Ok(None) };
    let rows = concat_batches(&first.schema(), &found)?;
    let columns = [&feed.time, "event_id"].map(|name| rows.column_by_name(name).cloned());
    let columns = columns.into_iter().flatten().map(|values| arrow::compute::SortColumn { values, options: None });
    let order = arrow::compute::lexsort_to_indices(&columns.collect::<Vec<_>>(), None)?;
    Ok(Some(take_record_batch(&rows, &order)?))
}

async fn next(source: &mut dyn Source, partition: usize) -> Result<Option<RecordBatch>> {
    loop {
        match source.read(partition, ROWS).await? {
            Poll::Chunk(chunk) => return Ok(Some(chunk.rows)),
            Poll::Finished => return Ok(None),
            Poll::Waiting => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn text_is(rows: &RecordBatch, column: &str, value: &str) -> Result<BooleanArray> {
    let column = cast(of(rows, column)?, &DataType::Utf8View)?;
    Ok(column.as_string_view().iter().map(|text| Some(text == Some(value))).collect())
}

fn same(rows: &RecordBatch, play: &RecordBatch, columns: &[String]) -> Result<BooleanArray> {
    let mut passes = BooleanArray::from(vec![true; rows.num_rows()]);
    for column in columns {
        let wanted = cast(of(play, column)?, of(rows, column)?.data_type())?;
        let equal = eq(of(rows, column)?, &arrow::array::Scalar::new(wanted))?;
        let equal = equal.iter().map(|equal| Some(equal == Some(true))).collect();
        passes = and(&passes, &equal)?;
    }
    Ok(passes)
}

fn of<'a>(rows: &'a RecordBatch, column: &str) -> Result<&'a arrow::array::ArrayRef> {
    rows.column_by_name(column).with_context(|| format!("the input has no column {column}"))
}

/// An impression by id and time; its share by model.
type Credits = BTreeMap<(String, i64), BTreeMap<String, String>>;

fn credits(outputs: &BTreeMap<String, Vec<RecordBatch>>) -> Result<Credits> {
    let mut credits = Credits::new();
    for rows in outputs.get("attributed").into_iter().flatten() {
        let times = of(rows, "impression_ts")?.as_primitive::<TimestampMicrosecondType>();
        for row in (0..rows.num_rows()).filter(|row| times.is_valid(*row)) {
            let text = |column| -> Result<String> { Ok(array_value_to_string(of(rows, column)?, row)?) };
            let impression = (text("impression_event_id")?, times.value(row));
            credits.entry(impression).or_default().insert(text("model")?, text("credit")?);
        }
    }
    Ok(credits)
}

/// An impression of the same subject.
struct Fate {
    id: String,
    ts: i64,
    row: String,
    place: String,
    /// Why it is no candidate; its share by model where it is one.
    verdict: Result<BTreeMap<String, String>, String>,
}

fn fates(
    shown: &RecordBatch,
    play: &RecordBatch,
    plan: &Plan,
    models: &[Model],
    credits: &Credits,
) -> Result<Vec<Fate>> {
    let times = of(shown, &plan.time)?.as_primitive::<TimestampMicrosecondType>();
    let played = of(play, &plan.time)?.as_primitive::<TimestampMicrosecondType>().value(0);
    let fate = |row: usize| -> Result<Fate> {
        let text = |column| -> Result<String> { Ok(array_value_to_string(of(shown, column)?, row)?) };
        let (id, ts) = (text("event_id")?, times.value(row));
        let verdict = match credits.get(&(id.clone(), ts)) {
            Some(shares) => {
                let share = |model: &Model| {
                    let model = model.to_string();
                    let share = shares.get(&model).cloned().unwrap_or_else(|| "0".to_owned());
                    (model, share)
                };
                Ok(models.iter().map(share).collect())
            }
            None if ts > played => Err("after the play".to_owned()),
            None => Err(format!("{} before the play, beyond the lookback", lasted(played - ts))),
        };
        let place = format!("{}/{}:{}", text("_topic")?, text("_partition")?, text("_offset")?);
        Ok(Fate { id, ts, row: text("row")?, place, verdict })
    };
    let mut fates = (0..shown.num_rows()).map(fate).collect::<Result<Vec<_>>>()?;
    // The same impression again is the same candidate.
    fates.dedup_by(|b, a| a.id == b.id && a.ts == b.ts);
    Ok(fates)
}

fn lasted(us: i64) -> String {
    humantime::format_duration(Duration::from_secs(us.unsigned_abs() / 1_000_000)).to_string()
}

fn print(play: &RecordBatch, id: &str, fates: &[Fate], json: bool, models: &[Model]) -> Result<ExitCode> {
    let place =
        ["_topic", "_partition", "_offset"].map(|column| array_value_to_string(of(play, column)?, 0).context(""));
    let [topic, partition, offset] = place;
    let place = format!("{}/{}:{}", topic?, partition?, offset?);
    if json {
        let fate = |fate: &Fate| {
            let (credits, rejected) = match &fate.verdict {
                Ok(credits) => (json!(credits), Value::Null),
                Err(why) => (Value::Null, json!(why)),
            };
            json!({ "impression_event_id": fate.id, "impression_ts": time(fate.ts), "row": fate.row, "read_from": fate.place,
                    "credits": credits, "rejected": rejected })
        };
        let impressions: Vec<Value> = fates.iter().map(fate).collect();
        let explained = json!({ "play_event_id": id, "read_from": place, "impressions": impressions });
        println!("{}", serde_json::to_string_pretty(&explained)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("play {}, read from {}", in_line(id), in_line(&place));
    if !fates.iter().any(|fate| fate.verdict.is_ok()) {
        println!("no candidate: it is attributed to nobody");
    }
    let names: Vec<String> = models.iter().map(Model::to_string).collect();
    let mut table = Table::new(&["impression", "time", "row", &names.join(", "), "read from"]);
    for fate in fates {
        let verdict = match &fate.verdict {
            Ok(credits) => names.iter().map(|name| credits[name].as_str()).collect::<Vec<_>>().join(", "),
            Err(why) => why.clone(),
        };
        table.row([fate.id.clone(), time(fate.ts), fate.row.clone(), verdict, fate.place.clone()]);
    }
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}
