//! What the outputs of regions hold, and so how they merge: f again where they hold what it read, else the union by key.

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::datatypes::SchemaRef;
use connector::{Location, Success};
use runner::{Made, Merged};
use scan::{Held, Literal};

use crate::exit::Usage;
use crate::plan::Plan;
use crate::plan::flags::RunFlags;
use crate::plan::regions::{Bounds, Region};
use crate::scripts::script;

/// Of which f the regions are outputs; none where they are archives.
///
/// # Errors
/// [`Usage`] for outputs of several, or of those that do not say of which.
pub fn made_of(regions: &[Region], bounds: Bounds) -> Result<Option<Made>> {
    let mut first: Option<(&Region, Option<Made>)> = None;
    for region in regions {
        let asked = region.hours.range(bounds).map(|(_, hour)| hour);
        // What a region is, hours tell that nobody asked for too: those that are asked for may be still to come.
        let Some(success) = asked.chain(region.hours.values()).find_map(|hour| hour.success.as_ref()) else { continue };
        let made = made(&region.root, success)?;
        if let Some((other, known)) = first.as_ref().filter(|(_, known)| *known != made) {
            let said = |made: &Option<Made>| made.as_ref().map_or_else(|| "an archive".to_owned(), Made::to_string);
            let what = format!("{} is {}, and {} is {}", region.root, said(&made), other.root, said(known));
            return Err(Usage(format!("{what}: merge outputs of one command line")).into());
        }
        first.get_or_insert((region, made));
    }
    Ok(first.and_then(|(_, made)| made))
}

/// Of which f an output is; none for an archive, whatever gave its rows.
fn made(root: &Location, success: &Success) -> Result<Option<Made>> {
    match Made::read(success) {
        Some(made) if made.script == "ingest" && made.is_of(&script("ingest")?) => Ok(None),
        Some(made) => Ok(Some(made)),
        None if ["ingest", "merge"].contains(&success.command.as_str()) => Ok(None),
        None => {
            let what = format!("{root} was sealed by an older rescan, which did not write down how");
            Err(Usage(format!("{what}: run {} again with --force", success.command)).into())
        }
    }
}

/// What the rows of an output hold.
pub fn held(made: &Made) -> Result<Held> {
    let refused = |what: &str| Err(Usage(what.to_owned()).into());
    if let Ok(own) = script(&made.script)
        && !made.is_of(&own)
    {
        let what = "is of another version of its script: run it again, or give a script of your own another name";
        return Err(Usage(format!("{} {what}", made.script)).into());
    }
    let columns = |name: &str| made.binding.columns.get(name).cloned().unwrap_or_else(|| vec![name.to_owned()]);
    let time = columns("ts").concat();
    match made.script.as_str() {
        "join" => match kind(made) {
            "full" => Ok(Held::Halves { on: columns("request_id"), time }),
            "inner" | "semi" => Ok(Held::Rows),
            kind => refused(&format!(
                "a row without a partner in one region may have one in another, and --type {kind} leaves those out: merge \
                 joins of --type full into one of --type {kind}, or the archives"
            )),
        },
        "aggregate" if columns("impression_requests").is_empty() => refused(
            "counts do not add up, as a request may be in several regions: run aggregate with --sets, or merge the archives",
        ),
        "aggregate" => {
            let by = columns("video_id");
            if by.contains(&time) || by.iter().any(|column| column == "request_id") {
                return refused(
                    "groups by request or by time are one event each: merge the archives and run aggregate again",
                );
            }
            Ok(Held::Sets { by, time })
        }
        "stratify" => refused("of samples no sample of all can be drawn: merge the archives, and draw again"),
        _ => Ok(Held::Rows),
    }
}

fn kind(made: &Made) -> &str {
    match made.binding.params.get("type") {
        Some(Literal::Text(kind)) => kind,
        _ => "inner",
    }
}

/// How such outputs are merged.
pub fn plan(merged: Merged, kind: Option<String>, flags: RunFlags) -> Result<Plan> {
    let made = merged.made.clone();
    if kind.is_some() && !matches!(merged.held, Held::Halves { .. }) {
        return Err(
            Usage("--type is for joins of --type full, which hold what every other is made of".to_owned()).into()
        );
    }
    if merged.held == Held::Rows {
        eprintln!("rescan: {}", apart(&made.script));
        let bare = Plan::bare(script("merge")?, "_merged_hour".to_owned(), flags);
        return Ok(Plan {
            columns: united(&made, &merged.schema),
            expressions: standing(&made),
            merged: Some(merged),
            ..bare
        });
    }
    let mut binding = made.binding;
    binding.params.extend(kind.map(|kind| ("type".to_owned(), Literal::Text(kind))));
    let time = binding.columns.get("ts").map_or_else(|| "ts".to_owned(), |ts| ts.concat());
    let bare = Plan::bare(script(&made.script)?, time, flags);
    Ok(Plan { columns: binding.columns, params: binding.params, merged: Some(merged), ..bare })
}

/// What a union does not find.
fn apart(script: &str) -> String {
    let what = "each row is what one region knows; what comes of events of several is not found";
    match script {
        "join" => format!("{what}: for that merge joins of --type full, or the archives"),
        _ => format!("{what}: for that merge the archives, and run it again"),
    }
}

/// The columns that names of the script stand for: the key, its group, and those that scripts do not see by themselves.
fn united(made: &Made, schema: &SchemaRef) -> BTreeMap<String, Vec<String>> {
    let grouped = made.group < made.key.len();
    let together = if grouped { made.key[..made.group].to_vec() } else { Vec::new() };
    let names = schema.fields().iter().map(|field| field.name().clone());
    let carried = names.filter(|name| name.starts_with('_')).collect();
    let columns = [("id", made.key.clone()), ("together", together), ("carried", carried)];
    columns.into_iter().map(|(name, columns)| (name.to_owned(), columns)).collect()
}

/// A play that is credited to an impression stands before one without candidates.
fn standing(made: &Made) -> BTreeMap<String, Vec<String>> {
    let credited = "case when impression_ts is null then 0 else 1 end";
    let standing = if made.script == "attribute" { credited } else { "0" };
    BTreeMap::from([("standing".to_owned(), vec![standing.to_owned()])])
}
