//! From URIs to sources: what a URI names says which runner reads it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use anyhow::{Context, Result, bail};
use arrow::datatypes::{Schema, SchemaRef};
use connector::{
    Decoder, FileFormat, FileOptions, FileSource, Hour, KafkaSource, KafkaTopic, Location, ReplaySource, Sample,
    Source, SourceError, TextFormat, Written, is_partitioned,
};
use runner::{Feed, Merged, Place, STREAM_JOURNAL};
use scan::Door;

use crate::exit::Usage;
use crate::plan::Plan;
use crate::plan::flags::Format;
use crate::plan::last_epoch::last_epoch;
use crate::plan::regions::{self, Region};
use crate::words::location;

/// The schemas of inputs that nobody gave, as text: files that come later do not change them.
pub type Inferred = BTreeMap<String, String>;

/// The inputs of a run, all for one runner.
pub enum Opened {
    /// Hours of Parquet.
    Batch(Vec<Place>, BTreeMap<String, SchemaRef>),
    /// Rows as they come.
    Stream(Vec<Feed>, BTreeMap<String, SchemaRef>, Inferred),
}

impl Opened {
    /// The columns of each input.
    pub fn schemas(&self) -> BTreeMap<String, SchemaRef> {
        match self {
            Opened::Batch(_, schemas) | Opened::Stream(_, schemas, _) => schemas.clone(),
        }
    }

    /// The same, to add to them.
    pub fn schemas_mut(&mut self) -> &mut BTreeMap<String, SchemaRef> {
        match self {
            Opened::Batch(_, schemas) | Opened::Stream(_, schemas, _) => schemas,
        }
    }
}

/// Opens the inputs of a plan.
pub async fn open(plan: &Plan) -> Result<Opened> {
    if !plan.regions.is_empty() {
        return regions(plan).await;
    }
    let options = plan.flags.s3.options()?;
    let mut archives = BTreeMap::new();
    for (name, uri) in &plan.inputs {
        if uri == "-" || uri.starts_with("kafka://") {
            continue;
        }
        let location = location(uri, &options)?;
        let file = location.local_path().is_some_and(|path| path.is_file());
        if !file && is_partitioned(&location).await? {
            archives.insert(name.clone(), location);
        }
    }
    if plan.flags.follow
        && let Some(name) = archives.keys().next()
    {
        let uri = &plan.inputs[name];
        let what = "leave out --follow and run it again as hours appear, or follow what ingest follows, files or Kafka";
        return Err(Usage(format!("--follow cannot follow {uri}, hours that are sealed one by one: {what}")).into());
    }
    if archives.is_empty() && (plan.flags.replay || plan.flags.range()? != (None, None)) {
        let what = "--replay and a range of hours are for directories of dt=/hr=, and no input is one";
        return Err(Usage(format!("{what}: leave them out, or ingest first")).into());
    }
    let streamed = plan.as_rows || plan.flags.replay || plan.flags.follow || archives.len() < plan.inputs.len();
    if !streamed && plan.filter.is_none() && plan.select.is_none() {
        return batch(archives, plan.flags.bounds()?).await;
    }
    let timed = plan.flags.idle_timeout.iter().filter_map(|(name, _)| name.as_ref());
    if let Some(unknown) = timed.into_iter().find(|name| !plan.inputs.contains_key(*name)) {
        return Err(Usage(format!("--idle-timeout {unknown}=…: there is no input {unknown}")).into());
    }
    let (mut feeds, mut schemas, mut inferred) = (Vec::new(), BTreeMap::new(), Inferred::new());
    for (name, uri) in &plan.inputs {
        let source: Box<dyn Source> = match archives.get(name) {
            Some(location) => {
                let memory = plan.flags.memory_limit.unwrap_or(1 << 30);
                let (bounds, misfiled) = (plan.flags.bounds()?, plan.flags.misfiled.into());
                Box::new(ReplaySource::open(location, bounds, memory, &raw_name(plan), misfiled).await?)
            }
            None if uri.starts_with("kafka://") => Box::new(kafka(plan, name, uri).await?),
            None if uri.starts_with("s3://") => {
                let why = "no hours dt=YYYY-MM-DD/hr=HH, which alone are read from S3: copy other files to this disk";
                bail!(SourceError::Missing(format!("{uri} has {why}")))
            }
            None => Box::new(FileSource::open(uri, file_options(plan, name, uri, &mut inferred)?)?),
        };
        let door = match (&plan.select, &plan.filter) {
            (None, None) => None,
            (select, filter) => Some(Door::new(&source.schema(), select.as_deref(), filter.as_deref()).await?),
        };
        schemas.insert(name.clone(), door.as_ref().map_or_else(|| source.schema(), Door::schema));
        let idle = plan.flags.idle(name, uri);
        feeds.push(Feed { input: name.clone(), time: plan.time.clone(), source, door, idle });
    }
    Ok(Opened::Stream(feeds, schemas, inferred))
}

/// All regions are of one kind.
async fn regions(plan: &Plan) -> Result<Opened> {
    let (input, schemas) = match &plan.merged {
        Some(merged) => (Merged::INPUT, merged.inputs()?),
        None => {
            let all = (Bound::Unbounded, Bound::Unbounded);
            let schema = regions::schema(&plan.regions, all).await?;
            ("events", BTreeMap::from([("events".to_owned(), schema)]))
        }
    };
    let place =
        |region: &Region| Place { input: input.to_owned(), root: region.root.clone(), region: region.name.clone() };
    Ok(Opened::Batch(plan.regions.iter().map(place).collect(), schemas))
}

async fn batch(archives: BTreeMap<String, Location>, about: (Bound<Hour>, Bound<Hour>)) -> Result<Opened> {
    let mut schemas = BTreeMap::new();
    for (name, location) in &archives {
        let hours = connector::listed(location, ..).await?.whole(location, &about)?;
        let files: Vec<_> = hours.into_values().flat_map(|hour| hour.files).collect();
        schemas.insert(
            name.clone(),
            connector::schema_of(location, &files).await.with_context(|| format!("input {name}"))?,
        );
    }
    let places = archives.into_iter().map(|(input, root)| Place { input, root, region: None });
    Ok(Opened::Batch(places.collect(), schemas))
}

async fn kafka(plan: &Plan, name: &str, uri: &str) -> Result<KafkaSource> {
    let schema = match given(plan, name)? {
        Some(schema) => schema,
        None => connector::builtin(name)
            .with_context(|| Usage(format!("input {name} needs --schema: a topic does not say what it holds")))?,
    };
    let format = match plan.flags.format {
        None | Some(Format::Json) => TextFormat::Json,
        Some(Format::Csv) => TextFormat::Csv,
        Some(Format::Parquet) => return Err(Usage("--format parquet is for files".to_owned()).into()),
    };
    let time = raw_time(plan, &schema);
    let written = written(plan);
    let decoder = move || Ok(Decoder::new(format, &schema, &time)?.reading(written));
    KafkaSource::open(KafkaTopic::parse(uri)?, &plan.flags.kafka.settings()?, plan.flags.follow, decoder).await
}

fn file_options(plan: &Plan, name: &str, uri: &str, inferred: &mut Inferred) -> Result<FileOptions> {
    let format = plan.flags.format.map(|format| match format {
        Format::Json => FileFormat::Text(TextFormat::Json),
        Format::Csv => FileFormat::Text(TextFormat::Csv),
        Format::Parquet => FileFormat::Parquet,
    });
    let asked = plan.flags.schema_of(name);
    let first = first_inferred(plan, name)?;
    inferred.extend(first.clone().flatten().map(|schema| (name.to_owned(), schema)));
    let schema = match given(plan, name)? {
        Some(schema) => schema,
        None if asked.is_none() && connector::builtin(name).is_some() => {
            connector::builtin(name).unwrap_or_else(Schema::empty)
        }
        None => {
            let time = plan.select.as_deref().and_then(|select| Door::source_of(select, &plan.time));
            let sample = if first.is_some() { Sample::First } else { Sample::Spread(plan.flags.infer_rows) };
            let schema = match first.flatten() {
                Some(schema) => connector::parse_schema(&schema)?,
                None => connector::inferred(uri, format, time.as_deref().unwrap_or(&plan.time), sample)?,
            };
            // What Parquet says itself is said again, and may have more types than the text of a schema.
            let text = connector::print_schema(&schema);
            if matches!(sample, Sample::Spread(_)) && connector::parse_schema(&text).is_ok_and(|read| read == schema) {
                inferred.insert(name.to_owned(), text);
            }
            tell_inferred(plan, uri, &schema);
            schema
        }
    };
    let (time, written) = (raw_time(plan, &schema), written(plan));
    Ok(FileOptions { time, schema, written, format, follow: plan.flags.follow })
}

/// What the first run into an output inferred of an input: none where this is the first; nothing where it did not say.
fn first_inferred(plan: &Plan, name: &str) -> Result<Option<Option<String>>> {
    if plan.flags.out.as_os_str().is_empty() {
        return Ok(None);
    }
    let last = last_epoch(&plan.flags.out)?;
    Ok(last.map(|epoch| epoch.config.get(&recorded(name)).cloned()))
}

/// What the record of a run calls the schema that was inferred of an input.
pub fn recorded(input: &str) -> String {
    format!("inferred {input}")
}

/// How times are written in files and messages.
pub fn written(plan: &Plan) -> Written {
    Written { unit: plan.unit, zone: plan.flags.zone.as_ref().map(|zone| zone.zone) }
}

/// So many columns of an inferred schema are shown, and `--explain` shows all.
const SHOWN: usize = 12;

/// Shows a schema that nobody gave; a run that goes on has shown it before.
fn tell_inferred(plan: &Plan, uri: &str, schema: &Schema) {
    let Plan { flags, .. } = plan;
    if !flags.show.explain && flags.out.join(STREAM_JOURNAL).exists() {
        return;
    }
    let all = connector::print_schema(schema);
    let shown = if flags.show.explain { usize::MAX } else { SHOWN };
    let mut told: String = all.lines().take(shown).map(|line| format!("{line}\n")).collect();
    let more = all.lines().count().saturating_sub(shown);
    if more > 0 {
        told += &format!("and {more} more: --explain shows all\n");
    }
    eprintln!("rescan: the schema of {uri}, inferred; correct it in a file and pass --schema FILE\n{told}");
}

/// The column that an archive has the event time in, by the name that `--select` gives it.
fn raw_name(plan: &Plan) -> String {
    plan.select.as_deref().and_then(|select| Door::source_of(select, &plan.time)).unwrap_or_else(|| plan.time.clone())
}

/// The event time before `--select`, which may give it another name.
fn raw_time(plan: &Plan, schema: &Schema) -> String {
    if schema.field_with_name(&plan.time).is_ok() {
        return plan.time.clone();
    }
    raw_name(plan)
}

/// The schema that `--schema` names for an input; `None` where it is to be inferred.
fn given(plan: &Plan, input: &str) -> Result<Option<Schema>> {
    let Some(given) = plan.flags.schema_of(input) else { return Ok(None) };
    if given == "infer" {
        return Ok(None);
    }
    if let Some(schema) = connector::builtin(given) {
        return Ok(Some(schema));
    }
    let text = std::fs::read_to_string(Path::new(given)).with_context(|| format!("read --schema {given}"))?;
    Ok(Some(connector::parse_schema(&text).with_context(|| format!("--schema {given}"))?))
}
