//! A plan as another process can make it again: `reconcile`, a week later.

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::datatypes::Schema;
use connector::print_schema;
use runner::{InputSpec, JobSpec, SampleSpec, SideInput, SideSpec, TimeSpec};
use scan::Scan;

use crate::plan::Plan;
use crate::plan::history::Lateness;
use crate::plan::open::Opened;
use crate::words::location;

/// What a run is, but for its hours and how fast it goes.
///
/// # Errors
/// A place that is none.
pub fn spec(
    plan: &Plan,
    opened: &Opened,
    sides: &[SideInput],
    scan: &Scan,
    lateness: Lateness,
    config: &BTreeMap<String, String>,
) -> Result<JobSpec> {
    let schemas = opened.schemas();
    let said = |name: &str| config.get(name).cloned().unwrap_or_default();
    let input = |name: &str, places: Vec<(String, Option<String>)>| {
        let schema = schemas.get(name).map(|schema| lines(schema)).unwrap_or_default();
        let (written, zone, filter, select) = (said("time"), said("zone"), said("where"), said("select"));
        InputSpec { places, schema, time: plan.time.clone(), written, zone, filter, select }
    };
    let mut inputs = BTreeMap::new();
    for (name, uri) in &plan.inputs {
        inputs.insert(name.clone(), input(name, vec![(whole(plan, uri)?, None)]));
    }
    if !plan.regions.is_empty() {
        let places = plan.regions.iter().map(|region| (region.root.to_string(), region.name.clone())).collect();
        let name = schemas.keys().next().map_or("events", String::as_str);
        inputs.insert(name.to_owned(), input(name, places));
    }
    let mut joined = Vec::new();
    for (side, (_, uri)) in sides.iter().zip(&plan.flags.side) {
        let (name, keys) = side.named();
        joined.push(SideSpec { name: name.to_owned(), uri: whole(plan, uri)?, keys: keys.to_vec() });
    }
    let sampling = plan.sampling.as_ref();
    let sample = sampling.map(|sampling| SampleSpec { rules: sampling.rules.clone(), relax: sampling.relax });
    let streamed = matches!(opened, Opened::Stream(..));
    let spec = JobSpec::of(&plan.command, &plan.script, scan.binding().clone());
    let time = streamed.then(|| time(plan, lateness));
    Ok(JobSpec { inputs, sides: joined, sample, time, config: config.clone(), ..spec })
}

fn time(plan: &Plan, lateness: Lateness) -> TimeSpec {
    let time = plan.flags.time();
    TimeSpec {
        watermark_delay: lateness.is_judged().then_some(time.watermark_delay),
        allowed_lateness: time.allowed_lateness,
        max_future: time.max_future,
    }
}

fn lines(schema: &Schema) -> Vec<String> {
    print_schema(schema).lines().map(str::to_owned).collect()
}

/// A place as it is called from anywhere.
fn whole(plan: &Plan, uri: &str) -> Result<String> {
    let scheme = uri.split_once("://").map(|(scheme, _)| scheme);
    if uri == "-" || scheme.is_some_and(|scheme| scheme != "file") {
        return Ok(uri.to_owned());
    }
    Ok(location(uri, &plan.flags.s3.options()?)?.to_string())
}
