//! The hours of outputs of several regions, as the input of one run.

use std::sync::Arc;

use anyhow::{Result, bail};
use connector::{Hour, SourceError};
use datafusion::catalog::TableProvider;
use scan::Inputs;

use crate::batch::wanted::listed::Listed;
use crate::merged::Merged;
use crate::output::made::Made;

impl Merged {
    /// That every hour which is read is of this f: what it holds would be taken for something else. One that is not
    /// sealed does not say, and is read only where incomplete hours are to be.
    pub(crate) fn check(&self, listed: &[Listed]) -> Result<()> {
        for Listed { root, hours, .. } in listed {
            for (hour, files) in hours.iter().filter(|(_, files)| files.sealed) {
                let there = files.success.as_ref().and_then(Made::read);
                if there.as_ref() != Some(&self.made) {
                    let what =
                        there.map_or_else(|| "of nothing that a _SUCCESS names".to_owned(), |made| made.to_string());
                    let said = format!("hour {hour} of {root} is {what}, and not {}", self.made);
                    bail!(SourceError::Usage(format!("{said}: merge outputs of one command line")));
                }
            }
        }
        Ok(())
    }

    /// The inputs of f that the regions' tables hold; `hour` is the hour of output, where it is one.
    pub(crate) fn tables(&self, regions: Vec<(&Listed, Arc<dyn TableProvider>)>, hour: Hour) -> Result<Inputs> {
        let named = regions.into_iter().map(|(listed, table)| (listed.root.to_string(), table)).collect();
        Ok(self.held.inputs(&self.schema, named, hour.start_us())?)
    }
}
