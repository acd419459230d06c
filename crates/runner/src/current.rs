//! Which hours of a batch run's output are there already, made of the same: those are left as they are.

use std::collections::BTreeMap;

use anyhow::Result;
use connector::{Hour, HourFiles, Location, list};
use journal::Sum;
use serde_json::json;

use crate::job::{Job, Report};
use crate::listed::{Listed, Range};
use crate::sample::Manifest;

/// What an hour is made of: equal identities give equal bytes.
pub(crate) fn identity(job: &Job, listed: &[Listed], hour: Hour) -> Result<serde_json::Value> {
    let mut text = serde_json::to_string(&job.config)?;
    let mut absent = Vec::new();
    let mut files = 0;
    for listed in listed {
        let Listed { input, root, hours, .. } = listed;
        let (from, to) = listed.reach(hour, hour.plus(1));
        absent.extend(
            Hour::range(from..to).filter(|hour| !hours.contains_key(hour)).map(|hour| format!("{}/{hour}", input.name)),
        );
        for file in hours.range(from..to).flat_map(|(_, hour)| &hour.files) {
            files += 1;
            text += &format!("\n{}/{}:{}:{}:{}", input.name, root, file.path, file.bytes, file.version);
        }
    }
    let sides: BTreeMap<&str, &str> = job.sides.iter().map(|side| (side.named().0, side.version())).collect();
    let mut identity = json!({ "files": files, "absent": absent });
    if !sides.is_empty() {
        text += &format!("\n{}", json!(sides));
        identity["sides"] = json!(sides);
    }
    identity["identity"] = json!(Sum::of(text.as_bytes()).checksum);
    Ok(identity)
}

/// The hours whose output is not there, or was made of something else.
pub(crate) async fn stale(job: &Job, listed: &[Listed], range: Range, report: &mut Report) -> Result<Vec<Hour>> {
    let mut stale = Vec::new();
    let mut done = BTreeMap::new();
    for output in job.scan.outputs() {
        let root = Location::parse(&job.out.join(job.place(output)).to_string_lossy(), &BTreeMap::new())?;
        let hours = if job.out.exists() { list(&root, range.from..range.to).await? } else { BTreeMap::new() };
        done.insert(output.name.clone(), hours);
    }
    for hour in Hour::range(range.from..range.to) {
        let identity = identity(job, listed, hour)?;
        let current = |hours: &BTreeMap<Hour, HourFiles>| {
            hours.get(&hour).is_some_and(|files| {
                files.success.as_ref().is_some_and(|success| success.inputs == identity && whole(files, success))
            })
        };
        if !range.force && done.values().all(current) { report.up_to_date += 1 } else { stale.push(hour) }
    }
    if job.sampling.is_some() && (!stale.is_empty() || !Manifest::path(&job.out).exists()) {
        // A sample is drawn over all hours or none.
        report.up_to_date = 0;
        return Ok(Hour::range(range.from..range.to).collect());
    }
    Ok(stale)
}

/// Whether the files are those that `_SUCCESS` names.
fn whole(files: &HourFiles, success: &connector::Success) -> bool {
    let there: BTreeMap<&str, u64> = files.files.iter().map(|file| (file.name(), file.bytes)).collect();
    success.files.len() == there.len()
        && success.files.iter().all(|file| there.get(file.name.as_str()) == Some(&file.bytes))
}
