//! f over the tables that make some hours: what it puts out and what it refuses, by hour.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use connector::Hour;
use datafusion::catalog::TableProvider;
use futures::TryStreamExt;
use scan::{Batch, CELLS, Chosen, Limits, Reading, Tables, unshared};

use crate::advance::advance;
use crate::batch::plans::fits;
use crate::batch::wanted::listed::Listed;
use crate::job::Job;
use crate::output::hours::Hours;
use crate::output::pieces::Pieces;

/// What f made of the input of some hours, by hour and output, or by input.
pub(crate) struct Made {
    pub outputs: BTreeMap<Hour, BTreeMap<String, Pieces>>,
    pub refused: BTreeMap<String, Hours>,
    /// The sample, where one is drawn.
    pub chosen: Option<Arc<Chosen>>,
}

/// The tables of each input.
pub(crate) type Inputs = BTreeMap<String, Vec<Arc<dyn TableProvider>>>;

/// The tables of the inputs that make the output of some hours.
pub(crate) async fn inputs(job: &Job, listed: &[Listed], first: Hour, last: Hour) -> Result<Inputs> {
    let mut tables = Vec::new();
    for listed in listed {
        let (from, to) = listed.reach(first, last.plus(1));
        tables.extend(listed.table(from, to).await?.map(|table| (listed, table)));
    }
    self::tables(job, tables, first)
}

/// Tables of places as those of the inputs of f; `hour` is the hour of output, where outputs are merged.
pub(crate) fn tables(job: &Job, tables: Vec<(&Listed, Arc<dyn TableProvider>)>, hour: Hour) -> Result<Inputs> {
    if let Some(merged) = &job.merged {
        return Ok(merged.tables(tables, hour)?.into_iter().map(|(name, table)| (name, vec![table])).collect());
    }
    let mut inputs = Inputs::new();
    for (listed, table) in tables {
        let table = job.sides.iter().try_fold(table, |table, side| side.over(table))?;
        inputs.entry(listed.input.name.clone()).or_default().push(table);
    }
    Ok(inputs)
}

/// Applies f to what makes the hours from `first` to `last`, and gives its output in a range, microseconds.
pub(crate) async fn make(
    job: &Job,
    listed: &[Listed],
    (first, last): (Hour, Hour),
    within: std::ops::Range<i64>,
    limits: Limits,
    reading: Reading,
) -> Result<Made> {
    let inputs = inputs(job, listed, first, last).await?;
    let one = within == (first.start_us()..first.plus(1).start_us());
    let sorted = one && !fits(listed, limits, first, last);
    let tables = Tables { inputs, within: Some(within), sorted, reading };
    make_of(job, tables, (first, last), limits).await
}

/// Applies f to tables that make the hours from the first to the last.
pub(crate) async fn make_of(job: &Job, tables: Tables, (first, last): (Hour, Hour), limits: Limits) -> Result<Made> {
    // The engine does not say in which file it failed.
    let of = || format!("run {} for the hours {first} to {last}", job.command);
    // What joins hold takes repeats out of whole hours, which is not sorted on disk: too large ones end for want of memory.
    let halves = job.merged.as_ref().is_some_and(|merged| merged.held.in_pairs(&merged.schema));
    let sorted = tables.sorted && !halves;
    let tables = Tables { sorted, ..tables };
    let (_, stepped) = advance(&job.scan, job.scan.empty(), Batch::Tables(tables), limits).await.with_context(of)?;
    let cells = stepped.next.get(CELLS).map(Vec::as_slice).unwrap_or_default();
    let chosen = job.sampling.as_ref().map(|sampling| sampling.choose(cells).map(Arc::new)).transpose()?;
    let mut outputs: BTreeMap<Hour, BTreeMap<String, Pieces>> = BTreeMap::new();
    for (name, mut rows) in stepped.outputs {
        if sorted {
            outputs.entry(first).or_default().insert(name, Pieces::Sorted(rows));
            continue;
        }
        let mut of_output = Hours::default();
        while let Some(rows) = rows.try_next().await.with_context(of)? {
            match &chosen {
                // A few rows out of many: as views they would hold all pages that were read.
                Some(chosen) => of_output.add(&unshared(&chosen.keep(&rows)?)?)?,
                None => of_output.add(&rows)?,
            }
        }
        for hour in of_output.hours() {
            outputs.entry(hour).or_default().insert(name.clone(), Pieces::Held(of_output.take(hour)));
        }
    }
    let mut refused: BTreeMap<String, Hours> = BTreeMap::new();
    for (name, rows) in stepped.refused {
        let hours = refused.entry(name).or_default();
        rows.iter().try_for_each(|rows| hours.add_within(rows, first, last))?;
    }
    Ok(Made { outputs, refused, chosen })
}
