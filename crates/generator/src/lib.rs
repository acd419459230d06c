//! Made-up but realistic impressions and plays, in the order in which they arrive, and the truth about what was put
//! into them. Same plan, same bytes, on every machine: all draws are integers from seeded streams, all tables are
//! integers, and no logarithm or power of a platform's own comes near the output.

mod calendar;
mod catalog;
mod columns;
mod delivery;
mod dice;
mod directory;
mod event;
mod generate;
mod hidden;
mod json_lines;
mod late;
mod malformed;
mod pages;
mod parts;
mod plan;
mod truth;
mod zipf;

pub use directory::{Occupied, write, write_truth};
pub use event::{Detail, Event, Topic};
pub use generate::{Sink, generate};
pub use plan::{Format, Plan};
pub use truth::{Counts, Joined, Plays, Truth};
