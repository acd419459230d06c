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
use crate::words::TimeColumn;

/// The parameter of `--type`.
const TYPE: &str = "type";

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
        Some(made) if own(&made)?.is_some_and(|held| matches!(held, Held::Input(_))) => Ok(None),
        Some(made) => Ok(Some(made)),
        None if ["ingest", "merge"].contains(&success.command.as_str()) => Ok(None),
        None => {
            let what = format!("{root} was sealed by an older rescan, which did not write down how");
            Err(Usage(format!("{what}: run {} again with --force", success.command)).into())
        }
    }
}

/// What the script of a command says that an output of it holds; none for another script, or another version of it.
fn own(made: &Made) -> Result<Option<Held>> {
    let Some(own) = script(&made.script).ok().filter(|own| made.is_of(own)) else { return Ok(None) };
    Ok(Some(own.held(&made.output, &made.binding)?))
}

/// What the rows of an output hold.
///
/// # Errors
/// [`Usage`] for rows of which no one output can be made.
pub fn held(made: &Made) -> Result<Held> {
    match own(made)? {
        Some(Held::Divided(why)) => Err(Usage(why).into()),
        Some(held) => Ok(held),
        None if script(&made.script).is_ok() => {
            let what = "is of another version of its script: run it again, or give a script of your own another name";
            Err(Usage(format!("{} {what}", made.script)).into())
        }
        None => Ok(Held::Rows),
    }
}

/// How such outputs are merged.
pub fn plan(merged: Merged, kind: Option<String>, flags: RunFlags) -> Result<Plan> {
    let made = merged.made.clone();
    if kind.is_some() && !(matches!(merged.held, Held::Inputs(_)) && made.binding.params.contains_key(TYPE)) {
        return Err(
            Usage("--type is for joins of --type full, which hold what every other is made of".to_owned()).into()
        );
    }
    if merged.held == Held::Rows {
        eprintln!(
            "rescan: each row is what one region knows; what comes of events of several is not found: for that merge the \
             archives, and run {} over them{}",
            made.script,
            if made.binding.params.contains_key(TYPE) { ", or merge joins of --type full" } else { "" }
        );
        let bare = Plan::bare(script("merge")?, TimeColumn::of("_merged_hour"), flags);
        return Ok(Plan {
            columns: united(&made, &merged.schema),
            expressions: standing(&made)?,
            merged: Some(merged),
            ..bare
        });
    }
    let mut binding = made.binding;
    binding.params.extend(kind.map(|kind| (TYPE.to_owned(), Literal::Text(kind))));
    let time = binding.columns.get("ts").map_or_else(|| "ts".to_owned(), |ts| ts.concat());
    let bare = Plan::bare(script(&made.script)?, TimeColumn::of(&time), flags);
    Ok(Plan { columns: binding.columns, params: binding.params, merged: Some(merged), ..bare })
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

/// The SQL for which `standing` stands.
fn standing(made: &Made) -> Result<BTreeMap<String, Vec<String>>> {
    let said = script(&made.script).ok().map(|own| own.standing(&made.output)).transpose()?.flatten();
    Ok(BTreeMap::from([("standing".to_owned(), vec![said.unwrap_or_else(|| "0".to_owned())])]))
}
