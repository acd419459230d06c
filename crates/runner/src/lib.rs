//! What drives f: the batch runner over hours of Parquet, the stream runner over rows as they come, and `reconcile`,
//! which compares what the two made.
//!
//! Invariant: both runners end in `advance`, the only caller of f.
//! Invariant: every row is accounted for at every commit: read = accepted + duplicate + late + rejected + filtered.
//!
//! Not here: flags, terminals, what a subcommand means.

mod advance;
mod aside;
mod batch;
mod beyond;
mod by_hour;
mod carried;
mod commit;
mod complete;
mod current;
mod depends;
mod dictionary;
mod draw;
mod evaluate;
mod excess;
mod filed;
mod files;
mod foreign;
mod gaps;
mod gate;
mod history;
mod hour;
mod hours;
mod idle;
mod intact;
mod intake;
mod job;
mod lane;
mod lateness;
mod layout;
mod listed;
mod made;
mod merged;
mod merged_hours;
mod offsets;
mod once;
mod owner;
mod pieces;
mod plans;
mod range;
mod reconcile;
mod reconcile_columns;
mod reconcile_merge;
mod reconcile_report;
mod reconcile_rows;
mod region;
mod repeats;
mod report;
mod roll_forward;
mod sample;
mod seal;
mod sealed_to;
mod shelves;
mod side;
mod snapshot;
mod spans;
mod stream;
mod tally;
mod united;
mod wall_clock;
mod wants;
mod write;

pub use batch::{Impact, batch, impact};
pub use carried::OtherState;
pub use excess::{AsideLimits, Most};
pub use gate::TimePolicy;
pub use history::History;
pub use idle::Idle;
pub use intact::{Intact, damage};
pub use job::Job;
pub use lane::Feed;
pub use layout::{REJECTED, STREAM_JOURNAL};
pub use listed::{MissingInput, Place};
pub use made::Made;
pub use merged::Merged;
pub use once::once;
pub use owner::Occupied;
pub use range::Asked;
pub use reconcile::*;
pub use reconcile_report::*;
pub use report::{Depends, Progress, Reached, Report};
pub use roll_forward::roll_forward;
pub use sample::{Content, Manifest, content};
pub use side::{Loaded, SideInput, load_side};
pub use stream::{Cut, goes_on, stream};
pub use united::{United, unite_states};
pub use wants::Wanting;
