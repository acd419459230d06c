//! Rows of a batch run's inputs that repeat others. State tells them where an input has a table of its own name, and a
//! batch run keeps no state: so the keys of an hour's rows are counted.

use std::collections::BTreeMap;

use anyhow::Result;
use connector::{Hour, Success};
use scan::Merged;
use tokio::sync::Mutex;

use crate::batch::evaluate::tables;
use crate::batch::wanted::listed::Listed;
use crate::job::Job;

/// Keys are counted of one hour at a time, by all threads: those of an hour are all in memory.
static COUNTING: Mutex<()> = Mutex::const_new(());

/// The input whose rows the one output of f is, once each: what f puts out more often than it stands are the repeats.
pub(crate) fn once_each(job: &Job) -> Option<&str> {
    let ([input], [output]) = (job.scan.inputs(), job.scan.outputs()) else { return None };
    let holds = output.holds.as_ref() == Some(&input.name);
    (job.merged.is_some() || holds).then_some(input.name.as_str())
}

/// What state would make of the rows of an hour, by input: those that repeat another of it, and the others.
///
/// # Errors
/// Files that cannot be read.
pub(crate) async fn repeats(job: &Job, listed: &[Listed], hour: Hour) -> Result<BTreeMap<String, Merged>> {
    let mut repeats = BTreeMap::new();
    if job.merged.is_some() || once_each(job).is_some() {
        return Ok(repeats);
    }
    for input in job.scan.inputs() {
        let Some(key) = job.scan.state_key(&input.name) else { continue };
        let places: Vec<&Listed> = listed.iter().filter(|listed| listed.input.name == input.name).collect();
        if let [place] = places.as_slice()
            && place.success(hour).is_some_and(|success| is_once_each(success, &key))
        {
            continue;
        }
        let mut own = Vec::new();
        for place in places {
            own.extend(place.table(hour, hour.plus(1)).await?.map(|table| (place, table)));
        }
        let tables = tables(job, own, hour)?.remove(&input.name).unwrap_or_default();
        if !tables.is_empty() {
            let _alone = COUNTING.lock().await;
            repeats.insert(input.name.clone(), job.scan.repeats(&input.name, tables, job.limits).await?);
        }
    }
    Ok(repeats)
}

/// Whether the rows of a sealed hour are one a key: of a part of this key, so of all of it.
fn is_once_each(success: &Success, key: &[String]) -> bool {
    success.merge == "rows" && !success.key.is_empty() && success.key.iter().all(|column| key.contains(column))
}
