//! f: a SQL script over tables, and `step(state, batch) -> (state, output)`.
//!
//! Invariant: whatever the cut, order and repetition of the input, compacted outputs are the same; state is made of
//! lattices whose merge is associative, commutative and idempotent.
//! Invariant: f sees tables and nothing else; time decides when an output is final, never what it says.
//!
//! Not here: files, the network, clocks, randomness; who calls `step`.

mod agree;
mod apart;
mod at_once;
mod bind;
mod binding;
mod bottom;
mod bucket;
mod by_time;
mod clause;
mod compact;
mod conform;
mod contract;
mod credit;
mod credits;
mod declare;
mod depth;
mod door;
mod durations;
mod edge;
mod expand;
mod functions;
mod gather;
mod group_gather;
mod group_join;
mod group_join_rule;
mod group_left;
mod group_lookup;
mod group_lookup_rule;
mod group_right;
mod grouped;
mod guarded;
mod hash_sets;
mod held;
mod ids;
mod incoming;
mod index;
mod items;
mod lattice;
mod layout;
mod lookup;
mod lookup_rule;
mod may_fail;
mod node;
mod one_group;
mod order;
mod pairs;
mod partnered;
mod parts;
mod probe;
mod reading;
mod refusal;
mod refuse;
mod repeated;
mod repeats;
mod runs;
mod sample;
mod scan;
mod script;
mod side;
mod sketch;
mod slot;
mod sorted;
mod sound;
mod sound_table;
mod span;
mod spool;
mod state;
mod table;
mod tables;
mod texts;
mod touches;
mod unit;
mod versions;

pub use bind::{Input, Output};
pub use binding::{Binding, Literal};
pub use bucket::unshared;
pub use credit::Model;
pub use door::{Door, Passed};
pub use event_time::TIME;
pub use held::{Held, Inputs};
pub use layout::Merged;
pub use reading::Reading;
pub use refusal::REASON;
pub use sample::{CELLS, Chosen, Part, SampleError, Sampling};
pub use scan::{Batch, Limits, Scan, Stepped};
pub use script::{Script, ScriptError};
pub use side::{Side, VALID_FROM};
pub use sketch::RELATIVE_ERROR;
pub use state::State;
pub use tables::Tables;
