//! What does a command line mean? Its flags, the inputs that they open, and what those have.

pub mod distribution;
pub mod flags;
pub mod history;
pub mod last_epoch;
pub mod open;
pub mod policies;
pub mod regions;
pub mod report_file;
pub mod side;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use arrow::datatypes::SchemaRef;
use connector::Unit;
use runner::{Asked, Merged};
use scan::{Binding, Literal, Sampling, Script};

use crate::culprit::Read;
use crate::exit::Usage;
use crate::plan::flags::RunFlags;
use crate::plan::policies::Policies;
use crate::plan::regions::Region;
use crate::plan::report_file::ReportFile;
use crate::scripts::script;
use crate::words::{TimeColumn, absolute};

/// What the columns of an input are called in an output, beside those of another, which keep their names.
pub struct Prefix {
    /// What their names begin with there.
    pub prefix: &'static str,
    /// The input.
    pub of: &'static str,
    /// The other input.
    pub beside: &'static str,
    /// What else begins so.
    pub more: Option<String>,
}

impl Prefix {
    /// That no two columns of the output have one name.
    ///
    /// # Errors
    /// [`Usage`], with the name.
    fn check(&self, schemas: &BTreeMap<String, SchemaRef>) -> Result<()> {
        let Prefix { prefix, of, beside, more } = self;
        let (Some(own), Some(others)) = (schemas.get(*of), schemas.get(*beside)) else { return Ok(()) };
        let is_own = |name: &str| own.index_of(name).is_ok() || more.as_deref() == Some(name);
        let twice = |name: &&String| name.strip_prefix(prefix).is_some_and(is_own);
        match others.fields().iter().map(|field| field.name()).find(twice) {
            Some(name) => Err(Usage(format!(
                "input {beside} has a column {name}, which is what the output calls a column of {of}: give it another \
                 name, with ingest --select '* exclude ({name}), {name} as other'"
            ))
            .into()),
            None => Ok(()),
        }
    }
}

/// What a command line means.
pub struct Plan {
    pub command: String,
    pub script: Script,
    pub inputs: BTreeMap<String, String>,
    /// Columns in place of the script's.
    pub columns: BTreeMap<String, Vec<String>>,
    pub params: BTreeMap<String, Literal>,
    pub approximate: bool,
    /// What is merged; none where inputs have names.
    pub regions: Vec<Region>,
    /// What the inputs are, where they are outputs of regions.
    pub merged: Option<Merged>,
    /// How columns of one input are told from those of another.
    pub prefix: Option<Prefix>,
    /// SQL for which names of the script stand.
    pub expressions: BTreeMap<String, Vec<String>>,
    /// How a sample is drawn of what f puts out.
    pub sampling: Option<Sampling>,
    /// The policies to report on, where f puts out tuples.
    pub policies: Option<Policies>,
    /// Whether rows are read as they came, whoever runs f over them.
    pub as_rows: bool,
    /// Where the report of a sample goes.
    pub report: Option<ReportFile>,
    /// The width of the windows that rows of the output begin, microseconds, where they do.
    pub window: Option<i64>,
    /// Whether rows of the output may have other times than the events they are made of.
    pub anywhere: bool,
    /// The event time column of the inputs.
    pub time: String,
    /// What numbers in it count, where that is said.
    pub unit: Option<Unit>,
    /// `--where` and `--select`.
    pub filter: Option<String>,
    pub select: Option<String>,
    pub flags: RunFlags,
}

impl Plan {
    /// A command of rescan's own, over inputs of these names.
    pub fn of(command: &str, inputs: &[&str], time: TimeColumn, flags: RunFlags) -> Result<Plan> {
        let (script, inputs) = (script(command)?, flags.named(inputs)?);
        Ok(Plan { command: command.to_owned(), inputs, ..Plan::bare(script, time, flags) })
    }

    /// A script as it is.
    pub fn bare(script: Script, time: TimeColumn, flags: RunFlags) -> Plan {
        Plan {
            command: script.name.clone(),
            script,
            inputs: BTreeMap::new(),
            columns: BTreeMap::new(),
            params: BTreeMap::new(),
            approximate: false,
            regions: Vec::new(),
            merged: None,
            prefix: None,
            expressions: BTreeMap::new(),
            sampling: None,
            policies: None,
            as_rows: false,
            report: None,
            window: None,
            anywhere: false,
            time: time.name,
            unit: time.unit,
            filter: None,
            select: None,
            flags,
        }
    }

    /// Where all that it reads is, but side inputs.
    pub fn uris(&self) -> impl Iterator<Item = &String> {
        self.inputs.values().chain(self.regions.iter().map(|region| &region.uri))
    }

    /// The hours that it reads, side inputs too.
    pub fn reads(&self) -> Result<Read> {
        let sides = self.flags.side.iter().map(|(_, uri)| uri);
        let uris = self.uris().chain(sides).filter(|uri| !uri.starts_with("kafka://") && *uri != "-");
        let s3 = self.flags.s3.options()?;
        Ok(Read { uris: uris.cloned().collect(), s3, hours: self.flags.bounds()? })
    }

    /// All places that it reads, to be shown.
    pub fn shown(&self) -> String {
        self.uris().cloned().collect::<Vec<_>>().join(", ")
    }

    /// What its script meets, over inputs of these columns.
    ///
    /// # Errors
    /// [`Usage`]: columns of the output would have one name.
    pub fn binding(&self, inputs: BTreeMap<String, SchemaRef>) -> Result<Binding> {
        self.prefix.iter().try_for_each(|prefix| prefix.check(&inputs))?;
        Ok(Binding {
            inputs,
            columns: self.columns.clone(),
            params: self.params.clone(),
            expressions: self.expressions.clone(),
            approximate: self.approximate,
        })
    }

    /// The hours that were asked for.
    pub fn asked(&self) -> Result<Asked> {
        let (from, to) = self.flags.range()?;
        let RunFlags { allow_incomplete, force, misfiled, .. } = self.flags;
        Ok(Asked {
            from,
            to,
            allow_incomplete,
            force,
            window: self.window,
            anywhere: self.anywhere,
            misfiled: misfiled.into(),
        })
    }

    /// The places of state to begin with, each once, whatever order they are named in, and from where. They may be gone by
    /// the time a run goes on.
    pub fn states(&self) -> BTreeSet<PathBuf> {
        self.flags.init_state.iter().map(|place| absolute(place)).collect()
    }
}
