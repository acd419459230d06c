//! The f of a batch run, planned again from what its output recorded, and applied again to the input of an hour.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use connector::{DataFile, Hour, Location, Misfiled, SourceError, Whole, list, scan, schema_of};
use datafusion::catalog::TableProvider;
use journal::{SideFacts, Syncs};
use scan::{Binding, Limits, Output, Reading, Scan, Script, Side, Tables};
use serde_json::Value;

use crate::aside::excess::AsideLimits;
use crate::batch::evaluate::{Inputs, inputs, make_of};
use crate::batch::wanted::current::identity;
use crate::batch::wanted::listed::{Listed, Place, found};
use crate::batch::wanted::range::Asked;
use crate::input::gate::TimePolicy;
use crate::input::side::{SideInput, load_side};
use crate::job::Job;
use crate::output::files::write_parquet;
use crate::spec::{JobSpec, SideSpec};

/// Where what a run read is by now.
pub(crate) struct Where<'a> {
    /// By input, where that is elsewhere than it was.
    pub moved: &'a BTreeMap<String, String>,
    /// Of stores, as in [`Location::parse`].
    pub options: &'a BTreeMap<String, String>,
    /// The outputs that may have copies of side inputs.
    pub kept: &'a [PathBuf],
}

/// A batch run that can be made again.
pub(crate) struct Again {
    job: Job,
    places: Vec<Place>,
    output: String,
}

/// What an hour is made of.
pub(crate) struct Hourly {
    listed: Vec<Listed>,
    /// The same, as `_SUCCESS` says it.
    pub identity: Value,
}

impl Again {
    /// Plans a run over hours of Parquet; `sides` says which version of each side input it had.
    ///
    /// # Errors
    /// A run that was none over hours; inputs that are not there any more, nor the versions of its side inputs.
    pub(crate) async fn plan(
        spec: &JobSpec,
        output: &str,
        sides: &BTreeMap<String, String>,
        place: &Where<'_>,
    ) -> Result<Again> {
        ensure!(spec.sample.is_none(), "a sample is drawn of all hours at once");
        let script = Script::parse(&spec.script, &spec.text)?;
        let (mut places, mut schemas) = (Vec::new(), BTreeMap::new());
        for (name, input) in &spec.inputs {
            let uris = input.places.iter().map(|(uri, region)| (place.moved.get(name).unwrap_or(uri), region.clone()));
            let mut files = Vec::new();
            for (uri, region) in uris {
                let elsewhere = format!("input {name} was {uri}: write --in {name}=URI of hours that hold it");
                ensure!(uri != "-" && !uri.starts_with("kafka://"), elsewhere);
                let root = Location::parse(uri, place.options)?;
                let hours = list(&root, ..).await?;
                ensure!(!hours.is_empty(), SourceError::Missing(format!("{root} has no hours any more")));
                files.push((root.clone(), hours.into_values().flat_map(|hour| hour.files).collect::<Vec<DataFile>>()));
                places.push(Place { input: name.clone(), root, region });
            }
            let Some((root, files)) = files.first() else { bail!("input {name} was nowhere") };
            schemas.insert(name.clone(), schema_of(root, files).await?);
        }
        let mut joined = Vec::new();
        for side in &spec.sides {
            let time = spec.inputs.values().next().map(|input| input.time.clone()).unwrap_or_default();
            let side = side_of(side, &time, sides.get(&side.name), place).await?;
            for schema in schemas.values_mut() {
                *schema = side.extended(schema)?;
            }
            joined.push(side);
        }
        let binding = Binding { inputs: schemas, ..spec.binding.clone() };
        let scan = Scan::new(&script, &binding).await?;
        ensure!(scan.outputs().iter().any(|of| of.name == output), "{} has no output {output}", spec.script);
        Ok(Again { job: job(spec, scan, joined), places, output: output.to_owned() })
    }

    /// What an hour is made of now.
    ///
    /// # Errors
    /// Places that cannot be listed.
    pub(crate) async fn hourly(&self, hour: Hour) -> Result<Hourly> {
        let asked = Asked {
            from: Some(hour),
            to: Some(hour.plus(1)),
            allow_incomplete: true,
            force: false,
            window: None,
            anywhere: false,
            misfiled: Misfiled::Refuse,
        };
        let (listed, _) = found(&self.job, self.places.clone(), asked).await?;
        let identity = identity(&self.job, &listed, hour)?;
        Ok(Hourly { listed, identity })
    }

    /// The tables of each input that make an hour, and its event time.
    ///
    /// # Errors
    /// Files that are not those that were sealed.
    pub(crate) async fn inputs(&self, of: &Hourly, hour: Hour) -> Result<Inputs> {
        inputs(&self.job, &of.listed, hour, hour).await
    }

    /// The event time of the rows of an input that make an hour, microseconds, half open; and the column that says it.
    pub(crate) fn reach(&self, of: &Hourly, hour: Hour, input: &str) -> Option<(String, i64, i64)> {
        let listed = of.listed.iter().find(|listed| listed.input.name == input)?;
        let (from, to) = listed.reach(hour, hour.plus(1));
        let time = self.job.scan.inputs().iter().find(|of| of.name == input)?.time.clone();
        Some((time, from.start_us(), to.start_us()))
    }

    /// What f makes of these inputs for an hour, as a table sorted by key, in a file of this name below `scratch`; none
    /// where it makes no row.
    ///
    /// # Errors
    /// Whatever f fails with; those of the disk.
    pub(crate) async fn apply(
        &self,
        inputs: Inputs,
        hour: Hour,
        limits: Limits,
        (scratch, name): (&Path, &str),
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let within = Some(hour.start_us()..hour.plus(1).start_us());
        let tables = Tables { inputs, within, sorted: false, reading: Reading::default() };
        let mut made = make_of(&self.job, tables, (hour, hour), limits).await?;
        let rows = made.outputs.remove(&hour).and_then(|mut outputs| outputs.remove(&self.output));
        let Some((rows, output)) = rows.zip(self.output()) else { return Ok(None) };
        let mut rows = rows.standing(output, None)?.peekable();
        let Some(Ok(first)) = rows.peek() else { return rows.next().map_or(Ok(None), |failed| failed.map(|_| None)) };
        let schema = first.schema();
        let bytes = write_parquet(&scratch.join(name), &schema, &output.key, rows, &Syncs::default())?.bytes;
        let root = Location::parse(&scratch.to_string_lossy(), &BTreeMap::new())?;
        let file = DataFile::at(&root, name, bytes);
        Ok(Some(scan(&root, &[file]).await?))
    }

    fn output(&self) -> Option<&Output> {
        self.job.scan.outputs().iter().find(|output| output.name == self.output)
    }
}

/// A side input in the version that a run had: as it is now, or from a copy that an output kept.
async fn side_of(spec: &SideSpec, time: &str, version: Option<&String>, place: &Where<'_>) -> Result<SideInput> {
    let whole = Whole::new(place.moved.get(&spec.name).unwrap_or(&spec.uri), place.options);
    let recorded = version.map(|version| SideFacts { version: version.clone(), loaded_at: 0 });
    let mut loaded = Vec::new();
    for out in place.kept {
        loaded.push(load_side(&spec.name, &whole, out, recorded.as_ref()).await?);
        if loaded.last().is_some_and(|loaded| loaded.kept_as.is_some()) {
            break;
        }
    }
    let loaded = loaded.pop().context("no output")?;
    let side = Side::new(&spec.name, &spec.keys, time, &loaded.rows)?;
    let is = |version: &String| side.version() == version;
    let gone = format!("side input {} is not what it was, and no output has a copy of that", spec.name);
    ensure!(version.is_none_or(is), SourceError::Missing(gone));
    SideInput::new(whole, i64::MAX, side, &loaded)
}

/// A run that writes nothing.
fn job(spec: &JobSpec, scan: Scan, sides: Vec<SideInput>) -> Job {
    Job {
        command: spec.command.clone(),
        spec: spec.clone(),
        scan,
        out: PathBuf::new(),
        config: spec.config.clone(),
        sides,
        merged: None,
        time: TimePolicy { watermark_delay: 0, allowed_lateness: 0, max_future: 0 },
        sampling: None,
        init_state: Vec::new(),
        keep_state: false,
        limits: Limits { threads: 1, memory: None },
        aside: AsideLimits::default(),
        stop: Arc::new(AtomicBool::new(false)),
    }
}
