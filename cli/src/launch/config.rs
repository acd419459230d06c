//! What gives the results of a run: it is compared when a run goes on, and part of an hour's identity.

use std::collections::BTreeMap;

use anyhow::Result;
use runner::{Made, SideInput};

use crate::plan::Plan;
use crate::plan::history::{DELAY, Lateness};
use crate::plan::open::{Opened, recorded};
use crate::words::typed;

/// Another value of any of these gives other results.
pub fn config(
    plan: &Plan,
    opened: &Opened,
    sides: &[SideInput],
    lateness: Lateness,
) -> Result<BTreeMap<String, String>> {
    let flags = &plan.flags;
    let mut config = BTreeMap::from([
        ("command".to_owned(), plan.command.clone()),
        ("script".to_owned(), Made::text_of(&plan.script)),
        ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("where".to_owned(), plan.filter.clone().unwrap_or_default()),
        ("select".to_owned(), plan.select.clone().unwrap_or_default()),
        ("approximate".to_owned(), plan.approximate.to_string()),
        ("time".to_owned(), plan.time.clone()),
    ]);
    // Hours of Parquet say themselves what their times are.
    if matches!(opened, Opened::Stream(..)) || !sides.is_empty() {
        config.extend(plan.unit.map(|unit| ("time".to_owned(), format!("{}:{unit}", plan.time))));
        config.extend(flags.zone.as_ref().map(|zone| ("zone".to_owned(), zone.said.clone())));
    }
    config.extend(plan.params.iter().map(|(name, value)| (format!("param {name}"), format!("{value:?}"))));
    config.extend(plan.columns.iter().map(|(name, columns)| (format!("column {name}"), columns.join(","))));
    config.extend(plan.expressions.iter().map(|(name, texts)| (format!("expression {name}"), texts.join("\n"))));
    // Where a side input is may change, and what it holds will.
    config.extend(sides.iter().map(SideInput::named).map(|(name, keys)| (format!("side {name}"), keys.join(","))));
    let named = plan.regions.iter().filter_map(|region| Some((region.name.as_ref()?, region.root.to_string())));
    config.extend(named.map(|(name, root)| (format!("region {name}"), root)));
    if let Some(sampling) = &plan.sampling {
        config.insert("rules".to_owned(), serde_json::json!(sampling.rules).to_string());
        config.insert("relax".to_owned(), sampling.relax.to_string());
    }
    let schemas = opened.schemas();
    config.extend(schemas.iter().map(|(name, schema)| (format!("schema {name}"), typed(schema).join(", "))));
    if let Opened::Stream(_, _, inferred) = opened {
        config.extend(inferred.iter().map(|(name, schema)| (recorded(name), schema.clone())));
        config.extend(plan.inputs.iter().map(|(name, uri)| (format!("in {name}"), uri.clone())));
        let time = flags.time();
        let times = [
            (DELAY, lateness.written(time.watermark_delay)),
            ("--allowed-lateness", format!("{} µs", time.allowed_lateness)),
            ("--max-future", format!("{} µs", time.max_future)),
        ];
        config.extend(times.map(|(flag, said)| (flag.to_owned(), said)));
        if !flags.init_state.is_empty() {
            config.insert("--init-state".to_owned(), serde_json::json!(plan.states()).to_string());
        }
        let (from, to) = flags.range()?;
        let ends = [("--from", from), ("--to", to)];
        config.extend(ends.into_iter().filter_map(|(flag, hour)| Some((flag.to_owned(), hour?.to_string()))));
    }
    Ok(config)
}
