//! The archives or outputs of several regions, which `rescan merge` reads as one.

use std::collections::BTreeMap;
use std::ops::Bound;

use anyhow::Result;
use arrow::datatypes::SchemaRef;
use connector::{DataFile, Hour, HourFiles, Location, SourceError};

use crate::exit::Usage;
use crate::words::{location, named, typed};

/// An archive or an output that is merged.
pub struct Region {
    /// What it is called on the command line.
    pub name: Option<String>,
    /// Where it is, as on the command line.
    pub uri: String,
    /// The same.
    pub root: Location,
    /// Its hours.
    pub hours: BTreeMap<Hour, HourFiles>,
}

/// Hours of a range.
pub type Bounds = (Bound<Hour>, Bound<Hour>);

impl Region {
    /// The files of a range, or all where it has none: they tell as well what is to come.
    fn files(&self, bounds: Bounds) -> Vec<DataFile> {
        let of = |bounds: Bounds| -> Vec<DataFile> {
            self.hours.range(bounds).flat_map(|(_, hour)| hour.files.clone()).collect()
        };
        let files = of(bounds);
        if files.is_empty() { of((Bound::Unbounded, Bound::Unbounded)) } else { files }
    }
}

/// The regions of a command line, each `URI` or `NAME=URI`, in an order of their own: however they are named there, an
/// hour of them is made of the same.
///
/// # Errors
/// [`Usage`] for two of one name; [`SourceError::Missing`] for a place without hours.
pub async fn listed(places: &[String], options: &BTreeMap<String, String>) -> Result<Vec<Region>> {
    let mut regions: Vec<Region> = Vec::new();
    for place in places {
        let (name, uri) = named(place);
        let plain =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if name.is_some_and(|name| !plain(name)) {
            let what = format!("{place}: a name is of letters, digits, - and _; a place with = in it is ./{place}");
            return Err(Usage(what).into());
        }
        if name.is_some() && regions.iter().any(|other| other.name.as_deref() == name) {
            return Err(Usage(format!("{place}: another region has this name: give each its own")).into());
        }
        let root = location(uri, options)?;
        let hours = connector::listed(&root, ..).await?.whole(&root, &..)?;
        if hours.is_empty() {
            let what = format!("{root} has no hours dt=YYYY-MM-DD/hr=HH: it is neither an archive nor an output");
            return Err(SourceError::Missing(what).into());
        }
        regions.push(Region { name: name.map(str::to_owned), uri: uri.to_owned(), root, hours });
    }
    regions.sort_by_key(|region| region.root.to_string());
    Ok(regions)
}

/// The columns of all regions in a range: what one of them lacks would be lost, or null.
///
/// # Errors
/// [`Usage`] for regions with others.
pub async fn schema(regions: &[Region], bounds: Bounds) -> Result<SchemaRef> {
    let mut first: Option<(&Region, SchemaRef)> = None;
    for region in regions {
        let files = region.files(bounds);
        if files.is_empty() {
            continue;
        }
        let schema = connector::schema_of(&region.root, &files).await?;
        let (other, known) = first.get_or_insert_with(|| (region, schema.clone()));
        let (here, there) = (typed(&schema), typed(known));
        let only = |a: &[String], b: &[String]| {
            a.iter().filter(|column| !b.contains(column)).cloned().collect::<Vec<_>>().join(", ")
        };
        let (more, less) = (only(&here, &there), only(&there, &here));
        if !more.is_empty() || !less.is_empty() {
            let what = format!("{} and {} have other columns: here {more}; there {less}", region.root, other.root);
            return Err(Usage(what).into());
        }
    }
    let none = || SourceError::Missing("no region has a row".to_owned());
    Ok(first.map(|(_, schema)| schema).ok_or_else(none)?)
}
