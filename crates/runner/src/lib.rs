//! What drives f: the batch runner over hours of Parquet, the stream runner over rows as they come, and `reconcile`,
//! which compares what the two made.
//!
//! Invariant: both runners end in `advance`, the only caller of f.
//! Invariant: every row is accounted for at every commit: read = accepted + duplicate + late + rejected + filtered.
//!
//! Not here: flags, terminals, what a subcommand means.

mod account;
mod advance;
mod aside;
mod batch;
mod guard;
mod input;
mod job;
mod merged;
mod once;
mod output;
mod reconcile;
mod report;
mod spec;
mod stream;
mod wall_clock;
mod wants;

pub use aside::excess::{AsideLimits, Most};
pub use batch::wanted::listed::{MissingInput, Place};
pub use batch::wanted::range::Asked;
pub use batch::{Impact, batch, impact};
pub use guard::intact::{Intact, damage};
pub use guard::owner::Occupied;
pub use guard::roll_forward::roll_forward;
pub use input::gate::TimePolicy;
pub use input::history::History;
pub use input::idle::Idle;
pub use input::lane::Feed;
pub use input::side::{Loaded, SideInput, load_side};
pub use job::Job;
pub use merged::Merged;
pub use once::once;
pub use output::layout::{OWN, REJECTED, STREAM_JOURNAL};
pub use output::made::Made;
pub use output::sample::{Content, Manifest, content};
pub use reconcile::events::Event;
pub use reconcile::report::*;
pub use reconcile::serve::{Served, serve};
pub use reconcile::*;
pub use report::{Depends, Progress, Reached, Report};
pub use spec::*;
pub use stream::carried::OtherState;
pub use stream::united::{United, unite_states};
pub use stream::{Cut, goes_on, stream};
pub use wants::Wanting;
