//! f: a SQL script over tables, and `step(state, batch) -> (state, output)`.
//!
//! Invariant: whatever the cut, order and repetition of the input, compacted outputs are the same; state is made of
//! lattices whose merge is associative, commutative and idempotent.
//! Invariant: f sees tables and nothing else; time decides when an output is final, never what it says.
//!
//! Not here: files, the network, clocks, randomness; who calls `step`.

mod aggregate;
mod at_once;
mod attribution;
mod exec;
mod lattice;
mod output;
mod refusal;
mod sampling;
mod scan;
mod script;
mod side;
mod state;
mod tables;

pub use attribution::credit::Model;
pub use event_time::TIME;
pub use exec::reading::Reading;
pub use lattice::sketch::RELATIVE_ERROR;
pub use output::held::{Held, HeldInput, Inputs};
pub use refusal::REASON;
pub use refusal::door::{Door, Passed};
pub use sampling::sample::{CELLS, Chosen, Part, SampleError, Sampling};
pub use scan::{Batch, Limits, Scan, Stepped};
pub use script::bind::{Input, Output};
pub use script::binding::{Binding, Literal};
pub use script::one_float::one_float;
pub use script::{Script, ScriptError};
pub use side::{Side, VALID_FROM};
pub use state::State;
pub use state::bucket::unshared;
pub use state::layout::Merged;
pub use tables::Tables;
