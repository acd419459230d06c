//! `rescan merge`: what several regions have, as one.

pub mod merging;
pub mod states;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use runner::{Made, Merged};
use scan::Literal;

use crate::commands::ingest::{DEDUP, ID, TIME};
use crate::commands::join::Kind;
use crate::commands::merge::states::unite;
use crate::exit::Usage;
use crate::launch::launch;
use crate::plan::Plan;
use crate::plan::flags::RunFlags;
use crate::plan::regions::{self, Region};
use crate::scripts::script;
use crate::words::{TimeColumn, microseconds};

/// The archives or the outputs of several regions as one: every event once, whichever of them have it
#[derive(Args, Debug)]
#[command(after_help = "Inputs: two or more archives, or outputs of one command line.
Output: the columns of the places. Key: theirs.

Examples:
  rescan merge us=us/impressions eu=eu/impressions asia=asia/impressions --out impressions
  rescan merge us/plays eu/plays --out plays --day 2026-11-20
  rescan merge us/joined-full eu/joined-full --type inner --out joined
  rescan merge us/requests eu/requests --out requests

Merging in any order, any grouping, or again, gives the same rows, as long as --type is that of the regions. What comes of events in different regions, a play here
and its impression there, needs what the command read:

  archives            whatever comes of their events is then joined, counted or attributed over them together
  join --type full    holds every impression and play: they are joined again, as --type says, also across regions;
                      an hour and those around it are in memory for that
  aggregate --sets    holds the request ids: they are counted again, each once, and the counts are those of all regions

An archive with a name, us=…, keeps its sources apart from those of the others: its rows are then from us/TOPIC. So a
merged archive can be replayed, each source with its own watermark. Without names the files or topics of regions have to
be called differently for that.

Other outputs do not hold what their command read, and are united by key; nothing that comes of events in different
regions is found. A row that two regions have must be the same in both: where it is not, merge stops with exit code 65
and names it; hours without such rows may be merged by then. So it is for join --type inner and semi, attribute, attribute --tuples and scripts of your own. A play that
attribute credits to nobody in one region and to impressions in another is what the other says.

Not merged, for the result would be wrong (exit code 2): join --type left, right and anti, counts without their sets,
samples. Merge the archives instead, and run the command again.

With --state it is what streams of one command line left for later ones with --keep-state: a run that begins with the
union, --init-state, has rows to come meet what each region has seen. The union is of files, byte for byte the same in
any order, any grouping, or again; nothing of it depends on the command. Rows before the greatest watermark of the places
are late then.")]
pub struct Merge {
    /// Archives that ingest wrote, or outputs of one command line: dt=/hr= directories or s3://…
    #[arg(required = true, num_args = 2.., value_name = "[NAME=]URI")]
    places: Vec<String>,
    #[command(flatten)]
    run: RunFlags,
    /// Of archives: an event that comes again within this, in event time, is a repeat [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = microseconds)]
    dedup: Option<i64>,
    /// Of archives: the column that tells one event from another [default: event_id]
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Of archives: the column that says when an event happened [default: ts]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// Of joins: which rows stand without a partner [default: as in the regions]
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
    /// Merge what streams left with --keep-state, for --init-state
    #[arg(long, conflicts_with_all = [
        "inputs", "from", "to", "hour", "day", "follow", "replay", "side", "init_state", "keep_state", "dedup", "id",
        "time", "kind", "dry_run", "explain",
    ])]
    state: bool,
}

impl Merge {
    pub async fn run(self) -> Result<ExitCode> {
        if self.state {
            return unite(&self.places, &self.run);
        }
        launch(self.plan().await?).await
    }

    async fn plan(self) -> Result<Plan> {
        if !self.run.inputs.is_empty() || self.run.follow || self.run.replay {
            return Err(
                Usage("merge takes what there is as it is: leave out --in, --follow and --replay".to_owned()).into()
            );
        }
        let options = self.run.s3.options()?;
        let regions = regions::listed(&self.places, &options).await?;
        match merging::made_of(&regions, self.run.bounds()?)? {
            Some(made) => self.outputs(regions, made).await,
            None => self.archives(regions),
        }
    }

    async fn outputs(self, regions: Vec<Region>, made: Made) -> Result<Plan> {
        if self.dedup.is_some() || self.id.is_some() || self.time.is_some() || !self.run.side.is_empty() {
            return Err(
                Usage("outputs are of events: --dedup, --id, --time and --side are for archives".to_owned()).into()
            );
        }
        if let Some(name) = regions.iter().find_map(|region| region.name.as_ref()) {
            let what = format!("{name}=: a name is for an archive, whose rows say where they came from");
            return Err(Usage(what).into());
        }
        let schema = regions::schema(&regions, self.run.bounds()?).await?;
        let merged = Merged { held: merging::held(&made)?, made, schema };
        let plan = merging::plan(merged, self.kind.map(|kind| kind.to_string()), self.run)?;
        Ok(Plan { command: "merge".to_owned(), regions, ..plan })
    }

    fn archives(self, regions: Vec<Region>) -> Result<Plan> {
        if self.kind.is_some() {
            return Err(Usage("--type is for joins, and these are archives".to_owned()).into());
        }
        let (id, time) = (self.id.unwrap_or(ID.to_owned()), self.time.unwrap_or(TIME.to_owned()));
        let dedup = self.dedup.map_or_else(|| microseconds(DEDUP), Ok).map_err(Usage)?;
        Ok(Plan {
            command: "merge".to_owned(),
            regions,
            columns: BTreeMap::from([("event_id".to_owned(), vec![id]), ("ts".to_owned(), vec![time.clone()])]),
            params: BTreeMap::from([("dedup".to_owned(), Literal::Interval(dedup))]),
            // The union of regions is what one region would have read: f is that of ingest.
            ..Plan::bare(script("ingest")?, TimeColumn::of(&time), self.run)
        })
    }
}
