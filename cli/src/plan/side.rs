//! `--side`: slowly changing metadata that is joined to the rows of inputs as of their event time.

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::datatypes::{Schema, SchemaRef};
use connector::Whole;
use runner::{SideInput, load_side};
use scan::{Side, VALID_FROM};

use crate::exit::Usage;
use crate::plan::Plan;
use crate::plan::last_epoch::last_epoch;
use crate::plan::open::{Opened, written};
use crate::words::{columns, location};

/// Loads the side inputs of a plan, and adds their columns to those of the inputs.
pub async fn load_sides(plan: &Plan, opened: &mut Opened) -> Result<Vec<SideInput>> {
    let flags = &plan.flags;
    if let Some((name, _)) = flags.side_key.iter().find(|(name, _)| !flags.side.iter().any(|(side, _)| side == name)) {
        return Err(Usage(format!("--side-key {name}=… is of no side input: write --side {name}=URI")).into());
    }
    let goes_on = matches!(opened, Opened::Stream(..)) && !flags.out.as_os_str().is_empty();
    let last = if goes_on && !flags.side.is_empty() { last_epoch(&flags.out)? } else { None };
    let options = flags.s3.options()?;
    let given = opened.schemas();
    let mut sides = Vec::new();
    for (at, (name, uri)) in flags.side.iter().enumerate() {
        check(name, uri)?;
        location(uri, &options)?;
        if flags.side[..at].iter().any(|(other, _)| other == name) {
            return Err(Usage(format!("--side {name} is there twice")).into());
        }
        let recorded = last.as_ref().and_then(|epoch| epoch.sides.get(name));
        let place = Whole::new(uri, &options).reading(written(plan));
        let loaded = load_side(name, &place, &flags.out, recorded).await?;
        let keys = keys(plan, name, &loaded.rows.schema(), &given)?;
        let side = Side::new(name, &keys, &plan.time, &loaded.rows)?;
        let side = SideInput::new(place, flags.side_ttl, side, &loaded)?;
        side.doubt().iter().for_each(|doubt| eprintln!("rescan: {doubt}"));
        for schema in opened.schemas_mut().values_mut() {
            *schema = side.extended(schema)?;
        }
        sides.push(side);
    }
    Ok(sides)
}

/// The name begins those of columns, and the place is one that can be read again and again.
fn check(name: &str, uri: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
        return Err(Usage(format!("--side {name}={uri}: a name is of a-z, 0-9 and _, as in videos={uri}")).into());
    }
    if uri == "-" || uri.starts_with("kafka://") {
        return Err(Usage(format!("--side {name}={uri}: a side input is read whole: ingest it, and name that")).into());
    }
    Ok(())
}

/// The columns by which a side input is joined: those of `--side-key`, else those that it shares with the inputs.
fn keys(plan: &Plan, name: &str, side: &Schema, inputs: &BTreeMap<String, SchemaRef>) -> Result<Vec<String>> {
    let names = |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let has = || format!("it has {}", names(side).join(", "));
    if let Some((_, given)) = plan.flags.side_key.iter().rev().find(|(of, _)| of == name) {
        let keys = columns(given)?;
        let joins = |schema: &SchemaRef| keys.iter().all(|key| schema.field_with_name(key).is_ok());
        return match keys.iter().find(|key| side.field_with_name(key).is_err()) {
            Some(key) => Err(Usage(format!("side input {name} has no column {key}: {}", has())).into()),
            None if !inputs.values().any(joins) => Err(Usage(format!("no input has the columns {given}")).into()),
            None => Ok(keys),
        };
    }
    let shared = |input: &SchemaRef| {
        let mut shared = names(side);
        shared.retain(|column| *column != VALID_FROM && *column != plan.time && input.field_with_name(column).is_ok());
        shared
    };
    let mut found: Vec<Vec<String>> = inputs.values().map(shared).filter(|shared| !shared.is_empty()).collect();
    found.sort();
    found.dedup();
    match (found.pop(), found.is_empty()) {
        (Some(keys), true) => Ok(keys),
        (None, _) => Err(Usage(format!("side input {name} shares no column with an input: {}", has())).into()),
        (Some(_), false) => {
            let why = format!("side input {name} shares other columns with one input than with another");
            Err(Usage(format!("{why}: say which it is joined by, --side-key {name}=COLUMN")).into())
        }
    }
}
